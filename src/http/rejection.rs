//! Refusals of the store, rejections of the areas and what fails on our side, as the problems that they are: the one
//! place that knows both.

use std::error::Error;

use serde_json::json;
use tokio::task::JoinError;

use crate::causes::with_causes;
use crate::command::Rejection;
use crate::history::restore::PrepareError;
use crate::http::access::Denial;
use crate::http::problem::Problem;
use crate::http::rejection_billing::{billing, plans};
use crate::http::rejection_kept::{connections, customer_data, customers, executions, oauth_apps, secrets};
use crate::password::PasswordError;
use crate::platform::accounts::command::AccountsRejection;
use crate::platform::deletions::command::DeletionsRejection;
use crate::platform::foundings::command::FoundingsRejection;
use crate::platform::managed_apps::command::ManagedAppsRejection;
use crate::platform::memberships::command::MembershipsRejection;
use crate::seal::keyring::KeyError;
use crate::settings::api_keys::command::ApiKeysRejection;
use crate::settings::environments::command::EnvironmentsRejection;
use crate::settings::general::command::GeneralRejection;
use crate::settings::invitations::command::InvitationsRejection;
use crate::settings::join_requests::command::JoinRequestsRejection;
use crate::settings::people::command::PeopleRejection;
use crate::settings::roles::command::RolesRejection;
use crate::settings::secrets::command::SecretsRejection;
use crate::settings::sessions::command::SessionsRejection;
use crate::settings::teams::command::TeamsRejection;
use crate::store::Refusal;
use crate::store::checkpoints::SignError;
use crate::store::history::HistoryError;
use crate::store::intents::IntentError;
use crate::store::load::LoadError;
use crate::store::organizations::DeletionError;
use crate::store::rotation::RotationError;
use crate::store::signing::SigningError;

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Rejected(rejection) => rejected(&rejection),
            Refusal::KeyReused => Self::unprocessable_because(
                "idempotency_key_reused",
                "the idempotency key was used for a request with another body",
            ),
            Refusal::TooManyKeys => Self::unavailable("too_many_idempotency_keys", 60),
            Refusal::TooLarge => too_large(),
            Refusal::QueueFull => Self::unavailable("overloaded", 1),
            Refusal::ClockJumped(_) => Self::unavailable("clock_jumped", 30),
            Refusal::DiskFull => Self::insufficient_storage(),
            Refusal::Ledger(_) => Self::unavailable("ledger_unwritable", 30),
            Refusal::Stopped => Self::unavailable("stopping", 5),
            Refusal::Unrecordable(_) => internal(&refusal, "a command was refused"),
        }
    }
}

impl From<HistoryError> for Problem {
    fn from(error: HistoryError) -> Self {
        internal(&error, "history could not be read")
    }
}

impl From<PrepareError> for Problem {
    fn from(error: PrepareError) -> Self {
        match error {
            PrepareError::History(error) => error.into(),
            PrepareError::Key(error) => error.into(),
            PrepareError::Search(error) => error.into(),
        }
    }
}

impl From<LoadError> for Problem {
    fn from(error: LoadError) -> Self {
        internal(&error, "the log could not be replayed")
    }
}

impl From<KeyError> for Problem {
    fn from(error: KeyError) -> Self {
        internal(&error, "a sealed value could not be opened")
    }
}

impl From<PasswordError> for Problem {
    fn from(error: PasswordError) -> Self {
        match error {
            PasswordError::Busy => Self::unavailable("overloaded", 1),
            other => internal(&other, "a password could not be hashed"),
        }
    }
}

impl From<IntentError> for Problem {
    /// The intent stays open, and the next start finishes it.
    fn from(error: IntentError) -> Self {
        match error {
            // Whoever is about to join is no member, and learns no figures.
            IntentError::Refused(Refusal::Rejected(Rejection::QuotaExceeded(excess))) => {
                Self::quota_exceeded(excess.meter.name())
            }
            IntentError::Refused(refusal) => refusal.into(),
            IntentError::Rotation(error) => error.into(),
            other => internal(&other, "an intent could not be finished"),
        }
    }
}

impl From<DeletionError> for Problem {
    /// What is unfinished goes on by itself.
    fn from(error: DeletionError) -> Self {
        match error {
            DeletionError::NotFound(_) => Self::not_found(),
            DeletionError::Load(error) => error.into(),
            DeletionError::Refused(refusal) => refusal.into(),
            DeletionError::Unfinished(error) => error.into(),
        }
    }
}

