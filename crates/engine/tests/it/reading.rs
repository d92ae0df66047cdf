//! Reading messages: one, lists, timelines, usage, on both engines.

use model::MessageId;
use serde_json::{Value, json};
use testkit::{Stage, broken_before};
use tidings_engine::{
    Error,
    keys::{Caller, Scopes},
    queries::ListQuery,
    usage::UsageQuery,
};

use crate::hooks::{SID, call, neighbour, now, read, report, sms, taken, twilio};

async fn ids(stage: &Stage, query: ListQuery) -> Vec<Value> {
    let list = read(stage.engine.messages(&stage.caller, &query).await);
    list["data"].as_array().unwrap().iter().map(|message| message["id"].clone()).collect()
}

fn q(text: impl ToString) -> ListQuery {
    ListQuery { q: Some(text.to_string()), ..ListQuery::default() }
}

fn refused(answer: Result<Vec<u8>, Error>) -> (u16, String) {
    let error = answer.unwrap_err();
    (error.kind.status(), error.errors.first().map_or_else(|| error.code.to_owned(), |field| field.pointer.clone()))
}

testkit::both! {
    async fn a_message_is_shown_to_its_tenant_only(db: TestDb) {
        let (stage, account) = twilio(&db, |_| taken()).await;
        let id = stage.send(sms()).await;
        let shown = read(stage.engine.message(&stage.caller, id).await);
        assert_eq!((&shown["id"], &shown["status"], &shown["account_id"]), (&json!(id), &json!("queued"), &json!(account)));
        let other = neighbour(&stage).await;
        assert_eq!(refused(other.engine.message(&other.caller, id).await), (404, "not_found".to_owned()));
        assert_eq!(refused(other.engine.timeline(&other.caller, id).await), (404, "not_found".to_owned()));
        assert_eq!(refused(stage.engine.message(&stage.caller, MessageId::from_ulid(3)).await), (404, "not_found".to_owned()));
        let blind = Caller { scopes: Scopes::from_stored("usage:read"), ..stage.caller.clone() };
        assert_eq!(refused(stage.engine.message(&blind, id).await).0, 403);
        assert_eq!(refused(stage.engine.messages(&blind, &ListQuery::default()).await).0, 403);
        assert_eq!(refused(stage.engine.timeline(&blind, id).await).0, 403);
    }

    async fn lists_are_filtered_and_paged(db: TestDb) {
        let (stage, account) = twilio(&db, |_| taken()).await;
        let start = now(&stage);
        let mut sent = Vec::new();
        for n in 0..5 {
            let mut request = sms();
            request["to"]["phone"] = json!(format!("+491511234560{n}"));
            sent.push(json!(stage.send(request).await));
            stage.world.clock.advance_ms(1_000);
        }
        sent.reverse();
        let all = || ListQuery::default();
        assert_eq!(ids(&stage, all()).await, sent);
        assert_eq!(ids(&stage, ListQuery { status: Some(model::Status::Queued), ..all() }).await, sent);
        assert_eq!(ids(&stage, ListQuery { status: Some(model::Status::Failed), ..all() }).await, Vec::<Value>::new());
        assert_eq!(ids(&stage, ListQuery { channel: Some(model::Channel::Email), ..all() }).await, Vec::<Value>::new());
        assert_eq!(ids(&stage, ListQuery { account_id: Some(account), ..all() }).await, sent);
        let middle = ListQuery { since: Some(start.plus_seconds(1)), until: Some(start.plus_seconds(3)), ..all() };
        assert_eq!(ids(&stage, middle).await, sent[2..4]);
        let mut pages = Vec::new();
        let mut cursor = None;
        loop {
            let page = read(stage.engine.messages(&stage.caller, &ListQuery { limit: Some(2), cursor, ..all() }).await);
            pages.push(page["data"].as_array().unwrap().len());
            cursor = page["next_cursor"].as_str().map(str::to_owned);
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!(pages, [2, 2, 1]);
        let other = neighbour(&stage).await;
        assert_eq!(ids(&other, all()).await, Vec::<Value>::new());
        assert_eq!(refused(stage.engine.messages(&stage.caller, &ListQuery { cursor: Some("x".to_owned()), ..all() }).await), (400, "invalid_cursor".to_owned()));
        assert_eq!(refused(stage.engine.messages(&stage.caller, &ListQuery { limit: Some(501), ..all() }).await), (400, "invalid_limit".to_owned()));
        assert_eq!(refused(stage.engine.messages(&stage.caller, &q("")).await), (400, "?q".to_owned()));
    }

    async fn a_search_finds_by_id_provider_id_and_address(db: TestDb) {
        let (stage, _) = twilio(&db, |_| taken()).await;
        let first = stage.send(sms()).await;
        stage.dispatch().await;
        let mut request = sms();
        request["to"]["phone"] = json!("+4915100000000");
        let second = stage.send(request).await;
        assert_eq!(ids(&stage, q(first)).await, [json!(first)]);
        assert_eq!(ids(&stage, q(SID)).await, [json!(first)]);
        assert_eq!(ids(&stage, q("+4915100000000")).await, [json!(second)]);
        assert_eq!(ids(&stage, q("+4915")).await, Vec::<Value>::new(), "an address is searched for as a whole");
        assert_eq!(ids(&stage, ListQuery { status: Some(model::Status::Queued), ..q(SID) }).await, Vec::<Value>::new());
        assert_eq!(ids(&stage, ListQuery { status: Some(model::Status::Sent), ..q(first) }).await, [json!(first)]);
        let other = neighbour(&stage).await;
        for text in [first.to_string(), SID.to_owned(), "+4915100000000".to_owned()] {
            assert_eq!(ids(&other, q(text)).await, Vec::<Value>::new());
        }
    }

    async fn a_timeline_tells_everything_in_order(db: TestDb) {
        let (stage, account) = twilio(&db, {
            let failures = std::sync::atomic::AtomicU32::new(1);
            move |_| {
                let is_first = failures.swap(0, std::sync::atomic::Ordering::SeqCst) > 0;
                if is_first { broken_before("connect_refused") } else { taken() }
            }
        })
        .await;
        let id = stage.send(sms()).await;
        stage.dispatch().await;
        let timeline = read(stage.engine.timeline(&stage.caller, id).await);
        let last = timeline["data"].as_array().unwrap().last().unwrap().clone();
        assert_eq!(last["type"], "next_attempt");
        stage.pass(5_000).await;
        call(&stage, account, report(account, Some(id), SID, "delivered")).await.unwrap();
        let timeline = read(stage.engine.timeline(&stage.caller, id).await);
        let entries = timeline["data"].as_array().unwrap();
        let told: Vec<&str> = entries.iter().map(|entry| entry["type"].as_str().unwrap()).collect();
        assert_eq!(told, ["accepted", "routed", "attempt", "attempt", "change", "observation", "change"]);
        assert_eq!((&entries[0]["to"], &entries[0]["content"]["text"]), (&json!("+4915112345678"), &json!("Hello")));
        assert_eq!((&entries[1]["connector"], entries[1]["why"].is_string()), (&json!("twilio"), true));
        assert_eq!((&entries[2]["outcome"], &entries[2]["id"]), (&json!("unavailable"), &json!(id.attempt(1))));
        assert_eq!((&entries[3]["outcome"], &entries[3]["number"], &entries[3]["provider_message_id"]), (&json!("accepted"), &json!(2), &json!(SID)));
        let exchange = entries[3]["exchange"].to_string();
        assert!(exchange.contains("Messages.json") && !exchange.contains(crate::hooks::TOKEN), "{exchange}");
        assert_eq!((&entries[5]["kind"], &entries[5]["source"]), (&json!("delivered"), &json!("provider")));
        assert_eq!((&entries[4]["status"], &entries[6]["status"]), (&json!("sent"), &json!("delivered")));
    }

    async fn usage_is_grouped_as_asked(db: TestDb) {
        let (stage, _) = twilio(&db, |_| taken()).await;
        stage.account("sandbox", json!({}), None).await;
        stage.send(sms()).await;
        stage.send(json!({ "to": { "email": "ada@example.com" }, "purpose": "marketing", "content": { "subject": "Hi", "text": "x" } })).await;
        stage.dispatch().await;
        let usage = |query: UsageQuery| {
            let stage = &stage;
            async move { read(stage.engine.usage(&stage.caller, &query).await) }
        };
        let all = usage(UsageQuery::default()).await;
        assert_eq!((&all["month"], all["data"].as_array().unwrap().len(), &all["totals"]["sent"]), (&json!("2026-11"), 2, &json!(2)));
        let by = UsageQuery { group_by: Some("provider".to_owned()), month: Some("2026-11".to_owned()), day: None };
        let rows = usage(by.clone()).await["data"].clone();
        assert_eq!((&rows[0]["provider"], &rows[1]["provider"], &rows[0]["accepted"]), (&json!("sandbox"), &json!("twilio"), &json!(1)));
        let csv = String::from_utf8(stage.engine.usage_csv(&stage.caller, &by).await.unwrap()).unwrap();
        assert!(csv.starts_with("month,provider,accepted,sent,") && csv.lines().count() == 3, "{csv}");
        assert!(csv.lines().next().unwrap().ends_with(",segments,recipients,bytes"), "{csv}");
        assert_eq!(csv.lines().skip(1).collect::<Vec<_>>(), ["2026-11,sandbox,1,1,0,0,0,0,0,0,0,0,0,1,3", "2026-11,twilio,1,1,0,0,0,0,0,0,0,0,1,1,5"]);
        let before = usage(UsageQuery { month: Some("2026-10".to_owned()), ..UsageQuery::default() }).await;
        assert_eq!((&before["data"], &before["totals"]["accepted"]), (&json!([]), &json!(0)));
        let bad = UsageQuery { month: Some("november".to_owned()), ..UsageQuery::default() };
        assert_eq!(refused(stage.engine.usage(&stage.caller, &bad).await), (400, "?month".to_owned()));
        let tenant = UsageQuery { group_by: Some("tenant".to_owned()), ..UsageQuery::default() };
        assert_eq!(refused(stage.engine.usage(&stage.caller, &tenant).await), (400, "?group_by".to_owned()));
        let other = neighbour(&stage).await;
        assert_eq!(read(other.engine.usage(&other.caller, &UsageQuery::default()).await)["data"], json!([]));
        let operator = Caller::system(None);
        let everybody = read(stage.engine.usage(&operator, &tenant).await);
        assert_eq!((&everybody["data"][0]["tenant_id"], &everybody["data"][0]["accepted"]), (&json!(stage.tenant), &json!(2)));
        assert_eq!(everybody["data"].as_array().unwrap().len(), 1);
    }
}
