//! Streams for tests that do not wait for them.

use std::sync::Arc;

use settled::ids::{OrganizationId, StreamId};
use settled::store::Store;
use settled::store::resident::Handle;

/// An organization's stream, loaded on a thread of its own if need be: for tests that do not wait for it.
pub fn loaded(store: &Store, organization: OrganizationId) -> Option<Arc<Handle>> {
    if let Some(handle) = store.resident(StreamId::Organization(organization)) {
        return Some(handle).filter(|handle| handle.view().version() > 0);
    }
    std::thread::scope(|scope| {
        let load = scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime starts");
            runtime.block_on(store.organization(organization)).expect("the stream can be loaded")
        });
        load.join().expect("the thread that loads ends")
    })
}
