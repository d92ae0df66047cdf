//! A toll-free number verified through Twilio, without which American and Canadian carriers block its messages.
//! <https://www.twilio.com/docs/messaging/api/tollfree-verification-resource>
//!
//! A number has one verification at a time, so the first look is for that of the number, whoever asked for it: one that is under way or done is taken as it is, one that was rejected is
//! mended where Twilio allows it, and asked for anew where it does not.

use model::Method;
use serde_json::Value;

use super::asking::{At, MESSAGING_HOST, sid};
use crate::{
    manage::{Business, BusinessKind, Line, OptIn, Progress, Reason, Stage, Stop, TollFree, each},
    read::text,
};

const PATH: &str = "/v1/Tollfree/Verifications";
/// Longest summary and additional information Twilio takes, in characters.
const TEXT_MAX: usize = 500;
/// Messages a month, as Twilio counts them.
const VOLUMES: [(u32, &str); 10] = [
    (10, "10"),
    (100, "100"),
    (1_000, "1,000"),
    (10_000, "10,000"),
    (100_000, "100,000"),
    (250_000, "250,000"),
    (500_000, "500,000"),
    (750_000, "750,000"),
    (1_000_000, "1,000,000"),
    (5_000_000, "5,000,000"),
];
const VOLUME_MAX: &str = "10,000,000+";

pub(super) fn verification(at: &At<'_>, line: &mut Line<'_>) -> Result<Progress, Stop> {
    let mut refs = at.work.refs.clone();
    let toll_free = asked(at)?;
    let query: String =
        url::form_urlencoded::Serializer::new(String::new()).append_pair("PhoneNumber", &toll_free.number).finish();
    let owned = line.ask(at.own(Method::Get, &format!("/IncomingPhoneNumbers.json?{query}")))?;
    let number = each(&owned, "/incoming_phone_numbers")
        .find(|one| text(one, "/phone_number") == Some(toll_free.number.as_str()));
    let Some(number) = number.map(sid).transpose()? else {
        let detail =
            format!("The account at Twilio has no number {}; buy it there, then submit again.", toll_free.number);
        let pointers = vec!["/number".to_owned()];
        return Ok(at.rejected(refs, vec![Reason { code: "number_not_there".to_owned(), detail, pointers }]));
    };
    let listed = line.ask(at.get(MESSAGING_HOST, &format!("{PATH}?TollfreePhoneNumberSid={number}&PageSize=50")))?;
    let is_rejected = |one: &Value| text(one, "/status") == Some("TWILIO_REJECTED");
    let going = each(&listed, "/verifications").find(|one| !is_rejected(one));
    let mendable =
        each(&listed, "/verifications").find(|one| is_rejected(one) && one["edit_allowed"] == Value::Bool(true));
    let pairs = pairs(at.work.business, toll_free);
    let mut pairs: Vec<(&str, &str)> = pairs.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let verification = match (going, mendable) {
        (Some(going), _) => sid(going)?,
        (None, Some(rejected)) => {
            let verification = sid(rejected)?;
            pairs.push(("EditReason", "What was rejected was corrected."));
            line.ask(at.post(MESSAGING_HOST, &format!("{PATH}/{verification}"), &pairs))?;
            verification
        }
        (None, None) => {
            pairs.extend([("TollfreePhoneNumberSid", number.as_str()), ("ExternalReferenceId", at.work.name)]);
            sid(&line.ask(at.post(MESSAGING_HOST, PATH, &pairs))?)?
        }
    };
    refs.verification = Some(verification);
    Ok(at.done(Stage::VerificationReview, refs))
}

pub(super) fn review(at: &At<'_>, line: &mut Line<'_>) -> Result<Progress, Stop> {
    let verification = at.made(&at.work.refs.verification, "verification")?;
    let found = line.ask(at.get(MESSAGING_HOST, &format!("{PATH}/{verification}")))?;
    Ok(match text(&found, "/status") {
        Some("TWILIO_APPROVED") => at.done(Stage::Approved, at.work.refs.clone()),
        Some("TWILIO_REJECTED") => at.rejected(at.work.refs.clone(), reasons(&found)),
        _ => at.waits(),
    })
}

fn asked<'a>(at: &At<'a>) -> Result<&'a TollFree, Stop> {
    at.work.toll_free.ok_or_else(|| {
        let detail = "The registration does not say which number is to be verified; begin another one.".to_owned();
        Stop::Refused(model::Failure::new(model::FailureKind::Content, "incomplete_registration", detail))
    })
}

fn reasons(of: &Value) -> Vec<Reason> {
    let code =
        |one: &Value, pointer: &str| one.pointer(pointer).filter(|code| code.is_number()).map(ToString::to_string);
    let reason = |one: &Value, code: Option<String>, words: &str| Reason {
        code: code.unwrap_or_else(|| "rejected".to_owned()),
        detail: text(one, words).unwrap_or("Twilio gave no reason.").to_owned(),
        pointers: Vec::new(),
    };
    let mut all: Vec<Reason> =
        each(of, "/rejection_reasons").map(|one| reason(one, code(one, "/code"), "/reason")).collect();
    if all.is_empty() {
        all.push(reason(of, code(of, "/error_code"), "/rejection_reason"));
    }
    all
}

