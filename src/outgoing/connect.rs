//! From a host to a connection: its name is looked up once, every address is checked, and one of those that were checked
//! is connected to.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use url::Host;

use crate::outgoing::address::is_public;
use crate::outgoing::endpoint::Endpoint;
use crate::outgoing::{Guard, OutgoingError};

/// How many of a host's addresses are tried.
const TRIED_MAX: usize = 4;

/// A future of a trait's method.
pub type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A connection, whatever it goes over.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Finds out which addresses a name has.
pub trait Resolve: Send + Sync {
    /// The addresses of a name.
    fn resolve<'a>(&'a self, name: &'a str) -> Boxed<'a, io::Result<Vec<IpAddr>>>;
}

/// Opens connections. It is asked for nothing that was not checked: the last step before a packet leaves.
pub trait Connect: Send + Sync {
    /// A connection to an address.
    fn connect(&self, address: SocketAddr) -> Boxed<'_, io::Result<Box<dyn Stream>>>;
}

/// Name service and TCP as the system has them.
#[derive(Clone, Copy, Debug)]
pub struct System;

impl Resolve for System {
    fn resolve<'a>(&'a self, name: &'a str) -> Boxed<'a, io::Result<Vec<IpAddr>>> {
        Box::pin(async move { Ok(lookup_host((name, 0)).await?.map(|found| found.ip()).collect()) })
    }
}

impl Connect for System {
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
    resolver: &dyn Resolve,
    connector: &dyn Connect,
    endpoint: &Endpoint,
) -> Result<Box<dyn Stream>, OutgoingError> {
    let addresses = match endpoint.host() {
        Host::Ipv4(address) => vec![IpAddr::V4(*address)],
        Host::Ipv6(address) => vec![IpAddr::V6(*address)],
        Host::Domain(name) => resolver.resolve(name).await.map_err(|_| OutgoingError::Unresolved)?,
    };
    if addresses.is_empty() {
        return Err(OutgoingError::Unresolved);
    }
    if !addresses.iter().all(|address| lets_through(guard, endpoint, *address)) {
        return Err(OutgoingError::NotPublic);
    }
    for address in addresses.into_iter().take(TRIED_MAX) {
        if let Ok(stream) = connector.connect(SocketAddr::new(address, endpoint.port())).await {
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
