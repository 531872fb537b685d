//! Rehearsed failure: each fault is what it says, is told as the cause of what follows, and comes again with its seed.

use std::time::Duration;

use actix::prelude::*;
use byron_supervisors::chaos::{Chaos, ChaosReport, Rehearsal};
use byron_supervisors::testing::{self, eventually};
use byron_supervisors::{
    ActorRef, Backoff, ChildSpec, Context, DynamicFlags, DynamicSupervisor, Event, EventKind,
    ExitReason, InjectedFault, Restart, StartDynamicChild, SupFlags, Supervisor, assert_down,
    assert_tree, events_since, exit, exited, kill, whereis, whereis_actor,
};
use tokio::time::Instant;

use crate::support::{panic_of, unique};

const SECOND: Duration = Duration::from_secs(1);

/// Says a line each second, and takes what its rules call `oversleep`.
#[derive(Default)]
struct Reciter {
    lines: u32,
    last_line: Option<u64>,
}

impl Actor for Reciter {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        if let Some(fault) = ctx.take_fault("oversleep") {
            self.last_line = Some(fault.place_of(50));
            ctx.run_later(SECOND, |_, ctx| ctx.suffer(fault));
        }
        ctx.run_interval(SECOND, |reciter, _| reciter.lines += 1);
    }
}

#[derive(Message)]
#[rtype(result = "u32")]
struct HowMany;

impl Handler<HowMany> for Reciter {
    type Result = u32;

    fn handle(&mut self, _: HowMany, _: &mut Context<Self>) -> u32 {
        self.lines
    }
}

fn rehearse(rules: &str) -> Rehearsal {
    Chaos::parse_with(rules, &["oversleep"])
        .expect("rules")
        .rehearse(7)
}

/// A supervisor with one reciter; both go by the name.
async fn tree(name: &str, restart: Restart) -> ActorRef<Supervisor> {
    let flags = SupFlags {
        intensity: 5,
        ..SupFlags::default()
    };
    let reciter = ChildSpec::new("reciter", |_ctx| Reciter::default())
        .restart(restart)
        .registered(name);
    Supervisor::start(name, flags, vec![reciter])
        .await
        .expect("it starts")
}

fn events(name: &str, kind: EventKind) -> Vec<Event> {
    let mut events = events_since(0).events;
    events.retain(|event| {
        event.kind == kind
            && event
                .path
                .as_ref()
                .is_some_and(|path| path.to_string().starts_with(name))
    });
    events
}

/// The only fault below `name`, and the exit that it caused.
fn fault_and_exit(name: &str) -> (Event, Event) {
    let fault = events(name, EventKind::Chaos).remove(0);
    let exit = events(name, EventKind::Exit)
        .into_iter()
        .find(|event| event.cause == Some(fault.seq))
        .expect("the fault is the cause of the exit");
    (fault, exit)
}

fn row(report: &ChaosReport) -> (u64, u64, u64) {
    let rule = &report.rules[0];
    (rule.struck, rule.recovered, rule.for_good)
}

#[test]
fn each_fatal_fault_ends_the_process_with_its_reason_and_is_its_cause() {
    for (fault, kind) in [("panic", "panic"), ("exit", "error"), ("kill", "killed")] {
        testing::run(async {
            let name = unique(fault);
            let rule = format!("/{name}/reciter:{fault}=3");
            let rehearsal = rehearse(&rule);
            let root = tree(&name, Restart::Temporary).await;
            let reciter = whereis_actor::<Reciter>(&name).expect("it runs");
            let begin = Instant::now();
            let reason = assert_down!(&reciter, _);
            // Its first turn starts it, the next two are a second each.
            assert_eq!((reason.kind(), begin.elapsed()), (kind, 2 * SECOND));
            if kind != "killed" {
                let text = reason.to_string();
                assert!(text.contains(&format!("chaos: {rule}, seed 7")), "{text}");
            }
            let (fault, exit) = fault_and_exit(&name);
            let note = format!("{rule}, seed 7, in turn 3");
            assert_eq!(fault.note.as_deref(), Some(&*note));
            assert_eq!(exit.reason.map(|reason| reason.kind()), Some(kind));
            let report = rehearsal.report();
            assert_eq!(row(&report), (1, 0, 1));
            assert_eq!(report.struck[0].turn, 3);
            assert!(root.is_alive());
        });
    }
}

