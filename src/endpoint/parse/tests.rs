//! The grammar as tables: what is read, what is refused and in which words.

use std::time::Duration;

use proptest::prelude::*;

use super::*;

fn listen(interface: Interface, port: u16) -> ListenEndpoint {
    ListenEndpoint {
        interface,
        port,
        backlog: None,
    }
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
    let connect = |host, port| ConnectEndpoint {
        host,
        port,
        connect_timeout: None,
    };
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
    let forms = "expected PORT, HOST:PORT or an endpoint such as tcp:10000";
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
            "unix:/run/p.sock",
            "unsupported endpoint type \"unix\" at column 1",
            "this version of byron knows PORT, HOST:PORT and tcp:",
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
    fn no_input_panics(input in ".*", nearly in r"(tcp:|unix:|\[)?[a-z0-9:=\[\]\\.*]{0,30}") {
        for input in [input, nearly] {
            let _ = (parse_listen(&input), parse_connect(&input));
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
