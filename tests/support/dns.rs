//! A DNS server of the tests' own: TXT records over UDP on this machine, and a count of what it was asked.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

/// How it takes questions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mood {
    /// It answers.
    #[default]
    Answers,
    /// It says nothing.
    Silent,
    /// It says that it has failed.
    Fails,
    /// It sends what is no answer.
    Babbles,
}

#[derive(Default)]
struct State {
    /// The TXT records of a name, each in its strings.
    texts: HashMap<String, Vec<Vec<String>>>,
    mood: Mood,
    asked: Vec<String>,
}

/// The server, until it is dropped.
pub struct DnsServer {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    serving: JoinHandle<()>,
}

impl DnsServer {
    pub async fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("there is a port");
        let address = socket.local_addr().expect("it has one");
        let state = Arc::<Mutex<State>>::default();
        let serving = tokio::spawn(serve(socket, Arc::clone(&state)));
        Self { address, state, serving }
    }

    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Adds a TXT record, in one string or several.
    pub fn add(&self, name: &str, strings: &[&str]) {
        let strings = strings.iter().map(ToString::to_string).collect();
        self.state().texts.entry(name.to_owned()).or_default().push(strings);
    }

    /// Takes all records of a name away.
    pub fn remove(&self, name: &str) {
        self.state().texts.remove(name);
    }

    pub fn is(&self, mood: Mood) {
        self.state().mood = mood;
    }

    /// The names that it was asked for, oldest first.
    pub fn asked(&self) -> Vec<String> {
        self.state().asked.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for DnsServer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(socket: UdpSocket, state: Arc<Mutex<State>>) {
    let mut packet = [0; 1_500];
    while let Ok((length, from)) = socket.recv_from(&mut packet).await {
        let answer = state.lock().unwrap_or_else(PoisonError::into_inner).answer(&packet[..length]);
        if let Some(answer) = answer {
            let _gone = socket.send_to(&answer, from).await;
        }
    }
}

/// The type of TXT records, and the class of the Internet (RFC 1035 §3.2).
const TXT_IN: [u8; 4] = [0, 16, 0, 1];

impl State {
    fn answer(&mut self, query: &[u8]) -> Option<Vec<u8>> {
        let (name, end) = name_in(query)?;
        self.asked.push(name.clone());
        let question = query.get(12..end + 4)?;
        let texts = match self.mood {
            Mood::Silent => return None,
            Mood::Babbles => return Some(query[..7].to_vec()),
            Mood::Fails => None,
            Mood::Answers => self.texts.get(&name).filter(|_| question.ends_with(&TXT_IN)),
        };
        let code = match (self.mood, texts) {
            (Mood::Fails, _) => 2,
            (_, None) => 3,
            (_, Some(_)) => 0,
        };
        let texts = texts.map_or(&[][..], Vec::as_slice);
        // The same id; an authoritative answer that no recursion is needed for.
        let mut out = vec![query[0], query[1], 0x85, 0x80 | code, 0, 1];
        out.extend(u16::try_from(texts.len()).ok()?.to_be_bytes());
        out.extend([0; 4]);
        out.extend(question);
        for strings in texts {
            let data: Vec<u8> = strings
                .iter()
                .flat_map(|text| std::iter::once(u8::try_from(text.len()).unwrap_or(0)).chain(text.bytes()))
                .collect();
            // The name as in the question; a time to live of nothing.
            out.extend([0xc0, 12]);
            out.extend(TXT_IN);
            out.extend([0; 4]);
            out.extend(u16::try_from(data.len()).ok()?.to_be_bytes());
            out.extend(data);
        }
        Some(out)
    }
}

/// The name that a query asks for, in lower case, and where it ends.
fn name_in(query: &[u8]) -> Option<(String, usize)> {
    let (mut at, mut labels) = (12, Vec::new());
    loop {
        let length = usize::from(*query.get(at)?);
        at += 1;
        if length == 0 {
            return Some((labels.join("."), at));
        }
        let label = query.get(at..at + length)?;
        labels.push(String::from_utf8_lossy(label).to_lowercase());
        at += length;
    }
}
