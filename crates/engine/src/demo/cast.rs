//! The people, lists, templates and accounts of a demo tenant, made through the operations everybody uses.

use std::sync::Arc;

use connectors::sandbox::{Act, MAGIC};
use futures_util::future::try_join_all;
use model::{AccountId, ContactId, FailureKind, ListId, TemplateId, Timestamp};
use serde_json::{Value, json};

use super::{id, read, step};
use crate::{
    Engine, Error, accounts,
    contacts::{self, lists},
    keys::Caller,
    registrations::{self, profile},
    templates,
};

/// People in it: enough for pages, charts and a campaign one can watch.
pub(super) const PEOPLE: usize = 120;
/// Contacts made at once: they share their commits.
const TOGETHER: usize = 40;
/// Every so many of them said no to the newsletter.
const NO_EVERY: usize = 5;
/// Every so many of them can no longer be reached by mail.
const GONE_EVERY: usize = 23;
/// Messages of the ordinary day.
const DAY: usize = 60;
/// Every so many of those has a recipient with a bad day.
const BAD_EVERY: usize = 10;
/// How fast the slow account sends, a second: a campaign to everybody takes about two minutes.
const SLOW_PER_SECOND: u32 = 1;
const FIRST: [&str; 16] = [
    "Ada",
    "Grace",
    "Alan",
    "Edsger",
    "Barbara",
    "Donald",
    "Margaret",
    "Tim",
    "Radia",
    "Dennis",
    "Frances",
    "Ken",
    "Hedy",
    "John",
    "Katherine",
    "Niklaus",
];
const LAST: [&str; 11] =
    ["Byron", "Okafor", "Lindqvist", "Moreau", "Tanaka", "Silva", "Novak", "Haddad", "Kowalski", "Murphy", "Nair"];
const PLACES: [(&str, &str); 5] = [
    ("America/New_York", "en"),
    ("America/Chicago", "en"),
    ("Europe/Berlin", "de"),
    ("Europe/Madrid", "es"),
    ("Africa/Nairobi", "en"),
];

/// Somebody in the demo.
pub(super) struct Person {
    pub id: ContactId,
    pub first: &'static str,
    pub email: String,
    pub phone: String,
    /// Whether they agreed to the newsletter.
    pub agreed: bool,
}

/// Everything the rest of the filling speaks of.
pub(super) struct Cast {
    pub people: Vec<Person>,
    /// The list of those who agreed to the newsletter.
    pub newsletter: ListId,
    /// The account of every channel.
    pub account: AccountId,
    /// The one the campaign goes through.
    pub slow: AccountId,
    pub programme: TemplateId,
}

/// Makes what is not there yet. Each step has its key, so a second call answers the same.
pub(super) async fn make(engine: &Arc<Engine>, caller: &Caller, made_at: Timestamp) -> Result<Cast, Error> {
    let parts = engine.parts();
    let account = json!({"name": "Everything (sandbox)", "connector": super::CONNECTOR});
    let account = id(&accounts::create(parts, caller, &step("account"), read(account)?).await?)?;
    register(engine, caller, account).await?;
    let slow = json!({
        "name": "Newsletter (sandbox)", "connector": super::CONNECTOR, "channels": ["email"], "default_for": [], "per_second": SLOW_PER_SECOND,
        "from": "Acme Tickets <news@acme.example>",
    });
    let slow = id(&accounts::create(parts, caller, &step("account-slow"), read(slow)?).await?)?;
    let programme = template(
        engine,
        caller,
        "winter-programme",
        json!({
            "name": "winter-programme", "channel": "email", "description": "What is on this winter.", "variants": {
                "en": {"subject": "{{ contact.first_name }}, this is your winter", "html": PROGRAMME_EN},
                "de": {"subject": "{{ contact.first_name }}, das wird Ihr Winter", "html": PROGRAMME_DE}
            }, "default_locale": "en",
        }),
    );
    let programme = programme.await?;
    template(
        engine,
        caller,
        "doors-open",
        json!({
            "name": "doors-open", "channel": "sms", "description": "The evening before.", "default": true,
            "variants": {"en": {"text": "Hello {{ name }}, doors open at 7 pm. Your seat is {{ seat }}."}},
        }),
    )
    .await?;
    let mut people = Vec::with_capacity(PEOPLE);
    for from in (0..PEOPLE).step_by(TOGETHER) {
        let together = (from..(from + TOGETHER).min(PEOPLE)).map(|index| person(engine, caller, index, made_at));
        people.extend(try_join_all(together).await?);
    }
    list(engine, caller, "customers", "Customers", people.iter()).await?;
    let newsletter =
        list(engine, caller, "newsletter", "Newsletter", people.iter().filter(|person| person.agreed)).await?;
    Ok(Cast { people, newsletter, account, slow, programme })
}

