//! `settled organizations list`.

use std::error::Error;
use std::path::Path;

use clap::Args;
use hyper::Method;
use serde::Serialize;

use super::PATH;
use crate::cli::exit::Exit;
use crate::cli::root_key::RootKeyOptions;
use crate::cli::target::{Holder, Target, answered, close, failed};
use crate::cli::{output, socket};
use crate::clock::Clock;
use crate::http::page::{LONGEST_PAGE, Page};
use crate::log::sled::open::HeadPolicy;
use crate::open::OpenDir;
use crate::store::organizations::OrganizationRow;

/// `settled organizations list`.
#[derive(Args, Debug)]
pub struct List {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    root_key: RootKeyOptions,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// What is printed as JSON.
#[derive(Serialize)]
struct All<'a> {
    data: &'a [OrganizationRow],
}

impl List {
    pub(super) fn run(&self) -> Exit {
        let listed = match self.target.find(HeadPolicy::Require) {
            Err(error) => Err(failed(&error)),
            Ok(Holder::Server(socket)) => asked(&socket),
            Ok(Holder::Us(opened)) => {
                let read = self.read(&opened).map_err(|error| failed(&*error));
                match close(&opened, Exit::Fine) {
                    Exit::Fine => read,
                    unclosed => Err(unclosed),
                }
            }
        };
        listed.map_or_else(|exit| exit, |rows| self.print(&rows))
    }

    fn read(&self, opened: &OpenDir) -> Result<Vec<OrganizationRow>, Box<dyn Error>> {
        let store = self.root_key.open_store(opened, Clock::system(), None)?;
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        let rows = runtime.block_on(store.organization_rows(None, usize::MAX));
        store.stop();
        Ok(rows?)
    }

    fn print(&self, rows: &[OrganizationRow]) -> Exit {
        if self.json {
            output::json(&All { data: rows });
            return Exit::Fine;
        }
        let rows = rows.iter().map(|row| {
            vec![
                row.id.to_string(),
                row.name.clone(),
                row.people.to_string(),
                row.environments.to_string(),
                row.created_at.to_string(),
                row.changed_at.to_string(),
            ]
        });
        output::table(&["ORGANIZATION", "NAME", "PEOPLE", "ENVIRONMENTS", "CREATED", "CHANGED"], rows);
        Exit::Fine
    }
}

/// All of them, page by page.
fn asked(socket: &Path) -> Result<Vec<OrganizationRow>, Exit> {
    let first = format!("{PATH}?limit={LONGEST_PAGE}");
    let (mut rows, mut path) = (Vec::new(), first.clone());
    loop {
        let page: Page<OrganizationRow> = answered(socket::call(socket, Method::GET, &path))?;
        rows.extend(page.data);
        match page.next_cursor {
            Some(cursor) => path = format!("{first}&cursor={cursor}"),
            None => return Ok(rows),
        }
    }
}
