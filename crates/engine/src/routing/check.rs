//! What a rule must fulfil: every value is one that can occur, its accounts are the tenant's and carry its channel, and some message can still reach it.

use model::{Channel, TenantId};
use store::{Tx, accounts, routes, templates};

use super::{
    RouteTrial,
    rule::{By, Choice, Matches, Otherwise, Rule},
};
use crate::{Error, directory, names::Faults};

/// Rules a tenant can have: they are read with the tenant and asked one after the other.
pub const ROUTES_MAX: usize = 100;
/// Accounts of one rule: as many providers as anybody compares.
const ACCOUNTS_MAX: usize = 20;
/// Values of one kind in a rule: every country of the world has room.
const VALUES_MAX: usize = 300;
/// Names of metadata in a rule.
const METADATA_MAX: usize = 10;
/// Longest name or value of metadata, in characters.
const METADATA_TEXT_MAX: usize = 200;
/// Longest prefix of a number, in digits: E.164 has fifteen.
const PREFIX_MAX: usize = 15;
/// Largest weight.
const WEIGHT_MAX: u32 = 1_000;
/// Longest look back, in hours: a week has every day of the week.
pub(super) const HOURS_MAX: u32 = 168;
/// Highest price, in millionths: a thousand of any currency's unit. More is a slip of the keyboard.
const PRICE_MAX: i64 = 1_000_000_000;

/// What is there, as the transaction sees it.
pub(super) struct Known {
    tenant: TenantId,
    pub rules: Vec<routes::Route>,
    pub accounts: Vec<accounts::Account>,
}

impl Known {
    #[crate::boxed]
    pub async fn read(tx: &mut Tx, tenant: TenantId) -> Result<Self, Error> {
        Ok(Self { tenant, rules: routes::all(tx, tenant).await?, accounts: accounts::all(tx, tenant).await? })
    }

    /// Refuses one rule more than there may be.
    pub fn is_there_room(&self) -> Result<(), Error> {
        if self.rules.len() < ROUTES_MAX {
            return Ok(());
        }
        let detail = format!("There are {ROUTES_MAX} rules already, which is the most. Delete those nobody needs.");
        Err(Error::conflict("too_many_routes", detail))
    }

    /// Refuses a rule with everything that is wrong with it. `rows` are the rules of its channel whose place or content changes.
    #[crate::boxed]
    pub async fn check(
        &self,
        mut faults: Faults,
        tx: &mut Tx,
        rule: &Rule,
        position: Option<u32>,
        rows: &[routes::Route],
    ) -> Result<(), Error> {
        if rule.channel == Channel::Webhook {
            faults
                .add("/channel", "events to endpoints are not routed; choose email, sms, whatsapp, telegram or voice");
        }
        if position == Some(0) {
            faults.add("/position", "positions count from 1");
        }
        matches(&mut faults, &rule.matches, rule.channel);
        choice(&mut faults, rule.choice);
        self.candidates(&mut faults, rule);
        for (index, id) in rule.matches.template_ids.iter().enumerate().take(VALUES_MAX) {
            let pointer = format!("/match/template_ids/{index}");
            match templates::find(tx, self.tenant, *id).await? {
                None => faults.add(pointer, "there is no such template"),
                Some(template) if template.channel != rule.channel => {
                    let detail = format!("this template is for {}, so the rule could never match", template.channel);
                    faults.add(pointer, detail);
                }
                Some(_) => {}
            }
        }
        if let Some(fault) = shadowed(&self.rules, rows, rule) {
            faults.add("/position", fault);
        }
        faults.end()
    }

    fn candidates(&self, faults: &mut Faults, rule: &Rule) {
        if !(1..=ACCOUNTS_MAX).contains(&rule.accounts.len()) {
            faults.add("/accounts", format!("1 to {ACCOUNTS_MAX} accounts"));
        }
        for (index, candidate) in rule.accounts.iter().enumerate().take(ACCOUNTS_MAX) {
            let pointer = format!("/accounts/{index}");
            let id = candidate.account_id;
            if rule.accounts[..index].iter().any(|other| other.account_id == id) {
                faults.add(format!("{pointer}/account_id"), "this account is listed twice");
            }
            let was_listed =
                || self.rules.iter().any(|row| row.id == rule.id && row.accounts.contains(&id.to_string()));
            match self.accounts.iter().find(|account| account.id == id && account.connector != "webhook") {
                Some(account) if !directory::channels(&account.channels).contains(&rule.channel) => {
                    let detail = format!("the account {} does not carry {}", account.name, rule.channel);
                    faults.add(format!("{pointer}/account_id"), detail);
                }
                // One that was deleted since may stay in a rule that is changed otherwise; it is skipped.
                None if !was_listed() => faults.add(format!("{pointer}/account_id"), "there is no such account"),
                Some(_) | None => {}
            }
            if candidate.weight.is_some_and(|weight| weight > WEIGHT_MAX) {
                faults.add(format!("{pointer}/weight"), format!("0 to {WEIGHT_MAX}"));
            }
            if candidate.weight.is_some() && rule.choice.by != By::Weight {
                faults.add(format!("{pointer}/weight"), "weights count only where `choose.by` is weight; leave it out");
            }
            if candidate.price_micros.is_some_and(|price| !(0..=PRICE_MAX).contains(&price)) {
                let detail = format!("0 to {PRICE_MAX} millionths of the currency's unit");
                faults.add(format!("{pointer}/price_micros"), detail);
            }
            if candidate.price_micros.is_some() && rule.choice.by != By::LowestPrice {
                let detail = "prices count only where `choose.by` is lowest_price; leave it out";
                faults.add(format!("{pointer}/price_micros"), detail);
            }
        }
        let is_weighed = rule.choice.by == By::Weight && !rule.accounts.is_empty();
        if is_weighed && rule.accounts.iter().all(|candidate| candidate.weight == Some(0)) {
            faults.add("/accounts", "at least one account needs a weight above 0");
        }
    }
}

