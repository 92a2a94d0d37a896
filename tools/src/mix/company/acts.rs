//! What each kind of the mix is: the command as the edge would submit it, and what it does to the model.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode};
use settled::actor::{Actor, ActorId};
use settled::clock::Timestamp;
use settled::command::{Command, OrganizationCommand};
use settled::event::{Outcome, Refused, RefusedData, Resource, ResourceType};
use settled::http::call::Fingerprinted;
use settled::ids::{EnvironmentId, Fresh, HttpRequestId, SessionId};
use settled::seal::Plain;
use settled::seal::api_key::PlainKey;
use settled::seal::token::PlainToken;
use settled::settings::api_keys::command::{
    ApiKeysCommand, CreateApiKey, Reads, RevokeApiKey, RotateApiKey, UpdateApiKey, UseApiKey,
};
use settled::settings::api_keys::event::KeySessionOpened;
use settled::settings::api_keys::value::{Limits, RateLimit, prefix};
use settled::settings::environments::command::{
    Compares, CreateEnvironment, DeleteEnvironment, EnvironmentsCommand, UpdateEnvironment, WriteConfig,
};
use settled::settings::environments::event::Mode;
use settled::settings::environments::value::{ConfigKey, Slug};
use settled::settings::general::command::{GeneralCommand, UpdateOrganization};
use settled::settings::general::reason_field;
use settled::settings::general::value::Timezone;
use settled::settings::people::command::{PeopleCommand, UpdatePerson};
use settled::settings::people::name_field;
use settled::settings::roles::role::{RoleRef, SystemRole};
use settled::settings::sessions::command::{CloseSession, Closing, SessionsCommand};
use settled::settings::sessions::event::SessionOpened;
use settled::settings::sessions::{ip_field, user_agent_field};
use settled::store::denials::RecordRefused;
use settled::store::exports::{Form, NoteExport};
use settled::store::{Store, Submission};
use settled::text::{Description, Name};

use super::{Company, ENVIRONMENTS_KEPT, Environment, KEY_KEPT, Person, SESSIONS_MAX, Step};
use crate::mix::{Kind, words};

/// The values that are set at once, where several are.
pub(super) const VALUES_AT_ONCE: usize = 4;

impl Company {
    pub(super) fn act(
        &mut self,
        kind: Kind,
        person: usize,
        actor: Actor,
        store: &Store,
        now: Timestamp,
    ) -> Result<Step> {
        let events_max = self.events_of(kind);
        let submission = match kind {
            Kind::SetValues => self.set_values(actor, VALUES_AT_ONCE)?,
            Kind::DeleteEnvironment => self.delete_environment(actor),
            Kind::DeleteValue => self.delete_value(actor)?,
            Kind::CreateEnvironment => self.create_environment(actor)?,
            Kind::DescribeEnvironment => self.describe_environment(actor)?,
            Kind::CreateSecret => self.create_secret(actor, store)?,
            Kind::WriteSecret => self.write_secret(actor, store)?,
            Kind::RevealSecret => self.reveal_secret(actor),
            Kind::RollBackSecret => self.roll_back_secret(actor, store)?,
            Kind::DestroyValue => self.destroy_value(actor),
            Kind::UpdateOrganization => self.update_organization(actor)?,
            Kind::Join => self.join(actor, store)?,
            Kind::Invite => self.invite(actor, store, now)?,
            Kind::ResendInvitation => self.resend(actor, now).context("somebody is invited")?,
            Kind::RevokeInvitation => self.revoke_invitation(actor).context("somebody is invited")?,
            Kind::SetDomain => self.set_domain(actor)?,
            Kind::ApproveRequest => self.approve(actor).context("somebody asks")?,
            Kind::DeclineRequest => self.decline_request(actor).context("somebody asks")?,
            Kind::RenamePerson => self.rename(person, actor),
            Kind::Leave => self.leave(person, actor),
            Kind::SuspendPerson => self.suspend(actor),
            Kind::ReactivatePerson => self.reactivate(actor),
            Kind::RemovePerson => self.remove(actor),
            Kind::ErasePerson => self.erase(actor),
            Kind::CreateTeam => self.create_team(actor)?,
            Kind::AddMember => self.add_member(actor),
            Kind::RemoveMember => self.remove_member(actor),
            Kind::CreateRole => self.create_role(actor)?,
            Kind::ChangeRole => self.change_role(actor)?,
            Kind::CreateKey => self.create_key(actor)?,
            Kind::RenameKey => self.rename_key(actor)?,
            Kind::RotateKey => self.rotate_key(actor),
            Kind::RevokeKey => self.revoke_key(actor),
            Kind::CreateCustomer => self.create_customer(actor, store)?,
            Kind::UpdateCustomer => self.update_customer(actor),
            Kind::SuspendCustomer => self.suspend_customer(actor),
            Kind::ReactivateCustomer => self.reactivate_customer(actor)?,
            Kind::DeleteCustomer => self.delete_customer(actor),
            Kind::EraseCustomer => self.erase_customer(actor),
            Kind::SetDocument => self.set_document(actor),
            Kind::DeleteDocument => self.delete_document(actor)?,
            Kind::CreateApp => self.create_app(actor, store)?,
            Kind::UpdateApp => self.update_app(actor, store)?,
            Kind::DeleteApp => self.delete_app(actor),
            Kind::CreateConnection => self.create_connection(actor, store, now)?,
            Kind::RevokeConnection => self.revoke_connection(actor),
            Kind::SetQuota => self.set_quota(actor),
            Kind::AssignRole => self.assign(actor),
            Kind::UnassignRole => self.unassign(actor),
            Kind::LogOut => self.close(person, actor, Closing::Logout),
            Kind::RevokeSession => self.close(person, actor, Closing::Revoke),
            Kind::BeDenied => self.be_denied(actor),
            Kind::Export => self.submit(
                Command::Organization(OrganizationCommand::Export(NoteExport { form: Form::Csv })),
                actor,
            ),
            _ => self.set_values(actor, 1)?,
        };
        Ok(Step { submission, events_max })
    }

