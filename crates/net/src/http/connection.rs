//! One HTTP/1.1 connection, tapped: it knows whether anything of the current request was handed to the kernel.

use std::{
    future::{Future, poll_fn},
    io,
    pin::{Pin, pin},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use ::http::{HeaderMap, Request};
use bytes::{Bytes, BytesMut};
use http_body_util::Full;
use hyper::{body::Body, body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use model::HttpAnswer;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::{pool::Retire, wire::Wire};

/// Largest head of an answer, and hyper's buffer for a body, in bytes: four times what common servers allow.
const BUFFER_MAX: usize = 64 * 1024;

/// A connection together with the state machine that drives it.
pub(super) struct Connection {
    tap: Tap,
    sender: http1::SendRequest<Full<Bytes>>,
    driver: http1::Connection<TokioIo<Tap>, Full<Bytes>>,
    /// True once the driver has completed; it must not be polled again.
    is_over: bool,
}

impl Connection {
    pub async fn new(wire: Wire) -> Result<Self, hyper::Error> {
        let tap = Tap(Arc::new(Mutex::new(Tapped { wire, has_written: false })));
        let (sender, driver) =
            http1::Builder::new().max_buf_size(BUFFER_MAX).handshake(TokioIo::new(tap.clone())).await?;
        Ok(Self { tap, sender, driver, is_over: false })
    }

    /// True when the latest exchange left the connection ready for another.
    pub fn is_ready(&self) -> bool {
        !self.is_over && self.sender.is_ready()
    }

    /// True when nothing has arrived since; asked right before use.
    pub fn is_quiet(&self) -> bool {
        self.tap.lock().wire.is_quiet()
    }

    /// True when a byte of the latest request was handed to the kernel or to TLS.
    pub fn has_written(&self) -> bool {
        self.tap.lock().has_written
    }

    /// Sends a request and reads its answer, of whose body at most `answer_max` bytes.
    pub async fn exchange(
        &mut self,
        request: Request<Full<Bytes>>,
        answer_max: usize,
    ) -> Result<HttpAnswer, hyper::Error> {
        self.tap.lock().has_written = false;
        let mut head = pin!(self.sender.try_send_request(request));
        let response = poll_fn(|cx| {
            drive(&mut self.driver, &mut self.is_over, cx);
            head.as_mut().poll(cx)
        });
        let (head, mut body) = response.await.map_err(|refused| refused.into_error())?.into_parts();
        let (body, is_truncated) = self.read(&mut body, answer_max).await?;
        Ok(HttpAnswer { status: head.status.as_u16(), headers: plain(&head.headers), body, is_truncated })
    }

    /// The body up to `max` bytes, and whether there was more.
    async fn read(&mut self, body: &mut Incoming, max: usize) -> Result<(Bytes, bool), hyper::Error> {
        let mut whole = BytesMut::new();
        loop {
            let frame = poll_fn(|cx| {
                drive(&mut self.driver, &mut self.is_over, cx);
                Pin::new(&mut *body).poll_frame(cx)
            });
            let Some(frame) = frame.await else { break };
            let Ok(data) = frame?.into_data() else { continue };
            let room = max - whole.len();
            whole.extend_from_slice(&data[..data.len().min(room)]);
            if data.len() > room {
                return Ok((whole.freeze(), true));
            }
        }
        // Lets the state machine see that the answer is complete and get ready for the next request.
        poll_fn(|cx| {
            drive(&mut self.driver, &mut self.is_over, cx);
            Poll::Ready(())
        })
        .await;
        Ok((whole.freeze(), false))
    }
}

impl Retire for Connection {
    /// HTTP has no goodbye: dropping closes.
    fn retire(self) {}
}

/// Moves bytes between socket and state machine. What ended the connection is told to the request and its body, so the
/// driver's own result says nothing new.
fn drive(driver: &mut http1::Connection<TokioIo<Tap>, Full<Bytes>>, is_over: &mut bool, cx: &mut Context<'_>) {
    if !*is_over {
        *is_over = Pin::new(driver).poll(cx).is_ready();
    }
}

fn plain(headers: &HeaderMap) -> Vec<(String, String)> {
    let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    headers.iter().map(|(name, value)| (name.as_str().to_owned(), text(value.as_bytes()))).collect()
}

struct Tapped {
    wire: Wire,
    has_written: bool,
}

/// The socket as hyper sees it. The exchange holds the other handle; both live in one task, so the lock is never
/// contended.
#[derive(Clone)]
struct Tap(Arc<Mutex<Tapped>>);

impl Tap {
    fn lock(&self) -> MutexGuard<'_, Tapped> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AsyncRead for Tap {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.lock().wire).poll_read(cx, buf)
    }
}

impl Tapped {
    /// Under TLS a failed write may have sent some records before it failed, so it counts.
    fn note(&mut self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        self.has_written |= match &written {
            Poll::Ready(Ok(bytes)) => *bytes > 0,
            Poll::Ready(Err(_)) => self.wire.is_tls(),
            Poll::Pending => false,
        };
        written
    }
}

impl AsyncWrite for Tap {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let mut tapped = self.lock();
        let written = Pin::new(&mut tapped.wire).poll_write(cx, buf);
        tapped.note(written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut tapped = self.lock();
        let written = Pin::new(&mut tapped.wire).poll_write_vectored(cx, bufs);
        tapped.note(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.lock().wire.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.lock().wire).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.lock().wire).poll_shutdown(cx)
    }
}
