//! Credit and prices: what the operator does is seen, and nobody else does it.

use engine::{
    keys::Caller,
    money::{
        BillingMode,
        credits::{self, CreditsPatch, NewPurchase},
    },
    once::Repeat,
    patch::Patch,
};
use serde_json::json;
use testkit::{Stage, both};

use crate::{
    pages::{HOSTILE, in_order},
    visitor::Visitor,
};

/// One of the operator's staff, inside of the stage's tenant.
pub async fn operator(stage: &mut Stage) -> Visitor {
    let inside = std::mem::replace(&mut stage.caller, Caller::system(None));
    let visitor = Visitor::with_role(stage, "admin").await;
    stage.caller = inside;
    let token = visitor.get("/console/tenants").await.token();
    let entered = visitor.post_bare("/console/enter", &[("csrf", &token), ("tenant", &stage.tenant.to_string())]).await;
    assert_eq!(entered.status, 303, "{}", entered.text);
    visitor
}

const ROWS: &str = "channel,unit,amount_micros\nsms,segment,9000\nemail,message,400";

both! {
    async fn the_operators_log_says_in_whose_tenant_it_was_done(db: TestDb) {
        let mut stage = Stage::new(&db).await;
        let visitor = operator(&mut stage).await;
        visitor.post("/console/billing/mode", &[("mode", "prepaid")]).await;
        let banner = visitor.get("/console/billing").await.text;
        assert!(banner.contains("What you change here is in both audit logs"), "{banner}");
        let log = visitor.get("/console/operator/system").await;
        in_order("system", &log);
        let link = format!("href=\"/console/operator/system?tenant={}\"", stage.tenant);
        assert!(log.text.contains(&link) && log.text.contains("Credits updated"), "{}", log.text);
        let narrowed = visitor.get(&format!("/console/operator/system?tenant={}", stage.tenant)).await;
        in_order("narrowed", &narrowed);
        assert!(narrowed.text.contains("Credits updated") && !narrowed.text.contains("User signed in"), "{}", narrowed.text);
        let other = visitor.get("/console/operator/system?tenant=ten_01K9ZC8Q6T7Y2V5B3N4M1XWRSD").await;
        assert!(other.text.contains("No entry matches"), "{}", other.text);
    }

    async fn the_operator_publishes_prices_and_records_a_purchase_once(db: TestDb) {
        let mut stage = Stage::new(&db).await;
        stage.account("sandbox", json!({}), None).await;
        let visitor = operator(&mut stage).await;
        let empty = visitor.get("/console/operator/prices").await;
        in_order("prices", &empty);
        assert!(empty.text.contains("No price lists yet"));
        in_order("new", &visitor.get("/console/operator/prices/new").await);
        let odd = visitor.post("/console/operator/prices", &[("currency", "usd"), ("csv", "channel,unit,amount_micros\nsms,part,1"), ("note", HOSTILE)]).await;
        assert!(odd.status == 422 && odd.text.contains("line 2") && odd.text.contains("f-csv-error"), "{}", odd.text);
        let made = visitor.post("/console/operator/prices", &[("currency", "usd"), ("csv", ROWS), ("note", HOSTILE)]).await;
        assert_eq!(made.location(), "/console/operator/prices", "{}", made.text);
        let list = visitor.get("/console/operator/prices").await;
        in_order("prices", &list);
        assert!(list.text.contains("Counts now") && !list.text.contains("0.009 USD"), "a list of lists has no prices: {}", list.text);
        let shown = visitor.get("/console/operator/prices/1").await;
        in_order("list", &shown);
        assert!(shown.text.contains("2 prices") && shown.text.contains("0.009 USD"), "{}", shown.text);
        for unknown in ["9", "x"] {
            assert_eq!(visitor.get(&format!("/console/operator/prices/{unknown}")).await.status, 404);
        }
        assert!(visitor.get("/console/operator/prices/new").await.text.contains("sms,,,,,,segment,9000,,"), "the next list begins with this one");

        let page = visitor.get("/console/billing").await;
        in_order("billing", &page);
        assert!(page.text.contains("Messages are not charged") && page.text.contains("Record a purchase"), "{}", page.text);
        visitor.post("/console/billing/mode", &[("mode", "prepaid")]).await;
        let bought = [("amount", "12,50"), ("reference", HOSTILE), ("key", "one")];
        for _ in 0..2 {
            assert_eq!(visitor.post("/console/billing/purchase", &bought).await.location(), "/console/billing");
        }
        for (amount, reason) in [("-2.5", "too much"), ("much", "x"), ("1,000", "x"), ("1", "")] {
            visitor.post("/console/billing/adjust", &[("adjust_amount", amount), ("reason", reason), ("key", amount)]).await;
        }
        stage.engine.directory.catch_up().await;
        stage.send(json!({"to": {"phone": "+12025550123"}, "channel": "sms", "content": {"text": "x"}})).await;
        stage.pass(12_000).await;
        let page = visitor.get("/console/billing").await;
        in_order("billing", &page);
        for seen in ["9.991 USD", "−2.50 USD", "Charged", "Set aside", "Bought", "too much"] {
            assert!(page.text.contains(seen), "{seen} is not shown: {}", page.text);
        }
        assert_eq!(page.text.matches(">12.50 USD<").count(), 2, "one purchase, in the sums and in the statement");
        let file = visitor.get("/console/billing/statement.csv").await;
        assert!(file.text.starts_with("number,at,kind,") && file.text.contains(",purchase,"), "{}", file.text);
        assert!(visitor.get("/console/billing/prices").await.text.contains("0.0004 USD"));
        let later = visitor.post("/console/operator/prices", &[("currency", "usd"), ("csv", "channel,unit,amount_micros\nsms,segment,7000"), ("valid_from", "2031-01-01T00:00"), ("note", HOSTILE)]).await;
        assert_eq!(later.location(), "/console/operator/prices", "{}", later.text);
        let mine = visitor.get("/console/billing/prices").await;
        in_order("prices", &mine);
        assert!(mine.text.contains("/console/billing/prices/2") && !mine.text.contains("0.007 USD"), "{}", mine.text);
        let coming = visitor.get("/console/billing/prices/2").await;
        in_order("coming", &coming);
        assert!(coming.text.contains("0.007 USD"), "{}", coming.text);
        assert!(visitor.get("/console").await.text.contains("See the statement"));

        // Other prices are tried on what was sent, and nothing changes by it.
        let tried = visitor.post("/console/operator/prices/try", &[("currency", "usd"), ("csv", "channel,unit,amount_micros\nsms,segment,18000"), ("note", HOSTILE)]).await;
        in_order("tried", &tried);
        assert!(tried.text.contains("0.018 USD") && tried.text.contains("0.009 USD of difference") && tried.text.contains("sms,segment,18000"), "{}", tried.text);
        let odd = visitor.post("/console/operator/prices/try", &[("currency", "usd"), ("csv", "channel,unit,amount_micros\nsms,part,1")]).await;
        assert!(odd.status == 422 && odd.text.contains("f-csv-error"), "{}", odd.text);
        assert!(!visitor.get("/console/operator/prices").await.text.contains("0.018 USD"));
    }

    async fn a_tenant_sees_its_credit_and_moves_none_of_it(db: TestDb) {
        let stage = Stage::new(&db).await;
        let (parts, mode) = (stage.engine.parts(), CreditsPatch { mode: Some(BillingMode::Prepaid), ..CreditsPatch::default() });
        credits::patch(parts, &stage.caller, mode).await.unwrap();
        let new = NewPurchase { amount_micros: 5_000_000, tax: Patch::Keep, reference: "transfer".to_owned() };
        credits::purchase(parts, &stage.caller, &Repeat::NONE, new).await.unwrap();
        let visitor = Visitor::new(&stage).await;
        let page = visitor.get("/console/billing").await;
        assert!(page.text.contains("5.00 USD") && !page.text.contains("Record a purchase"), "{}", page.text);
        for action in ["purchase", "adjust", "mode"] {
            let refused = visitor.post(&format!("/console/billing/{action}"), &[("amount", "1"), ("reference", "x"), ("mode", "none")]).await;
            assert_eq!(refused.status, 403, "{action}");
        }
        let viewer = Visitor::with_role(&stage, "viewer").await;
        assert_eq!(viewer.get("/console/billing").await.status, 403);
        assert!(!viewer.get("/console").await.text.contains("See the statement"));
        assert_eq!(viewer.get("/console/billing/prices").await.status, 200);
        for path in ["/console/operator/prices", "/console/operator/prices/new", "/console/operator/prices/1"] {
            assert_eq!(visitor.get(path).await.status, 403, "{path}");
        }
    }
}
