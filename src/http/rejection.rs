//! Refusals of the store, rejections of the areas and what fails on our side, as the problems that they are: the one
//! place that knows both.

use std::error::Error;

use tokio::task::JoinError;

use crate::causes::with_causes;
use crate::command::Rejection;
use crate::http::access::Denial;
use crate::http::problem::Problem;
use crate::password::PasswordError;
use crate::platform::accounts::command::AccountsRejection;
use crate::platform::foundings::command::FoundingsRejection;
use crate::seal::keyring::KeyError;
use crate::settings::environments::command::EnvironmentsRejection;
use crate::settings::general::command::GeneralRejection;
use crate::settings::people::command::PeopleRejection;
use crate::settings::roles::command::RolesRejection;
use crate::settings::sessions::command::SessionsRejection;
use crate::store::Refusal;
use crate::store::history::HistoryError;
use crate::store::intents::IntentError;
use crate::store::load::LoadError;

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
            IntentError::Refused(refusal) => refusal.into(),
            other => internal(&other, "an intent could not be finished"),
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
        Rejection::SystemOnly => Problem::refused("forbidden", "only the operator may do this"),
        Rejection::PreconditionFailed(_) => Problem::precondition_failed(),
        Rejection::Stale => {
            Problem::conflict("stale", "what this rests on has changed in the meantime; try again")
        }
        Rejection::TooLarge => too_large(),
        Rejection::WrongStream => {
            tracing::error!("a command was sent to the wrong kind of stream");
            Problem::internal()
        }
        Rejection::Taken => Problem::conflict("taken", "the value belongs to another resource"),
        Rejection::General(rejection) => general(*rejection),
        Rejection::People(PeopleRejection::NotFound) => Problem::not_found(),
        Rejection::People(PeopleRejection::LastOwner) => last_owner(),
        Rejection::Roles(rejection) => roles(*rejection),
        Rejection::Environments(rejection) => environments(*rejection),
        Rejection::Sessions(SessionsRejection::NotFound | SessionsRejection::NotAMember) => {
            Problem::not_found()
        }
        Rejection::Accounts(rejection) => accounts(*rejection),
        Rejection::Foundings(rejection) => foundings(*rejection),
        Rejection::Denials(_) => Problem::internal(),
    }
}

fn general(rejection: GeneralRejection) -> Problem {
    match rejection {
        GeneralRejection::NotFound | GeneralRejection::AnotherOrganization => Problem::not_found(),
        GeneralRejection::UnknownRole => {
            Problem::invalid_field("/join_role", "unknown_role", "there is no such role")
        }
    }
}

fn roles(rejection: RolesRejection) -> Problem {
    match rejection {
        RolesRejection::NotFound => Problem::not_found(),
        RolesRejection::UnknownPerson => {
            Problem::invalid_field("/subject", "unknown", "there is no such person")
        }
        RolesRejection::UnknownRole => {
            Problem::invalid_field("/role", "unknown_role", "there is no such role")
        }
        RolesRejection::UnknownEnvironment => {
            Problem::invalid_field("/environment", "unknown", "there is no such environment")
        }
        RolesRejection::LastOwner => last_owner(),
        RolesRejection::AboveYourRights => Denial::AboveYourRights.problem(),
    }
}

fn last_owner() -> Problem {
    Problem::conflict("last_owner", "the organization needs an owner")
}

fn environments(rejection: EnvironmentsRejection) -> Problem {
    match rejection {
        EnvironmentsRejection::NotFound | EnvironmentsRejection::ValueNotFound => Problem::not_found(),
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
