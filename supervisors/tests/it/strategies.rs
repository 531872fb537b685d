//! Whom a failure takes along, and in which order.

use byron_supervisors::{
    ChildSpec, ExitReason, FailedToStartChild, InvalidSpec, Restart, RestartChild, StartChild,
    Strategy, SupFlags, Supervisor, TerminateChild, WhichChildren,
};

use crate::sup_support::{
    Ask, Deed, Log, Part, SECOND, Start, Stop, done, flags, part, pass, paused, settle, start,
    unique,
};

fn with(strategy: Strategy, intensity: u32) -> SupFlags {
    SupFlags {
        strategy,
        ..flags(intensity)
    }
}

fn five(log: &Log) -> Vec<Part> {
    ["a", "b", "c", "d", "e"]
        .into_iter()
        .map(|id| part(id, log))
        .collect()
}

fn specs(parts: &[Part]) -> Vec<ChildSpec> {
    parts.iter().map(Part::spec).collect()
}

/// What happens after `c`, in the middle of five, has panicked.
async fn after_the_middle_fails(strategy: Strategy) -> Vec<String> {
    let log = Log::default();
    let sup = start(with(strategy, 1), specs(&five(&log))).await;
    log.take();
    sup.end("c", Deed::Panic).await;
    assert_eq!(
        sup.picture().await,
        "a running, b running, c running, d running, e running"
    );
    log.take()
}

#[test]
fn one_for_one_restarts_the_child_in_its_place() {
    paused(async {
        assert_eq!(
            after_the_middle_fails(Strategy::OneForOne).await,
            ["start c"]
        );
    });
}

#[test]
fn one_for_all_stops_last_to_first_and_starts_first_to_last() {
    paused(async {
        assert_eq!(
            after_the_middle_fails(Strategy::OneForAll).await,
            [
                "stop e: shutdown",
                "stop d: shutdown",
                "stop b: shutdown",
                "stop a: shutdown",
                "start a",
                "start b",
                "start c",
                "start d",
                "start e"
            ]
        );
    });
}

#[test]
fn rest_for_one_restarts_later_children_and_leaves_earlier_ones() {
    paused(async {
        assert_eq!(
            after_the_middle_fails(Strategy::RestForOne).await,
            [
                "stop e: shutdown",
                "stop d: shutdown",
                "start c",
                "start d",
                "start e"
            ]
        );
    });
}

#[test]
fn a_child_added_later_is_last_in_the_order() {
    paused(async {
        let log = Log::default();
        let sup = start(
            with(Strategy::RestForOne, 1),
            vec![part("a", &log).spec(), part("b", &log).spec()],
        )
        .await;
        let added = sup.send(StartChild(part("z", &log).spec())).await;
        added.expect("it lives").expect("it starts");
        log.take();
        sup.end("b", Deed::Panic).await;
        assert_eq!(log.take(), ["stop z: shutdown", "start b", "start z"]);
    });
}

#[test]
fn a_group_restart_starts_those_that_were_stopped() {
    paused(async {
        let log = Log::default();
        let sup = start(
            with(Strategy::OneForAll, 1),
            vec![
                part("a", &log).spec(),
                part("b", &log).restart(Restart::Transient),
                part("c", &log).spec(),
            ],
        )
        .await;
        sup.end("b", Deed::Leave(ExitReason::Normal)).await;
        let answer = sup.send(TerminateChild("a".into())).await;
        assert_eq!(answer, Ok(Ok(())));
        assert_eq!(sup.picture().await, "a stopped, b stopped, c running");
        sup.end("c", Deed::Panic).await;
        assert_eq!(sup.picture().await, "a running, b running, c running");
    });
}

