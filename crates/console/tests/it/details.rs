//! The page of one thing of each kind, with what is usual in it and with what tries to break it. What they say is kept beside `outline.rs`.

use engine::keys::Caller;
use serde_json::json;
use testkit::{Stage, both};

use crate::{
    billing::operator,
    outline::keep_to_the_minute,
    pages::{HOSTILE, in_order},
    registrations::{PATH as REGISTRATION, PROFILE, TOLL_FREE, WHOLE},
    visitor::Visitor,
};

/// The first id with this prefix that a page names.
fn first_id(page: &str, prefix: &str) -> String {
    let (_, rest) = page.split_once(&format!("{prefix}_")).unwrap_or_else(|| panic!("no {prefix}_ in {page}"));
    format!("{prefix}_{}", &rest[..26])
}

async fn made(visitor: &Visitor, path: &str, fields: &[(&str, &str)]) -> String {
    let made = visitor.post(path, fields).await;
    assert_eq!(made.status, 303, "{path}: {}", made.text);
    made.location().split('?').next().unwrap().to_owned()
}

/// Makes one of each, called `name`, and answers what each page is and where.
async fn furnish(stage: &Stage, visitor: &Visitor, name: &str) -> Vec<(&'static str, String)> {
    let mut pages = Vec::new();
    let account = [
        ("name", name),
        ("channels", "email"),
        ("channels", "sms"),
        ("default_for", "email"),
        ("default_for", "sms"),
        ("enabled", "true"),
    ];
    pages.push(("account", made(visitor, "/console/channels/new/sandbox", &account).await));

    let contact = made(
        visitor,
        "/console/contacts",
        &[
            ("name", name),
            ("first_name", "Ada"),
            ("email", "ada@example.com"),
            ("phone", "+12025550123"),
            ("language", "en"),
        ],
    )
    .await;
    let consent = format!("{contact}/consent");
    made(visitor, &consent, &[("channel", "email"), ("state", "opted_in"), ("text", name), ("evidence", name)]).await;
    made(visitor, "/console/lists", &[("name", name), ("description", name)]).await;
    let list = first_id(&visitor.get("/console/lists").await.text, "lst");
    made(visitor, &format!("{contact}/lists"), &[("on", &list)]).await;

    let says = [
        ("channel", "sms"),
        ("name", "doors-open"),
        ("locale", "en"),
        ("says/text", "Hello {{ name }}"),
        ("variables/name/example", name),
    ];
    let template = made(visitor, "/console/templates", &says).await;
    made(visitor, &format!("{template}/about"), &[("rename", "doors-open"), ("about", name)]).await;
    let base = [
        ("channel", "sms"),
        ("template", template.rsplit('/').next().unwrap()),
        ("base", "1"),
        ("locale", "en"),
        ("default_locale", "en"),
        ("says/text", name),
        ("then", "publish"),
    ];
    made(visitor, &template, &base).await;

    let campaign = [
        ("channel", "email"),
        ("name", name),
        ("description", name),
        ("purpose", "transactional"),
        ("says", "content"),
        ("content/subject", name),
        ("content/text", name),
        ("audience/lists", list.as_str()),
    ];
    let draft = made(visitor, "/console/campaigns", &campaign).await;
    let sent = made(visitor, &format!("{draft}/duplicate"), &[]).await;
    made(visitor, &format!("{sent}/send"), &[]).await;

    let content = json!({"subject": name, "text": name});
    let read =
        stage.send(json!({"to": {"email": "ada@example.com"}, "content": content, "metadata": {"note": name}})).await;
    let bounced =
        stage.send(json!({"to": {"email": "bounce@example.com"}, "content": {"subject": "Hi", "text": name}})).await;
    stage.pass(20_000).await;
    let refused =
        stage.send(json!({"to": {"email": "content@example.com"}, "content": {"subject": "Hi", "text": name}})).await;
    // Without a second try: when one would be made differs from run to run.
    let lost = json!({"to": {"email": "unknown@example.com"}, "guarantee": "at_most_once", "content": {"subject": "Hi", "text": name}});
    let lost = stage.send(lost).await;
    stage.pass(20_000).await;

    let file = visitor
        .upload(
            "/console/contacts/import/file",
            "people.csv",
            "text/csv",
            "Name,E-mail\nBob,bob@example.com\nNobody,not an address\n",
        )
        .await;
    pages.push(("import-plan", file.clone()));
    let import = made(
        visitor,
        &file,
        &[
            ("begin", "true"),
            ("column", "Name"),
            ("field", "name"),
            ("column", "E-mail"),
            ("field", "email"),
            ("on_duplicate", "update"),
        ],
    )
    .await;
    while engine::contacts::import::run(&stage.engine).await.unwrap() > 0 {}
    pages.push(("import", import));

    let segment = [
        ("name", name),
        ("match", "all"),
        ("rows", "1"),
        ("subject/0", "field:language"),
        ("text/0/test", "starts_with"),
        ("text/0/value", name),
    ];
    pages.push(("segment", made(visitor, "/console/segments", &segment).await));
    let hook = visitor
        .post(
            "/console/settings/webhooks",
            &[("url", "https://hooks.example/in"), ("description", name), ("events", "message.*")],
        )
        .await;
    pages.push(("webhook", format!("/console/settings/webhooks/{}", first_id(&hook.text, "whk"))));
    visitor
        .post(
            "/console/settings/users",
            &[("email", "grace@example.com"), ("name", name), ("role", "member"), ("permissions", "campaigns")],
        )
        .await;
    let users = visitor.get("/console/settings/users").await.text;
    pages.push(("user", format!("/console/settings/users/{}", first_id(&users, "usr"))));
    made(visitor, "/console/settings/content", &[("name", name), ("kind", "footer"), ("required_footer/text", name)])
        .await;
    let rules = visitor.get("/console/settings/content").await.text;
    pages.push(("content-rule", format!("/console/settings/content/{}", first_id(&rules, "crl"))));
    pages
        .push(("alert-rule", made(visitor, "/console/alerts/rules", &[("kind", "bounce_rate"), ("name", name)]).await));

    let repeated = [
        ("channel", "sms"),
        ("key", "k1"),
        ("to", "+12025550123"),
        ("content/text", name),
        ("repeat", "daily"),
        ("schedule_name", name),
    ];
    pages.push(("schedule", made(visitor, "/console/compose", &repeated).await));
    pages.extend(register(visitor, name, &pages[0].1).await);
    pages.push(("reconciliation", compare(stage, visitor, name, &pages[0].1).await));

    pages.extend([
        ("list", format!("/console/lists/{list}")),
        ("contact-data", format!("{contact}/data")),
        ("contact", contact),
        ("contact-consent", consent),
        ("template", template.clone()),
        ("template-compare", format!("{template}/compare?from=1&to=2")),
        ("campaign-draft", draft.clone()),
        ("campaign-check", format!("{draft}/check")),
        ("campaign-edit", format!("{draft}/edit")),
        ("campaign-sent", sent),
        ("message-read", format!("/console/messages/{read}")),
        ("message-bounced", format!("/console/messages/{bounced}")),
        ("message-refused", format!("/console/messages/{refused}")),
        ("message-lost", format!("/console/messages/{lost}")),
        ("dead-letters", "/console/dead-letters".to_owned()),
    ]);
    pages
}

