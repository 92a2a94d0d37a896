//! Promotions of random environments: what a plan says is what is done, all at once, and nothing else; what was wanted is
//! the same in both then, and what was before can be read as it was.

use std::collections::BTreeSet;
use std::sync::Arc;

use proptest::prelude::*;
use settled::command::{Command, OrganizationCommand};
use settled::history::description::{Description, Difference, Focus};
use settled::history::restore::StepBody;
use settled::history::restore::sealing::seal_anew;
use settled::ids::{EnvironmentId, Fresh, SecretId, StreamId};
use settled::log::frame::Frame;
use settled::organization::Organization;
use settled::promotion::command::PromoteEnvironment;
use settled::promotion::difference::{self, Kind};
use settled::promotion::{Seen, Wanted, plan};
use settled::seal::Plain;
use settled::settings::environments::value::ConfigKey;
use settled::settings::secrets::command::{At, SecretsCommand};
use settled::settings::secrets::value::Scope;
use settled::settings::secrets::value_field;
use settled::store::encoding::digest;
use settled::store::resident::View;
use settled::store::{Done, Submission};

use crate::commands::{create, write};
use crate::secrets::Values;
use crate::test_store::{Founded, TestStore};

/// What is done before the last promotion, in one of the two environments.
#[derive(Clone, Debug)]
enum Ask {
    Config { of_first: bool, key: u8, value: Option<u8> },
    Secret { of_first: bool, name: u8, value: u8 },
    Delete { of_first: bool, name: u8 },
    Promote(Promotion),
}

/// What is carried over: what there is of these names.
#[derive(Clone, Debug)]
struct Promotion {
    from_first: bool,
    names: BTreeSet<u8>,
}

fn ask() -> impl Strategy<Value = Ask> {
    let (of_first, name) = (any::<bool>, || 0..4u8);
    prop_oneof![
        4 => (of_first(), name(), prop::option::weighted(0.8, 0..3u8))
            .prop_map(|(of_first, key, value)| Ask::Config { of_first, key, value }),
        4 => (of_first(), name(), 0..2u8)
            .prop_map(|(of_first, name, value)| Ask::Secret { of_first, name, value }),
        1 => (of_first(), name()).prop_map(|(of_first, name)| Ask::Delete { of_first, name }),
        1 => promotion().prop_map(Ask::Promote),
    ]
}

fn promotion() -> impl Strategy<Value = Promotion> {
    (any::<bool>(), prop::collection::btree_set(0..4u8, 0..5))
        .prop_map(|(from_first, names)| Promotion { from_first, names })
}

/// Two environments of an organization.
struct Pair {
    store: TestStore,
    founded: Founded,
    environments: [EnvironmentId; 2],
}

/// A promotion made ready.
struct Prepared {
    told: Vec<serde_json::Value>,
    command: PromoteEnvironment,
    submission: Submission,
}

impl Pair {
    async fn new() -> Self {
        let store = TestStore::in_memory();
        let founded = store.found("Acme").await;
        let environments = [Fresh.id(), Fresh.id()];
        for (environment, name) in environments.into_iter().zip(["first", "second"]) {
            store.execute(&founded, create(founded.owner, environment, name)).await.unwrap();
        }
        Self { store, founded, environments }
    }

    fn view(&self) -> Arc<View> {
        self.store.handle(self.founded.organization).view()
    }

    fn environment(&self, first: bool) -> EnvironmentId {
        self.environments[usize::from(!first)]
    }

    async fn execute(&self, submission: Submission) -> Done {
        self.store.execute(&self.founded, submission).await.unwrap()
    }

