//! Templates from draft to message, on both engines.

use engine::{once::Repeat, templates};
use model::TemplateId;
use serde_json::{Value, json};
use testkit::{Stage, TestDb};

use crate::setting::column;

/// A stage with an account for everything.
pub async fn sandbox(db: &TestDb) -> Stage {
    let stage = Stage::new(db).await;
    stage.account("sandbox", json!({}), None).await;
    stage
}

fn answer(reply: &engine::once::Reply) -> Value {
    serde_json::from_slice(&reply.body).unwrap()
}

async fn create(stage: &Stage, new: Value) -> TemplateId {
    let new = serde_json::from_value(new).unwrap();
    let reply = templates::create(&stage.engine, &stage.caller, &Repeat::NONE, new).await.unwrap();
    answer(&reply)["id"].as_str().unwrap().parse().unwrap()
}

async fn publish(stage: &Stage, id: TemplateId) -> Result<Value, engine::Error> {
    let which = templates::WhichVersion::default();
    let reply = templates::publish(&stage.engine, &stage.caller, &Repeat::NONE, id, which).await?;
    Ok(answer(&reply))
}

async fn version(stage: &Stage, id: TemplateId, new: Value) -> Value {
    let new = serde_json::from_value(new).unwrap();
    answer(&templates::add_version(&stage.engine, &stage.caller, &Repeat::NONE, id, new).await.unwrap())
}

async fn roll_back(stage: &Stage, id: TemplateId) -> Result<Value, engine::Error> {
    let which = templates::WhichVersion::default();
    Ok(answer(&templates::roll_back(&stage.engine, &stage.caller, &Repeat::NONE, id, which).await?))
}

/// A published template for mails.
pub async fn published(stage: &Stage, name: &str, variants: Value) -> TemplateId {
    published_on(stage, name, "email", variants).await
}

/// A published template for a channel.
pub async fn published_on(stage: &Stage, name: &str, channel: &str, variants: Value) -> TemplateId {
    let id = create(stage, json!({ "name": name, "channel": channel, "variants": variants })).await;
    publish(stage, id).await.unwrap();
    id
}

fn mail(template: Value, variables: Value) -> Value {
    json!({ "to": {"email": "ada@example.com"}, "template": template, "variables": variables })
}

/// What a message would say.
async fn said(stage: &Stage, request: Value) -> Result<Value, engine::Error> {
    let mut request = request;
    request["dry_run"] = json!(true);
    Ok(stage.try_send(request, None).await?["content"].clone())
}

fn pointers(error: &engine::Error) -> Vec<&str> {
    error.errors.iter().map(|field| field.pointer.as_str()).collect()
}

