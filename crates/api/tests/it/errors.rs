//! Answers nobody asked an operation for: unknown paths and methods, request ids, headers of problems.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use serde_json::json;
use testkit::TestDb;

use crate::support::Api;

#[test]
fn paths_and_methods_that_are_not_there() {
    testkit::on_sqlite(async |db: TestDb| {
        let api = Api::new(&db).await;
        for path in ["/", "/v1", "/v1/message", "/v1/messages/", "/v2/messages", "//"] {
            assert_eq!(api.get(path).send().await.problem(404), "no_such_path", "{path}");
        }
        let check = async |method: &str, path: &str, allow: &[&str]| {
            let seen = api.call(method, path).send().await;
            assert_eq!(seen.problem(405), "method_not_allowed", "{method} {path}");
            let allowed = seen.header("allow").unwrap().to_owned();
            for method in allow {
                assert!(allowed.split(',').any(|allowed| allowed.trim() == *method), "{allowed}");
            }
        };
        check("PUT", "/v1/messages", &["GET", "POST"]).await;
        check("DELETE", "/v1/messages", &["GET", "POST"]).await;
        check("POST", "/healthz", &["GET"]).await;
        check("PATCH", "/v1/api-keys", &["GET", "POST"]).await;
        check("TRACE", "/v1/accounts/acc_01K9ZC8Q6T7Y2V5B3N4M1XWRSD", &["GET", "PATCH", "DELETE"]).await;
        check("PUT", "/hooks/acc_01K9ZC8Q6T7Y2V5B3N4M1XWRSD/status", &["GET", "POST"]).await;
    });
}

#[test]
fn a_request_id_is_kept_when_it_is_harmless() {
    testkit::on_sqlite(async |db: TestDb| {
        let api = Api::new(&db).await;
        let id = async |given: &str| {
            let seen = api.get("/healthz").header("x-request-id", given).send().await;
            seen.header("x-request-id").unwrap().to_owned()
        };
        assert_eq!(id("trace-42").await, "trace-42");
        for given in ["", "a b", "<script>", &"x".repeat(129)] {
            let made = id(given).await;
            assert!(made.starts_with("req_") && made.len() == 30, "{made}");
        }
        assert_ne!(id("").await, id("").await);
    });
}

#[test]
fn machines_are_told_how_the_process_is() {
    testkit::on_sqlite(async |db: TestDb| {
        let is_ready = Arc::new(AtomicBool::new(true));
        let seen_by_api = Arc::clone(&is_ready);
        let api = Api::with(testkit::Stage::new(&db).await, |options| api::Options {
            ready: Arc::new(move || {
                let is_ready = seen_by_api.load(Ordering::Relaxed);
                Box::pin(async move {
                    if is_ready { Ok(()) } else { Err("The database does not answer: it is away.".to_owned()) }
                })
            }),
            ..options
        })
        .await;
        let get = async |path: &str| api.get(path).anonymous().send().await;
        assert_eq!(get("/healthz").await.ok(200), json!({"status": "ok"}));
        assert_eq!(get("/readyz").await.ok(200), json!({"status": "ok"}));
        is_ready.store(false, Ordering::Relaxed);
        let seen = get("/readyz").await;
        assert_eq!((seen.problem(503), seen.header("retry-after")), ("not_ready".to_owned(), Some("1")));
        assert_eq!(get("/healthz").await.status.as_u16(), 200);
        let metrics = get("/metrics").await;
        assert_eq!((metrics.status.as_u16(), metrics.text().as_str()), (200, "# metrics\n"));
        assert_eq!(get("/openapi.json").await.ok(200), *crate::support::DOCUMENT);
    });
}

#[test]
fn a_header_that_cannot_be_text_is_refused() {
    testkit::on_sqlite(async |db: TestDb| {
        let api = Api::new(&db).await;
        let seen = api.get("/v1/tenant").header("tidings-tenant", "ten_ä").send().await;
        assert_eq!(seen.problem(400), "invalid_header");
        let seen = api.get("/v1/tenant").header("authorization", "Basic dGVzdDp0ZXN0").send().await;
        assert_eq!(seen.problem(401), "unknown_auth_scheme");
        assert_eq!(seen.header("www-authenticate"), Some(r#"Bearer realm="tidings", error="invalid_token""#));
    });
}

#[test]
fn what_belongs_into_the_body_is_not_lost_in_the_query() {
    testkit::on_sqlite(async |db: TestDb| {
        let api = Api::new(&db).await;
        let message = json!({ "to": { "email": "ada@example.com" }, "content": { "subject": "Hi", "text": "Hello" } });
        let seen = api.post("/v1/messages?dry_run=true", &message).send().await;
        assert_eq!((seen.problem(400), seen.pointers()), ("invalid_query".to_owned(), vec!["?dry_run".to_owned()]));
    });
}

#[test]
fn head_is_answered_like_get_without_a_body() {
    testkit::on_sqlite(async |db: TestDb| {
        let api = Api::new(&db).await;
        let seen = api.call("HEAD", "/v1/messages").send().await;
        assert_eq!((seen.status.as_u16(), seen.body.len()), (200, 0));
        let seen = api.call("HEAD", "/v1/tenants").send().await;
        assert_eq!((seen.status.as_u16(), seen.body.len()), (403, 0));
    });
}
