//! Any mail server that takes submissions (RFC 5321, 6409).
//!
//! One mail, one recipient, one transaction: then the server's word is about that recipient alone. SMTP knows no id and no
//! idempotency: what the server's last words call the mail is kept for support, and a repeat carries the same `Message-ID`. Delivery is only
//! knowable by reports, which come later as mails: to the return address each attempt has of its own ([`crate::returns`]), or handed on by POST.

mod replies;
mod reports;

use std::net::IpAddr;

use bytes::Bytes;
use model::{
    Answer, AttemptId, BadSetting, Call, Channel, Content, EmailAddress, Failure, FailureKind, Mailbox, MessageId,
    Secret, SmtpAnswer, SmtpCall, SmtpLogin, SmtpSecurity, SmtpStage, Values, settings,
};

use crate::{
    Check, Connector, Cx, Inbound, Limits, Observed, Outcome, Outgoing, Probe, Request, Spec, Step, Verdict, dkim,
    hook, letter, mime, returns,
};

settings! {
    /// Settings of a mail server.
    pub struct Settings {
        /// The server's name, such as smtp.example.com.
        host: String = "Host";
        /// 587 for STARTTLS, 465 for TLS from the first byte.
        port: u16 = "Port", default "587";
        /// `starttls` starts in plain text and insists on TLS, `tls` begins with it, `none` stays in plain text: for trusted networks only.
        security: SmtpSecurity = "Security", default "starttls";
        /// Leave empty when the server wants no sign-in.
        username: Option<String> = "User name";
        /// The password that goes with the user name.
        password: Option<Secret> = "Password";
        /// A domain of yours, such as bounce.acme.example, whose mail comes to this installation: each mail then has a return address of its own there, and bounces
        /// find the message they speak of. Needs `bounce_secret`.
        bounce_domain: Option<String> = "Bounce domain";
        /// At least 16 characters nobody can guess, of your own making. Return and reply addresses and the address for mails by POST are made from it: what comes about mails sent before a
        /// change is not recognised by its address any more.
        bounce_secret: Option<Secret> = "Bounce secret";
        /// A domain of yours, such as reply.acme.example, whose mail comes to this installation: each mail then asks for answers to an address of its own there, and answers become
        /// inbound messages that name the mail they answer. It may be the bounce domain. Needs `bounce_secret`.
        reply_domain: Option<String> = "Reply domain";
    }
}

/// Time for each command's reply, in milliseconds. RFC 5321 allows minutes; a server that needs more than one is better tried again later.
const TIMEOUT_MS: u64 = 60_000;
/// Shortest bounce secret, in bytes: what a password manager makes is longer.
const BOUNCE_SECRET_MIN: usize = 16;

static SPEC: Spec = Spec {
    id: "smtp",
    name: "SMTP",
    docs_url: "https://www.rfc-editor.org/rfc/rfc6409",
    channels: &[Channel::Email],
    fields: Settings::FIELDS,
    from_example: "Acme Tickets <tickets@acme.example>",
    needs_from: true,
    // Common servers allow one client 20 to 50 connections; some less for mail from one account.
    limits: Limits { per_second: 0, concurrency: 16 },
    has_receipts: false,
    callback_help: "Set `bounce_domain` and `bounce_secret`, and let the domain's MX record point to this installation's mail listener (`mail_listen`): bounces then come back by \
                    themselves, and answers with a `reply_domain` likewise. Or let your mail server POST bounces, complaints and answers, as they came, to this account's callback URL, \
                    which ends in a secret of its own.",
    callback_security: "Not signed: mail proves nothing about who wrote it. A report or an answer is taken when it comes to an address nobody can guess, or is posted to the account's \
                        callback URL with its secret last part, which is made from `bounce_secret`. Who an answer says it is from is what it says.",
};

/// The connector for mail servers.
pub struct Smtp;

