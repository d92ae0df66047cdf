//! Calls that speak a text: what a content becomes in Twilio's form, the answer, and the words Twilio has for a call's life.
//! <https://www.twilio.com/docs/voice/api/call-resource>
//!
//! The text travels as TwiML inside the request, so nothing has to be fetched from us when somebody answers. Voices are Twilio's own names and are passed
//! on as they are: which there are was not seen in a source of ours, and Twilio speaks with its default voice for a name it does not know.

use model::{Answer, Fact, Failure, FailureKind, HttpAnswer, Phone, Timestamp, VoiceContent};
use serde_json::Value;

use super::{answer, content::refused};
use crate::{Acceptance, Cx, Outcome};

/// Longest `Twiml`, in characters.
const TWIML_MAX: usize = 4000;
/// What Twilio is asked to report; left to itself it reports only the end.
const EVENTS: [&str; 4] = ["initiated", "ringing", "answered", "completed"];

/// The form fields besides `To`. A messaging service cannot call, so the account's sender has to be a number; without one only the call fails, for
/// the account's messages have nothing to do with it.
pub(super) fn fields(cx: &Cx<'_>, voice: &VoiceContent) -> Result<Vec<(&'static str, String)>, Failure> {
    let twiml = twiml(voice)?;
    let from = cx.from.and_then(|from| from.parse::<Phone>().ok()).ok_or_else(|| {
        let detail =
            "Calls need a number to come from. Set the account's `from` to a Twilio number, as in +15550100001.";
        Failure::new(FailureKind::Content, "no_caller", detail)
    })?;
    Ok(vec![("From", from.as_str().to_owned()), ("Twiml", twiml)])
}

/// The fields that ask for reports at `url`.
pub(super) fn reports(url: String) -> Vec<(&'static str, String)> {
    let events = EVENTS.into_iter().map(|event| ("StatusCallbackEvent", event.to_owned()));
    [("StatusCallback", url), ("StatusCallbackMethod", "POST".to_owned())].into_iter().chain(events).collect()
}

/// `<Say>` with its text and attributes escaped. <https://www.twilio.com/docs/voice/twiml/say>
pub(super) fn twiml(voice: &VoiceContent) -> Result<String, Failure> {
    if voice.say.trim().is_empty() {
        return Err(refused("/content/say", "is empty"));
    }
    let mut say = "<Say".to_owned();
    for (name, value) in [("language", &voice.language), ("voice", &voice.voice)] {
        let Some(value) = value.as_deref().filter(|value| !value.is_empty()) else { continue };
        if !value.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_')) {
            return Err(refused(format!("/content/{name}"), "is not a name of letters, digits, dots and dashes"));
        }
        say.push_str(&format!(" {name}=\"{value}\""));
    }
    let twiml = format!("<Response>{say}>{}</Say></Response>", escaped(&voice.say)?);
    match twiml.chars().count() > TWIML_MAX {
        true => {
            Err(refused("/content/say", format!("is longer than fits into Twilio's {TWIML_MAX} characters of TwiML")))
        }
        false => Ok(twiml),
    }
}

fn escaped(text: &str) -> Result<String, Failure> {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '\t' | '\n' | '\r' => escaped.push(c),
            // XML has no form for these, and nobody can say them. https://www.w3.org/TR/xml/#charsets
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => {
                return Err(refused("/content/say", "holds control characters, which cannot be spoken"));
            }
            c => escaped.push(c),
        }
    }
    Ok(escaped)
}

/// How an attempt ended.
pub(super) fn outcome(answer: &Answer, now: Timestamp) -> Outcome {
    let Answer::Http(http) = answer else {
        return Outcome::Refused(answer::unreadable("no HTTP answer"));
    };
    match http.status {
        200..=299 => taken(http),
        _ => Outcome::Refused(answer::refusal(http, now)),
    }
}

fn taken(http: &HttpAnswer) -> Outcome {
    let call = answer::json(http);
    let Some(sid) = call.as_ref().and_then(|call| answer::text(call, "sid")) else {
        return Outcome::Refused(answer::unreadable(&http.text()));
    };
    // Twilio may take a call and give it up in the same breath.
    match call.as_ref().and_then(status_fact) {
        Some(Fact::Failed { failure }) => Outcome::Refused(failure),
        _ => Outcome::Accepted(Acceptance::with_id(sid)),
    }
}

/// What a call resource says became of the call.
pub(super) fn status_fact(call: &Value) -> Option<Fact> {
    fact(answer::text(call, "status")?, None, answer::text(call, "duration"))
}

