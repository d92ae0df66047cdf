//! Decides which addresses Tidings may connect to. Pure: no lookup and no socket happens here.
//!
//! Tenants choose webhook URLs, attachment URLs and mail servers, so every outgoing connection is a way into the
//! operator's own network unless somebody looks (server-side request forgery). The rules: only `http` and `https`, no
//! credentials inside a URL, and only addresses that the public internet routes; private, loopback, link-local
//! (metadata services), shared, documentation, multicast and reserved ranges are refused, and so are IPv6 forms that
//! carry such an IPv4 address. The caller resolves a name once, has every address checked here and connects to a
//! checked one (module `resolve`), so a name that changes its answer gains nothing. An operator opens single hosts
//! or networks with [`Allowed`] entries.
//!
//! Odd spellings of an address (`0x7f.1`, `2130706433`, `0177.0.0.1`, full-width digits) are turned into the address
//! they mean by the `url` crate, which follows the WHATWG rules that browsers follow, before anything is checked.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use url::{Host, Url};

/// Ports that a tenant's URL may name; every other one needs an [`Allowed`] entry.
const UNTRUSTED_PORTS: [u16; 2] = [80, 443];
/// Longest URL taken, in bytes: twice what common proxies and servers accept.
const URL_MAX: usize = 16 * 1024;

/// One thing the operator allows besides the public internet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Allowed {
    /// A name, whatever it resolves to; with a port, only there. Does not cover its subdomains.
    Host(String, Option<u16>),
    /// A network, or with a full-length prefix a single address; with a port, only there.
    Network(IpAddr, u8, Option<u16>),
    /// `loopback`: this machine itself, 127.0.0.0/8 and ::1.
    Loopback,
}

/// An entry of the allow-list that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{entry}` {problem}; write a host, host:port, an address, a network such as 10.1.0.0/16, or `loopback`")]
pub struct BadAllowed {
    entry: String,
    problem: &'static str,
}

impl FromStr for Allowed {
    type Err = BadAllowed;

    fn from_str(text: &str) -> Result<Self, BadAllowed> {
        let entry = text.trim();
        let bad = |problem| BadAllowed { entry: text.to_owned(), problem };
        if entry.eq_ignore_ascii_case("loopback") {
            return Ok(Self::Loopback);
        }
        if entry.contains("://") {
            return Err(bad("is a URL"));
        }
        if let Some((network, prefix)) = entry.split_once('/') {
            return network_entry(network, prefix).map_err(bad);
        }
        if let Some(address) = address(entry) {
            return Ok(single(address, None));
        }
        let (host, port) = match entry.rsplit_once(':') {
            Some((host, port)) => (host, Some(port_number(port).ok_or(bad("has no valid port"))?)),
            None => (entry, None),
        };
        if let Some(address) = address(host) {
            return Ok(single(address, port));
        }
        match Host::parse(host) {
            Ok(Host::Domain(name)) if !name.is_empty() => Ok(Self::Host(bare(&name).to_owned(), port)),
            Ok(Host::Ipv4(address)) => Ok(single(address.into(), port)),
            Ok(Host::Ipv6(address)) => Ok(single(address.into(), port)),
            Ok(Host::Domain(_)) | Err(_) => Err(bad("is not a host name")),
        }
    }
}

impl fmt::Display for Allowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let port = |port: &Option<u16>| port.map_or(String::new(), |p| format!(":{p}"));
        match self {
            Self::Host(name, p) => write!(f, "{name}{}", port(p)),
            Self::Network(address @ IpAddr::V4(_), 32, p) => write!(f, "{address}{}", port(p)),
            Self::Network(address @ IpAddr::V6(_), 128, p) => write!(f, "[{address}]{}", port(p)),
            Self::Network(address, prefix, _) => write!(f, "{address}/{prefix}"),
            Self::Loopback => f.write_str("loopback"),
        }
    }
}

fn single(address: IpAddr, port: Option<u16>) -> Allowed {
    let address = address.to_canonical();
    Allowed::Network(address, full_length(address), port)
}

fn network_entry(network: &str, prefix: &str) -> Result<Allowed, &'static str> {
    let network = address(network).ok_or("does not begin with an address")?;
    let prefix = prefix.parse().ok().filter(|p| *p <= full_length(network)).ok_or("has no valid prefix length")?;
    if masked(network, prefix) != bits(network) {
        return Err("has address bits beyond its prefix length");
    }
    Ok(Allowed::Network(network, prefix, None))
}

fn address(text: &str) -> Option<IpAddr> {
    text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text).parse().ok()
}

fn port_number(text: &str) -> Option<u16> {
    text.parse().ok().filter(|port| *port != 0)
}

