use std::future::Future;

use axum::{body::Bytes as Read, routing};
use testkit::ManualClock;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    task::JoinHandle,
};

use super::*;

/// A listener under test, and its end.
struct Running {
    address: SocketAddr,
    clock: Arc<ManualClock>,
    stop: watch::Sender<bool>,
    ended: JoinHandle<()>,
}

/// Listens with a route that reads the body, one that refuses before it does, and one whose answer never ends.
async fn listen(connections_max: usize) -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let clock = ManualClock::at_some_time();
    let endless = || async {
        let chunks = futures_util::stream::once(async { Ok::<_, Infallible>("data: 1\n\n") });
        let body = Body::from_stream(futures_util::StreamExt::chain(chunks, futures_util::stream::pending()));
        ([(header::CONTENT_TYPE, "text/event-stream")], body)
    };
    let router = Router::new()
        .route("/read", routing::post(|body: Read| async move { body.len().to_string() }))
        .route("/peer", routing::get(|ConnectInfo(peer): ConnectInfo<SocketAddr>| async move { peer.ip().to_string() }))
        .route("/refuse", routing::post(|| async { (http::StatusCode::TOO_MANY_REQUESTS, "later") }))
        .route("/endless", routing::get(endless));
    let (stop, stopped) = watch::channel(false);
    let waits: Arc<dyn Clock> = Arc::<ManualClock>::clone(&clock);
    let listen = Listen { listener, router, connections_max, stop_ms: 1_000, clock: waits, stop: stopped };
    Running { address, clock, stop, ended: tokio::spawn(listen.run()) }
}

impl Running {
    async fn connect(&self, request: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        stream
    }
}

/// Reads until the text is there, or the end.
async fn read_until(stream: &mut TcpStream, wanted: &str) -> String {
    let mut text = String::new();
    let mut buffer = [0; 1024];
    while !text.contains(wanted) {
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => break,
            Ok(count) => text.push_str(std::str::from_utf8(&buffer[..count]).unwrap()),
        }
    }
    text
}

/// Lets other tasks run until something is so.
async fn until<T, F: Future<Output = Option<T>>>(look: impl Fn() -> F) -> T {
    loop {
        match look().await {
            Some(found) => return found,
            None => tokio::task::yield_now().await,
        }
    }
}

#[tokio::test]
async fn the_router_learns_who_calls() {
    let running = listen(8).await;
    let mut stream = running.connect("GET /peer HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert!(read_until(&mut stream, "127.0.0.1").await.starts_with("HTTP/1.1 200 OK"));
}

#[tokio::test]
async fn one_connection_too_many_is_turned_away() {
    let running = listen(1).await;
    let mut first = running.connect("GET /peer HTTP/1.1\r\nhost: x\r\n\r\n").await;
    read_until(&mut first, "127.0.0.1").await;
    let mut second = running.connect("").await;
    assert!(read_until(&mut second, "shortly").await.starts_with("HTTP/1.1 503 "));
    drop(first);
    until(|| async {
        let mut third = running.connect("GET /peer HTTP/1.1\r\nhost: x\r\n\r\n").await;
        read_until(&mut third, "127.0.0.1").await.starts_with("HTTP/1.1 200 ").then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_body_that_does_not_come_is_given_up() {
    let running = listen(8).await;
    let mut stream = running.connect("POST /read HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\nhalf").await;
    let waits_ms = until(|| async { running.clock.next_wake_ms() }).await;
    assert_eq!(waits_ms, BODY_MS);
    running.clock.advance_ms(BODY_MS);
    assert!(read_until(&mut stream, "seconds").await.starts_with("HTTP/1.1 400 "));
}

#[tokio::test]
async fn a_refusal_before_the_body_was_read_reaches_who_is_still_writing() {
    let running = listen(8).await;
    let body = "x".repeat(8 * 1024 * 1024);
    let head =
        |path: &str, length: usize| format!("POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n");
    let mut stream = running.connect(&(head("/refuse", body.len()) + &body)).await;
    assert!(read_until(&mut stream, "later").await.starts_with("HTTP/1.1 429 "));
    stream.write_all((head("/read", 4) + "next").as_bytes()).await.unwrap();
    assert!(read_until(&mut stream, "\r\n\r\n4").await.starts_with("HTTP/1.1 200 "), "the connection is kept");
}

#[tokio::test]
async fn who_is_refused_and_sends_no_more_gets_the_answer_when_time_is_up() {
    let running = listen(8).await;
    let mut stream = running.connect("POST /refuse HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\nhalf").await;
    let waits_ms = until(|| async { running.clock.next_wake_ms() }).await;
    assert_eq!(waits_ms, BODY_MS);
    running.clock.advance_ms(BODY_MS);
    assert!(read_until(&mut stream, "later").await.starts_with("HTTP/1.1 429 "));
}

#[tokio::test]
async fn who_asks_before_sending_the_body_is_refused_at_once() {
    let running = listen(8).await;
    let head = "POST /refuse HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 10\r\n\r\n";
    let mut stream = running.connect(head).await;
    assert!(read_until(&mut stream, "later").await.starts_with("HTTP/1.1 429 "));
}

#[tokio::test]
async fn told_to_stop_it_finishes_answers_and_ends_streams() {
    let running = listen(8).await;
    let mut stream = running.connect("GET /endless HTTP/1.1\r\nhost: x\r\n\r\n").await;
    read_until(&mut stream, "data: 1").await;
    let mut slow = running.connect("POST /read HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\nhalf ").await;
    until(|| async { running.clock.next_wake_ms() }).await;
    running.stop.send_replace(true);
    assert!(read_until(&mut stream, "0\r\n\r\n").await.ends_with("0\r\n\r\n"), "the stream ends in good order");
    slow.write_all(b"whole").await.unwrap();
    assert!(read_until(&mut slow, "\r\n\r\n10").await.starts_with("HTTP/1.1 200 "));
    running.ended.await.unwrap();
    assert!(TcpStream::connect(running.address).await.is_err());
}

#[tokio::test]
async fn who_does_not_finish_in_time_is_left_behind() {
    let running = listen(8).await;
    let _slow = running.connect("POST /read HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\nhalf ").await;
    until(|| async { running.clock.next_wake_ms() }).await;
    running.stop.send_replace(true);
    until(|| async { running.clock.next_wake_ms().filter(|millis| *millis == 1_000) }).await;
    running.clock.advance_ms(1_000);
    running.ended.await.unwrap();
}

#[test]
fn the_refusal_is_as_long_as_it_says() {
    let text = std::str::from_utf8(FULL).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    assert!(head.contains(&format!("content-length: {}", body.len())), "{}", body.len());
    assert!(serde_json::from_str::<serde_json::Value>(body).is_ok());
}
