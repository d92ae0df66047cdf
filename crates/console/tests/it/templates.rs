//! Templates: written, looked at, published, taken back, and only looked at by those who may not write.

use serde_json::json;
use testkit::{Stage, both};

use crate::{
    pages::{HOSTILE, in_order},
    visitor::Visitor,
};

both! {
    async fn a_template_is_written_in_two_languages_published_and_taken_back(db: TestDb) {
        let stage = Stage::new(&db).await;
        let visitor = Visitor::new(&stage).await;
        let written = [("channel", "email"), ("name", "ticket-ready"), ("locale", "en"), ("markup", "html"), ("says/subject", "Hello {{ name }}"), ("says/html", "<p>Your ticket</p>")];
        let made = visitor.post("/console/templates", &written).await;
        assert_eq!(made.status, 303, "{}", made.text);
        let path = made.location().to_owned();
        let id = path.rsplit('/').next().unwrap();
        let page = visitor.get(&path).await;
        in_order(&path, &page);
        assert!(page.text.contains("Hello {{ name }}") && page.text.contains("Version 1"), "{}", page.text);

        let german = [("channel", "email"), ("template", id), ("base", "1"), ("locale", "de"), ("default_locale", "en"), ("markup", "none"), ("says/subject", "Hallo {{ name }}"), ("says/text", "Deine Karte"), ("variables/name/example", "Ada"), ("then", "publish")];
        let shown = visitor.post("/console/templates/preview", &german).await.text;
        assert!(shown.contains("Hallo Ada") && shown.contains("name=\"variables/name/default\""), "{shown}");
        let mail = visitor.post("/console/templates/preview/mail", &german).await;
        assert!(mail.text.contains("Deine Karte") && mail.headers["content-security-policy"].to_str().unwrap().starts_with("sandbox"));
        let saved = visitor.post(&path, &german).await;
        assert_eq!((saved.status.as_u16(), saved.location()), (303, format!("{path}?locale=de").as_str()), "{}", saved.text);
        let page = visitor.get(saved.location()).await.text;
        assert!(page.contains("Hallo {{ name }}") && page.contains("de, en") && page.contains("value=\"Ada\""), "{page}");

        let changes = visitor.get(&format!("{path}/compare?from=1&to=2")).await;
        in_order("changes", &changes);
        assert!(changes.text.contains("Subject (de)") && changes.text.contains("Deine Karte") && !changes.text.contains("Subject (en)"), "{}", changes.text);
        assert!(visitor.get(&format!("{path}/compare?from=2&to=2")).await.text.contains("Nothing changed"));
        assert_eq!(visitor.get(&format!("{path}/compare?from=7")).await.status, 404);

        let published = visitor.post(&format!("{path}/publish"), &[("version", "1")]).await;
        assert_eq!(published.status, 303);
        assert_eq!(visitor.post(&format!("{path}/rollback"), &[]).await.status, 303);
        let page = visitor.get(&path).await.text;
        assert!(page.contains("Taken back") && page.contains("Published"), "{page}");

        assert_eq!(visitor.post(&format!("{path}/about"), &[("rename", "other-name"), ("about", HOSTILE)]).await.status, 303);
        in_order(&path, &visitor.get(&path).await);
        let list = visitor.get("/console/templates").await;
        in_order("/console/templates", &list);
        assert!(list.text.contains("other-name") && list.text.contains("&lt;script&gt;"));
        assert_eq!(visitor.post(&format!("{path}/delete"), &[]).await.location(), "/console/templates");
        assert_eq!(visitor.get(&path).await.status, 404);
    }

    async fn what_cannot_be_sent_is_said_at_its_field_and_not_kept(db: TestDb) {
        let stage = Stage::new(&db).await;
        let visitor = Visitor::new(&stage).await;
        let made = visitor.post("/console/templates", &[("channel", "sms"), ("name", "code"), ("locale", "en"), ("says/text", "Code {{ code }} €")]).await;
        let path = made.location().to_owned();
        let id = path.rsplit('/').next().unwrap();
        let broken = [("channel", "sms"), ("template", id), ("base", "1"), ("locale", "en"), ("default_locale", "en"), ("says/text", "Code {{ code"), ("then", "publish")];
        let shown = visitor.post("/console/templates/preview", &broken).await;
        assert!(shown.status == 200 && shown.text.contains("It cannot be published like this"), "{}", shown.text);
        let refused = visitor.post(&path, &broken).await;
        assert!(refused.status == 422 && refused.text.contains("id=\"f-says-text-error\""), "{}", refused.text);
        assert!(!visitor.get(&path).await.text.contains("Version 2"), "nothing was kept");
        let same = visitor.post("/console/templates", &[("channel", "sms"), ("name", "code"), ("locale", "en"), ("says/text", "x")]).await;
        assert_eq!(same.status, 422, "{}", same.text);
    }

    async fn a_test_leaves_and_an_odd_address_does_not(db: TestDb) {
        let stage = Stage::new(&db).await;
        stage.account("sandbox", json!({}), None).await;
        let visitor = Visitor::new(&stage).await;
        let made = visitor.post("/console/templates", &[("channel", "sms"), ("name", "code"), ("locale", "en"), ("says/text", "Hello")]).await;
        let path = made.location().to_owned();
        let odd = visitor.post(&format!("{path}/test"), &[("to", "nobody")]).await;
        assert_eq!(odd.location(), path);
        let sent = visitor.post(&format!("{path}/test"), &[("to", "+1 202 555 0123"), ("version", "1"), ("locale", "en")]).await;
        assert!(sent.location().starts_with("/console/messages/msg_"), "{}", sent.location());
        in_order("message", &visitor.get(sent.location()).await);
    }

    async fn who_may_only_look_at_templates_cannot_write_them(db: TestDb) {
        let stage = Stage::new(&db).await;
        let writer = Visitor::new(&stage).await;
        let made = writer.post("/console/templates", &[("channel", "sms"), ("name", "code"), ("locale", "en"), ("says/text", "Hello")]).await;
        let path = made.location().to_owned();
        let viewer = Visitor::with_role(&stage, "viewer").await;
        let page = viewer.get(&path).await.text;
        for absent in ["Save draft", "Save and publish", "Send a test", ">Delete<", "Delete template", ">Publish<", "data-opens=\"language\""] {
            assert!(!page.contains(absent), "{absent} is shown");
        }
        assert!(!viewer.get("/console/templates").await.text.contains("Add template"));
        assert_eq!(viewer.get("/console/templates/new").await.status, 403);
        for action in ["publish", "rollback", "about", "delete", "test"] {
            assert_eq!(viewer.post(&format!("{path}/{action}"), &[("to", "+12025550123"), ("rename", "x")]).await.status, 403, "{action}");
        }
        assert_eq!(viewer.post(&path, &[("base", "1"), ("locale", "en"), ("says/text", "x")]).await.status, 403);
    }
}
