//! The ways in and out: password, second factor, link, invitation, forgotten password; and entering and leaving a tenant.

use axum::{
    extract::{FromRequestParts as _, Path, Request, State},
    response::Response,
};
use engine::{
    Error,
    access::{
        Outcome, SignedIn, mail,
        sessions::{self, Device},
        sign_in,
    },
};
use http::{HeaderValue, StatusCode, header, request::Parts};
use maud::{Markup, html};
use model::{Secret, TenantId};
use serde::Deserialize;

use crate::{
    App, BASE,
    cx::{Answer, Cx, Look, Posted, Query, go, html, is_secure, read_body},
    form::{FORM_MAX, Faults, Form},
    parts::{self, Control, Field, Tone, link_button},
    session, shell,
};

/// Carries the second step's ticket between two pages; it is good for five minutes.
const TICKET: &str = "ticket";
const TICKET_S: i64 = 300;
/// Where somebody wants to go, over the second step.
const NEXT: &str = "next";

#[derive(Debug, Default, Deserialize)]
pub(crate) struct Next {
    next: Option<String>,
    said: Option<String>,
}

/// Where somebody goes after signing in: a page of ours, or the start.
fn safe(next: Option<&str>) -> &str {
    next.filter(|next| *next == BASE || next.starts_with("/console/")).unwrap_or(BASE)
}

/// What a stranger sent: their form, where they come from, and how they like to see pages.
pub(crate) struct Stranger {
    app: App,
    device: Device,
    look: Look,
    form: Form,
    ticket: Option<Secret>,
}

impl Stranger {
    fn of(app: &App, parts: &Parts, form: Form) -> Self {
        let ticket = session::cookie(&parts.headers, TICKET).map(Secret::new);
        Self {
            app: app.clone(),
            device: session::device(app, parts),
            look: Look::read(app, &parts.headers),
            form,
            ticket,
        }
    }

    async fn posted(app: &App, request: Request) -> Result<Self, Error> {
        let (parts, body) = request.into_parts();
        let form = Form::read(&read_body(body, FORM_MAX).await?);
        Ok(Self::of(app, &parts, form))
    }

    fn page(&self, title: &str, body: Markup) -> Response {
        html(shell::door(&self.look, title, body))
    }

    /// The same page again, with what was wrong.
    fn again(&self, title: &str, body: Markup) -> Response {
        let mut response = self.page(title, body);
        *response.status_mut() = StatusCode::UNPROCESSABLE_ENTITY;
        response
    }

    /// In, or to the second step.
    fn outcome(&self, outcome: Outcome, next: &str) -> Response {
        match outcome {
            Outcome::SignedIn(signed_in) => self.let_in(&signed_in, next),
            Outcome::NeedsTotp { ticket } => {
                let mut response = go(&parts::table::address("/console/code", [(NEXT, next)]));
                let cookie = session::set_cookie(TICKET, ticket.reveal(), Some(TICKET_S), is_secure(&self.app));
                response.headers_mut().append(header::SET_COOKIE, cookie);
                response
            }
        }
    }

    fn let_in(&self, signed_in: &SignedIn, next: &str) -> Response {
        let mut response = go(safe(Some(next)));
        let cookie = sessions::set_cookie(self.app.engine().parts(), signed_in);
        let forget = session::set_cookie(TICKET, "", Some(0), is_secure(&self.app));
        for cookie in [HeaderValue::from_str(&cookie).unwrap_or(HeaderValue::from_static("")), forget] {
            response.headers_mut().append(header::SET_COOKIE, cookie);
        }
        response
    }
}

fn submit(text: &str) -> Markup {
    html! { button."button primary wide" type="submit" { (text) } }
}

/// The page to sign in.
pub(crate) async fn sign_in_page(State(app): State<App>, Query(query): Query<Next>, request: Request) -> Answer {
    let (mut parts, _) = request.into_parts();
    let next = safe(query.next.as_deref()).to_owned();
    if Cx::from_request_parts(&mut parts, &app).await.is_ok() {
        return Ok(go(&next));
    }
    let stranger = Stranger::of(&app, &parts, Form::of([(NEXT, next)]));
    let said = match query.said.as_deref() {
        Some("reset") => Some("Your new password is set. Sign in with it."),
        Some("asked") => Some("If somebody has that address, a link is on its way to it. It is good for an hour."),
        _ => None,
    };
    Ok(stranger.page("Sign in", sign_in_form(&app, &stranger.form, &Faults::default(), said)))
}

