//! An answer that comes later than its handler returns.

use std::fmt;
use std::mem;
use std::sync::Arc;

use actix::dev::{MessageResponse, OneshotSender};
use actix::{Actor, Message};
use parking_lot::Mutex;

use crate::context::Context;

/// The answer to one message: kept by the actor until it is known, given to actix as the handler's result. `None` if
/// nobody waits for it.
pub struct Promise<R>(Option<Arc<Mutex<State<R>>>>);

enum State<R> {
    /// Neither answer nor asker.
    Open,
    /// The asker; `None` if the message was only sent.
    Asked(Option<OneshotSender<R>>),
    Answered(R),
    Done,
}

impl<R> fmt::Debug for Promise<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Promise")
    }
}

impl<R> Promise<R> {
    /// One to keep and one to return.
    pub(crate) fn pair() -> (Self, Self) {
        let state = Arc::new(Mutex::new(State::Open));
        (Self(Some(Arc::clone(&state))), Self(Some(state)))
    }

    /// As [`pair`](Self::pair), if whoever sent the message that is being handled waits for its answer; else there is none to keep.
    pub(crate) fn if_asked<A: Actor<Context = Context<A>>>(
        ctx: &Context<A>,
    ) -> (Option<Self>, Self) {
        if !ctx.is_asked {
            return (None, Self(None));
        }
        let (kept, returned) = Self::pair();
        (Some(kept), returned)
    }

    /// One that is kept already.
    pub(crate) fn ready(answer: R) -> Self {
        Self(Some(Arc::new(Mutex::new(State::Answered(answer)))))
    }

    pub(crate) fn answer(self, answer: R) {
        let Some(state) = self.0 else { return };
        let before = mem::replace(&mut *state.lock(), State::Done);
        match before {
            State::Asked(Some(asker)) => {
                let _ = asker.send(answer);
            }
            State::Open => *state.lock() = State::Answered(answer),
            State::Asked(None) | State::Answered(_) | State::Done => {}
        }
    }
}

impl<A: Actor, M: Message> MessageResponse<A, M> for Promise<M::Result> {
    fn handle(self, _: &mut A::Context, asker: Option<OneshotSender<M::Result>>) {
        let Some(state) = self.0 else { return };
        let before = mem::replace(&mut *state.lock(), State::Done);
        match before {
            State::Answered(answer) => {
                if let Some(asker) = asker {
                    let _ = asker.send(answer);
                }
            }
            _ => *state.lock() = State::Asked(asker),
        }
    }
}
