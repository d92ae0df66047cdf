//! A person's sessions: which there are, and ending them.

use axum::extract::State;
use engine::{
    access::{
        SignedIn,
        sessions::{self, SessionView},
    },
    page::Page,
};
use model::{SessionId, Timestamp, UserId};
use serde::Serialize;
use utoipa::ToSchema;

use super::PageQuery;
use crate::{
    App,
    answer::{self, Answer},
    examples,
    extract::{Args, Id, Person, Post},
};

/// A session with its token, which is shown this once.
#[derive(Serialize, ToSchema)]
pub(crate) struct NewSession {
    /// Its id.
    #[schema(value_type = String, example = "ses_01K9ZC8Q6T7Y2V5B3N4M1XWRSD")]
    id: SessionId,
    /// For `Authorization: Bearer`.
    token: String,
    /// For `Tidings-Csrf`, where the token travels in the cookie.
    csrf: String,
    /// Who signed in.
    #[schema(value_type = String, example = "usr_01K9ZC8Q6T7Y2V5B3N4M1XWRSD")]
    user_id: UserId,
    /// When it ends in any case; half a day without use ends it before.
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
}

impl From<SignedIn> for NewSession {
    fn from(signed_in: SignedIn) -> Self {
        Self {
            id: signed_in.session_id,
            token: signed_in.token.reveal().to_owned(),
            csrf: signed_in.csrf,
            user_id: signed_in.user_id,
            expires_at: signed_in.expires_at,
        }
    }
}

/// Lists sessions
///
/// The person's own that have not ended, newest first, each with where it was last used from.
#[utoipa::path(get, path = "/v1/sessions", operation_id = "list_sessions", tag = "Sessions", params(PageQuery),
    responses((status = 200, description = "One page.", body = Page<SessionView>, example = json!(examples::page(examples::session())))))]
pub(crate) async fn list(State(app): State<App>, Person(session, _): Person, Args(query): Args<PageQuery>) -> Answer {
    answer::json(&sessions::list(app.engine().parts(), &session, query.limit, query.cursor.as_deref()).await?)
}

/// Ends a session
///
/// One of the person's own; ending the one this request is made with signs out. It is refused from the next request on.
#[utoipa::path(delete, path = "/v1/sessions/{id}", operation_id = "end_session", tag = "Sessions",
    responses((status = 204, description = "It has ended.")))]
pub(crate) async fn end(State(app): State<App>, Person(session, _): Person, Id(id): Id<SessionId>) -> Answer {
    sessions::revoke(app.engine().parts(), &session, id).await?;
    answer::nothing()
}

/// How many sessions ended.
#[derive(Serialize, ToSchema)]
pub(crate) struct Ended {
    /// Sessions that ended.
    ended: u64,
}

/// Ends all other sessions
///
/// All of the person's own but the one this request is made with.
#[utoipa::path(post, path = "/v1/sessions/end-others", operation_id = "end_other_sessions", tag = "Sessions",
    responses((status = 200, description = "They have ended.", body = Ended, example = json!({"ended": 2}))))]
pub(crate) async fn end_others(State(app): State<App>, Person(session, _): Person, post: Post) -> Answer {
    post.must_be_empty()?;
    answer::json(&Ended { ended: sessions::revoke_others(app.engine().parts(), &session).await? })
}
