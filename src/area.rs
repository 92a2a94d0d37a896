//! What everything in a state is, a [`Fold`] over its stream, and what an area of settings is beyond that, an [`Area`].
//!
//! Both are complete or do not compile. Commands are not part of them: they differ.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::clock::Timestamp;
use crate::event::{Recorded, ResourceType, Version};
use crate::history::description::{Description, Difference, Focus};
use crate::history::restore::plan::{Outlook, Plan};
use crate::ids::{ApiKeyId, SessionId};
use crate::organization::Organization;
use crate::seal::Commitment;
use crate::settings::roles::permission::Permission;

/// One part of a stream's state, as a fold over the stream's events.
///
/// `apply` is pure, total and infallible, the same for decisions, reads and replay. Collections are persistent
/// maps, so cloning a state is cheap, and ordered ones, so that its serialized form, and its digest, are
/// functions of the events alone.
pub trait Fold: Default + Clone + Serialize + DeserializeOwned + Send + Sync + 'static {
    /// The fold's name; an area's is that in the routes.
    const NAME: &'static str;

    /// Raised whenever `apply` or the state's shape changes, so that saved states are not taken for current ones.
    const PROJECTION: u32;

    /// Takes one event in. Events of other areas and refused ones are passed over.
    fn apply(&mut self, recorded: &Recorded);

    /// What the event means to the whole server, whichever stream it stands in.
    fn directory(recorded: &Recorded, entries: &mut Vec<DirectoryEntry>);

    /// How many things the state holds: what saving it costs.
    fn items(&self) -> usize;
}

/// An area of settings: what can be read as of any version, compared and brought back.
pub trait Area: Fold {
    /// Every action that [`Fold::apply`] reads, other areas' included: a past state is the fold over these alone.
    const READS: &'static [&'static str];

    /// Those among [`Area::READS`] that change things which the event does not mention.
    const CASCADES: &'static [&'static str];

    /// Those among [`Area::READS`] that change no setting, such as that a thing was used: they are no part of its past,
    /// and no reason to plan a restore anew.
    const NOTES: &'static [&'static str] = &[];

    /// The kinds of things that it describes, each with the permission to see it.
    const KINDS: &'static [Reads];

    /// Whether a restore brings any of it back.
    const RESTORABLE: bool;

    /// The area of an organization.
    fn of(organization: &Organization) -> &Self;

    /// The same area with what a focus needs, and no more than that where there can be very much more: what is kept of
    /// a past one. From there on, the events that the focus takes lead to the same as from the whole area.
    #[must_use]
    fn narrowed(&self, focus: &Focus) -> Self;

    /// Tells the things that are meant, with all that can be set of them.
    fn describe(&self, focus: &Focus, into: &mut Description);

    /// Plans the steps that make differences from what was go, and says what does not come back.
    fn restore(differences: &[Difference], outlook: &Outlook<'_>, plan: &mut Plan);
}

/// A kind of thing, and the permission to see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reads {
    /// The kind.
    pub kind: ResourceType,
    /// The permission.
    pub permission: Permission,
}

/// An area of settings, whichever it is: what goes over all of them.
pub struct AnyArea {
    /// [`Fold::NAME`].
    pub name: &'static str,
    /// [`Area::READS`].
    pub reads: &'static [&'static str],
    /// [`Area::CASCADES`].
    pub cascades: &'static [&'static str],
    /// [`Area::NOTES`].
    pub notes: &'static [&'static str],
    /// [`Area::KINDS`].
    pub kinds: &'static [Reads],
    /// [`Area::RESTORABLE`].
    pub restorable: bool,
    /// [`Area::describe`], of an organization.
    pub describe: fn(&Organization, &Focus, &mut Description),
    /// [`Area::restore`].
    pub restore: fn(&[Difference], &Outlook<'_>, &mut Plan),
}

impl AnyArea {
    /// An area.
    pub const fn of<A: Area>() -> Self {
        Self {
            name: A::NAME,
            reads: A::READS,
            cascades: A::CASCADES,
            notes: A::NOTES,
            kinds: A::KINDS,
            restorable: A::RESTORABLE,
            describe: |organization, focus, into| A::of(organization).describe(focus, into),
            restore: A::restore,
        }
    }
}

/// A fold's saved state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// Which fold's.
    pub name: &'static str,
    /// The fold's [`Fold::PROJECTION`] when it was saved.
    pub projection: u32,
    /// The state, encoded.
    pub bytes: Vec<u8>,
}

