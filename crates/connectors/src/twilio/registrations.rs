//! A business registered with American carriers through Twilio: customer profile, trust product, brand, messaging service, campaign, number.
//! <https://www.twilio.com/docs/messaging/compliance/a2p-10dlc/onboarding-isv>
//!
//! Everything made carries the registration's name, and each stage looks under it first: a request whose answer was lost may have made what is asked for, and brands and campaigns cost
//! money. A stage also finds what was rejected and mends it, so that fixing is the same code as making.

use model::{Answer, Method};
use serde_json::{Value, json};

use super::{
    Settings,
    asking::{At, MESSAGING_HOST, NOT_THERE, PAGE, TRUST_HOST, named, rows, sid, until_named},
    attaching::{attach, number},
    callbacks::NAME,
    request, sole_proprietor, toll_free,
};
use crate::{
    Cx,
    manage::{
        Business, BusinessKind, Line, Plan, Progress, Reason, References, Registrations, Stage, Stop, Work, each, form,
        walk,
    },
    read::text,
};

/// Twilio's policies, the same in every account. <https://www.twilio.com/docs/trust-hub/trusthub-rest-api/policies>
const PROFILE_POLICY: &str = "RNdfbf3fae0e1107f8aded0e7cead80bf5";
const TRUST_POLICY: &str = "RNb0d4771c2c98518d916a3d4cd70a8f8b";
const PRIMARY_POLICY: &str = "RN6433641899984f951173ef1738c3bdd0";
/// Messages a month up to which a business counts as low-volume, and its brand needs no vetting: 6,000 a day is the carriers' mark, and few send every day.
const LOW_VOLUME: u32 = 15_000;
/// What can be changed of a campaign that failed.
const CHANGEABLE: [&str; 9] = [
    "HasEmbeddedLinks",
    "HasEmbeddedPhone",
    "MessageSamples",
    "MessageFlow",
    "Description",
    "AgeGated",
    "DirectLending",
    "PrivacyPolicyUrl",
    "TermsAndConditionsUrl",
];
pub(super) struct A2p;

impl Registrations for A2p {
    fn advance(&self, cx: &Cx<'_>, work: &Work<'_>, answers: &[Answer]) -> Plan<Progress> {
        let settings = Settings::read(cx.settings)?;
        let at = At { cx, settings: &settings, work };
        let is_person = is_person(work.business);
        walk(NAME, answers, |line| match work.stage {
            Stage::Profile if is_person => sole_proprietor::profile(&at, line),
            Stage::Trust if is_person => sole_proprietor::trust(&at, line),
            Stage::Code => sole_proprietor::code(&at, line),
            Stage::Profile => profile(&at, line),
            Stage::ProfileReview => profile_review(&at, line),
            Stage::Trust => trust(&at, line),
            Stage::Brand => brand(&at, line),
            Stage::BrandReview => brand_review(&at, line),
            Stage::Service => service(&at, line),
            Stage::Campaign => campaign(&at, line),
            Stage::CampaignReview => campaign_review(&at, line),
            Stage::Number => number(&at, line),
            Stage::Attach => attach(&at, line),
            Stage::Verification => toll_free::verification(&at, line),
            Stage::VerificationReview => toll_free::review(&at, line),
            Stage::Approved => Ok(at.done(Stage::Approved, work.refs.clone())),
        })
    }

    fn holder(&self, cx: &Cx<'_>) -> String {
        Settings::read(cx.settings).map(|settings| settings.account_sid).unwrap_or_default()
    }

    /// It leaves its messaging service by itself. <https://www.twilio.com/docs/phone-numbers/api/incomingphonenumber-resource#delete-an-incomingphonenumber-resource>
    fn release(&self, cx: &Cx<'_>, reference: &str, answers: &[Answer]) -> Plan<()> {
        let settings = Settings::read(cx.settings)?;
        walk(NAME, answers, |line| {
            let call = request(cx, &settings, Method::Delete, &format!("/IncomingPhoneNumbers/{reference}.json"));
            line.ask_or(call, |refusal| refusal["code"] == json!(NOT_THERE)).map(drop)
        })
    }

