//! Calls with a spoken text: the request, its answer, and the words Vonage has for a call's life, in events and when asked.
//! <https://developer.vonage.com/en/api/voice>

use model::{Answer, Channel, Content, Fact, Failure, FailureKind, HttpCall, Method, Timestamp, VoiceContent};
use serde_json::{Value, json};

use super::{Settings, errors, from, is_id, messages::check_length, unreadable, voice_call};
use crate::{Acceptance, Asked, Cx, Outcome, Outgoing, Polled, Report, phone, read, whatsapp::refused};

/// Longest text of one `talk`, in characters. <https://developer.vonage.com/en/voice/voice-api/ncco-reference#talk>
const TEXT_MAX: usize = 1500;

pub(super) fn request(cx: &Cx<'_>, settings: &Settings, message: &Outgoing<'_>) -> Result<HttpCall, Failure> {
    let Content::Voice(voice) = message.content else {
        return Err(refused("/channel", "this API carries calls only"));
    };
    let end = |number: &str| json!({ "type": "phone", "number": number });
    let mut body = json!({
        "to": [end(phone(message.to)?.digits())],
        "from": end(&from(cx, Channel::Voice)?),
        "ncco": [talk(voice)?],
    });
    if !cx.callback_url.is_empty() {
        // Calls have no field for an echo: the URL carries it.
        body["event_url"] = json!([format!("{}?attempt={}", cx.callback_url, message.attempt_id)]);
        body["event_method"] = "POST".into();
    }
    let call = voice_call(cx, settings, Method::Post, "")?;
    Ok(call.body("application/json", body.to_string()))
}

/// What is said. Vonage numbers the voices of a language (`style`); a text may be SSML inside `<speak>`.
pub(super) fn talk(voice: &VoiceContent) -> Result<Value, Failure> {
    if voice.say.is_empty() {
        return Err(refused("/content/say", "is empty"));
    }
    check_length("/content/say", &voice.say, TEXT_MAX)?;
    let mut talk = json!({ "action": "talk", "text": voice.say });
    if let Some(language) = voice.language.as_deref().filter(|language| !language.is_empty()) {
        let is_tag = language.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if !is_tag {
            return Err(refused("/content/language", "is not a language as in `en-GB`"));
        }
        talk["language"] = language.into();
    }
    if let Some(voice) = voice.voice.as_deref().filter(|voice| !voice.is_empty()) {
        let style: u32 = voice.parse().map_err(|_| {
            refused(
                "/content/voice",
                "Vonage numbers the voices of a language, as in `2`; names are another provider's",
            )
        })?;
        talk["style"] = style.into();
    }
    Ok(talk)
}

/// How an attempt ended.
pub(super) fn outcome(answer: &Answer, now: Timestamp) -> Outcome {
    let http = match read::http(answer) {
        Ok(http) => http,
        Err(failure) => return Outcome::Refused(failure),
    };
    if !(200..=299).contains(&http.status) {
        return Outcome::Refused(errors::problem(http, now));
    }
    match read::text(&read::json(http), "/uuid") {
        Some(id) => Outcome::Accepted(Acceptance::with_id(id)),
        None => Outcome::Refused(unreadable(&http.text())),
    }
}

/// Asks about a call by its id; without one it cannot be found.
pub(super) fn ask(cx: &Cx<'_>, asked: &Asked<'_>) -> Option<model::Call> {
    let id = asked.provider_message_id.filter(|id| asked.channel == Channel::Voice && is_id(id))?;
    let settings = Settings::read(cx.settings).ok()?;
    voice_call(cx, &settings, Method::Get, &format!("/{id}")).ok().map(model::Call::Http)
}

pub(super) fn polled(answer: &Answer) -> Polled {
    let known = || {
        let http = read::http(answer).ok().filter(|http| http.status == 200)?;
        let call = read::json(http);
        let at = |name| read::text(&call, name).and_then(|at| at.parse().ok());
        let fact = fact(read::text(&call, "/status")?, &call)?;
        let taken = (Fact::Sent, at("/start_time"));
        let facts = match fact {
            Fact::Sent => vec![taken],
            other => vec![taken, (other, at("/end_time"))],
        };
        Some(Polled::Known { provider_message_id: read::text(&call, "/uuid")?.to_owned(), facts })
    };
    known().unwrap_or(Polled::Undecided)
}

/// Reads an event of a call; `None` for events that say nothing about its end.
pub(super) fn event(event: &Value) -> Option<Report> {
    let status = read::text(event, "/status")?;
    let fact = fact(status, event)?;
    Some(Report {
        at: read::text(event, "/timestamp").and_then(|at| at.parse().ok()),
        segments: minutes(&event["duration"]).filter(|_| status == "completed"),
        ..Report::new(read::text(event, "/uuid")?, status, fact)
    })
}