    async fn ask(&self, ask: &Ask) {
        let values = Values { store: &self.store, founded: &self.founded };
        let existing = |at: EnvironmentId, name: u8| {
            let view = self.view();
            let found = view.organization().secrets.find(Scope::Environment(at), &secret_name(name));
            found.map(At::from)
        };
        match ask {
            Ask::Config { of_first, key, value } => {
                let value = (key_name(*key), value.map(|value| value.to_string()));
                let write = write(self.founded.owner, self.environment(*of_first), vec![value]);
                self.execute(write).await;
            }
            Ask::Secret { of_first, name, value } => {
                let environment = self.environment(*of_first);
                let submission = match existing(environment, *name) {
                    Some(at) => values.write(at, &value.to_string()),
                    None => {
                        let at = At { secret: Fresh.id(), scope: Scope::Environment(environment) };
                        values.create(at, &secret_name(*name), &value.to_string())
                    }
                };
                self.execute(submission).await;
            }
            Ask::Delete { of_first, name } => {
                if let Some(at) = existing(self.environment(*of_first), *name) {
                    let delete = SecretsCommand::Delete(at);
                    self.execute(Submission::new(delete, self.founded.owner)).await;
                }
            }
            Ask::Promote(promotion) => {
                self.execute(self.prepare(&self.wanted(promotion)).submission).await;
            }
        }
    }

    /// What there is of it.
    fn wanted(&self, promotion: &Promotion) -> Wanted {
        let view = self.view();
        let state = view.organization();
        let (from, to) = (self.environment(promotion.from_first), self.environment(!promotion.from_first));
        let config = &state.environments.get(from).unwrap().config;
        let named = |text: String| ConfigKey::try_from(text.as_str()).unwrap();
        let keys = promotion.names.iter().map(|name| key_name(*name));
        let config = keys.filter(|key| config.get(key).is_some()).map(named).collect();
        let names = promotion.names.iter().map(|name| secret_name(*name));
        let is_there = |name: &String| state.secrets.find(Scope::Environment(from), name).is_some();
        let secrets = names.filter(is_there).map(named).collect();
        Wanted { from, to, config, secrets }
    }

    fn prepare(&self, wanted: &Wanted) -> Prepared {
        let view = self.view();
        let state = view.organization();
        let mut steps = plan(state, wanted, || Fresh.id()).unwrap();
        let told = steps.iter().map(|step| serde_json::to_value(StepBody::from(step)).unwrap()).collect();
        let keys = seal_anew(&mut steps, view.stream, self.store.store.ring()).unwrap().unwrap();
        let seen = Seen::of(state, wanted.from, wanted.to).unwrap();
        let (config, secrets) = (!wanted.config.is_empty(), !wanted.secrets.is_empty());
        let (from, to) = (wanted.from, wanted.to);
        let command = PromoteEnvironment { from, to, config, secrets, seen, steps };
        let whole = Command::Organization(OrganizationCommand::Promote(command.clone()));
        let submission = Submission { keys, ..Submission::new(whole, self.founded.owner) };
        Prepared { told, command, submission }
    }

    /// The values of an environment's secrets.
    fn opened(&self, environment: EnvironmentId) -> Vec<(String, Plain)> {
        let view = self.view();
        let secrets = view.organization().secrets.in_scope(Scope::Environment(environment));
        let open = |secret: &settled::settings::secrets::projection::Secret| {
            let value = secret.value.as_ref().unwrap();
            let ring = self.store.store.ring();
            let key = ring.data_key(view.stream, value.sealed.key, value.commitment).unwrap();
            let field = secret.id.to_string();
            (secret.name.clone(), key.open(&value_field(view.stream, &field), &value.sealed).unwrap())
        };
        secrets.map(open).collect()
    }

