//! How people come in and go, what they see of themselves, and rights that reach one channel only.

use engine::{
    access::users::{self, NewMember},
    keys::Caller,
    tenants::{self, NewTenant},
};
use serde_json::json;
use testkit::{Stage, World, both};

use crate::{
    pages::in_order,
    visitor::{Shown, Visitor},
};

const PASSWORD: &str = "purple tram waits calmly";

/// Another tenant of the same installation.
async fn other(stage: &Stage, db: &testkit::TestDb, name: &str) -> Stage {
    let new = NewTenant { name: name.to_owned(), ..NewTenant::default() };
    let (made, _) = tenants::create_with_key(stage.engine.parts(), &Caller::system(None), new).await.unwrap();
    let caller = Caller::system(Some(made.id));
    Stage { tenant: made.id, caller, engine: stage.engine.clone(), world: World::new(db) }
}

fn leads_to(shown: &Shown, path: &str) {
    assert_eq!((shown.status.as_u16(), shown.location()), (303, path), "{}", shown.text);
}

both! {
    async fn sessions_are_listed_and_each_can_be_ended(db: TestDb) {
        let stage = Stage::new(&db).await;
        let (here, there) = (Visitor::new(&stage).await, Visitor::new(&stage).await);
        let page = here.get("/console/me").await;
        in_order("/console/me", &page);
        assert_eq!(page.text.matches("This one").count(), 1, "{}", page.text);
        let end = page.text.split("action=\"").find(|rest| rest.starts_with("/console/me/sessions/ses_")).unwrap();
        leads_to(&here.post(end.split('"').next().unwrap(), &[]).await, "/console/me");
        leads_to(&there.get("/console/messages").await, "/console/sign-in?next=%2Fconsole%2Fmessages");
        assert_eq!(here.get("/console/messages").await.status, 200);
        let again = Visitor::new(&stage).await;
        leads_to(&here.post("/console/me/sessions/others/end", &[]).await, "/console/me");
        assert_eq!(again.get("/console").await.status, 303);
        leads_to(&here.post("/console/sign-out", &[]).await, "/console/sign-in");
        assert_eq!(here.get("/console").await.status, 303);
    }

    async fn a_forgotten_password_is_set_anew_and_nobody_learns_who_has_an_account(db: TestDb) {
        let stage = Stage::new(&db).await;
        let new = NewMember { email: "ada@example.com".to_owned(), role: "member".to_owned(), ..NewMember::default() };
        users::make(stage.engine.parts(), &stage.caller, new).await.unwrap();
        let stranger = Visitor::stranger(&stage);
        for email in ["ada@example.com", "nobody@example.com"] {
            leads_to(&stranger.post_bare("/console/forgot", &[("email", email)]).await, "/console/sign-in?said=asked");
        }
        let link = users::reset_link(stage.engine.parts(), &Caller::system(None), "ada@example.com").await.unwrap();
        let path = format!("/console/reset/{}", link.rsplit('/').next().unwrap());
        in_order("reset", &stranger.get(&path).await);
        let weak = stranger.post_bare(&path, &[("password", "short")]).await;
        assert!(weak.status == 422 && weak.text.contains("f-password-error") && !weak.text.contains("value=\"short\""), "{}", weak.text);
        leads_to(&stranger.post_bare(&path, &[("password", PASSWORD)]).await, "/console/sign-in?said=reset");
        assert!(stranger.post_bare(&path, &[("password", PASSWORD)]).await.status.is_client_error(), "the link is good once");
        leads_to(&stranger.post_bare("/console/sign-in", &[("email", "ada@example.com"), ("password", PASSWORD)]).await, "/console");
    }

    async fn somebody_of_two_tenants_chooses_and_changes_between_them(db: TestDb) {
        let stage = Stage::new(&db).await;
        let theirs = other(&stage, &db, "Globex <b>").await;
        let strangers = other(&stage, &db, "Initech").await;
        let visitor = Visitor::known_as(&stage, "ada@example.com", "member", &[]).await;
        let again = NewMember { email: "ada@example.com".to_owned(), role: "viewer".to_owned(), ..NewMember::default() };
        users::make(stage.engine.parts(), &theirs.caller, again).await.unwrap();
        let page = visitor.get("/console").await;
        assert!(page.text.contains("Globex &lt;b&gt;") && !page.text.contains("Initech"), "{}", page.text);
        let choose = visitor.get("/console/tenants").await;
        in_order("/console/tenants", &choose);
        assert!(choose.text.contains("Globex &lt;b&gt;") && choose.text.contains("Choose a tenant"), "{}", choose.text);
        leads_to(&visitor.post("/console/enter", &[("tenant", &theirs.tenant.to_string()), ("next", "/console/contacts")]).await, "/console/contacts");
        let inside = visitor.get("/console/contacts").await.text;
        assert!(!inside.contains("Add contact"), "what they may do is each tenant's own: {inside}");
        assert_eq!(visitor.post("/console/enter", &[("tenant", &strangers.tenant.to_string())]).await.status, 404);
        leads_to(&visitor.post("/console/enter", &[("tenant", &stage.tenant.to_string())]).await, "/console");
        assert!(visitor.get("/console/contacts").await.text.contains("Add contact"));
    }

    async fn who_may_send_over_one_channel_is_offered_that_one(db: TestDb) {
        let stage = Stage::new(&db).await;
        stage.account("sandbox", json!({}), None).await;
        let visitor = Visitor::known_as(&stage, "texts@example.com", "viewer", &["send:sms"]).await;
        let page = visitor.get("/console/compose").await;
        in_order("compose", &page);
        assert!(page.text.contains("Phone number") && !page.text.contains("?channel=email"), "{}", page.text);
        assert!(visitor.get("/console/compose?channel=email").await.text.contains("You may not send over E-mail"));
        let fields = [("channel", "sms"), ("key", "k1"), ("to", "+12025550123"), ("content/text", "Hello")];
        let sent = visitor.post("/console/compose", &fields).await;
        assert_eq!(sent.status, 303, "{}", sent.text);
        let mail = [("channel", "email"), ("key", "k2"), ("to", "ada@example.com"), ("content/subject", "Hi"), ("content/text", "Hello")];
        let refused = visitor.post("/console/compose", &mail).await;
        assert!(refused.status == 422 && refused.text.contains("You may not send over E-mail"), "{}", refused.text);
        // Buttons of messages follow the channel, too.
        let other = stage.account("sandbox", json!({}), None).await;
        let text = stage.send(json!({"to": {"phone": "+15005550006"}, "channel": "sms", "content": {"text": "x"}})).await;
        let mail = stage.send(json!({"to": {"email": "unavailable@example.com"}, "account_id": other, "content": {"subject": "x", "text": "x"}})).await;
        stage.pass(30_000).await;
        for (id, is_offered) in [(text, true), (mail, false)] {
            let path = format!("/console/messages/{id}");
            assert_eq!(visitor.get(&path).await.text.contains("Send again"), is_offered, "{path}");
            assert_eq!(visitor.post(&format!("{path}/retry"), &[]).await.status.as_u16(), if is_offered { 303 } else { 403 });
        }
    }

    async fn who_may_set_up_one_channel_sees_the_buttons_of_that_one(db: TestDb) {
        let stage = Stage::new(&db).await;
        let owner = Visitor::new(&stage).await;
        let make = async |name: &str, channel: &str| {
            let made = owner.post("/console/channels/new/sandbox", &[("name", name), ("channels", channel), ("enabled", "true")]).await;
            made.location().to_owned()
        };
        let (texts, mails) = (make("Texts", "sms").await, make("Mails", "email").await);
        let visitor = Visitor::known_as(&stage, "setup@example.com", "viewer", &["manage:sms"]).await;
        for (path, is_theirs) in [(&texts, true), (&mails, false)] {
            let page = visitor.get(path).await;
            in_order(path, &page);
            for button in [">Save<", "Test connection", ">Disable<", "Delete"] {
                assert_eq!(page.text.contains(button), is_theirs, "{path}: {button}");
            }
            assert_eq!(visitor.post(&format!("{path}/disable"), &[]).await.status.as_u16(), if is_theirs { 303 } else { 403 });
        }
        let channels = visitor.get("/console/channels").await.text;
        assert!(!channels.contains("Set up WhatsApp") && channels.contains("Add account"), "{channels}");
        let choice = visitor.get("/console/channels/new").await.text;
        assert!(choice.contains("/new/twilio") && !choice.contains("/new/sendgrid"), "{choice}");
        let senders = visitor.get("/console/senders").await.text;
        assert!(senders.contains("Add sender") && !senders.contains("Add domain"), "{senders}");
        let rule = visitor.get("/console/routing/new").await.text;
        assert!(rule.contains("?channel=sms") && !rule.contains("?channel=email"), "{rule}");
    }

    async fn a_campaign_of_a_demo_says_so_on_its_button(db: TestDb) {
        let mut stage = Stage::new(&db).await;
        stage.caller = Caller::system(None);
        let visitor = Visitor::with_role(&stage, "sales").await;
        let token = visitor.get("/console/demos").await.token();
        visitor.post_bare("/console/demos", &[("csrf", &token), ("name", "Globex")]).await;
        let demos = engine::demo::list(stage.engine.parts(), &stage.caller, None, None).await.unwrap().data;
        while engine::demo::fill_all(&stage.engine).await.unwrap() > 0 {}
        visitor.post_bare("/console/enter", &[("csrf", &token), ("tenant", &demos[0].id.to_string())]).await;
        let contact = visitor.get("/console/contacts").await.text;
        let list = visitor.get("/console/lists").await.text;
        assert!(contact.contains("con_"), "{contact}");
        let list = format!("lst_{}", &list.split("lst_").nth(1).unwrap()[..26]);
        let fields = [("channel", "email"), ("name", "News"), ("purpose", "transactional"), ("says", "content"), ("content/subject", "Hi"), ("content/text", "News"), ("audience/lists", list.as_str())];
        let made = visitor.post("/console/campaigns", &fields).await;
        assert_eq!(made.status, 303, "{}", made.text);
        let page = visitor.get(made.location()).await.text;
        assert!(page.contains("Send campaign (demo)"), "{page}");
    }
}
