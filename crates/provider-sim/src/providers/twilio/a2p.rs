//! What a Twilio account has besides messages for registering a business with American carriers: Trust Hub's bundles, brands, messaging services, campaigns and bought numbers.
//! <https://www.twilio.com/docs/trust-hub/trusthub-rest-api> <https://www.twilio.com/docs/messaging/api/brand-registration-resource>
//! <https://www.twilio.com/docs/messaging/api/usapptoperson-resource> <https://www.twilio.com/docs/phone-numbers/api/availablephonenumberlocal-resource>
//!
//! A review is over one step after it began. As with addresses, names tell how it ends: a business whose name begins with `Rejected` is rejected in its profile's review, one with
//! `Brandless` in its brand's, and a campaign whose description begins with `Vague` in its own.

use serde_json::{Value, json};

use super::{error, toll_free};
use crate::{
    fields::Fields,
    provider::{Cx, iso, text},
    request::{Reply, Request},
};

/// The setting everything here is kept in.
pub(super) const KEPT: &str = "a2p";
const PROFILE_POLICY: &str = "RNdfbf3fae0e1107f8aded0e7cead80bf5";
const TRUST_POLICY: &str = "RNb0d4771c2c98518d916a3d4cd70a8f8b";
/// The same for one person without an EIN.
const STARTER_POLICY: &str = "RN806dd6cd175f314e1f96a9727ee271f4";
const SOLE_POLICY: &str = "RN670d5d2e282a6130ae063b234b6019c8";
const PRIMARY_POLICY: &str = "RN6433641899984f951173ef1738c3bdd0";
/// The account's own profile, which its owner made by hand.
const PRIMARY: &str = "BU000000000000000000000000000000aa";
/// Area codes with no number left to buy.
const SOLD_OUT: &str = "212";
/// Rows on a page unless more are asked for, and at most.
const PAGE_USUAL: usize = 50;
const PAGE_MAX: usize = 1_000;

pub(super) fn missing() -> Reply {
    error(404, 20404, "The requested resource was not found")
}

pub(super) fn bad(code: u32, words: &str) -> Reply {
    error(400, code, words)
}

/// Everything kept, by kind.
pub(super) struct Kept(Value);

impl Kept {
    pub(super) fn of(cx: &Cx<'_>) -> Self {
        let kept = cx.kept(KEPT);
        Self(if kept.is_object() { kept } else { json!({}) })
    }

    pub(super) fn all(&self, kind: &str) -> &[Value] {
        self.0[kind].as_array().map_or(&[], Vec::as_slice)
    }

    pub(super) fn find(&self, kind: &str, sid: &str) -> Result<&Value, Reply> {
        self.all(kind).iter().find(|one| one["sid"] == sid).ok_or_else(missing)
    }

    pub(super) fn change(&mut self, kind: &str, sid: &str, changes: &[(&str, Value)]) -> Result<Value, Reply> {
        let all = self.0[kind].as_array_mut().ok_or_else(missing)?;
        let one = all.iter_mut().find(|one| one["sid"] == sid).ok_or_else(missing)?;
        for (name, value) in changes {
            one[*name] = value.clone();
        }
        Ok(one.clone())
    }

    pub(super) fn add(&mut self, kind: &str, one: Value) {
        match self.0[kind].as_array_mut() {
            Some(all) => all.push(one),
            None => self.0[kind] = json!([one]),
        }
    }

    pub(super) fn keep(self, cx: &mut Cx<'_>) {
        cx.keep(KEPT, &self.0);
    }
}

/// A page of a list under its name, with where the list goes on. <https://www.twilio.com/docs/usage/twilios-response#pagination>
pub(super) fn listed(cx: &Cx<'_>, request: &Request, name: &str, all: &[Value]) -> Reply {
    let asked = request.parameters();
    let number = |name: &str, otherwise: usize| asked.get(name).parse().unwrap_or(otherwise);
    let most = cx.get("page_max").parse().unwrap_or(PAGE_MAX).max(1);
    let (page, size) = (number("Page", 0), number("PageSize", PAGE_USUAL).clamp(1, most));
    let shown: Vec<&Value> = all.iter().skip(page.saturating_mul(size)).take(size).collect();
    let is_last = page.saturating_add(1).saturating_mul(size) >= all.len();
    let kept = request.query.split('&').filter(|pair| !pair.starts_with("Page=") && !pair.starts_with("PageToken="));
    let kept: Vec<&str> = kept.filter(|pair| !pair.is_empty()).collect();
    let next = (!is_last).then(|| format!("{}?{}&Page={}&PageToken=PT{page}", request.path, kept.join("&"), page + 1));
    let body = match request.path.ends_with(".json") {
        true => json!({name: shown, "page": page, "page_size": size, "next_page_uri": next}),
        false => {
            let host = request.header("host");
            let next = next.map(|next| format!("http://{host}{next}"));
            json!({name: shown, "meta": {"page": page, "page_size": size, "next_page_url": next, "key": name}})
        }
    };
    Reply::json(200, &body)
}

