//! A store without a server: over any log, with a manual clock, a disk that can be full, and commands of people.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use settled::actor::{Actor, ActorId};
use settled::clock::{Clock, Hands, Timestamp};
use settled::event::Recorded;
use settled::ids::{AccountId, Fresh, OrganizationId, SessionId, StoreId, StreamId, UserId};
use settled::log::frame::Frame;
use settled::log::memory::MemoryLog;
use settled::log::{Append, EventLog, Key, Position};
use settled::metrics::Metrics;
use settled::platform::accounts::command::AccountsCommand;
use settled::platform::accounts::credentials::{ChangeEmail, RequestEmailChange};
use settled::platform::accounts::event::{MailedLink, SignedUp};
use settled::platform::foundings::command::{FoundingsCommand, SetUp};
use settled::platform::foundings::event::FoundingOpened;
use settled::platform::{accounts, foundings};
use settled::seal::keyring::{KeyRing, NewDataKey};
use settled::seal::root::{RootKey, RootKeySource};
use settled::seal::{Commitment, Plain};
use settled::settings::people::event::PersonJoined;
use settled::settings::people::{email_field, name_field};
use settled::settings::sessions::event::SessionOpened;
use settled::store::derived::{DerivedFiles, holds};
use settled::store::ledger::{Keeper, Ledger};
use settled::store::load::saved_directory;
use settled::store::resident::Handle;
use settled::store::{DiskGauge, Done, Parts, Refusal, Store, Submission};
use uuid::Uuid;

use crate::loaded::loaded;

/// When the tests' clocks begin: 2026-01-02T03:04:05Z.
pub fn start() -> Timestamp {
    Timestamp::from_micros(1_767_323_045_000_000)
}

/// A folder of wrapped stream keys and the root key that opens them; shared by the stores of one test.
#[derive(Clone)]
pub struct Keys {
    folder: Arc<tempfile::TempDir>,
    root: String,
}

impl Keys {
    pub fn new() -> Self {
        Self {
            folder: Arc::new(tempfile::tempdir().expect("a temporary folder")),
            root: RootKey::random().text().to_string(),
        }
    }

    /// The same in a folder of their own, for a store that replaces some of them.
    pub fn copied(&self) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (from, to) = (self.folder.path().join("keys"), folder.path().join("keys"));
        std::fs::create_dir(&to).expect("the folder is ours");
        for entry in std::fs::read_dir(from).expect("a store has made it") {
            let file = entry.expect("it can be listed");
            std::fs::copy(file.path(), to.join(file.file_name())).expect("a key file can be copied");
        }
        Self { folder: Arc::new(folder), root: self.root.clone() }
    }

    /// From now on the configured root key is another one.
    pub fn go_over(&mut self, root: &str) {
        root.clone_into(&mut self.root);
    }

    pub fn ring(&self, log: &Arc<dyn EventLog>) -> Arc<KeyRing> {
        let source = RootKeySource::Environment(self.root.clone().into());
        let root = RootKey::load(&source).expect("the text is a root key's");
        let ring = KeyRing::open(self.folder.path().join("keys"), root, Arc::clone(log));
        Arc::new(ring.expect("the keys are this root key's"))
    }
}

/// A store and what a test holds over it.
pub struct TestStore {
    pub store: Store,
    pub log: Arc<dyn EventLog>,
    pub keys: Keys,
    pub clock: Clock,
    pub hands: Hands,
    /// What the store said when its log failed.
    pub fatal: Arc<Mutex<Vec<String>>>,
    /// Whether there is room on the disk.
    pub disk: Arc<AtomicBool>,
    /// The folder of its ledger, which a crash leaves there.
    place: Arc<tempfile::TempDir>,
}

/// An organization and its founder.
#[derive(Clone, Debug)]
pub struct Founded {
    pub organization: OrganizationId,
    pub account: AccountId,
    pub owner: Actor,
}

/// What a founding needs before its intent is recorded.
pub struct Founding {
    pub submission: Submission,
    pub opened: FoundingOpened,
}

