//! The data directory: one store in use, never two, and never a new one beside an old one.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::Path;

use settled::data_dir::{DataDir, DataDirError, StoreDir};
use settled::ids::StoreId;
use settled::private;
use uuid::Uuid;

const BALLAST: u64 = 1 << 20;

fn id(number: u128) -> StoreId {
    StoreId::from_uuid(Uuid::from_u128(number))
}

fn open(dir: &Path) -> DataDir {
    DataDir::open(dir.join("data"), BALLAST).unwrap()
}

fn create(dir: &DataDir, number: u128) -> StoreDir {
    let fill = |store: &StoreDir| -> Result<(), DataDirError> {
        fs::write(store.head(), b"a head").unwrap();
        Ok(())
    };
    dir.create_store(id(number), fill).unwrap()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_second_process_is_told_who_has_it() {
    let dir = tempfile::tempdir().unwrap();
    let data = open(dir.path());
    let error = DataDir::open(dir.path().join("data"), BALLAST).unwrap_err();
    let pid = std::process::id().to_string();
    assert!(matches!(&error, DataDirError::InUse { pid: other, .. } if *other == pid), "{error}");
    drop(data);
    open(dir.path());
}

#[test]
fn a_new_directory_has_no_store_and_then_the_one_that_was_made() {
    let dir = tempfile::tempdir().unwrap();
    let data = open(dir.path());
    assert_eq!(data.current().unwrap(), None);
    let store = create(&data, 1);
    assert_eq!(store.id, id(1));
    assert_eq!(fs::read(store.head()).unwrap(), b"a head");
    assert!(store.keys().is_dir() && store.derived().is_dir());
    assert_eq!(data.current().unwrap(), Some(store.clone()));
    assert_eq!(mode(data.root()), 0o700);
    assert_eq!(mode(&store.path), 0o700);
    assert_eq!(mode(&data.root().join("current")), 0o600);
    assert_eq!(mode(&data.root().join("lock")), 0o600);
}

#[test]
fn a_store_that_nothing_names_is_never_set_up_anew() {
    let dir = tempfile::tempdir().unwrap();
    let data = open(dir.path());
    create(&data, 1);
    let current = data.root().join("current");
    for damage in [None, Some(&b""[..]), Some(b"store_0000000000000000000000000"), Some(b"\xff\xff")] {
        match damage {
            None => fs::remove_file(&current).unwrap(),
            Some(bytes) => fs::write(&current, bytes).unwrap(),
        }
        let error = data.current().unwrap_err();
        assert!(matches!(error, DataDirError::StoresWithoutCurrent { .. }), "{error}");
        assert!(error.to_string().contains(&id(1).to_string()), "it says which: {error}");
        let made = data.create_store(id(2), |_| Ok::<(), DataDirError>(()));
        assert!(matches!(made.unwrap_err(), DataDirError::StoresWithoutCurrent { .. }));
    }
    fs::write(&current, format!("{}\n", id(1))).unwrap();
    assert_eq!(data.current().unwrap().map(|store| store.id), Some(id(1)));
}

#[test]
fn an_unreadable_current_is_damage_even_where_no_store_is_left() {
    let dir = tempfile::tempdir().unwrap();
    let data = open(dir.path());
    fs::write(data.root().join("current"), b"?").unwrap();
    assert!(matches!(data.current(), Err(DataDirError::StoresWithoutCurrent { .. })));
}

#[test]
fn a_current_without_its_store_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let data = open(dir.path());
    let store = create(&data, 1);
    fs::remove_dir_all(&store.path).unwrap();
    assert!(matches!(data.current(), Err(DataDirError::NoSuchStore { store, .. }) if store == id(1)));
}

#[test]
fn a_crash_while_a_store_is_made_leaves_the_old_state_or_the_new_one() {
    let dir = tempfile::tempdir().unwrap();
    let data = open(dir.path());
    let failed = data.create_store(id(1), |_| {
        Err::<(), DataDirError>(DataDirError::InUse { dir: dir.path().into(), pid: "1".into() })
    });
    assert!(failed.is_err());
    assert_eq!(data.current().unwrap(), None);
    assert_eq!(data.remove_unfinished().unwrap().len(), 1);

    // Died after `current` was written and before the store got its name.
    let store = create(&data, 2);
    let unfinished = store.path.with_file_name(format!("unfinished-{}", id(2)));
    fs::rename(&store.path, &unfinished).unwrap();
    assert_eq!(data.current().unwrap(), Some(store.clone()));
    assert!(store.head().exists());
    // Whoever clears up first does not take it for a leftover.
    fs::rename(&store.path, &unfinished).unwrap();
    assert_eq!(data.unfinished_stores().unwrap(), []);
    fs::rename(&store.path, &unfinished).unwrap();
    assert!(data.remove_unfinished().unwrap().is_empty());
    assert!(store.head().exists());

    // Died after the old store was told of its successor and before `current` was written.
    fs::write(store.path.join("succeeded-by"), format!("{}\n", id(3))).unwrap();
    fs::create_dir(store.path.with_file_name(format!("unfinished-{}", id(3)))).unwrap();
    assert_eq!(data.current().unwrap().map(|store| store.id), Some(id(2)));
    assert_eq!(data.remove_unfinished().unwrap().len(), 1);
    assert_eq!(create(&data, 4).id, id(4));
}