/// True once a review that began at `since` is over.
pub(super) fn is_over(cx: &Cx<'_>, since: &Value) -> bool {
    let step_us = i64::try_from(cx.step_ms).unwrap_or(i64::MAX).saturating_mul(1_000);
    since.as_i64().is_some_and(|since| cx.now.as_micros() >= since.saturating_add(step_us))
}

pub(super) fn needed<'a>(fields: &'a Fields, name: &str) -> Result<&'a str, Reply> {
    match fields.get(name) {
        "" => Err(bad(20001, &format!("Missing required parameter {name}"))),
        value => Ok(value),
    }
}

/// Answers below `/v1`: Trust Hub and messaging.
pub(super) fn answer(cx: &mut Cx<'_>, request: &Request, path: &[&str]) -> Result<Reply, Reply> {
    let fields = request.form();
    match (request.method.as_str(), path) {
        ("GET", ["CustomerProfiles"]) => Ok(bundles(cx, "profiles", request)),
        ("GET", ["TrustProducts"]) => Ok(bundles(cx, "products", request)),
        ("POST", ["CustomerProfiles"]) => new_bundle(cx, "profiles", PROFILE_POLICY, &fields),
        ("POST", ["TrustProducts"]) => new_bundle(cx, "products", TRUST_POLICY, &fields),
        ("GET", [kind @ ("CustomerProfiles" | "TrustProducts"), sid]) => {
            let shown = bundle(cx, &Kept::of(cx), kept_as(kind), sid)?;
            Ok(Reply::json(200, &shown))
        }
        ("POST", [kind @ ("CustomerProfiles" | "TrustProducts"), sid]) => submit(cx, kept_as(kind), sid, &fields),
        ("GET", ["CustomerProfiles" | "TrustProducts", sid, "EntityAssignments"]) => {
            let kept = Kept::of(cx);
            let all: Vec<Value> = kept.all("assignments").iter().filter(|one| one["bundle"] == *sid).cloned().collect();
            Ok(listed(cx, request, "results", &all))
        }
        ("POST", [kind @ ("CustomerProfiles" | "TrustProducts"), sid, "EntityAssignments"]) => {
            assign(cx, kept_as(kind), sid, &fields)
        }
        ("POST", [kind @ ("CustomerProfiles" | "TrustProducts"), sid, "Evaluations"]) => {
            evaluate(cx, kept_as(kind), sid, &fields)
        }
        ("GET", ["EndUsers"]) => Ok(listed(cx, request, "results", Kept::of(cx).all("users"))),
        ("POST", ["EndUsers"]) => new_object(cx, "users", "IT", &fields),
        ("POST", ["EndUsers", sid]) => change_user(cx, sid, &fields),
        ("GET", ["SupportingDocuments"]) => Ok(listed(cx, request, "results", Kept::of(cx).all("documents"))),
        ("POST", ["SupportingDocuments"]) => new_object(cx, "documents", "RD", &fields),
        ("GET", ["a2p", "BrandRegistrations"]) => {
            let kept = Kept::of(cx);
            let all: Vec<Value> = kept.all("brands").iter().map(|one| brand(cx, one)).collect();
            Ok(listed(cx, request, "data", &all))
        }
        ("POST", ["a2p", "BrandRegistrations"]) => new_brand(cx, &fields),
        ("POST", ["a2p", "BrandRegistrations", sid, "SmsOtp"]) => write_again(cx, sid),
        ("GET", ["a2p", "BrandRegistrations", sid]) => {
            let kept = Kept::of(cx);
            Ok(Reply::json(200, &brand(cx, kept.find("brands", sid)?)))
        }
        ("POST", ["a2p", "BrandRegistrations", sid]) => again(cx, sid),
        ("GET", ["Services"]) => Ok(listed(cx, request, "services", Kept::of(cx).all("services"))),
        ("POST", ["Services"]) => new_service(cx, &fields),
        ("GET", ["Services", sid]) => Ok(Reply::json(200, Kept::of(cx).find("services", sid)?)),
        ("POST", ["Services", sid]) => {
            let mut kept = Kept::of(cx);
            let url = json!(fields.get("InboundRequestUrl"));
            let shown = kept.change("services", sid, &[("inbound_request_url", url)])?;
            kept.keep(cx);
            Ok(Reply::json(200, &shown))
        }
        ("GET", ["Services", service, "Compliance", "Usa2p"]) => {
            let kept = Kept::of(cx);
            let own = kept.all("campaigns").iter().filter(|one| one["messaging_service_sid"] == *service);
            let all: Vec<Value> = own.map(|one| campaign(cx, one)).collect();
            Ok(listed(cx, request, "compliance", &all))
        }
        ("POST", ["Services", service, "Compliance", "Usa2p"]) => new_campaign(cx, service, &fields),
        ("GET", ["Services", _, "Compliance", "Usa2p", sid]) => {
            Ok(Reply::json(200, &campaign(cx, Kept::of(cx).find("campaigns", sid)?)))
        }
        ("POST", ["Services", _, "Compliance", "Usa2p", sid]) => edit_campaign(cx, sid, &fields),
        ("GET", ["Services", service, "PhoneNumbers"]) => {
            let kept = Kept::of(cx);
            let in_it: Vec<Value> =
                kept.all("numbers").iter().filter(|one| one["service"] == *service).cloned().collect();
            Ok(listed(cx, request, "phone_numbers", &in_it))
        }
        ("POST", ["Services", service, "PhoneNumbers"]) => attach(cx, service, &fields),
        ("DELETE", ["Services", service, "PhoneNumbers", number]) => take_out(cx, service, number),
        (_, ["Tollfree", "Verifications", rest @ ..]) => toll_free::answer(cx, request, rest),
        _ => Err(missing()),
    }
}

