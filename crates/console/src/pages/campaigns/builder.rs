//! The builder: whom a campaign is for, what it says and how it goes. What it makes is a draft; the campaign's page checks and sends it.

use std::str::FromStr as _;

use axum::extract::Path;
use engine::{
    access::Permission,
    accounts::{self, AccountView},
    campaigns::{self, CampaignView},
    contacts::lists::{self, ListView},
    once::Repeat,
    segments::{self, SegmentView},
    templates::{self, TemplateQuery, TemplateView},
};
use maud::{Markup, html};
use model::Channel;
use serde::Deserialize;

use super::{ABOVE, PATH, written};
use crate::{
    cx::{Answer, Cx, Fault, Posted, Query},
    form::{self, Faults, Form},
    format,
    pages::{self, channels},
    parts::{self, Control, Field, Tone, field::check, icon, link_button},
    read::{self, Made},
    shell::{self, Section},
};

/// Lists, segments and templates a form offers.
const CHOICES: u32 = 200;

#[derive(Debug, Default, Deserialize)]
pub(crate) struct Wanted {
    channel: Option<Channel>,
}

/// What a form offers to choose from.
struct Offer {
    channel: Channel,
    lists: Vec<ListView>,
    segments: Vec<SegmentView>,
    templates: Vec<TemplateView>,
    accounts: Vec<AccountView>,
    topics: Vec<(String, String)>,
}

impl Offer {
    async fn read(cx: &Cx, channel: Channel) -> Result<Self, Fault> {
        let (engine, caller) = (cx.engine(), &cx.caller);
        let query = TemplateQuery { channel: Some(channel), limit: Some(CHOICES), ..TemplateQuery::default() };
        let mut templates = templates::list(engine, caller, &query).await?.data;
        templates.retain(|template| template.published_version.is_some());
        let mut accounts = accounts::list(engine.parts(), caller, Some(channels::ALL), None).await?.data;
        accounts.retain(|account| account.channels.contains(&channel));
        let topics = engine.topics(caller).await?;
        Ok(Self {
            channel,
            lists: lists::list(engine, caller, Some(CHOICES), None).await?.data,
            segments: segments::list(engine, caller, Some(CHOICES), None).await?.data,
            templates,
            accounts,
            topics: topics.data.into_iter().chain(topics.common).map(|topic| (topic.name, topic.title)).collect(),
        })
    }
}

/// Shows the builder, empty.
pub(crate) async fn new(cx: Cx, Query(wanted): Query<Wanted>) -> Answer {
    cx.tenant()?;
    cx.caller.need("campaigns:write")?;
    let channel = wanted.channel.filter(|channel| *channel != Channel::Webhook).or_else(|| allowed(&cx).next());
    let channel = channel.unwrap_or(Channel::Email);
    let offer = Offer::read(&cx, channel).await?;
    let says = if offer.templates.is_empty() { "content" } else { "template" };
    let form = Form::of([
        ("channel", channel.as_str()),
        ("purpose", "marketing"),
        ("says", says),
        ("test/percent", "20"),
        ("test/metric", "delivered"),
        ("test/duration_s", "4"),
        ("test/automatic", "true"),
    ]);
    Ok(cx.page(new_page(&cx, &offer, &form, &Faults::default())))
}

/// The channels this person may send on.
fn allowed(cx: &Cx) -> impl Iterator<Item = Channel> {
    channels::of_people().filter(|channel| cx.caller.need_permission(Permission::Send(*channel)).is_ok())
}

fn new_page<'a>(cx: &Cx, offer: &Offer, form: &Form, faults: &Faults) -> shell::Page<'a> {
    let tabs = html! {
        nav.tabs aria-label="Channel" {
            @for other in allowed(cx) { a href={ (PATH) "/new?channel=" (other) } aria-current=[(other == offer.channel).then_some("page")] { (format::channel(other)) } }
        }
    };
    let body = sheet(cx, PATH, PATH, offer, form, faults);
    shell::Page {
        above: ABOVE,
        tabs: Some(tabs),
        is_narrow: true,
        lead: Some(html! { "It is kept as a draft first. You see what would happen before anything leaves." }),
        ..shell::Page::new("New campaign", Section::Campaigns, body)
    }
}

