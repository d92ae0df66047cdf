//! What contacts said and prefer, topics, and the tenant's rules of consent.

use std::str::FromStr;

use axum::extract::State;
use engine::consent::{
    policy::Settings,
    preferences::{PreferencesPatch, PreferencesView, SettingsPatch},
    records::{ConsentPage, ConsentView, NewConsent},
    topics::{NewTopic, TopicList, TopicView},
};
use model::ContactId;

use super::PageQuery;
use crate::{
    App,
    answer::{self, Answer},
    examples,
    extract::{Args, Id, Json, Noun, Post, Who, read},
};

/// Records consent
///
/// What a contact said about a channel, or about a topic on it. Nothing recorded is no consent: marketing to the contact is then `suppressed`. Records are never changed; the last
/// one counts. With `pending` the contact is sent a link to confirm it (double opt-in), over that channel; it opens for a week. A yes recorded here does not lift a suppression.
#[utoipa::path(post, path = "/v1/contacts/{id}/consents", operation_id = "record_consent", tag = "Consent",
    request_body(content = NewConsent, example = json!({"channel": "email", "state": "opted_in", "method": "form", "text": "Yes, send me news by e-mail.", "ip": "192.0.2.7"})),
    responses((status = 201, description = "The record.", body = ConsentView, example = json!(examples::consent()))))]
pub(crate) async fn record(State(app): State<App>, Who(caller): Who, Id(id): Id<ContactId>, post: Post) -> Answer {
    let new: NewConsent = read(&post.body)?;
    answer::reply(app.engine().record_consent(&caller, &post.repeat, id, new).await?)
}

/// Shows a contact's consent
///
/// How it stands on each channel and topic, suppressions of the contact's addresses, and everything it said, newest first.
#[utoipa::path(get, path = "/v1/contacts/{id}/consents", operation_id = "list_consents", tag = "Consent", params(PageQuery),
    responses((status = 200, description = "How it stands, and one page of the history.", body = ConsentPage, example = json!(examples::consents()))))]
pub(crate) async fn list(
    State(app): State<App>,
    Who(caller): Who,
    Id(id): Id<ContactId>,
    Args(query): Args<PageQuery>,
) -> Answer {
    answer::json(&app.engine().consents(&caller, id, query.limit, query.cursor.as_deref()).await?)
}

/// Shows what a contact prefers
///
/// The channel of each topic, how often it is reminded, its quiet hours, and whether it is to be written to at all.
#[utoipa::path(get, path = "/v1/contacts/{id}/preferences", operation_id = "get_preferences", tag = "Consent",
    responses((status = 200, description = "The preferences.", body = PreferencesView, example = json!(examples::preferences()))))]
pub(crate) async fn preferences(State(app): State<App>, Who(caller): Who, Id(id): Id<ContactId>) -> Answer {
    answer::json(&app.engine().preferences(&caller, id).await?)
}

/// Changes what a contact prefers
///
/// JSON Merge Patch: fields left out keep their value, `null` forgets it. Marketing that falls into quiet hours waits for their end, on the contact's own clock.
#[utoipa::path(patch, path = "/v1/contacts/{id}/preferences", operation_id = "update_preferences", tag = "Consent",
    request_body(content = PreferencesPatch, example = json!({"channels": {"invoice_delivery": "whatsapp"}, "quiet_hours": {"from": "22:00", "until": "09:00"}})),
    responses((status = 200, description = "The preferences as they are now.", body = PreferencesView, example = json!(examples::preferences()))))]
pub(crate) async fn patch_preferences(
    State(app): State<App>,
    Who(caller): Who,
    Id(id): Id<ContactId>,
    Json(body): Json,
) -> Answer {
    let patch: PreferencesPatch = read(&body)?;
    answer::json(&app.engine().patch_preferences(&caller, id, patch).await?)
}

/// The name of a topic in a path.
pub(crate) struct TopicName(String);

impl FromStr for TopicName {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let is_word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
        text.bytes().all(is_word).then(|| Self(text.to_owned())).ok_or(())
    }
}

impl Noun for TopicName {
    const NOUN: &'static str = "topic";
}

/// Adds a topic
///
/// Or changes the words of one of the same name. People choose by topic on the preference page; messages name theirs in `topic`.
#[utoipa::path(post, path = "/v1/topics", operation_id = "put_topic", tag = "Consent",
    request_body(content = NewTopic, example = json!({"name": "match_reports", "title": "Match reports", "description": "A summary after each match."})),
    responses((status = 201, description = "The topic.", body = TopicView, example = json!(examples::topic()))))]
pub(crate) async fn put_topic(State(app): State<App>, Who(caller): Who, post: Post) -> Answer {
    let new: NewTopic = read(&post.body)?;
    answer::reply(app.engine().put_topic(&caller, &post.repeat, new).await?)
}

/// Lists topics
///
/// The tenant's own by name, and those every tenant has. There are few, so this list has no pages.
#[utoipa::path(get, path = "/v1/topics", operation_id = "list_topics", tag = "Consent",
    responses((status = 200, description = "All topics.", body = TopicList, example = json!({"data": [examples::topic()], "common": []}))))]
pub(crate) async fn topics(State(app): State<App>, Who(caller): Who) -> Answer {
    answer::json(&app.engine().topics(&caller).await?)
}

/// Removes a topic
///
/// One of the tenant's own. What contacts said about it stays on record.
#[utoipa::path(delete, path = "/v1/topics/{name}", operation_id = "remove_topic", tag = "Consent",
    responses((status = 204, description = "It is removed.")))]
pub(crate) async fn remove_topic(State(app): State<App>, Who(caller): Who, Id(name): Id<TopicName>) -> Answer {
    app.engine().remove_topic(&caller, &name.0).await?;
    answer::nothing()
}

/// Shows the rules of consent
///
/// Quiet hours for contacts without their own, the frequency cap, and what STOP, START and HELP do.
#[utoipa::path(get, path = "/v1/consent-policy", operation_id = "get_consent_policy", tag = "Consent",
    responses((status = 200, description = "The rules.", body = Settings, example = json!(examples::consent_policy()))))]
pub(crate) async fn policy(State(app): State<App>, Who(caller): Who) -> Answer {
    answer::json(&app.engine().consent_policy(&caller).await?)
}

/// Changes the rules of consent
///
/// JSON Merge Patch: fields left out keep their value, `null` brings back what every tenant begins with.
#[utoipa::path(patch, path = "/v1/consent-policy", operation_id = "update_consent_policy", tag = "Consent",
    request_body(content = SettingsPatch, example = json!({"quiet_hours": {"from": "21:00", "until": "08:00"}, "frequency_cap": {"max": 3, "days": 7}})),
    responses((status = 200, description = "The rules as they are now.", body = Settings, example = json!(examples::consent_policy()))))]
pub(crate) async fn patch_policy(State(app): State<App>, Who(caller): Who, Json(body): Json) -> Answer {
    let patch: SettingsPatch = read(&body)?;
    answer::json(&app.engine().patch_consent_policy(&caller, patch).await?)
}
