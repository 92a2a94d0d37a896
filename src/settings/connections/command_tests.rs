//! given / when / then of commands to connections, and of what becomes of a consent.

use super::*;
use crate::clock::Timestamp;
use crate::event::{Event, Outcome};
use crate::given::{
    by, by_having_seen, environment, events, founded, has_customer, id, now, organization, person, sealed,
};
use crate::ids::EnvironmentId;
use crate::seal::Commitment;
use crate::settings::connections::connection::INVALID_GRANT;
use crate::settings::connections::event::{
    ConnectionConnected, ConnectionReconnected, ConnectionRefreshAsked, TOKEN_REFRESH, TokenRefreshed, Tokens,
};
use crate::settings::connections::granting::{CONSENT_SECONDS, HandedOut};
use crate::settings::connections::value::Status;
use crate::settings::customers::command::erased;
use crate::settings::customers::event::{CustomerNamed, CustomersEvent};
use crate::settings::environments::event::Mode;
use crate::settings::oauth_apps::event::{CustomUrls, OauthAppCreated, OauthAppUpdated, OauthAppsEvent};

fn at(number: u128) -> At {
    At { connection: id(number), scope: Scope::Environment(id(1)) }
}

fn slug(name: &str) -> Slug {
    Slug::try_from(name).unwrap()
}

fn held(number: u128, name: &str) -> CreateConnection {
    let made = Made::Held { kind: Kind::Token, credential: sealed(number) };
    CreateConnection { at: at(number), name: slug(name), key: id(number), made }
}

fn link(number: u8) -> ConnectLink {
    ConnectLink { token: Commitment([number; 32]), ends_at: now().plus_seconds(60) }
}

fn asked(number: u128, name: &str) -> CreateConnection {
    let made = Made::Asked { app: AppRef::Own(id(1)), scopes: vec!["read".to_owned()], link: link(1) };
    CreateConnection { at: at(number), name: slug(name), key: id(number), made }
}

fn app() -> Event {
    let urls = CustomUrls {
        authorize_url: "https://idp.example.com/authorize".to_owned(),
        token_url: "https://idp.example.com/token".to_owned(),
        ..CustomUrls::default()
    };
    Event::OauthApps(OauthAppsEvent::OauthAppCreated(OauthAppCreated {
        app: id(1),
        provider: "custom".to_owned(),
        name: "Ours".to_owned(),
        client_id: "client".to_owned(),
        credentials_version: 1,
        client_secret: sealed(9),
        scopes: Vec::new(),
        urls: Some(urls),
        client_authentication: None,
        pkce: None,
        copied_from: None,
    }))
}

fn moved() -> Event {
    let urls =
        CustomUrls { token_url: "https://elsewhere.example.net/token".to_owned(), ..CustomUrls::default() };
    Event::OauthApps(OauthAppsEvent::OauthAppUpdated(OauthAppUpdated {
        urls: Some(urls),
        credentials_version: Some(2),
        client_secret: Some(sealed(8)),
        ..OauthAppUpdated::of(id(1))
    }))
}

/// Acme with an environment and an app, and what followed.
fn acme(more: impl IntoIterator<Item = Event>) -> Organization {
    organization(founded().into_iter().chain([environment(1, Mode::Test), app()]).chain(more))
}

fn decide(given: &[Event], command: ConnectionsCommand) -> Result<Vec<Event>, Rejection> {
    events(command.decide(&acme(given.iter().cloned()), &by(person(id(1)))))
}

/// What a command to nothing but these leads to.
fn made(given: &[Event], command: ConnectionsCommand) -> Vec<Event> {
    let more = decide(given, command).unwrap();
    given.iter().cloned().chain(more).collect()
}

fn handed_out(number: u128, refresh: bool) -> HandedOut {
    HandedOut {
        access_token: sealed(number),
        refresh_token: refresh.then(|| sealed(number + 100)),
        expires_at: Some(now().plus_seconds(3_600)),
        refresh_at: refresh.then(|| now().plus_seconds(3_000)),
        scopes: None,
    }
}

fn connect(number: u128, by_link: u8) -> ConnectionsCommand {
    let handed_out = handed_out(20, true);
    let link = Commitment([by_link; 32]);
    ConnectionsCommand::Connect(Connect {
        connection: id(number),
        link,
        credentials_version: Some(1),
        handed_out,
    })
}

