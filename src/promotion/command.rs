//! The command that appends a promotion: all of its steps, or none.

use crate::command::{Context, Need, NewEvent, Rejection};
use crate::event::{Resource, ResourceType};
use crate::history::restore::plan::Step;
use crate::ids::EnvironmentId;
use crate::organization::Organization;
use crate::promotion::Seen;
use crate::settings::environments::command::EnvironmentsRejection;
use crate::settings::environments::event::{EnvironmentPromoted, EnvironmentsEvent};
use crate::settings::roles::permission::Permission;

/// Appends a prepared plan.
#[derive(Clone, Debug)]
pub struct PromoteEnvironment {
    /// Where things come from.
    pub from: EnvironmentId,
    /// Where they go.
    pub to: EnvironmentId,
    /// Whether configuration is among them.
    pub config: bool,
    /// Whether secrets are.
    pub secrets: bool,
    /// What the plan was made from.
    pub seen: Seen,
    /// The plan.
    pub steps: Vec<Step>,
}

impl PromoteEnvironment {
    /// What it needs of its actor where things go, beside what each step does.
    pub fn need(&self) -> Need {
        Need::Environment(Permission::ConfigWrite, self.to)
    }

    /// What it needs of its actor where they come from.
    pub fn needs_at_source(&self) -> impl Iterator<Item = Permission> {
        let config = self.config.then_some(Permission::ConfigRead);
        config.into_iter().chain(self.secrets.then_some(Permission::SecretReveal))
    }

