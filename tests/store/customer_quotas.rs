//! Limits of single customers, raced for.

use futures_util::future::join_all;
use settled::command::Rejection;
use settled::ids::Fresh;
use settled::settings::billing::command::{BillingCommand, LimitCustomer};
use settled::settings::billing::customer_limits::{OF_CUSTOMERS, used_by};
use settled::settings::billing::value::{Excess, Meter};
use settled::settings::executions::command::ExecutionsCommand;
use settled::settings::secrets::command::At;
use settled::settings::secrets::value::Scope;
use settled::store::{Refusal, Submission};

use crate::commands::create;
use crate::golden_customers::Customer;
use crate::quotas::connects;
use crate::secrets::Values;
use crate::test_store::TestStore;

const RACING: usize = 200;
const ROOM: u64 = 50;

#[tokio::test]
async fn two_hundred_race_for_a_customers_fifty_and_another_is_not_concerned() {
    let store = TestStore::in_memory();
    let founded = store.found("Acme").await;
    let environment = Fresh.id();
    store.execute(&founded, create(founded.owner, environment, "dev")).await.unwrap();
    let [limited, other] = [(); 2].map(|()| Customer::new(&store, &founded));
    for customer in [&limited, &other] {
        store.execute(&founded, customer.created(&founded)).await.unwrap();
    }
    let limits = OF_CUSTOMERS.map(|meter| (meter, ROOM)).into();
    let set = BillingCommand::LimitCustomer(LimitCustomer { customer: limited.id(), limits });
    store.execute(&founded, Submission::new(set, founded.owner)).await.unwrap();
    let values = Values { store: &store, founded: &founded };
    let makes = |customer: &Customer, meter: Meter, number: usize| match meter {
        Meter::Secrets => {
            let at = At { secret: Fresh.id(), scope: Scope::Customer(environment, customer.id()) };
            values.create(at, &format!("S{number}"), "value")
        }
        Meter::Connections => connects(&store, &founded, Scope::Customer(environment, customer.id()), number),
        Meter::Executions => {
            let start = customer.start(&founded, Fresh.id(), environment);
            Submission::new(ExecutionsCommand::Start(start), founded.owner)
        }
        _ => unreachable!("{meter} is not limited for single customers"),
    };
    let used = |customer: &Customer, meter| {
        let view = store.handle(founded.organization).view();
        used_by(view.organization(), customer.id(), meter, store.clock.now())
    };
    for meter in OF_CUSTOMERS {
        let version = store.handle(founded.organization).view().version();
        let racing = (0..RACING).map(|number| store.execute(&founded, makes(&limited, meter, number)));
        let results = join_all(racing).await;
        assert_eq!(results.iter().filter(|result| result.is_ok()).count() as u64, ROOM, "{meter}");
        let full = Rejection::QuotaExceeded(Excess { meter, limit: ROOM, used: ROOM });
        for refusal in results.into_iter().filter_map(Result::err) {
            assert_eq!(refusal, Refusal::Rejected(full.clone()));
        }
        assert_eq!(used(&limited, meter), ROOM);
        let appended = store.handle(founded.organization).view().version() - version;
        assert_eq!(appended, ROOM, "what is refused appends nothing");
        let others = (0..RACING / 2).map(|number| store.execute(&founded, makes(&other, meter, number)));
        assert!(join_all(others).await.iter().all(Result::is_ok), "{meter}");
        assert_eq!(used(&other, meter), RACING as u64 / 2);
    }
}
