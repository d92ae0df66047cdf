//! When a scheduled campaign goes out: at one instant, at a time each recipient's own clock shows, or again and again. Pure.
//!
//! A time on a clock that the clock jumps over (spring) is moved on by the jump; of one it shows twice (autumn) the first is meant, as everywhere in [`crate::schedules::recurrence`].

use jiff::{civil::DateTime, tz::TimeZone};
use model::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::ScheduleRequest;
use crate::{
    Error,
    names::Faults,
    schedules::recurrence::{Kind, Recurrence, Written},
};

/// How far ahead of UTC a clock is at most, in seconds (Kiritimati): there a day begins first.
const FIRST_CLOCK_S: i64 = 14 * 3_600;
/// How far ahead a campaign can be scheduled, in seconds: as a message can.
const AHEAD_MAX_S: i64 = 366 * 86_400;

/// When a scheduled campaign goes out, other than at one instant.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CampaignTiming {
    /// When each recipient's own clock shows this.
    #[schema(example = "2026-12-01T09:00:00")]
    pub local_start: Option<String>,
    /// Whenever this says, as in RFC 5545; each time is a campaign of its own.
    #[schema(example = "FREQ=WEEKLY;BYDAY=MO")]
    pub rrule: Option<String>,
    /// Whenever this says, as five cron fields.
    #[schema(example = "0 9 * * MON")]
    pub cron: Option<String>,
    /// Whose clock the rule speaks of.
    pub timezone: Option<String>,
    /// Nothing before this; it also gives an RRULE its time of day.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub starts_at: Option<Timestamp>,
    /// Nothing after this.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ends_at: Option<Timestamp>,
    /// Dates on that clock, and instants, that are left out.
    pub skip: Vec<String>,
}

impl CampaignTiming {
    /// The time on each recipient's clock, when there is one.
    pub fn local(&self) -> Option<DateTime> {
        self.local_start.as_ref()?.parse().ok()
    }

    /// When it repeats, when it does.
    pub fn recurrence(&self) -> Result<Option<Recurrence>, Error> {
        let mut faults = Faults::default();
        let recurrence = self.read(&mut faults);
        faults.end()?;
        Ok(recurrence)
    }

    fn read(&self, faults: &mut Faults) -> Option<Recurrence> {
        let (kind, rule) = match (&self.rrule, &self.cron) {
            (Some(rule), _) => (Kind::Rrule, rule),
            (None, Some(rule)) => (Kind::Cron, rule),
            (None, None) => return None,
        };
        let written = Written {
            kind,
            rule,
            timezone: self.timezone.as_deref().unwrap_or("UTC"),
            starts_at: self.starts_at.unwrap_or_default(),
            ends_at: self.ends_at,
            skip: &self.skip,
        };
        Recurrence::read(&written, faults)
    }
}

/// What a request means: when there is something to do first, and how it goes on. `zone` is the tenant's clock.
pub(super) fn read(
    request: &ScheduleRequest,
    zone: &str,
    now: Timestamp,
) -> Result<(Timestamp, Option<CampaignTiming>), Error> {
    let given =
        [request.start_at.is_some(), request.local_start.is_some(), request.rrule.is_some(), request.cron.is_some()];
    if given.iter().filter(|is_given| **is_given).count() != 1 {
        let detail = "say when it goes out: exactly one of `start_at`, `local_start`, `rrule` and `cron`";
        return Err(Error::invalid("/start_at", detail));
    }
    let is_rule = request.rrule.is_some() || request.cron.is_some();
    let rest = [
        ("/timezone", request.timezone.is_some()),
        ("/starts_at", request.starts_at.is_some()),
        ("/ends_at", request.ends_at.is_some()),
        ("/skip", !request.skip.is_empty()),
    ];
    if let Some((pointer, _)) = rest.into_iter().find(|(_, is_given)| *is_given && !is_rule) {
        return Err(Error::invalid(pointer, "only with `rrule` or `cron`"));
    }
    if let Some(at) = request.start_at {
        if at <= now || at > now.plus_seconds(AHEAD_MAX_S) {
            return Err(Error::invalid("/start_at", "an instant to come, at most a year ahead"));
        }
        return Ok((at, None));
    }
    if let Some(text) = &request.local_start {
        let wrong = || {
            let detail = "a time on the clock without an offset, such as 2026-12-01T09:00:00, at most a year ahead";
            Error::invalid("/local_start", detail)
        };
        let local: DateTime = text.parse().map_err(|_| wrong())?;
        let tenants_own = at_clock(local, &TimeZone::get(zone).unwrap_or(TimeZone::UTC)).ok_or_else(wrong)?;
        // An offset would be read over: behind the date nothing else has these signs.
        let has_offset = text.get(10..).is_some_and(|time| time.contains(['z', 'Z', '+', '-', '[']));
        if has_offset || tenants_own > now.plus_seconds(AHEAD_MAX_S) {
            return Err(wrong());
        }
        if tenants_own <= now {
            return Err(Error::invalid(
                "/local_start",
                format!("this is over already in {zone}; choose a time to come"),
            ));
        }
        let first = at_clock(local, &TimeZone::UTC).ok_or_else(wrong)?.plus_seconds(-FIRST_CLOCK_S);
        let timing = CampaignTiming { local_start: Some(text.clone()), ..CampaignTiming::default() };
        return Ok((first.max(now), Some(timing)));
    }
    let timing = CampaignTiming {
        local_start: None,
        rrule: request.rrule.clone(),
        cron: request.cron.clone(),
        timezone: Some(request.timezone.clone().unwrap_or_else(|| zone.to_owned())),
        starts_at: Some(request.starts_at.unwrap_or_else(|| Timestamp::from_seconds(now.as_seconds()))),
        ends_at: request.ends_at,
        skip: request.skip.clone(),
    };
    let next = timing.recurrence()?.and_then(|recurrence| recurrence.next_after(now));
    let pointer = if timing.rrule.is_some() { "/rrule" } else { "/cron" };
    let next = next
        .ok_or_else(|| Error::invalid(pointer, "there is no occurrence from now on, so nothing would ever be sent"))?;
    Ok((next, Some(timing)))
}

