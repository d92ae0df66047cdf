//! Templates: the list, and making one. `editor` is the page of one; `written` reads and fills its form; `preview` shows what is being written; `compare` what changed between two versions.

pub(crate) mod compare;
pub(crate) mod editor;
pub(crate) mod preview;
mod written;

use std::str::FromStr as _;

use engine::{
    once::Repeat,
    page::Page,
    templates::{self, NewTemplate, NewVersion, TemplateQuery, TemplateView},
};
use maud::{Markup, html};
use model::Channel;
use serde::Deserialize;

use super::channels;
use crate::{
    cx::{Answer, Cx, Posted, Query},
    form::{Faults, Form},
    format,
    parts::{
        self, Tone, icon, link_button,
        table::{self, Filter, Pages, Row, Table, cell},
    },
    read::{self, Made},
    shell::{self, Section},
};

pub(super) const PATH: &str = "/console/templates";
pub(super) const ABOVE: &[(&str, &str)] = &[(PATH, "Templates")];

#[derive(Debug, Default, Deserialize)]
pub(crate) struct Wanted {
    channel: Option<Channel>,
    cursor: Option<String>,
}

/// Lists templates.
pub(crate) async fn list(cx: Cx, Query(wanted): Query<Wanted>) -> Answer {
    cx.tenant()?;
    let query = TemplateQuery { channel: wanted.channel, cursor: wanted.cursor.clone(), ..TemplateQuery::default() };
    let page = templates::list(cx.engine(), &cx.caller, &query).await?;
    let may = cx.may("templates:write");
    let new = html! { @if may { (link_button(&format!("{PATH}/new"), "primary", Some("plus"), "Add template")) } };
    Ok(cx.page(shell::Page {
        lead: Some(html! { "What you say more than once, in every language you say it in." }),
        actions: (!page.data.is_empty()).then(|| new.clone()),
        ..shell::Page::new("Templates", Section::Templates, body(&cx, &wanted, &page, &new))
    }))
}

fn body(cx: &Cx, wanted: &Wanted, page: &Page<TemplateView>, new: &Markup) -> Markup {
    let channel = wanted.channel.map(|channel| channel.to_string()).unwrap_or_default();
    let choices =
        channels::of_people().map(|channel| (channel.to_string(), format::channel(channel).to_owned())).collect();
    let filters = [Filter::Choice { name: "channel", label: "Every channel", value: &channel, choices }];
    let row = |template: &TemplateView| Row {
        href: Some(format!("{PATH}/{}", template.id)),
        cells: vec![
            cell(html! { span.wide-text dir="auto" { (template.name) } }),
            cell(
                html! { span.row { (icon(parts::channel_icon(template.channel))) (format::channel(template.channel)) } },
            ),
            cell(html! { (state(template)) @if template.default { " " (parts::tag("Default")) } }),
            cell(html! { span.wide-text dir="auto" { (template.description) } }),
            cell(cx.here().at(template.updated_at)),
        ],
    };
    html! {
        section.card aria-label="Templates" {
            (table::filters(PATH, "templates", &filters))
            div #templates {
                @if page.data.is_empty() && wanted.channel.is_some() {
                    (parts::empty("file", "No template for this channel", "Choose another channel, or add the first one for it.", Some(link_button(PATH, "", None, "Show all"))))
                } @else if page.data.is_empty() {
                    (parts::empty("file", "No templates yet", "A template keeps a text with its placeholders, in versions and languages, so that programs and campaigns only name it.", Some(new.clone())))
                } @else {
                    (table::table(Table { caption: "Templates, newest first", columns: &["Name", "Channel", "State", "For", "Changed"], rows: page.data.iter().map(row).collect() }))
                    (table::pager(&Pages { path: PATH, query: &[("channel", channel.clone())], is_first: wanted.cursor.is_none(), next: page.next_cursor.as_deref(), shown: page.data.len() }))
                }
            }
        }
    }
}

/// Whether something of it is sent, and whether something newer waits.
pub(super) fn state(template: &TemplateView) -> Markup {
    match template.published_version {
        None => parts::badge(Tone::Plain, "Draft"),
        Some(live) if live < template.newest_version => {
            html! { (parts::badge(Tone::Good, "Published")) " " (parts::badge(Tone::Warn, "Newer draft")) }
        }
        Some(_) => parts::badge(Tone::Good, "Published"),
    }
}

/// Shows the editor of a new template.
pub(crate) async fn new(cx: Cx, Query(wanted): Query<Wanted>) -> Answer {
    cx.tenant()?;
    cx.caller.need("templates:write")?;
    let channel = wanted.channel.filter(|channel| *channel != Channel::Webhook).unwrap_or(Channel::Email);
    let form = Form::of([("channel", channel.as_str()), ("locale", "en"), ("markup", "html")]);
    Ok(cx.page(editor::new_page(&cx, channel, &form, &Faults::default())))
}

/// The channel a form is for.
pub(super) fn channel_of(form: &Form) -> Channel {
    Channel::from_str(form.text("channel"))
        .ok()
        .filter(|channel| *channel != Channel::Webhook)
        .unwrap_or(Channel::Email)
}

/// Makes a template with its first version.
pub(crate) async fn create(Posted { cx, form }: Posted) -> Answer {
    cx.tenant()?;
    cx.caller.need("templates:write")?;
    let channel = channel_of(&form);
    let first: NewVersion = written::version(&cx, channel, &form, None).await?;
    let new = NewTemplate {
        name: form.text("name").to_owned(),
        channel,
        description: form.filled("description").map(str::to_owned),
        default: false,
        tracking: None,
        default_locale: first.default_locale,
        variants: first.variants,
        variables: first.variables,
    };
    match templates::create(cx.engine(), &cx.caller, &Repeat::NONE, new).await {
        Ok(reply) => {
            let made: Made = read::json(&reply.body)?;
            Ok(cx.done(
                &format!("{PATH}/{}", made.id),
                "The template was added as a draft. Publish it when it is right.",
            ))
        }
        Err(error) if matches!(error.kind.status(), 409 | 422) => {
            Ok(cx.again(editor::new_page(&cx, channel, &form, &written::faults(error, &form))))
        }
        Err(error) => Err(error.into()),
    }
}
