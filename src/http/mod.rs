//! HTTP: every route of the server in one table, and what is the same for all of them.
//!
//! The table says for each route who may call it; a route cannot be served without its row. What an area answers
//! stands in the area's `http.rs`.

use std::sync::Arc;

use axum::Router;
use axum::handler::Handler;
use axum::http::HeaderValue;
use axum::middleware::from_fn_with_state;
use axum::routing::{MethodRouter, delete, get, patch, post, put};

use crate::audit;
use crate::ctx;
use crate::history;
use crate::http::access::{Access, Guard, Row, check};
use crate::http::app::App;
use crate::http::limits::Limits;
use crate::http::problem::Problem;
use crate::platform::{accounts, foundings, memberships, plans};
use crate::promotion;
use crate::proof;
use crate::settings::roles::permission::Permission;
use crate::settings::{
    api_keys, billing, environments, general, invitations, join_requests, people, roles, secrets, sessions,
    teams,
};

pub mod access;
pub mod app;
pub mod as_of;
pub mod auth;
pub mod body_memory;
pub mod call;
pub mod caller;
pub mod client;
pub mod complaint;
pub mod conditional;
mod connections;
pub mod credentials;
pub mod environment;
pub mod headers;
pub mod health;
pub mod input;
pub mod json;
pub mod key;
pub mod layers;
pub mod limits;
pub mod ndjson;
mod of_customers;
mod of_oauth;
pub mod openapi;
pub mod operator;
pub mod operator_audit;
pub mod operator_billing;
pub mod operator_keys;
pub mod operator_oauth;
pub mod operator_snapshots;
pub mod operator_token;
pub mod page;
pub mod patch;
pub mod path;
pub mod percent;
pub mod pieces;
pub mod problem;
pub mod query;
pub mod rate_limit;
pub mod raw_answer;
pub mod rejection;
mod rejection_billing;
mod rejection_kept;
pub mod request_id;
pub mod server;
pub mod sse;
pub mod streams;
pub mod throttle;
pub mod timed;
pub mod tls;

/// A route: its row in the table of permissions, and its handler.
pub struct Route {
    /// Who may call it.
    pub row: Row,
    handler: MethodRouter<App>,
}

/// A GET that is itself an event: it does not serve HEAD, which would record what nobody got.
fn recorded_get<H: Handler<T, App>, T: 'static>(handler: H) -> MethodRouter<App> {
    get(handler).head(async || Problem::method_not_allowed(Some(HeaderValue::from_static("GET"))))
}

fn route(row: Row, handler: MethodRouter<App>) -> Route {
    Route { row, handler }
}

const fn row(method: &'static str, path: &'static str, access: Access, attempt: &'static str) -> Row {
    let takes_a_body = !matches!(method.as_bytes(), b"GET" | b"DELETE");
    Row { method, path, access, attempt, takes_a_body }
}

