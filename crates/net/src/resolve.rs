//! From a host to an open TCP connection, past the guard.
//!
//! A name is resolved exactly once per connection; every address of the answer is checked and a single refused one
//! refuses the host (a name that leads both to the public internet and to a private network is an attack or a
//! mistake). The connection goes to a checked address: no second lookup, so an answer that changes in between (DNS
//! rebinding) is never used.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use model::{BoxFuture, Broken, Clock};
use tokio::net::TcpStream;

use crate::{
    broken::{self, within},
    guard::{Guard, TargetHost},
};

/// Addresses of one host that are checked and tried; more than the largest mail providers publish for a name.
const ADDRESSES_MAX: usize = 32;
/// A silent peer is noticed after this long, so that a kept connection is not held for a dead machine.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// Turns a name into addresses.
pub trait Resolve: Send + Sync {
    /// All addresses of `host`, in the order of preference.
    fn resolve(&self, host: &str) -> BoxFuture<'static, io::Result<Vec<IpAddr>>>;
}

/// The system's resolver, with its `hosts` file and search domains.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemResolver;

impl Resolve for SystemResolver {
    fn resolve(&self, host: &str) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        let host = host.to_owned();
        Box::pin(async move {
            let found = tokio::net::lookup_host((host.as_str(), 0)).await?;
            Ok(found.map(|address| address.ip()).collect())
        })
    }
}

/// Opens connections that the guard lets pass.
pub(crate) struct Dialer {
    pub guard: Guard,
    pub resolver: Arc<dyn Resolve>,
    pub clock: Arc<dyn Clock>,
    /// For lookup and connection together.
    pub connect_timeout_ms: u64,
}

impl Dialer {
    /// Connects to `host` within `connect_timeout_ms`, or `limit_ms` when that is less. Nothing has been sent when this
    /// fails, so [`Broken::may_have_acted`] is always false.
    pub async fn dial(
        &self,
        host: &TargetHost,
        port: u16,
        is_untrusted: bool,
        limit_ms: u64,
    ) -> Result<TcpStream, Broken> {
        let limit_ms = limit_ms.min(self.connect_timeout_ms);
        let late = || broken::unsent("timeout", format!("{host}:{port} took no connection within {limit_ms} ms."));
        within(&*self.clock, limit_ms, self.try_each(host, port, is_untrusted, limit_ms)).await.ok_or_else(late)?
    }

    async fn try_each(
        &self,
        host: &TargetHost,
        port: u16,
        is_untrusted: bool,
        limit_ms: u64,
    ) -> Result<TcpStream, Broken> {
        let addresses = self.checked(host, port, is_untrusted).await?;
        let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
        // An address that swallows packets must leave time for the others.
        let share_ms = limit_ms / (addresses.len() as u64).max(1);
        for ip in addresses {
            match within(&*self.clock, share_ms, connect(SocketAddr::new(ip, port))).await {
                Some(Ok(stream)) => return Ok(stream),
                Some(Err(error)) => last = error,
                None => last = io::ErrorKind::TimedOut.into(),
            }
        }
        Err(connect_failure(host, port, &last))
    }

    /// Every address of the host, each of them allowed.
    async fn checked(&self, host: &TargetHost, port: u16, is_untrusted: bool) -> Result<Vec<IpAddr>, Broken> {
        let (name, addresses) = match host {
            TargetHost::Ip(ip) => (host.to_string(), vec![*ip]),
            TargetHost::Name(name) => (name.clone(), self.lookup(name).await?),
        };
        for ip in &addresses {
            self.guard.check_ip(&name, port, *ip, is_untrusted).map_err(broken::refused)?;
        }
        Ok(addresses)
    }

    async fn lookup(&self, name: &str) -> Result<Vec<IpAddr>, Broken> {
        let mut found = match self.resolver.resolve(name).await {
            Ok(found) if !found.is_empty() => found,
            Ok(_) => return Err(broken::unsent("dns", format!("{name} has no address."))),
            Err(error) => return Err(broken::unsent("dns", format!("{name} could not be resolved: {error}."))),
        };
        let mut seen = std::collections::HashSet::new();
        found.retain(|ip| seen.insert(*ip));
        if found.len() > ADDRESSES_MAX {
            let detail = format!("{name} has {} addresses; at most {ADDRESSES_MAX} are taken.", found.len());
            return Err(broken::unsent("dns", detail));
        }
        Ok(found)
    }
}