    /// Decides. `If-Match` is held against the last change to a restorable setting, as a restore's is.
    ///
    /// # Errors
    /// The first permission that is missing; a failed precondition; [`Rejection::Stale`] if the plan was made from
    /// something else.
    pub fn decide(&self, state: &Organization, context: &Context) -> Result<Vec<NewEvent>, Rejection> {
        for permission in self.needs_at_source() {
            Need::Environment(permission, self.from).check(state, context)?;
        }
        for step in &self.steps {
            step.check(state, context)?;
        }
        let to = state.environments.get(self.to).ok_or(EnvironmentsRejection::NotFound)?;
        context.check_version(state.revision.version())?;
        if Seen::of(state, self.from, self.to) != Some(self.seen) {
            return Err(Rejection::Stale);
        }
        if self.steps.is_empty() {
            return Ok(Vec::new());
        }
        let promoted = EnvironmentPromoted { from: self.from, to: self.to, steps: self.steps.len() as u64 };
        let resource = Resource::named(ResourceType::Environment, to.id, to.name.as_str());
        let said = NewEvent::new(resource, EnvironmentsEvent::EnvironmentPromoted(promoted));
        let mut events: Vec<_> = self.steps.iter().map(|step| step.event.clone()).collect();
        events.push(said.relating(self.from));
        Ok(events)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::PreconditionFailed;
    use crate::event::Event;
    use crate::given::{
        assigned, by, by_having_seen, environment, events, founded, id, organization, person, sealed,
    };
    use crate::ids::SecretId;
    use crate::promotion::{Unpromotable, Wanted, plan};
    use crate::settings::environments::event::{ConfigSet, EnvironmentDeleted, Mode};
    use crate::settings::environments::value::ConfigKey;
    use crate::settings::people::event::PeopleEvent;
    use crate::settings::roles::role::SystemRole;
    use crate::settings::secrets::command::SecretsRejection;
    use crate::settings::secrets::event::{
        Origin, SecretCreated, SecretUpdated, SecretVersionDestroyed, SecretsEvent,
    };

    /// From environment 1 to environment 2.
    fn wanted(config: &[&str], secrets: &[&str]) -> Wanted {
        let keys = |names: &[&str]| names.iter().map(|name| ConfigKey::try_from(*name).unwrap()).collect();
        Wanted { from: id(1), to: id(2), config: keys(config), secrets: keys(secrets) }
    }

    fn set(environment: u128, key: &str, value: &str) -> Event {
        Event::Environments(EnvironmentsEvent::ConfigSet(ConfigSet {
            environment: id(environment),
            key: key.to_owned(),
            value: value.to_owned(),
        }))
    }

    fn origin(secret: u128, value_version: u64) -> Option<Origin> {
        Some(Origin { resource: id(secret), value_version })
    }

    /// A secret in the environment with the value that has its number.
    fn secret(number: u128, environment: u128, name: &str, copied_from: Option<Origin>) -> Event {
        let value = sealed(if copied_from.is_some() { 1 } else { number });
        Event::Secrets(SecretsEvent::SecretCreated(SecretCreated {
            secret: id(number),
            name: name.to_owned(),
            environment: Some(id(environment)),
            customer: None,
            modes: Vec::new(),
            description: None,
            sealed_description: None,
            expires_at: None,
            value_version: 1,
            value,
            copied_from,
        }))
    }

    fn written(number: u128, version: u64, value: u128, copied_from: Option<Origin>) -> Event {
        Event::Secrets(SecretsEvent::SecretUpdated(SecretUpdated {
            value_version: Some(version),
            value: Some(sealed(value)),
            copied_from,
            ..SecretUpdated::of(id(number))
        }))
    }

    fn promoted(steps: u64) -> Event {
        let promoted = EnvironmentPromoted { from: id(1), to: id(2), steps };
        Event::Environments(EnvironmentsEvent::EnvironmentPromoted(promoted))
    }

    /// Acme with two environments, and what follows.
    fn acme(more: impl IntoIterator<Item = Event>) -> Organization {
        organization(
            founded().into_iter().chain([environment(1, Mode::Test), environment(2, Mode::Test)]).chain(more),
        )
    }

    fn prepared(state: &Organization, wanted: &Wanted) -> Result<PromoteEnvironment, Unpromotable> {
        let steps = plan(state, wanted, || id::<SecretId>(9))?;
        let seen = Seen::of(state, wanted.from, wanted.to).unwrap();
        let (config, secrets) = (!wanted.config.is_empty(), !wanted.secrets.is_empty());
        Ok(PromoteEnvironment { from: wanted.from, to: wanted.to, config, secrets, seen, steps })
    }

    fn decide(state: &Organization, wanted: &Wanted) -> Result<Vec<Event>, Rejection> {
        events(prepared(state, wanted).unwrap().decide(state, &by(person(id(1)))))
    }

    #[test]
    fn what_is_not_the_same_is_carried_over_and_nothing_else() {
        let config =
            [set(1, "A", "1"), set(1, "B", "2"), set(1, "C", "3"), set(2, "A", "1"), set(2, "B", "0")];
        let state = acme(config);
        let decided = decide(&state, &wanted(&["A", "B", "C"], &[]));
        assert_eq!(decided, Ok(vec![set(2, "B", "2"), set(2, "C", "3"), promoted(2)]));
        assert_eq!(decide(&state, &wanted(&["A"], &[])), Ok(Vec::new()), "nothing is no event");
    }

    #[test]
    fn a_secret_is_copied_under_its_name_with_its_first_origin() {
        let state = acme([secret(1, 1, "NEW", None), secret(2, 1, "OLD", None), secret(3, 2, "OLD", None)]);
        let decided = decide(&state, &wanted(&[], &["NEW", "OLD"]));
        let copies = vec![secret(9, 2, "NEW", origin(1, 1)), written(3, 2, 2, origin(2, 1)), promoted(2)];
        assert_eq!(decided, Ok(copies));
        // A copy of the copy has the same origin, and is no change.
        let state = acme([secret(1, 1, "A", origin(7, 4)), secret(3, 2, "A", origin(7, 4))]);
        assert_eq!(decide(&state, &wanted(&[], &["A"])), Ok(Vec::new()));
        // A value written anew is one, whatever it is.
        let state = acme([secret(1, 1, "A", None), secret(3, 2, "A", origin(1, 1)), written(1, 2, 5, None)]);
        let decided = decide(&state, &wanted(&[], &["A"]));
        assert_eq!(decided, Ok(vec![written(3, 2, 5, origin(1, 2)), promoted(1)]));
    }

    #[test]
    fn what_is_not_there_is_told_by_its_place() {
        let state = acme([set(1, "A", "1"), secret(1, 1, "S", None)]);
        let planned = |config: &[&str], secrets: &[&str]| prepared(&state, &wanted(config, secrets)).err();
        assert_eq!(planned(&["A", "B"], &[]), Some(Unpromotable::Config(1)));
        assert_eq!(planned(&[], &["S", "A"]), Some(Unpromotable::Secret(1)));
        let destroyed =
            SecretVersionDestroyed { secret: id(1), value_version: 1, destroyed_keys: vec![id(1)] };
        let destroyed = Event::Secrets(SecretsEvent::SecretVersionDestroyed(destroyed));
        let state = acme([secret(1, 1, "S", None), destroyed]);
        let refused = Unpromotable::Rejected(SecretsRejection::VersionDestroyed.into());
        assert_eq!(prepared(&state, &wanted(&[], &["S"])).err(), Some(refused));
    }

    #[test]
    fn a_plan_made_from_something_else_is_stale() {
        let given = || [set(1, "A", "1"), secret(1, 1, "S", None)];
        let state = acme(given());
        let command = prepared(&state, &wanted(&["A"], &["S"])).unwrap();
        let after = |more: Event| {
            command.decide(&acme(given().into_iter().chain([more])), &by(person(id(1)))).map(|_| ())
        };
        for change in [set(1, "B", "1"), set(2, "B", "1"), written(1, 2, 5, None), secret(5, 2, "T", None)] {
            assert_eq!(after(change), Err(Rejection::Stale));
        }
        assert_eq!(after(environment(3, Mode::Test)), Ok(()), "what it does not rest on may change");
        let gone = EnvironmentDeleted { environment: id(2) };
        let gone = Event::Environments(EnvironmentsEvent::EnvironmentDeleted(gone));
        assert_eq!(after(gone), Err(EnvironmentsRejection::NotFound.into()));
    }

    #[test]
    fn what_was_seen_must_still_be_so() {
        let state = acme([set(1, "A", "1")]);
        let command = prepared(&state, &wanted(&["A"], &[])).unwrap();
        let seen = |version| command.decide(&state, &by_having_seen(person(id(1)), version)).map(|_| ());
        assert_eq!(seen(6), Ok(()));
        assert_eq!(seen(5), Err(PreconditionFailed.into()));
    }

    #[test]
    fn a_secret_leaves_by_whom_it_may_be_shown_to_alone() {
        let joined = |number| Event::People(PeopleEvent::PersonJoined(crate::given::joined(number)));
        let viewer = [joined(2), assigned(2, 2, SystemRole::Viewer)];
        let state = acme(viewer.into_iter().chain([set(1, "A", "1"), secret(1, 1, "S", None)]));
        let decide = |config: &[&str], secrets: &[&str]| {
            let command = prepared(&state, &wanted(config, secrets)).unwrap();
            command.decide(&state, &by(person(id(2)))).map(|_| ())
        };
        assert_eq!(decide(&[], &["S"]), Err(Rejection::Forbidden(Permission::SecretReveal)));
        assert_eq!(decide(&["A"], &[]), Err(Rejection::Forbidden(Permission::ConfigWrite)));
        let command = prepared(&state, &wanted(&["A"], &["S"])).unwrap();
        assert_eq!(command.need(), Need::Environment(Permission::ConfigWrite, id(2)));
        let at_source: Vec<_> = command.needs_at_source().collect();
        assert_eq!(at_source, [Permission::ConfigRead, Permission::SecretReveal]);
    }
}
