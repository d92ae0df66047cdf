//! What a ledger must always be, by examples and by chance.

use model::TenantId;
use proptest::prelude::*;

use super::*;
use crate::money::book::PriceUnit;

type Act<'a> = &'a dyn Fn(&mut Open, &mut Charge);

const NOW: Timestamp = Timestamp::from_seconds(1);

fn open(mode: &str, bought: i64) -> Open {
    let mut open = Open::new(Ledger::empty(TenantId::from_ulid(1), mode, "USD", NOW));
    open.post(Book::Purchased, Book::Available, bought, by_hand("purchase"));
    open
}

fn by_hand(kind: &'static str) -> Cause {
    Cause { kind, message: None, reference: None, actor: None, at: NOW }
}

fn per_segment(unit: i64) -> Price {
    Price { list: 1, per: PriceUnit::Segment, fixed_micros: unit, cost_micros: None, markup: None }
}

fn charge(price: &Price, segments: u32) -> Charge {
    let mut charge = Charge::new(TenantId::from_ulid(1), MessageId::from_ulid(2), RESERVED);
    quote(&mut charge, price, "", Some(segments));
    charge
}

fn usd(amount_micros: i64) -> Money {
    Money { amount_micros, currency: "USD".to_owned() }
}

fn in_parts(segments: u32) -> Told {
    Told { segments: Some(segments), ..Told::default() }
}

fn priced(price: Money) -> Told {
    Told { price: Some(price), ..Told::default() }
}

fn check(open: &Open) {
    assert!(balances(&open.ledger), "{:?}", open.ledger);
    assert_eq!(open.ledger.promo, open.grants.iter().map(|grant| grant.rest).sum::<i64>());
    let numbers: Vec<i64> = open.entries.iter().map(|entry| entry.number).collect();
    assert_eq!(numbers, (1..=open.ledger.entries).collect::<Vec<_>>());
}

/// Plays a message of 2 segments at 10 out of `bought` credit, and answers available, reserved, revenue.
fn played(mode: &str, bought: i64, act: impl Fn(&mut Open, &mut Charge)) -> (i64, i64, i64) {
    let (mut open, mut charge) = (open(mode, bought), charge(&per_segment(10), 2));
    open.reserve(&mut charge, Timestamp::from_seconds(2));
    act(&mut open, &mut charge);
    open.close();
    check(&open);
    (open.ledger.available, open.ledger.reserved, open.ledger.revenue)
}

