//! What is restarted together, how often, and what happens when a restart fails.

use crate::otp::{
    build::{
        ERROR, IGNORE, OK, count, crash, delete, exit, fact, instance, instance_with, restart,
        root, sleep, start, terminate, which, worker,
    },
    scenario::{
        Reason, Scenario,
        Strategy::{OneForAll, OneForOne, RestForOne, SimpleOneForOne},
    },
};

pub(super) fn facts() -> Vec<Scenario> {
    vec![
        fact(
            "one_for_one_restarts_in_place",
            root(OneForOne, [worker("a"), worker("b"), worker("c")]),
            [crash("b"), which("root")],
        ),
        fact(
            "one_for_all_stops_in_reverse_and_starts_all",
            root(OneForAll, [worker("a"), worker("b"), worker("c")]),
            [crash("b"), exit("a", Reason::Normal)],
        ),
        fact(
            "one_for_all_restarts_children_that_were_terminated",
            root(
                OneForAll,
                [worker("a"), worker("b").transient(), worker("c")],
            ),
            [
                terminate("root", "a"),
                exit("b", Reason::Normal),
                crash("c"),
                which("root"),
            ],
        ),
        fact(
            "one_for_all_drops_temporary_siblings",
            root(
                OneForAll,
                [
                    worker("a").temporary(),
                    worker("b"),
                    worker("c").temporary(),
                ],
            ),
            [crash("b"), which("root"), count("root")],
        ),
        fact(
            "one_for_all_starts_again_what_was_ignored",
            root(
                OneForAll,
                [
                    worker("a").init([IGNORE, OK]),
                    worker("b").init([OK, IGNORE, OK]),
                ],
            ),
            [crash("b"), exit("a", Reason::Crash)],
        ),
        fact(
            "rest_for_one_restarts_the_later_children_alone",
            root(
                RestForOne,
                [worker("a"), worker("b"), worker("c"), worker("d")],
            ),
            [crash("b"), crash("d"), crash("a")],
        ),
        fact(
            "rest_for_one_restarts_a_normally_exited_transient_sibling",
            root(
                RestForOne,
                [worker("a"), worker("b"), worker("c").transient()],
            ),
            [exit("c", Reason::Normal), crash("a"), which("root")],
        ),
        fact(
            "rest_for_one_leaves_an_earlier_stopped_child_alone",
            root(
                RestForOne,
                [worker("a").transient(), worker("b"), worker("c")],
            ),
            [exit("a", Reason::Normal), crash("b"), which("root")],
        ),
        fact(
            "rest_for_one_drops_later_temporary_children",
            root(
                RestForOne,
                [
                    worker("a").temporary(),
                    worker("b"),
                    worker("c").temporary(),
                    worker("d"),
                ],
            ),
            [crash("b"), which("root")],
        ),
        fact(
            "a_child_added_later_is_last_in_the_order",
            root(RestForOne, [worker("a"), worker("b")]),
            [
                start("root", worker("c")),
                start("root", worker("d").temporary()),
                crash("b"),
                crash("a"),
            ],
        ),
        fact(
            "a_restarted_child_keeps_its_place_in_the_order",
            root(RestForOne, [worker("a"), worker("b"), worker("c")]),
            [terminate("root", "a"), restart("root", "a"), crash("b")],
        ),
        fact(
            "a_deleted_and_added_child_is_last_in_the_order",
            root(RestForOne, [worker("a"), worker("b")]),
            [
                terminate("root", "a"),
                delete("root", "a"),
                start("root", worker("a")),
                crash("b"),
            ],
        ),
        fact(
            "intensity_zero_gives_up_at_the_first_restart",
            root(OneForOne, [worker("a"), worker("b")]).intensity(0),
            [crash("a")],
        ),
        fact(
            "the_restart_beyond_the_intensity_is_not_performed",
            root(OneForOne, [worker("a"), worker("b")]).intensity(2),
            [crash("a"), crash("a"), crash("a")],
        ),
        fact(
            "restarts_are_counted_for_all_children_together",
            root(OneForOne, [worker("a"), worker("b"), worker("c")]).intensity(2),
            [crash("a"), crash("b"), crash("c")],
        ),
        fact(
            "a_group_restart_counts_once",
            root(OneForAll, [worker("a"), worker("b"), worker("c")]).intensity(2),
            [crash("a"), crash("b"), crash("c")],
        ),
        fact(
            "a_normal_end_of_a_permanent_child_counts",
            root(OneForOne, [worker("a")]).intensity(1),
            [exit("a", Reason::Normal), exit("a", Reason::Shutdown)],
        ),
        fact(
            "restarts_are_forgotten_after_the_period",
            root(OneForOne, [worker("a")]).intensity(1).period(1),
            [
                crash("a"),
                sleep(),
                crash("a"),
                sleep(),
                crash("a"),
                crash("a"),
            ],
        ),
        fact(
            "the_period_is_a_window_not_a_quiet_gap",
            root(OneForOne, [worker("a"), worker("b")])
                .intensity(2)
                .period(1),
            [
                crash("a"),
                crash("b"),
                sleep(),
                crash("a"),
                crash("b"),
                crash("a"),
            ],
        ),
        fact(
            "restart_child_does_not_count",
            root(OneForOne, [worker("a")]).intensity(1),
            [
                terminate("root", "a"),
                restart("root", "a"),
                terminate("root", "a"),
                restart("root", "a"),
                crash("a"),
                which("root"),
            ],
        ),
        fact(
            "a_failed_restart_is_retried_at_once",
            root(
                OneForOne,
                [
                    worker("a"),
                    worker("b").init([OK, ERROR, ERROR, OK]),
                    worker("c"),
                ],
            ),
            [crash("b"), which("root")],
        ),
        fact(
            "every_retry_counts",
            root(OneForOne, [worker("a"), worker("b").init([OK, ERROR])]).intensity(3),
            [crash("b")],
        ),
        fact(
            "one_for_all_retries_by_starting_all_again",
            root(
                OneForAll,
                [worker("a"), worker("b").init([OK, ERROR, OK]), worker("c")],
            ),
            [crash("c")],
        ),
        fact(
            "one_for_all_gives_up_with_what_runs_stopped_in_reverse",
            root(
                OneForAll,
                [worker("a"), worker("b"), worker("c").init([OK, ERROR])],
            )
            .intensity(2),
            [crash("a")],
        ),
        fact(
            "rest_for_one_retries_from_the_child_that_failed",
            root(
                RestForOne,
                [
                    worker("a"),
                    worker("b"),
                    worker("c").init([OK, ERROR, ERROR, OK]),
                    worker("d"),
                ],
            ),
            [crash("b")],
        ),
        fact(
            "an_ignored_restart_leaves_the_child_undefined",
            root(OneForOne, [worker("a").init([OK, IGNORE, OK]), worker("b")]),
            [crash("a"), which("root"), restart("root", "a")],
        ),
        fact(
            "an_ignored_restart_of_a_group_leaves_the_child_undefined",
            root(
                RestForOne,
                [worker("a"), worker("b").init([OK, IGNORE, OK]), worker("c")],
            ),
            [crash("a"), crash("a")],
        ),
        fact(
            "a_supervisor_that_gives_up_is_restarted_when_permanent",
            root(
                OneForOne,
                [
                    worker("a"),
                    root(OneForOne, [worker("b"), worker("c")])
                        .intensity(0)
                        .nested("s"),
                ],
            ),
            [crash("b"), which("s")],
        ),
        fact(
            "a_supervisor_that_gives_up_is_not_restarted_when_transient",
            root(
                OneForOne,
                [
                    worker("a"),
                    root(OneForOne, [worker("b"), worker("c")])
                        .intensity(0)
                        .nested("s")
                        .transient(),
                ],
            ),
            [crash("b"), which("root"), which("s"), restart("root", "s")],
        ),
        fact(
            "a_supervisor_that_gives_up_is_dropped_when_temporary",
            root(
                OneForOne,
                [
                    worker("a"),
                    root(OneForOne, [worker("b")])
                        .intensity(0)
                        .nested("s")
                        .temporary(),
                ],
            ),
            [crash("b"), which("root"), restart("root", "s")],
        ),
        fact(
            "giving_up_escalates_to_the_root",
            root(
                OneForAll,
                [
                    worker("a"),
                    root(
                        RestForOne,
                        [
                            worker("b"),
                            root(OneForOne, [worker("c")]).intensity(0).nested("inner"),
                        ],
                    )
                    .intensity(1)
                    .nested("outer"),
                ],
            )
            .intensity(1),
            [crash("c"), crash("c"), crash("c"), crash("c")],
        ),
        fact(
            "a_restarted_supervisor_forgets_added_children_and_restarts",
            root(
                OneForOne,
                [root(OneForOne, [worker("a")]).intensity(1).nested("s")],
            ),
            [
                start("s", worker("b")),
                crash("a"),
                crash("b"),
                which("s"),
                crash("a"),
                which("s"),
            ],
        ),
        fact(
            "a_restarted_supervisor_brings_deleted_children_back",
            root(
                OneForOne,
                [root(OneForOne, [worker("a"), worker("b")])
                    .intensity(0)
                    .nested("s")],
            ),
            [
                terminate("s", "a"),
                delete("s", "a"),
                crash("b"),
                which("s"),
            ],
        ),
        fact(
            "a_nested_start_that_fails_during_a_restart_is_retried",
            root(
                OneForOne,
                [
                    worker("a"),
                    root(OneForOne, [worker("b").init([OK, ERROR, OK]), worker("c")])
                        .intensity(0)
                        .nested("s"),
                ],
            ),
            [crash("c")],
        ),
        fact(
            "a_restarted_instance_uses_its_own_arguments",
            root(SimpleOneForOne, [worker("t")]),
            [
                instance("root", "i1"),
                instance_with("root", "i2", [OK, ERROR, OK]),
                crash("i2"),
                crash("i1"),
            ],
        ),
        fact(
            "failing_instances_make_a_dynamic_supervisor_give_up",
            root(
                OneForOne,
                [root(SimpleOneForOne, [worker("t").transient()])
                    .intensity(2)
                    .nested("s")],
            ),
            [
                instance("s", "i1"),
                instance_with("s", "i2", [OK, ERROR]),
                crash("i2"),
                which("s"),
            ],
        ),
    ]
}
