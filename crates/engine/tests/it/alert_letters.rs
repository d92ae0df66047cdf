//! Letters about alerts on both engines: who has used up everything hears of it, what no account takes is tried again and given up truthfully, and only what was accepted counts as told.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use model::{Answer, Call, SmtpAnswer, SmtpReply, SmtpStage};
use serde_json::{Value, json};
use testkit::{Stage, TestDb, World, http_answer, smtp_accepted};
use tidings_engine::{
    Config, Engine,
    alerts::{
        self, AlertKind, AlertState, LetterState,
        letters::LetterAbout,
        rations::{LETTERS_TO_ONE_A_DAY, TRIALS_TO_ONE_A_DAY},
    },
    books,
    money::{credits, prices},
    once::Repeat,
    vault::MasterKeys,
};

use crate::{
    alerts::{change, list, minute, minutes, rule},
    hooks::{SID, neighbour, sms, twilio_account},
    plans::{plan, subscribe},
    setting::{column, repeat},
};

const ADA: &str = "ada@acme.example";

/// A tenant with an account for text messages and one for mail, all of which work.
async fn acme(db: &TestDb) -> Stage {
    let world = World::answering(db, |call| match call {
        model::Call::Smtp(_) => smtp_accepted(),
        _ => http_answer(201, format!(r#"{{"sid": "{SID}", "status": "queued", "num_segments": "1"}}"#)),
    });
    let stage = Stage::in_world(world).await;
    twilio_account(&stage).await;
    mail_account(&stage).await;
    stage
}

pub async fn mail_account(stage: &Stage) -> model::AccountId {
    let mail = json!({"host": "mail.example.com", "port": 587, "security": "starttls"});
    stage.account("smtp", mail, Some("Acme <alerts@acme.example>")).await
}

/// Makes Ada a user of the tenant: others are not written to through the operator's account.
async fn ada_joins(db: &TestDb, tenant: model::TenantId) {
    let write = db.db.write(store::Scope::System, move |tx| {
        Box::pin(async move {
            let (id, at) = (model::UserId::from_ulid(1), model::Timestamp::from_seconds(1));
            let sql = "INSERT INTO users (id, email, name, totp_step, has_totp, created_at, updated_at, privileges_at) VALUES ($1, $2, 'Ada', 0, FALSE, $3, $3, $3)";
            tx.execute(sql, &[&id, &ADA, &at]).await?;
            let sql = "INSERT INTO memberships (tenant_id, user_id, role, permissions, invited_by, created_at, updated_at, accepted_at) VALUES ($1, $2, 'member', '{}', 'system', $3, $3, $3)";
            tx.execute(sql, &[&tenant, &id, &at]).await
        })
    });
    write.await.unwrap();
}

async fn mail_server(stage: &Stage, host: &str) -> model::AccountId {
    let mail = json!({"host": host, "port": 587, "security": "starttls"});
    stage.account("smtp", mail, Some("Acme <alerts@acme.example>")).await
}

/// The tenant's account with this connector.
async fn stage_account(stage: &Stage, connector: &str) -> model::AccountId {
    let accounts = tidings_engine::accounts::list(stage.engine.parts(), &stage.caller, None, None).await.unwrap().data;
    accounts.iter().find(|account| account.connector == connector).unwrap().id
}

/// A tenant whose account for text messages fails while the switch is on, and with this mail server. One called relay takes mails, one called filter none like this, and any other knows nobody.
async fn bouncing(db: &TestDb, host: &str) -> (Stage, Arc<AtomicBool>) {
    let is_broken = Arc::new(AtomicBool::new(true));
    let switch = Arc::clone(&is_broken);
    let world = World::answering(db, move |call| match call {
        Call::Smtp(mail) if mail.host.starts_with("relay") => smtp_accepted(),
        Call::Smtp(mail) => {
            let (code, enhanced, text) = match mail.host.starts_with("filter") {
                true => (552, "5.3.4", "Too big for us"),
                false => (550, "5.1.1", "No such user"),
            };
            let reply = SmtpReply { code, enhanced: Some(enhanced.to_owned()), text: text.to_owned() };
            Ok(Answer::Smtp(SmtpAnswer { stage: SmtpStage::RcptTo, reply, capabilities: Vec::new(), tls: None }))
        }
        _ if switch.load(Ordering::SeqCst) => {
            http_answer(401, r#"{"code": 20003, "message": "Authenticate", "status": 401}"#.to_owned())
        }
        _ => http_answer(201, format!(r#"{{"sid": "{SID}", "status": "queued", "num_segments": "1"}}"#)),
    });
    let stage = Stage::in_world(world).await;
    twilio_account(&stage).await;
    mail_server(&stage, host).await;
    (stage, is_broken)
}

fn to_ada() -> Value {
    json!([{"channel": "email", "to": ADA}])
}

/// Letters to an address so far, with what they cost.
async fn letters_to(db: &TestDb, address: &'static str) -> Vec<String> {
    let text = column(
        db,
        "SELECT address || ' ' || COALESCE(CAST(cost_micros AS TEXT), 'free') FROM messages WHERE topic = 'alert:letter' ORDER BY id",
    )
    .await;
    text.lines().filter(|line| line.starts_with(address)).map(str::to_owned).collect()
}

/// An engine whose operator writes letters through this tenant.
pub fn with_operator(of: Stage, mail_tenant: model::TenantId) -> Stage {
    let config = Config {
        public_url: "https://tidings.example".to_owned(),
        base_urls: of.world.base_urls.clone(),
        mail_tenant: Some(mail_tenant),
        oidc: None,
        requests_per_second: None,
        slots: tidings_engine::SLOTS,
    };
    let masters = MasterKeys::parse("test:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=").unwrap();
    let engine: Arc<Engine> = Engine::new(of.world.ports.clone(), config, masters);
    Stage { engine, ..of }
}

/// Statements from which on the database refuses to count anything under this name, and from which on it does again.
fn refusing(db: &TestDb, name: &str) -> [String; 2] {
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, name.as_bytes());
    let key: String = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    match db.db.dialect() {
        store::Dialect::Sqlite => [
            format!(
                "CREATE TRIGGER refusing BEFORE UPDATE ON sign_in_failures WHEN NEW.key = X'{key}' BEGIN SELECT RAISE(ABORT, 'refused'); END"
            ),
            "DROP TRIGGER refusing".to_owned(),
        ],
        store::Dialect::Postgres => [
            format!(
                "ALTER TABLE sign_in_failures ADD CONSTRAINT refusing CHECK (failures = 0 OR key <> '\\x{key}'::BYTEA)"
            ),
            "ALTER TABLE sign_in_failures DROP CONSTRAINT refusing".to_owned(),
        ],
    }
}

async fn run(db: &TestDb, sql: String) {
    let write = db.db.write(store::Scope::System, move |tx| Box::pin(async move { tx.execute(&sql, &[]).await }));
    write.await.unwrap();
}

testkit::both! {
    async fn who_has_used_up_the_plan_hears_of_it(db: TestDb) {
        let stage = acme(&db).await;
        let studio = plan(&stage, json!([{"channel": "email", "included": 2}])).await;
        subscribe(&stage, json!({ "plan_id": studio })).await;
        change(&stage, AlertKind::Quota, json!({ "deliver": to_ada() })).await;
        let mail = json!({"to": {"email": "bo@example.com"}, "content": {"subject": "Hi", "text": "x"}});
        for _ in 0..2 {
            stage.send(mail.clone()).await;
        }
        assert_eq!(stage.try_send(mail, None).await.unwrap_err().code, "quota_exceeded");
        minutes(&stage, 2).await;
        let alerts = list(&stage, None).await;
        assert!(alerts.iter().all(|alert| alert.told_at.is_some() && alert.letters[0].state == LetterState::Accepted), "{alerts:?}");
        assert_eq!(letters_to(&db, ADA).await.len(), 1, "all marks in one letter");
        assert_eq!(column(&db, "SELECT CAST(used AS TEXT) FROM quota_counters WHERE used > 0").await, "2", "a letter is not of the plan");
        assert_eq!(books::verify(&db.db).await.unwrap().differences, []);
    }

    async fn who_has_used_up_the_credit_hears_of_it(db: TestDb) {
        let stage = acme(&db).await;
        let rows = json!([{"channel": "sms", "unit": "segment", "amount_micros": 7_500}, {"channel": "email", "unit": "message", "amount_micros": 100}]);
        let book = serde_json::from_value(json!({ "currency": "USD", "rows": rows })).unwrap();
        let operator = tidings_engine::keys::Caller::system(None);
        prices::create(stage.engine.parts(), &operator, &Repeat::NONE, book).await.unwrap();
        let mode = serde_json::from_value(json!({"mode": "prepaid"})).unwrap();
        credits::patch(stage.engine.parts(), &stage.caller, mode).await.unwrap();
        let bought = serde_json::from_value(json!({"amount_micros": 7_550, "reference": "7"})).unwrap();
        credits::purchase(stage.engine.parts(), &stage.caller, &Repeat::NONE, bought).await.unwrap();
        change(&stage, AlertKind::CreditLow, json!({ "deliver": [{"channel": "email", "to": ADA}, {"channel": "sms", "to": "+4915112345678"}] })).await;
        stage.send(sms()).await;
        assert_eq!(stage.try_send(sms(), None).await.unwrap_err().code, "insufficient_credit");
        stage.dispatch().await;
        minutes(&stage, 16).await;
        let alert = list(&stage, None).await.into_iter().find(|alert| alert.kind == AlertKind::CreditLow).unwrap();
        assert!(alert.told_at.is_some() && alert.letters.iter().all(|letter| letter.state == LetterState::Accepted && letter.message_id.is_some()), "{alert:?}");
        assert_eq!((letters_to(&db, ADA).await, letters_to(&db, "+49").await), (vec![format!("{ADA} free")], vec!["+4915112345678 free".to_owned()]));
        assert_eq!(books::verify(&db.db).await.unwrap().differences, []);
        // Nothing is sent any more, and after eight days the pace is forgotten: the credit is as low as it was.
        for _ in 0..8 * 24 {
            stage.world.clock.advance_ms(3_600_000);
            alerts::watch(&stage.engine).await.unwrap();
        }
        minutes(&stage, 10).await;
        let low = async || list(&stage, None).await.into_iter().find(|alert| alert.kind == AlertKind::CreditLow).unwrap().state;
        assert_eq!(low().await, AlertState::Firing);
        let bought = serde_json::from_value(json!({"amount_micros": 10_000_000, "reference": "8"})).unwrap();
        credits::purchase(stage.engine.parts(), &stage.caller, &Repeat::NONE, bought).await.unwrap();
        // Somebody who sends nothing is looked at every five minutes.
        minutes(&stage, 12).await;
        assert_eq!(low().await, AlertState::Resolved);
    }

    async fn a_test_of_a_rule_costs_and_says_when_it_is_refused(db: TestDb) {
        let stage = acme(&db).await;
        let studio = plan(&stage, json!([{"channel": "email", "included": 1}])).await;
        subscribe(&stage, json!({ "plan_id": studio })).await;
        change(&stage, AlertKind::Quota, json!({ "deliver": to_ada() })).await;
        let id = rule(&stage, AlertKind::Quota).await;
        let test = async || {
            let reply = alerts::test(&stage.engine, &stage.caller, &Repeat::NONE, id).await.unwrap();
            let told: Value = serde_json::from_slice(&reply.body).unwrap();
            told["letters"][0].clone()
        };
        assert_eq!(test().await["state"], "accepted");
        let refused = test().await;
        assert_eq!((&refused["state"], &refused["message_id"]), (&json!("given_up"), &Value::Null));
        assert!(refused["reason"].as_str().unwrap().contains("0 of the 1 of this month are left"), "{refused}");
    }

    async fn what_no_account_takes_is_tried_again_and_given_up_truthfully(db: TestDb) {
        let world = World::answering(&db, |_| http_answer(401, r#"{"code": 20003, "message": "Authenticate", "status": 401}"#.to_owned()));
        let stage = Stage::in_world(world).await;
        twilio_account(&stage).await;
        change(&stage, AlertKind::AccountFailing, json!({ "deliver": to_ada() })).await;
        stage.send(sms()).await;
        stage.dispatch().await;
        minutes(&stage, 4).await;
        let alert = list(&stage, None).await.remove(0);
        let letter = alert.letters[0].clone();
        assert_eq!((alert.told_at, letter.state, letter.tries, letter.to.as_str()), (None, LetterState::Waiting, 1, ADA), "{letter:?}");
        assert_eq!(letter.reason.as_deref(), Some("This tenant has no account for email that works and reaches people."));
        minutes(&stage, 5).await;
        assert_eq!(list(&stage, None).await[0].letters[0].tries, 2);
        minutes(&stage, 12 * 60).await;
        let alert = list(&stage, None).await.remove(0);
        assert_eq!((alert.told_at, alert.letters[0].state, alert.letters[0].tries), (None, LetterState::GivenUp, 8), "{alert:?}");
    }

    async fn a_letter_that_waits_leaves_once_there_is_a_way_and_who_heard_of_it_hears_that_it_is_over(db: TestDb) {
        let (stage, _, is_broken) = crate::alerts::troubled(&db).await;
        let mail = column(&db, "SELECT name FROM accounts WHERE connector = 'smtp'").await;
        assert_eq!(mail, "smtp");
        let accounts = tidings_engine::accounts::list(stage.engine.parts(), &stage.caller, None, None).await.unwrap().data;
        let smtp = accounts.iter().find(|account| account.connector == "smtp").unwrap().id;
        let set = async |enabled: bool| {
            let change = serde_json::from_value(json!({ "enabled": enabled })).unwrap();
            tidings_engine::accounts::patch(stage.engine.parts(), &stage.caller, smtp, change).await.unwrap();
        };
        set(false).await;
        change(&stage, AlertKind::AccountFailing, json!({ "deliver": to_ada() })).await;
        stage.send(sms()).await;
        stage.dispatch().await;
        minutes(&stage, 4).await;
        assert_eq!(list(&stage, None).await[0].letters[0].state, LetterState::Waiting);
        set(true).await;
        minutes(&stage, 6).await;
        let alert = list(&stage, None).await.remove(0);
        assert_eq!((alert.letters[0].state, alert.letters[0].tries, alert.told_at.is_some()), (LetterState::Accepted, 2, true), "{alert:?}");
        is_broken.store(false, std::sync::atomic::Ordering::SeqCst);
        crate::alerts::hours(&stage, 2).await;
        minutes(&stage, 8).await;
        let said: Vec<_> = crate::alerts::letters(&db).await;
        assert_eq!(said, [format!("{ADA}: twilio takes no messages"), format!("{ADA}: Over: twilio takes no messages")]);
    }

    async fn a_rule_that_changes_meanwhile_tells_whom_it_names_now(db: TestDb) {
        let (stage, _, _) = crate::alerts::troubled(&db).await;
        let accounts = tidings_engine::accounts::list(stage.engine.parts(), &stage.caller, None, None).await.unwrap().data;
        let smtp = accounts.iter().find(|account| account.connector == "smtp").unwrap().id;
        let set = async |enabled: bool| {
            let change = serde_json::from_value(json!({ "enabled": enabled })).unwrap();
            tidings_engine::accounts::patch(stage.engine.parts(), &stage.caller, smtp, change).await.unwrap();
        };
        set(false).await;
        change(&stage, AlertKind::AccountFailing, json!({ "deliver": to_ada() })).await;
        stage.send(sms()).await;
        stage.dispatch().await;
        minutes(&stage, 4).await;
        change(&stage, AlertKind::AccountFailing, json!({ "deliver": [{"channel": "email", "to": "bo@acme.example"}] })).await;
        set(true).await;
        minutes(&stage, 6).await;
        let letters = list(&stage, None).await.remove(0).letters;
        assert_eq!(letters.iter().map(|letter| (letter.to.as_str(), letter.state)).collect::<Vec<_>>(), [("bo@acme.example", LetterState::Accepted)]);
        assert_eq!(letters_to(&db, ADA).await, Vec::<String>::new());
        // Without its rule it is over, and nobody is told any more.
        let id = rule(&stage, AlertKind::AccountFailing).await;
        tidings_engine::alerts::rules::delete(stage.engine.parts(), &stage.caller, id).await.unwrap();
        minutes(&stage, 10).await;
        let alert = list(&stage, None).await.remove(0);
        assert_eq!((alert.state, alert.letters), (AlertState::Resolved, letters));
    }

    async fn what_bounces_goes_another_way_and_is_told_once(db: TestDb) {
        let (stage, is_broken) = bouncing(&db, "mail.example.com").await;
        let operators = neighbour(&stage).await;
        mail_server(&operators, "relay.example.com").await;
        let stage = with_operator(stage, operators.tenant);
        ada_joins(&db, stage.tenant).await;
        change(&stage, AlertKind::AccountFailing, json!({ "deliver": to_ada() })).await;
        stage.send(sms()).await;
        stage.dispatch().await;
        minutes(&stage, 4).await;
        assert_eq!(list(&stage, None).await[0].letters[0].state, LetterState::Accepted);
        minutes(&stage, 6).await;
        let alert = list(&stage, None).await.remove(0);
        let letter = &alert.letters[0];
        assert_eq!((letter.state, letter.tries, letter.by_operator, alert.letters.len()), (LetterState::Accepted, 2, true, 1), "{letter:?}");
        assert!(alert.told_at.is_some());
        minutes(&stage, 12 * 60).await;
        assert_eq!(letters_to(&db, ADA).await.len(), 2, "the one that was lost, and the operator's");
        is_broken.store(false, Ordering::SeqCst);
        crate::alerts::hours(&stage, 6).await;
        minutes(&stage, 8).await;
        let over = list(&stage, None).await.remove(0).letters.pop().unwrap();
        assert_eq!((over.about, over.state), (LetterAbout::Resolved, LetterState::Accepted), "{over:?}");
    }

    async fn what_cannot_be_delivered_says_so_and_counts_as_told_to_nobody(db: TestDb) {
        let (stage, is_broken) = bouncing(&db, "mail.example.com").await;
        change(&stage, AlertKind::AccountFailing, json!({ "deliver": to_ada() })).await;
        stage.send(sms()).await;
        stage.dispatch().await;
        minutes(&stage, 4).await;
        assert!(list(&stage, None).await[0].told_at.is_some());
        minutes(&stage, 6).await;
        let alert = list(&stage, None).await.remove(0);
        let letter = &alert.letters[0];
        assert_eq!((letter.state, letter.message_id.is_some(), alert.told_at), (LetterState::Undelivered, true, None), "{letter:?}");
        let why = letter.reason.as_deref().unwrap();
        assert!(why.starts_with("It could not be delivered (") && why.ends_with("There is no other way to this receiver."), "{why}");
        is_broken.store(false, Ordering::SeqCst);
        crate::alerts::hours(&stage, 6).await;
        minutes(&stage, 8).await;
        let alert = list(&stage, None).await.remove(0);
        assert_eq!((alert.state, alert.letters.len()), (AlertState::Resolved, 1), "{alert:?}");
        assert_eq!(letters_to(&db, ADA).await.len(), 1, "who never heard of it hears nothing of its end");
    }

    async fn what_one_account_fails_to_send_goes_by_the_next(db: TestDb) {
        let (stage, _) = bouncing(&db, "filter.example.com").await;
        mail_server(&stage, "relay.example.com").await;
        change(&stage, AlertKind::AccountFailing, json!({ "deliver": to_ada() })).await;
        stage.send(sms()).await;
        stage.dispatch().await;
        minutes(&stage, 4).await;
        let first = list(&stage, None).await.remove(0).letters.remove(0);
        minutes(&stage, 6).await;
        let second = list(&stage, None).await.remove(0).letters.remove(0);
        assert_eq!((second.state, second.tries, second.by_operator), (LetterState::Accepted, 2, false), "{second:?}");
        assert_ne!(second.message_id, first.message_id);
        minutes(&stage, 120).await;
        assert_eq!(letters_to(&db, ADA).await.len(), 2);
    }

    async fn an_alert_that_comes_back_silently_is_not_called_off_meanwhile(db: TestDb) {
        let (stage, _, is_broken) = crate::alerts::troubled(&db).await;
        let smtp = stage_account(&stage, "smtp").await;
        let set = async |enabled: bool| {
            let change = serde_json::from_value(json!({ "enabled": enabled })).unwrap();
            tidings_engine::accounts::patch(stage.engine.parts(), &stage.caller, smtp, change).await.unwrap();
        };
        change(&stage, AlertKind::AccountFailing, json!({ "deliver": to_ada(), "quiet_s": 3 * 86_400 })).await;
        let breaks = async || {
            is_broken.store(true, Ordering::SeqCst);
            stage.send(sms()).await;
            stage.dispatch().await;
            minutes(&stage, 5).await;
            assert_eq!(list(&stage, None).await[0].state, AlertState::Firing);
        };
        let works = async || {
            is_broken.store(false, Ordering::SeqCst);
            crate::alerts::hours(&stage, 2).await;
            minutes(&stage, 8).await;
            assert_eq!(list(&stage, None).await[0].state, AlertState::Resolved);
        };
        breaks().await;
        set(false).await;
        works().await;
        let waits: Vec<_> = list(&stage, None).await[0].letters.iter().map(|letter| (letter.about, letter.state)).collect();
        assert_eq!(waits, [(LetterAbout::Firing, LetterState::Accepted), (LetterAbout::Resolved, LetterState::Waiting)]);
        breaks().await;
        set(true).await;
        minutes(&stage, 30).await;
        let alert = list(&stage, None).await.remove(0);
        assert_eq!((alert.times, alert.letters.len(), letters_to(&db, ADA).await.len()), (2, 1, 1), "she knows that it fires: {alert:?}");
        works().await;
        let said: Vec<_> = crate::alerts::letters(&db).await;
        assert_eq!(said, [format!("{ADA}: twilio takes no messages"), format!("{ADA}: Over: twilio takes no messages")]);
    }

    async fn more_of_what_is_counted_is_told_again(db: TestDb) {
        let stage = acme(&db).await;
        change(&stage, AlertKind::DeadLetters, json!({ "threshold": 1, "quiet_s": 600, "deliver": to_ada() })).await;
        let gives_up = async || {
            stage.send(sms()).await;
            stage.dispatch().await;
            let write = db.db.write(store::Scope::System, |tx| {
                Box::pin(async move { tx.execute("UPDATE messages SET dead_at = created_at, status = 4 WHERE topic IS NULL", &[]).await })
            });
            write.await.unwrap();
            minutes(&stage, 3).await;
        };
        gives_up().await;
        gives_up().await;
        let alert = list(&stage, None).await.remove(0);
        assert_eq!((alert.value, alert.times, letters_to(&db, ADA).await.len()), (2.0, 1, 1), "{alert:?}");
        minutes(&stage, 12).await;
        let said: Vec<_> = crate::alerts::letters(&db).await;
        assert_eq!(said, [format!("{ADA}: 1 message failed after every try"), format!("{ADA}: 2 messages failed after every try")]);
        minutes(&stage, 30).await;
        assert_eq!(letters_to(&db, ADA).await.len(), 2);
    }

    async fn what_was_over_before_anybody_could_be_told_is_not_called_off(db: TestDb) {
        let (stage, _, is_broken) = crate::alerts::troubled(&db).await;
        // Nobody administers the tenant.
        stage.send(sms()).await;
        stage.dispatch().await;
        minutes(&stage, 4).await;
        let letter = list(&stage, None).await.remove(0).letters.remove(0);
        assert_eq!((letter.state, letter.to.as_str()), (LetterState::Waiting, "admins"));
        assert!(letter.reason.unwrap().contains("admin or owner"));
        is_broken.store(false, std::sync::atomic::Ordering::SeqCst);
        crate::alerts::hours(&stage, 2).await;
        minutes(&stage, 8).await;
        let alert = list(&stage, None).await.remove(0);
        assert_eq!((alert.state, alert.told_at, alert.letters[0].state), (AlertState::Resolved, None, LetterState::GivenUp), "{alert:?}");
        assert!(alert.letters[0].reason.as_ref().unwrap().starts_with("It was over first."), "{alert:?}");
        assert_eq!(crate::alerts::letters(&db).await, Vec::<String>::new());
    }

    async fn one_account_after_another_is_tried_and_the_operators_last(db: TestDb) {
        let stage = acme(&db).await;
        let operators = neighbour(&stage).await;
        mail_account(&operators).await;
        let stage = with_operator(stage, operators.tenant);
        ada_joins(&db, stage.tenant).await;
        change(&stage, AlertKind::QueueAge, json!({ "deliver": to_ada(), "threshold": 60, "for_s": 0 })).await;
        // The tenant must not write to Ada; the operator may.
        let barred = serde_json::from_value(json!({"channel": "email", "address": ADA, "reason": "manual"})).unwrap();
        stage.engine.suppress(&stage.caller, &Repeat::NONE, barred).await.unwrap();
        stage.send(sms()).await;
        stage.send(sms()).await;
        stage.world.clock.advance_ms(120_000);
        alerts::watch(&stage.engine).await.unwrap();
        alerts::tell(&stage.engine).await.unwrap();
        let alert = list(&stage, None).await.remove(0);
        let letter = &alert.letters[0];
        assert_eq!((letter.state, letter.by_operator, letter.message_id), (LetterState::Accepted, true, None), "{letter:?}");
        assert!(alert.told_at.is_some());
        assert_eq!(letters_to(&db, ADA).await.len(), 2, "one that was held back, and the operator's");
        minute(&stage).await;
        assert_eq!(list(&stage, None).await[0].letters[0].tries, 1, "once is enough");
    }

    async fn the_operators_account_writes_to_nobody_but_users_of_the_tenant(db: TestDb) {
        let stage = Stage::in_world(World::answering(&db, |_| smtp_accepted())).await;
        let operators = neighbour(&stage).await;
        mail_account(&operators).await;
        let stage = with_operator(stage, operators.tenant);
        let strangers: Vec<Value> = (0..10).map(|n| json!({"channel": "email", "to": format!("stranger{n}@example.com")})).collect();
        let sly = json!({"name": "Your bank account is locked, see http://evil.example", "deliver": strangers});
        change(&stage, AlertKind::QueueAge, sly).await;
        let id = rule(&stage, AlertKind::QueueAge).await;
        let test = async || {
            let reply = alerts::test(&stage.engine, &stage.caller, &Repeat::NONE, id).await.unwrap();
            serde_json::from_slice::<Value>(&reply.body).unwrap()["letters"].as_array().unwrap().clone()
        };
        let told = test().await;
        assert!(told.len() == 10 && told.iter().all(|letter| letter["state"] == "given_up"), "{told:?}");
        assert!(told[0]["reason"].as_str().unwrap().starts_with("The operator's account writes to users of this tenant only"), "{told:?}");
        assert_eq!(column(&db, "SELECT CAST(COUNT(*) AS TEXT) FROM messages").await, "0");
        ada_joins(&db, stage.tenant).await;
        change(&stage, AlertKind::QueueAge, json!({ "deliver": to_ada() })).await;
        let told = test().await;
        assert_eq!((&told[0]["state"], &told[0]["by_operator"]), (&json!("accepted"), &json!(true)));
        assert_eq!(column(&db, "SELECT action FROM audit_log WHERE action = 'alert_rule.tested'").await, "alert_rule.tested\nalert_rule.tested");
    }

    async fn a_tenant_reads_nothing_of_the_operators_account_that_is_busy(db: TestDb) {
        let stage = Stage::in_world(World::answering(&db, |_| smtp_accepted())).await;
        let operators = neighbour(&stage).await;
        mail_account(&operators).await;
        let slow = serde_json::from_value(json!({ "per_second": 1 })).unwrap();
        let operator = tidings_engine::keys::Caller::system(None);
        tidings_engine::tenants::patch(stage.engine.parts(), &operator, operators.tenant, slow).await.unwrap();
        let stage = with_operator(stage, operators.tenant);
        ada_joins(&db, stage.tenant).await;
        change(&stage, AlertKind::QueueAge, json!({ "deliver": to_ada() })).await;
        let id = rule(&stage, AlertKind::QueueAge).await;
        let mut told = Vec::new();
        for _ in 0..4 {
            let reply = alerts::test(&stage.engine, &stage.caller, &Repeat::NONE, id).await.unwrap();
            told.push(serde_json::from_slice::<Value>(&reply.body).unwrap()["letters"][0].clone());
        }
        assert_eq!((&told[0]["state"], &told[3]["state"]), (&json!("accepted"), &json!("given_up")), "{told:?}");
        let why = told[3]["reason"].as_str().unwrap();
        assert!(why.ends_with("The operator's account cannot take it at the moment.") && !why.contains("requests a second"), "{why}");
    }

    async fn who_cannot_be_written_to_just_then_keeps_nobody_else_from_hearing(db: TestDb) {
        let (stage, _, _) = crate::alerts::troubled(&db).await;
        let all: Vec<Value> = ["ada", "bo", "cy"].map(|name| json!({"channel": "email", "to": format!("{name}@acme.example")})).into();
        change(&stage, AlertKind::AccountFailing, json!({ "deliver": all })).await;
        let day = crate::hooks::now(&stage).as_seconds() / 86_400;
        let counted = format!("alert letters\n{}\nemail\nbo@acme.example\n{day}", stage.tenant);
        let [refuse, let_be] = refusing(&db, &counted);
        run(&db, refuse).await;
        stage.send(sms()).await;
        stage.dispatch().await;
        minutes(&stage, 4).await;
        let told = async || {
            let alert = list(&stage, None).await.remove(0);
            assert!(alert.told_at.is_some(), "{alert:?}");
            let mut letters = alert.letters;
            letters.sort_by(|one, other| one.to.cmp(&other.to));
            letters
        };
        let seen: Vec<_> = told().await.iter().map(|letter| (letter.state, letter.tries)).collect();
        assert_eq!(seen, [(LetterState::Accepted, 1), (LetterState::Waiting, 0), (LetterState::Accepted, 1)]);
        let why = told().await.remove(1).reason.unwrap();
        assert!(why.contains("nothing is wrong with the receiver"), "{why}");
        run(&db, let_be).await;
        minutes(&stage, 6).await;
        let seen: Vec<_> = told().await.iter().map(|letter| (letter.state, letter.tries)).collect();
        assert_eq!(seen, [(LetterState::Accepted, 1); 3]);
        assert_eq!(crate::alerts::letters(&db).await.len(), 3, "who had it is not written to again, and what could not be counted had not left");
    }

    async fn who_has_had_the_letters_of_the_day_gets_the_next_one_tomorrow(db: TestDb) {
        let (stage, _, is_broken) = crate::alerts::troubled(&db).await;
        change(&stage, AlertKind::AccountFailing, json!({ "deliver": to_ada() })).await;
        stage.send(sms()).await;
        stage.dispatch().await;
        minutes(&stage, 4).await;
        assert_eq!(list(&stage, None).await[0].letters[0].state, LetterState::Accepted);
        // As if she had got all the others of today, too.
        let write = db.db.write(store::Scope::System, |tx| {
            Box::pin(async move { tx.execute("UPDATE sign_in_failures SET failures = failures + $1", &[&(LETTERS_TO_ONE_A_DAY - 1)]).await })
        });
        assert_eq!(write.await.unwrap(), 2, "the tenant's letters, and those to her");
        is_broken.store(false, Ordering::SeqCst);
        crate::alerts::hours(&stage, 2).await;
        minutes(&stage, 20).await;
        let over = async || {
            let alert = list(&stage, None).await.into_iter().find(|alert| alert.kind == AlertKind::AccountFailing).unwrap();
            assert_eq!(alert.state, AlertState::Resolved);
            alert.letters.into_iter().find(|letter| letter.about == LetterAbout::Resolved).unwrap()
        };
        let letter = over().await;
        assert_eq!((letter.state, letter.tries), (LetterState::Waiting, 0), "{letter:?}");
        let why = letter.reason.unwrap();
        assert!(why.contains("50 of them to one receiver. It leaves tomorrow.") && why.contains("`quiet_s`"), "{why}");
        assert_eq!(crate::alerts::events(&db).await, ["alert.firing", "alert.resolved"], "who is told by events knows");
        stage.world.clock.advance_ms(86_400_000);
        minutes(&stage, 2).await;
        let letter = over().await;
        assert_eq!((letter.state, letter.tries, letter.reason), (LetterState::Accepted, 1, None));
        assert_eq!(letters_to(&db, ADA).await.len(), 2);
    }

    async fn what_no_account_takes_counts_against_no_day(db: TestDb) {
        let (stage, _, _) = crate::alerts::troubled(&db).await;
        let smtp = stage_account(&stage, "smtp").await;
        let off = serde_json::from_value(json!({ "enabled": false })).unwrap();
        tidings_engine::accounts::patch(stage.engine.parts(), &stage.caller, smtp, off).await.unwrap();
        change(&stage, AlertKind::AccountFailing, json!({ "deliver": to_ada() })).await;
        stage.send(sms()).await;
        stage.dispatch().await;
        minutes(&stage, 30).await;
        let letter = list(&stage, None).await.remove(0).letters.remove(0);
        assert_eq!((letter.state, letter.tries > 1), (LetterState::Waiting, true), "{letter:?}");
        assert_eq!(column(&db, "SELECT CAST(failures AS TEXT) FROM sign_in_failures").await, "0\n0");
    }

    async fn tests_of_a_rule_write_so_many_letters_a_day(db: TestDb) {
        let stage = acme(&db).await;
        change(&stage, AlertKind::QueueAge, json!({ "deliver": to_ada() })).await;
        let id = rule(&stage, AlertKind::QueueAge).await;
        let test = async || {
            let reply = alerts::test(&stage.engine, &stage.caller, &Repeat::NONE, id).await.unwrap();
            serde_json::from_slice::<Value>(&reply.body).unwrap()["letters"][0].clone()
        };
        for _ in 0..TRIALS_TO_ONE_A_DAY {
            assert_eq!(test().await["state"], "accepted");
        }
        let refused = test().await;
        assert_eq!((&refused["state"], &refused["tries"], &refused["message_id"]), (&json!("given_up"), &json!(0), &Value::Null));
        let why = refused["reason"].as_str().unwrap();
        assert!(why.contains("10 of them to one receiver. Try again tomorrow."), "{why}");
        stage.world.clock.advance_ms(86_400_000);
        assert_eq!(test().await["state"], "accepted");
    }

    async fn the_same_test_asked_for_twice_at_once_is_one_letter(db: TestDb) {
        let stage = acme(&db).await;
        change(&stage, AlertKind::QueueAge, json!({ "deliver": to_ada() })).await;
        let id = rule(&stage, AlertKind::QueueAge).await;
        let test = async |key: &str| alerts::test(&stage.engine, &stage.caller, &repeat(key, ""), id).await;
        let (one, other) = futures_util::future::join(test("a"), test("a")).await;
        assert!(one.is_ok() || other.is_ok(), "{one:?} {other:?}");
        for refused in [one, other].into_iter().filter_map(Result::err) {
            assert_eq!(refused.code, "idempotency_key_in_use");
        }
        assert!(test("a").await.unwrap().replayed);
        assert_eq!(crate::alerts::letters(&db).await.len(), 1);
        test("b").await.unwrap();
        assert_eq!(crate::alerts::letters(&db).await.len(), 2, "another request is another letter");
    }

    async fn the_owner_of_a_tenant_with_many_members_is_told(db: TestDb) {
        let (stage, _, _) = crate::alerts::troubled(&db).await;
        let tenant = stage.tenant;
        let write = db.db.write(store::Scope::System, move |tx| {
            Box::pin(async move {
                let at = model::Timestamp::from_seconds(1);
                for number in 1..=600_u128 {
                    let (id, email) = (model::UserId::from_ulid(number), format!("user{number}@acme.example"));
                    // The second was asked and did not come.
                    let role = ["owner", "admin", "member"][usize::try_from(number - 1).unwrap().min(2)];
                    let accepted_at = (number != 2).then_some(at);
                    let sql = "INSERT INTO users (id, email, name, totp_step, has_totp, created_at, updated_at, privileges_at) VALUES ($1, $2, 'Ada', 0, FALSE, $3, $3, $3)";
                    tx.execute(sql, &[&id, &email, &at]).await?;
                    let sql = "INSERT INTO memberships (tenant_id, user_id, role, permissions, invited_by, created_at, updated_at, accepted_at) VALUES ($1, $2, $3, '', 'system', $4, $4, $5)";
                    tx.execute(sql, &[&tenant, &id, &role, &at, &accepted_at]).await?;
                }
                Ok::<_, store::Error>(())
            })
        });
        write.await.unwrap();
        stage.send(sms()).await;
        stage.dispatch().await;
        minutes(&stage, 4).await;
        let told: Vec<_> = list(&stage, None).await.remove(0).letters.into_iter().map(|letter| (letter.to, letter.state)).collect();
        assert_eq!(told, [("user1@acme.example".to_owned(), LetterState::Accepted)]);
    }

    async fn a_message_cannot_pass_for_one_of_ours(db: TestDb) {
        let stage = acme(&db).await;
        for topic in ["alert:letter", "reply:stop"] {
            let mut sly = sms();
            sly["topic"] = json!(topic);
            assert_eq!(stage.try_send(sly, None).await.unwrap_err().errors[0].pointer, "/topic");
        }
        let mut sly = sms();
        sly["ours"] = json!("alert:letter");
        assert!(stage.try_send(sly, None).await.is_err());
    }
}
