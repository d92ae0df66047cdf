//! `kill -9` while messages flow: the process is killed at random moments, twenty times on each database, and started again, while clients go on posting
//! and the providers' receivers keep count.
//!
//! The laws: every message that was answered 202 reaches its receiver, if need be after a person tried again what was under way at five kills; none arrives twice unless its timeline tells of an attempt whose end is unknown;
//! a request that is repeated after a crash is answered as before; usage equals the count; nothing stays queued. A failure names the seed.
//!
//! How many messages there are is up to `TIDINGS_TEST_KILL_MESSAGES`, and `TIDINGS_TEST_SEED` changes the moments. The full measure, with a release
//! build under test and without a limit on a test's time:
//!
//! ```sh
//! cargo build --release --bin tidings
//! TIDINGS_TEST_BINARY=$PWD/target/release/tidings TIDINGS_TEST_KILL_MESSAGES=20000 cargo test -p tidings --test it kill:: -- --nocapture
//! ```

use std::env;

use model::Ids;
use rustix::process::Signal;

use crate::{
    feed::Feed,
    house::{House, TRIES, message},
    http::Client,
};

const ROUNDS: u64 = 20;
/// Messages in all, unless the environment says otherwise: enough for a hundred per round and few enough for every day.
const MESSAGES: u64 = 2_000;
const CLIENTS: usize = 8;

/// A number from the environment.
pub fn number(variable: &str, default: u64) -> u64 {
    env::var(variable).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{variable}={text} is no number")))
}

testkit::both! {
    async fn killed_twenty_times_it_loses_nothing(db: TestDb) {
        let (messages, seed) = (number("TIDINGS_TEST_KILL_MESSAGES", MESSAGES), number("TIDINGS_TEST_SEED", 1));
        println!("{messages} messages, seed {seed}");
        let db = testkit::on_disk(db).await;
        let house = House::on(&db);
        let feed = Feed::default();
        let chance = Ids::seeded(seed);
        let share = messages / ROUNDS;
        let server = feed.beside(CLIENTS, &house.key, || {
            for round in 0..ROUNDS {
                let server = house.serve();
                feed.server(Some(server.url()));
                feed.add(round * share..(round + 1) * share);
                // Either in the middle of accepting or in the middle of sending; now and then at once. What is there when the round begins may
                // wait for what other processes left, so only this round's share is counted on.
                let more = chance.below(share * 3 / 4) as usize;
                match chance.below(2) {
                    0 => feed.wait(feed.count() + more),
                    _ => house.sink.wait(house.sink.count() + more),
                }
                server.stop(Signal::KILL);
                feed.server(None);
            }
            let server = house.serve();
            feed.server(Some(server.url()));
            feed.wait((share * ROUNDS) as usize);
            server
        });
        let accepted = feed.accepted();
        let (twice, unknown) = house.settle(&server, &accepted);
        println!("{}: {} accepted, {} arrivals, {twice} arrived more than once after {unknown} unknown attempts", db.engine, accepted.len(), house.sink.count());

        let arrivals = house.sink.count();
        feed.repeat_all(server.url(), &house.key);
        house.settle(&server, &accepted);
        assert_eq!(house.sink.count(), arrivals, "a repeated request sends nothing");
    }
}

#[test]
fn what_was_under_way_at_a_kill_in_each_of_its_tries_waits_for_a_person() {
    testkit::on_sqlite(async |db| {
        let db = testkit::on_disk(db).await;
        let house = House::on(&db);
        house.sink.hold_mail(true);
        let server = house.serve();
        // Odd numbers are mails.
        let accepted = Client::new(server.url(), &house.key).post("/v1/messages", &message(1));
        let accepted = [(1, accepted["id"].as_str().unwrap().to_owned())].into();
        house.sink.wait(1);
        server.stop(Signal::KILL);
        for tries in 2..=TRIES {
            let server = house.serve();
            house.sink.wait(tries as usize);
            server.stop(Signal::KILL);
        }
        house.sink.hold_mail(false);
        let (twice, unknown) = house.settle(&house.serve(), &accepted);
        assert_eq!((house.sink.count() as u64, twice, unknown as u64), (TRIES + 1, 1, TRIES));
    });
}