fn connected() -> Vec<Event> {
    made(&made(&[], ConnectionsCommand::Create(asked(1, "crm"))), connect(1, 1))
}

fn status(given: &[Event], at: Timestamp) -> Status {
    acme(given.iter().cloned()).connections.get(id(1)).unwrap().status(at)
}

#[test]
fn a_connection_is_made_where_there_is_room_for_it() {
    let create = |command| ConnectionsCommand::Create(command);
    let given = made(&[], create(held(1, "billing")));
    assert!(matches!(&given[..], [Event::Connections(ConnectionsEvent::ConnectionCreated(_))]));
    assert_eq!(status(&given, now()), Status::Connected);
    assert_eq!(decide(&given, create(held(2, "billing"))), Err(ConnectionsRejection::NameTaken.into()));
    let nowhere = Scope::Environment(id::<EnvironmentId>(7));
    let nowhere = CreateConnection { at: At { connection: id(2), scope: nowhere }, ..held(2, "other") };
    assert_eq!(decide(&given, create(nowhere)), Err(ConnectionsRejection::UnknownEnvironment.into()));
    let made_as = Made::Asked { app: AppRef::Own(id(7)), scopes: Vec::new(), link: link(1) };
    let as_nobody = CreateConnection { made: made_as, ..held(2, "other") };
    assert_eq!(decide(&given, create(as_nobody)), Err(ConnectionsRejection::UnknownApp.into()));
}

#[test]
fn a_customer_has_so_many_connections_in_all_environments() {
    let scope = |environment| Scope::Customer(id(environment), id(1));
    let held = |number: u128| {
        let at = At { connection: id(number), scope: scope(1 + number % 2) };
        CreateConnection { at, ..held(number, &format!("c{number}")) }
    };
    let created = |number| {
        let decided = events(ConnectionsCommand::Create(held(number)).decide(&state([]), &by(person(id(1)))));
        decided.unwrap().remove(0)
    };
    fn state(more: impl IntoIterator<Item = Event>) -> Organization {
        acme([environment(2, Mode::Test), has_customer(1)].into_iter().chain(more))
    }
    let max = CUSTOMER_CONNECTIONS_MAX as u128;
    let full = state((1..=max).map(created));
    let one_more = ConnectionsCommand::Create(held(max + 1));
    assert_eq!(
        events(one_more.decide(&full, &by(person(id(1))))),
        Err(ConnectionsRejection::CustomerFull.into())
    );
    let room = state((1..max).map(created));
    assert!(one_more.decide(&room, &by(person(id(1)))).is_ok());
}

#[test]
fn what_is_sealed_is_counted_and_bounds_what_is_made() {
    let bytes = |given: &[Event]| acme(given.iter().cloned()).connections.sealed_bytes();
    let own = |number| sealed(number).data.0.len();
    let one = made(&[], ConnectionsCommand::Create(held(1, "billing")));
    assert_eq!(bytes(&one), own(1));
    let update = UpdateConnection { at: at(1), name: None, credential: Some((Kind::Token, sealed(2))) };
    assert_eq!(bytes(&made(&one, ConnectionsCommand::Update(update))), own(2));
    assert_eq!(bytes(&made(&one, ConnectionsCommand::Revoke(at(1)))), 0);
    assert_eq!(bytes(&connected()), own(20) + own(120), "an access token and a refresh token");
    let coming = sealed(1);
    let room = |bytes| check_room(bytes, Some(&coming));
    assert_eq!(room(SEALED_BYTES_MAX - own(1)), Ok(()));
    assert_eq!(room(SEALED_BYTES_MAX - own(1) + 1), Err(ConnectionsRejection::TooMuchSealed));
    assert_eq!(check_room(SEALED_BYTES_MAX + 1, None), Err(ConnectionsRejection::TooMuchSealed));
}

