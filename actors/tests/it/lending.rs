//! Libraries over real sockets: what is lent, what is not, and poems in frames.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use actix::Arbiter;
use byron_actors::tree::{self, ServiceHandle};
use byron_actors::{
    ClientConfig, Courtesy, FailureKind, Frame, Library, Limits, ListenOn, Manner, ServiceConfig,
    Target, Title,
};
use byron_supervisors::{ActorRef, ArbiterPool, Supervisor};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{
    LIMIT, collect, collect_one, eventually, failure, get, once, play, read_all, run, say,
    say_and_reset, serve, text,
};

struct Lending {
    _directory: tempfile::TempDir,
    root: ActorRef<Supervisor>,
    service: ServiceHandle,
}

/// A library in a directory of its own, filled by `fill`.
async fn lend(courtesy: Courtesy, fill: impl FnOnce(&Path)) -> Lending {
    let directory = tempfile::tempdir().unwrap();
    let library = directory.path().join("library");
    fs::create_dir(&library).unwrap();
    fill(&library);
    let here = ArbiterPool::new([Arbiter::current()]);
    let config = ServiceConfig {
        listen: ListenOn::loopback(0),
        limits: Limits::default(),
        protocol: Arc::new(Library::open(&library, courtesy).unwrap()),
    };
    let (spec, service) = tree::service_spec("library", config, &here).unwrap();
    let root = tree::start_servers("libraries", vec![spec]).await.unwrap();
    Lending {
        _directory: directory,
        root,
        service,
    }
}

impl Lending {
    async fn peer(&self) -> TcpStream {
        TcpStream::connect(self.service.local_addrs()[0])
            .await
            .unwrap()
    }

    /// Says this and no more, and hears everything.
    async fn ask(&self, said: impl AsRef<[u8]>) -> Vec<u8> {
        let mut peer = self.peer().await;
        peer.write_all(said.as_ref()).await.unwrap();
        peer.shutdown().await.unwrap();
        let (heard, end) = read_all(peer).await;
        end.unwrap();
        heard
    }

    fn target(&self, title: &str) -> Target {
        let addr = self.service.local_addrs()[0];
        Target {
            title: Some(Title::new(title)),
            ..crate::support::target(addr)
        }
    }

    async fn stop(self) {
        tree::stop(&self.root, LIMIT).await;
    }
}

fn framed(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    byron_actors::frame(bytes.as_ref()).into()
}

#[test]
fn poems_are_lent_one_after_another_and_listed() {
    run(async {
        let long = text(300_000);
        let lending = lend(Courtesy::default(), |library| {
            fs::write(library.join("long"), &long).unwrap();
            fs::write(library.join("empty.txt"), "").unwrap();
            fs::write(library.join("b \u{fc}.txt"), "poem").unwrap();
            fs::write(library.join(".hidden"), "x").unwrap();
            fs::create_dir(library.join("folder")).unwrap();
        })
        .await;
        let said = b"4:LIST,8:b \xc3\xbc.txt,4:long,9:empty.txt,4:LIST,";
        let list = framed("b \u{fc}.txt\nempty.txt\nlong\n");
        let heard = lending.ask(said).await;
        let expected = [
            list.clone(),
            framed("poem"),
            framed(&long),
            framed(""),
            list,
        ]
        .concat();
        assert!(
            heard == expected,
            "{} of {} bytes",
            heard.len(),
            expected.len()
        );
        eventually("it is counted", || lending.service.counts().served == 1).await;
        lending.stop().await;
    });
}

