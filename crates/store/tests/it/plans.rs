//! Plans, subscriptions and quota counters: each function on both engines.

use model::{Channel, PlanId, TenantId, Timestamp};
use store::{
    Scope, credits,
    plans::{self, Plan},
    quotas::{self, Counter},
    subscriptions::{self, Subscription},
    tenants,
};

const ACME: TenantId = TenantId::from_ulid(10);
const OTHER: TenantId = TenantId::from_ulid(20);

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(seconds)
}

fn plan(id: u128, is_offered: bool) -> Plan {
    Plan {
        id: PlanId::from_ulid(id),
        name: "Studio".to_owned(),
        currency: "EUR".to_owned(),
        monthly_fee: 5,
        allowances: "[]".to_owned(),
        is_offered,
        created_at: at(1),
        updated_at: at(1),
        archived_at: None,
    }
}

fn subscription(tenant_id: TenantId, plan: u128, closes_at: Option<i64>) -> Subscription {
    Subscription {
        tenant_id,
        plan_id: Some(PlanId::from_ulid(plan)),
        trial_ends_at: None,
        past_due_since: Some(at(3)),
        forgiven_until: Some(at(2)),
        canceled_at: None,
        cancel_said_at: None,
        customer: "{}".to_owned(),
        counted_from: at(1),
        billed_until: at(2),
        closes_at: closes_at.map(at),
        created_at: at(1),
        updated_at: at(2),
    }
}

fn counter(tenant_id: TenantId, channel: Channel, starts: i64, used: i64) -> Counter {
    Counter { tenant_id, channel, starts_at: at(starts), ends_at: at(starts + 10), used, warned: 0, warned_of: 0 }
}

/// Runs work in a transaction and expects it to succeed.
macro_rules! write {
    ($db:expr, |$tx:ident| $work:expr) => {
        $db.write(Scope::System, move |$tx| Box::pin(async move { Ok::<_, store::Error>($work) })).await.unwrap()
    };
}

