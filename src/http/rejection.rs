//! Refusals of the store and rejections of the areas, mapped to problems: the one place that knows both.

use crate::command::Rejection;
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

/// The problem that a refusal is.
pub fn problem(refusal: &Refusal) -> Problem {
    match refusal {
        Refusal::Rejected(rejection) => rejected(rejection),
        Refusal::KeyReused => Problem::unprocessable_because(
            "idempotency_key_reused",
            "the idempotency key was used for a request with another body",
        ),
        Refusal::TooManyKeys => Problem::unavailable("too_many_idempotency_keys", 60),
        Refusal::TooLarge => {
            Problem::unprocessable_because("too_large", "the change is too large to be made at once")
        }
        Refusal::QueueFull => Problem::unavailable("overloaded", 1),
        Refusal::ClockJumped(_) => Problem::unavailable("clock_jumped", 30),
        Refusal::DiskFull => Problem::insufficient_storage(),
        Refusal::Stopped => Problem::unavailable("stopping", 5),
        Refusal::Unrecordable(error) => {
            tracing::error!(%error, "an event could not be recorded");
            Problem::internal()
        }
    }
}

/// The problem that unreadable history is.
pub fn unreadable(error: &HistoryError) -> Problem {
    tracing::error!(%error, "history could not be read");
    Problem::internal()
}

/// The problem that a key which is not to be had is.
pub fn unopened(error: &KeyError) -> Problem {
    tracing::error!(%error, "a sealed value could not be opened");
    Problem::internal()
}

/// The problem that a password which could not be hashed is.
pub fn hashing(error: &PasswordError) -> Problem {
    match error {
        PasswordError::Busy => Problem::unavailable("overloaded", 1),
        other => {
            tracing::error!(error = %other, "a password could not be hashed");
            Problem::internal()
        }
    }
}

/// The problem that an intent which could not be finished is. It stays open, and the next start finishes it.
pub fn unfinished(error: &IntentError) -> Problem {
    match error {
        IntentError::Refused(refusal) => problem(refusal),
        other => {
            tracing::error!(error = %other, "an intent could not be finished");
            Problem::internal()
        }
    }
}

fn rejected(rejection: &Rejection) -> Problem {
    match rejection {
        Rejection::Forbidden(permission) => Problem::forbidden(&permission.to_string()),
        Rejection::SystemOnly => Problem::refused("forbidden", "only the operator may do this"),
        Rejection::PreconditionFailed(_) => Problem::precondition_failed(),
        Rejection::Stale => {
            Problem::conflict("stale", "what this rests on has changed in the meantime; try again")
        }
        Rejection::WrongStream => {
            tracing::error!("a command was sent to the wrong kind of stream");
            Problem::internal()
        }
        Rejection::Taken => Problem::conflict("taken", "the value belongs to another resource"),
        Rejection::General(rejection) => general(*rejection),
        Rejection::People(PeopleRejection::NotFound) => Problem::not_found(),
        Rejection::Roles(rejection) => roles(*rejection),
        Rejection::Environments(rejection) => environments(*rejection),
        Rejection::Sessions(SessionsRejection::NotFound | SessionsRejection::NotAMember) => {
            Problem::not_found()
        }
        Rejection::Accounts(AccountsRejection::NotFound) => Problem::not_found(),
        Rejection::Accounts(AccountsRejection::Stale) => {
            Problem::conflict("stale", "the password was changed in the meantime")
        }
        Rejection::Foundings(rejection) => foundings(*rejection),
        Rejection::Refusals(_) => Problem::internal(),
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
        RolesRejection::LastOwner => Problem::conflict("last_owner", "the organization needs an owner"),
        RolesRejection::AboveYourRights => {
            Problem::refused("above_your_rights", "the subject holds a permission that you lack")
        }
    }
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
        EnvironmentsRejection::ValueExists => Problem::precondition_failed(),
        EnvironmentsRejection::TooManyEnvironments => {
            Problem::conflict("too_many_environments", "the organization has as many environments as it can")
        }
        EnvironmentsRejection::TooManyValues => {
            Problem::conflict("too_many_values", "the environment has as many configuration values as it can")
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
