//! What a contact allowed and prefers: a switch for each channel, preferences, what stands against its addresses, and everything it ever said.

use std::collections::BTreeMap;

use axum::extract::Path;
use engine::{
    Error,
    consent::{
        hours::{QuietHours, clock},
        preferences::{Frequency, PreferencesPatch, PreferencesView, Reminders},
        records::{ConsentPage, ConsentView, NewConsent},
        topics::TopicView,
    },
    contacts::{self, ContactView},
    once::Repeat,
    patch::Patch,
};
use maud::{Markup, html};
use model::{Channel, ConsentMethod, ConsentState, ContactId};
use serde::Deserialize;

use super::{channels, suppressions};
use crate::{
    cx::{Answer, Cx, Fault, Posted, Query},
    form::{self, Faults, Form},
    format,
    parts::{
        self, Control, Dialog, Field, Tone,
        field::check,
        icon,
        table::{self, Pages},
        timeline::{Event, timeline},
    },
    shell::{self, Section},
};

#[derive(Debug, Default, Deserialize)]
pub(crate) struct Wanted {
    cursor: Option<String>,
}

fn path(id: ContactId) -> String {
    format!("/console/contacts/{id}/consent")
}

/// Shows a contact's consent and preferences.
pub(crate) async fn show(cx: Cx, Path(id): Path<String>, Query(wanted): Query<Wanted>) -> Answer {
    cx.tenant()?;
    let id = super::id(&id)?;
    let preferences = cx.engine().preferences(&cx.caller, id).await?;
    let form = stored(&preferences);
    page(&cx, id, wanted.cursor.as_deref(), &form, &Faults::default(), false).await
}

async fn page(cx: &Cx, id: ContactId, cursor: Option<&str>, form: &Form, faults: &Faults, is_again: bool) -> Answer {
    let contact = contacts::get(cx.engine(), &cx.caller, id).await?;
    let consents = cx.engine().consents(&cx.caller, id, Some(30), cursor).await?;
    let topics = topics(cx).await?;
    let title = contacts_name(&contact);
    let own = format!("/console/contacts/{id}");
    let above = [("/console/contacts", "Contacts"), (own.as_str(), title.as_str())];
    let body = html! {
        div."columns even" {
            div.stack {
                (switches(cx, &contact, &consents, &topics))
                (standing_against(cx, id, &consents))
            }
            (preferences_card(cx, id, &topics, form, faults))
        }
        (history(cx, id, &consents, cursor.is_none()))
    };
    let page = shell::Page {
        above: &above,
        tabs: Some(tabs(cx, id, &path(id))),
        lead: Some(html! { span dir="auto" { (title) } }),
        ..shell::Page::new("Consent and preferences", Section::Contacts, body)
    };
    Ok(if is_again { cx.again(page) } else { cx.page(page) })
}

fn contacts_name(contact: &ContactView) -> String {
    super::contacts::name(contact)
}

/// The two pages of a contact.
pub(super) fn tabs(cx: &Cx, id: ContactId, here: &str) -> Markup {
    let (own, consent, data) = (format!("/console/contacts/{id}"), path(id), super::personal::path(id));
    let all = [
        (own.as_str(), "Contact", "contacts:read"),
        (&consent, "Consent and preferences", "consent:read"),
        (&data, "Their data", "contacts:write"),
    ];
    let mine: Vec<(&str, &str)> =
        all.iter().filter(|(.., scope)| cx.may(scope)).map(|(path, name, _)| (*path, *name)).collect();
    parts::tabs("Contact", &mine, here)
}

async fn topics(cx: &Cx) -> Result<Vec<TopicView>, Fault> {
    let topics = cx.engine().topics(&cx.caller).await?;
    Ok(topics.data.into_iter().chain(topics.common).collect())
}

/// The address a contact has on a channel.
fn address(contact: &ContactView, channel: Channel) -> Option<String> {
    match channel {
        Channel::Email => contact.email.clone(),
        Channel::Sms | Channel::Voice => contact.phone.clone(),
        Channel::Whatsapp => contact.whatsapp.clone().or_else(|| contact.phone.clone()),
        Channel::Telegram => contact.telegram_chat_id.map(|id| id.to_string()),
        Channel::Webhook => None,
    }
}

