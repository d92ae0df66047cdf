//! What somebody sees of themselves: their name, password, second factor and sessions.

use axum::{extract::Path, response::Response};
use engine::{
    Error,
    access::{
        SignedIn,
        sessions::{self, SessionView},
        sign_in, totp,
        users::{self, Me},
    },
};
use http::{HeaderValue, header};
use maud::{Markup, PreEscaped, html};
use model::{Secret, SessionId};

use crate::{
    cx::{Answer, Cx, Fault, Posted},
    form::{self, Faults, Form},
    format,
    parts::{
        self, Control, Dialog, Field, Tone, link_button,
        table::{self, Row, Table, cell},
    },
    shell::{self, Section},
};

const PATH: &str = "/console/me";

/// Shows somebody to themselves.
pub(crate) async fn show(cx: Cx) -> Answer {
    let page = page(&cx, &Form::default(), &Faults::default()).await?;
    Ok(cx.page(page))
}

async fn page<'a>(cx: &Cx, form: &Form, faults: &Faults) -> Result<shell::Page<'a>, Fault> {
    let me = users::me(cx.engine().parts(), &cx.person.session).await?;
    let sessions = sessions::list(cx.engine().parts(), &cx.person.session, Some(50), None).await?.data;
    let name = Form::of([("name", me.name.as_str())]);
    let body = html! {
        section.card aria-label="Name" {
            header { h2 { "You" } }
            form method="post" action="/console/me/name" {
                (form::token(cx.csrf()))
                div.body { div.form {
                    (Field::text("name", "Name").required().draw(&name, faults))
                    div.field { span.label { "E-mail" } p { (me.email) } }
                } }
                footer { div.end { button."button primary" type="submit" { "Save" } } }
            }
        }
        section.card aria-label="Password" {
            header { h2 { "Password" } @if let Some(at) = me.password_set_at { span."muted small" { "Set " (cx.here().day(at)) } } }
            form method="post" action="/console/me/password" {
                (form::token(cx.csrf()))
                div.body { div.form {
                    @if let Some(whole) = &faults.whole { (parts::notice(Tone::Bad, "", html! { p { (whole) } })) }
                    (Field::text("current_password", "Present password").with(Control::Password { autocomplete: "current-password" }).required().draw(form, faults))
                    (Field::text("password", "New password").with(Control::Password { autocomplete: "new-password" }).required().help("At least 12 characters. Your other sessions end.").draw(form, faults))
                } }
                footer { div.end { button."button primary" type="submit" { "Change password" } } }
            }
        }
        (second_factor(cx, &me))
        (sessions_card(cx, &sessions))
    };
    Ok(shell::Page {
        is_narrow: true,
        lead: Some(html! { "How you sign in, and where you are signed in." }),
        ..shell::Page::new("Your account", Section::Elsewhere, body)
    })
}

fn second_factor(cx: &Cx, me: &Me) -> Markup {
    let code = || {
        Field::text("code", "Code")
            .with(Control::Code)
            .required()
            .help("From your app, or a recovery code.")
            .draw(&Form::default(), &Faults::default())
    };
    parts::card(
        "Second factor",
        Some(if me.has_second_factor { parts::badge(Tone::Good, "On") } else { parts::badge(Tone::Warn, "Off") }),
        html! {
            @if me.has_second_factor {
                div.stack {
                    p.muted { "You have " (format::count(me.recovery_codes, "recovery code", "recovery codes")) " left." }
                    div.row {
                        button.button type="button" data-opens="codes" { "New recovery codes" }
                        button."button danger" type="button" data-opens="off" { "Switch off" }
                    }
                }
                (parts::dialog(&Dialog { id: "codes", title: "Make new recovery codes?", action: "/console/me/recovery-codes", csrf: cx.csrf(), body: html! { p.muted { "Those you have stop working." } (code()) }, yes: "Make them", is_dangerous: false }))
                (parts::dialog(&Dialog { id: "off", title: "Switch off the second factor?", action: "/console/me/totp/off", csrf: cx.csrf(), body: html! { p.muted { "Your password alone will be enough." } (code()) }, yes: "Switch off", is_dangerous: true }))
            } @else {
                div.row.apart {
                    p."muted grow" { "An app on your phone shows six digits that are asked for after your password. Whoever learns your password still cannot enter." }
                    (parts::act("/console/me/totp", cx.csrf(), "primary", Some("shield"), "Set it up"))
                }
            }
        },
    )
}

