//! The command that appends a restore: all of its steps, or none.

use crate::command::{Context, Need, NewEvent, Rejection};
use crate::event::{Resource, ResourceType, Version};
use crate::history::restore::plan::Step;
use crate::organization::Organization;
use crate::settings::general::command::GeneralRejection;
use crate::settings::general::event::{GeneralEvent, OrganizationRestored, RestoredScope};
use crate::settings::roles::permission::Permission;

/// The most bytes of a plan as it is told, which is all of it as it is and as it becomes, uncompressed. What is stored is
/// bounded by a frame, but compresses: without this a plan of a few KiB could come to an answer of any length.
pub const PLAN_MAX_BYTES: usize = 4 * 1024 * 1024;

/// Appends a prepared plan.
#[derive(Clone, Debug)]
pub struct RestoreSettings {
    /// The version that settings are brought back from.
    pub as_of: Version,
    /// What of them.
    pub scope: RestoredScope,
    /// Which thing, where it is one.
    pub target: Option<String>,
    /// Whether grants of roles are brought back too.
    pub include_access: bool,
    /// The version of the last change to a restorable setting that the plan was made from.
    pub revision: Version,
    /// How many bytes the plan is as it is told, or some number over [`PLAN_MAX_BYTES`].
    pub bytes: usize,
    /// The plan.
    pub steps: Vec<Step>,
}

impl RestoreSettings {
    /// A restore that brings nothing back.
    pub fn of_nothing(as_of: Version, revision: Version) -> Self {
        let scope = RestoredScope::Organization;
        Self { as_of, scope, target: None, include_access: false, revision, bytes: 0, steps: Vec::new() }
    }

    /// What it needs of its actor, beside what each step does.
    pub fn need(&self) -> Need {
        Need::Organization(Permission::OrganizationRestore)
    }

