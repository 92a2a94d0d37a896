//! A thing's past: the events that concern it, each with what it changed; and how two points in time differ.
//!
//! What of it somebody may see is decided here, by their grants, and nowhere else: who asks gets nothing that was not
//! held against them.

use serde::Serialize;

use crate::event::{Recorded, Version};
use crate::history::description::{Description, Difference, FieldChange, Focus};
use crate::history::readable;
use crate::http::page::{Filled, LONGEST_PAGE, json_bytes};
use crate::organization::Organization;
use crate::settings::roles::access::Grants;
use crate::store::Store;
use crate::store::as_of::Actions;
use crate::store::history::HistoryError;
use crate::store::resident::{Handle, View};

/// The most events that one request looks at while it finds none to show: the state is folded anew for every
/// [`LONGEST_PAGE`] of them. The page is empty then, and its cursor goes on.
pub const EXAMINED_MAX: usize = 2_000;

/// Whose past is asked for, by whom, and which page of it.
pub struct Asking {
    /// What is meant.
    pub focus: Focus,
    /// What whoever asks may do.
    pub grants: Grants,
    /// Only what happened before this version.
    pub before: Version,
    /// At most so many rows.
    pub limit: usize,
}

/// A page of a thing's past.
pub struct Past<T> {
    /// What happened, newest first.
    pub rows: Vec<T>,
    /// The version before which the next page begins.
    pub next: Option<Version>,
}

impl<T: Serialize> Past<T> {
    /// Whether nothing happened, here or on later pages.
    pub fn is_nothing(&self) -> bool {
        self.rows.is_empty() && self.next.is_none()
    }

    /// Finds the events that concern what is meant, and makes a row of each that changed something of it and may be
    /// seen: a page of them, or fewer. Blocks.
    ///
    /// # Errors
    /// When the history cannot be read.
    pub fn read(
        store: &Store,
        handle: &Handle,
        view: &View,
        asking: &Asking,
        mut row: impl FnMut(&Recorded, &[FieldChange]) -> T,
    ) -> Result<Self, HistoryError> {
        let Asking { focus, grants, before, limit } = asking;
        let actions = actions(focus);
        let (mut before, mut window, mut examined) = (*before, *limit, 0);
        loop {
            let mut events = store.concerning(handle, view, focus, &actions, before, window + 1)?;
            let more = events.len() > window;
            events.truncate(window);
            let Some(oldest) = events.last().map(|event| event.version) else {
                return Ok(Self { rows: Vec::new(), next: None });
            };
            examined += events.len();
            let earlier = earlier(store, handle, view, focus, &events, oldest - 1)?;
            let mut telling = Telling::new(earlier, focus, grants);
            // Told from the oldest on, of which no more is kept than a page has.
            let mut page = Filled::new(*limit);
            for event in events.iter().rev() {
                if let Some(changes) = telling.take(event) {
                    let row = row(event, &changes);
                    page.push_front(json_bytes(&row), (event.version, row));
                }
            }
            let (rows, left_over) = page.finish();
            if rows.is_empty() && more && examined < EXAMINED_MAX {
                (before, window) = (oldest, LONGEST_PAGE);
                continue;
            }
            let shown = rows.last().map(|(version, _)| *version).filter(|_| left_over);
            let next = shown.or_else(|| more.then_some(oldest));
            return Ok(Self { rows: rows.into_iter().map(|(_, row)| row).collect(), next });
        }
    }
}

/// The settings as of a version that some events after it are told from: of each area what these change of it, and nothing of
/// all others.
fn earlier(
    store: &Store,
    handle: &Handle,
    view: &View,
    focus: &Focus,
    events: &[Recorded],
    version: Version,
) -> Result<Organization, HistoryError> {
    let (Focus::Resource(id) | Focus::Named(id, _)) = focus else {
        return Ok(store.as_of(handle, version)?.organization().clone());
    };
    if let Ok(customer) = id.parse() {
        return store.customer_as_of(handle, view, version, customer);
    }
    // A configuration value is a part of its environment.
    let is_part = |told: Focus| told == *focus || matches!(&told, Focus::Named(of, _) if focus.includes(of));
    store.settings_as_of(handle, view, version, &|_, reads| {
        let concerned = events.iter().filter(|event| reads.contains(&event.event.action()));
        let mut told = concerned.map(|event| told_by(focus, event).0).peekable();
        told.peek()?;
        Some(if told.all(is_part) { focus.clone() } else { Focus::All })
    })
}

