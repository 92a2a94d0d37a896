//! What operators do, in the golden history.

use settled::actor::Actor;
use settled::ids::Fresh;
use settled::platform::deletions::command::DeletionsCommand;
use settled::platform::operations::command::OperationsCommand;
use settled::platform::operations::event::{
    SnapshotCreated, SnapshotDrilled, SnapshotVerified, StoreRestored,
};
use settled::store::Submission;

use crate::test_store::TestStore;

/// An organization that an operator deletes.
pub async fn record_deletion(store: &TestStore) {
    let founder = store.store.platform().view().platform().accounts.iter().next().unwrap().id;
    let goes = store.found_further(founder, "Goes").await.organization;
    let open = Submission::new(DeletionsCommand::Open(goes), Actor::OPERATOR);
    store.store.execute(store.store.platform(), open).await.unwrap();
    store.store.finish_deletion(goes).await.unwrap();
}

/// Snapshots, and what became of them.
pub async fn record_operations(store: &TestStore) {
    let (snapshot, position, sound) = (Fresh.id(), 7, true);
    let restored = StoreRestored {
        snapshot,
        of_store: Fresh.id(),
        of_epoch: "0".to_owned(),
        position,
        store: Fresh.id(),
        epoch: "k3x9a2b7".to_owned(),
    };
    for command in [
        OperationsCommand::NoteSnapshot(SnapshotCreated {
            snapshot,
            position,
            events: 9,
            bytes: 1_000,
            elsewhere: true,
        }),
        OperationsCommand::NoteVerification(SnapshotVerified { snapshot, sound }),
        OperationsCommand::NoteDrill(SnapshotDrilled { snapshot, position, sound }),
        OperationsCommand::BeginEpoch(restored),
    ] {
        let submission = Submission::new(command, Actor::OPERATOR);
        store.store.execute(store.store.platform(), submission).await.unwrap();
    }
}
