//! What the functions of a supervisor's interface answer.

use crate::otp::{
    build::{
        ERROR, IGNORE, OK, childspec, count, crash, delete, exit, fact, restart, root, sleep,
        start, stop_root, terminate, which, worker,
    },
    scenario::{
        AutoShutdown::AnySignificant,
        Reason, Scenario, Shutdown,
        Strategy::{OneForAll, OneForOne, RestForOne},
    },
};

pub(super) fn facts() -> Vec<Scenario> {
    vec![
        fact(
            "which_children_lists_the_latest_first",
            root(
                OneForOne,
                [
                    worker("a"),
                    root(OneForOne, []).nested("s"),
                    worker("b").transient(),
                ],
            ),
            [
                exit("b", Reason::Normal),
                start("root", worker("c")),
                which("root"),
            ],
        ),
        fact(
            "count_children_counts_dead_ones_by_type",
            root(
                OneForOne,
                [
                    worker("a").transient(),
                    root(OneForOne, [worker("b")]).nested("s").transient(),
                    worker("c"),
                ],
            ),
            [
                exit("a", Reason::Normal),
                terminate("root", "s"),
                count("root"),
            ],
        ),
        fact(
            "start_child_adds_a_worker_or_a_supervisor",
            root(OneForAll, [worker("a")]),
            [
                start("root", worker("b")),
                start("root", root(OneForOne, [worker("c")]).nested("s")),
                crash("a"),
            ],
        ),
        fact(
            "start_child_of_a_running_id_is_already_started",
            root(OneForOne, [worker("a")]),
            [
                start("root", worker("a").transient().init([ERROR])),
                crash("a"),
                start("root", worker("a")),
            ],
        ),
        fact(
            "start_child_of_a_stopped_id_is_already_present",
            root(OneForOne, [worker("a").transient()]),
            [
                exit("a", Reason::Normal),
                start("root", worker("a").temporary()),
                childspec("root", "a"),
            ],
        ),
        fact(
            "start_child_that_fails_keeps_nothing_and_counts_nothing",
            root(OneForOne, [worker("a")]).intensity(1),
            [
                start("root", worker("b").init([ERROR, OK])),
                which("root"),
                start("root", worker("b")),
                crash("a"),
            ],
        ),
        fact(
            "start_child_that_is_ignored_keeps_the_spec",
            root(OneForOne, []),
            [
                start("root", worker("a").init([IGNORE, OK])),
                which("root"),
                start("root", worker("a")),
                restart("root", "a"),
            ],
        ),
        fact(
            "start_child_that_is_ignored_and_temporary_keeps_nothing",
            root(OneForOne, []),
            [
                start("root", worker("a").temporary().init([IGNORE, OK])),
                which("root"),
                restart("root", "a"),
            ],
        ),
        fact(
            "start_child_after_delete_child_takes_the_new_spec",
            root(OneForOne, [worker("a")]),
            [
                terminate("root", "a"),
                delete("root", "a"),
                start(
                    "root",
                    worker("a")
                        .temporary()
                        .shutdown(Shutdown::Infinity)
                        .init([ERROR, OK]),
                ),
                childspec("root", "a"),
                crash("a"),
            ],
        ),
        fact(
            "terminate_child_keeps_the_spec",
            root(OneForOne, [worker("a"), worker("b")]).intensity(0),
            [
                terminate("root", "a"),
                which("root"),
                terminate("root", "a"),
                count("root"),
            ],
        ),
        fact(
            "terminate_child_drops_a_temporary_child",
            root(OneForOne, [worker("a").temporary()]),
            [
                terminate("root", "a"),
                which("root"),
                terminate("root", "a"),
            ],
        ),
        fact(
            "terminate_child_of_an_unknown_id_is_not_found",
            root(OneForOne, [worker("a")]),
            [
                terminate("root", "b"),
                restart("root", "b"),
                delete("root", "b"),
                childspec("root", "b"),
            ],
        ),
        fact(
            "terminate_child_stops_a_whole_subtree",
            root(
                OneForOne,
                [
                    root(RestForOne, [worker("a"), worker("b")]).nested("s"),
                    worker("c"),
                ],
            ),
            [
                terminate("root", "s"),
                which("s"),
                crash("a"),
                restart("root", "s"),
                which("s"),
            ],
        ),
        fact(
            "restart_child_of_a_running_child_is_running",
            root(OneForOne, [worker("a")]),
            [
                restart("root", "a"),
                terminate("root", "a"),
                restart("root", "a"),
            ],
        ),
        fact(
            "restart_child_that_fails_leaves_it_undefined_without_a_retry",
            root(OneForOne, [worker("a").init([OK, ERROR, OK])]).intensity(0),
            [
                terminate("root", "a"),
                restart("root", "a"),
                which("root"),
                restart("root", "a"),
            ],
        ),
        fact(
            "restart_child_that_is_ignored_leaves_it_undefined",
            root(OneForOne, [worker("a").init([OK, IGNORE, OK])]),
            [
                terminate("root", "a"),
                restart("root", "a"),
                which("root"),
                restart("root", "a"),
            ],
        ),
        fact(
            "restart_child_of_a_supervisor_that_fails_gives_the_nested_reason",
            root(
                OneForOne,
                [root(OneForOne, [worker("a"), worker("b").init([OK, ERROR, OK])]).nested("s")],
            ),
            [
                terminate("root", "s"),
                restart("root", "s"),
                which("root"),
                restart("root", "s"),
            ],
        ),
        fact(
            "delete_child_needs_a_stopped_child",
            root(OneForOne, [worker("a").transient()]),
            [
                delete("root", "a"),
                exit("a", Reason::Normal),
                delete("root", "a"),
                delete("root", "a"),
            ],
        ),
        fact(
            "get_childspec_gives_the_spec_of_running_and_stopped_children",
            root(
                OneForOne,
                [
                    worker("a")
                        .transient()
                        .significant()
                        .shutdown(Shutdown::BrutalKill),
                    root(OneForOne, []).nested("s").temporary(),
                ],
            )
            .auto_shutdown(AnySignificant),
            [
                childspec("root", "a"),
                terminate("root", "a"),
                childspec("root", "a"),
                childspec("root", "s"),
                terminate("root", "s"),
                childspec("root", "s"),
            ],
        ),
        fact(
            "a_dead_supervisor_is_noproc",
            root(
                OneForOne,
                [root(OneForOne, [worker("a")]).nested("s").temporary()],
            ),
            [
                terminate("root", "s"),
                which("s"),
                start("s", worker("b")),
                exit("a", Reason::Normal),
                exit("nobody", Reason::Kill),
                stop_root(),
                sleep(),
                count("root"),
            ],
        ),
        fact(
            "start_child_refuses_a_significant_permanent_child",
            root(OneForOne, [worker("a")]).auto_shutdown(AnySignificant),
            [start("root", worker("b").significant()), which("root")],
        ),
        fact(
            "start_child_refuses_a_significant_child_without_auto_shutdown",
            root(OneForOne, [worker("a")]),
            [
                start("root", worker("b").transient().significant()),
                which("root"),
            ],
        ),
        fact(
            "start_child_checks_the_spec_before_the_id",
            root(OneForOne, [worker("a")]),
            [
                start("root", worker("a").significant()),
                start("root", worker("a")),
            ],
        ),
        fact(
            "start_child_of_a_supervisor_with_bad_children_fails_to_start",
            root(OneForOne, [worker("a")]),
            [
                start(
                    "root",
                    root(OneForOne, [worker("b"), worker("b")]).nested("s"),
                ),
                start(
                    "root",
                    root(OneForOne, [worker("c").significant()]).nested("t"),
                ),
            ],
        ),
        fact(
            "attempts_are_numbered_over_the_whole_scenario",
            root(
                OneForOne,
                [root(OneForOne, [worker("a").init([OK, OK, ERROR, OK])])
                    .intensity(0)
                    .nested("s")],
            ),
            [
                crash("a"),
                terminate("s", "a"),
                restart("s", "a"),
                restart("s", "a"),
            ],
        ),
    ]
}
