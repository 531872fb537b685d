//! What survives a restart: nothing, or the mailbox with what still waits in it.

use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use byron_supervisors::{
    ActorRef, Backoff, ChildId, ChildSpec, Context, Down, Exit, ExitReason, GroupEvent, OnRestart,
    Pid, Restart, RestartChild, Scope, SendError, Strategy, SupFlags, Supervisor, TerminateChild,
    WhichChildren, exited, kill, register, shutdown, spawn, whereis_actor,
};
use futures_util::FutureExt as _;

use crate::sup_support::{Log, SECOND, paused, settle, system, unique};

/// Counts the lines it has said in this life.
struct Reciter {
    said: u32,
}

impl Actor for Reciter {
    type Context = Context<Self>;
}

/// Answers how many lines this incarnation has said.
#[derive(Message)]
#[rtype(result = "u32")]
struct Say;

impl Handler<Say> for Reciter {
    type Result = u32;

    fn handle(&mut self, _: Say, _: &mut Context<Self>) -> u32 {
        self.said += 1;
        self.said
    }
}

#[derive(Message)]
#[rtype(result = "u32")]
struct Forget;

impl Handler<Forget> for Reciter {
    type Result = u32;

    fn handle(&mut self, _: Forget, _: &mut Context<Self>) -> u32 {
        panic!("forgot the line")
    }
}

/// Ends in order, with what is behind it unread.
#[derive(Message)]
#[rtype(result = "()")]
struct Leave;

impl Handler<Leave> for Reciter {
    type Result = ();

    fn handle(&mut self, _: Leave, ctx: &mut Context<Self>) {
        ctx.exit(ExitReason::Normal);
    }
}

fn reciter(name: &str, on_restart: OnRestart) -> ChildSpec {
    ChildSpec::new(name, |_: &mut Context<Reciter>| Reciter { said: 0 })
        .registered(name)
        .on_restart(on_restart)
}

async fn start(
    name: &str,
    children: Vec<ChildSpec>,
    strategy: Strategy,
) -> (ActorRef<Supervisor>, ActorRef<Reciter>) {
    let flags = SupFlags {
        intensity: 10,
        strategy,
        ..SupFlags::default()
    };
    let supervisor = Supervisor::start("theatre", flags, children)
        .await
        .expect("it starts");
    (supervisor, whereis_actor(name).expect("it is registered"))
}

fn is_forgotten(outcome: &Result<u32, SendError>) -> bool {
    matches!(outcome, Err(SendError::Exited(ExitReason::Panic(panic))) if panic.message == "forgot the line")
}

#[test]
fn with_a_fresh_address_what_waits_is_lost_and_told_why() {
    system(async {
        let name = unique("fresh");
        let (_supervisor, reciter) = start(
            &name,
            vec![reciter(&name, OnRestart::FreshAddress)],
            Strategy::OneForOne,
        )
        .await;
        let (crash, behind) = (reciter.send(Forget), reciter.send(Say));
        assert!(is_forgotten(&crash.await));
        assert!(is_forgotten(&behind.await));
        assert!(
            is_forgotten(&reciter.send(Say).await),
            "an old handle stays dead"
        );
    });
}

#[test]
fn a_kept_mailbox_is_handled_by_the_next_incarnation_but_for_the_message_that_crashed() {
    system(async {
        let name = unique("kept");
        let (_supervisor, reciter) = start(
            &name,
            vec![reciter(&name, OnRestart::KeepMailbox)],
            Strategy::OneForOne,
        )
        .await;
        assert_eq!(reciter.send(Say).await, Ok(1));
        let (crash, behind, last) = (reciter.send(Forget), reciter.send(Say), reciter.send(Say));
        assert!(is_forgotten(&crash.await), "not tried again");
        assert_eq!(behind.await, Ok(1), "a new actor, an old mailbox");
        assert_eq!(last.await, Ok(2));
        let next: ActorRef<Reciter> = whereis_actor(&name).expect("it is registered again");
        assert_ne!(next.pid(), reciter.pid());
        assert_eq!(reciter.send(Say).await, Ok(3), "an old handle leads to it");
        assert_eq!(next.send(Say).await, Ok(4));
        // The crash of a later incarnation has its own reason.
        assert!(is_forgotten(&reciter.send(Forget).await));
        assert_eq!(next.send(Say).await, Ok(1));
    });
}

