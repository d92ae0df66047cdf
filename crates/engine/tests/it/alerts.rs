//! Alerts on both engines: what is the matter is told once, and again when it is over, through Tidings itself.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use model::{AlertId, AlertRuleId, Call, Channel};
use serde_json::{Value, json};
use store::Scope;
use testkit::{Stage, TestDb, World, http_answer, smtp_accepted};
use tidings_engine::{
    alerts::{self, AlertKind, AlertQuery, AlertState, AlertStateFilter, AlertView, rules},
    keys::Caller,
    once::Repeat,
};

use crate::{
    hooks::{SID, neighbour, now, sms, twilio_account},
    setting::column,
};

const MINUTE_MS: u64 = 60_000;

/// A tenant with an SMS account whose provider refuses the credentials while the switch is on, and a mail account that works.
pub async fn troubled(db: &TestDb) -> (Stage, model::AccountId, Arc<AtomicBool>) {
    let is_broken = Arc::new(AtomicBool::new(true));
    let switch = Arc::clone(&is_broken);
    let world = World::answering(db, move |call| match call {
        Call::Smtp(_) => smtp_accepted(),
        Call::Local => panic!("nothing here is answered by a connector itself"),
        Call::Http(_) if switch.load(Ordering::SeqCst) => {
            http_answer(401, r#"{"code": 20003, "message": "Authenticate", "status": 401}"#.to_owned())
        }
        Call::Http(_) => http_answer(201, format!(r#"{{"sid": "{SID}", "status": "queued", "num_segments": "1"}}"#)),
    });
    let stage = Stage::in_world(world).await;
    let account = twilio_account(&stage).await;
    let mail = json!({"host": "mail.example.com", "port": 587, "security": "starttls"});
    stage.account("smtp", mail, Some("Acme <alerts@acme.example>")).await;
    (stage, account, is_broken)
}

/// Lets a minute pass: looks are taken, letters are sent.
pub async fn minute(stage: &Stage) {
    stage.world.clock.advance_ms(MINUTE_MS);
    alerts::watch(&stage.engine).await.unwrap();
    alerts::tell(&stage.engine).await.unwrap();
    stage.dispatch().await;
}

pub async fn minutes(stage: &Stage, count: usize) {
    for _ in 0..count {
        minute(stage).await;
    }
}

/// Lets hours pass in which messages are tried again and nobody looks.
pub async fn hours(stage: &Stage, count: usize) {
    for _ in 0..count {
        stage.world.clock.advance_ms(60 * MINUTE_MS);
        stage.tick().await;
    }
}

/// Lets hours pass until this many messages were given up.
async fn until_dead(stage: &Stage, db: &TestDb, count: usize) {
    for _ in 0..100 {
        hours(stage, 1).await;
        let sql = "SELECT CAST(COUNT(*) AS TEXT) FROM messages WHERE dead_at IS NOT NULL";
        if column(db, sql).await == count.to_string() {
            return;
        }
    }
    panic!("the provider was out of order for a hundred hours, and {count} messages were not given up");
}

pub async fn rule(stage: &Stage, kind: AlertKind) -> AlertRuleId {
    let page = rules::list(stage.engine.parts(), &stage.caller, None, None).await.unwrap();
    page.data.iter().find(|rule| rule.kind == kind).unwrap().id
}

pub async fn change(stage: &Stage, kind: AlertKind, change: Value) {
    let id = rule(stage, kind).await;
    let change = serde_json::from_value(change).unwrap();
    rules::patch(stage.engine.parts(), &stage.caller, id, change).await.unwrap();
}

pub async fn list(stage: &Stage, state: Option<AlertStateFilter>) -> Vec<AlertView> {
    let query = AlertQuery { state, ..AlertQuery::default() };
    alerts::list(stage.engine.parts(), &stage.caller, &query).await.unwrap().data
}

/// Addresses of the letters so far, with what they were called.
pub async fn letters(db: &TestDb) -> Vec<String> {
    let sql = "SELECT address || ': ' || variables FROM messages WHERE topic IN ('alert:letter', 'tidings_alert') ORDER BY id";
    let text = column(db, sql).await;
    text.lines()
        .map(|line| {
            let (to, variables) = line.split_once(": ").unwrap();
            let variables: Value = serde_json::from_str(variables).unwrap();
            format!("{to}: {}", variables["subject"].as_str().unwrap())
        })
        .collect()
}

pub async fn events(db: &TestDb) -> Vec<String> {
    let text = column(db, "SELECT type FROM events WHERE type LIKE 'alert.%' ORDER BY seq").await;
    text.lines().map(str::to_owned).collect()
}

testkit::both! {
    async fn an_account_that_fails_is_told_once_and_again_when_it_works(db: TestDb) {
        let (stage, account, is_broken) = troubled(&db).await;
        change(&stage, AlertKind::AccountFailing, json!({"deliver": [{"channel": "email", "to": "ops@acme.example"}]})).await;
        stage.send(sms()).await;
        stage.dispatch().await;
        minute(&stage).await;
        assert_eq!(list(&stage, None).await, [], "a minute is no trouble yet");
        minutes(&stage, 10).await;
        let alerts = list(&stage, Some(AlertStateFilter::Open)).await;
        assert_eq!(alerts.len(), 1, "{alerts:?}");
        let alert = &alerts[0];
        assert_eq!((alert.kind, alert.subject.as_str(), alert.state), (AlertKind::AccountFailing, account.to_string().as_str(), AlertState::Firing));
        assert!(alert.detail.contains("twilio") && alert.detail.contains("20003"), "{}", alert.detail);
        assert_eq!(letters(&db).await, ["ops@acme.example: twilio takes no messages"]);
        assert_eq!(events(&db).await, ["alert.firing"]);

        is_broken.store(false, Ordering::SeqCst);
        hours(&stage, 2).await;
        minutes(&stage, 8).await;
        let alerts = list(&stage, None).await;
        assert_eq!((alerts.len(), alerts[0].state, alerts[0].times), (1, AlertState::Resolved, 1), "{alerts:?}");
        assert_eq!(letters(&db).await, ["ops@acme.example: twilio takes no messages", "ops@acme.example: Over: twilio takes no messages"]);
        assert_eq!(events(&db).await, ["alert.firing", "alert.resolved"]);
        assert_eq!(column(&db, "SELECT subject FROM alert_states WHERE updated_at IS NULL").await, "");
    }

    async fn people_take_care_of_an_alert_and_end_it(db: TestDb) {
        let (stage, _, _) = troubled(&db).await;
        stage.send(sms()).await;
        stage.dispatch().await;
        minutes(&stage, 3).await;
        let id: AlertId = list(&stage, Some(AlertStateFilter::Firing)).await[0].id;
        let note = |text: &str| serde_json::from_value(json!({"note": text})).unwrap();
        alerts::acknowledge(&stage.engine, &stage.caller, &Repeat::NONE, id, note("Rotating the token")).await.unwrap();
        let alert = alerts::get(stage.engine.parts(), &stage.caller, id).await.unwrap();
        assert_eq!((alert.state, alert.note.as_deref(), alert.acknowledged_by.as_deref()), (AlertState::Acknowledged, Some("Rotating the token"), Some("system")));
        let counts = alerts::count_open(stage.engine.parts(), &stage.caller).await.unwrap();
        assert_eq!((counts.firing, counts.acknowledged), (0, 1));
        alerts::resolve(&stage.engine, &stage.caller, &Repeat::NONE, id, Default::default()).await.unwrap();
        let again = alerts::resolve(&stage.engine, &stage.caller, &Repeat::NONE, id, Default::default()).await;
        assert_eq!(again.unwrap_err().code, "alert_resolved");
        minutes(&stage, 10).await;
        assert_eq!(list(&stage, Some(AlertStateFilter::Open)).await, [], "it stays ended for the quiet period though the account still fails");
        assert_eq!(events(&db).await, ["alert.firing", "alert.acknowledged", "alert.resolved"]);
        assert!(tidings_engine::audit::verify(&db.db).await.unwrap().broken.is_empty());
        let neighbour = neighbour(&stage).await;
        assert_eq!(alerts::get(stage.engine.parts(), &neighbour.caller, id).await.unwrap_err().code, "not_found");
        assert_eq!(list(&neighbour, None).await, []);
    }

    async fn a_rule_that_is_switched_off_ends_what_fires_and_fires_anew_when_it_is_switched_on(db: TestDb) {
        let (stage, _, _) = troubled(&db).await;
        stage.send(sms()).await;
        stage.dispatch().await;
        minutes(&stage, 4).await;
        change(&stage, AlertKind::AccountFailing, json!({"enabled": false})).await;
        let ended = list(&stage, None).await.remove(0);
        assert_eq!((ended.state, ended.resolved_by.as_deref()), (AlertState::Resolved, Some("system")), "{ended:?}");
        minutes(&stage, 4).await;
        change(&stage, AlertKind::AccountFailing, json!({"enabled": true})).await;
        minutes(&stage, 2).await;
        let states: Vec<_> = list(&stage, None).await.iter().map(|alert| alert.state).collect();
        assert_eq!(states, [AlertState::Firing, AlertState::Resolved]);
        assert_eq!(events(&db).await, ["alert.firing", "alert.resolved", "alert.firing"]);
    }

    async fn a_rule_that_is_deleted_ends_what_fires(db: TestDb) {
        let (stage, _, _) = troubled(&db).await;
        stage.send(sms()).await;
        stage.dispatch().await;
        minutes(&stage, 4).await;
        let id = rule(&stage, AlertKind::AccountFailing).await;
        rules::delete(stage.engine.parts(), &stage.caller, id).await.unwrap();
        let ended = list(&stage, None).await.remove(0);
        assert_eq!((ended.state, ended.resolved_by.as_deref()), (AlertState::Resolved, Some("system")), "{ended:?}");
        assert!(ended.letters.iter().all(|letter| letter.next_at().is_none()), "{ended:?}");
        assert_eq!(column(&db, "SELECT subject FROM alert_states").await, "");
        assert_eq!(events(&db).await, ["alert.firing", "alert.resolved"]);
        let told = column(&db, "SELECT action FROM audit_log WHERE action LIKE 'alert%' ORDER BY id").await;
        assert_eq!(told, "alert.resolved\nalert_rule.deleted");
        minutes(&stage, 10).await;
        assert_eq!(list(&stage, Some(AlertStateFilter::Open)).await, [], "nothing watches any more");
    }

    async fn what_is_held_back_on_purpose_does_not_wait(db: TestDb) {
        let (stage, account, is_broken) = troubled(&db).await;
        is_broken.store(false, Ordering::SeqCst);
        let operator = Caller::system(None);
        let strict = json!({"threshold": 60, "for_s": 0, "deliver": []});
        change(&stage, AlertKind::QueueAge, strict.clone()).await;
        let page = rules::list(stage.engine.parts(), &operator, None, None).await.unwrap();
        let id = page.data.iter().find(|rule| rule.kind == AlertKind::QueueAge).unwrap().id;
        rules::patch(stage.engine.parts(), &operator, id, serde_json::from_value(strict).unwrap()).await.unwrap();
        let waits = async || {
            stage.engine.directory.refresh().await.unwrap();
            let mut found = Vec::new();
            for _ in 0..10 {
                stage.world.clock.advance_ms(MINUTE_MS);
                alerts::watch(&stage.engine).await.unwrap();
            }
            for whose in [&stage.caller, &operator] {
                let query = AlertQuery { state: Some(AlertStateFilter::Open), ..AlertQuery::default() };
                let open = alerts::list(stage.engine.parts(), whose, &query).await.unwrap().data;
                found.push(open.iter().any(|alert| alert.kind == AlertKind::QueueAge));
            }
            found
        };
        stage.send(sms()).await;
        stage.send(sms()).await;
        let enabled = async |enabled: bool| {
            let change = serde_json::from_value(json!({ "enabled": enabled })).unwrap();
            tidings_engine::accounts::patch(stage.engine.parts(), &stage.caller, account, change).await.unwrap();
        };
        let state = async |state: &str| {
            let change = serde_json::from_value(json!({ "state": state })).unwrap();
            tidings_engine::tenants::patch(stage.engine.parts(), &operator, stage.tenant, change).await.unwrap();
        };
        enabled(false).await;
        assert_eq!(waits().await, [false, false], "the account is switched off");
        enabled(true).await;
        state("suspended").await;
        assert_eq!(waits().await, [false, false], "the tenant is suspended");
        state("active").await;
        assert_eq!(waits().await, [true, true], "nobody sends what could leave");
    }

    async fn a_letter_that_fails_is_no_reason_for_another(db: TestDb) {
        let world = World::answering(&db, |_| testkit::broken_before("connection_refused"));
        let stage = Stage::in_world(world).await;
        twilio_account(&stage).await;
        let dead = json!({"threshold": 1, "quiet_s": 300, "deliver": [{"channel": "sms", "to": "+4915112345678"}]});
        change(&stage, AlertKind::DeadLetters, dead.clone()).await;
        change(&stage, AlertKind::DeliveryRate, json!({"threshold": 99, "at_least": 1, "quiet_s": 300, "deliver": dead["deliver"]})).await;
        for kind in [AlertKind::AccountFailing, AlertKind::QueueAge] {
            change(&stage, kind, json!({"enabled": false})).await;
        }
        let id = rule(&stage, AlertKind::DeadLetters).await;
        alerts::test(&stage.engine, &stage.caller, &Repeat::NONE, id).await.unwrap();
        until_dead(&stage, &db, 1).await;
        minutes(&stage, 10).await;
        assert_eq!(list(&stage, None).await, []);
        assert_eq!(column(&db, "SELECT CAST(COUNT(*) AS TEXT) FROM messages").await, "1", "no letter led to another");
        // Somebody else's dead letter is one.
        stage.send(sms()).await;
        until_dead(&stage, &db, 2).await;
        minutes(&stage, 5).await;
        let kinds: Vec<_> = list(&stage, None).await.iter().map(|alert| alert.kind).collect();
        assert!(kinds.contains(&AlertKind::DeadLetters), "{kinds:?}");
    }

    async fn two_nodes_find_one_alert(db: TestDb) {
        let (mut stage, _, _) = troubled(&db).await;
        let first = Arc::clone(&stage.engine);
        stage.restart();
        stage.send(sms()).await;
        stage.dispatch().await;
        for _ in 0..6 {
            stage.world.clock.advance_ms(MINUTE_MS);
            let (one, two) = tokio::join!(alerts::watch(&first), alerts::watch(&stage.engine));
            one.unwrap();
            two.unwrap();
        }
        assert_eq!(list(&stage, None).await.len(), 1);
        assert_eq!(events(&db).await, ["alert.firing"]);
    }

    async fn only_those_to_whom_something_happened_are_looked_at(db: TestDb) {
        let (stage, _, is_broken) = troubled(&db).await;
        is_broken.store(false, Ordering::SeqCst);
        let idle = neighbour(&stage).await;
        stage.send(sms()).await;
        stage.dispatch().await;
        minute(&stage).await;
        let looked = column(&db, "SELECT CAST(COUNT(*) AS TEXT) FROM alert_watches WHERE checked_at IS NOT NULL").await;
        assert_eq!(looked, "2", "the tenant and the operator");
        assert_eq!(alerts::watch(&stage.engine).await.unwrap(), 0, "nobody is due twice in a minute");
        let rules = rules::list(idle.engine.parts(), &idle.caller, None, None).await.unwrap().data;
        assert_eq!(alerts::watch(&stage.engine).await.unwrap(), 1, "whose rules are new is looked at once");
        assert!(rules.len() >= 8 && rules.iter().all(|rule| rule.enabled), "{rules:?}");
        stage.world.clock.advance_ms(3 * 86_400_000);
        assert_eq!(alerts::watch(&stage.engine).await.unwrap(), 1, "only the operator is left");
    }

    async fn an_hour_unlike_those_of_past_weeks_is_told(db: TestDb) {
        let (stage, _, is_broken) = troubled(&db).await;
        is_broken.store(false, Ordering::SeqCst);
        let hour = now(&stage).as_seconds().div_euclid(3_600) * 3_600;
        let tenant = stage.tenant;
        let write = db.db.write(Scope::System, move |tx| {
            Box::pin(async move {
                let mut sums = std::collections::BTreeMap::new();
                for (week, accepted) in [400i64, 10, 12, 9, 11, 10, 10, 12, 8].into_iter().enumerate() {
                    let key = store::message_counters::Key {
                        tenant_id: tenant,
                        at: model::Timestamp::from_seconds(hour - week as i64 * 7 * 86_400),
                        channel: Channel::Sms,
                        provider: "twilio".to_owned(),
                        account_id: model::AccountId::from_ulid(0),
                        purpose: model::Purpose::Transactional,
                        country: "DE".to_owned(),
                        campaign_id: model::CampaignId::from_ulid(0),
                        template_id: model::TemplateId::from_ulid(0),
                        template_version: 0,
                        topic: String::new(),
                        variant: 0,
                        currency: String::new(),
                        clock: 0,
                    };
                    let outcome = store::usage::Counts { accepted, ..Default::default() };
                    sums.insert(key, store::message_counters::Counts { outcome, ..Default::default() });
                }
                store::message_counters::add_many(tx, 0, &sums).await
            })
        });
        write.await.unwrap();
        stage.world.clock.set(model::Timestamp::from_seconds(hour + 3_600));
        minutes(&stage, 2).await;
        let alerts = list(&stage, None).await;
        assert_eq!((alerts.len(), alerts[0].kind, alerts[0].subject.as_str()), (1, AlertKind::UsageAnomaly, "sms"), "{alerts:?}");
        assert!(alerts[0].detail.starts_with("400 SMS messages were accepted between "), "{}", alerts[0].detail);
        minutes(&stage, 70).await;
        assert_eq!(list(&stage, None).await[0].state, AlertState::Resolved, "the next hour was not unusual");
    }

    async fn the_operator_hears_of_a_provider_that_fails_for_several(db: TestDb) {
        let (stage, _, _) = troubled(&db).await;
        let others = [neighbour(&stage).await, neighbour(&stage).await];
        stage.send(sms()).await;
        for other in &others {
            twilio_account(other).await;
            other.send(sms()).await;
        }
        stage.dispatch().await;
        minutes(&stage, 3).await;
        let operator = Caller::system(None);
        let query = AlertQuery { state: Some(AlertStateFilter::Open), ..AlertQuery::default() };
        let alerts = alerts::list(stage.engine.parts(), &operator, &query).await.unwrap().data;
        assert_eq!((alerts.len(), alerts[0].kind, alerts[0].subject.as_str()), (1, AlertKind::ProviderFailing, "twilio"), "{alerts:?}");
        let new = serde_json::from_value(json!({"kind": "account_failing"})).unwrap();
        let refused = rules::create(stage.engine.parts(), &operator, &Repeat::NONE, new).await.unwrap_err();
        assert_eq!(refused.errors[0].pointer, "/kind");
    }

    async fn a_rule_that_finds_nothing_any_more_can_be_renamed_and_switched_off_and_not_on(db: TestDb) {
        let (stage, account, _) = troubled(&db).await;
        let (tenant, id) = (stage.tenant, rule(&stage, AlertKind::BounceRate).await);
        // As an earlier version let it be made.
        let write = db.db.write(Scope::System, move |tx| {
            Box::pin(async move {
                let mut row = store::alert_rules::find(tx, tenant, id).await?.expect("it was listed");
                (row.channel, row.account_id) = (Some(Channel::Sms), Some(account));
                store::alert_rules::put(tx, &row).await
            })
        });
        write.await.unwrap();
        let amend = async |change: Value| {
            rules::patch(stage.engine.parts(), &stage.caller, id, serde_json::from_value(change).unwrap()).await
        };
        // A form says again what it was shown.
        let named = amend(json!({"name": "Bounces", "channel": "sms", "account_id": account})).await.unwrap();
        assert_eq!((named.name.as_str(), named.channel, named.account_id), ("Bounces", Some(Channel::Sms), Some(account)));
        assert!(!amend(json!({"enabled": false})).await.unwrap().enabled);
        assert_eq!(amend(json!({"enabled": true})).await.unwrap_err().errors[0].pointer, "/channel");
        assert_eq!(amend(json!({"channel": "email"})).await.unwrap_err().errors[0].pointer, "/account_id", "it carries no mails");
        assert!(amend(json!({"enabled": true, "channel": null, "account_id": null})).await.unwrap().enabled);
    }

    async fn a_rule_names_what_is_wrong_with_it(db: TestDb) {
        let (stage, account, _) = troubled(&db).await;
        let other = neighbour(&stage).await;
        let create = async |stage: &Stage, new: Value| {
            let new = serde_json::from_value(new).unwrap();
            rules::create(stage.engine.parts(), &stage.caller, &Repeat::NONE, new).await
        };
        let strict = json!({"kind": "delivery_rate", "account_id": account, "threshold": 97.5, "for_s": 0});
        let made = create(&stage, strict.clone()).await.unwrap();
        let made: Value = serde_json::from_slice(&made.body).unwrap();
        assert_eq!((&made["threshold"], &made["over_s"], &made["enabled"]), (&json!(97.5), &json!(3_600), &json!(true)));
        assert_eq!(create(&other, strict).await.unwrap_err().errors[0].pointer, "/account_id");
        let bad = create(&stage, json!({"kind": "bounce_rate", "threshold": 101, "quiet_s": 1})).await.unwrap_err();
        assert_eq!(bad.errors.iter().map(|field| field.pointer.as_str()).collect::<Vec<_>>(), ["/threshold", "/quiet_s"]);
        let mails = create(&stage, json!({"kind": "bounce_rate", "account_id": account})).await.unwrap_err();
        assert_eq!(mails.errors[0].pointer, "/account_id", "no mail leaves through it");
        let id: AlertRuleId = made["id"].as_str().unwrap().parse().unwrap();
        let amend = async |change: Value| {
            rules::patch(stage.engine.parts(), &stage.caller, id, serde_json::from_value(change).unwrap()).await
        };
        assert_eq!(amend(json!({"channel": "email"})).await.unwrap_err().errors[0].pointer, "/account_id");
        assert_eq!(amend(json!({"channel": "sms"})).await.unwrap().account_id, Some(account));
        rules::delete(stage.engine.parts(), &stage.caller, id).await.unwrap();
        assert_eq!(rules::get(stage.engine.parts(), &stage.caller, id).await.unwrap_err().code, "not_found");
        for _ in 0..rules::RULES_MAX {
            if let Err(refused) = create(&stage, json!({"kind": "queue_age", "deliver": []})).await {
                assert_eq!(refused.code, "too_many_alert_rules");
                return;
            }
        }
        panic!("there is no end to rules");
    }
}

#[test]
fn letters_of_a_demo_tenant_stay_in_it() {
    testkit::on_sqlite(async |db: TestDb| {
        let stage = Stage::new(&db).await;
        let new = serde_json::from_value(json!({"name": "Globex"})).unwrap();
        let reply =
            tidings_engine::demo::create(&stage.engine, &Caller::system(None), &Repeat::NONE, new).await.unwrap();
        let made: Value = serde_json::from_slice(&reply.body).unwrap();
        let demo = Stage {
            tenant: made["id"].as_str().unwrap().parse().unwrap(),
            caller: Caller::system(Some(made["id"].as_str().unwrap().parse().unwrap())),
            ..neighbour(&stage).await
        };
        tidings_engine::demo::fill_all(&stage.engine).await.unwrap();
        let id = rule(&demo, AlertKind::AccountFailing).await;
        alerts::test(&stage.engine, &demo.caller, &Repeat::NONE, id).await.unwrap();
        demo.dispatch().await;
        let letters = letters(&db).await;
        assert!(letters.len() == 1 && letters[0].ends_with(": Test of the alert rule Account failing"), "{letters:?}");
        assert_eq!(demo.world.transport.calls().len(), 0, "nothing left");
    });
}
