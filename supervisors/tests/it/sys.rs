//! Looking into a process, and holding it still, beside its mailbox.

use std::sync::mpsc;
use std::time::Duration;

use actix::fut::{ActorFutureExt, wrap_future};
use actix::prelude::*;
use byron_supervisors::sys::{self, Deed, SYS_REQUESTS_MAX, SysError, TRACE_MAX};
use byron_supervisors::{
    ActorRef, ChildSpec, Context, During, ExitReason, Init, Mailbox, Overflow, Placement,
    SendError, Spawn, SupFlags, Supervisor, adopt, exited, kill, shutdown, snapshot, spawn, vitals,
    whereis_actor,
};
use futures_util::FutureExt;
use tokio::sync::oneshot;

use crate::support::{LIMIT, eventually, paused, puppet, settle, system, unique};

#[derive(Debug, Clone)]
struct Reciter {
    line: u32,
}

impl Actor for Reciter {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        ctx.expose_state();
    }
}

#[derive(Message)]
#[rtype(result = "u32")]
struct Say;

impl Handler<Say> for Reciter {
    type Result = u32;

    fn handle(&mut self, _: Say, _: &mut Context<Self>) -> u32 {
        self.line += 1;
        self.line
    }
}

/// Handles nothing until the sender is dropped.
#[derive(Message)]
#[rtype(result = "()")]
struct Hold(oneshot::Receiver<()>);

impl Handler<Hold> for Reciter {
    type Result = ();

    fn handle(&mut self, Hold(end): Hold, ctx: &mut Context<Self>) {
        ctx.wait(wrap_future(end).map(|_, _: &mut Self, _| ()));
    }
}

/// Keeps its thread until it is told to go on.
#[derive(Message)]
#[rtype(result = "()")]
struct Block(mpsc::Receiver<()>);

impl Handler<Block> for Reciter {
    type Result = ();

    fn handle(&mut self, Block(go_on): Block, _: &mut Context<Self>) {
        let _ = go_on.recv_timeout(LIMIT);
    }
}

#[derive(Message)]
#[rtype(result = "()")]
struct Crash;

impl Handler<Crash> for Reciter {
    type Result = ();

    fn handle(&mut self, _: Crash, _: &mut Context<Self>) {
        panic!("crashed");
    }
}

fn reciter() -> ActorRef<Reciter> {
    spawn(Reciter { line: 0 })
}

#[test]
fn the_state_is_shown_and_copied_between_messages_and_while_the_process_waits() {
    system(async {
        let (reciter, _) = Spawn::new()
            .mailbox(Mailbox::bounded(1, Overflow::Reject))
            .start(|_| Reciter { line: 6 });
        assert_eq!(reciter.send(Say).await, Ok(7));
        let state = || sys::get_state(reciter.pid(), LIMIT);
        assert_eq!(state().await.as_deref(), Ok("Reciter { line: 7 }"));
        let (_go_on, end) = oneshot::channel();
        reciter.send(Hold(end)).await.expect("it lives");
        reciter.do_send(Say);
        assert_eq!(reciter.send(Say).await, Err(SendError::Full));
        assert_eq!(state().await.as_deref(), Ok("Reciter { line: 7 }"));
        let copy = sys::get_state_of(&reciter, LIMIT).await.expect("a copy");
        assert_eq!(copy.line, 7);
    });
}

#[test]
fn what_is_asked_of_a_process_that_was_just_started_waits_until_it_has() {
    system(async {
        let new = reciter();
        let state = sys::get_state(new.pid(), LIMIT).await;
        assert_eq!(state.as_deref(), Ok("Reciter { line: 0 }"));
    });
}

