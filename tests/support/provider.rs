//! An OAuth provider on a real port: it hands out tokens for codes and refresh tokens, says what it is told to, and remembers
//! what it was asked.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// The provider.
pub struct Provider {
    pub base: String,
    inner: Arc<Inner>,
}

struct Inner {
    state: Mutex<State>,
    /// Whether it answers at all.
    answers: watch::Sender<bool>,
}

/// What it does, and what it has done.
#[derive(Default)]
pub struct State {
    /// What it says next, whole answers as bytes; without, it hands out tokens.
    pub scripted: VecDeque<Vec<u8>>,
    /// For how long the tokens that it hands out are good, in seconds.
    pub lifetime: Option<u64>,
    /// How many it has handed out.
    handed_out: u64,
    /// The codes that it gave to people, each with the challenge of the browser that it gave it in. Every other is good.
    pub codes: BTreeMap<String, String>,
    /// Whether a refresh token is good once.
    pub is_strict: bool,
    /// The refresh tokens that were used.
    used: BTreeSet<String>,
    /// How many of the next answers get lost on the way.
    pub lost: usize,
    asked: Vec<Asked>,
}

/// What it was asked.
#[derive(Clone, Debug)]
pub struct Asked {
    pub path: String,
    /// How the app proved to be itself, where it did so beside the form.
    pub authorization: Option<String>,
    /// The fields of the form.
    pub form: Vec<(String, String)>,
}

impl Asked {
    /// A field of the form.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.form.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

impl Provider {
    /// One whose tokens are good for so many seconds, or for ever.
    pub async fn start(lifetime: Option<u64>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let base = format!("http://{}", listener.local_addr().expect("it is bound"));
        let state = Mutex::new(State { lifetime, ..State::default() });
        let inner = Arc::new(Inner { state, answers: watch::Sender::new(true) });
        tokio::spawn({
            let inner = Arc::clone(&inner);
            async move {
                while let Ok((stream, _)) = listener.accept().await {
                    tokio::spawn(answer(stream, Arc::clone(&inner)));
                }
            }
        });
        Self { base, inner }
    }

    /// What it does from here on.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().unwrap()
    }

    /// Whether it answers, or keeps everybody waiting.
    pub fn answers(&self, answers: bool) {
        self.inner.answers.send_replace(answers);
    }

    /// What it was asked so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.state().asked.clone()
    }
}

async fn answer(mut stream: TcpStream, inner: Arc<Inner>) {
    let Some(asked) = read(&mut stream).await else { return };
    let answer = {
        let mut state = inner.state.lock().unwrap();
        let answer = state.scripted.pop_front().unwrap_or_else(|| state.answer(&asked));
        state.asked.push(asked);
        let is_lost = state.lost > 0;
        state.lost -= usize::from(is_lost);
        if is_lost { Vec::new() } else { answer }
    };
    let mut answers = inner.answers.subscribe();
    if answers.wait_for(|answers| *answers).await.is_ok() {
        // Whoever asked may be gone.
        let _told = stream.write_all(&answer).await;
    }
}

impl State {
    fn answer(&mut self, asked: &Asked) -> Vec<u8> {
        let (status, body) = if !asked.path.starts_with("/token") {
            (200, String::new())
        } else if self.accepts(asked) {
            (200, self.tokens())
        } else {
            (400, r#"{"error":"invalid_grant"}"#.to_owned())
        };
        let length = body.len();
        format!("HTTP/1.1 {status} Said\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}")
            .into_bytes()
    }

    /// Whether there are tokens for a code or a refresh token (RFC 6749 §5.2, RFC 7636 §4.6).
    fn accepts(&mut self, asked: &Asked) -> bool {
        // Who it is an app says in one way, and no more than one (RFC 6749 §2.3).
        if asked.authorization.is_some() == asked.field("client_secret").is_some() {
            return false;
        }
        if let Some(token) = asked.field("refresh_token") {
            return self.used.insert(token.to_owned()) || !self.is_strict;
        }
        let challenge = asked.field("code").and_then(|code| self.codes.remove(code));
        challenge.is_none_or(|challenge| {
            let verifier = asked.field("code_verifier").unwrap_or_default();
            URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.as_bytes())) == challenge
        })
    }

    fn tokens(&mut self) -> String {
        self.handed_out += 1;
        let number = self.handed_out;
        let expires = self.lifetime.map(|seconds| format!(r#","expires_in":{seconds}"#)).unwrap_or_default();
        format!(
            r#"{{"access_token":"Zq7access{number}","refresh_token":"Zq7refresh{number}","token_type":"bearer"{expires}}}"#
        )
    }
}

/// A whole request, by the length that it says its body has.
async fn read(stream: &mut TcpStream) -> Option<Asked> {
    let mut read = Vec::new();
    let mut chunk = [0; 4_096];
    loop {
        let text = String::from_utf8_lossy(&read).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            let length: usize = length.and_then(|length| length.parse().ok()).unwrap_or(0);
            if body.len() >= length {
                let path = head.split(' ').nth(1)?.to_owned();
                let form = url::form_urlencoded::parse(body.as_bytes()).into_owned().collect();
                let authorization = head.lines().find_map(|line| line.strip_prefix("authorization: "));
                return Some(Asked { path, authorization: authorization.map(ToOwned::to_owned), form });
            }
        }
        match stream.read(&mut chunk).await {
            Ok(0) | Err(_) => return None,
            Ok(length) => read.extend_from_slice(&chunk[..length]),
        }
    }
}
