//! What requests say of a rule, checked: a new one, and changes of one. Pure.

use model::{AccountId, AlertRuleId, Channel, EmailAddress, Phone, Timestamp};
use serde::Deserialize;
use store::alert_rules::AlertRule;
use utoipa::ToSchema;

use super::{ADMINS, MICROS, QUIET_S, Receiver, Rule};
use crate::{
    Error, FieldError,
    alerts::kinds::{AlertKind, AlertUnit},
    names::Faults,
    patch::Patch,
};

/// Receivers of one rule: more are a mailing list, which has one address.
pub const RECEIVERS_MAX: usize = 10;
/// The shortest and longest quiet period, in seconds.
const QUIET_BOUNDS_S: (i64, i64) = (300, 7 * 86_400);
/// The shortest and longest time a rule looks back over, in seconds.
const OVER_BOUNDS_S: (i64, i64) = (1_800, 30 * 86_400);
/// The longest time something can have to be the matter before it fires, in seconds.
const FOR_MAX_S: i64 = 86_400;
/// The most messages a rule can wait for.
const AT_LEAST_MAX: i64 = 1_000_000_000;

/// A rule to be made. What is left out is as in the rule everybody gets.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewAlertRule {
    /// What it watches.
    pub kind: AlertKind,
    /// Name for people.
    #[serde(default)]
    #[schema(example = "Newsletter bounces")]
    pub name: Option<String>,
    /// From where on something is the matter: percent, seconds, how many or so many times, by the kind.
    #[serde(default)]
    #[schema(example = 3.5)]
    pub threshold: Option<f64>,
    /// The currency of a budget, for kinds about costs: that of the tenant's credit, or else its own, by default. The operator's have none, so it has to be said.
    #[serde(default)]
    #[schema(example = "EUR")]
    pub currency: Option<String>,
    /// The time it looks back over, in seconds, for kinds that do: 30 minutes to 30 days.
    #[serde(default)]
    #[schema(example = 86_400)]
    pub over_s: Option<i64>,
    /// Fewer messages than this say nothing, for kinds that count.
    #[serde(default)]
    #[schema(example = 500)]
    pub at_least: Option<i64>,
    /// Only this channel, for kinds that look at channels.
    #[serde(default)]
    #[schema(value_type = Option<String>, example = "email")]
    pub channel: Option<Channel>,
    /// Only this account, for kinds that look at accounts.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub account_id: Option<AccountId>,
    /// How long something must be the matter before it fires, in seconds, up to a day.
    #[serde(default)]
    pub for_s: Option<i64>,
    /// How long nothing more is said about the same subject, in seconds: 5 minutes to 7 days, 4 hours by default.
    #[serde(default)]
    pub quiet_s: Option<i64>,
    /// False to keep it without watching.
    #[serde(default)]
    pub enabled: Option<bool>,
    /// Who is told, besides endpoints and streams; everybody who administers the tenant by default.
    #[serde(default)]
    pub deliver: Option<Vec<Receiver>>,
}

/// Changes of a rule. What it watches stays.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AlertRulePatch {
    /// Name for people.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub name: Patch<String>,
    /// From where on something is the matter; `null` for the default.
    #[serde(default)]
    #[schema(value_type = Option<f64>)]
    pub threshold: Patch<f64>,
    /// The currency of a budget; `null` for the default.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub currency: Patch<String>,
    /// The time it looks back over, in seconds; `null` for the default.
    #[serde(default)]
    #[schema(value_type = Option<i64>)]
    pub over_s: Patch<i64>,
    /// Fewer messages say nothing; `null` for the default.
    #[serde(default)]
    #[schema(value_type = Option<i64>)]
    pub at_least: Patch<i64>,
    /// Only this channel; `null` for all.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub channel: Patch<Channel>,
    /// Only this account; `null` for all.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub account_id: Patch<AccountId>,
    /// How long it must be so, in seconds; `null` for the default.
    #[serde(default)]
    #[schema(value_type = Option<i64>)]
    pub for_s: Patch<i64>,
    /// The quiet period, in seconds; `null` for the default.
    #[serde(default)]
    #[schema(value_type = Option<i64>)]
    pub quiet_s: Patch<i64>,
    /// Whether it watches; what fires under it ends with `false`.
    #[serde(default)]
    #[schema(value_type = Option<bool>)]
    pub enabled: Patch<bool>,
    /// Who is told; `null` for everybody who administers the tenant, `[]` for nobody but endpoints and streams.
    #[serde(default)]
    #[schema(value_type = Option<Vec<Receiver>>)]
    pub deliver: Patch<Vec<Receiver>>,
}

