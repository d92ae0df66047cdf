//! Alert rules, what they remember, alerts and what they are judged by: each function on both engines.

use model::{AccountId, AlertId, AlertRuleId, Channel, MessageId, TenantId, Timestamp};
use store::{
    Error, Scope, accounts, alert_facts,
    alert_rules::{self, AlertRule, AlertState},
    alerts::{self, Alert, Filter},
    messages,
    registrations::{self, Registration},
    tenants,
};
use testkit::TestDb;

const ACME: TenantId = TenantId::from_ulid(10);
const OTHER: TenantId = TenantId::from_ulid(20);

const fn at(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(seconds)
}

fn rule(tenant_id: TenantId, id: u128) -> AlertRule {
    AlertRule {
        tenant_id,
        id: AlertRuleId::from_ulid(id),
        kind: "bounce_rate".to_owned(),
        name: "Bounces".to_owned(),
        is_enabled: true,
        threshold_micros: 4_000_000,
        currency: Some("EUR".to_owned()),
        over_s: 86_400,
        at_least: 1_000,
        channel: None,
        account_id: Some(AccountId::from_ulid(5)),
        for_s: 120,
        quiet_s: 14_400,
        deliver: "[]".to_owned(),
        created_at: at(1),
        updated_at: at(2),
    }
}

fn state(tenant_id: TenantId, rule: u128, subject: &str) -> AlertState {
    AlertState {
        tenant_id,
        rule_id: AlertRuleId::from_ulid(rule),
        subject: subject.to_owned(),
        memory: "{}".to_owned(),
        alert_id: None,
        updated_at: at(3),
    }
}

fn alert(tenant_id: TenantId, id: u128, state: &str) -> Alert {
    Alert {
        tenant_id,
        id: AlertId::from_ulid(id),
        rule_id: AlertRuleId::from_ulid(1),
        kind: "bounce_rate".to_owned(),
        subject: "acc_1".to_owned(),
        severity: "critical".to_owned(),
        title: "6 % of mails came back".to_owned(),
        detail: "Of 2,000 mails 120 came back.".to_owned(),
        value_micros: 6_000_000,
        threshold_micros: 4_000_000,
        currency: Some("EUR".to_owned()),
        state: state.to_owned(),
        times: 1,
        fired_at: at(4),
        seen_at: at(5),
        acknowledged_at: None,
        acknowledged_by: None,
        note: Some("Old list".to_owned()),
        resolved_at: (state == "resolved").then(|| at(6)),
        resolved_by: None,
        telling: (state == "firing").then(|| "firing".to_owned()),
        told_at: None,
        letters: Some("[]".to_owned()),
        tell_at: (state == "firing").then(|| at(4)),
    }
}

/// Runs work in a transaction and expects it to succeed.
macro_rules! write {
    ($db:expr, |$tx:ident| $work:expr) => {
        $db.write(Scope::System, move |$tx| Box::pin(async move { Ok::<_, Error>($work) })).await.unwrap()
    };
}

