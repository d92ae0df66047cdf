//! What AiSensy's refusals mean, by their words and the HTTP status. The shape of a refusal varies; none is documented whole.
//!
//! A campaign that is missing or not live concerns the messages of that campaign, so it is `content` and does not pause the account.

use model::{Failure, FailureKind, HttpAnswer};
use serde_json::Value;

use super::NAME;
use crate::{
    Cx,
    read::text,
    refusals::{Rule, Said, foreign, refusal, rule},
};

use FailureKind::{Account, Content, Recipient, Throttled, Unavailable, Unknown};

const CREDITS: &str = "The conversation credits at AiSensy are used up. Recharge them.";

const RULES: &[Rule] = &[
    rule(Throttled, "AiSensy takes no more requests for now.").statuses(&[429]),
    rule(Account, CREDITS).statuses(&[402]),
    rule(Account, CREDITS).says(&["insufficient whatsapp conversation credits"]),
    rule(Account, "The project at AiSensy has no active plan.").says(&["no plan active"]),
    rule(Account, "AiSensy refused the API key. Update the account's key.").statuses(&[401, 403]),
    rule(Unknown, "The connection to AiSensy ran out of time after the request left.").statuses(&[408]),
    rule(Unavailable, "AiSensy failed inside and did not take the message.").statuses(&[500, 501, 502, 503, 504]),
    rule(Recipient, "AiSensy refused the recipient's number.").says(&["invalid number"]),
    rule(
        Content,
        "AiSensy has no API campaign of this name. The template's `name` is the campaign's, letter by letter.",
    )
    .says(&["campaign does not exist"]),
    rule(Content, "The campaign at AiSensy is not live. Set it live.").says(&["not live", "inactive campaign"]),
    rule(Content, "AiSensy refused the message: the campaign, its values, or its media."),
];

/// What the answer says of success: a text or a flag, or nothing.
pub(super) fn is_success(body: &Value) -> Option<bool> {
    match &body["success"] {
        Value::Bool(flag) => Some(*flag),
        Value::String(text) => Some(text.eq_ignore_ascii_case("true")),
        _ => None,
    }
}

/// The failure behind an answer that took nothing, or says nothing.
pub(super) fn refused(cx: &Cx<'_>, http: &HttpAnswer, body: &Value) -> Failure {
    let words = text(body, "/errorMessage").or(text(body, "/message"));
    let is_claimed = is_success(body) == Some(true);
    let words = match (words, is_success(body)) {
        // Success, but without its id.
        _ if is_claimed && (200..=299).contains(&http.status) => return foreign(NAME, http, cx.now),
        (Some(words), _) => words.to_owned(),
        (None, Some(_)) => http.text().into_owned(),
        (None, None) => return foreign(NAME, http, cx.now),
    };
    refusal(NAME, RULES, &Said::new(http, cx.now, text(body, "/name").unwrap_or_default(), &words))
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{Timestamp, Values};

    #[test]
    fn statuses_and_words() {
        let settings = Values::default();
        let cx =
            Cx { settings: &settings, from: None, base_url: None, callback_url: "", now: Timestamp::EPOCH, nonce: 0 };
        for (status, body, kind) in [
            (400, r#"{"message":"Invalid Number"}"#, Recipient),
            (400, r#"{"message":"invalid number"}"#, Recipient),
            (400, r#"{"message":"Campaign does not exist."}"#, Content),
            (400, r#"{"message":"Campaign is not live"}"#, Content),
            (400, r#"{"name":"ERR400","errorCode":400,"errorMessage":"No Plan active on assistant!"}"#, Account),
            (400, r#"{"message":"Template params does not match the campaign"}"#, Content),
            (401, r#"{"message":"Unauthorized"}"#, Account),
            (403, r#"{"message":"Forbidden"}"#, Account),
            (
                402,
                r#"{"name":"ERR402","errorCode":402,"errorMessage":"Insufficient WhatsApp Conversation Credits (WCC)!"}"#,
                Account,
            ),
            (429, r#"{"message":"Too many"}"#, Throttled),
            (500, r#"{"message":"Invalid Number"}"#, Unavailable),
            (503, r#"{"message":"Down"}"#, Unavailable),
            (200, r#"{"success":"false","message":"Invalid Number"}"#, Recipient),
            (200, r#"{"success":false,"errorMessage":"No Plan active on assistant!"}"#, Account),
            (200, r#"{"message":"Campaign does not exist."}"#, Content),
            (200, r#"{"success":"false"}"#, Content),
            (200, r#"{"success":"true"}"#, Unknown),
            (200, r#"{"success":"true","message":"Invalid Number"}"#, Unknown),
            (200, "{}", Unknown),
            (200, "", Unknown),
            (302, "", Unknown),
            (403, "<html>", Unavailable),
            (408, "", Unknown),
            (429, "", Throttled),
            (502, "<html>", Unknown),
            (504, "", Unknown),
        ] {
            let http = HttpAnswer { status, body: body.to_owned().into(), ..HttpAnswer::default() };
            assert_eq!(refused(&cx, &http, &crate::read::json(&http)).kind, kind, "{status} {body}");
        }
    }
}
