//! What the operator configures: defaults in code, then `tidings.toml`, then the environment, then flags; the later one wins.
//!
//! [`Config::load`] is called once, at the start of every command. A setting nobody knows and a value nobody can use are refused with one line that
//! names the setting, where it stands, and the remedy: a typing error must not become a default. The settings themselves are declared in [`keys`].

pub mod keys;
pub mod layers;
mod values;

use std::{
    collections::BTreeMap,
    fs,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
};

use engine::{access::oidc::Oidc, vault::MasterKeys};
use model::{Secret, TenantId};
use net::Allowed;
use url::{Host, Url};

pub use layers::Flags;
use layers::Layers;

/// A configuration that cannot be used, in one line for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(pub(crate) String);

/// The configuration of this process, checked.
#[derive(Debug)]
pub struct Config {
    /// Where the API listens.
    pub listen: SocketAddr,
    /// Where mail comes in; `None` is nowhere.
    pub mail_listen: Option<SocketAddr>,
    /// Certificate and key for STARTTLS there.
    pub mail_tls: Option<(PathBuf, PathBuf)>,
    /// Where files live.
    pub data_dir: PathBuf,
    /// `sqlite:PATH` or `postgres://…`.
    pub database_url: Secret,
    /// Where the world reaches us, without a trailing slash; `None` is "where we listen".
    pub public_url: Option<String>,
    /// Header in which a trusted proxy names the client.
    pub client_ip_header: Option<http::HeaderName>,
    /// Master keys as configured; `None` is "the key in the data directory".
    pub master_key: Option<Secret>,
    /// The operator's first API key, when it is not to be a random one.
    pub bootstrap_operator_key: Option<Secret>,
    /// The tenant through whose e-mail account the installation writes to people.
    pub mail_tenant: Option<TenantId>,
    /// The OpenID provider people may sign in with.
    pub oidc: Option<Oidc>,
    /// What this process does.
    pub roles: Roles,
    /// Where a connector's requests go instead of the provider, by connector id, without trailing slashes.
    pub base_urls: BTreeMap<String, String>,
    /// What outgoing connections may reach besides the public internet.
    pub outbound: Outbound,
    /// Which DNS server is asked about mail domains; `None` is the system's.
    pub dns_resolver: Option<SocketAddr>,
    /// Limits.
    pub limits: Limits,
    /// How we log.
    pub log: Log,
    /// Every setting with its value and where that came from, for `tidings doctor`.
    pub effective: Vec<Effective>,
}

/// What a process does. Several processes on one PostgreSQL can share the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Roles {
    /// Answers the API and takes provider callbacks.
    pub api: bool,
    /// Shows the console.
    pub console: bool,
    /// Sends, and runs background jobs.
    pub worker: bool,
}

/// The guard's exceptions.
#[derive(Debug, Clone)]
pub struct Outbound {
    /// Everything that is allowed, hosts of base URLs included.
    pub allow: Vec<Allowed>,
    /// True when loopback is allowed because this looks like a developer's machine, not because somebody said so.
    pub is_loopback_by_default: bool,
    /// Certificate authorities to trust besides Mozilla's, as PEM texts.
    pub extra_root_pems: Vec<String>,
}

/// Limits with a reason; see [`keys`] for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Largest request body, in bytes.
    pub body_bytes: usize,
    /// Open connections of clients.
    pub connections: usize,
    /// Messages and other requests a tenant may make per second; `None` is no limit.
    pub tenant_per_second: Option<u32>,
    /// Attempts under way at once.
    pub in_flight: usize,
    /// Time to finish what is in flight when we are told to stop, in milliseconds.
    pub stop_ms: u64,
}

/// How log lines look and which are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// One JSON object per line instead of text.
    pub is_json: bool,
    /// What to log, as tracing's filters are written: `info`, or `info,tidings_engine=debug`.
    pub level: String,
}

/// A setting as it is in force.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Effective {
    /// Its name in `tidings.toml`, with dots.
    pub key: String,
    /// Its value; secrets are only hinted at.
    pub value: String,
    /// Where the value came from.
    pub origin: String,
}

impl Config {
    /// Reads `tidings.toml`, the environment and the flags, and checks everything.
    pub fn load(flags: &Flags, environment: impl IntoIterator<Item = (String, String)>) -> Result<Self, ConfigError> {
        Self::read(Layers::gather(flags, environment)?)
    }

