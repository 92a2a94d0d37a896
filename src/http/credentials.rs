//! The credential that a request carries, as sent. Whether it is valid is not decided here.

use std::fmt;

use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, HeaderName};
use zeroize::Zeroizing;

use crate::http::problem::Problem;

/// The header of an API key.
pub const X_FASTN_API_KEY: HeaderName = HeaderName::from_static("x-fastn-api-key");

/// A longer token than any of ours is not looked at.
const LONGEST: usize = 512;

/// A secret that a client sent; zeroed when dropped, and shown by nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(Zeroizing<String>);

impl Token {
    /// The text, to be hashed and compared.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// The explicit credential of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential {
    /// `Authorization: Bearer`, a person's session.
    Session(Token),
    /// `x-fastn-api-key`, a program's key.
    ApiKey(Token),
}

/// The credential in these headers.
///
/// # Errors
/// 400 `several_credentials` for two of them, of one kind or of both; 401 for one without sane form.
pub fn credential(headers: &HeaderMap) -> Result<Option<Credential>, Problem> {
    let mut bearers = headers.get_all(AUTHORIZATION).iter();
    let mut keys = headers.get_all(X_FASTN_API_KEY).iter();
    let (bearer, key) = (bearers.next(), keys.next());
    if bearers.next().is_some() || keys.next().is_some() || (bearer.is_some() && key.is_some()) {
        return Err(Problem::bad_request("several_credentials", "send one credential, once"));
    }
    if let Some(value) = bearer {
        let text = value.to_str().map_err(|_| Problem::unauthenticated())?;
        let (scheme, token) = text.split_once(' ').ok_or_else(Problem::unauthenticated)?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Err(Problem::unauthenticated());
        }
        return token_of(token.trim_matches(' ')).map(Credential::Session).map(Some);
    }
    match key {
        Some(value) => {
            let text = value.to_str().map_err(|_| Problem::unauthenticated())?;
            token_of(text).map(Credential::ApiKey).map(Some)
        }
        None => Ok(None),
    }
}

fn token_of(text: &str) -> Result<Token, Problem> {
    if (1..=LONGEST).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        Ok(Token(Zeroizing::new(text.to_owned())))
    } else {
        Err(Problem::unauthenticated())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn read(headers: &[(&'static str, &'static str)]) -> Result<Option<(char, String)>, u16> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_static(value));
        }
        credential(&map).map_err(|problem| problem.status().as_u16()).map(|found| {
            found.map(|found| match found {
                Credential::Session(token) => ('s', token.expose().to_owned()),
                Credential::ApiKey(token) => ('k', token.expose().to_owned()),
            })
        })
    }

    #[test]
    fn each_kind_is_read() {
        assert_eq!(read(&[]), Ok(None));
        assert_eq!(read(&[("authorization", "Bearer abc")]), Ok(Some(('s', "abc".into()))));
        assert_eq!(read(&[("authorization", "bearer abc")]), Ok(Some(('s', "abc".into()))));
        assert_eq!(read(&[("x-fastn-api-key", "fastn_test_1")]), Ok(Some(('k', "fastn_test_1".into()))));
    }

    #[test]
    fn several_credentials_are_a_bad_request() {
        let bearer = ("authorization", "Bearer a");
        let key = ("x-fastn-api-key", "k");
        for several in [&[bearer, key][..], &[bearer, bearer], &[key, key]] {
            assert_eq!(read(several), Err(400));
        }
    }

    #[test]
    fn what_cannot_be_a_credential_is_unauthenticated() {
        for bad in ["Basic YTpi", "Bearer", "Bearer ", "Bearer a b", "abc"] {
            assert_eq!(read(&[("authorization", bad)]), Err(401), "{bad}");
        }
        assert_eq!(read(&[("x-fastn-api-key", "")]), Err(401));
    }

    #[test]
    fn a_token_is_not_shown() {
        let token = token_of("hunter2").expect("a token");
        assert!(!format!("{:?}", Credential::Session(token)).contains("hunter2"));
    }
}
