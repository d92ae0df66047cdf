//! People who sign in: what gets them in, what keeps strangers out, and what they may do once they are in.

use std::sync::Arc;

use engine::{
    Engine, ErrorKind, Parts,
    access::{
        Device, Outcome, Permission, Session, SignedIn,
        sessions::{self, IDLE_S, LIFE_S},
        sign_in,
        throttle::{LETTERS_A_DAY, LETTERS_TO_ONE_A_DAY},
        totp,
        users::{self, MemberPatch, NewMember},
    },
    keys::Caller,
    once::Repeat,
    tenants,
};
use model::{Channel, Secret, TenantId, Timestamp, UserId};
use serde_json::{Value, json};
use testkit::{Stage, TestDb, World, smtp_accepted};
use totp_rs::{Algorithm, Builder};

use crate::{
    alert_letters::{mail_account, with_operator},
    setting::*,
};

const GOOD: &str = "purple tram waits calmly";
const OTHER: &str = "seven green umbrellas";

fn from(ip: &str) -> Device {
    Device { ip: Some(ip.parse().unwrap()), agent: "Lynx/2.9".to_owned() }
}

fn here() -> Device {
    from("192.0.2.1")
}

fn now(parts: &Parts) -> Timestamp {
    parts.ports.clock.now()
}

fn member_of(email: &str, role: &str) -> NewMember {
    NewMember { email: email.to_owned(), role: role.to_owned(), ..NewMember::default() }
}

/// Invites somebody and answers the token of the link.
async fn invite(parts: &Engine, by: &Caller, new: NewMember) -> (UserId, String) {
    let reply = json(&users::invite(parts, by, &Repeat::NONE, new).await.unwrap());
    let link = reply["link"].as_str().unwrap_or_default();
    (reply["id"].as_str().unwrap().parse().unwrap(), link.rsplit('/').next().unwrap().to_owned())
}

fn signed_in(outcome: Outcome) -> SignedIn {
    match outcome {
        Outcome::SignedIn(signed_in) => signed_in,
        Outcome::NeedsTotp { .. } => panic!("a code is asked for"),
    }
}

/// A new member with the password [`GOOD`], signed in.
async fn join(parts: &Engine, tenant: TenantId, email: &str, role: &str) -> SignedIn {
    let (_, token) = invite(parts, &member(tenant), member_of(email, role)).await;
    let done = sign_in::accept_invitation(parts, &token, Some("Ada"), &Secret::new(GOOD), &here(), now(parts)).await;
    signed_in(done.unwrap())
}

async fn enter(parts: &Parts, email: &str, password: &str, device: &Device) -> Result<Outcome, engine::Error> {
    sign_in::with_password(parts, email, &Secret::new(password), device, now(parts)).await
}

async fn session(parts: &Parts, token: &Secret) -> Option<Session> {
    sessions::find(parts, token.reveal(), &here(), now(parts)).await.unwrap()
}

/// What somebody is inside of a tenant with their session.
async fn acting(parts: &Parts, token: &Secret, tenant: TenantId) -> Caller {
    let session = session(parts, token).await.expect("the session is good");
    sessions::caller(parts, &session, Some(tenant)).await.unwrap()
}

fn role(role: &str, permissions: &[&str]) -> MemberPatch {
    body(json!({"role": role, "permissions": permissions}))
}

/// The code of an authenticator app that was given this secret.
fn app(secret: &str, at: Timestamp) -> String {
    let secret = totp_rs::Secret::try_from_base32(secret).unwrap();
    let totp = Builder::new().with_algorithm(Algorithm::SHA1).with_digits(6).with_step_duration(30).with_secret(secret);
    totp.build_noncompliant().generate(at.as_seconds().unsigned_abs()).to_string()
}

async fn actions(parts: &Parts, by: &Caller) -> Vec<String> {
    let page = engine::audit::list(parts, by, Some(100), None).await.unwrap();
    page.data.into_iter().map(|entry| format!("{} {}", entry.action, entry.actor.split('_').next().unwrap())).collect()
}