#[test]
fn who_cannot_be_looked_into_says_why() {
    system(async {
        let (silent, _) = puppet();
        let state = sys::get_state(silent.pid(), LIMIT).await;
        assert_eq!(state, Err(SysError::NotExposed));
        let end = exited(silent.pid());
        kill(silent.pid());
        end.await;
        let state = sys::get_state(silent.pid(), LIMIT).await;
        assert_eq!(state, Err(SysError::NoProc));
        assert_eq!(sys::statistics(silent.pid()).err(), Some(SysError::NoProc));
        assert_eq!(sys::trace(silent.pid()).err(), Some(SysError::NoProc));

        struct Old;
        impl Actor for Old {
            type Context = actix::Context<Self>;
        }
        let (_old, pid) = adopt(actix::Context::new(), Old);
        assert_eq!(sys::suspend(pid, LIMIT).await, Err(SysError::Adopted));
        assert_eq!(sys::trace(pid).err(), Some(SysError::Adopted));

        let (starting, _) = Spawn::new().start_init(|| async {
            std::future::pending::<()>().await;
            Ok(Init::Ready(Reciter { line: 0 }))
        });
        let state = sys::get_state(starting.pid(), LIMIT).await;
        assert_eq!(state, Err(SysError::Starting));
    });
}

#[test]
fn a_process_that_ends_first_gives_no_answer() {
    system(async {
        let reciter = reciter();
        settle().await;
        kill(reciter.pid());
        let state = sys::get_state(reciter.pid(), LIMIT).await;
        assert_eq!(state, Err(SysError::NoProc));
    });
}

#[test]
fn a_handler_that_runs_is_named_by_the_timeout() {
    system(async {
        let arbiter = Arbiter::new();
        let (reciter, _) = Spawn::new()
            .at(Placement::On(arbiter.handle()))
            .start(|_| Reciter { line: 0 });
        let (go_on, block) = mpsc::channel();
        reciter.do_send(Block(block));
        eventually("the handler runs", || {
            let doing = vitals(reciter.pid()).expect("it lives").doing;
            doing.is_some_and(|doing| doing.in_message.is_some())
        })
        .await;
        let limit = Duration::from_millis(20);
        let error = sys::suspend(reciter.pid(), limit).await.expect_err("busy");
        let SysError::Timeout { doing, .. } = &error else {
            panic!("expected a timeout, it is {error}");
        };
        let doing = doing.expect("it has its turn");
        assert_eq!(doing.during, During::Message);
        assert_eq!(doing.in_message, Some("it::sys::Block"));
        let text = error.to_string();
        let begin = "no answer within 20ms: the process has been handling it::sys::Block for ";
        assert!(text.starts_with(begin), "{text}");
        // More than it takes are refused; those who have given up make room.
        let asks: Vec<_> = (0..SYS_REQUESTS_MAX)
            .map(|_| {
                let mut ask = Box::pin(sys::get_state(reciter.pid(), LIMIT));
                assert!(ask.as_mut().now_or_never().is_none());
                ask
            })
            .collect();
        let state = sys::get_state(reciter.pid(), LIMIT).await;
        assert_eq!(state, Err(SysError::TooManyRequests));
        drop(asks);
        let state = sys::get_state(reciter.pid(), LIMIT);
        go_on.send(()).expect("it waits");
        assert!(
            state.await.is_ok(),
            "the suspend that timed out did nothing"
        );
        assert_eq!(reciter.send(Say).await, Ok(1));
        arbiter.stop();
    });
}

