//! What holds of the past of every history: a state as of a version is the one that was live then, differences lead
//! from one to the other, and a restore reaches what it promises.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use proptest::sample::Index;
use settled::actor::Actor;
use settled::area::Area;
use settled::event::{ResourceType, Version};
use settled::history::description::{Description, Difference, Field, Fields, Focus, Subject};
use settled::history::restore::plan::Cannot;
use settled::history::restore::{Planned, Wanted, prepare};
use settled::ids::{CustomerId, SecretId};
use settled::organization::Organization;
use settled::seal::Plain;
use settled::settings::api_keys::projection::ApiKeys;
use settled::settings::billing::projection::Billing;
use settled::settings::connections::projection::Connections;
use settled::settings::customer_data::projection::CustomerData;
use settled::settings::customers::projection::Customers;
use settled::settings::environments::projection::Environments;
use settled::settings::general::event::RestoredScope;
use settled::settings::general::projection::General;
use settled::settings::invitations::projection::Invitations;
use settled::settings::join_requests::projection::JoinRequests;
use settled::settings::oauth_apps::projection::OauthApps;
use settled::settings::people::projection::People;
use settled::settings::roles::projection::Roles;
use settled::settings::secrets::projection::Secrets;
use settled::settings::secrets::value_field;
use settled::settings::teams::projection::Teams;
use settled::store::Submission;
use settled::store::encoding::digest;
use settled::store::resident::{Handle, View};

use crate::histories::{Prepared, history, prepare as prepare_history};
use crate::properties::{config, id, in_memory, over_files, runtime, submit};
use crate::test_store::TestStore;

/// Runs a history; the state of one organization after every burst, by version.
async fn run(store: &TestStore, history: &[(u64, Vec<Prepared>)]) -> BTreeMap<Version, Arc<View>> {
    let mut live = BTreeMap::new();
    let mut note = |store: &TestStore| {
        let view = store.handle(id(0)).view();
        live.insert(view.version(), view);
    };
    note(store);
    for (number, (pause, burst)) in history.iter().enumerate() {
        store.hands.advance(Duration::from_secs(*pause));
        submit(store, burst).await;
        note(store);
        if number % 3 == 2 {
            // A savepoint, where the store has files: the past is folded from the nearest one.
            store.store.save(&store.handle(id(0)));
        }
    }
    live
}

fn describe(view: &View, focus: &Focus) -> Description {
    Description::of(view.organization(), focus)
}

/// Calls a function for each area of settings.
macro_rules! of_each_area {
    ($function:ident $arguments:tt) => {
        of_each_area!($function $arguments General People Invitations JoinRequests Teams Roles ApiKeys Environments
            Customers CustomerData Secrets OauthApps Connections Billing)
    };
    ($function:ident $arguments:tt $($area:ident)*) => {
        $($function::<$area>$arguments;)*
    };
}

#[test]
fn the_areas_asked_are_all_there_are() {
    fn name<A: Area>(into: &mut Vec<&'static str>) {
        into.push(A::NAME);
    }
    let mut names = Vec::new();
    of_each_area!(name(&mut names));
    assert_eq!(names, Organization::AREAS.iter().map(|area| area.name).collect::<Vec<_>>());
}

fn assert_area_is<A: Area>(store: &TestStore, newest: &Handle, then: &View) {
    let past: A = store.store.area_as_of(newest, &newest.view(), then.version(), &Focus::All).unwrap();
    assert_eq!(digest(&past), digest(A::of(then.organization())), "{} as of {}", A::NAME, then.version());
}

/// Of every thing that is there, folded from the events that concern it alone.
fn assert_each_thing_is(store: &TestStore, newest: &Handle, then: &View) {
    let whole = describe(then, &Focus::All);
    for (subject, fields) in whole.iter() {
        let focus = match &subject.name {
            Some(name) => Focus::Named(subject.id.clone(), name.clone()),
            None => Focus::Resource(subject.id.clone()),
        };
        let mut alone = Description::default();
        of_each_area!(tell(store, newest, then, &focus, &mut alone));
        assert_eq!(alone.get(subject), Some(fields), "{subject:?} as of {}", then.version());
        assert_eq!(alone, describe(then, &focus));
    }
}