/// Every route of the public listener.
pub fn routes() -> Vec<Route> {
    use Access::{Environment, Founder, Member, Organization, OwnAccount, Program, Public};
    use Permission as P;

    let person = "/v1/people/{usr}";
    let invitation = "/v1/invitations/{inv}";
    let team = "/v1/teams/{team}";
    let members = "/v1/teams/{team}/members";
    let member = "/v1/teams/{team}/members/{usr}";
    let role = "/v1/roles/{role}";
    let assignments = "/v1/role-assignments";
    let assignment = "/v1/role-assignments/{ra}";
    let api_key = "/v1/api-keys/{api_key}";
    let env = "/v1/environments/{env}";
    let config = "/v1/environments/{env}/config";
    let value = "/v1/environments/{env}/config/{key}";
    let secret = "/v1/secrets/{sec}";
    let quota = "/v1/billing/quotas/{meter}";
    let mut routes = vec![
        route(row("GET", "/healthz", Public, ""), get(health::healthz)),
        route(row("GET", "/readyz", Public, ""), get(health::readyz)),
        route(row("GET", "/v1/version", Public, ""), get(health::version)),
        route(row("GET", "/v1/openapi.json", Public, ""), get(openapi::show)),
        route(row("POST", "/v1/setup", Public, ""), post(foundings::http::set_up)),
        route(row("POST", "/v1/auth/signup", Public, ""), post(accounts::signup::sign_up)),
        route(row("POST", "/v1/auth/verify-email", Public, ""), post(accounts::address::verify_email)),
        route(row("POST", "/v1/auth/password/forgot", Public, ""), post(accounts::recovery::forgot)),
        route(row("POST", "/v1/auth/password/reset", Public, ""), post(accounts::recovery::reset)),
        route(row("POST", "/v1/auth/login", Public, ""), post(accounts::http::log_in)),
        route(row("POST", "/v1/auth/invitations/accept", Public, ""), post(invitations::accepting::accept)),
        route(row("POST", "/v1/auth/invitations/decline", Public, ""), post(invitations::accepting::decline)),
        route(row("POST", "/v1/auth/logout", OwnAccount, ""), post(accounts::http::log_out)),
        route(row("POST", "/v1/auth/switch", OwnAccount, ""), post(accounts::http::switch)),
        route(row("POST", "/v1/organizations", Founder, "organization.create"), post(foundings::http::found)),
        route(row("GET", "/v1/me", OwnAccount, ""), get(accounts::me::show)),
        route(row("PATCH", "/v1/me", Member, "person.update"), patch(accounts::me::update)),
        // Its password stands in the body, which a DELETE may have where its meaning is told (RFC 9110 §9.3.5).
        route(
            Row { takes_a_body: true, ..row("DELETE", "/v1/me", OwnAccount, "") },
            delete(accounts::departure::delete),
        ),
        route(row("POST", "/v1/me/leave", Member, "person.remove"), post(accounts::departure::leave)),
        route(row("POST", "/v1/me/password", OwnAccount, ""), post(accounts::me::change_password)),
        route(row("POST", "/v1/me/email", OwnAccount, ""), post(accounts::address::request)),
        route(row("GET", "/v1/me/joinable-organizations", OwnAccount, ""), get(memberships::http::joinable)),
        route(row("POST", "/v1/me/join-requests", OwnAccount, ""), post(memberships::http::ask)),
        route(row("GET", "/v1/me/sessions", OwnAccount, ""), get(sessions::http::list)),
        route(row("DELETE", "/v1/me/sessions/{ses}", OwnAccount, ""), delete(sessions::http::delete)),
        route(
            row("GET", "/v1/general", Organization(P::OrganizationRead), "organization.read"),
            get(general::http::show),
        ),
        route(
            row("PATCH", "/v1/general", Organization(P::OrganizationUpdate), "organization.update"),
            patch(general::http::update),
        ),
        route(row("GET", "/v1/people", Organization(P::PersonRead), "person.read"), get(people::http::list)),
        route(row("GET", person, Organization(P::PersonRead), "person.read"), get(people::http::show)),
        route(
            row("DELETE", person, Organization(P::PersonManage), "person.remove"),
            delete(people::http::delete),
        ),
        route(
            row("POST", "/v1/people/{usr}/suspend", Organization(P::PersonManage), "person.suspend"),
            post(people::http::suspend),
        ),
        route(
            row("POST", "/v1/people/{usr}/reactivate", Organization(P::PersonManage), "person.reactivate"),
            post(people::http::reactivate),
        ),
        route(
            row("POST", "/v1/people/{usr}/erase", Organization(P::PersonManage), "person.erase"),
            post(people::http::erase),
        ),
        route(
            row("GET", "/v1/invitations", Organization(P::PersonRead), "invitation.read"),
            get(invitations::http::list),
        ),
        route(
            row("POST", "/v1/invitations", Organization(P::PersonInvite), "invitation.create"),
            post(invitations::http::create),
        ),
        route(
            row("GET", invitation, Organization(P::PersonRead), "invitation.read"),
            get(invitations::http::show),
        ),
        route(
            row("DELETE", invitation, Organization(P::PersonInvite), "invitation.revoke"),
            delete(invitations::http::delete),
        ),
        route(
            row("POST", "/v1/invitations/{inv}/resend", Organization(P::PersonInvite), "invitation.resend"),
            post(invitations::http::resend),
        ),
        route(
            row(
                "POST",
                "/v1/general/email-domain/verify",
                Organization(P::OrganizationUpdate),
                "organization.verify_domain",
            ),
            post(general::domain::verify),
        ),
        route(
            row("GET", "/v1/join-requests", Organization(P::PersonRead), "join_request.read"),
            get(join_requests::http::list),
        ),
        route(
            row(
                "POST",
                "/v1/join-requests/{jr}/approve",
                Organization(P::PersonInvite),
                "join_request.approve",
            ),
            post(join_requests::http::approve),
        ),
        route(
            row(
                "POST",
                "/v1/join-requests/{jr}/decline",
                Organization(P::PersonInvite),
                "join_request.decline",
            ),
            post(join_requests::http::decline),
        ),
        route(row("GET", "/v1/teams", Organization(P::PersonRead), "team.read"), get(teams::http::list)),
        route(
            row("POST", "/v1/teams", Organization(P::TeamManage), "team.create"),
            post(teams::http::create),
        ),
        route(row("GET", team, Organization(P::PersonRead), "team.read"), get(teams::http::show)),
        route(row("PATCH", team, Organization(P::TeamManage), "team.update"), patch(teams::http::update)),
        route(row("DELETE", team, Organization(P::TeamManage), "team.delete"), delete(teams::http::delete)),
        route(row("GET", members, Organization(P::PersonRead), "team.read"), get(teams::members::list)),
        route(row("PUT", member, Organization(P::TeamManage), "team.add_member"), put(teams::members::add)),
        route(
            row("DELETE", member, Organization(P::TeamManage), "team.remove_member"),
            delete(teams::members::remove),
        ),
        route(row("GET", "/v1/roles", Organization(P::RoleRead), "role.read"), get(roles::http::list)),
        route(
            row("POST", "/v1/roles", Organization(P::RoleManage), "role.create"),
            post(roles::http::create),
        ),
        route(
            row("GET", "/v1/roles/matrix", Organization(P::RoleRead), "role.read"),
            get(roles::http::matrix),
        ),
        route(row("GET", role, Organization(P::RoleRead), "role.read"), get(roles::http::show)),
        route(row("PATCH", role, Organization(P::RoleManage), "role.update"), patch(roles::http::update)),
        route(row("DELETE", role, Organization(P::RoleManage), "role.delete"), delete(roles::http::delete)),
        route(
            row("GET", "/v1/access/explain", Organization(P::RoleRead), "role.read"),
            get(roles::explain::explain),
        ),
        route(
            row("GET", assignments, Organization(P::RoleRead), "role_assignment.read"),
            get(roles::assignments::list),
        ),
        route(
            row("POST", assignments, Organization(P::RoleAssign), "role_assignment.create"),
            post(roles::assignments::create),
        ),
        route(
            row("GET", assignment, Organization(P::RoleRead), "role_assignment.read"),
            get(roles::assignments::show),
        ),
        route(
            row("DELETE", assignment, Organization(P::RoleAssign), "role_assignment.delete"),
            delete(roles::assignments::delete),
        ),
        route(
            row("GET", "/v1/api-keys", Environment(P::ApiKeyRead), "api_key.read"),
            get(api_keys::http::list),
        ),
        route(
            row("POST", "/v1/api-keys", Environment(P::ApiKeyManage), "api_key.create"),
            post(api_keys::http::create),
        ),
        route(row("GET", api_key, Environment(P::ApiKeyRead), "api_key.read"), get(api_keys::http::show)),
        route(
            row("PATCH", api_key, Environment(P::ApiKeyManage), "api_key.update"),
            patch(api_keys::http::update),
        ),
        route(
            row("DELETE", api_key, Environment(P::ApiKeyManage), "api_key.revoke"),
            delete(api_keys::http::revoke),
        ),
        route(
            row("POST", "/v1/api-keys/{api_key}/rotate", Environment(P::ApiKeyManage), "api_key.rotate"),
            post(api_keys::http::rotate),
        ),
        route(
            row("GET", "/v1/environments", Environment(P::EnvironmentRead), "environment.read"),
            get(environments::http::list),
        ),
        route(
            row("POST", "/v1/environments", Organization(P::EnvironmentManage), "environment.create"),
            post(environments::http::create),
        ),
        route(
            row("GET", env, Environment(P::EnvironmentRead), "environment.read"),
            get(environments::http::show),
        ),
        route(
            row("PATCH", env, Environment(P::EnvironmentManage), "environment.update"),
            patch(environments::http::update),
        ),
        route(
            row("DELETE", env, Environment(P::EnvironmentManage), "environment.delete"),
            delete(environments::http::delete),
        ),
        route(row("GET", config, Environment(P::ConfigRead), "config.read"), get(environments::config::list)),
        route(
            row("PATCH", config, Environment(P::ConfigWrite), "config.set"),
            patch(environments::config::patch),
        ),
        route(row("GET", value, Environment(P::ConfigRead), "config.read"), get(environments::config::show)),
        route(row("PUT", value, Environment(P::ConfigWrite), "config.set"), put(environments::config::put)),
        route(
            row("DELETE", value, Environment(P::ConfigWrite), "config.delete"),
            delete(environments::config::delete),
        ),
        route(
            row(
                "GET",
                "/v1/environments/{env}/diff/{other}",
                Environment(P::EnvironmentRead),
                "environment.read",
            ),
            get(promotion::http::diff),
        ),
        route(
            row("POST", "/v1/environments/{env}/promote", Environment(P::ConfigWrite), "environment.promote"),
            post(promotion::http::promote),
        ),
        route(
            row("GET", "/v1/secrets", Environment(P::SecretRead), "secret.read"),
            get(secrets::listing::list),
        ),
        route(
            row("POST", "/v1/secrets", Environment(P::SecretWrite), "secret.create"),
            post(secrets::http::create),
        ),
        route(
            row(
                "POST",
                "/v1/environments/{env}/secrets/import",
                Environment(P::SecretWrite),
                "secret.create",
            ),
            post(secrets::import::import),
        ),
        route(row("GET", secret, Environment(P::SecretRead), "secret.read"), get(secrets::http::show)),
        route(
            row("PATCH", secret, Environment(P::SecretWrite), "secret.update"),
            patch(secrets::http::update),
        ),
        route(
            row("DELETE", secret, Environment(P::SecretWrite), "secret.delete"),
            delete(secrets::http::delete),
        ),
        route(
            row("POST", "/v1/secrets/{sec}/undelete", Environment(P::SecretWrite), "secret.undelete"),
            post(secrets::http::undelete),
        ),
        route(
            row("POST", "/v1/secrets/{sec}/destroy", Environment(P::SecretDestroy), "secret.destroy"),
            post(secrets::http::destroy),
        ),
        route(
            row("GET", "/v1/secrets/{sec}/versions", Environment(P::SecretRead), "secret.read"),
            get(secrets::values::versions),
        ),
        route(
            row("POST", "/v1/secrets/{sec}/reveal", Environment(P::SecretReveal), "secret.reveal"),
            post(secrets::values::reveal),
        ),
        route(
            row("POST", "/v1/secrets/{sec}/rollback", Environment(P::SecretWrite), "secret.rollback"),
            post(secrets::values::rollback),
        ),
        route(
            row(
                "POST",
                "/v1/secrets/{sec}/versions/{n}/destroy",
                Environment(P::SecretDestroy),
                "secret.destroy_version",
            ),
            post(secrets::values::destroy_version),
        ),
        route(row("GET", "/v1/plans", Organization(P::BillingRead), "billing.read"), get(plans::http::list)),
        route(
            row("GET", "/v1/billing", Organization(P::BillingRead), "billing.read"),
            get(billing::http::show),
        ),
        route(
            row("GET", "/v1/billing/usage", Organization(P::BillingRead), "billing.read"),
            get(billing::usage::show),
        ),
        route(
            row("PUT", "/v1/billing/plan", Organization(P::BillingManage), "billing.change_plan"),
            put(billing::http::change_plan),
        ),
        route(
            row("PUT", quota, Organization(P::BillingManage), "billing.set_quota"),
            put(billing::http::set_quota),
        ),
        route(
            row("DELETE", quota, Organization(P::BillingManage), "billing.set_quota"),
            delete(billing::http::lift_quota),
        ),
        route(row("GET", "/v1/ctx", Program(P::CtxRead), "ctx.read"), recorded_get(ctx::http::show)),
        route(
            row("GET", "/v1/ctx/secrets/{name}", Program(P::CtxRead), "ctx.read"),
            recorded_get(ctx::http::secret),
        ),
        route(row("GET", "/v1/ctx/watch", Program(P::CtxRead), "ctx.read"), get(ctx::http::watch)),
        route(row("GET", "/v1/audit", Organization(P::AuditRead), "audit.read"), get(audit::http::list)),
        route(
            row("GET", "/v1/audit/facets", Organization(P::AuditRead), "audit.read"),
            get(audit::http::facets),
        ),
        route(
            row("GET", "/v1/audit/export", Organization(P::AuditExport), "audit.export"),
            recorded_get(audit::http::export),
        ),
        route(
            row("GET", "/v1/audit/stream", Organization(P::AuditRead), "audit.read"),
            get(audit::http::stream),
        ),
        route(
            row("GET", "/v1/events", Organization(P::AuditExport), "audit.export"),
            recorded_get(audit::http::events),
        ),
        route(
            row("GET", "/v1/proof/checkpoint", Organization(P::AuditRead), "audit.read"),
            get(proof::http::checkpoint),
        ),
        route(
            row("GET", "/v1/proof/inclusion", Organization(P::AuditRead), "audit.read"),
            get(proof::http::inclusion),
        ),
        route(
            row("GET", "/v1/proof/consistency", Organization(P::AuditRead), "audit.read"),
            get(proof::http::consistency),
        ),
        route(row("GET", "/v1/proof/keys", Organization(P::AuditRead), "audit.read"), get(proof::http::keys)),
        route(
            row("GET", "/v1/proof/bundle", Organization(P::AuditExport), "audit.export"),
            recorded_get(proof::http::bundle),
        ),
        route(
            row("GET", "/v1/history/{id}", Organization(P::HistoryRead), "history.read"),
            get(history::http::history),
        ),
        route(row("GET", "/v1/diff", Organization(P::HistoryRead), "history.read"), get(history::http::diff)),
        route(
            row("POST", "/v1/restore", Organization(P::OrganizationRestore), "organization.restore"),
            post(history::restore::http::restore),
        ),
    ];
    routes.extend(of_customers::routes());
    routes.extend(of_oauth::routes());
    routes
}

/// The router of the public listener: every route behind its row's check.
pub fn router(app: &App, limits: Arc<Limits>) -> Router {
    let mut router = Router::new();
    for Route { row, handler } in routes() {
        let guard = Guard { app: app.clone(), row };
        router = router.route(row.path, handler.layer(from_fn_with_state(guard, check)));
    }
    let metrics = app.store.metrics().clone();
    layers::wrap(router.with_state(app.clone()), metrics, limits)
}
