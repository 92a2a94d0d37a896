//! Mail: a [`Letter`] to an address, handed to a server or put into a folder.
//!
//! Whoever sends one waits for nothing: it is queued in memory, within bounds, and tried again with growing pauses
//! until it has arrived or would be of no use any more. A stop tries what waits once more and gives up the rest; a crash
//! loses it. So no letter is the only way to what it says: whoever misses one asks again. Neither a letter nor an address
//! is in any log line.

use std::sync::Arc;
use std::time::Duration;

use lettre::Message;
use lettre::address::Envelope;
use lettre::message::header::ContentTransferEncoding;
use lettre::message::{Body, Mailbox, MultiPart};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::causes::with_causes;
use crate::clock::{Clock, Timestamp};
use crate::ids::{Fresh, MailId};
use crate::mail::allowance::{Allowance, Occasion};
use crate::mail::letter::Letter;
use crate::mail::transport::{Transport, Undelivered};
use crate::metrics::Metrics;
use crate::platform::accounts::email::EmailAddress;
use crate::seal::Plain;
use crate::seal::token::PlainToken;

pub mod allowance;
pub mod letter;
pub mod transport;

/// The most mails that wait, some 4 KiB each.
const WAITING_MAX: u32 = 1_000;
/// The most mails that are on their way at once: one server, and one that hangs must not hold up all.
const UNDER_WAY_MAX: usize = 4;
/// The pause after the first attempt; each further one is twice as long, up to …
const FIRST_PAUSE: Duration = Duration::from_secs(2);
/// … this.
const LONGEST_PAUSE: Duration = Duration::from_mins(10);
/// How long a stop waits for mail.
const STOP_MAX: Duration = Duration::from_secs(5);

/// A page that a mailed link leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Page {
    /// Where an address is verified.
    VerifyEmail,
    /// Where a new password is set.
    ResetPassword,
    /// Where an invitation is accepted or declined.
    AcceptInvitation,
}

impl Page {
    fn path(self) -> &'static str {
        match self {
            Self::VerifyEmail => "/verify-email",
            Self::ResetPassword => "/reset-password",
            Self::AcceptInvitation => "/accept-invitation",
        }
    }
}

/// A text that is no address that mail can be sent from or to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no mail can be sent from this address")]
pub struct InvalidSender;

/// Sends letters. Clones share one queue.
#[derive(Clone)]
pub struct Mailer(Arc<Inner>);

struct Inner {
    transport: Transport,
    from: Mailbox,
    /// The URL under which users reach the server, without a slash at the end.
    server: String,
    clock: Clock,
    metrics: Metrics,
    allowance: Allowance,
    waiting: Arc<Semaphore>,
    under_way: Semaphore,
    stopping: watch::Sender<bool>,
}

/// The right to send one mail to one address. One that is dropped unused goes back to the address's allowance: what was
/// refused in the end costs nobody a mail.
#[must_use]
pub struct Postage {
    occasion: Occasion,
    to: EmailAddress,
    taken: Timestamp,
    /// Where it goes back to; nowhere once it is used.
    from: Option<Mailer>,
}

impl Drop for Postage {
    fn drop(&mut self) {
        if let Some(mailer) = self.from.take() {
            mailer.0.allowance.give_back(self.occasion, self.to.as_str(), self.taken);
        }
    }
}

/// A mail on its way.
struct Mail {
    id: MailId,
    envelope: Envelope,
    content: Plain,
    /// The boot time after which it is of no use.
    useful_until: Duration,
    /// Its place among those that wait.
    _place: OwnedSemaphorePermit,
}

impl Mailer {
    /// A mailer with an empty queue. `from` is what mails are from, `server` the URL under which users reach this server.
    ///
    /// # Errors
    /// When no mail can be sent from that address.
    pub fn new(
        transport: Transport,
        from: &str,
        server: &str,
        clock: Clock,
        metrics: Metrics,
    ) -> Result<Self, InvalidSender> {
        let address = from.parse().map_err(|_| InvalidSender)?;
        Ok(Self(Arc::new(Inner {
            transport,
            from: Mailbox::new(Some("Settled".to_owned()), address),
            server: server.to_owned(),
            clock,
            metrics,
            allowance: Allowance::default(),
            waiting: Arc::new(Semaphore::new(WAITING_MAX as usize)),
            under_way: Semaphore::new(UNDER_WAY_MAX),
            stopping: watch::Sender::new(false),
        })))
    }

    /// A link to a page of this server with a token in its fragment, which no browser sends to any server.
    pub fn link(&self, page: Page, token: &PlainToken) -> String {
        format!("{}{}#token={}", self.0.server, page.path(), token.expose())
    }