#[test]
fn money_moves_once() {
    let at = Timestamp::from_seconds(3);
    let cases: &[(&str, (i64, i64, i64), Act<'_>)] = &[
        ("set aside", (80, 20, 0), &|_, _| {}),
        ("as many segments as said", (80, 0, 20), &|open, charge| open.settle(charge, &in_parts(2), at)),
        ("fewer segments", (90, 0, 10), &|open, charge| open.settle(charge, &in_parts(1), at)),
        ("more segments", (70, 0, 30), &|open, charge| open.settle(charge, &in_parts(3), at)),
        ("the provider does not say", (80, 0, 20), &|open, charge| open.settle(charge, &Told::default(), at)),
        ("not sent", (100, 0, 0), &|open, charge| open.release(charge, at)),
        ("twice sent", (80, 0, 20), &|open, charge| {
            open.settle(charge, &Told::default(), at);
            open.settle(charge, &Told::default(), at);
            open.release(charge, at);
        }),
        ("put right later", (60, 0, 40), &|open, charge| {
            open.settle(charge, &Told::default(), at);
            open.settle(charge, &in_parts(1), at);
            open.settle(charge, &in_parts(4), at);
        }),
        ("sent after all", (80, 0, 20), &|open, charge| {
            open.release(charge, at);
            open.release(charge, at);
            open.settle(charge, &Told::default(), at);
        }),
        ("another way before it was sent", (97, 0, 3), &|open, charge| {
            open.move_on(charge, &per_segment(3), "", None, at);
            open.settle(charge, &Told::default(), at);
        }),
        ("another way after it was sent", (77, 0, 23), &|open, charge| {
            open.settle(charge, &Told::default(), at);
            open.move_on(charge, &per_segment(3), "", None, at);
            open.settle(charge, &Told::default(), at);
            assert_eq!((charge.charged_before, charge.charged), (20, 23));
        }),
        ("another way that fails", (80, 0, 20), &|open, charge| {
            open.settle(charge, &Told::default(), at);
            open.move_on(charge, &per_segment(3), "", None, at);
            open.release(charge, at);
            assert_eq!(charge.charged, 20);
        }),
    ];
    for (what, expected, act) in cases {
        assert_eq!(played("prepaid", 100, act), *expected, "{what}");
    }
}

#[test]
fn prepaid_credit_never_goes_below_zero_and_postpaid_may() {
    let at = Timestamp::from_seconds(3);
    let more = |open: &mut Open, charge: &mut Charge| open.settle(charge, &in_parts(9), at);
    assert_eq!(played("prepaid", 50, more), (0, 0, 50));
    assert_eq!(played("postpaid", 50, more), (-40, 0, 90));
    let dearer = |open: &mut Open, charge: &mut Charge| drop(open.move_on(charge, &per_segment(70), "", None, at));
    assert_eq!(played("prepaid", 50, dearer), (0, 50, 0));
}

#[test]
fn what_the_provider_reports_counts_for_a_markup_and_not_for_a_fixed_price() {
    let marked = Price { cost_micros: Some(8), markup: Some(2_500), ..per_segment(0) };
    let (mut open, mut charge) = (open("prepaid", 100), charge(&marked, 2));
    open.reserve(&mut charge, NOW);
    assert_eq!(charge.quoted, 20);
    open.settle(&mut charge, &Told::default(), NOW);
    open.settle(&mut charge, &priced(usd(12)), NOW);
    assert_eq!((charge.charged, open.ledger.available), (15, 85));
    // Another currency says nothing about ours, and is kept.
    open.settle(&mut charge, &priced(Money { currency: "EUR".to_owned(), ..usd(1) }), NOW);
    assert_eq!((charge.charged, charge.reported, charge.reported_currency.as_deref()), (20, Some(1), Some("EUR")));
    check(&open);
    assert_eq!(played("prepaid", 100, |open, charge| open.settle(charge, &priced(usd(1)), NOW)), (80, 0, 20));
}

#[test]
fn what_is_said_late_of_a_way_that_was_left_puts_its_own_charge_right() {
    let (mut open, mut charge) = (open("prepaid", 100), charge(&per_segment(10), 2));
    open.reserve(&mut charge, NOW);
    open.settle(&mut charge, &Told::default(), NOW);
    let mut left = open.move_on(&mut charge, &per_segment(3), "", None, NOW).unwrap();
    assert_eq!((left.charged, left.charged_before, charge.charged_before), (20, 0, 20));
    let seen = |open: &Open| (open.ledger.available, open.ledger.reserved, open.ledger.revenue);
    for _ in 0..2 {
        open.settle_left(&mut charge, &mut left, &in_parts(3), NOW);
        assert_eq!((left.charged, charge.charged_before, charge.charged, seen(&open)), (30, 30, 30, (67, 3, 30)));
    }
    open.settle(&mut charge, &Told::default(), NOW);
    open.settle_left(&mut charge, &mut left, &in_parts(1), NOW);
    assert_eq!((left.charged, charge.charged_before, charge.charged, seen(&open)), (10, 10, 13, (87, 0, 13)));
    // What was never sent was never charged.
    assert_eq!(open.move_on(&mut self::charge(&per_segment(10), 2), &per_segment(3), "", None, NOW), None);
    check(&open);
}

#[test]
fn what_was_billed_as_another_kind_costs_what_that_costs_once() {
    let kind = |unit, category| Told { kind: Some((per_segment(unit), category)), ..Told::default() };
    let (mut open, mut charge) = (open("prepaid", 100), charge(&per_segment(10), 0));
    open.reserve(&mut charge, NOW);
    kind(30, Category::Marketing).note(&mut charge);
    assert_eq!((charge.quoted, open.ledger.reserved), (10, 10), "what is set aside stays");
    open.settle(&mut charge, &Told::default(), NOW);
    assert_eq!((charge.charged, charge.category.as_str()), (30, "marketing"));
    for _ in 0..2 {
        open.settle(&mut charge, &kind(0, Category::Service), NOW);
        assert_eq!((charge.charged, open.ledger.available), (0, 100));
    }
    check(&open);
}

#[test]
fn what_credit_did_not_reach_for_does_not_come_back() {
    let marked = Price { cost_micros: Some(6), markup: Some(0), ..per_segment(0) };
    let (mut open, mut charge) = (open("prepaid", 50), charge(&marked, 1));
    open.reserve(&mut charge, NOW);
    open.settle(&mut charge, &Told::default(), NOW);
    let mut pays = |bought: i64, micros: i64| {
        open.post(Book::Purchased, Book::Available, bought, by_hand("purchase"));
        open.settle(&mut charge, &priced(usd(micros)), NOW);
        check(&open);
        (charge.charged, open.ledger.available)
    };
    assert_eq!(pays(0, 100), (50, 0));
    // It still costs more than was paid, then less, then more again than there is, and then there is credit.
    assert_eq!(pays(0, 80), (50, 0));
    assert_eq!(pays(0, 45), (45, 5));
    assert_eq!(pays(0, 100), (50, 0));
    assert_eq!(pays(1_000, 80), (80, 970));
    assert_eq!(pays(0, 80), (80, 970));
    assert_eq!(pays(0, 60), (60, 990));
}

#[test]
fn a_thousand_mails_cost_what_a_thousand_mails_cost() {
    let price = Price { per: PriceUnit::Thousand, fixed_micros: 401, ..per_segment(0) };
    let mut open = open("postpaid", 0);
    for number in 1..=1_000 {
        let mut charge = charge(&price, 0);
        open.reserve(&mut charge, NOW);
        open.settle(&mut charge, &Told::default(), NOW);
        open.close();
        assert_eq!(open.ledger.revenue, 401 * number / 1_000);
    }
    assert_eq!((open.ledger.revenue, open.ledger.remainder, open.ledger.reserved), (401, 0, 0));
}

#[test]
fn what_was_carried_to_another_message_comes_back_with_the_next() {
    let price = Price { per: PriceUnit::Thousand, fixed_micros: 400, ..per_segment(0) };
    let mut open = open("postpaid", 0);
    let mut sent: Vec<Charge> = (0..3).map(|_| charge(&price, 0)).collect();
    for charge in &mut sent {
        open.settle(charge, &Told::default(), NOW);
    }
    open.close();
    assert_eq!((open.ledger.revenue, open.ledger.remainder), (1, 2_000_000), "the third paid for all");
    let free = Told { kind: Some((per_segment(0), Category::Service)), ..Told::default() };
    open.settle(&mut sent[0], &free, NOW);
    assert_eq!((open.ledger.revenue, open.ledger.remainder), (1, -2_000_000), "0.8 are due, 1 was paid");
    // What is whole is charged and given back as it is.
    let mut whole = charge(&per_segment(10), 2);
    open.settle(&mut whole, &in_parts(2), NOW);
    open.settle(&mut whole, &in_parts(1), NOW);
    assert_eq!((whole.charged, open.ledger.revenue, open.ledger.remainder), (10, 11, -2_000_000));
    open.settle(&mut charge(&price, 0), &Told::default(), NOW);
    open.close();
    assert_eq!((open.ledger.revenue, open.ledger.remainder), (11, 2_000_000));
    check(&open);
}

#[test]
fn promotional_credit_is_spent_first_and_ends() {
    let end = |seconds| Timestamp::from_seconds(seconds);
    let mut open = open("prepaid", 100);
    open.grant(15, end(100), by_hand("grant"));
    open.grant(8, end(50), by_hand("grant"));
    let mut charge = charge(&per_segment(10), 2);
    open.reserve(&mut charge, NOW);
    let rests = |open: &Open| open.grants.iter().map(|grant| grant.rest).collect::<Vec<_>>();
    assert_eq!((rests(&open), open.ledger.available, charge.promo), (vec![0, 3], 100, 20));
    open.release(&mut charge, NOW);
    assert_eq!((rests(&open), open.ledger.promo), (vec![8, 15], 23));
    let mut charge = self::charge(&per_segment(15), 2);
    open.reserve(&mut charge, NOW);
    assert_eq!((rests(&open), open.ledger.available, charge.promo), (vec![0, 0], 93, 23));
    // One segment costs 15: paid credit comes back first, then the promotional credit that ends last.
    open.settle(&mut charge, &in_parts(1), NOW);
    assert_eq!((rests(&open), open.ledger.available, charge.promo), (vec![0, 8], 100, 15));
    open.expire(end(99));
    assert_eq!(open.ledger.promo, 8);
    open.expire(end(100));
    assert_eq!((open.ledger.promo, open.ledger.granted, open.spendable()), (0, 15, 100));
    check(&open);
}

#[test]
fn what_comes_back_to_a_grant_nobody_reads_any_more_ends_with_it() {
    let mut open = open("prepaid", 100);
    open.grant(20, Timestamp::from_seconds(100), by_hand("grant"));
    let mut charge = charge(&per_segment(15), 1);
    open.reserve(&mut charge, NOW);
    open.grants.clear();
    open.ledger.promo = 0;
    open.ledger.granted = 15;
    open.release(&mut charge, NOW);
    let l = &open.ledger;
    assert_eq!((l.available, l.promo, l.granted, l.reserved), (100, 0, 0, 0));
    assert!(balances(l));
}

#[test]
fn grants_have_no_more_left_than_there_is() {
    let mut open = open("prepaid", 0);
    for (amount, ends) in [(10, 50), (10, 100)] {
        open.grant(amount, Timestamp::from_seconds(ends), by_hand("grant"));
    }
    open.ledger.promo = 7;
    open.trim_grants();
    assert_eq!(open.grants.iter().map(|grant| grant.rest).collect::<Vec<_>>(), [0, 7]);
    open.trim_grants();
    assert_eq!(open.grants.iter().map(|grant| grant.rest).sum::<i64>(), 7);
}

#[test]
fn who_is_in_debt_spends_no_promotional_credit() {
    let mut open = open("prepaid", 0);
    open.grant(20, Timestamp::from_seconds(100), by_hand("grant"));
    assert_eq!(open.spendable(), 20);
    open.post(Book::Available, Book::Purchased, 1, by_hand("dispute"));
    assert_eq!((open.spendable(), open.ledger.left()), (0, -1));
    open.post(Book::Purchased, Book::Available, 1, by_hand("purchase"));
    assert_eq!(open.spendable(), 20);
}

#[derive(Debug, Clone)]
enum Move {
    Buy(i64),
    Grant(i64, i64),
    Refund(i64),
    Reserve(i64, u32),
    Batch(Vec<(i64, u32)>),
    Settle(usize, Option<u32>, Option<i64>),
    Release(usize),
    Reroute(usize, i64),
    Late(usize, Option<u32>, Option<i64>),
    Kind(usize, i64),
    Pass(i64),
}

fn any_move() -> impl Strategy<Value = Move> {
    prop_oneof![
        (0i64..100).prop_map(Move::Buy),
        (1i64..60, 1i64..20).prop_map(|(amount, lasts)| Move::Grant(amount, lasts)),
        (0i64..100).prop_map(Move::Refund),
        (0i64..40, 1u32..4).prop_map(|(unit, segments)| Move::Reserve(unit, segments)),
        proptest::collection::vec((0i64..20, 1u32..4), 0..5).prop_map(Move::Batch),
        (0usize..8, proptest::option::of(0u32..5), proptest::option::of(0i64..90))
            .prop_map(|(i, s, p)| Move::Settle(i, s, p)),
        (0usize..8).prop_map(Move::Release),
        (0usize..8, 0i64..40).prop_map(|(i, unit)| Move::Reroute(i, unit)),
        (0usize..4, proptest::option::of(0u32..5), proptest::option::of(0i64..90))
            .prop_map(|(i, s, p)| Move::Late(i, s, p)),
        (0usize..8, 0i64..40).prop_map(|(i, unit)| Move::Kind(i, unit)),
        (0i64..8).prop_map(Move::Pass),
    ]
}

#[test]
fn messages_that_are_accepted_together_are_set_aside_for_by_one_entry_of_each_book() {
    let mut open = open("prepaid", 100);
    open.grant(25, Timestamp::from_seconds(9), by_hand("grant"));
    let of = |number: u128, unit: i64| {
        let mut charge = charge(&per_segment(unit), 1);
        charge.message_id = MessageId::from_ulid(number);
        charge
    };
    let mut charges = [of(3, 0), of(4, 10), of(5, 10), of(6, 10), of(7, 10)];
    open.reserve_all(&mut charges, NOW);
    check(&open);
    let parts: Vec<_> = charges.iter().map(|charge| (charge.quoted, charge.promo)).collect();
    assert_eq!(parts, [(0, 0), (10, 10), (10, 10), (10, 5), (10, 0)]);
    let made: Vec<_> = open.entries[2..]
        .iter()
        .map(|e| (&*e.from_book, e.amount, e.message_id.map(MessageId::ulid), e.messages))
        .collect();
    assert_eq!(made, [("promotional", 25, Some(4), Some(3)), ("available", 15, Some(6), Some(2))]);
    // Of one message a book pays for nobody needs to be told how many they are, and where nothing costs anything nothing moves.
    open.reserve_all(&mut [of(8, 0), of(9, 10)], NOW);
    open.reserve_all(&mut [of(10, 0)], NOW);
    open.reserve_all(&mut [], NOW);
    let last = open.entries.last().unwrap();
    assert_eq!((open.entries.len(), last.message_id.map(MessageId::ulid), last.messages), (5, Some(9), None));
}

#[test]
fn messages_that_are_charged_what_was_set_aside_for_them_are_so_by_one_entry() {
    let mut open = open("prepaid", 100);
    let of = |number: u128| {
        let mut charge = charge(&per_segment(10), 1);
        charge.message_id = MessageId::from_ulid(number);
        charge
    };
    let mut charges = [of(3), of(4), of(5), of(6)];
    open.reserve_all(&mut charges, NOW);
    let at = Timestamp::from_seconds(3);
    // The second was sent in more parts: a movement of its own, for what is set aside and for what is more. The last is put right at once.
    for (charge, segments) in charges.iter_mut().zip([1, 2, 1, 1]) {
        open.settle(charge, &in_parts(segments), at);
    }
    open.settle(&mut charges[3], &in_parts(2), at);
    let more = open.move_on(&mut charges[0], &per_segment(7), "", None, at);
    assert_eq!(more.map(|way| way.charged), Some(10));
    open.settle(&mut charges[0], &Told::default(), at);
    open.close();
    open.close();
    check(&open);
    let kinds = ["settle", "correct"];
    let made: Vec<_> = open.entries.iter().filter(|e| kinds.contains(&&*e.kind)).collect();
    let made: Vec<_> =
        made.iter().map(|e| (&*e.kind, e.amount, e.message_id.map(MessageId::ulid), e.messages)).collect();
    assert_eq!(
        made,
        [
            ("settle", 10, Some(4), None),
            ("settle", 10, Some(4), None),
            ("settle", 30, Some(3), Some(3)),
            ("correct", 10, Some(6), None),
            ("settle", 7, Some(3), None),
        ]
    );
    assert_eq!((open.ledger.available, open.ledger.reserved, open.ledger.revenue), (33, 0, 67));
}

proptest! {
    #[test]
    fn books_add_up_and_prepaid_credit_is_never_overdrawn(
        moves in proptest::collection::vec(any_move(), 1..80), is_marked in any::<bool>(), is_prepaid in any::<bool>(),
    ) {
        let mode = if is_prepaid { "prepaid" } else { "postpaid" };
        let (mut open, mut charges, mut now) = (open(mode, 50), Vec::<Charge>::new(), 1i64);
        let mut left: Vec<(usize, Charge)> = Vec::new();
        let price = |unit: i64| match is_marked {
            true => Price { cost_micros: Some(unit), markup: Some(3_333), per: PriceUnit::Thousand, ..per_segment(unit) },
            false => per_segment(unit),
        };
        for one in moves {
            let at = Timestamp::from_seconds(now);
            open.expire(at);
            match one {
                Move::Buy(amount) => open.post(Book::Purchased, Book::Available, amount, by_hand("purchase")),
                Move::Grant(amount, lasts) => open.grant(amount, Timestamp::from_seconds(now + lasts), by_hand("grant")),
                Move::Refund(amount) => open.post(Book::Available, Book::Purchased, amount.min(open.takeable()), by_hand("refund")),
                Move::Reserve(unit, segments) => {
                    let mut new = charge(&price(unit), segments);
                    if new.quoted <= open.spendable() {
                        open.reserve(&mut new, at);
                        charges.push(new);
                    }
                }
                Move::Batch(each) => {
                    let mut new: Vec<_> = each.iter().map(|(unit, segments)| charge(&price(*unit), *segments)).collect();
                    if new.iter().map(|charge| charge.quoted).sum::<i64>() <= open.spendable() {
                        open.reserve_all(&mut new, at);
                        charges.extend(new);
                    }
                }
                Move::Settle(index, segments, reported) => if let Some(charge) = charges.get_mut(index) {
                    let before = charge.charged;
                    open.settle(charge, &Told { segments, price: reported.map(usd), kind: None }, at);
                    // What is given back leaves no message below its price. Fractions of prices move from message to message, and whole ones do not.
                    prop_assert!(is_marked || charge.charged >= before || i128::from(charge.charged + 1) * PARTS >= open.exact(charge));
                },
                Move::Release(index) => if let Some(charge) = charges.get_mut(index) {
                    open.release(charge, at);
                },
                Move::Reroute(index, unit) => if let Some(charge) = charges.get_mut(index) {
                    left.extend(open.move_on(charge, &price(unit), "", None, at).map(|way| (index, way)));
                },
                Move::Late(index, segments, reported) => if let Some((of, way)) = left.get_mut(index) {
                    open.settle_left(&mut charges[*of], way, &Told { segments, price: reported.map(usd), kind: None }, at);
                },
                Move::Kind(index, unit) => if let Some(charge) = charges.get_mut(index) {
                    let told = Told { kind: Some((price(unit), Category::Utility)), ..Told::default() };
                    if charge.state == SETTLED { open.settle(charge, &told, at) } else { told.note(charge) }
                },
                Move::Pass(seconds) => {
                    now += seconds;
                    open.close();
                }
            }
            let l = &open.ledger;
            prop_assert!((l.available >= 0 || !is_prepaid) && l.promo >= 0 && l.reserved >= 0 && l.revenue >= 0, "{:?}", l);
            prop_assert!(balances(l), "{:?}", l);
            prop_assert_eq!(l.promo, open.grants.iter().map(|grant| grant.rest).sum::<i64>());
            for (index, charge) in charges.iter().enumerate() {
                let ways = left.iter().filter(|(of, _)| *of == index).map(|(_, way)| way.charged);
                prop_assert_eq!(charge.charged_before, ways.sum::<i64>());
            }
            let set_aside: i64 = charges.iter().filter(|charge| charge.state == RESERVED).map(|charge| charge.quoted).sum();
            // What was charged together is moved once the entry of it is made.
            let even = open.even.as_ref().map_or(0, |even| even.amount);
            prop_assert_eq!((l.reserved - even, l.revenue + even), (set_aside, charges.iter().map(|charge| charge.charged).sum::<i64>()));
            // Where credit always reaches, all prices together are what was charged and what is carried.
            let settled = charges.iter().filter(|charge| charge.state == SETTLED).chain(left.iter().map(|(_, way)| way));
            let exact: i128 = settled.map(|charge| open.exact(charge)).sum();
            prop_assert!(is_prepaid || exact == i128::from(l.revenue + even) * PARTS + i128::from(l.remainder), "{} {:?}", exact, l);
        }
    }
}