    /// Decides. `If-Match` is held against the last change to a restorable setting.
    ///
    /// # Errors
    /// A failed precondition; [`Rejection::Stale`] if the plan was made from other settings, or takes away what somebody
    /// is connected by since (making a connection is no change to what a restore can bring back); the first permission
    /// that a step needs and the actor lacks; [`Rejection::TooLarge`] if it is longer than [`PLAN_MAX_BYTES`].
    pub fn decide(&self, state: &Organization, context: &Context) -> Result<Vec<NewEvent>, Rejection> {
        let founded = state.general.founded().ok_or(GeneralRejection::NotFound)?;
        let revision = state.revision.version();
        context.check_version(revision)?;
        if revision != self.revision || self.steps.iter().any(|step| step.takes_what_is_in_use(state)) {
            return Err(Rejection::Stale);
        }
        if self.include_access {
            Need::Organization(Permission::OrganizationOwn).check(state, context)?;
        }
        for step in &self.steps {
            step.check(state, context)?;
        }
        if self.bytes > PLAN_MAX_BYTES {
            return Err(Rejection::TooLarge);
        }
        if self.steps.is_empty() {
            return Ok(Vec::new());
        }
        let restored = OrganizationRestored {
            as_of: self.as_of,
            scope: self.scope,
            target: self.target.clone(),
            steps: self.steps.len() as u64,
        };
        let resource =
            Resource::named(ResourceType::Organization, founded.organization, founded.name.as_str());
        let mut said = NewEvent::new(resource, GeneralEvent::OrganizationRestored(restored));
        if let Some(target) = &self.target {
            let id = target.split_once('/').map_or(target.as_str(), |(id, _)| id);
            said = said.relating(id);
        }
        let mut events: Vec<_> = self.steps.iter().map(|step| step.event.clone()).collect();
        events.push(said);
        Ok(events)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::PreconditionFailed;
    use crate::event::Event;
    use crate::given::{
        assigned, by, by_having_seen, events, founded, id, member, organization, person, sealed,
    };
    use crate::history::description::Focus;
    use crate::history::restore::plan::{Cannot, plan};
    use crate::settings::connections::event::{ConnectionCreated, ConnectionsEvent};
    use crate::settings::connections::value::Kind;
    use crate::settings::environments::event::{
        EnvironmentCreated, EnvironmentDeleted, EnvironmentUpdated, EnvironmentsEvent, Mode,
    };
    use crate::settings::general::event::OrganizationUpdated;
    use crate::settings::oauth_apps::event::{OauthAppCreated, OauthAppsEvent};
    use crate::settings::roles::role::{RoleRef, SystemRole};

    fn created(number: u128, slug: &str) -> Event {
        Event::Environments(EnvironmentsEvent::EnvironmentCreated(EnvironmentCreated {
            environment: id(number),
            name: slug.to_owned(),
            slug: slug.to_owned(),
            mode: Mode::Test,
            description: None,
        }))
    }

    fn deleted(number: u128) -> Event {
        Event::Environments(EnvironmentsEvent::EnvironmentDeleted(EnvironmentDeleted {
            environment: id(number),
        }))
    }

    fn renamed(number: u128, slug: &str) -> Event {
        Event::Environments(EnvironmentsEvent::EnvironmentUpdated(EnvironmentUpdated {
            environment: id(number),
            name: Some(slug.to_owned()),
            slug: Some(slug.to_owned()),
            description: None,
            cleared: Vec::new(),
        }))
    }

    fn updated(update: OrganizationUpdated) -> Event {
        Event::General(GeneralEvent::OrganizationUpdated(update))
    }

    fn acme(more: impl IntoIterator<Item = Event>) -> Organization {
        organization(founded().into_iter().chain(member(2, Some(SystemRole::Admin))).chain(more))
    }

    fn prepared(past: &Organization, present: &Organization, access: bool) -> (RestoreSettings, Vec<Cannot>) {
        let (steps, cannot) = plan(past, present, &Focus::All, access).finish();
        let command = RestoreSettings {
            as_of: 5,
            scope: RestoredScope::Organization,
            target: None,
            include_access: access,
            revision: present.revision.version(),
            bytes: 0,
            steps,
        };
        (command, cannot)
    }

    fn said(steps: u64) -> Event {
        Event::General(GeneralEvent::OrganizationRestored(OrganizationRestored {
            as_of: 5,
            scope: RestoredScope::Organization,
            target: None,
            steps,
        }))
    }

    #[test]
    fn two_environments_get_their_names_and_slugs_back_that_they_swapped() {
        let then = [created(1, "a"), created(2, "b")];
        let swapped = then.clone().into_iter().chain([renamed(1, "c"), renamed(2, "a"), renamed(1, "b")]);
        let (past, present) = (acme(then), acme(swapped.clone()));
        let (command, cannot) = prepared(&past, &present, false);
        let decided = events(command.decide(&present, &by(person(id(2))))).unwrap();
        assert_eq!(decided, [renamed(1, "a"), renamed(2, "b"), said(2)]);
        assert_eq!(cannot, []);
        let restored = acme(swapped.chain(decided));
        assert_eq!(restored.environments.by_slug("a").unwrap().id, id(1));
        assert_eq!(restored.environments.by_slug("b").unwrap().id, id(2));
    }

    #[test]
    fn a_plan_without_steps_appends_nothing() {
        let state = acme([]);
        assert_eq!(prepared(&state, &state, true).0.decide(&state, &by(person(id(1)))), Ok(Vec::new()));
    }

    #[test]
    fn a_plan_of_mebibytes_is_refused_once_all_that_it_needs_is_there() {
        let (past, present) = (acme([created(1, "a")]), acme([created(1, "a"), renamed(1, "b")]));
        let command = prepared(&past, &present, false).0;
        let of = |bytes| RestoreSettings { bytes, ..command.clone() };
        assert!(of(PLAN_MAX_BYTES).decide(&present, &by(person(id(2)))).is_ok());
        let large = of(PLAN_MAX_BYTES + 1);
        assert_eq!(large.decide(&present, &by(person(id(2)))), Err(Rejection::TooLarge));
        let nobody = large.decide(&present, &by(person(id(9))));
        assert_eq!(nobody, Err(Rejection::Forbidden(Permission::EnvironmentManage)));
    }

    #[test]
    fn a_plan_made_from_other_settings_is_stale() {
        let (past, present) = (acme([]), acme([created(1, "a")]));
        let (command, _) = prepared(&past, &present, false);
        let changed = acme([created(1, "a"), created(2, "b")]);
        assert_eq!(command.decide(&changed, &by(person(id(1)))), Err(Rejection::Stale));
        // Somebody who joins is no setting that a restore brings back.
        let joined = acme([created(1, "a")].into_iter().chain(member(3, None)));
        assert!(command.decide(&joined, &by(person(id(1)))).is_ok());
    }

    /// A connection, as an app of the organization's.
    fn connected(number: u128, environment: u128, app: u128) -> Event {
        Event::Connections(ConnectionsEvent::ConnectionCreated(ConnectionCreated {
            connection: id(number),
            kind: Kind::Oauth,
            name: "crm".to_owned(),
            environment: id(environment),
            customer: None,
            key: id(number),
            credential: None,
            oauth_app: Some(id(app)),
            provider: None,
            scopes: Vec::new(),
            link: None,
        }))
    }

    fn app(number: u128) -> Event {
        Event::OauthApps(OauthAppsEvent::OauthAppCreated(OauthAppCreated {
            app: id(number),
            provider: "github".to_owned(),
            name: "GitHub".to_owned(),
            client_id: "client".to_owned(),
            credentials_version: 1,
            client_secret: sealed(number),
            scopes: Vec::new(),
            urls: None,
            client_authentication: None,
            pkce: None,
            copied_from: None,
        }))
    }

    #[test]
    fn what_somebody_was_connected_by_since_is_not_taken_away() {
        let since = [app(1), created(2, "b")];
        let (past, present) = (acme([]), acme(since.clone()));
        let (command, _) = prepared(&past, &present, false);
        let decided = |more: Vec<Event>| {
            command.decide(&acme(since.clone().into_iter().chain(more)), &by(person(id(1))))
        };
        assert_eq!(events(decided(vec![])).unwrap().len(), 3);
        assert_eq!(decided(vec![connected(3, 1, 1)]), Err(Rejection::Stale), "by the app");
        assert_eq!(decided(vec![connected(3, 2, 7)]), Err(Rejection::Stale), "in the environment");
        assert!(decided(vec![connected(3, 1, 7)]).is_ok(), "by neither");
    }

    #[test]
    fn what_has_connections_stays_with_its_name() {
        let then = [created(1, "a")];
        let since = [deleted(1), created(2, "a"), app(1), connected(3, 2, 1)];
        let (past, present) = (acme(then.clone()), acme(then.into_iter().chain(since)));
        let (command, cannot) = prepared(&past, &present, false);
        assert!(command.steps.is_empty(), "{command:?}");
        let mut whys: Vec<_> = cannot.iter().map(|cannot| cannot.why).collect();
        whys.sort_unstable();
        assert_eq!(whys, ["has_connections", "in_use", "name_taken"]);
    }

    #[test]
    fn what_was_seen_must_still_be_so() {
        let (past, present) = (acme([]), acme([created(1, "a")]));
        let (command, _) = prepared(&past, &present, false);
        assert!(command.decide(&present, &by_having_seen(person(id(1)), 6)).is_ok());
        let decided = command.decide(&present, &by_having_seen(person(id(1)), 5));
        assert_eq!(decided, Err(PreconditionFailed.into()));
    }

    #[test]
    fn each_step_needs_what_its_command_does() {
        let (past, present) = (acme([created(1, "a")]), acme([created(1, "a"), renamed(1, "b")]));
        let (command, _) = prepared(&past, &present, false);
        let state = acme(
            [created(1, "a"), renamed(1, "b")].into_iter().chain(member(3, Some(SystemRole::Developer))),
        );
        let command = RestoreSettings { revision: state.revision.version(), ..command };
        let decided = command.decide(&state, &by(person(id(3))));
        assert_eq!(decided, Err(Rejection::Forbidden(Permission::EnvironmentManage)));
        assert!(command.decide(&state, &by(person(id(2)))).is_ok());
    }

    #[test]
    fn nobody_restores_a_role_to_join_with_that_holds_more_than_they_do() {
        let role =
            |role| OrganizationUpdated { join_role: Some(RoleRef::System(role)), ..Default::default() };
        let then = [updated(role(SystemRole::Owner))];
        let now = then.clone().into_iter().chain([updated(role(SystemRole::Viewer))]);
        let (past, present) = (acme(then), acme(now));
        let (command, _) = prepared(&past, &present, false);
        let decided = command.decide(&present, &by(person(id(2))));
        assert_eq!(decided, Err(Rejection::Forbidden(Permission::OrganizationOwn)));
        assert!(command.decide(&present, &by(person(id(1)))).is_ok());
    }

    #[test]
    fn grants_are_restored_by_an_owner_alone() {
        let past = acme(member(3, Some(SystemRole::Viewer)));
        let present = acme(member(3, None));
        assert!(prepared(&past, &present, false).0.steps.is_empty());
        let (command, _) = prepared(&past, &present, true);
        let decided = command.decide(&present, &by(person(id(2))));
        assert_eq!(decided, Err(Rejection::Forbidden(Permission::OrganizationOwn)));
        let decided = events(command.decide(&present, &by(person(id(1)))));
        assert_eq!(decided, Ok(vec![assigned(3, 3, SystemRole::Viewer), said(1)]));
    }

    #[test]
    fn the_last_owner_stays_one() {
        let nobody = organization([founded().remove(0)]);
        let (command, cannot) = prepared(&nobody, &organization(founded()), true);
        assert!(command.steps.is_empty());
        assert_eq!(cannot[0].why, "last_owner");
    }
}