impl Connector for Smtp {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn check(&self, settings: &Values) -> Result<(), BadSetting> {
        let bad = |field: &str, detail: &str| BadSetting { field: field.to_owned(), detail: detail.to_owned() };
        let settings = Settings::read(settings)?;
        if !is_host(&settings.host) {
            return Err(bad(
                "host",
                "must be a server's name or address, such as smtp.example.com, without a scheme or port",
            ));
        }
        if settings.port == 0 {
            return Err(bad("port", "must be from 1 to 65535; 587 is usual"));
        }
        match (&settings.username, &settings.password) {
            (Some(_), None) => return Err(bad("password", "is missing; a user name needs its password")),
            (None, Some(_)) => return Err(bad("username", "is missing; a password needs its user name")),
            (Some(_), Some(_)) | (None, None) => {}
        }
        if let Some(domain) = &settings.bounce_domain {
            let is_domain = is_host(domain) && domain.contains('.') && domain.parse::<IpAddr>().is_err();
            if !is_domain || domain.ends_with('.') {
                return Err(bad("bounce_domain", "must be a domain in ASCII, such as bounce.acme.example"));
            }
            if settings.bounce_secret.is_none() {
                return Err(bad(
                    "bounce_secret",
                    "is missing; return addresses are made from it: choose at least 16 random characters",
                ));
            }
        }
        letter::check_domain(settings.reply_domain.as_deref())?;
        if settings.reply_domain.is_some() && settings.bounce_secret.is_none() {
            return Err(bad(
                "bounce_secret",
                "is missing; reply addresses are made from it: choose at least 16 random characters",
            ));
        }
        if settings.bounce_secret.as_ref().is_some_and(|secret| secret.reveal().len() < BOUNCE_SECRET_MIN) {
            return Err(bad("bounce_secret", "is too short; choose at least 16 random characters"));
        }
        Ok(())
    }

    fn check_from(&self, from: &str, _channel: Channel) -> Result<(), BadSetting> {
        mime::mailbox(from).map(drop)
    }

    fn can_carry(&self, _settings: &Values, content: &Content) -> Result<(), Failure> {
        match content {
            Content::Email(email) => mime::check(email),
            _ => Err(Failure::new(FailureKind::Content, "wrong_channel", "A mail server carries e-mail only.")),
        }
    }

    fn send(&self, cx: &Cx<'_>, message: &Outgoing<'_>) -> Result<Call, Failure> {
        let parties = mime::parties(cx, message)?;
        let data = mime::build(&mime::Mail {
            from: &parties.from,
            to: parties.to,
            message_id: message.message_id,
            at: message.accepted_at,
            content: parties.content,
            files: message.files,
            nonce: cx.nonce,
        })?;
        let data = dkim::sign(cx.settings, parties.from.address.domain(), data, cx.now);
        Ok(Call::Smtp(SmtpCall {
            rcpt_to: Some(parties.to.clone()),
            data: Bytes::from(data),
            envelope_id: Some(message.attempt_id.to_string()),
            mail_from: return_address(cx, message.attempt_id)?
                .unwrap_or_else(|| parties.from.address.as_str().to_owned()),
            ..session(cx, Some(&parties.from))?
        }))
    }

    fn answer(&self, _cx: &Cx<'_>, _message: &Outgoing<'_>, _step: u8, answer: &Answer) -> Step {
        Step::Done(match answer {
            Answer::Smtp(smtp) => replies::outcome(smtp),
            Answer::Http(_) | Answer::Local => {
                Outcome::Refused(Failure::new(FailureKind::Unknown, "no_answer", "No SMTP answer came back."))
            }
        })
    }

    fn test(&self, cx: &Cx<'_>) -> Result<Vec<Probe>, Failure> {
        let from = cx.from.map(mime::mailbox).transpose()?;
        Ok(vec![Probe { name: "Connection", call: Call::Smtp(session(cx, from.as_ref())?) }])
    }

    fn reply_address(&self, cx: &Cx<'_>, message: MessageId) -> Option<EmailAddress> {
        letter::reply_address(cx, &Settings::read(cx.settings).ok()?.bounce_secret?, message)
    }

    fn inbound(&self) -> Option<&dyn Inbound> {
        Some(self)
    }

    fn signs_mail(&self) -> bool {
        true
    }