    pub(super) fn submit(&self, command: impl Into<Command>, actor: Actor) -> Submission {
        let mut submission = Submission::new(command, actor);
        submission.request_id = Some(Fresh.id::<HttpRequestId>().to_string());
        submission
    }

    /// The same with a reason now and then, and with an idempotency key where a program would send one.
    pub(super) fn submit_change(&mut self, command: impl Into<Command>, actor: Actor) -> Submission {
        let mut submission = self.submit(command, actor);
        if self.dice.happens(40) {
            let id = self.id.to_string();
            let reason = Plain::from(words::reason(&mut self.dice));
            submission.reason = Some(self.key.seal(&reason_field(self.handle.stream(), &id), &reason));
        }
        if self.dice.happens(60) {
            let key = format!("{:016x}", self.dice.number());
            let request = Fingerprinted {
                epoch: "0",
                actor: actor.id,
                method: &Method::PUT,
                path: "/v1/environments",
                body: b"{}",
            };
            let headers = [(HeaderName::from_static("idempotency-key"), HeaderValue::from_str(&key))];
            let headers = headers.into_iter().filter_map(|(name, value)| Some((name, value.ok()?))).collect();
            submission.idempotency = request.idempotency(&headers, &self.key, StatusCode::OK).ok().flatten();
        }
        submission
    }

    pub(super) fn log_in(&mut self, person: usize, now: Timestamp, token: &PlainToken) -> Submission {
        let stream = self.handle.stream();
        let session: SessionId = Fresh.id();
        let id = session.to_string();
        let (address, agent) = (words::address(&mut self.dice), words::user_agent(&mut self.dice));
        let person = &mut self.people[person];
        person.sessions.push((session, now));
        // Browsers are closed and forgotten far more often than somebody logs out.
        if person.sessions.len() > SESSIONS_MAX {
            person.sessions.remove(0);
        }
        let opened = SessionOpened {
            session,
            person: Some(person.id),
            account: None,
            token: token.hash(),
            generation: 1,
            since: None,
            ip: Some(person.key.seal(&ip_field(stream, &id), &Plain::from(address))),
            user_agent: Some(person.key.seal(&user_agent_field(stream, &id), &Plain::from(agent))),
        };
        let actor = Actor { id: ActorId::Person(person.id), session: Some(session) };
        self.submit(sessions(SessionsCommand::Open(opened)), actor)
    }

    /// Ends the oldest session in use.
    fn close(&mut self, person: usize, actor: Actor, how: Closing) -> Submission {
        let (session, _) = self.people[person].sessions.remove(0);
        self.submit(sessions(SessionsCommand::Close(CloseSession { session, how })), actor)
    }

