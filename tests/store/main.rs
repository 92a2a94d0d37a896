//! The store, without HTTP: its one write path, what may be answered when, what time does, and what survives.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod access_asks;
mod billing_asks;
mod bounds;
mod bucket_costs;
mod check;
mod checkpoints;
mod clock;
mod commands;
mod connection_asks;
mod customer_asks;
mod customer_index;
mod customer_past;
mod customer_quotas;
mod customer_segments;
mod customer_texts;
mod courses;
mod damage;
mod deletions;
mod demo;
mod derived;
mod durable;
mod escalation;
mod folded;
mod golden;
mod golden_customers;
mod golden_oauth;
mod golden_billing;
mod golden_operations;
mod golden_people;
mod golden_snapshot;
mod histories;
mod intents;
mod invitation_asks;
mod invitations;
mod join_asks;
mod key_asks;
mod keys;
mod ledger;
mod lost_keys;
mod memberships;
mod oauth_asks;
mod past;
mod past_told;
mod pasts;
mod platform_asks;
mod promoting;
mod properties;
mod quotas;
mod rechecks;
mod restoring;
mod rotation;
mod schedule;
mod secret_asks;
mod secrets;
mod segments;
mod signing;
mod snapshot_bucket;
mod snapshot_damage;
mod snapshot_folder;
mod snapshot_hostile;
mod snapshot_newest;
mod snapshot_others;
mod snapshot_roots;
mod snapshot_writing;
mod snapshots;
mod variety;
#[path = "../support/counted.rs"]
mod counted;
#[path = "../support/loaded.rs"]
mod loaded;
#[path = "../support/s3.rs"]
mod s3;
#[path = "../support/test_store.rs"]
mod test_store;
#[path = "../support/tools.rs"]
mod tools;

/// How much of the long tests to run: 1 is a sample for CI, 10 is all.
fn scale() -> u32 {
    std::env::var("SETTLED_TEST_SCALE")
        .map_or(1, |text| text.parse().expect("SETTLED_TEST_SCALE is a number"))
}
