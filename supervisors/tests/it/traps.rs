//! What goes wrong on plain actix, and what byron does instead: a pair of tests for each trap.
//!
//! Those of actix's that abort or never end run in a process of their own.

use std::os::unix::process::ExitStatusExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use actix::prelude::*;
use byron_supervisors::{
    Context, ExitReason, Placement, SendError, Spawn, exited, is_alive, kill, shutdown, spawn,
};
use futures_util::FutureExt as _;
use futures_util::stream::{self, FuturesUnordered, StreamExt};

use crate::support::{
    Entry, Log, Note, Strings, child, child_case, eventually, panic_of, paused, puppet, settle,
    system,
};

const SIGABRT: i32 = 6;

/// What an actor of either kind does. The log outlives it.
#[derive(Default, Clone)]
struct Nature {
    log: Log,
    stopping_refuses: bool,
    stopped_panics: bool,
    takes_stream: bool,
    survives_stream: bool,
}

#[derive(Message)]
#[rtype(result = "()")]
enum Do {
    Panic,
    Stop,
    Terminate,
    Wait,
    Note(&'static str),
    NotifyPanic,
}

/// Answered by a future that knows nothing of the actor.
#[derive(Message)]
#[rtype(result = "()")]
struct Detached(Arc<AtomicBool>);

/// Answered by a future inside the actor.
#[derive(Message)]
#[rtype(result = "()")]
struct Attached(Arc<AtomicBool>);

/// One at a time.
#[derive(Message)]
#[rtype(result = "u32")]
struct Slow(u32);

/// Sends itself for ever; ends when told that a timer has fired, or after very many.
#[derive(Message)]
#[rtype(result = "()")]
struct Feed {
    has_fired: Arc<AtomicBool>,
    count: usize,
}

/// What plain actix does before the experiment is called off.
const FEEDS_MAX: usize = 300_000;

macro_rules! actor_of_both_kinds {
    ($name:ident, $context:ty) => {
        struct $name(Nature);

        impl Actor for $name {
            type Context = $context;

            fn started(&mut self, ctx: &mut Self::Context) {
                self.0.log.note("started");
                if self.0.takes_stream {
                    ctx.add_stream(stream::iter([1]));
                }
            }

            fn stopping(&mut self, _: &mut Self::Context) -> Running {
                self.0.log.note("stopping");
                if self.0.stopping_refuses {
                    Running::Continue
                } else {
                    Running::Stop
                }
            }

            fn stopped(&mut self, _: &mut Self::Context) {
                self.0.log.note("stopped");
                assert!(!self.0.stopped_panics, "stopped");
            }
        }

        impl Handler<Do> for $name {
            type Result = ();

            fn handle(&mut self, what: Do, ctx: &mut Self::Context) {
                match what {
                    Do::Panic => panic!("handler"),
                    Do::Stop => ctx.stop(),
                    Do::Terminate => ctx.terminate(),
                    Do::Wait => ctx.wait(std::future::pending::<()>().into_actor(self)),
                    Do::Note(text) => self.0.log.note(text),
                    Do::NotifyPanic => ctx.notify(Do::Panic),
                }
            }
        }

        impl Handler<Detached> for $name {
            type Result = ResponseFuture<()>;

            fn handle(&mut self, ask: Detached, ctx: &mut Self::Context) -> Self::Result {
                ctx.stop();
                Box::pin(async move {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                    ask.0.store(true, Ordering::SeqCst);
                })
            }
        }

        impl Handler<Attached> for $name {
            type Result = ResponseActFuture<Self, ()>;

            fn handle(&mut self, ask: Attached, ctx: &mut Self::Context) -> Self::Result {
                ctx.stop();
                let late = async move {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                    ask.0.store(true, Ordering::SeqCst);
                };
                Box::pin(late.into_actor(self))
            }
        }

        impl Handler<Slow> for $name {
            type Result = AtomicResponse<Self, u32>;

            fn handle(&mut self, ask: Slow, _: &mut Self::Context) -> Self::Result {
                let nap = tokio::time::sleep(Duration::from_millis(1));
                AtomicResponse::new(Box::pin(nap.into_actor(self).map(move |(), _, _| ask.0)))
            }
        }

        impl Handler<Feed> for $name {
            type Result = ();

            fn handle(&mut self, feed: Feed, ctx: &mut Self::Context) {
                if feed.has_fired.load(Ordering::SeqCst) {
                    self.0.log.note("timer first");
                } else if feed.count == FEEDS_MAX {
                    self.0.log.note("starved");
                } else {
                    ctx.notify(Feed {
                        count: feed.count + 1,
                        ..feed
                    });
                }
            }
        }

        impl StreamHandler<u32> for $name {
            fn handle(&mut self, _: u32, _: &mut Self::Context) {}

            fn finished(&mut self, ctx: &mut Self::Context) {
                // The default, unless the actor has more to live for.
                if !self.0.survives_stream {
                    ctx.stop();
                }
            }
        }
    };
}

actor_of_both_kinds!(Old, actix::Context<Self>);
actor_of_both_kinds!(New, Context<Self>);

fn old(nature: Nature) -> (Addr<Old>, Log) {
    let log = nature.log.clone();
    (Old(nature).start(), log)
}

fn new(nature: Nature) -> (byron_supervisors::ActorRef<New>, Log) {
    let log = nature.log.clone();
    (spawn(New(nature)), log)
}

// 1: the future of a crashed actor is dropped while it unwinds.

#[test]
fn trap_1_actix_runs_the_hooks_of_a_crashed_actor() {
    system(async {
        let (addr, log) = old(Nature::default());
        assert!(addr.send(Do::Panic).await.is_err());
        assert_eq!(log.notes(), ["started", "stopping", "stopped"]);
    });
}

#[test]
fn trap_1_byron_runs_nothing_of_a_crashed_actor() {
    system(async {
        let (actor, log) = new(Nature::default());
        assert!(actor.send(Do::Panic).await.is_err());
        assert_eq!(log.notes(), ["started"]);
    });
}

#[test]
fn trap_1_actix_lets_a_crashed_actor_go_on_with_its_messages() {
    system(async {
        let (addr, log) = old(Nature {
            stopping_refuses: true,
            ..Nature::default()
        });
        addr.do_send(Do::Panic);
        addr.do_send(Do::Note("handled by the crashed"));
        eventually("the crash", || !addr.connected()).await;
        assert!(log.notes().contains(&"handled by the crashed".to_owned()));
    });
}

#[test]
fn trap_1_byron_drops_the_messages_of_a_crashed_actor() {
    system(async {
        let (actor, log) = new(Nature {
            stopping_refuses: true,
            ..Nature::default()
        });
        let end = exited(actor.pid());
        actor.do_send(Do::Panic);
        actor.do_send(Do::Note("handled by the crashed"));
        assert_eq!(panic_of(&end.await).message, "handler");
        assert_eq!(log.notes(), ["started"]);
    });
}

fn two_panics() -> Nature {
    Nature {
        stopped_panics: true,
        ..Nature::default()
    }
}

#[test]
fn trap_1_actix_aborts_the_program_at_the_second_panic() {
    const NAME: &str = "traps::trap_1_actix_aborts_the_program_at_the_second_panic";
    if child_case().as_deref() == Some("abort") {
        system(async { old(two_panics()).0.send(Do::Panic).await }).expect("not reached");
    }
    let output = child(NAME, "abort");
    assert_eq!(output.status.signal(), Some(SIGABRT), "{output:?}");
}

#[test]
fn trap_1_byron_ends_one_actor_at_the_second_panic() {
    system(async {
        let (actor, log) = new(two_panics());
        let end = exited(actor.pid());
        actor.do_send(Do::Panic);
        assert_eq!(panic_of(&end.await).message, "handler");
        assert_eq!(log.notes(), ["started"]);
    });
}

// 2: there is no way to end an actor without its hooks.

#[test]
fn trap_2_actix_calls_stopped_after_terminate() {
    system(async {
        let (addr, log) = old(Nature::default());
        addr.do_send(Do::Terminate);
        eventually("the end", || !addr.connected()).await;
        assert_eq!(log.notes(), ["started", "stopped"]);
    });
}

#[test]
fn trap_2_byron_kills_without_hooks() {
    system(async {
        let (actor, log) = new(Nature::default());
        settle().await;
        let end = exited(actor.pid());
        kill(actor.pid());
        assert_eq!(end.await, ExitReason::Killed);
        assert_eq!(log.notes(), ["started"]);
    });
}

// 3: `wait` shuts out the message that should end the actor.

#[test]
fn trap_3_actix_does_not_see_the_order_to_stop_while_it_waits() {
    system(async {
        let (addr, log) = old(Nature::default());
        addr.do_send(Do::Wait);
        addr.do_send(Do::Stop);
        settle().await;
        assert!(addr.connected());
        assert_eq!(log.notes(), ["started"]);
    });
}

#[test]
fn trap_3_byron_obeys_shutdown_while_it_waits() {
    system(async {
        let (actor, log) = new(Nature::default());
        actor.do_send(Do::Wait);
        settle().await;
        let reason = shutdown(actor.pid(), Duration::from_secs(30)).await;
        assert_eq!(reason, ExitReason::SHUTDOWN);
        assert_eq!(log.notes(), ["started", "stopping", "stopped"]);
    });
}

// 4: the bounded mailbox is not bounded. byron's has no bound yet, and does not pretend to.

#[test]
fn trap_4_actix_accepts_a_thousand_messages_into_a_mailbox_of_sixteen() {
    system(async {
        let (addr, _) = old(Nature::default());
        let accepted = (0..1000)
            .filter(|_| addr.clone().try_send(Do::Note("sent")).is_ok())
            .count();
        assert_eq!(accepted, 1000);
    });
}

#[test]
fn trap_4_byron_says_unbounded_and_answers_every_question() {
    paused(async {
        let (actor, _) = new(Nature::default());
        let mut questions: FuturesUnordered<_> =
            (0..60).map(|number| actor.send(Slow(number))).collect();
        assert_eq!(actor.mailbox_len(), 60);
        let mut sum = 0;
        while let Some(answer) = questions.next().await {
            sum += answer.expect("answered");
        }
        assert_eq!(sum, 59 * 60 / 2);
        // By address too.
        let addr = actor.addr();
        let answers = futures_util::future::join_all((0..60).map(|number| addr.send(Slow(number))));
        assert!(answers.await.iter().all(Result::is_ok));
    });
}

// 5: an answer computed by a detached future.

#[test]
fn trap_5_a_response_future_outlives_its_actor_with_either_context() {
    // actix spawns it, whatever the context: byron cannot mend it, and says so.
    paused(async {
        let is_done = Arc::new(AtomicBool::new(false));
        let (addr, _) = old(Nature::default());
        assert!(addr.send(Detached(Arc::clone(&is_done))).await.is_ok());
        assert!(is_done.swap(false, Ordering::SeqCst));
        let (actor, _) = new(Nature::default());
        assert!(actor.send(Detached(Arc::clone(&is_done))).await.is_ok());
        assert!(!is_alive(actor.pid()));
        assert!(is_done.load(Ordering::SeqCst));
    });
}

#[test]
fn trap_5_actix_does_not_say_why_an_answer_inside_the_actor_is_lost() {
    paused(async {
        let is_done = Arc::new(AtomicBool::new(false));
        let (addr, _) = old(Nature::default());
        let answer = addr.send(Attached(Arc::clone(&is_done))).await;
        assert!(matches!(answer, Err(MailboxError::Closed)));
        assert!(!is_done.load(Ordering::SeqCst));
    });
}

#[test]
fn trap_5_byron_ends_an_answer_inside_the_actor_with_it_and_says_why() {
    paused(async {
        let is_done = Arc::new(AtomicBool::new(false));
        let (actor, _) = new(Nature::default());
        let answer = actor.send(Attached(Arc::clone(&is_done))).await;
        assert_eq!(answer, Err(SendError::Exited(ExitReason::Normal)));
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(!is_done.load(Ordering::SeqCst));
    });
}

// 6: starvation.

async fn feed(has_fired: &Arc<AtomicBool>) -> Feed {
    let fired = Arc::clone(has_fired);
    actix_rt::spawn(async move {
        tokio::time::sleep(Duration::from_millis(1)).await;
        fired.store(true, Ordering::SeqCst);
    });
    tokio::task::yield_now().await;
    Feed {
        has_fired: Arc::clone(has_fired),
        count: 0,
    }
}

#[test]
fn trap_6_actix_starves_a_timer_by_an_actor_that_notifies_itself() {
    system(async {
        let (addr, log) = old(Nature::default());
        let feed = feed(&Arc::default()).await;
        let _ = addr.send(feed).await;
        eventually("an end", || log.notes().len() == 2).await;
        assert_eq!(log.notes()[1], "starved");
    });
}

#[test]
fn trap_6_byron_lets_the_timer_fire() {
    system(async {
        let (actor, log) = new(Nature::default());
        actor.do_send(feed(&Arc::default()).await);
        eventually("an end", || log.notes().len() == 2).await;
        assert_eq!(log.notes()[1], "timer first");
    });
}

// 7: a stream that finds the actor waiting returns without a waker. actix itself polls everything again after a wait;
// whoever gives `waiting()` another meaning, as byron's budget does, has to do the same.

#[test]
fn trap_7_actix_streams_stop_without_a_waker_when_the_actor_waits() {
    struct Reader(usize);
    impl Actor for Reader {
        type Context = actix::Context<Self>;
        fn started(&mut self, ctx: &mut Self::Context) {
            ctx.add_stream(stream::iter(0..3_u32));
        }
    }
    impl StreamHandler<u32> for Reader {
        fn handle(&mut self, _: u32, ctx: &mut Self::Context) {
            self.0 += 1;
            ctx.wait(std::future::pending::<()>().into_actor(self));
        }
    }
    impl Drop for Reader {
        fn drop(&mut self) {
            assert_eq!(self.0, 1, "two items are ready and not read");
        }
    }
    struct Wakes(AtomicUsize);
    impl std::task::Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    system(async {
        let wakes = Arc::new(Wakes(AtomicUsize::new(0)));
        let waker = Arc::clone(&wakes).into();
        let mut task = std::task::Context::from_waker(&waker);
        let ctx = actix::Context::new();
        let _addr: Addr<Reader> = ctx.address();
        let mut future = ctx.into_future(Reader(0));
        assert!(future.poll_unpin(&mut task).is_pending());
        assert_eq!(wakes.0.load(Ordering::SeqCst), 0);
        future.ctx().terminate();
    });
}

#[test]
fn trap_7_byron_polls_a_stream_again_when_its_turn_was_over() {
    struct Reader(Arc<AtomicUsize>);
    impl Actor for Reader {
        type Context = Context<Self>;
        fn started(&mut self, ctx: &mut Self::Context) {
            // Far more than one turn takes, and nothing else that would wake the actor.
            ctx.add_stream(stream::iter(0..10_000_u32));
        }
    }
    impl StreamHandler<u32> for Reader {
        fn handle(&mut self, item: u32, ctx: &mut Self::Context) {
            self.0.fetch_add(1, Ordering::SeqCst);
            if item.is_multiple_of(1000) {
                let nap = tokio::time::sleep(Duration::from_millis(1));
                ctx.wait(nap.into_actor(self));
            }
        }
    }
    paused(async {
        let read = Arc::new(AtomicUsize::new(0));
        let reader = spawn(Reader(Arc::clone(&read)));
        assert_eq!(exited(reader.pid()).await, ExitReason::Normal);
        assert_eq!(read.load(Ordering::SeqCst), 10_000);
    });
}

// 8: an arbiter that goes, or has gone, says nothing.

#[test]
fn trap_8_actix_starts_an_actor_on_a_dead_arbiter_without_a_word() {
    system(async {
        let arbiter = Arbiter::new();
        let handle = arbiter.handle();
        arbiter.stop();
        arbiter.join().expect("no panic");
        let addr = Old::start_in_arbiter(&handle, |_| Old(Nature::default()));
        assert!(matches!(
            addr.send(Do::Note("lost")).await,
            Err(MailboxError::Closed)
        ));
    });
}

#[test]
fn trap_8_byron_says_noconnection() {
    system(async {
        let arbiter = Arbiter::new();
        let handle = arbiter.handle();
        arbiter.stop();
        arbiter.join().expect("no panic");
        let (actor, _) = Spawn::new()
            .at(Placement::On(handle))
            .start(|_| New(Nature::default()));
        assert_eq!(
            actor.send(Do::Note("lost")).await,
            Err(SendError::Exited(ExitReason::NoConnection))
        );
    });
}

// 9: starting from a thread without an arbiter.

#[test]
fn trap_9_actix_panics_when_it_starts_an_actor_without_an_arbiter() {
    let started = std::thread::spawn(|| {
        Old(Nature::default()).start();
    });
    assert!(started.join().is_err());
}

#[test]
fn trap_9_byron_starts_on_an_arbiter_from_any_thread() {
    system(async {
        let arbiter = Arbiter::new();
        let placement = Placement::On(arbiter.handle());
        let actor = std::thread::spawn(move || {
            let start = Spawn::new().at(placement);
            start.start(|_| New(Nature::default())).0
        });
        let actor = actor.join().expect("no panic");
        assert_eq!(actor.send(Slow(3)).await, Ok(3));
        // Here and nowhere: a panic as well, and the process that was to be has ended.
        let here = std::thread::spawn(|| {
            let (sender, receiver) = std::sync::mpsc::channel();
            let failed = std::panic::catch_unwind(|| {
                Spawn::new().start(move |ctx| {
                    sender.send(ctx.pid()).expect("heard");
                    New(Nature::default())
                })
            });
            assert!(failed.is_err());
            receiver.recv().expect("the factory ran")
        });
        let pid = here.join().expect("no panic but the caught one");
        assert!(!is_alive(pid));
        arbiter.stop();
    });
}

// 10: whoever holds an address keeps the actor alive, and nobody else does.

#[test]
fn trap_10_actix_ends_an_actor_when_nobody_holds_its_address() {
    system(async {
        let (addr, log) = old(Nature::default());
        let stranger: Recipient<Do> = addr.clone().recipient();
        drop(addr);
        settle().await;
        assert_eq!(log.notes(), ["started"], "a stranger's recipient keeps it");
        drop(stranger);
        eventually("the end", || log.notes().len() == 3).await;
    });
}

#[test]
fn trap_10_byron_actors_live_until_they_end_and_pids_never_come_back() {
    system(async {
        let (actor, _) = new(Nature::default());
        let pid = actor.pid();
        drop(actor);
        settle().await;
        assert!(is_alive(pid));
        kill(pid);
        eventually("the kill", || !is_alive(pid)).await;
        for _ in 0..1000 {
            let (next, _) = new(Nature::default());
            assert!(next.pid() > pid);
            kill(next.pid());
        }
        assert!(!is_alive(pid));
    });
}

// 11: messages of an actor to itself pass its context by.

#[test]
fn trap_11_actix_cannot_say_which_message_crashed() {
    system(async {
        let (addr, pid) = byron_supervisors::adopt(actix::Context::new(), Old(Nature::default()));
        let end = exited(pid);
        addr.do_send(Do::NotifyPanic);
        let reason = end.await;
        assert_eq!(panic_of(&reason).message, "handler");
        assert_eq!(panic_of(&reason).in_message, None);
    });
}

#[test]
fn trap_11_byron_knows_the_message_of_a_notify() {
    system(async {
        let (actor, _) = new(Nature::default());
        let end = exited(actor.pid());
        actor.do_send(Do::NotifyPanic);
        assert_eq!(panic_of(&end.await).in_message, Some("it::traps::Do"));
    });
}

// 12: a stream that ends stops its actor.

#[test]
fn trap_12_actix_stops_with_its_stream_and_tells_nobody() {
    system(async {
        let (addr, log) = old(Nature {
            takes_stream: true,
            ..Nature::default()
        });
        eventually("the end", || !addr.connected()).await;
        assert_eq!(log.notes(), ["started", "stopping", "stopped"]);
    });
}

#[test]
fn trap_12_byron_tells_that_the_end_of_the_stream_was_normal_unless_it_is_overridden() {
    system(async {
        let nature = Nature {
            takes_stream: true,
            ..Nature::default()
        };
        let (actor, _) = new(nature.clone());
        assert_eq!(exited(actor.pid()).await, ExitReason::Normal);
        let (actor, _) = new(Nature {
            survives_stream: true,
            ..nature
        });
        settle().await;
        assert!(is_alive(actor.pid()));
    });
}

// 13: the news of a death overtakes the last words.

#[test]
fn trap_13_actix_shows_the_death_before_the_last_words_are_read() {
    struct Speaker(Addr<Old>);
    impl Actor for Speaker {
        type Context = actix::Context<Self>;
        fn started(&mut self, ctx: &mut Self::Context) {
            self.0.do_send(Do::Note("last words"));
            ctx.terminate();
        }
    }
    system(async {
        let (addr, log) = old(Nature::default());
        settle().await;
        addr.do_send(Do::Wait);
        let speaker = Speaker(addr.clone()).start();
        eventually("the death shows", || !speaker.connected()).await;
        assert!(!log.notes().contains(&"last words".to_owned()));
    });
}

#[test]
fn trap_13_byron_brings_the_down_behind_the_last_words() {
    system(async {
        let (observer, log) = puppet();
        let to = observer.clone();
        let (speaker, _) = puppet();
        observer.watch(speaker.pid()).await;
        let pid = speaker.pid();
        speaker.cast(move |_, ctx| {
            to.do_send(Note("last words".to_owned()));
            to.addr().do_send(Note("by address".to_owned()));
            ctx.stop();
        });
        log.wait_downs(1).await;
        let entries = log.entries();
        assert_eq!(entries.len(), 3);
        let Entry::Down(down) = &entries[2] else {
            panic!("{entries:?}");
        };
        assert_eq!((down.pid, &down.reason), (Some(pid), &ExitReason::Normal));
    });
}
