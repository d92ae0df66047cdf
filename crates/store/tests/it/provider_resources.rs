//! Domains, senders, WhatsApp templates and what is kept of an account's callbacks, on both engines.

use model::{AccountId, DomainId, SenderId, TenantId, Timestamp, WhatsappTemplateId};
use store::{
    Db, Error, Scope, Tx, account_resources,
    domains::{self, Domain},
    senders::{self, Sender},
    whatsapp_templates::{self, WhatsappTemplate},
};

const ACME: TenantId = TenantId::from_ulid(10);
const OTHER: TenantId = TenantId::from_ulid(20);
const ACCOUNT: AccountId = AccountId::from_ulid(1);

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(seconds)
}

async fn write<T: Send + 'static>(
    db: &Db,
    work: impl for<'t> FnOnce(&'t mut Tx) -> model::BoxFuture<'t, Result<T, Error>> + Send + 'static,
) -> T {
    db.write(Scope::System, work).await.unwrap()
}

fn domain(id: u128, name: &str, next_check_at: Option<Timestamp>) -> Domain {
    Domain {
        id: DomainId::from_ulid(id),
        tenant_id: ACME,
        account_id: ACCOUNT,
        name: name.to_owned(),
        state: "pending".to_owned(),
        reference: "7".to_owned(),
        records: "[]".to_owned(),
        detail: None,
        checks: 0,
        checked_at: None,
        next_check_at,
        verified_at: None,
        created_at: at(1),
        updated_at: at(1),
    }
}

fn sender(id: u128, from: &str) -> Sender {
    Sender {
        id: SenderId::from_ulid(id),
        tenant_id: ACME,
        account_id: ACCOUNT,
        channels: "email".to_owned(),
        sender: from.to_owned(),
        name: "News".to_owned(),
        state: "unknown".to_owned(),
        detail: None,
        checked_at: None,
        created_at: at(1),
        updated_at: at(1),
    }
}

fn template(id: u128, name: &str, status: &str) -> WhatsappTemplate {
    WhatsappTemplate {
        id: WhatsappTemplateId::from_ulid(id),
        tenant_id: ACME,
        account_id: ACCOUNT,
        name: name.to_owned(),
        language: "en".to_owned(),
        provider_id: "1".to_owned(),
        category: "UTILITY".to_owned(),
        status: status.to_owned(),
        quality: Some("GREEN".to_owned()),
        reason: None,
        components: "[]".to_owned(),
        created_at: at(1),
        updated_at: at(1),
        synced_at: at(1),
    }
}

