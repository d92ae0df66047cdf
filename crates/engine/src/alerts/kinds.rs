//! What rules can watch: one table that validation, defaults, pages and the documentation read.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::view::Severity;

/// What a rule watches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AlertKind {
    /// An account has been paused for longer than the threshold, in seconds.
    AccountFailing,
    /// At least so many accounts of one provider are paused (operator).
    ProviderFailing,
    /// Fewer than the threshold percent of an account's messages arrive.
    DeliveryRate,
    /// More than the threshold percent of an account's mails come back.
    BounceRate,
    /// More than the threshold percent of an account's mails are reported as unwanted.
    ComplaintRate,
    /// The last full hour is so many times further from the same hour of past weeks than those hours are from one another.
    UsageAnomaly,
    /// A mail domain or a WhatsApp template that messages rely on was refused.
    Registration,
    /// The oldest transactional message that could leave has waited for longer than the threshold, in seconds.
    QueueAge,
    /// At least so many messages became dead letters.
    DeadLetters,
    /// The month's messages have cost more than the threshold, in units of the currency.
    Cost,
    /// At the pace of the last seven days the month's messages will cost more than the threshold, in units of the currency.
    CostForecast,
    /// At the pace of the last seven days the credit lasts for fewer days than the threshold.
    CreditLow,
    /// More than the threshold percent of the month's messages of the plan are used on a channel; said again at 90 and at 100.
    Quota,
    /// The daily check of the books found at least so many things that do not add up.
    LedgerFinding,
    /// At least so many payments for credit are disputed by their payers, and the disputes are not over (operator). Each is an alert of its own.
    PaymentDisputed,
    /// At least so many invoices that are to be paid did not reach their customers by mail (operator). Each is an alert of its own.
    InvoiceUnmailed,
    /// At least so many registrations with American carriers wait for the operator (operator). Each is an alert of its own.
    RegistrationStuck,
    /// A payment for credit brought nobody credit (operator).
    PaymentStray,
    /// At least so many payments for credit were found by asking, because their events did not come (operator).
    PaymentUnheard,
}

/// In what the threshold is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AlertUnit {
    /// In a hundred.
    Percent,
    /// Seconds.
    Seconds,
    /// How many.
    Count,
    /// So many times as much.
    Times,
    /// Units of the rule's currency.
    Money,
    /// Days.
    Days,
    /// There is no threshold.
    None,
}

/// On which side of the threshold something is the matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// At the threshold or above.
    Above,
    /// Below the threshold.
    Below,
}

/// Everything fixed about a kind.
#[derive(Debug)]
pub struct Spec {
    /// Which kind.
    pub kind: AlertKind,
    /// The word in JSON and SQL.
    pub word: &'static str,
    /// Name for people.
    pub name: &'static str,
    /// What it means, in a sentence.
    pub explains: &'static str,
    /// In what the threshold is given.
    pub unit: AlertUnit,
    /// On which side of it something is the matter.
    pub side: Side,
    /// The default threshold, in millionths of the unit.
    pub threshold_micros: i64,
    /// How long it looks back, in seconds; 0 for kinds that look at what is.
    pub over_s: i64,
    /// Fewer than this say nothing; 0 for kinds that do not count.
    pub at_least: i64,
    /// How long it must be so, in seconds.
    pub for_s: i64,
    /// How bad it is.
    pub severity: Severity,
    /// Whether a tenant can have it.
    pub is_tenants: bool,
    /// Whether the operator can have it.
    pub is_operators: bool,
    /// Whether it can be about one channel or one account only.
    pub is_by_account: bool,
    /// Whether everybody gets a rule of it from the start. One without has no threshold before somebody says what is too much.
    pub has_default: bool,
}

const HOUR_S: i64 = 3_600;
const DAY_S: i64 = 86_400;
const MICROS: i64 = 1_000_000;

