//! One SMTP connection: greeting, EHLO, STARTTLS, and the reading and writing that the rest builds on.

use std::sync::Arc;

use bytes::BytesMut;
use model::{Broken, Clock, SmtpCall, SmtpReply, SmtpSecurity, SmtpStage};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{
    MAILS_PER_CONNECTION_MAX, Stop,
    reply::{self, Reply},
};
use crate::{
    broken::{self, within},
    guard::TargetHost,
    pool::Retire,
    wire::{Tls, Wire},
};

/// Time a server gets to take and answer QUIT, in milliseconds. Nothing depends on its answer.
const QUIT_MS: u64 = 5_000;
/// Room for replies read ahead, in bytes.
const INBOX: usize = 2_048;

/// What a server offers in its EHLO reply.
#[derive(Debug, Default)]
pub(super) struct Offers {
    pub lines: Vec<String>,
    pub has_pipelining: bool,
    pub has_8bit: bool,
    pub has_utf8: bool,
    pub has_dsn: bool,
    pub has_starttls: bool,
    pub has_size: bool,
    /// Largest mail in bytes, when it names one.
    pub size_max: Option<u64>,
    /// Mechanisms, upper case; `None` when there is no AUTH at all.
    pub auth: Option<Vec<String>>,
}

impl Offers {
    /// Reads the lines after the first one.
    pub fn read(lines: Vec<String>) -> Self {
        let mut offers = Self::default();
        for line in &lines {
            // `AUTH=PLAIN` is what some servers say for clients from before RFC 2554.
            let mut words = line.split([' ', '=']).filter(|word| !word.is_empty());
            match words.next().unwrap_or_default().to_ascii_uppercase().as_str() {
                "PIPELINING" => offers.has_pipelining = true,
                "8BITMIME" => offers.has_8bit = true,
                "SMTPUTF8" => offers.has_utf8 = true,
                "DSN" => offers.has_dsn = true,
                "STARTTLS" => offers.has_starttls = true,
                "SIZE" => {
                    offers.has_size = true;
                    offers.size_max = words.next().and_then(|n| n.parse().ok()).filter(|max| *max > 0);
                }
                "AUTH" => offers.auth.get_or_insert_default().extend(words.map(str::to_ascii_uppercase)),
                _ => {}
            }
        }
        offers.lines = lines;
        offers
    }
}

/// A connection that has been greeted.
pub(super) struct Session {
    wire: Wire,
    inbox: BytesMut,
    pub(super) outbox: Vec<u8>,
    clock: Arc<dyn Clock>,
    timeout_ms: u64,
    /// For messages to people.
    peer: String,
    pub(super) offers: Offers,
    tls: Option<String>,
    /// Transactions begun.
    mails: u32,
    /// True when a transaction was left open: RSET goes before the next one.
    pub(super) must_reset: bool,
    /// True when the conversation is broken or the server has closed it.
    pub(super) is_dead: bool,
    /// True once MAIL FROM of the current transaction was answered by anything but 421.
    pub(super) is_mail_answered: bool,
}

/// Greets the server over `stream` and protects the connection as the call demands.
pub(super) async fn open(
    stream: TcpStream,
    host: &TargetHost,
    call: &SmtpCall,
    tls: &Tls,
    clock: Arc<dyn Clock>,
) -> Result<Session, Stop> {
    match call.security {
        SmtpSecurity::None => greeted(Session::new(Wire::Plain(stream), call, clock), &call.helo).await,
        SmtpSecurity::Tls => {
            let wire = secured(stream, host, call, tls, &*clock).await?;
            greeted(Session::new(wire, call, clock), &call.helo).await
        }
        SmtpSecurity::StartTls => {
            let session = Session::new(Wire::Plain(stream), call, Arc::clone(&clock));
            let stream = greeted(session, &call.helo).await?.start_tls().await?;
            let wire = secured(stream, host, call, tls, &*clock).await?;
            let mut session = Session::new(wire, call, clock);
            session.hello(&call.helo).await?;
            Ok(session)
        }
    }
}

