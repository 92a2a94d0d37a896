//! `settled restore`: an operator brings an organization's settings back, or looks at what that would come to.

use std::error::Error;
use std::path::Path;

use clap::Args;
use hyper::Method;
use serde_json::Value;

use crate::cli::exit::Exit;
use crate::cli::root_key::RootKeyOptions;
use crate::cli::target::Target;
use crate::cli::{output, socket};
use crate::clock::Clock;
use crate::history::restore::PointInTime;
use crate::history::restore::operator::OperatorRestore;
use crate::http::percent::encode;
use crate::ids::OrganizationId;
use crate::open::OpenDir;

/// `settled restore`.
#[derive(Args, Debug)]
pub struct Restore {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    root_key: RootKeyOptions,
    /// As of when: an RFC 3339 time, or a version of the organization's stream
    #[arg(long, value_name = "TIME|VERSION")]
    as_of: PointInTime,
    /// Whose settings
    #[arg(long, value_name = "ORG")]
    organization: OrganizationId,
    /// One environment with its configuration only, by id or slug
    #[arg(long, value_name = "ENV")]
    environment: Option<String>,
    /// Bring grants of roles back too
    #[arg(long)]
    include_access: bool,
    /// Only show the steps
    #[arg(long)]
    dry_run: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Restore {
    /// Runs it.
    pub fn run(&self) -> Exit {
        let ask = |socket: &Path| socket::call(socket, Method::POST, &self.path());
        match self.target.have_done(ask, |opened| self.append(opened)) {
            Ok(restored) => self.print(&restored),
            Err(exit) => exit,
        }
    }

    fn path(&self) -> String {
        let Self { organization, as_of, include_access, dry_run, .. } = self;
        let mut path = format!("/v1/operator/restore?organization={organization}&as_of={as_of}");
        path.push_str(&format!("&include_access={include_access}&dry_run={dry_run}"));
        if let Some(environment) = &self.environment {
            path.push_str(&format!("&environment={}", encode(environment)));
        }
        path
    }

    fn append(&self, opened: &OpenDir) -> Result<Value, Box<dyn Error>> {
        let clock = Clock::system();
        let store = self.root_key.open_store(opened, clock, None)?;
        store.resume_clock();
        let wanted = OperatorRestore {
            organization: self.organization,
            as_of: self.as_of,
            environment: self.environment.clone(),
            include_access: self.include_access,
            dry_run: self.dry_run,
        };
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        let restored = runtime.block_on(wanted.run(&store));
        store.stop();
        Ok(serde_json::to_value(restored?)?)
    }

    fn print(&self, restored: &Value) -> Exit {
        if self.json {
            output::json(restored);
            return Exit::Fine;
        }
        let list = |name: &str| restored[name].as_array().cloned().unwrap_or_default();
        let resource = |row: &Value| {
            let (kind, id) = (&row["resource"]["type"], &row["resource"]["id"]);
            format!("{} {} {}", shown(kind), shown(id), shown(&row["resource"]["name"])).trim_end().to_owned()
        };
        let steps = list("steps");
        let rows = steps.iter().map(|step| {
            vec![shown(&step["action"]), resource(step), shown(&step["from"]), shown(&step["to"])]
        });
        output::table(&["ACTION", "RESOURCE", "FROM", "TO"], rows);
        let cannot = list("cannot");
        if !cannot.is_empty() {
            output::table(
                &["CANNOT", "WHY"],
                cannot.iter().map(|row| vec![resource(row), shown(&row["why"])]),
            );
        }
        let done = if self.dry_run { "would be made" } else { "were made" };
        output::line(format_args!("{} steps {done}; version {}", steps.len(), restored["version"]));
        Exit::Fine
    }
}

/// Text as it is, nothing for null, all else as JSON.
fn shown(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
