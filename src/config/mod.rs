//! What an operator can set: every limit, path and key source of `settled serve`.
//!
//! [`Config`] is the one table. Its fields are the flags, their `env` attributes the environment variables, and
//! the flags' names the keys of `settled.toml`: a file's values take the place of the table's defaults before
//! the command line is parsed, so that one parser checks all three, and the order flag, environment variable,
//! file, default follows by itself. An option without an effect has no place here; neither have the limits
//! that are part of the HTTP contract (body size, page size, …), which stand beside what they limit.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use clap::parser::ValueSource;
use clap::{ArgAction, ArgMatches, Args, FromArgMatches as _, ValueEnum};
use ipnet::IpNet;

use self::file::ConfigError;
use self::value::{DnsServer, PublicUrl, Size, SmtpUrl, Span};
use crate::data_dir::{OPERATOR_TOKEN, SNAPSHOTS};
use crate::platform::accounts::email::EmailAddress;
use crate::snapshot::place::url::BucketUrl;
use crate::snapshot::place::{Place, UnusableBucket, place};
use crate::snapshot::retention::Retention;
use crate::snapshot::schedule::Schedule;

pub mod file;
pub mod value;

/// The folder of the store, unless somebody says otherwise.
pub const DEFAULT_DATA_DIR: &str = "./settled-data";

/// The options of `settled serve`.
#[derive(Args, Clone, Debug, PartialEq)]
pub struct Config {
    /// Read options from this file: each is a key by the name of its flag. A flag beats an environment
    /// variable, which beats the file [default: settled.toml in the working directory, if there]
    #[arg(long, env = "SETTLED_CONFIG", value_name = "FILE", help_heading = "Where")]
    pub config: Option<PathBuf>,

    /// The folder of the store; made at the first start
    #[arg(long, env = "SETTLED_DATA_DIR", value_name = "DIR", default_value = DEFAULT_DATA_DIR)]
    #[arg(help_heading = "Where")]
    pub data_dir: PathBuf,

    /// Serve a made-up organization with a year of history, to look around in: its password and its API key are printed, and
    /// public. It lies in a temporary folder that goes when the server stops, unless --data-dir names another than the default
    #[arg(long, env = "SETTLED_DEMO", value_name = "BOOL", default_value = "false", help_heading = "Where")]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true", action = ArgAction::Set)]
    pub demo: bool,

    /// The folder of the snapshots, and of the ledger of what was destroyed, which a restore heeds; best on another disk
    /// [default: snapshots in the data folder]
    #[arg(long, env = "SETTLED_SNAPSHOTS_DIR", value_name = "DIR", help_heading = "Where")]
    pub snapshots_dir: Option<PathBuf>,

    /// The bucket of the snapshots, which then do not lie in the folder: object storage that speaks S3, by the credentials in
    /// AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION, AWS_ENDPOINT_URL and their like
    /// [default: none, the folder]
    #[arg(long, env = "SETTLED_SNAPSHOTS_URL", value_name = "s3://BUCKET/PREFIX", help_heading = "Where")]
    pub snapshots_url: Option<BucketUrl>,

    /// Take a snapshot of the whole store so long after the last one, restore it for practice, and compare
    /// [default: none is taken]
    #[arg(long, env = "SETTLED_SNAPSHOT_EVERY", value_name = "TIME", help_heading = "Snapshots")]
    pub snapshot_every: Option<Span>,

    /// How many snapshots are kept of those that this store put there under their ids, on time or asked for [default: all]
    #[arg(long, env = "SETTLED_SNAPSHOT_KEEP", value_name = "N", help_heading = "Snapshots")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    pub snapshot_keep: Option<u32>,

    /// How long the keys of scheduled snapshots are kept; the newest always are, and every history is restored with them
    #[arg(long, env = "SETTLED_SNAPSHOT_KEEP_KEYS", value_name = "TIME", default_value = "30d")]
    #[arg(help_heading = "Snapshots")]
    pub snapshot_keep_keys: Span,

