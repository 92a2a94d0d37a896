//! Where mail goes: to a server over SMTP, or into a folder. Here one attempt is made; when the next one is, is decided
//! elsewhere.
//!
//! A server's own words are told nobody: they often quote the recipient's address.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lettre::address::Envelope;
use lettre::transport::smtp::Error as SmtpError;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Tls, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Tokio1Executor};

use crate::clock::Clock;
use crate::config::value::{SmtpServer, SmtpTls};
use crate::ids::MailId;
use crate::private;
use crate::seal::Plain;

/// How long a server may take to let us connect.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// How long it may take to take a mail, from connecting to its last word.
const ATTEMPT_MAX: Duration = Duration::from_mins(1);

/// Where mail goes.
pub enum Transport {
    /// To a server.
    Smtp(Box<AsyncSmtpTransport<Tokio1Executor>>),
    /// Into a folder, a file a mail.
    Folder(PathBuf),
}

/// A way for mail that cannot be used at all.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// The folder cannot be made or looked at.
    #[error("the mail folder {} cannot be used", path.display())]
    Folder {
        /// Which.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Others may look into the folder.
    #[error("others may look into the mail folder {}: chmod it to 0700", .0.display())]
    Open(PathBuf),
    /// The server's URL is none.
    #[error("smtp-url is refused: {0}")]
    Url(&'static str),
    /// No TLS can be spoken.
    #[error("TLS cannot be set up for mail")]
    Tls(#[source] SmtpError),
}

/// A mail that did not get where it was to go, this time. Says nothing of what the server said.
#[derive(Debug, thiserror::Error)]
pub enum Undelivered {
    /// The server will never take it.
    #[error("the mail server refuses it with {0}")]
    Refused(u16),
    /// The server does not take it now, or does not take mail from us.
    #[error("the mail server answers {0}")]
    NotNow(u16),
    /// The server does not answer in time.
    #[error("the mail server does not answer in time")]
    TimedOut,
    /// No TLS came about: the server has none, or a certificate that is not trusted.
    #[error("no TLS comes about with the mail server")]
    Tls,
    /// There is no connection, or the server does not speak as it should.
    #[error("the mail server cannot be talked to")]
    Connection,
    /// The file could not be written.
    #[error("the file could not be written")]
    File(#[source] io::Error),
}

impl Undelivered {
    /// Whether trying again is of no use.
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Refused(_))
    }
}

/// Codes by which a server refuses us, not the mail (RFC 4954 §6): an operator can mend that.
const REFUSES_US: [u16; 4] = [530, 534, 535, 538];

impl From<SmtpError> for Undelivered {
    fn from(error: SmtpError) -> Self {
        match error.status().map(u16::from) {
            Some(code) if error.is_permanent() && !REFUSES_US.contains(&code) => Self::Refused(code),
            Some(code) => Self::NotNow(code),
            None if error.is_timeout() => Self::TimedOut,
            None if error.is_tls() => Self::Tls,
            None => Self::Connection,
        }
    }
}

impl Transport {
    /// To a server; `name` is what we introduce ourselves as.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn smtp(server: &SmtpServer, name: &str) -> Result<Self, TransportError> {
        let tls = || TlsParameters::new(server.host.clone()).map_err(TransportError::Tls);
        let tls = match server.tls {
            SmtpTls::FromTheFirstByte => Tls::Wrapper(tls()?),
            SmtpTls::Starttls => Tls::Required(tls()?),
            SmtpTls::None => Tls::None,
        };
        let mut transport = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&server.host)
            .port(server.port)
            .tls(tls)
            .hello_name(ClientId::Domain(name.to_owned()))
            .timeout(Some(CONNECT_MAX));
        if let Some((name, password)) = &server.credentials {
            // Whatever was read from a URL is text.
            let password = password.as_str().unwrap_or_default().to_owned();
            transport = transport.credentials(Credentials::new(name.clone(), password));
        }
        Ok(Self::Smtp(Box::new(transport.build())))
    }

    /// Into a folder that is ours alone, made if it is not there.
    ///
    /// # Errors
    /// When it cannot be made, or others may look into it.
    pub fn folder(path: &Path) -> Result<Self, TransportError> {
        let failed = |source| TransportError::Folder { path: path.to_owned(), source };
        private::make_dir_all(path).map_err(failed)?;
        if private::is_ours_alone(path).map_err(failed)? {
            Ok(Self::Folder(path.to_owned()))
        } else {
            Err(TransportError::Open(path.to_owned()))
        }
    }

    /// Tries once.
    ///
    /// # Errors
    /// See [`Undelivered`].
    pub async fn deliver(
        &self,
        clock: &Clock,
        id: MailId,
        envelope: &Envelope,
        content: &Plain,
    ) -> Result<(), Undelivered> {
        match self {
            Self::Smtp(transport) => {
                let sent = clock.timeout(ATTEMPT_MAX, transport.send_raw(envelope, content.as_bytes())).await;
                sent.map_err(|_| Undelivered::TimedOut)?.map(drop).map_err(Undelivered::from)
            }
            Self::Folder(folder) => {
                let (path, content) = (folder.join(format!("{id}.eml")), content.clone());
                let written = tokio::task::spawn_blocking(move || private::write(&path, content.as_bytes()));
                written.await.map_err(io::Error::other).flatten().map_err(Undelivered::File)
            }
        }
    }
}
