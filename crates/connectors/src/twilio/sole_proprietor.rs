//! One person without an EIN registered with American carriers through Twilio: what is different from a business.
//! <https://www.twilio.com/docs/messaging/compliance/a2p-10dlc/onboarding-isv-api-sole-prop-new>
//!
//! Instead of the EIN a mobile number says who it is: Twilio writes to it once the brand is registered, and the brand is approved when somebody answers within a day. There is one use case,
//! and one number.

use serde_json::{Value, json};

use super::{
    asking::{At, MESSAGING_HOST, TRUST_HOST, sid},
    registrations::{address, assign, evaluate, is_under_way, primary},
};
use crate::{
    manage::{Business, Line, Progress, Stage, StageResult, Stop, each},
    read::text,
};

/// Twilio's policies, the same in every account.
const PROFILE_POLICY: &str = "RN806dd6cd175f314e1f96a9727ee271f4";
const TRUST_POLICY: &str = "RN670d5d2e282a6130ae063b234b6019c8";
/// The only thing a sole proprietor's campaign can be.
pub(super) const USE_CASE: &str = "SOLE_PROPRIETOR";
/// Rows of a list read at once: what we look for is among the newest.
const PAGE: &str = "PageSize=200";

pub(super) fn profile(at: &At<'_>, line: &mut Line<'_>) -> Result<Progress, Stop> {
    let mut refs = at.work.refs.clone();
    let (profile, is_submitted) = bundle(at, line, "CustomerProfiles", PROFILE_POLICY)?;
    refs.profile = Some(profile.clone());
    if is_submitted {
        // The answer to submitting it was lost.
        return Ok(at.done(Stage::ProfileReview, refs));
    }
    let primary = primary(at, line)?;
    let owner = owner(at, line)?;
    let document = address(at, line)?;
    let path = format!("CustomerProfiles/{profile}");
    assign(at, line, &path, &[&owner, &document, &primary])?;
    submit(at, line, (&path, PROFILE_POLICY), Stage::ProfileReview, refs)
}

pub(super) fn trust(at: &At<'_>, line: &mut Line<'_>) -> Result<Progress, Stop> {
    let profile = at.made(&at.work.refs.profile, "customer profile")?;
    let mut refs = at.work.refs.clone();
    let (trust, is_submitted) = bundle(at, line, "TrustProducts", TRUST_POLICY)?;
    refs.trust = Some(trust.clone());
    if is_submitted {
        return Ok(at.done(Stage::Brand, refs));
    }
    let person = person(at, line)?;
    let path = format!("TrustProducts/{trust}");
    assign(at, line, &path, &[&person, profile])?;
    submit(at, line, (&path, TRUST_POLICY), Stage::Brand, refs)
}

/// What the brand is registered with.
pub(super) fn brand<'a>(profile: &'a str, trust: &'a str) -> Vec<(&'static str, &'a str)> {
    vec![("CustomerProfileBundleSid", profile), ("A2PProfileBundleSid", trust), ("BrandType", "SOLE_PROPRIETOR")]
}

/// Writes down anew who it is, for a brand that failed.
pub(super) fn mend(at: &At<'_>, line: &mut Line<'_>) -> Result<(), Stop> {
    owner(at, line)?;
    person(at, line).map(drop)
}

/// While the brand waits for somebody to answer the text message.
pub(super) fn asks(at: &At<'_>) -> Progress {
    let words = format!(
        "The carriers' registry wrote a text message to {}: it has to be answered with YES within 24 hours. Submit the registration again for another one.",
        at.work.business.owner.phone
    );
    Progress { result: StageResult::Asks(words), ..at.waits() }
}

/// Has the text message sent once more.
pub(super) fn code(at: &At<'_>, line: &mut Line<'_>) -> Result<Progress, Stop> {
    let brand = at.made(&at.work.refs.brand, "brand")?;
    let found = line.ask(at.get(MESSAGING_HOST, &format!("/v1/a2p/BrandRegistrations/{brand}")))?;
    // Somebody may have answered meanwhile.
    if matches!(text(&found, "/status"), Some("PENDING" | "IN_REVIEW")) {
        line.ask(at.post(MESSAGING_HOST, &format!("/v1/a2p/BrandRegistrations/{brand}/SmsOtp"), &[]))?;
    }
    Ok(at.done(Stage::BrandReview, at.work.refs.clone()))
}

