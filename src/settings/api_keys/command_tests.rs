//! What commands to API keys come to.

use super::*;
use crate::actor::Actor;
use crate::command::PreconditionFailed;
use crate::event::Event;
use crate::given::{
    by, by_having_seen, environment, events, founded, granted, id, member, now, organization, person,
    recorded, sealed,
};
use crate::ids::StreamId;
use crate::seal::Commitment;
use crate::settings::api_keys::value::network;
use crate::settings::environments::event::{EnvironmentDeleted, EnvironmentsEvent};
use crate::settings::roles::role::Grantee;

const ADMIN: RoleRef = RoleRef::System(SystemRole::Admin);
const DEVELOPER: RoleRef = RoleRef::System(SystemRole::Developer);
const WORKFLOW: RoleRef = RoleRef::System(SystemRole::Workflow);

fn limited(assignment: u128, to: u128, role: RoleRef, environment: u128) -> Event {
    granted(assignment, Grantee::Person(id(to)), role, Some(id(environment)))
}

/// Acme with its Owner 1, an Admin 2, a Developer 3, a Developer 4 in environment 1 alone, an Auditor 5; test
/// environments 1 and 2, live ones 3 and 4; and what follows. Version 17.
fn acme(more: impl IntoIterator<Item = Event>) -> Organization {
    let people = [(2, Some(SystemRole::Admin)), (3, Some(SystemRole::Developer)), (4, None)];
    let environments = [(1, Mode::Test), (2, Mode::Test), (3, Mode::Live), (4, Mode::Live)];
    let begun = founded()
        .into_iter()
        .chain(people.into_iter().flat_map(|(number, role)| member(number, role)))
        .chain(member(5, Some(SystemRole::Auditor)))
        .chain(environments.map(|(number, mode)| environment(number, mode)))
        .chain([limited(9, 4, DEVELOPER, 1)]);
    organization(begun.chain(more))
}

fn token(number: u128) -> TokenHash {
    Commitment([number as u8; 32])
}

fn new(number: u128, mode: Mode, role: RoleRef, limits: Limits) -> CreateApiKey {
    CreateApiKey {
        key: id(number),
        name: Name::try_from("CI").unwrap(),
        mode,
        role,
        token: token(number),
        last4: "abcd".to_owned(),
        limits,
    }
}

fn in_environments(numbers: &[u128]) -> Limits {
    Limits { environments: Some(numbers.iter().map(|number| id(*number)).collect()), ..Limits::NONE }
}

fn created(number: u128, mode: Mode, role: RoleRef, limits: Limits) -> Event {
    Event::ApiKeys(ApiKeysEvent::ApiKeyCreated(ApiKeyCreated {
        key: id(number),
        name: "CI".to_owned(),
        mode,
        role,
        token: token(number),
        last4: "abcd".to_owned(),
        environments: limits.environments,
        customers: None,
        expires_at: limits.expires_at,
        allowed_cidrs: limits.allowed_cidrs.as_deref().map(texts),
        rate_limit: limits.rate_limit,
    }))
}

fn key(number: u128) -> Actor {
    Actor { id: ActorId::ApiKey(id(number)), session: None }
}

fn decide(
    command: impl Into<ApiKeysCommand>,
    state: &Organization,
    actor: Actor,
) -> Result<Vec<Event>, Rejection> {
    let (command, context) = (command.into(), by(actor));
    command.need().check(state, &context)?;
    events(command.decide(state, &context))
}

macro_rules! commands {
    ($($variant:ident($command:ty);)*) => {$(
        impl From<$command> for ApiKeysCommand {
            fn from(command: $command) -> Self {
                Self::$variant(command)
            }
        }
    )*};
}

commands! {
    Create(CreateApiKey);
    Update(UpdateApiKey);
    Revoke(RevokeApiKey);
    Rotate(RotateApiKey);
    Use(UseApiKey);
}

fn update(number: u128) -> UpdateApiKey {
    UpdateApiKey {
        key: id(number),
        name: None,
        disabled: None,
        environments: None,
        customers: None,
        expires_at: None,
        allowed_cidrs: None,
        rate_limit: None,
    }
}

fn rotate(number: u128) -> RotateApiKey {
    RotateApiKey { key: id(number), token: token(200), last4: "wxyz".to_owned(), grace_seconds: 60 }
}

