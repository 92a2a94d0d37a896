//! Conditional requests (RFC 9110 §13): entity tags `"<epoch>-<version>"`, `If-Match`, `If-None-Match`.

use axum::http::header::{IF_MATCH, IF_NONE_MATCH};
use axum::http::{HeaderMap, HeaderName, HeaderValue};

use crate::command::Precondition;
use crate::event::Version;
use crate::http::problem::Problem;

/// The entity tag of a resource at a version, in an epoch.
pub fn etag(epoch: &str, version: Version) -> HeaderValue {
    HeaderValue::from_str(&format!("\"{epoch}-{version}\"")).expect("an epoch is ASCII letters and digits")
}

/// What `If-Match` and `If-None-Match` ask of what a request changes, in an epoch (RFC 9110 §13.1.1, §13.1.2): the
/// former by strong comparison, the latter by weak. Tags of another epoch match nothing.
///
/// # Errors
/// 422 where a value is not a list of entity tags.
pub fn preconditions(headers: &HeaderMap, epoch: &str) -> Result<Vec<Precondition>, Problem> {
    let if_match = tags(headers, &IF_MATCH, "If-Match")?.map(|list| match list {
        List::Any => Precondition::Exists,
        List::Tags(tags) => Precondition::OneOf(versions(tags.iter().filter(|tag| !tag.weak), epoch)),
    });
    let if_none_match = tags(headers, &IF_NONE_MATCH, "If-None-Match")?.map(|list| match list {
        List::Any => Precondition::Absent,
        List::Tags(tags) => Precondition::NoneOf(versions(tags.iter(), epoch)),
    });
    Ok(if_match.into_iter().chain(if_none_match).collect())
}

fn versions<'a>(tags: impl Iterator<Item = &'a Tag<'a>>, epoch: &str) -> Vec<Version> {
    let versions = tags.filter_map(|tag| version_of(tag.text.strip_prefix(epoch)?.strip_prefix('-')?));
    // No resource is at version 0.
    versions.filter(|version| *version > 0).collect()
}

/// A version in its only spelling: `07` is not the tag that was given for 7.
pub(super) fn version_of(text: &str) -> Option<Version> {
    let version: Version = text.parse().ok()?;
    (version.to_string() == text).then_some(version)
}

/// Whether `If-None-Match` of a GET names this tag (RFC 9110 §13.1.2: by weak comparison), so that 304 is
/// the answer. `tag` is with its quotes, as [`etag`] gives it.
///
/// # Errors
/// 422 where the value is not a list of entity tags.
pub fn is_unmodified(headers: &HeaderMap, tag: &HeaderValue) -> Result<bool, Problem> {
    let wanted = tag.as_bytes().strip_prefix(b"\"").and_then(|tag| tag.strip_suffix(b"\""));
    Ok(match tags(headers, &IF_NONE_MATCH, "If-None-Match")? {
        None => false,
        Some(List::Any) => true,
        Some(List::Tags(tags)) => tags.iter().any(|tag| Some(tag.text.as_bytes()) == wanted),
    })
}

enum List<'a> {
    Any,
    Tags(Vec<Tag<'a>>),
}

struct Tag<'a> {
    weak: bool,
    text: &'a str,
}

