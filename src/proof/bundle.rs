//! A bundle: events exactly as recorded, each with its proof, and the checkpoint that they are proved against. Lines of
//! canonical JSON, so that a bundle of any length is written in bounded memory, and checked in it where it is whole; `docs/proof.md` describes it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::event::Version;
use crate::log::canonical::write_string;
use crate::log::segment::tree::Hash;

/// What the first line says of how the rest is to be read.
pub const FORMAT: &str = "settled-bundle-1";

/// The first line: which events follow, and what they are proved against.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// The signed checkpoint.
    pub checkpoint: String,
    /// [`FORMAT`].
    pub format: String,
    /// The version of the first event.
    pub from: Version,
    /// The version of the last.
    pub to: Version,
}

/// A line behind the first.
#[derive(Debug)]
pub struct Item<'a> {
    /// The event, exactly as recorded.
    pub event: &'a str,
    /// What stands beside its leaf on the way up to the root, the lowest first.
    pub path: Vec<Hash>,
}

impl Head {
    /// The head of a bundle.
    pub fn new(checkpoint: String, from: Version, to: Version) -> Self {
        Self { checkpoint, format: FORMAT.to_owned(), from, to }
    }

    /// As a line, without its end.
    pub fn line(&self) -> String {
        let mut line = String::from(r#"{"checkpoint":"#);
        write_string(&self.checkpoint, &mut line);
        line.push_str(r#","format":"#);
        write_string(&self.format, &mut line);
        line.push_str(&format!(r#","from":{},"to":{}}}"#, self.from, self.to));
        line
    }

    /// Reads a line; `None` if it is not exactly as it is written.
    pub fn read(line: &str) -> Option<Self> {
        let head: Self = serde_json::from_str(line).ok()?;
        (head.format == FORMAT && head.line() == line).then_some(head)
    }
}

impl<'a> Item<'a> {
    /// As a line, without its end.
    pub fn line(&self) -> String {
        let mut line = format!(r#"{{"event":{},"proof":["#, self.event);
        for (index, hash) in self.path.iter().enumerate() {
            line.push_str(if index > 0 { ",\"" } else { "\"" });
            STANDARD.encode_string(hash, &mut line);
            line.push('"');
        }
        line.push_str("]}");
        line
    }

    /// Reads a line; `None` if it is not exactly as it is written. What the event says is not looked at.
    pub fn read(line: &'a str) -> Option<Self> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Wire<'a> {
            #[serde(borrow)]
            event: &'a RawValue,
            proof: Vec<&'a str>,
        }
        let Wire { event, proof } = serde_json::from_str(line).ok()?;
        let hash = |text: &str| Hash::try_from(STANDARD.decode(text).ok()?).ok();
        let path = proof.into_iter().map(hash).collect::<Option<_>>()?;
        let item = Self { event: event.get(), path };
        (item.line() == line).then_some(item)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_back_and_no_other_text_for_the_same_is() {
        let head = Head::new("a \"note\"\n\n— of somebody\n".to_owned(), 3, 9);
        assert_eq!(Head::read(&head.line()), Some(head.clone()));
        assert_eq!(Head::read(&head.line().replace(":3", ": 3")), None);
        assert_eq!(Head::read(&head.line().replace("bundle-1", "bundle-2")), None);
        let line = Item { event: r#"{"version":3}"#, path: vec![[1; 32], [2; 32]] }.line();
        let read = Item::read(&line).unwrap();
        assert_eq!((read.event, read.path), (r#"{"version":3}"#, vec![[1; 32], [2; 32]]));
        for other in [
            line.replace("},\"", "}, \""),
            line.replace("[\"", "[ \""),
            line.replace("=\"]", "\"]"),
            line.replace("]}", "],\"more\":1}"),
            format!("{line} "),
            line[..line.len() - 1].to_owned(),
        ] {
            assert!(Item::read(&other).is_none(), "{other}");
        }
        assert!(Item::read(r#"{"event":{"version":3},"proof":[]}"#).is_some(), "a tree of one leaf");
    }
}
