//! `GET /v1/customers`: customers by id, and by what is known of them.

use std::sync::Arc;

use axum::response::Response;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::history::description::Focus;
use crate::http::as_of::{AsOfParameters, Asked, Seen};
use crate::http::call::Call;
use crate::http::page::{After, Filled, Page, PageParameters, PageRequest, json_bytes};
use crate::http::problem::{Problem, ProblemBody};
use crate::http::query::RawQuery;
use crate::ids::CustomerId;
use crate::settings::customers::http::{CustomerBody, know_external_ids};
use crate::settings::customers::projection::{Customer, Customers, Status};
use crate::settings::customers::value::{EXTERNAL_ID_MAX_CHARS, TAGS_MAX, TagKey};
use crate::store::customers::index::Wanted;

/// What the parameters that ask for tags begin with.
const TAG: &str = "tag.";

/// Which customers a list has.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct CustomerFilters {
    /// Only those with this in their name or external id, whatever its letter case. Not together with `as_of`.
    #[param(min_length = 1, max_length = 255)]
    q: Option<String>,
    /// Only the one that others know by this id. Not together with `as_of`.
    #[param(min_length = 1, max_length = 255)]
    external_id: Option<String>,
    /// Only these.
    #[param(inline)]
    status: Option<Status>,
}

/// Customers, by id. Beside its parameters it takes `tag.<key>=<value>`, as often as there are keys: only customers with
/// all of these tags; not together with `as_of`.
#[utoipa::path(get, path = "/v1/customers", tag = "customers",
    params(CustomerFilters, PageParameters, AsOfParameters), responses(
    (status = 200, body = Page<CustomerBody>), (status = "4XX", body = ProblemBody)))]
pub async fn list(call: Call, query: RawQuery) -> Result<Response, Problem> {
    let (scope, cursors) = (call.organization.id.to_string(), call.app.cursors.clone());
    let (request, asked) = call.asked_page(&cursors, &scope, "customers", &query).await?;
    let asking = Asking::read(&asked)?;
    if asking.external_id.is_some() {
        know_external_ids(&call).await?;
    }
    let customers = call.seen::<Customers>(&asked, Focus::All).await?;
    let page = request.clone();
    let call = Arc::new(call);
    let asker = Arc::clone(&call);
    // Whoever searches first opens everybody.
    let found = tokio::task::spawn_blocking(move || {
        let filled = asking.among(&asker, &customers, &page)?;
        Ok::<_, Problem>((customers, filled))
    });
    let (customers, filled) = found.await??;
    let page = cursors.filled(&scope, "customers", &request, filled, |last| After {
        last: last.id.to_string(),
        version: asked.at,
    });
    Ok(customers.mark(call.list(&call.organization.view, &page)))
}

/// Who is asked for.
struct Asking {
    status: Option<Status>,
    external_id: Option<String>,
    wanted: Wanted,
}

impl Asking {
    fn read(asked: &Asked) -> Result<Self, Problem> {
        let (tags, rest) = asked.query.split_prefixed(TAG)?;
        let CustomerFilters { q, external_id, status } = rest.parse()?;
        for (parameter, text) in [("q", &q), ("external_id", &external_id)] {
            let is_one = |text: &String| (1..=EXTERNAL_ID_MAX_CHARS).contains(&text.chars().count());
            if !text.as_ref().is_none_or(is_one) {
                return Err(Problem::invalid_parameter(parameter, "invalid", "expected 1 to 255 characters"));
            }
            if text.is_some() {
                live(asked, parameter)?;
            }
        }
        if !tags.is_empty() {
            live(asked, "tag")?;
        }
        if tags.len() > TAGS_MAX || tags.iter().any(|(key, _)| TagKey::try_from(key.as_str()).is_err()) {
            let message = "expected the key of a tag behind the dot, at most 50 of them";
            return Err(Problem::invalid_parameter("tag", "invalid", message));
        }
        Ok(Self { status, external_id, wanted: Wanted::new(q.as_deref(), &tags) })
    }

    /// A page of those among all.
    fn among(
        &self,
        call: &Call,
        customers: &Seen<Customers>,
        request: &PageRequest,
    ) -> Result<Filled<CustomerBody>, Problem> {
        let after = request.after.as_ref().and_then(|after| after.last.parse::<CustomerId>().ok());
        let (store, handle) = (&call.app.store, &call.organization.handle);
        let mut page = Filling { asking: self, call, filled: Filled::new(request.limit) };
        // Of one, or of the few that a key is limited to, each is opened; of all only the index finds some.
        let few = match (&self.external_id, &call.organization.grants.customers) {
            (Some(external_id), _) => Some(Vec::from_iter(store.by_external_id(&handle.view(), external_id))),
            (None, theirs) => theirs.clone(),
        };
        match few {
            Some(few) => {
                for id in few.into_iter().filter(|id| after.is_none_or(|after| *id > after)) {
                    let Some(customer) = customers.get(id) else { continue };
                    if store.is_wanted(handle, customer, &self.wanted)? && !page.take(customer)? {
                        break;
                    }
                }
            }
            None if self.wanted.is_nothing() => {
                for customer in customers.after(after) {
                    if !page.take(customer)? {
                        break;
                    }
                }
            }
            None => store.search_customers(handle, &self.wanted, after, |customer| page.take(customer))?,
        }
        Ok(page.filled)
    }
}

/// A page as it is filled.
struct Filling<'a> {
    asking: &'a Asking,
    call: &'a Call,
    filled: Filled<CustomerBody>,
}

impl Filling<'_> {
    /// Takes a customer in, if it is meant; whether there is room for more.
    fn take(&mut self, customer: &Customer) -> Result<bool, Problem> {
        let is_meant = self.asking.status.is_none_or(|status| customer.status == status)
            && self.call.organization.grants.reaches(customer.id);
        if !is_meant {
            return Ok(true);
        }
        let body = CustomerBody::of(self.call, customer)?;
        Ok(self.filled.push(json_bytes(&body), body))
    }
}

/// What is sealed is searched as it is, not as it was.
fn live(asked: &Asked, parameter: &'static str) -> Result<(), Problem> {
    if asked.at.is_none() {
        return Ok(());
    }
    let message = "customers are searched as they are, not as they were";
    Err(Problem::invalid_parameter(parameter, "not_with_as_of", message))
}
