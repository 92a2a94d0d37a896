//! What object storage is spoken to with: the same HTTP client as all else.

use std::time::Duration;

use object_store::ClientOptions;
use object_store::client::{HttpClient, HttpConnector};

use super::http;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Gives every request the same client.
#[derive(Debug)]
pub struct Connector(reqwest::Client);

impl Connector {
    /// One that trusts what the system trusts, or nobody where it speaks without TLS. After so long without an answer, or
    /// without anything more of it, a request has failed.
    ///
    /// # Errors
    /// When the system has no certificates.
    pub fn new(is_plain: bool, stall: Duration) -> Result<Self, String> {
        let client = if is_plain { Ok(http::plain()) } else { http::trusting_the_system() };
        let client = client.map_err(|error| error.to_string())?;
        let client = client.connect_timeout(CONNECT_TIMEOUT).read_timeout(stall).build();
        client.map(Self).map_err(|error| error.to_string())
    }
}

impl HttpConnector for Connector {
    fn connect(&self, _options: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.0.clone()))
    }
}