testkit::both! {
    async fn a_template_is_written_published_and_sent(db: TestDb) {
        let stage = sandbox(&db).await;
        let new = json!({ "name": "hello", "channel": "email", "variants": {"en": {"subject": "Hi {{ name }}", "html": "<p>Hello {{ name }}</p>"}} });
        let id = create(&stage, new).await;
        let refused = stage.try_send(mail(json!({"name": "hello"}), json!({"name": "Ada"})), None).await.unwrap_err();
        assert_eq!((refused.code, refused.action), ("template_not_published", Some("PUBLISH_TEMPLATE")));
        let version = publish(&stage, id).await.unwrap();
        assert_eq!((version["state"].as_str(), version["variables"][0]["name"].as_str()), (Some("published"), Some("name")));
        let accepted = stage.try_send(mail(json!({"name": "hello"}), json!({"name": "<Ada>"})), None).await.unwrap();
        assert_eq!(accepted["template"], json!({"id": id, "version": 1}));
        let shown = said(&stage, mail(json!({"id": id}), json!({"name": "<Ada>"}))).await.unwrap();
        assert_eq!(shown["subject"], "Hi <Ada>");
        assert_eq!(shown["html"], "<p>Hello &lt;Ada&gt;</p>");
        assert_eq!(shown["text"], "Hello <Ada>");
        let message = accepted["id"].as_str().unwrap().parse().unwrap();
        stage.dispatch().await;
        stage.pass(20_000).await;
        assert_eq!(stage.status(message).await, "read");
    }

    async fn messages_of_one_version_share_what_they_say(db: TestDb) {
        let mut stage = sandbox(&db).await;
        published(&stage, "hello", json!({"en": {"subject": "Hi", "text": "Hello {{ name }}"}})).await;
        let messages: Vec<_> = (0..50).map(|n| mail(json!({"name": "hello"}), json!({"name": format!("N{n}")}))).collect();
        let reply = stage.engine.send_batch(&stage.caller, json!({"messages": messages}).to_string().as_bytes(), None).await.unwrap();
        assert!(answer(&reply)["data"].as_array().unwrap().iter().all(|row| row["id"].is_string()));
        stage.send(mail(json!({"name": "hello"}), json!({"name": "Last"}))).await;
        assert_eq!(column(&db, "SELECT CAST(COUNT(*) AS TEXT) FROM contents").await, "1");
        // After a crash the content is read back, with what it needs.
        stage.restart();
        stage.dispatch().await;
        stage.pass(20_000).await;
        assert_eq!(column(&db, "SELECT CAST(COUNT(*) AS TEXT) FROM messages WHERE sent_at IS NULL").await, "0");
    }

    async fn what_a_template_lacks_is_named(db: TestDb) {
        let stage = sandbox(&db).await;
        let new = json!({
            "name": "bill", "channel": "email", "variants": {"en": {"subject": "Bill", "text": "{{ name }} {{ order.total }} {{ note }}{% for l in lines %}{{ l }}{% endfor %}"}},
            "variables": [{"name": "name"}, {"name": "order", "type": "object"}, {"name": "note", "default": "Thanks"}, {"name": "lines", "type": "list", "required": false}],
        });
        let id = create(&stage, new).await;
        publish(&stage, id).await.unwrap();
        let refused = said(&stage, mail(json!({"id": id}), json!({}))).await.unwrap_err();
        assert_eq!((refused.code, pointers(&refused)), ("missing_variables", vec!["/variables/name", "/variables/order"]));
        let refused = said(&stage, mail(json!({"id": id}), json!({"name": "Ada", "order": "42"}))).await.unwrap_err();
        assert_eq!(pointers(&refused), ["/variables/order"]);
        let refused = said(&stage, mail(json!({"id": id}), json!({"name": "Ada", "order": {}}))).await.unwrap_err();
        assert_eq!(pointers(&refused), ["/variables/order/total"]);
        let shown = said(&stage, mail(json!({"id": id}), json!({"name": "Ada", "order": {"total": 5}}))).await.unwrap();
        assert_eq!(shown["text"], "Ada 5 Thanks");
    }

    async fn the_language_is_the_requests_or_the_tenants(db: TestDb) {
        let stage = sandbox(&db).await;
        let variant = |word: &str| json!({"subject": word, "text": word});
        let id = published(&stage, "hello", json!({"en": variant("Hello"), "de": variant("Hallo"), "pt-BR": variant("Oi")})).await;
        let subject = async |locale: Option<&str>| {
            let template = json!({"id": id, "locale": locale});
            said(&stage, mail(template, json!({}))).await.map(|shown| shown["subject"].as_str().unwrap().to_owned())
        };
        assert_eq!(subject(None).await.unwrap(), "Hello");
        assert_eq!(subject(Some("de-AT")).await.unwrap(), "Hallo");
        assert_eq!(subject(Some("pt_br")).await.unwrap(), "Oi");
        assert_eq!(subject(Some("it")).await.unwrap(), "Hello");
        assert_eq!(pointers(&subject(Some("??")).await.unwrap_err()), ["/template/locale"]);
        let body = json!({"default_locale": "de"}).to_string();
        engine::branding::patch(&stage.engine, &stage.caller, body.as_bytes()).await.unwrap();
        assert_eq!(subject(None).await.unwrap(), "Hallo");
    }

    async fn a_version_is_replaced_taken_back_and_named(db: TestDb) {
        let stage = sandbox(&db).await;
        let id = published(&stage, "hello", json!({"en": {"subject": "One", "text": "1"}})).await;
        let draft = version(&stage, id, json!({"variants": {"en": {"subject": "Two", "text": "2"}}})).await;
        assert_eq!((draft["version"].as_u64(), draft["state"].as_str()), (Some(2), Some("draft")));
        let subject = async |template: Value| said(&stage, mail(template, json!({}))).await.map(|shown| shown["subject"].clone());
        assert_eq!(subject(json!({"id": id})).await.unwrap(), "One");
        let refused = subject(json!({"id": id, "version": 2})).await.unwrap_err();
        assert_eq!((refused.code, pointers(&refused)), ("template_not_published", vec!["/template/version"]));
        publish(&stage, id).await.unwrap();
        assert_eq!(subject(json!({"id": id})).await.unwrap(), "Two");
        assert_eq!(subject(json!({"id": id, "version": 1})).await.unwrap(), "One");
        let live = roll_back(&stage, id).await.unwrap();
        assert_eq!((live["version"].as_u64(), live["state"].as_str()), (Some(1), Some("published")));
        assert_eq!(subject(json!({"name": "hello"})).await.unwrap(), "One");
        let page = templates::versions(&stage.engine, &stage.caller, id, None, None).await.unwrap();
        let states: Vec<_> = page.data.iter().map(|version| version.state.as_str()).collect();
        assert_eq!(states, ["rolled_back", "published"]);
        assert_eq!(roll_back(&stage, id).await.unwrap_err().code, "no_former_version");
        assert_eq!(pointers(&subject(json!({"id": id, "version": 9})).await.unwrap_err()), ["/template/version"]);
    }

    async fn a_template_is_deleted_and_its_messages_still_leave(db: TestDb) {
        let stage = sandbox(&db).await;
        let id = published(&stage, "hello", json!({"en": {"subject": "Hi", "text": "Hello"}})).await;
        let waiting = stage.send(mail(json!({"id": id}), json!({}))).await;
        templates::delete(&stage.engine, &stage.caller, id).await.unwrap();
        let refused = stage.try_send(mail(json!({"id": id}), json!({})), None).await.unwrap_err();
        assert_eq!(pointers(&refused), ["/template/id"]);
        stage.dispatch().await;
        assert_eq!(stage.status(waiting).await, "sent");
        published(&stage, "hello", json!({"en": {"subject": "Hi", "text": "Again"}})).await;
        let shown = said(&stage, mail(json!({"name": "hello"}), json!({}))).await.unwrap();
        assert_eq!(shown["text"], "Again");
    }

    async fn each_channel_has_one_default(db: TestDb) {
        let stage = sandbox(&db).await;
        let refused = said(&stage, mail(json!({}), json!({}))).await.unwrap_err();
        assert_eq!(pointers(&refused), ["/template"]);
        for name in ["first", "second"] {
            let new = json!({ "name": name, "channel": "email", "default": true, "variants": {"en": {"subject": name, "text": "x"}} });
            let id = create(&stage, new).await;
            publish(&stage, id).await.unwrap();
        }
        assert_eq!(said(&stage, mail(json!({}), json!({}))).await.unwrap()["subject"], "second");
        let sms = json!({"to": {"phone": "+4915112345678"}, "channel": "sms", "template": {"name": "first"}});
        assert_eq!(pointers(&said(&stage, sms).await.unwrap_err()), ["/template"]);
    }

    async fn names_are_unique_and_bad_versions_are_not_published(db: TestDb) {
        let stage = sandbox(&db).await;
        let new = json!({ "name": "hello", "channel": "sms", "variants": {"en": {"text": "{{ x|shout }}\n{{ y"}} });
        let id = create(&stage, new.clone()).await;
        let taken = templates::create(&stage.engine, &stage.caller, &Repeat::NONE, serde_json::from_value(new).unwrap()).await;
        assert_eq!(taken.unwrap_err().code, "name_taken");
        let refused = publish(&stage, id).await.unwrap_err();
        assert_eq!(pointers(&refused), ["/variants/en/text"]);
        assert!(refused.errors[0].detail.starts_with("line 2: "), "{refused}");
        version(&stage, id, json!({"variants": {"en": {"text": "fine"}}})).await;
        publish(&stage, id).await.unwrap();
        let sms = json!({"to": {"phone": "+4915112345678"}, "channel": "sms", "template": {"name": "hello"}});
        assert_eq!(said(&stage, sms).await.unwrap()["text"], "fine");
    }

    async fn mjml_wears_the_tenants_brand(db: TestDb) {
        let stage = sandbox(&db).await;
        let mjml = r#"<mjml><mj-body><mj-section><mj-column>
            <mj-button href="{{ url }}" background-color="{{ brand.colors.primary }}">Open</mj-button>
            {% for line in lines %}<mj-text>{{ line }}, {{ brand.name }}</mj-text>{% endfor %}
        </mj-column></mj-section></mj-body></mjml>"#;
        let id = published(&stage, "news", json!({"en": {"subject": "News", "mjml": mjml}})).await;
        let body = json!({"name": "Acme & Co", "colors": {"primary": "#123456"}}).to_string();
        engine::branding::patch(&stage.engine, &stage.caller, body.as_bytes()).await.unwrap();
        let variables = json!({"url": "https://acme.example/?a=1&b=2", "lines": ["One", "<Two>"]});
        let shown = said(&stage, mail(json!({"id": id}), variables)).await.unwrap();
        let html = shown["html"].as_str().unwrap().replace("&#x2f;", "/");
        for piece in ["#123456", "https://acme.example/?a=1&amp;b=2", "One, Acme &amp; Co", "&lt;Two&gt;, Acme &amp; Co"] {
            assert!(html.contains(piece), "{piece} is not in {html}");
        }
        assert!(shown["text"].as_str().unwrap().contains("<Two>, Acme & Co"), "{shown}");
        let refused = said(&stage, mail(json!({"id": id}), json!({"url": "javascript:alert(1)", "lines": []}))).await.unwrap_err();
        assert_eq!(pointers(&refused), ["/content/html"]);
    }

    async fn another_tenants_templates_are_not_there(db: TestDb) {
        let stage = sandbox(&db).await;
        let new = serde_json::from_value(json!({"name": "Other"})).unwrap();
        let system = engine::keys::Caller::system(None);
        let other = answer(&engine::tenants::create(stage.engine.parts(), &system, &Repeat::NONE, new).await.unwrap());
        let other = engine::keys::Caller::system(Some(other["id"].as_str().unwrap().parse().unwrap()));
        let new = json!({"name": "theirs", "channel": "email", "variants": {"en": {"subject": "Hi", "text": "Hello"}}});
        let new = serde_json::from_value(new).unwrap();
        let made = answer(&templates::create(&stage.engine, &other, &Repeat::NONE, new).await.unwrap());
        let id: TemplateId = made["id"].as_str().unwrap().parse().unwrap();
        let which = templates::WhichVersion::default();
        templates::publish(&stage.engine, &other, &Repeat::NONE, id, which).await.unwrap();
        assert_eq!(templates::get(&stage.engine, &stage.caller, id).await.unwrap_err().code, "not_found");
        for template in [json!({"id": id}), json!({"name": "theirs"}), json!({"id": id, "version": 1})] {
            assert!(stage.try_send(mail(template, json!({})), None).await.unwrap_err().errors[0].pointer.starts_with("/template"));
        }
    }
}