fn badge(state: Option<ConsentState>) -> Markup {
    match state {
        Some(ConsentState::OptedIn) => parts::badge(Tone::Good, "Opted in"),
        Some(ConsentState::OptedOut) => parts::badge(Tone::Bad, "Opted out"),
        Some(ConsentState::Pending) => parts::badge(Tone::Warn, "Asked, not confirmed"),
        None => parts::badge(Tone::Plain, "Nothing said"),
    }
}

fn switches(cx: &Cx, contact: &ContactView, consents: &ConsentPage, topics: &[TopicView]) -> Markup {
    let may = cx.may("consent:write");
    let action = path(contact.id);
    let line = |channel: Channel| {
        let whole = consents.standing.iter().find(|standing| standing.channel == channel && standing.topic.is_none());
        let of_topics = consents
            .standing
            .iter()
            .filter(|standing| standing.channel == channel)
            .filter_map(|standing| Some((standing.topic.as_deref()?, standing.state)));
        let is_on = whole.is_some_and(|standing| standing.state == ConsentState::OptedIn);
        let name = format::channel(channel);
        html! {
            li.switch-line {
                span.row { (icon(parts::channel_icon(channel))) span { strong { (name) } span.sub { @match address(contact, channel) { Some(address) => (address), None => "no address" } } } }
                span.row { (badge(whole.map(|standing| standing.state))) @if let Some(standing) = whole { span."muted small" { "since " (cx.here().at(standing.since)) } } }
                @if may {
                    @if is_on {
                        form method="post" action=(action) {
                            (form::token(cx.csrf()))
                            input type="hidden" name="channel" value=(channel);
                            input type="hidden" name="state" value="opted_out";
                            button.switch type="submit" role="switch" aria-checked="true" aria-label={ "Messages by " (name) } {}
                        }
                    } @else {
                        button.switch type="button" role="switch" aria-checked="false" aria-label={ "Messages by " (name) } data-opens={ "in-" (channel) } {}
                        (record_dialog(cx, &action, channel, topics))
                    }
                }
                @let of_topics: Vec<_> = of_topics.collect();
                @if !of_topics.is_empty() { ul.row { @for (topic, state) in of_topics { li.small { (topic_title(topics, topic)) " " (badge(Some(state))) } } } }
            }
        }
    };
    html! {
        section.card aria-label="Channels" {
            header { h2 { "Channels" } }
            ul.lines { @for channel in channels::of_people() { (line(channel)) } }
        }
    }
}

fn topic_title(topics: &[TopicView], name: &str) -> String {
    topics.iter().find(|topic| topic.name == name).map_or_else(|| format::words(name), |topic| topic.title.clone())
}

fn record_dialog(cx: &Cx, action: &str, channel: Channel, topics: &[TopicView]) -> Markup {
    let id = format!("in-{channel}");
    let states =
        [("opted_in", "They allowed it"), ("pending", "Ask them to confirm"), ("opted_out", "They refused it")];
    let mut of = vec![("", "The whole channel".to_owned())];
    of.extend(topics.iter().map(|topic| (topic.name.as_str(), topic.title.clone())));
    // Each dialog has fields of its own ids.
    let field = |name: &'static str, label: &'static str, control: Control<'_>, help: &'static str| {
        let own = format!("{name}-{channel}");
        html! {
            div.field {
                label for=(own) { (label) }
                @match &control {
                    Control::Choice(choices) => { select id=(own) name=(name) { @for (word, words) in choices { option value=(word) { (words) } } } }
                    _ => { textarea id=(own) name=(name) rows="2" {} }
                }
                @if !help.is_empty() { p.help { (help) } }
            }
        }
    };
    let body = html! {
        input type="hidden" name="channel" value=(channel);
        (field("state", "What they said", Control::Choice(states.map(|(word, words)| (word, words.to_owned())).to_vec()), ""))
        (field("topic", "About", Control::Choice(of), ""))
        (field("text", "The words they were shown", Control::Area { rows: 2 }, ""))
        (field("evidence", "Where the proof lies", Control::Area { rows: 2 }, "An id or an address of your own."))
    };
    parts::dialog(&Dialog {
        id: &id,
        title: &format!("Consent for {}", format::channel(channel)),
        action,
        csrf: cx.csrf(),
        body,
        yes: "Record it",
        is_dangerous: false,
    })
}

fn standing_against(cx: &Cx, id: ContactId, consents: &ConsentPage) -> Markup {
    let back = path(id);
    parts::card_flush(
        "Suppressed addresses",
        None,
        if consents.suppressions.is_empty() {
            html! { p.padded.muted { "Nothing stands against its addresses." } }
        } else {
            suppressions::rows(cx, &consents.suppressions, &back)
        },
    )
}

