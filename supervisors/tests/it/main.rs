//! The integration tests of `byron-supervisors`, one binary.

mod otp;
