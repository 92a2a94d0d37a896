//! The audit log as it happens: one client's stream, from piece to piece.
//!
//! A stream holds no lock and no thread while it waits. Before each piece it asks anew whether its reader may still
//! read, of the newest state: what ended a session, a membership or a permission ends the stream.

use std::pin::Pin;
use std::sync::Arc;

use serde::Serialize;
use tokio::sync::watch;

use crate::audit::row::Rows;
use crate::event::Version;
use crate::http::app::App;
use crate::http::auth::still_may;
use crate::http::caller::{OrganizationScope, Proof};
use crate::http::ndjson::BrokenOff;
use crate::http::sse::{COMMENT_EVERY, Start, Text};
use crate::http::streams::{Kind, Slot};
use crate::log::filter::Filter;
use crate::settings::roles::permission::Permission;
use crate::store::Store;
use crate::store::history::HistoryError;
use crate::store::resident::{Handle, View};

/// A piece has at most so many rows,
const PIECE_ROWS: usize = 4;
/// and no further row behind so many bytes: a reader that has stopped holds one piece, and there may be a thousand.
const PIECE_BYTES: usize = 1 << 10;

/// One client's stream.
pub struct Stream {
    app: App,
    /// Whose it is. Not the caller itself, which holds the organization's state of when the stream began.
    proof: Proof,
    handle: Arc<Handle>,
    filter: Filter,
    /// What matches up to here was told.
    after: Version,
    opening: Option<Text>,
    news: watch::Receiver<Version>,
    /// Ends when nothing was told for so long that a comment is due.
    silence: Pin<Box<dyn Future<Output = ()> + Send>>,
    _slot: Slot,
}

/// What a client is told that knows a version which this stream does not have.
#[derive(Serialize)]
struct Reset {
    /// The stream's version now: what was read before is void, what follows is told.
    version: Version,
}

impl Stream {
    /// A stream that begins at `start`.
    pub fn begin(
        app: &App,
        proof: Proof,
        organization: &OrganizationScope,
        filter: Filter,
        start: Start,
        slot: Slot,
    ) -> Self {
        let handle = Arc::clone(&organization.handle);
        let news = handle.subscribe();
        let (now, epoch) = (organization.view.version(), app.store.epoch());
        let after = if let Start::After(version) = start { version.min(now) } else { now };
        let is_known =
            !matches!(start, Start::Reset) && !matches!(start, Start::After(version) if version > now);
        let mut opening = Text::opening(epoch, after);
        if !is_known {
            opening.push(epoch, now, "reset", &Reset { version: now });
        }
        let silence = Box::pin(app.store.clock().sleep(COMMENT_EVERY));
        let app = app.clone();
        Self { app, proof, handle, filter, after, opening: Some(opening), news, silence, _slot: slot }
    }

    /// Waits for the next piece; `None` at the stream's end.
    ///
    /// # Errors
    /// When the history cannot be read.
    pub async fn next(mut self) -> Result<Option<(Vec<u8>, Self)>, BrokenOff> {
        if let Some(opening) = self.opening.take() {
            return Ok(Some(self.told(opening)));
        }
        loop {
            self.news.mark_unchanged();
            if !still_may(&self.app, &self.handle, self.proof, Permission::AuditRead) {
                return Ok(None);
            }
            let entries = self.entries().await?;
            if !entries.is_empty() {
                return Ok(Some(self.told(entries)));
            }
            tokio::select! {
                () = self.app.streams.ended() => return Ok(None),
                _ = self.news.changed() => {}
                () = &mut self.silence => {
                    if !still_may(&self.app, &self.handle, self.proof, Permission::AuditRead) {
                        return Ok(None);
                    }
                    return Ok(Some(self.told(Text::comment())));
                }
            }
        }
    }

    fn told(mut self, text: Text) -> (Vec<u8>, Self) {
        self.silence = Box::pin(self.app.store.clock().sleep(COMMENT_EVERY));
        (text.into_bytes(), self)
    }

    /// What is new, as far as one piece holds it.
    async fn entries(&mut self) -> Result<Text, BrokenOff> {
        let view = self.handle.view();
        if view.version() <= self.after {
            return Ok(Text::default());
        }
        let (store, handle) = (self.app.store.clone(), Arc::clone(&self.handle));
        let (filter, after) = (self.filter.clone(), self.after);
        let read = move || entries(&store, &handle, &view, &filter, after);
        let (text, after) = self.app.streams.read(Kind::Stream, read).await?;
        self.after = after;
        Ok(text)
    }
}

/// The rows after a version as events, and the version up to which they are whole.
fn entries(
    store: &Store,
    handle: &Arc<Handle>,
    view: &Arc<View>,
    filter: &Filter,
    after: Version,
) -> Result<(Text, Version), HistoryError> {
    let versions = store.versions_after(handle, view, filter, after, PIECE_ROWS)?;
    let rows = Rows::new(store, handle, view).of(&versions)?;
    let mut text = Text::default();
    for row in &rows {
        if text.len() >= PIECE_BYTES {
            let last = row.version - 1;
            return Ok((text, last));
        }
        text.push(store.epoch(), row.version, "entry", row);
    }
    let last = if versions.len() < PIECE_ROWS { Some(view.version()) } else { versions.last().copied() };
    Ok((text, last.unwrap_or(after)))
}