#[test]
fn connections_are_found_by_whom_and_where_they_are_of() {
    let of = |number, customer| {
        let scope = Scope::Customer(id(1), id(customer));
        CreateConnection { at: At { connection: id(number), scope }, ..asked(number, "crm") }
    };
    let mut given = vec![has_customer(1), has_customer(2)];
    for command in [held(1, "billing"), of(2, 1), of(3, 2), asked(4, "crm")] {
        given = made(&given, ConnectionsCommand::Create(command));
    }
    let told = |given: &[Event]| {
        let connections = acme(given.iter().cloned()).connections;
        let ids = |found: Vec<&Connection>| found.iter().map(|found| found.id).collect::<Vec<_>>();
        let of_customer = |customer| ids(connections.of_customer(id(customer)).collect());
        let within = ids(connections.in_environment_after(id(1), Some(id(1))).collect());
        (of_customer(1), of_customer(2), within, connections.use_app(id(1)))
    };
    let ids = |all: &[u128]| all.iter().map(|number| id(*number)).collect::<Vec<ConnectionId>>();
    assert_eq!(told(&given), (ids(&[2]), ids(&[3]), ids(&[2, 3, 4]), true));
    let erased = erased(&acme(given.iter().cloned()), id(1), id(1)).event;
    given.push(erased);
    assert_eq!(told(&given), (ids(&[]), ids(&[3]), ids(&[3, 4]), true));
    let at_customer = At { connection: id(3), scope: Scope::Customer(id(1), id(2)) };
    for ended in [at_customer, at(4)] {
        given = made(&given, ConnectionsCommand::Revoke(ended));
    }
    assert_eq!(told(&given), (ids(&[]), ids(&[]), ids(&[]), false));
    assert!(acme(given).connections.has_any_in(id(1)), "one is there still");
}

#[test]
fn whoever_asks_for_a_refresh_right_after_one_has_it() {
    let given = connected();
    let ask = |given: &[Event], seconds| {
        let context = Context { now: now().plus_seconds(seconds), ..by(person(id(1))) };
        events(ConnectionsCommand::Refresh(at(1)).decide(&acme(given.iter().cloned()), &context))
    };
    let asked = ConnectionRefreshAsked { connection: id(1) };
    let asked = Event::Connections(ConnectionsEvent::ConnectionRefreshAsked(asked));
    assert_eq!(ask(&given, 0), Ok(vec![asked.clone()]), "a consent is no refresh");
    let refresh = NoteRefresh { connection: id(1), from: 1, handed_out: handed_out(30, true) };
    let refreshed = made(&given, ConnectionsCommand::NoteRefresh(refresh));
    assert_eq!(ask(&refreshed, 9), Ok(vec![]));
    assert_eq!(ask(&refreshed, 10), Ok(vec![asked]));
    let not_refreshable = Err(ConnectionsRejection::NotRefreshable.into());
    let moved: Vec<Event> = given.into_iter().chain([moved()]).collect();
    assert_eq!(ask(&moved, 0), not_refreshable);
    assert_eq!(ask(&made(&[], ConnectionsCommand::Create(held(1, "billing"))), 0), not_refreshable);
}

#[test]
fn what_was_granted_is_recorded_once_it_is_another() {
    let refreshed = |given: &[Event], from, scopes: &[&str]| {
        let scopes = Some(scopes.iter().map(|scope| (*scope).to_owned()).collect::<Vec<_>>());
        let handed_out = HandedOut { scopes, ..handed_out(30, true) };
        made(given, ConnectionsCommand::NoteRefresh(NoteRefresh { connection: id(1), from, handed_out }))
    };
    let recorded = |given: &[Event]| match given.last() {
        Some(Event::Connections(ConnectionsEvent::TokenRefreshed(refreshed))) => {
            refreshed.tokens.scopes.clone()
        }
        other => panic!("{other:?}"),
    };
    let granted = |given: &[Event]| {
        acme(given.iter().cloned()).connections.get(id(1)).unwrap().grant.clone().unwrap().granted
    };
    let read = Some(vec!["read".to_owned()]);
    let once = refreshed(&connected(), 1, &["read"]);
    assert_eq!((recorded(&once), granted(&once)), (read.clone(), read.clone()));
    let again = refreshed(&once, 2, &["read"]);
    assert_eq!((recorded(&again), granted(&again)), (None, read));
    let less = refreshed(&again, 3, &[]);
    assert_eq!((recorded(&less), granted(&less)), (Some(vec![]), Some(vec![])));
}

