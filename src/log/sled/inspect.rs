//! A log that does not open, or whose head file says nothing: what it holds all the same. Nothing is cut, and the head
//! file stays as it is.

use super::engine::drop_engine;
use super::open::{OpenError, SledOptions, check_identity};
use super::recover;
use crate::log::Position;

/// What a log holds without a gap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// The position of the last frame.
    pub end: Position,
    /// How many streams there are.
    pub streams: usize,
    /// What is wrong with what lies beyond the end, if anything does.
    pub beyond: Option<String>,
}

/// Opens sled and follows its log, whatever the head file says. The caller holds the data directory's lock.
///
/// # Errors
/// When sled does not open, or the log is another store's.
pub fn inspect(options: &SledOptions) -> Result<Held, OpenError> {
    let engine = options.engine();
    let db = engine.open(&*options.durability, &mut Vec::new())?;
    check_identity(options, &engine, &db)?;
    let failed =
        |source: std::io::Error| OpenError::Engine { dir: engine.dir.clone(), what: source.to_string() };
    let survey = recover::survey(&db, Position(0), None).map_err(failed)?;
    drop_engine(db).map_err(failed)?;
    Ok(Held {
        end: survey.heads.end(),
        streams: survey.heads.iter().count(),
        beyond: survey.rest.map(|rest| rest.why),
    })
}
