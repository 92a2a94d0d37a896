//! What is said to a provider, and what its answers mean: codes and refresh tokens exchanged for tokens (RFC 6749 §4.1.3, §6,
//! RFC 7636), tokens given back (RFC 7009). What a provider says is read for what it means and thrown away.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::oauth::provider::ClientAuthentication;
use crate::oauth::registration::Registration;
use crate::outgoing::exchange::{Answer, Form};
use crate::outgoing::{Outgoing, OutgoingError};
use crate::seal::Plain;
use crate::settings::connections::connection::INVALID_GRANT;

/// The longest token that is taken, in bytes.
const TOKEN_MAX_BYTES: usize = 16 << 10;
/// The most scopes that are read of those that were granted.
const GRANTED_MAX: usize = 200;
/// The longest time that an access token is believed to be good for, in seconds: ten years.
const LIFETIME_MAX_SECONDS: f64 = 315_360_000.0;

/// What a provider handed out.
pub struct Granted {
    /// What programs use.
    pub access_token: Plain,
    /// What another one is had for.
    pub refresh_token: Option<Plain>,
    /// For how long the access token is good, in seconds.
    pub expires_in: Option<u64>,
    /// What was granted.
    pub scopes: Option<Vec<String>>,
    /// How the access token is used, where the provider says that.
    token_type: Option<Value>,
}

impl Granted {
    /// Whether whoever has the access token can use it, which is all that programs are told (RFC 6749 §7.1). It is also where
    /// nothing is said, and where the catalogue knows the provider's own word for that.
    fn is_bearer(&self, own: &[String]) -> bool {
        let is = |told: &str| told.eq_ignore_ascii_case("bearer") || own.iter().any(|word| word == told);
        self.token_type.as_ref().is_none_or(|told| told.as_str().is_some_and(is))
    }
}

/// Why a provider handed out nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotGranted {
    /// Code or refresh token are none, or none any more.
    #[error("the provider does not accept the grant")]
    InvalidGrant,
    /// The provider refuses for another reason: the app's credentials, its scopes.
    #[error("the provider refuses")]
    Refused,
    /// The provider cannot at the moment.
    #[error("the provider cannot at the moment")]
    Unavailable,
    /// What it answered has no meaning.
    #[error("the provider's answer has no meaning")]
    Meaningless,
    /// The token that it handed out is of no use to whoever just has it.
    #[error("the provider handed out a token that is no bearer token")]
    NotBearer,
    /// It could not be asked.
    #[error(transparent)]
    Outgoing(#[from] OutgoingError),
}

impl NotGranted {
    /// A word for it, as it is recorded and shown.
    pub fn cause(self) -> &'static str {
        match self {
            Self::InvalidGrant => INVALID_GRANT,
            Self::Refused => "refused",
            Self::Unavailable => "unavailable",
            Self::Meaningless | Self::Outgoing(OutgoingError::Malformed) => "meaningless_answer",
            Self::NotBearer => "not_bearer",
            Self::Outgoing(OutgoingError::TooLarge) => "answer_too_large",
            Self::Outgoing(OutgoingError::TimedOut) => "timed_out",
            Self::Outgoing(OutgoingError::NotPublic) => "host_not_public",
            Self::Outgoing(OutgoingError::Insecure) => "insecure",
            Self::Outgoing(OutgoingError::NoCertificates) => "no_certificates",
            Self::Outgoing(OutgoingError::Unresolved | OutgoingError::Unreachable) => "unreachable",
        }
    }
}

/// The members of a token answer that mean something (RFC 6749 §5.1, §5.2).
#[derive(Deserialize)]
struct TokenAnswer {
    access_token: Option<Plain>,
    refresh_token: Option<Plain>,
    expires_in: Option<Value>,
    scope: Option<Value>,
    token_type: Option<Value>,
    error: Option<Value>,
}

/// The challenge of a verifier (RFC 7636 §4.2).
pub fn challenge(verifier: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.as_bytes()))
}

/// Exchanges a code for tokens.
///
/// # Errors
/// See [`NotGranted`].
pub async fn exchange_code(
    outgoing: &Outgoing,
    registration: &Registration,
    code: &str,
    verifier: Option<&str>,
    redirect_uri: &str,
) -> Result<Granted, NotGranted> {
    let form = Form::default()
        .field("grant_type", "authorization_code")
        .field("code", code)
        .field("redirect_uri", redirect_uri);
    let form = match verifier {
        Some(verifier) => form.field("code_verifier", verifier),
        None => form,
    };
    ask(outgoing, registration, form).await
}

