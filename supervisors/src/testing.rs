//! A kit for tests of supervised programs: time that does not pass, failures at will, and assertions that say what was
//! there instead. Behind the feature `testing`, for `[dev-dependencies]`.
//!
//! | to | there is |
//! | --- | --- |
//! | let a minute pass in a millisecond | [`run`] |
//! | wait for what does not tell when it happens | [`eventually`], [`settle`] |
//! | make a process fall | [`panic_next`], [`kill`](crate::kill), [`exit`](crate::exit) |
//! | make it fail to start | [`fail_start`] |
//! | make many fall, by chance that repeats | [`Chaos`](crate::Chaos) |
//! | see how a process ended | [`assert_down!`](crate::assert_down) |
//! | see what the tree looks like | [`assert_tree!`](crate::assert_tree), [`tree_text`] |
//!
//! ```
//! use actix::prelude::*;
//! use byron_supervisors::testing::{self, fail_start, panic_next};
//! use byron_supervisors::{ChildSpec, Context, ExitReason, SupFlags, Supervisor};
//! use byron_supervisors::{assert_down, assert_tree, whereis_actor};
//!
//! struct Reciter;
//! impl Actor for Reciter {
//!     type Context = Context<Self>;
//! }
//!
//! #[derive(Message)]
//! #[rtype(result = "()")]
//! struct Recite;
//! impl Handler<Recite> for Reciter {
//!     type Result = ();
//!     fn handle(&mut self, _: Recite, _: &mut Context<Self>) {}
//! }
//!
//! testing::run(async {
//!     let reciter = ChildSpec::new("reciter", |_ctx| Reciter).registered("reciter");
//!     let poems = Supervisor::start("poems", SupFlags { intensity: 3, ..SupFlags::default() }, vec![reciter])
//!         .await
//!         .expect("it starts");
//!     let reciter = whereis_actor::<Reciter>("reciter").expect("it runs");
//!
//!     // Its next message panics, and the two starts after that fail.
//!     panic_next(&reciter);
//!     fail_start("poems/reciter", 2);
//!     reciter.do_send(Recite);
//!     assert_down!(&reciter, ExitReason::Panic(panic) if panic.in_message.is_some());
//!     assert_tree!(&poems, "
//!         poems#1 RUNNING
//!         └─ reciter#4 RUNNING
//!     ");
//! });
//! ```

use std::fmt::Write as _;
use std::future::{Future, ready};
use std::time::Duration;

use actix::{Actor, System};
use tokio::time::{Instant, timeout};

use crate::actor_ref::ActorRef;
use crate::chaos::{self, Pattern};
use crate::context::Context;
use crate::exit::{Down, ExitReason};
use crate::monitor::{Exited, exited};
use crate::pid::{self, Pid};
use crate::snapshot::{Node, snapshot};

/// How long the kit waits for anything, on the clock of the test.
pub const LIMIT: Duration = Duration::from_secs(60);

/// How far the clock goes between two looks of [`eventually`], at first; each time twice as far.
const STEP: Duration = Duration::from_millis(1);

/// The furthest it goes between two looks.
const STEP_MAX: Duration = Duration::from_millis(32);

/// How often everything that is ready runs between two looks at the clock.
const ROUNDS: u32 = 20;

/// The text of a panic that [`panic_next`] has asked for.
pub const PANIC_NEXT: &str = "a test wanted the next message to panic";

/// Runs a test in a `System` whose clock stands still while anything is ready to run, and then jumps to the next timer.
///
/// Sockets do not know that clock: with real I/O in a test, timers can run out before it is done.
///
/// # Panics
/// The operating system refuses a runtime.
pub fn run<F: Future>(test: F) -> F::Output {
    System::with_tokio_rt(|| {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .expect("the system has room for a runtime")
    })
    .block_on(test)
}

/// Lets everything on this arbiter that is ready run, a few times over. No time passes.
pub async fn settle() {
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
}

/// Waits until the condition holds: first without letting time pass, then for at most [`LIMIT`] on the clock of the test.
///
/// # Panics
/// It does not; the panic says `what`.
#[track_caller]
pub fn eventually(what: &str, condition: impl FnMut() -> bool) -> impl Future<Output = ()> {
    let begun = hold_within(LIMIT, condition);
    let at = std::panic::Location::caller();
    async move {
        if !begun.await {
            panic!("never happened within {LIMIT:?}: {what} (waited for at {at})");
        }
    }
}