    fn toll_free<'a>(&self, cx: &Cx<'a>, names_sender: bool) -> Option<&'a str> {
        if !names_sender && has_service(cx) {
            return None;
        }
        cx.from.filter(|from| is_toll_free(from))
    }

    /// Messages that chose no sender leave through the messaging service where one is set, whatever the account's own is, and nobody here knows its numbers: it is taken for one of local
    /// numbers.
    fn concerns(&self, cx: &Cx<'_>, names_sender: bool) -> bool {
        if !names_sender && has_service(cx) {
            return true;
        }
        let Some(from) = cx.from else { return true };
        national(from).is_some() && !is_toll_free(from)
    }
}

/// Messages that chose no sender leave through a messaging service, whose numbers nobody here knows.
fn has_service(cx: &Cx<'_>) -> bool {
    cx.settings.get("messaging_service_sid").is_some_and(|sid| !sid.is_empty())
}

/// A North American number without its country.
fn national(from: &str) -> Option<&str> {
    from.strip_prefix("+1").filter(|national| national.len() == 10)
}

fn is_toll_free(from: &str) -> bool {
    national(from).is_some_and(model::is_toll_free)
}

/// Makes or mends somebody the bundles are about.
fn end_user(
    at: &At<'_>,
    line: &mut Line<'_>,
    listed: &[Value],
    kind: &str,
    attributes: &Value,
) -> Result<String, Stop> {
    let name = format!("{} {kind}", at.work.name);
    let attributes = attributes.to_string();
    let call = match named(listed, &name) {
        Some(known) => {
            let sid = text(known, "/sid").unwrap_or_default();
            at.post(TRUST_HOST, &format!("/v1/EndUsers/{sid}"), &[("Attributes", &attributes)])
        }
        None => {
            let pairs = [("FriendlyName", name.as_str()), ("Type", kind), ("Attributes", &attributes)];
            at.post(TRUST_HOST, "/v1/EndUsers", &pairs)
        }
    };
    sid(&line.ask(call)?)
}

/// The account's people and businesses, until this registration's of these kinds are among them.
fn end_users(at: &At<'_>, line: &mut Line<'_>, kinds: &[&str]) -> Result<Vec<Value>, Stop> {
    let names: Vec<String> = kinds.iter().map(|kind| format!("{} {kind}", at.work.name)).collect();
    let first = at.get(TRUST_HOST, &format!("/v1/EndUsers?{PAGE}"));
    rows(line, first, "/results", |rows| names.iter().all(|name| named(rows, name).is_some()))
}

/// The two the customer profile is about.
fn business_and_owner(at: &At<'_>, line: &mut Line<'_>) -> Result<[String; 2], Stop> {
    let b = at.work.business;
    let listed = end_users(at, line, &["customer_profile_business_information", "authorized_representative_1"])?;
    let information = json!({
        "business_name": b.legal_name, "website_url": b.website, "business_regions_of_operation": "USA_AND_CANADA", "business_type": business_type(b.kind),
        "business_registration_identifier": "EIN", "business_registration_number": b.ein, "business_identity": "direct_customer",
        "business_industry": b.industry.to_ascii_uppercase(),
    });
    let business = end_user(at, line, &listed, "customer_profile_business_information", &information)?;
    let owner = json!({
        "first_name": b.owner.first_name, "last_name": b.owner.last_name, "email": b.owner.email, "phone_number": b.owner.phone, "business_title": b.owner.title,
        "job_position": position(&b.owner.position),
    });
    let owner = end_user(at, line, &listed, "authorized_representative_1", &owner)?;
    Ok([business, owner])
}

