//! Africa's Talking: bulk SMS, the user's balance; delivery reports and messages without a signature.
//! <https://developers.africastalking.com/docs/sms/overview>

use model::{HttpCall, Method};
use serde_json::{Value, json};

use crate::{
    fate::Fate,
    fields::form,
    message::{Draft, Message, Stage},
    provider::{Cx, Provider, Setting, Settings, Written, account, written as formatted},
    request::{Reply, Request},
};

pub(crate) struct AfricasTalking;

const SETTINGS: &[Setting] = &[
    Setting { name: "username", default: "acme" },
    Setting { name: "api_key", default: "atsk_simulated" },
    Setting { name: "from", default: "ACME" },
    Setting { name: "callback_url", default: "" },
];

fn error(status: u16, words: &str) -> Reply {
    Reply::of(status, "text/plain", words.to_owned())
}

impl Provider for AfricasTalking {
    fn id(&self) -> &'static str {
        "africastalking"
    }

    fn settings(&self) -> &'static [Setting] {
        SETTINGS
    }

    fn accounts(&self, settings: &Settings) -> Vec<Value> {
        let keys = json!({"username": settings["username"], "api_key": settings["api_key"]});
        vec![account("africastalking", "Africa's Talking", Some(&settings["from"]), keys)]
    }

    fn answer(&self, cx: &mut Cx<'_>, request: &Request) -> Result<Reply, Reply> {
        if request.header("apikey") != cx.get("api_key") {
            return Err(error(401, "The supplied authentication is invalid"));
        }
        match (request.method.as_str(), &request.segments()[..]) {
            ("POST", ["version1", "messaging"]) => send(cx, request),
            ("GET", ["version1", "user"]) if request.parameters().get("username") == cx.get("username") => {
                Ok(Reply::json(200, &json!({"UserData": {"balance": "KES 1785.50"}})))
            }
            _ => Err(error(404, "The resource was not found")),
        }
    }

    fn throttled(&self, after_s: Option<u64>) -> Reply {
        error(429, "Too many requests").retry_after(after_s)
    }

    fn broken(&self, status: u16) -> Reply {
        Reply::json(status, &json!({"SMSMessageData": {"Message": "InternalServerError", "Recipients": []}}))
    }

    fn report(&self, cx: &Cx<'_>, message: &Message, stage: Stage) -> Option<HttpCall> {
        let url = cx.callback_of(message)?;
        let (status, reason) = match stage {
            Stage::Sent => ("Sent", ""),
            Stage::Delivered => ("Success", ""),
            Stage::Failed => ("Failed", "UserDoesNotExist"),
            Stage::OptedOut => ("Failed", "UserInBlackList"),
            _ => return None,
        };
        let mut fields = vec![
            ("id", message.id.as_str()),
            ("status", status),
            ("phoneNumber", &message.to),
            ("networkCode", "63902"),
            ("retryCount", "0"),
        ];
        fields.extend((!reason.is_empty()).then_some(("failureReason", reason)));
        Some(HttpCall::new(Method::Post, url).body("application/x-www-form-urlencoded", form(&fields)))
    }

    fn inbound(&self, cx: &mut Cx<'_>, written: &Written) -> Option<HttpCall> {
        let url = cx.callback("callback_url")?;
        let (id, at) = (cx.uuid(), formatted(cx.now, "%Y-%m-%d %H:%M:%S"));
        let to = written.to.as_deref().unwrap_or("12345");
        let fields = [
            ("id", id.as_str()),
            ("from", &written.from),
            ("to", to),
            ("text", &written.text),
            ("date", &at),
            ("networkCode", "63902"),
            ("linkId", ""),
        ];
        Some(HttpCall::new(Method::Post, url).body("application/x-www-form-urlencoded", form(&fields)))
    }
}

fn send(cx: &mut Cx<'_>, request: &Request) -> Result<Reply, Reply> {
    let fields = request.form();
    if fields.get("username") != cx.get("username") {
        return Err(error(401, "The supplied authentication is invalid"));
    }
    let (to, text) = (fields.get("to"), fields.get("message"));
    if to.is_empty() || text.is_empty() {
        return Err(error(400, "Request is missing required form field"));
    }
    if fields.some("from").is_some_and(|from| from != cx.get("from")) {
        return Ok(Reply::json(201, &json!({"SMSMessageData": {"Message": "InvalidSenderId", "Recipients": []}})));
    }
    let mut recipients = Vec::new();
    for number in to.split(',') {
        let is_number = number
            .strip_prefix('+')
            .is_some_and(|digits| digits.len() >= 8 && digits.bytes().all(|byte| byte.is_ascii_digit()));
        let refused = |code: u32, status: &str| json!({"statusCode": code, "number": number, "status": status, "cost": "0", "messageId": "None"});
        recipients.push(match cx.fate(number) {
            Fate::Throttled => return Err(AfricasTalking.throttled(None)),
            fate if fate == Fate::Refused || !is_number => refused(403, "InvalidPhoneNumber"),
            Fate::OptedOut => refused(406, "UserInBlacklist"),
            _ => {
                let id = format!("ATPid_{}", cx.hex(32));
                cx.take(Draft {
                    id: id.clone(),
                    channel: "sms",
                    to: number.to_owned(),
                    from: fields.get("from").to_owned(),
                    text: text.to_owned(),
                    ..Draft::default()
                });
                json!({"statusCode": 101, "number": number, "status": "Success", "cost": "KES 0.8000", "messageId": id})
            }
        });
    }
    let message = format!("Sent to {}/{} Total Cost: KES 0.8000", cx.taken.len(), recipients.len());
    Ok(Reply::json(201, &json!({"SMSMessageData": {"Message": message, "Recipients": recipients}})))
}