/// What a status word says, with the code of the telephone network and the seconds the call lasted, where they are told. Whoever or whatever
/// answered has heard the text begin, so an answer counts as delivered, a machine's too.
/// <https://www.twilio.com/docs/voice/api/call-resource#call-status-values>
pub(super) fn fact(status: &str, sip_code: Option<&str>, duration_s: Option<&str>) -> Option<Fact> {
    let failed = |kind, says: &str| {
        let words = sip_code.map(|code| format!("SIP {code}")).unwrap_or_default();
        Some(Fact::Failed { failure: Failure::new(kind, status, says).with_provider_detail(words) })
    };
    match status {
        "queued" | "initiated" | "ringing" => Some(Fact::Sent),
        "in-progress" => Some(Fact::Delivered),
        "completed" if duration_s.and_then(|text| text.parse::<u64>().ok()).is_some_and(|seconds| seconds > 0) => {
            Some(Fact::Delivered)
        }
        "completed" => Some(Fact::Sent),
        "busy" => failed(FailureKind::Unavailable, "The recipient's line was busy."),
        "no-answer" => failed(FailureKind::Unavailable, "Nobody answered the call."),
        // The call had left, so it is no message that was withdrawn in time.
        "canceled" => failed(FailureKind::Unavailable, "The call was ended before it was answered."),
        "failed" if matches!(sip_code, Some("404" | "484")) => {
            failed(FailureKind::Recipient, "The number does not exist or is not complete.")
        }
        "failed" => failed(FailureKind::Unavailable, "The call failed."),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_for_a_call() {
        let word = |status, sip, duration| match fact(status, sip, duration) {
            Some(Fact::Failed { failure }) => failure.kind.as_str(),
            Some(fact) => fact.as_str(),
            None => "nothing",
        };
        for (status, sip, duration, wanted) in [
            ("queued", None, None, "sent"),
            ("initiated", None, None, "sent"),
            ("ringing", None, None, "sent"),
            ("in-progress", None, None, "delivered"),
            ("completed", None, Some("7"), "delivered"),
            ("completed", None, Some("0"), "sent"),
            ("completed", None, None, "sent"),
            ("busy", Some("486"), None, "unavailable"),
            ("no-answer", Some("480"), None, "unavailable"),
            ("canceled", Some("487"), None, "unavailable"),
            ("failed", Some("404"), None, "recipient"),
            ("failed", Some("484"), None, "recipient"),
            ("failed", Some("408"), None, "unavailable"),
            ("failed", Some("480"), None, "unavailable"),
            ("failed", Some("503"), None, "unavailable"),
            ("failed", None, None, "unavailable"),
            ("pondering", None, None, "nothing"),
        ] {
            assert_eq!(word(status, sip, duration), wanted, "{status} {sip:?} {duration:?}");
        }
    }

    #[test]
    fn what_is_said() {
        let content = |say: &str, voice: Option<&str>, language: Option<&str>| VoiceContent {
            say: say.to_owned(),
            voice: voice.map(str::to_owned),
            language: language.map(str::to_owned),
        };
        let check = |content: VoiceContent, wanted: Result<&str, &str>| {
            let given = twiml(&content).map_err(|failure| failure.detail.split(':').next().unwrap().to_owned());
            assert_eq!(given.as_deref().map_err(String::as_str), wanted);
        };
        check(content("Hi", None, None), Ok("<Response><Say>Hi</Say></Response>"));
        check(
            content("1 < 2 & \"3\" > 2", Some("Polly.Joanna-Neural"), Some("en-GB")),
            Ok(
                "<Response><Say language=\"en-GB\" voice=\"Polly.Joanna-Neural\">1 &lt; 2 &amp; \"3\" &gt; 2</Say></Response>",
            ),
        );
        check(
            content("</Say><Dial>+1</Dial>", None, None),
            Ok("<Response><Say>&lt;/Say&gt;&lt;Dial&gt;+1&lt;/Dial&gt;</Say></Response>"),
        );
        check(content(" ", None, None), Err("/content/say"));
        check(content("a\u{0}b", None, None), Err("/content/say"));
        check(content("Hi", Some("a\" loop=\"0"), None), Err("/content/voice"));
        check(content("Hi", None, Some("en\">")), Err("/content/language"));
        let room = TWIML_MAX - "<Response><Say></Say></Response>".len();
        assert!(twiml(&content(&"ä".repeat(room), None, None)).is_ok());
        check(content(&"ä".repeat(room + 1), None, None), Err("/content/say"));
        check(content(&"&".repeat(room / 5 + 1), None, None), Err("/content/say"));
    }
}
