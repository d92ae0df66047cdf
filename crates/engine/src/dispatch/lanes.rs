//! Who may send next: the fair order of lanes, kept in memory and rebuilt from the database at any time.
//!
//! A lane is an account and a class. Classes leave in order; within a class tenants take turns, each with the same quantum, however long its queue is. An account takes no
//! more than its concurrency, nothing while it is paused, and a single message as a probe after a pause. Bulk leaves part of the slots
//! free, so that a password reset never waits for a campaign's answers.
//!
//! Invariant: nothing here is needed for correctness. Losing it costs one scan of the database.

use std::collections::{BTreeMap, HashMap};

use model::{AccountId, Class, TenantId, Timestamp};

/// Messages a tenant may take in one turn.
const QUANTUM: usize = 32;

/// The most that may be claimed from a lane now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// The lane's account.
    pub account_id: AccountId,
    /// The lane's class.
    pub class: Class,
    /// Whose.
    pub tenant_id: TenantId,
    /// How many at most.
    pub limit: usize,
    /// The lane's notes when the claim was made: newer ones outlive it.
    notes: u64,
}

/// What the schedule must know of an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Messages in flight at once.
    pub in_flight_max: usize,
    /// False while nothing may leave: disabled, or its tenant suspended.
    pub is_open: bool,
}

#[derive(Debug, Default)]
struct Load {
    in_flight: usize,
    paused_until: Option<Timestamp>,
    is_probing: bool,
}

#[derive(Debug)]
struct Lane {
    tenant_id: TenantId,
    due_at: Timestamp,
    notes: u64,
}

/// The lanes with work, and what is in flight.
#[derive(Debug)]
pub struct Lanes {
    lanes: BTreeMap<(Class, AccountId), Lane>,
    loads: HashMap<AccountId, Load>,
    served_last: BTreeMap<Class, TenantId>,
    slots: usize,
    in_flight: usize,
    bulk_in_flight: usize,
    /// True while messages may leave as they are accepted.
    is_running: bool,
}

impl Lanes {
    /// No lanes yet; `slots` messages may be in flight at once.
    pub fn new(slots: usize) -> Self {
        Self {
            lanes: BTreeMap::new(),
            loads: HashMap::new(),
            served_last: BTreeMap::new(),
            slots: slots.max(4),
            in_flight: 0,
            bulk_in_flight: 0,
            is_running: false,
        }
    }

    /// Says whether this process sends: only then may messages leave as they are accepted.
    pub const fn run(&mut self, is_running: bool) {
        self.is_running = is_running;
    }

    /// Takes a place in flight for a message that is being accepted and may leave at once; [`Lanes::landed`] gives it back. Refused to bulk, while anything as
    /// urgent waits for the account, and once three quarters of the slots are taken: then everybody queues, and the turns decide.
    pub fn reserve(&mut self, account: AccountId, class: Class, now: Timestamp, pace: Pace) -> bool {
        let has_slots = self.in_flight < self.slots - self.slots / 4;
        let waits = |first: Class| self.lanes.get(&(first, account)).is_some_and(|lane| lane.due_at <= now);
        let is_free = self.is_running
            && has_slots
            && !class.is_bulk()
            && self.room_of(account, now, pace) > 0
            && !(0..=class.code()).filter_map(Class::from_code).any(waits);
        if is_free {
            self.in_flight += 1;
            self.loads.entry(account).or_default().in_flight += 1;
        }
        is_free
    }

    /// Notes that a lane has work that is due at `due_at`.
    pub fn note(&mut self, tenant_id: TenantId, account_id: AccountId, class: Class, due_at: Timestamp) {
        let lane = self.lanes.entry((class, account_id)).or_insert(Lane { tenant_id, due_at, notes: 0 });
        lane.due_at = lane.due_at.min(due_at);
        lane.notes += 1;
    }

    /// The lanes that have due work, with their tenants.
    pub fn due(&self, now: Timestamp) -> Vec<(TenantId, AccountId)> {
        let mut due: Vec<_> = self
            .lanes
            .iter()
            .filter(|(_, lane)| lane.due_at <= now)
            .map(|((_, account), lane)| (lane.tenant_id, *account))
            .collect();
        due.sort_unstable();
        due.dedup();
        due
    }

    /// When the next lane falls due or a pause ends; `None` when nothing waits.
    pub fn next_due(&self) -> Option<Timestamp> {
        let due = |((_, account), lane): (&(Class, AccountId), &Lane)| {
            let pause = self.loads.get(account).and_then(|load| load.paused_until);
            pause.map_or(lane.due_at, |until| until.max(lane.due_at))
        };
        self.lanes.iter().map(due).min()
    }

