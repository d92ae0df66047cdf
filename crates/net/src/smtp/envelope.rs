//! The MAIL and RCPT commands of one mail, and the checks that keep other commands out of them.

use bytes::Bytes;
use model::{Broken, EmailAddress, SmtpCall, SmtpStage};

use super::{Stop, data, session::Offers};
use crate::broken;

/// Longest name given in EHLO, in bytes: a domain name's own limit.
const HELO_MAX: usize = 255;
/// Longest envelope id, in bytes before encoding (RFC 3461 4.4 allows 100 characters encoded).
const ENVELOPE_ID_MAX: usize = 100;

/// One mail, checked and ready for the wire.
pub(super) struct Envelope<'a> {
    call: &'a SmtpCall,
    to: &'a EmailAddress,
    /// With dots doubled.
    pub data: Bytes,
    is_8bit: bool,
}

impl<'a> Envelope<'a> {
    /// Checks the addresses. Fails with `bad_request` before anything is sent.
    pub fn new(call: &'a SmtpCall, to: &'a EmailAddress) -> Result<Self, Broken> {
        check_path(&call.mail_from, "sender")?;
        check_path(to.as_str(), "recipient")?;
        if to.as_str().is_empty() {
            return Err(broken::unsent("bad_request", "The envelope recipient is empty."));
        }
        Ok(Self { call, to, data: data::finish(&call.data), is_8bit: !call.data.is_ascii() })
    }

    /// Time for each reply, in milliseconds.
    pub fn timeout_ms(&self) -> u64 {
        self.call.timeout_ms
    }

    /// Refuses what this server has said it cannot take.
    pub fn check_against(&self, offers: &Offers) -> Result<(), Stop> {
        if !offers.has_utf8 && !self.call.mail_from.is_ascii() {
            let text = "the sender is not ASCII and the server does not offer SMTPUTF8";
            return Err(Stop::ours(SmtpStage::MailFrom, 550, "5.6.7", text));
        }
        if offers.size_max.is_some_and(|max| max < self.data.len() as u64) {
            let text = format!("the mail has {} bytes, more than the server's SIZE", self.data.len());
            return Err(Stop::ours(SmtpStage::MailFrom, 552, "5.3.4", &text));
        }
        if !offers.has_utf8 && !self.to.as_str().is_ascii() {
            let text = "the recipient is not ASCII and the server does not offer SMTPUTF8";
            return Err(Stop::ours(SmtpStage::RcptTo, 553, "5.6.7", text));
        }
        Ok(())
    }

    /// Writes the MAIL command.
    pub fn write_mail(&self, out: &mut Vec<u8>, offers: &Offers) {
        push(out, &["MAIL FROM:<", &self.call.mail_from, ">"]);
        if offers.has_size {
            push(out, &[" SIZE=", &self.data.len().to_string()]);
        }
        if offers.has_8bit && self.is_8bit {
            push(out, &[" BODY=8BITMIME"]);
        }
        if offers.has_utf8 && !(self.call.mail_from.is_ascii() && self.to.as_str().is_ascii()) {
            push(out, &[" SMTPUTF8"]);
        }
        if offers.has_dsn {
            push(out, &[" RET=HDRS"]);
            if let Some(id) = self.call.envelope_id.as_deref().filter(|id| is_envelope_id(id)) {
                push(out, &[" ENVID=", &xtext(id)]);
            }
        }
        push(out, &["\r\n"]);
    }

    /// Writes the RCPT command.
    pub fn write_rcpt(&self, out: &mut Vec<u8>, offers: &Offers) {
        let to = self.to.as_str();
        push(out, &["RCPT TO:<", to, ">"]);
        if offers.has_dsn {
            push(out, &[" NOTIFY=FAILURE,DELAY"]);
            // An address beyond ASCII would need the utf-8 address type (RFC 6533); the report names it anyway.
            if to.is_ascii() {
                push(out, &[" ORCPT=rfc822;", &xtext(to)]);
            }
        }
        push(out, &["\r\n"]);
    }
}

fn push(out: &mut Vec<u8>, parts: &[&str]) {
    parts.iter().for_each(|part| out.extend_from_slice(part.as_bytes()));
}

/// An address between angle brackets: nothing that ends the brackets, the argument or the line. Empty is the null
/// sender.
fn check_path(path: &str, role: &str) -> Result<(), Broken> {
    if path.chars().any(|c| c.is_control() || c.is_whitespace() || c == '<' || c == '>') {
        let detail = format!("The envelope {role} contains a space, a line break or an angle bracket.");
        return Err(broken::unsent("bad_request", detail));
    }
    Ok(())
}

/// A name for EHLO: a domain or an address literal.
pub(super) fn check_helo(helo: &str) -> Result<(), Broken> {
    if helo.is_empty() || helo.len() > HELO_MAX || !helo.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(broken::unsent("bad_request", "The EHLO name is not a host name in ASCII."));
    }
    Ok(())
}

