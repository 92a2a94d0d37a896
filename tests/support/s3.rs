//! A real object storage, `s3.py` over moto, behind a proxy of our own that fails as it is told to.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

use crate::tools::installed;

/// What the tests sign with; it is to show up nowhere.
pub const SECRET: &str = "canary-of-a-secret-access-key";

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is answered.
    Answered,
    /// The storage never sees it, and says that it is out of order.
    OutOfOrder,
    /// The storage never sees it, and the connection is cut.
    Cut,
    /// The storage does it, and the connection is cut before the answer.
    AnswerLost,
    /// The storage does it, and the connection is cut in the middle of the answer.
    AnswerCut,
    /// Nothing comes.
    Stalled,
    /// The credentials are refused, in words that quote them.
    Refused,
}

/// A request as it came: its method and its target.
pub type Request = (String, String);

type Decide = Box<dyn FnMut(&str, &str) -> Fate + Send>;

struct State {
    decide: Decide,
    /// What the storage has seen.
    seen: Vec<Request>,
    /// Connections that nothing comes of.
    stalled: Vec<TcpStream>,
}

/// The storage and the proxy before it; killed when dropped.
pub struct ObjectStorage {
    child: Child,
    /// The proxy's.
    pub port: u16,
    state: Arc<Mutex<State>>,
}

impl ObjectStorage {
    /// Starts one, with a bucket `settled`.
    pub fn start() -> Self {
        let mut child = Command::new(installed("moto", "python"))
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/s3.py"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("python starts");
        let stdout = child.stdout.take().expect("piped above");
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let _nobody_listens = sender.send(line);
            }
        });
        let line = lines.recv_timeout(Duration::from_secs(120)).expect("it says its port");
        let storage: u16 = line.parse().expect("a port");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let decide: Decide = Box::new(|_, _| Fate::Answered);
        let state = Arc::new(Mutex::new(State { decide, seen: Vec::new(), stalled: Vec::new() }));
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for visitor in listener.incoming().map_while(Result::ok) {
                let state = Arc::clone(&shared);
                std::thread::spawn(move || pass_on(visitor, storage, &state));
            }
        });
        Self { child, port, state }
    }

    /// What a client of it has in its environment.
    pub fn variables(&self) -> Vec<(String, String)> {
        let endpoint = format!("http://127.0.0.1:{}", self.port);
        let variables = [
            ("AWS_ACCESS_KEY_ID", "tests"),
            ("AWS_SECRET_ACCESS_KEY", SECRET),
            ("AWS_REGION", "us-east-1"),
            ("AWS_ENDPOINT_URL", &endpoint),
            ("AWS_ALLOW_HTTP", "true"),
        ];
        variables.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec()
    }

    /// From now on this says what becomes of each request, by its method and its target.
    pub fn decide(&self, decide: impl FnMut(&str, &str) -> Fate + Send + 'static) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).decide = Box::new(decide);
    }

    /// What the storage has seen since this was asked last.
    pub fn seen(&self) -> Vec<Request> {
        std::mem::take(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner).seen)
    }

    /// What the storage says of the uploads that are under way.
    pub fn uploads(&self) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).expect("the proxy listens");
        write!(stream, "GET /settled?uploads HTTP/1.1\r\nhost: localhost\r\n\r\n").expect("it takes it");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        assert!(answer.contains("ListMultipartUploadsResult"), "{answer}");
        answer
    }
}

impl Drop for ObjectStorage {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// Passes one request on, and its answer back. Whoever went away meanwhile is not missed.
fn pass_on(mut visitor: TcpStream, storage: u16, state: &Mutex<State>) {
    let Ok((head, body)) = read_request(&mut visitor) else { return };
    let mut words = head.split(' ').map(str::to_owned);
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
    let fate = (state.decide)(&method, &target);
    match fate {
        Fate::Cut => return,
        Fate::Stalled => return state.stalled.push(visitor),
        Fate::OutOfOrder => return answer(&visitor, "500 Internal Server Error", "InternalError"),
        Fate::Refused => return answer(&visitor, "403 Forbidden", SECRET),
        Fate::Answered | Fate::AnswerLost | Fate::AnswerCut => state.seen.push((method, target)),
    }
    drop(state);
    let asked = || -> io::Result<Vec<u8>> {
        let mut stream = TcpStream::connect(("127.0.0.1", storage))?;
        let (first, rest) = head.split_once("\r\n").unwrap_or((&head, ""));
        write!(stream, "{first}\r\nconnection: close\r\n{rest}\r\n\r\n")?;
        stream.write_all(&body)?;
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let Ok(mut bytes) = asked() else { return };
    match fate {
        Fate::AnswerLost => bytes.clear(),
        Fate::AnswerCut => bytes.truncate(bytes.len().saturating_sub(bytes.len() / 4).max(1)),
        _ => {}
    }
    let _gone = visitor.write_all(&bytes).and_then(|()| visitor.shutdown(Shutdown::Both));
}

fn answer(mut visitor: &TcpStream, status: &str, code: &str) {
    let body = format!("<Error><Code>{code}</Code></Error>");
    let _gone = write!(
        visitor,
        "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
}

/// The head of a request without its last blank line, and its body.
fn read_request(visitor: &mut TcpStream) -> io::Result<(String, Vec<u8>)> {
    let mut reader = BufReader::new(visitor);
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if line == "\r\n" {
            break;
        }
        let lower = line.to_ascii_lowercase();
        if let Some(value) = lower.strip_prefix("content-length:") {
            length = value.trim().parse().map_err(|_| io::ErrorKind::InvalidData)?;
        }
        if !lower.starts_with("connection:") {
            head.push_str(&line);
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok((head.trim_end().to_owned(), body))
}
