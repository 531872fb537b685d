//! Bounded mailboxes: each policy under a crowd of senders, and the budget of a turn.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use actix::fut::{ActorFutureExt, wrap_future};
use actix::prelude::*;
use byron_supervisors::{
    ActorRef, ChildSpec, Context, Down, DynamicFlags, DynamicSupervisor, EventKind, ExitReason,
    MESSAGES_PER_TURN, Mailbox, MailboxOverflow, OnRestart, Overflow, Placement, SendError, Spawn,
    StartDynamicChild, SupFlags, Supervisor, TrySendError, dead_letter_count, events_since, exited,
    kill, record_operator, spawn, vitals, whereis_actor,
};
use futures_util::future::join_all;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::support::{eventually, paused, settle, system, unique};

const CAPACITY: usize = 16;
const SENDERS: usize = 1_000;

/// Counts how many of it there are.
struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(alive: &Arc<AtomicUsize>) -> Self {
        alive.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(alive))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[derive(Message)]
#[rtype(result = "usize")]
struct Line(usize, Option<Counted>);

fn line(number: usize) -> Line {
    Line(number, None)
}

/// Handles nothing until it is told to go on.
#[derive(Message)]
#[rtype(result = "()")]
struct Hold(oneshot::Receiver<()>);

#[derive(Message)]
#[rtype(result = "()")]
struct Crash;

/// Writes down the lines it hears, and how many processes' ends.
#[derive(Default, Clone)]
struct Reciter {
    heard: Arc<Mutex<Vec<usize>>>,
    downs: Arc<AtomicUsize>,
}

impl Actor for Reciter {
    type Context = Context<Self>;
}

impl Handler<Line> for Reciter {
    type Result = usize;

    fn handle(&mut self, Line(number, _): Line, _: &mut Context<Self>) -> usize {
        self.heard.lock().push(number);
        number
    }
}

impl Handler<Hold> for Reciter {
    type Result = ();

    fn handle(&mut self, Hold(end): Hold, ctx: &mut Context<Self>) {
        ctx.wait(wrap_future(end).map(|_, _: &mut Self, _| ()));
    }
}

impl Handler<Crash> for Reciter {
    type Result = ();

    fn handle(&mut self, _: Crash, _: &mut Context<Self>) {
        panic!("crashed");
    }
}

/// Monitors that many processes and kills them.
#[derive(Message)]
#[rtype(result = "()")]
struct WatchDeaths(usize);

impl Handler<WatchDeaths> for Reciter {
    type Result = ();

    fn handle(&mut self, WatchDeaths(count): WatchDeaths, ctx: &mut Context<Self>) {
        for _ in 0..count {
            let (victim, _) = ctx.spawn_monitor(Reciter::default());
            kill(victim.pid());
        }
    }
}

impl Handler<Down> for Reciter {
    type Result = ();

    fn handle(&mut self, _: Down, _: &mut Context<Self>) {
        self.downs.fetch_add(1, Ordering::SeqCst);
    }
}

/// A reciter with a bounded mailbox that handles nothing until the sender is dropped.
async fn held(overflow: Overflow) -> (ActorRef<Reciter>, Reciter, oneshot::Sender<()>) {
    let reciter = Reciter::default();
    let copy = reciter.clone();
    let (actor, _) = Spawn::new()
        .mailbox(Mailbox::bounded(CAPACITY, overflow))
        .start(move |_| copy);
    let go_on = hold(&actor).await;
    (actor, reciter, go_on)
}

async fn hold(actor: &ActorRef<Reciter>) -> oneshot::Sender<()> {
    let (go_on, end) = oneshot::channel();
    actor.send(Hold(end)).await.expect("it lives");
    go_on
}

fn length(actor: &ActorRef<Reciter>) -> usize {
    vitals(actor.pid())
        .expect("it lives")
        .mailbox_len
        .expect("its mailbox is ours")
}

