//! The saver: a thread that writes derived files in the background, so that neither the writer nor a request waits for
//! them. What it misses (a full queue, a full disk, a crash) is folded from the log later.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use crate::log::segment::Segment;
use crate::log::segment::copying::Copying;
use crate::store::DiskGauge;
use crate::store::derived::{DerivedFiles, FileName, Kind};
use crate::store::directory::Directory;
use crate::store::resident::{Handle, View};
use crate::store::savepoint::{SAVEPOINT_EVENTS_AT_STOP, Savepoints};
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
    sources: Arc<Sources>,
}

/// What is saved, and where.
pub struct Sources {
    /// The savepoints, and where all other files go; without, nothing is saved.
    pub savepoints: Option<Arc<Savepoints>>,
    /// Full segments.
    pub segments: Arc<Segments>,
    /// The directory.
    pub directory: Arc<Directory>,
    /// Whether there is so much free disk that derived files may be written.
    pub disk: DiskGauge,
}

impl Saver {
    /// Starts the thread.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(sources: Sources) -> std::io::Result<Self> {
        let sources = Arc::new(sources);
        let (sender, receiver) = sync_channel(QUEUE);
        let thread = std::thread::Builder::new().name("saver".to_owned()).spawn({
            let sources = Arc::clone(&sources);
            move || sources.run(&receiver)
        })?;
        Ok(Self { queue: Mutex::new(Some(sender)), thread: Mutex::new(Some(thread)), sources })
    }

    /// Asks for a stream to be saved, unless it is about to be.
    pub fn stream(&self, handle: &Arc<Handle>) {
        if handle.begin_saving() && !self.send(Job::Stream(Arc::clone(handle))) {
            handle.end_saving();
        }
    }

    /// Asks for streams that leave the memory to be saved, as far as that is worth it.
    pub fn let_go(&self, handles: &[Arc<Handle>]) {
        for handle in handles {
            self.sources.savepoints.iter().for_each(|savepoints| savepoints.forget(handle.stream()));
            if handle.unsaved() >= SAVEPOINT_EVENTS_AT_STOP {
                self.stream(handle);
            }
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
        self.sources.stream(handle);
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
            self.sources.stream(handle);
        }
        self.sources.directory();
    }
}

impl Sources {
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
    fn savepoints(&self) -> Option<&Savepoints> {
        self.savepoints.as_deref().filter(|_| (self.disk)())
    }

    fn stream(&self, handle: &Handle) {
        let Some(savepoints) = self.savepoints() else { return };
        let waiting = handle.index().all_waiting();
        for segment in waiting {
            if self.segments.write(&segment, handle.stream()) {
                handle.index_mut().written(segment.number());
            }
        }
        let (view, copying) = {
            // Nothing is published while the index is held: both are of one version.
            let index = handle.index();
            (handle.view(), Copying::of(index.open()))
        };
        if handle.unsaved() == 0 {
            return;
        }
        let saved = savepoints.write(&view).and_then(|bytes| {
            if let Some(open) = copy(handle, copying) {
                write_open(savepoints.files(), &view, &open)?;
            }
            Ok(bytes)
        });
        match saved {
            Ok(bytes) => handle.saved(view.version(), bytes),
            Err(error) => tracing::warn!(stream = %view.stream, %error, "a savepoint could not be written"),
        }
    }

    fn directory(&self) {
        let Some(savepoints) = self.savepoints() else { return };
        if let Err(error) = self.directory.save(savepoints.files()) {
            tracing::warn!(%error, "the directory could not be saved");
        }
    }
}

/// Copies an open segment as it was when the copy was begun. The index is held for a piece at a time, so that the writer
/// waits for no more than that. `None` where it is full by now, and in a file.
fn copy(handle: &Handle, mut copying: Copying) -> Option<Segment> {
    loop {
        let index = handle.index();
        if !copying.piece(index.in_memory(copying.number())?) {
            return Some(copying.finish());
        }
    }
}

/// Writes the index of what fills no segment yet. Only the newest is of use. A newer one than this is of a stream that
/// was let go and loaded again before this was written.
fn write_open(files: &DerivedFiles, view: &View, open: &Segment) -> std::io::Result<()> {
    let name = |place| FileName { kind: Kind::Open, stream: view.stream, place };
    files.write(name(view.version()), view.head, &sections(open))?;
    let places = files.places(Kind::Open, view.stream)?;
    places.into_iter().filter(|place| *place < view.version()).try_for_each(|place| files.remove(name(place)))
}
