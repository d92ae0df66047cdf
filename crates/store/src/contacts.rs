//! Contacts: the people a tenant talks to.
//!
//! A row is read whole when a segment is counted, so it is compact, and attributes lie in columns of their own (`n1`…, `t1`…; [`crate::contact_attributes`] says which
//! is where). E-mail addresses are kept in lower case, phone numbers in E.164: equal means the same.

use std::{collections::HashSet, sync::Arc};

use model::{ContactId, ListId, MessageId, TenantId, Timestamp};

use crate::{Dialect, Error, Given, Kind, Param, Row, Tx, segments::Condition, sql::Sql};

/// Columns for numbers, dates and flags, and as many for texts and lists of texts.
pub const SLOTS: usize = 20;
/// Columns before the attributes.
const PLAIN: usize = 15;
const ALL: usize = PLAIN + 2 * SLOTS;

/// A row of `contacts`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contact {
    /// Whose.
    pub tenant_id: TenantId,
    /// Which.
    pub id: ContactId,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// The tenant's own id for it.
    pub external_id: Option<String>,
    /// In lower case.
    pub email: Option<String>,
    /// In E.164.
    pub phone: Option<String>,
    /// The WhatsApp number in E.164, where it is another than `phone`.
    pub whatsapp: Option<String>,
    /// A Telegram chat.
    pub telegram_chat_id: Option<i64>,
    /// BCP 47.
    pub language: Option<String>,
    /// IANA.
    pub timezone: Option<String>,
    /// The whole name, where it is not first and last name.
    pub name: Option<String>,
    /// First name.
    pub first_name: Option<String>,
    /// Last name.
    pub last_name: Option<String>,
    /// Numbers, dates and flags by slot; slots after the last are empty.
    pub numbers: Vec<Option<i64>>,
    /// Texts and lists of texts by slot; slots after the last are empty.
    pub texts: Vec<Option<String>>,
}

impl Contact {
    /// One that has nothing yet.
    pub const fn new(tenant_id: TenantId, id: ContactId, now: Timestamp) -> Self {
        Self {
            tenant_id,
            id,
            created_at: now,
            updated_at: now,
            external_id: None,
            email: None,
            phone: None,
            whatsapp: None,
            telegram_chat_id: None,
            language: None,
            timezone: None,
            name: None,
            first_name: None,
            last_name: None,
            numbers: Vec::new(),
            texts: Vec::new(),
        }
    }

    /// How people call them: the name, or first and last name.
    pub fn display_name(&self) -> Option<String> {
        self.name.clone().or_else(|| match (&self.first_name, &self.last_name) {
            (Some(first), Some(last)) => Some(format!("{first} {last}")),
            (Some(one), None) | (None, Some(one)) => Some(one.clone()),
            (None, None) => None,
        })
    }

    /// Where WhatsApp messages go.
    pub const fn whatsapp_number(&self) -> Option<&String> {
        match &self.whatsapp {
            Some(number) => Some(number),
            None => self.phone.as_ref(),
        }
    }

    /// What a search for a name looks through: every name, in lower case.
    fn search_name(&self) -> Option<String> {
        let full = self.display_name()?;
        let mut text = full.to_lowercase();
        for part in [&self.first_name, &self.last_name].into_iter().flatten() {
            let part = part.to_lowercase();
            if !text.contains(&part) {
                text.push('\n');
                text.push_str(&part);
            }
        }
        Some(text)
    }
}

/// Puts a list of texts into one text, so that `contains` is a search for one separated item. Items hold no control characters.
pub fn join_list(items: &[String]) -> String {
    let mut text = String::from(SEPARATOR);
    for item in items {
        text.push_str(item);
        text.push(SEPARATOR);
    }
    text
}

/// The items of a joined list.
pub fn split_list(text: &str) -> Vec<String> {
    let inner = text.strip_prefix(SEPARATOR).and_then(|text| text.strip_suffix(SEPARATOR));
    inner.map_or_else(Vec::new, |inner| inner.split(SEPARATOR).map(str::to_owned).collect())
}

/// ASCII's own unit separator: no text of a contact holds it.
pub(crate) const SEPARATOR: char = '\u{1f}';

