//! The poetry network.
