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
    /// Closes one. Closing one's own again appends nothing.
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
                    let again = sessions.was_closed(close.session, context.actor.id);
                    return match close.how {
                        Closing::Revoke if !again => Err(SessionsRejection::NotFound.into()),
                        Closing::Revoke | Closing::Logout | Closing::Switch => Ok(Vec::new()),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::area::Fold as _;
    use crate::clock::Timestamp;
    use crate::event::Event;
    use crate::given::{by, events, id, now, person, recorded};
    use crate::ids::StreamId;
    use crate::seal::Commitment;
    use crate::settings::sessions::projection::SESSION_MAX_SECONDS;

    fn opened(number: u128) -> SessionOpened {
        SessionOpened {
            session: id(number),
            person: Some(id(1)),
            account: None,
            token: Commitment([1; 32]),
            generation: 1,
            since: None,
            ip: None,
            user_agent: None,
        }
    }

    fn given(events: impl IntoIterator<Item = (Timestamp, SessionsEvent)>) -> Sessions {
        let mut sessions = Sessions::default();
        for (version, (at, event)) in (1..).zip(events) {
            let stream = StreamId::Organization(id(1));
            sessions.apply(&recorded(stream, version, at, person(id(1)), Event::Sessions(event)));
        }
        sessions
    }

    fn open(number: u128) -> (Timestamp, SessionsEvent) {
        (now(), SessionsEvent::SessionOpened(opened(number)))
    }

    fn decide(command: SessionsCommand, sessions: &Sessions, actor: u128) -> Result<Vec<Event>, Rejection> {
        let belongs = |holder| holder == Holder::Person(id(1)) || holder == Holder::Person(id(2));
        events(command.decide(sessions, belongs, &by(person(id(actor)))))
    }

    fn close(number: u128, how: Closing) -> SessionsCommand {
        SessionsCommand::Close(CloseSession { session: id(number), how })
    }

    #[test]
    fn a_member_opens_a_session() {
        let decided = decide(SessionsCommand::Open(opened(1)), &given([]), 1);
        assert_eq!(decided, Ok(vec![Event::Sessions(SessionsEvent::SessionOpened(opened(1)))]));
    }

    #[test]
    fn nobody_opens_a_session_for_another_or_as_a_stranger() {
        let not_a_member = Err(SessionsRejection::NotAMember.into());
        assert_eq!(decide(SessionsCommand::Open(opened(1)), &given([]), 2), not_a_member);
        let stranger = SessionOpened { person: Some(id(3)), ..opened(1) };
        assert_eq!(decide(SessionsCommand::Open(stranger), &given([]), 3), not_a_member);
        for person in [None, Some(id(1))] {
            let account = person.map(|_| id(1));
            let unclear = SessionOpened { person, account, ..opened(1) };
            assert_eq!(decide(SessionsCommand::Open(unclear), &given([]), 1), not_a_member);
        }
    }

    #[test]
    fn the_oldest_session_gives_way() {
        let many = given((1..=100).map(open));
        let decided = decide(SessionsCommand::Open(opened(101)), &many, 1).unwrap();
        let revoked = SessionsEvent::SessionRevoked(SessionClosed { session: id(1) });
        assert_eq!(decided[0], Event::Sessions(revoked));
        assert_eq!(decided.len(), 2);
    }

    #[test]
    fn a_session_is_closed_in_its_way_and_once() {
        for (how, event) in [
            (Closing::Logout, SessionsEvent::LoggedOut as fn(SessionClosed) -> SessionsEvent),
            (Closing::Switch, SessionsEvent::Switched),
            (Closing::Revoke, SessionsEvent::SessionRevoked),
        ] {
            let closed = event(SessionClosed { session: id(1) });
            let decided = decide(close(1, how), &given([open(1)]), 1);
            assert_eq!(decided, Ok(vec![Event::Sessions(closed.clone())]));
            let given = given([open(1), (now(), closed)]);
            assert_eq!(decide(close(1, how), &given, 1), Ok(Vec::new()));
            assert_eq!(decide(close(1, Closing::Revoke), &given, 1), Ok(Vec::new()), "whatever closed it");
            let not_found = Err(SessionsRejection::NotFound.into());
            assert_eq!(decide(close(1, Closing::Revoke), &given, 2), not_found, "another's");
            assert_eq!(decide(close(2, Closing::Revoke), &given, 1), not_found, "unknown");
        }
    }

    #[test]
    fn so_many_closed_sessions_are_remembered_and_none_beyond_its_time() {
        let closed = |number| (now(), SessionsEvent::LoggedOut(SessionClosed { session: id(number) }));
        let many = given((1..=101).flat_map(|number| [open(number), closed(number)]));
        let again = |sessions: &Sessions, number| decide(close(number, Closing::Revoke), sessions, 1);
        let not_found = Err(SessionsRejection::NotFound.into());
        assert_eq!((again(&many, 1), again(&many, 2)), (not_found.clone(), Ok(Vec::new())));
        let later = now().plus_seconds(SESSION_MAX_SECONDS + 1);
        let opened_later = (later, SessionsEvent::SessionOpened(opened(2)));
        assert_eq!(again(&given([open(1), closed(1), opened_later]), 1), not_found);
    }

    #[test]
    fn nobody_closes_anothers_session() {
        for how in [Closing::Logout, Closing::Switch, Closing::Revoke] {
            assert_eq!(decide(close(1, how), &given([open(1)]), 2), Err(SessionsRejection::NotFound.into()));
        }
    }

    #[test]
    fn opening_a_session_drops_those_that_ended_by_age() {
        let later = now().plus_seconds(SESSION_MAX_SECONDS);
        let sessions = given([open(1), (later, SessionsEvent::SessionOpened(opened(2)))]);
        assert!(sessions.get(id(1)).is_some(), "at its last moment it is still there");
        let later = later.plus_seconds(1);
        let sessions = given([open(1), (later, SessionsEvent::SessionOpened(opened(2)))]);
        assert!(sessions.get(id(1)).is_none());
        assert_eq!(sessions.of(Holder::Person(id(1))).map(|session| session.id).collect::<Vec<_>>(), [id(2)]);
    }
}