const KINDS: &[(&str, Kind); ALL] = &[
    ("tenant_id", Kind::Id),
    ("id", Kind::Id),
    ("created_at", Kind::Time),
    ("updated_at", Kind::Time),
    ("external_id", Kind::Text),
    ("email", Kind::Text),
    ("phone", Kind::Text),
    ("whatsapp", Kind::Text),
    ("telegram_chat_id", Kind::Int),
    ("language", Kind::Text),
    ("timezone", Kind::Text),
    ("name", Kind::Text),
    ("first_name", Kind::Text),
    ("last_name", Kind::Text),
    ("search_name", Kind::Text),
    ("n1", Kind::Int),
    ("n2", Kind::Int),
    ("n3", Kind::Int),
    ("n4", Kind::Int),
    ("n5", Kind::Int),
    ("n6", Kind::Int),
    ("n7", Kind::Int),
    ("n8", Kind::Int),
    ("n9", Kind::Int),
    ("n10", Kind::Int),
    ("n11", Kind::Int),
    ("n12", Kind::Int),
    ("n13", Kind::Int),
    ("n14", Kind::Int),
    ("n15", Kind::Int),
    ("n16", Kind::Int),
    ("n17", Kind::Int),
    ("n18", Kind::Int),
    ("n19", Kind::Int),
    ("n20", Kind::Int),
    ("t1", Kind::Text),
    ("t2", Kind::Text),
    ("t3", Kind::Text),
    ("t4", Kind::Text),
    ("t5", Kind::Text),
    ("t6", Kind::Text),
    ("t7", Kind::Text),
    ("t8", Kind::Text),
    ("t9", Kind::Text),
    ("t10", Kind::Text),
    ("t11", Kind::Text),
    ("t12", Kind::Text),
    ("t13", Kind::Text),
    ("t14", Kind::Text),
    ("t15", Kind::Text),
    ("t16", Kind::Text),
    ("t17", Kind::Text),
    ("t18", Kind::Text),
    ("t19", Kind::Text),
    ("t20", Kind::Text),
];

/// The columns of `contacts AS c` that [`read`] reads.
pub(crate) fn columns() -> String {
    let names: Vec<String> =
        KINDS.iter().filter(|(name, _)| *name != "search_name").map(|(name, _)| format!("c.{name}")).collect();
    names.join(", ")
}

pub(crate) fn read(mut row: Row) -> Result<Contact, Error> {
    let row = &mut row;
    let first = PLAIN - 1;
    let mut contact = Contact {
        tenant_id: row.get(0)?,
        id: row.get(1)?,
        created_at: row.get(2)?,
        updated_at: row.get(3)?,
        external_id: row.get(4)?,
        email: row.get(5)?,
        phone: row.get(6)?,
        whatsapp: row.get(7)?,
        telegram_chat_id: row.get(8)?,
        language: row.get(9)?,
        timezone: row.get(10)?,
        name: row.get(11)?,
        first_name: row.get(12)?,
        last_name: row.get(13)?,
        numbers: (first..first + SLOTS).map(|index| row.get(index)).collect::<Result<_, _>>()?,
        texts: (first + SLOTS..first + 2 * SLOTS).map(|index| row.get(index)).collect::<Result<_, _>>()?,
    };
    trim(&mut contact.numbers);
    trim(&mut contact.texts);
    Ok(contact)
}

/// Slots after the last that holds something are left out, so that equal contacts are equal rows.
fn trim<T>(slots: &mut Vec<Option<T>>) {
    while slots.last().is_some_and(Option::is_none) {
        slots.pop();
    }
}

fn cells<'a>(contact: &'a Contact, search_name: &'a Option<String>) -> [&'a dyn Param; ALL] {
    const NO_NUMBER: &Option<i64> = &None;
    const NO_TEXT: &Option<String> = &None;
    let c = contact;
    let mut cells: [&dyn Param; ALL] = [NO_NUMBER; ALL];
    let plain: [&dyn Param; PLAIN] = [
        &c.tenant_id,
        &c.id,
        &c.created_at,
        &c.updated_at,
        &c.external_id,
        &c.email,
        &c.phone,
        &c.whatsapp,
        &c.telegram_chat_id,
        &c.language,
        &c.timezone,
        &c.name,
        &c.first_name,
        &c.last_name,
        search_name,
    ];
    cells[..PLAIN].copy_from_slice(&plain);
    for slot in 0..SLOTS {
        cells[PLAIN + slot] = c.numbers.get(slot).unwrap_or(NO_NUMBER);
        cells[PLAIN + SLOTS + slot] = c.texts.get(slot).unwrap_or(NO_TEXT);
    }
    cells
}

