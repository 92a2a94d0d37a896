//! Watchers of what a workflow reads, at size.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::process::{Start, scale};
use crate::sse::Reader;
use crate::workflow::Workflow;

const PATH: &str = "/v1/ctx/watch?environment=prod";
/// How long a change may take to half of the watchers, and here to be told at all: the goal is 100 ms with the machine to
/// itself, and this is a development build beside whatever else runs.
const MEDIAN_MAX: Duration = Duration::from_secs(2);
const TOLD_MAX: Duration = Duration::from_secs(60);

/// Waits for a change; since when, and the id to go on from.
async fn told(mut stream: Reader) -> (Instant, Option<String>) {
    let next = tokio::time::timeout(TOLD_MAX, stream.next()).await.expect("it is told");
    assert_eq!(next.expect("the stream goes on").event, "change");
    (Instant::now(), stream.last)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_of_watchers_is_told_soon_and_a_restart_loses_none() {
    let crowd = if scale() > 1 { 1_000 } else { 200 };
    let dir = tempfile::tempdir().unwrap();
    let start = Start::on(dir.path().join("data")).with(&[
        "--streams-per-credential",
        "2000",
        "--max-connections",
        "4000",
        "--max-connections-per-network",
        "4000",
    ]);
    let mut workflow = Workflow::start(&start, "workflow").await;
    let mut times = Vec::new();
    let mut last = vec![None; crowd];
    for value in 0..5 {
        let mut streams = Vec::new();
        for last in &last {
            let url = &workflow.server.url;
            let stream = Reader::open(url, PATH, &workflow.key, last.as_deref()).await.unwrap();
            assert_eq!(stream.status, 200);
            streams.push(stream);
        }
        let waiting: Vec<_> = streams.into_iter().map(|stream| tokio::spawn(told(stream))).collect();
        let began = Instant::now();
        workflow.configure("VALUE", json!(value)).await;
        for (last, waiting) in last.iter_mut().zip(waiting) {
            let (at, id) = waiting.await.unwrap();
            times.push(at - began);
            *last = id;
        }
    }
    times.sort_unstable();
    let (median, longest) = (times[times.len() / 2], times[times.len() - 1]);
    println!("{crowd} watchers were told {median:?} (median), {longest:?} at most after a write began");
    assert!(median < MEDIAN_MAX, "{median:?}");

    // What happens while nobody is connected, and over a restart, is told to each who comes back.
    workflow.configure("VALUE", json!("meanwhile")).await;
    assert!(workflow.server.stop().is_some_and(|status| status.success()));
    workflow.server = start.serve();
    for last in last {
        let stream = Reader::open(&workflow.server.url, PATH, &workflow.key, last.as_deref()).await.unwrap();
        told(stream).await;
    }
}
