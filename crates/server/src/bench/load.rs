//! The load generator: connections kept open, requests written as bytes, answers read just far enough. It shares the processors with the server under test, so it does
//! as little as it can: no header map, no body copy, no timer per request.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
    time::timeout,
};

use super::clock::now_us;

/// Connections of the usual client.
pub const CONNECTIONS: usize = 64;
/// Longest wait for one answer.
const ANSWER_MAX: Duration = Duration::from_secs(60);
/// Times a client comes back after 429 or 503 before it gives up.
const RETRIES_MAX: usize = 100;

/// One kept connection.
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    /// Connects.
    pub async fn open(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await.with_context(|| format!("cannot reach {address}"))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::with_capacity(64 * 1024) })
    }

    /// Writes a request and reads its answer: the status, and the body until the next request.
    pub async fn exchange(&mut self, request: &[u8]) -> anyhow::Result<(u16, &[u8])> {
        self.buffer.clear();
        let whole = async {
            self.stream.write_all(request).await?;
            loop {
                if let Some((status, body)) = answer(&self.buffer)? {
                    return Ok((status, body));
                }
                let read = self.stream.read_buf(&mut self.buffer).await?;
                ensure!(read > 0, "the server closed the connection in the middle of an answer");
            }
        };
        let (status, body): (u16, std::ops::Range<usize>) =
            timeout(ANSWER_MAX, whole).await.context("no answer within a minute")??;
        Ok((status, &self.buffer[body]))
    }
}

/// An answer that is there as a whole: its status and where its body lies.
fn answer(buffer: &[u8]) -> anyhow::Result<Option<(u16, std::ops::Range<usize>)>> {
    let Some(end) = memchr::memmem::find(buffer, b"\r\n\r\n") else { return Ok(None) };
    let head = &buffer[..end + 2];
    let status = buffer.get(9..12).and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
    let status = status.context("the answer is no HTTP/1.1")?;
    let from = end + 4;
    let length = match content_length(head) {
        Some(length) => length,
        None if status == 204 || status == 304 => 0,
        None => bail!("an answer without Content-Length"),
    };
    Ok((buffer.len() >= from + length).then_some((status, from..from + length)))
}

/// The length a head announces.
pub fn content_length(head: &[u8]) -> Option<usize> {
    let name = b"content-length:";
    let mut lines = head.split(|byte| *byte == b'\n');
    let line = lines.find(|line| line.len() > name.len() && line[..name.len()].eq_ignore_ascii_case(name))?;
    std::str::from_utf8(&line[name.len()..]).ok()?.trim().parse().ok()
}

/// How requests to one server begin.
#[derive(Debug, Clone)]
pub struct Target {
    /// Where it listens.
    pub address: SocketAddr,
    /// Lines every request carries, each with its end.
    pub headers: String,
}

impl Target {
    /// A server that is asked as the owner of a key.
    pub fn new(address: SocketAddr, key: &str) -> Self {
        Self { address, headers: format!("host: {address}\r\nauthorization: Bearer {key}\r\n") }
    }

    /// A request as bytes. `extra` are further lines, each with its end.
    pub fn request(&self, method: &str, path: &str, extra: &str, body: &str) -> Vec<u8> {
        let kind = if body.is_empty() { "" } else { "content-type: application/json\r\n" };
        let mut request = Vec::with_capacity(256 + body.len());
        let head =
            format!("{method} {path} HTTP/1.1\r\n{}{kind}{extra}content-length: {}\r\n\r\n", self.headers, body.len());
        request.extend_from_slice(head.as_bytes());
        request.extend_from_slice(body.as_bytes());
        request
    }
}

/// What a run of requests came to.
#[derive(Debug, Default)]
pub struct Run {
    /// When the first left, in microseconds since 1970.
    pub began_us: u64,
    /// When the last was answered.
    pub ended_us: u64,
    /// How long each took, in microseconds.
    pub waits_us: Vec<u64>,
    /// Answers 429 and 503, after which the request was made again.
    pub turned_away: u64,
}

/// Makes request `0` up to `count` over `connections` connections, each as fast as answers come. Every answer must have the status `wanted`.
pub async fn run(
    address: SocketAddr,
    connections: usize,
    count: u64,
    wanted: u16,
    make: impl Fn(u64) -> Vec<u8> + Send + Sync + 'static,
) -> anyhow::Result<Run> {
    let (next, make) = (Arc::new(AtomicU64::new(0)), Arc::new(make));
    let mut open = Vec::new();
    for _ in 0..connections {
        open.push(Connection::open(address).await?);
    }
    let began_us = now_us();
    let mut clients = JoinSet::new();
    for connection in open {
        clients.spawn(client(connection, Arc::clone(&next), count, wanted, Arc::clone(&make)));
    }
    let mut run = Run { began_us, ..Run::default() };
    while let Some(client) = clients.join_next().await {
        let (waits, turned_away) = client??;
        run.waits_us.extend(waits);
        run.turned_away += turned_away;
    }
    run.ended_us = now_us();
    Ok(run)
}

async fn client(
    mut connection: Connection,
    next: Arc<AtomicU64>,
    count: u64,
    wanted: u16,
    make: Arc<impl Fn(u64) -> Vec<u8>>,
) -> anyhow::Result<(Vec<u64>, u64)> {
    let (mut waits, mut turned_away) = (Vec::new(), 0);
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number >= count {
            return Ok((waits, turned_away));
        }
        let request = make(number);
        let began = now_us();
        let mut tries = 0;
        loop {
            let (status, body) = connection.exchange(&request).await?;
            if status == wanted {
                break;
            }
            let is_busy = matches!(status, 429 | 503) && tries < RETRIES_MAX;
            ensure!(is_busy, "the server answered {status}: {}", excerpt(body));
            (tries, turned_away) = (tries + 1, turned_away + 1);
            super::clock::sleep_ms(20).await;
        }
        waits.push(now_us() - began);
    }
}

/// The beginning of an answer, for messages to people.
pub fn excerpt(body: &[u8]) -> String {
    String::from_utf8_lossy(&body[..body.len().min(500)]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_when_they_are_whole() {
        let whole = b"HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\nx: y\r\n\r\n{}";
        assert_eq!(answer(&whole[..whole.len() - 1]).unwrap(), None);
        let (status, body) = answer(whole).unwrap().unwrap();
        assert_eq!((status, &whole[body]), (202, &b"{}"[..]));
        assert_eq!(answer(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap().unwrap().0, 204);
        assert!(answer(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").is_err());
    }
}
