//! A provider that speaks Twilio's API as far as sending, looking up and testing an account go.
//!
//! Like Twilio it answers what became of a message when asked by its id, and lists the messages to a number: that is how an attempt whose answer was
//! lost is found again.

use std::{
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
};

use model::Clock as _;
use net::SystemClock;
use serde_json::{Value, json};
use url::form_urlencoded;

use super::{Arrival, Sink};

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Serves one connection to its end.
pub(super) fn serve(sink: &Sink, stream: TcpStream) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let (mut head, mut line) = (String::new(), String::new());
        while line != "\r\n" {
            line.clear();
            if stream.read_line(&mut line)? == 0 {
                return Ok(());
            }
            head.push_str(&line);
        }
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(": ")?;
            name.eq_ignore_ascii_case("content-length").then(|| value.parse::<usize>().ok())?
        });
        let mut body = vec![0; length.unwrap_or(0)];
        stream.read_exact(&mut body)?;
        let target = head.split(' ').nth(1).unwrap_or_default();
        let (status, answer) = if head.starts_with("POST ") { take(sink, &body) } else { tell(sink, target) };
        let text = answer.to_string();
        let head =
            format!("HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", text.len());
        stream.get_mut().write_all(format!("{head}{text}").as_bytes())?;
    }
}

/// Takes a message.
fn take(sink: &Sink, body: &[u8]) -> (&'static str, Value) {
    let field = |name: &str| {
        form_urlencoded::parse(body).find(|(n, _)| n == name).map(|(_, value)| value.into_owned()).unwrap_or_default()
    };
    let mut arrival = Arrival {
        from: String::new(),
        to: field("To"),
        content: field("Body"),
        sid: String::new(),
        callback: field("StatusCallback"),
        date: now(),
    };
    {
        // The id is made where the message is put in its place, so that no two get the same.
        let mut state = sink.state();
        arrival.sid = format!("SM{:032x}", state.arrivals.len());
        state.arrivals.push(arrival.clone());
    }
    sink.changed.notify_all();
    sink.wait_while_holding();
    ("201 Created", resource(&arrival))
}

/// Answers questions: about one message, about the messages to a number, about the account.
fn tell(sink: &Sink, target: &str) -> (&'static str, Value) {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let of_account = path.split("/Accounts/").nth(1).and_then(|rest| rest.split_once('/'));
    match of_account.map(|(_, rest)| rest) {
        None => ("200 OK", json!({"status": "active", "type": "Full", "friendly_name": "Test"})),
        Some("Balance.json") => ("200 OK", json!({"balance": "42.00", "currency": "USD"})),
        Some("Messages.json") => {
            let to = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "To").map(|(_, to)| to);
            let state = sink.state();
            let found = state.arrivals.iter().filter(|arrival| Some(arrival.to.as_str()) == to.as_deref());
            ("200 OK", json!({"messages": found.map(resource).collect::<Vec<_>>()}))
        }
        Some(one) => {
            let sid = one.trim_start_matches("Messages/").trim_end_matches(".json");
            let state = sink.state();
            match state.arrivals.iter().find(|arrival| arrival.sid == sid) {
                Some(arrival) => ("200 OK", resource(arrival)),
                None => ("404 Not Found", json!({"code": 20404, "message": "not found", "status": 404})),
            }
        }
    }
}

fn resource(arrival: &Arrival) -> Value {
    json!({
        "sid": arrival.sid, "status": "sent", "direction": "outbound-api", "to": arrival.to, "body": arrival.content,
        "num_segments": "1", "price": null, "price_unit": "USD", "error_code": null, "error_message": null,
        "date_created": arrival.date, "date_updated": arrival.date,
    })
}

/// Now, as RFC 2822 writes it, in GMT and to the second.
fn now() -> String {
    let text = SystemClock.now().to_string();
    let month: usize = text[5..7].parse().unwrap();
    format!("{} {} {} {} +0000", &text[8..10], MONTHS[month - 1], &text[..4], &text[11..19])
}
