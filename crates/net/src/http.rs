//! HTTP/1.1 requests.
//!
//! Why hyper's connection layer with a pool of our own rather than reqwest: the verdict "may have acted" has to be
//! exact, and only the owner of the socket knows whether a byte of *this* request was handed to the kernel. Here every
//! connection is tapped ([`connection`]): as long as nothing of the request was written, a failure is harmless, whatever
//! hyper calls it. A kept connection is asked for its health right before use (one system call), and one that broke
//! with nothing written is replaced once by a fresh one, silently. The connection is driven by the exchange that uses
//! it: no task per connection, no channel between threads, and an idle connection costs only its memory.
//!
//! A private address is refused at the same place for names and literals, before a connection is made. Redirects are
//! answers like any other. HTTP/2 is not offered: providers take HTTP/1.1, and one request per connection at a time is
//! what makes the verdict simple.

mod connection;
mod request;

use std::sync::Arc;

use ::http::HeaderValue;
use model::{BoxFuture, Broken, Clock, HttpAnswer, HttpCall};

use crate::{
    NetError,
    broken::{self, before},
    guard::{Target, TargetHost},
    pool::{Limits, Pool},
    resolve::Dialer,
    wire::{Tls, Wire},
};
use connection::Connection;

/// Idle connections to one server: as many as the engine runs at once against one account, so that none is closed
/// between two batches.
const IDLE_PER_SERVER_MAX: usize = 128;
/// Idle connections altogether, well below the usual limit of 1024 open files together with [`crate::smtp`]'s.
const IDLE_MAX: usize = 512;
/// How long an idle connection is kept unless the server announces less, in milliseconds. Below the 60 s after which
/// common load balancers close theirs, so that we rarely meet a connection in the moment of its closing.
const IDLE_MS: u64 = 30_000;

/// What connections are shared by: only calls that pass the same checks to the same server.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    is_tls: bool,
    host: TargetHost,
    port: u16,
    is_untrusted: bool,
}

/// Makes HTTP exchanges on kept connections.
pub(crate) struct Client {
    dialer: Arc<Dialer>,
    tls: Tls,
    clock: Arc<dyn Clock>,
    user_agent: HeaderValue,
    pool: Arc<Pool<Key, Connection>>,
}

impl Client {
    pub fn new(dialer: Arc<Dialer>, tls: Tls, clock: Arc<dyn Clock>, user_agent: &str) -> Result<Self, NetError> {
        let user_agent = HeaderValue::from_str(user_agent).map_err(|_| NetError::BadUserAgent)?;
        let limits = Limits { idle_per_key_max: IDLE_PER_SERVER_MAX, idle_max: IDLE_MAX };
        let pool = Pool::new(Arc::clone(&clock), limits);
        Ok(Self { dialer, tls, clock, user_agent, pool })
    }

    pub fn idle(&self) -> usize {
        self.pool.idle()
    }

    /// Makes one exchange within the call's `timeout_ms`.
    pub async fn exchange(&self, call: &HttpCall) -> Result<HttpAnswer, Broken> {
        let target = self.dialer.guard.check_url(&call.url, call.is_untrusted).map_err(broken::refused)?;
        let mut deadline = self.clock.sleep(call.timeout_ms);
        let key = Key {
            is_tls: target.is_tls,
            host: target.host.clone(),
            port: target.port,
            is_untrusted: call.is_untrusted,
        };
        if let Some(kept) = self.kept(&key) {
            match self.on(kept, &key, call, &target, &mut deadline).await {
                Err(broken) if is_stale(&broken) => {
                    tracing::debug!(http.host = %target.authority, "A kept connection was stale; connecting again");
                }
                done => return done,
            }
        }
        // A request that cannot be built needs no connection.
        request::build(call, &target, &self.user_agent)?;
        match before(&mut deadline, self.connect(&target, call.is_untrusted)).await {
            Some(fresh) => self.on(fresh?, &key, call, &target, &mut deadline).await,
            None => Err(broken::unsent("timeout", no_answer(call, &target))),
        }
    }

