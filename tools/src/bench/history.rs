//! A year of one organization in memory, and a log to put it in: what the rows without a server measure.

use std::cell::OnceCell;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use settled::event::Recorded;
use settled::ids::{Fresh, StoreId, StreamId};
use settled::log::codec::pack;
use settled::log::frame::{Frame, FrameBuilder, FrameStart, frame_hash};
use settled::log::head::Epoch;
use settled::log::sled::SledLog;
use settled::log::sled::open::{HeadPolicy, SledOptions, create, open};
use settled::log::{Append, EventLog, Head, Position};

use super::server::now;
use crate::mix::generate::{Size, beginning, fill};
use crate::mix::store::OpenStore;

/// The events of one organization, oldest first; made when they are first asked for.
pub struct History {
    length: usize,
    events: OnceCell<Vec<Recorded>>,
}

/// The seed of every history and store that is measured.
pub const SEED: u64 = 9;

impl History {
    /// So many events.
    pub fn of(length: usize) -> Self {
        Self { length, events: OnceCell::new() }
    }

    /// The first of them.
    ///
    /// # Errors
    /// When there are not so many, or they cannot be made.
    pub fn first(&self, count: usize) -> Result<&[Recorded]> {
        let events = match self.events.get() {
            Some(events) => events,
            None => {
                let made = one_organization(self.length)?;
                self.events.get_or_init(|| made)
            }
        };
        events.get(..count).with_context(|| format!("there are {} events, not {count}", events.len()))
    }
}

/// One organization's events, filled in memory and read back.
fn one_organization(events: usize) -> Result<Vec<Recorded>> {
    let mut recorded = Vec::with_capacity(events);
    each_event(events as u64, |event| {
        recorded.push(event);
        Ok(())
    })?;
    ensure!(recorded.len() == events, "{} events were made of {events}", recorded.len());
    Ok(recorded)
}

/// Hands out so many events of one organization, oldest first.
///
/// # Errors
/// When they cannot be made, and with the first that `each` gives.
pub fn each_event(events: u64, mut each: impl FnMut(Recorded) -> Result<()>) -> Result<()> {
    let end = now();
    let open = OpenStore::in_memory(beginning(end))?;
    fill(&open, Size { events, organizations: 1 }, SEED, end)?;
    each_frame(&**open.store.log(), |frame| {
        if frame.header().stream == StreamId::Platform {
            return Ok(());
        }
        frame.events().try_for_each(|event| each(event?))
    })?;
    open.close()
}

/// Hands out every frame of a log, oldest first.
///
/// # Errors
/// When the log cannot be read, and with the first that `each` gives.
pub fn each_frame(log: &dyn EventLog, mut each: impl FnMut(Frame) -> Result<()>) -> Result<()> {
    let mut after = Position(0);
    loop {
        let frames = log.read(after)?;
        let Some((last, _)) = frames.last() else { return Ok(()) };
        after = *last;
        for (_, bytes) in frames {
            each(Frame::parse(bytes)?)?;
        }
    }
}

/// A log in a folder of its own.
pub struct Log {
    options: SledOptions,
    /// The log.
    pub log: SledLog,
}

impl Log {
    /// An empty log in an empty folder.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn create(dir: &Path) -> Result<Self> {
        let options = SledOptions::new(dir, Fresh.id::<StoreId>());
        create(&options, &Epoch::default())?;
        let log = open(options.clone(), HeadPolicy::Require)?.log;
        Ok(Self { options, log })
    }

    /// Appends frames, each in a commit of its own.
    ///
    /// # Errors
    /// When the log refuses.
    pub fn append(&self, appends: Vec<Append>) -> Result<()> {
        for append in appends {
            self.log.append(vec![append])?;
        }
        Ok(())
    }

    /// Closed and opened again: nothing that was appended is remembered outside of the engine.
    ///
    /// # Errors
    /// When it cannot be closed or opened.
    pub fn reopened(self) -> Result<Self> {
        self.log.close()?;
        drop(self.log);
        let log = open(self.options.clone(), HeadPolicy::Require)?.log;
        Ok(Self { options: self.options, log })
    }
}

/// A stream's events as the frames of an empty log, so many events each.
///
/// # Errors
/// When an event is no record.
pub fn frames(events: &[Recorded], events_per_frame: usize) -> Result<Vec<Append>> {
    let mut head = Head::default();
    let mut appends = Vec::with_capacity(events.len().div_ceil(events_per_frame));
    for (position, events) in (1..).map(Position).zip(events.chunks(events_per_frame)) {
        let Some(first) = events.first() else { break };
        let mut builder = FrameBuilder::new(FrameStart {
            stream: first.stream,
            first_version: first.version,
            at: first.at,
            previous: head.position,
            previous_hash: head.hash,
        });
        for event in events {
            // A frame has one time.
            builder.push(&pack(&Recorded { at: first.at, ..event.clone() })?);
        }
        let version = builder.next_version() - 1;
        let frame = builder.finish().unwrap_or_default();
        head = Head { version, position, hash: frame_hash(&frame), at: first.at };
        let stream = first.stream;
        appends.push(Append {
            stream,
            expected: None,
            frame: Some(frame),
            put: Vec::new(),
            remove: Vec::new(),
        });
    }
    Ok(appends)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_is_read_back_from_a_log_as_it_was() {
        let history = History::of(300);
        let dir = tempfile::tempdir().unwrap();
        let log = Log::create(dir.path()).unwrap();
        log.append(frames(history.first(300).unwrap(), 64).unwrap()).unwrap();
        let log = log.reopened().unwrap();
        let mut read = Vec::new();
        each_frame(&log.log, |frame| {
            read.extend(frame.events().map(|event| event.unwrap()));
            Ok(())
        })
        .unwrap();
        let ids =
            |events: &[Recorded]| events.iter().map(|event| (event.version, event.id)).collect::<Vec<_>>();
        assert_eq!(ids(&read), ids(history.first(300).unwrap()));
        assert!(history.first(301).is_err());
    }
}