#[test]
fn a_group_restart_forgets_temporary_siblings() {
    for strategy in [Strategy::OneForAll, Strategy::RestForOne] {
        paused(async {
            let log = Log::default();
            let sup = start(
                with(strategy, 1),
                vec![
                    part("a", &log).spec(),
                    part("b", &log).restart(Restart::Temporary),
                    part("c", &log).spec(),
                ],
            )
            .await;
            log.take();
            sup.end("a", Deed::Panic).await;
            assert_eq!(
                log.take(),
                ["stop c: shutdown", "stop b: shutdown", "start a", "start c"]
            );
            assert_eq!(sup.picture().await, "a running, c running");
        });
    }
}

#[test]
fn a_temporary_child_that_fails_takes_nobody_along() {
    for strategy in [Strategy::OneForAll, Strategy::RestForOne] {
        paused(async {
            let log = Log::default();
            let sup = start(
                with(strategy, 0),
                vec![
                    part("a", &log).restart(Restart::Temporary),
                    part("b", &log).spec(),
                ],
            )
            .await;
            log.take();
            sup.end("a", Deed::Panic).await;
            assert_eq!(log.take(), [""; 0]);
            assert_eq!(sup.picture().await, "b running");
        });
    }
}

#[test]
fn children_start_in_order_one_after_the_other() {
    paused(async {
        let log = Log::default();
        start(
            flags(0),
            vec![
                part("a", &log).starts([Start::Slow(SECOND)]).spec(),
                part("b", &log).starts([Start::Slow(SECOND)]).spec(),
                part("c", &log).spec(),
            ],
        )
        .await;
        assert_eq!(
            log.take(),
            ["slow a", "start a", "slow b", "start b", "start c"]
        );
    });
}

#[test]
fn a_failed_start_at_init_stops_the_earlier_children() {
    paused(async {
        let log = Log::default();
        let failed = Supervisor::start(
            &unique("root"),
            flags(9),
            vec![
                part("a", &log).spec(),
                part("b", &log).spec(),
                part("c", &log).never_starts().spec(),
                part("d", &log).spec(),
            ],
        )
        .await
        .expect_err("c does not start");
        assert_eq!(
            log.take(),
            [
                "start a",
                "start b",
                "fail c",
                "stop b: shutdown",
                "stop a: shutdown"
            ]
        );
        let ExitReason::Shutdown(Some(term)) = &failed else {
            panic!("{failed}");
        };
        let term: &FailedToStartChild = term.downcast_ref().expect("it says which child");
        assert_eq!(&*term.id, "c");
        assert_eq!(term.reason, ExitReason::error("no"));
    });
}

#[test]
fn two_children_of_one_id_or_a_significant_permanent_one_are_no_tree() {
    paused(async {
        let log = Log::default();
        let twice = vec![part("a", &log).spec(), part("a", &log).spec()];
        let reason = Supervisor::start(&unique("root"), flags(0), twice).await;
        let wanted = ExitReason::error(InvalidSpec::DuplicateId("a".into()));
        assert_eq!(reason.map(drop), Err(wanted));

        let significant = vec![part("a", &log).spec().significant(true)];
        let reason = Supervisor::start(&unique("root"), flags(0), significant).await;
        let wanted = ExitReason::error(InvalidSpec::BadCombination("a".into()));
        assert_eq!(reason.map(drop), Err(wanted));
        assert_eq!(log.take(), [""; 0]);
    });
}

#[test]
fn a_failed_one_for_all_starts_all_over() {
    paused(async {
        let log = Log::default();
        let b = part("b", &log);
        let sup = start(
            with(Strategy::OneForAll, 9),
            vec![part("a", &log).spec(), b.spec(), part("c", &log).spec()],
        )
        .await;
        log.take();
        b.next_starts([Start::Fail(ExitReason::error("no"))]);
        sup.end("a", Deed::Panic).await;
        assert_eq!(
            log.take(),
            [
                "stop c: shutdown",
                "stop b: shutdown",
                "start a",
                "fail b",
                "stop a: shutdown",
                "start a",
                "start b",
                "start c"
            ]
        );
    });
}

