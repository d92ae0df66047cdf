//! The doors to the world. The engine holds these traits; production puts real ones behind them, tests put pure ones.

use std::{future::Future, net::IpAddr, pin::Pin, sync::Arc};

use bytes::Bytes;

use crate::{Answer, Broken, Call, Timestamp};

/// A future behind a pointer, for traits that are used as `dyn`.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Tells the time and waits.
pub trait Clock: Send + Sync {
    /// The current instant in UTC.
    fn now(&self) -> Timestamp;

    /// Completes once `millis` have passed on this clock.
    fn sleep(&self, millis: u64) -> BoxFuture<'static, ()>;
}

/// Carries a [`Call`] to the world and brings back what came of it. Pools, TLS, time limits and the guard against
/// private addresses live behind this trait; retries do not.
pub trait Transport: Send + Sync {
    /// Makes one exchange. `Err` says whether the request may have been taken.
    fn exchange(&self, call: Arc<Call>) -> BoxFuture<'static, Result<Answer, Broken>>;

    /// Says at once, for people, when a URL somebody chose can never be reached because of what it says itself, such as a private address. An early word only:
    /// what protects is the look at every address [`Transport::exchange`] connects to, so a transport without a guard has nothing to say.
    fn check_url(&self, _url: &str) -> Result<(), String> {
        Ok(())
    }
}

/// Keeps files by the SHA-256 of their bytes, in lower-case hex.
pub trait Blobs: Send + Sync {
    /// Stores `bytes` durably; storing the same bytes again is a no-op.
    fn put(&self, sha256: &str, bytes: Bytes) -> BoxFuture<'static, std::io::Result<()>>;

    /// Reads a file back; `NotFound` when it is not there.
    fn get(&self, sha256: &str) -> BoxFuture<'static, std::io::Result<Bytes>>;

    /// Removes a file; removing what is not there is a no-op.
    fn remove(&self, sha256: &str) -> BoxFuture<'static, std::io::Result<()>>;
}

/// The type of a DNS record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DnsKind {
    /// Text; a record split into several strings is one text.
    Txt,
    /// Another name.
    Cname,
    /// Where mail goes, as `10 mail.example.com`.
    Mx,
}

/// Looks records up.
pub trait Dns: Send + Sync {
    /// Every record of this kind at `name`, in any order; names in them are in lower case and without the dot at the end. None is not a failure; a server that does
    /// not answer is, with its reason for people.
    fn look_up(&self, name: &str, kind: DnsKind) -> BoxFuture<'static, Result<Vec<String>, String>>;
}

/// A mail that came to us.
#[derive(Debug, Clone)]
pub struct ArrivedMail {
    /// The envelope recipient.
    pub to: String,
    /// The mail as it came, perhaps without its end.
    pub data: Bytes,
    /// Who brought it.
    pub peer: IpAddr,
}

/// What is said to whoever brings a mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Welcome {
    /// Yes: it is for us; or, once it was handed over: it is on disk.
    Yes,
    /// No, and never.
    No,
    /// Not now: come again.
    Later,
}

/// Decides about mail that comes to us. The listener in `net` speaks the protocol and knows nothing of addresses.
pub trait MailDoor: Send + Sync {
    /// Says whether somebody here takes mail for this address.
    fn knows<'a>(&'a self, to: &'a str) -> BoxFuture<'a, Welcome>;

    /// Takes a mail to an address that is known.
    fn take(&self, mail: ArrivedMail) -> BoxFuture<'_, Welcome>;
}
