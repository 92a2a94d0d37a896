//! A power cut under load, with the data directory on a disk of its own: what was acknowledged is on the disk.

use std::sync::Arc;
use std::time::Duration;

use crate::disk::Disk;
use crate::journal::{Journal, assert_sound};
use crate::process::{Start, scale};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_power_cut_under_load_loses_nothing_that_was_acknowledged() {
    let rounds: u64 = if scale() >= 10 { 10 } else { 2 };
    let disk = Disk::new(128);
    let start = Start::on(disk.path().join("data")).with(&["--min-free-disk", "16MiB", "--ballast", "4MiB"]);
    let journal = Arc::new(Journal::default());
    let login = {
        let server = start.serve();
        let login = server.set_up().await;
        assert_eq!(server.stop().and_then(|status| status.code()), Some(0));
        login
    };
    let mut not_ended = 0;
    for round in 0..rounds {
        let mut server = start.serve();
        journal.verify(&server, &login).await;
        let writers = journal.write(&server, &login, 16);
        tokio::time::sleep(Duration::from_millis(200 + 70 * round)).await;
        disk.cut();
        // Time for a false acknowledgement to get out. Mostly the server ends by itself, with exit code 3; that it
        // always does on a failing disk is what `failing.rs` is about, and a power cut ends it in any case.
        let ended = server.process.wait(Duration::from_secs(5)).and_then(|status| status.code());
        not_ended += u64::from(ended != Some(3));
        server.process.kill();
        writers.join_all().await;
        drop(server);
        disk.remount();
    }
    let server = start.serve();
    journal.verify(&server, &login).await;
    assert_sound(&start.dir);
    println!(
        "power cuts: {rounds}, {} acknowledged, 0 lost; {not_ended} times the server did not end by itself",
        journal.acknowledged()
    );
}