/// What an event means to the directory, the one projection over the whole log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DirectoryEntry {
    /// Something of the stream is due at a time: the scheduler looks at it then. Replaces what was said of it before.
    Due {
        /// The thing's id.
        resource: String,
        /// When.
        at: Timestamp,
    },
    /// Nothing of it is due any more.
    NotDue {
        /// The thing's id.
        resource: String,
    },
    /// Data keys of the stream were destroyed: its own key is to be rotated.
    KeysDestroyed {
        /// The version of the event that destroyed them.
        version: Version,
        /// Its time.
        at: Timestamp,
    },
    /// The stream's key was rotated.
    KeyRotated {
        /// Nothing opens that was destroyed up to this version.
        through: Version,
        /// When.
        at: Timestamp,
    },
    /// The organization has this e-mail domain, which is not verified.
    DomainSet {
        /// The domain.
        domain: String,
    },
    /// It has none any more.
    DomainCleared,
    /// DNS proves the domain.
    DomainVerified {
        /// When it did.
        at: Timestamp,
    },
    /// It did not for too long.
    DomainLapsed,
    /// The organization is no more: nothing of it is due, no API key is its, and it has no e-mail domain. Its sessions end by
    /// age.
    OrganizationEnded,
    /// A credential opens this session of the stream, at the latest until then.
    CredentialOpened {
        /// SHA-256 of the token.
        token: Commitment,
        /// The session that it belongs to.
        session: SessionId,
        /// When the session was opened.
        opened_at: Timestamp,
    },
    /// The session was closed before its time.
    CredentialClosed {
        /// The session.
        session: SessionId,
    },
    /// A value is that of an API key of the stream.
    KeyOpened {
        /// SHA-256 of the value.
        token: Commitment,
        /// The key.
        key: ApiKeyId,
    },
    /// A value is a key's no longer from a time on.
    KeyEnds {
        /// SHA-256 of the value.
        token: Commitment,
        /// That time.
        ends_at: Timestamp,
    },
    /// A key was revoked: whoever presents its last value may be told so until a time.
    KeyRevoked {
        /// SHA-256 of the value.
        token: Commitment,
        /// That time.
        known_until: Timestamp,
    },
}

/// Declares the state of a stream, one field a fold: the areas of settings under `settings`, what is kept beside
/// them under `beside`. What fans out to all of them comes from this one list, so that none can be forgotten.
#[macro_export]
macro_rules! stream_state {
    (
        $(#[$doc:meta])*
        pub struct $state:ident {
            settings {$($(#[$area_doc:meta])* $area:ident: $area_type:ty,)*}
            beside {$($(#[$fold_doc:meta])* $fold:ident: $fold_type:ty,)*}
        }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, serde::Serialize)]
        pub struct $state {
            $($(#[$area_doc])* pub $area: $area_type,)*
            $($(#[$fold_doc])* pub $fold: $fold_type,)*
        }

        impl $state {
            /// The areas of settings in it.
            pub const AREAS: &'static [$crate::area::AnyArea] =
                &[$($crate::area::AnyArea::of::<$area_type>(),)*];

            /// Takes one event in.
            pub fn apply(&mut self, recorded: &$crate::event::Recorded) {
                $($crate::area::Fold::apply(&mut self.$area, recorded);)*
                $($crate::area::Fold::apply(&mut self.$fold, recorded);)*
            }

            /// What an event of such a stream means to the whole server.
            pub fn directory(
                recorded: &$crate::event::Recorded,
                entries: &mut Vec<$crate::area::DirectoryEntry>,
            ) {
                $(<$area_type as $crate::area::Fold>::directory(recorded, entries);)*
                $(<$fold_type as $crate::area::Fold>::directory(recorded, entries);)*
            }

            /// How many things the state holds.
            pub fn items(&self) -> usize {
                0 $(+ $crate::area::Fold::items(&self.$area))* $(+ $crate::area::Fold::items(&self.$fold))*
            }

            /// The state to be saved, each fold in a section that can be read alone.
            pub fn sections(&self) -> Vec<$crate::area::Section> {
                vec![
                    $($crate::store::encoding::section(&self.$area),)*
                    $($crate::store::encoding::section(&self.$fold),)*
                ]
            }

            /// The state that was saved in sections, which `find` looks up by name and
            /// [`Fold::PROJECTION`](crate::area::Fold::PROJECTION); `None` if one is absent or is not what was saved.
            pub fn from_sections(
                mut find: impl FnMut(&'static str, u32) -> Option<Vec<u8>>,
            ) -> Option<Self> {
                Some(Self {
                    $($area: $crate::store::encoding::from_section(&mut find)?,)*
                    $($fold: $crate::store::encoding::from_section(&mut find)?,)*
                })
            }
        }
    };
}