fn revoke(number: u128) -> RevokeApiKey {
    RevokeApiKey { key: id(number) }
}

const ABOVE: Rejection = Rejection::AboveYourRights;

fn forbidden(permission: Permission) -> Rejection {
    Rejection::Forbidden(permission)
}

#[test]
fn a_key_is_made() {
    let limits = Limits {
        environments: Some(vec![id(1)]),
        customers: None,
        expires_at: Some(now().plus_seconds(60)),
        allowed_cidrs: Some(vec![network("192.0.2.0/24").unwrap()]),
        rate_limit: Some(RateLimit { requests: 10, window_seconds: 60 }),
    };
    let decided = decide(new(1, Mode::Test, WORKFLOW, limits.clone()), &acme([]), person(id(1)));
    assert_eq!(decided, Ok(vec![created(1, Mode::Test, WORKFLOW, limits)]));
}

#[test]
fn nobody_makes_a_key_that_may_more_than_they() {
    let state = acme([]);
    let make =
        |by, mode, role, limits| decide(new(1, mode, role, limits), &state, person(id(by))).map(|_| ());
    assert_eq!(make(5, Mode::Test, WORKFLOW, Limits::NONE), Err(forbidden(Permission::ApiKeyManage)));
    assert_eq!(make(2, Mode::Live, ADMIN, Limits::NONE), Ok(()));
    assert_eq!(make(3, Mode::Live, DEVELOPER, Limits::NONE), Ok(()));
    assert_eq!(make(3, Mode::Test, ADMIN, Limits::NONE), Err(forbidden(Permission::EnvironmentManage)));
    assert_eq!(make(3, Mode::Live, ADMIN, Limits::NONE), Err(forbidden(Permission::EnvironmentManage)));
    // Whoever is limited to an environment makes keys for it alone, and such that hold nothing beyond it.
    assert_eq!(make(4, Mode::Test, DEVELOPER, in_environments(&[1])), Ok(()));
    assert_eq!(
        make(4, Mode::Test, ADMIN, in_environments(&[1])),
        Err(forbidden(Permission::EnvironmentManage))
    );
    for limits in [Limits::NONE, in_environments(&[1, 2]), in_environments(&[2]), in_environments(&[77])] {
        assert_eq!(make(4, Mode::Test, WORKFLOW, limits), Err(forbidden(Permission::ApiKeyManage)));
    }
    assert_eq!(
        make(4, Mode::Live, WORKFLOW, in_environments(&[1])),
        Err(forbidden(Permission::CustomerRead)),
        "what is no environment's a live key holds everywhere"
    );
}

#[test]
fn what_no_key_can_be_is_refused() {
    let state = acme([]);
    let make = |mode, role, limits| {
        decide(new(1, mode, role, limits), &state, person(id(1))).expect_err("it is refused")
    };
    let owner = RoleRef::System(SystemRole::Owner);
    let limits = |expires_at, customers| Limits { expires_at, customers, ..Limits::NONE };
    for (found, rejection) in [
        (make(Mode::Live, owner, Limits::NONE), ApiKeysRejection::OwnerRole),
        (make(Mode::Live, RoleRef::Custom(id(1)), Limits::NONE), ApiKeysRejection::UnknownRole),
        (make(Mode::Live, WORKFLOW, in_environments(&[77])), ApiKeysRejection::UnknownEnvironment),
        (make(Mode::Live, WORKFLOW, in_environments(&[3, 1])), ApiKeysRejection::EnvironmentOfOtherMode),
        (make(Mode::Live, WORKFLOW, limits(Some(now()), None)), ApiKeysRejection::ExpiryInThePast),
        (make(Mode::Live, WORKFLOW, limits(None, Some(vec![id(1)]))), ApiKeysRejection::UnknownCustomer),
    ] {
        assert_eq!(found, rejection.into());
    }
}

#[test]
fn an_organization_has_so_many_keys_and_no_more() {
    let many =
        (0..API_KEYS_MAX as u128).map(|number| created(number + 10, Mode::Test, WORKFLOW, Limits::NONE));
    let mut state = acme(many);
    let make =
        |state: &Organization| decide(new(1, Mode::Test, WORKFLOW, Limits::NONE), state, person(id(1)));
    assert_eq!(make(&state), Err(ApiKeysRejection::TooManyKeys.into()));
    let revoked = decide(revoke(10), &state, person(id(1))).unwrap().remove(0);
    let stream = StreamId::Organization(id(1));
    state.apply(&recorded(stream, 200_000, now(), person(id(1)), revoked));
    assert!(make(&state).is_ok(), "a revoked one makes room");
}

