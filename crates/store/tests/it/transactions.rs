//! What a transaction promises, whichever way its statements travel.

use model::{AccountId, Class, MessageId, Priority, Purpose, TenantId, Timestamp};
use store::{
    Db, Error, Given, Kind, Scope,
    deliveries::{self, Delivery},
    inflight::{self, WorkerId},
};

const ACCOUNT: AccountId = AccountId::from_ulid(1);

fn delivery(number: u128) -> Delivery {
    Delivery {
        account_id: ACCOUNT,
        class: Class::new(Purpose::Transactional, Priority::Normal),
        due_at: Timestamp::from_seconds(1),
        message_id: MessageId::from_ulid(number),
        tenant_id: TenantId::from_ulid(10),
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
            if asks { deliveries::count_of_account(tx, TenantId::from_ulid(10), ACCOUNT, 1_000).await } else { Ok(0) }
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
                    let _ = inflight::seen(tx, WorkerId(7), Timestamp::from_seconds(1)).await;
                    Err::<(), _>(Error::Other("given up".to_owned()))
                })
            })
            .await;
        assert!(given_up.is_err());
        let workers = db.read(Scope::System, |tx| Box::pin(inflight::workers(tx))).await.unwrap();
        assert_eq!(workers, []);
    }
}
