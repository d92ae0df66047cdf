//! What one node holds in memory for its requests and jobs, in one place to hand around.

use std::sync::Arc;

use crate::{
    Config, Ports,
    access::Passwords,
    directory::Directory,
    limits::Limits,
    once::Running,
    vault::{MasterKeys, Vault},
};

/// The engine of one node. Cheap to clone.
#[derive(Clone)]
pub struct Parts {
    /// The doors to the world.
    pub ports: Ports,
    /// What the operator configured.
    pub config: Arc<Config>,
    /// Seals and opens secrets.
    pub vault: Arc<Vault>,
    /// Tenants, accounts, endpoints and keys.
    pub directory: Arc<Directory>,
    /// Idempotency keys whose request is running on this node.
    pub running: Running,
    /// Makes and checks the hashes of passwords.
    pub passwords: Arc<Passwords>,
    /// How fast each tenant may call.
    pub limits: Arc<Limits>,
}

impl Parts {
    /// Puts a node together. Does nothing yet but give the vault to the database's transactions, in which audit entries are sealed.
    pub fn new(ports: Ports, config: Config, masters: MasterKeys) -> Self {
        let config = Arc::new(config);
        let vault = Arc::new(Vault::new(masters));
        ports.db.accompany(Arc::<Vault>::clone(&vault));
        let directory = Directory::new(ports.clone(), config.public_url.clone(), Arc::clone(&vault));
        Self {
            directory: Arc::new(directory),
            running: Running::default(),
            passwords: Arc::new(Passwords::default()),
            limits: Arc::new(Limits::new(config.requests_per_second)),
            ports,
            config,
            vault,
        }
    }
}
