//! A recorded history, and what each area makes of it: an apply that changes without its PROJECTION number fails
//! here, because saved states of the old apply would be taken for the new one's.
//!
//! `SETTLED_RECORD_GOLDEN=1` writes both files anew; do so after raising a number, and only then.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use settled::actor::{Actor, ActorId};
use settled::clock::DAY_SECONDS;
use settled::command::{Command, OrganizationCommand};
use settled::event::Event;
use settled::history::description::Focus;
use settled::history::restore::sealing::seal_anew;
use settled::history::restore::{Planned, Wanted, prepare};
use settled::ids::{
    AccountId, ApiKeyId, ConnectionId, CustomerId, EnvironmentId, Fresh, SecretId, StreamId, UserId,
};
use settled::log::memory::MemoryLog;
use settled::log::{Append, EventLog};
use settled::platform::accounts::command::{AccountsCommand, DeleteAccount, EndMembership, VerifyEmail};
use settled::platform::accounts::credentials::{
    ChangeEmail, ChangePassword, RequestEmailChange, RequestReset, ResetPassword,
};
use settled::platform::accounts::event::{MailedLink, SignedUp};
use settled::platform::accounts::{email_field, password_field};
use settled::promotion;
use settled::promotion::command::PromoteEnvironment;
use settled::seal::root::RootKey;
use settled::seal::{Commitment, Plain};
use settled::settings::api_keys::command::{
    ApiKeysCommand, CreateApiKey, Reads, RevokeApiKey, RotateApiKey, UpdateApiKey, UseApiKey,
};
use settled::settings::api_keys::event::{ConnectionRead, EnvironmentRead, KeySessionOpened, SecretRead};
use settled::settings::api_keys::value::{Limits, RateLimit};
use settled::settings::environments::event::Mode;
use settled::settings::environments::value::ConfigKey;
use settled::settings::general::event::RestoredScope;
use settled::settings::roles::command::{AssignRole, CreateRole, DeleteRole, RolesCommand, UpdateRole};
use settled::settings::roles::permission::{Permission, PermissionSet};
use settled::settings::roles::role::{Grantee, RoleRef, SystemRole};
use settled::settings::roles::value::CustomPermissions;
use settled::settings::secrets::command::{At, AtValue, SecretsCommand, UpdateSecret};
use settled::settings::secrets::value::Scope;
use settled::settings::teams::command::{
    AddMember, CreateTeam, DeleteTeam, RemoveMember, TeamsCommand, UpdateTeam,
};
use settled::store::Submission;
use settled::store::exports::{Form, NoteExport};
use settled::text::Name;

use crate::commands::{accept_clock, create, delete, rename, with_key, write};
use crate::folded::digests;
use crate::golden_billing::record_billing;
use crate::golden_customers::record_customers;
use crate::golden_oauth::{record_connections, record_managed_apps, record_oauth_apps};
use crate::golden_operations::{record_deletion, record_operations};
use crate::golden_people::{record_departure, record_invitations, record_people, record_standing};
use crate::key_asks::{closed, token_of};
use crate::secrets::{Values, change};
use crate::test_store::{Founded, TestStore, frames, person_of, start};

fn file(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests", "golden", name].iter().collect()
}

/// Every action that there is, at least once.
pub async fn record() -> TestStore {
    let store = TestStore::in_memory();
    let founded = store.found("Acme").await;
    record_settings(&store, &founded).await;
    record_secrets(&store, &founded).await;
    record_oauth_apps(&store, &founded).await;
    record_connections(&store, &founded).await;
    let grace = record_people(&store, &founded).await;
    record_access(&store, &founded, grace).await;
    record_keys(&store, &founded).await;
    record_customers(&store, &founded).await;
    record_departure(&store, &founded, grace).await;
    record_standing(&store, &founded).await;
    record_platform(&store, &founded).await;
    record_managed_apps(&store).await;
    record_invitations(&store, &founded).await;
    crate::memberships::record(&store, &founded).await;
    record_billing(&store, &founded).await;
    record_rotations(&store, &founded).await;
    record_deletion(&store).await;
    record_operations(&store).await;
    store
}

