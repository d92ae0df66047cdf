//! What a transaction promises, whichever way its statements travel.

use model::{AccountId, Class, MessageId, Priority, Purpose, TenantId, Timestamp};
use store::{
    Db, Error, Given, Kind, Scope,
    credits::{self, Charge},
    deliveries::{self, Delivery},
    inflight::{self, WorkerId},
};

const ACCOUNT: AccountId = AccountId::from_ulid(1);
const TENANT: TenantId = TenantId::from_ulid(10);
const AT: Timestamp = Timestamp::from_seconds(1);

fn delivery(number: u128) -> Delivery {
    Delivery {
        account_id: ACCOUNT,
        class: Class::new(Purpose::Transactional, Priority::Normal),
        due_at: AT,
        message_id: MessageId::from_ulid(number),
        tenant_id: TENANT,
        attempts: 0,
        tries: 0,
        expires_at: None,
    }
}

/// Writes each group with a statement of its own; with `asks`, a question follows.
async fn write(db: &Db, groups: Vec<Vec<Delivery>>, asks: bool) -> Result<i64, Error> {
    db.write(Scope::System, move |tx| {
        Box::pin(async move {
            for group in &groups {
                deliveries::insert_many(tx, group).await?;
            }
            if asks { deliveries::count_of_account(tx, TENANT, ACCOUNT, 1_000).await } else { Ok(0) }
        })
    })
    .await
}

testkit::both! {
    async fn a_question_sees_what_was_written_before_it_without_an_answer(db: TestDb) {
        let groups = (0..60).map(|number| vec![delivery(number)]).collect();
        assert_eq!(write(&db, groups, true).await.unwrap(), 60);
        assert_eq!(write(&db, Vec::new(), true).await.unwrap(), 60, "after the commit too");
    }

    async fn a_row_that_is_refused_undoes_the_whole_transaction(db: TestDb) {
        for asks in [false, true] {
            let groups = vec![vec![delivery(1)], vec![delivery(2)], vec![delivery(1)], vec![delivery(3)]];
            let refused = write(&db, groups, asks).await;
            assert!(matches!(refused, Err(Error::Conflict { .. })), "the first error is told, not what follows from it: {refused:?}");
            assert_eq!(write(&db, Vec::new(), true).await.unwrap(), 0);
        }
        assert_eq!(write(&db, vec![vec![delivery(1)]], true).await.unwrap(), 1, "the connection goes on");
    }

    async fn many_rows_are_written_as_they_were_given(db: TestDb) {
        for count in [1, 15, 16, 17, 31, 32, 33, 100] {
            let tenant = TenantId::from_ulid(count);
            let charge = |number| Charge {
                units: number,
                category: "utility".repeat(number as usize % 3),
                reported: (number % 2 == 0).then_some(-number),
                ..Charge::new(tenant, MessageId::from_ulid(number as u128), "settled")
            };
            let charges: Vec<_> = (0..count as i64).map(charge).collect();
            let keys: Vec<_> = charges.iter().map(|charge| (tenant, charge.message_id)).collect();
            let given = charges.clone();
            let write = db.write(Scope::System, move |tx| Box::pin(async move { credits::put_charges(tx, &given).await }));
            write.await.unwrap();
            let mut read = db.read(Scope::System, move |tx| Box::pin(async move { credits::charges(tx, &keys).await })).await.unwrap();
            read.sort_by_key(|charge| charge.units);
            assert_eq!(read, charges, "{count} rows");
        }
    }

    async fn rows_that_are_there_already_are_not_counted(db: TestDb) {
        let insert = |numbers: Vec<i64>| {
            db.write(Scope::System, move |tx| {
                Box::pin(async move {
                    let mut given = Given::new(&[("tenant_id", Kind::Id), ("number", Kind::Int), ("amount", Kind::Int), ("rest", Kind::Int), ("expires_at", Kind::Time), ("reference", Kind::Text), ("created_at", Kind::Time)]);
                    for number in &numbers {
                        given.row([&TENANT, number, number, number, &AT, &"welcome", &AT]);
                    }
                    tx.insert_many("credit_grants", &given, "ON CONFLICT (tenant_id, number) DO NOTHING").await
                })
            })
        };
        assert_eq!(insert((0..20).collect()).await.unwrap(), 20);
        assert_eq!(insert((10..50).collect()).await.unwrap(), 30);
    }

    async fn a_row_that_is_refused_among_many_leaves_none_of_them(db: TestDb) {
        let numbers = (0..40).chain([3]);
        let refused = write(&db, vec![numbers.map(delivery).collect()], false).await;
        assert!(matches!(refused, Err(Error::Conflict { .. })), "{refused:?}");
        assert_eq!(write(&db, Vec::new(), true).await.unwrap(), 0);
    }

    async fn a_transaction_that_is_given_up_leaves_nothing(db: TestDb) {
        let given_up = db
            .write(Scope::System, |tx| {
                Box::pin(async move {
                    deliveries::insert_many(tx, &[delivery(1)]).await?;
                    Err::<(), _>(Error::Other("thought better of it".to_owned()))
                })
            })
            .await;
        assert!(matches!(given_up, Err(Error::Other(_))));
        assert_eq!(write(&db, Vec::new(), true).await.unwrap(), 0);
    }

    async fn what_follows_a_statement_that_cannot_be_made_is_undone_with_it(db: TestDb) {
        let given_up = db
            .write(Scope::System, |tx| {
                Box::pin(async move {
                    let account = ACCOUNT;
                    let mut given = Given::new(&[("account_id", Kind::Id)]);
                    given.row([&account]);
                    // Where it fails is up to the engine: here, or with the next question.
                    let _ = tx.insert_many_later("no_such_table", &given, "").await;
                    let _ = tx.rows("SELECT 1", &[]).await;
                    // No tenant's row, so nothing but the transaction stands in its way.
                    let _ = inflight::seen(tx, WorkerId(7), AT).await;
                    Err::<(), _>(Error::Other("given up".to_owned()))
                })
            })
            .await;
        assert!(given_up.is_err());
        let workers = db.read(Scope::System, |tx| Box::pin(inflight::workers(tx))).await.unwrap();
        assert_eq!(workers, []);
    }
}
