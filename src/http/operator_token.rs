//! Who may use the operators' routes over TCP: whoever has the token. On the socket its file's mode says who may.

use std::io;
use std::path::{Path, PathBuf};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use subtle::ConstantTimeEq as _;

use crate::http::credentials::{Credential, credential};
use crate::http::problem::Problem;
use crate::private;
use crate::seal::token::PlainToken;
use crate::seal::{Commitment, Plain};

/// A token that somebody thought of is at least so long; ours have 43 characters.
const CHARACTERS_MIN: usize = 32;

/// A token that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OperatorTokenError {
    /// Its file.
    #[error("the operators' token in {} cannot be read, or not be made", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Somebody might guess it, or it can be in no header.
    #[error("the operators' token in {} is no {CHARACTERS_MIN} visible ASCII characters or more", .0.display())]
    Weak(PathBuf),
}

/// What is kept of the token of operators.
#[derive(Clone, Debug)]
pub struct OperatorToken(Commitment);

impl OperatorToken {
    /// The token in a file that nobody else may read; where there is no file it is drawn, and written there.
    ///
    /// # Errors
    /// When the file is others' to read, cannot be written, or has no token.
    pub fn in_file(path: &Path) -> Result<Self, OperatorTokenError> {
        let failed = |source| OperatorTokenError::File { path: path.to_owned(), source };
        let token = match private::read(path) {
            Ok(text) => PlainToken::presented(text.trim()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let token = PlainToken::draw();
                let line = Plain::from(format!("{}\n", token.expose()));
                private::write(path, line.as_bytes()).map_err(failed)?;
                token
            }
            Err(error) => return Err(failed(error)),
        };
        let text = token.expose();
        if text.len() < CHARACTERS_MIN || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(OperatorTokenError::Weak(path.to_owned()));
        }
        Ok(Self(token.hash()))
    }

    fn is_in(&self, headers: &HeaderMap) -> Result<bool, Problem> {
        Ok(match credential(headers)? {
            Some(Credential::Session(token)) => {
                PlainToken::presented(token.expose()).hash().0.ct_eq(&self.0.0).into()
            }
            Some(Credential::ApiKey(_)) | None => false,
        })
    }
}

/// The same routes for whoever has the token: nobody else learns which there are.
pub fn guarded(router: Router, token: OperatorToken) -> Router {
    router.layer(from_fn_with_state(token, guard))
}

async fn guard(State(token): State<OperatorToken>, request: Request, next: Next) -> Response {
    match token.is_in(request.headers()) {
        Ok(true) => next.run(request).await,
        Ok(false) => Problem::unauthenticated().into_response(),
        Err(problem) => problem.into_response(),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use axum::http::header::AUTHORIZATION;

    use super::*;

    fn with(value: &str) -> HeaderMap {
        HeaderMap::from_iter([(AUTHORIZATION, value.parse().expect("it is a header"))])
    }

    #[test]
    fn the_token_is_made_once_and_is_nobodys_to_guess_or_to_read() {
        let folder = tempfile::tempdir().expect("there is a folder");
        let path = folder.path().join("token");
        let made = OperatorToken::in_file(&path).expect("it is made");
        let text = fs::read_to_string(&path).expect("it is there");
        let again = OperatorToken::in_file(&path).expect("it is read");
        for token in [made, again] {
            assert!(token.is_in(&with(&format!("Bearer {}", text.trim()))).expect("it is one"));
            assert!(!token.is_in(&with(&format!("Bearer {}x", text.trim()))).expect("it is another"));
            assert!(!token.is_in(&HeaderMap::new()).expect("there is none"));
        }
        for weak in ["", "short", "with a space in it, and as long as others are"] {
            fs::write(&path, weak).expect("it is written");
            assert!(matches!(OperatorToken::in_file(&path), Err(OperatorTokenError::Weak(_))), "{weak}");
        }
        fs::write(&path, text).expect("it is written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("it is set");
        assert!(matches!(OperatorToken::in_file(&path), Err(OperatorTokenError::File { .. })));
    }
}
