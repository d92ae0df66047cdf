//! A submission server: EHLO, STARTTLS where the caller gives a certificate, AUTH PLAIN and LOGIN, one mail after the other (RFC 5321, 3207, 4954).

use std::{io, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio_rustls::TlsAcceptor;

use crate::{Request, Simulator, sign};

/// Largest mail, in bytes: what SES takes.
const MAIL_MAX: usize = 40 * 1024 * 1024;
/// Longest command line, in bytes: far above the 512 of RFC 5321, for long AUTH tokens.
const LINE_MAX: u64 = 16 * 1024;
/// The provider's name, as the connector's id.
const ID: &str = "smtp";

/// Serves one connection to its end; STARTTLS is offered with the simulator's own certificate.
pub async fn serve_smtp<S>(simulator: Arc<Simulator>, stream: S) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let mut session = Session { simulator, is_protected: false, is_known: false, from: None, to: None };
    let mut stream = BufReader::new(stream);
    stream.write_all(b"220 simulator ESMTP Tidings provider simulator\r\n").await?;
    if session.talk(&mut stream).await? == End::StartTls {
        // What came in clear text behind the command is dropped with the buffer.
        let stream = acceptor()?.accept(stream.into_inner()).await?;
        session.is_protected = true;
        session.talk(&mut BufReader::new(stream)).await?;
    }
    Ok(())
}

fn acceptor() -> io::Result<TlsAcceptor> {
    let certificate = CertificateDer::from_pem_slice(sign::CERTIFICATE.as_bytes()).map_err(io::Error::other)?;
    let key = PrivateKeyDer::from_pem_slice(sign::KEY.as_bytes()).map_err(io::Error::other)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .map_err(io::Error::other)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

#[derive(PartialEq, Eq)]
enum End {
    Quit,
    StartTls,
}

struct Session {
    simulator: Arc<Simulator>,
    is_protected: bool,
    is_known: bool,
    from: Option<String>,
    to: Option<String>,
}

impl Session {
    async fn talk<S: AsyncRead + AsyncWrite + Unpin>(&mut self, stream: &mut BufReader<S>) -> io::Result<End> {
        while let Some(line) = line(stream).await? {
            let (verb, rest) = line.split_once(' ').unwrap_or((&line, ""));
            let reply = match verb.to_ascii_uppercase().as_str() {
                "EHLO" => {
                    let start_tls = if self.is_protected { "" } else { "250-STARTTLS\r\n" };
                    format!(
                        "250-simulator\r\n250-SIZE {MAIL_MAX}\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n{start_tls}250-ENHANCEDSTATUSCODES\r\n250 AUTH PLAIN LOGIN"
                    )
                }
                "HELO" => "250 simulator".to_owned(),
                "STARTTLS" if !self.is_protected => {
                    say(stream, "220 2.0.0 Ready to start TLS").await?;
                    return Ok(End::StartTls);
                }
                "AUTH" => self.sign_in(stream, rest).await?,
                "MAIL" if !self.is_known => "530 5.7.0 Authentication required".to_owned(),
                "MAIL" => {
                    (self.from, self.to) = (Some(address(rest)), None);
                    "250 2.1.0 Ok".to_owned()
                }
                "RCPT" if self.from.is_none() => "503 5.5.1 MAIL first".to_owned(),
                "RCPT" if self.to.is_some() => "452 4.5.3 Too many recipients".to_owned(),
                "RCPT" => {
                    self.to = Some(address(rest));
                    let Some(reply) = self.ask("RCPT", Vec::new()).await else { return Ok(End::Quit) };
                    self.to = self.to.take().filter(|_| reply.starts_with('2'));
                    reply
                }
                "DATA" if self.to.is_none() => "503 5.5.1 RCPT first".to_owned(),
                "DATA" => {
                    say(stream, "354 End data with <CR><LF>.<CR><LF>").await?;
                    let Some(content) = content(stream).await? else { return Ok(End::Quit) };
                    let Some(reply) = self.ask("DATA", content).await else { return Ok(End::Quit) };
                    (self.from, self.to) = (None, None);
                    reply
                }
                "RSET" => {
                    (self.from, self.to) = (None, None);
                    "250 2.0.0 Ok".to_owned()
                }
                "NOOP" => "250 2.0.0 Ok".to_owned(),
                "QUIT" => {
                    say(stream, "221 2.0.0 Bye").await?;
                    return Ok(End::Quit);
                }
                _ => "502 5.5.2 Command not recognized".to_owned(),
            };
            say(stream, &reply).await?;
        }
        Ok(End::Quit)
    }

    async fn sign_in<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        stream: &mut BufReader<S>,
        rest: &str,
    ) -> io::Result<String> {
        let (mechanism, first) = rest.split_once(' ').unwrap_or((rest, ""));
        let given = match mechanism.to_ascii_uppercase().as_str() {
            "PLAIN" => {
                let text = if first.is_empty() { prompt(stream, "334 ").await? } else { decoded(first) };
                let mut parts = text.split('\0').skip(1).map(str::to_owned);
                (parts.next().unwrap_or_default(), parts.next().unwrap_or_default())
            }
            "LOGIN" => {
                let user = if first.is_empty() { prompt(stream, "334 VXNlcm5hbWU6").await? } else { decoded(first) };
                (user, prompt(stream, "334 UGFzc3dvcmQ6").await?)
            }
            _ => return Ok("504 5.5.4 Unrecognized authentication type".to_owned()),
        };
        let world = self.simulator.world();
        let settings = &world.settings[ID];
        self.is_known = settings["username"] == given.0 && settings["password"] == given.1;
        Ok(match self.is_known {
            true => "235 2.7.0 Authentication successful",
            false => "535 5.7.8 Error: authentication failed",
        }
        .to_owned())
    }

    /// One command through the simulator, whose answer's body is the reply; `None` ends the connection.
    async fn ask(&self, command: &str, content: Vec<u8>) -> Option<String> {
        let header = |name: &str, value: &Option<String>| (name.to_owned(), value.clone().unwrap_or_default());
        let turn = self.simulator.turn(&Request {
            method: command.to_owned(),
            path: format!("/{ID}"),
            headers: vec![header("from", &self.from), header("to", &self.to)],
            body: content.into(),
            ..Request::default()
        });
        if turn.wait_ms > 0 {
            self.simulator.clock.sleep(turn.wait_ms).await;
        }
        let reply = String::from_utf8_lossy(&turn.reply?.body).into_owned();
        // A failure in a proxy's words has none here: the server goes away.
        Some(if reply.starts_with('<') { "421 4.3.2 Service not available".to_owned() } else { reply })
    }
}