async fn record_settings(store: &TestStore, founded: &Founded) {
    let (owner, stage, live) = (founded.owner, Fresh.id(), Fresh.id());
    let value = |value: &str| Some(value.to_owned());
    let values = vec![("A".to_owned(), value("1")), ("B".to_owned(), value("\"two\""))];
    for submission in [
        with_key(rename(owner, "Acme Ltd"), "key", "body"),
        create(owner, stage, "stage"),
        create(owner, live, "live"),
        write(owner, stage, values.clone()),
        write(owner, live, values),
        write(owner, live, vec![("A".to_owned(), None), ("B".to_owned(), value("3"))]),
        update(owner, live),
        delete(owner, stage),
        Submission::new(
            Command::Organization(OrganizationCommand::Export(NoteExport { form: Form::Events })),
            owner,
        ),
    ] {
        store.hands.advance(Duration::from_secs(7));
        store.execute(founded, submission).await.unwrap();
    }
    let handle = store.handle(founded.organization);
    let view = handle.view();
    let (scope, focus) = (RestoredScope::Organization, Focus::All);
    let wanted = Wanted { as_of: view.version() - 4, scope, focus, include_access: false };
    let Planned { command, brought, .. } = prepare(&store.store, &handle, &view, &wanted).unwrap();
    let mut restore = Submission::new(command, owner);
    brought.add_to(&mut restore);
    store.execute(founded, restore).await.unwrap();
}

async fn record_secrets(store: &TestStore, founded: &Founded) {
    let (owner, stage) = (founded.owner, Fresh.id());
    let at = |scope| At { secret: Fresh.id(), scope };
    let (shared, kept) = (at(Scope::Organization), at(Scope::Environment(stage)));
    let gone = at(Scope::Environment(stage));
    let soon = store.clock.now().plus_seconds(60);
    let expiring = UpdateSecret { expires_at: Some(Some(soon)), ..change(kept) };
    let values = Values { store, founded };
    let of = |command| Submission::new(command, owner);
    for submission in [
        create(owner, stage, "secrets"),
        values.create(shared, "SHARED", "one"),
        values.create(kept, "KEPT", "one"),
        values.create(gone, "GONE", "one"),
        values.write(kept, "two"),
        values.roll_back(kept, 1, "one"),
        of(SecretsCommand::Update(expiring)),
        of(SecretsCommand::Delete(kept)),
        of(SecretsCommand::Undelete(kept)),
        of(SecretsCommand::Reveal(AtValue { at: kept, value_version: 1 })),
        of(SecretsCommand::DestroyVersion(AtValue { at: kept, value_version: 2 })),
        of(SecretsCommand::Destroy(gone)),
    ] {
        store.hands.advance(Duration::from_secs(7));
        store.execute(founded, submission).await.unwrap();
    }
    let expire = Submission::new(SecretsCommand::Expire(kept.secret), Actor::SYSTEM);
    store.execute(founded, expire).await.unwrap();
    record_promotion(store, founded, stage).await;
}

async fn record_promotion(store: &TestStore, founded: &Founded, from: EnvironmentId) {
    let to = Fresh.id();
    store.execute(founded, create(founded.owner, to, "target")).await.unwrap();
    let view = store.handle(founded.organization).view();
    let secrets = vec![ConfigKey::try_from("KEPT").unwrap()];
    let wanted = promotion::Wanted { from, to, config: Vec::new(), secrets };
    let mut steps = promotion::plan(view.organization(), &wanted, || Fresh.id()).unwrap();
    let keys = seal_anew(&mut steps, view.stream, store.store.ring()).unwrap().unwrap();
    let seen = promotion::Seen::of(view.organization(), from, to).unwrap();
    let command = PromoteEnvironment { from, to, config: false, secrets: true, seen, steps };
    let command = Command::Organization(OrganizationCommand::Promote(command));
    let mut promote = Submission::new(command, founded.owner);
    promote.keys = keys;
    store.execute(founded, promote).await.unwrap();
}