/// Where the business is, as a document.
pub(super) fn address(at: &At<'_>, line: &mut Line<'_>) -> Result<String, Stop> {
    let place = &at.work.business.address;
    let first = at.own(Method::Get, &format!("/Addresses.json?{PAGE}"));
    let listed = until_named(line, first, "/addresses", at.work.name)?;
    let pairs = [
        ("CustomerName", at.work.business.legal_name.as_str()),
        ("Street", &place.street),
        ("City", &place.city),
        ("Region", &place.region),
        ("PostalCode", &place.postal_code),
        ("FriendlyName", at.work.name),
    ];
    let call = match named(&listed, at.work.name) {
        Some(known) => {
            let sid = text(known, "/sid").unwrap_or_default();
            form(at.own(Method::Post, &format!("/Addresses/{sid}.json")), &pairs)
        }
        None => {
            // The country of an address cannot be changed later.
            let all: Vec<_> = pairs.into_iter().chain([("IsoCountry", place.country.as_str())]).collect();
            form(at.own(Method::Post, "/Addresses.json"), &all)
        }
    };
    let address = sid(&line.ask(call)?)?;
    let first = at.get(TRUST_HOST, &format!("/v1/SupportingDocuments?{PAGE}"));
    let listed = until_named(line, first, "/results", at.work.name)?;
    if let Some(known) = named(&listed, at.work.name) {
        return sid(known);
    }
    let attributes = json!({ "address_sids": address }).to_string();
    let pairs =
        [("FriendlyName", at.work.name), ("Type", "customer_profile_address"), ("Attributes", attributes.as_str())];
    sid(&line.ask(at.post(TRUST_HOST, "/v1/SupportingDocuments", &pairs))?)
}

/// Puts things into a bundle that are not in it.
pub(super) fn assign(at: &At<'_>, line: &mut Line<'_>, bundle: &str, objects: &[&str]) -> Result<(), Stop> {
    let path = format!("/v1/{bundle}/EntityAssignments");
    let is_in = |rows: &[Value], object: &str| rows.iter().any(|one| text(one, "/object_sid") == Some(object));
    let first = at.get(TRUST_HOST, &format!("{path}?{PAGE}"));
    let there = rows(line, first, "/results", |rows| objects.iter().all(|object| is_in(rows, object)))?;
    for object in objects {
        if !is_in(&there, object) {
            line.ask(at.post(TRUST_HOST, &path, &[("ObjectSid", object)]))?;
        }
    }
    Ok(())
}

/// Has a bundle evaluated; what is wrong with it, in Twilio's words.
pub(super) fn evaluate(at: &At<'_>, line: &mut Line<'_>, bundle: &str, policy: &str) -> Result<Vec<Reason>, Stop> {
    let path = format!("/v1/{bundle}/Evaluations");
    let found = line.ask(at.post(TRUST_HOST, &path, &[("PolicySid", policy)]))?;
    if text(&found, "/status") == Some("compliant") {
        return Ok(Vec::new());
    }
    let mut reasons = Vec::new();
    for result in each(&found, "/results").filter(|result| result["passed"] != json!(true)) {
        let mut invalid = each(result, "/invalid").peekable();
        if invalid.peek().is_none() {
            reasons.push(reason(result));
        }
        reasons.extend(invalid.map(reason));
    }
    if reasons.is_empty() {
        reasons.push(Reason {
            code: "noncompliant".to_owned(),
            detail: "Twilio found the bundle incomplete and did not say why.".to_owned(),
            pointers: Vec::new(),
        });
    }
    Ok(reasons)
}

/// One reason, whatever Twilio calls its parts here.
fn reason(one: &Value) -> Reason {
    let words = ["/failure_reason", "/description", "/message", "/error_message"];
    let detail = words.iter().find_map(|pointer| text(one, pointer)).unwrap_or("Twilio gave no reason.");
    let code = ["/error_code", "/code"].iter().find_map(|pointer| match one.pointer(pointer) {
        Some(Value::Number(code)) => Some(code.to_string()),
        Some(Value::String(code)) if !code.is_empty() => Some(code.clone()),
        _ => None,
    });
    let field = text(one, "/object_field");
    let fields = field.into_iter().chain(each(one, "/fields").filter_map(Value::as_str));
    Reason {
        code: code.unwrap_or_else(|| "rejected".to_owned()),
        detail: detail.to_owned(),
        pointers: fields.filter_map(pointer).map(str::to_owned).collect(),
    }
}