/// What is said about the number, in a form's fields.
fn pairs(business: &Business, toll_free: &TollFree) -> Vec<(&'static str, String)> {
    let (case, place, owner) = (&business.use_case, &business.address, &business.owner);
    let short = |text: &str| text.chars().take(TEXT_MAX).collect::<String>();
    let more = [Some(case.opt_in_flow.as_str()), toll_free.note.as_deref()];
    let more = more.into_iter().flatten().collect::<Vec<_>>().join(" ");
    let mut pairs = vec![
        ("BusinessName", business.legal_name.clone()),
        ("BusinessWebsite", business.website.clone()),
        ("NotificationEmail", business.contact_email.clone()),
        ("UseCaseCategories", category(&case.category).to_owned()),
        ("UseCaseSummary", short(&case.description)),
        ("ProductionMessageSample", case.samples.first().cloned().unwrap_or_default()),
        ("OptInType", opt_in(toll_free.opt_in).to_owned()),
        ("MessageVolume", volume(business.monthly_volume).to_owned()),
        ("AdditionalInformation", short(&more)),
        ("BusinessStreetAddress", place.street.clone()),
        ("BusinessCity", place.city.clone()),
        ("BusinessStateProvinceRegion", place.region.clone()),
        ("BusinessPostalCode", place.postal_code.clone()),
        ("BusinessCountry", place.country.clone()),
        ("BusinessContactFirstName", owner.first_name.clone()),
        ("BusinessContactLastName", owner.last_name.clone()),
        ("BusinessContactEmail", owner.email.clone()),
        ("BusinessContactPhone", owner.phone.clone()),
        ("BusinessType", business_type(business.kind).to_owned()),
        ("PrivacyPolicyUrl", case.privacy_policy_url.clone()),
        ("TermsAndConditionsUrl", case.terms_url.clone()),
        ("AgeGatedContent", case.is_age_gated.to_string()),
    ];
    if !business.ein.is_empty() {
        pairs.extend([
            ("BusinessRegistrationNumber", business.ein.clone()),
            ("BusinessRegistrationAuthority", "EIN".to_owned()),
            ("BusinessRegistrationCountry", place.country.clone()),
        ]);
    }
    pairs.extend(toll_free.images.iter().map(|url| ("OptInImageUrls", url.clone())));
    let more = [
        ("DoingBusinessAs", &business.dba),
        ("OptInConfirmationMessage", &case.opt_in_message),
        ("HelpMessageSample", &case.help_message),
    ];
    pairs.extend(more.into_iter().filter_map(|(name, words)| words.clone().map(|words| (name, words))));
    pairs
}

/// The least volume on Twilio's list that is not less than what is sent.
fn volume(monthly: u32) -> &'static str {
    VOLUMES.iter().find(|(most, _)| monthly <= *most).map_or(VOLUME_MAX, |(_, word)| word)
}

const fn opt_in(kind: OptIn) -> &'static str {
    match kind {
        OptIn::Verbal => "VERBAL",
        OptIn::WebForm => "WEB_FORM",
        OptIn::PaperForm => "PAPER_FORM",
        OptIn::ViaText => "VIA_TEXT",
        OptIn::MobileQrCode => "MOBILE_QR_CODE",
    }
}

/// Twilio's word here for what the carriers of local numbers call the category.
fn category(word: &str) -> &'static str {
    match word {
        "2fa" => "TWO_FACTOR_AUTHENTICATION",
        "account_notification" => "ACCOUNT_NOTIFICATIONS",
        "delivery_notification" => "DELIVERY_NOTIFICATIONS",
        "fraud_alert" => "FRAUD_ALERT_MESSAGING",
        "higher_education" => "HIGHER_EDUCATION",
        "polling_voting" => "POLLING_AND_VOTING_NON_POLITICAL",
        "public_service_announcement" => "PUBLIC_SERVICE_ANNOUNCEMENT",
        "security_alert" => "SECURITY_ALERT",
        "marketing" | "mixed" => "MARKETING",
        _ => "CUSTOMER_CARE",
    }
}

const fn business_type(kind: BusinessKind) -> &'static str {
    match kind {
        BusinessKind::SoleProprietor | BusinessKind::SoleProprietorship => "SOLE_PROPRIETOR",
        BusinessKind::PublicCorporation => "PUBLIC_PROFIT",
        BusinessKind::NonProfit => "NON_PROFIT",
        BusinessKind::Government => "GOVERNMENT",
        BusinessKind::Partnership
        | BusinessKind::Llc
        | BusinessKind::Llp
        | BusinessKind::PrivateCorporation
        | BusinessKind::Cooperative => "PRIVATE_PROFIT",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn volumes_are_rounded_up_to_twilios_list() {
        let check = |monthly, expected| assert_eq!(volume(monthly), expected, "{monthly}");
        check(1, "10");
        check(10, "10");
        check(11, "100");
        check(5_000, "10,000");
        check(5_000_000, "5,000,000");
        check(5_000_001, "10,000,000+");
    }

    #[test]
    fn reasons_are_read_in_both_forms() {
        let listed = json!({"rejection_reasons": [{"code": 30489, "reason": "No opt-in."}, {"reason": "No website."}]});
        let told: Vec<_> = reasons(&listed).into_iter().map(|reason| (reason.code, reason.detail)).collect();
        let pair = |code: &str, words: &str| (code.to_owned(), words.to_owned());
        assert_eq!(told, [pair("30489", "No opt-in."), pair("rejected", "No website.")]);
        let single = json!({"rejection_reason": "Opt-in is unclear", "error_code": 30498, "rejection_reasons": null});
        assert_eq!(
            (reasons(&single)[0].code.as_str(), reasons(&single)[0].detail.as_str()),
            ("30498", "Opt-in is unclear")
        );
        assert_eq!(reasons(&json!({}))[0].code, "rejected");
    }
}
