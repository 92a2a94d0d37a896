//! `cargo xtask soak`: a mixed load on a server for minutes, and whether anything grows with what has happened: memory,
//! the disk that an event takes, how long answers take.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use self::chart::{Line, Panel, draw};
use crate::bench::as_release;
use crate::bench::disk::allocated;
use crate::bench::load::{BEARER, Load, Request, load};
use crate::bench::server::Server;
use crate::bench::write::BODY;
use crate::install;
use crate::mix::dice::Dice;
use crate::mix::generate::Size;
use crate::run::{root, say, target};

pub mod chart;

/// The options of `cargo xtask soak`.
#[derive(clap::Args)]
pub struct Options {
    /// How long
    #[arg(long, value_name = "N", default_value = "20", value_parser = clap::value_parser!(u32).range(1..=600))]
    minutes: u32,
    /// Put the load on this build of the server [default: the release build]
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
    /// Where to draw what comes of it [default: docs/soak.svg]
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// What the store holds at the beginning.
const SIZE: Size = Size { events: 40_000, organizations: 200 };
/// After so long a sample is taken.
const STEP_SECONDS: u32 = 10;
/// Of each step, the time that goes to the reference: a machine that slows down slows both, and only the code makes one
/// slower than the other.
const REFERENCE_SECONDS: u32 = 1;
/// The connections of the load, and those of the reference.
const CONNECTIONS: u32 = 64;
/// How many different points in the past are asked for in turn.
const POINTS: usize = 400;
const MIB: f64 = 1_048_576.0;

/// A part of the load: what it is, and its connections, [`CONNECTIONS`] together.
struct Part {
    name: &'static str,
    connections: u32,
    request: Request,
}

/// What was seen in one step.
struct Sample {
    resident_mib: f64,
    bytes_per_event: f64,
    events: f64,
    /// The server's own no-op, just before.
    reference: Load,
    loads: Vec<Load>,
}

impl Sample {
    /// How many times as long as half of the no-ops something took.
    fn relative(&self, time: Duration) -> f64 {
        time.as_secs_f64() / self.reference.p50.as_secs_f64()
    }
}

/// Puts load on a server, draws what was seen, and says whether it stayed the same.
///
/// # Errors
/// When anything is not answered as it should be, or something grew.
pub fn run(options: &Options) -> Result<()> {
    if options.binary.is_none() && as_release(false)? {
        return Ok(());
    }
    install::wrk()?;
    let binary = options.binary.clone().unwrap_or_else(|| target().join("release/settled"));
    let server = Server::start(&binary, SIZE, None)?;
    let parts = parts(&server)?;
    let mut samples = Vec::new();
    for step in 0..options.minutes * 60 / STEP_SECONDS {
        let sample = sample(&server, &parts, step)?;
        let times: Vec<_> = parts
            .iter()
            .zip(&sample.loads)
            .map(|(part, load)| format!("{} {}", part.name, load.times()))
            .collect();
        say(&format!(
            "{} s: {:.0} MiB, {:.0} events, {:.0} bytes an event; no-op {}; {}",
            (step + 1) * STEP_SECONDS,
            sample.resident_mib,
            sample.events,
            sample.bytes_per_event,
            sample.reference.times(),
            times.join("; ")
        ));
        samples.push(sample);
    }
    let lines = lines(&parts, &samples);
    let output = options.output.clone().unwrap_or_else(|| root().join("docs/soak.svg"));
    let folder = output.parent().context("a file lies in a folder")?;
    std::fs::create_dir_all(folder)?;
    let events = samples.last().map_or(0.0, |sample| sample.events);
    let heading = format!(
        "{} minutes of mixed load: {CONNECTIONS} connections, {} organizations, {events:.0} events at the end",
        options.minutes, SIZE.organizations
    );
    std::fs::write(&output, draw(&heading, &panels(&lines), STEP_SECONDS))?;
    say(&format!("written to {}", output.display()));
    let grown: Vec<_> = lines.iter().filter(|line| !line.is_flat()).map(Measured::said).collect();
    lines.iter().for_each(|line| say(&line.said()));
    ensure!(grown.is_empty(), "not flat: {}", grown.join("; "));
    Ok(())
}

/// Reads, writes, pages of the audit log and reads of the past, in every organization.
fn parts(server: &Server) -> Result<Vec<Part>> {
    let get = |paths: Vec<String>| Request::get(server.base(), paths, server.tokens());
    let reads = ["/v1/general", "/v1/environments", "/v1/environments/production/config?limit=50"];
    let writes = Request {
        method: "PUT",
        base: server.base(),
        paths: vec!["/v1/environments/production/config/SETTING_%d".to_owned()],
        header: BEARER,
        tokens: server.tokens(),
        body: Some(BODY),
    };
    let pages = ["limit=50", "action=config.set", "action=auth.login&outcome=success", "type=environment"];
    // Every organization has at least so many events.
    let versions = SIZE.events / SIZE.organizations as u64 / 2;
    let mut dice = Dice::new(1);
    let past =
        (0..POINTS).map(|_| dice.below(usize::try_from(versions)?).checked_add(1).context("a version"));
    let past = past.map(|version| Ok(format!("/v1/environments?as_of={}", version?)));
    let part = |name, connections, request| Part { name, connections, request };
    Ok(vec![
        part("reads", 40, get(reads.map(str::to_owned).into())),
        part("writes", 16, writes),
        part("audit pages", 4, get(pages.map(|query| format!("/v1/audit?{query}")).into())),
        part("as_of", 4, get(past.collect::<Result<_>>()?)),
    ])
}

/// The reference, then all parts at once for the rest of one step, with the most memory that was seen meanwhile.
fn sample(server: &Server, parts: &[Part], step: u32) -> Result<Sample> {
    let no_op = Request::get(server.base(), vec!["/v1/version".to_owned()], Vec::new());
    let reference = load(&no_op, CONNECTIONS, REFERENCE_SECONDS, 1)?;
    let (loads, resident) = std::thread::scope(|scope| -> Result<_> {
        let begin = |part: &Part| {
            let (request, connections) = (part.request.clone(), part.connections);
            scope.spawn(move || load(&request, connections, STEP_SECONDS - REFERENCE_SECONDS, 1 + step))
        };
        let under_way: Vec<_> = parts.iter().map(begin).collect();
        let mut resident = 0.0_f64;
        while !under_way.iter().all(|load| load.is_finished()) {
            resident = resident.max(server.resident_bytes()?);
            std::thread::sleep(std::time::Duration::from_millis(200));
        }
        let ended =
            under_way.into_iter().map(|load| load.join().ok().context("the load's thread panicked")?);
        Ok((ended.collect::<Result<Vec<_>>>()?, resident))
    })?;
    let events = server.events()?;
    let bytes_per_event = allocated(&server.data_dir())? / events;
    Ok(Sample { resident_mib: resident / MIB, bytes_per_event, events, reference, loads })
}

/// A series of what was seen, and how much it may grow.
struct Measured {
    panel: &'static str,
    name: String,
    values: Vec<f64>,
    /// By which factor the last quarter may be above the first.
    growth_max: f64,
}

impl Measured {
    /// How the mean of the last quarter compares with that of the first.
    fn growth(&self) -> f64 {
        let quarter = (self.values.len() / 4).max(1);
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len().max(1) as f64;
        mean(&self.values[self.values.len().saturating_sub(quarter)..]) / mean(&self.values[..quarter])
    }

