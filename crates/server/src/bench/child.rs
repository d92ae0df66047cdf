//! The server under test: this very program, started as `tidings serve` in a process of its own, so that its processor time, memory and disk writes are its own.

use std::{
    env,
    net::{SocketAddr, TcpListener},
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, bail};
use serde_json::Value;

use super::{
    clock::{now_us, sleep_ms},
    load::{Connection, Target, excerpt},
    meter,
    room::Room,
};

/// The operator's key of every server under test.
const OPERATOR_KEY: &str = "tdo_benchbenchbenchbenchbenchbenchbenchbench";
/// Time for a server to come up, in microseconds: a start that migrates takes a part of a second.
const START_US: u64 = 30_000_000;
/// Between two knocks at a server that is starting, in milliseconds.
const KNOCK_MS: u64 = 2;

/// What a server does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Roles {
    /// Everything, as shipped.
    All,
    /// Accepts and shows, and sends nothing, so that a queue can be filled before its draining is measured.
    NoWorker,
}

/// A running server. Killed when dropped.
pub struct Server {
    process: Child,
    /// Where it listens.
    pub address: SocketAddr,
    /// When it was started, in microseconds since 1970.
    pub started_us: u64,
}

impl Server {
    /// Starts a server on the room's database and waits until it is ready. `provider` takes the place of Twilio.
    pub async fn start(room: &Room, roles: Roles, provider: Option<SocketAddr>) -> anyhow::Result<Self> {
        let server = Self::spawn(room, roles, provider)?;
        server.until_ready().await?;
        Ok(server)
    }

    /// Starts a server and does not wait for it.
    pub fn spawn(room: &Room, roles: Roles, provider: Option<SocketAddr>) -> anyhow::Result<Self> {
        let address = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?;
        let mut command = Command::new(env::current_exe()?);
        command
            .arg("serve")
            // No tidings.toml of the directory we were started in, and no settings of whoever started us.
            .current_dir(room.directory())
            .env_clear()
            .env("TIDINGS_LISTEN", address.to_string())
            .env("TIDINGS_DATA_DIR", room.directory().join("data"))
            .env("TIDINGS_DATABASE_URL", &room.url)
            .env("TIDINGS_BOOTSTRAP_OPERATOR_KEY", OPERATOR_KEY)
            .env("TIDINGS_OUTBOUND__ALLOW", "loopback")
            .env("TIDINGS_LOG__LEVEL", "warn")
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        if roles == Roles::NoWorker {
            command.env("TIDINGS_ROLES", "api,console");
        }
        if let Some(provider) = provider {
            command.env("TIDINGS_CONNECTORS__TWILIO__BASE_URL", format!("http://{provider}"));
        }
        let started_us = now_us();
        let process = command.spawn().context("cannot start the server under test")?;
        Ok(Self { process, address, started_us })
    }

    async fn until_ready(&self) -> anyhow::Result<()> {
        let request = self.operator().request("GET", "/readyz", "", "");
        while now_us() - self.started_us < START_US {
            if let Ok(mut connection) = Connection::open(self.address).await
                && matches!(connection.exchange(&request).await, Ok((200, _)))
            {
                return Ok(());
            }
            sleep_ms(KNOCK_MS).await;
        }
        bail!("the server under test did not become ready; it may have said why above")
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// For requests of the operator.
    pub fn operator(&self) -> Target {
        Target::new(self.address, OPERATOR_KEY)
    }

    /// For requests of a tenant.
    pub fn tenant(&self, key: &str) -> Target {
        Target::new(self.address, key)
    }

    /// What it says of itself.
    pub async fn metrics(&self) -> anyhow::Result<String> {
        let request = self.operator().request("GET", "/metrics", "", "");
        let mut connection = Connection::open(self.address).await?;
        let (_, body) = connection.exchange(&request).await?;
        Ok(String::from_utf8_lossy(body).into_owned())
    }

    /// Commits it has made, on SQLite.
    pub async fn commits(&self) -> Option<u64> {
        meter::commits(&self.metrics().await.ok()?)
    }

    /// Makes a tenant; answers its API key.
    pub async fn make_tenant(&self, name: &str) -> anyhow::Result<String> {
        let operator = self.operator();
        let made = call(&operator, "POST", "/v1/tenants", "", &serde_json::json!({ "name": name })).await?;
        let id = made["id"].as_str().context("a tenant has an id")?;
        let inside = format!("tidings-tenant: {id}\r\n");
        let key = call(&operator, "POST", "/v1/api-keys", &inside, &serde_json::json!({"name": "bench"})).await?;
        Ok(key["key"].as_str().context("a key is shown")?.to_owned())
    }

    /// Ends it at once, as a power cut would. What it committed stays.
    pub fn kill(mut self) {
        self.end();
    }

    fn end(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}

/// One request with a JSON body, whose answer must be a success.
pub async fn call(target: &Target, method: &str, path: &str, extra: &str, body: &Value) -> anyhow::Result<Value> {
    let text = if body.is_null() { String::new() } else { body.to_string() };
    let mut connection = Connection::open(target.address).await?;
    let (status, answer) = connection.exchange(&target.request(method, path, extra, &text)).await?;
    if !(200..300).contains(&status) {
        bail!("{method} {path} was answered {status}: {}", excerpt(answer));
    }
    if answer.is_empty() { Ok(Value::Null) } else { Ok(serde_json::from_slice(answer)?) }
}

/// An account of Twilio's connector, whose requests go to the receiver.
pub async fn twilio_account(target: &Target, sid: &str) -> anyhow::Result<String> {
    let body = serde_json::json!({
        "name": "Twilio", "connector": "twilio", "from": "+15550100001", "channels": ["sms"],
        "settings": {"account_sid": sid, "auth_token": AUTH_TOKEN},
    });
    let made = call(target, "POST", "/v1/accounts", "", &body).await?;
    Ok(made["id"].as_str().context("an account has an id")?.to_owned())
}

/// What signs the callbacks of every Twilio account here.
pub const AUTH_TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// An account of a mail server.
pub async fn smtp_account(target: &Target, server: SocketAddr) -> anyhow::Result<()> {
    let body = serde_json::json!({
        "name": "Mail", "connector": "smtp", "from": "Acme Tickets <tickets@acme.example>",
        "settings": {"host": "127.0.0.1", "port": server.port(), "security": "none"},
    });
    call(target, "POST", "/v1/accounts", "", &body).await.map(drop)
}
