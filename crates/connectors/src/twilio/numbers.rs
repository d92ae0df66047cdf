//! Whether a number is the account's.

use model::{Answer, Call, Channel};
use serde_json::Value;

use super::{
    Settings,
    callbacks::{NAME, found, number_call},
};
use crate::{
    Cx,
    manage::{Next, NumberState, Numbers, Plan, reply},
    read::text,
};

pub(super) struct OwnNumbers;

impl Numbers for OwnNumbers {
    fn look_up(&self, cx: &Cx<'_>, channel: Channel, answers: &[Answer]) -> Plan<NumberState> {
        let from = cx.from.unwrap_or_default();
        let is_number = from.starts_with('+') && from[1..].bytes().all(|b| b.is_ascii_digit());
        if channel == Channel::Whatsapp || !is_number {
            let detail =
                "Twilio lists no WhatsApp senders, short codes and names; a message shows whether it may send.";
            return Ok(Next::Done(NumberState::Unknown(detail.to_owned())));
        }
        if answers.is_empty() {
            return Ok(Next::Call(Call::Http(number_call(cx, &Settings::read(cx.settings)?, from))));
        }
        let body = reply(NAME, answers, 0)?;
        let Some(number) = found(&body) else {
            // Verified caller ids may call although they are no numbers of the account.
            let detail = format!("{from} is no number of this Twilio account. Buy or move it there, or name another.");
            return Ok(Next::Done(if channel == Channel::Voice {
                NumberState::Unknown(detail)
            } else {
                NumberState::Refused(detail)
            }));
        };
        let can = |what: &str| number.pointer(&format!("/capabilities/{what}")).and_then(Value::as_bool) != Some(false);
        let name = text(number, "/friendly_name").unwrap_or(from);
        Ok(Next::Done(match channel {
            Channel::Sms if !can("sms") => {
                NumberState::Refused(format!("{from} cannot send SMS. Name another number."))
            }
            Channel::Voice if !can("voice") => {
                NumberState::Refused(format!("{from} cannot call. Name another number."))
            }
            _ => NumberState::Verified(format!("{name} is a number of this Twilio account.")),
        }))
    }
}