    pub(super) fn fail_log_in(&self, person: usize) -> Submission {
        let fact = RecordRefused {
            resource: Resource::new(ResourceType::Person, self.people[person].id),
            related: Vec::new(),
            outcome: Outcome::Failure,
            refused: Refused {
                action: "auth.login".to_owned(),
                data: RefusedData { cause: Some("wrong_password".to_owned()), ..RefusedData::default() },
            },
            count: None,
        };
        self.submit(Command::Organization(OrganizationCommand::Refuse(fact)), Actor::SYSTEM)
    }

    fn be_denied(&mut self, actor: Actor) -> Submission {
        let attempts = [
            ("organization.update", "organization:update"),
            ("environment.create", "environment:manage"),
            ("config.set", "config:write"),
            ("audit.read", "audit:read"),
        ];
        let (action, permission) = attempts[self.dice.below(attempts.len())];
        let fact = RecordRefused {
            resource: Resource::new(ResourceType::Organization, self.id),
            related: Vec::new(),
            outcome: Outcome::Denied,
            refused: Refused {
                action: action.to_owned(),
                data: RefusedData { permission: Some(permission.to_owned()), ..RefusedData::default() },
            },
            count: None,
        };
        self.submit(Command::Organization(OrganizationCommand::Refuse(fact)), actor)
    }

    fn set_values(&mut self, actor: Actor, count: usize) -> Result<Submission> {
        let at = self.dice.skewed_below(self.environments.len());
        let mut keys = BTreeSet::new();
        if self.environments[0].keys.is_empty() {
            keys.insert(KEY_KEPT);
        }
        while keys.len() < count {
            keys.insert(self.dice.skewed_below(words::KEYS));
        }
        let mut values = Vec::new();
        for key in keys {
            self.environments[at].keys.insert(key);
            let value = words::value(key, &mut self.dice);
            values.push((ConfigKey::try_from(words::key(key).as_str())?, Some(value)));
        }
        let command = write_config(self.environments[at].id, values);
        Ok(self.submit_change(command, actor))
    }

    fn delete_value(&mut self, actor: Actor) -> Result<Submission> {
        let all: Vec<_> = self.values().collect();
        let (at, key) = all[self.dice.below(all.len())];
        let environment = &mut self.environments[at];
        environment.keys.remove(&key);
        let command =
            write_config(environment.id, vec![(ConfigKey::try_from(words::key(key).as_str())?, None)]);
        Ok(self.submit_change(command, actor))
    }

    fn create_environment(&mut self, actor: Actor) -> Result<Submission> {
        // What is made after the beginning has a number that no other ever had.
        let (name, slug) = words::environment(self.made);
        let mode = if self.made == 0 { Mode::Live } else { Mode::Test };
        self.made += 1;
        let id: EnvironmentId = Fresh.id();
        let command = CreateEnvironment {
            environment: id,
            name: Name::try_from(name.as_str())?,
            slug: Slug::try_from(slug.as_str())?,
            mode,
            description: Some(Description::try_from(words::purpose(&mut self.dice))?),
        };
        self.environments.push(Environment { id, slug, keys: BTreeSet::new() });
        Ok(self.submit_change(EnvironmentsCommand::Create(command), actor))
    }

    fn describe_environment(&mut self, actor: Actor) -> Result<Submission> {
        let at = self.dice.below(self.environments.len());
        let description = format!("{}, since {:x}", words::purpose(&mut self.dice), self.dice.below(1 << 20));
        let command = UpdateEnvironment {
            environment: self.environments[at].id,
            name: None,
            slug: None,
            description: Some(Some(Description::try_from(description.as_str())?)),
        };
        Ok(self.submit_change(EnvironmentsCommand::Update(command), actor))
    }

    fn delete_environment(&mut self, actor: Actor) -> Submission {
        let at = ENVIRONMENTS_KEPT + self.dice.below(self.environments.len() - ENVIRONMENTS_KEPT);
        let environment = self.environments.remove(at).id;
        self.assignments.retain(|held| held.environment != Some(environment));
        self.secrets.retain(|secret| !secret.is_in(environment));
        self.clientele.leave(environment);
        self.submit_change(EnvironmentsCommand::Delete(DeleteEnvironment { environment }), actor)
    }

