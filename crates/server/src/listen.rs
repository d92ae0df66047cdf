//! The listening socket: a task per connection, a limit on how many, time limits on slow clients, and an orderly end.
//!
//! What a request means is the router's business. Here a client that is slow to send its request is cut off, one too many is answered 503, and when the
//! process is told to stop, connections finish the answer they are at; streams without an end are ended.

use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{Router, body::Body, extract::ConnectInfo};
use bytes::Bytes;
use http::{Request, Response, header};
use http_body_util::{BodyExt as _, Limited};
use hyper::{
    body::{Frame, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use model::{BoxFuture, Clock};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
};

/// Time for the head of a request, also for the next one on a kept connection: longer than most clients keep theirs.
const HEAD: Duration = Duration::from_secs(75);
/// Largest head of a request, in bytes: twice what common proxies pass on.
const HEAD_MAX: usize = 64 * 1024;
/// Time for the body of a request, in milliseconds: the largest one over two megabits a second.
const BODY_MS: u64 = 60_000;
/// How much of a body that was answered without being read is still taken, in bytes: as much as the largest request of the API has.
///
/// A client that is still writing when its connection closes may never see the answer, such as how long to wait.
const LEFT_MAX: usize = api::BODY_MAX;
/// Pause after the system refused a connection (usually out of file descriptors), in milliseconds.
const PAUSE_MS: u64 = 50;
/// What a connection beyond the limit gets.
const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/problem+json\r\nretry-after: 1\r\nconnection: close\r\n\
    content-length: 156\r\n\r\n{\"type\":\"about:blank\",\"title\":\"Service Unavailable\",\"status\":503,\"code\":\"too_many_connections\",\
    \"detail\":\"Too many connections are open. Try again shortly.\"}";

/// A client that took too long to send the body of its request.
#[derive(Debug, thiserror::Error)]
#[error("the body of the request did not arrive within {} seconds", BODY_MS / 1000)]
pub struct TooSlow;

/// What a listener needs.
pub struct Listen {
    /// Where to listen; bound already.
    pub listener: TcpListener,
    /// What answers.
    pub router: Router,
    /// Connections open at once.
    pub connections_max: usize,
    /// Time to finish answers once `stop` says so, in milliseconds.
    pub stop_ms: u64,
    /// Waits.
    pub clock: Arc<dyn Clock>,
    /// Turns true when the process is to end.
    pub stop: watch::Receiver<bool>,
}

impl Listen {
    /// Answers requests until told to stop, then until the last answer or the time for that is over.
    pub async fn run(self) {
        let Self { listener, router, connections_max, stop_ms, clock, mut stop } = self;
        let seats = Arc::new(Semaphore::new(connections_max));
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = told(&mut stop) => break,
            };
            match accepted {
                Ok((stream, peer)) => match Arc::clone(&seats).try_acquire_owned() {
                    Ok(seat) => {
                        let connection =
                            Connection { peer, router: router.clone(), clock: Arc::clone(&clock), stop: stop.clone() };
                        tokio::spawn(connection.serve(stream, seat));
                    }
                    Err(_) => turn_away(stream),
                },
                Err(error) if is_of_the_client(&error) => {}
                Err(error) => {
                    tracing::error!(%error, "Cannot take connections; is the limit of open files too low?");
                    clock.sleep(PAUSE_MS).await;
                }
            }
        }
        drop(listener);
        // All seats are free when the last connection has ended.
        let all = u32::try_from(connections_max).unwrap_or(u32::MAX);
        tokio::select! {
            _ = seats.acquire_many(all) => {}
            () = clock.sleep(stop_ms) => tracing::warn!("Some answers were not finished in time"),
        }
    }
}

/// Waits until the process is to end.
async fn told(stop: &mut watch::Receiver<bool>) {
    // Without a sender nobody is left who would wait for us.
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Answers 503 if the socket takes it at once, and closes.
fn turn_away(stream: TcpStream) {
    use std::io::Write as _;
    metrics::counter!("tidings_connections_refused_total").increment(1);
    // Straight to the socket, which does not block: tokio would first have to learn that it is writable.
    if let Ok(mut stream) = stream.into_std() {
        let _ = stream.write(FULL);
    }
}

/// Errors of one connection that was gone before we took it.
fn is_of_the_client(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset
    )
}

struct Connection {
    peer: SocketAddr,
    router: Router,
    clock: Arc<dyn Clock>,
    stop: watch::Receiver<bool>,
}