#[test]
fn nothing_leads_out_of_the_directory() {
    run(async {
        let lending = lend(Courtesy::default(), |library| {
            let outside = library.parent().unwrap();
            fs::write(outside.join("secret"), "secret").unwrap();
            fs::write(library.join("poem"), "poem").unwrap();
            fs::create_dir(library.join("folder")).unwrap();
            fs::write(library.join("folder/inner"), "inner").unwrap();
            symlink("poem", library.join("inside")).unwrap();
            symlink("../secret", library.join("outside")).unwrap();
            symlink("/etc/passwd", library.join("absolute")).unwrap();
            symlink("folder/inner", library.join("deeper")).unwrap();
            symlink("nowhere", library.join("dangling")).unwrap();
            symlink("loop", library.join("loop")).unwrap();
            let fifo = library.join("fifo");
            assert!(
                std::process::Command::new("mkfifo")
                    .arg(fifo)
                    .status()
                    .unwrap()
                    .success()
            );
        })
        .await;
        assert_eq!(lending.ask("6:inside,").await, b"4:poem,");
        assert_eq!(lending.ask("4:LIST,").await, framed("inside\npoem\n"));
        let (long, dots) = ("x".repeat(255), "../".repeat(40));
        let titles = [
            "",
            ".",
            "..",
            "../secret",
            "/etc/passwd",
            "outside",
            "absolute",
            "deeper",
            "dangling",
            "loop",
            "fifo",
            "folder",
            "folder/inner",
            "./poem",
            "poem\0",
            "\0",
            "poem/",
            "nothing",
            "LIST\n",
            &long,
            &dots,
        ];
        for title in titles {
            let heard = lending.ask(framed(title)).await;
            assert_eq!(heard, b"", "{}", title.escape_debug());
        }
        let heard = lending.ask(b"4:p\xff\xfe\xfd,").await;
        assert_eq!(heard, b"");
        // Longer than any name: refused unread.
        assert_eq!(lending.ask("256:").await, b"");
        eventually("they are counted", || {
            lending.service.counts().refused == titles.len() as u64 + 2
        })
        .await;
        lending.stop().await;
    });
}

#[test]
fn a_client_gets_poems_by_their_titles() {
    run(async {
        let lending = lend(Courtesy::default(), |library| {
            fs::write(library.join("a"), "one").unwrap();
            fs::write(library.join("b"), text(200_000)).unwrap();
        })
        .await;
        let wanted = ["a", "b", "c", "../a"].map(|title| lending.target(title));
        let outcomes = collect(ClientConfig::new(wanted.to_vec())).await;
        assert_eq!(
            (outcomes[0].whole, &outcomes[0].heard[..]),
            (true, &b"one"[..])
        );
        assert_eq!(outcomes[1].heard, text(200_000));
        let missing = (FailureKind::Empty, "the library has no poem \"c\"");
        assert_eq!((failure(&outcomes[2]), outcomes[2].attempts), (missing, 1));
        assert_eq!(failure(&outcomes[3]).0, FailureKind::Empty);
        lending.stop().await;
    });
}

#[test]
fn a_file_that_shrinks_is_a_poem_that_is_cut() {
    run(async {
        let lending = lend(Courtesy::default(), |library| {
            fs::write(library.join("long"), text(32 << 20)).unwrap();
        })
        .await;
        let mut peer = lending.peer().await;
        peer.write_all(b"4:long,").await.unwrap();
        let mut heard = vec![0; 100];
        peer.read_exact(&mut heard).await.unwrap();
        let file = lending._directory.path().join("library/long");
        fs::File::options()
            .write(true)
            .open(file)
            .unwrap()
            .set_len(0)
            .unwrap();
        let (rest, end) = read_all(peer).await;
        assert!(end.is_err(), "{} bytes looked whole", rest.len());
        eventually("it is counted", || lending.service.counts().reset == 1).await;
        lending.stop().await;
    });
}

#[test]
fn an_idle_reader_of_a_library_is_let_go() {
    run(async {
        let courtesy = Courtesy {
            request_timeout: Duration::from_millis(100),
            ..Courtesy::default()
        };
        let lending = lend(courtesy, |library| {
            fs::write(library.join("a"), "one").unwrap()
        })
        .await;
        let mut peer = lending.peer().await;
        peer.write_all(b"1:a,").await.unwrap();
        let (heard, end) = read_all(peer).await;
        assert_eq!(heard, b"3:one,");
        assert!(end.is_err(), "an end in order, though it said nothing");
        lending.stop().await;
    });
}

