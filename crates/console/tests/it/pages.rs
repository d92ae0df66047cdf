//! Every page with nothing, with something, and with what tries to break it.

use serde_json::json;
use testkit::{Stage, both};

use crate::{
    billing::operator,
    visitor::{Shown, Visitor},
};

/// Pages somebody of a tenant can open.
pub const PAGES: &[&str] = &[
    "/console",
    "/console/messages",
    "/console/messages?status=failed&channel=sms&period=week&q=a%40b.example",
    "/console/dead-letters",
    "/console/inbound",
    "/console/schedules",
    "/console/invoices",
    "/console/invoices/new",
    "/console/compose",
    "/console/compose?channel=sms",
    "/console/compose?channel=voice",
    "/console/contacts",
    "/console/contacts/new",
    "/console/contacts/import",
    "/console/contacts/rules",
    "/console/lists",
    "/console/templates",
    "/console/templates?channel=sms",
    "/console/templates/new",
    "/console/templates/new?channel=whatsapp",
    "/console/campaigns",
    "/console/campaigns/new",
    "/console/campaigns/new?channel=sms",
    "/console/senders",
    "/console/routing",
    "/console/routing/new",
    "/console/routing/new?channel=sms",
    "/console/segments",
    "/console/segments/new",
    "/console/suppressions",
    "/console/suppressions?channel=sms&reason=complaint",
    "/console/channels",
    "/console/channels/new",
    "/console/channels/new/smtp",
    "/console/channels/new/twilio?channel=sms",
    "/console/analytics",
    "/console/analytics?period=year&channel=sms&by=campaign",
    "/console/analytics?period=quarter&by=template",
    "/console/analytics?by=variant",
    "/console/analytics?purpose=transactional&by=topic",
    "/console/analytics?provider=sandbox&by=account",
    "/console/alerts",
    "/console/alerts?state=resolved",
    "/console/alerts/rules",
    "/console/billing",
    "/console/billing/plan",
    "/console/billing/invoices",
    "/console/billing/invoices?state=paid",
    "/console/billing/prices",
    "/console/billing/purchases",
    "/console/billing/purchases/new",
    "/console/reconciliations",
    "/console/reconciliations/new",
    "/console/registration",
    "/console/registration/profile",
    "/console/registration/toll-free/new",
    "/console/usage",
    "/console/usage?month=2026-01",
    "/console/settings",
    "/console/settings/users",
    "/console/settings/users/new",
    "/console/me",
    "/console/settings/keys",
    "/console/settings/keys/new",
    "/console/settings/webhooks",
    "/console/settings/webhooks/new",
    "/console/settings/branding",
    "/console/settings/content",
    "/console/settings/content/new",
    "/console/settings/retention",
    "/console/settings/audit",
    "/console/settings/audit?about=account&by=system&period=week&q=x",
    "/console/settings/callbacks",
    "/console/palette?q=mess",
];

/// Pages of the operator's staff.
pub const OPERATOR_PAGES: &[&str] = &[
    "/console/tenants",
    "/console/tenants/new",
    "/console/demos",
    "/console/operator/accounts",
    "/console/operator/queue",
    "/console/operator/alerts",
    "/console/operator/alerts/rules",
    "/console/operator/analytics",
    "/console/operator/plans",
    "/console/operator/plans/new",
    "/console/operator/invoices",
    "/console/operator/invoices/settings",
    "/console/operator/payments",
    "/console/operator/payments/callbacks",
    "/console/operator/prices",
    "/console/operator/prices/new",
    "/console/operator/registrations",
    "/console/operator/numbers",
    "/console/operator/numbers/new",
    "/console/operator/system",
];

pub const HOSTILE: &str =
    "<script>alert(1)</script>\"'> “مرحبا” 👩‍👩‍👧 Donaudampfschifffahrtselektrizitätenhauptbetriebswerk";

