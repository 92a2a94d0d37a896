//! Which addresses are public. Pure.
//!
//! The tables are those of IANA's registries of special-purpose addresses (RFC 6890), read the strict way: what is not
//! reachable from everywhere, or leads to another address that is not, is not public.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};

const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)
}

const fn v6(a: u16, b: u16, c: u16, prefix: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0), prefix)
}

/// IPv4 that is not public: <https://www.iana.org/assignments/iana-ipv4-special-registry>.
const NOT_PUBLIC_V4: &[Ipv4Net] = &[
    // This network (RFC 791); Linux takes 0.0.0.0 for itself.
    v4(0, 0, 0, 0, 8),
    // Private use (RFC 1918).
    v4(10, 0, 0, 0, 8),
    v4(172, 16, 0, 0, 12),
    v4(192, 168, 0, 0, 16),
    // Shared by providers and their customers (RFC 6598); some clouds keep metadata there.
    v4(100, 64, 0, 0, 10),
    // Loopback (RFC 1122).
    v4(127, 0, 0, 0, 8),
    // Link-local (RFC 3927): where most clouds keep metadata.
    v4(169, 254, 0, 0, 16),
    // Protocol assignments (RFC 6890); a cloud keeps metadata at 192.0.0.192.
    v4(192, 0, 0, 0, 24),
    // Documentation (RFC 5737).
    v4(192, 0, 2, 0, 24),
    v4(198, 51, 100, 0, 24),
    v4(203, 0, 113, 0, 24),
    // 6to4 relays (RFC 7526).
    v4(192, 88, 99, 0, 24),
    // Benchmarks (RFC 2544).
    v4(198, 18, 0, 0, 15),
    // Multicast (RFC 5771), reserved (RFC 1112) and broadcast.
    v4(224, 0, 0, 0, 4),
    v4(240, 0, 0, 0, 4),
];

/// All of IPv6 that is given out as public: <https://www.iana.org/assignments/ipv6-unicast-address-assignments>. So what is
/// unspecified, loopback, unique local, link-local, mapped, translated at this site alone or multicast lies outside.
const GLOBAL_V6: Ipv6Net = v6(0x2000, 0, 0, 3);

/// What in it is not public: <https://www.iana.org/assignments/iana-ipv6-special-registry>.
const NOT_PUBLIC_V6: &[Ipv6Net] = &[
    // Protocol assignments (RFC 2928): Teredo, benchmarks, ORCHID and more.
    v6(0x2001, 0, 0, 23),
    // Documentation (RFC 3849, RFC 9637).
    v6(0x2001, 0xdb8, 0, 32),
    v6(0x3fff, 0, 0, 20),
    // 6to4 (RFC 3056): it leads to the IPv4 address inside.
    v6(0x2002, 0, 0, 16),
    // The 6bone, given back (RFC 3701).
    v6(0x3ffe, 0, 0, 16),
];

/// The prefix under which a NAT64 reaches IPv4 (RFC 6052): such an address is as public as the one inside.
const NAT64: Ipv6Net = v6(0x64, 0xff9b, 0, 96);

/// Whether an address is reachable from everywhere, and is nobody's own.
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) if NAT64.contains(&address) => {
            let [.., a, b, c, d] = address.octets();
            is_public_v4(Ipv4Addr::new(a, b, c, d))
        }
        IpAddr::V6(address) => {
            GLOBAL_V6.contains(&address) && !NOT_PUBLIC_V6.iter().any(|net| net.contains(&address))
        }
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    !NOT_PUBLIC_V4.iter().any(|net| net.contains(&address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_public_or_not() {
        for public in [
            "8.8.8.8",
            "1.1.1.1",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.1",
            "169.253.255.255",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.0",
            "192.167.255.255",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "2606:4700:4700::1111",
            "2001:4860:4860::8888",
            "64:ff9b::808:808",
        ] {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
        for own in [
            "0.0.0.0",
            "10.255.255.255",
            "100.64.0.0",
            "100.127.255.255",
            "127.255.255.254",
            "169.254.169.254",
            "172.16.0.0",
            "172.31.255.255",
            "192.0.0.192",
            "192.168.255.255",
            "198.19.255.255",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:8.8.8.8",
            "::ffff:127.0.0.1",
            "::127.0.0.1",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::808:808",
            "100::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "3fff::1",
            "4000::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(!is_public(own.parse().unwrap()), "{own}");
        }
    }
}