testkit::both! {
    async fn domains_are_kept_checked_and_forgotten(db: TestDb) {
        write(&db.db, |tx| Box::pin(async move {
            assert!(domains::insert(tx, &domain(1, "acme.example", Some(at(5)))).await?);
            assert!(!domains::insert(tx, &domain(2, "acme.example", None)).await?);
            assert!(domains::insert(tx, &domain(3, "acme.test", Some(at(3)))).await?);
            assert_eq!(domains::find(tx, OTHER, DomainId::from_ulid(1)).await?, None);
            let names = |rows: Vec<Domain>| rows.into_iter().map(|row| row.name).collect::<Vec<_>>();
            assert_eq!(names(domains::due(tx, at(5), 9).await?), ["acme.test", "acme.example"]);
            assert_eq!(names(domains::due(tx, at(4), 9).await?), ["acme.test"]);
            assert_eq!(names(domains::list(tx, ACME, DomainId::from_ulid(3), 9).await?), ["acme.example"]);
            let changed = Domain { state: "verified".to_owned(), checks: 2, verified_at: Some(at(9)), ..domain(1, "acme.example", None) };
            assert!(domains::update(tx, &changed).await?);
            assert_eq!(domains::find(tx, ACME, changed.id).await?, Some(changed.clone()));
            assert!(!domains::update(tx, &Domain { tenant_id: OTHER, ..changed.clone() }).await?);
            let states = domains::states(tx, ACME).await?;
            assert_eq!(states[0], (ACCOUNT, "acme.example".to_owned(), "verified".to_owned()));
            assert!(!domains::remove(tx, OTHER, changed.id).await?);
            assert!(domains::remove(tx, ACME, changed.id).await?);
            domains::remove_of_account(tx, ACME, ACCOUNT).await?;
            assert!(domains::states(tx, ACME).await?.is_empty());
            Ok(())
        })).await;
    }

    async fn senders_are_kept_and_forgotten(db: TestDb) {
        write(&db.db, |tx| Box::pin(async move {
            assert!(senders::insert(tx, &sender(1, "a@acme.example")).await?);
            assert!(!senders::insert(tx, &sender(2, "a@acme.example")).await?);
            assert!(senders::insert(tx, &Sender { account_id: AccountId::from_ulid(2), ..sender(3, "a@acme.example") }).await?);
            let last = SenderId::from_ulid(u128::MAX);
            assert_eq!(senders::list(tx, ACME, None, last, 9).await?.len(), 2);
            assert_eq!(senders::list(tx, ACME, Some(ACCOUNT), last, 9).await?, [sender(1, "a@acme.example")]);
            assert!(senders::list(tx, OTHER, None, last, 9).await?.is_empty());
            let changed = Sender { state: "verified".to_owned(), detail: Some("It is.".to_owned()), checked_at: Some(at(4)), ..sender(1, "a@acme.example") };
            assert!(senders::update(tx, &changed).await?);
            assert_eq!(senders::find(tx, ACME, changed.id).await?, Some(changed.clone()));
            assert_eq!(senders::find(tx, OTHER, changed.id).await?, None);
            senders::remove_of_account(tx, ACME, AccountId::from_ulid(2)).await?;
            assert_eq!(senders::all(tx, ACME).await?, std::slice::from_ref(&changed));
            assert!(senders::remove(tx, ACME, changed.id).await?);
            assert!(!senders::remove(tx, ACME, changed.id).await?);
            Ok(())
        })).await;
    }

    async fn templates_are_written_over_each_other(db: TestDb) {
        write(&db.db, |tx| Box::pin(async move {
            whatsapp_templates::put(tx, &template(1, "order", "submitted")).await?;
            whatsapp_templates::put(tx, &WhatsappTemplate { synced_at: at(9), ..template(1, "order", "approved") }).await?;
            whatsapp_templates::put(tx, &template(2, "welcome", "approved")).await?;
            let all = whatsapp_templates::all(tx, ACME, ACCOUNT).await?;
            assert_eq!((all.len(), all[0].status.as_str(), all[0].synced_at), (2, "approved", at(9)));
            let page = whatsapp_templates::list(tx, ACME, ACCOUNT, WhatsappTemplateId::from_ulid(2), 9).await?;
            assert_eq!(page.len(), 1);
            assert!(whatsapp_templates::all(tx, OTHER, ACCOUNT).await?.is_empty());
            whatsapp_templates::remove(tx, ACME, WhatsappTemplateId::from_ulid(1)).await?;
            whatsapp_templates::remove_of_account(tx, ACME, ACCOUNT).await?;
            assert!(whatsapp_templates::all(tx, ACME, ACCOUNT).await?.is_empty());
            Ok(())
        })).await;
    }

    async fn what_is_known_of_an_account_is_put_together(db: TestDb) {
        write(&db.db, |tx| Box::pin(async move {
            account_resources::put_callbacks(tx, ACME, ACCOUNT, at(1)).await?;
            account_resources::put_templates(tx, ACME, ACCOUNT, Some(at(2)), None, at(5)).await?;
            account_resources::put_templates(tx, ACME, ACCOUNT, None, Some("no answer"), at(7)).await?;
            let found = account_resources::find(tx, ACME, ACCOUNT).await?.unwrap();
            assert_eq!((found.callbacks_at, found.templates_at), (Some(at(1)), Some(at(2))));
            assert_eq!((found.templates_trouble.as_deref(), found.templates_due_at), (Some("no answer"), Some(at(7))));
            assert_eq!(account_resources::templates_due(tx, at(6), 9).await?, []);
            assert_eq!(account_resources::templates_due(tx, at(7), 9).await?, [(ACME, ACCOUNT)]);
            account_resources::remove(tx, ACME, ACCOUNT).await?;
            assert_eq!(account_resources::find(tx, ACME, ACCOUNT).await?, None);
            Ok(())
        })).await;
    }
}
