//! `GET /v1/secrets`: secrets by id, all that the caller may see, or those in an environment, of a customer or by name.

use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use crate::history::description::Focus;
use crate::http::app::App;
use crate::http::as_of::{AsOfParameters, Asked};
use crate::http::call::Call;
use crate::http::environment;
use crate::http::page::{After, Filled, Page, PageParameters, json_bytes};
use crate::http::problem::{Problem, ProblemBody};
use crate::http::query::RawQuery;
use crate::ids::{CustomerId, EnvironmentId, SecretId};
use crate::settings::customers::projection::Customers;
use crate::settings::environments::http::OWN_ACTIONS;
use crate::settings::environments::projection::Environments;
use crate::settings::environments::value::CONFIG_KEY_MAX_CHARS;
use crate::settings::roles::access::Grants;
use crate::settings::secrets::http::{SecretBody, sees};
use crate::settings::secrets::projection::{Secret, Secrets};

/// Which secrets a list has.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct SecretFilters {
    /// Only those of this environment, by id or slug, those of customers in it included.
    environment: Option<String>,
    /// Only those of this customer.
    #[param(value_type = Option<String>)]
    customer: Option<CustomerId>,
    /// Only those with this in their names, whatever its letter case.
    #[param(min_length = 1, max_length = 128)]
    q: Option<String>,
    /// Only these; those that are not deleted where absent.
    #[serde(default)]
    #[param(inline)]
    status: Status,
}

/// Whether a secret is deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = SecretStatus)]
pub enum Status {
    /// It is not.
    #[default]
    Active,
    /// It is, and can be brought back.
    Deleted,
}

/// All secrets that the caller may see, by id.
#[utoipa::path(get, path = "/v1/secrets", tag = "secrets",
    params(SecretFilters, PageParameters, AsOfParameters), responses(
    (status = 200, body = Page<SecretBody>), (status = "4XX", body = ProblemBody)))]
pub async fn list(State(app): State<App>, call: Call, query: RawQuery) -> Result<Response, Problem> {
    let scope = call.organization.id.to_string();
    let (request, asked) = call.asked_page(&app.cursors, &scope, "secrets", &query).await?;
    let filters: SecretFilters = asked.query.parse()?;
    let within = within(&call, &asked, &filters).await?;
    if filters.q.as_ref().is_some_and(|q| !(1..=CONFIG_KEY_MAX_CHARS).contains(&q.chars().count())) {
        return Err(Problem::invalid_parameter("q", "invalid", "expected a part of a name"));
    }
    if let Some(customer) = filters.customer {
        let focus = Focus::Resource(customer.to_string());
        let is_there = call.seen::<Customers>(&asked, focus).await?.get(customer).is_some();
        if !is_there || !call.organization.grants.reaches(customer) {
            let message = "there is no such customer";
            return Err(Problem::invalid_parameter("customer", "unknown", message));
        }
    }
    let secrets = call.seen::<Secrets>(&asked, Focus::All).await?;
    let after = request.after.as_ref().and_then(|after| after.last.parse::<SecretId>().ok());
    let grants = &call.organization.grants;
    let q = filters.q.map(|q| q.to_ascii_uppercase());
    let found = among(&secrets, grants, (within, filters.customer), after)
        .filter(|secret| secret.is_deleted() == (filters.status == Status::Deleted))
        .filter(|secret| within.is_none() || secret.scope.environment() == within)
        .filter(|secret| q.as_ref().is_none_or(|q| secret.name.contains(q)))
        .filter(|secret| sees(grants, secret.scope));
    let mut filled = Filled::new(request.limit);
    for secret in found {
        let body = SecretBody::of(&call, secret)?;
        if !filled.push(json_bytes(&body), body) {
            break;
        }
    }
    let page = app.cursors.filled(&scope, "secrets", &request, filled, |last| After {
        last: last.id.to_string(),
        version: asked.at,
    });
    Ok(secrets.mark(call.list(&call.organization.view, &page)))
}

/// The fewest secrets behind an id, by id, that have all of a place in them: a customer's, an environment's, or, of a key
/// that is limited to some customers, theirs and those that are nobody's.
fn among<'a>(
    secrets: &'a Secrets,
    grants: &Grants,
    (environment, customer): (Option<EnvironmentId>, Option<CustomerId>),
    after: Option<SecretId>,
) -> Box<dyn Iterator<Item = &'a Secret> + Send + 'a> {
    match (customer, &grants.customers, environment) {
        (Some(customer), ..) => Box::new(secrets.of_customer_after(Some(customer), after)),
        (None, Some(theirs), _) => {
            let whose = std::iter::once(None).chain(theirs.iter().copied().map(Some));
            let mut all: Vec<_> =
                whose.flat_map(|customer| secrets.of_customer_after(customer, after)).collect();
            all.sort_unstable_by_key(|secret| secret.id);
            Box::new(all.into_iter())
        }
        (None, None, Some(environment)) => Box::new(secrets.in_environment_after(environment, after)),
        (None, None, None) => Box::new(secrets.after(after)),
    }
}

/// The environment that a list is limited to.
async fn within(
    call: &Call,
    asked: &Asked,
    filters: &SecretFilters,
) -> Result<Option<EnvironmentId>, Problem> {
    let Some(named) = &filters.environment else { return Ok(None) };
    let environments = call.seen::<Environments>(asked, Focus::Actions(OWN_ACTIONS)).await?;
    match environment::visible(call, &environments, named) {
        Some(environment) => Ok(Some(environment)),
        None => Err(Problem::invalid_parameter("environment", "unknown", "there is no such environment")),
    }
}
