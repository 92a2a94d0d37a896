//! [`Watch`]: waiting for values to change.
//!
//! A watcher is told that something changed, and asks what there is now. It asks anew whenever a stream begins, too:
//! so it goes on after a drop without a gap, from the values themselves, and needs to remember no event.

use std::time::Duration;

use crate::causes::with_causes;
use crate::client::Ctx;
use crate::client::error::ClientError;
use crate::client::events::Events;
use crate::client::values::Values;

/// What gives values as they change, over every interruption.
pub struct Watch {
    ctx: Ctx,
    /// The version of the values that its owner has.
    told: String,
    stream: Option<Events>,
    /// Whether there may be other values than those told.
    due: bool,
    pause: Pause,
}

impl Watch {
    pub(super) fn new(ctx: Ctx, known: &Values) -> Self {
        Self { ctx, told: known.version().to_owned(), stream: None, due: false, pause: Pause::default() }
    }

    /// Waits until there are other values than those given last. While the server is away it waits on, and tries again
    /// after pauses that grow to half a minute. Can be cancelled without losing anything.
    ///
    /// # Errors
    /// When the server refuses for good, as a key that was revoked.
    pub async fn next(&mut self) -> Result<Values, ClientError> {
        loop {
            match self.step().await {
                Ok(Some(values)) => return Ok(values),
                Ok(None) => {}
                Err(error) if error.is_passing() => {
                    self.stream = None;
                    self.pause.take(&self.ctx, &error).await;
                }
                Err(error) => {
                    self.stream = None;
                    return Err(error);
                }
            }
        }
    }

    async fn step(&mut self) -> Result<Option<Values>, ClientError> {
        let Some(stream) = &mut self.stream else {
            self.stream = Some(self.ctx.events().await?);
            self.due = true;
            return Ok(None);
        };
        if !self.due {
            stream.next(self.ctx.api()).await?;
            self.due = true;
        }
        let values = self.ctx.confirmed().await?;
        self.due = false;
        self.pause.over();
        if values.version() == self.told {
            return Ok(None);
        }
        values.version().clone_into(&mut self.told);
        Ok(Some(values))
    }
}

/// The pause before the next try.
#[derive(Default)]
struct Pause {
    tries: u32,
}

impl Pause {
    const FIRST: Duration = Duration::from_millis(250);
    const LONGEST: Duration = Duration::from_secs(30);

    /// The longest that the next pause may be: each is twice the one before, up to a bound.
    fn longest(&self) -> Duration {
        Self::FIRST.saturating_mul(1 << self.tries.min(16)).min(Self::LONGEST)
    }

    /// Waits: between half of the longest pause and all of it, so that a thousand watchers of a server that starts
    /// again do not come at once.
    async fn take(&mut self, ctx: &Ctx, why: &ClientError) {
        if self.tries == 1 {
            // Once is a restart; from the second time on somebody may want to know.
            tracing::warn!(
                error = with_causes(why),
                "the server cannot be watched; trying again until it can"
            );
        }
        let span = self.longest().mul_f64(rand::random_range(0.5..=1.0));
        self.tries += 1;
        ctx.api().clock.sleep(span).await;
    }

    fn over(&mut self) {
        if self.tries > 1 {
            tracing::warn!("the server is watched again");
        }
        self.tries = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_bound_and_begin_anew() {
        let mut pause = Pause::default();
        let mut longest = Vec::new();
        for _ in 0..9 {
            longest.push(pause.longest().as_millis());
            pause.tries += 1;
        }
        assert_eq!(longest, [250, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]);
        pause.tries = u32::MAX;
        assert_eq!(pause.longest(), Pause::LONGEST);
        pause.over();
        assert_eq!(pause.longest(), Pause::FIRST);
    }
}