#[test]
fn block_lets_a_thousand_senders_wait_and_serves_them_in_order() {
    system(async {
        let (actor, reciter, go_on) = held(Overflow::Block).await;
        let asks: Vec<_> = (0..SENDERS)
            .map(|number| actor.send(line(number)))
            .collect();
        let shown = vitals(actor.pid()).expect("it lives");
        assert_eq!(shown.mailbox_len, Some(CAPACITY));
        assert_eq!(shown.senders_waiting, SENDERS - CAPACITY);
        assert_eq!(shown.mailbox_overflow, Some(Overflow::Block));
        assert_eq!(
            shown.flags(tokio::time::Instant::now()).names().next(),
            Some("FULL")
        );
        // Those who cannot wait are refused.
        assert!(matches!(
            actor.try_send(line(SENDERS)),
            Err(TrySendError::Full(Line(SENDERS, None)))
        ));
        drop(go_on);
        let answers: Vec<_> = join_all(asks).await;
        assert_eq!(answers, (0..SENDERS).map(Ok).collect::<Vec<_>>());
        assert_eq!(*reciter.heard.lock(), (0..SENDERS).collect::<Vec<_>>());
        let shown = vitals(actor.pid()).expect("it lives");
        assert_eq!((shown.mailbox_high, shown.lost), (CAPACITY, 0));
        assert_eq!((shown.mailbox_len, shown.senders_waiting), (Some(0), 0));
    });
}

#[test]
fn a_sender_that_stops_waiting_takes_its_message_back() {
    system(async {
        let (actor, reciter, go_on) = held(Overflow::Block).await;
        let alive = Arc::new(AtomicUsize::new(0));
        let asks: Vec<_> = (0..CAPACITY)
            .map(|number| actor.send(line(number)))
            .collect();
        let waiting: Vec<_> = (0..SENDERS)
            .map(|number| actor.send(Line(number, Some(Counted::new(&alive)))))
            .collect();
        let last = actor.send(line(SENDERS));
        let lost = dead_letter_count();
        drop(waiting);
        assert_eq!(alive.load(Ordering::SeqCst), 0, "the messages are gone");
        assert_eq!(vitals(actor.pid()).expect("it lives").senders_waiting, 1);
        drop(go_on);
        assert_eq!(last.await, Ok(SENDERS));
        assert_eq!(join_all(asks).await.len(), CAPACITY);
        assert_eq!(reciter.heard.lock().len(), CAPACITY + 1);
        let shown = vitals(actor.pid()).expect("it lives");
        assert_eq!(
            shown.lost, 0,
            "what is taken back is not lost; {lost} were before"
        );
    });
}

#[test]
fn senders_that_wait_hear_why_the_process_ended() {
    system(async {
        let (actor, _, go_on) = held(Overflow::Block).await;
        let asks: Vec<_> = (0..2 * CAPACITY)
            .map(|number| actor.send(line(number)))
            .collect();
        kill(actor.pid());
        let answers = join_all(asks).await;
        drop(go_on);
        let killed = Err(SendError::Exited(ExitReason::Killed));
        assert_eq!(answers, vec![killed; 2 * CAPACITY]);
    });
}

#[test]
fn a_timeout_ends_the_wait_for_room_as_well() {
    paused(async {
        let (actor, _, _go_on) = held(Overflow::Block).await;
        let asks: Vec<_> = (0..CAPACITY)
            .map(|number| actor.send(line(number)))
            .collect();
        let limit = Duration::from_secs(3);
        let answer = actor.send(line(CAPACITY)).timeout(limit).await;
        assert_eq!(answer, Err(SendError::Timeout(limit)));
        assert_eq!(vitals(actor.pid()).expect("it lives").senders_waiting, 0);
        drop(asks);
    });
}

#[test]
fn reject_answers_full_and_gives_messages_back() {
    system(async {
        let (actor, reciter, go_on) = held(Overflow::Reject).await;
        let asks: Vec<_> = (0..SENDERS)
            .map(|number| actor.send(line(number)))
            .collect();
        assert_eq!(length(&actor), CAPACITY);
        let refused = actor.try_send(line(7)).expect_err("it is full");
        assert_eq!(refused.to_string(), "the mailbox is full");
        assert_eq!(refused.into_message().0, 7);
        actor.do_send(line(8));
        drop(go_on);
        let answers = join_all(asks).await;
        let (first, others) = answers.split_at(CAPACITY);
        assert_eq!(first, (0..CAPACITY).map(Ok).collect::<Vec<_>>());
        assert!(others.iter().all(|answer| *answer == Err(SendError::Full)));
        assert_eq!(reciter.heard.lock().len(), CAPACITY);
        let shown = vitals(actor.pid()).expect("it lives");
        // The one that was given back is not lost.
        let refused = (SENDERS - CAPACITY) as u64;
        assert_eq!((shown.refused, shown.lost), (refused + 2, refused + 1));
        assert_eq!(actor.send(line(9)).await, Ok(9), "there is room again");
    });
}

