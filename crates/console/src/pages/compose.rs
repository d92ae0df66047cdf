//! The composer: one message over one channel; `preview` explains what would happen.

pub(crate) mod preview;

use std::str::FromStr as _;

use axum::{
    extract::{FromRequestParts as _, Request, State},
    response::Response,
};
use engine::{
    Error, ErrorKind,
    accounts::{self, AccountView},
    attachments,
    contacts::{self, ContactQuery},
    once::{IdempotencyKey, Repeat},
    templates::{self, TemplateQuery, TemplateView},
};
use maud::{Markup, html};
use model::{Channel, ContactId, TemplateId};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{channels, schedules};
use crate::{
    App,
    cx::{Answer, Cx, Posted, Query, check_token, decoded, html as answer, read_body},
    form::{self, Faults, Form},
    format,
    parts::{self, Control, Field, icon, link_button},
    read::{self, Made, Upload},
    shell::{self, Section},
};

const PATH: &str = "/console/compose";
/// Placeholders that get a field of their own at most; more are a template's business.
const VARIABLES_MAX: usize = 30;
/// Templates to choose from: the newest.
const TEMPLATES: u32 = 200;
/// Versions of a template among which the published one is looked for: the newest.
const VERSIONS: u32 = 100;
/// People proposed for what was typed.
const PROPOSED: u32 = 8;
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Wanted {
    channel: Option<Channel>,
    to: Option<String>,
}

/// Shows an empty form.
pub(crate) async fn show(cx: Cx, Query(wanted): Query<Wanted>) -> Answer {
    cx.tenant()?;
    cx.caller.need("messages:write")?;
    let accounts = accounts_of(&cx).await?;
    let theirs = || channels::of_people().filter(|channel| cx.may_send(*channel));
    let first = theirs().find(|channel| accounts.iter().any(|account| account.default_for.contains(channel)));
    let wanted_channel = wanted.channel.filter(|channel| *channel != Channel::Webhook);
    let channel = wanted_channel.or(first).or_else(|| theirs().next()).unwrap_or(Channel::Email);
    let form = Form::of([
        ("channel", channel.as_str().to_owned()),
        ("key", cx.engine().ports.ids.token(24)),
        ("to", wanted.to.unwrap_or_default()),
        ("purpose", "transactional".to_owned()),
    ]);
    let offer = Offer::read(&cx, &form, accounts).await?;
    Ok(cx.page(page(&cx, channel, &offer, &form, &Faults::default())))
}

/// What the form offers besides its own fields.
struct Offer {
    accounts: Vec<AccountView>,
    /// Published templates of the channel.
    templates: Vec<TemplateView>,
    /// The values a message needs.
    names: Vec<String>,
}

impl Offer {
    async fn read(cx: &Cx, form: &Form, accounts: Vec<AccountView>) -> Result<Self, Error> {
        let templates = if cx.may("templates:read") {
            let query =
                TemplateQuery { channel: Some(channel_of(form)), limit: Some(TEMPLATES), ..TemplateQuery::default() };
            templates::list(cx.engine(), &cx.caller, &query).await?.data
        } else {
            Vec::new()
        };
        let templates = templates.into_iter().filter(|template| template.published_version.is_some()).collect();
        Ok(Self { accounts, templates, names: names_of(cx, form).await? })
    }
}

/// The template that was chosen.
fn chosen(form: &Form) -> Option<TemplateId> {
    form.filled("template")?.parse().ok()
}

/// The values a message needs: those its template names, or the placeholders of what was typed.
async fn names_of(cx: &Cx, form: &Form) -> Result<Vec<String>, Error> {
    let Some(id) = chosen(form).filter(|_| cx.may("templates:read")) else { return Ok(placeholders(form)) };
    let template = match templates::get(cx.engine(), &cx.caller, id).await {
        Err(error) if error.kind == ErrorKind::NotFound => return Ok(Vec::new()),
        found => found?,
    };
    let versions = templates::versions(cx.engine(), &cx.caller, id, Some(VERSIONS), None).await?.data;
    let published = versions.into_iter().find(|version| Some(version.version) == template.published_version);
    let names = published.map(|version| version.variables).unwrap_or_default();
    Ok(names.into_iter().map(|variable| variable.name).take(VARIABLES_MAX).collect())
}