testkit::both! {
    async fn the_first_start_makes_one_operator(db: TestDb) {
        let (world, parts) = house(&db);
        let two = engine_in(&world);
        let (a, b) = tokio::join!(users::bootstrap(&parts), users::bootstrap(&two));
        let made: Vec<_> = [a.unwrap(), b.unwrap()].into_iter().flatten().collect();
        let [made] = made.as_slice() else { panic!("{} operators were made", made.len()) };
        assert!(users::bootstrap(&parts).await.unwrap().is_none());
        let password = made.password.as_ref().unwrap().reveal();
        let done = signed_in(enter(&parts, &made.view.email, password, &here()).await.unwrap());
        let session = session(&parts, &done.token).await.unwrap();
        let caller = sessions::caller(&parts, &session, None).await.unwrap();
        assert!(caller.need_operator("tenants:write").is_ok());
        assert_eq!(caller.actor(), made.view.id.to_string());
    }

    async fn an_invitation_leads_in_once(db: TestDb) {
        let (_world, parts) = house(&db);
        let (acme, _) = tenant(&parts, "Acme").await;
        let (id, token) = invite(&parts, &member(acme), member_of(" Ada@Example.com ", "member")).await;
        let shown = sign_in::invitation(&parts, &token, now(&parts)).await.unwrap();
        assert_eq!((shown.email.as_str(), shown.tenant_name.as_str(), shown.has_account), ("ada@example.com", "Acme", false));
        let accept = async |password: &str| sign_in::accept_invitation(&parts, &token, None, &Secret::new(password), &here(), now(&parts)).await;
        assert_eq!(pointers(accept("short").await), ["/password"]);
        assert_eq!(pointers(accept("password1234").await), ["/password"]);
        let done = signed_in(accept(GOOD).await.unwrap());
        assert_eq!(done.user_id, id);
        assert_eq!(code(accept(OTHER).await), "link_not_valid");
        let caller = acting(&parts, &done.token, acme).await;
        assert!(!caller.is_operator && caller.can(Permission::Send(Channel::Email)) && !caller.can(Permission::Administration));
        // In any spelling of the address, from now on.
        assert!(enter(&parts, "ADA@example.com", GOOD, &here()).await.is_ok());
    }

    async fn of_two_who_open_an_invitation_at_once_one_gets_in(db: TestDb) {
        let (_world, parts) = house(&db);
        let (acme, _) = tenant(&parts, "Acme").await;
        let (_, token) = invite(&parts, &member(acme), member_of("ada@example.com", "member")).await;
        let (one, two) = (Secret::new(GOOD), Secret::new(OTHER));
        let device = here();
        let (a, b) = tokio::join!(
            sign_in::accept_invitation(&parts, &token, None, &one, &device, now(&parts)),
            sign_in::accept_invitation(&parts, &token, None, &two, &device, now(&parts)),
        );
        assert_eq!([a.is_ok(), b.is_ok()].iter().filter(|is_in| **is_in).count(), 1);
        let chosen = if a.is_ok() { GOOD } else { OTHER };
        assert!(enter(&parts, "ada@example.com", chosen, &device).await.is_ok());
    }

    async fn an_invitation_does_not_open_an_account_that_is_there(db: TestDb) {
        let (_world, parts) = house(&db);
        let (acme, _) = tenant(&parts, "Acme").await;
        let (evil, _) = tenant(&parts, "Evil").await;
        let ada = join(&parts, acme, "ada@example.com", "owner").await;
        // Whoever made this invitation has seen its link.
        let (_, token) = invite(&parts, &member(evil), member_of("ada@example.com", "viewer")).await;
        assert!(sign_in::invitation(&parts, &token, now(&parts)).await.unwrap().has_account);
        let accept = async |password: &str| sign_in::accept_invitation(&parts, &token, None, &Secret::new(password), &here(), now(&parts)).await;
        assert_eq!(code(accept(OTHER).await), "sign_in_failed");
        assert!(session(&parts, &ada.token).await.unwrap().membership(evil).is_none(), "she was not asked yet");
        // She herself may.
        signed_in(accept(GOOD).await.unwrap());
        assert!(session(&parts, &ada.token).await.unwrap().membership(evil).is_some());
    }

    async fn somebody_signed_in_joins_by_their_own_invitation_only(db: TestDb) {
        let (_world, parts) = house(&db);
        let (acme, _) = tenant(&parts, "Acme").await;
        let (other, _) = tenant(&parts, "Other").await;
        let ada = join(&parts, acme, "ada@example.com", "member").await;
        let grace = join(&parts, acme, "grace@example.com", "member").await;
        let (_, token) = invite(&parts, &member(other), member_of("ada@example.com", "admin")).await;
        let (ada_now, grace_now) = (session(&parts, &ada.token).await.unwrap(), session(&parts, &grace.token).await.unwrap());
        assert_eq!(code(sign_in::accept_in_session(&parts, &grace_now, &token, now(&parts)).await), "invitation_for_another");
        assert_eq!(sign_in::accept_in_session(&parts, &ada_now, &token, now(&parts)).await.unwrap(), other);
        let after = session(&parts, &ada.token).await.unwrap();
        assert_eq!((after.memberships.len(), after.tenant), (2, Some(other)));
        assert_eq!(code(sign_in::accept_in_session(&parts, &ada_now, &token, now(&parts)).await), "link_not_valid");
    }

    async fn the_operators_account_carries_few_invitations(db: TestDb) {
        let stage = Stage::in_world(World::answering(&db, |_| smtp_accepted())).await;
        mail_account(&stage).await;
        let operators = stage.tenant;
        let stage = with_operator(stage, operators);
        let (acme, _) = tenant(&stage.engine, "Acme").await;
        let by = member(acme);
        let invited = async |n: i64| users::invite(&stage.engine, &by, &Repeat::NONE, member_of(&format!("u{n}@example.com"), "member")).await;
        let first = json(&invited(0).await.unwrap());
        let id: UserId = first["id"].as_str().unwrap().parse().unwrap();
        for _ in 1..LETTERS_TO_ONE_A_DAY {
            users::resend(&stage.engine, &by, &Repeat::NONE, id).await.unwrap();
        }
        assert_eq!(code(users::resend(&stage.engine, &by, &Repeat::NONE, id).await), "too_many_letters");
        for n in LETTERS_TO_ONE_A_DAY..LETTERS_A_DAY {
            invited(n).await.unwrap();
        }
        let error = invited(LETTERS_A_DAY).await.unwrap_err();
        assert_eq!(error.code, "too_many_letters");
        let letters = column(&db, "SELECT CAST(COUNT(*) AS TEXT) FROM messages").await;
        assert_eq!((letters, column(&db, "SELECT CAST(COUNT(*) AS TEXT) FROM memberships").await), (LETTERS_A_DAY.to_string(), (LETTERS_A_DAY - LETTERS_TO_ONE_A_DAY + 1).to_string()));
        // The others are not kept by it, and it is not for ever.
        let (other, _) = tenant(&stage.engine, "Other").await;
        users::invite(&stage.engine, &member(other), &Repeat::NONE, member_of("u0@example.com", "member")).await.unwrap();
        stage.world.clock.advance_ms(error.retry_after_ms.unwrap());
        invited(LETTERS_A_DAY).await.unwrap();
        users::resend(&stage.engine, &by, &Repeat::NONE, id).await.unwrap();
    }

    async fn nobody_learns_who_has_an_account(db: TestDb) {
        let (_world, parts) = house(&db);
        let (acme, _) = tenant(&parts, "Acme").await;
        join(&parts, acme, "ada@example.com", "member").await;
        invite(&parts, &member(acme), member_of("invited@example.com", "member")).await;
        let mut seen = Vec::new();
        for email in ["ada@example.com", "invited@example.com", "nobody@example.com"] {
            let before = parts.passwords.work();
            let error = enter(&parts, email, OTHER, &from("192.0.2.9")).await.unwrap_err();
            seen.push((error.kind, error.code, error.detail, parts.passwords.work() - before));
        }
        assert_eq!((seen[0].0, seen[0].1, seen[0].3), (ErrorKind::Unauthorized, "sign_in_failed", 1));
        assert!(seen.iter().all(|one| *one == seen[0]), "{seen:?}");
    }

    async fn a_hundred_wrong_tries_are_slow_and_the_right_one_still_gets_in(db: TestDb) {
        let (world, parts) = house(&db);
        let (acme, _) = tenant(&parts, "Acme").await;
        join(&parts, acme, "ada@example.com", "member").await;
        for (email, tries, waits_min, hours_min) in [("ada@example.com", 100, 40, 5), ("nobody@example.com", 16, 5, 0)] {
            let (guesser, began, work) = (from("203.0.113.7"), now(&parts), parts.passwords.work());
            let mut waited = 0;
            for _ in 0..tries {
                let error = enter(&parts, email, OTHER, &guesser).await.unwrap_err();
                if error.code == "too_many_sign_ins" {
                    waited += 1;
                    world.clock.advance_ms(error.retry_after_ms.unwrap());
                }
            }
            let hours = now(&parts).millis_since(began) / 3_600_000;
            assert!(waited >= waits_min && hours >= hours_min, "{email}: {waited} waits, {hours} h");
            // What is refused for its pace costs nothing.
            assert_eq!(parts.passwords.work() - work, tries - waited);
        }
        // The person, from where they always are, waits a minute at most.
        let mut tries = 0;
        while let Err(error) = enter(&parts, "ada@example.com", GOOD, &here()).await {
            assert!(error.code == "too_many_sign_ins" && error.retry_after_ms.unwrap() <= 60_000, "{error:?}");
            world.clock.advance_ms(error.retry_after_ms.unwrap());
            tries += 1;
        }
        assert!(tries <= 1, "{tries}");
    }

    async fn many_accounts_from_one_address_are_slowed_down(db: TestDb) {
        let (_world, parts) = house(&db);
        let mut refused = None;
        for n in 0..60 {
            let error = enter(&parts, &format!("user{n}@example.com"), OTHER, &from("203.0.113.7")).await.unwrap_err();
            if error.code == "too_many_sign_ins" {
                refused = refused.or(Some(n));
            }
        }
        assert_eq!(refused, Some(50));
        // The neighbour's address is another.
        assert_eq!(code(enter(&parts, "user1@example.com", OTHER, &from("203.0.113.8")).await), "sign_in_failed");
    }

    async fn tries_at_the_same_time_are_counted_one_by_one(db: TestDb) {
        let (_world, parts) = house(&db);
        let device = from("203.0.113.7");
        let tries = (0..12).map(|_| enter(&parts, "ada@example.com", OTHER, &device));
        let codes: Vec<_> = futures_util::future::join_all(tries).await.into_iter().map(code).collect();
        assert_eq!(codes.iter().filter(|code| **code == "sign_in_failed").count(), 5, "{codes:?}");
    }

    async fn each_way_in_makes_a_session_of_its_own(db: TestDb) {
        let (_world, parts) = house(&db);
        let (acme, _) = tenant(&parts, "Acme").await;
        let first = join(&parts, acme, "ada@example.com", "member").await;
        // A token an attacker planted is never taken up: signing in makes another.
        let second = signed_in(enter(&parts, "ada@example.com", GOOD, &from("192.0.2.2")).await.unwrap());
        assert!(first.token != second.token && first.csrf != second.csrf && first.session_id != second.session_id);
        for planted in ["tds_planted0000000000000000000000000000000000", "tds_", "", "tdk_x"] {
            assert!(session(&parts, &Secret::new(planted)).await.is_none());
        }
        let (one, two) = (session(&parts, &first.token).await.unwrap(), session(&parts, &second.token).await.unwrap());
        assert!(one.has_csrf(&first.csrf) && !one.has_csrf(&two.csrf) && !one.has_csrf(""));
        let hashes = column(&db, "SELECT csrf FROM sessions").await;
        assert!(!hashes.contains(&first.token.reveal()[4..]));
    }

    async fn a_session_ends_by_idleness_by_age_and_by_hand(db: TestDb) {
        let (world, parts) = house(&db);
        let (acme, _) = tenant(&parts, "Acme").await;
        let idle = join(&parts, acme, "ada@example.com", "member").await;
        let busy = signed_in(enter(&parts, "ada@example.com", GOOD, &from("192.0.2.2")).await.unwrap());
        let mut passed = 0;
        while passed < LIFE_S - 1 {
            let step = (IDLE_S - 1).min(LIFE_S - 1 - passed);
            world.clock.advance_ms((step * 1_000).unsigned_abs());
            passed += step;
            assert!(session(&parts, &busy.token).await.is_some(), "used after {passed} s");
        }
        assert!(session(&parts, &idle.token).await.is_none());
        world.clock.advance_ms(1_000);
        assert!(session(&parts, &busy.token).await.is_none());

        let gone = signed_in(enter(&parts, "ada@example.com", GOOD, &here()).await.unwrap());
        let kept = signed_in(enter(&parts, "ada@example.com", GOOD, &from("192.0.2.3")).await.unwrap());
        let me = session(&parts, &kept.token).await.unwrap();
        let listed = sessions::list(&parts, &me, None, None).await.unwrap().data;
        let seen: Vec<_> = listed.iter().map(|one| (one.id, one.is_current, one.ip.as_deref(), one.agent.as_str())).collect();
        assert_eq!(seen, [(kept.session_id, true, Some("192.0.2.3"), "Lynx/2.9"), (gone.session_id, false, Some("192.0.2.1"), "Lynx/2.9")]);
        sessions::revoke(&parts, &me, gone.session_id).await.unwrap();
        assert!(session(&parts, &gone.token).await.is_none());
        assert_eq!(code(sessions::revoke(&parts, &me, gone.session_id).await), "not_found");
        let third = signed_in(enter(&parts, "ada@example.com", GOOD, &here()).await.unwrap());
        assert!(sessions::purge(&parts).await.unwrap() >= 2, "those whose time is over");
        assert_eq!(sessions::revoke_others(&parts, &me).await.unwrap(), 1);
        assert!(session(&parts, &third.token).await.is_none() && session(&parts, &kept.token).await.is_some());
        // Somebody else's is not there.
        let grace = join(&parts, acme, "grace@example.com", "owner").await;
        let grace = session(&parts, &grace.token).await.unwrap();
        assert_eq!(code(sessions::revoke(&parts, &grace, kept.session_id).await), "not_found");
        world.clock.advance_ms((LIFE_S * 1_000).unsigned_abs());
        assert!(sessions::purge(&parts).await.unwrap() >= 2);
        assert_eq!(column(&db, "SELECT csrf FROM sessions").await, "");
    }

    async fn a_token_that_was_replaced_dies_shortly_after(db: TestDb) {
        let (world, parts) = house(&db);
        let (acme, _) = tenant(&parts, "Acme").await;
        let old = join(&parts, acme, "ada@example.com", "member").await;
        let me = session(&parts, &old.token).await.unwrap();
        assert!(!me.is_stale);
        world.clock.advance_ms(1_000);
        users::patch(&parts, &member(acme), me.user_id, role("admin", &[])).await.unwrap();
        let me = session(&parts, &old.token).await.unwrap();
        assert!(me.is_stale, "the privileges rose after the token was made");
        let fresh = sessions::rotate(&parts, &me, &old.token, false, now(&parts)).await.unwrap().unwrap();
        assert_eq!(sessions::rotate(&parts, &me, &old.token, false, now(&parts)).await.unwrap(), None, "only once");
        // Requests under way may end.
        assert!(session(&parts, &old.token).await.is_some());
        assert!(!session(&parts, &fresh.token).await.unwrap().is_stale);
        world.clock.advance_ms(30_000);
        assert!(session(&parts, &old.token).await.is_none() && session(&parts, &fresh.token).await.is_some());
    }

    async fn what_is_taken_away_is_gone_with_the_next_request(db: TestDb) {
        let (_world, parts) = house(&db);
        let (acme, _) = tenant(&parts, "Acme").await;
        let ada = join(&parts, acme, "ada@example.com", "admin").await;
        assert!(acting(&parts, &ada.token, acme).await.need("keys:write").is_ok());
        let by = member(acme);
        users::patch(&parts, &by, ada.user_id, role("viewer", &["send:sms"])).await.unwrap();
        let caller = acting(&parts, &ada.token, acme).await;
        let refused = caller.need("keys:write").unwrap_err();
        assert_eq!((refused.kind, refused.code), (ErrorKind::Forbidden, "missing_permission"));
        assert!(caller.need_permission(Permission::Send(Channel::Sms)).is_ok());
        assert_eq!(code(caller.need_permission(Permission::Send(Channel::Email))), "missing_permission");
        users::remove(&parts, &by, ada.user_id).await.unwrap();
        assert!(session(&parts, &ada.token).await.is_none(), "she belongs nowhere any more");
        assert_eq!(code(enter(&parts, "ada@example.com", GOOD, &here()).await), "sign_in_failed");
    }

    async fn nobody_gives_or_takes_more_than_they_have(db: TestDb) {
        let (_world, parts) = house(&db);
        let (acme, _) = tenant(&parts, "Acme").await;
        let owner = join(&parts, acme, "owner@example.com", "owner").await;
        let admin = join(&parts, acme, "admin@example.com", "admin").await;
        let (owner_caller, admin_caller) = (acting(&parts, &owner.token, acme).await, acting(&parts, &admin.token, acme).await);
        let invited = users::invite(&parts, &admin_caller, &Repeat::NONE, member_of("x@example.com", "owner")).await;
        assert_eq!(code(invited), "role_escalation");
        assert_eq!(code(users::patch(&parts, &admin_caller, admin.user_id, role("owner", &[])).await), "role_escalation");
        assert_eq!(code(users::patch(&parts, &admin_caller, owner.user_id, role("viewer", &[])).await), "role_escalation");
        assert_eq!(code(users::remove(&parts, &admin_caller, owner.user_id).await), "role_escalation");
        let all = engine::keys::NewApiKey { scopes: Some(vec!["*".to_owned()]), ..named("all") };
        assert_eq!(code(engine::keys::make(&parts, &admin_caller, all).await), "scope_escalation");
        // The last owner stays, also by their own hand.
        assert_eq!(code(users::remove(&parts, &owner_caller, owner.user_id).await), "last_owner");
        assert_eq!(code(users::patch(&parts, &owner_caller, owner.user_id, role("admin", &[])).await), "last_owner");
        users::patch(&parts, &owner_caller, admin.user_id, role("owner", &[])).await.unwrap();
        users::remove(&parts, &owner_caller, owner.user_id).await.unwrap();
        assert_eq!(users::list(&parts, &member(acme), None, None).await.unwrap().data.len(), 1);
    }

    async fn another_tenants_people_are_not_there(db: TestDb) {
        let (_world, parts) = house(&db);
        let (acme, _) = tenant(&parts, "Acme").await;
        let (other, _) = tenant(&parts, "Other").await;
        let ada = join(&parts, acme, "ada@example.com", "member").await;
        let by = member(other);
        assert_eq!(code(users::get(&parts, &by, ada.user_id).await), "not_found");
        assert_eq!(code(users::patch(&parts, &by, ada.user_id, role("viewer", &[])).await), "not_found");
        assert_eq!(code(users::remove(&parts, &by, ada.user_id).await), "not_found");
        assert_eq!(code(users::resend(&parts, &by, &Repeat::NONE, ada.user_id).await), "not_found");
        assert!(users::list(&parts, &by, None, None).await.unwrap().data.is_empty());
        // Nor is she among the operator's staff, nor the tenant for her.
        assert_eq!(code(users::get(&parts, &operator(), ada.user_id).await), "not_found");
        let me = session(&parts, &ada.token).await.unwrap();
        assert_eq!(code(sessions::caller(&parts, &me, Some(other)).await), "not_found");
        assert_eq!(code(sessions::caller(&parts, &me, None).await), "tenant_required");
        assert_eq!(me.acting_in(None).unwrap(), Some(acme));
        tenants::delete(&parts, &operator(), acme).await.unwrap();
        assert!(session(&parts, &ada.token).await.unwrap().memberships.is_empty());
    }

    async fn the_second_factor_takes_each_code_once(db: TestDb) {
        let (world, parts) = house(&db);
        let (acme, _) = tenant(&parts, "Acme").await;
        let first = join(&parts, acme, "ada@example.com", "member").await;
        let second = signed_in(enter(&parts, "ada@example.com", GOOD, &here()).await.unwrap());
        let me = session(&parts, &first.token).await.unwrap();
        assert_eq!(code(totp::enable(&parts, &me, &first.token, "000000", now(&parts)).await), "totp_not_begun");
        let setup = totp::begin(&parts, &me).await.unwrap();
        assert!(setup.url.starts_with("otpauth://totp/Tidings:ada") && setup.qr_svg.contains("<svg"), "{setup:?}");
        assert!(matches!(enter(&parts, "ada@example.com", GOOD, &here()).await.unwrap(), Outcome::SignedIn(_)), "not on yet");
        let given = app(&setup.secret, now(&parts));
        assert_eq!(pointers(totp::enable(&parts, &me, &first.token, "123", now(&parts)).await), ["/code"]);
        let (codes, fresh) = totp::enable(&parts, &me, &first.token, &given, now(&parts)).await.unwrap();
        assert_eq!(codes.len(), totp::RECOVERY_CODES);
        // What raises the worth of a session replaces its token at once and ends the others.
        assert!(session(&parts, &first.token).await.is_none() && session(&parts, &second.token).await.is_none());
        assert!(session(&parts, &fresh.token).await.is_some_and(|session| session.has_totp));

        let ticket = async || match enter(&parts, "ada@example.com", GOOD, &here()).await.unwrap() {
            Outcome::NeedsTotp { ticket } => ticket,
            Outcome::SignedIn(_) => panic!("no code was asked for"),
        };
        let confirm = async |ticket: &Secret, code: &str| sign_in::confirm(&parts, ticket, code, &here(), now(&parts)).await;
        let open = ticket().await;
        // The code it was turned on with was taken.
        assert_eq!(code(confirm(&open, &given).await), "code_not_valid");
        world.clock.advance_ms(30_000);
        let next = app(&setup.secret, now(&parts));
        confirm(&open, &next).await.unwrap();
        assert_eq!(code(confirm(&open, &next).await), "link_not_valid", "a ticket is good for one session");
        let again = ticket().await;
        assert_eq!(code(confirm(&again, &next).await), "code_not_valid", "replayed");
        assert_eq!(code(confirm(&again, &given).await), "code_not_valid", "older than the last");
        // A recovery code, in any writing, once.
        confirm(&again, &codes[0].to_lowercase().replace('-', " ")).await.unwrap();
        let third = ticket().await;
        assert_eq!(code(confirm(&third, &codes[0]).await), "code_not_valid");
        for _ in 0..4 {
            assert_eq!(code(confirm(&third, "000000").await), "code_not_valid");
        }
        assert_eq!(code(confirm(&third, &codes[1]).await), "link_not_valid", "five codes, then it begins anew");
        let late = ticket().await;
        world.clock.advance_ms(300_000);
        assert_eq!(code(confirm(&late, &codes[1]).await), "link_not_valid");

        let me = session(&parts, &fresh.token).await.unwrap();
        assert_eq!(users::me(&parts, &me).await.unwrap().recovery_codes, 9);
        assert_eq!(pointers(totp::disable(&parts, &me, "000000", now(&parts)).await), ["/code"]);
        totp::disable(&parts, &me, &codes[1], now(&parts)).await.unwrap();
        assert!(matches!(enter(&parts, "ada@example.com", GOOD, &here()).await.unwrap(), Outcome::SignedIn(_)));
    }

    async fn a_password_is_changed_by_who_knows_it(db: TestDb) {
        let (_world, parts) = house(&db);
        let (acme, _) = tenant(&parts, "Acme").await;
        let first = join(&parts, acme, "ada@example.com", "member").await;
        let second = signed_in(enter(&parts, "ada@example.com", GOOD, &here()).await.unwrap());
        let me = session(&parts, &first.token).await.unwrap();
        let change = async |current: &str, new: &str| {
            sign_in::change_password(&parts, &me, &first.token, &Secret::new(current), &Secret::new(new), &here(), now(&parts)).await
        };
        assert_eq!(pointers(change(OTHER, OTHER).await), ["/current_password"]);
        assert_eq!(pointers(change(GOOD, "password1234").await), ["/password"]);
        let fresh = change(GOOD, OTHER).await.unwrap();
        assert!(session(&parts, &first.token).await.is_none() && session(&parts, &second.token).await.is_none());
        assert!(session(&parts, &fresh.token).await.is_some());
        assert_eq!(code(enter(&parts, "ada@example.com", GOOD, &here()).await), "sign_in_failed");
        assert!(enter(&parts, "ada@example.com", OTHER, &here()).await.is_ok());
    }

    async fn a_reset_ends_every_session_and_works_once(db: TestDb) {
        let (world, parts) = house(&db);
        let (acme, _) = tenant(&parts, "Acme").await;
        let ada = join(&parts, acme, "ada@example.com", "member").await;
        assert_eq!(code(users::reset_link(&parts, &operator(), "nobody@example.com").await), "not_found");
        assert_eq!(code(users::reset_link(&parts, &member(acme), "ada@example.com").await), "operator_only");
        let token = async || users::reset_link(&parts, &operator(), "ada@example.com").await.unwrap().rsplit('/').next().unwrap().to_owned();
        let reset = async |token: &str, password: &str| sign_in::reset(&parts, token, &Secret::new(password), &here(), now(&parts)).await;
        let (old, late) = (token().await, token().await);
        assert_eq!(code(reset(&old, OTHER).await), "link_not_valid", "a newer one was made");
        world.clock.advance_ms(3_600_000);
        assert_eq!(code(reset(&late, OTHER).await), "link_not_valid", "an hour has passed");
        let good = token().await;
        assert_eq!(pointers(reset(&good, "ada@example.com").await), ["/password"]);
        reset(&good, OTHER).await.unwrap();
        assert_eq!(code(reset(&good, GOOD).await), "link_not_valid");
        assert!(session(&parts, &ada.token).await.is_none());
        assert!(enter(&parts, "ada@example.com", OTHER, &here()).await.is_ok());
    }

    async fn a_sign_in_link_works_once_and_leads_into_its_tenant(db: TestDb) {
        let (_world, parts) = house(&db);
        let (acme, _) = tenant(&parts, "Acme").await;
        let (_, _) = tenant(&parts, "Other").await;
        let made = users::make(&parts, &Caller::system(Some(acme)), member_of("ada@example.com", "owner")).await.unwrap();
        let link = sign_in::sign_in_link(&parts, made.view.id, Some(acme)).await.unwrap();
        let done = signed_in(sign_in::with_link(&parts, link.reveal(), &here(), now(&parts)).await.unwrap());
        assert_eq!(session(&parts, &done.token).await.unwrap().tenant, Some(acme));
        assert_eq!(code(sign_in::with_link(&parts, link.reveal(), &here(), now(&parts)).await), "link_not_valid");
        // A link of one kind opens no other door.
        let reset = users::reset_link(&parts, &operator(), "ada@example.com").await.unwrap();
        let reset = reset.rsplit('/').next().unwrap();
        assert_eq!(code(sign_in::with_link(&parts, reset, &here(), now(&parts)).await), "link_not_valid");
    }

    async fn the_log_names_who_did_it(db: TestDb) {
        let (_world, parts) = house(&db);
        let (acme, _) = tenant(&parts, "Acme").await;
        let ada = join(&parts, acme, "ada@example.com", "owner").await;
        let caller = acting(&parts, &ada.token, acme).await;
        let (id, _) = invite(&parts, &caller, member_of("grace@example.com", "viewer")).await;
        users::patch(&parts, &caller, id, role("member", &["campaigns"])).await.unwrap();
        assert_eq!(
            actions(&parts, &caller).await,
            ["user.role_changed usr", "user.invited usr", "user.signed_in usr", "user.joined usr", "user.invited system", "api_key.created system", "tenant.created system"]
        );
        let entry = engine::audit::list(&parts, &caller, Some(1), None).await.unwrap().data.remove(0);
        assert_eq!((entry.actor, entry.subject), (ada.user_id.to_string(), id.to_string()));
        assert_eq!(entry.detail, json!({"role": {"from": "viewer", "to": "member"}, "permissions": {"from": [], "to": ["campaigns"]}}));
        assert_eq!(entry.ip.as_deref(), Some("192.0.2.1"));
    }

    async fn staff_enters_tenants_as_far_as_its_role_goes(db: TestDb) {
        let (_world, parts) = house(&db);
        let (acme, _) = tenant(&parts, "Acme").await;
        let mut tokens = Vec::new();
        for role in ["support", "sales"] {
            let made = users::make(&parts, &operator(), member_of(&format!("{role}@tidings.example"), role)).await.unwrap();
            let password = made.password.unwrap();
            tokens.push(signed_in(enter(&parts, &made.view.email, password.reveal(), &here()).await.unwrap()).token);
        }
        let support = acting(&parts, &tokens[0], acme).await;
        assert!(support.is_operator && support.need("messages:read").is_ok() && support.need("messages:write").is_err());
        assert!(support.need_operator("tenants:read").is_ok() && support.need_operator("tenants:write").is_err());
        let sales = session(&parts, &tokens[1]).await.unwrap();
        assert_eq!(code(sessions::caller(&parts, &sales, Some(acme)).await), "not_found");
        assert!(sessions::caller(&parts, &sales, None).await.unwrap().need_operator("tenants:read").is_err());
        // Entering is in the tenant's log.
        let me = session(&parts, &tokens[0]).await.unwrap();
        sessions::look_at(&parts, &me, Some(acme)).await.unwrap();
        assert_eq!(actions(&parts, &member(acme)).await[0], "tenant.entered usr");
        assert_eq!(session(&parts, &tokens[0]).await.unwrap().tenant, Some(acme));
        // The last administrator of the installation stays.
        let admin = users::make(&parts, &operator(), member_of("admin@tidings.example", "admin")).await.unwrap().view.id;
        assert_eq!(code(users::remove(&parts, &operator(), admin).await), "last_administrator");
    }

    async fn letters_leave_through_tidings_and_nobody_else_reads_them(db: TestDb) {
        let world = World::answering(&db, |_| testkit::http_answer(200, r#"{"id": "49a3999c"}"#));
        let parts = engine_in(&world);
        let (acme, _) = tenant(&parts, "Acme {{ 7 }}").await;
        let by = member(acme);
        let account = body(json!({"name": "Mail", "connector": "resend", "settings": {"api_key": "re_0123456789"}, "from": "Acme <hello@acme.example>"}));
        engine::accounts::create(&parts, &by, &Repeat::NONE, account).await.unwrap();
        let reply = json(&users::invite(&parts, &by, &Repeat::NONE, member_of("ada@example.com", "member")).await.unwrap());
        assert_eq!((&reply["link"], &reply["is_sent"]), (&Value::Null, &json!(true)));
        while engine::dispatch::step(&parts).await.unwrap() > 0 {}
        let sent = world.transport.calls().into_iter().rev().find_map(|call| match call.as_ref() {
            model::Call::Http(http) => Some(String::from_utf8(http.body.to_vec()).unwrap()),
            _ => None,
        });
        let sent: Value = serde_json::from_str(&sent.unwrap()).unwrap();
        assert_eq!((&sent["to"], &sent["subject"]), (&json!(["ada@example.com"]), &json!("You are invited to Acme {{ 7 }}")));
        let text = sent["text"].as_str().unwrap();
        let token = text.split("/invitation/").nth(1).unwrap().split_whitespace().next().unwrap();
        assert!(sign_in::invitation(&parts, token, now(&parts)).await.is_ok());
        // Whoever may read the log of messages finds everything but the link.
        let kept = [column(&db, "SELECT exchange FROM attempts").await, column(&db, "SELECT body FROM contents").await, column(&db, "SELECT data FROM events").await];
        assert!(kept[0].contains("api.resend.com") && kept.iter().all(|text| !text.contains(token)), "{kept:?}");

        // A reset of somebody who belongs to one tenant alone leaves through that one; of a stranger nothing does, and both are answered alike.
        let ada = sign_in::accept_invitation(&parts, token, None, &Secret::new(GOOD), &here(), now(&parts)).await.unwrap();
        let before = world.transport.calls().len();
        for email in ["nobody@example.com", "ada@example.com"] {
            engine::access::mail::request_reset(&parts, email, &here(), now(&parts)).await.unwrap().await.unwrap();
        }
        while engine::dispatch::step(&parts).await.unwrap() > 0 {}
        assert_eq!(world.transport.calls().len(), before + 1);
        // Of somebody who belongs to two, neither tenant may read the link.
        let (other, _) = tenant(&parts, "Other").await;
        let me = session(&parts, &signed_in(ada).token).await.unwrap();
        let (_, link) = invite(&parts, &member(other), member_of("ada@example.com", "viewer")).await;
        sign_in::accept_in_session(&parts, &me, &link, now(&parts)).await.unwrap();
        engine::access::mail::request_reset(&parts, "ada@example.com", &here(), now(&parts)).await.unwrap().await.unwrap();
        while engine::dispatch::step(&parts).await.unwrap() > 0 {}
        assert_eq!(world.transport.calls().len(), before + 1);
    }

    async fn an_invitation_repeated_is_the_same_and_a_new_one_replaces_it(db: TestDb) {
        let (_world, parts) = house(&db);
        let (acme, _) = tenant(&parts, "Acme").await;
        let by = member(acme);
        let again = repeat("k1", "{}");
        let one = users::invite(&parts, &by, &again, member_of("ada@example.com", "member")).await.unwrap();
        let two = users::invite(&parts, &by, &again, member_of("ada@example.com", "member")).await.unwrap();
        assert_eq!((&one.body, two.replayed), (&two.body, true));
        assert_eq!(code(users::invite(&parts, &by, &Repeat::NONE, member_of("ada@example.com", "admin")).await), "already_a_member");
        let id: UserId = json(&one)["id"].as_str().unwrap().parse().unwrap();
        let fresh = json(&users::resend(&parts, &by, &Repeat::NONE, id).await.unwrap());
        let token = |view: &Value| view["link"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
        assert_eq!(code(sign_in::invitation(&parts, &token(&json(&one)), now(&parts)).await), "link_not_valid");
        assert!(sign_in::invitation(&parts, &token(&fresh), now(&parts)).await.is_ok());
        for (new, pointer) in [
            (member_of("no address", "member"), "/email"),
            (member_of("x@example.com", "emperor"), "/role"),
            (NewMember { permissions: Some(vec!["fly".to_owned()]), ..member_of("x@example.com", "member") }, "/permissions/0"),
            (NewMember { name: Some("\n\n".to_owned()), ..member_of("x@example.com", "member") }, "/name"),
        ] {
            assert_eq!(pointers(users::invite(&parts, &by, &Repeat::NONE, new).await), [pointer]);
        }
    }
}

/// A node with everything, also the path of messages.
fn house(db: &TestDb) -> (World, Arc<Engine>) {
    let world = World::new(db);
    let engine = engine_in(&world);
    (world, engine)
}

fn engine_in(world: &World) -> Arc<Engine> {
    let masters = engine::vault::MasterKeys::parse(MASTER).unwrap();
    Engine::new(world.ports.clone(), parts(world).config.as_ref().clone(), masters)
}

testkit::both! {
    async fn failed_sign_ins_stand_in_the_log_and_do_not_fill_it(db: TestDb) {
        let (world, parts) = house(&db);
        let (acme, _) = tenant(&parts, "Acme").await;
        join(&parts, acme, "ada@example.com", "member").await;
        let failures = || async {
            let query = body(json!({"action": "user.sign_in_failed"}));
            let page = engine::audit::search(&parts, &Caller::system(Some(acme)), &query).await.unwrap();
            page.data.into_iter().map(|entry| entry.detail["failures_in_a_row"].as_i64().unwrap()).collect::<Vec<_>>()
        };
        for _ in 0..20 {
            while let Err(error) = enter(&parts, "ada@example.com", OTHER, &from("203.0.113.7")).await {
                match error.retry_after_ms {
                    Some(wait_ms) => world.clock.advance_ms(wait_ms),
                    None => break,
                }
            }
        }
        assert_eq!(failures().await, [16, 8, 4, 2, 1]);
        // What nobody has is in no log.
        enter(&parts, "nobody@example.com", OTHER, &from("203.0.113.8")).await.unwrap_err();
        assert_eq!(failures().await.len(), 5);
    }
}
