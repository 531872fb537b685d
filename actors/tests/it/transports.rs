//! Transports: what a crash and an end look like on each, and that what lies before a poem keeps nobody waiting for ever.

use std::fs;
use std::io::{ErrorKind, Read as _};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use actix::Arbiter;
use byron_actors::tree::{self, ServerHandle};
use byron_actors::{
    Address, Authorities, BACKLOG, BindServerError, Binding, ClientTls, Connection, FailureKind,
    Front, HANDSHAKE_TIMEOUT, HowFar, Identity, Interfaces, ListenOn, Manner, PROXY_HEADER_TIMEOUT,
    Poem, ServerConfig, ServerTls, Sockets, Target, UnixAddress, Whereabouts,
};
use byron_supervisors::{ActorRef, ArbiterPool, exited, kill};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::Instant;

use crate::support::{
    Served, collect_one, endless, eventually, failure, get, ms, once, read_all, run, text,
};

const TLS_GARBAGE: &[u8] = b"\x16\x03\x01\xff\xff poetry is not a handshake";

/// Certificates for one test, in files.
struct Certificates {
    directory: PathBuf,
}

impl Drop for Certificates {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

impl Certificates {
    /// An authority, and a server called `localhost` that it knows.
    fn new(test: &str) -> Self {
        let directory = scratch(test);
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = params.self_signed(&key).unwrap();
        let authority = Issuer::new(params, key);
        let server_key = KeyPair::generate().unwrap();
        let names = vec!["localhost".to_owned()];
        let server = CertificateParams::new(names).unwrap();
        let server = server.signed_by(&server_key, &authority).unwrap();
        fs::write(directory.join("ca.pem"), ca.pem()).unwrap();
        fs::write(
            directory.join("server.pem"),
            server.pem() + &server_key.serialize_pem(),
        )
        .unwrap();
        Self { directory }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    fn front(&self) -> Front {
        let identity = Identity {
            cert: self.path("server.pem"),
            key: self.path("server.pem"),
        };
        Front {
            tls: Some(ServerTls::read(&identity, None).unwrap()),
            proxied: false,
        }
    }

    /// The target of a client that believes the authority.
    fn target(&self, served: &Served) -> Target {
        let authorities = Authorities::File(self.path("ca.pem"));
        let whereabouts = Whereabouts::Tls {
            at: Box::new(Whereabouts::Addresses(vec![served.addr()])),
            name: "localhost".to_owned(),
            tls: ClientTls::read(&authorities, None).unwrap(),
        };
        Target::new("localhost", whereabouts)
    }
}

/// An empty directory of one test.
fn scratch(test: &str) -> PathBuf {
    let name = format!("byron-{}-{test}", std::process::id());
    let directory = std::env::temp_dir().join(name);
    fs::create_dir_all(&directory).unwrap();
    directory
}

async fn serve_at(listen: ListenOn, poem: impl Into<Vec<u8>>, manner: Manner) -> Served {
    let config = ServerConfig {
        listen,
        manner,
        poem: Poem::new("test", poem.into()),
    };
    let here = ArbiterPool::new([Arbiter::current()]);
    let (spec, handle) = tree::server_spec("test", config, &here).unwrap();
    let root = tree::start_servers("servers", vec![spec]).await.unwrap();
    Served {
        handle,
        root,
        arbiters: Vec::new(),
    }
}

fn fronted(front: Front) -> ListenOn {
    ListenOn {
        front,
        ..ListenOn::loopback(0)
    }
}

fn proxied() -> ListenOn {
    fronted(Front {
        proxied: true,
        tls: None,
    })
}

fn unix(path: &Path, mode: Option<u32>) -> ListenOn {
    Sockets::Unix {
        address: UnixAddress::Path(path.to_owned()),
        mode,
        backlog: BACKLOG,
    }
    .into()
}

async fn refused(handle: &ServerHandle) {
    let handle = handle.clone();
    eventually("the peer is refused", move || handle.counts().refused == 1).await;
}

#[test]
fn a_poem_over_tls_is_whole_and_long_ones_are_too() {
    run(async {
        let certificates = Certificates::new("whole");
        for poem in [text(3003), text(5 << 20)] {
            let served = serve_at(
                fronted(certificates.front()),
                poem.clone(),
                Manner::default(),
            )
            .await;
            let mut config = get(&[]);
            config.targets = vec![certificates.target(&served)];
            let outcome = collect_one(config).await;
            assert_eq!(outcome.failure, None);
            assert!(outcome.heard == poem);
            // A reader is counted when it has left, and that is looked for now and then.
            eventually("it is counted", || served.handle.counts().served == 1).await;
            served.stop().await;
        }
    });
}

#[test]
fn a_crash_over_tls_is_no_end() {
    run(async {
        let certificates = Certificates::new("crash");
        let served = serve_at(fronted(certificates.front()), "ab", endless()).await;
        let mut config = once(get(&[]));
        config.targets = vec![certificates.target(&served)];
        let handle = served.handle.clone();
        let killing = async {
            eventually("the first byte is said", || handle.counts().bytes == 1).await;
            kill(served.connection().await);
        };
        let (outcome, ()) = futures_util::future::join(collect_one(config), killing).await;
        assert_eq!(outcome.heard, b"a");
        assert_eq!(failure(&outcome).0, FailureKind::Reset);
        served.stop().await;
    });
}

/// A proxy between the two may turn a reset into an end; TLS is not deceived.
#[test]
fn an_end_that_tls_did_not_say_is_a_truncated_poem() {
    run(async {
        let certificates = Certificates::new("cut");
        let served = serve_at(fronted(certificates.front()), "ab", endless()).await;
        let server = served.addr();
        let between = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = between.local_addr().unwrap();
        let handle = served.handle.clone();
        actix_rt::spawn(async move {
            let (mut reader, _) = between.accept().await.unwrap();
            let mut upstream = TcpStream::connect(server).await.unwrap();
            let carried = tokio::io::copy_bidirectional(&mut reader, &mut upstream);
            let said = eventually("the first byte is said", || handle.counts().bytes == 1);
            tokio::select! {
                _ = carried => panic!("the poem ended"),
                () = said => {}
            }
            // The kernel has it: what was not carried yet is here, whether the reactor knows of it or not.
            let upstream = upstream.into_std().unwrap();
            let mut rest = [0; 4096];
            while let Ok(read @ 1..) = (&upstream).read(&mut rest) {
                reader.write_all(&rest[..read]).await.unwrap();
            }
            let _ = reader.shutdown().await;
        });
        let mut config = once(get(&[]));
        let Target {
            whereabouts: Whereabouts::Tls { name, tls, .. },
            ..
        } = certificates.target(&served)
        else {
            panic!("it is TLS");
        };
        config.targets = vec![Target::new(
            "between",
            Whereabouts::Tls {
                at: Box::new(Whereabouts::Addresses(vec![addr])),
                name,
                tls,
            },
        )];
        let outcome = collect_one(config).await;
        assert_eq!(outcome.heard, b"a");
        let (kind, message) = failure(&outcome);
        assert_eq!(kind, FailureKind::Truncated);
        assert_eq!(message, format!("{addr} cut off the TLS without a close"));
        served.stop().await;
    });
}

/// There is no reset on a Unix socket. What a reader has said and nobody has read tells it all the same.
#[test]
fn a_crash_on_a_unix_socket_is_an_end_unless_something_was_unread() {
    run(async {
        let directory = scratch("unix-crash");
        let path = directory.join("p.sock");
        let served = serve_at(unix(&path, None), "ab", endless()).await;
        for (says, end) in [("", None), ("x", Some(ErrorKind::ConnectionReset))] {
            let mut reader = UnixStream::connect(&path).await.unwrap();
            reader.write_all(says.as_bytes()).await.unwrap();
            assert_eq!(reader.read_u8().await.unwrap(), b'a');
            let connection = served.connection().await;
            let gone = exited(connection);
            kill(connection);
            gone.await;
            let mut rest = Vec::new();
            let outcome = reader.read_to_end(&mut rest).await;
            assert_eq!(rest, b"");
            assert_eq!(
                outcome.err().map(|error| error.kind()),
                end,
                "after {says:?}"
            );
        }
        served.stop().await;
        let _ = fs::remove_dir_all(directory);
    });
}

#[test]
fn a_talkative_reader_on_a_unix_socket_gets_its_poem_whole() {
    run(async {
        let directory = scratch("unix-talk");
        let path = directory.join("p.sock");
        let poem = text(1 << 20);
        let served = serve_at(unix(&path, None), poem.clone(), Manner::default()).await;
        let mut reader = UnixStream::connect(&path).await.unwrap();
        reader.write_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
        let mut heard = Vec::new();
        reader.read_to_end(&mut heard).await.unwrap();
        assert!(heard == poem);
        drop(reader);
        served.stop().await;
        let _ = fs::remove_dir_all(directory);
    });
}

#[test]
fn a_socket_file_has_its_permissions_replaces_a_dead_one_and_is_removed() {
    let directory = scratch("unix-file");
    let path = directory.join("p.sock");
    // A dead server leaves its file.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let binding = Binding::bind(&unix(&path, Some(0o626)), 2).unwrap();
    let metadata = fs::metadata(&path).unwrap();
    assert!(metadata.file_type().is_socket());
    assert_eq!(metadata.permissions().mode() & 0o777, 0o626);

    let error = Binding::bind(&unix(&path, None), 1).unwrap_err();
    assert!(matches!(error, BindServerError::AddressInUse(_)), "{error}");
    drop(binding);
    assert!(!path.exists());

    fs::write(&path, "a poem").unwrap();
    let error = Binding::bind(&unix(&path, None), 1).unwrap_err();
    assert!(matches!(error, BindServerError::NotASocket(_)), "{error}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "a poem");
    let _ = fs::remove_dir_all(directory);
}

#[test]
fn a_file_that_somebody_else_has_put_there_is_not_removed() {
    let directory = scratch("unix-other");
    let path = directory.join("p.sock");
    let binding = Binding::bind(&unix(&path, None), 1).unwrap();
    fs::remove_file(&path).unwrap();
    fs::write(&path, "a poem").unwrap();
    drop(binding);
    assert_eq!(fs::read_to_string(&path).unwrap(), "a poem");
    let _ = fs::remove_dir_all(directory);
}

#[test]
fn servers_that_start_at_once_do_not_take_each_others_place() {
    let directory = scratch("unix-race");
    let path = directory.join("p.sock");
    for _ in 0..50 {
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let starts: Vec<_> = (0..4)
            .map(|_| {
                let on = unix(&path, None);
                std::thread::spawn(move || Binding::bind(&on, 1).ok())
            })
            .collect();
        let bound: Vec<_> = starts
            .into_iter()
            .filter_map(|start| start.join().unwrap())
            .collect();
        assert_eq!(bound.len(), 1);
    }
    let _ = fs::remove_dir_all(directory);
}

#[test]
fn a_name_that_is_no_file_is_gone_with_its_server() {
    let address = UnixAddress::Abstract(format!("byron-{}", std::process::id()).into_bytes());
    let on = ListenOn::from(Sockets::Unix {
        address,
        mode: None,
        backlog: BACKLOG,
    });
    let binding = Binding::bind(&on, 2).unwrap();
    let error = Binding::bind(&on, 1).unwrap_err();
    assert!(matches!(error, BindServerError::AddressInUse(_)), "{error}");
    drop(binding);
    Binding::bind(&on, 1).unwrap();
}

#[test]
fn an_inherited_socket_must_be_one_that_can_listen() {
    let inherited =
        |fd: std::os::fd::OwnedFd| ListenOn::from(Sockets::Inherited(Arc::new(vec![fd])));
    let (one, _other) = std::os::unix::net::UnixStream::pair().unwrap();
    for (fd, problem) in [
        (
            fs::File::open("/dev/null").unwrap().into(),
            "an inherited file descriptor is no socket",
        ),
        (
            std::net::UdpSocket::bind("127.0.0.1:0").unwrap().into(),
            "an inherited file descriptor is not a stream socket",
        ),
        (
            one.into(),
            "an inherited file descriptor is a connection, not a listening socket",
        ),
    ] {
        assert_eq!(
            Binding::bind(&inherited(fd), 1).unwrap_err().to_string(),
            problem
        );
    }
}

#[test]
fn a_reader_behind_a_proxy_is_who_the_proxy_says() {
    run(async {
        let served = serve_at(proxied(), "ab", endless()).await;
        let mut reader = served.reader().await;
        reader
            .write_all(b"PROXY TCP4 192.0.2.1 192.0.2.2 51000 10000\r\n")
            .await
            .unwrap();
        assert_eq!(reader.read_u8().await.unwrap(), b'a');
        let connection = ActorRef::<Connection>::of(served.connection().await).unwrap();
        let progress = connection.send(HowFar).await.unwrap();
        let source = Address::Internet("192.0.2.1:51000".parse().unwrap());
        assert_eq!(progress.peer_addr, Some(source));
        served.stop().await;
    });
}

#[test]
fn a_connection_without_a_proxys_header_gets_not_one_byte() {
    run(async {
        let served = serve_at(proxied(), "poem", Manner::default()).await;
        let mut reader = served.reader().await;
        reader.write_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
        refused(&served.handle).await;
        assert_eq!(read_all(reader).await.0, b"");
        assert_eq!(
            (served.handle.counts().served, served.handle.counts().reset),
            (0, 0)
        );
        served.stop().await;
    });
}

#[test]
fn tls_that_comes_together_with_the_header_is_not_lost() {
    run(async {
        let certificates = Certificates::new("both");
        let front = Front {
            proxied: true,
            ..certificates.front()
        };
        let served = serve_at(fronted(front), "poem", Manner::default()).await;
        let server = served.addr();
        let between = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = between.local_addr().unwrap();
        actix_rt::spawn(async move {
            let (mut reader, _) = between.accept().await.unwrap();
            let mut upstream = TcpStream::connect(server).await.unwrap();
            let mut hello = vec![0; 4096];
            let read = reader.read(&mut hello).await.unwrap();
            let header = b"PROXY TCP4 192.0.2.1 192.0.2.2 51000 10000\r\n";
            upstream
                .write_all(&[header, &hello[..read]].concat())
                .await
                .unwrap();
            let _ = tokio::io::copy_bidirectional(&mut reader, &mut upstream).await;
        });
        let mut config = once(get(&[]));
        let mut target = certificates.target(&served);
        if let Whereabouts::Tls { at, .. } = &mut target.whereabouts {
            **at = Whereabouts::Addresses(vec![addr]);
        }
        config.targets = vec![target];
        let outcome = collect_one(config).await;
        assert_eq!((outcome.failure, outcome.heard), (None, b"poem".to_vec()));
        served.stop().await;
    });
}

/// Says one byte after another, with pauses, until it is not wanted any more; answers how long that took.
async fn dribble(mut peer: TcpStream, bytes: &[u8]) -> std::time::Duration {
    let begin = Instant::now();
    let (mut from, mut to) = peer.split();
    let saying = async {
        for byte in bytes.iter().cycle() {
            if to.write_all(&[*byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(ms(400)).await;
        }
    };
    tokio::select! {
        () = saying => {}
        end = from.read_u8() => assert!(end.is_err(), "it got a byte"),
    }
    begin.elapsed()
}

#[test]
fn a_header_that_comes_a_byte_at_a_time_has_one_limit_for_all_of_it() {
    run(async {
        let served = serve_at(proxied(), "poem", Manner::default()).await;
        let took = dribble(
            served.reader().await,
            b"PROXY UNKNOWN and so on and on, without an end ",
        )
        .await;
        assert!(
            took >= PROXY_HEADER_TIMEOUT && took < PROXY_HEADER_TIMEOUT * 2,
            "{took:?}"
        );
        refused(&served.handle).await;
        served.stop().await;
    });
}

#[test]
fn who_never_begins_the_handshake_is_let_go_and_keeps_nobody_waiting() {
    run(async {
        let certificates = Certificates::new("half-open");
        let served = serve_at(fronted(certificates.front()), "poem", Manner::default()).await;
        let silent = served.reader().await;
        let begin = Instant::now();
        let mut config = once(get(&[]));
        config.targets = vec![certificates.target(&served)];
        assert_eq!(collect_one(config).await.heard, b"poem");
        assert!(begin.elapsed() < HANDSHAKE_TIMEOUT);
        let (heard, end) = read_all(silent).await;
        assert_eq!(heard, b"");
        assert!(end.is_err() && begin.elapsed() >= HANDSHAKE_TIMEOUT);
        refused(&served.handle).await;
        served.stop().await;
    });
}

#[test]
fn garbage_in_place_of_a_handshake_is_refused_at_once() {
    run(async {
        let certificates = Certificates::new("garbage");
        let served = serve_at(fronted(certificates.front()), "poem", Manner::default()).await;
        let mut peer = served.reader().await;
        peer.write_all(TLS_GARBAGE).await.unwrap();
        let (heard, _) = read_all(peer).await;
        assert!(!heard.windows(4).any(|piece| piece == b"poem"));
        refused(&served.handle).await;
        served.stop().await;
    });
}

#[test]
fn files_that_are_no_certificates_are_named() {
    let certificates = Certificates::new("files");
    let other = Certificates::new("files-other");
    fs::write(certificates.path("empty.pem"), "").unwrap();
    let server = certificates.path("server.pem");
    let identity = |cert: &Path, key: &Path| Identity {
        cert: cert.to_owned(),
        key: key.to_owned(),
    };
    let error = |identity: &Identity| ServerTls::read(identity, None).unwrap_err().to_string();
    let missing = certificates.path("missing.pem");
    assert_eq!(
        error(&identity(&missing, &server)),
        format!("cannot read {}", missing.display())
    );
    let empty = certificates.path("empty.pem");
    assert_eq!(
        error(&identity(&empty, &server)),
        format!("no certificate in {}", empty.display())
    );
    let ca = certificates.path("ca.pem");
    assert_eq!(
        error(&identity(&server, &ca)),
        format!("no private key in {}", ca.display())
    );
    let text = error(&identity(&server, &other.path("server.pem")));
    assert!(text.contains(" does not go with "), "{text}");
}

#[test]
fn many_addresses_of_interfaces_are_bound_beside_each_other() {
    let sockets = Sockets::Tcp {
        interfaces: Interfaces::These(vec![[127, 0, 0, 1].into(), [127, 0, 0, 2].into()]),
        port: 0,
        backlog: BACKLOG,
    };
    let binding = Binding::bind(&sockets.into(), 2).unwrap();
    assert_eq!(binding.addresses().len(), 2);
    assert_eq!(binding.local_addrs()[1].port(), binding.port().unwrap());
}

#[test]
fn one_connection_that_stands_already_is_served_and_ends_the_service() {
    run(async {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        let listen = Sockets::Connected(Arc::new(ours.into())).into();
        let served = serve_at(listen, "poem", Manner::default()).await;
        theirs.set_nonblocking(true).unwrap();
        let mut reader = UnixStream::from_std(theirs).unwrap();
        let mut heard = Vec::new();
        reader.read_to_end(&mut heard).await.unwrap();
        assert_eq!(heard, b"poem");
        drop(reader);
        served.handle.over().await;
        assert_eq!(served.handle.counts().served, 1);
        served.stop().await;
    });
}

#[test]
fn a_drain_lets_a_poem_over_tls_finish_and_says_close_notify() {
    run(async {
        let certificates = Certificates::new("drain");
        let manner = crate::support::pace(1, ms(50));
        let served = serve_at(fronted(certificates.front()), "abcd", manner).await;
        let mut config = once(get(&[]));
        config.targets = vec![certificates.target(&served)];
        let handle = served.handle.clone();
        let draining = async {
            eventually("the first byte is said", || handle.counts().bytes >= 1).await;
            handle.drain(crate::support::LIMIT).await
        };
        let (outcome, drained) = futures_util::future::join(collect_one(config), draining).await;
        assert_eq!((outcome.failure, outcome.heard), (None, b"abcd".to_vec()));
        assert_eq!((drained.under_way, drained.reset), (1, 0));
        served.stop().await;
    });
}
