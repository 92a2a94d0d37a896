//! OAuth apps, in the golden history.

use settled::actor::Actor;
use settled::ids::{Fresh, OauthAppId, StreamId};
use settled::oauth::provider::ClientAuthentication;
use settled::platform::managed_apps::client_secret_field as managed_field;
use settled::platform::managed_apps::command::{ManagedAppsCommand, SetManagedApp};
use settled::seal::keyring::NewDataKey;
use settled::seal::{Commitment, Plain};
use settled::settings::connections::command::{
    At, ConnectionsCommand, CreateConnection, Made, UpdateConnection,
};
use settled::settings::connections::event::ConnectLink;
use settled::settings::connections::granting::{Connect, HandedOut, NoteFailure, NoteRefresh, Reconnect};
use settled::settings::connections::value::{AppRef, Kind};
use settled::settings::connections::{ACCESS_TOKEN, CREDENTIAL, REFRESH_TOKEN, credential_field};
use settled::settings::environments::value::Slug;
use settled::settings::oauth_apps::client_secret_field;
use settled::settings::oauth_apps::command::{CreateOauthApp, OauthAppsCommand, UpdateOauthApp, UrlsPatch};
use settled::settings::oauth_apps::event::CustomUrls;
use settled::settings::oauth_apps::value::{ClientId, ProviderName};
use settled::settings::secrets::value::Scope;
use settled::store::Submission;
use settled::text::Name;

use crate::test_store::{Founded, TestStore};

