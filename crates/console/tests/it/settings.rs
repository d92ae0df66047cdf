//! The tenant itself, branding, content rules, retention and the audit log.

use serde_json::json;
use testkit::{Stage, both};

use crate::{
    billing::operator,
    pages::{HOSTILE, in_order},
    visitor::Visitor,
};

both! {
    async fn administrators_say_what_their_tenant_is_called_and_where_it_is(db: TestDb) {
        let stage = Stage::new(&db).await;
        stage.account("sandbox", json!({}), None).await;
        let admin = Visitor::with_role(&stage, "admin").await;
        let path = "/console/settings";
        let page = admin.get(path).await;
        in_order(path, &page);
        assert!(page.text.contains(">Save<") && !page.text.contains("name=\"currency\""), "what it pays in is the operator's: {}", page.text);
        let fields = [("name", HOSTILE), ("timezone", "Europe/Berlin"), ("default_country", "DE"), ("currency", "XXX")];
        assert_eq!(admin.post(path, &fields).await.location(), path);
        let page = admin.get(path).await;
        in_order(path, &page);
        assert!(page.text.contains("value=\"Europe/Berlin\"") && page.text.contains("value=\"DE\"") && page.text.contains("<p>USD</p>"), "{}", page.text);
        let wrong = admin.post(path, &[("name", "Acme"), ("timezone", "Mars/Base"), ("default_country", "Germany")]).await;
        assert!(wrong.status == 422 && wrong.text.contains("f-timezone-error") && wrong.text.contains("value=\"Germany\"") && wrong.text.contains("<p>USD</p>"), "{}", wrong.text);
        let told = admin.get("/console/settings/audit?about=tenant").await.text;
        assert!(told.contains("Tenant updated") && told.contains("Vera Visitor"), "{told}");
        let member = Visitor::with_role(&stage, "member").await;
        assert!(!member.get(path).await.text.contains(">Save<"));
        assert_eq!(member.post(path, &fields).await.status, 403);
    }

    async fn the_operator_inside_changes_what_a_tenant_pays_in(db: TestDb) {
        let mut stage = Stage::new(&db).await;
        let staff = crate::billing::operator(&mut stage).await;
        let path = "/console/settings";
        assert!(staff.get(path).await.text.contains("name=\"currency\" type=\"text\" value=\"USD\""));
        let fields = [("name", "Acme"), ("timezone", "UTC"), ("currency", "EUR")];
        assert_eq!(staff.post(path, &fields).await.location(), path);
        assert!(staff.get(path).await.text.contains("value=\"EUR\""));
    }

    async fn where_a_message_says_nothing_the_settings_say_what_holds(db: TestDb) {
        let stage = Stage::new(&db).await;
        let visitor = Visitor::new(&stage).await;
        let bare = visitor.get("/console/settings").await.text;
        assert!(bare.contains("That of each template") && bare.contains("No account"), "{bare}");
        stage.account("sandbox", json!({}), None).await;
        visitor.post("/console/settings/branding", &[("sender_name", "Acme Tickets"), ("default_locale", "de")]).await;
        let rules = serde_json::from_value(json!({"quiet_hours": {"from": "21:30", "until": "08:00"}, "frequency_cap": {"max": 3, "days": 7}})).unwrap();
        stage.engine.patch_consent_policy(&stage.caller, rules).await.unwrap();
        let page = visitor.get("/console/settings").await.text;
        for said in [">Acme Tickets<", ">de<", ">21:30 to 08:00<", ">3 messages in 7 days<", ">sandbox<"] {
            assert!(page.contains(said), "{said}: {page}");
        }
    }

    async fn content_rules_are_written_and_refuse_messages(db: TestDb) {
        let stage = Stage::new(&db).await;
        stage.account("sandbox", json!({}), None).await;
        let visitor = Visitor::new(&stage).await;
        let path = "/console/settings/content";
        assert!(visitor.get(path).await.text.contains("No content rules"));
        in_order("new", &visitor.get("/console/settings/content/new").await);
        let wrong = visitor.post(path, &[("name", "x"), ("kind", "allowed"), ("links", " ")]).await;
        assert!(wrong.status == 422 && wrong.text.contains("f-links-error"), "{}", wrong.text);
        let fields = [("name", HOSTILE), ("kind", "words"), ("blocked_words/words", "casino\r\nget rich quick"), ("channels", "sms"), ("enabled", "true")];
        assert_eq!(visitor.post(path, &fields).await.location(), path);
        let list = visitor.get(path).await;
        in_order(path, &list);
        assert!(list.text.contains("Never: casino, get rich quick"), "{}", list.text);
        stage.engine.directory.catch_up().await;
        let said = visitor.post("/console/compose", &[("channel", "sms"), ("key", "k"), ("to", "+12025550123"), ("content/text", "Our Casino opens")]).await;
        assert!(said.status == 422 && said.text.contains("casino"), "{}", said.text);
        let own = format!("{path}/{}", list.text.split(&format!("href=\"{path}/crl_")).nth(1).map(|rest| format!("crl_{}", rest.split('"').next().unwrap())).unwrap());
        let page = visitor.get(&own).await;
        in_order(&own, &page);
        assert!(page.text.contains("get rich quick") && page.text.contains("value=\"sms\" checked"), "{}", page.text);
        let viewer = Visitor::with_role(&stage, "viewer").await;
        let seen = viewer.get(&own).await.text;
        assert!(!seen.contains(">Save<") && !seen.contains("Delete"), "{seen}");
        assert_eq!(viewer.get("/console/settings/content/new").await.status, 403);
        for path in [path.to_owned(), own.clone(), format!("{own}/delete")] {
            assert_eq!(viewer.post(&path, &fields).await.status, 403, "{path}");
        }
        assert_eq!(visitor.post(&own, &[("name", "Our sites"), ("kind", "allowed"), ("links", "acme.example"), ("enabled", "true")]).await.location(), path);
        assert!(visitor.get(path).await.text.contains("Links to acme.example only"));
        assert_eq!(visitor.post(&format!("{own}/delete"), &[]).await.location(), path);
        assert!(visitor.get(path).await.text.contains("No content rules"));
    }

    async fn how_long_things_are_kept_is_set_in_days(db: TestDb) {
        let stage = Stage::new(&db).await;
        let visitor = Visitor::new(&stage).await;
        let path = "/console/settings/retention";
        in_order(path, &visitor.get(path).await);
        let wrong = visitor.post(path, &[("message_content_days", "long"), ("exchanges_days", "30")]).await;
        assert!(wrong.status == 422 && wrong.text.contains("f-message_content_days-error") && wrong.text.contains("value=\"30\""), "{}", wrong.text);
        let short = visitor.post(path, &[("message_addresses_days", "3")]).await;
        assert!(short.status == 422 && short.text.contains("f-message_addresses_days-error"), "{}", short.text);
        assert_eq!(visitor.post(path, &[("message_content_days", "365"), ("callbacks_days", "")]).await.location(), path);
        assert!(visitor.get(path).await.text.contains("value=\"365\""));
        let viewer = Visitor::with_role(&stage, "viewer").await;
        assert_eq!(viewer.get(path).await.status, 403);
        assert_eq!(viewer.post(path, &[]).await.status, 403);
    }

    async fn branding_is_set_and_what_was_emptied_goes_back(db: TestDb) {
        let stage = Stage::new(&db).await;
        let visitor = Visitor::new(&stage).await;
        let path = "/console/settings/branding";
        in_order(path, &visitor.get(path).await);
        let wrong = visitor.post(path, &[("colors/primary", "blue-ish"), ("website_url", "nowhere")]).await;
        assert!(wrong.status == 422 && wrong.text.contains("f-colors-primary-error") && wrong.text.contains("f-website_url-error"), "{}", wrong.text);
        let fields = [("name", HOSTILE), ("postal_address", "1 High Street"), ("colors/primary", "#aa0000"), ("tracking/opens", "false")];
        assert_eq!(visitor.post(path, &fields).await.location(), path);
        let page = visitor.get(path).await;
        in_order(path, &page);
        for kept in ["value=\"1 High Street\"", "value=\"#aa0000\"", "value=\"false\" selected"] {
            assert!(page.text.contains(kept), "{kept} is lost: {}", page.text);
        }
        visitor.post(path, &[("name", "Acme")]).await;
        assert!(!visitor.get(path).await.text.contains("value=\"1 High Street\""));
        let viewer = Visitor::with_role(&stage, "viewer").await;
        assert!(!viewer.get(path).await.text.contains(">Save<"));
        assert_eq!(viewer.post(path, &fields).await.status, 403);
    }

    async fn the_audit_log_is_narrowed_by_noun_person_and_word(db: TestDb) {
        let stage = Stage::new(&db).await;
        let visitor = Visitor::new(&stage).await;
        visitor.post("/console/settings/content", &[("name", HOSTILE), ("kind", "footer"), ("required_footer/text", "Acme Ltd"), ("enabled", "true")]).await;
        stage.account("sandbox", json!({}), None).await;
        let all = visitor.get("/console/settings/audit").await;
        in_order("audit", &all);
        assert!(all.text.contains("Account created") && all.text.contains("Content rule created") && all.text.contains("Vera Visitor"), "{}", all.text);
        let check = async |query: &str, there: &str, gone: &str| {
            let page = visitor.get(&format!("/console/settings/audit?{query}")).await;
            in_order(query, &page);
            assert!(page.text.contains(&format!(">{there}<")) && !page.text.contains(&format!(">{gone}<")), "{query}: {}", page.text);
        };
        check("about=content_rule", "Content rule created", "Account created").await;
        check("about=account&period=day", "Account created", "Content rule created").await;
        check("by=system", "Account created", "Content rule created").await;
        check("q=acme+ltd", "Content rule created", "Account created").await;
        assert!(visitor.get("/console/settings/audit?about=domain").await.text.contains("No entry matches"));
    }

    async fn the_audit_log_is_taken_out_as_it_is_narrowed_and_that_is_written_down(db: TestDb) {
        let mut stage = Stage::new(&db).await;
        let owner = Visitor::new(&stage).await;
        stage.account("sandbox", json!({}), None).await;
        let path = "/console/settings/audit";
        let link = format!("{path}/export?about=account&amp;by=system&amp;period=day");
        assert!(owner.get(&format!("{path}?about=account&by=system&period=day")).await.text.contains(&link));
        let file = owner.get(&link.replace("&amp;", "&")).await;
        assert_eq!(file.headers["content-type"], "text/csv; charset=utf-8");
        assert_eq!(file.headers["content-disposition"], "attachment; filename=\"audit-log.csv\"");
        let actions = |text: &str| text.lines().skip(1).map(|line| line.split(',').nth(3).unwrap().to_owned()).collect::<Vec<_>>();
        assert_eq!(actions(&file.text), ["account.created"]);
        let told = owner.get(&format!("{path}?about=audit_log")).await.text;
        assert!(told.contains("Audit log exported") && told.contains("&quot;about&quot;: &quot;account&quot;"), "{told}");

        let visitor = operator(&mut stage).await;
        let system = "/console/operator/system";
        let page = visitor.get(&format!("{system}?about=tenant&tenant={}", stage.tenant)).await;
        in_order(system, &page);
        let link = format!("{system}/audit-log/export?about=tenant&amp;tenant={}", stage.tenant);
        assert!(page.text.contains(&link), "{}", page.text);
        let file = visitor.get(&link.replace("&amp;", "&")).await;
        assert!(file.status == 200 && actions(&file.text).contains(&"tenant.created".to_owned()), "{}", file.text);
        let none = visitor.get(&format!("{system}?about=account")).await;
        assert!(none.text.contains("No entry matches") && visitor.get(system).await.text.contains("Audit log exported"), "{}", none.text);
        assert_eq!(owner.get(&link.replace("&amp;", "&")).await.status, 403);
        let viewer = Visitor::with_role(&stage, "viewer").await;
        assert_eq!(viewer.get(&format!("{path}/export")).await.status, 403);
    }
}