impl TestStore {
    /// A store over a log, on fresh keys, whose clock shows [`start`].
    pub fn over(log: Arc<dyn EventLog>) -> Self {
        Self::open(log, Keys::new(), start(), 1_024)
    }

    /// A store in memory.
    pub fn in_memory() -> Self {
        Self::over(Arc::new(MemoryLog::new()))
    }

    pub fn open(log: Arc<dyn EventLog>, keys: Keys, now: Timestamp, queue_capacity: usize) -> Self {
        Self::open_with(log, keys, now, queue_capacity, None, 64)
    }

    /// With derived files, and at most so many streams in memory.
    pub fn open_with(
        log: Arc<dyn EventLog>,
        keys: Keys,
        now: Timestamp,
        queue_capacity: usize,
        files: Option<DerivedFiles>,
        resident_streams: usize,
    ) -> Self {
        let place = Arc::new(tempfile::tempdir().expect("a temporary folder"));
        Self::open_at(place, log, keys, now, queue_capacity, files, resident_streams)
    }

    fn open_at(
        place: Arc<tempfile::TempDir>,
        log: Arc<dyn EventLog>,
        keys: Keys,
        now: Timestamp,
        queue_capacity: usize,
        files: Option<DerivedFiles>,
        resident_streams: usize,
    ) -> Self {
        let (clock, hands) = Clock::manual(now);
        let ring = keys.ring(&log);
        ring.create_stream_key(StreamId::Platform).expect("the platform's key is there or can be made");
        let fatal = Arc::new(Mutex::new(Vec::new()));
        let disk = Arc::new(AtomicBool::new(true));
        let (told, room) = (Arc::clone(&fatal), Arc::clone(&disk));
        let store = Store::open(Parts {
            log: Arc::clone(&log),
            ring,
            clock: clock.clone(),
            epoch: "0".to_owned(),
            queue_capacity,
            disk: Arc::new(move || room.load(Ordering::Relaxed)),
            directory: files.as_ref().and_then(saved_directory).filter(|saved| holds(&*log, saved.end())),
            ledger: Some(ledger_in(place.path())),
            derived: files.map(|files| (files, Arc::new(|| true) as DiskGauge)),
            resident_streams,
            metrics: Metrics::new(),
            fatal: Arc::new(move |message: &str| {
                told.lock().unwrap_or_else(PoisonError::into_inner).push(message.to_owned());
            }),
        })
        .expect("the log can be loaded");
        Self { store, log, keys, clock, hands, fatal, disk, place }
    }

    /// What a crash now would leave: another store over a copy of the log, on the same keys and with the same ledger.
    pub fn crashed(&self) -> Self {
        self.restarted_on(Arc::new(copy(&*self.log)))
    }

    /// The same store as it starts over another log.
    pub fn restarted_on(&self, log: Arc<dyn EventLog>) -> Self {
        Self::open_at(Arc::clone(&self.place), log, self.keys.clone(), self.clock.now(), 1_024, None, 64)
    }

    /// Its ledger as another process finds it.
    pub fn ledger(&self) -> Ledger {
        ledger_in(self.place.path())
    }

    /// Somebody who signs up with an address at `example.com`, and their key.
    pub fn stranger(&self, name: &str) -> (SignedUp, NewDataKey) {
        let account: AccountId = Fresh.id();
        let key = self.store.ring().mint(StreamId::Platform).expect("the platform has a key");
        let id = account.to_string();
        let signed_up = SignedUp {
            account,
            key: key.id(),
            email: key.key().seal(&accounts::email_field(&id), &Plain::from(address(name))),
            name: key.key().seal(&accounts::name_field(&id), &Plain::from("Ada")),
            password: key.key().seal(&accounts::password_field(&id), &Plain::from("a hash")),
            link: None,
        };
        (signed_up, key)
    }

    /// The account, organization and intent of a server's set-up.
    pub fn set_up(&self, name: &str) -> Founding {
        let (signed_up, key) = self.stranger(name);
        let account = signed_up.account;
        let opened = founding(account, key.key(), name);
        let command = SetUp { account: signed_up, founding: opened.clone() };
        let mut submission = Submission::new(FoundingsCommand::SetUp(command), Actor::SYSTEM);
        submission.keys = vec![key];
        let email = Plain::from(address(name));
        submission.claims = vec![accounts::claim(self.store.hasher(), &email, account)];
        Founding { submission, opened }
    }