/// What a request says about a rule's fields, checked.
pub(super) struct Wanted {
    pub(super) name: String,
    pub(super) threshold: Option<f64>,
    pub(super) currency: Option<String>,
    pub(super) over_s: Option<i64>,
    pub(super) at_least: Option<i64>,
    pub(super) channel: Option<Channel>,
    pub(super) account_id: Option<AccountId>,
    pub(super) for_s: Option<i64>,
    pub(super) quiet_s: Option<i64>,
    pub(super) deliver: Option<Vec<Receiver>>,
}

/// A rule of a kind with these fields; what is not said is as in the default rule, and a budget is in the owner's `own` currency, if it has one.
pub(super) fn settle(kind: AlertKind, id: AlertRuleId, wanted: Wanted, own: Option<&str>, faults: &mut Faults) -> Rule {
    let spec = kind.spec();
    let default = Rule::default_of(kind, id);
    let within = |faults: &mut Faults, pointer: &str, value: Option<i64>, default: i64, (least, most): (i64, i64)| {
        if value.is_some_and(|value| !(least..=most).contains(&value)) {
            faults.add(pointer, format!("a number from {least} to {most}"));
        }
        value.unwrap_or(default)
    };
    let refused = |faults: &mut Faults, pointer: &str, is_given: bool, what: &str| {
        if is_given {
            faults.add(pointer, format!("a rule about {} has no {what}; leave the field out", spec.word));
        }
    };
    let threshold_micros = match wanted.threshold {
        None if !spec.has_default => {
            faults.add("/threshold", "say what is too much: there is no default for a budget");
            0
        }
        None => default.threshold_micros,
        Some(_) if spec.unit == AlertUnit::None => {
            refused(faults, "/threshold", true, "threshold");
            0
        }
        Some(threshold) => {
            let micros = (threshold * MICROS as f64).round();
            if !(micros >= 1.0 && micros <= (spec.unit.most() * MICROS) as f64) {
                faults.add("/threshold", format!("a number above 0 and up to {}", spec.unit.most()));
            }
            micros as i64
        }
    };
    let is_budget = spec.unit == AlertUnit::Money;
    let currency = match (wanted.currency, own) {
        (Some(currency), _) if is_budget => Some(faults.currency("/currency", &currency)),
        (Some(_), _) => {
            refused(faults, "/currency", true, "currency");
            None
        }
        (None, Some(own)) if is_budget => Some(own.to_owned()),
        (None, None) if is_budget => {
            faults.add("/currency", "say in which currency: what tenants send costs in several; as in EUR");
            None
        }
        (None, _) => None,
    };
    if spec.over_s == 0 {
        refused(faults, "/over_s", wanted.over_s.is_some(), "time it looks back over");
    }
    if spec.at_least == 0 {
        refused(faults, "/at_least", wanted.at_least.is_some(), "least number of messages");
    }
    if !spec.is_by_account {
        refused(faults, "/account_id", wanted.account_id.is_some(), "account");
        if kind != AlertKind::UsageAnomaly {
            refused(faults, "/channel", wanted.channel.is_some(), "channel");
        }
    }
    if wanted.channel == Some(Channel::Webhook) {
        faults.add("/channel", "events to endpoints are not watched; they are listed under /v1/webhook-endpoints");
    }
    Rule {
        name: faults.name("/name", &wanted.name),
        threshold_micros,
        currency,
        over_s: within(faults, "/over_s", wanted.over_s.filter(|_| spec.over_s > 0), spec.over_s, OVER_BOUNDS_S),
        at_least: within(
            faults,
            "/at_least",
            wanted.at_least.filter(|_| spec.at_least > 0),
            spec.at_least,
            (1, AT_LEAST_MAX),
        ),
        channel: wanted.channel,
        account_id: wanted.account_id,
        for_s: within(faults, "/for_s", wanted.for_s, spec.for_s, (0, FOR_MAX_S)),
        quiet_s: within(faults, "/quiet_s", wanted.quiet_s, QUIET_S, QUIET_BOUNDS_S),
        deliver: match wanted.deliver {
            Some(receivers) => check_receivers(receivers, faults),
            None => default.deliver,
        },
        ..Rule::default_of(kind, id)
    }
}

