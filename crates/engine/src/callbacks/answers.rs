//! Which of our messages somebody answered: what they wrote says it by our own address or id, or by the provider's id.

use std::collections::{HashMap, HashSet};

use model::{AccountId, MessageId, TenantId};
use store::{Tx, fallbacks, messages};

use crate::{Error, inbound::Arrived};

/// Writes down what each of these answers, as far as it can be known. Costs nothing for those that answer nothing.
pub(super) async fn find(tx: &mut Tx, arrived: &mut [Arrived]) -> Result<(), Error> {
    let mut named: HashSet<(TenantId, MessageId)> = HashSet::new();
    let mut wanted: HashSet<(AccountId, String)> = HashSet::new();
    for one in arrived.iter() {
        named.extend(one.clues().filter_map(|clue| Some((one.row.tenant_id, clue.message?))));
        wanted.extend(one.clues().flat_map(|clue| clue.provider_ids).map(|id| (one.row.account_id, id)));
    }
    if named.is_empty() && wanted.is_empty() {
        return Ok(());
    }
    let named: Vec<_> = named.into_iter().collect();
    let ours: HashSet<(TenantId, MessageId)> =
        messages::find_many(tx, &named).await?.into_iter().map(|m| (m.tenant_id, m.id)).collect();
    let wanted: Vec<_> = wanted.into_iter().collect();
    let mut known: HashMap<(AccountId, String), (TenantId, MessageId)> = HashMap::new();
    // A message that moved on to another channel had an id there, too; what it has now counts for more.
    let former = fallbacks::find_by_provider_ids(tx, &wanted).await?;
    for (account, id, tenant, message) in former.into_iter().chain(messages::find_by_provider_ids(tx, &wanted).await?) {
        known.insert((account, id), (tenant, message));
    }
    for one in arrived {
        let (tenant, account) = (one.row.tenant_id, one.row.account_id);
        let of_tenant = |id: MessageId| ours.contains(&(tenant, id)).then_some(id);
        let by_provider = |id: String| known.get(&(account, id)).filter(|(of, _)| *of == tenant).map(|(_, id)| *id);
        let answered = one.clues().find_map(|clue| {
            clue.message.and_then(of_tenant).or_else(|| clue.provider_ids.into_iter().find_map(by_provider))
        });
        one.body.in_reply_to_message_id = answered;
    }
    Ok(())
}
