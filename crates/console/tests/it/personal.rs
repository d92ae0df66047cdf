//! One person's data: read as a file, made one with an entry of the same person, erased.

use serde_json::json;
use testkit::{Stage, both};

use crate::{
    pages::{HOSTILE, in_order},
    visitor::Visitor,
};

both! {
    async fn a_person_is_exported_joined_and_erased(db: TestDb) {
        let stage = Stage::new(&db).await;
        stage.account("sandbox", json!({}), None).await;
        let visitor = Visitor::new(&stage).await;
        let add = async |fields: &[(&str, &str)]| visitor.post("/console/contacts", fields).await.location().to_owned();
        let ada = add(&[("name", HOSTILE), ("email", "ada@example.com")]).await;
        let twin = add(&[("name", "Ada"), ("email", "ada.l@example.com"), ("phone", "+12025550177")]).await;
        stage.send(json!({"to": {"phone": "+12025550177"}, "channel": "sms", "content": {"text": "Hello"}})).await;
        stage.pass(12_000).await;
        let path = format!("{ada}/data");
        in_order(&path, &visitor.get(&path).await);
        assert!(visitor.get(&ada).await.text.contains(&format!("href=\"{path}\"")));

        let file = visitor.post(&format!("{path}/export"), &[]).await.location().to_owned();
        let zip = visitor.get(&file).await;
        assert!(zip.status == 200 && zip.headers["content-type"] == "application/zip" && zip.text.starts_with("PK"), "{}", zip.status);
        assert_eq!(visitor.get(&file.replace(".zip", "")).await.status, 404);

        for (from, why) in [("nobody@example.com", "no other contact has it"), ("ada@example.com", "no other contact has it"), ("con_01K9ZC8Q6T7Y2V5B3N4M1XWRSD", "no such contact")] {
            let wrong = visitor.post(&format!("{path}/merge"), &[("from", from)]).await;
            assert!(wrong.status == 422 && wrong.text.contains("f-from-error") && wrong.text.contains(why), "{from}: {}", wrong.text);
        }
        assert_eq!(visitor.post(&format!("{path}/merge"), &[("from", "Ada.L@example.com")]).await.location(), ada);
        assert_eq!(visitor.get(&twin).await.status, 404);
        assert!(visitor.get(&ada).await.text.contains("+12025550177"), "what one lacked it got from the other");

        assert_eq!(visitor.post(&format!("{path}/erase"), &[("sure", "yes")]).await.location(), path);
        assert_eq!(visitor.get(&ada).await.status, 200);
        assert_eq!(visitor.post(&format!("{path}/erase"), &[("sure", "Erase")]).await.location(), "/console/contacts");
        assert_eq!(visitor.get(&ada).await.status, 404);
    }

    async fn who_may_only_look_carries_nothing_away(db: TestDb) {
        let stage = Stage::new(&db).await;
        let owner = Visitor::new(&stage).await;
        let ada = owner.post("/console/contacts", &[("name", "Ada"), ("email", "ada@example.com")]).await.location().to_owned();
        let file = owner.post(&format!("{ada}/data/export"), &[]).await.location().to_owned();
        let viewer = Visitor::with_role(&stage, "viewer").await;
        assert!(!viewer.get(&ada).await.text.contains("Their data"));
        for path in [format!("{ada}/data"), file] {
            assert_eq!(viewer.get(&path).await.status, 403, "{path}");
        }
        for action in ["export", "merge", "erase"] {
            assert_eq!(viewer.post(&format!("{ada}/data/{action}"), &[("sure", "erase"), ("from", "x")]).await.status, 403, "{action}");
        }
        assert_eq!(owner.get(&ada).await.status, 200);
    }
}

