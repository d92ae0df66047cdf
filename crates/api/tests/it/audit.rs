//! Every operation that changes something, or takes much out, leaves an entry in the audit log: walked over all operations, so that a new one is covered the moment it exists.

use std::collections::BTreeMap;

use api::access::{Access, OPERATIONS, Operation, Verb};
use engine::keys::Caller;
use serde_json::{Value, json};
use testkit::TestDb;

use crate::{
    support::{Api, Seen, example_body, guarded},
    walls::{Things, concrete},
};

use Verb::{Delete, Get, Patch, Post};

/// What the program that walks calls itself.
const AGENT: &str = "Lynx/2.9";

/// Operations that leave no entry, each with the reason.
const SILENT: &[(Verb, &str, &str)] = &[
    (Post, "/v1/messages", "a message is its own record, with a timeline; there are millions of them"),
    (Post, "/v1/messages/batch", "as a single message"),
    (Post, "/v1/messages/{id}/cancel", "the message's timeline tells it"),
    (Post, "/v1/messages/{id}/retry", "the message's timeline tells it, and who did it"),
    (Post, "/v1/dead-letters/retry", "each message's timeline tells it, and who did it"),
    (Post, "/v1/invoice-deliveries", "as a single message"),
    (Post, "/v1/campaigns/{id}/check", "it changes nothing: the checklist is made and shown"),
    (Post, "/v1/routes/try", "it changes nothing"),
    (Post, "/v1/segments/preview", "it changes nothing"),
    (Post, "/v1/templates/{id}/preview", "it changes nothing"),
    (Post, "/v1/templates/{id}/test", "the test is a message, with a timeline"),
    (Post, "/v1/prices/what-if", "it changes nothing"),
    (Post, "/v1/alert-rules/{id}/test", "the letters are messages, with timelines"),
    (Post, "/v1/webhook-endpoints/{id}/test", "the event is a delivery, with a timeline"),
    (Post, "/v1/webhook-endpoints/{id}/deliveries/{delivery_id}/retry", "the delivery's timeline tells it"),
    (Post, "/v1/attachments", "a file says nothing before a message carries it"),
    (Post, "/v1/webhook-endpoints/{id}/replay", "each event is a delivery, with a timeline"),
    (Post, "/v1/domains/{id}/verify", "what was found is noted when it changes the domain's state"),
    (
        Post,
        "/v1/contacts",
        "of a tenant's own programs: the event contact.created tells it, one for each of its customers",
    ),
];

/// Operations that need a state or a provider this walk has not, with the file of `crates/engine/tests/it` that plays them. Each writes its entry in the transaction of the change.
const ELSEWHERE: &[(Verb, &str, &str)] = &[
    (Post, "/v1/accounts/{id}/callbacks", "provider_resources"),
    (Post, "/v1/accounts/{id}/whatsapp-templates", "provider_resources"),
    (Post, "/v1/accounts/{id}/whatsapp-templates/sync", "provider_resources"),
    (Delete, "/v1/accounts/{id}/whatsapp-templates/{name}", "provider_resources"),
    (Post, "/v1/credits/purchases", "purchases: the walk has no payment provider"),
    (Post, "/v1/credits/refunds", "purchases: nothing was bought on the walk"),
    (Delete, "/v1/credits/payment-method", "purchases: the walk has no payment provider"),
    (Post, "/v1/invoices/{id}/renew", "invoices: the walk's bill is no draft"),
    (Post, "/v1/invoices/{id}/issue", "invoices: nothing is due on the walk's bill"),
    (Post, "/v1/invoices/{id}/payment", "invoices: nothing is due on the walk's bill"),
    (Post, "/v1/invoices/{id}/send", "invoices: the walk's customer has no address"),
    (Post, "/v1/invoices/{id}/bill-again", "bills: the walk's bill is taken back by another operation"),
    (Patch, "/v1/numbers/{id}", "registrations: numbers are made in the operator's own pool"),
    (Delete, "/v1/numbers/{id}", "registrations: numbers are made in the operator's own pool"),
    (Post, "/v1/reconciliations", "reconciliations: the walk's accounts have no records"),
    (Post, "/v1/registrations/10dlc", "registrations: the walk's account has begun one already"),
    (Post, "/v1/registrations/10dlc/{id}/submit", "registrations: nothing was rejected on the walk"),
    (Post, "/v1/registrations/toll-free/{id}/submit", "registrations: nothing was rejected on the walk"),
];

