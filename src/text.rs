//! Text that people write into settings: names and descriptions, with their limits; and what every checked text has,
//! which an area's own (a slug, a time zone) takes from here.

use serde::Serialize;
use unicode_normalization::UnicodeNormalization as _;

/// The text is empty, too long, or holds characters that do not show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidText {
    /// Nothing that shows is left after trimming.
    #[error("too short: must not be empty")]
    Empty,
    /// Longer than the limit, in characters.
    #[error("too long: must have at most {0} characters")]
    TooLong(usize),
    /// A control character, a line break in a name, or a character that reverses the reading direction.
    #[error("must not hold control characters")]
    Control,
    /// Blanks before or after it, where it is kept as it was sent.
    #[error("must not begin or end with blanks")]
    Padded,
}

/// The longest [`Name`], in characters: what a sidebar shows without breaking.
pub const NAME_MAX_CHARS: usize = 100;
/// The longest [`Description`], in characters.
pub const DESCRIPTION_MAX_CHARS: usize = 1_000;

/// A name: one line of 1 to 100 characters, trimmed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Name(String);

/// A description: 1 to 1,000 characters, line breaks allowed, trimmed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Description(String);

/// Characters that change the order in which text shows, so that a name could pass for another: the property
/// `Bidi_Control` of Unicode 17 (PropList.txt).
fn reorders(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The property `Default_Ignorable_Code_Point` of Unicode 17 (DerivedCoreProperties.txt): characters that show nothing of
/// their own; joiners and variation selectors among them, which names may hold beside others.
fn is_ignorable(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
        | '\u{fff0}'..='\u{fff8}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0000}'..='\u{e0fff}')
}

/// Characters that show nothing, alone or in a row: white space, what is ignorable, and the empty Braille pattern.
fn is_blank(c: char) -> bool {
    c.is_whitespace() || c == '\u{2800}' || is_ignorable(c)
}

/// What a person sees of a name, whatever its letter case: names that are unique are so by this. Compatible forms of a
/// character are one (NFKC of UAX #15), what shows nothing is nothing, and white space is one space. Letters of several
/// scripts that look alike stay different.
pub fn seen(name: &str) -> String {
    // By way of capitals, so that `ß` is `ss` and a final sigma any sigma.
    let folded = if name.is_ascii() {
        name.to_ascii_lowercase()
    } else {
        // Ignorable characters would keep accents from their letters.
        let shown: String = name.nfkc().filter(|c| !is_ignorable(*c)).collect();
        shown.to_uppercase().to_lowercase().nfkc().collect()
    };
    folded.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Checks the characters of a text that is not empty: what they are refused for, and whether any of them shows.
///
/// # Errors
/// [`InvalidText::Control`], [`InvalidText::Empty`].
pub fn check_characters(text: &str, allow_breaks: bool) -> Result<(), InvalidText> {
    let breaks = |c: char| c == '\n' || c == '\t';
    // U+2028 and U+2029 break lines as well, and nobody types them.
    let separates = |c: char| matches!(c, '\u{2028}' | '\u{2029}');
    let forbidden = |c: char| (c.is_control() && !(allow_breaks && breaks(c))) || separates(c) || reorders(c);
    if text.chars().any(forbidden) {
        return Err(InvalidText::Control);
    }
    if text.chars().all(is_blank) { Err(InvalidText::Empty) } else { Ok(()) }
}

fn checked(text: &str, max_chars: usize, allow_breaks: bool) -> Result<String, InvalidText> {
    let text = text.trim();
    if text.is_empty() {
        return Err(InvalidText::Empty);
    }
    if text.chars().count() > max_chars {
        return Err(InvalidText::TooLong(max_chars));
    }
    check_characters(text, allow_breaks)?;
    Ok(text.to_owned())
}

/// What a newtype over a text with rules of its own has beside its `TryFrom<&str>`: its text, how it is read from JSON,
/// and its schema, a string with what the rules say of it.
macro_rules! checked_text {
    ($name:ident $(, $constraint:ident = $value:expr)+) => {
        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str> as serde::Deserialize>::deserialize(deserializer)?;
                Self::try_from(&*text).map_err(serde::de::Error::custom)
            }
        }

        impl utoipa::PartialSchema for $name {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
                utoipa::openapi::ObjectBuilder::new()
                    .schema_type(utoipa::openapi::schema::Type::String)
                    $(.$constraint(Some($value)))+
                    .into()
            }
        }

        impl utoipa::ToSchema for $name {}
    };
}