/// Registers the business with American carriers: at the sandbox that is half a minute.
async fn register(engine: &Arc<Engine>, caller: &Caller, account: AccountId) -> Result<(), Error> {
    let profile = json!({
        "legal_name": "Acme Events LLC", "dba": "Acme Tickets", "business_type": "llc", "ein": "12-3456789", "industry": "hospitality", "website": "https://acme.example",
        "address": {"street": "1 High Street", "city": "Springfield", "region": "IL", "postal_code": "62701", "country": "US"},
        "owner": {"first_name": "Ada", "last_name": "Demo", "title": "Founder", "position": "ceo", "email": "ada@acme.example", "phone": "+12025550100"},
        "contact_email": "compliance@acme.example", "monthly_volume": 5_000,
        "use_case": {
            "category": "mixed", "description": "Tickets, reminders before a show, and news to people who asked for them.",
            "opt_in_flow": "Whoever buys a ticket on acme.example can tick a box that is empty at first, beside the words of the consent.",
            "samples": [
                "Acme Tickets: doors open at 7 pm, your seat is 7B. Reply STOP to stop.", "Acme Tickets: new dates in May, https://acme.example/may. Reply STOP to stop.",
            ],
            "has_links": true, "privacy_policy_url": "https://acme.example/privacy", "terms_url": "https://acme.example/sms-terms",
        },
        "compliance": {"has_opt_in": true, "numbers_not_shared": true, "no_forbidden_content": true},
    });
    profile::patch(engine, caller, profile.to_string().as_bytes()).await?;
    let new = read(json!({"account_id": account, "area_code": "202"}))?;
    registrations::create(engine, caller, &step("registration"), new).await.map(drop)
}

async fn template(engine: &Arc<Engine>, caller: &Caller, name: &str, new: Value) -> Result<TemplateId, Error> {
    let made = templates::create(engine, caller, &step(&format!("template-{name}")), read(new)?).await?;
    let made = id(&made)?;
    let which = read(json!({"version": 1}))?;
    templates::publish(engine, caller, &step(&format!("publish-{name}")), made, which).await?;
    Ok(made)
}

async fn person(engine: &Arc<Engine>, caller: &Caller, index: usize, made_at: Timestamp) -> Result<Person, Error> {
    let (first, last) = (FIRST[index % FIRST.len()], LAST[index % LAST.len()]);
    let (timezone, language) = PLACES[index % PLACES.len()];
    // The sandbox acts for such an address as if the mailbox were gone.
    let gone = if index % GONE_EVERY == GONE_EVERY - 1 { "bounce+" } else { "" };
    let email = format!("{gone}{}.{}{index}@example.com", first.to_lowercase(), last.to_lowercase());
    // The numbers set aside for stories.
    let phone = format!("+1202555{:04}", 100 + index % 100);
    let phone = if index < 100 { phone } else { format!("+1303555{:04}", 100 + index % 100) };
    let mut new = json!({
        "external_id": format!("customer-{}", 1_000 + index), "email": email, "phone": phone, "first_name": first, "last_name": last,
        "language": language, "timezone": timezone,
    });
    new["whatsapp"] = if index.is_multiple_of(3) { json!(phone) } else { Value::Null };
    let id: ContactId = id(&contacts::create(engine, caller, &step(&format!("contact-{index}")), read(new)?).await?)?;
    let agreed = index % NO_EVERY != NO_EVERY - 1;
    let at = made_at.plus_seconds(-86_400 * (3 + (index as i64 * 7) % 55));
    let said = json!({
        "channel": "email", "state": if agreed { "opted_in" } else { "opted_out" }, "method": "form", "at": at,
        "text": "Yes, tell me about new concerts. I can say no at any time.", "ip": "192.0.2.7",
    });
    engine.record_consent(caller, &step(&format!("consent-{index}")), id, read(said)?).await?;
    Ok(Person { id, first, email, phone, agreed })
}

