//! Limits of a server: readers at once, readers in all, readers who do not read, readers who wait.

use std::io::ErrorKind;

use byron_actors::{Manner, Resume, Status, Suspend};
use byron_supervisors::exited;
use tokio::io::AsyncReadExt;

use crate::support::{ms, pace, read_all, run, serve, serve_on, text};

#[test]
fn a_full_server_parks_and_serves_the_next_when_one_leaves() {
    run(async {
        let manner = Manner {
            connections_max: 2,
            ..pace(1, ms(40))
        };
        let served = serve_on("abc", manner, 2).await;
        let readers: Vec<_> =
            futures_util::future::join_all((0..12).map(|_| served.reader())).await;
        let mut most = 0;
        let handle = served.handle.clone();
        let all = futures_util::future::join_all(readers.into_iter().map(read_all));
        let mut all = std::pin::pin!(all);
        let heard = loop {
            tokio::select! {
                heard = &mut all => break heard,
                () = tokio::task::yield_now() => most = most.max(handle.counts().active),
            }
        };
        for (heard, end) in heard {
            assert_eq!((heard.as_slice(), end.is_ok()), (&b"abc"[..], true));
        }
        assert_eq!(most, 2);
        assert!(handle.counts().parked > 0);
        served.stop().await;
    });
}

#[test]
fn a_server_for_two_readers_closes_after_the_second_was_served() {
    run(async {
        let manner = Manner {
            readers: Some(2),
            ..pace(1, ms(20))
        };
        let served = serve("abc", manner).await;
        // One who leaves early does not count.
        let mut early = served.reader().await;
        early.read_u8().await.unwrap();
        let end = exited(served.connection().await);
        drop(early);
        end.await;
        for _ in 0..2 {
            assert_eq!(read_all(served.reader().await).await.0, b"abc");
        }
        served.handle.over().await;
        assert_eq!(served.handle.counts().served, 2);
        served.stop().await;
    });
}

#[test]
fn a_reader_who_does_not_read_is_cut_after_the_write_timeout() {
    run(async {
        let manner = Manner {
            write_timeout: ms(200),
            ..Manner::default()
        };
        let served = serve(text(64 << 20), manner).await;
        let mut reader = served.reader().await;
        let end = exited(served.connection().await).await;
        assert!(end.is_normal(), "{end:?}");
        assert_eq!(
            end.to_string(),
            "shutdown: the reader read nothing for 200ms"
        );
        assert_eq!(served.handle.counts().write_timeout, 1);
        let mut heard = Vec::new();
        let error = reader.read_to_end(&mut heard).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        served.stop().await;
    });
}

#[test]
fn a_reader_who_reads_slowly_is_not_cut() {
    run(async {
        let poem = text(16 << 20);
        let manner = Manner {
            write_timeout: ms(400),
            ..Manner::default()
        };
        let served = serve(poem.clone(), manner).await;
        let mut reader = served.reader().await;
        let mut heard = Vec::new();
        let mut piece = vec![0; 256 << 10];
        let begin = tokio::time::Instant::now();
        loop {
            let read = reader.read(&mut piece).await.unwrap();
            if read == 0 {
                break;
            }
            heard.extend_from_slice(&piece[..read]);
            if begin.elapsed() < ms(800) {
                tokio::time::sleep(ms(20)).await;
            }
        }
        assert!(heard == poem);
        served.stop().await;
    });
}

#[test]
fn a_suspended_server_keeps_its_readers_waiting_until_resumed() {
    run(async {
        let served = serve("patience", Manner::default()).await;
        let server = served.handle.server().unwrap();
        server.send(Suspend).await.unwrap();
        let reader = served.reader().await;
        // Whoever would accept it has looked, and parked again.
        server.send(Status).await.unwrap();
        assert_eq!(served.handle.counts().accepted, 0);
        server.send(Resume).await.unwrap();
        assert_eq!(read_all(reader).await.0, b"patience");
        served.stop().await;
    });
}
