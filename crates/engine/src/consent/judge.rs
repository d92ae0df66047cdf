//! Whether a message may go to a contact now: pure. Suppressions of the address are looked at before ([`super::bar`]); here is what the contact said and prefers, and the clock.

use jiff::tz::{Offset, TimeZone};
use model::{Channel, ConsentState, Failure, FailureKind, MessageId, Purpose, Timestamp};
use store::consents::{Preferences, Sent, Standing};

use super::{
    hours::{self, QuietHours, Rule, clock},
    policy::Policy,
    preferences, us_windows,
};

/// What numbers in India begin with.
const INDIA: &str = "+91";
/// How far its clocks are ahead, in seconds; they never change.
const INDIA_OFFSET_S: i32 = 19_800;
/// A day, in seconds.
const DAY_S: i64 = 86_400;

/// What is known about a message and its contact.
pub struct Facts<'a> {
    /// The message.
    pub id: MessageId,
    /// Its channel.
    pub channel: Channel,
    /// Its purpose.
    pub purpose: Purpose,
    /// Its topic.
    pub topic: Option<&'a str>,
    /// Its address.
    pub address: &'a str,
    /// The tenant's rules.
    pub policy: &'a Policy,
    /// The contact it goes to. Without one, marketing to a bare address needs nothing but that the address is not suppressed: whoever gives it vouches for it.
    pub contact: Option<Contact<'a>>,
    /// When it would leave.
    pub at: Timestamp,
}

/// What is known about a contact.
pub struct Contact<'a> {
    /// Its last words.
    pub standing: Vec<&'a Standing>,
    /// What it prefers.
    pub preferences: Option<&'a Preferences>,
    /// Its own clock.
    pub zone: Option<TimeZone>,
    /// Marketing it got, or is about to get.
    pub marketing: Vec<&'a Sent>,
    /// What it got about the message's topic, or is about to get, where that is one of reminders.
    pub reminded: Vec<&'a Sent>,
}

/// What follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It may go.
    Go,
    /// It must not go.
    Bar(Failure),
    /// Not before this instant.
    Wait {
        /// When.
        until: Timestamp,
        /// Why, for people.
        why: String,
    },
}

/// Judges a message.
pub fn judge(facts: &Facts<'_>) -> Verdict {
    let bar = |code: &str, detail: String| Verdict::Bar(Failure::new(FailureKind::OptedOut, code, detail));
    if let Some(contact) = &facts.contact {
        if contact.preferences.is_some_and(|preferences| preferences.do_not_contact) {
            let detail = "The contact is not to be contacted. Clear `do_not_contact` in its preferences if that no longer holds.";
            return bar("do_not_contact", detail.to_owned());
        }
        if let Some(detail) = over_reminders(facts, contact) {
            return bar("reminder_frequency", detail);
        }
        if facts.purpose == Purpose::Marketing {
            if let Some((code, detail)) = no_consent(facts, contact) {
                return bar(code, detail);
            }
            if let Some(detail) = over_cap(facts, contact) {
                return bar("frequency_cap", detail);
            }
        }
    }
    if facts.purpose == Purpose::Transactional { Verdict::Go } else { hours(facts) }
}

/// Why a contact gets no marketing, as far as consent goes. Nothing said is no.
fn no_consent(facts: &Facts<'_>, contact: &Contact<'_>) -> Option<(&'static str, String)> {
    let said = |topic: &str| {
        contact.standing.iter().find(|s| s.channel == facts.channel && s.topic == topic).map(|standing| standing.state)
    };
    let (whole, about) = (said(""), facts.topic.and_then(said));
    let channel = facts.channel;
    match (whole, about) {
        (Some(ConsentState::OptedOut), _) => {
            Some(("opted_out", format!("The contact wants no marketing over {channel}.")))
        }
        (_, Some(ConsentState::OptedOut)) => {
            let topic = facts.topic.unwrap_or_default();
            Some(("opted_out_of_topic", format!("The contact wants nothing about {topic} over {channel}.")))
        }
        (Some(ConsentState::OptedIn), _) | (_, Some(ConsentState::OptedIn)) => None,
        (Some(ConsentState::Pending), _) | (_, Some(ConsentState::Pending)) => Some((
            "consent_pending",
            format!("The contact was asked about marketing over {channel} and has not confirmed it yet."),
        )),
        (None, None) => Some((
            "no_consent",
            format!(
                "The contact has not agreed to marketing over {channel}. Record its consent with POST /v1/contacts/{{id}}/consents, or ask for it."
            ),
        )),
    }
}

