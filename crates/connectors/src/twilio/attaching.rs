//! The number a registered business sends from: one of the tenant's own service, of the pool, or bought, and put into the registration's service.

use std::cell::Cell;

use model::Method;
use serde_json::{Value, json};

use super::asking::{At, MESSAGING_HOST, NOT_THERE, PAGE, named, rows, sid, until_named};
use crate::{
    manage::{Line, Progress, Reason, Stage, Stop, each, form},
    read::text,
};

/// The number is in this service already. <https://www.twilio.com/docs/api/errors/21710>
const IN_SERVICE: u64 = 21710;
/// The number is in another service. <https://www.twilio.com/docs/api/errors/21712>
const ELSEWHERE: u64 = 21712;
/// Services a number is looked for in: what one plan can ask, beside the rest of it.
const SERVICES_MAX: usize = 90;

pub(super) fn number(at: &At<'_>, line: &mut Line<'_>) -> Result<Progress, Stop> {
    let mut refs = at.work.refs.clone();
    if refs.number_id.is_some() {
        return Ok(at.done(Stage::Attach, refs));
    }
    // A service of the tenant's own may have its numbers, which are the tenant's own too: none is bought, and none is ours to keep.
    let own = at.settings.messaging_service_sid.as_deref().filter(|own| refs.service.as_deref() == Some(own));
    if let Some(own) = own {
        let path = format!("/v1/Services/{own}/PhoneNumbers?PageSize=20");
        let listed = line.ask(at.get(MESSAGING_HOST, &path))?;
        if each(&listed, "/phone_numbers").next().is_some() {
            return Ok(at.done(Stage::Approved, refs));
        }
    }
    let query: String =
        url::form_urlencoded::Serializer::new(String::new()).append_pair("FriendlyName", at.work.name).finish();
    let first = at.own(Method::Get, &format!("/IncomingPhoneNumbers.json?{query}&{PAGE}"));
    let listed = until_named(line, first, "/incoming_phone_numbers", at.work.name)?;
    let bought = match named(&listed, at.work.name) {
        Some(known) => known.clone(),
        None => {
            let area = at.work.area_code.map(|code| format!("AreaCode={code}&")).unwrap_or_default();
            let path = format!("/AvailablePhoneNumbers/US/Local.json?{area}SmsEnabled=true&PageSize=1");
            let offered = line.ask(at.own(Method::Get, &path))?;
            let Some(number) = each(&offered, "/available_phone_numbers")
                .find_map(|one| text(one, "/phone_number").map(str::to_owned))
            else {
                let detail = "There is no number to be had in this area; choose another area code, or none.".to_owned();
                let pointers = vec!["/area_code".to_owned()];
                return Ok(at.rejected(refs, vec![Reason { code: "no_number_available".to_owned(), detail, pointers }]));
            };
            let pairs = [
                ("PhoneNumber", number.as_str()),
                ("FriendlyName", at.work.name),
                ("SmsUrl", at.cx.callback_url),
                ("SmsMethod", "POST"),
            ];
            line.ask(form(at.own(Method::Post, "/IncomingPhoneNumbers.json"), &pairs))?
        }
    };
    refs.number_id = Some(sid(&bought)?);
    refs.number = text(&bought, "/phone_number").map(str::to_owned);
    Ok(at.done(Stage::Attach, refs))
}

pub(super) fn attach(at: &At<'_>, line: &mut Line<'_>) -> Result<Progress, Stop> {
    let service = at.made(&at.work.refs.service, "messaging service")?;
    let number = at.made(&at.work.refs.number_id, "number")?;
    let path = format!("/v1/Services/{service}/PhoneNumbers");
    let is_elsewhere = Cell::new(false);
    line.ask_or(at.post(MESSAGING_HOST, &path, &[("PhoneNumberSid", number)]), |refusal| {
        is_elsewhere.set(refusal["code"] == json!(ELSEWHERE));
        is_elsewhere.get() || refusal["code"] == json!(IN_SERVICE)
    })?;
    if is_elsewhere.get() {
        // A number of the pool is still in the service of the registration it was for.
        take_out(at, line, service, number)?;
        line.ask(at.post(MESSAGING_HOST, &path, &[("PhoneNumberSid", number)]))?;
    }
    let settings = vec![("messaging_service_sid", service.to_owned())];
    Ok(Progress { settings, ..at.done(Stage::Approved, at.work.refs.clone()) })
}

/// Takes a number out of the service it is in. The number does not say which that is, so the services are asked, those of registrations first.
fn take_out(at: &At<'_>, line: &mut Line<'_>, service: &str, number: &str) -> Result<(), Stop> {
    let listed = rows(line, at.get(MESSAGING_HOST, &format!("/v1/Services?{PAGE}")), "/services", |_| false)?;
    let others = listed.iter().filter(|one| text(one, "/sid") != Some(service));
    let (ours, foreign): (Vec<_>, Vec<_>) =
        others.partition(|one| text(one, "/friendly_name").is_some_and(|name| name.starts_with("reg_")));
    for other in ours.into_iter().chain(foreign).filter_map(|one| text(one, "/sid")).take(SERVICES_MAX) {
        let path = format!("/v1/Services/{other}/PhoneNumbers/{number}");
        let is_not_there = |refusal: &Value| refusal["code"] == json!(NOT_THERE);
        if line.ask_or(at.call(Method::Delete, MESSAGING_HOST, &path), is_not_there)?.is_some() {
            return Ok(());
        }
    }
    // Perhaps somebody else took it out just now: the next request says.
    Ok(())
}
