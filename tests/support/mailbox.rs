//! The mails that a test's server has put into its folder, read as a mail program would read them.

use std::path::Path;

use serde_json::Value;
use settled::ids::MailId;

use crate::server::TestServer;

/// A mail.
#[derive(Clone, Debug)]
pub struct Mail {
    pub id: MailId,
    pub to: String,
    pub subject: String,
    pub text: String,
    pub html: String,
}

impl Mail {
    /// Reads one as it was sent.
    pub fn read(id: MailId, source: &str) -> Self {
        let source = source.replace("\r\n", "\n");
        let (head, body) = source.split_once("\n\n").expect("a mail has a head and a body");
        let boundary = head.split_once("boundary=\"").expect("it has several parts").1;
        let boundary = format!("--{}", boundary.split_once('"').expect("quoted").0);
        let mut parts = body.split(boundary.as_str()).skip(1).map(part);
        let (text, html) = (parts.next().expect("plain text"), parts.next().expect("HTML"));
        assert!(text.0.contains("text/plain") && html.0.contains("text/html"), "{source}");
        let field = |name: &str| {
            let line = head.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap_or_else(|| panic!("no {name} in {head}")).trim().to_owned()
        };
        Self { id, to: field("To:"), subject: field("Subject:"), text: text.1, html: html.1 }
    }

    /// The token of its link.
    pub fn token(&self) -> Value {
        let line = self.text.lines().find(|line| line.contains("#token="));
        let link = line.unwrap_or_else(|| panic!("no link in {}", self.text));
        assert!(self.html.contains(&format!("href=\"{link}\"")), "{}", self.html);
        link.split_once("#token=").expect("found above").1.into()
    }
}

/// A part's head and its body.
fn part(source: &str) -> (String, String) {
    let (head, body) = source.trim_start().split_once("\n\n").unwrap_or_default();
    assert!(
        !head.contains("base64") && !head.contains("quoted-printable"),
        "it can be read as it is: {head}"
    );
    (head.to_owned(), body.trim_end().to_owned())
}

/// All mails of a folder, oldest first.
fn mails_in(folder: &Path) -> Vec<Mail> {
    let mut mails: Vec<Mail> = std::fs::read_dir(folder)
        .expect("the folder was made at the start")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "eml"))
        .map(|path| {
            let id = path.file_stem().expect("a name").to_str().expect("an id").parse().expect("an id");
            Mail::read(id, &std::fs::read_to_string(&path).expect("a mail is text"))
        })
        .collect();
    mails.sort_by_key(|mail| mail.id);
    mails
}

impl TestServer {
    /// All mails, oldest first.
    pub fn mails(&self) -> Vec<Mail> {
        mails_in(self.config.mail_dir.as_deref().expect("the server has a mail folder"))
    }

    /// The mails to an address, once there are as many as this; more are too many.
    pub async fn mails_to(&self, address: &str, count: usize) -> Vec<Mail> {
        let found = || self.mails().into_iter().filter(|mail| mail.to == address).collect::<Vec<_>>();
        self.eventually(async || found().len() >= count).await;
        let mails = found();
        assert_eq!(mails.len(), count, "{mails:?}");
        mails
    }

    /// The newest of so many mails to an address.
    pub async fn mail_to(&self, address: &str, count: usize) -> Mail {
        self.mails_to(address, count).await.pop().expect("at least one")
    }
}
