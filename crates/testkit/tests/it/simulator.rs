//! The simulator's seeds. `SEED=7 cargo nextest run -p tidings-testkit simulator` plays that one alone, wherever.

use std::env;

use tidings_testkit::simulator::{On, Sabotage, Setup, laws, play};

/// Seeds of one test on SQLite: several tests share them, so that they run beside each other.
const SEEDS: u64 = 25;

/// Plays seeds and shows the first that fails.
fn all_hold(on: On, seeds: impl IntoIterator<Item = u64>) {
    let wanted = env::var("SEED").ok().map(|seed| seed.parse().expect("SEED is a number"));
    let seeds: Vec<u64> = wanted.map_or_else(|| seeds.into_iter().collect(), |seed| vec![seed]);
    for seed in seeds {
        match play(seed, Setup::on(on)) {
            Ok(summary) => println!("seed {seed}: {summary:?}"),
            Err(failed) => panic!("\n{failed}"),
        }
    }
}

/// One test per block of seeds.
macro_rules! blocks {
    ($($name:ident: $number:literal;)+) => {$(
        #[test]
        fn $name() {
            all_hold(On::Sqlite, 1 + $number * SEEDS..=($number + 1) * SEEDS);
        }
    )+};
}

blocks! {
    laws_hold_0: 0;
    laws_hold_1: 1;
    laws_hold_2: 2;
    laws_hold_3: 3;
    laws_hold_4: 4;
    laws_hold_5: 5;
    laws_hold_6: 6;
    laws_hold_7: 7;
}

#[test]
fn laws_hold_on_postgres_0() {
    all_hold(On::Postgres, 1_001..=1_003);
}

#[test]
fn laws_hold_on_postgres_1() {
    all_hold(On::Postgres, 1_004..=1_006);
}

/// Tenants with plans and credit, both of which end soon.
fn all_hold_while_billed(on: On, seeds: impl IntoIterator<Item = u64>) {
    for seed in seeds {
        match play(seed, Setup { is_billed: true, ..Setup::on(on) }) {
            Ok(summary) => println!("seed {seed}: {summary:?}"),
            Err(failed) => panic!("\n{failed}"),
        }
    }
}

#[test]
fn laws_hold_while_billed_0() {
    all_hold_while_billed(On::Sqlite, 2_001..=2_020);
}

#[test]
fn laws_hold_while_billed_1() {
    all_hold_while_billed(On::Sqlite, 2_021..=2_040);
}

#[test]
fn laws_hold_while_billed_on_postgres() {
    all_hold_while_billed(On::Postgres, 2_101..=2_102);
}

/// Tenants with several accounts for a channel, and rules that choose among them.
fn all_hold_while_routed(on: On, seeds: impl IntoIterator<Item = u64>) {
    for seed in seeds {
        match play(seed, Setup { is_routed: true, ..Setup::on(on) }) {
            Ok(summary) => println!("seed {seed}: {summary:?}"),
            Err(failed) => panic!("\n{failed}"),
        }
    }
}

#[test]
fn laws_hold_while_routed_0() {
    all_hold_while_routed(On::Sqlite, 3_001..=3_025);
}

#[test]
fn laws_hold_while_routed_1() {
    all_hold_while_routed(On::Sqlite, 3_026..=3_050);
}

#[test]
fn laws_hold_while_routed_on_postgres() {
    all_hold_while_routed(On::Postgres, 3_101..=3_102);
}

/// Seeds that found a fault, under the name of what was mended. Each fails again when its mending is undone.
macro_rules! found {
    ($($name:ident: $seed:literal;)+) => {$(
        #[test]
        fn $name() {
            all_hold(On::Sqlite, [$seed]);
        }
    )+};
}

found! {
    a_repeated_request_is_answered_as_before_although_its_time_is_over: 91;
    what_expires_instead_of_a_retry_after_an_unknown_attempt_is_unknown: 25;
    what_expires_two_attempts_after_an_unknown_one_is_unknown: 4_217;
    a_limited_account_goes_on_when_the_clock_is_set_back: 115;
    a_dead_process_is_found_when_the_clock_is_set_back: 10;
}

