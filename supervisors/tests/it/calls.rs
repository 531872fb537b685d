//! Every call to a supervisor, and every answer it can give.

use byron_supervisors::{
    ChildCounts, ChildError, ChildSpec, ChildState, ChildType, CountChildren, DeleteChild,
    DynamicFlags, DynamicSupervisor, ExitReason, GetChildSpec, InvalidSpec, Restart, RestartChild,
    SendError, Shutdown, StartChild, StartChildError, TerminateChild, WhichChildren, exit,
    is_alive,
};

use crate::sup_support::{Ask, Deed, Log, SECOND, Start, done, flags, part, paused, settle, start};

/// A supervisor with `a` running, `b` stopped, and `c` being started again.
macro_rules! three {
    ($log:expr) => {{
        let log: &Log = $log;
        let c = part("c", log).starts([Start::Ready, Start::Slow(SECOND * 9)]);
        let sup = start(
            flags(1000),
            vec![
                part("a", log).spec(),
                part("b", log).restart(Restart::Transient),
                c.spec(),
            ],
        )
        .await;
        sup.end("b", Deed::Leave(ExitReason::Normal)).await;
        sup
    }};
}

#[test]
fn start_child_answers_the_pid() {
    paused(async {
        let log = Log::default();
        let sup = three!(&log);
        let answer = sup.send(StartChild(part("d", &log).spec())).await;
        assert_eq!(answer, Ok(Ok(Some(sup.pid_of("d").await))));
    });
}

#[test]
fn start_child_of_one_that_is_ignored_keeps_the_spec() {
    paused(async {
        let log = Log::default();
        let sup = three!(&log);
        let ignored = part("d", &log).starts([Start::Ignore]);
        assert_eq!(sup.send(StartChild(ignored.spec())).await, Ok(Ok(None)));
        assert_eq!(sup.state("d").await, Some(ChildState::Stopped));

        let ignored = part("e", &log).starts([Start::Ignore]);
        let temporary = ignored.restart(Restart::Temporary);
        assert_eq!(sup.send(StartChild(temporary)).await, Ok(Ok(None)));
        assert_eq!(sup.state("e").await, None);
    });
}

#[test]
fn start_child_of_one_that_runs_is_already_started() {
    paused(async {
        let log = Log::default();
        let sup = three!(&log);
        let again = sup.send(StartChild(part("a", &log).spec())).await;
        let running = sup.pid_of("a").await;
        assert_eq!(again, Ok(Err(StartChildError::AlreadyStarted(running))));
    });
}

#[test]
fn start_child_of_one_that_is_stopped_is_already_present() {
    paused(async {
        let log = Log::default();
        let sup = three!(&log);
        let again = sup.send(StartChild(part("b", &log).spec())).await;
        assert_eq!(again, Ok(Err(StartChildError::AlreadyPresent)));
    });
}

#[test]
fn start_child_that_fails_keeps_nothing_and_counts_nothing() {
    paused(async {
        let log = Log::default();
        let sup = start(flags(0), vec![]).await;
        let bad = part("d", &log).starts([Start::Fail(ExitReason::error("no"))]);
        let answer = sup.send(StartChild(bad.spec())).await;
        let reason = ExitReason::error("no");
        assert_eq!(answer, Ok(Err(StartChildError::Failed(reason))));
        assert_eq!(sup.state("d").await, None);
        assert!(sup.is_alive());
    });
}

#[test]
fn start_child_of_a_wrong_spec_is_invalid() {
    paused(async {
        let log = Log::default();
        let sup = three!(&log);
        let spec = part("d", &log)
            .restart(Restart::Transient)
            .significant(true);
        let answer = sup.send(StartChild(spec)).await;
        let wrong = InvalidSpec::BadCombination("d".into());
        assert_eq!(answer, Ok(Err(StartChildError::Invalid(wrong))));
    });
}

#[test]
fn terminate_child_is_ok_whether_it_runs_or_not() {
    paused(async {
        let log = Log::default();
        let sup = three!(&log);
        let a = sup.pid_of("a").await;
        for id in ["a", "a", "b"] {
            assert_eq!(sup.send(TerminateChild(id.into())).await, Ok(Ok(())));
            assert_eq!(sup.state(id).await, Some(ChildState::Stopped));
        }
        assert!(!is_alive(a));
    });
}

#[test]
fn terminate_child_of_nobody_is_not_found() {
    paused(async {
        let sup = three!(&Log::default());
        let answer = sup.send(TerminateChild("z".into())).await;
        assert_eq!(answer, Ok(Err(ChildError::NotFound)));
    });
}

