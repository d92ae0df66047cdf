//! Campaigns: built, checked, sent, paused and looked at.

use engine::{contacts::lists, once::Repeat};
use serde_json::json;
use testkit::{Stage, both};

use crate::{
    pages::{HOSTILE, in_order},
    visitor::Visitor,
};

/// A list with so many contacts on it.
async fn audience(stage: &Stage, size: usize) -> String {
    let new = lists::NewList { name: HOSTILE.to_owned(), description: None };
    let reply = lists::create(&stage.engine, &stage.caller, &Repeat::NONE, new).await.unwrap();
    let list: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
    let list: model::ListId = list["id"].as_str().unwrap().parse().unwrap();
    let mut ids = Vec::new();
    for number in 0..size {
        let new = serde_json::from_value(json!({"email": format!("reader{number}@example.com"), "first_name": "Ada"}))
            .unwrap();
        let reply = engine::contacts::create(&stage.engine, &stage.caller, &Repeat::NONE, new).await.unwrap();
        let contact: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
        ids.push(contact["id"].as_str().unwrap().parse().unwrap());
    }
    lists::change_members(
        &stage.engine,
        &stage.caller,
        &Repeat::NONE,
        list,
        lists::Way::Add,
        lists::Members { contact_ids: ids },
    )
    .await
    .unwrap();
    list.to_string()
}