fn sign_in_form(app: &App, form: &Form, faults: &Faults, said: Option<&str>) -> Markup {
    html! {
        div { h1 { "Sign in" } p.lead { "Welcome back." } }
        @if let Some(said) = said { (parts::notice(Tone::Good, "", html! { p { (said) } })) }
        form.form method="post" action="/console/sign-in" {
            @if let Some(whole) = &faults.whole { (parts::notice(Tone::Bad, "", html! { p { (whole) } })) }
            input type="hidden" name=(NEXT) value=(form.text(NEXT));
            (Field::text("email", "E-mail").with(Control::Email).required().draw(form, faults))
            (Field::text("password", "Password").with(Control::Password { autocomplete: "current-password" }).required().draw(form, faults))
            (submit("Sign in"))
        }
        @if app.engine().config.oidc.is_some() {
            (link_button(&parts::table::address("/v1/oidc/start", [("return_to", form.text(NEXT))]), "wide", Some("shield"), "Sign in with your organisation"))
        }
        p.small { a href="/console/forgot" { "Forgot your password?" } }
    }
}

/// Signs in with a password.
pub(crate) async fn sign_in(State(app): State<App>, request: Request) -> Answer {
    let stranger = Stranger::posted(&app, request).await?;
    let engine = app.engine();
    let password = Secret::new(stranger.form.get("password").unwrap_or_default());
    let now = engine.ports.clock.now();
    match sign_in::with_password(engine.parts(), stranger.form.text("email"), &password, &stranger.device, now).await {
        Ok(outcome) => Ok(stranger.outcome(outcome, stranger.form.text(NEXT))),
        Err(error) if error.kind.status() < 500 => {
            Ok(stranger.again("Sign in", sign_in_form(&app, &stranger.form, &Faults::of(&error), None)))
        }
        Err(error) => Err(error.into()),
    }
}

/// The page for the second factor.
pub(crate) async fn code_page(State(app): State<App>, Query(query): Query<Next>, request: Request) -> Answer {
    let (parts, _) = request.into_parts();
    let stranger = Stranger::of(&app, &parts, Form::of([(NEXT, safe(query.next.as_deref()))]));
    if stranger.ticket.is_none() {
        return Ok(go("/console/sign-in"));
    }
    Ok(stranger.page("Second factor", code_form(&stranger.form, &Faults::default())))
}

fn code_form(form: &Form, faults: &Faults) -> Markup {
    html! {
        div { h1 { "Second factor" } p.lead { "The six digits your app shows, or one of your recovery codes." } }
        form.form method="post" action="/console/code" {
            @if let Some(whole) = &faults.whole { (parts::notice(Tone::Bad, "", html! { p { (whole) } })) }
            input type="hidden" name=(NEXT) value=(form.text(NEXT));
            (Field::text("code", "Code").with(Control::Code).required().draw(form, faults))
            (submit("Go on"))
        }
        p.small { a href="/console/sign-in" { "Begin again" } }
    }
}

/// Signs in with the second factor.
pub(crate) async fn code(State(app): State<App>, request: Request) -> Answer {
    let stranger = Stranger::posted(&app, request).await?;
    let Some(ticket) = &stranger.ticket else { return Ok(go("/console/sign-in")) };
    let engine = app.engine();
    let now = engine.ports.clock.now();
    match sign_in::confirm(engine.parts(), ticket, stranger.form.text("code"), &stranger.device, now).await {
        Ok(signed_in) => Ok(stranger.let_in(&signed_in, stranger.form.text(NEXT))),
        Err(error) if error.kind.status() < 500 => {
            Ok(stranger.again("Second factor", code_form(&stranger.form, &Faults::of(&error))))
        }
        Err(error) => Err(error.into()),
    }
}

