//! Random scenarios, each from its seed alone.
//!
//! The generator knows which ids exist, so that most operations hit something, and mostly avoids what `valid`
//! refuses; what it does not avoid is drawn again.

mod outcomes;

use fastrand::Rng;

use super::{
    scenario::{
        AutoShutdown, Call, Child, Direct, Nested, New, Op, Out, Outcome, Reason, Restart,
        Scenario, Shutdown, Strategy, Supervisor, Worker,
    },
    valid::{self, PERIOD_LONG, PERIOD_SHORT, SLEEP_MS, STUBBORN_MS_MAX, STUBBORN_MS_MIN},
};

const DEPTH_MAX: u32 = 3;
const CHILDREN_MAX: usize = 4;
const OPS_MAX: usize = 14;
/// Sleeps cost real time on OTP's side.
const SLEEPS_MAX: usize = 3;
/// Draws per seed; nearly always the first one is valid.
const DRAWS_MAX: u64 = 1_000;

/// The scenario of a seed, always the same.
pub(super) fn generate(seed: u64) -> Scenario {
    (0..DRAWS_MAX)
        .map(|draw| Generator::new(seed, draw).scenario())
        .find(|scenario| valid::valid(scenario).is_ok())
        .unwrap_or_else(|| panic!("seed {seed} gave nothing valid in {DRAWS_MAX} draws"))
}

/// Which optional features a scenario uses.
#[derive(Clone, Copy)]
struct Features {
    call: bool,
    kill: bool,
    killsup: bool,
    invalid: bool,
    sleep: bool,
}

/// A supervisor that some operation may address.
struct Known {
    id: String,
    simple: bool,
    killable: bool,
    auto_shutdown: AutoShutdown,
    /// Ids that it has, had or may have: children, instances, the template.
    ids: Vec<String>,
}

struct Generator {
    seed: u64,
    rng: Rng,
    features: Features,
    next: u32,
    known: Vec<Known>,
    workers: Vec<String>,
    /// How many workers there were before the first operation.
    early: usize,
}

impl Generator {
    fn new(seed: u64, draw: u64) -> Self {
        let mut rng = Rng::with_seed(seed.wrapping_mul(DRAWS_MAX).wrapping_add(draw));
        let mut one_in = |n: u32| rng.u32(0..n) == 0;
        let kill = one_in(7);
        let features = Features {
            call: one_in(4),
            kill,
            killsup: !kill && one_in(6),
            invalid: one_in(8),
            sleep: one_in(12),
        };
        Self {
            seed,
            rng,
            features,
            next: 0,
            known: Vec::new(),
            workers: Vec::new(),
            early: 0,
        }
    }

    fn scenario(mut self) -> Scenario {
        let root_is_killed = self.features.killsup && self.one_in(6);
        let mut tree = self.supervisor("root".to_owned(), 1, root_is_killed);
        self.kills(&mut tree);
        let count = self.rng.usize(2..=OPS_MAX);
        let mut ops = self.seeding_ops();
        self.early = self.workers.len();
        let sleep = Op::Direct(Direct::Sleep { ms: SLEEP_MS });
        for _ in 0..count {
            let slept = ops.iter().filter(|op| **op == sleep).count();
            let sleepy = self.features.sleep && slept < SLEEPS_MAX && self.one_in(5);
            ops.push(if sleepy { sleep.clone() } else { self.op() });
        }
        let profile = [
            (self.features.call, "call"),
            (self.features.kill, "kill"),
            (self.features.killsup, "killsup"),
            (self.features.invalid, "invalid"),
            (self.features.sleep, "sleep"),
        ];
        let profile: Vec<&str> = profile
            .iter()
            .filter(|(on, _)| *on)
            .map(|(_, name)| *name)
            .collect();
        Scenario {
            seed: self.seed,
            profile: profile.join("+"),
            tree,
            ops,
        }
    }

