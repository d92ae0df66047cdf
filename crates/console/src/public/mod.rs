//! The hosted pages: unsubscribe, preferences, and the confirmation of a double opt-in. Whoever holds a link from a message may use them; there is no sign-in, no cookie and no script.
//!
//! Looking at a page changes nothing, because mail programs and virus scanners follow links by themselves. Buttons post forms. A mail program's one-click POST (RFC 8058) unsubscribes
//! at once and is answered 200, however often it comes.

mod page;
mod words;

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{ConnectInfo, DefaultBodyLimit, Path, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header, request::Parts},
    response::{IntoResponse as _, Response},
    routing::get,
};
use engine::{
    Engine, Error, ErrorKind,
    consent::{
        hours::{QuietHours, clock},
        links::Kind,
        pages::{Choice, Reach, Standing, Visitor},
    },
};
use maud::Markup;
use model::{Channel, TenantId};

use self::words::Words;

/// Largest form: every topic of a tenant twice, and room.
const BODY_MAX: usize = 64 * 1024;
/// Longest name of a program we keep, in characters.
const USER_AGENT_MAX: usize = 300;
/// Only style sheets and pictures of ours, only forms to ourselves, in nobody's frame.
const POLICY: &str =
    "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; img-src 'self'";

#[derive(Clone)]
struct Shared {
    engine: Arc<Engine>,
    client_ip_header: Option<HeaderName>,
}

/// The hosted pages. `client_ip_header` is the header in which a trusted proxy writes the client's address, as for the API.
pub fn router(engine: Arc<Engine>, client_ip_header: Option<HeaderName>) -> Router {
    Router::new()
        .route("/u/{token}", get(unsubscribe_page).post(unsubscribe))
        .route("/p/{token}", get(preferences_page).post(preferences))
        .route("/c/{token}", get(confirm_page).post(confirm))
        .route("/hosted.css", get(style))
        // Browsers ask for it unasked, and say so in red where there is none.
        .route("/favicon.ico", get(async || StatusCode::NO_CONTENT))
        .route("/hosted/{sheet}", get(brand_style))
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .with_state(Shared { engine, client_ip_header })
}

async fn style() -> Response {
    let headers = [(header::CONTENT_TYPE, "text/css; charset=utf-8"), (header::CACHE_CONTROL, "public, max-age=3600")];
    (headers, include_str!("hosted.css")).into_response()
}

/// A tenant's own colours. They are no secret: they stand on every page and in every mail.
async fn brand_style(State(shared): State<Shared>, Path(sheet): Path<String>) -> Response {
    let tenant: Option<TenantId> = sheet.strip_suffix(".css").and_then(|id| id.parse().ok());
    let found = match tenant {
        Some(tenant) => shared.engine.tenant(tenant).await.ok(),
        None => None,
    };
    let Some((_, tenant)) = found else { return StatusCode::NOT_FOUND.into_response() };
    let headers = [(header::CONTENT_TYPE, "text/css; charset=utf-8"), (header::CACHE_CONTROL, "public, max-age=86400")];
    (headers, tenant.branding.style_sheet()).into_response()
}

/// What a page was asked with.
struct Asked {
    token: String,
    accepts: Option<String>,
    visitor: Visitor,
    form: Form,
}

/// The fields of a form, in order.
#[derive(Default)]
struct Form(Vec<(String, String)>);

impl Form {
    fn read(body: &[u8]) -> Self {
        Self(form_urlencoded::parse(body).into_owned().collect())
    }

    fn one(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str())
    }

    fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(field, _)| field == name).map(|(_, value)| value.as_str())
    }

    /// Fields whose names begin so, without that.
    fn begin<'a>(&'a self, start: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.0.iter().filter_map(move |(field, value)| Some((field.strip_prefix(start)?, value.as_str())))
    }
}

