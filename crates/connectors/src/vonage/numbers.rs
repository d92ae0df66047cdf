//! Whether a number is the account's.

use model::{Answer, Call, Channel};

use super::{
    NAME, Settings,
    callbacks::{found, number, numbers_call},
};
use crate::{
    Cx,
    manage::{Next, NumberState, Numbers, Plan, reply},
};

pub(super) struct OwnNumbers;

impl Numbers for OwnNumbers {
    fn look_up(&self, cx: &Cx<'_>, channel: Channel, answers: &[Answer]) -> Plan<NumberState> {
        let Some(number) = number(cx).filter(|_| channel != Channel::Whatsapp) else {
            let detail = "Vonage lists no names and WhatsApp numbers here; a message shows whether it may send.";
            return Ok(Next::Done(NumberState::Unknown(detail.to_owned())));
        };
        if answers.is_empty() {
            return Ok(Next::Call(Call::Http(numbers_call(cx, &Settings::read(cx.settings)?, number))));
        }
        let body = reply(NAME, answers, 0)?;
        Ok(Next::Done(match found(&body, number) {
            Some(_) => NumberState::Verified(format!("{number} is a number of this Vonage account.")),
            // In many countries Vonage lets any number send.
            None => NumberState::Unknown(format!(
                "{number} is no number of this Vonage account; many countries refuse it then."
            )),
        }))
    }
}