/// The fields that show their own errors.
const NAMES: [&str; 15] = [
    "name",
    "audience",
    "content/subject",
    "content/text",
    "content/html",
    "content/say",
    "content/language",
    "template",
    "variants/0/share",
    "variants/1/share",
    "test/percent",
    "test/metric",
    "test/duration_s",
    "topic",
    "account_id",
];

fn sheet(cx: &Cx, action: &str, back: &str, offer: &Offer, form: &Form, faults: &Faults) -> Markup {
    let says = [
        ("template", "A template"),
        ("content", "A text of its own"),
        ("variants", "Several, compared with one another"),
    ];
    html! {
        form."stack" method="post" action=(action) data-guard {
            (form::token(cx.csrf()))
            input type="hidden" name="channel" value=(offer.channel);
            input type="hidden" name="count" value=(written::variants(form));
            (shell::form_faults(faults, &NAMES))
            (parts::card("Whom it is for", None, html! { div.form {
                (Field::text("name", "Name").required().help("Only you see it.").example("Season tickets, reminder").draw(form, faults))
                (audience(offer, form, faults))
            } }))
            (parts::card("What it says", None, html! { div.form {
                (Field::text("says", "It says").with(Control::Choice(says.map(|(word, text)| (word, text.to_owned())).to_vec())).required().draw(form, faults))
                div data-when="says=template" { (template(offer, "template", "Template", false, form, faults)) }
                div.form data-when="says=content" { (texts(offer.channel, "", form, faults)) }
                div.form data-when="says=variants" { (variants(offer, form, faults)) }
            } }))
            (parts::card("How it goes", None, html! { div.form { (way(offer, form, faults)) } }))
            div."row apart" { (link_button(back, "", None, "Cancel")) button."button primary" type="submit" { "Save and check" } }
        }
    }
}

/// Boxes to check, one for each.
fn boxes<'a>(name: &str, legend: &str, of: impl Iterator<Item = (String, &'a str, String)>, form: &Form) -> Markup {
    let chosen: Vec<&str> = form.all(name).collect();
    html! {
        fieldset.form {
            legend { (legend) }
            div.checks { @for (id, title, help) in of { (check(name, &id, chosen.contains(&id.as_str()), title, &help)) } }
        }
    }
}

fn audience(offer: &Offer, form: &Form, faults: &Faults) -> Markup {
    let lists = || {
        offer
            .lists
            .iter()
            .map(|list| (list.id.to_string(), list.name.as_str(), format::count(list.contacts, "contact", "contacts")))
    };
    let segments = || {
        offer
            .segments
            .iter()
            .map(|segment| (segment.id.to_string(), segment.name.as_str(), segment.description.clone()))
    };
    let is_open = form.all("audience/exclude_lists").chain(form.all("audience/exclude_segments")).next().is_some();
    html! {
        @if offer.lists.is_empty() && offer.segments.is_empty() {
            (parts::notice(Tone::Info, "There is nobody to choose yet", html! { p { "Make a " a href="/console/lists" { "list" } " or a " a href="/console/segments" { "segment" } " first." } }))
        }
        @if !offer.lists.is_empty() { (boxes("audience/lists", "Everybody on these lists", lists(), form)) }
        @if !offer.segments.is_empty() { (boxes("audience/segments", "Everybody in these segments", segments(), form)) }
        @if let Some(fault) = faults.at("audience") { div.field { p.error role="alert" { (icon("alert")) span { (fault) } } } }
        @if !offer.lists.is_empty() || !offer.segments.is_empty() {
            details.more id="excluded" open[is_open] {
                summary { "Leave out" }
                div."form spaced" {
                    @if !offer.lists.is_empty() { (boxes("audience/exclude_lists", "Nobody on these lists", lists(), form)) }
                    @if !offer.segments.is_empty() { (boxes("audience/exclude_segments", "Nobody in these segments", segments(), form)) }
                }
            }
        }
    }
}