fn sessions_card(cx: &Cx, sessions: &[SessionView]) -> Markup {
    let row = |session: &SessionView| Row {
        href: None,
        cells: vec![
            cell(
                html! { span.wide-text title=(session.agent) { (session.agent) } @if session.is_current { " " (parts::badge(Tone::Good, "This one")) } },
            ),
            cell(html! { (session.ip.as_deref().unwrap_or("–")) }),
            cell(cx.here().at(session.created_at)),
            cell(cx.here().at(session.last_seen_at)),
            cell(
                html! { @if !session.is_current { (parts::act(&format!("/console/me/sessions/{}/end", session.id), cx.csrf(), "small", None, "End")) } },
            ),
        ],
    };
    let others = (sessions.len() > 1)
        .then(|| parts::act("/console/me/sessions/others/end", cx.csrf(), "small", None, "End all others"));
    parts::card_flush(
        "Sessions",
        others,
        table::table(Table {
            caption: "Your sessions",
            columns: &["Browser", "From", "Signed in", "Last used", ""],
            rows: sessions.iter().map(row).collect(),
        }),
    )
}

/// Changes the name.
pub(crate) async fn rename(Posted { cx, form }: Posted) -> Answer {
    match users::rename(cx.engine().parts(), &cx.person.session, form.text("name")).await {
        Ok(_) => Ok(cx.done(PATH, "Saved.")),
        Err(error) => wrong(&cx, &form, error).await,
    }
}

/// Changes the password; this session goes on with a new token.
pub(crate) async fn change_password(Posted { cx, form }: Posted) -> Answer {
    let secret = |name: &str| Secret::new(form.get(name).unwrap_or_default());
    let (parts, person) = (cx.engine().parts(), &cx.person);
    let device = person.session.device();
    let now = cx.here().now;
    let (current, chosen) = (secret("current_password"), secret("password"));
    let changed = sign_in::change_password(parts, &person.session, &person.token, &current, &chosen, &device, now);
    match changed.await {
        Ok(signed_in) => Ok(with_token(
            &cx,
            cx.done(PATH, "Your password is changed, and your other sessions have ended."),
            &signed_in,
        )),
        Err(error) => wrong(&cx, &form, error).await,
    }
}

