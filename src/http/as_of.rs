//! `as_of`: which point in time a GET of settings is asked about. One reading for all of them, and one state to
//! answer from.
//!
//! The past is shown by today's rights: whoever asks needs `history:read`, and what the live answer needs.

use std::ops::Deref;
use std::sync::Arc;

use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::IntoParams;

use crate::area::Area;
use crate::clock::Timestamp;
use crate::event::Version;
use crate::history::description::Focus;
use crate::history::restore::PointInTime;
use crate::http::call::{Call, read_history};
use crate::http::headers::{SETTLED_AS_OF_VERSION, version_value};
use crate::http::page::{Cursors, PageRequest};
use crate::http::problem::Problem;
use crate::http::query::RawQuery;
use crate::settings::roles::permission::Permission;
use crate::store::resident::View;

/// The parameter of every GET of settings, for the OpenAPI document.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct AsOfParameters {
    /// Settings as they were: an RFC 3339 time or a stream's version, all events up to and including it.
    pub as_of: Option<String>,
}

/// A GET's query: the point in time that it asks about, and its other parameters.
#[derive(Default)]
pub struct Asked {
    /// The version asked about; `None` is now.
    pub at: Option<Version>,
    /// The time asked about, where it was one.
    time: Option<Timestamp>,
    /// The parameters beside `as_of`.
    pub query: RawQuery,
}

impl Asked {
    /// The answer with the version that it is about, where that is a past one.
    pub fn mark(&self, response: Response) -> Response {
        marked(self.at, response)
    }
}

/// An area of settings, now or as it was: all that a handler of a GET may answer from.
pub struct Seen<A> {
    area: Point<A>,
    at: Option<Version>,
}

enum Point<A> {
    Live(Arc<View>),
    Past(A),
}

impl<A: Area> Deref for Seen<A> {
    type Target = A;

    fn deref(&self) -> &A {
        match &self.area {
            Point::Live(view) => A::of(view.organization()),
            Point::Past(area) => area,
        }
    }
}

impl<A> Seen<A> {
    /// The answer with the version that it is about, where that is a past one.
    pub fn mark(&self, response: Response) -> Response {
        marked(self.at, response)
    }
}

