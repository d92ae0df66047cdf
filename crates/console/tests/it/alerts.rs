//! Alerts: seen, taken care of, ended, and the rules they come from.

use engine::alerts;
use serde_json::json;
use testkit::{Stage, both};

use crate::{
    billing::operator,
    pages::{HOSTILE, in_order},
    visitor::Visitor,
};

/// An account that a provider refuses, for long enough that its rule fires.
async fn alerted(stage: &Stage) {
    stage.account("sandbox", json!({}), None).await;
    stage.send(json!({"to": {"email": "account@example.com"}, "content": {"subject": "Hi", "text": "x"}})).await;
    for _ in 0..15 {
        stage.world.clock.advance_ms(60_000);
        stage.tick().await;
        alerts::watch(&stage.engine).await.unwrap();
    }
}

/// The address of a form that ends so.
fn action(text: &str, end: &str) -> String {
    let found = text.split("action=\"").map(|rest| rest.split('"').next().unwrap()).find(|path| path.ends_with(end));
    found.unwrap_or_else(|| panic!("no form leads to {end}: {text}")).to_owned()
}

both! {
    async fn an_alert_is_seen_acknowledged_and_ended(db: TestDb) {
        let stage = Stage::new(&db).await;
        let visitor = Visitor::new(&stage).await;
        assert!(visitor.get("/console/alerts").await.text.contains("Nothing is the matter"));
        alerted(&stage).await;
        let page = visitor.get("/console/alerts").await;
        in_order("alerts", &page);
        assert!(page.text.contains(">Critical<") && page.text.contains("The account"), "{}", page.text);
        assert!(visitor.get("/console").await.text.contains("See alerts"));
        let viewer = Visitor::with_role(&stage, "viewer").await;
        let seen = viewer.get("/console/alerts").await.text;
        assert!(seen.contains(">Critical<") && !seen.contains("Acknowledge"), "{seen}");
        let path = action(&page.text, "/acknowledge");
        assert_eq!(viewer.post(&path, &[]).await.status, 403);
        assert_eq!(visitor.post(&path, &[("note", HOSTILE)]).await.location(), "/console/alerts");
        let page = visitor.get("/console/alerts").await;
        in_order("acknowledged", &page);
        assert!(page.text.contains(">Acknowledged<") && page.text.contains("&lt;script&gt;"), "{}", page.text);
        assert!(page.text.contains(" by <span dir=\"auto\">") && !page.text.contains(">usr_"), "who takes care of it is named: {}", page.text);
        assert!(!visitor.get("/console").await.text.contains("See alerts"), "somebody takes care of it");
        visitor.post(&action(&page.text, "/resolve"), &[]).await;
        assert!(visitor.get("/console/alerts").await.text.contains("Nothing is the matter"));
        let over = visitor.get("/console/alerts?state=resolved").await.text;
        assert!(over.contains(">Over<") && over.contains(", ended by "), "{over}");
        let again = visitor.post(&path, &[]).await;
        assert!(again.headers["set-cookie"].to_str().unwrap().contains("said=bad.This%20alert%20was%20over"), "what is over stays over");
    }

    async fn rules_are_made_changed_tried_and_deleted(db: TestDb) {
        let mut stage = Stage::new(&db).await;
        let account = stage.account("sandbox", json!({}), None).await.to_string();
        let visitor = Visitor::new(&stage).await;
        let list = visitor.get("/console/alerts/rules").await;
        in_order("rules", &list);
        assert!(list.text.contains("Admins") && list.text.contains("Watching"), "{}", list.text);
        let made = visitor.post("/console/alerts/rules", &[("kind", "bounce_rate"), ("name", HOSTILE), ("threshold", "7.5")]).await;
        let path = made.location().to_owned();
        let page = visitor.get(&path).await;
        in_order(&path, &page);
        assert!(page.text.contains("value=\"7.5\"") && page.text.contains("In percent."), "{}", page.text);
        let fields = [("name", "Newsletter bounces"), ("threshold", "3"), ("over_s", "1 d"), ("at_least", "50"), ("account_id", account.as_str()), ("for_s", "0 s"), ("quiet_s", "60 min"), ("deliver", "email ops@acme.example"), ("enabled", "on")];
        let wrong: Vec<_> = fields.iter().copied().map(|(name, value)| match name { "threshold" => (name, "much"), "deliver" => (name, "pigeon Ada"), "quiet_s" => (name, "a while"), _ => (name, value) }).collect();
        let refused = visitor.post(&path, &wrong).await;
        assert!(refused.status == 422 && refused.text.contains("f-threshold-error") && refused.text.contains("f-deliver-error") && refused.text.contains("value=\"a while\""), "{}", refused.text);
        assert_eq!(visitor.post(&path, &fields).await.location(), "/console/alerts/rules", "{}", visitor.post(&path, &fields).await.text);
        let page = visitor.get(&path).await;
        assert!(page.text.contains("email ops@acme.example") && page.text.contains("value=\"1 h\"") && page.text.contains(&format!("value=\"{account}\" selected")), "{}", page.text);
        assert_eq!(visitor.post(&format!("{path}/test"), &[]).await.location(), path);
        let budget = visitor.post("/console/alerts/rules", &[("kind", "cost"), ("threshold", "250"), ("currency", "EUR")]).await.location().to_owned();
        let page = visitor.get(&budget).await;
        assert!(page.text.contains("name=\"currency\"") && page.text.contains("value=\"EUR\""), "{}", page.text);
        let fields_of = |currency| [("name", "Budget"), ("threshold", "300"), ("currency", currency), ("for_s", "0 s"), ("quiet_s", "1 h"), ("deliver", "email admins"), ("enabled", "on")];
        let refused = visitor.post(&budget, &fields_of("euro")).await;
        assert!(refused.status == 422 && refused.text.contains("f-currency-error"), "{}", refused.text);
        assert_eq!(visitor.post(&budget, &fields_of("INR")).await.location(), "/console/alerts/rules");
        assert!(visitor.get("/console/alerts/rules").await.text.contains("300.00 INR"));
        let viewer = Visitor::with_role(&stage, "viewer").await;
        let seen = viewer.get(&path).await.text;
        assert!(!seen.contains(">Save<") && !seen.contains("Delete"), "{seen}");
        for action in ["", "/test", "/delete"] {
            assert_eq!(viewer.post(&format!("{path}{action}"), &fields).await.status, 403, "{action}");
        }
        assert_eq!(visitor.post(&format!("{path}/delete"), &[]).await.location(), "/console/alerts/rules");
        assert_eq!(visitor.get(&path).await.status, 404);
        let operator = operator(&mut stage).await;
        in_order("operator's alerts", &operator.get("/console/operator/alerts").await);
        let rules = operator.get("/console/operator/alerts/rules").await;
        in_order("operator's rules", &rules);
        assert!(rules.text.contains("/console/operator/alerts/rules/alr_"), "{}", rules.text);
    }
}
