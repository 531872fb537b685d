//! A supervisor that ends because its significant children have (OTP 24, EEP 56).

use byron_supervisors::{
    ActorRef, AutoShutdown, Backoff, ExitReason, Restart, Strategy, SupFlags, Supervisor,
    TerminateChild,
};

use crate::sup_support::{Ask, Deed, Log, SECOND, Start, flags, part, pass, paused, settle, start};

async fn tree(
    auto_shutdown: AutoShutdown,
    strategy: Strategy,
    restart: Restart,
    log: &Log,
) -> ActorRef<Supervisor> {
    let flags = SupFlags {
        auto_shutdown,
        strategy,
        ..flags(1)
    };
    start(
        flags,
        vec![
            part("plain", log).spec(),
            part("a", log).restart(restart).significant(true),
            part("b", log).restart(restart).significant(true),
        ],
    )
    .await
}

const NORMAL: Deed = Deed::Leave(ExitReason::Normal);

#[test]
fn any_significant_ends_with_the_first() {
    for restart in [Restart::Transient, Restart::Temporary] {
        paused(async {
            let log = Log::default();
            let sup = tree(
                AutoShutdown::AnySignificant,
                Strategy::OneForOne,
                restart,
                &log,
            )
            .await;
            log.take();
            sup.end("a", NORMAL).await;
            assert_eq!(sup.exit_reason(), Some(ExitReason::SHUTDOWN));
            assert_eq!(
                log.take(),
                ["stop a: normal", "stop b: shutdown", "stop plain: shutdown"]
            );
        });
    }
}

#[test]
fn all_significant_ends_with_the_last() {
    for restart in [Restart::Transient, Restart::Temporary] {
        paused(async {
            let log = Log::default();
            let sup = tree(
                AutoShutdown::AllSignificant,
                Strategy::OneForOne,
                restart,
                &log,
            )
            .await;
            sup.end("a", NORMAL).await;
            assert!(sup.is_alive());
            sup.end("b", NORMAL).await;
            assert_eq!(sup.exit_reason(), Some(ExitReason::SHUTDOWN));
        });
    }
}

#[test]
fn a_temporary_child_that_crashes_counts_as_ended() {
    paused(async {
        let log = Log::default();
        let sup = tree(
            AutoShutdown::AnySignificant,
            Strategy::OneForOne,
            Restart::Temporary,
            &log,
        )
        .await;
        sup.end("a", Deed::Panic).await;
        assert_eq!(sup.exit_reason(), Some(ExitReason::SHUTDOWN));
    });
}

#[test]
fn a_significant_child_that_is_restarted_has_not_ended() {
    paused(async {
        let log = Log::default();
        let sup = tree(
            AutoShutdown::AnySignificant,
            Strategy::OneForOne,
            Restart::Transient,
            &log,
        )
        .await;
        sup.end("a", Deed::Panic).await;
        assert!(sup.is_alive());
        assert_eq!(sup.picture().await, "plain running, a running, b running");
    });
}

#[test]
fn terminate_child_is_no_end_by_itself() {
    for auto_shutdown in [AutoShutdown::AnySignificant, AutoShutdown::AllSignificant] {
        paused(async {
            let log = Log::default();
            let sup = tree(auto_shutdown, Strategy::OneForOne, Restart::Transient, &log).await;
            for id in ["a", "b"] {
                let stopped = sup.send(TerminateChild(id.into())).await;
                assert_eq!(stopped, Ok(Ok(())));
            }
            settle().await;
            assert_eq!(sup.picture().await, "plain running, a stopped, b stopped");
        });
    }
}

#[test]
fn a_sibling_that_is_taken_along_has_not_ended_by_itself() {
    paused(async {
        let log = Log::default();
        let sup = tree(
            AutoShutdown::AnySignificant,
            Strategy::OneForAll,
            Restart::Temporary,
            &log,
        )
        .await;
        sup.end("plain", Deed::Panic).await;
        // The temporary siblings are gone, and nobody minds.
        assert_eq!(sup.picture().await, "plain running");
    });
}

#[test]
fn never_is_never() {
    paused(async {
        let log = Log::default();
        let sup = start(
            flags(0),
            vec![
                part("a", &log).restart(Restart::Transient),
                part("b", &log).restart(Restart::Temporary),
            ],
        )
        .await;
        sup.end("a", NORMAL).await;
        sup.end("b", NORMAL).await;
        assert_eq!(sup.picture().await, "a stopped");
    });
}

#[test]
fn a_child_that_waits_for_its_restart_still_counts_as_alive() {
    paused(async {
        let log = Log::default();
        let flags = SupFlags {
            auto_shutdown: AutoShutdown::AllSignificant,
            ..flags(9)
        };
        let transient = |id| part(id, &log).restart(Restart::Transient).significant(true);
        let backoff = Backoff::new(SECOND, SECOND);
        let sup = start(flags, vec![transient("a").backoff(backoff), transient("b")]).await;
        sup.end("a", Deed::Panic).await;
        sup.end("b", NORMAL).await;
        assert_eq!(sup.picture().await, "a backoff, b stopped");
        pass(SECOND * 2).await;
        sup.end("a", NORMAL).await;
        assert_eq!(sup.exit_reason(), Some(ExitReason::SHUTDOWN));
    });
}

#[test]
fn a_significant_child_that_is_given_up_ends_its_supervisor() {
    paused(async {
        let log = Log::default();
        let flags = SupFlags {
            auto_shutdown: AutoShutdown::AnySignificant,
            ..flags(9)
        };
        let backoff = Backoff {
            max_failures: Some(1),
            ..Backoff::new(SECOND, SECOND)
        };
        let a = part("a", &log).starts([Start::Ready, Start::PanicInInit]);
        let spec = a
            .restart(Restart::Transient)
            .significant(true)
            .backoff(backoff);
        let sup = start(flags, vec![spec]).await;
        sup.end("a", Deed::Panic).await;
        pass(SECOND * 2).await;
        assert_eq!(sup.exit_reason(), Some(ExitReason::SHUTDOWN));
    });
}

#[test]
fn an_ended_transient_significant_child_at_its_parent_is_not_restarted() {
    paused(async {
        let log = Log::default();
        let inner = log.clone();
        // Work units end themselves: the subtree goes with its last significant child, and stays away.
        let unit = byron_supervisors::ChildSpec::supervisor(
            "unit",
            SupFlags {
                auto_shutdown: AutoShutdown::AllSignificant,
                ..flags(0)
            },
            move || {
                vec![
                    part("work", &inner)
                        .named("auto-shutdown-work")
                        .restart(Restart::Transient)
                        .significant(true),
                ]
            },
        )
        .restart(Restart::Transient);
        let sup = start(flags(0), vec![unit]).await;
        let work = byron_supervisors::whereis("auto-shutdown-work").expect("it runs");
        ActorRef::<crate::sup_support::Worker>::of(work)
            .expect("it is a worker")
            .do_send(NORMAL);
        settle().await;
        assert_eq!(sup.picture().await, "unit stopped");
    });
}
