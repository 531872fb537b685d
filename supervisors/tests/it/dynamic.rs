//! Children that come and go, by the hundred thousand.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use actix::prelude::*;
use byron_supervisors::{
    ActorRef, AutoShutdown, ChildError, Context, CountChildren, Down, DynamicFlags,
    DynamicSupervisor, ExitReason, Init, InvalidSpec, Pid, Restart, SendError, Shutdown,
    StartChildError, StartDynamicChild, TerminateDynamicChild, WhichChildren, current_pid, exit,
    exited, is_alive, kill, register, snapshot, spawn, whereis,
};
use futures_util::FutureExt as _;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::sup_support::{
    Deed, Log, Part, SECOND, Start, Stop, Worker, eventually, part, pass, paused, settle, system,
    unique,
};

struct Idle;

impl Actor for Idle {
    type Context = Context<Self>;
}

async fn dynamic(flags: DynamicFlags) -> ActorRef<DynamicSupervisor> {
    DynamicSupervisor::start(&unique("dynamic"), flags)
        .await
        .expect("it starts")
}

async fn add(
    sup: &ActorRef<DynamicSupervisor>,
    part: &Part,
) -> Result<Option<Pid>, StartChildError> {
    let part = part.clone();
    let start = StartDynamicChild::with_init(move || part.clone().init());
    sup.send(start).await.expect("the supervisor lives")
}

/// Adds a child that starts.
async fn add_running(sup: &ActorRef<DynamicSupervisor>, part: &Part) -> Pid {
    add(sup, part)
        .await
        .expect("it starts")
        .expect("it is not ignored")
}

async fn end(pid: Pid, deed: Deed) {
    let end = exited(pid);
    ActorRef::<Worker>::of(pid).expect("it runs").do_send(deed);
    end.await;
    settle().await;
}

async fn active(sup: &ActorRef<DynamicSupervisor>) -> usize {
    let counts = sup.send(CountChildren::now()).await;
    counts.expect("the supervisor lives").active
}

fn with(restart: Restart, intensity: u32) -> DynamicFlags {
    DynamicFlags {
        restart,
        intensity,
        ..DynamicFlags::new("x")
    }
}

#[test]
fn a_start_may_be_ignored_or_fail_and_nothing_is_kept() {
    paused(async {
        let sup = dynamic(with(Restart::Permanent, 0)).await;
        let error = ExitReason::error("no");
        let child = part("x", &Log::default()).starts([Start::Ignore, Start::Fail(error.clone())]);
        assert_eq!(add(&sup, &child).await, Ok(None));
        assert_eq!(add(&sup, &child).await, Err(StartChildError::Failed(error)));
        assert!(
            sup.send(WhichChildren::now())
                .await
                .expect("it lives")
                .is_empty()
        );
    });
}

#[test]
fn a_start_has_a_limit_if_one_is_set() {
    paused(async {
        let mut limited = with(Restart::Temporary, 0);
        limited.start_timeout = Some(SECOND);
        let sup = DynamicSupervisor::start(&unique("limited"), limited)
            .await
            .expect("it starts");
        let never = || std::future::pending::<Result<Init<Idle>, ExitReason>>();
        let failed = sup.send(StartDynamicChild::with_init(never)).await;
        let reason = ExitReason::error("did not start within 1s");
        assert_eq!(failed, Ok(Err(StartChildError::Failed(reason))));
        // One that starts in time is left alone afterwards.
        let started = sup.send(StartDynamicChild::new(|_| Idle)).await;
        let pid = started
            .expect("it lives")
            .expect("it starts")
            .expect("a process");
        pass(SECOND * 2).await;
        assert!(is_alive(pid));
    });
}

#[test]
fn no_more_than_children_max_run_at_once() {
    paused(async {
        let flags = DynamicFlags {
            children_max: Some(2),
            ..DynamicFlags::new("x")
        };
        let sup = dynamic(flags).await;
        let child = part("x", &Log::default());
        let first = add_running(&sup, &child).await;
        add_running(&sup, &child).await;
        assert_eq!(
            add(&sup, &child).await,
            Err(StartChildError::MaxChildren(2))
        );
        end(first, Deed::Leave(ExitReason::Normal)).await;
        add_running(&sup, &child).await;
        assert_eq!(active(&sup).await, 2);
    });
}

