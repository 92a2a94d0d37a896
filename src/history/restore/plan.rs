//! The plan of a restore: which events lead from what is to what was, in which order, and what does not come back.
//!
//! Pure: the same two states give the same plan.

use serde_json::{Map, Value};

use crate::command::{Context, Need, NewEvent, Rejection};
use crate::event::Event;
use crate::history::description::{Change, Description, Difference, Field, FieldChange, Focus, Subject};
use crate::ids::{CustomerId, EnvironmentId, OauthAppId, SecretId, TeamId};
use crate::organization::Organization;
use crate::seal::Commitment;
use crate::settings::environments::event::EnvironmentsEvent;
use crate::settings::oauth_apps::event::OauthAppsEvent;
use crate::settings::roles::access::{Held, ceiling};
use crate::settings::roles::permission::PermissionSet;
use crate::settings::roles::role::RoleRef;

/// When among the steps one is made: what goes makes room first, and what is granted needs the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Things go.
    Deletes,
    /// Things change.
    Updates,
    /// Things come back.
    Creates,
    /// Roles in what came back are given.
    Grants,
}

/// One step: an ordinary event, and what it needs of whoever restores.
#[derive(Clone, Debug)]
pub struct Step {
    /// The event.
    pub event: NewEvent,
    /// The permission of the command that it stands for.
    pub need: Need,
    /// What it gives to somebody: nobody gives more than they hold.
    pub gives: Vec<Held>,
    /// Where the value comes from that its event copies, where it copies one. The event holds the value as it is sealed
    /// there, until it is sealed anew.
    pub copies: Option<Copied>,
    /// The thing.
    pub subject: Subject,
    /// Its name for people.
    pub shown: Option<String>,
    change: Change,
    fields: Vec<FieldChange>,
}

/// A sealed value that is copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copied {
    /// What it is the value of.
    pub from: CopiedFrom,
    /// What history committed to of its key.
    pub commitment: Option<Commitment>,
}

/// What a value is copied from; the copy stays within its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopiedFrom {
    /// A secret.
    Secret(SecretId),
    /// An OAuth app: its client secret.
    OauthApp(OauthAppId),
}

/// A thing that does not come back, or not all of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cannot {
    /// The thing.
    pub subject: Subject,
    /// Its name for people.
    pub shown: Option<String>,
    /// Why, in a word.
    pub why: &'static str,
}

/// What an area plans with.
#[derive(Clone, Copy)]
pub struct Outlook<'a> {
    /// The organization as it was.
    pub past: &'a Organization,
    /// The organization as it is.
    pub present: &'a Organization,
    /// Whether everything is to be as it was, or only some things.
    pub whole: bool,
    /// Whether it is one thing alone that is named inside another.
    pub single: bool,
    /// Whether grants of roles are to be as they were.
    pub access: bool,
}

impl Outlook<'_> {
    /// What a role allows once all is as planned; `None` where it will not be there.
    pub fn role(&self, role: RoleRef) -> Option<PermissionSet> {
        self.state_of_access().roles.permissions(role)
    }

    /// Whether a team will be there once all is as planned.
    pub fn has_team(&self, team: TeamId) -> bool {
        self.state_of_access().teams.get(team).is_some()
    }

    /// Whether an environment will be there once all is as planned.
    pub fn has_environment(&self, environment: EnvironmentId) -> bool {
        let state = if self.whole { self.past } else { self.present };
        state.environments.get(environment).is_some() || self.keeps(environment)
    }

    /// Whether an environment that came since stays, with all that is in it: no restore takes connections away.
    pub fn keeps(&self, environment: EnvironmentId) -> bool {
        self.past.environments.get(environment).is_none() && self.present.connections.has_any_in(environment)
    }

    /// Whether a customer came since, and stays with what it has: where the whole organization goes back, whom it works for
    /// by now does not go.
    pub fn stays(&self, customer: CustomerId) -> bool {
        self.whole && self.past.customers.get(customer).is_none()
    }

    /// Roles and teams are as they were where all of them come back.
    fn state_of_access(&self) -> &Organization {
        if self.whole && self.access { self.past } else { self.present }
    }
}

/// A plan in the making.
#[derive(Debug, Default)]
pub struct Plan {
    steps: Vec<(Phase, Step)>,
    cannot: Vec<Cannot>,
}

