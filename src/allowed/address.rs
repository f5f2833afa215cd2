//! Which addresses are of the public internet, and which are somebody's own network or stand for one.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Networks of IPv4 that are not of the public internet (IANA's special-purpose registry).
const SPECIAL_V4: &[([u8; 4], u8)] = &[
    ([0, 0, 0, 0], 8),
    ([10, 0, 0, 0], 8),
    ([100, 64, 0, 0], 10),
    ([127, 0, 0, 0], 8),
    // Link-local, with the metadata services of the clouds at 169.254.169.254.
    ([169, 254, 0, 0], 16),
    ([172, 16, 0, 0], 12),
    ([192, 0, 0, 0], 24),
    ([192, 0, 2, 0], 24),
    ([192, 88, 99, 0], 24),
    ([192, 168, 0, 0], 16),
    ([198, 18, 0, 0], 15),
    ([198, 51, 100, 0], 24),
    ([203, 0, 113, 0], 24),
    ([224, 0, 0, 0], 4),
    ([240, 0, 0, 0], 4),
];

/// Networks inside `2000::/3` that are not of the public internet.
const SPECIAL_V6: &[(Ipv6Addr, u8)] = &[
    // Teredo and other tunnels and protocols.
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23),
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20),
];

/// Gives the address that a packet to this one may end at: an IPv4 address inside an IPv6 one is taken out.
#[must_use]
pub fn plain(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else {
        return address;
    };
    let octets = v6.octets();
    let last = || Ipv4Addr::new(octets[12], octets[13], octets[14], octets[15]);
    let embedded = if v6.to_ipv4_mapped().is_some() || v6.octets()[..12] == NAT64 {
        Some(last())
    } else if octets[..2] == [0x20, 0x02] {
        // 6to4.
        Some(Ipv4Addr::new(octets[2], octets[3], octets[4], octets[5]))
    } else if octets[..12] == [0; 12] && !v6.is_loopback() && !v6.is_unspecified() {
        // "IPv4-compatible", long out of use and still routed by some.
        Some(last())
    } else {
        None
    };
    embedded.map_or(address, IpAddr::V4)
}

const NAT64: [u8; 12] = [0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0];

/// Says whether an address is of the public internet, whichever way it is written.
#[must_use]
pub fn is_public(address: IpAddr) -> bool {
    match plain(address) {
        IpAddr::V4(v4) => {
            let special =
                |(network, bits): &([u8; 4], u8)| covers(&network[..], &v4.octets(), *bits);
            !SPECIAL_V4.iter().any(special)
        }
        IpAddr::V6(v6) => {
            let special =
                |(network, bits): &(Ipv6Addr, u8)| covers(&network.octets(), &v6.octets(), *bits);
            // All that is given out is in 2000::/3: loopback, ULA, link-local and multicast are outside.
            v6.octets()[0] >> 5 == 1 && !SPECIAL_V6.iter().any(special)
        }
    }
}

/// A network: an address and how many of its bits count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

impl Network {
    /// Reads `10.0.0.0/8`, `fd00::/8`, or one address.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits.parse::<u8>().ok()?)),
            None => (text, None),
        };
        let bare = address
            .strip_prefix('[')
            .and_then(|inner| inner.strip_suffix(']'))
            .unwrap_or(address);
        let address = bare.parse::<IpAddr>().ok()?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.unwrap_or(most);
        (bits <= most).then_some(Self { address, bits })
    }

    /// Says whether an address is in the network.
    #[must_use]
    pub fn has(&self, address: IpAddr) -> bool {
        match (self.address, plain(address)) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                covers(&network.octets(), &address.octets(), self.bits)
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                covers(&network.octets(), &address.octets(), self.bits)
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

fn covers(network: &[u8], address: &[u8], bits: u8) -> bool {
    let mut left = u32::from(bits);
    network.iter().zip(address).all(|(network, address)| {
        let taken = left.min(8);
        left -= taken;
        let mask = u8::MAX.checked_shl(8 - taken).unwrap_or(0);
        network & mask == address & mask
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_networks_are_not_public_however_they_are_written() {
        for text in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "127.0.0.1",
            "169.254.169.254",
            "172.31.255.255",
            "192.168.0.1",
            "198.19.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:10.0.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::169.254.169.254",
            "2002:a9fe:a9fe::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "2001:db8::1",
            "2001::1",
            "100::1",
        ] {
            assert!(!is_public(text.parse().unwrap()), "{text}");
        }
        for text in [
            "1.1.1.1",
            "172.32.0.1",
            "192.167.255.255",
            "223.255.255.255",
            "2606:4700::1111",
            "::ffff:1.1.1.1",
            "64:ff9b::1.1.1.1",
        ] {
            assert!(is_public(text.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn networks_cover_what_is_in_them() {
        let has = |network: &str, address: &str| {
            Network::read(network)
                .unwrap()
                .has(address.parse().unwrap())
        };
        assert!(has("10.0.0.0/8", "10.255.0.1") && !has("10.0.0.0/8", "11.0.0.1"));
        assert!(has("10.0.0.0/8", "::ffff:10.1.1.1"));
        assert!(has("192.168.3.7", "192.168.3.7") && !has("192.168.3.7", "192.168.3.8"));
        assert!(has("fd00::/8", "fd12::1") && !has("fd00::/8", "fe80::1"));
        assert!(has("[::1]", "::1") && !has("::1", "127.0.0.1"));
        assert!(has("0.0.0.0/0", "127.0.0.1") && !has("0.0.0.0/0", "::1"));
        assert!(has("172.16.0.0/12", "172.31.0.1") && !has("172.16.0.0/12", "172.32.0.1"));
        for wrong in ["10.0.0.0/33", "host", "10.0.0/8", "::/129", ""] {
            assert!(Network::read(wrong).is_none(), "{wrong}");
        }
    }
}
