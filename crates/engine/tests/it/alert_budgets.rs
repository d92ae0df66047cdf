//! Budgets in several currencies, the operator's rules over all tenants, and when a rule is looked at, on both engines.

use model::Channel;
use serde_json::{Value, json};
use store::usage;
use testkit::{Stage, TestDb, World};
use tidings_engine::{
    alerts::{self, AlertKind, rules},
    keys::Caller,
    money::credits,
    once::Repeat,
};

use crate::{
    alert_kinds::{Played, of, open},
    alerts::minutes,
    hooks::now,
};

const DAY_S: i64 = 86_400;

async fn installation(db: &TestDb) -> Stage {
    let first = Stage::in_world(World::answering(db, |_| crate::hooks::taken())).await;
    first.world.clock.set("2027-03-10T10:05:00Z".parse().unwrap());
    first
}

/// Makes a rule, or says what is wrong with it.
async fn create(stage: &Stage, whose: &Caller, new: Value) -> Result<Value, tidings_engine::Error> {
    let new = serde_json::from_value(new).unwrap();
    let reply = rules::create(stage.engine.parts(), whose, &Repeat::NONE, new).await?;
    Ok(serde_json::from_slice(&reply.body).unwrap())
}

testkit::both! {
    async fn a_budget_looks_at_its_currency_and_says_what_others_cost(db: TestDb) {
        let it = Played::beside(&installation(&db).await).await;
        it.cost("EUR", 11_000_000).await;
        let dollars = create(&it.stage, &it.stage.caller, json!({"kind": "cost", "threshold": 10})).await.unwrap();
        let euros = json!([{"amount_micros": 11_000_000, "currency": "EUR"}]);
        assert_eq!((&dollars["currency"], &dollars["other_costs"]), (&json!("USD"), &euros));
        minutes(&it.stage, 2).await;
        assert_eq!(it.open(AlertKind::Cost).await, []);
        create(&it.stage, &it.stage.caller, json!({"kind": "cost", "threshold": 10, "currency": "EUR"})).await.unwrap();
        minutes(&it.stage, 2).await;
        let found = it.open(AlertKind::Cost).await;
        assert_eq!((found.len(), found[0].currency.as_deref(), found[0].value), (1, Some("EUR"), 11.0), "{found:?}");
        it.cost("USD", 12_000_000).await;
        minutes(&it.stage, 20).await;
        let found = it.open(AlertKind::Cost).await;
        let dollars = found.iter().find(|alert| alert.currency.as_deref() == Some("USD")).unwrap();
        assert!(dollars.detail.ends_with("The budget is 10.00 USD. The month has also cost 11.00 EUR, which this budget does not look at."), "{}", dollars.detail);
        let listed = rules::list(it.stage.engine.parts(), &it.stage.caller, None, None).await.unwrap().data;
        let others = |currency: &str| {
            let rule = listed.iter().find(|rule| rule.kind == AlertKind::Cost && rule.currency.as_deref() == Some(currency));
            rule.unwrap().other_costs.iter().map(|money| money.currency.clone()).collect::<Vec<_>>()
        };
        assert_eq!((others("USD"), others("EUR")), (vec!["EUR".to_owned()], vec!["USD".to_owned()]));
        let wrong = create(&it.stage, &it.stage.caller, json!({"kind": "quota", "currency": "EUR"})).await.unwrap_err();
        assert_eq!(wrong.errors[0].pointer, "/currency");
    }

    async fn a_budgets_currency_changes_and_null_brings_ones_own_back(db: TestDb) {
        let it = Played::beside(&installation(&db).await).await;
        it.cost("EUR", 11_000_000).await;
        let made = create(&it.stage, &it.stage.caller, json!({"kind": "cost", "threshold": 10})).await.unwrap();
        let id = made["id"].as_str().unwrap().parse().unwrap();
        let patch = async |change: Value| {
            let change = serde_json::from_value(change).unwrap();
            rules::patch(it.stage.engine.parts(), &it.stage.caller, id, change).await
        };
        assert_eq!(patch(json!({"threshold": 9})).await.unwrap().currency.as_deref(), Some("USD"));
        assert_eq!(patch(json!({"currency": "euro"})).await.unwrap_err().errors[0].pointer, "/currency");
        let euros = patch(json!({"currency": "EUR"})).await.unwrap();
        assert_eq!((euros.currency.as_deref(), euros.other_costs), (Some("EUR"), vec![]));
        minutes(&it.stage, 1).await;
        assert_eq!(it.open(AlertKind::Cost).await.len(), 1, "a rule that changed is looked at in the next round");
        assert_eq!(patch(json!({"currency": null})).await.unwrap().currency.as_deref(), Some("USD"));
        minutes(&it.stage, 8).await;
        assert_eq!(it.open(AlertKind::Cost).await, []);
    }

    async fn the_operator_sets_budgets_over_all_tenants(db: TestDb) {
        let first = installation(&db).await;
        let tenants = [Played::beside(&first).await, Played::beside(&first).await];
        for it in &tenants {
            it.cost("USD", 11_000_000).await;
            it.cost("EUR", 1_000_000).await;
        }
        let operator = Caller::system(None);
        let refused = create(&first, &operator, json!({"kind": "cost", "threshold": 20})).await.unwrap_err();
        assert_eq!(refused.errors[0].pointer, "/currency", "tenants have several");
        let made = create(&first, &operator, json!({"kind": "cost", "threshold": 20, "currency": "USD"})).await.unwrap();
        assert_eq!(made["other_costs"], json!([{"amount_micros": 2_000_000, "currency": "EUR"}]));
        create(&first, &operator, json!({"kind": "cost_forecast", "threshold": 100, "currency": "USD"})).await.unwrap();
        minutes(&first, 2).await;
        let found = open(&first, &operator, AlertKind::Cost).await;
        assert_eq!((found.len(), found[0].value, found[0].currency.as_deref()), (1, 22.0, Some("USD")), "{found:?}");
        assert_eq!(open(&first, &operator, AlertKind::CostForecast).await, [], "the seven days before today cost nothing");
        first.world.clock.set("2027-03-11T00:01:00Z".parse().unwrap());
        minutes(&first, 2).await;
        assert_eq!(open(&first, &operator, AlertKind::CostForecast).await, [], "they cost 22 USD, which comes to 88");
        for it in &tenants {
            it.cost("USD", 20_000_000).await;
        }
        first.world.clock.set("2027-03-12T00:01:00Z".parse().unwrap());
        minutes(&first, 2).await;
        let found = open(&first, &operator, AlertKind::CostForecast).await;
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].detail.starts_with("The messages of this month have cost 62.00 USD so far."), "{}", found[0].detail);
    }

    async fn a_new_rule_is_looked_at_in_the_next_round_whoever_it_is_of(db: TestDb) {
        let it = Played::beside(&installation(&db).await).await;
        it.cost("USD", 11_000_000).await;
        minutes(&it.stage, 1).await;
        // Nothing has happened for longer than anybody is looked at for.
        it.stage.world.clock.set(now(&it.stage).plus_seconds(5 * DAY_S));
        minutes(&it.stage, 2).await;
        create(&it.stage, &it.stage.caller, json!({"kind": "cost", "threshold": 10})).await.unwrap();
        minutes(&it.stage, 1).await;
        assert_eq!(it.open(AlertKind::Cost).await.len(), 1);
    }

    async fn a_provider_with_few_mails_is_seen_over_longer_times(db: TestDb) {
        let first = installation(&db).await;
        let tenants = [Played::beside(&first).await, Played::beside(&first).await];
        let at = now(&first).plus_seconds(-7_200);
        for it in &tenants {
            for day in 0..28 {
                let outcome = usage::Counts { accepted: 20, sent: 20, bounced: 10, ..Default::default() };
                it.count(Channel::Email, at.plus_seconds(-day * DAY_S), "", of(outcome)).await;
            }
        }
        minutes(&first, 6).await;
        let operator = Caller::system(None);
        let found = open(&first, &operator, AlertKind::BounceRate).await;
        assert_eq!((found.len(), found[0].subject.as_str()), (1, "smtp"), "{found:?}");
        assert!(found[0].detail.starts_with("Of 1,120 mails through ") && found[0].detail.contains("in the last 30 days, 560 came back"), "{}", found[0].detail);
        assert_eq!(open(&first, &operator, AlertKind::ComplaintRate).await, []);
        // With more of them a shorter time says enough, and one day most of all.
        let outcome = usage::Counts { accepted: 30_000, sent: 30_000, ..Default::default() };
        tenants[0].count(Channel::Email, now(&first), "", of(outcome)).await;
        minutes(&first, 8).await;
        assert_eq!(open(&first, &operator, AlertKind::BounceRate).await, []);
    }

    async fn a_second_disputed_payment_is_told_while_the_first_is_open(db: TestDb) {
        let first = installation(&db).await;
        let tenants = [Played::beside(&first).await, Played::beside(&first).await];
        let operator = Caller::system(None);
        let mut told = Vec::new();
        for it in &tenants {
            let bought = serde_json::from_value(json!({"amount_micros": 10_000_000, "reference": "7"})).unwrap();
            credits::purchase(it.stage.engine.parts(), &it.stage.caller, &Repeat::NONE, bought).await.unwrap();
            it.run("UPDATE credit_purchases SET is_disputed = TRUE WHERE tenant_id = $1").await;
            alerts::watch(&first.engine).await.unwrap();
            minutes(&first, 2).await;
            told.push(open(&first, &operator, AlertKind::PaymentDisputed).await.len());
        }
        assert_eq!(told, [1, 2]);
        let found = open(&first, &operator, AlertKind::PaymentDisputed).await;
        assert!(found.iter().all(|alert| alert.subject.starts_with("pur_") && alert.title == "A payment of 10.00 USD by Other is disputed"), "{found:?}");
        tenants[0].run("UPDATE credit_purchases SET is_disputed = FALSE WHERE tenant_id = $1").await;
        minutes(&first, 8).await;
        assert_eq!(open(&first, &operator, AlertKind::PaymentDisputed).await.len(), 1);
    }
}
