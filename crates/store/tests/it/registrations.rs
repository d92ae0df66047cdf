//! Business profiles, registrations and the pool of numbers: each function on both engines.

use model::{AccountId, NumberId, RegistrationId, TenantId, Timestamp};
use store::{
    Error, Scope,
    business_profiles::{self, BusinessProfile},
    inflight::WorkerId,
    numbers::{self, Number},
    registrations::{self, Registration},
    tenants,
};

const ACME: TenantId = TenantId::from_ulid(10);
const OTHER: TenantId = TenantId::from_ulid(20);
const ME: WorkerId = WorkerId(1);
const ELSE: WorkerId = WorkerId(2);

const fn at(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(seconds)
}

pub fn registration(tenant_id: TenantId, id: u128, account: u128) -> Registration {
    Registration {
        tenant_id,
        id: RegistrationId::from_ulid(id),
        account_id: AccountId::from_ulid(account),
        state: "in_progress".to_owned(),
        stage: "profile".to_owned(),
        refs: "{}".to_owned(),
        business: r#"{"legal_name":"Acme"}"#.to_owned(),
        area_code: Some("415".to_owned()),
        reasons: "[]".to_owned(),
        problem: None,
        failures: 0,
        submitted_at: at(1),
        approved_at: None,
        next_at: Some(at(5)),
        created_at: at(1),
        updated_at: at(2),
        kind: "10dlc".to_owned(),
        sender: String::new(),
        toll_free: None,
    }
}

fn number(id: u128, digits: &str, holder: &str) -> Number {
    Number {
        id: NumberId::from_ulid(id),
        number: digits.to_owned(),
        country: "US".to_owned(),
        connector: "twilio".to_owned(),
        provider_account: holder.to_owned(),
        reference: Some(format!("PN{id}")),
        state: "free".to_owned(),
        detail: None,
        allocated_to: None,
        registration_id: None,
        allocated_at: None,
        created_at: at(1),
        updated_at: at(1),
    }
}

fn tenant(id: TenantId) -> tenants::Tenant {
    tenants::Tenant {
        id,
        name: "Acme".to_owned(),
        state: "active".to_owned(),
        timezone: "UTC".to_owned(),
        currency: "USD".to_owned(),
        default_country: None,
        per_second: None,
        is_demo: false,
        config_version: 1,
        created_at: at(0),
        updated_at: at(0),
        deleted_at: None,
    }
}