fn update(actor: Actor, environment: settled::ids::EnvironmentId) -> Submission {
    use settled::settings::environments::command::{EnvironmentsCommand, UpdateEnvironment};
    let name = Some(settled::text::Name::try_from("Production").unwrap());
    let update = UpdateEnvironment { environment, name, slug: None, description: None };
    Submission::new(EnvironmentsCommand::Update(update), actor)
}

async fn record_access(store: &TestStore, founded: &Founded, person: UserId) {
    let permissions = |all: &[Permission]| {
        CustomPermissions::try_from(all.iter().copied().collect::<PermissionSet>()).unwrap()
    };
    let name = |name: &str| Name::try_from(name).unwrap();
    let (role, gone) = (Fresh.id(), Fresh.id());
    let create = |role, called: &str| {
        let permissions = permissions(&[Permission::ConfigRead, Permission::EnvironmentRead]);
        RolesCommand::Create(CreateRole { role, name: name(called), description: None, permissions })
    };
    let update = UpdateRole {
        role: RoleRef::Custom(role),
        name: Some(name("Deploys")),
        description: None,
        permissions: Some(permissions(&[Permission::ConfigWrite])),
    };
    let delete = DeleteRole { role: RoleRef::Custom(gone) };
    let (team, dissolved) = (Fresh.id(), Fresh.id());
    let make =
        |team, called: &str| TeamsCommand::Create(CreateTeam { team, name: name(called), description: None });
    let rename = UpdateTeam { team, name: Some(name("Platform")), description: None };
    let assign = |grantee, role| {
        RolesCommand::Assign(AssignRole { assignment: Fresh.id(), grantee, role, environment: None })
    };
    for command in [
        Command::from(create(role, "Readers")),
        create(gone, "Nobody").into(),
        RolesCommand::Update(update).into(),
        RolesCommand::Delete(delete).into(),
        make(team, "Core").into(),
        make(dissolved, "Edge").into(),
        TeamsCommand::Update(rename).into(),
        TeamsCommand::AddMember(AddMember { team, person }).into(),
        TeamsCommand::AddMember(AddMember { team: dissolved, person }).into(),
        assign(Grantee::Team(team), RoleRef::Custom(role)).into(),
        assign(Grantee::Team(dissolved), RoleRef::System(SystemRole::Viewer)).into(),
        TeamsCommand::RemoveMember(RemoveMember { team, person }).into(),
        TeamsCommand::Delete(DeleteTeam { team: dissolved }).into(),
    ] {
        store.hands.advance(Duration::from_secs(7));
        store.execute(founded, Submission::new(command, founded.owner)).await.unwrap();
    }
}

/// Both of what a key reads.
fn reads(key: ApiKeyId) -> Reads {
    let (environment, secret) = (EnvironmentId::from_uuid(key.uuid()), SecretId::from_uuid(key.uuid()));
    let customer = Some(CustomerId::from_uuid(key.uuid()));
    Reads {
        environments: vec![EnvironmentRead {
            environment,
            customer,
            version: "aVersion".to_owned(),
            count: 7,
        }],
        secrets: vec![SecretRead { secret, customer: None, value_version: 1, count: 34 }],
        connections: vec![ConnectionRead {
            connection: ConnectionId::from_uuid(key.uuid()),
            credential_version: 2,
            count: 1,
        }],
    }
}