/// Has another access token for a refresh token.
///
/// # Errors
/// See [`NotGranted`].
pub async fn refresh(
    outgoing: &Outgoing,
    registration: &Registration,
    refresh_token: &Plain,
) -> Result<Granted, NotGranted> {
    let refresh_token = refresh_token.as_str().map_err(|_| NotGranted::InvalidGrant)?;
    let form = Form::default().field("grant_type", "refresh_token").field("refresh_token", refresh_token);
    ask(outgoing, registration, form).await
}

/// Gives a token back, where the provider has a place for that. What becomes of it nobody can do anything about.
pub async fn revoke(outgoing: &Outgoing, registration: &Registration, token: &Plain, hint: &str) {
    let (Some(revoke_url), Ok(token)) = (&registration.revoke_url, token.as_str()) else { return };
    let form = Form::default().field("token", token).field("token_type_hint", hint);
    let Ok(form) = authenticated(registration, form) else { return };
    match outgoing.post(revoke_url, form).await {
        Ok(answer) if (200..300).contains(&answer.status) => {}
        Ok(answer) => tracing::info!(status = answer.status, "a provider did not take a token back"),
        Err(error) => tracing::info!(%error, "a provider could not be asked to take a token back"),
    }
}

async fn ask(outgoing: &Outgoing, registration: &Registration, form: Form) -> Result<Granted, NotGranted> {
    let form = authenticated(registration, form)?;
    let mut granted = read(&outgoing.post(&registration.token_url, form).await?)?;
    // Who does not say how long may have said it in their documentation.
    let catalogued = registration.catalogued.and_then(|provider| provider.access_token_seconds);
    granted.expires_in = granted.expires_in.or(catalogued);
    let own = registration.catalogued.map_or(&[][..], |provider| &provider.token_types);
    if granted.is_bearer(own) { Ok(granted) } else { Err(NotGranted::NotBearer) }
}

fn authenticated(registration: &Registration, form: Form) -> Result<Form, NotGranted> {
    let secret = registration.client_secret.as_str().map_err(|_| NotGranted::Refused)?;
    Ok(match registration.authentication {
        ClientAuthentication::Basic => form.basic(&registration.client_id, secret),
        ClientAuthentication::Body => {
            form.field("client_id", &registration.client_id).field("client_secret", secret)
        }
    })
}

/// What an answer means. Some providers answer 200 with an error, so that counts whatever the status says.
fn read(answer: &Answer) -> Result<Granted, NotGranted> {
    if answer.status == 429 || answer.status >= 500 {
        return Err(NotGranted::Unavailable);
    }
    let is_success = (200..300).contains(&answer.status);
    let Ok(told) = serde_json::from_slice::<TokenAnswer>(answer.body.as_bytes()) else {
        return Err(if is_success { NotGranted::Meaningless } else { NotGranted::Refused });
    };
    match told.error.as_ref().map(|error| error.as_str().unwrap_or_default()) {
        // GitHub has words of its own for both.
        Some(INVALID_GRANT | "bad_refresh_token" | "bad_verification_code") => {
            return Err(NotGranted::InvalidGrant);
        }
        Some("temporarily_unavailable" | "slow_down" | "server_error") => {
            return Err(NotGranted::Unavailable);
        }
        Some(_) => return Err(NotGranted::Refused),
        None if !is_success => return Err(NotGranted::Refused),
        None => {}
    }
    let fits = |token: &Plain| (1..=TOKEN_MAX_BYTES).contains(&token.as_bytes().len());
    let access_token = told.access_token.filter(fits).ok_or(NotGranted::Meaningless)?;
    Ok(Granted {
        access_token,
        refresh_token: told.refresh_token.filter(fits),
        expires_in: told.expires_in.as_ref().and_then(seconds),
        scopes: told.scope.as_ref().and_then(scopes),
        token_type: told.token_type,
    })
}

/// A lifetime, as a number or as text; what is none says nothing.
fn seconds(told: &Value) -> Option<u64> {
    let seconds = match told {
        Value::String(text) => text.parse().ok()?,
        number => number.as_f64()?,
    };
    // What is no whole number of seconds loses its part of one.
    ((1.0..=LIFETIME_MAX_SECONDS).contains(&seconds)).then_some(seconds as u64)
}

