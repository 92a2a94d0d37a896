//! What the server measures of itself, for Prometheus. No label ever holds what a client chose or sent:
//! routes are templates, statuses are classes, and no organization, person or address is named.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::http::{Method, StatusCode};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric as _};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

/// The route of a request that no route matched.
pub const UNMATCHED: &str = "unmatched";

/// The server's metrics. A clone is the same metrics.
#[derive(Clone)]
pub struct Metrics(Arc<Inner>);

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    method: &'static str,
    route: String,
    status: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LongAnswerLabels {
    kind: &'static str,
}

struct Inner {
    registry: Registry,
    requests: Family<RequestLabels, Histogram, fn() -> Histogram>,
    connections: Gauge,
    connections_refused: Counter,
    connections_gave_way: Counter,
    connections_timed_out: Counter,
    certificates_refused: Counter,
    batch_commands: Histogram,
    batch_events: Histogram,
    sync: Histogram,
    queue_length: Gauge,
    queue_refused: Counter,
    commit_lasting: Gauge<f64, AtomicU64>,
    passwords_waiting: Gauge,
    passwords_refused: Counter,
    long_answers: Family<LongAnswerLabels, Gauge>,
    streams_in_memory: Gauge,
    disk_free: Gauge<u64, AtomicU64>,
    denials_unrecorded: Counter,
    key_uses_unrecorded: Counter,
    api_requests_unpinned: Counter,
    logins_throttled: Counter,
    mails_waiting: Gauge,
    mails_sent: Counter,
    mails_failed: Counter,
    mails_withheld: Counter,
    secrets_expired: Counter,
}

