//! WhatsApp templates at a provider.

use model::Answer;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Plan;
use crate::Cx;

/// Templates a provider lists, and perhaps makes and deletes.
pub trait Templates: Sync + Send {
    /// All of the account's templates.
    fn list(&self, cx: &Cx<'_>, answers: &[Answer]) -> Plan<Vec<Template>>;

    /// False where the provider keeps no list of its own: then [`list`](Templates::list) is not asked, and what was made from here is all there is.
    fn keeps_list(&self) -> bool {
        true
    }

    /// What a reading finds of a template that was made from here, where the provider keeps no list.
    fn reviewed(&self, _template: &Template) -> Option<Template> {
        None
    }

    /// Submits a template. `None` where that is only possible on the provider's own pages.
    fn create(&self, _cx: &Cx<'_>, _new: &NewTemplate, _answers: &[Answer]) -> Option<Plan<Template>> {
        None
    }

    /// Deletes a template; one that is gone already is no failure. `None` as above.
    fn remove(&self, _cx: &Cx<'_>, _template: &Template, _answers: &[Answer]) -> Option<Plan<()>> {
        None
    }
}

/// A template to be submitted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewTemplate {
    /// Lower-case letters, digits and `_`.
    pub name: String,
    /// Such as `en` or `pt_BR`.
    pub language: String,
    /// `UTILITY`, `MARKETING` or `AUTHENTICATION`.
    pub category: String,
    /// Components in Meta's form: header, body, footer, buttons.
    pub components: Vec<Value>,
}

impl NewTemplate {
    /// The first component of a type.
    pub(crate) fn component(&self, kind: &str) -> Option<&Value> {
        let is_it =
            |component: &&Value| component["type"].as_str().is_some_and(|found| found.eq_ignore_ascii_case(kind));
        self.components.iter().find(is_it)
    }

    /// The body's text.
    pub(crate) fn body(&self) -> &str {
        self.component("BODY").and_then(|body| body["text"].as_str()).unwrap_or_default()
    }

    /// The example values of the body, in order.
    pub(crate) fn examples(&self) -> Vec<&str> {
        let example = self.component("BODY").and_then(|body| body.pointer("/example/body_text/0"));
        example.and_then(Value::as_array).map_or(Vec::new(), |all| all.iter().filter_map(Value::as_str).collect())
    }
}

/// A template as the provider has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Template {
    /// Its name: what messages refer to it by.
    pub name: String,
    /// Its language.
    pub language: String,
    /// The provider's id.
    pub id: String,
    /// In the provider's words, upper case; empty when it does not say.
    pub category: String,
    /// Where it is in its life.
    pub status: TemplateStatus,
    /// `GREEN`, `YELLOW`, `RED` or nothing.
    pub quality: Option<String>,
    /// Why it was rejected.
    pub reason: Option<String>,
    /// Its components in Meta's form, as far as the provider shows them.
    pub components: Vec<Value>,
}

/// Where a template is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TemplateStatus {
    /// Not submitted.
    Draft,
    /// Under review.
    Submitted,
    /// It may be sent.
    Approved,
    /// It may not; see the reason.
    Rejected,
    /// Stopped for a while because recipients complained.
    Paused,
    /// Stopped for good.
    Disabled,
    /// Deleted at the provider.
    Deleted,
}

impl TemplateStatus {
    /// The word in JSON and SQL.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Draft => "draft",
            Self::Submitted => "submitted",
            Self::Approved => "approved",
            Self::Rejected => "rejected",
            Self::Paused => "paused",
            Self::Disabled => "disabled",
            Self::Deleted => "deleted",
        }
    }

    /// Reads any provider's word; one nobody knows is under review, since then it cannot be relied on.
    pub fn read(word: &str) -> Self {
        match word.to_ascii_uppercase().as_str() {
            "APPROVED" | "ACTIVE" | "ENABLED" | "REINSTATED" | "FLAGGED" | "UNARCHIVED" => Self::Approved,
            "REJECTED" | "FAILED" => Self::Rejected,
            "PAUSED" => Self::Paused,
            "DISABLED" | "DEACTIVATED" | "LOCKED" | "ARCHIVED" | "LIMIT_EXCEEDED" => Self::Disabled,
            "DELETED" | "PENDING_DELETION" => Self::Deleted,
            "DRAFT" | "UNSUBMITTED" => Self::Draft,
            _ => Self::Submitted,
        }
    }
}
