//! `corpus.txt` against the guard. No packet leaves: the connector writes down what it is asked for, and refuses, so that
//! all of this is as safe where the guard is gone.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};

use crate::clock::Clock;
use crate::outgoing::address::is_public;
use crate::outgoing::connect::{Boxed, Connect, Resolve, Stream};
use crate::outgoing::endpoint::Endpoint;
use crate::outgoing::exchange::Form;
use crate::outgoing::{Guard, Outgoing, OutgoingError};

/// A connector that connects to nothing.
#[derive(Default)]
struct Recording(Mutex<Vec<SocketAddr>>);

impl Connect for Recording {
    fn connect(&self, address: SocketAddr) -> Boxed<'_, io::Result<Box<dyn Stream>>> {
        self.0.lock().unwrap().push(address);
        Box::pin(async { Err(io::ErrorKind::ConnectionRefused.into()) })
    }
}

/// Names as a line of the corpus has them, one answer a question; the last one stays.
struct Told(Mutex<Vec<Vec<IpAddr>>>);

impl Resolve for Told {
    fn resolve<'a>(&'a self, _name: &'a str) -> Boxed<'a, Vec<IpAddr>> {
        let mut answers = self.0.lock().unwrap();
        let answer = if answers.len() > 1 { answers.remove(0) } else { answers[0].clone() };
        Box::pin(async move { answer })
    }
}

/// A line of the corpus.
struct Line {
    url: &'static str,
    answer: Vec<IpAddr>,
}

fn corpus() -> Vec<Line> {
    let lines = include_str!("corpus.txt").lines();
    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with("# "));
    lines
        .map(|line| {
            let (url, answer) = line.split_once(' ').unwrap_or((line, "10.11.12.13"));
            Line { url, answer: answer.split(',').map(|address| address.parse().unwrap()).collect() }
        })
        .collect()
}

/// Which addresses a request to a URL has the connector asked for.
async fn asked(url: &str, guard: Guard, answers: Vec<Vec<IpAddr>>) -> Vec<SocketAddr> {
    let Ok(endpoint) = Endpoint::parse(url, guard) else { return Vec::new() };
    let (clock, _hands) = Clock::manual(crate::given::now());
    let connector = Arc::new(Recording::default());
    let outgoing = Outgoing::through(guard, clock, Arc::new(Told(Mutex::new(answers))), connector.clone());
    let answer = outgoing.post(&endpoint, Form::default().field("a", "b")).await;
    assert!(answer.is_err(), "{url} was answered");
    connector.0.lock().unwrap().clone()
}

#[tokio::test]
async fn nothing_that_is_not_public_is_ever_connected_to() {
    assert!(corpus().len() >= 150, "{} URLs", corpus().len());
    for Line { url, answer } in corpus() {
        assert_eq!(asked(url, Guard::Public, vec![answer.clone()]).await, [], "{url}");
        for address in asked(url, Guard::PublicOrLoopback, vec![answer]).await {
            assert!(address.ip().is_loopback(), "{url} leads to {address}");
        }
    }
}

#[tokio::test]
async fn without_the_guard_the_corpus_gets_through() {
    let mut reached = 0;
    for Line { url, answer } in corpus() {
        let asked = asked(url, Guard::Nothing, vec![answer]).await;
        reached += usize::from(asked.iter().any(|address| !is_public(address.ip())));
    }
    assert!(reached >= 150, "{reached} URLs reach what they are meant to");
}

#[tokio::test]
async fn a_name_is_asked_once_and_that_answer_is_connected_to() {
    let public: IpAddr = "8.8.8.8".parse().unwrap();
    let own: IpAddr = "127.0.0.1".parse().unwrap();
    for guard in [Guard::Public, Guard::PublicOrLoopback] {
        // The second answer, which a rebinding name server keeps for the connection, is never asked for.
        let asked = asked("https://idp.example.com/token", guard, vec![vec![public], vec![own]]).await;
        assert_eq!(asked, [SocketAddr::new(public, 443)]);
    }
}

#[tokio::test]
async fn a_public_name_does_not_lead_here_where_the_loopback_may_be_reached() {
    let own: IpAddr = "127.0.0.1".parse().unwrap();
    let asked_for = |url| asked(url, Guard::PublicOrLoopback, vec![vec![own]]);
    assert_eq!(asked_for("https://idp.example.com:8443/").await, []);
    assert_eq!(asked_for("http://127.0.0.1:8443/").await, [SocketAddr::new(own, 8443)]);
    // `localhost` is this machine, whatever DNS says.
    let elsewhere = vec![vec!["8.8.8.8".parse().unwrap()]];
    let both = [SocketAddr::new(own, 8443), SocketAddr::new("::1".parse().unwrap(), 8443)];
    assert_eq!(asked("http://localhost:8443/", Guard::PublicOrLoopback, elsewhere).await, both);
}

#[tokio::test]
async fn what_does_not_answer_is_told_apart_from_what_may_not_be_asked() {
    let error = async |answer: &[&str]| {
        let (clock, _hands) = Clock::manual(crate::given::now());
        let answer = answer.iter().map(|address| address.parse().unwrap()).collect();
        let told = Arc::new(Told(Mutex::new(vec![answer])));
        let outgoing = Outgoing::through(Guard::Public, clock, told, Arc::new(Recording::default()));
        let endpoint = Endpoint::parse("https://idp.example.com/token", Guard::Public).unwrap();
        outgoing.post(&endpoint, Form::default()).await.unwrap_err()
    };
    assert_eq!(error(&["8.8.8.8", "1.1.1.1"]).await, OutgoingError::Unreachable);
    assert_eq!(error(&["10.0.0.1"]).await, OutgoingError::NotPublic);
    assert_eq!(error(&[]).await, OutgoingError::Unresolved);
}
