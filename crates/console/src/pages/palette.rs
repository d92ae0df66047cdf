//! The command palette: pages, accounts, campaigns and templates by name or id, contacts by id, address or the beginning of a name, messages by id or address.

use engine::{
    accounts, campaigns,
    contacts::{self, ContactQuery},
    queries::ListQuery,
    templates::{self, TemplateQuery},
};
use maud::{Markup, html};
use serde::Deserialize;

use crate::{
    cx::{Answer, Cx, Query, html as answer},
    format,
    parts::{self, icon},
    read::{self, Message, Page},
    shell,
};

/// Messages or contacts shown for a search.
const FOUND_MAX: u32 = 6;
/// Campaigns or templates looked through: the newest.
const LOOKED_AT: u32 = 200;
/// Lines of what is looked through that are shown.
const SHOWN_MAX: usize = 5;

#[derive(Debug, Default, Deserialize)]
pub(crate) struct Search {
    q: Option<String>,
}

/// One line of the palette.
struct Line {
    path: String,
    picture: &'static str,
    name: String,
    end: Markup,
}

/// Answers a search.
pub(crate) async fn search(cx: Cx, Query(search): Query<Search>) -> Answer {
    let q = search.q.unwrap_or_default();
    let q = q.trim();
    let is_worth_it = q.chars().count() > 2 && cx.tenant.is_some();
    let accounts = if is_worth_it { account_lines(&cx, q).await? } else { Vec::new() };
    let messages = if is_worth_it { message_lines(&cx, q).await? } else { Vec::new() };
    let campaigns = if is_worth_it { campaign_lines(&cx, q).await? } else { Vec::new() };
    let contacts = if is_worth_it { contact_lines(&cx, q).await? } else { Vec::new() };
    let templates = if is_worth_it { template_lines(&cx, q).await? } else { Vec::new() };
    let places = places_of(&cx, q);
    let found = [&accounts, &messages, &campaigns, &contacts, &templates, &places];
    let is_nothing = found.iter().all(|lines| lines.is_empty());
    Ok(answer(html! {
        (group("Pages", "p", places))
        (group("Accounts", "a", accounts))
        (group("Campaigns", "c", campaigns))
        (group("Templates", "t", templates))
        (group("Contacts", "k", contacts))
        (group("Messages", "m", messages))
        @if is_nothing { p."muted small padded" { "Nothing found. An address or an id has to be whole." } }
    }))
}

/// The pages whose name holds what is looked for.
pub(crate) fn places(cx: &Cx, q: &str) -> Markup {
    group("Pages", "p", places_of(cx, q))
}

fn places_of(cx: &Cx, q: &str) -> Vec<Line> {
    let wanted = q.to_lowercase();
    let (inside, operator) = shell::places(cx);
    // Parts of places are many: they are found by their name, and not listed before anything is typed.
    let parts = shell::parts_of_places(cx).filter(|_| !wanted.is_empty());
    let all = inside.into_iter().chain(operator).chain(parts);
    let found = all.filter(|place| place.name.to_lowercase().contains(&wanted));
    found
        .map(|place| Line {
            path: place.path.to_owned(),
            picture: place.picture,
            name: place.name.to_owned(),
            end: html! {},
        })
        .collect()
}