async fn secured(
    stream: TcpStream,
    host: &TargetHost,
    call: &SmtpCall,
    tls: &Tls,
    clock: &dyn Clock,
) -> Result<Wire, Broken> {
    let late = || broken::unsent("timeout", format!("{host}:{} did not finish the TLS handshake in time.", call.port));
    within(clock, call.timeout_ms, tls.secure(host, stream)).await.ok_or_else(late)?
}

async fn greeted(mut session: Session, helo: &str) -> Result<Session, Stop> {
    let greeting = session.reply().await?;
    if greeting.code != 220 {
        return Err(Stop::Refused(SmtpStage::Greeting, greeting.into()));
    }
    session.hello(helo).await?;
    Ok(session)
}

impl Session {
    fn new(wire: Wire, call: &SmtpCall, clock: Arc<dyn Clock>) -> Self {
        Self {
            tls: wire.tls_name(),
            wire,
            inbox: BytesMut::with_capacity(INBOX),
            outbox: Vec::new(),
            clock,
            timeout_ms: call.timeout_ms,
            peer: format!("{}:{}", call.host, call.port),
            offers: Offers::default(),
            mails: 0,
            must_reset: false,
            is_dead: false,
            is_mail_answered: false,
        }
    }

    /// EHLO; what the server offered before is forgotten.
    async fn hello(&mut self, helo: &str) -> Result<(), Stop> {
        let reply = self.ask(&format!("EHLO {helo}")).await?;
        if reply.code != 250 {
            return Err(Stop::Refused(SmtpStage::Ehlo, reply.into()));
        }
        self.offers = Offers::read(reply.lines.into_iter().skip(1).collect());
        Ok(())
    }

    /// STARTTLS up to the point where the handshake begins.
    async fn start_tls(mut self) -> Result<TcpStream, Stop> {
        if !self.offers.has_starttls {
            let text = "the account demands STARTTLS and the server does not offer it";
            self.quit().await;
            return Err(Stop::ours(SmtpStage::StartTls, 530, "5.7.10", text));
        }
        let reply = self.ask("STARTTLS").await?;
        if reply.code != 220 {
            return Err(Stop::Refused(SmtpStage::StartTls, reply.into()));
        }
        // Bytes that came in plain text would later be read as if they had come under TLS (command injection).
        if !self.inbox.is_empty() {
            return Err(self.broke("protocol", "sent bytes between STARTTLS and the TLS handshake").into());
        }
        match self.wire {
            Wire::Plain(stream) => Ok(stream),
            Wire::Tls(_) => Err(self.broke("protocol", "is under TLS already").into()),
        }
    }

    pub async fn noop(&mut self) -> Result<SmtpReply, Stop> {
        Ok(self.ask("NOOP").await?.into())
    }

    /// Starts counting another transaction, with its own time per reply.
    pub fn begin(&mut self, timeout_ms: u64) {
        self.timeout_ms = timeout_ms;
        self.mails += 1;
        self.is_mail_answered = false;
    }

    /// Sends one command and waits for its reply.
    pub async fn ask(&mut self, command: &str) -> Result<Reply, Broken> {
        debug_assert!(!command.contains(['\r', '\n']), "a command is one line");
        self.outbox.extend_from_slice(command.as_bytes());
        self.outbox.extend_from_slice(b"\r\n");
        self.flush().await?;
        self.reply().await
    }

    /// Writes what is in the outbox.
    pub async fn flush(&mut self) -> Result<(), Broken> {
        let wire = &mut self.wire;
        let outbox = &self.outbox;
        let write = async {
            wire.write_all(outbox).await?;
            wire.flush().await
        };
        let written = within(&*self.clock, self.timeout_ms, write).await;
        self.outbox.clear();
        match written {
            Some(Ok(())) => Ok(()),
            Some(Err(error)) => Err(self.io_broke(&error)),
            None => Err(self.broke("timeout", "took no command in time")),
        }
    }

    /// Waits for one reply, as long as the call allows for each.
    pub async fn reply(&mut self) -> Result<Reply, Broken> {
        self.reply_within(self.timeout_ms).await
    }

