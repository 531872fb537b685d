//! The crate, tested as its users see it.

// What each process does.
mod adopt;
mod context;
mod dead_letters;
mod events;
mod keep_mailbox;
mod links;
mod mailboxes;
mod monitors;
mod names;
mod panics;
mod report;
mod storm;
mod support;
mod sys;
mod testing;
mod traps;
mod vitals;

// What supervisors do; `restart` has the table of OTP's rules.
mod auto_shutdown;
mod beyond;
mod calls;
mod causes;
mod chaos;
mod consequence;
mod dynamic;
mod events_tree;
mod intensity;
mod operate;
mod reports;
mod restart;
mod shutdown;
mod strategies;
mod sup_support;

// What is built on them.
mod groups;
mod partitions;
mod soak;

// The same, by Erlang/OTP.
mod otp;
