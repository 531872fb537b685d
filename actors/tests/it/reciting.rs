//! A poem reaches a raw reader byte for byte, and a crash never looks like its end.

use std::io::ErrorKind;

use byron_actors::{Connection, HowFar, Manner, Poem, Stumble};
use byron_supervisors::{ActorRef, ExitReason, exited, kill, snapshot};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{
    details_of, endless, eventually, ms, pace, read_all, run, serve, serve_on, text,
};

#[test]
fn every_byte_arrives_whatever_the_poem_is() {
    run(async {
        let poems = [
            b"She walks in beauty\n".to_vec(),
            text(256 * 4),
            Vec::new(),
            text(8 << 20),
        ];
        for poem in poems {
            let served = serve(poem.clone(), Manner::default()).await;
            let (heard, end) = read_all(served.reader().await).await;
            end.unwrap();
            assert!(heard == poem, "{} of {} bytes", heard.len(), poem.len());
            eventually("the reader counts as served", || {
                served.handle.counts().served == 1
            })
            .await;
            assert_eq!(served.handle.counts().bytes, poem.len() as u64);
            served.stop().await;
        }
    });
}

#[test]
fn both_loopback_addresses_answer_on_one_port() {
    run(async {
        let served = serve("two ways", Manner::default()).await;
        for addr in served.handle.local_addrs() {
            assert_eq!(Some(addr.port()), served.handle.port());
            let reader = tokio::net::TcpStream::connect(addr).await.unwrap();
            assert_eq!(read_all(reader).await.0, b"two ways");
        }
        served.stop().await;
    });
}

#[test]
fn a_server_and_its_listeners_tell_their_addresses_and_what_they_have_served() {
    run(async {
        let served = serve("two ways", Manner::default()).await;
        read_all(served.reader().await).await.1.unwrap();
        eventually("the reader has left", || {
            let counts = served.handle.counts();
            (counts.served, counts.active) == (1, 0)
        })
        .await;
        let addrs = served.handle.local_addrs().iter().map(ToString::to_string);
        let trees = snapshot();
        let told = details_of(&trees, "byron_actors::server::Server").unwrap();
        let addrs = ("listen_addrs", addrs.collect::<Vec<_>>().join(" "));
        assert!(told.contains(&addrs), "{told:?}");
        for counted in [("served", "1"), ("readers", "0"), ("bytes", "8")] {
            assert!(
                told.contains(&(counted.0, counted.1.to_owned())),
                "{told:?}"
            );
        }
        let told = details_of(&trees, "byron_actors::listener::Listener").unwrap();
        assert_eq!(told[0].0, "listen_addr");
        assert!(addrs.1.contains(&told[0].1), "{told:?}");
        served.stop().await;
    });
}

#[test]
fn a_reader_who_talks_first_gets_every_byte_of_a_long_poem() {
    run(async {
        let poem = text(1 << 20);
        let served = serve_on(poem.clone(), Manner::default(), 1).await;
        for _ in 0..50 {
            let mut reader = served.reader().await;
            reader
                .write_all(b"GET / HTTP/1.0\r\nHost: localhost\r\n\r\n")
                .await
                .unwrap();
            let (heard, end) = read_all(reader).await;
            end.unwrap();
            assert_eq!(heard.len(), poem.len());
            assert!(heard == poem);
        }
        served.stop().await;
    });
}

#[test]
fn a_slow_poem_comes_in_chunks_at_its_pace_and_whole() {
    run(async {
        let poem = text(25);
        let served = serve(poem.clone(), pace(10, ms(50))).await;
        let begin = tokio::time::Instant::now();
        let mut reader = served.reader().await;
        let mut heard = Vec::new();
        let mut cuts = Vec::new();
        while reader.read_buf(&mut heard).await.unwrap() > 0 {
            cuts.push(heard.len());
        }
        assert_eq!((heard, cuts), (poem, vec![10, 20, 25]));
        assert!(
            begin.elapsed() >= ms(100),
            "two pauses, not {:?}",
            begin.elapsed()
        );
        served.stop().await;
    });
}

#[test]
fn a_killed_connection_resets_its_reader() {
    run(async {
        let served = serve("never finished", endless()).await;
        let mut reader = served.reader().await;
        assert_eq!(reader.read_u8().await.unwrap(), b'n');
        let connection = served.connection().await;
        let end = exited(connection);
        kill(connection);
        assert_eq!(end.await, ExitReason::Killed);
        assert_eq!(
            reader.read_u8().await.unwrap_err().kind(),
            ErrorKind::ConnectionReset
        );
        assert_eq!(
            (served.handle.counts().reset, served.handle.counts().active),
            (1, 0)
        );
        served.stop().await;
    });
}

#[test]
fn a_kill_after_the_last_byte_takes_nothing_back() {
    run(async {
        let poem = text(64 << 10);
        let served = serve(poem.clone(), Manner::default()).await;
        // Most of the poem is still with the server's kernel when its actor dies.
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let reader = socket.connect(served.addr()).await.unwrap();
        let pid = served.connection().await;
        let connection = ActorRef::<Connection>::of(pid).expect("it lives");
        while connection.send(HowFar).await.unwrap().left_bytes > 0 {}
        let end = exited(pid);
        kill(pid);
        assert_eq!(end.await, ExitReason::Killed);
        let (heard, end) = read_all(reader).await;
        end.unwrap();
        assert!(heard == poem);
        let counts = served.handle.counts();
        assert_eq!((counts.served, counts.reset), (1, 0));
        served.stop().await;
    });
}

#[test]
fn a_connection_that_panics_resets_its_reader_and_no_other() {
    run(async {
        let served = serve("ab", pace(1, ms(300))).await;
        let mut first = served.reader().await;
        assert_eq!(first.read_u8().await.unwrap(), b'a');
        let stumbles = served.connection().await;
        let mut second = served.reader().await;
        assert_eq!(second.read_u8().await.unwrap(), b'a');
        let end = exited(stumbles);
        let connection = ActorRef::<Connection>::of(stumbles).expect("it lives");
        assert_eq!(connection.send(HowFar).await.unwrap().left_bytes, 1);
        connection.do_send(Stumble);
        assert!(matches!(end.await, ExitReason::Panic(panic) if panic.message.contains("forgot")));
        assert_eq!(
            first.read_u8().await.unwrap_err().kind(),
            ErrorKind::ConnectionReset
        );
        let (heard, end) = read_all(second).await;
        assert_eq!(heard, b"b");
        end.unwrap();
        served.stop().await;
    });
}

#[test]
fn a_reader_who_leaves_early_is_normal_and_counted() {
    run(async {
        let served = serve(text(1000), pace(1, ms(5))).await;
        let mut reader = served.reader().await;
        reader.read_u8().await.unwrap();
        let end = exited(served.connection().await);
        drop(reader);
        assert_eq!(end.await, ExitReason::Normal);
        let counts = served.handle.counts();
        assert_eq!((counts.client_gone, counts.served, counts.reset), (1, 0, 0));
        served.stop().await;
    });
}

#[test]
fn another_poem_is_for_the_next_reader() {
    run(async {
        let served = serve("old", pace(1, ms(100))).await;
        let mut reader = served.reader().await;
        assert_eq!(reader.read_u8().await.unwrap(), b'o');
        let before = served.handle.recite(Poem::new("new", "new"));
        assert_eq!(before.text, "old");
        let next = served.reader().await;
        assert_eq!(read_all(reader).await.0, b"ld");
        assert_eq!(read_all(next).await.0, b"new");
        served.stop().await;
    });
}
