//! The server: a store opened, its listeners bound, served until it is told to stop, and closed cleanly.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::net::TcpListener;

use crate::clock::Clock;
use crate::config::value::DnsServer;
use crate::config::{Config, Founding, Signup};
use crate::data_dir::{DataDir, DataDirError, on_one_disk};
use crate::dns::Dns;
use crate::http;
use crate::http::app::{App, OrganizationsPolicy, Policy, SignupPolicy};
use crate::http::limits::Limits;
use crate::http::operator_token::{OperatorToken, OperatorTokenError};
use crate::http::page::Cursors;
use crate::http::rate_limit::RateLimits;
use crate::http::server::{Listener, bind_unix};
use crate::http::streams::Streams;
use crate::http::throttle::Throttle;
use crate::http::tls::{Files, Tls, TlsError};
use crate::log::EventLog;
use crate::mail::transport::{Transport, TransportError};
use crate::mail::{InvalidSender, Mailer};
use crate::metrics::Metrics;
use crate::oauth::attempts::Attempts;
use crate::oauth::refresh::Refresher;
use crate::open::{DirError, LogOptions, OpenDir, open_store, root_key};
use crate::outgoing::{Guard, Outgoing};
use crate::password::{HashCost, PasswordError, Passwords};
use crate::private;
use crate::room::Room;
use crate::seal::Plain;
use crate::seal::token::PlainToken;
use crate::snapshot::operating::Snapshots;
use crate::snapshot::place::{Place, UnusableBucket};
use crate::snapshot::schedule::{self, Schedule};
use crate::store::ledger::Ledger;
use crate::store::load::LoadError;
use crate::store::{Fatal, Parts, Store, scheduler};

