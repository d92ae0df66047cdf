//! Campaigns: exactly the right people, once, whatever happens in between.

use std::{collections::BTreeMap, sync::Arc};

use engine::{
    Error,
    campaigns::{self, check::Level},
    contacts,
    once::Repeat,
};
use model::CampaignId;
use serde_json::{Value, json};
use store::Scope;
use testkit::{Stage, TestDb};

use crate::setting::column;

async fn stage(db: &TestDb) -> Stage {
    let stage = Stage::new(db).await;
    stage.account("sandbox", json!({}), None).await;
    stage
}

/// Adds a contact and answers its id.
async fn contact(stage: &Stage, fields: Value) -> String {
    let new = serde_json::from_value(fields).unwrap();
    let reply = contacts::create(&stage.engine, &stage.caller, &Repeat::NONE, new).await.unwrap();
    serde_json::from_slice::<Value>(&reply.body).unwrap()["id"].as_str().unwrap().to_owned()
}

/// Adds contacts with an e-mail address and a name.
async fn people(stage: &Stage, count: usize) -> Vec<String> {
    let mut ids = Vec::new();
    for n in 0..count {
        ids.push(contact(stage, json!({ "email": format!("p{n}@example.com"), "first_name": format!("P{n}") })).await);
    }
    ids
}

fn campaign(contacts: &[String]) -> Value {
    json!({
        "name": "Summer", "channel": "email", "purpose": "transactional", "audience": { "contact_ids": contacts },
        "content": { "subject": "Hello {{ contact.first_name }}", "text": "Hi" },
    })
}

/// A campaign that tries two contents on six in ten of its recipients for ten minutes.
fn tested(contacts: &[String], metric: &str) -> Value {
    let mut new = campaign(contacts);
    new.as_object_mut().unwrap().remove("content");
    new["variants"] =
        json!([{ "content": { "subject": "A", "text": "A" } }, { "content": { "subject": "B", "text": "B" } }]);
    new["test"] = json!({ "percent": 60, "duration_s": 600, "metric": metric });
    new
}

/// Records what a contact said about e-mail.
async fn consent(stage: &Stage, contact: &str, state: &str) {
    let new = serde_json::from_value(json!({ "channel": "email", "state": state })).unwrap();
    stage.engine.record_consent(&stage.caller, &Repeat::NONE, contact.parse().unwrap(), new).await.unwrap();
}

async fn try_make(stage: &Stage, new: Value) -> Result<CampaignId, Error> {
    let new = serde_json::from_value(new).unwrap();
    let reply = campaigns::create(&stage.engine, &stage.caller, &Repeat::NONE, new).await?;
    Ok(serde_json::from_slice::<Value>(&reply.body).unwrap()["id"].as_str().unwrap().parse().unwrap())
}

async fn make(stage: &Stage, new: Value) -> CampaignId {
    try_make(stage, new).await.unwrap()
}

async fn send(stage: &Stage, id: CampaignId) -> Result<(), Error> {
    let (engine, caller) = (&stage.engine, &stage.caller);
    campaigns::start(engine, caller, &Repeat::NONE, id, None).await.map(drop)
}

async fn schedule(stage: &Stage, id: CampaignId, request: Value) -> Result<(), Error> {
    let request = serde_json::from_value(request).unwrap();
    campaigns::schedule(&stage.engine, &stage.caller, &Repeat::NONE, id, request).await.map(drop)
}

/// The campaign's figures, which must be what counting its messages one by one comes to.
async fn exact(stage: &Stage, id: CampaignId) -> campaigns::CampaignStats {
    let stats = campaigns::stats(&stage.engine, &stage.caller, id).await.unwrap();
    let tenant = stage.tenant;
    let read = stage.world.ports.db.read(Scope::Tenant(tenant), move |tx| {
        Box::pin(async move { store::messages::after(tx, tenant, model::MessageId::from_ulid(0), 10_000).await })
    });
    let all: Vec<_> = read.await.unwrap().into_iter().filter(|m| m.campaign_id == Some(id)).collect();
    let check = |told: &campaigns::VariantStats, of: &dyn Fn(&store::messages::Message) -> bool| {
        let count =
            |what: &dyn Fn(&store::messages::Message) -> bool| all.iter().filter(|m| of(m) && what(m)).count() as u64;
        use model::Status::{Bounced, Canceled, Expired, Failed, Queued, Scheduled, Sending, Suppressed, Unknown};
        let naive = [
            count(&|_| true),
            count(&|m| m.sent_at.is_some()),
            count(&|m| m.delivered_at.is_some()),
            count(&|m| m.read_at.is_some() || m.engagement.opened_at.is_some()),
            count(&|m| m.engagement.clicked_at.is_some()),
            count(&|m| m.engagement.replied_at.is_some()),
            count(&|m| m.engagement.machine_clicked_at.is_some() && m.engagement.clicked_at.is_none()),
            count(&|m| matches!(m.status, Failed | Bounced | Expired | Unknown)),
            count(&|m| m.status == Canceled),
            count(&|m| m.status == Suppressed),
            count(&|m| matches!(m.status, Scheduled | Queued | Sending)),
        ];
        let seen = [
            told.accepted,
            told.sent,
            told.delivered.hits,
            told.opened.hits,
            told.clicked.hits,
            told.replied.hits,
            told.machine_clicked,
            told.failed,
            told.canceled,
            told.suppressed,
            told.waiting,
        ];
        assert_eq!(seen, naive, "of variant {}", told.variant);
        let cost: i64 = all.iter().filter(|m| of(m)).filter_map(|m| m.cost_micros).sum();
        assert_eq!(told.cost_micros, cost);
    };
    check(&stats.messages, &|_| true);
    for told in &stats.variants {
        check(told, &|m| m.variant == Some(told.variant));
    }
    stats
}

fn set_clock(stage: &Stage, at: &str) {
    stage.world.clock.set(at.parse().unwrap());
}

async fn work(stage: &Stage) {
    campaigns::work::run(&stage.engine).await.unwrap();
}

