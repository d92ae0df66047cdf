//! A small HTTP client for the commands that talk to a running server: `send` and `tail`.
//!
//! One connection per request, http or https. The guard of outgoing connections does not apply: the person at the keyboard names the server.

use std::sync::Arc;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use clap::Args;
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, Response, body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_rustls::{
    TlsConnector,
    rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs, pki_types::ServerName},
};
use url::Url;

use crate::{
    cli::Failure,
    config::{Config, ConfigError},
};

/// Largest answer read, in bytes: a message with its content is far below.
const ANSWER_MAX: usize = 16 << 20;

/// How to reach a running server.
#[derive(Debug, Args)]
pub struct Server {
    /// The server [default: TIDINGS_URL, or where this configuration listens]
    #[arg(long, env = "TIDINGS_URL", value_name = "URL")]
    url: Option<String>,
    /// An API key
    #[arg(long, env = "TIDINGS_API_KEY", value_name = "tdk_…", hide_env_values = true)]
    key: Option<String>,
    /// The tenant to act in, with an operator's key
    #[arg(long, env = "TIDINGS_TENANT", value_name = "ten_…")]
    tenant: Option<String>,
}

/// A server and the key to talk to it.
pub struct Client {
    base: Url,
    key: String,
    tenant: Option<String>,
}

impl Server {
    /// Checks what was given.
    pub fn client(self, config: &Config) -> Result<Client, Failure> {
        let text = self.url.unwrap_or_else(|| config.public_url(config.listen));
        let base = Url::parse(&text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        let base = base
            .ok_or_else(|| ConfigError(format!("--url {text} is no URL: write one such as http://127.0.0.1:8080")))?;
        let key = self.key.ok_or_else(|| {
            ConfigError(
                "an API key is needed: give --key or TIDINGS_API_KEY; `tidings key create` makes one".to_owned(),
            )
        })?;
        Ok(Client { base, key, tenant: self.tenant })
    }
}

impl Client {
    /// Begins a request to a path with our key.
    pub fn request(&self, method: &str, path: &str) -> http::request::Builder {
        let uri = format!("{}{path}", self.base.path().trim_end_matches('/'));
        let host = self.base.host_str().unwrap_or_default();
        let host = self.base.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        let request = Request::builder()
            .method(method)
            .uri(uri)
            .header("host", host)
            .header("user-agent", concat!("tidings-cli/", env!("CARGO_PKG_VERSION")))
            .header("authorization", format!("Bearer {}", self.key));
        match &self.tenant {
            Some(tenant) => request.header("tidings-tenant", tenant),
            None => request,
        }
    }

    /// Sends a request and answers once the answer's head is there.
    pub async fn send(&self, request: Request<Full<Bytes>>) -> anyhow::Result<Response<Incoming>> {
        let host = self.base.host_str().context("the URL names no host")?;
        let port = self.base.port_or_known_default().context("the URL names no port")?;
        let dial = host.trim_start_matches('[').trim_end_matches(']');
        let stream = TcpStream::connect((dial, port))
            .await
            .with_context(|| format!("cannot reach {host}:{port}; does `tidings serve` run there?"))?;
        if self.base.scheme() == "http" {
            return exchange(stream, request).await;
        }
        let name = ServerName::try_from(dial.to_owned()).context("the URL's host cannot have a certificate")?;
        exchange(tls()?.connect(name, stream).await.context("no TLS connection")?, request).await
    }

    /// Sends a request and reads the whole answer; an answer that is no success becomes an error with the server's words.
    pub async fn json(&self, request: Request<Full<Bytes>>) -> anyhow::Result<serde_json::Value> {
        let (head, body) = self.send(request).await?.into_parts();
        let body = http_body_util::Limited::new(body, ANSWER_MAX)
            .collect()
            .await
            .map_err(anyhow::Error::from_boxed)?
            .to_bytes();
        let value = serde_json::from_slice(&body).unwrap_or(serde_json::Value::Null);
        if !head.status.is_success() {
            bail!("{}", refusal(head.status, &value));
        }
        Ok(value)
    }
}

/// The server's refusal in its own words.
pub fn refusal(status: http::StatusCode, problem: &serde_json::Value) -> String {
    let text = |name: &str| problem.get(name).and_then(serde_json::Value::as_str);
    match (text("code"), text("detail")) {
        (Some(code), Some(detail)) => format!("{detail} ({code}, {})", status.as_u16()),
        _ => format!("the server answered {status}"),
    }
}

async fn exchange<S>(stream: S, request: Request<Full<Bytes>>) -> anyhow::Result<Response<Incoming>>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    sender.send_request(request).await.context("the server closed the connection")
}

fn tls() -> anyhow::Result<TlsConnector> {
    let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}
