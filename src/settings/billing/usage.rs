//! `/v1/billing/usage`: how much there was of what is metered, span by span in the organization's time zone.

use std::sync::Arc;

use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::audit::query::point_in_time;
use crate::clock::{DAY_SECONDS, Timestamp};
use crate::event::{Event, Recorded};
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
    let (store, view) = (call.app.store.clone(), Arc::clone(&call.organization.view));
    let handle = Arc::clone(&call.organization.handle);
    let data = read_history(move || {
        if meter.is_counted() {
            counted(&store, &handle, &view, meter, spans)
        } else {
            spans.into_iter().map(|span| at_end(&store, &handle, &view, meter, span)).collect()
        }
    })
    .await?;
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

/// What is counted, by the events that say so and by what is not recorded yet.
fn counted(
    store: &Store,
    handle: &Handle,
    view: &View,
    meter: Meter,
    mut spans: Vec<SpanUsage>,
) -> Result<Vec<SpanUsage>, HistoryError> {
    let (Some(first), Some(last)) = (spans.first(), spans.last()) else { return Ok(spans) };
    let filter = Filter {
        actions: vec![ActionPattern::Exact("billing.usage".to_owned())],
        from: Some(first.start),
        to: Some(last.end.plus_seconds(RECORDED_WITHIN_SECONDS)),
        ..Filter::default()
    };
    let open = handle.requests().unrecorded();
    let versions = store.versions_after(handle, view, &filter, 0, usize::MAX)?;
    let mut add = |start: Timestamp, count: u64| {
        let number = spans.partition_point(|span| span.end <= start);
        if let Some(span) = spans.get_mut(number).filter(|span| span.start <= start) {
            span.used += count;
        }
    };
    for recorded in store.recorded(handle, view, &versions)? {
        if let Some((start, count)) = usage(&recorded, meter) {
            add(start, count);
        }
    }
    open.into_iter().for_each(|(start, count)| add(start, count));
    Ok(spans)
}

fn usage(recorded: &Recorded, meter: Meter) -> Option<(Timestamp, u64)> {
    match &recorded.event {
        Event::Billing(BillingEvent::UsageRecorded(usage)) if usage.meter == meter => {
            Some((usage.start, recorded.count.unwrap_or(1)))
        }
        _ => None,
    }
}

/// How much there was at the end of a span.
fn at_end(
    store: &Store,
    handle: &Handle,
    view: &View,
    meter: Meter,
    span: SpanUsage,
) -> Result<SpanUsage, HistoryError> {
    let last = Timestamp::from_micros(span.end.micros() - 1).min(store.clock().credible_now());
    let version = PointInTime::Time(last).version(store, handle, view)?.unwrap_or(view.version());
    let used = match meter {
        Meter::People => {
            let focus = Focus::Actions(&["person.join", "person.remove", "person.erase"]);
            store.area_as_of::<People>(handle, view, version, &focus)?.count()
        }
        Meter::Customers => {
            let focus = Focus::Actions(&["customer.create", "customer.delete", "customer.erase"]);
            store.area_as_of::<Customers>(handle, view, version, &focus)?.len()
        }
        Meter::Environments => {
            let focus = Focus::Actions(&["environment.create", "environment.delete"]);
            store.area_as_of::<Environments>(handle, view, version, &focus)?.count()
        }
        Meter::Secrets => {
            let focus = Focus::Actions(&[
                "secret.create",
                "secret.delete",
                "secret.undelete",
                "secret.destroy",
                "environment.delete",
                "customer.delete",
                "customer.erase",
            ]);
            store.area_as_of::<Secrets>(handle, view, version, &focus)?.live()
        }
        Meter::ApiKeys => {
            let focus = Focus::Actions(&["api_key.create", "api_key.revoke"]);
            store.area_as_of::<ApiKeys>(handle, view, version, &focus)?.count()
        }
        Meter::ApiRequests => 0,
    };
    Ok(SpanUsage { used: used as u64, ..span })
}
