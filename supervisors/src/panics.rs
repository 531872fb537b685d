//! Panics inside processes: recorded in silence, told once in the crash report.
//!
//! Outside of processes the hook that was installed before stays in force.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

use crate::exit::{During, Panic};
use crate::pid::Pid;

thread_local! {
    static CURRENT: Cell<Option<Pid>> = const { Cell::new(None) };
    static LOCATION: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// The process whose code is running on this thread, if any (Erlang's `self/0`). Works in plain actix actors that
/// were [adopted](crate::adopt) too.
pub fn current_pid() -> Option<Pid> {
    CURRENT.try_with(Cell::get).ok().flatten()
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

/// Runs `f` as part of process `pid`; a panic comes back as its payload.
pub(crate) fn catch<T>(pid: Pid, f: impl FnOnce() -> T) -> Result<T, Box<dyn Any + Send>> {
    let _inside = Inside::enter(pid);
    panic::catch_unwind(AssertUnwindSafe(f))
}

/// What a payload says. The payload's own `Drop` may panic as well: contained.
pub(crate) fn describe(
    payload: Box<dyn Any + Send>,
    during: During,
    in_message: Option<&'static str>,
) -> Panic {
    let location = LOCATION
        .try_with(|last| last.try_borrow_mut().ok().and_then(|mut last| last.take()))
        .ok()
        .flatten();
    let message = match payload.downcast::<&'static str>() {
        Ok(text) => (*text).to_owned(),
        Err(payload) => match payload.downcast::<String>() {
            Ok(text) => *text,
            Err(other) => {
                let _ = panic::catch_unwind(AssertUnwindSafe(|| drop(other)));
                "a payload that is not text".to_owned()
            }
        },
    };
    Panic {
        message,
        location,
        in_message,
        during,
    }
}

/// Drops a value that may panic while it is dropped.
pub(crate) fn drop_contained<T>(value: T) -> Result<(), Box<dyn Any + Send>> {
    panic::catch_unwind(AssertUnwindSafe(move || drop(value)))
}
