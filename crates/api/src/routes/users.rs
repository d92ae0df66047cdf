//! People: those who belong to the caller's tenant (or the operator's staff, outside of any), and the one who asks.

use axum::extract::State;
use engine::{
    access::{
        sign_in, totp,
        totp::Enrolment,
        users::{self, InvitedView, Me, MemberPatch, MemberView, NewMember},
    },
    page::Page,
};
use model::{Secret, UserId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{PageQuery, sessions::NewSession};
use crate::{
    App,
    answer::{self, Answer},
    examples,
    extract::{Args, Id, Json, Origin, Person, Post, Who, read},
    routes::sign_in::Code,
};

/// Invites somebody
///
/// Into the caller's tenant, with a role (`owner`, `admin`, `member`, `viewer`) and permissions beyond it. Nobody gives more than they have. Without an e-mail account
/// to send it through, the answer shows the link instead, this once. An operator outside of any tenant invites to its own staff (`admin`, `support`, `sales`).
/// The operator's account carries 50 invitations a day for a tenant, 3 of them to one address: beyond that it is 429 `too_many_letters`.
#[utoipa::path(post, path = "/v1/users", operation_id = "invite_user", tag = "Users",
    request_body(content = NewMember, example = json!({"email": "ada@example.com", "name": "Ada Lovelace", "role": "member", "permissions": ["campaigns"]})),
    responses((status = 201, description = "The invitation.", body = InvitedView, example = json!(examples::invited()))))]
pub(crate) async fn invite(State(app): State<App>, Who(caller): Who, post: Post) -> Answer {
    let new: NewMember = read(&post.body)?;
    answer::reply(users::invite(app.engine(), &caller, &post.repeat, new).await?)
}

/// Lists users
///
/// The people of the caller's tenant, open invitations among them, newest first.
#[utoipa::path(get, path = "/v1/users", operation_id = "list_users", tag = "Users", params(PageQuery),
    responses((status = 200, description = "One page.", body = Page<MemberView>, example = json!(examples::page(examples::member())))))]
pub(crate) async fn list(State(app): State<App>, Who(caller): Who, Args(query): Args<PageQuery>) -> Answer {
    answer::json(&users::list(app.engine().parts(), &caller, query.limit, query.cursor.as_deref()).await?)
}

/// Shows a user
///
/// What they may do in the caller's tenant, and when they last signed in.
#[utoipa::path(get, path = "/v1/users/{id}", operation_id = "get_user", tag = "Users",
    responses((status = 200, description = "The user.", body = MemberView, example = json!(examples::member()))))]
pub(crate) async fn get(State(app): State<App>, Who(caller): Who, Id(id): Id<UserId>) -> Answer {
    answer::json(&users::get(app.engine().parts(), &caller, id).await?)
}

/// Changes what a user may do
///
/// It counts from their next request on. The last owner stays an owner.
#[utoipa::path(patch, path = "/v1/users/{id}", operation_id = "update_user", tag = "Users",
    request_body(content = MemberPatch, content_type = "application/json", example = json!({"role": "admin"})),
    responses((status = 200, description = "The user afterwards.", body = MemberView, example = json!(examples::member()))))]
pub(crate) async fn patch(State(app): State<App>, Who(caller): Who, Id(id): Id<UserId>, Json(body): Json) -> Answer {
    let change: MemberPatch = read(&body)?;
    answer::json(&users::patch(app.engine().parts(), &caller, id, change).await?)
}

/// Removes a user
///
/// From the caller's tenant, at once. Somebody who belongs to no other is removed altogether.
#[utoipa::path(delete, path = "/v1/users/{id}", operation_id = "remove_user", tag = "Users",
    responses((status = 204, description = "They are removed.")))]
pub(crate) async fn remove(State(app): State<App>, Who(caller): Who, Id(id): Id<UserId>) -> Answer {
    users::remove(app.engine().parts(), &caller, id).await?;
    answer::nothing()
}

/// Invites again
///
/// For somebody who did not take up the invitation: a new one is made, and the one before no longer works.
#[utoipa::path(post, path = "/v1/users/{id}/invitation", operation_id = "resend_invitation", tag = "Users",
    responses((status = 200, description = "The invitation.", body = InvitedView, example = json!(examples::invited()))))]
pub(crate) async fn resend(State(app): State<App>, Who(caller): Who, Id(id): Id<UserId>, post: Post) -> Answer {
    post.must_be_empty()?;
    answer::reply(users::resend(app.engine(), &caller, &post.repeat, id).await?)
}

/// Shows the person who asks
///
/// With the tenants they belong to.
#[utoipa::path(get, path = "/v1/users/me", operation_id = "get_me", tag = "Users",
    responses((status = 200, description = "The person.", body = Me, example = json!(examples::me()))))]
pub(crate) async fn me(State(app): State<App>, Person(session, _): Person) -> Answer {
    answer::json(&users::me(app.engine().parts(), &session).await?)
}

/// What a person changes of themselves.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct MePatch {
    /// Name for people.
    #[schema(example = "Ada Lovelace")]
    name: String,
}

/// Changes the name of the person who asks
///
/// Others see it in the list of users and in logs.
#[utoipa::path(patch, path = "/v1/users/me", operation_id = "update_me", tag = "Users",
    request_body(content = MePatch, content_type = "application/json", example = json!({"name": "Ada Lovelace"})),
    responses((status = 200, description = "The person afterwards.", body = Me, example = json!(examples::me()))))]
