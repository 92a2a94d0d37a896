//! The signals that `settled run` passes on to its command.

use std::future::poll_fn;
use std::str::FromStr;
use std::task::Poll;

use rustix::process::Signal;
use tokio::signal::unix::{self, SignalKind, signal};

/// Those that somebody sends to a program to end it, or to tell it something.
const PASSED_ON: [(&str, Signal); 6] = [
    ("HUP", Signal::HUP),
    ("INT", Signal::INT),
    ("QUIT", Signal::QUIT),
    ("TERM", Signal::TERM),
    ("USR1", Signal::USR1),
    ("USR2", Signal::USR2),
];

/// Signals to this process, as they come.
pub struct Signals(Vec<(Signal, unix::Signal)>);

impl Signals {
    /// Listens from now on; none of them ends this process any more.
    ///
    /// # Errors
    /// When the system does not let us.
    pub fn listen() -> std::io::Result<Self> {
        let listen = |(_, passed): (_, Signal)| Ok((passed, signal(SignalKind::from_raw(passed.as_raw()))?));
        PASSED_ON.into_iter().map(listen).collect::<std::io::Result<_>>().map(Self)
    }

    /// Waits for the next one.
    pub async fn next(&mut self) -> Signal {
        poll_fn(|context| {
            let come = self.0.iter_mut().find_map(|(passed, stream)| {
                matches!(stream.poll_recv(context), Poll::Ready(Some(()))).then_some(*passed)
            });
            come.map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }
}

/// Whether a signal asks a program to end.
pub fn asks_to_end(signal: Signal) -> bool {
    matches!(signal, Signal::HUP | Signal::INT | Signal::QUIT | Signal::TERM)
}

/// What happens to the command when its variables change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnChange {
    /// It is ended and started again, with the new ones.
    Restart,
    /// It gets a signal, and reads anew what it wants to know.
    Signal(Signal),
}

impl FromStr for OnChange {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const EXPECTED: &str = "expected restart, or signal= and one of HUP, INT, QUIT, TERM, USR1, USR2";
        if text == "restart" {
            return Ok(Self::Restart);
        }
        let name = text.strip_prefix("signal=").ok_or(EXPECTED)?;
        let found = PASSED_ON.iter().find(|(known, _)| *known == name.trim_start_matches("SIG"));
        found.map(|(_, signal)| Self::Signal(*signal)).ok_or(EXPECTED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happens_on_a_change_is_named() {
        assert_eq!("restart".parse(), Ok(OnChange::Restart));
        assert_eq!("signal=HUP".parse(), Ok(OnChange::Signal(Signal::HUP)));
        assert_eq!("signal=SIGUSR2".parse(), Ok(OnChange::Signal(Signal::USR2)));
        for wrong in ["", "signal", "signal=", "signal=KILL", "signal=hup", "Restart", "HUP"] {
            assert!(wrong.parse::<OnChange>().is_err(), "{wrong}");
        }
    }
}