#[test]
fn nobody_consents_for_a_customer_who_is_not_served() {
    let scope = Scope::Customer(id(1), id(1));
    let at = At { connection: id(1), scope };
    let create = ConnectionsCommand::Create(CreateConnection { at, ..asked(1, "crm") });
    let given = made(&[has_customer(1)], create);
    let named = CustomerNamed { customer: id(1) };
    let again = || ConnectionsCommand::Reconnect(Reconnect { at, link: link(2) });
    assert!(decide(&given, connect(1, 1)).is_ok() && decide(&given, again()).is_ok());
    for left in [CustomersEvent::CustomerSuspended(named.clone()), CustomersEvent::CustomerDeleted(named)] {
        let left: Vec<Event> = given.iter().cloned().chain([Event::Customers(left)]).collect();
        assert_eq!(decide(&left, connect(1, 1)), Err(ConnectionsRejection::InvalidLink.into()));
        assert_eq!(decide(&left, again()), Err(ConnectionsRejection::CustomerInactive.into()));
    }
}

#[test]
fn a_change_names_what_is_new() {
    let given = made(&[], ConnectionsCommand::Create(held(1, "billing")));
    let update = |name: Option<&str>, credential| {
        ConnectionsCommand::Update(UpdateConnection { at: at(1), name: name.map(slug), credential })
    };
    assert_eq!(decide(&given, update(Some("billing"), None)), Ok(vec![]));
    let written = decide(&given, update(None, Some((Kind::Token, sealed(2))))).unwrap();
    let [Event::Connections(ConnectionsEvent::ConnectionUpdated(updated))] = &written[..] else {
        panic!("{written:?}");
    };
    assert_eq!((&updated.name, updated.credential_version), (&None, Some(2)));
    let basic = update(None, Some((Kind::Basic, sealed(2))));
    assert_eq!(decide(&given, basic), Err(ConnectionsRejection::OtherKind.into()));
    let two = made(&given, ConnectionsCommand::Create(held(2, "other")));
    assert_eq!(decide(&two, update(Some("other"), None)), Err(ConnectionsRejection::NameTaken.into()));
    assert_eq!(decide(&[], update(Some("x"), None)), Err(ConnectionsRejection::NotFound.into()));
    let stale = update(Some("x"), None).decide(&acme(given), &by_having_seen(person(id(1)), 3));
    assert!(matches!(stale, Err(Rejection::PreconditionFailed(_))), "{stale:?}");
}

#[test]
fn what_is_ended_takes_its_key_along_and_frees_its_name() {
    let given = made(&[], ConnectionsCommand::Create(held(1, "billing")));
    let revoked = ConnectionRevoked { connection: id(1), destroyed_keys: vec![id(1)] };
    let revoked = Event::Connections(ConnectionsEvent::ConnectionRevoked(revoked));
    assert_eq!(decide(&given, ConnectionsCommand::Revoke(at(1))), Ok(vec![revoked]));
    let gone = made(&given, ConnectionsCommand::Revoke(at(1)));
    assert_eq!(decide(&gone, ConnectionsCommand::Revoke(at(1))), Err(ConnectionsRejection::NotFound.into()));
    assert!(decide(&gone, ConnectionsCommand::Create(held(2, "billing"))).is_ok());
    assert!(!acme(gone).connections.has_any_in(id(1)));
}

#[test]
fn a_consent_counts_once_by_the_newest_link_in_time_and_for_the_same_app() {
    let invalid = || Err(ConnectionsRejection::InvalidLink.into());
    let given = made(&[], ConnectionsCommand::Create(asked(1, "crm")));
    assert_eq!(status(&given, now()), Status::Pending);
    assert_eq!(decide(&given, connect(1, 2)), invalid(), "another link");
    let again = Reconnect { at: at(1), link: link(2) };
    let replaced = made(&given, ConnectionsCommand::Reconnect(again));
    assert!(matches!(
        replaced.last(),
        Some(Event::Connections(ConnectionsEvent::ConnectionReconnected(ConnectionReconnected { .. })))
    ));
    assert_eq!(decide(&replaced, connect(1, 1)), invalid(), "the link before");
    let late = by(person(id(1)));
    let late = Context { now: now().plus_seconds(61 + CONSENT_SECONDS), ..late };
    assert_eq!(events(connect(1, 1).decide(&acme(given.iter().cloned()), &late)), invalid(), "too late");
    let other = given.iter().cloned().chain([moved()]).collect::<Vec<_>>();
    assert_eq!(decide(&other, connect(1, 1)), invalid(), "the app has other URLs");
    let connected = made(&given, connect(1, 1));
    assert!(matches!(
        connected.last(),
        Some(Event::Connections(ConnectionsEvent::ConnectionConnected(ConnectionConnected { .. })))
    ));
    assert_eq!(decide(&connected, connect(1, 1)), invalid(), "used");
    let held = made(&[], ConnectionsCommand::Create(held(1, "billing")));
    let again = Reconnect { at: at(1), link: link(2) };
    assert_eq!(
        decide(&held, ConnectionsCommand::Reconnect(again)),
        Err(ConnectionsRejection::OtherKind.into())
    );
}

