//! What random histories ask of an organization's domain, and of those who come by it.

use proptest::prelude::*;
use proptest::sample::Index;
use settled::actor::{Actor, ActorId};
use settled::ids::{Fresh, JoinRequestId, OrganizationId};
use settled::settings::general::command::{DomainChallenge, GeneralCommand, UpdateOrganization};
use settled::settings::general::value::EmailDomain;
use settled::settings::join_requests::command::{
    ApproveJoinRequest, AskToJoin, DeclineJoinRequest, JoinRequestsCommand,
};
use settled::settings::roles::role::{RoleRef, SystemRole};
use settled::store::Submission;

use crate::histories::chosen;
use crate::test_store::TestStore;

const DOMAINS: [&str; 2] = ["example.com", "example.org"];

/// What is asked for. Indices choose among the requests that earlier steps tried to make.
#[derive(Clone, Debug)]
pub enum JoinAsk {
    Domain(Option<usize>),
    Way { at_once: Option<bool>, role: Option<u8> },
    Prove { domain: usize, proven: bool },
    Ask { domain: usize, vouched: bool },
    Approve { which: Index, role: Option<u8> },
    Decline(Index),
}

pub fn join_ask() -> impl Strategy<Value = JoinAsk> {
    let index = any::<Index>;
    prop_oneof![
        2 => prop::option::weighted(0.8, 0..2usize).prop_map(JoinAsk::Domain),
        2 => (prop::option::of(any::<bool>()), prop::option::of(0..7u8))
            .prop_map(|(at_once, role)| JoinAsk::Way { at_once, role }),
        3 => (0..2usize, any::<bool>()).prop_map(|(domain, proven)| JoinAsk::Prove { domain, proven }),
        4 => (0..2usize, any::<bool>()).prop_map(|(domain, vouched)| JoinAsk::Ask { domain, vouched }),
        2 => (index(), prop::option::of(0..7u8)).prop_map(|(which, role)| JoinAsk::Approve { which, role }),
        1 => index().prop_map(JoinAsk::Decline),
    ]
}

fn role(number: u8) -> RoleRef {
    RoleRef::System(SystemRole::ALL[usize::from(number)])
}

/// What a record has to say for a domain: always the same, so that what is proven is known without asking.
fn challenge(domain: usize) -> DomainChallenge {
    let domain = DOMAINS[domain].to_owned();
    DomainChallenge { challenge: format!("settled-verification={domain}"), domain }
}

fn updates(update: UpdateOrganization, actor: Actor) -> Submission {
    Submission::new(GeneralCommand::Update(update), actor)
}

impl JoinAsk {
    /// What is submitted for it; a request that is to be made joins `requests`.
    pub fn submission(
        self,
        requests: &mut Vec<JoinRequestId>,
        actor: Actor,
        organization: OrganizationId,
        with: &TestStore,
    ) -> Submission {
        let request = |which: Index| chosen(requests, which, Fresh.id());
        match self {
            Self::Domain(domain) => {
                let set = |domain| {
                    let DomainChallenge { domain, challenge } = challenge(domain);
                    (EmailDomain::try_from(domain.as_str()).unwrap(), challenge)
                };
                let email_domain = Some(domain.map(set));
                updates(UpdateOrganization { email_domain, ..UpdateOrganization::default() }, actor)
            }
            Self::Way { at_once, role: number } => {
                let (auto_approve_domain_users, join_role) = (at_once, number.map(role));
                let way = UpdateOrganization { auto_approve_domain_users, join_role, ..Default::default() };
                updates(way, actor)
            }
            Self::Prove { domain, proven: true } => {
                Submission::new(GeneralCommand::VerifyDomain(challenge(domain)), actor)
            }
            Self::Prove { domain, proven: false } => {
                Submission::new(GeneralCommand::DoubtDomain(challenge(domain)), Actor::SYSTEM)
            }
            Self::Ask { domain, vouched } => {
                let (person, key) = with.newcomer(organization, "Nora");
                let join_request = Fresh.id();
                requests.push(join_request);
                let somebody = Actor { id: ActorId::Person(person.person), session: None };
                let domain = DOMAINS[domain].to_owned();
                let ask =
                    AskToJoin { join_request, person, domain, is_vouched: vouched, assignment: Fresh.id() };
                let mut submission = Submission::new(JoinRequestsCommand::Ask(ask), somebody);
                submission.keys = vec![key];
                submission
            }
            Self::Approve { which, role: number } => {
                let (join_request, role) = (request(which), number.map(role));
                let approve = ApproveJoinRequest { join_request, role, assignment: Fresh.id() };
                Submission::new(JoinRequestsCommand::Approve(approve), actor)
            }
            Self::Decline(which) => {
                let decline = DeclineJoinRequest { join_request: request(which) };
                Submission::new(JoinRequestsCommand::Decline(decline), actor)
            }
        }
    }
}