/// The plan from what is to what was.
pub fn plan(past: &Organization, present: &Organization, focus: &Focus, access: bool) -> Plan {
    let single = matches!(focus, Focus::Named(..));
    let outlook = Outlook { past, present, whole: *focus == Focus::All, single, access };
    let mut plan = Plan::default();
    for area in Organization::AREAS {
        let describe = |state| {
            let mut description = Description::default();
            (area.describe)(state, focus, &mut description);
            description
        };
        let differences = describe(present).differences(&describe(past));
        (area.restore)(&differences, &outlook, &mut plan);
    }
    plan
}

impl Step {
    /// A step that makes a difference go.
    pub fn new(difference: &Difference, event: NewEvent, need: Need) -> Self {
        Self {
            event,
            need,
            gives: Vec::new(),
            copies: None,
            subject: difference.subject.clone(),
            shown: difference.shown.clone(),
            change: difference.change,
            fields: difference.fields.clone(),
        }
    }

    /// The same, which gives something to somebody.
    #[must_use]
    pub fn giving(mut self, held: impl IntoIterator<Item = Held>) -> Self {
        self.gives.extend(held);
        self
    }

    /// The same, whose event copies a value.
    #[must_use]
    pub fn copying(mut self, copied: Copied) -> Self {
        self.copies = Some(copied);
        self
    }

    /// The same, which leaves some fields as they are.
    #[must_use]
    pub fn without(mut self, fields: &[&str]) -> Self {
        self.fields.retain(|change| !fields.contains(&change.field));
        self
    }

    /// Leaves a field as it is, and takes it out of the event; whether nothing is left to do.
    pub fn leave_out(&mut self, field: &str, take_out: impl FnOnce(&mut Event) -> bool) -> bool {
        self.fields.retain(|change| change.field != field);
        let taken_out = take_out(&mut self.event.event);
        taken_out && self.change == Change::Updated && self.fields.is_empty()
    }

    /// Whether whoever restores may make it.
    ///
    /// # Errors
    /// The permission that is missing.
    pub fn check(&self, state: &Organization, context: &Context) -> Result<(), Rejection> {
        self.need.check(state, context)?;
        ceiling(state, context.actor.id, &self.gives).map_err(Rejection::Forbidden)
    }

    /// Whether it takes away what has connections: an environment, or the app that people were asked as.
    pub fn takes_what_is_in_use(&self, state: &Organization) -> bool {
        match &self.event.event {
            Event::Environments(EnvironmentsEvent::EnvironmentDeleted(deleted)) => {
                state.connections.has_any_in(deleted.environment)
            }
            Event::OauthApps(OauthAppsEvent::OauthAppDeleted(deleted)) => {
                state.connections.use_app(deleted.app)
            }
            _ => false,
        }
    }

    /// The fields that change, as they are; `None` where the thing is made.
    pub fn from(&self) -> Option<Map<String, Value>> {
        (self.change != Change::Created).then(|| told(&self.fields, |change| &change.from))
    }

    /// The fields that change, as they become; `None` where the thing goes.
    pub fn to(&self) -> Option<Map<String, Value>> {
        (self.change != Change::Deleted).then(|| told(&self.fields, |change| &change.to))
    }
}

fn told(fields: &[FieldChange], side: impl Fn(&FieldChange) -> &Option<Field>) -> Map<String, Value> {
    let tell = |change: &FieldChange| {
        let shown = side(change).as_ref().and_then(Field::shown);
        (change.field.to_owned(), shown.cloned().unwrap_or(Value::Null))
    };
    fields.iter().map(tell).collect()
}

impl Plan {
    /// Adds a step.
    pub fn step(&mut self, phase: Phase, step: Step) {
        self.steps.push((phase, step));
    }

    /// What the steps so far do to a thing.
    pub fn change_of(&self, subject: &Subject) -> Option<Change> {
        let of = |(_, step): &&(Phase, Step)| step.subject == *subject;
        self.steps.iter().find(of).map(|(_, step)| step.change)
    }

    /// Whether a thing does not come to what it was, or not in all.
    pub fn refuses(&self, subject: &Subject) -> bool {
        self.cannot.iter().any(|cannot| cannot.subject == *subject)
    }

    /// Notes what does not come back.
    pub fn cannot(&mut self, difference: &Difference, why: &'static str) {
        let (subject, shown) = (difference.subject.clone(), difference.shown.clone());
        self.cannot.push(Cannot { subject, shown, why });
    }

    /// The steps in their order, and what does not come back.
    pub fn finish(mut self) -> (Vec<Step>, Vec<Cannot>) {
        self.steps.sort_by_key(|(phase, _)| *phase);
        (self.steps.into_iter().map(|(_, step)| step).collect(), self.cannot)
    }
}
