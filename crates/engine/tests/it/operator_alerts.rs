//! The operator's alerts on both engines: the endpoints and streams of its own tenant are told of them, letters go by mail, text message and Telegram through that tenant's accounts, and no
//! other tenant hears anything.

use std::sync::Arc;

use engine::{
    Error,
    alerts::{self, AlertKind, AlertQuery, AlertRulePatch, AlertState, AlertView, LetterState, rules},
    endpoints,
    keys::{Caller, Scopes},
    once::Repeat,
    stream::{Frame, STREAMS_PER_TENANT_MAX, Subscription},
    tenants,
};
use model::{Answer, Call, Timestamp, UserId};
use serde_json::{Value, json};
use store::{Scope, payments};
use testkit::{Stage, TestDb, World, http_answer, smtp_accepted};

use crate::{
    alert_letters::{mail_account, with_operator},
    alerts::{list, minutes},
    hooks::{neighbour, now, sms, taken, twilio_account},
    setting::{body, code, column, operator},
    stream::{drain, kinds},
};

const ACME_URL: &str = "https://acme.example/hooks";
const OWN_URL: &str = "https://ops.example/hooks";

/// A customer whose endpoint is for everything, and the operator's own tenant beside it with one for the operator's alerts.
async fn hosted(db: &TestDb) -> (Stage, Stage) {
    let world = World::answering(db, |call| match call {
        Call::Smtp(_) => smtp_accepted(),
        Call::Local => Ok(Answer::Local),
        Call::Http(request) if [ACME_URL, OWN_URL].contains(&request.url.as_str()) => http_answer(204, ""),
        Call::Http(request) if request.url.contains("telegram") => http_answer(
            200,
            r#"{"ok": true, "result": {"message_id": 7, "date": 1, "chat": {"id": 42, "type": "private"}}}"#,
        ),
        Call::Http(_) => taken(),
    });
    let acme = Stage::in_world(world).await;
    let own = neighbour(&acme).await;
    let acme = with_operator(acme, own.tenant);
    let own = Stage { engine: Arc::clone(&acme.engine), ..own };
    for (stage, url, events) in [(&acme, ACME_URL, "*"), (&own, OWN_URL, "operator_alert.*")] {
        let new = body(json!({ "url": url, "events": [events] }));
        endpoints::create(&stage.engine, &stage.caller, &Repeat::NONE, new).await.unwrap();
    }
    (acme, own)
}

/// Somebody pays, and it brings nobody credit.
async fn stray(stage: &Stage) {
    let (payment, detail) = ("pi_1".to_owned(), "The payment pi_1 is for nobody.".to_owned());
    let found = payments::Finding { payment, kind: "gone".to_owned(), detail, found_at: now(stage) };
    let db = &stage.world.ports.db;
    db.write(Scope::System, move |tx| Box::pin(async move { payments::note(tx, &found).await })).await.unwrap();
}

/// The operator's alert about it.
async fn found(stage: &Stage) -> AlertView {
    let query = AlertQuery { kind: Some(AlertKind::PaymentStray), ..AlertQuery::default() };
    let mut all = alerts::list(stage.engine.parts(), &operator(), &query).await.unwrap().data;
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0)
}

/// Changes the operator's rule about it.
async fn change(stage: &Stage, change: Value) {
    let page = rules::list(stage.engine.parts(), &operator(), None, None).await.unwrap();
    let id = page.data.iter().find(|rule| rule.kind == AlertKind::PaymentStray).unwrap().id;
    rules::patch(stage.engine.parts(), &operator(), id, body::<AlertRulePatch>(change)).await.unwrap();
}

/// Opens a stream of what happens from now on.
async fn follow(stage: &Stage, by: &Caller, filters: &[&str]) -> Result<Subscription, Error> {
    let filters: Vec<String> = filters.iter().map(|filter| (*filter).to_owned()).collect();
    stage.engine.subscribe(by, None, &filters).await
}

/// What endpoints were sent since the last look: where to, and what it says.
fn posted(stage: &Stage) -> Vec<(String, Value)> {
    let mut all = Vec::new();
    for call in stage.world.transport.take_calls() {
        if let Call::Http(call) = &*call
            && call.url.ends_with("/hooks")
        {
            all.push((call.url.clone(), serde_json::from_slice(&call.body).unwrap()));
        }
    }
    all
}

