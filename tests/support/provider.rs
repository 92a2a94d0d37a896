//! An OAuth provider on a real port: it hands out tokens for codes and refresh tokens, says what it is told to, and remembers
//! what it was asked.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

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

#[derive(Default)]
struct State {
    /// What it says next, whole answers as bytes; without, it hands out tokens.
    scripted: VecDeque<Vec<u8>>,
    /// For how long the tokens that it hands out are good, in seconds.
    lifetime: Option<u64>,
    /// How many it has handed out.
    handed_out: u64,
    asked: Vec<Asked>,
}

/// What it was asked.
#[derive(Clone, Debug)]
pub struct Asked {
    pub path: String,
    pub head: String,
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

    /// What it says next, instead of handing out tokens.
    pub fn says(&self, status: u16, body: &str) {
        self.says_raw(format!(
            "HTTP/1.1 {status} Said\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        ));
    }

    /// The same, as bytes.
    pub fn says_raw(&self, answer: impl Into<Vec<u8>>) {
        self.inner.state.lock().unwrap().scripted.push_back(answer.into());
    }

    /// Whether it answers, or keeps everybody waiting.
    pub fn answers(&self, answers: bool) {
        self.inner.answers.send_replace(answers);
    }

    /// What it was asked so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.inner.state.lock().unwrap().asked.clone()
    }
}

async fn answer(mut stream: TcpStream, inner: Arc<Inner>) {
    let Some(asked) = read(&mut stream).await else { return };
    let path = asked.path.clone();
    let answer = {
        let mut state = inner.state.lock().unwrap();
        state.asked.push(asked);
        state.scripted.pop_front().unwrap_or_else(|| state.tokens(&path))
    };
    let mut answers = inner.answers.subscribe();
    if answers.wait_for(|answers| *answers).await.is_ok() {
        // Whoever asked may be gone.
        let _told = stream.write_all(&answer).await;
    }
}

impl State {
    fn tokens(&mut self, path: &str) -> Vec<u8> {
        let body = if path.starts_with("/token") {
            self.handed_out += 1;
            let number = self.handed_out;
            let expires =
                self.lifetime.map(|seconds| format!(r#","expires_in":{seconds}"#)).unwrap_or_default();
            format!(
                r#"{{"access_token":"Zq7access{number}","refresh_token":"Zq7refresh{number}","token_type":"bearer"{expires}}}"#
            )
        } else {
            String::new()
        };
        format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len())
            .into_bytes()
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
                return Some(Asked { path, head: head.to_owned(), form });
            }
        }
        match stream.read(&mut chunk).await {
            Ok(0) | Err(_) => return None,
            Ok(length) => read.extend_from_slice(&chunk[..length]),
        }
    }
}
