//! What was sent in the first minutes of a plan. Sums by the half hour hold it together with what was sent before there was the plan, so its messages are counted one by one: when the month is
//! closed, and then only once more was sent of what those sums hold.

use model::{Channel, TenantId, Timestamp};
use serde::{Deserialize, Serialize};
use store::{Tx, message_counters};

use super::{
    closing::{sent, sums},
    compose::Sent,
};
use crate::analytics::count_first;

/// What was counted of a plan's first minutes, as it is kept with the bill of its month.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FirstMinutes {
    /// What was sent of all that the sums hold in which the plan begins, by channel and country.
    of_sums: Vec<(Channel, String, i64)>,
    /// What of that was accepted from the plan's instant on.
    pub(super) sent: Vec<(Channel, String, i64)>,
}

impl FirstMinutes {
    /// Counts them from a plan's instant on. What was `kept` holds as long as the sums are what they were: a message that was sent stays so, and where it was.
    pub(super) async fn count(
        tx: &mut Tx,
        tenant: TenantId,
        from: Timestamp,
        kept: Option<&Self>,
    ) -> Result<Self, store::Error> {
        let of_sums = listed(sums(tx, tenant, message_counters::slot(from), from).await?);
        if let Some(kept) = kept.filter(|kept| kept.of_sums == of_sums) {
            return Ok(kept.clone());
        }
        let first = match of_sums.is_empty() {
            true => Sent::new(),
            false => {
                let all = count_first(tx, tenant, from).await?;
                sent(all.into_iter().filter(|(key, _)| !key.topic.contains(':')))
            }
        };
        Ok(Self { of_sums, sent: listed(first) })
    }
}

fn listed(sent: Sent) -> Vec<(Channel, String, i64)> {
    sent.into_iter().map(|((channel, country), count)| (channel, country, count)).collect()
}