#[test]
fn drop_oldest_keeps_the_latest_and_tells_who_asked() {
    system(async {
        let (actor, reciter, go_on) = held(Overflow::DropOldest).await;
        let asks: Vec<_> = (0..SENDERS)
            .map(|number| actor.send(line(number)))
            .collect();
        assert_eq!(length(&actor), CAPACITY);
        drop(go_on);
        let answers = join_all(asks).await;
        let (dropped, last) = answers.split_at(SENDERS - CAPACITY);
        assert!(
            dropped
                .iter()
                .all(|answer| *answer == Err(SendError::Dropped))
        );
        let latest: Vec<_> = (SENDERS - CAPACITY..SENDERS).collect();
        assert_eq!(last, latest.iter().copied().map(Ok).collect::<Vec<_>>());
        assert_eq!(*reciter.heard.lock(), latest);
        let shown = vitals(actor.pid()).expect("it lives");
        assert_eq!(shown.lost, (SENDERS - CAPACITY) as u64);
    });
}

#[test]
fn stop_ends_the_process_with_its_own_reason_though_it_waits() {
    system(async {
        let (actor, reciter, _go_on) = held(Overflow::Stop).await;
        let end = exited(actor.pid());
        let asks: Vec<_> = (0..SENDERS)
            .map(|number| actor.send(line(number)))
            .collect();
        assert_eq!(length(&actor), CAPACITY);
        let reason = end.await;
        let ExitReason::Error(error) = &reason else {
            panic!("expected an error, the reason is {reason}");
        };
        assert_eq!(
            error
                .downcast_ref::<MailboxOverflow>()
                .map(|it| it.capacity),
            Some(CAPACITY)
        );
        let answers = join_all(asks).await;
        assert_eq!(answers, vec![Err(SendError::Exited(reason)); SENDERS]);
        assert_eq!(*reciter.heard.lock(), Vec::<usize>::new());
    });
}

#[test]
fn memory_stays_flat_while_a_thousand_senders_push() {
    for overflow in [
        Overflow::Block,
        Overflow::Reject,
        Overflow::DropOldest,
        Overflow::Stop,
    ] {
        system(async move {
            let arbiter = Arbiter::new();
            let (actor, _) = Spawn::new()
                .mailbox(Mailbox::bounded(CAPACITY, overflow))
                .at(Placement::On(arbiter.handle()))
                .start(|_| Reciter::default());
            let alive = Arc::new(AtomicUsize::new(0));
            let most = Arc::new(AtomicUsize::new(0));
            let senders = (0..SENDERS).map(|_| {
                let (actor, alive, most) = (actor.clone(), Arc::clone(&alive), Arc::clone(&most));
                async move {
                    for number in 0..20 {
                        actor.do_send(Line(number, Some(Counted::new(&alive))));
                        most.fetch_max(alive.load(Ordering::SeqCst), Ordering::SeqCst);
                        assert!(actor.mailbox_len() <= CAPACITY);
                        tokio::task::yield_now().await;
                    }
                }
            });
            join_all(senders).await;
            // One more is on its way in, one is being handled, and one is on its way out.
            let most = most.load(Ordering::SeqCst);
            assert!(most <= CAPACITY + 3, "{most} with {overflow:?}");
            arbiter.stop();
        });
    }
}

#[test]
fn what_the_crate_sends_is_neither_counted_nor_refused() {
    for overflow in [
        Overflow::Block,
        Overflow::Reject,
        Overflow::DropOldest,
        Overflow::Stop,
    ] {
        system(async move {
            let (actor, reciter, go_on) = held(overflow).await;
            drop(go_on);
            actor
                .send(WatchDeaths(3 * CAPACITY))
                .await
                .expect("it lives");
            let go_on = hold(&actor).await;
            for number in 0..CAPACITY {
                actor.do_send(line(number));
            }
            settle().await;
            assert_eq!(length(&actor), CAPACITY, "{overflow:?}");
            drop(go_on);
            eventually("all are heard", || reciter.heard.lock().len() == CAPACITY).await;
            assert_eq!(reciter.downs.load(Ordering::SeqCst), 3 * CAPACITY);
            assert!(actor.is_alive(), "{overflow:?}");
        });
    }
}

