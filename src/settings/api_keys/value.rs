//! The values of API keys, checked: what a key can be limited to, and how keys of a mode begin.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::clock::Timestamp;
use crate::ids::{CustomerId, EnvironmentId};
use crate::settings::environments::event::Mode;

/// The most customers that a key is limited to.
pub const OWN_CUSTOMERS_MAX: usize = 100;
/// The most environments that a key can be limited to.
pub const ENVIRONMENTS_MAX: usize = 100;
/// The most networks that a key can be limited to.
pub const CIDRS_MAX: usize = 100;
/// The most requests that a rate limit can allow.
pub const REQUESTS_MAX: u32 = 1_000_000;
/// The longest window of a rate limit, in seconds: a day.
pub const WINDOW_SECONDS_MAX: u32 = 86_400;
/// The longest time for which a rotated key's old value is accepted, in seconds: a week.
pub const GRACE_SECONDS_MAX: u32 = 604_800;

/// How keys of either mode begin.
pub const PREFIXES: &[&str] = &["fastn_test_", "fastn_live_"];

/// How keys of a mode begin.
pub fn prefix(mode: Mode) -> &'static str {
    match mode {
        Mode::Test => PREFIXES[0],
        Mode::Live => PREFIXES[1],
    }
}

/// What a key is limited to; what is absent is no limit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// These environments instead of all of its mode.
    pub environments: Option<Vec<EnvironmentId>>,
    /// These customers.
    pub customers: Option<Vec<CustomerId>>,
    /// The time before this.
    pub expires_at: Option<Timestamp>,
    /// Addresses in these networks.
    pub allowed_cidrs: Option<Vec<IpNet>>,
    /// So many requests in a time.
    pub rate_limit: Option<RateLimit>,
}

impl Limits {
    /// No limit.
    pub const NONE: Self =
        Self { environments: None, customers: None, expires_at: None, allowed_cidrs: None, rate_limit: None };

    /// Whether whoever has these limits stays within others: wherever those limit, these do, as narrowly.
    pub fn are_within(&self, others: &Self) -> bool {
        fn is_within<T>(own: Option<&T>, other: Option<&T>, within: impl Fn(&T, &T) -> bool) -> bool {
            other.is_none_or(|other| own.is_some_and(|own| within(own, other)))
        }
        fn all<T>(own: &[T], of: &[T], is: impl Fn(&T, &T) -> bool) -> bool {
            own.iter().all(|one| of.iter().any(|other| is(one, other)))
        }
        let (environments, of) = (self.environments.as_ref(), others.environments.as_ref());
        let (customers, of_customers) = (self.customers.as_ref(), others.customers.as_ref());
        let (cidrs, of_cidrs) = (self.allowed_cidrs.as_ref(), others.allowed_cidrs.as_ref());
        is_within(environments, of, |own, of| all(own, of, PartialEq::eq))
            && is_within(customers, of_customers, |own, of| all(own, of, PartialEq::eq))
            && is_within(cidrs, of_cidrs, |own, of| all(own, of, |one, other| other.contains(one)))
            && is_within(self.expires_at.as_ref(), others.expires_at.as_ref(), |own, of| own <= of)
            && is_within(self.rate_limit.as_ref(), others.rate_limit.as_ref(), |own, of| own.is_within(*of))
    }

    /// Whether a client's address is among those that are allowed; one that is not known is not.
    pub fn allow_address(&self, address: Option<IpAddr>) -> bool {
        self.allowed_cidrs.as_ref().is_none_or(|networks| {
            address.is_some_and(|address| networks.iter().any(|network| network.contains(&address)))
        })
    }
}

/// How often a key may be used: so many requests in each window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RateLimit {
    /// The most requests of a window: 1 to 1,000,000.
    #[schema(minimum = 1, maximum = 1_000_000)]
    pub requests: u32,
    /// How long a window is, in seconds: 1 to 86,400.
    #[schema(minimum = 1, maximum = 86_400)]
    pub window_seconds: u32,
}

impl RateLimit {
    /// Whether both numbers are ones that a limit can have.
    pub fn is_valid(self) -> bool {
        (1..=REQUESTS_MAX).contains(&self.requests) && (1..=WINDOW_SECONDS_MAX).contains(&self.window_seconds)
    }

