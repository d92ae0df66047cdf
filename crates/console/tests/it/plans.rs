//! Plans, quotas and the operator's invoices: given and changed by the operator, seen by the tenant.

use engine::{invoices::closing, keys::Caller};
use serde_json::json;
use testkit::{Stage, both};

use crate::{
    billing::operator,
    pages::{HOSTILE, in_order},
    visitor::{Shown, Visitor},
};

const MONTH_MS: u64 = 32 * 86_400_000;

/// The address of the first row of a list.
fn first_row(page: &Shown) -> String {
    let (_, rest) = page.text.split_once("class=\"cover\" href=\"").expect("the list has a row");
    rest.split('"').next().unwrap().to_owned()
}

/// Makes a plan with two SMS a month and answers its address.
async fn plan(visitor: &Visitor, name: &str) -> String {
    let fields = [
        ("name", name),
        ("currency", "usd"),
        ("monthly_fee_micros", "49"),
        ("allowances/sms/included", "2"),
        ("allowances/email/included", "1000"),
        ("allowances/email/overage_micros", "0.001"),
    ];
    let made = visitor.post("/console/operator/plans", &fields).await;
    assert_eq!(made.status, 303, "{}", made.text);
    first_row(&visitor.get("/console/operator/plans").await)
}

both! {
    async fn who_pays_afterwards_without_a_plan_has_a_page_and_an_address(db: TestDb) {
        let mut stage = Stage::new(&db).await;
        stage.account("sandbox", json!({}), None).await;
        let visitor = operator(&mut stage).await;
        assert_eq!(visitor.post("/console/billing/mode", &[("mode", "postpaid")]).await.location(), "/console/billing");
        let page = visitor.get("/console/billing/plan").await;
        in_order("without a plan", &page);
        assert!(page.text.contains("is paid afterwards") && page.text.contains("None: by the price list alone"), "{}", page.text);
        let given = [("plan_id", ""), ("customer/email", "billing@acme.example")];
        assert_eq!(visitor.post("/console/billing/plan", &given).await.location(), "/console/billing/plan");
        assert!(visitor.get("/console/billing/plan").await.text.contains("value=\"billing@acme.example\""));
        let outside = visitor.get(&format!("/console/tenants/{}", stage.tenant)).await;
        assert!(outside.text.contains("By the price list alone"), "{}", outside.text);
    }

    async fn who_buys_credit_without_a_plan_has_an_address_and_a_form_left_empty_gives_nothing(db: TestDb) {
        let mut stage = Stage::new(&db).await;
        let visitor = operator(&mut stage).await;
        let path = "/console/billing/plan";
        plan(&visitor, "Studio").await;
        let untouched = visitor.post(path, &[("plan_id", ""), ("customer/name", "")]).await;
        assert!(untouched.status == 422 && untouched.text.contains("f-plan_id-error"), "{}", untouched.text);
        let page = visitor.get(path).await;
        assert!(page.text.contains("No plan") && page.text.contains("None: only whom credit is sold to"), "{}", page.text);
        assert_eq!(visitor.post(path, &[("plan_id", ""), ("customer/name", "Acme Tickets")]).await.location(), path);
        let page = visitor.get(path).await;
        in_order("credit only", &page);
        assert!(page.text.contains("value=\"Acme Tickets\"") && !page.text.contains("by the price list alone"), "{}", page.text);
        let cleared = visitor.post(path, &[("plan_id", ""), ("customer/name", "")]).await;
        assert_eq!(cleared.location(), path, "what was said is taken back");
        assert!(!visitor.get(path).await.text.contains("value=\"Acme Tickets\""));
    }

    async fn a_plan_is_made_given_used_up_and_billed(db: TestDb) {
        let mut stage = Stage::new(&db).await;
        stage.account("sandbox", json!({}), None).await;
        let visitor = operator(&mut stage).await;
        let empty = visitor.get("/console/operator/plans").await;
        in_order("plans", &empty);
        assert!(empty.text.contains("No plans yet"));
        in_order("new plan", &visitor.get("/console/operator/plans/new").await);
        let odd = visitor.post("/console/operator/plans", &[("name", "x"), ("currency", "usd"), ("monthly_fee_micros", "much"), ("allowances/sms/included", "2"), ("allowances/sms/limit", "1"), ("allowances/sms/overage_micros", "1")]).await;
        assert!(odd.status == 422 && odd.text.contains("f-monthly_fee_micros-error"), "{}", odd.text);
        let odd = visitor.post("/console/operator/plans", &[("name", "x"), ("currency", "usd"), ("monthly_fee_micros", "1"), ("allowances/sms/included", "2"), ("allowances/sms/limit", "1"), ("allowances/sms/overage_micros", "1")]).await;
        assert!(odd.status == 422 && odd.text.contains("f-allowances-sms-limit-error"), "{}", odd.text);
        // No font has pictures of people, and what stands on invoices is printed.
        let name = HOSTILE.split(" 👩").next().unwrap();
        let odd = visitor.post("/console/operator/plans", &[("name", HOSTILE), ("currency", "usd"), ("monthly_fee_micros", "1")]).await;
        assert!(odd.status == 422 && odd.text.contains("f-name-error"), "{}", odd.text);
        let path = plan(&visitor, name).await;
        let page = visitor.get(&path).await;
        in_order(&path, &page);
        assert!(page.text.contains("49.00 USD") && page.text.contains("0.001 USD"), "{}", page.text);
        assert_eq!(visitor.post(&path, &[("name", "Studio"), ("is_offered", "true")]).await.location(), path);
        assert!(visitor.get(&path).await.text.contains(">Offered<"));

        let id = path.rsplit('/').next().unwrap().to_owned();
        let page = visitor.get("/console/billing/plan").await;
        in_order("no plan", &page);
        assert!(page.text.contains("No plan") && page.text.contains("Give it this plan"), "{}", page.text);
        let odd = visitor.post("/console/billing/plan", &[("plan_id", &id), ("customer/email", "nobody"), ("customer/tax", "much")]).await;
        assert!(odd.status == 422 && odd.text.contains("f-customer-tax-error"), "{}", odd.text);
        let odd = visitor.post("/console/billing/plan", &[("plan_id", &id), ("customer/email", "nobody")]).await;
        assert!(odd.status == 422 && odd.text.contains("f-customer-email-error"), "{}", odd.text);
        let odd = visitor.post("/console/billing/plan", &[("plan_id", &id), ("customer/name", HOSTILE)]).await;
        assert!(odd.status == 422 && odd.text.contains("f-customer-name-error"), "{}", odd.text);
        let given = [("plan_id", id.as_str()), ("customer/name", name), ("customer/address", "1 High Street\nSpringfield"), ("customer/tax", "VAT 19")];
        assert_eq!(visitor.post("/console/billing/plan", &given).await.location(), "/console/billing/plan");
        stage.engine.directory.catch_up().await;
        for _ in 0..2 {
            stage.send(json!({"to": {"phone": "+12025550123"}, "channel": "sms", "content": {"text": "x"}})).await;
        }
        stage.pass(12_000).await;
        let page = visitor.get("/console/billing/plan").await;
        in_order("plan", &page);
        assert!(page.text.contains("Used up") && page.text.contains("value=\"VAT 19\""), "{}", page.text);
        assert!(visitor.get("/console").await.text.contains("messages are used up"));
        let outside = visitor.get(&format!("/console/tenants/{}", stage.tenant)).await;
        in_order("tenant", &outside);
        assert!(outside.text.contains("Change it inside") && outside.text.contains("Used up"), "{}", outside.text);
        let inside = std::mem::replace(&mut stage.caller, Caller::system(None));
        let looker = Visitor::with_role(&stage, "support").await;
        stage.caller = inside;
        let seen = looker.get(&format!("/console/tenants/{}", stage.tenant)).await.text;
        assert!(seen.contains("See it inside") && !seen.contains("Change it inside"), "{seen}");
        let token = outside.token();
        let into = [("csrf", token.as_str()), ("tenant", &stage.tenant.to_string()), ("next", "/console/billing/plan")];
        assert_eq!(visitor.post_bare("/console/enter", &into).await.location(), "/console/billing/plan");
        let owner = Visitor::new(&stage).await;
        let page = owner.get("/console/billing/plan").await;
        assert!(page.text.contains("Used up") && !page.text.contains("For the operator"), "{}", page.text);
        assert_eq!(owner.post("/console/billing/plan", &given).await.status, 403);

        assert!(visitor.get("/console/billing/invoices").await.text.contains("No invoices yet"));
        stage.world.clock.advance_ms(MONTH_MS);
        closing::run(&stage.engine).await.unwrap();
        let visitor = operator(&mut stage).await;
        let list = visitor.get("/console/billing/invoices").await;
        in_order("invoices", &list);
        assert!(list.text.contains("INV-000001") && list.text.contains("To be paid"), "{}", list.text);
        let path = first_row(&list);
        let page = visitor.get(&path).await;
        in_order(&path, &page);
        assert!(page.text.contains("VAT 19 %") && page.text.contains("1 High Street"), "{}", page.text);
        assert!(page.text.contains("not yet"), "nobody has set up how invoices leave: {}", page.text);
        assert!(visitor.get(&format!("{path}/document")).await.text.starts_with("%PDF-"));
        let owner = Visitor::new(&stage).await;
        let seen = owner.get(&path).await;
        assert!(!seen.text.contains("Record payment") && !seen.text.contains("Take back"), "{}", seen.text);
        for action in ["pay", "void", "renew", "issue", "send", "bill-again"] {
            assert_eq!(owner.post(&format!("{path}/{action}"), &[("reference", "x"), ("reason", "x")]).await.status, 403, "{action}");
        }
        visitor.post(&format!("{path}/pay"), &[("reference", "")]).await;
        assert!(visitor.get(&path).await.text.contains("To be paid"));
        visitor.post(&format!("{path}/pay"), &[("reference", HOSTILE.chars().take(60).collect::<String>().as_str())]).await;
        assert!(visitor.get(&path).await.text.contains(">Paid<"));
        let all = path.replace("/billing/", "/operator/");
        in_order("operator's list", &visitor.get("/console/operator/invoices").await);
        in_order(&all, &visitor.get(&all).await);
        visitor.post(&format!("{all}/void"), &[("reason", "The plan had ended before.")]).await;
        let list = visitor.get("/console/operator/invoices?state=void").await;
        assert!(list.text.contains("INV-000001"), "{}", list.text);
        assert!(visitor.get("/console/operator/invoices").await.text.contains("Credit note"));
        assert!(visitor.get("/console/operator/invoices?state=draft").await.text.contains("No invoice is in this state"));
        // Given away, it is billed after all.
        assert!(visitor.get(&all).await.text.contains("Bill it again"));
        visitor.post(&format!("{all}/bill-again"), &[]).await;
        let page = visitor.get(&all).await;
        in_order(&all, &page);
        assert!(page.text.contains("Billed again") && !page.text.contains("Bill it again"), "{}", page.text);
        let draft = first_row(&visitor.get("/console/operator/invoices?state=draft").await);
        assert!(visitor.get(&draft).await.text.contains("the one taken back"));
        visitor.post(&format!("{draft}/void"), &[("reason", "The plan had ended before.")]).await;
        // Billed again, a draft stands in its place.
        stage.world.clock.advance_ms(MONTH_MS);
        closing::run(&stage.engine).await.unwrap();
        let visitor = operator(&mut stage).await;
        let next = first_row(&visitor.get("/console/operator/invoices?state=issued").await);
        assert!(visitor.get(&next).await.text.contains("is given away"));
        visitor.post(&format!("{next}/void"), &[("reason", "The address was wrong."), ("bills_again", "true")]).await;
        let draft = first_row(&visitor.get("/console/operator/invoices?state=draft").await);
        visitor.post(&format!("{draft}/renew"), &[]).await;
        let page = visitor.get(&draft).await;
        in_order(&draft, &page);
        assert!(page.text.contains("the one taken back") && page.text.contains("Renew customer and tax"), "{}", page.text);
        visitor.post(&format!("{draft}/issue"), &[]).await;
        assert!(visitor.get(&draft).await.text.contains("To be paid"));
    }

    async fn how_invoices_are_written_is_set_by_the_operator(db: TestDb) {
        let mut stage = Stage::new(&db).await;
        let visitor = operator(&mut stage).await;
        let path = "/console/operator/invoices/settings";
        in_order(path, &visitor.get(path).await);
        let fields = [("seller/name", "Tidings Hosting"), ("seller/address", "1 Main Street\r\nBerlin"), ("series", "INV-"), ("credit_note_series", "CN-"), ("due_days", "30"), ("issues_by_itself", "true"), ("taxes", "DE VAT 19\n* VAT 0")];
        assert_eq!(visitor.post(path, &fields).await.location(), path);
        let page = visitor.get(path).await;
        in_order(path, &page);
        assert!(page.text.contains("DE VAT 19\n* VAT 0") && page.text.contains("value=\"30\""), "{}", page.text);
        let wrong: Vec<_> = fields.iter().copied().map(|(name, value)| match name { "due_days" => (name, "soon"), "taxes" => (name, "much"), _ => (name, value) }).collect();
        let page = visitor.post(path, &wrong).await;
        assert!(page.status == 422 && page.text.contains("f-due_days-error") && page.text.contains("f-taxes-error"), "{}", page.text);
        let wrong: Vec<_> = fields.iter().copied().map(|(name, value)| if name == "credit_note_series" { (name, "INV-") } else { (name, value) }).collect();
        let page = visitor.post(path, &wrong).await;
        assert!(page.status == 422 && page.text.contains("f-credit_note_series-error"), "{}", page.text);
        let owner = Visitor::new(&stage).await;
        for path in [path, "/console/operator/invoices", "/console/operator/plans", "/console/operator/plans/new", "/console/operator/alerts", "/console/operator/alerts/rules"] {
            assert_eq!(owner.get(path).await.status, 403, "{path}");
        }
        assert_eq!(owner.post(path, &fields).await.status, 403);
        assert_eq!(owner.post("/console/operator/plans", &[("name", "x")]).await.status, 403);
    }
}
