//! What each section's writer asks for in a lap: something is made, changed in the ways that there are, and goes.

use serde_json::{Value, json};

use crate::accepting::PASSWORD;
use crate::process::text;
use crate::sections::place::{Place, Stands};
use crate::sections::{Ended, Writer};

/// The sections of the settings; of the large ones each part that has events of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Section {
    People,
    Teams,
    General,
    ApiKeys,
    Secrets,
    Environments,
    Configuration,
    OauthApps,
    Connections,
    Billing,
    Customers,
    Roles,
}

impl Section {
    pub const ALL: [Self; 12] = [
        Self::People,
        Self::Teams,
        Self::General,
        Self::ApiKeys,
        Self::Secrets,
        Self::Environments,
        Self::Configuration,
        Self::OauthApps,
        Self::Connections,
        Self::Billing,
        Self::Customers,
        Self::Roles,
    ];

    /// One lap, whose number no other has.
    pub async fn lap(self, writer: &Writer, number: u64) -> Lap {
        match self {
            Self::People => people(writer, number).await,
            Self::Teams => teams(writer, number).await,
            Self::General => general(writer, number).await,
            Self::ApiKeys => api_keys(writer, number).await,
            Self::Secrets => secrets(writer, number).await,
            Self::Environments => environments(writer, number).await,
            Self::Configuration => configuration(writer, number).await,
            Self::OauthApps => oauth_apps(writer, number).await,
            Self::Connections => connections(writer, number).await,
            Self::Billing => billing(writer, number).await,
            Self::Customers => customers(writer, number).await,
            Self::Roles => roles(writer, number).await,
        }
    }
}

type Lap = Result<(), Ended>;

fn has(value: Value) -> Stands {
    Stands::Has(value)
}

fn path_of(list: &str, made: &Value) -> String {
    format!("{list}/{}", text(&made["id"]))
}

async fn people(w: &Writer, n: u64) -> Lap {
    let email = format!("n{n}@example.com");
    let invited = Place::row("/v1/invitations", "email", &email);
    let member = Place::row("/v1/people", "email", &email);
    let body = json!({"email": email, "role": "viewer"});
    let then = [(invited.clone(), has(json!({"role": "viewer", "status": "pending"})))];
    let invitation = w.ask("POST", "/v1/invitations", body, then).await?;
    if n.is_multiple_of(4) {
        let path = path_of("/v1/invitations", &invitation);
        w.ask("DELETE", &path, Value::Null, [(invited, Stands::Gone)]).await?;
        return Ok(());
    }
    let body = json!({"token": w.mailed(&email).await?, "name": format!("N {n}"), "password": PASSWORD});
    let then = [(invited, Stands::Gone), (member.clone(), has(json!({"status": "active"})))];
    let accepted = w.ask_in_public("/v1/auth/invitations/accept", body, then).await?;
    let path = path_of("/v1/people", &accepted["person"]);
    let then = [(member.clone(), has(json!({"status": "suspended", "name": format!("N {n}")})))];
    w.ask("POST", &format!("{path}/suspend"), json!({}), then).await?;
    let then = [(member.clone(), has(json!({"status": "active"})))];
    w.ask("POST", &format!("{path}/reactivate"), json!({}), then).await?;
    match n % 4 {
        1 => w.ask("DELETE", &path, Value::Null, [(member, Stands::Gone)]).await?,
        _ => w.ask("POST", &format!("{path}/erase"), json!({}), [(member, Stands::Gone)]).await?,
    };
    Ok(())
}

async fn teams(w: &Writer, n: u64) -> Lap {
    let name = format!("Team {n}");
    let team = Place::row("/v1/teams", "name", &name);
    let then = [(team.clone(), has(json!({"member_count": 0})))];
    let made = w.ask("POST", "/v1/teams", json!({"name": name}), then).await?;
    let path = path_of("/v1/teams", &made);
    let member = Place::row(&format!("{path}/members"), "id", w.owner());
    let then = [(team.clone(), has(json!({"member_count": 1}))), (member.clone(), has(json!({})))];
    w.ask("PUT", &format!("{path}/members/{}", w.owner()), Value::Null, then).await?;
    let described = json!({"description": "ships"});
    w.ask("PATCH", &path, described.clone(), [(team.clone(), has(described))]).await?;
    w.ask("DELETE", &path, Value::Null, [(team, Stands::Gone), (member, Stands::Gone)]).await?;
    Ok(())
}

