//! Changing what is known of a customer: a merge patch (RFC 7396) over what is sealed, which is opened, merged and sealed
//! anew. Whoever changed the customer meanwhile makes it `Stale`, and it is prepared again, one such change of a customer at a
//! time.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::http::call::Call;
use crate::http::patch::{Patch, not_null};
use crate::http::problem::{Problem, ProblemBody};
use crate::http::query::NoParameters;
use crate::ids::{CustomerId, StreamId};
use crate::seal::{DataKey, Plain, Sealed};
use crate::settings::customers::command::{CustomersCommand, UpdateCustomer};
use crate::settings::customers::http::{
    AtSeenCustomer, CustomerBody, answer, invalid, know_external_ids, taken,
};
use crate::settings::customers::profile::{Field, Opener, Profile};
use crate::settings::customers::projection::Customer;
use crate::settings::customers::value::{ExternalId, TagKey, TagValue, Tags, merged_metadata};
use crate::store::brought::Brought;
use crate::text::Name;

/// How often a change is made because the customer changed while it was. After the first try only others' first tries
/// come in between.
const TRIES_MAX: usize = 16;

/// What changes (RFC 7396); a field that is absent stays. Tags and metadata are merged, name by name.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CustomerPatch<'a> {
    /// The new name.
    #[serde(default, deserialize_with = "not_null")]
    #[schema(nullable = false)]
    name: Option<Name>,
    /// The new id that others know it by; null clears it.
    #[serde(default)]
    #[schema(value_type = Option<ExternalId>)]
    external_id: Patch<ExternalId>,
    /// Tags to set or, where null, to take away; null takes all away.
    #[serde(default)]
    #[schema(value_type = Option<BTreeMap<String, Option<String>>>)]
    tags: Patch<BTreeMap<TagKey, Option<TagValue>>>,
    /// What else is noted of it, to be merged; null takes all away.
    #[serde(default, borrow)]
    #[schema(value_type = Option<Object>)]
    metadata: Patch<&'a RawValue>,
}

/// Changes what is known of a customer.
#[utoipa::path(patch, path = "/v1/customers/{cus}", tag = "customers", request_body = CustomerPatch<'static>,
    params(("cus" = CustomerId, Path)), responses(
    (status = 200, body = CustomerBody), (status = "4XX", body = ProblemBody)))]
pub async fn update(
    AtSeenCustomer { call, customer }: AtSeenCustomer,
    _: NoParameters,
) -> Result<Response, Problem> {
    let patch: CustomerPatch<'_> = call.body().parse()?;
    if !patch.external_id.is_absent() {
        know_external_ids(&call).await?;
    }
    let (mut tries, mut lane) = (1, None);
    let done = loop {
        // A repeated request meets what the first one met.
        let newest = (tries > 1).then(|| call.organization.handle.view());
        let state = newest.as_ref().map_or_else(|| call.settings(), |view| view.organization());
        let current = state.customers.get(customer).ok_or_else(Problem::not_found)?;
        let (command, brought) = patch.prepared(&call, current)?;
        let command = CustomersCommand::Update(command);
        match call.submit_with(command, brought, StatusCode::OK).await.map_err(taken) {
            Err(problem) if problem.code() == "stale" && tries < TRIES_MAX => {
                tries += 1;
                if lane.is_none() {
                    lane = Some(call.app.store.changing(customer).await);
                }
            }
            done => break done?,
        }
    };
    answer(&call, &done, customer)
}

impl CustomerPatch<'_> {
    /// The change that it makes of a customer as it is, with the external ids that come and go.
    fn prepared(&self, call: &Call, current: &Customer) -> Result<(UpdateCustomer, Brought), Problem> {
        let (store, stream) = (&call.app.store, call.organization.handle.stream());
        let opened = call.organization.handle.open_of_customer(current.id, || {
            let opener = Opener::of(stream, current, store.ring())?;
            Ok((opener.profile()?, store.ring().data_key(stream, current.key, current.commitment)?))
        })?;
        let (profile, key) = opened.ok_or_else(Problem::not_found)?;
        let sealing = Sealing { stream, customer: current.id, key };
        let mut brought = Brought::default();
        if !self.external_id.is_absent()
            && let Some(old) = &profile.external_id
        {
            let old = old.as_str().map_err(|_| Problem::internal())?;
            brought.releases.push(store.external_id(current.id, old));
        }
        if let Patch::Value(new) = &self.external_id {
            brought.claims.push(store.external_id(current.id, new.as_str()));
        }
        let merges = [self.external_id.is_absent(), self.tags.is_absent(), self.metadata.is_absent()];
        let command = UpdateCustomer {
            customer: current.id,
            name: self.name.as_ref().map(|name| sealing.seal(Field::Name, name.as_str())),
            external_id: each(&self.external_id, |id| {
                Ok(Some(sealing.seal(Field::ExternalId, id.as_str())))
            })?,
            tags: each(&self.tags, |patch| {
                let merged = tags_of(&profile)?.merged(patch.clone());
                let text = merged.text().map_err(|error| invalid("/tags", error))?;
                Ok(text.map(|text| sealing.seal(Field::Tags, &text)))
            })?,
            metadata: each(&self.metadata, |patch| {
                let before = profile.metadata.as_ref().map(Plain::as_str).transpose();
                let before = before.map_err(|_| Problem::internal())?;
                let text = merged_metadata(before, patch).map_err(|error| invalid("/metadata", error))?;
                Ok(Some(sealing.seal(Field::Metadata, &text)))
            })?,
            made_from: merges.contains(&false).then_some(current.version),
        };
        Ok((command, brought))
    }
}

/// What seals for a customer.
struct Sealing {
    stream: StreamId,
    customer: CustomerId,
    key: Arc<DataKey>,
}

impl Sealing {
    fn seal(&self, field: Field, text: &str) -> Sealed {
        field.seal(self.stream, self.customer, &self.key, text)
    }
}

/// A field of a patch, read; what comes to nothing is cleared.
fn each<T>(
    field: &Patch<T>,
    read: impl FnOnce(&T) -> Result<Option<Sealed>, Problem>,
) -> Result<Option<Option<Sealed>>, Problem> {
    Ok(match field {
        Patch::Absent => None,
        Patch::Null => Some(None),
        Patch::Value(value) => Some(read(value)?),
    })
}

fn tags_of(profile: &Profile) -> Result<Tags, Problem> {
    let read = |plain: &Plain| serde_json::from_slice(plain.as_bytes()).map_err(|_| Problem::internal());
    profile.tags.as_ref().map_or_else(|| Ok(Tags::default()), read)
}