testkit::both! {
    async fn a_profile_is_written_whole(db: TestDb) {
        let row = BusinessProfile { tenant_id: ACME, profile: r#"{"ein":"12-3456789"}"#.to_owned(), us_sms: "required".to_owned(), created_at: at(1), updated_at: at(1) };
        let kept = row.clone();
        let read = db.write(Scope::System, move |tx| Box::pin(async move {
            assert_eq!(business_profiles::find(tx, ACME).await?, None);
            business_profiles::put(tx, &kept).await?;
            business_profiles::put(tx, &BusinessProfile { us_sms: "off".to_owned(), created_at: at(9), updated_at: at(9), ..kept }).await?;
            assert_eq!(business_profiles::find(tx, OTHER).await?, None);
            business_profiles::find(tx, ACME).await
        })).await.unwrap();
        assert_eq!(read, Some(BusinessProfile { us_sms: "off".to_owned(), updated_at: at(9), ..row }));
    }

    async fn a_registration_is_one_per_account_and_its_tenants_own(db: TestDb) {
        db.write(Scope::System, |tx| Box::pin(async move {
            let row = registration(ACME, 1, 7);
            assert!(registrations::insert(tx, &row).await?);
            assert!(!registrations::insert(tx, &registration(ACME, 2, 7)).await?, "the account has one");
            assert!(registrations::insert(tx, &registration(ACME, 3, 8)).await?);
            assert!(registrations::insert(tx, &registration(OTHER, 4, 7)).await?);
            assert_eq!(registrations::find(tx, ACME, row.id).await?, Some(row.clone()));
            assert_eq!(registrations::find(tx, OTHER, row.id).await?, None);
            let newest = RegistrationId::from_ulid(u128::MAX);
            let ids = |rows: Vec<Registration>| rows.into_iter().map(|row| row.id.ulid()).collect::<Vec<_>>();
            assert_eq!(ids(registrations::list(tx, ACME, "10dlc", newest, 10).await?), [3, 1]);
            assert_eq!(ids(registrations::list(tx, ACME, "10dlc", RegistrationId::from_ulid(3), 10).await?), [1]);
            assert_eq!(ids(registrations::stuck(tx, "10dlc", newest, 10).await?), Vec::<u128>::new());

            let changed = Registration {
                state: "operator_needed".to_owned(), stage: "brand".to_owned(), refs: r#"{"profile":"BU1"}"#.to_owned(), reasons: r#"[{"code":"x"}]"#.to_owned(),
                business: "{}".to_owned(), area_code: None, problem: Some("down".to_owned()), failures: 10, submitted_at: at(3), approved_at: Some(at(4)), next_at: None,
                updated_at: at(6), ..row.clone()
            };
            assert!(!registrations::update(tx, &changed, at(1)).await?, "somebody changed it meanwhile");
            assert!(registrations::update(tx, &changed, at(2)).await?);
            assert_eq!(registrations::find(tx, ACME, row.id).await?, Some(changed));
            assert_eq!(ids(registrations::stuck(tx, "10dlc", newest, 10).await?), [1]);
            let states = registrations::states(tx, ACME).await?;
            assert_eq!(states[0], (AccountId::from_ulid(7), String::new(), "operator_needed".to_owned()));
            assert_eq!(states.len(), 2);
            assert!(!registrations::remove(tx, OTHER, row.id, at(9)).await?);
            assert!(registrations::remove(tx, ACME, row.id, at(9)).await?);
            assert_eq!(registrations::find(tx, ACME, row.id).await?, None);
            assert_eq!(registrations::remove_of_account(tx, OTHER, AccountId::from_ulid(8)).await?, []);
            // An account has one of each toll-free number besides.
            let toll_free = |id: u128, sender: &str| Registration { kind: "toll_free".to_owned(), sender: sender.to_owned(), toll_free: Some("{}".to_owned()), ..registration(ACME, id, 8) };
            assert!(registrations::insert(tx, &toll_free(5, "+18005550100")).await?);
            assert!(!registrations::insert(tx, &toll_free(6, "+18005550100")).await?, "the number has one");
            assert!(registrations::insert(tx, &toll_free(7, "+18885550100")).await?);
            assert_eq!(ids(registrations::list(tx, ACME, "toll_free", newest, 10).await?), [7, 5]);
            assert_eq!(ids(registrations::list(tx, ACME, "10dlc", newest, 10).await?), [3]);
            let asked = Registration { toll_free: Some("[]".to_owned()), state: "operator_needed".to_owned(), ..toll_free(7, "+18885550100") };
            assert!(registrations::update(tx, &asked, at(2)).await?);
            assert_eq!(registrations::find(tx, ACME, asked.id).await?, Some(asked));
            assert_eq!((ids(registrations::stuck(tx, "toll_free", newest, 10).await?), ids(registrations::stuck(tx, "10dlc", newest, 10).await?)), (vec![7], vec![]));
            assert!(registrations::states(tx, ACME).await?.contains(&(AccountId::from_ulid(8), "+18885550100".to_owned(), "operator_needed".to_owned())));
            let gone: Vec<_> = registrations::remove_of_account(tx, ACME, AccountId::from_ulid(8)).await?.into_iter().map(|id| id.ulid()).collect();
            assert_eq!(gone, [3, 5, 7]);
            Ok::<_, Error>(())
        })).await.unwrap();
    }

    async fn a_registration_is_worked_on_by_one(db: TestDb) {
        db.write(Scope::System, |tx| Box::pin(async move {
            tenants::insert(tx, &tenant(ACME)).await?;
            registrations::insert(tx, &registration(ACME, 1, 7)).await?;
            registrations::insert(tx, &registration(ACME, 2, 8)).await?;
            registrations::insert(tx, &registration(OTHER, 3, 9)).await?;
            assert!(registrations::lease(tx, ME, at(4), at(60), 10).await?.is_empty(), "none is due");
            let mine = registrations::lease(tx, ME, at(5), at(60), 1).await?;
            assert_eq!(mine.iter().map(|row| row.id.ulid()).collect::<Vec<_>>(), [1]);
            assert!(!registrations::remove(tx, ACME, RegistrationId::from_ulid(1), at(59)).await?, "it is worked on");
            let theirs = registrations::lease(tx, ELSE, at(6), at(60), 10).await?;
            assert_eq!(theirs.iter().map(|row| row.id.ulid()).collect::<Vec<_>>(), [2], "a tenant that is gone has no work");
            registrations::release(tx, ACME, RegistrationId::from_ulid(1), ELSE, Some(at(90))).await?;
            assert!(registrations::lease(tx, ELSE, at(7), at(60), 10).await?.iter().all(|row| row.id.ulid() == 2));
            registrations::release(tx, ACME, RegistrationId::from_ulid(1), ME, None).await?;
            assert_eq!(registrations::lease(tx, ELSE, at(8), at(60), 10).await?.len(), 2);
            registrations::release(tx, ACME, RegistrationId::from_ulid(2), ELSE, Some(at(30))).await?;
            assert_eq!(registrations::find(tx, ACME, RegistrationId::from_ulid(2)).await?.and_then(|row| row.next_at), Some(at(30)), "it came to nothing");
            assert_eq!(registrations::lease(tx, ELSE, at(29), at(60), 10).await?.len(), 1);
            Ok::<_, Error>(())
        })).await.unwrap();
    }

    async fn a_number_goes_from_hand_to_hand(db: TestDb) {
        db.write(Scope::System, |tx| Box::pin(async move {
            tenants::insert(tx, &tenant(ACME)).await?;
            assert!(numbers::insert(tx, &number(1, "+14155550101", "AC1")).await?);
            assert!(!numbers::insert(tx, &number(2, "+14155550101", "AC2")).await?, "it is in the pool");
            numbers::insert(tx, &number(3, "+12125550102", "AC1")).await?;
            numbers::insert(tx, &Number { reference: None, ..number(4, "+14155550100", "AC1") }).await?;
            let (newest, for_acme) = (NumberId::from_ulid(u128::MAX), (ACME, RegistrationId::from_ulid(5)));
            assert_eq!(numbers::allocate(tx, ("twilio", "AC2"), "+1", for_acme, at(7)).await?, None, "another holder's");
            // What carriers do not register is not taken, although nothing else is free.
            numbers::insert(tx, &number(6, "+18005550103", "AC3")).await?;
            numbers::insert(tx, &Number { country: "CA".to_owned(), ..number(7, "+12045550104", "AC3") }).await?;
            assert_eq!(numbers::allocate(tx, ("twilio", "AC3"), "+1", for_acme, at(7)).await?, None, "toll-free, and Canadian");
            let got = numbers::allocate(tx, ("twilio", "AC1"), "+1415", for_acme, at(7)).await?.unwrap();
            let wanted = Number {
                state: "allocated".to_owned(), allocated_to: Some(ACME), registration_id: Some(for_acme.1), allocated_at: Some(at(7)), updated_at: at(7),
                ..number(1, "+14155550101", "AC1")
            };
            assert_eq!(got, wanted);
            assert_eq!(numbers::allocate(tx, ("twilio", "AC1"), "+1415", for_acme, at(8)).await?, None, "one without a reference cannot be used");
            assert_eq!(numbers::of_registration(tx, ACME, for_acme.1).await?, vec![wanted.clone()]);
            assert_eq!(numbers::of_registration(tx, OTHER, for_acme.1).await?, []);
            let ids = |rows: Vec<Number>| rows.into_iter().map(|row| row.id.ulid()).collect::<Vec<_>>();
            assert_eq!(ids(numbers::list(tx, None, newest, 10).await?), [7, 6, 4, 3, 1]);
            assert_eq!(ids(numbers::list(tx, Some("free"), newest, 10).await?), [7, 6, 4, 3]);
            assert_eq!(ids(numbers::list(tx, Some("free"), NumberId::from_ulid(4), 10).await?), [3]);

            numbers::free(tx, OTHER, for_acme.1, at(9)).await?;
            assert_eq!(numbers::find(tx, wanted.id).await?, Some(wanted.clone()), "not theirs to give back");
            assert_eq!(numbers::lock(tx, wanted.id).await?, Some(wanted.clone()));
            numbers::free(tx, ACME, for_acme.1, at(9)).await?;
            assert_eq!(numbers::find(tx, wanted.id).await?, Some(Number { updated_at: at(9), ..number(1, "+14155550101", "AC1") }));

            // A tenant that was never there, or is gone, has no numbers.
            let left = Number { state: "allocated".to_owned(), allocated_to: Some(OTHER), registration_id: Some(for_acme.1), allocated_at: Some(at(9)), ..number(1, "+14155550101", "AC1") };
            numbers::update(tx, &left).await?;
            assert_eq!(numbers::free_left(tx, at(10)).await?, 1);
            assert_eq!(numbers::find(tx, wanted.id).await?.map(|row| (row.state, row.allocated_to)), Some(("free".to_owned(), None)));
            assert_eq!(numbers::free_left(tx, at(11)).await?, 0);
            // Nor has a registration that is gone.
            registrations::insert(tx, &registration(ACME, 5, 7)).await?;
            let kept = Number { allocated_to: Some(ACME), ..left };
            numbers::update(tx, &kept).await?;
            assert_eq!(numbers::free_left(tx, at(12)).await?, 0);
            registrations::remove(tx, ACME, for_acme.1, at(12)).await?;
            assert_eq!(numbers::free_left(tx, at(13)).await?, 1);
            assert_eq!(numbers::find(tx, wanted.id).await?.map(|row| (row.state, row.registration_id)), Some(("free".to_owned(), None)));
            assert!(numbers::remove(tx, wanted.id).await?);
            assert!(!numbers::remove(tx, wanted.id).await?, "it is gone");
            assert_eq!(numbers::find(tx, wanted.id).await?, None);
            Ok::<_, Error>(())
        })).await.unwrap();
    }
}
