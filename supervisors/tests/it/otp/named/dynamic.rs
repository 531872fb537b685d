//! simple_one_for_one: the interface and the life of instances.

use crate::otp::{
    build::{
        ERROR, IGNORE, OK, childspec, count, crash, delete, exit, fact, instance, instance_with,
        restart, root, terminate, which, worker,
    },
    scenario::{
        Reason, Scenario, Shutdown,
        Strategy::{OneForOne, SimpleOneForOne},
    },
};

pub(super) fn facts() -> Vec<Scenario> {
    vec![
        fact(
            "instances_are_listed_and_counted",
            root(SimpleOneForOne, [worker("t")]),
            [
                instance("root", "i2"),
                instance("root", "i1"),
                which("root"),
                count("root"),
            ],
        ),
        fact(
            "a_template_is_not_addressed_by_its_id",
            root(SimpleOneForOne, [worker("t")]),
            [
                instance("root", "i1"),
                terminate("root", "t"),
                restart("root", "t"),
                delete("root", "t"),
            ],
        ),
        fact(
            "instances_can_be_terminated_but_not_restarted_or_deleted",
            root(SimpleOneForOne, [worker("t")]),
            [
                instance("root", "i1"),
                restart("root", "i1"),
                delete("root", "i1"),
                terminate("root", "i1"),
                restart("root", "i1"),
                which("root"),
            ],
        ),
        fact(
            "terminating_a_dead_instance_is_ok",
            root(SimpleOneForOne, [worker("t").temporary()]),
            [
                instance("root", "i1"),
                crash("i1"),
                terminate("root", "i1"),
                which("root"),
            ],
        ),
        fact(
            "an_instance_that_never_ran_is_unknown",
            root(SimpleOneForOne, [worker("t")]),
            [
                instance_with("root", "i1", [ERROR]),
                instance_with("root", "i2", [IGNORE]),
                terminate("root", "i1"),
                childspec("root", "i2"),
            ],
        ),
        fact(
            "the_spec_of_any_instance_is_the_templates",
            root(
                SimpleOneForOne,
                [worker("t").transient().shutdown(Shutdown::Infinity)],
            ),
            [
                instance("root", "i1"),
                childspec("root", "t"),
                childspec("root", "i1"),
                exit("i1", Reason::Normal),
                childspec("root", "i1"),
            ],
        ),
        fact(
            "a_failed_or_ignored_instance_is_not_stored",
            root(SimpleOneForOne, [worker("t")]),
            [
                instance_with("root", "i1", [ERROR]),
                instance_with("root", "i2", [IGNORE]),
                which("root"),
                count("root"),
            ],
        ),
        fact(
            "an_instance_that_ends_normally_is_dropped",
            root(SimpleOneForOne, [worker("t").transient()]),
            [
                instance("root", "i1"),
                instance("root", "i2"),
                exit("i1", Reason::Normal),
                which("root"),
            ],
        ),
        fact(
            "instances_share_one_count_of_restarts",
            root(SimpleOneForOne, [worker("t")]).intensity(2),
            [
                instance("root", "i1"),
                instance("root", "i2"),
                crash("i1"),
                crash("i2"),
                crash("i1"),
            ],
        ),
        fact(
            "a_restarted_dynamic_supervisor_is_empty",
            root(
                OneForOne,
                [root(SimpleOneForOne, [worker("t")])
                    .intensity(0)
                    .nested("s")],
            ),
            [
                instance("s", "i1"),
                instance("s", "i2"),
                crash("i1"),
                which("s"),
                terminate("s", "i2"),
                childspec("s", "i2"),
            ],
        ),
        fact(
            "an_instance_keeps_its_arguments_over_restarts",
            root(SimpleOneForOne, [worker("t")]),
            [
                instance_with("root", "i1", [OK, ERROR, ERROR, OK]),
                crash("i1"),
                which("root"),
            ],
        ),
        fact(
            "stubborn_instances_are_killed",
            root(SimpleOneForOne, [worker("t").stubborn().temporary()]),
            [
                instance("root", "i1"),
                instance("root", "i2"),
                terminate("root", "i1"),
                which("root"),
            ],
        ),
    ]
}