#[test]
fn a_failed_rest_for_one_goes_on_from_the_child_that_failed() {
    paused(async {
        let log = Log::default();
        let b = part("b", &log);
        let sup = start(
            with(Strategy::RestForOne, 9),
            vec![part("a", &log).spec(), b.spec(), part("c", &log).spec()],
        )
        .await;
        log.take();
        b.next_starts([Start::Fail(ExitReason::error("no"))]);
        sup.end("a", Deed::Panic).await;
        assert_eq!(
            log.take(),
            [
                "stop c: shutdown",
                "stop b: shutdown",
                "start a",
                "fail b",
                "start b",
                "start c"
            ]
        );
    });
}

#[test]
fn requests_come_before_the_next_attempt() {
    paused(async {
        let log = Log::default();
        let a = part("a", &log);
        let sup = start(flags(1000), vec![a.spec(), part("b", &log).spec()]).await;
        a.next_starts([Start::Slow(SECOND)]);
        a.next_starts(vec![Start::Fail(ExitReason::error("no")); 500]);
        // It fails while it starts; the next attempt stands behind what was asked meanwhile.
        sup.end("a", Deed::Panic).await;
        let starting = sup.pid_of("a").await;
        let seen = sup.send(WhichChildren::settled());
        let stopped = sup.send(TerminateChild("a".into()));
        byron_supervisors::kill(starting);
        let seen = seen.await.expect("it lives");
        let state = &seen
            .iter()
            .find(|child| &*child.id == "a")
            .expect("a")
            .state;
        assert_eq!(state.name(), "RESTARTING");
        assert_eq!(stopped.await, Ok(Ok(())));
        done(&sup).await;
        assert_eq!(sup.picture().await, "a stopped, b running");
        assert_eq!(log.take(), ["start a", "start b", "slow a"]);
    });
}

#[test]
fn a_second_failure_during_a_group_restart_is_not_lost() {
    paused(async {
        let log = Log::default();
        // c stops by panicking, d takes its time: the supervisor has more than one end in hand.
        let sup = start(
            with(Strategy::OneForAll, 3),
            vec![
                part("a", &log).spec(),
                part("b", &log).stops(Stop::Panic).spec(),
                part("c", &log)
                    .stops(Stop::Slow(SECOND, ExitReason::SHUTDOWN))
                    .spec(),
            ],
        )
        .await;
        sup.worker("a").await.do_send(Deed::Panic);
        sup.worker("b").await.do_send(Deed::Panic);
        pass(SECOND * 2).await;
        settle().await;
        assert_eq!(sup.picture().await, "a running, b running, c running");
        assert!(sup.is_alive());
    });
}

#[test]
fn restart_child_in_a_group_starts_that_child_alone() {
    paused(async {
        let log = Log::default();
        let sup = start(with(Strategy::OneForAll, 0), specs(&five(&log))).await;
        let stopped = sup.send(TerminateChild("c".into())).await;
        assert_eq!(stopped, Ok(Ok(())));
        log.take();
        let started = sup.send(RestartChild("c".into())).await;
        assert!(matches!(started, Ok(Ok(Some(_)))));
        assert_eq!(log.take(), ["start c"]);
    });
}

#[test]
fn a_group_restart_below_leaves_what_is_beside_it() {
    paused(async {
        let log = Log::default();
        let below = log.clone();
        let sup = start(
            flags(0),
            vec![
                part("beside", &log).spec(),
                ChildSpec::supervisor("below", with(Strategy::OneForAll, 1), move || {
                    vec![
                        part("a", &below).named("strategies-a").spec(),
                        part("b", &below).spec(),
                    ]
                }),
            ],
        )
        .await;
        log.take();
        let a = byron_supervisors::whereis("strategies-a").expect("a has it");
        byron_supervisors::exit(a, ExitReason::error("gone"));
        settle().await;
        assert_eq!(
            log.take(),
            [
                "stop a: error: gone",
                "stop b: shutdown",
                "start a",
                "start b"
            ]
        );
        assert_eq!(sup.picture().await, "beside running, below running");
    });
}
