//! What a running server says of the keys of older snapshots after something was destroyed: it answers before they are rewritten.

use std::io;
use std::path::Path;
use std::thread;
use std::time::Duration;

use hyper::Method;
use serde::Deserialize;

use crate::causes::with_causes;
use crate::cli::socket::{SocketError, call};
use crate::snapshot::renewal::{PROBLEM, WAITING};

/// How often it is asked whether they are, and how long is waited in between: 20 seconds in all, while most folders take
/// milliseconds.
const ASKS_MAX: u32 = 100;
const PAUSE: Duration = Duration::from_millis(200);

/// The part of the server's status that this is about.
#[derive(Deserialize)]
struct Status {
    problems: Vec<String>,
}

/// What is wrong with the keys of older snapshots, once the server has rewritten them or cannot; after some seconds, that they
/// wait for others. A server that cannot be asked any more has not said that nothing is.
pub(super) fn problem(socket: &Path) -> Option<String> {
    let mut problem = None;
    for ask in 0..ASKS_MAX {
        if ask > 0 {
            thread::sleep(PAUSE);
        }
        problem = match problems(socket) {
            Ok(problems) => problems.into_iter().find(|problem| problem.starts_with(PROBLEM)),
            Err(error) => Some(format!("{PROBLEM}: {}", with_causes(&error))),
        };
        if !problem.as_ref().is_some_and(|problem| problem.ends_with(WAITING)) {
            break;
        }
    }
    problem
}

fn problems(socket: &Path) -> Result<Vec<String>, SocketError> {
    let answer = call(socket, Method::GET, "/v1/operator/status")?;
    let Status { problems } = serde_json::from_slice(&answer).map_err(io::Error::from)?;
    Ok(problems)
}