/// Operations of people about themselves and at the door: what is theirs is known only after they proved who they are, which the tests of `crates/engine/tests/it/access.rs` do.
const PEOPLE: &[(Verb, &str)] = &[
    (Patch, "/v1/users/me"),
    (Post, "/v1/users/me/password"),
    (Post, "/v1/users/me/second-factor"),
    (Post, "/v1/users/me/second-factor/confirm"),
    (Post, "/v1/users/me/second-factor/remove"),
    (Post, "/v1/users/me/recovery-codes"),
    (Post, "/v1/sessions"),
    (Delete, "/v1/sessions/{id}"),
    (Post, "/v1/sessions/end-others"),
    (Post, "/v1/sessions/confirm"),
    (Post, "/v1/sessions/link"),
    (Post, "/v1/invitations/show"),
    (Post, "/v1/invitations/accept"),
    (Post, "/v1/invitations/join"),
    (Post, "/v1/password-resets"),
    (Post, "/v1/password-resets/confirm"),
];

fn is_in(list: &[(Verb, &str, &str)], operation: &Operation) -> bool {
    list.iter().any(|(verb, path, why)| {
        assert!(why.len() > 5, "{path} needs a reason");
        (*verb, *path) == (operation.method, operation.path)
    })
}

fn changes(operation: &Operation) -> bool {
    operation.method != Get || operation.path.ends_with("/export")
}

/// Entries of all logs so far.
async fn entries(api: &Api) -> u64 {
    engine::audit::verify(&api.stage.world.ports.db).await.unwrap().entries
}

/// What was written last. Of an entry that stands in both logs the one that names who it was: a tenant's people stand in its own, the operator's in the operator's.
async fn newest(api: &Api, tenant: &str) -> engine::audit::AuditEntry {
    let mut newest = Vec::new();
    for of in [None, Some(tenant.parse().unwrap())] {
        let page = engine::audit::list(api.stage.engine.parts(), &Caller::system(of), Some(1), None).await.unwrap();
        newest.extend(page.data);
    }
    newest.into_iter().max_by_key(|entry| (entry.id, entry.actor_name.is_some())).unwrap()
}

/// Whether a value stands somewhere as it was and as it is.
fn tells_before_and_after(detail: &Value) -> bool {
    match detail {
        Value::Object(fields) => {
            (fields.contains_key("from") && fields.contains_key("to")) || fields.values().any(tells_before_and_after)
        }
        Value::Array(all) => all.iter().any(tells_before_and_after),
        _ => false,
    }
}

/// A tenant with one of everything, and its key.
struct Tenant<'a> {
    api: &'a Api,
    id: String,
    key: String,
    things: Things,
}

impl<'a> Tenant<'a> {
    async fn new(api: &'a Api) -> Self {
        let (id, key) = api.another_tenant().await;
        let things = Things::of(api, &id.to_string(), &key).await;
        Self { api, id: id.to_string(), key, things }
    }

    async fn post(&self, path: &str, body: &Value) -> Seen {
        self.api.post(path, body).bearer(&self.key).send().await
    }

    async fn made(&self, path: &str, body: &Value) -> String {
        let seen = self.post(path, body).await;
        assert!(seen.status.is_success(), "{path}: {}", seen.text());
        seen.json()["id"].as_str().unwrap().to_owned()
    }

    async fn contact(&self, name: &str) -> String {
        self.made("/v1/contacts", &json!({"email": format!("{name}@example.com")})).await
    }

    /// A campaign of one recipient that has come as far as these steps.
    async fn campaign(&self, steps: &[&str]) -> String {
        let contact = self.things.id("contacts");
        let new = json!({"name": "Walk", "channel": "email", "purpose": "transactional", "content": {"subject": "Hi", "text": "Hello"},
            "audience": {"contact_ids": [contact]}});
        let id = self.made("/v1/campaigns", &new).await;
        for step in steps {
            let call = self.api.call("POST", &format!("/v1/campaigns/{id}/{step}")).bearer(&self.key);
            let seen = call.send().await;
            assert!(seen.status.is_success(), "{step}: {}", seen.text());
        }
        id
    }

