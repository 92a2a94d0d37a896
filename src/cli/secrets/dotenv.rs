//! Files of secrets as dotenv, read strictly and written so that every reader understands it.
//!
//! There is no standard, and what programs read differently is refused here instead of guessed: each is told with its
//! line and what to write instead.
//!
//! ```text
//! # a comment; so is what follows a blank and a # behind a value
//! NAME=value                    to the next blank or the line's end; no quotes, \, $, ` or #
//! export NAME='a value'         everything up to the next ', as it stands, line breaks too
//! NAME="a \"value\"\n"          the same with \n \r \t \" \\ \$ and \` for what they mean elsewhere;
//!                               a bare $ or ` is refused, for nothing is expanded
//! ```
//!
//! Names are those of secrets, `[A-Z][A-Z0-9_]{0,127}`. Blanks around `=`, an empty value and a name set twice are
//! refused. Lines may end in CR LF, and a byte order mark may precede all.

use std::fmt::Write as _;

use zeroize::Zeroizing;

use crate::cli::secrets::entries::{Entries, Fault, Wrong};
use crate::seal::Plain;

const BLANK: [char; 2] = [' ', '\t'];

/// Reads a file.
///
/// # Errors
/// The first fault, with its line.
pub fn parse(text: &str) -> Result<Entries, Fault> {
    let mut reader = Reader { rest: text.strip_prefix('\u{feff}').unwrap_or(text), line: 1 };
    let mut entries = Entries::default();
    while !reader.rest.is_empty() {
        reader.blanks();
        if !reader.at_end_of_line() {
            reader.entry(&mut entries)?;
        }
        reader.end_of_line()?;
    }
    Ok(entries)
}

/// Writes an entry as a line, or as several where its value has line breaks.
pub fn write(name: &str, value: &str) -> Zeroizing<String> {
    // Room for all of it from the beginning: growing would leave copies behind.
    let mut line = Zeroizing::new(String::with_capacity(name.len() + 2 * value.len() + 4));
    if !value.contains('\'') {
        write!(line, "{name}='{value}'").expect("writing to a string does not fail");
        return line;
    }
    write!(line, "{name}=\"").expect("writing to a string does not fail");
    for c in value.chars() {
        match ESCAPES.iter().find(|(_, meant)| *meant == c) {
            Some((written, _)) => line.extend(['\\', *written]),
            None => line.push(c),
        }
    }
    line.push('"');
    line
}

/// What stands behind a backslash in double quotes, and what it means.
const ESCAPES: [(char, char); 7] =
    [('n', '\n'), ('r', '\r'), ('t', '\t'), ('"', '"'), ('\\', '\\'), ('$', '$'), ('`', '`')];

struct Reader<'a> {
    rest: &'a str,
    line: usize,
}

impl<'a> Reader<'a> {
    fn blanks(&mut self) {
        self.rest = self.rest.trim_start_matches(BLANK);
    }

    /// Whether only a comment, if anything, is left of the line.
    fn at_end_of_line(&self) -> bool {
        self.rest.is_empty() || self.rest.starts_with(['#', '\n']) || self.rest.starts_with("\r\n")
    }

    /// Takes a comment and the line's end.
    fn end_of_line(&mut self) -> Result<(), Fault> {
        if !self.at_end_of_line() {
            return Err(self.wrong(Wrong::Trailing));
        }
        self.rest = match self.rest.split_once('\n') {
            Some((_, rest)) => rest,
            None => "",
        };
        self.line += 1;
        Ok(())
    }

    fn entry(&mut self, entries: &mut Entries) -> Result<(), Fault> {
        let line = self.line;
        if let Some(rest) = self.rest.strip_prefix("export").filter(|rest| rest.starts_with(BLANK)) {
            self.rest = rest;
            self.blanks();
        }
        let is_name = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
        let name = self.take(self.rest.find(|c| !is_name(c)));
        if self.rest.trim_start_matches(BLANK).starts_with('=') && !self.rest.starts_with('=') {
            return Err(self.wrong(Wrong::Blanks));
        }
        if name.is_empty() || !self.rest.starts_with('=') {
            return Err(self.wrong(Wrong::NoEntry));
        }
        self.take(Some(1));
        let value = self.value()?;
        entries.add(name, value).map_err(|wrong| Fault { line, wrong })
    }

    fn value(&mut self) -> Result<Plain, Fault> {
        if let Some(quote @ ('\'' | '"')) = self.rest.chars().next() {
            let value = self.quoted(quote)?;
            let closed = self.rest;
            self.blanks();
            // `'a'#b` is two things to some, and one to others.
            let is_glued = self.rest.len() == closed.len() && self.rest.starts_with('#');
            return if is_glued { Err(self.wrong(Wrong::Trailing)) } else { Ok(value) };
        }
        let end = self.rest.find(|c: char| c.is_whitespace());
        let value = self.take(end);
        if value.is_empty()
            && self.rest.starts_with(BLANK)
            && !self.rest.trim_start_matches(BLANK).starts_with(['\r', '\n'])
        {
            return Err(self.wrong(Wrong::Blanks));
        }
        if let Some(c) = value.chars().find(|c| "'\"\\$`#".contains(*c)) {
            return Err(self.wrong(Wrong::Unquoted(c)));
        }
        self.blanks();
        Ok(Plain::from(value))
    }

