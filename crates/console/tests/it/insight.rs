//! Charts and comparisons: what they say is what was sent.

use serde_json::json;
use testkit::{Stage, both};

use crate::{
    billing::operator,
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
        for by in ["channel", "provider", "account", "campaign", "variant", "template", "topic", "purpose", "country", "nonsense"] {
            in_order(by, &visitor.get(&format!("/console/analytics?by={by}")).await);
        }
        // One row of the comparison narrows the page, and leads back.
        let sandbox = visitor.get("/console/analytics?by=provider&provider=sandbox&purpose=transactional").await;
        in_order("narrowed", &sandbox);
        assert!(sandbox.text.contains("Show all again, not only Sandbox") && sandbox.text.contains("href=\"/console/analytics?purpose=transactional&amp;by=provider\""), "{}", sandbox.text);
        assert!(sandbox.text.contains("href=\"/console/analytics/export?purpose=transactional&amp;provider=sandbox&amp;by=provider\""), "{}", sandbox.text);
        let none = visitor.get("/console/analytics?topic=weather").await;
        assert!(none.text.contains("Nothing of this was sent") && none.text.contains("Show everything"), "{}", none.text);
        assert_eq!(visitor.get("/console/analytics?country=nowhere").await.status, 400);
        let file = visitor.get("/console/analytics/export?by=channel").await;
        assert!(file.text.starts_with("period,channel,accepted,") && file.text.contains(",email,2,"), "{}", file.text);
        assert_eq!(file.headers["content-disposition"], "attachment; filename=\"analytics.csv\"");
    }

    async fn topics_stand_side_by_side(db: TestDb) {
        let stage = Stage::new(&db).await;
        three_messages(&stage).await;
        stage.send(json!({"to": {"email": "ada@example.com"}, "topic": "news", "content": {"subject": "Hi", "text": "x"}})).await;
        let visitor = Visitor::new(&stage).await;
        let page = visitor.get("/console/analytics?by=topic").await;
        in_order("analytics", &page);
        assert!(page.text.contains("title=\"news\"") && page.text.contains("title=\"Without a topic\""), "{}", page.text);
        assert!(page.text.contains("href=\"/console/analytics?topic=news&amp;by=topic\" aria-label=\"Only this: news\""), "{}", page.text);
    }

    async fn the_operator_sees_every_tenants_figures(db: TestDb) {
        let mut stage = Stage::new(&db).await;
        three_messages(&stage).await;
        let visitor = operator(&mut stage).await;
        let page = visitor.get("/console/operator/analytics").await;
        in_order("operator", &page);
        assert!(page.text.contains("Every tenant's messages") && page.text.contains(&format!("href=\"/console/tenants/{}\"", stage.tenant)), "{}", page.text);
        for by in ["tenant", "channel", "provider", "topic", "purpose", "country", "campaign"] {
            in_order(by, &visitor.get(&format!("/console/operator/analytics?period=year&by={by}")).await);
        }
        let file = visitor.get("/console/operator/analytics/export?by=tenant").await;
        assert!(file.text.starts_with("period,tenant_id,accepted,"), "{}", file.text);
        let member = Visitor::with_role(&stage, "owner").await;
        assert_eq!(member.get("/console/operator/analytics").await.status, 403);
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