fn template(offer: &Offer, name: &str, label: &str, is_open: bool, form: &Form, faults: &Faults) -> Markup {
    let ids: Vec<String> = offer.templates.iter().map(|template| template.id.to_string()).collect();
    // A campaign made by a program may name its template instead.
    let kept = form.filled(name).filter(|kept| !ids.iter().any(|id| id == kept));
    let first = if is_open { "None: written below" } else { "Choose one" };
    let mut choices = vec![("", first.to_owned())];
    choices.extend(kept.map(|kept| (kept, kept.to_owned())));
    choices.extend(ids.iter().zip(&offer.templates).map(|(id, template)| (id.as_str(), template.name.clone())));
    let help = if offer.templates.is_empty() { "No template for this channel is published yet." } else { "" };
    Field::text(name, label).with(Control::Choice(choices)).help(help).draw(form, faults)
}

fn texts(channel: Channel, base: &str, form: &Form, faults: &Faults) -> Markup {
    let draw = |name: &str, label: &str, help: &str, rows: Option<u8>| {
        let name = format!("{base}content/{name}");
        let field = Field { help, ..Field::text(&name, label).plain() };
        rows.map_or(field.clone(), |rows| field.with(Control::Area { rows })).draw(form, faults)
    };
    let own = "Each recipient's own: {{ contact.first_name }}, {{ contact.attributes.… }}.";
    match channel {
        Channel::Email => html! {
            (draw("subject", "Subject", "", None))
            (draw("text", "Text", own, Some(6)))
            (draw("html", "HTML", "", Some(8)))
        },
        Channel::Voice => {
            html! { (draw("say", "What is said", own, Some(5))) (draw("language", "Spoken language", "", None)) }
        }
        Channel::Sms | Channel::Whatsapp | Channel::Telegram | Channel::Webhook => draw("text", "Text", own, Some(5)),
    }
}

fn variants(offer: &Offer, form: &Form, faults: &Faults) -> Markup {
    let metrics = [("delivered", "What arrives"), ("opened", "What is opened or read")];
    html! {
        p.muted { "A part of the audience gets one of them by chance. The one that does best goes to everybody else." }
        @for index in 0..written::variants(form) {
            fieldset.form {
                legend { "Variant " (letter(index)) }
                (template(offer, &format!("variants/{index}/template"), "Template", true, form, faults))
                details.more open[form.filled(&format!("variants/{index}/template")).is_none()] id={ "variant-" (index) } {
                    summary { "A text of its own" }
                    div."form spaced" { (texts(offer.channel, &format!("variants/{index}/"), form, faults)) }
                }
            }
        }
        div.fields-2 {
            (Field::text("test/percent", "Percent of the audience in the test").with(Control::Number).required().draw(form, faults))
            (Field::text("test/duration_s", "Hours before the best is chosen").with(Control::Number).required().draw(form, faults))
            (Field::text("test/metric", "The best is decided by").with(Control::Choice(metrics.map(|(word, text)| (word, text.to_owned())).to_vec())).required().draw(form, faults))
        }
        (check("test/automatic", "true", form.is_on("test/automatic"), "Send the best to the rest by itself", "Otherwise it waits until you choose."))
    }
}

/// A variant's name.
pub(super) fn letter(index: usize) -> char {
    ['A', 'B', 'C', 'D', 'E'].get(index).copied().unwrap_or('?')
}

