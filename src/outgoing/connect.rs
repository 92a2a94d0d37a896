//! From a host to a connection: its name is looked up once, every address is checked, and one of those that were checked
//! is connected to.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use url::Host;

use crate::clock::Clock;
use crate::dns::Dns;
use crate::outgoing::address::is_public;
use crate::outgoing::endpoint::Endpoint;
use crate::outgoing::{Guard, OutgoingError};

/// How many of a host's addresses of each kind are tried: a machine may have no way to those of one kind.
const TRIED_MAX: usize = 2;
/// How long one address has to answer, so that one which is silent leaves time for the others.
const ADDRESS_LONGEST: Duration = Duration::from_secs(2);

/// A future of a trait's method.
pub type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A connection, whatever it goes over.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Finds out which addresses a name has.
pub trait Resolve: Send + Sync {
    /// The addresses of a name; none where it is not known.
    fn resolve<'a>(&'a self, name: &'a str) -> Boxed<'a, Vec<IpAddr>>;
}

/// Opens connections. It is asked for nothing that was not checked: the last step before a packet leaves.
pub trait Connect: Send + Sync {
    /// A connection to an address.
    fn connect(&self, address: SocketAddr) -> Boxed<'_, io::Result<Box<dyn Stream>>>;
}

impl Resolve for Dns {
    fn resolve<'a>(&'a self, name: &'a str) -> Boxed<'a, Vec<IpAddr>> {
        Box::pin(self.addresses(name))
    }
}

/// TCP as the system has it.
#[derive(Clone, Copy, Debug)]
pub struct Tcp;

impl Connect for Tcp {
    fn connect(&self, address: SocketAddr) -> Boxed<'_, io::Result<Box<dyn Stream>>> {
        Box::pin(async move {
            let stream = TcpStream::connect(address).await?;
            Ok(Box::new(stream) as Box<dyn Stream>)
        })
    }
}

/// A connection to an endpoint's host. A host with any address that the guard does not let through is not connected to at
/// all: whoever names it means no good, or its name service lies.
///
/// # Errors
/// [`OutgoingError::Unresolved`], [`OutgoingError::NotPublic`], [`OutgoingError::Unreachable`].
pub async fn connect(
    guard: Guard,
    clock: &Clock,
    resolver: &dyn Resolve,
    connector: &dyn Connect,
    endpoint: &Endpoint,
) -> Result<Box<dyn Stream>, OutgoingError> {
    let addresses = match endpoint.host() {
        Host::Ipv4(address) => vec![IpAddr::V4(*address)],
        Host::Ipv6(address) => vec![IpAddr::V6(*address)],
        // `localhost` is this machine, and no question for DNS (RFC 6761 §6.3).
        Host::Domain(_) if endpoint.is_loopback() => {
            vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]
        }
        Host::Domain(name) => resolver.resolve(name).await,
    };
    if addresses.is_empty() {
        return Err(OutgoingError::Unresolved);
    }
    if !addresses.iter().all(|address| lets_through(guard, endpoint, *address)) {
        return Err(OutgoingError::NotPublic);
    }
    let (v4, v6): (Vec<_>, Vec<_>) = addresses.into_iter().partition(IpAddr::is_ipv4);
    for address in v4.into_iter().take(TRIED_MAX).chain(v6.into_iter().take(TRIED_MAX)) {
        let connecting = connector.connect(SocketAddr::new(address, endpoint.port()));
        if let Ok(Ok(stream)) = clock.timeout(ADDRESS_LONGEST, connecting).await {
            return Ok(stream);
        }
    }
    Err(OutgoingError::Unreachable)
}

/// The loopback is for those that name it: a public name that leads there leads astray.
fn lets_through(guard: Guard, endpoint: &Endpoint, address: IpAddr) -> bool {
    match guard {
        Guard::PublicOrLoopback if endpoint.is_loopback() => address.is_loopback(),
        Guard::Public | Guard::PublicOrLoopback => is_public(address),
        #[cfg(test)]
        Guard::Nothing => true,
    }
}
