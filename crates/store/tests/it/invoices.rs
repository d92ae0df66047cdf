//! Invoices, their numbers and what they hold: each function on both engines.

use model::{Channel, InvoiceId, MessageId, PlanId, TenantId, Timestamp};
use store::{
    Scope, alert_facts,
    invoices::{self, Invoice, Invoiced, Mail},
    subscriptions::{self, Subscription},
    tenants,
};

const ACME: TenantId = TenantId::from_ulid(10);
const OTHER: TenantId = TenantId::from_ulid(20);

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(seconds)
}

fn invoice(tenant_id: TenantId, id: u128, state: &str, number: Option<&str>) -> Invoice {
    let time = (at(id as i64 * 10), at(id as i64 * 10 + 10));
    Invoice {
        state: state.to_owned(),
        number: number.map(str::to_owned),
        total: 7,
        body: "{}".to_owned(),
        issued_at: number.map(|_| at(200)),
        due_at: number.map(|_| at(300)),
        ..Invoice::draft(tenant_id, InvoiceId::from_ulid(id), "invoice", "EUR", time, at(100))
    }
}

fn invoiced(starts: i64, country: &str, sent: i64) -> Invoiced {
    Invoiced {
        tenant_id: ACME,
        starts_at: at(starts),
        channel: Channel::Sms,
        country: country.to_owned(),
        ends_at: at(starts + 10),
        sent,
        charges: sent + 1,
        charged: 10 * sent,
    }
}

/// Runs work in a transaction and expects it to succeed.
macro_rules! write {
    ($db:expr, |$tx:ident| $work:expr) => {
        $db.write(Scope::System, move |$tx| Box::pin(async move { Ok::<_, store::Error>($work) })).await.unwrap()
    };
}

