//! What finding something of one customer costs in a long history: of a segment that has nothing of it, nothing is read.

use std::sync::Arc;

use settled::event::Version;
use settled::ids::{CustomerId, EnvironmentId, ExecutionId, Fresh, StoreId};
use settled::log::EventLog;
use settled::log::filter::Filter;
use settled::log::memory::MemoryLog;
use settled::log::segment::SEGMENT_VERSIONS;
use settled::settings::executions::command::ExecutionsCommand;
use settled::settings::executions::told::{Which, find, find_ended, find_one, of};
use settled::store::Submission;
use settled::store::derived::DerivedFiles;

use crate::commands::{create, delete, write};
use crate::counted::Counted;
use crate::golden_customers::Customer;
use crate::test_store::{Founded, Keys, TestStore, start};

/// How many values one command sets; each is an event.
const VALUES: usize = 1_000;
/// How many customers are looked for. A sieve takes 0.3 % of what it does not have for something that it has: of so many no more
/// than a few cost a look in vain, whatever ids they drew.
const CUSTOMERS: usize = 4;
/// So many looks in vain there may be in all.
const IN_VAIN: u64 = 4;

/// A history of so many full segments, with two executions of each customer: one ended in the first, one in the last; and in the
/// first one that was abandoned.
struct Long {
    log: Arc<dyn EventLog>,
    keys: Keys,
    files: DerivedFiles,
    founded: Founded,
    customers: Vec<CustomerId>,
    ended: Vec<[ExecutionId; 2]>,
    _folder: tempfile::TempDir,
}

fn open(log: Arc<dyn EventLog>, keys: &Keys, files: &DerivedFiles) -> TestStore {
    TestStore::open_with(log, keys.clone(), start(), 1_024, Some(files.clone()), 8)
}

async fn fill(store: &TestStore, founded: &Founded, environment: EnvironmentId, until: Version) {
    loop {
        let version = store.handle(founded.organization).view().version();
        if version >= until {
            return;
        }
        let values = (0..VALUES).map(|key| (format!("KEY_{key}"), Some(format!("\"{version}\""))));
        store.hands.advance(std::time::Duration::from_secs(60));
        store.execute(founded, write(founded.owner, environment, values.collect())).await.unwrap();
    }
}

impl Long {
    async fn new(segments: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let files = DerivedFiles::new(folder.path().join("derived"), Fresh.id::<StoreId>());
        let (log, keys): (Arc<dyn EventLog>, _) = (Arc::new(MemoryLog::new()), Keys::new());
        let store = open(Arc::clone(&log), &keys, &files);
        let founded = store.found("Acme").await;
        let (environment, gone): (EnvironmentId, EnvironmentId) = (Fresh.id(), Fresh.id());
        store.execute(&founded, create(founded.owner, environment, "live")).await.unwrap();
        store.execute(&founded, create(founded.owner, gone, "gone")).await.unwrap();
        let customers: Vec<Customer> = (0..CUSTOMERS).map(|_| Customer::new(&store, &founded)).collect();
        let run = async |customer: &Customer, execution, within, ends: bool| {
            let start = ExecutionsCommand::Start(customer.start(&founded, execution, within));
            store.execute(&founded, Submission::new(start, founded.owner)).await.unwrap();
            if ends {
                let finish = ExecutionsCommand::Finish(customer.finished(&founded, execution, within));
                store.execute(&founded, Submission::new(finish, founded.owner)).await.unwrap();
            }
        };
        let ended: Vec<[ExecutionId; 2]> = customers.iter().map(|_| [Fresh.id(), Fresh.id()]).collect();
        for (customer, [first, _]) in customers.iter().zip(&ended) {
            store.execute(&founded, customer.created(&founded)).await.unwrap();
            run(customer, *first, environment, true).await;
            run(customer, Fresh.id(), gone, false).await;
        }
        store.execute(&founded, delete(founded.owner, gone)).await.unwrap();
        fill(&store, &founded, environment, (segments - 1) * SEGMENT_VERSIONS + 1).await;
        for (customer, [_, last]) in customers.iter().zip(&ended) {
            run(customer, *last, environment, true).await;
        }
        fill(&store, &founded, environment, segments * SEGMENT_VERSIONS + 1).await;
        store.store.stop();
        let customers = customers.iter().map(Customer::id).collect();
        Self { log, keys, files, founded, customers, ended, _folder: folder }
    }

    /// A store over it that has read the outlines of all segments and nothing else, and what counts from here on.
    fn opened(&self) -> (TestStore, Arc<Counted>) {
        let counted = Counted::over(Arc::clone(&self.log));
        let store = open(Arc::clone(&counted) as Arc<dyn EventLog>, &self.keys, &self.files);
        let handle = store.handle(self.founded.organization);
        let nobodys = begun(Fresh.id());
        assert!(store.store.versions_after(&handle, &handle.view(), &nobodys, 0, 9).unwrap().is_empty());
        counted.read_since();
        (store, counted)
    }

    /// How many frames are read for a list of each customer, by beginnings and by ends, and for one execution.
    fn lists(&self) -> u64 {
        let mut read = 0;
        for (customer, [first, last]) in self.customers.iter().zip(&self.ended) {
            let (store, counted) = self.opened();
            let handle = store.handle(self.founded.organization);
            let (store, view) = (&store.store, handle.view());
            let began = store.versions_after(&handle, &view, &begun(*customer), 0, 51).unwrap();
            let told = find(store, &handle, &view, &began).unwrap();
            let ended: Vec<_> =
                told.iter().filter(|told| told.ended().is_some()).map(|told| told.id()).collect();
            assert_eq!((told.len(), ended), (3, vec![*first, *last]), "and one that was abandoned");
            let how = Filter {
                marks: vec!["failed".to_owned()],
                ..of("execution.finish", vec![customer.to_string()])
            };
            let ends = store.versions_after(&handle, &view, &how, 0, 51).unwrap();
            let told = find_ended(store, &handle, &view, &ends).unwrap();
            assert_eq!(told.iter().map(|told| told.id()).collect::<Vec<_>>(), [*first, *last]);
            let how = Filter { marks: vec!["succeeded".to_owned()], ..how };
            assert!(store.versions_after(&handle, &view, &how, 0, 51).unwrap().is_empty());
            let one = find_one(store, &handle, *customer, Which::Id(*first), view.version()).unwrap();
            assert_eq!(one.map(|told| told.id()), Some(*first));
            read += counted.read_since();
        }
        read
    }
}

/// What began for a customer.
fn begun(customer: CustomerId) -> Filter {
    of("execution.start", vec![customer.to_string()])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_customer_has_is_found_as_fast_in_a_long_history_as_in_a_short_one() {
    let (short, long) = (Long::new(2).await, Long::new(4).await);
    let (of_short, of_long) = (short.lists(), long.lists());
    assert!(of_long <= of_short + IN_VAIN, "{of_long} frames instead of {of_short}");

    let (store, counted) = long.opened();
    let handle = store.handle(long.founded.organization);
    for _ in 0..10 {
        let nobody = find_one(&store.store, &handle, long.customers[0], Which::Id(Fresh.id()), Version::MAX);
        assert!(nobody.unwrap().is_none());
        let filter = Filter { resources: vec![Fresh.id::<CustomerId>().to_string()], ..Filter::default() };
        let found = store.store.versions(&handle, &handle.view(), &filter, None, 50).unwrap();
        assert_eq!((found.versions.len(), found.total), (0, 0));
    }
    let read = counted.read_since();
    assert!(read <= IN_VAIN, "{read} frames for what is not there");
}
