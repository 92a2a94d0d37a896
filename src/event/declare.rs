//! How an area declares its events: [`events!`](crate::events), one line an action, and what the line gives.
//!
//! Which events there are is said in the areas' `event.rs`, and summed up one level above.

use serde::{Deserializer, Serializer};
use utoipa::ToSchema;
use utoipa::openapi::{RefOr, Schema};

use crate::ids::DataKeyId;

/// What one on-disk action is: its name for ever, its current schema number, and the shape of its data.
#[derive(Clone, Copy)]
pub struct ActionSpec {
    /// `noun.verb`, the on-disk type name and the audit log's ACTION.
    pub action: &'static str,
    /// The number of the data's current shape; older ones go through `log/upcast.rs`.
    pub schema: u32,
    /// The JSON Schema of the data, with the schemas that it refers to.
    pub shape: fn() -> Shape,
}

/// The JSON Schema of a type, with the schemas that it refers to as `#/components/schemas/<name>`.
pub type Shape = (RefOr<Schema>, Vec<(String, RefOr<Schema>)>);

/// The [`ActionSpec::shape`] of a data type.
pub fn shape_of<T: ToSchema>() -> Shape {
    let mut schemas = Vec::new();
    T::schemas(&mut schemas);
    (T::schema(), schemas)
}

/// The events of one area. Implemented by [`events!`](crate::events).
pub trait AreaEvent: Sized {
    /// All actions of the area.
    const ACTIONS: &'static [ActionSpec];

    /// The action's name on disk.
    fn spec(&self) -> &'static ActionSpec;

    /// The data keys that the event destroyed: what was sealed under them opens no more.
    fn destroyed_keys(&self) -> &[DataKeyId];

    /// Writes the event's data.
    ///
    /// # Errors
    /// Those of the serializer.
    fn serialize_data<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error>;

    /// Reads the data of `action`; gives the deserializer back if the action is not this area's.
    ///
    /// # Errors
    /// The outer error is the untouched deserializer; the inner one is the deserializer's own.
    fn deserialize_data<'de, D: Deserializer<'de>>(
        action: &str,
        deserializer: D,
    ) -> Result<Result<Self, D::Error>, D>;
}

/// Declares an area's events: one variant an action, with its name on disk and its schema number, and where it destroys
/// data keys, the field that names them.
///
/// Renaming a variant never changes what is on disk: the name is the literal.
#[macro_export]
macro_rules! events {
    (@destroyed $data:ident $keys:ident) => {
        &$data.$keys
    };
    (@destroyed $data:ident) => {{
        let _kept = $data;
        &[]
    }};
    (
        $(#[$doc:meta])*
        $vis:vis enum $name:ident {
            $(
                $(#[$variant_doc:meta])*
                $action:literal, $schema:literal => $variant:ident($data:ty) $(destroys $keys:ident)?;
            )*
        }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq)]
        $vis enum $name {
            $($(#[$variant_doc])* $variant($data),)*
        }

        impl $crate::event::declare::AreaEvent for $name {
            const ACTIONS: &'static [$crate::event::declare::ActionSpec] = &[
                $($crate::event::declare::ActionSpec {
                    action: $action,
                    schema: $schema,
                    shape: $crate::event::declare::shape_of::<$data>,
                },)*
            ];

            fn spec(&self) -> &'static $crate::event::declare::ActionSpec {
                match self {
                    $(Self::$variant(_) => const {
                        &$crate::event::declare::ActionSpec {
                            action: $action,
                            schema: $schema,
                            shape: $crate::event::declare::shape_of::<$data>,
                        }
                    },)*
                }
            }

            fn destroyed_keys(&self) -> &[$crate::ids::DataKeyId] {
                match self {
                    $(Self::$variant(data) => $crate::events!(@destroyed data $($keys)?),)*
                }
            }

            fn serialize_data<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                match self {
                    $(Self::$variant(data) => serde::Serialize::serialize(data, serializer),)*
                }
            }

            fn deserialize_data<'de, D: serde::Deserializer<'de>>(
                action: &str,
                deserializer: D,
            ) -> Result<Result<Self, D::Error>, D> {
                match action {
                    $($action => Ok(<$data as serde::Deserialize>::deserialize(deserializer).map(Self::$variant)),)*
                    _ => Err(deserializer),
                }
            }
        }
    };
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};

    use super::*;
    use crate::given::id;

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
    struct Locked {
        destroyed_keys: Vec<DataKeyId>,
    }

    crate::events! {
        /// Doors.
        enum DoorsEvent {
            /// A door was locked, and its keys melted.
            "door.lock", 1 => Locked(Locked) destroys destroyed_keys;
            /// A door was painted, whose keys are none.
            "door.paint", 1 => Painted(Locked);
        }
    }

    #[test]
    fn an_event_destroys_the_keys_that_its_line_says() {
        let keys = vec![id(1), id(2)];
        let data = Locked { destroyed_keys: keys.clone() };
        assert_eq!(DoorsEvent::Locked(data.clone()).destroyed_keys(), keys);
        assert_eq!(DoorsEvent::Painted(data).destroyed_keys(), []);
    }
}
