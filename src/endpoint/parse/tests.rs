//! The grammar as tables: what is read, what is refused and in which words.

use std::time::Duration;

use byron_actors::UnixAddress;
use proptest::prelude::*;

use super::*;

fn listen(interface: Interface, port: u16) -> ListenEndpoint {
    ListenEndpoint::tcp(interface, port)
}

fn file(path: &str) -> UnixAddress {
    UnixAddress::Path(path.into())
}

fn ip(text: &str) -> Host {
    Host::Ip(text.parse().unwrap())
}

fn name(text: &str) -> Host {
    Host::Name(text.to_owned())
}

#[test]
fn listen_endpoints_are_read() {
    let local = Interface::Host(Host::Localhost);
    for (input, expected) in [
        ("10000", listen(local.clone(), 10000)),
        ("0", listen(local.clone(), 0)),
        (":10000", listen(local.clone(), 10000)),
        ("00080", listen(local.clone(), 80)),
        ("localhost:10000", listen(local.clone(), 10000)),
        ("*:10000", listen(Interface::Every, 10000)),
        ("0.0.0.0:1", listen(Interface::Host(ip("0.0.0.0")), 1)),
        ("[::]:1", listen(Interface::Host(ip("::")), 1)),
        (
            "donne.example:1",
            listen(Interface::Host(name("donne.example")), 1),
        ),
        ("tcp:10000", listen(local.clone(), 10000)),
        ("TCP:10000", listen(local.clone(), 10000)),
        ("tcp:port=10000", listen(local.clone(), 10000)),
        ("tcp:10000:interface=*", listen(Interface::Every, 10000)),
        (
            "tcp:10000:interface=[::1]",
            listen(Interface::Host(ip("::1")), 10000),
        ),
        (
            r"tcp:10000:interface=\:\:1",
            listen(Interface::Host(ip("::1")), 10000),
        ),
        (
            "tcp:10000:interface=127.0.0.1:backlog=128",
            ListenEndpoint {
                backlog: Some(128),
                ..listen(Interface::Host(ip("127.0.0.1")), 10000)
            },
        ),
        ("tcp6:1", listen(Interface::Host(ip("::1")), 1)),
        ("tcp6:1:interface=*", listen(Interface::Host(ip("::")), 1)),
        (
            "unix:/run/byron/p.sock:mode=660",
            ListenPlace::Unix {
                address: file("/run/byron/p.sock"),
                mode: Some(0o660),
            }
            .into(),
        ),
        (
            r"unix:/a=b\:c:backlog=5",
            ListenEndpoint {
                backlog: Some(5),
                ..ListenPlace::Unix {
                    address: file("/a=b:c"),
                    mode: None,
                }
                .into()
            },
        ),
        (
            "unix:@name",
            ListenPlace::Unix {
                address: UnixAddress::Abstract(b"name".to_vec()),
                mode: None,
            }
            .into(),
        ),
        (
            "tls:10443:cert=c.pem",
            ListenEndpoint {
                tls: Some(ListenTls {
                    cert: "c.pem".into(),
                    key: None,
                    ca: None,
                    is_called_ssl: false,
                }),
                ..listen(local.clone(), 10443)
            },
        ),
        (
            "ssl:10443:key=k=1.pem:cert=/ä/c.pem:ca=[a:b].pem:interface=*",
            ListenEndpoint {
                tls: Some(ListenTls {
                    cert: "/ä/c.pem".into(),
                    key: Some("k=1.pem".into()),
                    ca: Some("[a:b].pem".into()),
                    is_called_ssl: true,
                }),
                ..listen(Interface::Every, 10443)
            },
        ),
        (
            "systemd:name=poem",
            ListenPlace::Systemd("poem".into()).into(),
        ),
        ("systemd:poem", ListenPlace::Systemd("poem".into()).into()),
        ("fd:3", ListenPlace::Fd(3).into()),
        ("stdio:", ListenPlace::Stdio.into()),
        (
            "haproxy:tcp:10000",
            ListenEndpoint {
                proxied: true,
                ..listen(local.clone(), 10000)
            },
        ),
        (
            "HAProxy:unix:/p",
            ListenEndpoint {
                proxied: true,
                ..ListenPlace::Unix {
                    address: file("/p"),
                    mode: None,
                }
                .into()
            },
        ),
    ] {
        assert_eq!(parse_listen(input), Ok(expected.clone()), "{input}");
        assert_eq!(
            parse_listen(&expected.to_string()),
            Ok(expected),
            "{input}, written and read again"
        );
    }
}

