//! What mail servers write back: delivery reports (RFC 3464) and complaints (ARF, RFC 5965), both as `multipart/report`.
//!
//! Whose report it is says the return address it came to, then what the report repeats: the envelope id, the `Message-ID` of the original. Everything else that comes to a
//! return address, such as the note of somebody who is on holiday, tells nothing about the mail. People know the reply address of a mail they got, and what a report repeats is theirs
//! to write: at a reply address it speaks of that one mail or of none.

use mail_parser::{ContentType, Message, MessageParser, MessagePart, MimeHeaders as _};
use model::{AttemptId, Fact, Failure, FailureKind, MessageId, Timestamp};

use super::Settings;
use crate::{Cx, Report, letter, returns};

/// Words of a mail server kept with a report, in characters.
const WORDS_MAX: usize = 500;
/// Reports in one mail at most: one for us, and some for a list behind the address that was written to.
const REPORTS_MAX: usize = 20;
/// Where mail servers write down for whom a mail came in.
const RECIPIENT_HEADERS: &[&str] = &["Delivered-To", "X-Original-To", "To"];

/// Everything a mail says about mails of ours.
pub(super) fn read(cx: &Cx<'_>, settings: &Settings, mail: &[u8]) -> Vec<Report> {
    let Some(mail) = MessageParser::default().parse(mail) else { return Vec::new() };
    if !letter::is_report(&mail) {
        return Vec::new();
    }
    let at = mail.date().map(|date| Timestamp::from_seconds(date.to_timestamp()));
    let about = |fields: &[Fields]| {
        let told = fields.iter().find_map(|fields| fields.get("original-mail-from"));
        whose(cx, settings, &mail, told, fields.iter().find_map(|fields| fields.get("original-envelope-id")))
    };
    let make = |attempt_id, provider_status, fact| Report {
        provider_message_id: None,
        attempt_id: Some(attempt_id),
        at,
        ..Report::new("", provider_status, fact)
    };
    if let Some(part) = part(&mail, &["message/delivery-status", "message/global-delivery-status"]) {
        let blocks = blocks(part);
        let Some(attempt) = about(&blocks) else { return Vec::new() };
        let told = blocks.iter().filter_map(delivery).take(REPORTS_MAX);
        return told.map(|(status, fact)| make(attempt, status, fact)).collect();
    }
    if let Some(part) = part(&mail, &["message/feedback-report"]) {
        let blocks = blocks(part);
        let kind =
            blocks.iter().find_map(|fields| fields.get("feedback-type")).unwrap_or_default().to_ascii_lowercase();
        let fact = feedback(&kind).zip(about(&blocks));
        return fact.map(|(fact, attempt)| make(attempt, kind, fact)).into_iter().collect();
    }
    Vec::new()
}

/// What a complaint means. `not-spam` takes one back and `auth-failure` speaks of signatures: neither changes anything.
fn feedback(kind: &str) -> Option<Fact> {
    match kind {
        "abuse" | "fraud" | "virus" | "other" => Some(Fact::Complained),
        "opt-out" | "opt-out-list" => Some(Fact::Unsubscribed),
        _ => None,
    }
}

/// What became of one recipient. A mail that is only late tells nothing yet.
fn delivery(fields: &Fields) -> Option<(String, Fact)> {
    let action = fields.get("action")?.split_whitespace().next()?.to_ascii_lowercase();
    let words = fields.get("diagnostic-code").map(|code| code.split_once(';').map_or(code, |(_, words)| words).trim());
    let said = fields.get("status").and_then(enhanced);
    // Some servers write x.0.0 and keep what they mean for the words.
    let is_vague = said.is_none_or(|code| code.ends_with(".0.0"));
    let code = words.filter(|_| is_vague).and_then(enhanced).or(said).unwrap_or_default();
    let fact = match action.as_str() {
        "failed" => bounced(code, words),
        "delivered" => Fact::Delivered,
        "relayed" => Fact::Sent,
        _ => return None,
    };
    Some((format!("{action} {code}").trim_end().to_owned(), fact))
}