    /// What has to be there before an operation can work, and the thing it then works on.
    async fn ready(&self, operation: &Operation) -> String {
        let id = match (operation.method, operation.path) {
            (Post, "/v1/campaigns/{id}/send" | "/v1/campaigns/{id}/schedule") => self.campaign(&[]).await,
            (Post, "/v1/campaigns/{id}/pause" | "/v1/campaigns/{id}/cancel") => self.campaign(&["send"]).await,
            (Post, "/v1/campaigns/{id}/resume") => self.campaign(&["send", "pause"]).await,
            (Post, "/v1/campaigns/{id}/winner") => self.tested().await,
            (Post, "/v1/contacts/{id}/erase") => self.contact("erased").await,
            (Post, "/v1/contacts/{id}/merge") => self.contact("kept").await,
            (Delete, "/v1/contacts/{id}") => self.contact("deleted").await,
            (Post, "/v1/templates/{id}/publish") => {
                let id = self.things.id("templates");
                let seen = self.post(&format!("/v1/templates/{id}/publish"), &json!({"version": 1})).await;
                assert!(seen.status.is_success(), "{}", seen.text());
                id
            }
            (Post | Delete, "/v1/demo-tenants/{id}/link" | "/v1/demo-tenants/{id}") => {
                let made = self.api.post("/v1/demo-tenants", &json!({"name": "Globex"})).for_operator().send().await;
                made.json()["id"].as_str().unwrap().to_owned()
            }
            (Post, "/v1/lists/{id}/contacts") => {
                let id = self.things.id("lists");
                let off = json!({"contact_ids": [self.things.id("contacts")]});
                let seen = self.post(&format!("/v1/lists/{id}/contacts/remove"), &off).await;
                assert!(seen.status.is_success(), "{}", seen.text());
                id
            }
            (Delete, "/v1/accounts/{id}") => format!("{}?force=true", self.things.id("accounts")),
            (Delete, "/v1/suppressions/{id}") => format!("{}?reason=Asked", self.things.id("suppressions")),
            _ => return concrete(operation, |collection| self.things.id(collection)),
        };
        concrete(operation, |_| id.clone())
    }

    /// A campaign whose test is under way.
    async fn tested(&self) -> String {
        let says = |text: &str| json!({"content": {"subject": text, "text": text}});
        let new = json!({"name": "Test", "channel": "email", "purpose": "transactional", "audience": {"contact_ids": [self.things.id("contacts")]},
            "variants": [says("A"), says("B")], "test": {"percent": 100, "duration_s": 600, "metric": "delivered", "automatic": false}});
        let id = self.made("/v1/campaigns", &new).await;
        self.api.call("POST", &format!("/v1/campaigns/{id}/send")).bearer(&self.key).send().await.ok(200);
        for _ in 0..10 {
            engine::campaigns::work::run(&self.api.stage.engine).await.unwrap();
        }
        id
    }

