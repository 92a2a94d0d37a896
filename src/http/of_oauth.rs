//! The routes of OAuth: providers, apps, connections, and the pages on which people consent.

use axum::routing::{delete, get, patch, post};

use crate::http::access::Access::{Environment, Organization, Public};
use crate::http::{Route, recorded_get, route, row};
use crate::oauth;
use crate::settings::roles::permission::Permission as P;
use crate::settings::{connections, oauth_apps};

pub(super) fn routes() -> Vec<Route> {
    let oauth_app = "/v1/oauth-apps/{app}";
    let connection = "/v1/connections/{con}";
    vec![
        route(
            row("GET", "/v1/oauth-providers", Organization(P::OauthAppRead), "oauth_app.read"),
            get(oauth::http::list),
        ),
        route(
            row("GET", "/v1/oauth-apps", Organization(P::OauthAppRead), "oauth_app.read"),
            get(oauth_apps::http::list),
        ),
        route(
            row("POST", "/v1/oauth-apps", Organization(P::OauthAppManage), "oauth_app.create"),
            post(oauth_apps::http::create),
        ),
        route(
            row("GET", oauth_app, Organization(P::OauthAppRead), "oauth_app.read"),
            get(oauth_apps::http::show),
        ),
        route(
            row("PATCH", oauth_app, Organization(P::OauthAppManage), "oauth_app.update"),
            patch(oauth_apps::http::update),
        ),
        route(
            row("DELETE", oauth_app, Organization(P::OauthAppManage), "oauth_app.delete"),
            delete(oauth_apps::http::delete),
        ),
        route(
            row("GET", "/v1/connections", Environment(P::ConnectionRead), "connection.read"),
            get(connections::http::list),
        ),
        route(
            row("POST", "/v1/connections", Environment(P::ConnectionManage), "connection.create"),
            post(connections::linking::create),
        ),
        route(
            row("GET", connection, Environment(P::ConnectionRead), "connection.read"),
            get(connections::http::show),
        ),
        route(
            row("PATCH", connection, Environment(P::ConnectionManage), "connection.update"),
            patch(connections::http::update),
        ),
        route(
            row("DELETE", connection, Environment(P::ConnectionManage), "connection.revoke"),
            delete(connections::http::delete),
        ),
        route(
            row(
                "POST",
                "/v1/connections/{con}/reconnect",
                Environment(P::ConnectionManage),
                "connection.reconnect",
            ),
            post(connections::linking::reconnect),
        ),
        route(
            row(
                "POST",
                "/v1/connections/{con}/refresh",
                Environment(P::ConnectionManage),
                "connection.refresh",
            ),
            post(connections::linking::refresh),
        ),
        route(row("GET", "/connect/{token}", Public, ""), get(oauth::connect::show)),
        route(row("POST", "/connect/{token}", Public, ""), post(oauth::connect::begin)),
        route(row("GET", "/oauth/callback/{app}", Public, ""), recorded_get(oauth::connect::callback)),
    ]
}
