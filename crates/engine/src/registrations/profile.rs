//! Who a tenant's business is (`/v1/business-profile`): said once, checked before anything is submitted, used by every registration.
//!
//! What is written is checked for its form at once; whether it is complete is only asked when it is submitted, so that it can be filled in page by page. `missing` says what is left.

use std::sync::Arc;

use connectors::manage::{Business, BusinessKind, Officer, Place, UseCase};
use model::{EmailAddress, Phone, TenantId, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use store::{
    Tx,
    business_profiles::{self, BusinessProfile as Row},
    tenants,
};
use utoipa::ToSchema;

use crate::{Engine, Error, FieldError, accept::request, audit, branding, keys::Caller, names::Faults};

/// Longest name, street or title, in characters.
const LINE_MAX: usize = 255;
/// Longest URL, in bytes.
const URL_MAX: usize = 2_048;
/// Shortest and longest description of what is sent, in characters: what the carriers take.
const DESCRIPTION: (usize, usize) = (40, 4_096);
/// Shortest and longest text on how people agree.
const FLOW: (usize, usize) = (40, 2_048);
/// Samples: how many, at least and at most.
pub const SAMPLES: (usize, usize) = (2, 5);
/// How long each of them.
const SAMPLE: (usize, usize) = (20, 1_024);
/// Shortest and longest answer to a keyword.
const ANSWER: (usize, usize) = (20, 320);

/// What carriers call a business's line of work.
pub const INDUSTRIES: &[&str] = &[
    "agriculture",
    "automotive",
    "banking",
    "consumer",
    "education",
    "electronics",
    "energy",
    "engineering",
    "fast_moving_consumer_goods",
    "financial",
    "fintech",
    "food_and_beverage",
    "government",
    "healthcare",
    "hospitality",
    "insurance",
    "jewelry",
    "legal",
    "manufacturing",
    "media",
    "not_for_profit",
    "oil_and_gas",
    "online",
    "raw_materials",
    "real_estate",
    "religion",
    "retail",
    "technology",
    "telecommunications",
    "transportation",
    "travel",
];
/// What carriers call what is sent. Those that need another contract with them are left out.
pub const CATEGORIES: &[&str] = &[
    "2fa",
    "account_notification",
    "customer_care",
    "delivery_notification",
    "fraud_alert",
    "higher_education",
    "low_volume",
    "marketing",
    "mixed",
    "polling_voting",
    "public_service_announcement",
    "security_alert",
];
/// What carriers call who answers for a business.
pub const POSITIONS: &[&str] = &["ceo", "cfo", "director", "general_counsel", "gm", "vp"];
const KINDS: &[(&str, BusinessKind)] = &[
    ("sole_proprietor", BusinessKind::SoleProprietor),
    ("sole_proprietorship", BusinessKind::SoleProprietorship),
    ("partnership", BusinessKind::Partnership),
    ("llc", BusinessKind::Llc),
    ("llp", BusinessKind::Llp),
    ("private_corporation", BusinessKind::PrivateCorporation),
    ("public_corporation", BusinessKind::PublicCorporation),
    ("cooperative", BusinessKind::Cooperative),
    ("non_profit", BusinessKind::NonProfit),
    ("government", BusinessKind::Government),
];
/// The states, districts and territories of the United States, as in addresses.
const REGIONS: &str = "AL AK AZ AR CA CO CT DE DC FL GA HI ID IL IN IA KS KY LA ME MD MA MI MN MS MO MT NE NV NH NJ NM NY NC ND OH OK OR PA RI SC SD TN TX UT VT VA WA WV WI WY AS GU MP PR VI";

/// When text messages to the United States have to leave registered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum UsSms {
    /// From the moment a registration of the account was begun.
    #[default]
    WhenStarted,
    /// Always.
    Required,
    /// Never: the accounts are registered elsewhere.
    Off,
}

impl UsSms {
    /// The word in SQL.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::WhenStarted => "when_started",
            Self::Required => "required",
            Self::Off => "off",
        }
    }

    /// Reads the database's word.
    pub fn from_stored(word: &str) -> Self {
        match word {
            "required" => Self::Required,
            "off" => Self::Off,
            _ => Self::WhenStarted,
        }
    }
}