testkit::both! {
    async fn invoices_are_listed_newest_first_and_apart(db: TestDb) {
        let rows = [invoice(ACME, 1, "issued", Some("INV-1")), invoice(OTHER, 2, "paid", Some("INV-2")), invoice(ACME, 3, "draft", None)];
        for row in rows.clone() {
            write!(db, |tx| invoices::insert(tx, row.tenant_id, &row).await?);
        }
        let newest = InvoiceId::from_ulid(u128::MAX);
        let list = async |tenant, state: Option<&'static str>, has_drafts, before, limit| {
            let rows = write!(db, |tx| invoices::list(tx, tenant, state, has_drafts, before, limit).await?);
            rows.into_iter().map(|row| row.id.ulid()).collect::<Vec<_>>()
        };
        assert_eq!(list(None, None, true, newest, 9).await, [3, 2, 1]);
        assert_eq!(list(None, None, true, InvoiceId::from_ulid(3), 1).await, [2]);
        assert_eq!(list(Some(ACME), None, true, newest, 9).await, [3, 1]);
        assert_eq!(list(Some(ACME), None, false, newest, 9).await, [1]);
        assert_eq!(list(None, Some("paid"), true, newest, 9).await, [2]);
        assert_eq!(write!(db, |tx| invoices::find(tx, ACME, InvoiceId::from_ulid(2)).await?), None);
        assert_eq!(write!(db, |tx| invoices::lock(tx, ACME, InvoiceId::from_ulid(1)).await?), Some(rows[0].clone()));
        assert_eq!(write!(db, |tx| invoices::owner(tx, InvoiceId::from_ulid(2)).await?), Some(OTHER));
        assert_eq!(write!(db, |tx| invoices::owner(tx, InvoiceId::from_ulid(9)).await?), None);
        let page = write!(db, |tx| invoices::page(tx, InvoiceId::from_ulid(1), 9).await?);
        assert_eq!(page, [rows[1].clone(), rows[2].clone()]);
        let months = write!(db, |tx| invoices::months_since(tx, ACME, at(20)).await?);
        assert_eq!(months, [rows[2].clone()]);
    }

    async fn what_is_still_to_be_paid_is_found(db: TestDb) {
        let note = Invoice { kind: "credit_note".to_owned(), ..invoice(ACME, 5, "draft", None) };
        let rows = [invoice(ACME, 1, "draft", None), invoice(ACME, 2, "issued", Some("INV-1")), invoice(ACME, 3, "paid", Some("INV-2")), invoice(ACME, 4, "void", None), note, invoice(OTHER, 6, "draft", None)];
        for row in rows.clone() {
            write!(db, |tx| invoices::insert(tx, row.tenant_id, &row).await?);
        }
        assert_eq!(write!(db, |tx| invoices::unpaid(tx, ACME).await?), rows[..2]);
    }

    async fn what_becomes_of_an_invoice_is_kept(db: TestDb) {
        let made = invoice(ACME, 1, "draft", None);
        let after = Invoice {
            state: "paid".to_owned(), number: Some("INV-1".to_owned()), issued_at: Some(at(1)), due_at: Some(at(2)), paid_at: Some(at(3)),
            payment: Some("bank".to_owned()), voided_at: Some(at(4)), updated_at: at(7),
            mail: Mail {
                state: Some("sent".to_owned()), failure: Some("{}".to_owned()), mailed_at: Some(at(5)), id: Some(MessageId::from_ulid(6)), tenant_id: Some(OTHER), tries: 2, due_at: Some(at(8)),
            },
            ..made.clone()
        };
        let written = after.clone();
        write!(db, |tx| invoices::insert(tx, ACME, &made).await?);
        write!(db, |tx| invoices::update(tx, ACME, &written).await?);
        assert_eq!(write!(db, |tx| invoices::find(tx, ACME, InvoiceId::from_ulid(1)).await?), Some(after));
    }

    async fn a_month_has_one_invoice_and_a_number_is_given_once(db: TestDb) {
        let first = invoice(ACME, 1, "issued", Some("INV-1"));
        let again = Invoice { id: InvoiceId::from_ulid(2), number: Some("INV-2".to_owned()), ..first.clone() };
        let same_number = invoice(ACME, 3, "issued", Some("INV-1"));
        let note = Invoice { id: InvoiceId::from_ulid(4), number: Some("CN-1".to_owned()), kind: "credit_note".to_owned(), of_id: Some(first.id), ..first.clone() };
        write!(db, |tx| invoices::insert(tx, ACME, &first).await?);
        for refused in [again, same_number] {
            let insert = db.write(Scope::System, move |tx| Box::pin(async move { invoices::insert(tx, ACME, &refused).await }));
            assert!(insert.await.is_err());
        }
        write!(db, |tx| invoices::insert(tx, ACME, &note).await?);
        for expected in 1..4 {
            assert_eq!(write!(db, |tx| invoices::next_number(tx, "INV-").await?), expected);
        }
        assert_eq!(write!(db, |tx| invoices::next_number(tx, "CN-").await?), 1);
        let rolled_back = db.write(Scope::System, move |tx| Box::pin(async move {
            invoices::next_number(tx, "INV-").await?;
            Err::<(), _>(store::Error::Conflict { detail: "no".to_owned() })
        }));
        assert!(rolled_back.await.is_err());
        assert_eq!(write!(db, |tx| invoices::next_number(tx, "INV-").await?), 4);
        assert_eq!(write!(db, |tx| invoices::series(tx).await?), [("CN-".to_owned(), 1), ("INV-".to_owned(), 4)]);
    }

    async fn who_has_not_paid_in_time_is_found_until_it_is_noted(db: TestDb) {
        for id in [ACME, OTHER] {
            let row = crate::tenancy::tenant(id);
            write!(db, |tx| tenants::insert(tx, &row).await?);
        }
        let subscription = |past_due_since, forgiven_until: Option<i64>| Subscription {
            tenant_id: ACME, plan_id: Some(PlanId::from_ulid(1)), trial_ends_at: None, past_due_since, forgiven_until: forgiven_until.map(at), canceled_at: None, cancel_said_at: None, customer: "{}".to_owned(), counted_from: at(1),
            billed_until: at(1), closes_at: None, created_at: at(1), updated_at: at(1),
        };
        write!(db, |tx| subscriptions::put(tx, ACME, &subscription(None, None)).await?);
        for row in [invoice(ACME, 1, "issued", Some("INV-1")), invoice(OTHER, 2, "issued", Some("INV-2")), invoice(ACME, 3, "draft", None)] {
            write!(db, |tx| invoices::insert(tx, row.tenant_id, &row).await?);
        }
        assert_eq!(write!(db, |tx| invoices::newly_overdue(tx, at(299), 9).await?), []);
        assert_eq!(write!(db, |tx| invoices::newly_overdue(tx, at(300), 9).await?), [ACME]);
        assert_eq!(write!(db, |tx| invoices::first_overdue(tx, ACME, None, at(299)).await?), None);
        assert_eq!(write!(db, |tx| invoices::first_overdue(tx, ACME, Some(at(299)), at(300)).await?.map(|row| row.id.ulid())), Some(1));
        write!(db, |tx| subscriptions::put(tx, ACME, &subscription(Some(at(300)), None)).await?);
        assert_eq!(write!(db, |tx| invoices::newly_overdue(tx, at(300), 9).await?), []);
        write!(db, |tx| subscriptions::put(tx, ACME, &subscription(None, Some(300))).await?);
        assert_eq!(write!(db, |tx| invoices::newly_overdue(tx, at(301), 9).await?), []);
        assert_eq!(write!(db, |tx| invoices::first_overdue(tx, ACME, Some(at(300)), at(301)).await?), None);
    }

    async fn what_is_to_be_mailed_is_found_by_when_it_is_due(db: TestDb) {
        let mailed = |id, state: &str, due_at: Option<i64>| Invoice {
            mail: Mail { state: Some(state.to_owned()), due_at: due_at.map(at), ..Mail::default() },
            ..invoice(if id > 3 { OTHER } else { ACME }, id, "issued", Some(&format!("INV-{id}")))
        };
        let rows = [mailed(1, "waiting", Some(9)), mailed(2, "failed", Some(7)), mailed(3, "waiting", None), mailed(4, "accepted", Some(8)), mailed(5, "sent", Some(6)), mailed(6, "delivered", None)];
        for row in rows {
            write!(db, |tx| invoices::insert(tx, row.tenant_id, &row).await?);
        }
        let ids = |rows: Vec<Invoice>| rows.into_iter().map(|row| row.id.ulid()).collect::<Vec<_>>();
        assert_eq!(ids(write!(db, |tx| invoices::to_mail(tx, at(9), 9).await?)), [2, 1]);
        assert_eq!(ids(write!(db, |tx| invoices::to_mail(tx, at(8), 9).await?)), [2]);
        assert_eq!(ids(write!(db, |tx| invoices::mailed(tx, at(9), 9).await?)), [5, 4]);
        assert_eq!(ids(write!(db, |tx| invoices::mailed(tx, at(9), 1).await?)), [5]);
        let unmailed = write!(db, |tx| alert_facts::unmailed(tx, 9).await?);
        assert_eq!(unmailed.iter().map(|row| row.number.as_deref()).collect::<Vec<_>>(), [Some("INV-2")]);
        write!(db, |tx| invoices::mail_again(tx, ACME, at(4)).await?);
        assert_eq!(ids(write!(db, |tx| invoices::to_mail(tx, at(4), 9).await?)), [1, 2, 3]);
    }

    async fn what_is_on_invoices_and_how_they_are_written_is_kept(db: TestDb) {
        let rows = [invoiced(10, "DE", 5), invoiced(10, "", 1), invoiced(20, "DE", 7)];
        write!(db, |tx| invoices::put_invoiced(tx, &rows).await?);
        write!(db, |tx| invoices::put_invoiced(tx, &[invoiced(10, "DE", 6)]).await?);
        assert_eq!(write!(db, |tx| invoices::invoiced_since(tx, ACME, at(10)).await?), [invoiced(10, "", 1), invoiced(10, "DE", 6), invoiced(20, "DE", 7)]);
        assert_eq!(write!(db, |tx| invoices::invoiced_since(tx, ACME, at(11)).await?), [invoiced(20, "DE", 7)]);
        assert_eq!(write!(db, |tx| invoices::invoiced_since(tx, OTHER, at(0)).await?), []);
        assert_eq!(write!(db, |tx| invoices::settings(tx).await?), None);
        write!(db, |tx| invoices::put_settings(tx, "{}", at(1)).await?);
        write!(db, |tx| invoices::put_settings(tx, "{\"a\":1}", at(2)).await?);
        assert_eq!(write!(db, |tx| invoices::settings(tx).await?), Some("{\"a\":1}".to_owned()));
    }
}
