//! Typed ids: a prefix and a sortable ULID, as in `msg_01K9ZC8Q6T7Y2V5B3N4M1XWRSD`.
//!
//! The text form is what people and programs see; the database keeps the sixteen bytes.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The 128 bits behind every id.
pub type Ulid = u128;

/// A text that is not an id of the wanted type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected an id that starts with `{prefix}_` followed by 26 characters")]
pub struct BadId {
    /// The prefix that was expected, without the underscore.
    pub prefix: &'static str,
}

macro_rules! id {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal;)+) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Ulid);

        impl $name {
            /// The letters before the underscore.
            pub const PREFIX: &'static str = $prefix;

            /// Takes the sixteen bytes as the database keeps them.
            pub const fn from_ulid(ulid: Ulid) -> Self { Self(ulid) }

            /// The sixteen bytes for the database.
            pub const fn ulid(self) -> Ulid { self.0 }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut buffer = [0; ulid::ULID_LEN];
                f.write_str(concat!($prefix, "_"))?;
                f.write_str(ulid::Ulid(self.0).array_to_str(&mut buffer))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { fmt::Display::fmt(self, f) }
        }

        impl FromStr for $name {
            type Err = BadId;

            fn from_str(text: &str) -> Result<Self, BadId> {
                text.strip_prefix(concat!($prefix, "_"))
                    .and_then(|rest| ulid::Ulid::from_string(rest).ok())
                    .map(|ulid| Self(ulid.0))
                    .ok_or(BadId { prefix: $prefix })
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> { serializer.collect_str(self) }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )+};
}

id! {
    /// A customer of the operator: owns accounts, messages, keys and everything else.
    TenantId = "ten";
    /// A tenant's sealed settings for one connector. A webhook endpoint uses the same sixteen bytes as its account.
    AccountId = "acc";
    /// A number, domain or bot on an account.
    SenderId = "snd";
    /// A mail domain on an account.
    DomainId = "dom";
    /// A person a tenant talks to.
    ContactId = "con";
    /// Contacts a tenant put together by hand or by an import.
    ListId = "lst";
    /// Contacts described by conditions.
    SegmentId = "seg";
    /// One import of contacts.
    ImportId = "imp";
    /// One thing to one recipient.
    MessageId = "msg";
    /// One exchange with a provider about one message.
    AttemptId = "att";
    /// A message in many copies with an audience and a schedule.
    CampaignId = "cmp";
    /// A stored template.
    TemplateId = "tpl";
    /// A WhatsApp template at a provider, as we keep it.
    WhatsappTemplateId = "wat";
    /// Something we tell the tenant.
    EventId = "evt";
    /// A tenant's webhook endpoint.
    EndpointId = "whk";
    /// A rule about which account a message leaves through.
    RouteId = "rte";
    /// An API key.
    KeyId = "key";
    /// A person who signs in.
    UserId = "usr";
    /// A person's sign-in on one device.
    SessionId = "ses";
    /// An uploaded or inlined file.
    AttachmentId = "atc";
    /// One raw request from a provider.
    CallbackId = "cbk";
    /// A message somebody sent to the tenant.
    InboundId = "inb";
    /// An entry of the audit log.
    AuditId = "aud";
    /// A message that repeats.
    ScheduleId = "sch";
    /// An invoice sent to a tenant's customer.
    InvoiceDeliveryId = "ivd";
    /// An entry of a tenant's suppression list.
    SuppressionId = "sup";
    /// One thing a contact said about consent.
    ConsentId = "cns";
    /// What a tenant subscribes to.
    PlanId = "pln";
    /// A tenant's bill for a month, or what takes one back.
    InvoiceId = "inv";
    /// A rule for what messages may say.
    ContentRuleId = "crl";
    /// The permission to read everything about a contact.
    ContactExportId = "cxp";
    /// What a rule watches.
    AlertRuleId = "alr";
    /// Something a rule found.
    AlertId = "alt";
    /// A tenant's registration with the carriers of a country.
    RegistrationId = "reg";
    /// A number the operator holds.
    NumberId = "num";
    /// Credit that is bought.
    PurchaseId = "pur";
    /// Money that goes back.
    RefundId = "rfd";
    /// Our records held against a provider's.
    ReconciliationId = "rec";
}

impl EndpointId {
    /// The account under which this endpoint's deliveries are leased, limited and paused.
    pub const fn account(self) -> AccountId {
        AccountId::from_ulid(self.0)
    }
}

/// Exchanges with providers about one message at most; what is left then fails.
pub const ATTEMPTS_MAX: u32 = crate::ids::ATTEMPTS_MASK as u32;

impl MessageId {
    /// The id of this message's attempt `number`, from 1 to [`ATTEMPTS_MAX`]: the same bits plus the number, so that a provider's echo of it
    /// leads back to the message without a look-up.
    pub const fn attempt(self, number: u32) -> AttemptId {
        AttemptId((self.0 & !crate::ids::ATTEMPTS_MASK) | (number as Ulid & crate::ids::ATTEMPTS_MASK))
    }
}

impl AttemptId {
    /// The message this attempt belongs to.
    pub const fn message(self) -> MessageId {
        MessageId(self.0 & !crate::ids::ATTEMPTS_MASK)
    }

    /// Its number, from 1.
    pub const fn number(self) -> u32 {
        (self.0 & crate::ids::ATTEMPTS_MASK) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_leads_back_to_its_message() {
        let message = MessageId::from_ulid(crate::Ids::seeded(1).ulid(crate::Timestamp::from_millis(5)));
        let attempt = message.attempt(3);
        assert_eq!((attempt.message(), attempt.number()), (message, 3));
    }

    #[test]
    fn text_and_bytes_name_the_same_id() {
        let id = MessageId::from_ulid(0x0193_5f0a_7c00_1234_5678_9abc_def0_1234);
        let text = id.to_string();
        assert!(text.starts_with("msg_01"), "{text}");
        assert_eq!(text.parse(), Ok(id));
        assert_eq!(serde_json::to_string(&id).unwrap(), format!("\"{text}\""));
    }

    #[test]
    fn another_prefix_is_refused() {
        let id = MessageId::from_ulid(7).to_string().replace("msg_", "acc_");
        assert_eq!(id.parse::<MessageId>(), Err(BadId { prefix: "msg" }));
        assert!("msg_".parse::<MessageId>().is_err());
        assert!("msg_01J".parse::<MessageId>().is_err());
    }
}
