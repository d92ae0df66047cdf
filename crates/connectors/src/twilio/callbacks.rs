//! Where messages to the account's number, or to its messaging service, go. Status reports need no set-up: each message names its own address.
//! <https://www.twilio.com/docs/phone-numbers/api/incomingphonenumber-resource>

use model::{Answer, Call, Method};
use serde_json::Value;

use super::{Settings, request};
use crate::{
    Cx,
    manage::{self, CallbackState, Callbacks, Next, Paste, Plan, each, reply},
    read::text,
};

pub(super) const NAME: &str = "Twilio";
/// Messaging services live at a host of their own.
const MESSAGING_HOST: &str = "https://messaging.twilio.com";

pub(super) struct InboundUrls;

impl Callbacks for InboundUrls {
    fn state(&self, cx: &Cx<'_>, answers: &[Answer]) -> Plan<CallbackState> {
        let settings = Settings::read(cx.settings)?;
        let Some(target) = Target::of(cx, &settings) else { return Ok(Next::Done(nothing(cx))) };
        if answers.is_empty() {
            return Ok(Next::Call(target.look(cx, &settings)));
        }
        let body = reply(NAME, answers, 0)?;
        let url = match target {
            Target::Service(_) => text(&body, "/inbound_request_url"),
            Target::Number(_) => found(&body).and_then(|number| text(number, "/sms_url")),
        };
        let line = match url {
            Some(url) if url == cx.callback_url => "Messages to it come here.".to_owned(),
            Some(url) => format!("Messages to it go to {url}."),
            None => "Messages to it go nowhere.".to_owned(),
        };
        Ok(Next::Done(CallbackState {
            is_set: url == Some(cx.callback_url),
            lines: vec![STATUS.to_owned(), line],
            ..CallbackState::default()
        }))
    }

    fn set(&self, cx: &Cx<'_>, answers: &[Answer]) -> Plan<CallbackState> {
        let settings = Settings::read(cx.settings)?;
        let Some(target) = Target::of(cx, &settings) else { return Ok(Next::Done(nothing(cx))) };
        match (target, answers.len()) {
            (Target::Service(_), 0) => {
                let pairs = [
                    ("InboundRequestUrl", cx.callback_url),
                    ("InboundMethod", "POST"),
                    ("UseInboundWebhookOnNumber", "false"),
                ];
                Ok(Next::Call(Call::Http(manage::form(target.call(cx, &settings, Method::Post), &pairs))))
            }
            (Target::Service(_), _) => {
                reply(NAME, answers, 0)?;
                Ok(Next::Done(done()))
            }
            (Target::Number(_), 0) => Ok(Next::Call(target.look(cx, &settings))),
            (Target::Number(number), 1) => {
                match found(&reply(NAME, answers, 0)?).and_then(|number| text(number, "/sid")) {
                    Some(sid) => {
                        let call = request(cx, &settings, Method::Post, &format!("/IncomingPhoneNumbers/{sid}.json"));
                        let pairs = [("SmsUrl", cx.callback_url), ("SmsMethod", "POST")];
                        Ok(Next::Call(Call::Http(manage::form(call, &pairs))))
                    }
                    None => {
                        let mut state = nothing(cx);
                        state.lines.push(format!("{number} is no number of this Twilio account: a WhatsApp sender is set up in Twilio's console."));
                        Ok(Next::Done(state))
                    }
                }
            }
            (Target::Number(_), _) => {
                reply(NAME, answers, 1)?;
                Ok(Next::Done(done()))
            }
        }
    }
}

const STATUS: &str = "Status reports need no set-up: every message and call names this account's callback URL.";

fn done() -> CallbackState {
    let lines = vec![STATUS.to_owned(), "Messages to it come here.".to_owned()];
    CallbackState { is_set: true, lines, ..CallbackState::default() }
}

/// Without a number or a service there is nothing an API could set.
fn nothing(cx: &Cx<'_>) -> CallbackState {
    let place = "\"A message comes in\" of the number or WhatsApp sender, method POST, in Twilio's console".to_owned();
    let by_hand = vec![Paste { place, value: cx.callback_url.to_owned() }];
    CallbackState { lines: vec![STATUS.to_owned()], by_hand, ..CallbackState::default() }
}

/// What receives the account's messages.
#[derive(Clone, Copy)]
enum Target<'a> {
    Service(&'a str),
    Number(&'a str),
}

impl<'a> Target<'a> {
    fn of(cx: &Cx<'a>, settings: &'a Settings) -> Option<Self> {
        let is_number = |from: &&str| from.starts_with('+') && from[1..].bytes().all(|b| b.is_ascii_digit());
        match settings.messaging_service_sid.as_deref() {
            Some(sid) => Some(Self::Service(sid)),
            None => cx.from.filter(is_number).map(Self::Number),
        }
    }

    fn call(self, cx: &Cx<'_>, settings: &Settings, method: Method) -> model::HttpCall {
        match self {
            Self::Number(number) => number_call(cx, settings, number),
            Self::Service(sid) => {
                let mut call = request(cx, settings, method, "");
                call.url = format!("{}/v1/Services/{sid}", cx.base_or(MESSAGING_HOST));
                call
            }
        }
    }

    fn look(self, cx: &Cx<'_>, settings: &Settings) -> Call {
        Call::Http(self.call(cx, settings, Method::Get))
    }
}

/// Asks for one of the account's numbers.
pub(super) fn number_call(cx: &Cx<'_>, settings: &Settings, number: &str) -> model::HttpCall {
    let query: String =
        url::form_urlencoded::Serializer::new(String::new()).append_pair("PhoneNumber", number).finish();
    request(cx, settings, Method::Get, &format!("/IncomingPhoneNumbers.json?{query}"))
}

/// The number in the answer to [`number_call`].
pub(super) fn found(body: &Value) -> Option<&Value> {
    each(body, "/incoming_phone_numbers").next()
}
