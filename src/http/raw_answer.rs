//! Answers as bytes, for where no request is handed to a route: a connection too many, and what hyper cannot read.
//!
//! hyper answers what it cannot read by itself, with a status and nothing else. [`Timed`](crate::http::timed::Timed)
//! knows such an answer, since it is the only one that comes without a request, and sends [`in_place_of`] it.

use std::fmt::Write as _;

use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse as _;

use crate::http::problem::Problem;
use crate::http::request_id::{RequestId, X_REQUEST_ID};

/// The whole answer that a problem is, with an id of its own, before the connection is closed.
pub fn of(problem: Problem) -> Vec<u8> {
    let id = RequestId::of(&HeaderMap::new());
    let (status, body, mut headers) = id.clone().sync_scope(|| {
        let body = serde_json::to_string(&problem.body()).expect("a problem has only strings and numbers");
        let response = problem.into_response();
        (response.status(), body, response.into_parts().0.headers)
    });
    headers.insert(X_REQUEST_ID, id.header_value());
    let mut head = format!("HTTP/1.1 {status}\r\n");
    for (name, value) in &headers {
        let value = value.to_str().expect("headers of problems are ASCII");
        write!(head, "{name}: {value}\r\n").expect("writing to a string does not fail");
    }
    let length = body.len();
    let rest =
        format!("cache-control: no-store\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}");
    (head + &rest).into_bytes()
}

/// What is sent in place of an answer that hyper made by itself.
pub fn in_place_of(answer: &[u8]) -> Vec<u8> {
    // `HTTP/1.1 431 …`
    let status = answer.get(9..12).and_then(|digits| StatusCode::from_bytes(digits).ok());
    of(Problem::unreadable(status.unwrap_or(StatusCode::BAD_REQUEST)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_is_hypers_and_the_rest_is_ours() {
        for (hypers, status, code) in [
            ("HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n", "400 Bad Request", "malformed_request"),
            ("HTTP/1.1 431 X\r\n\r\n", "431 Request Header Fields Too Large", "header_too_large"),
            ("HTTP/1.1 414 X\r\n\r\n", "414 URI Too Long", "uri_too_long"),
            ("", "400 Bad Request", "malformed_request"),
        ] {
            let answer = String::from_utf8(in_place_of(hypers.as_bytes())).expect("UTF-8");
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{answer}");
            let (head, body) = answer.split_once("\r\n\r\n").expect("a body");
            let body: serde_json::Value = serde_json::from_str(body).expect("JSON");
            assert_eq!(body["code"], code);
            let id = body["request_id"].as_str().expect("an id");
            assert!(id.starts_with("req_") && head.contains(&format!("x-request-id: {id}\r\n")), "{answer}");
        }
    }
}
