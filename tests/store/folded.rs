//! What each area makes of a history, in a line that a file can hold.

use std::fmt::Write as _;

use settled::area::Fold;
use settled::log::memory::MemoryLog;
use settled::store::encoding::digest;
use settled::store::load::fold;
use settled::store::resident::State;

/// One line an area: name, PROJECTION, digest.
pub fn digests(log: &MemoryLog) -> String {
    let mut lines = String::new();
    let mut views: Vec<_> = fold(log, |_| {}).unwrap().into_values().collect();
    views.sort_by_key(|view| view.stream.to_string());
    for view in &views {
        match &view.state {
            State::Organization(state) => {
                let stream = "organization";
                line(&mut lines, stream, &state.general);
                line(&mut lines, stream, &state.people);
                line(&mut lines, stream, &state.invitations);
                line(&mut lines, stream, &state.join_requests);
                line(&mut lines, stream, &state.teams);
                line(&mut lines, stream, &state.roles);
                line(&mut lines, stream, &state.api_keys);
                line(&mut lines, stream, &state.environments);
                line(&mut lines, stream, &state.customers);
                line(&mut lines, stream, &state.customer_data);
                line(&mut lines, stream, &state.secrets);
                line(&mut lines, stream, &state.executions);
                line(&mut lines, stream, &state.billing);
                line(&mut lines, stream, &state.sessions);
                line(&mut lines, stream, &state.requests);
                line(&mut lines, stream, &state.denials);
                line(&mut lines, stream, &state.exports);
                line(&mut lines, stream, &state.encryption_keys);
                line(&mut lines, stream, &state.revision);
                line(&mut lines, stream, &state.rights);
            }
            State::Platform(state) => {
                let stream = "platform";
                line(&mut lines, stream, &state.accounts);
                line(&mut lines, stream, &state.foundings);
                line(&mut lines, stream, &state.memberships);
                line(&mut lines, stream, &state.sessions);
                line(&mut lines, stream, &state.operations);
                line(&mut lines, stream, &state.plans);
                line(&mut lines, stream, &state.signing_keys);
                line(&mut lines, stream, &state.encryption_keys);
                line(&mut lines, stream, &state.requests);
                line(&mut lines, stream, &state.denials);
            }
        }
    }
    lines
}

fn line<F: Fold>(lines: &mut String, stream: &str, state: &F) {
    writeln!(lines, "{stream}.{} {} {}", F::NAME, F::PROJECTION, digest(state)).unwrap();
}
