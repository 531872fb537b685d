//! The end of a server: nobody comes in, those inside finish if they can.

use std::io::ErrorKind;

use byron_actors::{Drain, Drained};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use crate::support::{LIMIT, endless, ms, pace, read_all, run, serve, serve_on};

#[test]
fn a_drain_lets_poems_finish_and_refuses_new_readers() {
    run(async {
        let served = serve("abcd", pace(1, ms(50))).await;
        let mut reader = served.reader().await;
        reader.read_u8().await.unwrap();
        let server = served.handle.server().unwrap();
        let draining = server.send(Drain(LIMIT));
        let (heard, end) = read_all(reader).await;
        assert_eq!(heard, b"bcd");
        end.unwrap();
        assert_eq!(
            draining.await.unwrap(),
            Drained {
                under_way: 1,
                reset: 0
            }
        );
        let refused = TcpStream::connect(served.addr()).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        served.stop().await;
    });
}

#[test]
fn a_drain_resets_who_is_not_done_in_time_and_says_how_many() {
    run(async {
        let served = serve_on("ab", endless(), 2).await;
        let mut readers = Vec::new();
        for _ in 0..10 {
            let mut reader = served.reader().await;
            reader.read_u8().await.unwrap();
            readers.push(reader);
        }
        let drained = served.handle.drain(ms(50)).await;
        assert_eq!(
            drained,
            Drained {
                under_way: 10,
                reset: 10
            }
        );
        for mut reader in readers {
            let error = reader.read_u8().await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        }
        served.handle.over().await;
        served.stop().await;
    });
}

#[test]
fn stopping_the_tree_resets_the_readers() {
    run(async {
        let served = serve("ab", endless()).await;
        let mut reader = served.reader().await;
        reader.read_u8().await.unwrap();
        served.stop().await;
        let error = reader.read_u8().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    });
}
