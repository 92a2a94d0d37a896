//! What the history of a thing tells is what its events changed, held against the whole state before them: however little of
//! the past is read for it.

use std::collections::BTreeSet;

use proptest::prelude::*;
use settled::event::{Recorded, Version};
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

/// The state of an organization before an event.
fn before(all: &[Recorded], version: Version) -> Organization {
    let mut state = Organization::default();
    all.iter().take_while(|event| event.version < version).for_each(|event| state.apply(event));
    state
}

/// Takes an event into a whole state; what it changed of the thing that it is about.
fn changed(state: &mut Organization, event: &Recorded) -> Vec<String> {
    let about = match &event.resource.name {
        Some(name) if event.resource.is_inner() => Focus::Named(event.resource.id.clone(), name.clone()),
        _ => Focus::Resource(event.resource.id.clone()),
    };
    let before = Description::of(state, &about);
    state.apply(event);
    let differences = before.differences(&Description::of(state, &about)).into_iter();
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
        let rows = told.unwrap().rows;
        let Some((oldest, _)) = rows.last() else { continue };
        let mut state = before(&all, *oldest);
        for (version, changes) in rows.into_iter().rev() {
            let event = &all[usize::try_from(version).unwrap() - 1];
            let expected = changed(&mut state, event);
            if focus.is_mentioned_by(event) {
                assert_eq!(changes, expected, "{thing} at {version}: {}", event.event.action());
            }
        }
    }
}

proptest! {
    #![proptest_config(config(20))]

    #[test]
    fn the_history_of_a_thing_tells_what_its_events_changed(history in history()) {
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
