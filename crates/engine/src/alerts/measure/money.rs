//! Readings of plans, budgets and credit. Pure.

use super::{Level, MICROS, Reading, level, share};
use crate::alerts::{
    facts::{Cost, Quota, Spent},
    rules::Rule,
    words::{self, grouped_number, money, percent},
};

/// Percents of a quota at which it is told again, beyond where the rule begins.
const MARKS: [i64; 2] = [90 * MICROS, 100 * MICROS];

/// One reading for each mark. The highest that is reached is the matter; a lower one that fires stays as it is, and one that does not has nothing to add.
pub(super) fn used(rule: &Rule, quota: &Quota) -> Vec<Reading> {
    let value_micros = share(quota.used, quota.of);
    let channel = words::channel(quota.channel);
    let left = if quota.stops { "Beyond them nothing is accepted" } else { "Beyond them each message costs extra" };
    let marks: Vec<i64> = std::iter::once(rule.threshold_micros)
        .chain(MARKS.into_iter().filter(|mark| *mark > rule.threshold_micros))
        .collect();
    let highest = marks.iter().copied().filter(|mark| value_micros >= *mark).max();
    let reading = |mark: &i64| {
        let level = match level(&Rule { threshold_micros: *mark, ..rule.clone() }, value_micros) {
            Level::Bad if highest != Some(*mark) => Level::Between,
            level => level,
        };
        let is_first = *mark == rule.threshold_micros;
        Reading {
            pace_micros: None,
            subject: if is_first {
                quota.channel.as_str().to_owned()
            } else {
                format!("{}:{}", quota.channel.as_str(), mark / MICROS)
            },
            level,
            value_micros,
            title: format!("{} of the month's {channel} messages are used", percent(value_micros)),
            detail: format!(
                "{} of {} {channel} messages of this month's plan are used ({}). {left} until the next month begins, or the plan is a larger one.",
                grouped_number(quota.used),
                grouped_number(quota.of),
                percent(value_micros)
            ),
        }
    };
    marks.iter().map(reading).collect()
}

/// What the month will cost if the rest of it is like the last seven days.
fn forecast(cost: Cost, month_left_s: i64) -> i64 {
    let rest = i128::from(cost.week_micros) * i128::from(month_left_s) / i128::from(7 * 86_400);
    cost.month_micros.saturating_add(i64::try_from(rest).unwrap_or(i64::MAX))
}

/// What the month has cost in the rule's currency, or will. What it cost in others is said and not judged.
pub(super) fn cost(rule: &Rule, spent: &Spent, is_foreseen: bool) -> Reading {
    let currency = rule.currency.as_deref().unwrap_or(&spent.currency);
    let cost = spent.cost(currency);
    let micros = if is_foreseen { forecast(cost, spent.month_left_s) } else { cost.month_micros };
    let (is, limit) = (money(micros, currency), money(rule.threshold_micros, currency));
    let (title, mut detail) = if is_foreseen {
        let so_far = money(cost.month_micros, currency);
        let detail = format!(
            "The messages of this month have cost {so_far} so far. If the rest of it is like the last seven days, they will cost {is}. The budget is {limit}."
        );
        (format!("The month will cost {is}"), detail)
    } else {
        let detail =
            format!("The messages of this month have cost {is}, as far as their cost is known. The budget is {limit}.");
        (format!("The month has cost {is}"), detail)
    };
    let others: Vec<String> = spent.others(currency).map(|(other, micros)| money(micros, other)).collect();
    if !others.is_empty() {
        detail.push_str(&format!(
            " The month has also cost {}, which this budget does not look at.",
            words::listed(&others)
        ));
    }
    Reading { level: level(rule, micros), value_micros: micros, title, detail, ..Reading::of("month") }
}

/// Days for which a credit that nobody uses lasts: longer than any threshold.
const FOREVER_MICROS: i64 = 3_660 * MICROS;

