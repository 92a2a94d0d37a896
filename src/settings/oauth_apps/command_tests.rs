//! given / when / then of commands to OAuth apps.

use super::*;
use crate::event::Event;
use crate::given::{by, by_having_seen, events, founded, id, organization, person, sealed};

fn url(path: &str) -> String {
    format!("https://idp.example.com/{path}")
}

fn urls() -> CustomUrls {
    CustomUrls {
        authorize_url: url("authorize"),
        token_url: url("token"),
        revoke_url: Some(url("revoke")),
        issuer: None,
    }
}

fn create(number: u128, provider: &str) -> CreateOauthApp {
    CreateOauthApp {
        app: id(number),
        provider: ProviderName::try_from(provider).unwrap(),
        name: None,
        client_id: ClientId::try_from("client").unwrap(),
        client_secret: sealed(number),
        scopes: Scopes::default(),
        urls: None,
        client_authentication: None,
        pkce: None,
    }
}

fn update() -> UpdateOauthApp {
    UpdateOauthApp {
        app: id(1),
        name: None,
        client_id: None,
        client_secret: None,
        scopes: None,
        urls: UrlsPatch::default(),
        client_authentication: None,
        pkce: None,
    }
}

fn created(provider: &str, name: &str, urls: Option<CustomUrls>) -> Event {
    Event::OauthApps(OauthAppsEvent::OauthAppCreated(OauthAppCreated {
        app: id(1),
        provider: provider.to_owned(),
        name: name.to_owned(),
        client_id: "client".to_owned(),
        credentials_version: 1,
        client_secret: sealed(1),
        scopes: Vec::new(),
        client_authentication: urls.as_ref().map(|_| ClientAuthentication::default()),
        pkce: urls.as_ref().map(|_| true),
        urls,
        copied_from: None,
    }))
}

fn decide(given: Vec<Event>, command: OauthAppsCommand) -> Result<Vec<Event>, Rejection> {
    let state = organization(founded().into_iter().chain(given));
    events(command.decide(&state, &by(person(id(1)))))
}

fn rejected(rejection: OauthAppsRejection) -> Result<Vec<Event>, Rejection> {
    Err(rejection.into())
}

fn updated(change: impl FnOnce(&mut OauthAppUpdated)) -> Result<Vec<Event>, Rejection> {
    let mut updated = OauthAppUpdated::of(id(1));
    change(&mut updated);
    Ok(vec![Event::OauthApps(OauthAppsEvent::OauthAppUpdated(updated))])
}

#[test]
fn an_app_is_made_of_a_provider_that_there_is() {
    let made = |command| decide(vec![], OauthAppsCommand::Create(command));
    assert_eq!(made(create(1, "github")), Ok(vec![created("github", "GitHub", None)]));
    assert_eq!(made(create(1, "nobody")), rejected(OauthAppsRejection::UnknownProvider));
    let named = CreateOauthApp { name: Some(Name::try_from("Ours").unwrap()), ..create(1, "github") };
    assert_eq!(made(named), Ok(vec![created("github", "Ours", None)]));
}

#[test]
fn only_a_custom_provider_has_urls_of_its_own_and_it_needs_them() {
    let made = |command| decide(vec![], OauthAppsCommand::Create(command));
    let custom = CreateOauthApp { urls: Some(urls()), ..create(1, CUSTOM) };
    assert_eq!(made(custom), Ok(vec![created(CUSTOM, CUSTOM, Some(urls()))]));
    assert_eq!(made(create(1, CUSTOM)), rejected(OauthAppsRejection::UrlsMissing));
    let with_urls = CreateOauthApp { urls: Some(urls()), ..create(1, "github") };
    assert_eq!(made(with_urls), rejected(OauthAppsRejection::NotCustom));
    let way = Some(ClientAuthentication::Basic);
    let with_way = CreateOauthApp { client_authentication: way, ..create(1, "github") };
    assert_eq!(made(with_way), rejected(OauthAppsRejection::NotCustom));
    let with_pkce = CreateOauthApp { pkce: Some(true), ..create(1, "github") };
    assert_eq!(made(with_pkce), rejected(OauthAppsRejection::NotCustom));
}

#[test]
fn a_custom_app_says_whether_it_sends_pkce() {
    let given = || vec![created(CUSTOM, "Ours", Some(urls()))];
    let says = |pkce| OauthAppsCommand::Update(UpdateOauthApp { pkce: Some(pkce), ..update() });
    assert_eq!(decide(given(), says(true)), Ok(vec![]), "it does already");
    assert_eq!(decide(given(), says(false)), updated(|updated| updated.pkce = Some(false)));
    let catalogued = vec![created("github", "GitHub", None)];
    assert_eq!(decide(catalogued, says(false)), rejected(OauthAppsRejection::NotCustom));
}

