//! Passwords: hashed and verified (argon2id) on threads of their own, and the rules for new ones.
//!
//! Hashing takes tens of milliseconds and megabytes on purpose, so it never runs on a thread that serves requests,
//! and only so many at a time that reads go on. Nothing here knows whose password it is, or stores anything.

use std::num::NonZero;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};

use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version, password_hash};
use rand::TryRng;
use rand::rngs::SysRng;
use tokio::sync::oneshot;
use zeroize::Zeroizing;

use crate::seal::Plain;

/// How much a hash costs. The default is what OWASP's password storage cheat sheet recommends for argon2id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashCost {
    /// Memory in KiB.
    pub memory_kib: u32,
    /// Passes over the memory.
    pub passes: u32,
    /// Lanes.
    pub lanes: u32,
}

impl Default for HashCost {
    fn default() -> Self {
        Self { memory_kib: 19 * 1024, passes: 2, lanes: 1 }
    }
}

impl HashCost {
    /// The least that argon2 allows, for tests that are not about passwords.
    pub const CHEAPEST: Self = Self { memory_kib: Params::MIN_M_COST, passes: 1, lanes: 1 };

    fn hasher(self) -> Result<Argon2<'static>, PasswordError> {
        let params = Params::new(self.memory_kib, self.passes, self.lanes, None)
            .map_err(|_| PasswordError::Cost(self))?;
        Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
    }
}

/// A password that could not be hashed or verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    /// The queue is full; try again in a moment.
    #[error("too many passwords are being checked")]
    Busy,
    /// What is stored is not a hash in PHC form.
    #[error("a stored password hash is damaged")]
    Damaged,
    /// The threads have stopped, or could not be started.
    #[error("passwords are not being checked any more")]
    Stopped,
    /// Argon2 does not allow these costs.
    #[error("argon2 does not allow a password hash to cost {0:?}")]
    Cost(HashCost),
}

/// The threads that hash, and their queue. Clones share them; they end with the last clone.
#[derive(Clone)]
pub struct Passwords {
    queue: mpsc::SyncSender<Job>,
    waiting_max: usize,
    load: Arc<Load>,
    /// Of a password that nobody knows; verified for addresses that nobody has.
    nobody: Arc<Zeroizing<String>>,
}

/// What the queue has to do.
#[derive(Debug, Default)]
struct Load {
    waiting: AtomicUsize,
    refused: AtomicU64,
}

enum Job {
    Hash { password: Plain, reply: oneshot::Sender<Result<Plain, PasswordError>> },
    Verify { password: Plain, phc: Plain, reply: oneshot::Sender<Result<bool, PasswordError>> },
}

impl Passwords {
    /// Starts a thread for each two cores (at least one) and a queue of at most `waiting_max` passwords.
    /// Takes as long as one hash.
    ///
    /// # Errors
    /// `Cost` if argon2 does not allow the cost, `Stopped` if a thread could not be started.
    pub fn start(cost: HashCost, waiting_max: usize) -> Result<Self, PasswordError> {
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        let (queue, jobs) = mpsc::sync_channel(waiting_max);
        let jobs = Arc::new(Mutex::new(jobs));
        let hasher = cost.hasher()?;
        let nobody = hash(&hasher, &unknown_password())?;
        let nobody =
            Arc::new(Zeroizing::new(nobody.as_str().map_err(|_| PasswordError::Damaged)?.to_owned()));
        let load = Arc::new(Load::default());
        for _ in 0..(cores / 2).max(1) {
            let (jobs, load, hasher) = (Arc::clone(&jobs), Arc::clone(&load), hasher.clone());
            std::thread::Builder::new()
                .name("password".to_owned())
                .spawn(move || work(&jobs, &load, &hasher))
                .map_err(|_| PasswordError::Stopped)?;
        }
        Ok(Self { queue, waiting_max, load, nobody })
    }

    /// How many passwords wait to be hashed, and how many were refused because as many as may did.
    pub fn load(&self) -> (usize, u64) {
        (self.load.waiting.load(Ordering::Relaxed), self.load.refused.load(Ordering::Relaxed))
    }

    /// Whether as many wait as may.
    pub fn is_full(&self) -> bool {
        self.load().0 >= self.waiting_max
    }

