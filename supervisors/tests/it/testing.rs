//! The testing kit: what it makes happen, and that its assertions fail with what was there instead.

use std::time::Duration;

use actix::prelude::*;
use byron_supervisors::testing::{self, eventually, fail_start, panic_next, tree_text};
use byron_supervisors::{
    Backoff, ChildSpec, Context, Down, During, DynamicFlags, DynamicSupervisor, ExitReason,
    SendError, StartDynamicChild, SupFlags, Supervisor, adopt, assert_down, assert_tree, exit,
    exited, kill, spawn, whereis_actor,
};
use tokio::time::Instant;

use crate::support::{Strings, panic_of, puppet, unique};

struct Reciter {
    said: u32,
}

impl Actor for Reciter {
    type Context = Context<Self>;
}

#[derive(Message)]
#[rtype(result = "u32")]
struct Recite;

impl Handler<Recite> for Reciter {
    type Result = u32;

    fn handle(&mut self, _: Recite, _: &mut Context<Self>) -> u32 {
        self.said += 1;
        self.said
    }
}

fn flags(intensity: u32) -> SupFlags {
    SupFlags {
        intensity,
        ..SupFlags::default()
    }
}

#[test]
fn the_next_message_panics_and_the_one_behind_it_is_told() {
    testing::run(async {
        let reciter = spawn(Reciter { said: 0 });
        assert_eq!(reciter.send(Recite).await, Ok(1));
        panic_next(&reciter);
        testing::settle().await;
        assert!(reciter.is_alive(), "it panics when a message comes");

        let (next, behind) = (reciter.send(Recite), reciter.send(Recite));
        let reason = assert_down!(&reciter, "a test wanted the next message to panic");
        let panic = panic_of(&reason);
        assert_eq!(panic.during, During::Message);
        assert!(
            panic
                .in_message
                .is_some_and(|message| message.ends_with("::Recite"))
        );
        assert_eq!(next.await, Err(SendError::Exited(reason.clone())));
        assert_eq!(behind.await, Err(SendError::Exited(reason)));
    });
}

#[test]
fn a_message_by_address_panics_too() {
    testing::run(async {
        let reciter = spawn(Reciter { said: 0 });
        assert_eq!(reciter.addr().send(Recite).await.ok(), Some(1));
        panic_next(reciter.pid());
        assert!(reciter.addr().send(Recite).await.is_err());
        let reason = assert_down!(&reciter, ExitReason::Panic(_));
        assert_eq!(panic_of(&reason).during, During::Message);
    });
}

#[test]
fn an_adopted_actor_panics_in_its_next_turn() {
    struct Old;
    impl Actor for Old {
        type Context = actix::Context<Self>;
    }
    testing::run(async {
        let (_old, pid) = adopt(actix::Context::new(), Old);
        testing::settle().await;
        panic_next(pid);
        assert_down!(pid, ExitReason::Panic(panic) if panic.during == During::Turn);
    });
}

#[test]
fn starts_fail_as_often_as_wanted() {
    testing::run(async {
        let name = unique("root");
        let reciter =
            ChildSpec::new("reciter", |_ctx| Reciter { said: 0 }).registered(name.clone());
        let root = Supervisor::start(&name, flags(5), vec![reciter])
            .await
            .expect("it starts");
        fail_start(&format!("/{name}/reciter"), 2);
        let first = whereis_actor::<Reciter>(&name).expect("it runs");
        kill(first.pid());
        assert_tree!(&root, &format!("{name}#1 RUNNING\n└─ reciter#4 RUNNING"));

        fail_start(&format!("/{name}/reciter"), 0);
        kill(whereis_actor::<Reciter>(&name).expect("it runs").pid());
        assert_tree!(&root, &format!("{name}#1 RUNNING\n└─ reciter#5 RUNNING"));
    });
}

#[test]
fn the_first_start_of_a_tree_may_be_made_to_fail() {
    testing::run(async {
        let name = unique("root");
        fail_start(&format!("/{name}/reciter"), 1);
        let reciter = ChildSpec::new("reciter", |_ctx| Reciter { said: 0 });
        let reason = Supervisor::start(&name, flags(5), vec![reciter])
            .await
            .expect_err("it cannot");
        assert_down!(
            reason,
            "failed_to_start_child(reciter,error: a test wanted the start to fail)"
        );
    });
}