#[test]
fn a_directory_that_is_none_is_no_library() {
    let file = tempfile::NamedTempFile::new().unwrap();
    for path in [file.path(), Path::new("/nowhere")] {
        let error = Library::open(path, Courtesy::default()).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("cannot open the library {}", path.display())
        );
    }
}

fn framed_target(target: Target) -> ClientConfig {
    let target = Target {
        frame: Frame::Netstring,
        ..target
    };
    ClientConfig {
        targets: vec![target],
        ..get(&[])
    }
}

#[test]
fn a_poem_in_a_frame_is_recited_and_heard() {
    run(async {
        let manner = Manner {
            frame: Frame::Netstring,
            ..crate::support::pace(7, Duration::from_millis(1))
        };
        let served = serve("She walks in beauty", manner).await;
        let (heard, end) = read_all(served.reader().await).await;
        end.unwrap();
        assert_eq!(heard, b"19:She walks in beauty,");
        let target = crate::support::target(served.addr());
        let outcome = collect_one(framed_target(target)).await;
        assert_eq!(
            (outcome.whole, &outcome.heard[..]),
            (true, &b"She walks in beauty"[..])
        );
        served.stop().await;
    });
}

#[test]
fn a_poem_in_a_frame_that_is_cut_anywhere_is_truncated_however_orderly() {
    run(async {
        const SAID: &[u8] = b"10:sea of sea,";
        for cut in 0..SAID.len() {
            let orderly =
                play(move |_, stream| async move { say(stream, &SAID[..cut]).await }).await;
            let outcome = collect_one(once(framed_target(crate::support::target(orderly)))).await;
            assert_eq!(failure(&outcome).0, FailureKind::Truncated, "after {cut}");
            let reset =
                play(move |_, stream| async move { say_and_reset(stream, &SAID[..cut]).await })
                    .await;
            let outcome = collect_one(once(framed_target(crate::support::target(reset)))).await;
            assert_eq!(failure(&outcome).0, FailureKind::Reset, "after {cut}");
        }
        // Whole is whole, whatever comes after.
        let whole = play(|_, stream| async move { say_and_reset(stream, SAID).await }).await;
        let outcome = collect_one(once(framed_target(crate::support::target(whole)))).await;
        assert!(outcome.whole || failure(&outcome).0 == FailureKind::Reset);
    });
}

#[test]
fn an_unframed_poem_is_no_netstring_and_says_so() {
    run(async {
        let served = serve("She walks in beauty", Manner::default()).await;
        let target = crate::support::target(served.addr());
        let outcome = collect_one(framed_target(target)).await;
        let message = "it said \"S\" where the length of a netstring should be";
        assert_eq!(failure(&outcome), (FailureKind::Io, message));
        assert_eq!(outcome.attempts, 1);
        served.stop().await;
    });
}

#[test]
fn a_retry_goes_on_where_it_was_within_the_frame() {
    run(async {
        let addr = play(|number, stream| async move {
            match number {
                1 => say(stream, b"4:po").await,
                _ => say(stream, b"4:poem,").await,
            }
        })
        .await;
        let outcome = collect_one(framed_target(crate::support::target(addr))).await;
        assert_eq!((outcome.whole, &outcome.heard[..]), (true, &b"poem"[..]));
        assert_eq!(outcome.retried, [FailureKind::Truncated]);
    });
}

#[test]
fn a_new_poem_has_the_frame_of_the_old_one() {
    run(async {
        let manner = Manner {
            frame: Frame::Netstring,
            ..Manner::default()
        };
        let served = serve("old", manner).await;
        served
            .handle
            .recite(byron_actors::Poem::new("test", "newer"));
        let (heard, _) = read_all(served.reader().await).await;
        assert_eq!(heard, b"5:newer,");
        assert_eq!(served.handle.poem().text, "newer");
        served.stop().await;
    });
}