#[test]
fn a_refresh_counts_once_and_keeps_a_refresh_token_that_stays() {
    let given = connected();
    let refresh = |from, handed_out| {
        ConnectionsCommand::NoteRefresh(NoteRefresh { connection: id(1), from, handed_out })
    };
    let refreshed = made(&given, refresh(1, handed_out(30, false)));
    let Some(Event::Connections(ConnectionsEvent::TokenRefreshed(TokenRefreshed { tokens, .. }))) =
        refreshed.last()
    else {
        panic!("{refreshed:?}");
    };
    assert_eq!(tokens.credential_version, 2);
    let state = acme(refreshed.iter().cloned());
    let grant = state.connections.get(id(1)).unwrap().grant.clone().unwrap();
    assert_eq!(grant.refresh_token.as_deref(), Some(&sealed(120)), "the one that it had");
    assert_eq!(decide(&refreshed, refresh(1, handed_out(40, true))), Ok(vec![]), "of the one before");
    assert_eq!(decide(&[], refresh(1, handed_out(40, true))), Ok(vec![]), "of none");
}

#[test]
fn what_was_under_way_brings_nothing_back_whose_apps_urls_are_others() {
    let given: Vec<Event> = connected().into_iter().chain([moved()]).collect();
    let refresh = NoteRefresh { connection: id(1), from: 1, handed_out: handed_out(30, true) };
    assert_eq!(decide(&given, ConnectionsCommand::NoteRefresh(refresh)), Ok(vec![]));
    let next_at = Some(now().plus_seconds(30));
    let failure = NoteFailure { connection: id(1), from: 1, cause: "unavailable", next_at };
    assert_eq!(decide(&given, ConnectionsCommand::NoteFailure(failure)), Ok(vec![]));
}

#[test]
fn a_failure_says_why_and_when_it_is_tried_again() {
    let given = connected();
    let fail = |cause, next_at| {
        ConnectionsCommand::NoteFailure(NoteFailure { connection: id(1), from: 1, cause, next_at })
    };
    let next_at = Some(now().plus_seconds(30));
    let state = acme(given.iter().cloned());
    let decided = fail("unavailable", next_at).decide(&state, &by(person(id(1)))).unwrap();
    let [event] = &decided[..] else { panic!("{decided:?}") };
    let Event::Refused(refused) = &event.event else { panic!("{event:?}") };
    assert_eq!((refused.action.as_str(), event.outcome), (TOKEN_REFRESH, Outcome::Failure));
    assert_eq!((refused.data.cause.as_deref(), refused.data.next_at), (Some("unavailable"), next_at));
    assert_eq!(decide(&[], fail("unavailable", next_at)), Ok(vec![]));
    assert_eq!(decide(&given, fail(INVALID_GRANT, None)).unwrap().len(), 1);
}

#[test]
fn a_status_follows_from_what_is_known_and_the_time() {
    let given = connected();
    let end = now().plus_seconds(3_600);
    assert_eq!(status(&given, now()), Status::Connected);
    assert_eq!(status(&given, end), Status::Connected, "it is about to be refreshed");
    let other = given.iter().cloned().chain([moved()]).collect::<Vec<_>>();
    assert_eq!(status(&other, now()), Status::Failed);
    let state = acme(other);
    assert_eq!(state.connections.get(id(1)).unwrap().usable(), None);
    // Without a refresh token there is an end.
    let asked = made(&[], ConnectionsCommand::Create(asked(1, "crm")));
    let handed_out = handed_out(20, false);
    let command =
        Connect { connection: id(1), link: Commitment([1; 32]), credentials_version: Some(1), handed_out };
    let once = made(&asked, ConnectionsCommand::Connect(command));
    assert_eq!((status(&once, now()), status(&once, end)), (Status::Expiring, Status::Failed));
    let Some(Event::Connections(ConnectionsEvent::ConnectionConnected(connected))) = once.last() else {
        panic!("{once:?}");
    };
    let Tokens { refresh_at, credential_version, .. } = &connected.tokens;
    assert_eq!((*refresh_at, *credential_version), (None, 1));
}