/// Plays until the sabotage could be done, and says which law noticed.
fn law_against(sabotage: Sabotage) -> &'static str {
    law_broken(Setup { sabotage: Some(sabotage), ..Setup::on(On::Sqlite) })
}

/// The same where tenants have plans and credit.
fn law_while_billed(sabotage: Sabotage) -> &'static str {
    law_broken(Setup { sabotage: Some(sabotage), is_billed: true, ..Setup::on(On::Sqlite) })
}

fn law_broken(setup: Setup) -> &'static str {
    (1..=30).find_map(|seed| play(seed, setup).err()).expect("somebody notices").broken.law
}

macro_rules! noticed {
    ($($name:ident: $sabotage:ident, $law:ident;)+) => {$(
        #[test]
        fn $name() {
            assert_eq!(law_against(Sabotage::$sabotage), laws::$law);
        }
    )+};
}

noticed! {
    a_message_sent_twice_is_noticed: SendTwice, TWICE;
    a_lost_delivery_is_noticed: LoseDelivery, LOST;
    a_delivery_too_many_is_noticed: QueueTwice, LOST;
    a_lost_message_is_noticed: LoseMessage, ONCE;
    a_step_back_is_noticed: StepBack, BACK;
    a_miscount_is_noticed: Miscount, USAGE;
    a_forgotten_attempt_is_noticed: ForgetAttempt, TIMELINE;
    an_invented_success_is_noticed: Invent, INVENTED;
    a_false_cancellation_is_noticed: Withdraw, WITHDRAWN;
    mixed_tenants_are_noticed: Mix, APART;
}

/// The same where rules choose among accounts. Longer runs, so that there is something to cheat with.
fn law_while_routed(sabotage: Sabotage) -> &'static str {
    law_broken(Setup { sabotage: Some(sabotage), is_routed: true, steps: 260, ..Setup::on(On::Sqlite) })
}

#[test]
fn a_message_taken_through_two_accounts_is_noticed() {
    assert_eq!(law_while_routed(Sabotage::SendElsewhere), laws::ONE_WAY);
}

#[test]
fn another_account_after_a_refused_recipient_is_noticed() {
    assert_eq!(law_while_routed(Sabotage::BlameRecipient), laws::FAILOVER);
}

#[test]
fn another_account_after_silence_is_noticed() {
    assert_eq!(law_while_routed(Sabotage::BlameSilence), laws::AFTER_UNKNOWN);
}

#[test]
fn an_account_nobody_decided_for_is_noticed() {
    assert_eq!(law_while_routed(Sabotage::GoAstray), laws::DECIDED);
}

#[test]
fn a_first_account_that_is_passed_over_is_noticed() {
    assert_eq!(law_while_routed(Sabotage::PassOver), laws::PRIORITY);
}

#[test]
fn a_lot_that_is_loaded_is_noticed() {
    assert_eq!(law_while_routed(Sabotage::LoadTheLot), laws::WEIGHT);
}

#[test]
fn a_message_that_is_charged_twice_is_noticed() {
    assert_eq!(law_while_billed(Sabotage::ChargeTwice), laws::BOOKS);
}

#[test]
fn a_charge_that_is_gone_is_noticed() {
    assert_eq!(law_while_billed(Sabotage::ForgetCharge), laws::BOOKS);
}

#[test]
fn credit_that_was_not_there_is_noticed() {
    assert_eq!(law_while_billed(Sabotage::Overspend), laws::CREDIT);
}

#[test]
fn a_use_that_was_forgotten_is_noticed() {
    assert_eq!(law_while_billed(Sabotage::ForgetUse), laws::BOOKS);
}

#[test]
fn a_plan_that_does_not_hold_is_noticed() {
    assert_eq!(law_while_billed(Sabotage::Overuse), laws::QUOTA);
}

/// A seed always plays the same, to the last line of its trace.
#[test]
fn a_seed_repeats_itself() {
    for seed in 1..=6 {
        let once = || play(seed, Setup::on(On::Sqlite)).map_err(|failed| failed.broken);
        assert_eq!(once(), once());
    }
}