/// Adds contacts of any tenants. Answers how many: fewer than given when an external id, address or number is taken.
pub async fn insert_many(tx: &mut Tx, contacts: &[Contact]) -> Result<u64, Error> {
    let names: Vec<Option<String>> = contacts.iter().map(Contact::search_name).collect();
    let mut given = Given::new(KINDS);
    for (contact, name) in contacts.iter().zip(&names) {
        given.row(cells(contact, name));
    }
    tx.insert_many("contacts", &given, "ON CONFLICT DO NOTHING").await
}

/// Writes everything that can change of contacts of any tenants. [`Error::Conflict`] when an external id, address or number is taken.
pub async fn update_many(tx: &mut Tx, contacts: &[Contact]) -> Result<u64, Error> {
    let names: Vec<Option<String>> = contacts.iter().map(Contact::search_name).collect();
    let mut given = Given::new(KINDS);
    for (contact, name) in contacts.iter().zip(&names) {
        given.row(cells(contact, name));
    }
    tx.update_many("contacts", 2, &given).await
}

/// Notes that the tenant has contacts. `true` when it had none before: then its configuration changed.
pub async fn mark(tx: &mut Tx, tenant: TenantId) -> Result<bool, Error> {
    let sql = "UPDATE tenants SET has_contacts = TRUE WHERE id = $1 AND has_contacts = FALSE";
    Ok(tx.execute(sql, &[&tenant]).await? == 1)
}

/// True once the tenant has had a contact.
pub async fn any(tx: &mut Tx, tenant: TenantId) -> Result<bool, Error> {
    let row = tx.row("SELECT has_contacts FROM tenants WHERE id = $1", &[&tenant]).await?;
    row.map_or(Ok(false), |mut row| row.get(0))
}

/// One of the tenant's contacts.
pub async fn find(tx: &mut Tx, tenant: TenantId, id: ContactId) -> Result<Option<Contact>, Error> {
    let sql = format!("SELECT {} FROM contacts AS c WHERE c.tenant_id = $1 AND c.id = $2", columns());
    tx.row(&sql, &[&tenant, &id]).await?.map(read).transpose()
}

/// One of the tenant's contacts, kept from changing until the transaction ends.
pub async fn lock(tx: &mut Tx, tenant: TenantId, id: ContactId) -> Result<Option<Contact>, Error> {
    let lock = tx.dialect().for_update();
    let sql = format!("SELECT {} FROM contacts AS c WHERE c.tenant_id = $1 AND c.id = $2 {lock}", columns());
    tx.row(&sql, &[&tenant, &id]).await?.map(read).transpose()
}

/// Several of the tenant's contacts, in no particular order.
pub async fn find_many(tx: &mut Tx, tenant: TenantId, ids: &[ContactId]) -> Result<Vec<Contact>, Error> {
    let mut given = Given::new(&[("tenant_id", Kind::Id), ("id", Kind::Id)]);
    for id in ids {
        given.row([&tenant, id]);
    }
    let rows = tx.match_many(&format!("SELECT {} FROM contacts AS c", columns()), &given, "").await?;
    rows.into_iter().map(read).collect()
}

/// What a contact can be recognised by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Key {
    /// The tenant's own id.
    ExternalId,
    /// An e-mail address, in lower case.
    Email,
    /// A phone number.
    Phone,
    /// A WhatsApp number that is another than the phone number. Not unique.
    Whatsapp,
    /// A Telegram chat, as text.
    Telegram,
}

impl Key {
    const fn columns(self) -> &'static [(&'static str, Kind)] {
        match self {
            Self::ExternalId => &[("tenant_id", Kind::Id), ("external_id", Kind::Text)],
            Self::Email => &[("tenant_id", Kind::Id), ("email", Kind::Text)],
            Self::Phone => &[("tenant_id", Kind::Id), ("phone", Kind::Text)],
            Self::Whatsapp => &[("tenant_id", Kind::Id), ("whatsapp", Kind::Text)],
            Self::Telegram => &[("tenant_id", Kind::Id), ("telegram_chat_id", Kind::Int)],
        }
    }
}

