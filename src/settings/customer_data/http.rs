//! `/v1/customers/{cus}/data`: customers' documents over HTTP.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::canonical;
use crate::clock::Timestamp;
use crate::event::{Event, Version};
use crate::history::description::Focus;
use crate::http::app::App;
use crate::http::as_of::{AsOfParameters, Seen};
use crate::http::call::{Call, read_history};
use crate::http::page::{After, Page, PageParameters};
use crate::http::path::PathText;
use crate::http::problem::{Problem, ProblemBody};
use crate::http::query::{NoParameters, RawQuery};
use crate::ids::CustomerId;
use crate::seal::Plain;
use crate::settings::customer_data::command::{CustomerDataCommand, DeleteDocument, SetDocument};
use crate::settings::customer_data::event::CustomerDataEvent;
use crate::settings::customer_data::projection::{CustomerData, Document};
use crate::settings::customer_data::value::{DOCUMENT_MAX_BYTES, DataKeyName};
use crate::settings::customer_data::{field, path_of};
use crate::settings::customers::http::{AtCustomer, named};
use crate::settings::customers::projection::{Customer, Customers};

/// A document, without what it says.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Document)]
pub struct DocumentBody {
    /// Its key.
    pub key: String,
    /// When it was first written.
    pub created_at: Timestamp,
    /// When it was last written.
    pub updated_at: Timestamp,
    /// The stream version of its last change.
    pub version: Version,
}

/// A document.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DocumentValue)]
pub struct WholeDocumentBody {
    /// All of it but what it says.
    #[serde(flatten)]
    pub of: DocumentBody,
    /// What it says: any JSON but null, in canonical form (RFC 8785).
    #[schema(value_type = serde_json::Value)]
    pub value: Box<RawValue>,
}

impl DocumentBody {
    fn new(key: &str, document: &Document) -> Self {
        let Document { created_at, updated_at, version, .. } = *document;
        Self { key: key.to_owned(), created_at, updated_at, version }
    }
}

/// A document to be written.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewDocument<'a> {
    /// Any JSON but null, at most 256 KiB.
    #[serde(borrow)]
    #[schema(value_type = serde_json::Value)]
    value: &'a RawValue,
}

/// The documents of a customer by key, without what they say.
#[utoipa::path(get, path = "/v1/customers/{cus}/data", tag = "customers",
    params(("cus" = CustomerId, Path), PageParameters, AsOfParameters), responses(
    (status = 200, body = Page<DocumentBody>), (status = "4XX", body = ProblemBody)))]
pub async fn list(path: PathText, call: Call, query: RawQuery) -> Result<Response, Problem> {
    let customer = named(&path)?;
    let (scope, list) = (call.organization.id.to_string(), format!("data {customer}"));
    let focus = || Focus::Resource(customer.to_string());
    let asked = call.asked_page(&call.app.cursors, &scope, &list, &query).await;
    let (request, asked) = match asked {
        Ok(asked) => asked,
        Err(problem) => {
            let is_there = |customers: &Customers| has(&call, customers, customer);
            return Err(call.behind_path(&query, focus(), is_there, problem).await);
        }
    };
    let customers = call.seen::<Customers>(&asked, focus()).await?;
    if !has(&call, &customers, customer) {
        return Err(Problem::not_found());
    }
    let NoParameters {} = asked.query.parse()?;
    let documents = call.seen::<CustomerData>(&asked, focus()).await?;
    let after = request.after.as_ref().map(|after| after.last.clone());
    let rest = documents.of(customer).filter(|(key, _)| after.as_deref().is_none_or(|after| *key > after));
    let found = rest.map(|(key, document)| DocumentBody::new(key, document));
    let page = call
        .app
        .cursors
        .page(&scope, &list, &request, found, |last| After { last: last.key.clone(), version: asked.at });
    Ok(documents.mark(call.list(&call.organization.view, &page)))
}

/// A document.
#[utoipa::path(get, path = "/v1/customers/{cus}/data/{key}", tag = "customers",
    params(("cus" = CustomerId, Path), ("key" = DataKeyName, Path), AsOfParameters), responses(
    (status = 200, body = WholeDocumentBody), (status = "4XX", body = ProblemBody)))]
pub async fn show(path: PathText, call: Call, query: RawQuery) -> Result<Response, Problem> {
    let (customer, key) = (named(&path)?, path.second());
    let reaches = call.organization.grants.reaches(customer);
    let focus = Focus::Named(customer.to_string(), key.to_owned());
    let is_there = |documents: &CustomerData| reaches && documents.get(customer, key).is_some();
    let (asked, documents) = call.seen_at::<CustomerData>(&query, focus, is_there).await?;
    let NoParameters {} = asked.query.parse()?;
    let customers = call.seen::<Customers>(&asked, Focus::Resource(customer.to_string())).await?;
    let whose = customers.get(customer).ok_or_else(Problem::not_found)?;
    let document = *documents.get(customer, key).ok_or_else(Problem::not_found)?;
    answer(&call, &documents, whose, key, document).await
}

/// The answer with a document as it was seen; of a customer who was erased meanwhile there is none.
async fn answer(
    call: &Call,
    documents: &Seen<CustomerData>,
    whose: &Customer,
    key: &str,
    document: Document,
) -> Result<Response, Problem> {
    let body = whole(call, whose, key, document).await?;
    Ok(call.seen_resource(documents, document.version, &body))
}

