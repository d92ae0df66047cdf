//! Puts a node together from its configuration: database, clock, ids, transport, files, and the engine's parts.

use std::{net::SocketAddr, sync::Arc};

use engine::{Engine, Ports};
use model::{Clock, Ids};
use net::{Guard, Lookups, Net, NetConfig, SystemClock};
use store::{Db, blobs::DiskBlobs};

use crate::{
    cli::{Failure, say},
    config::{Config, ConfigError},
    home,
};

/// Attachments, in the data directory.
const BLOBS: &str = "attachments";

/// What every command that works on the database starts from.
pub struct Node {
    /// The engine. Nothing of it runs yet.
    pub engine: Arc<Engine>,
    /// Sentences for the operator about what this start made or found.
    pub notes: Vec<String>,
}

/// The engine for a command that works on the database itself, beside running servers. Says what [`open`] has to say.
pub async fn admin(config: &Config) -> Result<Arc<Engine>, Failure> {
    let node = open(config, config.listen).await?;
    node.notes.iter().for_each(|note| say(note));
    Ok(node.engine)
}

/// Opens the database, brings it to our version, and checks that every secret in it can be opened. `bound` is where the API listens.
pub async fn open(config: &Config, bound: SocketAddr) -> Result<Node, Failure> {
    home::make_data_dir(config)?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let ids = Arc::new(Ids::from_os());
    let master = home::master(config, &ids)?;
    let db = Db::open(config.database_url.reveal())?;
    store::migrate(&db, clock.now()).await?;
    let net = NetConfig {
        guard: Guard::new(config.outbound.allow.clone()),
        extra_root_pems: config.outbound.extra_root_pems.clone(),
        ..NetConfig::default()
    };
    let transport =
        Net::new(net, Arc::clone(&clock)).map_err(|error| ConfigError(format!("`outbound.ca_files`: {error}")))?;
    let directory = config.data_dir.join(BLOBS);
    let blobs = DiskBlobs::new(&directory).map_err(|error| {
        ConfigError(format!("`data_dir`: attachments cannot be kept in {}: {error}", directory.display()))
    })?;
    let blobs = Arc::new(blobs);
    let dns = Lookups::new(config.dns_resolver);
    let ports = Ports { db, clock, ids, transport, blobs, dns };
    let engine = Engine::new(ports, engine_config(config, bound), master.keys);
    engine.vault.check(&engine.ports.db).await?;
    let made = master.made.map(|path| {
        format!("Made the master key {}. It seals every stored secret: keep a copy somewhere safe.", path.display())
    });
    Ok(Node { engine, notes: made.into_iter().chain(home::key_file_warning(config)).collect() })
}

fn engine_config(config: &Config, bound: SocketAddr) -> engine::Config {
    engine::Config {
        public_url: config.public_url(bound),
        base_urls: config.base_urls.clone(),
        requests_per_second: config.limits.tenant_per_second,
        slots: config.limits.in_flight,
    }
}
