//! Opening what may be taken away in this moment: the log loses a data key in the commit that destroys it, a moment before
//! the state says why. Whoever meets a key that is gone waits for the next state, and answers as that one does.

use tokio::runtime::{Handle as Runtime, RuntimeFlavor};

use crate::event::Version;
use crate::ids::{AccountId, CustomerId, UserId};
use crate::seal::keyring::KeyError;
use crate::store::resident::{Handle, View};

impl Handle {
    /// Opens something of a person; `None` where they are erased, however lately.
    ///
    /// # Errors
    /// When the key of somebody who is not erased is not to be had.
    pub fn open_of_person<T>(
        &self,
        person: UserId,
        open: impl FnOnce() -> Result<T, KeyError>,
    ) -> Result<Option<T>, KeyError> {
        self.open_unless(|view| view.organization().people.is_erased(person), open)
    }

    /// Opens something of a customer; `None` where it is erased, however lately.
    ///
    /// # Errors
    /// When the key of a customer who is not erased is not to be had.
    pub fn open_of_customer<T>(
        &self,
        customer: CustomerId,
        open: impl FnOnce() -> Result<T, KeyError>,
    ) -> Result<Option<T>, KeyError> {
        self.open_unless(|view| view.organization().customers.is_erased(customer), open)
    }

    /// Opens something of an account, in the platform's stream; `None` where it is deleted, however lately.
    ///
    /// # Errors
    /// When the key of an account that is there is not to be had.
    pub fn open_of_account<T>(
        &self,
        account: AccountId,
        open: impl FnOnce() -> Result<T, KeyError>,
    ) -> Result<Option<T>, KeyError> {
        self.open_unless(|view| view.platform().accounts.get(account).is_none(), open)
    }

    /// Opens something unless it is gone, whether or not its key can still be had: as [`Handle::open_or_gone`] then.
    ///
    /// # Errors
    /// When it does not open, and is not gone either.
    pub fn open_unless<T, E>(
        &self,
        is_gone: impl Fn(&View) -> bool,
        open: impl FnOnce() -> Result<T, E>,
    ) -> Result<Option<T>, E> {
        if is_gone(&self.view()) { Ok(None) } else { self.open_or_gone(is_gone, open) }
    }

    /// Opens something; `None` where it does not open, and the newest state, or the one after it, says that it is gone.
    /// Blocks while it waits for that; a thread that serves requests gives its others away meanwhile.
    ///
    /// # Errors
    /// When it does not open, and is not gone either.
    pub fn open_or_gone<T, E>(
        &self,
        is_gone: impl Fn(&View) -> bool,
        open: impl FnOnce() -> Result<T, E>,
    ) -> Result<Option<T>, E> {
        let error = match open() {
            Ok(opened) => return Ok(Some(opened)),
            Err(error) => error,
        };
        let seen = self.view();
        if !is_gone(&seen) {
            self.wait_beyond(seen.version());
        }
        if is_gone(&self.view()) { Ok(None) } else { Err(error) }
    }

    /// [`Handle::beyond`] for who is not asynchronous. Without a runtime of several threads nobody serves requests.
    fn wait_beyond(&self, version: Version) {
        let Ok(runtime) = Runtime::try_current() else { return };
        if runtime.runtime_flavor() == RuntimeFlavor::MultiThread {
            tokio::task::block_in_place(|| runtime.block_on(self.beyond(version)));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::clock::Timestamp;
    use crate::event::Event;
    use crate::given::{founded, id, member, now, organization, person as by, recorded};
    use crate::ids::{OrganizationId, StreamId};
    use crate::log::Position;
    use crate::log::segment::Segment;
    use crate::log::segment::frames::FramePlace;
    use crate::settings::people::event::{PeopleEvent, PersonErased};
    use crate::store::index::StreamIndex;
    use crate::store::resident::{Indexed, State};

    /// An organization with the person 2 in it, and the state in which they are erased.
    fn before_and_after() -> (Handle, View) {
        let stream = StreamId::Organization(id::<OrganizationId>(1));
        let mut before = View::empty(stream);
        before.state =
            State::Organization(Arc::new(organization(founded().into_iter().chain(member(2, None)))));
        let mut after = before.clone();
        let erased = PersonErased { person: id(2), destroyed_keys: vec![id(2)] };
        let erased = Event::People(PeopleEvent::PersonErased(erased));
        after.state.apply(&recorded(stream, 9, now(), by(id(1)), erased));
        after.head.version = 9;
        (Handle::new(before, StreamIndex::new(Segment::new(0)), 0), after)
    }

    fn published(handle: &Handle, view: View) {
        let place = FramePlace { first: 9, position: Position(9), at: Timestamp::EPOCH };
        handle.publish(view, &[] as &[Indexed], place);
    }

    fn lost() -> Result<(), KeyError> {
        Err(KeyError::Lost { stream: StreamId::Platform, id: id(2) })
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_key_that_is_gone_a_moment_before_the_state_says_so_is_of_somebody_erased() {
        let (handle, after) = before_and_after();
        let handle = Arc::new(handle);
        let (gone, publish) = std::sync::mpsc::channel();
        let publisher = Arc::clone(&handle);
        let publishing = std::thread::spawn(move || {
            publish.recv().unwrap();
            std::thread::sleep(Duration::from_millis(20));
            published(&publisher, after);
        });
        let open = || {
            gone.send(()).unwrap();
            lost()
        };
        assert!(matches!(handle.open_of_person(id(2), open), Ok(None)));
        publishing.join().unwrap();
        assert!(matches!(handle.open_of_person(id(2), || panic!("nobody looks")), Ok::<Option<()>, _>(None)));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_key_that_is_lost_is_no_erased_persons() {
        let (handle, _) = before_and_after();
        assert!(matches!(handle.open_of_person(id(2), lost), Err(KeyError::Lost { .. })));
        assert!(matches!(handle.open_of_person(id(2), || Ok(5)), Ok(Some(5))));
    }
}