/// The tenant's contacts that have one of these keys, in no particular order.
pub async fn find_by_keys(tx: &mut Tx, tenant: TenantId, key: Key, values: &[String]) -> Result<Vec<Contact>, Error> {
    let chats = chats(key, values.iter().map(String::as_str));
    let mut given = Given::new(key.columns());
    for (text, chat) in values.iter().zip(&chats) {
        if key == Key::Telegram { given.row([&tenant, chat]) } else { given.row([&tenant, text]) }
    }
    let rows = tx.match_many(&format!("SELECT {} FROM contacts AS c", columns()), &given, "").await?;
    rows.into_iter().map(read).collect()
}

/// Whose these keys are, of any tenants: (tenant, key, contact). A key nobody has is left out.
pub async fn owners(
    tx: &mut Tx,
    key: Key,
    values: &[(TenantId, String)],
) -> Result<Vec<(TenantId, String, ContactId)>, Error> {
    let chats = chats(key, values.iter().map(|(_, text)| text.as_str()));
    let mut given = Given::new(key.columns());
    for ((tenant, text), chat) in values.iter().zip(&chats) {
        if key == Key::Telegram { given.row([tenant, chat]) } else { given.row([tenant, text]) }
    }
    let column = key.columns()[1].0;
    let rows = tx.match_many(&format!("SELECT tenant_id, {column}, id FROM contacts"), &given, "").await?;
    rows.into_iter()
        .map(|mut row| {
            let text = if key == Key::Telegram { row.get::<i64>(1)?.to_string() } else { row.get(1)? };
            Ok((row.get(0)?, text, row.get(2)?))
        })
        .collect()
}

/// Chat ids as numbers; what is no number is nobody's.
fn chats<'a>(key: Key, texts: impl Iterator<Item = &'a str>) -> Vec<Option<i64>> {
    texts.map(|text| if key == Key::Telegram { text.parse().ok() } else { None }).collect()
}

/// Which of these are contacts of the tenant.
pub async fn known(tx: &mut Tx, tenant: TenantId, ids: &[ContactId]) -> Result<HashSet<ContactId>, Error> {
    let mut given = Given::new(&[("tenant_id", Kind::Id), ("id", Kind::Id)]);
    for id in ids {
        given.row([&tenant, id]);
    }
    let rows = tx.match_many("SELECT id FROM contacts", &given, "").await?;
    rows.into_iter().map(|mut row| row.get(0)).collect()
}

/// Removes a contact and its places in lists. `false` when there was none.
pub async fn delete(tx: &mut Tx, tenant: TenantId, id: ContactId) -> Result<bool, Error> {
    tx.execute("DELETE FROM list_members WHERE tenant_id = $1 AND contact_id = $2", &[&tenant, &id]).await?;
    Ok(tx.execute("DELETE FROM contacts WHERE tenant_id = $1 AND id = $2", &[&tenant, &id]).await? == 1)
}

/// Gives what `from` belonged to and said to `to`. Its messages may be many: they follow in steps of [`move_some`], which the row of a [`Move`] asks for.
pub async fn hand_over(
    tx: &mut Tx,
    tenant: TenantId,
    from: ContactId,
    to: ContactId,
    now: Timestamp,
) -> Result<(), Error> {
    // What was on its way to `from` goes on to `to`.
    let sql = "UPDATE contact_moves SET to_id = $1 WHERE tenant_id = $2 AND to_id = $3";
    tx.execute(sql, &[&to, &tenant, &from]).await?;
    let sql = "INSERT INTO contact_moves (tenant_id, from_id, to_id, created_at) VALUES ($1, $2, $3, $4)";
    tx.execute(sql, &[&tenant, &from, &to, &now]).await?;
    let sql = "INSERT INTO list_members (tenant_id, list_id, contact_id, added_at)
         SELECT tenant_id, list_id, $1, added_at FROM list_members WHERE tenant_id = $2 AND contact_id = $3
         ON CONFLICT DO NOTHING";
    tx.execute(sql, &[&to, &tenant, &from]).await?;
    hand_over_consent(tx, tenant, from, to).await
}

