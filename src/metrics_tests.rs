//! What the metrics say.

use super::*;

#[test]
fn what_was_measured_is_encoded() {
    let metrics = Metrics::new();
    metrics.request(&Method::GET, "/v1/environments/{env}", StatusCode::OK, Duration::from_millis(2));
    metrics.request(
        &Method::from_bytes(b"BREW").expect("a token"),
        UNMATCHED,
        StatusCode::NOT_FOUND,
        Duration::ZERO,
    );
    metrics.batch(3, 5, Duration::from_micros(40));
    metrics.queue_length(7);
    metrics.disk_free_bytes(1 << 40);
    metrics.denial_unrecorded();
    metrics.commit_lasting(Some(Duration::from_millis(2_500)));
    metrics.passwords(3, 9);
    metrics.long_answers("export", 2);
    metrics.connection_timed_out();
    metrics.mails_waiting(4);
    metrics.mail_sent();
    metrics.mail_failed();
    metrics.mail_withheld();
    let open = metrics.connection();
    let text = metrics.encode();
    for line in [
        r#"settled_request_seconds_count{method="GET",route="/v1/environments/{env}",status="2xx"} 1"#,
        r#"settled_request_seconds_bucket{le="0.0025",method="GET",route="/v1/environments/{env}",status="2xx"} 1"#,
        r#"settled_request_seconds_count{method="other",route="unmatched",status="4xx"} 1"#,
        "settled_batch_commands_sum 3.0",
        "settled_batch_events_sum 5.0",
        "settled_sync_seconds_count 1",
        "settled_queue_length 7",
        "settled_disk_free_bytes 1099511627776",
        "settled_denials_unrecorded_total 1",
        "settled_commit_lasting_seconds 2.5",
        "settled_passwords_waiting 3",
        "settled_passwords_refused_total 9",
        r#"settled_long_answers{kind="export"} 2"#,
        "settled_connections_timed_out_total 1",
        "settled_connections 1",
        "settled_mails_waiting 4",
        "settled_mails_sent_total 1",
        "settled_mails_failed_total 1",
        "settled_mails_withheld_total 1",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
    drop(open);
    assert!(metrics.encode().contains("settled_connections 0\n"));
}

#[test]
fn the_process_has_memory() {
    assert!(resident_memory_bytes().is_some_and(|bytes| bytes > 1 << 20));
    assert!(Metrics::new().encode().contains("process_resident_memory_bytes "));
}
