//! A proxy's cache in a file: what survives the program, and which files are refused.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use byron_actors::{CacheStatus, OpenStoreError, ProxyConfig, Store, Ttl};
use redb::{Database, ReadableDatabase, TableDefinition};

use crate::proxy_support::{Proxied, config, proxy};
use crate::support::{LIMIT, play, run, say};

const META: TableDefinition<'_, &str, u64> = TableDefinition::new("byron");
type Row = (u64, u64, &'static [u8; 32], &'static [u8]);
const POEMS: TableDefinition<'_, &str, Row> = TableDefinition::new("poems");

async fn upstream(poem: &'static [u8]) -> SocketAddr {
    play(move |_, stream| say(stream, poem)).await
}

async fn stored(addr: SocketAddr, path: &Path) -> Proxied {
    proxy(ProxyConfig {
        store: Some(Store::open(path).unwrap()),
        ..config(addr)
    })
    .await
}

/// Stops it, and waits until its store is written and closed.
async fn close(proxied: Proxied) {
    let Proxied { handle, root } = proxied;
    byron_actors::tree::stop(&root, LIMIT).await;
    drop(root);
    drop(handle);
}

fn error(path: &Path) -> OpenStoreError {
    Store::open(path).unwrap_err()
}

#[test]
fn what_is_kept_survives_the_program() {
    run(async {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("poems");
        let addr = upstream(b"a poem").await;
        let first = stored(addr, &path).await;
        assert_eq!(first.whole().await, b"a poem");
        let sha256 = first.upstream().report().kept.unwrap().sha256;
        close(first).await;
        let second = stored(addr, &path).await;
        assert_eq!(second.whole().await, b"a poem");
        assert_eq!(second.count(CacheStatus::Hit), 1);
        assert_eq!(second.fetches(), 0);
        assert_eq!(second.upstream().report().kept.unwrap().sha256, sha256);
        // A purge survives too.
        second.upstream().purge(false);
        close(second).await;
        let third = stored(addr, &path).await;
        assert_eq!(third.upstream().report().kept, None);
        close(third).await;
    });
}

#[test]
fn an_old_poem_is_as_old_as_it_was() {
    run(async {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("poems");
        let addr = upstream(b"a newer poem").await;
        drop(Store::open(&path).unwrap());
        let database = Database::create(&path).unwrap();
        let writing = database.begin_write().unwrap();
        let poem = b"a poem of 1970";
        let sha256 = {
            let mut prefix = byron_actors::Prefix::default();
            prefix.extend(poem);
            prefix.hash()
        };
        writing
            .open_table(POEMS)
            .unwrap()
            .insert(addr.to_string().as_str(), (1, 0, &sha256.0, &poem[..]))
            .unwrap();
        writing.commit().unwrap();
        drop(database);
        let proxied = stored(addr, &path).await;
        assert_eq!(proxied.whole().await, b"a newer poem");
        assert_eq!(proxied.count(CacheStatus::Expired), 1);
        close(proxied).await;

        let mut config = config(addr);
        config.rules.ttl = Ttl::Forever;
        let proxied = proxy(ProxyConfig {
            store: Some(Store::open(&path).unwrap()),
            ..config
        })
        .await;
        assert_eq!(proxied.whole().await, b"a newer poem");
        assert_eq!(proxied.count(CacheStatus::Hit), 1);
        close(proxied).await;
    });
}

#[test]
fn a_poem_that_is_not_the_one_that_was_written_is_fetched_anew() {
    run(async {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("poems");
        let addr = upstream(b"a poem").await;
        let first = stored(addr, &path).await;
        first.whole().await;
        close(first).await;
        // The same row with another text.
        let database = Database::create(&path).unwrap();
        let label = addr.to_string();
        let (fetched_at, outdated_at, sha256) = {
            let poems = database.begin_read().unwrap().open_table(POEMS).unwrap();
            let row = redb::ReadableTable::get(&poems, label.as_str())
                .unwrap()
                .unwrap();
            let (fetched_at, outdated_at, sha256, text) = row.value();
            assert_eq!(text, b"a poem");
            (fetched_at, outdated_at, *sha256)
        };
        let writing = database.begin_write().unwrap();
        writing
            .open_table(POEMS)
            .unwrap()
            .insert(
                label.as_str(),
                (fetched_at, outdated_at, &sha256, &b"a po"[..]),
            )
            .unwrap();
        writing.commit().unwrap();
        drop(database);
        let second = stored(addr, &path).await;
        assert_eq!(second.whole().await, b"a poem");
        assert_eq!(second.count(CacheStatus::Miss), 1);
        close(second).await;
    });
}

#[test]
fn the_poems_of_other_upstreams_are_forgotten() {
    run(async {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("poems");
        let (one, other) = (upstream(b"one").await, upstream(b"other").await);
        let first = stored(one, &path).await;
        first.whole().await;
        close(first).await;
        close(stored(other, &path).await).await;
        let third = stored(one, &path).await;
        assert_eq!(third.upstream().report().kept, None);
        close(third).await;
    });
}

#[test]
fn a_file_that_is_no_store_of_this_version_is_refused_with_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("poems");
    let name = path.display();

    let open = Store::open(&path).unwrap();
    let in_use = error(&path);
    assert_eq!(
        in_use.to_string(),
        format!("the store {name} is in use by another program")
    );
    drop(open);

    let database = Database::create(&path).unwrap();
    let writing = database.begin_write().unwrap();
    writing
        .open_table(META)
        .unwrap()
        .insert("version", 2)
        .unwrap();
    writing.commit().unwrap();
    drop(database);
    let newer = error(&path);
    assert_eq!(
        newer.to_string(),
        format!(
            "the store {name} has version 2, and this program knows version 1; remove it to begin anew"
        )
    );

    fs::write(&path, "no database at all").unwrap();
    assert!(
        matches!(error(&path), OpenStoreError::Damaged { .. }),
        "{:?}",
        error(&path)
    );

    let nowhere = directory.path().join("no/such/folder");
    assert!(
        matches!(error(&nowhere), OpenStoreError::Io { .. }),
        "{:?}",
        error(&nowhere)
    );
}

/// Whatever is damaged, it is an error or another fetch, and never a panic or another poem.
#[test]
fn no_damage_to_the_file_yields_another_poem() {
    run(async {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("poems");
        let addr = upstream(b"a poem").await;
        let first = stored(addr, &path).await;
        first.whole().await;
        close(first).await;
        let good = fs::read(&path).unwrap();
        let is_empty = |page: &[u8]| page.iter().all(|byte| *byte == 0);
        let pages = good
            .chunks(4096)
            .enumerate()
            .filter(|(_, page)| !is_empty(page));
        for (page, _) in pages {
            let mut damaged = good.clone();
            for byte in &mut damaged[page * 4096..][..4096] {
                *byte = !*byte;
            }
            fs::write(&path, damaged).unwrap();
            let Ok(store) = Store::open(&path) else {
                continue;
            };
            let pool = byron_supervisors::ArbiterPool::new([actix::Arbiter::current()]);
            let made = byron_actors::tree::proxy_specs(
                ProxyConfig {
                    store: Some(store),
                    ..config(addr)
                },
                &pool,
            );
            if let Ok((specs, handle)) = made {
                let root = byron_actors::tree::start_servers("proxy", specs)
                    .await
                    .unwrap();
                let proxied = Proxied { handle, root };
                assert_eq!(proxied.whole().await, b"a poem", "page {page}");
                close(proxied).await;
            }
        }
    });
}
