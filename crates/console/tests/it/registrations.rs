//! A business registered with American carriers by a person, and the operator's pool of numbers.

use serde_json::json;
use testkit::{Stage, both};

use crate::{
    billing::operator,
    pages::{HOSTILE, in_order},
    visitor::Visitor,
};

pub const PATH: &str = "/console/registration";
pub const TOLL_FREE: &str = "/console/registration/toll-free";
pub const PROFILE: &str = "/console/registration/profile";

/// Everything carriers ask, as the form sends it.
pub const WHOLE: &[(&str, &str)] = &[
    ("legal_name", "Acme Events LLC"),
    ("business_type", "llc"),
    ("ein", "123456789"),
    ("industry", "hospitality"),
    ("website", "https://acme.example"),
    ("address/street", "1 High Street"),
    ("address/city", "Springfield"),
    ("address/region", "IL"),
    ("address/postal_code", "62701"),
    ("owner/first_name", "Ada"),
    ("owner/last_name", "Byron"),
    ("owner/title", "Founder"),
    ("owner/position", "ceo"),
    ("owner/email", "ada@acme.example"),
    ("owner/phone", "+14155550123"),
    ("contact_email", "compliance@acme.example"),
    ("monthly_volume", "5,000"),
    ("use_case/category", "marketing"),
    ("use_case/description", "News about the events of a venue, to people who asked for them."),
    ("use_case/opt_in_flow", "Whoever buys a ticket on our website can tick a box that is empty at first."),
    ("use_case/samples/0", "Acme Tickets: the doors open at 7 pm. Reply STOP to stop."),
    ("use_case/samples/3", "Acme Tickets: new dates in May. Reply STOP to stop."),
    ("use_case/privacy_policy_url", "https://acme.example/privacy"),
    ("use_case/terms_url", "https://acme.example/sms-terms"),
    ("compliance/has_opt_in", "true"),
    ("compliance/numbers_not_shared", "true"),
    ("compliance/no_forbidden_content", "true"),
];

/// The form with other values for some fields.
fn but(changes: &[(&'static str, &'static str)]) -> Vec<(&'static str, &'static str)> {
    let kept = WHOLE.iter().copied().filter(|(name, _)| changes.iter().all(|(other, _)| other != name));
    kept.chain(changes.iter().copied()).collect()
}