/// Whom an address belongs to, for a template that speaks of its reader.
async fn reader_of(cx: &Cx, form: &Form) -> Result<Option<ContactId>, Error> {
    let to = form.text("to").replace(' ', "");
    if chosen(form).is_none() || to.is_empty() || !cx.may("contacts:read") {
        return Ok(None);
    }
    let found = people(cx, &to).await?;
    let channel = Some(channel_of(form));
    let is_theirs =
        |contact: &&contacts::ContactView| address(contact, channel).is_some_and(|own| own.eq_ignore_ascii_case(&to));
    Ok(found.iter().find(is_theirs).map(|contact| contact.id))
}

async fn people(cx: &Cx, q: &str) -> Result<Vec<contacts::ContactView>, Error> {
    let query = ContactQuery { q: Some(q.to_owned()), limit: Some(PROPOSED), ..ContactQuery::default() };
    match contacts::list(cx.engine(), &cx.caller, &query).await {
        Ok(page) => Ok(page.data),
        // Too long to be a name or an address.
        Err(error) if error.kind.status() == 400 => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Where somebody is reached over a channel, as far as it can be typed.
fn address(contact: &contacts::ContactView, channel: Option<Channel>) -> Option<&str> {
    match channel {
        Some(Channel::Email) => contact.email.as_deref(),
        Some(Channel::Whatsapp) => contact.whatsapp.as_deref().or(contact.phone.as_deref()),
        Some(Channel::Telegram | Channel::Webhook) | None => None,
        Some(Channel::Sms | Channel::Voice) => contact.phone.as_deref(),
    }
}

/// Proposes people for what was typed as the recipient.
pub(crate) async fn recipients(cx: Cx, Query(wanted): Query<Wanted>) -> Answer {
    cx.tenant()?;
    cx.caller.need("messages:write")?;
    let typed = wanted.to.unwrap_or_default();
    let is_worth_it = typed.trim().chars().count() > 1 && cx.may("contacts:read");
    let found = if is_worth_it { people(&cx, typed.trim()).await? } else { Vec::new() };
    let reached =
        found.iter().filter_map(|contact| Some((address(contact, wanted.channel)?, super::contacts::name(contact))));
    Ok(answer(html! { @for (address, name) in reached { option value=(address) { (name) } } }))
}

async fn accounts_of(cx: &Cx) -> Result<Vec<AccountView>, Error> {
    if !cx.may("accounts:read") {
        return Ok(Vec::new());
    }
    Ok(accounts::list(cx.engine().parts(), &cx.caller, Some(channels::ALL), None).await?.data)
}

/// The channel a form is for.
fn channel_of(form: &Form) -> Channel {
    Channel::from_str(form.text("channel"))
        .ok()
        .filter(|channel| *channel != Channel::Webhook)
        .unwrap_or(Channel::Email)
}

fn page<'a>(cx: &Cx, channel: Channel, offer: &Offer, form: &Form, faults: &Faults) -> shell::Page<'a> {
    let carries = |account: &&AccountView| account.channels.contains(&channel);
    let is_set_up = offer.accounts.iter().any(|account| carries(&account)) || !cx.may("accounts:read");
    let tabs = html! {
        nav.tabs aria-label="Channel" {
            @for other in channels::of_people().filter(|other| *other == channel || cx.may_send(*other)) {
                a href={ (PATH) "?channel=" (other) } aria-current=[(other == channel).then_some("page")] { (format::channel(other)) }
            }
        }
    };
    let body = if !cx.may_send(channel) {
        let words = format!("You may not send over {}", format::channel(channel));
        html! { section.card { (parts::empty("shield", &words, "An administrator of the tenant can give you the right to.", None)) } }
    } else if is_set_up {
        html! {
            div.columns.even {
                (composer(cx, channel, offer, form, faults))
                div.stack.sticky {
                    @if channel == Channel::Email { (preview::mail_card()) }
                    div #explanation aria-live="polite" { (parts::card("What will happen", None, html! { p.muted { "Write something, and this says over which way it leaves, when, and what it looks like." } })) }
                }
            }
        }
    } else {
        let next = html! { @if cx.may_manage(&[channel]) { (link_button(&format!("/console/channels/new?channel={channel}"), "primary", Some("plus"), &format!("Set up {}", format::channel(channel)))) } };
        html! { section.card { (parts::empty(parts::channel_icon(channel), &format!("{} is not set up", format::channel(channel)), "Connect a provider, or begin with the sandbox, which acts out deliveries and sends nothing.", Some(next))) } }
    };
    shell::Page { tabs: Some(tabs), ..shell::Page::new("Compose", Section::Compose, body) }
}

fn composer(cx: &Cx, channel: Channel, offer: &Offer, form: &Form, faults: &Faults) -> Markup {
    let mut of: Vec<(&str, String)> = vec![("", "The channel's default account".to_owned())];
    let ids: Vec<(String, String)> = offer
        .accounts
        .iter()
        .filter(|account| account.channels.contains(&channel))
        .map(|account| (account.id.to_string(), account.name.clone()))
        .collect();
    of.extend(ids.iter().map(|(id, name)| (id.as_str(), name.clone())));
    let purposes = vec![
        ("transactional", "Transactional: they asked for it".to_owned()),
        ("marketing", "Marketing: needs consent".to_owned()),
    ];
    let is_demo = cx.tenant.as_ref().is_some_and(|tenant| tenant.is_demo);
    html! {
        section.card aria-label="Message" {
            form #compose method="post" action=(PATH) hx-post={ (PATH) "/preview" } hx-trigger="input delay:350ms, change delay:100ms, load" hx-target="#explanation" hx-swap="innerHTML" data-guard {
                (form::token(cx.csrf()))
                input type="hidden" name="channel" value=(channel);
                input type="hidden" name="key" value=(form.text("key"));
                div.body {
                    div.form {
                        (shell::form_faults(faults, &NAMES))
                        (recipient(channel).required().proposing("recipients").draw(form, faults))
                        // What is typed here is looked for among the contacts; a browser without script has the field alone.
                        datalist #recipients hx-get={ (PATH) "/recipients?channel=" (channel) } hx-trigger="input changed delay:200ms from:#f-to" hx-include="#f-to" hx-target="this" hx-swap="innerHTML" {}
                        (template_choice(offer, form, faults))
                        div.form data-when="template=" { (says(channel, form, faults)) }
                        @if channel == Channel::Email { (files(cx, form, faults)) }
                        div #variables { (variables(form, &offer.names)) }
                        details.more id="options" open[["account_id", "purpose", "send_at", "reply_to"].iter().chain(&schedules::NAMES).any(|name| faults.at(name).is_some()) || form.filled("send_at").is_some() || form.filled("repeat").is_some()] {
                            summary { "Options" }
                            div."form spaced" {
                                (Field::text("account_id", "Through").with(Control::Choice(of)).draw(form, faults))
                                (Field::text("purpose", "Purpose").with(Control::Choice(purposes)).required().draw(form, faults))
                                (Field::text("send_at", "Send later").with(Control::When).help("In your own time zone. Empty sends now.").draw(form, faults))
                                (schedules::fields(form, faults))
                                @if channel == Channel::Email { (Field::text("content/reply_to", "Answers go to").with(Control::Email).draw(form, faults)) }
                            }
                        }
                    }
                }
                footer { div.end { button."button primary" type="submit" { (icon("send")) @if is_demo { "Send (demo)" } @else { "Send" } } } }
            }
        }
    }
}

/// Whether a template says it, or what is typed.
fn template_choice(offer: &Offer, form: &Form, faults: &Faults) -> Markup {
    let ids: Vec<(String, String)> =
        offer.templates.iter().map(|template| (template.id.to_string(), template.name.clone())).collect();
    let own = std::iter::once(("", "What is written here".to_owned()));
    let all = own.chain(ids.iter().map(|(id, name)| (id.as_str(), format!("Template {name}")))).collect();
    html! {
        @if ids.is_empty() { input type="hidden" name="template" value=""; }
        @else { (Field::text("template", "It says").plain().with(Control::Choice(all)).draw(form, faults)) }
    }
}

/// The fields that show their own errors.
const NAMES: [&str; 14] = [
    "to",
    "template",
    "content/subject",
    "content/text",
    "content/html",
    "content/say",
    "content/language",
    "account_id",
    "purpose",
    "send_at",
    "content/reply_to",
    "repeat",
    "schedule_name",
    "ends_at",
];

fn recipient(channel: Channel) -> Field<'static> {
    match channel {
        Channel::Email => Field::text("to", "To").with(Control::Email).example("ada@example.com"),
        Channel::Telegram => {
            Field::text("to", "Telegram chat").help("The chat's number, as your bot learned it.").example("123456789")
        }
        Channel::Sms | Channel::Whatsapp | Channel::Voice | Channel::Webhook => {
            Field::text("to", "Phone number").help("With country code.").example("+15550100001")
        }
    }
}

