//! A rule between its form and the engine's request.

use std::collections::BTreeMap;

use engine::{
    Error,
    accounts::AccountView,
    routing::{
        RouteView,
        rule::{By, Candidate, Choice, Day, Hours, Matches, Otherwise},
    },
};
use model::Purpose;

use super::{BYS, clock};
use crate::form::Form;

/// What the form says.
pub(super) struct Said {
    pub(super) matches: Matches,
    pub(super) choose: Choice,
    pub(super) accounts: Vec<Candidate>,
    pub(super) otherwise: Otherwise,
}

/// Reads the form.
pub(super) fn said(form: &Form, accounts: &[AccountView]) -> Result<Said, Error> {
    let mut bad: Vec<engine::FieldError> = Vec::new();
    let mut add = |pointer: &str, detail: &str| bad.push(engine::FieldError::new(pointer, detail));
    let words = |name: &str| -> Vec<String> {
        let text = form.text(name);
        text.split([',', ' ', ';']).filter(|word| !word.is_empty()).map(str::to_owned).collect()
    };
    let mut template_ids = Vec::new();
    for word in words("match/template_ids") {
        match word.parse() {
            Ok(id) => template_ids.push(id),
            Err(_) => add("/match/template_ids", "an id begins with tpl_"),
        }
    }
    let mut metadata: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for part in form.text("match/metadata").split([',', ';']).filter(|part| !part.trim().is_empty()) {
        match part.split_once('=') {
            Some((name, values)) => {
                let values = values.split('|').map(|value| value.trim().to_owned()).collect();
                metadata.insert(name.trim().to_owned(), values);
            }
            None => add("/match/metadata", "write name = value"),
        }
    }
    let hours = match (form.filled("hours-from"), form.filled("hours-until")) {
        (None, None) => None,
        (from, until) => {
            let read = |text: Option<&str>| text.and_then(engine::consent::hours::clock::parse);
            if let (Some(from), Some(until)) = (read(from), read(until)) {
                let on: Vec<&str> = form.all("hours-days").collect();
                let days = Day::ALL.into_iter().filter(|day| on.contains(&day.as_str())).collect();
                Some(Hours { from, until, days, timezone: form.filled("hours-zone").map(str::to_owned) })
            } else {
                add("/match/hours", "write both times as in 09:00");
                None
            }
        }
    };
    let by = BYS.into_iter().find(|by| by.as_str() == form.text("choose/by")).unwrap_or(By::Priority);
    let hours_back = form.filled("choose/hours").map(|text| text.parse::<u32>());
    if matches!(hours_back, Some(Err(_))) {
        add("/choose/hours", "write a whole number, or leave it empty");
    }
    let mut listed: Vec<(u32, Candidate)> = Vec::new();
    for account in accounts {
        let id = account.id;
        let Some(place) = form.filled(&format!("place-{id}")) else { continue };
        let Ok(place) = place.parse() else {
            add("/accounts", "places are whole numbers, 1 first");
            continue;
        };
        let weight = form.filled(&format!("weight-{id}")).map(|text| text.parse::<u32>());
        let price = form.filled(&format!("price-{id}")).map(micros);
        if matches!(weight, Some(Err(_))) || matches!(price, Some(None)) {
            add("/accounts", "shares are whole numbers, and prices numbers such as 0.0075");
        }
        let candidate = Candidate {
            account_id: id,
            weight: weight.and_then(Result::ok).filter(|_| by == By::Weight),
            price_micros: price.flatten().filter(|_| by == By::LowestPrice),
        };
        listed.push((place, candidate));
    }
    listed.sort_by_key(|(place, _)| *place);
    if !bad.is_empty() {
        return Err(Error::invalid_fields(bad));
    }
    let looks_back = matches!(by, By::BestDeliveryRate | By::Health);
    Ok(Said {
        matches: Matches {
            countries: words("match/countries").into_iter().map(|word| word.to_uppercase()).collect(),
            prefixes: words("match/prefixes").into_iter().map(|word| word.trim_start_matches('+').to_owned()).collect(),
            purposes: form.text("match/purposes").parse::<Purpose>().into_iter().collect(),
            topics: words("match/topics"),
            template_ids,
            hours,
            metadata,
        },
        choose: Choice { by, hours: hours_back.and_then(Result::ok).filter(|_| looks_back) },
        accounts: listed.into_iter().map(|(_, candidate)| candidate).collect(),
        otherwise: if form.text("otherwise") == "wait" { Otherwise::Wait } else { Otherwise::NextRule },
    })
}

/// A decimal number as millionths.
fn micros(text: &str) -> Option<i64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let is_digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if text.is_empty() || whole.len() > 9 || part.len() > 6 || !is_digits(whole) || !is_digits(part) {
        return None;
    }
    let whole: i64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    Some(whole * 1_000_000 + format!("{part:0<6}").parse::<i64>().ok()?)
}

/// Millionths as a decimal number.
pub(super) fn decimal(micros: i64) -> String {
    let text = format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// The form as a rule is stored.
pub(super) fn stored(rule: &RouteView) -> Form {
    let m = &rule.matches;
    let ids: Vec<String> = m.template_ids.iter().map(ToString::to_string).collect();
    let metadata: Vec<String> =
        m.metadata.iter().map(|(name, values)| format!("{name} = {}", values.join(" | "))).collect();
    let mut form = Form::of([
        ("name", rule.name.clone()),
        ("match/countries", m.countries.join(", ")),
        ("match/prefixes", m.prefixes.join(", ")),
        ("match/purposes", if m.purposes.len() == 1 { m.purposes[0].as_str().to_owned() } else { String::new() }),
        ("match/topics", m.topics.join(", ")),
        ("match/template_ids", ids.join(", ")),
        ("match/metadata", metadata.join(", ")),
        ("choose/by", rule.choose.by.as_str().to_owned()),
        ("choose/hours", rule.choose.hours.map(|hours| hours.to_string()).unwrap_or_default()),
        ("otherwise", rule.otherwise.as_str().to_owned()),
    ]);
    if rule.enabled {
        form.set("enabled", "true");
    }
    if let Some(hours) = &m.hours {
        form.set("hours-from", clock(hours.from));
        form.set("hours-until", clock(hours.until));
        form.set("hours-zone", hours.timezone.clone().unwrap_or_default());
        hours.days.iter().for_each(|day| form.set("hours-days", day.as_str()));
    }
    for (place, one) in (1..).zip(&rule.accounts) {
        let place: u32 = place;
        form.set(format!("place-{}", one.account_id), place.to_string());
        form.set(format!("weight-{}", one.account_id), one.weight.map(|weight| weight.to_string()).unwrap_or_default());
        form.set(format!("price-{}", one.account_id), one.price_micros.map(decimal).unwrap_or_default());
    }
    form
}
