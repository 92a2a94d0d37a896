//! The OpenAPI document of the operator's socket. Whoever may open that file is the operator, so nobody shows anything there.

use utoipa::OpenApi;

use crate::http::openapi::{EmptyBodies, Problems};
use crate::http::{
    operator, operator_audit, operator_billing, operator_keys, operator_oauth, operator_snapshots,
};

#[derive(OpenApi)]
#[openapi(
    info(title = "Settled, for operators", description = "What the socket in the data directory takes and answers."),
    modifiers(&Problems, &EmptyBodies),
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

/// The document.
pub fn document() -> utoipa::openapi::OpenApi {
    Document::openapi()
}
