//! Where providers call: raw bodies, raw queries, no key, and what comes of it.

use serde_json::{Value, json};
use testkit::TestDb;

use crate::support::{Api, Call, Seen};

const SECRET: &str = "abc_DEF-123";

/// A Telegram account, by its id.
pub async fn bot(api: &Api, key: &str) -> String {
    let settings = json!({"bot_token": "123456789:AAFakeTokenFakeTokenFakeTokenFakeTok", "secret_token": SECRET});
    let new = json!({"name": "Bot", "connector": "telegram", "settings": settings});
    let made = api.post("/v1/accounts", &new).bearer(key).send().await.ok(201);
    made["id"].as_str().unwrap().to_owned()
}

/// Somebody writes to a bot.
pub fn written(id: i64, text: &str) -> Value {
    json!({"update_id": id, "message": {
        "message_id": id, "date": 1_795_253_380, "chat": {"id": 987_654_321, "type": "private", "first_name": "Ada"},
        "from": {"id": 987_654_321, "is_bot": false, "first_name": "Ada"}, "text": text,
    }})
}

fn telegram<'a>(api: &'a Api, path: &str, body: &Value) -> Call<'a> {
    let call = api.call("POST", path).anonymous().header("x-telegram-bot-api-secret-token", SECRET);
    call.header("content-type", "application/json").bytes(body.to_string())
}

/// A message somebody wrote to the key's tenant, by its id.
pub async fn inbound_message(api: &Api, key: &str) -> String {
    let account = bot(api, key).await;
    let seen = telegram(api, &format!("/hooks/{account}"), &written(1, "Hello")).send().await;
    assert_eq!(seen.status.as_u16(), 200, "{}", seen.text());
    let listed = api.get("/v1/inbound-messages").bearer(key).send().await.ok(200);
    listed["data"][0]["id"].as_str().unwrap().to_owned()
}

async fn count(api: &Api, path: &str) -> usize {
    api.get(path).send().await.ok(200)["data"].as_array().unwrap().len()
}

testkit::both! {
    async fn a_message_comes_in_once_however_often_it_is_delivered(db: TestDb) {
        let api = Api::new(&db).await;
        let path = format!("/hooks/{}", bot(&api, &api.key).await);
        for _ in 0..3 {
            let seen = telegram(&api, &path, &written(7, "Where is my ticket?")).send().await;
            assert_eq!(seen.status.as_u16(), 200, "{}", seen.text());
        }
        let listed = api.get("/v1/inbound-messages?channel=telegram").send().await.ok(200);
        assert_eq!((listed["data"].as_array().unwrap().len(), &listed["data"][0]["text"]), (1, &json!("Where is my ticket?")));
        let id = listed["data"][0]["id"].as_str().unwrap();
        assert_eq!(api.get(&format!("/v1/inbound-messages/{id}")).send().await.ok(200), listed["data"][0]);
        let log = api.get("/v1/callback-log?verdict=valid").send().await.ok(200);
        assert_eq!((log["data"].as_array().unwrap().len(), &log["data"][0]["repeats"]), (1, &json!(2)));
        let entry = api.get(&format!("/v1/callback-log/{}", log["data"][0]["id"].as_str().unwrap())).send().await.ok(200);
        assert!(entry["body"].as_str().unwrap().contains("Where is my ticket?") && !entry.to_string().contains(SECRET), "{entry}");
    }

    async fn a_request_that_is_not_the_providers_changes_nothing(db: TestDb) {
        let api = Api::new(&db).await;
        let path = format!("/hooks/{}", bot(&api, &api.key).await);
        let check = async |seen: Seen| assert_eq!(seen.problem(401), "callback_not_verified");
        check(telegram(&api, &path, &written(7, "x")).header("x-telegram-bot-api-secret-token", "wrong").send().await).await;
        check(telegram(&api, &path, &written(7, "x")).header("x-telegram-bot-api-secret-token", "").send().await).await;
        check(api.get(&path).anonymous().send().await).await;
        assert_eq!(count(&api, "/v1/inbound-messages").await, 0);
        assert_eq!(count(&api, "/v1/callback-log?verdict=invalid").await, 3);
    }
}

#[test]
fn path_and_query_arrive_as_they_were_sent() {
    testkit::on_sqlite(async |db: TestDb| {
        let api = Api::new(&db).await;
        let account = bot(&api, &api.key).await;
        let query = "a=%2B1%20b&b=x+y&&empty=";
        let path = format!("/hooks/{account}/status/a%2Fb?{query}");
        assert_eq!(telegram(&api, &path, &written(7, "x")).send().await.status.as_u16(), 200);
        let log = api.get("/v1/callback-log").send().await.ok(200);
        assert_eq!((&log["data"][0]["path"], &log["data"][0]["query"]), (&json!("/status/a%2Fb"), &json!(query)));
    });
}

#[test]
fn what_is_not_an_account_or_is_too_large_is_refused() {
    testkit::on_sqlite(async |db: TestDb| {
        let api = Api::new(&db).await;
        for id in ["acc_01K9ZC8Q6T7Y2V5B3N4M1XWRSD", "nonsense", "msg_01K9ZC8Q6T7Y2V5B3N4M1XWRSD"] {
            assert_eq!(
                telegram(&api, &format!("/hooks/{id}"), &written(1, "x")).send().await.problem(404),
                "not_found"
            );
            assert_eq!(
                telegram(&api, &format!("/hooks/{id}/x"), &written(1, "x")).send().await.problem(404),
                "not_found"
            );
        }
        let path = format!("/hooks/{}", bot(&api, &api.key).await);
        let large = telegram(&api, &path, &json!({})).bytes(vec![b' '; (1 << 20) + 1]).send().await;
        assert_eq!(large.problem(413), "body_too_large");
        assert_eq!(api.call("DELETE", &path).send().await.problem(405), "method_not_allowed");
        assert_eq!(api.call("DELETE", &format!("{path}/x")).send().await.problem(405), "method_not_allowed");
    });
}
