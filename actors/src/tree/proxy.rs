//! The trees of a proxy: one for each upstream.
//!
//! What the actors share outlives them: the keeper, a fetch or a service can die without the others noticing.

use std::sync::Arc;

use byron_supervisors::{
    ActorRef, ArbiterPool, ChildSpec, DynamicFlags, Name, Restart, Shutdown, whereis_actor,
};

use super::{RESTART_BACKOFF, STOP_TIMEOUT, ServiceHandle, one_for_one, service_spec, unique};
use crate::binding::BindServerError;
use crate::editor::TRANSFORMED_BYTES_MAX;
use crate::protocol::ServiceConfig;
use crate::proxy::cabinet::{Cabinet, Desk};
use crate::proxy::fetch::Wanted;
use crate::proxy::keeper::Keeper;
use crate::proxy::report::CacheReport;
use crate::proxy::store::Writing;
use crate::proxy::{MakeProxyError, ProxyConfig, Proxying, Upstream};

/// A proxy's specifications have this handle: it leads to the cache and to the running services, across restarts.
///
/// Dropping the last copy waits until the store has written what has changed.
#[derive(Debug, Clone)]
pub struct ProxyHandle {
    upstreams: Vec<UpstreamHandle>,
    _writing: Option<Arc<Writing>>,
}

impl ProxyHandle {
    /// The upstreams, in the order of the configuration.
    pub fn upstreams(&self) -> &[UpstreamHandle] {
        &self.upstreams
    }
}

/// The handle of one upstream of a proxy.
#[derive(Debug, Clone)]
pub struct UpstreamHandle {
    desk: Desk,
    keeper: Name,
    services: Vec<ServiceHandle>,
}

impl UpstreamHandle {
    /// What people call it.
    pub fn label(&self) -> &Arc<str> {
        self.desk.label()
    }

    /// Where its poem is served.
    pub fn services(&self) -> &[ServiceHandle] {
        &self.services
    }

    /// The cache actor; `None` while it is being restarted.
    pub fn keeper(&self) -> Option<ActorRef<Keeper>> {
        whereis_actor(&self.keeper)
    }

    /// How its cache looks. Asks no actor.
    pub fn report(&self) -> CacheReport {
        self.desk.report()
    }

    /// Removes what is kept, or, softly, lets it be old from now on: it may still be served while the next poem is
    /// fetched, or if that fails. A fetch under way goes on for those who listen and those who join, but what it brings
    /// is not kept. True if something was kept. Asks no actor.
    pub fn purge(&self, softly: bool) -> bool {
        self.desk.purge(softly)
    }
}

/// Binds a proxy's sockets, and makes the specifications of its trees, one for each upstream.
///
/// # Errors
/// An address cannot be bound, or the store cannot be read.
pub fn proxy_specs(
    config: ProxyConfig,
    arbiters: &ArbiterPool,
) -> Result<(Vec<ChildSpec>, ProxyHandle), MakeProxyError> {
    let labels = config
        .upstreams
        .iter()
        .map(|upstream| upstream.label.as_str().into());
    let cabinet = Cabinet::new(config.rules, config.abandon, labels);
    let (mut specs, mut upstreams) = (Vec::new(), Vec::new());
    for (upstream, desk) in config.upstreams.into_iter().zip(cabinet.desks()) {
        let (spec, handle) = upstream_spec(upstream, desk, &config.manner, arbiters)?;
        specs.push(spec);
        upstreams.push(handle);
    }
    let writing = config
        .store
        .map(|store| store.attach(&cabinet))
        .transpose()?;
    let handle = ProxyHandle {
        upstreams,
        _writing: writing,
    };
    Ok((specs, handle))
}

fn upstream_spec(
    upstream: Upstream,
    desk: Desk,
    manner: &crate::recital::Manner,
    arbiters: &ArbiterPool,
) -> Result<(ChildSpec, UpstreamHandle), BindServerError> {
    let name = unique("proxy", &upstream.label);
    let keeper = Name::from(format!("{name}/cache"));
    let fetches = Name::from(format!("{name}/fetches"));
    let mut expectation = upstream.expectation;
    if !upstream.transforms.steps.is_empty() {
        let longest = TRANSFORMED_BYTES_MAX as u64;
        expectation.poem_bytes_max = expectation.poem_bytes_max.min(longest);
    }
    let wanted = Arc::new(Wanted {
        whereabouts: upstream.whereabouts,
        patience: upstream.patience,
        expectation,
        transforms: upstream.transforms,
        frame: manner.frame,
    });
    let protocol = Proxying::new(desk.clone(), keeper.clone(), *manner, &wanted);
    let protocol = Arc::new(protocol);
    let flags = DynamicFlags {
        restart: Restart::Temporary,
        shutdown: Shutdown::Timeout(STOP_TIMEOUT),
        ..DynamicFlags::new("fetch")
    };
    let of_keeper = (desk.clone(), fetches.clone());
    let mut children = vec![
        ChildSpec::dynamic_supervisor("fetches", flags)
            .backoff(RESTART_BACKOFF)
            .registered(fetches),
        ChildSpec::new("cache", move |_| {
            let (desk, fetches) = of_keeper.clone();
            Keeper::new(Arc::clone(&wanted), desk, fetches)
        })
        .registered(keeper.clone()),
    ];
    let mut services = Vec::new();
    for (at, listen) in upstream.listen.into_iter().enumerate() {
        let service = ServiceConfig {
            listen,
            limits: manner.limits(),
            protocol: Arc::clone(&protocol) as _,
        };
        let (spec, handle) = service_spec(format!("readers-{}", at + 1), service, arbiters)?;
        children.push(spec);
        services.push(handle);
    }
    let flags = one_for_one(children.len());
    // A path is made of ids, with slashes between them.
    let id = upstream.label.replace('/', "%2F");
    let spec = ChildSpec::supervisor(id, flags, move || children.clone());
    Ok((
        spec,
        UpstreamHandle {
            desk,
            keeper,
            services,
        },
    ))
}