fn kept_as(kind: &str) -> &'static str {
    if kind == "TrustProducts" { "products" } else { "profiles" }
}

fn bundles(cx: &Cx<'_>, kind: &str, request: &Request) -> Reply {
    let asked = request.parameters();
    let kept = Kept::of(cx);
    let mut all: Vec<Value> = kept.all(kind).iter().map(|one| decided(cx, one)).collect();
    if kind == "profiles" {
        all.push(json!({
            "sid": PRIMARY, "policy_sid": PRIMARY_POLICY, "friendly_name": "Primary", "status": "twilio-approved", "errors": [],
        }));
    }
    let holds = |one: &Value, name: &str, field: &str| {
        let wanted = asked.get(name);
        wanted.is_empty() || one[field] == wanted
    };
    all.retain(|one| holds(one, "PolicySid", "policy_sid") && holds(one, "Status", "status"));
    listed(cx, request, "results", &all)
}

fn new_bundle(cx: &mut Cx<'_>, kind: &str, business: &str, fields: &Fields) -> Result<Reply, Reply> {
    let (name, mail) = (needed(fields, "FriendlyName")?, needed(fields, "Email")?);
    let person = if kind == "profiles" { STARTER_POLICY } else { SOLE_POLICY };
    let policy = needed(fields, "PolicySid")?;
    match policy {
        PRIMARY_POLICY => return Err(bad(20001, "Primary customer profile creation is restricted via API")),
        given if given != business && given != person => return Err(bad(20001, "Invalid PolicySid")),
        _ => {}
    }
    let one = json!({
        "sid": format!("BU{}", cx.hex(32)), "account_sid": cx.get("account_sid"), "policy_sid": policy, "friendly_name": name, "email": mail, "status": "draft",
        "errors": [], "date_created": iso(cx.now),
    });
    let mut kept = Kept::of(cx);
    kept.add(kind, one.clone());
    kept.keep(cx);
    Ok(Reply::json(201, &one))
}

/// A bundle as it is by now.
fn bundle(cx: &Cx<'_>, kept: &Kept, kind: &str, sid: &str) -> Result<Value, Reply> {
    kept.find(kind, sid).map(|one| decided(cx, one))
}

fn decided(cx: &Cx<'_>, one: &Value) -> Value {
    let mut shown = one.clone();
    if one["status"] == "pending-review" {
        let is_over = is_over(cx, &one["submitted"]);
        let rejected = text(one, "/reviewed_name").starts_with("Rejected");
        shown["status"] = json!(match (is_over, rejected) {
            (false, _) => "in-review",
            (true, false) => "twilio-approved",
            (true, true) => "twilio-rejected",
        });
        if is_over && rejected {
            shown["errors"] =
                json!([{"code": 22215, "message": "The business could not be verified", "fields": ["business_name"]}]);
        }
    }
    shown
}

