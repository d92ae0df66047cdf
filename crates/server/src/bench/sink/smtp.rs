//! A mail server that takes every mail and keeps none: RFC 5321 with PIPELINING and 8BITMIME, as far as clients use it.

use std::{net::SocketAddr, sync::Arc};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use super::{Arrivals, number_after};

/// Largest mail or line it holds, in bytes.
const BUFFER_MAX: usize = 4 << 20;
const GREETING: &[u8] = b"220 sink.example ESMTP\r\n";
const OFFERS: &[u8] = b"250-sink.example\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 SIZE 52428800\r\n";

/// Starts a mail server; it lives as long as the process. Mails are known by the number in their recipient, `u00000042@…`. Answers where it listens.
pub async fn start(arrivals: Arc<Arrivals>) -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let _ = stream.set_nodelay(true);
            tokio::spawn(serve(stream, Arc::clone(&arrivals)));
        }
    });
    Ok(address)
}

async fn serve(mut stream: TcpStream, arrivals: Arc<Arrivals>) {
    let mut session = Session::default();
    let mut buffer = Vec::with_capacity(64 * 1024);
    if stream.write_all(GREETING).await.is_err() {
        return;
    }
    let mut replies = Vec::with_capacity(256);
    while matches!(stream.read_buf(&mut buffer).await, Ok(1..)) && buffer.len() <= BUFFER_MAX {
        let done = session.take(&buffer, &mut replies, |number| arrivals.note(number));
        buffer.drain(..done);
        if !replies.is_empty() && stream.write_all(&replies).await.is_err() {
            return;
        }
        replies.clear();
        if session.is_over {
            return;
        }
    }
}

/// Where a connection is in the protocol.
#[derive(Default)]
struct Session {
    recipient: Option<u64>,
    is_in_data: bool,
    is_over: bool,
    /// Bytes of the mail that were searched for its end already.
    searched: usize,
}

impl Session {
    /// Takes what is there, and writes the replies. Answers how many bytes are done with.
    fn take(&mut self, buffer: &[u8], replies: &mut Vec<u8>, mut note: impl FnMut(Option<u64>)) -> usize {
        let mut done = 0;
        loop {
            let rest = &buffer[done..];
            if self.is_in_data {
                let Some(end) = end_of_data(rest, self.searched) else {
                    self.searched = rest.len().saturating_sub(4);
                    return done;
                };
                done += end;
                (self.is_in_data, self.searched) = (false, 0);
                note(self.recipient.take());
                replies.extend_from_slice(b"250 2.0.0 taken\r\n");
                continue;
            }
            let Some(end) = memchr::memchr(b'\n', rest) else { return done };
            self.command(&rest[..end], replies);
            done += end + 1;
        }
    }

    fn command(&mut self, line: &[u8], replies: &mut Vec<u8>) {
        let verb = line.get(..4).unwrap_or_default().to_ascii_uppercase();
        let reply: &[u8] = match verb.as_slice() {
            b"EHLO" | b"HELO" => OFFERS,
            b"RCPT" => {
                self.recipient = number_after(line, b"<u");
                b"250 2.1.5 ok\r\n"
            }
            b"DATA" => {
                self.is_in_data = true;
                b"354 go on\r\n"
            }
            b"QUIT" => {
                self.is_over = true;
                b"221 2.0.0 bye\r\n"
            }
            b"MAIL" | b"RSET" | b"NOOP" => b"250 2.0.0 ok\r\n",
            _ => b"500 5.5.2 what?\r\n",
        };
        replies.extend_from_slice(reply);
    }
}

/// Where the mail's end, a dot alone on its line, ends. `searched` bytes hold none.
fn end_of_data(mail: &[u8], searched: usize) -> Option<usize> {
    if mail.starts_with(b".\r\n") {
        return Some(3);
    }
    memchr::memmem::find(&mail[searched..], b"\r\n.\r\n").map(|at| searched + at + 5)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipelined_session_in_any_pieces() {
        let text = b"EHLO a\r\nMAIL FROM:<a@b>\r\nRCPT TO:<u00000042@example.com>\r\nDATA\r\nHi\r\n..\r\n.\r\nQUIT\r\n";
        for piece in 1..text.len() {
            let (mut session, mut replies, mut seen, mut buffer) =
                (Session::default(), Vec::new(), Vec::new(), Vec::new());
            for part in text.chunks(piece) {
                buffer.extend_from_slice(part);
                let done = session.take(&buffer, &mut replies, |number| seen.push(number));
                buffer.drain(..done);
            }
            assert_eq!(seen, [Some(42)], "in pieces of {piece}");
            assert!(session.is_over && replies.ends_with(b"250 2.0.0 taken\r\n221 2.0.0 bye\r\n"));
        }
    }
}