    fn is_flat(&self) -> bool {
        self.growth() <= self.growth_max
    }

    fn said(&self) -> String {
        let growth = (self.growth() - 1.0) * 100.0;
        let said =
            format!("{}, {}: {growth:+.1} % from the first to the last quarter", self.panel, self.name);
        if self.growth_max.is_infinite() {
            return format!("{said}, the machine's own");
        }
        let flat = if self.is_flat() { "flat" } else { "it grows" };
        format!("{said}, {flat} (+{:.0} %)", (self.growth_max - 1.0) * 100.0)
    }
}

const MEMORY: &str = "resident memory, MiB";
const DISK: &str = "disk for each event, bytes";
const P50: &str = "p50, times that of a no-op";
const P99: &str = "p99, times a no-op's p50";
const NO_OP: &str = "the no-op's p50, ms";

fn lines(parts: &[Part], samples: &[Sample]) -> Vec<Measured> {
    let all = |of: &dyn Fn(&Sample) -> f64| samples.iter().map(of).collect::<Vec<_>>();
    let line =
        |panel, name: &str, values, growth_max| Measured { panel, name: name.to_owned(), values, growth_max };
    let mut lines = vec![
        line(MEMORY, "server", all(&|sample| sample.resident_mib), 1.1),
        line(DISK, "store", all(&|sample| sample.bytes_per_event), 1.1),
    ];
    for (at, part) in parts.iter().enumerate() {
        lines.push(line(P50, part.name, all(&|sample| sample.relative(sample.loads[at].p50)), 1.15));
    }
    for (at, part) in parts.iter().enumerate() {
        // The slowest of a hundred depends on what else the machine does.
        lines.push(line(P99, part.name, all(&|sample| sample.relative(sample.loads[at].p99)), 1.3));
    }
    let machine = all(&|sample| sample.reference.p50.as_secs_f64() * 1e3);
    lines.push(line(NO_OP, "no-op", machine, f64::INFINITY));
    lines
}

fn panels(measured: &[Measured]) -> Vec<Panel> {
    let panel = |title: &'static str| {
        let of = measured.iter().filter(|line| line.panel == title);
        let lines = of.map(|line| Line { name: line.name.clone(), values: line.values.clone() }).collect();
        Panel { title: title.to_owned(), lines }
    };
    [MEMORY, DISK, P50, P99, NO_OP].map(panel).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(values: &[f64]) -> Measured {
        Measured { panel: MEMORY, name: "x".to_owned(), values: values.to_vec(), growth_max: 1.1 }
    }

    #[test]
    fn what_stays_the_same_is_flat_and_what_grows_is_not() {
        assert!(measured(&[10.0, 12.0, 9.0, 11.0, 10.0, 30.0, 10.0, 11.0]).is_flat(), "a peak in between");
        assert!(measured(&[20.0, 10.0]).is_flat(), "it may shrink");
        assert!(measured(&[1.0]).is_flat());
        let grows = measured(&[10.0, 10.0, 11.0, 11.0, 11.0, 11.0, 11.0, 12.0]);
        assert!(!grows.is_flat());
        assert!(grows.said().contains("+15.0 %"), "{}", grows.said());
    }
}
