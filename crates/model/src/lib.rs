//! The words of the domain, as types: ids, time, money, addresses, content, the message state machine, what is
//! asked of a provider ([`Call`]) and what came back ([`Answer`]), failures, and the fields of settings.
//!
//! Everything here is pure. The traits through which the engine reaches the world ([`Clock`], [`Transport`],
//! [`Blobs`]) are declared here and implemented in `net`, `store` and `testkit`. This crate knows no database, no
//! socket and no provider.

mod address;
mod call;
mod channel;
mod consent;
mod content;
mod failure;
mod id;
mod ids;
mod money;
mod ports;
mod secret;
mod segments;
mod settings;
mod status;
mod time;

pub use address::{Address, BadAddress, ChatId, EmailAddress, Mailbox, Phone, TOLL_FREE, is_toll_free};
pub use call::{
    Answer, Broken, Call, HttpAnswer, HttpCall, Method, SmtpAnswer, SmtpCall, SmtpLogin, SmtpReply, SmtpSecurity,
    SmtpStage,
};
pub use channel::{Channel, Class, Guarantee, Priority, Purpose};
pub use consent::{Blocks, ConsentMethod, ConsentState, SuppressionReason};
pub use content::{
    AttachmentRef, Button, Content, EmailContent, Location, Media, MediaKind, SmsContent, TelegramContent,
    VoiceContent, WebhookContent, WhatsappContent, WhatsappTemplate,
};
pub use failure::{Failure, FailureKind};
pub use id::{
    ATTEMPTS_MAX, AccountId, AlertId, AlertRuleId, AttachmentId, AttemptId, AuditId, BadId, CallbackId, CampaignId,
    ConsentId, ContactExportId, ContactId, ContentRuleId, DomainId, EndpointId, EventId, ImportId, InboundId,
    InvoiceDeliveryId, InvoiceId, KeyId, ListId, MessageId, NumberId, PlanId, PurchaseId, ReconciliationId, RefundId,
    RegistrationId, RouteId, ScheduleId, SegmentId, SenderId, SessionId, SuppressionId, TemplateId, TenantId, Ulid,
    UserId, WhatsappTemplateId,
};
pub use ids::Ids;
pub use money::Money;
pub use ports::{ArrivedMail, Blobs, BoxFuture, Clock, Dns, DnsKind, MailDoor, Transport, Welcome};
pub use secret::Secret;
pub use segments::{Encoding, Segments, odd_characters, segments, smart_text};
pub use settings::{BadSetting, Field, FieldKind, Setting, Values};
pub use status::{Change, Fact, Status, step};
pub use time::Timestamp;