/// A contact whose messages are still being handed over to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Move {
    /// Whose.
    pub tenant_id: TenantId,
    /// The contact that ended.
    pub from: ContactId,
    /// The one it became.
    pub to: ContactId,
    /// When they were merged.
    pub created_at: Timestamp,
}

fn read_move(mut row: Row) -> Result<Move, Error> {
    Ok(Move { tenant_id: row.get(0)?, from: row.get(1)?, to: row.get(2)?, created_at: row.get(3)? })
}

/// The contacts that become this one and are not done.
pub async fn moves_to(tx: &mut Tx, tenant: TenantId, to: ContactId) -> Result<Vec<Move>, Error> {
    let sql = "SELECT tenant_id, from_id, to_id, created_at FROM contact_moves WHERE tenant_id = $1 AND to_id = $2 ORDER BY from_id";
    tx.rows(sql, &[&tenant, &to]).await?.into_iter().map(read_move).collect()
}

/// Up to `limit` contacts of any tenants that become others and are not done.
pub async fn moves(tx: &mut Tx, limit: i64) -> Result<Vec<Move>, Error> {
    let sql = "SELECT tenant_id, from_id, to_id, created_at FROM contact_moves ORDER BY tenant_id, from_id LIMIT $1";
    tx.rows(sql, &[&limit]).await?.into_iter().map(read_move).collect()
}

/// Hands up to `limit` messages each way over to the contact another one became. Answers how many; 0 when none is left.
pub async fn move_some(tx: &mut Tx, m: &Move, limit: i64) -> Result<u64, Error> {
    let lock = tx.dialect().for_update();
    let mut count = 0;
    for table in ["messages", "inbound_messages"] {
        // Locked in the order of ids, as everybody locks them, so that nobody waits in a circle.
        let sql =
            format!("SELECT id FROM {table} WHERE tenant_id = $1 AND contact_id = $2 ORDER BY id LIMIT $3 {lock}");
        let rows = tx.rows(&sql, &[&m.tenant_id, &m.from, &limit]).await?;
        let ids: Vec<MessageId> = rows.into_iter().map(|mut row| row.get(0)).collect::<Result<_, _>>()?;
        let Some((first, last)) = ids.first().zip(ids.last()) else { continue };
        let sql = format!(
            "UPDATE {table} SET contact_id = $1 WHERE tenant_id = $2 AND contact_id = $3 AND id >= $4 AND id <= $5"
        );
        count += tx.execute(&sql, &[&m.to, &m.tenant_id, &m.from, first, last]).await?;
    }
    Ok(count)
}

/// Ends a move.
pub async fn end_move(tx: &mut Tx, m: &Move) -> Result<(), Error> {
    let sql = "DELETE FROM contact_moves WHERE tenant_id = $1 AND from_id = $2 AND to_id = $3";
    tx.execute(sql, &[&m.tenant_id, &m.from, &m.to]).await.map(drop)
}

/// What a contact said and prefers goes to another, so that nobody is written to again because two records became one: records are kept, the later word about the same thing stands,
/// and who is not to be contacted stays so.
async fn hand_over_consent(tx: &mut Tx, tenant: TenantId, from: ContactId, to: ContactId) -> Result<(), Error> {
    let sql = "UPDATE consent_records SET contact_id = $1 WHERE tenant_id = $2 AND contact_id = $3";
    tx.execute(sql, &[&to, &tenant, &from]).await?;
    let sql = "INSERT INTO consent_states (tenant_id, contact_id, channel, topic, state, changed_at)
         SELECT tenant_id, $1, channel, topic, state, changed_at FROM consent_states WHERE tenant_id = $2 AND contact_id = $3
         ON CONFLICT (tenant_id, contact_id, channel, topic) DO UPDATE SET state = excluded.state, changed_at = excluded.changed_at
         WHERE consent_states.changed_at < excluded.changed_at";
    tx.execute(sql, &[&to, &tenant, &from]).await?;
    let sql = "INSERT INTO contact_preferences (tenant_id, contact_id, do_not_contact, quiet_from, quiet_until, channels, reminders, reminder_days, updated_at)
         SELECT tenant_id, $1, do_not_contact, quiet_from, quiet_until, channels, reminders, reminder_days, updated_at
         FROM contact_preferences WHERE tenant_id = $2 AND contact_id = $3
         ON CONFLICT (tenant_id, contact_id) DO UPDATE SET do_not_contact = (contact_preferences.do_not_contact OR excluded.do_not_contact)";
    tx.execute(sql, &[&to, &tenant, &from]).await?;
    for table in ["consent_states", "contact_preferences"] {
        let sql = format!("DELETE FROM {table} WHERE tenant_id = $1 AND contact_id = $2");
        tx.execute(&sql, &[&tenant, &from]).await?;
    }
    Ok(())
}

