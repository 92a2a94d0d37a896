//! Which connections may be open: how many in all, how many of one network, and which one gives way to a new one.
//!
//! What gives way is the connection that has been without a request the longest: one that is kept alive and idle, or
//! one whose first request does not come whole. So neither a client that keeps what it does not use, nor one that
//! sends a byte every few seconds, takes another's place; and a request that has come is never given up.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use tokio::sync::Notify;
use tokio::task::Id;

use crate::http::client::{Peer, network};
use crate::http::limits::Limits;
use crate::http::timed::Phase;

/// How many connections that were told to leave may still be there. They leave at once, unless a request came that
/// very moment.
const LEAVING_MAX: usize = 64;

/// The connections of one listener. Only the loop that accepts them has it, so there is no lock.
pub(super) struct Connections {
    open: HashMap<Id, Open>,
    leaving: usize,
    limits: Arc<Limits>,
}

struct Open {
    phase: Phase,
    network: Option<IpAddr>,
    leave: Arc<Notify>,
    is_leaving: bool,
}

/// A connection may be opened; what it is counted as.
pub(super) struct Place {
    network: Option<IpAddr>,
    /// That another one gave way to it.
    pub(super) given: bool,
}

impl Connections {
    pub(super) fn new(limits: Arc<Limits>) -> Self {
        Self { open: HashMap::new(), leaving: 0, limits }
    }

    /// A place for a connection of this peer, for which another one may have been told to leave; `None` where all
    /// that are open have a request.
    pub(super) fn place(&mut self, peer: Peer) -> Option<Place> {
        let network = self.counted_network(peer);
        let of_network = |open: &&mut Open| network.is_some() && open.network == network;
        let staying = self.open.len() - self.leaving;
        let same = self.open.values().filter(|open| !open.is_leaving && open.network == network).count();
        let given = if network.is_some() && same >= self.limits.connections_per_network {
            self.tell_one_to_leave(of_network)?;
            true
        } else if staying >= self.limits.connections {
            self.tell_one_to_leave(|_| true)?;
            true
        } else {
            false
        };
        Some(Place { network, given })
    }

    /// Notes that a connection was opened, as the task of this id. It is told to leave through what this returns.
    pub(super) fn opened(&mut self, task: Id, place: Place, phase: Phase, leave: Arc<Notify>) {
        self.open.insert(task, Open { phase, network: place.network, leave, is_leaving: false });
    }

    /// Notes that the task of this id ended.
    pub(super) fn ended(&mut self, task: Id) {
        if self.open.remove(&task).is_some_and(|open| open.is_leaving) {
            self.leaving -= 1;
        }
    }

    /// Tells all to leave: each finishes the request that it has.
    pub(super) fn leave(&self) {
        for open in self.open.values() {
            open.leave.notify_one();
        }
    }

    fn tell_one_to_leave(&mut self, may: impl FnMut(&&mut Open) -> bool) -> Option<()> {
        if self.leaving >= LEAVING_MAX {
            return None;
        }
        let candidates = self.open.values_mut().filter(|open| !open.is_leaving).filter(may);
        let free = candidates.filter_map(|open| Some((open.phase.free_since()?, open)));
        let (_, longest) = free.min_by_key(|(since, _)| *since)?;
        longest.is_leaving = true;
        longest.leave.notify_one();
        self.leaving += 1;
        Some(())
    }

    /// The network that a peer is counted in: none for a proxy, behind which many clients stand.
    fn counted_network(&self, peer: Peer) -> Option<IpAddr> {
        let Peer::Tcp(address) = peer else { return None };
        let ip = address.ip().to_canonical();
        let is_proxy = self.limits.proxies.iter().any(|proxies| proxies.contains(&ip));
        (!is_proxy).then(|| network(ip))
    }
}
