//! An operator at the socket of a test's server.

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use crate::server::TestServer;

impl TestServer {
    /// An answer over the operator's socket: status and body.
    pub async fn operator(&self, method: &str, path: &str, body: Option<&Value>) -> (u16, String) {
        let (head, body) = self.over_the_socket(method, path, body).await;
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body)
    }

    /// The status and the headers of one without a body.
    pub async fn operator_head(&self, method: &str, path: &str) -> (u16, String) {
        let (head, _) = self.over_the_socket(method, path, None).await;
        (head.split(' ').nth(1).unwrap().parse().unwrap(), head)
    }

    async fn over_the_socket(&self, method: &str, path: &str, body: Option<&Value>) -> (String, String) {
        let mut socket = UnixStream::connect(self.data_dir().join("operator.sock")).await.unwrap();
        let head = format!("{method} {path} HTTP/1.1\r\nhost: settled\r\nconnection: close\r\n");
        let rest = body.map_or_else(String::new, |body| {
            let body = body.to_string();
            format!("content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len())
        });
        let end = if body.is_none() { "\r\n" } else { "" };
        socket.write_all(format!("{head}{rest}{end}").as_bytes()).await.unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.to_owned(), body.to_owned())
    }

    /// An operator's request that goes through, with its answer.
    pub async fn operates(&self, method: &str, path: &str, body: Value) -> Value {
        let (status, text) = self.operator(method, path, Some(&body)).await;
        assert!((200..300).contains(&status), "{method} {path}: {status} {text}");
        if text.is_empty() { Value::Null } else { serde_json::from_str(&text).unwrap() }
    }

    /// Makes a plan, or makes another of it.
    pub async fn set_plan(&self, plan: &str, limits: Value) -> Value {
        let body = json!({"name": plan, "limits": limits, "self_service": true});
        self.operates("PUT", &format!("/v1/operator/plans/{plan}"), body).await
    }
}