/// Where a business is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BusinessAddress {
    /// Street and number; no post-office box.
    #[schema(example = "1 High Street")]
    pub street: Option<String>,
    /// City.
    #[schema(example = "Springfield")]
    pub city: Option<String>,
    /// State in two letters, in the United States.
    #[schema(example = "IL")]
    pub region: Option<String>,
    /// ZIP code.
    #[schema(example = "62701")]
    pub postal_code: Option<String>,
    /// ISO 3166-1 alpha-2.
    #[schema(example = "US")]
    pub country: Option<String>,
}

/// Who answers for a business.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BusinessOwner {
    /// First name.
    #[schema(example = "Ada")]
    pub first_name: Option<String>,
    /// Last name.
    #[schema(example = "Byron")]
    pub last_name: Option<String>,
    /// As on a business card.
    #[schema(example = "Founder")]
    pub title: Option<String>,
    /// `ceo`, `cfo`, `director`, `general_counsel`, `gm` or `vp`.
    #[schema(example = "ceo")]
    pub position: Option<String>,
    /// Mail address.
    #[schema(example = "ada@acme.example")]
    pub email: Option<String>,
    /// Number in E.164 form.
    #[schema(example = "+14155550123")]
    pub phone: Option<String>,
}

/// What a business sends, and how people agreed to it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BusinessUseCase {
    /// Of the carriers' list: `marketing`, `mixed`, `low_volume`, `account_notification`, `customer_care`, `delivery_notification`, `2fa`, `fraud_alert`, `security_alert`, `higher_education`, `polling_voting` or `public_service_announcement`.
    #[schema(example = "marketing")]
    pub category: Option<String>,
    /// What is sent and why, in 40 to 4,096 characters.
    pub description: Option<String>,
    /// How people agree, so that somebody can look it up: 40 to 2,048 characters.
    pub opt_in_flow: Option<String>,
    /// 2 to 5 messages as they will be sent, each naming the business and how to stop.
    pub samples: Vec<String>,
    /// Whether they hold links.
    pub has_links: bool,
    /// Whether they hold phone numbers.
    pub has_phone_numbers: bool,
    /// Whether they are for adults only.
    pub is_age_gated: bool,
    /// Whether they are about loans.
    pub is_lending: bool,
    /// What is answered to whoever agrees by a keyword.
    pub opt_in_message: Option<String>,
    /// What is answered to STOP.
    pub opt_out_message: Option<String>,
    /// What is answered to HELP.
    pub help_message: Option<String>,
    /// Where it says what is done with people's numbers.
    #[schema(example = "https://acme.example/privacy")]
    pub privacy_policy_url: Option<String>,
    /// Where it says what people agree to.
    #[schema(example = "https://acme.example/sms-terms")]
    pub terms_url: Option<String>,
}

/// What the tenant vouches for. All of it has to be true before anything is submitted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BusinessCompliance {
    /// Everybody who is written to agreed to it beforehand.
    pub has_opt_in: bool,
    /// Numbers are not given or sold to others.
    pub numbers_not_shared: bool,
    /// Nothing about sex, hate, alcohol, firearms, tobacco or cannabis is sent without an age gate, and nothing unlawful at all.
    pub no_forbidden_content: bool,
}

/// Who a business is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct BusinessProfile {
    /// As registered with the tax office.
    #[schema(example = "Acme Events LLC")]
    pub legal_name: Option<String>,
    /// As its customers know it, when that is another name.
    #[schema(example = "Acme Tickets")]
    pub dba: Option<String>,
    /// `llc`, `private_corporation`, `public_corporation`, `partnership`, `llp`, `cooperative`, `non_profit`, `government` or `sole_proprietorship` (with an EIN).
    #[schema(example = "llc")]
    pub business_type: Option<String>,
    /// Employer Identification Number: nine digits.
    #[schema(example = "12-3456789")]
    pub ein: Option<String>,
    /// Line of work, such as `retail`, `technology` or `hospitality`.
    #[schema(example = "hospitality")]
    pub industry: Option<String>,
    /// Its website, which reviewers look at.
    #[schema(example = "https://acme.example")]
    pub website: Option<String>,
    /// Where it is.
    pub address: BusinessAddress,
    /// Who answers for it.
    pub owner: BusinessOwner,
    /// Whom the provider writes to about it.
    #[schema(example = "compliance@acme.example")]
    pub contact_email: Option<String>,
    /// Messages a month, about.
    #[schema(example = 5_000)]
    pub monthly_volume: Option<u32>,
    /// Of a public corporation: `NASDAQ`, `NYSE` and so on.
    pub stock_exchange: Option<String>,
    /// Of a public corporation.
    pub stock_ticker: Option<String>,
    /// What it sends.
    pub use_case: BusinessUseCase,
    /// What it vouches for.
    pub compliance: BusinessCompliance,
}