/// The addresses the mail of a dry run would not have: those of the message as the sandbox got it.
fn addresses(html: &str) -> Vec<String> {
    let tracked =
        engine::links::links(html).filter_map(|link| link.value.split_once("/t/").map(|(_, token)| token.to_owned()));
    tracked.collect()
}

/// The mail a message would leave as, now.
async fn leaving(stage: &Stage, id: model::MessageId) -> String {
    let message = stage.message(id).await;
    let tenant = stage.engine.directory.tenant(stage.tenant).await.unwrap().unwrap();
    let signer = stage.engine.signer().await.unwrap();
    let frame = engine::tracking::rewrite::Frame {
        signer: &signer,
        base: engine::tracking::base(&stage.engine, &tenant),
        own: "https://tidings.example",
        tenant: stage.tenant,
        message: id,
        tracking: message.tracking,
    };
    let html =
        r#"<body><a href="https://acme.example/a?x=1&amp;y=2">a</a><a href="https://acme.example/b">b</a></body>"#;
    let content = model::Content::Email(model::EmailContent { html: Some(html.to_owned()), ..Default::default() });
    match engine::tracking::rewrite::tracked(&frame, &content) {
        Some(model::Content::Email(email)) => email.html.unwrap(),
        _ => html.to_owned(),
    }
}