fn tell<A: Area>(store: &TestStore, newest: &Handle, then: &View, focus: &Focus, into: &mut Description) {
    store.store.area_as_of::<A>(newest, &newest.view(), then.version(), focus).unwrap().describe(focus, into);
}

/// A description with differences made to it.
fn changed(from: &Description, to: &Description) -> BTreeMap<Subject, Fields> {
    let mut state: BTreeMap<Subject, Fields> =
        from.iter().map(|(subject, fields)| (subject.clone(), fields.clone())).collect();
    for difference in from.differences(to) {
        let mut fields = state.remove(&difference.subject).unwrap_or_default();
        for change in difference.fields {
            assert_eq!(fields.get(change.field), change.from.as_ref());
            match change.to {
                Some(field) => drop(fields.insert(change.field, field)),
                None => drop(fields.remove(change.field)),
            }
        }
        if difference.change != settled::history::description::Change::Deleted {
            state.insert(difference.subject, fields);
        }
    }
    state
}

fn flat(description: &Description) -> BTreeMap<Subject, Fields> {
    description.iter().map(|(subject, fields)| (subject.clone(), fields.clone())).collect()
}

/// What a restore is asked for, out of what there was.
#[derive(Clone, Debug)]
struct Ask {
    then: Index,
    which: Index,
    scope: u8,
    access: bool,
}

fn ask() -> impl Strategy<Value = Ask> {
    (any::<Index>(), any::<Index>(), 0..4u8, any::<bool>()).prop_map(|(then, which, scope, access)| Ask {
        then,
        which,
        scope,
        access,
    })
}

impl Ask {
    fn wanted(&self, live: &BTreeMap<Version, Arc<View>>) -> Wanted {
        let views: Vec<_> = live.values().collect();
        let then = self.then.get(&views);
        let newest = views.last().unwrap();
        let mut things: Vec<Subject> = describe(then, &Focus::All).iter().map(|(s, _)| s.clone()).collect();
        things.extend(describe(newest, &Focus::All).iter().map(|(s, _)| s.clone()));
        let environments: Vec<_> =
            things.iter().filter(|subject| subject.kind == ResourceType::Environment).collect();
        let thing = self.which.get(&things);
        let (scope, focus) = match self.scope {
            0 => (RestoredScope::Organization, Focus::All),
            1 if !environments.is_empty() => {
                let environment = self.which.get(&environments);
                (RestoredScope::Environment, Focus::Resource(environment.id.clone()))
            }
            _ => match &thing.name {
                Some(name) => (RestoredScope::Resource, Focus::Named(thing.id.clone(), name.clone())),
                None => (RestoredScope::Resource, Focus::Resource(thing.id.clone())),
            },
        };
        Wanted { as_of: then.version(), scope, focus, include_access: self.access }
    }
}

/// What comes back only where access is included.
const ACCESS: [ResourceType; 4] =
    [ResourceType::Team, ResourceType::TeamMember, ResourceType::Role, ResourceType::RoleAssignment];

/// What no restore touches.
const KEPT: [ResourceType; 6] = [
    ResourceType::Person,
    ResourceType::Invitation,
    ResourceType::JoinRequest,
    ResourceType::ApiKey,
    ResourceType::Connection,
    ResourceType::Billing,
];

/// What a restore promises: all that is meant as it was, but what none touches, grants without access, and what it says
/// cannot be.
fn assert_as_promised(past: &Organization, now: &View, wanted: &Wanted, cannot: &[Cannot]) {
    let (then, now) = (Description::of(past, &wanted.focus), describe(now, &wanted.focus));
    for difference in now.differences(&then) {
        let named = cannot.iter().any(|cannot| {
            // What cannot come back keeps what is named inside it away as well.
            cannot.subject == difference.subject || cannot.subject.id == difference.subject.id
        });
        let access = ACCESS.contains(&difference.subject.kind) && !wanted.include_access;
        let kept = KEPT.contains(&difference.subject.kind);
        let untouched = kept || access || stays(past, wanted, &difference);
        assert!(named || untouched, "not as it was: {difference:?}");
    }
}