/// How the settings that are meant differ between two states, as far as somebody may see them.
pub fn differences(
    from: &Organization,
    to: &Organization,
    focus: &Focus,
    grants: &Grants,
) -> Vec<Difference> {
    let mut found = Description::of(from, focus).differences(&Description::of(to, focus));
    found.retain(|difference| readable::allows(grants, &difference.subject));
    found
}

/// Which actions can concern what is meant.
fn actions(focus: &Focus) -> Actions {
    let areas = Organization::AREAS.iter();
    let mut actions = Actions::default();
    for area in areas {
        actions.mentioning.extend(area.reads.iter().filter(|action| !area.notes.contains(action)));
        let meant = match focus {
            Focus::Resource(id) => readable::kind_of(id),
            Focus::Named(..) | Focus::All | Focus::Actions(_) => None,
        };
        if area.kinds.iter().any(|reads| Some(reads.kind) == meant) {
            actions.cascading.extend(area.cascades);
        }
    }
    actions
}

/// A state that takes events in, and tells somebody what each changed of what is meant.
struct Telling<'a> {
    state: Organization,
    focus: &'a Focus,
    grants: &'a Grants,
    /// Whether what is meant may be seen at all.
    sees: bool,
}

impl<'a> Telling<'a> {
    fn new(state: Organization, focus: &'a Focus, grants: &'a Grants) -> Self {
        Self { state, focus, grants, sees: readable::sees(grants, focus) }
    }

    /// Takes an event in; what it changed, unless it is no part of the history or may not be seen.
    fn take(&mut self, event: &Recorded) -> Option<Vec<FieldChange>> {
        let changes = self.changes_of(event);
        // What changed nothing and is not about the thing itself, a cascade or a change of the environment around a
        // value, is no part of its history.
        let about = match self.focus {
            Focus::Named(..) => event.resource.is_inner(),
            Focus::Resource(_) | Focus::All | Focus::Actions(_) => self.focus.is_mentioned_by(event),
        };
        let environment = event.environment();
        let visible = self.sees && readable::check(self.grants, event.resource.kind, environment).is_ok();
        ((about || !changes.is_empty()) && visible).then_some(changes)
    }

    /// Takes an event in, and tells what it changed: of the thing it is about where it mentions what is meant, else of
    /// what is meant.
    fn changes_of(&mut self, event: &Recorded) -> Vec<FieldChange> {
        let (told, only_own) = told_by(self.focus, event);
        let before = Description::of(&self.state, &told);
        self.state.apply(event);
        let after = Description::of(&self.state, &told);
        let differences = before.differences(&after).into_iter();
        let own = differences.filter(|difference| !only_own || difference.subject.is(&event.resource));
        own.flat_map(|difference| difference.fields).collect()
    }
}

