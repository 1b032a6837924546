//! IP addresses: which are publicly reachable, and which are this machine.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};

/// Returns whether a webhook may be sent to this address: no multicast, nothing in an entry of the IANA special-purpose
/// registries that is not marked globally reachable (the most specific entry decides), not the platform address of
/// Azure, and of IPv6 only what is allocated as global unicast.
#[must_use]
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

/// Returns whether a connection to this address reaches the machine that makes it: loopback and unspecified addresses,
/// also as IPv4 inside IPv6.
#[must_use]
pub fn is_this_machine(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_loopback() || address.is_unspecified(),
        // `::` is 0.0.0.0 inside IPv6.
        IpAddr::V6(address) => {
            address.is_loopback() || embedded_v4(address).is_some_and(|inner| is_this_machine(inner.into()))
        }
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    /// Serves virtual machines of Azure only: DHCP, DNS, the guest agent's secrets.
    const AZURE_PLATFORM: Ipv4Addr = Ipv4Addr::new(168, 63, 129, 16);

    let entry = IPV4.iter().filter(|(net, _)| net.contains(&address)).max_by_key(|(net, _)| net.prefix_len());
    !address.is_multicast() && address != AZURE_PLATFORM && entry.is_none_or(|(_, reachable)| *reachable)
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    if let Some(inner) = embedded_v4(address) {
        return is_public_v4(inner);
    }
    let entry = IPV6.iter().filter(|(net, _)| net.contains(&address)).max_by_key(|(net, _)| net.prefix_len());
    GLOBAL_UNICAST.contains(&address) && entry.is_none_or(|(_, reachable)| *reachable)
}

/// The IPv4 address that a translator or tunnel would deliver to: IPv4-mapped and -compatible (RFC 4291, 2.5.5),
/// `64:ff9b::/96` (RFC 6052) and 6to4 (RFC 3056).
fn embedded_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let ([0, 0, 0, 0, 0, 0 | 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..]) =
        address.segments()
    else {
        return None;
    };
    let [[a, b], [c, d]] = [high.to_be_bytes(), low.to_be_bytes()];
    Some(Ipv4Addr::new(a, b, c, d))
}

/// IANA IPv4 Special-Purpose Address Registry: the block, and whether it is marked globally reachable.
const IPV4: [(Ipv4Net, bool); 26] = [
    (v4([0, 0, 0, 0], 8), false),
    (v4([0, 0, 0, 0], 32), false),
    (v4([10, 0, 0, 0], 8), false),
    (v4([100, 64, 0, 0], 10), false),
    (v4([127, 0, 0, 0], 8), false),
    (v4([169, 254, 0, 0], 16), false),
    (v4([172, 16, 0, 0], 12), false),
    (v4([192, 0, 0, 0], 24), false),
    (v4([192, 0, 0, 0], 29), false),
    (v4([192, 0, 0, 8], 32), false),
    (v4([192, 0, 0, 9], 32), true),
    (v4([192, 0, 0, 10], 32), true),
    (v4([192, 0, 0, 170], 32), false),
    (v4([192, 0, 0, 171], 32), false),
    (v4([192, 0, 2, 0], 24), false),
    (v4([192, 31, 196, 0], 24), true),
    (v4([192, 52, 193, 0], 24), true),
    // Deprecated: "N/A" in the registry, which is not "True".
    (v4([192, 88, 99, 0], 24), false),
    (v4([192, 88, 99, 2], 32), false),
    (v4([192, 168, 0, 0], 16), false),
    (v4([192, 175, 48, 0], 24), true),
    (v4([198, 18, 0, 0], 15), false),
    (v4([198, 51, 100, 0], 24), false),
    (v4([203, 0, 113, 0], 24), false),
    (v4([240, 0, 0, 0], 4), false),
    (v4([255, 255, 255, 255], 32), false),
];

/// IANA IPv6 Special-Purpose Address Registry, without the blocks that [`embedded_v4`] has handled before and those
/// outside [`GLOBAL_UNICAST`].
const IPV6: [(Ipv6Net, bool); 13] = [
    (v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 23), false),
    // Teredo: "N/A".
    (v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 32), false),
    (v6([0x2001, 1, 0, 0, 0, 0, 0, 1], 128), true),
    (v6([0x2001, 1, 0, 0, 0, 0, 0, 2], 128), true),
    (v6([0x2001, 1, 0, 0, 0, 0, 0, 3], 128), true),
    (v6([0x2001, 2, 0, 0, 0, 0, 0, 0], 48), false),
    (v6([0x2001, 3, 0, 0, 0, 0, 0, 0], 32), true),
    (v6([0x2001, 4, 0x112, 0, 0, 0, 0, 0], 48), true),
    // The first ORCHID, deprecated: "N/A".
    (v6([0x2001, 0x10, 0, 0, 0, 0, 0, 0], 28), false),
    (v6([0x2001, 0x20, 0, 0, 0, 0, 0, 0], 28), true),
    (v6([0x2001, 0x30, 0, 0, 0, 0, 0, 0], 28), true),
    (v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32), false),
    (v6([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20), false),
];

/// The one block from which global unicast addresses are allocated.
const GLOBAL_UNICAST: Ipv6Net = v6([0x2000, 0, 0, 0, 0, 0, 0, 0], 3);

const fn v4([a, b, c, d]: [u8; 4], prefix: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)
}

const fn v6(segments: [u16; 8], prefix: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::from_segments(segments), prefix)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// First and last address of each block, and whether they are public; then the neighbours before and after.
    #[test]
    fn blocks_and_their_neighbours() {
        #[derive(serde::Deserialize)]
        struct Row(String, bool, Option<bool>, Option<bool>);

        let rows: Vec<Row> = serde_json::from_str(include_str!("../tests/data/addresses.json")).unwrap();
        for Row(block, inside, before, after) in rows {
            let block: ipnet::IpNet = block.parse().unwrap();
            let (first, last) = (block.network(), block.broadcast());
            assert_eq!(is_public(first), inside, "{first}");
            assert_eq!(is_public(last), inside, "{last}");
            let neighbour = |address: IpAddr, next: bool| match address {
                IpAddr::V4(address) => {
                    let bits = address.to_bits();
                    (if next { bits.checked_add(1) } else { bits.checked_sub(1) })
                        .map(|bits| IpAddr::from(Ipv4Addr::from_bits(bits)))
                }
                IpAddr::V6(address) => {
                    let bits = address.to_bits();
                    (if next { bits.checked_add(1) } else { bits.checked_sub(1) })
                        .map(|bits| IpAddr::from(Ipv6Addr::from_bits(bits)))
                }
            };
            for (address, expected) in [(neighbour(first, false), before), (neighbour(last, true), after)] {
                assert_eq!(address.map(is_public), expected, "beside {block}: {address:?}");
            }
        }
    }
}
