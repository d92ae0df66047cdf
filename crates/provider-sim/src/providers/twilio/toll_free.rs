//! The verification of toll-free numbers. <https://www.twilio.com/docs/messaging/api/tollfree-verification-resource>
//!
//! A review is over one step after it began. A summary that begins with `Vague` is rejected and may be mended, one that begins with `Forbidden` is rejected for good.

use serde_json::{Value, json};

use super::a2p::{Kept, bad, is_over, listed, missing, needed};
use crate::{
    fields::Fields,
    provider::{Cx, iso, text},
    request::{Reply, Request},
};

/// Area codes of toll-free numbers.
const CODES: [&str; 7] = ["800", "833", "844", "855", "866", "877", "888"];
const VOLUMES: [&str; 11] = [
    "10",
    "100",
    "1,000",
    "10,000",
    "100,000",
    "250,000",
    "500,000",
    "750,000",
    "1,000,000",
    "5,000,000",
    "10,000,000+",
];
const OPT_INS: [&str; 5] = ["VERBAL", "WEB_FORM", "PAPER_FORM", "VIA_TEXT", "MOBILE_QR_CODE"];
/// Longest summary, in characters.
const SUMMARY_MAX: usize = 500;

/// Answers below `/v1/Tollfree/Verifications`.
pub(super) fn answer(cx: &mut Cx<'_>, request: &Request, path: &[&str]) -> Result<Reply, Reply> {
    match (request.method.as_str(), path) {
        ("GET", []) => Ok(verifications(cx, request)),
        ("POST", []) => new_verification(cx, &request.form()),
        ("GET", [sid]) => Ok(Reply::json(200, &verification(cx, Kept::of(cx).find("verifications", sid)?))),
        ("POST", [sid]) => edit_verification(cx, sid, &request.form()),
        _ => Err(missing()),
    }
}

/// What a verification has to say. <https://www.twilio.com/docs/messaging/api/tollfree-verification-resource>
fn check_verification(fields: &Fields) -> Result<(), Reply> {
    for name in ["BusinessName", "BusinessWebsite", "NotificationEmail", "UseCaseSummary", "ProductionMessageSample"] {
        needed(fields, name)?;
    }
    if fields.get("UseCaseSummary").chars().count() > SUMMARY_MAX {
        return Err(bad(20001, "Invalid use case summary"));
    }
    if !OPT_INS.contains(&needed(fields, "OptInType")?) {
        return Err(bad(20001, "Invalid OptInType"));
    }
    if !VOLUMES.contains(&needed(fields, "MessageVolume")?) {
        return Err(bad(20001, "Invalid MessageVolume"));
    }
    if fields.all("OptInImageUrls").is_empty() || fields.all("UseCaseCategories").is_empty() {
        return Err(bad(20001, "OptInImageUrls and UseCaseCategories are required"));
    }
    let is_person = fields.get("BusinessType") == "SOLE_PROPRIETOR";
    if !is_person
        && ["BusinessRegistrationNumber", "BusinessRegistrationAuthority"]
            .iter()
            .any(|name| fields.get(name).is_empty())
    {
        return Err(bad(20001, "A business registration number and authority are required"));
    }
    Ok(())
}

fn new_verification(cx: &mut Cx<'_>, fields: &Fields) -> Result<Reply, Reply> {
    let mut kept = Kept::of(cx);
    check_verification(fields)?;
    let number = needed(fields, "TollfreePhoneNumberSid")?;
    let digits =
        kept.find("numbers", number).map_err(|_| bad(20001, "Invalid TollfreePhoneNumberSid"))?["phone_number"].clone();
    if !CODES.iter().any(|code| digits.as_str().is_some_and(|digits| digits.starts_with(&format!("+1{code}")))) {
        return Err(bad(20001, "The phone number is not toll-free"));
    }
    let of_number: Vec<Value> = kept
        .all("verifications")
        .iter()
        .filter(|one| one["tollfree_phone_number_sid"] == number)
        .map(|one| verification(cx, one))
        .collect();
    if of_number.iter().any(|one| one["status"] != "TWILIO_REJECTED") {
        return Err(bad(20001, "A verification exists for this phone number already"));
    }
    let one = json!({
        "sid": format!("HH{}", cx.hex(32)), "account_sid": cx.get("account_sid"), "tollfree_phone_number_sid": number, "tollfree_phone_number": digits,
        "external_reference_id": fields.get("ExternalReferenceId"), "business_name": fields.get("BusinessName"), "use_case_summary": fields.get("UseCaseSummary"),
        "opt_in_type": fields.get("OptInType"), "opt_in_image_urls": fields.all("OptInImageUrls"), "message_volume": fields.get("MessageVolume"),
        "status": "PENDING_REVIEW", "submitted": cx.now.as_micros(), "rejection_reason": null, "error_code": null, "rejection_reasons": null,
        "edit_allowed": null, "edit_expiration": null, "date_created": iso(cx.now),
    });
    kept.add("verifications", one.clone());
    kept.keep(cx);
    Ok(Reply::json(201, &one))
}

/// A verification as it is by now: a summary that begins with `Vague` is rejected and may be mended, one that begins with `Forbidden` may not.
fn verification(cx: &Cx<'_>, one: &Value) -> Value {
    let mut shown = one.clone();
    let summary = text(one, "/use_case_summary");
    let (is_vague, is_forbidden) = (summary.starts_with("Vague"), summary.starts_with("Forbidden"));
    let is_over = is_over(cx, &one["submitted"]);
    shown["status"] = json!(match (is_over, is_vague || is_forbidden) {
        (false, _) => "IN_REVIEW",
        (true, false) => "TWILIO_APPROVED",
        (true, true) => "TWILIO_REJECTED",
    });
    if shown["status"] == "TWILIO_REJECTED" {
        shown["rejection_reasons"] = json!([{"code": 30489, "reason": "The use case does not say what is sent"}]);
        shown["edit_allowed"] = json!(is_vague);
    }
    shown
}

/// Those of a number, the newest first.
fn verifications(cx: &Cx<'_>, request: &Request) -> Reply {
    let asked = request.parameters();
    let number = asked.get("TollfreePhoneNumberSid");
    let kept = Kept::of(cx);
    let of_number = kept
        .all("verifications")
        .iter()
        .rev()
        .filter(|one| number.is_empty() || one["tollfree_phone_number_sid"] == number);
    let all: Vec<Value> = of_number.map(|one| verification(cx, one)).collect();
    listed(cx, request, "verifications", &all)
}

fn edit_verification(cx: &mut Cx<'_>, sid: &str, fields: &Fields) -> Result<Reply, Reply> {
    let mut kept = Kept::of(cx);
    if verification(cx, kept.find("verifications", sid)?)["edit_allowed"] != true {
        return Err(bad(20001, "This verification cannot be edited"));
    }
    check_verification(fields)?;
    let changes = [
        ("use_case_summary", json!(fields.get("UseCaseSummary"))),
        ("opt_in_type", json!(fields.get("OptInType"))),
        ("submitted", json!(cx.now.as_micros())),
    ];
    let shown = kept.change("verifications", sid, &changes)?;
    kept.keep(cx);
    Ok(Reply::json(202, &shown))
}
