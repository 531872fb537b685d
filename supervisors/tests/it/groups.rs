//! Process groups: joins are counted, the dead are no members, a monitor misses nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use actix::prelude::*;
use byron_supervisors::{
    ActorRef, Context, GroupChange, GroupEvent, GroupMonitor, JoinError, Pid, Placement, Scope,
    Spawn, exited, is_alive, kill, spawn,
};
use parking_lot::Mutex;

use crate::sup_support::{LIMIT, paused, settle, system, unique};

struct Member;

impl Actor for Member {
    type Context = Context<Self>;
}

fn member() -> Pid {
    spawn(Member).pid()
}

async fn end(pid: Pid) {
    let end = exited(pid);
    kill(pid);
    end.await;
}

fn scope() -> Scope {
    Scope::named(unique("scope"))
}

/// Applies what it hears to the picture it began with.
#[derive(Default)]
struct Listener {
    heard: Arc<Mutex<Vec<GroupEvent>>>,
}

impl Actor for Listener {
    type Context = Context<Self>;
}

impl Handler<GroupEvent> for Listener {
    type Result = ();

    fn handle(&mut self, event: GroupEvent, _: &mut Context<Self>) {
        self.heard.lock().push(event);
    }
}

#[derive(Message)]
#[rtype(result = "(GroupMonitor, Vec<Pid>)")]
struct Listen(Scope, &'static str);

impl Handler<Listen> for Listener {
    type Result = MessageResult<Listen>;

    fn handle(&mut self, Listen(scope, group): Listen, ctx: &mut Context<Self>) -> Self::Result {
        MessageResult(scope.monitor(group, ctx))
    }
}

#[derive(Message)]
#[rtype(result = "(GroupMonitor, BTreeMap<Arc<str>, Vec<Pid>>)")]
struct ListenToAll(Scope);

impl Handler<ListenToAll> for Listener {
    type Result = MessageResult<ListenToAll>;

    fn handle(&mut self, ListenToAll(scope): ListenToAll, ctx: &mut Context<Self>) -> Self::Result {
        MessageResult(scope.monitor_scope(ctx))
    }
}

fn listener() -> (ActorRef<Listener>, Arc<Mutex<Vec<GroupEvent>>>) {
    let heard = Arc::default();
    let listener = Listener {
        heard: Arc::clone(&heard),
    };
    (spawn(listener), heard)
}

fn changes(heard: &Mutex<Vec<GroupEvent>>) -> Vec<GroupChange> {
    heard.lock().drain(..).map(|event| event.change).collect()
}

#[test]
fn joins_are_counted() {
    paused(async {
        let (scope, one) = (scope(), member());
        assert_eq!(scope.join("g", one), Ok(()));
        assert_eq!(scope.join("g", one), Ok(()));
        assert_eq!(scope.members("g"), [one, one]);
        assert!(scope.leave("g", one));
        assert_eq!(scope.members("g"), [one]);
        assert!(scope.leave("g", one));
        assert!(!scope.leave("g", one), "it is no member any longer");
        assert_eq!(scope.members("g"), []);
    });
}

#[test]
fn an_empty_group_is_no_group() {
    paused(async {
        let (scope, one) = (scope(), member());
        scope.join("b", one).expect("it lives");
        scope.join("a", one).expect("it lives");
        assert_eq!(scope.which_groups(), ["a".into(), "b".into()]);
        scope.leave("a", one);
        assert_eq!(scope.which_groups(), ["b".into()]);
        end(one).await;
        assert_eq!(scope.which_groups(), []);
    });
}

#[test]
fn scopes_know_nothing_of_each_other() {
    paused(async {
        let (here, there, one) = (scope(), scope(), member());
        here.join("g", one).expect("it lives");
        assert_eq!(there.members("g"), []);
        assert_eq!(Scope::named("same").members("g"), []);
        Scope::named("same").join("g", one).expect("it lives");
        assert_eq!(Scope::named("same").members("g"), [one]);
    });
}

#[test]
fn the_dead_cannot_join_and_leave_at_their_end() {
    paused(async {
        let (scope, one, two) = (scope(), member(), member());
        for pid in [one, two] {
            scope.join("g", pid).expect("it lives");
        }
        end(one).await;
        assert_eq!(scope.members("g"), [two]);
        assert_eq!(scope.join("g", one), Err(JoinError(one)));
        assert!(!scope.leave("g", one));
    });
}

#[test]
fn a_monitor_answers_the_members_and_hears_each_change_once_in_order() {
    paused(async {
        let (scope, one, two) = (scope(), member(), member());
        scope.join("g", one).expect("it lives");
        let (listener, heard) = listener();
        let (monitor, start) = listener
            .send(Listen(scope.clone(), "g"))
            .await
            .expect("it lives");
        assert_eq!(start, [one]);

        scope.join("g", two).expect("it lives");
        scope.join("g", two).expect("it lives");
        scope.join("other", one).expect("it lives");
        scope.leave("g", one);
        end(two).await;
        settle().await;
        let first = heard.lock()[0].clone();
        assert_eq!((first.monitor, &*first.group), (monitor, "g"));
        assert_eq!(
            changes(&heard),
            [
                GroupChange::Joined(vec![two]),
                GroupChange::Joined(vec![two]),
                GroupChange::Left(vec![one]),
                GroupChange::Left(vec![two, two]),
            ]
        );
    });
}

#[test]
fn a_monitor_of_a_scope_hears_of_all_its_groups() {
    paused(async {
        let (scope, one) = (scope(), member());
        scope.join("a", one).expect("it lives");
        let (listener, heard) = listener();
        let (_, start) = listener
            .send(ListenToAll(scope.clone()))
            .await
            .expect("it lives");
        assert_eq!(start, BTreeMap::from([("a".into(), vec![one])]));
        scope.join("b", one).expect("it lives");
        settle().await;
        assert_eq!(&*heard.lock()[0].group, "b");
        end(one).await;
        settle().await;
        assert_eq!(heard.lock().len(), 3);
    });
}

#[test]
fn a_monitor_ends_by_demonitor_or_with_its_actor() {
    paused(async {
        let (scope, one) = (scope(), member());
        let (listener, heard) = listener();
        let (monitor, _) = listener
            .send(Listen(scope.clone(), "g"))
            .await
            .expect("it lives");
        let (second, _) = listener
            .send(Listen(scope.clone(), "g"))
            .await
            .expect("it lives");
        assert!(scope.demonitor(monitor));
        assert!(!scope.demonitor(monitor));
        scope.join("g", one).expect("it lives");
        settle().await;
        assert_eq!(changes(&heard).len(), 1, "each monitor is one of its own");
        end(listener.pid()).await;
        assert!(!scope.demonitor(second), "it went with its actor");
    });
}

/// Joins, leaves, ends and questions from several threads; the listener's picture agrees with the scope's at the end.
#[test]
fn in_a_storm_nobody_dead_is_a_member_and_no_change_is_lost() {
    system(async {
        let scope = scope();
        let (listener, heard) = listener();
        let (_, start) = listener
            .send(Listen(scope.clone(), "g"))
            .await
            .expect("it lives");
        assert_eq!(start, []);
        let arbiters: Vec<_> = (0..3).map(|_| Arbiter::new()).collect();
        let members: Vec<_> = (0..600)
            .map(|number| {
                let placement = Placement::On(arbiters[number % 3].handle());
                Spawn::new().at(placement).start(|_| Member).0.pid()
            })
            .collect();
        let members = Arc::new(members);
        let is_over = Arc::new(AtomicBool::new(false));
        let reader = {
            let (scope, is_over) = (scope.clone(), Arc::clone(&is_over));
            thread::spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    // Ends that come after the answer are not its fault.
                    assert!(scope.members("g").is_sorted());
                }
            })
        };
        let storms: Vec<_> = (0..4)
            .map(|seed| {
                let (scope, members) = (scope.clone(), Arc::clone(&members));
                thread::spawn(move || {
                    let mut random = fastrand::Rng::with_seed(seed);
                    let mut killed = Vec::new();
                    for _ in 0..3000 {
                        let pid = members[random.usize(..members.len())];
                        match random.u32(..10) {
                            0..6 => drop(scope.join("g", pid)),
                            6..9 => drop(scope.leave("g", pid)),
                            _ => {
                                kill(pid);
                                killed.push(pid);
                            }
                        }
                    }
                    killed
                })
            })
            .collect();
        let mut killed = Vec::new();
        for storm in storms {
            killed.extend(storm.join().expect("it does not panic"));
        }
        is_over.store(true, Ordering::Relaxed);
        reader.join().expect("it does not panic");
        for pid in killed {
            exited(pid).await;
        }
        let left = scope.members("g");
        assert!(left.iter().all(|pid| is_alive(*pid)));

        // Every event was sent before `members` answered; the listener has to get to them.
        let begin = tokio::time::Instant::now();
        loop {
            tokio::task::yield_now().await;
            let mut picture = BTreeMap::<Pid, usize>::new();
            for event in heard.lock().iter() {
                match &event.change {
                    GroupChange::Joined(pids) => {
                        for pid in pids {
                            *picture.entry(*pid).or_default() += 1;
                        }
                    }
                    GroupChange::Left(pids) => {
                        for pid in pids {
                            let count = picture.get_mut(pid).expect("it had joined");
                            *count = count
                                .checked_sub(1)
                                .expect("it leaves as often as it joined");
                        }
                    }
                }
            }
            let picture: Vec<_> = picture
                .into_iter()
                .flat_map(|(pid, count)| std::iter::repeat_n(pid, count))
                .collect();
            if picture == left {
                break;
            }
            assert!(
                begin.elapsed() < LIMIT,
                "{} and {}",
                picture.len(),
                left.len()
            );
        }
    });
}