testkit::both! {
    async fn rules_are_kept_by_tenant(db: TestDb) {
        let changed = AlertRule { name: "Newsletter".to_owned(), channel: Some(Channel::Email), account_id: None, is_enabled: false, updated_at: at(9), ..rule(ACME, 1) };
        let expected = changed.clone();
        write!(db, |tx| for row in [rule(ACME, 1), rule(ACME, 2), rule(OTHER, 3), changed.clone()] {
            alert_rules::put(tx, &row).await?;
        });
        let id = AlertRuleId::from_ulid;
        assert_eq!(write!(db, |tx| (alert_rules::find(tx, ACME, id(1)).await?, alert_rules::find(tx, OTHER, id(1)).await?)), (Some(expected.clone()), None));
        assert_eq!(write!(db, |tx| alert_rules::all(tx, ACME).await?), [expected.clone(), rule(ACME, 2)]);
        assert_eq!(write!(db, |tx| alert_rules::list(tx, ACME, id(2), 10).await?), [expected]);
        write!(db, |tx| alert_rules::put_states(tx, &[state(ACME, 1, "x"), state(ACME, 2, "x")]).await?);
        assert_eq!(write!(db, |tx| (alert_rules::remove(tx, OTHER, id(1)).await?, alert_rules::remove(tx, ACME, id(1)).await?)), (false, true));
        assert_eq!(write!(db, |tx| alert_rules::states(tx, ACME).await?), [state(ACME, 2, "x")], "what it remembered went with it");
    }

    async fn what_rules_remember_is_replaced_and_forgotten(db: TestDb) {
        let later = AlertState { memory: "{\"is_firing\":true}".to_owned(), alert_id: Some(AlertId::from_ulid(7)), ..state(ACME, 1, "b") };
        let expected = later.clone();
        write!(db, |tx| {
            alert_rules::put_states(tx, &[]).await?;
            alert_rules::put_states(tx, &[state(ACME, 1, "b"), state(ACME, 1, "B"), state(OTHER, 1, "b")]).await?;
            alert_rules::put_states(tx, &[later]).await?;
        });
        assert_eq!(write!(db, |tx| alert_rules::states(tx, ACME).await?), [state(ACME, 1, "B"), expected]);
        write!(db, |tx| alert_rules::remove_states(tx, ACME, &[(AlertRuleId::from_ulid(1), "b".to_owned())]).await?);
        assert_eq!(write!(db, |tx| (alert_rules::states(tx, ACME).await?.len(), alert_rules::states(tx, OTHER).await?.len())), (1, 1));
    }

    async fn a_look_is_taken_by_one(db: TestDb) {
        assert_eq!(write!(db, |tx| (alert_rules::begin(tx, ACME, 9, at(1)).await?, alert_rules::begin(tx, ACME, 9, at(2)).await?)), (Some(0), None));
        assert_eq!(write!(db, |tx| (alert_rules::has_begun(tx, ACME, 9).await?, alert_rules::has_begun(tx, ACME, 10).await?, alert_rules::has_begun(tx, OTHER, 9).await?)), (true, false, false));
        assert_eq!(write!(db, |tx| (alert_rules::behind(tx, 10, 10).await?, alert_rules::begin(tx, ACME, 10, at(3)).await?, alert_rules::behind(tx, 10, 10).await?)), (vec![ACME], Some(9), vec![]));
        write!(db, |tx| alert_rules::begin(tx, OTHER, 9, at(1)).await?);
        assert_eq!(write!(db, |tx| alert_rules::claim_many(tx, &[OTHER, ACME], at(50), at(100)).await?), [ACME, OTHER]);
        assert_eq!(write!(db, |tx| alert_rules::claim_many(tx, &[ACME, OTHER], at(99), at(101)).await?), []);
        assert_eq!(write!(db, |tx| alert_rules::claim_many(tx, &[OTHER], at(100), at(160)).await?), [OTHER]);
        let checked = write!(db, |tx| alert_rules::checked(tx, 10).await?);
        assert_eq!((checked[&ACME], checked[&OTHER]), (at(100), at(160)));
        let held = write!(db, |tx| (alert_rules::hold(tx, ACME, Some(at(100))).await?, alert_rules::hold(tx, ACME, Some(at(99))).await?, alert_rules::hold(tx, ACME, None).await?));
        assert_eq!(held, (true, false, true));
        write!(db, |tx| alert_rules::look_again(tx, ACME).await?);
        assert!(!write!(db, |tx| alert_rules::hold(tx, ACME, Some(at(100))).await?), "a look that is under way comes to nothing");
        assert_eq!(write!(db, |tx| alert_rules::claim_many(tx, &[ACME, OTHER], at(100), at(170)).await?), [ACME]);
    }

    async fn mails_and_costs_of_all_tenants_are_summed_by_day(db: TestDb) {
        const DAY_S: i64 = 86_400;
        let mail = |tenant, day: i64, provider: &str, topic: &str, sent: i64| {
            let outcome = store::usage::Counts { sent, bounced: sent / 10, ..Default::default() };
            let counts = store::message_counters::Counts { outcome, complained: 1, failed_recipient: 2, cost_micros: sent * 7, ..Default::default() };
            let key = store::message_counters::Key {
                channel: Channel::Email,
                provider: provider.to_owned(),
                topic: topic.to_owned(),
                currency: if topic.is_empty() { "EUR" } else { "" }.to_owned(),
                ..key(tenant, at(day * DAY_S + 3_600))
            };
            (key, counts)
        };
        let demo = TenantId::from_ulid(30);
        let rows = [
            mail(ACME, 1, "smtp", "", 1_000), mail(ACME, 2, "smtp", "", 100), mail(ACME, 9, "smtp", "", 10), mail(OTHER, 9, "smtp", "", 20),
            mail(OTHER, 9, "ses", "", 30), mail(OTHER, 9, "ses", "alert:letter", 40), mail(demo, 9, "sandbox", "", 50),
        ];
        write!(db, |tx| {
            for id in [ACME, OTHER, demo] {
                tenants::insert(tx, &tenants::Tenant { is_demo: id == demo, ..crate::tenancy::tenant(id) }).await?;
            }
            store::message_counters::add_many(tx, 0, &rows.clone().into_iter().collect()).await?;
        });
        let found = write!(db, |tx| alert_facts::mails(tx, [at(2 * DAY_S), at(5 * DAY_S)], &["alert:letter"]).await?);
        let sums: Vec<_> = found.iter().map(|(provider, sums)| (provider.as_str(), sums.map(|of| (of.sent, of.bounced, of.complained, of.failed_recipient)))).collect();
        assert_eq!(sums, [("sandbox", [(50, 5, 1, 2); 2]), ("ses", [(30, 3, 1, 2); 2]), ("smtp", [(130, 13, 3, 6), (30, 3, 2, 4)])]);
        let costs = write!(db, |tx| alert_facts::costs(tx, at(2 * DAY_S), at(9 * DAY_S)).await?);
        assert_eq!(costs, [("EUR".to_owned(), at(2 * DAY_S), 700)], "neither before nor after, nor without a currency");
        let costs = write!(db, |tx| alert_facts::costs(tx, at(9 * DAY_S), at(10 * DAY_S)).await?);
        assert_eq!(costs, [("EUR".to_owned(), at(9 * DAY_S), 420)], "a demo tenant's are for show");
    }

    async fn alerts_are_listed_counted_told_and_purged(db: TestDb) {
        write!(db, |tx| for row in [alert(ACME, 1, "resolved"), alert(ACME, 2, "firing"), alert(ACME, 3, "acknowledged"), alert(OTHER, 4, "firing")] {
            alerts::put(tx, &row).await?;
        });
        let ids = |filter: Filter, before: u128, limit: i64| {
            let db = db.db.clone();
            async move {
                let rows = write!(db, |tx| alerts::list(tx, ACME, &filter, AlertId::from_ulid(before), limit).await?);
                rows.iter().map(|row| row.id.ulid()).collect::<Vec<_>>()
            }
        };
        assert_eq!(ids(Filter::default(), u128::MAX, 9).await, [3, 2, 1]);
        assert_eq!(ids(Filter::default(), 3, 1).await, [2]);
        assert_eq!(ids(Filter { is_open: true, ..Filter::default() }, u128::MAX, 9).await, [3, 2]);
        assert_eq!(ids(Filter { state: Some("resolved".to_owned()), ..Filter::default() }, u128::MAX, 9).await, [1]);
        assert_eq!(ids(Filter { kind: Some("queue_age".to_owned()), ..Filter::default() }, u128::MAX, 9).await, Vec::<u128>::new());
        assert_eq!(ids(Filter { rule_id: Some(AlertRuleId::from_ulid(1)), ..Filter::default() }, u128::MAX, 9).await, [3, 2, 1]);
        assert_eq!(write!(db, |tx| (alerts::count_open(tx, ACME, 9).await?, alerts::count_open(tx, TenantId::from_ulid(30), 9).await?)), ((1, 1), (0, 0)));
        let id = AlertId::from_ulid;
        assert_eq!(write!(db, |tx| (alerts::find(tx, ACME, id(2)).await?, alerts::find(tx, OTHER, id(2)).await?)), (Some(alert(ACME, 2, "firing")), None));
        assert_eq!(write!(db, |tx| alerts::lock(tx, ACME, id(2)).await?), Some(alert(ACME, 2, "firing")));

        write!(db, |tx| (alert_rules::begin(tx, ACME, 9, at(1)).await?, alert_rules::begin(tx, OTHER, 9, at(1)).await?));
        write!(db, |tx| alert_rules::note_told(tx, OTHER, at(50)).await?);
        assert_eq!(write!(db, |tx| alert_rules::to_tell(tx, at(49), at(50), 9).await?), [ACME]);
        assert_eq!(write!(db, |tx| alert_rules::to_tell(tx, at(50), at(50), 9).await?), [ACME, OTHER], "who was never told comes first");
        assert_eq!(write!(db, |tx| alert_rules::to_tell(tx, at(50), at(3), 9).await?), [], "it is not time yet");
        assert_eq!(write!(db, |tx| alerts::telling(tx, ACME, at(4), 9).await?), [alert(ACME, 2, "firing")]);
        assert_eq!(write!(db, |tx| alerts::telling(tx, ACME, at(3), 9).await?), []);
        let told = Alert { telling: None, tell_at: None, told_at: Some(at(60)), letters: None, ..alert(ACME, 2, "firing") };
        let put = told.clone();
        write!(db, |tx| alerts::put(tx, &put).await?);
        assert_eq!(write!(db, |tx| (alerts::telling(tx, ACME, at(99), 9).await?.len(), alerts::find(tx, ACME, id(2)).await?.unwrap())), (0, told));

        assert_eq!(write!(db, |tx| (alerts::purge(tx, at(6), 9).await?, alerts::purge(tx, at(7), 9).await?)), (0, 1));
        assert_eq!(ids(Filter::default(), u128::MAX, 9).await, [3, 2]);
    }

    async fn facts_are_about_one_tenant(db: TestDb) {
        write!(db, |tx| {
            for id in [ACME, OTHER] {
                tenants::insert(tx, &crate::tenancy::tenant(id)).await?;
            }
            let mut sums = std::collections::BTreeMap::new();
            sums.insert(key(ACME, at(1_800)), store::message_counters::Counts { opened: 1, ..Default::default() });
            sums.insert(key(OTHER, at(0)), store::message_counters::Counts { opened: 1, ..Default::default() });
            store::message_counters::add_many(tx, 0, &sums).await?;
            for (id, dead_at, topic) in [(1u128, Some(at(90)), None), (2, Some(at(100)), Some("tidings_alert")), (3, Some(at(100)), Some("news")), (4, None, None), (5, Some(at(100)), None)] {
                tx.execute(
                    "INSERT INTO messages (tenant_id, id, channel, purpose, class, guarantee, status, address, topic, content_id, attempts, created_at, polls, dead_at)
                     VALUES ($1, $2, 2, 0, 0, 0, 8, '+4915112345678', $3, $2, 0, $4, 0, $5)",
                    &[&ACME, &MessageId::from_ulid(id), &topic.map(str::to_owned), &at(1), &dead_at],
                ).await?;
            }
            for (id, name, state) in [(1u128, "acme.example", "failed"), (2, "fine.example", "verified")] {
                tx.execute(
                    "INSERT INTO domains (id, tenant_id, account_id, name, state, reference, records, detail, checks, created_at, updated_at)
                     VALUES ($1, $2, $1, $3, $4, $3, '[]', 'no DKIM', 1, $5, $5)",
                    &[&AccountId::from_ulid(id), &ACME, &name, &state, &at(1)],
                ).await?;
            }
        });
        assert_eq!(write!(db, |tx| alert_facts::active_tenants(tx, at(0), 9).await?), [ACME, OTHER]);
        assert_eq!(write!(db, |tx| alert_facts::active_tenants(tx, at(1), 9).await?), [ACME]);
        assert_eq!(write!(db, |tx| alert_facts::tenants_in_trouble(tx, 9).await?), [ACME]);
        let dead = |tenant, since, oldest| {
            let db = db.db.clone();
            async move { write!(db, |tx| alert_facts::dead_letters(tx, tenant, at(since), MessageId::from_ulid(oldest), &["tidings_alert", "alert:letter"], 10).await?) }
        };
        assert_eq!((dead(ACME, 0, 0).await, dead(ACME, 91, 0).await, dead(ACME, 0, 5).await, dead(OTHER, 0, 0).await), (3, 2, 1, 0));
        let counted = write!(db, |tx| (messages::count_dead(tx, ACME, 2).await?, messages::count_dead(tx, ACME, 9).await?, messages::count_dead(tx, OTHER, 9).await?));
        assert_eq!(counted, ((2, Some(at(100))), (4, Some(at(100))), (0, None)));
        let next = write!(db, |tx| (messages::next_with_dead(tx, TenantId::from_ulid(0)).await?, messages::next_with_dead(tx, ACME).await?));
        assert_eq!(next, (Some(ACME), None));
        let lapsed = write!(db, |tx| alert_facts::lapsed(tx, ACME, 9).await?);
        assert_eq!(lapsed.iter().map(|row| (row.kind.as_str(), row.name.as_str(), row.reason.as_deref())).collect::<Vec<_>>(), [("domain", "acme.example", Some("no DKIM"))]);
        assert_eq!(write!(db, |tx| alert_facts::lapsed(tx, OTHER, 9).await?), []);
        let rejected = Registration { state: "rejected".to_owned(), ..crate::registrations::registration(OTHER, 1, 1) };
        write!(db, |tx| {
            accounts::insert(tx, &crate::tenancy::account(1, OTHER)).await?;
            registrations::insert(tx, &rejected).await?;
        });
        let lapsed = write!(db, |tx| alert_facts::lapsed(tx, OTHER, 9).await?);
        assert_eq!(lapsed.iter().map(|row| (row.kind.as_str(), row.name.as_str(), row.state.as_str())).collect::<Vec<_>>(), [("registration", "Mail", "rejected")]);
        assert_eq!(write!(db, |tx| alert_facts::tenants_in_trouble(tx, 9).await?), [ACME, OTHER]);
        assert_eq!(write!(db, |tx| alert_facts::stuck_registrations(tx, 9).await?), []);
        write!(db, |tx| tx.execute("UPDATE registrations SET state = 'operator_needed', problem = 'No answer.' WHERE tenant_id = $1", &[&OTHER]).await?);
        let found = write!(db, |tx| alert_facts::stuck_registrations(tx, 9).await?);
        assert_eq!(found.iter().map(|row| (row.kind.as_str(), row.problem.as_deref(), row.tenant.is_some())).collect::<Vec<_>>(), [("10dlc", Some("No answer."), true)]);
    }
}