/// A link that signs in: a page with a button, because mail programs follow links by themselves and this one works once.
pub(crate) async fn enter_page(State(app): State<App>, Path(token): Path<String>, request: Request) -> Answer {
    let (parts, _) = request.into_parts();
    let stranger = Stranger::of(&app, &parts, Form::default());
    Ok(stranger.page(
        "Come in",
        html! {
            div { h1 { "Come in" } p.lead { "This link signs you in. It works once." } }
            form.form method="post" action={ "/console/enter/" (token) } { (submit("Sign in")) }
        },
    ))
}

/// Signs in by a link.
pub(crate) async fn enter_by_link(State(app): State<App>, Path(token): Path<String>, request: Request) -> Answer {
    let stranger = Stranger::posted(&app, request).await?;
    let engine = app.engine();
    let outcome = sign_in::with_link(engine.parts(), &token, &stranger.device, engine.ports.clock.now()).await?;
    Ok(stranger.outcome(outcome, BASE))
}

/// The page of a forgotten password.
pub(crate) async fn forgot_page(State(app): State<App>, request: Request) -> Answer {
    let (parts, _) = request.into_parts();
    let stranger = Stranger::of(&app, &parts, Form::default());
    Ok(stranger.page("Forgot your password?", forgot_form(&stranger.form, &Faults::default())))
}

fn forgot_form(form: &Form, faults: &Faults) -> Markup {
    html! {
        div { h1 { "Forgot your password?" } p.lead { "Write your address, and a link to a new one is sent to it." } }
        form.form method="post" action="/console/forgot" {
            @if let Some(whole) = &faults.whole { (parts::notice(Tone::Bad, "", html! { p { (whole) } })) }
            (Field::text("email", "E-mail").with(Control::Email).required().draw(form, faults))
            (submit("Send the link"))
        }
        p.small { a href="/console/sign-in" { "Back to sign in" } }
    }
}

/// Asks for a link to a new password. Whether somebody has the address is not told.
pub(crate) async fn forgot(State(app): State<App>, request: Request) -> Answer {
    let stranger = Stranger::posted(&app, request).await?;
    let now = app.engine().ports.clock.now();
    match mail::request_reset(app.engine(), stranger.form.text("email"), &stranger.device, now).await {
        Ok(_) => Ok(go("/console/sign-in?said=asked")),
        Err(error) if error.kind.status() < 500 => {
            Ok(stranger.again("Forgot your password?", forgot_form(&stranger.form, &Faults::of(&error))))
        }
        Err(error) => Err(error.into()),
    }
}

/// The page for a new password.
pub(crate) async fn reset_page(State(app): State<App>, Path(token): Path<String>, request: Request) -> Answer {
    let (parts, _) = request.into_parts();
    let stranger = Stranger::of(&app, &parts, Form::default());
    Ok(stranger.page("New password", reset_form(&token, &stranger.form, &Faults::default())))
}

fn new_password() -> Field<'static> {
    Field::text("password", "New password")
        .with(Control::Password { autocomplete: "new-password" })
        .required()
        .help("At least 12 characters. A sentence is easier to keep than a word.")
}

fn reset_form(token: &str, form: &Form, faults: &Faults) -> Markup {
    html! {
        div { h1 { "New password" } p.lead { "Every session you have ends, and you sign in with the new one." } }
        form.form method="post" action={ "/console/reset/" (token) } {
            @if let Some(whole) = &faults.whole { (parts::notice(Tone::Bad, "", html! { p { (whole) } })) }
            (new_password().draw(form, faults))
            (submit("Set the password"))
        }
    }
}

/// Sets a new password through a link.
pub(crate) async fn reset(State(app): State<App>, Path(token): Path<String>, request: Request) -> Answer {
    let stranger = Stranger::posted(&app, request).await?;
    let engine = app.engine();
    let password = Secret::new(stranger.form.get("password").unwrap_or_default());
    match sign_in::reset(engine.parts(), &token, &password, &stranger.device, engine.ports.clock.now()).await {
        Ok(()) => Ok(go("/console/sign-in?said=reset")),
        Err(error) if matches!(error.kind.status(), 422 | 429) => {
            Ok(stranger.again("New password", reset_form(&token, &stranger.form, &Faults::of(&error))))
        }
        Err(error) => Err(error.into()),
    }
}