fn way(offer: &Offer, form: &Form, faults: &Faults) -> Markup {
    let purposes = [
        ("marketing", "Marketing: only to those who consented"),
        ("transactional", "Transactional: they asked for it"),
    ];
    let mut topics = vec![("", "None".to_owned())];
    topics.extend(offer.topics.iter().map(|(name, title)| (name.as_str(), title.clone())));
    let ids: Vec<String> = offer.accounts.iter().map(|account| account.id.to_string()).collect();
    let mut through = vec![("", "The channel's default account".to_owned())];
    through.extend(ids.iter().zip(&offer.accounts).map(|(id, account)| (id.as_str(), account.name.clone())));
    html! {
        div.fields-2 {
            (Field::text("purpose", "Purpose").with(Control::Choice(purposes.map(|(word, text)| (word, text.to_owned())).to_vec())).required().draw(form, faults))
            (Field::text("topic", "Topic").with(Control::Choice(topics)).help("Recipients choose by it what they want to hear about.").draw(form, faults))
            (Field::text("account_id", "Through").with(Control::Choice(through)).draw(form, faults))
        }
        (check("remove_without_consent", "true", form.is_on("remove_without_consent"), "Leave out who has not agreed", "Otherwise it does not start while there are any."))
    }
}

/// Makes a draft.
pub(crate) async fn create(Posted { cx, form }: Posted) -> Answer {
    cx.tenant()?;
    cx.caller.need("campaigns:write")?;
    let channel = Channel::from_str(form.text("channel")).ok().filter(|channel| *channel != Channel::Webhook);
    let channel = channel.unwrap_or(Channel::Email);
    let made = match written::new(&form, channel) {
        Ok(new) => campaigns::create(cx.engine(), &cx.caller, &Repeat::NONE, new).await,
        Err(error) => Err(error),
    };
    match made {
        Ok(reply) => {
            let made: Made = read::json(&reply.body)?;
            Ok(cx.done(&format!("{PATH}/{}", made.id), "The draft was saved. Look at the checklist, then send it."))
        }
        Err(error) if matches!(error.kind.status(), 400 | 409 | 422) => {
            let offer = Offer::read(&cx, channel).await?;
            Ok(cx.again(new_page(&cx, &offer, &form, &Faults::of(&error))))
        }
        Err(error) => Err(error.into()),
    }
}

/// Shows the builder with a campaign that can still be changed.
pub(crate) async fn edit(cx: Cx, Path(id): Path<String>) -> Answer {
    cx.tenant()?;
    cx.caller.need("campaigns:write")?;
    let campaign = campaigns::get(cx.engine(), &cx.caller, pages::id(&id)?).await?;
    let offer = Offer::read(&cx, campaign.channel).await?;
    let form = written::fill(&campaign)?;
    Ok(cx.page(edit_page(&cx, &campaign.name, &campaign, &offer, &form, &Faults::default())))
}

fn edit_page<'a>(
    cx: &Cx,
    title: &'a str,
    campaign: &CampaignView,
    offer: &Offer,
    form: &Form,
    faults: &Faults,
) -> shell::Page<'a> {
    let path = format!("{PATH}/{}", campaign.id);
    let body = sheet(cx, &format!("{path}/edit"), &path, offer, form, faults);
    shell::Page { above: ABOVE, is_narrow: true, ..shell::Page::new(title, Section::Campaigns, body) }
}

/// Changes a draft.
pub(crate) async fn update(Path(id): Path<String>, Posted { cx, form }: Posted) -> Answer {
    cx.tenant()?;
    cx.caller.need("campaigns:write")?;
    let campaign = campaigns::get(cx.engine(), &cx.caller, pages::id(&id)?).await?;
    let changed = match written::patch(&form, &campaign) {
        Ok(change) => campaigns::patch(cx.engine(), &cx.caller, campaign.id, change).await,
        Err(error) => Err(error),
    };
    match changed {
        Ok(_) => Ok(cx.done(&format!("{PATH}/{}", campaign.id), "Saved.")),
        Err(error) if matches!(error.kind.status(), 400 | 409 | 422) => {
            let offer = Offer::read(&cx, campaign.channel).await?;
            Ok(cx.again(edit_page(&cx, &campaign.name, &campaign, &offer, &form, &Faults::of(&error))))
        }
        Err(error) => Err(error.into()),
    }
}
