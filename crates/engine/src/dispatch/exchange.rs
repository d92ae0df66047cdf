//! The record of one exchange as support and tenants see it: request and answer, shortened, without secrets.

use model::{Answer, Broken, Call};
use serde::Serialize;

use crate::directory::{Account, DOTS};

/// Longest request or answer body kept, in bytes.
const BODY_MAX: usize = 1_024;
/// Request headers whose values are shown; all others may carry credentials.
const SHOWN: &[&str] = &["content-type", "accept", "idempotency-key", "webhook-id", "webhook-timestamp"];

/// Both sides of an exchange.
#[derive(Serialize)]
struct Exchange<'a> {
    request: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    answer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    broken: Option<&'a Broken>,
}

/// Writes an exchange as JSON. `None` for a call that made none. Of a private one the body of the request is left out, whatever form the secret in it has taken.
pub fn record(call: &Call, result: &Result<Answer, Broken>, account: &Account, is_private: bool) -> Option<String> {
    let request = request(call, is_private)?;
    let hide = |text: String| account.secrets().hidden(text);
    let exchange = Exchange {
        request: hide(request),
        answer: result.as_ref().ok().and_then(answer).map(hide),
        broken: result.as_ref().err(),
    };
    serde_json::to_string(&exchange).ok()
}

fn request(call: &Call, is_private: bool) -> Option<String> {
    match call {
        Call::Local => None,
        Call::Smtp(smtp) => {
            let to = smtp
                .rcpt_to
                .as_ref()
                .map_or_else(String::new, |to| format!("\nRCPT TO:<{}>\nDATA {} bytes", to.as_str(), smtp.data.len()));
            Some(format!("{}:{}\nMAIL FROM:<{}>{to}", smtp.host, smtp.port, smtp.mail_from))
        }
        Call::Http(http) => {
            // What a tenant put into the query of an address of its own may be a password.
            let url = if http.is_untrusted { without_values(&http.url) } else { http.url.clone() };
            let mut text = format!("{} {url}\n", http.method);
            for (name, value) in &http.headers {
                text.push_str(&format!("{name}: {}\n", if SHOWN.contains(&name.as_str()) { value } else { "••••" }));
            }
            text.push('\n');
            if is_private {
                text.push_str(&format!("•••• ({} bytes)", http.body.len()));
            } else {
                text.push_str(&shortened(&http.body));
            }
            Some(text)
        }
    }
}

/// An address with the names in its query, but not what they stand for.
fn without_values(url: &str) -> String {
    let Some((place, query)) = url.split_once('?') else { return url.to_owned() };
    let one = |pair: &str| pair.split_once('=').map_or_else(|| DOTS.to_owned(), |(name, _)| format!("{name}={DOTS}"));
    format!("{place}?{}", query.split('&').map(one).collect::<Vec<_>>().join("&"))
}

fn answer(answer: &Answer) -> Option<String> {
    match answer {
        Answer::Local => None,
        Answer::Smtp(smtp) => {
            let enhanced = smtp.reply.enhanced.as_deref().map(|code| format!("{code} ")).unwrap_or_default();
            Some(format!("{} {enhanced}{} ({:?})", smtp.reply.code, smtp.reply.text, smtp.stage))
        }
        Answer::Http(http) => Some(format!("{}\n\n{}", http.status, shortened(&http.body))),
    }
}

fn shortened(body: &[u8]) -> String {
    let shown = String::from_utf8_lossy(&body[..body.len().min(BODY_MAX)]);
    if body.len() > BODY_MAX { format!("{shown}… ({} bytes)", body.len()) } else { shown.into_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_keeps_its_names_only() {
        for (url, shown) in [
            ("https://hooks.example/in", "https://hooks.example/in"),
            ("https://hooks.example/in?token=hush&v=1&", "https://hooks.example/in?token=••••&v=••••&••••"),
            ("https://hooks.example/in?hush", "https://hooks.example/in?••••"),
        ] {
            assert_eq!(without_values(url), shown);
        }
    }
}
