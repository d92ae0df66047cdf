//! Providers that are asked about messages they have not spoken of: every five minutes about what was taken, and soon where an answer was lost. The engine as it is and the
//! simulator, which takes the messages and reports nothing.

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
};

use engine::{accounts, once::Repeat};
use model::{Answer, Call, HttpAnswer, HttpCall, Ids, MessageId};
use provider_sim::{Request, Simulator};
use serde_json::{Value, json};
use testkit::{Stage, TestDb, World, broken_after, smtp_accepted};

/// Where the simulator is.
const BASE: &str = "http://simulator.test";

/// Who can be asked about a message by the id it gave it: the account in the simulator, the channel, and what the message says.
const BY_ID: &[(&str, &str)] = &[
    ("Twilio", "sms"),
    ("Twilio", "whatsapp"),
    ("Twilio", "voice"),
    ("Vonage", "sms"),
    ("Vonage", "whatsapp"),
    ("Vonage", "voice"),
    ("Vonage SMS API", "sms"),
    ("MessageBird", "sms"),
    ("MessageBird", "whatsapp"),
    ("Bird", "sms"),
    ("Bird", "whatsapp"),
    ("Amazon SES", "email"),
    ("SendGrid", "email"),
    ("Mailgun", "email"),
    ("Mailjet", "email"),
    ("Resend", "email"),
];

/// Who can be asked without an id: by what we gave to be repeated, or by what else is known of the message.
const BY_ECHO: &[(&str, &str)] = &[
    ("Twilio", "sms"),
    ("Twilio", "whatsapp"),
    ("Twilio", "voice"),
    ("Vonage", "sms"),
    ("Vonage SMS API", "sms"),
    ("MessageBird", "sms"),
    ("Mailgun", "email"),
    ("Mailjet", "email"),
    ("Resend", "email"),
];

/// Settings without which a provider does not let itself be asked: it takes money for it.
const OPTIONS: &[(&str, &str)] = &[
    ("Amazon SES", "message_insights"),
    ("SendGrid", "email_activity"),
    ("Vonage", "reports"),
    ("Vonage SMS API", "reports"),
];

struct Asking {
    stage: Stage,
    simulator: Arc<Simulator>,
    /// Id and connector of each account, by its name in the simulator.
    accounts: BTreeMap<String, (String, String)>,
}

impl Asking {
    async fn new(db: &TestDb) -> Self {
        let slot = Arc::new(OnceLock::<Arc<Simulator>>::new());
        let known = Arc::clone(&slot);
        let mut world = World::answering(db, move |call| match call {
            Call::Http(http) => carry(known.get().expect("the simulator is there"), http),
            Call::Smtp(_) => smtp_accepted(),
            Call::Local => Ok(Answer::Local),
        });
        let transport: Arc<dyn model::Transport> = world.ports.transport.clone();
        let simulator = Simulator::new(world.ports.clock.clone(), Ids::seeded(9), transport);
        assert!(slot.set(Arc::clone(&simulator)).is_ok());
        let providers = control(&simulator, "GET", "/_sim/providers", &Value::Null)["data"].clone();
        let providers = providers.as_array().unwrap();
        world.base_urls = providers
            .iter()
            .map(|provider| provider["id"].as_str().unwrap())
            .map(|id| (id.to_owned(), format!("{BASE}/{id}")))
            .collect();
        let stage = Stage::in_world(world).await;
        let mut accounts = BTreeMap::new();
        for account in providers.iter().flat_map(|provider| provider["accounts"].as_array().unwrap()) {
            let mut account = account.clone();
            let name = account["name"].as_str().unwrap().to_owned();
            if !BY_ID.iter().any(|(wanted, _)| *wanted == name) {
                continue;
            }
            for (_, option) in OPTIONS.iter().filter(|(of, _)| *of == name) {
                account["settings"][*option] = "true".into();
            }
            let connector = account["connector"].as_str().unwrap().to_owned();
            let new = serde_json::from_value(account).unwrap();
            let made = accounts::create(stage.engine.parts(), &stage.caller, &Repeat::NONE, new).await.unwrap();
            let id = serde_json::from_slice::<Value>(&made.body).unwrap()["id"].as_str().unwrap().to_owned();
            accounts.insert(name, (id, connector));
        }
        Self { stage, simulator, accounts }
    }