/// Something a business profile lacks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct MissingField {
    /// Which field, as a JSON pointer.
    #[schema(example = "/ein")]
    pub pointer: String,
    /// What is to be written there.
    pub detail: String,
}

/// A business profile as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct BusinessProfileView {
    /// What is said.
    #[serde(flatten)]
    pub profile: BusinessProfile,
    /// When text messages to the United States have to leave registered; the operator says.
    pub us_sms: UsSms,
    /// True when it can be submitted.
    pub is_complete: bool,
    /// What is left to fill in.
    pub missing: Vec<MissingField>,
    /// When it last changed.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub updated_at: Option<Timestamp>,
}

pub(super) fn stored(row: &Row) -> Result<BusinessProfile, Error> {
    serde_json::from_str(&row.profile).map_err(Error::internal)
}

fn shown(row: Option<Row>) -> Result<BusinessProfileView, Error> {
    let profile = row.as_ref().map(stored).transpose()?.unwrap_or_default();
    let missing = profile.business().err().unwrap_or_default();
    let missing: Vec<MissingField> =
        missing.into_iter().map(|field| MissingField { pointer: field.pointer, detail: field.detail }).collect();
    Ok(BusinessProfileView {
        us_sms: row.as_ref().map_or(UsSms::default(), |row| UsSms::from_stored(&row.us_sms)),
        is_complete: missing.is_empty(),
        missing,
        updated_at: row.map(|row| row.updated_at),
        profile,
    })
}

/// Shows who the tenant's business is. Needs the scope `registrations:read`.
#[crate::boxed]
pub async fn get(engine: &Engine, caller: &Caller) -> Result<BusinessProfileView, Error> {
    caller.need("registrations:read")?;
    let tenant = caller.need_tenant()?;
    let read = engine.ports.db.read(caller.reach(), move |tx| Box::pin(business_profiles::find(tx, tenant)));
    shown(read.await?)
}

/// Changes who the tenant's business is, by a JSON Merge Patch. Needs the scope `registrations:write`; `us_sms` is the operator's to say.
#[crate::boxed]
pub async fn patch(engine: &Engine, caller: &Caller, body: &[u8]) -> Result<BusinessProfileView, Error> {
    caller.need("registrations:write")?;
    let tenant = caller.need_tenant()?;
    let mut change: serde_json::Map<String, Value> = request::read(body, "")?;
    let policy = match change.remove("us_sms") {
        None => None,
        Some(_) if !caller.is_operator => {
            return Err(Error::forbidden(
                "operator_only",
                "Only the operator says when registration is required (`us_sms`).",
            ));
        }
        Some(Value::Null) => Some(UsSms::default()),
        Some(word) => Some(
            serde_json::from_value::<UsSms>(word)
                .map_err(|_| Error::invalid("/us_sms", "expected when_started, required or off"))?,
        ),
    };
    let now = engine.ports.clock.now();
    let (ids, by) = (Arc::clone(&engine.ports.ids), caller.clone());
    let write = engine.ports.db.write(caller.reach(), move |tx| {
        Box::pin(async move {
            tenants::bump(tx, Some(tenant)).await?;
            let row = changed(tx, tenant, change, policy, now).await?;
            let (before, after) = (row.0, row.1);
            business_profiles::put(tx, &after).await?;
            let told = |row: &Row| -> Value {
                let mut told: Value = serde_json::from_str(&row.profile).unwrap_or_default();
                told["us_sms"] = json!(row.us_sms);
                told
            };
            let difference = audit::difference(&told(&before), &told(&after));
            audit::record(tx, tenant, &ids, now, &by, "business_profile.updated", tenant, &difference).await?;
            shown(Some(after))
        })
    });
    let view = write.await?;
    engine.directory.catch_up().await;
    Ok(view)
}