/// Apps of the organization's own, one that stays and one that goes.
pub async fn record_oauth_apps(store: &TestStore, founded: &Founded) {
    let (stays, goes): (OauthAppId, OauthAppId) = (Fresh.id(), Fresh.id());
    let stream = StreamId::Organization(founded.organization);
    let sealed = |app: OauthAppId, secret: &str| {
        let key = store.store.ring().mint(stream).expect("the organization has a key");
        (key.key().seal(&client_secret_field(stream, &app.to_string()), &Plain::from(secret)), key)
    };
    let urls = CustomUrls {
        authorize_url: "https://idp.example.com/authorize".to_owned(),
        token_url: "https://idp.example.com/token".to_owned(),
        revoke_url: None,
        issuer: Some("https://idp.example.com".to_owned()),
    };
    for (app, provider, urls) in [(stays, "custom", Some(urls)), (goes, "github", None)] {
        let (client_secret, key) = sealed(app, "a client secret");
        let create = CreateOauthApp {
            app,
            provider: ProviderName::try_from(provider).expect("a provider's name"),
            name: None,
            client_id: ClientId::try_from("client").expect("a client id"),
            client_secret,
            scopes: serde_json::from_str(r#"["read"]"#).expect("scopes"),
            client_authentication: urls.is_some().then_some(ClientAuthentication::Basic),
            pkce: urls.is_some().then_some(false),
            urls,
        };
        let mut submission = Submission::new(OauthAppsCommand::Create(create), founded.owner);
        submission.keys = vec![key];
        store.execute(founded, submission).await.unwrap();
    }
    let (client_secret, key) = sealed(stays, "another client secret");
    let update = UpdateOauthApp {
        app: stays,
        name: Some(Name::try_from("Ours").expect("a name")),
        client_id: None,
        client_secret: Some(client_secret),
        scopes: None,
        urls: UrlsPatch {
            revoke_url: Some(Some("https://idp.example.com/revoke".to_owned())),
            ..UrlsPatch::default()
        },
        client_authentication: None,
        pkce: None,
    };
    let mut submission = Submission::new(OauthAppsCommand::Update(update), founded.owner);
    submission.keys = vec![key];
    store.execute(founded, submission).await.unwrap();
    store.execute(founded, Submission::new(OauthAppsCommand::Delete(goes), founded.owner)).await.unwrap();
}

/// The operator's: one that another takes the place of, and its end.
pub async fn record_managed_apps(store: &TestStore) {
    for secret in ["a client secret", "another client secret"] {
        let key = store.store.ring().mint(StreamId::Platform).expect("the platform has a key");
        let set = SetManagedApp {
            provider: "github".to_owned(),
            client_id: "client".to_owned(),
            client_secret: key.key().seal(&managed_field("github"), &Plain::from(secret)),
            scopes: vec!["read:user".to_owned()],
        };
        let mut submission = Submission::new(ManagedAppsCommand::Set(set), Actor::OPERATOR);
        submission.keys = vec![key];
        store.store.execute(store.store.platform(), submission).await.unwrap();
    }
    let delete = ManagedAppsCommand::Delete("github".to_owned());
    store.store.execute(store.store.platform(), Submission::new(delete, Actor::OPERATOR)).await.unwrap();
}

/// Connections: one with its credential, and one that somebody consented to, whose token was refreshed, and was not.
pub async fn record_connections(store: &TestStore, founded: &Founded) {
    let (environment, app) = {
        let view = store.handle(founded.organization).view();
        let environment = view.organization().environments.iter().next().expect("an environment").id;
        (environment, view.organization().oauth_apps.iter().next().expect("an app").clone())
    };
    let stream = StreamId::Organization(founded.organization);
    let scope = Scope::Environment(environment);
    let now = store.store.clock().now();
    let link =
        |number: u8| ConnectLink { token: Commitment([number; 32]), ends_at: now.plus_seconds(86_400) };
    let at = |connection| At { connection, scope };
    let (held, asked) = (at(Fresh.id()), at(Fresh.id()));
    let (held_key, asked_key) =
        (store.store.ring().mint(stream).unwrap(), store.store.ring().mint(stream).unwrap());
    let seal = |key: &NewDataKey, at: At, field: &str, text: &str| {
        key.key().seal(&credential_field(stream, &at.connection.to_string(), field), &Plain::from(text))
    };
    let handed_out = |token: &str| HandedOut {
        access_token: seal(&asked_key, asked, ACCESS_TOKEN, token),
        refresh_token: Some(seal(&asked_key, asked, REFRESH_TOKEN, token)),
        expires_at: Some(now.plus_seconds(3_600)),
        refresh_at: Some(now.plus_seconds(3_000)),
        scopes: Some(vec!["read".to_owned()]),
    };
    let create = |at, name, key: &NewDataKey, made| {
        let name = Slug::try_from(name).expect("a name");
        ConnectionsCommand::Create(CreateConnection { at, name, key: key.id(), made })
    };
    let credential = seal(&held_key, held, CREDENTIAL, "a token");
    let made = Made::Held { kind: Kind::Token, credential };
    let scopes = vec!["read".to_owned()];
    let asks = Made::Asked { app: AppRef::Own(app.id), scopes, link: link(1) };
    let another = Some((Kind::Token, seal(&held_key, held, CREDENTIAL, "another token")));
    let credentials_version = Some(app.client_secret.credentials_version);
    let connection = asked.connection;
    for (command, actor, keys) in [
        (create(held, "billing", &held_key, made), founded.owner, vec![held_key.clone()]),
        (
            ConnectionsCommand::Update(UpdateConnection { at: held, name: None, credential: another }),
            founded.owner,
            vec![],
        ),
        (create(asked, "crm", &asked_key, asks), founded.owner, vec![asked_key.clone()]),
        (ConnectionsCommand::Reconnect(Reconnect { at: asked, link: link(2) }), founded.owner, vec![]),
        (
            ConnectionsCommand::Connect(Connect {
                connection,
                link: Commitment([2; 32]),
                credentials_version,
                handed_out: handed_out("first"),
            }),
            Actor::SYSTEM,
            vec![],
        ),
        (ConnectionsCommand::Refresh(asked), founded.owner, vec![]),
        (
            ConnectionsCommand::NoteRefresh(NoteRefresh {
                connection,
                from: 1,
                handed_out: handed_out("second"),
            }),
            Actor::SYSTEM,
            vec![],
        ),
        (
            ConnectionsCommand::NoteFailure(NoteFailure {
                connection,
                from: 2,
                cause: "unavailable",
                next_at: Some(now.plus_seconds(30)),
            }),
            Actor::SYSTEM,
            vec![],
        ),
        (ConnectionsCommand::Revoke(held), founded.owner, vec![]),
    ] {
        let mut submission = Submission::new(command, actor);
        submission.keys = keys;
        store.execute(founded, submission).await.unwrap();
    }
}
