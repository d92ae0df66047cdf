//! People, memberships, sessions, and what guards the door: each function on both engines.

use model::{SessionId, TenantId, Timestamp, UserId};
use store::{
    Db, Error, Scope,
    memberships::{self, Membership},
    sessions::{self, Session},
    sign_in::{self, Link, OidcRequest},
    tenants::{self, Tenant},
    users::{self, User},
};

const ACME: TenantId = TenantId::from_ulid(10);
const OTHER: TenantId = TenantId::from_ulid(20);
const ADA: UserId = UserId::from_ulid(1);
const GRACE: UserId = UserId::from_ulid(2);

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(seconds)
}

fn user(id: UserId, email: &str) -> User {
    User {
        id,
        email: email.to_owned(),
        name: "Ada".to_owned(),
        password: Some("$argon2id$x".to_owned()),
        password_at: Some(at(1)),
        operator_role: None,
        totp: Some(vec![1, 2]),
        totp_data_key_id: Some(1),
        totp_step: 0,
        has_totp: true,
        oidc_subject: Some(format!("https://id.example {email}")),
        created_at: at(1),
        updated_at: at(2),
        privileges_at: at(2),
        signed_in_at: None,
    }
}

fn membership(tenant: TenantId, user: UserId, role: &str, accepted_at: Option<Timestamp>) -> Membership {
    Membership {
        tenant,
        user,
        role: role.to_owned(),
        permissions: "campaigns".to_owned(),
        invited_by: "system".to_owned(),
        created_at: at(1),
        updated_at: at(1),
        accepted_at,
    }
}

fn session(id: u128, user: UserId, hash: u8) -> Session {
    Session {
        id: SessionId::from_ulid(id),
        user,
        hash: vec![hash; 32],
        previous_hash: None,
        previous_until: None,
        csrf: "csrf".to_owned(),
        method: "password".to_owned(),
        tenant: Some(ACME),
        ip: Some("192.0.2.1".to_owned()),
        agent: "Lynx".to_owned(),
        created_at: at(1),
        rotated_at: at(1),
        seen_at: at(1),
        expires_at: at(1_000),
    }
}

fn tenant(id: TenantId, deleted_at: Option<Timestamp>) -> Tenant {
    Tenant {
        id,
        name: format!("Tenant {}", id.ulid()),
        state: "active".to_owned(),
        timezone: "UTC".to_owned(),
        currency: "EUR".to_owned(),
        default_country: None,
        per_second: None,
        is_demo: id == OTHER,
        config_version: 1,
        created_at: at(1),
        updated_at: at(1),
        deleted_at,
    }
}

/// Runs work in a transaction and expects it to succeed.
macro_rules! write {
    ($db:expr, |$tx:ident| $work:expr) => {
        write!($db, Scope::System, |$tx| $work)
    };
    ($db:expr, $scope:expr, |$tx:ident| $work:expr) => {
        $db.write($scope, move |$tx| Box::pin(async move { Ok::<_, Error>($work) })).await.unwrap()
    };
}

async fn both_users(db: &Db) {
    write!(db, |tx| for row in [user(ADA, "ada@example.com"), user(GRACE, "grace@example.com")] {
        users::insert(tx, &row).await?;
    });
}

