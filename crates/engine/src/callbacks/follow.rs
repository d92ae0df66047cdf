//! Calls a provider's request asks for: confirming a subscription, answering a button. Made once the request is stored and answered; best effort, with the outcome in the log.

use std::sync::Arc;

use model::{AccountId, Answer, Broken, Call, CallbackId, TenantId};
use store::{Scope, callback_log};

use crate::{Engine, Ports, directory::Account};

/// Longest piece of an answer kept, in characters.
const WORDS_MAX: usize = 200;

impl Engine {
    /// Makes the calls in the background, as far as there is room for them.
    pub(super) fn follow(&self, account: &Arc<Account>, id: CallbackId, calls: Vec<Call>) {
        for call in calls {
            let (ports, account) = (self.ports.clone(), Arc::clone(account));
            let Ok(seat) = Arc::clone(&self.callbacks.follows).try_acquire_owned() else {
                tracing::warn!(account.id = %account.id, "A call that a callback asked for was left out: too many are under way");
                continue;
            };
            tokio::spawn(async move {
                let result = ports.transport.exchange(Arc::new(call)).await;
                let detail = account.secrets().hidden(outcome(&result));
                tracing::info!(account.id = %account.id, connector = account.connector.spec().id, "Made a call that a callback asked for");
                note(&ports, account.tenant_id, account.id, id, detail).await;
                drop(seat);
            });
        }
    }
}

fn outcome(result: &Result<Answer, Broken>) -> String {
    match result {
        Ok(Answer::Http(answer)) => {
            let words: String = answer.text().chars().take(WORDS_MAX).collect();
            format!("The call it asked for was answered {}: {words}", answer.status)
        }
        Ok(_) => "The call it asked for was made.".to_owned(),
        Err(broken) => format!("The call it asked for failed: {broken}"),
    }
}

async fn note(ports: &Ports, tenant: TenantId, account: AccountId, id: CallbackId, detail: String) {
    let write = ports.db.write(Scope::Tenant(tenant), move |tx| {
        Box::pin(async move { callback_log::set_detail(tx, tenant, id, &detail).await })
    });
    if let Err(error) = write.await {
        tracing::warn!(%error, account.id = %account, "Cannot write down what came of a call");
    }
}