#[test]
fn connect_endpoints_are_read() {
    let connect = ConnectEndpoint::tcp;
    let seconds = |seconds| Some(Duration::from_secs(seconds));
    for (input, expected) in [
        ("10001", connect(Host::Localhost, 10001)),
        (":10001", connect(Host::Localhost, 10001)),
        ("LocalHost:10001", connect(Host::Localhost, 10001)),
        ("127.0.0.1:10001", connect(ip("127.0.0.1"), 10001)),
        ("[::1]:10001", connect(ip("::1"), 10001)),
        (
            "donne.example.:65535",
            connect(name("donne.example."), 65535),
        ),
        ("tcp:10001", connect(Host::Localhost, 10001)),
        ("tcp:donne.example:80", connect(name("donne.example"), 80)),
        ("tcp:[::1]:80", connect(ip("::1"), 80)),
        (
            "tcp:80:host=donne.example",
            connect(name("donne.example"), 80),
        ),
        (
            "tcp:donne.example:port=80",
            connect(name("donne.example"), 80),
        ),
        ("tcp:port=80", connect(Host::Localhost, 80)),
        (
            "tcp:host=donne.example:port=80:timeout=15",
            ConnectEndpoint {
                connect_timeout: seconds(15),
                ..connect(name("donne.example"), 80)
            },
        ),
        (
            "tcp:80:timeout=2m",
            ConnectEndpoint {
                connect_timeout: seconds(120),
                ..connect(Host::Localhost, 80)
            },
        ),
        (
            "unix:/run/p.sock:timeout=1",
            ConnectEndpoint {
                connect_timeout: seconds(1),
                ..ConnectPlace::Unix(file("/run/p.sock")).into()
            },
        ),
        ("unix:path=p", ConnectPlace::Unix(file("p")).into()),
        (
            "tls:10443",
            ConnectEndpoint {
                tls: Some(ConnectTls::default()),
                ..connect(Host::Localhost, 10443)
            },
        ),
        (
            "tls:donne.example:10443:ca=ca.pem:cert=c.pem:key=k.pem:name=poet:timeout=15",
            ConnectEndpoint {
                connect_timeout: seconds(15),
                tls: Some(ConnectTls {
                    ca: Some("ca.pem".into()),
                    cert: Some("c.pem".into()),
                    key: Some("k.pem".into()),
                    name: Some("poet".into()),
                    is_called_ssl: false,
                }),
                ..connect(name("donne.example"), 10443)
            },
        ),
    ] {
        assert_eq!(parse_connect(input), Ok(expected.clone()), "{input}");
        assert_eq!(
            parse_connect(&expected.to_string()),
            Ok(expected),
            "{input}, written and read again"
        );
    }
}

