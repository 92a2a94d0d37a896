//! The server as a process: killed, stopped, out of disk, with a failing disk; and its command line.

#![expect(clippy::unwrap_used, reason = "a test may panic")]
#![expect(
    clippy::disallowed_methods,
    reason = "how long another process takes is measured by the system's clock"
)]

mod accepting;
mod attacks;
mod client;
mod commands;
mod core_dump;
mod damage;
mod deletion;
mod demo;
mod derived;
mod destroy;
mod erased;
#[path = "../support/disk.rs"]
mod disk;
mod failing;
mod full;
#[path = "../support/journal.rs"]
mod journal;
mod halves;
mod held;
mod keys;
mod kill;
mod ledgers;
mod load;
mod mail;
mod many;
mod operator;
mod organizations;
mod population;
mod power;
mod practice;
mod preload;
#[path = "../support/process.rs"]
mod process;
mod proof;
#[path = "../support/provider.rs"]
mod provider;
mod quotas;
mod reads;
mod refreshing;
mod repair;
mod replaced;
mod restore;
mod root_key;
mod run;
mod secrets;
mod sections;
#[path = "../support/s3.rs"]
mod s3;
mod slow;
mod snapshot_bucket;
mod snapshot_crashes;
mod snapshots;
#[path = "../support/smtp.rs"]
mod smtp;
#[path = "../support/sse.rs"]
mod sse;
mod stop;
mod streams;
mod tail;
#[path = "../support/thief.rs"]
mod thief;
#[path = "../support/tools.rs"]
mod tools;
mod tls;
mod unmoved;
mod watchers;
mod witness;
#[path = "../support/workflow.rs"]
mod workflow;
