//! What the tests share: systems, waiting, and an actor that does what it is told.

use std::future::Future;
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use actix::prelude::*;
pub(crate) use byron_supervisors::testing::{run as paused, settle};
use byron_supervisors::{
    ActorRef, Context, Down, Exit, ExitReason, MonitorRef, Panic, Pid, spawn, whereis,
};
use parking_lot::Mutex;

/// No test waits longer than this for anything.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// Runs a test in a `System`.
pub(crate) fn system<F: Future>(test: F) -> F::Output {
    System::new().block_on(test)
}

/// Lets everything else run until the condition holds. Never idle: a paused clock stands still meanwhile.
pub(crate) async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    #[expect(
        clippy::disallowed_methods,
        reason = "the limit is for a test that hangs, whatever its clock says"
    )]
    let begin = Instant::now();
    while !condition() {
        assert!(begin.elapsed() < LIMIT, "never happened: {what}");
        tokio::task::yield_now().await;
    }
}

/// A name that no other test has.
pub(crate) fn unique(name: &str) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("{name}-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Runs one case of the test `filter` in a process of its own.
pub(crate) fn child(filter: &str, case: &str) -> Output {
    Command::new(std::env::current_exe().expect("a test is a program"))
        .args([filter, "--exact", "--nocapture", "--test-threads=1"])
        .env("BYRON_TEST_CASE", case)
        .output()
        .expect("a test can run itself")
}

/// The case this process is to run, if it is a child.
pub(crate) fn child_case() -> Option<String> {
    std::env::var("BYRON_TEST_CASE").ok()
}

/// The panic of a reason that must be one.
pub(crate) fn panic_of(reason: &ExitReason) -> &Panic {
    match reason {
        ExitReason::Panic(panic) => panic,
        other => panic!("expected a panic, the reason is {other}"),
    }
}

/// Everything a puppet has been told, in order.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<Entry>>>);

#[derive(Debug, Clone)]
pub(crate) enum Entry {
    Down(Down),
    Exit(Exit),
    Note(String),
}

impl Log {
    pub(crate) fn note(&self, note: impl Into<String>) {
        self.push(Entry::Note(note.into()));
    }

    fn push(&self, entry: Entry) {
        self.0.lock().push(entry);
    }

    pub(crate) fn entries(&self) -> Vec<Entry> {
        self.0.lock().clone()
    }

    pub(crate) fn downs(&self) -> Vec<Down> {
        self.entries()
            .into_iter()
            .filter_map(|entry| match entry {
                Entry::Down(down) => Some(down),
                _ => None,
            })
            .collect()
    }

    pub(crate) fn exits(&self) -> Vec<Exit> {
        self.entries()
            .into_iter()
            .filter_map(|entry| match entry {
                Entry::Exit(exit) => Some(exit),
                _ => None,
            })
            .collect()
    }

    pub(crate) fn notes(&self) -> Vec<String> {
        self.entries()
            .into_iter()
            .filter_map(|entry| match entry {
                Entry::Note(note) => Some(note),
                _ => None,
            })
            .collect()
    }

    /// Waits until this many `Down`s have come, and makes sure that no more do.
    pub(crate) async fn wait_downs(&self, count: usize) -> Vec<Down> {
        eventually("the Downs", || self.downs().len() >= count).await;
        settle().await;
        let downs = self.downs();
        assert_eq!(downs.len(), count, "{downs:?}");
        downs
    }
}

/// An actor that does what it is told, and writes down what it is told of.
#[derive(Default)]
pub(crate) struct Puppet {
    pub(crate) log: Log,
    /// Looked up whenever a `Down` comes.
    pub(crate) names: Vec<String>,
    /// `stopping` refuses.
    pub(crate) is_stubborn: bool,
    pub(crate) panics_on_down: bool,
}

impl Actor for Puppet {
    type Context = Context<Self>;

    fn stopping(&mut self, ctx: &mut Self::Context) -> Running {
        let reason = ctx.exit_reason().map(ToString::to_string);
        self.log
            .note(format!("stopping: {}", reason.unwrap_or_default()));
        if self.is_stubborn {
            Running::Continue
        } else {
            Running::Stop
        }
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        self.log.note("stopped");
    }
}

impl Handler<Down> for Puppet {
    type Result = ();

    fn handle(&mut self, down: Down, _: &mut Self::Context) {
        for name in &self.names {
            if let Some(pid) = whereis(name) {
                self.log.note(format!("{name} is still {pid}"));
            }
        }
        self.log.push(Entry::Down(down));
        assert!(!self.panics_on_down, "panics on Down");
    }
}

impl Handler<Exit> for Puppet {
    type Result = ();

    fn handle(&mut self, exit: Exit, _: &mut Self::Context) {
        self.log.push(Entry::Exit(exit));
    }
}

type Deed<R> = Box<dyn FnOnce(&mut Puppet, &mut Context<Puppet>) -> R + Send>;

pub(crate) struct Do<R>(Deed<R>);

impl<R: 'static> Message for Do<R> {
    type Result = R;
}

impl<R: Send + 'static> Handler<Do<R>> for Puppet {
    type Result = MessageResult<Do<R>>;

    fn handle(&mut self, deed: Do<R>, ctx: &mut Self::Context) -> Self::Result {
        MessageResult(deed.0(self, ctx))
    }
}

/// A note for the log.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Note(pub(crate) String);

impl Handler<Note> for Puppet {
    type Result = ();

    fn handle(&mut self, note: Note, _: &mut Self::Context) {
        self.log.note(note.0);
    }
}

/// A puppet on this arbiter, and its log.
pub(crate) fn puppet() -> (ActorRef<Puppet>, Log) {
    let log = Log::default();
    let puppet = spawn(Puppet {
        log: log.clone(),
        ..Puppet::default()
    });
    (puppet, log)
}

/// Telling a puppet what to do.
pub(crate) trait Strings {
    fn tell<R: Send + 'static>(
        &self,
        deed: impl FnOnce(&mut Puppet, &mut Context<Puppet>) -> R + Send + 'static,
    ) -> impl Future<Output = R>;

    fn cast(&self, deed: impl FnOnce(&mut Puppet, &mut Context<Puppet>) + Send + 'static);

    /// Monitors a pid.
    fn watch(&self, pid: Pid) -> impl Future<Output = MonitorRef> {
        self.tell(move |_, ctx| ctx.monitor(pid))
    }
}

impl Strings for ActorRef<Puppet> {
    async fn tell<R: Send + 'static>(
        &self,
        deed: impl FnOnce(&mut Puppet, &mut Context<Puppet>) -> R + Send + 'static,
    ) -> R {
        self.send(Do(Box::new(deed)))
            .timeout(LIMIT)
            .await
            .expect("the puppet lives")
    }

    fn cast(&self, deed: impl FnOnce(&mut Puppet, &mut Context<Puppet>) + Send + 'static) {
        self.do_send(Do(Box::new(deed)));
    }
}

/// Panics when it is dropped.
pub(crate) struct Grenade(pub(crate) &'static str);

impl Drop for Grenade {
    fn drop(&mut self) {
        panic!("{}", self.0);
    }
}