both! {
    async fn a_business_is_told_registered_rejected_mended_and_approved(db: TestDb) {
        let stage = Stage::new(&db).await;
        let account = stage.account("sandbox", json!({}), None).await.to_string();
        let visitor = Visitor::new(&stage).await;
        let page = visitor.get(PATH).await;
        in_order(PATH, &page);
        assert!(page.text.contains("Not begun") && !page.text.contains("Register an account"), "{}", page.text);
        in_order(PROFILE, &visitor.get(PROFILE).await);
        assert_eq!(visitor.post(PATH, &[("account_id", &account)]).await.location(), PROFILE, "first the business");

        let wrong = visitor.post(PROFILE, &but(&[("ein", "12"), ("monthly_volume", "many")])).await;
        assert!(wrong.status == 422 && wrong.text.contains("f-monthly_volume-error"), "{}", wrong.text);
        let wrong = visitor.post(PROFILE, &but(&[("ein", "12"), ("use_case/samples/3", "hi"), ("legal_name", HOSTILE)])).await;
        in_order_again(&wrong);
        assert!(wrong.text.contains("f-ein-error") && wrong.text.contains("f-use_case-samples-1-error"), "the second sample is the second field: {}", wrong.text);
        let half = visitor.post(PROFILE, &but(&[("website", ""), ("use_case/samples/3", "")])).await;
        assert_eq!(half.location(), PROFILE);
        let page = visitor.get(PROFILE).await;
        in_order(PROFILE, &page);
        assert!(page.text.contains("Still needed") && page.text.contains("href=\"/console/registration/profile#f-website\"") && page.text.contains("value=\"12-3456789\""), "{}", page.text);

        assert_eq!(visitor.post(PROFILE, &but(&[("legal_name", "Rejected Events LLC")])).await.location(), PATH);
        let page = visitor.get(PATH).await;
        in_order(PATH, &page);
        assert!(page.text.contains("Complete") && page.text.contains("Register an account"), "{}", page.text);
        assert_eq!(visitor.post(PATH, &[("account_id", &account), ("area_code", "7")]).await.location(), PATH, "told there");
        let begun = visitor.post(PATH, &[("account_id", &account), ("area_code", "628")]).await;
        let path = begun.location().to_owned();
        let page = visitor.get(&path).await;
        in_order(&path, &page);
        assert!(page.text.contains("Under way") && page.text.contains("Use case checked"), "{}", page.text);
        assert!(visitor.get("/console/channels").await.text.contains("Pending verification"));
        assert!(visitor.get(&format!("/console/channels/{account}")).await.text.contains(&path));
        let pass = async || {
            for _ in 0..20 {
                stage.pass(2_000).await;
                engine::registrations::run(&stage.engine).await.unwrap();
            }
        };
        pass().await;
        let page = visitor.get(&path).await;
        in_order(&path, &page);
        assert!(page.text.contains("It was rejected") && page.text.contains("href=\"/console/registration/profile#f-legal_name\">Registered name</a>"), "{}", page.text);
        assert!(visitor.get("/console/channels").await.text.contains("Registration rejected"));
        visitor.post(PROFILE, WHOLE).await;
        assert_eq!(visitor.post(&format!("{path}/submit"), &[]).await.location(), path);
        pass().await;
        let page = visitor.get(&path).await;
        in_order(&path, &page);
        assert!(page.text.contains(">Approved<") && page.text.contains("+162855501") && !page.text.contains("Delete"), "{}", page.text);
        assert!(!visitor.get("/console/channels").await.text.contains("Pending verification"));

        let viewer = Visitor::with_role(&stage, "viewer").await;
        assert!(viewer.get(PROFILE).await.text.contains("<fieldset class=\"stack\" disabled>"));
        for to in [PATH.to_owned(), PROFILE.to_owned(), format!("{path}/submit"), format!("{path}/delete")] {
            assert_eq!(viewer.post(&to, &[("account_id", &account)]).await.status, 403, "{to}");
        }
        assert_eq!(visitor.get(&format!("{PATH}/reg_01K9ZC8Q6T7Y2V5B3N4M1XWRSD")).await.status, 404);
    }

    async fn a_toll_free_number_is_verified(db: TestDb) {
        let stage = Stage::new(&db).await;
        let account = stage.account("sandbox", json!({}), None).await.to_string();
        let visitor = Visitor::new(&stage).await;
        assert!(!visitor.get(PATH).await.text.contains("Verify a number"), "first the business");
        visitor.post(PROFILE, WHOLE).await;
        assert!(visitor.get(PATH).await.text.contains("Verify a number"));
        in_order("new", &visitor.get(&format!("{TOLL_FREE}/new")).await);
        let asked = [("account_id", account.as_str()), ("number", "+18005550100"), ("opt_in_type", "paper_form"), ("opt_in_image_urls", "https://acme.example/1.png\nhttps://acme.example/2.png"), ("additional_information", HOSTILE)];
        let but = |name: &'static str, value: &'static str| asked.iter().copied().filter(|(known, _)| *known != name).chain([(name, value)]).collect::<Vec<_>>();
        for (name, value, said) in [("number", "800", "f-number-error"), ("number", "+14155550100", "f-number-error"), ("opt_in_type", "shouting", "f-opt_in_type-error"), ("account_id", "x", "f-account_id-error"), ("opt_in_image_urls", "", "f-opt_in_image_urls-error"), ("opt_in_image_urls", "ours", "anybody can open")] {
            let wrong = visitor.post(TOLL_FREE, &but(name, value)).await;
            assert!(wrong.status == 422 && wrong.text.contains(said), "{name}={value}: {}", wrong.text);
            in_order_again(&wrong);
        }
        let begun = visitor.post(TOLL_FREE, &asked).await;
        let path = begun.location().to_owned();
        assert!(path.starts_with(TOLL_FREE), "{}", begun.text);
        let page = visitor.get(&path).await;
        in_order(&path, &page);
        assert!(page.text.contains("Number checked") && page.text.contains("On paper") && !page.text.contains("Brand checked"), "{}", page.text);
        assert_eq!(visitor.post(TOLL_FREE, &asked).await.status, 422, "one verification each");
        for _ in 0..20 {
            stage.pass(2_000).await;
            engine::registrations::run(&stage.engine).await.unwrap();
        }
        let page = visitor.get(&path).await;
        in_order(&path, &page);
        assert!(page.text.contains(">Approved<"), "{}", page.text);
        let list = visitor.get(PATH).await;
        in_order(PATH, &list);
        assert!(list.text.contains("+18005550100") && list.text.contains(&path), "{}", list.text);
        let viewer = Visitor::with_role(&stage, "viewer").await;
        for to in [TOLL_FREE.to_owned(), format!("{path}/submit"), format!("{path}/delete")] {
            assert_eq!(viewer.post(&to, &asked).await.status, 403, "{to}");
        }
        assert_eq!(visitor.post(&format!("{path}/nonsense"), &[]).await.status, 404);
        assert_eq!(visitor.post(&format!("{path}/delete"), &[]).await.location(), PATH);
        assert_eq!(visitor.get(&path).await.status, 404);
    }

    async fn the_pool_of_numbers_is_kept_by_the_operator(db: TestDb) {
        let mut stage = Stage::new(&db).await;
        let owner = Visitor::new(&stage).await;
        let visitor = operator(&mut stage).await;
        let path = "/console/operator/numbers";
        let empty = visitor.get(path).await;
        in_order(path, &empty);
        assert!(empty.text.contains("The pool is empty"));
        in_order("stuck", &visitor.get("/console/operator/registrations").await);
        in_order("new", &visitor.get(&format!("{path}/new")).await);
        let number = [("number", "+14155550100"), ("connector", "twilio"), ("provider_account", "AC00000000000000000000000000000001"), ("reference", "PN1")];
        let but = |name: &'static str, value: &'static str| number.iter().copied().map(|(known, kept)| (known, if known == name { value } else { kept })).collect::<Vec<_>>();
        for (name, value) in [("number", "415"), ("number", "+18005550100"), ("provider_account", "two words"), ("connector", "smtp")] {
            let wrong = visitor.post(path, &but(name, value)).await;
            assert!(wrong.status == 422 && wrong.text.contains(&format!("f-{name}-error")), "{name}={value}: {}", wrong.text);
        }
        let made = visitor.post(path, &number).await;
        assert_eq!(made.status, 303, "{}", made.text);
        assert!(visitor.post(path, &number).await.text.contains("in the pool already"));
        let one = made.location().to_owned();
        in_order(&one, &visitor.get(&one).await);
        assert_eq!(visitor.post(&one, &[("state", "nonsense")]).await.status, 422);
        assert_eq!(visitor.post(&one, &[("state", "allocated")]).await.status, 422, "only a registration gives it to a tenant");
        assert_eq!(visitor.post(&one, &[("state", "retired"), ("detail", HOSTILE)]).await.location(), one);
        for path in [path.to_owned(), format!("{path}?state=retired"), one.clone()] {
            let page = visitor.get(&path).await;
            in_order(&path, &page);
            assert!(page.text.contains("Retired") && page.text.contains("+14155550100"), "{path}: {}", page.text);
        }
        assert!(visitor.get(&format!("{path}?state=free")).await.text.contains("No number is in this state"));
        for path in [path, "/console/operator/registrations", &format!("{path}/new"), &one] {
            assert_eq!(owner.get(path).await.status, 403, "{path}");
        }
        let (release, remove) = (format!("{one}/release"), format!("{one}/remove"));
        for path in [path, &one, &release, &remove] {
            assert_eq!(owner.post(path, &number).await.status, 403, "{path}");
        }
        assert_eq!(visitor.post(&format!("{one}/nonsense"), &[]).await.status, 404);
        assert_eq!(visitor.post(&release, &[]).await.location(), one, "no account here belongs to who holds it");
        assert!(visitor.get(&one).await.text.contains("Give back"), "it is still there");
        assert_eq!(visitor.post(&remove, &[]).await.location(), path);
        assert!(visitor.get(path).await.text.contains("The pool is empty"));
    }
}

/// A page that came back to be put right is in order, too.
#[track_caller]
fn in_order_again(page: &crate::visitor::Shown) {
    assert_eq!(page.status, 422, "{}", page.text);
    let shown =
        crate::visitor::Shown { status: http::StatusCode::OK, headers: page.headers.clone(), text: page.text.clone() };
    in_order("again", &shown);
}
