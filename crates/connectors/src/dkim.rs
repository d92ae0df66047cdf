//! DKIM signatures of mails we finish ourselves (RFC 6376, with Ed25519 by RFC 8463).
//!
//! The keys of a domain lie among the account's settings, under a name no form can set, so they are sealed, opened and erased with them. A mail
//! of a domain whose records were found in the DNS is signed twice, with RSA for everybody and with Ed25519 for those who can; both canonicalizations
//! are `relaxed`, because mail servers on the way fold lines. `From` is named once more than it occurs, so that nobody can add another.

use aws_lc_rs::{
    digest,
    rand::SystemRandom,
    signature::{Ed25519KeyPair, RSA_PKCS1_SHA256, RsaKeyPair},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use model::{Timestamp, Values};
use serde::{Deserialize, Serialize};

/// Headers that are signed where they occur.
const SIGNED: &[&str] = &[
    "from",
    "to",
    "reply-to",
    "subject",
    "date",
    "message-id",
    "mime-version",
    "content-type",
    "content-transfer-encoding",
    "list-id",
    "list-help",
    "list-unsubscribe",
    "list-unsubscribe-post",
];
/// Characters of a signature on one line.
const LINE: usize = 70;

/// The keys of one domain.
#[derive(Clone, Serialize, Deserialize)]
pub struct Keys {
    /// True once both records were found in the DNS: before, a signature could only fail.
    pub is_active: bool,
    /// Selector of the RSA key.
    pub rsa_selector: String,
    /// RSA, 2048 bits, PKCS#8 in base64.
    pub rsa: String,
    /// Selector of the Ed25519 key.
    pub ed25519_selector: String,
    /// The Ed25519 seed in base64.
    pub ed25519: String,
}

// Holds private keys: nothing of them is printed.
impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Keys({}, {})", self.rsa_selector, self.ed25519_selector)
    }
}

/// The name under which a domain's keys lie among the settings.
pub fn setting(domain: &str) -> String {
    format!("dkim:{domain}")
}

/// The keys of a domain, whether active or not.
pub fn keys(settings: &Values, domain: &str) -> Option<Keys> {
    serde_json::from_str(settings.get(&setting(domain))?).ok()
}

/// The keys that sign mails of a domain: its own, or those of the nearest domain above it, whose signatures align as well (RFC 9989).
fn active(settings: &Values, domain: &str) -> Option<(String, Keys)> {
    let mut name = domain;
    while name.contains('.') {
        if let Some(keys) = keys(settings, name).filter(|keys| keys.is_active) {
            return Some((name.to_owned(), keys));
        }
        name = name.split_once('.')?.1;
    }
    None
}

/// Puts signatures before a finished mail of a domain; none when the account has no active keys for it.
pub fn sign(settings: &Values, from_domain: &str, mail: Vec<u8>, at: Timestamp) -> Vec<u8> {
    let Some((domain, keys)) = active(settings, &from_domain.to_ascii_lowercase()) else { return mail };
    let head = mail.windows(4).position(|four| four == b"\r\n\r\n").map_or(mail.len(), |at| at + 2);
    let (headers, body) = (headers(&mail[..head]), mail.get(head + 2..).unwrap_or_default());
    let names = names(&headers);
    let hash = STANDARD.encode(digest::digest(&digest::SHA256, &relaxed_body(body)));
    let mut signed = Vec::with_capacity(mail.len() + 2_048);
    for (algorithm, selector) in [("ed25519-sha256", &keys.ed25519_selector), ("rsa-sha256", &keys.rsa_selector)] {
        let seconds = at.as_millis() / 1_000;
        let start = format!(
            "DKIM-Signature: v=1; a={algorithm}; c=relaxed/relaxed; d={domain};\r\n s={selector}; t={seconds};\r\n h={};\r\n bh={hash};\r\n b=",
            names.join(":\r\n  ")
        );
        let text = signed_text(&headers, &names, &start);
        let signature = match algorithm {
            "rsa-sha256" => rsa(&keys.rsa, text.as_bytes()),
            _ => ed25519(&keys.ed25519, text.as_bytes()),
        };
        // A key that does not open signs nothing: the mail leaves as it would without one.
        let Some(signature) = signature else { continue };
        signed.extend_from_slice(start.as_bytes());
        for (index, part) in STANDARD.encode(signature).as_bytes().chunks(LINE).enumerate() {
            signed.extend_from_slice(if index == 0 { b"" } else { b"\r\n  " });
            signed.extend_from_slice(part);
        }
        signed.extend_from_slice(b"\r\n");
    }
    signed.extend_from_slice(&mail);
    signed
}