/// The field of the business profile that one of Twilio's is made of.
fn pointer(field: &str) -> Option<&'static str> {
    Some(match field.to_ascii_lowercase().as_str() {
        "business_name" | "customer_name" | "customername" | "legal_name" => "/legal_name",
        "website_url" | "website" => "/website",
        "business_type" | "company_type" => "/business_type",
        "business_registration_number" | "tax_number" | "ein" => "/ein",
        "business_industry" | "vertical" => "/industry",
        "address_sids" | "street" | "address" => "/address",
        "first_name" => "/owner/first_name",
        "last_name" => "/owner/last_name",
        "email" => "/owner/email",
        "phone_number" => "/owner/phone",
        "business_title" => "/owner/title",
        "job_position" => "/owner/position",
        "stock_exchange" => "/stock_exchange",
        "stock_ticker" | "stock_symbol" => "/stock_ticker",
        "description" | "campaign_description" => "/use_case/description",
        "message_flow" => "/use_case/opt_in_flow",
        "message_samples" => "/use_case/samples",
        "us_app_to_person_usecase" | "use_case" => "/use_case/category",
        "has_embedded_links" => "/use_case/has_links",
        "has_embedded_phone" => "/use_case/has_phone_numbers",
        "privacy_policy_url" => "/use_case/privacy_policy_url",
        "terms_and_conditions_url" => "/use_case/terms_url",
        "opt_in_message" => "/use_case/opt_in_message",
        "opt_out_message" => "/use_case/opt_out_message",
        "help_message" => "/use_case/help_message",
        _ => return None,
    })
}

fn reasons(of: &Value) -> Vec<Reason> {
    let mut all: Vec<Reason> = each(of, "/errors").map(reason).collect();
    if all.is_empty() {
        let words = text(of, "/failure_reason").unwrap_or("Twilio gave no reason.");
        all.push(Reason { code: "rejected".to_owned(), detail: words.to_owned(), pointers: Vec::new() });
    }
    all
}

fn profile(at: &At<'_>, line: &mut Line<'_>) -> Result<Progress, Stop> {
    let name = at.work.name;
    if let Some(found) = by_hand(at, line)? {
        return Ok(found);
    }
    let first = at.get(TRUST_HOST, &format!("/v1/CustomerProfiles?PolicySid={PROFILE_POLICY}&{PAGE}"));
    let listed = until_named(line, first, "/results", name)?;
    let known = named(&listed, name);
    let mut refs = at.work.refs.clone();
    let profile = match known {
        Some(known) => sid(known)?,
        None => {
            let pairs = [
                ("FriendlyName", name),
                ("Email", at.work.business.contact_email.as_str()),
                ("PolicySid", PROFILE_POLICY),
            ];
            sid(&line.ask(at.post(TRUST_HOST, "/v1/CustomerProfiles", &pairs))?)?
        }
    };
    refs.profile = Some(profile.clone());
    if known.is_some_and(|known| is_under_way(text(known, "/status"))) {
        // It was submitted, and the answer was lost.
        return Ok(at.done(Stage::ProfileReview, refs));
    }
    let primary = primary(at, line)?;
    let [business, owner] = business_and_owner(at, line)?;
    let document = address(at, line)?;
    let bundle = format!("CustomerProfiles/{profile}");
    assign(at, line, &bundle, &[&business, &owner, &document, &primary])?;
    let wrong = evaluate(at, line, &bundle, PROFILE_POLICY)?;
    if !wrong.is_empty() {
        return Ok(at.rejected(refs, wrong));
    }
    line.ask(at.post(TRUST_HOST, &format!("/v1/{bundle}"), &[("Status", "pending-review")]))?;
    Ok(at.done(Stage::ProfileReview, refs))
}