/// Rules got a currency, and what fires ends with its rule.
#[test]
fn what_fired_under_a_rule_that_is_gone_is_over_and_budgets_are_in_ones_own_currency() {
    testkit::on_each_older(39, async |db: TestDb| {
        let sql = "INSERT INTO alert_rules (tenant_id, id, kind, name, is_enabled, threshold_micros, over_s, at_least, for_s, quiet_s, deliver, created_at, updated_at)
            VALUES ($1, $2, $3, 'Rule', $4, 1, 0, 0, 0, 300, '[]', $5, $5)";
        let alert = "INSERT INTO alerts (tenant_id, id, rule_id, kind, subject, severity, title, detail, value_micros, threshold_micros, state, times, fired_at, seen_at, telling)
            VALUES ($1, $2, $2, 'cost', 'month', 'warning', 'T', 'D', 1, 1, 'firing', 1, $3, $3, 'firing')";
        write!(db, |tx| {
            for (id, currency) in [(ACME, "EUR"), (OTHER, "INR")] {
                tenants::insert(tx, &tenants::Tenant { currency: currency.to_owned(), ..crate::tenancy::tenant(id) })
                    .await?;
            }
            let ledger = "INSERT INTO credit_ledgers (tenant_id, mode, currency, available, reserved, revenue, purchased, adjusted, entries, created_at, updated_at)
                VALUES ($1, 'prepaid', 'USD', 0, 0, 0, 0, 0, 0, $2, $2)";
            tx.execute(ledger, &[&ACME, &at(1)]).await?;
            for (tenant, id, kind, is_enabled) in [
                (ACME, 1, "cost", true),
                (ACME, 2, "cost", false),
                (ACME, 3, "quota", true),
                (OTHER, 4, "cost_forecast", true),
            ] {
                tx.execute(sql, &[&tenant, &AlertRuleId::from_ulid(id), &kind, &is_enabled, &at(1)]).await?;
            }
            alert_rules::put_states(tx, &[state(ACME, 1, "month"), state(ACME, 2, "month"), state(ACME, 9, "month")])
                .await?;
            for id in [1, 2, 9] {
                tx.execute(alert, &[&ACME, &AlertId::from_ulid(id), &at(5)]).await?;
            }
        });
        store::migrate(&db.db, at(9)).await.unwrap();
        let rules = write!(db, |tx| [alert_rules::all(tx, ACME).await?, alert_rules::all(tx, OTHER).await?].concat());
        let currencies: Vec<_> = rules.iter().map(|rule| rule.currency.as_deref()).collect();
        assert_eq!(currencies, [Some("USD"), Some("USD"), None, Some("INR")], "that of the credit first");
        let all = AlertId::from_ulid(u128::MAX);
        let alerts = write!(db, |tx| alerts::list(tx, ACME, &Filter::default(), all, 9).await?);
        let states: Vec<_> = alerts
            .iter()
            .map(|row| (row.id.ulid(), row.state.as_str(), row.resolved_at, row.telling.is_some()))
            .collect();
        assert_eq!(
            states,
            [(9, "resolved", Some(at(5)), false), (2, "resolved", Some(at(5)), false), (1, "firing", None, true)]
        );
        assert_eq!(alerts[2].currency.as_deref(), Some("USD"));
        assert_eq!(write!(db, |tx| alert_rules::states(tx, ACME).await?), [state(ACME, 1, "month")]);
    });
}

fn key(tenant_id: TenantId, at: Timestamp) -> store::message_counters::Key {
    store::message_counters::Key {
        tenant_id,
        at,
        channel: Channel::Sms,
        provider: String::new(),
        account_id: AccountId::from_ulid(0),
        purpose: model::Purpose::Transactional,
        country: String::new(),
        campaign_id: model::CampaignId::from_ulid(0),
        template_id: model::TemplateId::from_ulid(0),
        template_version: 0,
        topic: String::new(),
        variant: 0,
        currency: String::new(),
        clock: 0,
    }
}
