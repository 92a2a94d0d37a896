//! The OpenAPI document of what operators are served: on the socket, where whoever may open that file is the operator, and over TCP,
//! where it is whoever has the token.

use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::{Modify, OpenApi};

use crate::http::openapi::{EmptyBodies, Problems, shows};
use crate::http::{
    operator, operator_audit, operator_billing, operator_keys, operator_oauth, operator_snapshots,
};

#[derive(OpenApi)]
#[openapi(
    info(title = "Settled, for operators", description = "What operators are served, on the socket in the data directory and by `--operator-listen`."),
    modifiers(&Token, &Problems, &EmptyBodies),
    paths(
        operator::metrics,
        operator::readyz,
        operator::status,
        operator::accept_clock,
        operator::replay,
        operator::fsck,
        operator::restore,
        operator::export_log,
        operator::tail_log,
        operator_audit::audit,
        operator_audit::organizations,
        operator_audit::organization,
        operator_audit::delete,
        operator_billing::billing,
        operator_billing::change_plan,
        operator_billing::set_quota,
        operator_billing::lift_quota,
        operator_billing::plans,
        operator_billing::plan,
        operator_billing::set_plan,
        operator_keys::rotate,
        operator_oauth::list,
        operator_oauth::show,
        operator_oauth::set,
        operator_oauth::delete,
        operator_snapshots::index,
        operator_snapshots::create,
        operator_snapshots::download,
        operator_snapshots::download_keys,
        operator_snapshots::verify,
        operator_snapshots::drill,
    )
)]
struct Document;

/// What is shown over TCP; nothing is on the socket.
struct Token;

impl Modify for Token {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let token = HttpBuilder::new().scheme(HttpAuthScheme::Bearer);
        let token = token.description(Some("The operators' token, over TCP alone.")).build();
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("operator_token", SecurityScheme::Http(token));
        document.security = Some(vec![SecurityRequirement::default(), shows("operator_token")]);
    }
}

/// The document.
pub fn document() -> utoipa::openapi::OpenApi {
    Document::openapi()
}
