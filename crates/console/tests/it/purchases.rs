//! Credit that is bought and given back: the form leads to the payment page, what came of it is told as it is, and only those who may do any of it.

use engine::{
    callbacks::OwnedRequest,
    invoices::settings,
    keys::Caller,
    money::{
        credits::{self, CreditsPatch},
        payment_events, payments,
    },
    once::Repeat,
};
use model::Call;
use serde_json::json;
use testkit::{Stage, World, both, http_answer};

use crate::{
    billing::operator,
    pages::{HOSTILE, in_order},
    visitor::Visitor,
};

const PATH: &str = "/console/billing/purchases";
const PAGE: &str = "https://checkout.stripe.example/c/pay/cs_1";

/// A stage whose Stripe opens pages and never tells of any payment.
async fn shop(db: &testkit::TestDb) -> Stage {
    let world = World::answering(db, |call| match call {
        Call::Http(http) if http.url.ends_with("/v1/checkout/sessions") => {
            let session = json!({"id": "cs_1", "object": "checkout.session", "url": PAGE, "amount_total": 5000, "currency": "usd", "payment_status": "unpaid"});
            http_answer(200, session.to_string())
        }
        _ => http_answer(500, "{}"),
    });
    Stage::in_world(world).await
}

async fn take_payments(stage: &Stage) {
    let keys = json!({"stripe": {"secret_key": "sk_test_1", "webhook_secret": "whsec_1"}});
    let change = serde_json::from_value(keys).unwrap();
    payments::patch(stage.engine.parts(), &Caller::system(None), change).await.unwrap();
}