    /// Whether it never allows more than another: no more requests, in no shorter a window.
    pub fn is_within(self, other: Self) -> bool {
        self.requests <= other.requests && self.window_seconds >= other.window_seconds
    }
}

/// The text is no network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected an address or a network such as 192.0.2.0/24 or 2001:db8::/32")]
pub struct InvalidNetwork;

/// A network as text; an address is the network of it alone, and what is behind the prefix is dropped.
///
/// # Errors
/// [`InvalidNetwork`]; of IPv4 addresses in IPv6's form, too, since clients' addresses are never compared in that form.
pub fn network(text: &str) -> Result<IpNet, InvalidNetwork> {
    let network = match text.parse::<IpNet>() {
        Ok(network) => network.trunc(),
        Err(_) => text.parse::<IpAddr>().map(IpNet::from).map_err(|_| InvalidNetwork)?,
    };
    if network.addr().to_canonical() == network.addr() { Ok(network) } else { Err(InvalidNetwork) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::given::{id, now};

    fn networks(texts: &[&str]) -> Option<Vec<IpNet>> {
        Some(texts.iter().map(|text| network(text).unwrap()).collect())
    }

    #[test]
    fn a_network_is_read_and_shortened_to_its_prefix() {
        let shown = |text| network(text).map(|network| network.to_string());
        assert_eq!(shown("192.0.2.7/24").as_deref(), Ok("192.0.2.0/24"));
        assert_eq!(shown("192.0.2.7").as_deref(), Ok("192.0.2.7/32"));
        assert_eq!(shown("2001:db8::1/32").as_deref(), Ok("2001:db8::/32"));
        for text in ["", "192.0.2.0/33", "example.com", "::ffff:192.0.2.0/120", "192.0.2.0/24 "] {
            assert_eq!(network(text), Err(InvalidNetwork), "{text}");
        }
    }

    #[test]
    fn an_address_is_allowed_where_a_network_has_it() {
        let limits = Limits { allowed_cidrs: networks(&["192.0.2.0/24", "2001:db8::/32"]), ..Limits::NONE };
        for (address, allowed) in
            [("192.0.2.9", true), ("192.0.3.9", false), ("2001:db8::9", true), ("2001:db9::9", false)]
        {
            assert_eq!(limits.allow_address(address.parse().ok()), allowed, "{address}");
        }
        assert!(!limits.allow_address(None));
        assert!(Limits::NONE.allow_address(None));
    }

    #[test]
    fn limits_are_within_others_where_each_is() {
        let rate = |requests, window_seconds| Some(RateLimit { requests, window_seconds });
        let narrow = Limits {
            environments: Some(vec![id(1)]),
            customers: Some(vec![id(1)]),
            expires_at: Some(now()),
            allowed_cidrs: networks(&["192.0.2.0/25"]),
            rate_limit: rate(10, 60),
        };
        let wide = Limits {
            environments: Some(vec![id(1), id(2)]),
            customers: Some(vec![id(1), id(2)]),
            expires_at: Some(now().plus_seconds(1)),
            allowed_cidrs: networks(&["192.0.2.0/24"]),
            rate_limit: rate(11, 60),
        };
        assert!(narrow.are_within(&wide) && narrow.are_within(&narrow) && wide.are_within(&Limits::NONE));
        assert!(!wide.are_within(&narrow) && !Limits::NONE.are_within(&narrow));
        for wider in [
            Limits { environments: None, ..narrow.clone() },
            Limits { environments: Some(vec![id(1), id(3)]), ..narrow.clone() },
            Limits { customers: None, ..narrow.clone() },
            Limits { expires_at: None, ..narrow.clone() },
            Limits { expires_at: Some(now().plus_seconds(2)), ..narrow.clone() },
            Limits { allowed_cidrs: None, ..narrow.clone() },
            Limits { allowed_cidrs: networks(&["192.0.2.0/25", "10.0.0.0/8"]), ..narrow.clone() },
            Limits { rate_limit: None, ..narrow.clone() },
            Limits { rate_limit: rate(12, 600), ..narrow.clone() },
            Limits { rate_limit: rate(1, 59), ..narrow.clone() },
        ] {
            assert!(!wider.are_within(&wide), "{wider:?}");
        }
    }
}