/// The row before and after a change.
async fn changed(
    tx: &mut Tx,
    tenant: TenantId,
    change: serde_json::Map<String, Value>,
    policy: Option<UsSms>,
    now: Timestamp,
) -> Result<(Row, Row), Error> {
    let known = json!(BusinessProfile::default());
    if let Some(name) = change.keys().find(|name| known.get(name.as_str()).is_none()) {
        let names: Vec<&str> = known.as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect();
        let detail = format!("unknown field `{name}`, expected one of {}", names.join(", "));
        return Err(Error::invalid(format!("/{name}"), detail));
    }
    let found = business_profiles::find(tx, tenant).await?;
    let before = found.unwrap_or_else(|| Row {
        tenant_id: tenant,
        profile: json!(BusinessProfile::default()).to_string(),
        us_sms: UsSms::default().as_str().to_owned(),
        created_at: now,
        updated_at: now,
    });
    let mut merged: Value = serde_json::from_str(&before.profile).map_err(Error::internal)?;
    branding::merge(&mut merged, Value::Object(change));
    let mut profile: BusinessProfile = request::read(merged.to_string().as_bytes(), "")?;
    profile.check()?;
    let after = Row {
        profile: json!(profile).to_string(),
        us_sms: policy.map_or(before.us_sms.clone(), |policy| policy.as_str().to_owned()),
        updated_at: now,
        ..before.clone()
    };
    Ok((before, after))
}

/// The digits of an EIN in its usual form; the first two name the office that gave it, and some never were.
fn ein(text: &str) -> Option<String> {
    const NEVER: [&str; 14] = ["00", "07", "08", "09", "17", "18", "19", "28", "29", "49", "69", "70", "78", "79"];
    let digits: String = text.chars().filter(|c| !matches!(c, '-' | ' ')).collect();
    let is_one = digits.len() == 9 && digits.bytes().all(|b| b.is_ascii_digit()) && !NEVER.contains(&&digits[..2]);
    is_one.then(|| format!("{}-{}", &digits[..2], &digits[2..]))
}

/// The words for the forms a business can have.
pub fn business_types() -> impl Iterator<Item = &'static str> {
    KINDS.iter().map(|(word, _)| *word)
}

fn kind(word: Option<&str>) -> Option<BusinessKind> {
    KINDS.iter().find(|(known, _)| Some(*known) == word).map(|(_, kind)| *kind)
}

fn is_web(url: &str) -> bool {
    let parsed = url::Url::parse(url).ok().filter(|_| url.len() <= URL_MAX);
    parsed.is_some_and(|url| {
        matches!(url.scheme(), "https" | "http")
            && url.username().is_empty()
            && url.host_str().is_some_and(|host| host.contains('.') && !host.ends_with('.'))
    })
}

