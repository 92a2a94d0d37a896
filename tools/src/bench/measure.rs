//! Measuring rows: interleaved over rounds, each work between two references.

use anyhow::{Context as _, Result};
use serde::Serialize;

use super::Row;
use super::ratio::{Cell, Summary};
use crate::run::say;

/// What one of those who do a row's work came to.
#[derive(Clone, Debug, Serialize)]
pub struct Series {
    /// Who.
    pub name: String,
    /// Minimum, median and maximum of the ratios.
    pub ratio: Summary,
    /// Every measurement.
    pub cells: Vec<Cell>,
    /// What else was seen, in absolute numbers.
    pub details: Vec<String>,
    /// Why there is no more of it.
    pub failed: Option<String>,
}

impl Series {
    fn of(name: &str) -> Self {
        let ratio = Summary::of(&[]);
        Self { name: name.to_owned(), ratio, cells: Vec::new(), details: Vec::new(), failed: None }
    }

    fn fail(&mut self, error: &anyhow::Error) {
        say(&format!("{} failed: {error:#}", self.name));
        self.failed = Some(format!("{error:#}"));
    }
}

/// The name of what the benches are about.
pub const SETTLED: &str = "Settled";

/// Measures every row once a round: reference, work, reference; and so on with each of its peers. What fails is not
/// measured again; the rest is.
pub fn measure(rows: &mut [Box<dyn Row>], rounds: u32) -> Vec<Vec<Series>> {
    let mut measured: Vec<Vec<Series>> = rows.iter_mut().map(|row| series(&mut **row)).collect();
    for round in 1..=rounds {
        for (row, series) in rows.iter_mut().zip(&mut measured) {
            if series.iter().all(|one| one.failed.is_some()) {
                continue;
            }
            say(&format!("round {round} of {rounds}: {}", row.name()));
            if let Err(error) = one_round(&mut **row, series) {
                // Without a reference nobody can be held against it.
                series.iter_mut().for_each(|one| one.fail(&error));
            }
        }
    }
    for (row, series) in rows.iter_mut().zip(&mut measured) {
        series[0].details = row.details();
        for (peer, series) in row.peers().iter_mut().zip(&mut series[1..]) {
            series.details = peer.details();
        }
        for one in series {
            one.ratio = Summary::of(&one.cells);
        }
    }
    measured
}

fn series(row: &mut dyn Row) -> Vec<Series> {
    let peers: Vec<_> = row.peers().iter().map(|peer| Series::of(peer.name())).collect();
    std::iter::once(Series::of(SETTLED)).chain(peers).collect()
}

fn one_round(row: &mut dyn Row, series: &mut [Series]) -> Result<()> {
    let reference = |row: &mut dyn Row| row.reference().with_context(|| row.reference_name());
    let mut before = reference(row)?;
    for (at, series) in series.iter_mut().enumerate() {
        if series.failed.is_some() {
            continue;
        }
        let work = match at.checked_sub(1) {
            None => row.work(),
            Some(peer) => row.peers()[peer].work(),
        };
        let after = reference(row)?;
        match work.and_then(|work| Cell::new(before, work, after)) {
            Ok(cell) => series.cells.push(cell),
            Err(error) => series.fail(&error),
        }
        before = after;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use anyhow::bail;

    use super::*;
    use crate::bench::Peer;

    type Order = Rc<RefCell<Vec<String>>>;

    /// A work of 50 against references that rise by one at each measurement, from 99.
    struct Rising {
        name: &'static str,
        reference: f64,
        order: Order,
        peers: Vec<Box<dyn Peer>>,
    }

    impl Row for Rising {
        fn name(&self) -> &'static str {
            self.name
        }

        fn reference_name(&self) -> &'static str {
            "nothing"
        }

        fn goal(&self) -> f64 {
            0.49
        }

        fn limit(&self) -> &'static str {
            "the work"
        }

        fn reference(&mut self) -> Result<f64> {
            self.order.borrow_mut().push(format!("{} reference", self.name));
            self.reference += 1.0;
            Ok(self.reference)
        }

        fn work(&mut self) -> Result<f64> {
            self.order.borrow_mut().push(self.name.to_owned());
            if self.name == "broken" { bail!("it broke") } else { Ok(50.0) }
        }

        fn peers(&mut self) -> &mut [Box<dyn Peer>] {
            &mut self.peers
        }
    }

    /// Somebody else, at half of it.
    struct Half {
        order: Order,
        breaks: bool,
    }

    impl Peer for Half {
        fn name(&self) -> &str {
            "half"
        }

        fn work(&mut self) -> Result<f64> {
            self.order.borrow_mut().push("half".to_owned());
            if self.breaks { bail!("it broke") } else { Ok(25.0) }
        }
    }

    fn row(name: &'static str, order: &Order, peers: Vec<Box<dyn Peer>>) -> Box<dyn Row> {
        Box::new(Rising { name, reference: 98.0, order: Rc::clone(order), peers })
    }

    fn half(order: &Order, breaks: bool) -> Vec<Box<dyn Peer>> {
        vec![Box::new(Half { order: Rc::clone(order), breaks })]
    }

    #[test]
    fn rounds_are_interleaved_and_references_stand_before_and_after_each_cell() {
        let order = Order::default();
        measure(&mut [row("a", &order, Vec::new()), row("b", &order, half(&order, false))], 2);
        let a = ["a reference", "a", "a reference"];
        let b = ["b reference", "b", "b reference", "half", "b reference"];
        let round = [&a[..], &b[..]].concat();
        assert_eq!(order.take(), [round.clone(), round].concat());
    }

    #[test]
    fn a_ratio_is_held_against_the_mean_of_both_references() {
        let order = Order::default();
        let measured = measure(&mut [row("a", &order, half(&order, false))], 1);
        let [settled, peer] = &measured[0][..] else { panic!("there are two") };
        assert_eq!((settled.cells[0].before, settled.cells[0].after), (99.0, 100.0));
        assert!((settled.ratio.median - 50.0 / 99.5).abs() < 1e-12);
        assert_eq!((peer.cells[0].before, peer.cells[0].after), (100.0, 101.0));
        assert!((peer.ratio.median - 25.0 / 100.5).abs() < 1e-12);
    }

    #[test]
    fn what_fails_is_said_and_keeps_nothing_else_from_being_measured() {
        let order = Order::default();
        let mut rows = [row("broken", &order, half(&order, false)), row("a", &order, half(&order, true))];
        let measured = measure(&mut rows, 2);
        assert_eq!(measured[0][0].failed.as_deref(), Some("it broke"));
        assert_eq!((measured[0][1].cells.len(), &measured[0][1].failed), (2, &None));
        assert_eq!((measured[1][0].cells.len(), &measured[1][0].failed), (2, &None));
        assert_eq!(measured[1][1].failed.as_deref(), Some("it broke"));
        let tried = order.take();
        let times = |name: &str| tried.iter().filter(|tried| *tried == name).count();
        assert_eq!((times("broken"), times("a"), times("half")), (1, 2, 3), "what failed is not tried again");
    }
}
