//! Streams for tests that do not wait for them.

use std::sync::Arc;

use settled::event::{Outcome, Recorded};
use settled::ids::{OrganizationId, StreamId};
use settled::log::filter::Filter;
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

/// The events of a stream that ended so, oldest first.
pub fn that_ended(store: &Store, handle: &Handle, outcome: Outcome) -> Vec<Recorded> {
    let view = handle.view();
    let filter = Filter { outcomes: vec![outcome], ..Filter::default() };
    let versions =
        store.versions_after(handle, &view, &filter, 0, usize::MAX).expect("the index can be read");
    store.recorded(handle, &view, &versions).expect("the history can be read")
}