fn choice(faults: &mut Faults, choice: Choice) {
    let looks_back = matches!(choice.by, By::BestDeliveryRate | By::Health);
    match choice.hours {
        Some(_) if !looks_back => {
            faults.add("/choose/hours", "only best_delivery_rate and health look back; leave it out");
        }
        Some(hours) if !(1..=HOURS_MAX).contains(&hours) => faults.add("/choose/hours", format!("1 to {HOURS_MAX}")),
        Some(_) | None => {}
    }
}

fn matches(faults: &mut Faults, matches: &Matches, channel: Channel) {
    let has_numbers = matches!(channel, Channel::Sms | Channel::Whatsapp | Channel::Voice);
    for (name, is_given) in [("countries", !matches.countries.is_empty()), ("prefixes", !matches.prefixes.is_empty())] {
        if is_given && !has_numbers {
            let detail = format!("{channel} has no numbers, so the rule could never match; leave it out");
            faults.add(format!("/match/{name}"), detail);
        }
    }
    let counts = [
        ("countries", matches.countries.len()),
        ("prefixes", matches.prefixes.len()),
        ("purposes", matches.purposes.len()),
        ("topics", matches.topics.len()),
        ("template_ids", matches.template_ids.len()),
    ];
    for (name, count) in counts {
        if count > VALUES_MAX {
            faults.add(format!("/match/{name}"), format!("at most {VALUES_MAX}"));
        }
    }
    for (index, country) in matches.countries.iter().enumerate().take(VALUES_MAX) {
        faults.country(&format!("/match/countries/{index}"), country);
    }
    let is_prefix = |text: &str| (1..=PREFIX_MAX).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    for (index, prefix) in matches.prefixes.iter().enumerate().take(VALUES_MAX) {
        if !is_prefix(prefix) {
            let detail = "the first digits of a number, without the + and without spaces, such as 25470";
            faults.add(format!("/match/prefixes/{index}"), detail);
        }
    }
    for (index, topic) in matches.topics.iter().enumerate().take(VALUES_MAX) {
        crate::consent::topics::check_name(faults, &format!("/match/topics/{index}"), topic);
    }
    if let Some(hours) = &matches.hours {
        if hours.from == hours.until {
            faults.add("/match/hours/until", "nothing lies between `from` and `until`, so the rule could never match");
        }
        if let Some(zone) = &hours.timezone {
            faults.timezone("/match/hours/timezone", zone);
        }
        if hours.days.len() > 7 {
            faults.add("/match/hours/days", "a week has seven days");
        }
    }
    metadata(faults, matches);
}

fn metadata(faults: &mut Faults, matches: &Matches) {
    if matches.metadata.len() > METADATA_MAX {
        faults.add("/match/metadata", format!("at most {METADATA_MAX} names"));
    }
    let is_long = |text: &String| text.chars().count() > METADATA_TEXT_MAX;
    for (name, values) in matches.metadata.iter().take(METADATA_MAX) {
        let pointer = format!("/match/metadata/{}", name.replace('~', "~0").replace('/', "~1"));
        if is_long(name) || values.iter().any(is_long) {
            faults.add(&pointer, format!("names and values have at most {METADATA_TEXT_MAX} characters"));
        }
        if values.is_empty() {
            faults.add(&pointer, "without a value the rule could never match; name one, or leave the name out");
        }
        if values.len() > VALUES_MAX {
            faults.add(&pointer, format!("at most {VALUES_MAX} values"));
        }
    }
}

/// Why a rule could never be reached, or another one behind it not any more: an enabled rule about every message of the channel that lets none through to the next ends the list.
fn shadowed(all: &[routes::Route], changed: &[routes::Route], rule: &Rule) -> Option<String> {
    let now = |row: &routes::Route| changed.iter().find(|other| other.id == row.id).unwrap_or(row).clone();
    let mut rows: Vec<routes::Route> = all.iter().map(now).collect();
    rows.extend(changed.iter().filter(|row| all.iter().all(|other| other.id != row.id)).cloned());
    rows.retain(|row| row.channel == rule.channel && row.is_enabled);
    rows.sort_by_key(|row| row.position);
    let ends = |row: &routes::Route| {
        let read = Rule::read(row);
        read.is_some_and(|read| read.matches.is_empty() && read.otherwise == Otherwise::Wait)
    };
    let last = rows.iter().position(ends)?;
    let first_behind = rows.get(last + 1)?;
    let is_behind = rows[last + 1..].iter().any(|row| row.id == rule.id);
    if rows[last].id == rule.id {
        return Some(format!(
            "this rule is about every message of the channel and lets none through to the next, so the rule {} behind it could never match; put it last",
            first_behind.name
        ));
    }
    is_behind.then(|| {
        format!(
            "the rule {} is about every message of the channel and lets none through to the next, so this rule could never match; put it before that one",
            rows[last].name
        )
    })
}

/// The address of a message to try.
pub(super) fn address(trial: &RouteTrial) -> Result<String, Error> {
    let number = || trial.to.phone.as_ref().map(|phone| phone.as_str().to_owned());
    match trial.channel {
        Channel::Webhook => Err(Error::invalid("/channel", "events to endpoints are not routed")),
        Channel::Email => Ok(trial.to.email.as_ref().map(|email| email.as_str().to_owned()).unwrap_or_default()),
        Channel::Telegram => Ok(String::new()),
        Channel::Sms | Channel::Whatsapp | Channel::Voice => number()
            .ok_or_else(|| Error::invalid("/to/phone", format!("a message over {} needs a number", trial.channel))),
    }
}