/// Names why a rule would never find anything; `carried`: the channels of the account it is about, where that is there. A field that is refused already is not named twice.
pub(super) fn check_seen(rule: &Rule, carried: Option<&[Channel]>, faults: &mut Faults) {
    let carried = carried.filter(|_| rule.kind.spec().is_by_account);
    let channel = rule.channel.filter(|channel| *channel != Channel::Webhook);
    if let Some((pointer, detail)) = unseen(rule.kind, channel, carried) {
        faults.add(pointer, detail);
    }
}

/// Why a rule would never find anything, by the field that says so.
fn unseen(kind: AlertKind, channel: Option<Channel>, carried: Option<&[Channel]>) -> Option<(&'static str, String)> {
    let is_of_mails = matches!(kind, AlertKind::BounceRate | AlertKind::ComplaintRate);
    if is_of_mails && channel.is_some_and(|channel| channel != Channel::Email) {
        let detail = "only mails come back or are reported as unwanted: write email, or leave the field out";
        return Some(("/channel", detail.to_owned()));
    }
    let wanted = channel.or(is_of_mails.then_some(Channel::Email))?;
    let carried = carried.filter(|carried| !carried.contains(&wanted))?;
    let carried = carried.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let detail = format!(
        "nothing leaves through this account over {wanted}, only over {carried}; name another, or leave the field out"
    );
    Some(("/account_id", detail))
}

fn check_receivers(receivers: Vec<Receiver>, faults: &mut Faults) -> Vec<Receiver> {
    if receivers.len() > RECEIVERS_MAX {
        faults.add("/deliver", format!("at most {RECEIVERS_MAX} receivers; for more, use a mailing list"));
        return Vec::new();
    }
    for (index, receiver) in receivers.iter().enumerate() {
        let to = receiver.to.as_str();
        let bad = match receiver.channel {
            Channel::Email if to == ADMINS => None,
            Channel::Email => to.parse::<EmailAddress>().err().map(|bad| format!("{bad}, or `{ADMINS}`")),
            Channel::Sms => to.parse::<Phone>().err().map(|bad| bad.to_string()),
            Channel::Telegram => {
                to.parse::<i64>().is_err().then(|| "a Telegram chat is a number, as in 123456789".to_owned())
            }
            Channel::Whatsapp | Channel::Voice | Channel::Webhook => {
                let detail = "alerts go over email, sms and telegram; endpoints get the events alert.* by themselves";
                faults.add(format!("/deliver/{index}/channel"), detail);
                continue;
            }
        };
        if let Some(detail) = bad {
            faults.add(format!("/deliver/{index}/to"), detail);
        }
    }
    let mut receivers = receivers;
    receivers.sort();
    receivers.dedup();
    receivers
}

