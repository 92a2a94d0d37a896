//! `/v1/customers`: customers over HTTP, one at a time. Lists of them are in `listing.rs` beside this, changes of what is
//! known of one in `patching.rs`.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::clock::Timestamp;
use crate::event::Version;
use crate::history::description::Focus;
use crate::http::app::App;
use crate::http::as_of::AsOfParameters;
use crate::http::call::Call;
use crate::http::input::Nothing;
use crate::http::patch::not_null;
use crate::http::path::PathText;
use crate::http::problem::{Problem, ProblemBody};
use crate::http::query::{NoParameters, RawQuery};
use crate::ids::{CustomerId, Fresh};
use crate::oauth::revocation::Held;
use crate::seal::Plain;
use crate::settings::customers::ERASED;
use crate::settings::customers::command::CustomersCommand;
use crate::settings::customers::event::CustomerCreated;
use crate::settings::customers::profile::{Field, Opener, Profile};
use crate::settings::customers::projection::{Customer, Customers, Former, Status};
use crate::settings::customers::value::{ExternalId, InvalidObject, Tags, metadata};
use crate::settings::roles::permission::Permission;
use crate::store::Done;
use crate::store::brought::Brought;
use crate::text::Name;

/// A customer.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Customer)]
pub struct CustomerBody {
    /// The customer.
    pub id: CustomerId,
    /// Its name; `erased customer` once it was erased.
    pub name: String,
    /// The id that others know it by.
    pub external_id: Option<String>,
    /// Its tags by key.
    pub tags: BTreeMap<String, String>,
    /// What else is noted of it: any JSON object.
    #[schema(value_type = Object)]
    pub metadata: Box<RawValue>,
    /// What it is to the organization.
    pub status: ShownStatus,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// The stream version of its last change.
    pub version: Version,
}

/// What a customer is to the organization, or was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ShownStatus {
    /// Programs read for it.
    Active,
    /// Programs do not.
    Suspended,
    /// It is forgotten.
    Erased,
}

impl From<Status> for ShownStatus {
    fn from(status: Status) -> Self {
        match status {
            Status::Active => Self::Active,
            Status::Suspended => Self::Suspended,
        }
    }
}

impl CustomerBody {
    /// A customer as it is known; one that was erased since as that.
    pub(super) fn of(call: &Call, customer: &Customer) -> Result<Self, Problem> {
        let handle = &call.organization.handle;
        let open = || Opener::of(handle.stream(), customer, call.app.store.ring())?.profile();
        let opened = handle.open_of_customer(customer.id, open)?;
        let erased = opened.is_none();
        let body = match opened {
            Some(profile) => Self::told(customer, &profile)?,
            None => Self::nameless(customer.id, customer.created_at)?,
        };
        let status = if erased { ShownStatus::Erased } else { customer.status.into() };
        Ok(Self { status, updated_at: customer.updated_at, version: customer.version, ..body })
    }

    fn told(customer: &Customer, profile: &Profile) -> Result<Self, Problem> {
        let text = |plain: &Plain| plain.as_str().map(ToOwned::to_owned).map_err(|_| Problem::internal());
        // Only what was read as such objects is ever sealed.
        let tags = profile.tags.as_ref().map(|tags| serde_json::from_slice(tags.as_bytes())).transpose();
        let metadata = profile.metadata.as_ref().map(text).transpose()?;
        Ok(Self {
            name: text(&profile.name)?,
            external_id: profile.external_id.as_ref().map(text).transpose()?,
            tags: tags.map_err(|_| Problem::internal())?.unwrap_or_default(),
            metadata: object(metadata)?,
            ..Self::nameless(customer.id, customer.created_at)?
        })
    }

    /// Of whom nothing is known.
    fn nameless(id: CustomerId, created_at: Timestamp) -> Result<Self, Problem> {
        Ok(Self {
            id,
            name: ERASED.to_owned(),
            external_id: None,
            tags: BTreeMap::new(),
            metadata: object(None)?,
            status: ShownStatus::Erased,
            created_at,
            updated_at: created_at,
            version: 0,
        })
    }

    fn erased(id: CustomerId, former: &Former) -> Result<Self, Problem> {
        let (updated_at, version) = (former.updated_at, former.version);
        Ok(Self { updated_at, version, ..Self::nameless(id, former.created_at)? })
    }
}

fn object(text: Option<String>) -> Result<Box<RawValue>, Problem> {
    RawValue::from_string(text.unwrap_or_else(|| "{}".to_owned())).map_err(|_| Problem::internal())
}