async fn list(
    engine: &Arc<Engine>,
    caller: &Caller,
    key: &str,
    name: &str,
    people: impl Iterator<Item = &Person>,
) -> Result<ListId, Error> {
    let new = read(json!({"name": name, "description": "Made for the demo."}))?;
    let made = id(&lists::create(engine, caller, &step(&format!("list-{key}")), new).await?)?;
    let contact_ids: Vec<_> = people.map(|person| person.id).collect();
    let members = read(json!({ "contact_ids": contact_ids }))?;
    lists::change_members(engine, caller, &step(&format!("members-{key}")), made, lists::Way::Add, members).await?;
    Ok(made)
}

impl Cast {
    /// Messages of the ordinary day: mail and SMS in turns, and now and then a recipient with a bad day.
    pub fn day(&self) -> Vec<Value> {
        // Those that speak against the account are left out: it would rest, and everything with it, when somebody first looks.
        let speaks_against = |act: Act| {
            use FailureKind::{Account, Throttled, Unavailable, Unknown};
            matches!(act, Act::Refuse(Account | Throttled | Unavailable | Unknown))
        };
        let acts: Vec<_> = MAGIC.iter().filter(|magic| !speaks_against(magic.act)).collect();
        let message = |(index, person): (usize, &Person)| {
            let bad = (index % BAD_EVERY == BAD_EVERY - 1).then(|| acts[index / BAD_EVERY % acts.len()]);
            let seat = format!("{}{}", index / 20 + 1, char::from(b'A' + (index % 20) as u8));
            let by_sms = index % 2 == 1 && bad.is_none_or(|bad| bad.phone.is_some());
            let to = match bad {
                Some(bad) if by_sms => json!({"phone": bad.phone}),
                Some(bad) => match bad.email {
                    Some(local) => json!({"email": format!("{local}+{index}@example.com")}),
                    None => json!({"email": person.email}),
                },
                None => json!({"contact_id": person.id}),
            };
            let content = if by_sms {
                json!({"text": "Hello {{ name }}, doors open at 7 pm. Your seat is {{ seat }}."})
            } else {
                json!({
                    "subject": "Your ticket, {{ name }}", "text": "Hello {{ name }},\n\ndoors open at 7 pm. Your seat is {{ seat }}.\n",
                    "html": "<p>Hello {{ name }},</p><p>doors open at 7 pm. Your seat is <b>{{ seat }}</b>.</p>",
                })
            };
            json!({
                "to": to, "channel": if by_sms { "sms" } else { "email" }, "purpose": "transactional", "content": content,
                "variables": {"name": person.first, "seat": seat}, "metadata": {"order": format!("{}", 5_000 + index)},
            })
        };
        self.people.iter().take(DAY).enumerate().map(message).collect()
    }
}

const PROGRAMME_EN: &str = "<h1>Hello {{ contact.first_name }},</h1><p>three concerts, two plays and one very long night: this is our winter.</p>\
    <p><a href=\"https://acme.example/winter\">See the programme</a></p>";
const PROGRAMME_DE: &str = "<h1>Guten Tag {{ contact.first_name }},</h1><p>drei Konzerte, zwei Stücke und eine sehr lange Nacht: das ist unser Winter.</p>\
    <p><a href=\"https://acme.example/winter\">Zum Programm</a></p>";
