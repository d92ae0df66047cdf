//! The ways in and out: signing in and out, and entering and leaving a tenant.

use axum::{
    extract::{FromRequestParts as _, Request, State},
    response::Response,
};
use engine::{Error, keys};
use http::{StatusCode, header};
use maud::{Markup, html};
use model::TenantId;

use crate::{
    App, BASE,
    cx::{Answer, Cx, Look, Posted, Query, go, html, is_secure, read_body},
    form::{FORM_MAX, Faults, Form},
    parts::{Control, Field},
    session, shell,
};

#[derive(Debug, Default, serde::Deserialize)]
pub(crate) struct Next {
    next: Option<String>,
}

/// Where somebody goes after signing in: a page of ours, or the start.
fn safe(next: Option<&str>) -> &str {
    next.filter(|next| *next == BASE || next.starts_with("/console/")).unwrap_or(BASE)
}

/// The page to sign in.
pub(crate) async fn sign_in_page(State(app): State<App>, Query(next): Query<Next>, request: Request) -> Answer {
    let (mut parts, _) = request.into_parts();
    if Cx::from_request_parts(&mut parts, &app).await.is_ok() {
        return Ok(go(safe(next.next.as_deref())));
    }
    let look = Look::read(&app, &parts.headers);
    let form = Form::of([("next", safe(next.next.as_deref()))]);
    Ok(html(shell::door(&look, "Sign in", sign_in_form(&form, &Faults::default()))))
}

fn sign_in_form(form: &Form, faults: &Faults) -> Markup {
    html! {
        div { h1 { "Sign in" } p.lead { "With an API key of your tenant or of the operator." } }
        form.form method="post" action="/console/sign-in" {
            (shell::form_faults(faults, &["key"]))
            input type="hidden" name="next" value=(form.text("next"));
            (Field::text("key", "API key").with(Control::Password { autocomplete: "current-password" }).required().draw(form, faults))
            button."button primary wide" type="submit" { "Sign in" }
        }
    }
}

/// Signs in.
pub(crate) async fn sign_in(State(app): State<App>, request: Request) -> Answer {
    let (parts, body) = request.into_parts();
    let form = Form::read(&read_body(body, FORM_MAX).await?);
    let engine = app.engine();
    let key = form.text("key").to_owned();
    let ip = session::client_ip(&app, &parts);
    match keys::authenticate(engine.parts(), Some(&key), None, ip, engine.ports.clock.now()).await {
        Ok(_) => {
            let mut response = go(safe(form.get("next")));
            response
                .headers_mut()
                .append(header::SET_COOKIE, session::set_cookie(session::COOKIE, &key, None, is_secure(&app)));
            Ok(response)
        }
        Err(error) if error.kind.status() < 500 => {
            let look = Look::read(&app, &parts.headers);
            let mut response = html(shell::door(&look, "Sign in", sign_in_form(&form, &Faults::of(&error))));
            *response.status_mut() = StatusCode::UNPROCESSABLE_ENTITY;
            Ok(response)
        }
        Err(error) => Err(error.into()),
    }
}

/// Signs out.
pub(crate) async fn sign_out(Posted { cx, .. }: Posted) -> Answer {
    let mut response = go("/console/sign-in");
    forget(&cx, &mut response, &[session::COOKIE, session::TENANT]);
    Ok(response)
}

/// Looks at a tenant.
pub(crate) async fn enter(Posted { cx, form }: Posted) -> Answer {
    let id: TenantId = form.text("tenant").parse().map_err(|_| Error::not_found("tenant"))?;
    let mut response = go(BASE);
    let cookie = session::set_cookie(session::TENANT, &id.to_string(), None, cx.is_secure());
    response.headers_mut().append(header::SET_COOKIE, cookie);
    Ok(response)
}

/// Leaves the tenant.
pub(crate) async fn leave(Posted { cx, .. }: Posted) -> Answer {
    let mut response = go("/console/tenants");
    forget(&cx, &mut response, &[session::TENANT]);
    Ok(response)
}

fn forget(cx: &Cx, response: &mut Response, names: &[&str]) {
    for name in names {
        response.headers_mut().append(header::SET_COOKIE, session::set_cookie(name, "", Some(0), cx.is_secure()));
    }
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