/// The fields that show their own errors.
const NAMES: [&str; 5] =
    ["reminders/frequency", "reminders/every_days", "quiet_hours/from", "quiet_hours/until", "channels"];

fn preferences_card(cx: &Cx, id: ContactId, topics: &[TopicView], form: &Form, faults: &Faults) -> Markup {
    let may = cx.may("consent:write");
    let channels: Vec<(&str, String)> = std::iter::once(("", "No preference".to_owned()))
        .chain(channels::of_people().map(|channel| (channel.as_str(), format::channel(channel).to_owned())))
        .collect();
    let often = [
        ("", "As it comes"),
        ("daily", "Once a day"),
        ("weekly", "Once a week"),
        ("monthly", "Once a month"),
        ("custom", "Every so many days"),
    ];
    html! {
        section.card aria-label="Preferences" {
            header { h2 { "Preferences" } }
            form method="post" action={ "/console/contacts/" (id) "/preferences" } data-guard {
                (form::token(cx.csrf()))
                fieldset disabled[!may] {
                    div.body {
                        div.form {
                            (shell::form_faults(faults, &NAMES))
                            (check("do_not_contact", "true", form.is_on("do_not_contact"), "Never write to them", "Holds back everything, also what they asked for."))
                            fieldset.form {
                                legend { "Channel of each topic" }
                                div.fields-2 {
                                    @for topic in topics { (Field::text(&format!("channels/{}", topic.name), &topic.title).plain().with(Control::Choice(channels.clone())).draw(form, faults)) }
                                }
                            }
                            div.fields-2 {
                                (Field::text("reminders/frequency", "Reminders").plain().with(Control::Choice(often.map(|(word, words)| (word, words.to_owned())).to_vec())).draw(form, faults))
                                div data-when="reminders/frequency=custom" { (Field::text("reminders/every_days", "Days between two").plain().with(Control::Number).draw(form, faults)) }
                            }
                            div.fields-3 {
                                (Field::text("quiet_hours/from", "Quiet from").plain().example("22:00").draw(form, faults))
                                (Field::text("quiet_hours/until", "Quiet until").plain().example("09:00").help("On their own clock. Empty: the tenant's hours.").draw(form, faults))
                            }
                        }
                    }
                    @if may { footer { div.end { button."button primary" type="submit" { "Save preferences" } } } }
                }
            }
        }
    }
}

fn stored(preferences: &PreferencesView) -> Form {
    let mut form = Form::default();
    if preferences.do_not_contact {
        form.set("do_not_contact", "true");
    }
    for (topic, channel) in &preferences.channels {
        form.set(format!("channels/{topic}"), channel.as_str());
    }
    if let Some(reminders) = preferences.reminders {
        let word = match reminders.frequency {
            Frequency::Daily => "daily",
            Frequency::Weekly => "weekly",
            Frequency::Monthly => "monthly",
            Frequency::Custom => "custom",
        };
        form.set("reminders/frequency", word);
        form.set("reminders/every_days", reminders.every_days.map(|days| days.to_string()).unwrap_or_default());
    }
    if let Some(hours) = preferences.quiet_hours {
        form.set("quiet_hours/from", clock::show(hours.from));
        form.set("quiet_hours/until", clock::show(hours.until));
    }
    form
}

/// The changes a form asks for.
fn patch(form: &Form, topics: &[TopicView]) -> Result<PreferencesPatch, Error> {
    let mut channels = BTreeMap::new();
    for topic in topics {
        let Some(word) = form.get(&format!("channels/{}", topic.name)) else { continue };
        let channel = Some(word).filter(|word| !word.is_empty()).map(str::parse::<Channel>).transpose();
        channels.insert(topic.name.clone(), channel.map_err(|_| Error::invalid("/channels", "choose a channel"))?);
    }
    let frequency = match form.text("reminders/frequency") {
        "daily" => Some(Frequency::Daily),
        "weekly" => Some(Frequency::Weekly),
        "monthly" => Some(Frequency::Monthly),
        "custom" => Some(Frequency::Custom),
        _ => None,
    };
    let every_days = match form.filled("reminders/every_days").filter(|_| frequency == Some(Frequency::Custom)) {
        Some(days) => {
            Some(days.parse().map_err(|_| Error::invalid("/reminders/every_days", "a whole number of days"))?)
        }
        None => None,
    };
    let time = |name: &str| match form.filled(name) {
        Some(text) => clock::parse(text)
            .map(Some)
            .ok_or_else(|| Error::invalid(format!("/{name}"), "write a time of day such as 22:00")),
        None => Ok(None),
    };
    let quiet_hours = match (time("quiet_hours/from")?, time("quiet_hours/until")?) {
        (Some(from), Some(until)) => Patch::Set(QuietHours { from, until }),
        (None, None) => Patch::Clear,
        _ => return Err(Error::invalid("/quiet_hours/until", "give both times, or neither")),
    };
    Ok(PreferencesPatch {
        do_not_contact: Patch::Set(form.is_on("do_not_contact")),
        channels: Patch::Set(channels),
        reminders: frequency.map_or(Patch::Clear, |frequency| Patch::Set(Reminders { frequency, every_days })),
        quiet_hours,
    })
}