#[test]
fn an_organization_has_so_many_apps() {
    let given = (0..OAUTH_APPS_MAX as u128).map(|number| {
        let Event::OauthApps(OauthAppsEvent::OauthAppCreated(created)) = created("github", "G", None) else {
            panic!("an app");
        };
        Event::OauthApps(OauthAppsEvent::OauthAppCreated(OauthAppCreated { app: id(number), ..created }))
    });
    let more = OauthAppsCommand::Create(create(5_000, "github"));
    assert_eq!(decide(given.collect(), more), rejected(OauthAppsRejection::TooMany));
}

#[test]
fn a_change_names_what_is_new_and_nothing_else() {
    let given = || vec![created("github", "GitHub", None)];
    let name = |name| UpdateOauthApp { name: Some(Name::try_from(name).unwrap()), ..update() };
    assert_eq!(decide(given(), OauthAppsCommand::Update(name("GitHub"))), Ok(vec![]));
    let renamed = updated(|updated| updated.name = Some("Ours".to_owned()));
    assert_eq!(decide(given(), OauthAppsCommand::Update(name("Ours"))), renamed);
    assert_eq!(
        decide(vec![], OauthAppsCommand::Update(name("Ours"))),
        rejected(OauthAppsRejection::NotFound)
    );
    // A secret is new whenever it is written.
    let secret = UpdateOauthApp { client_secret: Some(sealed(2)), ..update() };
    let written = updated(|updated| {
        updated.credentials_version = Some(2);
        updated.client_secret = Some(sealed(2));
    });
    assert_eq!(decide(given(), OauthAppsCommand::Update(secret)), written);
}

#[test]
fn a_url_changes_only_together_with_the_secret() {
    let given = || vec![created(CUSTOM, "Ours", Some(urls()))];
    let elsewhere = || UrlsPatch { token_url: Some(url("elsewhere")), ..UrlsPatch::default() };
    let alone = UpdateOauthApp { urls: elsewhere(), ..update() };
    assert_eq!(decide(given(), OauthAppsCommand::Update(alone)), rejected(OauthAppsRejection::SecretMissing));
    let both = UpdateOauthApp { urls: elsewhere(), client_secret: Some(sealed(2)), ..update() };
    let moved = updated(|updated| {
        updated.urls = Some(CustomUrls { token_url: url("elsewhere"), ..urls() });
        updated.credentials_version = Some(2);
        updated.client_secret = Some(sealed(2));
    });
    assert_eq!(decide(given(), OauthAppsCommand::Update(both)), moved);
    // The URL that it has is no change.
    let same = UrlsPatch { token_url: Some(url("token")), ..UrlsPatch::default() };
    let same = UpdateOauthApp { urls: same, ..update() };
    assert_eq!(decide(given(), OauthAppsCommand::Update(same)), Ok(vec![]));
    let catalogued = UpdateOauthApp { urls: elsewhere(), client_secret: Some(sealed(2)), ..update() };
    let given = vec![created("github", "GitHub", None)];
    assert_eq!(decide(given, OauthAppsCommand::Update(catalogued)), rejected(OauthAppsRejection::NotCustom));
}

#[test]
fn what_was_deleted_is_not_there() {
    let deleted = Event::OauthApps(OauthAppsEvent::OauthAppDeleted(OauthAppDeleted { app: id(1) }));
    let given = vec![created("github", "GitHub", None)];
    assert_eq!(decide(given.clone(), OauthAppsCommand::Delete(id(1))), Ok(vec![deleted.clone()]));
    let gone = [given, vec![deleted]].concat();
    assert_eq!(decide(gone, OauthAppsCommand::Delete(id(1))), rejected(OauthAppsRejection::NotFound));
}

#[test]
fn whoever_saw_another_version_changes_nothing() {
    let state = organization(founded().into_iter().chain([created("github", "GitHub", None)]));
    let stale = by_having_seen(person(id(1)), 3);
    let name = UpdateOauthApp { name: Some(Name::try_from("Ours").unwrap()), ..update() };
    for command in [OauthAppsCommand::Update(name), OauthAppsCommand::Delete(id(1))] {
        let decided = command.decide(&state, &stale);
        assert!(matches!(decided, Err(Rejection::PreconditionFailed(_))), "{decided:?}");
    }
}
