//! Which child is restarted after which exit, and when a supervisor shuts itself down.

use crate::otp::{
    build::{
        ERROR, OK, count, crash, exit, fact, instance, restart, root, start, terminate, which,
        worker,
    },
    scenario::{
        AutoShutdown::{AllSignificant, AnySignificant},
        Reason, Restart, Scenario,
        Strategy::{OneForAll, OneForOne, RestForOne, SimpleOneForOne},
    },
};

/// The table: every restart type with every reason.
fn table() -> Vec<Scenario> {
    let kinds = [
        (Restart::Permanent, "permanent"),
        (Restart::Transient, "transient"),
        (Restart::Temporary, "temporary"),
    ];
    let reasons = [
        (Reason::Normal, "normal"),
        (Reason::Shutdown, "shutdown"),
        (Reason::ShutdownTerm, "shutdown_with_a_term"),
        (Reason::Crash, "crash"),
        (Reason::Kill, "kill"),
    ];
    let mut facts = Vec::new();
    for (kind, kind_name) in kinds {
        for (reason, reason_name) in reasons {
            let abnormal = matches!(reason, Reason::Crash | Reason::Kill);
            let restarted = match kind {
                Restart::Permanent => true,
                Restart::Transient => abnormal,
                Restart::Temporary => false,
            };
            let verdict = if restarted { "is" } else { "is_not" };
            facts.push(fact(
                &format!("{kind_name}_{verdict}_restarted_after_{reason_name}"),
                root(
                    OneForOne,
                    [worker("a"), worker("b").restarted(kind), worker("c")],
                ),
                [
                    exit("b", reason),
                    which("root"),
                    count("root"),
                    restart("root", "b"),
                ],
            ));
        }
    }
    facts
}

