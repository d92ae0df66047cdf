//! Invoices: written, looked at, sent once, and listed with what became of them.

use serde_json::json;
use testkit::{Stage, both};

use crate::{
    pages::{HOSTILE, in_order},
    visitor::Visitor,
};

fn form<'a>(number: &'a str, price: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![
        ("key", number),
        ("to/email", "ada@example.com"),
        ("channel", "email"),
        ("invoice/number", number),
        ("invoice/currency", "EUR"),
        ("invoice/issue_date", "2026-11-29"),
        ("invoice/seller/name", "Acme"),
        ("invoice/buyer/name", "Babbage"),
        ("invoice/lines/0/description", "Consulting"),
        ("invoice/lines/0/quantity", "2.5"),
        ("invoice/lines/0/unit_price_micros", price),
        ("invoice/lines/0/tax_percent", "19"),
    ]
}

both! {
    async fn an_invoice_is_written_looked_at_sent_and_listed(db: TestDb) {
        let stage = Stage::new(&db).await;
        stage.account("sandbox", json!({}), None).await;
        let visitor = Visitor::new(&stage).await;
        in_order("new", &visitor.get("/console/invoices/new").await);
        let seen = visitor.post("/console/invoices/preview", &form("7", "100")).await;
        assert_eq!(seen.status, 200, "{}", seen.text);
        assert_eq!(seen.headers["content-type"], "application/pdf");
        assert!(seen.text.starts_with("%PDF-"));
        let sent = visitor.post("/console/invoices", &form("7", "100")).await;
        assert_eq!(sent.location(), "/console/invoices");
        visitor.post("/console/invoices", &form("7", "100")).await;
        let page = visitor.get("/console/invoices").await;
        in_order("invoices", &page);
        assert_eq!(page.text.matches("invoice-7.pdf").count(), 1, "the same form sent twice sends once: {}", page.text);
        assert!(page.text.contains("EUR 297.50") && page.text.contains("ada@example.com"), "{}", page.text);
        let path = page.text.split("href=\"").find(|rest| rest.contains("/document\"")).unwrap().split('"').next().unwrap();
        assert!(visitor.get(path).await.text.starts_with("%PDF-"));
        assert!(visitor.get("/console/invoices?number=8").await.text.contains("No invoice has this number"));
    }

    async fn what_is_wrong_is_said_at_its_field_and_nothing_is_sent(db: TestDb) {
        let stage = Stage::new(&db).await;
        stage.account("sandbox", json!({}), None).await;
        let visitor = Visitor::new(&stage).await;
        let page = visitor.post("/console/invoices", &form("7", "a hundred")).await;
        assert_eq!(page.status, 422);
        assert!(page.text.contains("id=\"f-invoice-lines-0-unit_price_micros-error\"") && page.text.contains("value=\"a hundred\""), "{}", page.text);
        let mut hostile = form("8", "1");
        hostile.retain(|(name, _)| *name != "invoice/buyer/name");
        hostile.push(("invoice/buyer/name", HOSTILE));
        let page = visitor.post("/console/invoices", &hostile).await;
        assert!(page.status == 422 && page.text.contains("no font we ship"), "{}", page.text);
        in_order_again(&page.text);
        let more = visitor.post("/console/invoices/more", &form("7", "1")).await.text;
        assert!(more.contains("Line 8") && more.contains("value=\"Consulting\""), "{more}");
        assert!(visitor.get("/console/invoices").await.text.contains("No invoices sent"));
        let viewer = Visitor::with_role(&stage, "viewer").await;
        assert!(!viewer.get("/console/invoices").await.text.contains("Send an invoice"));
        assert_eq!(viewer.post("/console/invoices", &form("9", "1")).await.status, 403);
    }
}

fn in_order_again(text: &str) {
    assert!(!text.contains("<script>alert"), "what somebody wrote is shown as text");
}
