//! What random histories ask of secrets. A secret's values are all one text, so that what is rolled back before it is
//! known to what is a copy nevertheless.

use proptest::prelude::*;
use proptest::sample::Index;
use settled::actor::Actor;
use settled::ids::{EnvironmentId, Fresh, OrganizationId};
use settled::seal::keyring::NewDataKey;
use settled::settings::environments::value::ConfigKey;
use settled::settings::secrets::command::{At, AtValue, RollBackSecret, SecretsCommand, UpdateSecret};
use settled::settings::secrets::described::Described;
use settled::settings::secrets::value::Scope;
use settled::store::Submission;

use crate::histories::chosen;
use crate::secrets::{change, create as create_secret, sealed};
use crate::test_store::TestStore;

/// What is asked for. Indices choose among the secrets that earlier steps tried to make.
#[derive(Clone, Debug)]
pub enum SecretAsk {
    /// A secret, in an environment or for the whole organization.
    Create {
        name: u8,
        environment: Option<Index>,
    },
    Value {
        which: Index,
        name: Option<u8>,
        writes: bool,
        clear: bool,
    },
    Keep {
        which: Index,
        deletes: bool,
    },
    RollBack {
        which: Index,
        to: u64,
    },
    Reveal {
        which: Index,
        version: u64,
    },
    Destroy {
        which: Index,
        version: Option<u64>,
    },
}

pub fn secret_ask() -> impl Strategy<Value = SecretAsk> {
    let index = any::<Index>;
    prop_oneof![
        4 => (0..4u8, prop::option::weighted(0.7, index()))
            .prop_map(|(name, environment)| SecretAsk::Create { name, environment }),
        4 => (index(), prop::option::weighted(0.3, 0..4u8), prop::bool::weighted(0.7), any::<bool>())
            .prop_map(|(which, name, writes, clear)| SecretAsk::Value { which, name, writes, clear }),
        3 => (index(), any::<bool>()).prop_map(|(which, deletes)| SecretAsk::Keep { which, deletes }),
        3 => (index(), 1..3u64).prop_map(|(which, to)| SecretAsk::RollBack { which, to }),
        3 => (index(), 1..3u64).prop_map(|(which, version)| SecretAsk::Reveal { which, version }),
        4 => (index(), prop::option::weighted(0.9, 1..3u64))
            .prop_map(|(which, version)| SecretAsk::Destroy { which, version }),
    ]
}

fn with_keys(mut submission: Submission, keys: Vec<NewDataKey>) -> Submission {
    submission.keys = keys;
    submission
}

impl SecretAsk {
    /// What is submitted for it; a secret that is to be made joins `secrets`.
    pub fn submission(
        self,
        secrets: &mut Vec<At>,
        mark: &str,
        environment: impl Fn(Index) -> EnvironmentId,
        actor: Actor,
        organization: OrganizationId,
        with: &TestStore,
    ) -> Submission {
        let known = secrets.clone();
        let secret = |which| chosen(&known, which, At { secret: Fresh.id(), scope: Scope::Organization });
        match self {
            Self::Create { name, environment: limited } => {
                let scope =
                    limited.map_or(Scope::Organization, |which| Scope::Environment(environment(which)));
                let at = At { secret: Fresh.id(), scope };
                secrets.push(at);
                let (value, key) = sealed(with, organization, at, &at.secret.to_string());
                let create = create_secret(at, &format!("SECRET_{name}"), value);
                with_keys(Submission::new(SecretsCommand::Create(create), actor), vec![key])
            }
            Self::Value { which, name, writes, clear } => {
                let at = secret(which);
                let written = writes.then(|| sealed(with, organization, at, &at.secret.to_string()));
                let (value, key) = written.unzip();
                let name = name.map(|name| ConfigKey::try_from(format!("SECRET_{name}").as_str()).unwrap());
                let description = if clear { None } else { Some(Described::Open(mark.to_owned())) };
                let update = UpdateSecret { name, value, description: Some(description), ..change(at) };
                let submission = Submission::new(SecretsCommand::Update(update), actor);
                with_keys(submission, key.into_iter().collect())
            }
            Self::Keep { which, deletes } => {
                let at = secret(which);
                let command = if deletes { SecretsCommand::Delete(at) } else { SecretsCommand::Undelete(at) };
                Submission::new(command, actor)
            }
            Self::RollBack { which, to } => {
                let at = secret(which);
                let (value, key) = sealed(with, organization, at, &at.secret.to_string());
                let to = AtValue { at, value_version: to };
                let command = SecretsCommand::RollBack(RollBackSecret { to, value });
                with_keys(Submission::new(command, actor), vec![key])
            }
            Self::Reveal { which, version } => {
                let value = AtValue { at: secret(which), value_version: version };
                Submission::new(SecretsCommand::Reveal(value), actor)
            }
            Self::Destroy { which, version } => {
                let at = secret(which);
                let command = match version {
                    Some(value_version) => SecretsCommand::DestroyVersion(AtValue { at, value_version }),
                    None => SecretsCommand::Destroy(at),
                };
                Submission::new(command, actor)
            }
        }
    }
}