/// The instant a clock shows a time.
pub(super) fn at_clock(local: DateTime, zone: &TimeZone) -> Option<Timestamp> {
    zone.to_timestamp(local).ok().map(Timestamp::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: &str = "2026-03-01T12:00:00Z";

    fn request(fields: serde_json::Value) -> ScheduleRequest {
        serde_json::from_value(fields).unwrap()
    }

    #[test]
    fn a_time_on_the_clock_is_one_instant_everywhere_also_when_clocks_change() {
        let check = |local: &str, zone: &str, expected: &str| {
            let at = at_clock(local.parse().unwrap(), &TimeZone::get(zone).unwrap()).unwrap();
            assert_eq!(at, expected.parse().unwrap(), "{local} in {zone}");
        };
        check("2026-12-01T09:00:00", "Pacific/Kiritimati", "2026-11-30T19:00:00Z");
        check("2026-12-01T09:00:00", "Asia/Kolkata", "2026-12-01T03:30:00Z");
        check("2026-12-01T09:00:00", "America/Los_Angeles", "2026-12-01T17:00:00Z");
        // The clock jumps from 2 to 3 in Berlin: half past two comes an hour later.
        check("2026-03-29T02:30:00", "Europe/Berlin", "2026-03-29T01:30:00Z");
        check("2026-03-29T02:30:00", "Europe/London", "2026-03-29T01:30:00Z");
        // And shows it twice in autumn: the first is meant.
        check("2026-10-25T02:30:00", "Europe/Berlin", "2026-10-25T00:30:00Z");
        check("2026-11-01T01:30:00", "America/New_York", "2026-11-01T05:30:00Z");
    }

    #[test]
    fn nobodys_clock_shows_a_time_before_the_first() {
        let now: Timestamp = NOW.parse().unwrap();
        let (first, timing) =
            read(&request(serde_json::json!({"local_start": "2026-03-29T09:00:00"})), "UTC", now).unwrap();
        let local = timing.unwrap().local().unwrap();
        let mut zones = 0;
        for name in jiff::tz::db().available() {
            let at = at_clock(local, &TimeZone::get(name.as_str()).unwrap()).unwrap();
            assert!(at >= first, "{} shows it before {first}", name.as_str());
            zones += 1;
        }
        assert!(zones > 300, "{zones} zones");
    }

    #[test]
    fn what_cannot_be_scheduled_is_pointed_at() {
        let now: Timestamp = NOW.parse().unwrap();
        for (fields, pointer) in [
            (serde_json::json!({}), "/start_at"),
            (serde_json::json!({"start_at": "2026-04-01T00:00:00Z", "rrule": "FREQ=DAILY"}), "/start_at"),
            (serde_json::json!({"start_at": "2026-02-01T00:00:00Z"}), "/start_at"),
            (serde_json::json!({"start_at": "2026-04-01T00:00:00Z", "skip": ["2026-04-02"]}), "/skip"),
            (serde_json::json!({"local_start": "2026-04-01T00:00:00Z"}), "/local_start"),
            (serde_json::json!({"local_start": "2026-04-01T09:00:00+02:00"}), "/local_start"),
            (serde_json::json!({"local_start": "2026-04-01T09:00:00-05:00"}), "/local_start"),
            (serde_json::json!({"local_start": "2026-02-01T00:00:00"}), "/local_start"),
            (serde_json::json!({"local_start": "tomorrow"}), "/local_start"),
            (serde_json::json!({"rrule": "FREQ=NEVER"}), "/rrule"),
            (serde_json::json!({"cron": "0 9 * * MON", "timezone": "Mars"}), "/timezone"),
            (serde_json::json!({"rrule": "FREQ=DAILY;UNTIL=20250101"}), "/rrule"),
        ] {
            let error = read(&request(fields.clone()), "UTC", now).unwrap_err();
            assert_eq!(error.errors[0].pointer, pointer, "{fields}: {}", error.detail);
        }
    }
}
