//! `settled secrets export`: an environment's secrets as a file that `import` takes, or a shell.

use std::collections::BTreeMap;
use std::io::{Write as _, stdout};

use clap::Args;
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::cli::exit::Exit;
use crate::cli::output;
use crate::cli::secrets::{Format, ask, dotenv};
use crate::client::api::Api;
use crate::client::error::ClientError;
use crate::http::percent::encode;
use crate::seal::Plain;

/// `settled secrets export`.
///
/// Those of the environment itself, not those of the organization that are read in it too. The key needs `secret:read`
/// and `secret:reveal`.
#[derive(Args, Debug)]
pub struct Export {
    /// The environment, by slug or id
    #[arg(long, value_name = "ENV")]
    environment: String,
    /// The form to print
    #[arg(long, default_value = "dotenv")]
    format: Format,
}

/// A page of the list of secrets.
#[derive(Deserialize)]
struct Page {
    data: Vec<Listed>,
    next_cursor: Option<String>,
}

#[derive(Deserialize)]
struct Listed {
    id: String,
    name: String,
    customer: Option<String>,
    value_destroyed: bool,
}

#[derive(Deserialize)]
struct Revealed {
    value: Plain,
}

impl Export {
    /// Runs it. Prints all of them or none.
    pub fn run(&self) -> Exit {
        match ask(async |api| self.revealed(api).await) {
            Ok(secrets) => {
                let mut out = stdout().lock();
                output::ended(out.write_all(&self.text(&secrets)).and_then(|()| out.flush()))
            }
            Err(exit) => exit,
        }
    }

    async fn revealed(&self, api: &Api) -> Result<BTreeMap<String, Plain>, ClientError> {
        let mut secrets = BTreeMap::new();
        let mut cursor = String::new();
        loop {
            let environment = encode(&self.environment);
            let page: Page =
                api.get(&format!("/v1/secrets?environment={environment}&limit=200{cursor}")).await?;
            for secret in page.data.into_iter().filter(|secret| secret.customer.is_none()) {
                if secret.value_destroyed {
                    output::note(format_args!(
                        "settled: {} is left out, its value was destroyed",
                        secret.name
                    ));
                    continue;
                }
                let path = format!("/v1/secrets/{}/reveal", encode(&secret.id));
                let revealed: Revealed = api.post(&path, Zeroizing::new(b"{}".to_vec())).await?;
                secrets.insert(secret.name, revealed.value);
            }
            match page.next_cursor {
                Some(next) => cursor = format!("&cursor={}", encode(&next)),
                None => return Ok(secrets),
            }
        }
    }

    /// All of it, in memory that is wiped.
    fn text(&self, secrets: &BTreeMap<String, Plain>) -> Zeroizing<Vec<u8>> {
        let texts = secrets.iter().map(|(name, value)| (name.as_str(), value.as_str().unwrap_or_default()));
        // A character takes at most six, escaped: room for all of it, for growing would leave copies behind.
        let room: usize = texts.clone().map(|(name, value)| name.len() + 6 * value.len() + 6).sum();
        let mut text = Zeroizing::new(Vec::with_capacity(room + 8));
        match self.format {
            Format::Dotenv => {
                for (name, value) in texts {
                    text.extend_from_slice(dotenv::write(name, value).as_bytes());
                    text.push(b'\n');
                }
            }
            Format::Json => {
                serde_json::to_writer(&mut *text, &texts.collect::<BTreeMap<_, _>>())
                    .expect("text with text keys, and memory takes it");
                text.push(b'\n');
            }
        }
        text
    }
}
