//! How many DNS questions an SPF record costs a receiver (RFC 7208 4.6.4).

use std::collections::{BTreeSet, VecDeque};

use model::{Dns, DnsKind};

use super::records::{SPF_LOOKUPS_MAX, is_spf, mechanisms};

/// Includes followed at most: twice what is allowed is enough to say that it is too many.
const FOLLOWED_MAX: usize = SPF_LOOKUPS_MAX * 2;

/// Counts the questions of a record and of all it includes. Stops once it is far too many.
pub(super) async fn lookups(dns: &dyn Dns, record: &str) -> usize {
    let mut count = 0;
    let (mut waiting, mut seen) = (VecDeque::from([record.to_owned()]), BTreeSet::new());
    while let Some(record) = waiting.pop_front() {
        for term in mechanisms(&record) {
            let term = term.trim_start_matches(['-', '~', '?']);
            let name = term.split([':', '=', '/']).next().unwrap_or_default();
            if !matches!(name, "include" | "a" | "mx" | "ptr" | "exists" | "redirect") {
                continue;
            }
            count += 1;
            let target = term.strip_prefix("include:").or_else(|| term.strip_prefix("redirect="));
            // Macros depend on the mail.
            let Some(target) = target.filter(|target| !target.contains('%')) else { continue };
            if seen.len() >= FOLLOWED_MAX || !seen.insert(target.to_owned()) {
                continue;
            }
            let found = dns.look_up(target, DnsKind::Txt).await.unwrap_or_default();
            waiting.extend(found.into_iter().find(|text| is_spf(text)));
        }
    }
    count
}
