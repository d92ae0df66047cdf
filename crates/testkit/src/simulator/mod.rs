//! The simulator: a whole installation, its providers and its tenants, played from one seed.
//!
//! The engine is the real one on a real database. Around it everything is made up: the clock, the providers' answers, what tenants ask for, who dies when. Each step does one thing
//! chosen by the seed: a request (single, batch, repeated, together with others), a claim, the beginning or the end of an exchange (accepted, refused for any
//! reason, throttled, broken early or late, garbled, left hanging), a provider's report (early, late, twice, out of order, forged, never), a cancellation, a dead letter's retry,
//! a change or the end of an account, a background job, the passing of time, the death of a process at rest or in the middle of its work, a second process, one that sleeps
//! and comes back. After every step [`laws`] are checked against one snapshot of the database, the providers' ledger, and what was answered. At the end
//! everything becomes well, and every message must come to its end.
//!
//! ## The same seed plays the same
//! Each process has a runtime of its own with one thread, and the simulator lets one of them move at a time, until it can do nothing more: all its exchanges have
//! ended or wait for a provider, which answers when the simulator says so. Chance comes from [`Ids::seeded`]. A process dies by the loss of its runtime. On PostgreSQL the
//! server's own pace adds chance of its own: there the laws hold as well, and a failure may not come again.
//!
//! Played by `tests/it/simulator.rs`; `SEED=7 cargo nextest run -p tidings-testkit simulator` plays one seed.

mod act;
mod billing;
mod client;
mod end;
mod fate;
pub mod laws;
mod node;
mod person;
mod picture;
mod provider;
mod routing;
mod sabotage;
mod stage;
mod words;

use std::{fmt, sync::Arc};

use model::{Clock as _, Ids, TenantId};
use tokio::runtime::Runtime;

use self::{
    act::Weights,
    client::{Account, Client, Tenant},
    laws::{Case, WORKS},
    node::{Node, Outside},
    picture::Picture,
    provider::Provider,
    routing::Route,
};
pub use self::{laws::Broken, sabotage::Sabotage};
use crate::{ManualClock, MemoryBlobs, TestDb};

/// Steps of a run, before everything becomes well.
pub const STEPS: usize = 130;
/// Lines of the trace that a failure shows.
const TRACE_SHOWN: usize = 400;

/// On which database a seed is played.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum On {
    /// A fresh SQLite file.
    Sqlite,
    /// A fresh PostgreSQL database.
    Postgres,
}

/// How a seed is played.
#[derive(Debug, Clone, Copy)]
pub struct Setup {
    /// On which database.
    pub on: On,
    /// Steps before the end.
    pub steps: usize,
    /// Something done behind the engine's back, to see that the laws notice.
    pub sabotage: Option<Sabotage>,
    /// True when tenants have plans and pay ahead.
    pub is_billed: bool,
    /// True when tenants have several accounts for a channel, and rules that choose among them.
    pub is_routed: bool,
}

impl Setup {
    /// A run of [`STEPS`] in which nobody cheats.
    pub const fn on(on: On) -> Self {
        Self { on, steps: STEPS, sabotage: None, is_billed: false, is_routed: false }
    }
}

/// What a run that broke no law was made of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summary {
    /// Messages accepted.
    pub messages: usize,
    /// Messages in requests that reached a provider.
    pub requests: usize,
    /// Copies providers took.
    pub copies: usize,
    /// Processes that died.
    pub deaths: usize,
    /// Attempts of which nobody can say what became of them.
    pub unknown: usize,
    /// A hash of everything that happened, in order: two runs with the same one were the same.
    pub fingerprint: u64,
}

/// A run that broke a law.
#[derive(Debug)]
pub struct Failed {
    /// Its seed.
    pub seed: u64,
    /// The step.
    pub step: usize,
    /// The law.
    pub broken: Broken,
    /// What happened, a line each.
    pub trace: Vec<String>,
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let from = self.trace.len().saturating_sub(TRACE_SHOWN);
        for line in &self.trace[from..] {
            writeln!(f, "{line}")?;
        }
        writeln!(f, "seed {}, step {}: {}", self.seed, self.step, self.broken)?;
        write!(f, "play it again with SEED={} cargo nextest run -p tidings-testkit simulator", self.seed)
    }
}

/// Plays a seed.
pub fn play(seed: u64, setup: Setup) -> Result<Summary, Box<Failed>> {
    let mut play = Simulation::new(seed, setup);
    let played = play.run();
    played.map_err(|broken| Box::new(Failed { seed, step: play.step, broken, trace: std::mem::take(&mut play.trace) }))
}