#[test]
fn an_address_of_actix_leads_to_the_next_incarnation_too() {
    system(async {
        let name = unique("address");
        let (_supervisor, reciter) = start(
            &name,
            vec![reciter(&name, OnRestart::KeepMailbox)],
            Strategy::OneForOne,
        )
        .await;
        let addr = reciter.addr();
        let (crash, behind) = (addr.send(Forget), addr.send(Say));
        assert_eq!(crash.await, Err(MailboxError::Closed));
        assert_eq!(behind.await, Ok(1));
        assert_eq!(addr.send(Say).await, Ok(2));
    });
}

#[test]
fn a_sibling_taken_along_keeps_its_mailbox_too() {
    system(async {
        let (one, other) = (unique("one"), unique("other"));
        let children = vec![
            reciter(&one, OnRestart::FreshAddress),
            reciter(&other, OnRestart::KeepMailbox),
        ];
        let (_supervisor, one) = start(&one, children, Strategy::OneForAll).await;
        let other: ActorRef<Reciter> = whereis_actor(&other).expect("it is registered");
        let before = other.pid();
        assert!(is_forgotten(&one.send(Forget).await));
        assert_eq!(other.send(Say).await, Ok(1));
        assert_ne!(
            whereis_actor::<Reciter>(&unique("nobody")).map(|nobody| nobody.pid()),
            Some(before)
        );
        assert_eq!(
            other.exit_reason(),
            Some(ExitReason::SHUTDOWN),
            "the one that was asked had been stopped"
        );
    });
}

#[test]
fn a_child_that_is_not_started_again_loses_what_waits() {
    system(async {
        let name = unique("leaves");
        let spec = reciter(&name, OnRestart::KeepMailbox).restart(Restart::Transient);
        let (supervisor, reciter) = start(&name, vec![spec], Strategy::OneForOne).await;
        reciter.do_send(Leave);
        let behind = reciter.send(Say).await;
        assert_eq!(behind, Err(SendError::Exited(ExitReason::Normal)));
        assert_eq!(
            reciter.send(Say).await,
            Err(SendError::Exited(ExitReason::Normal))
        );
        assert_eq!(
            supervisor.send(TerminateChild(name.as_str().into())).await,
            Ok(Ok(()))
        );
    });
}

#[test]
fn the_end_of_the_supervisor_ends_the_wait() {
    system(async {
        let name = unique("curtain");
        let (supervisor, reciter) = start(
            &name,
            vec![reciter(&name, OnRestart::KeepMailbox)],
            Strategy::OneForOne,
        )
        .await;
        reciter.do_send(Leave);
        let behind = reciter.send(Say);
        shutdown(supervisor.pid(), Duration::from_secs(5)).await;
        let outcome = behind.await;
        // Either the next incarnation came first, or nobody did.
        assert!(
            matches!(outcome, Ok(1) | Err(SendError::Exited(_))),
            "{outcome:?}"
        );
        assert!(matches!(reciter.send(Say).await, Err(SendError::Exited(_))));
    });
}

#[test]
fn a_killed_supervisor_ends_the_wait_for_a_child_that_waits_for_its_backoff() {
    paused(async {
        let name = unique("backoff");
        let spec =
            reciter(&name, OnRestart::KeepMailbox).backoff(Backoff::new(60 * SECOND, 60 * SECOND));
        let (supervisor, reciter) = start(&name, vec![spec], Strategy::OneForOne).await;
        let (crash, behind) = (reciter.send(Forget), reciter.send(Say));
        assert!(is_forgotten(&crash.await));
        settle().await;
        kill(supervisor.pid());
        settle().await;
        let behind = behind.now_or_never().expect("nobody will answer");
        assert!(is_forgotten(&behind), "{behind:?}");
        let later = reciter.send(Say).now_or_never().expect("nobody is there");
        assert!(is_forgotten(&later), "{later:?}");
    });
}