/// The name of the business a bundle is about.
fn business_name(kept: &Kept, bundle: &str) -> String {
    let objects: Vec<&Value> =
        kept.all("assignments").iter().filter(|one| one["bundle"] == bundle).map(|one| &one["object_sid"]).collect();
    let of_type =
        |wanted: &str| kept.all("users").iter().find(|user| objects.contains(&&user["sid"]) && user["type"] == wanted);
    let business = of_type("customer_profile_business_information").map(|user| text(user, "/attributes/business_name"));
    let person = of_type("starter_customer_profile_information").map(|user| text(user, "/attributes/last_name"));
    business.or(person).unwrap_or_default().to_owned()
}

fn submit(cx: &mut Cx<'_>, kind: &str, sid: &str, fields: &Fields) -> Result<Reply, Reply> {
    let mut kept = Kept::of(cx);
    let now = bundle(cx, &kept, kind, sid)?;
    if fields.get("Status") != "pending-review" {
        return Err(bad(20001, "Invalid Status"));
    }
    if !matches!(text(&now, "/status"), "draft" | "twilio-rejected") {
        return Err(bad(22212, "The bundle is in a status that cannot be updated"));
    }
    let lacks = lacking(&kept, kind, sid);
    if !lacks.is_empty() {
        return Err(bad(22213, "The bundle is not compliant"));
    }
    let at = json!(cx.now.as_micros());
    // What is reviewed is what was submitted, whatever is changed meanwhile.
    let name = json!(business_name(&kept, sid));
    let changes = [("status", json!("pending-review")), ("submitted", at), ("reviewed_name", name)];
    let shown = kept.change(kind, sid, &changes)?;
    kept.keep(cx);
    Ok(Reply::json(200, &shown))
}

fn assign(cx: &mut Cx<'_>, kind: &str, sid: &str, fields: &Fields) -> Result<Reply, Reply> {
    let mut kept = Kept::of(cx);
    kept.find(kind, sid)?;
    let object = needed(fields, "ObjectSid")?;
    let is_there =
        object == PRIMARY || ["users", "documents", "profiles"].iter().any(|kind| kept.find(kind, object).is_ok());
    if !is_there {
        return Err(bad(20001, "Invalid ObjectSid"));
    }
    if kept.all("assignments").iter().any(|one| one["bundle"] == sid && one["object_sid"] == object) {
        return Err(bad(22214, "The object is assigned to this bundle already"));
    }
    let one =
        json!({"sid": format!("BV{}", cx.hex(32)), "bundle": sid, "object_sid": object, "date_created": iso(cx.now)});
    kept.add("assignments", one.clone());
    kept.keep(cx);
    Ok(Reply::json(201, &one))
}

/// What a bundle lacks, as an evaluation says it.
fn lacking(kept: &Kept, kind: &str, sid: &str) -> Vec<Value> {
    let objects: Vec<&str> =
        kept.all("assignments").iter().filter(|one| one["bundle"] == sid).map(|one| text(one, "/object_sid")).collect();
    let of_type = |wanted: &str| {
        ["users", "documents"]
            .iter()
            .flat_map(|kind| kept.all(kind))
            .find(|one| one["type"] == wanted && objects.contains(&text(one, "/sid")))
    };
    let policy = kept.find(kind, sid).ok().map(|bundle| text(bundle, "/policy_sid")).unwrap_or_default();
    let wanted: &[(&str, &[&str])] = match kind {
        "products" if policy == SOLE_POLICY => {
            &[("sole_proprietor_information", &["brand_name", "vertical", "mobile_phone_number"])]
        }
        "profiles" if policy == STARTER_POLICY => &[
            ("starter_customer_profile_information", &["first_name", "last_name", "email", "phone_number"]),
            ("customer_profile_address", &["address_sids"]),
        ],
        "products" => &[("us_a2p_messaging_profile_information", &["company_type"])],
        _ => &[
            (
                "customer_profile_business_information",
                &[
                    "business_name",
                    "business_type",
                    "business_industry",
                    "business_registration_identifier",
                    "business_registration_number",
                    "business_regions_of_operation",
                    "website_url",
                ],
            ),
            (
                "authorized_representative_1",
                &["first_name", "last_name", "email", "phone_number", "business_title", "job_position"],
            ),
            ("customer_profile_address", &["address_sids"]),
        ],
    };
    let mut lacks = Vec::new();
    for (object_type, attributes) in wanted {
        let Some(found) = of_type(object_type) else {
            lacks.push(json!({
                "object_type": object_type, "passed": false, "failure_reason": format!("A {object_type} is missing"), "error_code": 22214, "invalid": [],
            }));
            continue;
        };
        let empty = attributes.iter().filter(|name| text(found, &format!("/attributes/{name}")).is_empty());
        let invalid: Vec<Value> = empty
            .map(|name| json!({"object_field": name, "failure_reason": format!("{name} is missing"), "error_code": 22216}))
            .collect();
        if !invalid.is_empty() {
            lacks.push(json!({"object_type": object_type, "passed": false, "failure_reason": "Fields are missing", "error_code": 22216, "invalid": invalid}));
        }
    }
    let has_profile = objects.iter().any(|object| object.starts_with("BU"));
    if !has_profile {
        lacks.push(json!({"object_type": "profile", "passed": false, "failure_reason": "The customer profile is missing", "error_code": 22214, "invalid": []}));
    }
    lacks
}

