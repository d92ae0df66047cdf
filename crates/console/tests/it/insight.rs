//! Charts and comparisons: what they say is what was sent.

use serde_json::json;
use testkit::{Stage, both};

use crate::{
    pages::{HOSTILE, in_order},
    visitor::Visitor,
};

/// An account, and three messages: two that were read and one that bounced.
async fn three_messages(stage: &Stage) -> String {
    let account = stage.account("sandbox", json!({}), None).await;
    let mail = |to: &str| json!({"to": {"email": to}, "content": {"subject": "Hi", "text": "x"}});
    stage.send(mail("ada@example.com")).await;
    stage.send(json!({"to": {"phone": "+12025550123"}, "channel": "sms", "content": {"text": "x"}})).await;
    stage.send(mail("bounce@sandbox.example")).await;
    stage.pass(12_000).await;
    account.to_string()
}

both! {
    async fn what_was_sent_is_drawn_and_stands_in_a_table_behind(db: TestDb) {
        let stage = Stage::new(&db).await;
        let visitor = Visitor::new(&stage).await;
        assert!(visitor.get("/console/analytics").await.text.contains("Nothing was sent"));
        three_messages(&stage).await;
        let page = visitor.get("/console/analytics").await;
        in_order("analytics", &page);
        let today = stage.engine.ports.clock.now().jiff().to_zoned(jiff::tz::TimeZone::UTC).strftime("%-d %b").to_string();
        assert!(page.text.contains(&format!("<th scope=\"row\">{today}</th><td>2</td><td>0</td><td>1</td>")), "{}", page.text);
        assert_eq!(page.text.matches("role=\"img\" aria-label=\"Messages over time\"").count(), 1);
        let week = visitor.get("/console/analytics?period=week&channel=sms").await;
        assert!(week.text.contains("value=\"week\" selected") && week.text.contains(&format!("<th scope=\"row\">{today}</th><td>1</td>")), "{}", week.text);
        for by in ["channel", "provider", "account", "campaign", "template", "country", "nonsense"] {
            in_order(by, &visitor.get(&format!("/console/analytics?by={by}")).await);
        }
        let file = visitor.get("/console/analytics/export?by=channel").await;
        assert!(file.text.starts_with("period,channel,accepted,") && file.text.contains(",email,2,"), "{}", file.text);
        assert_eq!(file.headers["content-disposition"], "attachment; filename=\"analytics.csv\"");
    }

    async fn names_are_told_and_what_is_gone_keeps_its_figures(db: TestDb) {
        let stage = Stage::new(&db).await;
        let visitor = Visitor::new(&stage).await;
        let made = visitor.post("/console/channels/new/sandbox", &[("name", HOSTILE), ("channels", "sms"), ("default_for", "sms"), ("enabled", "true")]).await;
        let account = made.location().to_owned();
        stage.send(json!({"to": {"phone": "+12025550123"}, "channel": "sms", "content": {"text": "x"}})).await;
        stage.pass(12_000).await;
        let page = visitor.get("/console/analytics?by=account").await;
        in_order("analytics", &page);
        assert!(page.text.contains("Donaudampf") && page.text.contains(&format!("href=\"{account}\"")), "{}", page.text);
        let shown = visitor.get(&account).await;
        in_order("account", &shown);
        assert!(shown.text.contains("Messages through this account by day"), "{}", shown.text);
        visitor.post(&format!("{account}/delete"), &[]).await;
        let page = visitor.get("/console/analytics?by=account").await.text;
        assert!(page.contains("An account that is gone"), "{page}");
    }

    async fn the_first_page_counts_exactly_and_shows_the_trend(db: TestDb) {
        let stage = Stage::new(&db).await;
        three_messages(&stage).await;
        let visitor = Visitor::new(&stage).await;
        let page = visitor.get("/console").await;
        in_order("home", &page);
        assert!(page.text.contains("<span class=\"value\">3</span>") && page.text.contains("E-mail by day, the last 14 days"), "{}", page.text);
        stage.world.clock.advance_ms(86_400_000);
        // Sessions do not last until then.
        let later = Visitor::with_role(&stage, "viewer").await;
        let tomorrow = later.get("/console").await;
        in_order("home", &tomorrow);
        assert!(tomorrow.text.contains("0 today") && !tomorrow.text.contains("3 today"), "{}", tomorrow.text);
    }
}