    /// The address and port to serve HTTP on
    #[arg(long, env = "SETTLED_LISTEN", value_name = "ADDR:PORT", default_value = "127.0.0.1:7373")]
    #[arg(help_heading = "Where")]
    pub listen: SocketAddr,

    /// Serve operators on this address and port, too, as on the socket file in the data folder, but to whoever sends the token
    /// (`Authorization: Bearer`); addresses other than loopback need a certificate [default: none, the socket alone]
    #[arg(long, env = "SETTLED_OPERATOR_LISTEN", value_name = "ADDR:PORT", help_heading = "Where")]
    pub operator_listen: Option<SocketAddr>,

    /// The file of that token, which only the server's user may read (mode 0600); where there is none, one is made
    /// [default: operator-token in the data folder]
    #[arg(long, env = "SETTLED_OPERATOR_TOKEN_FILE", value_name = "FILE", help_heading = "Where")]
    pub operator_token_file: Option<PathBuf>,

    /// Serve HTTPS with the certificate in this file, PEM with its chain; read again when it changes
    /// [default: none, plain HTTP]
    #[arg(long, env = "SETTLED_TLS_CERT", value_name = "FILE", help_heading = "Where")]
    pub tls_cert: Option<PathBuf>,

    /// The certificate's private key, PEM [default: none]
    #[arg(long, env = "SETTLED_TLS_KEY", value_name = "FILE", help_heading = "Where")]
    pub tls_key: Option<PathBuf>,

    /// The URL under which users reach the server, for links and the origin of checkpoints
    /// [default: http:// or https:// and the address that it listens on]
    #[arg(long, env = "SETTLED_PUBLIC_URL", value_name = "URL", help_heading = "Where")]
    pub public_url: Option<PublicUrl>,

    /// Networks whose `X-Forwarded-For` is believed: the right-most address outside of them is the client's
    /// [default: none]
    #[arg(long, env = "SETTLED_TRUSTED_PROXIES", value_name = "CIDR,…", value_delimiter = ',')]
    #[arg(help_heading = "Where")]
    pub trusted_proxies: Vec<IpNet>,

    /// Read the root key from this file, which only the server's user may read (mode 0600)
    /// [default: root.key in the data folder, made at the first start]
    #[arg(long, env = "SETTLED_ROOT_KEY_FILE", value_name = "FILE", help_heading = "Root key")]
    pub root_key_file: Option<PathBuf>,

    /// Read the root key from the environment variable of this name [default: not used]
    #[arg(long, env = "SETTLED_ROOT_KEY_ENV", value_name = "NAME", help_heading = "Root key")]
    pub root_key_env: Option<String>,

    /// Read the root key from the output of this command, run without a shell at start [default: not used]
    #[arg(long, env = "SETTLED_ROOT_KEY_COMMAND", value_name = "COMMAND", help_heading = "Root key")]
    pub root_key_command: Option<String>,

    /// Send mail through this server: smtps://NAME:PASSWORD@HOST, or smtp:// for STARTTLS. With a password it is best
    /// given as the variable or in the file, since arguments can be seen by everybody on the machine [default: no mail]
    #[arg(long, env = "SETTLED_SMTP_URL", value_name = "URL", hide_env_values = true, help_heading = "Mail")]
    pub smtp_url: Option<SmtpUrl>,

    /// Put mail into this folder, a file each, instead of sending it [default: no mail]
    #[arg(long, env = "SETTLED_MAIL_DIR", value_name = "DIR", help_heading = "Mail")]
    pub mail_dir: Option<PathBuf>,

    /// The address that mail is from [default: settled@ and the host of the public URL]
    #[arg(long, env = "SETTLED_MAIL_FROM", value_name = "ADDRESS", help_heading = "Mail")]
    pub mail_from: Option<EmailAddress>,

    /// Ask this DNS server whether an e-mail domain is an organization's, and for the addresses of OAuth providers, by its
    /// address and perhaps a port [default: the system's]
    #[arg(long, env = "SETTLED_DNS_RESOLVER", value_name = "ADDRESS", help_heading = "People")]
    pub dns_resolver: Option<DnsServer>,

