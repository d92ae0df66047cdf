//! Mail submission over SMTP (RFC 5321, 6409), on kept connections.
//!
//! One call is one mail to one recipient: its answer then speaks of that recipient alone. The verdict "may have acted"
//! turns true with the first byte of the final dot, because a server that never saw the end of the data has not taken
//! the mail. From there on a missing reply means that nobody can say.
//!
//! A connection is kept per server, protection, login and EHLO name. It carries up to [`MAILS_PER_CONNECTION_MAX`]
//! mails. A kept one that has gone stale (closed, said 421, or fails before MAIL FROM is answered) is replaced once by
//! a fresh one, silently: nothing was sent over it.
//!
//! Protection never falls back: `StartTls` means that a server which does not offer STARTTLS is refused, that bytes
//! which arrive between its reply and the handshake end the exchange, and that everything learned before TLS is
//! forgotten. A password travels in plain text only when the account says so (`SmtpSecurity::None`).
//!
//! Where the transport itself has to refuse, it answers as a server would, so that one table classifies both. These
//! replies begin with `Tidings:` and are:
//!
//! | stage | reply | when |
//! |---|---|---|
//! | `StartTls` | 530 5.7.10 | STARTTLS is required and not offered |
//! | `Auth` | 503 5.5.1 | there is a login and the server offers no AUTH |
//! | `Auth` | 504 5.5.4 | none of its mechanisms is PLAIN or LOGIN |
//! | `MailFrom` | 552 5.3.4 | the mail is larger than the SIZE it announces |
//! | `MailFrom` | 550 5.6.7 | the sender's local part is not ASCII and SMTPUTF8 is not offered |
//! | `RcptTo` | 553 5.6.7 | the recipient's local part is not ASCII and SMTPUTF8 is not offered |

mod data;
mod envelope;
mod login;
mod reply;
mod session;
mod transaction;

use std::{
    hash::{Hash, Hasher},
    sync::Arc,
};

use model::{Broken, Clock, SmtpAnswer, SmtpCall, SmtpLogin, SmtpReply, SmtpSecurity, SmtpStage};

use crate::{
    broken,
    guard::TargetHost,
    pool::{Limits, Pool},
    resolve::Dialer,
    wire::Tls,
};
use envelope::Envelope;
use session::Session;

/// Mails over one connection: many servers allow no more than 100 to 1000, and a long-lived connection would never
/// follow a change of DNS.
const MAILS_PER_CONNECTION_MAX: u32 = 1_000;
/// Idle connections to one server under one login. Submission servers commonly allow 50 to 100 at once.
const IDLE_PER_SERVER_MAX: usize = 64;
/// Idle connections altogether, well below the usual limit of 1024 open files together with [`crate::http`]'s.
const IDLE_MAX: usize = 256;
/// How long an idle connection is kept, in milliseconds. Servers close after one to five minutes.
const IDLE_MS: u64 = 30_000;

/// Why an exchange ended early.
#[derive(Debug)]
enum Stop {
    /// The server (or this module in its place) said no.
    Refused(SmtpStage, SmtpReply),
    /// No complete answer.
    Broken(Broken),
}

impl From<Broken> for Stop {
    fn from(broken: Broken) -> Self {
        Self::Broken(broken)
    }
}

impl Stop {
    /// A refusal in this module's own words.
    fn ours(stage: SmtpStage, code: u16, enhanced: &str, text: &str) -> Self {
        let reply = SmtpReply { code, enhanced: Some(enhanced.to_owned()), text: format!("Tidings: {text}") };
        Self::Refused(stage, reply)
    }
}

/// What connections are shared by.
#[derive(Clone, PartialEq, Eq)]
struct Key {
    host: String,
    port: u16,
    security: SmtpSecurity,
    login: Option<SmtpLogin>,
    helo: String,
}

// The password takes part in equality only: hashing it would gain nothing.
impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.host.hash(state);
        self.port.hash(state);
        self.login.as_ref().map(|login| &login.username).hash(state);
    }
}

/// Submits mails over kept connections.
pub(crate) struct Client {
    dialer: Arc<Dialer>,
    tls: Tls,
    clock: Arc<dyn Clock>,
    pool: Arc<Pool<Key, Session>>,
}