async fn view(stage: &Stage, id: CampaignId) -> Value {
    serde_json::to_value(campaigns::get(&stage.engine, &stage.caller, id).await.unwrap()).unwrap()
}

async fn state(stage: &Stage, id: CampaignId) -> String {
    view(stage, id).await["state"].as_str().unwrap().to_owned()
}

/// How many recipients stand how.
async fn outcomes(stage: &Stage, id: CampaignId) -> BTreeMap<String, usize> {
    let page = campaigns::recipients(&stage.engine, &stage.caller, id, Some(500), None).await.unwrap();
    let mut outcomes = BTreeMap::new();
    for recipient in page.data {
        *outcomes.entry(recipient.status).or_default() += 1;
    }
    outcomes
}

/// Messages by contact: each must be one.
async fn messages(stage: &Stage) -> Vec<u64> {
    let tenant = stage.tenant;
    let read = stage.world.ports.db.read(Scope::System, move |tx| {
        Box::pin(async move {
            let sql =
                "SELECT COUNT(*) FROM messages WHERE tenant_id = $1 AND campaign_id IS NOT NULL GROUP BY contact_id";
            tx.rows(sql, &[&tenant]).await?.into_iter().map(|mut row| row.get(0)).collect::<Result<Vec<u64>, _>>()
        })
    });
    let counts: Result<Vec<u64>, store::Error> = read.await;
    counts.unwrap()
}

fn set(pairs: &[(&str, usize)]) -> BTreeMap<String, usize> {
    pairs.iter().map(|(word, count)| ((*word).to_owned(), *count)).collect()
}

