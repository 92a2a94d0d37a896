//! Word of changes: one program's stream about an environment, from piece to piece.
//!
//! Before each piece it asks anew whether the program may still read there, of the newest state: what ends its key or its
//! rights, or the environment, ends the stream.

use std::pin::Pin;
use std::sync::Arc;

use serde::Serialize;
use tokio::sync::watch;

use crate::ctx::seen::{Place, PlaceId};
use crate::event::Version;
use crate::http::app::App;
use crate::http::auth::still;
use crate::http::call::Call;
use crate::http::caller::Proof;
use crate::http::ndjson::BrokenOff;
use crate::http::sse::{COMMENT_EVERY, Start, Text};
use crate::http::streams::Slot;
use crate::settings::customers::projection::Status;
use crate::settings::general::own_key;
use crate::settings::roles::access::Grants;
use crate::settings::roles::permission::Permission;
use crate::store::resident::{Handle, View};

/// One program's stream.
pub struct Watch {
    app: App,
    proof: Proof,
    handle: Arc<Handle>,
    place: PlaceId,
    /// What the client knows: what is seen at this version of the stream.
    told: Told,
    opening: Option<Text>,
    news: watch::Receiver<Version>,
    /// Ends when nothing was told for so long that a comment is due.
    silence: Pin<Box<dyn Future<Output = ()> + Send>>,
    _slot: Slot,
}

/// What a client knows.
enum Told {
    /// What is seen has this version.
    Version(Arc<str>),
    /// Something that may have changed since.
    Outdated,
}

/// That something of what is seen is another.
#[derive(Serialize)]
struct Changed<'a> {
    /// The version of what is seen now.
    version: &'a str,
}

impl Watch {
    /// A stream that begins at `start`. `now` is the stream's version of the last change to what is seen, and the
    /// version of that.
    pub fn begin(
        app: &App,
        call: &Call,
        place: PlaceId,
        (changed, version): (Version, Arc<str>),
        start: Start,
        slot: Slot,
    ) -> Self {
        let handle = Arc::clone(&call.organization.handle);
        let news = handle.subscribe();
        let (now, epoch) = (call.organization.view.version(), app.store.epoch());
        let mut opening = Text::opening(epoch, now);
        let told = match start {
            Start::Now => Told::Version(version),
            Start::After(known) if known <= now && changed <= known => Told::Version(version),
            Start::After(known) if known <= now => Told::Outdated,
            Start::After(_) | Start::Reset => {
                opening.push(epoch, now, "reset", &Changed { version: &version });
                Told::Version(version)
            }
        };
        let silence = Box::pin(app.store.clock().sleep(COMMENT_EVERY));
        let (app, proof, opening) = (app.clone(), call.caller.proof(), Some(opening));
        Self { app, proof, handle, place, told, opening, news, silence, _slot: slot }
    }

    /// Waits for the next piece; `None` at the stream's end.
    ///
    /// # Errors
    /// When the organization's key is not to be had.
    pub async fn next(mut self) -> Result<Option<(Vec<u8>, Self)>, BrokenOff> {
        if let Some(opening) = self.opening.take() {
            return Ok(Some(self.tell(opening)));
        }
        loop {
            self.news.mark_unchanged();
            let view = self.handle.view();
            if !self.may() {
                return Ok(None);
            }
            if let Some(version) = self.changed(&view)? {
                let mut text = Text::default();
                text.push(self.app.store.epoch(), view.version(), "change", &Changed { version: &version });
                self.told = Told::Version(version);
                return Ok(Some(self.tell(text)));
            }
            drop(view);
            tokio::select! {
                () = self.app.streams.ended() => return Ok(None),
                _ = self.news.changed() => {}
                () = &mut self.silence => {
                    let may = self.may();
                    return Ok(may.then(|| self.tell(Text::comment())));
                }
            }
        }
    }

    fn may(&self) -> bool {
        still_reads_in(&self.app, &self.handle, self.proof, self.place)
    }

    /// The version of what is seen, if the client knows another.
    fn changed(&self, view: &View) -> Result<Option<Arc<str>>, BrokenOff> {
        let Some(place) = Place::find(view.organization(), self.place) else { return Ok(None) };
        let (store, ctx) = (&self.app.store, self.app.store.ctx());
        let version = match ctx.version(view, place) {
            Some(known) => known,
            None => {
                let under = own_key(view.stream, &view.organization().general, store.ring());
                let under = under.map_err(|_| BrokenOff)?;
                ctx.version_of(&under, view, place)
            }
        };
        Ok(match &self.told {
            Told::Version(told) if *told == version => None,
            Told::Version(_) | Told::Outdated => Some(version),
        })
    }

    fn tell(mut self, text: Text) -> (Vec<u8>, Self) {
        self.silence = Box::pin(self.app.store.clock().sleep(COMMENT_EVERY));
        (text.into_bytes(), self)
    }
}

/// Whether a credential may still read in a place, of the newest state: in the environment, and for the customer, who is not
/// suspended.
pub(super) fn still_reads_in(app: &App, handle: &Handle, proof: Proof, place: PlaceId) -> bool {
    let (environment, customer) = place;
    let is_active = |id| {
        let view = handle.view();
        let found = view.organization().customers.get(id);
        found.is_some_and(|customer| customer.status == Status::Active)
    };
    let reads = |grants: &Grants| match customer {
        None => grants.customers.is_none(),
        Some(customer) => grants.reaches(customer) && is_active(customer),
    };
    still(app, handle, proof)
        .is_some_and(|grants| grants.allows_in(Permission::CtxRead, environment) && reads(&grants))
}
