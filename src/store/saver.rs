//! The saver: a thread that writes derived files in the background, so that neither the writer nor a request waits for
//! them. What it misses (a full queue, a full disk, a crash) is folded from the log later.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use crate::event::Version;
use crate::store::DiskGauge;
use crate::store::derived::{DerivedFiles, FileName, Kind};
use crate::store::directory::Directory;
use crate::store::resident::Handle;
use crate::store::savepoint::{self, SAVEPOINT_EVENTS_AT_STOP};
use crate::store::segments::{Segments, sections};

/// How many things wait to be saved at most.
const QUEUE: usize = 256;

/// What is to be saved.
enum Job {
    /// What a stream has that no file has.
    Stream(Arc<Handle>),
    /// The directory.
    Directory,
}

/// Writes derived files.
pub struct Saver {
    queue: Mutex<Option<SyncSender<Job>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    work: Arc<Work>,
}

struct Work {
    files: Option<DerivedFiles>,
    segments: Arc<Segments>,
    directory: Arc<Directory>,
    /// Whether there is so much free disk that derived files may be written.
    disk: DiskGauge,
}

impl Saver {
    /// Starts the thread.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(
        files: Option<DerivedFiles>,
        segments: Arc<Segments>,
        directory: Arc<Directory>,
        disk: DiskGauge,
    ) -> std::io::Result<Self> {
        let work = Arc::new(Work { files, segments, directory, disk });
        let (sender, receiver) = sync_channel(QUEUE);
        let thread = std::thread::Builder::new().name("saver".to_owned()).spawn({
            let work = Arc::clone(&work);
            move || work.run(&receiver)
        })?;
        Ok(Self { queue: Mutex::new(Some(sender)), thread: Mutex::new(Some(thread)), work })
    }

    /// Asks for a stream to be saved, unless it is about to be.
    pub fn stream(&self, handle: &Arc<Handle>) {
        if handle.begin_saving() && !self.send(Job::Stream(Arc::clone(handle))) {
            handle.end_saving();
        }
    }

    /// Asks for the directory to be saved.
    pub fn directory(&self) {
        self.send(Job::Directory);
    }

    fn send(&self, job: Job) -> bool {
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.as_ref().is_some_and(|queue| queue.try_send(job).is_ok())
    }

    /// Saves what a stream has that no file has, now. Blocks.
    pub fn stream_now(&self, handle: &Handle) {
        self.work.stream(handle);
    }

    /// Saves what is queued, then every stream that has enough to save, and the directory. Blocks.
    pub fn stop(&self, streams: &[Arc<Handle>]) {
        drop(self.queue.lock().unwrap_or_else(PoisonError::into_inner).take());
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("the thread that writes derived files panicked");
        }
        for handle in streams.iter().filter(|handle| handle.unsaved() >= SAVEPOINT_EVENTS_AT_STOP) {
            self.work.stream(handle);
        }
        self.work.directory();
    }
}

impl Work {
    fn run(&self, queue: &Receiver<Job>) {
        while let Ok(job) = queue.recv() {
            match job {
                Job::Stream(handle) => {
                    self.stream(&handle);
                    handle.end_saving();
                }
                Job::Directory => self.directory(),
            }
        }
    }

    /// Where files go, if there is room for them.
    fn files(&self) -> Option<&DerivedFiles> {
        self.files.as_ref().filter(|_| (self.disk)())
    }

    fn stream(&self, handle: &Handle) {
        let Some(files) = self.files() else { return };
        let waiting = handle.index().all_waiting();
        for segment in waiting {
            if self.segments.write(&segment, handle.stream()) {
                handle.index_mut().written(segment.number());
            }
        }
        let (view, open) = {
            // Nothing is published while the index is held: both are of one version.
            let index = handle.index();
            (handle.view(), index.open().clone())
        };
        if handle.unsaved() == 0 {
            return;
        }
        let name = |place| FileName { kind: Kind::Open, stream: view.stream, place };
        let saved = savepoint::write(files, &view)
            .and_then(|()| files.write(name(view.version()), view.head, &sections(&open)))
            .and_then(|()| remove_older(files, name(view.version())));
        match saved {
            Ok(()) => handle.saved(view.version()),
            Err(error) => tracing::warn!(stream = %view.stream, %error, "a savepoint could not be written"),
        }
    }

    fn directory(&self) {
        let Some(files) = self.files() else { return };
        if let Err(error) = self.directory.save(files) {
            tracing::warn!(%error, "the directory could not be saved");
        }
    }
}

/// Only the newest index of what fills no segment yet is of use. A newer one than this is of a stream that was let go
/// and loaded again before this was written.
fn remove_older(files: &DerivedFiles, keep: FileName) -> std::io::Result<()> {
    let places: Vec<Version> = files.places(keep.kind, keep.stream)?;
    for place in places.into_iter().filter(|place| *place < keep.place) {
        files.remove(FileName { place, ..keep })?;
    }
    Ok(())
}
