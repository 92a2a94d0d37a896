//! What random histories ask of connections: made with a credential or for somebody to consent to, consented to, refreshed
//! or not, and ended.

use proptest::prelude::*;
use proptest::sample::Index;
use settled::actor::Actor;
use settled::ids::{CustomerId, EnvironmentId, Fresh, OauthAppId, OrganizationId, StreamId};
use settled::seal::keyring::NewDataKey;
use settled::seal::token::PlainToken;
use settled::seal::{Plain, Sealed};
use settled::settings::connections::command::{
    At, ConnectionsCommand, CreateConnection, Made, UpdateConnection,
};
use settled::settings::connections::event::ConnectLink;
use settled::settings::connections::granting::{Connect, HandedOut, NoteFailure, NoteRefresh, Reconnect};
use settled::settings::connections::value::{AppRef, Kind};
use settled::settings::connections::{ACCESS_TOKEN, CREDENTIAL, REFRESH_TOKEN, credential_field};
use settled::settings::environments::value::Slug;
use settled::settings::secrets::value::Scope;
use settled::store::Submission;

use crate::test_store::{TestStore, start};

/// What is asked for. Indices choose among what earlier steps tried to make.
#[derive(Clone, Debug)]
pub enum ConnectionAsk {
    Create { within: Index, customer: Option<Index>, name: u8, by: By },
    Update { which: Index, name: Option<u8>, credential: Option<Kind> },
    Reconnect(Index),
    Connect { which: Index, link: Index, app_version: Option<u64>, gives: Gives },
    Refreshed { which: Index, from: u64, gives: Gives },
    Failed { which: Index, from: u64, is_over: bool },
    Revoke(Index),
}

/// What a connection is made by.
#[derive(Clone, Debug)]
pub enum By {
    Token,
    Basic,
    /// A consent, as one of the organization's apps or as the operator's.
    Consent(Option<Index>),
}

/// What a provider hands out beside an access token.
#[derive(Clone, Copy, Debug)]
pub struct Gives {
    refresh_token: bool,
    ends: bool,
    scopes: bool,
}

pub fn connection_ask() -> impl Strategy<Value = ConnectionAsk> {
    let index = any::<Index>;
    let by = prop_oneof![
        1 => Just(By::Token),
        1 => Just(By::Basic),
        4 => prop::option::weighted(0.7, index()).prop_map(By::Consent),
    ];
    let gives = || {
        (prop::bool::weighted(0.8), any::<bool>(), any::<bool>())
            .prop_map(|(refresh_token, ends, scopes)| Gives { refresh_token, ends, scopes })
    };
    let kind = prop_oneof![Just(Kind::Token), Just(Kind::Basic)];
    prop_oneof![
        6 => (index(), prop::option::weighted(0.25, index()), 0..4u8, by)
            .prop_map(|(within, customer, name, by)| ConnectionAsk::Create { within, customer, name, by }),
        2 => (index(), prop::option::of(0..4u8), prop::option::of(kind))
            .prop_map(|(which, name, credential)| ConnectionAsk::Update { which, name, credential }),
        2 => index().prop_map(ConnectionAsk::Reconnect),
        6 => (index(), index(), prop::option::of(1..3u64), gives())
            .prop_map(|(which, link, app_version, gives)| ConnectionAsk::Connect {
                which, link, app_version, gives,
            }),
        4 => (index(), 1..3u64, gives())
            .prop_map(|(which, from, gives)| ConnectionAsk::Refreshed { which, from, gives }),
        4 => (index(), 1..3u64, prop::bool::weighted(0.3))
            .prop_map(|(which, from, is_over)| ConnectionAsk::Failed { which, from, is_over }),
        1 => index().prop_map(ConnectionAsk::Revoke),
    ]
}

/// A connection that a step tried to make, and the links that were ever drawn for it.
#[derive(Clone)]
struct Tried {
    at: At,
    key: NewDataKey,
    links: Vec<ConnectLink>,
}

/// What earlier steps tried to make.
#[derive(Default)]
pub struct MadeConnections(Vec<Tried>);

/// What a step says beside what is asked for.
#[derive(Clone, Copy)]
pub struct Step<'a> {
    pub mark: &'a str,
    pub actor: Actor,
    pub organization: OrganizationId,
    pub with: &'a TestStore,
}