    /// The hash of a password under a fresh salt, in PHC form (`$argon2id$…`).
    ///
    /// # Errors
    /// `Busy`, `Stopped`.
    pub async fn hash(&self, password: Plain) -> Result<Plain, PasswordError> {
        self.ask(|reply| Job::Hash { password, reply }).await
    }

    /// Whether a password is the one that was hashed to `phc`.
    ///
    /// # Errors
    /// `Busy`, `Stopped`, or `Damaged` if `phc` is no hash.
    pub async fn verify(&self, password: Plain, phc: Plain) -> Result<bool, PasswordError> {
        self.ask(|reply| Job::Verify { password, phc, reply }).await
    }

    /// Takes as long as [`Passwords::verify`] and is never right: what is done for an address that nobody has, so
    /// that the time of an answer does not tell which addresses are known.
    ///
    /// # Errors
    /// `Busy`, `Stopped`.
    pub async fn verify_nobody(&self, password: Plain) -> Result<(), PasswordError> {
        let phc = Plain::from(self.nobody.as_str());
        self.verify(password, phc).await.map(|_never| ())
    }

    async fn ask<T>(
        &self,
        job: impl FnOnce(oneshot::Sender<Result<T, PasswordError>>) -> Job,
    ) -> Result<T, PasswordError> {
        let (reply, answer) = oneshot::channel();
        // Counted before it is sent, or a thread could take it before it counts.
        self.load.waiting.fetch_add(1, Ordering::Relaxed);
        self.queue.try_send(job(reply)).map_err(|error| {
            self.load.waiting.fetch_sub(1, Ordering::Relaxed);
            match error {
                mpsc::TrySendError::Full(_) => {
                    self.load.refused.fetch_add(1, Ordering::Relaxed);
                    PasswordError::Busy
                }
                mpsc::TrySendError::Disconnected(_) => PasswordError::Stopped,
            }
        })?;
        answer.await.map_err(|_| PasswordError::Stopped)?
    }
}

/// How much the threads that hash stand back (`nice`) where there is less processor time than all want: a flood of logins
/// then waits for the reads, and not the other way round.
const STAND_BACK: i32 = 10;

fn work(jobs: &Mutex<mpsc::Receiver<Job>>, load: &Load, hasher: &Argon2<'_>) {
    // Of this thread alone, as Linux has it.
    if let Err(error) = rustix::process::nice(STAND_BACK) {
        tracing::warn!(%error, "hashing passwords does not stand back behind requests");
    }
    loop {
        // The lock is let go before the job is done: the next thread waits for the next job meanwhile.
        let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = job else { return };
        load.waiting.fetch_sub(1, Ordering::Relaxed);
        job.run(hasher);
    }
}

impl Job {
    /// Skips the work of those who have gone away: a flood of cancelled logins costs next to nothing.
    fn run(self, hasher: &Argon2<'_>) {
        match self {
            Self::Hash { password, reply } if !reply.is_closed() => {
                let _gone = reply.send(hash(hasher, &password));
            }
            Self::Verify { password, phc, reply } if !reply.is_closed() => {
                let _gone = reply.send(verify(hasher, &password, &phc));
            }
            Self::Hash { .. } | Self::Verify { .. } => {}
        }
    }
}

fn hash(hasher: &Argon2<'_>, password: &Plain) -> Result<Plain, PasswordError> {
    let mut salt = [0; 16];
    SysRng.try_fill_bytes(&mut salt).expect("the operating system gives random bytes once it has booted");
    // Costs were checked at start and passwords are far shorter than argon2's limit: only memory can be lacking.
    let hash: PasswordHash =
        hasher.hash_password_with_salt(password.as_bytes(), &salt).map_err(|_| PasswordError::Busy)?;
    Ok(Plain::from(hash.to_string()))
}

fn verify(hasher: &Argon2<'_>, password: &Plain, phc: &Plain) -> Result<bool, PasswordError> {
    let phc = phc.as_str().map_err(|_| PasswordError::Damaged)?;
    let phc = PasswordHash::new(phc).map_err(|_| PasswordError::Damaged)?;
    // Costs are those of the stored hash; the outputs are compared in constant time.
    match hasher.verify_password(password.as_bytes(), &phc) {
        Ok(()) => Ok(true),
        Err(password_hash::Error::PasswordInvalid) => Ok(false),
        Err(_) => Err(PasswordError::Damaged),
    }
}