    fn tested(&self, cx: &Cx<'_>, _probe: &Probe, answer: &Answer) -> Vec<Check> {
        match answer {
            Answer::Smtp(smtp) => checks(cx, smtp),
            Answer::Http(_) | Answer::Local => Vec::new(),
        }
    }
}

impl Inbound for Smtp {
    fn path(&self, cx: &Cx<'_>) -> String {
        path_token(cx).map_or(String::new(), |token| format!("/{token}"))
    }

    fn takes_mail(&self, cx: &Cx<'_>, address: &str) -> bool {
        let Ok(settings) = Settings::read(cx.settings) else { return false };
        let Some(secret) = &settings.bounce_secret else { return false };
        reports::attempt_of(cx, &settings, address).is_some() || letter::answered(cx, secret, address).is_some()
    }

    /// Reports and answers come to one address.
    fn mail_path(&self, cx: &Cx<'_>) -> Option<String> {
        path_token(cx).map(|token| format!("/{token}"))
    }

    fn verify(&self, cx: &Cx<'_>, request: &Request<'_>, _fetched: Option<&Answer>) -> Verdict {
        match path_token(cx) {
            None => Verdict::Invalid("reports are taken once the account has a `bounce_secret`".to_owned()),
            Some(token) if hook::has_token(request, &token) => Verdict::Valid,
            Some(_) => Verdict::Invalid(
                "the address does not end in the account's secret: use the account's callback URL as it is shown"
                    .to_owned(),
            ),
        }
    }

    fn read(&self, cx: &Cx<'_>, request: &Request<'_>) -> Result<Vec<Observed>, Failure> {
        let settings = Settings::read(cx.settings)?;
        let reports = reports::read(cx, &settings, request.body);
        if !reports.is_empty() {
            return Ok(reports.into_iter().map(Observed::Status).collect());
        }
        let Some(secret) = &settings.bounce_secret else { return Ok(Vec::new()) };
        // What comes to a return address, or to none of ours, was not written to the tenant.
        let letters = letter::whole(cx, Some(secret), request.body, Vec::new());
        let is_answer = |seen: &Observed| match seen {
            Observed::Message(message) => message.mail.as_ref().is_some_and(|mail| mail.answers.is_some()),
            Observed::Status(_) | Observed::Templates | Observed::Follow(_) => false,
        };
        Ok(letters.into_iter().filter(is_answer).collect())
    }
}

/// The last part of the address for reports by POST.
fn path_token(cx: &Cx<'_>) -> Option<String> {
    let secret = Settings::read(cx.settings).ok()?.bounce_secret?;
    Some(hook::token(cx, &secret, "smtp returns"))
}

/// Where reports about this attempt come back to; `None` without a bounce domain: then they go to the sender.
fn return_address(cx: &Cx<'_>, attempt: AttemptId) -> Result<Option<String>, Failure> {
    let settings = Settings::read(cx.settings)?;
    let (Some(domain), Some(secret)) = (&settings.bounce_domain, &settings.bounce_secret) else { return Ok(None) };
    Ok(returns::account(cx).map(|account| returns::address(returns::Way::Report, account, attempt, secret, domain)))
}

/// A session that signs in and sends nothing.
fn session(cx: &Cx<'_>, from: Option<&Mailbox>) -> Result<SmtpCall, Failure> {
    let settings = Settings::read(cx.settings)?;
    let login = match (settings.username, settings.password) {
        (Some(username), Some(password)) => Some(SmtpLogin { username, password }),
        _ => None,
    };
    Ok(SmtpCall {
        host: settings.host,
        port: settings.port,
        security: settings.security,
        login,
        helo: helo(cx, from),
        mail_from: from.map(|from| from.address.as_str().to_owned()).unwrap_or_default(),
        rcpt_to: None,
        data: Bytes::new(),
        envelope_id: None,
        timeout_ms: TIMEOUT_MS,
    })
}