fn evaluate(cx: &Cx<'_>, kind: &str, sid: &str, fields: &Fields) -> Result<Reply, Reply> {
    needed(fields, "PolicySid")?;
    let kept = Kept::of(cx);
    kept.find(kind, sid)?;
    let lacks = lacking(&kept, kind, sid);
    let status = if lacks.is_empty() { "compliant" } else { "noncompliant" };
    let body =
        json!({"sid": format!("EL{}", cx.hex(32)), "status": status, "results": lacks, "date_created": iso(cx.now)});
    Ok(Reply::json(201, &body))
}

fn attributes(fields: &Fields) -> Result<Value, Reply> {
    let given = serde_json::from_str::<Value>(fields.get("Attributes")).ok().filter(Value::is_object);
    given.ok_or_else(|| bad(20001, "Attributes must be a JSON object"))
}

fn new_object(cx: &mut Cx<'_>, kind: &str, prefix: &str, fields: &Fields) -> Result<Reply, Reply> {
    let (name, what) = (needed(fields, "FriendlyName")?, needed(fields, "Type")?);
    let one = json!({
        "sid": format!("{prefix}{}", cx.hex(32)), "friendly_name": name, "type": what, "attributes": attributes(fields)?, "date_created": iso(cx.now),
    });
    let mut kept = Kept::of(cx);
    kept.add(kind, one.clone());
    kept.keep(cx);
    Ok(Reply::json(201, &one))
}

fn change_user(cx: &mut Cx<'_>, sid: &str, fields: &Fields) -> Result<Reply, Reply> {
    let mut kept = Kept::of(cx);
    let shown = kept.change("users", sid, &[("attributes", attributes(fields)?)])?;
    kept.keep(cx);
    Ok(Reply::json(200, &shown))
}

fn new_brand(cx: &mut Cx<'_>, fields: &Fields) -> Result<Reply, Reply> {
    let mut kept = Kept::of(cx);
    let (profile, product) = (needed(fields, "CustomerProfileBundleSid")?, needed(fields, "A2PProfileBundleSid")?);
    let approved = bundle(cx, &kept, "profiles", profile)?;
    let is_person = approved["policy_sid"] == STARTER_POLICY;
    let is_sole = fields.get("BrandType") == "SOLE_PROPRIETOR";
    if is_person != is_sole || is_sole != (kept.find("products", product)?["policy_sid"] == SOLE_POLICY) {
        return Err(bad(21717, "The bundles do not fit the type of the brand"));
    }
    if approved["status"] != "twilio-approved" {
        return Err(bad(21717, "The customer profile bundle is not approved"));
    }
    if kept.all("brands").iter().any(|one| one["customer_profile_bundle_sid"] == profile) {
        return Err(bad(21721, "A brand exists for this customer profile already"));
    }
    let one = json!({
        "sid": format!("BN{}", cx.hex(32)), "account_sid": cx.get("account_sid"), "customer_profile_bundle_sid": profile, "a2p_profile_bundle_sid": product,
        "brand_type": fields.get("BrandType"), "status": "PENDING", "skip_automatic_sec_vet": fields.get("SkipAutomaticSecVet") == "true",
        "submitted": cx.now.as_micros(), "reviewed_name": business_name(&kept, profile), "errors": [], "failure_reason": null, "mock": false, "date_created": iso(cx.now),
    });
    kept.add("brands", one.clone());
    kept.keep(cx);
    Ok(Reply::json(201, &one))
}