both! {
    async fn a_campaign_is_built_checked_sent_and_followed(db: TestDb) {
        let stage = Stage::new(&db).await;
        let visitor = Visitor::new(&stage).await;
        let list = audience(&stage, 3).await;
        let fields = [("channel", "email"), ("name", HOSTILE), ("purpose", "transactional"), ("says", "content"), ("content/subject", "Hi {{ contact.first_name }}"), ("content/text", "There is news"), ("audience/lists", list.as_str())];
        let made = visitor.post("/console/campaigns", &fields).await;
        assert_eq!(made.status, 303, "{}", made.text);
        let path = made.location().to_owned();
        in_order(&path, &visitor.get(&path).await);
        let check = visitor.get(&format!("{path}/check")).await.text;
        assert!(check.contains("Something is in the way") && check.contains("/console/channels/new?channel=email"), "{check}");
        let refused = visitor.post(&format!("{path}/send"), &[]).await;
        assert_eq!(refused.location(), path);
        assert!(visitor.get(&path).await.text.contains(">Draft<"));

        stage.account("sandbox", json!({}), None).await;
        let check = visitor.get(&format!("{path}/check")).await.text;
        assert!(check.contains("It can be sent") && check.contains("3 of the 3 recipients"), "{check}");
        let edit = visitor.get(&format!("{path}/edit")).await;
        in_order("edit", &edit);
        assert!(edit.text.contains("There is news") && edit.text.contains(&format!("value=\"{list}\" checked")), "{}", edit.text);
        let mut changed = fields.to_vec();
        changed[1].1 = "Second try";
        assert_eq!(visitor.post(&format!("{path}/edit"), &changed).await.location(), path);

        assert_eq!(visitor.post(&format!("{path}/send"), &[]).await.status, 303);
        let page = visitor.get(&path).await;
        in_order(&path, &page);
        assert!(page.text.contains(">Sending<") && page.text.contains(">Pause<") && !page.text.contains("Send campaign"), "{}", page.text);
        assert_eq!(visitor.post(&format!("{path}/pause"), &[]).await.status, 303);
        assert!(visitor.get(&path).await.text.contains("It is paused"));
        assert_eq!(visitor.post(&format!("{path}/resume"), &[]).await.status, 303);
        stage.pass(20_000).await;
        let page = visitor.get(&path).await;
        in_order(&path, &page);
        assert!(page.text.contains("reader0@example.com") && page.text.contains(">Sent<"), "{}", page.text);
        let file = visitor.get(&format!("{path}/recipients.csv")).await;
        assert!(file.text.starts_with("contact_id,") && file.text.contains("reader2@example.com"), "{}", file.text);
        let list = visitor.get("/console/campaigns").await;
        in_order("list", &list);
        assert!(list.text.contains("Second try") && list.text.contains("3 of 3"), "{}", list.text);
        let copy = visitor.post(&format!("{path}/duplicate"), &[]).await;
        assert_eq!(visitor.post(&format!("{}/delete", copy.location()), &[]).await.location(), "/console/campaigns");
    }

    async fn a_test_between_two_texts_is_built_and_shown(db: TestDb) {
        let stage = Stage::new(&db).await;
        stage.account("sandbox", json!({}), None).await;
        let visitor = Visitor::new(&stage).await;
        let list = audience(&stage, 4).await;
        let fields = [
            ("channel", "email"), ("name", "A or B"), ("purpose", "transactional"), ("says", "variants"), ("audience/lists", list.as_str()),
            ("variants/0/content/subject", "A"), ("variants/0/content/text", "First"), ("variants/1/content/subject", "B"), ("variants/1/content/text", "Second"),
            ("test/percent", "50"), ("test/metric", "delivered"), ("test/duration_s", "1"),
        ];
        let wrong: Vec<_> = fields.iter().copied().map(|(name, value)| if name == "test/percent" { (name, "many") } else { (name, value) }).collect();
        let refused = visitor.post("/console/campaigns", &wrong).await;
        assert!(refused.status == 422 && refused.text.contains("f-test-percent-error") && refused.text.contains("value=\"many\""), "{}", refused.text);
        let made = visitor.post("/console/campaigns", &fields).await;
        assert_eq!(made.status, 303, "{}", made.text);
        let path = made.location().to_owned();
        assert!(visitor.get(&path).await.text.contains("2 variants on 50 %"));
        assert_eq!(visitor.post(&format!("{path}/send"), &[]).await.status, 303);
        stage.pass(20_000).await;
        let page = visitor.get(&path).await;
        in_order(&path, &page);
        assert!(page.text.contains("Variant A") && page.text.contains("Send to the rest"), "{}", page.text);
        let chosen = visitor.post(&format!("{path}/winner"), &[("variant", "1")]).await;
        assert_eq!(chosen.status, 303);
        assert!(visitor.get(&path).await.text.contains("Winner"));
    }

    async fn nobody_in_the_audience_is_said_and_a_viewer_only_looks(db: TestDb) {
        let stage = Stage::new(&db).await;
        stage.account("sandbox", json!({}), None).await;
        let visitor = Visitor::new(&stage).await;
        let refused = visitor.post("/console/campaigns", &[("channel", "sms"), ("name", "x"), ("says", "content"), ("content/text", "x")]).await;
        assert!(refused.status == 422 && refused.text.contains("say whom it is for"), "{}", refused.text);
        let list = audience(&stage, 1).await;
        let made = visitor.post("/console/campaigns", &[("channel", "email"), ("name", "x"), ("says", "content"), ("content/subject", "x"), ("content/text", "x"), ("audience/lists", &list)]).await;
        let path = made.location().to_owned();
        let viewer = Visitor::with_role(&stage, "viewer").await;
        let page = viewer.get(&path).await;
        in_order(&path, &page);
        for absent in ["Send campaign", ">Edit<", "Duplicate", "Delete", "Schedule"] {
            assert!(!page.text.contains(absent), "{absent} is shown");
        }
        assert!(!viewer.get("/console/campaigns").await.text.contains("New campaign"));
        for path in ["/console/campaigns/new".to_owned(), format!("{path}/edit")] {
            assert_eq!(viewer.get(&path).await.status, 403, "{path}");
        }
        for action in ["send", "schedule", "pause", "resume", "cancel", "duplicate", "delete", "edit"] {
            let answer = viewer.post(&format!("{path}/{action}"), &[("start_at", "2030-01-01T10:00")]).await;
            assert_eq!(answer.status, 403, "{action}");
        }
    }
}
