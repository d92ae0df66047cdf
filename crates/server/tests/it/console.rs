//! The console in a real browser: Debian's Chromium, driven by the scripts in `tests/browser`.

use std::{env, path::Path, process::Command};

use serde_json::{Value, json};

use crate::{
    binary::Installation,
    openid::{CLIENT_ID, CLIENT_SECRET, Provider},
};

/// Where what drives the browser is installed; `cargo xtask test` says it.
const VARIABLE: &str = "TIDINGS_TEST_BROWSER_DIR";

/// Plays a script with what it is told.
///
/// # Panics
/// Without a browser, so that the tests are not left out silently, and when a story ends badly.
fn play(script: &str, told: &Value) {
    assert!(
        env::var_os(VARIABLE).is_some(),
        "{VARIABLE} is not set: run the tests with `cargo xtask test`, which installs Chromium and what drives it"
    );
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser").join(script);
    let done = Command::new("node").arg(script).arg(told.to_string()).output().expect("node runs");
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(done.status.success(), "{}\n{}", said(&done.stdout), said(&done.stderr));
}

/// Plays a script on an installation with a tenant that has nothing yet.
fn play_on(installation: &Installation, script: &str) {
    let server = installation.serve(&["serve"]);
    let tenant = installation.run(&["tenant", "create", "Acme Tickets", "--json"]).json();
    let id = tenant["tenant"]["id"].as_str().expect("a tenant has an id");
    // Whom the provider says is signing in.
    installation.run(&["user", "create", "--email", "ada@example.com", "--tenant", id, "--json"]);
    play(script, &json!({"url": server.url(), "person": server.announced["operator_sign_in"], "tenant": id}));
}

#[test]
fn credit_is_bought_in_a_browser() {
    let home = Installation::new();
    let simulator = home.serve(&["provider-sim", "--listen", "127.0.0.1:0", "--smtp-listen", "127.0.0.1:0"]);
    let stripe = format!("{}/stripe", simulator.url());
    let installation = Installation::new().with("TIDINGS_CONNECTORS__STRIPE__BASE_URL", &stripe);
    let server = installation.serve(&["serve"]);
    let tenant = installation.run(&["tenant", "create", "Acme Tickets", "--json"]).json();
    let person = &server.announced["operator_sign_in"];
    let told =
        json!({"url": server.url(), "person": person, "tenant": tenant["tenant"]["id"], "simulator": simulator.url()});
    play("purchases.mjs", &told);
}

/// Goes to every page of a demo in one look.
fn walk(look: &str) {
    let installation = Installation::new();
    let server = installation.serve(&["demo"]);
    let announced = &server.announced;
    let told = json!({"url": server.url(), "person": announced["operator_sign_in"], "tenant": announced["demo"]["tenant_id"], "look": look});
    play("walk.mjs", &told);
}

#[test]
fn people_do_their_main_jobs_in_a_browser() {
    play_on(&Installation::new(), "console.mjs");
}

#[test]
fn people_come_in_read_and_pay_in_a_browser() {
    let provider = Provider::start();
    let installation = Installation::new()
        .with("TIDINGS_OIDC__ISSUER", provider.issuer())
        .with("TIDINGS_OIDC__CLIENT_ID", CLIENT_ID)
        .with("TIDINGS_OIDC__CLIENT_SECRET", CLIENT_SECRET);
    play_on(&installation, "visitors.mjs");
}

#[test]
fn every_page_is_light_and_can_be_used_by_everybody() {
    walk("light");
}

#[test]
fn every_page_can_be_used_by_everybody_in_the_dark() {
    walk("dark");
}

#[test]
fn every_page_fits_a_small_phone() {
    walk("narrow");
}
