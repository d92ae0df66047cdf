//! Everything we tell tenants about, and the filters that choose from it. Endpoints, streams, replays and the documentation read this one table.

use crate::{Error, names::Faults};

/// Every type of event, with what it tells.
pub const EVENT_TYPES: &[(&str, &str)] = &[
    ("message.accepted", "A message was accepted and is durable."),
    ("message.sent", "The provider took a message."),
    ("message.delivered", "A message arrived."),
    ("message.read", "A message was read, as far as the provider can tell."),
    ("message.failed", "A message will not arrive."),
    ("message.bounced", "A message came back."),
    ("message.unknown", "Nobody can say whether the provider took a message."),
    ("message.expired", "A message was too late to be sent."),
    ("message.canceled", "A message was withdrawn before it left."),
    ("message.suppressed", "A message was not sent because its recipient must not be written to."),
    (
        "message.fell_back",
        "A message goes on over its next channel, because the one before failed or nothing arrived in time.",
    ),
    ("message.retried", "A dead letter was put back into the queue."),
    ("message.opened", "A mail was opened. Programs that are known to load pictures by themselves do not count."),
    ("message.clicked", "A link of a message was followed, as far as that can be told by a person."),
    ("message.complained", "The recipient reported a message as unwanted."),
    ("message.unsubscribed", "The recipient asked for no more messages."),
    ("message.replied", "The recipient wrote back; `message.received` tells what."),
    ("message.received", "Somebody sent a message to you."),
    ("contact.created", "A contact was added by a request. An import tells `contact_import.finished` instead."),
    ("contact.updated", "A contact was changed by a request, or got what another one was merged into it."),
    ("contact.deleted", "A contact was removed, or merged into another one."),
    ("contact_import.finished", "An import of contacts ended: done, failed or canceled before its end."),
    ("campaign.started", "A campaign was started."),
    ("campaign.paused", "A campaign was stopped for now."),
    ("campaign.resumed", "A paused campaign goes on."),
    ("campaign.sent", "All messages of a campaign have left."),
    ("campaign.canceled", "A campaign was ended before all its messages left."),
    ("campaign.failed", "A campaign could not go on."),
    ("consent.changed", "A contact gave, withdrew or was asked for consent."),
    (
        "consent.review_needed",
        "Somebody seems to ask for no more messages in their own words: a person should read it.",
    ),
    ("suppression.added", "An address was put on the suppression list."),
    ("suppression.removed", "An address was taken off the suppression list."),
    ("account.paused", "An account takes no messages; they wait or go another way."),
    ("account.resumed", "A paused account works again."),
    ("alert.firing", "An alert rule found something."),
    ("alert.acknowledged", "Somebody takes care of an alert."),
    ("alert.resolved", "What an alert was about is over."),
    (
        "operator_alert.firing",
        "An alert rule of the operator's found something. Only the tenant that `mail_tenant` of the configuration names is told of these.",
    ),
    ("operator_alert.acknowledged", "Somebody takes care of an alert of the operator's."),
    ("operator_alert.resolved", "What an alert of the operator's was about is over."),
    ("domain.verified", "A mail domain is in order."),
    ("domain.failed", "A mail domain that was in order is not any more, or its provider gave it up."),
    (
        "registration.changed",
        "A registration with American carriers came a stage further, was rejected, approved, or needs the operator.",
    ),
    ("quota.warning", "Most of the month's messages of the plan are used on a channel: 80 or 90 percent of them."),
    (
        "quota.reached",
        "The month's messages of the plan are used up on a channel. What goes beyond costs more, or is refused.",
    ),
    ("invoice.issued", "An invoice got its number and is to be paid."),
    ("invoice.paid", "An invoice was paid."),
    ("invoice.overdue", "An invoice was not paid in time. Marketing stops two weeks later."),
    ("invoice.voided", "An issued invoice was taken back by a credit note."),
    ("invoice.sent", "An invoice was sent to the customer by hand."),
    (
        "ledger.difference",
        "The daily recount found something that does not add up: usage, the plan, a charge or the ledger.",
    ),
    ("endpoint.disabled", "A webhook endpoint was switched off because it took no events."),
    (
        "whatsapp_template.updated",
        "A WhatsApp template was approved, rejected, rated, changed or deleted at its provider.",
    ),
    ("credit.low", "What can be spent has fallen below the mark that was set; once, until it was above it again."),
    (
        "credit.top_up_needed",
        "What can be spent has fallen below the mark at which credit is to be bought; once, until it was above it again.",
    ),
    ("credit.purchased", "Credit was paid for through the payment provider and can be spent."),
    ("credit.purchase_failed", "A purchase of credit came to nothing: the payment failed, or nobody paid in time."),
    ("credit.payment_method_kept", "What credit was paid with is kept, and pays when credit runs low."),
    ("credit.top_up_failed", "Credit could not be bought by itself: the bank refused, or a limit was reached."),
    ("credit.refunded", "Money was given back and taken from the credit."),
    ("credit.refund_failed", "Money could not be given back after all; the credit is there again."),
    (
        "credit.disputed",
        "The payer of a purchase asks the bank for the money, or that went on; what the bank took is missing from the credit.",
    ),
    ("credit.dispute_closed", "A dispute about a purchase is over: what the bank gave back is in the credit again."),
    ("webhook.test", "You asked for a test of an endpoint. Goes to that endpoint only, whatever its filters."),
];

