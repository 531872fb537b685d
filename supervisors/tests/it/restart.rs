//! When a child is started again, and what is new about it then.
//!
//! Which test holds which rule of OTP's supervisor, by the function of `supervisor.erl` (or the page) that has it:
//!
//! | rule | test |
//! | --- | --- |
//! | `restart_child`, `do_restart`: permanent, transient, temporary by reason | [`each_restart_type_answers_each_reason_as_otp`] |
//! | a permanent child is restarted even after `normal` | same, rows `permanent` |
//! | normal ends of others are not reported, all other ends are | `reports::an_end_is_reported_as_otp_reports_it` |
//! | transient keeps its spec, temporary loses it | [`each_restart_type_answers_each_reason_as_otp`] |
//! | `{'EXIT', ..}` of a stranger is ignored | [`the_end_of_a_stranger_is_nothing_to_a_supervisor`] |
//! | `add_restart`: window per supervisor, shared by its children | `intensity::the_window_is_shared_by_all_children` |
//! | intensity 0: the first restart is one too many | `intensity::with_intensity_zero_the_first_failure_ends_the_supervisor` |
//! | the window slides; its edge counts | `intensity::a_sustained_rate_below_the_limit_never_ends`, `intensity::the_edge_of_the_window_counts` |
//! | the restart that exceeds the limit is not performed | `intensity::the_restart_that_exceeds_the_limit_is_not_performed` |
//! | one count for a group, one for each failed retry | `intensity::a_group_restart_counts_once`, `intensity::each_failed_attempt_counts` |
//! | limit hit: `shutdown`, others stopped in reverse | `intensity::giving_up_stops_the_others_in_reverse_and_says_shutdown` |
//! | a transient supervisor that melts down is not restarted | `intensity::a_transient_supervisor_that_gives_up_is_not_restarted` |
//! | `restart/3` one_for_one: in place | `strategies::one_for_one_restarts_the_child_in_its_place` |
//! | one_for_all, rest_for_one: last to first, then first to last | `strategies::one_for_all_...`, `strategies::rest_for_one_...` |
//! | `restart_multiple_children`: stopped ones are started as well | `strategies::a_group_restart_starts_those_that_were_stopped` |
//! | temporary siblings are stopped, not restarted | `strategies::a_group_restart_forgets_temporary_siblings` |
//! | `try_again_restart`: requests get in between | `strategies::requests_come_before_the_next_attempt` |
//! | retry of a group begins at the child that failed | `strategies::a_failed_rest_for_one_goes_on_from_the_child_that_failed` |
//! | terminate_child on a restarting child | `calls::a_restarting_child_can_be_terminated` |
//! | `init_children`: synchronous, in order, rollback | `strategies::children_start_in_order_one_after_the_other`, `strategies::a_failed_start_at_init_stops_the_earlier_children` |
//! | `ignore` keeps the spec, unless temporary | [`an_ignored_child_keeps_its_spec_unless_temporary`] |
//! | `terminate_children`: reverse, one at a time | `shutdown::children_stop_in_reverse_one_after_the_other` |
//! | `shutdown/1`: brutal_kill, timeout, infinity | `shutdown::a_brutal_kill_is_not_a_question`, `shutdown::after_its_time_a_child_is_killed`, `shutdown::infinity_waits` |
//! | `terminate_dynamic_children`: parallel, one timer, grouped errors | `dynamic::children_stop_together_with_one_timer`, `dynamic::shutdown_errors_are_grouped_by_reason` |
//! | EXIT of the parent | `shutdown::a_supervisor_told_to_stop_leaves_with_that_reason` |
//! | `do_auto_shutdown` | all of `auto_shutdown` |
//! | `handle_call` | all of `calls` |
//! | `?report_error`, `report_progress`, `extract_child` | all of `reports` |
//! | links and signals of supervision (1.9) | `shutdown::children_of_a_killed_supervisor_end_too`, [`names_are_free_before_the_restart`] |

use byron_supervisors::{
    ActorRef, ChildState, DeleteChild, ExitReason, Restart, RestartChild, StartChild, exited, kill,
    snapshot, whereis,
};

use crate::sup_support::{
    Ask, Deed, Log, Ping, Start, Worker, done, flags, part, paused, settle, start, unique,
};

