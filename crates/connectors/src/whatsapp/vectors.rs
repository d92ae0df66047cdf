//! Signature vectors of providers that sign with HMAC-SHA256 over the body: each as it stands, and with every byte changed.

use model::{Timestamp, Values};
use serde::Deserialize;

use crate::{Cx, Inbound, Request, Verdict};

#[derive(Deserialize)]
struct Vectors {
    header_name: String,
    #[serde(alias = "app_secret")]
    secret: String,
    cases: Vec<Vector>,
}

#[derive(Deserialize)]
struct Vector {
    name: String,
    raw_body: String,
    header: Option<String>,
    valid: bool,
}

fn is_valid(inbound: &dyn Inbound, settings: &Values, header: (&str, Option<&str>), body: &[u8]) -> bool {
    let cx = Cx { settings, from: None, base_url: None, callback_url: "", now: Timestamp::EPOCH, nonce: 0 };
    let headers: Vec<_> = header.1.map(|value| (header.0.to_ascii_lowercase(), value.to_owned())).into_iter().collect();
    let request = Request { method: "POST", path: "", query: "", headers: &headers, body };
    matches!(inbound.verify(&cx, &request, None), Verdict::Valid)
}

/// Checks every vector of a file. `secret` is the setting that holds the secret, `required` names those that must be there besides.
pub(crate) fn check(vectors: &str, inbound: &dyn Inbound, secret: &str, required: &str) {
    let vectors: Vectors = serde_json::from_str(vectors).unwrap();
    let name = vectors.header_name.as_str();
    let mut without = Values::default();
    required.split(' ').for_each(|field| without.set(field, "1"));
    let (mut with, mut other) = (without.clone(), without.clone());
    with.set(secret, vectors.secret.as_str());
    other.set(secret, "other");
    assert!(vectors.cases.iter().any(|vector| vector.valid) && vectors.cases.iter().any(|vector| !vector.valid));
    for vector in &vectors.cases {
        let (header, body) = (vector.header.as_deref(), vector.raw_body.as_bytes());
        assert_eq!(is_valid(inbound, &with, (name, header), body), vector.valid, "{}", vector.name);
        assert!(!is_valid(inbound, &without, (name, header), body), "{} without a secret", vector.name);
        assert!(!is_valid(inbound, &other, (name, header), body), "{} with another secret", vector.name);
        assert!(!is_valid(inbound, &with, (name, None), body), "{} without its header", vector.name);
        if vector.valid {
            changed(inbound, &with, (name, header.unwrap()), body);
        }
    }
}

fn changed(inbound: &dyn Inbound, settings: &Values, (name, header): (&str, &str), body: &[u8]) {
    for at in 0..body.len() {
        let mut changed = body.to_vec();
        changed[at] ^= 1;
        assert!(!is_valid(inbound, settings, (name, Some(header)), &changed), "byte {at} of the body");
    }
    for at in 0..header.len() {
        let mut changed = header.as_bytes().to_vec();
        changed[at] = if changed[at] == b'0' { b'1' } else { b'0' };
        let changed = String::from_utf8(changed).unwrap();
        assert!(!is_valid(inbound, settings, (name, Some(&changed)), body), "byte {at} of the header");
    }
}