/// A server that could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data directory could not be opened.
    #[error(transparent)]
    Dir(#[from] DirError),
    /// The store could not be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The threads that hash passwords could not be started.
    #[error(transparent)]
    Passwords(#[from] PasswordError),
    /// The certificate or its key cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Mail cannot go the way that it is to go.
    #[error(transparent)]
    Mail(#[from] TransportError),
    /// Mail cannot be from the address that it is to be from.
    #[error(transparent)]
    Sender(#[from] InvalidSender),
    /// The token of operators cannot be used.
    #[error(transparent)]
    OperatorToken(#[from] OperatorTokenError),
    /// Operators' tokens would go over a network in the clear.
    #[error(
        "--operator-listen {0} needs --tls-cert: anybody on the way could read the token; a loopback address does not"
    )]
    OperatorsInTheClear(SocketAddr),
    /// A listener could not be bound.
    #[error("could not listen on {place}")]
    Listen {
        /// Where.
        place: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The ledger of what was destroyed is there and cannot be read.
    #[error("the ledger in {} cannot be read", snapshots.display())]
    Ledger {
        /// The folder of the snapshots.
        snapshots: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The bucket of the snapshots cannot be used.
    #[error(transparent)]
    Bucket(#[from] UnusableBucket),
    /// A file could not be written.
    #[error("could not write {}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A thread died.
    #[error("a thread that opens the store died")]
    Thread(#[from] tokio::task::JoinError),
}

impl From<DataDirError> for StartError {
    fn from(error: DataDirError) -> Self {
        Self::Dir(error.into())
    }
}

/// What a start found or made, for the operator to read.
#[derive(Debug, Default)]
pub struct Started {
    /// What was found while opening the log.
    pub findings: Vec<String>,
    /// The root key's file, where this start made it.
    pub root_key_made: Option<PathBuf>,
    /// The one-time token, while the server is not set up.
    pub setup_token: Option<PlainToken>,
}

/// A server with its listeners bound, not yet serving.
pub struct Server {
    /// What handlers share.
    pub app: App,
    /// What the start found or made.
    pub started: Started,
    opened: OpenDir,
    room: Arc<Room>,
    schedule: Option<Schedule>,
    limits: Arc<Limits>,
    tls: Option<Tls>,
    public: Listener,
    operators: Operators,
    address: SocketAddr,
}

/// Where operators come.
struct Operators {
    /// The socket file.
    socket: Listener,
    /// A port, and the token that they need there.
    port: Option<(Listener, OperatorToken)>,
}

impl Server {
    /// Opens the store that a configuration names and binds the listeners. `fatal` is called if the log fails later.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn start(config: &Config, clock: Clock, fatal: Fatal) -> Result<Self, StartError> {
        let limits = Arc::new(limits(config));
        let mut started = Started::default();
        let metrics = Metrics::new();
        let tls = tls(config, &metrics)?;
        let way_for_mail = way_for_mail(config)?;
        let place = config.snapshots_place()?;
        let (opened, store) = {
            let (config, clock, metrics) = (config.clone(), clock.clone(), metrics.clone());
            tokio::task::spawn_blocking(move || open(&config, clock, metrics, fatal)).await??
        };
        let OpenedStore { dir, room, root_key_made } = opened;
        started.findings = dir.findings.iter().map(ToString::to_string).collect();
        started.root_key_made = root_key_made;
        let bound = match bind(config, &dir, &store, tls.clone()).await {
            Ok(bound) => bound,
            Err(error) => {
                // A port that is taken is no reason for the next start to read the whole log anew.
                let closed = tokio::task::spawn_blocking(move || {
                    store.stop();
                    dir.log.close()
                });
                if !matches!(closed.await, Ok(Ok(()))) {
                    tracing::warn!("the log could not be closed cleanly; the next start reads it anew");
                }
                return Err(error);
            }
        };
        let Bound { public, operators, address, setup_token } = bound;
        started.setup_token = setup_token;
        let mailer = way_for_mail.map(|way| mailer(config, way, address, &store)).transpose()?;
        let app = app(config, store, mailer, place, &dir, address)?;
        let schedule = config.snapshot_schedule();
        Ok(Self { app, started, opened: dir, room, schedule, limits, tls, public, operators, address })
    }

    /// The address that it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it speaks TLS with, where it does.
    pub fn tls(&self) -> Option<&Tls> {
        self.tls.as_ref()
    }

    /// Serves until `stop`; then lets requests end, records open counts, and closes the log cleanly.
    ///
    /// # Errors
    /// When the log cannot be closed; the next start then takes the stop for an unclean one.
    pub async fn run(self, stop: impl Future<Output = ()>) -> io::Result<()> {
        let Self { app, opened, room, schedule, limits, tls, public, operators, .. } = self;
        let metrics = app.store.metrics().clone();
        let (stopping, stopped) = tokio::sync::watch::channel(false);
        let timers = tokio::spawn(scheduler::run(
            app.store.clone(),
            app.dns.clone(),
            app.refresher.clone(),
            until(stopped.clone()),
        ));
        let renewals = tokio::spawn(schedule::renew_keys(
            app.store.clone(),
            app.snapshots.clone(),
            until(stopped.clone()),
        ));
        let snapshots = schedule.map(|schedule| {
            let (store, snapshots) = (app.store.clone(), app.snapshots.clone());
            tokio::spawn(schedule::run(store, snapshots, schedule, until(stopped.clone())))
        });
        let certificate = tls.map(|tls| tls.watch(app.store.clock().clone(), until(stopped.clone())));
        let certificate = certificate.map(tokio::spawn);
        let serve_operators = |(listener, token)| {
            let router = http::operator::router(&app, Arc::clone(&limits), token);
            let stop = until(stopped.clone());
            tokio::spawn(http::server::serve(listener, router, Arc::clone(&limits), Metrics::new(), stop))
        };
        let port = operators.port.map(|(listener, token)| (listener, Some(token)));
        let operators: Vec<_> =
            [(operators.socket, None)].into_iter().chain(port).map(serve_operators).collect();
        let (streams, place) = (app.streams.clone(), Arc::clone(&app.snapshots.place));
        let stop = async move {
            stop.await;
            // They would go on for ever, and the stop would wait for them.
            streams.end();
            place.give_up();
            let _nobody_waits = stopping.send(true);
        };
        let cut =
            http::server::serve(public, http::router(&app, Arc::clone(&limits)), limits, metrics, stop).await;
        if cut > 0 {
            tracing::warn!(connections = cut, "connections were cut off at the stop");
        }
        let _timers = timers.await;
        for task in operators {
            let _cut = task.await;
        }
        for task in certificate.into_iter().chain(snapshots).chain([renewals]) {
            let _ended = task.await;
        }
        app.refresher.end().await;
        if let Some(mailer) = &app.mailer {
            mailer.end().await;
        }
        app.store.flush_counts(true).await;
        tokio::task::spawn_blocking(move || {
            app.store.stop();
            room.make_for_stop();
            let closed = opened.log.close();
            for path in [opened.dir.operator_socket(), opened.dir.server_file()] {
                let _gone = std::fs::remove_file(path);
            }
            closed
        })
        .await
        .map_err(io::Error::other)?
    }
}

/// Waits until the server is told to stop.
async fn until(mut stopped: tokio::sync::watch::Receiver<bool>) {
    let _sender_gone = stopped.wait_for(|stopped| *stopped).await;
}

/// What a start makes once the store is open.
struct Bound {
    public: Listener,
    operators: Operators,
    address: SocketAddr,
    setup_token: Option<PlainToken>,
}

async fn bind(config: &Config, dir: &OpenDir, store: &Store, tls: Option<Tls>) -> Result<Bound, StartError> {
    // What the ledger says may be a deletion, which is an intent.
    store.finish_ledger().await;
    store.finish_intents().await;
    let setup_token = setup_token(dir, store)?;
    let listen = |place: String| move |source| StartError::Listen { place, source };
    let public = TcpListener::bind(config.listen).await.map_err(listen(config.listen.to_string()))?;
    let address = public.local_addr().map_err(listen(config.listen.to_string()))?;
    let socket = dir.dir.operator_socket();
    let socket = bind_unix(&socket).map_err(listen(socket.display().to_string()))?;
    let on = |tcp, tls: &Option<Tls>| match tls.clone() {
        Some(tls) => Listener::Tls(tcp, tls),
        None => Listener::Tcp(tcp),
    };
    let (port, of_operators) = match config.operator_listen {
        Some(at) if tls.is_none() && !at.ip().is_loopback() => {
            return Err(StartError::OperatorsInTheClear(at));
        }
        Some(at) => {
            let token = OperatorToken::in_file(&config.operator_token_file())?;
            let port = TcpListener::bind(at).await.map_err(listen(at.to_string()))?;
            let at = port.local_addr().map_err(listen(at.to_string()))?;
            (Some((on(port, &tls), token)), Some(at))
        }
        None => (None, None),
    };
    note_server(&dir.dir, address, of_operators)?;
    Ok(Bound { public: on(public, &tls), operators: Operators { socket, port }, address, setup_token })
}

struct OpenedStore {
    dir: OpenDir,
    room: Arc<Room>,
    root_key_made: Option<PathBuf>,
}

fn open(
    config: &Config,
    clock: Clock,
    metrics: Metrics,
    fatal: Fatal,
) -> Result<(OpenedStore, Store), StartError> {
    let dir = DataDir::open(&config.data_dir, config.ballast.bytes())?;
    let root = root_key(&dir, &config.root_key())?;
    let root_key_made = root.made.clone();
    let options = LogOptions { cache_bytes: config.log_cache.bytes(), ..LogOptions::default() };
    let (mut dir, ring) = open_store(dir, root, options)?;
    let room = Arc::new(Room::new(&dir.dir, config.min_free_disk.bytes(), config.ballast.bytes()));
    let watched = Arc::clone(&room);
    let disk = Arc::new(move || watched.is_left());
    let watched = Arc::clone(&room);
    let derived_disk = Arc::new(move || watched.is_left_for_derived());
    let log: Arc<dyn EventLog> = Arc::clone(&dir.log) as Arc<dyn EventLog>;
    let store = Store::open(Parts {
        log,
        ring,
        clock: clock.clone(),
        epoch: dir.epoch.as_str().to_owned(),
        queue_capacity: config.queue_capacity as usize,
        disk,
        derived: Some((dir.derived.clone(), derived_disk)),
        directory: dir.directory.take(),
        ledger: Some(ledger(config, &dir)?),
        resident_streams: config.resident_streams as usize,
        metrics,
        fatal,
    })?;
    store.resume_clock();
    Ok((OpenedStore { dir, room, root_key_made }, store))
}

fn ledger(config: &Config, dir: &OpenDir) -> Result<Ledger, StartError> {
    let snapshots = config.snapshots_dir();
    dir.ledger(&snapshots).map_err(|source| StartError::Ledger { snapshots, source })
}

fn app(
    config: &Config,
    store: Store,
    mailer: Option<Mailer>,
    place: Arc<dyn Place>,
    dir: &OpenDir,
    address: SocketAddr,
) -> Result<App, StartError> {
    let cost = HashCost {
        memory_kib: u32::try_from(config.password_memory.bytes() / 1024).unwrap_or(u32::MAX),
        passes: config.password_passes,
        lanes: 1,
    };
    let passwords = Passwords::start(cost, config.password_queue as usize)?;
    let root = dir.dir.root().to_owned();
    let policy = Policy {
        setup_token: dir.dir.setup_token(),
        signup: match config.signup {
            Signup::InvitedOrDomain => SignupPolicy::InvitedOrDomain,
            Signup::Open => SignupPolicy::Open,
            Signup::Off => SignupPolicy::Off,
        },
        organizations: match config.organizations {
            Founding::Operator => OrganizationsPolicy::Operator,
            Founding::Open => OrganizationsPolicy::Open,
        },
        free_bytes: Arc::new(move || crate::data_dir::free_bytes(&root)),
        host: config.public_host(address),
        public_url: config.public_url(address),
        trusted_proxies: config.trusted_proxies.clone(),
    };
    let cursors = Cursors::new(store.ring().derive("cursors"), store.epoch());
    let streams = Streams::new(config.streams_per_credential as usize);
    let (throttle, mail_throttle) = (Arc::new(Throttle::new()), Arc::new(Throttle::new()));
    let (rate_limits, policy) = (Arc::new(RateLimits::default()), Arc::new(policy));
    let left = match on_one_disk(&config.data_dir, &config.snapshots_dir()) {
        true => config.min_free_disk.bytes(),
        false => 0,
    };
    let snapshots = Snapshots::new(config.snapshots_dir(), dir.store.id).leaving(left).in_place(place);
    let dns = Dns::new(config.dns_resolver.map(DnsServer::address), store.clock().clone());
    let guard = if config.oauth_allow_loopback { Guard::PublicOrLoopback } else { Guard::Public };
    let outgoing = Outgoing::new(guard, dns.clone(), store.clock().clone());
    let refresher = Refresher::new(store.clone(), outgoing.clone());
    Ok(App {
        store,
        passwords,
        throttle,
        mail_throttle,
        mailer,
        dns,
        outgoing,
        attempts: Attempts::default(),
        refresher,
        rate_limits,
        cursors,
        streams,
        snapshots,
        policy,
    })
}

/// Before anything is opened: what is wrong with the way for mail shows at once.
fn way_for_mail(config: &Config) -> Result<Option<Transport>, TransportError> {
    match (&config.smtp_url, &config.mail_dir) {
        (Some(url), _) => {
            let server = url.server().map_err(TransportError::Url)?;
            Transport::smtp(&server, &config.mail_host()).map(Some)
        }
        (None, Some(folder)) => Transport::folder(folder).map(Some),
        (None, None) => Ok(None),
    }
}

fn mailer(
    config: &Config,
    way: Transport,
    address: SocketAddr,
    store: &Store,
) -> Result<Mailer, InvalidSender> {
    let (clock, metrics) = (store.clock().clone(), store.metrics().clone());
    Mailer::new(way, &config.mail_from(), &config.public_url(address), clock, metrics)
}

/// Before anything is opened: what is wrong with a certificate shows at once.
fn tls(config: &Config, metrics: &Metrics) -> Result<Option<Tls>, TlsError> {
    match (&config.tls_cert, &config.tls_key) {
        (None, None) => Ok(None),
        (Some(certificate), Some(key)) => {
            let files = Files { certificate: certificate.clone(), key: key.clone() };
            Tls::read(files, metrics.clone()).map(Some)
        }
        (Some(_), None) | (None, Some(_)) => Err(TlsError::Alone),
    }
}

fn limits(config: &Config) -> Limits {
    Limits {
        connections: config.max_connections as usize,
        connections_per_network: config.max_connections_per_network as usize,
        proxies: config.trusted_proxies.clone(),
        header_read: config.header_timeout.duration(),
        body_memory: usize::try_from(config.body_memory.bytes()).unwrap_or(usize::MAX),
        body_read: config.body_timeout.duration(),
        write_stall: config.write_timeout.duration(),
        idle: config.idle_timeout.duration(),
        drain: config.drain_timeout.duration(),
        ..Limits::default()
    }
}

/// The one-time token, written where only the operator can read it; none once the server is set up.
fn setup_token(dir: &OpenDir, store: &Store) -> Result<Option<PlainToken>, StartError> {
    let path = dir.dir.setup_token();
    if store.platform().view().platform().foundings.any_ever() {
        // Left behind by a crash between the set-up and its removal; it has been void since.
        let _gone = std::fs::remove_file(&path);
        return Ok(None);
    }
    if let Ok(text) = private::read(&path)
        && !text.trim().is_empty()
    {
        return Ok(Some(PlainToken::presented(text.trim())));
    }
    let token = PlainToken::draw();
    let line = Plain::from(format!("{}\n", token.expose()));
    private::write(&path, line.as_bytes()).map_err(|source| StartError::File { path, source })?;
    Ok(Some(token))
}

/// What a running server says of itself to the command line.
fn note_server(
    dir: &DataDir,
    address: SocketAddr,
    of_operators: Option<SocketAddr>,
) -> Result<(), StartError> {
    let path = dir.server_file();
    let mut note = serde_json::json!({ "pid": std::process::id(), "listen": address.to_string() });
    if let Some(address) = of_operators {
        note["operator_listen"] = address.to_string().into();
    }
    private::write(&path, format!("{note}\n").as_bytes()).map_err(|source| StartError::File { path, source })
}
