//! Whether the account's number may send. The phone number id is the sender, whatever `from` says.
//! <https://developers.facebook.com/docs/graph-api/reference/whats-app-business-account-to-number-current-status>

use model::{Answer, Call, Channel, Method};

use super::{NAME, Settings, request};
use crate::{
    Cx,
    manage::{Next, NumberState, Numbers, Plan, reply},
    read::text,
};

pub(super) struct PhoneNumber;

impl Numbers for PhoneNumber {
    fn look_up(&self, cx: &Cx<'_>, _channel: Channel, answers: &[Answer]) -> Plan<NumberState> {
        if answers.is_empty() {
            let settings = Settings::read(cx.settings)?;
            let path = format!(
                "/{}?fields=display_phone_number,verified_name,quality_rating,code_verification_status",
                settings.phone_number_id
            );
            return Ok(Next::Call(Call::Http(request::call(cx, &settings, Method::Get, &path))));
        }
        let body = reply(NAME, answers, 0)?;
        let shown = text(&body, "/display_phone_number").ok_or_else(|| crate::manage::unreadable(NAME))?;
        let digits = |text: &str| text.chars().filter(char::is_ascii_digit).collect::<String>();
        let wanted = digits(cx.from.unwrap_or_default());
        if !wanted.is_empty() && wanted != digits(shown) {
            let detail =
                format!("The account's phone number ID belongs to {shown}. Use another account for another number.");
            return Ok(Next::Done(NumberState::Refused(detail)));
        }
        let name = text(&body, "/verified_name").unwrap_or("no name");
        let rating = text(&body, "/quality_rating").unwrap_or("not rated");
        Ok(Next::Done(match text(&body, "/code_verification_status") {
            Some("NOT_VERIFIED") => {
                NumberState::Refused(format!("{shown} ({name}) is not verified. Verify it in WhatsApp Manager."))
            }
            _ => NumberState::Verified(format!("{shown} ({name}), rated {rating}.")),
        }))
    }
}