const fn full_length(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

/// The address as the high bits of 128, so that one mask serves both families.
fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(v4.to_bits()) << 96,
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

fn masked(address: IpAddr, prefix: u8) -> u128 {
    let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
    bits(address) & mask
}

fn bare(name: &str) -> &str {
    name.strip_suffix('.').unwrap_or(name)
}

/// Why a connection is not made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The URL cannot be used at all.
    #[error("The URL {0}.")]
    Url(&'static str),
    /// The address is not on the public internet.
    #[error("{host} leads to {ip}, {range}. Only public addresses are reachable; the operator can allow this host.")]
    Address {
        /// The host as it was given.
        host: String,
        /// Where it leads.
        ip: IpAddr,
        /// The range it lies in, for people.
        range: &'static str,
    },
    /// The port is not open to URLs that tenants choose.
    #[error("Port {port} of {host} is not reachable, only 80 and 443 are; the operator can allow this host.")]
    Port {
        /// The host as it was given.
        host: String,
        /// The port it names.
        port: u16,
    },
}

/// Where a URL leads, taken apart and not yet resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// True for `https`.
    pub is_tls: bool,
    /// A name without a trailing dot, or an address.
    pub host: TargetHost,
    /// The port, named or the scheme's own.
    pub port: u16,
    /// For the `host` header: the host and, unless it is the scheme's own, the port.
    pub authority: String,
    /// Path and query for the request line.
    pub path_and_query: String,
}

/// A host that is either an address already or a name to be resolved.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum TargetHost {
    /// A name in its ASCII form, lower case, without a trailing dot.
    Name(String),
    /// An address, however it was spelt.
    Ip(IpAddr),
}

impl TargetHost {
    /// Reads a host as people write it: a name, an address, an IPv6 address with or without brackets.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        if let Ok(v6) = text.parse::<Ipv6Addr>() {
            return Ok(Self::Ip(v6.into()));
        }
        match Host::parse(text) {
            Ok(host) => Self::from_url(host),
            Err(_) => Err(Refusal::Url("names a host that is no valid host name")),
        }
    }

    fn from_url<S: AsRef<str>>(host: Host<S>) -> Result<Self, Refusal> {
        match host {
            Host::Ipv4(v4) => Ok(Self::Ip(v4.into())),
            Host::Ipv6(v6) => Ok(Self::Ip(v6.into())),
            Host::Domain(name) => match bare(name.as_ref()) {
                "" => Err(Refusal::Url("names no host")),
                name if name.ends_with('.') => Err(Refusal::Url("names a host that is no valid host name")),
                name => Ok(Self::Name(name.to_owned())),
            },
        }
    }
}

impl fmt::Display for TargetHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Ip(IpAddr::V4(v4)) => write!(f, "{v4}"),
            Self::Ip(IpAddr::V6(v6)) => write!(f, "[{v6}]"),
        }
    }
}

/// The rules, with the operator's allow-list. The default allows nothing besides the public internet.
#[derive(Debug, Clone, Default)]
pub struct Guard {
    allow: Vec<Allowed>,
}

impl Guard {
    /// A guard with these exceptions.
    pub fn new(allow: Vec<Allowed>) -> Self {
        Self { allow }
    }

    /// Checks one address of a host. Called for every address a name resolves to, and for literal addresses. Ports are
    /// restricted only for URLs a tenant chose (`is_untrusted`).
    pub fn check_ip(&self, host: &str, port: u16, ip: IpAddr, is_untrusted: bool) -> Result<(), Refusal> {
        let host = bare(host);
        if self.allow.iter().any(|entry| entry.covers(host, port, ip)) {
            return Ok(());
        }
        if is_untrusted && !UNTRUSTED_PORTS.contains(&port) {
            return Err(Refusal::Port { host: host.to_owned(), port });
        }
        match special_range(ip) {
            Some(range) => Err(Refusal::Address { host: host.to_owned(), ip, range }),
            None => Ok(()),
        }
    }

    /// Takes a URL apart and checks what can be checked without resolving its host.
    pub fn check_url(&self, url: &str, is_untrusted: bool) -> Result<Target, Refusal> {
        let target = read_url(url)?;
        match &target.host {
            TargetHost::Ip(ip) => self.check_ip(&target.host.to_string(), target.port, *ip, is_untrusted)?,
            TargetHost::Name(name) => self.check_name_port(name, target.port, is_untrusted)?,
        }
        Ok(target)
    }

