//! A receiver that speaks just enough HTTP/1.1: kept connections, bodies with a length. Used as a provider like Twilio, and as a tenant's webhook endpoint.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use super::{Arrivals, number_after};
use crate::bench::{clock::sleep_ms, load::content_length};

/// Largest request it reads, in bytes.
const REQUEST_MAX: usize = 1 << 20;
/// The account that is slow. Its messages, and those of the next, are not counted as arrivals.
pub const SLOW: &str = "ACslow";
/// The account whose provider has had enough.
pub const THROTTLED: &str = "ACthrottled";
/// How long the slow account takes to answer, in milliseconds.
const SLOW_MS: u64 = 30_000;

/// What the receiver is.
#[derive(Clone)]
pub enum Kind {
    /// A provider like Twilio: answers 201 with a `sid`, and knows messages by their phone number.
    Twilio(Arc<Arrivals>),
    /// The same, which also remembers how each message's status is to be reported: the `sid` and the callback URL.
    Reported(Arc<Arrivals>, Arc<std::sync::Mutex<Vec<Reported>>>),
    /// An endpoint: answers 204, and knows events by the order number in their metadata and the number in its path.
    Endpoint(Arc<Arrivals>, u64),
    /// Answers 200 and looks at nothing.
    Bare,
}

/// A message as its provider knows it.
#[derive(Debug, Clone)]
pub struct Reported {
    /// The provider's id.
    pub sid: String,
    /// Path and query to report to.
    pub callback: String,
}

/// Starts a receiver; it lives as long as the process. Answers where it listens.
pub async fn start(kind: Kind) -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let _ = stream.set_nodelay(true);
            tokio::spawn(serve(stream, kind.clone()));
        }
    });
    Ok(address)
}

async fn serve(mut stream: TcpStream, kind: Kind) {
    let (mut buffer, mut answers) = (Vec::with_capacity(16 * 1024), Vec::with_capacity(1024));
    loop {
        let mut done = 0;
        let mut wait_ms = 0;
        while let Some((head, whole)) = request(&buffer[done..]) {
            wait_ms = wait_ms.max(answer(
                &kind,
                &buffer[done..done + head],
                &buffer[done + head..done + whole],
                &mut answers,
            ));
            done += whole;
        }
        buffer.drain(..done);
        if wait_ms > 0 {
            sleep_ms(wait_ms).await;
        }
        if !answers.is_empty() {
            if stream.write_all(&answers).await.is_err() {
                return;
            }
            answers.clear();
        }
        if buffer.len() > REQUEST_MAX || !matches!(stream.read_buf(&mut buffer).await, Ok(1..)) {
            return;
        }
    }
}

/// The length of a request's head, and of the whole request, once it is there.
fn request(buffer: &[u8]) -> Option<(usize, usize)> {
    let head = memchr::memmem::find(buffer, b"\r\n\r\n")? + 4;
    let whole = head + content_length(&buffer[..head]).unwrap_or(0);
    (buffer.len() >= whole).then_some((head, whole))
}

/// Writes the answer to a request. Answers how long to wait with it, in milliseconds.
fn answer(kind: &Kind, head: &[u8], body: &[u8], out: &mut Vec<u8>) -> u64 {
    match kind {
        Kind::Bare => {
            out.extend_from_slice(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
            0
        }
        Kind::Endpoint(arrivals, messages) => {
            let path = number_after(head, b"POST /").unwrap_or(0);
            let order = number_after(body, br#""order":""#);
            arrivals.note(order.map(|order| path * messages + order));
            out.extend_from_slice(b"HTTP/1.1 204 No Content\r\n\r\n");
            0
        }
        Kind::Twilio(arrivals) => twilio(arrivals, head, body, out).1,
        Kind::Reported(arrivals, reported) => {
            let (sid, wait_ms) = twilio(arrivals, head, body, out);
            if let (Some(sid), Some(callback)) = (sid, callback(body))
                && let Ok(mut reported) = reported.lock()
            {
                reported.push(Reported { sid, callback });
            }
            wait_ms
        }
    }
}

/// Answers as Twilio does. Gives the message's new id, unless it was refused.
fn twilio(arrivals: &Arrivals, head: &[u8], body: &[u8], out: &mut Vec<u8>) -> (Option<String>, u64) {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let line = &head[..memchr::memchr(b'\n', head).unwrap_or(head.len())];
    if memchr::memmem::find(line, THROTTLED.as_bytes()).is_some() {
        let text = r#"{"code":20429,"message":"Too Many Requests","status":429}"#;
        let head = format!(
            "HTTP/1.1 429 Too Many Requests\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            text.len()
        );
        out.extend_from_slice(head.as_bytes());
        out.extend_from_slice(text.as_bytes());
        return (None, 0);
    }
    let is_slow = memchr::memmem::find(line, SLOW.as_bytes()).is_some();
    if !is_slow {
        arrivals.note(number_after(body, b"To=%2B49151"));
    }
    let sid = format!("SM{:032x}", NEXT.fetch_add(1, Ordering::Relaxed));
    let text = format!(
        r#"{{"sid":"{sid}","status":"queued","num_segments":"1","price":null,"error_code":null,"error_message":null}}"#
    );
    let start =
        format!("HTTP/1.1 201 Created\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", text.len());
    out.extend_from_slice(start.as_bytes());
    out.extend_from_slice(text.as_bytes());
    (Some(sid), if is_slow { SLOW_MS } else { 0 })
}

/// Path and query of the URL a message's status is to be reported to.
fn callback(body: &[u8]) -> Option<String> {
    let (_, url) = url::form_urlencoded::parse(body).find(|(name, _)| name == "StatusCallback")?;
    let (_, rest) = url.split_once("://")?;
    Some(rest[rest.find('/')?..].to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_taken_and_remembered() {
        let (arrivals, reported) = (Arrivals::new(50), Arc::default());
        let kind = Kind::Reported(Arc::clone(&arrivals), Arc::clone(&reported));
        let text = b"POST /2010-04-01/Accounts/AC1/Messages.json HTTP/1.1\r\nContent-Length: 79\r\n\r\n\
            To=%2B4915100000042&StatusCallback=http%3A%2F%2Fx%3A1%2Fhooks%2Facc_1%3Fattempt%3D1";
        let (head, whole) = request(text).unwrap_or((0, 0));
        assert_eq!(text.len() - head, 83);
        assert_eq!(whole, head + 79);
        let mut out = Vec::new();
        assert_eq!(answer(&kind, &text[..head], &text[head..], &mut out), 0);
        assert!(out.starts_with(b"HTTP/1.1 201 "));
        assert!(arrivals.at_us(42).is_some());
        assert_eq!(reported.lock().unwrap()[0].callback, "/hooks/acc_1?attempt=1");
    }
}