/// The account's own profile, made by hand, which every other one hangs on.
pub(super) fn primary(at: &At<'_>, line: &mut Line<'_>) -> Result<String, Stop> {
    let primaries = format!("/v1/CustomerProfiles?PolicySid={PRIMARY_POLICY}&Status=twilio-approved&PageSize=20");
    let primaries = line.ask(at.get(TRUST_HOST, &primaries))?;
    let primary = each(&primaries, "/results").find_map(|one| text(one, "/sid"));
    primary.map(str::to_owned).ok_or_else(|| {
        let detail = "The Twilio account has no approved primary customer profile, which only its owner can make, in Twilio's console under Trust Hub.";
        let failure = model::Failure::new(model::FailureKind::Account, "no_primary_profile", detail);
        Stop::Refused(failure)
    })
}

pub(super) fn is_under_way(status: Option<&str>) -> bool {
    matches!(status, Some("pending-review" | "in-review" | "twilio-approved"))
}

fn profile_review(at: &At<'_>, line: &mut Line<'_>) -> Result<Progress, Stop> {
    let profile = at.made(&at.work.refs.profile, "customer profile")?;
    let found = line.ask(at.get(TRUST_HOST, &format!("/v1/CustomerProfiles/{profile}")))?;
    Ok(match text(&found, "/status") {
        Some("twilio-approved") => at.done(Stage::Trust, at.work.refs.clone()),
        Some("twilio-rejected") => at.rejected(at.work.refs.clone(), reasons(&found)),
        _ => at.waits(),
    })
}

fn trust(at: &At<'_>, line: &mut Line<'_>) -> Result<Progress, Stop> {
    let (name, business) = (at.work.name, at.work.business);
    let profile = at.made(&at.work.refs.profile, "customer profile")?;
    let first = at.get(TRUST_HOST, &format!("/v1/TrustProducts?PolicySid={TRUST_POLICY}&{PAGE}"));
    let listed = until_named(line, first, "/results", name)?;
    let known = named(&listed, name);
    let mut refs = at.work.refs.clone();
    let trust = match known {
        Some(known) => sid(known)?,
        None => {
            let pairs =
                [("FriendlyName", name), ("Email", business.contact_email.as_str()), ("PolicySid", TRUST_POLICY)];
            sid(&line.ask(at.post(TRUST_HOST, "/v1/TrustProducts", &pairs))?)?
        }
    };
    refs.trust = Some(trust.clone());
    if known.is_some_and(|known| is_under_way(text(known, "/status"))) {
        return Ok(at.done(Stage::Brand, refs));
    }
    let users = end_users(at, line, &["us_a2p_messaging_profile_information"])?;
    let mut attributes = json!({ "company_type": company_type(business.kind) });
    if let Some((exchange, ticker)) = &business.listed {
        attributes["stock_exchange"] = json!(exchange);
        attributes["stock_ticker"] = json!(ticker);
        attributes["brand_contact_email"] = json!(business.contact_email);
    }
    let information = end_user(at, line, &users, "us_a2p_messaging_profile_information", &attributes)?;
    let bundle = format!("TrustProducts/{trust}");
    assign(at, line, &bundle, &[&information, profile])?;
    let wrong = evaluate(at, line, &bundle, TRUST_POLICY)?;
    if !wrong.is_empty() {
        return Ok(at.rejected(refs, wrong));
    }
    line.ask(at.post(TRUST_HOST, &format!("/v1/{bundle}"), &[("Status", "pending-review")]))?;
    // The brand need not wait for the review.
    Ok(at.done(Stage::Brand, refs))
}

