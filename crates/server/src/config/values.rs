//! How each value is read. Every function answers the value, or what is wrong with it and the remedy; the caller adds where it stands.

use std::net::SocketAddr;

use model::Secret;
use net::Allowed;
use tracing_subscriber::EnvFilter;
use url::Url;

use super::Roles;

/// Fewest characters behind `tdo_`: as unguessable as a key we would make ourselves needs 22, and nobody types one.
const OPERATOR_KEY_MIN: usize = 22;
/// Longest key we look at in a request, without its prefix.
const OPERATOR_KEY_MAX: usize = 252;

type Checked<T> = Result<T, String>;

pub(super) fn listen(text: &str) -> Checked<SocketAddr> {
    text.parse().map_err(|_| "write an address and a port, such as 127.0.0.1:8080 or [::]:8080".to_owned())
}

pub(super) fn database_url(text: &str) -> Checked<Secret> {
    let is_known = ["sqlite:", "postgres://", "postgresql://"]
        .iter()
        .any(|scheme| text.starts_with(scheme) && text.len() > scheme.len());
    if is_known {
        Ok(Secret::new(text))
    } else {
        Err("write sqlite:PATH or postgres://USER:PASSWORD@HOST/DATABASE".to_owned())
    }
}

pub(super) fn public_url(text: &str) -> Checked<String> {
    plain_url(text).ok_or_else(|| "write a URL such as https://tidings.example.com, without a query".to_owned())
}

pub(super) fn base_url(text: &str) -> Checked<String> {
    plain_url(text).ok_or_else(|| "write a URL such as https://api.provider.example, without a query".to_owned())
}

/// An http or https URL of a host and perhaps a path, without its trailing slashes.
fn plain_url(text: &str) -> Option<String> {
    let url = Url::parse(text).ok()?;
    let is_web = matches!(url.scheme(), "http" | "https") && url.host_str().is_some();
    let is_plain =
        url.query().is_none() && url.fragment().is_none() && url.username().is_empty() && url.password().is_none();
    (is_web && is_plain).then(|| url.as_str().trim_end_matches('/').to_owned())
}

pub(super) fn header_name(text: &str) -> Checked<http::HeaderName> {
    text.parse().map_err(|_| "write the name of a header, such as x-forwarded-for".to_owned())
}

pub(super) fn operator_key(text: &str) -> Checked<Secret> {
    let is_good = text.strip_prefix("tdo_").is_some_and(|rest| {
        (OPERATOR_KEY_MIN..=OPERATOR_KEY_MAX).contains(&rest.len())
            && rest.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    });
    let remedy = || {
        format!("write tdo_ and {OPERATOR_KEY_MIN} to {OPERATOR_KEY_MAX} random letters, digits, dashes or underscores")
    };
    if is_good { Ok(Secret::new(text)) } else { Err(remedy()) }
}

pub(super) fn roles(names: &[String]) -> Checked<Roles> {
    let mut roles = Roles { api: false, console: false, worker: false };
    for name in names {
        match name.as_str() {
            "api" => roles.api = true,
            "console" => roles.console = true,
            "worker" => roles.worker = true,
            other => return Err(format!("`{other}` is no role; choose from api, console and worker")),
        }
    }
    if roles == (Roles { api: false, console: false, worker: false }) {
        return Err("name at least one of api, console and worker".to_owned());
    }
    Ok(roles)
}

pub(super) fn lanes(text: &str) -> Checked<()> {
    match text {
        "database" => Ok(()),
        broker if broker.starts_with("nats://") || broker.starts_with("sqs:") => {
            Err("this version keeps due work in the database only; write `database`".to_owned())
        }
        _ => Err("write `database`".to_owned()),
    }
}

pub(super) fn allowed(entries: &[String]) -> Checked<Vec<Allowed>> {
    entries.iter().map(|entry| entry.parse::<Allowed>().map_err(|error| error.to_string())).collect()
}

pub(super) fn is_json(text: &str) -> Checked<bool> {
    match text {
        "json" => Ok(true),
        "text" => Ok(false),
        _ => Err("write text or json".to_owned()),
    }
}

pub(super) fn log_level(text: &str) -> Checked<String> {
    let remedy = || "write error, warn, info, debug or trace, or a filter such as info,tidings_engine=debug".to_owned();
    // A filter that is a bare word is taken for a target; here it is a misspelt level.
    let is_bare_word = !text.contains(['=', ',', '[']) && text.parse::<tracing::level_filters::LevelFilter>().is_err();
    if text.is_empty() || is_bare_word || EnvFilter::try_new(text).is_err() {
        Err(remedy())
    } else {
        Ok(text.to_owned())
    }
}

/// A DNS server: an address, with a port when it is not 53.
pub fn dns_resolver(text: &str) -> Result<SocketAddr, String> {
    let bare = |text: &str| text.parse::<std::net::IpAddr>().map(|ip| SocketAddr::new(ip, 53));
    text.parse().or_else(|_| bare(text)).map_err(|_| "is no address such as 1.1.1.1 or 127.0.0.1:5353".to_owned())
}
