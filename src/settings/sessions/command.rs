//! Opening and closing sessions.

use crate::actor::ActorId;
use crate::command::{Context, Need, NewEvent, Rejection};
use crate::event::{Resource, ResourceType};
use crate::ids::SessionId;
use crate::settings::sessions::event::{SessionClosed, SessionOpened, SessionsEvent};
use crate::settings::sessions::projection::{Holder, Sessions};

/// The most open sessions of one holder; the oldest gives way.
pub const SESSIONS_PER_HOLDER_MAX: usize = 100;

/// A command to sessions.
#[derive(Clone, Debug)]
pub enum SessionsCommand {
    /// Opens a session after a login.
    Open(SessionOpened),
    /// Closes one. Closing a closed one appends nothing.
    Close(CloseSession),
}

/// Closes a session.
#[derive(Clone, Copy, Debug)]
pub struct CloseSession {
    /// Which.
    pub session: SessionId,
    /// How.
    pub how: Closing,
}

/// How a session is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closing {
    /// By its holder, in it.
    Logout,
    /// By going to another organization.
    Switch,
    /// From another session of the same holder.
    Revoke,
}

/// Why a command to sessions appends nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SessionsRejection {
    /// There is no such session of this holder.
    #[error("there is no such session")]
    NotFound,
    /// The holder does not belong here.
    #[error("the person does not belong to the organization")]
    NotAMember,
}

impl SessionsCommand {
    /// What it needs of its actor.
    pub fn need(&self) -> Need {
        Need::Own
    }

    /// Decides. `belongs` tells whether a holder may have sessions in this stream.
    ///
    /// # Errors
    /// [`SessionsRejection`].
    pub fn decide(
        &self,
        sessions: &Sessions,
        belongs: impl Fn(Holder) -> bool,
        context: &Context,
    ) -> Result<Vec<NewEvent>, Rejection> {
        match self {
            Self::Open(opened) => {
                let holder = match (opened.person, opened.account) {
                    (Some(person), None) => Holder::Person(person),
                    (None, Some(account)) => Holder::Account(account),
                    _ => return Err(SessionsRejection::NotAMember.into()),
                };
                if !belongs(holder) || context.actor.id != holder.actor() {
                    return Err(SessionsRejection::NotAMember.into());
                }
                let mut events = Vec::new();
                let held: Vec<_> = sessions.of(holder).map(|session| session.id).collect();
                if held.len() >= SESSIONS_PER_HOLDER_MAX {
                    events.push(closing(held[0], holder.actor(), Closing::Revoke));
                }
                let resource = Resource::new(ResourceType::Session, opened.session);
                let event = NewEvent::new(resource, SessionsEvent::SessionOpened(opened.clone()));
                events.push(event.relating(holder.actor()));
                Ok(events)
            }
            Self::Close(close) => {
                let Some(session) = sessions.get(close.session) else {
                    return match close.how {
                        Closing::Revoke => Err(SessionsRejection::NotFound.into()),
                        Closing::Logout | Closing::Switch => Ok(Vec::new()),
                    };
                };
                if session.holder.actor() != context.actor.id {
                    return Err(SessionsRejection::NotFound.into());
                }
                Ok(vec![closing(close.session, session.holder.actor(), close.how)])
            }
        }
    }
}

fn closing(session: SessionId, holder: ActorId, how: Closing) -> NewEvent {
    let closed = SessionClosed { session };
    let event = match how {
        Closing::Logout => SessionsEvent::LoggedOut(closed),
        Closing::Switch => SessionsEvent::Switched(closed),
        Closing::Revoke => SessionsEvent::SessionRevoked(closed),
    };
    NewEvent::new(Resource::new(ResourceType::Session, session), event).relating(holder)
}