    /// Who may sign up: whoever has an address in the e-mail domain of an organization, which DNS or a member's address
    /// has proven; everybody; or nobody. Whoever is invited makes an account by accepting, without signing up, unless
    /// nobody may. It needs mail
    #[arg(long, env = "SETTLED_SIGNUP", value_name = "WHO", default_value = "invited_or_domain")]
    #[arg(help_heading = "People")]
    pub signup: Signup,

    /// Who may found organizations after the first: the operator alone, or everybody who has an account
    #[arg(long, env = "SETTLED_ORGANIZATIONS", value_name = "WHO", default_value = "operator")]
    #[arg(help_heading = "People")]
    pub organizations: Founding,

    /// The memory that hashing one password takes (argon2id)
    #[arg(long, env = "SETTLED_PASSWORD_MEMORY", value_name = "SIZE", default_value = "19MiB")]
    #[arg(help_heading = "People")]
    pub password_memory: Size,

    /// The passes over that memory
    #[arg(long, env = "SETTLED_PASSWORD_PASSES", value_name = "N", default_value = "2")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=64), help_heading = "People")]
    pub password_passes: u32,

    /// How many passwords may wait to be hashed before logins are answered 503
    #[arg(long, env = "SETTLED_PASSWORD_QUEUE", value_name = "N", default_value = "64")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..), help_heading = "People")]
    pub password_queue: u32,

    /// Let OAuth apps have URLs of this machine itself, also by plain http: for development, with a provider beside the
    /// server. Whoever may make an app can then have the server ask what listens here
    #[arg(long, env = "SETTLED_OAUTH_ALLOW_LOOPBACK", value_name = "BOOL", default_value = "false")]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true", action = ArgAction::Set)]
    #[arg(help_heading = "Where")]
    pub oauth_allow_loopback: bool,

    /// How many commands may wait for the writer before writes are answered 503
    #[arg(long, env = "SETTLED_QUEUE_CAPACITY", value_name = "N", default_value = "1024")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..), help_heading = "Limits")]
    pub queue_capacity: u32,

    /// How many organizations are kept in memory, those in use aside; others are loaded when they are asked for
    #[arg(long, env = "SETTLED_RESIDENT_STREAMS", value_name = "N", default_value = "2048")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..), help_heading = "Limits")]
    pub resident_streams: u32,

    /// The memory that the log's cache may take; a larger one gains little speed and costs some four times
    /// its size
    #[arg(long, env = "SETTLED_LOG_CACHE", value_name = "SIZE", default_value = "16MiB")]
    #[arg(help_heading = "Limits")]
    pub log_cache: Size,

    /// Below this much free space on the disk, writes are answered 507; reads, logging out and revoking go on
    #[arg(long, env = "SETTLED_MIN_FREE_DISK", value_name = "SIZE", default_value = "256MiB")]
    #[arg(help_heading = "Limits")]
    pub min_free_disk: Size,

    /// The size of a file that is given up to be able to open the store on a full disk
    #[arg(long, env = "SETTLED_BALLAST", value_name = "SIZE", default_value = "8MiB")]
    #[arg(help_heading = "Limits")]
    pub ballast: Size,

    /// How many connections may be open at once; idle ones give way to further ones, which are else answered 503
    #[arg(long, env = "SETTLED_MAX_CONNECTIONS", value_name = "N", default_value = "1024")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..), help_heading = "Limits")]
    pub max_connections: u32,

    /// How many connections one network of clients (a /24 or /64) may have open at once, trusted proxies excepted
    #[arg(long, env = "SETTLED_MAX_CONNECTIONS_PER_NETWORK", value_name = "N", default_value = "256")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..), help_heading = "Limits")]
    pub max_connections_per_network: u32,

    /// How many streams of events (server-sent events) one credential may have open at once; further ones are answered
    /// 429
    #[arg(long, env = "SETTLED_STREAMS_PER_CREDENTIAL", value_name = "N", default_value = "8")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..), help_heading = "Limits")]
    pub streams_per_credential: u32,

