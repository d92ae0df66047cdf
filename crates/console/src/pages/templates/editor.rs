//! The page of one template: what it says in one language, with its preview beside it, its versions, and a test of it.

use axum::extract::Path;
use engine::{
    Error,
    accept::request::To,
    access::Permission,
    once::Repeat,
    patch::Patch,
    templates::{self, TemplatePatch, TemplateView, TestRequest, VersionState, VersionView, WhichVersion, locale},
};
use maud::{Markup, html};
use model::{Channel, TemplateId};
use serde::Deserialize;

use super::{ABOVE, PATH, preview, written};
use crate::{
    cx::{Answer, Cx, Fault, Posted, Query},
    form::{self, Faults, Form},
    format,
    pages::{self, channels},
    parts::{
        self, Control, Dialog, Field, Tone, icon, link_button,
        table::{self, Row, Table, cell},
    },
    read,
    shell::{self, Section},
};

/// Versions a page lists: each comes with all it says.
pub(super) const VERSIONS: u32 = 20;

#[derive(Debug, Default, Deserialize)]
pub(crate) struct Wanted {
    version: Option<u32>,
    locale: Option<String>,
}

/// What the page is about.
struct Subject {
    template: TemplateView,
    versions: Vec<VersionView>,
    /// The one that is shown.
    base: usize,
}

impl Subject {
    async fn read(cx: &Cx, id: &str, version: Option<u32>) -> Result<Self, Fault> {
        let id: TemplateId = pages::id(id)?;
        let template = templates::get(cx.engine(), &cx.caller, id).await?;
        let versions = templates::versions(cx.engine(), &cx.caller, id, Some(VERSIONS), None).await?.data;
        let wanted = version.unwrap_or(template.newest_version);
        let base = versions.iter().position(|one| one.version == wanted).ok_or_else(pages::no_page)?;
        Ok(Self { template, versions, base })
    }

    fn base(&self) -> &VersionView {
        &self.versions[self.base]
    }
}

/// Shows a template.
pub(crate) async fn show(cx: Cx, Path(id): Path<String>, Query(wanted): Query<Wanted>) -> Answer {
    cx.tenant()?;
    let subject = Subject::read(&cx, &id, wanted.version).await?;
    let base = subject.base();
    let locale = wanted.locale.as_deref().and_then(locale::parse).unwrap_or_else(|| base.default_locale.clone());
    let form = written::fill(subject.template.channel, base, &locale);
    let title = subject.template.name.clone();
    Ok(cx.page(page(&cx, &title, &subject, &form, &Faults::default())))
}

/// The editor of a template that is not there yet.
pub(super) fn new_page<'a>(cx: &Cx, channel: Channel, form: &Form, faults: &Faults) -> shell::Page<'a> {
    let tabs = html! {
        nav.tabs aria-label="Channel" {
            @for other in channels::of_people() {
                a href={ (PATH) "/new?channel=" (other) } aria-current=[(other == channel).then_some("page")] { (format::channel(other)) }
            }
        }
    };
    let about = html! {
        div.fields-2 {
            (Field::text("name", "Name").required().example("ticket-ready").help("Programs and campaigns name it by this.").draw(form, faults))
            (Field::text("locale", "Language").required().example("en").draw(form, faults))
        }
        (Field::text("description", "For").draw(form, faults))
    };
    let buttons =
        html! { (link_button(PATH, "", None, "Cancel")) button."button primary" type="submit" { "Add template" } };
    let body = sheet(cx, PATH, channel, &about, &buttons, &[], form, faults);
    shell::Page { above: ABOVE, tabs: Some(tabs), ..shell::Page::new("Add template", Section::Templates, body) }
}

/// The form with its preview beside it.
#[allow(clippy::too_many_arguments, reason = "the two pages that have it differ in these")]
fn sheet(
    cx: &Cx,
    action: &str,
    channel: Channel,
    about: &Markup,
    buttons: &Markup,
    variables: &[engine::templates::Variable],
    form: &Form,
    faults: &Faults,
) -> Markup {
    html! {
        form #template method="post" action=(action) hx-post={ (PATH) "/preview" } hx-trigger="input delay:350ms, change delay:100ms, load" hx-target="#shown" hx-swap="innerHTML" data-guard {
            (form::token(cx.csrf()))
            @for name in ["channel", "template", "base"] { input type="hidden" name=(name) value=(form.text(name)); }
            div."columns even" {
                section.card aria-label="Text" {
                    div.body {
                        div.form {
                            (shell::form_faults(faults, &written::NAMES))
                            (about)
                            (written::fields(channel, form, faults))
                            div #variables { (preview::fields(variables, form)) }
                        }
                    }
                    footer { div.end { (buttons) } }
                }
                div."stack sticky" {
                    section.card aria-label="Preview" {
                        header { h2 { "Preview" } }
                        div.body {
                            div.stack {
                                @if cx.may("contacts:read") {
                                    (Field::text("contact", "As this contact sees it").example("The beginning of a name or an address").draw(form, faults))
                                }
                                div #shown aria-live="polite" { p.muted { "Write something, and this shows what arrives." } }
                            }
                        }
                        @if channel == Channel::Email { (preview::frame("template")) }
                    }
                }
            }
        }
    }
}

