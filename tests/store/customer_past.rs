//! What the past of one thing costs: what it has, however much others have.

use std::sync::Arc;

use settled::command::Command;
use settled::history::description::Focus;
use settled::history::past::{Asking, Past};
use settled::ids::{EnvironmentId, Fresh};
use settled::log::EventLog;
use settled::settings::customers::command::CustomersCommand;
use settled::settings::roles::access::Grants;
use settled::settings::roles::permission::Permission;
use settled::store::{Replay, Submission};

use crate::commands::{create, write};
use crate::counted::Counted;
use crate::golden_customers::Customer;
use crate::test_store::TestStore;

/// How many customers there are beside the one.
const OTHERS: usize = 150;

#[tokio::test]
async fn the_past_of_a_customer_reads_the_frames_of_nobody_else() {
    let store = TestStore::in_memory();
    let founded = store.found("Acme").await;
    let submit = async |command: CustomersCommand| {
        let submission = Submission::new(Command::from(command), founded.owner);
        store.execute(&founded, submission).await.unwrap().version
    };
    let one = Customer::new(&store, &founded);
    store.execute(&founded, one.created(&founded)).await.unwrap();
    let suspended = submit(CustomersCommand::Suspend(one.id())).await;
    for _ in 0..OTHERS {
        let other = Customer::new(&store, &founded);
        store.execute(&founded, other.created(&founded)).await.unwrap();
    }
    let back = submit(CustomersCommand::Reactivate(one.id())).await;

    let counted = Counted::over(Arc::clone(&store.log));
    let log: Arc<dyn EventLog> = Arc::clone(&counted) as Arc<dyn EventLog>;
    let again = store.restarted_on(log);
    let handle = again.handle(founded.organization);
    let view = handle.view();
    counted.read_since();
    let asking = Asking {
        focus: Focus::Resource(one.id().to_string()),
        grants: Grants {
            organization: [Permission::CustomerRead].into_iter().collect(),
            ..Grants::default()
        },
        before: u64::MAX,
        limit: 2,
    };
    let told = Past::read(&again.store, &handle, &view, &asking, |event, changes| {
        (event.version, changes.iter().map(|change| change.field).collect::<Vec<_>>())
    });
    let told = told.unwrap();
    assert_eq!(told.rows, [(back, vec!["suspended"]), (suspended, vec!["suspended"])]);
    let read = counted.read_since();
    assert!(read < 20, "{read} frames for a page of two");

    // So does what a repeated request meets.
    let replay = Replay { status: 200, first: back, version: back };
    let met = again.store.met_as_of(&handle, suspended, &replay).unwrap();
    let customers = &met.organization().customers;
    assert_eq!((met.version(), customers.len()), (suspended, 1));
    let whole = again.store.as_of(&handle, suspended).unwrap();
    assert_eq!(customers.get(one.id()), whole.organization().customers.get(one.id()));
    let read = counted.read_since();
    assert!(read < 20, "{read} frames for a repeated request");
}

#[tokio::test]
async fn the_past_of_an_environment_and_a_repeated_request_about_it_read_nothing_of_customers() {
    let store = TestStore::in_memory();
    let founded = store.found("Acme").await;
    let environment: EnvironmentId = Fresh.id();
    let submit = async |submission| store.execute(&founded, submission).await.unwrap().version;
    submit(create(founded.owner, environment, "live")).await;
    let value = |text: &str| vec![("REGION".to_owned(), Some(format!("\"{text}\"")))];
    let north = submit(write(founded.owner, environment, value("north"))).await;
    for _ in 0..OTHERS {
        submit(Customer::new(&store, &founded).created(&founded)).await;
    }
    let south = submit(write(founded.owner, environment, value("south"))).await;

    let counted = Counted::over(Arc::clone(&store.log));
    let again = store.restarted_on(Arc::clone(&counted) as Arc<dyn EventLog>);
    let handle = again.handle(founded.organization);
    let (view, grants) = (handle.view(), [Permission::EnvironmentRead, Permission::ConfigRead]);
    counted.read_since();
    for focus in
        [Focus::Resource(environment.to_string()), Focus::Named(environment.to_string(), "REGION".to_owned())]
    {
        let asking = Asking {
            focus,
            grants: Grants { organization: grants.into_iter().collect(), ..Grants::default() },
            before: u64::MAX,
            limit: 2,
        };
        let told = Past::read(&again.store, &handle, &view, &asking, |event, changes| {
            (event.version, changes.iter().map(|change| change.field).collect::<Vec<_>>())
        });
        assert_eq!(told.unwrap().rows, [(south, vec!["value"]), (north, vec!["value"])]);
        let read = counted.read_since();
        assert!(read < 20, "{read} frames for a page of two");
    }
    for version in [south - 1, south] {
        let replay = Replay { status: 200, first: south, version: south };
        let met = again.store.met_as_of(&handle, version, &replay).unwrap();
        let whole = again.store.as_of(&handle, version).unwrap();
        counted.read_since();
        again.store.met_as_of(&handle, version - 2, &replay).unwrap();
        let read = counted.read_since();
        assert!(read < 40, "{read} frames for a repeated request");
        let (met, whole) = (met.organization(), whole.organization());
        assert_eq!(met.environments.get(environment), whole.environments.get(environment));
        assert_eq!((met.people.count(), met.customers.len()), (whole.people.count(), 0));
    }
}
