//! Snapshots in a bucket of object storage that speaks S3. An object is there whole or not at all; what takes several
//! requests is an upload (`upload`), which nothing lists. What fails is tried again, longer apart each time, and not for ever.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey};
use object_store::{BackoffConfig, ObjectMeta, ObjectStore as _, ObjectStoreExt as _, RetryConfig};
use tokio::runtime::{self, Runtime};
use tokio::sync::watch;

use super::object::Object;
use super::upload::{Upload, abort};
use super::url::BucketUrl;
use super::{Begun, Over, Place, ReadAt, UnusableBucket};
use crate::client::object_storage::Connector;

/// What credentials come by, one of them at least. Without any the client would ask whoever answers at the address of a cloud's
/// metadata service.
const CREDENTIALS: [&str; 4] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
];
/// What the names of all endpoints begin with, that of the tokens too. Which of them the client prefers is its own affair.
const ENDPOINT: &str = "aws_endpoint";

/// How long a bucket that does not answer is waited for.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// How long a request may take, and how long nothing may come of an answer.
    pub stall: Duration,
    /// How often a request is tried again.
    pub retries: usize,
    /// After how long it is tried no more.
    pub within: Duration,
    /// The longest pause between two tries.
    pub pause: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        // A part of 8 MiB within a minute is 1.1 Mbit/s. Signatures are good for 5 minutes.
        Self {
            stall: Duration::from_secs(60),
            retries: 8,
            within: Duration::from_secs(240),
            pause: Duration::from_secs(15),
        }
    }
}

/// A bucket, and what all names in it begin with. Cheap to clone.
#[derive(Clone)]
pub struct Bucket {
    url: BucketUrl,
    /// Where it is noted which uploads were begun.
    notes: PathBuf,
    pub(super) client: Arc<Client>,
}

/// What speaks to a bucket.
pub(super) struct Client {
    pub(super) s3: AmazonS3,
    bucket: String,
    /// What its connections live in, whoever calls.
    runtime: Option<Runtime>,
    given_up: watch::Sender<bool>,
}

// Derived, both would show the credentials.
impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bucket({})", self.url)
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Client({})", self.bucket)
    }
}

impl Bucket {
    /// The bucket of a URL, by what variables say (`AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_REGION`,
    /// `AWS_ENDPOINT_URL` and their like). Nothing is asked of it yet. Which uploads were begun is noted in a folder.
    ///
    /// # Errors
    /// When they are too few or cannot be used together.
    pub fn connect(
        url: &BucketUrl,
        variables: impl IntoIterator<Item = (String, String)>,
        notes: &Path,
        patience: Patience,
    ) -> Result<Self, UnusableBucket> {
        let unusable = |what: String| UnusableBucket { url: url.clone(), what };
        let variables: Vec<_> = variables.into_iter().collect();
        let value = |name: &str| {
            let found = variables.iter().find(|(found, value)| found == name && !value.is_empty());
            found.map(|(_, value)| &**value)
        };
        if CREDENTIALS.iter().all(|name| value(name).is_none()) {
            return Err(unusable(format!(
                "there are no credentials in the environment: {} and AWS_SECRET_ACCESS_KEY are not set",
                CREDENTIALS[0]
            )));
        }
        let endpoints = variables.iter().filter(|(name, _)| name.to_ascii_lowercase().starts_with(ENDPOINT));
        let is_plain = |url: &str| url.trim_start().to_ascii_lowercase().starts_with("http:");
        let plain: Vec<bool> = endpoints.map(|(_, url)| is_plain(url)).collect();
        if plain.contains(&true) && value("AWS_ALLOW_HTTP") != Some("true") {
            return Err(unusable("its endpoint has no TLS, and AWS_ALLOW_HTTP is not true".to_owned()));
        }
        let is_all_plain = !plain.is_empty() && !plain.contains(&false);
        let connector = Connector::new(is_all_plain, patience.stall).map_err(unusable)?;
        let backoff = BackoffConfig { max_backoff: patience.pause, ..BackoffConfig::default() };
        let retries = RetryConfig { backoff, max_retries: patience.retries, retry_timeout: patience.within };
        let mut builder = AmazonS3Builder::new()
            .with_http_connector(connector)
            .with_retry(retries)
            // Not all that speaks S3 knows how to remove many objects at once.
            .with_disable_bulk_delete(true);
        for (name, value) in &variables {
            if let Ok(key) = AmazonS3ConfigKey::from_str(&name.to_ascii_lowercase()) {
                builder = builder.with_config(key, value);
            }
        }
        let s3 = builder.with_bucket_name(&url.bucket).build();
        let s3 = s3.map_err(|error| unusable(told(&error)))?;
        let runtime = runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("object-storage")
            .enable_all()
            .build()
            .map_err(|error| unusable(error.to_string()))?;
        let client = Client {
            s3,
            bucket: url.bucket.clone(),
            runtime: Some(runtime),
            given_up: watch::channel(false).0,
        };
        Ok(Self { url: url.clone(), notes: notes.join("uploads"), client: Arc::new(client) })
    }