    /// Refuses a closed port before a name is looked up. A port that only an allowed network may open passes here and
    /// is decided by [`Guard::check_ip`].
    fn check_name_port(&self, name: &str, port: u16, is_untrusted: bool) -> Result<(), Refusal> {
        let may_be_open = |entry: &Allowed| match entry {
            Allowed::Host(allowed, only) => allowed.eq_ignore_ascii_case(name) && only.is_none_or(|p| p == port),
            Allowed::Network(_, _, only) => only.is_none_or(|p| p == port),
            Allowed::Loopback => true,
        };
        if !is_untrusted || UNTRUSTED_PORTS.contains(&port) || self.allow.iter().any(may_be_open) {
            return Ok(());
        }
        Err(Refusal::Port { host: name.to_owned(), port })
    }
}

impl Allowed {
    fn covers(&self, host: &str, port: u16, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        match self {
            Self::Host(name, only) => name.eq_ignore_ascii_case(host) && only.is_none_or(|p| p == port),
            Self::Network(network, prefix, only) => {
                network.is_ipv4() == ip.is_ipv4()
                    && masked(ip, *prefix) == bits(*network)
                    && only.is_none_or(|p| p == port)
            }
            Self::Loopback => ip.is_loopback(),
        }
    }
}

fn read_url(text: &str) -> Result<Target, Refusal> {
    if text.len() > URL_MAX {
        return Err(Refusal::Url("is longer than 16 KiB"));
    }
    if text.chars().any(|c| c.is_control() || c == ' ') {
        return Err(Refusal::Url("contains a space or a control character"));
    }
    let url = Url::parse(text).map_err(|_| Refusal::Url("cannot be read"))?;
    let (is_tls, default_port) = match url.scheme() {
        "https" => (true, 443),
        "http" => (false, 80),
        _ => return Err(Refusal::Url("is neither http nor https")),
    };
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Refusal::Url("contains a user name or password; use headers instead"));
    }
    let host = TargetHost::from_url(url.host().ok_or(Refusal::Url("names no host"))?)?;
    let port = url.port().unwrap_or(default_port);
    if port == 0 {
        return Err(Refusal::Url("names port 0"));
    }
    let authority = if port == default_port { host.to_string() } else { format!("{host}:{port}") };
    let path_and_query = url[url::Position::BeforePath..url::Position::AfterQuery].to_owned();
    Ok(Target { is_tls, host, port, authority, path_and_query })
}

/// The name of the non-public range an address lies in, or `None` when the public internet routes it (IANA's
/// special-purpose registries for IPv4 and IPv6).
fn special_range(ip: IpAddr) -> Option<&'static str> {
    match ip {
        IpAddr::V4(v4) => special_v4(v4),
        IpAddr::V6(v6) => special_v6(v6),
    }
}

fn special_v4(ip: Ipv4Addr) -> Option<&'static str> {
    match ip.octets() {
        [0, ..] => Some("an address of this network"),
        [127, ..] => Some("a loopback address"),
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => Some("a private address"),
        [169, 254, ..] => Some("a link-local address"),
        [100, 64..=127, ..] => Some("an address of a carrier's shared range"),
        [192, 0, 0, _] | [192, 88, 99, _] => Some("an address reserved for protocols"),
        [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => Some("a documentation address"),
        [198, 18..=19, ..] => Some("a benchmarking address"),
        [224..=239, ..] => Some("a multicast address"),
        [240..=255, ..] => Some("a reserved address"),
        _ => None,
    }
}

fn special_v6(ip: Ipv6Addr) -> Option<&'static str> {
    let s = ip.segments();
    let carried = |high: u16, low: u16| {
        special_v4(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)))
            .map(|_| "an IPv6 address that carries a non-public IPv4 address")
    };
    match s {
        [0, 0, 0, 0, 0, 0, 0, 0] => Some("the unspecified address"),
        [0, 0, 0, 0, 0, 0, 0, 1] => Some("a loopback address"),
        [0, 0, 0, 0, 0, 0xffff, high, low] => carried(high, low),
        // IPv4-compatible addresses are deprecated and routed nowhere.
        [0, 0, 0, 0, 0, 0, ..] => Some("a deprecated IPv4-compatible address"),
        // NAT64 (RFC 6052) and 6to4 hand the packet to the IPv4 address inside.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => carried(high, low),
        [0x2002, high, low, ..] => carried(high, low),
        // Teredo, benchmarking, ORCHID and their neighbours: nothing there is a public web or mail server.
        [0x2001, 0..=0x01ff, ..] => Some("an address reserved for protocols"),
        [0x2001, 0x0db8, ..] | [0x3fff, 0..=0x0fff, ..] => Some("a documentation address"),
        [0xfc00..=0xfdff, ..] => Some("a private address"),
        [0xfe80..=0xfebf, ..] => Some("a link-local address"),
        [0xff00..=0xffff, ..] => Some("a multicast address"),
        // The rest of global unicast space; everything outside is unassigned or reserved.
        [0x2000..=0x3fff, ..] => None,
        _ => Some("a reserved address"),
    }
}

#[cfg(test)]
mod tests;