fn brand(at: &At<'_>, line: &mut Line<'_>) -> Result<Progress, Stop> {
    let mut refs = at.work.refs.clone();
    let profile = at.made(&at.work.refs.profile, "customer profile")?;
    let trust = at.made(&at.work.refs.trust, "trust product")?;
    let is_ours = |one: &Value| text(one, "/customer_profile_bundle_sid") == Some(profile);
    let first = at.get(MESSAGING_HOST, &format!("/v1/a2p/BrandRegistrations?{PAGE}"));
    let listed = rows(line, first, "/data", |rows| rows.iter().any(is_ours))?;
    let Some(known) = listed.iter().find(|one| is_ours(one)) else {
        let quick = if at.work.business.monthly_volume <= LOW_VOLUME { "true" } else { "false" };
        let pairs = [
            ("CustomerProfileBundleSid", profile),
            ("A2PProfileBundleSid", trust),
            ("BrandType", "STANDARD"),
            ("SkipAutomaticSecVet", quick),
        ];
        let pairs = if is_person(at.work.business) { sole_proprietor::brand(profile, trust) } else { pairs.to_vec() };
        refs.brand = Some(sid(&line.ask(at.post(MESSAGING_HOST, "/v1/a2p/BrandRegistrations", &pairs))?)?);
        return Ok(at.done(Stage::BrandReview, refs));
    };
    let brand = sid(known)?;
    if text(known, "/status") == Some("FAILED") {
        if is_person(at.work.business) {
            sole_proprietor::mend(at, line)?;
        } else {
            business_and_owner(at, line)?;
        }
        line.ask(at.post(MESSAGING_HOST, &format!("/v1/a2p/BrandRegistrations/{brand}"), &[]))?;
    }
    refs.brand = Some(brand);
    Ok(at.done(Stage::BrandReview, refs))
}

fn brand_review(at: &At<'_>, line: &mut Line<'_>) -> Result<Progress, Stop> {
    let brand = at.made(&at.work.refs.brand, "brand")?;
    let found = line.ask(at.get(MESSAGING_HOST, &format!("/v1/a2p/BrandRegistrations/{brand}")))?;
    Ok(match text(&found, "/status") {
        Some("APPROVED") => at.done(Stage::Service, at.work.refs.clone()),
        Some("FAILED" | "SUSPENDED" | "DELETION_PENDING" | "DELETION_FAILED") => {
            at.rejected(at.work.refs.clone(), reasons(&found))
        }
        _ if is_person(at.work.business) => sole_proprietor::asks(at),
        _ => at.waits(),
    })
}

fn is_person(business: &Business) -> bool {
    business.kind == BusinessKind::SoleProprietor
}

fn service(at: &At<'_>, line: &mut Line<'_>) -> Result<Progress, Stop> {
    let mut refs = at.work.refs.clone();
    if let Some(own) = &at.settings.messaging_service_sid {
        refs.service = Some(own.clone());
        return Ok(at.done(Stage::Campaign, refs));
    }
    let first = at.get(MESSAGING_HOST, &format!("/v1/Services?{PAGE}"));
    let listed = until_named(line, first, "/services", at.work.name)?;
    let service = match named(&listed, at.work.name) {
        Some(known) => sid(known)?,
        None => {
            let pairs = [
                ("FriendlyName", at.work.name),
                ("InboundRequestUrl", at.cx.callback_url),
                ("InboundMethod", "POST"),
                ("UseInboundWebhookOnNumber", "false"),
                ("Usecase", service_use_case(&at.work.business.use_case.category)),
            ];
            sid(&line.ask(at.post(MESSAGING_HOST, "/v1/Services", &pairs))?)?
        }
    };
    refs.service = Some(service);
    Ok(at.done(Stage::Campaign, refs))
}

fn campaign(at: &At<'_>, line: &mut Line<'_>) -> Result<Progress, Stop> {
    let mut refs = at.work.refs.clone();
    let brand = at.made(&at.work.refs.brand, "brand")?;
    let service = at.made(&at.work.refs.service, "messaging service")?;
    let path = format!("/v1/Services/{service}/Compliance/Usa2p");
    let is_ours = |one: &Value| text(one, "/brand_registration_sid") == Some(brand);
    let listed = campaigns(at, line, service, is_ours)?;
    let known = listed.iter().find(|one| is_ours(one));
    let pairs = campaign_pairs(at.work.business);
    let pairs: Vec<(&str, &str)> = pairs.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let campaign = match known {
        None => {
            let code = match is_person(at.work.business) {
                true => sole_proprietor::USE_CASE.to_owned(),
                false => at.work.business.use_case.category.to_ascii_uppercase(),
            };
            let more = [("BrandRegistrationSid", brand), ("UsAppToPersonUsecase", code.as_str())];
            let all: Vec<_> = more.into_iter().chain(pairs).collect();
            sid(&line.ask(at.post(MESSAGING_HOST, &path, &all))?)?
        }
        Some(known) => {
            let campaign = sid(known)?;
            if text(known, "/campaign_status") == Some("FAILED") {
                let pairs: Vec<_> = pairs.into_iter().filter(|(name, _)| CHANGEABLE.contains(name)).collect();
                line.ask(at.post(MESSAGING_HOST, &format!("{path}/{campaign}"), &pairs))?;
            }
            campaign
        }
    };
    refs.campaign = Some(campaign);
    Ok(at.done(Stage::CampaignReview, refs))
}

