//! The integration tests of `byron-supervisors`, one binary.

mod otp;

mod auto_shutdown;
mod beyond;
mod calls;
mod dynamic;
mod events_tree;
mod groups;
mod intensity;
mod partitions;
mod reports;
mod restart;
mod shutdown;
mod strategies;
mod sup_support;
