//! What every subject is given: how much time there is, where the programs are, the poems, and free ports.

use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::process::{has, sibling};

/// The first port that is used; the others follow.
const PORT_FIRST: u16 = 21_000;

pub(crate) struct Bench {
    /// Two minutes for everything, instead of as long as it takes.
    pub(crate) quick: bool,
    /// The root of the repository.
    root: PathBuf,
    /// Where made-up poems and compiled peers are.
    scratch: PathBuf,
    next_port: Cell<u16>,
}

impl Bench {
    pub(crate) fn new(root: PathBuf, scratch: PathBuf, quick: bool) -> Result<Self> {
        fs::create_dir_all(&scratch).with_context(|| scratch.display().to_string())?;
        Ok(Self {
            quick,
            root,
            scratch,
            next_port: Cell::new(PORT_FIRST),
        })
    }

    /// How often everything is measured.
    pub(crate) fn rounds(&self) -> usize {
        if self.quick { 3 } else { 7 }
    }

    /// How long one measurement takes.
    pub(crate) fn window(&self) -> Duration {
        if self.quick {
            Duration::from_millis(250)
        } else {
            Duration::from_secs(2)
        }
    }

    pub(crate) fn port(&self) -> u16 {
        self.ports(1)
    }

    /// The first of so many ports in a row.
    pub(crate) fn ports(&self, count: u16) -> u16 {
        let port = self.next_port.get();
        self.next_port.set(port + count);
        port
    }

    pub(crate) fn byron(&self) -> Result<String> {
        let path = self.root.join("target/release/byron");
        anyhow::ensure!(
            path.is_file(),
            "{} is missing: benches/run builds it",
            path.display()
        );
        Ok(path.to_string_lossy().into_owned())
    }

    /// A peer that `benches/run` has compiled or that an interpreter runs; an error says what is missing.
    pub(crate) fn peer(&self, name: &str) -> Result<Vec<String>> {
        let compiled = self.scratch.join(name);
        let script = |name: &str| {
            self.root
                .join("benches/peers")
                .join(name)
                .to_string_lossy()
                .into_owned()
        };
        Ok(match name {
            "server-c" | "server-go" => {
                anyhow::ensure!(compiled.is_file(), "its compiler is not installed");
                vec![compiled.to_string_lossy().into_owned()]
            }
            "server.erl" => {
                anyhow::ensure!(has("escript"), "Erlang is not installed");
                vec!["escript".to_owned(), script(name)]
            }
            "server.py" => {
                let python = self.twisted().context("Twisted is not installed")?;
                vec![python, script(name)]
            }
            "nginx" => {
                anyhow::ensure!(has("nginx"), "nginx is not installed");
                vec!["nginx".to_owned()]
            }
            rust => vec![sibling(rust)?],
        })
    }

    fn twisted(&self) -> Option<String> {
        ["/usr/bin/python3", "python3"]
            .into_iter()
            .map(str::to_owned)
            .find(|python| {
                let import = std::process::Command::new(python)
                    .args(["-c", "import twisted.internet"])
                    .stderr(std::process::Stdio::null())
                    .status();
                import.is_ok_and(|status| status.success())
            })
    }

    /// The tutorial's poem of 3 003 bytes.
    pub(crate) fn ecstasy(&self) -> PathBuf {
        self.root.join("poetry/ecstasy.txt")
    }

    /// A made-up poem of so many bytes.
    pub(crate) fn poem(&self, bytes: usize) -> Result<PathBuf> {
        let path = self.scratch.join(format!("poem-{bytes}.txt"));
        if fs::metadata(&path).map_or(0, |metadata| metadata.len()) != bytes as u64 {
            let line =
                b"She walks in beauty, like the night, of cloudless climes and starry skies\n";
            let text: Vec<u8> = line.iter().copied().cycle().take(bytes).collect();
            fs::write(&path, text)?;
        }
        Ok(path)
    }

    /// A file of the scratch folder.
    pub(crate) fn scratch(&self, name: &str) -> PathBuf {
        self.scratch.join(name)
    }
}

/// The path as an argument.
pub(crate) fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
