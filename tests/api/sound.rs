//! A body that goes through, of each route that takes one: what tests of bad input make theirs of.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::server::{OWNER_EMAIL, PASSWORD, Somebody};
use crate::things::Things;

/// A body that each route takes, by method and template; routes with a body that are not here fail the test.
pub fn sound_bodies(things: &Things, owner: &Somebody) -> BTreeMap<(&'static str, &'static str), Value> {
    BTreeMap::from([
        (
            ("POST", "/v1/setup"),
            json!({
                "setup_token": "x",
                "organization": {"name": "Acme", "timezone": "UTC"},
                "person": {"email": "a@example.com", "name": "A", "password": PASSWORD},
            }),
        ),
        (
            ("POST", "/v1/auth/login"),
            json!({"email": OWNER_EMAIL, "password": PASSWORD, "organization": owner.organization}),
        ),
        (
            ("POST", "/v1/auth/signup"),
            json!({"email": "nora@example.com", "name": "Nora", "password": PASSWORD}),
        ),
        (("POST", "/v1/auth/verify-email"), json!({"token": "x"})),
        (("POST", "/v1/auth/password/forgot"), json!({"email": "nora@example.com"})),
        (("POST", "/v1/auth/password/reset"), json!({"token": "x", "password": PASSWORD})),
        (("DELETE", "/v1/me"), json!({"password": PASSWORD})),
        (("POST", "/v1/me/email"), json!({"email": "nora@example.com", "password": PASSWORD})),
        (("POST", "/v1/auth/switch"), json!({"organization": owner.organization})),
        (("POST", "/v1/organizations"), json!({"name": "Beta", "timezone": "UTC"})),
        (("PATCH", "/v1/me"), json!({"name": "Olive"})),
        (("POST", "/v1/me/password"), json!({"current": PASSWORD, "new": "seven boats in the harbour"})),
        (
            ("PATCH", "/v1/general"),
            json!({"name": "Acme", "timezone": "UTC", "email_domain": "example.com",
                "auto_approve_domain_users": false, "join_role": "viewer"}),
        ),
        (
            ("POST", "/v1/api-keys"),
            json!({"name": "K", "mode": "test", "role": "viewer", "environments": ["dev"],
                "customers": [things.of("cus")], "expires_at": "2999-01-01T00:00:00Z", "allowed_cidrs": ["192.0.2.0/24"],
                "rate_limit": {"requests": 1, "window_seconds": 1}}),
        ),
        (
            ("PATCH", "/v1/api-keys/{api_key}"),
            json!({"name": "K", "disabled": false, "environments": ["dev"],
                "customers": [things.of("cus")], "expires_at": "2999-01-01T00:00:00Z", "allowed_cidrs": ["192.0.2.0/24"],
                "rate_limit": {"requests": 1, "window_seconds": 1}}),
        ),
        (
            ("POST", "/v1/customers"),
            json!({"name": "New", "external_id": "new", "tags": {"plan": "pro"}, "metadata": {"a": "b"}}),
        ),
        (
            ("PATCH", "/v1/customers/{cus}"),
            json!({"name": "dev", "external_id": "dev", "tags": {"plan": "pro"}, "metadata": {"a": "b"}}),
        ),
        (("PUT", "/v1/customers/{cus}/data/{key}"), json!({"value": 1})),
        (("PUT", "/v1/customers/{cus}/limits"), json!({"secrets": 1_000_000})),
        (
            ("POST", "/v1/customers/{cus}/executions"),
            json!({"workflow": "sync", "environment": "dev", "trigger": "t"}),
        ),
        (
            ("POST", "/v1/customers/{cus}/executions/{exe}/finish"),
            json!({"status": "failed", "error": "e", "duration_ms": 1, "usage": {"tokens": 1}}),
        ),
        (("POST", "/v1/api-keys/{api_key}/rotate"), json!({"grace_seconds": 0})),
        (
            ("POST", "/v1/environments"),
            json!({"name": "New", "slug": "new", "mode": "test", "description": "d"}),
        ),
        (("PATCH", "/v1/environments/{env}"), json!({"name": "dev", "slug": "dev", "description": "d"})),
        (("PATCH", "/v1/environments/{env}/config"), json!({"A": 1})),
        (("PUT", "/v1/environments/{env}/config/{key}"), json!({"value": 1})),
        (("POST", "/v1/me/join-requests"), json!({"organization": owner.organization})),
        (("POST", "/v1/join-requests/{jr}/approve"), json!({"role": "viewer"})),
        (("POST", "/v1/invitations"), json!({"email": "new@example.com", "role": "viewer"})),
        (
            ("POST", "/v1/auth/invitations/accept"),
            json!({"token": "nothing", "name": "Nora", "password": "a stroll along the quay"}),
        ),
        (("POST", "/v1/auth/invitations/decline"), json!({"token": "nothing"})),
        (("POST", "/v1/teams"), json!({"name": "New", "description": "d"})),
        (("PATCH", "/v1/teams/{team}"), json!({"name": "dev team", "description": "d"})),
        (("POST", "/v1/roles"), json!({"name": "New", "description": "d", "permissions": ["config:read"]})),
        (
            ("PATCH", "/v1/roles/{role}"),
            json!({"name": "dev role", "description": "d", "permissions": ["config:read"]}),
        ),
        (
            ("POST", "/v1/role-assignments"),
            json!({"subject": owner.person, "role": "viewer", "environment": "dev"}),
        ),
        (
            ("POST", "/v1/environments/{env}/promote"),
            json!({"to": "dev", "config": ["A"], "secrets": ["TOKEN"], "dry_run": true}),
        ),
        (
            ("POST", "/v1/environments/{env}/secrets/import"),
            json!({"secrets": [{"name": "NEW", "value": "v"}], "overwrite": true, "dry_run": true}),
        ),
        (
            ("POST", "/v1/secrets"),
            json!({"name": "NEW", "value": "v", "environment": "dev", "description": "d",
                "expires_at": "2999-01-01T00:00:00Z"}),
        ),
        (
            ("PATCH", "/v1/secrets/{sec}"),
            json!({"name": "TOKEN", "value": "v", "description": "d", "expires_at": "2999-01-01T00:00:00Z"}),
        ),
        (
            ("POST", "/v1/oauth-apps"),
            json!({"provider": "custom", "name": "Ours", "client_id": "ours", "client_secret": "s",
                "scopes": ["read"], "authorize_url": "https://idp.example.com/authorize",
                "token_url": "https://idp.example.com/token", "revoke_url": "https://idp.example.com/revoke",
                "issuer": "https://idp.example.com", "client_authentication": "basic", "pkce": false}),
        ),
        (
            ("PATCH", "/v1/oauth-apps/{app}"),
            json!({"name": "Ours", "client_id": "ours", "client_secret": "s", "scopes": ["read"],
                "authorize_url": "https://idp.example.com/authorize",
                "token_url": "https://idp.example.com/token", "revoke_url": "https://idp.example.com/revoke",
                "issuer": "https://idp.example.com", "client_authentication": "basic", "pkce": false}),
        ),
        (
            ("POST", "/v1/connections"),
            json!({"kind": "token", "name": "billing", "token": "t", "environment": "dev"}),
        ),
        (("PATCH", "/v1/connections/{con}"), json!({"name": "billing", "token": "t"})),
        (("PUT", "/v1/billing/plan"), json!({"plan": "unlimited"})),
        (("PUT", "/v1/billing/quotas/{meter}"), json!({"limit": 1_000_000, "soft": true})),
        (("POST", "/v1/secrets/{sec}/reveal"), json!({"version": 1})),
        (("POST", "/v1/secrets/{sec}/rollback"), json!({"to_version": 1})),
        (
            ("POST", "/v1/restore"),
            json!({"as_of": "1", "scope": {"resource": owner.organization}, "include_access": false, "dry_run": true}),
        ),
    ])
}