impl From<RotationError> for Problem {
    /// What was begun goes on by itself.
    fn from(error: RotationError) -> Self {
        match error {
            RotationError::Key(KeyError::SameRootKey(_)) => {
                Self::conflict("same_root_key", "the new root key is the one in use")
            }
            RotationError::Key(KeyError::Rotating { .. }) => {
                Self::conflict("rotating", "the root key is being rotated already, which goes on by itself")
            }
            RotationError::Key(KeyError::StillMinted { .. }) => Self::unavailable("keys_in_use", 5),
            RotationError::Key(error) => internal(&error, "keys could not be rotated"),
            RotationError::NoSuchStream(_) => Self::not_found(),
            RotationError::Load(error) => error.into(),
            RotationError::Refused(refusal) => refusal.into(),
            RotationError::Thread(error) => error.into(),
        }
    }
}

impl From<SigningError> for Problem {
    fn from(error: SigningError) -> Self {
        match error {
            SigningError::Refused(refusal) => refusal.into(),
            other => internal(&other, "nothing can be signed"),
        }
    }
}

impl From<SignError> for Problem {
    fn from(error: SignError) -> Self {
        match error {
            SignError::Refused(refusal) => refusal.into(),
            SignError::Signing(error) => error.into(),
            other => internal(&other, "no checkpoint can be signed"),
        }
    }
}

impl From<JoinError> for Problem {
    /// Of work that was handed to a thread of its own: the panic that ended it has a log line already.
    fn from(_: JoinError) -> Self {
        Self::internal()
    }
}

/// What went wrong on our side: the log says it all, the answer nothing.
fn internal(error: &dyn Error, what: &'static str) -> Problem {
    tracing::error!(error = with_causes(error), "{what}");
    Problem::internal()
}

fn too_large() -> Problem {
    Problem::unprocessable_because("too_large", "the change is too large to be made at once")
}

fn rejected(rejection: &Rejection) -> Problem {
    match rejection {
        Rejection::Forbidden(permission) => Denial::Missing(*permission).problem(),
        Rejection::AboveYourRights => Denial::AboveYourRights.problem(),
        Rejection::SystemOnly => Problem::refused("forbidden", "only the operator may do this"),
        Rejection::PreconditionFailed(_) => Problem::precondition_failed(),
        Rejection::Stale => {
            Problem::conflict("stale", "what this rests on has changed in the meantime; try again")
        }
        Rejection::TooLarge => too_large(),
        Rejection::Over => Problem::not_found(),
        Rejection::WrongStream => {
            tracing::error!("a command was sent to the wrong kind of stream");
            Problem::internal()
        }
        Rejection::Taken => Problem::conflict("taken", "the value belongs to another resource"),
        Rejection::QuotaExceeded(excess) => {
            let problem = Problem::quota_exceeded(excess.meter.name());
            problem.with("limit", excess.limit).with("use", excess.used)
        }
        Rejection::General(rejection) => general(*rejection),
        Rejection::People(rejection) => people(*rejection),
        Rejection::Invitations(rejection) => invitations(*rejection),
        Rejection::JoinRequests(rejection) => join_requests(*rejection),
        Rejection::Teams(rejection) => teams(*rejection),
        Rejection::Roles(rejection) => roles(rejection),
        Rejection::ApiKeys(rejection) => api_keys(*rejection),
        Rejection::Environments(rejection) => environments(*rejection),
        Rejection::Customers(rejection) => customers(*rejection),
        Rejection::CustomerData(rejection) => customer_data(*rejection),
        Rejection::Executions(rejection) => executions(*rejection),
        Rejection::Secrets(rejection) => secrets(*rejection),
        Rejection::OauthApps(rejection) => oauth_apps(*rejection),
        Rejection::Connections(rejection) => connections(*rejection),
        Rejection::Billing(rejection) => billing(rejection),
        Rejection::Sessions(SessionsRejection::NotFound | SessionsRejection::NotAMember) => {
            Problem::not_found()
        }
        Rejection::Accounts(rejection) => accounts(*rejection),
        Rejection::Foundings(rejection) => foundings(*rejection),
        Rejection::Deletions(DeletionsRejection::NotFound)
        | Rejection::ManagedApps(ManagedAppsRejection::NotFound) => Problem::not_found(),
        Rejection::Plans(rejection) => plans(*rejection),
        Rejection::Memberships(rejection) => memberships(*rejection),
        Rejection::Denials(_) => Problem::internal(),
    }
}

