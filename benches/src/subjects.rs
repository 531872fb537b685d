//! What is measured, a file each.

use anyhow::Result;

use crate::bench::Bench;
use crate::table::Table;

mod get;
mod held;
mod observed;
mod poems;
mod processes;
mod proxy;
mod transform;

/// Answers one table or several.
pub(crate) type Subject = fn(&Bench) -> Result<Vec<Table>>;

pub(crate) const ALL: &[(&str, Subject)] = &[
    ("poems", poems::run),
    ("observed", observed::run),
    ("held", held::run),
    ("transform", transform::run),
    ("proxy", proxy::run),
    ("get", get::run),
    ("processes", processes::run),
];