fn rsa(key: &str, text: &[u8]) -> Option<Vec<u8>> {
    let key = RsaKeyPair::from_pkcs8(&STANDARD.decode(key).ok()?).ok()?;
    let mut signature = vec![0; key.public_modulus_len()];
    // Signatures of this kind hold no randomness: the generator is only part of the function's form.
    key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), text, &mut signature).ok()?;
    Some(signature)
}

/// RFC 8463: the signature is over the hash, which Ed25519 then hashes again.
fn ed25519(seed: &str, text: &[u8]) -> Option<Vec<u8>> {
    let key = Ed25519KeyPair::from_seed_unchecked(&STANDARD.decode(seed).ok()?).ok()?;
    Some(key.sign(digest::digest(&digest::SHA256, text).as_ref()).as_ref().to_vec())
}

/// A header as it stands: its name in lower case, and its value with folds.
type Header = (String, String);

fn headers(head: &[u8]) -> Vec<Header> {
    let text = String::from_utf8_lossy(head);
    let mut headers: Vec<Header> = Vec::new();
    for line in text.split("\r\n").filter(|line| !line.is_empty()) {
        if line.starts_with([' ', '\t']) {
            if let Some((_, value)) = headers.last_mut() {
                value.push(' ');
                value.push_str(line);
            }
        } else if let Some((name, value)) = line.split_once(':') {
            headers.push((name.trim_end().to_ascii_lowercase(), value.to_owned()));
        }
    }
    headers
}

/// What is signed, in order: each header that is there as often as it is there, and `From` once more.
fn names(headers: &[Header]) -> Vec<&'static str> {
    let there = SIGNED.iter().flat_map(|name| {
        let times = headers.iter().filter(|(found, _)| found == name).count();
        std::iter::repeat_n(*name, times + usize::from(*name == "from"))
    });
    there.collect()
}

/// The text a signature is over (RFC 6376 3.7): the named headers from the last of each name upwards, then the signature's own header without its value.
fn signed_text(headers: &[Header], names: &[&str], own: &str) -> String {
    let mut left: Vec<Option<&Header>> = headers.iter().map(Some).collect();
    let mut text = String::new();
    for name in names {
        let last = left.iter().rposition(|header| header.is_some_and(|(found, _)| found == name));
        if let Some((name, value)) = last.and_then(|at| left[at].take()) {
            text.push_str(&format!("{name}:{}\r\n", relaxed_value(value)));
        }
    }
    let (name, value) = own.split_once(':').unwrap_or((own, ""));
    text + &format!("{}:{}", name.to_ascii_lowercase(), relaxed_value(&value.replace("\r\n", " ")))
}