    /// The body an operation is asked with, where the document's example speaks of things that are not there.
    fn body(&self, operation: &Operation, described: &Value) -> Option<Value> {
        let id = |collection: &str| self.things.id(collection);
        Some(match (operation.method, operation.path) {
            (Patch, "/v1/accounts/{id}") => json!({"per_second": 20}),
            (Patch, "/v1/business-profile") => json!({"dba": "Acme Shows"}),
            (Post, "/v1/campaigns") => {
                json!({"name": "Autumn", "channel": "email", "content": {"subject": "Hi", "text": "Hello"}, "audience": {"contact_ids": [id("contacts")]}})
            }
            (Post, "/v1/campaigns/{id}/schedule") => {
                json!({"start_at": self.api.stage.world.ports.clock.now().plus_seconds(86_400)})
            }
            (Post, "/v1/contact-attributes") => json!({"name": "tier", "type": "text"}),
            (Post, "/v1/contacts") => json!({"email": "new@example.com"}),
            (Post, "/v1/contacts/{id}/merge") => json!({"from": id("contacts")}),
            (Post, "/v1/lists/{id}/contacts" | "/v1/lists/{id}/contacts/remove") => {
                json!({"contact_ids": [id("contacts")]})
            }
            (Post, "/v1/domains") => json!({"account_id": id("accounts"), "name": "news.acme.example"}),
            (Patch, "/v1/segments/{id}") => json!({"name": "In German"}),
            (Patch, "/v1/routes/{id}") => json!({"name": "Mail first"}),
            (Post, "/v1/routes") => {
                json!({"name": "More", "channel": "email", "choose": {"by": "priority"}, "accounts": [{"account_id": id("accounts")}]})
            }
            (Post, "/v1/registrations/toll-free") => {
                json!({"account_id": id("accounts"), "number": "+18885550100", "opt_in_type": "verbal", "opt_in_image_urls": ["https://acme.example/opt-in.png"]})
            }
            (Post, "/v1/senders") => json!({"account_id": id("accounts"), "from": "team@acme.example"}),
            (Post, "/v1/schedules/{id}/cancel") => json!({}),
            (Patch, "/v1/subscription") => json!({"plan_id": id("plans"), "customer": {"name": "Acme Ltd"}}),
            (Post, "/v1/templates/{id}/versions") => json!({"variants": {"en": {"subject": "Hi", "text": "Dear all"}}}),
            (Post, "/v1/users") => json!({"email": "more@example.com", "role": "member"}),
            _ => return example_body(described),
        })
    }

    async fn ask(&self, operation: &Operation, described: &Value, path: &str) -> Seen {
        let call = self.api.call(&operation.method.as_str().to_uppercase(), path).header("user-agent", AGENT);
        let call = match operation.path {
            "/v1/contacts/import" => call.header("content-type", "text/csv").bytes("email\nbo@example.com\n"),
            _ => match self.body(operation, described) {
                Some(body) => call.json(&body),
                None => call,
            },
        };
        let call = match operation.access {
            // Some of what is the operator's is about one tenant.
            Access::Operator(_)
                if operation.path.starts_with("/v1/credits") || operation.path == "/v1/subscription" =>
            {
                call.for_operator().header("tidings-tenant", &self.id)
            }
            Access::Operator(_) => call.for_operator(),
            _ => call.bearer(&self.key),
        };
        call.send().await
    }
}

#[test]
fn every_change_leaves_an_entry() {
    testkit::on_sqlite(async |db: TestDb| {
        let api = Api::new(&db).await;
        // One tenant for each collection; what is deleted is deleted last.
        let mut groups: BTreeMap<&str, Vec<(&Operation, &Value)>> = BTreeMap::new();
        for (operation, described) in guarded().filter(|(operation, _)| changes(operation)) {
            if is_in(SILENT, operation) || is_in(ELSEWHERE, operation) {
                continue;
            }
            groups.entry(operation.path.split('/').nth(2).unwrap()).or_default().push((operation, described));
        }
        let (mut walked, mut missing) = (0, Vec::new());
        for operations in groups.values_mut() {
            // What is merged into another is gone, too.
            operations.sort_by_key(|(operation, _)| (operation.method == Delete, operation.path.ends_with("/merge")));
            let tenant = Tenant::new(&api).await;
            for (operation, described) in operations {
                let path = tenant.ready(operation).await;
                let before = newest(&api, &tenant.id).await.id;
                let seen = tenant.ask(operation, described, &path).await;
                walked += 1;
                let what = format!("{} {}", operation.method.as_str(), operation.path);
                if !seen.status.is_success() {
                    missing.push(format!("{what} does not work here: {}", seen.text()));
                    continue;
                }
                let entry = newest(&api, &tenant.id).await;
                if entry.id == before {
                    missing.push(format!("{what} left no entry"));
                    continue;
                }
                if engine::audit::noun(&entry.action).is_none() {
                    missing.push(format!("{what} wrote {}, which is about no noun of the list", entry.action));
                }
                let is_nobody = entry.actor == "system" || entry.actor_kind.is_none() || entry.actor_name.is_none();
                if is_nobody || entry.ip.is_none() || entry.agent.as_deref() != Some(AGENT) {
                    missing.push(format!("{what} does not say who and from where: {entry:?}"));
                }
                // What a contact's fields hold is the person's: only their names are told.
                let is_told = tells_before_and_after(&entry.detail) || entry.action == "contact.updated";
                if operation.method == Patch && !is_told {
                    missing.push(format!("{what} does not say what was before: {}", entry.detail));
                }
            }
        }
        assert_eq!(missing, Vec::<String>::new());
        assert!(walked > 70, "{walked}");
        assert_eq!(engine::audit::verify(&db.db).await.unwrap().broken, Vec::<String>::new());
    });
}