testkit::both! {
    async fn a_tenant_sees_offered_plans_and_its_own(db: TestDb) {
        for plan in [plan(1, false), plan(2, true), plan(3, false), Plan { archived_at: Some(at(9)), ..plan(4, true) }] {
            write!(db, |tx| plans::insert(tx, &plan).await?);
        }
        write!(db, |tx| subscriptions::put(tx, ACME, &subscription(ACME, 1, None)).await?);
        let newest = PlanId::from_ulid(u128::MAX);
        let ids = |plans: Vec<Plan>| plans.into_iter().map(|plan| plan.id.ulid()).collect::<Vec<_>>();
        assert_eq!(ids(write!(db, |tx| plans::list(tx, None, newest, 9).await?)), [4, 3, 2, 1]);
        assert_eq!(ids(write!(db, |tx| plans::list(tx, None, PlanId::from_ulid(4), 2).await?)), [3, 2]);
        assert_eq!(ids(write!(db, |tx| plans::list(tx, Some(ACME), newest, 9).await?)), [2, 1]);
        assert_eq!(ids(write!(db, |tx| plans::list(tx, Some(OTHER), newest, 9).await?)), [2]);
        let visible = async |tenant, id| write!(db, |tx| plans::find_visible(tx, tenant, PlanId::from_ulid(id)).await?.is_some());
        assert!(visible(ACME, 1).await && visible(OTHER, 2).await);
        assert!(!visible(OTHER, 1).await && !visible(ACME, 3).await && !visible(ACME, 4).await);
    }

    async fn a_plan_changes_in_what_people_call_it(db: TestDb) {
        write!(db, |tx| plans::insert(tx, &plan(1, false)).await?);
        let after = Plan { name: "Large".to_owned(), is_offered: true, archived_at: Some(at(7)), updated_at: at(8), ..plan(1, false) };
        let written = after.clone();
        write!(db, |tx| plans::update(tx, &written).await?);
        assert_eq!(write!(db, |tx| plans::find(tx, PlanId::from_ulid(1)).await?), Some(after));
        assert_eq!(write!(db, |tx| plans::find(tx, PlanId::from_ulid(2)).await?), None);
        for id in [ACME, OTHER] {
            let row = crate::tenancy::tenant(id);
            write!(db, |tx| tenants::insert(tx, &row).await?);
        }
        write!(db, |tx| subscriptions::put(tx, ACME, &subscription(ACME, 1, None)).await?);
        write!(db, |tx| plans::touch_subscribers(tx, PlanId::from_ulid(1), 500).await?);
        assert_eq!(write!(db, |tx| tenants::changed_since(tx, 499).await?), [ACME]);
    }

    async fn months_that_ended_are_found_longest_over_first(db: TestDb) {
        for (id, closes_at) in [(ACME, Some(5)), (OTHER, Some(4)), (TenantId::from_ulid(30), Some(9)), (TenantId::from_ulid(40), None)] {
            let row = crate::tenancy::tenant(id);
            write!(db, |tx| tenants::insert(tx, &row).await?);
            write!(db, |tx| subscriptions::put(tx, id, &subscription(id, 1, closes_at)).await?);
        }
        let closing = async |now, limit| {
            let rows = write!(db, |tx| subscriptions::closing(tx, at(now), limit).await?);
            rows.into_iter().map(|row| row.tenant_id).collect::<Vec<_>>()
        };
        assert_eq!(closing(5, 9).await, [OTHER, ACME]);
        assert_eq!(closing(5, 1).await, [OTHER]);
        assert_eq!(closing(3, 9).await, Vec::<TenantId>::new());
        let without = Subscription { plan_id: None, ..subscription(OTHER, 1, None) };
        write!(db, |tx| subscriptions::put(tx, OTHER, &without).await?);
        assert_eq!(write!(db, |tx| subscriptions::find(tx, OTHER).await?.unwrap().plan_id), None);
        let kept = subscription(ACME, 1, Some(5));
        assert_eq!(write!(db, |tx| (subscriptions::find(tx, ACME).await?, subscriptions::lock(tx, ACME).await?)), (Some(kept.clone()), Some(kept)));
        assert_eq!(write!(db, |tx| subscriptions::find(tx, TenantId::from_ulid(50)).await?), None);
    }

    async fn who_pays_afterwards_and_is_not_billed_is_found(db: TestDb) {
        let third = TenantId::from_ulid(30);
        for (id, mode) in [(ACME, "postpaid"), (OTHER, "prepaid"), (third, "postpaid")] {
            let row = crate::tenancy::tenant(id);
            write!(db, |tx| tenants::insert(tx, &row).await?);
            let ledger = credits::Ledger::empty(id, mode, "EUR", at(1));
            write!(db, |tx| credits::put(tx, id, &ledger).await?);
        }
        assert_eq!(write!(db, |tx| subscriptions::unbilled(tx, 9).await?), [ACME, third]);
        assert_eq!(write!(db, |tx| subscriptions::unbilled(tx, 1).await?), [ACME]);
        write!(db, |tx| subscriptions::put(tx, ACME, &Subscription { plan_id: None, ..subscription(ACME, 1, None) }).await?);
        assert_eq!(write!(db, |tx| subscriptions::unbilled(tx, 9).await?), [third]);
        let gone = tenants::Tenant { deleted_at: Some(at(5)), ..crate::tenancy::tenant(third) };
        let written = gone.clone();
        assert_eq!(write!(db, |tx| tenants::find_deleted(tx, third).await?), None);
        write!(db, |tx| tenants::update(tx, &written).await?);
        assert_eq!(write!(db, |tx| subscriptions::unbilled(tx, 9).await?), []);
        let found = write!(db, |tx| tenants::find_deleted(tx, third).await?);
        assert_eq!(found.and_then(|row| row.deleted_at), gone.deleted_at);
    }

    async fn counters_are_kept_by_channel_and_month(db: TestDb) {
        let (mail, sms) = (Channel::Email, Channel::Sms);
        let first = [counter(ACME, mail, 10, 0), counter(ACME, sms, 10, 0), counter(OTHER, mail, 10, 0)];
        let again = [counter(ACME, mail, 10, 5), counter(ACME, mail, 20, 0)];
        write!(db, |tx| quotas::begin_many(tx, &first).await?);
        write!(db, |tx| quotas::begin_many(tx, &again).await?);
        assert_eq!(write!(db, |tx| quotas::lock(tx, ACME, mail, at(15)).await?), [counter(ACME, mail, 10, 0), counter(ACME, mail, 20, 0)]);
        assert_eq!(write!(db, |tx| quotas::lock(tx, ACME, mail, at(20)).await?), [counter(ACME, mail, 20, 0)]);
        let changed = [Counter { warned: 80, warned_of: 10, ..counter(ACME, mail, 10, 7) }];
        let written = changed.clone();
        write!(db, |tx| quotas::put_many(tx, &written).await?);
        assert_eq!(write!(db, |tx| quotas::at(tx, ACME, at(19)).await?), [changed[0].clone(), counter(ACME, sms, 10, 0)]);
        assert_eq!(write!(db, |tx| quotas::at(tx, ACME, at(9)).await?), []);
        assert_eq!(write!(db, |tx| quotas::around(tx, ACME, mail, at(15)).await?), (Some(changed[0].clone()), Some(at(20))));
        assert_eq!(write!(db, |tx| quotas::around(tx, ACME, mail, at(99)).await?), (Some(counter(ACME, mail, 20, 0)), None));
        assert_eq!(write!(db, |tx| quotas::around(tx, OTHER, sms, at(99)).await?), (None, None));
        let all = write!(db, |tx| quotas::all(tx, ACME).await?);
        assert_eq!(all, [changed[0].clone(), counter(ACME, sms, 10, 0), counter(ACME, mail, 20, 0)]);
        let longer = Counter { ends_at: at(45), ..counter(ACME, mail, 20, 0) };
        write!(db, |tx| quotas::prolong(tx, &counter(ACME, mail, 20, 0), at(45)).await?);
        assert_eq!(write!(db, |tx| quotas::at(tx, ACME, at(44)).await?), [longer]);
    }
}