fn reasons() -> Vec<(&'static str, Deed, bool)> {
    let leave = Deed::Leave;
    vec![
        ("normal", leave(ExitReason::Normal), true),
        ("shutdown", leave(ExitReason::SHUTDOWN), true),
        (
            "shutdown with a term",
            leave(ExitReason::shutdown("a term")),
            true,
        ),
        ("killed", Deed::Killed, false),
        ("noproc", leave(ExitReason::NoProc), false),
        ("noconnection", leave(ExitReason::NoConnection), false),
        ("error", leave(ExitReason::error("an error")), false),
        ("panic", Deed::Panic, false),
    ]
}

#[test]
fn each_restart_type_answers_each_reason_as_otp() {
    for (name, deed, is_normal) in reasons() {
        for restart in [Restart::Permanent, Restart::Transient, Restart::Temporary] {
            paused(async {
                let child = part("a", &Log::default());
                let sup = start(flags(1), vec![child.restart(restart)]).await;
                let first = sup.pid_of("a").await;
                sup.end("a", deed.clone()).await;

                let state = sup.state("a").await;
                let is_restarted = match restart {
                    Restart::Permanent => true,
                    Restart::Transient => !is_normal,
                    Restart::Temporary => false,
                };
                let context = format!("{} after {name}: {state:?}", restart.name());
                match (is_restarted, restart) {
                    (true, _) => {
                        let pid = state.and_then(|state| state.pid());
                        assert!(pid.is_some_and(|pid| pid > first), "{context}");
                    }
                    (false, Restart::Transient) => {
                        assert_eq!(state, Some(ChildState::Stopped), "{context}");
                    }
                    (false, _) => assert_eq!(state, None, "{context}"),
                }
                assert_eq!(child.made(), 1 + u32::from(is_restarted), "{context}");
                assert!(sup.is_alive(), "{context}");
            });
        }
    }
}

#[test]
fn a_restarted_actor_is_a_new_value_with_a_new_pid() {
    paused(async {
        let child = part("a", &Log::default());
        let sup = start(flags(5), vec![child.spec()]).await;
        let first = sup.worker("a").await;
        assert_eq!(first.send(Ping).await, Ok(1));
        assert_eq!(first.send(Ping).await, Ok(2));
        sup.end("a", Deed::Panic).await;

        let second = sup.worker("a").await;
        assert!(second.pid() > first.pid());
        assert_eq!(second.send(Ping).await, Ok(1));
        assert!(!first.is_alive());
        assert!(matches!(first.exit_reason(), Some(ExitReason::Panic(_))));
    });
}

#[test]
fn a_child_added_later_is_supervised_as_the_first_ones() {
    paused(async {
        let log = Log::default();
        let sup = start(flags(5), vec![part("a", &log).spec()]).await;
        let later = part("b", &log);
        let answer = sup.send(StartChild(later.spec())).await.expect("it lives");
        assert_eq!(answer, Ok(Some(sup.pid_of("b").await)));
        sup.end("b", Deed::Killed).await;
        assert_eq!(sup.picture().await, "a running, b running");
        assert_eq!(later.made(), 2);
    });
}

#[test]
fn an_ignored_child_keeps_its_spec_unless_temporary() {
    paused(async {
        let log = Log::default();
        let (a, b) = (
            part("a", &log).starts([Start::Ignore]),
            part("b", &log).starts([Start::Ignore]),
        );
        let sup = start(
            flags(1),
            vec![
                a.spec(),
                b.restart(Restart::Temporary),
                part("c", &log).spec(),
            ],
        )
        .await;
        assert_eq!(sup.picture().await, "a stopped, c running");
        let answer = sup.send(RestartChild("a".into())).await.expect("it lives");
        assert_eq!(answer, Ok(Some(sup.pid_of("a").await)));
    });
}

#[test]
fn a_child_that_is_ignored_at_its_restart_stays_stopped() {
    paused(async {
        let child = part("a", &Log::default()).starts([Start::Ready, Start::Ignore]);
        let sup = start(flags(1), vec![child.spec()]).await;
        sup.end("a", Deed::Panic).await;
        assert_eq!(sup.picture().await, "a stopped");
    });
}

