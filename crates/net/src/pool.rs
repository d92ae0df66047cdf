//! Kept connections: a bounded set of idle ones per key, newest first, closed when they have been idle too long.
//!
//! A connection in use belongs to its exchange and not to the pool, so the number of busy connections is whatever the
//! engine's concurrency allows. Closing is lazy but certain: a sweeping task lives exactly as long as something is
//! idle here.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use model::{Clock, Timestamp};

/// How often idle connections are looked through, in milliseconds. An expired one is never handed out, so this only
/// decides how long its socket lingers.
const SWEEP_MS: u64 = 5_000;

/// How much may be kept.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub idle_per_key_max: usize,
    pub idle_max: usize,
}

/// What is done with connections that leave the pool unused.
pub(crate) trait Retire: Send + 'static {
    /// Says goodbye where the protocol has one. Must not block.
    fn retire(self);
}

pub(crate) struct Pool<K, C> {
    idle: Mutex<Idle<K, C>>,
    clock: Arc<dyn Clock>,
    limits: Limits,
}

struct Idle<K, C> {
    by_key: HashMap<K, Vec<Kept<C>>>,
    total: usize,
    is_swept: bool,
}

struct Kept<C> {
    connection: C,
    until: Timestamp,
}

impl<K, C> Pool<K, C>
where
    K: Hash + Eq + Send + 'static,
    C: Retire,
{
    pub fn new(clock: Arc<dyn Clock>, limits: Limits) -> Arc<Self> {
        let idle = Idle { by_key: HashMap::new(), total: 0, is_swept: false };
        Arc::new(Self { idle: Mutex::new(idle), clock, limits })
    }

    /// The most recently used idle connection under `key`.
    pub fn take(&self, key: &K) -> Option<C> {
        let now = self.clock.now();
        let mut idle = self.lock();
        let kept = idle.by_key.get_mut(key)?.pop()?;
        idle.total -= 1;
        // The newest one has expired, so all have: the sweep says goodbye to the rest.
        (kept.until > now).then_some(kept.connection)
    }

    /// Keeps a connection for `idle_ms`, or retires it when enough are kept. Must be called inside a tokio runtime.
    pub fn put(self: &Arc<Self>, key: K, connection: C, idle_ms: u64) {
        let until = self.clock.now().plus_millis(idle_ms.try_into().unwrap_or(i64::MAX));
        let (surplus, must_sweep) = self.lock().put(key, Kept { connection, until }, self.limits);
        if let Some(surplus) = surplus {
            surplus.retire();
        }
        if must_sweep {
            tokio::spawn(sweep(Arc::downgrade(self), Arc::clone(&self.clock)));
        }
    }

    /// How many connections are idle, over all keys.
    pub fn idle(&self) -> usize {
        self.lock().total
    }

    fn lock(&self) -> MutexGuard<'_, Idle<K, C>> {
        // Nothing panics while holding the lock; were it so, the map would still be whole.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Hash + Eq, C> Idle<K, C> {
    /// The connection that found no room, and whether a sweep has to be started.
    fn put(&mut self, key: K, kept: Kept<C>, limits: Limits) -> (Option<C>, bool) {
        if self.total >= limits.idle_max {
            return (Some(kept.connection), false);
        }
        let same = self.by_key.entry(key).or_default();
        if same.len() >= limits.idle_per_key_max {
            return (Some(kept.connection), false);
        }
        same.push(kept);
        self.total += 1;
        (None, !std::mem::replace(&mut self.is_swept, true))
    }

    /// Takes out what has expired; notes that nobody sweeps any more when nothing is left.
    fn expire(&mut self, now: Timestamp) -> Vec<C> {
        let mut expired = Vec::new();
        self.by_key.retain(|_, same| {
            for index in (0..same.len()).rev() {
                if same[index].until <= now {
                    expired.push(same.swap_remove(index).connection);
                }
            }
            // The order within a key only says which is used next; the newest must stay last.
            same.sort_by_key(|kept| kept.until);
            !same.is_empty()
        });
        self.total -= expired.len();
        self.is_swept = self.total > 0;
        expired
    }
}

async fn sweep<K, C>(pool: Weak<Pool<K, C>>, clock: Arc<dyn Clock>)
where
    K: Hash + Eq + Send + 'static,
    C: Retire,
{
    loop {
        clock.sleep(SWEEP_MS).await;
        let Some(pool) = pool.upgrade() else { return };
        let (expired, is_done) = {
            let mut idle = pool.lock();
            let expired = idle.expire(clock.now());
            (expired, !idle.is_swept)
        };
        expired.into_iter().for_each(Retire::retire);
        if is_done {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use model::BoxFuture;

    use super::*;

    /// Stands still until moved; waits never end.
    struct Still(Mutex<Timestamp>);

    impl Clock for Still {
        fn now(&self) -> Timestamp {
            *self.0.lock().unwrap()
        }
        fn sleep(&self, _millis: u64) -> BoxFuture<'static, ()> {
            Box::pin(std::future::pending())
        }
    }

    struct Numbered(u32, Arc<Mutex<Vec<u32>>>);

    impl Retire for Numbered {
        fn retire(self) {
            self.1.lock().unwrap().push(self.0);
        }
    }

    #[tokio::test]
    async fn the_newest_is_used_first_and_surplus_is_retired() {
        let clock = Arc::new(Still(Mutex::new(Timestamp::EPOCH)));
        let retired = Arc::new(Mutex::new(Vec::new()));
        let pool = Pool::new(Arc::clone(&clock) as Arc<dyn Clock>, Limits { idle_per_key_max: 2, idle_max: 3 });
        for (key, number) in [("a", 1), ("a", 2), ("a", 3), ("b", 4), ("b", 5)] {
            pool.put(key, Numbered(number, Arc::clone(&retired)), 1_000);
        }
        assert_eq!(*retired.lock().unwrap(), [3, 5]);
        assert_eq!(pool.idle(), 3);
        assert_eq!(pool.take(&"a").unwrap().0, 2);
        assert_eq!(pool.take(&"a").unwrap().0, 1);
        assert!(pool.take(&"a").is_none());
        assert!(pool.take(&"c").is_none());
        assert_eq!(pool.idle(), 1);
    }

    #[tokio::test]
    async fn expired_ones_are_not_handed_out_and_are_swept() {
        let clock = Arc::new(Still(Mutex::new(Timestamp::EPOCH)));
        let retired = Arc::new(Mutex::new(Vec::new()));
        let pool = Pool::new(Arc::clone(&clock) as Arc<dyn Clock>, Limits { idle_per_key_max: 9, idle_max: 9 });
        for (number, idle_ms) in [(1, 5_000), (2, 1_000), (3, 3_000)] {
            pool.put("a", Numbered(number, Arc::clone(&retired)), idle_ms);
        }
        *clock.0.lock().unwrap() = Timestamp::from_millis(2_000);
        let expired = pool.lock().expire(clock.now());
        assert_eq!(expired.iter().map(|c| c.0).collect::<Vec<_>>(), [2]);
        assert_eq!(pool.take(&"a").unwrap().0, 1);
        *clock.0.lock().unwrap() = Timestamp::from_millis(3_000);
        assert!(pool.take(&"a").is_none());
        assert_eq!(pool.idle(), 0);
        assert!(pool.lock().expire(clock.now()).is_empty());
        assert!(!pool.lock().is_swept, "the sweep ends when nothing is idle, and the next connection starts another");
    }
}
