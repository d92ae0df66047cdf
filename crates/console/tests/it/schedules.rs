//! Messages that repeat, made in the composer.

use serde_json::json;
use testkit::{Stage, both};

use crate::{
    pages::{HOSTILE, in_order},
    visitor::Visitor,
};

const PATH: &str = "/console/schedules";

both! {
    async fn a_message_is_made_to_repeat_and_ended(db: TestDb) {
        let stage = Stage::new(&db).await;
        stage.account("sandbox", json!({}), None).await;
        let visitor = Visitor::new(&stage).await;
        let empty = visitor.get(PATH).await;
        in_order(PATH, &empty);
        assert!(empty.text.contains("Nothing repeats"));
        let form = [("channel", "sms"), ("key", "k1"), ("to", "+12025550123"), ("content/text", HOSTILE), ("repeat", "daily"), ("schedule_name", HOSTILE)];
        let but = |name: &'static str, value: &'static str| form.iter().copied().filter(|(known, _)| *known != name).chain([(name, value)]).collect::<Vec<_>>();
        for (name, value, field) in [("schedule_name", "", "schedule_name"), ("to", "nobody", "to"), ("ends_at", "soon", "ends_at"), ("repeat", "sometimes", "repeat"), ("send_at", "soon", "send_at")] {
            let wrong = visitor.post("/console/compose", &but(name, value)).await;
            assert!(wrong.status == 422 && wrong.text.contains(&format!("f-{field}-error")), "{name}={value}: {}", wrong.text);
        }
        let made = visitor.post("/console/compose", &form).await;
        let path = made.location().to_owned();
        assert!(path.starts_with(PATH), "{path}");
        assert_eq!(visitor.post("/console/compose", &form).await.location(), path, "the same form sent twice repeats once");
        let page = visitor.get(&path).await;
        in_order(&path, &page);
        assert!(page.text.contains("Every day") && page.text.matches("Leave out").count() == 20, "each occurrence has its button: {}", page.text);
        let at = page.text.split_once("name=\"at\" value=\"").unwrap().1.split('"').next().unwrap().to_owned();
        assert_eq!(visitor.post(&format!("{path}/skip"), &[("at", &at)]).await.location(), path);
        assert!(!visitor.get(&path).await.text.contains(&format!("value=\"{at}\"")));
        assert_eq!(visitor.post(&format!("{path}/skip"), &[("at", "never")]).await.status, 404);
        stage.world.clock.advance_ms(3 * 86_400_000);
        stage.tick().await;
        // Nobody stays signed in for so long.
        let visitor = Visitor::new(&stage).await;
        let page = visitor.get(&path).await;
        in_order(&path, &page);
        assert!(page.text.contains(">Accepted<") && page.text.contains("/console/messages/msg_"), "{}", page.text);
        let list = visitor.get(PATH).await;
        in_order(PATH, &list);
        assert!(list.text.contains("Goes on") && list.text.contains("+12025550123"), "{}", list.text);

        let viewer = Visitor::with_role(&stage, "viewer").await;
        let looked = viewer.get(&path).await.text;
        assert!(!looked.contains("Leave out") && !looked.contains("End it"), "{looked}");
        for action in ["cancel", "skip", "delete"] {
            assert_eq!(viewer.post(&format!("{path}/{action}"), &[("at", &at)]).await.status, 403, "{action}");
        }
        visitor.post(&format!("{path}/cancel"), &[]).await;
        assert!(visitor.get(&path).await.text.contains("Nothing more comes"));
        assert_eq!(visitor.post(&format!("{path}/delete"), &[]).await.location(), PATH);
        assert_eq!(visitor.get(&path).await.status, 404);
    }
}
