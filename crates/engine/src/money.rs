//! Money: price lists, what a message costs, and ledgers that always add up.
//!
//! A tenant without a ledger, or with the mode `none`, is not billed, and accepting and applying its messages does nothing more than before. For the others the
//! price is looked up when a message is planned ([`book`]), set aside in the transaction that accepts it, and charged or given back once in the transaction in
//! which apply writes that it was sent or will not be ([`charge`], `settling`). What goes another way or is tried again goes only as far as credit reaches ([`purse`]). Rules of the ledger itself are
//! pure ([`ledger`]).
//!
//! Credit is bought ([`purchases`]) and given back ([`refunds`]) by the operator's hand or through the payment provider of [`payments`], whose word comes as answers and as
//! [`payment_events`], and is asked for where these do not come ([`follow_up`]); what it told stands in the operator's callback log (`payment_log`). [`top_ups`] buys by itself. Tax on what is sold, and in what goes back, is in `sale_tax`. What brought nobody credit the operator hears of (`strays`).

pub mod book;
pub mod charge;
pub mod credits;
pub mod disputes;
pub mod follow_up;
pub mod ledger;
pub mod marks;
pub mod payment_events;
mod payment_log;
pub mod payments;
pub mod prices;
pub mod purchases;
pub(crate) mod purse;
pub mod receipts;
pub mod refunds;
pub(crate) mod sale_tax;
pub(crate) mod settling;
pub mod sheet;
mod strays;
pub mod top_ups;
pub mod what_if;

use model::Timestamp;
use serde::{Deserialize, Serialize};
use store::Tx;
use utoipa::ToSchema;

/// An amount for people: `12.50 EUR`, with as many decimals as a price of a fraction of a cent needs.
pub(crate) fn words(micros: i64, currency: &str) -> String {
    let (whole, part) = (micros.unsigned_abs() / 1_000_000, micros.unsigned_abs() % 1_000_000);
    let mut decimals = format!("{part:06}");
    while decimals.len() > 2 && decimals.ends_with('0') {
        decimals.pop();
    }
    format!("{}{whole}.{decimals} {currency}", if micros < 0 { "-" } else { "" })
}

/// How a tenant pays for its messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum BillingMode {
    /// It does not: nothing is looked up or written.
    None,
    /// Out of credit it bought; without enough of it nothing is accepted.
    Prepaid,
    /// Afterwards: its available credit may go below zero.
    Postpaid,
}

impl BillingMode {
    /// The word in JSON and SQL.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Prepaid => "prepaid",
            Self::Postpaid => "postpaid",
        }
    }

    /// Reads the database's word; one this binary does not know spends nothing that was not bought.
    pub fn from_stored(word: &str) -> Self {
        match word {
            "none" => Self::None,
            "postpaid" => Self::Postpaid,
            _ => Self::Prepaid,
        }
    }
}

/// What accept needs to know about a tenant that is billed.
#[derive(Debug, Clone)]
pub struct Billing {
    /// Never [`BillingMode::None`].
    pub mode: BillingMode,
    /// The ledger's currency.
    pub currency: String,
    /// What messages that are accepted from then on are charged may stand in their own rows ([`store::credits::Charge::may_stay`]): a program from before that would find no charge.
    pub charges_stay_from: Timestamp,
}

/// The version of the database from which on charges stand in their messages' rows.
const CHARGES_IN_ROWS: i64 = 52;

/// From when on charges may stand in their messages' rows.
pub(crate) async fn charges_stay_from(tx: &mut Tx) -> Result<Timestamp, store::Error> {
    let upgraded = store::upgraded_at(tx, CHARGES_IN_ROWS).await?;
    Ok(upgraded.map_or(Timestamp::EPOCH, |at| at.plus_seconds(crate::UPGRADE_S)))
}

#[cfg(test)]
mod tests {
    use super::words;

    #[test]
    fn amounts_are_said_to_the_last_digit_that_counts() {
        let said = [0, 12_500_000, -7_500, 1_000_001].map(|micros| words(micros, "EUR"));
        assert_eq!(said, ["0.00 EUR", "12.50 EUR", "-0.0075 EUR", "1.000001 EUR"]);
    }
}