testkit::both! {
    async fn a_user_is_known_by_id_address_and_subject(db: TestDb) {
        both_users(&db).await;
        assert!(!write!(db, |tx| users::insert(tx, &User { oidc_subject: None, ..user(UserId::from_ulid(3), "ada@example.com") }).await?));
        let ada = Some(user(ADA, "ada@example.com"));
        let found = write!(db, |tx| (
            users::find(tx, ADA).await?,
            users::hold(tx, ADA).await?,
            users::find_by_email(tx, "ada@example.com").await?,
            users::find_by_subject(tx, "https://id.example ada@example.com").await?,
            users::find_by_email(tx, "nobody@example.com").await?,
        ));
        assert_eq!(found, (ada.clone(), ada.clone(), ada.clone(), ada, None));
        let changed = User {
            name: "New".to_owned(), password: None, password_at: None, operator_role: Some("admin".to_owned()), totp: None, totp_data_key_id: None, has_totp: false,
            oidc_subject: None, updated_at: at(5), privileges_at: at(6), signed_in_at: Some(at(7)), ..user(ADA, "ada@example.com")
        };
        let expected = changed.clone();
        write!(db, |tx| users::update(tx, &changed).await?);
        assert_eq!(write!(db, |tx| users::find(tx, ADA).await?), Some(expected.clone()));
        let staff = write!(db, |tx| (users::staff(tx, UserId::from_ulid(u128::MAX), 10).await?, users::staff(tx, ADA, 10).await?, users::count_staff(tx, "admin").await?));
        assert_eq!(staff, (vec![expected], vec![], 1));
        write!(db, |tx| users::remove(tx, ADA).await?);
        assert_eq!(write!(db, |tx| users::find(tx, ADA).await?), None);
    }

    async fn a_step_is_taken_once_and_never_backwards(db: TestDb) {
        both_users(&db).await;
        let mut taken = Vec::new();
        for step in [5, 5, 4, 6] {
            taken.push(write!(db, |tx| users::take_step(tx, ADA, step).await?));
        }
        assert_eq!(taken, [true, false, false, true]);
        assert_eq!(write!(db, |tx| users::find(tx, GRACE).await?).unwrap().totp_step, 0);
    }

    async fn memberships_are_read_from_both_sides(db: TestDb) {
        both_users(&db).await;
        write!(db, |tx| {
            tenants::insert(tx, &tenant(ACME, None)).await?;
            tenants::insert(tx, &tenant(OTHER, None)).await?;
            for row in [membership(ACME, ADA, "owner", Some(at(2))), membership(ACME, GRACE, "viewer", None), membership(OTHER, ADA, "member", Some(at(2)))] {
                memberships::insert(tx, &row).await?;
            }
        });
        assert!(!write!(db, |tx| memberships::insert(tx, &membership(ACME, ADA, "viewer", None)).await?));
        let grace = (membership(ACME, GRACE, "viewer", None), user(GRACE, "grace@example.com"));
        let ada = (membership(ACME, ADA, "owner", Some(at(2))), user(ADA, "ada@example.com"));
        let found = write!(db, Scope::Tenant(ACME), |tx| (
            memberships::list(tx, ACME, UserId::from_ulid(u128::MAX), 10).await?,
            memberships::list(tx, ACME, GRACE, 10).await?,
            memberships::find(tx, ACME, GRACE).await?,
            memberships::find(tx, OTHER, GRACE).await?,
            memberships::count(tx, ACME).await?,
        ));
        assert_eq!(found, (vec![grace.clone(), ada.clone()], vec![ada], Some(grace), None, 2));
        let others = write!(db, |tx| (memberships::others_with_role(tx, ACME, ADA, "owner").await?, memberships::others_with_role(tx, ACME, GRACE, "owner").await?, memberships::others_with_role(tx, ACME, ADA, "viewer").await?));
        assert_eq!(others, (0, 1, 0), "an open invitation does not count");
        assert!(write!(db, |tx| memberships::accept(tx, ACME, GRACE, at(9)).await?));
        assert!(!write!(db, |tx| memberships::accept(tx, ACME, GRACE, at(10)).await?));
        write!(db, |tx| memberships::update(tx, &Membership { role: "admin".to_owned(), permissions: String::new(), updated_at: at(11), ..membership(ACME, GRACE, "", None) }).await?);
        let after = write!(db, |tx| memberships::find(tx, ACME, GRACE).await?).unwrap().0;
        assert_eq!((after.role.as_str(), after.permissions.as_str(), after.updated_at, after.accepted_at), ("admin", "", at(11), Some(at(9))));

        let of_ada = write!(db, |tx| memberships::of_user(tx, ADA).await?);
        let seen: Vec<_> = of_ada.iter().map(|of| (of.membership.tenant, of.tenant_name.as_str(), of.is_demo)).collect();
        assert_eq!(seen, [(ACME, "Tenant 10", false), (OTHER, "Tenant 20", true)]);
        write!(db, |tx| tenants::update(tx, &tenant(OTHER, Some(at(3)))).await?);
        assert_eq!(write!(db, |tx| memberships::of_user(tx, ADA).await?).len(), 1, "a deleted tenant is gone");
        assert!(write!(db, |tx| memberships::remove(tx, ACME, ADA).await?) && !write!(db, |tx| memberships::remove(tx, ACME, ADA).await?));
        assert!(write!(db, |tx| memberships::has_any(tx, ADA).await?), "it still has a row there");
        write!(db, |tx| memberships::remove(tx, OTHER, ADA).await?);
        assert!(!write!(db, |tx| memberships::has_any(tx, ADA).await?));
    }

    async fn a_session_is_found_by_its_token_and_the_one_before(db: TestDb) {
        write!(db, |tx| for row in [session(1, ADA, 1), session(2, ADA, 2), session(3, GRACE, 3)] {
            sessions::insert(tx, &row).await?;
        });
        assert_eq!(write!(db, |tx| sessions::find_by_hash(tx, &[1; 32]).await?), Some(session(1, ADA, 1)));
        assert_eq!(write!(db, |tx| sessions::find_by_hash(tx, &[9; 32]).await?), None);
        let rotate = |from: u8, to: u8| write_rotation(&db, from, to);
        assert!(rotate(1, 7).await);
        assert!(!rotate(1, 8).await, "it is another by now");
        let (new, old) = write!(db, |tx| (sessions::find_by_hash(tx, &[7; 32]).await?, sessions::find_by_hash(tx, &[1; 32]).await?));
        assert_eq!((new.as_ref().map(|row| row.rotated_at), new.as_ref().and_then(|row| row.previous_until)), (Some(at(6)), Some(at(5))));
        assert_eq!(new, old);
        write!(db, |tx| {
            sessions::touch(tx, SessionId::from_ulid(1), Some("192.0.2.9"), "Links", at(50)).await?;
            // A clock that went back changes nothing.
            sessions::touch(tx, SessionId::from_ulid(1), None, "", at(40)).await?;
            sessions::look_at(tx, SessionId::from_ulid(1), None).await?;
        });
        let after = write!(db, |tx| sessions::find_by_hash(tx, &[7; 32]).await?).unwrap();
        assert_eq!((after.seen_at, after.ip.as_deref(), after.agent.as_str(), after.tenant), (at(50), Some("192.0.2.9"), "Links", None));
    }

    async fn sessions_end_one_by_one_and_together(db: TestDb) {
        write!(db, |tx| {
            for n in 1..=5 {
                sessions::insert(tx, &session(n, ADA, n as u8)).await?;
            }
            sessions::insert(tx, &session(6, GRACE, 6)).await?;
        });
        let last = SessionId::from_ulid(u128::MAX);
        let ids = |rows: Vec<Session>| rows.iter().map(|row| row.id.ulid()).collect::<Vec<_>>();
        assert_eq!(ids(write!(db, |tx| sessions::list(tx, ADA, at(10), at(0), last, 2).await?)), [5, 4]);
        assert_eq!(ids(write!(db, |tx| sessions::list(tx, ADA, at(10), at(0), SessionId::from_ulid(4), 9).await?)), [3, 2, 1]);
        assert_eq!(ids(write!(db, |tx| sessions::list(tx, ADA, at(1_000), at(0), last, 9).await?)), [0u128; 0]);
        assert_eq!(ids(write!(db, |tx| sessions::list(tx, ADA, at(10), at(1), last, 9).await?)), [0u128; 0]);
        assert_eq!(write!(db, |tx| sessions::remove_beyond(tx, ADA, 4).await?), 1);
        assert!(!write!(db, |tx| sessions::remove(tx, GRACE, SessionId::from_ulid(5)).await?), "it is another's");
        assert!(write!(db, |tx| sessions::remove(tx, ADA, SessionId::from_ulid(5)).await?));
        assert_eq!(write!(db, |tx| sessions::remove_others(tx, ADA, Some(SessionId::from_ulid(3))).await?), 2);
        assert_eq!(ids(write!(db, |tx| sessions::list(tx, ADA, at(10), at(0), last, 9).await?)), [3]);
        assert_eq!(write!(db, |tx| (sessions::purge(tx, at(999), at(0), 10).await?, sessions::purge(tx, at(1_000), at(0), 1).await?, sessions::purge(tx, at(2), at(1), 10).await?)), (0, 1, 1));
    }

    async fn links_and_codes_are_used_once(db: TestDb) {
        let link = |hash: u8, kind: &str, tenant: Option<TenantId>| Link {
            hash: vec![hash; 32], user: ADA, kind: kind.to_owned(), tenant, method: "link".to_owned(), attempts: 0, created_at: at(1), expires_at: at(100),
        };
        let rows = [link(1, "reset", None), link(2, "invitation", Some(ACME)), link(3, "invitation", Some(OTHER)), link(4, "ticket", None)];
        let expected = rows[0].clone();
        write!(db, |tx| for row in &rows {
            sign_in::insert_link(tx, row).await?;
        });
        assert_eq!(write!(db, |tx| (sign_in::find_link(tx, &[1; 32]).await?, sign_in::find_link(tx, &[9; 32]).await?)), (Some(expected), None));
        assert_eq!(write!(db, |tx| (sign_in::count_attempt(tx, &[1; 32]).await?, sign_in::count_attempt(tx, &[1; 32]).await?, sign_in::count_attempt(tx, &[9; 32]).await?)), (Some(1), Some(2), None));
        assert_eq!(write!(db, |tx| (sign_in::remove_link(tx, &[1; 32]).await?, sign_in::remove_link(tx, &[1; 32]).await?)), (true, false));
        assert_eq!(write!(db, |tx| (sign_in::remove_links(tx, ADA, "invitation", Some(ACME)).await?, sign_in::remove_links(tx, ADA, "invitation", None).await?, sign_in::remove_links(tx, ADA, "ticket", None).await?)), (1, 0, 1));
        assert_eq!(write!(db, |tx| (sign_in::remove_all_links(tx, ADA).await?, sign_in::remove_all_links(tx, ADA).await?)), (1, 0));

        write!(db, |tx| sign_in::replace_codes(tx, ADA, &[vec![1; 32], vec![2; 32]]).await?);
        write!(db, |tx| sign_in::replace_codes(tx, ADA, &[vec![3; 32], vec![4; 32]]).await?);
        let taken = write!(db, |tx| (sign_in::take_code(tx, ADA, &[1; 32]).await?, sign_in::take_code(tx, ADA, &[3; 32]).await?, sign_in::take_code(tx, ADA, &[3; 32]).await?, sign_in::take_code(tx, GRACE, &[4; 32]).await?));
        assert_eq!(taken, (false, true, false, false));
        assert_eq!(write!(db, |tx| (sign_in::count_codes(tx, ADA).await?, sign_in::count_codes(tx, GRACE).await?)), (1, 0));
    }

    async fn failures_are_kept_and_forgotten(db: TestDb) {
        write!(db, |tx| {
            sign_in::begin_failures(tx, &[1; 32], at(1)).await?;
            let mut row = sign_in::failures(tx, &[1; 32]).await?.unwrap();
            (row.failures, row.last_at, row.blocked_until) = (3, at(5), at(9));
            sign_in::update_failures(tx, &row).await?;
            // Beginning again keeps what was counted.
            sign_in::begin_failures(tx, &[1; 32], at(7)).await?;
            sign_in::begin_failures(tx, &[2; 32], at(7)).await?;
        });
        let row = write!(db, |tx| sign_in::failures(tx, &[1; 32]).await?).unwrap();
        assert_eq!((row.failures, row.last_at, row.blocked_until), (3, at(5), at(9)));
        write!(db, |tx| sign_in::forget_failures(tx, &[1; 32]).await?);
        assert_eq!(write!(db, |tx| sign_in::failures(tx, &[1; 32]).await?), None);

        let request = OidcRequest { state_hash: vec![5; 32], nonce: "n".to_owned(), verifier: "v".to_owned(), return_to: "/".to_owned(), created_at: at(1), expires_at: at(9) };
        let (kept, expected) = (request.clone(), request.clone());
        write!(db, |tx| sign_in::insert_oidc(tx, &kept).await?);
        assert_eq!(write!(db, |tx| (sign_in::take_oidc(tx, &[5; 32]).await?, sign_in::take_oidc(tx, &[5; 32]).await?)), (Some(expected), None));
        write!(db, |tx| sign_in::insert_oidc(tx, &request).await?);
        assert_eq!(write!(db, |tx| (sign_in::purge(tx, at(8), at(6)).await?, sign_in::purge(tx, at(9), at(7)).await?)), (0, 2));
    }
}

async fn write_rotation(db: &Db, from: u8, to: u8) -> bool {
    write!(db, |tx| sessions::rotate(tx, SessionId::from_ulid(1), &[from; 32], &[to; 32], at(5), at(6)).await?)
}

#[tokio::test]
async fn row_level_security_hides_other_tenants_members() {
    let db = testkit::postgres().await;
    both_users(&db).await;
    write!(db, |tx| {
        memberships::insert(tx, &membership(ACME, ADA, "owner", None)).await?;
        sessions::insert(tx, &session(1, ADA, 1)).await?;
    });
    let seen = write!(db, Scope::Tenant(OTHER), |tx| (
        memberships::find(tx, ACME, ADA).await?,
        memberships::count(tx, ACME).await?,
        sessions::find_by_hash(tx, &[1; 32]).await?,
    ));
    assert_eq!(seen, (None, 0, None));
}