testkit::both! {
    async fn a_campaign_of_a_template_stores_what_it_says_once(db: TestDb) {
        let stage = stage(&db).await;
        let mut people = people(&stage, 5).await;
        people.push(contact(&stage, json!({ "email": "ute@example.com", "first_name": "Ute", "language": "de" })).await);
        let mut new = campaign(&people);
        new.as_object_mut().unwrap().remove("content");
        new["template"] = json!({ "name": "news" });
        let refused = try_make(&stage, new.clone()).await.unwrap_err();
        assert_eq!(refused.errors[0].pointer, "/template/name");
        let variants = json!({
            "en": {"subject": "Hi {{ contact.first_name }}", "html": "<p>News</p>"}, "de": {"subject": "Hallo {{ contact.first_name }}", "html": "<p>Neues</p>"},
        });
        let template = crate::templates::published(&stage, "news", variants).await;
        let id = make(&stage, new).await;
        send(&stage, id).await.unwrap();
        stage.pass(30_000).await;
        assert_eq!(messages(&stage).await, [1; 6]);
        assert_eq!(column(&db, "SELECT CAST(COUNT(DISTINCT content_id) AS TEXT) FROM messages").await, "2");
        assert_eq!(column(&db, "SELECT CAST(COUNT(*) AS TEXT) FROM contents").await, "2");
        let stats = engine::templates::stats(&stage.engine, &stage.caller, template).await.unwrap();
        assert_eq!((stats.data[0].counts.accepted, stats.data[0].counts.sent), (6, 6));
    }

    async fn everybody_gets_one_message_and_it_ends(db: TestDb) {
        let stage = stage(&db).await;
        let people = people(&stage, 7).await;
        let without = contact(&stage, json!({ "phone": "+4915112345678", "first_name": "No mail" })).await;
        let mut audience = people.clone();
        audience.extend([without, people[0].clone()]);
        let id = make(&stage, campaign(&audience)).await;
        send(&stage, id).await.unwrap();
        stage.pass(5_000).await;
        let seen = view(&stage, id).await;
        assert_eq!((&seen["recipients"], &seen["accepted"], &seen["excluded"]), (&json!(8), &json!(7), &json!(1)));
        assert_eq!(seen["state"], "sent");
        assert_eq!(messages(&stage).await, vec![1; 7]);
        let stats = exact(&stage, id).await;
        assert_eq!((stats.messages.accepted, stats.messages.sent, stats.left_out[0].reason.as_str()), (7, 7, "no_address"));
    }

    async fn lists_less_the_excluded_ones(db: TestDb) {
        let stage = stage(&db).await;
        let people = people(&stage, 6).await;
        let mut lists = Vec::new();
        for members in [&people[..4], &people[3..], &people[1..3]] {
            let new = serde_json::from_value(json!({ "name": format!("List {}", lists.len()) })).unwrap();
            let reply = contacts::lists::create(&stage.engine, &stage.caller, &Repeat::NONE, new).await.unwrap();
            let list = serde_json::from_slice::<Value>(&reply.body).unwrap()["id"].as_str().unwrap().to_owned();
            let id = list.parse().unwrap();
            let members = serde_json::from_value(json!({ "contact_ids": members })).unwrap();
            contacts::lists::change_members(&stage.engine, &stage.caller, &Repeat::NONE, id, contacts::lists::Way::Add, members).await.unwrap();
            lists.push(list);
        }
        let mut new = campaign(&[]);
        new["audience"] = json!({ "lists": &lists[..2], "exclude_lists": &lists[2..] });
        let id = make(&stage, new).await;
        send(&stage, id).await.unwrap();
        stage.pass(5_000).await;
        assert_eq!(messages(&stage).await, vec![1; 4]);
        assert_eq!(state(&stage, id).await, "sent");
    }

    async fn who_comes_later_does_not_belong_to_it(db: TestDb) {
        let stage = stage(&db).await;
        people(&stage, 3).await;
        let segment = serde_json::from_value(json!({ "name": "All", "conditions": { "field": "email", "starts_with": "p" } })).unwrap();
        let reply = engine::segments::create(&stage.engine, &stage.caller, &Repeat::NONE, segment).await.unwrap();
        let segment = serde_json::from_slice::<Value>(&reply.body).unwrap()["id"].clone();
        let mut new = campaign(&[]);
        new["audience"] = json!({ "segments": [segment] });
        let id = make(&stage, new).await;
        send(&stage, id).await.unwrap();
        stage.world.clock.advance_ms(5);
        contact(&stage, json!({ "email": "plate@example.com", "first_name": "Late" })).await;
        stage.pass(5_000).await;
        assert_eq!(messages(&stage).await, vec![1; 3]);
    }

    async fn a_restart_goes_on_where_the_last_commit_ended(db: TestDb) {
        let mut stage = stage(&db).await;
        let people = people(&stage, 5).await;
        let id = make(&stage, campaign(&people)).await;
        send(&stage, id).await.unwrap();
        let before = Arc::clone(&stage.engine);
        stage.restart();
        // Both work on it at once: one finds the lease or the cursor taken.
        let (one, two) = tokio::join!(campaigns::work::run(&before), campaigns::work::run(&stage.engine));
        one.unwrap();
        two.unwrap();
        stage.pass(70_000).await;
        assert_eq!(messages(&stage).await, vec![1; 5]);
        assert_eq!(state(&stage, id).await, "sent");
    }

    async fn a_paused_campaign_holds_what_waits_and_goes_on(db: TestDb) {
        let stage = stage(&db).await;
        let people = people(&stage, 4).await;
        let id = make(&stage, campaign(&people)).await;
        send(&stage, id).await.unwrap();
        work(&stage).await;
        campaigns::pause(&stage.engine, &stage.caller, &Repeat::NONE, id).await.unwrap();
        work(&stage).await;
        stage.pass(10_000).await;
        assert_eq!(state(&stage, id).await, "paused");
        assert_eq!(outcomes(&stage, id).await, set(&[("queued", 4)]), "nothing leaves");
        let error = send(&stage, id).await.unwrap_err();
        assert_eq!(error.code, "campaign_not_startable");
        campaigns::resume(&stage.engine, &stage.caller, &Repeat::NONE, id).await.unwrap();
        stage.pass(5_000).await;
        assert_eq!(state(&stage, id).await, "sent");
        assert_eq!(messages(&stage).await, vec![1; 4]);
        assert!(!outcomes(&stage, id).await.contains_key("queued"));
    }

    async fn a_canceled_campaign_withdraws_what_waits(db: TestDb) {
        let stage = stage(&db).await;
        let people = people(&stage, 3).await;
        let id = make(&stage, campaign(&people)).await;
        send(&stage, id).await.unwrap();
        work(&stage).await;
        campaigns::cancel(&stage.engine, &stage.caller, &Repeat::NONE, id).await.unwrap();
        work(&stage).await;
        stage.pass(5_000).await;
        assert_eq!(state(&stage, id).await, "canceled");
        assert_eq!(outcomes(&stage, id).await, set(&[("canceled", 3)]));
    }

    async fn nobody_is_left_out_because_the_tenant_is_suspended_meanwhile(db: TestDb) {
        let stage = stage(&db).await;
        let people = people(&stage, 3).await;
        let id = make(&stage, campaign(&people)).await;
        send(&stage, id).await.unwrap();
        let become_ = async |state: &str| {
            let change = serde_json::from_value(json!({ "state": state })).unwrap();
            let operator = engine::keys::Caller::system(None);
            engine::tenants::patch(stage.engine.parts(), &operator, stage.tenant, change).await.unwrap();
            stage.engine.directory.refresh().await.unwrap();
        };
        become_("suspended").await;
        stage.pass(5_000).await;
        assert_eq!(outcomes(&stage, id).await, set(&[("waiting", 3)]));
        assert!(view(&stage, id).await["problem"].as_str().unwrap().contains("tenant_suspended"));
        become_("active").await;
        stage.pass(8_000).await;
        assert_eq!(messages(&stage).await, vec![1; 3]);
        assert_eq!(view(&stage, id).await["problem"], Value::Null);
    }

    async fn a_copy_is_a_draft_of_its_own(db: TestDb) {
        let stage = stage(&db).await;
        let people = people(&stage, 1).await;
        let id = make(&stage, campaign(&people)).await;
        send(&stage, id).await.unwrap();
        stage.pass(5_000).await;
        let reply = campaigns::duplicate(&stage.engine, &stage.caller, &Repeat::NONE, id).await.unwrap();
        let copy: Value = serde_json::from_slice(&reply.body).unwrap();
        assert_eq!((&copy["name"], &copy["state"], &copy["recipients"]), (&json!("Summer (copy)"), &json!("draft"), &json!(0)));
        let file = campaigns::export(&stage.engine, &stage.caller, id, None).await.unwrap();
        let text = String::from_utf8(file.0).unwrap();
        assert!(text.lines().nth(1).unwrap().contains(",p0@example.com,"), "{text}");
        assert_eq!((text.lines().count(), file.1), (2, None));
    }

    async fn a_scheduled_campaign_starts_by_itself(db: TestDb) {
        let stage = stage(&db).await;
        let people = people(&stage, 2).await;
        let id = make(&stage, campaign(&people)).await;
        let at = stage.world.ports.clock.now().plus_seconds(60);
        campaigns::start(&stage.engine, &stage.caller, &Repeat::NONE, id, Some(at)).await.unwrap();
        stage.pass(50_000).await;
        assert_eq!((state(&stage, id).await.as_str(), messages(&stage).await.len()), ("scheduled", 0));
        stage.pass(20_000).await;
        assert_eq!((state(&stage, id).await.as_str(), messages(&stage).await), ("sent", vec![1; 2]));
    }

    async fn everybody_gets_it_at_the_time_of_their_own_clock_also_when_clocks_change(db: TestDb) {
        let stage = stage(&db).await;
        set_clock(&stage, "2027-03-26T00:00:00Z");
        let mut people = Vec::new();
        for zone in [Some("Europe/Berlin"), Some("America/New_York"), Some("Asia/Kolkata"), None] {
            let name = format!("z{}@example.com", people.len());
            people.push(contact(&stage, json!({ "email": name, "timezone": zone, "first_name": "Z" })).await);
        }
        let id = make(&stage, campaign(&people)).await;
        schedule(&stage, id, json!({ "local_start": "2027-03-28T02:30:00" })).await.unwrap();
        assert_eq!(view(&stage, id).await["timing"]["local_start"], "2027-03-28T02:30:00");
        set_clock(&stage, "2027-03-27T12:29:00Z");
        stage.pass(2_000).await;
        assert_eq!(state(&stage, id).await, "scheduled", "nobody's clock can show it yet");
        set_clock(&stage, "2027-03-27T12:30:00Z");
        stage.pass(5_000).await;
        assert_eq!(outcomes(&stage, id).await, set(&[("scheduled", 4)]));
        // India first; then Berlin, where 2:30 is jumped over and 3:30 comes instead; the tenant's own clock for whoever has none; New York last.
        for (at, left) in [("2027-03-27T21:00:00Z", 3), ("2027-03-28T01:29:00Z", 3), ("2027-03-28T01:30:00Z", 2), ("2027-03-28T02:30:00Z", 1), ("2027-03-28T06:29:00Z", 1), ("2027-03-28T06:30:00Z", 0)] {
            set_clock(&stage, at);
            stage.pass(5_000).await;
            let waiting = outcomes(&stage, id).await.get("scheduled").copied().unwrap_or_default();
            assert_eq!(waiting, left, "at {at}");
        }
        stage.pass(5_000).await;
        assert_eq!((state(&stage, id).await.as_str(), messages(&stage).await), ("sent", vec![1; 4]));
    }

    async fn a_recurring_campaign_is_a_new_one_each_time_at_the_same_hour_in_summer_and_winter(db: TestDb) {
        let stage = stage(&db).await;
        set_clock(&stage, "2027-03-26T12:00:00Z");
        let people = people(&stage, 2).await;
        let id = make(&stage, campaign(&people)).await;
        let refused = schedule(&stage, id, json!({ "cron": "0 9 * * *", "start_at": "2027-04-01T00:00:00Z" })).await.unwrap_err();
        assert_eq!(refused.errors[0].pointer, "/start_at");
        schedule(&stage, id, json!({ "cron": "0 9 * * *", "timezone": "Europe/Berlin", "skip": ["2027-03-29"] })).await.unwrap();
        // Nine in Berlin is eight in UTC, and seven from Sunday on. Monday is left out.
        for (at, times) in [("2027-03-27T07:59:00Z", 0), ("2027-03-27T08:00:00Z", 1), ("2027-03-28T06:59:00Z", 1), ("2027-03-28T07:00:00Z", 2), ("2027-03-29T07:00:00Z", 2), ("2027-03-30T07:00:00Z", 3)] {
            set_clock(&stage, at);
            stage.pass(6_000).await;
            let expected = if times == 0 { Vec::new() } else { vec![times; 2] };
            assert_eq!(messages(&stage).await, expected, "at {at}");
        }
        let page = campaigns::list(&stage.engine, &stage.caller, None, None).await.unwrap();
        let children: Vec<_> = page.data.iter().filter(|campaign| campaign.parent_id == Some(id)).collect();
        assert_eq!(children.len(), 3);
        assert!(children.iter().all(|campaign| campaign.accepted == 2 && campaign.timing.is_none()));
        assert_eq!((state(&stage, id).await.as_str(), &view(&stage, id).await["scheduled_at"]), ("scheduled", &json!("2027-03-31T07:00:00.000000Z")));
        campaigns::cancel(&stage.engine, &stage.caller, &Repeat::NONE, id).await.unwrap();
        set_clock(&stage, "2027-04-02T07:00:00Z");
        stage.pass(5_000).await;
        assert_eq!(messages(&stage).await, vec![3; 2], "nothing comes after it was canceled");
    }

    async fn people_who_click_choose_the_winner_and_programs_do_not(db: TestDb) {
        let stage = stage(&db).await;
        let people = people(&stage, 40).await;
        let id = make(&stage, tested(&people, "clicked")).await;
        send(&stage, id).await.unwrap();
        stage.pass(30_000).await;
        let (tenant, now) = (stage.tenant, stage.world.ports.clock.now());
        let write = stage.world.ports.db.write(Scope::System, move |tx| {
            Box::pin(async move {
                for (column, variant) in [("machine_clicked_at", 0_u32), ("clicked_at", 1)] {
                    let sql = format!("UPDATE messages SET {column} = $1 WHERE tenant_id = $2 AND id IN (SELECT message_id FROM campaign_recipients WHERE tenant_id = $2 AND variant = $3)");
                    tx.execute(&sql, &[&now, &tenant, &variant]).await?;
                }
                Ok::<_, store::Error>(())
            })
        });
        write.await.unwrap();
        assert!(stage.engine.recount(stage.tenant).await.unwrap() > 0);
        let stats = exact(&stage, id).await;
        let of = |variant: usize| &stats.variants[variant];
        assert_eq!((of(0).clicked.hits, of(1).clicked.hits), (0, of(1).sent));
        assert_eq!((of(0).machine_clicked, of(1).machine_clicked), (of(0).sent, 0));
        assert_eq!(stats.best.unwrap().variant, 1);
        stage.pass(620_000).await;
        let seen = view(&stage, id).await;
        assert_eq!((&seen["winner"], &seen["state"]), (&json!(1), &json!("sent")));
        assert_eq!(messages(&stage).await, vec![1; 40]);
    }

    async fn people_who_answer_choose_the_winner(db: TestDb) {
        let stage = stage(&db).await;
        let people = people(&stage, 30).await;
        let id = make(&stage, tested(&people, "replied")).await;
        send(&stage, id).await.unwrap();
        stage.pass(30_000).await;
        let (tenant, now) = (stage.tenant, stage.world.ports.clock.now());
        let write = stage.world.ports.db.write(Scope::System, move |tx| {
            Box::pin(async move {
                tx.execute("UPDATE messages SET replied_at = $1 WHERE tenant_id = $2 AND variant = 1", &[&now, &tenant]).await
            })
        });
        assert!(write.await.unwrap() > 0);
        assert!(stage.engine.recount(stage.tenant).await.unwrap() > 0);
        let stats = exact(&stage, id).await;
        assert_eq!((stats.variants[0].replied.hits, stats.variants[1].replied.hits), (0, stats.variants[1].sent));
        stage.pass(620_000).await;
        assert_eq!(view(&stage, id).await["winner"], 1);
        exact(&stage, id).await;
    }

    async fn the_winner_is_known_while_an_upgrade_counts_again(db: TestDb) {
        let stage = stage(&db).await;
        let people = people(&stage, 30).await;
        let id = make(&stage, tested(&people, "replied")).await;
        send(&stage, id).await.unwrap();
        stage.pass(30_000).await;
        let (tenant, now) = (stage.tenant, stage.world.ports.clock.now());
        let write = stage.world.ports.db.write(Scope::System, move |tx| {
            Box::pin(async move {
                // Sums of an earlier version told nothing of variants.
                tx.execute("DELETE FROM message_days", &[]).await?;
                tx.execute("DELETE FROM message_counters", &[]).await?;
                store::installation::put(tx, "sums_to_recount", "all").await?;
                tx.execute("UPDATE messages SET replied_at = $1 WHERE tenant_id = $2 AND variant = 1", &[&now, &tenant]).await
            })
        });
        assert!(write.await.unwrap() > 0);
        let stats = exact(&stage, id).await;
        assert_eq!((stats.variants[0].replied.hits, stats.variants[1].replied.hits), (0, stats.variants[1].sent));
        stage.pass(620_000).await;
        assert_eq!(view(&stage, id).await["winner"], 1);
        exact(&stage, id).await;
    }

    async fn the_rest_gets_the_winner(db: TestDb) {
        let stage = stage(&db).await;
        let people = people(&stage, 40).await;
        let mut new = tested(&people, "delivered");
        (new["test"]["percent"], new["test"]["automatic"]) = (json!(50), json!(false));
        let id = make(&stage, new).await;
        send(&stage, id).await.unwrap();
        stage.pass(30_000).await;
        let tested = messages(&stage).await.len();
        assert!((8..=32).contains(&tested), "{tested} of 40 took part");
        stage.pass(700_000).await;
        assert_eq!(messages(&stage).await.len(), tested, "somebody has to choose");
        let winner = campaigns::WinnerRequest { variant: 1 };
        campaigns::choose(&stage.engine, &stage.caller, &Repeat::NONE, id, winner).await.unwrap();
        stage.pass(30_000).await;
        assert_eq!(messages(&stage).await, vec![1; 40]);
        let seen = view(&stage, id).await;
        assert_eq!((&seen["state"], &seen["winner"]), (&json!("sent"), &json!(1)));
        let stats = exact(&stage, id).await;
        assert_eq!(stats.variants.iter().map(|variant| variant.accepted).sum::<u64>(), 40);
        assert!(stats.variants[1].accepted >= 40 - tested as u64);
    }

    async fn the_checklist_says_what_is_wrong(db: TestDb) {
        let stage = Stage::new(&db).await;
        let people = people(&stage, 3).await;
        let nameless = contact(&stage, json!({ "email": "nobody@example.com" })).await;
        let phone = contact(&stage, json!({ "phone": "+4915112345678" })).await;
        let mut audience = people;
        audience.extend([nameless, phone]);
        let mut new = campaign(&audience);
        new["content"]["subject"] = json!("{{ contact.first_name }}{% if not contact.first_name %}{{ missing }}{% endif %}");
        let id = make(&stage, new).await;
        let line = async |code: &str| {
            let report = campaigns::check::check(&stage.engine, &stage.caller, id).await.unwrap();
            report.lines.into_iter().find(|line| line.code == code).map(|line| (line.level, line.count))
        };
        assert_eq!(line("channel_ready").await, Some((Level::Blocking, 5)));
        let error = send(&stage, id).await.unwrap_err();
        assert_eq!((error.code, error.action), ("campaign_blocked", Some("ADD_ACCOUNT")));
        stage.account("sandbox", json!({}), None).await;
        stage.engine.directory.refresh().await.unwrap();
        assert_eq!(line("channel_ready").await, Some((Level::Ok, 0)));
        assert_eq!(line("invalid_addresses").await, Some((Level::Warning, 1)));
        assert_eq!(line("missing_variables").await, Some((Level::Warning, 1)));
        assert_eq!(line("audience").await, Some((Level::Ok, 3)));
        send(&stage, id).await.unwrap();
        stage.pass(5_000).await;
        assert_eq!(messages(&stage).await, vec![1; 3]);
    }

    async fn recipients_without_consent_stop_it_or_are_left_out(db: TestDb) {
        let stage = stage(&db).await;
        let people = people(&stage, 6).await;
        for person in &people[..3] {
            consent(&stage, person, "opted_in").await;
        }
        consent(&stage, &people[3], "opted_out").await;
        let mut new = campaign(&people);
        new["purpose"] = json!("marketing");
        let id = make(&stage, new).await;
        let report = campaigns::check::check(&stage.engine, &stage.caller, id).await.unwrap();
        let line = |code: &str| report.lines.iter().find(|line| line.code == code).unwrap();
        assert_eq!((line("consent").level, line("consent").count), (Level::Blocking, 3));
        assert_eq!((line("audience").level, line("audience").count), (Level::Ok, 3));
        let error = send(&stage, id).await.unwrap_err();
        assert_eq!((error.code, error.action), ("campaign_blocked", Some("REMOVE_WITHOUT_CONSENT")));
        assert_eq!((error.errors.len(), error.errors[0].pointer.as_str()), (1, "/check/consent"));
        assert_eq!(state(&stage, id).await, "draft");
        campaigns::start_with(&stage.engine, &stage.caller, &Repeat::NONE, id, None, Some(true)).await.unwrap();
        stage.pass(5_000).await;
        let seen = view(&stage, id).await;
        assert_eq!((&seen["accepted"], &seen["excluded"], &seen["remove_without_consent"]), (&json!(3), &json!(3), &json!(true)));
        assert_eq!(messages(&stage).await, vec![1; 3]);
        let stats = exact(&stage, id).await;
        let left_out: BTreeMap<String, u64> = stats.left_out.into_iter().map(|left| (left.reason, left.count)).collect();
        assert_eq!(left_out, [("no_consent".to_owned(), 2), ("opted_out".to_owned(), 1)].into());
    }

    async fn suppressed_recipients_are_left_out_and_counted(db: TestDb) {
        let stage = stage(&db).await;
        let people = people(&stage, 3).await;
        let listed = serde_json::from_value(json!({ "channel": "email", "address": "p0@example.com" })).unwrap();
        stage.engine.suppress(&stage.caller, &Repeat::NONE, listed).await.unwrap();
        stage.engine.directory.refresh().await.unwrap();
        let id = make(&stage, campaign(&people)).await;
        let report = campaigns::check::check(&stage.engine, &stage.caller, id).await.unwrap();
        let line = report.lines.iter().find(|line| line.code == "suppressed").unwrap();
        assert_eq!((line.level, line.count, line.action), (Level::Warning, 1, Some("REVIEW_SUPPRESSIONS")));
        send(&stage, id).await.unwrap();
        stage.pass(5_000).await;
        assert_eq!(outcomes(&stage, id).await.get("left_out"), Some(&1));
        assert_eq!(messages(&stage).await, vec![1; 2]);
    }

    async fn quiet_hours_are_foretold(db: TestDb) {
        let stage = stage(&db).await;
        let people = people(&stage, 2).await;
        for person in &people {
            consent(&stage, person, "opted_in").await;
        }
        let quiet = serde_json::from_value(json!({ "quiet_hours": { "from": "00:00", "until": "23:59" } })).unwrap();
        stage.engine.patch_consent_policy(&stage.caller, quiet).await.unwrap();
        stage.engine.directory.refresh().await.unwrap();
        let mut new = campaign(&people);
        new["purpose"] = json!("marketing");
        let id = make(&stage, new).await;
        let report = campaigns::check::check(&stage.engine, &stage.caller, id).await.unwrap();
        let line = report.lines.iter().find(|line| line.code == "quiet_hours").unwrap();
        assert_eq!((line.level, line.count, line.action), (Level::Warning, 2, Some("SCHEDULE_FOR_DAYTIME")));
        assert!(line.detail.contains("quiet hours from 00:00 to 23:59"), "{}", line.detail);
        let dry = json!({ "to": { "contact_id": people[0] }, "channel": "email", "purpose": "marketing", "content": { "subject": "a", "text": "b" }, "dry_run": true });
        let reply = stage.engine.send(&stage.caller, dry.to_string().as_bytes(), None).await.unwrap();
        let explained: Value = serde_json::from_slice(&reply.body).unwrap();
        assert_eq!((&explained["consent"]["verdict"], &explained["status"]), (&json!("waits"), &json!("scheduled")));
        assert_eq!(explained["leaves_at"], explained["consent"]["until"]);
    }

    async fn a_dry_run_says_that_consent_is_missing(db: TestDb) {
        let stage = stage(&db).await;
        people(&stage, 1).await;
        stage.engine.directory.refresh().await.unwrap();
        let dry = json!({ "to": { "email": "p0@example.com" }, "channel": "email", "purpose": "marketing", "content": { "subject": "a", "text": "b" }, "dry_run": true });
        let reply = stage.engine.send(&stage.caller, dry.to_string().as_bytes(), None).await.unwrap();
        let explained: Value = serde_json::from_slice(&reply.body).unwrap();
        assert_eq!((&explained["consent"]["verdict"], &explained["consent"]["code"]), (&json!("held_back"), &json!("no_consent")));
        assert_eq!(explained["status"], "suppressed");
    }

    async fn a_segments_preview_says_who_remains(db: TestDb) {
        let stage = stage(&db).await;
        let people = people(&stage, 4).await;
        contact(&stage, json!({ "phone": "+4915112345678", "first_name": "P9" })).await;
        for person in &people[..3] {
            consent(&stage, person, "opted_in").await;
        }
        let listed = serde_json::from_value(json!({ "channel": "email", "address": "p0@example.com" })).unwrap();
        stage.engine.suppress(&stage.caller, &Repeat::NONE, listed).await.unwrap();
        let request = json!({ "conditions": { "field": "first_name", "starts_with": "P" }, "channel": "email" });
        let preview = engine::segments::preview(&stage.engine, &stage.caller, serde_json::from_value(request).unwrap()).await.unwrap();
        let remaining = preview.remaining.unwrap();
        assert_eq!((preview.contacts, remaining.with_address, remaining.with_consent, remaining.not_suppressed), (5, 4, 3, 2));
        let agreed = json!({ "conditions": { "all": [{ "consent": { "channel": "email", "is": "opted_in" } }, { "not": { "suppressed": "email" } }] } });
        let preview = engine::segments::preview(&stage.engine, &stage.caller, serde_json::from_value(agreed).unwrap()).await.unwrap();
        assert_eq!((preview.contacts, preview.remaining), (2, None));
    }

    async fn an_empty_audience_blocks(db: TestDb) {
        let stage = stage(&db).await;
        let list = serde_json::from_value(json!({ "name": "Nobody" })).unwrap();
        let reply = contacts::lists::create(&stage.engine, &stage.caller, &Repeat::NONE, list).await.unwrap();
        let list = serde_json::from_slice::<Value>(&reply.body).unwrap()["id"].clone();
        let mut new = campaign(&[]);
        new["audience"] = json!({ "lists": [list] });
        let id = make(&stage, new).await;
        assert_eq!(send(&stage, id).await.unwrap_err().action, Some("CHANGE_AUDIENCE"));
    }

    async fn what_cannot_be_a_campaign_is_pointed_at(db: TestDb) {
        let stage = stage(&db).await;
        let people = people(&stage, 1).await;
        for (change, pointer) in [
            (json!({ "name": "" }), "/name"),
            (json!({ "content": null }), "/content"),
            (json!({ "audience": {} }), "/audience"),
            (json!({ "content": { "subject": "{{", "text": "x" } }), "/content/subject"),
            (json!({ "content": { "text": "x", "colour": "red" } }), "/content/colour"),
            (json!({ "test": { "percent": 10, "duration_s": 600 } }), "/test"),
            (json!({ "topic": 5 }), "/topic"),
        ] {
            let mut new = campaign(&people);
            new.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
            let read = engine::accept::request::read::<campaigns::NewCampaign>(new.to_string().as_bytes(), "");
            let error = match read {
                Ok(new) => campaigns::create(&stage.engine, &stage.caller, &Repeat::NONE, new).await.map(drop).unwrap_err(),
                Err(error) => error,
            };
            assert_eq!(error.errors.first().map(|field| field.pointer.as_str()), Some(pointer), "{change}: {}", error.detail);
        }
    }

    async fn a_large_audience_is_counted_whole_before_anybody_is_written_to(db: TestDb) {
        let stage = stage(&db).await;
        let (tenant, now) = (stage.tenant, stage.world.ports.clock.now());
        // More than are counted at once; the last two have not agreed.
        let people: Vec<store::contacts::Contact> = (0..6_200_u128)
            .map(|n| store::contacts::Contact {
                email: Some(format!("p{n}@example.com")),
                ..store::contacts::Contact::new(tenant, model::ContactId::from_ulid(n + 1), now)
            })
            .collect();
        let list = contacts::lists::create(&stage.engine, &stage.caller, &Repeat::NONE, serde_json::from_value(json!({ "name": "All" })).unwrap()).await.unwrap();
        let list = serde_json::from_slice::<Value>(&list.body).unwrap()["id"].as_str().unwrap().to_owned();
        let id: model::ListId = list.parse().unwrap();
        let write = stage.world.ports.db.write(Scope::System, move |tx| {
            Box::pin(async move {
                store::contacts::insert_many(tx, &people).await?;
                store::contacts::mark(tx, tenant).await?;
                let ids: Vec<_> = people.iter().map(|contact| contact.id).collect();
                store::lists::add(tx, tenant, id, &ids, now).await?;
                let sql = "INSERT INTO consent_states (tenant_id, contact_id, channel, topic, state, changed_at) SELECT tenant_id, id, $1, '', $2, $3 FROM contacts WHERE tenant_id = $4 AND id <= $5";
                let (channel, state, last) = (model::Channel::Email, model::ConsentState::OptedIn, model::ContactId::from_ulid(6_198));
                tx.execute(sql, &[&channel, &state, &now, &tenant, &last]).await?;
                // As a job does once a table has grown: PostgreSQL plans by what it knows.
                if tx.dialect() == store::Dialect::Postgres {
                    for table in ["contacts", "list_members", "consent_states"] {
                        tx.execute(&format!("ANALYZE {table}"), &[]).await?;
                    }
                }
                store::tenants::bump(tx, Some(tenant)).await
            })
        });
        let filled: Result<_, store::Error> = write.await;
        filled.unwrap();
        stage.engine.directory.refresh().await.unwrap();
        let mut new = campaign(&[]);
        new["audience"] = json!({ "lists": [list] });
        new["purpose"] = json!("marketing");
        let id = make(&stage, new).await;
        let first = campaigns::check::check(&stage.engine, &stage.caller, id).await.unwrap();
        assert_eq!((first.is_complete, first.can_send, first.expected), (false, true, None));
        assert!(first.checked >= 5_000 && first.checked < 6_200, "{}", first.checked);
        // Nothing of those that were counted speaks against it, so it starts, and counts the rest before it writes to anybody.
        send(&stage, id).await.unwrap();
        assert_eq!((state(&stage, id).await.as_str(), &view(&stage, id).await["stage"]), ("sending", &json!("checking")));
        work(&stage).await;
        campaigns::check::run(&stage.engine).await.unwrap();
        let whole = campaigns::check::current(&stage.engine, &stage.caller, id).await.unwrap();
        assert_eq!((whole.is_complete, whole.checked, whole.expected, whole.progress_percent, whole.can_send), (true, 6_200, Some(6_200), 100.0, false));
        let line = whole.lines.iter().find(|line| line.code == "consent").unwrap();
        assert_eq!((line.level, line.count), (Level::Blocking, 2));
        stage.pass(5_000).await;
        assert_eq!((state(&stage, id).await.as_str(), messages(&stage).await.len()), ("failed", 0));
        assert!(view(&stage, id).await["problem"].as_str().unwrap().contains("2 recipients have not agreed"));
        // A copy is refused at once now: the whole count is known. Leaving them out, it goes.
        let copy = campaigns::duplicate(&stage.engine, &stage.caller, &Repeat::NONE, id).await.unwrap();
        let copy = serde_json::from_slice::<Value>(&copy.body).unwrap()["id"].as_str().unwrap().parse().unwrap();
        campaigns::check::check(&stage.engine, &stage.caller, copy).await.unwrap();
        campaigns::check::run(&stage.engine).await.unwrap();
        let refused = send(&stage, copy).await.unwrap_err();
        assert_eq!((refused.code, refused.errors[0].pointer.as_str()), ("campaign_blocked", "/check/consent"));
        campaigns::start_with(&stage.engine, &stage.caller, &Repeat::NONE, copy, None, Some(true)).await.unwrap();
        stage.pass(20_000).await;
        let seen = view(&stage, copy).await;
        assert_eq!((&seen["accepted"], &seen["excluded"]), (&json!(6_198), &json!(2)));
    }

    async fn a_template_that_was_taken_away_blocks_and_excludes_nobody(db: TestDb) {
        let stage = stage(&db).await;
        let people = people(&stage, 2).await;
        let template = crate::templates::published(&stage, "news", json!({ "en": { "subject": "Hi", "html": "<p>News</p>" } })).await;
        let mut new = campaign(&people);
        new.as_object_mut().unwrap().remove("content");
        new["template"] = json!({ "name": "news" });
        let id = make(&stage, new).await;
        engine::templates::delete(&stage.engine, &stage.caller, template).await.unwrap();
        let report = campaigns::check::check(&stage.engine, &stage.caller, id).await.unwrap();
        let line = report.lines.iter().find(|line| line.code == "template").unwrap();
        assert_eq!((line.level, line.count, report.can_send), (Level::Blocking, 2, false));
        let refused = send(&stage, id).await.unwrap_err();
        assert_eq!((refused.code, refused.errors[0].pointer.as_str()), ("campaign_blocked", "/check/template"));
    }

    async fn missing_variables_of_a_template_are_called_so(db: TestDb) {
        let stage = stage(&db).await;
        let people = people(&stage, 2).await;
        crate::templates::published(&stage, "news", json!({ "en": { "subject": "Hi {{ offer }}", "html": "<p>News</p>" } })).await;
        let mut new = campaign(&people);
        new.as_object_mut().unwrap().remove("content");
        new["template"] = json!({ "name": "news" });
        let id = make(&stage, new).await;
        let report = campaigns::check::check(&stage.engine, &stage.caller, id).await.unwrap();
        let line = |code: &str| report.lines.iter().find(|line| line.code == code);
        assert_eq!(line("missing_variables").map(|line| (line.level, line.count)), Some((Level::Warning, 2)));
        assert!(line("content").is_none() && line("template").is_none());
    }

    async fn a_refused_sender_blocks(db: TestDb) {
        let stage = stage(&db).await;
        let person = contact(&stage, json!({ "phone": "+4915112345678", "first_name": "Ada" })).await;
        let account = stage.account("sandbox", json!({}), Some("+15550100009")).await;
        let sender = json!({ "account_id": account, "from": "+15550100009" });
        engine::senders::create(&stage.engine, &stage.caller, &Repeat::NONE, serde_json::from_value(sender).unwrap()).await.unwrap();
        let (tenant, write) = (stage.tenant, stage.world.ports.db.clone());
        let write = write.write(Scope::System, move |tx| {
            Box::pin(async move {
                tx.execute("UPDATE senders SET state = 'refused', detail = 'Its number was taken back.' WHERE tenant_id = $1", &[&tenant]).await?;
                store::tenants::bump(tx, Some(tenant)).await
            })
        });
        let changed: Result<_, store::Error> = write.await;
        changed.unwrap();
        stage.engine.directory.refresh().await.unwrap();
        let mut new = campaign(&[person]);
        (new["channel"], new["content"]) = (json!("sms"), json!({ "text": "Hi" }));
        new["account_id"] = json!(account);
        let id = make(&stage, new).await;
        let refused = send(&stage, id).await.unwrap_err();
        assert_eq!((refused.code, refused.errors[0].pointer.as_str(), refused.action), ("campaign_blocked", "/check/sender", Some("VERIFY_SENDER")));
    }

    async fn what_costs_too_much_blocks_with_what_it_needs(db: TestDb) {
        let stage = crate::plans::subscribed(&db, "2026-11-10T12:00:00Z", "UTC", json!([{ "channel": "email", "included": 2 }])).await;
        let people = people(&stage, 3).await;
        let id = make(&stage, campaign(&people)).await;
        let line = async |code: &str| {
            let report = campaigns::check::check(&stage.engine, &stage.caller, id).await.unwrap();
            report.lines.into_iter().find(|line| line.code == code)
        };
        let quota = line("quota").await.unwrap();
        assert_eq!((quota.level, quota.count, quota.action), (Level::Blocking, 1, Some("UPGRADE_PLAN")));
        assert!(quota.detail.contains("needs 3") && quota.detail.contains("2 are left"), "{}", quota.detail);
        let refused = send(&stage, id).await.unwrap_err();
        assert_eq!((refused.kind.status(), refused.code, refused.errors[0].pointer.as_str()), (402, "campaign_blocked", "/check/quota"));
        let short = refused.quota.unwrap();
        assert_eq!((short.need, short.used, short.remaining, short.resets_at, short.choices.len()), (3, 0, 2, "2026-12-01T00:00:00Z".parse().unwrap(), 3));
        assert!(refused.shortfall.is_none());
        // A subscription that has ended blocks everything.
        crate::plans::subscribe(&stage, json!({ "canceled_at": "2026-11-01T00:00:00Z" })).await;
        stage.engine.directory.refresh().await.unwrap();
        let ended = line("subscription").await.unwrap();
        assert_eq!((ended.level, ended.count, ended.action), (Level::Blocking, 3, Some("CONTACT_OPERATOR")));
    }

    async fn too_little_credit_blocks_before_anybody_is_written_to(db: TestDb) {
        let stage = crate::money::prepaid(&db, 8).await;
        let people = people(&stage, 3).await;
        let id = make(&stage, campaign(&people)).await;
        let report = campaigns::check::check(&stage.engine, &stage.caller, id).await.unwrap();
        let line = report.lines.iter().find(|line| line.code == "credit").unwrap();
        assert_eq!((line.level, line.count, line.action), (Level::Blocking, 3, Some("ADD_CREDIT")));
        assert_eq!((report.estimated_cost[0].amount_micros, report.estimated_cost[0].currency.as_str()), (9, "USD"));
        let refused = send(&stage, id).await.unwrap_err();
        assert_eq!((refused.kind.status(), refused.errors[0].pointer.as_str()), (402, "/check/credit"));
        let (need, available) = *refused.shortfall.unwrap();
        assert_eq!((need.amount_micros, available.amount_micros, refused.quota), (9, 8, None));
        assert_eq!(messages(&stage).await.len(), 0);
    }
}