    fn read(mut layers: Layers) -> Result<Self, ConfigError> {
        let listen = layers.parse("listen", values::listen)?;
        let data_dir = PathBuf::from(layers.text("data_dir")?);
        let public_url = layers.parse_if_set("public_url", values::public_url)?;
        let base_urls = base_urls(&layers)?;
        let oidc = oidc(&layers)?;
        let config = Self {
            mail_listen: layers.parse_if_set("mail_listen", values::listen)?,
            mail_tls: mail_tls(&layers)?,
            database_url: database_url(&layers, &data_dir)?,
            client_ip_header: layers.parse_if_set("client_ip_header", values::header_name)?,
            master_key: layers.parse_if_set("master_key", |text| {
                MasterKeys::parse(text).map(|_| Secret::new(text)).map_err(|error| error.to_string())
            })?,
            bootstrap_operator_key: layers.parse_if_set("bootstrap_operator_key", values::operator_key)?,
            mail_tenant: layers.parse_if_set("mail_tenant", values::tenant)?,
            roles: layers.parse_list("roles", values::roles)?,
            outbound: outbound(&layers, listen, public_url.as_deref(), &base_urls, oidc.as_ref())?,
            oidc,
            dns_resolver: layers.parse_if_set("dns_resolver", values::dns_resolver)?,
            limits: Limits {
                body_bytes: layers.number("limits.body_bytes", 1_024..=64 << 20)?,
                connections: layers.number("limits.connections", 1..=1_000_000)?,
                tenant_per_second: Some(layers.number("limits.tenant_per_second", 0..=10_000_000)?).filter(|n| *n > 0),
                in_flight: layers.number("limits.in_flight", 1..=65_536)?,
                stop_ms: layers.number("limits.stop_ms", 0..=3_600_000)?,
            },
            log: Log {
                is_json: layers.parse("log.format", values::is_json)?,
                level: layers.parse("log.level", values::log_level)?,
            },
            effective: Vec::new(),
            listen,
            data_dir,
            public_url,
            base_urls,
        };
        layers.parse("lanes", values::lanes)?;
        layers.set_default("database_url", config.database_url.reveal());
        Ok(Self { effective: layers.effective(), ..config })
    }

    /// Where the world reaches us, without a trailing slash. `bound` is the address we really listen at.
    pub fn public_url(&self, bound: SocketAddr) -> String {
        self.public_url.clone().unwrap_or_else(|| {
            let ip = match bound.ip() {
                IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(std::net::Ipv4Addr::LOCALHOST),
                IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(std::net::Ipv6Addr::LOCALHOST),
                ip => ip,
            };
            format!("http://{}", SocketAddr::new(ip, bound.port()))
        })
    }

    /// The name by which mail servers are greeted: the public host's.
    pub fn mail_name(&self, bound: SocketAddr) -> String {
        let url = Url::parse(&self.public_url(bound)).ok();
        match url.as_ref().and_then(Url::host) {
            Some(Host::Ipv4(ip)) => format!("[{ip}]"),
            Some(Host::Ipv6(ip)) => format!("[IPv6:{ip}]"),
            Some(Host::Domain(name)) => name.to_owned(),
            None => "localhost".to_owned(),
        }
    }

    /// The file of an SQLite database; `None` on PostgreSQL.
    pub fn sqlite_file(&self) -> Option<&Path> {
        let path = self.database_url.reveal().strip_prefix("sqlite:")?;
        Some(Path::new(path.strip_prefix("//").unwrap_or(path)))
    }

    /// What works but is worth a word to the operator.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.outbound.is_loopback_by_default {
            warnings.push(
                "Outgoing connections to this machine itself (loopback) are allowed, because it looks like a developer's: set `outbound.allow`, \
                 a public `public_url` or another `listen` to change that."
                    .to_owned(),
            );
        }
        if !self.listen.ip().is_loopback() && self.public_url.is_none() {
            warnings.push(
                "`public_url` is not set: providers cannot call back, and links lead to the address we listen at. Set it to where the world reaches this server."
                    .to_owned(),
            );
        }
        if self.public_url.as_deref().is_some_and(|url| url.starts_with("http://") && !is_loopback_url(url)) {
            warnings.push("`public_url` is plain http: API keys and callbacks cross the network unprotected. Put TLS in front and write https.".to_owned());
        }
        warnings
    }
}

