//! Names: unique, typed at the edge, freed at death.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use actix::prelude::*;
use byron_supervisors::{
    ActorRef, ChildSpec, Context, ExitReason, Pid, Placement, RegisterError, Spawn, SupFlags,
    Supervisor, exit, exited, is_alive, kill, register, registered, spawn, unregister, whereis,
    whereis_actor,
};
use futures_util::FutureExt as _;
use parking_lot::Mutex;

use crate::support::{Puppet, Strings, eventually, puppet, settle, system, unique};

struct Other;

impl Actor for Other {
    type Context = Context<Self>;
}

#[test]
fn a_name_leads_to_its_process_until_it_is_taken_back() {
    system(async {
        let name = unique("poet");
        let (one, _) = puppet();
        assert_eq!(whereis(&name), None);
        assert_eq!(register(name.as_str(), one.pid()), Ok(()));
        assert_eq!(whereis(&name), Some(one.pid()));
        assert!(registered().iter().any(|known| **known == *name));
        assert!(unregister(&name));
        assert!(!unregister(&name));
        assert_eq!(whereis(&name), None);
    });
}

#[test]
fn a_name_has_one_owner_and_an_owner_several_names() {
    system(async {
        let (first, second) = (unique("a"), unique("b"));
        let (one, _) = puppet();
        let (other, _) = puppet();
        register(first.as_str(), one.pid()).expect("free");
        register(second.as_str(), one.pid()).expect("free");
        assert_eq!(
            register(first.as_str(), other.pid()),
            Err(RegisterError::Taken(one.pid()))
        );
        kill(one.pid());
        eventually("the kill", || !is_alive(one.pid())).await;
        assert_eq!(whereis(&first).or(whereis(&second)), None);
        assert_eq!(
            register(first.as_str(), one.pid()),
            Err(RegisterError::NoProc(one.pid()))
        );
        assert_eq!(register(first.as_str(), other.pid()), Ok(()));
    });
}

#[test]
fn a_new_incarnation_takes_the_name_of_the_old_one() {
    system(async {
        let name = unique("phoenix");
        for _ in 0..3 {
            let (one, _) = puppet();
            assert_eq!(register(name.as_str(), one.pid()), Ok(()));
            let found: ActorRef<Puppet> = whereis_actor(&name).expect("registered");
            assert_eq!(found.tell(|_, ctx| ctx.pid()).await, one.pid());
            kill(one.pid());
            eventually("the name is free", || whereis(&name).is_none()).await;
        }
    });
}

#[test]
fn a_name_is_typed_at_the_edge() {
    system(async {
        let name = unique("typed");
        let other = spawn(Other);
        register(name.as_str(), other.pid()).expect("free");
        assert!(whereis_actor::<Puppet>(&name).is_none());
        assert!(whereis_actor::<Other>(&name).is_some());
        assert!(ActorRef::<Puppet>::of(other.pid()).is_none());
    });
}

#[test]
fn a_name_that_changes_hands_while_it_is_registered_again_is_freed_at_death() {
    system(async {
        let arbiter = Arbiter::new();
        for _ in 0..50 {
            let name = unique("contested");
            let (one, _) = Spawn::new()
                .at(Placement::On(arbiter.handle()))
                .start(|_| Puppet::default());
            let pid = one.pid();
            let threads: Vec<_> = (0..2)
                .map(|_| {
                    let name = name.clone();
                    std::thread::spawn(move || {
                        for _ in 0..200 {
                            let _ = register(name.as_str(), pid);
                            unregister(&name);
                        }
                        let _ = register(name.as_str(), pid);
                    })
                })
                .collect();
            for thread in threads {
                thread.join().expect("no panic");
            }
            kill(pid);
            eventually("the kill", || !is_alive(pid)).await;
            eventually("the name is free", || whereis(&name).is_none()).await;
        }
        arbiter.stop();
    });
}

#[test]
fn a_registered_child_has_its_name_from_its_first_instant() {
    system(async {
        let (name, seen) = (unique("first"), Arc::new(Mutex::new(Vec::new())));
        let (theirs, saw) = (name.clone(), Arc::clone(&seen));
        let spec = ChildSpec::new("named", move |ctx: &mut Context<Other>| {
            saw.lock().push(whereis(&theirs) == Some(ctx.pid()));
            Other
        })
        .registered(name.as_str());
        let _sup = Supervisor::start("names", SupFlags::default(), vec![spec])
            .await
            .expect("it starts");
        assert_eq!(*seen.lock(), [true]);
    });
}

/// Says whether its process still had its name when it was seen to be over.
struct Witness {
    name: String,
    pid: Pid,
    saw: Arc<Mutex<Vec<bool>>>,
}

impl fmt::Debug for Witness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Witness")
    }
}

impl fmt::Display for Witness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a witness")
    }
}

impl Error for Witness {}

impl Drop for Witness {
    fn drop(&mut self) {
        let is_over = exited(self.pid).now_or_never().is_some();
        let is_free = whereis(&self.name) != Some(self.pid);
        self.saw.lock().push(!is_over || is_free);
    }
}

#[test]
fn a_monitor_made_while_a_process_ends_fires_when_its_names_are_free() {
    system(async {
        let (puppet, _) = puppet();
        let (pid, name, saw) = (puppet.pid(), unique("ending"), Arc::default());
        register(name.as_str(), pid).expect("nobody has it");
        settle().await;
        // A signal that is not looked at, because of the kill, is dropped while the process ends.
        let witness = Witness {
            name,
            pid,
            saw: Arc::clone(&saw),
        };
        exit(pid, ExitReason::error(witness));
        kill(pid);
        exited(pid).await;
        assert_eq!(*saw.lock(), [true]);
    });
}