fn page<'a>(cx: &Cx, title: &'a str, subject: &Subject, form: &Form, faults: &Faults) -> shell::Page<'a> {
    let (template, base) = (&subject.template, subject.base());
    let path = format!("{PATH}/{}", template.id);
    let may = cx.may("templates:write");
    let locale = written::locale_of(form);
    let mut form = form.clone();
    form.set("template", template.id.to_string());
    let about = html! {
        @if base.version != template.newest_version {
            (parts::notice(Tone::Info, "This is an earlier version", html! { p { "It is version " (base.version) ". What you save becomes the newest. " a href=(path) { "Show the newest" } } }))
        }
        (languages(&path, base, &locale, may))
        input type="hidden" name="locale" value=(locale);
        input type="hidden" name="default_locale" value=(base.default_locale);
        @if !base.variants.contains_key(&locale) { p.small { "This language is new: it begins with the text of " (base.default_locale) "." } }
    };
    let buttons = html! {
        @if may {
            button.button type="submit" name="then" value="keep" { "Save draft" }
            button."button primary" type="submit" name="then" value="publish" { "Save and publish" }
        } @else { span."muted small" { "You may try it here. Saving needs the permission to write templates." } }
    };
    let body = html! {
        (sheet(cx, &path, template.channel, &about, &buttons, &base.variables, &form, faults))
        (versions(cx, &path, subject))
    };
    let may_test = may && cx.caller.need_permission(Permission::Send(template.channel)).is_ok();
    let actions = html! {
        (super::state(template))
        @if may_test {
            button.button type="button" data-opens="test" { (icon("send")) "Send a test" }
            (test_dialog(cx, &path, subject, &locale))
        }
        @if may {
            button.button type="button" data-opens="about" { (icon("gear")) "Name" }
            button."button danger" type="button" data-opens="delete" { (icon("trash")) "Delete" }
            (about_dialog(cx, &path, template))
            (parts::dialog(&Dialog { id: "delete", title: "Delete this template?", action: &format!("{path}/delete"), csrf: cx.csrf(),
                body: html! { p.muted { "It can no longer be used. Messages made of it stay, and those that wait still leave." } }, yes: "Delete template", is_dangerous: true }))
        }
    };
    shell::Page {
        above: ABOVE,
        lead: (!template.description.is_empty()).then(|| html! { span dir="auto" { (template.description) } }),
        actions: Some(actions),
        ..shell::Page::new(title, Section::Templates, body)
    }
}

fn languages(path: &str, base: &VersionView, locale: &str, may: bool) -> Markup {
    let known = base.variants.keys().map(String::as_str);
    let all = known.chain((!base.variants.contains_key(locale)).then_some(locale));
    html! {
        div.row {
            nav.tabs aria-label="Language" {
                @for tag in all {
                    a href=(table::address(path, [("version", base.version.to_string().as_str()), ("locale", tag)])) aria-current=[(tag == locale).then_some("page")] {
                        (tag) @if tag == base.default_locale { span.visually-hidden { " (default)" } }
                    }
                }
            }
            @if may { button."button small" type="button" data-opens="language" { (icon("plus")) "Language" } }
        }
    }
}

fn test_dialog(cx: &Cx, path: &str, subject: &Subject, locale: &str) -> Markup {
    let channel = subject.template.channel;
    let to = match channel {
        Channel::Email => Field::text("to", "To").with(Control::Email).example("you@example.com"),
        Channel::Telegram => Field::text("to", "Telegram chat").with(Control::Number).example("123456789"),
        Channel::Sms | Channel::Whatsapp | Channel::Voice | Channel::Webhook => {
            Field::text("to", "Phone number").help("With country code.").example("+15550100001")
        }
    };
    let body = html! {
        p.muted { "Sends version " (subject.base().version) " as it was saved, with its examples. It is marked as a test and counted apart." }
        input type="hidden" name="version" value=(subject.base().version);
        input type="hidden" name="locale" value=(locale);
        (to.required().draw(&Form::default(), &Faults::default()))
    };
    parts::dialog(&Dialog {
        id: "test",
        title: "Send a test",
        action: &format!("{path}/test"),
        csrf: cx.csrf(),
        body,
        yes: "Send it",
        is_dangerous: false,
    })
}