#[test]
fn each_restart_type_answers_each_reason_as_for_static_children() {
    let ends = [
        (Deed::Leave(ExitReason::Normal), true),
        (Deed::Leave(ExitReason::SHUTDOWN), true),
        (Deed::Killed, false),
        (Deed::Leave(ExitReason::error("e")), false),
        (Deed::Panic, false),
    ];
    for restart in [Restart::Permanent, Restart::Transient, Restart::Temporary] {
        for (deed, is_normal) in ends.clone() {
            paused(async {
                let sup = dynamic(with(restart, 1)).await;
                let child = part("x", &Log::default());
                let pid = add_running(&sup, &child).await;
                end(pid, deed).await;
                let is_restarted = match restart {
                    Restart::Permanent => true,
                    Restart::Transient => !is_normal,
                    Restart::Temporary => false,
                };
                assert_eq!(active(&sup).await, usize::from(is_restarted));
                assert_eq!(child.made(), 1 + u32::from(is_restarted));
            });
        }
    }
}

#[test]
fn the_window_is_shared_and_each_attempt_counts() {
    paused(async {
        let sup = dynamic(with(Restart::Permanent, 3)).await;
        let child = part("x", &Log::default());
        let (one, two) = (
            add_running(&sup, &child).await,
            add_running(&sup, &child).await,
        );
        end(one, Deed::Panic).await;
        child.next_starts([Start::Fail(ExitReason::error("no"))]);
        end(two, Deed::Panic).await;
        assert!(sup.is_alive(), "three attempts are not more than three");
        let third = sup.send(WhichChildren::now()).await.expect("it lives");
        end(third[0].state.pid().expect("it runs"), Deed::Panic).await;
        assert_eq!(sup.exit_reason(), Some(ExitReason::SHUTDOWN));
    });
}

#[test]
fn children_stop_together_with_one_timer() {
    paused(async {
        let flags = DynamicFlags {
            shutdown: Shutdown::Timeout(SECOND * 2),
            ..DynamicFlags::new("x")
        };
        let sup = dynamic(flags).await;
        let log = Log::default();
        let mut pids = Vec::new();
        for number in 0..30 {
            let stop = match number % 3 {
                0 => Stop::AtOnce,
                1 => Stop::Slow(SECOND, ExitReason::SHUTDOWN),
                _ => Stop::Stubborn,
            };
            pids.push(add_running(&sup, &part("x", &log).stops(stop)).await);
        }
        let ends: Vec<_> = pids.iter().map(|pid| exited(*pid)).collect();
        let begin = Instant::now();
        let end = exited(sup.pid());
        exit(sup.pid(), ExitReason::SHUTDOWN);
        assert_eq!(end.await, ExitReason::SHUTDOWN);
        assert_eq!(begin.elapsed(), SECOND * 2, "not 30 times 2 seconds");
        let mut killed = 0;
        for end in ends {
            killed += usize::from(end.await == ExitReason::Killed);
        }
        assert_eq!(killed, 10);
    });
}

#[test]
fn shutdown_errors_are_grouped_by_reason() {
    // What is written is in `reports`; here, that a brutal kill of all takes no time.
    paused(async {
        let flags = DynamicFlags {
            shutdown: Shutdown::BrutalKill,
            ..DynamicFlags::new("x")
        };
        let sup = dynamic(flags).await;
        let child = part("x", &Log::default()).stops(Stop::Stubborn);
        let pids = [
            add_running(&sup, &child).await,
            add_running(&sup, &child).await,
        ];
        let begin = Instant::now();
        let end = exited(sup.pid());
        exit(sup.pid(), ExitReason::SHUTDOWN);
        end.await;
        assert_eq!(begin.elapsed(), Duration::ZERO);
        assert!(!pids.into_iter().any(is_alive));
    });
}

#[test]
fn terminate_child_takes_a_pid_and_forgets_the_child() {
    paused(async {
        let sup = dynamic(with(Restart::Permanent, 0)).await;
        let log = Log::default();
        let one = add_running(&sup, &part("x", &log)).await;
        let slow = part("y", &log).stops(Stop::Slow(SECOND, ExitReason::SHUTDOWN));
        let two = add_running(&sup, &slow).await;
        // Twice at once: both are told.
        let answers = [
            sup.send(TerminateDynamicChild(two)),
            sup.send(TerminateDynamicChild(two)),
        ];
        for answer in answers {
            assert_eq!(answer.await, Ok(Ok(())));
        }
        assert_eq!(sup.send(TerminateDynamicChild(one)).await, Ok(Ok(())));
        assert!(!is_alive(one) && !is_alive(two));
        assert_eq!(active(&sup).await, 0);
        // As OTP: the dead are terminated, a living stranger is not ours.
        assert_eq!(sup.send(TerminateDynamicChild(one)).await, Ok(Ok(())));
        let stranger = dynamic(with(Restart::Permanent, 0)).await;
        assert_eq!(
            sup.send(TerminateDynamicChild(stranger.pid())).await,
            Ok(Err(ChildError::NotFound))
        );
    });
}