/// The campaigns of a service, until the one that is looked for is among them.
fn campaigns(
    at: &At<'_>,
    line: &mut Line<'_>,
    service: &str,
    is_it: impl Fn(&Value) -> bool,
) -> Result<Vec<Value>, Stop> {
    let first = at.get(MESSAGING_HOST, &format!("/v1/Services/{service}/Compliance/Usa2p?{PAGE}"));
    rows(line, first, "/compliance", |rows| rows.iter().any(&is_it))
}

/// A business that somebody registered by hand, in Twilio's console: the service the account names has a campaign then. It is taken over, and nothing is made or paid for again.
fn by_hand(at: &At<'_>, line: &mut Line<'_>) -> Result<Option<Progress>, Stop> {
    let Some(service) = at.settings.messaging_service_sid.as_deref().filter(|sid| !sid.is_empty()) else {
        return Ok(None);
    };
    let is_usable = |one: &Value| text(one, "/brand_registration_sid").is_some() && text(one, "/sid").is_some();
    let listed = campaigns(at, line, service, is_usable)?;
    let Some(known) = listed.iter().find(|one| is_usable(one)) else { return Ok(None) };
    let refs = References {
        brand: text(known, "/brand_registration_sid").map(str::to_owned),
        service: Some(service.to_owned()),
        campaign: Some(sid(known)?),
        ..at.work.refs.clone()
    };
    // One that failed is mended where campaigns are.
    let stage = match text(known, "/campaign_status") {
        Some("FAILED") => Stage::Campaign,
        _ => Stage::CampaignReview,
    };
    Ok(Some(at.done(stage, refs)))
}

/// What a campaign says, in a form's fields.
fn campaign_pairs(business: &Business) -> Vec<(&'static str, String)> {
    let case = &business.use_case;
    let flag = |is: bool| is.to_string();
    let mut pairs = vec![
        ("Description", case.description.clone()),
        ("MessageFlow", case.opt_in_flow.clone()),
        ("HasEmbeddedLinks", flag(case.has_links)),
        ("HasEmbeddedPhone", flag(case.has_phone_numbers)),
        ("AgeGated", flag(case.is_age_gated)),
        ("DirectLending", flag(case.is_lending)),
        ("SubscriberOptIn", flag(true)),
        ("PrivacyPolicyUrl", case.privacy_policy_url.clone()),
        ("TermsAndConditionsUrl", case.terms_url.clone()),
    ];
    pairs.extend(case.samples.iter().map(|sample| ("MessageSamples", sample.clone())));
    let messages = [
        ("OptInMessage", &case.opt_in_message),
        ("OptOutMessage", &case.opt_out_message),
        ("HelpMessage", &case.help_message),
    ];
    pairs.extend(messages.into_iter().filter_map(|(name, words)| words.clone().map(|words| (name, words))));
    pairs
}

fn campaign_review(at: &At<'_>, line: &mut Line<'_>) -> Result<Progress, Stop> {
    let service = at.made(&at.work.refs.service, "messaging service")?;
    let campaign = at.made(&at.work.refs.campaign, "campaign")?;
    let path = format!("/v1/Services/{service}/Compliance/Usa2p/{campaign}");
    let found = line.ask(at.get(MESSAGING_HOST, &path))?;
    Ok(match text(&found, "/campaign_status") {
        Some("VERIFIED") => at.done(Stage::Number, at.work.refs.clone()),
        Some("FAILED" | "SUSPENDED") => at.rejected(at.work.refs.clone(), reasons(&found)),
        _ => at.waits(),
    })
}