async fn general(w: &Writer, n: u64) -> Lap {
    let timezone = if n.is_multiple_of(2) { "Europe/Paris" } else { "UTC" };
    let body = json!({"name": format!("Acme {n}"), "timezone": timezone});
    let place = Place::whole("/v1/general");
    w.knows(place.clone(), has(json!({})));
    w.ask("PATCH", "/v1/general", body.clone(), [(place, has(body))]).await?;
    Ok(())
}

async fn api_keys(w: &Writer, n: u64) -> Lap {
    let name = format!("Key {n}");
    let row = Place::row("/v1/api-keys", "name", &name);
    let active = (row.clone(), has(json!({"status": "active"})));
    let body = json!({"name": name, "mode": "live"});
    let made = w.ask("POST", "/v1/api-keys", body, [active.clone()]).await?;
    let path = path_of("/v1/api-keys", &made);
    let reads = |key: &Value| Place::read_by(&text(key), String::new());
    let first = reads(&made["key"]);
    w.knows(first.clone(), has(json!({})));
    let then = [(row.clone(), has(json!({"status": "disabled"}))), (first.clone(), Stands::Gone)];
    w.ask("PATCH", &path, json!({"disabled": true}), then).await?;
    let then = [active.clone(), (first.clone(), has(json!({})))];
    w.ask("PATCH", &path, json!({"disabled": false}), then).await?;
    let body = json!({"grace_seconds": 0});
    let rotated = w.ask("POST", &format!("{path}/rotate"), body, [active, (first, Stands::Gone)]).await?;
    let second = reads(&rotated["key"]);
    w.knows(second.clone(), has(json!({})));
    // Of those that were revoked only the newest are listed.
    w.ask("DELETE", &path, Value::Null, [(second, Stands::Gone), (row, Stands::Unsaid)]).await?;
    Ok(())
}

async fn secrets(w: &Writer, n: u64) -> Lap {
    let name = format!("S_{n}");
    let row = Place::row("/v1/secrets", "name", &name);
    let read = w.read(format!("/secrets/{name}"));
    let is = |value: &str, version: u64| {
        [(row.clone(), has(json!({"value_version": version}))), (read.clone(), has(json!(value)))]
    };
    let gone = [(row.clone(), Stands::Gone), (read.clone(), Stands::Gone)];
    let body = json!({"name": name, "value": "the first", "environment": "prod"});
    let made = w.ask("POST", "/v1/secrets", body, is("the first", 1)).await?;
    let path = path_of("/v1/secrets", &made);
    w.ask("PATCH", &path, json!({"value": "the second"}), is("the second", 2)).await?;
    w.ask("POST", &format!("{path}/rollback"), json!({"to_version": 1}), is("the first", 3)).await?;
    w.ask("DELETE", &path, Value::Null, gone.clone()).await?;
    w.ask("POST", &format!("{path}/undelete"), json!({}), is("the first", 3)).await?;
    w.ask("POST", &format!("{path}/destroy"), json!({}), gone).await?;
    Ok(())
}

async fn environments(w: &Writer, n: u64) -> Lap {
    let name = format!("Env {n}");
    let row = Place::row("/v1/environments", "name", &name);
    let body = json!({"name": name, "slug": format!("e{n}"), "mode": "test"});
    let made = w.ask("POST", "/v1/environments", body.clone(), [(row.clone(), has(body))]).await?;
    let path = path_of("/v1/environments", &made);
    let described = json!({"description": "for a while"});
    w.ask("PATCH", &path, described.clone(), [(row.clone(), has(described))]).await?;
    w.ask("DELETE", &path, Value::Null, [(row, Stands::Gone)]).await?;
    Ok(())
}