fn is_envelope_id(id: &str) -> bool {
    !id.is_empty() && id.len() <= ENVELOPE_ID_MAX && id.bytes().all(|b| b.is_ascii_graphic())
}

/// RFC 3461 4: printable ASCII as it is, except `+` and `=`.
fn xtext(text: &str) -> String {
    text.bytes()
        .map(|b| match b {
            b'+' | b'=' => format!("+{b:02X}"),
            b => char::from(b).to_string(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use model::SmtpSecurity;

    use super::*;

    fn call(mail_from: &str, to: &str, data: &'static str) -> SmtpCall {
        SmtpCall {
            host: "mail.example".into(),
            port: 25,
            security: SmtpSecurity::None,
            login: None,
            helo: "tidings.example".into(),
            mail_from: mail_from.into(),
            rcpt_to: Some(to.parse().unwrap()),
            data: Bytes::from_static(data.as_bytes()),
            envelope_id: Some("msg+1=x".into()),
            timeout_ms: 1,
        }
    }

    fn commands(call: &SmtpCall, offers: &[&str]) -> String {
        let offers = Offers::read(offers.iter().map(|line| (*line).to_owned()).collect());
        let envelope = Envelope::new(call, call.rcpt_to.as_ref().unwrap()).unwrap();
        let mut out = Vec::new();
        envelope.write_mail(&mut out, &offers);
        envelope.write_rcpt(&mut out, &offers);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn parameters_follow_what_the_server_offers() {
        let plain = call("b+1@return.example", "ada+x@example.com", "Hi\r\n");
        assert_eq!(commands(&plain, &[]), "MAIL FROM:<b+1@return.example>\r\nRCPT TO:<ada+x@example.com>\r\n");
        assert_eq!(
            commands(&plain, &["SIZE 1000", "8BITMIME", "SMTPUTF8", "DSN"]),
            "MAIL FROM:<b+1@return.example> SIZE=4 RET=HDRS ENVID=msg+2B1+3Dx\r\n\
             RCPT TO:<ada+x@example.com> NOTIFY=FAILURE,DELAY ORCPT=rfc822;ada+2Bx@example.com\r\n"
        );
        let wide = call("", "用户@example.com", "Grüße\r\n");
        assert_eq!(
            commands(&wide, &["8bitmime", "smtputf8", "DSN"]),
            "MAIL FROM:<> BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=msg+2B1+3Dx\r\n\
             RCPT TO:<用户@example.com> NOTIFY=FAILURE,DELAY\r\n"
        );
    }

    #[test]
    fn addresses_that_carry_commands_are_refused() {
        for from in
            ["a@b>\r\nRCPT TO:<x@y", "a@b\r\n", "a b@c", "a@b>", "<a@b", "a\0@b", "a@b\u{2028}", "a\t@b", "a@b\n"]
        {
            let call = call(from, "ada@example.com", "Hi\r\n");
            let broken = Envelope::new(&call, call.rcpt_to.as_ref().unwrap()).err().unwrap();
            assert_eq!((broken.code, broken.may_have_acted), ("bad_request", false), "{from:?}");
        }
        for helo in ["", "a b", "a\r\nMAIL", "ä.example", &"a".repeat(256)] {
            assert!(check_helo(helo).is_err(), "{helo:?}");
        }
        assert!(check_helo("[192.0.2.1]").is_ok());
    }

    #[test]
    fn what_the_server_cannot_take_is_refused_in_its_place() {
        let refusal = |call: &SmtpCall, offers: &[&str]| {
            let offers = Offers::read(offers.iter().map(|line| (*line).to_owned()).collect());
            match Envelope::new(call, call.rcpt_to.as_ref().unwrap()).unwrap().check_against(&offers) {
                Err(Stop::Refused(stage, reply)) => Some((stage, reply.code, reply.enhanced.unwrap())),
                Err(Stop::Broken(broken)) => panic!("{broken}"),
                Ok(()) => None,
            }
        };
        let wide_to = call("a@b.example", "用户@example.com", "Hi\r\n");
        assert_eq!(refusal(&wide_to, &[]), Some((SmtpStage::RcptTo, 553, "5.6.7".into())));
        assert_eq!(refusal(&wide_to, &["SMTPUTF8"]), None);
        let wide_from = call("ä@b.example", "ada@example.com", "Hi\r\n");
        assert_eq!(refusal(&wide_from, &[]), Some((SmtpStage::MailFrom, 550, "5.6.7".into())));
        let large = call("a@b.example", "ada@example.com", "Hello\r\n");
        assert_eq!(refusal(&large, &["SIZE 6"]), Some((SmtpStage::MailFrom, 552, "5.3.4".into())));
        assert_eq!(refusal(&large, &["SIZE 7"]), None);
        assert_eq!(refusal(&large, &["SIZE 0"]), None);
        assert_eq!(refusal(&large, &["SIZE"]), None);
    }
}
