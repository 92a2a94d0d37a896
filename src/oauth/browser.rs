//! What somebody's browser says on the way of a consent: what the provider has it bring back, which page a form is from, and the
//! cookie that it was given.

use axum::http::header::{COOKIE, ORIGIN};
use axum::http::{HeaderMap, HeaderValue};
use url::form_urlencoded::parse;
use zeroize::Zeroizing;

use crate::http::problem::Problem;
use crate::seal::token::PlainToken;
use crate::settings::connections::granting::CONSENT_SECONDS;

/// The cookie that binds a consent to the browser in which it was begun. Only this host can have set it, over a secure
/// connection; browsers take this machine itself for one.
const COOKIE_NAME: &str = "__Host-settled-connect";
/// The longest code that is taken, in bytes.
const CODE_MAX_BYTES: usize = 4 << 10;

/// What a provider has a browser say. Other parameters have no meaning, and these stand there once at most.
pub struct Said {
    /// The state of the attempt.
    pub state: Option<String>,
    /// What tokens are had for.
    pub code: Option<Zeroizing<String>>,
    /// What the provider calls itself.
    pub issuer: Option<String>,
    /// Whether it says that there is no code.
    pub is_refused: bool,
}

impl Said {
    /// `None` where something is said twice, or at too great a length.
    pub fn read(query: &str) -> Option<Self> {
        let once = |name: &str| {
            let mut found = parse(query.as_bytes()).filter(|(key, _)| key == name).map(|(_, value)| value);
            let first = found.next().map(|value| value.into_owned());
            if found.next().is_some() { Err(()) } else { Ok(first) }
        };
        let code = once("code").ok()?.map(Zeroizing::new);
        if code.as_ref().is_some_and(|code| code.is_empty() || code.len() > CODE_MAX_BYTES) {
            return None;
        }
        let is_refused = once("error").ok()?.is_some();
        Some(Self { state: once("state").ok()?, code, issuer: once("iss").ok()?, is_refused })
    }
}

/// Whether a form was sent from a page of ours, as every browser of today says.
pub fn is_own_page(headers: &HeaderMap, public_url: &str) -> bool {
    match headers.get("sec-fetch-site") {
        Some(site) => site == "same-origin",
        None => headers.get(ORIGIN).is_some_and(|origin| origin == public_url),
    }
}

/// What the browser was given, if it brings one that looks like it.
pub fn cookie(headers: &HeaderMap) -> Option<PlainToken> {
    let all = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = all.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    let (_, value) = pairs.find(|(name, _)| *name == COOKIE_NAME)?;
    let looks =
        value.len() == 43 && value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    looks.then(|| PlainToken::presented(value))
}

/// Has the browser keep it while somebody consents.
///
/// # Errors
/// Never for a token, which is visible ASCII.
pub fn set_cookie(token: &PlainToken) -> Result<HeaderValue, Problem> {
    let token = token.expose();
    let set =
        format!("{COOKIE_NAME}={token}; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age={CONSENT_SECONDS}");
    let mut set = HeaderValue::try_from(set).map_err(|_| Problem::internal())?;
    set.set_sensitive(true);
    Ok(set)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(all: &[(&'static str, &str)]) -> HeaderMap {
        all.iter().map(|(name, value)| ((*name).parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn what_is_said_twice_is_not_said() {
        assert!(Said::read("state=a&code=b").is_some());
        assert!(Said::read("state=a&code=b&session_state=c&session_state=d").is_some());
        for query in ["state=a&state=b&code=c", "state=a&code=b&code=c", "code=", "iss=a&iss=b&code=c"] {
            assert!(Said::read(query).is_none(), "{query}");
        }
        let said = Said::read("state=a&error=access_denied&error_description=x").unwrap();
        assert!(said.is_refused && said.code.is_none());
    }

    #[test]
    fn a_form_comes_from_our_own_page() {
        let own = |all: &[(&'static str, &str)]| is_own_page(&headers(all), "https://settings.example.com");
        assert!(own(&[("sec-fetch-site", "same-origin")]));
        assert!(own(&[("origin", "https://settings.example.com")]));
        for all in [
            &[("sec-fetch-site", "cross-site")][..],
            &[("sec-fetch-site", "same-site")],
            &[("sec-fetch-site", "none")],
            &[("sec-fetch-site", "cross-site"), ("origin", "https://settings.example.com")],
            &[("origin", "https://settings.example.com.evil.example")],
            &[("origin", "null")],
            &[],
        ] {
            assert!(!own(all), "{all:?}");
        }
    }

    #[test]
    fn only_our_cookie_is_read() {
        let value = PlainToken::draw().expose().to_owned();
        let read = |text: &str| cookie(&headers(&[("cookie", text)])).map(|token| token.expose().to_owned());
        assert_eq!(read(&format!("a=b; {COOKIE_NAME}={value}")), Some(value.clone()));
        for text in ["", "a=b", &format!("settled-connect={value}"), &format!("{COOKIE_NAME}=short")] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
