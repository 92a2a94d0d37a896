//! `/v1/billing/usage`: how much there was of what is metered, span by span in the organization's time zone.

use std::sync::Arc;

use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::area::Area;
use crate::audit::query::point_in_time;
use crate::clock::{DAY_SECONDS, Timestamp};
use crate::event::{Event, Outcome, Recorded, Version};
use crate::history::description::Focus;
use crate::history::restore::PointInTime;
use crate::http::call::{Call, read_history};
use crate::http::problem::{Problem, ProblemBody};
use crate::http::query::RawQuery;
use crate::log::filter::{ActionPattern, Filter};
use crate::settings::api_keys::projection::ApiKeys;
use crate::settings::billing::event::BillingEvent;
use crate::settings::billing::period::{Granularity, Period};
use crate::settings::billing::value::Meter;
use crate::settings::connections::projection::Connections;
use crate::settings::customers::projection::Customers;
use crate::settings::environments::projection::Environments;
use crate::settings::people::projection::People;
use crate::settings::secrets::projection::Secrets;
use crate::store::Store;
use crate::store::history::HistoryError;
use crate::store::resident::{Handle, View};

/// The most spans of what is counted: a year of days, six weeks of hours.
const SPANS_MAX: usize = 1_000;
/// The most spans of what there is at a time: each is a fold from the one before.
const LEVELS_MAX: usize = 100;
/// How far back what is counted is told: each hour in it may be an event that is read.
const COUNTED_SECONDS_MAX: i64 = 400 * DAY_SECONDS;
/// How many events are in memory at once while they are summed.
const READ_AT_ONCE: usize = 256;
/// An hour is recorded soon after it has ended; only where the store refused for so long is it told with none.
const RECORDED_WITHIN_SECONDS: i64 = 2 * DAY_SECONDS;

/// What is asked for.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct UsageParameters {
    /// What is metered.
    meter: Meter,
    /// Not before: an RFC 3339 time, or a date in the organization's time zone; else the beginning of this month.
    from: Option<String>,
    /// Before: likewise; else now.
    to: Option<String>,
    /// How long a span is; else a day.
    granularity: Option<Granularity>,
}

/// How much there was of what is metered.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = BillingUsage)]
pub struct UsageBody {
    /// What is metered.
    pub meter: Meter,
    /// How long a span is.
    pub granularity: Granularity,
    /// The spans, oldest first: hours, days or months by the clocks of the organization's time zone.
    pub data: Vec<SpanUsage>,
}

/// One span.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct SpanUsage {
    /// Its first moment.
    pub start: Timestamp,
    /// The first moment after it.
    pub end: Timestamp,
    /// Of what is counted, how much was in it; else how much there was at its end.
    pub used: u64,
}

/// How much there was of what is metered, over time.
#[utoipa::path(get, path = "/v1/billing/usage", tag = "billing", params(UsageParameters), responses(
    (status = 200, body = UsageBody), (status = "4XX", body = ProblemBody)))]
pub async fn show(call: Call, query: RawQuery) -> Result<Response, Problem> {
    let UsageParameters { meter, from, to, granularity } = query.parse()?;
    let granularity = granularity.unwrap_or_default();
    let founded = call.settings().general.founded().ok_or_else(Problem::not_found)?;
    let (timezone, now) = (founded.timezone.clone(), call.app.store.clock().credible_now());
    let point = |name, text: Option<String>, or: Timestamp| match text {
        None => Ok(or),
        Some(text) => point_in_time(&text, &timezone).ok_or_else(|| {
            Problem::invalid_parameter(name, "invalid", "expected an RFC 3339 time or a date")
        }),
    };
    let from = point("from", from, Period::containing(&timezone, now).start)?;
    let to = point("to", to, now)?;
    let most = if meter.is_counted() { SPANS_MAX } else { LEVELS_MAX };
    let spans = spans(&timezone, granularity, from, to.min(now), most + 1);
    let is_long = meter.is_counted() && to.seconds_since(from) > COUNTED_SECONDS_MAX;
    if spans.len() > most || is_long {
        let message = "too many spans at once: ask for less time, or for longer spans";
        return Err(Problem::invalid_parameter("from", "too_many", message));
    }
    let measured = Measured {
        store: call.app.store.clone(),
        handle: Arc::clone(&call.organization.handle),
        view: Arc::clone(&call.organization.view),
        spans,
    };
    let data = read_history(move || measured.by(meter)).await?;
    Ok(call.list(&call.organization.view, &UsageBody { meter, granularity, data }))
}

/// The spans between two times, at most so many; the first and the last one whole.
fn spans(
    timezone: &str,
    granularity: Granularity,
    from: Timestamp,
    to: Timestamp,
    most: usize,
) -> Vec<SpanUsage> {
    let mut spans = Vec::new();
    let mut at = from;
    while at < to && spans.len() < most {
        let (start, end) = granularity.span(timezone, at);
        // Where clocks go back by less than a span, the next one begins within this.
        let start = spans.last().map_or(start, |last: &SpanUsage| last.end.max(start));
        spans.push(SpanUsage { start, end, used: 0 });
        at = end;
    }
    spans
}

