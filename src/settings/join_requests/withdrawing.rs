//! Taking a request to join back: whoever asked goes, has another address, or came in another way. The organization is left
//! with the same as after declining it.

use crate::actor::ActorId;
use crate::command::{Context, NewEvent, Rejection};
use crate::ids::UserId;
use crate::organization::Organization;
use crate::settings::join_requests::command::{JoinRequestsRejection, declined};

/// Takes back the request of somebody who waits to be let in. Of whoever does not wait it changes nothing.
#[derive(Clone, Copy, Debug)]
pub struct WithdrawJoinRequest {
    /// Who they would be.
    pub person: UserId,
}

impl WithdrawJoinRequest {
    pub(super) fn decide(self, state: &Organization, context: &Context) -> Result<Vec<NewEvent>, Rejection> {
        if ![ActorId::Person(self.person), ActorId::System].contains(&context.actor.id) {
            return Err(JoinRequestsRejection::NotFound.into());
        }
        Ok(withdraws(state, self.person).into_iter().collect())
    }
}

/// That somebody waits to be let in no more, if they do.
pub(in crate::settings) fn withdraws(state: &Organization, person: UserId) -> Option<NewEvent> {
    state.join_requests.pending_of(person).map(declined)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actor::Actor;
    use crate::event::Event;
    use crate::given::{asks_to_join, by, events, founded, id, member, not_let_in, organization, person};
    use crate::settings::join_requests::command::JoinRequestsCommand;

    fn decide(actor: Actor, state: &Organization) -> Result<Vec<Event>, Rejection> {
        let command = JoinRequestsCommand::Withdraw(WithdrawJoinRequest { person: id(7) });
        events(command.decide(state, &by(actor)))
    }

    #[test]
    fn who_waits_takes_their_request_back_and_so_does_the_system_for_them() {
        let state = organization(founded().into_iter().chain([asks_to_join(7)]));
        for actor in [person(id(7)), Actor::SYSTEM] {
            assert_eq!(decide(actor, &state), Ok(vec![not_let_in(7)]));
        }
        assert_eq!(decide(person(id(1)), &state), Err(JoinRequestsRejection::NotFound.into()));
    }

    #[test]
    fn who_does_not_wait_takes_nothing_back() {
        let declined = founded().into_iter().chain([asks_to_join(7), not_let_in(7)]);
        let let_in = founded().into_iter().chain(member(7, None));
        for given in [founded(), declined.collect(), let_in.collect()] {
            assert_eq!(decide(person(id(7)), &organization(given)), Ok(Vec::new()));
        }
    }
}
