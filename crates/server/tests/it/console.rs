//! The console in a real browser: Debian's Chromium, driven by the stories in `tests/browser/console.mjs`.

use std::{env, path::Path, process::Command};

use serde_json::json;

use crate::{
    binary::Installation,
    openid::{CLIENT_ID, CLIENT_SECRET, Provider},
};

/// Where what drives the browser is installed; `cargo xtask test` says it.
const VARIABLE: &str = "TIDINGS_TEST_BROWSER_DIR";

/// # Panics
/// Without a browser, so that the test is not left out silently.
#[test]
fn people_do_their_main_jobs_in_a_browser() {
    assert!(
        env::var_os(VARIABLE).is_some(),
        "{VARIABLE} is not set: run the tests with `cargo xtask test`, which installs Chromium and what drives it"
    );
    let provider = Provider::start();
    let installation = Installation::new()
        .with("TIDINGS_OIDC__ISSUER", provider.issuer())
        .with("TIDINGS_OIDC__CLIENT_ID", CLIENT_ID)
        .with("TIDINGS_OIDC__CLIENT_SECRET", CLIENT_SECRET);
    let server = installation.serve(&["serve"]);
    let tenant = installation.run(&["tenant", "create", "Acme Tickets", "--json"]).json();
    let id = tenant["tenant"]["id"].as_str().expect("a tenant has an id");
    // Whom the provider says is signing in.
    installation.run(&["user", "create", "--email", "ada@example.com", "--tenant", id, "--json"]);
    let told =
        json!({"url": server.url(), "person": server.announced["operator_sign_in"], "tenant": tenant["tenant"]["id"]});
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser/console.mjs");
    let told = Command::new("node").arg(script).arg(told.to_string()).output().expect("node runs");
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(told.status.success(), "{}\n{}", said(&told.stdout), said(&told.stderr));
}