both! {
    async fn rules_topics_and_fields_are_set_for_everybody(db: TestDb) {
        let stage = Stage::new(&db).await;
        let visitor = Visitor::new(&stage).await;
        let path = "/console/contacts/rules";
        in_order(path, &visitor.get(path).await);
        let wrong = visitor.post(path, &[("quiet_hours/from", "late"), ("frequency_cap/max", "3"), ("help_text", HOSTILE)]).await;
        assert!(wrong.status == 422 && wrong.text.contains("f-quiet_hours-from-error") && wrong.text.contains("f-frequency_cap-days-error"), "{}", wrong.text);
        let rules = [("quiet_hours/from", "22:00"), ("quiet_hours/until", "09:00"), ("frequency_cap/max", "3"), ("frequency_cap/days", "7"), ("stop_scope", "program"), ("help_text", HOSTILE), ("us_windows", "true")];
        assert_eq!(visitor.post(path, &rules).await.location(), path);
        let page = visitor.get(path).await;
        in_order(path, &page);
        assert!(page.text.contains("value=\"22:00\"") && page.text.contains("<option value=\"program\" selected>"), "{}", page.text);
        let long = "x".repeat(5_000);
        let wrong = visitor.post(path, &[("stop_text", long.as_str())]).await;
        assert!(wrong.status == 422 && wrong.text.contains("f-stop_text-error"), "{}", wrong.text);

        visitor.post(&format!("{path}/topics"), &[("name", "match_reports"), ("title", HOSTILE), ("description", HOSTILE)]).await;
        visitor.post(&format!("{path}/topics"), &[("name", "Not a word"), ("title", "x")]).await;
        for (name, kind) in [("seat", "text"), ("Seat", "text"), ("points", "nonsense")] {
            assert_eq!(visitor.post(&format!("{path}/fields"), &[("field-name", name), ("field-kind", kind)]).await.location(), path);
        }
        let page = visitor.get(path).await;
        in_order(path, &page);
        assert!(page.text.contains(">match_reports<") && page.text.contains(">seat<") && !page.text.contains(">Seat<") && !page.text.contains("points"), "{}", page.text);
        assert!(visitor.get("/console/contacts/new").await.text.contains("attributes/seat"));
        visitor.post("/console/contacts", &[("name", HOSTILE), ("email", "ada@example.com"), ("attributes/seat", "7B")]).await;
        let table = visitor.get("/console/contacts/export").await;
        assert!(table.status == 200 && table.text.contains("ada@example.com") && table.text.contains("7B"), "{}", table.text);
        let viewer = Visitor::with_role(&stage, "viewer").await;
        assert!(viewer.get(path).await.text.contains("<fieldset disabled>"));
        for to in ["topics/match_reports/delete", "fields/seat/delete"] {
            assert_eq!(viewer.post(&format!("{path}/{to}"), &[]).await.status, 403, "{to}");
            assert_eq!(visitor.post(&format!("{path}/{to}"), &[]).await.location(), path);
        }
        assert_eq!(visitor.post(&format!("{path}/fields/seat/delete"), &[]).await.status, 404);
        let page = visitor.get(path).await.text;
        assert!(!page.contains(">match_reports<") && page.contains("No fields of your own"), "{page}");
    }
}

both! {
    async fn a_list_shows_who_is_on_it_and_takes_them_by_address(db: TestDb) {
        let stage = Stage::new(&db).await;
        let visitor = Visitor::new(&stage).await;
        visitor.post("/console/lists", &[("name", HOSTILE), ("description", HOSTILE)]).await;
        let all = visitor.get("/console/lists").await;
        in_order("lists", &all);
        let path = all.text.split_once("class=\"cover\" href=\"").unwrap().1.split('"').next().unwrap().to_owned();
        let empty = visitor.get(&path).await;
        in_order(&path, &empty);
        assert!(empty.text.contains("Nobody is on it") && !empty.text.contains("Export"), "{}", empty.text);
        let ada = visitor.post("/console/contacts", &[("name", HOSTILE), ("email", "ada@example.com")]).await.location().to_owned();
        let wrong = visitor.post(&format!("{path}/add"), &[("contact", "bob@example.com")]).await;
        assert!(wrong.status == 422 && wrong.text.contains("f-contact-error") && wrong.text.contains("no contact has it") && wrong.text.contains("&lt;script&gt;"), "{}", wrong.text);
        assert_eq!(visitor.post(&format!("{path}/add"), &[("contact", "ADA@example.com")]).await.location(), path);
        let page = visitor.get(&path).await;
        in_order(&path, &page);
        assert!(page.text.contains("1 contact<") && page.text.contains(&ada), "{}", page.text);
        let wrong = visitor.post(&path, &[("name", ""), ("description", "x")]).await;
        assert!(wrong.status == 422 && wrong.text.contains("f-name-error"), "{}", wrong.text);
        assert_eq!(visitor.post(&path, &[("name", "Newsletter"), ("description", "")]).await.location(), path);
        let viewer = Visitor::with_role(&stage, "viewer").await;
        assert!(!viewer.get(&path).await.text.contains("Take off"));
        let id = ada.rsplit('/').next().unwrap();
        for action in ["add", "remove", "delete"] {
            assert_eq!(viewer.post(&format!("{path}/{action}"), &[("contact", id)]).await.status, 403, "{action}");
        }
        visitor.post(&format!("{path}/remove"), &[("contact", id)]).await;
        assert!(visitor.get(&path).await.text.contains("Nobody is on it"));
        assert_eq!(visitor.post(&format!("{path}/delete"), &[]).await.location(), "/console/lists");
        assert_eq!((visitor.get(&path).await.status.as_u16(), visitor.get(&ada).await.status.as_u16()), (404, 200), "its contacts stay");
    }
}
