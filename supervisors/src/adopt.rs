//! Plain actix actors, unmodified, as processes.
//!
//! For the actors a program has already: `type Context = actix::Context<Self>` stays, and so does every `Addr`. The
//! actor gets a pid, an exit reason, monitors, links and kill; its panic is caught before tokio sees it.
//!
//! Architecture invariant: nothing of a crashed or killed actor is polled again, not even while it is dropped. What
//! stays actix's, because only an actor's own context can mend it: the actor ends when its last `Addr` is dropped (a
//! supervised one is held by its process), a flood of messages keeps its arbiter busy, a queued message whose `Drop`
//! panics loses the answers behind it, two panics in one drop of the actor abort the program, and a crash report cannot
//! name the message.

use std::any::{self, Any};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};

use actix::dev::ContextFut;
use actix::dev::channel::channel;
use actix::{Actor, ActorContext, Addr, AsyncContext, Context, WeakAddr};

use crate::event::EventKind;
use crate::exit::{During, ExitReason, MonitorRef};
use crate::fault::{Fall, Fate};
use crate::panics::{self, catch, drop_contained};
use crate::pid::{self, Pid};
use crate::process::{Core, End, MailboxView, Observer, Process, Started};
use crate::registry::whereis;
use crate::spawn::{Launch, Spawn};

/// actix's own choice.
const MAILBOX_CAPACITY: usize = 16;

/// Runs a plain actix actor as a process on this arbiter. `ctx.run(actor)` becomes `adopt(ctx, actor)`.
///
/// [`Spawn::adopt`] and [`Spawn::adopt_here`] do it with a placement, a monitor or a link.
///
/// ```
/// # use actix::prelude::*;
/// struct Old;
/// impl Actor for Old {
///     type Context = actix::Context<Self>;
///     fn started(&mut self, _: &mut Self::Context) {
///         panic!("vanished");
///     }
/// }
///
/// # System::new().block_on(async {
/// let (_old, pid) = byron_supervisors::adopt(actix::Context::new(), Old);
/// let reason = byron_supervisors::exited(pid).await;
/// assert!(reason.to_string().starts_with("panicked at 'vanished'"));
/// # });
/// ```
///
/// # Panics
/// There must be an arbiter on this thread (a running actix `System`).
pub fn adopt<A: Actor<Context = Context<A>>>(ctx: Context<A>, actor: A) -> (Addr<A>, Pid) {
    let (addr, pid, _) = Spawn::new().adopt_here(ctx, actor);
    (addr, pid)
}

/// The address of an adopted process, if it lives and is an `A`.
pub fn addr_of<A: Actor<Context = Context<A>>>(pid: Pid) -> Option<Addr<A>> {
    let adopted = pid::lookup(pid)?.into_any().downcast::<Adopted<A>>().ok()?;
    adopted.addr.upgrade()
}

/// The address of the adopted actor that has the name, if it is an `A`.
pub fn whereis_addr<A: Actor<Context = Context<A>>>(name: &str) -> Option<Addr<A>> {
    addr_of(whereis(name)?)
}

impl Spawn {
    /// As [`start`](Self::start), for a plain actix actor.
    ///
    /// # Panics
    /// With [`Placement::Here`](crate::Placement::Here) there must be an arbiter on this thread.
    pub fn adopt<A, F>(self, make: F) -> (Addr<A>, Pid, Option<MonitorRef>)
    where
        A: Actor<Context = Context<A>>,
        F: FnOnce(&mut Context<A>) -> A + Send + 'static,
    {
        let arbiter = self.placement.arbiter();
        let (sender, receiver) = channel(MAILBOX_CAPACITY);
        let addr = Addr::new(sender);
        let (launch, monitor) = Launch::of_adopted(self, &addr);
        let pid = launch.process.core.pid();
        let start = move || launch.adopted(Context::with_receiver(receiver), make);
        match arbiter {
            None => start(),
            Some(arbiter) => {
                arbiter.spawn_fn(start);
            }
        }
        (addr, pid, monitor)
    }

