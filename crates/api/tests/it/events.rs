//! What a tenant is told: endpoints, and the stream.

use axum::body::{Body, BodyDataStream};
use engine::{Config, Engine, vault::MasterKeys};
use futures_util::StreamExt;
use http::Request;
use serde_json::json;
use testkit::{Stage, TestDb};
use tower::ServiceExt;

use crate::support::Api;

/// An installation whose operator has its alerts told in the stage's tenant.
async fn told(db: &TestDb) -> Api {
    let of = Stage::new(db).await;
    let config = Config {
        public_url: "https://tidings.example".to_owned(),
        base_urls: of.world.base_urls.clone(),
        mail_tenant: Some(of.tenant),
        oidc: None,
        requests_per_second: None,
        slots: engine::SLOTS,
    };
    let masters = MasterKeys::parse("test:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=").unwrap();
    let engine = Engine::new(of.world.ports.clone(), config, masters);
    Api::with(Stage { engine, ..of }, |options| options).await
}

testkit::both! {
    async fn an_endpoint_is_told_and_its_deliveries_are_seen(db: TestDb) {
        let api = Api::new(&db).await;
        let new = json!({"url": "https://shop.example/hooks", "events": ["message.*"]});
        let made = api.post("/v1/webhook-endpoints", &new).keyed("first").send().await.ok(201);
        assert!(made["secret"].as_str().unwrap().starts_with("whsec_"));
        assert_eq!(api.post("/v1/webhook-endpoints", &new).keyed("first").send().await.ok(201), made);
        let path = format!("/v1/webhook-endpoints/{}", made["id"].as_str().unwrap());
        assert!(api.get(&path).send().await.ok(200)["secret"].is_null());
        let queued = api.call("POST", &format!("{path}/test")).send().await.ok(202);
        api.stage.dispatch().await;
        let listed = api.get(&format!("{path}/deliveries?status=sent")).send().await.ok(200);
        assert_eq!((&listed["data"][0]["message_id"], &listed["data"][0]["event_type"]), (&queued["message_id"], &json!("webhook.test")));
        let delivery = format!("{path}/deliveries/{}", queued["message_id"].as_str().unwrap());
        let shown = api.get(&delivery).send().await.ok(200);
        assert_eq!((&shown["body"]["type"], shown["log"].as_array().unwrap().len()), (&json!("webhook.test"), 1));
        let again = api.call("POST", &format!("{delivery}/retry")).send().await.ok(202);
        assert_eq!(again["event_id"], queued["event_id"]);
        let rotated = api.call("POST", &format!("{path}/rotate-secret")).send().await.ok(200);
        assert_ne!(rotated["secret"], made["secret"]);
        let wrong = api.get(&format!("{path}/deliveries?status=lost")).send().await;
        assert_eq!(wrong.problem(400), "invalid_status");
        let off = api.patch(&path, &json!({"enabled": false})).send().await.ok(200);
        assert_eq!(off["state"], "disabled");
        assert_eq!(api.call("POST", &format!("{path}/test")).send().await.problem(409), "endpoint_disabled");
        api.delete(&path).send().await.ok(204);
        assert_eq!(api.get(&path).send().await.problem(404), "not_found");
    }

    async fn the_stream_goes_on_where_a_reader_left_off(db: TestDb) {
        let api = Api::new(&db).await;
        api.post("/v1/accounts", &json!({"name": "S", "connector": "sandbox"})).send().await.ok(201);
        let open = async |query: &str, last: Option<&str>| {
            let mut request = Request::get(format!("/v1/stream{query}")).header("authorization", format!("Bearer {}", api.key));
            if let Some(last) = last {
                request = request.header("last-event-id", last);
            }
            let response = api.router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
            assert_eq!(response.status().as_u16(), 200);
            assert_eq!(response.headers()["content-type"], "text/event-stream");
            response.into_body().into_data_stream()
        };
        let next = async |stream: &mut BodyDataStream| String::from_utf8(stream.next().await.unwrap().unwrap().to_vec()).unwrap();
        let mut stream = open("?events=message.accepted", None).await;
        let start = next(&mut stream).await;
        assert!(start.starts_with("id: evt_") && start.lines().count() == 2, "where to go on when nothing comes: {start}");
        let send = async |to: &str| {
            let message = json!({"to": {"email": to}, "content": {"subject": "Hi", "text": "Hello"}});
            api.post("/v1/messages", &message).send().await.ok(202)["id"].as_str().unwrap().to_owned()
        };
        let (first, second) = (send("ada@example.com").await, send("bob@example.com").await);
        let frame = next(&mut stream).await;
        assert!(frame.starts_with("id: evt_") && frame.ends_with("\n\n") && frame.contains(&first), "{frame}");
        drop(stream);
        let last = frame.lines().next().unwrap().trim_start_matches("id: ");
        for (query, header) in [("?events=message.accepted".to_owned(), Some(last)), (format!("?events=message.accepted&last_event_id={last}"), None)] {
            let mut stream = open(&query, header).await;
            let frame = next(&mut stream).await;
            assert!(frame.contains(&second), "{frame}");
        }
    }
}

#[test]
fn the_operator_follows_its_alerts_without_naming_a_tenant() {
    testkit::on_sqlite(async |db: TestDb| {
        let api = told(&db).await;
        let open = async |query: &str| {
            let request = Request::get(format!("/v1/stream{query}"));
            let request = request.header("authorization", format!("Bearer {}", api.operator));
            let response = api.router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
            assert_eq!(response.status().as_u16(), 200, "{query}");
            assert_eq!(response.headers()["content-type"], "text/event-stream");
            response.into_body().into_data_stream()
        };
        for query in ["", "?events=operator_alert.firing"] {
            let mut stream = open(query).await;
            let start = String::from_utf8(stream.next().await.unwrap().unwrap().to_vec()).unwrap();
            assert!(start.starts_with("id: evt_") && start.lines().count() == 2, "{start}");
        }
        let seen = api.get("/v1/stream?events=message.*").for_operator().send().await;
        assert_eq!(seen.problem(422), "invalid_request", "what else happens in the tenant is the tenant's");
    });
}

#[test]
fn a_stream_needs_a_real_place_and_real_filters() {
    testkit::on_sqlite(async |db: TestDb| {
        let api = Api::new(&db).await;
        let seen = api.get("/v1/stream").header("last-event-id", "42").send().await;
        assert_eq!(seen.problem(400), "invalid_last_event_id");
        let seen = api.get("/v1/stream?events=message.*,nothing").send().await;
        assert!(matches!(seen.status.as_u16(), 400 | 422), "{}", seen.text());
        assert_eq!(api.get("/v1/stream?from=1").send().await.problem(400), "invalid_query");
        let seen = api.get("/v1/stream").for_operator().send().await;
        assert_eq!(
            seen.problem(400),
            "tenant_required",
            "nothing is told to the operator where `mail_tenant` is not set"
        );
        assert!(seen.json()["detail"].as_str().unwrap().contains("`mail_tenant`"), "{}", seen.text());
    });
}