    /// Promotes, and holds what is done against what was said and what was wanted.
    async fn promote(&self, promotion: &Promotion) {
        let (before, wanted) = (self.view(), self.wanted(promotion));
        let values_before = self.opened(wanted.to);
        let prepared = self.prepare(&wanted);

        let handle = self.store.handle(self.founded.organization);
        let rehearsed = self.store.store.rehearse(&handle, &prepared.submission).unwrap();
        assert_eq!(
            digest(self.view().organization()),
            digest(before.organization()),
            "a dry run does nothing"
        );
        // What is shown of another plan of the same settings is the same but for the ids of what it would make.
        let again = self.prepare(&wanted);
        assert_eq!(without_new_ids(&again.told), without_new_ids(&prepared.told));

        let done = self.execute(prepared.submission).await;
        let after = done.view.organization();
        assert_eq!(done.events, rehearsed.events);
        self.is_one_frame(&before, &done, &prepared.command);
        let changed = differences(before.organization(), after);
        assert_eq!(changed.len(), prepared.told.len(), "as many things changed as there were steps");

        let (pairs_before, pairs) = (pairs(before.organization(), &wanted), pairs(after, &wanted));
        for ((kind, name), pair) in &pairs {
            let listed = if *kind == Kind::Config { &wanted.config } else { &wanted.secrets };
            if listed.iter().any(|wanted| wanted.as_str() == name) {
                assert!(pair.in_sync(), "{name} was carried over");
            } else {
                assert_eq!(Some(pair), pairs_before.get(&(*kind, name.clone())), "{name} was not");
            }
        }
        assert_eq!(pairs.len(), pairs_before.len());
        let (source, target) = (self.opened(wanted.from), self.opened(wanted.to));
        for (name, value) in target {
            let is_wanted = wanted.secrets.iter().any(|wanted| wanted.as_str() == name);
            let expected = if is_wanted { &source } else { &values_before };
            assert!(expected.contains(&(name.clone(), value)), "{name}");
        }

        let then = self.store.store.as_of(&handle, before.version()).unwrap();
        assert_eq!(digest(then.organization()), digest(before.organization()));
        assert!(self.prepare(&wanted).told.is_empty(), "nothing is left to be carried over");
    }

    /// The steps and what says that they belong together, in the log as in the plan.
    fn is_one_frame(&self, before: &View, done: &Done, command: &PromoteEnvironment) {
        let appended = self.store.log.read(before.head.position).unwrap();
        let frames: Vec<Frame> =
            appended.into_iter().map(|(_, bytes)| Frame::parse(bytes).unwrap()).collect();
        if command.steps.is_empty() {
            assert_eq!((frames.len(), done.events), (0, 0));
            return;
        }
        let [frame] = &frames[..] else { panic!("{} frames", frames.len()) };
        assert_eq!(frame.header().stream, StreamId::Organization(self.founded.organization));
        let recorded: Vec<_> = frame.events().map(Result::unwrap).collect();
        assert_eq!(recorded.len(), command.steps.len() + 1);
        assert_eq!(recorded.last().unwrap().event.action(), "environment.promote");
        for (step, recorded) in command.steps.iter().zip(&recorded) {
            assert_eq!(step.event.event, recorded.event);
        }
    }
}

fn key_name(key: u8) -> String {
    format!("KEY_{key}")
}

fn secret_name(name: u8) -> String {
    format!("SECRET_{name}")
}

fn pairs(
    state: &Organization,
    wanted: &Wanted,
) -> std::collections::BTreeMap<(Kind, String), difference::Pair> {
    let of = |id| state.environments.get(id).unwrap();
    let mut pairs = difference::config(of(wanted.from), of(wanted.to));
    pairs.extend(difference::secrets(&state.secrets, wanted.from, wanted.to));
    pairs
}

fn differences(from: &Organization, to: &Organization) -> Vec<Difference> {
    Description::of(from, &Focus::All).differences(&Description::of(to, &Focus::All))
}

/// Steps as they are shown, without the ids of secrets that they make.
fn without_new_ids(told: &[serde_json::Value]) -> Vec<serde_json::Value> {
    let mut told = told.to_vec();
    for step in told.iter_mut().filter(|step| step["action"] == "secret.create") {
        let id = step["resource"]["id"].take();
        assert!(id.as_str().is_some_and(|id| id.parse::<SecretId>().is_ok()));
    }
    told
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64 * crate::scale()))]

    #[test]
    fn what_was_planned_is_done_and_what_was_wanted_is_the_same(
        asks in prop::collection::vec(ask(), 0..16),
        last in promotion(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let pair = Pair::new().await;
            for ask in &asks {
                pair.ask(ask).await;
            }
            pair.promote(&last).await;
        });
    }
}