#[test]
fn only_what_changes_is_recorded() {
    let limits = Limits { expires_at: Some(now().plus_seconds(60)), ..in_environments(&[1]) };
    let state = acme([created(1, Mode::Test, WORKFLOW, limits)]);
    let rate = RateLimit { requests: 1, window_seconds: 1 };
    let change = UpdateApiKey {
        name: Some(Name::try_from("CI").unwrap()),
        disabled: Some(true),
        environments: Some(None),
        expires_at: Some(Some(now().plus_seconds(60))),
        allowed_cidrs: Some(None),
        rate_limit: Some(Some(rate)),
        ..update(1)
    };
    let expected = ApiKeyUpdated {
        disabled: Some(true),
        rate_limit: Some(rate),
        cleared: vec!["environments".to_owned()],
        ..update(1).unchanged()
    };
    let expected = Event::ApiKeys(ApiKeysEvent::ApiKeyUpdated(expected));
    assert_eq!(decide(change.clone(), &state, person(id(1))), Ok(vec![expected.clone()]));
    let before = [created(
        1,
        Mode::Test,
        WORKFLOW,
        Limits { expires_at: Some(now().plus_seconds(60)), ..in_environments(&[1]) },
    )];
    let state = acme(before.into_iter().chain([expected]));
    assert_eq!(decide(change, &state, person(id(1))), Ok(Vec::new()));
}

#[test]
fn nobody_touches_a_key_that_may_more_than_they() {
    let state =
        acme([created(1, Mode::Live, ADMIN, Limits::NONE), created(2, Mode::Test, DEVELOPER, Limits::NONE)]);
    for by in [2, 3] {
        let expected = if by == 3 { Err(ABOVE) } else { Ok(1) };
        let told = |decided: Result<Vec<Event>, Rejection>| decided.map(|events| events.len());
        let renamed = UpdateApiKey { name: Some(Name::try_from("Other").unwrap()), ..update(1) };
        assert_eq!(told(decide(renamed, &state, person(id(by)))), expected, "{by}");
        assert_eq!(told(decide(rotate(1), &state, person(id(by)))), expected, "{by}");
        assert_eq!(told(decide(revoke(1), &state, person(id(by)))), expected, "{by}");
    }
    let manage = Err(forbidden(Permission::ApiKeyManage));
    assert_eq!(decide(revoke(2), &state, person(id(4))), manage.clone());
    assert_eq!(decide(rotate(2), &state, person(id(4))), manage);
}

#[test]
fn nobody_widens_a_key_beyond_themselves() {
    let state = acme([created(1, Mode::Test, WORKFLOW, in_environments(&[1]))]);
    for environments in [None, Some(vec![id(1), id(2)])] {
        let widened = UpdateApiKey { environments: Some(environments), ..update(1) };
        assert_eq!(decide(widened.clone(), &state, person(id(4))), Err(forbidden(Permission::ApiKeyManage)));
        assert_eq!(decide(widened, &state, person(id(3))).map(|events| events.len()), Ok(1));
    }
    let other = UpdateApiKey { environments: Some(Some(vec![id(3)])), ..update(1) };
    let rejection = ApiKeysRejection::EnvironmentOfOtherMode;
    assert_eq!(decide(other, &state, person(id(3))), Err(rejection.into()));
}