/// A mail that came back. For good only where the code speaks of the recipient's address (RFC 3463); a full mailbox, a policy or an expired try say nothing about the next mail.
fn bounced(code: &str, words: Option<&str>) -> Fact {
    let begins = |wanted: &str| code == wanted || code.strip_prefix(wanted).is_some_and(|rest| rest.starts_with('.'));
    let is_of_the_sender = begins("5.1.7") || begins("5.1.8") || begins("5.1.9");
    let hard = (begins("5.1") && !is_of_the_sender) || begins("5.2.1") || begins("5.4.4");
    let (kind, detail) = match hard {
        true => (FailureKind::Recipient, "The recipient's server returned the mail: it takes none for this address."),
        false if is_of_the_sender => {
            (FailureKind::Account, "The recipient's server returned the mail because of its sender.")
        }
        false if begins("5.2.3") || begins("5.3.4") => {
            (FailureKind::Content, "The recipient's server returned the mail: it is too large.")
        }
        false if begins("5.6") => {
            (FailureKind::Content, "The recipient's server returned the mail because of its form.")
        }
        false if begins("5.7") => (FailureKind::Content, "The recipient's server returned the mail by its policy."),
        false => {
            (FailureKind::Unavailable, "The mail could not be delivered and was returned; nobody tries any longer.")
        }
    };
    let code = if code.is_empty() { "failed" } else { code };
    let failure = Failure::new(kind, code, detail);
    Fact::Bounced {
        hard,
        failure: match words {
            Some(words) => failure.with_provider_detail(words.chars().take(WORDS_MAX).collect::<String>()),
            None => failure,
        },
    }
}

/// The first enhanced status code in a text.
fn enhanced(text: &str) -> Option<&str> {
    let is_code = |word: &&str| {
        let mut numbers = word.split('.');
        let mut number = |max: usize| {
            numbers.next().is_some_and(|n| (1..=max).contains(&n.len()) && n.bytes().all(|b| b.is_ascii_digit()))
        };
        number(1) && number(3) && number(3) && numbers.next().is_none() && word.starts_with(['2', '4', '5'])
    };
    text.split(|c: char| !c.is_ascii_digit() && c != '.').find(is_code)
}