#[test]
fn a_suspended_process_handles_nothing_polls_nothing_and_goes_on_where_it_was() {
    paused(async {
        let name = unique("reciter");
        let root = unique("root");
        let spec = ChildSpec::new(name.as_str(), |_: &mut Context<Reciter>| Reciter {
            line: 0,
        })
        .mailbox(Mailbox::bounded(2, Overflow::Reject))
        .registered(name.as_str());
        Supervisor::start(&root, SupFlags::default(), vec![spec])
            .await
            .expect("it starts");
        let reciter = whereis_actor::<Reciter>(&name).expect("it runs");
        let pid = reciter.pid();
        sys::suspend(pid, LIMIT).await.expect("it is idle");
        sys::suspend(pid, LIMIT).await.expect("twice is once");
        let asks = [reciter.send(Say), reciter.send(Say)];
        assert_eq!(reciter.send(Say).await, Err(SendError::Full));
        settle().await;
        let shown = sys::statistics(pid).expect("it lives");
        assert_eq!((shown.handled, shown.mailbox_len), (0, Some(2)));
        assert!(shown.suspended);
        let text = snapshot()
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join("\n");
        let line = text
            .lines()
            .find(|line| line.contains(&name))
            .expect("it is shown");
        assert!(line.contains("  SUSPENDED FULL"), "{line}");
        assert!(!line.contains("RUNNING"), "{line}");
        let state = sys::get_state(pid, LIMIT).await;
        assert_eq!(state.as_deref(), Ok("Reciter { line: 0 }"));
        sys::resume(pid, LIMIT).await.expect("it answers");
        let [first, second] = asks;
        assert_eq!((first.await, second.await), (Ok(1), Ok(2)));
        assert!(!sys::statistics(pid).expect("it lives").suspended);
    });
}

#[test]
fn a_suspended_process_heeds_exit_signals_and_kills() {
    system(async {
        for reason in [ExitReason::SHUTDOWN, ExitReason::Killed] {
            let reciter = reciter();
            sys::suspend(reciter.pid(), LIMIT)
                .await
                .expect("it is idle");
            let ask = reciter.send(Say);
            if reason == ExitReason::Killed {
                kill(reciter.pid());
            } else {
                assert_eq!(shutdown(reciter.pid(), LIMIT).await, reason);
            }
            assert_eq!(ask.await, Err(SendError::Exited(reason)));
        }
    });
}

#[test]
fn suspended_timers_are_polled_again_after_the_resume() {
    paused(async {
        struct Ticks(mpsc::Sender<()>);
        impl Actor for Ticks {
            type Context = Context<Self>;
            fn started(&mut self, ctx: &mut Context<Self>) {
                ctx.run_later(Duration::from_secs(1), |ticks, _| {
                    let _ = ticks.0.send(());
                });
            }
        }
        let (sender, ticks) = mpsc::channel();
        let actor = spawn(Ticks(sender));
        sys::suspend(actor.pid(), LIMIT).await.expect("it is idle");
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert!(ticks.try_recv().is_err());
        sys::resume(actor.pid(), LIMIT).await.expect("it answers");
        settle().await;
        assert!(ticks.try_recv().is_ok());
    });
}

#[test]
fn a_trace_tells_messages_and_the_end_and_costs_nothing_when_it_is_dropped() {
    system(async {
        let reciter = reciter();
        let mut trace = sys::trace(reciter.pid()).expect("it lives");
        let mut other = sys::trace(reciter.pid()).expect("it lives");
        reciter.send(Say).await.expect("it lives");
        // A question that is skipped is not told.
        drop(reciter.send(Say));
        let end = exited(reciter.pid());
        reciter.do_send(Crash);
        let reason = end.await;
        for trace in [&mut trace, &mut other] {
            let said = trace.next().await.expect("it said a line");
            let Deed::Handled { message, .. } = said.what else {
                panic!("expected a message, it is {said}");
            };
            assert_eq!(message, "it::sys::Say");
            let ended = trace.next().await.expect("it ended");
            assert_eq!(ended.what, Deed::Exited(reason.clone()));
            assert!(
                trace.next().await.is_none(),
                "there is nothing after the end"
            );
        }
    });
}

#[test]
fn a_slow_tracer_misses_the_oldest_and_knows_how_many() {
    system(async {
        let reciter = reciter();
        let mut trace = sys::trace(reciter.pid()).expect("it lives");
        for _ in 0..TRACE_MAX + 10 {
            reciter.do_send(Say);
        }
        reciter.send(Say).await.expect("it lives");
        let first = trace.next().await;
        assert!(first.is_some());
        assert_eq!(trace.missed(), 11);
        drop(trace);
        reciter.send(Say).await.expect("it lives");
        assert!(reciter.is_alive());
    });
}