#[test]
fn a_child_that_does_not_stop_in_time_is_killed() {
    paused(async {
        let flags = DynamicFlags {
            shutdown: Shutdown::Timeout(SECOND),
            ..DynamicFlags::new("x")
        };
        let sup = dynamic(flags).await;
        let pid = add_running(&sup, &part("x", &Log::default()).stops(Stop::Stubborn)).await;
        let end = exited(pid);
        assert_eq!(sup.send(TerminateDynamicChild(pid)).await, Ok(Ok(())));
        assert_eq!(end.await, ExitReason::Killed);
    });
}

#[test]
fn significant_children_end_a_dynamic_supervisor() {
    for (auto_shutdown, ends_after) in [
        (AutoShutdown::AnySignificant, 1),
        (AutoShutdown::AllSignificant, 2),
    ] {
        paused(async {
            let flags = DynamicFlags {
                significant: true,
                auto_shutdown,
                ..DynamicFlags::new("x")
            };
            let sup = dynamic(flags).await;
            let child = part("x", &Log::default());
            let pids = [
                add_running(&sup, &child).await,
                add_running(&sup, &child).await,
            ];
            for (number, pid) in pids.into_iter().enumerate().take(ends_after) {
                assert!(sup.is_alive(), "after {number} of {ends_after}");
                end(pid, Deed::Leave(ExitReason::Normal)).await;
            }
            assert_eq!(sup.exit_reason(), Some(ExitReason::SHUTDOWN));
        });
    }
}

#[test]
fn flags_that_contradict_each_other_do_not_start() {
    paused(async {
        let flags = DynamicFlags {
            significant: true,
            ..DynamicFlags::new("x")
        };
        let failed = DynamicSupervisor::start(&unique("dynamic"), flags).await;
        let wrong = ExitReason::error(InvalidSpec::BadCombination("x".into()));
        assert_eq!(failed.map(drop), Err(wrong));
    });
}

#[test]
fn children_of_a_killed_dynamic_supervisor_end_too() {
    paused(async {
        let sup = dynamic(DynamicFlags::new("x")).await;
        let child = part("x", &Log::default());
        let pids = [
            add_running(&sup, &child).await,
            add_running(&sup, &child).await,
        ];
        let ends = pids.map(exited);
        kill(sup.pid());
        for end in ends {
            assert_eq!(end.await, ExitReason::Killed);
        }
    });
}

#[test]
fn a_child_that_cannot_start_twice_is_not_restarted() {
    paused(async {
        let sup = dynamic(with(Restart::Permanent, 9)).await;
        let pid = sup.send(StartDynamicChild::once(|_| Reader(None))).await;
        let pid = pid.expect("it lives").expect("it starts").expect("it runs");
        kill(pid);
        settle().await;
        assert_eq!(active(&sup).await, 0);
        assert!(sup.is_alive());
    });
}

// ---- a hundred thousand

/// Somebody who reads a poem, and may have a name.
struct Reader(Option<String>);

impl Actor for Reader {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        if let Some(name) = self.0.take() {
            register(name, ctx.pid()).expect("nobody has it");
        }
    }
}

#[derive(Message)]
#[rtype(result = "()")]
enum Quit {
    Panic,
    Leave,
}

impl Handler<Quit> for Reader {
    type Result = ();

    fn handle(&mut self, quit: Quit, ctx: &mut Context<Self>) {
        match quit {
            // Without a panic's hook and backtrace: a hundred thousand would be slow.
            Quit::Panic => std::panic::resume_unwind(Box::new("read enough")),
            Quit::Leave => ctx.stop(),
        }
    }
}

/// Counts ends: by reason, and those that came twice.
#[derive(Default)]
struct Census {
    seen: std::collections::HashSet<Pid>,
    twice: usize,
    told: Arc<[AtomicU64; 4]>,
}

impl Actor for Census {
    type Context = Context<Self>;
}

#[derive(Message)]
#[rtype(result = "()")]
struct Watch(Vec<Pid>);

impl Handler<Watch> for Census {
    type Result = ();

    fn handle(&mut self, Watch(pids): Watch, ctx: &mut Context<Self>) {
        for pid in pids {
            ctx.monitor(pid);
        }
    }
}

impl Handler<Down> for Census {
    type Result = ();

