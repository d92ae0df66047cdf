//! Everything the engine reaches, held by a test.

use std::{collections::BTreeMap, sync::Arc};

use engine::Ports;
use model::{Answer, Broken, Call, Ids};

use crate::{FakeTransport, ManualClock, MemoryBlobs, TestDb, Zone, smtp_accepted, transport::http_answer};

/// A small world: the engine's [`Ports`] and handles on what is behind them.
pub struct World {
    /// What the engine gets.
    pub ports: Ports,
    /// The clock in `ports`.
    pub clock: Arc<ManualClock>,
    /// The transport in `ports`.
    pub transport: Arc<FakeTransport>,
    /// The files in `ports`.
    pub blobs: Arc<MemoryBlobs>,
    /// What is published in the DNS.
    pub zone: Arc<Zone>,
    /// Where requests go instead of to the providers, by connector.
    pub base_urls: BTreeMap<String, String>,
}

impl World {
    /// A world in which every provider accepts: 200 with `{}`, or 250 to the final dot.
    pub fn new(db: &TestDb) -> Self {
        Self::answering(db, |call| match call {
            Call::Http(_) => http_answer(200, "{}"),
            Call::Smtp(_) => smtp_accepted(),
            Call::Local => Ok(Answer::Local),
        })
    }

    /// A world with one provider, which answers as `respond` says.
    pub fn answering(db: &TestDb, respond: impl Fn(&Call) -> Result<Answer, Broken> + Send + Sync + 'static) -> Self {
        Self::with_transport(db, FakeTransport::new(respond))
    }

    /// A world around a transport; the seed of its ids is always the same.
    pub fn with_transport(db: &TestDb, transport: Arc<FakeTransport>) -> Self {
        let clock = ManualClock::at_some_time();
        let blobs = MemoryBlobs::new();
        let zone = Zone::empty();
        let ports = Ports {
            db: db.db.clone(),
            clock: Arc::<ManualClock>::clone(&clock),
            ids: Arc::new(Ids::seeded(1)),
            transport: Arc::<FakeTransport>::clone(&transport),
            blobs: Arc::<MemoryBlobs>::clone(&blobs),
            dns: Arc::<Zone>::clone(&zone),
        };
        Self { ports, clock, transport, blobs, zone, base_urls: BTreeMap::new() }
    }
}