#[test]
fn a_panic_falls_into_the_message_that_waits() {
    testing::run(async {
        let name = unique("message");
        let _rehearsal = rehearse(&format!("/{name}/reciter:panic=2"));
        let _root = tree(&name, Restart::Temporary).await;
        let reciter = whereis_actor::<Reciter>(&name).expect("it runs");
        assert!(reciter.send(HowMany).await.is_err());
        let reason = assert_down!(&reciter, ExitReason::Panic(_));
        let message = panic_of(&reason).in_message;
        assert!(message.is_some_and(|message| message.ends_with("::HowMany")));
    });
}

#[test]
fn an_exit_says_that_it_was_injected() {
    testing::run(async {
        let name = unique("exit");
        let _rehearsal = rehearse(&format!("/{name}/reciter:exit=2"));
        let _root = tree(&name, Restart::Temporary).await;
        let reciter = whereis_actor::<Reciter>(&name).expect("it runs");
        assert_down!(&reciter, ExitReason::Error(error) if error.downcast_ref::<InjectedFault>().is_some());
    });
}

#[test]
fn a_stalled_process_does_nothing_and_its_arbiter_goes_on() {
    testing::run(async {
        let name = unique("stall");
        // In turn 1 to 63: of a reciter that is in its first minute.
        let rehearsal = rehearse(&format!("/{name}/reciter:stall=30s"));
        let _root = tree(&name, Restart::Permanent).await;
        let reciter = whereis_actor::<Reciter>(&name).expect("it runs");
        eventually("the stall", || rehearsal.report().rules[0].struck == 1).await;
        let begin = Instant::now();
        let asked = reciter.send(HowMany);
        let early = tokio::time::timeout(29 * SECOND, exited(reciter.pid())).await;
        assert!(early.is_err(), "it lives");
        let said = asked.await.expect("it answers in the end");
        assert_eq!(begin.elapsed().as_secs(), 30);
        // The interval catches up with one line.
        assert!(said < 70, "{said} lines");
        let report = rehearsal.report();
        assert_eq!(row(&report), (1, 1, 0));
        let times = report.rules[0].recovery.expect("it recovered");
        assert_eq!(times.median.as_secs(), 30);
    });
}

#[test]
fn a_stalled_process_can_be_killed_and_obeys_an_exit_afterwards() {
    testing::run(async {
        let name = unique("stall");
        let rehearsal = rehearse(&format!("/{name}/reciter:stall=1h"));
        let _root = tree(&name, Restart::Permanent).await;
        let struck = |count| {
            let rehearsal = &rehearsal;
            eventually("the stall", move || {
                rehearsal.report().rules[0].struck == count
            })
        };
        struck(1).await;
        let first = whereis(&name).expect("it runs");
        let begin = Instant::now();
        kill(first);
        assert_down!(first, ExitReason::Killed);
        assert!(begin.elapsed() < SECOND);

        struck(2).await;
        let second = whereis(&name).expect("it runs again");
        exit(second, ExitReason::error("enough"));
        let end = exited(second);
        assert_eq!(end.await, ExitReason::error("enough"));
        assert!(begin.elapsed() > 3599 * SECOND);
    });
}

