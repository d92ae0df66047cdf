//! A test between variants of a campaign: who gets which, and which one won. Pure.
//!
//! A contact's place is a hash of campaign and contact: the same on every node and after every restart, and independent of the order in which the audience is walked.
//! The winner is shown with an interval, not as a bare percentage: with few recipients the intervals overlap, and the page says so.

use aws_lc_rs::digest::{SHA256, digest};
use model::{CampaignId, ContactId};
use serde::Serialize;
use utoipa::ToSchema;

/// Variants of one campaign at most: with more, each would be too few people to tell anything.
pub const VARIANTS_MAX: usize = 5;
/// The 97.5th percentile of the normal distribution: intervals hold 95 % of the time.
const Z: f64 = 1.959_963_984_540_054;
/// Parts a share is counted in.
const PARTS: u64 = 1 << 32;

/// Where a contact stands in a campaign's test: a number from 0 to 1, evenly spread.
fn place(campaign: CampaignId, contact: ContactId) -> (u64, u64) {
    let text = [campaign.ulid().to_be_bytes(), contact.ulid().to_be_bytes()].concat();
    let hash = digest(&SHA256, &text);
    let word = |at: usize| hash.as_ref()[at..at + 4].iter().fold(0_u64, |word, byte| word << 8 | u64::from(*byte));
    (word(0), word(4))
}

/// The variant a contact gets in the test, or `None` when it is among the rest. `test_percent` of the audience take part; `weights` are the variants' shares of those.
pub fn assign(campaign: CampaignId, contact: ContactId, test_percent: u32, weights: &[u32]) -> Option<u32> {
    let (entry, turn) = place(campaign, contact);
    if entry * 100 >= u64::from(test_percent) * PARTS {
        return None;
    }
    let total: u64 = weights.iter().map(|weight| u64::from(*weight)).sum();
    let mut left = turn * total;
    for (index, weight) in weights.iter().enumerate() {
        let width = u64::from(*weight) * PARTS;
        if left < width {
            return u32::try_from(index).ok();
        }
        left -= width;
    }
    None
}

/// How a variant did.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
pub struct Rate {
    /// Recipients that count.
    pub of: u64,
    /// Of whom this was so.
    pub hits: u64,
    /// The share, in percent.
    pub percent: f64,
    /// The true share lies above this 95 % of the time, in percent (Wilson).
    pub low_percent: f64,
    /// And below this.
    pub high_percent: f64,
}

/// The share with its interval, after Wilson: it stays within 0 and 100 and holds for small numbers too.
pub fn rate(hits: u64, of: u64) -> Rate {
    let hits = hits.min(of);
    if of == 0 {
        return Rate { of, hits, percent: 0.0, low_percent: 0.0, high_percent: 100.0 };
    }
    let (n, share) = (of as f64, hits as f64 / of as f64);
    let z2 = Z * Z;
    let middle = (share + z2 / (2.0 * n)) / (1.0 + z2 / n);
    let half = Z / (1.0 + z2 / n) * (share * (1.0 - share) / n + z2 / (4.0 * n * n)).sqrt();
    let percent = |value: f64| (value.clamp(0.0, 1.0) * 10_000.0).round() / 100.0;
    Rate {
        of,
        hits,
        percent: percent(share),
        low_percent: percent(middle - half),
        high_percent: percent(middle + half),
    }
}

/// Which variant did best, and whether its interval lies apart from all others'. The earlier one of equals.
pub fn winner(rates: &[Rate]) -> Option<(u32, bool)> {
    let better =
        |a: &Rate, b: &Rate| (u128::from(a.hits) * u128::from(b.of)).cmp(&(u128::from(b.hits) * u128::from(a.of)));
    let mut best = 0;
    for index in 1..rates.len() {
        if rates[best].of == 0 || (rates[index].of > 0 && better(&rates[index], &rates[best]).is_gt()) {
            best = index;
        }
    }
    let first = rates.get(best)?;
    let is_clear = rates.iter().enumerate().all(|(index, rate)| index == best || rate.high_percent < first.low_percent);
    u32::try_from(best).ok().map(|best| (best, is_clear))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn intervals_are_wilsons() {
        let check = |hits, of, percent, low_percent, high_percent| {
            assert_eq!(rate(hits, of), Rate { of, hits, percent, low_percent, high_percent });
        };
        // Newcombe (1998), table I: 81 of 263, 15 of 148, 0 of 20, 1 of 29.
        check(81, 263, 30.8, 25.53, 36.62);
        check(15, 148, 10.14, 6.24, 16.05);
        check(0, 20, 0.0, 0.0, 16.11);
        check(1, 29, 3.45, 0.61, 17.18);
        check(0, 0, 0.0, 0.0, 100.0);
    }

    #[test]
    fn the_best_wins_and_says_whether_it_is_clear() {
        assert_eq!(winner(&[]), None);
        assert_eq!(winner(&[rate(10, 1_000), rate(100, 1_000)]), Some((1, true)));
        assert_eq!(winner(&[rate(10, 100), rate(12, 100)]), Some((1, false)));
        assert_eq!(winner(&[rate(5, 50), rate(10, 100)]), Some((0, false)), "equals: the earlier one");
        assert_eq!(winner(&[rate(0, 0), rate(0, 9)]), Some((1, false)), "nobody got the first");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        /// The same contact always gets the same variant, and the groups come out in the shares asked for.
        #[test]
        fn assignment_is_stable_and_balanced(campaign: u128, seed: u64, percent in 10_u32..=100, weights in prop::collection::vec(1_u32..=9, 2..=5)) {
            const PEOPLE: u64 = 20_000;
            let campaign = CampaignId::from_ulid(campaign);
            let contact = |n: u64| ContactId::from_ulid((u128::from(seed) << 64) | u128::from(n));
            let mut counts = vec![0_u64; weights.len()];
            for n in 0..PEOPLE {
                let first = assign(campaign, contact(n), percent, &weights);
                if n % 100 == 0 {
                    prop_assert_eq!(first, assign(campaign, contact(n), percent, &weights));
                }
                if let Some(variant) = first {
                    counts[variant as usize] += 1;
                }
            }
            let total: u32 = weights.iter().sum();
            for (count, weight) in counts.iter().zip(&weights) {
                let share = f64::from(percent) / 100.0 * f64::from(*weight) / f64::from(total);
                let deviation = (share * (1.0 - share) * PEOPLE as f64).sqrt();
                prop_assert!((*count as f64 - share * PEOPLE as f64).abs() <= 6.0 * deviation.max(1.0), "{} for {}", count, share);
            }
        }
    }
}