    fn one_in(&mut self, n: u32) -> bool {
        self.rng.u32(0..n) == 0
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.rng.usize(0..of.len())]
    }

    fn new_id(&mut self, prefix: &str) -> String {
        self.next += 1;
        format!("{prefix}{}", self.next)
    }

    // Trees.

    fn supervisor(&mut self, id: String, depth: u32, killable: bool) -> Supervisor {
        use Strategy::{OneForAll, OneForOne, RestForOne, SimpleOneForOne};
        let strategy = self.pick(&[
            OneForOne,
            OneForOne,
            OneForAll,
            OneForAll,
            RestForOne,
            RestForOne,
            SimpleOneForOne,
        ]);
        // Without the root nothing happens any more: it mostly lasts a little longer.
        let lasting = id == "root" && !self.one_in(3);
        let auto_shutdown = match self.rng.u32(0..if lasting { 8 } else { 4 }) {
            0 => AutoShutdown::AnySignificant,
            1 => AutoShutdown::AllSignificant,
            _ => AutoShutdown::Never,
        };
        let simple = strategy == SimpleOneForOne;
        self.known.push(Known {
            id: id.clone(),
            simple,
            killable,
            auto_shutdown,
            ids: Vec::new(),
        });
        let me = self.known.len() - 1;
        let mut children = Vec::new();
        if simple {
            let template = self.new_id("t");
            self.known[me].ids.push(template.clone());
            let mut template = self.worker(template, me);
            template.init = vec![Outcome::Plain(Out::Ok)];
            children.push(Child::Worker(template));
        } else {
            let empty = self.one_in(12);
            for _ in 0..if empty {
                0
            } else {
                self.rng.usize(1..=CHILDREN_MAX)
            } {
                children.push(self.child(me, depth));
            }
            if self.features.invalid && children.len() > 1 && self.one_in(12) {
                let copy = children[0].clone();
                children.push(copy);
            }
        }
        let short = self.features.sleep && !self.one_in(5);
        Supervisor {
            id,
            strategy,
            intensity: if short {
                self.pick(&[1, 1, 2, 2, 3])
            } else if lasting {
                self.pick(&[3, 5, 8, 12])
            } else {
                self.pick(&[0, 1, 1, 2, 2, 3, 4])
            },
            period: if short { PERIOD_SHORT } else { PERIOD_LONG },
            auto_shutdown,
            children,
        }
    }

    fn child(&mut self, of: usize, depth: u32) -> Child {
        let may_nest = depth < DEPTH_MAX && !self.known[of].killable;
        if may_nest && self.one_in(3) {
            let id = self.new_id("s");
            self.known[of].ids.push(id.clone());
            Child::Supervisor(self.nested(id, of, depth))
        } else {
            let id = self.new_id("w");
            self.known[of].ids.push(id.clone());
            self.workers.push(id.clone());
            Child::Worker(self.worker(id, of))
        }
    }

    fn nested(&mut self, id: String, of: usize, depth: u32) -> Nested {
        let killable = self.features.killsup && self.one_in(2);
        let restart = self.restart();
        let shutdown = match self.rng.u32(0..6) {
            0 | 1 if killable => Shutdown::BrutalKill,
            2 => Shutdown::Milliseconds(60_000),
            _ => Shutdown::Infinity,
        };
        Nested {
            restart,
            shutdown,
            significant: self.significant(restart, of),
            supervisor: self.supervisor(id, depth + 1, killable),
        }
    }

    fn worker(&mut self, id: String, of: usize) -> Worker {
        let restart = self.restart();
        let mut shutdown = self.pick(&[
            Shutdown::Milliseconds(5_000),
            Shutdown::Milliseconds(10_000),
            Shutdown::Infinity,
            Shutdown::BrutalKill,
        ]);
        let mut trap_exit = !self.one_in(4);
        // Waiting for them and short periods exclude each other; so do they and a killed supervisor.
        let stubborn = !self.known[of].killable && self.one_in(14);
        if stubborn {
            trap_exit = true;
            if shutdown != Shutdown::BrutalKill {
                shutdown = if self.features.sleep {
                    Shutdown::BrutalKill
                } else {
                    Shutdown::Milliseconds(self.rng.u32(STUBBORN_MS_MIN..=STUBBORN_MS_MAX))
                };
            }
        }
        let init = self.init(of, &id);
        Worker {
            significant: self.significant(restart, of),
            id,
            restart,
            shutdown,
            trap_exit,
            stubborn,
            init,
            on_stop_kill: None,
        }
    }

    fn restart(&mut self) -> Restart {
        self.pick(&[
            Restart::Permanent,
            Restart::Permanent,
            Restart::Transient,
            Restart::Transient,
            Restart::Temporary,
        ])
    }

    fn significant(&mut self, restart: Restart, of: usize) -> bool {
        if self.features.invalid && self.one_in(16) {
            return true;
        }
        let allowed =
            restart != Restart::Permanent && self.known[of].auto_shutdown != AutoShutdown::Never;
        allowed && !self.one_in(3)
    }

    // Operations.

    /// Dynamic supervisors without instances show nothing: most get some first.
    fn seeding_ops(&mut self) -> Vec<Op> {
        let mut ops = Vec::new();
        for of in 0..self.known.len() {
            if self.known[of].simple {
                for _ in 0..self.rng.usize(1..=3) {
                    ops.push(self.start_instance(of));
                }
            }
        }
        ops
    }

    fn op(&mut self) -> Op {
        let of = self.rng.usize(0..self.known.len());
        let id = self.some_id(of);
        let call = match self.rng.u32(0..100) {
            0..54 => return self.exit(),
            54 => return Op::Direct(Direct::StopRoot),
            55..69 if self.known[of].simple => return self.start_instance(of),
            55..69 => self.start_child(of),
            69..78 => Call::TerminateChild { id },
            78..88 => Call::RestartChild { id },
            88..93 => Call::DeleteChild { id },
            93..95 => Call::GetChildspec { id },
            95..97 => Call::WhichChildren,
            _ => Call::CountChildren,
        };
        Op::Api {
            sup: self.known[of].id.clone(),
            call,
        }
    }

    fn exit(&mut self) -> Op {
        let killable: Vec<String> = self
            .known
            .iter()
            .filter(|known| known.killable)
            .map(|known| known.id.clone())
            .collect();
        if !killable.is_empty() && self.one_in(5) {
            let id = killable[self.rng.usize(0..killable.len())].clone();
            return Op::Direct(Direct::Exit {
                id,
                reason: Reason::Kill,
            });
        }
        // The first workers are those of the tree and instances: most of them run.
        let all = self.early == 0 || self.one_in(3);
        let among = if all { self.workers.len() } else { self.early };
        // What ends a second time after a sleep shows whether the first one is forgotten.
        let among = if self.features.sleep {
            among.min(3)
        } else {
            among
        };
        let id = match among {
            0 => "nobody".to_owned(),
            count => self.workers[self.rng.usize(0..count)].clone(),
        };
        let reason = self.pick(&[
            Reason::Normal,
            Reason::Shutdown,
            Reason::ShutdownTerm,
            Reason::Crash,
            Reason::Crash,
            Reason::Crash,
            Reason::Kill,
        ]);
        Op::Direct(Direct::Exit { id, reason })
    }

    fn start_child(&mut self, of: usize) -> Call {
        let depth = if self.known[of].id == "root" {
            1
        } else {
            DEPTH_MAX - 1
        };
        let worker_ids: Vec<String> = self.known[of]
            .ids
            .iter()
            .filter(|id| self.workers.contains(id))
            .cloned()
            .collect();
        let child = if !worker_ids.is_empty() && self.one_in(3) {
            let id = worker_ids[self.rng.usize(0..worker_ids.len())].clone();
            Child::Worker(self.worker(id, of))
        } else {
            self.child(of, depth)
        };
        Call::StartChild {
            new: New::Child(Box::new(child)),
        }
    }

    fn start_instance(&mut self, of: usize) -> Op {
        let id = self.new_id("i");
        self.known[of].ids.push(id.clone());
        self.workers.push(id.clone());
        let init = self.instance_init(of, &id);
        Op::Api {
            sup: self.known[of].id.clone(),
            call: Call::StartChild {
                new: New::Args { id, init },
            },
        }
    }

    /// An id that the supervisor knows, or now and then none at all.
    fn some_id(&mut self, of: usize) -> String {
        let count = self.known[of].ids.len();
        if count == 0 || self.one_in(20) {
            return "nobody".to_owned();
        }
        self.known[of].ids[self.rng.usize(0..count)].clone()
    }
}

#[test]
fn a_seed_is_a_scenario() {
    for seed in 0..200 {
        assert_eq!(generate(seed).to_line(), generate(seed).to_line());
    }
}
