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
use crate::http::as_of::AsOfParameters;
use crate::http::call::{Call, read_history};
use crate::http::page::{After, Page, PageParameters};
use crate::http::path::PathText;
use crate::http::problem::{Problem, ProblemBody};
use crate::http::query::{NoParameters, RawQuery};
use crate::ids::CustomerId;
use crate::settings::customer_data::command::{CustomerDataCommand, DeleteDocument, SetDocument};
use crate::settings::customer_data::event::CustomerDataEvent;
use crate::settings::customer_data::keys::Keys;
use crate::settings::customer_data::projection::{CustomerData, Document};
use crate::settings::customer_data::value::{DOCUMENT_MAX_BYTES, DataKeyName};
use crate::settings::customers::http::{AtCustomer, named};
use crate::settings::customers::projection::Customers;

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
    // All keys are opened, of which there are a thousand at most: a page is of those that follow in their order.
    let keys = keys_of(&call, customer)?.ok_or_else(Problem::not_found)?;
    let by_key = keys.open_all(&documents)?;
    let after = request.after.as_ref().map(|after| after.last.as_str());
    let rest = by_key.iter().filter(|(key, _)| after.is_none_or(|after| key.as_str() > after));
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
    let keys = if reaches { keys_of(&call, customer)? } else { None };
    // Of somebody who is not there nothing is, whatever it is called.
    let id = keys.as_ref().map(|keys| keys.id_of(&call.settings().customer_data, key)).unwrap_or_default();
    let focus = Focus::Named(customer.to_string(), id.clone());
    let is_there = |documents: &CustomerData| reaches && documents.get(customer, &id).is_some();
    let (asked, documents) = call.seen_at::<CustomerData>(&query, focus, is_there).await?;
    let NoParameters {} = asked.query.parse()?;
    let document = documents.get(customer, &id).ok_or_else(Problem::not_found)?;
    let whole = Whole { customer, keys: keys.ok_or_else(Problem::not_found)?, id: id.clone() };
    let value = whole.value(&call, document.recorded).await?;
    let body = WholeDocumentBody { of: DocumentBody::new(key, document), value };
    Ok(call.seen_resource(&documents, document.version, &body))
}

/// A document that is to be shown with what it says.
struct Whole {
    customer: CustomerId,
    keys: Keys,
    id: String,
}

impl Whole {
    /// What it says, as the event of a version does; of a customer who was erased meanwhile nothing.
    async fn value(self, call: &Call, recorded: Version) -> Result<Box<RawValue>, Problem> {
        let (store, handle) = (call.app.store.clone(), Arc::clone(&call.organization.handle));
        let read = move || {
            let event = store.recorded(&handle, &handle.view(), &[recorded])?.pop();
            let sealed = event.and_then(|event| match event.event {
                Event::CustomerData(CustomerDataEvent::DocumentSet(set)) => set.content.into_value(),
                _ => None,
            });
            let open = || sealed.as_ref().map(|sealed| self.keys.open_value(&self.id, sealed)).transpose();
            Ok(handle.open_of_customer(self.customer, open))
        };
        let opened = read_history(read).await??.flatten().ok_or_else(Problem::not_found)?;
        let text = opened.as_str().map_err(|_| Problem::internal())?.to_owned();
        // Only canonical JSON text is ever sealed as a document.
        RawValue::from_string(text).map_err(|_| Problem::internal())
    }
}

/// Writes a document. Its key and what it says are forgotten with the customer.
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
    let keys = keys_of(&call, customer)?.ok_or_else(Problem::not_found)?;
    let (document, sealed_key) = keys.name_of(&call.settings().customer_data, &key);
    let value = keys.seal_value(&document, text);
    let set = SetDocument { customer, document: document.clone(), key: sealed_key, value };
    let done = call.submit(CustomerDataCommand::Set(set), StatusCode::OK).await?;
    let document = done.view.organization().customer_data.get(customer, &document);
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
    AtDocument { call, customer, document }: AtDocument,
    _: NoParameters,
) -> Result<Response, Problem> {
    let command = CustomerDataCommand::Delete(DeleteDocument { customer, document });
    let done = call.submit(command, StatusCode::NO_CONTENT).await?;
    Ok(call.no_content(&done))
}

/// A call to a document that is there.
pub struct AtDocument {
    call: Call,
    customer: CustomerId,
    /// What it is found by.
    document: String,
}

impl FromRequestParts<App> for AtDocument {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let AtCustomer { call, customer } = AtCustomer::from_request_parts(parts, app).await?;
        let path = PathText::from_request_parts(parts, app).await?;
        let keys = keys_of(&call, customer)?.ok_or_else(Problem::not_found)?;
        let documents = &call.settings().customer_data;
        let document = keys.id_of(documents, path.second());
        if documents.get(customer, &document).is_none() {
            return Err(Problem::not_found());
        }
        Ok(Self { call, customer, document })
    }
}

/// The keys of a customer's documents; of whom nobody knows, or who is erased, there are none.
fn keys_of(call: &Call, customer: CustomerId) -> Result<Option<Keys>, Problem> {
    Ok(Keys::of(&call.app.store, &call.organization.handle, customer)?)
}

/// Whether a customer is there for the caller, also as it was: of one who was erased since nothing is told.
fn has(call: &Call, customers: &Customers, customer: CustomerId) -> bool {
    let newest = call.organization.handle.view();
    let is_erased = newest.organization().customers.is_erased(customer);
    call.organization.grants.reaches(customer) && customers.get(customer).is_some() && !is_erased
}