/// Twilio's word for the form of a business.
const fn business_type(kind: BusinessKind) -> &'static str {
    match kind {
        BusinessKind::SoleProprietor | BusinessKind::SoleProprietorship => "Sole Proprietorship",
        BusinessKind::Partnership => "Partnership",
        BusinessKind::Llc => "Limited Liability Corporation",
        BusinessKind::Llp => "Limited Liability Partnership",
        BusinessKind::PrivateCorporation | BusinessKind::PublicCorporation => "Corporation",
        BusinessKind::Cooperative => "Co-operative",
        BusinessKind::NonProfit | BusinessKind::Government => "Non-profit Corporation",
    }
}

const fn company_type(kind: BusinessKind) -> &'static str {
    match kind {
        BusinessKind::PublicCorporation => "public",
        BusinessKind::NonProfit => "non_profit",
        BusinessKind::Government => "government",
        _ => "private",
    }
}

fn position(word: &str) -> &'static str {
    match word {
        "gm" => "GM",
        "vp" => "VP",
        "ceo" => "CEO",
        "cfo" => "CFO",
        "general_counsel" => "General Counsel",
        _ => "Director",
    }
}

/// What a messaging service says of itself, from the campaign's use case.
fn service_use_case(category: &str) -> &'static str {
    match category {
        "marketing" => "marketing",
        "2fa" => "verification",
        "polling_voting" => "poll",
        "account_notification" | "delivery_notification" | "fraud_alert" | "security_alert" => "notifications",
        _ => "undeclared",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn concerns(from: Option<&str>, service: Option<&str>, names_sender: bool) -> bool {
        let mut settings = model::Values::default();
        if let Some(sid) = service {
            settings.set("messaging_service_sid", sid);
        }
        let cx =
            Cx { settings: &settings, from, base_url: None, callback_url: "", now: model::Timestamp::EPOCH, nonce: 0 };
        A2p.concerns(&cx, names_sender)
    }

    #[test]
    fn local_numbers_and_services_are_concerned_and_nothing_else() {
        let service = Some("MG00000000000000000000000000000002");
        for (from, service, expected) in [
            (Some("+14155550100"), None, true),
            (None, None, true),
            (None, service, true),
            (Some("+18005550100"), service, true),
            (Some("+447700900000"), service, true),
            (Some("+18005550100"), Some(""), false),
            (Some("+18005550100"), None, false),
            (Some("+18335550100"), None, false),
            (Some("24365"), None, false),
            (Some("ACME"), None, false),
            (Some("+447700900000"), None, false),
            (Some("whatsapp:+14155550100"), None, false),
        ] {
            assert_eq!(concerns(from, service, false), expected, "{from:?} {service:?}");
        }
        for (from, expected) in
            [("+18005550100", true), ("+14155550100", false), ("+448005550100", false), ("ACME", false)]
        {
            assert_eq!(is_toll_free(from), expected, "{from}");
        }
        assert!(!concerns(Some("+18005550100"), service, true), "it leaves as the number that was chosen");
        assert!(concerns(Some("+14155550100"), service, true));
    }

    #[test]
    fn reasons_name_the_fields_they_are_about() {
        let failed =
            json!({"errors": [{"error_code": 30886, "fields": ["MESSAGE_FLOW"], "description": "No consent."}]});
        assert_eq!(
            reasons(&failed),
            [Reason {
                code: "30886".into(),
                detail: "No consent.".into(),
                pointers: vec!["/use_case/opt_in_flow".into()]
            }]
        );
        let bare = json!({"failure_reason": "EIN unknown", "errors": []});
        assert_eq!(reasons(&bare)[0].detail, "EIN unknown");
    }
}