impl Step<'_> {
    fn stream(&self) -> StreamId {
        StreamId::Organization(self.organization)
    }

    fn tried(&self, scope: Scope) -> Tried {
        let key = self.with.store.ring().mint(self.stream()).unwrap();
        Tried { at: At { connection: Fresh.id(), scope }, key, links: Vec::new() }
    }

    fn named(&self, name: u8) -> Slug {
        Slug::try_from(format!("{}-{name}", self.mark).as_str()).unwrap()
    }

    fn sealed(&self, of: &Tried, field: &str) -> Sealed {
        let place = of.at.connection.to_string();
        of.key.key().seal(&credential_field(self.stream(), &place, field), &Plain::from(self.mark))
    }

    fn handed_out(&self, to: &Tried, gives: Gives) -> HandedOut {
        HandedOut {
            access_token: self.sealed(to, ACCESS_TOKEN),
            refresh_token: gives.refresh_token.then(|| self.sealed(to, REFRESH_TOKEN)),
            expires_at: gives.ends.then(|| start().plus_seconds(40_000)),
            refresh_at: (gives.ends && gives.refresh_token).then(|| start().plus_seconds(30_000)),
            scopes: gives.scopes.then(|| vec!["read".to_owned()]),
        }
    }
}

/// A link that is good for as long as most histories are.
fn link() -> ConnectLink {
    ConnectLink { token: PlainToken::draw().hash(), ends_at: start().plus_seconds(50_000) }
}

impl MadeConnections {
    /// One that a step tried to make; one of nobody where there is none yet.
    fn chosen(&mut self, which: Index, step: &Step<'_>) -> &mut Tried {
        if self.0.is_empty() {
            self.0.push(step.tried(Scope::Environment(Fresh.id())));
        }
        let number = which.index(self.0.len());
        &mut self.0[number]
    }
}

impl ConnectionAsk {
    /// What is submitted for it; a connection that is to be made joins `made`.
    pub fn submission(
        self,
        made: &mut MadeConnections,
        environment: impl Fn(Index) -> EnvironmentId,
        customer: impl Fn(Index) -> CustomerId,
        app: impl Fn(Index) -> OauthAppId,
        step: Step<'_>,
    ) -> Submission {
        // What a provider says is noted by the system.
        let noted = |command| Submission::new(command, Actor::SYSTEM);
        match self {
            Self::Create { within, customer: whose, name, by } => {
                let scope = match whose {
                    None => Scope::Environment(environment(within)),
                    Some(whose) => Scope::Customer(environment(within), customer(whose)),
                };
                let mut tried = step.tried(scope);
                let held = |kind| Made::Held { kind, credential: step.sealed(&tried, CREDENTIAL) };
                let content = match by {
                    By::Token => held(Kind::Token),
                    By::Basic => held(Kind::Basic),
                    By::Consent(which) => {
                        let managed = || AppRef::Managed("github".to_owned());
                        let app = which.map_or_else(managed, |which| AppRef::Own(app(which)));
                        let link = link();
                        tried.links.push(link);
                        Made::Asked { app, scopes: vec!["read".to_owned()], link }
                    }
                };
                let create = CreateConnection {
                    at: tried.at,
                    name: step.named(name),
                    key: tried.key.id(),
                    made: content,
                };
                let mut submission = Submission::new(ConnectionsCommand::Create(create), step.actor);
                submission.keys = vec![tried.key.clone()];
                made.0.push(tried);
                submission
            }
            Self::Update { which, name, credential } => {
                let tried = made.chosen(which, &step);
                let credential = credential.map(|kind| (kind, step.sealed(tried, CREDENTIAL)));
                let name = name.map(|name| step.named(name));
                let update = UpdateConnection { at: tried.at, name, credential };
                Submission::new(ConnectionsCommand::Update(update), step.actor)
            }
            Self::Reconnect(which) => {
                let (tried, link) = (made.chosen(which, &step), link());
                tried.links.push(link);
                let reconnect = Reconnect { at: tried.at, link };
                Submission::new(ConnectionsCommand::Reconnect(reconnect), step.actor)
            }
            Self::Connect { which, link: by, app_version, gives } => {
                let tried = made.chosen(which, &step);
                let link = if tried.links.is_empty() { link() } else { *by.get(&tried.links) };
                noted(ConnectionsCommand::Connect(Connect {
                    connection: tried.at.connection,
                    link: link.token,
                    credentials_version: app_version,
                    handed_out: step.handed_out(tried, gives),
                }))
            }
            Self::Refreshed { which, from, gives } => {
                let tried = made.chosen(which, &step);
                let (connection, handed_out) = (tried.at.connection, step.handed_out(tried, gives));
                noted(ConnectionsCommand::NoteRefresh(NoteRefresh { connection, from, handed_out }))
            }
            Self::Failed { which, from, is_over } => noted(ConnectionsCommand::NoteFailure(NoteFailure {
                connection: made.chosen(which, &step).at.connection,
                from,
                cause: if is_over { "invalid_grant" } else { "unreachable" },
                next_at: (!is_over).then(|| start().plus_seconds(35_000)),
            })),
            Self::Revoke(which) => {
                let at = made.chosen(which, &step).at;
                Submission::new(ConnectionsCommand::Revoke(at), step.actor)
            }
        }
    }
}