/// Spans to be measured, in one organization. All of it blocks.
struct Measured {
    store: Store,
    handle: Arc<Handle>,
    view: Arc<View>,
    spans: Vec<SpanUsage>,
}

impl Measured {
    fn by(self, meter: Meter) -> Result<Vec<SpanUsage>, HistoryError> {
        match meter {
            Meter::People => self.at_ends(&["person.join", "person.remove", "person.erase"], People::count),
            Meter::Customers => {
                self.at_ends(&["customer.create", "customer.delete", "customer.erase"], Customers::len)
            }
            Meter::Environments => {
                self.at_ends(&["environment.create", "environment.delete"], Environments::count)
            }
            Meter::Secrets => {
                let actions = &[
                    "secret.create",
                    "secret.delete",
                    "secret.undelete",
                    "secret.destroy",
                    "environment.delete",
                    "customer.delete",
                    "customer.erase",
                ];
                self.at_ends(actions, Secrets::live)
            }
            Meter::ApiKeys => self.at_ends(&["api_key.create", "api_key.revoke"], ApiKeys::count),
            Meter::Connections => {
                let actions = &["connection.create", "connection.revoke", "customer.erase"];
                self.at_ends(actions, Connections::total)
            }
            Meter::Executions => self.events("execution.start"),
            Meter::ApiRequests => self.requests(),
        }
    }

    /// How much of an area there was at the end of each span, as these actions made it.
    fn at_ends<A: Area>(
        mut self,
        actions: &'static [&'static str],
        count: fn(&A) -> usize,
    ) -> Result<Vec<SpanUsage>, HistoryError> {
        let (store, handle, view) = (&self.store, &self.handle, &self.view);
        let focus = Focus::Actions(actions);
        let mut before: Option<(A, Version)> = None;
        for span in &mut self.spans {
            let last = Timestamp::from_micros(span.end.micros() - 1).min(store.clock().credible_now());
            let version = PointInTime::Time(last).version(store, handle, view)?.unwrap_or(view.version());
            // A large area is not kept in memory: it is read once, and from there on carried from span to span.
            let area = match before.take() {
                Some(before) if before.1 == version => before.0,
                Some(before) if version < view.version() => {
                    store.carried_on(handle, view, before, version, &focus)?
                }
                _ => store.area_as_of::<A>(handle, view, version, &focus)?,
            };
            span.used = count(&area) as u64;
            before = Some((area, version));
        }
        Ok(self.spans)
    }

    /// How many events of an action there were in each span: the index knows, and none is read.
    fn events(mut self, action: &str) -> Result<Vec<SpanUsage>, HistoryError> {
        for span in &mut self.spans {
            let within = Filter { from: Some(span.start), to: Some(span.end), ..of(action) };
            span.used = self.store.versions(&self.handle, &self.view, &within, None, 0)?.total;
        }
        Ok(self.spans)
    }

    /// Requests of programs, by the hours that are recorded and by what is not recorded yet.
    fn requests(mut self) -> Result<Vec<SpanUsage>, HistoryError> {
        let (Some(first), Some(last)) = (self.spans.first(), self.spans.last()) else {
            return Ok(self.spans);
        };
        let filter = Filter {
            from: Some(first.start),
            to: Some(last.end.plus_seconds(RECORDED_WITHIN_SECONDS)),
            ..of("billing.usage")
        };
        let open = self.handle.requests().unrecorded();
        let versions = self.store.versions_after(&self.handle, &self.view, &filter, 0, usize::MAX)?;
        for versions in versions.chunks(READ_AT_ONCE) {
            let recorded = self.store.recorded(&self.handle, &self.view, versions)?;
            recorded.iter().filter_map(requests_of).for_each(|counted| self.add(counted));
        }
        open.into_iter().for_each(|counted| self.add(counted));
        Ok(self.spans)
    }

    /// Adds what was counted in an hour to the span that the hour is in.
    fn add(&mut self, (start, count): (Timestamp, u64)) {
        let number = self.spans.partition_point(|span| span.end <= start);
        if let Some(span) = self.spans.get_mut(number).filter(|span| span.start <= start) {
            span.used += count;
        }
    }
}

/// The events of an action.
fn of(action: &str) -> Filter {
    Filter {
        actions: vec![ActionPattern::Exact(action.to_owned())],
        outcomes: vec![Outcome::Success],
        ..Filter::default()
    }
}

/// The hour that an event says requests were counted in, and how many.
fn requests_of(recorded: &Recorded) -> Option<(Timestamp, u64)> {
    match &recorded.event {
        Event::Billing(BillingEvent::UsageRecorded(usage)) if usage.meter == Meter::ApiRequests => {
            Some((usage.start, recorded.count.unwrap_or(1)))
        }
        _ => None,
    }
}
