//! A field of a merge patch (RFC 7396): absent leaves, null clears, a value replaces.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer};
use utoipa::openapi::schema::Type;
use utoipa::openapi::{ObjectBuilder, OneOfBuilder, RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

/// A field of a merge patch. Needs `#[serde(default)]` on the field or the struct, so that it may be absent.
///
/// For a field that cannot be cleared use `Option<T>` with `deserialize_with =`
/// [`not_null`], else null would read as absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Patch<T> {
    /// Leave it.
    #[default]
    Absent,
    /// Clear it.
    Null,
    /// Set it.
    Value(T),
}

impl<T> Patch<T> {
    /// Whether the field is left as it is.
    pub fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }

    /// `None` leaves, `Some(None)` clears, `Some(Some(_))` sets.
    pub fn into_option(self) -> Option<Option<T>> {
        match self {
            Self::Absent => None,
            Self::Null => Some(None),
            Self::Value(value) => Some(Some(value)),
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Patch<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match Option::deserialize(deserializer)? {
            None => Self::Null,
            Some(value) => Self::Value(value),
        })
    }
}

// By its hidden trait, since that is the only one by which utoipa's derive composes a generic field.
impl<T: PartialSchema> utoipa::__dev::ComposeSchema for Patch<T> {
    fn compose(generics: Vec<RefOr<Schema>>) -> RefOr<Schema> {
        let value = generics.into_iter().next().unwrap_or_else(T::schema);
        OneOfBuilder::new().item(ObjectBuilder::new().schema_type(Type::Null)).item(value).into()
    }
}

impl<T: ToSchema> ToSchema for Patch<T> {
    /// utoipa appends the name of `T` to it.
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("Patch")
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        T::schemas(schemas);
    }
}

/// Reads a field of a merge patch that may be absent but not null: for `#[serde(default, deserialize_with)]`.
///
/// # Errors
/// Those of `T`, which refuses null.
pub fn not_null<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize, ToSchema, Debug, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Change {
        #[serde(default)]
        description: Patch<String>,
        #[serde(default, deserialize_with = "not_null")]
        name: Option<String>,
    }

    fn read(text: &str) -> Result<Change, serde_json::Error> {
        serde_json::from_str(text)
    }

    #[test]
    fn absent_null_and_a_value_differ() {
        let description = |text| read(text).map(|change| change.description).ok();
        assert_eq!(description("{}"), Some(Patch::Absent));
        assert_eq!(description(r#"{"description": null}"#), Some(Patch::Null));
        assert_eq!(description(r#"{"description": "a"}"#), Some(Patch::Value("a".into())));
        assert_eq!(description(r#"{"description": 1}"#), None);
    }

    #[test]
    fn null_is_refused_where_a_field_cannot_be_cleared() {
        assert_eq!(read("{}").ok().and_then(|change| change.name), None);
        assert!(read(r#"{"name": null}"#).is_err());
    }

    #[test]
    fn the_schema_allows_null_and_absence() {
        let schema = serde_json::to_value(Change::schema()).expect("schemas are JSON");
        let mut referred = Vec::new();
        Change::schemas(&mut referred);
        let patch = referred.iter().find(|(name, _)| name == "Patch_String").map(|(_, schema)| schema);
        assert_eq!(schema["properties"]["description"]["$ref"], "#/components/schemas/Patch_String");
        let patch = serde_json::to_value(patch).expect("schemas are JSON");
        assert_eq!(patch, serde_json::json!({"oneOf": [{"type": "null"}, {"type": "string"}]}));
        assert!(schema.get("required").is_none(), "{schema}");
    }
}
