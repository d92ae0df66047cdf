//! The certificate the mail listener shows.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use model::Timestamp;
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use thiserror::Error;

/// Largest certificate or key file read, in bytes: a chain has a few thousand.
const FILE_MAX: u64 = 1 << 20;
/// How often the files are looked at, in milliseconds: a new certificate comes days before the old one ends.
const LOOK_EVERY_MS: i64 = 5_000;

/// Why a certificate cannot be used.
#[derive(Debug, Error)]
pub enum MailTlsError {
    /// A file cannot be read.
    #[error("{file} cannot be read: {detail}")]
    File {
        /// Which.
        file: String,
        /// Why not.
        detail: String,
    },
    /// The two do not make a TLS server.
    #[error("certificate and key do not go together: {0}")]
    Pair(String),
}

/// Certificate and key for STARTTLS. Certificates are renewed every few weeks, and nobody should have to restart for that: the files are looked at before a handshake, but not
/// oftener than every few seconds, and read again when they have changed.
#[derive(Debug)]
pub struct MailTls {
    certificate: PathBuf,
    key: PathBuf,
    held: Mutex<Held>,
}

/// What is shown now.
#[derive(Debug)]
struct Held {
    config: Arc<ServerConfig>,
    /// Of which files it was made.
    stamp: Stamp,
    looked_at: Option<Timestamp>,
}

/// By which a file is known to have changed: when each was written, and how long it is.
type Stamp = [Option<(SystemTime, u64)>; 2];

impl MailTls {
    /// Reads a certificate with its chain and its private key, both as PEM.
    pub fn open(certificate: &Path, key: &Path) -> Result<Self, MailTlsError> {
        let stamp = stamp(certificate, key);
        let held = Mutex::new(Held { config: read(certificate, key)?, stamp, looked_at: None });
        Ok(Self { certificate: certificate.to_owned(), key: key.to_owned(), held })
    }

    /// What the files hold now; while they cannot be used, such as between the writing of the two, what they held before. Nobody waits for the disk but whoever finds that they have to
    /// be looked at.
    pub(super) async fn config(&self, now: Timestamp) -> Arc<ServerConfig> {
        let known = {
            let mut held = self.held();
            let is_fresh = held.looked_at.is_some_and(|at| (0..LOOK_EVERY_MS).contains(&now.millis_since(at)));
            if is_fresh {
                return Arc::clone(&held.config);
            }
            held.looked_at = Some(now);
            held.stamp
        };
        let (certificate, key) = (self.certificate.clone(), self.key.clone());
        let look = move || {
            let seen = stamp(&certificate, &key);
            (seen != known).then(|| (seen, read(&certificate, &key)))
        };
        let found = tokio::task::spawn_blocking(look).await.ok().flatten();
        let mut held = self.held();
        match found {
            Some((seen, Ok(config))) => (held.config, held.stamp) = (config, seen),
            Some((_, Err(error))) => tracing::warn!(%error, "The mail listener shows the certificate it had"),
            None => {}
        }
        Arc::clone(&held.config)
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn stamp(certificate: &Path, key: &Path) -> Stamp {
    [certificate, key].map(|path| {
        let about = fs::metadata(path).ok()?;
        Some((about.modified().ok()?, about.len()))
    })
}

fn read(certificate: &Path, key: &Path) -> Result<Arc<ServerConfig>, MailTlsError> {
    let bad = |path: &Path, detail: String| MailTlsError::File { file: path.display().to_string(), detail };
    let pem = |path: &Path| {
        let size = fs::metadata(path).map_err(|error| bad(path, error.to_string()))?.len();
        if size > FILE_MAX {
            return Err(bad(path, format!("it is larger than {FILE_MAX} bytes")));
        }
        fs::read(path).map_err(|error| bad(path, error.to_string()))
    };
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&pem(certificate)?)
        .collect::<Result<_, _>>()
        .map_err(|error| bad(certificate, error.to_string()))?;
    if chain.is_empty() {
        return Err(bad(certificate, "it holds no certificate in PEM form".to_owned()));
    }
    let secret = PrivateKeyDer::from_pem_slice(&pem(key)?).map_err(|error| bad(key, error.to_string()))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, secret))
        .map_err(|error| MailTlsError::Pair(error.to_string()))?;
    Ok(Arc::new(config))
}
