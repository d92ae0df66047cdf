//! Every kind of alert on both engines: what makes it fire, and what ends it. A new kind has no story until it has a line here, and the compiler says so.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use model::{AccountId, Call, CampaignId, Channel, Purpose, TemplateId, Timestamp};
use serde_json::{Value, json};
use store::{
    Scope,
    message_counters::{self, Counts, Key},
    payments, purchases, usage,
};
use testkit::{Stage, TestDb, World, http_answer, smtp_accepted};
use tidings_engine::{
    alerts::{self, AlertKind, AlertQuery, AlertState, AlertStateFilter, AlertView, kinds::KINDS, rules},
    books,
    keys::Caller,
    money::credits,
    once::Repeat,
};

use crate::{
    alerts::{change, hours, minute, minutes, rule},
    hooks::{SID, neighbour, now, sms, twilio_account},
    plans::{plan, subscribe},
};

const DAY_S: i64 = 86_400;

/// A tenant with an account for text messages, one for mail, and what their sums come to.
pub struct Played {
    pub stage: Stage,
    text: AccountId,
    mail: AccountId,
}

impl Played {
    /// A new tenant of the same installation.
    pub async fn beside(first: &Stage) -> Self {
        let stage = neighbour(first).await;
        let text = twilio_account(&stage).await;
        let mail = json!({"host": "mail.example.com", "port": 587, "security": "starttls"});
        let mail = stage.account("smtp", mail, Some("Acme <alerts@acme.example>")).await;
        Self { stage, text, mail }
    }

    /// Adds to the sums of an account, as applying what became of messages does.
    pub async fn count(&self, channel: Channel, at: Timestamp, currency: &str, counts: Counts) {
        let account_id = if channel == Channel::Email { self.mail } else { self.text };
        self.count_of(account_id, channel, at, currency, counts).await;
    }

    /// The same of any account.
    pub async fn count_of(
        &self,
        account_id: AccountId,
        channel: Channel,
        at: Timestamp,
        currency: &str,
        counts: Counts,
    ) {
        let provider = if channel == Channel::Email { "smtp" } else { "twilio" };
        let key = Key {
            tenant_id: self.stage.tenant,
            at: message_counters::slot(at),
            channel,
            provider: provider.to_owned(),
            account_id,
            purpose: Purpose::Transactional,
            country: String::new(),
            campaign_id: CampaignId::from_ulid(0),
            template_id: TemplateId::from_ulid(0),
            template_version: 0,
            topic: String::new(),
            variant: 0,
            currency: currency.to_owned(),
            clock: 0,
        };
        let sums = BTreeMap::from([(key, counts)]);
        let write =
            self.stage.world.ports.db.write(Scope::System, move |tx| {
                Box::pin(async move { message_counters::add_many(tx, 0, &sums).await })
            });
        write.await.unwrap();
    }

    pub async fn cost(&self, currency: &str, micros: i64) {
        let counts = Counts {
            cost_micros: micros,
            outcome: usage::Counts { accepted: 1, sent: 1, ..Default::default() },
            ..Default::default()
        };
        self.count(Channel::Sms, now(&self.stage), currency, counts).await;
    }

    pub async fn run(&self, sql: &'static str) {
        let tenant = self.stage.tenant;
        let write = self
            .stage
            .world
            .ports
            .db
            .write(Scope::System, move |tx| Box::pin(async move { tx.execute(sql, &[&tenant]).await }));
        assert!(write.await.unwrap() > 0, "{sql}");
    }

    /// Finds something about a payment that is of nobody.
    async fn found(&self, kind: &str) {
        let (payment, detail) = ("pi_1".to_owned(), "The payment pi_1 is for nobody.".to_owned());
        let found = payments::Finding { payment, kind: kind.to_owned(), detail, found_at: now(&self.stage) };
        let db = &self.stage.world.ports.db;
        db.write(Scope::System, move |tx| Box::pin(async move { payments::note(tx, &found).await })).await.unwrap();
    }

    /// Gives the tenant a rule of a kind nobody has from the start.
    async fn rule(&self, new: Value) {
        let new = serde_json::from_value(new).unwrap();
        rules::create(self.stage.engine.parts(), &self.stage.caller, &Repeat::NONE, new).await.unwrap();
    }

