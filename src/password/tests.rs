//! What hashing and the rules for new passwords promise.

use super::*;

fn passwords() -> Passwords {
    Passwords::start(HashCost::CHEAPEST, 8).expect("started")
}

/// A queue of one place whose jobs stay where they are until the test takes them.
fn without_threads() -> (Passwords, mpsc::Receiver<Job>) {
    let (queue, jobs) = mpsc::sync_channel(1);
    let nobody = Arc::new(Zeroizing::new(String::new()));
    (Passwords { queue, waiting_max: 1, load: Arc::default(), nobody }, jobs)
}

#[tokio::test]
async fn a_hash_verifies_its_password_and_no_other() {
    let passwords = passwords();
    let phc = passwords.hash(Plain::from("wandering otter 41")).await.expect("hashed");
    assert_eq!(passwords.verify(Plain::from("wandering otter 41"), phc.clone()).await, Ok(true));
    assert_eq!(passwords.verify(Plain::from("wandering otter 42"), phc.clone()).await, Ok(false));
    assert_eq!(passwords.verify(Plain::from(""), phc).await, Ok(false));
}

#[tokio::test]
async fn each_hash_has_a_salt_of_its_own() {
    let passwords = passwords();
    let one = passwords.hash(Plain::from("wandering otter 41")).await.expect("hashed");
    let two = passwords.hash(Plain::from("wandering otter 41")).await.expect("hashed");
    assert_ne!(one, two);
}

