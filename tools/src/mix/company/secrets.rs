//! What of the mix is about secrets: values sealed as the edge seals them.

use anyhow::Result;
use settled::actor::Actor;
use settled::ids::{CustomerId, EnvironmentId, Fresh};
use settled::seal::keyring::NewDataKey;
use settled::seal::{Plain, Sealed};
use settled::settings::environments::value::ConfigKey;
use settled::settings::secrets::command::{
    At, AtValue, CreateSecret, RollBackSecret, SecretsCommand, UpdateSecret,
};
use settled::settings::secrets::described::Described;
use settled::settings::secrets::value::Scope;
use settled::settings::secrets::value_field;
use settled::store::{Store, Submission};

use super::Company;
use crate::mix::words;

/// The most values of a secret that are not destroyed: those who write often do not keep all.
const VALUES_KEPT: usize = 200;

/// A secret of the model: the numbers of its values that are not destroyed, the newest last.
pub(super) struct Secret {
    at: At,
    values: Vec<u64>,
}

impl Secret {
    /// Whether it lies in an environment.
    pub(super) fn is_in(&self, environment: EnvironmentId) -> bool {
        match self.at.scope {
            Scope::Organization => false,
            Scope::Environment(lies_in) | Scope::Customer(lies_in, _) => lies_in == environment,
        }
    }

    /// Whether it is a customer's.
    pub(super) fn is_of(&self, customer: CustomerId) -> bool {
        matches!(self.at.scope, Scope::Customer(_, whose) if whose == customer)
    }

    /// Whether another value can be written: to destroy one is not for everybody who writes.
    pub(super) fn has_room(&self) -> bool {
        self.values.len() < VALUES_KEPT
    }

    /// Whether an earlier value can come back.
    pub(super) fn can_go_back(&self) -> bool {
        self.has_earlier() && self.has_room()
    }

    /// Whether it has an earlier value.
    pub(super) fn has_earlier(&self) -> bool {
        self.values.len() > 1
    }
}

impl Company {
    pub(super) fn create_secret(&mut self, actor: Actor, store: &Store) -> Result<Submission> {
        let environment = self.environments[self.dice.skewed_below(self.environments.len())].id;
        let of_customer = self.clientele.is_there() && self.dice.happens(250);
        let scope = if of_customer {
            let customer = self.clientele.at(self.dice.skewed_below(self.clientele.len()));
            Scope::Customer(environment, customer)
        } else {
            Scope::Environment(environment)
        };
        let at = At { secret: Fresh.id(), scope };
        let (value, key) = self.secret_value(at, store)?;
        // A number that no other secret ever had.
        let name = words::secret(self.secrets_made);
        self.secrets_made += 1;
        self.secrets.push(Secret { at, values: vec![1] });
        let command = CreateSecret {
            at,
            name: ConfigKey::try_from(name.as_str())?,
            modes: Vec::new(),
            description: Some(Described::Open(words::purpose(&mut self.dice).to_owned())),
            expires_at: None,
            value,
        };
        Ok(self.submit_sealed(SecretsCommand::Create(command), actor, key))
    }

    pub(super) fn write_secret(&mut self, actor: Actor, store: &Store) -> Result<Submission> {
        let which = self.one_that(Secret::has_room);
        let at = self.secrets[which].at;
        let (value, key) = self.secret_value(at, store)?;
        self.secrets[which].written();
        let (name, description, expires_at) = (None, None, None);
        let command = UpdateSecret { at, name, description, expires_at, value: Some(value) };
        Ok(self.submit_sealed(SecretsCommand::Update(command), actor, key))
    }

    pub(super) fn reveal_secret(&mut self, actor: Actor) -> Submission {
        let which = self.dice.skewed_below(self.secrets.len());
        let Secret { at, values } = &self.secrets[which];
        let value_version = values.last().copied().unwrap_or(1);
        self.submit(SecretsCommand::Reveal(AtValue { at: *at, value_version }), actor)
    }

    /// Goes back to the value before the newest one.
    pub(super) fn roll_back_secret(&mut self, actor: Actor, store: &Store) -> Result<Submission> {
        let which = self.one_that(Secret::can_go_back);
        let at = self.secrets[which].at;
        let earlier = self.secrets[which].values.iter().rev().nth(1).copied().unwrap_or(1);
        let (value, key) = self.secret_value(at, store)?;
        self.secrets[which].written();
        let to = AtValue { at, value_version: earlier };
        Ok(self.submit_sealed(SecretsCommand::RollBack(RollBackSecret { to, value }), actor, key))
    }

    /// Destroys the oldest value of one that has newer ones.
    pub(super) fn destroy_value(&mut self, actor: Actor) -> Submission {
        let which = self.one_that(Secret::has_earlier);
        let Secret { at, values } = &mut self.secrets[which];
        let (at, value_version) = (*at, values.remove(0));
        self.submit_change(SecretsCommand::DestroyVersion(AtValue { at, value_version }), actor)
    }

    /// The number of one that fits; there is one, or the act was not possible.
    fn one_that(&mut self, fits: impl Fn(&Secret) -> bool) -> usize {
        let which: Vec<usize> = (0..self.secrets.len()).filter(|which| fits(&self.secrets[*which])).collect();
        which[self.dice.skewed_below(which.len())]
    }

    fn secret_value(&mut self, at: At, store: &Store) -> Result<(Sealed, NewDataKey)> {
        let stream = self.handle.stream();
        let key = store.ring().mint(stream)?;
        let value = Plain::from(format!("sk_{:016x}{:016x}", self.dice.number(), self.dice.number()));
        Ok((key.key().seal(&value_field(stream, &at.secret.to_string()), &value), key))
    }

    fn submit_sealed(&mut self, command: SecretsCommand, actor: Actor, key: NewDataKey) -> Submission {
        let mut submission = self.submit_change(command, actor);
        submission.keys = vec![key];
        submission
    }
}

impl Secret {
    fn written(&mut self) {
        let newest = self.values.last().copied().unwrap_or(0);
        self.values.push(newest + 1);
    }
}