/// The attempt a report speaks of. Number 0: the message is known, which of its attempts is not.
fn whose(
    cx: &Cx<'_>,
    settings: &Settings,
    mail: &Message<'_>,
    mail_from: Option<&str>,
    envelope_id: Option<&str>,
) -> Option<AttemptId> {
    let headers = RECIPIENT_HEADERS.iter().flat_map(|name| {
        mail.headers_raw().filter(|(given, _)| given.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    });
    let to: Vec<&str> = headers.flat_map(letter::addresses).collect();
    let by_address = to
        .iter()
        .copied()
        .chain(mail_from.into_iter().flat_map(letter::addresses))
        .find_map(|address| attempt_of(cx, settings, address));
    let by_envelope = || envelope_id.and_then(|id| id.trim().parse().ok());
    let by_message = || {
        let id = original_id(mail)?;
        let id: MessageId = id.split('@').next()?.parse().ok()?;
        Some(id.attempt(0))
    };
    let told = || {
        let told: AttemptId = by_envelope().or_else(by_message)?;
        let mut replies = to.iter().filter(|address| is_reply_address(settings, address)).peekable();
        let is_theirs = |address: &&str| answered(cx, settings, address) == Some(told.message());
        (replies.peek().is_none() || replies.all(is_theirs)).then_some(told)
    };
    by_address.or_else(told)
}

/// True for what looks like one of this account's reply addresses, whether we made it or not.
fn is_reply_address(settings: &Settings, address: &str) -> bool {
    let domain = address.rsplit_once('@').map(|(_, domain)| domain).zip(settings.reply_domain.as_deref());
    returns::way_of(address) == Some(returns::Way::Reply)
        && domain.is_some_and(|(given, own)| given.eq_ignore_ascii_case(own))
}

/// The message behind one of this account's reply addresses.
fn answered(cx: &Cx<'_>, settings: &Settings, address: &str) -> Option<MessageId> {
    letter::answered(cx, settings.bounce_secret.as_ref()?, address)
}

/// The attempt behind one of this account's return addresses.
pub(super) fn attempt_of(cx: &Cx<'_>, settings: &Settings, address: &str) -> Option<AttemptId> {
    let (secret, domain) = (settings.bounce_secret.as_ref()?, settings.bounce_domain.as_deref()?);
    returns::attempt_of(returns::Way::Report, address, returns::account(cx)?, secret, domain)
}

/// The `Message-ID` of the mail a report repeats, whole or only its head.
fn original_id(mail: &Message<'_>) -> Option<String> {
    let original = part(
        mail,
        &[
            "message/rfc822",
            "message/global",
            "text/rfc822-headers",
            "message/rfc822-headers",
            "message/global-headers",
        ],
    )?;
    match original.message() {
        Some(message) => message.message_id().map(str::to_owned),
        None => MessageParser::default().parse(original.contents())?.message_id().map(str::to_owned),
    }
}

fn part<'a, 'x>(mail: &'a Message<'x>, kinds: &[&str]) -> Option<&'a MessagePart<'x>> {
    mail.parts.iter().skip(1).find(|part| part.content_type().is_some_and(|kind| is(kind, kinds)))
}

fn is(kind: &ContentType<'_>, kinds: &[&str]) -> bool {
    let name = format!("{}/{}", kind.ctype(), kind.subtype().unwrap_or_default());
    kinds.iter().any(|wanted| wanted.eq_ignore_ascii_case(&name))
}

/// The fields of one block, with lower-case names.
struct Fields(Vec<(String, String)>);

impl Fields {
    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// The blocks of fields a part consists of, parted by empty lines.
fn blocks(part: &MessagePart<'_>) -> Vec<Fields> {
    let text = String::from_utf8_lossy(part.contents());
    let mut blocks = vec![Fields(Vec::new())];
    for line in text.lines() {
        let fields = &mut blocks.last_mut().expect("begins with one").0;
        if line.trim().is_empty() {
            if !fields.is_empty() {
                blocks.push(Fields(Vec::new()));
            }
        } else if line.starts_with([' ', '\t']) {
            if let Some((_, value)) = fields.last_mut() {
                value.push(' ');
                value.push_str(line.trim());
            }
        } else if let Some((name, value)) = line.split_once(':') {
            fields.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
        }
    }
    blocks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_say_whether_a_bounce_is_for_good() {
        let fact = |status: &str, words: &str| {
            let fields = Fields(vec![
                ("action".into(), "failed".into()),
                ("status".into(), status.into()),
                ("diagnostic-code".into(), words.into()),
            ]);
            match delivery(&fields).unwrap().1 {
                Fact::Bounced { hard, failure } => (hard, failure.kind, failure.code),
                other => panic!("{other:?}"),
            }
        };
        use FailureKind::{Account, Content, Recipient, Unavailable};
        for (status, words, hard, kind, code) in [
            ("5.1.1", "smtp; 550 5.1.1 no such user", true, Recipient, "5.1.1"),
            ("5.1.10 (null MX)", "", true, Recipient, "5.1.10"),
            ("5.1.2", "", true, Recipient, "5.1.2"),
            ("5.2.1", "", true, Recipient, "5.2.1"),
            ("5.4.4", "", true, Recipient, "5.4.4"),
            ("5.0.0", "smtp; 550 5.1.1 unknown", true, Recipient, "5.1.1"),
            ("", "smtp; 550-5.1.1 The account does not exist", true, Recipient, "5.1.1"),
            ("5.0.0", "smtp; 550 Rejected from 10.20.30.40", false, Unavailable, "5.0.0"),
            ("5.1.8", "", false, Account, "5.1.8"),
            ("5.2.2", "smtp; 552 5.2.2 full", false, Unavailable, "5.2.2"),
            ("4.2.2", "smtp; 452 4.2.2 full", false, Unavailable, "4.2.2"),
            ("4.4.1", "", false, Unavailable, "4.4.1"),
            ("5.3.4", "", false, Content, "5.3.4"),
            ("5.6.0", "", false, Content, "5.6.0"),
            ("5.7.1", "smtp; 554 5.7.1 policy", false, Content, "5.7.1"),
            ("", "", false, Unavailable, "failed"),
        ] {
            assert_eq!(fact(status, words), (hard, kind, code.to_owned()), "{status} {words}");
        }
    }

    #[test]
    fn feedback_types() {
        for kind in ["abuse", "fraud", "virus", "other"] {
            assert_eq!(feedback(kind), Some(Fact::Complained), "{kind}");
        }
        assert_eq!(feedback("opt-out"), Some(Fact::Unsubscribed));
        for kind in ["not-spam", "auth-failure", "", "dkim"] {
            assert_eq!(feedback(kind), None, "{kind}");
        }
    }
}
