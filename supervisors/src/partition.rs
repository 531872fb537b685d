//! [`PartitionSupervisor`]: the same child many times over, and a way from a key to one of them.
//!
//! For work that one process would be the bottleneck of, after Elixir's module of this name. With an
//! [`ArbiterPool`] there is one partition on each arbiter.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher as _};
use std::sync::Arc;

use actix::Actor;
use parking_lot::Mutex;

use crate::actor_ref::ActorRef;
use crate::child_spec::{ChildId, ChildSpec, SupFlags};
use crate::context::Context;
use crate::exit::ExitReason;
use crate::spawn::{ArbiterPool, Placement};
use crate::supervisor::Supervisor;

/// How many partitions there are, and where they run.
#[derive(Debug, Clone)]
pub enum Partitions {
    /// So many, beside their supervisor.
    Count(usize),
    /// One on each arbiter (Elixir's default, one for each scheduler).
    PerArbiter(ArbiterPool),
}

impl Partitions {
    fn count(&self) -> usize {
        match self {
            Self::Count(count) => *count,
            Self::PerArbiter(pool) => pool.arbiters().len(),
        }
    }

    fn placement(&self, partition: usize) -> Placement {
        match self {
            Self::Count(_) => Placement::Here,
            Self::PerArbiter(pool) => Placement::On(pool.arbiters()[partition].clone()),
        }
    }
}

impl From<usize> for Partitions {
    fn from(count: usize) -> Self {
        Self::Count(count)
    }
}

impl From<ArbiterPool> for Partitions {
    fn from(pool: ArbiterPool) -> Self {
        Self::PerArbiter(pool)
    }
}

type MakeFn<A> = dyn Fn(&mut Context<A>, usize) -> A + Send + Sync;
type TemplateFn = dyn Fn(ChildSpec) -> ChildSpec + Send + Sync;

/// Partitions of one kind of actor, below a [`Supervisor`] whose children are named `0`, `1`, `2` ...
///
/// This value is the way to them: it may be copied, and stays good when partitions, or the supervisor, are restarted.
/// What differs from Elixir's: the number of partitions is fixed, and there is no registry in between.
///
/// ```
/// # use actix::prelude::*;
/// # use byron_supervisors::{Context, PartitionSupervisor, SupFlags};
/// struct Cache { partition: usize }
/// impl Actor for Cache {
///     type Context = Context<Self>;
/// }
///
/// # System::new().block_on(async {
/// let caches = PartitionSupervisor::new(4, |_ctx, partition| Cache { partition });
/// caches.start("caches", SupFlags::default()).await.expect("all start");
///
/// assert_eq!(caches.whereis_partition(1), caches.whereis_partition(5));
/// let mine = caches.whereis_partition_of("ecstasy.txt").expect("it runs");
/// assert_eq!(caches.whereis_partition_of("ecstasy.txt"), Some(mine));
/// # });
/// ```
pub struct PartitionSupervisor<A: Actor<Context = Context<A>>>(Arc<Inner<A>>);

struct Inner<A: Actor<Context = Context<A>>> {
    partitions: Partitions,
    make: Box<MakeFn<A>>,
    template: Box<TemplateFn>,
    /// The latest incarnation of each.
    slots: Vec<Mutex<Option<ActorRef<A>>>>,
}

impl<A: Actor<Context = Context<A>>> Clone for PartitionSupervisor<A> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<A: Actor<Context = Context<A>>> fmt::Debug for PartitionSupervisor<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PartitionSupervisor")
            .field(&self.0.partitions)
            .finish()
    }
}

impl<A: Actor<Context = Context<A>>> PartitionSupervisor<A> {
    /// Partitions that are permanent workers; `make` gets the number of the one it makes. Nothing runs yet.
    ///
    /// # Panics
    /// There must be at least one partition.
    pub fn new<F>(partitions: impl Into<Partitions>, make: F) -> Self
    where
        F: Fn(&mut Context<A>, usize) -> A + Send + Sync + 'static,
    {
        Self::with_template(partitions, |spec| spec, make)
    }

    /// As [`new`](Self::new), with specs that `template` completes: the restart, the shutdown, whether the partitions
    /// are supervisors themselves.
    ///
    /// # Panics
    /// There must be at least one partition.
    pub fn with_template<T, F>(partitions: impl Into<Partitions>, template: T, make: F) -> Self
    where
        T: Fn(ChildSpec) -> ChildSpec + Send + Sync + 'static,
        F: Fn(&mut Context<A>, usize) -> A + Send + Sync + 'static,
    {
        let partitions = partitions.into();
        let count = partitions.count();
        assert!(count > 0, "there is at least one partition");
        Self(Arc::new(Inner {
            partitions,
            make: Box::new(make),
            template: Box::new(template),
            slots: (0..count).map(|_| Mutex::default()).collect(),
        }))
    }

    /// Starts the partitions as a tree of its own (`PartitionSupervisor.start_link/1`).
    ///
    /// # Errors
    /// As [`Supervisor::start`].
    ///
    /// # Panics
    /// There must be an arbiter on this thread.
    pub async fn start(
        &self,
        name: &str,
        flags: SupFlags,
    ) -> Result<ActorRef<Supervisor>, ExitReason> {
        Supervisor::start(name, flags, self.children()).await
    }

    /// The partitions as a child of another supervisor (`PartitionSupervisor.child_spec/1`).
    pub fn child_spec(&self, id: impl Into<ChildId>, flags: SupFlags) -> ChildSpec {
        let this = self.clone();
        ChildSpec::supervisor(id, flags, move || this.children())
    }

    fn children(&self) -> Vec<ChildSpec> {
        let partitions = 0..self.partitions();
        partitions.map(|partition| self.child(partition)).collect()
    }

    fn child(&self, partition: usize) -> ChildSpec {
        let inner = Arc::clone(&self.0);
        let spec = ChildSpec::new(partition.to_string(), move |ctx: &mut Context<A>| {
            *inner.slots[partition].lock() = Some(ctx.this());
            (inner.make)(ctx, partition)
        });
        (self.0.template)(spec.at(self.0.partitions.placement(partition)))
    }

    /// How many there are (`PartitionSupervisor.partitions/1`).
    pub fn partitions(&self) -> usize {
        self.0.slots.len()
    }

    /// The partition for a number, which is that number modulo their count; `None` while it does not run.
    pub fn whereis_partition(&self, key: u64) -> Option<ActorRef<A>> {
        let count = self.partitions() as u64;
        let slot = &self.0.slots[usize::try_from(key % count).expect("less than a usize")];
        slot.lock().clone().filter(ActorRef::is_alive)
    }

    /// The partition for any other key, chosen by its hash: the same key leads to the same partition for the life of
    /// the program.
    pub fn whereis_partition_of<K: Hash + ?Sized>(&self, key: &K) -> Option<ActorRef<A>> {
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        self.whereis_partition(hasher.finish())
    }
}