fn marked(at: Option<Version>, mut response: Response) -> Response {
    if let Some(version) = at {
        response.headers_mut().insert(SETTLED_AS_OF_VERSION, version_value(version));
    }
    response
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Own {
    as_of: Option<String>,
}

impl Call {
    /// Reads a GET's query.
    ///
    /// # Errors
    /// 403 without `history:read`, which is recorded; 422 for what is no point in time, or lies in the future.
    pub async fn asked(&self, query: &RawQuery) -> Result<Asked, Problem> {
        let (own, rest) = query.split(&["as_of"]);
        let (at, time) = self.point(&own, None).await?;
        Ok(Asked { at, time, query: rest })
    }

    /// Reads a list's query. The page's filters still hold `as_of`, so that a cursor goes on with the same past; the
    /// cursor's own version wins, so that all pages are of one state.
    ///
    /// # Errors
    /// As [`Call::asked`], and those of [`Cursors::request`].
    pub async fn asked_page(
        &self,
        cursors: &Cursors,
        scope: &str,
        list: &str,
        query: &RawQuery,
    ) -> Result<(PageRequest, Asked), Problem> {
        let request = match cursors.request(scope, list, query) {
            Ok(request) => request,
            Err(problem) => {
                // A missing permission comes before what is wrong with the page.
                let (own, _) = query.split(&["as_of"]);
                if !own.as_str().is_empty() {
                    self.require(Permission::HistoryRead).await?;
                }
                return Err(problem);
            }
        };
        let (own, rest) = request.filters.split(&["as_of"]);
        let pinned = request.after.as_ref().and_then(|after| after.version);
        let (at, time) = self.point(&own, pinned).await?;
        Ok((request, Asked { at, time, query: rest }))
    }

    async fn point(
        &self,
        own: &RawQuery,
        pinned: Option<Version>,
    ) -> Result<(Option<Version>, Option<Timestamp>), Problem> {
        if own.as_str().is_empty() {
            return Ok((None, None));
        }
        self.require(Permission::HistoryRead).await?;
        let Own { as_of } = own.parse()?;
        let text = as_of.unwrap_or_default();
        let version = self.version_of(&text, parameter("as_of")).await?;
        let time = match text.parse() {
            Ok(PointInTime::Time(time)) => Some(time),
            Ok(PointInTime::Version(_)) | Err(_) => None,
        };
        Ok((Some(pinned.unwrap_or(version)), time))
    }

    /// The time at which what follows from time is told: that asked about, that of the version asked about, or now.
    ///
    /// # Errors
    /// 500 when the history cannot be read.
    pub async fn time_of(&self, asked: &Asked) -> Result<Timestamp, Problem> {
        let version = match (asked.time, asked.at) {
            (Some(time), _) => return Ok(time),
            (None, None) => return Ok(self.app.store.clock().credible_now()),
            (None, Some(0)) => return Ok(Timestamp::EPOCH),
            (None, Some(version)) => version,
        };
        let (store, view) = (self.app.store.clone(), Arc::clone(&self.organization.view));
        let handle = Arc::clone(&self.organization.handle);
        let read = read_history(move || store.recorded(&handle, &view, &[version])).await?;
        Ok(read.first().map_or(Timestamp::EPOCH, |event| event.at))
    }

    /// The version that a text means: a version, or the last one at a time. `refuse` makes the problem of a code and a
    /// message, which knows where the text stood.
    ///
    /// # Errors
    /// 422 for what is neither, or lies in the future.
    pub async fn version_of(
        &self,
        text: &str,
        refuse: impl Fn(&'static str, &'static str) -> Problem,
    ) -> Result<Version, Problem> {
        let point = text.parse().map_err(|_| refuse("invalid", "expected an RFC 3339 time or a version"))?;
        self.version_at(point, refuse).await
    }

    /// The version that a point in time means.
    ///
    /// # Errors
    /// 422 if it lies in the future.
    pub async fn version_at(
        &self,
        point: PointInTime,
        refuse: impl Fn(&'static str, &'static str) -> Problem,
    ) -> Result<Version, Problem> {
        let (store, view) = (self.app.store.clone(), Arc::clone(&self.organization.view));
        let handle = Arc::clone(&self.organization.handle);
        let version = read_history(move || point.version(&store, &handle, &view)).await?;
        version.ok_or_else(|| refuse("in_the_future", "nothing is known of the future"))
    }

    /// Everything at the point in time that was asked about.
    ///
    /// # Errors
    /// 500 when the history cannot be read.
    pub async fn state(&self, asked: &Asked) -> Result<Arc<View>, Problem> {
        match asked.at {
            None => Ok(Arc::clone(&self.organization.view)),
            Some(version) => self.as_of(version).await,
        }
    }

    /// An area of settings at the point in time that was asked about, as far as the focus needs it.
    ///
    /// # Errors
    /// 500 when the history cannot be read.
    pub async fn seen<A: Area>(&self, asked: &Asked, focus: Focus) -> Result<Seen<A>, Problem> {
        let view = Arc::clone(&self.organization.view);
        let Some(version) = asked.at else {
            return Ok(Seen { area: Point::Live(view), at: None });
        };
        let (store, handle) = (self.app.store.clone(), Arc::clone(&self.organization.handle));
        let area = read_history(move || store.area_as_of::<A>(&handle, &view, version, &focus)).await?;
        Ok(Seen { area: Point::Past(area), at: Some(version) })
    }

    /// The area that holds the thing which a path names, at the point in time that the query asks about: what is wrong
    /// with the path comes before what is wrong with the query.
    ///
    /// # Errors
    /// 404 where the thing is not there; and as [`Call::asked`].
    pub async fn seen_at<A: Area>(
        &self,
        query: &RawQuery,
        focus: Focus,
        is_there: impl Fn(&A) -> bool,
    ) -> Result<(Asked, Seen<A>), Problem> {
        let asked = match self.asked(query).await {
            Ok(asked) => asked,
            Err(problem) => return Err(self.behind_path(query, focus, is_there, problem).await),
        };
        let area = self.seen::<A>(&asked, focus).await?;
        if is_there(&area) { Ok((asked, area)) } else { Err(Problem::not_found()) }
    }

    /// What is wrong with a query, unless the path names nothing that is there, which comes first. Where the query says
    /// no point in time that is one, the path names what it names now.
    pub async fn behind_path<A: Area>(
        &self,
        query: &RawQuery,
        focus: Focus,
        is_there: impl Fn(&A) -> bool,
        problem: Problem,
    ) -> Problem {
        if problem.status() == StatusCode::FORBIDDEN {
            return problem;
        }
        let (_, rest) = query.split(&["limit", "cursor"]);
        let asked = self.asked(&rest).await.unwrap_or_default();
        match self.seen::<A>(&asked, focus).await {
            Ok(area) if !is_there(&area) => Problem::not_found(),
            Ok(_) => problem,
            Err(unreadable) => unreadable,
        }
    }

    /// An answer with a resource as it was seen, with its `ETag`.
    pub fn seen_resource<A, T: Serialize>(&self, seen: &Seen<A>, version: Version, body: &T) -> Response {
        seen.mark(self.resource(StatusCode::OK, &self.organization.view, version, body))
    }
}

/// A problem about a query parameter, made of its code and message.
pub fn parameter(name: &'static str) -> impl Fn(&'static str, &'static str) -> Problem {
    move |code, message| Problem::invalid_parameter(name, code, message)
}