async fn configuration(w: &Writer, n: u64) -> Lap {
    const CONFIG: &str = "/v1/environments/prod/config";
    let (a, b) = (format!("C{n}_A"), format!("C{n}_B"));
    let row = |key: &str| Place::row(CONFIG, "key", key);
    let is = |key: &str, value: u64| (row(key), has(json!({"value": value})));
    w.ask("PUT", &format!("{CONFIG}/{a}"), json!({"value": 1}), [is(&a, 1)]).await?;
    w.ask("PATCH", CONFIG, json!({&*a: 2, &*b: 3}), [is(&a, 2), is(&b, 3)]).await?;
    w.ask("DELETE", &format!("{CONFIG}/{a}"), Value::Null, [(row(&a), Stands::Gone)]).await?;
    w.ask("DELETE", &format!("{CONFIG}/{b}"), Value::Null, [(row(&b), Stands::Gone)]).await?;
    Ok(())
}

async fn oauth_apps(w: &Writer, n: u64) -> Lap {
    let name = format!("App {n}");
    let row = Place::row("/v1/oauth-apps", "name", &name);
    let body = json!({
        "provider": "custom", "name": name, "client_id": "settled", "client_secret": "a client secret",
        "authorize_url": "https://idp.example.com/authorize", "token_url": "https://idp.example.com/token",
    });
    let then = [(row.clone(), has(json!({"client_id": "settled", "credentials_version": 1})))];
    let made = w.ask("POST", "/v1/oauth-apps", body, then).await?;
    let path = path_of("/v1/oauth-apps", &made);
    let body = json!({"token_url": "https://idp.example.com/v2/token", "client_secret": "another"});
    let moved = json!({"token_url": "https://idp.example.com/v2/token", "credentials_version": 2});
    w.ask("PATCH", &path, body, [(row.clone(), has(moved))]).await?;
    w.ask("DELETE", &path, Value::Null, [(row, Stands::Gone)]).await?;
    Ok(())
}

async fn connections(w: &Writer, n: u64) -> Lap {
    let (first, second) = (format!("c{n}"), format!("d{n}"));
    let at =
        |name: &str| (Place::row("/v1/connections", "name", name), w.read(format!("/connections/{name}")));
    let is = |name: &str, version: u64, read: &Value| {
        let (row, place) = at(name);
        [
            (row, has(json!({"status": "connected", "credential_version": version}))),
            (place, has(read.clone())),
        ]
    };
    let gone = |name: &str| {
        let (row, place) = at(name);
        [(row, Stands::Gone), (place, Stands::Gone)]
    };
    let (kind, credentials) = if n.is_multiple_of(2) {
        ("token", [json!({"token": "the first"}), json!({"token": "the second"})])
    } else {
        let pair = |password| json!({"username": "n", "password": password});
        ("basic", [pair("the first"), pair("the second")])
    };
    let mut body = credentials[0].clone();
    body["kind"] = json!(kind);
    body["name"] = json!(first);
    body["environment"] = json!("prod");
    let made = w.ask("POST", "/v1/connections", body, is(&first, 1, &credentials[0])).await?;
    let path = path_of("/v1/connections", &made["connection"]);
    w.ask("PATCH", &path, credentials[1].clone(), is(&first, 2, &credentials[1])).await?;
    let [a, b] = gone(&first);
    let [c, d] = is(&second, 2, &credentials[1]);
    w.ask("PATCH", &path, json!({"name": second}), [a, b, c, d]).await?;
    w.ask("DELETE", &path, Value::Null, gone(&second)).await?;
    Ok(())
}

