//! Payments whose payer asks the bank for the money back. Stripe takes the money at once and returns it to whoever wins; what it did stands in the dispute's balance transactions, which are
//! believed rather than its status. Only when a bank merely asks (`warning_…`) nothing is taken.
//! <https://docs.stripe.com/api/disputes/object> <https://docs.stripe.com/disputes/how-disputes-work>

use model::{Answer, Failure, HttpCall, Timestamp};
use serde_json::Value;

use super::{Cx, get, malformed, micros, object};
use crate::read;

/// Disputes of one payment that are read: banks allow one, and a few where a payment was made in parts.
const DISPUTES_MAX: u32 = 100;

/// A dispute as Stripe shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disputed {
    /// Stripe's id.
    pub id: String,
    /// How much is disputed, in millionths.
    pub amount_micros: i64,
    /// How much of it Stripe took and has not returned, in millionths.
    pub withdrawn_micros: i64,
    /// In which currency.
    pub currency: String,
    /// How far it is.
    pub state: DisputeState,
    /// Why, as Stripe's word: `fraudulent`, `duplicate`, `product_not_received`, …
    pub reason: String,
    /// Until when somebody has to answer it.
    pub respond_by: Option<Timestamp>,
}

/// How far a dispute is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DisputeState {
    /// The bank asks, and took nothing.
    Warning,
    /// The bank asked, and let it be.
    Dropped,
    /// To be answered.
    Open,
    /// Answered; the bank decides.
    UnderReview,
    /// The payment stands.
    Won,
    /// The money is gone.
    Lost,
}

impl DisputeState {
    fn of(status: &str) -> Self {
        match status {
            "warning_needs_response" | "warning_under_review" => Self::Warning,
            "warning_closed" | "prevented" => Self::Dropped,
            "under_review" => Self::UnderReview,
            "won" => Self::Won,
            "lost" => Self::Lost,
            // `needs_response`, and words that are new.
            _ => Self::Open,
        }
    }

    /// The word people read.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Dropped => "dropped",
            Self::Open => "open",
            Self::UnderReview => "under_review",
            Self::Won => "won",
            Self::Lost => "lost",
        }
    }

    /// True once nothing more is decided.
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Dropped | Self::Won | Self::Lost)
    }
}

/// The request for all disputes of a payment.
pub fn disputes(cx: &Cx<'_>, payment: &str) -> HttpCall {
    get(cx, "/v1/disputes", &[("payment_intent", payment), ("limit", &DISPUTES_MAX.to_string())])
}

/// Reads the answer to [`disputes`].
pub fn all_disputes(answer: &Answer) -> Result<Vec<Disputed>, Failure> {
    let list = object(answer)?;
    let data = list["data"].as_array().ok_or_else(malformed)?;
    data.iter().map(|dispute| read_one(dispute).ok_or_else(malformed)).collect()
}

fn read_one(dispute: &Value) -> Option<Disputed> {
    let currency = read::text(dispute, "/currency")?.to_ascii_uppercase();
    let amount_micros = micros(&dispute["amount"], &currency)?;
    let due_by = dispute.pointer("/evidence_details/due_by").and_then(Value::as_i64);
    Some(Disputed {
        id: read::text(dispute, "/id")?.to_owned(),
        withdrawn_micros: withdrawn(dispute, amount_micros, &currency),
        amount_micros,
        currency,
        state: DisputeState::of(read::text(dispute, "/status")?),
        reason: read::text(dispute, "/reason").unwrap_or("general").to_owned(),
        respond_by: due_by.map(Timestamp::from_seconds),
    })
}

/// What was taken and not returned. Stripe settles in the currency of its own account: in another one than the payment's, only whether something is missing can be said.
fn withdrawn(dispute: &Value, amount_micros: i64, currency: &str) -> i64 {
    let all = dispute["balance_transactions"].as_array().map(Vec::as_slice).unwrap_or_default();
    let is_same =
        all.iter().all(|one| one["currency"].as_str().is_some_and(|word| word.eq_ignore_ascii_case(currency)));
    let sum: i64 = all.iter().filter_map(|one| micros(&one["amount"], currency)).sum();
    match sum {
        0.. => 0,
        _ if is_same => sum.saturating_neg().min(amount_micros),
        _ => amount_micros,
    }
}

#[cfg(test)]
mod tests {
    use model::{HttpAnswer, Secret};
    use serde_json::json;

    use super::*;

    fn dispute(status: &str, moves: &[(i64, &str)]) -> Value {
        let transaction = |(amount, currency): &(i64, &str)| json!({"id": "txn_1", "object": "balance_transaction", "amount": amount, "currency": currency, "fee": 1_500, "net": amount - 1_500, "type": "adjustment"});
        json!({
            "id": "du_1", "object": "dispute", "amount": 1_000, "currency": "usd", "charge": "ch_1", "payment_intent": "pi_1", "reason": "fraudulent",
            "status": status, "balance_transactions": moves.iter().map(transaction).collect::<Vec<_>>(),
            "evidence_details": {"due_by": 1_795_253_400, "has_evidence": false, "past_due": false, "submission_count": 0},
        })
    }

    #[test]
    fn what_was_taken_is_what_the_balance_says() {
        let check = |status, moves: &[(i64, &str)], state, withdrawn| {
            let body = json!({"object": "list", "data": [dispute(status, moves)]});
            let answer =
                Answer::Http(HttpAnswer { status: 200, body: body.to_string().into(), ..HttpAnswer::default() });
            let found = all_disputes(&answer).unwrap().remove(0);
            assert_eq!((found.state, found.withdrawn_micros), (state, withdrawn), "{status} {moves:?}");
            assert_eq!(
                (found.amount_micros, found.currency.as_str(), found.reason.as_str()),
                (10_000_000, "USD", "fraudulent")
            );
            assert_eq!(found.respond_by, Some(Timestamp::from_seconds(1_795_253_400)));
        };
        check("warning_needs_response", &[], DisputeState::Warning, 0);
        check("needs_response", &[(-1_000, "usd")], DisputeState::Open, 10_000_000);
        check("under_review", &[(-1_000, "usd")], DisputeState::UnderReview, 10_000_000);
        check("lost", &[(-1_000, "usd")], DisputeState::Lost, 10_000_000);
        check("won", &[(-1_000, "usd")], DisputeState::Won, 10_000_000);
        check("won", &[(-1_000, "usd"), (1_000, "usd")], DisputeState::Won, 0);
        check("won", &[(-1_000, "usd"), (400, "usd")], DisputeState::Won, 6_000_000);
        // Settled in another currency, and moved with the rate.
        check("needs_response", &[(-920, "eur")], DisputeState::Open, 10_000_000);
        check("won", &[(-920, "eur"), (921, "eur")], DisputeState::Won, 0);
        check("warning_closed", &[], DisputeState::Dropped, 0);
        check("a_new_word", &[], DisputeState::Open, 0);
    }

    #[test]
    fn all_of_a_payment_are_asked_for() {
        let key = Secret::new("sk_1");
        let call = disputes(&Cx { secret_key: &key, base_url: None }, "pi_1");
        assert_eq!(call.url, "https://api.stripe.com/v1/disputes?payment_intent=pi_1&limit=100");
        let answer =
            Answer::Http(HttpAnswer { status: 200, body: r#"{"data": [{}]}"#.into(), ..HttpAnswer::default() });
        assert_eq!(all_disputes(&answer).unwrap_err().code, "malformed_answer");
    }
}
