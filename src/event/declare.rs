//! How an area declares its events: [`events!`](crate::events), one line an action, and what the line gives.
//!
//! Which events there are is said in the areas' `event.rs`, and summed up one level above.

use serde::{Deserializer, Serializer};
use utoipa::ToSchema;
use utoipa::openapi::{RefOr, Schema};

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

/// Declares an area's events: one variant an action, with its name on disk and its schema number.
///
/// Renaming a variant never changes what is on disk: the name is the literal.
#[macro_export]
macro_rules! events {
    (
        $(#[$doc:meta])*
        pub enum $name:ident {
            $($(#[$variant_doc:meta])* $action:literal, $schema:literal => $variant:ident($data:ty);)*
        }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq)]
        pub enum $name {
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