    /// The intent of a further organization of an account.
    pub fn further(&self, account: AccountId, name: &str) -> Founding {
        let view = self.store.platform().view();
        let held = view.platform().accounts.get(account).expect("the account is there");
        let key = self
            .store
            .ring()
            .data_key(StreamId::Platform, held.key, held.commitment)
            .expect("its key is there");
        let opened = founding(account, &key, name);
        let actor = Actor { id: ActorId::Account(account), session: None };
        Founding { submission: Submission::new(FoundingsCommand::Open(opened.clone()), actor), opened }
    }

    /// Sets the server up.
    pub async fn found(&self, name: &str) -> Founded {
        self.finish(self.set_up(name)).await
    }

    /// Founds a further organization of an account.
    pub async fn found_further(&self, account: AccountId, name: &str) -> Founded {
        self.finish(self.further(account, name)).await
    }

    async fn finish(&self, founding: Founding) -> Founded {
        let opened = founding.opened;
        self.store.execute(self.store.platform(), founding.submission).await.expect("the intent is taken");
        self.store.finish_founding(&opened).await.expect("the founding is finished");
        Founded {
            organization: opened.organization,
            account: opened.account,
            owner: Actor { id: ActorId::Person(opened.person), session: None },
        }
    }

    /// An account's address has changed, and no organization knows: its confirmation is the last event. The account's
    /// credential generation from now on.
    pub async fn change_address(&self, account: AccountId, email: &Plain) -> u64 {
        let view = self.store.platform().view();
        let held = view.platform().accounts.get(account).expect("the account is there");
        let key = self.store.ring().data_key(StreamId::Platform, held.key, held.commitment);
        let token = Commitment([7; 32]);
        let request = RequestEmailChange {
            account,
            email: key.expect("its key is there").seal(&accounts::email_field(&account.to_string()), email),
            link: MailedLink { token, ends_at: self.clock.now().plus_seconds(60) },
            verified_generation: held.generation,
            session: Fresh.id(),
        };
        let actor = Actor { id: ActorId::Account(account), session: None };
        for command in [
            AccountsCommand::RequestEmailChange(request),
            AccountsCommand::ChangeEmail(ChangeEmail { token }),
        ] {
            let submission = Submission::new(command, actor);
            self.store.execute(self.store.platform(), submission).await.expect("the address is changed");
        }
        held.generation + 1
    }

    /// A person who is to join an organization, and their key.
    pub fn newcomer(&self, organization: OrganizationId, name: &str) -> (PersonJoined, NewDataKey) {
        let stream = StreamId::Organization(organization);
        let person: UserId = Fresh.id();
        let key = self.store.ring().mint(stream).expect("the organization has a key");
        let id = person.to_string();
        let joined = PersonJoined {
            person,
            key: key.id(),
            name: key.key().seal(&name_field(stream, &id), &Plain::from(name)),
            email: key.key().seal(&email_field(stream, &id), &Plain::from("grace@example.com")),
        };
        (joined, key)
    }

    pub fn handle(&self, organization: OrganizationId) -> Arc<Handle> {
        loaded(&self.store, organization).expect("the organization was founded")
    }

    pub async fn execute(&self, founded: &Founded, submission: Submission) -> Result<Done, Refusal> {
        self.store.execute(&self.handle(founded.organization), submission).await
    }

    /// Every event of a stream, oldest first.
    pub fn events(&self, stream: StreamId) -> Vec<Recorded> {
        frames(&*self.log)
            .into_iter()
            .filter(|(_, frame)| frame.header().stream == stream)
            .flat_map(|(_, frame)| frame.events().collect::<Vec<_>>())
            .map(|event| event.expect("the event can be read"))
            .collect()
    }

    /// The leaf hash of every event of a stream, oldest first.
    pub fn leaves(&self, stream: StreamId) -> Vec<[u8; 32]> {
        let frames = frames(&*self.log).into_iter().map(|(_, frame)| frame);
        let of = frames.filter(|frame| frame.header().stream == stream);
        of.flat_map(|frame| {
            (0..frame.len()).map(|index| frame.leaf(index).expect("it is whole")).collect::<Vec<_>>()
        })
        .collect()
    }

