//! Ways an exchange breaks, in one place so that codes and the "may have acted" verdict stay uniform, and the helper
//! that limits a wait by the injected clock.

use std::{future::Future, io, pin::pin};

use model::{BoxFuture, Broken, Clock};

use crate::guard::Refusal;

/// Broken before anything was sent: the provider certainly did not act.
pub(crate) fn unsent(code: &'static str, detail: impl Into<String>) -> Broken {
    Broken { may_have_acted: false, code, detail: detail.into() }
}

/// The same break, with the verdict known only to the caller.
pub(crate) fn acted_if(broken: Broken, may_have_acted: bool) -> Broken {
    Broken { may_have_acted, ..broken }
}

/// The guard said no.
pub(crate) fn refused(refusal: Refusal) -> Broken {
    let code = match refusal {
        Refusal::Url(_) => "bad_url",
        Refusal::Address { .. } | Refusal::Port { .. } => "refused_address",
    };
    unsent(code, refusal.to_string())
}

/// The code for an IO error on an open connection.
pub(crate) fn io_code(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::TimedOut => "timeout",
        // rustls reports its own errors, such as an alert or a broken record, under this kind.
        io::ErrorKind::InvalidData => "tls",
        _ => "reset",
    }
}

/// Waits for `future`, at most `millis`.
pub(crate) async fn within<T>(clock: &dyn Clock, millis: u64, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    // Most answers on kept connections are there or nearly so, but a timer costs little: no attempt is made to save it.
    let mut deadline = clock.sleep(millis);
    before(&mut deadline, &mut future).await
}

/// Waits for `future` until `deadline` completes. The future wins when both are ready.
pub(crate) async fn before<T>(deadline: &mut BoxFuture<'static, ()>, future: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        result = future => Some(result),
        () = deadline => None,
    }
}
