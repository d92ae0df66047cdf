//! IP allow-lists: addresses and CIDR ranges of both families.

use std::{fmt, net::IpAddr, str::FromStr};

/// Ranges in one list at most.
pub const RANGES_MAX: usize = 64;

/// An address, or all addresses that share its first bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IpRange {
    network: IpAddr,
    bits: u8,
}

impl IpRange {
    /// True when the address lies in the range. An IPv4 address written as IPv6 (`::ffff:192.0.2.1`) counts as IPv4.
    pub fn holds(&self, ip: IpAddr) -> bool {
        match (self.network, ip.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(ip)) => {
                mask(network.to_bits().into(), 32 - self.bits) == mask(ip.to_bits().into(), 32 - self.bits)
            }
            (IpAddr::V6(network), IpAddr::V6(ip)) => {
                mask(network.to_bits(), 128 - self.bits) == mask(ip.to_bits(), 128 - self.bits)
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

/// The address without its last `host_bits` bits.
fn mask(address: u128, host_bits: u8) -> u128 {
    address.checked_shr(host_bits.into()).unwrap_or(0)
}

impl FromStr for IpRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refused =
            || format!("`{text}` is not an IP address or CIDR range such as 192.0.2.7, 192.0.2.0/24 or 2001:db8::/32");
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let network: IpAddr = address.parse().map_err(|_| refused())?;
        let most = if network.is_ipv4() { 32 } else { 128 };
        let is_number = |bits: &&str| !bits.is_empty() && bits.bytes().all(|b| b.is_ascii_digit());
        let bits = match bits {
            None => most,
            Some(bits) => Some(bits)
                .filter(is_number)
                .and_then(|bits| bits.parse().ok())
                .filter(|bits| *bits <= most)
                .ok_or_else(refused)?,
        };
        let range = Self { network, bits };
        if range.first() != network {
            return Err(format!("`{text}` has bits set behind its first {bits}; write {}/{bits}", range.first()));
        }
        if network != network.to_canonical() {
            return Err(format!("`{text}` is an IPv4 address written as IPv6; write it as IPv4"));
        }
        Ok(range)
    }
}

impl IpRange {
    fn first(&self) -> IpAddr {
        let cut = |address: u128, host_bits: u8| mask(address, host_bits).checked_shl(host_bits.into()).unwrap_or(0);
        match self.network {
            IpAddr::V4(v4) => IpAddr::V4((cut(v4.to_bits().into(), 32 - self.bits) as u32).into()),
            IpAddr::V6(v6) => IpAddr::V6(cut(v6.to_bits(), 128 - self.bits).into()),
        }
    }
}

impl fmt::Display for IpRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let most = if self.network.is_ipv4() { 32 } else { 128 };
        if self.bits == most { write!(f, "{}", self.network) } else { write!(f, "{}/{}", self.network, self.bits) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_hold_what_they_say() {
        let check = |range: &str, ip: &str, expected: bool| {
            let range: IpRange = range.parse().unwrap();
            assert_eq!(range.holds(ip.parse().unwrap()), expected, "{range} {ip}");
        };
        check("192.0.2.7", "192.0.2.7", true);
        check("192.0.2.7", "192.0.2.8", false);
        check("192.0.2.7", "::ffff:192.0.2.7", true);
        check("192.0.2.0/24", "192.0.2.255", true);
        check("192.0.2.0/24", "192.0.3.0", false);
        check("0.0.0.0/0", "203.0.113.1", true);
        check("0.0.0.0/0", "2001:db8::1", false);
        check("2001:db8::/32", "2001:db8:ffff::1", true);
        check("2001:db8::/32", "2001:db9::1", false);
        check("::/0", "2001:db9::1", true);
        check("::/0", "192.0.2.1", false);
        check("2001:db8::1", "2001:db8::1", true);
    }

    #[test]
    fn ranges_print_as_they_are_read() {
        let check = |text: &str, expected: &str| {
            let range: IpRange = text.parse().unwrap();
            assert_eq!(range.to_string(), expected);
            assert_eq!(expected.parse(), Ok(range));
        };
        for text in ["192.0.2.7", "10.0.0.0/8", "2001:db8::/32", "::1", "0.0.0.0/0"] {
            check(text, text);
        }
        check("192.0.2.1/32", "192.0.2.1");
    }

    #[test]
    fn what_is_no_range_is_refused() {
        for text in [
            "",
            "x",
            "192.0.2",
            "192.0.2.0/33",
            "192.0.2.0/",
            "192.0.2.0/+8",
            "2001:db8::/129",
            "192.0.2.7/24",
            "::ffff:192.0.2.7",
            "192.0.2.0/24/24",
        ] {
            assert!(text.parse::<IpRange>().is_err(), "{text}");
        }
    }
}