impl Client {
    pub fn new(dialer: Arc<Dialer>, tls: Tls, clock: Arc<dyn Clock>) -> Self {
        let limits = Limits { idle_per_key_max: IDLE_PER_SERVER_MAX, idle_max: IDLE_MAX };
        let pool = Pool::new(Arc::clone(&clock), limits);
        Self { dialer, tls, clock, pool }
    }

    pub fn idle(&self) -> usize {
        self.pool.idle()
    }

    /// Submits one mail, or only signs in when there is no recipient.
    pub async fn exchange(&self, call: &SmtpCall) -> Result<SmtpAnswer, Broken> {
        let done = match &call.rcpt_to {
            Some(to) => self.submit(call, &Envelope::new(call, to)?).await,
            None => self.check(call).await,
        };
        match done {
            Ok(answer) => Ok(answer),
            Err(Stop::Refused(stage, reply)) => Ok(SmtpAnswer { stage, reply, capabilities: Vec::new(), tls: None }),
            Err(Stop::Broken(broken)) => Err(broken),
        }
    }

    async fn submit(&self, call: &SmtpCall, envelope: &Envelope<'_>) -> Result<SmtpAnswer, Stop> {
        let key = Key {
            host: call.host.clone(),
            port: call.port,
            security: call.security,
            login: call.login.clone(),
            helo: call.helo.clone(),
        };
        if let Some(mut kept) = self.kept(&key) {
            let done = kept.send(envelope).await;
            if !kept.was_stale(&done) {
                return self.settle(key, kept, done);
            }
            tracing::debug!(smtp.host = %call.host, "A kept SMTP connection was stale; connecting again");
        }
        let mut fresh = self.open(call).await?;
        let done = match enter(&mut fresh, call).await {
            Ok(()) => fresh.send(envelope).await,
            Err(stop) => Err(stop),
        };
        self.settle(key, fresh, done)
    }

    /// An idle session on which nothing has arrived; those that are stale are dropped on the way.
    fn kept(&self, key: &Key) -> Option<Session> {
        loop {
            let session = self.pool.take(key)?;
            if session.is_quiet() {
                return Some(session);
            }
        }
    }

    /// Keeps the session if it may be used again, and adds what is known of it to the answer.
    fn settle(&self, key: Key, session: Session, done: Result<SmtpReply, Stop>) -> Result<SmtpAnswer, Stop> {
        let tls = session.tls_name().map(str::to_owned);
        if session.is_reusable() {
            self.pool.put(key, session, IDLE_MS);
        } else {
            session.leave();
        }
        let (stage, reply) = match done {
            Ok(reply) => (SmtpStage::FinalDot, reply),
            Err(Stop::Refused(stage, reply)) => (stage, reply),
            Err(Stop::Broken(broken)) => return Err(Stop::Broken(broken)),
        };
        Ok(SmtpAnswer { stage, reply, capabilities: Vec::new(), tls })
    }

    /// Connects, signs in, says NOOP and goodbye, always on a connection of its own.
    async fn check(&self, call: &SmtpCall) -> Result<SmtpAnswer, Stop> {
        let mut session = self.open(call).await?;
        let tls = session.tls_name().map(str::to_owned);
        let capabilities = session.capabilities().to_vec();
        match enter(&mut session, call).await {
            Ok(()) => {}
            // A password that was refused was still protected on its way.
            Err(Stop::Refused(stage, reply)) => return Ok(SmtpAnswer { stage, reply, capabilities, tls }),
            Err(Stop::Broken(broken)) => return Err(Stop::Broken(broken)),
        }
        let reply = session.noop().await?;
        session.quit().await;
        Ok(SmtpAnswer { stage: SmtpStage::Checked, reply, capabilities, tls })
    }

    /// A session that knows what the server offers, protected as the call wants it, and is not signed in.
    async fn open(&self, call: &SmtpCall) -> Result<Session, Stop> {
        envelope::check_helo(&call.helo)?;
        let host = TargetHost::parse(&call.host).map_err(broken::refused)?;
        let stream = self.dialer.dial(&host, call.port, false, call.timeout_ms).await?;
        session::open(stream, &host, call, &self.tls, Arc::clone(&self.clock)).await
    }
}

/// Signs in, when the call says as whom. A session that was refused has said goodbye.
async fn enter(session: &mut Session, call: &SmtpCall) -> Result<(), Stop> {
    match &call.login {
        Some(login) => session.sign_in(login).await,
        None => Ok(()),
    }
}
