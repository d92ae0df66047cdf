//! A transport that answers as the test says and remembers what it was asked.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use model::{Answer, BoxFuture, Broken, Call, HttpAnswer, SmtpAnswer, SmtpReply, SmtpStage, Transport};
use tokio::sync::watch;

type Respond = dyn Fn(&Call) -> Result<Answer, Broken> + Send + Sync;

/// A provider made of one function. Remembers every call, in the order they came.
pub struct FakeTransport(Arc<Provider>);

struct Provider {
    respond: Box<Respond>,
    calls: Mutex<Vec<Arc<Call>>>,
    is_held: watch::Sender<bool>,
}

impl Provider {
    fn calls(&self) -> MutexGuard<'_, Vec<Arc<Call>>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FakeTransport {
    /// Answers each call with what `respond` says.
    pub fn new(respond: impl Fn(&Call) -> Result<Answer, Broken> + Send + Sync + 'static) -> Arc<Self> {
        let is_held = watch::Sender::new(false);
        Arc::new(Self(Arc::new(Provider { respond: Box::new(respond), calls: Mutex::default(), is_held })))
    }

    /// Gives these answers in this order.
    ///
    /// # Panics
    /// On a call beyond the last answer.
    pub fn scripted(answers: impl IntoIterator<Item = Result<Answer, Broken>>) -> Arc<Self> {
        let answers: Mutex<VecDeque<_>> = Mutex::new(answers.into_iter().collect());
        Self::new(move |call| {
            let next = answers.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            next.unwrap_or_else(|| panic!("the script of this test has no answer for one more call: {call:?}"))
        })
    }

    /// Makes exchanges wait, after they were recorded and before they are answered, until [`FakeTransport::release`].
    pub fn hold(&self) {
        self.0.is_held.send_replace(true);
    }

    /// Lets waiting and further exchanges be answered.
    pub fn release(&self) {
        self.0.is_held.send_replace(false);
    }

    /// Every call so far.
    pub fn calls(&self) -> Vec<Arc<Call>> {
        self.0.calls().clone()
    }

    /// Takes the calls so far away, so that the next look shows only newer ones.
    pub fn take_calls(&self) -> Vec<Arc<Call>> {
        std::mem::take(&mut self.0.calls())
    }
}

impl Transport for FakeTransport {
    fn exchange(&self, call: Arc<Call>) -> BoxFuture<'static, Result<Answer, Broken>> {
        let provider = Arc::clone(&self.0);
        Box::pin(async move {
            provider.calls().push(Arc::clone(&call));
            let mut is_held = provider.is_held.subscribe();
            // The sender lives in `provider`, so this wait ends by `release` only.
            let _ = is_held.wait_for(|is_held| !is_held).await;
            (provider.respond)(&call)
        })
    }
}

/// An HTTP answer with this status and body.
pub fn http_answer(status: u16, body: impl Into<Bytes>) -> Result<Answer, Broken> {
    Ok(Answer::Http(HttpAnswer { status, body: body.into(), ..HttpAnswer::default() }))
}

/// The mail server's 250 to the final dot.
pub fn smtp_accepted() -> Result<Answer, Broken> {
    let reply = SmtpReply { code: 250, enhanced: Some("2.0.0".to_owned()), text: "Ok: queued as TEST".to_owned() };
    Ok(Answer::Smtp(SmtpAnswer { stage: SmtpStage::FinalDot, reply, capabilities: Vec::new(), tls: None }))
}

/// An exchange that broke before the provider could act.
pub fn broken_before(code: &'static str) -> Result<Answer, Broken> {
    Err(Broken { may_have_acted: false, code, detail: "the test says so".to_owned() })
}

/// An exchange that broke when the provider may have acted already.
pub fn broken_after(code: &'static str) -> Result<Answer, Broken> {
    Err(Broken { may_have_acted: true, code, detail: "the test says so".to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn calls_are_remembered_and_answered_in_order() {
        let transport = FakeTransport::scripted([http_answer(202, "one"), broken_after("timeout")]);
        assert!(
            matches!(transport.exchange(Arc::new(Call::Local)).await, Ok(Answer::Http(answer)) if answer.status == 202)
        );
        assert!(matches!(transport.exchange(Arc::new(Call::Local)).await, Err(broken) if broken.may_have_acted));
        assert_eq!(transport.take_calls().len(), 2);
        assert!(transport.calls().is_empty());
    }

    #[tokio::test]
    async fn a_held_exchange_waits_for_its_release() {
        let transport = FakeTransport::new(|_| Ok(Answer::Local));
        transport.hold();
        let mut exchange = transport.exchange(Arc::new(Call::Local));
        assert!(futures_util::poll!(&mut exchange).is_pending());
        assert_eq!(transport.calls().len(), 1);
        transport.release();
        assert!(matches!(futures_util::poll!(&mut exchange), std::task::Poll::Ready(Ok(Answer::Local))));
    }
}