#[test]
fn a_key_makes_and_enables_only_what_is_within_itself() {
    let narrow = Limits {
        environments: None,
        customers: None,
        expires_at: Some(now().plus_seconds(600)),
        allowed_cidrs: Some(vec![network("192.0.2.0/24").unwrap()]),
        rate_limit: Some(RateLimit { requests: 10, window_seconds: 60 }),
    };
    let maker = created(1, Mode::Test, ADMIN, narrow.clone());
    let wide = created(2, Mode::Test, WORKFLOW, Limits::NONE);
    let disabled = ApiKeyUpdated { disabled: Some(true), ..update(3).unchanged() };
    let off = [
        created(3, Mode::Test, WORKFLOW, Limits::NONE),
        Event::ApiKeys(ApiKeysEvent::ApiKeyUpdated(disabled)),
    ];
    let state = acme([maker, wide].into_iter().chain(off));
    let make =
        |mode, limits| decide(new(9, mode, WORKFLOW, limits), &state, key(1)).map(|events| events.len());
    assert_eq!(make(Mode::Test, narrow.clone()), Ok(1));
    assert_eq!(make(Mode::Test, Limits { environments: Some(vec![id(1)]), ..narrow.clone() }), Ok(1));
    assert_eq!(make(Mode::Live, narrow.clone()), Err(forbidden(Permission::ApiKeyManage)));
    for wider in [
        Limits::NONE,
        Limits { expires_at: Some(now().plus_seconds(601)), ..narrow.clone() },
        Limits { allowed_cidrs: None, ..narrow.clone() },
        Limits { rate_limit: None, ..narrow.clone() },
    ] {
        assert_eq!(make(Mode::Test, wider), Err(ABOVE));
    }
    assert_eq!(decide(rotate(2), &state, key(1)), Err(ABOVE));
    let enables = UpdateApiKey { disabled: Some(false), ..update(3) };
    assert_eq!(decide(enables, &state, key(1)), Err(ABOVE));
    let later = UpdateApiKey { expires_at: Some(Some(now().plus_seconds(601))), ..update(1) };
    assert_eq!(decide(later, &state, key(1)), Err(ABOVE), "nor itself");
    let renames = UpdateApiKey { name: Some(Name::try_from("Other").unwrap()), ..update(2) };
    assert_eq!(decide(renames, &state, key(1)).map(|events| events.len()), Ok(1));
    assert_eq!(decide(revoke(2), &state, key(1)).map(|events| events.len()), Ok(1));
}

#[test]
fn a_rotated_key_keeps_its_old_value_for_its_grace() {
    let state = acme([created(1, Mode::Test, WORKFLOW, Limits::NONE)]);
    let decided = decide(rotate(1), &state, person(id(1))).unwrap();
    let rotated = ApiKeyRotated {
        key: id(1),
        token: token(200),
        last4: "wxyz".to_owned(),
        previous: token(1),
        previous_valid_until: now().plus_seconds(60),
    };
    assert_eq!(decided, [Event::ApiKeys(ApiKeysEvent::ApiKeyRotated(rotated))]);
    let state = acme([created(1, Mode::Test, WORKFLOW, Limits::NONE)].into_iter().chain(decided));
    let key = state.api_keys.get(id(1)).unwrap();
    let later = |seconds| now().plus_seconds(seconds);
    assert!(key.accepts(token(200), later(60)) && key.accepts(token(1), later(59)));
    assert!(!key.accepts(token(1), later(60)) && !key.accepts(token(2), now()));
}

/// Rotates key 1, now as everywhere here, to the value with a number.
fn rotated(state: &mut Organization, value: u128, grace_seconds: u32) -> Result<(), Rejection> {
    let command = RotateApiKey { token: token(value), grace_seconds, ..rotate(1) };
    let event = decide(command, state, person(id(1)))?.remove(0);
    let version = 100 + u64::try_from(value).unwrap();
    state.apply(&recorded(StreamId::Organization(id(1)), version, now(), person(id(1)), event));
    Ok(())
}

#[test]
fn each_value_of_before_keeps_its_own_grace() {
    let mut state = acme([created(1, Mode::Test, WORKFLOW, Limits::NONE)]);
    for (value, grace_seconds) in [(2, 60), (3, 600), (4, 6)] {
        rotated(&mut state, value, grace_seconds).unwrap();
    }
    let key = state.api_keys.get(id(1)).unwrap().clone();
    let accepted = |after| -> Vec<u128> {
        (1..=5).filter(|value| key.accepts(token(*value), now().plus_seconds(after))).collect()
    };
    assert_eq!(accepted(0), [1, 2, 3, 4]);
    assert_eq!(accepted(6), [1, 2, 4]);
    assert_eq!(accepted(60), [2, 4]);
    assert_eq!(accepted(600), [4]);
    let told: Vec<_> = key.previous(now()).map(|previous| previous.valid_until).collect();
    assert_eq!(told, [6, 600, 60].map(|seconds| now().plus_seconds(seconds)));
    assert_eq!(key.previous_valid_until(now()), Some(now().plus_seconds(6)));
    assert_eq!(key.previous_valid_until(now().plus_seconds(6)), None);
}

