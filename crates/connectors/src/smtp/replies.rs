//! What a mail server's reply means.
//!
//! The enhanced code (RFC 3463) beats the basic one, and the stage matters: a `554` to the recipient is policy, to the final dot it is about the
//! content. [`RULES`] is read from the top; the first rule that fits decides.

use model::{Failure, FailureKind, SmtpAnswer, SmtpReply, SmtpStage};

use crate::{Acceptance, Outcome};

use FailureKind::{Account, Content, Recipient, Throttled, Unavailable};
use SmtpStage::{Auth, Data, Ehlo, FinalDot, Greeting, MailFrom, RcptTo, StartTls};

/// One line of the table: everything it names must fit.
struct Rule {
    /// Stages; empty for any.
    at: &'static [SmtpStage],
    /// 4 for "not now", 5 for "no".
    class: u8,
    /// The basic code; 0 for any.
    code: u16,
    /// The enhanced code, or its beginning up to a dot; empty for any.
    enhanced: &'static str,
    /// Words of the text, of which one is there; empty for any. A space stands for the beginning or end of a word.
    says: &'static [&'static str],
    /// What it means.
    kind: FailureKind,
    /// The wait, in milliseconds.
    wait_ms: Option<u64>,
    /// What it means, for people.
    detail: &'static str,
}

const fn rule(at: &'static [SmtpStage], class: u8, kind: FailureKind, detail: &'static str) -> Rule {
    Rule { at, class, code: 0, enhanced: "", says: &[], kind, wait_ms: None, detail }
}

impl Rule {
    const fn code(self, code: u16) -> Self {
        Self { code, ..self }
    }

    const fn enhanced(self, enhanced: &'static str) -> Self {
        Self { enhanced, ..self }
    }

    const fn says(self, says: &'static [&'static str]) -> Self {
        Self { says, ..self }
    }

    const fn wait_ms(self, wait_ms: u64) -> Self {
        Self { wait_ms: Some(wait_ms), ..self }
    }
}

/// Greylisting servers let a mail in when it comes again after some minutes; earlier tries start their clock anew.
const GREYLIST_MS: u64 = 300_000;
const ANY: &[SmtpStage] = &[];
const MAIL: &[SmtpStage] = &[MailFrom, RcptTo, Data, FinalDot];
const TEXT: &[SmtpStage] = &[Data, FinalDot];
const OPENING: &[SmtpStage] = &[Greeting, Ehlo];

const LATER: &str = "The mail server is not ready for this mail; it is tried again.";
const GREYLISTED: &str = "The mail server greylists unknown senders; the mail is tried again in five minutes.";
const TOO_FAST: &str = "The mail server takes no more mails for now: too fast.";
const BLOCKED: &str = "The mail server refuses to talk to us. Ask its operator whether our address is blocked.";
const NO_TLS: &str =
    "The mail server offers no STARTTLS. Set `security` to tls (port 465), or to none on a trusted network.";
const SIGN_IN: &str =
    "The mail server refused the user name or password, or wants a sign-in or TLS. Update the account.";
const SENDER: &str =
    "The mail server refused the sender. Use a sender it allows, or verify the sender with the provider.";
const POLICY: &str = "The mail server refused by its policy (relaying, reputation, rights). Ask its operator.";
const NO_MAILBOX: &str = "The mail server does not take mail for this recipient.";
const TOO_LARGE: &str = "The mail is larger than the mail server takes.";
const REFUSED_CONTENT: &str = "The mail server refused the content of the mail.";

