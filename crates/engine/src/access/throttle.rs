//! How long the next try waits after failed ones.
//!
//! Three counts: of an account from one address, of an account from anywhere, of an address for any account. The first slows a person who guesses and nobody else;
//! the second, gentler, a guess from many addresses, without letting strangers lock somebody out for long; the third somebody who tries one password on many
//! accounts. A try is counted before it is judged, so that many at once are as slow as one after the other. Accounts that are not there are counted like all others.

use std::net::IpAddr;

use aws_lc_rs::digest::{SHA256, digest};
use model::{TenantId, Timestamp};
use store::{Scope, Tx, sign_in};

use crate::{Error, ErrorKind, Parts};

/// Failures older than this are forgotten, in seconds: a day.
pub const FORGOTTEN_S: i64 = 24 * 60 * 60;

/// Letters that the operator's account carries for one tenant in a day of UTC.
pub const LETTERS_A_DAY: i64 = 50;
/// Letters of one tenant to one address in such a day.
pub const LETTERS_TO_ONE_A_DAY: i64 = 3;
const DAY_S: i64 = 24 * 60 * 60;

/// One of the three counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Count {
    /// An account from one address.
    Pair,
    /// An account from anywhere.
    Account,
    /// An address for any account.
    Address,
}

impl Count {
    /// Failures that cost nothing, and the longest wait in milliseconds.
    const fn limits(self) -> (i64, i64) {
        match self {
            Self::Pair => (5, 15 * 60_000),
            Self::Account => (20, 60_000),
            Self::Address => (50, 15 * 60_000),
        }
    }

    /// How long nothing is tried after so many failures in a row: nothing at first, then one second, half as much again with each, up to a limit.
    pub fn wait_ms(self, failures: i64) -> i64 {
        let (free, most) = self.limits();
        let mut wait = if failures < free { 0 } else { 1_000 };
        for _ in free..failures {
            wait += wait / 2;
            if wait >= most {
                return most;
            }
        }
        wait
    }
}

/// What a try is counted under.
fn keys(account: &str, ip: Option<IpAddr>) -> Vec<(Count, Vec<u8>)> {
    let key = |parts: &[&str]| digest(&SHA256, parts.join("\n").as_bytes()).as_ref().to_vec();
    let mut keys = vec![(Count::Account, key(&["account", account]))];
    if let Some(ip) = ip {
        let network = network(ip);
        keys.push((Count::Pair, key(&["pair", account, &network])));
        keys.push((Count::Address, key(&["address", &network])));
    }
    // In one order, so that two tries at once never wait for each other's rows.
    keys.sort_by(|a, b| a.1.cmp(&b.1));
    keys
}

/// An IPv4 address, or the /64 of an IPv6 address: one subscriber has all of it.
fn network(ip: IpAddr) -> String {
    match ip.to_canonical() {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => format!("{:x}/64", v6.to_bits() >> 64),
    }
}

/// Counts a try of `account` from `ip` as failed, until [`clear`] says it was not. Refused while the failures before have to be waited out; such a refusal is not
/// counted, so that whoever waits gets in. Answers how many tries of the account have failed by now if this one does.
#[crate::boxed]
pub async fn begin(parts: &Parts, account: &str, ip: Option<IpAddr>, now: Timestamp) -> Result<i64, Error> {
    let keys = keys(account, ip);
    let write = parts.ports.db.write(Scope::System, move |tx| {
        Box::pin(async move {
            let mut rows = Vec::new();
            for (count, key) in keys {
                sign_in::begin_failures(tx, &key, now).await?;
                let row = sign_in::failures(tx, &key).await?;
                rows.extend(row.map(|row| (count, row)));
            }
            let wait_ms = rows.iter().map(|(_, row)| row.blocked_until.millis_since(now)).max().unwrap_or(0);
            if wait_ms > 0 {
                return Err(refusal(wait_ms.unsigned_abs()));
            }
            let mut of_account = 0;
            for (count, mut row) in rows {
                let is_old = row.last_at.plus_seconds(FORGOTTEN_S) <= now;
                row.failures = if is_old { 1 } else { row.failures + 1 };
                row.last_at = now;
                row.blocked_until = now.plus_millis(count.wait_ms(row.failures));
                sign_in::update_failures(tx, &row).await?;
                if count == Count::Account {
                    of_account = row.failures;
                }
            }
            Ok::<_, Error>(of_account)
        })
    });
    write.await
}

