//! `byron proxy`: the poems of other servers, fetched once for all who want them.

use actix::System;
use byron_actors::tree::{self, UpstreamHandle};
use byron_actors::{
    CacheRules, Expectation, Frame, MakeProxyError, Manner, Patience, PoemHash,
    ProxyConfig as Proxy, Store, Transforms, Upstream,
};

use super::endpoints::{transform_steps, whereabouts};
use super::server::{Ground, Served, explain, listen_on, manner, nature, place_text};
use crate::cli::{Abandon, ProxiedUpstream, ProxyConfig};
use crate::exit_code::ExitCode;
use crate::host::logs;
use crate::present::escape::escape_name;

/// Serves until a signal, or until enough poems were served.
pub fn run(config: ProxyConfig) -> anyhow::Result<ExitCode> {
    logs::init(config.server.verbosity, "warn", "info");
    // Before anything is bound: a store that cannot be read is nobody's port.
    let store = config.store.as_ref().map(Store::open).transpose()?;
    System::new().block_on(serve(config, store))
}

async fn serve(config: ProxyConfig, store: Option<Store>) -> anyhow::Result<ExitCode> {
    let ground = Ground::new(&config.server)?;
    let say = ground.say();
    let upstreams = config
        .upstreams
        .iter()
        .map(|upstream| make(upstream, &config));
    let proxy = Proxy {
        upstreams: upstreams.collect::<anyhow::Result<_>>()?,
        rules: CacheRules {
            ttl: config.ttl,
            grace: config.grace,
            stale_if_error: config.stale_if_error,
            error_ttl: config.error_ttl,
            bytes_max: config.cache_bytes_max,
        },
        abandon: match config.abandon {
            Abandon::Cancel => byron_actors::Abandon::Cancel,
            Abandon::Finish => byron_actors::Abandon::Finish,
        },
        manner: Manner {
            frame: config.frame,
            ..manner(&config.server)
        },
        store,
    };
    let (specs, handle) = tree::proxy_specs(proxy, ground.pool()).map_err(|error| match error {
        MakeProxyError::Bind(error) => explain(error),
        other => other.into(),
    })?;
    let mut served = Vec::new();
    for (upstream, handle) in config.upstreams.iter().zip(handle.upstreams()) {
        for (endpoint, service) in upstream.locals.iter().zip(handle.services()) {
            say.openness(endpoint, service);
            let label = escape_name(handle.label());
            served.push(Served {
                title: "proxy".to_owned(),
                line: format!("Proxying {label} on {}.", escape_name(&place_text(service))),
                detail: format!("the poem of {label}{}", nature(endpoint)),
                handle: service.clone(),
            });
        }
    }
    let servers = ground.start(specs, served, config.server, "poem").await?;
    servers.show_caches(handle.upstreams());
    let code = servers.run().await?;
    for upstream in handle.upstreams() {
        say.notice(&cache_line(upstream));
    }
    Ok(code)
}

/// How the cache of an upstream did.
fn cache_line(upstream: &UpstreamHandle) -> String {
    escape_name(&format!("{}: {}", upstream.label(), upstream.report()))
}

/// What people call an upstream, and the key of its poem in the store: `127.0.0.1:10000 through cummingsify, lines`. Another
/// label is another poem, so it says what is known of the poem too.
fn label(upstream: &ProxiedUpstream, config: &ProxyConfig) -> String {
    let mut label = upstream.endpoint.label();
    if config.frame == Frame::Netstring {
        label.push_str(" in netstrings");
    }
    if let Some(bytes) = config.expected_bytes {
        label.push_str(&format!(" of {bytes} bytes"));
    }
    if let Some(sha256) = config.sha256.map(PoemHash) {
        label.push_str(&format!(" with SHA-256 {sha256}"));
    }
    let transforms: Vec<_> = config
        .transforms
        .iter()
        .map(|transform| transform.label())
        .collect();
    if transforms.is_empty() {
        return label;
    }
    format!("{label} through {}", transforms.join(", "))
}

fn make(upstream: &ProxiedUpstream, config: &ProxyConfig) -> anyhow::Result<Upstream> {
    let listen = upstream.locals.iter().map(listen_on);
    Ok(Upstream {
        label: label(upstream, config),
        whereabouts: whereabouts(&upstream.endpoint)?,
        patience: Patience {
            connect_timeout: upstream
                .endpoint
                .connect_timeout
                .unwrap_or(config.connect_timeout),
            first_byte_timeout: config.first_byte_timeout,
            idle_timeout: config.idle_timeout,
            max_time: config.max_time,
        },
        expectation: Expectation {
            poem_bytes_max: config.poem_bytes_max,
            bytes: config.expected_bytes,
            sha256: config.sha256.map(PoemHash),
            allow_empty: config.allow_empty,
        },
        transforms: Transforms {
            steps: transform_steps(&config.transforms)?,
            timeout: config.transform_timeout,
        },
        listen: listen.collect::<anyhow::Result<_>>()?,
    })
}