/// The page of an invitation.
pub(crate) async fn invitation_page(State(app): State<App>, Path(token): Path<String>, request: Request) -> Answer {
    let (mut parts, _) = request.into_parts();
    let shown = sign_in::invitation(app.engine().parts(), &token, app.engine().ports.clock.now()).await?;
    let stranger = Stranger::of(&app, &parts, Form::default());
    // Who is signed in with that address needs to prove nothing again.
    let is_them = Cx::from_request_parts(&mut parts, &app).await.is_ok_and(|cx| cx.person.session.email == shown.email);
    Ok(stranger.page("Invitation", invitation_form(&token, &shown, is_them, &stranger.form, &Faults::default())))
}

fn invitation_form(token: &str, shown: &sign_in::Invitation, is_them: bool, form: &Form, faults: &Faults) -> Markup {
    let role = shown.role.as_str();
    html! {
        div { h1 { "Join " (shown.tenant_name) } p.lead { "You are invited as " (role) ", with the address " (shown.email) "." } }
        form.form method="post" action={ "/console/invitation/" (token) } {
            @if let Some(whole) = &faults.whole { (parts::notice(Tone::Bad, "", html! { p { (whole) } })) }
            @if !is_them {
                @if shown.has_account {
                    (Field::text("password", "Your password").with(Control::Password { autocomplete: "current-password" }).required().draw(form, faults))
                } @else {
                    (Field::text("name", "Your name").required().draw(form, faults))
                    (new_password().draw(form, faults))
                }
            }
            (submit("Join"))
        }
    }
}

/// Takes up an invitation.
pub(crate) async fn join(State(app): State<App>, Path(token): Path<String>, request: Request) -> Answer {
    let (mut parts, body) = request.into_parts();
    let form = Form::read(&read_body(body, FORM_MAX).await?);
    let stranger = Stranger::of(&app, &parts, form);
    let engine = app.engine();
    let now = engine.ports.clock.now();
    let shown = sign_in::invitation(engine.parts(), &token, now).await?;
    if let Ok(cx) = Cx::from_request_parts(&mut parts, &app).await
        && cx.person.session.email == shown.email
    {
        sign_in::accept_in_session(engine.parts(), &cx.person.session, &token, now).await?;
        return Ok(go(BASE));
    }
    let password = Secret::new(stranger.form.get("password").unwrap_or_default());
    let name = stranger.form.filled("name");
    match sign_in::accept_invitation(engine.parts(), &token, name, &password, &stranger.device, now).await {
        Ok(outcome) => Ok(stranger.outcome(outcome, BASE)),
        Err(error) if matches!(error.kind.status(), 401 | 422 | 429) => {
            Ok(stranger
                .again("Invitation", invitation_form(&token, &shown, false, &stranger.form, &Faults::of(&error))))
        }
        Err(error) => Err(error.into()),
    }
}

/// Signs out.
pub(crate) async fn sign_out(Posted { cx, .. }: Posted) -> Answer {
    sessions::revoke(cx.engine().parts(), &cx.person.session, cx.person.session.id).await?;
    let mut response = go("/console/sign-in");
    let gone = HeaderValue::from_str(&sessions::unset_cookie()).unwrap_or(HeaderValue::from_static(""));
    response.headers_mut().append(header::SET_COOKIE, gone);
    Ok(response)
}

/// Looks at a tenant.
pub(crate) async fn enter(Posted { cx, form }: Posted) -> Answer {
    let id: TenantId = form.text("tenant").parse().map_err(|_| Error::not_found("tenant"))?;
    sessions::look_at(cx.engine().parts(), &cx.person.session, Some(id)).await?;
    Ok(go(safe(form.get(NEXT))))
}

/// Leaves the tenant.
pub(crate) async fn leave(Posted { cx, .. }: Posted) -> Answer {
    sessions::look_at(cx.engine().parts(), &cx.person.session, None).await?;
    Ok(go("/console/tenants"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_led_away_from_the_console() {
        assert_eq!(safe(Some("/console/messages?status=failed")), "/console/messages?status=failed");
        for bad in ["https://evil.example", "//evil.example", "/consolex", "javascript:alert(1)", ""] {
            assert_eq!(safe(Some(bad)), BASE);
        }
    }
}