fn general(rejection: GeneralRejection) -> Problem {
    match rejection {
        GeneralRejection::NotFound | GeneralRejection::AnotherOrganization => Problem::not_found(),
        GeneralRejection::AnotherDomain => {
            Problem::conflict("stale", "the e-mail domain was changed while DNS was asked")
        }
        GeneralRejection::UnknownRole => {
            Problem::invalid_field("/join_role", "unknown_role", "there is no such role")
        }
    }
}

fn people(rejection: PeopleRejection) -> Problem {
    match rejection {
        PeopleRejection::NotFound => Problem::not_found(),
        PeopleRejection::LastOwner => last_owner(),
        PeopleRejection::Yourself => {
            Problem::conflict("yourself", "nobody suspends, removes or erases themselves; leave instead")
        }
    }
}

fn invitations(rejection: InvitationsRejection) -> Problem {
    match rejection {
        InvitationsRejection::NotFound => Problem::not_found(),
        InvitationsRejection::UnknownRole => {
            Problem::invalid_field("/role", "unknown_role", "there is no such role")
        }
        InvitationsRejection::UnknownTeam => {
            Problem::invalid_field("/teams", "unknown", "there is no such team")
        }
        InvitationsRejection::TooMany => {
            Problem::conflict("too_many_invitations", "as many invitations wait as can")
        }
        InvitationsRejection::MailedTooOften { retry_after_seconds } => {
            Problem::too_many_requests(retry_after_seconds)
        }
        InvitationsRejection::InvalidLink => Problem::invalid_link(),
        InvitationsRejection::Void => Problem::conflict(
            "invitation_void",
            "the invitation gives what whoever sent it cannot give any more; ask for another one",
        ),
        InvitationsRejection::NoRoom => Problem::conflict(
            "too_many_role_assignments",
            "as many roles are given, or teams joined, as can be",
        ),
        InvitationsRejection::AlreadyMember => already_a_member(),
    }
}

fn already_a_member() -> Problem {
    Problem::conflict("already_a_member", "the account is somebody in the organization already")
}

fn join_requests(rejection: JoinRequestsRejection) -> Problem {
    match rejection {
        JoinRequestsRejection::NotFound => Problem::not_found(),
        // Alike for an organization that is not there.
        JoinRequestsRejection::NotJoinable => Problem::not_found(),
        JoinRequestsRejection::Decided => {
            Problem::conflict("join_request_decided", "the request to join was decided")
        }
        JoinRequestsRejection::TooMany => {
            Problem::conflict("too_many_join_requests", "as many requests to join wait as can")
        }
        JoinRequestsRejection::UnknownRole => {
            Problem::invalid_field("/role", "unknown_role", "there is no such role")
        }
        JoinRequestsRejection::TooManyRoles(_) => {
            Problem::conflict("too_many_role_assignments", "as many roles are given as can be")
        }
    }
}

fn teams(rejection: TeamsRejection) -> Problem {
    match rejection {
        TeamsRejection::NotFound | TeamsRejection::UnknownPerson | TeamsRejection::NotAMember => {
            Problem::not_found()
        }
        TeamsRejection::NameTaken => Problem::conflict("name_taken", "another team has this name"),
        TeamsRejection::TooManyTeams => {
            Problem::conflict("too_many_teams", "the organization has as many teams as it can")
        }
        TeamsRejection::TooManyMemberships => {
            Problem::conflict("too_many_memberships", "the teams have as many members as they can")
        }
    }
}

fn roles(rejection: &RolesRejection) -> Problem {
    match rejection {
        RolesRejection::NotFound => Problem::not_found(),
        RolesRejection::UnknownGrantee => {
            Problem::invalid_field("/subject", "unknown", "there is no such person or team")
        }
        RolesRejection::UnknownRole => {
            Problem::invalid_field("/role", "unknown_role", "there is no such role")
        }
        RolesRejection::UnknownEnvironment => {
            Problem::invalid_field("/environment", "unknown", "there is no such environment")
        }
        RolesRejection::SystemRole => Problem::conflict("system_role", "a system role never changes"),
        RolesRejection::NameTaken => Problem::conflict("name_taken", "another role has this name"),
        RolesRejection::TooManyRoles => {
            Problem::conflict("too_many_roles", "the organization has as many custom roles as it can")
        }
        RolesRejection::TooManyAssignments => {
            Problem::conflict("too_many_role_assignments", "as many roles are given as can be")
        }
        RolesRejection::InUse(uses) => {
            let uses: Vec<_> = uses.iter().map(|used| json!({"type": used.kind, "id": used.id})).collect();
            Problem::conflict("role_in_use", "the role is given to somebody, or to whoever joins")
                .with("in_use_by", uses)
        }
        RolesRejection::LastOwner => last_owner(),
    }
}

