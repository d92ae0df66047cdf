//! Senders and domains: added, looked up, and only looked at by those who may not set up a channel.

use serde_json::json;
use testkit::{Stage, both};

use crate::{pages::in_order, visitor::Visitor};

both! {
    async fn a_domain_and_a_sender_are_added_and_their_state_is_told(db: TestDb) {
        let stage = Stage::new(&db).await;
        let account = stage.account("sandbox", json!({}), None).await.to_string();
        let visitor = Visitor::new(&stage).await;
        let odd = visitor.post("/console/senders/domains", &[("domain-account", &account), ("domain", "not a domain")]).await;
        assert_eq!(odd.location(), "/console/senders");
        visitor.post("/console/senders/domains", &[("domain-account", &account), ("domain", "acme.example")]).await;
        visitor.post("/console/senders", &[("sender-account", &account), ("from", "Acme <news@acme.example>")]).await;
        let page = visitor.get("/console/senders").await;
        in_order("senders", &page);
        assert!(page.text.contains(">acme.example<") && page.text.contains("news@acme.example") && page.text.contains("DNS records to publish"), "{}", page.text);
        let path_of = |what: &str| {
            let (_, rest) = page.text.split_once(&format!("action=\"/console/senders/{what}")).unwrap();
            format!("/console/senders/{what}{}", rest.split_once("/verify").unwrap().0)
        };
        let (domain, sender) = (path_of("domains/"), path_of("snd_"));
        for path in [&domain, &sender] {
            assert_eq!(visitor.post(&format!("{path}/verify"), &[]).await.location(), "/console/senders");
        }
        assert_eq!(visitor.post(&format!("{sender}/default"), &[]).await.status, 303);
        assert!(visitor.get("/console/senders").await.text.contains(">Default<"));
        let viewer = Visitor::with_role(&stage, "viewer").await;
        let looked = viewer.get("/console/senders").await.text;
        assert!(!looked.contains("Add sender") && !looked.contains(">Verify<") && !looked.contains(">Delete<"), "{looked}");
        for path in [format!("{domain}/verify"), format!("{sender}/delete"), "/console/senders/domains".to_owned(), "/console/senders".to_owned()] {
            assert_eq!(viewer.post(&path, &[("sender-account", &account), ("domain-account", &account)]).await.status, 403, "{path}");
        }
        visitor.post(&format!("{sender}/delete"), &[]).await;
        visitor.post(&format!("{domain}/delete"), &[]).await;
        let page = visitor.get("/console/senders").await.text;
        assert!(page.contains("No mail domains"), "{page}");
    }
}