fn database_url(layers: &Layers, data_dir: &Path) -> Result<Secret, ConfigError> {
    let url = layers.parse_if_set("database_url", values::database_url)?;
    Ok(url.unwrap_or_else(|| Secret::new(format!("sqlite:{}", data_dir.join("tidings.db").display()))))
}

/// Certificate and key of the mail listener: both, or neither.
fn mail_tls(layers: &Layers) -> Result<Option<(PathBuf, PathBuf)>, ConfigError> {
    let path = |name: &str| {
        layers.parse_if_set(name, |text| match text {
            "" => Err("write a path".to_owned()),
            text => Ok(PathBuf::from(text)),
        })
    };
    match (path("mail_tls_certificate")?, path("mail_tls_key")?) {
        (Some(certificate), Some(key)) => Ok(Some((certificate, key))),
        (None, None) => Ok(None),
        (Some(_), None) => Err(ConfigError(
            "`mail_tls_key` is missing: set it to the file with the certificate's private key".to_owned(),
        )),
        (None, Some(_)) => Err(ConfigError(
            "`mail_tls_certificate` is missing: set it to the file with the certificate that goes with the key"
                .to_owned(),
        )),
    }
}

fn base_urls(layers: &Layers) -> Result<BTreeMap<String, String>, ConfigError> {
    layers.connectors().map(|(id, key)| Ok((id.to_owned(), layers.parse(key, values::base_url)?))).collect()
}

/// The OpenID provider, when there is one. Half a configuration is refused rather than left without effect.
fn oidc(layers: &Layers) -> Result<Option<Oidc>, ConfigError> {
    let client_id = layers.parse_if_set("oidc.client_id", values::word)?;
    let client_secret = layers.parse_if_set("oidc.client_secret", values::word)?.map(Secret::new);
    let allowed_domains = layers.parse_list_if_set("oidc.allowed_domains", values::domains)?.unwrap_or_default();
    let auto_create = layers.parse_if_set("oidc.auto_create", values::membership)?;
    match (layers.parse_if_set("oidc.issuer", values::issuer)?, client_id) {
        (Some(issuer), Some(client_id)) => {
            Ok(Some(Oidc { issuer, client_id, client_secret, allowed_domains, auto_create }))
        }
        (None, None) if client_secret.is_none() && allowed_domains.is_empty() && auto_create.is_none() => Ok(None),
        (Some(_), None) => Err(ConfigError("`oidc.client_id` is missing: set it as the provider gave it".to_owned())),
        (None, _) => Err(ConfigError(
            "`oidc.issuer` is missing: set it to the provider's URL, or leave all of `oidc` out".to_owned(),
        )),
    }
}

fn outbound(
    layers: &Layers,
    listen: SocketAddr,
    public_url: Option<&str>,
    base_urls: &BTreeMap<String, String>,
    oidc: Option<&Oidc>,
) -> Result<Outbound, ConfigError> {
    let named = layers.parse_list_if_set("outbound.allow", values::allowed)?;
    let is_loopback_by_default = named.is_none() && listen.ip().is_loopback() && public_url.is_none_or(is_loopback_url);
    let mut allow = named.unwrap_or_default();
    if is_loopback_by_default {
        allow.push(Allowed::Loopback);
    }
    allow.extend(base_urls.values().filter_map(|url| host_of(url)));
    allow.extend(oidc.and_then(|oidc| host_of(&oidc.issuer)));
    let extra_root_pems = layers.parse_list("outbound.ca_files", |files| {
        files
            .iter()
            .map(|file| {
                fs::read_to_string(file).map_err(|error| format!("{file} cannot be read ({error}); name PEM files"))
            })
            .collect()
    })?;
    Ok(Outbound { allow, is_loopback_by_default, extra_root_pems })
}

/// The host and port of a checked base URL, as an exception for the guard.
fn host_of(url: &str) -> Option<Allowed> {
    let url = Url::parse(url).ok()?;
    format!("{}:{}", url.host_str()?, url.port_or_known_default()?).parse().ok()
}

fn is_loopback_url(url: &str) -> bool {
    match Url::parse(url).ok().as_ref().and_then(Url::host) {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests;
