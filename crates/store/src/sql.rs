//! A statement put together from pieces, with its values: for searches and segments, whose conditions nobody knows beforehand.

use model::{Timestamp, Ulid};

use crate::{Dialect, Error, Param, Row, Tx, Value};

/// A value that outlives the piece of SQL it was bound in.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Bind {
    Int(i64),
    Text(String),
    Id(Ulid),
    Time(Timestamp),
}

impl Param for Bind {
    fn value(&self) -> Value<'_> {
        match self {
            Self::Int(int) => Value::Int(*int),
            Self::Text(text) => Value::Text(text),
            Self::Id(ulid) => Value::Id(ulid.to_be_bytes()),
            Self::Time(at) => Value::Time(*at),
        }
    }
}

macro_rules! binds {
    ($($type:ty => |$value:ident| $bind:expr;)+) => { $(impl From<$type> for Bind { fn from($value: $type) -> Self { $bind } })+ };
}
binds! {
    i64 => |int| Self::Int(int);
    String => |text| Self::Text(text);
    &str => |text| Self::Text(text.to_owned());
    Timestamp => |at| Self::Time(at);
    model::TenantId => |id| Self::Id(id.ulid());
    model::ContactId => |id| Self::Id(id.ulid());
    model::MessageId => |id| Self::Id(id.ulid());
    model::ListId => |id| Self::Id(id.ulid());
    model::CampaignId => |id| Self::Id(id.ulid());
    model::AccountId => |id| Self::Id(id.ulid());
    model::TemplateId => |id| Self::Id(id.ulid());
    model::InvoiceId => |id| Self::Id(id.ulid());
    model::AuditId => |id| Self::Id(id.ulid());
    model::AlertId => |id| Self::Id(id.ulid());
    model::AlertRuleId => |id| Self::Id(id.ulid());
    model::PurchaseId => |id| Self::Id(id.ulid());
    model::RefundId => |id| Self::Id(id.ulid());
}

/// SQL under construction: a statement from its `FROM` on.
#[derive(Debug, Default)]
pub(crate) struct Sql {
    text: String,
    binds: Vec<Bind>,
}

impl Sql {
    /// Adds a piece without values.
    pub(crate) fn push(&mut self, piece: &str) -> &mut Self {
        self.text.push_str(piece);
        self
    }

    /// Adds a value.
    pub(crate) fn bind(&mut self, value: impl Into<Bind>) -> &mut Self {
        self.binds.push(value.into());
        self.text.push_str(&format!("${}", self.binds.len()));
        self
    }

    /// A condition: the column begins with `prefix`. An index on the column is used; it must compare byte by byte.
    pub(crate) fn starts_with(&mut self, column: &str, prefix: &str) -> &mut Self {
        // The highest character there is ends the range.
        self.push(&format!("({column} >= ")).bind(prefix);
        self.push(&format!(" AND {column} < ")).bind(format!("{prefix}\u{10FFFF}")).push(")")
    }

    /// A condition: the column holds `part` somewhere.
    pub(crate) fn contains(&mut self, dialect: Dialect, column: &str, part: &str) -> &mut Self {
        let place = match dialect {
            Dialect::Sqlite => "instr",
            Dialect::Postgres => "strpos",
        };
        self.push(&format!("{place}({column}, ")).bind(part).push(") > 0")
    }

    /// The same, whatever the case of the letters A to Z.
    pub(crate) fn contains_word(&mut self, dialect: Dialect, column: &str, part: &str) -> &mut Self {
        let lower = match dialect {
            Dialect::Sqlite => format!("LOWER({column})"),
            // Other collations know more letters than SQLite does.
            Dialect::Postgres => format!("LOWER({column} COLLATE \"C\")"),
        };
        self.contains(dialect, &lower, &part.to_ascii_lowercase())
    }

    /// Runs `head` and this.
    pub(crate) async fn rows(&self, tx: &mut Tx, head: &str) -> Result<Vec<Row>, Error> {
        let params: Vec<&dyn Param> = self.binds.iter().map(|bind| bind as &dyn Param).collect();
        tx.rows(&format!("{head}{}", self.text), &params).await
    }
}