fn api_keys(rejection: ApiKeysRejection) -> Problem {
    match rejection {
        ApiKeysRejection::NotFound => Problem::not_found(),
        ApiKeysRejection::Revoked => Problem::conflict("api_key_revoked", "the API key was revoked for ever"),
        ApiKeysRejection::UnknownRole => {
            Problem::invalid_field("/role", "unknown_role", "there is no such role")
        }
        ApiKeysRejection::OwnerRole => {
            Problem::invalid_field("/role", "owner_role", "no API key owns the organization")
        }
        ApiKeysRejection::UnknownEnvironment => {
            Problem::invalid_field("/environments", "unknown", "there is no such environment")
        }
        ApiKeysRejection::EnvironmentOfOtherMode => {
            Problem::invalid_field("/environments", "wrong_mode", "an environment is of the other mode")
        }
        ApiKeysRejection::UnknownCustomer => {
            Problem::invalid_field("/customers", "unknown", "there is no such customer")
        }
        ApiKeysRejection::ExpiryInThePast => {
            Problem::invalid_field("/expires_at", "in_the_past", "the time lies in the past")
        }
        ApiKeysRejection::TooManyKeys => {
            Problem::conflict("too_many_api_keys", "the organization has as many API keys as it can")
        }
        ApiKeysRejection::TooManyPrevious => Problem::conflict(
            "too_many_previous_values",
            "too many earlier values are in their grace: wait for one to end, or rotate without grace",
        ),
        ApiKeysRejection::OtherMode => Denial::WrongMode.problem(),
    }
}

fn last_owner() -> Problem {
    Problem::conflict("last_owner", "the organization needs an owner")
}

fn environments(rejection: EnvironmentsRejection) -> Problem {
    match rejection {
        EnvironmentsRejection::NotFound | EnvironmentsRejection::ValueNotFound => Problem::not_found(),
        EnvironmentsRejection::HasConnections => {
            Problem::conflict("has_connections", "end the environment's connections first")
        }
        EnvironmentsRejection::NameTaken => {
            Problem::conflict("name_taken", "another environment has this name")
        }
        EnvironmentsRejection::SlugTaken => {
            Problem::conflict("name_taken", "another environment has this slug")
        }
        EnvironmentsRejection::TooManyEnvironments => {
            Problem::conflict("too_many_environments", "the organization has as many environments as it can")
        }
        EnvironmentsRejection::TooManyValues => {
            Problem::conflict("too_many_values", "the environment has as many configuration values as it can")
        }
    }
}

fn accounts(rejection: AccountsRejection) -> Problem {
    match rejection {
        AccountsRejection::NotFound => Problem::not_found(),
        AccountsRejection::Stale => {
            Problem::conflict("stale", "the password or the address was changed in the meantime")
        }
        AccountsRejection::InvalidLink => Problem::invalid_link(),
        AccountsRejection::NotSetUp => Problem::conflict("not_set_up", "the server is not set up yet"),
        AccountsRejection::TooManySignUps => Problem::unavailable("overloaded", 60),
        AccountsRejection::MembershipsLeft => {
            Problem::conflict("memberships_left", "leave every organization first")
        }
    }
}

impl From<InvitationsRejection> for Problem {
    fn from(rejection: InvitationsRejection) -> Self {
        rejected(&rejection.into())
    }
}

impl From<AccountsRejection> for Problem {
    fn from(rejection: AccountsRejection) -> Self {
        rejected(&rejection.into())
    }
}

impl From<SecretsRejection> for Problem {
    fn from(rejection: SecretsRejection) -> Self {
        rejected(&rejection.into())
    }
}

fn foundings(rejection: FoundingsRejection) -> Problem {
    match rejection {
        FoundingsRejection::AlreadySetUp => {
            Problem::conflict("already_set_up", "the server is already set up")
        }
        FoundingsRejection::UnknownAccount => Problem::not_found(),
        FoundingsRejection::TooMany => {
            Problem::conflict("too_many_organizations", "the account has as many organizations as it can")
        }
    }
}

fn memberships(rejection: MembershipsRejection) -> Problem {
    match rejection {
        MembershipsRejection::UnknownAccount => Problem::not_found(),
        MembershipsRejection::PersonTaken => Problem::invalid_link(),
        MembershipsRejection::AskedTooOften { retry_after_seconds } => {
            Problem::too_many_requests(retry_after_seconds)
        }
        MembershipsRejection::AlreadyThere => already_a_member(),
        MembershipsRejection::TooMany => {
            Problem::conflict("too_many_organizations", "the account has as many organizations as it can")
        }
    }
}