const RULES: &[Rule] = &[
    // Not now.
    rule(ANY, 4, Unavailable, LATER).enhanced("4.2"),
    rule(ANY, 4, Unavailable, LATER).enhanced("4.5.3"),
    rule(MAIL, 4, Unavailable, GREYLISTED).says(&["greylist", "graylist", "grey list"]).wait_ms(GREYLIST_MS),
    rule(ANY, 4, Throttled, TOO_FAST).says(&["throttl", " rate ", " too many ", " too fast "]),
    rule(ANY, 4, Throttled, TOO_FAST).code(421).enhanced("4.7"),
    rule(MAIL, 4, Unavailable, GREYLISTED).enhanced("4.7.1").wait_ms(GREYLIST_MS),
    rule(ANY, 4, Unavailable, LATER),
    // No, before there was a mail.
    rule(OPENING, 5, Account, BLOCKED),
    rule(&[StartTls], 5, Account, NO_TLS),
    rule(&[Auth], 5, Account, SIGN_IN),
    // No, because of the account, whenever it is said.
    rule(MAIL, 5, Account, SIGN_IN).code(530),
    rule(MAIL, 5, Account, SIGN_IN).code(534),
    rule(MAIL, 5, Account, SIGN_IN).code(535),
    rule(MAIL, 5, Account, SIGN_IN).code(538),
    // SES: "554 Message rejected: Email address is not verified", after the data.
    rule(MAIL, 5, Account, SENDER).says(&[" not verified"]),
    rule(MAIL, 5, Account, SENDER).enhanced("5.1.7"),
    rule(MAIL, 5, Account, SENDER).enhanced("5.1.8"),
    // No, because of the mail's size or form, which some servers know before they see it (SIZE).
    rule(MAIL, 5, Content, TOO_LARGE).enhanced("5.2.3"),
    rule(MAIL, 5, Content, TOO_LARGE).enhanced("5.3.4"),
    rule(MAIL, 5, Content, REFUSED_CONTENT).enhanced("5.6"),
    // No, to the sender.
    rule(&[MailFrom], 5, Content, TOO_LARGE).code(552),
    rule(&[MailFrom], 5, Account, SENDER),
    // No, to the recipient.
    rule(&[RcptTo], 5, Account, POLICY).enhanced("5.7"),
    rule(&[RcptTo], 5, Recipient, NO_MAILBOX).enhanced("5.1"),
    rule(&[RcptTo], 5, Recipient, NO_MAILBOX).enhanced("5.2"),
    rule(&[RcptTo], 5, Recipient, NO_MAILBOX).enhanced("5.4"),
    rule(&[RcptTo], 5, Account, POLICY).code(554),
    rule(&[RcptTo], 5, Recipient, NO_MAILBOX),
    // No, to the mail; some servers look at the recipient only now.
    rule(TEXT, 5, Recipient, NO_MAILBOX).enhanced("5.1"),
    rule(TEXT, 5, Recipient, NO_MAILBOX).enhanced("5.2"),
    rule(TEXT, 5, Content, TOO_LARGE).code(552),
    rule(TEXT, 5, Content, REFUSED_CONTENT),
];

/// What became of the mail.
pub(super) fn outcome(answer: &SmtpAnswer) -> Outcome {
    if answer.stage == FinalDot && answer.reply.code == 250 {
        return Outcome::Accepted(Acceptance {
            provider_message_id: queue_id(&answer.reply.text),
            ..Acceptance::default()
        });
    }
    Outcome::Refused(failure(answer))
}

/// What a reply that is no acceptance means.
pub(super) fn failure(answer: &SmtpAnswer) -> Failure {
    let reply = &answer.reply;
    let code = reply.enhanced.clone().unwrap_or_else(|| reply.code.to_string());
    let words = match &reply.enhanced {
        Some(enhanced) => format!("{} {enhanced} {}", reply.code, reply.text),
        None => format!("{} {}", reply.code, reply.text),
    };
    let (kind, wait_ms, detail) = match RULES.iter().find(|rule| fits(rule, answer)) {
        Some(rule) => (rule.kind, rule.wait_ms, rule.detail),
        None if answer.stage == FinalDot => (
            FailureKind::Unknown,
            None,
            "The mail server answered neither yes nor no to the mail: nobody can say whether it took it.",
        ),
        None => (Unavailable, None, "The mail server gave an answer that makes no sense here; nothing was sent."),
    };
    Failure::new(kind, code, detail).with_provider_detail(words).with_retry_after_ms(wait_ms)
}

fn fits(rule: &Rule, answer: &SmtpAnswer) -> bool {
    let reply = &answer.reply;
    (rule.at.is_empty() || rule.at.contains(&answer.stage))
        && rule.class == class(reply)
        && (rule.code == 0 || rule.code == reply.code)
        && (rule.enhanced.is_empty() || reply.enhanced.as_deref().is_some_and(|code| begins(code, rule.enhanced)))
        && (rule.says.is_empty() || says(&reply.text, rule.says))
}

/// The first digit of the enhanced code, or of the basic one.
fn class(reply: &SmtpReply) -> u8 {
    match reply.enhanced.as_deref().and_then(|code| code.bytes().next()) {
        Some(digit @ (b'4' | b'5')) if reply.code >= 400 => digit - b'0',
        _ => u8::try_from(reply.code / 100).unwrap_or(0),
    }
}

