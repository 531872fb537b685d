//! placeholder
pub(crate) trait Introspect: Send + Sync {}
