//! An error in words together with what caused it. Whoever logs or prints an error goes through here: an error's own
//! text names what failed, and only its sources say why.

use std::error::Error;

/// Shows an error and each of its sources, with colons between them. A source that the text before it ends with, as
/// where an error quotes its cause, is not said twice.
pub fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.ends_with(&inner_text) {
            text.push_str(": ");
            text.push_str(&inner_text);
        }
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("the cable is cut")]
    struct Root;

    #[derive(Debug, thiserror::Error)]
    enum Outage {
        #[error("no light")]
        Silent(#[source] Root),
        #[error("no light: {0}")]
        Quoting(#[source] Root),
        #[error("no evening")]
        Twice(#[source] Box<Outage>),
    }

    #[test]
    fn every_cause_is_said_once() {
        let shown = |outage: Outage| with_causes(&outage);
        assert_eq!(shown(Outage::Silent(Root)), "no light: the cable is cut");
        assert_eq!(shown(Outage::Quoting(Root)), "no light: the cable is cut");
        let twice = Outage::Twice(Box::new(Outage::Silent(Root)));
        assert_eq!(shown(twice), "no evening: no light: the cable is cut");
    }
}
