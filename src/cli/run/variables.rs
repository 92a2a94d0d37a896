//! The variables that an environment's values become.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

use crate::cli::run::names::refused;
use crate::client::values::Values;
use crate::seal::Plain;

/// Variables by name, secrets and configuration alike.
#[derive(PartialEq, Eq)]
pub struct Variables {
    all: BTreeMap<String, Plain>,
    /// Names that both a secret and a configuration value have: the secret is used.
    pub clashes: Vec<String>,
}

/// Values that cannot be variables. Nothing of a value is in it.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("not all of the settings can be variables{}", .0.iter().map(|why| format!("\n  {why}")).collect::<String>())]
pub struct NotVariables(Vec<NotVariable>);

/// Why a value is none.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum NotVariable {
    #[error("{0} would decide {1}: rename that setting")]
    Refused(String, &'static str),
    #[error("{0} holds a NUL byte, where every variable ends")]
    Nul(String),
}

impl Variables {
    /// The variables of these values.
    ///
    /// # Errors
    /// With every value that cannot be one.
    pub fn of(values: &Values) -> Result<Self, NotVariables> {
        let mut all: BTreeMap<String, Plain> =
            values.config_texts().map(|(name, text)| (name.to_owned(), Plain::from(&*text))).collect();
        let mut clashes = Vec::new();
        for (name, value) in values.secrets() {
            if all.insert(name.to_owned(), value.clone()).is_some() {
                clashes.push(name.to_owned());
            }
        }
        let not: Vec<_> = all.iter().filter_map(|(name, value)| not_variable(name, value)).collect();
        if not.is_empty() { Ok(Self { all, clashes }) } else { Err(NotVariables(not)) }
    }

    /// Each name with its value.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &OsStr)> {
        self.all.iter().map(|(name, value)| (name.as_str(), OsStr::from_bytes(value.as_bytes())))
    }
}

fn not_variable(name: &str, value: &Plain) -> Option<NotVariable> {
    if let Some(decides) = refused(name) {
        return Some(NotVariable::Refused(name.to_owned(), decides));
    }
    value.as_bytes().contains(&0).then(|| NotVariable::Nul(name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(config: &str, secrets: &str) -> Result<Variables, NotVariables> {
        let answer = format!(r#"{{"version": "v", "config": {config}, "secrets": {secrets}}}"#);
        Variables::of(&Values::told(&answer))
    }

    #[test]
    fn a_secret_goes_before_a_configuration_value_and_the_clash_is_said() {
        let variables = of(r#"{"A": "config", "B": [1]}"#, r#"{"A": "secret", "C": "more"}"#).unwrap();
        let all: Vec<_> = variables.iter().map(|(name, value)| (name, value.to_str().unwrap())).collect();
        assert_eq!(all, [("A", "secret"), ("B", "[1]"), ("C", "more")]);
        assert_eq!(variables.clashes, ["A"]);
    }

    #[test]
    fn every_value_that_cannot_be_a_variable_is_named_without_what_it_holds() {
        let refused =
            of(r#"{"PATH": "hunter2", "OK": 1}"#, r#"{"BINARY": "hunter2\u0000", "LD_PRELOAD": "hunter2"}"#);
        let said = refused.err().unwrap().to_string();
        for name in
            ["PATH would decide which programs are run", "LD_PRELOAD would", "BINARY holds a NUL byte"]
        {
            assert!(said.contains(name), "{said}");
        }
        assert!(!said.contains("hunter2") && !said.contains("OK"), "{said}");
    }
}