#[test]
fn a_failed_start_is_tried_again_and_the_first_is_spared() {
    testing::run(async {
        // Not unique: the fates hang on it.
        let name = "failed-starts".to_owned();
        let rehearsal = rehearse(&format!("/{name}/reciter:start@50%"));
        let root = tree(&name, Restart::Permanent).await;
        assert_eq!(rehearsal.report().rules[0].struck, 0);
        let mut kills = 0;
        while rehearsal.report().rules[0].struck < 3 {
            let before = whereis(&name).expect("it runs");
            kill(before);
            kills += 1;
            eventually("the restart", || {
                whereis(&name).is_some_and(|pid| pid != before)
            })
            .await;
            // So that the intensity is not used up.
            tokio::time::sleep(10 * SECOND).await;
        }
        let lives = 1 + kills + rehearsal.report().rules[0].struck;
        assert_tree!(
            &root,
            &format!("{name}#1 RUNNING\n└─ reciter#{lives} RUNNING")
        );
        let report = rehearsal.report();
        assert_eq!(report.rules[0].still_down(), 0, "{report}");
        let (_, exit) = fault_and_exit(&name);
        assert!(
            exit.reason
                .is_some_and(|reason| reason.to_string().contains("chaos: "))
        );
    });
}

#[test]
fn a_custom_fault_is_taken_once_by_the_actor_that_knows_it() {
    testing::run(async {
        let name = unique("custom");
        let rehearsal = rehearse(&format!("/{name}/reciter:oversleep"));
        let _root = tree(&name, Restart::Temporary).await;
        let reciter = whereis_actor::<Reciter>(&name).expect("it runs");
        assert_eq!(row(&rehearsal.report()), (0, 0, 0), "it is not yet used");
        assert_down!(&reciter, "chaos: ");
        let (fault, _) = fault_and_exit(&name);
        let note = format!("/{name}/reciter:oversleep, seed 7");
        assert_eq!(fault.note.as_deref(), Some(&*note));
        assert_eq!(row(&rehearsal.report()), (1, 0, 1));
    });
}

#[test]
fn a_trees_root_is_spared() {
    testing::run(async {
        let name = unique("spared");
        let rehearsal = rehearse(&format!("{name}:kill;/{name}:exit"));
        let root = tree(&name, Restart::Permanent).await;
        tokio::time::sleep(1000 * SECOND).await;
        assert!(root.is_alive());
        assert!(rehearsal.report().struck.is_empty());
    });
}

#[test]
fn recoveries_take_as_long_as_the_backoff_and_the_budget_is_told() {
    testing::run(async {
        let name = unique("backoff");
        let wait = Duration::from_millis(700);
        let backoff = Backoff {
            jitter: 0.0,
            ..Backoff::new(wait, wait)
        };
        let flags = SupFlags {
            intensity: 2,
            period: SECOND,
            ..SupFlags::default()
        };
        let reciter = ChildSpec::new("reciter", |_ctx| Reciter::default()).backoff(backoff);
        let rehearsal = rehearse(&format!("/{name}/reciter:panic=2"));
        let root = Supervisor::start(&name, flags, vec![reciter])
            .await
            .expect("it starts");
        eventually("four falls", || rehearsal.report().rules[0].struck == 4).await;
        let report = rehearsal.report();
        assert_eq!(row(&report), (4, 3, 0), "{report}");
        let times = report.rules[0].recovery.expect("it recovered");
        assert_eq!((times.min, times.max), (wait, wait));
        let budget = &report.budgets[0];
        assert_eq!((&*budget.supervisor, budget.used_max), (&*name, 1));
        assert_eq!((budget.intensity, budget.gave_up), (2, 0));
        assert!(root.is_alive());
    });
}

#[test]
fn a_supervisor_that_gives_up_is_told() {
    testing::run(async {
        let name = unique("gives-up");
        let rehearsal = rehearse(&format!("/{name}/reciter:panic=1"));
        let root = tree(&name, Restart::Permanent).await;
        assert_down!(&root, ExitReason::Shutdown(_));
        let report = rehearsal.report();
        let budget = &report.budgets[0];
        assert_eq!((budget.used_max, budget.gave_up), (6, 1));
        let text = report.to_string();
        assert!(
            text.contains("at most 6 of 5 restarts in 5s, gave up once"),
            "{text}"
        );
    });
}