/// A row as a patch leaves it; `own` is the owner's currency, and `carried` the channels of the account it is about, where that is there. A rule that finds nothing, as an earlier version let one
/// be made or as its account carries no mails any more, is refused when it is switched on or is to be about something else; otherwise it can be changed, and switched off.
pub(super) fn amended(
    before: &AlertRule,
    change: AlertRulePatch,
    own: Option<&str>,
    carried: Option<&[Channel]>,
    now: Timestamp,
) -> Result<AlertRule, Error> {
    let rule = Rule::from_row(before).ok_or_else(|| Error::not_found("alert rule"))?;
    let spec = rule.kind.spec();
    let mut bad: Vec<FieldError> = Vec::new();
    let name = change.name.required(rule.name.clone(), "/name", &mut bad);
    let is_enabled = change.enabled.required(before.is_enabled, "/enabled", &mut bad);
    let threshold = rule.threshold_micros as f64 / MICROS as f64;
    let wanted = Wanted {
        name,
        threshold: change.threshold.onto(Some(threshold).filter(|_| spec.unit != AlertUnit::None)),
        currency: change.currency.onto(rule.currency),
        over_s: change.over_s.onto(Some(rule.over_s).filter(|_| spec.over_s > 0)),
        at_least: change.at_least.onto(Some(rule.at_least).filter(|_| spec.at_least > 0)),
        channel: change.channel.onto(rule.channel),
        account_id: change.account_id.onto(rule.account_id),
        for_s: change.for_s.onto(Some(rule.for_s)),
        quiet_s: change.quiet_s.onto(Some(rule.quiet_s)),
        deliver: change.deliver.onto(Some(rule.deliver)),
    };
    let mut faults = Faults(bad);
    let about = (before.channel, before.account_id);
    let rule = settle(rule.kind, rule.id, wanted, own, &mut faults);
    if (rule.channel, rule.account_id) != about || (is_enabled && !before.is_enabled) {
        check_seen(&rule, carried, &mut faults);
    }
    faults.end()?;
    Ok(rule.row(before.tenant_id, is_enabled, before.created_at, now))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted() -> Wanted {
        Wanted {
            name: "Bounces".to_owned(),
            threshold: None,
            currency: None,
            over_s: None,
            at_least: None,
            channel: None,
            account_id: None,
            for_s: None,
            quiet_s: None,
            deliver: None,
        }
    }

    /// What is wrong with a new rule about an account that carries mails only, if it is about one.
    fn pointers(kind: AlertKind, wanted: Wanted) -> Vec<String> {
        let mut faults = Faults::default();
        let rule = settle(kind, AlertRuleId::from_ulid(1), wanted, Some("USD"), &mut faults);
        let carried: &[Channel] = &[Channel::Email];
        check_seen(&rule, rule.account_id.map(|_| carried), &mut faults);
        faults.0.into_iter().map(|fault| fault.pointer).collect()
    }

    #[test]
    fn what_is_not_said_is_as_everybody_has_it() {
        let mut faults = Faults::default();
        let rule = settle(AlertKind::ComplaintRate, AlertRuleId::from_ulid(1), wanted(), None, &mut faults);
        assert_eq!((rule.threshold_micros, rule.over_s, rule.at_least), (80_000, 86_400, 1_000));
        assert_eq!(faults.0, []);
        let fine = settle(
            AlertKind::ComplaintRate,
            AlertRuleId::from_ulid(1),
            Wanted { threshold: Some(0.1), ..wanted() },
            None,
            &mut faults,
        );
        assert_eq!(fine.threshold_micros, 100_000);
    }

    #[test]
    fn a_budget_is_in_ones_own_currency_unless_another_is_named() {
        let settled = |currency: Option<&str>, own| {
            let mut faults = Faults::default();
            let wanted = Wanted { threshold: Some(250.0), currency: currency.map(str::to_owned), ..wanted() };
            let rule = settle(AlertKind::Cost, AlertRuleId::from_ulid(1), wanted, own, &mut faults);
            (rule.currency, faults.0.into_iter().map(|fault| fault.pointer).collect::<Vec<_>>())
        };
        assert_eq!(settled(None, Some("INR")), (Some("INR".to_owned()), vec![]));
        assert_eq!(settled(Some("EUR"), Some("INR")), (Some("EUR".to_owned()), vec![]));
        assert_eq!(settled(None, None), (None, vec!["/currency".to_owned()]), "the operator has none");
    }

    #[test]
    fn a_rule_that_would_never_find_anything_is_refused() {
        use AlertKind::{BounceRate, ComplaintRate, DeliveryRate};
        let check = |kind, channel, carried: Option<&[Channel]>, expected: Option<&str>| {
            let pointer = unseen(kind, channel, carried).map(|(pointer, _)| pointer);
            assert_eq!(pointer, expected, "{kind:?} {channel:?} {carried:?}");
        };
        let (mail, text) = (Some(Channel::Email), Some(Channel::Sms));
        let twilio: Option<&[Channel]> = Some(&[Channel::Sms, Channel::Voice]);
        check(BounceRate, None, None, None);
        check(BounceRate, mail, Some(&[Channel::Email]), None);
        check(BounceRate, text, None, Some("/channel"));
        check(ComplaintRate, text, twilio, Some("/channel"));
        check(ComplaintRate, None, twilio, Some("/account_id"));
        check(DeliveryRate, text, twilio, None);
        check(DeliveryRate, None, twilio, None);
        check(DeliveryRate, mail, twilio, Some("/account_id"));
        let (_, why) = unseen(DeliveryRate, mail, twilio).unwrap();
        assert_eq!(
            why,
            "nothing leaves through this account over email, only over sms, voice; name another, or leave the field out"
        );
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        let receiver = |channel, to: &str| Receiver { channel, to: to.to_owned() };
        let check = |kind, wanted, expected: &[&str]| assert_eq!(pointers(kind, wanted), expected);
        use AlertKind::{BounceRate, QueueAge, Registration, UsageAnomaly};
        check(BounceRate, Wanted { threshold: Some(0.0), ..wanted() }, &["/threshold"]);
        check(BounceRate, Wanted { threshold: Some(100.5), ..wanted() }, &["/threshold"]);
        check(BounceRate, Wanted { threshold: Some(f64::NAN), ..wanted() }, &["/threshold"]);
        check(Registration, Wanted { threshold: Some(1.0), ..wanted() }, &["/threshold"]);
        check(QueueAge, Wanted { over_s: Some(3_600), at_least: Some(5), ..wanted() }, &["/over_s", "/at_least"]);
        check(BounceRate, Wanted { over_s: Some(60), at_least: Some(0), ..wanted() }, &["/over_s", "/at_least"]);
        check(AlertKind::Cost, wanted(), &["/threshold"]);
        check(AlertKind::Cost, Wanted { threshold: Some(250.0), ..wanted() }, &[]);
        let euros = |code: &str| Wanted { threshold: Some(250.0), currency: Some(code.to_owned()), ..wanted() };
        check(AlertKind::CostForecast, euros("EUR"), &[]);
        check(AlertKind::Cost, euros("euro"), &["/currency"]);
        check(BounceRate, Wanted { threshold: None, ..euros("EUR") }, &["/currency"]);
        check(UsageAnomaly, Wanted { channel: Some(Channel::Sms), ..wanted() }, &[]);
        check(
            Registration,
            Wanted { channel: Some(Channel::Sms), account_id: Some(AccountId::from_ulid(1)), ..wanted() },
            &["/account_id", "/channel"],
        );
        check(BounceRate, Wanted { channel: Some(Channel::Webhook), ..wanted() }, &["/channel"]);
        let of_one = |channel| Wanted { channel: Some(channel), account_id: Some(AccountId::from_ulid(1)), ..wanted() };
        check(QueueAge, of_one(Channel::Sms), &["/account_id"]);
        check(UsageAnomaly, of_one(Channel::Sms), &["/account_id"]);
        check(BounceRate, Wanted { quiet_s: Some(1), for_s: Some(-1), ..wanted() }, &["/for_s", "/quiet_s"]);
        let deliver = vec![
            receiver(Channel::Email, ADMINS),
            receiver(Channel::Email, "nobody"),
            receiver(Channel::Sms, "0151"),
            receiver(Channel::Telegram, "@ada"),
            receiver(Channel::Voice, "+4915112345678"),
        ];
        check(
            BounceRate,
            Wanted { deliver: Some(deliver), ..wanted() },
            &["/deliver/1/to", "/deliver/2/to", "/deliver/3/to", "/deliver/4/channel"],
        );
        let many = vec![receiver(Channel::Email, ADMINS); RECEIVERS_MAX + 1];
        check(BounceRate, Wanted { deliver: Some(many), ..wanted() }, &["/deliver"]);
    }
}
