//! Sent invoices: each function on both engines.

use model::{AttachmentId, ContactId, InvoiceDeliveryId, MessageId, TenantId, Timestamp};
use store::{
    Error, Scope,
    attachments::{self, Attachment},
    invoice_deliveries::{self, InvoiceDelivery},
};

const ACME: TenantId = TenantId::from_ulid(10);
const OTHER: TenantId = TenantId::from_ulid(20);

fn delivery(tenant_id: TenantId, id: u128, number: &str, is_resend: bool) -> InvoiceDelivery {
    InvoiceDelivery {
        tenant_id,
        id: InvoiceDeliveryId::from_ulid(id),
        number: number.to_owned(),
        is_resend,
        channel: "both".to_owned(),
        reason: "The channels were given.".to_owned(),
        filename: format!("invoice-{number}.pdf"),
        attachment_id: AttachmentId::from_ulid(id + 100),
        size: 5,
        sha256: "ab".repeat(32),
        total_micros: Some(-7),
        currency: Some("EUR".to_owned()),
        contact_id: Some(ContactId::from_ulid(3)),
        email_message_id: Some(MessageId::from_ulid(4)),
        whatsapp_message_id: None,
        created_at: Timestamp::from_seconds(1),
    }
}

testkit::both! {
    async fn a_number_is_sent_once_unless_it_is_repeated_on_purpose(db: TestDb) {
        let work = db.write(Scope::System, |tx| Box::pin(async move {
            let first = delivery(ACME, 1, "2026-1", false);
            assert!(invoice_deliveries::insert(tx, &first).await?);
            assert!(!invoice_deliveries::insert(tx, &delivery(ACME, 2, "2026-1", false)).await?);
            assert!(invoice_deliveries::insert(tx, &delivery(ACME, 3, "2026-1", true)).await?);
            assert!(invoice_deliveries::insert(tx, &delivery(OTHER, 4, "2026-1", false)).await?, "another tenant counts for itself");
            // Asked to repeat what was never sent: the first all the same, and the next one is noticed.
            assert!(invoice_deliveries::insert(tx, &delivery(ACME, 5, "2026-2", true)).await?);
            assert!(!invoice_deliveries::insert(tx, &delivery(ACME, 6, "2026-2", false)).await?);

            assert_eq!(invoice_deliveries::find(tx, ACME, first.id).await?, Some(first.clone()));
            assert_eq!(invoice_deliveries::find(tx, OTHER, first.id).await?, None);
            assert_eq!(first.messages().collect::<Vec<_>>(), [MessageId::from_ulid(4)]);
            let latest = invoice_deliveries::latest(tx, ACME, "2026-1").await?.map(|row| (row.id, row.is_resend));
            assert_eq!(latest, Some((InvoiceDeliveryId::from_ulid(3), true)));
            assert_eq!(invoice_deliveries::latest(tx, ACME, "2026-9").await?, None);
            let ids = |rows: Vec<InvoiceDelivery>| rows.into_iter().map(|row| row.id.ulid()).collect::<Vec<_>>();
            let never = InvoiceDeliveryId::from_ulid(u128::MAX);
            assert_eq!(ids(invoice_deliveries::list(tx, ACME, never, None, 2).await?), [5, 3]);
            assert_eq!(ids(invoice_deliveries::list(tx, ACME, InvoiceDeliveryId::from_ulid(3), None, 2).await?), [1]);
            assert_eq!(ids(invoice_deliveries::list(tx, ACME, never, Some("2026-1"), 9).await?), [3, 1]);
            Ok::<_, Error>(())
        }));
        work.await.unwrap();
    }

    async fn a_contacts_files_are_taken_away(db: TestDb) {
        let now = Timestamp::from_seconds(50);
        let work = db.write(Scope::System, move |tx| Box::pin(async move {
            let row = delivery(ACME, 1, "2026-1", false);
            invoice_deliveries::insert(tx, &row).await?;
            for id in [row.attachment_id, AttachmentId::from_ulid(7)] {
                let file = Attachment { tenant_id: ACME, id, filename: "a.pdf".to_owned(), content_type: "application/pdf".to_owned(), size: 5, sha256: row.sha256.clone(),
                    created_at: now, held_until: now, purge_at: None, deleted_at: None };
                attachments::insert(tx, &file).await?;
            }
            assert_eq!(invoice_deliveries::take_files(tx, ACME, ContactId::from_ulid(9), now).await?, 0);
            assert_eq!(invoice_deliveries::take_files(tx, ACME, ContactId::from_ulid(3), now).await?, 1);
            assert_eq!(attachments::find(tx, ACME, row.attachment_id).await?, None);
            assert!(attachments::find(tx, ACME, AttachmentId::from_ulid(7)).await?.is_some());
            Ok::<_, Error>(())
        }));
        work.await.unwrap();
    }
}