impl Metrics {
    /// Metrics that have measured nothing.
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("settled");
        let requests = Family::new_with_constructor(request_seconds as fn() -> Histogram);
        let inner = Inner {
            connections: register(&mut registry, "connections", "Open connections", Gauge::default()),
            connections_refused: register(
                &mut registry,
                "connections_refused",
                "Connections refused because too many were open",
                Counter::default(),
            ),
            connections_gave_way: register(
                &mut registry,
                "connections_gave_way",
                "Connections without a request that were closed because others came",
                Counter::default(),
            ),
            connections_timed_out: register(
                &mut registry,
                "connections_timed_out",
                "Connections closed in a request or an answer that its client neither sent nor took",
                Counter::default(),
            ),
            certificates_refused: register(
                &mut registry,
                "certificates_refused",
                "Changed certificates that could not be used",
                Counter::default(),
            ),
            batch_commands: register(
                &mut registry,
                "batch_commands",
                "Commands decided in one commit",
                Histogram::new(exponential_buckets(1.0, 2.0, 12)),
            ),
            batch_events: register(
                &mut registry,
                "batch_events",
                "Events appended in one commit",
                Histogram::new(exponential_buckets(1.0, 2.0, 16)),
            ),
            // From 16 µs, a fast disk with a cache of its own, to half a second, a disk in trouble.
            sync: register_seconds(
                &mut registry,
                "sync",
                "Time to make one commit durable",
                Histogram::new(exponential_buckets(0.000_016, 2.0, 16)),
            ),
            queue_length: register(
                &mut registry,
                "queue_length",
                "Commands waiting for the writer",
                Gauge::default(),
            ),
            queue_refused: register(
                &mut registry,
                "queue_refused",
                "Commands refused because the queue was full",
                Counter::default(),
            ),
            commit_lasting: {
                let gauge = Gauge::default();
                let help = "How long the commit under way has taken; 0 between two";
                registry.register_with_unit("commit_lasting", help, Unit::Seconds, gauge.clone());
                gauge
            },
            passwords_waiting: register(
                &mut registry,
                "passwords_waiting",
                "Passwords waiting to be hashed",
                Gauge::default(),
            ),
            passwords_refused: register(
                &mut registry,
                "passwords_refused",
                "Passwords refused because too many were waiting",
                Counter::default(),
            ),
            long_answers: register(
                &mut registry,
                "long_answers",
                "Streams and exports that are open",
                Family::default(),
            ),
            streams_in_memory: register(
                &mut registry,
                "streams_in_memory",
                "Streams whose state is in memory",
                Gauge::default(),
            ),
            disk_free: register(
                &mut registry,
                "disk_free_bytes",
                "Free space where the store lies, in bytes",
                Gauge::default(),
            ),
            denials_unrecorded: register(
                &mut registry,
                "denials_unrecorded",
                "Denials and failures that were only counted, not recorded",
                Counter::default(),
            ),
            api_requests_unpinned: register(
                &mut registry,
                "api_requests_unpinned",
                "Organizations whose requests may be forgotten before they are recorded, since too many have some",
                Counter::default(),
            ),
            key_uses_unrecorded: register(
                &mut registry,
                "key_uses_unrecorded",
                "Uses of API keys that were only counted here, because too many keys were in use",
                Counter::default(),
            ),
            logins_throttled: register(
                &mut registry,
                "logins_throttled",
                "Attempts to log in that came too soon",
                Counter::default(),
            ),
            mails_waiting: register(
                &mut registry,
                "mails_waiting",
                "Mails waiting to be sent",
                Gauge::default(),
            ),
            mails_sent: register(&mut registry, "mails_sent", "Mails that were sent", Counter::default()),
            mails_failed: register(
                &mut registry,
                "mails_failed",
                "Mails that were given up",
                Counter::default(),
            ),
            mails_withheld: register(
                &mut registry,
                "mails_withheld",
                "Mails that were not written, since their address had its share of the hour",
                Counter::default(),
            ),
            secrets_expired: register(
                &mut registry,
                "secrets_expired",
                "Secrets whose time came at which they were said to expire",
                Counter::default(),
            ),
            requests: {
                registry.register_with_unit(
                    "request",
                    "Time to answer a request",
                    Unit::Seconds,
                    requests.clone(),
                );
                requests
            },
            registry: {
                registry.register_collector(Box::new(Process));
                registry
            },
        };
        Self(Arc::new(inner))
    }

    /// A request was answered. `route` is the route's template, or [`UNMATCHED`].
    pub fn request(&self, method: &Method, route: &str, status: StatusCode, took: Duration) {
        let labels =
            RequestLabels { method: method_label(method), route: route.to_owned(), status: class(status) };
        self.0.requests.get_or_create(&labels).observe(took.as_secs_f64());
    }

    /// A connection was accepted. It counts as open until what this returns is dropped.
    pub fn connection(&self) -> OpenConnection {
        self.0.connections.inc();
        OpenConnection(self.0.connections.clone())
    }

    /// A connection was refused because too many were open.
    pub fn connection_refused(&self) {
        self.0.connections_refused.inc();
    }

    /// A connection without a request was closed because another one came.
    pub fn connection_gave_way(&self) {
        self.0.connections_gave_way.inc();
    }

    /// A connection was closed because its client sent nothing of a request, or took nothing of an answer, for too long.
    pub fn connection_timed_out(&self) {
        self.0.connections_timed_out.inc();
    }

    /// The certificate's files changed, and what they hold cannot be used.
    pub fn certificate_refused(&self) {
        self.0.certificates_refused.inc();
    }

    /// A batch was committed: how many commands and events, and how long it took to make it durable.
    pub fn batch(&self, commands: usize, events: usize, sync: Duration) {
        self.0.batch_commands.observe(as_f64(commands));
        self.0.batch_events.observe(as_f64(events));
        self.0.sync.observe(sync.as_secs_f64());
    }

    /// So many commands wait for the writer.
    pub fn queue_length(&self, commands: usize) {
        self.0.queue_length.set(as_i64(commands));
    }

    /// A command was refused because the queue was full.
    pub fn queue_refused(&self) {
        self.0.queue_refused.inc();
    }

    /// How long the commit under way has taken, if there is one.
    pub fn commit_lasting(&self, lasting: Option<Duration>) {
        self.0.commit_lasting.set(lasting.unwrap_or_default().as_secs_f64());
    }

    /// So many passwords wait to be hashed, and so many were refused in all.
    pub fn passwords(&self, waiting: usize, refused: u64) {
        self.0.passwords_waiting.set(as_i64(waiting));
        self.0.passwords_refused.inner().store(refused, Ordering::Relaxed);
    }

    /// So many long answers of a kind are open.
    pub fn long_answers(&self, kind: &'static str, open: usize) {
        self.0.long_answers.get_or_create(&LongAnswerLabels { kind }).set(as_i64(open));
    }

    /// So many streams are in memory.
    pub fn streams_in_memory(&self, streams: usize) {
        self.0.streams_in_memory.set(as_i64(streams));
    }

    /// So many bytes are free where the store lies.
    pub fn disk_free_bytes(&self, bytes: u64) {
        self.0.disk_free.set(bytes);
    }

    /// A denial or a failure was only counted, not recorded.
    pub fn denial_unrecorded(&self) {
        self.0.denials_unrecorded.inc();
    }

    /// A use of an API key could not even be counted for its next event.
    pub fn key_use_unrecorded(&self) {
        self.0.key_uses_unrecorded.inc();
    }

    /// Requests of an organization are counted that may be forgotten before they are recorded.
    pub fn api_request_unpinned(&self) {
        self.0.api_requests_unpinned.inc();
    }

    /// An attempt to log in came too soon.
    pub fn login_throttled(&self) {
        self.0.logins_throttled.inc();
    }

    /// So many mails wait.
    pub fn mails_waiting(&self, mails: usize) {
        self.0.mails_waiting.set(as_i64(mails));
    }

    /// A mail arrived where it was to go.
    pub fn mail_sent(&self) {
        self.0.mails_sent.inc();
    }

    /// A mail was given up.
    pub fn mail_failed(&self) {
        self.0.mails_failed.inc();
    }

    /// A mail was not written, since its address had its share of the hour.
    pub fn mail_withheld(&self) {
        self.0.mails_withheld.inc();
    }

    /// The time came at which a secret was said to expire.
    pub fn secret_expired(&self) {
        self.0.secrets_expired.inc();
    }

    /// All of it in the OpenMetrics text format.
    pub fn encode(&self) -> String {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.0.registry)
            .expect("writing to a string does not fail");
        text
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

