//! What the planner knows, on both engines.

use model::{TenantId, Timestamp};
use store::{
    Dialect, Error, Scope,
    idempotency::{self, Answered},
    statistics,
};

fn answered(number: usize) -> Answered {
    Answered {
        tenant: TenantId::from_ulid(10),
        key: number.to_string(),
        fingerprint: vec![7; 32],
        status: 202,
        body: Vec::new(),
        data_key_id: None,
        created_at: Timestamp::from_seconds(1),
    }
}

testkit::both! {
    async fn a_table_that_grew_is_analysed_once(db: TestDb) {
        let dialect = db
            .write(Scope::System, |tx| {
                Box::pin(async move {
                    let keys: Vec<_> = (0..500).map(answered).collect();
                    idempotency::insert_many(tx, &keys).await?;
                    if tx.dialect() == Dialect::Postgres {
                        // The counts of changes become visible to others with this commit, and not within a second.
                        tx.rows("SELECT pg_stat_force_next_flush()::TEXT", &[]).await?;
                    }
                    Ok::<_, Error>(tx.dialect())
                })
            })
            .await
            .unwrap();
        let refresh = || db.write(Scope::System, |tx| Box::pin(statistics::refresh(tx)));
        let grown = if dialect == Dialect::Postgres { vec!["idempotency_keys".to_owned()] } else { Vec::new() };
        assert_eq!(refresh().await.unwrap(), grown);
        assert!(refresh().await.unwrap().is_empty(), "it is known now");
    }
}
