//! Calls that wait in a supervisor's queue while it starts a child: they see what lies between two attempts.

use crate::otp::{
    build::{
        ERROR, IGNORE, OK, calls, crash, deleting, fact, instance, instance_with, restarting, root,
        start, starting, terminating, which, worker,
    },
    scenario::{
        Call, Out, Scenario,
        Strategy::{OneForAll, OneForOne, RestForOne, SimpleOneForOne},
    },
};

pub(super) fn facts() -> Vec<Scenario> {
    let failing_call = |call: Call| {
        root(
            OneForOne,
            [
                worker("a"),
                worker("b").init([OK, calls(Out::Error, call), OK]),
                worker("c"),
            ],
        )
    };
    vec![
        fact(
            "a_failed_restart_shows_as_restarting",
            failing_call(Call::WhichChildren),
            [crash("b"), which("root")],
        ),
        fact(
            "a_restarting_child_is_not_active",
            failing_call(Call::CountChildren),
            [crash("b")],
        ),
        fact(
            "terminate_child_ends_the_retries",
            failing_call(terminating("b")),
            [crash("b"), which("root")],
        ),
        fact(
            "restart_child_of_a_restarting_child_is_refused",
            failing_call(restarting("b")),
            [crash("b")],
        ),
        fact(
            "delete_child_of_a_restarting_child_is_refused",
            failing_call(deleting("b")),
            [crash("b")],
        ),
        fact(
            "start_child_of_a_restarting_id_is_already_present",
            failing_call(starting(worker("b"))),
            [crash("b")],
        ),
        fact(
            "start_child_gets_in_between_two_attempts",
            failing_call(starting(worker("d"))),
            [crash("b"), which("root")],
        ),
        fact(
            "one_for_all_keeps_running_siblings_up_between_two_attempts",
            root(
                OneForAll,
                [
                    worker("a"),
                    worker("b").init([OK, calls(Out::Error, Call::WhichChildren), OK]),
                    worker("c"),
                ],
            ),
            [crash("c")],
        ),
        fact(
            "rest_for_one_leaves_later_children_undefined_between_two_attempts",
            root(
                RestForOne,
                [
                    worker("a"),
                    worker("b").init([OK, calls(Out::Error, Call::WhichChildren), OK]),
                    worker("c"),
                ],
            ),
            [crash("b")],
        ),
        fact(
            "terminating_the_failed_child_leaves_the_rest_of_the_group_stopped",
            root(
                RestForOne,
                [
                    worker("a"),
                    worker("b").init([OK, calls(Out::Error, terminating("b")), OK]),
                    worker("c"),
                ],
            ),
            [crash("a"), which("root"), crash("a")],
        ),
        fact(
            "a_call_during_the_start_is_answered_after_it",
            root(
                OneForOne,
                [
                    worker("a").init([calls(Out::Ok, Call::WhichChildren)]),
                    worker("b"),
                ],
            ),
            [],
        ),
        fact(
            "a_call_to_a_supervisor_that_fails_to_start_is_noproc",
            root(
                OneForOne,
                [
                    worker("a").init([calls(Out::Ok, Call::WhichChildren)]),
                    worker("b").init([ERROR]),
                ],
            ),
            [],
        ),
        fact(
            "a_worker_can_have_itself_terminated",
            root(
                OneForOne,
                [worker("a").init([calls(Out::Ok, terminating("a"))])],
            ),
            [which("root")],
        ),
        fact(
            "an_ignored_worker_can_have_itself_restarted",
            root(
                OneForOne,
                [worker("a").init([calls(Out::Ignore, restarting("a")), IGNORE, OK])],
            ),
            [which("root")],
        ),
        fact(
            "a_worker_can_have_a_sibling_started",
            root(RestForOne, [worker("a"), worker("b")]),
            [
                start(
                    "root",
                    worker("c").init([calls(Out::Error, starting(worker("d")))]),
                ),
                which("root"),
            ],
        ),
        fact(
            "a_restarting_instance_is_listed_without_a_process",
            root(SimpleOneForOne, [worker("t")]),
            [
                instance("root", "i1"),
                instance_with(
                    "root",
                    "i2",
                    [OK, calls(Out::Error, Call::WhichChildren), OK],
                ),
                crash("i2"),
            ],
        ),
        fact(
            "a_restarting_instance_is_not_active",
            root(SimpleOneForOne, [worker("t")]),
            [
                instance("root", "i1"),
                instance_with(
                    "root",
                    "i2",
                    [OK, calls(Out::Error, Call::CountChildren), OK],
                ),
                crash("i2"),
            ],
        ),
        fact(
            "terminating_a_restarting_instance_ends_the_retries",
            root(SimpleOneForOne, [worker("t")]),
            [
                instance_with("root", "i1", [OK, calls(Out::Error, terminating("i1")), OK]),
                crash("i1"),
                which("root"),
            ],
        ),
    ]
}
