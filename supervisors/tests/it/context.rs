//! The context does what actix's does, in short turns.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use actix::prelude::*;
use byron_supervisors::{
    Context, ExitReason, Placement, SendError, Spawn, exit, exited, is_alive, kill, spawn,
};
use futures_util::{FutureExt, StreamExt, stream};

use crate::support::{
    LIMIT, Log, Note, Strings, eventually, panic_of, paused, puppet, settle, system,
};

/// Answers in every way there is.
#[derive(Default)]
struct Oracle {
    log: Log,
    refuses_to_finish: bool,
}

impl Actor for Oracle {
    type Context = Context<Self>;
}

#[derive(Message)]
#[rtype(result = "u32")]
struct Plain(u32);

#[derive(Message)]
#[rtype(result = "u32")]
struct Later(u32);

#[derive(Message)]
#[rtype(result = "u32")]
struct Inside(u32);

#[derive(Message)]
#[rtype(result = "u32")]
struct Alone(u32);

/// The handler crashes over the question.
#[derive(Message)]
#[rtype(result = "u32")]
struct Fatal;

impl Handler<Plain> for Oracle {
    type Result = u32;

    fn handle(&mut self, ask: Plain, _: &mut Self::Context) -> u32 {
        self.log.note(format!("plain {}", ask.0));
        ask.0
    }
}

impl Handler<Later> for Oracle {
    type Result = ResponseFuture<u32>;

    fn handle(&mut self, ask: Later, _: &mut Self::Context) -> Self::Result {
        Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(10)).await;
            assert!(ask.0 != 13, "unlucky");
            ask.0
        })
    }
}

impl Handler<Inside> for Oracle {
    type Result = ResponseActFuture<Self, u32>;

    fn handle(&mut self, ask: Inside, _: &mut Self::Context) -> Self::Result {
        let nap = tokio::time::sleep(Duration::from_millis(10));
        Box::pin(nap.into_actor(self).map(move |(), oracle, _| {
            assert!(ask.0 != 13, "unlucky inside");
            oracle.log.note(format!("inside {}", ask.0));
            ask.0
        }))
    }
}

impl Handler<Alone> for Oracle {
    type Result = AtomicResponse<Self, u32>;

    fn handle(&mut self, ask: Alone, _: &mut Self::Context) -> Self::Result {
        let nap = tokio::time::sleep(Duration::from_millis(10));
        AtomicResponse::new(Box::pin(nap.into_actor(self).map(
            move |(), oracle: &mut Self, _| {
                assert!(ask.0 != 13, "unlucky alone");
                oracle.log.note(format!("alone {}", ask.0));
                ask.0
            },
        )))
    }
}

impl Handler<Fatal> for Oracle {
    type Result = u32;

    fn handle(&mut self, _: Fatal, _: &mut Self::Context) -> u32 {
        panic!("fatal question");
    }
}

impl StreamHandler<u32> for Oracle {
    fn handle(&mut self, item: u32, _: &mut Self::Context) {
        self.log.note(format!("item {item}"));
    }

    fn finished(&mut self, ctx: &mut Self::Context) {
        self.log.note("finished");
        if !self.refuses_to_finish {
            ctx.stop();
        }
    }
}

/// Takes a stream.
#[derive(Message)]
#[rtype(result = "()")]
struct Take(stream::Iter<std::ops::Range<u32>>);

impl Handler<Take> for Oracle {
    type Result = ();

    fn handle(&mut self, take: Take, ctx: &mut Self::Context) {
        ctx.add_stream(take.0);
    }
}

fn oracle() -> (byron_supervisors::ActorRef<Oracle>, Log) {
    let log = Log::default();
    let oracle = spawn(Oracle {
        log: log.clone(),
        refuses_to_finish: true,
    });
    (oracle, log)
}

#[test]
fn every_kind_of_answer_arrives() {
    paused(async {
        let (oracle, _) = oracle();
        assert_eq!(oracle.send(Plain(1)).await, Ok(1));
        assert_eq!(oracle.send(Later(2)).await, Ok(2));
        assert_eq!(oracle.send(Inside(3)).await, Ok(3));
        assert_eq!(oracle.send(Alone(4)).await, Ok(4));
        let addr = oracle.addr();
        assert_eq!(addr.send(Plain(5)).await.ok(), Some(5));
        assert_eq!(addr.send(Alone(6)).await.ok(), Some(6));
        let recipient: Recipient<Inside> = addr.recipient();
        assert_eq!(recipient.send(Inside(7)).await.ok(), Some(7));
    });
}

