//! How a supervisor starts: in order, synchronously, all or nothing.

use crate::otp::{
    build::{
        ERROR, IGNORE, OK, count, crash, exit, fact, restart, root, start, stop_root, which, worker,
    },
    scenario::{
        Reason, Scenario, Shutdown,
        Strategy::{OneForAll, OneForOne, RestForOne, SimpleOneForOne},
    },
};

pub(super) fn facts() -> Vec<Scenario> {
    vec![
        fact(
            "children_start_in_order_and_stop_in_reverse",
            root(OneForOne, [worker("a"), worker("b"), worker("c")]),
            [which("root"), stop_root()],
        ),
        fact(
            "a_supervisor_without_children_runs",
            root(OneForAll, []),
            [which("root"), count("root")],
        ),
        fact(
            "nested_supervisors_start_their_children_before_the_next_sibling",
            root(
                OneForOne,
                [
                    root(
                        OneForOne,
                        [worker("a"), root(RestForOne, [worker("b")]).nested("inner")],
                    )
                    .nested("outer"),
                    worker("c"),
                ],
            ),
            [stop_root()],
        ),
        fact(
            "a_failed_start_stops_the_started_ones_in_reverse",
            root(
                OneForOne,
                [
                    worker("a"),
                    worker("b"),
                    worker("c").init([ERROR]),
                    worker("d"),
                ],
            ),
            [which("root")],
        ),
        fact(
            "a_failed_start_is_not_retried_at_init",
            root(OneForOne, [worker("a").init([ERROR, OK])]),
            [crash("a"), stop_root()],
        ),
        fact(
            "a_failed_start_nests_its_reason",
            root(
                OneForOne,
                [
                    worker("a"),
                    root(
                        OneForAll,
                        [root(RestForOne, [worker("b").init([ERROR])]).nested("inner")],
                    )
                    .nested("outer"),
                ],
            ),
            [],
        ),
        fact(
            "a_failed_start_kills_stubborn_siblings",
            root(
                OneForOne,
                [
                    worker("a").stubborn(),
                    worker("b").no_trap_exit(),
                    worker("c").init([ERROR]),
                ],
            ),
            [],
        ),
        fact(
            "an_ignored_start_keeps_the_spec",
            root(OneForOne, [worker("a").init([IGNORE, OK]), worker("b")]),
            [which("root"), count("root"), restart("root", "a")],
        ),
        fact(
            "an_ignored_temporary_start_drops_the_spec",
            root(
                OneForOne,
                [worker("a").temporary().init([IGNORE]), worker("b")],
            ),
            [which("root"), count("root"), restart("root", "a")],
        ),
        fact(
            "a_dynamic_supervisor_starts_without_children",
            root(SimpleOneForOne, [worker("t").init([ERROR])]),
            [which("root"), count("root")],
        ),
        fact(
            "start_child_of_a_supervisor_that_fails_keeps_nothing",
            root(OneForOne, [worker("a")]),
            [
                start(
                    "root",
                    root(OneForOne, [worker("b"), worker("c").init([ERROR])]).nested("s"),
                ),
                which("root"),
                start(
                    "root",
                    root(OneForOne, [worker("b"), worker("c")]).nested("s"),
                ),
            ],
        ),
        fact(
            "bad_specs_are_refused_before_any_child_starts",
            root(OneForOne, [worker("a"), worker("b").significant()]),
            [],
        ),
        fact(
            "two_children_with_one_id_are_refused",
            root(OneForOne, [worker("a"), worker("a")]),
            [],
        ),
        fact(
            "a_bad_nested_spec_fails_the_parents_start",
            root(
                OneForOne,
                [
                    worker("a"),
                    root(OneForAll, [worker("b"), worker("c"), worker("b")]).nested("s"),
                ],
            ),
            [],
        ),
        fact(
            "a_bad_template_is_refused",
            root(
                OneForOne,
                [
                    worker("a"),
                    root(SimpleOneForOne, [worker("t").transient().significant()]).nested("s"),
                ],
            ),
            [],
        ),
        fact(
            "a_killed_child_of_any_shutdown_is_gone_at_once",
            root(
                OneForOne,
                [
                    worker("a").shutdown(Shutdown::Infinity),
                    worker("b").shutdown(Shutdown::BrutalKill),
                ],
            ),
            [exit("a", Reason::Kill), exit("b", Reason::Kill)],
        ),
    ]
}