/// RFC 6376 3.4.2: runs of spaces become one, none at the ends.
fn relaxed_value(value: &str) -> String {
    value.split([' ', '\t']).filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

/// RFC 6376 3.4.4: runs of spaces in a line become one, none at its end, no empty lines at the end of the body.
fn relaxed_body(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len());
    let mut empty = 0;
    for line in body.split_inclusive(|byte| *byte == b'\n') {
        let line = line.strip_suffix(b"\r\n").or_else(|| line.strip_suffix(b"\n")).unwrap_or(line).trim_ascii_end();
        if line.is_empty() {
            empty += 1;
            continue;
        }
        out.extend(std::iter::repeat_n(*b"\r\n", std::mem::take(&mut empty)).flatten());
        let mut was_space = false;
        for byte in line {
            let is_space = matches!(byte, b' ' | b'\t');
            if !(is_space && was_space) {
                out.push(if is_space { b' ' } else { *byte });
            }
            was_space = is_space;
        }
        out.extend_from_slice(b"\r\n");
    }
    out
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{ED25519, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};

    use super::*;

    /// The example of RFC 8463, appendix A.
    const HEAD: &str = "From: Joe SixPack <joe@football.example.com>\r\nTo: Suzie Q <suzie@shopping.example.net>\r\nSubject: Is dinner ready?\r\n\
        Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)\r\nMessage-ID: <20030712040037.46341.5F8J@football.example.com>\r\n";
    const BODY: &str = "Hi.\r\n\r\nWe lost the game.  Are you hungry yet?\r\n\r\nJoe.\r\n";
    const HASH: &str = "2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=";
    const OWN: &str = "DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed;\r\n d=football.example.com; i=@football.example.com;\r\n \
        q=dns/txt; s=brisbane; t=1528637909; h=from : to :\r\n subject : date : message-id : from : subject : date;\r\n \
        bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;\r\n b=";
    const SIGNATURE: &str = "/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11BusFa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw==";
    const SEED: &str = "nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=";
    const PUBLIC: &str = "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";

    #[test]
    fn the_example_of_the_standard_is_signed_as_there() {
        assert_eq!(STANDARD.encode(digest::digest(&digest::SHA256, &relaxed_body(BODY.as_bytes()))), HASH);
        let names = ["from", "to", "subject", "date", "message-id", "from", "subject", "date"];
        let text = signed_text(&headers(HEAD.as_bytes()), &names, OWN);
        assert_eq!(STANDARD.encode(ed25519(SEED, text.as_bytes()).unwrap()), SIGNATURE);
    }

    #[test]
    fn bodies_are_relaxed() {
        let check = |body: &str, expected: &str| {
            assert_eq!(String::from_utf8(relaxed_body(body.as_bytes())).unwrap(), expected, "{body:?}");
        };
        check("", "");
        check("\r\n\r\n", "");
        check(" C \r\nD \t E\r\n\r\n\r\n", " C\r\nD E\r\n");
        check("a\r\n\r\nb", "a\r\n\r\nb\r\n");
    }

    fn with_keys(is_active: bool) -> Values {
        let pem = include_str!("../tests/data/throwaway_rsa_key.pem");
        let (_, pem) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).unwrap();
        let keys = Keys {
            is_active,
            rsa_selector: "r1".to_owned(),
            rsa: STANDARD.encode(&pem.contents),
            ed25519_selector: "e1".to_owned(),
            ed25519: SEED.to_owned(),
        };
        let mut settings = Values::default();
        settings.set(&setting("football.example.com"), serde_json::to_string(&keys).unwrap());
        settings
    }

    #[test]
    fn a_mail_is_signed_twice_once_the_keys_are_active() {
        let mail = format!("{HEAD}\r\n{BODY}").into_bytes();
        let at = Timestamp::from_seconds(1_528_637_909);
        assert_eq!(sign(&with_keys(false), "football.example.com", mail.clone(), at), mail);
        assert_eq!(sign(&with_keys(true), "elsewhere.example.com", mail.clone(), at), mail);
        let signed = String::from_utf8(sign(&with_keys(true), "news.football.example.com", mail.clone(), at)).unwrap();
        let own: Vec<&str> = signed.split_inclusive("DKIM-Signature").collect();
        assert_eq!(own.len(), 3);
        assert!(signed.ends_with(std::str::from_utf8(&mail).unwrap()));
        let settings = with_keys(true);
        let keys = keys(&settings, "football.example.com").unwrap();
        let rsa_key = RsaKeyPair::from_pkcs8(&STANDARD.decode(&keys.rsa).unwrap()).unwrap();
        use aws_lc_rs::signature::KeyPair as _;
        for header in signed.split("DKIM-Signature:").skip(1) {
            let header = format!("DKIM-Signature:{header}");
            let value = header.split("\r\n b=").nth(1).unwrap().split("\r\nFrom").next().unwrap();
            let value = value.split("\r\nDKIM").next().unwrap();
            let signature: String = value.split_whitespace().collect();
            let signature = STANDARD.decode(signature).unwrap();
            let start = format!("{}\r\n b=", header.split("\r\n b=").next().unwrap());
            let names = ["from", "from", "to", "subject", "date", "message-id"];
            let text = signed_text(&headers(HEAD.as_bytes()), &names, &start);
            let is_good = match header.contains("a=rsa-sha256") {
                true => UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, rsa_key.public_key().as_ref())
                    .verify(text.as_bytes(), &signature)
                    .is_ok(),
                false => {
                    let hash = digest::digest(&digest::SHA256, text.as_bytes());
                    UnparsedPublicKey::new(&ED25519, STANDARD.decode(PUBLIC).unwrap())
                        .verify(hash.as_ref(), &signature)
                        .is_ok()
                }
            };
            assert!(is_good, "{header}");
        }
    }
}
