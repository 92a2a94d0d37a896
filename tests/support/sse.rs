//! A client of server-sent events over a bare connection: it costs little, and can stop reading.

use std::io;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpSocket, TcpStream};

/// An event as it was told.
#[derive(Clone, Debug)]
pub struct Told {
    pub id: String,
    pub event: String,
    pub data: Value,
}

impl Told {
    /// The version that its id names.
    pub fn version(&self) -> u64 {
        self.id.rsplit_once('-').and_then(|(_, version)| version.parse().ok()).expect("an id has a version")
    }
}

/// A stream being read.
pub struct Reader {
    pub status: u16,
    /// The last id, to go on from.
    pub last: Option<String>,
    /// Whether the server ended the answer, instead of the connection breaking.
    pub ended: bool,
    lines: BufReader<TcpStream>,
    line: Vec<u8>,
    event: String,
    data: Option<Value>,
}

/// Sends a GET to `http://ADDRESS` and reads nothing of the answer; so little of it fits into what the system holds
/// for the client and, segments being as short as on bad networks, for the server.
pub async fn ask_and_stall(base: &str, path: &str, token: &str) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(2048)?;
    socket2::SockRef::from(&socket).set_tcp_mss(536)?;
    ask(socket, base, path, token, None).await
}

async fn ask(
    socket: TcpSocket,
    base: &str,
    path: &str,
    token: &str,
    last: Option<&str>,
) -> io::Result<TcpStream> {
    let address = base.trim_start_matches("http://").parse().expect("a server says its address");
    let mut stream = socket.connect(address).await?;
    let last = last.map(|id| format!("last-event-id: {id}\r\n")).unwrap_or_default();
    let credential = match token.starts_with("fastn_") {
        true => format!("x-fastn-api-key: {token}"),
        false => format!("authorization: Bearer {token}"),
    };
    let request = format!("GET {path} HTTP/1.1\r\nhost: settled\r\n{credential}\r\n{last}\r\n");
    stream.write_all(request.as_bytes()).await?;
    Ok(stream)
}

impl Reader {
    /// Opens a stream and reads the answer's head and, of a success, its opening.
    pub async fn open(base: &str, path: &str, token: &str, last: Option<&str>) -> io::Result<Self> {
        let stream = ask(TcpSocket::new_v4()?, base, path, token, last).await?;
        let mut reader = Self {
            status: 0,
            last: last.map(ToOwned::to_owned),
            ended: false,
            lines: BufReader::with_capacity(4096, stream),
            line: Vec::new(),
            event: String::new(),
            data: None,
        };
        let closed = || io::Error::from(io::ErrorKind::UnexpectedEof);
        let status = reader.line().await.ok_or_else(closed)?;
        reader.status = status.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default();
        while !reader.line().await.ok_or_else(closed)?.is_empty() {}
        while reader.status == 200 && !reader.line().await.ok_or_else(closed)?.starts_with("id: ") {}
        Ok(reader)
    }

    /// The next event; nothing once the stream is over.
    pub async fn next(&mut self) -> Option<Told> {
        loop {
            // The length of a chunk is a line of its own, for each chunk holds whole lines.
            let line = self.line().await?;
            if let Some(event) = line.strip_prefix("event: ") {
                self.event = event.to_owned();
            } else if let Some(data) = line.strip_prefix("data: ") {
                self.data = Some(serde_json::from_str(data).expect("an event's data is one line of JSON"));
            } else if line == "0" {
                self.ended = true;
                return None;
            } else if line.is_empty()
                && let Some(data) = self.data.take()
            {
                let id = self.last.clone().expect("an event has an id");
                return Some(Told { id, event: std::mem::take(&mut self.event), data });
            }
        }
    }

    /// A line without its end. Can be cancelled without losing anything.
    pub async fn line(&mut self) -> Option<String> {
        match self.lines.read_until(b'\n', &mut self.line).await {
            Ok(read) if read > 0 || !self.line.is_empty() => {}
            _ => return None,
        }
        let line = String::from_utf8(std::mem::take(&mut self.line)).expect("a stream is UTF-8");
        let line = line.trim_end_matches(['\r', '\n']).to_owned();
        if let Some(id) = line.strip_prefix("id: ") {
            self.last = Some(id.to_owned());
        }
        Some(line)
    }
}
