//! `--chaos`: the same seed tells it twice, and what is told is true.

use std::io::{ErrorKind, Read};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{file, get, noise, server, server_of};

/// Almost half of the connections fall.
const RULES: &str = "connection:panic@30%,reset@20%";

fn report(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// Serves readers who come one after the other; who was cut off, and the report.
fn rehearse(seed: &str) -> (Vec<usize>, Value) {
    // Twice as many chunks as there are turns in which something may fall.
    let (directory, poem) = file(noise(3000));
    let report_file = directory.path().join("report.json");
    let server = server_of(&poem)
        .pace(20, Duration::from_millis(2))
        .args(["--chaos", RULES, "--seed", seed, "--chaos-report"])
        .args([&report_file])
        .start();
    let mut cut_off = Vec::new();
    for number in 1..=12 {
        // Whoever is cut off before the first byte may not even hear that it was connected.
        let end = TcpStream::connect((Ipv4Addr::LOCALHOST, server.port()))
            .and_then(|mut reader| reader.read_to_end(&mut Vec::new()));
        match end {
            Ok(heard) => assert_eq!(heard, 3000),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::ConnectionReset);
                cut_off.push(number);
            }
        }
    }
    server
        .stop()
        .code(0)
        .complained(&format!("with seed {seed}"));
    (cut_off, report(&report_file))
}

#[test]
fn the_same_seed_tells_it_twice() {
    let (cut_off, report) = rehearse("7");
    let numbers = report["struck"].as_array().unwrap().iter();
    let numbers: Vec<_> = numbers.map(|struck| struck["number"].as_u64()).collect();
    let expected: Vec<_> = cut_off.iter().map(|number| Some(*number as u64)).collect();
    assert_eq!(numbers, expected, "{report}");
    assert!((2..11).contains(&cut_off.len()), "{report}");
    assert_eq!(report["outcome"]["readers_reset"], cut_off.len());
    assert_eq!(report["outcome"]["readers_served"], 12 - cut_off.len());

    let (again, report_again) = rehearse("7");
    assert_eq!(cut_off, again);
    assert_eq!(report["struck"], report_again["struck"]);
    let (other, _) = rehearse("8");
    assert_ne!(cut_off, other);
}

#[test]
fn a_client_whose_downloads_fall_loses_no_poem() {
    let poems = ["ecstasy", "fascination", "science"];
    let servers = poems.map(|name| server(name).start());
    let (directory, report_file) = file("");
    let got = get(servers.iter().map(|server| server.port()))
        .args(["--retry", "20", "--retry-delay", "1ms", "--seed", "3"])
        .args(["--chaos", "download:panic=2@50%;download:exit=1@40%"])
        .with("--chaos-report", &report_file)
        .run()
        .code(0);
    let whole: Vec<u8> = poems.map(crate::support::poem).concat();
    let got = got.said(whole).complained("poems whole: 3, lost: 0");
    let got = got.complained("again: byron get");
    let report = report(&report_file);
    assert_eq!(
        report["outcome"],
        json!({"poems": 3, "poems_lost": 0}),
        "{}",
        got.stderr
    );
    assert!(!report["struck"].as_array().unwrap().is_empty(), "{report}");
    for rule in report["rules"].as_array().unwrap() {
        assert_eq!(rule["still_down"], 0, "{report}");
    }
    drop(directory);
}

#[test]
fn a_seed_of_chance_is_told_and_quiet_is_quiet() {
    let server = server("science").start();
    let arguments = ["--chaos", "download:exit@1%"];
    let told = get([server.port()]).args(arguments).run().stderr;
    let seed = told.split("seed ").nth(1).unwrap();
    let seed: String = seed.chars().take_while(char::is_ascii_digit).collect();
    assert!(
        told.contains(&format!("--seed {seed} --chaos download:exit@1%")),
        "{told}"
    );
    get([server.port()])
        .args(arguments)
        .args(["-q"])
        .run()
        .quietly();
}

#[test]
fn a_mistake_is_pointed_at_before_anything_happens() {
    for (arguments, complaint) in [
        (
            vec!["--chaos", "connection:panick"],
            "unknown fault \"panick\" at column 12; did you mean panic?",
        ),
        (vec!["--seed", "7"], "--chaos <SPEC>"),
    ] {
        server("science")
            .args(&arguments)
            .run()
            .code(2)
            .said("")
            .complained(complaint);
        get([1])
            .args(&arguments)
            .run()
            .code(2)
            .said("")
            .complained(complaint);
    }
    let finished = get([1]).args(["--chaos", "connection:reset"]).run().code(2);
    finished.complained("say download:exit");
}