async fn say<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut BufReader<S>, reply: &str) -> io::Result<()> {
    stream.write_all(format!("{reply}\r\n").as_bytes()).await?;
    stream.flush().await
}

/// Asks for a part of a login, and reads it.
async fn prompt<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut BufReader<S>, reply: &str) -> io::Result<String> {
    say(stream, reply).await?;
    Ok(decoded(&line(stream).await?.unwrap_or_default()))
}

/// A command; `None` when the client has gone.
async fn line<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut BufReader<S>) -> io::Result<Option<String>> {
    let mut bytes = Vec::new();
    let read = (&mut *stream).take(LINE_MAX).read_until(b'\n', &mut bytes).await?;
    Ok((read > 0 && bytes.ends_with(b"\n")).then(|| String::from_utf8_lossy(&bytes).trim_end().to_owned()))
}

/// A mail up to its final dot, without the dots that were put before others; `None` when it ends before.
async fn content<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut BufReader<S>) -> io::Result<Option<Vec<u8>>> {
    let mut mail = Vec::new();
    loop {
        let mut bytes = Vec::new();
        if (&mut *stream).take(LINE_MAX).read_until(b'\n', &mut bytes).await? == 0 || mail.len() > MAIL_MAX {
            return Ok(None);
        }
        if bytes == b".\r\n" {
            return Ok(Some(mail));
        }
        mail.extend_from_slice(bytes.strip_prefix(b".").unwrap_or(&bytes));
    }
}

/// The address of `FROM:<ada@example.com> SIZE=1`.
fn address(rest: &str) -> String {
    let inner = rest.split_once('<').map_or("", |(_, inner)| inner);
    inner.split('>').next().unwrap_or_default().to_owned()
}

fn decoded(text: &str) -> String {
    String::from_utf8_lossy(&STANDARD.decode(text.trim()).unwrap_or_default()).into_owned()
}