async fn record_keys(store: &TestStore, founded: &Founded) {
    let (kept, gone): (ApiKeyId, ApiKeyId) = (Fresh.id(), Fresh.id());
    let make = |key, mode, limits| CreateApiKey {
        key,
        name: settled::text::Name::try_from("Deploy").unwrap(),
        mode,
        role: RoleRef::System(SystemRole::Workflow),
        token: token_of(key, 0),
        last4: "aB3d".to_owned(),
        limits,
    };
    let limits = Limits {
        expires_at: Some(start().plus_seconds(1_000_000)),
        allowed_cidrs: Some(vec!["192.0.2.0/24".parse().unwrap()]),
        rate_limit: Some(RateLimit { requests: 100, window_seconds: 60 }),
        ..Limits::NONE
    };
    let change = UpdateApiKey {
        key: kept,
        name: None,
        disabled: Some(true),
        environments: None,
        customers: None,
        expires_at: Some(None),
        allowed_cidrs: None,
        rate_limit: None,
    };
    let by = |actor, command: ApiKeysCommand| Submission::new(command, actor);
    let rotate = |number, grace_seconds| {
        let (key, token, last4) = (kept, token_of(kept, number), format!("x9Z{number}"));
        by(founded.owner, ApiKeysCommand::Rotate(RotateApiKey { key, token, last4, grace_seconds }))
    };
    let (session, user_agent) = (Fresh.id(), Some(closed(kept)));
    let opened = KeySessionOpened { session, ip: closed(kept), user_agent };
    let program = Actor { id: ActorId::ApiKey(kept), session: Some(session) };
    for submission in [
        by(founded.owner, ApiKeysCommand::Create(make(kept, Mode::Test, limits))),
        by(founded.owner, ApiKeysCommand::Create(make(gone, Mode::Live, Limits::NONE))),
        by(
            program,
            ApiKeysCommand::Use(UseApiKey {
                key: kept,
                count: None,
                opened: Some(opened),
                reads: Reads::default(),
            }),
        ),
        by(
            program,
            ApiKeysCommand::Use(UseApiKey { key: kept, count: Some(41), opened: None, reads: reads(kept) }),
        ),
        by(founded.owner, ApiKeysCommand::Update(change)),
        rotate(1, 60),
        rotate(2, 600),
        rotate(3, 60),
        by(founded.owner, ApiKeysCommand::Revoke(RevokeApiKey { key: gone })),
    ] {
        store.hands.advance(Duration::from_secs(7));
        store.execute(founded, submission).await.unwrap();
    }
}

async fn record_platform(store: &TestStore, founded: &Founded) {
    record_credentials(store, founded.account).await;
    record_sign_ups(store).await;
    accept_clock(store).await;
}

async fn account(store: &TestStore, command: AccountsCommand, actor: Actor) {
    store.hands.advance(Duration::from_secs(7));
    store.store.execute(store.store.platform(), Submission::new(command, actor)).await.unwrap();
}

fn link(store: &TestStore, number: u8) -> MailedLink {
    MailedLink { token: Commitment([number; 32]), ends_at: store.clock.now().plus_seconds(DAY_SECONDS) }
}

/// New passwords and addresses of an account.
async fn record_credentials(store: &TestStore, id: AccountId) {
    let view = store.store.platform().view();
    let held = view.platform().accounts.get(id).unwrap();
    let key = store.store.ring().data_key(StreamId::Platform, held.key, held.commitment).unwrap();
    let password = || key.seal(&password_field(&id.to_string()), &Plain::from("another hash"));
    let email = key.seal(&email_field(&id.to_string()), &Plain::from("ada@example.org"));
    let actor = Actor { id: ActorId::Account(id), session: None };
    let change = ChangePassword { account: id, password: password(), verified_generation: 1, spares: None };
    account(store, AccountsCommand::ChangePassword(change), actor).await;
    let reset = RequestReset { account: id, link: link(store, 1) };
    account(store, AccountsCommand::RequestReset(reset), Actor::SYSTEM).await;
    let reset = ResetPassword { token: Commitment([1; 32]), password: password() };
    account(store, AccountsCommand::ResetPassword(reset), actor).await;
    let change = RequestEmailChange {
        account: id,
        email,
        link: link(store, 2),
        verified_generation: 3,
        session: Fresh.id(),
    };
    account(store, AccountsCommand::RequestEmailChange(change), actor).await;
    let change = ChangeEmail { token: Commitment([2; 32]) };
    account(store, AccountsCommand::ChangeEmail(change), actor).await;
    store.store.finish_email_change(id).await.unwrap();
}