pub(super) fn facts() -> Vec<Scenario> {
    let mut facts = table();
    facts.extend([
        fact(
            "no_hook_runs_without_trap_exit",
            root(OneForOne, [worker("a").no_trap_exit(), worker("b")]),
            [
                crash("a"),
                exit("a", Reason::Normal),
                exit("b", Reason::Normal),
            ],
        ),
        fact(
            "an_exit_that_needs_no_restart_counts_nothing",
            root(
                OneForOne,
                [
                    worker("a").transient(),
                    worker("b").temporary(),
                    worker("c"),
                ],
            )
            .intensity(0),
            [
                exit("a", Reason::Normal),
                crash("b"),
                which("root"),
                crash("c"),
            ],
        ),
        fact(
            "any_significant_shuts_down_when_one_ends",
            root(
                OneForOne,
                [
                    worker("a"),
                    worker("b").transient().significant(),
                    worker("c").transient().significant(),
                ],
            )
            .auto_shutdown(AnySignificant),
            [exit("b", Reason::Normal)],
        ),
        fact(
            "any_significant_ignores_a_restarted_child",
            root(
                OneForOne,
                [worker("a"), worker("b").transient().significant()],
            )
            .auto_shutdown(AnySignificant),
            [crash("b"), exit("b", Reason::Shutdown)],
        ),
        fact(
            "any_significant_counts_a_crashed_temporary_child",
            root(
                OneForOne,
                [worker("a"), worker("b").temporary().significant()],
            )
            .auto_shutdown(AnySignificant),
            [crash("b")],
        ),
        fact(
            "any_significant_ignores_insignificant_children",
            root(
                OneForOne,
                [
                    worker("a").transient(),
                    worker("b").transient().significant(),
                ],
            )
            .auto_shutdown(AnySignificant),
            [exit("a", Reason::Normal), exit("b", Reason::Normal)],
        ),
        fact(
            "all_significant_shuts_down_with_the_last_one",
            root(
                OneForOne,
                [
                    worker("a"),
                    worker("b").transient().significant(),
                    worker("c").temporary().significant(),
                ],
            )
            .auto_shutdown(AllSignificant),
            [exit("b", Reason::Normal), exit("c", Reason::Kill)],
        ),
        fact(
            "all_significant_takes_terminated_ones_as_ended",
            root(
                OneForOne,
                [
                    worker("b").transient().significant(),
                    worker("c").transient().significant(),
                ],
            )
            .auto_shutdown(AllSignificant),
            [terminate("root", "b"), exit("c", Reason::Normal)],
        ),
        fact(
            "all_significant_ignores_an_insignificant_last_child",
            root(
                OneForOne,
                [
                    worker("a").transient(),
                    worker("b").transient().significant(),
                ],
            )
            .auto_shutdown(AllSignificant),
            [
                terminate("root", "b"),
                exit("a", Reason::Normal),
                which("root"),
            ],
        ),
        fact(
            "terminate_child_never_shuts_down",
            root(
                OneForOne,
                [worker("a"), worker("b").transient().significant()],
            )
            .auto_shutdown(AnySignificant),
            [
                terminate("root", "b"),
                which("root"),
                terminate("root", "b"),
            ],
        ),
        fact(
            "a_temporary_sibling_stopped_by_a_restart_never_shuts_down",
            root(
                OneForAll,
                [worker("a"), worker("b").temporary().significant()],
            )
            .auto_shutdown(AllSignificant),
            [crash("a"), which("root")],
        ),
        fact(
            "a_shut_down_transient_supervisor_is_not_restarted",
            root(
                OneForOne,
                [
                    root(OneForOne, [worker("b").transient().significant()])
                        .auto_shutdown(AnySignificant)
                        .nested("s")
                        .transient(),
                    worker("c"),
                ],
            ),
            [
                exit("b", Reason::Normal),
                which("root"),
                restart("root", "s"),
            ],
        ),
        fact(
            "a_shut_down_permanent_supervisor_is_restarted",
            root(
                OneForOne,
                [root(OneForOne, [worker("b").transient().significant()])
                    .auto_shutdown(AnySignificant)
                    .nested("s")],
            ),
            [exit("b", Reason::Normal), which("root")],
        ),
        fact(
            "a_significant_supervisor_that_shuts_down_shuts_its_parent_down",
            root(
                OneForOne,
                [
                    worker("a"),
                    root(
                        RestForOne,
                        [worker("b").transient().significant(), worker("c")],
                    )
                    .auto_shutdown(AllSignificant)
                    .nested("s")
                    .transient()
                    .significant(),
                ],
            )
            .auto_shutdown(AnySignificant),
            [exit("b", Reason::ShutdownTerm)],
        ),
        fact(
            "a_dynamic_supervisor_shuts_down_with_its_last_significant_instance",
            root(
                OneForOne,
                [
                    worker("a"),
                    root(SimpleOneForOne, [worker("t").transient().significant()])
                        .auto_shutdown(AllSignificant)
                        .nested("s")
                        .temporary(),
                ],
            ),
            [
                instance("s", "i1"),
                instance("s", "i2"),
                exit("i1", Reason::Normal),
                crash("i2"),
                exit("i2", Reason::Normal),
                which("root"),
            ],
        ),
        fact(
            "a_dynamic_supervisor_shuts_down_with_any_significant_instance",
            root(SimpleOneForOne, [worker("t").temporary().significant()])
                .auto_shutdown(AnySignificant),
            [
                instance("root", "i1"),
                instance("root", "i2"),
                instance("root", "i3"),
                crash("i2"),
            ],
        ),
        fact(
            "a_dynamic_supervisor_survives_the_termination_of_its_last_instance",
            root(SimpleOneForOne, [worker("t").temporary().significant()])
                .auto_shutdown(AllSignificant),
            [
                instance("root", "i1"),
                terminate("root", "i1"),
                which("root"),
            ],
        ),
        fact(
            "a_child_added_later_counts_as_significant",
            root(OneForOne, [worker("a")]).auto_shutdown(AllSignificant),
            [
                start(
                    "root",
                    worker("b").transient().significant().init([OK, ERROR, OK]),
                ),
                crash("b"),
                exit("b", Reason::Normal),
            ],
        ),
    ]);
    facts
}