async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    // Requests leave in one write each: waiting to fill a packet would only delay them.
    stream.set_nodelay(true)?;
    let keepalive = socket2::TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE);
    socket2::SockRef::from(&stream).set_tcp_keepalive(&keepalive)?;
    Ok(stream)
}

fn connect_failure(host: &TargetHost, port: u16, error: &io::Error) -> Broken {
    match error.kind() {
        io::ErrorKind::TimedOut => broken::unsent("timeout", format!("{host}:{port} did not answer in time.")),
        _ => broken::unsent("connect_refused", format!("{host}:{port} took no connection: {error}.")),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, atomic::AtomicUsize, atomic::Ordering};

    use tokio::net::TcpListener;

    use super::*;
    use crate::SystemClock;

    /// Answers each lookup with the next list, the last one for ever.
    struct Flipping {
        answers: Mutex<Vec<Vec<&'static str>>>,
        lookups: AtomicUsize,
    }

    impl Resolve for Flipping {
        fn resolve(&self, _host: &str) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
            self.lookups.fetch_add(1, Ordering::SeqCst);
            let mut answers = self.answers.lock().unwrap();
            let next = if answers.len() > 1 { answers.remove(0) } else { answers[0].clone() };
            Box::pin(async move { Ok(next.iter().map(|ip| ip.parse().unwrap()).collect()) })
        }
    }

    fn dialer(allow: &[&str], answers: &[&[&'static str]]) -> (Dialer, Arc<Flipping>) {
        let answers = Mutex::new(answers.iter().map(|ips| ips.to_vec()).collect());
        let resolver = Arc::new(Flipping { answers, lookups: AtomicUsize::new(0) });
        let dialer = Dialer {
            guard: Guard::new(allow.iter().map(|entry| entry.parse().unwrap()).collect()),
            resolver: Arc::clone(&resolver) as Arc<dyn Resolve>,
            clock: Arc::new(SystemClock),
            connect_timeout_ms: 2_000,
        };
        (dialer, resolver)
    }

    fn name(text: &str) -> TargetHost {
        TargetHost::Name(text.to_owned())
    }

    #[tokio::test]
    async fn a_name_that_leads_inside_is_refused() {
        for answer in [&["127.0.0.1"][..], &["169.254.169.254"], &["8.8.8.8", "10.0.0.1"], &["::ffff:127.0.0.1"]] {
            let (dialer, _) = dialer(&[], &[answer]);
            let broken = dialer.dial(&name("rebind.example"), 80, true, u64::MAX).await.unwrap_err();
            assert_eq!((broken.code, broken.may_have_acted), ("refused_address", false), "{answer:?}");
        }
    }

    #[tokio::test]
    async fn a_flipping_name_is_looked_up_once_per_connection_and_judged_by_that_answer() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        // The allowed address first, a private one next: the first connection goes where the first answer said.
        let (dialer, resolver) = dialer(&["127.0.0.1"], &[&["127.0.0.1"], &["127.0.0.2"]]);
        let stream = dialer.dial(&name("flip.example"), port, false, u64::MAX).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), listener.local_addr().unwrap());
        assert_eq!(resolver.lookups.load(Ordering::SeqCst), 1);
        let broken = dialer.dial(&name("flip.example"), port, false, u64::MAX).await.unwrap_err();
        assert_eq!(broken.code, "refused_address");
    }

    #[tokio::test]
    async fn the_next_address_is_tried_when_one_refuses() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (dialer, _) = dialer(&["loopback"], &[&["127.0.0.9", "127.0.0.1"]]);
        assert!(dialer.dial(&name("two.example"), port, false, u64::MAX).await.is_ok());
    }

    #[tokio::test]
    async fn names_without_usable_addresses() {
        let many: Vec<String> = (0..=ADDRESSES_MAX).map(|n| format!("8.8.8.{n}")).collect();
        let many: Vec<&'static str> = many.into_iter().map(|ip| &*ip.leak()).collect();
        for answer in [&[][..], &many] {
            let (dialer, _) = dialer(&[], &[answer]);
            assert_eq!(dialer.dial(&name("odd.example"), 80, false, u64::MAX).await.unwrap_err().code, "dns");
        }
    }
}