/// Changes what a contact prefers.
pub(crate) async fn prefer(Path(id): Path<String>, Posted { cx, form }: Posted) -> Answer {
    cx.tenant()?;
    cx.caller.need("consent:write")?;
    let id = super::id(&id)?;
    let changed = match patch(&form, &topics(&cx).await?) {
        Ok(change) => cx.engine().patch_preferences(&cx.caller, id, change).await,
        Err(error) => Err(error),
    };
    match changed {
        Ok(_) => Ok(cx.done(&path(id), "The preferences were saved.")),
        Err(error) if error.kind.status() == 422 => page(&cx, id, None, &form, &Faults::of(&error), true).await,
        Err(error) => Err(error.into()),
    }
}

/// Records what a contact said.
pub(crate) async fn record(Path(id): Path<String>, Posted { cx, form }: Posted) -> Answer {
    cx.tenant()?;
    cx.caller.need("consent:write")?;
    let id: ContactId = super::id(&id)?;
    let (Ok(channel), Ok(state)) =
        (form.text("channel").parse::<Channel>(), form.text("state").parse::<ConsentState>())
    else {
        return Err(super::no_page().into());
    };
    let text = |name: &str| form.filled(name).map(str::to_owned);
    let new = NewConsent {
        channel,
        topic: text("topic"),
        state,
        method: Some(ConsentMethod::Staff),
        text: text("text"),
        ip: None,
        user_agent: None,
        evidence: text("evidence"),
        at: None,
    };
    let said = match state {
        ConsentState::OptedIn => "Recorded. They may be written to.",
        ConsentState::OptedOut => "Recorded. They are not written to any more.",
        ConsentState::Pending => "They are asked to confirm it.",
    };
    match cx.engine().record_consent(&cx.caller, &Repeat::NONE, id, new).await {
        Ok(_) => Ok(cx.done(&path(id), said)),
        Err(error) if matches!(error.kind.status(), 409 | 422) => Ok(cx.refused(&path(id), &error.detail)),
        Err(error) => Err(error.into()),
    }
}

fn history(cx: &Cx, id: ContactId, consents: &ConsentPage, is_first: bool) -> Markup {
    let event = |said: &ConsentView| Event {
        tone: match said.state {
            ConsentState::OptedIn => Tone::Good,
            ConsentState::OptedOut => Tone::Bad,
            ConsentState::Pending => Tone::Warn,
        },
        picture: parts::channel_icon(said.channel),
        title: html! { (format::channel(said.channel)) @if let Some(topic) = &said.topic { ", " (format::words(topic)) } ": " (badge(Some(said.state))) },
        at: cx.here().at(said.at),
        detail: Some(html! {
            p { "By " (format::words(said.method.as_str())) ", noted by " (said.source) }
            @if let Some(text) = &said.text { p dir="auto" { "“" (text) "”" } }
            @if let Some(evidence) = &said.evidence { p.break { "Proof: " (evidence) } }
            @if let Some(ip) = &said.ip { p.small { "From " (ip) } }
        }),
        is_future: false,
    };
    let own = path(id);
    parts::card_flush(
        "What they said",
        None,
        html! {
            @if consents.data.is_empty() {
                (parts::empty("shield", "Nothing was said yet", "What they allow and refuse is recorded here with its proof. Nothing said is no consent.", None))
            } @else {
                div.padded { (timeline(consents.data.iter().map(event).collect())) }
                (table::pager(&Pages { path: &own, query: &[], is_first, next: consents.next_cursor.as_deref(), shown: consents.data.len() }))
            }
        },
    )
}
