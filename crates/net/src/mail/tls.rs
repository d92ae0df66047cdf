//! The certificate the mail listener shows.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use thiserror::Error;

/// Largest certificate or key file read, in bytes: a chain has a few thousand.
const FILE_MAX: u64 = 1 << 20;

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

/// Certificate and key for STARTTLS. The files are read again for each handshake: certificates are renewed every few weeks, and nobody should have to restart for that.
#[derive(Debug)]
pub struct MailTls {
    certificate: PathBuf,
    key: PathBuf,
    good: Mutex<Arc<ServerConfig>>,
}

impl MailTls {
    /// Reads a certificate with its chain and its private key, both as PEM.
    pub fn open(certificate: &Path, key: &Path) -> Result<Self, MailTlsError> {
        let good = Mutex::new(read(certificate, key)?);
        Ok(Self { certificate: certificate.to_owned(), key: key.to_owned(), good })
    }

    /// What the files hold now; while they cannot be used, such as between the writing of the two, what they held before.
    pub(super) fn config(&self) -> Arc<ServerConfig> {
        let mut good = self.good.lock().unwrap_or_else(PoisonError::into_inner);
        match read(&self.certificate, &self.key) {
            Ok(config) => *good = config,
            Err(error) => tracing::warn!(%error, "The mail listener shows the certificate it had"),
        }
        Arc::clone(&good)
    }
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