    /// Sends to somebody over an account, so far as the provider takes it.
    async fn send(&self, account: &str, channel: &str, who: &str) -> MessageId {
        let to = match channel {
            // To somebody else over each account: an address that failed is not written to again.
            "email" => json!({"email": format!("{who}+{}@example.com", self.accounts[account].1)}),
            _ => {
                json!({"phone": match who { "silent" => "+491515550004", "fails" => "+491515550002", _ => "+4915112345678" }})
            }
        };
        let content = match channel {
            "email" => json!({"subject": "Your ticket", "text": "Hello"}),
            "voice" => json!({"say": "Hello"}),
            _ => json!({"text": "Hello"}),
        };
        let message = json!({"to": to, "channel": channel, "account_id": self.accounts[account].0, "content": content});
        let id = self.stage.send(message).await;
        self.stage.dispatch().await;
        id
    }

    /// Lets so much time pass and everything happen that is due then.
    async fn after(&self, millis: u64) {
        self.stage.world.clock.advance_ms(millis);
        self.stage.tick().await;
    }

    /// Questions since the last look: requests that look and do not make.
    fn questions(&self) -> usize {
        let is_question = |call: &Arc<Call>| matches!(&**call, Call::Http(http) if http.method == model::Method::Get);
        self.stage.world.transport.take_calls().iter().filter(|call| is_question(call)).count()
    }

    /// Spoils the next message over an account.
    fn bad_day(&self, account: &str, day: Value) {
        let rule = json!({"provider": self.accounts[account].1, "times": 1, "day": day});
        control(&self.simulator, "POST", "/_sim/script", &rule);
    }

    /// How often the provider took a message.
    fn taken(&self, account: &str) -> usize {
        let path = format!("/_sim/messages?provider={}", self.accounts[account].1);
        control(&self.simulator, "GET", &path, &Value::Null)["data"].as_array().unwrap().len()
    }
}

fn control(simulator: &Simulator, method: &str, path: &str, body: &Value) -> Value {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let request = Request {
        method: method.to_owned(),
        path: path.to_owned(),
        query: query.to_owned(),
        body: body.to_string().into(),
        ..Request::default()
    };
    serde_json::from_slice(&simulator.turn(&request).reply.unwrap().body).unwrap()
}

/// Brings a request to the simulator. What it would report is dropped: nothing is heard of any message.
fn carry(simulator: &Simulator, http: &HttpCall) -> Result<Answer, model::Broken> {
    let rest = http.url.strip_prefix(BASE).unwrap_or_else(|| panic!("a request left for {}", http.url));
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    let mut headers = http.headers.clone();
    headers.push(("host".to_owned(), BASE.trim_start_matches("http://").to_owned()));
    let request = Request {
        method: format!("{:?}", http.method).to_uppercase(),
        path: path.to_owned(),
        query: query.to_owned(),
        headers,
        body: http.body.clone(),
    };
    match simulator.turn(&request).reply {
        Some(reply) => Ok(Answer::Http(HttpAnswer {
            status: reply.status,
            headers: reply.headers.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
            body: reply.body,
            is_truncated: false,
        })),
        None => broken_after("connection_reset"),
    }
}

const MINUTE_MS: u64 = 60_000;