    /// As [`adopt`], with the monitor and link asked for, on this arbiter, whatever the placement.
    ///
    /// # Panics
    /// There must be an arbiter on this thread.
    pub fn adopt_here<A>(self, ctx: Context<A>, actor: A) -> (Addr<A>, Pid, Option<MonitorRef>)
    where
        A: Actor<Context = Context<A>>,
    {
        let addr = ctx.address();
        let (launch, monitor) = Launch::of_adopted(self, &addr);
        let pid = launch.process.core.pid();
        launch.adopted(ctx, |_| actor);
        (addr, pid, monitor)
    }
}

/// What stands for an adopted actor in the table of processes.
pub(crate) struct Adopted<A: Actor<Context = Context<A>>> {
    core: Core,
    addr: WeakAddr<A>,
    /// A supervised actor lives until it stops or is stopped, though nobody else may hold its address.
    _held: Option<Addr<A>>,
}

impl<A: Actor<Context = Context<A>>> Process for Adopted<A> {
    fn core(&self) -> &Core {
        &self.core
    }

    fn mailbox(&self) -> Option<MailboxView> {
        None
    }

    fn close(&self, _reason: &ExitReason) -> usize {
        0
    }

    fn has_system_lane(&self) -> bool {
        false
    }

    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }
}

impl<A: Actor<Context = Context<A>>> Launch<Adopted<A>> {
    fn of_adopted(spawn: Spawn, addr: &Addr<A>) -> (Self, Option<MonitorRef>) {
        let held = spawn.supervision.is_some().then(|| addr.clone());
        Self::new(spawn, any::type_name::<A>, |core| Adopted {
            core,
            addr: addr.downgrade(),
            _held: held,
        })
    }

    fn adopted(mut self, mut ctx: Context<A>, make: impl FnOnce(&mut Context<A>) -> A) {
        let cause = self.cause;
        match catch(self.process.core.pid(), || make(&mut ctx)) {
            Ok(actor) => {
                let run = RunAdopted {
                    process: Arc::clone(&self.process),
                    starter: self.starter.take(),
                    start_event: cause,
                    has_waker: false,
                    fate: None,
                    #[cfg(feature = "testing")]
                    panics_next: false,
                    is_started: false,
                    exit: None,
                    future: Some(ctx.into_future(actor)),
                };
                self.launched();
                actix_rt::spawn(run);
            }
            Err(caught) => {
                drop_contained(ctx);
                self.end(End::panic(caught.describe(During::Init, None), cause));
            }
        }
    }
}

/// The future around actix's own. It decides the reason, and makes sure that actix's `Drop` finds nothing to do.
struct RunAdopted<A: Actor<Context = Context<A>>> {
    process: Arc<Adopted<A>>,
    starter: Option<Arc<dyn Observer>>,
    start_event: u64,
    has_waker: bool,
    /// What is to befall it on purpose.
    fate: Option<Box<Fate>>,
    #[cfg(feature = "testing")]
    panics_next: bool,
    is_started: bool,
    /// The signal that stops the actor, and the event behind it.
    exit: Option<(ExitReason, u64)>,
    /// Until the end.
    future: Option<ContextFut<A, Context<A>>>,
}

impl<A: Actor<Context = Context<A>>> RunAdopted<A> {
    fn finish(&mut self, mut end: End) {
        let core = &self.process.core;
        core.set_exiting();
        let _inside = panics::Inside::enter(core.pid());
        if let Some(mut future) = self.future.take() {
            // Or its `Drop` would poll the actor once more, with hooks, messages and all.
            future.ctx().terminate();
            end.dropped(drop_contained(future));
        }
        core.retire(end);
    }