/// Whether the condition holds within the limit.
async fn hold_within(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + limit;
    let mut step = STEP;
    loop {
        for _ in 0..ROUNDS {
            if condition() {
                return true;
            }
            tokio::task::yield_now().await;
        }
        if Instant::now() >= deadline {
            return false;
        }
        tokio::time::sleep(step).await;
        step = STEP_MAX.min(step * 2);
    }
}

/// A process, by its pid or a handle.
pub trait AsPid {
    /// The pid.
    fn as_pid(&self) -> Pid;
}

impl AsPid for Pid {
    fn as_pid(&self) -> Pid {
        *self
    }
}

impl<A: Actor<Context = Context<A>>> AsPid for ActorRef<A> {
    fn as_pid(&self) -> Pid {
        self.pid()
    }
}

impl<T: AsPid> AsPid for &T {
    fn as_pid(&self) -> Pid {
        T::as_pid(self)
    }
}

/// The next message that the process would handle panics instead, as if its handler did: whoever asked hears of it, the
/// message is gone, those behind it fare as after any crash.
///
/// Into an [adopted](crate::adopt) actor nobody can look from outside: its next turn panics, which is now.
///
/// # Panics
/// There is no such process.
#[track_caller]
pub fn panic_next(process: impl AsPid) {
    match pid::lookup(process.as_pid()) {
        Some(process) => process.core().panic_next(),
        None => panic!("no process {} to panic", process.as_pid()),
    }
}

/// The next `count` starts of supervised processes that match fail, each as if its init had answered an error. The
/// pattern is one of [`chaos`]'s: `poems/ecstasy`, or an id, a template or a type.
///
/// # Panics
/// It is no pattern.
#[track_caller]
pub fn fail_start(pattern: &str, count: u32) {
    match Pattern::new(pattern) {
        Some(_) if count == 0 => {}
        Some(pattern) => chaos::fail_starts(pattern, count),
        None => panic!("{pattern:?} has an empty id between its slashes"),
    }
}

/// What says how a process ended: see [`assert_down!`](crate::assert_down).
pub trait Ended {
    /// Waits for the reason.
    fn reason(self) -> impl Future<Output = ExitReason>;
}

impl Ended for Exited {
    fn reason(self) -> impl Future<Output = ExitReason> {
        self
    }
}

impl Ended for Pid {
    fn reason(self) -> impl Future<Output = ExitReason> {
        exited(self)
    }
}

impl<A: Actor<Context = Context<A>>> Ended for &ActorRef<A> {
    async fn reason(self) -> ExitReason {
        // A dead process has no monitor's answer but `NoProc`; its handle knows more.
        let reason = exited(self.pid()).await;
        self.exit_reason().unwrap_or(reason)
    }
}

impl Ended for Down {
    fn reason(self) -> impl Future<Output = ExitReason> {
        ready(self.reason)
    }
}

impl Ended for ExitReason {
    fn reason(self) -> impl Future<Output = ExitReason> {
        ready(self)
    }
}

/// The reason, if it comes within [`LIMIT`]; for [`assert_down!`](crate::assert_down).
#[doc(hidden)]
pub async fn reason_within_limit(ended: impl Ended) -> Option<ExitReason> {
    timeout(LIMIT, ended.reason()).await.ok()
}

/// The tree below a process as a picture, one line a process: its name, its incarnation, its state.
///
/// ```text
/// poems#1 RUNNING
/// ├─ ecstasy#2 RUNNING
/// └─ science#1 BACKOFF
/// ```
///
/// Empty if the process is in no tree.
pub fn tree_text(root: impl AsPid) -> String {
    let pid = root.as_pid();
    let mut text = String::new();
    if let Some(node) = snapshot().iter().find_map(|node| find(node, pid)) {
        draw(node, "", "", &mut text);
    }
    text
}

fn find(node: &Node, pid: Pid) -> Option<&Node> {
    if node.state.pid() == Some(pid) {
        return Some(node);
    }
    node.children.iter().find_map(|child| find(child, pid))
}

