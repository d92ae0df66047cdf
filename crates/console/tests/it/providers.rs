//! What a provider has about an account: asked when somebody looks, and told as it is.

use model::Call;
use serde_json::json;
use testkit::{Stage, World, both, http_answer};

use crate::{
    pages::{HOSTILE, in_order},
    visitor::Visitor,
};

both! {
    async fn a_provider_shows_whom_it_no_longer_writes_to(db: TestDb) {
        let world = World::answering(&db, |call| match call {
            Call::Http(http) if http.url.contains("/suppression/bounces") => {
                http_answer(200, json!([{"email": "gone@example.com", "reason": HOSTILE, "created": 1_700_000_000, "status": "5.1.1"}]).to_string())
            }
            Call::Http(http) if http.url.contains("/suppression/") => http_answer(200, "[]"),
            Call::Http(http) if http.url.contains("/stats") => {
                let day = json!([{"date": "2026-11-20", "stats": [{"metrics": {"requests": 1234, "delivered": 1200, "bounces": 3, "spam_reports": 1, "opens": 5, "clicks": 2}}]}]);
                http_answer(200, day.to_string())
            }
            _ => http_answer(500, "{}"),
        });
        let stage = Stage::in_world(world).await;
        let account = stage.account("sendgrid", json!({"api_key": "SG.0123456789abcdef"}), Some("news@acme.example")).await;
        let visitor = Visitor::new(&stage).await;
        let path = format!("/console/channels/{account}/provider");
        assert!(visitor.get(&format!("/console/channels/{account}")).await.text.contains(&path));
        let page = visitor.get(&path).await;
        in_order(&path, &page);
        assert!(page.text.contains("gone@example.com") && page.text.contains("At Twilio SendGrid"), "{}", page.text);
        assert!(page.text.contains("1,200") && page.text.contains("2026-11-20"), "{}", page.text);
        let other = visitor.get(&format!("{path}?list=complaints")).await;
        in_order(&path, &other);
        assert!(other.text.contains("Nobody is on it"), "{}", other.text);
        assert_eq!(visitor.post(&format!("{path}/callbacks"), &[]).await.location(), path, "the provider refuses, and that is told");
        let viewer = Visitor::with_role(&stage, "viewer").await;
        assert!(!viewer.get(&path).await.text.contains("Set up callbacks"));
        assert_eq!(viewer.post(&format!("{path}/callbacks"), &[]).await.status, 403);
    }

    async fn a_provider_that_shows_nothing_or_gives_no_answer_is_told_as_that(db: TestDb) {
        let world = World::answering(&db, |_| http_answer(503, "{}"));
        let stage = Stage::in_world(world).await;
        let sandbox = stage.account("sandbox", json!({}), None).await;
        let down = stage.account("sendgrid", json!({"api_key": "SG.0123456789abcdef"}), Some("news@acme.example")).await;
        let visitor = Visitor::new(&stage).await;
        let page = visitor.get(&format!("/console/channels/{sandbox}/provider")).await;
        in_order("sandbox", &page);
        assert!(page.text.contains("It shows no figures") && page.text.contains("It shows no such list"), "{}", page.text);
        let page = visitor.get(&format!("/console/channels/{down}/provider")).await;
        in_order("down", &page);
        assert!(page.text.matches("The provider gave no answer").count() >= 2, "{}", page.text);
    }
}
