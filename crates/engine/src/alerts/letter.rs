//! What a letter about alerts says. Pure.

use jiff::tz::TimeZone;
use model::Timestamp;
use store::alerts::Alert;

/// Characters of a text message about alerts: three parts of an SMS.
const SHORT_MAX: usize = 450;

/// A letter: a line, a text, and a text short enough for a phone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    /// The subject line.
    pub subject: String,
    /// The whole text.
    pub text: String,
    /// For a phone.
    pub short: String,
}

/// Writes one letter about everything there is to say. `whose` is the tenant's name, `zone` that of its clock, `link` leads to its alerts.
pub fn write(alerts: &[&Alert], whose: &str, zone: &TimeZone, link: &str) -> Letter {
    let is_over = |alert: &&&Alert| alert.telling.as_deref() == Some("resolved");
    let over = alerts.iter().filter(is_over).count();
    let subject = match (alerts, over) {
        ([one], 0) => one.title.clone(),
        ([one], _) => format!("Over: {}", one.title),
        (many, 0) => format!("{} alerts for {whose}", many.len()),
        (many, over) if over == many.len() => format!("{over} alerts for {whose} are over"),
        (many, over) => format!("{} alerts for {whose}, {over} of them over", many.len()),
    };
    let clock = |at: Timestamp| {
        let zoned = at.jiff().to_zoned(zone.clone());
        format!("{} ({})", zoned.strftime("%-d %B %Y, %H:%M"), zone.iana_name().unwrap_or("UTC"))
    };
    let line = |alert: &&Alert| {
        let since = clock(alert.fired_at);
        if is_over(&alert) {
            let until = alert.resolved_at.map_or_else(String::new, |at| format!(", until {}", clock(at)));
            return format!("Over: {}\nWhat was seen then: {}\nSince {since}{until}.\n", alert.title, alert.detail);
        }
        format!("{}: {}\n{}\nSince {since}.\n", severity(alert), alert.title, alert.detail)
    };
    let lines: Vec<String> = alerts.iter().map(line).collect();
    let text =
        format!("{}\n{link}\n\nWho gets these letters, and from where on, is set under Alerts.\n", lines.join("\n"));
    let titles: Vec<String> = alerts
        .iter()
        .map(|alert| if is_over(&alert) { format!("Over: {}", alert.title) } else { alert.title.clone() })
        .collect();
    Letter { subject, text, short: cut(&format!("{whose}: {}", titles.join("; ")), SHORT_MAX) }
}

fn severity(alert: &Alert) -> &'static str {
    if alert.severity == "critical" { "Critical" } else { "Warning" }
}

fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use model::{AlertId, AlertRuleId, TenantId};

    use super::*;

    fn alert(title: &str, telling: &str) -> Alert {
        Alert {
            tenant_id: TenantId::from_ulid(1),
            id: AlertId::from_ulid(1),
            rule_id: AlertRuleId::from_ulid(1),
            kind: "account_failing".to_owned(),
            subject: "acc".to_owned(),
            severity: "critical".to_owned(),
            title: title.to_owned(),
            detail: "The auth token is wrong.".to_owned(),
            value_micros: 0,
            threshold_micros: 0,
            currency: None,
            state: "firing".to_owned(),
            times: 1,
            fired_at: Timestamp::from_seconds(1_800_000_000),
            seen_at: Timestamp::from_seconds(1_800_000_000),
            acknowledged_at: None,
            acknowledged_by: None,
            note: None,
            resolved_at: None,
            resolved_by: None,
            telling: Some(telling.to_owned()),
            told_at: None,
            letters: None,
            tell_at: None,
        }
    }

    #[test]
    fn one_letter_says_everything() {
        let (fires, over) = (alert("Twilio takes no messages", "firing"), alert("Bounces", "resolved"));
        let zone = TimeZone::get("Asia/Kolkata").unwrap();
        let letter = write(&[&fires], "Acme", &zone, "https://tidings.example/console/alerts");
        assert_eq!(letter.subject, "Twilio takes no messages");
        let expected = "Critical: Twilio takes no messages\nThe auth token is wrong.\nSince 15 January 2027, 13:30 (Asia/Kolkata).\n\n\
            https://tidings.example/console/alerts\n\nWho gets these letters, and from where on, is set under Alerts.\n";
        assert_eq!(letter.text, expected);
        let over = Alert { resolved_at: Some(Timestamp::from_seconds(1_800_000_600)), ..over };
        let letter = write(&[&fires, &over], "Acme", &zone, "");
        let expected = "Over: Bounces\nWhat was seen then: The auth token is wrong.\nSince 15 January 2027, 13:30 (Asia/Kolkata), until 15 January 2027, 13:40 (Asia/Kolkata).\n";
        assert!(letter.text.contains(expected), "{}", letter.text);
        assert_eq!(letter.subject, "2 alerts for Acme, 1 of them over");
        assert_eq!(letter.short, "Acme: Twilio takes no messages; Over: Bounces");
        assert_eq!(write(&[&over], "Acme", &zone, "").subject, "Over: Bounces");
        let many: Vec<Alert> =
            (0..50).map(|n| alert(&format!("Account number {n} takes no messages"), "firing")).collect();
        let short = write(&many.iter().collect::<Vec<_>>(), "Acme", &zone, "").short;
        assert_eq!(short.chars().count(), SHORT_MAX);
    }
}
