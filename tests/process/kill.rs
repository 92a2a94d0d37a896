//! kill -9, under load and during start-up: nothing acknowledged is lost, and every store opens again.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::journal::assert_sound;
use crate::load::Load;
use crate::process::{Start, scale};

/// A new store after so many rounds: a start replays the log, and the test should not become one of long logs.
const ROUNDS_A_STORE: u32 = 25;

/// A small generator, so that a run can be told apart from another only by the machine's timing.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end.max(1)
    }

    fn millis(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(from + self.below(to - from))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_server_has_lost_nothing_that_it_acknowledged() {
    let rounds = if scale() >= 10 { 100 } else { 12 * scale() };
    let mut random = Random(0x5eed_0001);
    let (mut acknowledged, mut at_start) = (0, 0);
    let mut done = 0;
    while done < rounds {
        let dir = tempfile::tempdir().unwrap();
        let mails = dir.path().join("mails");
        let start = Start::on(dir.path().join("data")).with(&["--mail-dir", mails.to_str().unwrap()]);
        let load = {
            let server = start.serve();
            Load::begin(&server, &mails).await
            // Dropped, which is a kill too.
        };
        for round in 0..ROUNDS_A_STORE.min(rounds - done) {
            // Three of ten rounds kill during the start, some of them twice.
            if round % 10 >= 7 {
                for _ in 0..=round % 2 {
                    kill_during_start(&start, &mut random);
                }
                at_start += 1;
            }
            // In every other round `fsck` is the first to open the store, else the server.
            if round % 2 == 0 {
                assert_sound(&start.dir);
            }
            kill_under_load(&start, &load, random.millis(50, 600)).await;
            done += 1;
        }
        // However short the lives were, every section had one in which it came to its end and was killed in the midst of another.
        let mut server = start.serve();
        let writers = load.write(&server);
        load.sections.until_each_made_a_lap().await;
        server.process.kill();
        writers.join_all().await;
        let server = start.serve();
        load.verify(&server).await;
        assert_sound(&start.dir);
        acknowledged += load.acknowledged();
    }
    assert!(at_start * 5 >= rounds, "{at_start} of {rounds} rounds killed a start");
    println!(
        "kill -9: {rounds} rounds, {at_start} of them during a start, {acknowledged} acknowledged, 0 lost"
    );
}

/// One life: what earlier ones acknowledged is there; then writers, and a kill in their midst.
async fn kill_under_load(start: &Start, load: &Load, life: Duration) {
    let mut server = start.serve();
    load.verify(&server).await;
    assert_sound(&start.dir);
    let writers = load.write(&server);
    tokio::time::sleep(life).await;
    server.process.kill();
    // Answers that were on their way still count.
    writers.join_all().await;
}

fn kill_during_start(start: &Start, random: &mut Random) {
    let mut process = start.spawn();
    std::thread::sleep(random.millis(1, 250));
    process.kill();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_first_start_that_is_killed_can_be_repeated() {
    let mut random = Random(0x5eed_0002);
    for _ in 0..4 * scale() {
        let dir = tempfile::tempdir().unwrap();
        let start = Start::on(dir.path().join("data"));
        for _ in 0..1 + random.below(3) {
            kill_during_start(&start, &mut random);
        }
        let server = start.serve();
        let login = server.set_up().await;
        assert_eq!(server.call(&login, "GET", "/v1/me", None).await.0, 200);
        assert_sound(&start.dir);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_set_up_that_is_killed_is_finished_or_can_be_repeated() {
    let mut random = Random(0x5eed_0003);
    let (mut finished, mut repeated) = (0, 0);
    for _ in 0..4 * scale() {
        let dir = tempfile::tempdir().unwrap();
        let start = Start::on(dir.path().join("data"));
        let mut server = start.serve();
        let wait = random.millis(1, 60);
        let began = Instant::now();
        let pid = server.process.pid();
        let killer = std::thread::spawn(move || {
            std::thread::sleep(wait.saturating_sub(began.elapsed()));
            let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
            rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
        });
        let answered = server.try_set_up().await;
        killer.join().unwrap();
        server.process.kill();

        let server = start.serve();
        if is_set_up(&start.dir) {
            finished += 1;
            let login = server.log_in().await;
            assert_eq!(server.call(&login, "GET", "/v1/general", None).await.0, 200);
        } else {
            assert!(answered.is_none_or(|(status, _)| status != 201), "an answered set-up was lost");
            repeated += 1;
            server.set_up().await;
        }
        assert_sound(&start.dir);
    }
    println!("killed set-ups: {finished} finished at the next start, {repeated} repeated");
}

/// A start removes the one-time token of a server that is set up.
fn is_set_up(dir: &Path) -> bool {
    !dir.join("setup-token").exists()
}