testkit::both! {
    async fn what_was_taken_is_asked_about_every_five_minutes(db: TestDb) {
        let asking = Asking::new(&db).await;
        for (account, channel) in BY_ID {
            let about = format!("{account} {channel}");
            let arrived = asking.send(account, channel, "ada").await;
            assert_eq!(asking.stage.status(arrived).await, "sent", "{about}");
            asking.questions();
            // Long delivered, but nobody has said so, and it is not yet time to ask.
            asking.after(5 * MINUTE_MS - 1_000).await;
            assert_eq!((asking.questions(), asking.stage.status(arrived).await), (0, "sent"), "{about}");
            asking.after(1_000).await;
            assert_eq!(asking.questions(), 1, "{about}");
            let heard = asking.stage.status(arrived).await;
            assert!(heard == "delivered" || (*channel == "whatsapp" && heard == "read"), "{about}: {heard}");
            // What is known is not asked about again.
            asking.after(5 * MINUTE_MS).await;
            assert_eq!(asking.questions(), 0, "{about}");

            let failed = asking.send(account, channel, "fails").await;
            asking.after(5 * MINUTE_MS).await;
            assert_eq!(asking.stage.status(failed).await, "failed", "{about}");
            asking.questions();

            // What stays silent is asked about again and again.
            let silent = asking.send(account, channel, "silent").await;
            for _ in 0..3 {
                asking.questions();
                asking.after(5 * MINUTE_MS).await;
                assert_eq!((asking.questions(), asking.stage.status(silent).await), (1, "sent"), "{about}");
            }
            asking.after(3 * 86_400_000).await;
            asking.questions();
            asking.after(5 * MINUTE_MS).await;
            assert_eq!(asking.questions(), 0, "{about}: three days later nothing will come any more");
        }
    }

    async fn lost_answers_are_settled_by_what_is_echoed(db: TestDb) {
        let asking = Asking::new(&db).await;
        for (account, channel) in BY_ECHO {
            let about = format!("{account} {channel}");
            // The same was said to the same person at another time.
            asking.send(account, channel, "ada").await;
            asking.after(10 * MINUTE_MS).await;
            let before = asking.taken(account);
            asking.bad_day(account, json!({"drop": {}}));
            let id = asking.send(account, channel, "ada").await;
            assert_eq!(asking.stage.message(id).await.provider_message_id, None, "{about}");
            asking.after(5_000).await;
            let m = asking.stage.message(id).await;
            assert!(m.provider_message_id.is_some() && m.sent_at.is_some(), "{about}: {m:?}");
            asking.after(6 * MINUTE_MS).await;
            let heard = asking.stage.status(id).await;
            assert!(heard == "delivered" || (*channel == "whatsapp" && heard == "read"), "{about}: {heard}");
            assert_eq!((asking.stage.message(id).await.attempts, asking.taken(account) - before), (1, 1), "{about}");
        }
    }

    async fn what_nobody_took_is_not_taken_for_another_message_of_ours(db: TestDb) {
        let asking = Asking::new(&db).await;
        for (account, channel) in BY_ECHO {
            let about = format!("{account} {channel}");
            let before = asking.taken(account);
            let first = asking.send(account, channel, "ada").await;
            // The same words to the same person, and the second time nobody takes them.
            asking.bad_day(account, json!({"drop": {"is_taken": false}}));
            let second = asking.send(account, channel, "ada").await;
            asking.after(5_000).await;
            let m = asking.stage.message(second).await;
            assert_eq!((m.sent_at, m.provider_message_id, m.attempts), (None, None, 1), "{about}");
            for wait_ms in [15_000, 30_000, MINUTE_MS, MINUTE_MS] {
                asking.after(wait_ms).await;
            }
            let m = asking.stage.message(second).await;
            assert_eq!((m.attempts, asking.taken(account) - before), (2, 2), "{about}: {m:?}");
            let first = asking.stage.message(first).await;
            assert_ne!(m.provider_message_id, first.provider_message_id, "{about}");
            asking.after(10 * MINUTE_MS).await;
        }
    }

    async fn what_was_taken_once_is_the_answer_to_one_question(db: TestDb) {
        let asking = Asking::new(&db).await;
        for (account, channel) in BY_ECHO {
            let about = format!("{account} {channel}");
            let before = asking.taken(account);
            // Both answers are lost, and only one of the messages was taken.
            asking.bad_day(account, json!({"drop": {}}));
            let first = asking.send(account, channel, "ada").await;
            asking.bad_day(account, json!({"drop": {"is_taken": false}}));
            let second = asking.send(account, channel, "ada").await;
            for wait_ms in [5_000, 15_000, 30_000, MINUTE_MS, MINUTE_MS] {
                asking.after(wait_ms).await;
            }
            let (first, second) = (asking.stage.message(first).await, asking.stage.message(second).await);
            assert_ne!(first.provider_message_id, second.provider_message_id, "{about}");
            assert_eq!((first.attempts + second.attempts, asking.taken(account) - before), (3, 2), "{about}");
            assert!(first.sent_at.is_some() && second.sent_at.is_some(), "{about}: {first:?} {second:?}");
            asking.after(10 * MINUTE_MS).await;
        }
    }

    async fn what_was_never_taken_is_sent_again_once_asking_found_nothing(db: TestDb) {
        let asking = Asking::new(&db).await;
        for (account, channel) in BY_ECHO {
            let about = format!("{account} {channel}");
            let before = asking.taken(account);
            asking.bad_day(account, json!({"drop": {"is_taken": false}}));
            let id = asking.send(account, channel, "ada").await;
            for wait_ms in [5_000, 15_000, 30_000, MINUTE_MS] {
                asking.after(wait_ms).await;
            }
            let m = asking.stage.message(id).await;
            assert_eq!((m.attempts, asking.taken(account) - before), (2, 1), "{about}: {m:?}");
            asking.after(6 * MINUTE_MS).await;
            let heard = asking.stage.status(id).await;
            assert!(heard == "delivered" || (*channel == "whatsapp" && heard == "read"), "{about}: {heard}");
            // The next one's to the same person comes at another time.
            asking.after(10 * MINUTE_MS).await;
        }
    }
}