fn says(channel: Channel, form: &Form, faults: &Faults) -> Markup {
    match channel {
        Channel::Email => html! {
            (Field::text("content/subject", "Subject").required().draw(form, faults))
            (Field::text("content/text", "Text").with(Control::Area { rows: 8 }).help("Placeholders such as {{ name }} are filled in when it leaves.").draw(form, faults))
            details.more id="html-part" open[form.filled("content/html").is_some() || faults.at("content/html").is_some()] {
                summary { "HTML" }
                div.spaced { (Field::text("content/html", "HTML").with(Control::Area { rows: 10 }).help("Shown instead of the text where it can be.").draw(form, faults)) }
            }
        },
        Channel::Voice => html! {
            (Field::text("content/say", "What is said").with(Control::Area { rows: 6 }).required().draw(form, faults))
            (Field::text("content/language", "Language").example("en-GB").draw(form, faults))
        },
        Channel::Sms | Channel::Whatsapp | Channel::Telegram | Channel::Webhook => html! {
            (Field::text("content/text", "Text").with(Control::Area { rows: 6 }).required().help("Placeholders such as {{ name }} are filled in when it leaves.").draw(form, faults))
        },
    }
}

fn files(cx: &Cx, form: &Form, faults: &Faults) -> Markup {
    html! {
        @if cx.may("attachments:write") {
            file-list.field action={ (PATH) "/files" } token=(cx.csrf()) {
                label for="f-files" { "Files " span.optional { "optional" } }
                input #f-files type="file" multiple;
                ul.stack.tight { @for file in form.all("attachment") { @if let Some((id, name)) = file.split_once(' ') { (file_line(id, name, None)) } } }
                @if let Some(fault) = faults.at("attachments") { p.error { (icon("alert")) span { (fault) } } }
            }
        }
    }
}

