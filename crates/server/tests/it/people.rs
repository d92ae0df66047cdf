//! People and the binary: the operator's first sign-in, `tidings user`, and signing in through an OpenID provider as a browser does.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
};

use serde_json::{Value, json};

use crate::{
    binary::Installation,
    http::Client,
    openid::{CLIENT_ID, CLIENT_SECRET, Mischief, Provider, Scene},
};

const PASSWORD: &str = "purple tram waits calmly";

testkit::both! {
    async fn the_operator_signs_in_with_what_the_first_start_said(db: TestDb) {
        let installation = Installation::on(&db);
        let server = installation.serve(&["serve"]);
        let given = &server.announced["operator_sign_in"];
        let mut anybody = Client::new(server.url(), "");
        let done = anybody.post("/v1/sessions", given);
        let mut operator = Client::new(server.url(), done["session"]["token"].as_str().unwrap());
        assert_eq!(operator.get("/v1/users/me")["operator_role"], "admin");
        let tenant = operator.post("/v1/tenants", &json!({"name": "Acme"}));
        let tenant = tenant["id"].as_str().unwrap();

        let made = installation.run(&["user", "create", "--email", "ada@example.com", "--tenant", tenant, "--role", "owner", "--json"]).json();
        let signed_in = anybody.post("/v1/sessions", &json!({"email": "ada@example.com", "password": made["password"]}));
        let mut ada = Client::new(server.url(), signed_in["session"]["token"].as_str().unwrap());
        assert_eq!(ada.get("/v1/tenant")["name"], "Acme");
        let listed = installation.run(&["user", "list", "--tenant", tenant]);
        assert!(listed.out.contains("ada@example.com") && listed.out.contains("owner"), "{}", listed.out);

        let reset = installation.run(&["user", "reset", "--email", "ada@example.com", "--json"]).json();
        let token = reset["link"].as_str().unwrap().rsplit('/').next().unwrap();
        let answer = anybody.ask("POST", "/v1/password-resets/confirm", &[], &json!({"token": token, "password": PASSWORD}));
        assert_eq!(answer.status, 204, "{}", answer.body);
        assert_eq!(ada.ask("GET", "/v1/tenant", &[], &Value::Null).status, 401, "her sessions have ended");
        anybody.post("/v1/sessions", &json!({"email": "ada@example.com", "password": PASSWORD}));
        drop(server);
        assert_eq!(installation.serve(&["serve"]).announced["operator_sign_in"], Value::Null, "it is shown once");
    }
}

