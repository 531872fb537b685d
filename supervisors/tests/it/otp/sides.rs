//! The two sides: where their programs are and how they are started.

use std::{
    env, fs,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    io,
    path::{Path, PathBuf},
    process::{self, Command, Output},
    sync::OnceLock,
};

use super::{
    runner::{self, Trace, Traces},
    scenario::Scenario,
};

const ORACLE: &str = include_str!("../../otp/oracle.erl");

/// Something that runs scenarios.
pub(super) struct Side(Box<Run>);

type Run = dyn Fn(&[Scenario]) -> Traces + Send + Sync;

impl Side {
    /// Erlang/OTP's supervisor.
    pub(super) fn otp() -> Self {
        Self::new(|scenarios| runner::run(oracle(), scenarios))
    }

    /// The supervisors of this crate.
    pub(super) fn byron() -> Self {
        Self::new(|scenarios| runner::run(Command::new(example()), scenarios))
    }

    pub(super) fn new(run: impl Fn(&[Scenario]) -> Traces + Send + Sync + 'static) -> Self {
        Self(Box::new(run))
    }

    pub(super) fn run(&self, scenarios: &[Scenario]) -> Traces {
        (self.0)(scenarios)
    }
}

/// The traces of one side; a side that does not finish ends the test.
pub(super) fn traces(side: &Side, scenarios: &[Scenario]) -> Vec<Trace> {
    side.run(scenarios)
        .unwrap_or_else(|stuck| panic!("{stuck}"))
}

fn oracle() -> Command {
    static COMPILED: OnceLock<PathBuf> = OnceLock::new();
    let directory = COMPILED.get_or_init(compile_oracle);
    let mut command = Command::new("erl");
    command
        .args(["-noinput", "-pa"])
        .arg(directory)
        .args(["-run", "oracle", "main"])
        // What it prints about its own failure is enough.
        .env("ERL_CRASH_DUMP_BYTES", "0");
    command
}

/// Compiles the oracle once per version of its source.
fn compile_oracle() -> PathBuf {
    run_erlang(Command::new("erl").arg("-version"));
    let mut hasher = DefaultHasher::new();
    ORACLE.hash(&mut hasher);
    let temporary = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let compiled = temporary.join(format!("oracle-{:016x}", hasher.finish()));
    if compiled.join("oracle.beam").exists() {
        return compiled;
    }
    let fresh = temporary.join(format!("oracle-{}", process::id()));
    fs::create_dir_all(&fresh).expect("cargo's directory for tests can be written");
    let source = fresh.join("oracle.erl");
    fs::write(&source, ORACLE).expect("cargo's directory for tests can be written");
    let output = run_erlang(Command::new("erlc").arg("-o").arg(&fresh).arg(&source));
    assert!(
        output.status.success(),
        "erlc: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    // Another test process may have been faster; what it compiled is the same.
    if fs::rename(&fresh, &compiled).is_err() {
        return fresh;
    }
    compiled
}

fn run_erlang(command: &mut Command) -> Output {
    match command.output() {
        Err(err) if err.kind() == io::ErrorKind::NotFound => {
            panic!("Erlang is missing: install Debian's package `erlang-base` (erl and erlc)")
        }
        output => output.unwrap_or_else(|err| panic!("cannot run {command:?}: {err}")),
    }
}

/// Built with the profile of this test and found beside it. `cargo test` has built it already; a single test target
/// has not, and must not run what an older version left there.
fn example() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(build_example).clone()
}

fn build_example() -> PathBuf {
    let test = env::current_exe().expect("a running test has a path");
    let profile = test
        .parent()
        .and_then(Path::parent)
        .expect("cargo puts tests into <target>/<profile>/deps");
    let example = profile
        .join("examples")
        .join(format!("scenario{}", env::consts::EXE_SUFFIX));
    let mut build = Command::new(env!("CARGO"));
    build
        .args([
            "build",
            "--quiet",
            "--package",
            env!("CARGO_PKG_NAME"),
            "--example",
            "scenario",
        ])
        .current_dir(env!("CARGO_MANIFEST_DIR"));
    if profile.ends_with("release") {
        build.arg("--release");
    }
    let target = profile
        .parent()
        .expect("a profile directory is inside the target directory");
    build.arg("--target-dir").arg(target);
    let status = build
        .status()
        .expect("cargo, which built this test, can be run");
    assert!(
        status.success() && example.exists(),
        "cannot build the example `scenario`"
    );
    example
}