    /// Exit signals and kills; true if the process is over.
    fn heed_signals(&mut self) -> bool {
        let core = &self.process.core;
        if !core.take_signalled() {
            return false;
        }
        #[cfg(feature = "testing")]
        {
            self.panics_next |= core.take_panics_next();
        }
        let doom = core.state().take_doom();
        if let Some(end) = doom {
            self.finish(*end);
            return true;
        }
        let Some(signal) = core.next_signal() else {
            return false;
        };
        match &mut self.future {
            Some(future) if self.is_started => {
                self.exit.get_or_insert((signal.reason, signal.cause));
                future.ctx().stop();
                false
            }
            // Nothing has begun that could be asked to end.
            _ => {
                self.finish(End::by_signal(signal.reason, signal.cause));
                true
            }
        }
    }

    fn tell_ready(&mut self) {
        if let Some(fate) = &mut self.fate {
            fate.ready();
        }
        let core = &self.process.core;
        core.tell_life(EventKind::Ready, self.start_event);
        if let Some(starter) = self.starter.take() {
            starter.started(Started {
                pid: core.pid(),
                ignored: false,
            });
        }
    }
}

impl<A: Actor<Context = Context<A>>> Unpin for RunAdopted<A> {}

impl<A: Actor<Context = Context<A>>> Future for RunAdopted<A> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, task: &mut TaskContext<'_>) -> Poll<()> {
        let this = &mut *self;
        let core = &this.process.core;
        core.pulse.set_doing(During::Turn, None);
        core.begin_turn();
        let poll = this.poll_turn(task);
        this.process.core.end_turn(false);
        poll
    }
}

impl<A: Actor<Context = Context<A>>> RunAdopted<A> {
    fn poll_turn(&mut self, task: &mut TaskContext<'_>) -> Poll<()> {
        let this = self;
        if !this.has_waker {
            this.has_waker = true;
            let mut state = this.process.core.state();
            state.waker = Some(task.waker().clone());
            this.fate = state.take_fate();
        }
        if this.heed_signals() {
            return Poll::Ready(());
        }
        let Some(future) = &mut this.future else {
            return Poll::Ready(());
        };
        let mut fallen = (0, None);
        match this.fate.as_mut().and_then(|fate| fate.next(task)) {
            None => {}
            Some(Fall::Stall) => return Poll::Pending,
            Some(Fall::Kill(event)) => {
                this.finish(End::by_signal(ExitReason::Killed, event));
                return Poll::Ready(());
            }
            Some(Fall::Exit(reason, event)) => {
                this.finish(End::new(reason, event));
                return Poll::Ready(());
            }
            Some(Fall::Panic(text, event)) => fallen = (event, Some(text)),
        }
        #[cfg(feature = "testing")]
        if this.panics_next {
            fallen.1 = Some(crate::testing::PANIC_NEXT.to_owned());
        }
        let turn = catch(this.process.core.pid(), || match fallen.1 {
            Some(text) => panic!("{text}"),
            None => Pin::new(&mut *future).poll(task),
        });
        if matches!(turn, Ok(Poll::Pending)) && future.ctx().state().alive() {
            // `stopping` refused.
            if this.exit.take().is_some() {
                this.process.core.condemn_orphan();
            }
        }
        let end = match turn {
            Ok(Poll::Pending) => None,
            Ok(Poll::Ready(())) => Some(match this.exit.take() {
                Some((reason, cause)) => End::by_signal(reason, cause),
                None => End::new(ExitReason::Normal, 0),
            }),
            Err(caught) => Some(End::panic(caught.describe(During::Turn, None), fallen.0)),
        };
        if !this.is_started {
            this.is_started = true;
            if end.as_ref().is_none_or(|end| end.reason.is_normal()) {
                this.tell_ready();
            }
        }
        match end {
            Some(end) => {
                this.finish(end);
                Poll::Ready(())
            }
            None => {
                if this.process.core.is_signalled() {
                    task.waker().wake_by_ref();
                }
                Poll::Pending
            }
        }
    }
}

impl<A: Actor<Context = Context<A>>> Drop for RunAdopted<A> {
    fn drop(&mut self) {
        // Dropped before its end: the arbiter, or the System, has gone.
        if self.future.is_some() {
            self.finish(End::by_signal(ExitReason::NoConnection, 0));
        }
    }
}