    fn handle(&mut self, down: Down, _: &mut Context<Self>) {
        let pid = down.pid.expect("a pid was monitored");
        self.twice += usize::from(!self.seen.insert(pid));
        assert_eq!(self.twice, 0, "{pid} ended twice");
        let column = match down.reason {
            ExitReason::Normal => 0,
            ExitReason::Killed => 1,
            ExitReason::Panic(_) => 2,
            other => panic!("{pid} ended with {other}"),
        };
        self.told[column].fetch_add(1, Ordering::Relaxed);
    }
}

const MANY: usize = 100_000;

#[test]
fn a_hundred_thousand_come_go_and_are_restarted_and_each_end_is_told_once() {
    system(async {
        let root = unique("readers");
        let flags = DynamicFlags {
            restart: Restart::Transient,
            intensity: u32::MAX,
            ..DynamicFlags::new("reader")
        };
        let sup = DynamicSupervisor::start(&root, flags)
            .await
            .expect("it starts");
        let told = Arc::<[AtomicU64; 4]>::default();
        let census = spawn(Census {
            told: Arc::clone(&told),
            ..Census::default()
        });

        let mut pids = start_many(&sup, MANY, &root).await;
        assert_eq!(active(&sup).await, MANY);
        assert_eq!(whereis(&format!("{root}-0")), Some(pids[0]));
        census.send(Watch(pids.clone())).await.expect("it lives");

        // In random order: a third leaves, a third is killed, a third panics.
        fastrand::Rng::with_seed(7).shuffle(&mut pids);
        for (number, pid) in pids.iter().enumerate() {
            let reader = ActorRef::<Reader>::of(*pid).expect("it still reads");
            match number % 3 {
                0 => reader.do_send(Quit::Leave),
                1 => kill(*pid),
                _ => reader.do_send(Quit::Panic),
            }
        }
        let count = || {
            told.iter()
                .map(|count| count.load(Ordering::Relaxed))
                .sum::<u64>()
        };
        eventually("every end is told", || count() == MANY as u64).await;
        let columns: Vec<_> = told
            .iter()
            .map(|count| count.load(Ordering::Relaxed))
            .collect();
        assert_eq!(columns, [33_334, 33_333, 33_333, 0]);

        // Those that did not leave in good order are back, and nothing is left of those before.
        let counts = sup.send(CountChildren::settled()).await.expect("it lives");
        assert_eq!((counts.active, counts.workers), (66_666, 66_666));
        assert!(!pids.iter().any(|pid| is_alive(*pid)));
        let again = sup.send(WhichChildren::now()).await.expect("it lives");
        let again: Vec<_> = again.iter().filter_map(|child| child.state.pid()).collect();
        assert_eq!(again.len(), 66_666);

        let end = exited(sup.pid());
        exit(sup.pid(), ExitReason::SHUTDOWN);
        assert_eq!(end.await, ExitReason::SHUTDOWN);
        assert!(!again.iter().any(|pid| is_alive(*pid)));
        assert_eq!(whereis(&format!("{root}-0")), None);
        let left = byron_supervisors::registered();
        assert!(!left.iter().any(|name| name.starts_with(&root)));
    });
}

/// Starts readers, every thousandth with a name, many at a time.
async fn start_many(sup: &ActorRef<DynamicSupervisor>, count: usize, root: &str) -> Vec<Pid> {
    let mut pids = Vec::with_capacity(count);
    for first in (0..count).step_by(1000) {
        let asked: Vec<_> = (first..(first + 1000).min(count))
            .map(|number| {
                let name = (number % 1000 == 0).then(|| format!("{root}-{number}"));
                sup.send(StartDynamicChild::new(move |_| Reader(name.clone())))
            })
            .collect();
        for start in asked {
            let started = start.await.expect("it lives").expect("it starts");
            pids.extend(started);
        }
    }
    pids
}

/// The messages a supervisor has handled so far.
fn handled(root: &str) -> u64 {
    let nodes = snapshot();
    let node = nodes.iter().find(|node| node.path.to_string() == root);
    node.expect("it is a root").handled
}

#[test]
fn a_start_and_an_end_cost_the_same_whatever_the_number_of_children() {
    system(async {
        let root = unique("readers");
        let flags = DynamicFlags::new("reader");
        let sup = DynamicSupervisor::start(&root, flags)
            .await
            .expect("it starts");
        for count in [10, 1000, 20_000] {
            let before = handled(&root);
            let pids = start_many(&sup, count, &unique("n")).await;
            settle().await;
            let started = handled(&root);
            // The request: the init is over when it is answered.
            assert_eq!(started - before, count as u64, "{count} starts");
            for pid in &pids {
                kill(*pid);
            }
            eventually("all are gone", || !pids.iter().any(|pid| is_alive(*pid))).await;
            settle().await;
            // The `Down`.
            assert_eq!(handled(&root) - started, count as u64, "{count} ends");
        }
    });
}