/// What an event is told to have changed, in the history of what is meant: the thing that it is about where it mentions what is
/// meant, and of that only its own; else what is meant.
fn told_by(focus: &Focus, event: &Recorded) -> (Focus, bool) {
    match focus {
        // One configuration value's history tells of the value, also where its environment went with it.
        Focus::Named(..) => (focus.clone(), false),
        Focus::Resource(_) if !focus.is_mentioned_by(event) => (focus.clone(), false),
        Focus::Resource(_) | Focus::All | Focus::Actions(_) => {
            let about = match &event.resource.name {
                Some(name) if event.resource.is_inner() => {
                    Focus::Named(event.resource.id.clone(), name.clone())
                }
                _ => Focus::Resource(event.resource.id.clone()),
            };
            (about, true)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actor::Actor;
    use crate::event::{Event, Resource, ResourceType};
    use crate::given::{assigned, founded, id, member, now, organization, recorded};
    use crate::ids::{EnvironmentId, StreamId};
    use crate::settings::environments::event::{
        ConfigSet, EnvironmentCreated, EnvironmentDeleted, EnvironmentsEvent, Mode,
    };
    use crate::settings::roles::permission::Permission;
    use crate::settings::roles::role::SystemRole;

    fn environment() -> EnvironmentId {
        id(1)
    }

    fn created() -> Event {
        Event::Environments(EnvironmentsEvent::EnvironmentCreated(EnvironmentCreated {
            environment: environment(),
            name: "Stage".to_owned(),
            slug: "stage".to_owned(),
            mode: Mode::Test,
            description: None,
        }))
    }

    fn set() -> Event {
        Event::Environments(EnvironmentsEvent::ConfigSet(ConfigSet {
            environment: environment(),
            key: "REGION".to_owned(),
            value: "1".to_owned(),
        }))
    }

    fn deleted() -> Event {
        let deleted = EnvironmentDeleted { environment: environment() };
        Event::Environments(EnvironmentsEvent::EnvironmentDeleted(deleted))
    }

    fn grants(all: &[Permission]) -> Grants {
        Grants { organization: all.iter().copied().collect(), ..Grants::default() }
    }

    /// What somebody is told of an environment that was made, got a value, was given somebody a role in, and went.
    fn told(focus: &Focus, grants: &Grants) -> Vec<String> {
        let env = environment();
        let grant = Resource::new(ResourceType::RoleAssignment, id::<crate::ids::RoleAssignmentId>(4));
        let events = [
            (created(), Resource::named(ResourceType::Environment, env, "Stage")),
            (set(), Resource::named(ResourceType::Config, env, "REGION")),
            (assigned(4, 1, SystemRole::Developer), grant),
            (deleted(), Resource::named(ResourceType::Environment, env, "Stage")),
        ];
        let mut telling = Telling::new(organization(founded()), focus, grants);
        let mut told = Vec::new();
        for (event, resource) in events {
            let stream = StreamId::Organization(id(1));
            let mut event = recorded(stream, 9, now(), Actor::SYSTEM, event);
            (event.resource, event.related) = (resource, vec![env.to_string()]);
            if telling.take(&event).is_some() {
                told.push(event.event.action().to_owned());
            }
        }
        told
    }

    #[test]
    fn a_history_tells_what_may_be_seen_alone() {
        use Permission::{ConfigRead, EnvironmentRead, RoleRead};
        let whole = Focus::Resource(environment().to_string());
        let (made, given, gone) = ("environment.create", "role_assignment.create", "environment.delete");
        for (held, expected) in [
            (&[EnvironmentRead, ConfigRead, RoleRead][..], &[made, "config.set", given, gone][..]),
            (&[EnvironmentRead, ConfigRead], &[made, "config.set", gone]),
            (&[EnvironmentRead, RoleRead], &[made, given, gone]),
            (&[EnvironmentRead], &[made, gone]),
            (&[ConfigRead, RoleRead], &[]),
            (&[], &[]),
        ] {
            assert_eq!(told(&whole, &grants(held)), expected, "{held:?}");
        }
        let value = Focus::Named(environment().to_string(), "REGION".to_owned());
        assert_eq!(told(&value, &grants(&[EnvironmentRead, ConfigRead])), ["config.set", gone]);
        assert_eq!(told(&value, &grants(&[EnvironmentRead])), [""; 0]);
        assert_eq!(told(&value, &grants(&[ConfigRead])), [""; 0]);
        let somewhere = |environment: EnvironmentId| {
            let mut grants = Grants::default();
            grants.environments.insert_mut(environment, [EnvironmentRead, ConfigRead].into_iter().collect());
            grants
        };
        assert_eq!(told(&whole, &somewhere(environment())), [made, "config.set", gone]);
        assert_eq!(told(&whole, &somewhere(id(2))), [""; 0]);
    }

    #[test]
    fn a_difference_is_shown_to_whom_the_thing_may_be_alone() {
        use Permission::{ConfigRead, EnvironmentRead, OrganizationRead, PersonRead, RoleRead};
        use ResourceType::{Config, Environment, Organization as Whole, Person, RoleAssignment};
        let to = organization(founded().into_iter().chain(member(2, None)).chain([created(), set()]));
        let seen = |held: &[Permission]| {
            let found = differences(&Organization::default(), &to, &Focus::All, &grants(held));
            found.iter().map(|difference| difference.subject.kind).collect::<Vec<_>>()
        };
        let mut all = seen(&[OrganizationRead, PersonRead, RoleRead, EnvironmentRead, ConfigRead]);
        assert_eq!(all.len(), 6, "two people: {all:?}");
        all.dedup();
        for (permission, kind) in [
            (OrganizationRead, Whole),
            (PersonRead, Person),
            (RoleRead, RoleAssignment),
            (EnvironmentRead, Environment),
            (ConfigRead, Config),
        ] {
            let mut alone = seen(&[permission]);
            alone.dedup();
            assert_eq!(alone, [kind]);
            assert!(all.contains(&kind));
        }
        assert_eq!(seen(&[]), []);
    }
}
