//! Servers over stores of what programs have: environments with secrets, and API keys.

use std::path::Path;

use anyhow::{Context as _, Result};
use settled::ids::SecretId;

use super::ONE;
use super::server::Server;
use crate::mix::generate::{Filled, Size};
use crate::mix::programs::Programs;
use crate::mix::store::OpenStore;

/// The slug of the environment with few secrets, and how many.
pub const FEW: (&str, usize) = ("few", 10);
/// The slug of the one with many, and how many: no environment can have more.
pub const MANY: (&str, usize) = ("many", 10_000);

/// A server whose one organization has an environment of [`FEW`] secrets and one of [`MANY`], and a key for both.
pub struct Programmed {
    /// The server.
    pub server: Server,
    /// The key.
    pub key: String,
    /// The secrets of [`MANY`].
    pub secrets: Vec<SecretId>,
}

impl Programmed {
    /// Fills a store and starts a server over it.
    ///
    /// # Errors
    /// When the store cannot be filled, or the server does not start.
    pub fn start(binary: &Path) -> Result<Self> {
        let (server, (key, secrets)) = Server::filled(binary, ONE, async |open, organizations| {
            let programs = Programs::of(open, organizations.first().context("there is one")?).await?;
            programs.environment(FEW.0, FEW.1).await?;
            let secrets = programs.environment(MANY.0, MANY.1).await?;
            let keys = programs.keys(1).await?;
            let key = keys.first().context("a key was made")?.expose().to_owned();
            Ok((key, secrets))
        })?;
        Ok(Self { server, key, secrets })
    }
}

/// A server over a store of a size whose organizations have so many API keys between them beside.
///
/// # Errors
/// When the store cannot be filled, or the server does not start.
pub fn with_keys(binary: &Path, size: Size, keys: usize) -> Result<Server> {
    let each = keys / size.organizations;
    let more = async |open: &OpenStore, organizations: &[Filled]| {
        for organization in organizations {
            Programs::of(open, organization).await?.keys(each).await?;
        }
        Ok(())
    };
    Ok(Server::filled(binary, size, more)?.0)
}
