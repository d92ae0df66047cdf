//! Bad days on request. A rule waits for requests it is about and spoils a given number of them.

use serde::{Deserialize, Serialize};

/// Most rules at once: more than a test writes by hand.
pub(crate) const RULES_MAX: usize = 100;
/// Longest wait of a slow answer or a late callback, in milliseconds: beyond ten minutes every caller has given up.
pub(crate) const WAIT_MS_MAX: u64 = 600_000;

/// Spoils requests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rule {
    /// Only this provider's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// Only those with a recipient like this; `*` stands for anything. Without it every sending request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recipient: Option<String>,
    /// Only requests to a path like this, sending or not; `*` stands for anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// How many requests it still spoils; without it every one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u32>,
    /// What happens.
    pub day: Day,
}

/// What happens to a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Day {
    /// 429 in the provider's own words; nothing is taken.
    RateLimit {
        /// With `Retry-After`.
        #[serde(default)]
        retry_after_s: Option<u64>,
    },
    /// A failure of the provider, in its own words or as a proxy in front of it would say it.
    Error {
        /// 500 and up.
        #[serde(default = "internal")]
        status: u16,
        /// The provider's own body, or a proxy's HTML.
        #[serde(default = "yes")]
        own_words: bool,
        /// The messages are taken all the same.
        #[serde(default)]
        is_taken: bool,
    },
    /// The answer comes late.
    Slow {
        /// How late.
        wait_ms: u64,
    },
    /// The connection ends after the request was read, without an answer.
    Drop {
        /// The messages are taken all the same.
        #[serde(default = "yes")]
        is_taken: bool,
        /// Nothing is reported of them either: only asking can tell.
        #[serde(default)]
        is_silent: bool,
    },
    /// The callbacks about the messages misbehave.
    Callbacks {
        /// Each comes twice.
        #[serde(default)]
        twice: bool,
        /// The last comes first.
        #[serde(default)]
        reversed: bool,
        /// All come so much later.
        #[serde(default)]
        late_ms: u64,
        /// None comes.
        #[serde(default)]
        lost: bool,
    },
    /// The messages end like this, whatever their address says.
    Fate(crate::fate::Fate),
}

const fn internal() -> u16 {
    500
}

const fn yes() -> bool {
    true
}

impl Rule {
    /// What is wrong with it.
    pub fn problem(&self) -> Option<String> {
        match self.day {
            Day::Error { status, .. } if !(500..=599).contains(&status) => {
                Some("`day.error.status` must be from 500 to 599".to_owned())
            }
            Day::Slow { wait_ms: ms } | Day::Callbacks { late_ms: ms, .. } if ms > WAIT_MS_MAX => {
                Some(format!("a wait must be at most {WAIT_MS_MAX} ms"))
            }
            _ => None,
        }
    }

    /// True when it is about this request; `recipients` are those of the messages in it.
    pub fn is_about(&self, provider: &str, path: &str, recipients: &[&str]) -> bool {
        let is_provider = self.provider.as_deref().is_none_or(|wanted| wanted == provider);
        let is_path = self.path.as_deref().is_none_or(|pattern| is_like(pattern, path));
        let is_sent = match &self.recipient {
            Some(pattern) => recipients.iter().any(|to| is_like(pattern, to)),
            None => self.path.is_some() || !recipients.is_empty(),
        };
        is_provider && is_path && is_sent && self.times != Some(0)
    }
}

/// True when a text is like a pattern, in which `*` stands for anything.
fn is_like(pattern: &str, text: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(text) = text.strip_prefix(start) else { return false };
    let mut starts = text.char_indices().map(|(at, _)| at).chain([text.len()]);
    starts.any(|at| is_like(rest, &text[at..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, text, wanted) in [
            ("+49*", "+4915", true),
            ("+49*", "+15", false),
            ("*@slow.test", "ada@slow.test", true),
            ("*", "", true),
            ("a*c*e", "abcde", true),
            ("a*c*e", "abcd", false),
            ("ab", "abc", false),
        ] {
            assert_eq!(is_like(pattern, text), wanted, "{pattern} {text}");
        }
    }

    #[test]
    fn a_rule_is_about_what_it_names() {
        let rule = |text: &str| serde_json::from_str::<Rule>(text).unwrap();
        let sends = rule(r#"{"provider": "twilio", "times": 1, "day": {"drop": {}}}"#);
        assert_eq!(sends.day, Day::Drop { is_taken: true, is_silent: false });
        assert!(sends.is_about("twilio", "/twilio/x", &["+1"]));
        assert!(!sends.is_about("twilio", "/twilio/x", &[]) && !sends.is_about("vonage", "/vonage/x", &["+1"]));
        let path = rule(r#"{"path": "/twilio/*/Balance.json", "day": {"error": {"status": 503}}}"#);
        assert!(path.is_about("twilio", "/twilio/2010/Balance.json", &[]));
        assert!(serde_json::from_str::<Rule>(r#"{"day": {"drop": {"when": 1}}}"#).is_err());
        assert!(rule(r#"{"day": {"error": {"status": 404}}}"#).problem().is_some());
    }
}