/// The name we give in EHLO: the public name of this installation, or its address in brackets (RFC 5321 4.1.3); without either the sender's
/// domain.
fn helo(cx: &Cx<'_>, from: Option<&Mailbox>) -> String {
    let url = url::Url::parse(cx.callback_url).ok();
    match url.as_ref().and_then(url::Url::host) {
        Some(url::Host::Domain(name)) if name.contains('.') => name.to_owned(),
        Some(url::Host::Ipv4(ip)) => format!("[{ip}]"),
        Some(url::Host::Ipv6(ip)) => format!("[IPv6:{ip}]"),
        Some(url::Host::Domain(_)) | None => {
            from.map_or_else(|| "localhost".to_owned(), |from| from.address.domain().to_owned())
        }
    }
}

fn is_host(text: &str) -> bool {
    let is_label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    text.parse::<IpAddr>().is_ok() || (text.len() <= 253 && text.trim_end_matches('.').split('.').all(is_label))
}

fn checks(cx: &Cx<'_>, answer: &SmtpAnswer) -> Vec<Check> {
    let protection = answer.tls.as_deref().unwrap_or("not protected: passwords and mails can be read on the way");
    let connected = Check::ok("Connection", format!("Connected, {protection}."));
    let refusal = || {
        let failure = replies::failure(answer);
        format!("{} ({})", failure.detail, failure.provider_detail.unwrap_or_default())
    };
    match answer.stage {
        SmtpStage::Checked => vec![connected, signed_in(cx), offers(answer)],
        SmtpStage::Auth => vec![connected, Check::failed("Credentials", refusal())],
        SmtpStage::Greeting
        | SmtpStage::Ehlo
        | SmtpStage::StartTls
        | SmtpStage::MailFrom
        | SmtpStage::RcptTo
        | SmtpStage::Data
        | SmtpStage::FinalDot => vec![Check::failed("Connection", refusal())],
    }
}

fn signed_in(cx: &Cx<'_>) -> Check {
    match cx.settings.get("username").filter(|name| !name.is_empty()) {
        Some(name) => Check::ok("Credentials", format!("Signed in as {name}.")),
        None => Check::ok("Credentials", "None are set; the server let us in without."),
    }
}

fn offers(answer: &SmtpAnswer) -> Check {
    let find = |word: &str| {
        answer.capabilities.iter().find_map(|line| {
            let (name, rest) = line.split_once([' ', '=']).unwrap_or((line, ""));
            name.eq_ignore_ascii_case(word).then(|| rest.trim().to_owned())
        })
    };
    let size = match find("SIZE").and_then(|bytes| bytes.parse::<u64>().ok()).filter(|bytes| *bytes > 0) {
        Some(bytes) => format!("Takes mails of up to {bytes} bytes"),
        None => "Names no largest mail".to_owned(),
    };
    let mechanisms = find("AUTH").unwrap_or_else(|| "none".to_owned());
    Check::ok("Server", format!("{size}; sign-in mechanisms: {mechanisms}."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts() {
        for good in ["smtp.example.com", "localhost", "127.0.0.1", "::1", "mail_relay", "smtp.example.com."] {
            assert!(is_host(good), "{good}");
        }
        for bad in ["", "smtp://example.com", "example.com:25", "a..b", "a b", "ex\u{e4}mple.com", &"x".repeat(64)] {
            assert!(!is_host(bad), "{bad}");
        }
    }

    #[test]
    fn we_greet_with_our_public_name() {
        let from: Mailbox = "a@acme.example".parse().unwrap();
        for (url, wanted) in [
            ("https://tidings.example/hooks/acc_1", "tidings.example"),
            ("http://127.0.0.1:8080/hooks/acc_1", "[127.0.0.1]"),
            ("http://[::1]:8080/hooks/acc_1", "[IPv6:::1]"),
            ("http://localhost:8080/hooks/acc_1", "acme.example"),
            ("", "acme.example"),
        ] {
            let settings = Values::default();
            let cx = Cx {
                settings: &settings,
                from: None,
                base_url: None,
                callback_url: url,
                now: model::Timestamp::EPOCH,
                nonce: 0,
            };
            assert_eq!(helo(&cx, Some(&from)), wanted);
        }
    }
}
