//! The directory as bytes: heads and credentials. What keys, due things, domains and what was destroyed are as bytes stands
//! with them.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use uuid::Uuid;

use crate::area::DirectoryEntry;
use crate::clock::Timestamp;
use crate::ids::{SessionId, StreamId};
use crate::log::{FrameHash, Head, Position};
use crate::seal::Commitment;
use crate::store::directory::{Credential, Heads};
use crate::varint::{self, Malformed, Reader};

pub(super) fn encode_heads(heads: &Heads) -> Vec<u8> {
    let mut out = Vec::with_capacity(heads.size() * 48);
    for (stream, head) in heads {
        out.extend_from_slice(&stream.to_bytes());
        varint::write(head.version, &mut out);
        varint::write(head.position.0, &mut out);
        varint::write(head.at.micros().unsigned_abs(), &mut out);
        out.extend_from_slice(&head.hash.0);
    }
    out
}

pub(super) fn decode_heads(bytes: &[u8]) -> Result<Heads, Malformed> {
    let mut reader = Reader(bytes);
    let mut heads = Heads::new_sync();
    while !reader.0.is_empty() {
        let stream = StreamId::from_bytes(reader.array()?);
        let version = reader.varint()?;
        let position = Position(reader.varint()?);
        let at = timestamp(&mut reader)?;
        heads.insert_mut(stream, Head { version, position, at, hash: FrameHash(reader.array()?) });
    }
    Ok(heads)
}

pub(super) fn encode_credentials<'a>(
    credentials: impl Iterator<Item = (&'a [u8; 32], &'a Arc<Credential>)>,
) -> Vec<u8> {
    let mut out = Vec::new();
    for (token, credential) in credentials {
        out.extend_from_slice(token);
        out.extend_from_slice(&credential.stream.to_bytes());
        out.extend_from_slice(credential.session.uuid().as_bytes());
        varint::write(credential.opened_at.load(Ordering::Relaxed).unsigned_abs(), &mut out);
    }
    out
}

pub(super) fn decode_credentials(
    bytes: &[u8],
    mut opened: impl FnMut(StreamId, DirectoryEntry),
) -> Result<(), Malformed> {
    let mut reader = Reader(bytes);
    while !reader.0.is_empty() {
        let token = Commitment(reader.array()?);
        let stream = StreamId::from_bytes(reader.array()?);
        let session = SessionId::from_uuid(Uuid::from_bytes(reader.array()?));
        let opened_at = timestamp(&mut reader)?;
        opened(stream, DirectoryEntry::CredentialOpened { token, session, opened_at });
    }
    Ok(())
}

pub(super) fn timestamp(reader: &mut Reader<'_>) -> Result<Timestamp, Malformed> {
    Ok(Timestamp::from_micros(i64::try_from(reader.varint()?).map_err(|_| Malformed)?))
}