#[test]
fn addresses_share_the_bound_when_the_process_looks() {
    for (overflow, kept) in [
        (Overflow::Reject, 0..CAPACITY),
        (Overflow::DropOldest, SENDERS - CAPACITY..SENDERS),
    ] {
        system(async move {
            let (actor, reciter, go_on) = held(overflow).await;
            let addr = actor.addr();
            for number in 0..SENDERS {
                addr.do_send(line(number));
            }
            // It looks while it waits.
            eventually("the rest is dropped", || {
                vitals(actor.pid()).expect("it lives").lost == (SENDERS - CAPACITY) as u64
            })
            .await;
            assert_eq!(length(&actor), CAPACITY);
            drop(go_on);
            eventually("those are heard", || reciter.heard.lock().len() == CAPACITY).await;
            assert_eq!(*reciter.heard.lock(), kept.collect::<Vec<_>>());
        });
    }
}

#[test]
fn addresses_end_a_process_that_stops_on_overflow() {
    system(async {
        let (actor, _, _go_on) = held(Overflow::Stop).await;
        let end = exited(actor.pid());
        let addr = actor.addr();
        for number in 0..=CAPACITY {
            addr.do_send(line(number));
        }
        let reason = end.await.to_string();
        assert_eq!(
            reason,
            "error: mailbox overflow: more than 16 messages waited"
        );
    });
}

#[test]
fn with_block_addresses_and_handles_get_in_by_turns() {
    system(async {
        let (actor, reciter, go_on) = held(Overflow::Block).await;
        let addr = actor.addr();
        settle().await;
        let asks: Vec<_> = (0..SENDERS)
            .map(|number| actor.send(line(number)))
            .collect();
        for number in 0..SENDERS {
            addr.do_send(line(SENDERS + number));
        }
        settle().await;
        assert_eq!(
            length(&actor),
            CAPACITY,
            "the others wait in actix's channel"
        );
        drop(go_on);
        join_all(asks).await;
        let half = reciter.heard.lock().len();
        eventually("all are heard", || {
            reciter.heard.lock().len() == 2 * SENDERS
        })
        .await;
        let by_addr: Vec<_> = reciter.heard.lock()[..half]
            .iter()
            .copied()
            .filter(|number| *number >= SENDERS)
            .collect();
        assert!(by_addr.len() > SENDERS / 3, "{} of {half}", by_addr.len());
        assert!(by_addr.is_sorted());
        assert_eq!(vitals(actor.pid()).expect("it lives").lost, 0);
    });
}

async fn supervised(spec: ChildSpec, name: &str) -> ActorRef<Reciter> {
    let root = unique("bounded");
    let spec = spec.registered(name);
    Supervisor::start(&root, SupFlags::default(), vec![spec])
        .await
        .expect("it starts");
    whereis_actor(name).expect("it runs")
}

#[test]
fn a_kept_mailbox_keeps_its_bound_and_those_who_wait() {
    system(async {
        let name = unique("kept");
        let reciter = Reciter::default();
        let copy = reciter.clone();
        let spec = ChildSpec::new(name.as_str(), move |_: &mut Context<Reciter>| copy.clone())
            .mailbox(Mailbox::bounded(CAPACITY, Overflow::Block))
            .on_restart(OnRestart::KeepMailbox);
        let actor = supervised(spec, &name).await;
        let go_on = hold(&actor).await;
        let crash = actor.send(Crash);
        let asks: Vec<_> = (0..SENDERS)
            .map(|number| actor.send(line(number)))
            .collect();
        assert_eq!(
            vitals(actor.pid()).expect("it lives").senders_waiting,
            SENDERS - CAPACITY + 1
        );
        drop(go_on);
        assert!(matches!(
            crash.await,
            Err(SendError::Exited(ExitReason::Panic(_)))
        ));
        assert_eq!(
            join_all(asks).await,
            (0..SENDERS).map(Ok).collect::<Vec<_>>()
        );
        assert_eq!(*reciter.heard.lock(), (0..SENDERS).collect::<Vec<_>>());
        let next = whereis_actor::<Reciter>(&name).expect("it runs again");
        assert_ne!(next, actor);
        let shown = vitals(next.pid()).expect("it lives");
        assert_eq!(shown.mailbox_capacity, Some(CAPACITY));
    });
}

