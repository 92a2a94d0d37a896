//! The OpenAPI document of the public listener, made from the handlers' own annotations; what many of them have alike is added in
//! `alike`.

use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use utoipa::OpenApi;
use utoipa::openapi::path::Operation;
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::{Content, PathItem, RefOr, Required, Schema};

use crate::audit;
use crate::ctx;
use crate::history;
use crate::http::access::Access;
use crate::http::health;
use crate::http::openapi::alike::Alike;
use crate::http::problem::Problem;
use crate::http::query::NoParameters;
use crate::http::routes;
use crate::oauth;
use crate::platform::{accounts, foundings, memberships, plans};
use crate::promotion;
use crate::proof;
use crate::settings::{
    api_keys, billing, connections, customer_data, customers, environments, executions, general, invitations,
    join_requests, oauth_apps, people, roles, secrets, sessions, teams,
};

mod alike;
pub mod operators;

#[derive(OpenApi)]
#[openapi(
    info(title = "Settled", description = "An event-sourced settings store."),
    modifiers(&Credentials, &OwnRoutes, &Problems, &Alike, &EmptyBodies),
    // Named by parameters alone, which do not bring their schemas with them.
    components(schemas(environments::value::ConfigKey, customer_data::value::DataKeyName)),
    paths(
        health::healthz,
        health::readyz,
        health::version,
        show,
        foundings::http::set_up,
        accounts::signup::sign_up,
        accounts::address::verify_email,
        accounts::recovery::forgot,
        accounts::recovery::reset,
        accounts::http::log_in,
        invitations::accepting::accept,
        invitations::accepting::decline,
        accounts::http::log_out,
        accounts::http::switch,
        foundings::http::found,
        accounts::me::show,
        accounts::me::update,
        accounts::departure::delete,
        accounts::departure::leave,
        accounts::me::change_password,
        accounts::address::request,
        memberships::http::joinable,
        memberships::http::ask,
        sessions::http::list,
        sessions::http::delete,
        general::http::show,
        general::http::update,
        people::http::list,
        people::http::show,
        people::http::delete,
        people::http::suspend,
        people::http::reactivate,
        people::http::erase,
        invitations::http::list,
        invitations::http::create,
        invitations::http::show,
        invitations::http::delete,
        invitations::http::resend,
        general::domain::verify,
        join_requests::http::list,
        join_requests::http::approve,
        join_requests::http::decline,
        teams::http::list,
        teams::http::create,
        teams::http::show,
        teams::http::update,
        teams::http::delete,
        teams::members::list,
        teams::members::add,
        teams::members::remove,
        roles::http::list,
        roles::http::matrix,
        roles::http::create,
        roles::http::show,
        roles::http::update,
        roles::http::delete,
        roles::explain::explain,
        roles::assignments::list,
        roles::assignments::create,
        roles::assignments::show,
        roles::assignments::delete,
        api_keys::http::list,
        api_keys::http::create,
        api_keys::http::show,
        api_keys::http::update,
        api_keys::http::revoke,
        api_keys::http::rotate,
        environments::http::list,
        environments::http::create,
        environments::http::show,
        environments::http::update,
        environments::http::delete,
        environments::config::list,
        environments::config::patch,
        environments::config::show,
        environments::config::put,
        environments::config::delete,
        promotion::http::diff,
        promotion::http::promote,
        secrets::listing::list,
        secrets::http::create,
        secrets::http::show,
        secrets::http::update,
        secrets::http::delete,
        secrets::http::undelete,
        secrets::http::destroy,
        secrets::import::import,
        secrets::values::versions,
        secrets::values::reveal,
        secrets::values::rollback,
        secrets::values::destroy_version,
        oauth::http::list,
        oauth_apps::http::list,
        oauth_apps::http::create,
        oauth_apps::http::show,
        oauth_apps::http::update,
        oauth_apps::http::delete,
        connections::http::list,
        connections::linking::create,
        connections::http::show,
        connections::http::update,
        connections::http::delete,
        connections::linking::reconnect,
        connections::linking::refresh,
        oauth::connect::show,
        oauth::connect::begin,
        oauth::connect::callback,
        customers::listing::list,
        customers::http::create,
        customers::http::show,
        customers::patching::update,
        customers::http::delete,
        customers::http::suspend,
        customers::http::reactivate,
        customers::http::erase,
        billing::customer_http::show,
        billing::customer_http::set,
        customer_data::http::list,
        customer_data::http::show,
        customer_data::http::put,
        customer_data::http::delete,
        executions::listing::list,
        executions::http::start,
        executions::http::show,
        executions::http::finish,
        plans::http::list,
        billing::http::show,
        billing::usage::show,
        billing::http::change_plan,
        billing::http::set_quota,
        billing::http::lift_quota,
        ctx::http::show,
        ctx::http::secret,
        ctx::http::watch,
        audit::http::list,
        audit::http::facets,
        audit::http::export,
        audit::http::stream,
        audit::http::events,
        proof::http::checkpoint,
        proof::http::inclusion,
        proof::http::consistency,
        proof::http::keys,
        proof::http::bundle,
        history::http::history,
        history::http::diff,
        history::restore::http::restore,
    )
)]
struct Document;