fn file_line(id: &str, name: &str, size: Option<u64>) -> Markup {
    html! {
        li.row {
            (icon("file")) span.break { (name) } @if let Some(size) = size { span."muted small" { (format::bytes(size)) } }
            input type="hidden" name="attachment" value={ (id) " " (name) };
            button."button quiet small" type="button" data-remove aria-label={ "Remove " (name) } { (icon("close")) }
        }
    }
}

/// The names of the placeholders a form's texts hold, each once.
fn placeholders(form: &Form) -> Vec<String> {
    let texts = ["content/subject", "content/text", "content/html", "content/say"]
        .map(|name| form.get(name).unwrap_or_default());
    let mut names: Vec<String> = Vec::new();
    for piece in texts.iter().flat_map(|text| text.split("{{").skip(1)) {
        let name: String = piece.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        let is_name = name.chars().next().is_some_and(|first| first.is_alphabetic() || first == '_');
        if is_name && !names.contains(&name) && names.len() < VARIABLES_MAX {
            names.push(name);
        }
    }
    names
}

fn variables(form: &Form, names: &[String]) -> Markup {
    html! {
        @if !names.is_empty() {
            fieldset.form {
                legend { "Placeholders" }
                div.fields-2 { @for name in names { (Field::text(&format!("variables/{name}"), name).required().draw(form, &Faults::default())) } }
            }
        }
        input type="hidden" name="known" value=(names.join(" "));
    }
}