/// A browser: one request, its answer's status, and headers in their own spelling.
fn browse(url: &str, cookies: &str) -> (u16, Vec<(String, String)>, String) {
    let (authority, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let mut stream = TcpStream::connect(authority).unwrap();
    write!(stream, "GET /{path} HTTP/1.1\r\nhost: {authority}\r\ncookie: {cookies}\r\nconnection: close\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let headers = head.lines().filter_map(|line| line.split_once(": "));
    (status, headers.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect(), body.to_owned())
}

fn header(headers: &[(String, String)], name: &str) -> String {
    headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.clone()).unwrap_or_default()
}

/// The pair of a `Set-Cookie` header.
fn cookie(headers: &[(String, String)], name: &str) -> String {
    let set = headers.iter().filter(|(found, _)| found == "set-cookie").map(|(_, value)| value);
    let found =
        set.filter(|value| value.starts_with(&format!("{name}="))).map(|value| value.split(';').next().unwrap());
    found.map(str::to_owned).next().unwrap_or_default()
}

/// Goes to the provider and comes back to the door: the callback's URL and the cookie that goes with it.
fn away_and_back(url: &str) -> (String, String) {
    let (status, headers, body) = browse(&format!("{url}/v1/oidc/start?return_to=/console/messages"), "");
    assert_eq!(status, 303, "{body}");
    let state = cookie(&headers, "tidings_oidc_state");
    assert!(!state.is_empty());
    let (status, headers, _) = browse(&header(&headers, "location"), "");
    assert_eq!(status, 302);
    (header(&headers, "location"), state)
}

#[test]
fn people_sign_in_through_an_openid_provider() {
    let provider = Provider::start();
    let installation = Installation::new()
        .with("TIDINGS_OIDC__ISSUER", provider.issuer())
        .with("TIDINGS_OIDC__CLIENT_ID", CLIENT_ID)
        .with("TIDINGS_OIDC__CLIENT_SECRET", CLIENT_SECRET)
        .with("TIDINGS_OIDC__ALLOWED_DOMAINS", "example.com");
    let tenant = installation.run(&["tenant", "create", "Acme", "--json"]).json();
    let tenant = tenant["tenant"]["id"].as_str().unwrap();
    let made = installation.run(&["user", "create", "--email", "ada@example.com", "--tenant", tenant, "--json"]).json();
    let server = installation.serve(&["serve"]);
    let ada = |mischief: Mischief| Scene { subject: "1", email: "ada@example.com", mischief };

    // Whatever is wrong with what comes back, nobody gets in.
    for mischief in [
        Mischief::OtherKey,
        Mischief::OtherNonce,
        Mischief::OtherAudience,
        Mischief::OtherIssuer,
        Mischief::Expired,
        Mischief::Unverified,
    ] {
        provider.set(ada(mischief));
        let (callback, state) = away_and_back(server.url());
        let (status, headers, body) = browse(&callback, &state);
        assert_eq!((status, cookie(&headers, "tidings_session").as_str()), (401, ""), "{mischief:?}: {body}");
        assert!(body.contains("oidc_refused"), "{mischief:?}: {body}");
    }
    provider.set(Scene { subject: "2", email: "eve@evil.example", mischief: Mischief::None });
    let (callback, state) = away_and_back(server.url());
    assert_eq!(browse(&callback, &state).0, 401, "another domain");
    provider.set(Scene { subject: "3", email: "nobody@example.com", mischief: Mischief::None });
    let (callback, state) = away_and_back(server.url());
    assert_eq!(browse(&callback, &state).0, 401, "nobody invited them");

    provider.set(ada(Mischief::None));
    let (callback, state) = away_and_back(server.url());
    assert_eq!(browse(&callback, "").0, 401, "it was begun in another browser");
    let (status, headers, body) = browse(&callback, &state);
    assert_eq!((status, header(&headers, "location").as_str()), (303, "/console/messages"), "{body}");
    let session = cookie(&headers, "tidings_session");
    assert!(headers.iter().any(|(_, value)| value.starts_with(&session) && value.contains("HttpOnly; SameSite=Lax")));
    assert_eq!(browse(&callback, &state).0, 401, "a state is good once");
    let (status, _, body) = browse(&format!("{}/v1/users/me", server.url()), &session);
    let me: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(
        (status, &me["email"], &me["memberships"][0]["tenant_id"]),
        (200, &json!("ada@example.com"), &json!(tenant))
    );
    // The password from before is not the person's whom the provider knows.
    let given = json!({"email": "ada@example.com", "password": made["password"]});
    assert_eq!(Client::new(server.url(), "").ask("POST", "/v1/sessions", &[], &given).status, 401);
    // From now on known by subject, whatever the address is.
    provider.set(Scene { subject: "1", email: "ada.king@example.com", mischief: Mischief::None });
    let (callback, state) = away_and_back(server.url());
    assert_eq!(browse(&callback, &state).0, 303);
}

#[test]
fn half_an_openid_configuration_is_refused() {
    let half = Installation::new().with("TIDINGS_OIDC__ISSUER", "https://id.example").run(&["doctor"]);
    assert_eq!(half.code, 2);
    assert!(half.err.contains("`oidc.client_id` is missing"), "{}", half.err);
    let without = Installation::new().serve(&["serve"]);
    let (status, body) = without.get("/v1/oidc/start");
    assert!(status == 404 && body.contains("oidc_off"), "{body}");
}
