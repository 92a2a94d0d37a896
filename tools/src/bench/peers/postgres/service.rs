//! The service that somebody would write before PostgreSQL: axum, a pool of connections, one prepared statement a
//! request, which looks the token up as well.

use std::collections::HashMap;
use std::net::SocketAddr;

use anyhow::Result;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, put};
use axum::{Json, Router};
use deadpool_postgres::Pool;
use serde_json::{Value, json};
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::hashed;

/// The service, listening; it ends with the runtime.
pub(super) struct Service {
    address: SocketAddr,
}

#[derive(Clone)]
struct Pools {
    reading: Pool,
    writing: Pool,
}

type Answer = Result<Json<Value>, StatusCode>;

impl Service {
    pub(super) fn start(runtime: &tokio::runtime::Runtime, reading: &Pool, writing: &Pool) -> Result<Self> {
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))?;
        let address = listener.local_addr()?;
        let router = Router::new()
            .route("/general", get(general))
            .route("/config", get(list))
            .route("/config/{key}", get(show))
            .route("/config/{key}", put(write))
            .route("/audit", get(audit))
            .with_state(Pools { reading: reading.clone(), writing: writing.clone() });
        runtime.spawn(async move { axum::serve(listener, router).await });
        Ok(Self { address })
    }

    pub(super) fn base(&self) -> String {
        format!("http://{}", self.address)
    }
}

/// The statement of a write: the event, and the newest value beside it.
pub(super) const WRITE: &str = "
    WITH caller AS (SELECT organization, person FROM sessions WHERE token = $1),
    event AS (
        INSERT INTO events (organization, at, actor, action, resource_type, resource, outcome, rest)
        SELECT organization, $4, person, 'config.set', 'config', $2, 'success', jsonb_build_object('value', $3::text)
        FROM caller RETURNING organization, version
    )
    INSERT INTO config SELECT organization, $2, $3, version FROM event
    ON CONFLICT (organization, key) DO UPDATE SET value = excluded.value, version = excluded.version
    RETURNING version";

const GENERAL: &str = "
    SELECT o.id, o.name, o.timezone FROM sessions s JOIN organizations o ON o.id = s.organization
    WHERE s.token = $1";
const SHOW: &str = "
    SELECT c.key, c.value, c.version FROM sessions s JOIN config c ON c.organization = s.organization
    WHERE s.token = $1 AND c.key = $2";
const LIST: &str = "
    SELECT c.key, c.value, c.version FROM sessions s JOIN config c ON c.organization = s.organization
    WHERE s.token = $1 ORDER BY c.key LIMIT 50";

/// The newest fifty events that match a condition, each with the number of all that do. `$1` is the token's hash.
pub(super) fn page(condition: &str) -> String {
    let matching =
        format!("organization = (SELECT organization FROM sessions WHERE token = $1) AND {condition}");
    format!(
        "SELECT version, at, actor, action, resource_type, resource, outcome, rest::text,
            (SELECT count(*) FROM history WHERE {matching}) AS total
         FROM history WHERE {matching} ORDER BY {} LIMIT 50",
        // The order that the condition's index has.
        if condition.contains("at >=") { "at DESC, version DESC" } else { "version DESC" }
    )
}

/// The conditions of the filters that are measured.
pub(super) const BY_USER: &str = "actor = $2";
pub(super) const BY_ACTION_AND_WEEK: &str = "action = $2 AND at >= $3 AND at < $4";
pub(super) const BY_THREE: &str = "actor = $2 AND action = $3 AND outcome = $4";

async fn ask(
    pool: &Pool,
    statement: &str,
    parameters: &[&(dyn ToSql + Sync)],
) -> Result<Vec<Row>, StatusCode> {
    let broken = StatusCode::INTERNAL_SERVER_ERROR;
    let client = pool.get().await.map_err(|_| broken)?;
    let statement = client.prepare_cached(statement).await.map_err(|_| broken)?;
    client.query(&statement, parameters).await.map_err(|_| broken)
}

