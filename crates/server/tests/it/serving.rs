//! Start and stop, and a message from the command line through a running server.

use rustix::process::Signal;
use serde_json::Value;

use crate::binary::Installation;

const OPERATOR_KEY: &str = "tdo_0123456789012345678901234567890123456789";

testkit::both! {
    async fn a_server_starts_answers_and_stops_in_good_order(db: TestDb) {
        let installation = Installation::on(&db);
        let server = installation.serve(&["serve"]);
        assert!(server.announced["operator_api_key"].as_str().unwrap().starts_with("tdo_"));
        assert_eq!((server.get("/healthz").0, server.get("/readyz").0), (200, 200));
        assert!(server.get("/metrics").1.contains("tidings_http_request_seconds"));
        let said = server.stop(Signal::TERM);
        assert_eq!(said.code, 0, "{}", said.err);

        let again = installation.serve(&["serve"]);
        assert_eq!(again.announced["operator_api_key"], Value::Null, "the key is shown once");
        assert_eq!(again.stop(Signal::INT).code, 0);
    }

    async fn a_message_goes_from_the_command_line_to_the_event_stream(db: TestDb) {
        let installation = Installation::on(&db);
        let server = installation.serve(&["demo"]);
        let key = server.announced["demo"]["api_key"].as_str().unwrap();
        let client = ["--key", key, "--url", server.url()];
        let send = ["send", "--to", "ada@example.com", "--subject", "Hello", "--text", "Hello {{ name }}", "--var", "name=Ada"];
        let sent = installation.run(&[&send[..], &client].concat());
        assert_eq!(sent.code, 0, "{}", sent.err);
        assert!(sent.out.starts_with("msg_"), "{}", sent.out);
        let tailed = installation.run(&[&["tail", "--count", "3", "--json"][..], &client].concat());
        assert_eq!((tailed.code, tailed.out.lines().count()), (0, 3), "{}", tailed.err);

        let refused = installation.run(&[&["send", "--to", "nobody", "--channel", "email", "--text", "x"][..], &client].concat());
        assert_eq!(refused.code, 1);
        assert!(refused.err.contains("/to"), "{}", refused.err);
        let stranger = installation.run(&["send", "--to", "a@example.com", "--text", "x", "--key", "tdk_unknown", "--url", server.url()]);
        assert!(stranger.code == 1 && stranger.err.contains("invalid_api_key"), "{}", stranger.err);
    }
}

#[test]
fn two_servers_do_not_share_an_sqlite_database() {
    let installation = Installation::new();
    let server = installation.serve(&["serve"]);
    let second = installation.run(&["serve"]);
    assert_eq!(second.code, 1);
    assert!(second.err.contains("is served by another process"), "{}", second.err);
    // Killed, it leaves no lock behind.
    assert_ne!(server.stop(Signal::KILL).code, 0);
    assert_eq!(installation.serve(&["serve"]).stop(Signal::TERM).code, 0);
}

#[test]
fn the_operators_key_can_be_given() {
    let installation = Installation::new().with("TIDINGS_BOOTSTRAP_OPERATOR_KEY", OPERATOR_KEY);
    let server = installation.serve(&["serve"]);
    assert_eq!(server.announced["operator_api_key"], Value::Null, "the operator knows it");
    let said = server.stop(Signal::TERM);
    assert!(!said.err.contains(OPERATOR_KEY));
    assert!(installation.run(&["key", "list", "--operator"]).out.contains("First start"));
}

#[test]
fn an_address_in_use_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let said = Installation::new().run(&["serve", "--listen", &address]);
    assert_eq!(said.code, 2);
    assert!(said.err.contains(&format!("`listen` {address} cannot be used")), "{}", said.err);
}

#[test]
fn a_worker_tells_how_it_is_and_nothing_else() {
    let server = Installation::new().with("TIDINGS_ROLES", "worker").serve(&["serve"]);
    assert_eq!(
        ["/healthz", "/readyz", "/metrics", "/v1/messages"].map(|path| server.get(path).0),
        [200, 200, 200, 404]
    );
}
