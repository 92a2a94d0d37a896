//! What the history of a thing tells is what each event changed, held against whole states of before and after: however little
//! of the past is read for it.

use std::collections::BTreeSet;

use proptest::prelude::*;
use settled::event::Recorded;
use settled::history::description::{Description, FieldChange, Focus};
use settled::history::past::{Asking, Past};
use settled::history::readable::kind_of;
use settled::ids::StreamId;
use settled::organization::Organization;
use settled::settings::roles::access::Grants;
use settled::settings::roles::permission::Permission;

use crate::histories::{history, prepare};
use crate::properties::{config, id, in_memory, runtime, submit};
use crate::test_store::TestStore;

/// Every state of an organization, by version.
fn states(events: &[Recorded]) -> Vec<Organization> {
    let mut states = vec![Organization::default()];
    for event in events {
        let mut next = states[states.len() - 1].clone();
        next.apply(event);
        states.push(next);
    }
    states
}

/// What an event changed of the thing that it is about.
fn changed(states: &[Organization], event: &Recorded) -> Vec<String> {
    let about = match &event.resource.name {
        Some(name) if event.resource.is_inner() => Focus::Named(event.resource.id.clone(), name.clone()),
        _ => Focus::Resource(event.resource.id.clone()),
    };
    let at = usize::try_from(event.version).unwrap();
    let [before, after] = [&states[at - 1], &states[at]].map(|state| Description::of(state, &about));
    let differences = before.differences(&after).into_iter();
    let own = differences.filter(|difference| difference.subject.is(&event.resource));
    own.flat_map(|difference| difference.fields).map(|change| shown(&change)).collect()
}

fn shown(change: &FieldChange) -> String {
    format!("{change:?}")
}

fn assert_told(store: &TestStore) {
    let handle = store.handle(id(0));
    let view = handle.view();
    let all = store.events(StreamId::Organization(id(0)));
    let states = states(&all);
    let things: BTreeSet<String> = all
        .iter()
        .flat_map(|event| event.mentions().map(|id| id.into_owned()).collect::<Vec<_>>())
        .filter(|id| kind_of(id).is_some())
        .collect();
    let grants = Grants { organization: Permission::ALL.iter().copied().collect(), ..Grants::default() };
    for thing in things {
        let focus = Focus::Resource(thing.clone());
        let asking = Asking { focus: focus.clone(), grants: grants.clone(), before: u64::MAX, limit: 100 };
        let told = Past::read(&store.store, &handle, &view, &asking, |event, changes| {
            (event.version, changes.iter().map(shown).collect::<Vec<_>>())
        });
        for (version, changes) in told.unwrap().rows {
            let event = &all[usize::try_from(version).unwrap() - 1];
            if focus.is_mentioned_by(event) {
                assert_eq!(changes, changed(&states, event), "{thing} at {version}");
            }
        }
    }
}

proptest! {
    #![proptest_config(config(20))]

    #[test]
    fn the_history_of_a_thing_tells_what_each_event_changed(history in history()) {
        runtime().block_on(async {
            let store = in_memory();
            for (pause, burst) in prepare(&history, &store) {
                store.hands.advance(std::time::Duration::from_secs(pause));
                submit(&store, &burst).await;
            }
            assert_told(&store);
        });
    }
}
