//! What can go wrong for a client. No value and no key is in any of it.

use std::fmt::Write as _;

use tokio_rustls::rustls;

use crate::http::problem::ProblemBody;

/// Why a client has no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// An environment variable that is needed is not set.
    #[error("the environment variable {0} is not set")]
    NotSet(&'static str),
    /// The server's URL is none.
    #[error("the server's URL must be http:// or https://, a host, and perhaps a port")]
    InvalidUrl,
    /// The API key has characters that no header can carry. Which ones is not said.
    #[error("the API key has characters that no key has")]
    InvalidKey,
    /// The system has no certificates to trust.
    #[error("TLS cannot be used")]
    Tls(#[source] rustls::Error),
    /// The server did not answer.
    #[error("the server at {url} cannot be reached")]
    Unreachable {
        /// The server's URL.
        url: String,
        /// Why not.
        #[source]
        source: reqwest::Error,
    },
    /// The server was silent for longer than it ever is while it is well.
    #[error("the server at {url} fell silent")]
    Silent {
        /// The server's URL.
        url: String,
    },
    /// The server ended a stream, as when it stops.
    #[error("the server at {url} ended the stream")]
    Ended {
        /// The server's URL.
        url: String,
    },
    /// The server refused.
    #[error("the server refused: {}", said(.0))]
    Refused(Box<ProblemBody>),
    /// The answer is not what was asked for: something else than Settled may answer there.
    #[error("the answer of {url} ({status}) is not one of Settled's")]
    Unreadable {
        /// The server's URL.
        url: String,
        /// The answer's status.
        status: u16,
    },
    /// The answer is longer than the client takes.
    #[error("the answer of {url} is longer than {limit} bytes")]
    TooLong {
        /// The server's URL.
        url: String,
        /// How many bytes are taken.
        limit: usize,
    },
}

impl ClientError {
    /// Whether it may pass without anybody's doing: the server is away, starts, or has too much to do. What is
    /// refused otherwise stays refused.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Silent { .. } | Self::Ended { .. } => true,
            // In front of a server that is away may stand a proxy with an answer of its own.
            Self::Unreadable { status, .. } => is_passing(*status),
            Self::Refused(problem) => is_passing(problem.status),
            Self::NotSet(_) | Self::InvalidUrl | Self::InvalidKey | Self::Tls(_) | Self::TooLong { .. } => {
                false
            }
        }
    }

    /// What the server says of its refusal, where it is one.
    pub fn problem(&self) -> Option<&ProblemBody> {
        if let Self::Refused(problem) = self { Some(problem) } else { None }
    }
}

fn is_passing(status: u16) -> bool {
    status == 429 || status >= 500
}

/// What happened in the server's words, each thing that is wrong with the request, and what some problems add.
fn said(problem: &ProblemBody) -> String {
    let mut text = format!("{} ({} {})", problem.detail, problem.status, problem.code);
    for error in &problem.errors {
        let place = error.pointer.as_deref().or(error.parameter.as_deref()).unwrap_or_default();
        write!(text, "\n  {place}: {}", error.message).expect("writing to a string does not fail");
    }
    for (member, value) in &problem.members {
        write!(text, "\n  {member}: {value}").expect("writing to a string does not fail");
    }
    text
}