    /// What stands between quotes, the first of which is next.
    fn quoted(&mut self, quote: char) -> Result<Plain, Fault> {
        let unclosed = self.wrong(Wrong::Unclosed);
        let mut value = Zeroizing::new(String::with_capacity(self.rest.len()));
        let mut chars = self.rest.char_indices().skip(1);
        let end = loop {
            let Some((at, c)) = chars.next() else { return Err(unclosed) };
            match c {
                _ if c == quote => break at + 1,
                '\\' if quote == '"' => {
                    let written = chars.next().map(|(_, written)| written);
                    match ESCAPES.iter().find(|(known, _)| Some(*known) == written) {
                        Some((_, meant)) => value.push(*meant),
                        None => return Err(self.wrong(Wrong::Escape)),
                    }
                }
                '$' | '`' if quote == '"' => return Err(self.wrong(Wrong::Expanded(c))),
                c => {
                    self.line += usize::from(c == '\n');
                    value.push(c);
                }
            }
        };
        self.take(Some(end));
        Ok(Plain::from(value.as_str()))
    }

    /// What precedes a place in the rest, or all of it.
    fn take(&mut self, end: Option<usize>) -> &'a str {
        let (taken, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest;
        taken
    }

    fn wrong(&self, wrong: Wrong) -> Fault {
        Fault { line: self.line, wrong }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Result<Vec<(String, String)>, String> {
        let told = |entries: Entries| {
            entries
                .iter()
                .map(|(name, value)| (name.to_owned(), value.as_str().unwrap().to_owned()))
                .collect()
        };
        parse(text).map(told).map_err(|fault| fault.to_string())
    }

    #[test]
    fn a_file_is_read_by_the_grammar() {
        let text = "\u{feff}# ours\n\nPLAIN=a:b/c?d=e  # said\nexport URL='https://x/#a $b'\r\n\tLINES=\"a\\n\\\"b\\\" \\$c\nd\"\nPEM='one\ntwo'   \nLAST=x";
        let expected = [
            ("LAST", "x"),
            ("LINES", "a\n\"b\" $c\nd"),
            ("PEM", "one\ntwo"),
            ("PLAIN", "a:b/c?d=e"),
            ("URL", "https://x/#a $b"),
        ];
        assert_eq!(read(text), Ok(expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into()));
        for nothing in ["", "\n\n", "# A=b", "  \t# A\r\n"] {
            assert_eq!(read(nothing), Ok(Vec::new()), "{nothing:?}");
        }
    }

    #[test]
    fn what_is_read_differently_elsewhere_is_refused_with_its_line() {
        for (text, line, said) in [
            ("A=1\nhunter2", 2, "expected NAME=value"),
            ("=hunter2", 1, "expected NAME=value"),
            ("A: hunter2", 1, "expected NAME=value"),
            ("export", 1, "expected NAME=value"),
            ("A =hunter2", 1, "no blanks"),
            ("A= hunter2", 1, "no blanks"),
            ("A= # hunter2", 1, "no blanks"),
            ("a=hunter2", 1, "a name must match"),
            ("A-B=hunter2", 1, "a name must match"),
            ("A=hunter2 hunter3", 1, "something follows"),
            ("A='hunter2'x", 1, "something follows"),
            ("A='hunter2'#x", 1, "something follows"),
            ("A=hunter2#x", 1, "with # must be quoted"),
            ("A=$HUNTER2", 1, "with $ must be quoted"),
            ("A=hunter2\\", 1, "with \\ must be quoted"),
            ("A=hunter'2'", 1, "with ' must be quoted"),
            ("A=\"${HUNTER2}\"", 1, "write \\$"),
            ("A=\"\n`hunter2`\"", 2, "write \\`"),
            ("A=\"hunter\\2\"", 1, "only \\n"),
            ("\nA='hunter2\n\n", 2, "never closed"),
            ("A=\"hunter2\\", 1, "only \\n"),
            ("A=\nB=1", 1, "empty"),
            ("A=''", 1, "empty"),
            ("A=1\nB=2\n\nA=hunter2", 4, "A is set twice"),
        ] {
            let refused = read(text).unwrap_err();
            assert!(
                refused.starts_with(&format!("{line}: ")) && refused.contains(said),
                "{text:?}: {refused}"
            );
            assert!(!refused.to_lowercase().contains("hunter"), "{refused}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(values in prop::collection::vec("(?s).{1,40}", 1..5)) {
            let names: Vec<_> = (0..values.len()).map(|number| format!("N{number}")).collect();
            let lines: Vec<_> = names.iter().zip(&values).map(|(name, value)| write(name, value).to_string()).collect();
            let expected: Vec<_> = names.into_iter().zip(values).collect();
            prop_assert_eq!(read(&lines.join("\n")), Ok(expected.clone()));
            prop_assert_eq!(read(&(lines.join("\n") + "\n")), Ok(expected));
        }

        #[test]
        fn no_text_is_more_than_read_or_refused(text in "(?s)[A='\"\\\\$# \n\r\t`xé]{0,40}") {
            let _read_or_refused = parse(&text);
        }
    }
}