/// The hash of the token that was sent.
fn token(headers: &HeaderMap) -> Result<Vec<u8>, StatusCode> {
    let header = headers.get("authorization").and_then(|value| value.to_str().ok());
    let token = header.and_then(|value| value.strip_prefix("Bearer ")).ok_or(StatusCode::UNAUTHORIZED)?;
    Ok(hashed(token))
}

async fn general(State(pools): State<Pools>, headers: HeaderMap) -> Answer {
    let rows = ask(&pools.reading, GENERAL, &[&token(&headers)?]).await?;
    let row = rows.first().ok_or(StatusCode::UNAUTHORIZED)?;
    let (id, name, timezone): (&str, &str, &str) = (row.get(0), row.get(1), row.get(2));
    Ok(Json(json!({ "id": id, "name": name, "timezone": timezone })))
}

fn setting(row: &Row) -> Value {
    let (key, value, version): (&str, &str, i64) = (row.get(0), row.get(1), row.get(2));
    json!({ "key": key, "value": serde_json::from_str::<Value>(value).unwrap_or_default(), "version": version })
}

async fn show(State(pools): State<Pools>, Path(key): Path<String>, headers: HeaderMap) -> Answer {
    let rows = ask(&pools.reading, SHOW, &[&token(&headers)?, &key]).await?;
    Ok(Json(setting(rows.first().ok_or(StatusCode::NOT_FOUND)?)))
}

async fn list(State(pools): State<Pools>, headers: HeaderMap) -> Answer {
    let rows = ask(&pools.reading, LIST, &[&token(&headers)?]).await?;
    Ok(Json(json!({ "data": rows.iter().map(setting).collect::<Vec<_>>() })))
}

async fn write(
    State(pools): State<Pools>,
    Path(key): Path<String>,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> Answer {
    let value = body.get("value").ok_or(StatusCode::UNPROCESSABLE_ENTITY)?.to_string();
    let at = crate::bench::server::now().micros();
    let rows = ask(&pools.writing, WRITE, &[&token(&headers)?, &key, &value, &at]).await?;
    let version: i64 = rows.first().ok_or(StatusCode::UNAUTHORIZED)?.get(0);
    Ok(Json(json!({ "key": key, "value": body["value"], "version": version })))
}

async fn audit(State(pools): State<Pools>, RawQuery(query): RawQuery, headers: HeaderMap) -> Answer {
    let query = query.unwrap_or_default();
    let asked: HashMap<_, _> = query.split('&').filter_map(|pair| pair.split_once('=')).collect();
    let text = |name: &str| asked.get(name).map(|value| (*value).to_owned());
    let time = |name: &str| asked.get(name).and_then(|value| value.parse::<i64>().ok());
    let token = token(&headers)?;
    let rows = match (text("user"), text("action"), text("outcome"), time("from"), time("to")) {
        (Some(user), None, None, None, None) => ask(&pools.reading, &page(BY_USER), &[&token, &user]).await?,
        (None, Some(action), None, Some(from), Some(to)) => {
            ask(&pools.reading, &page(BY_ACTION_AND_WEEK), &[&token, &action, &from, &to]).await?
        }
        (Some(user), Some(action), Some(outcome), None, None) => {
            ask(&pools.reading, &page(BY_THREE), &[&token, &user, &action, &outcome]).await?
        }
        _ => return Err(StatusCode::UNPROCESSABLE_ENTITY),
    };
    let total: i64 = rows.first().map_or(0, |row| row.get(8));
    Ok(Json(json!({ "data": rows.iter().map(event).collect::<Vec<_>>(), "total": total })))
}

fn event(row: &Row) -> Value {
    let text = |at: usize| -> &str { row.get(at) };
    let (version, at): (i64, i64) = (row.get(0), row.get(1));
    json!({
        "version": version, "timestamp": at, "user": text(2), "action": text(3),
        "resource": { "type": text(4), "id": text(5) }, "outcome": text(6),
    })
}