#[test]
fn terminate_child_forgets_a_temporary_child() {
    paused(async {
        let log = Log::default();
        let sup = start(flags(0), vec![part("a", &log).restart(Restart::Temporary)]).await;
        assert_eq!(sup.send(TerminateChild("a".into())).await, Ok(Ok(())));
        assert_eq!(sup.picture().await, "");
        assert_eq!(
            sup.send(TerminateChild("a".into())).await,
            Ok(Err(ChildError::NotFound))
        );
    });
}

#[test]
fn restart_child_answers_the_pid_of_a_stopped_child() {
    paused(async {
        let log = Log::default();
        let sup = three!(&log);
        let answer = sup.send(RestartChild("b".into())).await;
        assert_eq!(answer, Ok(Ok(Some(sup.pid_of("b").await))));
    });
}

#[test]
fn restart_child_may_be_ignored_or_fail() {
    paused(async {
        let log = Log::default();
        let child = part("a", &log);
        let sup = start(flags(0), vec![child.spec()]).await;
        sup.send(TerminateChild("a".into()))
            .await
            .expect("it lives")
            .expect("it stops");
        child.next_starts([Start::Ignore, Start::Fail(ExitReason::error("no"))]);
        assert_eq!(sup.send(RestartChild("a".into())).await, Ok(Ok(None)));
        assert_eq!(sup.state("a").await, Some(ChildState::Stopped));
        let failed = ChildError::Failed(ExitReason::error("no"));
        assert_eq!(sup.send(RestartChild("a".into())).await, Ok(Err(failed)));
        assert_eq!(sup.state("a").await, Some(ChildState::Stopped));
        assert!(sup.is_alive(), "a restart by hand does not count");
    });
}

#[test]
fn restart_child_and_delete_child_refuse_one_that_runs() {
    paused(async {
        let sup = three!(&Log::default());
        let restart = sup.send(RestartChild("a".into())).await;
        assert_eq!(restart, Ok(Err(ChildError::Running)));
        let delete = sup.send(DeleteChild("a".into())).await;
        assert_eq!(delete, Ok(Err(ChildError::Running)));
        assert_eq!(
            sup.state("a").await.map(|state| state.name()),
            Some("RUNNING")
        );
    });
}

#[test]
fn restart_child_and_delete_child_refuse_one_that_is_restarting() {
    paused(async {
        let log = Log::default();
        let child = part("a", &log).starts([Start::Ready, Start::Slow(SECOND * 9)]);
        child.next_starts(vec![Start::Fail(ExitReason::error("no")); 5]);
        let sup = start(flags(1000), vec![child.spec()]).await;
        sup.end("a", Deed::Panic).await;
        // Queued while it starts, answered when that has failed and before it is tried again.
        let restart = sup.send(RestartChild("a".into()));
        let delete = sup.send(DeleteChild("a".into()));
        let which = sup.send(WhichChildren::settled());
        byron_supervisors::kill(sup.pid_of("a").await);
        assert_eq!(restart.await, Ok(Err(ChildError::Restarting)));
        assert_eq!(delete.await, Ok(Err(ChildError::Restarting)));
        let which = which.await.expect("it lives");
        assert!(matches!(
            which[0].state,
            ChildState::Restarting {
                was: Some(_),
                until: None
            }
        ));
        done(&sup).await;
        assert_eq!(sup.picture().await, "a running");
    });
}

#[test]
fn restart_child_and_delete_child_of_nobody_are_not_found() {
    paused(async {
        let sup = three!(&Log::default());
        let restart = sup.send(RestartChild("z".into())).await;
        assert_eq!(restart, Ok(Err(ChildError::NotFound)));
        let delete = sup.send(DeleteChild("z".into())).await;
        assert_eq!(delete, Ok(Err(ChildError::NotFound)));
    });
}

#[test]
fn delete_child_forgets_a_stopped_child() {
    paused(async {
        let log = Log::default();
        let sup = three!(&log);
        assert_eq!(sup.send(DeleteChild("b".into())).await, Ok(Ok(())));
        assert_eq!(sup.state("b").await, None);
        let anew = sup.send(StartChild(part("b", &log).spec())).await;
        assert!(matches!(anew, Ok(Ok(Some(_)))));
    });
}

#[test]
fn a_restarting_child_can_be_terminated() {
    paused(async {
        let log = Log::default();
        let child = part("a", &log).starts([Start::Ready, Start::Slow(SECOND * 9)]);
        child.next_starts(vec![Start::Fail(ExitReason::error("no")); 500]);
        let sup = start(flags(1000), vec![child.spec()]).await;
        sup.end("a", Deed::Panic).await;
        let terminate = sup.send(TerminateChild("a".into()));
        let delete = sup.send(DeleteChild("a".into()));
        byron_supervisors::kill(sup.pid_of("a").await);
        assert_eq!(terminate.await, Ok(Ok(())));
        assert_eq!(delete.await, Ok(Ok(())));
        done(&sup).await;
        // The attempt that was queued found nobody.
        assert_eq!(sup.picture().await, "");
        assert_eq!(child.made(), 1);
    });
}