/// Why a contact has had enough. Messages that were accepted before this one, or were sent already, count; those that come later count it.
fn over_cap(facts: &Facts<'_>, contact: &Contact<'_>) -> Option<String> {
    let cap = facts.policy.settings.frequency_cap?;
    let count = had(facts, &contact.marketing, i64::from(cap.days) * 86_400).count();
    (count >= cap.max as usize).then(|| {
        format!(
            "The contact gets at most {} marketing messages in {} days over all channels, and has had {count}. Raise `frequency_cap` in the consent policy, or send it later.",
            cap.max, cap.days
        )
    })
}

/// True for topics whose messages remind of something: the contact says how often it wants that.
pub fn is_reminder(topic: Option<&str>) -> bool {
    topic.is_some_and(|topic| topic.ends_with("_reminders"))
}

/// Why a contact is not reminded again yet. Days are those of its own calendar, so what comes at the same hour every day comes every day.
fn over_reminders(facts: &Facts<'_>, contact: &Contact<'_>) -> Option<String> {
    let topic = facts.topic.filter(|topic| is_reminder(Some(topic)))?;
    let days = contact.preferences.and_then(preferences::reminders)?.days();
    let zone = contact.zone.as_ref().unwrap_or(&facts.policy.zone);
    let day = |at: Timestamp| zone.to_datetime(at.jiff()).date();
    let today = day(facts.at);
    let is_near = |sent: &&Sent| today.since(day(sent.at)).is_ok_and(|span| span.get_days() < days.cast_signed());
    // A day more than asked for: the calendar decides about the edge.
    let last = had(facts, &contact.reminded, i64::from(days + 1) * DAY_S).filter(is_near).map(|sent| sent.at).max()?;
    let every = if days == 1 { "once a day".to_owned() } else { format!("every {days} days") };
    Some(format!(
        "The contact wants to be reminded {every} at most, and had a message about {topic} on {}. Change `reminders` in its preferences, or send it later.",
        day(last)
    ))
}