/// Forgets what was counted for the account, and takes this try back from the address.
#[crate::boxed]
pub async fn clear(parts: &Parts, account: &str, ip: Option<IpAddr>, now: Timestamp) -> Result<(), Error> {
    let keys = keys(account, ip);
    let write = parts.ports.db.write(Scope::System, move |tx| {
        Box::pin(async move {
            for (count, key) in keys {
                match count {
                    Count::Pair | Count::Account => sign_in::forget_failures(tx, &key).await?,
                    Count::Address => {
                        // Whoever has one good account must not be able to reset the count for all others.
                        if let Some(mut row) = sign_in::failures(tx, &key).await? {
                            row.failures = (row.failures - 1).max(0);
                            row.blocked_until = row.blocked_until.min(now.plus_millis(count.wait_ms(row.failures)));
                            sign_in::update_failures(tx, &row).await?;
                        }
                    }
                }
            }
            Ok::<_, Error>(())
        })
    });
    write.await
}

/// Counts a letter that the operator's account carries for a tenant, or refuses it: nobody writes to strangers in the operator's name.
pub(super) async fn letter(tx: &mut Tx, tenant: TenantId, to: &str, now: Timestamp) -> Result<(), Error> {
    let all = vec!["letters".to_owned(), tenant.to_string()];
    let to_one = [all.as_slice(), &[to.to_owned()]].concat();
    if count(tx, &[(all, LETTERS_A_DAY), (to_one, LETTERS_TO_ONE_A_DAY)], now).await? {
        return Ok(());
    }
    let detail = format!(
        "The operator's account carries {LETTERS_A_DAY} letters a day for a tenant, {LETTERS_TO_ONE_A_DAY} of them to one address. \
         Try again tomorrow, or make an e-mail account of your own the default: what leaves through it is not limited."
    );
    let wait_s = DAY_S - now.as_seconds() % DAY_S;
    Err(Error::new(ErrorKind::Throttled, "too_many_letters", detail).with_retry_after_ms(wait_s.unsigned_abs() * 1_000))
}

/// Counts one more under each of these names, unless one of them has had as many as it may in this day of UTC: then nothing is counted, and the answer is `false`. The first name must be the same
/// for all that share any, so that two at once never wait for each other's rows.
pub(crate) async fn count(tx: &mut Tx, names: &[(Vec<String>, i64)], now: Timestamp) -> Result<bool, Error> {
    let mut rows = Vec::new();
    for (name, most) in names {
        let key = key_of_day(name, now);
        sign_in::begin_failures(tx, &key, now).await?;
        let Some(row) = sign_in::failures(tx, &key).await? else { continue };
        if row.failures >= *most {
            return Ok(false);
        }
        rows.push(row);
    }
    for row in rows {
        sign_in::update_failures(tx, &sign_in::Failures { failures: row.failures + 1, last_at: now, ..row }).await?;
    }
    Ok(true)
}

/// Takes back what was counted at the same time under these names, in the same order.
pub(crate) async fn uncount(tx: &mut Tx, names: &[Vec<String>], now: Timestamp) -> Result<(), Error> {
    for name in names {
        if let Some(row) = sign_in::failures(tx, &key_of_day(name, now)).await? {
            sign_in::update_failures(tx, &sign_in::Failures { failures: (row.failures - 1).max(0), ..row }).await?;
        }
    }
    Ok(())
}

/// What is counted under a name in a day of UTC.
fn key_of_day(name: &[String], now: Timestamp) -> Vec<u8> {
    let text = format!("{}\n{}", name.join("\n"), now.as_seconds() / DAY_S);
    digest(&SHA256, text.as_bytes()).as_ref().to_vec()
}

fn refusal(wait_ms: u64) -> Error {
    let detail = format!(
        "There were too many failed tries for this account or from this address. Try again in {} s, or reset the password.",
        wait_ms.div_ceil(1_000)
    );
    Error::new(ErrorKind::Throttled, "too_many_sign_ins", detail).with_retry_after_ms(wait_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_limit() {
        let waits = |count: Count, failures: &[i64]| failures.iter().map(|n| count.wait_ms(*n)).collect::<Vec<_>>();
        assert_eq!(waits(Count::Pair, &[0, 1, 4, 5, 6, 7, 8, 100]), [0, 0, 0, 1_000, 1_500, 2_250, 3_375, 900_000]);
        assert_eq!(waits(Count::Account, &[19, 20, 21, 100, i64::MAX]), [0, 1_000, 1_500, 60_000, 60_000]);
        assert_eq!(waits(Count::Address, &[49, 50, 100]), [0, 1_000, 900_000]);
    }

    #[test]
    fn a_subscriber_is_one_address() {
        let check = |ip: &str, expected: &str| assert_eq!(network(ip.parse().unwrap()), expected);
        check("192.0.2.7", "192.0.2.7");
        check("::ffff:192.0.2.7", "192.0.2.7");
        check("2001:db8::1", "20010db800000000/64");
        check("2001:db8::ffff:1", "20010db800000000/64");
    }
}