/// The request a form stands for.
async fn request(form: &Form, cx: &Cx, is_dry: bool) -> Result<Value, Error> {
    let (names, reader) = (names_of(cx, form).await?, reader_of(cx, form).await?);
    written(form, cx, is_dry, names, reader)
}

/// The same with what was looked up for it: the values it needs, and whom the address belongs to.
fn written(form: &Form, cx: &Cx, is_dry: bool, names: Vec<String>, reader: Option<ContactId>) -> Result<Value, Error> {
    let channel = channel_of(form);
    let to = form.text("to");
    let to = match (channel, reader) {
        (_, Some(contact)) => json!({"contact_id": contact}),
        (Channel::Email, _) => json!({"email": to}),
        (Channel::Telegram, _) => {
            let chat: i64 =
                to.parse().map_err(|_| Error::invalid("/to", "write the chat's number, such as 123456789"))?;
            json!({"telegram_chat_id": chat})
        }
        (Channel::Sms | Channel::Whatsapp | Channel::Voice | Channel::Webhook, _) => {
            json!({"phone": to.replace([' ', '-', '(', ')'], "")})
        }
    };
    let mut content = Map::new();
    let fields: &[&str] = match channel {
        Channel::Email => &["subject", "text", "html", "reply_to"],
        Channel::Voice => &["say", "language"],
        Channel::Sms | Channel::Whatsapp | Channel::Telegram | Channel::Webhook => &["text"],
    };
    for name in fields {
        // Browsers write line ends their own way.
        if let Some(text) = form
            .get(&format!("content/{name}"))
            .map(|text| text.replace("\r\n", "\n"))
            .filter(|text| !text.trim().is_empty())
        {
            content.insert((*name).to_owned(), Value::String(text));
        }
    }
    let filled = names.into_iter().filter_map(|name| {
        let value =
            form.get(&format!("variables/{name}")).filter(|value| !is_dry || !value.is_empty()).map(str::to_owned);
        // A preview shows where something is still missing instead of failing.
        let value = value.or_else(|| is_dry.then(|| format!("[{name}]")))?;
        Some((name, Value::String(value)))
    });
    let mut request = json!({"to": to, "channel": channel, "content": content, "dry_run": is_dry, "variables": filled.collect::<Map<_, _>>()});
    if let (Some(id), Some(request)) = (chosen(form), request.as_object_mut()) {
        request.remove("content");
        request.insert("template".to_owned(), json!({ "id": id }));
    }
    if let Some(purpose) = form.filled("purpose") {
        request["purpose"] = json!(purpose);
    }
    if let Some(account) = form.filled("account_id") {
        request["account_id"] = json!(account);
    }
    if let Some(text) = form.filled("send_at") {
        let at = cx.here().read_local(text).ok_or_else(|| Error::invalid("/send_at", "choose a day and a time"))?;
        request["send_at"] = json!(at);
    }
    let files: Vec<Value> =
        form.all("attachment").filter_map(|file| Some(json!({"attachment_id": file.split_once(' ')?.0}))).collect();
    if !files.is_empty() {
        request["attachments"] = json!(files);
    }
    Ok(request)
}

