//! WhatsApp templates at each provider that has them: submitted, reviewed, read again, refused, deleted.

use serde_json::{Value, json};

use super::Stage;

/// The account, its provider, and what the provider keeps them in; nothing for the sandbox, which keeps nothing.
const WITH_TEMPLATES: &[(&str, Option<(&str, &str)>)] = &[
    ("WhatsApp Cloud", Some(("whatsapp_cloud", "templates"))),
    ("Twilio", Some(("twilio", "contents"))),
    ("Gupshup", Some(("gupshup", "templates"))),
    ("Bird", Some(("messagebird", "bird_projects"))),
    ("Sandbox", None),
];

fn new(name: &str) -> Value {
    json!({
        "name": name, "language": "en", "category": "UTILITY",
        "components": [{"type": "BODY", "text": "Hello {{1}}, gate {{2}} is open", "example": {"body_text": [["Ada", "7"]]}}],
    })
}

/// What is known here of a template.
fn known(stage: &Stage, path: &str, name: &str) -> Option<Value> {
    let all = stage.client().get(path);
    all["data"].as_array().unwrap().iter().find(|template| template["name"] == name).cloned()
}

testkit::both! {
    async fn templates_are_submitted_reviewed_and_deleted_at_each_provider(db: TestDb) {
        let mut stage = Stage::open(&db);
        let sandbox = stage.client().post("/v1/accounts", &json!({"connector": "sandbox", "name": "Sandbox", "settings": {}}));
        stage.accounts.insert("Sandbox".to_owned(), (sandbox["id"].as_str().unwrap().to_owned(), "sandbox".to_owned()));
        for (account, kept) in WITH_TEMPLATES {
            let mut client = stage.client();
            let path = format!("/v1/accounts/{}/whatsapp-templates", stage.account(account));
            let made = client.ask("POST", &path, &[], &new("gate_open"));
            stage.check(made.status == 201 && made.json()["status"] == "submitted", || format!("{account}: {}", made.body));
            let twice = client.ask("POST", &path, &[], &new("reject_me"));
            stage.check(twice.status == 201, || format!("{account}: {}", twice.body));
            // A provider shows its list as it is, and reviews what is in it meanwhile.
            for _ in 0..2 {
                let read = client.post(&format!("{path}/sync"), &Value::Null);
                stage.check(read["total"].as_u64().unwrap_or(0) >= 2, || format!("{account}: {read:#}"));
            }
            let open = known(&stage, &path, "gate_open").unwrap_or_default();
            let is_good = open["status"] == "approved" && open["category"] == "UTILITY" && open["language"] == "en";
            stage.check(is_good && open["components"][0]["text"] == "Hello {{1}}, gate {{2}} is open", || format!("{account}: {open:#}"));
            let bad = known(&stage, &path, "reject_me").unwrap_or_default();
            let is_reviewed = *account == "WhatsApp Cloud" || bad["status"] == "rejected" && bad["reason"].is_string();
            stage.check(is_reviewed, || format!("{account}: {bad:#}"));
            for name in ["gate_open", "reject_me"] {
                let gone = client.ask("DELETE", &format!("{path}/{name}"), &[], &Value::Null);
                stage.check(gone.status == 204 && known(&stage, &path, name).is_none(), || format!("{account}: {}", gone.body));
            }
            if let Some((provider, setting)) = kept {
                let shown = stage.control().get(&format!("/_sim/providers/{provider}"));
                let left = shown["settings"][setting].as_str().unwrap_or_default();
                stage.check(!left.contains("gate_open") && !left.contains("reject_me"), || format!("{account} keeps {left}"));
            }
        }
        // Interakt shows its templates, and makes them on its own pages only.
        let path = format!("/v1/accounts/{}/whatsapp-templates", stage.account("Interakt"));
        let read = stage.client().post(&format!("{path}/sync"), &Value::Null);
        stage.check(read["total"].as_u64().unwrap_or(0) >= 1, || format!("Interakt: {read:#}"));
        let refused = stage.client().ask("POST", &path, &[], &new("gate_open"));
        stage.check((400..500).contains(&refused.status), || refused.body.clone());
        // What an account cannot make is said with the reason.
        let path = format!("/v1/accounts/{}/whatsapp-templates", stage.account("MessageBird"));
        let refused = stage.client().ask("POST", &path, &[], &new("gate_open"));
        stage.check((400..500).contains(&refused.status), || refused.body.clone());
        stage.close();
    }
}