impl BusinessProfile {
    /// Refuses what could never be submitted, and writes the rest in one way.
    fn check(&mut self) -> Result<(), Error> {
        let mut faults = Faults::default();
        let (address, owner) = (&mut self.address, &mut self.owner);
        let lines = [
            ("/legal_name", &mut self.legal_name),
            ("/dba", &mut self.dba),
            ("/address/street", &mut address.street),
            ("/address/city", &mut address.city),
            ("/owner/first_name", &mut owner.first_name),
            ("/owner/last_name", &mut owner.last_name),
            ("/owner/title", &mut owner.title),
            ("/stock_exchange", &mut self.stock_exchange),
            ("/stock_ticker", &mut self.stock_ticker),
        ];
        for (pointer, line) in lines {
            let Some(text) = line.as_mut() else { continue };
            *text = text.trim().to_owned();
            if text.is_empty() || text.chars().count() > LINE_MAX || text.chars().any(char::is_control) {
                faults.add(pointer, format!("1 to {LINE_MAX} characters without line breaks"));
            }
        }
        let words: [(&str, &Option<String>, &[&str]); 3] = [
            ("/industry", &self.industry, INDUSTRIES),
            ("/owner/position", &owner.position, POSITIONS),
            ("/use_case/category", &self.use_case.category, CATEGORIES),
        ];
        for (pointer, word, known) in words {
            if word.as_ref().is_some_and(|word| !known.contains(&word.as_str())) {
                faults.add(pointer, format!("expected one of {}", known.join(", ")));
            }
        }
        if self.business_type.is_some() && kind(self.business_type.as_deref()).is_none() {
            let known: Vec<&str> = KINDS.iter().map(|(word, _)| *word).collect();
            faults.add("/business_type", format!("expected one of {}", known.join(", ")));
        }
        if let Some(text) = &mut self.ein {
            match ein(text) {
                Some(read) => *text = read,
                None => faults.add("/ein", "an Employer Identification Number has nine digits, as in 12-3456789; a social security number is none"),
            }
        }
        let urls = [
            ("/website", &self.website),
            ("/use_case/privacy_policy_url", &self.use_case.privacy_policy_url),
            ("/use_case/terms_url", &self.use_case.terms_url),
        ];
        for (pointer, url) in urls {
            if url.as_ref().is_some_and(|url| !is_web(url)) {
                faults.add(pointer, "write a public URL that begins with https:// or http://");
            }
        }
        for (pointer, mail) in [("/contact_email", &self.contact_email), ("/owner/email", &owner.email)] {
            if mail.as_ref().is_some_and(|mail| mail.parse::<EmailAddress>().is_err()) {
                faults.add(pointer, "not a mail address");
            }
        }
        if owner.phone.as_ref().is_some_and(|phone| phone.parse::<Phone>().is_err()) {
            faults.add("/owner/phone", "write the number in E.164 form, as in +14155550123");
        }
        if let Some(country) = &address.country {
            faults.country("/address/country", country);
        }
        let is_american = address.country.as_deref().is_none_or(|country| country == "US");
        if let Some(region) = address.region.as_mut() {
            *region = region.trim().to_owned();
            if is_american && !REGIONS.split(' ').any(|known| known == region) {
                faults.add("/address/region", "write the state in two capital letters, as in CA");
            } else if region.is_empty() || region.chars().count() > LINE_MAX {
                faults.add("/address/region", format!("1 to {LINE_MAX} characters"));
            }
        }
        if let Some(code) = address.postal_code.as_mut() {
            *code = code.trim().to_owned();
            let digits: Vec<&str> = code.split('-').collect();
            let is_zip = matches!(&digits[..], [five] | [five, _] if five.len() == 5)
                && digits.get(1).is_none_or(|four| four.len() == 4)
                && code.bytes().all(|b| b.is_ascii_digit() || b == b'-');
            if (is_american && !is_zip) || code.is_empty() || code.len() > 20 {
                faults.add("/address/postal_code", "write the ZIP code, as in 94103 or 94103-1234");
            }
        }
        let street = address.street.as_deref().unwrap_or_default().to_ascii_lowercase().replace(['.', ' '], "");
        if street.starts_with("pobox") || street.starts_with("postofficebox") {
            faults.add("/address/street", "carriers take no post-office box: write where the business is");
        }
        if self.monthly_volume == Some(0) {
            faults.add("/monthly_volume", "about how many messages a month; at least 1");
        }
        self.use_case.check(&mut faults);
        faults.end()
    }