    /// Pauses an account, or ends its pause. While `is_probing` one message at a time leaves.
    pub fn pause(&mut self, account: AccountId, until: Option<Timestamp>, is_probing: bool) {
        let load = self.loads.entry(account).or_default();
        (load.paused_until, load.is_probing) = (until, is_probing);
        self.tidy(account);
    }

    /// The accounts that are paused or probing.
    pub fn troubled(&self) -> Vec<AccountId> {
        self.loads
            .iter()
            .filter(|(_, load)| load.is_probing || load.paused_until.is_some())
            .map(|(account, _)| *account)
            .collect()
    }

    /// True when an account is paused or probing.
    pub fn is_troubled(&self, account: AccountId) -> bool {
        self.loads.get(&account).is_some_and(|load| load.is_probing || load.paused_until.is_some())
    }

    /// Shares the free slots out. `pace` speaks for each account; one it does not know is passed over until it is.
    pub fn claims(&mut self, now: Timestamp, pace: &HashMap<AccountId, Pace>) -> Vec<Claim> {
        let mut claims: BTreeMap<(Class, AccountId), Claim> = BTreeMap::new();
        let mut room: HashMap<AccountId, usize> = HashMap::new();
        let mut free = self.slots.saturating_sub(self.in_flight);
        let mut free_bulk = (self.slots - self.slots / 4).saturating_sub(self.bulk_in_flight);
        let classes: Vec<Class> = (0..i64::from(Class::COUNT)).filter_map(Class::from_code).collect();
        for class in classes {
            let mut tenants = self.turns(class, now);
            while !tenants.is_empty() {
                let mut idle = Vec::new();
                for tenant in &tenants {
                    let allowed = if class.is_bulk() { free.min(free_bulk) } else { free };
                    let taken = self.turn(class, *tenant, allowed.min(QUANTUM), now, pace, &mut room, &mut claims);
                    free -= taken;
                    free_bulk -= if class.is_bulk() { taken } else { 0 };
                    if taken == 0 {
                        idle.push(*tenant);
                    } else {
                        self.served_last.insert(class, *tenant);
                    }
                }
                tenants.retain(|tenant| !idle.contains(tenant));
            }
        }
        claims.into_values().filter(|claim| claim.limit > 0).collect()
    }

    /// The tenants with due work in a class, beginning after the one served last.
    fn turns(&self, class: Class, now: Timestamp) -> Vec<TenantId> {
        let from = (class, AccountId::from_ulid(0));
        let to = (class, AccountId::from_ulid(u128::MAX));
        let mut tenants: Vec<_> = self
            .lanes
            .range(from..=to)
            .filter(|(_, lane)| lane.due_at <= now)
            .map(|(_, lane)| lane.tenant_id)
            .collect();
        tenants.sort_unstable();
        tenants.dedup();
        if let Some(last) = self.served_last.get(&class) {
            let first = tenants.partition_point(|tenant| tenant <= last);
            tenants.rotate_left(first);
        }
        tenants
    }

    /// One tenant's turn: up to `quantum` messages over its lanes of this class.
    #[allow(clippy::too_many_arguments)]
    fn turn(
        &self,
        class: Class,
        tenant: TenantId,
        quantum: usize,
        now: Timestamp,
        pace: &HashMap<AccountId, Pace>,
        room: &mut HashMap<AccountId, usize>,
        claims: &mut BTreeMap<(Class, AccountId), Claim>,
    ) -> usize {
        let from = (class, AccountId::from_ulid(0));
        let to = (class, AccountId::from_ulid(u128::MAX));
        let lanes = self.lanes.range(from..=to).filter(|(_, lane)| lane.tenant_id == tenant && lane.due_at <= now);
        let mut taken = 0;
        for ((_, account_id), lane) in lanes {
            let account_id = *account_id;
            let room = room.entry(account_id).or_insert_with(|| self.room(account_id, now, pace));
            let limit = (quantum - taken).min(*room);
            *room -= limit;
            taken += limit;
            claims
                .entry((class, account_id))
                .or_insert(Claim { account_id, class, tenant_id: tenant, limit: 0, notes: lane.notes })
                .limit += limit;
        }
        taken
    }

    fn room(&self, account: AccountId, now: Timestamp, pace: &HashMap<AccountId, Pace>) -> usize {
        pace.get(&account).map_or(0, |pace| self.room_of(account, now, *pace))
    }

    fn room_of(&self, account: AccountId, now: Timestamp, pace: Pace) -> usize {
        if !pace.is_open {
            return 0;
        }
        let Some(load) = self.loads.get(&account) else { return pace.in_flight_max };
        if load.paused_until.is_some_and(|until| until > now) {
            return 0;
        }
        let max = if load.is_probing { 1 } else { pace.in_flight_max };
        max.saturating_sub(load.in_flight)
    }

