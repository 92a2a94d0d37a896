//! The values of executions, checked.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::text::{InvalidText, check_characters, checked_text, shown_text};

/// The longest name of a workflow, in characters.
pub const WORKFLOW_MAX_CHARS: usize = 128;
/// The longest trigger, in characters.
pub const TRIGGER_MAX_CHARS: usize = 255;
/// The longest error, in characters.
pub const ERROR_MAX_CHARS: usize = 4_000;
/// The most figures of a usage.
pub const FIGURES_MAX: usize = 20;
/// The greatest figure: the greatest integer up to which every integer is a double of its own.
pub const FIGURE_MAX: u64 = (1 << 53) - 1;

/// The name of a workflow: `[A-Za-z0-9][A-Za-z0-9_.:/-]{0,127}`. It is recorded sealed, with what lists find it by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Workflow(String);

/// What set an execution off: 1 to 255 characters of one line.
#[derive(Clone, PartialEq, Eq)]
pub struct Trigger(String);

/// What went wrong: 1 to 4,000 characters, line breaks allowed.
#[derive(Clone, PartialEq, Eq)]
pub struct Failure(String);

/// The text is no name of a workflow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must match [A-Za-z0-9][A-Za-z0-9_.:/-]{{0,127}}")]
pub struct InvalidWorkflow;

impl TryFrom<&str> for Workflow {
    type Error = InvalidWorkflow;

    fn try_from(text: &str) -> Result<Self, InvalidWorkflow> {
        if is_name(text, WORKFLOW_MAX_CHARS, b"_.:/-") {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidWorkflow)
        }
    }
}

/// Whether a text begins with an ASCII letter or digit and has such, and these, alone.
fn is_name(text: &str, max_chars: usize, others: &[u8]) -> bool {
    let first = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    let rest = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || others.contains(&byte));
    first && rest && text.len() <= max_chars
}

fn bounded(text: &str, max_chars: usize, allow_breaks: bool) -> Result<String, InvalidText> {
    if text.chars().count() > max_chars {
        return Err(InvalidText::TooLong(max_chars));
    }
    check_characters(text, allow_breaks)?;
    Ok(text.to_owned())
}

impl TryFrom<&str> for Trigger {
    type Error = InvalidText;

    fn try_from(text: &str) -> Result<Self, InvalidText> {
        bounded(text, TRIGGER_MAX_CHARS, false).map(Self)
    }
}

impl TryFrom<&str> for Failure {
    type Error = InvalidText;

    fn try_from(text: &str) -> Result<Self, InvalidText> {
        bounded(text, ERROR_MAX_CHARS, true).map(Self)
    }
}

checked_text!(Workflow, pattern = "^[A-Za-z0-9][A-Za-z0-9_.:/-]{0,127}$");
shown_text!(Workflow);
checked_text!(Trigger, min_length = 1, max_length = TRIGGER_MAX_CHARS);
checked_text!(Failure, min_length = 1, max_length = ERROR_MAX_CHARS);

/// What an execution used: figures by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Usage(std::collections::BTreeMap<String, u64>);

/// The figures cannot be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected at most {FIGURES_MAX} figures of at most 2^53 - 1, named [A-Za-z0-9][A-Za-z0-9_.-]{{0,62}}"
)]
pub struct InvalidUsage;

impl Usage {
    /// As the text of one JSON object.
    ///
    /// # Errors
    /// [`InvalidUsage`].
    pub fn text(&self) -> Result<String, InvalidUsage> {
        let is_sound = |(name, figure): (&String, &u64)| is_name(name, 63, b"_.-") && *figure <= FIGURE_MAX;
        if self.0.len() > FIGURES_MAX || !self.0.iter().all(is_sound) {
            return Err(InvalidUsage);
        }
        serde_json::to_string(self).map_err(|_| InvalidUsage)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_workflow_has_a_plain_name() {
        for name in ["sync", "crm/import:v2", "9-a.b_c"] {
            assert!(Workflow::try_from(name).is_ok(), "{name}");
        }
        for name in ["", "/a", "a b", "ä", &"a".repeat(129)] {
            assert_eq!(Workflow::try_from(name), Err(InvalidWorkflow), "{name}");
        }
    }

    #[test]
    fn figures_are_few_plain_and_exact() {
        let usage = |text: &str| serde_json::from_str::<Usage>(text).unwrap().text();
        assert_eq!(usage(r#"{"tokens": 5, "calls": 0}"#).as_deref(), Ok(r#"{"calls":0,"tokens":5}"#));
        assert_eq!(usage(r#"{"a b": 5}"#), Err(InvalidUsage));
        assert_eq!(usage(r#"{"a": 9007199254740992}"#), Err(InvalidUsage));
        let many: Vec<String> = (0..=FIGURES_MAX).map(|number| format!("\"f{number}\":1")).collect();
        assert_eq!(usage(&format!("{{{}}}", many.join(","))), Err(InvalidUsage));
    }
}
