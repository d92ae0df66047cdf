//! A contact as the API and events show it.

use model::{ContactId, Timestamp};
use serde::Serialize;
use serde_json::{Map, Value};
use store::{contact_attributes::Attribute, contacts::Contact};
use utoipa::ToSchema;

use super::attributes;

/// A person a tenant talks to.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct ContactView {
    /// Its id.
    #[schema(value_type = String, example = "con_01K9ZC8Q6T7Y2V5B3N4M1XWRSD")]
    pub id: ContactId,
    /// Your own id for this person.
    pub external_id: Option<String>,
    /// The whole name: as it was given, or first and last name.
    pub name: Option<String>,
    /// First name.
    pub first_name: Option<String>,
    /// Last name.
    pub last_name: Option<String>,
    /// E-mail address, in lower case.
    pub email: Option<String>,
    /// Phone number in E.164.
    pub phone: Option<String>,
    /// Where WhatsApp messages go: a number of its own, or the phone number.
    pub whatsapp: Option<String>,
    /// The chat with your Telegram bot.
    pub telegram_chat_id: Option<i64>,
    /// Language by BCP 47.
    pub language: Option<String>,
    /// Time zone by its IANA name.
    pub timezone: Option<String>,
    /// Values of your own attributes, by name.
    #[schema(value_type = Object)]
    pub attributes: Map<String, Value>,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it last changed.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
}

/// A row as the API shows it.
pub(crate) fn contact(row: &Contact, schema: &[Attribute]) -> ContactView {
    ContactView {
        id: row.id,
        external_id: row.external_id.clone(),
        name: row.display_name(),
        first_name: row.first_name.clone(),
        last_name: row.last_name.clone(),
        email: row.email.clone(),
        phone: row.phone.clone(),
        whatsapp: row.whatsapp_number().cloned(),
        telegram_chat_id: row.telegram_chat_id,
        language: row.language.clone(),
        timezone: row.timezone.clone(),
        attributes: attributes::shown(row, schema),
        created_at: row.created_at,
        updated_at: row.updated_at,
    }
}

/// A contact as events carry it.
pub(crate) fn json(view: &ContactView) -> String {
    serde_json::to_string(view).expect("a contact has a JSON form")
}
