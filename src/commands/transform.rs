//! `byron transform`: transforms for whoever asks by netstring or by HTTP, their list, and one poem without a network.

use std::io::{self, Read};
use std::sync::Arc;

use actix::System;
use anyhow::{Context, bail};
use byron_actors::{
    Courtesy, FILE_BYTES_MAX, Protocol, ServiceConfig, Transform, TransformHttp,
    TransformNetstring, Transformers, tree,
};

use super::server::{Ground, Served, courtesy, explain, limits, listen_on, nature, place_text};
use super::write_stdout;
use crate::cli::{TransformConfig, TransformServiceConfig};
use crate::exit_code::ExitCode;
use crate::host::logs;
use crate::present::message::counted;

/// Does one of the three.
pub fn run(config: TransformConfig) -> anyhow::Result<ExitCode> {
    match config {
        TransformConfig::List(transforms) => list(&transforms),
        TransformConfig::Apply(transforms) => apply(&transforms),
        TransformConfig::Serve(config) => {
            logs::init(config.server.verbosity, "warn", "info,actix_server=warn");
            System::new().block_on(serve(*config))
        }
    }
}

fn list(transforms: &[Transform]) -> anyhow::Result<ExitCode> {
    let width = transforms.iter().map(|transform| transform.name.len());
    let width = width.max().unwrap_or(0);
    let line = |transform: &Transform| format!("{:width$}  {}\n", transform.name, transform.about);
    let lines: String = transforms.iter().map(line).collect();
    write_stdout(lines.as_bytes())?;
    Ok(ExitCode::Done)
}

fn apply(transforms: &[Transform]) -> anyhow::Result<ExitCode> {
    let mut poem = Vec::new();
    io::stdin()
        .lock()
        .take(FILE_BYTES_MAX + 1)
        .read_to_end(&mut poem)
        .context("cannot read the poem from standard input")?;
    if poem.len() as u64 > FILE_BYTES_MAX {
        bail!("the poem is longer than {FILE_BYTES_MAX} bytes");
    }
    for transform in transforms {
        let other = transform.apply(&poem);
        poem = other
            .with_context(|| format!("cannot {} the poem", transform.name))?
            .into();
    }
    write_stdout(&poem)?;
    Ok(ExitCode::Done)
}

async fn serve(config: TransformServiceConfig) -> anyhow::Result<ExitCode> {
    let settings = &config.server;
    let ground = Ground::new(settings)?;
    let transforms = counted(config.transforms.len() as u64, "transform");
    let transformers = Transformers::with(config.transforms, ground.pool());
    let courtesy = Courtesy {
        request_bytes_max: config.request_bytes_max,
        request_timeout: config.request_timeout,
        ..courtesy(settings)
    };
    let netstring: Arc<dyn Protocol> = Arc::new(TransformNetstring {
        transformers: transformers.clone(),
        courtesy,
    });
    let http: Arc<dyn Protocol> = Arc::new(TransformHttp {
        transformers: transformers.clone(),
        courtesy,
    });
    let endpoints = config
        .netstring
        .iter()
        .map(|endpoint| (endpoint, &netstring, ""));
    let endpoints = endpoints.chain(config.http.iter().map(|at| (at, &http, " over HTTP")));

    // The workers first: nobody is let in before there is somebody to do the work.
    let (mut specs, mut served) = (vec![transformers.child_spec("transformers")], Vec::new());
    for (endpoint, protocol, how) in endpoints {
        let service = ServiceConfig {
            listen: listen_on(endpoint)?,
            limits: limits(settings),
            protocol: Arc::clone(protocol),
        };
        let id = format!("{}-{}", protocol.name(), served.len() + 1);
        let (spec, handle) = tree::service_spec(id, service, ground.pool()).map_err(explain)?;
        ground.say().openness(endpoint, &handle);
        specs.push(spec);
        served.push(Served {
            title: "transform".to_owned(),
            line: format!("Serving transforms{how} on {}.", place_text(&handle)),
            detail: transforms.clone() + &nature(endpoint),
            handle,
        });
    }
    let servers = ground.start(specs, served, config.server, "poem").await?;
    servers.run().await
}