/// Registers the business for an account, and verifies a toll-free number. `account`: the page of the account.
async fn register(visitor: &Visitor, name: &str, account: &str) -> [(&'static str, String); 2] {
    let account = account.rsplit('/').next().unwrap();
    let business: Vec<_> =
        WHOLE.iter().map(|(field, value)| (*field, if *field == "legal_name" { name } else { value })).collect();
    made(visitor, PROFILE, &business).await;
    let local = made(visitor, REGISTRATION, &[("account_id", account), ("area_code", "628")]).await;
    let agreed = [
        ("account_id", account),
        ("number", "+18005550100"),
        ("opt_in_type", "web_form"),
        ("opt_in_image_urls", "https://acme.example/opt-in.png"),
        ("additional_information", name),
    ];
    [("registration", local), ("toll-free", made(visitor, TOLL_FREE, &agreed).await)]
}

/// Holds an account's messages of the last two hours against a table that has another one.
async fn compare(stage: &Stage, visitor: &Visitor, name: &str, account: &str) -> String {
    let now = stage.engine.ports.clock.now();
    let minute = |seconds: i64| now.plus_seconds(seconds).to_string()[..16].to_owned();
    let (from, to) = (minute(-7_200), minute(-60));
    let table = format!("sid,date_sent,price,currency\n\"{}\",{from}:00Z,-0.0075,USD\n", name.replace('"', "'"));
    let wanted = [
        ("account_id", account.rsplit('/').next().unwrap()),
        ("month", ""),
        ("starts_at", &from),
        ("ends_at", &to),
        ("csv", &table),
    ];
    let path = made(visitor, "/console/reconciliations", &wanted).await;
    while engine::reconciliations::work::run(&stage.engine).await.unwrap() > 0 {}
    path
}

/// The same for what the operator has.
async fn furnish_operator(stage: &Stage, staff: &Visitor, name: &str) -> Vec<(&'static str, String)> {
    let tenant = made(
        staff,
        "/console/tenants",
        &[("name", name), ("timezone", "Europe/Berlin"), ("currency", "EUR"), ("default_country", "DE")],
    )
    .await;
    // A plan's name stands on invoices, and no font has pictures of people.
    let printed = name.split(" 👩").next().unwrap_or(name);
    let plan =
        [("name", printed), ("currency", "USD"), ("monthly_fee_micros", "49"), ("allowances/sms/included", "1000")];
    let plan = made(staff, "/console/operator/plans", &plan).await;
    let plans = staff.get("/console/operator/plans").await.text;
    let plan =
        if plan.contains("pln_") { plan } else { format!("/console/operator/plans/{}", first_id(&plans, "pln")) };
    let number = [
        ("number", "+14155550100"),
        ("connector", "twilio"),
        ("provider_account", "AC00000000000000000000000000000001"),
        ("reference", "PN1"),
    ];
    let number = made(staff, "/console/operator/numbers", &number).await;
    made(staff, &number, &[("state", "retired"), ("detail", name)]).await;
    let bill = async |mode: &str| {
        let change = serde_json::from_value(json!({ "mode": mode })).unwrap();
        let caller = Caller::system(Some(stage.tenant));
        engine::money::credits::patch(stage.engine.parts(), &caller, change).await.unwrap();
    };
    bill("prepaid").await;
    made(staff, "/console/billing/purchase", &[("amount", "20"), ("reference", name), ("key", "one")]).await;
    let purchases = staff.get("/console/billing/purchases").await.text;
    let purchase = format!("/console/billing/purchases/{}", first_id(&purchases, "pur"));
    made(staff, &format!("{purchase}/refund"), &[("amount", "5.5"), ("reason", name), ("key", "two")]).await;
    // The other pages are those of a tenant who is not billed.
    bill("none").await;
    vec![("tenant", tenant), ("plan", plan), ("number", number), ("purchase", purchase)]
}

both! {
    async fn the_page_of_one_thing_reads_as_it_did(db: TestDb) {
        let mut stage = Stage::new(&db).await;
        let visitor = Visitor::new(&stage).await;
        let pages = furnish(&stage, &visitor, "Season tickets").await;
        let staff = operator(&mut stage).await;
        let theirs = furnish_operator(&stage, &staff, "Acme Theatre").await;
        for ((what, path), who) in pages.iter().map(|page| (page, &visitor)).chain(theirs.iter().map(|page| (page, &staff))) {
            let page = who.get(path).await;
            assert_eq!(page.status, 200, "{path}: {}", page.text);
            keep_to_the_minute(&format!("one-{what}"), &page.text);
        }
    }

    async fn the_page_of_one_thing_cannot_be_broken_by_what_it_shows(db: TestDb) {
        let mut stage = Stage::new(&db).await;
        let visitor = Visitor::new(&stage).await;
        let pages = furnish(&stage, &visitor, HOSTILE).await;
        let staff = operator(&mut stage).await;
        let theirs = furnish_operator(&stage, &staff, HOSTILE).await;
        for ((what, path), who) in pages.iter().map(|page| (page, &visitor)).chain(theirs.iter().map(|page| (page, &staff))) {
            let page = who.get(path).await;
            if *what == "campaign-check" { assert_eq!(page.status, 200); } else { in_order(path, &page); }
            keep_to_the_minute(&format!("odd-{what}"), &page.text);
        }
    }
}