#[test]
fn a_child_that_dies_before_it_has_started_was_a_failed_start() {
    for bad in [
        Start::Fail(ExitReason::error("no")),
        Start::PanicInInit,
        Start::PanicInStarted,
        Start::LeaveInStarted(ExitReason::error("no")),
    ] {
        paused(async {
            let log = Log::default();
            let child = part("a", &log).starts([Start::Ready, bad]);
            let sup = start(flags(2), vec![child.spec()]).await;
            sup.end("a", Deed::Panic).await;
            assert_eq!(sup.picture().await, "a running");
            // The restart that failed and the one that did not.
            sup.end("a", Deed::Panic).await;
            assert!(!sup.is_alive(), "three attempts are more than two");
        });
    }
}

#[test]
fn a_child_that_is_killed_while_it_starts_was_a_failed_start() {
    paused(async {
        let child = part("a", &Log::default())
            .starts([Start::Ready, Start::Slow(std::time::Duration::from_secs(9))]);
        let sup = start(flags(2), vec![child.spec()]).await;
        sup.end("a", Deed::Panic).await;
        assert_eq!(sup.picture().await, "a starting");
        kill(sup.pid_of("a").await);
        settle().await;
        assert_eq!(sup.picture().await, "a running");
    });
}

#[test]
fn a_child_that_leaves_in_good_order_while_it_starts_has_started() {
    paused(async {
        let child = part("a", &Log::default())
            .starts([Start::LeaveInStarted(ExitReason::Normal), Start::Ready]);
        let sup = start(flags(1), vec![child.spec()]).await;
        settle().await;
        assert_eq!(sup.picture().await, "a running");
        assert_eq!(child.made(), 2);
    });
}

#[test]
fn restarts_and_incarnations_are_counted() {
    paused(async {
        let root = unique("root");
        let log = Log::default();
        let sup = byron_supervisors::Supervisor::start(
            &root,
            flags(9),
            vec![
                part("a", &log).spec(),
                part("b", &log)
                    .starts([Start::Ready, Start::Fail(ExitReason::error("no"))])
                    .spec(),
            ],
        )
        .await
        .expect("both start");
        for _ in 0..3 {
            sup.end("a", Deed::Panic).await;
        }
        sup.end("b", Deed::Panic).await;
        let node = snapshot()
            .into_iter()
            .find(|node| node.path.to_string() == root)
            .expect("it is a root");
        let counts: Vec<_> = node
            .children
            .iter()
            .map(|child| (child.incarnation, child.restarts))
            .collect();
        // An incarnation is a start, also one that failed; a restart is one that did not.
        assert_eq!(counts, [(4, 3), (3, 1)]);
    });
}

#[test]
fn names_are_free_before_the_restart() {
    paused(async {
        let name = unique("ecstasy");
        let child = part("a", &Log::default()).named(&name);
        let sup = start(flags(9), vec![child.spec()]).await;
        for deed in [Deed::Panic, Deed::Killed, Deed::Leave(ExitReason::Normal)] {
            let before = whereis(&name);
            // `register` in `started` panics if the name is still taken.
            sup.end("a", deed).await;
            assert_eq!(whereis(&name), Some(sup.pid_of("a").await));
            assert_ne!(whereis(&name), before);
        }
        assert_eq!(child.made(), 4);
    });
}

#[test]
fn the_end_of_a_stranger_is_nothing_to_a_supervisor() {
    paused(async {
        let log = Log::default();
        let sup = start(flags(0), vec![part("a", &log).spec()]).await;
        let stranger = start(flags(0), vec![]).await;
        sup.do_send(byron_supervisors::RestartChild("none".into()));
        // A `Down` of a process that it no longer has: terminated, deleted, and then dead.
        let old = sup.worker("a").await;
        sup.do_send(byron_supervisors::TerminateChild("a".into()));
        sup.do_send(DeleteChild("a".into()));
        kill(stranger.pid());
        exited(stranger.pid()).await;
        done(&sup).await;
        assert!(sup.is_alive() && !old.is_alive());
        assert_eq!(sup.picture().await, "");
    });
}

#[test]
fn a_worker_is_found_by_its_type() {
    paused(async {
        let sup = start(flags(0), vec![part("a", &Log::default()).spec()]).await;
        let pid = sup.pid_of("a").await;
        assert!(ActorRef::<Worker>::of(pid).is_some());
        assert!(ActorRef::<byron_supervisors::Supervisor>::of(pid).is_none());
    });
}