/// Every kind, in the order people read them.
pub const KINDS: &[Spec] = &[
    Spec {
        kind: AlertKind::AccountFailing,
        word: "account_failing",
        name: "Account failing",
        explains: "An account takes no messages: its provider refuses the credentials or is out of order, and what is to be sent waits or goes another way.",
        unit: AlertUnit::Seconds,
        side: Side::Above,
        threshold_micros: 120 * MICROS,
        over_s: 0,
        at_least: 0,
        for_s: 0,
        severity: Severity::Critical,
        is_tenants: true,
        is_operators: false,
        is_by_account: true,
        has_default: true,
    },
    Spec {
        kind: AlertKind::ProviderFailing,
        word: "provider_failing",
        name: "Provider failing",
        explains: "Several accounts of one provider are paused at once, so the trouble is the provider's and not one tenant's.",
        unit: AlertUnit::Count,
        side: Side::Above,
        threshold_micros: 3 * MICROS,
        over_s: 0,
        at_least: 0,
        for_s: 60,
        severity: Severity::Critical,
        is_tenants: false,
        is_operators: true,
        is_by_account: false,
        has_default: true,
    },
    Spec {
        kind: AlertKind::DeliveryRate,
        word: "delivery_rate",
        name: "Delivery rate",
        explains: "Too few of the messages through an account arrive. Where a provider reports no deliveries, what it took and did not return counts as arrived.",
        unit: AlertUnit::Percent,
        side: Side::Below,
        threshold_micros: 80 * MICROS,
        over_s: HOUR_S,
        at_least: 50,
        for_s: 120,
        severity: Severity::Critical,
        is_tenants: true,
        is_operators: true,
        is_by_account: true,
        has_default: true,
    },
    Spec {
        kind: AlertKind::BounceRate,
        word: "bounce_rate",
        name: "Bounces",
        explains: "Too many mails come back. Amazon SES reviews an account at 5 % and pauses it at 10 %; other providers do alike. When there are too few mails in that time, the last 7 and then the last 30 days are looked at.",
        unit: AlertUnit::Percent,
        side: Side::Above,
        threshold_micros: 4 * MICROS,
        over_s: DAY_S,
        at_least: 1_000,
        for_s: 120,
        severity: Severity::Critical,
        is_tenants: true,
        is_operators: true,
        is_by_account: true,
        has_default: true,
    },
    Spec {
        kind: AlertKind::ComplaintRate,
        word: "complaint_rate",
        name: "Complaints",
        explains: "Too many mails are reported as unwanted. Google wants less than 0.1 % and never 0.3 %; Amazon SES reviews an account at 0.1 %. When there are too few mails in that time, the last 7 and then the last 30 days are looked at.",
        unit: AlertUnit::Percent,
        side: Side::Above,
        threshold_micros: 80_000,
        over_s: DAY_S,
        at_least: 1_000,
        for_s: 120,
        severity: Severity::Critical,
        is_tenants: true,
        is_operators: true,
        is_by_account: true,
        has_default: true,
    },
    Spec {
        kind: AlertKind::UsageAnomaly,
        word: "usage_anomaly",
        name: "Unusual usage",
        explains: "The last full hour had far more, or far fewer, messages of a channel than the same hour of the same weekday in the past eight weeks.",
        unit: AlertUnit::Times,
        side: Side::Above,
        threshold_micros: 6 * MICROS,
        over_s: 0,
        at_least: 100,
        for_s: 0,
        severity: Severity::Warning,
        is_tenants: true,
        is_operators: false,
        is_by_account: false,
        has_default: true,
    },
    Spec {
        kind: AlertKind::Registration,
        word: "registration",
        name: "Registration refused",
        explains: "A mail domain is no longer in order, or a WhatsApp template was rejected, paused or disabled.",
        unit: AlertUnit::None,
        side: Side::Above,
        threshold_micros: 0,
        over_s: 0,
        at_least: 0,
        for_s: 0,
        severity: Severity::Warning,
        is_tenants: true,
        is_operators: false,
        is_by_account: false,
        has_default: true,
    },
    Spec {
        kind: AlertKind::QueueAge,
        word: "queue_age",
        name: "Queue age",
        explains: "Transactional messages that could leave wait for too long although their account is not paused.",
        unit: AlertUnit::Seconds,
        side: Side::Above,
        threshold_micros: 900 * MICROS,
        over_s: 0,
        at_least: 0,
        for_s: 60,
        severity: Severity::Critical,
        is_tenants: true,
        is_operators: true,
        is_by_account: true,
        has_default: true,
    },
    Spec {
        kind: AlertKind::DeadLetters,
        word: "dead_letters",
        name: "Dead letters",
        explains: "Messages failed after every try and wait for a person to retry them.",
        unit: AlertUnit::Count,
        side: Side::Above,
        threshold_micros: 25 * MICROS,
        over_s: DAY_S,
        at_least: 0,
        for_s: 0,
        severity: Severity::Warning,
        is_tenants: true,
        is_operators: false,
        is_by_account: false,
        has_default: true,
    },
    Spec {
        kind: AlertKind::Cost,
        word: "cost",
        name: "Cost of the month",
        explains: "The messages accepted since the first of the month have cost more than this budget, as far as their cost is known. A tenant's month is that of its clock, the operator's that of UTC. A budget is in one currency; what messages cost in another is not counted, and the rule says how much that is.",
        unit: AlertUnit::Money,
        side: Side::Above,
        threshold_micros: 0,
        over_s: 0,
        at_least: 0,
        for_s: 0,
        severity: Severity::Warning,
        is_tenants: true,
        is_operators: true,
        is_by_account: false,
        has_default: false,
    },
    Spec {
        kind: AlertKind::CostForecast,
        word: "cost_forecast",
        name: "Cost of the month, foreseen",
        explains: "If the rest of the month is like the last seven days, its messages will cost more than this budget. A tenant's month is that of its clock, the operator's that of UTC. A budget is in one currency; what messages cost in another is not counted, and the rule says how much that is.",
        unit: AlertUnit::Money,
        side: Side::Above,
        threshold_micros: 0,
        over_s: 0,
        at_least: 0,
        for_s: 0,
        severity: Severity::Warning,
        is_tenants: true,
        is_operators: true,
        is_by_account: false,
        has_default: false,
    },
    Spec {
        kind: AlertKind::CreditLow,
        word: "credit_low",
        name: "Credit low",
        explains: "If the next days are like the last seven, the credit of a tenant who pays ahead is used up sooner than this, or it is below the mark set for it. Without credit nothing is accepted. It is over when there is more again, not when less is used.",
        unit: AlertUnit::Days,
        side: Side::Below,
        threshold_micros: 3 * MICROS,
        over_s: 0,
        at_least: 0,
        for_s: 0,
        severity: Severity::Critical,
        is_tenants: true,
        is_operators: false,
        is_by_account: false,
        has_default: true,
    },
    Spec {
        kind: AlertKind::Quota,
        word: "quota",
        name: "Quota",
        explains: "Most of the month's messages of the plan are used on a channel: those at which sending stops, or, where it does not stop, those the fee pays for. It is said again at 90 % and when all are used.",
        unit: AlertUnit::Percent,
        side: Side::Above,
        threshold_micros: 80 * MICROS,
        over_s: 0,
        at_least: 0,
        for_s: 0,
        severity: Severity::Warning,
        is_tenants: true,
        is_operators: false,
        is_by_account: false,
        has_default: true,
    },
    Spec {
        kind: AlertKind::LedgerFinding,
        word: "ledger_finding",
        name: "Books do not add up",
        explains: "The daily check counted everything that is billed again, and found something that does not add up: usage, a plan's counter, a charge, the ledger or an invoice.",
        unit: AlertUnit::Count,
        side: Side::Above,
        threshold_micros: MICROS,
        over_s: 0,
        at_least: 0,
        for_s: 0,
        severity: Severity::Critical,
        is_tenants: true,
        is_operators: true,
        is_by_account: false,
        has_default: true,
    },
    Spec {
        kind: AlertKind::PaymentDisputed,
        word: "payment_disputed",
        name: "Payments disputed",
        explains: "Somebody who paid for credit asks the bank for the money. It is lost unless the dispute is answered at the payment provider in time.",
        unit: AlertUnit::Count,
        side: Side::Above,
        threshold_micros: MICROS,
        over_s: 0,
        at_least: 0,
        for_s: 0,
        severity: Severity::Critical,
        is_tenants: false,
        is_operators: true,
        is_by_account: false,
        has_default: true,
    },
    Spec {
        kind: AlertKind::InvoiceUnmailed,
        word: "invoice_unmailed",
        name: "Invoices not mailed",
        explains: "An invoice that is to be paid did not reach its customer by mail: it was refused, came back, or cannot be printed. The invoice says why.",
        unit: AlertUnit::Count,
        side: Side::Above,
        threshold_micros: MICROS,
        over_s: 0,
        at_least: 0,
        for_s: 0,
        severity: Severity::Warning,
        is_tenants: false,
        is_operators: true,
        is_by_account: false,
        has_default: true,
    },
    Spec {
        kind: AlertKind::RegistrationStuck,
        word: "registration_stuck",
        name: "Registrations waiting",
        explains: "A tenant's registration with American carriers waits for the operator: its provider refuses the account, or did not answer ten times in a row.",
        unit: AlertUnit::Count,
        side: Side::Above,
        threshold_micros: MICROS,
        over_s: 0,
        at_least: 0,
        for_s: 0,
        severity: Severity::Warning,
        is_tenants: false,
        is_operators: true,
        is_by_account: false,
        has_default: true,
    },
    Spec {
        kind: AlertKind::PaymentStray,
        word: "payment_stray",
        name: "Payment without credit",
        explains: "Somebody paid at the payment provider, and it brought nobody credit: the tenant was deleted meanwhile, the payment or the purchase was paid for already, or it is in another currency.",
        unit: AlertUnit::None,
        side: Side::Above,
        threshold_micros: 0,
        over_s: 7 * DAY_S,
        at_least: 0,
        for_s: 0,
        severity: Severity::Critical,
        is_tenants: false,
        is_operators: true,
        is_by_account: false,
        has_default: true,
    },
    Spec {
        kind: AlertKind::PaymentUnheard,
        word: "payment_unheard",
        name: "Payments not told",
        explains: "Payments for credit were found only by asking the payment provider, because its events do not come: its webhook endpoint or the signing secret is not set up.",
        unit: AlertUnit::Count,
        side: Side::Above,
        threshold_micros: MICROS,
        over_s: DAY_S,
        at_least: 0,
        for_s: 0,
        severity: Severity::Warning,
        is_tenants: false,
        is_operators: true,
        is_by_account: false,
        has_default: true,
    },
];

