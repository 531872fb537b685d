//! Words to write a scenario by hand so that it reads as a story.

use super::{
    scenario::{
        AutoShutdown, Call, Child, Direct, Nested, New, Op, Out, Outcome, Reason, Restart,
        Scenario, Shutdown, Strategy, Supervisor, Worker,
    },
    valid::{PERIOD_LONG, SLEEP_MS},
};

/// A scenario whose name is the fact that it shows.
pub(super) fn fact<const N: usize>(name: &str, tree: Supervisor, ops: [Op; N]) -> Scenario {
    Scenario {
        seed: 0,
        profile: name.to_owned(),
        tree,
        ops: ops.into(),
    }
}

/// The root: one_for_one unless told otherwise, with restarts to spare.
pub(super) fn root<const N: usize>(strategy: Strategy, children: [Child; N]) -> Supervisor {
    Supervisor {
        id: "root".to_owned(),
        strategy,
        intensity: 5,
        period: PERIOD_LONG,
        auto_shutdown: AutoShutdown::Never,
        children: children.into(),
    }
}

impl Supervisor {
    pub(super) fn intensity(mut self, intensity: u32) -> Self {
        self.intensity = intensity;
        self
    }

    pub(super) fn period(mut self, period: u32) -> Self {
        self.period = period;
        self
    }

    pub(super) fn auto_shutdown(mut self, auto_shutdown: AutoShutdown) -> Self {
        self.auto_shutdown = auto_shutdown;
        self
    }

    /// The same supervisor as a permanent child.
    pub(super) fn nested(mut self, id: &str) -> Child {
        self.id = id.to_owned();
        Child::Supervisor(Nested {
            restart: Restart::Permanent,
            shutdown: Shutdown::Infinity,
            significant: false,
            supervisor: self,
        })
    }
}

/// A permanent worker that starts, traps exits and stops when asked.
pub(super) fn worker(id: &str) -> Child {
    Child::Worker(Worker {
        id: id.to_owned(),
        restart: Restart::Permanent,
        shutdown: Shutdown::Milliseconds(5_000),
        significant: false,
        trap_exit: true,
        stubborn: false,
        init: vec![Outcome::Plain(Out::Ok)],
        on_stop_kill: None,
    })
}

impl Child {
    pub(super) fn transient(self) -> Self {
        self.restarted(Restart::Transient)
    }

    pub(super) fn temporary(self) -> Self {
        self.restarted(Restart::Temporary)
    }

    pub(super) fn restarted(mut self, kind: Restart) -> Self {
        match &mut self {
            Self::Worker(worker) => worker.restart = kind,
            Self::Supervisor(nested) => nested.restart = kind,
        }
        self
    }

    pub(super) fn significant(mut self) -> Self {
        match &mut self {
            Self::Worker(worker) => worker.significant = true,
            Self::Supervisor(nested) => nested.significant = true,
        }
        self
    }

    pub(super) fn shutdown(mut self, how: Shutdown) -> Self {
        match &mut self {
            Self::Worker(worker) => worker.shutdown = how,
            Self::Supervisor(nested) => nested.shutdown = how,
        }
        self
    }

    pub(super) fn no_trap_exit(self) -> Self {
        self.worker(|worker| worker.trap_exit = false)
    }

    pub(super) fn stubborn(self) -> Self {
        self.worker(|worker| {
            worker.stubborn = true;
            worker.shutdown = Shutdown::Milliseconds(20);
        })
    }

    pub(super) fn init<const N: usize>(self, init: [Outcome; N]) -> Self {
        self.worker(|worker| worker.init = init.into())
    }

    pub(super) fn on_stop_kill(self, victim: &str) -> Self {
        self.worker(|worker| worker.on_stop_kill = Some(victim.to_owned()))
    }

    fn worker(mut self, change: impl FnOnce(&mut Worker)) -> Self {
        match &mut self {
            Self::Worker(worker) => change(worker),
            Self::Supervisor(nested) => panic!("{} is no worker", nested.supervisor.id),
        }
        self
    }
}

pub(super) const OK: Outcome = Outcome::Plain(Out::Ok);
pub(super) const ERROR: Outcome = Outcome::Plain(Out::Error);
pub(super) const IGNORE: Outcome = Outcome::Plain(Out::Ignore);

pub(super) fn calls(out: Out, call: Call) -> Outcome {
    Outcome::Call { out, call }
}

pub(super) fn kills(out: Out, victim: &str) -> Outcome {
    Outcome::Kill {
        out,
        kill: victim.to_owned(),
    }
}

pub(super) fn exit(id: &str, reason: Reason) -> Op {
    Op::Direct(Direct::Exit {
        id: id.to_owned(),
        reason,
    })
}

pub(super) fn crash(id: &str) -> Op {
    exit(id, Reason::Crash)
}

pub(super) fn sleep() -> Op {
    Op::Direct(Direct::Sleep { ms: SLEEP_MS })
}

pub(super) fn stop_root() -> Op {
    Op::Direct(Direct::StopRoot)
}

pub(super) fn on(sup: &str, call: Call) -> Op {
    Op::Api {
        sup: sup.to_owned(),
        call,
    }
}

pub(super) fn which(sup: &str) -> Op {
    on(sup, Call::WhichChildren)
}

pub(super) fn count(sup: &str) -> Op {
    on(sup, Call::CountChildren)
}

pub(super) fn start(sup: &str, child: Child) -> Op {
    on(sup, starting(child))
}

pub(super) fn instance(sup: &str, id: &str) -> Op {
    instance_with(sup, id, [OK])
}

pub(super) fn instance_with<const N: usize>(sup: &str, id: &str, init: [Outcome; N]) -> Op {
    let new = New::Args {
        id: id.to_owned(),
        init: init.into(),
    };
    on(sup, Call::StartChild { new })
}

pub(super) fn terminate(sup: &str, id: &str) -> Op {
    on(sup, terminating(id))
}

pub(super) fn restart(sup: &str, id: &str) -> Op {
    on(sup, restarting(id))
}

pub(super) fn delete(sup: &str, id: &str) -> Op {
    on(sup, deleting(id))
}

pub(super) fn childspec(sup: &str, id: &str) -> Op {
    on(sup, Call::GetChildspec { id: id.to_owned() })
}

pub(super) fn starting(child: Child) -> Call {
    let new = New::Child(Box::new(child));
    Call::StartChild { new }
}

pub(super) fn terminating(id: &str) -> Call {
    Call::TerminateChild { id: id.to_owned() }
}

pub(super) fn restarting(id: &str) -> Call {
    Call::RestartChild { id: id.to_owned() }
}

pub(super) fn deleting(id: &str) -> Call {
    Call::DeleteChild { id: id.to_owned() }
}
