//! A power cut under load, with the data directory on a disk of its own: what was acknowledged is on the disk, and the
//! server ends by itself and says why.

use std::time::{Duration, Instant};

use crate::disk::Disk;
use crate::journal::assert_sound;
use crate::load::Load;
use crate::process::{Start, scale};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_power_cut_under_load_loses_nothing_that_was_acknowledged() {
    let rounds: u64 = if scale() >= 10 { 50 } else { 4 };
    let disk = Disk::new(128);
    let elsewhere = tempfile::tempdir().unwrap();
    let mails = elsewhere.path().join("mails");
    let start = Start::on(disk.path().join("data"))
        .with(&["--min-free-disk", "16MiB", "--ballast", "4MiB", "--mail-dir", mails.to_str().unwrap()])
        .logging_to(elsewhere.path().join("stderr"));
    let load = {
        let server = start.serve();
        let load = Load::begin(&server, &mails).await;
        assert_eq!(server.stop().and_then(|status| status.code()), Some(0));
        load
    };
    let mut longest = Duration::ZERO;
    for round in 0..rounds {
        let mut server = start.serve();
        load.verify(&server).await;
        let writers = load.write(&server);
        if round + 1 == rounds {
            load.sections.until_each_made_a_lap().await;
        } else {
            tokio::time::sleep(Duration::from_millis(200 + 70 * (round % 10))).await;
        }
        disk.cut();
        let cut = Instant::now();
        let status = server.process.wait(Duration::from_secs(15));
        longest = longest.max(cut.elapsed());
        let log = server.process.last_lines();
        assert_eq!(status.and_then(|status| status.code()), Some(3), "round {round}: {log}");
        assert!(log.contains("Check the disk, then start again"), "round {round}: {log}");
        writers.join_all().await;
        drop(server);
        disk.remount();
    }
    let server = start.serve();
    load.verify(&server).await;
    assert_sound(&start.dir);
    println!(
        "power cuts: {rounds}, {} acknowledged, 0 lost; the server ended by itself after {longest:?} at most",
        load.acknowledged()
    );
}