both! {
    async fn credit_is_bought_on_the_payment_page(db: TestDb) {
        let stage = shop(&db).await;
        let visitor = Visitor::new(&stage).await;
        let page = visitor.get(PATH).await;
        in_order(PATH, &page);
        assert!(page.text.contains("takes no payments by itself") && !page.text.contains("Buy credit"), "{}", page.text);
        assert!(visitor.get(&format!("{PATH}/new")).await.text.contains("Credit cannot be bought here"));
        let refused = visitor.post(PATH, &[("amount_micros", "50"), ("key", "k")]).await;
        assert!(refused.status == 422 && refused.text.contains("takes no payments by itself"), "{}", refused.text);

        take_payments(&stage).await;
        assert!(visitor.get("/console/billing").await.text.contains("Buy credit"));
        let form = visitor.get(&format!("{PATH}/new")).await;
        in_order("new", &form);
        assert!(form.text.contains("Amount in USD") && form.text.contains("Go to payment"), "{}", form.text);
        for (amount, why) in [("much", "write an amount"), ("1,000", "without a comma between thousands"), ("0", "more than nothing"), ("1.005", "in steps of 0.01")] {
            let refused = visitor.post(PATH, &[("amount_micros", amount), ("key", "k")]).await;
            assert!(refused.status == 422 && refused.text.contains("f-amount_micros-error") && refused.text.contains(why), "{amount}: {}", refused.text);
            assert!(refused.text.contains(&format!("value=\"{amount}\"")), "what was typed is kept");
        }
        let bought = [("amount_micros", "50"), ("keep", "true"), ("key", "same")];
        let opened = visitor.post(PATH, &bought).await;
        assert_eq!(visitor.post(PATH, &bought).await.location(), opened.location(), "the same form sent twice is one purchase");
        let leading = visitor.get(opened.location()).await;
        in_order("leading", &leading);
        assert!(leading.text.contains("<lead-on>") && leading.text.contains(&format!("href=\"{PAGE}\"")), "{}", leading.text);
        let shown = visitor.get(opened.location().split('?').next().unwrap()).await;
        assert!(!shown.text.contains("<lead-on>") && shown.text.contains("To be paid") && shown.text.contains(PAGE), "{}", shown.text);

        // What the address says is not believed: nobody has paid.
        for (back, words) in [("paid", "is about to tell whether"), ("canceled", "Nothing was paid"), ("nonsense", "Purchases of credit, newest first")] {
            let page = visitor.get(&format!("{PATH}?back={back}")).await;
            in_order(back, &page);
            assert!(page.text.contains(words) && !page.text.contains("Your payment arrived"), "{back}: {}", page.text);
            assert_eq!(page.text.contains("every 2s"), back == "paid", "only whoever paid waits");
        }
        let viewer = Visitor::with_role(&stage, "viewer").await;
        for path in [PATH.to_owned(), format!("{PATH}/new")] {
            assert_eq!(viewer.get(&path).await.status, 403, "{path}");
        }
        assert_eq!(viewer.post(PATH, &bought).await.status, 403);
        assert_eq!(visitor.get(&format!("{PATH}/pur_01K9ZC8Q6T7Y2V5B3N4M1XWRSD")).await.status, 404);
    }

    async fn the_operator_gives_money_back_and_sets_the_marks(db: TestDb) {
        let mut stage = shop(&db).await;
        take_payments(&stage).await;
        let owner = Visitor::new(&stage).await;
        let prepaid: CreditsPatch = serde_json::from_value(json!({"mode": "prepaid"})).unwrap();
        credits::patch(stage.engine.parts(), &stage.caller, prepaid).await.unwrap();
        let visitor = operator(&mut stage).await;
        visitor.post("/console/billing/purchase", &[("amount", "20"), ("reference", HOSTILE), ("key", "one")]).await;
        let list = visitor.get(PATH).await;
        in_order(PATH, &list);
        assert!(list.text.contains("Recorded by the operator") && list.text.contains("20.00 USD"), "{}", list.text);
        let (_, rest) = list.text.split_once("class=\"cover\" href=\"").unwrap();
        let path = rest.split('"').next().unwrap().to_owned();
        in_order(&path, &visitor.get(&path).await);
        assert!(!owner.get(&path).await.text.contains("Give back"));
        assert_eq!(owner.post(&format!("{path}/refund"), &[("amount", "1"), ("reason", "x")]).await.status, 403);
        for (fields, seen) in [([("amount", "much"), ("reason", "x")], "20.00 USD"), ([("amount", "1,000"), ("reason", "x")], "20.00 USD"), ([("amount", "25"), ("reason", "x")], "20.00 USD")] {
            visitor.post(&format!("{path}/refund"), &fields).await;
            assert!(visitor.get("/console/billing").await.text.contains(seen));
        }
        let back = [("amount", "5.5"), ("reason", HOSTILE), ("key", "two")];
        for _ in 0..2 {
            assert_eq!(visitor.post(&format!("{path}/refund"), &back).await.location(), path);
        }
        let list = visitor.get(PATH).await;
        in_order(PATH, &list);
        assert!(list.text.contains("Paid, part given back") && list.text.contains("Given back</h2>") && list.text.contains("5.50 USD"), "{}", list.text);
        assert!(visitor.get("/console/billing").await.text.contains("14.50 USD"), "given back once");

        let marks = [("low_at_micros", "5"), ("top_up/below_micros", "2"), ("top_up/amount_micros", "10"), ("top_up/monthly_max_micros", "")];
        assert_eq!(visitor.post(&format!("{PATH}/marks"), &marks).await.location(), PATH);
        assert!(visitor.get(PATH).await.text.contains("value=\"10.00\""));
        let told = owner.get(PATH).await;
        in_order("owner", &told);
        assert!(told.text.contains("You are told below") && told.text.contains("nothing is kept to pay with"), "{}", told.text);
        let wrong = visitor.post(&format!("{PATH}/marks"), &[("top_up/below_micros", "2"), ("low_at_micros", "lots")]).await;
        assert!(wrong.status == 422 && wrong.text.contains("f-low_at_micros-error") && wrong.text.contains("f-top_up-amount_micros-error"), "{}", wrong.text);
        assert_eq!(owner.post(&format!("{PATH}/marks"), &marks).await.status, 403);
        assert_eq!(owner.post("/console/billing/payment-method/forget", &[]).await.location(), PATH);

        visitor.post("/console/billing/grant", &[("grant_amount", "3"), ("grant_until", "2099-01-01T00:00"), ("grant_reason", HOSTILE), ("key", "three")]).await;
        let page = visitor.get("/console/billing").await;
        in_order("billing", &page);
        assert!(page.text.contains("Promotional credit") && page.text.contains("3.00 USD"), "{}", page.text);
    }

    async fn tax_on_credit_is_seen_before_it_is_paid(db: TestDb) {
        let mut stage = shop(&db).await;
        take_payments(&stage).await;
        let owner = Visitor::new(&stage).await;
        assert!(!owner.get(&format!("{PATH}/new")).await.text.contains("On the amount comes"));
        let taxed = json!({"taxes": [{"name": "VAT", "rate_ppm": 190_000}], "credit_taxed": "at_purchase"});
        settings::patch(stage.engine.parts(), &Caller::system(None), serde_json::from_value(taxed).unwrap()).await.unwrap();
        let form = owner.get(&format!("{PATH}/new")).await;
        in_order("new", &form);
        assert!(form.text.contains("VAT 19 %") && form.text.contains("59.50 USD"), "{}", form.text);
        let opened = owner.post(PATH, &[("amount_micros", "50"), ("key", "k")]).await;
        let shown = owner.get(opened.location().split('?').next().unwrap()).await;
        in_order("shown", &shown);
        assert!(shown.text.contains(">With tax<") && shown.text.contains("VAT 19 %: 9.50 USD"), "{}", shown.text);
        assert!(owner.get(PATH).await.text.contains("59.50 USD with VAT 19 %"));

        let visitor = operator(&mut stage).await;
        let record = |tax: &'static str| [("amount", "10"), ("tax", tax), ("reference", "bank"), ("key", tax)];
        for tax in ["VAT 7", "none", "much"] {
            visitor.post("/console/billing/purchase", &record(tax)).await;
        }
        let list = visitor.get(PATH).await;
        in_order(PATH, &list);
        assert!(list.text.contains("10.70 USD with VAT 7 %"), "{}", list.text);
        assert_eq!(list.text.matches("Recorded by the operator").count(), 2, "what cannot be read is not recorded");
        let path = "/console/operator/invoices/settings";
        let page = visitor.get(path).await;
        in_order(path, &page);
        assert!(page.text.contains("<option value=\"at_purchase\" selected"), "{}", page.text);
        let fields = [("series", "INV-"), ("credit_note_series", "CN-"), ("due_days", "14"), ("taxes", "* VAT 19"), ("credit_taxed", "never")];
        assert_eq!(visitor.post(path, &fields).await.location(), path);
        assert!(!owner.get(&format!("{PATH}/new")).await.text.contains("On the amount comes"));
    }

    async fn what_was_bought_has_its_receipt(db: TestDb) {
        let stage = shop(&db).await;
        let new = serde_json::from_value(json!({"amount_micros": 20_000_000, "reference": HOSTILE})).unwrap();
        let caller = Caller::system(Some(stage.tenant));
        credits::purchase(stage.engine.parts(), &caller, &Repeat::NONE, new).await.unwrap();
        let visitor = Visitor::new(&stage).await;
        let list = visitor.get(PATH).await;
        in_order(PATH, &list);
        let (before, _) = list.text.split_once("/receipt\"").expect("a paid purchase has a link to its receipt");
        let page = before.rsplit('"').next().unwrap();
        assert!(visitor.get(page).await.text.contains(&format!("{page}/receipt")));
        assert!(visitor.get(&format!("{page}/receipt")).await.text.starts_with("%PDF-"));
        assert_eq!(visitor.get(&format!("{PATH}/pur_01K9ZC8Q6T7Y2V5B3N4M1XWRSD/receipt")).await.status, 404);
    }

    async fn how_payments_are_taken_is_the_operators_and_its_secrets_stay_there(db: TestDb) {
        let mut stage = Stage::new(&db).await;
        let owner = Visitor::new(&stage).await;
        let visitor = operator(&mut stage).await;
        let path = "/console/operator/payments";
        let page = visitor.get(path).await;
        in_order(path, &page);
        assert!(page.text.contains("Not set up") && page.text.contains("/hooks/stripe"), "{}", page.text);
        let wrong = visitor.post(path, &[("stripe/secret_key", "pk_test_nonsense"), ("stripe/webhook_secret", "")]).await;
        assert!(wrong.status == 422 && wrong.text.contains("f-stripe-secret_key-error") && !wrong.text.contains("pk_test_nonsense"), "{}", wrong.text);
        let keys = [("stripe/secret_key", "sk_test_abcdefgh"), ("stripe/webhook_secret", "whsec_abcdefgh")];
        assert_eq!(visitor.post(path, &keys).await.location(), path);
        let page = visitor.get(path).await;
        in_order(path, &page);
        assert!(page.text.contains("Payments are taken") && !page.text.contains("sk_test_abcdefgh"), "{}", page.text);
        assert_eq!(visitor.post(path, &[("stripe/secret_key", "sk_test_ijklmnop"), ("stripe/webhook_secret", "")]).await.location(), path, "what is left empty stays");
        visitor.post(&format!("{path}/remove"), &[]).await;
        assert!(visitor.get(path).await.text.contains("Not set up"));
        assert_eq!(owner.get(path).await.status, 403);
        for action in [path.to_owned(), format!("{path}/remove")] {
            assert_eq!(owner.post(&action, &keys).await.status, 403, "{action}");
        }
    }

    async fn what_stripe_told_is_shown_to_the_operator_with_why_it_was_refused(db: TestDb) {
        let mut stage = shop(&db).await;
        take_payments(&stage).await;
        let owner = Visitor::new(&stage).await;
        let visitor = operator(&mut stage).await;
        let path = "/console/operator/payments/callbacks";
        let empty = visitor.get(path).await;
        in_order(path, &empty);
        assert!(empty.text.contains("No events"), "{}", empty.text);
        let body = json!({"id": "evt_1", "type": "charge.refunded", "data": {"object": {"receipt_email": HOSTILE}}}).to_string();
        let forged = OwnedRequest { method: "POST".to_owned(), body: body.into(), ..OwnedRequest::default() };
        payment_events::take(&stage.engine, &forged, Some([192, 0, 2, 7].into())).await.unwrap_err();
        let list = visitor.get(path).await;
        in_order(path, &list);
        let why = "the header Stripe-Signature is missing (from 192.0.2.7)";
        assert!(list.text.contains(why) && list.text.contains(">Invalid<"), "{}", list.text);
        assert!(visitor.get(&format!("{path}?verdict=valid")).await.text.contains("No events"));
        assert!(visitor.get(&format!("{path}?tenant={}&event_id=evt_1", stage.tenant)).await.text.contains("No events"));
        let one = list.text.split(&format!("href=\"{path}/")).nth(1).unwrap().split('"').next().unwrap();
        let page = visitor.get(&format!("{path}/{one}")).await;
        in_order("one", &page);
        assert!(page.text.contains(why) && page.text.contains("Nothing of it was believed") && page.text.contains("receipt_email"), "{}", page.text);
        assert!(!page.text.contains("Donaudampf"), "what says who paid is not kept: {}", page.text);
        for path in [path.to_owned(), format!("{path}/{one}")] {
            assert_eq!(owner.get(&path).await.status, 403, "{path}");
        }
        assert_eq!(visitor.get(&format!("/console/settings/callbacks/{one}")).await.status, 404, "it is no tenant's");
    }
}