/// A brand as it is by now.
fn brand(cx: &Cx<'_>, one: &Value) -> Value {
    let mut shown = one.clone();
    let name = text(one, "/reviewed_name");
    // Nobody answers the first text message to somebody whose name begins with `Silent`.
    let waits = one["brand_type"] == "SOLE_PROPRIETOR" && name.starts_with("Silent") && one["written"].is_null();
    let is_over = !waits && is_over(cx, &one["submitted"]);
    let (status, identity) = match (is_over, name.starts_with("Brandless")) {
        (false, _) => ("PENDING", "SELF_DECLARED"),
        (true, false) => ("APPROVED", "VERIFIED"),
        (true, true) => ("FAILED", "UNVERIFIED"),
    };
    shown["status"] = json!(status);
    shown["identity_status"] = json!(identity);
    if status == "FAILED" {
        shown["failure_reason"] = json!("The EIN does not belong to this name");
        shown["errors"] = json!([{
            "error_code": 30795, "description": "The EIN does not belong to this name", "fields": ["business_registration_number", "business_name"],
            "url": "https://www.twilio.com/docs/api/errors/30795",
        }]);
    }
    shown
}

fn again(cx: &mut Cx<'_>, sid: &str) -> Result<Reply, Reply> {
    let mut kept = Kept::of(cx);
    let now = brand(cx, kept.find("brands", sid)?);
    if now["status"] != "FAILED" {
        return Err(bad(21717, "Only a failed brand can be submitted again"));
    }
    let name = json!(business_name(&kept, text(&now, "/customer_profile_bundle_sid")));
    let shown = kept.change("brands", sid, &[("submitted", json!(cx.now.as_micros())), ("reviewed_name", name)])?;
    kept.keep(cx);
    Ok(Reply::json(202, &shown))
}

/// Writes to a sole proprietor once more.
fn write_again(cx: &mut Cx<'_>, sid: &str) -> Result<Reply, Reply> {
    let mut kept = Kept::of(cx);
    let now = brand(cx, kept.find("brands", sid)?);
    if now["brand_type"] != "SOLE_PROPRIETOR" || now["status"] != "PENDING" {
        return Err(bad(21717, "This brand does not wait for a text message to be answered"));
    }
    let at = json!(cx.now.as_micros());
    kept.change("brands", sid, &[("written", at.clone()), ("submitted", at)])?;
    kept.keep(cx);
    Ok(Reply::json(201, &json!({"account_sid": cx.get("account_sid"), "brand_registration_sid": sid})))
}

fn new_service(cx: &mut Cx<'_>, fields: &Fields) -> Result<Reply, Reply> {
    let one = json!({
        "sid": format!("MG{}", cx.hex(32)), "account_sid": cx.get("account_sid"), "friendly_name": needed(fields, "FriendlyName")?,
        "inbound_request_url": fields.get("InboundRequestUrl"), "usecase": fields.get("Usecase"), "date_created": iso(cx.now),
    });
    let mut kept = Kept::of(cx);
    kept.add("services", one.clone());
    kept.keep(cx);
    Ok(Reply::json(201, &one))
}

/// What a campaign has to say.
fn check_campaign(fields: &Fields) -> Result<(), Reply> {
    let lengths = [("Description", 40, 4_096), ("MessageFlow", 40, 2_048)];
    for (name, least, most) in lengths {
        if !(least..=most).contains(&needed(fields, name)?.chars().count()) {
            return Err(bad(20001, &format!("{name} must have {least} to {most} characters")));
        }
    }
    let samples = fields.all("MessageSamples");
    let fits = |sample: &&str| (20..=1_024).contains(&sample.chars().count());
    if !(2..=5).contains(&samples.len()) || !samples.iter().all(fits) {
        return Err(bad(20001, "MessageSamples must be 2 to 5 texts of 20 to 1024 characters"));
    }
    for name in ["HasEmbeddedLinks", "HasEmbeddedPhone"] {
        needed(fields, name)?;
    }
    Ok(())
}