fn about_dialog(cx: &Cx, path: &str, template: &TemplateView) -> Markup {
    let form = Form::of([("rename", template.name.as_str()), ("about", &template.description)]);
    let none = Faults::default();
    let body = html! {
        (Field::text("rename", "Name").required().draw(&form, &none))
        (Field::text("about", "For").draw(&form, &none))
        (parts::field::check("default", "true", template.default, &format!("Default for {}", format::channel(template.channel)), "Taken when a message says neither a text nor a template."))
    };
    html! {
        (parts::dialog(&Dialog { id: "about", title: "Name and use", action: &format!("{path}/about"), csrf: cx.csrf(), body, yes: "Save", is_dangerous: false }))
        dialog #language aria-labelledby="language-title" {
            form method="get" action=(path) {
                div.body {
                    h2 #language-title .strong { "Add a language" }
                    (Field::text("locale", "Language").required().example("pt-BR").help("It begins with the default language's text, and is there once you save.").draw(&Form::default(), &none))
                }
                footer { button.button type="button" data-closes { "Cancel" } button."button primary" type="submit" { "Write it" } }
            }
        }
    }
}

fn versions(cx: &Cx, path: &str, subject: &Subject) -> Markup {
    let may = cx.may("templates:write");
    let live = subject.template.published_version;
    let row = |version: &VersionView| {
        let (tone, words) = match version.state {
            VersionState::Draft => (Tone::Plain, "Draft"),
            VersionState::Published => (Tone::Good, "Published"),
            VersionState::Superseded => (Tone::Plain, "Replaced"),
            VersionState::RolledBack => (Tone::Warn, "Taken back"),
        };
        let number = version.version.to_string();
        let is_live = live == Some(version.version);
        Row {
            href: Some(table::address(path, [("version", number.as_str())])),
            cells: vec![
                cell(html! { "Version " (number) }),
                cell(parts::badge(tone, words)),
                cell(html! { (version.variants.keys().map(String::as_str).collect::<Vec<_>>().join(", ")) }),
                cell(cx.here().at(version.created_at)),
                cell(
                    html! { @if let Some(at) = version.published_at { (cx.here().at(at)) } @else { span.muted { "–" } } },
                ),
                cell(html! { div.row {
                    @if let Some(before) = subject.versions.iter().map(|other| other.version).filter(|other| *other < version.version).max() {
                        a."button small" href={ (path) "/compare?from=" (before) "&to=" (number) } aria-label={ "Changes of version " (number) } { "Changes" }
                    }
                    @if may && is_live && version.version > 1 && subject.versions.iter().any(|other| other.version != version.version && other.published_at.is_some()) {
                        (version_act(cx, path, "rollback", None, "Take back"))
                    } @else if may && !is_live {
                        (version_act(cx, path, "publish", Some(&number), "Publish"))
                    }
                } }),
            ],
        }
    };
    parts::card_flush(
        "Versions",
        None,
        table::table(Table {
            caption: "Versions, newest first",
            columns: &["Version", "State", "Languages", "Written", "Published", ""],
            rows: subject.versions.iter().map(row).collect(),
        }),
    )
}

fn version_act(cx: &Cx, path: &str, action: &str, version: Option<&str>, text: &str) -> Markup {
    html! {
        form method="post" action={ (path) "/" (action) } {
            (form::token(cx.csrf()))
            @if let Some(version) = version { input type="hidden" name="version" value=(version); }
            button."button small" type="submit" aria-label=[version.map(|number| format!("{text} version {number}"))] { (text) }
        }
    }
}

/// Writes what the form says as another version, and publishes it when that was pressed.
pub(crate) async fn save(Path(id): Path<String>, Posted { cx, form }: Posted) -> Answer {
    cx.tenant()?;
    cx.caller.need("templates:write")?;
    let subject = Subject::read(&cx, &id, form.text("base").parse().ok()).await?;
    let (channel, path) = (subject.template.channel, format!("{PATH}/{}", subject.template.id));
    let is_published = form.text("then") == "publish";
    match write(&cx, &subject, channel, &form, is_published).await {
        Ok(()) => {
            let said = if is_published { "Published. This is what is sent from now on." } else { "Saved as a draft." };
            Ok(cx.done(&table::address(&path, [("locale", written::locale_of(&form).as_str())]), said))
        }
        Err(error) if matches!(error.kind.status(), 409 | 422) => {
            let title = subject.template.name.clone();
            Ok(cx.again(page(&cx, &title, &subject, &form, &written::faults(error, &form))))
        }
        Err(error) => Err(error.into()),
    }
}

