//! How children are stopped.

use crate::otp::{
    build::{
        ERROR, OK, crash, exit, fact, instance, kills, root, start, stop_root, terminate, which,
        worker,
    },
    scenario::{
        Out, Reason, Scenario, Shutdown,
        Strategy::{OneForAll, OneForOne, RestForOne, SimpleOneForOne},
    },
};

pub(super) fn facts() -> Vec<Scenario> {
    vec![
        fact(
            "a_worker_that_traps_exits_runs_its_hook_with_shutdown",
            root(
                OneForOne,
                [worker("a"), worker("b").shutdown(Shutdown::Infinity)],
            ),
            [stop_root()],
        ),
        fact(
            "a_worker_that_does_not_trap_exits_dies_of_shutdown_without_a_hook",
            root(OneForOne, [worker("a").no_trap_exit()]),
            [stop_root()],
        ),
        fact(
            "brutal_kill_runs_no_hook",
            root(
                OneForOne,
                [worker("a").shutdown(Shutdown::BrutalKill), worker("b")],
            ),
            [terminate("root", "a"), stop_root()],
        ),
        fact(
            "a_stubborn_worker_is_killed_after_its_timeout",
            root(
                OneForOne,
                [worker("a"), worker("b").stubborn(), worker("c")],
            ),
            [terminate("root", "b"), which("root"), stop_root()],
        ),
        fact(
            "a_stubborn_sibling_is_killed_and_restarted_by_one_for_all",
            root(OneForAll, [worker("a").stubborn(), worker("b")]),
            [crash("b"), crash("a")],
        ),
        fact(
            "a_stubborn_worker_that_ends_by_itself_runs_its_hook",
            root(OneForOne, [worker("a").stubborn()]),
            [exit("a", Reason::Normal), crash("a")],
        ),
        fact(
            "a_stubborn_worker_is_killed_by_brutal_kill",
            root(
                OneForOne,
                [worker("a").stubborn().shutdown(Shutdown::BrutalKill)],
            ),
            [terminate("root", "a"), stop_root()],
        ),
        fact(
            "nested_supervisors_stop_inside_out_in_reverse_order",
            root(
                OneForOne,
                [
                    worker("a"),
                    root(RestForOne, [worker("b"), worker("c")]).nested("s"),
                    root(OneForAll, [worker("d"), worker("e")]).nested("t"),
                ],
            ),
            [stop_root()],
        ),
        fact(
            "instances_are_all_told_before_any_is_waited_for",
            root(SimpleOneForOne, [worker("t").stubborn()]),
            [
                instance("root", "i1"),
                instance("root", "i2"),
                instance("root", "i3"),
                stop_root(),
            ],
        ),
        fact(
            "instances_stop_when_their_supervisor_is_stopped",
            root(
                OneForOne,
                [
                    worker("a"),
                    root(SimpleOneForOne, [worker("t")]).nested("s"),
                ],
            ),
            [
                instance("s", "i1"),
                instance("s", "i2"),
                terminate("root", "s"),
                which("root"),
            ],
        ),
        fact(
            "brutally_killed_instances_run_no_hook",
            root(
                SimpleOneForOne,
                [worker("t").shutdown(Shutdown::BrutalKill)],
            ),
            [instance("root", "i1"), instance("root", "i2"), stop_root()],
        ),
        fact(
            "a_sibling_found_dead_while_stopping_is_no_failure",
            root(
                OneForOne,
                [worker("a"), worker("b"), worker("c").on_stop_kill("a")],
            ),
            [stop_root()],
        ),
        fact(
            "a_sibling_killed_during_a_group_restart_is_restarted_with_the_group",
            root(
                OneForAll,
                [worker("a"), worker("b"), worker("c").on_stop_kill("a")],
            )
            .intensity(1),
            [crash("b"), which("root")],
        ),
        fact(
            "an_earlier_sibling_killed_during_a_rest_restart_is_restarted_afterwards",
            root(
                RestForOne,
                [worker("a"), worker("b"), worker("c").on_stop_kill("a")],
            )
            .intensity(2),
            [crash("b"), which("root")],
        ),
        fact(
            "a_sibling_killed_by_a_starting_worker_is_handled_after_the_start",
            root(
                OneForOne,
                [
                    worker("a"),
                    worker("b").init([OK, kills(Out::Ok, "a")]),
                    worker("c"),
                ],
            ),
            [crash("b"), which("root")],
        ),
        fact(
            "a_sibling_killed_by_a_failing_start_is_handled_before_the_retry",
            root(
                OneForAll,
                [
                    worker("a"),
                    worker("b").init([OK, kills(Out::Error, "a"), OK]),
                ],
            )
            .intensity(4),
            [crash("b"), which("root")],
        ),
        fact(
            "start_child_answers_before_the_killed_sibling_is_handled",
            root(OneForOne, [worker("a")]).intensity(0),
            [start("root", worker("b").init([kills(Out::Ok, "a")]))],
        ),
        fact(
            "the_orphans_of_a_killed_supervisor_die_killed",
            root(
                OneForOne,
                [
                    worker("a"),
                    root(OneForOne, [worker("b"), worker("c").no_trap_exit()]).nested("s"),
                ],
            ),
            [exit("s", Reason::Kill), which("s"), crash("b")],
        ),
        fact(
            "a_killed_transient_supervisor_is_restarted",
            root(
                OneForOne,
                [root(OneForOne, [worker("b")]).nested("s").transient()],
            ),
            [exit("s", Reason::Kill), which("root")],
        ),
        fact(
            "a_supervisor_with_brutal_kill_leaves_orphans",
            root(
                OneForOne,
                [
                    worker("a"),
                    root(OneForOne, [worker("b"), worker("c")])
                        .nested("s")
                        .shutdown(Shutdown::BrutalKill),
                ],
            ),
            [terminate("root", "s"), which("root"), stop_root()],
        ),
        fact(
            "a_brutally_killed_supervisor_is_restarted_with_its_group",
            root(
                OneForAll,
                [
                    worker("a"),
                    root(SimpleOneForOne, [worker("t")])
                        .nested("s")
                        .shutdown(Shutdown::BrutalKill),
                ],
            ),
            [instance("s", "i1"), crash("a"), which("s")],
        ),
        fact(
            "a_killed_root_leaves_nothing",
            root(OneForOne, [worker("a"), worker("b").no_trap_exit()]),
            [exit("root", Reason::Kill), which("root")],
        ),
        fact(
            "the_root_stops_with_shutdown_even_if_a_child_was_failing",
            root(OneForOne, [worker("a").init([OK, ERROR, OK])]),
            [crash("a"), stop_root(), stop_root()],
        ),
    ]
}
