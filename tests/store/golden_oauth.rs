//! OAuth apps, in the golden history.

use settled::actor::Actor;
use settled::ids::{Fresh, OauthAppId, StreamId};
use settled::oauth::provider::ClientAuthentication;
use settled::platform::managed_apps::client_secret_field as managed_field;
use settled::platform::managed_apps::command::{ManagedAppsCommand, SetManagedApp};
use settled::seal::Plain;
use settled::settings::oauth_apps::client_secret_field;
use settled::settings::oauth_apps::command::{CreateOauthApp, OauthAppsCommand, UpdateOauthApp, UrlsPatch};
use settled::settings::oauth_apps::event::CustomUrls;
use settled::settings::oauth_apps::value::{ClientId, ProviderName};
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