/// Two sign-ups: one becomes an account that goes again, the other is forgotten.
async fn record_sign_ups(store: &TestStore) {
    let signed_up = |number| {
        let (signed_up, new) = store.stranger(&format!("stranger{number}"));
        let signed_up = SignedUp { link: Some(link(store, number)), ..signed_up };
        let id = signed_up.account;
        let mut submission = Submission::new(AccountsCommand::SignUp(signed_up), Actor::SYSTEM);
        submission.keys = vec![new];
        (id, submission)
    };
    let ((known, first), (forgotten, second)) = (signed_up(3), signed_up(4));
    for submission in [first, second] {
        store.store.execute(store.store.platform(), submission).await.unwrap();
    }
    let actor = Actor { id: ActorId::Account(known), session: None };
    let verify = VerifyEmail { token: Commitment([3; 32]) };
    account(store, AccountsCommand::VerifyEmail(verify), actor).await;
    let there = store.found_further(known, "Second").await;
    let end = EndMembership { organization: there.organization, person: person_of(there.owner) };
    account(store, AccountsCommand::EndMembership(end), Actor::SYSTEM).await;
    let delete = DeleteAccount { account: known, verified_generation: 1, left: Vec::new() };
    account(store, AccountsCommand::Delete(delete), actor).await;
    store.hands.advance(Duration::from_hours(32 * 24));
    account(store, AccountsCommand::ExpireSignUp(forgotten), Actor::SYSTEM).await;
}

async fn record_rotations(store: &TestStore, founded: &Founded) {
    let stream = StreamId::Organization(founded.organization);
    store.store.rotate_stream_key(stream, Actor::SYSTEM).await.unwrap();
    store.store.rotate_root_key(RootKey::random()).await.unwrap();
    store.store.signer().await.unwrap();
    store.store.rotate_signing_key(Actor::OPERATOR).await.unwrap();
}

fn read(text: &str) -> MemoryLog {
    let log = MemoryLog::new();
    for line in text.lines() {
        let frame = bytes::Bytes::from(STANDARD_NO_PAD.decode(line).expect("a frame in base64"));
        let stream = settled::log::frame::Frame::parse(frame.clone()).unwrap().header().stream;
        let append =
            Append { stream, expected: None, frame: Some(frame), put: Vec::new(), remove: Vec::new() };
        log.append(vec![append]).expect("the recorded frame continues its stream");
    }
    log
}

#[tokio::test]
async fn a_recorded_history_folds_to_what_it_did_unless_the_projection_number_says_otherwise() {
    let (history, folded) = (file("history.txt"), file("folded.txt"));
    if std::env::var_os("SETTLED_RECORD_GOLDEN").is_some() {
        let store = record().await;
        let mut lines = String::new();
        for (_, frame) in frames(&*store.log) {
            writeln!(lines, "{}", STANDARD_NO_PAD.encode(frame.bytes())).unwrap();
        }
        std::fs::write(&folded, digests(&read(&lines))).unwrap();
        std::fs::write(&history, lines).unwrap();
    }
    let log = read(&std::fs::read_to_string(history).unwrap());
    let recorded = std::fs::read_to_string(folded).unwrap();
    let now = digests(&log);
    for (then, now) in recorded.lines().zip(now.lines()) {
        let number = |line: &str| line.split(' ').take(2).collect::<Vec<_>>().join(" ");
        assert!(
            then == now || number(then) != number(now),
            "an area folds differently under the same PROJECTION number: raise it\n  then {then}\n  now  {now}"
        );
    }
    assert_eq!(
        now, recorded,
        "a PROJECTION number was raised, or an area added: record the golden files anew"
    );
    let seen: std::collections::BTreeSet<String> = fold_actions(&log);
    for spec in Event::actions() {
        assert!(seen.contains(spec.action), "the recorded history lacks {}", spec.action);
    }
}

fn fold_actions(log: &MemoryLog) -> std::collections::BTreeSet<String> {
    frames(log)
        .iter()
        .flat_map(|(_, frame)| frame.events().collect::<Vec<_>>())
        .map(|event| event.unwrap().event.action().to_owned())
        .collect()
}