/// A customer to be made.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewCustomer<'a> {
    /// Its name.
    name: Name,
    /// The id that others know it by; no two customers have one.
    #[serde(default, deserialize_with = "not_null")]
    #[schema(nullable = false)]
    external_id: Option<ExternalId>,
    /// Its tags by key: at most 50, and 2,044 bytes of JSON.
    #[serde(default, deserialize_with = "not_null")]
    #[schema(nullable = false)]
    tags: Option<Tags>,
    /// What else is noted of it: any JSON object of at most 4,092 bytes.
    #[serde(default, borrow, deserialize_with = "not_null")]
    #[schema(value_type = Option<Object>, nullable = false)]
    metadata: Option<&'a RawValue>,
}

/// A call about a customer that is there.
pub struct AtCustomer {
    /// The call.
    pub call: Call,
    /// The customer.
    pub customer: CustomerId,
}

/// A call about a customer whom the caller may see: an answer tells all that is known of it.
pub struct AtSeenCustomer {
    /// The call.
    pub call: Call,
    /// The customer.
    pub customer: CustomerId,
}

impl FromRequestParts<App> for AtSeenCustomer {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let AtCustomer { call, customer } = AtCustomer::from_request_parts(parts, app).await?;
        if call.organization.grants.allows(Permission::CustomerRead) {
            Ok(Self { call, customer })
        } else {
            Err(Problem::not_found())
        }
    }
}

impl FromRequestParts<App> for AtCustomer {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let path = PathText::from_request_parts(parts, app).await?;
        let call = Call::from_request_parts(parts, app).await?;
        let customer = named(&path)?;
        let is_there = call.settings().customers.get(customer).is_some();
        if !is_there || !call.organization.grants.reaches(customer) {
            return Err(Problem::not_found());
        }
        Ok(Self { call, customer })
    }
}

/// Makes a customer.
#[utoipa::path(post, path = "/v1/customers", tag = "customers", request_body = NewCustomer<'static>, responses(
    (status = 201, body = CustomerBody), (status = "4XX", body = ProblemBody)))]
pub async fn create(call: Call, _: NoParameters) -> Result<Response, Problem> {
    let new: NewCustomer<'_> = call.body().parse()?;
    let tags = new.tags.unwrap_or_default().text().map_err(|error| invalid("/tags", error))?;
    let noted = new.metadata.map(metadata).transpose().map_err(|error| invalid("/metadata", error))?;
    let (customer, stream) = (Fresh.id(), call.organization.handle.stream());
    let key = call.app.store.ring().mint(stream)?;
    let seal = |field: Field, text: &str| field.seal(stream, customer, key.key(), text);
    let created = CustomerCreated {
        customer,
        key: key.id(),
        name: seal(Field::Name, new.name.as_str()),
        external_id: new.external_id.as_ref().map(|id| seal(Field::ExternalId, id.as_str())),
        tags: tags.map(|tags| seal(Field::Tags, &tags)),
        metadata: noted.map(|noted| seal(Field::Metadata, &noted)),
        suspended: false,
    };
    let mut brought = Brought::from(vec![key]);
    if let Some(id) = &new.external_id {
        know_external_ids(&call).await?;
        brought.claims.push(call.app.store.external_id(customer, id.as_str()));
    }
    let command = CustomersCommand::Create(created);
    let done = call.submit_with(command, brought, StatusCode::CREATED).await.map_err(taken)?;
    // A replay shows the customer that the first request made, which has another id.
    let customers = &done.view.organization().customers;
    let created = customers
        .get(customer)
        .or_else(|| customers.iter().find(|customer| customer.version == done.version))
        .ok_or_else(Problem::not_found)?;
    let location = format!("/v1/customers/{}", created.id);
    let body = CustomerBody::of(&call, created)?;
    Ok(call.done(&done, StatusCode::CREATED, created.version, Some(location), &body))
}

/// A customer.
#[utoipa::path(get, path = "/v1/customers/{cus}", tag = "customers",
    params(("cus" = CustomerId, Path), AsOfParameters), responses(
    (status = 200, body = CustomerBody), (status = "4XX", body = ProblemBody)))]
pub async fn show(path: PathText, call: Call, query: RawQuery) -> Result<Response, Problem> {
    let id = named(&path)?;
    let reaches = call.organization.grants.reaches(id);
    let is_there = |customers: &Customers| reaches && customers.get(id).is_some();
    let (asked, customers) =
        call.seen_at::<Customers>(&query, Focus::Resource(id.to_string()), is_there).await?;
    let NoParameters {} = asked.query.parse()?;
    let customer = customers.get(id).ok_or_else(Problem::not_found)?;
    Ok(call.seen_resource(&customers, customer.version, &CustomerBody::of(&call, customer)?))
}