    /// Takes the right to one mail off an address's allowance for an occasion; none where it has had its share of this hour.
    pub fn postage(&self, occasion: Occasion, to: &EmailAddress) -> Option<Postage> {
        let now = self.0.clock.credible_now();
        let Some(taken) = self.0.allowance.take(occasion, to.as_str(), now) else {
            self.0.metrics.mail_withheld();
            return None;
        };
        Some(Postage { occasion, to: to.clone(), taken, from: Some(self.clone()) })
    }

    /// Queues a letter. Where too many wait, or it cannot be addressed, it is given up at once, which is counted.
    pub fn send(&self, mut postage: Postage, letter: &Letter) {
        let id: MailId = Fresh.id();
        let Ok(place) = Arc::clone(&self.0.waiting).try_acquire_owned() else {
            self.0.metrics.mail_failed();
            tracing::warn!(%id, "a mail is given up: as many wait as may");
            return;
        };
        let Some(message) = self.0.message(&postage.to, letter, self.0.clock.credible_now(), id) else {
            self.0.metrics.mail_failed();
            tracing::warn!(%id, "a mail is given up: it cannot be addressed");
            return;
        };
        let mail = Mail {
            id,
            envelope: message.envelope().clone(),
            content: Plain::from(message.formatted()),
            useful_until: self.0.clock.boot_elapsed().saturating_add(letter.useful),
            _place: place,
        };
        postage.from = None;
        let inner = Arc::clone(&self.0);
        inner.tell_waiting();
        tokio::spawn(async move {
            inner.see_off(mail).await;
            inner.tell_waiting();
        });
    }

    /// Tries what waits once more, and gives up what is left after a moment; later letters are tried once.
    pub async fn end(&self) {
        let inner = &*self.0;
        inner.stopping.send_replace(true);
        let all = inner.clock.timeout(STOP_MAX, inner.waiting.acquire_many(WAITING_MAX)).await;
        if all.is_err() {
            tracing::warn!(mails = inner.how_many_wait(), "mails were not sent before the stop");
        }
    }
}

/// Text as it is, where it is ASCII: in quoted-printable nobody could copy a link from a file of the mail folder. Its lines
/// are far shorter than the 998 characters of RFC 5322 §2.1.1.
fn body(text: String) -> Body {
    if text.is_ascii() {
        let lines = text.replace('\n', "\r\n").into_bytes();
        Body::dangerous_pre_encoded(lines, ContentTransferEncoding::SevenBit)
    } else {
        Body::new(text)
    }
}

impl Inner {
    fn message(&self, to: &EmailAddress, letter: &Letter, now: Timestamp, id: MailId) -> Option<Message> {
        let host = self.from.email.domain();
        Message::builder()
            .date(std::time::UNIX_EPOCH + Duration::from_micros(now.micros().unsigned_abs()))
            .message_id(Some(format!("<{id}@{host}>")))
            .from(self.from.clone())
            .to(Mailbox::new(None, to.as_str().parse().ok()?))
            .subject(letter.subject)
            .multipart(MultiPart::alternative_plain_html(
                body(letter.text(&self.server)),
                body(letter.html(&self.server)),
            ))
            .ok()
    }

    /// Tries until it has arrived, or there is no use in trying.
    async fn see_off(&self, mail: Mail) {
        let mut stopping = self.stopping.subscribe();
        let mut pause = FIRST_PAUSE;
        loop {
            // Before the attempt: one that a stop comes into is the last.
            let is_last = *stopping.borrow_and_update();
            let Err(error) = self.attempt(&mail).await else {
                self.metrics.mail_sent();
                return;
            };
            let too_late = self.clock.boot_elapsed().saturating_add(pause) > mail.useful_until;
            if error.is_final() || too_late || is_last {
                self.metrics.mail_failed();
                tracing::warn!(id = %mail.id, error = with_causes(&error), "a mail is given up");
                return;
            }
            let (error, pause_seconds) = (with_causes(&error), pause.as_secs());
            tracing::warn!(id = %mail.id, error, pause_seconds, "a mail is tried again");
            tokio::select! {
                () = self.clock.sleep(pause) => {}
                _ = stopping.wait_for(|stopping| *stopping) => {}
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn attempt(&self, mail: &Mail) -> Result<(), Undelivered> {
        let _turn = self.under_way.acquire().await;
        self.transport.deliver(&self.clock, mail.id, &mail.envelope, &mail.content).await
    }

    fn how_many_wait(&self) -> usize {
        (WAITING_MAX as usize).saturating_sub(self.waiting.available_permits())
    }

    fn tell_waiting(&self) {
        self.metrics.mails_waiting(self.how_many_wait());
    }
}

#[cfg(test)]
mod tests;