/// What callers show.
struct Credentials;

impl utoipa::Modify for Credentials {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("A session's token, from the login or the set-up."))
            .build();
        let key = ApiKeyValue::with_description("x-fastn-api-key", "A program's API key.");
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("session", SecurityScheme::Http(scheme));
        components.add_security_scheme("api_key", SecurityScheme::ApiKey(ApiKey::Header(key)));
        document.security = Some(vec![shows("session"), shows("api_key")]);
    }
}

/// Routes that anybody may call say so, and those that programs may not.
struct OwnRoutes;

impl utoipa::Modify for OwnRoutes {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        for row in routes().iter().map(|route| route.row) {
            let security = match row.access {
                Access::Public => Vec::new(),
                Access::OwnAccount | Access::Founder | Access::Member => vec![shows("session")],
                Access::Program(_) => vec![shows("api_key")],
                Access::Organization(_) | Access::Environment(_) => continue,
            };
            let item = document.paths.paths.get_mut(row.path);
            for operation in item.into_iter().flat_map(|item| operation(item, row.method)) {
                operation.security = Some(security.clone());
            }
        }
    }
}

/// What is not a success is problem details.
struct Problems;

impl utoipa::Modify for Problems {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        for operation in document.paths.paths.values_mut().flat_map(operations) {
            let responses = operation.responses.responses.iter_mut();
            for (_, response) in responses.filter(|(status, _)| !status.starts_with('2')) {
                if let RefOr::T(response) = response
                    && let Some(content) = response.content.shift_remove("application/json")
                {
                    response.content.insert("application/problem+json".to_owned(), content);
                }
            }
        }
    }
}

/// No body at all is `{}`, so a body without required fields may be absent.
struct EmptyBodies;

impl utoipa::Modify for EmptyBodies {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let schemas = document.components.as_ref().map(|components| components.schemas.clone());
        let schemas = schemas.unwrap_or_default();
        let all_optional = |content: &RefOr<Content>| {
            let RefOr::T(content) = content else { return false };
            let Some(RefOr::Ref(reference)) = &content.schema else { return false };
            let name = reference.ref_location.rsplit('/').next().unwrap_or_default();
            matches!(schemas.get(name), Some(RefOr::T(Schema::Object(object))) if object.required.is_empty())
        };
        for operation in document.paths.paths.values_mut().flat_map(operations) {
            if let Some(RefOr::T(body)) = &mut operation.request_body
                && body.content.values().all(all_optional)
            {
                body.required = Some(Required::False);
            }
        }
    }
}

/// That a caller shows this kind of credential.
fn shows(kind: &str) -> SecurityRequirement {
    SecurityRequirement::new::<_, [&str; 0], &str>(kind, [])
}

fn operation<'a>(item: &'a mut PathItem, method: &str) -> Option<&'a mut Operation> {
    match method {
        "GET" => item.get.as_mut(),
        "PUT" => item.put.as_mut(),
        "POST" => item.post.as_mut(),
        "DELETE" => item.delete.as_mut(),
        "PATCH" => item.patch.as_mut(),
        _ => None,
    }
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    let PathItem { get, put, post, delete, patch, .. } = item;
    [get, put, post, delete, patch].into_iter().flatten()
}

/// The document.
pub fn document() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

/// This document.
#[utoipa::path(get, path = "/v1/openapi.json", tag = "health", responses((status = 200, body = Object)))]
pub async fn show(_: NoParameters) -> Result<Response, Problem> {
    let json = document().to_json().map_err(|_| Problem::internal())?;
    Ok(([(CONTENT_TYPE, "application/json")], json).into_response())
}