    pub async fn open(&self, kind: AlertKind) -> Vec<AlertView> {
        open(&self.stage, &self.stage.caller, kind).await
    }
}

pub async fn open(stage: &Stage, whose: &Caller, kind: AlertKind) -> Vec<AlertView> {
    let query = AlertQuery { state: Some(AlertStateFilter::Open), ..AlertQuery::default() };
    let page = alerts::list(stage.engine.parts(), whose, &query).await.unwrap();
    page.data.into_iter().filter(|alert| alert.kind == kind).collect()
}

pub fn of(outcome: usage::Counts) -> Counts {
    Counts { outcome, ..Counts::default() }
}

/// Makes what a kind watches be the matter.
async fn fire(of_kind: AlertKind, it: &Played, others: &[Played], is_broken: &AtomicBool) {
    let stage = &it.stage;
    let now = now(stage);
    match of_kind {
        AlertKind::AccountFailing | AlertKind::ProviderFailing => {
            is_broken.store(true, Ordering::SeqCst);
            // One tenant's trouble is not the provider's.
            let others = others.iter().filter(|_| of_kind == AlertKind::ProviderFailing);
            for stage in others.map(|other| &other.stage).chain([stage]) {
                stage.send(sms()).await;
            }
            stage.dispatch().await;
        }
        AlertKind::DeliveryRate => {
            let outcome = usage::Counts { accepted: 100, sent: 100, delivered: 50, failed: 50, ..Default::default() };
            it.count(Channel::Sms, now, "", of(outcome)).await;
        }
        AlertKind::BounceRate => {
            let outcome = usage::Counts { accepted: 2_000, sent: 2_000, bounced: 100, ..Default::default() };
            it.count(Channel::Email, now.plus_seconds(-7_200), "", of(outcome)).await;
        }
        AlertKind::ComplaintRate => {
            let outcome = usage::Counts { accepted: 2_000, sent: 2_000, ..Default::default() };
            it.count(Channel::Email, now.plus_seconds(-7_200), "", Counts { complained: 10, ..of(outcome) }).await;
        }
        AlertKind::UsageAnomaly => {
            let hour = Timestamp::from_seconds((now.as_seconds() / 3_600 - 1) * 3_600);
            for (week, accepted) in [400i64, 10, 12, 9, 11, 10, 10, 12, 8].into_iter().enumerate() {
                let at = hour.plus_seconds(-(week as i64) * 7 * DAY_S);
                it.count(Channel::Sms, at, "", of(usage::Counts { accepted, ..Default::default() })).await;
            }
        }
        AlertKind::Registration => {
            let new = serde_json::from_value(json!({"account_id": it.mail, "name": "acme.example"})).unwrap();
            tidings_engine::domains::create(stage.engine.parts(), &stage.caller, &Repeat::NONE, new).await.unwrap();
            it.run("UPDATE domains SET state = 'failed', detail = 'The DKIM record is gone.' WHERE tenant_id = $1")
                .await;
        }
        AlertKind::QueueAge => {
            stage.send(sms()).await;
            stage.send(sms()).await;
        }
        AlertKind::DeadLetters => {
            change(stage, AlertKind::DeadLetters, json!({"threshold": 1})).await;
            stage.send(sms()).await;
            stage.dispatch().await;
            it.run("UPDATE messages SET dead_at = created_at, status = 4 WHERE tenant_id = $1").await;
        }
        AlertKind::Cost => {
            it.rule(json!({"kind": "cost", "threshold": 10})).await;
            it.cost("USD", 11_000_000).await;
        }
        AlertKind::CostForecast => {
            // Three weeks of the month are left: at this pace it comes to four times as much.
            it.rule(json!({"kind": "cost_forecast", "threshold": 30})).await;
            it.cost("USD", 11_000_000).await;
        }
        AlertKind::CreditLow => {
            let mode = serde_json::from_value(json!({"mode": "prepaid"})).unwrap();
            credits::patch(stage.engine.parts(), &stage.caller, mode).await.unwrap();
            let bought = serde_json::from_value(json!({"amount_micros": 10_000_000, "reference": "7"})).unwrap();
            credits::purchase(stage.engine.parts(), &stage.caller, &Repeat::NONE, bought).await.unwrap();
            it.cost("USD", 70_000_000).await;
        }
        AlertKind::Quota => {
            let studio = plan(stage, json!([{"channel": "sms", "included": 10}])).await;
            subscribe(stage, json!({ "plan_id": studio })).await;
            for _ in 0..8 {
                stage.send(sms()).await;
            }
            stage.dispatch().await;
        }
        AlertKind::LedgerFinding => {
            stage.send(sms()).await;
            stage.dispatch().await;
            it.run("UPDATE message_counters SET sent = sent + 1 WHERE tenant_id = $1").await;
            assert!(books::watch(&stage.engine).await.unwrap() > 0);
        }
        AlertKind::PaymentDisputed => {
            let bought = serde_json::from_value(json!({"amount_micros": 10_000_000, "reference": "7"})).unwrap();
            credits::purchase(stage.engine.parts(), &stage.caller, &Repeat::NONE, bought).await.unwrap();
            it.run("UPDATE credit_purchases SET is_disputed = TRUE WHERE tenant_id = $1").await;
        }
        AlertKind::InvoiceUnmailed => {
            it.run("INSERT INTO invoices (tenant_id, id, kind, state, currency, starts_at, ends_at, total, body, mail_state, created_at, updated_at)
                SELECT id, id, 'invoice', 'issued', 'USD', created_at, created_at, 1, '{}', 'failed', created_at, created_at FROM tenants WHERE id = $1").await;
        }
        AlertKind::RegistrationStuck => {
            it.run("INSERT INTO registrations (tenant_id, id, account_id, state, stage, refs, business, reasons, problem, failures, submitted_at, created_at, updated_at)
                SELECT id, id, id, 'operator_needed', 'brand', '{}', '{}', '[]', 'Twilio did not answer.', 10, created_at, created_at, created_at FROM tenants WHERE id = $1").await;
        }
        AlertKind::PaymentStray => it.found("gone").await,
        AlertKind::PaymentUnheard => it.found(payments::UNHEARD).await,
    }
}

/// Ends it.
async fn mend(of_kind: AlertKind, it: &Played, is_broken: &AtomicBool) {
    let stage = &it.stage;
    let now = now(stage);
    match of_kind {
        AlertKind::AccountFailing | AlertKind::ProviderFailing => {
            is_broken.store(false, Ordering::SeqCst);
            hours(stage, 2).await;
        }
        AlertKind::DeliveryRate => {
            let outcome = usage::Counts { accepted: 1_000, sent: 1_000, delivered: 1_000, ..Default::default() };
            it.count(Channel::Sms, now, "", of(outcome)).await;
        }
        AlertKind::BounceRate | AlertKind::ComplaintRate => {
            let outcome = usage::Counts { accepted: 20_000, sent: 20_000, ..Default::default() };
            it.count(Channel::Email, now, "", of(outcome)).await;
        }
        AlertKind::UsageAnomaly => minutes(stage, 60).await,
        AlertKind::Registration => {
            it.run("UPDATE domains SET state = 'verified', detail = NULL WHERE tenant_id = $1").await
        }
        AlertKind::QueueAge => stage.dispatch().await,
        AlertKind::DeadLetters => stage.world.clock.advance_ms(25 * 3_600_000),
        AlertKind::Cost | AlertKind::CostForecast | AlertKind::Quota => {
            // A new month begins.
            stage.world.clock.set(now.plus_seconds(28 * DAY_S));
        }
        AlertKind::CreditLow => {
            let bought = serde_json::from_value(json!({"amount_micros": 1_000_000_000_i64, "reference": "8"})).unwrap();
            credits::purchase(stage.engine.parts(), &stage.caller, &Repeat::NONE, bought).await.unwrap();
        }
        AlertKind::LedgerFinding => {
            assert!(stage.engine.recount(stage.tenant).await.unwrap() > 0);
            assert_eq!(books::watch(&stage.engine).await.unwrap(), 0);
        }
        AlertKind::PaymentDisputed => {
            it.run("UPDATE credit_purchases SET is_disputed = FALSE WHERE tenant_id = $1").await
        }
        AlertKind::InvoiceUnmailed => it.run("UPDATE invoices SET mail_state = 'delivered' WHERE tenant_id = $1").await,
        AlertKind::RegistrationStuck => {
            it.run("UPDATE registrations SET state = 'approved' WHERE tenant_id = $1").await
        }
        AlertKind::PaymentStray | AlertKind::PaymentUnheard => {
            let write = stage.world.ports.db.write(Scope::System, move |tx| {
                Box::pin(async move {
                    payments::settle(tx, "pi_1", now).await?;
                    purchases::take_event(tx, of_kind.as_str(), "refund.created", now).await
                })
            });
            write.await.unwrap();
        }
    }
}

/// Plays one kind: it fires once, and is over.
async fn play(db: &TestDb, kinds: &[AlertKind]) {
    let is_broken = Arc::new(AtomicBool::new(false));
    let switch = Arc::clone(&is_broken);
    let world = World::answering(db, move |call| match call {
        Call::Smtp(_) => smtp_accepted(),
        Call::Local => panic!("nothing here is answered by a connector itself"),
        Call::Http(_) if switch.load(Ordering::SeqCst) => {
            http_answer(401, r#"{"code": 20003, "message": "Authenticate", "status": 401}"#.to_owned())
        }
        Call::Http(_) => http_answer(201, format!(r#"{{"sid": "{SID}", "status": "queued", "num_segments": "1"}}"#)),
    });
    let first = Stage::in_world(world).await;
    first.world.clock.set("2027-03-10T10:05:00Z".parse().unwrap());
    for kind in kinds.iter().copied() {
        let it = Played::beside(&first).await;
        let others = [Played::beside(&first).await, Played::beside(&first).await];
        let (spec, operator) = (kind.spec(), Caller::system(None));
        // A provider's trouble is the operator's, everything else the tenant's.
        let whose = if spec.is_tenants { it.stage.caller.clone() } else { operator };
        // Somebody who sends is looked at.
        it.stage.send(sms()).await;
        it.stage.dispatch().await;
        fire(kind, &it, &others, &is_broken).await;
        if kind == AlertKind::QueueAge {
            for _ in 0..20 {
                it.stage.world.clock.advance_ms(60_000);
                alerts::watch(&it.stage.engine).await.unwrap();
            }
        } else {
            minutes(&it.stage, 10).await;
        }
        let found = open(&it.stage, &whose, kind).await;
        assert_eq!(found.len(), 1, "{kind:?}: {found:?}");
        assert!(found[0].state == AlertState::Firing && found[0].times == 1, "{kind:?}: {found:?}");
        assert!(found[0].title.len() > 10 && found[0].detail.len() > found[0].title.len(), "{kind:?}: {found:?}");
        mend(kind, &it, &is_broken).await;
        minutes(&it.stage, 12).await;
        let left = open(&it.stage, &whose, kind).await;
        assert_eq!(left, [], "{kind:?} is over");
        let told = alerts::get(it.stage.engine.parts(), &whose, found[0].id).await.unwrap();
        assert_eq!((told.state, told.times), (AlertState::Resolved, 1), "{kind:?}");
    }
}

const ABOUT_ACCOUNTS: [AlertKind; 4] =
    [AlertKind::AccountFailing, AlertKind::ProviderFailing, AlertKind::DeliveryRate, AlertKind::QueueAge];
const ABOUT_RECIPIENTS: [AlertKind; 6] = [
    AlertKind::BounceRate,
    AlertKind::ComplaintRate,
    AlertKind::UsageAnomaly,
    AlertKind::Registration,
    AlertKind::RegistrationStuck,
    AlertKind::DeadLetters,
];
const ABOUT_MONEY: [AlertKind; 8] = [
    AlertKind::Cost,
    AlertKind::CostForecast,
    AlertKind::CreditLow,
    AlertKind::Quota,
    AlertKind::PaymentDisputed,
    AlertKind::InvoiceUnmailed,
    AlertKind::PaymentStray,
    AlertKind::PaymentUnheard,
];
// By itself: the sums of the other stories have no messages, which the check of the books would find.
const ABOUT_BOOKS: [AlertKind; 1] = [AlertKind::LedgerFinding];

#[test]
fn every_kind_is_played() {
    let played: Vec<_> =
        ABOUT_ACCOUNTS.iter().chain(&ABOUT_RECIPIENTS).chain(&ABOUT_MONEY).chain(&ABOUT_BOOKS).collect();
    for spec in KINDS {
        assert_eq!(played.iter().filter(|kind| ***kind == spec.kind).count(), 1, "{}", spec.word);
    }
}

testkit::both! {
    async fn what_is_about_accounts_fires_and_is_over(db: TestDb) {
        play(&db, &ABOUT_ACCOUNTS).await;
    }

    async fn what_is_about_recipients_fires_and_is_over(db: TestDb) {
        play(&db, &ABOUT_RECIPIENTS).await;
    }

    async fn what_is_about_money_fires_and_is_over(db: TestDb) {
        play(&db, &ABOUT_MONEY).await;
    }

    async fn what_is_about_the_books_fires_and_is_over(db: TestDb) {
        play(&db, &ABOUT_BOOKS).await;
    }

    async fn a_quota_is_told_at_eighty_ninety_and_a_hundred(db: TestDb) {
        let it = quota_of_ten(&db).await;
        let subjects = async |it: &Played| {
            let mut all: Vec<_> = it.open(AlertKind::Quota).await.into_iter().map(|alert| alert.subject).collect();
            all.sort();
            all
        };
        for (more, expected) in [(8, &["sms"][..]), (1, &["sms", "sms:90"]), (1, &["sms", "sms:100", "sms:90"])] {
            for _ in 0..more {
                it.stage.send(sms()).await;
            }
            minutes(&it.stage, 2).await;
            assert_eq!(subjects(&it).await, expected);
        }
    }

    async fn the_operator_hears_what_does_not_add_up_anywhere(db: TestDb) {
        let it = quota_of_ten(&db).await;
        it.stage.send(sms()).await;
        it.stage.dispatch().await;
        it.run("UPDATE message_counters SET sent = sent + 1 WHERE tenant_id = $1").await;
        books::watch(&it.stage.engine).await.unwrap();
        minutes(&it.stage, 2).await;
        let found = open(&it.stage, &Caller::system(None), AlertKind::LedgerFinding).await;
        assert_eq!((found.len(), found[0].value), (1, 1.0), "{found:?}");
        assert!(found[0].detail.contains("doctor --ledger"), "{}", found[0].detail);
    }

    async fn who_checks_the_books_by_hand_and_finds_nothing_ends_the_alerts(db: TestDb) {
        let it = quota_of_ten(&db).await;
        it.stage.send(sms()).await;
        it.stage.dispatch().await;
        it.run("UPDATE message_counters SET sent = sent + 1 WHERE tenant_id = $1").await;
        books::watch(&it.stage.engine).await.unwrap();
        minutes(&it.stage, 2).await;
        let fires = async || {
            let operators = open(&it.stage, &Caller::system(None), AlertKind::LedgerFinding).await;
            (it.open(AlertKind::LedgerFinding).await.len(), operators.len())
        };
        assert_eq!(fires().await, (1, 1));
        let check = async || books::verify_and_note(&it.stage.world.ports.db).await.unwrap().count();
        assert_eq!(check().await, 1, "nobody has mended it yet");
        minutes(&it.stage, 12).await;
        assert_eq!(fires().await, (1, 1));
        it.run("UPDATE message_counters SET sent = sent - 1 WHERE tenant_id = $1").await;
        assert_eq!(check().await, 0);
        minutes(&it.stage, 12).await;
        assert_eq!(fires().await, (0, 0));
    }

    async fn what_the_sandbox_plays_is_its_tenants_trouble_and_not_the_operators(db: TestDb) {
        let stage = Stage::new(&db).await;
        let others = [neighbour(&stage).await, neighbour(&stage).await];
        for of in others.iter().chain([&stage]) {
            let suspended = of.account("sandbox", json!({}), None).await;
            of.send(mail("account@example.com", suspended)).await;
        }
        let refuses = stage.account("sandbox", json!({}), None).await;
        for number in 0..60 {
            stage.send(mail(&format!("reject+{number}@example.com"), refuses)).await;
        }
        stage.dispatch().await;
        minutes(&stage, 6).await;
        for kind in [AlertKind::AccountFailing, AlertKind::DeliveryRate] {
            assert_eq!(open(&stage, &stage.caller, kind).await.len(), 1, "{kind:?}");
        }
        let all = alerts::list(stage.engine.parts(), &Caller::system(None), &AlertQuery::default()).await.unwrap().data;
        assert_eq!(all, []);
    }

    async fn a_small_account_beside_a_big_one_is_seen(db: TestDb) {
        let world = World::answering(&db, |_| crate::hooks::taken());
        let it = Played::beside(&Stage::in_world(world).await).await;
        it.stage.world.clock.set("2027-03-10T10:05:00Z".parse().unwrap());
        let small = it.stage.account("smtp", json!({"host": "old.example.com", "port": 587, "security": "starttls"}), Some("Acme <old@acme.example>")).await;
        let at = now(&it.stage).plus_seconds(-7_200);
        it.count(Channel::Email, at, "", of(usage::Counts { accepted: 5_000, sent: 5_000, ..Default::default() })).await;
        for day in 0..28 {
            let outcome = usage::Counts { accepted: 100, sent: 100, bounced: 50, ..Default::default() };
            it.count_of(small, Channel::Email, at.plus_seconds(-day * DAY_S), "", of(outcome)).await;
        }
        it.stage.send(sms()).await;
        it.stage.dispatch().await;
        minutes(&it.stage, 6).await;
        let found = it.open(AlertKind::BounceRate).await;
        assert_eq!(found.iter().map(|alert| alert.subject.clone()).collect::<Vec<_>>(), [small.to_string()], "{found:?}");
        assert!(found[0].detail.contains("in the last 30 days"), "{}", found[0].detail);
    }

    async fn letters_go_by_mail_text_message_and_telegram(db: TestDb) {
        let world = World::answering(&db, |call| match call {
            Call::Smtp(_) => smtp_accepted(),
            Call::Http(request) if request.url.as_str().contains("telegram") => {
                http_answer(200, r#"{"ok": true, "result": {"message_id": 7, "date": 1, "chat": {"id": 42, "type": "private"}}}"#.to_owned())
            }
            Call::Http(_) => http_answer(201, format!(r#"{{"sid": "{SID}", "status": "queued", "num_segments": "1"}}"#)),
            Call::Local => panic!("nothing here is answered by a connector itself"),
        });
        let it = Played::beside(&Stage::in_world(world).await).await;
        it.stage.account("telegram", json!({"bot_token": "123456:ABC-DEF1234ghIkl-zyx57W2v1u123ew11"}), None).await;
        let deliver = json!([
            {"channel": "email", "to": "ops@acme.example"}, {"channel": "sms", "to": "+4915112345678"}, {"channel": "telegram", "to": "42"},
        ]);
        it.rule(json!({"kind": "cost", "threshold": 10, "deliver": deliver})).await;
        it.stage.send(sms()).await;
        it.cost("USD", 11_000_000).await;
        minute(&it.stage).await;
        let sql = "SELECT channel, address, status FROM messages WHERE tenant_id = $1 AND topic = 'alert:letter' ORDER BY channel";
        let tenant = it.stage.tenant;
        let read = db.db.read(Scope::System, move |tx| {
            Box::pin(async move {
                let rows = tx.rows(sql, &[&tenant]).await?;
                rows.into_iter()
                    .map(|mut row| Ok((row.get::<Channel>(0)?, row.get::<String>(1)?, row.get::<model::Status>(2)?)))
                    .collect::<Result<Vec<_>, store::Error>>()
            })
        });
        let mut left = read.await.unwrap();
        left.sort_by_key(|(channel, ..)| channel.as_str());
        let to: Vec<_> = left.iter().map(|(channel, to, _)| (channel.as_str(), to.as_str())).collect();
        assert_eq!(to, [("email", "ops@acme.example"), ("sms", "+4915112345678"), ("telegram", "42")]);
        assert!(left.iter().all(|(_, _, status)| *status == model::Status::Sent), "{left:?}");
    }
}

/// A mail through an account.
fn mail(to: &str, account: AccountId) -> Value {
    json!({"to": {"email": to}, "account_id": account, "content": {"subject": "Hi", "text": "Hello"}})
}

async fn quota_of_ten(db: &TestDb) -> Played {
    let world = World::answering(db, |_| crate::hooks::taken());
    let it = Played::beside(&Stage::in_world(world).await).await;
    let studio = plan(&it.stage, json!([{"channel": "sms", "included": 10}])).await;
    subscribe(&it.stage, json!({ "plan_id": studio })).await;
    assert!(rule(&it.stage, AlertKind::Quota).await.ulid() != 0);
    it
}
