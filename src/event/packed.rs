//! The packed form of a record: what `log/codec.rs` writes and reads, all fields but those that stand in a frame's
//! header.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;

use crate::clock::Timestamp;
use crate::event::{Event, Outcome, Recorded, Refused, RefusedData, Version};
use crate::ids::StreamId;
use crate::log::upcast;

impl Recorded {
    /// The packed form's fields: all but `stream`, `version` and `at`, in an order in which
    /// `outcome`, `action` and `schema` precede `data`, so that one pass reads it with its type.
    pub fn packed(&self) -> impl Serialize + '_ {
        Packed(self)
    }
}

struct Packed<'a>(&'a Recorded);

impl Serialize for Packed<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let recorded = self.0;
        let optional = [
            !recorded.related.is_empty(),
            recorded.reason.is_some(),
            recorded.request_id.is_some(),
            recorded.request.is_some(),
            recorded.count.is_some(),
            !recorded.keys.is_empty(),
        ];
        let fields = 7 + optional.iter().filter(|present| **present).count();
        let mut map = serializer.serialize_map(Some(fields))?;
        map.serialize_entry("id", &recorded.id)?;
        map.serialize_entry("actor", &recorded.actor)?;
        map.serialize_entry("resource", &recorded.resource)?;
        map.serialize_entry("outcome", &recorded.outcome)?;
        map.serialize_entry("action", recorded.event.action())?;
        map.serialize_entry("schema", &recorded.event.schema())?;
        map.serialize_entry("data", &Data(&recorded.event))?;
        if !recorded.related.is_empty() {
            map.serialize_entry("related", &recorded.related)?;
        }
        if let Some(reason) = &recorded.reason {
            map.serialize_entry("reason", reason)?;
        }
        if let Some(request_id) = &recorded.request_id {
            map.serialize_entry("request_id", request_id)?;
        }
        if let Some(request) = &recorded.request {
            map.serialize_entry("request", request)?;
        }
        if let Some(count) = &recorded.count {
            map.serialize_entry("count", count)?;
        }
        if !recorded.keys.is_empty() {
            map.serialize_entry("keys", &recorded.keys)?;
        }
        map.end()
    }
}

struct Data<'a>(&'a Event);

impl Serialize for Data<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize_data(serializer)
    }
}

/// Reads the packed form of the event at a known place: the header's part of a [`Recorded`].
#[derive(Clone, Copy, Debug)]
pub struct RecordedAt {
    /// The frame's stream.
    pub stream: StreamId,
    /// The event's version.
    pub version: Version,
    /// The frame's time.
    pub at: Timestamp,
}

impl<'de> DeserializeSeed<'de> for RecordedAt {
    type Value = Recorded;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Recorded, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for RecordedAt {
    type Value = Recorded;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a recorded event")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Recorded, A::Error> {
        use serde::de::Error;

        let (mut id, mut actor, mut resource, mut outcome) = (None, None, None, None);
        let (mut action, mut schema, mut event) = (None::<String>, None::<u32>, None);
        let (mut related, mut reason, mut request_id) = (Vec::new(), None, None);
        let (mut request, mut count, mut keys) = (None, None, BTreeMap::new());
        while let Some(field) = map.next_key::<Cow<'de, str>>()? {
            match &*field {
                "id" => id = Some(map.next_value()?),
                "actor" => actor = Some(map.next_value()?),
                "resource" => resource = Some(map.next_value()?),
                "outcome" => outcome = Some(map.next_value()?),
                "action" => action = Some(map.next_value()?),
                "schema" => schema = Some(map.next_value()?),
                "data" => {
                    let seed = DataSeed {
                        action: action.take().ok_or_else(|| A::Error::missing_field("action"))?,
                        schema: schema.ok_or_else(|| A::Error::missing_field("schema"))?,
                        outcome: outcome.ok_or_else(|| A::Error::missing_field("outcome"))?,
                    };
                    event = Some(map.next_value_seed(seed)?);
                }
                "related" => related = map.next_value()?,
                "reason" => reason = Some(map.next_value()?),
                "request_id" => request_id = Some(map.next_value()?),
                "request" => request = Some(map.next_value()?),
                "count" => count = Some(map.next_value()?),
                "keys" => keys = map.next_value()?,
                other => {
                    return Err(A::Error::custom(format_args!(
                        "unknown field `{other}`: written by a newer Settled?"
                    )));
                }
            }
        }
        Ok(Recorded {
            id: id.ok_or_else(|| A::Error::missing_field("id"))?,
            stream: self.stream,
            version: self.version,
            at: self.at,
            actor: actor.ok_or_else(|| A::Error::missing_field("actor"))?,
            resource: resource.ok_or_else(|| A::Error::missing_field("resource"))?,
            outcome: outcome.ok_or_else(|| A::Error::missing_field("outcome"))?,
            event: event.ok_or_else(|| A::Error::missing_field("data"))?,
            related,
            reason,
            request_id,
            request,
            count,
            keys,
        })
    }
}

struct DataSeed {
    action: String,
    schema: u32,
    outcome: Outcome,
}

impl<'de> DeserializeSeed<'de> for DataSeed {
    type Value = Event;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Event, D::Error> {
        use serde::de::Error;

        if self.outcome != Outcome::Success {
            let data = RefusedData::deserialize(deserializer)?;
            return Ok(Event::Refused(Refused { action: self.action, data }));
        }
        match Event::current_schema(&self.action) {
            Some(current) if current != self.schema => {
                let data = Value::deserialize(deserializer)?;
                let data =
                    upcast::to_current(&self.action, self.schema, current, data).map_err(D::Error::custom)?;
                Event::deserialize_data(&self.action, data).map_err(D::Error::custom)
            }
            _ => Event::deserialize_data(&self.action, deserializer),
        }
    }
}