/// Whether something is a customer who came since, or is theirs: where all goes back they stay.
fn stays(past: &Organization, wanted: &Wanted, difference: &Difference) -> bool {
    let named = difference.fields.iter().find(|change| change.field == "customer");
    let its = named.and_then(|change| change.from.as_ref()?.shown()?.as_str());
    let customer = its.unwrap_or(&difference.subject.id).parse::<CustomerId>();
    wanted.focus == Focus::All && customer.is_ok_and(|customer| past.customers.get(customer).is_none())
}

async fn assert_restores(store: &TestStore, wanted: &Wanted, by: Actor) {
    let handle = store.handle(id(0));
    let before = handle.view();
    let Planned { command, brought, cannot, .. } = prepare(&store.store, &handle, &before, wanted).unwrap();
    let submission = || {
        let mut submission = Submission::new(command.clone(), by);
        brought.clone().add_to(&mut submission);
        submission
    };
    let told: Vec<_> =
        command.steps.iter().map(|step| (step.subject.clone(), step.from(), step.to())).collect();
    let rehearsed = store.store.rehearse(&handle, &submission()).unwrap();
    assert_eq!(handle.view().version(), before.version(), "a rehearsal appends nothing");
    let steps = command.steps.len() as u64;
    let done = store.store.execute(&handle, submission()).await.unwrap();
    assert_eq!(done.events, if steps == 0 { 0 } else { steps + 1 });
    let whole = |view: &View| describe(view, &Focus::All);
    assert_eq!(whole(&rehearsed.view), whole(&done.view), "the dry run told what came");
    let past = store.store.as_of(&handle, wanted.as_of).unwrap();
    assert_as_promised(past.organization(), &done.view, wanted, &cannot);
    assert_values_are_those_of_then(store, &past, &done.view);
    let after = whole(&done.view);
    for (subject, from, to) in told {
        let is = |fields: Option<&Fields>, told: Option<serde_json::Map<String, serde_json::Value>>| {
            let Some(told) = told else { return fields.is_none() };
            told.iter().all(|(name, value)| match fields.and_then(|fields| fields.get(name.as_str())) {
                Some(Field::Open(is)) => is == value,
                Some(Field::Sealed(_) | Field::Recorded(_) | Field::Secret(_) | Field::Credentials(_)) => {
                    true
                }
                None => value.is_null(),
            })
        };
        assert!(is(whole(&before).get(&subject), from), "{subject:?} was not so");
        assert!(is(after.get(&subject), to), "{subject:?} is not as promised");
    }
    // What is not meant stays, but for grants in an environment, or of a team, that went.
    for difference in whole(&before).differences(&after) {
        let environment = difference.subject.environment.map(|environment| environment.to_string());
        let meant = wanted.focus.includes(&difference.subject.id)
            || environment.is_some_and(|environment| wanted.focus.includes(&environment))
            || difference
                .subject
                .name
                .as_ref()
                .is_some_and(|name| wanted.focus.includes_named(&difference.subject.id, name));
        assert!(meant || difference.subject.kind == ResourceType::RoleAssignment, "{difference:?}");
    }
    let again = prepare(&store.store, &handle, &handle.view(), wanted).unwrap().command;
    assert!(again.steps.is_empty(), "restoring twice changes nothing: {:?}", again.steps);
}

/// Where two states say that a secret has the same value, it opens to the same.
fn assert_values_are_those_of_then(store: &TestStore, then: &View, now: &View) {
    for secret in now.organization().secrets.iter() {
        let past = then.organization().secrets.get(secret.id);
        let same = past.and_then(|past| past.current_origin()) == secret.current_origin();
        let gone = past.is_some_and(|past| {
            secret.versions.get(&past.value_version).is_none_or(|version| version.destroyed)
        });
        if same && !gone {
            assert_eq!(opened(store, now, secret.id), opened(store, then, secret.id), "{}", secret.id);
        }
    }
}

