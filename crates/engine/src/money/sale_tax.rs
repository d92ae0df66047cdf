//! Tax on credit that is sold: which one, how much, and which part of what goes back is tax.
//!
//! Credit is sold without tax in it, and tax comes on top: `credit_taxed` of the billing settings says whether, and `taxes` and the customer's own say which. A purchase keeps its tax as it was when it was
//! asked for. At the payment provider money is credit and tax, in the ledger it is credit alone. What goes back is parted out of what is left of the purchase, so that parts never come to more than
//! was sold, and all of it gives back exactly all.

use connectors::stripe;
use model::TenantId;
use serde::Deserialize;
use store::{
    Tx,
    purchases::{Purchase, Tax},
    subscriptions, tenants,
};
use utoipa::ToSchema;

use super::{disputes, payments::STRIPE};
use crate::{
    Error,
    documents::figures::minor_unit,
    invoices::{
        compose::{PPM, TaxRate, round},
        renewing::customer,
        settings::{BillingSettings, CreditTaxed, check_rate},
    },
    names::Faults,
};

/// The tax on credit that was paid for outside of Tidings, where it is not that of the billing settings.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewCreditPurchaseTax)]
pub struct NewTax {
    /// As it stands on the receipt.
    #[schema(example = "VAT")]
    pub name: String,
    /// In millionths of the credit: 190000 is 19 percent. 0 shows why nothing is charged.
    #[schema(example = 190_000)]
    pub rate_ppm: i64,
    /// How much it is, in millionths, where not the credit was given and the tax rounded, but what was paid was given: then it is the tax in that. Worked out when left out.
    #[serde(default)]
    #[schema(example = 9_500_000)]
    pub amount_micros: Option<i64>,
}

/// How a tenant's credit is sold by now.
pub(super) struct Terms {
    /// The tax that comes on top; `None` where credit is sold without.
    pub rate: Option<TaxRate>,
    country: Option<String>,
    number: Option<String>,
}

impl Terms {
    /// Reads them.
    pub(super) async fn read(tx: &mut Tx, tenant: TenantId) -> Result<Self, Error> {
        let settings = BillingSettings::read(tx).await?;
        let subscription = subscriptions::find(tx, tenant).await?;
        let of = tenants::find(tx, tenant).await?.ok_or_else(|| Error::not_found("tenant"))?;
        let customer = customer(subscription.as_ref(), of);
        let rate = match settings.credit_taxed {
            CreditTaxed::Never => None,
            CreditTaxed::AtPurchase => settings.tax(&customer, customer.country.as_deref()),
        };
        Ok(Self { rate, country: customer.country, number: customer.tax_id })
    }

    /// The tax on so much credit, rounded to a coin.
    pub(super) fn on(&self, credit: i64, coin: i64) -> Option<Tax> {
        let TaxRate { name, rate_ppm } = self.rate.clone()?;
        Some(self.tax(name, rate_ppm, on_top(credit, rate_ppm, coin)))
    }

    /// The tax somebody says is on credit.
    pub(super) fn said(&self, said: &NewTax, credit: i64, coin: i64) -> Result<Tax, Error> {
        let NewTax { name, rate_ppm, amount_micros } = said;
        let mut faults = Faults::default();
        check_rate("/tax", name, *rate_ppm, &mut faults);
        faults.end()?;
        let amount = amount_micros.unwrap_or_else(|| on_top(credit, *rate_ppm, coin));
        if !fits(credit, amount, *rate_ppm, coin) {
            let detail = format!(
                "at this rate it is {} millionths on {credit}; leave it out, or say what is in the payment",
                on_top(credit, *rate_ppm, coin)
            );
            return Err(Error::invalid("/tax/amount_micros", detail));
        }
        Ok(self.tax(name.clone(), *rate_ppm, amount))
    }

    /// A tax of this customer's.
    pub(super) fn tax(&self, name: String, rate_ppm: i64, amount: i64) -> Tax {
        Tax { name, rate_ppm, amount, country: self.country.clone(), number: self.number.clone() }
    }
}

/// What tax is rounded to, in millionths: the currency's smallest coin, and at Stripe the smallest amount that takes.
pub(crate) fn coin(provider: &str, currency: &str) -> i64 {
    let coin = minor_unit(currency);
    if provider == STRIPE { coin.max(stripe::step_micros(currency)) } else { coin }
}

/// The tax that comes on top of credit.
pub(super) fn on_top(credit: i64, rate_ppm: i64, coin: i64) -> i64 {
    round(i128::from(credit) * i128::from(rate_ppm), PPM, coin)
}

/// The tax in a payment.
pub(super) fn within(total: i64, rate_ppm: i64, coin: i64) -> i64 {
    round(i128::from(total) * i128::from(rate_ppm), PPM + i128::from(rate_ppm), coin)
}

/// Whether an amount is the tax on credit: what comes on top of it, or what is in both together. Of a payment that was rounded as a whole the two may differ by a coin.
pub(crate) fn fits(credit: i64, tax: i64, rate_ppm: i64, coin: i64) -> bool {
    tax == on_top(credit, rate_ppm, coin) || tax == within(credit.saturating_add(tax), rate_ppm, coin)
}

/// Credit, and the tax on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Share {
    /// What moves in the ledger.
    pub credit: i64,
    /// What moves besides at the payment provider.
    pub tax: i64,
}

impl Share {
    /// Both: what is paid or given back.
    pub(super) const fn total(self) -> i64 {
        self.credit.saturating_add(self.tax)
    }

