//! The providers there are, from their own declarations.

use connectors::{Connector, registry};
use model::{Channel, Field, FieldKind};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    answer::{self, Answer},
    extract::Who,
};

/// One connector.
#[derive(Serialize, ToSchema)]
pub(crate) struct ConnectorView {
    /// What `POST /v1/accounts` takes as `connector`.
    #[schema(example = "twilio")]
    id: &'static str,
    /// The provider's name.
    #[schema(example = "Twilio")]
    name: &'static str,
    /// The provider's own documentation.
    #[schema(format = "uri")]
    docs_url: Option<&'static str>,
    /// Channels it carries.
    #[schema(value_type = Vec<String>)]
    channels: &'static [Channel],
    /// The pace it keeps to unless the account sets less.
    limits: ConnectorLimits,
    /// Its settings.
    fields: Vec<ConnectorField>,
    /// Whether an account needs `from`.
    needs_from: bool,
    /// What `from` looks like; `null` when none is needed.
    from_example: Option<&'static str>,
    /// Whether the provider reports delivery.
    has_receipts: bool,
    /// How to set up its callbacks by hand; `null` when nothing is to be done.
    callback_help: Option<&'static str>,
    /// How its callbacks are verified; `null` when it makes none.
    callback_security: Option<&'static str>,
}

/// Pace of one account.
#[derive(Serialize, ToSchema)]
pub(crate) struct ConnectorLimits {
    /// Messages a second; `null` for no declared limit.
    per_second: Option<u32>,
    /// Requests at once.
    concurrency: u32,
}

/// One field of the settings.
#[derive(Serialize, ToSchema)]
pub(crate) struct ConnectorField {
    /// Name in `settings`.
    #[schema(example = "auth_token")]
    name: &'static str,
    /// Name on a form.
    #[schema(example = "Auth token")]
    label: &'static str,
    /// Where to find it and what it does.
    help: &'static str,
    /// What it holds: `text`, `secret` (write-only), `number`, `bool` or `choice`.
    #[serde(rename = "type")]
    #[schema(example = "secret")]
    kind: &'static str,
    /// The allowed values of a `choice`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<String>>, nullable = false)]
    choices: Option<&'static [&'static str]>,
    /// Whether an account cannot do without.
    required: bool,
    /// Taken when it is left out.
    default: Option<&'static str>,
}

/// All connectors. The list is short and comes in one piece.
#[derive(Serialize, ToSchema)]
pub(crate) struct ConnectorList {
    /// By id.
    data: Vec<ConnectorView>,
    /// Always `null`.
    next_cursor: Option<String>,
}

/// Lists the connectors
///
/// Every provider this version can send through, with its channels, limits and the fields of its settings.
#[utoipa::path(get, path = "/v1/connectors", operation_id = "list_connectors", tag = "Accounts",
    responses((status = 200, description = "All of them, by id.", body = ConnectorList, example = json!({
        "data": [{
            "id": "telegram", "name": "Telegram", "docs_url": "https://core.telegram.org/bots/api", "channels": ["telegram"],
            "limits": {"per_second": 30, "concurrency": 30},
            "fields": [{"name": "bot_token", "label": "Bot token", "help": "From @BotFather.", "type": "secret", "required": true, "default": null}],
            "needs_from": false, "from_example": null, "has_receipts": false, "callback_help": null, "callback_security": "A secret header.",
        }],
        "next_cursor": null,
    }))))]
pub(crate) async fn list(_: Who) -> Answer {
    let mut data: Vec<_> = registry::listed().map(view).collect();
    data.sort_by_key(|connector| connector.id);
    answer::json(&ConnectorList { data, next_cursor: None })
}

fn view(connector: &'static dyn Connector) -> ConnectorView {
    let spec = connector.spec();
    let some = |text: &'static str| Some(text).filter(|text| !text.is_empty());
    ConnectorView {
        id: spec.id,
        name: spec.name,
        docs_url: Some(spec.docs_url).filter(|url| !url.is_empty()),
        channels: spec.channels,
        limits: ConnectorLimits {
            per_second: Some(spec.limits.per_second).filter(|rate| *rate > 0),
            concurrency: spec.limits.concurrency,
        },
        fields: spec.fields.iter().map(field).collect(),
        needs_from: spec.needs_from,
        from_example: some(spec.from_example),
        has_receipts: spec.has_receipts,
        callback_help: some(spec.callback_help),
        callback_security: some(spec.callback_security),
    }
}

fn field(field: &Field) -> ConnectorField {
    let (kind, choices) = match field.kind {
        FieldKind::Text => ("text", None),
        FieldKind::Secret => ("secret", None),
        FieldKind::Number => ("number", None),
        FieldKind::Bool => ("bool", None),
        FieldKind::Choice { choices } => ("choice", Some(choices)),
    };
    ConnectorField {
        name: field.name,
        label: field.label,
        help: field.help,
        kind,
        choices,
        required: field.required,
        default: field.default,
    }
}