    /// Notes what a claim brought. A lane that gave less than it was asked for has no more due work.
    pub fn claimed(&mut self, claim: &Claim, got: usize, next_due: Option<Timestamp>) {
        self.in_flight += got;
        self.bulk_in_flight += if claim.class.is_bulk() { got } else { 0 };
        if got > 0 {
            self.loads.entry(claim.account_id).or_default().in_flight += got;
        }
        let key = (claim.class, claim.account_id);
        let Some(lane) = self.lanes.get_mut(&key).filter(|lane| got < claim.limit && lane.notes == claim.notes) else {
            return;
        };
        match next_due {
            Some(due_at) => lane.due_at = due_at,
            None => drop(self.lanes.remove(&key)),
        }
    }

    /// Gives a message's place at its account back before it has landed: the provider took it, and only our own record is still to be written. Answers whether
    /// that was done; while an account is being probed nothing more leaves until the probe's end is on record.
    pub fn answered(&mut self, account: AccountId) -> bool {
        let Some(load) = self.loads.get_mut(&account).filter(|load| !load.is_probing) else { return false };
        load.in_flight = load.in_flight.saturating_sub(1);
        self.tidy(account);
        true
    }

    /// Notes that a message is no longer in flight. `was_answered`: its place at the account was given back before.
    pub fn landed(&mut self, account: AccountId, class: Class, was_answered: bool) {
        self.in_flight = self.in_flight.saturating_sub(1);
        if class.is_bulk() {
            self.bulk_in_flight = self.bulk_in_flight.saturating_sub(1);
        }
        if let Some(load) = self.loads.get_mut(&account).filter(|_| !was_answered) {
            load.in_flight = load.in_flight.saturating_sub(1);
        }
        self.tidy(account);
    }

    /// Messages in flight.
    pub const fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// True when no slot is free.
    pub const fn is_full(&self) -> bool {
        self.in_flight >= self.slots
    }