#[tokio::test]
async fn a_hash_costs_what_owasp_recommends_unless_told_otherwise() {
    let passwords = Passwords::start(HashCost::default(), 1).expect("started");
    let phc = passwords.hash(Plain::from("wandering otter 41")).await.expect("hashed");
    assert!(phc.as_str().expect("text").starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
}

#[tokio::test]
async fn an_older_cheaper_hash_still_verifies() {
    let phc = passwords().hash(Plain::from("wandering otter 41")).await.expect("hashed");
    let dearer = HashCost { memory_kib: 64, passes: 2, lanes: 1 };
    let passwords = Passwords::start(dearer, 1).expect("started");
    assert_eq!(passwords.verify(Plain::from("wandering otter 41"), phc).await, Ok(true));
}

#[tokio::test]
async fn the_hash_of_the_argon2_reference_implementation_verifies() {
    // Made by `argon2-cffi` 25, which binds the reference implementation.
    let phc = include_str!("reference.phc").trim_end();
    let passwords = passwords();
    assert_eq!(passwords.verify(Plain::from("wandering otter 41"), Plain::from(phc)).await, Ok(true));
    assert_eq!(passwords.verify(Plain::from("wandering otter 42"), Plain::from(phc)).await, Ok(false));
}

#[tokio::test]
async fn nobodys_hash_costs_the_same_as_anybodys() {
    let passwords = passwords();
    let phc = passwords.hash(Plain::from("wandering otter 41")).await.expect("hashed");
    let costs = |phc: &str| phc.split('$').take(4).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(costs(&passwords.nobody), costs(phc.as_str().expect("text")));
    assert_eq!(passwords.verify_nobody(Plain::from("wandering otter 41")).await, Ok(()));
}

#[tokio::test]
async fn what_is_stored_and_is_no_hash_is_damaged_and_not_merely_wrong() {
    let passwords = passwords();
    for phc in
        ["", "canary", "$argon2id$v=19$m=8,t=1,p=1$", "$scrypt$ln=1,r=8,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNo"]
    {
        let verified = passwords.verify(Plain::from("wandering otter 41"), Plain::from(phc)).await;
        assert_eq!(verified, Err(PasswordError::Damaged), "{phc}");
    }
}

#[tokio::test]
async fn a_full_queue_says_busy_at_once() {
    let (passwords, _jobs) = without_threads();
    let waiting = tokio::spawn({
        let passwords = passwords.clone();
        async move { passwords.hash(Plain::from("wandering otter 41")).await }
    });
    while !waiting.is_finished() {
        tokio::task::yield_now().await;
        if passwords.hash(Plain::from("second")).await == Err(PasswordError::Busy) {
            assert!(passwords.is_full());
            assert_eq!(passwords.load().0, 1);
            assert!(passwords.load().1 >= 1, "who was refused is counted");
            return;
        }
    }
    panic!("the first was answered without a thread");
}

#[tokio::test]
async fn without_threads_it_says_stopped() {
    let (passwords, jobs) = without_threads();
    drop(jobs);
    assert_eq!(passwords.hash(Plain::from("wandering otter 41")).await, Err(PasswordError::Stopped));
}

#[test]
fn the_work_of_those_who_have_gone_is_skipped() {
    let (reply, answer) = oneshot::channel();
    drop(answer);
    let dear = HashCost { memory_kib: 64 * 1024, passes: 20, lanes: 1 }.hasher().expect("allowed");
    let clock = crate::clock::Clock::system();
    let began = clock.boot_elapsed();
    Job::Hash { password: Plain::from("wandering otter 41"), reply }.run(&dear);
    assert!(
        clock.boot_elapsed() - began < std::time::Duration::from_millis(200),
        "it takes a second or more"
    );
}

#[test]
fn a_cost_that_argon2_does_not_allow_is_refused() {
    let cost = HashCost { memory_kib: 1, passes: 0, lanes: 0 };
    assert_eq!(Passwords::start(cost, 1).err(), Some(PasswordError::Cost(cost)));
}

#[test]
fn length_is_counted_in_bytes() {
    for (password, expected) in [
        ("".to_owned(), Err(WeakPassword::TooShort)),
        ("kd9!vLq0zPt".to_owned(), Err(WeakPassword::TooShort)),
        ("kd9!vLq0zPtx".to_owned(), Ok(())),
        ("ölwäsüböqü".to_owned(), Ok(())),
        ("correct otter ".repeat(18) + "kd9!", Ok(())),
        ("correct otter ".repeat(18) + "kd9!v", Err(WeakPassword::TooLong)),
    ] {
        assert_eq!(check_new(&Plain::from(password.as_str())), expected, "{password}");
    }
}

#[test]
fn bytes_that_are_no_text_are_refused() {
    assert_eq!(check_new(&Plain::from(&[0xff_u8; 20][..])), Err(WeakPassword::NotText));
}

#[test]
fn the_common_ones_are_refused_in_any_case_and_with_digits_for_letters() {
    for password in
        COMMON.lines().chain(["PasswordPassword", "P4ssw0rdPa$$word", "CorrectHorseBatteryStaple"])
    {
        assert!(check_new(&Plain::from(password)).is_err(), "{password}");
    }
    assert_eq!(check_new(&Plain::from("Password1234")), Err(WeakPassword::Common));
    assert_eq!(check_new(&Plain::from("P4ssw0rdPa$$word")), Err(WeakPassword::Common));
}

#[test]
fn the_list_is_sorted_lower_case_and_has_nothing_that_its_length_refuses_anyway() {
    let lines: Vec<&str> = COMMON.lines().collect();
    assert!(lines.is_sorted_by(|a, b| a < b));
    for line in lines {
        assert_eq!(line, line.to_lowercase());
        assert!(line.len() >= PASSWORD_BYTES_MIN, "{line}");
    }
}

#[test]
fn what_only_repeats_or_counts_is_refused() {
    for password in [
        "zzzzzzzzzzzzzzzz",
        "zzzzzzzzzzzzzzzy",
        "zyzyzyzyzyzyzyzy",
        "kdvkdvkdvkdvkdv",
        "wanderwander",
        "wanderingwandering",
        "abcdefghijklmnop",
        "ponmlkjihgfedcba",
        "2345678901234567",
        "0987654321098765",
        "lkjhgfdsapoiuytrewq",
        "zxcvbnm,./zxcvbnm",
        "aaaabbbbccccdddd",
        "明明明明明明",
    ] {
        assert_eq!(check_new(&Plain::from(password)), Err(WeakPassword::Predictable), "{password}");
    }
}

#[test]
fn what_is_long_enough_and_not_obvious_is_accepted() {
    for password in [
        "wandering otter 41",
        "to be or not to be",
        "kd9!vLq0zPtx",
        "f3b1c07e9a2d",
        "blaue Tannen im März",
        "明日の朝は晴れるでしょう",
    ] {
        assert_eq!(check_new(&Plain::from(password)), Ok(()), "{password}");
    }
}

#[test]
fn no_error_shows_a_password() {
    let error = check_new(&Plain::from("canarycanary")).expect_err("it only repeats");
    assert!(!format!("{error} {error:?}").contains("canary"));
}