/// The media type of [`Metrics::encode`].
pub const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// An open connection, as long as it lives.
#[must_use]
pub struct OpenConnection(Gauge);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.dec();
    }
}

fn register<M>(registry: &mut Registry, name: &str, help: &str, metric: M) -> M
where
    M: prometheus_client::registry::Metric + Clone,
{
    registry.register(name, help, metric.clone());
    metric
}

fn register_seconds(registry: &mut Registry, name: &str, help: &str, metric: Histogram) -> Histogram {
    registry.register_with_unit(name, help, Unit::Seconds, metric.clone());
    metric
}

fn request_seconds() -> Histogram {
    Histogram::new([
        0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
        10.0,
    ])
}

/// Methods as labels: a client may send any, so the unusual ones are one.
fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

fn class(status: StatusCode) -> &'static str {
    match status.as_u16() {
        100..200 => "1xx",
        200..300 => "2xx",
        300..400 => "3xx",
        400..500 => "4xx",
        _ => "5xx",
    }
}

fn as_f64(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

fn as_i64(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// What the kernel knows of this process, read when asked for.
#[derive(Debug)]
struct Process;

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let Some(bytes) = resident_memory_bytes() else { return Ok(()) };
        let gauge = ConstGauge::new(bytes);
        let encoder = encoder.encode_descriptor(
            "process_resident_memory_bytes",
            "Memory of this process that is in RAM, in bytes",
            None,
            prometheus_client::metrics::MetricType::Gauge,
        )?;
        gauge.encode(encoder)
    }
}

/// The resident memory of this process; none where the system does not tell.
pub fn resident_memory_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
#[path = "metrics_tests.rs"]
mod tests;
