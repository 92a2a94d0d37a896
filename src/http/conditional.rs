//! Conditional requests (RFC 9110 §13): entity tags `"<epoch>-<version>"`, `If-Match`, `If-None-Match: *`.

use axum::http::header::{IF_MATCH, IF_NONE_MATCH};
use axum::http::{HeaderMap, HeaderName, HeaderValue};

use crate::event::Version;
use crate::http::problem::Problem;

/// The entity tag of a resource at a version, in an epoch.
pub fn etag(epoch: &str, version: Version) -> HeaderValue {
    HeaderValue::from_str(&format!("\"{epoch}-{version}\"")).expect("an epoch is ASCII letters and digits")
}

/// What a request asks of the state that it meets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conditions {
    /// `If-Match`.
    pub if_match: Option<IfMatch>,
    /// `If-None-Match: *`: only where nothing is yet.
    pub if_none: bool,
}

/// The value of `If-Match`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IfMatch {
    /// `*`: whatever is there.
    Any,
    /// One of these strong tags, without quotes. Weak ones never match and are left out.
    Tags(Vec<String>),
}

impl IfMatch {
    /// Whether a resource at this version is meant. Tags of another epoch never match.
    pub fn matches(&self, epoch: &str, version: Version) -> bool {
        match self {
            Self::Any => true,
            Self::Tags(_) => self.versions(epoch).any(|tagged| tagged == version),
        }
    }

    /// The versions of this epoch that the tags name.
    pub fn versions<'a>(&'a self, epoch: &'a str) -> impl Iterator<Item = Version> + 'a {
        let tags = match self {
            Self::Any => &[][..],
            Self::Tags(tags) => tags,
        };
        tags.iter().filter_map(move |tag| version_of(tag.strip_prefix(epoch)?.strip_prefix('-')?))
    }
}

/// A version in its only spelling: `07` is not the tag that was given for 7.
pub(super) fn version_of(text: &str) -> Option<Version> {
    let version: Version = text.parse().ok()?;
    (version.to_string() == text).then_some(version)
}

impl Conditions {
    /// Reads `If-Match`, and `If-None-Match` where it is `*` (entity tags in it are for reads by `ctx`).
    ///
    /// # Errors
    /// 422 where a value is not a list of entity tags.
    pub fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        let if_match = match tags(headers, &IF_MATCH, "If-Match")? {
            None => None,
            Some(List::Any) => Some(IfMatch::Any),
            Some(List::Tags(tags)) => Some(IfMatch::Tags(
                tags.into_iter().filter(|tag| !tag.weak).map(|tag| tag.text.to_owned()).collect(),
            )),
        };
        let if_none = matches!(tags(headers, &IF_NONE_MATCH, "If-None-Match")?, Some(List::Any));
        Ok(Self { if_match, if_none })
    }

    /// Checks a resource that is at `version`, or is not there.
    ///
    /// # Errors
    /// 412.
    pub fn check(&self, epoch: &str, version: Option<Version>) -> Result<(), Problem> {
        let matched = match (&self.if_match, version) {
            (None, _) => true,
            (Some(wanted), Some(version)) => wanted.matches(epoch, version),
            (Some(_), None) => false,
        };
        if matched && !(self.if_none && version.is_some()) {
            Ok(())
        } else {
            Err(Problem::precondition_failed())
        }
    }
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

    fn headers(name: HeaderName, values: &[&'static str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(&name, HeaderValue::from_static(value));
        }
        headers
    }

    fn passes(values: &[&'static str], version: Option<Version>) -> bool {
        let conditions = Conditions::of(&headers(IF_MATCH, values)).expect("well-formed");
        conditions.check("0", version).is_ok()
    }

    #[test]
    fn if_match_takes_the_current_tag_only() {
        assert!(passes(&[], Some(7)) && passes(&[], None));
        assert!(passes(&["\"0-7\""], Some(7)));
        assert!(!passes(&["\"0-6\""], Some(7)));
        assert!(!passes(&["\"0-07\""], Some(7)) && !passes(&["\"0-+7\""], Some(7)));
        assert!(passes(&["\"0-6\", \"0-7\""], Some(7)) && passes(&["\"0-6\"", "\"0-7\""], Some(7)));
    }

    #[test]
    fn another_epochs_tag_and_a_weak_one_never_match() {
        assert!(!passes(&["\"ab12-7\""], Some(7)));
        assert!(!passes(&["W/\"0-7\""], Some(7)));
    }

    #[test]
    fn a_star_takes_whatever_is_there() {
        assert!(passes(&["*"], Some(7)) && !passes(&["*"], None));
        assert!(!passes(&["\"0-7\""], None));
    }

    #[test]
    fn if_none_match_creates_only() {
        let conditions = Conditions::of(&headers(IF_NONE_MATCH, &["*"])).expect("well-formed");
        assert!(conditions.check("0", None).is_ok());
        assert_eq!(conditions.check("0", Some(1)).err().map(|problem| problem.status().as_u16()), Some(412));
    }

    #[test]
    fn what_is_no_list_of_tags_is_refused() {
        for bad in ["0-7", "\"0-7", "\"0-7\" \"0-8\"", "", ",", "w/\"a\"", "*, \"0-7\""] {
            assert!(Conditions::of(&headers(IF_MATCH, &[bad])).is_err(), "{bad}");
        }
        assert!(Conditions::of(&headers(IF_MATCH, &["*", "\"0-7\""])).is_err());
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