pub(super) fn invalid(pointer: &'static str, error: InvalidObject) -> Problem {
    Problem::invalid_field(pointer, error.code(), error.to_string())
}

/// The only value of a customer that is unique.
pub(super) fn taken(problem: Problem) -> Problem {
    match problem.code() {
        "taken" => Problem::conflict("external_id_taken", "another customer has this external id"),
        _ => problem,
    }
}

/// Deletes a customer with all that it has. A restore brings both back.
#[utoipa::path(delete, path = "/v1/customers/{cus}", tag = "customers", params(("cus" = CustomerId, Path)), responses(
    (status = 204), (status = "4XX", body = ProblemBody)))]
pub async fn delete(
    AtSeenCustomer { call, customer }: AtSeenCustomer,
    _: NoParameters,
) -> Result<Response, Problem> {
    let done = call.submit(CustomersCommand::Delete(customer), StatusCode::NO_CONTENT).await?;
    Ok(call.no_content(&done))
}

/// Keeps programs from reading for a customer until they are let again.
#[utoipa::path(post, path = "/v1/customers/{cus}/suspend", tag = "customers", params(("cus" = CustomerId, Path)),
    responses((status = 200, body = CustomerBody), (status = "4XX", body = ProblemBody)))]
pub async fn suspend(
    AtSeenCustomer { call, customer }: AtSeenCustomer,
    _: NoParameters,
) -> Result<Response, Problem> {
    let Nothing {} = call.body().parse()?;
    let done = call.submit(CustomersCommand::Suspend(customer), StatusCode::OK).await?;
    answer(&call, &done, customer)
}

/// Lets programs read for a suspended customer again.
#[utoipa::path(post, path = "/v1/customers/{cus}/reactivate", tag = "customers", params(("cus" = CustomerId, Path)),
    responses((status = 200, body = CustomerBody), (status = "4XX", body = ProblemBody)))]
pub async fn reactivate(
    AtSeenCustomer { call, customer }: AtSeenCustomer,
    _: NoParameters,
) -> Result<Response, Problem> {
    let Nothing {} = call.body().parse()?;
    let done = call.submit(CustomersCommand::Reactivate(customer), StatusCode::OK).await?;
    answer(&call, &done, customer)
}

/// Forgets, for ever, what is known of a customer that is there, or was deleted, with the values of all of its secrets.
/// What was done for it stays, as an erased customer's.
#[utoipa::path(post, path = "/v1/customers/{cus}/erase", tag = "customers", params(("cus" = CustomerId, Path)),
    responses((status = 200, body = CustomerBody), (status = "4XX", body = ProblemBody)))]
pub async fn erase(path: PathText, call: Call, _: NoParameters) -> Result<Response, Problem> {
    let customer = named(&path)?;
    let customers = &call.settings().customers;
    let was_there = customers.get(customer).is_some() || customers.former(customer).is_some();
    if !was_there || !call.organization.grants.allows(Permission::CustomerRead) {
        return Err(Problem::not_found());
    }
    let Nothing {} = call.body().parse()?;
    let connections = call.settings().connections.of_customer(customer).map(|connection| connection.id);
    let held = Held::of(&call.app, &call.organization.handle, connections.collect()).await;
    let done = call.submit(CustomersCommand::Erase(customer), StatusCode::OK).await?;
    // Nobody waits for providers to take theirs back.
    let (outgoing, clock) = (call.app.outgoing.clone(), call.app.store.clock().clone());
    tokio::spawn(async move { Held::give_back(held, &outgoing, &clock).await });
    let former = done.view.organization().customers.former(customer).ok_or_else(Problem::not_found)?;
    let body = CustomerBody::erased(customer, former)?;
    Ok(call.done(&done, StatusCode::OK, former.version, None, &body))
}

/// The customer after a command.
pub(super) fn answer(call: &Call, done: &Done, id: CustomerId) -> Result<Response, Problem> {
    let customer = done.view.organization().customers.get(id).ok_or_else(Problem::not_found)?;
    let body = CustomerBody::of(call, customer)?;
    Ok(call.done(done, StatusCode::OK, customer.version, None, &body))
}

/// Makes the look-up of external ids, if nobody has yet.
pub(super) async fn know_external_ids(call: &Call) -> Result<(), Problem> {
    let (store, handle) = (call.app.store.clone(), Arc::clone(&call.organization.handle));
    if handle.view().lookup.is_complete() {
        return Ok(());
    }
    Ok(tokio::task::spawn_blocking(move || store.know_external_ids(&handle)).await??)
}

/// The customer that a path's first segment names by its id.
pub(in crate::settings) fn named(path: &PathText) -> Result<CustomerId, Problem> {
    path.first().parse().map_err(|_| Problem::not_found())
}
