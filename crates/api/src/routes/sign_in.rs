//! The ways in, for people: password, second factor, links, invitations. Nothing here looks at a key; the engine slows failures down.

use axum::extract::State;
use engine::access::{Outcome, Role, mail, sign_in};
use model::{Secret, TenantId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::sessions::NewSession;
use crate::{
    App,
    answer::{self, Answer},
    examples,
    extract::{Json, Origin, Person, read},
};

/// Who wants in.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SignIn {
    /// The e-mail address.
    #[schema(example = "ada@example.com")]
    email: String,
    /// The password.
    #[schema(example = "purple tram waits calmly")]
    password: String,
}

/// Whether a step was the last one.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SignInStatus {
    /// In.
    SignedIn,
    /// A code of the second factor is needed.
    NeedsCode,
}

/// Where a step of signing in led.
#[derive(Serialize, ToSchema)]
pub(crate) struct SignInAnswer {
    /// Whether a code is needed yet.
    status: SignInStatus,
    /// The session, when signed in.
    session: Option<NewSession>,
    /// What to send with the code, when one is needed. Good for five minutes.
    ticket: Option<String>,
}

fn answered(outcome: Outcome) -> Answer {
    answer::json(&match outcome {
        Outcome::SignedIn(signed_in) => {
            SignInAnswer { status: SignInStatus::SignedIn, session: Some(signed_in.into()), ticket: None }
        }
        Outcome::NeedsTotp { ticket } => {
            SignInAnswer { status: SignInStatus::NeedsCode, session: None, ticket: Some(ticket.reveal().to_owned()) }
        }
    })
}

/// Signs in
///
/// With e-mail address and password. Somebody with a second factor gets a ticket for the next step instead of a session. Failed tries are slowed down by account and
/// address.
#[utoipa::path(post, path = "/v1/sessions", operation_id = "sign_in", tag = "Sessions",
    request_body(content = SignIn, example = json!({"email": "ada@example.com", "password": "purple tram waits calmly"})),
    responses((status = 200, description = "The session, or what is needed yet.", body = SignInAnswer, example = json!(examples::signed_in()))))]
pub(crate) async fn with_password(State(app): State<App>, Origin(device): Origin, Json(body): Json) -> Answer {
    let given: SignIn = read(&body)?;
    let parts = app.engine().parts();
    let now = parts.ports.clock.now();
    answered(sign_in::with_password(parts, &given.email, &Secret::new(given.password), &device, now).await?)
}

/// A code.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Code {
    /// Of the authenticator app.
    #[schema(example = "287082")]
    pub(crate) code: String,
}

/// The second step.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TicketAndCode {
    /// What the first step answered.
    ticket: String,
    /// Of the authenticator app, or a recovery code, which is used up.
    #[schema(example = "287082")]
    code: String,
}

/// Signs in: the second step
///
/// With the ticket of the first step and a code of the second factor. A code is taken once.
#[utoipa::path(post, path = "/v1/sessions/confirm", operation_id = "confirm_sign_in", tag = "Sessions",
    request_body(content = TicketAndCode, example = json!({"ticket": "4kQ0yZ1b6mVw8TnR2cXe9JpL5sDf7GhUaBoYx7Kq", "code": "287082"})),
    responses((status = 200, description = "The session.", body = SignInAnswer, example = json!(examples::signed_in()))))]
pub(crate) async fn confirm(State(app): State<App>, Origin(device): Origin, Json(body): Json) -> Answer {
    let given: TicketAndCode = read(&body)?;
    let parts = app.engine().parts();
    let now = parts.ports.clock.now();
    let done = sign_in::confirm(parts, &Secret::new(given.ticket), &given.code, &device, now).await?;
    answered(Outcome::SignedIn(done))
}

/// The token of a link.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LinkToken {
    /// The last part of the link.
    #[schema(example = "4kQ0yZ1b6mVw8TnR2cXe9JpL5sDf7GhUaBoYx7Kq")]
    token: String,
}

/// Signs in by a link
///
/// One the operator handed over. It works once.
#[utoipa::path(post, path = "/v1/sessions/link", operation_id = "sign_in_by_link", tag = "Sessions",
    request_body(content = LinkToken, example = json!({"token": "4kQ0yZ1b6mVw8TnR2cXe9JpL5sDf7GhUaBoYx7Kq"})),
    responses((status = 200, description = "The session, or what is needed yet.", body = SignInAnswer, example = json!(examples::signed_in()))))]
pub(crate) async fn with_link(State(app): State<App>, Origin(device): Origin, Json(body): Json) -> Answer {
    let given: LinkToken = read(&body)?;
    let parts = app.engine().parts();
    answered(sign_in::with_link(parts, &given.token, &device, parts.ports.clock.now()).await?)
}

/// An invitation.
#[derive(Serialize, ToSchema)]
pub(crate) struct InvitationView {
    /// Into which tenant.
    #[schema(value_type = String, example = "ten_01K9ZC8Q6T7Y2V5B3N4M1XWRSD")]
    tenant_id: TenantId,
    /// Its name.
    tenant_name: String,
    /// Who is invited.
    email: String,
    /// As what.
    role: Role,
    /// True for somebody who proves their account with its password; false for somebody who now chooses one.
    has_account: bool,
}