    /// How long a client may take to send a request's header; and as long for a TLS handshake
    #[arg(long, env = "SETTLED_HEADER_TIMEOUT", value_name = "TIME", default_value = "10s")]
    #[arg(help_heading = "Limits")]
    pub header_timeout: Span,

    /// The memory that the bodies of all requests may take together, beyond 16 KiB of each; further large ones are
    /// answered 503
    #[arg(long, env = "SETTLED_BODY_MEMORY", value_name = "SIZE", default_value = "64MiB")]
    #[arg(help_heading = "Limits")]
    pub body_memory: Size,

    /// How long a client may take to send a request's body
    #[arg(long, env = "SETTLED_BODY_TIMEOUT", value_name = "TIME", default_value = "30s")]
    #[arg(help_heading = "Limits")]
    pub body_timeout: Span,

    /// How long a client may take no byte of an answer that waits for it, a stream or an export for example
    #[arg(long, env = "SETTLED_WRITE_TIMEOUT", value_name = "TIME", default_value = "30s")]
    #[arg(help_heading = "Limits")]
    pub write_timeout: Span,

    /// How long a connection may stay open between two requests; best longer than a proxy in front keeps its own,
    /// often 60 s
    #[arg(long, env = "SETTLED_IDLE_TIMEOUT", value_name = "TIME", default_value = "75s")]
    #[arg(help_heading = "Limits")]
    pub idle_timeout: Span,

    /// How long open requests may take to finish when the server is told to stop
    #[arg(long, env = "SETTLED_DRAIN_TIMEOUT", value_name = "TIME", default_value = "8s")]
    #[arg(help_heading = "Limits")]
    pub drain_timeout: Span,

    /// How log lines look: for people, or one JSON object a line
    #[arg(long, env = "SETTLED_LOG_FORMAT", value_name = "FORMAT", default_value = "human")]
    #[arg(help_heading = "Log lines")]
    pub log_format: LogFormat,

    /// The least important level that is logged
    #[arg(long, env = "SETTLED_LOG_LEVEL", value_name = "LEVEL", default_value = "info")]
    #[arg(help_heading = "Log lines")]
    pub log_level: LogLevel,
}

impl Config {
    /// Where the root key comes from.
    pub fn root_key(&self) -> RootKeySource {
        match (&self.root_key_file, &self.root_key_env, &self.root_key_command) {
            (Some(file), _, _) => RootKeySource::File(file.clone()),
            (_, Some(name), _) => RootKeySource::Environment(name.clone()),
            (_, _, Some(command)) => RootKeySource::Command(command.clone()),
            (None, None, None) => RootKeySource::MadeAtFirstStart(self.data_dir.join("root.key")),
        }
    }

    /// Where the snapshots are.
    ///
    /// # Errors
    /// When the bucket cannot be used.
    pub fn snapshots_place(&self) -> Result<Arc<dyn Place>, UnusableBucket> {
        place(self.snapshots_url.as_ref(), &self.snapshots_dir())
    }

    /// Where the ledger is, and the snapshots where they are in no bucket.
    pub fn snapshots_dir(&self) -> PathBuf {
        self.snapshots_dir.clone().unwrap_or_else(|| self.data_dir.join(SNAPSHOTS))
    }

    /// The file of the token that operators need on their port.
    pub fn operator_token_file(&self) -> PathBuf {
        self.operator_token_file.clone().unwrap_or_else(|| self.data_dir.join(OPERATOR_TOKEN))
    }

    /// When snapshots are taken, and how long they are kept; nothing where none is.
    pub fn snapshot_schedule(&self) -> Option<Schedule> {
        let seconds = |span: Span| i64::try_from(span.duration().as_secs()).unwrap_or(i64::MAX);
        let retention = Retention {
            histories: self.snapshot_keep.map(|keep| keep as usize),
            keys_seconds: seconds(self.snapshot_keep_keys),
        };
        self.snapshot_every.map(|every| Schedule { every_seconds: seconds(every).max(1), retention })
    }

