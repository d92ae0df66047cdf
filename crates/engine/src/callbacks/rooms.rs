//! Rooms for large requests: mails with their files, which are in memory while they are taken. There are a few for everybody, and one tenant's cannot fill them all.

use std::sync::{Arc, Mutex, PoisonError};

use model::TenantId;

/// Large requests that are in memory at once, each with up to [`FETCHED_MAX`](super::FETCHED_MAX).
const ROOMS_MAX: usize = 4;
/// Of one tenant: half of them, so that those of another find room while this one's come slowly.
const TENANT_ROOMS_MAX: usize = 2;

/// Who is in which room.
#[derive(Default)]
pub(super) struct Rooms(Mutex<Vec<TenantId>>);

/// Leave to hold a large request in memory, until it is dropped. Small ones need none.
pub struct Room(Option<(Arc<Rooms>, TenantId)>);

impl Room {
    /// For what is small.
    pub(super) const NONE: Self = Self(None);

    /// True when there is leave to hold something large.
    pub(super) fn is_some(&self) -> bool {
        self.0.is_some()
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let Some((rooms, tenant)) = &self.0 else { return };
        let mut taken = rooms.taken();
        if let Some(at) = taken.iter().position(|known| known == tenant) {
            taken.swap_remove(at);
        }
    }
}

impl Rooms {
    /// A room, unless too many are taken, or too many by this tenant's.
    pub(super) fn enter(self: &Arc<Self>, tenant: TenantId) -> Option<Room> {
        let mut taken = self.taken();
        let own = taken.iter().filter(|known| **known == tenant).count();
        if taken.len() >= ROOMS_MAX || own >= TENANT_ROOMS_MAX {
            return None;
        }
        taken.push(tenant);
        Some(Room(Some((Arc::clone(self), tenant))))
    }

    fn taken(&self) -> std::sync::MutexGuard<'_, Vec<TenantId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_tenant_leaves_room_for_others() {
        let rooms = Arc::new(Rooms::default());
        let [one, two, three] = [1, 2, 3].map(TenantId::from_ulid);
        let mut ones: Vec<Room> = (0..TENANT_ROOMS_MAX).map(|_| rooms.enter(one).unwrap()).collect();
        assert!(rooms.enter(one).is_none());
        let twos = [rooms.enter(two).unwrap(), rooms.enter(two).unwrap()];
        assert!(rooms.enter(three).is_none());
        ones.pop();
        assert!(rooms.enter(three).is_some(), "what is dropped makes room");
        drop(twos);
        assert!(rooms.enter(one).is_some());
    }
}