/// The answer with the session's new token.
fn with_token(cx: &Cx, mut response: Response, signed_in: &SignedIn) -> Response {
    if let Ok(cookie) = HeaderValue::from_str(&sessions::set_cookie(cx.engine().parts(), signed_in)) {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    response
}

async fn wrong(cx: &Cx, form: &Form, error: Error) -> Answer {
    if !matches!(error.kind.status(), 401 | 409 | 422 | 429) {
        return Err(error.into());
    }
    let page = page(cx, form, &Faults::of(&error)).await?;
    Ok(cx.again(page))
}

/// Begins to set up the second factor.
pub(crate) async fn begin_totp(Posted { cx, .. }: Posted) -> Answer {
    match totp::begin(cx.engine().parts(), &cx.person.session).await {
        Ok(enrolment) => Ok(cx.page(enrol_page(&cx, &enrolment.secret, &enrolment.qr_svg, &Faults::default()))),
        Err(error) if error.kind.status() == 409 => Ok(cx.refused(PATH, &error.detail)),
        Err(error) => Err(error.into()),
    }
}

fn enrol_page<'a>(cx: &Cx, secret: &str, qr_svg: &str, faults: &Faults) -> shell::Page<'a> {
    let body = html! {
        section.card {
            form method="post" action="/console/me/totp/on" {
                (form::token(cx.csrf()))
                div.body { div.form {
                    (shell::form_faults(faults, &["code"]))
                    p { "Photograph this with your authenticator app, then write the six digits it shows." }
                    div.qr role="img" aria-label="The code to photograph" { (PreEscaped(qr_svg)) }
                    div.field { span.label { "Or type this into the app" } (parts::copy_line(secret, "the secret")) }
                    (Field::text("code", "Code").with(Control::Code).required().draw(&Form::default(), faults))
                } }
                footer { div.end { (link_button(PATH, "", None, "Cancel")) button."button primary" type="submit" { "Switch on" } } }
            }
        }
    };
    shell::Page {
        above: &[(PATH, "Your account")],
        is_narrow: true,
        ..shell::Page::new("Second factor", Section::Elsewhere, body)
    }
}

/// Switches the second factor on.
pub(crate) async fn enable_totp(Posted { cx, form }: Posted) -> Answer {
    let (parts, person) = (cx.engine().parts(), &cx.person);
    match totp::enable(parts, &person.session, &person.token, form.text("code"), cx.here().now).await {
        Ok((codes, signed_in)) => Ok(with_token(&cx, cx.page(codes_page(&codes)), &signed_in)),
        // The secret is not shown a second time: whoever mistyped begins again with another one.
        Err(error) if error.kind.status() < 500 => Ok(cx.refused(PATH, &error.detail)),
        Err(error) => Err(error.into()),
    }
}

fn codes_page<'a>(codes: &[String]) -> shell::Page<'a> {
    let body = html! {
        section.card {
            div.body { div.stack {
                (parts::notice(Tone::Good, "The second factor is on", html! { p { "Keep these recovery codes where you find them without your phone. Each works once, and they are shown this once." } }))
                (parts::code(&codes.join("\n")))
                (parts::copy(&codes.join("\n"), "the recovery codes"))
            } }
            footer { div.end { (link_button(PATH, "primary", None, "I have kept them")) } }
        }
    };
    shell::Page {
        above: &[(PATH, "Your account")],
        is_narrow: true,
        ..shell::Page::new("Recovery codes", Section::Elsewhere, body)
    }
}

/// Switches the second factor off.
pub(crate) async fn disable_totp(Posted { cx, form }: Posted) -> Answer {
    match totp::disable(cx.engine().parts(), &cx.person.session, form.text("code"), cx.here().now).await {
        Ok(()) => Ok(cx.done(PATH, "The second factor is off.")),
        Err(error) if error.kind.status() < 500 => Ok(cx.refused(PATH, &error.detail)),
        Err(error) => Err(error.into()),
    }
}

/// Makes new recovery codes.
pub(crate) async fn recovery_codes(Posted { cx, form }: Posted) -> Answer {
    match totp::new_recovery_codes(cx.engine().parts(), &cx.person.session, form.text("code"), cx.here().now).await {
        Ok(codes) => Ok(cx.page(codes_page(&codes))),
        Err(error) if error.kind.status() < 500 => Ok(cx.refused(PATH, &error.detail)),
        Err(error) => Err(error.into()),
    }
}

/// Ends one session, or all others.
pub(crate) async fn end_session(Path(id): Path<String>, Posted { cx, .. }: Posted) -> Answer {
    let (parts, session) = (cx.engine().parts(), &cx.person.session);
    if id == "others" {
        let ended = sessions::revoke_others(parts, session).await?;
        return Ok(cx.done(
            PATH,
            &format!(
                "{} ended.",
                format::count(i64::try_from(ended).unwrap_or(i64::MAX), "session has", "sessions have")
            ),
        ));
    }
    let id: SessionId = super::id(&id)?;
    sessions::revoke(parts, session, id).await?;
    Ok(cx.done(PATH, "The session has ended."))
}