    /// The URL under which users reach the server, without a slash at the end; `address` is what it listens on.
    pub fn public_url(&self, address: SocketAddr) -> String {
        match &self.public_url {
            Some(url) => url.to_string(),
            None => {
                let scheme = if self.tls_cert.is_some() { "https" } else { "http" };
                format!("{scheme}://{address}")
            }
        }
    }

    /// The host of that URL, with its port where it has one.
    pub fn public_host(&self, address: SocketAddr) -> String {
        let url = self.public_url(address);
        url.split_once("://").map_or_else(|| url.clone(), |(_, host)| host.to_owned())
    }

    /// The address that mail is from. A host that is an IP address is none to write to.
    pub fn mail_from(&self) -> String {
        let host = self.mail_host();
        match &self.mail_from {
            Some(address) => address.as_str().to_owned(),
            None if host.parse::<IpAddr>().is_ok() => "settled@localhost".to_owned(),
            None => format!("settled@{host}"),
        }
    }

    /// The name that this server introduces itself with to a mail server: the host of its public URL.
    pub fn mail_host(&self) -> String {
        self.public_url.as_ref().map_or_else(|| "localhost".to_owned(), PublicUrl::host)
    }

    /// Reads the options of a command of which they are the arguments, and whose file, if any, was put under
    /// them by [`file::File::under`].
    ///
    /// # Errors
    /// When one source names two places for the root key, mail has two ways or one that is no URL, or what clap refuses.
    pub fn from_matches(matches: &ArgMatches) -> Result<Self, ConfigError> {
        let mut config = Self::from_arg_matches(matches)?;
        match root_key_option(matches)? {
            Some("root_key_file") => (config.root_key_env, config.root_key_command) = (None, None),
            Some("root_key_env") => (config.root_key_file, config.root_key_command) = (None, None),
            Some(_) => (config.root_key_file, config.root_key_env) = (None, None),
            None => {}
        }
        if let Some(url) = &config.smtp_url {
            url.server().map_err(ConfigError::SmtpUrl)?;
            if config.mail_dir.is_some() {
                return Err(ConfigError::SeveralMails);
            }
        }
        Ok(config)
    }
}

/// The id of the argument that says where the root key comes from: the one that a flag gives, else that of an
/// environment variable, else the file's.
fn root_key_option(matches: &ArgMatches) -> Result<Option<&'static str>, ConfigError> {
    let options = ["root_key_file", "root_key_env", "root_key_command"];
    for source in [ValueSource::CommandLine, ValueSource::EnvVariable, ValueSource::DefaultValue] {
        let mut given = options.into_iter().filter(|id| matches.value_source(id) == Some(source));
        match (given.next(), given.next()) {
            (Some(_), Some(_)) => return Err(ConfigError::SeveralRootKeys),
            (Some(id), None) => return Ok(Some(id)),
            (None, _) => {}
        }
    }
    Ok(None)
}

/// Where the root key comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RootKeySource {
    /// This file in the data folder, made at the first start.
    MadeAtFirstStart(PathBuf),
    /// This file, which must be there.
    File(PathBuf),
    /// The environment variable of this name.
    Environment(String),
    /// The output of this command, run without a shell.
    Command(String),
}

/// Who may sign up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum Signup {
    /// Whoever has an address of an organization's domain; whoever is invited need not.
    InvitedOrDomain,
    /// Everybody.
    Open,
    /// Nobody.
    Off,
}

/// Who may found organizations after the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Founding {
    /// The operator alone.
    Operator,
    /// Everybody who has an account.
    Open,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Human,
    /// One JSON object a line.
    Json,
}

/// The least important level that is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogLevel {
    /// What needs somebody at once.
    Error,
    /// What somebody should look at.
    Warn,
    /// Starts, stops, and what an operator did.
    Info,
    /// Each request.
    Debug,
    /// Each step of each request.
    Trace,
}

#[cfg(test)]
mod tests;