/// Such a text that may be shown; one that is personal has no `Display`.
macro_rules! shown_text {
    ($name:ident) => {
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

pub(crate) use {checked_text, shown_text};

impl TryFrom<&str> for Name {
    type Error = InvalidText;

    fn try_from(text: &str) -> Result<Self, InvalidText> {
        checked(text, NAME_MAX_CHARS, false).map(Self)
    }
}

impl TryFrom<&str> for Description {
    type Error = InvalidText;

    fn try_from(text: &str) -> Result<Self, InvalidText> {
        checked(text, DESCRIPTION_MAX_CHARS, true).map(Self)
    }
}

checked_text!(Name, min_length = 1, max_length = NAME_MAX_CHARS);
shown_text!(Name);
checked_text!(Description, min_length = 1, max_length = DESCRIPTION_MAX_CHARS);
shown_text!(Description);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_trimmed_and_bounded() {
        assert_eq!(Name::try_from("  Acme ").unwrap().as_str(), "Acme");
        assert_eq!(Name::try_from("   "), Err(InvalidText::Empty));
        assert_eq!(Name::try_from("x".repeat(101).as_str()), Err(InvalidText::TooLong(100)));
        assert!(Name::try_from("é".repeat(100).as_str()).is_ok());
    }

    #[test]
    fn a_name_cannot_pass_for_another() {
        assert_eq!(Name::try_from("a\u{202e}b"), Err(InvalidText::Control));
        assert_eq!(Name::try_from("a\u{61c}b"), Err(InvalidText::Control));
        assert_eq!(Name::try_from("a\nb"), Err(InvalidText::Control));
        assert_eq!(Name::try_from("a\u{2028}b"), Err(InvalidText::Control));
        assert!(Description::try_from("a\nb").is_ok());
    }

    #[test]
    fn a_name_shows() {
        for nothing in ["\u{200b}", "\u{200b}\u{2060}", "\u{3164}", "\u{ad} \u{ad}", "\u{2800}", "\u{feff}"] {
            assert_eq!(Name::try_from(nothing), Err(InvalidText::Empty), "{nothing:?}");
            assert_eq!(Description::try_from(nothing), Err(InvalidText::Empty), "{nothing:?}");
        }
        // Persian and emoji need joiners.
        for name in ["می\u{200c}خواهم", "👩\u{200d}💻", "❤\u{fe0f}"] {
            assert_eq!(Name::try_from(name).unwrap().as_str(), name);
        }
    }

    #[test]
    fn names_that_look_the_same_are_the_same() {
        for (one, other) in [
            ("Core", "cORE"),
            ("caf\u{e9}", "CAFE\u{301}"),
            ("Core", "Co\u{200d}re"),
            ("Core", "\u{2060}Core\u{feff}"),
            ("caf\u{e9}", "cafe\u{200b}\u{301}"),
            ("Core Team", "Core\u{a0} Team"),
            ("Core", "\u{ff23}ore"),
            ("ﬁnance", "Finance"),
            ("Straße", "STRASSE"),
            ("ΟΔΟΣ", "οδος"),
            ("❤", "❤\u{fe0f}"),
        ] {
            assert_eq!(seen(one), seen(other), "{one:?} {other:?}");
            assert_eq!(seen(&seen(one)), seen(one), "{one:?}");
        }
        for (one, other) in [("Core", "Cores"), ("cafe", "caf\u{e9}"), ("a b", "ab"), ("Core", "С\u{43e}re")]
        {
            assert_ne!(seen(one), seen(other), "{one:?} {other:?}");
        }
    }
}
