//! `byron serve`: poems for whoever connects.

mod watch;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use actix::System;
use anyhow::{Context, bail};
use byron_actors::tree::{self, ServerHandle};
use byron_actors::{Library, Manner, Pace, Poem, Protocol, ServerConfig, ServiceConfig};

use super::server::{
    Ground, Say, Served, courtesy, explain, limits, listen_on, manner, nature, place_text,
};
use crate::cli::{ServeConfig, ServedPoem};
use crate::endpoint::PoemSource;
use crate::exit_code::ExitCode;
use crate::host::logs;
use crate::present::message::{counted, serving_line};

/// Serves until a signal, or until enough poems were served.
pub fn run(config: ServeConfig) -> anyhow::Result<ExitCode> {
    logs::init(config.server.verbosity, "warn", "info,actix_server=warn");
    if config.library {
        let libraries = open_libraries(&config)?;
        return System::new().block_on(serve_libraries(config, libraries));
    }
    // Before anything is bound: a poem that cannot be read is nobody's port.
    let poems = config
        .poems
        .iter()
        .map(|poem| read(&poem.source))
        .collect::<anyhow::Result<Vec<_>>>()?;
    System::new().block_on(serve(config, poems))
}

fn read(source: &PoemSource) -> anyhow::Result<Poem> {
    match source {
        PoemSource::File(path) => Ok(Poem::read(path)?),
        PoemSource::Stdin => Poem::read_from("standard input", io::stdin().lock())
            .context("cannot read the poem from standard input"),
    }
}

async fn serve(config: ServeConfig, poems: Vec<Poem>) -> anyhow::Result<ExitCode> {
    let ground = Ground::new(&config.server)?;
    let say = ground.say();
    let manner = Manner {
        pace: config.pace.map(|pace| Pace {
            chunk_bytes: pace.chunk_bytes,
            delay: pace.delay,
        }),
        frame: config.frame,
        ..manner(&config.server)
    };
    let (mut specs, mut served, mut files) = (Vec::new(), Vec::new(), Vec::new());
    for (ServedPoem { source, endpoints }, poem) in config.poems.iter().zip(poems) {
        for endpoint in endpoints {
            let id = format!("{}-{}", poem.title, served.len() + 1);
            let server = ServerConfig {
                poem: poem.clone(),
                listen: listen_on(endpoint)?,
                manner,
            };
            let (spec, handle) = tree::server_spec(id, server, ground.pool()).map_err(explain)?;
            say.openness(endpoint, &handle);
            specs.push(spec);
            if let PoemSource::File(path) = source {
                files.push((path.clone(), handle.clone()));
            }
            served.push(Served {
                title: poem.title.to_string(),
                line: serving_line(source, &place_text(&handle)),
                detail: counted(poem.text.len() as u64, "byte") + &nature(endpoint),
                handle: handle.service().clone(),
            });
        }
    }
    let servers = ground.start(specs, served, config.server, "poem").await?;
    // Before anybody is told: a change after that must not be missed.
    if config.watch {
        watch(files, say)?;
    }
    servers.run().await
}

/// Opened before anything is bound, as poems are read.
fn open_libraries(config: &ServeConfig) -> anyhow::Result<Vec<Arc<Library>>> {
    let courtesy = courtesy(&config.server);
    let open = |poem: &ServedPoem| match &poem.source {
        PoemSource::File(path) => Ok(Arc::new(Library::open(path, courtesy)?)),
        PoemSource::Stdin => bail!("standard input is no library"),
    };
    config.poems.iter().map(open).collect()
}

async fn serve_libraries(
    config: ServeConfig,
    libraries: Vec<Arc<Library>>,
) -> anyhow::Result<ExitCode> {
    let ground = Ground::new(&config.server)?;
    let (mut specs, mut served) = (Vec::new(), Vec::new());
    for (ServedPoem { source, endpoints }, library) in config.poems.iter().zip(libraries) {
        let titles = library.titles().context("cannot list the library")?;
        let detail = counted(titles.len() as u64, "poem");
        for endpoint in endpoints {
            let service = ServiceConfig {
                listen: listen_on(endpoint)?,
                limits: limits(&config.server),
                protocol: Arc::clone(&library) as Arc<dyn Protocol>,
            };
            let id = format!("library-{}", served.len() + 1);
            let (spec, handle) = tree::service_spec(id, service, ground.pool()).map_err(explain)?;
            ground.say().openness(endpoint, &handle);
            specs.push(spec);
            served.push(Served {
                title: "library".to_owned(),
                line: serving_line(source, &place_text(&handle)),
                detail: detail.clone() + &nature(endpoint),
                handle,
            });
        }
    }
    let servers = ground.start(specs, served, config.server, "reader").await?;
    servers.run().await
}

/// Reads a file again when it changes; poems under way finish with the old text.
fn watch(servers: Vec<(PathBuf, ServerHandle)>, say: Say) -> anyhow::Result<()> {
    let files: Vec<_> = servers.iter().map(|(path, _)| path.clone()).collect();
    watch::watch(&files, move |changed| match Poem::read(changed) {
        Ok(poem) => {
            say.notice(&format!(
                "{} has changed; {} from the next reader on",
                changed.display(),
                counted(poem.text.len() as u64, "byte")
            ));
            let of_file = servers.iter().filter(|(path, _)| path == changed);
            for (_, server) in of_file {
                server.recite(poem.clone());
            }
        }
        Err(error) => {
            let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
            say.error(&format!(
                "{error}{}; the old text stays",
                cause.unwrap_or_default()
            ));
        }
    })
}
