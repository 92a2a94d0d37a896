//! Restoring beyond the plan: who may see one, what happens when settings change meanwhile, and which threads it takes.
//! And how far one request reads back into a thing's past.

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::task::{Context, Waker};

use settled::actor::Actor;
use settled::command::Rejection;
use settled::event::Version;
use settled::history::description::Focus;
use settled::history::past::{Asking, EXAMINED_MAX, Past};
use settled::history::restore::operator::OperatorRestore;
use settled::history::restore::run::{Failed, Restorer, TRIES_MAX, run};
use settled::history::restore::{Planned, PointInTime, Wanted};
use settled::ids::{EnvironmentId, Fresh};
use settled::settings::environments::command::{EnvironmentsCommand, UpdateEnvironment};
use settled::settings::general::event::RestoredScope;
use settled::settings::roles::access::{Grants, grants};
use settled::settings::roles::permission::Permission;
use settled::store::resident::Handle;
use settled::store::{Done, Refusal, Store, Submission};
use settled::text::Name;

use crate::commands::{create, rename};
use crate::test_store::{Founded, TestStore};

/// Acme with an environment that came after the version to go back to.
async fn acme() -> (TestStore, Founded, EnvironmentId, Wanted) {
    let store = TestStore::in_memory();
    let founded = store.found("Acme").await;
    let as_of = store.handle(founded.organization).view().version();
    let environment = Fresh.id();
    store.execute(&founded, create(founded.owner, environment, "stage")).await.unwrap();
    let (scope, focus) = (RestoredScope::Organization, Focus::All);
    (store, founded, environment, Wanted { as_of, scope, focus, include_access: false })
}

/// Somebody who rehearses, while settings change under them so many times.
struct Rehearsing {
    store: Store,
    handle: Arc<Handle>,
    grants: Grants,
    changes: usize,
    attempts: AtomicUsize,
}

impl Rehearsing {
    fn new(store: &TestStore, founded: &Founded, held: &[Permission], changes: usize) -> Self {
        let grants = Grants { organization: held.iter().copied().collect(), ..Grants::default() };
        let handle = store.handle(founded.organization);
        Self { store: store.store.clone(), handle, grants, changes, attempts: AtomicUsize::new(0) }
    }
}

impl Restorer for Rehearsing {
    type Refusal = Refusal;

    fn grants(&self) -> &Grants {
        &self.grants
    }

    async fn attempt(&self, planned: &Planned) -> Result<Done, Refusal> {
        let attempt = self.attempts.fetch_add(1, Ordering::Relaxed);
        if attempt < self.changes {
            let change = rename(Actor::OPERATOR, &format!("Acme {} {attempt}", self.changes));
            self.store.execute(&self.handle, change).await?;
        }
        self.store.rehearse(&self.handle, &Submission::new(planned.command.clone(), Actor::OPERATOR))
    }

    fn is_stale(refusal: &Refusal) -> bool {
        *refusal == Refusal::Rejected(Rejection::Stale)
    }
}

const ALL: &[Permission] = &[Permission::OrganizationRead, Permission::EnvironmentRead];

#[tokio::test]
async fn a_plan_is_made_again_when_settings_changed_while_it_was() {
    let (store, founded, _, wanted) = acme().await;
    for changes in [0, 1, TRIES_MAX - 1] {
        let by = Rehearsing::new(&store, &founded, ALL, changes);
        let (planned, done) = run(&store.store, &by.handle, &wanted, &by).await.unwrap();
        assert_eq!(by.attempts.into_inner(), changes + 1);
        assert_eq!(planned.view.version(), by.handle.view().version(), "of the newest settings");
        assert_eq!(done.events, planned.command.steps.len() as u64 + 1);
    }
    let by = Rehearsing::new(&store, &founded, ALL, usize::MAX);
    let failed = run(&store.store, &by.handle, &wanted, &by).await.err().unwrap();
    assert!(matches!(failed, Failed::Refused(Refusal::Rejected(Rejection::Stale))));
    assert_eq!(by.attempts.into_inner(), TRIES_MAX);
}

