//! The demo's snapshot: restored for ever, as those of every format, also many years after its history ends.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use settled::clock::{Clock, DAY_SECONDS};
use settled::data_dir::DataDir;
use settled::event::Recorded;
use settled::ids::StreamId;
use settled::log::EventLog;
use settled::open::{LogOptions, open_log};
use settled::seal::Plain;
use settled::seal::root::RootKey;
use settled::snapshot::keys_of;
use settled::snapshot::operating::verify;
use settled::snapshot::restore::{Wanted, restore};

use crate::snapshots::file;
use crate::test_store::frames;

const KIB: u64 = 1024;

#[test]
fn it_is_a_year_of_one_organization_and_comes_back_ten_years_later() {
    let history = Path::new(env!("CARGO_MANIFEST_DIR")).join("snapshots/demo.settled");
    let keys = keys_of(&history);
    let bytes: u64 = [&history, &keys].map(|path| fs::metadata(path).unwrap().len()).iter().sum();
    assert!(bytes < 400 * KIB, "it is part of the program: {bytes} bytes");
    let text = Plain::from(fs::read_to_string(history.with_extension("root.key")).unwrap());
    let root = RootKey::from_text(&text).unwrap();
    let verified = verify(&file(&history), Some((&file(&keys), &root)), &mut |_, _| {}).unwrap();

    let place = tempfile::tempdir().unwrap();
    let dir = DataDir::open(place.path().join("data"), 0).unwrap();
    let wanted = Wanted { history: file(&history), keys: None, until: None, root: &root };
    let later = "2036-11-27T00:00:00Z".parse().unwrap();
    let restored = restore(&dir, &wanted, &[], &Clock::manual(later).0, &mut |_, _| {}).unwrap();
    assert_eq!((restored.events, restored.lost.len()), (verified.events, 0));
    drop(dir);
    let opened = open_log(DataDir::open(place.path().join("data"), 0).unwrap(), LogOptions::default());
    let opened = opened.map_err(|error| error.to_string()).ok().unwrap();
    let events: Vec<Recorded> = frames(&*opened.log as &dyn EventLog)
        .into_iter()
        .flat_map(|(_, frame)| frame.events().map(|event| event.unwrap()).collect::<Vec<_>>())
        .collect();
    opened.log.close().unwrap();

    let of_it: Vec<&Recorded> = events.iter().filter(|event| event.stream != StreamId::Platform).collect();
    let streams: BTreeSet<StreamId> = of_it.iter().map(|event| event.stream).collect();
    assert_eq!(streams.len(), 1);
    let days: BTreeSet<i64> = of_it.iter().map(|event| event.at.day()).collect();
    let (first, last) = (of_it[0].at, of_it[of_it.len() - 1].at);
    assert!(last.seconds_since(first) > 360 * DAY_SECONDS, "{first} to {last}");
    assert!(days.len() > 150, "on {} days", days.len());
    let at_night = of_it.iter().filter(|event| !(6..18).contains(&event.at.hour().rem_euclid(24)));
    assert_eq!(at_night.count(), 0, "people sleep");
}
