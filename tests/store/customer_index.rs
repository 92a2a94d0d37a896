//! Finding customers by what is sealed of them: that nobody is granted what nobody has looked for yet, when an index follows what
//! changed and when it is made anew, and that whoever goes while one is made is not left in it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};

use bytes::Bytes;
use futures_util::future::join_all;
use settled::command::{Command, Rejection};
use settled::ids::{CustomerId, DataKeyId, StreamId};
use settled::log::{Append, AppendError, EventLog, Head, Key, Position, ReadError};
use settled::settings::customers::command::CustomersCommand;
use settled::store::customers::FOLLOWED_MAX;
use settled::store::customers::index::Wanted;
use settled::store::{Refusal, Submission};

use crate::counted::Counted;
use crate::golden_customers::Customer;
use crate::test_store::{Founded, TestStore};

/// How many changes are queued at once.
const AT_ONCE: usize = 500;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_claims_an_external_id_before_it_is_known_which_there_are() {
    let store = TestStore::in_memory();
    let founded = store.found("Acme").await;
    let claims = |customer: &Customer| {
        let mut submission = customer.created(&founded);
        submission.claims = vec![store.store.external_id(customer.id(), "K-1")];
        submission
    };
    let [one, other] = [(); 2].map(|()| Customer::new(&store, &founded));
    let refused = store.execute(&founded, claims(&one)).await.unwrap_err();
    assert_eq!(refused, Refusal::Rejected(Rejection::Stale), "whoever asks makes the look-up first");
    let (of, handle) = (store.store.clone(), store.handle(founded.organization));
    tokio::task::spawn_blocking(move || of.know_external_ids(&handle)).await.unwrap().unwrap();
    store.execute(&founded, claims(&one)).await.unwrap();
    let taken = store.execute(&founded, claims(&other)).await.unwrap_err();
    assert_eq!(taken, Refusal::Rejected(Rejection::Taken));
}

/// The customers in the index of an organization, by id.
async fn indexed(store: &TestStore, founded: &Founded) -> Vec<CustomerId> {
    let (of, handle) = (store.store.clone(), store.handle(founded.organization));
    let index = tokio::task::spawn_blocking(move || of.customer_index(&handle)).await.unwrap();
    let (_, index) = index.unwrap();
    index.expect("so few fit").find(&Wanted::default(), None).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_index_follows_what_changed_and_is_made_anew_where_that_is_too_much() {
    let first = TestStore::in_memory();
    let founded = first.found("Acme").await;
    let customer = Customer::new(&first, &founded);
    first.execute(&founded, customer.created(&founded)).await.unwrap();
    let change = CustomersCommand::Update(customer.changed(&founded));
    let counted = Counted::over(Arc::clone(&first.log));
    let store = first.restarted_on(Arc::clone(&counted) as Arc<dyn EventLog>);
    let changes = async |mut left: usize| {
        while left > 0 {
            let now = left.min(AT_ONCE);
            let submit = || Submission::new(Command::from(change.clone()), founded.owner);
            let done = join_all((0..now).map(|_| store.execute(&founded, submit()))).await;
            assert!(done.into_iter().all(|done| done.is_ok_and(|done| done.events == 1)));
            left -= now;
        }
        counted.read_since();
    };
    assert_eq!(indexed(&store, &founded).await, [customer.id()]);
    changes(3).await;
    assert_eq!(indexed(&store, &founded).await, [customer.id()]);
    assert!(counted.read_since() > 0, "what changed is read");
    changes(FOLLOWED_MAX + 1).await;
    assert_eq!(indexed(&store, &founded).await, [customer.id()]);
    assert_eq!(counted.read_since(), 0, "opening everybody takes no longer than reading so much");
}

/// A log in which whoever reads a data key waits once, when that is wanted, until they are let on.
struct Paused {
    log: Arc<dyn EventLog>,
    at: DataKeyId,
    is_wanted: AtomicBool,
    reached: mpsc::Sender<()>,
    go_on: Mutex<mpsc::Receiver<()>>,
}

impl EventLog for Paused {
    fn append(&self, appends: Vec<Append>) -> Result<Vec<Position>, AppendError> {
        self.log.append(appends)
    }

    fn get(&self, key: &Key) -> Result<Option<Vec<u8>>, ReadError> {
        if matches!(key, Key::DataKey(_, id) if *id == self.at)
            && self.is_wanted.swap(false, Ordering::SeqCst)
        {
            self.reached.send(()).unwrap();
            self.go_on.lock().unwrap().recv().unwrap();
        }
        self.log.get(key)
    }

    fn data_keys(&self, stream: StreamId) -> Result<Vec<(DataKeyId, Vec<u8>)>, ReadError> {
        self.log.data_keys(stream)
    }

    fn last(&self, stream: StreamId) -> Option<Head> {
        self.log.last(stream)
    }

    fn streams(&self) -> Vec<(StreamId, Head)> {
        self.log.streams()
    }

    fn end(&self) -> Position {
        self.log.end()
    }

    fn read(&self, after: Position) -> Result<Vec<(Position, Bytes)>, ReadError> {
        self.log.read(after)
    }

    fn read_at(&self, positions: &[Position]) -> Result<Vec<Bytes>, ReadError> {
        self.log.read_at(positions)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_erased_while_an_index_follows_is_not_in_it() {
    let first = TestStore::in_memory();
    let founded = first.found("Acme").await;
    let mut both = [(); 2].map(|()| Customer::new(&first, &founded));
    both.sort_by_key(Customer::id);
    for customer in &both {
        first.execute(&founded, customer.created(&founded)).await.unwrap();
    }
    let [erased, stays] = &both;
    let ((reached, is_reached), (let_on, go_on)) = (mpsc::channel(), mpsc::channel());
    let (log, at) = (Arc::clone(&first.log), stays.created(&founded).keys[0].id());
    let go_on = Mutex::new(go_on);
    let paused = Arc::new(Paused { log, at, is_wanted: AtomicBool::new(false), reached, go_on });
    let store = first.restarted_on(Arc::clone(&paused) as Arc<dyn EventLog>);
    let submit = async |command: CustomersCommand| {
        store.execute(&founded, Submission::new(Command::from(command), founded.owner)).await.unwrap();
    };
    assert_eq!(indexed(&store, &founded).await, [erased.id(), stays.id()]);
    for customer in &both {
        submit(CustomersCommand::Update(customer.changed(&founded))).await;
    }
    paused.is_wanted.store(true, Ordering::SeqCst);
    let erasing = async {
        // The one who is erased has been opened by then: ids are opened in their order.
        tokio::task::spawn_blocking(move || is_reached.recv()).await.unwrap().unwrap();
        submit(CustomersCommand::Erase(erased.id())).await;
        let_on.send(()).unwrap();
    };
    let (found, ()) = tokio::join!(indexed(&store, &founded), erasing);
    assert_eq!(found, [stays.id()]);
}