#[test]
fn a_replaced_store_stays_and_an_older_current_does_not_bring_it_back_unsaid() {
    let dir = tempfile::tempdir().unwrap();
    let data = open(dir.path());
    let old = create(&data, 1);
    let older_current = fs::read(data.root().join("current")).unwrap();
    create(&data, 2);
    assert_eq!(data.current().unwrap().map(|store| store.id), Some(id(2)));
    assert!(old.head().exists());
    fs::write(data.root().join("current"), older_current).unwrap();
    let error = data.current().unwrap_err();
    assert!(matches!(error, DataDirError::Replaced { successor, .. } if successor == id(2)), "{error}");
    fs::remove_file(old.path.join("succeeded-by")).unwrap();
    assert_eq!(data.current().unwrap(), Some(old));
}

#[test]
fn the_ballast_is_made_where_there_is_room_and_made_again_when_it_shrank() {
    let dir = tempfile::tempdir().unwrap();
    let data = open(dir.path());
    let ballast = data.root().join("ballast");
    assert!(!data.keep_ballast(u64::MAX / 2).unwrap());
    assert!(!ballast.exists());
    assert!(data.keep_ballast(0).unwrap());
    assert_eq!(fs::metadata(&ballast).unwrap().len(), BALLAST);
    fs::File::options().write(true).open(&ballast).unwrap().set_len(5).unwrap();
    assert!(data.keep_ballast(0).unwrap());
    assert_eq!(fs::metadata(&ballast).unwrap().len(), BALLAST);
    assert!(data.free_bytes().unwrap() > 0 && !data.ballast_freed());
}

#[test]
fn the_ballast_is_freed_to_open_on_a_disk_that_is_full() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("data");
    drop(open(dir.path()));
    fs::write(root.join("ballast"), b"ballast").unwrap();
    // More than any disk has free stands for a disk that has too little.
    let data = DataDir::open(&root, u64::MAX).unwrap();
    assert!(data.ballast_freed());
    assert!(!root.join("ballast").exists());
    assert!(!data.keep_ballast(0).unwrap());
}

#[test]
fn a_directory_that_others_write_into_is_refused_and_links_in_ours_are_not_followed() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("data");
    drop(open(dir.path()));
    for others in [0o720, 0o702, 0o777] {
        fs::set_permissions(&root, fs::Permissions::from_mode(others)).unwrap();
        let error = DataDir::open(&root, BALLAST).unwrap_err();
        assert!(matches!(error, DataDirError::Permissions { mode, .. } if mode == others), "{error}");
    }
    fs::set_permissions(&root, fs::Permissions::from_mode(0o755)).unwrap();
    drop(open(dir.path()));

    let foreign = dir.path().join("foreign");
    fs::write(&foreign, b"not ours").unwrap();
    for name in ["lock", "ballast"] {
        fs::remove_file(root.join(name)).ok();
        std::os::unix::fs::symlink(&foreign, root.join(name)).unwrap();
        let kept = DataDir::open(&root, BALLAST).map(|data| data.keep_ballast(0));
        assert!(!matches!(kept, Ok(Ok(_))), "{name}");
        assert_eq!(fs::read(&foreign).unwrap(), b"not ours", "{name}");
        fs::remove_file(root.join(name)).unwrap();
    }
}

#[test]
fn a_private_file_of_others_is_not_believed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("setup-token");
    fs::write(&path, "planted").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(private::read(&path).is_err());
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(private::read(&path).unwrap(), "planted");
    let link = dir.path().join("link");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    assert!(private::read(&link).is_err());
}

#[test]
fn a_private_file_is_replaced_whole() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("server.json");
    private::write(&path, b"one").unwrap();
    let open = fs::File::open(&path).unwrap();
    private::write(&path, b"two, longer").unwrap();
    let mut old = [0; 3];
    open.read_exact_at(&mut old, 0).unwrap();
    assert_eq!((&old, fs::read(&path).unwrap()), (b"one", b"two, longer".to_vec()));
    assert_eq!(mode(&path), 0o600);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}
