//! What a person types, and what the real program answers: help, mistakes, exit codes, generated text.

use std::fs;

use byron::exit_code::ExitCode;
use snapbox::cmd::{Command, OutputAssert};
use snapbox::{IntoData, str};

/// Runs the program without a terminal and without the colours and settings of whoever runs the tests.
fn byron(arguments: &[&str]) -> OutputAssert {
    Command::new(env!("CARGO_BIN_EXE_byron"))
        .args(arguments)
        .env_remove("BYRON_COLOR")
        .env_remove("CLICOLOR_FORCE")
        .env("NO_COLOR", "1")
        .env("COLUMNS", "100")
        .stdin("")
        .assert()
}

#[track_caller]
fn check_mistake(arguments: &[&str], stderr: impl IntoData) {
    byron(arguments).code(2).stdout_eq("").stderr_eq(stderr);
}

#[test]
fn without_a_command_the_program_shows_what_there_is() {
    check_mistake(
        &[],
        str![[r#"
Poetry over TCP as supervised actors

Usage: byron [OPTIONS] <COMMAND>

Commands:
  get          Get poems from servers and print them in order
  serve        Serve poems
  transform    Make other poems of poems, for whoever asks
  proxy        Serve the poems of other servers, and keep them for a while
  observe      Show how running instances are, and what happens there
  ctl          Ask a running instance how it is, or have it do something
  demo         Watch a small poetry network lose actors and none of its poems
  completions  Print a script that completes commands for a shell
  man          Print the manual, or write it to a directory

Common:
  -V, --version       Print the version
      --color <WHEN>  When to use colours [default: auto] [possible values: auto, always, never]
  -h, --help          Print help; -h is short, --help has examples

"#]],
    );
}

#[test]
fn the_version_is_one_line() {
    byron(&["--version"])
        .code(0)
        .stderr_eq("")
        .stdout_eq(concat!("byron ", env!("CARGO_PKG_VERSION"), "\n"));
}

#[test]
fn long_help_begins_with_examples() {
    for command in ["get", "serve", "completions"] {
        let help = byron(&[command, "--help"])
            .code(0)
            .get_output()
            .stdout
            .clone();
        let help = String::from_utf8(help).unwrap();
        assert!(help.starts_with("Examples:\n  "), "{help}");
    }
}

#[test]
fn a_mistake_in_a_target_is_pointed_at() {
    check_mistake(
        &["get", "1000x"],
        str![[r#"
byron: invalid target "1000x": not a digit at column 5; expected PORT, HOST:PORT or an endpoint such as unix:/run/p.sock

"#]],
    );
    check_mistake(
        &["get", "tcp:host=donne.example:prot=80"],
        str![[r#"
byron: invalid target "tcp:host=donne.example:prot=80": unknown key "prot" at column 24; did you mean port=

"#]],
    );
    check_mistake(
        &["get", "0"],
        str![[r#"
byron: invalid target "0": port 0 at column 1; only a server may leave its port open, a client must name it

"#]],
    );
    check_mistake(
        &["serve", "ecstasy.txt@unix:p.sock:mdoe=660"],
        str![[r#"
byron: invalid endpoint "unix:p.sock:mdoe=660": unknown key "mdoe" at column 13; did you mean mode=; for a file of that name say ecstasy.txt@unix:p.sock:mdoe=660@0

"#]],
    );
}

#[test]
fn a_mistake_in_a_value_names_the_flag_the_value_and_the_way_out() {
    check_mistake(
        &["get", "--idle-timeout", "5", "10000"],
        str![[r#"
byron: --idle-timeout <DUR|off>: invalid duration "5": no unit at column 2; expected a number with a unit such as 700ms, 15s or 2h

"#]],
    );
    check_mistake(
        &["serve", "--port", "70000", "ecstasy.txt"],
        str![[r#"
byron: --port <N>: invalid port "70000": port above 65535 at column 1; expected a number from 0, for a free port, to 65535

"#]],
    );
}

#[test]
fn a_slip_in_a_flag_or_a_command_is_recognised() {
    check_mistake(
        &["get", "--outptu", "x", "1"],
        str![[r#"
byron: unexpected argument '--outptu' found

  tip: a similar argument exists: '--output'

Usage: byron get --output <FILE> <TARGET[=NAME]>...

For more information, try '--help'.

"#]],
    );
    check_mistake(
        &["serv"],
        str![[r#"
byron: unrecognized subcommand 'serv'

  tip: some similar subcommands exist: 'observe', 'serve'

Usage: byron [OPTIONS] <COMMAND>

For more information, try '--help'.

"#]],
    );
}

#[test]
fn flags_that_contradict_each_other_are_refused() {
    check_mistake(
        &["get", "--json", "--order", "interleave", "1"],
        str![[r#"
byron: --json has no lines to interleave; leave out --order or use --json=events

"#]],
    );
    check_mistake(
        &["serve", "--port", "10000", "ecstasy.txt", "science.txt"],
        str![[r#"
byron: --port is for one poem, there are 2; give each its endpoint: poetry/ecstasy.txt@10000 poetry/science.txt@10001

"#]],
    );
}

#[test]
fn every_shell_has_its_completions() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish", "nushell"] {
        let script = byron(&["completions", shell])
            .code(0)
            .stderr_eq("")
            .get_output()
            .stdout
            .clone();
        let script = String::from_utf8(script).unwrap();
        assert!(script.contains("first-byte-timeout"), "{shell}: {script}");
    }
}

#[test]
fn the_manual_has_a_page_for_each_command_with_every_exit_code() {
    let directory = tempfile::tempdir().unwrap();
    let pages = directory.path().join("man1");
    byron(&["man", pages.to_str().unwrap()])
        .code(0)
        .stdout_eq("")
        .stderr_eq("");
    for name in [
        "byron",
        "byron-get",
        "byron-serve",
        "byron-observe",
        "byron-ctl",
        "byron-proxy",
        "byron-demo",
        "byron-completions",
        "byron-man",
    ] {
        let page = fs::read_to_string(pages.join(format!("{name}.1"))).unwrap();
        assert!(page.contains(".SH \"EXIT STATUS\""), "{name}: {page}");
        for code in ExitCode::ALL {
            assert!(
                page.contains(code.sentence()),
                "{name} does not explain {}: {page}",
                code.number()
            );
        }
    }
    byron(&["man"])
        .code(0)
        .stderr_eq("")
        .stdout_eq(fs::read_to_string(pages.join("byron.1")).unwrap().raw());
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_an_error_and_a_closed_pipe_is_silent() {
    use std::process::{Command, Stdio};

    for arguments in [
        &["man"][..],
        &["--help"],
        &["get", "--help"],
        &["--version"],
    ] {
        let full = fs::OpenOptions::new()
            .write(true)
            .open("/dev/full")
            .unwrap();
        let (reader, closed) = std::io::pipe().unwrap();
        drop(reader);
        for (stdout, code, stderr) in [
            (
                Stdio::from(full),
                1,
                "byron: cannot write to standard output: No space left on device (os error 28)\n",
            ),
            (Stdio::from(closed), 141, ""),
        ] {
            let mut program = Command::new(env!("CARGO_BIN_EXE_byron"));
            let output = program
                .args(arguments)
                .stdout(stdout)
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            let output = output.wait_with_output().unwrap();
            assert_eq!(output.status.code(), Some(code), "{arguments:?}");
            assert_eq!(String::from_utf8(output.stderr).unwrap(), stderr);
        }
    }
}