#[test]
fn a_full_mailbox_is_an_event_once_until_it_was_half_empty() {
    system(async {
        let before = record_operator("looks", None);
        let name = unique("full");
        let spec = ChildSpec::new(name.as_str(), |_: &mut Context<Reciter>| Reciter::default())
            .mailbox(Mailbox::bounded(CAPACITY, Overflow::Reject));
        let actor = supervised(spec, &name).await;
        for round in 1..=2 {
            let go_on = hold(&actor).await;
            for number in 0..SENDERS {
                actor.do_send(line(number));
            }
            let told = events_since(before)
                .events
                .into_iter()
                .filter(|event| {
                    event.kind == EventKind::MailboxHigh && event.pid == Some(actor.pid())
                })
                .count();
            assert_eq!(told, round);
            drop(go_on);
            eventually("it is empty", || length(&actor) == 0).await;
        }
    });
}

#[test]
fn dynamic_children_have_bounds_as_well() {
    system(async {
        let children = DynamicSupervisor::start(&unique("dynamic"), DynamicFlags::new("reciter"))
            .await
            .expect("it starts");
        let bounded = Mailbox::bounded(3, Overflow::Reject);
        for start in [
            StartDynamicChild::new(|_: &mut Context<Reciter>| Reciter::default()),
            StartDynamicChild::once(|_: &mut Context<Reciter>| Reciter::default()),
        ] {
            let start = start.mailbox(bounded).messages_per_turn(5);
            let pid = children
                .send(start)
                .await
                .expect("it lives")
                .expect("it starts");
            let pid = pid.expect("a process");
            let shown = vitals(pid).expect("it lives");
            assert_eq!(shown.mailbox_capacity, Some(3));
            assert_eq!(shown.mailbox_overflow, Some(Overflow::Reject));
        }
    });
}

/// Says when it had a turn.
struct Neighbour(Arc<Mutex<Vec<usize>>>);

impl Actor for Neighbour {
    type Context = Context<Self>;
}

impl Handler<Crash> for Neighbour {
    type Result = ();

    fn handle(&mut self, _: Crash, _: &mut Context<Self>) {
        self.0.lock().push(usize::MAX);
    }
}

#[test]
fn a_turn_handles_as_many_messages_as_its_budget_allows() {
    for (spawn_with, budget) in [
        (Spawn::new(), MESSAGES_PER_TURN as usize),
        (Spawn::new().messages_per_turn(1), 1),
        (Spawn::new().messages_per_turn(7), 7),
        (Spawn::new().messages_per_turn(0), 1),
        (
            Spawn::new()
                .messages_per_turn(7)
                .mailbox(Mailbox::bounded(1_000, Overflow::Reject)),
            7,
        ),
    ] {
        system(async move {
            let reciter = Reciter::default();
            let (copy, heard) = (reciter.clone(), Arc::clone(&reciter.heard));
            let (actor, _) = spawn_with.start(move |_| copy);
            let neighbour = spawn(Neighbour(Arc::clone(&heard)));
            settle().await;
            for number in 0..1_000 {
                actor.do_send(line(number));
            }
            neighbour.do_send(Crash);
            eventually("all are heard", || heard.lock().len() == 1_001).await;
            let at = heard.lock().iter().position(|number| *number == usize::MAX);
            assert_eq!(at, Some(budget));
        });
    }
}

#[test]
fn an_idle_actor_with_a_small_budget_and_many_streams_sleeps() {
    system(async {
        struct Streams;
        impl Actor for Streams {
            type Context = Context<Self>;
            fn started(&mut self, ctx: &mut Context<Self>) {
                for _ in 0..3 {
                    ctx.add_stream(futures_util::stream::pending::<usize>());
                }
            }
        }
        impl StreamHandler<usize> for Streams {
            fn handle(&mut self, _: usize, _: &mut Context<Self>) {}
        }
        let (actor, _) = Spawn::new().messages_per_turn(1).start(|_| Streams);
        settle().await;
        let turns = || vitals(actor.pid()).expect("it lives").turns;
        let before = turns();
        settle().await;
        assert_eq!(turns(), before);
        assert!(actor.is_alive() && before > 0);
    });
}