type Result<T = (), E = Broken> = std::result::Result<T, E>;

/// A run under way. The order of fields is the order in which they end: processes before what they use.
struct Simulation {
    nodes: Vec<Node>,
    outside: Outside,
    chance: Ids,
    setup: Setup,
    weights: Weights,
    /// True when a second process may join; then nobody can recover at once after a crash.
    is_shared: bool,
    is_time_straight: bool,
    tenants: Vec<Tenant>,
    accounts: Vec<Account>,
    routes: Vec<Route>,
    client: Client,
    summary: Summary,
    nodes_started: u32,
    has_cheated: bool,
    step: usize,
    trace: Vec<String>,
    db: TestDb,
    runtime: Runtime,
}

impl Simulation {
    fn new(seed: u64, setup: Setup) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime starts");
        let db = match setup.on {
            On::Sqlite => runtime.block_on(crate::sqlite()),
            On::Postgres => runtime.block_on(crate::postgres()),
        };
        let clock = ManualClock::at_some_time();
        let chance = Ids::seeded(seed);
        let weights = Weights::of(&chance);
        let is_shared = chance.below(3) == 0;
        let outside = Outside {
            url: db.url.clone(),
            shared: (setup.on == On::Sqlite).then(|| db.db.clone()),
            provider: Provider::new(Arc::clone(&clock), seed),
            clock,
            blobs: MemoryBlobs::new(),
            seed,
            leaves_at_once: chance.below(2) == 0,
        };
        Self {
            nodes: Vec::new(),
            outside,
            chance,
            setup,
            weights,
            is_shared,
            is_time_straight: true,
            tenants: Vec::new(),
            accounts: Vec::new(),
            routes: Vec::new(),
            client: Client::default(),
            summary: Summary::default(),
            nodes_started: 0,
            has_cheated: false,
            step: 0,
            trace: Vec::new(),
            db,
            runtime,
        }
    }

    fn run(&mut self) -> Result<Summary> {
        self.found()?;
        while self.step < self.setup.steps {
            self.step += 1;
            let has_moved = self.act()?;
            if let Some(sabotage) = self.setup.sabotage {
                self.cheat(sabotage)?;
            }
            if has_moved {
                self.look()?;
            }
        }
        self.end()?;
        let bytes = self.trace.iter().flat_map(|line| line.bytes());
        self.summary.fingerprint =
            bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        Ok(self.summary)
    }

    /// Checks every law.
    fn look(&mut self) -> Result<Picture> {
        let ids: Vec<TenantId> = self.tenants.iter().map(|tenant| tenant.id).collect();
        let now = self.outside.clock.now();
        let picture =
            self.runtime.block_on(Picture::take(&self.db, &ids, now)).map_err(|error| broken(WORKS, error))?;
        if self.setup.is_routed {
            self.look_at_routes(&picture)?;
        }
        self.case(&picture, |case| case.check())?;
        if self.setup.is_billed {
            self.look_at_books()?;
        }
        let provider = self.outside.provider.state();
        let unknown = |attempts: &Vec<picture::Attempt>| {
            attempts.iter().filter(|attempt| attempt.outcome == model::FailureKind::Unknown.code()).count()
        };
        self.summary.messages = picture.messages.len();
        self.summary.requests = provider.seen.len();
        self.summary.copies = provider.copies.len();
        self.summary.unknown = picture.attempts.values().map(unknown).sum();
        drop(provider);
        self.client.seen = picture.messages.iter().map(|(id, m)| (*id, m.status)).collect();
        self.client.reopened.clear();
        Ok(picture)
    }

    /// Holds a picture against everything else that is known.
    fn case<T>(&self, picture: &Picture, look: impl FnOnce(&Case<'_>) -> T) -> T {
        let provider = self.outside.provider.state();
        look(&Case {
            picture,
            provider: &provider,
            client: &self.client,
            tenants: &self.tenants,
            accounts: &self.accounts,
            is_time_straight: self.is_time_straight,
        })
    }

    fn note(&mut self, what: impl fmt::Display) {
        let time = self.outside.clock.now().jiff().strftime("%H:%M:%S%.3f").to_string();
        self.trace.push(format!("{:>4} {time} {what}", self.step));
    }

    /// A number below `end`; 0 when `end` is 0.
    fn below(&self, end: usize) -> usize {
        self.chance.below(end as u64) as usize
    }

    /// True once in `times`.
    fn one_in(&self, times: u64) -> bool {
        self.chance.below(times) == 0
    }
}

fn broken(law: &'static str, by: impl fmt::Display) -> Broken {
    Broken { law, by: by.to_string() }
}
