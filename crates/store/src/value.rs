//! Values both engines can keep, and how Rust types become them.
//!
//! An id is a 16-byte BLOB in SQLite and a UUID in PostgreSQL; an instant is INTEGER microseconds and TIMESTAMPTZ; JSON is TEXT and
//! JSONB; a flag is 0 or 1 and BOOLEAN. Everything else is the same in both.

use std::borrow::Cow;

use model::Timestamp;

use crate::Error;

/// A borrowed value on its way into the database.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'a> {
    /// SQL NULL.
    Null,
    /// A whole number.
    Int(i64),
    /// Yes or no.
    Bool(bool),
    /// Text, or JSON as text.
    Text(&'a str),
    /// Raw bytes.
    Bytes(&'a [u8]),
    /// The sixteen bytes of an id.
    Id([u8; 16]),
    /// An instant.
    Time(Timestamp),
}

/// A value that came out of the database.
#[derive(Debug, Clone, PartialEq)]
pub enum Owned {
    /// SQL NULL.
    Null,
    /// A whole number; in SQLite also flags and instants.
    Int(i64),
    /// Yes or no (PostgreSQL).
    Bool(bool),
    /// Text or JSON.
    Text(String),
    /// Raw bytes.
    Bytes(Vec<u8>),
    /// An id; in SQLite any sixteen bytes.
    Id(u128),
    /// An instant (PostgreSQL).
    Time(Timestamp),
}

/// What a column holds, where that cannot be inferred (see [`crate::Given`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// UUID / BLOB.
    Id,
    /// BIGINT / INTEGER.
    Int,
    /// BOOLEAN / INTEGER.
    Bool,
    /// TEXT.
    Text,
    /// JSONB / TEXT.
    Json,
    /// BYTEA / BLOB.
    Bytes,
    /// TIMESTAMPTZ / INTEGER.
    Time,
}

/// A Rust value that can be a parameter.
pub trait Param: Send + Sync {
    /// The value as the database takes it.
    fn value(&self) -> Value<'_>;
}

/// A Rust type that can be read from a column.
pub trait Column: Sized {
    /// Reads the value; `None` when it has another type.
    fn read(value: Owned) -> Option<Self>;
}

impl<T: Param + ?Sized> Param for &T {
    fn value(&self) -> Value<'_> {
        (**self).value()
    }
}

impl<T: Param> Param for Option<T> {
    fn value(&self) -> Value<'_> {
        self.as_ref().map_or(Value::Null, Param::value)
    }
}

impl<T: Column> Column for Option<T> {
    fn read(value: Owned) -> Option<Self> {
        if value == Owned::Null { Some(None) } else { T::read(value).map(Some) }
    }
}

macro_rules! both {
    ($($type:ty: |$self:ident| $param:expr, |$value:ident| $column:expr;)+) => {$(
        impl Param for $type {
            fn value(&self) -> Value<'_> { let $self = self; $param }
        }
        impl Column for $type {
            fn read($value: Owned) -> Option<Self> { $column }
        }
    )+};
}

fn int(value: Owned) -> Option<i64> {
    if let Owned::Int(int) = value { Some(int) } else { None }
}

both! {
    i64: |n| Value::Int(*n), |v| int(v);
    u64: |n| Value::Int(i64::try_from(*n).unwrap_or(i64::MAX)), |v| int(v).and_then(|n| n.try_into().ok());
    u32: |n| Value::Int(i64::from(*n)), |v| int(v).and_then(|n| n.try_into().ok());
    bool: |flag| Value::Bool(*flag), |v| match v { Owned::Bool(flag) => Some(flag), Owned::Int(n) => Some(n != 0), _ => None };
    String: |text| Value::Text(text), |v| if let Owned::Text(text) = v { Some(text) } else { None };
    Vec<u8>: |bytes| Value::Bytes(bytes), |v| match v { Owned::Bytes(bytes) => Some(bytes), Owned::Id(id) => Some(id.to_be_bytes().to_vec()), _ => None };
    Timestamp: |at| Value::Time(*at), |v| match v { Owned::Time(at) => Some(at), Owned::Int(micros) => Some(Timestamp::from_micros(micros)), _ => None };
}

impl Param for Cow<'_, str> {
    fn value(&self) -> Value<'_> {
        Value::Text(self)
    }
}

impl Param for str {
    fn value(&self) -> Value<'_> {
        Value::Text(self)
    }
}

impl Param for [u8] {
    fn value(&self) -> Value<'_> {
        Value::Bytes(self)
    }
}

macro_rules! ids {
    ($($type:ident),+ $(,)?) => {$(
        impl Param for model::$type {
            fn value(&self) -> Value<'_> { Value::Id(self.ulid().to_be_bytes()) }
        }
        impl Column for model::$type {
            fn read(value: Owned) -> Option<Self> {
                if let Owned::Id(ulid) = value { Some(Self::from_ulid(ulid)) } else { None }
            }
        }
    )+};
}
ids!(
    TenantId,
    AccountId,
    SenderId,
    ContactId,
    ListId,
    SegmentId,
    ImportId,
    DomainId,
    MessageId,
    RegistrationId,
    NumberId,
    AttemptId,
    CampaignId,
    TemplateId,
    EventId,
    EndpointId,
    RouteId,
    KeyId,
    UserId,
    SessionId,
    AttachmentId,
    CallbackId,
    ScheduleId,
    InvoiceDeliveryId,
    InboundId,
    AuditId,
    WhatsappTemplateId,
    SuppressionId,
    ConsentId,
    PlanId,
    InvoiceId,
    AlertId,
    AlertRuleId,
    PurchaseId,
    ReconciliationId,
    RefundId,
    ContactExportId,
    ContentRuleId,
);

macro_rules! codes {
    ($($type:ident),+) => {$(
        impl Param for model::$type {
            fn value(&self) -> Value<'_> { Value::Int(self.code()) }
        }
        impl Column for model::$type {
            fn read(value: Owned) -> Option<Self> { int(value).and_then(Self::from_code) }
        }
    )+};
}
codes!(
    Channel,
    Purpose,
    Priority,
    Guarantee,
    Class,
    Status,
    FailureKind,
    SuppressionReason,
    Blocks,
    ConsentState,
    ConsentMethod
);

/// One row of an answer.
#[derive(Debug)]
pub struct Row(pub(crate) Vec<Owned>);

impl Row {
    /// Takes column `index` (from 0) out of the row.
    pub fn get<T: Column>(&mut self, index: usize) -> Result<T, Error> {
        let value = self
            .0
            .get_mut(index)
            .map(|value| std::mem::replace(value, Owned::Null))
            .ok_or(Error::Decode { column: index })?;
        T::read(value).ok_or(Error::Decode { column: index })
    }
}