#[tokio::test]
async fn a_plan_is_neither_shown_to_nor_made_by_whom_a_thing_in_it_is_hidden_from() {
    let (store, founded, environment, wanted) = acme().await;
    store.execute(&founded, rename(founded.owner, "Acme Ltd")).await.unwrap();
    for missing in ALL {
        let held: Vec<Permission> = ALL.iter().copied().filter(|held| held != missing).collect();
        let by = Rehearsing::new(&store, &founded, &held, 0);
        let Err(Failed::Hidden(hidden)) = run(&store.store, &by.handle, &wanted, &by).await else {
            panic!("it was shown without {missing}");
        };
        assert_eq!(hidden.missing, Some(*missing));
        let of = (*missing == Permission::EnvironmentRead).then_some(environment);
        assert_eq!(hidden.environment, of);
        assert_eq!(by.attempts.into_inner(), 0);
    }
    let mut by = Rehearsing::new(&store, &founded, &[Permission::OrganizationRead], 0);
    by.grants.environments.insert_mut(environment, [Permission::EnvironmentRead].into_iter().collect());
    assert!(run(&store.store, &by.handle, &wanted, &by).await.is_ok(), "in the one environment is enough");
}

/// All threads that may block are busy: what does not wait for one ran where nothing may block.
#[test]
fn an_operators_restore_reads_and_decides_on_threads_that_may_block() {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().max_blocking_threads(1).build().unwrap();
    runtime.block_on(async {
        let (store, founded, ..) = acme().await;
        let restore = OperatorRestore {
            organization: founded.organization,
            as_of: PointInTime::Version(1),
            environment: None,
            include_access: false,
            dry_run: true,
        };
        // From the first step to the last: each is let through alone.
        let mut running = pin!(restore.run(&store.store));
        let mut waited = 0;
        loop {
            let (release, held) = mpsc::channel::<()>();
            let busy = tokio::task::spawn_blocking(move || held.recv());
            if running.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready() {
                release.send(()).unwrap();
                break;
            }
            waited += 1;
            release.send(()).unwrap();
            busy.await.unwrap().unwrap();
            // What was queued behind it runs before what is queued now.
            tokio::task::spawn_blocking(|| ()).await.unwrap();
        }
        assert_eq!(waited, 3, "reading what is meant, planning, rehearsing");
    });
}

fn described(actor: Actor, environment: EnvironmentId, name: &str) -> Submission {
    let name = Some(Name::try_from(name).unwrap());
    let update = UpdateEnvironment { environment, name, slug: None, description: None };
    Submission::new(EnvironmentsCommand::Update(update), actor)
}

#[tokio::test]
async fn a_request_reads_back_to_the_first_row_and_not_without_end() {
    let (store, founded, environment, _) = acme().await;
    let first = store.handle(founded.organization).view().version();
    for number in 0..EXAMINED_MAX + 10 {
        store.execute(&founded, described(founded.owner, environment, &number.to_string())).await.unwrap();
    }
    let handle = store.handle(founded.organization);
    let grants = grants(handle.view().organization(), Actor::OPERATOR.id);
    let page = |focus: Focus, before: Version| {
        let asking = Asking { focus, grants: grants.clone(), before, limit: 1 };
        Past::read(&store.store, &handle, &handle.view(), &asking, |event, _| event.version).unwrap()
    };
    let none = || Focus::Named(environment.to_string(), "NONE".to_owned());
    let looked = page(none(), Version::MAX);
    assert_eq!(looked.rows, [0; 0]);
    let next = looked.next.expect("there is more than one request looks at");
    let examined = handle.view().version() + 1 - next;
    assert!((EXAMINED_MAX as u64..EXAMINED_MAX as u64 + 200).contains(&examined), "{examined}");
    let rest = page(none(), next);
    assert!(rest.is_nothing(), "the end was reached: {:?}", rest.next);
    let last = page(Focus::Resource(environment.to_string()), first + 1);
    assert_eq!((last.rows, last.next), (vec![first], None));
}
