//! Ratios: of one measurement to the references around it, and of many to each other.

use anyhow::{Result, ensure};
use serde::Serialize;

/// One measurement with the references just before and just after it.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Cell {
    /// The reference before.
    pub before: f64,
    /// The work.
    pub work: f64,
    /// The reference after.
    pub after: f64,
    /// The work over the mean of the references.
    pub ratio: f64,
}

impl Cell {
    /// The cell of three measurements, all above zero.
    ///
    /// # Errors
    /// When one is not a number above zero: whatever was measured did not run.
    pub fn new(before: f64, work: f64, after: f64) -> Result<Self> {
        for number in [before, work, after] {
            ensure!(number.is_finite() && number > 0.0, "measured {number}: nothing ran");
        }
        Ok(Self { before, work, after, ratio: work / before.midpoint(after) })
    }
}

/// What several rounds gave.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// The least ratio.
    pub min: f64,
    /// The middle one; of an even number, the mean of the middle two.
    pub median: f64,
    /// The greatest ratio.
    pub max: f64,
}

impl Summary {
    /// Of at least one cell; of none, all zeros.
    pub fn of(cells: &[Cell]) -> Self {
        let mut ratios: Vec<_> = cells.iter().map(|cell| cell.ratio).collect();
        ratios.sort_by(f64::total_cmp);
        let (Some(min), Some(max)) = (ratios.first(), ratios.last()) else {
            return Self { min: 0.0, median: 0.0, max: 0.0 };
        };
        let middle = ratios.len() / 2;
        let below = if ratios.len().is_multiple_of(2) { middle - 1 } else { middle };
        Self { min: *min, median: ratios[below].midpoint(ratios[middle]), max: *max }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(works: &[f64]) -> Summary {
        let cells: Vec<_> = works.iter().map(|work| Cell::new(1.0, *work, 1.0).unwrap()).collect();
        Summary::of(&cells)
    }

    #[test]
    fn the_median_is_the_middle_one_or_the_mean_of_the_middle_two() {
        assert_eq!(summary(&[0.5, 0.1, 0.3]), Summary { min: 0.1, median: 0.3, max: 0.5 });
        assert_eq!(summary(&[4.0, 1.0, 3.0, 2.0]), Summary { min: 1.0, median: 2.5, max: 4.0 });
        assert_eq!(summary(&[2.0]), Summary { min: 2.0, median: 2.0, max: 2.0 });
    }

    #[test]
    fn a_measurement_of_nothing_is_refused() {
        for number in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(Cell::new(1.0, number, 1.0).is_err(), "{number}");
            assert!(Cell::new(number, 1.0, 1.0).is_err(), "{number}");
        }
    }
}