#[test]
fn which_children_lists_the_last_started_first() {
    paused(async {
        let log = Log::default();
        let sup = start(
            flags(9),
            vec![
                part("a", &log).spec(),
                part("b", &log).restart(Restart::Transient),
                ChildSpec::supervisor("c", flags(0), Vec::new),
            ],
        )
        .await;
        sup.end("b", Deed::Leave(ExitReason::Normal)).await;
        for question in [WhichChildren::now(), WhichChildren::settled()] {
            let children = sup.send(question).await.expect("it lives");
            let told: Vec<_> = children
                .iter()
                .map(|child| (&*child.id, child.state.name(), child.child_type))
                .collect();
            assert_eq!(
                told,
                [
                    ("c", "RUNNING", ChildType::Supervisor),
                    ("b", "STOPPED", ChildType::Worker),
                    ("a", "RUNNING", ChildType::Worker),
                ]
            );
        }
    });
}

#[test]
fn count_children_counts_dead_ones_by_type_and_live_ones_as_active() {
    paused(async {
        let log = Log::default();
        let sup = start(
            flags(9),
            vec![
                part("a", &log).spec(),
                part("b", &log).restart(Restart::Transient),
                ChildSpec::supervisor("c", flags(0), Vec::new),
            ],
        )
        .await;
        sup.end("b", Deed::Leave(ExitReason::Normal)).await;
        let stopped = sup.send(TerminateChild("c".into())).await;
        assert_eq!(stopped, Ok(Ok(())));
        for question in [CountChildren::now(), CountChildren::settled()] {
            let ChildCounts {
                specs,
                active,
                supervisors,
                workers,
                ..
            } = sup.send(question).await.expect("it lives");
            assert_eq!((specs, active, supervisors, workers), (3, 1, 1, 2));
        }
    });
}

#[test]
fn get_childspec_says_what_the_spec_says() {
    paused(async {
        let log = Log::default();
        let spec = part("a", &log)
            .restart(Restart::Temporary)
            .shutdown(Shutdown::BrutalKill);
        let sup = start(
            flags(9),
            vec![spec, ChildSpec::supervisor("s", flags(0), Vec::new)],
        )
        .await;
        for question in [GetChildSpec::now("a"), GetChildSpec::settled("a")] {
            let spec = sup
                .send(question)
                .await
                .expect("it lives")
                .expect("there is one");
            assert_eq!(&*spec.id, "a");
            assert_eq!(spec.restart, Restart::Temporary);
            assert_eq!(spec.shutdown, Shutdown::BrutalKill);
            assert_eq!(spec.child_type, ChildType::Worker);
            assert!(!spec.significant);
        }
        let spec = sup.send(GetChildSpec::now("s")).await.expect("it lives");
        let spec = spec.expect("there is one");
        assert_eq!(spec.restart, Restart::Permanent);
        assert_eq!(spec.shutdown, Shutdown::Infinity);
        assert_eq!(spec.child_type, ChildType::Supervisor);
        let none = sup.send(GetChildSpec::now("z")).await;
        assert_eq!(none, Ok(Err(ChildError::NotFound)));
    });
}

/// What OTP answers with `simple_one_for_one` does not compile here: a dynamic supervisor takes other messages.
#[test]
fn a_dynamic_supervisor_knows_its_template_by_id() {
    paused(async {
        let sup = DynamicSupervisor::start("d", DynamicFlags::new("download")).await;
        let sup = sup.expect("it starts");
        let spec = sup.send(GetChildSpec::now("download")).await;
        let spec = spec.expect("it lives").expect("the template");
        assert_eq!(spec.restart, Restart::Temporary);
        let none = sup.send(GetChildSpec::now("upload")).await;
        assert_eq!(none, Ok(Err(ChildError::NotFound)));
    });
}

#[test]
fn calls_to_a_supervisor_that_ends_say_how_it_ended() {
    paused(async {
        let log = Log::default();
        let slow = crate::sup_support::Stop::Slow(SECOND, ExitReason::SHUTDOWN);
        let sup = start(flags(0), vec![part("a", &log).stops(slow).spec()]).await;
        exit(sup.pid(), ExitReason::shutdown("a term"));
        settle().await;
        let during = sup.send(StartChild(part("b", &log).spec()));
        assert_eq!(
            sup.picture().await,
            "a stopping",
            "questions are answered meanwhile"
        );
        let ended = SendError::Exited(ExitReason::shutdown("a term"));
        assert_eq!(during.await, Err(ended.clone()));
        let after = sup.send(TerminateChild("a".into())).await;
        assert_eq!(after, Err(ended));
    });
}
