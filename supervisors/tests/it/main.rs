//! The integration tests of `byron-supervisors`, one binary.

mod otp;

mod restart;
mod strategies;
mod sup_support;