#[test]
fn an_atomic_answer_lets_no_other_message_in() {
    paused(async {
        let (oracle, log) = oracle();
        let (alone, inside) = (oracle.send(Alone(1)), oracle.send(Inside(2)));
        let plain = oracle.send(Plain(3));
        assert_eq!(
            (alone.await, inside.await, plain.await),
            (Ok(1), Ok(2), Ok(3))
        );
        assert_eq!(log.notes(), ["alone 1", "plain 3", "inside 2"]);
    });
}

#[test]
fn mail_that_comes_while_older_mail_waits_is_handled() {
    // The first batch is taken and stops at its wait; what comes then wakes a process that cannot look at it.
    paused(async {
        for by_addr in [false, true] {
            let (one, log) = puppet();
            one.cast(|_, ctx| {
                let nap = tokio::time::sleep(Duration::from_millis(10));
                ctx.wait(actix::fut::wrap_future(nap));
            });
            one.do_send(Note("in the batch".to_owned()));
            settle().await;
            let behind = Note("behind it".to_owned());
            if by_addr {
                one.addr().do_send(behind);
            } else {
                one.do_send(behind);
            }
            settle().await;
            assert_eq!(log.notes(), [""; 0]);
            tokio::time::sleep(Duration::from_millis(20)).await;
            settle().await;
            assert_eq!(log.notes(), ["in the batch", "behind it"]);
        }
    });
}

#[test]
fn an_address_may_be_made_on_another_thread_at_any_time() {
    system(async {
        for _ in 0..200 {
            let (one, log) = puppet();
            let other = one.clone();
            let thread = std::thread::spawn(move || {
                for number in 0..10 {
                    other.addr().do_send(Note(number.to_string()));
                }
            });
            eventually("all ten", || log.notes().len() == 10).await;
            thread.join().expect("no panic");
            kill(one.pid());
            eventually("the kill", || !is_alive(one.pid())).await;
            assert!(!one.addr().connected());
        }
    });
}

#[test]
fn the_latest_wait_is_first_and_futures_wait_too() {
    paused(async {
        let (one, log) = puppet();
        one.cast(|_, ctx| {
            let note = |text: &'static str| {
                actix::fut::wrap_future::<_, crate::support::Puppet>(async move {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                })
                .map(move |(), me, _: &mut Context<_>| me.log.note(text))
            };
            ctx.spawn(actix::fut::wrap_future(async {}).map(
                |(), me: &mut crate::support::Puppet, _: &mut Context<_>| me.log.note("spawned"),
            ));
            ctx.wait(note("first wait"));
            ctx.wait(note("second wait"));
        });
        one.do_send(Note("message".to_owned()));
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(
            log.notes(),
            ["second wait", "first wait", "message", "spawned"]
        );
    });
}

#[test]
fn a_future_may_cancel_another_or_itself() {
    paused(async {
        let (one, log) = puppet();
        one.cast(|_, ctx| {
            let late = ctx.run_later(Duration::from_millis(20), |me, _| me.log.note("late"));
            ctx.run_later(Duration::from_millis(10), move |me, ctx| {
                me.log.note("cancels");
                ctx.cancel_future(late);
                ctx.cancel_future(late);
            });
            let own = Arc::new(std::sync::OnceLock::new());
            let known = Arc::clone(&own);
            let count = AtomicUsize::new(0);
            let handle = ctx.run_interval(Duration::from_millis(5), move |me, ctx| {
                me.log.note("tick");
                if count.fetch_add(1, Ordering::SeqCst) == 1 {
                    ctx.cancel_future(*known.get().expect("set below"));
                }
            });
            let _ = own.set(handle);
        });
        tokio::time::sleep(Duration::from_millis(100)).await;
        let mut notes = log.notes();
        notes.sort();
        assert_eq!(notes, ["cancels", "tick", "tick"]);
        assert!(is_alive(one.pid()));
    });
}

