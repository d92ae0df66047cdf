//! One process of Tidings as the simulator sees it: an engine on a runtime of its own, so that dropping the node is the death of the process. Every task ends where
//! it stands, every exchange is forgotten, and only the database remembers.

use std::{
    collections::BTreeMap,
    future::{Future, poll_fn},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    task::Poll,
};

use engine::{Config, Engine, Error, Ports, vault::MasterKeys};
use futures_util::FutureExt as _;
use model::{BoxFuture, Clock, Ids, TenantId, Timestamp};
use store::{Db, Dialect, Scope};
use tokio::{runtime::Runtime, task::JoinHandle};

use super::provider::{Door, Provider};
use crate::{ManualClock, MemoryBlobs, Zone};

/// Where the installation claims to be reached.
pub(super) const PUBLIC_URL: &str = "https://tidings.example";
/// Attempts in flight at once in one process: few, so that the limit is met.
const SLOTS: usize = 24;

/// What all nodes of a run share.
pub(super) struct Outside {
    pub url: String,
    pub shared: Option<Db>,
    pub clock: Arc<ManualClock>,
    pub blobs: Arc<MemoryBlobs>,
    pub provider: Arc<Provider>,
    pub seed: u64,
    /// True when messages may leave as they are accepted.
    pub leaves_at_once: bool,
}

/// A process.
pub(super) struct Node {
    /// Which, counted over the whole run: a process that is started again is another one.
    pub number: u32,
    /// Its engine.
    pub engine: Arc<Engine>,
    /// The step until which nothing runs in it, as in a process that was stopped by a signal or a slow disk.
    pub asleep_until: usize,
    /// Exchanges on record that have not begun.
    claimed: Vec<BoxFuture<'static, ()>>,
    flying: Vec<JoinHandle<()>>,
    afloat: Arc<AtomicUsize>,
    provider: Arc<Provider>,
    runtime: Runtime,
}

/// A clock that goes before or after the others.
struct Skewed {
    clock: Arc<ManualClock>,
    by_ms: i64,
}

impl Clock for Skewed {
    fn now(&self) -> Timestamp {
        self.clock.now().plus_millis(self.by_ms)
    }

    fn sleep(&self, millis: u64) -> BoxFuture<'static, ()> {
        self.clock.sleep(millis)
    }
}

/// Counts one exchange as ended, also when it panics.
struct Landing(Arc<AtomicUsize>, Arc<Provider>);

impl Drop for Landing {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
        self.1.moved.notify_one();
    }
}