    /// The key of a name.
    fn key(&self, name: &OsStr) -> object_store::path::Path {
        let name = name.to_string_lossy();
        object_store::path::Path::from_iter(
            self.url.prefix.split('/').chain([&*name]).filter(|part| !part.is_empty()),
        )
    }

    /// Where the upload of a name is noted while it is under way.
    fn note(&self, name: &OsStr) -> PathBuf {
        self.notes.join(name)
    }
}

impl Place for Bucket {
    fn root(&self) -> PathBuf {
        self.url.to_string().into()
    }

    fn path(&self, name: &OsStr) -> PathBuf {
        format!("{}/{}", self.url, name.to_string_lossy()).into()
    }

    fn names(&self) -> io::Result<Vec<OsString>> {
        let prefix = (!self.url.prefix.is_empty()).then(|| object_store::path::Path::from(&*self.url.prefix));
        let listed = self.client.wait(|| self.client.s3.list_with_delimiter(prefix.as_ref()))?;
        let name = |object: ObjectMeta| object.location.filename().map(OsString::from);
        Ok(listed.objects.into_iter().filter_map(name).collect())
    }

    fn has(&self, name: &OsStr) -> io::Result<bool> {
        let key = self.key(name);
        match self.client.wait(|| self.client.s3.head(&key)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            head => head.map(|_| true),
        }
    }

    fn open(&self, name: &OsStr) -> io::Result<Box<dyn ReadAt>> {
        Ok(Box::new(Object::open(Arc::clone(&self.client), self.key(name))?))
    }

    /// Whatever it is to take the place of: only keys do, and what is new has a name of its own, by its id.
    fn begin(&self, name: &OsStr, _over: Over) -> io::Result<Box<dyn Begun>> {
        Ok(Box::new(Upload::new(Arc::clone(&self.client), self.key(name), self.note(name))))
    }

    fn remove(&self, name: &OsStr) -> io::Result<()> {
        let key = self.key(name);
        self.client.wait(|| self.client.s3.delete(&key))
    }

    fn sweep(&self, name: &OsStr) -> io::Result<()> {
        abort(&self.client, &self.key(name), &self.note(name))
    }

    fn sweep_all(&self) -> io::Result<()> {
        let noted = match fs::read_dir(&self.notes) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            noted => noted?,
        };
        for note in noted {
            let note = note?.path();
            // A crash may leave a note under the name that it had while it was written.
            let name = if note.extension().is_some_and(|is| is == "new") {
                note.file_stem()
            } else {
                note.file_name()
            };
            if let Err(error) = abort(&self.client, &self.key(name.unwrap_or_default()), &note) {
                let note = note.display();
                tracing::warn!(%note, %error, "an upload that was cut off cannot be aborted now; it is tried again");
            }
        }
        Ok(())
    }

    fn free_bytes(&self) -> io::Result<Option<u64>> {
        Ok(None)
    }

    fn give_up(&self) {
        let _nobody_waits = self.client.given_up.send_replace(true);
    }
}

impl Client {
    /// How an object is named in a note.
    pub(super) fn noted(&self, key: &object_store::path::Path) -> String {
        format!("{}/{key}", self.bucket)
    }

    /// Asks, and waits for the answer; asks once more where that breaks off in its middle, since only whole requests are
    /// tried again below. Not for threads of a runtime.
    pub(super) fn wait<T, F>(&self, ask: impl Fn() -> F) -> io::Result<T>
    where
        F: Future<Output = object_store::Result<T>>,
    {
        let mut given_up = self.given_up.subscribe();
        let runtime = self.runtime.as_ref().expect("taken when dropped");
        let asked = async {
            match ask().await {
                Err(object_store::Error::Generic { .. }) => ask().await,
                answer => answer,
            }
        };
        runtime.block_on(async {
            tokio::select! {
                _ = given_up.wait_for(|given_up| *given_up) => {
                    // Not `Interrupted`, upon which whoever writes or reads tries again.
                    Err(io::Error::new(io::ErrorKind::ConnectionAborted, "the process stops"))
                }
                answer = asked => answer.map_err(|error| io::Error::new(kind(&error), told(&error))),
            }
        })
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // A runtime cannot be waited for within another.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn kind(error: &object_store::Error) -> io::ErrorKind {
    match error {
        object_store::Error::NotFound { .. } => io::ErrorKind::NotFound,
        _ => io::ErrorKind::Other,
    }
}

/// What is told of an error: what the bucket answered may quote credentials.
fn told(error: &object_store::Error) -> String {
    let text = error.to_string();
    text.split('<').next().unwrap_or_default().trim_end_matches([':', ' ']).to_owned()
}
