//! What was not delivered is counted, and told to whoever asks.

use actix::prelude::*;
use byron_supervisors::{
    ActorRef, ChildSpec, Context, DEAD_LETTERS_MAX, DeadLetter, DeadLetters, ExitReason, Mailbox,
    OnRestart, Overflow, Pid, Spawn, SupFlags, Supervisor, Undelivered, dead_letter_count,
    dead_letters, exited, kill, shutdown, spawn, vitals, whereis_actor,
};

use crate::support::{LIMIT, Note, Puppet, Strings, eventually, puppet, settle, system, unique};

struct Reciter;

impl Actor for Reciter {
    type Context = Context<Self>;
}

#[derive(Message)]
#[rtype(result = "()")]
struct Line;

impl Handler<Line> for Reciter {
    type Result = ();

    fn handle(&mut self, _: Line, _: &mut Context<Self>) {}
}

/// Those for one receiver; other tests lose messages too.
fn lost_of(letters: &mut DeadLetters, receiver: Pid) -> Vec<DeadLetter> {
    std::iter::from_fn(|| letters.try_next())
        .filter(|letter| letter.receiver == receiver)
        .collect()
}

async fn dead() -> ActorRef<Reciter> {
    let reciter = spawn(Reciter);
    let end = exited(reciter.pid());
    kill(reciter.pid());
    end.await;
    reciter
}

#[test]
fn a_message_to_the_dead_is_told_with_type_receiver_sender_and_reason() {
    system(async {
        let reciter = dead().await;
        let mut letters = dead_letters();
        let before = dead_letter_count();
        let (sender, _) = puppet();
        let to = reciter.clone();
        sender
            .tell(move |_, _| {
                to.do_send(Line);
                drop(to.send(Line));
                // This one is given back.
                to.try_send(Line).map_err(|error| error.to_string())
            })
            .await
            .expect_err("the process is dead");
        reciter.do_send(Line);
        let lost = lost_of(&mut letters, reciter.pid());
        let senders: Vec<_> = lost.iter().map(|letter| letter.sender).collect();
        assert_eq!(senders, [Some(sender.pid()), Some(sender.pid()), None]);
        for letter in &lost {
            assert_eq!(letter.message, "it::dead_letters::Line");
            assert_eq!(letter.actor, "it::dead_letters::Reciter");
            assert_eq!(letter.path, None);
            assert_eq!(letter.reason, Undelivered::Exited(ExitReason::Killed));
        }
        assert_eq!(
            lost[0].to_string(),
            format!(
                "it::dead_letters::Line for {} from {}: the receiver ended: killed",
                reciter.pid(),
                sender.pid()
            )
        );
        assert!(dead_letter_count() >= before + 3);
    });
}

#[test]
fn what_waited_when_a_process_ended_is_told_with_its_exit_reason() {
    system(async {
        let name = unique("reciter");
        let root = unique("root");
        let spec = ChildSpec::new(name.as_str(), |_: &mut Context<Puppet>| Puppet::default())
            .registered(name.as_str());
        Supervisor::start(&root, SupFlags::default(), vec![spec])
            .await
            .expect("it starts");
        let victim = whereis_actor::<Puppet>(&name).expect("it runs");
        let mut letters = dead_letters();
        let end = exited(victim.pid());
        victim.cast(|_, ctx| ctx.exit(ExitReason::error("fell silent")));
        let addr = victim.addr();
        for number in 0..3 {
            victim.do_send(Note(number.to_string()));
            addr.do_send(Note(number.to_string()));
        }
        // A question that nobody waits for any more is not missed.
        drop(victim.send(Note(String::new())));
        let reason = end.await;
        let lost = lost_of(&mut letters, victim.pid());
        assert!(lost.len() >= 3, "{lost:?}");
        for letter in &lost {
            assert_eq!(letter.message, "it::support::Note");
            assert_eq!(letter.reason, Undelivered::Exited(reason.clone()));
            let path = letter.path.as_ref().map(ToString::to_string);
            assert_eq!(path, Some(format!("{root}/{name}")));
        }
        assert_eq!(reason, ExitReason::error("fell silent"));
    });
}

#[test]
fn what_overflows_is_told_and_in_the_vitals_of_the_receiver() {
    for (overflow, reason) in [
        (Overflow::Block, Undelivered::Full),
        (Overflow::Reject, Undelivered::Full),
        (Overflow::DropOldest, Undelivered::Dropped),
    ] {
        system(async move {
            let (reciter, _) = Spawn::new()
                .mailbox(Mailbox::bounded(2, overflow))
                .start(|_| Reciter);
            let mut letters = dead_letters();
            for _ in 0..5 {
                reciter.do_send(Line);
            }
            let lost = lost_of(&mut letters, reciter.pid());
            let reasons: Vec<_> = lost.into_iter().map(|letter| letter.reason).collect();
            assert_eq!(reasons, vec![reason; 3]);
            assert_eq!(vitals(reciter.pid()).expect("it lives").lost, 3);
        });
    }
}

#[test]
fn what_a_kept_mailbox_holds_is_lost_when_no_incarnation_follows() {
    system(async {
        let name = unique("kept");
        let spec = ChildSpec::new(name.as_str(), |_: &mut Context<Puppet>| Puppet::default())
            .registered(name.as_str())
            .on_restart(OnRestart::KeepMailbox);
        let root = Supervisor::start(&unique("root"), SupFlags::default(), vec![spec])
            .await
            .expect("it starts");
        let first = whereis_actor::<Puppet>(&name).expect("it runs");
        let mut letters = dead_letters();
        first.cast(|_, _| panic!("once"));
        first.do_send(Note("kept".to_owned()));
        eventually("it runs again", || {
            whereis_actor::<Puppet>(&name).is_some_and(|next| next != first)
        })
        .await;
        settle().await;
        assert_eq!(lost_of(&mut letters, first.pid()).len(), 0);
        let second = whereis_actor::<Puppet>(&name).expect("it runs");
        // It is stopped on purpose, and so not started again.
        second.cast(|_, ctx| ctx.exit(ExitReason::SHUTDOWN));
        second.do_send(Note("left".to_owned()));
        shutdown(root.pid(), LIMIT).await;
        let lost = lost_of(&mut letters, second.pid());
        let lost: Vec<_> = lost
            .iter()
            .map(|letter| (letter.message, &letter.reason))
            .collect();
        let reason = Undelivered::Exited(ExitReason::SHUTDOWN);
        assert_eq!(lost, [("it::support::Note", &reason)]);
    });
}

#[test]
fn a_slow_subscriber_misses_the_oldest_and_knows_how_many() {
    system(async {
        let reciter = dead().await;
        let mut slow = dead_letters();
        for _ in 0..DEAD_LETTERS_MAX + 10 {
            reciter.do_send(Line);
        }
        let mut seen = 0;
        while slow.try_next().is_some() {
            seen += 1;
        }
        assert_eq!(seen, DEAD_LETTERS_MAX);
        assert!(slow.missed() >= 10, "{}", slow.missed());
    });
}