    /// The business, when everything needed is there; otherwise what is missing.
    pub(super) fn business(&self) -> Result<Business, Vec<FieldError>> {
        let mut missing = Vec::new();
        let mut need = |pointer: &str, value: &Option<String>, what: &str| {
            value.clone().unwrap_or_else(|| {
                missing.push(FieldError::new(pointer, format!("say {what}")));
                String::new()
            })
        };
        let (address, owner, case) = (&self.address, &self.owner, &self.use_case);
        let is_person = kind(self.business_type.as_deref()) == Some(BusinessKind::SoleProprietor);
        let role = |line: &Option<String>| line.clone().or(is_person.then(String::new));
        let mut business = Business {
            legal_name: need("/legal_name", &self.legal_name, "the name the business is registered under"),
            dba: self.dba.clone(),
            kind: kind(self.business_type.as_deref()).unwrap_or(BusinessKind::Llc),
            ein: need(
                "/ein",
                &if is_person { Some(String::new()) } else { self.ein.clone() },
                "its Employer Identification Number; one person without any is a sole_proprietor",
            ),
            industry: need("/industry", &self.industry, "its line of work"),
            website: need("/website", &self.website, "where its website is"),
            address: Place {
                street: need("/address/street", &address.street, "street and number"),
                city: need("/address/city", &address.city, "the city"),
                region: need("/address/region", &address.region, "the state"),
                postal_code: need("/address/postal_code", &address.postal_code, "the ZIP code"),
                country: address.country.clone().unwrap_or_else(|| "US".to_owned()),
            },
            owner: Officer {
                first_name: need("/owner/first_name", &owner.first_name, "who answers for the business"),
                last_name: need("/owner/last_name", &owner.last_name, "who answers for the business"),
                title: need("/owner/title", &role(&owner.title), "their title"),
                position: need("/owner/position", &role(&owner.position), "their position"),
                email: need("/owner/email", &owner.email, "their mail address"),
                phone: need("/owner/phone", &owner.phone, "their number"),
            },
            contact_email: need("/contact_email", &self.contact_email, "whom the provider writes to"),
            monthly_volume: self.monthly_volume.unwrap_or_default(),
            listed: None,
            use_case: UseCase {
                category: need("/use_case/category", &case.category, "what kind of messages are sent"),
                description: need("/use_case/description", &case.description, "what is sent and why"),
                opt_in_flow: need("/use_case/opt_in_flow", &case.opt_in_flow, "how people agree to it"),
                samples: case.samples.clone(),
                has_links: case.has_links,
                has_phone_numbers: case.has_phone_numbers,
                is_age_gated: case.is_age_gated,
                is_lending: case.is_lending,
                opt_in_message: case.opt_in_message.clone(),
                opt_out_message: case.opt_out_message.clone(),
                help_message: case.help_message.clone(),
                privacy_policy_url: need(
                    "/use_case/privacy_policy_url",
                    &case.privacy_policy_url,
                    "where your privacy policy is",
                ),
                terms_url: need("/use_case/terms_url", &case.terms_url, "where the terms of your messages are"),
            },
        };
        if kind(self.business_type.as_deref()) == Some(BusinessKind::PublicCorporation) {
            let exchange = need("/stock_exchange", &self.stock_exchange, "at which exchange it is listed");
            let ticker = need("/stock_ticker", &self.stock_ticker, "under which ticker");
            business.listed = Some((exchange, ticker));
        }
        if is_person && self.ein.is_some() {
            let detail = "a sole_proprietor has no EIN: one person who has one is a sole_proprietorship; empty it with null otherwise";
            missing.push(FieldError::new("/ein", detail));
        }
        if is_person && !matches!(business.address.country.as_str(), "US" | "CA") {
            let detail = "a sole_proprietor lives in the United States or Canada";
            missing.push(FieldError::new("/address/country", detail));
        }
        if kind(self.business_type.as_deref()).is_none() {
            missing.push(FieldError::new("/business_type", "say which form it has"));
        }
        if self.monthly_volume.is_none() {
            missing.push(FieldError::new("/monthly_volume", "say about how many messages a month"));
        }
        if case.samples.len() < SAMPLES.0 {
            let detail = format!("give {} to {} messages as they will be sent", SAMPLES.0, SAMPLES.1);
            missing.push(FieldError::new("/use_case/samples", detail));
        }
        let vouched = [
            ("/compliance/has_opt_in", self.compliance.has_opt_in),
            ("/compliance/numbers_not_shared", self.compliance.numbers_not_shared),
            ("/compliance/no_forbidden_content", self.compliance.no_forbidden_content),
        ];
        for (pointer, _) in vouched.into_iter().filter(|(_, is_true)| !is_true) {
            missing.push(FieldError::new(pointer, "has to be true, or carriers reject the business"));
        }
        if missing.is_empty() { Ok(business) } else { Err(missing) }
    }
}

