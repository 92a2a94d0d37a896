//! The OpenAPI document of the public listener, made from the handlers' own annotations.

use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use utoipa::OpenApi;
use utoipa::openapi::path::Operation;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{Content, PathItem, RefOr, Required, Schema};

use crate::audit;
use crate::history;
use crate::http::access::Access;
use crate::http::health;
use crate::http::problem::Problem;
use crate::http::query::NoParameters;
use crate::http::routes;
use crate::platform::{accounts, foundings};
use crate::settings::{environments, general, sessions};

#[derive(OpenApi)]
#[openapi(
    info(title = "Settled", description = "An event-sourced settings store."),
    modifiers(&Session, &PublicRoutes, &Problems, &EmptyBodies),
    // Named by parameters alone, which do not bring their schemas with them.
    components(schemas(environments::value::ConfigKey)),
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
        accounts::http::log_out,
        accounts::http::switch,
        foundings::http::found,
        accounts::me::show,
        accounts::me::update,
        accounts::departure::delete,
        accounts::departure::leave,
        accounts::me::change_password,
        accounts::address::request,
        sessions::http::list,
        sessions::http::delete,
        general::http::show,
        general::http::update,
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
        audit::http::list,
        audit::http::facets,
        audit::http::export,
        audit::http::stream,
        audit::http::events,
        history::http::history,
        history::http::diff,
        history::restore::http::restore,
    )
)]
struct Document;

struct Session;

impl utoipa::Modify for Session {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("A session's token, from the login or the set-up."))
            .build();
        document
            .components
            .get_or_insert_default()
            .add_security_scheme("session", SecurityScheme::Http(scheme));
        let required = utoipa::openapi::SecurityRequirement::new::<_, [&str; 0], &str>("session", []);
        document.security = Some(vec![required]);
    }
}

/// Routes that anybody may call say so.
struct PublicRoutes;

impl utoipa::Modify for PublicRoutes {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        for row in routes().iter().map(|route| route.row).filter(|row| row.access == Access::Public) {
            let item = document.paths.paths.get_mut(row.path);
            for operation in item.into_iter().flat_map(operations) {
                operation.security = Some(Vec::new());
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