#[test]
fn every_mistake_has_its_words_and_its_column() {
    let forms = "expected PORT, HOST:PORT or an endpoint such as unix:/run/p.sock";
    for (input, problem, hint) in [
        ("1000x", "not a digit at column 5", forms),
        ("-1", "not a digit at column 1", forms),
        ("1 0", "not a digit at column 2", forms),
        ("", "empty", forms),
        ("65536", "port above 65535 at column 1", forms),
        (
            "99999999999999999999",
            "port above 65535 at column 1",
            forms,
        ),
        (
            "0",
            "port 0 at column 1",
            "only a server may leave its port open, a client must name it",
        ),
        ("donne.example", "no port at column 14", forms),
        ("127.0.0.1", "no port at column 10", forms),
        ("localhost", "no port at column 10", forms),
        ("localhost:", "no port at column 11", forms),
        (":", "no port at column 2", forms),
        ("[::1]", "no port at column 6", forms),
        ("[::1]10", "no colon after the bracket at column 6", forms),
        ("[::1", "a bracket that is never closed, at column 1", forms),
        ("[nonsense]:80", "not an IPv6 address at column 1", forms),
        (
            "::1:80",
            "an IPv6 address without brackets at column 1",
            "write it as [::1]:10000",
        ),
        ("1:2:3", "a second colon at column 4", forms),
        ("256.0.0.1:80", "not an IPv4 address at column 1", forms),
        ("127.1:80", "not an IPv4 address at column 1", forms),
        (
            "a..b:80",
            "a host name with nothing between two dots at column 1",
            forms,
        ),
        (
            "a b:80",
            "\" \" in a host name at column 2",
            "host names have letters, digits, dots and hyphens",
        ),
        (
            "*:80",
            "every interface at column 1",
            "only a server can listen on *, a client needs a host",
        ),
        ("a\0:80", "a control character at column 2", forms),
        (
            "dönne:80",
            "not an ASCII character at column 2",
            "write such names the way DNS has them, beginning with xn--",
        ),
        (
            "tcq:host=a:port=1",
            "unknown endpoint type \"tcq\" at column 1",
            "did you mean tcp:",
        ),
        (
            "uinx:/run:1",
            "unknown endpoint type \"uinx\" at column 1",
            "did you mean unix:",
        ),
        (
            "tcp4:1",
            "unsupported endpoint type tcp4: at column 1",
            "the types are tcp:, unix:, tls:, ssl:",
        ),
        (
            "stdio:",
            "only a server can be at stdio: at column 1",
            "the types are tcp:, unix:, tls:, ssl:",
        ),
        (
            "unix:",
            "no path at column 6",
            "such as unix:/run/byron/p.sock, or unix:@name for a name that is no file",
        ),
        (
            "unix:/p:timout=1",
            "unknown key \"timout\" at column 9",
            "did you mean timeout=",
        ),
        (
            "tls:a:1:key=k.pem",
            "a key without a certificate at column 13",
            "name its file too: cert=c.pem",
        ),
        ("tls:a:1:ca=", "no path at column 12", forms),
        (
            "tls:a:1:name=*",
            "every interface at column 14",
            "only a server can listen on *, a client needs a host",
        ),
        ("tcp:", "no port at column 5", forms),
        ("tcp:host=a", "no port at column 11", forms),
        ("tcp:host=:port=1", "no host at column 10", forms),
        (
            "tcp:host=a:prot=1",
            "unknown key \"prot\" at column 12",
            "did you mean port=",
        ),
        (
            "tcp:host=a:port=1:backlog=5",
            "unknown key \"backlog\" at column 19",
            "the keys are host, port, timeout",
        ),
        (
            "tcp:host=a:port=1:host=b",
            "a second host at column 19",
            "say it once",
        ),
        (
            "tcp:a:1:2",
            "a value without a key at column 9",
            "the keys are host, port, timeout",
        ),
        ("tcp:a:1\\", "a backslash before nothing at column 8", forms),
        (
            "tcp:a:1:timeout=0",
            "a timeout of nothing at column 17",
            "leave it out to have the default",
        ),
    ] {
        let quoted = quoted(input);
        assert_eq!(
            parse_connect(input).unwrap_err().to_string(),
            format!("invalid target {quoted}: {problem}; {hint}")
        );
    }
    assert_eq!(
        parse_listen("tcp:10000:intreface=1")
            .unwrap_err()
            .to_string(),
        "invalid endpoint \"tcp:10000:intreface=1\": unknown key \"intreface\" at column 11; did you mean interface="
    );
    assert_eq!(
        parse_listen("tcp:1:backlog=0").unwrap_err().to_string(),
        "invalid endpoint \"tcp:1:backlog=0\": backlog 0 at column 15; at least one reader must be able to wait"
    );
}

