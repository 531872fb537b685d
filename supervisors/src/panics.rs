//! Panics inside processes: recorded in silence, told once in the crash report.
//!
//! Outside of processes the hook that was installed before stays in force.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::mem;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

use crate::exit::{During, Panic};
use crate::pid::Pid;

thread_local! {
    static CURRENT: Cell<Option<Pid>> = const { Cell::new(None) };
    static WAITS_FOR: Cell<Option<Pid>> = const { Cell::new(None) };
    static LOCATION: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// The process whose code is running on this thread, if any (Erlang's `self/0`). Works in plain actix actors that
/// were [adopted](crate::adopt) too.
pub fn current_pid() -> Option<Pid> {
    CURRENT.try_with(Cell::get).ok().flatten()
}

/// Notes whose answer the code that runs on this thread waits for; returns what was noted before.
pub(crate) fn wait_for(pid: Option<Pid>) -> Option<Pid> {
    WAITS_FOR
        .try_with(|noted| noted.replace(pid))
        .ok()
        .flatten()
}

/// Marks the thread as running `pid` until it is dropped.
pub(crate) struct Inside(Option<Pid>);

impl Inside {
    pub(crate) fn enter(pid: Pid) -> Self {
        Self(
            CURRENT
                .try_with(|current| current.replace(Some(pid)))
                .unwrap_or(None),
        )
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        let _ = CURRENT.try_with(|current| current.set(self.0));
    }
}

/// Puts our hook in front of the one in force, once for the life of the program.
pub(crate) fn install_hook() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let previous = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if current_pid().is_none() {
                return previous(info);
            }
            let location = info.location().map(ToString::to_string);
            let _ = LOCATION.try_with(|last| {
                if let Ok(mut last) = last.try_borrow_mut() {
                    *last = location;
                }
            });
        }));
    });
}

/// Runs `f` as part of process `pid`; a panic comes back as a value.
pub(crate) fn catch<T>(pid: Pid, f: impl FnOnce() -> T) -> Result<T, Caught> {
    let _inside = Inside::enter(pid);
    // What user code caught by itself is no part of this story.
    let _ = take_location();
    panic::catch_unwind(AssertUnwindSafe(f)).map_err(Caught::new)
}

/// Drops a value that may panic while it is dropped.
pub(crate) fn drop_contained<T>(value: T) -> Option<Caught> {
    if !mem::needs_drop::<T>() {
        return None;
    }
    panic_of(move || drop(value))
}

/// Runs code of the user's whose panic is nobody's crash: a subscriber, an error's `Display`.
pub(crate) fn contained(f: impl FnOnce()) {
    drop(panic_of(f));
}

/// Does what may drop values that panic while they are dropped; the panic, if one does.
pub(crate) fn panic_of(f: impl FnOnce()) -> Option<Caught> {
    panic::catch_unwind(AssertUnwindSafe(f))
        .map_err(Caught::new)
        .err()
}

/// Drops values one by one, so that the panic of one does not meet that of another (two at once abort the program); the
/// first is returned.
pub(crate) fn drop_each<T>(values: impl IntoIterator<Item = T>) -> Option<Caught> {
    let mut first = None;
    for value in values {
        let caught = drop_contained(value);
        first = first.or(caught);
    }
    first
}

/// A panic that was caught, with the place where it happened.
pub(crate) struct Caught {
    payload: Option<Box<dyn Any + Send>>,
    location: Option<String>,
}

impl Caught {
    fn new(payload: Box<dyn Any + Send>) -> Self {
        Self {
            payload: Some(payload),
            // Now, before another panic overwrites it.
            location: take_location(),
        }
    }

    /// What the panic says.
    pub(crate) fn describe(mut self, during: During, in_message: Option<&'static str>) -> Panic {
        let payload = self.payload.as_deref();
        let message = payload
            .and_then(|payload| {
                let text = payload.downcast_ref::<&'static str>().copied();
                text.or_else(|| payload.downcast_ref::<String>().map(String::as_str))
            })
            .unwrap_or("a payload that is not text")
            .to_owned();
        Panic {
            message,
            location: self.location.take(),
            in_message,
            during,
        }
    }
}

impl Drop for Caught {
    fn drop(&mut self) {
        let payload = self.payload.take();
        if let Err(nested) = panic::catch_unwind(AssertUnwindSafe(|| drop(payload))) {
            // A payload that panics when it is dropped, whose payload may do the same: this is where it ends.
            mem::forget(nested);
        }
    }
}

fn take_location() -> Option<String> {
    LOCATION
        .try_with(|last| last.try_borrow_mut().ok().and_then(|mut last| last.take()))
        .ok()
        .flatten()
}