pub(crate) async fn rename(State(app): State<App>, Person(session, _): Person, Json(body): Json) -> Answer {
    let change: MePatch = read(&body)?;
    answer::json(&users::rename(app.engine().parts(), &session, &change.name).await?)
}

/// A new password.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PasswordChange {
    /// The one they have.
    #[schema(example = "purple tram waits calmly")]
    current_password: String,
    /// The one they want: at least 12 characters, none of the common ones.
    #[schema(example = "seven green umbrellas")]
    password: String,
}

/// Changes the password
///
/// The person's other sessions end, and this one gets another token, which is in the answer.
#[utoipa::path(post, path = "/v1/users/me/password", operation_id = "change_password", tag = "Users",
    request_body(content = PasswordChange, example = json!({"current_password": "purple tram waits calmly", "password": "seven green umbrellas"})),
    responses((status = 200, description = "The session with its new token.", body = NewSession, example = json!(examples::new_session()))))]
pub(crate) async fn change_password(
    State(app): State<App>,
    Person(session, token): Person,
    Origin(device): Origin,
    Json(body): Json,
) -> Answer {
    let change: PasswordChange = read(&body)?;
    let (current, new) = (Secret::new(change.current_password), Secret::new(change.password));
    let parts = app.engine().parts();
    let now = parts.ports.clock.now();
    let done = sign_in::change_password(parts, &session, &token, &current, &new, &device, now).await?;
    answer::json(&NewSession::from(done))
}

/// Begins to set up a second factor
///
/// Scan the QR code with an authenticator app, then confirm with a first code. Until then nothing changes. Beginning again replaces the secret.
#[utoipa::path(post, path = "/v1/users/me/second-factor", operation_id = "begin_second_factor", tag = "Users",
    responses((status = 200, description = "The secret, shown this once.", body = Enrolment, example = json!({
        "secret": "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP",
        "url": "otpauth://totp/Tidings:ada%40example.com?secret=JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP&issuer=Tidings",
        "qr_svg": "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"200\" height=\"200\"/>",
    }))))]
pub(crate) async fn begin_second_factor(State(app): State<App>, Person(session, _): Person, post: Post) -> Answer {
    post.must_be_empty()?;
    answer::json(&totp::begin(app.engine().parts(), &session).await?)
}

/// A second factor that was turned on.
#[derive(Serialize, ToSchema)]
pub(crate) struct SecondFactorOn {
    /// Codes that stand in for the second factor, once each. Shown this once.
    recovery_codes: Vec<String>,
    /// The session with its new token.
    session: NewSession,
}

/// Turns the second factor on
///
/// With a first code of it. The person's other sessions end, this one gets another token, and the recovery codes are shown this once.
#[utoipa::path(post, path = "/v1/users/me/second-factor/confirm", operation_id = "confirm_second_factor", tag = "Users",
    request_body(content = Code, example = json!({"code": "287082"})),
    responses((status = 200, description = "It is on.", body = SecondFactorOn, example = json!({
        "recovery_codes": ["7QF2-K0ZP-4M9X", "B1TD-W8RC-6YHN"], "session": examples::new_session(),
    }))))]
pub(crate) async fn confirm_second_factor(
    State(app): State<App>,
    Person(session, token): Person,
    Json(body): Json,
) -> Answer {
    let given: Code = read(&body)?;
    let parts = app.engine().parts();
    let now = parts.ports.clock.now();
    let (recovery_codes, session) = totp::enable(parts, &session, &token, &given.code, now).await?;
    answer::json(&SecondFactorOn { recovery_codes, session: session.into() })
}

/// Turns the second factor off
///
/// With a code of it, or a recovery code.
#[utoipa::path(post, path = "/v1/users/me/second-factor/remove", operation_id = "remove_second_factor", tag = "Users",
    request_body(content = Code, example = json!({"code": "287082"})),
    responses((status = 204, description = "It is off.")))]
pub(crate) async fn remove_second_factor(
    State(app): State<App>,
    Person(session, _): Person,
    Json(body): Json,
) -> Answer {
    let given: Code = read(&body)?;
    let parts = app.engine().parts();
    totp::disable(parts, &session, &given.code, parts.ports.clock.now()).await?;
    answer::nothing()
}

/// New recovery codes.
#[derive(Serialize, ToSchema)]
pub(crate) struct RecoveryCodes {
    /// Codes that stand in for the second factor, once each. Shown this once.
    recovery_codes: Vec<String>,
}

/// Replaces the recovery codes
///
/// With a code of the second factor. Those from before no longer work.
#[utoipa::path(post, path = "/v1/users/me/recovery-codes", operation_id = "replace_recovery_codes", tag = "Users",
    request_body(content = Code, example = json!({"code": "287082"})),
    responses((status = 200, description = "The new ones.", body = RecoveryCodes, example = json!({"recovery_codes": ["7QF2-K0ZP-4M9X", "B1TD-W8RC-6YHN"]}))))]
pub(crate) async fn new_recovery_codes(State(app): State<App>, Person(session, _): Person, Json(body): Json) -> Answer {
    let given: Code = read(&body)?;
    let parts = app.engine().parts();
    let recovery_codes = totp::new_recovery_codes(parts, &session, &given.code, parts.ports.clock.now()).await?;
    answer::json(&RecoveryCodes { recovery_codes })
}
