//! What the keys of a snapshot do not have that its history has, and no ledger tells of: data keys were destroyed after the
//! history ended, values of API keys revoked or rotated. It is recorded as that, so that whatever reads the store finds what
//! it finds of all that is gone.

use std::collections::{BTreeMap, BTreeSet};

use crate::command::NewEvent;
use crate::event::{Event, Recorded};
use crate::ids::{ApiKeyId, DataKeyId, OrganizationId, StreamId};
use crate::organization::Organization;
use crate::platform::Platform;
use crate::platform::accounts::command::{deleted, expired as sign_up_expired};
use crate::platform::managed_apps::command::deleted as managed_app_deleted;
use crate::seal::Commitment;
use crate::settings::api_keys::command::revoked;
use crate::settings::api_keys::event::{ApiKeyRotated, ApiKeysEvent};
use crate::settings::connections::command::revoked as connection_revoked;
use crate::settings::customers::command::erased as customer_erased;
use crate::settings::invitations::command::expired as invitation_expired;
use crate::settings::join_requests::command::declined;
use crate::settings::people::projection::Status;
use crate::settings::people::standing::erased;
use crate::settings::secrets::command::version_destroyed;
use crate::settings::secrets::projection::Secret;
use crate::store::Store;
use crate::store::finishing::{FinishEntry, FinishError};

impl Store {
    /// Records that keys of a stream are destroyed which it does not have. Gives those of them that are.
    ///
    /// # Errors
    /// When it cannot be recorded now.
    pub async fn forget_absent(
        &self,
        stream: StreamId,
        absent: &BTreeSet<DataKeyId>,
    ) -> Result<BTreeSet<DataKeyId>, FinishError> {
        let view = self.stream(stream).await?.view();
        let events = match stream {
            StreamId::Platform => of_platform(view.platform(), absent),
            StreamId::Organization(_) => of_organization(view.organization(), absent),
        };
        let mut told = BTreeSet::new();
        for event in events {
            told.extend(event.event.destroyed_keys());
            self.finish(stream, event.into()).await?;
        }
        Ok(told)
    }

    /// Records of an API key whose value was replaced later that it was, whatever value it has here: rotations with a grace
    /// that came between are told nowhere. Gives whether it did.
    ///
    /// # Errors
    /// When it cannot be recorded now.
    pub async fn replace_value(&self, later: &Recorded) -> Result<bool, FinishError> {
        let Event::ApiKeys(ApiKeysEvent::ApiKeyRotated(rotated)) = &later.event else { return Ok(false) };
        if self.directory().head(later.stream).is_none() {
            return Ok(false);
        }
        let view = self.stream(later.stream).await?.view();
        let key = view.organization().api_keys.get(rotated.key).filter(|key| !key.is_revoked());
        let Some(key) = key.filter(|key| key.token() != rotated.token) else { return Ok(false) };
        let rotated = ApiKeyRotated { previous: key.token(), ..rotated.clone() };
        let event = Event::ApiKeys(ApiKeysEvent::ApiKeyRotated(rotated));
        let (resource, related) = (later.resource.clone(), later.related.clone());
        self.finish(later.stream, FinishEntry { resource, related, event }).await?;
        Ok(true)
    }

    /// Revokes the API keys whose values were not accepted any more later. Gives how many.
    ///
    /// # Errors
    /// When it cannot be recorded now.
    pub async fn revoke_unknown(
        &self,
        is_accepted: impl Fn(&[u8; 32]) -> bool,
    ) -> Result<usize, FinishError> {
        let mut unknown: BTreeMap<OrganizationId, BTreeSet<ApiKeyId>> = BTreeMap::new();
        let all = self.directory().accepted_keys().into_iter();
        for token in all.filter(|token| !is_accepted(token)) {
            if let Some(known) = self.directory().key(Commitment(token)) {
                unknown.entry(known.organization).or_default().insert(known.key);
            }
        }
        let mut count = 0;
        for (organization, keys) in unknown {
            let stream = StreamId::Organization(organization);
            let view = self.stream(stream).await?.view();
            for id in keys {
                let key = view.organization().api_keys.get(id).filter(|key| !key.is_revoked());
                if let Some(key) = key {
                    self.finish(stream, revoked(id, key).into()).await?;
                    count += 1;
                }
            }
        }
        Ok(count)
    }
}

fn of_organization(state: &Organization, absent: &BTreeSet<DataKeyId>) -> Vec<NewEvent> {
    let customers = state.customers.iter().map(|customer| (customer.id, customer.key));
    let former = state.customers.all_former().filter_map(|(id, former)| Some((id, former.key?.id)));
    let customers: BTreeMap<_, _> = customers.chain(former).filter(|(_, key)| absent.contains(key)).collect();
    // What they had goes with them.
    let others = |secret: &&Secret| !secret.scope.customer().is_some_and(|id| customers.contains_key(&id));
    let values = state.secrets.iter().filter(others).flat_map(|secret| {
        let kept = secret.versions.iter().filter(|(_, version)| !version.destroyed);
        let gone = kept.filter(|(_, version)| absent.contains(&version.key));
        gone.map(|(number, version)| version_destroyed(secret, *number, version.key))
    });
    let customers = customers.iter().map(|(id, key)| customer_erased(state, *id, *key));
    let people = state.people.iter().chain(state.people.former());
    let people = people.filter(|person| person.status != Status::Erased && absent.contains(&person.key));
    let invitations = state.invitations.iter().filter(|invitation| absent.contains(&invitation.key));
    let requests = state.join_requests.pending().filter(|request| absent.contains(&request.key));
    let connections = state.connections.iter().filter(|connection| absent.contains(&connection.key));
    values
        .chain(connections.map(connection_revoked))
        .chain(customers)
        .chain(people.map(erased))
        .chain(invitations.map(invitation_expired))
        .chain(requests.map(declined))
        .collect()
}

fn of_platform(state: &Platform, absent: &BTreeSet<DataKeyId>) -> Vec<NewEvent> {
    let accounts = state.accounts.iter().filter(|account| absent.contains(&account.key));
    let sign_ups = state.accounts.sign_ups.keys().filter(|(_, key)| absent.contains(key));
    let apps = state.managed_apps.iter().filter(|app| absent.contains(&app.client_secret.key));
    accounts
        .map(deleted)
        .chain(sign_ups.map(|(id, key)| sign_up_expired(id, key)))
        .chain(apps.map(managed_app_deleted))
        .collect()
}