/// What a status word says. Whoever or whatever answered has heard the text begin, so an answer counts as delivered, a machine's too.
/// <https://developer.vonage.com/en/voice/voice-api/webhook-reference>
fn fact(status: &str, event: &Value) -> Option<Fact> {
    let failed = |kind, says: &str| {
        let detail = read::text(event, "/detail").unwrap_or(status);
        Some(Fact::Failed { failure: Failure::new(kind, detail, says).with_provider_detail(detail) })
    };
    match status {
        "started" | "ringing" => Some(Fact::Sent),
        "answered" | "human" | "machine" => Some(Fact::Delivered),
        // A call that nobody answered ends with another word; the duration is asked to be sure.
        "completed" if has_lasted(event) => Some(Fact::Delivered),
        "completed" => Some(Fact::Sent),
        "busy" => failed(FailureKind::Unavailable, "The recipient's line was busy."),
        "timeout" | "unanswered" => failed(FailureKind::Unavailable, "Nobody answered the call."),
        "cancelled" => failed(FailureKind::Unavailable, "The call was ended before it was answered."),
        "rejected" => failed(FailureKind::Recipient, "The call was rejected."),
        "failed" => match read::text(event, "/detail") {
            Some("cannot_route" | "number_out_of_service") => {
                failed(FailureKind::Recipient, "The number cannot be called.")
            }
            _ => failed(FailureKind::Unavailable, "The call failed."),
        },
        _ => None,
    }
}

fn minutes(duration: &Value) -> Option<u32> {
    match duration {
        Value::String(text) => read::begun_minutes(text),
        Value::Number(number) => read::begun_minutes(&number.to_string()),
        _ => None,
    }
}

fn has_lasted(event: &Value) -> bool {
    let duration = &event["duration"];
    duration.as_f64().or_else(|| duration.as_str()?.parse().ok()).is_some_and(|seconds: f64| seconds > 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_for_a_call() {
        let word = |status: &str, detail: &str| match fact(status, &json!({ "detail": detail, "duration": "3" })) {
            Some(Fact::Failed { failure }) => failure.kind.as_str(),
            Some(fact) => fact.as_str(),
            None => "nothing",
        };
        for (status, detail, wanted) in [
            ("started", "", "sent"),
            ("ringing", "", "sent"),
            ("answered", "", "delivered"),
            ("human", "", "delivered"),
            ("machine", "", "delivered"),
            ("completed", "", "delivered"),
            ("busy", "", "unavailable"),
            ("timeout", "", "unavailable"),
            ("unanswered", "unavailable", "unavailable"),
            ("unanswered", "timeout", "unavailable"),
            ("cancelled", "", "unavailable"),
            ("rejected", "invalid_number", "recipient"),
            ("rejected", "restricted", "recipient"),
            ("rejected", "declined", "recipient"),
            ("failed", "cannot_route", "recipient"),
            ("failed", "number_out_of_service", "recipient"),
            ("failed", "internal_error", "unavailable"),
            ("failed", "", "unavailable"),
            ("transfer", "", "nothing"),
            ("record", "", "nothing"),
        ] {
            assert_eq!(word(status, detail), wanted, "{status} {detail}");
        }
        assert_eq!(fact("completed", &json!({ "duration": "0" })), Some(Fact::Sent));
        assert_eq!(fact("completed", &json!({})), Some(Fact::Sent));
        assert_eq!(fact("completed", &json!({ "duration": 2 })), Some(Fact::Delivered));
    }

    #[test]
    fn what_is_said() {
        let content = |say: &str, voice: Option<&str>, language: Option<&str>| VoiceContent {
            say: say.to_owned(),
            voice: voice.map(str::to_owned),
            language: language.map(str::to_owned),
        };
        let field = |content| talk(&content).unwrap_err().detail.split(':').next().unwrap().to_owned();
        assert_eq!(talk(&content("Hi", None, None)), Ok(json!({ "action": "talk", "text": "Hi" })));
        assert_eq!(
            talk(&content("Hi", Some("2"), Some("en-GB"))),
            Ok(json!({ "action": "talk", "text": "Hi", "language": "en-GB", "style": 2 }))
        );
        assert_eq!(field(content("", None, None)), "/content/say");
        assert!(talk(&content(&"ä".repeat(1500), None, None)).is_ok());
        assert_eq!(field(content(&"ä".repeat(1501), None, None)), "/content/say");
        assert_eq!(field(content("Hi", Some("Joanna"), None)), "/content/voice");
        assert_eq!(field(content("Hi", None, Some("en GB"))), "/content/language");
    }
}
