//! `SendBulkEmail`: up to fifty mails in a request, with a result for each.
//! <https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_SendBulkEmail.html>
//!
//! SES takes a template there and nothing else. Ours is made of three variables and each recipient's values are the whole mail, so what rides together need not say the same. SES puts values in as
//! they are, without escaping and without looking for variables in them.

use model::{Failure, FailureKind, HttpAnswer};
use serde::Serialize;
use serde_json::Value;

use super::{
    errors,
    request::{Destination, Pair, TAG, is_simple},
};
use crate::{Acceptance, Cx, Outcome, Outgoing, email, mime};

/// Most mails in one request.
pub(super) const BATCH_MAX: usize = 50;
/// Longest values of one recipient, in bytes, as JSON.
const VALUES_MAX: usize = 262_144;

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct SendBulkEmail<'a> {
    from_email_address: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    reply_to_addresses: Option<[&'a str; 1]>,
    default_content: DefaultContent,
    bulk_email_entries: Vec<Entry<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    configuration_set_name: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct DefaultContent {
    template: Template,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Template {
    template_content: TemplateContent,
    template_data: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct TemplateContent {
    subject: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    html: Option<&'static str>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Entry<'a> {
    destination: Destination<'a>,
    replacement_tags: [Pair<'a>; 1],
    replacement_email_content: Content,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    replacement_headers: Vec<Pair<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Content {
    replacement_template: Replacement,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Replacement {
    replacement_template_data: String,
}

/// A recipient's values.
#[derive(Serialize)]
struct Values<'a> {
    subject: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    html: Option<&'a str>,
}

impl<'a> Values<'a> {
    fn of(content: &'a model::EmailContent) -> Self {
        Self { subject: &content.subject, text: content.text.as_deref(), html: content.html.as_deref() }
    }

    fn json(&self) -> String {
        serde_json::to_string(self).expect("texts have a JSON form")
    }
}

/// True when `other` may ride with `first`: mails of common size without files, with the same parts and the same address for replies. A recipient or header SES takes no other way
/// than alone goes alone.
pub(super) fn fits(first: &Outgoing<'_>, other: &Outgoing<'_>) -> bool {
    let (model::Content::Email(one), model::Content::Email(two)) = (first.content, other.content) else { return false };
    let is_fit = |message: &Outgoing<'_>, content: &model::EmailContent| {
        let model::Address::Email(to) = message.to else { return false };
        email::is_light(message)
            && to.as_str().is_ascii()
            && is_simple(content)
            && mime::check(content).is_ok()
            && Values::of(content).json().len() <= VALUES_MAX
    };
    is_fit(first, one)
        && is_fit(other, two)
        && one.text.is_some() == two.text.is_some()
        && one.html.is_some() == two.html.is_some()
        && one.reply_to == two.reply_to
}

/// Builds the body for mails that fit.
pub(super) fn body(
    cx: &Cx<'_>,
    messages: &[Outgoing<'_>],
    configuration_set: Option<&str>,
) -> Result<Vec<u8>, Failure> {
    let ids: Vec<String> = messages.iter().map(|message| message.attempt_id.to_string()).collect();
    let parties = messages.iter().map(|message| mime::parties(cx, message)).collect::<Result<Vec<_>, _>>()?;
    let Some(first) = parties.first() else {
        return Err(Failure::new(FailureKind::Content, "empty_batch", "There is no mail to send."));
    };
    let entries = parties.iter().zip(&ids).map(|(parties, id)| Entry {
        destination: Destination { to_addresses: [parties.to.as_str()] },
        replacement_tags: [Pair { name: TAG, value: id }],
        replacement_email_content: Content {
            replacement_template: Replacement { replacement_template_data: Values::of(parties.content).json() },
        },
        replacement_headers: parties.content.headers.iter().map(|(name, value)| Pair { name, value }).collect(),
    });
    let request = SendBulkEmail {
        from_email_address: mime::mailbox_text(&first.from),
        reply_to_addresses: first.content.reply_to.as_ref().map(|address| [address.as_str()]),
        default_content: DefaultContent {
            template: Template {
                template_content: TemplateContent {
                    subject: "{{subject}}",
                    text: first.content.text.as_ref().map(|_| "{{text}}"),
                    html: first.content.html.as_ref().map(|_| "{{html}}"),
                },
                template_data: "{}",
            },
        },
        bulk_email_entries: entries.collect(),
        configuration_set_name: configuration_set,
    };
    Ok(serde_json::to_vec(&request).expect("texts have a JSON form"))
}

/// Splits the answer. A 200 says nothing about a mail: its own result does, and they come in the order of the request. Fewer or more of them than mails cannot be told apart.
pub(super) fn outcomes(cx: &Cx<'_>, count: usize, answer: &HttpAnswer) -> Vec<Outcome> {
    if answer.status != 200 {
        let failure = errors::failure(answer, cx.now);
        // Keys that were made for single mails may lack the right to this request; alone each mail goes as it did.
        let is_of_the_request = answer.status == 403 && failure.code.starts_with("AccessDenied");
        return if is_of_the_request {
            let detail =
                "The access key may not ses:SendBulkEmail; each mail goes alone. Allow the key's user that, too.";
            vec![Outcome::Refused(Failure { detail: detail.to_owned(), ..email::again(failure) }); count]
        } else {
            email::whole(count, failure)
        };
    }
    let body: Value =
        if answer.is_truncated { Value::Null } else { serde_json::from_slice(&answer.body).unwrap_or_default() };
    match body.get("BulkEmailEntryResults").and_then(Value::as_array) {
        Some(results) if results.len() == count => results.iter().map(|result| outcome(answer, result)).collect(),
        _ => vec![Outcome::Refused(email::unreadable("Amazon SES", answer)); count],
    }
}

fn outcome(answer: &HttpAnswer, result: &Value) -> Outcome {
    let text = |name: &str| result.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    match (text("Status"), text("MessageId")) {
        (Some("SUCCESS"), Some(id)) => Outcome::Accepted(Acceptance::with_id(id)),
        (Some(status), _) if status != "SUCCESS" => {
            Outcome::Refused(errors::of_entry(status, text("Error").unwrap_or_default()))
        }
        _ => Outcome::Refused(email::unreadable("Amazon SES", answer)),
    }
}