const PERSON: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Thunderbird/140.0";

async fn stats(stage: &Stage, id: TemplateId) -> Value {
    serde_json::to_value(templates::stats(&stage.engine, &stage.caller, id).await.unwrap()).unwrap()["data"][0].clone()
}

testkit::both! {
    async fn people_and_machines_are_counted_apart(db: TestDb) {
        let stage = sandbox(&db).await;
        let id = published(&stage, "news", json!({"en": {"subject": "News", "html": "<p>Hello</p>"}})).await;
        let mut request = mail(json!({"id": id}), json!({}));
        request["purpose"] = json!("marketing");
        let message = stage.send(request).await;
        stage.dispatch().await;
        stage.pass(60_000).await;
        let found = addresses(&leaving(&stage, message).await);
        assert_eq!(found.len(), 4, "two links, a trap and a picture");
        let ask = async |token: &str, agent: &str| stage.engine.tracked(token, false, agent).await;
        ask(&found[3], "Mozilla/5.0").await.unwrap();
        stage.pass(7_000).await;
        let engagement = stage.message(message).await.engagement;
        assert!(engagement.machine_opened_at.is_some() && engagement.opened_at.is_none());
        let Ok(engine::tracking::Response::Redirect(url)) = ask(&found[0], PERSON).await else { panic!("a link leads on") };
        assert_eq!(url, "https://acme.example/a?x=1&y=2");
        ask(&found[3], PERSON).await.unwrap();
        stage.engine.tracked(&found[1], true, PERSON).await.unwrap();
        stage.pass(7_000).await;
        let engagement = stage.message(message).await.engagement;
        assert!(engagement.opened_at.is_some() && engagement.clicked_at.is_some() && engagement.machine_clicked_at.is_some());
        let counts = stats(&stage, id).await;
        for name in ["accepted", "sent", "opened", "clicked", "machine_opened", "machine_clicked"] {
            assert_eq!(counts[name], 1, "{name}");
        }
        assert_eq!(column(&db, "SELECT CAST(COUNT(*) AS TEXT) FROM tracking_hits").await, "0");
        // The same again tells nothing new, and a forged address is none.
        ask(&found[0], PERSON).await.unwrap();
        stage.pass(20_000).await;
        assert_eq!(stats(&stage, id).await["clicked"], 1);
        assert_eq!(ask("bwGaE3yV0kX1s8f4QGZk2w", PERSON).await.err().unwrap().code, "not_found");
        let kinds = column(&db, "SELECT DISTINCT kind FROM observations WHERE source = 'tracking' ORDER BY kind").await;
        assert_eq!(kinds, "clicked\nmachine_clicked\nmachine_opened\nopened");
        let told = column(&db, "SELECT type FROM events WHERE type IN ('message.opened', 'message.clicked') ORDER BY seq").await;
        assert!(told.lines().filter(|kind| *kind == "message.opened").count() == 1, "machines are no news: {told}");
    }

    async fn tracking_is_switched_where_it_is_asked_for(db: TestDb) {
        let stage = sandbox(&db).await;
        let id = published(&stage, "news", json!({"en": {"subject": "News", "html": "<p>Hello</p>"}})).await;
        let tracking = async |extra: Value| {
            let mut request = mail(json!({"id": id}), json!({}));
            request.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
            let sent = stage.send(request).await;
            stage.message(sent).await.tracking
        };
        assert_eq!(tracking(json!({})).await, 0);
        assert_eq!(tracking(json!({"purpose": "marketing"})).await, 3);
        assert_eq!(tracking(json!({"purpose": "marketing", "tracking": {"opens": false}})).await, 2);
        let change = serde_json::from_value(json!({"tracking": {"clicks": false}})).unwrap();
        templates::patch(&stage.engine, &stage.caller, id, change).await.unwrap();
        assert_eq!(tracking(json!({"purpose": "marketing"})).await, 1);
        let body = json!({"tracking": {"opens": false}}).to_string();
        engine::branding::patch(&stage.engine, &stage.caller, body.as_bytes()).await.unwrap();
        assert_eq!(tracking(json!({"purpose": "marketing"})).await, 0);
        assert_eq!(tracking(json!({"tracking": {"opens": true, "clicks": true}})).await, 3);
    }

    async fn a_secret_once_made_stays(db: TestDb) {
        let mut stage = sandbox(&db).await;
        let target = engine::tracking::token::Target::Pixel(model::MessageId::from_ulid(1));
        let token = stage.engine.signer().await.unwrap().token(stage.tenant, &target);
        stage.restart();
        let read = stage.engine.signer().await.unwrap().read(&token);
        assert_eq!(read, Some((stage.tenant, target)));
    }

    async fn a_draft_is_previewed_and_tested(db: TestDb) {
        let stage = sandbox(&db).await;
        let new = json!({
            "name": "code", "channel": "sms", "variants": {"en": {"text": "Your code: {{ code }} – it’s secret"}},
            "variables": [{"name": "code", "example": "1234"}],
        });
        let id = create(&stage, new).await;
        let shown = templates::preview(&stage.engine, &stage.caller, id, templates::PreviewRequest::default()).await.unwrap();
        let sms = shown.sms.unwrap();
        assert_eq!((sms.encoding, sms.segments, sms.forced_by.clone()), ("ucs2", 1, vec!["–".to_owned(), "’".to_owned()]));
        assert_eq!(sms.plain.unwrap().text, "Your code: 1234 - it's secret");
        let request = serde_json::from_value(json!({"to": [{"phone": "+4915112345678"}, {"phone": "+4915112345679"}]})).unwrap();
        let sent = answer(&templates::test(&stage.engine, &stage.caller, &Repeat::NONE, id, request).await.unwrap());
        assert_eq!(sent["data"].as_array().unwrap().len(), 2);
        stage.dispatch().await;
        stage.pass(20_000).await;
        let first = stage.message(sent["data"][0]["id"].as_str().unwrap().parse().unwrap()).await;
        assert!(first.metadata.unwrap().contains(r#""test":"[Test]""#));
        let counts = stats(&stage, id).await;
        assert_eq!((&counts["accepted"], &counts["tests"]["accepted"], &counts["tests"]["sent"]), (&json!(0), &json!(2), &json!(2)));
        let request = serde_json::from_value(json!({"to": [{"phone": "+4915112345678"}, {"email": "ada@example.com"}]})).unwrap();
        let refused = templates::test(&stage.engine, &stage.caller, &Repeat::NONE, id, request).await.unwrap_err();
        assert_eq!(pointers(&refused), ["/to/1/phone"]);
    }

    async fn a_marketing_mail_is_looked_at_more_closely(db: TestDb) {
        let stage = sandbox(&db).await;
        let html = "<p>News</p>";
        let id = create(&stage, json!({"name": "news", "channel": "email", "variants": {"en": {"subject": "News", "html": html}}})).await;
        let codes = async |html: &str| {
            version(&stage, id, json!({"variants": {"en": {"subject": "News", "html": html}}})).await;
            let request = serde_json::from_value(json!({"purpose": "marketing"})).unwrap();
            let shown = templates::preview(&stage.engine, &stage.caller, id, request).await.unwrap();
            shown.warnings.into_iter().map(|warning| warning.code).collect::<Vec<_>>()
        };
        assert_eq!(codes(html).await, ["no_unsubscribe_link", "no_postal_address"]);
        assert!(codes(r#"<a href="{{ unsubscribe_url }}">out</a> {{ brand.postal_address }}"#).await.is_empty());
        assert_eq!(codes(&format!("{}<a href=\"{{{{ unsubscribe_url }}}}\">out</a> {{{{ brand.postal_address }}}}", "<p>x</p>".repeat(15_000))).await, ["clipped", "clipped"]);
    }
}

testkit::both! {
    async fn a_contact_gets_its_own_language(db: TestDb) {
        let stage = sandbox(&db).await;
        let variants = json!({"en": {"subject": "Hi {{ contact.first_name }}", "text": "x"}, "de": {"subject": "Hallo {{ contact.first_name }}", "text": "x"}});
        let id = published(&stage, "hello", variants).await;
        let new = serde_json::from_value(json!({"email": "ada@example.com", "first_name": "Ada", "language": "de-AT"})).unwrap();
        let contact = answer(&engine::contacts::create(&stage.engine, &stage.caller, &Repeat::NONE, new).await.unwrap())["id"].clone();
        let shown = said(&stage, json!({"to": {"contact_id": contact}, "channel": "email", "template": {"id": id}})).await.unwrap();
        assert_eq!(shown["subject"], "Hallo Ada");
        let request = serde_json::from_value(json!({"contact_id": contact})).unwrap();
        let shown = templates::preview(&stage.engine, &stage.caller, id, request).await.unwrap();
        assert_eq!((shown.locale.as_str(), &shown.content["subject"]), ("de", &json!("Hallo Ada")));
        let request = serde_json::from_value(json!({"contact_id": "con_01K9ZC8Q6T7Y2V5B3N4M1XWRSD"})).unwrap();
        let refused = templates::preview(&stage.engine, &stage.caller, id, request).await.unwrap_err();
        assert_eq!(pointers(&refused), ["/contact_id"]);
    }

    async fn a_sender_without_a_name_gets_the_brands(db: TestDb) {
        let stage = Stage::new(&db).await;
        let bare = stage.account("smtp", json!({ "host": "mail.example.com", "port": 25, "security": "none" }), Some("news@acme.example")).await;
        let named = stage.account("smtp", json!({ "host": "mail.example.com", "port": 25, "security": "none" }), Some("Box Office <box@acme.example>")).await;
        engine::branding::patch(&stage.engine, &stage.caller, br#"{"sender_name": "Acme News"}"#).await.unwrap();
        let from = async |account: model::AccountId| -> String {
            let mail = json!({ "to": {"email": "ada@example.com"}, "account_id": account, "content": {"subject": "Hi", "text": "Hello"} });
            stage.send(mail).await;
            stage.dispatch().await;
            let calls = stage.world.transport.take_calls();
            let Some(model::Call::Smtp(call)) = calls.last().map(std::sync::Arc::as_ref) else { panic!("no mail left") };
            let data = String::from_utf8_lossy(&call.data).into_owned();
            data.lines().find(|line| line.starts_with("From:")).unwrap().trim().to_owned()
        };
        let (bare, named) = (from(bare).await, from(named).await);
        assert!(bare.contains("Acme News") && bare.contains("<news@acme.example>"), "{bare}");
        assert!(named.contains("Box Office") && !named.contains("Acme News"), "{named}");
    }
}
