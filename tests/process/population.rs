//! A data directory with many organizations, founded through the library: over HTTP each would need a person to log in,
//! and a password to be hashed.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use settled::actor::{Actor, ActorId};
use settled::clock::Clock;
use settled::command::{Command, OrganizationCommand};
use settled::config::RootKeySource;
use settled::data_dir::DataDir;
use settled::ids::{AccountId, Fresh, OrganizationId, SessionId, StreamId};
use settled::log::EventLog;
use settled::metrics::Metrics;
use settled::open::{LogOptions, open_store, root_key};
use settled::platform::accounts::command::AccountsCommand;
use settled::platform::accounts::event::SignedUp;
use settled::platform::accounts::projection::ORGANIZATIONS_PER_ACCOUNT_MAX;
use settled::platform::foundings::command::FoundingsCommand;
use settled::platform::foundings::event::FoundingOpened;
use settled::platform::{accounts, foundings};
use settled::seal::token::PlainToken;
use settled::seal::{DataKey, Plain};
use settled::settings::sessions::command::SessionsCommand;
use settled::settings::sessions::event::SessionOpened;
use settled::store::{Parts, Store, Submission};
use tokio::task::JoinSet;

/// How many are founded at once, to share commits.
const AT_ONCE: usize = 64;

/// An organization and its Owner's session.
#[derive(Clone, Debug)]
pub struct Settled {
    pub name: String,
    pub token: String,
}

/// Makes a data directory with so many organizations.
pub async fn found(path: &Path, organizations: usize) -> Vec<Settled> {
    let dir = DataDir::open(path, 0).unwrap();
    let root = root_key(&dir, &RootKeySource::MadeAtFirstStart(dir.root_key())).unwrap();
    let (opened, ring) = open_store(dir, root, LogOptions::default()).unwrap();
    let store = Store::open(Parts {
        log: Arc::clone(&opened.log) as Arc<dyn EventLog>,
        ring,
        clock: Clock::system(),
        epoch: "0".to_owned(),
        queue_capacity: 1_024,
        disk: Arc::new(|| true),
        derived: None,
        ledger: None,
        directory: None,
        resident_streams: AT_ONCE * 2,
        metrics: Metrics::new(),
        fatal: Arc::new(|message| panic!("the log failed: {message}")),
    })
    .unwrap();
    let mut owners = Vec::new();
    for number in 0..organizations.div_ceil(ORGANIZATIONS_PER_ACCOUNT_MAX) {
        owners.push(sign_up(&store, number).await);
    }
    let (owners, next) = (Arc::new(owners), Arc::new(AtomicUsize::new(0)));
    let mut founders = JoinSet::new();
    for _ in 0..AT_ONCE {
        let (store, owners, next) = (store.clone(), Arc::clone(&owners), Arc::clone(&next));
        founders.spawn(async move {
            let mut founded = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= organizations {
                    return founded;
                }
                let owner = &owners[number / ORGANIZATIONS_PER_ACCOUNT_MAX];
                founded.push(found_one(&store, owner, number).await);
            }
        });
    }
    let all = founders.join_all().await.into_iter().flatten().collect();
    tokio::task::spawn_blocking(move || {
        store.stop();
        opened.log.close().unwrap();
    })
    .await
    .unwrap();
    all
}

type Owner = (AccountId, Arc<DataKey>);

async fn found_one(store: &Store, (account, key): &Owner, number: usize) -> Settled {
    let (organization, person) = (Fresh.id::<OrganizationId>(), Fresh.id());
    let id = organization.to_string();
    let name = format!("Organization {number}");
    let field = foundings::name_field(&id);
    let opened = FoundingOpened {
        organization,
        account: *account,
        person,
        name: key.seal(&field, &Plain::from(name.as_str())),
        timezone: "Europe/Paris".to_owned(),
        plan: None,
    };
    let actor = Actor { id: ActorId::Account(*account), session: None };
    let submission = Submission::new(FoundingsCommand::Open(opened.clone()), actor);
    store.execute(store.platform(), submission).await.unwrap();
    let handle = store.finish_founding(&opened).await.unwrap();
    let (token, session) = (PlainToken::draw(), Fresh.id::<SessionId>());
    let command = SessionsCommand::Open(SessionOpened {
        session,
        person: Some(person),
        account: None,
        token: token.hash(),
        generation: 1,
        since: None,
        ip: None,
        user_agent: None,
    });
    let command = Command::Organization(OrganizationCommand::Sessions(command));
    store.execute(&handle, Submission::new(command, Actor::person(person, session))).await.unwrap();
    Settled { name, token: token.expose().to_owned() }
}

async fn sign_up(store: &Store, number: usize) -> Owner {
    let new = store.ring().mint(StreamId::Platform).unwrap();
    let (account, key) = (Fresh.id::<AccountId>(), Arc::clone(new.key()));
    let (id, email) = (account.to_string(), format!("owner{number}@example.com"));
    let signed_up = SignedUp {
        account,
        key: new.id(),
        email: key.seal(&accounts::email_field(&id), &Plain::from(email.as_str())),
        name: key.seal(&accounts::name_field(&id), &Plain::from("Ada")),
        // Nobody logs in: who founded has a session.
        password: key.seal(&accounts::password_field(&id), &Plain::from("a hash")),
        link: None,
    };
    let mut submission = Submission::new(AccountsCommand::SignUp(signed_up), Actor::SYSTEM);
    submission.keys = vec![new];
    submission.claims = vec![accounts::claim(store.hasher(), &Plain::from(email.as_str()), account)];
    store.execute(store.platform(), submission).await.unwrap();
    (account, key)
}
