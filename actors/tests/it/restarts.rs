//! Killing any one process of a server leaves the rest as the tree says.

use std::io::ErrorKind;
use std::sync::mpsc;

use byron_actors::Manner;
use byron_supervisors::{ExitReason, exited, kill, snapshot};
use futures_util::future::join_all;
use tokio::io::AsyncReadExt;

use crate::support::{
    Served, endless, eventually, ms, pace, pid_at, read_all, run, serve, serve_on,
};

#[test]
fn a_killed_listener_is_replaced_and_harms_nobody() {
    run(async {
        let served = serve("abc", pace(1, ms(100))).await;
        let mut reader = served.reader().await;
        assert_eq!(reader.read_u8().await.unwrap(), b'a');
        let place = "listener-0-127.0.0.1";
        let listener = pid_at(served.root.pid(), place).unwrap();
        let end = exited(listener);
        kill(listener);
        assert_eq!(end.await, ExitReason::Killed);
        // Nobody accepts now, and nobody is refused: the socket is the server's.
        let next = served.reader().await;
        assert_eq!(read_all(next).await.0, b"abc");
        assert_eq!(read_all(reader).await.0, b"bc");
        let successor = pid_at(served.root.pid(), place).unwrap();
        assert_ne!(successor, listener);
        served.stop().await;
    });
}

#[test]
fn a_killed_server_is_replaced_and_nobody_notices() {
    run(async {
        let served = serve("abc", pace(1, ms(100))).await;
        let mut reader = served.reader().await;
        assert_eq!(reader.read_u8().await.unwrap(), b'a');
        let server = served.handle.server().unwrap().pid();
        let end = exited(server);
        kill(server);
        assert_eq!(end.await, ExitReason::Killed);
        assert_eq!(read_all(served.reader().await).await.0, b"abc");
        assert_eq!(read_all(reader).await.0, b"bc");
        eventually("the server is back", || served.handle.server().is_some()).await;
        served.stop().await;
    });
}

#[test]
fn a_killed_connections_supervisor_takes_its_readers_and_the_next_are_served() {
    run(async {
        let served = serve("ab", endless()).await;
        let mut reader = served.reader().await;
        assert_eq!(reader.read_u8().await.unwrap(), b'a');
        kill(pid_at(served.root.pid(), "connections-0").unwrap());
        let error = reader.read_u8().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        let mut next = served.reader().await;
        assert_eq!(next.read_u8().await.unwrap(), b'a');
        served.stop().await;
    });
}

#[test]
fn a_killed_steward_is_replaced_and_listeners_notice_nothing() {
    run(async {
        let served = serve_on("whoever", Manner::default(), 2).await;
        let listeners = ["listener-0-127.0.0.1", "listener-1-127.0.0.1"];
        let before = listeners.map(|place| pid_at(served.root.pid(), place));
        let steward = pid_at(served.root.pid(), "steward-0").unwrap();
        let end = exited(steward);
        kill(steward);
        assert_eq!(end.await, ExitReason::Killed);
        expect_whole(&served, 4).await;
        eventually("another steward", || {
            pid_at(served.root.pid(), "steward-0").is_some_and(|pid| pid != steward)
        })
        .await;
        assert_eq!(
            listeners.map(|place| pid_at(served.root.pid(), place)),
            before
        );
        served.stop().await;
    });
}

#[test]
fn a_killed_listeners_supervisor_takes_its_listeners_and_readers_notice_nothing() {
    run(async {
        let served = serve("abc", pace(1, ms(100))).await;
        let mut reader = served.reader().await;
        assert_eq!(reader.read_u8().await.unwrap(), b'a');
        let listener = pid_at(served.root.pid(), "listener-0-127.0.0.1").unwrap();
        let end = exited(listener);
        kill(pid_at(served.root.pid(), "listeners").unwrap());
        assert_eq!(end.await, ExitReason::Killed, "it dies with its supervisor");
        assert_eq!(read_all(served.reader().await).await.0, b"abc");
        assert_eq!(read_all(reader).await.0, b"bc");
        served.stop().await;
    });
}

#[test]
fn a_killed_tree_of_one_server_is_built_again_and_its_port_answers() {
    run(async {
        let served = serve("abc", pace(1, ms(100))).await;
        let mut reader = served.reader().await;
        assert_eq!(reader.read_u8().await.unwrap(), b'a');
        let server = served.handle.server().unwrap().pid();
        let path = snapshot_path(&served);
        let end = exited(server);
        kill(pid_at(served.root.pid(), &path).unwrap());
        assert_eq!(end.await, ExitReason::Killed, "everything below goes");
        let error = reader.read_to_end(&mut Vec::new()).await.unwrap_err();
        assert_eq!(
            error.kind(),
            ErrorKind::ConnectionReset,
            "its readers too, and not by an end"
        );
        assert_eq!(read_all(served.reader().await).await.0, b"abc");
        served.stop().await;
    });
}

#[test]
fn a_killed_root_takes_everything_and_nobody_starts_it_again() {
    run(async {
        let served = serve("ab", endless()).await;
        let mut reader = served.reader().await;
        assert_eq!(reader.read_u8().await.unwrap(), b'a');
        let server = served.handle.server().unwrap().pid();
        let end = exited(server);
        kill(served.root.pid());
        // Its supervisor hears of the kill, and stops it in order.
        assert_eq!(end.await, ExitReason::SHUTDOWN);
        let error = reader.read_u8().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        assert!(served.handle.server().is_none());
        served.stop().await;
    });
}

/// Where the server's own supervisor stands.
fn snapshot_path(served: &Served) -> String {
    let trees = snapshot();
    let root = trees
        .iter()
        .find(|tree| tree.state.pid() == Some(served.root.pid()))
        .unwrap();
    root.children[0].path.to_string()
}

#[test]
fn a_stalled_listener_keeps_none_of_its_readers() {
    run(async {
        let served = serve_on("whoever", Manner::default(), 2).await;
        assert_eq!(read_all(served.reader().await).await.0, b"whoever");
        let (unblock, blocked) = mpsc::channel::<()>();
        let (tell, is_blocked) = tokio::sync::oneshot::channel();
        served.arbiters[0].spawn_fn(move || {
            let _ = tell.send(());
            let _ = blocked.recv();
        });
        is_blocked.await.unwrap();
        expect_whole(&served, 40).await;
        let counts = served.handle.counts();
        assert!(
            counts.stewarded > 0,
            "of 40 readers some were dealt to the blocked arbiter"
        );
        assert!(counts.stalled > 0);
        unblock.send(()).unwrap();
        eventually("the steward steps back", || {
            served.handle.counts().stalled == 0
        })
        .await;
        expect_whole(&served, 40).await;
        served.stop().await;
    });
}

#[test]
fn a_dead_arbiter_costs_its_own_readers_and_no_other() {
    run(async {
        let served = serve_on("whoever", Manner::default(), 2).await;
        expect_whole(&served, 4).await;
        served.arbiters[0].stop();
        eventually("a steward stands in", || served.handle.counts().stalled > 0).await;
        expect_whole(&served, 40).await;
        assert!(served.handle.counts().stewarded > 0);
        served.stop().await;
    });
}

async fn expect_whole(served: &Served, readers: usize) {
    let readers = join_all((0..readers).map(|_| served.reader())).await;
    for (heard, end) in join_all(readers.into_iter().map(read_all)).await {
        assert_eq!((heard.as_slice(), end.is_ok()), (&b"whoever"[..], true));
    }
}