fn new_campaign(cx: &mut Cx<'_>, service: &str, fields: &Fields) -> Result<Reply, Reply> {
    let mut kept = Kept::of(cx);
    kept.find("services", service)?;
    check_campaign(fields)?;
    let case = needed(fields, "UsAppToPersonUsecase")?;
    let of = needed(fields, "BrandRegistrationSid")?;
    let registered = brand(cx, kept.find("brands", of)?);
    if (registered["brand_type"] == "SOLE_PROPRIETOR") != (case == "SOLE_PROPRIETOR") {
        return Err(bad(21717, "The use case is not available to this brand"));
    }
    if registered["status"] != "APPROVED" {
        return Err(bad(21717, "The brand is not approved"));
    }
    if kept.all("campaigns").iter().any(|one| one["messaging_service_sid"] == service) {
        return Err(bad(21715, "The messaging service has a campaign already"));
    }
    let one = json!({
        "sid": format!("QE{}", cx.hex(32)), "brand_registration_sid": of, "messaging_service_sid": service, "us_app_to_person_usecase": case,
        "description": fields.get("Description"), "message_flow": fields.get("MessageFlow"), "message_samples": fields.all("MessageSamples"),
        "privacy_policy_url": fields.get("PrivacyPolicyUrl"), "campaign_status": "PENDING", "submitted": cx.now.as_micros(), "errors": [], "date_created": iso(cx.now),
    });
    kept.add("campaigns", one.clone());
    kept.keep(cx);
    Ok(Reply::json(201, &one))
}

/// A campaign as it is by now.
fn campaign(cx: &Cx<'_>, one: &Value) -> Value {
    let mut shown = one.clone();
    let is_vague = text(one, "/description").starts_with("Vague");
    shown["campaign_status"] = json!(match (is_over(cx, &one["submitted"]), is_vague) {
        (false, _) => "IN_PROGRESS",
        (true, false) => "VERIFIED",
        (true, true) => "FAILED",
    });
    if shown["campaign_status"] == "FAILED" {
        shown["errors"] = json!([{
            "error_code": 30886, "description": "The description does not say what is sent", "fields": ["CAMPAIGN_DESCRIPTION"],
            "url": "https://www.twilio.com/docs/api/errors/30886",
        }]);
    }
    shown
}

fn edit_campaign(cx: &mut Cx<'_>, sid: &str, fields: &Fields) -> Result<Reply, Reply> {
    let mut kept = Kept::of(cx);
    if campaign(cx, kept.find("campaigns", sid)?)["campaign_status"] != "FAILED" {
        return Err(bad(21715, "Only a failed campaign can be changed"));
    }
    check_campaign(fields)?;
    let changes = [
        ("description", json!(fields.get("Description"))),
        ("message_flow", json!(fields.get("MessageFlow"))),
        ("message_samples", json!(fields.all("MessageSamples"))),
        ("submitted", json!(cx.now.as_micros())),
    ];
    let shown = kept.change("campaigns", sid, &changes)?;
    kept.keep(cx);
    Ok(Reply::json(200, &shown))
}

fn attach(cx: &mut Cx<'_>, service: &str, fields: &Fields) -> Result<Reply, Reply> {
    let mut kept = Kept::of(cx);
    kept.find("services", service)?;
    let number = needed(fields, "PhoneNumberSid")?;
    let one = kept.find("numbers", number)?.clone();
    match text(&one, "/service") {
        "" => {}
        own if own == service => {
            return Err(bad(21710, "Phone Number or Short Code is already in the Messaging Service"));
        }
        _ => return Err(bad(21712, "Phone Number or Short Code is associated with another Messaging Service")),
    }
    kept.change("numbers", number, &[("service", json!(service))])?;
    kept.keep(cx);
    let shown = json!({"sid": number, "account_sid": cx.get("account_sid"), "service_sid": service, "phone_number": one["phone_number"], "country_code": "US"});
    Ok(Reply::json(201, &shown))
}

fn take_out(cx: &mut Cx<'_>, service: &str, number: &str) -> Result<Reply, Reply> {
    let mut kept = Kept::of(cx);
    kept.find("services", service)?;
    if text(kept.find("numbers", number)?, "/service") != service {
        return Err(missing());
    }
    kept.change("numbers", number, &[("service", json!(""))])?;
    kept.keep(cx);
    Ok(Reply::empty(204))
}

/// Answers below the account's own path: addresses and numbers. `None` for what is not kept here.
pub(super) fn own(cx: &mut Cx<'_>, request: &Request, path: &[&str]) -> Option<Result<Reply, Reply>> {
    let fields = request.form();
    Some(match (request.method.as_str(), path) {
        ("GET", ["Addresses.json"]) => Ok(listed(cx, request, "addresses", Kept::of(cx).all("addresses"))),
        ("POST", ["Addresses.json"]) => new_address(cx, &fields),
        ("POST", ["Addresses", sid]) => change_address(cx, sid.trim_end_matches(".json"), &fields),
        ("GET", ["AvailablePhoneNumbers", "US", "Local.json"]) => Ok(available(cx, &request.parameters())),
        ("POST", ["IncomingPhoneNumbers.json"]) => buy(cx, &fields),
        ("DELETE", ["IncomingPhoneNumbers", sid]) => give_back(cx, sid.trim_end_matches(".json")),
        _ => return None,
    })
}

