//! Payers who ask their bank for the money back: `POST /stripe/bank/disputes` with `payment_intent` and `outcome`.
//!
//! `asked` is an inquiry without money, `disputed` takes the payment or `amount` of it in cents (also after an inquiry), `answered` hands in evidence, and `won`, `lost` and `dropped` end it.
//! What was taken and returned stands in `balance_transactions`, with a fee of 15.00 that stays. <https://docs.stripe.com/api/disputes/object>

use serde_json::{Value, json};

use super::{find, invalid, missing, put, shown, tell};
use crate::{fields::Fields, provider::Cx, request::Reply};

/// The setting the disputes are kept in.
pub(super) const KEPT: &str = "disputes";
/// What a dispute costs, in cents.
const FEE: i64 = 1_500;
/// How long there is to answer one, in seconds.
const ANSWER_S: i64 = 7 * 86_400;

/// What a payer or a bank does.
pub(super) fn turn(cx: &mut Cx<'_>, form: &Fields) -> Result<Reply, Reply> {
    let payment = find(&cx.list("payments"), form.get("payment_intent")).ok_or_else(missing)?;
    if payment["status"] != "succeeded" {
        return Err(invalid("charge_not_disputable", "This payment has not succeeded."));
    }
    let mut all = cx.list(KEPT);
    let last = all.iter().rev().find(|dispute| dispute["payment_intent"] == payment["id"]).cloned();
    let is = |words: &[&str]| last.as_ref().is_some_and(|last| words.iter().any(|word| last["status"] == *word));
    let (is_asked, is_open) =
        (is(&["warning_needs_response", "warning_under_review"]), is(&["needs_response", "under_review"]));
    let mut dispute = match last.clone().filter(|_| is_asked || is_open) {
        Some(last) => last,
        None => begun(cx, &payment, form)?,
    };
    let events: &[&str] = match form.get("outcome") {
        "asked" if !is_asked && !is_open => {
            dispute["status"] = "warning_needs_response".into();
            &["charge.dispute.created"]
        }
        "disputed" if !is_open => {
            dispute["status"] = "needs_response".into();
            book(cx, &mut dispute, -1, FEE);
            if is_asked {
                &["charge.dispute.updated", "charge.dispute.funds_withdrawn"]
            } else {
                &["charge.dispute.created", "charge.dispute.funds_withdrawn"]
            }
        }
        "answered" if is_open || is_asked => {
            dispute["status"] = if is_asked { "warning_under_review" } else { "under_review" }.into();
            dispute["evidence_details"]["has_evidence"] = true.into();
            dispute["evidence_details"]["submission_count"] = 1.into();
            &["charge.dispute.updated"]
        }
        "won" if is_open => {
            dispute["status"] = "won".into();
            book(cx, &mut dispute, 1, 0);
            &["charge.dispute.closed", "charge.dispute.funds_reinstated"]
        }
        "lost" if is_open => {
            dispute["status"] = "lost".into();
            &["charge.dispute.closed"]
        }
        "dropped" if is_asked => {
            dispute["status"] = "warning_closed".into();
            &["charge.dispute.closed"]
        }
        _ => return Err(invalid("dispute_state", "The dispute cannot do that now.")),
    };
    put(&mut all, &dispute);
    for event in events {
        tell(cx, event, &dispute);
    }
    cx.keep(KEPT, &all.into());
    shown(Some(dispute))
}

fn begun(cx: &Cx<'_>, payment: &Value, form: &Fields) -> Result<Value, Reply> {
    let whole = payment["amount"].as_i64().unwrap_or(0);
    let amount = match form.some("amount") {
        Some(text) => text.parse().map_err(|_| invalid("parameter_invalid_integer", "Invalid integer: amount"))?,
        None => whole,
    };
    if !(1..=whole).contains(&amount) {
        return Err(invalid("amount_too_large", "More is disputed than was paid."));
    }
    let reason = form.some("reason").unwrap_or_else(|| "fraudulent".to_owned());
    Ok(json!({
        "id": format!("du_{}", cx.hex(24)), "object": "dispute", "amount": amount, "balance_transactions": [], "charge": payment["latest_charge"],
        "created": cx.unix(), "currency": payment["currency"], "evidence": {},
        "evidence_details": {"due_by": cx.unix() + ANSWER_S, "has_evidence": false, "past_due": false, "submission_count": 0},
        "is_charge_refundable": false, "livemode": false, "metadata": {}, "payment_intent": payment["id"], "reason": reason, "status": "needs_response",
    }))
}

/// Writes down what Stripe takes (-1) or returns (1).
fn book(cx: &Cx<'_>, dispute: &mut Value, sign: i64, fee: i64) {
    let amount = sign * dispute["amount"].as_i64().unwrap_or(0);
    let category = if sign < 0 { "dispute" } else { "dispute_reversal" };
    let transaction = json!({
        "id": format!("txn_{}", cx.hex(24)), "object": "balance_transaction", "amount": amount, "currency": dispute["currency"], "fee": fee,
        "net": amount - fee, "type": "adjustment", "reporting_category": category, "source": dispute["id"], "created": cx.unix(),
    });
    if let Some(all) = dispute["balance_transactions"].as_array_mut() {
        all.push(transaction);
    }
}