async fn billing(w: &Writer, n: u64) -> Lap {
    let meters = ["people", "customers", "environments", "secrets", "api_keys", "connections", "executions"];
    let meter = meters[(n % 7) as usize];
    let row = Place::row("/v1/billing", "meter", meter);
    let path = format!("/v1/billing/quotas/{meter}");
    w.knows(row.clone(), has(json!({"own_limit": null})));
    let quota = json!({"limit": 1_000_000 + n, "soft": n.is_multiple_of(2)});
    w.ask("PUT", &path, quota.clone(), [(row.clone(), has(json!({"own_limit": quota})))]).await?;
    w.ask("DELETE", &path, Value::Null, [(row, has(json!({"own_limit": null})))]).await?;
    Ok(())
}

async fn customers(w: &Writer, n: u64) -> Lap {
    let name = format!("Customer {n}");
    let row = Place::row("/v1/customers", "name", &name);
    let body = json!({"name": name, "external_id": format!("k-{n}"), "tags": {"plan": "pro"}});
    let made = w.ask("POST", "/v1/customers", body.clone(), [(row.clone(), has(body))]).await?;
    let path = path_of("/v1/customers", &made);
    let patch = json!({"tags": {"plan": "free"}, "metadata": {"seats": n}});
    w.ask("PATCH", &path, patch.clone(), [(row.clone(), has(patch))]).await?;

    let limit = Place::row(&format!("{path}/limits"), "meter", "secrets");
    w.knows(limit.clone(), has(json!({"limit": null})));
    let then = [(limit.clone(), has(json!({"limit": 5})))];
    w.ask("PUT", &format!("{path}/limits"), json!({"secrets": 5}), then).await?;
    let cart = format!("{path}/data/cart");
    let document = Place::whole(&cart);
    for value in [json!({"items": n}), json!({"items": [n, "more"]})] {
        let value = json!({"value": value});
        w.ask("PUT", &cart, value.clone(), [(document.clone(), has(value))]).await?;
    }
    let key = format!("OF_{n}");
    let secret = Place::row("/v1/secrets", "name", &key);
    let body = json!({"name": key, "value": "its own", "environment": "prod", "customer": made["id"]});
    w.ask("POST", "/v1/secrets", body, [(secret.clone(), has(json!({"customer": made["id"]})))]).await?;

    let executions = format!("{path}/executions");
    let run = Place::row(&executions, "workflow", "import");
    let body = json!({"workflow": "import", "environment": "prod", "trigger": "by hand"});
    let then = [(run.clone(), has(json!({"status": "running", "trigger": "by hand"})))];
    let begun = w.ask("POST", &executions, body, then).await?;
    let end = json!({"status": "failed", "error": "it was not there"});
    let finish = format!("{}/finish", path_of(&executions, &begun));
    w.ask("POST", &finish, end.clone(), [(run.clone(), has(end))]).await?;

    let then = [(row.clone(), has(json!({"status": "suspended"})))];
    w.ask("POST", &format!("{path}/suspend"), json!({}), then).await?;
    let all = [row, limit, document, secret, run].map(|place| (place, Stands::Gone));
    w.ask("POST", &format!("{path}/erase"), json!({}), all).await?;
    Ok(())
}

async fn roles(w: &Writer, n: u64) -> Lap {
    let name = format!("Role {n}");
    let row = Place::row("/v1/roles", "name", &name);
    let body = json!({"name": name, "permissions": ["config:read"]});
    let made = w.ask("POST", "/v1/roles", body.clone(), [(row.clone(), has(body))]).await?;
    let role = text(&made["id"]);
    let held = Place::row("/v1/role-assignments", "role", &role);
    let body = json!({"subject": w.owner(), "role": role});
    let then = [(held.clone(), has(body.clone()))];
    let assignment = w.ask("POST", "/v1/role-assignments", body, then).await?;
    let path = path_of("/v1/roles", &made);
    let patch = json!({"permissions": ["config:read", "secret:read"]});
    w.ask("PATCH", &path, patch.clone(), [(row.clone(), has(patch))]).await?;
    let path_of_assignment = path_of("/v1/role-assignments", &assignment);
    w.ask("DELETE", &path_of_assignment, Value::Null, [(held, Stands::Gone)]).await?;
    w.ask("DELETE", &path, Value::Null, [(row, Stands::Gone)]).await?;
    Ok(())
}