/// How long the credit lasts at the pace of the last seven days, or at the highest seen while it fires: with too little left to send anything nothing is used, and that is no reason to be calm.
/// Below the mark the tenant set (`low_at`) it is low at any pace.
pub(super) fn credit(rule: &Rule, spent: &Spent, held_micros: Option<i64>) -> Option<Reading> {
    let available = spent.available_micros?;
    let pace = spent.cost(&spent.currency).week_micros.max(held_micros.unwrap_or(0));
    let days = i128::from(available.max(0)) * i128::from(7 * MICROS) / i128::from(pace.max(1));
    let value_micros = i64::try_from(days).unwrap_or(FOREVER_MICROS).min(FOREVER_MICROS);
    let by_mark = spent.low_at_micros.map_or(Level::Good, |mark| match available {
        left if left < mark => Level::Bad,
        left if left < mark.saturating_add(mark / 4) => Level::Between,
        _ => Level::Good,
    });
    let level = match (by_mark, level(rule, value_micros)) {
        (Level::Bad, _) | (_, Level::Bad) => Level::Bad,
        (Level::Between, _) | (_, Level::Between) => Level::Between,
        (_, by_pace) => by_pace,
    };
    let left = money(available, &spent.currency);
    let mark = spent.low_at_micros.filter(|_| by_mark == Level::Bad).map(|mark| money(mark, &spent.currency));
    let (title, detail) = if available <= 0 {
        (
            "There is no credit left".to_owned(),
            format!("The credit is {left}. Nothing more is accepted until there is more."),
        )
    } else if let Some(mark) = mark {
        let detail = format!("There are {left} left, which is less than the {mark} below which the credit is low.");
        (format!("The credit is down to {left}"), detail)
    } else {
        let lasts = format!("{}.{} days", value_micros / MICROS, value_micros % MICROS / 100_000);
        let week = money(pace, &spent.currency);
        let detail =
            format!("There are {left} left. Seven days cost {week} lately; at that pace the credit lasts for {lasts}.");
        (format!("The credit lasts for {lasts}"), detail)
    };
    Some(Reading { level, value_micros, title, detail, pace_micros: Some(pace), ..Reading::of("credit") })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use model::{AlertRuleId, Channel, Timestamp};

    use super::*;
    use crate::alerts::{AlertKind, facts::Facts, measure::measure};

    const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);

    fn rule(kind: AlertKind) -> Rule {
        Rule::default_of(kind, AlertRuleId::from_ulid(1))
    }

    fn only(rule: &Rule, facts: &Facts) -> Reading {
        let mut readings = measure(rule, facts, None, NOW).expect("the facts say something");
        assert_eq!(readings.len(), 1, "{readings:?}");
        readings.remove(0)
    }

    #[test]
    fn budgets_are_judged_by_what_is_and_what_will_be() {
        let spent = |month_micros, week_micros, available_micros| Spent {
            currency: "EUR".to_owned(),
            costs: BTreeMap::from([("EUR".to_owned(), Cost { month_micros, week_micros })]),
            month_left_s: 14 * 86_400,
            available_micros,
            low_at_micros: None,
        };
        let budget = |kind| Rule { threshold_micros: 100 * MICROS, ..rule(kind) };
        let see = |rule: &Rule, spent: Spent| only(rule, &Facts { spent: Some(spent), ..Facts::default() });
        let cost = budget(AlertKind::Cost);
        let foreseen = budget(AlertKind::CostForecast);
        for (micros, expected) in
            [(79 * MICROS, Level::Good), (90 * MICROS, Level::Between), (100 * MICROS, Level::Bad)]
        {
            assert_eq!(see(&cost, spent(micros, 0, None)).level, expected);
        }
        assert_eq!(see(&foreseen, spent(60 * MICROS, 5 * MICROS, None)).level, Level::Good);
        let reading = see(&foreseen, spent(60 * MICROS, 30 * MICROS, None));
        assert_eq!((reading.level, reading.value_micros), (Level::Bad, 120 * MICROS));
        assert_eq!(
            reading.detail,
            "The messages of this month have cost 60.00 EUR so far. If the rest of it is like the last seven days, they will cost 120.00 EUR. The budget is 100.00 EUR."
        );
        let credit = rule(AlertKind::CreditLow);
        let check = |available, week, expected| {
            assert_eq!(see(&credit, spent(0, week, Some(available))).level, expected, "{available} {week}")
        };
        check(0, 0, Level::Bad);
        check(7 * MICROS, 0, Level::Good);
        check(2 * MICROS, 7 * MICROS, Level::Bad);
        check(35 * MICROS / 10, 7 * MICROS, Level::Between);
        check(4 * MICROS, 7 * MICROS, Level::Good);
        assert_eq!(
            measure(&credit, &Facts { spent: Some(spent(1, 1, None)), ..Facts::default() }, None, NOW),
            Some(Vec::new())
        );
    }

    #[test]
    fn a_budget_is_in_one_currency_and_says_what_others_cost() {
        let cost = |units: i64| Cost { month_micros: units * MICROS, week_micros: 0 };
        let costs = [("EUR", 90), ("GBP", 7), ("JPY", 1_200), ("USD", 0)];
        let costs = costs.map(|(currency, units)| (currency.to_owned(), cost(units)));
        let facts = || Facts {
            spent: Some(Spent { currency: "USD".to_owned(), costs: BTreeMap::from(costs.clone()), ..Spent::default() }),
            ..Facts::default()
        };
        let budget = Rule { threshold_micros: 80 * MICROS, ..rule(AlertKind::Cost) };
        let own = only(&budget, &facts());
        assert_eq!((own.level, own.value_micros), (Level::Good, 0));
        let euros = only(&Rule { currency: Some("EUR".to_owned()), ..budget }, &facts());
        assert_eq!((euros.level, euros.value_micros), (Level::Bad, 90 * MICROS));
        assert_eq!(
            euros.detail,
            "The messages of this month have cost 90.00 EUR, as far as their cost is known. The budget is 80.00 EUR. The month has also cost 7.00 GBP and 1,200 JPY, which this budget does not look at."
        );
    }

    #[test]
    fn credit_is_low_until_there_is_more() {
        let spent = |available, week_micros, low_at_micros| Spent {
            currency: "EUR".to_owned(),
            costs: BTreeMap::from([("EUR".to_owned(), Cost { month_micros: 0, week_micros })]),
            month_left_s: 0,
            available_micros: Some(available * MICROS),
            low_at_micros,
        };
        let see = |spent: &Spent, held| credit(&rule(AlertKind::CreditLow), spent, held).unwrap();
        let fired = see(&spent(2, 7 * MICROS, None), None);
        assert_eq!((fired.level, fired.pace_micros), (Level::Bad, Some(7 * MICROS)));
        // Nothing is sent any more, and the pace of before counts.
        assert_eq!(see(&spent(2, 0, None), fired.pace_micros).level, Level::Bad);
        assert_eq!(see(&spent(3, 0, None), fired.pace_micros).level, Level::Between);
        assert_eq!(see(&spent(4, 0, None), fired.pace_micros).level, Level::Good);
        // A mark counts at any pace.
        let mark = Some(10 * MICROS);
        let low = see(&spent(9, 0, mark), None);
        assert_eq!((low.level, low.title.as_str()), (Level::Bad, "The credit is down to 9.00 EUR"));
        assert_eq!(
            (see(&spent(12, 0, mark), None).level, see(&spent(13, 0, mark), None).level),
            (Level::Between, Level::Good)
        );
    }

    #[test]
    fn a_quota_is_told_at_each_mark_and_by_the_highest() {
        use Level::{Bad, Between, Good};
        let check = |rule: &Rule, used, expected: &[(&str, Level)]| {
            let quota = Quota { channel: Channel::Sms, used, of: 100, stops: true };
            let readings = measure(rule, &Facts { quotas: vec![quota], ..Facts::default() }, None, NOW).unwrap();
            let seen: Vec<_> = readings.iter().map(|reading| (reading.subject.as_str(), reading.level)).collect();
            assert_eq!(seen, expected, "{used}");
        };
        let quota = rule(AlertKind::Quota);
        check(&quota, 50, &[("sms", Good), ("sms:90", Good), ("sms:100", Good)]);
        check(&quota, 79, &[("sms", Between), ("sms:90", Between), ("sms:100", Good)]);
        check(&quota, 80, &[("sms", Bad), ("sms:90", Between), ("sms:100", Between)]);
        check(&quota, 90, &[("sms", Between), ("sms:90", Bad), ("sms:100", Between)]);
        check(&quota, 120, &[("sms", Between), ("sms:90", Between), ("sms:100", Bad)]);
        let late = Rule { threshold_micros: 95 * MICROS, ..quota };
        check(&late, 96, &[("sms", Bad), ("sms:100", Between)]);
    }
}
