//! The letters: every word that Settled mails, as plain text and as HTML, in one place.
//!
//! A letter holds nothing that anybody typed. Whoever signs up with a stranger's address would else have us send
//! their words to the stranger.

use std::time::Duration;

const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);

/// What a mail says, to whomever.
#[derive(Clone, PartialEq, Eq)]
pub struct Letter {
    /// Its subject.
    pub subject: &'static str,
    opening: &'static str,
    link: Option<(&'static str, String)>,
    closing: &'static str,
    /// For how long it makes sense to send it: after that it would only puzzle.
    pub useful: Duration,
}

impl Letter {
    /// To whoever signed up: the link verifies the address.
    pub fn verify_address(link: String) -> Self {
        Self {
            subject: "Verify your address",
            opening: "Somebody, probably you, signed up with this address. Your account is ready once you have \
                verified that the address is yours.",
            link: Some(("Verify this address", link)),
            closing: "The link works once, within 7 days. If it was not you, do nothing: without the link there is no \
                account.",
            useful: DAY,
        }
    }

    /// To whoever signed up, or wanted to go on, with an address that has an account.
    pub fn already_known() -> Self {
        Self {
            subject: "You have an account already",
            opening: "Somebody, probably you, wanted to use this address for an account. It has one already: log in \
                with it, or ask for a new password if you have forgotten yours.",
            link: None,
            closing: "If it was not you, do nothing: nothing has changed.",
            useful: DAY,
        }
    }

    /// To whoever forgot their password: the link sets a new one.
    pub fn reset_password(link: String) -> Self {
        Self {
            subject: "Set a new password",
            opening: "Somebody, probably you, asked for a new password for the account with this address.",
            link: Some(("Set a new password", link)),
            closing: "The link works once, within an hour. Your other sessions end when the password is new. If it was \
                not you, do nothing: your password stays as it is.",
            useful: HOUR,
        }
    }

    /// To whoever is invited: with the link they accept or decline. Which organization it is, the letter does not say: its
    /// name is what somebody typed.
    pub fn invitation(link: String) -> Self {
        Self {
            subject: "You are invited to an organization",
            opening: "Somebody invited you to join their organization on this server. With the link you accept or decline; if \
                you have no account here yet, you make one as you accept.",
            link: Some(("Accept or decline", link)),
            closing: "The link works once, within 7 days. If you do not know what this is about, do nothing: nobody joins \
                anything without the link.",
            useful: DAY,
        }
    }

    /// To the address that an account is to have: the link makes it so.
    pub fn confirm_address(link: String) -> Self {
        Self {
            subject: "Confirm your new address",
            opening: "Somebody, probably you, wants to use this address for their account from now on.",
            link: Some(("Use this address", link)),
            closing: "The link works once, within 24 hours. If it was not you, do nothing: without the link nothing \
                changes.",
            useful: DAY,
        }
    }

    /// To the address that an account is about to lose.
    pub fn address_will_change() -> Self {
        Self {
            subject: "Your account is about to get another address",
            opening: "Somebody who knows your password, probably you, asked for another address for your account. It \
                changes as soon as the new address is confirmed; then this one gets no mail any more.",
            link: None,
            closing: "If it was not you, change your password now: then the address stays as it is.",
            useful: DAY,
        }
    }

    /// As plain text, signed with the server's URL.
    pub fn text(&self, server: &str) -> String {
        let link = match &self.link {
            Some((action, link)) => format!("{action}:\n\n{link}\n\n"),
            None => String::new(),
        };
        let (opening, closing) = (wrapped(self.opening), wrapped(self.closing));
        format!("Hello,\n\n{opening}\n\n{link}{closing}\n\n-- \nSettled at {server}\n")
    }

    /// The same as HTML: no picture, nothing that is loaded from anywhere.
    pub fn html(&self, server: &str) -> String {
        let [title, opening, closing, server] =
            [self.subject, self.opening, self.closing, server].map(escaped);
        let link = match &self.link {
            Some((action, link)) => {
                let [action, link] = [action, link.as_str()].map(escaped);
                format!(
                    "<p><a href=\"{link}\">{action}</a></p>\n\
                     <p>If that cannot be followed, copy this into your browser:<br>{link}</p>\n"
                )
            }
            None => String::new(),
        };
        format!(
            "<!doctype html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\"><title>{title}</title></head>\n\
             <body style=\"font: 16px/1.5 sans-serif; color: #222; max-width: 36em\">\n\
             <p>Hello,</p>\n<p>{opening}</p>\n{link}<p>{closing}</p>\n<p style=\"color: #666\">Settled at {server}</p>\n\
             </body>\n</html>\n"
        )
    }
}

/// The longest line of plain text: what mail programs show without breaking it themselves (RFC 3676 §4.2).
const LINE_MAX_CHARS: usize = 78;

/// A paragraph in lines.
fn wrapped(paragraph: &str) -> String {
    let mut lines = String::new();
    let mut line_chars = 0;
    for word in paragraph.split_whitespace() {
        let chars = word.chars().count();
        if line_chars > 0 && line_chars + 1 + chars > LINE_MAX_CHARS {
            lines.push('\n');
            line_chars = 0;
        }
        if line_chars > 0 {
            lines.push(' ');
            line_chars += 1;
        }
        lines.push_str(word);
        line_chars += chars;
    }
    lines
}

/// Text as it may stand in an element or a quoted attribute.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVER: &str = "https://settings.example.org";
    const LINK: &str = "https://settings.example.org/verify-email#token=abc";

    fn all() -> [Letter; 6] {
        [
            Letter::verify_address(LINK.to_owned()),
            Letter::already_known(),
            Letter::reset_password(LINK.to_owned()),
            Letter::invitation(LINK.to_owned()),
            Letter::confirm_address(LINK.to_owned()),
            Letter::address_will_change(),
        ]
    }

    #[test]
    fn a_letter_reads_well_as_plain_text() {
        let text = Letter::verify_address(LINK.to_owned()).text(SERVER);
        insta::assert_snapshot!(text, @r"
        Hello,

        Somebody, probably you, signed up with this address. Your account is ready
        once you have verified that the address is yours.

        Verify this address:

        https://settings.example.org/verify-email#token=abc

        The link works once, within 7 days. If it was not you, do nothing: without the
        link there is no account.

        -- 
        Settled at https://settings.example.org
        ");
        for letter in all() {
            let text = letter.text(SERVER);
            assert!(text.lines().all(|line| line.chars().count() <= LINE_MAX_CHARS), "{text}");
        }
    }

    #[test]
    fn both_parts_say_the_same() {
        for letter in all() {
            let (text, html) = (letter.text(SERVER), letter.html(SERVER));
            assert_eq!(text.contains(LINK), letter.link.is_some(), "{text}");
            assert_eq!(html.matches(LINK).count(), if letter.link.is_some() { 2 } else { 0 }, "{html}");
            for said in [letter.opening, letter.closing] {
                assert!(text.replace('\n', " ").contains(said), "{text}");
                assert!(html.contains(&escaped(said)), "{html}");
            }
            assert!(html.contains(SERVER) && text.ends_with(&format!("{SERVER}\n")));
        }
    }

    #[test]
    fn what_html_would_read_as_its_own_is_escaped() {
        let link = "https://a.example/?a=1&b=\"><script>'";
        let html = Letter::verify_address(link.to_owned()).html("<b>");
        assert!(
            html.contains("href=\"https://a.example/?a=1&amp;b=&quot;&gt;&lt;script&gt;&#39;\""),
            "{html}"
        );
        assert!(!html.contains("<script>") && html.contains("Settled at &lt;b&gt;"), "{html}");
    }
}