async fn write(cx: &Cx, subject: &Subject, channel: Channel, form: &Form, is_published: bool) -> Result<(), Error> {
    let (engine, caller, id) = (cx.engine(), &cx.caller, subject.template.id);
    let new = written::version(cx, channel, form, Some(subject.base())).await?;
    if is_published {
        // What cannot be published is not kept either: it stays in the form, with what is wrong with it.
        templates::try_out(engine, caller, channel, new.clone(), templates::PreviewRequest::default()).await?;
    }
    templates::add_version(engine, caller, &Repeat::NONE, id, new).await?;
    if is_published {
        templates::publish(engine, caller, &Repeat::NONE, id, WhichVersion::default()).await?;
    }
    Ok(())
}

/// Does what one of a template's buttons says.
pub(crate) async fn act(Path((id, action)): Path<(String, String)>, Posted { cx, form }: Posted) -> Answer {
    cx.tenant()?;
    let id: TemplateId = pages::id(&id)?;
    let path = format!("{PATH}/{id}");
    let (engine, caller) = (cx.engine(), &cx.caller);
    let which = WhichVersion { version: form.text("version").parse().ok() };
    let done = match action.as_str() {
        "publish" => templates::publish(engine, caller, &Repeat::NONE, id, which)
            .await
            .map(|_| "Published. This is what is sent from now on."),
        "rollback" => templates::roll_back(engine, caller, &Repeat::NONE, id, which)
            .await
            .map(|_| "Taken back. The version before is sent again."),
        "about" => templates::patch(engine, caller, id, about(&form)).await.map(|_| "Saved."),
        "delete" => {
            templates::delete(engine, caller, id).await?;
            return Ok(cx.done(PATH, "The template was deleted."));
        }
        "test" => return test(&cx, id, &path, &form).await,
        _ => Err(pages::no_page()),
    };
    match done {
        Ok(said) => Ok(cx.done(&path, said)),
        Err(error) if matches!(error.kind.status(), 409 | 422) => Ok(cx.refused(&path, &words(&error))),
        Err(error) => Err(error.into()),
    }
}

/// What an error says, with its fields.
fn words(error: &Error) -> String {
    let lines: Vec<String> = Faults::of(error).rest::<&str>(&[]).collect();
    lines.join("; ")
}

fn about(form: &Form) -> TemplatePatch {
    TemplatePatch {
        name: Patch::Set(form.text("rename").to_owned()),
        description: Patch::Set(form.text("about").to_owned()),
        default: Patch::Set(form.is_on("default")),
        tracking: Patch::Keep,
    }
}

async fn test(cx: &Cx, id: TemplateId, path: &str, form: &Form) -> Answer {
    let template = templates::get(cx.engine(), &cx.caller, id).await?;
    let text = form.text("to");
    let odd = || Error::invalid("/to", "this address cannot be written to; look at it again");
    let to = match template.channel {
        Channel::Email => text.parse().map(|email| To { email: Some(email), ..To::default() }).map_err(|_| odd()),
        Channel::Telegram => {
            text.parse().map(|chat| To { telegram_chat_id: Some(chat), ..To::default() }).map_err(|_| odd())
        }
        Channel::Sms | Channel::Whatsapp | Channel::Voice | Channel::Webhook => text
            .replace([' ', '-', '(', ')'], "")
            .parse()
            .map(|phone| To { phone: Some(phone), ..To::default() })
            .map_err(|_| odd()),
    };
    let sent = match to {
        Ok(to) => {
            let request = TestRequest {
                to: vec![to],
                version: form.text("version").parse().ok(),
                locale: form.filled("locale").map(str::to_owned),
                variables: None,
                account_id: None,
            };
            templates::test(cx.engine(), &cx.caller, &Repeat::NONE, id, request).await
        }
        Err(error) => Err(error),
    };
    match sent {
        Ok(reply) => {
            let made: read::MadeMany = read::json(&reply.body)?;
            let to = made.data.first().map_or_else(|| path.to_owned(), |made| format!("/console/messages/{}", made.id));
            Ok(cx.done(&to, "The test is on its way. This page follows what becomes of it."))
        }
        Err(error) if matches!(error.kind.status(), 409 | 422) => Ok(cx.refused(path, &words(&error))),
        Err(error) => Err(error.into()),
    }
}