#[test]
fn a_dynamic_childs_start_may_be_made_to_fail_by_its_template() {
    testing::run(async {
        let name = unique("root");
        let flags = DynamicFlags::new(format!("{name}-download"));
        let downloads = DynamicSupervisor::start(&name, flags)
            .await
            .expect("it starts");
        fail_start(&format!("{name}-download"), 1);
        let start = || StartDynamicChild::new(|_ctx| Reciter { said: 0 });
        let failed = downloads.send(start()).await.expect("it lives");
        assert!(failed.is_err_and(|error| error.to_string().contains("wanted the start to fail")));
        assert!(downloads.send(start()).await.expect("it lives").is_ok());
    });
}

#[test]
fn a_picture_shows_states_and_incarnations() {
    testing::run(async {
        let name = unique("root");
        let slow = Backoff::new(Duration::from_secs(3600), Duration::from_secs(3600));
        let children = vec![
            ChildSpec::new("a", |_ctx| Reciter { said: 0 })
                .registered(name.clone())
                .backoff(slow),
            ChildSpec::supervisor("b", flags(1), || {
                vec![ChildSpec::new("c", |_ctx| Reciter { said: 0 })]
            }),
        ];
        let root = Supervisor::start(&name, flags(1), children)
            .await
            .expect("it starts");
        let a = whereis_actor::<Reciter>(&name).expect("it runs");
        exit(a.pid(), ExitReason::error("forgot"));
        assert_down!(&a, ExitReason::Error(_));
        assert_tree!(
            &root,
            &format!(
                "
            {name}#1 RUNNING
            ├─ a#1 BACKOFF
            └─ b#1 RUNNING
               └─ c#1 RUNNING
        "
            )
        );
        assert_eq!(tree_text(a.pid()), "", "in no tree any more");
    });
}

#[test]
fn an_hour_passes_at_once() {
    testing::run(async {
        let begin = Instant::now();
        let reciter = spawn(Reciter { said: 0 });
        let pid = reciter.pid();
        actix_rt::spawn(async move {
            tokio::time::sleep(Duration::from_secs(59)).await;
            kill(pid);
        });
        eventually("the kill", || !reciter.is_alive()).await;
        assert!(begin.elapsed() >= Duration::from_secs(59));
    });
}

#[test]
fn every_way_to_hear_of_an_end_is_understood() {
    testing::run(async {
        let end = || {
            let (reciter, log) = puppet();
            exit(reciter.pid(), ExitReason::error("forgot"));
            (reciter, log)
        };
        let (puppet, _) = end();
        assert_down!(exited(puppet.pid()), "forgot");
        let (puppet, _) = end();
        assert_down!(puppet.pid(), "error: forgot");
        assert_down!(puppet.pid(), ExitReason::NoProc);
        assert_down!(&puppet, ExitReason::Error(_));

        let (watcher, log) = crate::support::puppet();
        let (puppet, _) = crate::support::puppet();
        watcher.watch(puppet.pid()).await;
        exit(puppet.pid(), ExitReason::error("forgot"));
        let down: Down = log.wait_downs(1).await.remove(0);
        assert_down!(down, ExitReason::Error(_));
    });
}

fn failure(test: impl FnOnce() + std::panic::UnwindSafe) -> String {
    let panic = std::panic::catch_unwind(test).expect_err("it fails");
    *panic.downcast::<String>().expect("with a text")
}

#[test]
fn a_failure_says_what_was_there_instead() {
    let text = failure(|| {
        testing::run(async {
            let reciter = spawn(Reciter { said: 0 });
            exit(reciter.pid(), ExitReason::error("forgot"));
            assert_down!(&reciter, ExitReason::Panic(panic) if panic.message == "vanished");
        });
    });
    assert!(
        text.contains("wanted: ExitReason::Panic(panic) if panic.message == \"vanished\""),
        "{text}"
    );
    assert!(text.contains("got: error: forgot"), "{text}");

    let text = failure(|| {
        testing::run(async {
            let reciter = spawn(Reciter { said: 0 });
            assert_down!(&reciter, "vanished");
        });
    });
    assert!(text.contains("&reciter did not end within 60s"), "{text}");

    let text = failure(|| {
        testing::run(async {
            let root = Supervisor::start("another", flags(1), vec![])
                .await
                .expect("it starts");
            assert_tree!(&root, "another#2 RUNNING");
        });
    });
    assert!(
        text.contains("wanted:\nanother#2 RUNNING\ngot:\nanother#1 RUNNING"),
        "{text}"
    );

    let text = failure(|| testing::run(async { eventually("the end of time", || false).await }));
    assert!(
        text.contains("never happened within 60s: the end of time"),
        "{text}"
    );
    assert!(text.contains("testing.rs"), "{text}");
}
