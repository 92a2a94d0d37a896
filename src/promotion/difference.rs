//! What two environments have, each thing beside its namesake.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::ids::EnvironmentId;
use crate::settings::connections::connection::Connection;
use crate::settings::connections::projection::Connections;
use crate::settings::environments::projection::Environment;
use crate::settings::secrets::event::Origin;
use crate::settings::secrets::projection::Secrets;
use crate::settings::secrets::value::Scope;

/// A kind of thing that environments have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = PairKind)]
pub enum Kind {
    /// A configuration value.
    Config,
    /// A secret.
    Secret,
    /// A connection.
    Connection,
    /// An OAuth app that an environment's connections were made as.
    OauthApp,
}

/// Which of the two have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Presence {
    /// The first alone.
    OnlyA,
    /// The second alone.
    OnlyB,
    /// Both.
    Both,
}

/// What stands in one environment, as far as it is compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// A value, as canonical JSON text.
    Value(Arc<str>),
    /// Where a secret's value was first written; `None` once it was destroyed.
    Origin(Option<Origin>),
    /// How a connection is set up; whose account it leads to, nobody compares.
    Setup(String),
}

/// A thing by its name, as it is in both; at least in one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// In the first.
    pub a: Option<Content>,
    /// In the second.
    pub b: Option<Content>,
}

impl Pair {
    /// Which of the two have it.
    pub fn presence(&self) -> Presence {
        match (&self.a, &self.b) {
            (Some(_), None) => Presence::OnlyA,
            (None, Some(_)) => Presence::OnlyB,
            _ => Presence::Both,
        }
    }

    /// Whether both have the same: the same value, or copies of one.
    pub fn in_sync(&self) -> bool {
        self.a == self.b && self.a != Some(Content::Origin(None))
    }
}

/// The configuration values of two environments.
pub fn config(a: &Environment, b: &Environment) -> BTreeMap<(Kind, String), Pair> {
    let contents = |environment: &Environment| {
        let all = environment.config.iter();
        all.map(|(key, value)| (key.clone(), Content::Value(Arc::clone(&value.value)))).collect()
    };
    paired(Kind::Config, contents(a), contents(b))
}

/// The secrets of two environments.
pub fn secrets(secrets: &Secrets, a: EnvironmentId, b: EnvironmentId) -> BTreeMap<(Kind, String), Pair> {
    let contents = |environment| {
        let all = secrets.in_scope(Scope::Environment(environment));
        all.map(|secret| (secret.name.clone(), Content::Origin(secret.current_origin()))).collect()
    };
    paired(Kind::Secret, contents(a), contents(b))
}

/// The connections of two environments, by name; in sync where people are asked as the same app for the same.
pub fn connections(all: &Connections, a: EnvironmentId, b: EnvironmentId) -> BTreeMap<(Kind, String), Pair> {
    let contents = |environment| {
        let within = all.in_scope(Scope::Environment(environment));
        let setup = |connection: &Connection| {
            let asked =
                connection.grant.as_ref().map(|grant| (grant.app.to_string(), grant.scopes.join(" ")));
            let (app, scopes) = asked.unwrap_or_default();
            Content::Setup([connection.kind.name(), &app, &scopes].join(" "))
        };
        within.map(|connection| (connection.name.clone(), setup(connection))).collect()
    };
    paired(Kind::Connection, contents(a), contents(b))
}

/// The OAuth apps that two environments' connections were made as, by id, or by provider where they are the operator's.
pub fn oauth_apps(all: &Connections, a: EnvironmentId, b: EnvironmentId) -> BTreeMap<(Kind, String), Pair> {
    let contents = |environment| {
        let within = all.in_scope(Scope::Environment(environment));
        let apps = within.filter_map(|connection| Some(connection.grant.as_ref()?.app.to_string()));
        apps.map(|app| (app.clone(), Content::Setup(app))).collect()
    };
    paired(Kind::OauthApp, contents(a), contents(b))
}

fn paired(
    kind: Kind,
    a: BTreeMap<String, Content>,
    mut b: BTreeMap<String, Content>,
) -> BTreeMap<(Kind, String), Pair> {
    let mut pairs: BTreeMap<_, _> = a
        .into_iter()
        .map(|(name, a)| {
            let b = b.remove(&name);
            ((kind, name), Pair { a: Some(a), b })
        })
        .collect();
    pairs.extend(b.into_iter().map(|(name, b)| ((kind, name), Pair { a: None, b: Some(b) })));
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::given::id;

    fn pair(a: Option<Content>, b: Option<Content>) -> (Presence, bool) {
        let pair = Pair { a, b };
        (pair.presence(), pair.in_sync())
    }

    #[test]
    fn things_are_in_sync_where_both_have_the_same() {
        let value = |text: &str| Some(Content::Value(text.into()));
        assert_eq!(pair(value("1"), None), (Presence::OnlyA, false));
        assert_eq!(pair(None, value("1")), (Presence::OnlyB, false));
        assert_eq!(pair(value("1"), value("2")), (Presence::Both, false));
        assert_eq!(pair(value("1"), value("1")), (Presence::Both, true));
        let origin = |number| Some(Content::Origin(Some(Origin { resource: id(1), value_version: number })));
        assert_eq!(pair(origin(1), origin(1)), (Presence::Both, true));
        assert_eq!(pair(origin(1), origin(2)), (Presence::Both, false));
        let gone = || Some(Content::Origin(None));
        assert_eq!(pair(gone(), gone()), (Presence::Both, false), "nothing can be said of what is destroyed");
    }

    #[test]
    fn each_thing_stands_beside_its_namesake() {
        let contents = |names: &[&str]| -> BTreeMap<String, Content> {
            names.iter().map(|name| ((*name).to_owned(), Content::Value("1".into()))).collect()
        };
        let pairs = paired(Kind::Config, contents(&["A", "B"]), contents(&["B", "C"]));
        let told: Vec<_> = pairs.iter().map(|((_, name), pair)| (name.as_str(), pair.presence())).collect();
        assert_eq!(told, [("A", Presence::OnlyA), ("B", Presence::Both), ("C", Presence::OnlyB)]);
    }
}