#[test]
fn without_grace_nothing_of_before_is_accepted() {
    let mut state = acme([created(1, Mode::Test, WORKFLOW, Limits::NONE)]);
    rotated(&mut state, 2, 60).unwrap();
    rotated(&mut state, 3, 0).unwrap();
    let key = state.api_keys.get(id(1)).unwrap();
    let accepted: Vec<u128> = (1..=3).filter(|value| key.accepts(token(*value), now())).collect();
    assert_eq!((accepted, key.previous(now()).count()), (vec![3], 0));
}

#[test]
fn so_many_values_of_before_are_accepted_and_no_more() {
    let mut state = acme([created(1, Mode::Test, WORKFLOW, Limits::NONE)]);
    for value in 0..PREVIOUS_MAX as u128 {
        rotated(&mut state, 2 + value, 60).unwrap();
    }
    assert_eq!(rotated(&mut state, 200, 60), Err(ApiKeysRejection::TooManyPrevious.into()));
    assert!(state.api_keys.get(id(1)).unwrap().accepts(token(1), now()), "none was ended for another");
    assert_eq!(rotated(&mut state, 200, 0), Ok(()), "a value that leaked is ended at any time");
}

#[test]
fn a_key_is_revoked_once_and_for_ever() {
    let begun = || [created(1, Mode::Test, WORKFLOW, Limits::NONE)].into_iter();
    let decided = decide(revoke(1), &acme(begun()), person(id(1))).unwrap();
    let revoked = ApiKeyRevoked { key: id(1), token: token(1) };
    assert_eq!(decided, [Event::ApiKeys(ApiKeysEvent::ApiKeyRevoked(revoked))]);
    let state = acme(begun().chain(decided));
    assert_eq!(decide(revoke(1), &state, person(id(1))), Ok(Vec::new()));
    let enables = UpdateApiKey { disabled: Some(false), ..update(1) };
    assert_eq!(decide(enables, &state, person(id(1))), Err(ApiKeysRejection::Revoked.into()));
    assert_eq!(decide(rotate(1), &state, person(id(1))), Err(ApiKeysRejection::Revoked.into()));
    assert_eq!(decide(revoke(2), &state, person(id(1))), Err(ApiKeysRejection::NotFound.into()));
    assert_eq!(decide(update(2), &state, person(id(1))), Err(ApiKeysRejection::NotFound.into()));
}

#[test]
fn what_was_seen_must_still_be_so() {
    let state = acme([created(1, Mode::Test, WORKFLOW, Limits::NONE)]);
    let version = state.api_keys.get(id(1)).unwrap().version;
    let commands: [ApiKeysCommand; 3] =
        [UpdateApiKey { disabled: Some(true), ..update(1) }.into(), rotate(1).into(), revoke(1).into()];
    for command in commands {
        let seen = |version| command.decide(&state, &by_having_seen(person(id(1)), version));
        assert_eq!(seen(version - 1), Err(PreconditionFailed.into()));
        assert!(seen(version).is_ok());
    }
}

fn used(count: Option<u64>, session: Option<u128>) -> UseApiKey {
    let opened =
        session.map(|number| KeySessionOpened { session: id(number), ip: sealed(1), user_agent: None });
    UseApiKey { key: id(1), count, opened, reads: Reads::default() }
}

#[test]
fn the_first_use_of_an_hour_is_recorded_and_so_is_every_session() {
    let begun = || [created(1, Mode::Test, WORKFLOW, Limits::NONE)].into_iter();
    let first = decide(used(None, Some(1)), &acme(begun()), key(1)).unwrap();
    assert_eq!(first.len(), 1);
    let state = acme(begun().chain(first));
    assert_eq!(decide(used(None, None), &state, key(1)), Ok(Vec::new()));
    assert_eq!(decide(used(None, Some(2)), &state, key(1)).map(|events| events.len()), Ok(1));
    assert_eq!(decide(used(Some(7), None), &state, key(1)).map(|events| events.len()), Ok(1));
    let context = Context { now: now().plus_seconds(3600), ..by(key(1)) };
    assert_eq!(
        ApiKeysCommand::from(used(None, None)).decide(&state, &context).map(|events| events.len()),
        Ok(1)
    );
}