fn unknown_password() -> Plain {
    let mut bytes = vec![0; 32];
    SysRng.try_fill_bytes(&mut bytes).expect("the operating system gives random bytes once it has booted");
    Plain::from(bytes)
}

/// The least bytes of a new password.
pub const PASSWORD_BYTES_MIN: usize = 12;
/// The most bytes of a new password.
pub const PASSWORD_BYTES_MAX: usize = 256;

/// The most common passwords of at least [`PASSWORD_BYTES_MIN`] bytes, lower case, one a line, sorted.
const COMMON: &str = include_str!("common.txt");
/// Rows of a keyboard, along which a password may not simply run.
const ROWS: [&str; 5] = ["`1234567890-=", "qwertyuiop[]", "asdfghjkl;'", "zxcvbnm,./", "qwertzuiop"];
/// A password needs at least so many characters that do not follow from the one before.
const SURPRISES_MIN: usize = 5;

/// A new password that is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WeakPassword {
    /// Shorter than [`PASSWORD_BYTES_MIN`].
    #[error("a password has at least {PASSWORD_BYTES_MIN} bytes")]
    TooShort,
    /// Longer than [`PASSWORD_BYTES_MAX`].
    #[error("a password has at most {PASSWORD_BYTES_MAX} bytes")]
    TooLong,
    /// Not UTF-8.
    #[error("a password is text")]
    NotText,
    /// One that attackers try first.
    #[error("this password is one of the most common ones")]
    Common,
    /// Repeats or counts, as `abcabcabcabc` or `123456789012` do.
    #[error("this password only repeats or counts")]
    Predictable,
}

/// Whether a new password is accepted. Any characters are fine; length is what counts (NIST SP 800-63B).
///
/// # Errors
/// Why it is not.
pub fn check_new(password: &Plain) -> Result<(), WeakPassword> {
    let bytes = password.as_bytes().len();
    if bytes < PASSWORD_BYTES_MIN {
        return Err(WeakPassword::TooShort);
    }
    if bytes > PASSWORD_BYTES_MAX {
        return Err(WeakPassword::TooLong);
    }
    let text = password.as_str().map_err(|_| WeakPassword::NotText)?;
    let lower = Zeroizing::new(text.to_lowercase());
    let plain_letters = Zeroizing::new(lower.chars().map(letter_meant).collect::<String>());
    if is_common(&lower) || is_common(&plain_letters) {
        return Err(WeakPassword::Common);
    }
    let characters = Zeroizing::new(lower.chars().collect::<Vec<_>>());
    let part = repeated_part(&characters);
    if part.iter().map(|character| character.len_utf8()).sum::<usize>() < PASSWORD_BYTES_MIN
        || surprises(part) < SURPRISES_MIN
    {
        return Err(WeakPassword::Predictable);
    }
    Ok(())
}

fn is_common(lower: &str) -> bool {
    COMMON.lines().any(|common| common == lower)
}

/// The letter that a digit or sign commonly stands for.
fn letter_meant(character: char) -> char {
    match character {
        '0' => 'o',
        '1' | '!' => 'i',
        '3' => 'e',
        '4' | '@' => 'a',
        '5' | '$' => 's',
        '7' => 't',
        other => other,
    }
}

/// Of a password that is one part over and over, the part; else all of it. Saying it twice adds nothing.
fn repeated_part(characters: &[char]) -> &[char] {
    let repeats = |length: &usize| characters[*length..] == characters[..characters.len() - length];
    let length = (1..=characters.len() / 2).find(repeats).unwrap_or(characters.len());
    &characters[..length]
}

/// How many characters neither repeat, count on from nor lie beside the one before.
fn surprises(characters: &[char]) -> usize {
    characters.len() - characters.windows(2).filter(|pair| follows(pair[0], pair[1])).count()
}

fn follows(before: char, character: char) -> bool {
    let beside = |row: &&str| {
        let place = |wanted| row.chars().position(|key| key == wanted);
        place(before).zip(place(character)).is_some_and(|(a, b)| a.abs_diff(b) <= 1)
    };
    u32::from(before).abs_diff(u32::from(character)) <= 1 || ROWS.iter().any(beside)
}

#[cfg(test)]
mod tests;
