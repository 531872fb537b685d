//! What is measured, a file each.

use anyhow::Result;

use crate::bench::Bench;
use crate::growth::Growth;
use crate::table::Table;

mod get;
mod growth;
mod held;
mod observed;
mod poems;
mod processes;
mod proxy;
mod transform;

/// Answers one table or several.
pub(crate) type Subject = fn(&Bench) -> Result<Exhibits>;

/// What was measured.
#[derive(Default)]
pub(crate) struct Exhibits {
    pub(crate) tables: Vec<Table>,
    pub(crate) growths: Vec<Growth>,
}

impl From<Vec<Table>> for Exhibits {
    fn from(tables: Vec<Table>) -> Self {
        Self {
            tables,
            growths: Vec::new(),
        }
    }
}

impl From<Vec<Growth>> for Exhibits {
    fn from(growths: Vec<Growth>) -> Self {
        Self {
            tables: Vec::new(),
            growths,
        }
    }
}

pub(crate) const ALL: &[(&str, Subject)] = &[
    ("poems", |bench| Ok(poems::run(bench)?.into())),
    ("observed", |bench| Ok(observed::run(bench)?.into())),
    ("held", |bench| Ok(held::run(bench)?.into())),
    ("transform", |bench| Ok(transform::run(bench)?.into())),
    ("proxy", |bench| Ok(proxy::run(bench)?.into())),
    ("get", |bench| Ok(get::run(bench)?.into())),
    ("growth", |bench| Ok(growth::run(bench)?.into())),
    ("processes", |bench| Ok(processes::run(bench)?.into())),
];