impl BusinessUseCase {
    fn check(&self, faults: &mut Faults) {
        let texts = [
            ("/use_case/description", &self.description, DESCRIPTION),
            ("/use_case/opt_in_flow", &self.opt_in_flow, FLOW),
            ("/use_case/opt_in_message", &self.opt_in_message, ANSWER),
            ("/use_case/opt_out_message", &self.opt_out_message, ANSWER),
            ("/use_case/help_message", &self.help_message, ANSWER),
        ];
        for (pointer, text, (least, most)) in texts {
            if text.as_ref().is_some_and(|text| !(least..=most).contains(&text.chars().count())) {
                faults.add(pointer, format!("{least} to {most} characters"));
            }
        }
        if self.samples.len() > SAMPLES.1 {
            faults.add("/use_case/samples", format!("at most {} samples", SAMPLES.1));
        }
        for (index, sample) in self.samples.iter().enumerate() {
            if !(SAMPLE.0..=SAMPLE.1).contains(&sample.chars().count()) {
                faults.add(format!("/use_case/samples/{index}"), format!("{} to {} characters", SAMPLE.0, SAMPLE.1));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(change: Value) -> Vec<String> {
        let mut profile: BusinessProfile = serde_json::from_value(change).unwrap();
        profile.check().err().map_or(Vec::new(), |error| error.errors.into_iter().map(|field| field.pointer).collect())
    }

    #[test]
    fn what_could_never_be_submitted_is_refused_by_name() {
        for (change, pointer) in [
            (json!({"ein": "1234"}), "/ein"),
            (json!({"ein": "00-1234567"}), "/ein"),
            (json!({"business_type": "gmbh"}), "/business_type"),
            (json!({"industry": "magic"}), "/industry"),
            (json!({"website": "acme"}), "/website"),
            (json!({"website": "javascript:alert(1)"}), "/website"),
            (json!({"address": {"region": "Illinois"}}), "/address/region"),
            (json!({"address": {"postal_code": "6270"}}), "/address/postal_code"),
            (json!({"address": {"street": "P.O. Box 7"}}), "/address/street"),
            (json!({"address": {"country": "USA"}}), "/address/country"),
            (json!({"owner": {"phone": "415 555"}}), "/owner/phone"),
            (json!({"owner": {"position": "boss"}}), "/owner/position"),
            (json!({"owner": {"email": "ada"}}), "/owner/email"),
            (json!({"use_case": {"description": "short"}}), "/use_case/description"),
            (
                json!({"use_case": {"samples": ["Acme: your seat is in row 7. Reply STOP to stop.", "hi"]}}),
                "/use_case/samples/1",
            ),
            (json!({"monthly_volume": 0}), "/monthly_volume"),
            (json!({"legal_name": " "}), "/legal_name"),
        ] {
            assert_eq!(refused(change.clone()), [pointer], "{change}");
        }
        assert_eq!(
            refused(
                json!({"ein": "123456789", "address": {"country": "CA", "region": "Ontario", "postal_code": "K1A 0B1"}})
            ),
            Vec::<String>::new()
        );
    }

    #[test]
    fn one_person_needs_a_number_and_no_ein() {
        let pointers = |change: Value| -> Vec<String> {
            let mut profile: Value = json!({
                "legal_name": "Ada Byron", "business_type": "sole_proprietor", "industry": "education", "website": "https://ada.example",
                "address": {"street": "1 High Street", "city": "Springfield", "region": "IL", "postal_code": "62701"},
                "owner": {"first_name": "Ada", "last_name": "Byron", "email": "ada@ada.example", "phone": "+14155550123"},
                "contact_email": "ada@ada.example", "monthly_volume": 500,
                "use_case": {
                    "category": "marketing", "description": "News about lessons, to people who asked for them by mail.",
                    "opt_in_flow": "Whoever books a lesson can tick a box that is empty at first.",
                    "samples": ["Ada: your lesson is at 7 pm. Reply STOP to stop.", "Ada: new lessons in May. Reply STOP to stop."],
                    "privacy_policy_url": "https://ada.example/privacy", "terms_url": "https://ada.example/terms",
                },
                "compliance": {"has_opt_in": true, "numbers_not_shared": true, "no_forbidden_content": true},
            });
            branding::merge(&mut profile, change);
            let profile: BusinessProfile = serde_json::from_value(profile).unwrap();
            profile.business().err().unwrap_or_default().into_iter().map(|field| field.pointer).collect()
        };
        assert_eq!(pointers(json!({})), Vec::<String>::new());
        assert_eq!(pointers(json!({"ein": "12-3456789"})), ["/ein"]);
        assert_eq!(pointers(json!({"address": {"country": "DE"}})), ["/address/country"]);
        assert_eq!(pointers(json!({"owner": {"phone": null}})), ["/owner/phone"]);
        assert_eq!(
            pointers(json!({"business_type": "sole_proprietorship"})),
            ["/ein", "/owner/title", "/owner/position"]
        );
    }

    #[test]
    fn an_empty_profile_says_everything_it_lacks() {
        let missing = BusinessProfile::default().business().unwrap_err();
        let pointers: Vec<&str> = missing.iter().map(|field| field.pointer.as_str()).collect();
        for pointer in [
            "/legal_name",
            "/business_type",
            "/ein",
            "/address/street",
            "/owner/phone",
            "/use_case/samples",
            "/compliance/has_opt_in",
        ] {
            assert!(pointers.contains(&pointer), "{pointer} of {pointers:?}");
        }
        assert!(!pointers.contains(&"/dba") && !pointers.contains(&"/stock_ticker"));
    }
}