#[test]
fn timers_end_with_their_actor() {
    paused(async {
        let (one, log) = puppet();
        one.tell(|_, ctx| {
            ctx.run_interval(Duration::from_millis(1), |me, _| me.log.note("tick"));
            ctx.notify_later(Note("later".to_owned()), Duration::from_millis(50));
        })
        .await;
        tokio::time::sleep(Duration::from_millis(10)).await;
        one.cast(|_, ctx| ctx.stop());
        assert_eq!(exited(one.pid()).await, ExitReason::Normal);
        let ticks = log.notes().len();
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(log.notes().len(), ticks);
        assert!(!log.notes().contains(&"later".to_owned()));
    });
}

#[test]
fn notify_comes_after_the_mail_and_notify_later_later() {
    paused(async {
        let (one, log) = puppet();
        one.cast(|_, ctx| {
            ctx.notify_later(Note("later".to_owned()), Duration::from_millis(5));
            ctx.notify(Note("notified".to_owned()));
        });
        one.do_send(Note("mail".to_owned()));
        tokio::time::sleep(Duration::from_millis(10)).await;
        assert_eq!(log.notes(), ["mail", "notified", "later"]);
    });
}

#[test]
fn streams_are_read_to_their_end_through_waits_and_signals() {
    paused(async {
        let (oracle, log) = oracle();
        oracle.do_send(Take(stream::iter(0..1000)));
        oracle.do_send(Take(stream::iter(0..1000)));
        let answer = oracle.send(Alone(1));
        assert_eq!(answer.await, Ok(1));
        eventually("both ends", || {
            log.notes()
                .iter()
                .filter(|note| *note == "finished")
                .count()
                == 2
        })
        .await;
        assert_eq!(log.notes().len(), 2003);
    });
}

/// Feeds itself for ever, one way or another.
struct Hungry(Food, Arc<AtomicUsize>);

#[derive(Clone, Copy, Debug)]
enum Food {
    Ref,
    Addr,
    Notify,
    Stream,
    Waits,
    Spawns,
}

#[derive(Message)]
#[rtype(result = "()")]
struct Bite;

impl Actor for Hungry {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        if let Food::Stream = self.0 {
            ctx.add_stream(stream::repeat(()));
        } else {
            ctx.notify(Bite);
        }
    }
}

impl Handler<Bite> for Hungry {
    type Result = ();

    fn handle(&mut self, _: Bite, ctx: &mut Self::Context) {
        self.1.fetch_add(1, Ordering::Relaxed);
        match self.0 {
            Food::Ref => ctx.this().do_send(Bite),
            Food::Addr => ctx.address().do_send(Bite),
            Food::Notify => ctx.notify(Bite),
            Food::Waits => endless_waits(ctx),
            Food::Spawns => {
                let next = async {}
                    .into_actor(self)
                    .map(|(), hungry, ctx: &mut Context<_>| {
                        Handler::handle(hungry, Bite, ctx);
                    });
                ctx.spawn(next);
            }
            Food::Stream => {}
        }
    }
}

fn endless_waits(ctx: &mut Context<Hungry>) {
    let next = actix::fut::wrap_future::<_, Hungry>(async {});
    ctx.wait(next.map(|(), hungry, ctx: &mut Context<Hungry>| {
        hungry.1.fetch_add(1, Ordering::Relaxed);
        endless_waits(ctx);
    }));
}

impl StreamHandler<()> for Hungry {
    fn handle(&mut self, (): (), _: &mut Self::Context) {
        self.1.fetch_add(1, Ordering::Relaxed);
    }
}

/// Something else for the same actor to do.
impl Handler<Plain> for Hungry {
    type Result = u32;

    fn handle(&mut self, ask: Plain, _: &mut Self::Context) -> u32 {
        ask.0
    }
}

const FOODS: [Food; 6] = [
    Food::Ref,
    Food::Addr,
    Food::Notify,
    Food::Stream,
    Food::Waits,
    Food::Spawns,
];

