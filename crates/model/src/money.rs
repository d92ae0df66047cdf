//! Amounts of money as integer millionths with their currency. No floating point ever touches a price.

use serde::{Deserialize, Serialize};

/// An amount in millionths of a currency unit: 7,500 micros of USD are three quarters of a cent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Money {
    /// Millionths of the currency's unit.
    pub amount_micros: i64,
    /// ISO 4217, three capital letters.
    pub currency: String,
}
