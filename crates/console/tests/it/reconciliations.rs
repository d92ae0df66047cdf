//! Records compared with a provider's: begun from a form, followed, and its differences leafed through.

use engine::reconciliations::work;
use serde_json::json;
use testkit::{Stage, both};

use crate::{
    pages::{HOSTILE, in_order},
    visitor::Visitor,
};

const PATH: &str = "/console/reconciliations";

both! {
    async fn a_table_is_compared_and_what_differs_is_shown_by_kind(db: TestDb) {
        let stage = Stage::new(&db).await;
        let account = stage.account("sandbox", json!({}), None).await.to_string();
        let visitor = Visitor::new(&stage).await;
        let empty = visitor.get(PATH).await;
        in_order(PATH, &empty);
        assert!(empty.text.contains("Nothing was compared yet"));
        in_order("new", &visitor.get(&format!("{PATH}/new")).await);
        let sent = stage.send(json!({"to": {"phone": "+12025550123"}, "channel": "sms", "content": {"text": "x"}})).await;
        stage.pass(12_000).await;
        stage.world.clock.advance_ms(180_000);

        let now = stage.engine.ports.clock.now();
        let (from, to) = (now.plus_seconds(-7_200), now);
        let minute = |at: model::Timestamp| at.to_string()[..16].to_owned();
        let (from, to) = (minute(from), minute(to.plus_seconds(-60)));
        let wrong = visitor.post(PATH, &[("account_id", &account), ("month", ""), ("starts_at", ""), ("ends_at", "soon")]).await;
        assert!(wrong.status == 422 && wrong.text.contains("f-starts_at-error") && wrong.text.contains("f-ends_at-error"), "{}", wrong.text);
        let wrong = visitor.post(PATH, &[("account_id", &account), ("month", ""), ("starts_at", &from), ("ends_at", &to), ("csv", "name\nx")]).await;
        assert!(wrong.status == 422 && wrong.text.contains("f-csv-error") && wrong.text.contains("<details class=\"more\" id=\"table\" open"), "{}", wrong.text);

        // More than a page of what only the provider has, and an id that tries to break the page.
        let rows: String = (0..120).map(|number| format!("SM{number:04},{from}:00Z,-0.0075,USD\n")).collect();
        let table = format!("sid,date_sent,price,currency\n{rows}\"{}\",{from}:00Z,,\n", HOSTILE.replace('"', "'"));
        let made = visitor.post(PATH, &[("account_id", &account), ("month", ""), ("starts_at", &from), ("ends_at", &to), ("csv", &table)]).await;
        assert_eq!(made.status, 303, "{}", made.text);
        let path = made.location().to_owned();
        let running = visitor.get(&path).await;
        in_order(&path, &running);
        assert!(running.text.contains("Comparing") && running.text.contains("every 2s"), "{}", running.text);
        assert!(visitor.get(PATH).await.text.contains("every 3s"));
        while work::run(&stage.engine).await.unwrap() > 0 {}
        let page = visitor.get(&path).await;
        in_order(&path, &page);
        assert!(page.text.contains("Only the provider has it") && page.text.contains("Below 99.9 %") && !page.text.contains("every 2s"), "{}", page.text);
        let next = page.text.split_once("rel=\"next\" href=\"").expect("there is more than a page").1.split('"').next().unwrap().replace("&amp;", "&");
        let second = visitor.get(&next).await;
        in_order(&next, &second);
        assert!(second.text.contains("SM0119") && !second.text.contains("SM0001"), "{}", second.text);
        assert!(visitor.get(&format!("{path}?kind=price")).await.text.contains("No difference of this kind"));
        assert!(visitor.get(&format!("{path}?kind=nonsense&cursor=%00")).await.text.contains("SM0001"), "what no list gave out is the beginning");
        let csv = visitor.get(&format!("{path}/differences.csv")).await;
        assert!(csv.text.starts_with("kind,record,") && csv.text.lines().count() > 120, "{}", csv.text);

        // Parts differ of one of ours.
        let sent = stage.message(sent).await.provider_message_id.unwrap();
        let table = format!("sid;segments\n{sent};4\n");
        let made = visitor.post(PATH, &[("account_id", &account), ("month", ""), ("starts_at", &from), ("ends_at", &to), ("csv", &table)]).await;
        while work::run(&stage.engine).await.unwrap() > 0 {}
        let page = visitor.get(&format!("{}?kind=segments", made.location())).await;
        assert!(page.text.contains("In other segments") && page.text.contains(&sent), "{}", page.text);

        let month = now.to_string()[..7].to_owned();
        let refused = visitor.post(PATH, &[("account_id", &account), ("month", &month)]).await;
        assert!(refused.status == 422 && refused.text.contains("export them there"), "the sandbox has no list of its own: {}", refused.text);
        let viewer = Visitor::with_role(&stage, "viewer").await;
        assert!(!viewer.get(PATH).await.text.contains("Compare records") && viewer.get(&path).await.status == 200);
        assert_eq!(viewer.get(&format!("{PATH}/new")).await.status, 403);
        assert_eq!(viewer.post(PATH, &[("account_id", &account), ("month", &month)]).await.status, 403);
        assert_eq!(visitor.get(&format!("{PATH}/rec_01K9ZC8Q6T7Y2V5B3N4M1XWRSD")).await.status, 404);
    }
}