impl Node {
    /// Starts a process whose clock is off by `skew_ms`.
    pub fn start(outside: &Outside, number: u32, skew_ms: i64) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime starts");
        let guard = runtime.enter();
        let db = outside.shared.clone().unwrap_or_else(|| Db::open(&outside.url).expect("the database opens"));
        let ports = Ports {
            db,
            clock: Arc::new(Skewed { clock: Arc::clone(&outside.clock), by_ms: skew_ms }),
            ids: Arc::new(Ids::seeded(outside.seed.wrapping_mul(1_000).wrapping_add(u64::from(number)))),
            transport: Arc::new(Door { provider: Arc::clone(&outside.provider), node: number }),
            blobs: Arc::<MemoryBlobs>::clone(&outside.blobs),
            dns: Zone::empty(),
        };
        let config = Config {
            public_url: PUBLIC_URL.to_owned(),
            base_urls: BTreeMap::new(),
            requests_per_second: None,
            slots: SLOTS,
        };
        let masters = MasterKeys::parse("test:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=").expect("a master key");
        let engine = Engine::new(ports, config, masters);
        drop(guard);
        if outside.leaves_at_once && engine.ports.db.dialect() == Dialect::Sqlite {
            engine::dispatch::open(&engine);
        }
        Self {
            number,
            engine,
            asleep_until: 0,
            claimed: Vec::new(),
            flying: Vec::new(),
            afloat: Arc::default(),
            provider: Arc::clone(&outside.provider),
            runtime,
        }
    }

    /// Reads the configuration, so that requests handed in together find it there and follow each other in one order.
    pub fn warm_up(&self, tenants: &[TenantId]) -> Result<(), Error> {
        self.runtime.block_on(async {
            self.engine.directory.refresh().await?;
            for tenant in tenants {
                self.engine.tenant(*tenant).await?;
            }
            Ok(())
        })
    }

    /// Runs something to its end.
    pub fn run<T>(&self, op: impl Future<Output = T>) -> T {
        self.runtime.block_on(op)
    }

    /// Runs something until it has waited `polls` times: then the process dies, which is for the caller to see to. `None` when it did not come to its end.
    pub fn cut<T>(&self, op: impl Future<Output = T>, polls: usize) -> Option<T> {
        let mut op = Box::pin(op);
        let mut polled = 0;
        let db = self.engine.ports.db.clone();
        self.runtime.block_on(poll_fn(|cx| {
            polled += 1;
            // The database does not answer while we look, so that the same seed always dies at the same point.
            let hold = (db.dialect() == Dialect::Sqlite).then(|| Hold::new(&db));
            let result = op.as_mut().poll(cx);
            drop(hold);
            match result {
                Poll::Ready(value) => Poll::Ready(Some(value)),
                Poll::Pending if polled >= polls => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            }
        }))
    }

    /// Puts what is due on record as attempts. Answers how many exchanges wait to begin.
    pub fn claim(&mut self) -> Result<usize, Error> {
        let jobs = self.runtime.block_on(engine::dispatch::exchanges(&self.engine))?;
        self.claimed.extend(jobs);
        Ok(self.claimed.len())
    }

    /// Exchanges that have not begun.
    pub fn claimed(&self) -> usize {
        self.claimed.len()
    }

    /// True while exchanges have begun and not ended.
    pub fn is_flying(&self) -> bool {
        self.afloat.load(Ordering::SeqCst) > 0
    }

    /// Lets exchange `index` begin: its request reaches the provider, or it ends without one.
    pub fn depart(&mut self, index: usize) -> Result<(), String> {
        let job = self.claimed.remove(index);
        self.afloat.fetch_add(1, Ordering::SeqCst);
        let landing = Landing(Arc::clone(&self.afloat), Arc::clone(&self.provider));
        self.flying.push(self.runtime.spawn(async move {
            let _landing = landing;
            job.await;
        }));
        self.settle()
    }

    /// Lets everything happen that can, until each exchange has ended or waits for the provider.
    pub fn settle(&mut self) -> Result<(), String> {
        let (afloat, provider, number) = (&self.afloat, &self.provider, self.number);
        let metrics = self.runtime.metrics();
        match self.engine.ports.db.dialect() {
            // Tasks alive are exchanges, and work that ends by itself. Messages that leave as they are accepted are among them.
            Dialect::Sqlite => self.runtime.block_on(async {
                while metrics.num_alive_tasks() != provider.waiting_of(number) {
                    std::thread::yield_now();
                    tokio::task::yield_now().await;
                }
            }),
            // Its connections are tasks as well, so only the exchanges that began here are counted.
            Dialect::Postgres => self.runtime.block_on(async {
                while afloat.load(Ordering::SeqCst) != provider.waiting_of(number) {
                    provider.moved.notified().await;
                }
            }),
        }
        let flying = std::mem::take(&mut self.flying);
        for mut flight in flying {
            match (&mut flight).now_or_never() {
                None => self.flying.push(flight),
                Some(Ok(())) => {}
                Some(Err(error)) => return Err(format!("an exchange ended in a panic: {error}")),
            }
        }
        Ok(())
    }
}

/// Keeps SQLite's threads busy until dropped.
struct Hold {
    release: Vec<mpsc::Sender<()>>,
}

/// Threads that read and that write; see `store`.
const READERS: usize = 2;

impl Hold {
    fn new(db: &Db) -> Self {
        let (began, begins) = mpsc::channel::<()>();
        let mut release = Vec::new();
        for index in 0..=READERS {
            let (go, wait) = mpsc::channel::<()>();
            let began = began.clone();
            let block = move || {
                let _ = began.send(());
                let _ = wait.recv();
            };
            let submitted = if index == 0 {
                let held = db.write(Scope::System, move |_| {
                    block();
                    Box::pin(async { Ok::<_, store::Error>(()) })
                });
                Box::pin(held).now_or_never()
            } else {
                let held = db.read(Scope::System, move |_| {
                    block();
                    Box::pin(async { Ok::<_, store::Error>(()) })
                });
                Box::pin(held).now_or_never()
            };
            debug_assert!(submitted.is_none(), "a job that is held has no answer yet");
            release.push(go);
        }
        for _ in 0..=READERS {
            let _ = begins.recv();
        }
        Self { release }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        for go in self.release.drain(..) {
            let _ = go.send(());
        }
    }
}

/// Waits until SQLite's writer has done what a dead process left in its queue.
pub(super) async fn barrier(db: &Db) {
    let done = db.write(Scope::System, |_| Box::pin(async { Ok::<_, store::Error>(()) })).await;
    done.expect("the database answers");
}