/// Media types of files.
const FILES: [&str; 3] = ["text/csv", "application/x-ndjson", "application/zip"];

/// Whether an operation hands out a file of what a tenant has.
fn is_file(operation: &Operation, described: &Value) -> bool {
    let content = described["responses"]["200"]["content"].as_object();
    operation.method == Get && content.is_some_and(|kinds| kinds.keys().any(|kind| FILES.contains(&kind.as_str())))
}

#[test]
fn every_file_leaves_an_entry_with_who_took_what_from_where() {
    testkit::on_sqlite(async |db: TestDb| {
        let api = Api::new(&db).await;
        let tenant = Tenant::new(&api).await;
        let prices =
            guarded().find(|(operation, _)| (operation.method, operation.path) == (Post, "/v1/prices")).unwrap();
        tenant.ask(prices.0, prices.1, "/v1/prices").await.ok(201);
        let (mut walked, mut missing) = (0, Vec::new());
        for (operation, described) in guarded().filter(|(operation, described)| is_file(operation, described)) {
            // The walk's accounts have no records to compare with; crates/engine/tests/it/reconciliations.rs looks at that entry.
            if operation.path.starts_with("/v1/reconciliations/") {
                continue;
            }
            let parameters = described["parameters"].as_array().map(Vec::as_slice).unwrap_or_default();
            let has = |name: &str| parameters.iter().any(|one| one["name"] == name);
            let mut path = concrete(operation, |collection| tenant.things.id(collection));
            let mut asked = Vec::new();
            asked.extend(has("format").then_some("format=csv"));
            asked.extend(has("channel").then_some("channel=email"));
            if !asked.is_empty() {
                path = format!("{path}?{}", asked.join("&"));
            }
            let call =
                api.call("GET", &path).bearer(&tenant.key).header("accept", "text/csv").header("user-agent", AGENT);
            let before = entries(&api).await;
            let seen = call.send().await;
            walked += 1;
            if !seen.status.is_success() {
                missing.push(format!("{path} does not work here: {}", seen.text()));
                continue;
            }
            let entry = newest(&api, &tenant.id).await;
            let is_told = entries(&api).await == before + 1 && entry.action.contains("exported");
            if !is_told || entry.agent.as_deref() != Some(AGENT) || !entry.actor.starts_with("key_") {
                missing.push(format!("{path} left {entry:?}"));
            }
            if has("channel") && !entry.detail.to_string().contains("email") {
                missing.push(format!("{path} does not say what was asked for: {}", entry.detail));
            }
        }
        assert_eq!(missing, Vec::<String>::new());
        assert!(walked >= 9, "{walked}");
    });
}

#[test]
fn every_operation_is_walked_or_named() {
    let named =
        |verb: Verb, path: &str| OPERATIONS.iter().any(|operation| (operation.method, operation.path) == (verb, path));
    for (verb, path, _) in SILENT.iter().chain(ELSEWHERE) {
        assert!(named(*verb, path), "{path} is gone");
    }
    for (verb, path) in PEOPLE {
        assert!(named(*verb, path), "{path} is gone");
    }
    for operation in OPERATIONS.iter().filter(|operation| changes(operation) && operation.access.scope().is_none()) {
        let is_hook = operation.path.starts_with("/hooks/");
        assert!(is_hook || PEOPLE.contains(&(operation.method, operation.path)), "{operation:?} is nowhere");
    }
}