    pub async fn reply_within(&mut self, timeout_ms: u64) -> Result<Reply, Broken> {
        if let Some(reply) = self.buffered()? {
            return Ok(reply);
        }
        let clock = Arc::clone(&self.clock);
        match within(&*clock, timeout_ms, self.read_reply()).await {
            Some(reply) => reply,
            None => Err(self.broke("timeout", "did not reply in time")),
        }
    }

    async fn read_reply(&mut self) -> Result<Reply, Broken> {
        loop {
            self.inbox.reserve(INBOX);
            match self.wire.read_buf(&mut self.inbox).await {
                Ok(0) => return Err(self.broke("reset", "closed the connection")),
                Ok(_) => {}
                Err(error) => return Err(self.io_broke(&error)),
            }
            if let Some(reply) = self.buffered()? {
                return Ok(reply);
            }
        }
    }

    /// A reply that has arrived already.
    fn buffered(&mut self) -> Result<Option<Reply>, Broken> {
        match reply::take(&mut self.inbox) {
            Ok(reply) => Ok(reply),
            Err(reply::NoReply(why)) => Err(self.broke("protocol", &format!("does not speak SMTP ({why})"))),
        }
    }

    /// The parts that the end of a transaction needs at once.
    pub fn parts(&mut self) -> (&mut Wire, &dyn Clock) {
        (&mut self.wire, &*self.clock)
    }

    /// Notes that the conversation is over and says how.
    pub fn broke(&mut self, code: &'static str, what: &str) -> Broken {
        self.is_dead = true;
        broken::unsent(code, format!("{} {what}.", self.peer))
    }

    pub fn io_broke(&mut self, error: &std::io::Error) -> Broken {
        self.broke(broken::io_code(error), &format!("broke off: {error}"))
    }

    pub fn is_quiet(&self) -> bool {
        self.inbox.is_empty() && self.wire.is_quiet()
    }

    pub fn is_reusable(&self) -> bool {
        !self.is_dead && self.mails < MAILS_PER_CONNECTION_MAX && self.inbox.is_empty()
    }

    /// True when an exchange on a kept connection failed because the connection was no longer good, and nothing came of
    /// it: the caller may use a fresh one. A server that is merely slow is not asked twice.
    pub fn was_stale(&self, done: &Result<SmtpReply, Stop>) -> bool {
        match done {
            Ok(_) => false,
            Err(Stop::Refused(stage, reply)) => *stage == SmtpStage::MailFrom && reply.code == 421,
            Err(Stop::Broken(broken)) => !self.is_mail_answered && !broken.may_have_acted && broken.code != "timeout",
        }
    }

    /// TLS version and cipher, when protected.
    pub fn tls_name(&self) -> Option<&str> {
        self.tls.as_deref()
    }

    /// What EHLO offered.
    pub fn capabilities(&self) -> &[String] {
        &self.offers.lines
    }

    /// Says goodbye and does not mind how it is taken.
    pub async fn quit(&mut self) {
        self.timeout_ms = self.timeout_ms.min(QUIT_MS);
        let _ = self.ask("QUIT").await;
        self.is_dead = true;
    }

    /// Says goodbye in the background, unless the conversation is over anyway.
    pub fn leave(mut self) {
        if !self.is_dead {
            tokio::spawn(async move { self.quit().await });
        }
    }
}

impl Retire for Session {
    fn retire(self) {
        self.leave();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offers_in_their_dialects() {
        let lines = ["PIPELINING", "size 35882577", "AUTH PLAIN LOGIN", "AUTH=xoauth2", "8BITMIME", "X-ODD a b", ""];
        let offers = Offers::read(lines.iter().map(|line| (*line).to_owned()).collect());
        assert!(offers.has_pipelining && offers.has_8bit && offers.has_size);
        assert!(!offers.has_utf8 && !offers.has_dsn && !offers.has_starttls);
        assert_eq!(offers.size_max, Some(35_882_577));
        assert_eq!(offers.auth.as_deref(), Some(&["PLAIN".to_owned(), "LOGIN".into(), "XOAUTH2".into()][..]));
        assert_eq!(offers.lines.len(), 7);
        assert_eq!(Offers::read(vec![]).auth, None);
    }
}