#[test]
fn two_supervisors_with_copies_of_a_spec_have_a_mailbox_each() {
    paused(async {
        let spec = ChildSpec::new("reciter", |ctx: &mut Context<Reciter>| {
            register(unique("copy"), ctx.pid()).expect("nobody has it");
            Reciter { said: 0 }
        })
        .on_restart(OnRestart::KeepMailbox);
        let mut reciters = Vec::new();
        for _ in 0..2 {
            let supervisor = Supervisor::start("copies", SupFlags::default(), vec![spec.clone()])
                .await
                .expect("it starts");
            let children = supervisor.send(WhichChildren::now()).await;
            let pid = children.expect("it lives")[0].state.pid().expect("it runs");
            reciters.push(ActorRef::<Reciter>::of(pid).expect("it is one"));
        }
        for reciter in &reciters {
            assert_eq!(reciter.send(Say).timeout(SECOND).await, Ok(1));
        }
        for reciter in &reciters {
            assert_eq!(reciter.send(Say).timeout(SECOND).await, Ok(2));
        }
    });
}

#[test]
fn a_child_that_is_started_by_hand_has_an_address_again() {
    paused(async {
        let name = unique("by-hand");
        let spec = reciter(&name, OnRestart::KeepMailbox);
        let (supervisor, reciter) = start(&name, vec![spec], Strategy::OneForOne).await;
        assert_eq!(reciter.addr().send(Say).await, Ok(1));
        let id: ChildId = name.as_str().into();
        let stopped = supervisor.send(TerminateChild(Arc::clone(&id))).await;
        assert_eq!(stopped, Ok(Ok(())));
        let started = supervisor.send(RestartChild(id)).await;
        assert!(matches!(started, Ok(Ok(Some(_)))), "{started:?}");
        let next: ActorRef<Reciter> = whereis_actor(&name).expect("it is registered again");
        assert_eq!(next.addr().send(Say).await, Ok(1));
    });
}

/// Notes what it hears of others.
struct Watchman {
    log: Log,
}

impl Actor for Watchman {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        ctx.trap_exit(true);
    }
}

impl Handler<Down> for Watchman {
    type Result = ();

    fn handle(&mut self, _: Down, _: &mut Context<Self>) {
        self.log.note("down");
    }
}

impl Handler<Exit> for Watchman {
    type Result = ();

    fn handle(&mut self, _: Exit, _: &mut Context<Self>) {
        self.log.note("exit");
    }
}

impl Handler<GroupEvent> for Watchman {
    type Result = ();

    fn handle(&mut self, _: GroupEvent, _: &mut Context<Self>) {
        self.log.note("group");
    }
}

/// Watches this process in every way, and crashes; what it had asked for is on its way by then, or later.
#[derive(Message)]
#[rtype(result = "()")]
struct WatchAndCrash {
    whom: Pid,
    is_gone: bool,
}

impl Handler<WatchAndCrash> for Watchman {
    type Result = ();

    fn handle(&mut self, watch: WatchAndCrash, ctx: &mut Context<Self>) {
        let scope = Scope::named(unique("watched"));
        let _ = scope.monitor("watched", ctx);
        scope.join("watched", watch.whom).expect("it lives");
        if watch.is_gone {
            kill(watch.whom);
            ctx.wait(
                tokio::time::sleep(SECOND)
                    .into_actor(self)
                    .map(|_, _, _| panic!("saw it")),
            );
        }
        ctx.monitor(watch.whom);
        ctx.link(watch.whom);
        assert!(watch.is_gone, "saw nothing");
    }
}

#[test]
fn what_one_incarnation_asked_to_hear_the_next_does_not() {
    for is_gone in [true, false] {
        paused(async {
            let (name, log) = (unique("watchman"), Log::default());
            let theirs = log.clone();
            let spec = ChildSpec::new("watchman", move |_: &mut Context<Watchman>| {
                let log = theirs.clone();
                log.note("made");
                Watchman { log }
            })
            .registered(name.as_str())
            .on_restart(OnRestart::KeepMailbox);
            let _supervisor = Supervisor::start("night", SupFlags::default(), vec![spec])
                .await
                .expect("it starts");
            let watchman = whereis_actor::<Watchman>(&name).expect("it is registered");
            let whom = spawn(Reciter { said: 0 }).pid();
            let end = exited(watchman.pid());
            watchman.do_send(WatchAndCrash { whom, is_gone });
            end.await;
            settle().await;
            kill(whom);
            settle().await;
            assert_eq!(log.take(), ["made", "made"]);
        });
    }
}