    fn update_organization(&mut self, actor: Actor) -> Result<Submission> {
        let name = words::organization(self.dice.below(1 << 20), &mut self.dice);
        let command = UpdateOrganization {
            name: Some(Name::try_from(name.as_str())?),
            timezone: Some(Timezone::try_from(words::timezone(&mut self.dice))?),
            ..UpdateOrganization::default()
        };
        Ok(self.submit_change(GeneralCommand::Update(command), actor))
    }

    fn rename(&mut self, person: usize, actor: Actor) -> Submission {
        let Person { id, key, .. } = &self.people[person];
        let field = id.to_string();
        let name = Plain::from(words::person(&mut self.dice));
        let name = Some(key.seal(&name_field(self.handle.stream(), &field), &name));
        self.submit(PeopleCommand::Update(UpdatePerson { person: *id, name }), actor)
    }

    fn leave(&mut self, person: usize, actor: Actor) -> Submission {
        let id = self.goes(person);
        self.submit(PeopleCommand::Leave(id), actor)
    }

    fn create_key(&mut self, actor: Actor) -> Result<Submission> {
        let (key, mode) = (Fresh.id(), if self.dice.happens(700) { Mode::Live } else { Mode::Test });
        let plain = PlainKey::draw(prefix(mode));
        let rate_limit = self.dice.happens(200).then_some(RateLimit { requests: 10_000, window_seconds: 60 });
        let command = CreateApiKey {
            key,
            name: Name::try_from(words::program(&mut self.dice).as_str())?,
            mode,
            role: RoleRef::System(SystemRole::Workflow),
            token: plain.hash(),
            last4: plain.last4().to_owned(),
            limits: Limits { rate_limit, ..Limits::NONE },
        };
        self.keys.push((key, mode));
        Ok(self.submit_change(ApiKeysCommand::Create(command), actor))
    }

    fn rename_key(&mut self, actor: Actor) -> Result<Submission> {
        let name = format!("{} ({:x})", words::program(&mut self.dice), self.dice.below(1 << 20));
        let command = UpdateApiKey {
            key: self.keys[self.dice.below(self.keys.len())].0,
            name: Some(Name::try_from(name.as_str())?),
            disabled: None,
            environments: None,
            customers: None,
            expires_at: None,
            allowed_cidrs: None,
            rate_limit: None,
        };
        Ok(self.submit_change(ApiKeysCommand::Update(command), actor))
    }

    fn rotate_key(&mut self, actor: Actor) -> Submission {
        let (key, _) = self.keys[self.dice.below(self.keys.len())];
        // Its prefix says nothing here: nobody presents it.
        let plain = PlainKey::draw(prefix(Mode::Live));
        let (token, last4) = (plain.hash(), plain.last4().to_owned());
        self.submit_change(
            ApiKeysCommand::Rotate(RotateApiKey { key, token, last4, grace_seconds: 3_600 }),
            actor,
        )
    }

    fn revoke_key(&mut self, actor: Actor) -> Submission {
        let (key, _) = self.keys.remove(self.dice.below(self.keys.len()));
        self.submit_change(ApiKeysCommand::Revoke(RevokeApiKey { key }), actor)
    }

    /// Mostly the count of a minute; sometimes the first use from an address on a day.
    pub(super) fn use_key(&mut self) -> Submission {
        let stream = self.handle.stream();
        let (key, _) = self.keys[self.dice.skewed_below(self.keys.len())];
        let (session, opens): (SessionId, _) = (Fresh.id(), self.dice.happens(100));
        let id = session.to_string();
        let (address, agent) = (words::address(&mut self.dice), words::user_agent(&mut self.dice));
        let opened = opens.then(|| KeySessionOpened {
            session,
            ip: self.key.seal(&ip_field(stream, &id), &Plain::from(address)),
            user_agent: Some(self.key.seal(&user_agent_field(stream, &id), &Plain::from(agent))),
        });
        let count = if opens { None } else { Some(1 + self.dice.below(5_000) as u64) };
        let actor = Actor { id: ActorId::ApiKey(key), session: opens.then_some(session) };
        self.submit(ApiKeysCommand::Use(UseApiKey { key, count, opened, reads: Reads::default() }), actor)
    }
}

fn sessions(command: SessionsCommand) -> Command {
    Command::Organization(OrganizationCommand::Sessions(command))
}

fn write_config(environment: EnvironmentId, values: Vec<(ConfigKey, Option<String>)>) -> EnvironmentsCommand {
    EnvironmentsCommand::WriteConfig(WriteConfig {
        environment,
        compares: Compares::Configuration,
        values,
        must_exist: false,
    })
}
