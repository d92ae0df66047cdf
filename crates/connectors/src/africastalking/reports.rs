//! Africa's Talking's forms to us: delivery reports, messages from people, and opt-outs, told apart by their fields.
//! <https://developers.africastalking.com/docs/sms/notifications>

use model::{Address, Channel, Fact, Failure, FailureKind, Phone, Timestamp};
use url::form_urlencoded;

use super::errors;
use crate::{InboundMessage, Keyword, Observed, Report};

/// The parameters of a form.
struct Form(Vec<(String, String)>);

impl Form {
    /// The first value of a parameter; an empty one is none.
    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, value)| n == name && !value.is_empty()).map(|(_, value)| value.as_str())
    }
}

/// Reads a form.
pub(super) fn read(body: &[u8]) -> Result<Vec<Observed>, Failure> {
    let form = Form(form_urlencoded::parse(body).into_owned().collect());
    let seen = match (form.get("id"), form.get("status"), form.get("text")) {
        (Some(id), Some(status), _) => report(&form, id, status).map(Observed::Status),
        (_, None, Some(text)) => Some(Observed::Message(message(&form, text)?)),
        (None, None, None) if form.get("senderId").is_some() => Some(Observed::Message(opted_out(&form)?)),
        _ => None,
    };
    Ok(seen.into_iter().collect())
}

fn report(form: &Form, id: &str, status: &str) -> Option<Report> {
    let fact = match status {
        // The last says that the network will try again.
        "Sent" | "Submitted" | "Buffered" => Fact::Sent,
        "Success" => Fact::Delivered,
        "Rejected" | "Failed" | "AbsentSubscriber" | "Expired" => {
            Fact::Failed { failure: errors::reported(status, form.get("failureReason")) }
        }
        _ => return None,
    };
    Some(Report::new(id, status, fact))
}

fn message(form: &Form, text: &str) -> Result<InboundMessage, Failure> {
    let from = sender(form, "from")?;
    Ok(InboundMessage {
        provider_message_id: form.get("id").unwrap_or_default().to_owned(),
        // A date without a zone could be any hour's.
        at: form.get("date").and_then(|date| date.parse::<jiff::Timestamp>().ok()).map(Timestamp::from),
        text: text.to_owned(),
        ..blank(from, form.get("to"))
    })
}

/// Somebody dialled or wrote what the networks offer against bulk messages. It has no id of its own, so it is as unique as its request.
fn opted_out(form: &Form) -> Result<InboundMessage, Failure> {
    let from = sender(form, "phoneNumber")?;
    Ok(InboundMessage { keyword: Some(Keyword::Stop), ..blank(from, form.get("senderId")) })
}

fn sender(form: &Form, name: &str) -> Result<Phone, Failure> {
    let from = form.get(name).unwrap_or_default();
    format!("+{}", from.trim_start_matches('+')).parse().map_err(|_| {
        let detail = format!("A message comes from {from}, which is not a phone number; it was not stored.");
        Failure::new(FailureKind::Recipient, "unreadable_sender", detail)
    })
}

fn blank(from: Phone, to: Option<&str>) -> InboundMessage {
    InboundMessage {
        provider_message_id: String::new(),
        channel: Channel::Sms,
        from: Address::Phone(from),
        from_name: None,
        to: to.unwrap_or_default().to_owned(),
        text: String::new(),
        media: Vec::new(),
        location: None,
        button: None,
        in_reply_to: None,
        keyword: None,
        mail: None,
        at: None,
    }
}
