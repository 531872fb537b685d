//! `byron transform` from outside: netcat, curl and Twisted ask it, and a person reads its lines.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::peers::{run, started, tool, twisted};
use crate::support::{
    Finished, Process, Server, byron, connect, file, get, noise, poem, poem_path, server,
    server_of, transform,
};

/// A program that is given `input`, and runs to its end.
#[track_caller]
fn fed(mut command: Command, input: &[u8]) -> Finished {
    let mut process = Process::start(command.stdin(Stdio::piped()));
    let mut stdin = process.stdin.take().unwrap();
    stdin.write_all(input).unwrap();
    drop(stdin);
    process.finish()
}

fn nc(port: u16) -> Command {
    tool("nc", &["127.0.0.1", &port.to_string()])
}

/// One that serves by HTTP too.
fn both() -> Server {
    transform(["--http", "0"], 2)
}

#[test]
fn netcat_gets_the_tutorials_answer() {
    let server = transform([""; 0], 1);
    fed(nc(server.port()), b"27:cummingsify.HERE IS MY POEM,")
        .code(0)
        .said("15:here is my poem,");
    fed(nc(server.port()), b"27:cummingsifx.HERE IS MY POEM,")
        .code(0)
        .said("");
    server
        .stop()
        .code(0)
        .complained("byron: served 1 poem, 1 reader refused, 19 bytes\n");
}

#[test]
fn the_first_lines_are_the_tutorials() {
    let server = both();
    let lines = String::from_utf8(server.process.stdout.so_far()).unwrap();
    let [netstring, http] = server.ports[..] else {
        panic!("{lines}")
    };
    assert_eq!(
        lines,
        format!(
            "Serving transforms on port {netstring}.\nServing transforms over HTTP on port {http}.\n"
        )
    );
    server.wait_for(&format!("byron: 5 transforms at 127.0.0.1:{netstring}"));
}

#[test]
fn curl_gets_the_same_by_http() {
    let server = both();
    let url = |path: &str| format!("http://127.0.0.1:{}{path}", server.ports[1]);
    let curl = |args: &[&str]| run(&mut tool("curl", &[&["-sS"], args].concat()));
    let ecstasy = format!("@{}", poem_path("ecstasy").display());
    curl(&["--data-binary", &ecstasy, &url("/transform/cummingsify")])
        .said(poem("ecstasy").to_ascii_lowercase());
    curl(&[
        "-T",
        ecstasy.trim_start_matches('@'),
        "-X",
        "POST",
        &url("/transform/shout"),
    ])
    .said(poem("ecstasy").to_ascii_uppercase());
    curl(&["-w", "%{http_code}", "-d", "x", &url("/transform/byronify")])
        .said("gibberish: less than 3 words\n422");
    let list = curl(&[&url("/transforms")]);
    assert_eq!(
        list.lines()[0],
        "cummingsify\tlower case, the way e. e. cummings is remembered"
    );
    // More than fits, which the server need not read to say so.
    let (_directory, long) = file(noise(1 << 20));
    let long = long.display().to_string();
    let code = [
        "-o",
        "/dev/null",
        "-w",
        "%{http_code}",
        "-X",
        "POST",
        "-T",
        &long,
    ];
    curl(&[&code[..], &[&url("/transform/shout")]].concat()).said("413");
}

#[test]
fn a_twisted_client_has_its_poems_transformed() {
    let poems = [server("ecstasy").start(), server("science").start()];
    let transformer = transform(["--only", "cummingsify"], 1);
    let ask = |name: &str| {
        let mut client = twisted("twisted_transform_client.py");
        client.args([&transformer.port().to_string(), name]);
        client.args(poems.each_ref().map(|poem| poem.port().to_string()));
        run(&mut client)
    };
    let text = [poem("ecstasy"), poem("science")].concat();
    ask("cummingsify").said(text.to_ascii_lowercase());
    ask("shout").said(text).complained("shout failed: ");
}

#[test]
fn a_slow_or_broken_asker_is_nobodys_business() {
    let server = transform(["--request-timeout", "300ms"], 1);
    let mut slow = connect(server.port());
    slow.write_all(b"27:cumm").unwrap();
    fed(nc(server.port()), b"27:cummingsify.HERE IS MY POEM,").said("15:here is my poem,");
    crate::support::Output::of(slow).cut_off();
    server.stop().code(0);
}