#[test]
fn an_actor_that_feeds_itself_starves_nobody() {
    for food in FOODS {
        system(async move {
            let eaten = Arc::new(AtomicUsize::new(0));
            let hungry = spawn(Hungry(food, Arc::clone(&eaten)));
            let (neighbour, log) = puppet();
            neighbour.cast(|_, ctx| {
                ctx.run_later(Duration::from_millis(1), |me, _| me.log.note("timer"));
            });
            eventually("the neighbour's timer", || !log.notes().is_empty()).await;
            eventually("it eats", || eaten.load(Ordering::Relaxed) > 1000).await;
            if !matches!(food, Food::Waits) {
                // Nor itself, by either way in.
                let limit = Duration::from_secs(30);
                let own = hungry.send(Plain(1)).timeout(limit).await;
                assert_eq!(own, Ok(1), "{food:?}");
                let by_addr = tokio::time::timeout(limit, hungry.addr().send(Plain(2))).await;
                assert_eq!(by_addr.map(Result::ok), Ok(Some(2)), "{food:?}");
            }
            let end = exited(hungry.pid());
            exit(hungry.pid(), ExitReason::SHUTDOWN);
            assert_eq!(end.await, ExitReason::SHUTDOWN, "{food:?}");
        });
    }
}

#[test]
fn a_million_messages_are_handled_in_order() {
    #[derive(Message)]
    #[rtype(result = "()")]
    struct Number(u32);
    struct Counter(u32);
    impl Actor for Counter {
        type Context = Context<Self>;
    }
    impl Handler<Number> for Counter {
        type Result = ();
        fn handle(&mut self, number: Number, ctx: &mut Self::Context) {
            assert_eq!(number.0, self.0);
            self.0 += 1;
            if self.0 == 1_000_000 {
                ctx.stop();
            }
        }
    }
    system(async {
        let arbiter = Arbiter::new();
        for placement in [Placement::Here, Placement::On(arbiter.handle())] {
            let (counter, _) = Spawn::new().at(placement).start(|_| Counter(0));
            let end = exited(counter.pid());
            for number in 0..1_000_000 {
                counter.do_send(Number(number));
            }
            assert_eq!(end.await, ExitReason::Normal);
        }
        arbiter.stop();
    });
}

#[test]
fn a_failed_question_says_why() {
    paused(async {
        let (crashing, _) = oracle();
        let (answering, queued) = (crashing.send(Fatal), crashing.send(Plain(1)));
        for answer in [answering.await, queued.await] {
            let Err(SendError::Exited(reason)) = answer else {
                panic!("{answer:?}");
            };
            assert_eq!(panic_of(&reason).message, "fatal question");
            assert_eq!(panic_of(&reason).in_message, Some("it::context::Fatal"));
        }
        let Err(SendError::Exited(reason)) = crashing.send(Plain(1)).await else {
            panic!("the dead do not answer");
        };
        assert_eq!(panic_of(&reason).message, "fatal question");
        assert!(crashing.try_send(Plain(1)).is_err());
        assert!(!crashing.is_alive());
        assert_eq!(crashing.exit_reason(), Some(reason));

        let (inside, _) = oracle();
        let Err(SendError::Exited(reason)) = inside.send(Inside(13)).await else {
            panic!("crashed while answering");
        };
        assert_eq!(panic_of(&reason).message, "unlucky inside");

        let (killed, _) = oracle();
        let answer = killed.send(Alone(1));
        settle().await;
        kill(killed.pid());
        assert_eq!(answer.await, Err(SendError::Exited(ExitReason::Killed)));
    });
}

#[test]
fn a_question_from_another_thread_is_told_of_the_crash_too() {
    // The crash drops the answer's sender before the process is over; whoever waits elsewhere is woken in between.
    system(async {
        let arbiter = Arbiter::new();
        let handle = arbiter.handle();
        for round in 0..1000 {
            let (crashing, _) = Spawn::new()
                .at(Placement::On(handle.clone()))
                .start(|_| Oracle::default());
            let answer = if round % 2 == 0 {
                crashing.send(Fatal).await
            } else {
                let answer = crashing.send(Alone(13));
                answer.await
            };
            assert!(
                matches!(answer, Err(SendError::Exited(ExitReason::Panic(_)))),
                "{answer:?}"
            );
        }
        arbiter.stop();
    });
}