impl Connection {
    async fn serve(self, stream: TcpStream, seat: OwnedSemaphorePermit) {
        let _seat = seat;
        let _ = stream.set_nodelay(true);
        let Self { peer, router, clock, mut stop } = self;
        let ended = stop.clone();
        let service = service_fn(move |request: Request<Incoming>| {
            let (router, ended) = (router.clone(), ended.clone());
            let clock = Arc::clone(&clock);
            async move {
                let left = Left::of(&request);
                let timed =
                    |body| Timed { body: Some(body), clock: Arc::clone(&clock), deadline: None, left: left.clone() };
                let response = answer(router, request.map(|body| Body::new(timed(body))), peer, ended).await;
                left.drain(&*clock).await;
                Ok::<_, Infallible>(response)
            }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD)
            .max_buf_size(HEAD_MAX)
            .serve_connection(TokioIo::new(stream), service);
        let mut connection = std::pin::pin!(connection);
        let result = tokio::select! {
            result = connection.as_mut() => result,
            () = told(&mut stop) => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = result {
            tracing::debug!(%error, "A connection ended early");
        }
    }
}

async fn answer(
    router: Router,
    mut request: Request<Body>,
    peer: SocketAddr,
    ended: watch::Receiver<bool>,
) -> Response<Body> {
    request.extensions_mut().insert(ConnectInfo(peer));
    let response = tower::ServiceExt::oneshot(router, request).await.unwrap_or_else(|never| match never {});
    let is_endless = response
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"));
    if is_endless { response.map(|body| Body::new(until(body, ended))) } else { response }
}

/// Where the body of a request goes that was answered without being read to its end.
///
/// Nothing for a request without a body, and for a client that waits to be told to send it (`Expect`): that one sees the answer and sends nothing.
#[derive(Clone)]
struct Left(Option<Arc<Mutex<Option<Incoming>>>>);

impl Left {
    fn of(request: &Request<Incoming>) -> Self {
        let is_coming = !hyper::body::Body::is_end_stream(request.body());
        Self((is_coming && !request.headers().contains_key(header::EXPECT)).then(Arc::default))
    }

    fn keep(&self, body: Incoming) {
        if let Some(place) = &self.0 {
            *place.lock().unwrap_or_else(PoisonError::into_inner) = Some(body);
        }
    }

    /// Takes in what is left, within limits, and forgets it.
    async fn drain(self, clock: &dyn Clock) {
        let Some(place) = self.0 else { return };
        let Some(body) = place.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
        let mut body = Limited::new(body, LEFT_MAX);
        tokio::select! {
            () = async { while let Some(Ok(_)) = body.frame().await {} } => {}
            () = clock.sleep(BODY_MS) => {}
        }
    }
}

/// A request's body that has to arrive in time.
struct Timed {
    /// Here until it is dropped, or was too slow.
    body: Option<Incoming>,
    clock: Arc<dyn Clock>,
    /// Set when the body was not there at once.
    deadline: Option<BoxFuture<'static, ()>>,
    left: Left,
}

impl Drop for Timed {
    fn drop(&mut self) {
        if let Some(body) = self.body.take().filter(|body| !hyper::body::Body::is_end_stream(body)) {
            self.left.keep(body);
        }
    }
}

impl hyper::body::Body for Timed {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = self.get_mut();
        let Some(body) = &mut this.body else { return Poll::Ready(None) };
        if let Poll::Ready(frame) = Pin::new(body).poll_frame(cx) {
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        let deadline = this.deadline.get_or_insert_with(|| this.clock.sleep(BODY_MS));
        ready!(deadline.as_mut().poll(cx));
        this.body = None;
        Poll::Ready(Some(Err(TooSlow.into())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(hyper::body::Body::is_end_stream)
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        self.body.as_ref().map(hyper::body::Body::size_hint).unwrap_or_default()
    }
}

/// A stream of events that ends in good order when the process does; the client comes back and takes it up where it was.
fn until(body: Body, mut ended: watch::Receiver<bool>) -> impl hyper::body::Body<Data = Bytes, Error = axum::Error> {
    use futures_util::StreamExt as _;
    let stop = async move { told(&mut ended).await };
    http_body_util::StreamBody::new(body.into_data_stream().take_until(stop).map(|data| data.map(Frame::data)))
        .boxed_unsync()
}

#[cfg(test)]
mod tests;
