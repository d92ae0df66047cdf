//! When marketing texts may arrive in the United States. The rules are a table beside this file; here it is read, and a number is looked up in it.
//!
//! The zone of a contact is known better than the area code of a number tells it: with a zone, the state's window is taken on that clock. An area code that is not in the
//! table (toll-free, too new) is held to the narrowest window in every zone of the country.

use std::{collections::HashMap, sync::LazyLock};

use jiff::tz::TimeZone;

use super::hours::{Rule, Windows, clock};

const TABLE: &str = include_str!("us_windows.txt");

struct State {
    name: &'static str,
    zones: Vec<TimeZone>,
    windows: Windows,
    daily_max: Option<u32>,
    source: &'static str,
}

struct Table {
    states: Vec<State>,
    /// Area code to its state; `None` for one outside of the United States.
    codes: HashMap<&'static str, Option<usize>>,
}

static STATES: LazyLock<Table> = LazyLock::new(|| read(TABLE).expect("the table beside this file is read by a test"));

/// What holds for texts to one number.
#[derive(Debug, Clone)]
pub struct Held {
    /// The state, or `US` when the number does not tell.
    pub state: &'static str,
    /// Where the rule stands.
    pub source: &'static str,
    /// All of these must be open.
    pub rules: Vec<Rule>,
    /// Most texts in 24 hours on one subject.
    pub daily_max: Option<u32>,
}

/// What holds for marketing texts to `phone` (E.164), whose owner's zone may be known. `None` outside of the United States.
pub fn of(phone: &str, zone: Option<&TimeZone>) -> Option<Held> {
    let national = phone.strip_prefix("+1").filter(|rest| rest.len() == 10)?;
    let table = &*STATES;
    let index = match table.codes.get(&national[..3]) {
        Some(None) => return None,
        Some(Some(index)) => *index,
        None => 0,
    };
    let state = &table.states[index];
    let zones = zone.map_or_else(|| state.zones.clone(), |zone| vec![zone.clone()]);
    Some(Held {
        state: if state.name == "*" { "US" } else { state.name },
        source: state.source,
        rules: zones.into_iter().map(|zone| Rule { zone, windows: state.windows.clone() }).collect(),
        daily_max: state.daily_max,
    })
}

fn read(text: &'static str) -> Result<Table, String> {
    let mut table = Table { states: Vec::new(), codes: HashMap::new() };
    for line in text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty()) {
        let cells: Vec<&'static str> = line.split('|').map(str::trim).collect();
        let [name, zones, week, sunday, daily, _since, source, codes] = cells[..] else {
            return Err(format!("a line has eight cells: {line}"));
        };
        let state = if name == "-" {
            None
        } else {
            let (week, sunday) = (span(week)?, span(sunday)?);
            let zones = zones.split_whitespace().map(|zone| TimeZone::get(zone).map_err(|error| error.to_string()));
            table.states.push(State {
                name,
                zones: zones.collect::<Result<_, _>>()?,
                windows: Windows { days: std::array::from_fn(|day| vec![if day == 6 { sunday } else { week }]) },
                daily_max: daily.parse().ok(),
                source,
            });
            Some(table.states.len() - 1)
        };
        for code in codes.split_whitespace() {
            if table.codes.insert(code, state).is_some() {
                return Err(format!("the area code {code} stands twice"));
            }
        }
    }
    match table.states.first() {
        Some(first) if first.name == "*" => Ok(table),
        _ => Err("the first line is for everybody".to_owned()),
    }
}

fn span(text: &str) -> Result<(u16, u16), String> {
    let parts = text.split_once('-').and_then(|(from, until)| Some((clock::parse(from)?, clock::parse(until)?)));
    parts.filter(|(from, until)| from < until).ok_or_else(|| format!("`{text}` is no span such as 08:00-21:00"))
}

#[cfg(test)]
mod tests {
    use model::Timestamp;

    use super::*;
    use crate::consent::hours::next_open;

    fn opens(phone: &str, zone: Option<&str>, at: &str) -> String {
        let zone = zone.map(|zone| TimeZone::get(zone).unwrap());
        let held = of(phone, zone.as_ref()).unwrap();
        let open = next_open(&held.rules, at.parse::<Timestamp>().unwrap()).unwrap();
        format!("{} {open}", held.state)
    }

    #[test]
    fn the_table_is_whole() {
        let table = read(TABLE).unwrap();
        assert_eq!(table.states.len(), 53, "fifty states, the capital, Puerto Rico and the rest");
        assert!(table.codes.len() > 400, "{}", table.codes.len());
        assert!(table.codes.keys().all(|code| code.len() == 3 && code.bytes().all(|byte| byte.is_ascii_digit())));
    }

    #[test]
    fn each_state_has_its_window() {
        // Saturday, 28 November 2026, 01:00 UTC is Friday evening, 20:00 in New York.
        let evening = "2026-11-28T01:00:00Z";
        for (phone, zone, expected) in [
            ("+12125550100", None, "NY 2026-11-28T01:00:00.000000Z"),
            ("+13055550100", None, "FL 2026-11-28T14:00:00.000000Z"),
            ("+18605550100", None, "CT 2026-11-28T14:00:00.000000Z"),
            ("+14155550100", None, "CA 2026-11-28T01:00:00.000000Z"),
            ("+14155550100", Some("America/New_York"), "CA 2026-11-28T01:00:00.000000Z"),
            ("+14155550100", Some("Europe/Berlin"), "CA 2026-11-28T07:00:00.000000Z"),
            ("+18005550100", None, "US 2026-11-28T19:00:00.000000Z"),
        ] {
            assert_eq!(opens(phone, zone, evening), expected, "{phone}");
        }
        assert_eq!(
            opens("+12145550100", Some("America/Chicago"), "2026-11-29T14:00:00Z"),
            "TX 2026-11-29T18:00:00.000000Z",
            "Sunday at noon"
        );
        assert_eq!(of("+13055550100", None).unwrap().daily_max, Some(3));
    }

    #[test]
    fn only_numbers_of_the_united_states_are_held() {
        for phone in ["+14165550100", "+18765550100", "+4915112345678", "+44201234567", "+1212", ""] {
            assert!(of(phone, None).is_none(), "{phone}");
        }
    }
}