async fn message_lines(cx: &Cx, q: &str) -> Result<Vec<Line>, engine::Error> {
    if !cx.may("messages:read") {
        return Ok(Vec::new());
    }
    let query = ListQuery { q: Some(q.to_owned()), limit: Some(FOUND_MAX), ..ListQuery::default() };
    let page: Page<Message> = match cx.engine().messages(&cx.caller, &query).await {
        Ok(bytes) => read::json(&bytes)?,
        // Too long to be an address: nothing is found.
        Err(error) if error.kind.status() == 400 => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let line = |message: Message| Line {
        path: format!("/console/messages/{}", message.id),
        picture: parts::channel_icon(message.channel),
        name: message.to,
        end: html! { (parts::status(message.status)) " " span."muted small" { (cx.here().at(message.created_at)) } },
    };
    Ok(page.data.into_iter().map(line).collect())
}

async fn account_lines(cx: &Cx, q: &str) -> Result<Vec<Line>, engine::Error> {
    if !cx.may("accounts:read") {
        return Ok(Vec::new());
    }
    let wanted = q.to_lowercase();
    let page = accounts::list(cx.engine().parts(), &cx.caller, Some(200), None).await?;
    let found = page.data.into_iter().filter(|account| {
        account.name.to_lowercase().contains(&wanted)
            || account.connector.contains(&wanted)
            || account.id.to_string() == q
    });
    let line = |account: accounts::AccountView| Line {
        path: format!("/console/channels/{}", account.id),
        picture: "plug",
        name: account.name,
        end: html! { span."muted small" { (account.channels.iter().map(|channel| format::channel(*channel)).collect::<Vec<_>>().join(", ")) } },
    };
    Ok(found.take(SHOWN_MAX).map(line).collect())
}

async fn campaign_lines(cx: &Cx, q: &str) -> Result<Vec<Line>, engine::Error> {
    if !cx.may("campaigns:read") {
        return Ok(Vec::new());
    }
    let wanted = q.to_lowercase();
    let page = campaigns::list(cx.engine(), &cx.caller, Some(LOOKED_AT), None).await?;
    let found =
        page.data.into_iter().filter(|one| one.name.to_lowercase().contains(&wanted) || one.id.to_string() == q);
    let line = |campaign: campaigns::CampaignView| Line {
        path: format!("/console/campaigns/{}", campaign.id),
        picture: "megaphone",
        end: super::campaigns::state(&campaign),
        name: campaign.name,
    };
    Ok(found.take(SHOWN_MAX).map(line).collect())
}

async fn template_lines(cx: &Cx, q: &str) -> Result<Vec<Line>, engine::Error> {
    if !cx.may("templates:read") {
        return Ok(Vec::new());
    }
    let wanted = q.to_lowercase();
    let query = TemplateQuery { limit: Some(LOOKED_AT), ..TemplateQuery::default() };
    let page = templates::list(cx.engine(), &cx.caller, &query).await?;
    let found =
        page.data.into_iter().filter(|one| one.name.to_lowercase().contains(&wanted) || one.id.to_string() == q);
    let line = |template: templates::TemplateView| Line {
        path: format!("/console/templates/{}", template.id),
        picture: "file",
        end: html! { span."muted small" { (format::channel(template.channel)) } },
        name: template.name,
    };
    Ok(found.take(SHOWN_MAX).map(line).collect())
}

async fn contact_lines(cx: &Cx, q: &str) -> Result<Vec<Line>, engine::Error> {
    if !cx.may("contacts:read") {
        return Ok(Vec::new());
    }
    let query = ContactQuery { q: Some(q.to_owned()), limit: Some(FOUND_MAX), ..ContactQuery::default() };
    let found = match q.parse() {
        Ok(id) => contacts::get(cx.engine(), &cx.caller, id).await.map(|contact| vec![contact]),
        Err(_) => contacts::list(cx.engine(), &cx.caller, &query).await.map(|page| page.data),
    };
    let found = match found {
        Ok(found) => found,
        // Too long to be a name, or an id nobody has: nobody is found.
        Err(error) if matches!(error.kind.status(), 400 | 404) => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let line = |contact: contacts::ContactView| {
        let address = contact.email.clone().or_else(|| contact.phone.clone()).unwrap_or_default();
        let name = super::contacts::name(&contact);
        Line {
            path: format!("/console/contacts/{}", contact.id),
            picture: "person",
            end: html! { @if name != address { span."muted small" { (address) } } },
            name,
        }
    };
    Ok(found.into_iter().map(line).collect())
}

fn group(title: &str, prefix: &str, lines: Vec<Line>) -> Markup {
    html! {
        @if !lines.is_empty() {
            div role="group" aria-label=(title) {
                h3 aria-hidden="true" { (title) }
                @for (at, line) in lines.into_iter().enumerate() {
                    a role="option" id={ "palette-" (prefix) (at) } aria-selected="false" tabindex="-1" href=(line.path) {
                        (icon(line.picture)) span.clip { (line.name) } span.end { (line.end) }
                    }
                }
            }
        }
    }
}