/// The bundle under the registration's name, made if it is not there, and whether it was submitted.
fn bundle(at: &At<'_>, line: &mut Line<'_>, kind: &str, policy: &str) -> Result<(String, bool), Stop> {
    let name = at.work.name;
    let listed = line.ask(at.get(TRUST_HOST, &format!("/v1/{kind}?PolicySid={policy}&{PAGE}")))?;
    if let Some(known) = each(&listed, "/results").find(|one| text(one, "/friendly_name") == Some(name)) {
        return Ok((sid(known)?, is_under_way(text(known, "/status"))));
    }
    let email = at.work.business.contact_email.as_str();
    let pairs = [("FriendlyName", name), ("Email", email), ("PolicySid", policy)];
    Ok((sid(&line.ask(at.post(TRUST_HOST, &format!("/v1/{kind}"), &pairs))?)?, false))
}

/// Has a bundle evaluated, and submits it.
fn submit(
    at: &At<'_>,
    line: &mut Line<'_>,
    (path, policy): (&str, &str),
    next: Stage,
    refs: crate::manage::References,
) -> Result<Progress, Stop> {
    let wrong = evaluate(at, line, path, policy)?;
    if !wrong.is_empty() {
        return Ok(at.rejected(refs, wrong));
    }
    line.ask(at.post(TRUST_HOST, &format!("/v1/{path}"), &[("Status", "pending-review")]))?;
    Ok(at.done(next, refs))
}

/// Whom the profile is about.
fn owner(at: &At<'_>, line: &mut Line<'_>) -> Result<String, Stop> {
    let owner = &at.work.business.owner;
    let attributes = json!({
        "first_name": owner.first_name, "last_name": owner.last_name, "email": owner.email, "phone_number": owner.phone,
    });
    written(at, line, "starter_customer_profile_information", &attributes)
}

/// What carriers want to know of them.
fn person(at: &At<'_>, line: &mut Line<'_>) -> Result<String, Stop> {
    let b = at.work.business;
    let attributes = json!({
        "brand_name": b.dba.as_ref().unwrap_or(&b.legal_name), "vertical": vertical(b), "mobile_phone_number": b.owner.phone,
    });
    written(at, line, "sole_proprietor_information", &attributes)
}

/// Makes or mends somebody a bundle is about.
fn written(at: &At<'_>, line: &mut Line<'_>, kind: &str, attributes: &Value) -> Result<String, Stop> {
    let (name, attributes) = (format!("{} {kind}", at.work.name), attributes.to_string());
    let listed = line.ask(at.get(TRUST_HOST, &format!("/v1/EndUsers?{PAGE}")))?;
    let known = each(&listed, "/results").find(|one| text(one, "/friendly_name") == Some(name.as_str()));
    let call = match known {
        Some(known) => {
            let path = format!("/v1/EndUsers/{}", sid(known)?);
            at.post(TRUST_HOST, &path, &[("Attributes", &attributes)])
        }
        None => {
            let pairs = [("FriendlyName", name.as_str()), ("Type", kind), ("Attributes", &attributes)];
            at.post(TRUST_HOST, "/v1/EndUsers", &pairs)
        }
    };
    sid(&line.ask(call)?)
}

/// The registry's word for a line of work, of which it knows fewer than Twilio.
fn vertical(business: &Business) -> &'static str {
    match business.industry.as_str() {
        "agriculture" => "AGRICULTURE",
        "automotive" | "transportation" => "TRANSPORTATION",
        "banking" | "financial" | "fintech" => "FINANCIAL",
        "consumer" | "electronics" | "fast_moving_consumer_goods" | "food_and_beverage" | "jewelry" | "retail" => {
            "RETAIL"
        }
        "education" => "EDUCATION",
        "energy" | "oil_and_gas" => "ENERGY",
        "government" => "GOVERNMENT",
        "healthcare" => "HEALTHCARE",
        "hospitality" | "travel" => "HOSPITALITY",
        "insurance" => "INSURANCE",
        "legal" => "LEGAL",
        "manufacturing" | "raw_materials" => "MANUFACTURING",
        "media" => "ENTERTAINMENT",
        "not_for_profit" | "religion" => "NGO",
        "online" | "technology" => "TECHNOLOGY",
        "real_estate" => "REAL_ESTATE",
        "telecommunications" => "COMMUNICATION",
        _ => "PROFESSIONAL",
    }
}
