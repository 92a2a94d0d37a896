//! `/v1/environments/{env}/secrets/import`: many secrets of an environment written at once, all or none.
//!
//! A value is sealed for the secret that it belongs to, so what is written is prepared from the secrets that there are, and
//! prepared again if one of the names comes or goes meanwhile.

use std::collections::HashMap;
use std::sync::Arc;

use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::event::Version;
use crate::http::call::Call;
use crate::http::environment::InEnvironment;
use crate::http::problem::{Problem, ProblemBody};
use crate::http::query::NoParameters;
use crate::ids::{EnvironmentId, Fresh};
use crate::organization::Organization;
use crate::seal::keyring::NewDataKey;
use crate::settings::environments::value::ConfigKey;
use crate::settings::secrets::command::{At, ImportSecrets, ImportedValue, SecretsCommand};
use crate::settings::secrets::http::sealed;
use crate::settings::secrets::value::{Scope, SecretValue};
use crate::store::Done;

/// How often an import is prepared because the secrets changed while it was.
const TRIES_MAX: usize = 3;

/// Secrets to be written.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SecretsImport {
    /// Each by its name, which none other of them has.
    #[schema(min_items = 1)]
    secrets: Vec<NamedValue>,
    /// Whether a secret that is there already gets a new version. Without it that is a conflict, which names all of them.
    #[serde(default)]
    overwrite: bool,
    /// Whether only to tell what would be written.
    #[serde(default)]
    dry_run: bool,
}

/// One of them.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NamedValue {
    /// Its name.
    name: ConfigKey,
    /// Its value: text of 1 byte to 64 KiB.
    value: SecretValue,
}

/// What was written, or would be.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ImportedSecrets)]
pub struct ImportedBody {
    /// The stream version after it; of a dry run, the one that it was told for.
    pub version: Version,
    /// Each secret, in the order of the request.
    pub secrets: Vec<ImportedSecretBody>,
}

/// What was made of one.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ImportedSecret)]
pub struct ImportedSecretBody {
    /// Its name.
    pub name: String,
    /// Whether it came to be.
    pub action: ImportAction,
    /// The number of the value.
    pub value_version: u64,
}

/// Whether a secret came to be, or got another value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ImportAction {
    /// It came to be.
    Created,
    /// It got another value.
    Updated,
}

/// Writes many secrets of an environment at once, all or none; or tells what that would come to.
#[utoipa::path(post, path = "/v1/environments/{env}/secrets/import", tag = "secrets", request_body = SecretsImport,
    params(("env" = String, Path, description = "Its id or slug")), responses(
    (status = 200, body = ImportedBody), (status = "4XX", body = ProblemBody)))]
pub async fn import(
    InEnvironment { call, environment }: InEnvironment,
    _: NoParameters,
) -> Result<Response, Problem> {
    let new: SecretsImport = call.body().parse()?;
    new.check_names()?;
    let mut tries = 1;
    let done = loop {
        let done = match tries {
            // A repeated request meets what the first one met.
            1 => new.attempt(&call, environment.id, call.settings()).await,
            _ => {
                let newest = Arc::clone(&call.organization.handle.view());
                new.attempt(&call, environment.id, newest.organization()).await
            }
        };
        match done {
            Err(problem) if problem.code() == "stale" && tries < TRIES_MAX => tries += 1,
            done => break done?,
        }
    };
    if new.dry_run {
        let body = new.written(&done, environment.id, call.organization.view.version());
        return Ok(call.list(&call.organization.view, &body));
    }
    Ok(call.done(
        &done,
        StatusCode::OK,
        done.version,
        None,
        &new.written(&done, environment.id, done.version),
    ))
}

impl SecretsImport {
    fn check_names(&self) -> Result<(), Problem> {
        if self.secrets.is_empty() {
            return Err(Problem::invalid_field("/secrets", "too_short", "expected at least one secret"));
        }
        let mut first = HashMap::new();
        for (index, NamedValue { name, .. }) in self.secrets.iter().enumerate() {
            if let Some(before) = first.insert(name.as_str(), index) {
                let message = format!("the name is that of /secrets/{before}, too");
                return Err(Problem::invalid_field(format!("/secrets/{index}/name"), "duplicate", message));
            }
        }
        Ok(())
    }

    /// Seals every value for the secret that it belongs to in a state, and submits or rehearses them.
    async fn attempt(
        &self,
        call: &Call,
        environment: EnvironmentId,
        state: &Organization,
    ) -> Result<Done, Problem> {
        let (command, keys) = self.prepared(call, environment, state)?;
        let command = SecretsCommand::Import(command);
        if self.dry_run {
            call.rehearse(command, keys.into()).await
        } else {
            call.submit_sealed(command, keys, StatusCode::OK).await
        }
    }

    fn prepared(
        &self,
        call: &Call,
        environment: EnvironmentId,
        state: &Organization,
    ) -> Result<(ImportSecrets, Vec<NewDataKey>), Problem> {
        let scope = Scope::Environment(environment);
        let present = |one: &NamedValue| state.secrets.find(scope, one.name.as_str());
        let taken: Vec<&str> =
            self.secrets.iter().filter_map(present).map(|secret| secret.name.as_str()).collect();
        if !self.overwrite && !taken.is_empty() {
            let detail = "secrets of these names are there already; overwrite gives them a new version";
            return Err(Problem::conflict("name_taken", detail).with("names", taken));
        }
        let mut keys = Vec::with_capacity(self.secrets.len());
        let mut values = Vec::with_capacity(self.secrets.len());
        for one in &self.secrets {
            let present = present(one);
            let at = At { secret: present.map_or_else(|| Fresh.id(), |secret| secret.id), scope };
            let (value, key) = sealed(call, at.secret, &one.value)?;
            keys.push(key);
            values.push(ImportedValue { at, name: one.name.clone(), is_new: present.is_none(), value });
        }
        Ok((ImportSecrets { environment, values }, keys))
    }

    fn written(&self, done: &Done, environment: EnvironmentId, version: Version) -> ImportedBody {
        let secrets = &done.view.organization().secrets;
        let found = |one: &NamedValue| secrets.find(Scope::Environment(environment), one.name.as_str());
        let told = self.secrets.iter().filter_map(found).map(|secret| ImportedSecretBody {
            name: secret.name.clone(),
            action: if secret.value_version == 1 { ImportAction::Created } else { ImportAction::Updated },
            value_version: secret.value_version,
        });
        ImportedBody { version, secrets: told.collect() }
    }
}