/// Scopes, as text or, as Twitch has them, as a list of texts; what is neither says nothing.
fn scopes(told: &Value) -> Option<Vec<String>> {
    let parts: Vec<&str> = match told {
        Value::String(text) => text.split([' ', ',']).filter(|part| !part.is_empty()).collect(),
        Value::Array(all) => all.iter().filter_map(Value::as_str).collect(),
        _ => return None,
    };
    (!parts.is_empty()).then(|| parts.into_iter().take(GRANTED_MAX).map(ToOwned::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An access token, its lifetime and what was granted.
    type Told = (String, Option<u64>, Option<Vec<String>>);

    fn told(status: u16, body: &str) -> Result<Told, NotGranted> {
        let granted = read(&Answer { status, body: Plain::from(body) })?;
        let access_token = granted.access_token.as_str().unwrap().to_owned();
        Ok((access_token, granted.expires_in, granted.scopes))
    }

    #[test]
    fn the_challenge_is_that_of_rfc_7636() {
        // RFC 7636 appendix B.
        let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
        assert_eq!(challenge(verifier), "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
    }

    #[test]
    fn a_token_is_a_bearer_token_unless_something_else_is_said() {
        let own = ["bot".to_owned()];
        for (told, is, is_in_own_words) in [
            ("", true, true),
            (r#", "token_type": null"#, true, true),
            (r#", "token_type": "Bearer""#, true, true),
            (r#", "token_type": "bEARER""#, true, true),
            (r#", "token_type": "bot""#, false, true),
            (r#", "token_type": "DPoP""#, false, false),
            (r#", "token_type": "mac""#, false, false),
            (r#", "token_type": "N_A""#, false, false),
            (r#", "token_type": ["bearer"]"#, false, false),
        ] {
            let body = Plain::from(format!(r#"{{"access_token": "a"{told}}}"#));
            let granted = read(&Answer { status: 200, body }).unwrap();
            assert_eq!((granted.is_bearer(&[]), granted.is_bearer(&own)), (is, is_in_own_words), "{told}");
        }
    }

    #[test]
    fn an_answer_means_tokens_or_why_there_are_none() {
        let granted = |seconds, scopes: Option<&[&str]>| {
            let scopes = scopes.map(|all| all.iter().map(|scope| (*scope).to_owned()).collect());
            Ok(("a".to_owned(), seconds, scopes))
        };
        for (status, body, expected) in [
            (200, r#"{"access_token": "a", "expires_in": 3600}"#, granted(Some(3_600), None)),
            (200, r#"{"access_token": "a", "expires_in": "60"}"#, granted(Some(60), None)),
            (200, r#"{"access_token": "a", "expires_in": -1}"#, granted(None, None)),
            (200, r#"{"access_token": "a", "expires_in": 1e300}"#, granted(None, None)),
            (200, r#"{"access_token": "a", "scope": "x y,z"}"#, granted(None, Some(&["x", "y", "z"]))),
            (200, r#"{"access_token": "a", "scope": ["x", 7, "y"]}"#, granted(None, Some(&["x", "y"]))),
            (200, r#"{"access_token": "a", "scope": {"x": 1}, "expires_in": []}"#, granted(None, None)),
            (200, r#"{"access_token": "a", "scope": null, "expires_in": 60.5}"#, granted(Some(60), None)),
            (201, r#"{"access_token": "a", "scope": ""}"#, granted(None, None)),
            (200, r#"{"access_token": ""}"#, Err(NotGranted::Meaningless)),
            (200, r#"{"access_token": 7}"#, Err(NotGranted::Meaningless)),
            (200, "<html>", Err(NotGranted::Meaningless)),
            (200, "", Err(NotGranted::Meaningless)),
            (200, r#"{"error": "bad_refresh_token"}"#, Err(NotGranted::InvalidGrant)),
            (200, r#"{"ok": false, "error": "invalid_code"}"#, Err(NotGranted::Refused)),
            (400, r#"{"error": "invalid_grant"}"#, Err(NotGranted::InvalidGrant)),
            (400, r#"{"error": {"message": "a secret"}}"#, Err(NotGranted::Refused)),
            (401, r#"{"error": "invalid_client"}"#, Err(NotGranted::Refused)),
            (400, "<html>", Err(NotGranted::Refused)),
            (302, "", Err(NotGranted::Refused)),
            (429, r#"{"error": "invalid_grant"}"#, Err(NotGranted::Unavailable)),
            (503, "", Err(NotGranted::Unavailable)),
            (400, r#"{"error": "temporarily_unavailable"}"#, Err(NotGranted::Unavailable)),
        ] {
            assert_eq!(told(status, body), expected, "{status} {body}");
        }
        let long = format!(r#"{{"access_token": "{}"}}"#, "a".repeat(TOKEN_MAX_BYTES + 1));
        assert_eq!(told(200, &long), Err(NotGranted::Meaningless));
    }
}