fn draw(node: &Node, lead: &str, below: &str, text: &mut String) {
    let path = node.path.to_string();
    let name = path.rsplit('/').next().unwrap_or(&path);
    let (incarnation, state) = (node.incarnation, node.state.name());
    // A `String` takes everything.
    let _ = write!(text, "{lead}{name}#{incarnation} {state}");
    for (number, child) in node.children.iter().enumerate() {
        let (branch, trunk) = if number + 1 == node.children.len() {
            ("└─ ", "   ")
        } else {
            ("├─ ", "│  ")
        };
        text.push('\n');
        draw(
            child,
            &format!("{below}{branch}"),
            &format!("{below}{trunk}"),
            text,
        );
    }
}

/// A picture as it is written in a test: without the empty lines around it, and what indents all of its lines.
fn outdented(picture: &str) -> String {
    let lines: Vec<&str> = picture.lines().map(str::trim_end).collect();
    let indent = |line: &&str| line.len() - line.trim_start().len();
    let filled = lines.iter().filter(|line| !line.is_empty());
    let least = filled.map(indent).min().unwrap_or(0);
    let lines: Vec<&str> = lines
        .iter()
        .map(|line| line.get(least..).unwrap_or_default())
        .collect();
    lines.join("\n").trim_matches('\n').to_owned()
}

/// Waits until the tree is as in the picture; answers both if it does not become so.
#[doc(hidden)]
pub async fn compare_tree(root: impl AsPid, picture: &str) -> Result<(), (String, String)> {
    let (root, wanted) = (root.as_pid(), outdented(picture));
    let mut found = String::new();
    let is_so = hold_within(LIMIT, || {
        found = tree_text(root);
        found == wanted
    });
    if is_so.await {
        Ok(())
    } else {
        Err((wanted, found))
    }
}

/// Waits, for at most [`LIMIT`](crate::testing::LIMIT), until a process has ended, and checks why; the value is the
/// reason. What ends may be a pid, a handle, [`exited`](crate::exited)'s future, or a [`Down`](crate::Down). The reason is
/// compared with a pattern, or has a text in it:
///
/// ```
/// # use byron_supervisors::{Context, ExitReason, assert_down, exit, exited, spawn, testing};
/// # struct Reciter;
/// # impl actix::Actor for Reciter { type Context = Context<Self>; }
/// # testing::run(async {
/// let reciter = spawn(Reciter);
/// exit(reciter.pid(), ExitReason::error("the poem file vanished"));
/// assert_down!(&reciter, "vanished");
/// assert_down!(&reciter, ExitReason::Error(_));
/// # });
/// ```
#[macro_export]
macro_rules! assert_down {
    ($ended:expr, $text:literal $(,)?) => {
        $crate::assert_down!(@check $ended, reason, reason.to_string().contains($text),
            concat!("one with the text ", stringify!($text)))
    };
    ($ended:expr, $pattern:pat $(if $guard:expr)? $(,)?) => {
        $crate::assert_down!(@check $ended, reason, matches!(&reason, $pattern $(if $guard)?),
            concat!(stringify!($pattern) $(, " if ", stringify!($guard))?))
    };
    (@check $ended:expr, $reason:ident, $is_so:expr, $wanted:expr) => {
        match $crate::testing::reason_within_limit($ended).await {
            Some($reason) if $is_so => $reason,
            Some(reason) => panic!(
                "wrong exit reason\n  wanted: {}\n     got: {reason}\n          {reason:?}",
                $wanted
            ),
            None => panic!(
                "{} did not end within {:?}\n  wanted: {}",
                stringify!($ended),
                $crate::testing::LIMIT,
                $wanted
            ),
        }
    };
}

/// Waits, for at most [`LIMIT`](crate::testing::LIMIT), until the tree below a process is as in the picture, which
/// [`tree_text`](crate::testing::tree_text) describes. The picture may be indented.
#[macro_export]
macro_rules! assert_tree {
    ($root:expr, $picture:expr $(,)?) => {
        if let Err((wanted, found)) = $crate::testing::compare_tree($root, $picture).await {
            panic!("the tree is another\nwanted:\n{wanted}\ngot:\n{found}\n");
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_may_be_indented() {
        let picture =
            "\n        a#1 RUNNING\n        └─ b#1 RUNNING\n           └─ c#1 STOPPED\n    ";
        assert_eq!(
            outdented(picture),
            "a#1 RUNNING\n└─ b#1 RUNNING\n   └─ c#1 STOPPED"
        );
    }
}