testkit::both! {
    async fn the_operators_alerts_reach_its_own_endpoints_and_streams_and_nobody_elses(db: TestDb) {
        let (acme, own) = hosted(&db).await;
        let follow = async |stage: &Stage| acme.engine.subscribe(&stage.caller, None, &[]).await.unwrap();
        let (mut of_acme, mut of_own) = (follow(&acme).await, follow(&own).await);
        stray(&acme).await;
        minutes(&acme, 3).await;
        let alert = found(&acme).await;
        let told = posted(&acme);
        assert_eq!(told.iter().map(|(url, _)| url.as_str()).collect::<Vec<_>>(), [OWN_URL], "{told:?}");
        let event = &told[0].1;
        assert_eq!((&event["type"], &event["data"]["id"]), (&json!("operator_alert.firing"), &json!(alert.id)));
        assert_eq!((&event["data"]["kind"], &event["data"]["state"]), (&json!("payment_stray"), &json!("firing")));

        alerts::acknowledge(&acme.engine, &operator(), &Repeat::NONE, alert.id, Default::default()).await.unwrap();
        acme.world.clock.advance_ms(1_000);
        change(&acme, json!({ "enabled": false })).await;
        acme.dispatch().await;
        let told: Vec<_> = posted(&acme).into_iter().map(|(url, event)| (url, event["type"].clone())).collect();
        let expected = ["operator_alert.acknowledged", "operator_alert.resolved"].map(|kind| (OWN_URL.to_owned(), json!(kind)));
        assert_eq!(told, expected);
        assert_eq!(
            kinds(&drain(&acme, &mut of_own).await),
            ["operator_alert.firing", "operator_alert.acknowledged", "operator_alert.resolved"]
        );
        assert_eq!(kinds(&drain(&acme, &mut of_acme).await), Vec::<&str>::new());
        assert_eq!((list(&acme, None).await, list(&own, None).await), (vec![], vec![]), "a tenant's alerts are its own");
    }

    async fn the_operator_follows_its_alerts_outside_of_any_tenant(db: TestDb) {
        let (acme, own) = hosted(&db).await;
        twilio_account(&own).await;
        let (mut all, mut ends) = (follow(&acme, &operator(), &[]).await.unwrap(), follow(&acme, &operator(), &["operator_alert.resolved"]).await.unwrap());
        own.send(sms()).await;
        stray(&acme).await;
        minutes(&acme, 3).await;
        change(&acme, json!({ "enabled": false })).await;
        let seen = drain(&acme, &mut all).await;
        assert_eq!(kinds(&seen), ["operator_alert.firing", "operator_alert.resolved"], "what else happens in its tenant is that tenant's");
        assert_eq!(kinds(&drain(&acme, &mut ends).await), ["operator_alert.resolved"]);
        // Whoever comes back goes on after what was seen.
        let Frame::Event { id, .. } = &seen[0] else { panic!("{seen:?}") };
        let mut rest = acme.engine.subscribe(&operator(), Some(*id), &["*".to_owned()]).await.unwrap();
        assert_eq!(kinds(&drain(&acme, &mut rest).await), ["operator_alert.resolved"]);

        let wrong = follow(&acme, &operator(), &["operator_alert.*", "message.sent"]).await.map(drop).unwrap_err();
        assert_eq!(wrong.errors[0].pointer, "/events/1");
        let scopes = Scopes::Some(["events:read"].into());
        assert_eq!(code(follow(&acme, &Caller { scopes, ..operator() }, &[]).await.map(drop)), "missing_scope");
        tenants::delete(acme.engine.parts(), &operator(), own.tenant).await.unwrap();
        let gone = follow(&acme, &operator(), &[]).await.map(drop).unwrap_err();
        assert!(gone.code == "tenant_required" && gone.detail.contains("is not there any more"), "{gone:?}");
    }

    async fn the_operators_streams_count_among_those_of_the_tenant_it_did_not_name(db: TestDb) {
        let (acme, own) = hosted(&db).await;
        let mut open = Vec::new();
        for _ in 1..STREAMS_PER_TENANT_MAX {
            open.push(follow(&acme, &own.caller, &[]).await.unwrap());
        }
        open.push(follow(&acme, &operator(), &[]).await.unwrap());
        let refused = follow(&acme, &operator(), &[]).await.map(drop).unwrap_err();
        assert!(refused.code == "too_many_streams" && refused.detail.contains("`mail_tenant`"), "{refused:?}");
        let refused = follow(&acme, &own.caller, &[]).await.map(drop).unwrap_err();
        assert!(refused.code == "too_many_streams" && refused.detail.starts_with("This tenant"), "{refused:?}");
        drop(open);
        follow(&acme, &operator(), &[]).await.unwrap();
    }

    async fn who_is_neither_in_a_tenant_nor_the_operator_has_no_alerts(db: TestDb) {
        let (acme, _) = hosted(&db).await;
        stray(&acme).await;
        minutes(&acme, 3).await;
        let (alert, parts) = (found(&acme).await, acme.engine.parts());
        let nobody = Caller { is_operator: false, ..operator() };
        let refused = [
            code(alerts::list(parts, &nobody, &AlertQuery::default()).await),
            code(alerts::get(parts, &nobody, alert.id).await),
            code(alerts::count_open(parts, &nobody).await),
            code(alerts::resolve(&acme.engine, &nobody, &Repeat::NONE, alert.id, Default::default()).await),
            code(alerts::test(&acme.engine, &nobody, &Repeat::NONE, alert.rule_id).await),
            code(rules::list(parts, &nobody, None, None).await),
            code(rules::get(parts, &nobody, alert.rule_id).await),
            code(rules::create(parts, &nobody, &Repeat::NONE, body(json!({"kind": "queue_age"}))).await),
            code(rules::patch(parts, &nobody, alert.rule_id, body(json!({"enabled": false}))).await),
            code(rules::delete(parts, &nobody, alert.rule_id).await),
            code(follow(&acme, &nobody, &[]).await.map(drop)),
        ];
        assert_eq!(refused, ["tenant_required"; 11]);
        assert_eq!(found(&acme).await.state, AlertState::Firing);
    }

    async fn an_operators_alert_that_is_over_by_itself_is_told(db: TestDb) {
        let (acme, _) = hosted(&db).await;
        stray(&acme).await;
        minutes(&acme, 3).await;
        let at = now(&acme);
        let db = &acme.world.ports.db;
        db.write(Scope::System, move |tx| Box::pin(async move { payments::settle(tx, "pi_1", at).await })).await.unwrap();
        minutes(&acme, 12).await;
        assert_eq!(found(&acme).await.state, AlertState::Resolved);
        let told: Vec<_> = posted(&acme).into_iter().map(|(_, event)| event["type"].clone()).collect();
        assert_eq!(told, [json!("operator_alert.firing"), json!("operator_alert.resolved")]);
    }

    async fn without_a_tenant_of_its_own_the_operators_alerts_are_told_to_nobody(db: TestDb) {
        let stage = Stage::new(&db).await;
        stray(&stage).await;
        minutes(&stage, 3).await;
        assert_eq!(found(&stage).await.state, AlertState::Firing);
        assert_eq!(column(&db, "SELECT type FROM events").await, "");
        let why = follow(&stage, &operator(), &[]).await.map(drop).unwrap_err();
        assert!(why.code == "tenant_required" && why.detail.contains("`mail_tenant`") && why.detail.contains("`Tidings-Tenant"), "{why:?}");
    }

    async fn letters_about_the_operators_alerts_go_by_mail_text_message_and_telegram(db: TestDb) {
        let (acme, own) = hosted(&db).await;
        for stage in [&acme, &own] {
            twilio_account(stage).await;
            mail_account(stage).await;
            stage.account("telegram", json!({ "bot_token": "123456:ABC-DEF1234ghIkl-zyx57W2v1u123ew11" }), None).await;
        }
        let deliver = json!([
            {"channel": "email", "to": "ops@host.example"}, {"channel": "sms", "to": "+4915112345678"}, {"channel": "telegram", "to": "42"},
        ]);
        // Who is told is written before anybody looks.
        change(&acme, json!({ "deliver": deliver })).await;
        stray(&acme).await;
        minutes(&acme, 3).await;
        let alert = found(&acme).await;
        assert_eq!(alert.letters.len(), 3, "{alert:?}");
        for letter in &alert.letters {
            assert_eq!(letter.state, LetterState::Accepted, "{letter:?}");
            // Each is a message of the operator's own tenant.
            let message = own.message(letter.message_id.unwrap()).await;
            assert_eq!((message.channel, message.address.as_str(), message.status.as_str()), (letter.channel, letter.to.as_str(), "sent"));
        }
        assert!(alert.told_at.is_some());
    }

    async fn an_admin_among_many_of_the_operators_staff_is_told(db: TestDb) {
        let (acme, own) = hosted(&db).await;
        mail_account(&own).await;
        let write = db.db.write(Scope::System, |tx| {
            Box::pin(async move {
                let sql = "INSERT INTO users (id, email, name, operator_role, totp_step, has_totp, created_at, updated_at, privileges_at) VALUES ($1, $2, 'Ada', $3, 0, FALSE, $4, $4, $4)";
                for number in 1..=80_u128 {
                    let (id, email, at) = (UserId::from_ulid(number), format!("staff{number}@host.example"), Timestamp::from_seconds(1));
                    let role = if number == 1 { "admin" } else { "sales" };
                    tx.execute(sql, &[&id, &email, &role, &at]).await?;
                }
                Ok::<_, store::Error>(())
            })
        });
        write.await.unwrap();
        stray(&acme).await;
        minutes(&acme, 3).await;
        let told: Vec<_> = found(&acme).await.letters.into_iter().map(|letter| (letter.to, letter.state)).collect();
        assert_eq!(told, [("staff1@host.example".to_owned(), LetterState::Accepted)]);
    }
}
