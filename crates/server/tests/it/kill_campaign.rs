//! `kill -9` while a campaign is expanded and sent: the process is killed at random moments, twenty times on each database, and started again.
//!
//! The laws: every recipient of the frozen audience has exactly one message, and it arrives; none arrives twice unless its timeline tells of an attempt whose end is unknown; the
//! campaign's counts are exact. A failure names the seed.
//!
//! How many recipients there are is up to `TIDINGS_TEST_KILL_RECIPIENTS`, and `TIDINGS_TEST_SEED` changes the moments. The full measure, with a release build under test:
//!
//! ```sh
//! cargo build --release --bin tidings
//! TIDINGS_TEST_BINARY=$PWD/target/release/tidings TIDINGS_TEST_KILL_RECIPIENTS=100000 cargo test -p tidings --test it kill_campaign:: -- --nocapture
//! ```

use std::collections::BTreeMap;

use model::Ids;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::{events::Events, house::House, http::Client, kill::number};

const ROUNDS: u64 = 20;
/// Recipients in all, unless the environment says otherwise.
const RECIPIENTS: u64 = 1_000;

/// Makes the contacts and a campaign to all of them; answers its id.
fn prepare(client: &mut Client, url: &str, key: &str, recipients: u64) -> String {
    let mut table = String::from("email,first_name\r\n");
    for n in 0..recipients {
        // Odd numbers are mails.
        table.push_str(&format!("u{:09}@mail.test,Ada {n}\r\n", n * 2 + 1));
    }
    let import =
        client.exchange("POST", "/v1/contacts/import", &[("content-type", "text/csv")], &table).unwrap().success();
    let id = import["id"].as_str().unwrap();
    let done = Events::from_the_beginning(url, key, "contact_import.finished").until("contact_import.finished", id);
    assert_eq!(done["created"], recipients, "{done}");
    let segment =
        client.post("/v1/segments", &json!({"name": "All", "conditions": {"field": "email", "exists": true}}));
    let campaign = client.post(
        "/v1/campaigns",
        &json!({
            "name": "Summer", "channel": "email", "purpose": "transactional", "audience": {"segments": [segment["id"]]},
            "content": {"subject": "Hello {{ contact.first_name }}", "text": "The gates open at six."},
        }),
    );
    campaign["id"].as_str().unwrap().to_owned()
}

/// The message of each recipient, by the number in its address.
fn outcomes(client: &mut Client, campaign: &str) -> BTreeMap<u64, String> {
    let mut found = BTreeMap::new();
    let mut cursor = String::new();
    loop {
        let page = client.get(&format!("/v1/campaigns/{campaign}/recipients?limit=500{cursor}"));
        for row in page["data"].as_array().unwrap() {
            let to = row["to"].as_str().unwrap_or_else(|| panic!("a recipient without a message: {row}"));
            let number = crate::house::number(to);
            assert_eq!(row["status"], "sent", "{row}");
            assert!(
                found.insert(number, row["message_id"].as_str().unwrap().to_owned()).is_none(),
                "{to} is there twice"
            );
        }
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return found,
        }
    }
}

testkit::both! {
    async fn killed_twenty_times_each_recipient_has_one_message(db: TestDb) {
        let (recipients, seed) = (number("TIDINGS_TEST_KILL_RECIPIENTS", RECIPIENTS), number("TIDINGS_TEST_SEED", 1));
        println!("{recipients} recipients, seed {seed}");
        let db = testkit::on_disk(db).await;
        let house = House::on(&db);
        let chance = Ids::seeded(seed);
        let share = recipients / ROUNDS;
        let mut campaign = None;
        for round in 0..ROUNDS {
            let server = house.serve();
            let id = campaign.get_or_insert_with(|| {
                let mut client = Client::new(server.url(), &house.key);
                let id = prepare(&mut client, server.url(), &house.key, recipients);
                client.post(&format!("/v1/campaigns/{id}/send"), &Value::Null);
                id
            });
            // Some moments are in the middle of expanding, others in the middle of sending, and some follow the start at once.
            let moment = (round * share + chance.below(share)) as usize;
            match chance.below(3) {
                0 => {
                    let mut events = Events::from_the_beginning(server.url(), &house.key, "message.accepted");
                    (0..moment).for_each(|_| drop(events.next()));
                }
                1 => house.sink.wait(moment),
                _ => assert!(!id.is_empty()),
            }
            server.stop(Signal::KILL);
        }
        let server = house.serve();
        let id = campaign.unwrap();
        house.until_sent(&server, "message.*", recipients as usize);
        let done = Events::from_the_beginning(server.url(), &house.key, "campaign.sent").until("campaign.sent", &id);
        assert_eq!((&done["recipients"], &done["accepted"], &done["excluded"]), (&json!(recipients), &json!(recipients), &json!(0)));
        let mut client = Client::new(server.url(), &house.key);
        let found = outcomes(&mut client, &id);
        assert_eq!(found.len() as u64, recipients);
        let stats = client.get(&format!("/v1/campaigns/{id}/stats"));
        assert_eq!((&stats["messages"]["accepted"], &stats["messages"]["sent"]), (&json!(recipients), &json!(recipients)));
        let (twice, unknown) = house.check(&mut client, &found);
        println!("{}: {recipients} recipients, {} arrivals, {twice} arrived more than once after {unknown} unknown attempts", db.engine, house.sink.count());
    }
}
