//! The OpenAPI document of the public listener, made from the handlers' own annotations.

use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use utoipa::OpenApi;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};

use crate::audit;
use crate::http::health;
use crate::http::problem::Problem;
use crate::http::query::{NoParameters, RawQuery};
use crate::platform::accounts;
use crate::settings::{environments, general, sessions};

#[derive(OpenApi)]
#[openapi(
    info(title = "Settled", description = "An event-sourced settings store."),
    modifiers(&Session),
    // Named by parameters alone, which do not bring their schemas with them.
    components(schemas(environments::value::ConfigKey)),
    paths(
        health::healthz,
        health::readyz,
        health::version,
        show,
        accounts::http::set_up,
        accounts::http::log_in,
        accounts::http::log_out,
        accounts::http::switch,
        accounts::me::found,
        accounts::me::show,
        accounts::me::update,
        accounts::me::change_password,
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
        audit::http::events,
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

/// The document.
pub fn document() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

/// This document.
#[utoipa::path(get, path = "/v1/openapi.json", tag = "health", responses((status = 200, body = Object)))]
pub async fn show(query: RawQuery) -> Result<Response, Problem> {
    let NoParameters {} = query.parse()?;
    let json = document().to_json().map_err(|_| Problem::internal())?;
    Ok(([(CONTENT_TYPE, "application/json")], json).into_response())
}
