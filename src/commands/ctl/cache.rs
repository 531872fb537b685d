//! `byron ctl cache`: what a proxy keeps, and to purge it.

use serde_json::json;

use super::super::{print, write_stdout};
use crate::exit_code::ExitCode;
use crate::observe::InstanceAddress;
use crate::observe::caches::{Cache, Caches, Purged};
use crate::observe::client::Client;
use crate::present::escape::escape_name;

/// A line for each upstream.
pub(super) async fn ls(
    address: Option<&InstanceAddress>,
    is_json: bool,
) -> anyhow::Result<ExitCode> {
    let mut client = Client::connect(address).await?;
    if is_json {
        write_stdout(&client.get_bytes("/v1/cache").await?)?;
        return Ok(ExitCode::Done);
    }
    let Caches { caches, .. } = client.get("/v1/cache").await?;
    if caches.is_empty() {
        print(&format!(
            "{} is no proxy, and keeps nothing\n",
            client.instance()
        ))?;
    }
    print(&lines(&caches))?;
    Ok(ExitCode::Done)
}

fn lines(caches: &[Cache]) -> String {
    let names = caches.iter().map(|cache| escape_name(&cache.upstream));
    let names: Vec<_> = names.collect();
    let width = names
        .iter()
        .map(|name| name.chars().count())
        .max()
        .unwrap_or(0);
    let rows = names.iter().zip(caches);
    rows.map(|(name, cache)| format!("{name:width$}  {}\n", escape_name(&cache.summary)))
        .collect()
}

/// Purges one cache, or all.
pub(super) async fn purge(
    address: Option<&InstanceAddress>,
    is_json: bool,
    upstream: Option<&str>,
    softly: bool,
) -> anyhow::Result<ExitCode> {
    let mut client = Client::connect(address).await?;
    let body = json!({ "upstream": upstream, "softly": softly });
    let told: Purged = client.post("/v1/cache/purge", &body).await?;
    if is_json {
        write_stdout(format!("{}\n", serde_json::to_string(&told)?).as_bytes())?;
        return Ok(ExitCode::Done);
    }
    let how = if softly { "purged softly" } else { "purged" };
    let Purged { purged, empty, .. } = told;
    let purged = purged
        .iter()
        .map(|upstream| format!("{how} {}\n", escape_name(upstream)));
    let empty = empty
        .iter()
        .map(|upstream| format!("nothing was kept of {}\n", escape_name(upstream)));
    print(&purged.chain(empty).collect::<String>())?;
    Ok(ExitCode::Done)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn upstreams_stand_in_a_column() {
        let cache = |upstream: &str, summary: &str| Cache {
            upstream: upstream.to_owned(),
            summary: summary.to_owned(),
            kept: None,
            fetching_bytes: None,
            waiting: 0,
            readers: BTreeMap::new(),
            fetches: 0,
            last_failure: None,
        };
        let caches = [
            cache("127.0.0.1:10000", "HIT 98%  1 poem 3.0kB fresh 1h42m"),
            cache("donne:80\u{1b}[2J", "no reader yet  nothing kept"),
        ];
        let told = lines(&caches);
        assert!(!told.contains('\u{1b}'), "{told}");
        let columns = told
            .lines()
            .map(|line| line.find("HIT").or(line.find("no reader")));
        let columns: Vec<_> = columns.collect();
        assert_eq!(columns.len(), 2);
        assert!(columns[0].is_some() && columns[0] == columns[1], "{told}");
    }
}
