//! An open connection, plain or under TLS, and the TLS settings both protocols share.
//!
//! Certificates are verified against Mozilla's roots compiled into the binary, plus roots the operator names; there is
//! no switch to turn verification off. The cryptography provider is given per configuration: nothing here depends on a
//! process-wide default.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use model::Broken;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};

use crate::{NetError, broken, guard::TargetHost};

/// A connection, made by us or taken from somebody.
pub(crate) enum Wire {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Wire {
    /// True when nothing has arrived on an idle connection. Anything else on one means that it is over: the peer closed
    /// it, or said goodbye (an SMTP 421, a TLS alert) first. Asks the kernel directly, because tokio only knows what
    /// the last turn of its reactor saw.
    pub fn is_quiet(&self) -> bool {
        let mut byte = [std::mem::MaybeUninit::uninit()];
        let peeked = socket2::SockRef::from(self.tcp()).peek(&mut byte);
        matches!(peeked, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    /// True when the connection is protected.
    pub fn is_tls(&self) -> bool {
        matches!(self, Self::Tls(_))
    }

    /// TLS version and cipher suite, such as `TLSv1_3 TLS13_AES_256_GCM_SHA384`.
    pub fn tls_name(&self) -> Option<String> {
        let Self::Tls(stream) = self else { return None };
        let (_, session) = stream.get_ref();
        let version = session.protocol_version()?;
        let suite = session.negotiated_cipher_suite()?.suite();
        Some(format!("{} {}", version.as_str()?, suite.as_str()?))
    }

    /// Shakes hands with whoever came, as a server. Fails when it is under TLS already.
    pub async fn accept(self, tls: &TlsAcceptor) -> io::Result<Self> {
        match self {
            Self::Plain(stream) => Ok(Self::Tls(Box::new(tls.accept(stream).await?.into()))),
            Self::Tls(_) => Err(io::Error::other("the connection is under TLS already")),
        }
    }

    fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => stream.get_ref().0,
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

/// Puts TLS on fresh connections.
pub(crate) struct Tls(TlsConnector);

impl Tls {
    /// Settings that trust Mozilla's roots and `extra_root_pems`. `alpn` is offered when not empty.
    pub fn new(extra_root_pems: &[String], alpn: &[u8]) -> Result<Self, NetError> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| NetError::Tls(error.to_string()))?
            .with_root_certificates(roots(extra_root_pems)?)
            .with_no_client_auth();
        if !alpn.is_empty() {
            config.alpn_protocols = vec![alpn.to_vec()];
        }
        Ok(Self(TlsConnector::from(Arc::new(config))))
    }

    /// Shakes hands with `host`, whose certificate must be valid for that name.
    pub async fn secure(&self, host: &TargetHost, stream: TcpStream) -> Result<Wire, Broken> {
        let name = match host {
            TargetHost::Ip(ip) => ServerName::from(*ip),
            TargetHost::Name(name) => ServerName::try_from(name.clone())
                .map_err(|_| broken::unsent("tls", format!("{name} cannot be a name in a certificate.")))?,
        };
        match self.0.connect(name, stream).await {
            Ok(stream) => Ok(Wire::Tls(Box::new(stream.into()))),
            Err(error) => Err(broken::unsent("tls", format!("No TLS connection with {host}: {error}."))),
        }
    }
}

fn roots(extra_root_pems: &[String]) -> Result<RootCertStore, NetError> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    for (index, pem) in extra_root_pems.iter().enumerate() {
        let bad = |detail: String| NetError::BadRoot { number: index + 1, detail };
        let before = roots.len();
        for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
            let certificate = certificate.map_err(|error| bad(error.to_string()))?;
            roots.add(certificate).map_err(|error| bad(error.to_string()))?;
        }
        if roots.len() == before {
            return Err(bad("it holds no certificate in PEM form".to_owned()));
        }
    }
    Ok(roots)
}
