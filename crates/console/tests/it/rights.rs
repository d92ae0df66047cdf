//! Who sees and does what: strangers, other sites, and people who may only look.

use engine::access::users::{self, NewMember};
use engine::{
    keys::Caller,
    tenants::{self, NewTenant},
};
use serde_json::json;
use testkit::{Stage, World, both};

use crate::{pages::PAGES, visitor::Visitor};

/// Everything that changes something, with the scope it needs.
const CHANGES: &[(&str, &str)] = &[
    ("/console/compose", "messages:write"),
    ("/console/compose/preview", "messages:write"),
    ("/console/dead-letters/retry", "messages:write"),
    ("/console/invoices", "messages:write"),
    ("/console/invoices/preview", "messages:write"),
    ("/console/templates", "templates:write"),
    ("/console/campaigns", "campaigns:write"),
    ("/console/segments", "contacts:write"),
    ("/console/contacts/rules", "consent:write"),
    ("/console/contacts/rules/topics", "consent:write"),
    ("/console/contacts/rules/fields", "contacts:write"),
    ("/console/suppressions", "consent:write"),
    ("/console/channels/new/sandbox", "accounts:write"),
    ("/console/settings", "tenant:write"),
    ("/console/lists", "contacts:write"),
    ("/console/settings/keys", "keys:write"),
    ("/console/settings/webhooks", "webhooks:write"),
    ("/console/settings/branding", "templates:write"),
    ("/console/settings/content", "content-rules:write"),
    ("/console/settings/retention", "retention:write"),
    ("/console/alerts/rules", "alerts:write"),
    ("/console/billing/plan", "plans:write"),
    ("/console/billing/purchases", "purchases:write"),
    ("/console/reconciliations", "usage:write"),
    ("/console/registration", "registrations:write"),
    ("/console/registration/profile", "registrations:write"),
    ("/console/operator/payments", "credits:write"),
    ("/console/operator/numbers", "numbers:write"),
    ("/console/operator/plans", "plans:write"),
    ("/console/operator/invoices/settings", "invoices:write"),
    ("/console/operator/prices", "prices:write"),
    ("/console/operator/prices/try", "prices:write"),
    ("/console/tenants", "tenants:write"),
    ("/console/demos", "demo-tenants:write"),
];

/// Where the buttons of a page lead that change something of the tenant's.
fn buttons(page: &str) -> Vec<String> {
    let forms = page.split("<form ").skip(1).map(|rest| rest.split("</form>").next().unwrap_or_default());
    let pressed = forms.filter(|form| form.contains("method=\"post\"") && form.contains("type=\"submit\""));
    let action = |form: &str| Some(form.split_once("action=\"")?.1.split('"').next()?.to_owned());
    let is_own = |path: &String| {
        ["/console/enter", "/console/leave", "/console/sign-out", "/console/me"].iter().any(|own| path.starts_with(own))
    };
    pressed.filter_map(action).filter(|path| !is_own(path)).collect()
}

