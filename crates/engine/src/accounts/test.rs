//! Trying an account out: the connector's own questions to the provider, whose answers say whether credentials and sender are in order.

use std::sync::Arc;

use connectors::{Check, Cx, Probe};
use futures_util::future::join_all;
use model::{AccountId, Answer, Broken, Call};
use serde::Serialize;
use utoipa::ToSchema;

use super::changes;
use crate::{
    Error, Parts, audit,
    directory::Account,
    keys::Caller,
    once::{self, Repeat, Reply, Secrecy, once},
};

/// Requests one test makes at most; a connector needs two or three.
const PROBES_MAX: usize = 8;

/// One line of a test.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct TestCheck {
    /// What was checked.
    #[schema(example = "Credentials")]
    pub name: String,
    /// Whether it is in order.
    pub ok: bool,
    /// What was found; when it is not in order, what to do.
    pub detail: String,
}

/// What a test found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct AccountTest {
    /// True when every check is in order.
    pub ok: bool,
    /// Each check.
    pub checks: Vec<TestCheck>,
}

/// Tests an account, also one that is disabled. When everything is in order, a pause ends. Needs the scope `accounts:write`.
#[crate::boxed]
pub async fn test(parts: &Parts, caller: &Caller, repeat: &Repeat, id: AccountId) -> Result<Reply, Error> {
    caller.need("accounts:write")?;
    let tenant = caller.need_tenant()?;
    if let Some(before) = once::replay(parts, caller, repeat).await? {
        return Ok(before);
    }
    let account = parts.directory.account(tenant, id).await?;
    let account = account
        .filter(|account| account.connector.spec().id != "webhook")
        .ok_or_else(|| Error::not_found("account"))?;
    changes::may_manage(caller, &account.channels)?;
    let found = run(parts, &account).await;
    let now = parts.ports.clock.now();
    let (ids, by) = (Arc::clone(&parts.ports.ids), caller.clone());
    once(parts, caller, repeat, 200, Secrecy::Plain, move |tx| {
        Box::pin(async move {
            let is_resumed = found.ok && changes::end_pause(tx, tenant, id).await?;
            let detail = serde_json::json!({"ok": found.ok, "resumed": is_resumed});
            audit::record(tx, tenant, &ids, now, &by, "account.tested", id, &detail).await?;
            Ok(found)
        })
    })
    .await
}

/// Asks the provider. Holds no transaction: this waits for somebody else's machines.
async fn run(parts: &Parts, account: &Account) -> AccountTest {
    let checks = match &account.trouble {
        Some(trouble) => vec![Check::failed("Settings", trouble)],
        None => ask(parts, account).await,
    };
    let checks: Vec<_> =
        checks.into_iter().map(|check| TestCheck { name: check.name, ok: check.ok, detail: check.detail }).collect();
    AccountTest { ok: !checks.is_empty() && checks.iter().all(|check| check.ok), checks }
}

async fn ask(parts: &Parts, account: &Account) -> Vec<Check> {
    let mut nonce = [0; 16];
    parts.ports.ids.fill(&mut nonce);
    let (base_url, nonce) = (parts.config.base_url(account), u128::from_be_bytes(nonce));
    let cx = Cx { base_url, nonce, ..account.cx(parts.ports.clock.now()) };
    let probes = match account.connector.test(&cx) {
        Ok(probes) => probes,
        Err(failure) => return vec![Check::failed("Settings", failure.detail)],
    };
    let answers = join_all(probes.iter().take(PROBES_MAX).map(|probe| exchange(parts, probe.call.clone()))).await;
    probes
        .iter()
        .zip(answers)
        .flat_map(|(probe, answer)| match answer {
            Ok(answer) => account.connector.tested(&cx, probe, &answer),
            Err(broken) => vec![no_answer(probe, &broken)],
        })
        .collect()
}

async fn exchange(parts: &Parts, call: Call) -> Result<Answer, Broken> {
    if matches!(call, Call::Local) { Ok(Answer::Local) } else { parts.ports.transport.exchange(Arc::new(call)).await }
}

fn no_answer(probe: &Probe, broken: &Broken) -> Check {
    let remedy = match broken.code {
        "refused_address" => "The operator can allow this host.",
        "dns" => "Check the host name in the settings.",
        "tls" => "Check the host name, the port and the connection's protection in the settings.",
        "bad_url" => "Check the address in the settings.",
        "connect_refused" => "Check host and port in the settings, and whether the provider is reachable from here.",
        _ => "Try again; if it stays, check whether the provider is reachable from here.",
    };
    Check::failed(probe.name, format!("No answer: {} ({}). {remedy}", broken.detail, broken.code))
}
