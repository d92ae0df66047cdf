//! Two processes on one PostgreSQL: they share the work and send nothing twice, and one finishes what the other leaves behind when it is killed.

use std::collections::BTreeMap;

use rustix::process::Signal;

use crate::{
    binary::Server,
    house::{House, message},
    http::Client,
};

/// Messages of each half.
const MESSAGES: u64 = 100;

/// Posts to both in turn.
fn post(house: &House, servers: [&Server; 2], numbers: std::ops::Range<u64>) -> BTreeMap<u64, String> {
    let mut clients = servers.map(|server| Client::new(server.url(), &house.key));
    // The tens decide who gets it, so that each gets mails and text messages.
    let mut one = |number: u64| {
        clients[(number / 10 % 2) as usize].post("/v1/messages", &message(number))["id"].as_str().unwrap().to_owned()
    };
    numbers.map(|number| (number, one(number))).collect()
}

fn recovered(house: &House, server: &Server, accepted: &BTreeMap<u64, String>) -> usize {
    let mut client = Client::new(server.url(), &house.key);
    let mut is_recovered = |id: &String| {
        let timeline = client.get(&format!("/v1/messages/{id}/timeline"));
        let entries = timeline["data"].as_array().unwrap().clone();
        entries.iter().any(|entry| entry["type"] == "attempt" && entry["failure"]["code"] == "process_ended")
    };
    accepted.values().filter(|id| is_recovered(id)).count()
}

#[test]
fn two_processes_send_once_and_one_finishes_for_the_other() {
    testkit::on_postgres(async |db| {
        let house = House::on(&db);
        let (first, second) = (house.serve(), house.serve());
        let mut accepted = post(&house, [&first, &second], 0..MESSAGES);
        let (twice, _) = house.settle(&second, &accepted);
        assert_eq!((house.sink.count(), twice), (MESSAGES as usize, 0), "each is sent exactly once");

        // The provider has taken messages of both, and neither has its answer.
        house.sink.hold(true);
        accepted.append(&mut post(&house, [&first, &second], MESSAGES..2 * MESSAGES));
        house.sink.wait((MESSAGES + MESSAGES) as usize);
        first.stop(Signal::KILL);
        house.sink.hold(false);

        let (twice, unknown) = house.settle(&second, &accepted);
        let recovered = recovered(&house, &second, &accepted);
        println!(
            "{recovered} attempts of the killed process were recovered; {twice} arrived twice after {unknown} unknown attempts"
        );
        assert!(recovered > 0, "the killed process had requests under way");
    });
}
