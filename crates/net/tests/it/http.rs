//! HTTP: what was sent, what is read, and above all whether the provider may have acted.

use model::{Broken, Call, HttpAnswer, HttpCall, Method};

use crate::script::{
    Do::{self, *},
    Server, http, net, net_with, say, timed_out,
};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Trace: A\r\n\r\nhi";

fn post(url: impl Into<String>) -> HttpCall {
    HttpCall::new(Method::Post, url).body("application/json", r#"{"to":"ada"}"#)
}

fn url(server: &Server) -> String {
    format!("http://127.0.0.1:{}/v1/messages?x=1", server.port)
}

/// One POST against one script.
async fn posted(script: Vec<Do>) -> Result<HttpAnswer, Broken> {
    let server = Server::start(vec![script]).await;
    http(&net(), &post(url(&server))).await
}

async fn check_broken(script: Vec<Do>, code: &str, may_have_acted: bool) {
    let broken = posted(script.clone()).await.map(|answer| answer.status).unwrap_err();
    assert_eq!((broken.code, broken.may_have_acted), (code, may_have_acted), "{script:?}: {}", broken.detail);
}

#[tokio::test]
async fn a_request_and_its_answer() {
    let server = Server::start(vec![vec![HearRequest, say(OK)]]).await;
    let answer = http(&net(), &post(url(&server)).header("x-key", "k")).await.unwrap();
    assert_eq!((answer.status, answer.text().as_ref(), answer.is_truncated), (200, "hi", false));
    assert_eq!(answer.header("x-trace"), Some("A"));
    let port = server.port;
    assert_eq!(
        server.done().await,
        [format!(
            "POST /v1/messages?x=1 HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nuser-agent: Tidings/test\r\n\
             content-length: 12\r\ncontent-type: application/json\r\nx-key: k\r\n\r\n{{\"to\":\"ada\"}}"
        )]
    );
}

#[tokio::test]
async fn bodies_in_all_their_framings() {
    for (answer, status, body) in [
        ("HTTP/1.1 204 No Content\r\n\r\n", 204, ""),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", 200, "abcde"),
        ("HTTP/1.0 200 OK\r\n\r\nuntil the end", 200, "until the end"),
        ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\nContent-Length: 1\r\n\r\nx", 201, "x"),
        ("HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n", 500, ""),
        ("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nraw", 200, "raw"),
    ] {
        let read = posted(vec![HearRequest, say(answer)]).await.unwrap();
        assert_eq!((read.status, read.text().as_ref()), (status, body), "{answer:?}");
    }
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_is_not_followed() {
    let location = "http://169.254.169.254/latest/meta-data/";
    let script =
        vec![HearRequest, say(format!("HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n"))];
    let answer = posted(script).await.unwrap();
    assert_eq!((answer.status, answer.header("location")), (302, Some(location)));
}

#[tokio::test]
async fn once_the_request_left_a_failure_may_mean_anything() {
    check_broken(vec![HearRequest], "reset", true).await;
    check_broken(vec![HearRequest, Reset], "reset", true).await;
    check_broken(vec![HearRequest, say("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nhalf")], "reset", true).await;
    check_broken(vec![HearRequest, say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab")], "reset", true)
        .await;
    check_broken(vec![HearRequest, say("HTTP/1.1 2")], "reset", true).await;
    check_broken(vec![HearRequest, say("220 mail.example ESMTP\r\n")], "protocol", true).await;
    check_broken(
        vec![HearRequest, say(format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "y".repeat(300_000)))],
        "protocol",
        true,
    )
    .await;
}

#[tokio::test]
async fn a_server_that_is_too_slow_may_have_acted() {
    for script in [
        vec![HearRequest, Tell, Linger],
        vec![HearRequest, say("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nh"), Tell, Linger],
        vec![Hears(1), Tell, Hold],
    ] {
        let call = |port| Call::Http(post(format!("http://127.0.0.1:{port}/")));
        let broken = timed_out(vec![script.clone()], call).await;
        assert_eq!((broken.code, broken.may_have_acted), ("timeout", true), "{script:?}");
    }
}

#[tokio::test]
async fn a_server_that_never_shakes_hands_got_nothing() {
    let call = |port| Call::Http(post(format!("https://127.0.0.1:{port}/")));
    let broken = timed_out(vec![vec![Hears(1), Tell, Hold]], call).await;
    assert_eq!((broken.code, broken.may_have_acted), ("timeout", false));
}

#[tokio::test]
async fn before_the_request_left_nobody_acted() {
    // Bound and not listening: nobody else can take the port meanwhile.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let closed = socket.local_addr().unwrap().port();
    for (url, code) in [
        (format!("http://127.0.0.1:{closed}/"), "connect_refused"),
        ("http://nowhere.example/".to_owned(), "dns"),
        ("ftp://example.com/".to_owned(), "bad_url"),
        ("http://10.0.0.1/".to_owned(), "refused_address"),
    ] {
        let broken = http(&net(), &post(&url)).await.unwrap_err();
        assert_eq!((broken.code, broken.may_have_acted), (code, false), "{url}: {}", broken.detail);
    }
    let split = post(format!("http://127.0.0.1:{closed}/")).header("x-a", "b\r\nx-c: d");
    let broken = http(&net(), &split).await.unwrap_err();
    assert_eq!((broken.code, broken.may_have_acted), ("bad_request", false));
}

#[tokio::test]
async fn a_name_that_leads_to_this_machine_is_refused_without_a_connection() {
    let server = Server::start(vec![]).await;
    for (host, is_untrusted) in [("rebind.test", true), ("rebind.test", false), ("127.0.0.1", false), ("0x7f.1", false)]
    {
        let call = HttpCall { is_untrusted, ..post(format!("http://{host}:{}/", server.port)) };
        let broken = http(&net_with(&[], false), &call).await.unwrap_err();
        assert_eq!((broken.code, broken.may_have_acted), ("refused_address", false), "{host}");
    }
}

#[tokio::test]
async fn a_huge_answer_is_cut_and_its_connection_not_kept() {
    let huge = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{}", 10 << 20, "x".repeat(10 << 20));
    let server = Server::start(vec![vec![HearRequest, say(huge)], vec![HearRequest, say(OK)]]).await;
    let net = net();
    let call = HttpCall { answer_max: 1_000, ..post(url(&server)) };
    let answer = http(&net, &call).await.unwrap();
    assert_eq!((answer.body.len(), answer.is_truncated), (1_000, true));
    assert_eq!(net.idle_connections(), (0, 0));
    // An answer of exactly the limit is whole.
    let answer = http(&net, &HttpCall { answer_max: 2, ..call }).await.unwrap();
    assert_eq!((answer.text().as_ref(), answer.is_truncated), ("hi", false));
}

#[tokio::test]
async fn connections_are_kept_and_used_again() {
    let thrice = vec![[HearRequest, say(OK)]; 3].concat();
    let server = Server::start(vec![[thrice, vec![Linger]].concat()]).await;
    let net = net();
    for _ in 0..3 {
        assert_eq!(http(&net, &post(url(&server))).await.unwrap().status, 200);
    }
    assert_eq!(net.idle_connections(), (1, 0));
    drop(net);
    assert_eq!(server.done().await.len(), 3);
}

#[tokio::test]
async fn a_connection_is_not_kept_against_the_servers_will() {
    for header in ["Connection: close", "Keep-Alive: timeout=1"] {
        let answer = format!("HTTP/1.1 200 OK\r\n{header}\r\nContent-Length: 0\r\n\r\n");
        let script = vec![HearRequest, say(answer), Linger];
        let server = Server::start(vec![script.clone(), script]).await;
        let net = net();
        for _ in 0..2 {
            assert_eq!(http(&net, &post(url(&server))).await.unwrap().status, 200, "{header}");
        }
        assert_eq!(server.done().await.len(), 2);
    }
}

#[tokio::test]
async fn a_stale_kept_connection_is_replaced_and_the_request_sent_once() {
    let goodbye = "HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n";
    for end in [vec![], vec![Reset], vec![say(goodbye)]] {
        let first = [vec![HearRequest, say(OK)], end.clone()].concat();
        let mut server = Server::start(vec![first, vec![HearRequest, say(OK)]]).await;
        let net = net();
        assert_eq!(http(&net, &post(url(&server))).await.unwrap().status, 200);
        server.first_done().await;
        assert_eq!(http(&net, &post(url(&server))).await.unwrap().status, 200, "{end:?}");
        assert_eq!(server.done().await.len(), 2, "{end:?}");
    }
}

#[tokio::test]
async fn a_kept_connection_that_dies_after_the_request_is_not_tried_again() {
    let server = Server::start(vec![vec![HearRequest, say(OK), HearRequest]]).await;
    let net = net();
    assert_eq!(http(&net, &post(url(&server))).await.unwrap().status, 200);
    let broken = http(&net, &post(url(&server))).await.unwrap_err();
    assert_eq!((broken.code, broken.may_have_acted), ("reset", true));
    assert_eq!(server.done().await.len(), 2);
}

#[tokio::test]
async fn tls_is_verified() {
    let script = || vec![StartTls, HearRequest, say(OK), HearRequest, say(OK)];
    let server = Server::start(vec![script()]).await;
    let trusting = net();
    for host in ["mail.test", "MAIL.test."] {
        let call = post(format!("https://{host}:{}/", server.port));
        assert_eq!(http(&trusting, &call).await.unwrap().status, 200, "{host}");
    }
    server.done().await;
    for (net, host) in [(net_with(&["loopback"], false), "mail.test"), (net(), "other.test")] {
        let server = Server::start(vec![vec![StartTls]]).await;
        let broken = http(&net, &post(format!("https://{host}:{}/", server.port))).await.unwrap_err();
        assert_eq!((broken.code, broken.may_have_acted), ("tls", false), "{}", broken.detail);
    }
    let server = Server::start(vec![vec![say("HTTP/1.1 400 Bad Request\r\n\r\n")]]).await;
    let broken = http(&net(), &post(format!("https://mail.test:{}/", server.port))).await.unwrap_err();
    assert_eq!((broken.code, broken.may_have_acted), ("tls", false), "{}", broken.detail);
}
