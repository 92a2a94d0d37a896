//! What random histories ask of the platform's areas, and of what spans streams: organizations founded and deleted, people of a
//! domain on their way in, other addresses, other keys, the clock. Each is done to its end.

use proptest::prelude::*;
use proptest::sample::Index;
use settled::actor::Actor;
use settled::ids::{OrganizationId, StreamId};
use settled::platform::deletions::command::DeletionsCommand;
use settled::seal::Plain;
use settled::store::Submission;

use crate::checkpoints::sign;
use crate::commands::accept_clock;
use crate::histories::BASE;
use crate::memberships::open_new;
use crate::test_store::TestStore;

/// What is asked for. Indices choose among the organizations that there are.
#[derive(Clone, Debug)]
pub enum PlatformAsk {
    Found(u8),
    Delete(Index),
    /// Somebody without an account asks an organization to let them in.
    Join(Index),
    Address(u8),
    SigningKey,
    StreamKey(Index),
    Checkpoint(Index),
    AcceptClock,
}

pub fn platform_ask() -> impl Strategy<Value = PlatformAsk> {
    let index = any::<Index>;
    prop_oneof![
        2 => any::<u8>().prop_map(PlatformAsk::Found),
        2 => index().prop_map(PlatformAsk::Delete),
        3 => index().prop_map(PlatformAsk::Join),
        2 => any::<u8>().prop_map(PlatformAsk::Address),
        1 => Just(PlatformAsk::SigningKey),
        2 => index().prop_map(PlatformAsk::StreamKey),
        2 => index().prop_map(PlatformAsk::Checkpoint),
        1 => Just(PlatformAsk::AcceptClock),
    ]
}

/// The organizations that were not deleted.
fn organizations(store: &TestStore) -> Vec<OrganizationId> {
    let all = store.store.organizations().into_iter();
    all.filter(|organization| !store.store.is_deleted(*organization)).collect()
}

impl PlatformAsk {
    /// Does it, as far as there is an organization for it.
    pub async fn run(&self, store: &TestStore) {
        let account = BASE.members[0].founded.account;
        let which = |index: &Index| {
            let all = organizations(store);
            (!all.is_empty()).then(|| *index.get(&all))
        };
        match self {
            Self::Found(number) => {
                store.found_further(account, &format!("Further {number}")).await;
            }
            Self::Delete(index) => {
                let Some(organization) = which(index) else { return };
                let open = Submission::new(DeletionsCommand::Open(organization), Actor::OPERATOR);
                store.store.execute(store.store.platform(), open).await.unwrap();
                store.store.finish_deletion(organization).await.unwrap();
            }
            Self::Join(index) => {
                let Some(organization) = which(index) else { return };
                open_new(store, "Nora", organization).await;
                // Refused where the organization wants nobody of the domain; it is closed with either answer.
                store.store.finish_intents().await;
            }
            Self::Address(number) => {
                store.change_address(account, &Plain::from(format!("{number}@example.com"))).await;
                store.store.finish_intents().await;
            }
            Self::SigningKey => {
                store.store.rotate_signing_key(Actor::OPERATOR).await.unwrap();
            }
            Self::StreamKey(index) => {
                let stream = which(index).map_or(StreamId::Platform, StreamId::Organization);
                store.store.rotate_stream_key(stream, Actor::OPERATOR).await.unwrap();
            }
            Self::Checkpoint(index) => {
                if let Some(organization) = which(index) {
                    sign(store, organization).await.unwrap();
                }
            }
            Self::AcceptClock => {
                accept_clock(store).await;
            }
        }
    }
}