#[test]
fn a_poem_can_be_transformed_without_a_server() {
    let apply = |names: &[&str]| {
        let mut command = byron();
        command.arg("transform");
        for name in names {
            command.args(["--apply", name]);
        }
        command
    };
    fed(apply(&["cummingsify"]), b"HERE IS MY POEM")
        .code(0)
        .said("here is my poem")
        .quietly();
    fed(apply(&["shout", "reverse"]), b"a\nb\n")
        .code(0)
        .said("B\nA\n")
        .quietly();
    fed(apply(&["byronify"]), b"x")
        .code(1)
        .said("")
        .complained("byron: cannot byronify the poem: gibberish: less than 3 words\n");
    fed(apply(&["shuot"]), b"x")
        .code(2)
        .complained("a similar value exists: 'shout'");
}

#[test]
fn the_list_says_what_there_is() {
    let list = Process::start(byron().args(["transform", "--list"]))
        .finish()
        .code(0)
        .quietly();
    let names: Vec<_> = list
        .lines()
        .iter()
        .map(|line| line.split(' ').next().unwrap().to_owned())
        .collect();
    assert_eq!(
        names,
        ["cummingsify", "byronify", "lines", "reverse", "shout"]
    );
}

#[test]
fn byron_has_its_poems_transformed_by_a_twisted_transformer() {
    let (_transformer, port) = started(&mut twisted("twisted_transformer.py"));
    let poems = [server("ecstasy").start(), server("science").start()];
    get(poems.each_ref().map(Server::port))
        .args(["-t", &format!("cummingsify@{port}"), "-t", "reverse"])
        .run()
        .code(0)
        .quietly()
        .said(
            [reversed("ecstasy"), reversed("science")]
                .concat()
                .to_ascii_lowercase(),
        );
    let label = format!("shout@127.0.0.1:{port}");
    get([poems[0].port()])
        .args(["--retry", "0", "-t", &label])
        .run()
        .code(0)
        .said(poem("ecstasy"))
        .complained(&format!(
            "{label}: closed without an answer; the poem stays as it was [transform]\n"
        ));
}

fn reversed(name: &str) -> Vec<u8> {
    let poem = poem(name);
    let mut lines: Vec<_> = poem.split_inclusive(|byte| *byte == b'\n').collect();
    lines.reverse();
    lines.concat()
}

#[test]
fn byron_tells_a_deaf_transformer_from_gibberish() {
    let (_deaf, port) = started(twisted("twisted_transformer.py").arg("deaf"));
    let (_directory, path) = file("xkcd\n");
    let gibberish = server_of(&path).start();
    let arguments = ["--retry", "0", "--on-transform-error", "fail", "-t"];
    get([gibberish.port()])
        .args(arguments)
        .args([format!("cummingsify@127.0.0.1:{port}")])
        .run()
        .code(3)
        .said("")
        .complained(": closed without an answer, 1 attempt in ");
    let finished = get([gibberish.port()])
        .args(["-t", "byronify", "--json"])
        .run()
        .code(3)
        .quietly();
    let lines = finished.json();
    assert_eq!(lines[0]["kind"], "transform");
    assert_eq!(
        lines[0]["message"],
        "byronify: gibberish: less than 3 words"
    );
}

#[test]
fn poems_that_are_transformed_keep_their_order_and_their_lines() {
    let slow = server("ecstasy")
        .pace(100, std::time::Duration::from_millis(5))
        .start();
    let fast = server("science").start();
    let transformer = transform([""; 0], 1);
    let finished = get([slow.port(), fast.port()])
        .args([
            "-t",
            &format!("shout@{}", transformer.port()),
            "--progress",
            "classic",
        ])
        .run()
        .code(0)
        .said(
            [poem("ecstasy"), poem("science")]
                .concat()
                .to_ascii_uppercase(),
        );
    assert!(
        finished
            .stderr
            .contains("Task 1: got 100 bytes of poetry from 127.0.0.1:"),
        "{}",
        finished.stderr
    );
    assert!(
        finished.stderr.contains("Got 2 poems in "),
        "{}",
        finished.stderr
    );
    transformer.stop().complained("served 2 poems");
}
