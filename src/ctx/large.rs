//! An environment that is too large to be answered in one piece: its values are opened as the client takes them, and
//! nothing of them is kept.

use std::sync::Arc;

use zeroize::Zeroizing;

use crate::ctx::access::Access;
use crate::ctx::http::InCtx;
use crate::ctx::memory::json;
use crate::ctx::seen::{self, PlaceId};
use crate::ctx::watch::still_reads_in;
use crate::http::app::App;
use crate::http::caller::Proof;
use crate::http::ndjson::BrokenOff;
use crate::http::problem::Problem;
use crate::http::streams::{Kind, Slot};
use crate::ids::{ConnectionId, SecretId};
use crate::organization::Organization;
use crate::seal::keyring::KeyError;
use crate::settings::environments::projection::Environment;
use crate::settings::secrets::value_field;
use crate::store::Store;
use crate::store::resident::{Handle, View};

/// A piece ends behind so many bytes.
const PIECE_BYTES: usize = 64 << 10;

/// What is still to be told of an environment.
pub struct Large {
    app: App,
    handle: Arc<Handle>,
    proof: Proof,
    view: Arc<View>,
    place: PlaceId,
    version: Arc<str>,
    left: Vec<Item>,
    _slot: Slot,
}

/// A part of the answer; the last one is told first.
enum Item {
    Text(Zeroizing<Vec<u8>>),
    Config(String),
    Secret(SecretId),
    Connection(ConnectionId),
}

impl Large {
    /// Begins the answer, once it is recorded that all of it is read.
    ///
    /// # Errors
    /// 429 where the key has as many long answers open as it may; when the read cannot be recorded.
    pub async fn begin(app: &App, at: &InCtx) -> Result<Self, Problem> {
        let proof = at.call.caller.proof();
        let slot = app.streams.open(Kind::Export, proof)?;
        let version = at.version(app).await?;
        let view = Arc::clone(&at.call.organization.view);
        let secrets = seen::secrets(view.organization(), at.place());
        let connections = seen::connections(view.organization(), at.place());
        at.note(app, &version, &seen::values(&secrets, &connections)).await?;
        let text = |text: &str| Item::Text(Zeroizing::new(text.as_bytes().to_vec()));
        let slug = serde_json::Value::from(at.environment.slug.as_str());
        let head = format!("{{\"environment\":{slug},\"version\":\"{version}\",\"config\":{{");
        let config = at.environment.config.keys().map(|name| Item::Config(name.clone()));
        let secrets = secrets.values().map(|readable| Item::Secret(readable.secret.id));
        let mut left = vec![text(&head)];
        left.extend(separated(config));
        left.push(text("},\"secrets\":{"));
        left.extend(separated(secrets));
        left.push(text("},\"connections\":{"));
        let connections = connections.values().map(|(connection, _)| Item::Connection(connection.id));
        left.extend(separated(connections));
        left.push(text("}}"));
        left.reverse();
        let handle = Arc::clone(&at.call.organization.handle);
        let place = at.place().id();
        Ok(Self { app: app.clone(), handle, proof, view, place, version, left, _slot: slot })
    }

    /// The version of what is told.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The next piece; `None` at the end.
    ///
    /// # Errors
    /// When the caller may not read them any more; when a value does not open: it was destroyed since.
    pub async fn next(mut self) -> Result<Option<(Zeroizing<Vec<u8>>, Self)>, BrokenOff> {
        if !still_reads_in(&self.app, &self.handle, self.proof, self.place) {
            return Err(BrokenOff);
        }
        let streams = self.app.streams.clone();
        streams
            .read(Kind::Export, move || {
                // With room for the largest value escaped behind a full piece: it never grows.
                let mut piece = Zeroizing::new(Vec::with_capacity(8 * PIECE_BYTES));
                while piece.len() < PIECE_BYTES {
                    let Some(item) = self.left.pop() else { break };
                    piece.extend_from_slice(&self.told(item)?);
                }
                Ok::<_, KeyError>((!piece.is_empty()).then_some((piece, self)))
            })
            .await
    }

    fn told(&self, item: Item) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        let organization = self.view.organization();
        let environment = organization.environments.get(self.place.0);
        Ok(match item {
            Item::Text(text) => text,
            Item::Config(name) => config(environment, &name),
            Item::Secret(id) => secret(&self.app.store, &self.view, organization, id)?,
            Item::Connection(id) => connection(&self.app.store, &self.view, organization, id)?,
        })
    }
}

/// Items with commas between them.
fn separated(items: impl Iterator<Item = Item>) -> impl Iterator<Item = Item> {
    items.enumerate().flat_map(|(at, item)| {
        let comma = (at > 0).then(|| Item::Text(Zeroizing::new(vec![b','])));
        comma.into_iter().chain([item])
    })
}

fn config(environment: Option<&Environment>, name: &str) -> Zeroizing<Vec<u8>> {
    let value = environment.and_then(|environment| environment.config.get(name));
    let value = value.map_or("null", |value| &value.value);
    Zeroizing::new(format!("\"{name}\":{value}").into_bytes())
}

fn secret(
    store: &Store,
    view: &View,
    organization: &Organization,
    id: SecretId,
) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let found = organization.secrets.get(id).and_then(|secret| Some((secret, secret.value.as_ref()?)));
    let Some((secret, value)) = found else { return Ok(Zeroizing::default()) };
    let key = store.ring().data_key(view.stream, value.sealed.key, value.commitment)?;
    let plain = key.open(&value_field(view.stream, &id.to_string()), &value.sealed)?;
    let value = json(&plain.as_str().unwrap_or_default());
    let mut told = Zeroizing::new(Vec::with_capacity(secret.name.len() + value.len() + 3));
    told.extend_from_slice(format!("\"{}\":", secret.name).as_bytes());
    told.extend_from_slice(&value);
    Ok(told)
}

fn connection(
    store: &Store,
    view: &View,
    organization: &Organization,
    id: ConnectionId,
) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let found = organization.connections.get(id).and_then(|found| Some((found, found.usable()?)));
    let Some(held) = found else { return Ok(Zeroizing::default()) };
    let access = json(&Access::open(store.ring(), view.stream, held)?);
    let name = &held.0.name;
    let mut told = Zeroizing::new(Vec::with_capacity(name.len() + access.len() + 3));
    told.extend_from_slice(format!("\"{name}\":").as_bytes());
    told.extend_from_slice(&access);
    Ok(told)
}
