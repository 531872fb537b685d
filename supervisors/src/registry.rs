//! Names for processes: unique, freed when their process dies.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, LazyLock};

use actix::Actor;
use parking_lot::RwLock;
use smallvec::SmallVec;

use crate::actor_ref::ActorRef;
use crate::context::Context;
use crate::pid::{self, Pid};
use crate::process::Core;

/// A registered name.
pub type Name = Arc<str>;

/// The names of one process: one, as a rule.
pub(crate) type Names = SmallVec<[Name; 1]>;

static NAMES: LazyLock<RwLock<HashMap<Name, Pid>>> = LazyLock::new(RwLock::default);

/// The name could not be registered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RegisterError {
    /// Another process has it; OTP's `already_started`.
    #[error("the name is taken by {0}")]
    Taken(Pid),
    /// The process is dead.
    #[error("{0} is not alive")]
    NoProc(Pid),
}

/// Gives a process a name (Erlang's `register/2`). One process may have several.
///
/// # Errors
/// The name is taken, or the process is dead.
pub fn register(name: impl Into<Name>, pid: Pid) -> Result<(), RegisterError> {
    let process = pid::lookup(pid).ok_or(RegisterError::NoProc(pid))?;
    register_core(name.into(), process.core())
}

pub(crate) fn register_core(name: Name, core: &Core) -> Result<(), RegisterError> {
    let pid = core.pid();
    // The process's lock first and the table's second; `release` never holds both.
    let mut state = core.state();
    if state.dead.is_some() {
        return Err(RegisterError::NoProc(pid));
    }
    let mut names = NAMES.write();
    match names.entry(name.clone()) {
        Entry::Occupied(taken) => Err(RegisterError::Taken(*taken.get())),
        Entry::Vacant(free) => {
            free.insert(pid);
            state.ties().names.push(name);
            Ok(())
        }
    }
}

/// Takes a name back (Erlang's `unregister/1`). False if nobody had it.
pub fn unregister(name: &str) -> bool {
    loop {
        let Some(pid) = whereis(name) else {
            return false;
        };
        // Both locks, in the order of `register`: a name that the table has and its process has not is never freed.
        let process = pid::find(pid);
        let mut state = process.as_ref().map(|process| process.core().state());
        let mut names = NAMES.write();
        // It may have changed hands since.
        if names.get(name) == Some(&pid) {
            names.remove(name);
            if let Some(ties) = state.as_mut().and_then(|state| state.known_ties()) {
                ties.names.retain(|known| &**known != name);
            }
            return true;
        }
    }
}

/// The process that has the name (Erlang's `whereis/1`).
pub fn whereis(name: &str) -> Option<Pid> {
    NAMES.read().get(name).copied()
}

/// The actor that has the name, if it is an `A`.
///
/// This is how siblings talk: a restarted actor has a new address, and the same name.
pub fn whereis_actor<A: Actor<Context = Context<A>>>(name: &str) -> Option<ActorRef<A>> {
    ActorRef::of(whereis(name)?)
}

/// All names in use, sorted (Erlang's `registered/0`).
pub fn registered() -> Vec<Name> {
    let mut names: Vec<_> = NAMES.read().keys().cloned().collect();
    names.sort();
    names
}

/// Frees the names of a dead process.
pub(crate) fn release(pid: Pid, own: &[Name]) {
    if own.is_empty() {
        return;
    }
    let mut names = NAMES.write();
    for name in own {
        let owner = names.remove(name);
        if let Some(owner) = owner.filter(|owner| *owner != pid) {
            // It has changed hands.
            names.insert(Arc::clone(name), owner);
        }
    }
}