/// Shows an invitation
///
/// Without using it.
#[utoipa::path(post, path = "/v1/invitations/show", operation_id = "show_invitation", tag = "Sessions",
    request_body(content = LinkToken, example = json!({"token": "4kQ0yZ1b6mVw8TnR2cXe9JpL5sDf7GhUaBoYx7Kq"})),
    responses((status = 200, description = "The invitation.", body = InvitationView, example = json!({
        "tenant_id": examples::TENANT, "tenant_name": "Acme Tickets", "email": "ada@example.com", "role": "member", "has_account": false,
    }))))]
pub(crate) async fn show_invitation(State(app): State<App>, Json(body): Json) -> Answer {
    let given: LinkToken = read(&body)?;
    let parts = app.engine().parts();
    let shown = sign_in::invitation(parts, &given.token, parts.ports.clock.now()).await?;
    answer::json(&InvitationView {
        tenant_id: shown.tenant_id,
        tenant_name: shown.tenant_name,
        email: shown.email,
        role: shown.role,
        has_account: shown.has_account,
    })
}

/// Somebody who takes up an invitation.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Acceptance {
    /// The last part of the link.
    token: String,
    /// Name for people.
    #[serde(default)]
    #[schema(example = "Ada Lovelace")]
    name: Option<String>,
    /// The one they choose (at least 12 characters, none of the common ones), or the one they have.
    #[schema(example = "purple tram waits calmly")]
    password: String,
}

/// Takes up an invitation
///
/// And signs in. Somebody new chooses a password; somebody who has an account proves it with theirs.
#[utoipa::path(post, path = "/v1/invitations/accept", operation_id = "accept_invitation", tag = "Sessions",
    request_body(content = Acceptance, example = json!({"token": "4kQ0yZ1b6mVw8TnR2cXe9JpL5sDf7GhUaBoYx7Kq", "name": "Ada Lovelace", "password": "purple tram waits calmly"})),
    responses((status = 200, description = "The session, or what is needed yet.", body = SignInAnswer, example = json!(examples::signed_in()))))]
pub(crate) async fn accept_invitation(State(app): State<App>, Origin(device): Origin, Json(body): Json) -> Answer {
    let given: Acceptance = read(&body)?;
    let parts = app.engine().parts();
    let (password, now) = (Secret::new(given.password), parts.ports.clock.now());
    let name = given.name.as_deref();
    answered(sign_in::accept_invitation(parts, &given.token, name, &password, &device, now).await?)
}

/// The tenant somebody joined.
#[derive(Serialize, ToSchema)]
pub(crate) struct Joined {
    /// Which tenant.
    #[schema(value_type = String, example = "ten_01K9ZC8Q6T7Y2V5B3N4M1XWRSD")]
    tenant_id: TenantId,
}

/// Takes up an invitation, signed in
///
/// For the person it was made for, who is signed in already.
#[utoipa::path(post, path = "/v1/invitations/join", operation_id = "join_tenant", tag = "Sessions",
    request_body(content = LinkToken, example = json!({"token": "4kQ0yZ1b6mVw8TnR2cXe9JpL5sDf7GhUaBoYx7Kq"})),
    responses((status = 200, description = "They belong to the tenant.", body = Joined, example = json!({"tenant_id": examples::TENANT}))))]
pub(crate) async fn join(State(app): State<App>, Person(session, _): Person, Json(body): Json) -> Answer {
    let given: LinkToken = read(&body)?;
    let parts = app.engine().parts();
    let tenant_id = sign_in::accept_in_session(parts, &session, &given.token, parts.ports.clock.now()).await?;
    answer::json(&Joined { tenant_id })
}

/// Whose password is to be set anew.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ResetRequest {
    /// The e-mail address.
    #[schema(example = "ada@example.com")]
    email: String,
}

/// Asks for a new password
///
/// A link goes to the address, if anybody here has it; the answer is the same either way. It is good for an hour. Without an e-mail account of the operator's to send it
/// through, the operator hands a link over (`tidings user reset`).
#[utoipa::path(post, path = "/v1/password-resets", operation_id = "request_password_reset", tag = "Sessions",
    request_body(content = ResetRequest, example = json!({"email": "ada@example.com"})),
    responses((status = 202, description = "It was heard.")))]
pub(crate) async fn ask_for_reset(State(app): State<App>, Origin(device): Origin, Json(body): Json) -> Answer {
    let given: ResetRequest = read(&body)?;
    let engine = app.engine();
    // What follows happens by itself: how long it takes must not be seen from outside.
    drop(mail::request_reset(engine, &given.email, &device, engine.ports.clock.now()).await?);
    answer::accepted()
}

/// A new password, through a link.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewPassword {
    /// The last part of the link.
    token: String,
    /// The one they want: at least 12 characters, none of the common ones.
    #[schema(example = "seven green umbrellas")]
    password: String,
}

/// Sets a new password
///
/// Through a link that was sent or handed over. It works once, and every session of the person ends.
#[utoipa::path(post, path = "/v1/password-resets/confirm", operation_id = "confirm_password_reset", tag = "Sessions",
    request_body(content = NewPassword, example = json!({"token": "4kQ0yZ1b6mVw8TnR2cXe9JpL5sDf7GhUaBoYx7Kq", "password": "seven green umbrellas"})),
    responses((status = 204, description = "It is set. Sign in with it.")))]
pub(crate) async fn reset_password(State(app): State<App>, Origin(device): Origin, Json(body): Json) -> Answer {
    let given: NewPassword = read(&body)?;
    let parts = app.engine().parts();
    let (password, now) = (Secret::new(given.password), parts.ports.clock.now());
    sign_in::reset(parts, &given.token, &password, &device, now).await?;
    answer::nothing()
}
