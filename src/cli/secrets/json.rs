//! Files of secrets as JSON: one object of text, `{"NAME": "value"}`.

use std::cell::RefCell;
use std::fmt;

use serde::Deserializer as _;
use serde::de::{Error as _, MapAccess, Visitor};
use serde_json::Deserializer;
use serde_json::error::Category;

use crate::cli::secrets::entries::{Entries, Fault, Wrong};
use crate::seal::Plain;

/// Reads a file.
///
/// # Errors
/// The first fault, with its line.
pub fn parse(text: &str) -> Result<Entries, Fault> {
    let wrong = RefCell::new(None);
    let mut reader = Deserializer::from_str(text);
    let read = reader.deserialize_map(Object(&wrong)).and_then(|entries| reader.end().map(|()| entries));
    read.map_err(|error| {
        let said = match error.classify() {
            // What serde says of a wrong type quotes the value.
            Category::Data => wrong.take().unwrap_or(Wrong::NotText),
            Category::Syntax | Category::Eof | Category::Io => Wrong::NotJson,
        };
        Fault { line: error.line(), wrong: said }
    })
}

/// Reads the object; what is wrong with an entry is left behind, since an error of serde's has only a text.
struct Object<'a>(&'a RefCell<Option<Wrong>>);

impl<'de> Visitor<'de> for Object<'_> {
    type Value = Entries;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of text")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries, A::Error> {
        let mut entries = Entries::default();
        while let Some((name, value)) = map.next_entry::<String, Plain>()? {
            entries.add(&name, value).map_err(|wrong| {
                self.0.replace(Some(wrong));
                A::Error::custom("an entry that is none")
            })?;
        }
        Ok(entries)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_of_text_is_read() {
        let entries = parse("{\"B\": \"2\\n\",\n \"A\": \"ü\"}\n").unwrap();
        let told: Vec<_> = entries.iter().map(|(name, value)| (name, value.as_str().unwrap())).collect();
        assert_eq!(told, [("A", "ü"), ("B", "2\n")]);
        assert_eq!(parse("{}").unwrap().len(), 0);
    }

    #[test]
    fn what_is_none_is_refused_with_its_line_and_without_what_it_says() {
        for (text, line, said) in [
            ("", 1, "not valid JSON"),
            ("{\"A\": \"hunter2\"", 1, "not valid JSON"),
            ("{\"A\": \"hunter2\"}\n{}", 2, "not valid JSON"),
            ("[\"hunter2\"]", 1, "expected one object"),
            ("\"hunter2\"", 1, "expected one object"),
            ("{\n\"A\": 5}", 2, "expected one object"),
            ("{\"A\": {\"HUNTER\": \"2\"}}", 1, "expected one object"),
            ("{\"A\": \"1\",\n\"A\": \"hunter2\"}", 2, "A is set twice"),
            ("{\"A\": \"\"}", 1, "too short"),
            ("{\"hunter2\": \"A\"}", 1, "a name must match"),
        ] {
            let refused = parse(text).err().unwrap().to_string();
            assert!(
                refused.starts_with(&format!("{line}: ")) && refused.contains(said),
                "{text:?}: {refused}"
            );
            assert!(!refused.to_lowercase().contains("hunter"), "{refused}");
        }
    }
}