    /// Each stream's digest, folded from zero; says so if it is not what is served.
    pub fn digests(&self) -> Vec<(String, u64, String)> {
        let report = self.store.replay().expect("the log can be replayed");
        for stream in &report.streams {
            assert_eq!(stream.served, Some(true), "{} is served as another state", stream.stream);
        }
        report.streams.into_iter().map(|stream| (stream.stream, stream.version, stream.digest)).collect()
    }

    /// What the store said when its log failed.
    pub fn told(&self) -> Vec<String> {
        self.fatal.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for TestStore {
    fn drop(&mut self) {
        self.store.stop();
    }
}

fn address(name: &str) -> String {
    format!("{}@example.com", name.to_lowercase().replace(' ', "-"))
}

fn ledger_in(place: &Path) -> Ledger {
    let ledger = Ledger::open(&place.join("snapshots"), keeper(STORE, place.join("ledger-mark"), "0"));
    ledger.expect("the ledger can be read")
}

/// The store that each test's is, and one that lies beside it.
pub const STORE: u128 = 1;
pub const BESIDE: u128 = 2;

/// Whom a ledger is opened for.
pub fn keeper(store: u128, mark: PathBuf, epoch: &str) -> Keeper {
    let id = |store| StoreId::from_uuid(Uuid::from_u128(store));
    Keeper {
        store: id(store),
        beside: BTreeSet::from([id(STORE), id(BESIDE)]),
        mark,
        epoch: epoch.to_owned(),
    }
}

/// A session to be opened by a person.
pub fn session_of(person: UserId) -> SessionOpened {
    let session: SessionId = Fresh.id();
    SessionOpened {
        session,
        person: Some(person),
        account: None,
        token: Commitment(std::array::from_fn(|at| session.uuid().as_bytes()[at % 16])),
        generation: 1,
        since: None,
        ip: None,
        user_agent: None,
    }
}

/// The person that an actor is.
pub fn person_of(actor: Actor) -> UserId {
    match actor.id {
        ActorId::Person(person) => person,
        other => panic!("{other} is no person"),
    }
}

fn founding(account: AccountId, key: &settled::seal::DataKey, name: &str) -> FoundingOpened {
    let organization: OrganizationId = Fresh.id();
    FoundingOpened {
        organization,
        account,
        person: Fresh.id(),
        name: key.seal(&foundings::name_field(&organization.to_string()), &Plain::from(name)),
        timezone: "Europe/Berlin".to_owned(),
        plan: None,
    }
}

/// All frames of a log.
pub fn frames(log: &dyn EventLog) -> Vec<(Position, Frame)> {
    let mut all = Vec::new();
    let mut after = Position(0);
    loop {
        let read = log.read(after).expect("the log can be read");
        let Some((last, _)) = read.last() else { return all };
        after = *last;
        all.extend(
            read.into_iter().map(|(position, bytes)| (position, Frame::parse(bytes).expect("a frame"))),
        );
    }
}

/// Appends everything of one log to another, empty one.
pub fn copy_into(from: &dyn EventLog, to: &dyn EventLog) {
    for (_, frame) in frames(from) {
        let stream = frame.header().stream;
        let frame = Some(frame.bytes().clone());
        let append = Append { stream, expected: None, frame, put: Vec::new(), remove: Vec::new() };
        to.append(vec![append]).expect("the frame continues its stream");
    }
    for (stream, _) in from.streams() {
        let keys = from.data_keys(stream).expect("the keys can be read");
        let put = keys.into_iter().map(|(id, wrapped)| (Key::DataKey(stream, id), wrapped)).collect();
        to.append(vec![Append { stream, expected: None, frame: None, put, remove: Vec::new() }])
            .expect("keys can be put");
    }
}

/// A copy of a log in memory.
pub fn copy(from: &dyn EventLog) -> MemoryLog {
    let log = MemoryLog::new();
    copy_into(from, &log);
    log
}