    /// An idle connection that is still whole; those that are not are dropped on the way.
    fn kept(&self, key: &Key) -> Option<Connection> {
        loop {
            let connection = self.pool.take(key)?;
            if connection.is_quiet() {
                return Some(connection);
            }
        }
    }

    async fn connect(&self, target: &Target, is_untrusted: bool) -> Result<Connection, Broken> {
        let stream = self.dialer.dial(&target.host, target.port, is_untrusted, u64::MAX).await?;
        let wire = match target.is_tls {
            true => self.tls.secure(&target.host, stream).await?,
            false => Wire::Plain(stream),
        };
        Connection::new(wire).await.map_err(|error| failure(&error, target, false))
    }

    /// Makes the exchange on this connection and keeps it when both sides are willing.
    async fn on(
        &self,
        mut connection: Connection,
        key: &Key,
        call: &HttpCall,
        target: &Target,
        deadline: &mut BoxFuture<'static, ()>,
    ) -> Result<HttpAnswer, Broken> {
        let request = request::build(call, target, &self.user_agent)?;
        match before(deadline, connection.exchange(request, call.answer_max)).await {
            Some(Ok(answer)) => {
                let idle_ms = idle_ms(&answer);
                if !answer.is_truncated && idle_ms > 0 && connection.is_ready() {
                    self.pool.put(key.clone(), connection, idle_ms);
                }
                Ok(answer)
            }
            Some(Err(error)) => Err(failure(&error, target, connection.has_written())),
            None => Err(Broken {
                may_have_acted: connection.has_written(),
                code: "timeout",
                detail: no_answer(call, target),
            }),
        }
    }
}

/// True when a kept connection turned out to be no good before anything was sent. A server that is merely slow is not
/// asked twice, and a bad request stays one.
fn is_stale(broken: &Broken) -> bool {
    !broken.may_have_acted && matches!(broken.code, "reset" | "tls" | "protocol")
}

fn no_answer(call: &HttpCall, target: &Target) -> String {
    format!("{} gave no complete answer within {} ms.", target.authority, call.timeout_ms)
}

/// How long the connection may be kept: less than the server announces, because the clocks start at different times.
fn idle_ms(answer: &HttpAnswer) -> u64 {
    const MARGIN_MS: u64 = 1_000;
    let announced = answer.header("keep-alive").and_then(|value| {
        let seconds = value.split(',').find_map(|part| part.trim().strip_prefix("timeout="))?;
        seconds.trim().parse::<u64>().ok()
    });
    announced.map_or(IDLE_MS, |seconds| seconds.saturating_mul(1_000).saturating_sub(MARGIN_MS).min(IDLE_MS))
}

fn failure(error: &hyper::Error, target: &Target, may_have_acted: bool) -> Broken {
    let cause = std::error::Error::source(error);
    let code = match cause.and_then(|cause| cause.downcast_ref::<std::io::Error>()) {
        Some(io) => broken::io_code(io),
        None if error.is_parse() => "protocol",
        None => "reset",
    };
    let because = cause.map_or(String::new(), |cause| format!(" ({cause})"));
    let detail = format!("{} gave no complete answer: {error}{because}.", target.authority);
    Broken { may_have_acted, code, detail }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_kept_for_less_than_the_server_announces() {
        for (header, expected) in [
            (None, IDLE_MS),
            (Some("timeout=5"), 4_000),
            (Some("timeout=5, max=1000"), 4_000),
            (Some("max=3, timeout=2"), 1_000),
            (Some("timeout=1"), 0),
            (Some("timeout=0"), 0),
            (Some("timeout=99999999999999999999"), IDLE_MS),
            (Some("timeout=3600"), IDLE_MS),
            (Some("soon"), IDLE_MS),
        ] {
            let headers = header.map(|value| ("keep-alive".to_owned(), value.to_owned())).into_iter().collect();
            let answer = HttpAnswer { headers, ..HttpAnswer::default() };
            assert_eq!(idle_ms(&answer), expected, "{header:?}");
        }
    }
}
