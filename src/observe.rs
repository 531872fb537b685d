//! What can be seen of a running byron, and what can be learned from it: one model that every view draws.
//!
//! [`model`] is the data, as it travels. All else here is a function of it: no actor is asked, nothing is sent.

pub mod model;
pub mod render;
pub mod why;
