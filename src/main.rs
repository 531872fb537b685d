//! The `byron` program.

fn main() {}