impl AlertKind {
    /// Everything fixed about it.
    pub fn spec(self) -> &'static Spec {
        KINDS.iter().find(|spec| spec.kind == self).expect("every kind has a line in the table")
    }

    /// Whether one subject stands for many things that are each to be seen to, so that more of them are told again.
    pub const fn is_counted(self) -> bool {
        matches!(self, Self::DeadLetters | Self::LedgerFinding | Self::ProviderFailing)
    }

    /// The word in JSON and SQL.
    pub fn as_str(self) -> &'static str {
        self.spec().word
    }

    /// Reads the database's word; `None` for one this binary does not know.
    pub fn from_stored(word: &str) -> Option<Self> {
        KINDS.iter().find(|spec| spec.word == word).map(|spec| spec.kind)
    }
}

impl AlertUnit {
    /// The largest threshold that makes sense, in whole units.
    pub const fn most(self) -> i64 {
        match self {
            Self::Percent => 100,
            Self::Seconds => 7 * DAY_S,
            Self::Count => 1_000_000_000,
            Self::Times => 1_000,
            Self::Money => 1_000_000_000,
            Self::Days => 366,
            Self::None => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_line_and_somebody_it_is_for() {
        for spec in KINDS {
            assert_eq!(spec.kind.spec().word, spec.word);
            assert_eq!(serde_json::to_value(spec.kind).unwrap(), spec.word);
            assert_eq!(AlertKind::from_stored(spec.word), Some(spec.kind));
            assert!(spec.is_tenants || spec.is_operators, "{}", spec.word);
            assert!((0..=spec.unit.most() * MICROS).contains(&spec.threshold_micros), "{}", spec.word);
        }
        assert_eq!(AlertKind::from_stored("weather"), None);
    }
}