both! {
    async fn a_stranger_is_led_to_the_door_and_back(db: TestDb) {
        let stage = Stage::new(&db).await;
        let stranger = Visitor::stranger(&stage);
        for path in PAGES {
            let page = stranger.get(path).await;
            assert_eq!(page.status, 303, "{path}");
            assert!(page.location().starts_with("/console/sign-in?next=%2Fconsole"), "{path}: {}", page.location());
        }
        for (path, _) in CHANGES {
            assert_eq!(stranger.post_bare(path, &[]).await.status, 303, "{path}");
        }
    }

    async fn nothing_changes_without_the_sessions_token(db: TestDb) {
        let stage = Stage::new(&db).await;
        let visitor = Visitor::new(&stage).await;
        for (path, _) in CHANGES {
            let page = visitor.post_bare(path, &[("csrf", "made-up"), ("name", "x")]).await;
            assert!(page.status == 403 && page.text.contains("form_expired"), "{path}: {}", page.text);
        }
    }

    async fn who_may_only_look_sees_no_button_and_is_refused(db: TestDb) {
        let stage = Stage::new(&db).await;
        let account = stage.account("sandbox", json!({}), None).await;
        let visitor = Visitor::with_role(&stage, "viewer").await;
        let check = async |path: &str, absent: &[&str]| {
            let page = visitor.get(path).await;
            assert_eq!(page.status, 200, "{path}");
            absent.iter().for_each(|word| assert!(!page.text.contains(word), "{path} shows {word}"));
        };
        check("/console", &["Compose", "Make a key"]).await;
        check("/console/channels", &["Add account"]).await;
        check(&format!("/console/channels/{account}"), &["Delete", "Test connection", ">Save<", ">Disable<"]).await;
        check("/console/settings", &["API keys", "Audit log", ">Save<"]).await;
        for path in ["/console/settings/keys", "/console/settings/webhooks", "/console/settings/audit", "/console/compose", "/console/channels/new"] {
            assert_eq!(visitor.get(path).await.status, 403, "{path}");
        }
        for (path, scope) in CHANGES {
            let page = visitor.post(path, &[("name", "x"), ("channel", "sms")]).await;
            assert_eq!(page.status, 403, "{path} needs {scope}: {}", page.text);
        }
        for action in ["disable", "delete", "test"] {
            assert_eq!(visitor.post(&format!("/console/channels/{account}/{action}"), &[]).await.status, 403, "{action}");
        }
    }

    async fn every_button_that_is_shown_may_be_pressed(db: TestDb) {
        let stage = Stage::new(&db).await;
        let account = stage.account("sandbox", json!({}), None).await;
        let owner = Visitor::new(&stage).await;
        let mut pages: Vec<String> = PAGES.iter().map(|path| (*path).to_owned()).chain([format!("/console/channels/{account}")]).collect();
        for (path, fields) in [
            ("/console/contacts", &[("name", "Ada"), ("email", "ada@example.com")][..]),
            ("/console/templates", &[("channel", "sms"), ("name", "doors-open"), ("locale", "en"), ("says/text", "Hello")]),
            ("/console/segments", &[("name", "German"), ("match", "all"), ("rows", "1"), ("subject/0", "field:language"), ("text/0/test", "starts_with"), ("text/0/value", "de")]),
            ("/console/alerts/rules", &[("kind", "bounce_rate"), ("name", "Bounces")]),
        ] {
            let made = owner.post(path, fields).await;
            assert_eq!(made.status, 303, "{path}: {}", made.text);
            pages.push(made.location().to_owned());
        }
        owner.post("/console/settings/keys", &[("name", "Shop"), ("scopes", "messages:read")]).await;
        owner.post("/console/settings/webhooks", &[("url", "https://hooks.example/in"), ("events", "message.*")]).await;
        owner.post("/console/suppressions", &[("to", "bob@example.com"), ("on", "email"), ("blocks", "everything")]).await;
        let message = stage.send(json!({"to": {"email": "ada@example.com"}, "content": {"subject": "Hi", "text": "x"}})).await;
        let contact = pages.iter().find(|path| path.contains("/con_")).unwrap().clone();
        pages.extend([format!("/console/messages/{message}"), format!("{contact}/consent")]);

        let mut shown = Vec::new();
        for role in ["viewer", "member", "admin", "owner"] {
            let visitor = Visitor::with_role(&stage, role).await;
            let mut actions = std::collections::BTreeSet::new();
            for path in &pages {
                actions.extend(buttons(&visitor.get(path).await.text));
            }
            shown.push((role, visitor, actions));
        }
        let counts: Vec<usize> = shown.iter().map(|(.., actions)| actions.len()).collect();
        assert!(counts.is_sorted() && counts[1] > 5 && counts[3] > 20, "{counts:?}");
        assert_eq!(shown[0].2.iter().collect::<Vec<_>>(), ["/console/routing/try"], "which changes nothing");
        for (role, visitor, actions) in shown {
            for path in actions {
                let pressed = visitor.post(&path, &[]).await;
                assert!(pressed.status != 403 && pressed.status.as_u16() < 500, "{role} sees a button for {path} and is told {}", pressed.status);
            }
        }
    }

    async fn the_door_opens_for_the_right_password_only(db: TestDb) {
        let stage = Stage::new(&db).await;
        let new = NewMember { email: "ada@example.com".to_owned(), role: "member".to_owned(), ..NewMember::default() };
        let password = users::make(stage.engine.parts(), &stage.caller, new).await.unwrap().password.unwrap();
        let stranger = Visitor::stranger(&stage);
        assert!(stranger.get("/console/sign-in").await.text.contains("Forgot your password?"));
        let refused = stranger.post_bare("/console/sign-in", &[("email", "ada@example.com"), ("password", "wrong one")]).await;
        assert!(refused.status == 422 && refused.text.contains("ada@example.com") && !refused.text.contains("wrong one"));
        let fields = [("email", "Ada@Example.com "), ("password", password.reveal()), ("next", "//evil.example")];
        let inside = stranger.post_bare("/console/sign-in", &fields).await;
        assert_eq!((inside.status.as_u16(), inside.location()), (303, "/console"));
        let cookie = inside.headers["set-cookie"].to_str().unwrap();
        assert!(cookie.starts_with("tidings_session=tds_") && cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax"), "{cookie}");
    }

    async fn another_tenants_things_are_not_there(db: TestDb) {
        let stage = Stage::new(&db).await;
        let (operator, new) = (Caller::system(None), NewTenant { name: "Other".to_owned(), ..NewTenant::default() });
        let (other, _) = tenants::create_with_key(stage.engine.parts(), &operator, new).await.unwrap();
        let theirs = Stage { tenant: other.id, caller: Caller::system(Some(other.id)), engine: stage.engine.clone(), world: World::new(&db) };
        let account = theirs.account("sandbox", json!({}), None).await;
        let message = theirs.send(json!({"to": {"email": "ada@example.com"}, "content": {"subject": "x", "text": "x"}})).await;
        let visitor = Visitor::new(&stage).await;
        for path in [format!("/console/channels/{account}"), format!("/console/messages/{message}"), "/console/messages/nonsense".to_owned(), "/console/nothing".to_owned()] {
            let page = visitor.get(&path).await;
            assert_eq!(page.status, 404, "{path}");
            assert!(page.text.contains("There is nothing here"), "{}", page.text);
        }
        for path in ["/console/tenants/new", "/console/demos", "/console/operator/accounts", "/console/operator/queue", "/console/operator/system"] {
            assert_eq!(visitor.get(path).await.status, 403, "{path}");
        }
    }
}
