//! A real mail server, `smtp.py` over aiosmtpd, and the mails that it got.

use std::io::{BufRead as _, BufReader};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::Value;

use crate::tools::installed;

/// A mail server that runs; killed when dropped.
pub struct MailServer {
    pub port: u16,
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl MailServer {
    /// Starts one, on a free port unless the options name one.
    pub fn start(options: &[&str]) -> Self {
        let mut child = Command::new(installed("aiosmtpd", "python"))
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/smtp.py"))
            .args(options)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python starts");
        let stdout = child.stdout.take().expect("piped above");
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let _nobody_listens = sender.send(line);
            }
        });
        let port = lines.recv_timeout(Duration::from_secs(60)).expect("it says its port");
        Self { port: port.parse().expect("a port"), child, lines }
    }

    /// The next mail that arrives within a minute.
    pub fn next(&self) -> Value {
        let line = self.lines.recv_timeout(Duration::from_secs(60)).expect("a mail arrives");
        serde_json::from_str(&line).expect("a line is JSON")
    }

    /// Whether no mail is here yet.
    pub fn is_empty(&self) -> bool {
        self.lines.try_recv().is_err()
    }
}

/// A port at which a mail server is down: whoever comes is let in, and then not spoken to until the visit is cut; those
/// who come later are cut at once. Nobody else gets the port meanwhile.
pub struct Down {
    pub port: u16,
    is_over: Arc<AtomicBool>,
    visit: mpsc::Receiver<TcpStream>,
    accepting: JoinHandle<()>,
}

impl Down {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let (is_over, (sender, visit)) = (Arc::<AtomicBool>::default(), mpsc::sync_channel(1));
        let over = Arc::clone(&is_over);
        let accepting = std::thread::spawn(move || {
            let mut is_first = true;
            for stream in listener.incoming().map_while(Result::ok) {
                if over.load(Ordering::SeqCst) {
                    return;
                }
                if std::mem::take(&mut is_first) {
                    let _nobody_looks = sender.send(stream);
                }
            }
        });
        Self { port, is_over, visit, accepting }
    }

    /// The first visit; cut when dropped.
    pub fn visit(&self) -> TcpStream {
        self.visit.recv_timeout(Duration::from_secs(60)).expect("somebody comes")
    }

    /// A mail server at the same port.
    pub fn comes_up(self, options: &[&str]) -> MailServer {
        self.is_over.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(("127.0.0.1", self.port)).expect("it still listens"));
        self.accepting.join().expect("it does not panic");
        MailServer::start(&[options, &["--port", &self.port.to_string()]].concat())
    }
}

impl Drop for MailServer {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}
