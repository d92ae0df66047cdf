//! Lists, segments, consent, preferences and the suppression list.

use testkit::{Stage, both};

use crate::{
    pages::{HOSTILE, in_order},
    visitor::Visitor,
};

both! {
    async fn a_contact_is_put_on_a_list_and_taken_off(db: TestDb) {
        let stage = Stage::new(&db).await;
        let visitor = Visitor::new(&stage).await;
        visitor.post("/console/lists", &[("name", HOSTILE), ("description", "")]).await;
        let page = visitor.get("/console/lists").await.text;
        let list = format!("lst_{}", &page.split("lst_").nth(1).unwrap()[..26]);
        let contact = visitor.post("/console/contacts", &[("name", "Ada"), ("email", "ada@example.com")]).await.location().to_owned();
        let (on, of_list) = (format!("{contact}/lists"), format!("/console/contacts?list={list}"));
        assert!(visitor.get(&contact).await.text.contains("On no list."));
        assert_eq!(visitor.post(&on, &[("on", &list)]).await.location(), contact);
        let shown = visitor.get(&contact).await;
        in_order("contact", &shown);
        assert!(shown.text.contains("Take off") && !shown.text.contains("Put on this list"), "{}", shown.text);
        assert!(visitor.get(&of_list).await.text.contains("ada@example.com"));
        let viewer = Visitor::with_role(&stage, "viewer").await;
        assert!(!viewer.get(&contact).await.text.contains("Take off"));
        assert_eq!(viewer.post(&on, &[("off", list.as_str())]).await.status, 403);
        assert_eq!(visitor.post(&on, &[]).await.status, 404);
        visitor.post(&on, &[("off", &list)]).await;
        assert!(!visitor.get(&of_list).await.text.contains("ada@example.com"));
    }

    async fn a_window_says_what_is_wrong_and_keeps_what_was_typed(db: TestDb) {
        let stage = Stage::new(&db).await;
        let visitor = Visitor::new(&stage).await;
        let path = "/console/suppressions";
        let page = visitor.get(path).await.text;
        assert!(page.contains("hx-target=\"#suppress-said\"") && page.contains("id=\"suppress-said\""), "{page}");
        let (wrong, right) = (("to", "nobody"), ("to", "ada@example.com"));
        let rest = [("on", "email"), ("blocks", "everything")];
        let refused = visitor.ask_in_window("suppress", path, &[wrong, rest[0], rest[1]]).await;
        assert!(refused.status == 422 && refused.text.contains("role=\"alert\""), "{}", refused.text);
        assert!(!refused.text.contains("<html") && !refused.headers.contains_key("set-cookie"), "only the word of it: {}", refused.text);
        let done = visitor.ask_in_window("suppress", path, &[right, rest[0], rest[1]]).await;
        assert_eq!((done.status.as_u16(), done.headers["hx-redirect"].to_str().unwrap(), done.text.as_str()), (200, path, ""));
        assert!(!done.headers.contains_key("location"), "a script would follow it by itself");
        // Without script the same is told on the page behind.
        assert_eq!(visitor.post(path, &[wrong, rest[0], rest[1]]).await.location(), path);
        // What answers with a page of its own takes the place of the one the window is on.
        let made = visitor.post("/console/settings/webhooks", &[("url", "https://hooks.example/in"), ("events", "message.*")]).await.text;
        let hook = format!("/console/settings/webhooks/whk_{}", made.split("whk_").nth(1).unwrap().split(['"', '<', '/']).next().unwrap());
        let secret = visitor.ask_in_window("rotate", &format!("{hook}/rotate"), &[]).await;
        assert_eq!((secret.status.as_u16(), secret.headers["hx-retarget"].to_str().unwrap()), (200, "body"), "{}", secret.text);
        let gone = Visitor::stranger(&stage).ask_in_window_bare("suppress", path, &[]).await;
        assert!(gone.headers["hx-redirect"].to_str().unwrap().starts_with("/console/sign-in"), "a session that ended leads to the door");
    }

    async fn a_segment_is_built_row_by_row_and_counted(db: TestDb) {
        let stage = Stage::new(&db).await;
        let visitor = Visitor::new(&stage).await;
        visitor.post("/console/contacts", &[("name", HOSTILE), ("email", "ada@example.com"), ("language", "de")]).await;
        visitor.post("/console/contacts", &[("name", "Bob"), ("email", "bob@example.com"), ("language", "en")]).await;
        let rows = [("name", "German"), ("match", "all"), ("rows", "2"), ("subject/0", "field:language"), ("text/0/test", "starts_with"), ("text/0/value", "de"), ("subject/1", "message"), ("message/1/test", "not_opened"), ("message/1/value", "30")];
        let counted = visitor.post("/console/segments/preview", &rows).await;
        assert!(counted.text.contains(">1</strong> contact<") && counted.text.contains("&lt;script&gt;"), "{}", counted.text);
        let wrong: Vec<_> = rows.iter().copied().map(|(name, value)| if name == "message/1/value" { (name, "soon") } else { (name, value) }).collect();
        assert!(visitor.post("/console/segments/preview", &wrong).await.text.contains("This cannot be asked yet"));
        let more = visitor.post("/console/segments/row", &rows).await;
        in_order("row", &more);
        assert!(more.text.contains("name=\"subject/2\"") && more.text.contains("value=\"German\""));
        let nothing = visitor.post("/console/segments", &[("name", "x"), ("rows", "1")]).await;
        assert!(nothing.status == 422 && nothing.text.contains("say at least one thing"), "{}", nothing.text);
        let made = visitor.post("/console/segments", &rows).await;
        assert_eq!(made.status, 303, "{}", made.text);
        let path = made.location().to_owned();
        let page = visitor.get(&path).await;
        in_order(&path, &page);
        assert!(page.text.contains("value=\"starts_with\" selected") && page.text.contains("value=\"not_opened\" selected"), "{}", page.text);
        let nested = [("name", "Nested"), ("conditions", r#"{"all":[{"any":[{"field":"language","is":"de"}]}]}"#)];
        assert_eq!(visitor.post(&path, &nested).await.location(), path);
        assert!(visitor.get(&path).await.text.contains("These conditions are nested"));
        let viewer = Visitor::with_role(&stage, "viewer").await;
        let looked = viewer.get(&path).await.text;
        assert!(!looked.contains("Save segment") && !looked.contains("Delete"), "{looked}");
        for path in [path.clone(), format!("{path}/delete"), "/console/segments".to_owned()] {
            assert_eq!(viewer.post(&path, &nested).await.status, 403, "{path}");
        }
        assert_eq!(visitor.post(&format!("{path}/delete"), &[]).await.location(), "/console/segments");
    }

    async fn what_a_contact_allows_and_prefers_is_recorded(db: TestDb) {
        let stage = Stage::new(&db).await;
        let visitor = Visitor::new(&stage).await;
        let contact = visitor.post("/console/contacts", &[("name", HOSTILE), ("email", "ada@example.com"), ("phone", "+12025550123")]).await;
        let (own, path) = (contact.location().to_owned(), format!("{}/consent", contact.location()));
        in_order(&path, &visitor.get(&path).await);
        assert!(visitor.get(&own).await.text.contains("Consent and preferences"));
        let allowed = visitor.post(&path, &[("channel", "whatsapp"), ("state", "opted_in"), ("text", HOSTILE), ("evidence", "form 12")]).await;
        assert_eq!(allowed.location(), path);
        let page = visitor.get(&path).await;
        in_order(&path, &page);
        assert!(page.text.contains("aria-checked=\"true\" aria-label=\"Messages by WhatsApp\"") && page.text.contains("form 12"), "{}", page.text);
        visitor.post(&path, &[("channel", "whatsapp"), ("state", "opted_out")]).await;
        assert!(!visitor.get(&path).await.text.contains("aria-checked=\"true\""));

        let prefers = format!("{own}/preferences");
        let refused = visitor.post(&prefers, &[("quiet_hours/from", "late"), ("quiet_hours/until", "09:00")]).await;
        assert!(refused.status == 422 && refused.text.contains("f-quiet_hours-from-error") && refused.text.contains("value=\"late\""), "{}", refused.text);
        let saved = visitor.post(&prefers, &[("channels/invoice_delivery", "sms"), ("reminders/frequency", "custom"), ("reminders/every_days", "10"), ("quiet_hours/from", "22:00"), ("quiet_hours/until", "09:00"), ("do_not_contact", "true")]).await;
        assert_eq!(saved.location(), path, "{}", saved.text);
        let page = visitor.get(&path).await.text;
        for kept in ["value=\"22:00\"", "value=\"10\"", "value=\"sms\" selected", "name=\"do_not_contact\" value=\"true\" checked"] {
            assert!(page.contains(kept), "{kept} is lost: {page}");
        }
        let viewer = Visitor::with_role(&stage, "viewer").await;
        let looked = viewer.get(&path).await.text;
        assert!(!looked.contains("role=\"switch\"") && !looked.contains("Save preferences"), "{looked}");
        for path in [&path, &prefers] {
            assert_eq!(viewer.post(path, &[("channel", "sms"), ("state", "opted_in")]).await.status, 403);
        }
    }

    async fn an_address_is_suppressed_and_lifted_with_a_reason(db: TestDb) {
        let stage = Stage::new(&db).await;
        let visitor = Visitor::new(&stage).await;
        let odd = visitor.post("/console/suppressions", &[("to", "nobody"), ("on", "email"), ("blocks", "everything")]).await;
        assert_eq!(odd.location(), "/console/suppressions");
        assert!(visitor.get("/console/suppressions").await.text.contains("Nobody is suppressed"));
        visitor.post("/console/suppressions", &[("to", "ada@example.com"), ("on", "email"), ("blocks", "marketing"), ("detail", HOSTILE)]).await;
        let page = visitor.get("/console/suppressions").await;
        in_order("suppressions", &page);
        assert!(page.text.contains("ada@example.com") && page.text.contains("Marketing only"), "{}", page.text);
        assert!(visitor.get("/console/suppressions?channel=sms").await.text.contains("No entry matches"));
        assert!(visitor.get("/console/suppressions/export").await.text.contains("ada@example.com"));
        let id = page.text.split("data-opens=\"lift-").nth(1).unwrap().split('"').next().unwrap().to_owned();
        let viewer = Visitor::with_role(&stage, "viewer").await;
        assert!(!viewer.get("/console/suppressions").await.text.contains("Lift"));
        assert_eq!(viewer.post(&format!("/console/suppressions/{id}/lift"), &[("why", "x")]).await.status, 403);
        visitor.post(&format!("/console/suppressions/{id}/lift"), &[("why", "they asked for it")]).await;
        assert!(visitor.get("/console/suppressions").await.text.contains("Nobody is suppressed"));
    }
}