/// A page in order: it is there, nothing on it runs or is styled from inside of it, and what it needs is ours.
#[track_caller]
pub fn in_order(path: &str, page: &Shown) {
    assert_eq!(page.status, 200, "{path}: {}", page.text);
    let text = &page.text;
    assert!(!text.contains("<script>") && !text.contains(" style=") && !text.contains("javascript:"), "{path}: {text}");
    assert!(!text.contains(" onclick=") && !text.contains(" onload="), "{path}");
    let policy = page.headers["content-security-policy"].to_str().unwrap();
    assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    assert!(page.headers.contains_key("x-request-id") && page.headers["cache-control"] == "no-store");
    if !path.contains("palette") {
        assert_eq!(text.matches("<h1>").count(), 1, "{path}");
        assert!(text.contains("<title>") && text.contains("lang=\"en\"") && text.contains("id=\"main\""), "{path}");
    }
    let ids: Vec<&str> = text.split(" id=\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    let distinct: std::collections::BTreeSet<&str> = ids.iter().copied().collect();
    assert_eq!(ids.len(), distinct.len(), "{path}: an id is there twice: {ids:?}");
}

both! {
    async fn pages_of_an_empty_tenant_say_what_to_do_next(db: TestDb) {
        let stage = Stage::new(&db).await;
        let visitor = Visitor::new(&stage).await;
        for path in PAGES {
            in_order(path, &visitor.get(path).await);
        }
        assert!(visitor.get("/console").await.text.contains("Three steps to your first message"));
        assert!(visitor.get("/console/messages").await.text.contains("No messages yet"));
        assert!(visitor.get("/console/compose?channel=sms").await.text.contains("SMS is not set up"));
    }

    async fn pages_of_the_operator_are_in_order_empty_and_full_of_odd_names(db: TestDb) {
        let mut stage = Stage::new(&db).await;
        let visitor = operator(&mut stage).await;
        for path in OPERATOR_PAGES {
            in_order(path, &visitor.get(path).await);
        }
        let tenant = visitor.post("/console/tenants", &[("name", HOSTILE), ("timezone", "UTC"), ("currency", "USD")]).await;
        assert_eq!(tenant.status, 303, "{}", tenant.text);
        visitor.post("/console/operator/plans", &[("name", HOSTILE), ("currency", "USD"), ("monthly_fee_micros", "1")]).await;
        visitor.post("/console/operator/alerts/rules", &[("kind", "queue_age"), ("name", HOSTILE)]).await;
        visitor.post("/console/demos", &[("name", HOSTILE)]).await;
        for path in OPERATOR_PAGES.iter().copied().chain([tenant.location()]) {
            let page = visitor.get(path).await;
            in_order(path, &page);
        }
    }

    async fn pages_show_what_there_is_and_cannot_be_broken_by_it(db: TestDb) {
        let stage = Stage::new(&db).await;
        let visitor = Visitor::new(&stage).await;
        let made = visitor.post("/console/channels/new/sandbox", &[("name", HOSTILE), ("channels", "email"), ("channels", "sms"), ("default_for", "email"), ("default_for", "sms"), ("enabled", "true")]).await;
        assert_eq!(made.status, 303, "{}", made.text);
        let account = made.location().to_owned();
        let content = json!({"subject": HOSTILE, "text": HOSTILE, "html": HOSTILE});
        let id = stage.send(json!({"to": {"email": "ada@example.com"}, "content": content, "metadata": {"note": HOSTILE}})).await;
        stage.pass(12_000).await;
        let contact = visitor.post("/console/contacts", &[("name", HOSTILE), ("email", "ada@example.com")]).await;
        assert_eq!(contact.status, 303, "{}", contact.text);
        let list = visitor.post("/console/lists", &[("name", HOSTILE), ("description", HOSTILE)]).await;
        assert_eq!(list.status, 303, "{}", list.text);
        let lists = visitor.get("/console/lists").await.text;
        let list = format!("lst_{}", lists.split("lst_").nth(1).unwrap().split(['"', '/']).next().unwrap());
        let mut more = Vec::new();
        visitor.post(&format!("{}/lists", contact.location()), &[("on", &list)]).await;
        for (path, fields) in [
            ("/console/segments", &[("name", HOSTILE), ("match", "all"), ("rows", "1"), ("subject/0", "field:language"), ("text/0/test", "starts_with"), ("text/0/value", HOSTILE)][..]),
            ("/console/campaigns", &[("channel", "email"), ("name", HOSTILE), ("description", HOSTILE), ("purpose", "transactional"), ("says", "content"), ("content/subject", HOSTILE), ("content/text", HOSTILE), ("audience/lists", &list)]),
            ("/console/settings/content", &[("name", HOSTILE), ("kind", "footer"), ("required_footer/text", HOSTILE)]),
            ("/console/alerts/rules", &[("kind", "bounce_rate"), ("name", HOSTILE)]),
            ("/console/settings/branding", &[("name", HOSTILE), ("footer", HOSTILE), ("postal_address", HOSTILE)]),
            ("/console/me/name", &[("name", HOSTILE)]),
        ] {
            let made = visitor.post(path, fields).await;
            assert_eq!(made.status, 303, "{path}: {}", made.text);
            more.push(made.location().to_owned());
        }
        let key = visitor.post("/console/settings/keys", &[("name", HOSTILE), ("scopes", "messages:read")]).await;
        in_order("key", &key);
        let hook = visitor.post("/console/settings/webhooks", &[("url", "https://hooks.example/in"), ("description", HOSTILE), ("events", "message.*")]).await;
        in_order("endpoint", &hook);
        let user = visitor.post("/console/settings/users", &[("email", "odd@example.com"), ("name", HOSTILE), ("role", "member")]).await;
        in_order("invitation", &user);
        let more = more.iter().map(String::as_str);
        for path in PAGES.iter().copied().chain([account.as_str(), &format!("/console/messages/{id}"), contact.location()]).chain(more) {
            in_order(path, &visitor.get(path).await);
        }
        let page = visitor.get(&format!("/console/messages/{id}")).await.text;
        assert!(page.contains("ada@example.com") && page.contains("Accepted") && page.contains("Read"), "{page}");
        assert!(page.contains("&lt;script&gt;"), "what somebody wrote is shown as text");
        assert!(visitor.get("/console").await.text.contains("Messages today"));
        assert!(visitor.get("/console/messages?status=read").await.text.contains("ada@example.com"));
        assert!(visitor.get("/console/messages?status=failed").await.text.contains("No message matches"));
    }

    async fn a_form_that_is_wrong_comes_back_with_what_was_typed_and_what_to_do(db: TestDb) {
        let stage = Stage::new(&db).await;
        let visitor = Visitor::new(&stage).await;
        let page = visitor.post("/console/channels/new/smtp", &[("name", "Mail"), ("settings/host", ""), ("settings/port", "ninety"), ("channels", "email")]).await;
        assert_eq!(page.status, 422);
        assert!(page.text.contains("value=\"ninety\"") && page.text.contains("expected a whole number"), "{}", page.text);
        assert!(page.text.contains("id=\"f-settings-host-error\""), "the field that is missing says so");
        let secret = "correct horse battery staple";
        let page = visitor.post("/console/channels/new/smtp", &[("name", ""), ("settings/password", secret), ("settings/host", "mail.example"), ("channels", "email")]).await;
        assert!(page.status == 422 && !page.text.contains(secret), "a secret is never sent back");
    }

    async fn the_composer_explains_and_sends_once(db: TestDb) {
        let stage = Stage::new(&db).await;
        let account = stage.account("sandbox", json!({}), None).await;
        let visitor = Visitor::new(&stage).await;
        let said = [("channel", "sms"), ("key", "k1"), ("to", "+1 202 555 0123"), ("content/text", "Hello {{ name }} €"), ("known", "")];
        let shown = visitor.post("/console/compose/preview", &said).await;
        assert_eq!(shown.status, 200);
        assert!(shown.text.contains("Hello [name] €") && shown.text.contains("GSM-7") && shown.text.contains("1 part"), "{}", shown.text);
        assert!(shown.text.contains("name=\"variables/name\""), "a placeholder gets its field: {}", shown.text);
        let filled: Vec<_> = said.iter().copied().chain([("variables/name", "Ada")]).collect();
        let sent = visitor.post("/console/compose", &filled).await;
        let again = visitor.post("/console/compose", &filled).await;
        assert_eq!((sent.status.as_u16(), sent.location()), (303, again.location()), "the same form sent twice is one message");
        let refused = visitor.post("/console/compose", &[("channel", "sms"), ("key", "k2"), ("to", "nobody"), ("content/text", "x")]).await;
        assert!(refused.status == 422 && refused.text.contains("id=\"f-to-error\""), "{}", refused.text);
        // What stands in the way leads to where it is put right.
        visitor.post(&format!("/console/channels/{account}/disable"), &[]).await;
        let shown = visitor.post("/console/compose/preview", &filled).await;
        assert!(shown.text.contains("It cannot be sent like this") && shown.text.contains("href=\"/console/channels"), "{}", shown.text);
    }

    async fn a_template_is_sent_to_somebody_found_by_name(db: TestDb) {
        let stage = Stage::new(&db).await;
        stage.account("sandbox", json!({}), None).await;
        let visitor = Visitor::new(&stage).await;
        visitor.post("/console/contacts", &[("name", HOSTILE), ("first_name", "Rosa"), ("email", "rosa@example.com"), ("phone", "+12025550177")]).await;
        let found = visitor.get("/console/compose/recipients?channel=sms&to=rosa").await.text;
        assert!(found.contains("value=\"+12025550177\"") && found.contains("&lt;script&gt;"), "{found}");
        assert!(visitor.get("/console/compose/recipients?channel=email&to=rosa").await.text.contains("value=\"rosa@example.com\""));
        assert_eq!(visitor.get("/console/compose/recipients?channel=email&to=nobody").await.text, "");
        let says = [("channel", "sms"), ("name", "doors-open"), ("locale", "en"), ("says/text", "Hello {{ contact.first_name }}, seat {{ seat }}"), ("then", "publish")];
        let made = visitor.post("/console/templates", &says).await;
        let id = made.location().rsplit('/').next().unwrap().split('?').next().unwrap().to_owned();
        visitor.post(&format!("/console/templates/{id}/publish"), &[("version", "1")]).await;
        stage.engine.directory.catch_up().await;
        let page = visitor.get("/console/compose?channel=sms").await;
        in_order("compose", &page);
        assert!(page.text.contains("Template doors-open"), "{}", page.text);
        let form = [("channel", "sms"), ("key", "k1"), ("to", "+12025550177"), ("template", id.as_str()), ("known", "")];
        let shown = visitor.post("/console/compose/preview", &form).await.text;
        assert!(shown.contains("Hello Rosa, seat [seat]") && shown.contains("name=\"variables/seat\""), "{shown}");
        let filled: Vec<_> = form.iter().copied().chain([("variables/seat", "7B")]).collect();
        let sent = visitor.post("/console/compose", &filled).await;
        assert_eq!(sent.status, 303, "{}", sent.text);
        stage.pass(12_000).await;
        assert!(visitor.get(sent.location()).await.text.contains(">Read<"));
        let elsewhere: Vec<_> = filled.iter().copied().map(|(name, value)| match name { "to" => (name, "rosa@example.com"), "key" => (name, "k2"), _ => (name, value) }).collect();
        let refused = visitor.post("/console/compose", &elsewhere).await;
        assert_eq!(refused.status, 422, "an address of another channel is not hers on this one: {}", refused.location());
        let viewer = Visitor::with_role(&stage, "viewer").await;
        assert_eq!(viewer.get("/console/compose/recipients?channel=sms&to=rosa").await.status, 403);
    }

    async fn the_staff_makes_demos_by_a_button(db: TestDb) {
        let mut stage = Stage::new(&db).await;
        stage.caller = engine::keys::Caller::system(None);
        let visitor = Visitor::with_role(&stage, "sales").await;
        let empty = visitor.get("/console/demos").await;
        in_order("/console/demos", &empty);
        assert!(empty.text.contains("No demos yet"));
        let token = empty.token();
        let again = visitor.post_bare("/console/demos", &[("csrf", &token), ("name", " ")]).await;
        assert_eq!(again.status, 422, "{}", again.text);
        let made = visitor.post_bare("/console/demos", &[("csrf", &token), ("name", HOSTILE)]).await;
        in_order("/console/demos (made)", &made);
        assert!(made.text.contains("/console/enter/"), "{}", made.text);
        in_order("/console/demos", &visitor.get("/console/demos").await);
        let demos = engine::demo::list(stage.engine.parts(), &stage.caller, None, None).await.unwrap().data;
        let inside = [("csrf", token.as_str()), ("tenant", &demos[0].id.to_string())];
        assert_eq!(visitor.post_bare("/console/enter", &inside).await.status, 303);
        for path in ["/console", "/console/messages", "/console/contacts", "/console/usage", "/console/inbound"] {
            let page = visitor.get(path).await;
            in_order(path, &page);
            assert!(page.text.contains("Everything works and nothing leaves"), "{path} has no badge");
        }
        let path = format!("/console/demos/{}/delete", demos[0].id);
        assert_eq!(visitor.post_bare(&path, &[("csrf", &token)]).await.status, 303);
        assert!(visitor.get("/console/demos").await.text.contains("No demos yet"));
    }
}