/// All tags of a header's lines, as one list. Ours hold no comma, but a client's may.
fn tags<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
    shown: &'static str,
) -> Result<Option<List<'a>>, Problem> {
    let invalid =
        || Problem::invalid_parameter(shown, "invalid", "expected * or a list of entity tags in quotes");
    let mut found = Vec::new();
    let mut any = false;
    for line in headers.get_all(name) {
        let mut rest = line.to_str().map_err(|_| invalid())?.trim();
        if rest == "*" {
            any = true;
            continue;
        }
        loop {
            rest = rest.trim_start_matches([' ', '\t', ',']);
            if rest.is_empty() {
                break;
            }
            let (weak, quoted) = rest.strip_prefix("W/").map_or((false, rest), |strong| (true, strong));
            let (text, after) =
                quoted.strip_prefix('"').and_then(|tag| tag.split_once('"')).ok_or_else(invalid)?;
            let after = after.trim_start();
            if !after.is_empty() && !after.starts_with(',') {
                return Err(invalid());
            }
            found.push(Tag { weak, text });
            rest = after;
        }
    }
    match (any, found.is_empty(), headers.contains_key(name)) {
        (_, _, false) => Ok(None),
        (true, true, _) => Ok(Some(List::Any)),
        (false, false, _) => Ok(Some(List::Tags(found))),
        _ => Err(invalid()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actor::Actor;
    use crate::command::Context;
    use crate::given::by;

    fn headers(name: HeaderName, values: &[&'static str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(&name, HeaderValue::from_static(value));
        }
        headers
    }

    fn passes(name: HeaderName, values: &[&'static str], version: Version) -> bool {
        let preconditions = preconditions(&headers(name, values), "0").expect("well-formed");
        Context { preconditions, ..by(Actor::SYSTEM) }.check_version(version).is_ok()
    }

    #[test]
    fn if_match_takes_the_current_tag_only() {
        let passes = |values, version| passes(IF_MATCH, values, version);
        assert!(passes(&[], 7) && passes(&[], 0));
        assert!(passes(&["\"0-7\""], 7) && !passes(&["\"0-7\""], 0));
        assert!(!passes(&["\"0-6\""], 7));
        assert!(!passes(&["\"0-07\""], 7) && !passes(&["\"0-+7\""], 7));
        assert!(passes(&["\"0-6\", \"0-7\""], 7) && passes(&["\"0-6\"", "\"0-7\""], 7));
        assert!(passes(&["*"], 7) && !passes(&["*"], 0));
        assert!(!passes(&["\"0-0\""], 0), "what is not there has no tag");
    }

    #[test]
    fn another_epochs_tag_never_matches_and_a_weak_one_only_where_none_should() {
        assert!(!passes(IF_MATCH, &["\"ab12-7\""], 7) && !passes(IF_MATCH, &["W/\"0-7\""], 7));
        assert!(passes(IF_NONE_MATCH, &["\"ab12-7\""], 7) && !passes(IF_NONE_MATCH, &["W/\"0-7\""], 7));
    }

    #[test]
    fn if_none_match_takes_all_but_what_it_names() {
        let passes = |values, version| passes(IF_NONE_MATCH, values, version);
        assert!(passes(&["*"], 0) && !passes(&["*"], 7));
        assert!(passes(&["\"0-6\""], 7) && passes(&["\"0-6\""], 0));
        assert!(!passes(&["\"0-6\", \"0-7\""], 7));
    }

    #[test]
    fn what_is_no_list_of_tags_is_refused() {
        for bad in ["0-7", "\"0-7", "\"0-7\" \"0-8\"", "", ",", "w/\"a\"", "*, \"0-7\""] {
            assert!(preconditions(&headers(IF_MATCH, &[bad]), "0").is_err(), "{bad}");
            assert!(preconditions(&headers(IF_NONE_MATCH, &[bad]), "0").is_err(), "{bad}");
        }
        assert!(preconditions(&headers(IF_MATCH, &["*", "\"0-7\""]), "0").is_err());
    }

    #[test]
    fn a_read_is_unmodified_by_weak_comparison() {
        let tag = etag("0", 7);
        let unmodified = |values: &[&'static str]| is_unmodified(&headers(IF_NONE_MATCH, values), &tag).ok();
        assert_eq!(unmodified(&["W/\"0-7\""]), Some(true));
        assert_eq!(unmodified(&["\"0-6\", \"0-7\""]), Some(true));
        assert_eq!(unmodified(&["\"0-6\""]), Some(false));
        assert_eq!(unmodified(&[]), Some(false));
    }
}
