//! Receivers that stand in for the world outside: a mail server and a provider that speaks Twilio's API, on loopback, in threads of the test. They keep
//! everything that arrives in the order in which it arrives, and wake whoever waits for it.

mod mail;
mod twilio;

use std::{
    io,
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

/// Longest wait for something to arrive.
const ARRIVAL: Duration = Duration::from_secs(120);

/// Something that was taken: the sender has been promised that it is here, or is about to be.
#[derive(Debug, Clone)]
pub struct Arrival {
    /// The recipient: a mail address, or a phone number.
    pub to: String,
    /// The sender on a mail's envelope; empty for text messages.
    pub from: String,
    /// The mail as it came, or the text message.
    pub content: String,
    /// The provider's id; empty for mails.
    pub sid: String,
    /// Where the provider is to report to; empty for mails.
    pub callback: String,
    /// When it came, as mails and Twilio write it.
    date: String,
}

/// What the receivers share.
#[derive(Default)]
pub struct Sink {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    arrivals: Vec<Arrival>,
    /// Requests to the provider wait for their answer.
    is_holding: bool,
    /// So do mails that were taken.
    is_holding_mail: bool,
}

impl Sink {
    /// With nothing in it.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Starts a mail server that takes everything. It lives as long as the test.
    pub fn take_mail(self: &Arc<Self>) -> SocketAddr {
        self.listen(mail::serve)
    }

    /// Starts a provider like Twilio that takes everything. It lives as long as the test.
    pub fn take_text_messages(self: &Arc<Self>) -> SocketAddr {
        self.listen(twilio::serve)
    }

    fn listen(self: &Arc<Self>, serve: fn(&Self, TcpStream) -> io::Result<()>) -> SocketAddr {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let sink = Arc::clone(self);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let sink = Arc::clone(&sink);
                // A sender that is killed breaks its connection; that is what these tests are about.
                thread::spawn(move || stream.set_nodelay(true).and_then(|()| serve(&sink, stream)));
            }
        });
        address
    }

    /// What arrived so far.
    pub fn arrivals(&self) -> Vec<Arrival> {
        self.state().arrivals.clone()
    }

    /// How much arrived so far.
    pub fn count(&self) -> usize {
        self.state().arrivals.len()
    }

    /// Waits until so much arrived, over all receivers.
    #[track_caller]
    pub fn wait(&self, count: usize) {
        self.until(|arrivals| arrivals.len() >= count);
    }

    /// Waits until what arrived is as it should be.
    #[track_caller]
    pub fn until(&self, is_enough: impl Fn(&[Arrival]) -> bool) {
        let waiting = |state: &mut State| !is_enough(&state.arrivals);
        let waited = self.changed.wait_timeout_while(self.state(), ARRIVAL, waiting);
        let (state, late) = waited.unwrap_or_else(PoisonError::into_inner);
        assert!(
            !late.timed_out(),
            "after {ARRIVAL:?} there were {} arrivals, and not all that were waited for",
            state.arrivals.len()
        );
    }

    /// From now on the provider takes messages and does not answer, until told to.
    pub fn hold(&self, is_holding: bool) {
        self.state().is_holding = is_holding;
        self.changed.notify_all();
    }

    /// From now on the mail server takes mails and does not say so, until told to.
    pub fn hold_mail(&self, is_holding: bool) {
        self.state().is_holding_mail = is_holding;
        self.changed.notify_all();
    }

    fn note(&self, arrival: Arrival) {
        self.state().arrivals.push(arrival);
        self.changed.notify_all();
    }

    fn wait_while_holding(&self) {
        drop(self.changed.wait_while(self.state(), |state| state.is_holding));
    }

    fn wait_while_holding_mail(&self) {
        drop(self.changed.wait_while(self.state(), |state| state.is_holding_mail));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
