//! Rooms for large mails, which are in memory while they come. There are a few for everybody; whoever brings one slowly keeps out neither other places nor mails to other domains.

use std::{
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

/// Large mails that are in memory at once; whoever brings another comes again.
const ROOMS_MAX: usize = 4;
/// From one place: a relay with two brings the second when the first is here.
const PLACE_ROOMS_MAX: usize = 1;
/// To addresses of one domain, which is one tenant's as a rule.
const DOMAIN_ROOMS_MAX: usize = 2;

/// Who is in which room: from where, to which domain.
#[derive(Default)]
pub(super) struct Rooms(Mutex<Vec<Holder>>);

#[derive(Clone, PartialEq, Eq)]
struct Holder {
    place: IpAddr,
    domain: String,
}

/// A room, free again when dropped.
pub(super) struct Room {
    rooms: Arc<Rooms>,
    holder: Holder,
}

impl Drop for Room {
    fn drop(&mut self) {
        let mut taken = self.rooms.taken();
        if let Some(at) = taken.iter().position(|known| *known == self.holder) {
            taken.swap_remove(at);
        }
    }
}

impl Rooms {
    /// A room for a mail from `place` to the address `to`, unless too many are taken, or too many from there, or to such addresses.
    pub(super) fn enter(self: &Arc<Self>, place: IpAddr, to: &str) -> Option<Room> {
        let domain = to.rsplit_once('@').map_or("", |(_, domain)| domain).to_ascii_lowercase();
        let holder = Holder { place, domain };
        let mut taken = self.taken();
        let of = |is: &dyn Fn(&Holder) -> bool| taken.iter().filter(|known| is(known)).count();
        let is_full = taken.len() >= ROOMS_MAX
            || of(&|known| known.place == holder.place) >= PLACE_ROOMS_MAX
            || of(&|known| known.domain == holder.domain) >= DOMAIN_ROOMS_MAX;
        if is_full {
            return None;
        }
        taken.push(holder.clone());
        Some(Room { rooms: Arc::clone(self), holder })
    }

    fn taken(&self) -> std::sync::MutexGuard<'_, Vec<Holder>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_a_place_nor_a_domain_fills_all_rooms() {
        let rooms = Arc::new(Rooms::default());
        let place = |n: u8| IpAddr::from([192, 0, 2, n]);
        let first = rooms.enter(place(1), "r+1@a.example").unwrap();
        assert!(rooms.enter(place(1), "r+2@b.example").is_none(), "a second from the same place");
        let second = rooms.enter(place(2), "r+1@A.example").unwrap();
        assert!(rooms.enter(place(3), "r+2@a.example").is_none(), "a third to the same domain");
        let others = [rooms.enter(place(3), "x@b.example").unwrap(), rooms.enter(place(4), "x@c.example").unwrap()];
        assert!(rooms.enter(place(5), "x@d.example").is_none(), "a fifth");
        drop(first);
        assert!(rooms.enter(place(1), "r+1@a.example").is_some());
        drop((second, others));
        assert!(rooms.taken().is_empty());
    }
}
