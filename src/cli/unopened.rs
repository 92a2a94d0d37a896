//! What can be said of a data directory whose store does not open: each part is looked at by itself.

use serde::Serialize;

use crate::causes::with_causes;
use crate::cli::output;
use crate::data_dir::{DataDir, StoreDir};
use crate::log::head;
use crate::log::sled::inspect::inspect;
use crate::log::sled::open::SledOptions;
use crate::seal::keyring::files::{self, KeyFiles};
use crate::seal::root::RootKey;

/// A data directory whose store does not open.
#[derive(Debug, Serialize)]
pub struct Unopened {
    /// Why not.
    pub error: String,
    /// The store that `current` names.
    pub current: Part<String>,
    /// Each store that is there.
    pub stores: Vec<Store>,
}

/// A part of it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Part<T> {
    /// It can be read.
    Readable(T),
    /// It cannot, and why.
    Unreadable(String),
}

/// A store.
#[derive(Debug, Serialize)]
pub struct Store {
    store: String,
    head: Part<Head>,
    log: Part<Log>,
    key_files: KeyFiles,
}

#[derive(Debug, Serialize)]
struct Head {
    position: u64,
    epoch: String,
    /// Whether both slots are whole; one is enough.
    both_slots: bool,
}

#[derive(Debug, Serialize)]
struct Log {
    /// Up to where it is whole.
    position: u64,
    streams: usize,
    /// What is wrong with what lies beyond.
    beyond: Option<String>,
}

impl Unopened {
    /// Looks at every part.
    pub fn look(error: &dyn std::error::Error, dir: &DataDir, root: Option<&RootKey>) -> Self {
        let current = match dir.current() {
            Ok(Some(store)) => Part::Readable(store.id.to_string()),
            Ok(None) => Part::Unreadable("it is not there, and neither is a store".to_owned()),
            Err(error) => Part::Unreadable(with_causes(&error)),
        };
        let stores = dir.store_dirs().unwrap_or_default();
        let stores = stores.iter().map(|store| look_at(store, root)).collect();
        Self { error: with_causes(error), current, stores }
    }

    /// Prints it, a line a part.
    pub fn print(&self) {
        output::line(format_args!("current: {}", self.current.said(Clone::clone)));
        for Store { store, head, log, key_files } in &self.stores {
            output::line(format_args!("{store}"));
            let said = head.said(|head| {
                let slots = if head.both_slots { "both slots are" } else { "one slot is" };
                format!("the log must reach position {}; {slots} whole", head.position)
            });
            output::line(format_args!("  head: {said}"));
            let said = log.said(|log| {
                let beyond = log.beyond.as_ref().map_or(String::new(), |why| format!("; beyond: {why}"));
                format!("whole up to position {}, with {} streams{beyond}", log.position, log.streams)
            });
            output::line(format_args!("  log: {said}"));
            print_key_files("  ", key_files);
        }
    }
}

/// Prints what is known of a store's key files.
pub fn print_key_files(indent: &str, key_files: &KeyFiles) {
    for defect in &key_files.defects {
        output::line(format_args!("{indent}{defect}"));
    }
    for name in &key_files.stray {
        output::line(format_args!("{indent}note: no stream of the log needs the key file {name}"));
    }
    for what in &key_files.unfinished {
        output::line(format_args!("{indent}note: {what}; a running server finishes it"));
    }
    let how = if key_files.unwrapped { "" } else { ", no root key at hand to unwrap them" };
    output::line(format_args!("{indent}{} key files are whole{how}", key_files.whole));
}

impl<T> Part<T> {
    fn said(&self, say: impl FnOnce(&T) -> String) -> String {
        match self {
            Self::Readable(part) => say(part),
            Self::Unreadable(why) => why.clone(),
        }
    }

    fn of<E: std::error::Error>(read: Result<T, E>) -> Self {
        read.map_or_else(|error| Self::Unreadable(with_causes(&error)), Self::Readable)
    }
}

fn look_at(store: &StoreDir, root: Option<&RootKey>) -> Store {
    let head = head::read(&store.head()).map(|slots| Head {
        position: slots.newest.position.0,
        epoch: slots.newest.epoch.to_string(),
        both_slots: slots.other_whole,
    });
    let log = inspect(&SledOptions::new(&store.path, store.id)).map(|held| Log {
        position: held.end.0,
        streams: held.streams,
        beyond: held.beyond,
    });
    Store {
        store: store.id.to_string(),
        head: Part::of(head),
        log: Part::of(log),
        key_files: files::check(&store.keys(), root, None),
    }
}
