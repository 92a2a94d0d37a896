//! The HTTP contract, asked of a real server on a real port over a real store. Modules mirror the URLs; what holds
//! for all of them stands in `conventions`, `idempotency`, `lists` and `permissions`.

#![expect(clippy::unwrap_used, reason = "a test may fail by panicking, and says why")]

#[path = "../support/loaded.rs"]
mod loaded;
#[path = "../support/server.rs"]
mod server;

#[path = "../support/dns.rs"]
mod dns;

#[path = "../support/domain_users.rs"]
mod domain_users;

#[path = "../support/mailbox.rs"]
mod mailbox;

#[path = "../support/newcomers.rs"]
mod newcomers;

#[path = "../support/operator.rs"]
mod operator;

#[path = "../support/traced.rs"]
mod process;

#[path = "../support/provider.rs"]
mod provider;

#[path = "../support/sse.rs"]
mod sse;

mod accounts;
mod api_key_use;
mod api_keys;
mod api_requests;
mod attacks;
mod audit;
mod auth;
mod bad_input;
mod billing;
mod canaries;
mod canary;
mod clear_names;
mod connections;
mod consent;
mod conventions;
mod ctx;
mod customer_isolation;
mod customer_limits;
mod customer_changes;
mod customer_data;
mod customer_scope;
mod customers;
mod deletions;
mod documented;
mod domains;
mod environments;
mod escalation;
mod executions;
mod explain;
mod exports;
mod forgotten;
mod general;
mod health;
mod history;
mod idempotency;
mod import;
mod large;
mod invitations;
mod join_requests;
mod lists;
mod matrix;
mod me;
mod mutations;
mod oauth;
mod oauth_answers;
mod oauth_apps;
mod oauth_attacks;
mod oauth_crossing;
mod oauth_real;
mod outsiders;
mod people;
mod periods;
mod permissions;
mod promotion;
mod proof;
mod quotas;
mod races;
mod refresh;
mod refresh_asked;
mod restore;
mod roles;
mod schemathesis;
mod secret_values;
mod secrets;
mod setup;
mod sound;
mod streams;
mod teams;
mod things;
#[path = "../support/tools.rs"]
mod tools;
mod waiting;
mod ways_up;

/// How much of the long tests to run: 1 is a sample for CI, 10 is all.
fn scale() -> u32 {
    std::env::var("SETTLED_TEST_SCALE")
        .map_or(1, |text| text.parse().expect("SETTLED_TEST_SCALE is a number"))
}
