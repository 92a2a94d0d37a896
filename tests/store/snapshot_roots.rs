//! The roots in a snapshot: those that checkpoints are signed over, known to the store otherwise than by the frames that are
//! copied, and held against these by whoever reads it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use settled::ids::{Fresh, StreamId};
use settled::log::EventLog;
use settled::log::memory::MemoryLog;
use settled::log::segment::tree::{Growing, Hash};
use settled::snapshot::SnapshotError;
use settled::snapshot::create::{Source, create};
use settled::snapshot::format::StreamHead;
use settled::snapshot::history::{Chunk, History};
use settled::snapshot::operating::verify;
use settled::snapshot::restore::Wanted;

use crate::checkpoints::sign;
use crate::commands::rename;
use crate::snapshots::{Place, file};
use crate::test_store::{Keys, TestStore, start};

/// What a history says of where its streams end.
pub fn heads(path: &Path) -> Vec<StreamHead> {
    let mut found = Vec::new();
    let mut history = History::open(&file(path)).unwrap();
    history
        .read(|chunk| {
            if let Chunk::Heads(heads) = chunk {
                found.extend(heads);
            }
            Ok::<_, SnapshotError>(())
        })
        .unwrap();
    found
}

fn roots(path: &Path) -> BTreeMap<StreamId, Option<Hash>> {
    heads(path).into_iter().map(|head| (head.stream, head.root)).collect()
}

/// The root over a stream's first events, by their leaves.
fn root_of(store: &TestStore, stream: StreamId, size: usize) -> Option<Hash> {
    let mut tree = Growing::default();
    store.leaves(stream).into_iter().take(size).for_each(|leaf| tree.push(leaf));
    tree.root()
}

#[tokio::test]
async fn each_stream_has_the_root_that_its_checkpoints_are_signed_over() {
    // One stream in memory besides the platform's, and the rest not.
    let log: Arc<dyn EventLog> = Arc::new(MemoryLog::new());
    let store = TestStore::open_with(log, Keys::new(), start(), 1_024, None, 1);
    let first = store.found("Acme").await;
    for number in 0..300 {
        store.execute(&first, rename(first.owner, &format!("Acme {number}"))).await.unwrap();
    }
    let mut signed = BTreeMap::new();
    for founded in [first.clone(), store.found_further(first.account, "Other").await] {
        let checkpoint = sign(&store, founded.organization).await.unwrap().checkpoint;
        signed.insert(StreamId::Organization(founded.organization), checkpoint.root);
    }
    for number in 0..20 {
        store.found_further(first.account, &format!("Further {number}")).await;
    }
    let place = Place::new();
    let taken = place.take(&store, "taken").await;
    let roots = roots(&taken.path);
    assert_eq!(roots.len(), 23);
    for head in heads(&taken.path) {
        let size = usize::try_from(head.head.version).unwrap();
        assert_eq!(head.root, root_of(&store, head.stream, size), "{}", head.stream);
    }
    for (stream, root) in signed {
        assert_eq!(roots[&stream], Some(root), "{stream}");
    }
}

#[tokio::test]
async fn a_root_is_that_of_the_size_that_is_asked_for_whatever_came_since() {
    let store = TestStore::in_memory();
    let founded = store.found("Acme").await;
    let stream = StreamId::Organization(founded.organization);
    for number in 0..600 {
        store.execute(&founded, rename(founded.owner, &format!("Acme {number}"))).await.unwrap();
    }
    // In memory, and as after a start, where nothing of it is.
    for store in [&store, &store.crashed()] {
        for size in [1, 2, 255, 256, 257, 511, 512, 513, 600, store.leaves(stream).len()] {
            let root = store.store.root_over(stream, size as u64).unwrap();
            assert_eq!(Some(root), root_of(store, stream, size), "{size}");
        }
    }
}

#[tokio::test]
async fn a_root_that_is_not_that_of_the_events_is_refused_though_it_is_signed() {
    let store = TestStore::in_memory();
    let founded = store.found("Acme").await;
    let (stream, place) = (StreamId::Organization(founded.organization), Place::new());
    let (signer, root) = (store.store.signer().await.unwrap(), store.store.ring().root());
    let own = |of: StreamId, size: u64| store.store.root_over(of, size);
    let taken = |name: &str, root: &dyn Fn(StreamId, u64) -> _| -> PathBuf {
        let source = Source {
            log: &*store.log,
            ring: store.store.ring(),
            store: Fresh.id(),
            epoch: "0",
            now: store.clock.now(),
            root,
            accepted: &|| store.store.directory().accepted_keys(),
            signer: &signer,
        };
        let path = place.path(name);
        create(&source, Fresh.id(), &file(&path), || (), &mut |_, _| {}).unwrap();
        path
    };
    let check = |path: &Path| {
        let keys = file(path).keys();
        verify(&file(path), Some((&keys, &root)), &mut |_, _| {})
    };
    check(&taken("own.settled", &own)).unwrap();
    // That of another stream, that of fewer events, and that of nothing.
    let others = taken("others.settled", &|of, size| match of == stream {
        true => own(StreamId::Platform, 1),
        false => own(of, size),
    });
    let fewer = taken("fewer.settled", &|of, size| own(of, if of == stream { size - 1 } else { size }));
    let none = taken("none.settled", &|of, size| if of == stream { Ok([0; 32]) } else { own(of, size) });
    for path in [others, fewer, none] {
        let refused = check(&path).expect_err("it is forged").to_string();
        assert!(refused.contains(&format!("the root of {stream} is not that of its events")), "{refused}");
        assert!(refused.contains(&path.display().to_string()), "{refused}");
        let wanted = Wanted { history: file(&path), keys: None, until: None, root: &root };
        let refused = place.restore(&wanted, "data", &[]).expect_err("it is forged").to_string();
        assert!(refused.contains(&stream.to_string()), "{refused}");
    }
    assert_eq!(std::fs::read_dir(place.path("data/stores")).unwrap().count(), 0);
}