#[test]
fn a_crash_while_others_wait_for_their_start_is_not_lost() {
    paused(async {
        let sup = dynamic(with(Restart::Permanent, 9)).await;
        let log = Log::default();
        let slow = part("slow", &log).starts([Start::Slow(SECOND)]);
        let waiting = {
            let slow = slow.clone();
            sup.send(StartDynamicChild::with_init(move || slow.clone().init()))
        };
        let quick = part("quick", &log);
        let pid = add_running(&sup, &quick).await;
        end(pid, Deed::Panic).await;
        assert_eq!(quick.made(), 2);
        pass(SECOND).await;
        assert!(matches!(waiting.await, Ok(Ok(Some(_)))));
        assert_eq!(active(&sup).await, 2);
    });
}

#[test]
fn whoever_waits_for_a_killed_supervisor_hears_of_its_end() {
    paused(async {
        let sup = dynamic(with(Restart::Temporary, 0)).await;
        let child = part("x", &Log::default()).starts([Start::Slow(SECOND)]);
        let start = StartDynamicChild::with_init(move || child.clone().init());
        let started = sup.send(start);
        let stubborn = part("y", &Log::default()).stops(Stop::Stubborn);
        let pid = add_running(&sup, &stubborn).await;
        let terminated = sup.send(TerminateDynamicChild(pid));
        settle().await;
        kill(sup.pid());
        settle().await;
        let killed = SendError::Exited(ExitReason::Killed);
        assert_eq!(started.now_or_never(), Some(Err(killed.clone())));
        assert_eq!(terminated.now_or_never(), Some(Err(killed)));
    });
}

#[test]
fn a_start_that_is_ignored_while_the_supervisor_ends_does_not_hold_it_up() {
    paused(async {
        let sup = dynamic(with(Restart::Temporary, 0)).await;
        let pid = sup.pid();
        sup.do_send(StartDynamicChild::with_init(move || async move {
            exit(pid, ExitReason::SHUTDOWN);
            Ok(Init::<Worker>::Ignore)
        }));
        settle().await;
        assert_eq!(sup.exit_reason(), Some(ExitReason::SHUTDOWN));
    });
}

#[test]
fn a_start_that_is_ignored_while_it_is_terminated_is_terminated() {
    paused(async {
        let sup = dynamic(with(Restart::Temporary, 0)).await;
        let asked = Arc::new(Mutex::new(None));
        let (this, request) = (sup.clone(), Arc::clone(&asked));
        let start = StartDynamicChild::with_init(move || {
            let (this, request) = (this.clone(), Arc::clone(&request));
            async move {
                let own = current_pid().expect("inside a process");
                *request.lock() = Some(this.send(TerminateDynamicChild(own)));
                Ok(Init::<Worker>::Ignore)
            }
        });
        assert_eq!(sup.send(start).await, Ok(Ok(None)));
        let request = asked.lock().take().expect("it was asked");
        assert_eq!(request.await, Ok(Ok(())));
    });
}

#[test]
fn a_settled_question_waits_for_the_starts_before_it_and_not_for_those_after() {
    paused(async {
        let sup = dynamic(with(Restart::Temporary, 0)).await;
        let slow = |seconds| {
            let child = part("x", &Log::default()).starts([Start::Slow(seconds * SECOND)]);
            StartDynamicChild::with_init(move || child.clone().init())
        };
        let gone = spawn(Idle).pid();
        kill(gone);
        sup.do_send(slow(1));
        let count = sup.send(CountChildren::settled());
        let terminated = sup.send(TerminateDynamicChild(gone));
        sup.do_send(slow(9));
        let last = sup.send(CountChildren::settled());
        pass(2 * SECOND).await;
        let counts = count.now_or_never().expect("the start before it is over");
        assert_eq!(counts.expect("it lives").active, 2);
        assert_eq!(terminated.now_or_never(), Some(Ok(Ok(()))));
        assert!(last.now_or_never().is_none());
    });
}

#[test]
fn a_dead_supervisor_holds_no_handle_of_itself() {
    paused(async {
        let held = Arc::new(());
        let sup = dynamic(with(Restart::Permanent, 1)).await;
        let (this, token) = (sup.clone(), Arc::clone(&held));
        let start = StartDynamicChild::new(move |_: &mut Context<Idle>| {
            let _ = (&this, &token);
            Idle
        });
        sup.send(start).await.expect("it lives").expect("it starts");
        kill(sup.pid());
        drop(sup);
        settle().await;
        assert_eq!(Arc::strong_count(&held), 1);
    });
}