fn give_back(cx: &mut Cx<'_>, sid: &str) -> Result<Reply, Reply> {
    let mut kept = Kept::of(cx);
    kept.find("numbers", sid)?;
    if let Some(all) = kept.0["numbers"].as_array_mut() {
        all.retain(|one| one["sid"] != sid);
    }
    kept.keep(cx);
    Ok(Reply::empty(204))
}

/// Numbers that were bought, the newest first.
pub(super) fn bought(cx: &Cx<'_>, asked: &Fields) -> Vec<Value> {
    let (number, name) = (asked.get("PhoneNumber"), asked.get("FriendlyName"));
    let is_wanted = |one: &&Value| {
        (number.is_empty() || one["phone_number"] == number) && (name.is_empty() || one["friendly_name"] == name)
    };
    Kept::of(cx).all("numbers").iter().rev().filter(is_wanted).cloned().collect()
}

fn new_address(cx: &mut Cx<'_>, fields: &Fields) -> Result<Reply, Reply> {
    for name in ["CustomerName", "Street", "City", "Region", "PostalCode", "IsoCountry"] {
        needed(fields, name)?;
    }
    let one = json!({
        "sid": format!("AD{}", cx.hex(32)), "account_sid": cx.get("account_sid"), "friendly_name": fields.get("FriendlyName"), "customer_name": fields.get("CustomerName"),
        "street": fields.get("Street"), "city": fields.get("City"), "region": fields.get("Region"), "postal_code": fields.get("PostalCode"),
        "iso_country": fields.get("IsoCountry"),
    });
    let mut kept = Kept::of(cx);
    kept.add("addresses", one.clone());
    kept.keep(cx);
    Ok(Reply::json(201, &one))
}

fn change_address(cx: &mut Cx<'_>, sid: &str, fields: &Fields) -> Result<Reply, Reply> {
    let mut kept = Kept::of(cx);
    let changes = [
        ("customer_name", json!(fields.get("CustomerName"))),
        ("street", json!(fields.get("Street"))),
        ("city", json!(fields.get("City"))),
        ("region", json!(fields.get("Region"))),
        ("postal_code", json!(fields.get("PostalCode"))),
    ];
    let shown = kept.change("addresses", sid, &changes)?;
    kept.keep(cx);
    Ok(Reply::json(200, &shown))
}

/// Numbers of those kept for fiction, so that nobody's is shown.
fn available(cx: &Cx<'_>, asked: &Fields) -> Reply {
    let area = asked.some("AreaCode").unwrap_or_else(|| "415".to_owned());
    let kept = Kept::of(cx);
    let is_taken = |number: &String| kept.all("numbers").iter().any(|one| one["phone_number"] == number.as_str());
    let all = (0..100).map(|last| format!("+1{area}55501{last:02}")).filter(|number| !is_taken(number));
    let page = asked.get("PageSize").parse().unwrap_or(30);
    let shown: Vec<Value> = match area.as_str() {
        SOLD_OUT => Vec::new(),
        _ => all
            .take(page)
            .map(|number| json!({"phone_number": number, "iso_country": "US", "capabilities": {"SMS": true, "MMS": true, "voice": true}}))
            .collect(),
    };
    Reply::json(200, &json!({ "available_phone_numbers": shown }))
}

fn buy(cx: &mut Cx<'_>, fields: &Fields) -> Result<Reply, Reply> {
    let number = needed(fields, "PhoneNumber")?;
    let mut kept = Kept::of(cx);
    if kept.all("numbers").iter().any(|one| one["phone_number"] == number) {
        return Err(bad(21422, "Phone number is not available"));
    }
    let one = json!({
        "sid": format!("PN{}", cx.hex(32)), "account_sid": cx.get("account_sid"), "phone_number": number, "friendly_name": fields.get("FriendlyName"),
        "sms_url": fields.get("SmsUrl"), "sms_method": fields.get("SmsMethod"), "service": "", "capabilities": {"sms": true, "mms": true, "voice": true},
    });
    kept.add("numbers", one.clone());
    kept.keep(cx);
    Ok(Reply::json(201, &one))
}