    /// What goes with so much of the credit, which is not more than there is.
    pub(super) fn of_credit(self, credit: i64, coin: i64) -> Self {
        let tax = match credit < self.credit {
            true => round(i128::from(self.tax) * i128::from(credit), i128::from(self.credit), coin).min(self.tax),
            false => self.tax,
        };
        Self { credit, tax }
    }

    /// What so much of both is made of; of all of it or more, all the tax.
    fn of_total(self, total: i64, coin: i64) -> Self {
        let tax = match total < self.total() {
            true => round(i128::from(self.tax) * i128::from(total), i128::from(self.total()), coin)
                .clamp((total - self.credit).max(0), self.tax.min(total)),
            false => self.tax,
        };
        Self { credit: total - tax, tax }
    }
}

/// What was sold.
fn sold(p: &Purchase) -> Share {
    Share { credit: p.amount, tax: p.tax_micros() }
}

/// What is left of a purchase to go back; `but`: as if there were not this dispute.
pub(super) fn left(p: &Purchase, but: Option<&str>) -> Share {
    let disputed = disputes::withdrawn(p, but);
    Share {
        credit: (p.amount - p.refunded - disputed.credit).max(0),
        tax: (p.tax_micros() - p.refunded_tax - disputed.tax).max(0),
    }
}

/// What money of a purchase is made of that goes back at the payment provider. A bank may take more than is left, because some of it went back another way: then it is parted as all of it was.
pub(super) fn parted(p: &Purchase, but: Option<&str>, total: i64) -> Share {
    let (sold, left, coin) = (sold(p), left(p, but), coin(&p.provider, &p.currency));
    if total <= left.total() { left.of_total(total, coin) } else { sold.of_total(total, coin) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CENT: i64 = 10_000;

    #[test]
    fn tax_is_rounded_to_the_coin_and_is_on_top_or_within() {
        let check = |credit, rate, expected| assert_eq!(on_top(credit, rate, CENT), expected);
        check(50_000_000, 190_000, 9_500_000);
        check(10_000, 190_000, 0);
        check(30_000, 190_000, 10_000);
        check(50_000_000, 0, 0);
        assert_eq!((within(59_500_000, 190_000, CENT), within(30_000, 190_000, CENT)), (9_500_000, 0));
        // Three cents were paid: no credit comes to that with its tax on top.
        assert!(fits(30_000, 0, 190_000, CENT) && fits(30_000, 10_000, 190_000, CENT));
        assert!(!fits(50_000_000, 9_510_000, 190_000, CENT) && !fits(50_000_000, 9_500_001, 190_000, CENT));
    }

    #[test]
    fn coins_are_those_of_the_currency_and_of_stripe() {
        let coins =
            ["EUR", "JPY", "KWD", "ISK", "UGX"].map(|currency| (coin("operator", currency), coin(STRIPE, currency)));
        let whole = (1_000_000, 1_000_000);
        assert_eq!(coins, [(CENT, CENT), whole, (1_000, CENT), whole, whole]);
    }

    #[test]
    fn a_part_has_its_share_of_the_tax_and_the_last_part_has_the_rest() {
        let sold = Share { credit: 10_000_000, tax: 1_900_000 };
        assert_eq!(sold.of_total(3_000_000, CENT), Share { credit: 2_520_000, tax: 480_000 });
        assert_eq!(sold.of_total(11_900_000, CENT), sold);
        assert_eq!(sold.of_credit(4_000_000, CENT), Share { credit: 4_000_000, tax: 760_000 });
        assert_eq!(sold.of_credit(10_000_000, CENT), sold);
        let untaxed = Share { credit: 10_000_000, tax: 0 };
        assert_eq!(untaxed.of_total(12_000_000, CENT), Share { credit: 12_000_000, tax: 0 });
    }

    proptest! {
        #[test]
        fn parts_never_exceed_what_was_sold_and_all_of_it_gives_back_all(
            coins in 1i64..2_000_000, rate_ppm in 0i64..=1_000_000, whole in any::<bool>(),
            parts in prop::collection::vec((any::<bool>(), 1i64..1_000_000), 0..40),
        ) {
            let coin = if whole { 1_000_000 } else { CENT };
            let credit = coins * coin;
            let sold = Share { credit, tax: on_top(credit, rate_ppm, coin) };
            let mut left = sold;
            // Each part is given back by its credit, as we do, or by what it comes to, as Stripe tells it.
            for (is_credit, size) in parts {
                let of = if is_credit { left.credit } else { left.total() };
                let size = (size % (of / coin).max(1) + 1) * coin;
                if size > of {
                    continue;
                }
                let part = if is_credit { left.of_credit(size, coin) } else { left.of_total(size, coin) };
                prop_assert_eq!(if is_credit { part.credit } else { part.total() }, size);
                prop_assert!(part.credit >= 0 && part.tax >= 0 && part.credit <= left.credit && part.tax <= left.tax);
                prop_assert!(part.credit % coin == 0 && part.tax % coin == 0);
                left = Share { credit: left.credit - part.credit, tax: left.tax - part.tax };
            }
            prop_assert_eq!(left.of_total(left.total(), coin), left);
            prop_assert_eq!(left.of_credit(left.credit, coin), left);
        }

        #[test]
        fn what_was_worked_out_fits_its_rate(coins in 1i64..10_000_000, rate_ppm in 0i64..=1_000_000) {
            let total = coins * CENT;
            let tax = within(total, rate_ppm, CENT);
            prop_assert!(fits(total - tax, tax, rate_ppm, CENT));
            prop_assert!(fits(total, on_top(total, rate_ppm, CENT), rate_ppm, CENT));
        }
    }
}