fn bytes(request: &Value) -> Vec<u8> {
    request.to_string().into_bytes()
}

/// Takes a file; answers its line for the form.
pub(crate) async fn file(State(app): State<App>, request: Request) -> Answer {
    let (mut parts, body) = request.into_parts();
    let cx = Cx::from_request_parts(&mut parts, &app).await?;
    check_token(&cx, &parts.headers, &Form::default())?;
    let value = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let (name, kind) = (decoded(value("x-filename")), value("content-type").to_owned());
    let kept = match read_body(body, attachments::UPLOAD_MAX).await {
        Ok(bytes) => attachments::upload(cx.engine(), &cx.caller, &Repeat::NONE, &name, &kind, bytes).await,
        Err(error) => Err(error),
    };
    match kept {
        Ok(reply) => {
            let upload: Upload = read::json(&reply.body)?;
            Ok(answer(file_line(&upload.id, &upload.filename, Some(upload.size))))
        }
        Err(error) if error.kind == ErrorKind::Internal => Err(error.into()),
        Err(error) => Ok(answer(
            html! { li.row { (icon("alert")) span.break { (name) ": " (error.detail) } button."button quiet small" type="button" data-remove aria-label="Dismiss" { (icon("close")) } } },
        )),
    }
}

/// Sends the message. The same form sent twice sends once.
pub(crate) async fn send(Posted { cx, form }: Posted) -> Answer {
    cx.tenant()?;
    cx.caller.need("messages:write")?;
    if form.filled("repeat").is_some() {
        return repeat(&cx, &form).await;
    }
    let key = IdempotencyKey::parse(&format!("console-{}", form.text("key"))).ok();
    let sent = match request(&form, &cx, false).await {
        Ok(request) => cx.engine().send(&cx.caller, &bytes(&request), key).await,
        Err(error) => Err(error),
    };
    match sent {
        Ok(reply) => {
            let made: Made = read::json(&reply.body)?;
            Ok(cx.done(&format!("/console/messages/{}", made.id), "Accepted. This page follows what becomes of it."))
        }
        Err(error) if error.kind.status() < 500 => again(&cx, &form, &error).await,
        Err(error) => Err(error.into()),
    }
}

/// Makes the message repeat instead of sending it.
async fn repeat(cx: &Cx, form: &Form) -> Answer {
    let made = match request(form, cx, false).await {
        Ok(message) => schedules::make(cx, form, message).await,
        Err(error) => Err(error),
    };
    match made {
        Ok(reply) => {
            let made: Made = read::json(&reply.body)?;
            Ok(cx.done(&format!("{}/{}", schedules::PATH, made.id), "It repeats from now on. What comes stands here."))
        }
        Err(error) if error.kind.status() < 500 => again(cx, form, &error).await,
        Err(error) => Err(error.into()),
    }
}

async fn again(cx: &Cx, form: &Form, error: &Error) -> Result<Response, crate::cx::Fault> {
    let offer = Offer::read(cx, form, accounts_of(cx).await?).await?;
    Ok(cx.again(page(cx, channel_of(form), &offer, form, &Faults::of(error))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_found_once_each_and_by_name_only() {
        let check = |text: &str, expected: &[&str]| {
            assert_eq!(placeholders(&Form::of([("content/text", text)])), expected, "{text}")
        };
        check("Hello {{ name }}, {{name}} and {{ order.id | upper }}", &["name", "order"]);
        check("{{ 1 + 1 }} {{ \"x\" }} {{", &[]);
        check("{{ größe_2 }}", &["größe_2"]);
    }
}