    fn tidy(&mut self, account: AccountId) {
        if self
            .loads
            .get(&account)
            .is_some_and(|load| load.in_flight == 0 && load.paused_until.is_none() && !load.is_probing)
        {
            self.loads.remove(&account);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{Priority, Purpose};

    const NOW: Timestamp = Timestamp::from_seconds(100);
    const BULK: Class = Class::new(Purpose::Marketing, Priority::Normal);
    const URGENT: Class = Class::new(Purpose::Transactional, Priority::Normal);

    fn tenant(n: u128) -> TenantId {
        TenantId::from_ulid(n)
    }

    fn account(n: u128) -> AccountId {
        AccountId::from_ulid(n)
    }

    fn open(accounts: &[u128], in_flight_max: usize) -> HashMap<AccountId, Pace> {
        accounts.iter().map(|n| (account(*n), Pace { in_flight_max, is_open: true })).collect()
    }

    fn limits(claims: &[Claim]) -> Vec<(u128, usize)> {
        claims.iter().map(|claim| (claim.account_id.ulid(), claim.limit)).collect()
    }

    #[test]
    fn tenants_share_alike_whatever_their_queues() {
        let mut lanes = Lanes::new(96);
        for n in 1..=3 {
            lanes.note(tenant(n), account(n), URGENT, NOW);
        }
        assert_eq!(limits(&lanes.claims(NOW, &open(&[1, 2, 3], 1000))), [(1, 32), (2, 32), (3, 32)]);
    }

    #[test]
    fn transactional_leaves_first_and_bulk_leaves_room() {
        let mut lanes = Lanes::new(100);
        lanes.note(tenant(1), account(1), BULK, NOW);
        let claims = lanes.claims(NOW, &open(&[1, 2], 1000));
        assert_eq!(limits(&claims), [(1, 75)]);
        lanes.claimed(&claims[0], 75, None);
        lanes.note(tenant(2), account(2), URGENT, NOW);
        lanes.note(tenant(1), account(1), BULK, NOW);
        assert_eq!(limits(&lanes.claims(NOW, &open(&[1, 2], 1000))), [(2, 25)]);
    }

    #[test]
    fn one_tenant_with_many_accounts_gets_one_share() {
        let mut lanes = Lanes::new(64);
        for n in 1..=4 {
            lanes.note(tenant(1), account(n), URGENT, NOW);
        }
        lanes.note(tenant(2), account(9), URGENT, NOW);
        let claims = lanes.claims(NOW, &open(&[1, 2, 3, 4, 9], 1000));
        assert_eq!(
            claims.iter().filter(|claim| claim.tenant_id == tenant(1)).map(|claim| claim.limit).sum::<usize>(),
            32
        );
        assert_eq!(
            claims.iter().filter(|claim| claim.tenant_id == tenant(2)).map(|claim| claim.limit).sum::<usize>(),
            32
        );
    }

    #[test]
    fn a_message_leaves_at_once_only_past_nobody() {
        let pace = Pace { in_flight_max: 2, is_open: true };
        let mut lanes = Lanes::new(8);
        assert!(!lanes.reserve(account(1), URGENT, NOW, pace), "nobody sends here");
        lanes.run(true);
        assert!(!lanes.reserve(account(1), BULK, NOW, pace), "bulk takes turns");
        assert!(!lanes.reserve(account(1), URGENT, NOW, Pace { is_open: false, ..pace }));
        assert!(lanes.reserve(account(1), URGENT, NOW, pace) && lanes.reserve(account(1), URGENT, NOW, pace));
        assert!(!lanes.reserve(account(1), URGENT, NOW, pace), "the account is full");
        lanes.landed(account(1), URGENT, false);
        lanes.note(tenant(1), account(1), BULK, NOW);
        assert!(lanes.reserve(account(1), URGENT, NOW, pace), "bulk holds nobody up");
        lanes.landed(account(1), URGENT, false);
        lanes.note(tenant(1), account(1), URGENT, NOW);
        assert!(!lanes.reserve(account(1), URGENT, NOW, pace), "others wait already");
        let wide = Pace { in_flight_max: 100, ..pace };
        let taken = (0..10).filter(|_| lanes.reserve(account(2), URGENT, NOW, wide)).count();
        assert_eq!((taken, lanes.in_flight()), (5, 6), "a quarter of the slots stays for turns");
    }

    #[test]
    fn a_place_at_the_account_is_free_once_the_provider_took_the_message() {
        let pace = Pace { in_flight_max: 1, is_open: true };
        let mut lanes = Lanes::new(8);
        lanes.run(true);
        assert!(lanes.reserve(account(1), URGENT, NOW, pace) && !lanes.reserve(account(1), URGENT, NOW, pace));
        assert!(lanes.answered(account(1)) && lanes.reserve(account(1), URGENT, NOW, pace));
        assert_eq!(lanes.in_flight(), 2, "what is not recorded yet still takes a slot");
        lanes.landed(account(1), URGENT, true);
        assert!(!lanes.reserve(account(1), URGENT, NOW, pace), "its place was given back once");
        lanes.pause(account(1), None, true);
        assert!(!lanes.answered(account(1)), "a probe is alone until its end is on record");
        lanes.landed(account(1), URGENT, false);
        assert!(lanes.reserve(account(1), URGENT, NOW, pace));
    }

    #[test]
    fn turns_go_round() {
        let mut lanes = Lanes::new(32);
        for n in 1..=3 {
            lanes.note(tenant(n), account(n), URGENT, NOW);
        }
        let mut order = Vec::new();
        for _ in 0..4 {
            let claims = lanes.claims(NOW, &open(&[1, 2, 3], 1000));
            assert_eq!(claims.len(), 1);
            order.push(claims[0].account_id.ulid());
            lanes.claimed(&claims[0], 32, None);
            lanes.note(claims[0].tenant_id, claims[0].account_id, URGENT, NOW);
            (0..32).for_each(|_| lanes.landed(claims[0].account_id, URGENT, false));
        }
        assert_eq!(order, [1, 2, 3, 1]);
    }

    #[test]
    fn a_paused_account_waits_then_sends_one() {
        let mut lanes = Lanes::new(100);
        lanes.note(tenant(1), account(1), URGENT, NOW);
        lanes.pause(account(1), Some(NOW.plus_seconds(5)), true);
        assert!(lanes.claims(NOW, &open(&[1], 1000)).is_empty());
        assert_eq!(lanes.next_due(), Some(NOW.plus_seconds(5)));
        let later = NOW.plus_seconds(5);
        let claims = lanes.claims(later, &open(&[1], 1000));
        assert_eq!(limits(&claims), [(1, 1)]);
        lanes.claimed(&claims[0], 1, None);
        lanes.note(tenant(1), account(1), URGENT, NOW);
        assert!(lanes.claims(later, &open(&[1], 1000)).is_empty());
    }

    #[test]
    fn an_account_takes_no_more_than_its_concurrency_over_all_classes() {
        let mut lanes = Lanes::new(100);
        lanes.note(tenant(1), account(1), URGENT, NOW);
        lanes.note(tenant(1), account(1), BULK, NOW);
        assert_eq!(lanes.claims(NOW, &open(&[1], 10)).iter().map(|claim| claim.limit).sum::<usize>(), 10);
    }
}
