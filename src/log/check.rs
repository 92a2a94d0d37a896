//! Checking a log from its first frame to its last: every frame read, every event decoded, nothing skipped.
//!
//! It reads through the trait, so it checks any log. What keeps a log from opening at all is listed by the
//! errors of opening it.

use serde::{Deserialize, Serialize};

use super::frame::Frame;
use super::heads::Heads;
use super::{EventLog, Key, Position};

/// How much a check looked at, and what is wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Frames read.
    pub frames: u64,
    /// Events decoded.
    pub events: u64,
    /// Bytes of frames.
    pub bytes: u64,
    /// What is wrong, at most [`MAX_DEFECTS`].
    pub defects: Vec<Defect>,
    /// Whether there were more defects than are listed.
    pub more_defects: bool,
}

/// After so many the list is cut short, and says so.
pub const MAX_DEFECTS: usize = 1000;

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Defect {
    /// A frame or a run cannot be read, or does not continue its stream.
    #[error("position {position}: {what}")]
    Frame {
        /// Where.
        position: u64,
        /// What is wrong.
        what: String,
    },
    /// An event cannot be decoded.
    #[error("position {position}, version {version} of {stream}: {what}")]
    Event {
        /// Where.
        position: u64,
        /// The stream.
        stream: String,
        /// The event's version.
        version: u64,
        /// What is wrong.
        what: String,
    },
    /// What is kept beside a stream's frames cannot be read.
    #[error("the wrapped keys or the checkpoint of {stream}: {what}")]
    Keys {
        /// The stream.
        stream: String,
        /// What is wrong.
        what: String,
    },
    /// A stream's head is not what its frames give.
    #[error("the head of {stream} is {found}, its frames give {expected}")]
    Head {
        /// The stream.
        stream: String,
        /// What its frames give.
        expected: String,
        /// What the log says.
        found: String,
    },
    /// The log ends elsewhere than it says.
    #[error("the log says that it ends at position {end}, and can be read up to position {read}")]
    End {
        /// What it says.
        end: u64,
        /// How far it can be read.
        read: u64,
    },
}

impl Report {
    /// Whether nothing is wrong.
    pub fn is_clean(&self) -> bool {
        self.defects.is_empty()
    }

    fn add(&mut self, defect: Defect) {
        if self.defects.len() < MAX_DEFECTS {
            self.defects.push(defect);
        } else {
            self.more_defects = true;
        }
    }
}

/// Checks a whole log. `progress` hears the position reached and the end, after each read.
pub fn check(log: &dyn EventLog, mut progress: impl FnMut(Position, Position)) -> Report {
    let mut report = Report::default();
    let mut heads = Heads::default();
    let end = log.end();
    let mut at = Position(0);
    // Set by the first broken link: what follows has nothing to be held against, but is still decoded.
    let mut linked = true;
    while at < end {
        match log.read(at) {
            Ok(frames) if frames.is_empty() => break,
            Ok(frames) => {
                for (position, bytes) in frames {
                    if position.0 != at.0 + 1 {
                        let what = format!("expected position {}", at.0 + 1);
                        report.add(Defect::Frame { position: position.0, what });
                    }
                    at = position;
                    report.frames += 1;
                    report.bytes += bytes.len() as u64;
                    let mut defect = |what| report.add(Defect::Frame { position: position.0, what });
                    match Frame::parse(bytes) {
                        Ok(frame) => {
                            if linked && let Err(broken) = heads.follow_frame(&frame) {
                                linked = false;
                                defect(broken.to_string());
                            }
                            check_events(position, &frame, &mut report);
                        }
                        Err(error) => {
                            linked = false;
                            defect(error.to_string());
                        }
                    }
                }
            }
            Err(error) => {
                linked = false;
                at.0 += 1;
                report.add(Defect::Frame { position: at.0, what: error.to_string() });
            }
        }
        progress(at, end);
    }
    if at < end {
        report.add(Defect::End { end: end.0, read: at.0 });
    }
    if linked {
        check_heads(log, &heads, &mut report);
    }
    for (stream, _) in log.streams() {
        let read = log.data_keys(stream).and_then(|_| log.get(&Key::Checkpoint(stream)));
        if let Err(error) = read {
            report.add(Defect::Keys { stream: stream.to_string(), what: error.to_string() });
        }
    }
    report
}

fn check_events(position: Position, frame: &Frame, report: &mut Report) {
    for index in 0..frame.len() {
        report.events += 1;
        let read = frame.json(index).map(drop).and_then(|()| frame.recorded(index).map(drop));
        if let Err(error) = read {
            report.add(Defect::Event {
                position: position.0,
                stream: frame.header().stream.to_string(),
                version: frame.header().first_version + index as u64,
                what: error.to_string(),
            });
        }
    }
}

fn check_heads(log: &dyn EventLog, heads: &Heads, report: &mut Report) {
    let describe = |head| format!("{head:?}");
    for (stream, found) in log.streams() {
        let expected = heads.last(stream);
        if expected != Some(found) {
            let expected = expected.map_or("nothing".to_owned(), describe);
            report.add(Defect::Head { stream: stream.to_string(), expected, found: describe(found) });
        }
    }
    for (stream, expected) in heads.iter() {
        if log.last(stream).is_none() {
            let (expected, found) = (describe(expected), "nothing".to_owned());
            report.add(Defect::Head { stream: stream.to_string(), expected, found });
        }
    }
}
