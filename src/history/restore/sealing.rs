//! Sealing anew what steps copy: each copy of a value gets a key of its own.

use crate::event::Event;
use crate::history::restore::plan::{Copied, CopiedFrom, Step};
use crate::ids::StreamId;
use crate::log::frame::MAX_FRAME_BYTES;
use crate::seal::Sealed;
use crate::seal::keyring::{KeyError, KeyRing, NewDataKey};
use crate::settings::oauth_apps::client_secret_field;
use crate::settings::secrets::value_field;

/// Opens each value that a step copies, and seals it under a new key where it goes; the keys. `None` as soon as
/// there is more than a frame has room for, which is the end of the plan.
///
/// # Errors
/// When a key is not to be had, or was destroyed meanwhile.
pub fn seal_anew(
    steps: &mut [Step],
    stream: StreamId,
    ring: &KeyRing,
) -> Result<Option<Vec<NewDataKey>>, KeyError> {
    let (mut keys, mut bytes) = (Vec::new(), 0);
    for step in steps {
        let (Some(Copied { from, commitment }), Some(value)) = (step.copies, copied(&mut step.event.event))
        else {
            continue;
        };
        bytes += value.data.0.len();
        if bytes > MAX_FRAME_BYTES {
            return Ok(None);
        }
        let to = &step.event.resource.id;
        let (sealed, key) = match from {
            CopiedFrom::Secret(from) => {
                let from = from.to_string();
                ring.copy(value, commitment, &value_field(stream, &from), &value_field(stream, to))?
            }
            CopiedFrom::OauthApp(from) => {
                let from = from.to_string();
                let (from, to) = (client_secret_field(stream, &from), client_secret_field(stream, to));
                ring.copy(value, commitment, &from, &to)?
            }
        };
        *value = sealed;
        step.event.uses.push(key.id());
        keys.push(key);
    }
    Ok(Some(keys))
}

fn copied(event: &mut Event) -> Option<&mut Sealed> {
    match event {
        Event::Secrets(event) => event.value_mut(),
        Event::OauthApps(event) => event.client_secret_mut(),
        _ => None,
    }
}