#[test]
fn a_dropped_question_is_no_reply() {
    struct Rude;
    impl Actor for Rude {
        type Context = Context<Self>;
    }
    impl Handler<Plain> for Rude {
        type Result = Silence;
        fn handle(&mut self, _: Plain, _: &mut Self::Context) -> Silence {
            Silence
        }
    }
    struct Silence;
    impl actix::dev::MessageResponse<Rude, Plain> for Silence {
        fn handle(self, _: &mut Context<Rude>, _: Option<actix::dev::OneshotSender<u32>>) {}
    }
    system(async {
        let rude = spawn(Rude);
        assert_eq!(rude.send(Plain(1)).await, Err(SendError::NoReply));
        assert!(rude.is_alive());
    });
}

#[test]
fn a_question_gives_up_after_its_timeout() {
    paused(async {
        let (oracle, _) = oracle();
        oracle.do_send(Alone(1));
        let limit = Duration::from_millis(3);
        let answer = oracle.send(Plain(2)).timeout(limit).await;
        assert_eq!(answer, Err(SendError::Timeout(limit)));
        assert_eq!(oracle.send(Plain(3)).timeout(LIMIT).await, Ok(3));
    });
}

#[test]
fn a_process_lives_without_handles_and_an_address_of_the_dead_is_closed() {
    system(async {
        let (one, log) = puppet();
        let (pid, addr) = (one.pid(), one.addr());
        drop(one);
        settle().await;
        assert!(is_alive(pid));
        addr.do_send(Note("by address".to_owned()));
        eventually("the note", || log.notes() == ["by address"]).await;
        drop(addr);
        settle().await;
        assert!(is_alive(pid));
        let one = byron_supervisors::ActorRef::<crate::support::Puppet>::of(pid).expect("alive");
        let addr = one.addr();
        kill(pid);
        eventually("the kill", || !is_alive(pid)).await;
        assert!(!addr.connected());
        assert!(addr.send(Note(String::new())).await.is_err());
        assert!(!one.addr().connected());
    });
}

#[test]
fn the_mailbox_counts_what_waits_in_the_actor_too() {
    system(async {
        let (one, _) = puppet();
        let gate = Arc::new(AtomicBool::new(false));
        let opened = Arc::clone(&gate);
        one.cast(move |_, ctx| {
            ctx.wait(actix::fut::wrap_future(async move {
                while !opened.load(Ordering::SeqCst) {
                    tokio::task::yield_now().await;
                }
            }));
        });
        for _ in 0..50 {
            one.do_send(Note(String::new()));
        }
        settle().await;
        for _ in 0..7 {
            one.do_send(Note(String::new()));
        }
        assert_eq!(one.mailbox_len(), 57);
        gate.store(true, Ordering::SeqCst);
        eventually("an empty mailbox", || one.mailbox_len() == 0).await;
    });
}

#[test]
fn helpers_for_any_async_context_work() {
    // As actix-broker does: subscribe with the recipient of a generic context, publish to all.
    fn subscribe<A>(ctx: &mut A::Context) -> Recipient<Note>
    where
        A: Actor + Handler<Note>,
        A::Context: AsyncContext<A> + actix::dev::ToEnvelope<A, Note>,
    {
        ctx.address().recipient()
    }
    system(async {
        let (one, log) = puppet();
        let recipient = one
            .tell(|_, ctx| subscribe::<crate::support::Puppet>(ctx))
            .await;
        recipient.do_send(Note("published".to_owned()));
        eventually("the note", || log.notes() == ["published"]).await;
        let many = stream::iter(0..10).map(Plain);
        let (oracle, _) = oracle();
        let sum: u32 = many
            .then(|ask| oracle.send(ask).map(|answer| answer.unwrap_or(0)))
            .fold(0, |sum, answer| async move { sum + answer })
            .await;
        assert_eq!(sum, 45);
    });
}

#[test]
fn a_kill_of_oneself_lets_no_other_future_run() {
    system(async {
        let (one, log) = puppet();
        let end = exited(one.pid());
        one.cast(|_, ctx| {
            ctx.notify(Note("after the kill".to_owned()));
            kill(ctx.pid());
        });
        one.do_send(Note("mail after the kill".to_owned()));
        assert_eq!(end.await, ExitReason::Killed);
        assert_eq!(log.notes(), [""; 0]);
    });
}