/// A secret's newest value, opened; `None` where there is none.
fn opened(store: &TestStore, view: &View, id: SecretId) -> Option<Plain> {
    let value = view.organization().secrets.get(id)?.value.as_ref()?;
    let key = store.store.ring().data_key(view.stream, value.sealed.key, value.commitment).unwrap();
    Some(key.open(&value_field(view.stream, &id.to_string()), &value.sealed).unwrap())
}

proptest! {
    #![proptest_config(config(100))]

    #[test]
    fn the_past_is_what_was_live_then_and_differences_lead_from_one_to_the_other(history in history()) {
        runtime().block_on(async {
            let folder = tempfile::tempdir().unwrap();
            let store = over_files(folder.path());
            let live = run(&store, &prepare_history(&history, &store)).await;
            let newest = store.handle(id(0));
            let mut before: Option<&View> = None;
            for then in live.values() {
                of_each_area!(assert_area_is(&store, &newest, then));
                assert_eq!(store.store.version_at(&newest, &newest.view(), then.head.at).unwrap(), last_at(&live, then));
                let pair = before.map_or_else(Description::default, |view| describe(view, &Focus::All));
                let told = describe(then, &Focus::All);
                assert_eq!(changed(&pair, &told), flat(&told));
                assert_eq!(changed(&told, &pair), flat(&pair));
                assert_eq!(pair.differences(&told).is_empty(), pair == told);
                before = Some(then);
            }
            if let Some(then) = live.values().nth(live.len() / 2) {
                assert_each_thing_is(&store, &newest, then);
            }
        });
    }

    #[test]
    fn a_restore_reaches_what_it_promises_and_twice_changes_nothing(history in history(), asks in prop::collection::vec(ask(), 1..4)) {
        runtime().block_on(async {
            let store = in_memory();
            let live = run(&store, &prepare_history(&history, &store)).await;
            for ask in asks {
                assert_restores(&store, &ask.wanted(&live), Actor::OPERATOR).await;
            }
        });
    }
}

/// The newest version at a time: bursts without a pause share one.
fn last_at(live: &BTreeMap<Version, Arc<View>>, then: &View) -> Version {
    let at = |view: &&Arc<View>| view.head.at == then.head.at;
    live.values().filter(at).map(|view| view.version()).max().unwrap_or_default()
}

/// The steps that restores of everything come to.
const STEPS: &[&str] = &[
    "organization.update",
    "environment.create",
    "environment.update",
    "environment.delete",
    "config.set",
    "config.delete",
    "team.create",
    "team.update",
    "team.delete",
    "team.add_member",
    "team.remove_member",
    "role.create",
    "role.update",
    "role.delete",
    "role_assignment.create",
    "role_assignment.delete",
    "secret.update",
    "secret.delete",
    "secret.undelete",
];

/// Plans that are all empty would prove nothing.
#[test]
fn random_restores_come_to_steps_of_every_kind() {
    use proptest::strategy::ValueTree as _;

    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut missing: std::collections::BTreeSet<&str> = STEPS.iter().copied().collect();
    for _ in 0..2_000 {
        let tree = (history(), ask()).new_tree(&mut runner).unwrap();
        let (history, ask) = tree.current();
        runtime().block_on(async {
            let store = in_memory();
            let live = run(&store, &prepare_history(&history, &store)).await;
            let wanted = Ask { scope: 0, access: true, ..ask }.wanted(&live);
            let handle = store.handle(id(0));
            let command = prepare(&store.store, &handle, &handle.view(), &wanted).unwrap().command;
            for step in &command.steps {
                missing.remove(step.event.event.action());
            }
        });
        if missing.is_empty() {
            return;
        }
    }
    panic!("no restore came to {missing:?}");
}