#[test]
fn a_servers_mistakes_have_their_words_and_columns_too() {
    let forms = "expected PORT, HOST:PORT, *:PORT or an endpoint such as unix:/run/p.sock";
    for (input, problem, hint) in [
        (
            "tls:10443",
            "no certificate",
            "name its file: tls:10443:cert=c.pem:key=k.pem",
        ),
        (
            "tls:1:cret=c.pem",
            "unknown key \"cret\" at column 7",
            "did you mean cert=",
        ),
        (
            "tcp6:1:interface=127.0.0.1",
            "not an IPv6 address at column 18",
            "tcp6: takes an IPv6 address, localhost or *; tcp: takes the others",
        ),
        (
            "unix:/p:mode=888",
            "not the permissions of a file at column 14",
            "three octal digits, such as 660",
        ),
        (
            "unix:/p:mode=4777",
            "not the permissions of a file at column 14",
            "three octal digits, such as 660",
        ),
        (
            "unix:@p:mode=600",
            "permissions of a name that is no file at column 14",
            "anyone on this machine can connect to it; a path has permissions",
        ),
        (
            "systemd:",
            "no name",
            "that of FileDescriptorName= in the socket unit: systemd:name=poem",
        ),
        (
            "systemd:index=0",
            "unknown key \"index\" at column 9",
            "the keys are name",
        ),
        (
            "fd:1",
            "file descriptor 1 at column 4",
            "0, 1 and 2 are standard streams; stdio: means a connection on them",
        ),
        ("fd:x", "not a digit at column 4", forms),
        (
            "stdio:1",
            "stdio: takes no values at column 7",
            "write stdio:",
        ),
        (
            "haproxy:",
            "no endpoint at column 9",
            "such as haproxy:tcp:10000",
        ),
        (
            "haproxy:haproxy:1",
            "a second haproxy: at column 9",
            "say it once",
        ),
        (
            "haproxy:stdio:",
            "stdio: behind a proxy at column 9",
            "a proxy needs a socket to connect to",
        ),
        (
            "haproxy:tcp:1:blacklog=1",
            "unknown key \"blacklog\" at column 15",
            "did you mean backlog=",
        ),
        (
            "tcp4:1",
            "unsupported endpoint type tcp4: at column 1",
            "the types are tcp:, tcp6:, unix:, tls:, ssl:, systemd:, fd:, haproxy:, stdio:",
        ),
    ] {
        let quoted = quoted(input);
        assert_eq!(
            parse_listen(input).unwrap_err().to_string(),
            format!("invalid endpoint {quoted}: {problem}; {hint}")
        );
    }
    let long = format!("unix:/{}", "p".repeat(107));
    assert_eq!(
        parse_listen(&long).unwrap_err().to_string(),
        format!(
            "invalid endpoint {}: a path of more than 107 bytes at column 6; the system allows no longer one for a socket",
            quoted(&long)
        )
    );
}

#[test]
fn ports_and_interfaces_are_read_alone() {
    assert_eq!(parse_listen_port("0"), Ok(0));
    assert_eq!(
        parse_listen_port("localhost:80").unwrap_err().to_string(),
        "invalid port \"localhost:80\": not a digit at column 1; expected a number from 0, for a free port, to 65535"
    );
    assert_eq!(
        parse_listen_interface("::1"),
        Ok(Interface::Host(ip("::1")))
    );
    assert_eq!(parse_listen_interface("*"), Ok(Interface::Every));
    assert_eq!(
        parse_listen_interface("1.2").unwrap_err().to_string(),
        "invalid interface \"1.2\": not an IPv4 address at column 1; expected an address, a name or * for every interface"
    );
}

#[test]
fn a_huge_endpoint_is_refused_without_repeating_it() {
    let message = parse_connect(&"1".repeat(1 << 20)).unwrap_err().to_string();
    assert!(message.contains("longer than 1024 bytes"), "{message}");
    assert!(message.len() < 250, "{message}");
}

proptest! {
    #[test]
    fn what_is_read_at_all_can_be_written_and_read_again(
        input in ".*",
        nearly in r"(haproxy:)?(tcp:|tcp6:|unix:|tls:|ssl:|systemd:|fd:|stdio:|\[)?[a-z0-9:=\[\]\\.*@/ä-]{0,30}",
        keyed in r"(tcp|tls|ssl|unix):[a-z0-9/@]{1,6}(:(port|host|cert|key|ca|name|mode|timeout|backlog)=[a-z0-9/\\\[\]:=]{0,6}){0,4}",
    ) {
        for input in [input, nearly, keyed] {
            if let Ok(endpoint) = parse_listen(&input) {
                prop_assert_eq!(parse_listen(&endpoint.to_string()), Ok(endpoint));
            }
            if let Ok(endpoint) = parse_connect(&input) {
                prop_assert_eq!(parse_connect(&endpoint.to_string()), Ok(endpoint));
            }
        }
    }

    #[test]
    fn what_is_read_survives_being_written(
        host in r"localhost|127\.0\.0\.1|\[::1\]|\[[0-9a-f]{1,4}::\]|\*|[a-z][a-z0-9-]{0,10}",
        port in 0_u16..,
        extra in proptest::option::of(1_u32..100_000),
    ) {
        let listen = extra.map_or(format!("{host}:{port}"), |n| format!("tcp:{port}:interface={host}:backlog={n}"));
        let connect = extra.map_or(format!("{host}:{port}"), |n| format!("tcp:{host}:{port}:timeout={n}ms"));
        if let Ok(endpoint) = parse_listen(&listen) {
            prop_assert_eq!(parse_listen(&endpoint.to_string()), Ok(endpoint));
        }
        if let Ok(endpoint) = parse_connect(&connect) {
            prop_assert_eq!(parse_connect(&endpoint.to_string()), Ok(endpoint));
        }
    }
}
