//! Who brings mail, and how much: limits for all together and for each place.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
};

/// Connections open at once: reports are few, and a burst of them waits at the sender.
const CONNECTIONS_MAX: usize = 64;
/// Connections from one place at once: what one relay uses at most.
const PEER_CONNECTIONS_MAX: usize = 16;
/// Mails from one place per minute. A relay that brings a campaign's bounces comes again with the rest.
const PEER_MAILS_PER_MINUTE: u32 = 600;
/// Places whose counts are remembered.
const PEERS_MAX: usize = 4_096;

/// Who is here, and how much each has brought this minute.
#[derive(Default)]
pub(super) struct Peers(Mutex<HashMap<IpAddr, Peer>>);

#[derive(Default, Clone, Copy)]
struct Peer {
    open: usize,
    minute: i64,
    mails: u32,
}

/// A place in the house, free again when dropped.
pub(super) struct Seat {
    peers: Arc<Peers>,
    place: IpAddr,
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some(peer) = self.peers.all().get_mut(&self.place) {
            peer.open -= 1;
        }
    }
}

impl Peers {
    fn all(&self) -> std::sync::MutexGuard<'_, HashMap<IpAddr, Peer>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A seat, unless there are too many here, or from there.
    pub(super) fn enter(self: &Arc<Self>, peer: SocketAddr) -> Option<Seat> {
        let place = place(peer.ip());
        let mut all = self.all();
        if all.values().map(|peer| peer.open).sum::<usize>() >= CONNECTIONS_MAX {
            return None;
        }
        if all.len() >= PEERS_MAX && !all.contains_key(&place) {
            all.retain(|_, peer| peer.open > 0);
        }
        let peer = all.entry(place).or_default();
        if peer.open >= PEER_CONNECTIONS_MAX {
            return None;
        }
        peer.open += 1;
        Some(Seat { peers: Arc::clone(self), place })
    }

    /// Counts a mail, unless this minute is full.
    pub(super) fn count(&self, peer: SocketAddr, minute: i64) -> bool {
        let mut all = self.all();
        let peer = all.entry(place(peer.ip())).or_default();
        if peer.minute != minute {
            (peer.minute, peer.mails) = (minute, 0);
        }
        peer.mails = peer.mails.saturating_add(1);
        peer.mails <= PEER_MAILS_PER_MINUTE
    }
}

/// Whom limits count: an address, or what one customer usually has of IPv6.
pub(super) fn place(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) => IpAddr::V6((u128::from(ip) >> 64 << 64).into()),
        ip => ip,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_place_cannot_take_all_seats() {
        let peers = Arc::new(Peers::default());
        let from = |n: u16| SocketAddr::from(([127, 0, 0, 1], n));
        let mut seats: Vec<Seat> = (0..PEER_CONNECTIONS_MAX as u16).map(|n| peers.enter(from(n)).unwrap()).collect();
        assert!(peers.enter(from(99)).is_none());
        let other = SocketAddr::from(([127, 0, 0, 2], 1));
        assert!(peers.enter(other).is_some());
        seats.pop();
        assert!(peers.enter(from(99)).is_some());
    }

    #[test]
    fn a_minute_is_full_for_one_place() {
        let peers = Peers::default();
        let (one, two) = (SocketAddr::from(([127, 0, 0, 1], 1)), SocketAddr::from(([127, 0, 0, 2], 1)));
        assert!((0..PEER_MAILS_PER_MINUTE).all(|_| peers.count(one, 7)));
        assert!(!peers.count(one, 7) && peers.count(two, 7) && peers.count(one, 8));
    }
}