/// Which of a tenant's contacts.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Audience {
    /// All of them.
    #[default]
    All,
    /// Those on a list.
    List(ListId),
    /// Those of whom a condition holds.
    Segment(Arc<Condition>),
}

/// `FROM … WHERE …` for an audience. Its contacts are `c`; their ids are read as the second value, in the order of which rows are found fastest.
fn from(dialect: Dialect, tenant: TenantId, audience: &Audience) -> (Sql, &'static str) {
    let mut sql = Sql::default();
    match audience {
        Audience::All => {
            sql.push("FROM contacts AS c WHERE c.tenant_id = ").bind(tenant);
            (sql, "c.id")
        }
        Audience::List(list) => {
            // In this order: a list is short beside all contacts.
            sql.push("FROM list_members AS m CROSS JOIN contacts AS c WHERE m.tenant_id = ").bind(tenant);
            sql.push(" AND m.list_id = ").bind(*list);
            sql.push(" AND c.tenant_id = m.tenant_id AND c.id = m.contact_id");
            (sql, "m.contact_id")
        }
        Audience::Segment(condition) => {
            sql.push("FROM contacts AS c WHERE c.tenant_id = ").bind(tenant).push(" AND ");
            condition.write(&mut sql, dialect, tenant, false);
            (sql, "c.id")
        }
    }
}

/// What a search looks for.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Search {
    /// A text: the beginning of an address, number or external id, or part of a name.
    pub text: Option<String>,
    /// Which contacts.
    pub audience: Audience,
}

/// One page of a search, newest first, made before `before`.
pub async fn search(
    tx: &mut Tx,
    tenant: TenantId,
    search: &Search,
    before: ContactId,
    limit: i64,
) -> Result<Vec<Contact>, Error> {
    let (mut sql, id) = from(tx.dialect(), tenant, &search.audience);
    sql.push(&format!(" AND {id} < ")).bind(before);
    if let Some(text) = &search.text {
        sql.push(" AND (").starts_with("c.email", &text.to_lowercase());
        sql.push(" OR ").starts_with("c.phone", text);
        sql.push(" OR ").starts_with("c.external_id", text);
        if !text.contains('@') && !text.starts_with('+') {
            sql.push(" OR ").contains(tx.dialect(), "c.search_name", &text.to_lowercase());
        }
        sql.push(")");
    }
    sql.push(&format!(" ORDER BY {id} DESC LIMIT ")).bind(limit);
    sql.rows(tx, &format!("SELECT {} ", columns())).await?.into_iter().map(read).collect()
}

/// Up to `limit` contacts of an audience after `after`, in the order of their ids: for campaigns and exports, page by page.
pub async fn page(
    tx: &mut Tx,
    tenant: TenantId,
    audience: &Audience,
    after: ContactId,
    limit: i64,
) -> Result<Vec<Contact>, Error> {
    let (mut sql, id) = from(tx.dialect(), tenant, audience);
    sql.push(&format!(" AND {id} > ")).bind(after);
    sql.push(&format!(" ORDER BY {id} LIMIT ")).bind(limit);
    sql.rows(tx, &format!("SELECT {} ", columns())).await?.into_iter().map(read).collect()
}

/// How many contacts an audience has.
pub async fn count(tx: &mut Tx, tenant: TenantId, audience: &Audience) -> Result<i64, Error> {
    let (sql, _) = from(tx.dialect(), tenant, audience);
    sql.rows(tx, "SELECT COUNT(*) ").await?.into_iter().next().map_or(Ok(0), |mut row| row.get(0))
}