/// True when `code` is `wanted` or lies below it: `5.1.1` lies below `5.1`, `5.11.1` does not.
fn begins(code: &str, wanted: &str) -> bool {
    code.strip_prefix(wanted).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

fn says(text: &str, words: &[&str]) -> bool {
    let spaced: String = text.chars().map(|c| if c.is_alphanumeric() { c.to_ascii_lowercase() } else { ' ' }).collect();
    let spaced = format!(" {spaced} ");
    words.iter().any(|word| spaced.contains(word))
}

/// The id some servers name when they take a mail: Postfix `Ok: queued as 8315E9AC918`, Exim `OK id=1abc-0000-AB`, SES `Ok 0100…-000000`.
fn queue_id(text: &str) -> Option<String> {
    let after = |mark: &str| text.find(mark).map(|at| &text[at + mark.len()..]);
    let only_word = || text.strip_prefix("Ok ").filter(|rest| !rest.trim().contains(' ') && rest.contains('-'));
    let id = after("queued as ").or_else(|| after("id=")).or_else(only_word)?;
    let end = id.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))).unwrap_or(id.len());
    let id = id[..end].trim_end_matches('.');
    (4..=100).contains(&id.len()).then(|| id.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(stage: SmtpStage, line: &str) -> SmtpAnswer {
        let (code, rest) = line.split_once(' ').unwrap_or((line, ""));
        let (first, words) = rest.split_once(' ').unwrap_or((rest, ""));
        let is_enhanced = first.split('.').count() == 3;
        let reply = SmtpReply {
            code: code.parse().unwrap(),
            enhanced: is_enhanced.then(|| first.to_owned()),
            text: if is_enhanced { words } else { rest }.to_owned(),
        };
        SmtpAnswer { stage, reply, capabilities: Vec::new(), tls: None }
    }

    #[test]
    fn every_row_of_the_table() {
        for (stage, line, kind, wait_ms) in [
            (Greeting, "421 4.3.2 Service not available", Unavailable, None),
            (Greeting, "450 later", Unavailable, None),
            (Greeting, "554 5.7.1 You are blocked", Account, None),
            (Ehlo, "550 bad name", Account, None),
            (Ehlo, "421 4.7.0 Too many connections", Throttled, None),
            (StartTls, "454 4.7.0 TLS not available", Unavailable, None),
            (StartTls, "502 5.5.1 not implemented", Account, None),
            (Auth, "535 5.7.8 Error: authentication failed", Account, None),
            (Auth, "534 5.7.9 mechanism too weak", Account, None),
            (Auth, "530 5.7.0 Authentication required", Account, None),
            (Auth, "538 5.7.11 Encryption required", Account, None),
            (Auth, "454 4.7.0 Temporary authentication failure", Unavailable, None),
            (Auth, "421 4.3.0 closing", Unavailable, None),
            (MailFrom, "550 5.7.1 sender refused", Account, None),
            (MailFrom, "553 5.1.8 sender domain does not exist", Account, None),
            (MailFrom, "552 5.3.4 Message size exceeds fixed limit", Content, None),
            (MailFrom, "552 too big", Content, None),
            (MailFrom, "530 5.7.0 Must issue a STARTTLS command first", Account, None),
            (MailFrom, "451 4.3.0 later", Unavailable, None),
            (RcptTo, "550 5.1.1 No such user", Recipient, None),
            (RcptTo, "550 5.1.2 bad domain", Recipient, None),
            (RcptTo, "553 5.1.3 bad syntax", Recipient, None),
            (RcptTo, "550 5.1.10 null MX", Recipient, None),
            (RcptTo, "550 No such user", Recipient, None),
            (RcptTo, "551 User not local", Recipient, None),
            (RcptTo, "553 name not allowed", Recipient, None),
            (RcptTo, "556 no mail here", Recipient, None),
            (RcptTo, "550 5.2.1 disabled", Recipient, None),
            (RcptTo, "552 5.2.2 mailbox full", Recipient, None),
            (RcptTo, "552 5.3.4 too big", Content, None),
            (RcptTo, "550 5.7.1 policy", Account, None),
            (RcptTo, "554 5.7.1 Relay access denied", Account, None),
            (RcptTo, "554 Access denied", Account, None),
            (RcptTo, "550 5.1.8 sender address rejected", Account, None),
            (RcptTo, "450 busy", Unavailable, None),
            (RcptTo, "451 4.3.5 misconfigured", Unavailable, None),
            (RcptTo, "452 4.5.3 Too many recipients", Unavailable, None),
            (RcptTo, "452 4.2.2 The mailbox is over quota", Unavailable, None),
            (RcptTo, "450 4.2.1 receiving mail at a rate that prevents delivery", Unavailable, None),
            (RcptTo, "450 4.7.1 come back later", Unavailable, Some(GREYLIST_MS)),
            (RcptTo, "451 Greylisted, please try again", Unavailable, Some(GREYLIST_MS)),
            (RcptTo, "421 4.7.28 unusual amount of mail", Throttled, None),
            (RcptTo, "451 4.7.1 Too many messages", Throttled, None),
            (RcptTo, "450 sending rate exceeded", Throttled, None),
            (RcptTo, "451 4.4.1 temporarily separated", Unavailable, None),
            (FinalDot, "454 Throttling failure: Maximum sending rate exceeded.", Throttled, None),
            (FinalDot, "451 4.3.0 later", Unavailable, None),
            (FinalDot, "552 5.3.4 too big", Content, None),
            (FinalDot, "552 too big", Content, None),
            (FinalDot, "554 5.7.1 looks like spam", Content, None),
            (FinalDot, "554 no", Content, None),
            (FinalDot, "550 5.6.0 malformed", Content, None),
            (FinalDot, "550 5.1.1 no such user after all", Recipient, None),
            (FinalDot, "554 Message rejected: Email address is not verified.", Account, None),
            (Data, "554 5.5.1 no valid recipients", Content, None),
            (Data, "451 4.3.0 later", Unavailable, None),
            (Data, "250 what?", Unavailable, None),
            // The enhanced code beats the basic one.
            (RcptTo, "550 4.2.1 mailbox busy", Unavailable, None),
            (RcptTo, "450 5.1.1 no such user", Recipient, None),
            // Neither yes nor no.
            (FinalDot, "354 go on", FailureKind::Unknown, None),
            (FinalDot, "200 hm", FailureKind::Unknown, None),
        ] {
            let Outcome::Refused(failure) = outcome(&answer(stage, line)) else { panic!("{line} was accepted") };
            assert_eq!((failure.kind, failure.retry_after_ms), (kind, wait_ms), "{stage:?} {line}");
            assert_eq!(failure.provider_detail.as_deref(), Some(line));
        }
    }

    #[test]
    fn every_rule_is_needed() {
        // A rule behind one that always wins would be dead text: each must win for some reply made from it.
        for (index, rule) in RULES.iter().enumerate() {
            let stage = *rule.at.last().unwrap_or(&RcptTo);
            let enhanced = match rule.enhanced.split('.').count() {
                1 => None,
                2 => Some(format!("{}.99", rule.enhanced)),
                _ => Some(rule.enhanced.to_owned()),
            };
            let code = if rule.code == 0 { u16::from(rule.class) * 100 + 99 } else { rule.code };
            let reply = SmtpReply { code, enhanced, text: rule.says.first().unwrap_or(&"").to_string() };
            let made = SmtpAnswer { stage, reply, capabilities: Vec::new(), tls: None };
            assert_eq!(RULES.iter().position(|rule| fits(rule, &made)), Some(index), "{}", rule.detail);
        }
    }

    #[test]
    fn only_a_250_to_the_final_dot_is_an_acceptance() {
        assert!(matches!(outcome(&answer(FinalDot, "250 2.0.0 Ok")), Outcome::Accepted(_)));
        for stage in [Greeting, Ehlo, StartTls, Auth, MailFrom, RcptTo, Data, SmtpStage::Checked] {
            assert!(matches!(outcome(&answer(stage, "250 2.0.0 Ok")), Outcome::Refused(_)));
        }
    }

    #[test]
    fn queue_ids() {
        for (text, id) in [
            ("Ok: queued as 8315E9AC918", Some("8315E9AC918")),
            ("OK id=1rTgXW-0006Zk-2x", Some("1rTgXW-0006Zk-2x")),
            ("Ok 0100018f0a1b2c3d-8ab15d86-0000-000000", Some("0100018f0a1b2c3d-8ab15d86-0000-000000")),
            ("2.0.0 Ok: queued as 4Xyz12AbcD.", Some("4Xyz12AbcD")),
            ("OK", None),
            ("Ok thanks", None),
            ("Message accepted for delivery", None),
            ("queued as <x>", None),
        ] {
            assert_eq!(queue_id(text).as_deref(), id, "{text}");
        }
    }
}