/// Filters of one endpoint, stream or replay at most: every type by name, and room.
const FILTERS_MAX: usize = 80;

/// Checks event filters: `*`, a noun such as `message.*`, or a type from [`EVENT_TYPES`].
pub fn check(filters: &[String], pointer: &str) -> Result<(), Error> {
    let mut faults = Faults::default();
    add_faults(&mut faults, filters, pointer);
    faults.end()
}

/// Notes what is wrong with event filters.
pub(crate) fn add_faults(faults: &mut Faults, filters: &[String], pointer: &str) {
    if filters.is_empty() {
        faults.add(pointer, "name at least one type of event, or `*` for all");
    }
    if filters.len() > FILTERS_MAX {
        faults.add(pointer, format!("at most {FILTERS_MAX} filters; `*` is all types, `message.*` all about messages"));
        return;
    }
    for (index, filter) in filters.iter().enumerate().filter(|(_, filter)| !is_known(filter)) {
        let known = EVENT_TYPES.iter().map(|(kind, _)| *kind).collect::<Vec<_>>().join(", ");
        faults.add(
            format!("{pointer}/{index}"),
            format!("there is no type of event `{filter}`; there are *, message.*, account.*, domain.*, endpoint.* and {known}"),
        );
    }
}

fn is_known(filter: &str) -> bool {
    let covers = |start: &str| start.ends_with('.') && EVENT_TYPES.iter().any(|(kind, _)| kind.starts_with(start));
    match filter.strip_suffix('*') {
        Some("") => true,
        Some(start) => covers(start),
        None => EVENT_TYPES.iter().any(|(kind, _)| *kind == filter),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(filters: &[&str]) -> Vec<String> {
        let filters: Vec<_> = filters.iter().map(|filter| (*filter).to_owned()).collect();
        check(&filters, "/events")
            .err()
            .map_or(Vec::new(), |error| error.errors.into_iter().map(|field| field.pointer).collect())
    }

    #[test]
    fn filters_are_known_types() {
        for good in [&["*"][..], &["message.*", "endpoint.disabled"], &["message.sent"], &["webhook.*"]] {
            assert_eq!(refused(good), Vec::<String>::new(), "{good:?}");
        }
        assert_eq!(
            refused(&["message.sent", "message.lost", "mess*", "**", ".*", ""]),
            ["/events/1", "/events/2", "/events/3", "/events/4", "/events/5"]
        );
        assert_eq!(refused(&[]), ["/events"]);
        assert_eq!(refused(&["*"; FILTERS_MAX + 1]), ["/events"]);
    }

    #[test]
    fn every_fact_has_its_type() {
        use model::{Fact, Failure, FailureKind};
        let failure = Failure::new(FailureKind::Content, "x", "y");
        let facts = [
            Fact::Sent,
            Fact::Delivered,
            Fact::Read,
            Fact::Failed { failure: failure.clone() },
            Fact::Bounced { hard: true, failure: failure.clone() },
            Fact::Unknown { failure: failure.clone() },
            Fact::Canceled,
            Fact::Expired,
            Fact::Suppressed { failure },
            Fact::Opened,
            Fact::Clicked { url: None },
            Fact::Complained,
            Fact::Unsubscribed,
            Fact::Replied,
        ];
        for fact in facts {
            assert!(is_known(&format!("message.{}", fact.as_str())), "{fact:?}");
        }
    }
}
