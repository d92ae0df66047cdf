//! Follows `GET /v1/stream`: how these tests wait for what becomes of messages, instead of asking again and again.

use std::{
    collections::BTreeSet,
    io::{BufRead as _, BufReader, Write as _},
    net::TcpStream,
};

use serde_json::Value;

use crate::http::connect;

/// The place before a tenant's first event.
const BEGINNING: &str = "evt_00000000000000000000000000";
/// Heartbeats, one every 15 s, after which what is waited for will not come: recovery of a killed process on PostgreSQL with all questions to the
/// provider takes 70 s.
const HEARTBEATS_MAX: u32 = 10;

/// An open stream.
pub struct Events {
    lines: BufReader<TcpStream>,
}

/// One event.
#[derive(Debug)]
pub struct Event {
    pub kind: String,
    /// The `data` of the event: the message, the account or the endpoint it is about.
    pub about: Value,
}

impl Events {
    /// Every event of the tenant from its first on; of all types, or of those in `filter`.
    pub fn from_the_beginning(url: &str, key: &str, filter: &str) -> Self {
        let authority = url.strip_prefix("http://").unwrap();
        let mut stream = connect(authority).unwrap();
        // HTTP/1.0, so that the body comes as it is.
        write!(
            stream,
            "GET /v1/stream?events={filter} HTTP/1.0\r\nhost: {authority}\r\nauthorization: Bearer {key}\r\nlast-event-id: {BEGINNING}\r\n\r\n"
        )
        .unwrap();
        let mut lines = BufReader::new(stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(lines.read_line(&mut head).unwrap() > 0, "{head}");
        }
        assert!(head.split(' ').nth(1) == Some("200"), "{head}");
        Self { lines }
    }

    /// The next event.
    #[track_caller]
    pub fn next(&mut self) -> Event {
        self.next_within(HEARTBEATS_MAX).expect("nothing happens any more")
    }

    /// The next event; `None` when so many heartbeats come before it.
    #[track_caller]
    pub fn next_within(&mut self, heartbeats_max: u32) -> Option<Event> {
        let (mut line, mut heartbeats) = (String::new(), 0);
        loop {
            line.clear();
            assert!(self.lines.read_line(&mut line).unwrap() > 0, "the stream ended");
            if line.starts_with(": ") {
                heartbeats += 1;
                if heartbeats >= heartbeats_max {
                    return None;
                }
            }
            if let Some(data) = line.strip_prefix("data: ") {
                let mut event: Value = serde_json::from_str(data).unwrap();
                let kind = event["type"].as_str().unwrap().to_owned();
                return Some(Event { kind, about: event["data"].take() });
            }
        }
    }

    /// Waits for an event of this type about a message; answers it as it was then.
    #[track_caller]
    pub fn until(&mut self, kind: &str, message: &str) -> Value {
        loop {
            let event = self.next();
            if event.kind == kind && event.about["id"] == message {
                return event.about;
            }
        }
    }

    /// Waits until so many different messages were sent. Any other end of a message fails the test.
    #[track_caller]
    pub fn until_sent(&mut self, count: usize) {
        self.until_sent_or(count, |event| panic!("{event:?} before {count} were sent"));
    }

    /// Waits until so many different messages were sent. `other` is given what else becomes of messages.
    #[track_caller]
    pub fn until_sent_or(&mut self, count: usize, mut other: impl FnMut(&Event)) {
        let mut sent = BTreeSet::new();
        while sent.len() < count {
            let event = self.next();
            match event.kind.as_str() {
                "message.sent" => {
                    assert!(sent.insert(event.about["id"].as_str().unwrap().to_owned()), "sent twice: {event:?}")
                }
                "message.accepted" => {}
                _ => other(&event),
            }
        }
    }
}