impl Asked {
    fn new(shared: &Shared, parts: &Parts, token: String, body: &Bytes) -> Self {
        let text = |name: &HeaderName| parts.headers.get(name).and_then(|value| value.to_str().ok());
        let proxied = shared.client_ip_header.as_ref().and_then(text).and_then(|text| text.rsplit(',').next());
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|peer| peer.0.ip().to_canonical());
        let ip = match &shared.client_ip_header {
            Some(_) => proxied.and_then(|text| text.trim().parse().ok()),
            None => peer,
        };
        Self {
            token,
            accepts: text(&header::ACCEPT_LANGUAGE).map(str::to_owned),
            visitor: Visitor {
                ip: ip.map(|ip: std::net::IpAddr| ip.to_string()),
                user_agent: text(&header::USER_AGENT).map(|text| text.chars().take(USER_AGENT_MAX).collect()),
                text_shown: None,
            },
            form: Form::read(body),
        }
    }

    fn words(&self, standing: Option<&Standing>) -> &'static Words {
        let own = standing.and_then(|standing| standing.language.as_deref());
        let usual = standing.and_then(|standing| standing.look.default_locale.as_deref());
        words::choose(own, self.accepts.as_deref(), usual)
    }

    fn answer(&self, result: Result<Standing, Error>, show: impl Fn(&Standing, &Words) -> Markup) -> Response {
        match result {
            Ok(standing) => {
                let logo = standing.look.logo.as_deref();
                html(StatusCode::OK, logo, show(&standing, self.words(Some(&standing))))
            }
            Err(error) => {
                let words = self.words(None);
                let status = StatusCode::from_u16(error.kind.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                let text = match (error.kind, error.code) {
                    (ErrorKind::NotFound, "link_expired") => words.link_expired,
                    (ErrorKind::NotFound, _) => words.link_invalid,
                    (ErrorKind::Invalid, _) => words.form_invalid,
                    _ => {
                        tracing::error!(code = error.code, "A hosted page failed");
                        words.trouble
                    }
                };
                html(status, None, page::notice(words, text))
            }
        }
    }
}

/// The policy of a page with this logo: one that lies elsewhere may be loaded from there.
fn policy(logo: Option<&str>) -> HeaderValue {
    let origin = logo.and_then(|logo| logo.parse::<Uri>().ok()).and_then(|uri| {
        let (scheme, authority) = (uri.scheme_str()?.to_owned(), uri.authority()?.to_string());
        HeaderValue::try_from(format!("{POLICY} {scheme}://{authority}")).ok()
    });
    origin.unwrap_or(HeaderValue::from_static(POLICY))
}

