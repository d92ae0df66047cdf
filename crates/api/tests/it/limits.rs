//! How fast a tenant may call, and how it is told.

use serde_json::json;
use testkit::TestDb;

use crate::support::Api;

async fn limited(db: &TestDb, per_second: u32) -> Api {
    let api = Api::new(db).await;
    let path = format!("/v1/tenants/{}", api.stage.tenant);
    api.patch(&path, &json!({"per_second": per_second})).for_operator().send().await.ok(200);
    api.post("/v1/accounts", &json!({"name": "S", "connector": "sandbox"})).send().await.ok(201);
    // The bucket is full again.
    api.stage.world.clock.advance_ms(10_000);
    api
}

#[test]
fn a_tenant_that_calls_too_fast_is_told_when_to_come_back() {
    testkit::on_sqlite(async |db: TestDb| {
        let api = limited(&db, 2).await;
        for left in (0..4).rev() {
            let seen = api.get("/v1/tenant").send().await;
            seen.ok(200);
            assert_eq!(seen.header("ratelimit-policy"), Some(r#""tenant";q=4;w=2"#));
            assert!(
                seen.header("ratelimit").unwrap().starts_with(&format!(r#""tenant";r={left};"#)),
                "{:?}",
                seen.header("ratelimit")
            );
        }
        let seen = api.get("/v1/tenant").send().await;
        assert_eq!((seen.problem(429), seen.header("retry-after")), ("rate_limited".to_owned(), Some("1")));
        assert_eq!(seen.json()["retry_after_s"], 1);
        assert_eq!(seen.header("ratelimit"), Some(r#""tenant";r=0;t=2"#));
        // Others are not concerned.
        let (_, other) = api.another_tenant().await;
        api.get("/v1/tenant").bearer(&other).send().await.ok(200);
        api.stage.world.clock.advance_ms(500);
        api.get("/v1/tenant").send().await.ok(200);
    });
}

#[test]
fn a_batch_counts_as_its_messages() {
    testkit::on_sqlite(async |db: TestDb| {
        let api = limited(&db, 2).await;
        let message = json!({"to": {"email": "ada@example.com"}, "content": {"subject": "Hi", "text": "Hello"}});
        let batch = json!({"messages": vec![message.clone(); 10]});
        let seen = api.post("/v1/messages/batch", &batch).send().await;
        seen.ok(202);
        assert_eq!(seen.header("ratelimit"), Some(r#""tenant";r=0;t=5"#));
        let seen = api.post("/v1/messages", &message).send().await;
        assert_eq!((seen.problem(429), seen.header("retry-after")), ("rate_limited".to_owned(), Some("4")));
        api.stage.world.clock.advance_ms(3_500);
        api.post("/v1/messages", &message).send().await.ok(202);
    });
}

#[test]
fn without_a_limit_there_is_nothing_to_tell() {
    testkit::on_sqlite(async |db: TestDb| {
        let api = Api::new(&db).await;
        let seen = api.get("/v1/tenant").send().await;
        assert_eq!((seen.header("ratelimit"), seen.header("ratelimit-policy")), (None, None));
    });
}