/// The fates of dynamic children that come one after the other, on two supervisors that take turns as `turns` says.
fn fates_of_connections(turns: impl Fn(u64) -> usize) -> Vec<(u64, u32)> {
    testing::run(async {
        // The same path each time: it is what the fates hang on.
        let rehearsal = rehearse("/fates/connection:panic@30%;/fates/**/connection:panic@30%");
        let pool = |id: &'static str| {
            let flags = DynamicFlags::new("connection");
            ChildSpec::dynamic_supervisor(id, flags).registered(id)
        };
        let pools = ["pool-0", "pool-1"];
        let root = Supervisor::start("fates", SupFlags::default(), pools.map(pool).into())
            .await
            .expect("it starts");
        for number in 0..60 {
            let pool = whereis_actor::<DynamicSupervisor>(pools[turns(number)]).expect("it runs");
            let start = StartDynamicChild::new(|_ctx| Reciter::default());
            let pid = pool
                .send(start)
                .await
                .expect("it lives")
                .expect("it starts");
            let pid = pid.expect("a process");
            tokio::select! {
                _ = exited(pid) => {}
                () = tokio::time::sleep(70 * SECOND) => kill(pid),
            }
        }
        exit(root.pid(), ExitReason::SHUTDOWN);
        exited(root.pid()).await;
        let struck = rehearsal.report().struck;
        assert!(
            struck
                .iter()
                .all(|struck| struck.place == "fates/connection")
        );
        struck
            .iter()
            .map(|struck| (struck.number, struck.turn))
            .collect()
    })
}

#[test]
fn the_same_seed_tells_it_twice_whichever_arbiter_has_whom() {
    let fates = fates_of_connections(|_| 0);
    assert!((10..35).contains(&fates.len()), "{fates:?}");
    assert_eq!(fates, fates_of_connections(|number| (number % 2) as usize));
    assert_eq!(
        fates,
        fates_of_connections(|number| usize::from(number % 7 > 2))
    );
}

#[test]
fn a_restarted_dynamic_child_keeps_its_number_and_has_another_life() {
    testing::run(async {
        let name = "numbered-downloads".to_owned();
        let rehearsal = rehearse(&format!("/{name}/download:exit=2@40%"));
        let flags = DynamicFlags {
            restart: Restart::Transient,
            intensity: 1000,
            ..DynamicFlags::new("download")
        };
        let downloads = DynamicSupervisor::start(&name, flags)
            .await
            .expect("it starts");
        for _ in 0..20 {
            downloads.do_send(StartDynamicChild::new(|_ctx| Reciter::default()));
        }
        tokio::time::sleep(60 * SECOND).await;
        let report = rehearsal.report();
        let (struck, recovered, for_good) = row(&report);
        assert_eq!((recovered, for_good), (struck, 0), "{report}");
        // Each falls until a life of its own is spared.
        for struck in &report.struck {
            let before = report
                .struck
                .iter()
                .filter(|other| other.number == struck.number && other.life < struck.life);
            assert_eq!(before.count() as u32, struck.life - 1, "{struck:?}");
        }
        assert!(
            report.struck.iter().any(|struck| struck.life > 1),
            "{report}"
        );
        assert!(
            report
                .struck
                .iter()
                .all(|struck| (1..=20).contains(&struck.number))
        );
    });
}

#[test]
fn when_a_rehearsal_is_over_nothing_falls() {
    testing::run(async {
        let name = unique("over");
        drop(rehearse(&format!("/{name}/reciter:kill=1")));
        let _root = tree(&name, Restart::Permanent).await;
        let reciter = whereis(&name).expect("it runs");
        tokio::time::sleep(100 * SECOND).await;
        assert_eq!(whereis(&name), Some(reciter));
    });
}