fn html(status: StatusCode, logo: Option<&str>, markup: Markup) -> Response {
    let mut response = Response::new(Body::from(markup.into_string()));
    *response.status_mut() = status;
    let headers: &mut HeaderMap = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, policy(logo));
    for (name, value) in [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (HeaderName::from_static("x-robots-tag"), "noindex"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Reads a request's parts and body; a body that is too large or breaks off is an empty one, which asks for nothing.
async fn asked(shared: &Shared, token: String, request: Request) -> Asked {
    let (parts, body) = request.into_parts();
    let bytes = axum::body::to_bytes(body, BODY_MAX).await.unwrap_or_default();
    let mut asked = Asked::new(shared, &parts, token, &bytes);
    // A mail program may post its one field as multipart.
    let text = String::from_utf8_lossy(&bytes);
    if text.contains("List-Unsubscribe") && text.contains("One-Click") {
        asked.form = Form(vec![("List-Unsubscribe".to_owned(), "One-Click".to_owned())]);
    }
    asked
}

async fn unsubscribe_page(State(shared): State<Shared>, Path(token): Path<String>, request: Request) -> Response {
    let asked = asked(&shared, token, request).await;
    asked.answer(shared.engine.page(&asked.token, Kind::Unsubscribe).await, |standing, words| {
        page::unsubscribe(standing, words, false)
    })
}

async fn unsubscribe(State(shared): State<Shared>, Path(token): Path<String>, request: Request) -> Response {
    let asked = asked(&shared, token, request).await;
    let mut visitor = asked.visitor.clone();
    let is_one_click = asked.form.one("List-Unsubscribe") == Some("One-Click");
    let done = match asked.form.one("do") {
        _ if is_one_click => {
            visitor.text_shown = Some("List-Unsubscribe=One-Click".to_owned());
            shared.engine.unsubscribe(&asked.token, visitor, Reach::Channel).await
        }
        Some("topic") => shared.engine.unsubscribe(&asked.token, visitor, Reach::Topic).await,
        Some("all") => shared.engine.unsubscribe(&asked.token, visitor, Reach::Channel).await,
        Some("again") => shared.engine.resubscribe(&asked.token, visitor).await,
        _ => Err(Error::invalid("/do", "one of topic, all and again")),
    };
    asked.answer(done, |standing, words| page::unsubscribe(standing, words, true))
}

async fn preferences_page(State(shared): State<Shared>, Path(token): Path<String>, request: Request) -> Response {
    let asked = asked(&shared, token, request).await;
    asked.answer(shared.engine.page(&asked.token, Kind::Preferences).await, |standing, words| {
        page::preferences(standing, words, false)
    })
}

async fn preferences(State(shared): State<Shared>, Path(token): Path<String>, request: Request) -> Response {
    let asked = asked(&shared, token, request).await;
    let kept = match choice(&asked.form) {
        Some(choice) => shared.engine.choose(&asked.token, asked.visitor.clone(), choice).await,
        None => Err(Error::invalid("/quiet_from", "two different times of day, or none")),
    };
    asked.answer(kept, |standing, words| page::preferences(standing, words, true))
}

/// What the form of the preference page says; `None` when its times cannot be read.
fn choice(form: &Form) -> Option<Choice> {
    let time = |name: &str| form.one(name).map(str::trim).filter(|text| !text.is_empty());
    let quiet_hours = match (time("quiet_from"), time("quiet_until")) {
        (None, None) => None,
        (Some(from), Some(until)) => {
            let quiet = QuietHours { from: clock::parse(from)?, until: clock::parse(until)? };
            (quiet.from != quiet.until).then_some(Some(quiet))?
        }
        _ => return None,
    };
    let preferred: BTreeMap<String, Channel> =
        form.begin("via:").filter_map(|(topic, channel)| Some((topic.to_owned(), channel.parse().ok()?))).collect();
    Some(Choice {
        channels: form.all("channel").filter_map(|word| word.parse().ok()).collect(),
        topics: form.all("topic").map(str::to_owned).collect(),
        preferred,
        quiet_hours,
    })
}

async fn confirm_page(State(shared): State<Shared>, Path(token): Path<String>, request: Request) -> Response {
    let asked = asked(&shared, token, request).await;
    asked.answer(shared.engine.page(&asked.token, Kind::Confirm).await, |standing, words| {
        page::confirm(standing, words, false)
    })
}

async fn confirm(State(shared): State<Shared>, Path(token): Path<String>, request: Request) -> Response {
    let asked = asked(&shared, token, request).await;
    let mut visitor = asked.visitor.clone();
    visitor.text_shown = Some(asked.words(None).confirm_question.to_owned());
    asked.answer(shared.engine.confirm(&asked.token, visitor).await, |standing, words| {
        page::confirm(standing, words, true)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_a_choice() {
        let form = Form::read(b"channel=email&channel=sms&topic=news&via%3Ainvoice_delivery=whatsapp&via%3Anews=&quiet_from=22%3A00&quiet_until=09%3A00");
        let choice = choice(&form).unwrap();
        assert_eq!(choice.channels, [Channel::Email, Channel::Sms]);
        assert_eq!(choice.topics, ["news"]);
        assert_eq!(choice.preferred, BTreeMap::from([("invoice_delivery".to_owned(), Channel::Whatsapp)]));
        assert_eq!(choice.quiet_hours, Some(QuietHours { from: 1_320, until: 540 }));
    }

    #[test]
    fn times_that_make_no_sense_are_refused() {
        for body in ["quiet_from=22:00", "quiet_from=9&quiet_until=10:00", "quiet_from=09:00&quiet_until=09:00"] {
            assert!(choice(&Form::read(body.as_bytes())).is_none(), "{body}");
        }
        assert!(choice(&Form::read(b"")).unwrap().quiet_hours.is_none());
    }
}
