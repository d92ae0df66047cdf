//! A small OpenID Connect provider on loopback: metadata, keys, the page people are sent to (where everybody agrees at once), and the token endpoint, which checks
//! client, redirect and code verifier. It signs ID tokens with a key of its own, and can be told to misbehave.

use std::{
    collections::HashMap,
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

use aws_lc_rs::{
    digest::{SHA256, digest},
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use model::Clock as _;
use serde_json::{Value, json};

pub const CLIENT_ID: &str = "tidings";
pub const CLIENT_SECRET: &str = "a secret of the client";

/// What the provider does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mischief {
    None,
    /// Signs with a key it does not publish.
    OtherKey,
    /// Repeats another nonce.
    OtherNonce,
    /// Speaks to another client.
    OtherAudience,
    /// Names another issuer.
    OtherIssuer,
    /// Sends a token whose time is over.
    Expired,
    /// Did not verify the address.
    Unverified,
}

/// Who signs in, and how well the provider behaves.
#[derive(Clone)]
pub struct Scene {
    pub subject: &'static str,
    pub email: &'static str,
    pub mischief: Mischief,
}

struct State {
    issuer: String,
    key: EcdsaKeyPair,
    other_key: EcdsaKeyPair,
    scene: Mutex<Scene>,
    /// What was asked for under each code.
    codes: Mutex<HashMap<String, HashMap<String, String>>>,
}

/// A running provider. Its threads end with the test's process.
pub struct Provider(Arc<State>);

impl Provider {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let key = || EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let state = Arc::new(State {
            issuer: format!("http://{}", listener.local_addr().unwrap()),
            key: key(),
            other_key: key(),
            scene: Mutex::new(Scene { subject: "248289761001", email: "ada@example.com", mischief: Mischief::None }),
            codes: Mutex::new(HashMap::new()),
        });
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = Arc::clone(&shared);
                thread::spawn(move || state.serve(stream));
            }
        });
        Self(state)
    }

    pub fn issuer(&self) -> &str {
        &self.0.issuer
    }

    pub fn set(&self, scene: Scene) {
        *self.0.scene.lock().unwrap() = scene;
    }
}

fn form(text: &str) -> HashMap<String, String> {
    url::form_urlencoded::parse(text.as_bytes()).into_owned().collect()
}

impl State {
    fn serve(&self, stream: TcpStream) -> io::Result<()> {
        let mut stream = BufReader::new(stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if stream.read_line(&mut head)? == 0 {
                return Ok(());
            }
        }
        let header = |name: &str| {
            head.lines()
                .filter_map(|line| line.split_once(": "))
                .find(|(found, _)| found.eq_ignore_ascii_case(name))
                .map(|(_, value)| value)
        };
        let mut body = vec![0; header("content-length").map_or(0, |length| length.parse().unwrap())];
        stream.read_exact(&mut body)?;
        let target = head.split(' ').nth(1).unwrap_or_default();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let (status, location, answer) = match path {
            "/.well-known/openid-configuration" => ("200 OK", String::new(), self.metadata()),
            "/keys" => ("200 OK", String::new(), self.keys()),
            "/authorize" => ("302 Found", self.agree(form(query)), Value::Null),
            "/token" => match self.token(header("authorization"), &form(&String::from_utf8_lossy(&body))) {
                Some(token) => ("200 OK", String::new(), token),
                None => ("400 Bad Request", String::new(), json!({"error": "invalid_grant"})),
            },
            _ => ("404 Not Found", String::new(), Value::Null),
        };
        let answer = answer.to_string();
        let location = if location.is_empty() { location } else { format!("location: {location}\r\n") };
        write!(
            stream.get_mut(),
            "HTTP/1.1 {status}\r\ncontent-type: application/json\r\n{location}connection: close\r\ncontent-length: {}\r\n\r\n{answer}",
            answer.len()
        )
    }

    fn metadata(&self) -> Value {
        let issuer = &self.issuer;
        json!({
            "issuer": issuer, "authorization_endpoint": format!("{issuer}/authorize"), "token_endpoint": format!("{issuer}/token"), "jwks_uri": format!("{issuer}/keys"),
            "response_types_supported": ["code"], "subject_types_supported": ["public"], "id_token_signing_alg_values_supported": ["ES256"],
        })
    }

    fn keys(&self) -> Value {
        let point = self.key.public_key().as_ref();
        let (x, y) = (URL_SAFE_NO_PAD.encode(&point[1..33]), URL_SAFE_NO_PAD.encode(&point[33..]));
        json!({"keys": [{"kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": "1", "x": x, "y": y}]})
    }

    /// Everybody who is sent here agrees at once.
    fn agree(&self, asked: HashMap<String, String>) -> String {
        assert_eq!((asked["client_id"].as_str(), asked["response_type"].as_str()), (CLIENT_ID, "code"));
        assert!(asked["scope"].split(' ').any(|scope| scope == "openid") && asked["code_challenge_method"] == "S256");
        let mut codes = self.codes.lock().unwrap();
        let code = format!("code-{}", codes.len());
        let back = format!("{}?code={code}&state={}&session_state=x", asked["redirect_uri"], asked["state"]);
        codes.insert(code, asked);
        back
    }

    fn token(&self, authorization: Option<&str>, given: &HashMap<String, String>) -> Option<Value> {
        let client = format!("Basic {}", STANDARD.encode(format!("{CLIENT_ID}:{}", CLIENT_SECRET.replace(' ', "+"))));
        let asked = self.codes.lock().unwrap().remove(given.get("code")?)?;
        let challenge = URL_SAFE_NO_PAD.encode(digest(&SHA256, given.get("code_verifier")?.as_bytes()));
        let is_right = authorization == Some(client.as_str())
            && challenge == asked["code_challenge"]
            && given.get("redirect_uri") == asked.get("redirect_uri")
            && given.get("grant_type").is_some_and(|grant| grant == "authorization_code");
        is_right.then(|| json!({"access_token": "x", "token_type": "Bearer", "expires_in": 60, "id_token": self.id_token(&asked["nonce"])}))
    }

    fn id_token(&self, nonce: &str) -> String {
        let Scene { subject, email, mischief } = self.scene.lock().unwrap().clone();
        let now = net::SystemClock.now().as_seconds();
        let is = |one: Mischief| mischief == one;
        let claims = json!({
            "iss": if is(Mischief::OtherIssuer) { "https://evil.example" } else { &self.issuer },
            "sub": subject,
            "aud": if is(Mischief::OtherAudience) { "another" } else { CLIENT_ID },
            "iat": now - 3_600,
            "exp": if is(Mischief::Expired) { now - 60 } else { now + 60 },
            "nonce": if is(Mischief::OtherNonce) { "another" } else { nonce },
            "email": email, "email_verified": !is(Mischief::Unverified), "name": "Ada Lovelace",
        });
        let part = |json: &Value| URL_SAFE_NO_PAD.encode(json.to_string());
        let signed = format!("{}.{}", part(&json!({"alg": "ES256", "kid": "1", "typ": "JWT"})), part(&claims));
        let key = if is(Mischief::OtherKey) { &self.other_key } else { &self.key };
        let signature = key.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}