/// A document with what it says, which the event says that wrote it.
async fn whole(
    call: &Call,
    whose: &Customer,
    key: &str,
    document: Document,
) -> Result<WholeDocumentBody, Problem> {
    let (store, handle) = (call.app.store.clone(), Arc::clone(&call.organization.handle));
    let (whose, path, stream) = (whose.clone(), path_of(key), handle.stream());
    let read = move || {
        let event = store.recorded(&handle, &handle.view(), &[document.recorded])?.pop();
        let sealed = event.and_then(|event| match event.event {
            Event::CustomerData(CustomerDataEvent::DocumentSet(set)) => set.value,
            _ => None,
        });
        let open = || {
            let data_key = store.ring().data_key(stream, whose.key, whose.commitment)?;
            let place = whose.id.to_string();
            sealed
                .as_ref()
                .map(|sealed| Ok(data_key.open(&field(stream, &place, &path), sealed)?))
                .transpose()
        };
        Ok(handle.open_of_customer(whose.id, open))
    };
    let opened = read_history(read).await??.flatten().ok_or_else(Problem::not_found)?;
    let text = opened.as_str().map_err(|_| Problem::internal())?.to_owned();
    // Only canonical JSON text is ever sealed as a document.
    let value = RawValue::from_string(text).map_err(|_| Problem::internal())?;
    Ok(WholeDocumentBody { of: DocumentBody::new(key, &document), value })
}

/// Writes a document. What it says is forgotten with the customer; its key is a name for programs, which the log keeps, and
/// no place for what is known of somebody.
#[utoipa::path(put, path = "/v1/customers/{cus}/data/{key}", tag = "customers", request_body = NewDocument<'static>,
    params(("cus" = CustomerId, Path), ("key" = DataKeyName, Path)), responses(
    (status = 200, body = DocumentBody), (status = 201, body = DocumentBody), (status = "4XX", body = ProblemBody)))]
pub async fn put(
    AtCustomer { call, customer }: AtCustomer,
    path: PathText,
    _: NoParameters,
) -> Result<Response, Problem> {
    let key = DataKeyName::try_from(path.second())
        .map_err(|error| Problem::invalid_parameter("key", "invalid", error.to_string()))?;
    let new: NewDocument<'_> = call.body().parse()?;
    let text = canonical::value(new.value.get(), DOCUMENT_MAX_BYTES)
        .map_err(|error| Problem::invalid_field("/value", error.code(), error.to_string()))?;
    let whose = call.settings().customers.get(customer).ok_or_else(Problem::not_found)?;
    let (store, handle) = (&call.app.store, &call.organization.handle);
    let data_key = handle
        .open_of_customer(customer, || store.ring().data_key(handle.stream(), whose.key, whose.commitment))?;
    let data_key = data_key.ok_or_else(Problem::not_found)?;
    let (place, at) = (customer.to_string(), path_of(key.as_str()));
    let value = data_key.seal(&field(handle.stream(), &place, &at), &Plain::from(text));
    let command = CustomerDataCommand::Set(SetDocument { customer, key, value });
    let done = call.submit(command, StatusCode::OK).await?;
    let document = done.view.organization().customer_data.get(customer, path.second());
    let document = document.ok_or_else(Problem::not_found)?;
    // Of two first writes at once, one creates: what the writer decided says which.
    let created = done.events > 0 && document.created_version == done.version;
    let status = if created { StatusCode::CREATED } else { StatusCode::OK };
    let location = created.then(|| format!("/v1/customers/{customer}/data/{}", path.second()));
    let body = DocumentBody::new(path.second(), document);
    Ok(call.done(&done, status, document.version, location, &body))
}

/// Deletes a document.
#[utoipa::path(delete, path = "/v1/customers/{cus}/data/{key}", tag = "customers",
    params(("cus" = CustomerId, Path), ("key" = DataKeyName, Path)), responses(
    (status = 204), (status = "4XX", body = ProblemBody)))]
pub async fn delete(
    AtDocument { call, customer, key }: AtDocument,
    _: NoParameters,
) -> Result<Response, Problem> {
    let command = CustomerDataCommand::Delete(DeleteDocument { customer, key });
    let done = call.submit(command, StatusCode::NO_CONTENT).await?;
    Ok(call.no_content(&done))
}

/// A call to a document that is there.
pub struct AtDocument {
    call: Call,
    customer: CustomerId,
    key: DataKeyName,
}

impl FromRequestParts<App> for AtDocument {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let AtCustomer { call, customer } = AtCustomer::from_request_parts(parts, app).await?;
        let path = PathText::from_request_parts(parts, app).await?;
        let key = DataKeyName::try_from(path.second()).map_err(|_| Problem::not_found())?;
        if call.settings().customer_data.get(customer, key.as_str()).is_none() {
            return Err(Problem::not_found());
        }
        Ok(Self { call, customer, key })
    }
}

/// Whether a customer is there for the caller, also as it was: of one who was erased since nothing is told.
fn has(call: &Call, customers: &Customers, customer: CustomerId) -> bool {
    let newest = call.organization.handle.view();
    let is_erased = newest.organization().customers.is_erased(customer);
    call.organization.grants.reaches(customer) && customers.get(customer).is_some() && !is_erased
}