#[test]
fn secrets_that_were_read_are_told_of_the_only_one_its_environment_or_the_key() {
    let state = acme([created(1, Mode::Test, WORKFLOW, Limits::NONE)]);
    let (customer, count) = (None, 1);
    let whole = |of| EnvironmentRead { environment: id(of), customer, version: "v".to_owned(), count };
    let value = |of| SecretRead { secret: id(of), customer, value_version: 1, count };
    let linked = |of| ConnectionRead { connection: id(of), credential_version: 1, count };
    for (environments, secrets, connections, about) in [
        (vec![], vec![value(1)], vec![], ResourceType::Secret),
        (vec![whole(1)], vec![], vec![], ResourceType::Environment),
        (vec![whole(1)], vec![value(1)], vec![linked(1), linked(2)], ResourceType::Environment),
        (vec![], vec![value(1), value(2)], vec![], ResourceType::ApiKey),
        (vec![whole(1), whole(2)], vec![], vec![], ResourceType::ApiKey),
    ] {
        let concerned = environments.len() + secrets.len() + connections.len();
        let reads = Reads { environments, secrets, connections };
        let Reads { environments, secrets, connections } = reads.clone();
        let command = UseApiKey { reads, ..used(Some(3), None) };
        let decided = ApiKeysCommand::Use(command).decide(&state, &by(key(1))).unwrap();
        let read = SecretsRead { key: id(1), environments, secrets, connections };
        assert_eq!(decided[0].event, Event::ApiKeys(ApiKeysEvent::SecretsRead(read)));
        assert_eq!((decided[0].resource.kind, decided[0].count), (about, Some(3)));
        assert_eq!(decided[0].related.len(), concerned);
    }
}

#[test]
fn a_key_opens_so_many_sessions_a_day_and_no_more() {
    let begun = [created(1, Mode::Test, WORKFLOW, Limits::NONE)];
    let opens = |number: usize| {
        let opened = used(None, Some(number as u128)).opened;
        Event::ApiKeys(ApiKeysEvent::ApiKeyUsed(ApiKeyUsed { key: id(1), opened }))
    };
    let state = acme(begun.into_iter().chain((0..SESSIONS_PER_DAY_MAX).map(opens)));
    assert_eq!(decide(used(None, Some(999)), &state, key(1)), Ok(Vec::new()));
    let tomorrow = Context { now: now().plus_seconds(24 * 3600), ..by(key(1)) };
    let decided = events(ApiKeysCommand::from(used(None, Some(999))).decide(&state, &tomorrow)).unwrap();
    assert_eq!(decided, [opens(999)]);
}

#[test]
fn only_the_key_itself_says_that_it_was_used() {
    let state = acme([created(1, Mode::Test, WORKFLOW, Limits::NONE)]);
    for actor in [person(id(1)), key(2), Actor::SYSTEM] {
        let decided = decide(used(Some(1), None), &state, actor);
        assert_eq!(decided, Err(ApiKeysRejection::NotFound.into()));
    }
}

#[test]
fn a_key_holds_what_its_role_mode_and_environments_say() {
    let deleted = EnvironmentsEvent::EnvironmentDeleted(EnvironmentDeleted { environment: id(2) });
    let state = acme([
        created(1, Mode::Test, ADMIN, Limits::NONE),
        created(2, Mode::Live, ADMIN, Limits::NONE),
        created(3, Mode::Live, DEVELOPER, in_environments(&[3])),
        created(4, Mode::Test, DEVELOPER, in_environments(&[2])),
        Event::Environments(deleted),
        environment(5, Mode::Test),
    ]);
    let held = |number| grants(&state, key(number).id);
    let write = Permission::ConfigWrite;
    let reached = |number: u128| {
        (1..=5).filter(|environment| held(number).allows_in(write, id(*environment))).collect::<Vec<u128>>()
    };
    assert_eq!((reached(1), reached(2), reached(3), reached(4)), (vec![1, 5], vec![3, 4], vec![3], vec![]));
    for number in 1..=4 {
        assert!(!held(number).allows(write), "what is an environment's holds in environments alone");
        assert_eq!(held(number).allows(Permission::CustomerManage), number == 2 || number == 3);
        assert_eq!(held(number).allows_somewhere(write), number != 4);
        assert!(!held(number).allows(Permission::OrganizationOwn));
    }
}
