//! An object being written. What fits into one part is put at once; of what is longer each part is sent as soon as it is full,
//! is not sent again once it is there, and nothing is listed before the last request makes an object of them.

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;

use object_store::multipart::{MultipartStore as _, PartId};
use object_store::path::Path;
use object_store::{MultipartId, ObjectStoreExt as _, PutPayload};

use super::Begun;
use super::bucket::Client;
use crate::private;

/// A part. S3 takes from 5 MiB on, and 10,000 of them: 80 GiB of history.
const PART_BYTES: usize = 8 << 20;

/// An object that is not there yet.
pub(super) struct Upload {
    client: Arc<Client>,
    key: Path,
    /// Where it is noted once it was begun.
    note: PathBuf,
    part: Vec<u8>,
    /// What was sent.
    sent: Option<Sent>,
    bytes: u64,
}

/// What was sent of an object in parts.
struct Sent {
    id: MultipartId,
    parts: Vec<PartId>,
    /// The object that had its name before, by its tag.
    before: Option<String>,
}

impl Upload {
    /// Of a key. Nothing is sent yet.
    pub(super) fn new(client: Arc<Client>, key: Path, note: PathBuf) -> Self {
        Self { client, key, note, part: Vec::new(), sent: None, bytes: 0 }
    }

    fn send(&mut self) -> io::Result<()> {
        let Self { client, key, note, .. } = self;
        if self.sent.is_none() {
            let before = tag_and_size(client, key)?.and_then(|(tag, _)| tag);
            let id = client.wait(|| client.s3.create_multipart(key))?;
            // Noted before anything is sent: what was sent and is not an object yet costs its owner, and shows nowhere.
            note_down(note, &client.noted(key), &id)?;
            self.sent = Some(Sent { id, parts: Vec::new(), before });
        }
        let Sent { id, parts, .. } = self.sent.as_mut().expect("begun above");
        let payload = PutPayload::from(std::mem::take(&mut self.part));
        let part = client.wait(|| client.s3.put_part(key, id, parts.len(), payload.clone()))?;
        parts.push(part);
        Ok(())
    }
}

impl Write for Upload {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.part.len() == PART_BYTES {
            self.send()?;
        }
        let length = bytes.len().min(PART_BYTES - self.part.len());
        self.part.extend_from_slice(&bytes[..length]);
        self.bytes += length as u64;
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Begun for Upload {
    fn finish(&mut self) -> io::Result<()> {
        if self.sent.is_some() && !self.part.is_empty() { self.send() } else { Ok(()) }
    }

    fn publish(self: Box<Self>) -> io::Result<()> {
        let Self { client, key, note, part, sent, bytes } = *self;
        let Some(Sent { id, parts, before }) = sent else {
            let payload = PutPayload::from(part);
            return client.wait(|| client.s3.put(&key, payload.clone())).map(drop);
        };
        if let Err(error) = client.wait(|| client.s3.complete_multipart(&key, &id, parts.clone())) {
            // An answer may be lost, and the request that is repeated then finds no such upload any more. What was there
            // before may be as long.
            match tag_and_size(&client, &key) {
                Ok(Some((tag, size))) if size == bytes && tag.is_some() && tag != before => {}
                _ => return Err(error),
            }
        }
        forget(&note)
    }
}

/// The tag of an object, which changes with its bytes, and how long it is; nothing where it is not there.
fn tag_and_size(client: &Client, key: &Path) -> io::Result<Option<(Option<String>, u64)>> {
    match client.wait(|| client.s3.head(key)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        object => object.map(|object| Some((object.e_tag, object.size))),
    }
}

fn note_down(note: &std::path::Path, object: &str, id: &str) -> io::Result<()> {
    if let Some(folder) = note.parent() {
        private::make_durable_dir(folder)?;
    }
    private::write(note, format!("{object}\n{id}\n").as_bytes())
}

/// Aborts an upload that was noted and came to no end. It is not gone on with: the key that wraps the keys of its snapshot
/// went with the process that drew it.
///
/// # Errors
/// When the bucket does not answer, or the note cannot be read or removed.
pub(super) fn abort(client: &Client, key: &Path, note: &std::path::Path) -> io::Result<()> {
    let noted = match fs::read_to_string(note) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        noted => noted?,
    };
    // That of another bucket or prefix stays noted until somebody is at work there.
    let Some((noted, id)) = noted.trim_end().split_once('\n') else { return forget(note) };
    if noted != client.noted(key) {
        return Ok(());
    }
    let id = id.to_owned();
    match client.wait(|| client.s3.abort_multipart(key, &id)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => forget(note),
    }
}

fn forget(note: &std::path::Path) -> io::Result<()> {
    fs::remove_file(note)?;
    note.parent().map_or(Ok(()), private::sync_dir)
}