/// What a contact has had within so many seconds.
fn had<'f>(facts: &'f Facts<'_>, list: &'f [&'f Sent], within_s: i64) -> impl Iterator<Item = &'f Sent> {
    let since = facts.at.plus_seconds(-within_s);
    let counts = move |sent: &&Sent| {
        sent.message_id != facts.id
            && (sent.is_sent || sent.message_id < facts.id)
            && sent.at > since
            && sent.at <= facts.at
    };
    list.iter().copied().filter(counts)
}

/// Until when a marketing text waits because a state allows only so many in 24 hours on one subject: the topic.
fn over_state_cap(facts: &Facts<'_>, state: &us_windows::Held) -> Option<Verdict> {
    let (max, contact) = (state.daily_max? as usize, facts.contact.as_ref()?);
    let same = |sent: &&Sent| sent.channel == Channel::Sms && sent.topic.as_deref() == facts.topic;
    let mut times: Vec<Timestamp> = had(facts, &contact.marketing, DAY_S).filter(same).map(|sent| sent.at).collect();
    times.sort_unstable();
    let until = times.get(times.len().checked_sub(max)?)?.plus_seconds(DAY_S);
    let why = format!(
        "It waits because {} allows {max} marketing texts in 24 hours on one subject ({}).",
        state.state, state.source
    );
    Some(Verdict::Wait { until, why })
}

/// Quiet hours and lawful windows.
fn hours(facts: &Facts<'_>) -> Verdict {
    let own_zone = facts.contact.as_ref().and_then(|contact| contact.zone.clone());
    let zone = own_zone.clone().unwrap_or_else(|| facts.policy.zone.clone());
    let mut rules = Vec::new();
    let mut why = Vec::new();
    if let Some(quiet) = quiet(facts) {
        let name = zone.iana_name().unwrap_or("UTC").to_owned();
        why.push(format!("quiet hours from {} to {} in {name}", clock::show(quiet.from), clock::show(quiet.until)));
        rules.push(Rule { zone, windows: quiet.windows() });
    }
    if facts.channel == Channel::Sms
        && facts.policy.settings.us_windows
        && let Some(held) = us_windows::of(facts.address, own_zone.as_ref())
    {
        // What waits is looked at again when its turn comes, so the windows are kept then.
        if let Some(wait) = over_state_cap(facts, &held) {
            return wait;
        }
        why.push(format!("the window for marketing texts in {} ({})", held.state, held.source));
        rules.extend(held.rules);
    }
    if facts.channel == Channel::Sms && facts.policy.settings.india_windows && facts.address.starts_with(INDIA) {
        why.push("the hours for promotional texts in India, 10:00 to 21:00 (TRAI, TCCCPR 2018)".to_owned());
        let quiet = QuietHours { from: 21 * 60, until: 10 * 60 };
        let offset = Offset::from_seconds(INDIA_OFFSET_S).expect("half past five is an offset");
        rules.push(Rule { zone: TimeZone::fixed(offset), windows: quiet.windows() });
    }
    if rules.is_empty() {
        return Verdict::Go;
    }
    match hours::next_open(&rules, facts.at) {
        Some(at) if at <= facts.at => Verdict::Go,
        Some(until) => Verdict::Wait { until, why: format!("It waits for {}.", why.join(" and ")) },
        None => Verdict::Bar(Failure::new(
            FailureKind::OptedOut,
            "no_open_hour",
            format!("There is no hour at which this message may arrive: {} leave none open.", why.join(" and ")),
        )),
    }
}

/// The contact's own quiet hours, or the tenant's.
fn quiet(facts: &Facts<'_>) -> Option<QuietHours> {
    let own = facts.contact.as_ref().and_then(|contact| contact.preferences).and_then(|p| {
        let (from, until) = (u16::try_from(p.quiet_from?).ok()?, u16::try_from(p.quiet_until?).ok()?);
        Some(QuietHours { from, until })
    });
    own.or(facts.policy.settings.quiet_hours)
}

#[cfg(test)]
mod tests {
    use model::{ContactId, TenantId};

    use super::*;
    use crate::consent::policy::FrequencyCap;

    const AT: &str = "2026-11-28T12:00:00Z";

    fn policy() -> Policy {
        Policy::new(TimeZone::get("Europe/Berlin").unwrap())
    }

    fn said(topic: &str, state: ConsentState) -> Standing {
        Standing {
            tenant_id: TenantId::from_ulid(1),
            contact_id: ContactId::from_ulid(2),
            channel: Channel::Email,
            topic: topic.to_owned(),
            state,
            changed_at: Timestamp::EPOCH,
        }
    }

    fn prefers(quiet: Option<(u32, u32)>, do_not_contact: bool) -> Preferences {
        Preferences {
            tenant_id: TenantId::from_ulid(1),
            contact_id: ContactId::from_ulid(2),
            do_not_contact,
            quiet_from: quiet.map(|quiet| quiet.0),
            quiet_until: quiet.map(|quiet| quiet.1),
            channels: "{}".to_owned(),
            reminders: None,
            reminder_days: None,
            updated_at: Timestamp::EPOCH,
        }
    }

    fn facts<'a>(policy: &'a Policy, purpose: Purpose, contact: Option<Contact<'a>>) -> Facts<'a> {
        Facts {
            id: MessageId::from_ulid(100),
            channel: Channel::Email,
            purpose,
            topic: Some("news"),
            address: "ada@example.com",
            policy,
            contact,
            at: AT.parse().unwrap(),
        }
    }

    fn short(verdict: Verdict) -> String {
        match verdict {
            Verdict::Go => "go".to_owned(),
            Verdict::Bar(failure) => failure.code,
            Verdict::Wait { until, .. } => until.to_string(),
        }
    }

    #[test]
    fn marketing_to_a_contact_needs_a_yes() {
        use ConsentState::{OptedIn, OptedOut, Pending};
        let policy = policy();
        for (rows, expected) in [
            (vec![], "no_consent"),
            (vec![said("", OptedIn)], "go"),
            (vec![said("", Pending)], "consent_pending"),
            (vec![said("", OptedOut)], "opted_out"),
            (vec![said("", OptedIn), said("news", OptedOut)], "opted_out_of_topic"),
            (vec![said("", OptedIn), said("other", OptedOut)], "go"),
            (vec![said("news", OptedIn)], "go"),
            (vec![said("other", OptedIn)], "no_consent"),
            (vec![said("", OptedOut), said("news", OptedIn)], "opted_out"),
        ] {
            let contact = |rows: &[Standing]| rows.to_vec();
            let kept = contact(&rows);
            let about = |purpose| {
                let contact = Contact {
                    standing: kept.iter().collect(),
                    preferences: None,
                    zone: None,
                    marketing: vec![],
                    reminded: vec![],
                };
                short(judge(&facts(&policy, purpose, Some(contact))))
            };
            assert_eq!(about(Purpose::Marketing), expected, "{rows:?}");
            assert_eq!(about(Purpose::Transactional), "go", "{rows:?}");
        }
        assert_eq!(short(judge(&facts(&policy, Purpose::Marketing, None))), "go", "an address without a contact");
    }

    #[test]
    fn do_not_contact_means_nothing_at_all() {
        let (policy, preferences, yes) = (policy(), prefers(None, true), said("", ConsentState::OptedIn));
        for purpose in [Purpose::Marketing, Purpose::Transactional] {
            let contact = Contact {
                standing: vec![&yes],
                preferences: Some(&preferences),
                zone: None,
                marketing: vec![],
                reminded: vec![],
            };
            assert_eq!(short(judge(&facts(&policy, purpose, Some(contact)))), "do_not_contact");
        }
    }

    #[test]
    fn quiet_hours_are_the_contacts_own_on_its_own_clock() {
        let mut policy = policy();
        policy.settings.quiet_hours = Some(QuietHours { from: 12 * 60, until: 14 * 60 });
        let yes = said("", ConsentState::OptedIn);
        let check = |preferences: Option<Preferences>, zone: Option<&str>, purpose, expected: &str| {
            let contact = Contact {
                standing: vec![&yes],
                preferences: preferences.as_ref(),
                zone: zone.map(|zone| TimeZone::get(zone).unwrap()),
                marketing: vec![],
                reminded: vec![],
            };
            assert_eq!(short(judge(&facts(&policy, purpose, Some(contact)))), expected);
        };
        check(None, None, Purpose::Marketing, "2026-11-28T13:00:00.000000Z");
        check(None, Some("America/New_York"), Purpose::Marketing, "go");
        check(Some(prefers(Some((1320, 540)), false)), None, Purpose::Marketing, "go");
        check(
            Some(prefers(Some((1320, 540)), false)),
            Some("America/New_York"),
            Purpose::Marketing,
            "2026-11-28T14:00:00.000000Z",
        );
        check(None, None, Purpose::Transactional, "go");
        assert_eq!(short(judge(&facts(&policy, Purpose::Marketing, None))), "2026-11-28T13:00:00.000000Z");
    }

    #[test]
    fn marketing_texts_keep_to_the_states_window() {
        let mut policy = policy();
        let about = |policy: &Policy, purpose| {
            let text = Facts { channel: Channel::Sms, address: "+14155550100", ..facts(policy, purpose, None) };
            short(judge(&text))
        };
        assert_eq!(about(&policy, Purpose::Marketing), "2026-11-28T16:00:00.000000Z");
        assert_eq!(about(&policy, Purpose::Transactional), "go");
        policy.settings.us_windows = false;
        assert_eq!(about(&policy, Purpose::Marketing), "go");
    }

    #[test]
    fn promotional_texts_to_india_arrive_by_day() {
        let mut policy = policy();
        let about = |policy: &Policy, purpose, at: &str| {
            let text = Facts {
                channel: Channel::Sms,
                address: "+919876543210",
                at: at.parse().unwrap(),
                ..facts(policy, purpose, None)
            };
            short(judge(&text))
        };
        for (at, expected) in [
            ("2026-11-28T04:29:00Z", "2026-11-28T04:30:00.000000Z"),
            ("2026-11-28T04:30:00Z", "go"),
            ("2026-11-28T15:29:59Z", "go"),
            ("2026-11-28T15:30:00Z", "2026-11-29T04:30:00.000000Z"),
        ] {
            assert_eq!(about(&policy, Purpose::Marketing, at), expected, "{at}");
            assert_eq!(about(&policy, Purpose::Transactional, at), "go");
        }
        policy.settings.india_windows = false;
        assert_eq!(about(&policy, Purpose::Marketing, "2026-11-28T15:30:00Z"), "go");
    }

    #[test]
    fn a_state_that_allows_three_texts_a_day_makes_the_fourth_wait() {
        let policy = policy();
        let yes = Standing { channel: Channel::Sms, ..said("", ConsentState::OptedIn) };
        let at: Timestamp = "2026-11-28T18:00:00Z".parse().unwrap();
        let sent = |hours_ago: i64, channel: Channel, topic: &str| Sent {
            message_id: MessageId::from_ulid(hours_ago as u128),
            contact_id: ContactId::from_ulid(2),
            channel,
            topic: Some(topic.to_owned()),
            at: at.plus_seconds(-hours_ago * 3_600),
            is_sent: true,
        };
        let sms = |hours_ago| sent(hours_ago, Channel::Sms, "news");
        for (address, marketing, expected) in [
            ("+13055550100", vec![sms(1), sms(2), sms(20)], "2026-11-28T22:00:00.000000Z"),
            ("+13055550100", vec![sms(1), sms(2)], "go"),
            ("+13055550100", vec![sms(1), sms(2), sms(25)], "go"),
            ("+13055550100", vec![sms(1), sms(2), sent(3, Channel::Sms, "offers")], "go"),
            ("+13055550100", vec![sms(1), sms(2), sent(3, Channel::Email, "news")], "go"),
            ("+14155550100", vec![sms(1), sms(2), sms(20)], "go"),
        ] {
            let contact = Contact {
                standing: vec![&yes],
                preferences: None,
                zone: None,
                marketing: marketing.iter().collect(),
                reminded: vec![],
            };
            let text = Facts {
                channel: Channel::Sms,
                address,
                topic: Some("news"),
                at,
                ..facts(&policy, Purpose::Marketing, Some(contact))
            };
            assert_eq!(short(judge(&text)), expected, "{address} after {marketing:?}");
        }
    }

    #[test]
    fn a_contact_is_reminded_as_often_as_it_wants() {
        let policy = policy();
        // Nine in the morning in Berlin, on a Saturday.
        let at: Timestamp = "2026-11-28T08:00:00Z".parse().unwrap();
        let had = |sent_at: &str| Sent {
            message_id: MessageId::from_ulid(1),
            contact_id: ContactId::from_ulid(2),
            channel: Channel::Sms,
            topic: Some("payment_reminders".to_owned()),
            at: sent_at.parse().unwrap(),
            is_sent: true,
        };
        for (wish, days, last, expected) in [
            (Some("daily"), None, "2026-11-28T06:00:00Z", "reminder_frequency"),
            // Yesterday at nine and three seconds: a day later by the calendar, not by the second.
            (Some("daily"), None, "2026-11-27T08:00:03Z", "go"),
            // Before midnight in London is already today in Berlin.
            (Some("daily"), None, "2026-11-27T23:30:00Z", "reminder_frequency"),
            (Some("weekly"), None, "2026-11-22T08:00:00Z", "reminder_frequency"),
            (Some("weekly"), None, "2026-11-21T20:00:00Z", "go"),
            (Some("monthly"), None, "2026-11-01T08:00:00Z", "reminder_frequency"),
            // Months have 28 days at least, and so have four weeks.
            (Some("monthly"), None, "2026-10-31T20:00:00Z", "go"),
            (Some("monthly"), None, "2026-10-29T08:00:00Z", "go"),
            (Some("custom"), Some(3), "2026-11-26T08:00:00Z", "reminder_frequency"),
            (Some("custom"), Some(3), "2026-11-25T20:00:00Z", "go"),
            (None, None, "2026-11-28T07:00:00Z", "go"),
        ] {
            let preferences =
                Preferences { reminders: wish.map(str::to_owned), reminder_days: days, ..prefers(None, false) };
            let sent = had(last);
            let about = |topic| {
                let contact = Contact {
                    standing: vec![],
                    preferences: Some(&preferences),
                    zone: None,
                    marketing: vec![],
                    reminded: vec![&sent],
                };
                short(judge(&Facts { topic, at, ..facts(&policy, Purpose::Transactional, Some(contact)) }))
            };
            assert_eq!(about(Some("payment_reminders")), expected, "{wish:?} after {last}");
            assert_eq!(about(Some("invoice_delivery")), "go", "an invoice is no reminder");
        }
    }

    #[test]
    fn a_contact_gets_no_more_than_the_cap() {
        let mut policy = policy();
        policy.settings.frequency_cap = Some(FrequencyCap { max: 2, days: 7 });
        let at: Timestamp = AT.parse().unwrap();
        let sent = |id: u128, days_ago: i64, is_sent: bool| Sent {
            message_id: MessageId::from_ulid(id),
            contact_id: ContactId::from_ulid(2),
            channel: Channel::Email,
            topic: None,
            at: at.plus_seconds(-days_ago * 86_400),
            is_sent,
        };
        let yes = said("", ConsentState::OptedIn);
        for (marketing, expected) in [
            (vec![sent(1, 1, true), sent(2, 6, true)], "frequency_cap"),
            (vec![sent(1, 1, true), sent(2, 8, true)], "go"),
            (vec![sent(1, 1, false), sent(2, 2, false)], "frequency_cap"),
            (vec![sent(1, 1, true), sent(100, 0, false)], "go"),
            (vec![sent(1, 1, true), sent(101, 0, false)], "go"),
            (vec![sent(1, 1, true), sent(101, 0, true)], "frequency_cap"),
            (vec![sent(1, 1, true), sent(2, -1, false)], "go"),
        ] {
            let contact = |purpose| {
                let contact = Contact {
                    standing: vec![&yes],
                    preferences: None,
                    zone: None,
                    marketing: marketing.iter().collect(),
                    reminded: vec![],
                };
                short(judge(&facts(&policy, purpose, Some(contact))))
            };
            assert_eq!(contact(Purpose::Marketing), expected, "{marketing:?}");
            assert_eq!(contact(Purpose::Transactional), "go");
        }
    }
}
