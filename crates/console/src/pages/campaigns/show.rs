//! The page of one campaign: its checklist before it leaves, its progress while it does, and what came of it.

use axum::{extract::Path, response::Response};
use engine::{
    access::Permission,
    analytics::AnalyticsQuery,
    campaigns::{
        self, CampaignState, CampaignView, WinnerRequest,
        check::{CheckReport, Level},
    },
    once::Repeat,
};
use http::{HeaderValue, header};
use maud::{Markup, html};
use model::CampaignId;
use serde::Deserialize;

use super::{ABOVE, PATH, results, state, whole};
use crate::{
    cx::{Answer, Cx, Posted, Query, html as answer},
    form::{self, Faults, Form},
    format,
    pages::{self, actions},
    parts::{self, Control, Dialog, Field, Tone, icon, link_button},
    read::{self, Made},
    shell::{self, Section},
};

#[derive(Debug, Default, Deserialize)]
pub(crate) struct Wanted {
    cursor: Option<String>,
}

/// Shows a campaign.
pub(crate) async fn show(cx: Cx, Path(id): Path<String>, Query(wanted): Query<Wanted>) -> Answer {
    cx.tenant()?;
    let id: CampaignId = pages::id(&id)?;
    let stats = campaigns::stats(cx.engine(), &cx.caller, id).await?;
    let campaign = &stats.campaign;
    let path = format!("{PATH}/{id}");
    let is_before = matches!(campaign.state, CampaignState::Draft | CampaignState::Scheduled);
    let body = if is_before {
        html! { div."columns even" { (summary(&cx, campaign)) (checklist_frame(&path)) } }
    } else {
        let recipients = campaigns::recipients(cx.engine(), &cx.caller, id, Some(50), wanted.cursor.as_deref()).await?;
        let figures = match campaign.started_at.filter(|_| cx.may("usage:read")) {
            Some(at) => {
                let query =
                    AnalyticsQuery { since: Some(at.to_string()), campaign_id: Some(id), ..AnalyticsQuery::default() };
                Some(cx.engine().analytics_view(&cx.caller, &query).await?.totals)
            }
            None => None,
        };
        let is_moving = matches!(campaign.state, CampaignState::Sending | CampaignState::Paused);
        let trigger = if is_moving { "news from:body, every 3s" } else { "news from:body" };
        html! {
            div.stack #going hx-get=[wanted.cursor.is_none().then_some(&path)] hx-trigger=(trigger) hx-select="#going" hx-swap="outerHTML" {
                (progress(&cx, campaign))
                (results::results(&cx, &path, &stats, figures.as_ref()))
                (results::recipients_card(&path, &recipients, wanted.cursor.is_none()))
            }
            (summary(&cx, campaign))
        }
    };
    Ok(cx.page(shell::Page {
        above: ABOVE,
        lead: campaign
            .description
            .as_deref()
            .filter(|text| !text.is_empty())
            .map(|text| html! { span dir="auto" { (text) } }),
        actions: Some(buttons(&cx, &path, campaign)),
        is_live: !is_before,
        ..shell::Page::new(&campaign.name, Section::Campaigns, body)
    }))
}

fn buttons(cx: &Cx, path: &str, campaign: &CampaignView) -> Markup {
    use CampaignState::{Canceled, Draft, Failed, Paused, Scheduled, Sending, Sent};
    let may = cx.may("campaigns:write");
    let may_send = may && cx.caller.need_permission(Permission::Send(campaign.channel)).is_ok();
    let is = |states: &[CampaignState]| states.contains(&campaign.state);
    let is_demo = cx.tenant.as_ref().is_some_and(|tenant| tenant.is_demo);
    let act = |action: &str, class: &str, picture: &str, words: &str| {
        parts::act(&format!("{path}/{action}"), cx.csrf(), class, Some(picture), words)
    };
    html! {
        (state(campaign))
        @if may_send && is(&[Draft, Scheduled]) { (link_button(&format!("{path}/edit"), "", Some("pen"), "Edit")) }
        @if may { (act("duplicate", "", "copy", "Duplicate")) }
        @if may && is(&[Draft, Sent, Canceled, Failed]) { button."button danger" type="button" data-opens="delete" { (icon("trash")) "Delete" } }
        @if may && is(&[Scheduled, Sending, Paused]) { button."button danger" type="button" data-opens="cancel" { "Cancel campaign" } }
        @if may && is(&[Sending]) { (act("pause", "primary", "clock", "Pause")) }
        @if may && is(&[Paused]) { (act("resume", "primary", "send", "Resume")) }
        @if may_send && is(&[Draft, Scheduled]) {
            button.button type="button" data-opens="schedule" { (icon("clock")) "Schedule" }
            button."button primary" type="button" data-opens="send" { (icon("send")) @if is_demo { "Send campaign (demo)" } @else { "Send campaign" } }
            (parts::dialog(&Dialog { id: "send", title: "Send this campaign now?", action: &format!("{path}/send"), csrf: cx.csrf(),
                body: html! {
                    p.muted { "Everybody in the audience gets it once. You can pause it, but what has left has left." }
                    label.row { input type="checkbox" name="remove_without_consent" value="true" checked[campaign.remove_without_consent]; "Leave out who has not agreed" }
                }, yes: "Send it", is_dangerous: false }))
            (parts::dialog(&Dialog { id: "schedule", title: "When does it start?", action: &format!("{path}/schedule"), csrf: cx.csrf(),
                body: html! { (Field::text("start_at", "Day and time").with(Control::When).required().help("In your own time zone. It is checked again then.").draw(&Form::default(), &Faults::default())) }, yes: "Schedule it", is_dangerous: false }))
        }
        @if may {
            @if is(&[Draft, Sent, Canceled, Failed]) {
                (parts::dialog(&Dialog { id: "delete", title: "Delete this campaign?", action: &format!("{path}/delete"), csrf: cx.csrf(),
                    body: html! { p.muted { "Its messages keep their timelines. This cannot be undone." } }, yes: "Delete campaign", is_dangerous: true }))
            }
            @if is(&[Scheduled, Sending, Paused]) {
                (parts::dialog(&Dialog { id: "cancel", title: "Cancel this campaign?", action: &format!("{path}/cancel"), csrf: cx.csrf(),
                    body: html! { p.muted { "What waits is withdrawn; what has left has left. It cannot go on afterwards." } }, yes: "Cancel campaign", is_dangerous: true }))
            }
        }
    }
}

/// What it is, in a few lines.
fn summary(cx: &Cx, campaign: &CampaignView) -> Markup {
    let audience = &campaign.audience;
    let sources = [
        (audience.lists.len(), "list", "lists"),
        (audience.segments.len(), "segment", "segments"),
        (audience.contact_ids.len(), "contact by name", "contacts by name"),
    ];
    let excluded = audience.exclude_lists.len() + audience.exclude_segments.len();
    let words = |raw: &Option<Box<serde_json::value::RawValue>>| -> Option<serde_json::Value> {
        raw.as_ref().and_then(|raw| serde_json::from_str(raw.get()).ok())
    };
    let (content, template) = (words(&campaign.content), words(&campaign.template));
    let mut rows = vec![
        (
            "Channel",
            html! { span.row { (icon(parts::channel_icon(campaign.channel))) (format::channel(campaign.channel)) } },
        ),
        (
            "For",
            html! {
                (sources.iter().filter(|(count, ..)| *count > 0).map(|(count, one, many)| format::count(whole(*count as u64), one, many)).collect::<Vec<_>>().join(", "))
                @if excluded > 0 { ", without " (format::count(whole(excluded as u64), "list or segment", "lists and segments")) }
            },
        ),
        (
            "Purpose",
            html! { (campaign.purpose.map_or("Marketing".to_owned(), |purpose| format::words(purpose.as_str()))) @if let Some(topic) = &campaign.topic { ", " (format::words(topic)) } },
        ),
    ];
    if let Some(at) = campaign.scheduled_at.filter(|_| campaign.state == CampaignState::Scheduled) {
        rows.push(("Starts", html! { (cx.here().at(at)) ", " (cx.here().distance(at)) }));
    }
    if let Some(template) = &template {
        let id = template["id"].as_str();
        rows.push(("Template", html! {
            @match id { Some(id) => a href={ "/console/templates/" (id) } { "Open the template" }, None => (template["name"].as_str().unwrap_or_default()) }
        }));
    }
    if let Some(test) = &campaign.test {
        let hours = f64::from(test.duration_s) / 3600.0;
        rows.push((
            "Test",
            html! { (campaign.variants.len()) " variants on " (test.percent) " % of the audience for " (hours) " h" },
        ));
    }
    let said = content.as_ref().map(|content| {
        let text = |name: &str| content[name].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
        (text("subject"), text("text").or_else(|| text("say")))
    });
    parts::card(
        "What it is",
        None,
        html! {
            (parts::facts(rows))
            @if let Some((subject, text)) = said {
                div."stack spaced" {
                    @if let Some(subject) = subject { p.strong dir="auto" { (subject) } }
                    @if let Some(text) = text { div class={ "bubble " (campaign.channel) } dir="auto" { (text) } }
                }
            }
        },
    )
}

/// The checklist's place. It takes a moment for a large audience, so the page does not wait for it.
fn checklist_frame(path: &str) -> Markup {
    html! {
        section.card aria-label="Before it is sent" {
            header { h2 { "Before it is sent" } }
            div.body hx-get={ (path) "/check" } hx-trigger="load" aria-live="polite" { p.muted { "Looking at the audience … " a href={ (path) "/check" } { "Show the checklist" } } }
        }
    }
}

/// Checks a campaign.
pub(crate) async fn check(cx: Cx, Path(id): Path<String>) -> Answer {
    cx.tenant()?;
    let id: CampaignId = pages::id(&id)?;
    let report = campaigns::check::current(cx.engine(), &cx.caller, id).await?;
    let campaign = campaigns::get(cx.engine(), &cx.caller, id).await?;
    Ok(answer(checklist(&cx, &campaign, &report)))
}

fn checklist(cx: &Cx, campaign: &CampaignView, report: &CheckReport) -> Markup {
    html! {
        div.stack {
            @if report.can_send { (parts::notice(Tone::Good, "It can be sent", html! {})) } @else { (parts::notice(Tone::Bad, "Something is in the way", html! {})) }
            ul.checklist {
                @for line in &report.lines {
                    @let (tone, picture, word) = match line.level { Level::Ok => (Tone::Good, "check", "In order"), Level::Warning => (Tone::Warn, "alert", "To know"), Level::Blocking => (Tone::Bad, "close", "In the way") };
                    li {
                        span class={ "dot " (tone.class()) } { (icon(picture)) span.visually-hidden { (word) ": " } }
                        div {
                            p { (format::spoken(&line.detail)) }
                            @if let Some(action) = line.action { (remedy(cx, campaign, action)) }
                        }
                    }
                }
            }
            @if !report.is_complete { p."muted small" { (format::number(whole(report.checked))) " recipients were counted so far; the count goes on." } }
        }
    }
}

/// Where a line of the checklist is mended: on this campaign, or on another page.
fn remedy(cx: &Cx, campaign: &CampaignView, action: &str) -> Markup {
    let edit = format!("{PATH}/{}/edit", campaign.id);
    let may = cx.may("campaigns:write");
    let (href, words) = match action {
        "REMOVE_WITHOUT_CONSENT" => return without_consent(cx, campaign),
        "SCHEDULE_FOR_DAYTIME" if may => {
            return html! { button."button small" type="button" data-opens="schedule" { "Schedule it for daytime" } };
        }
        "CHANGE_AUDIENCE" if may => (edit, "Change the audience"),
        "CHANGE_CONTENT" | "CHANGE_TEMPLATE" | "USE_WHATSAPP_TEMPLATE" if may => (edit, "Change what it says"),
        // With one recipient less it may fit.
        "UPGRADE_PLAN" | "ADD_CREDIT" if may => {
            return html! { div.row { (actions::link(cx, action)) a.small href=(edit) { "Send to fewer" } } };
        }
        "ADD_ACCOUNT" if cx.may("accounts:write") => {
            (format!("/console/channels/new?channel={}", campaign.channel), "Set up the channel")
        }
        _ => return actions::link(cx, action),
    };
    html! { a.small href=(href) { (words) } }
}

/// The two ways on when some have not agreed: without them, or with their consent.
fn without_consent(cx: &Cx, campaign: &CampaignView) -> Markup {
    let may_send = cx.may("campaigns:write") && cx.caller.need_permission(Permission::Send(campaign.channel)).is_ok();
    let action = format!("{PATH}/{}/send", campaign.id);
    html! {
        div.row {
            @if may_send {
                form method="post" action=(action) {
                    (form::token(cx.csrf()))
                    input type="hidden" name="remove_without_consent" value="true";
                    button."button small" type="submit" { "Remove contacts and send" }
                }
            }
            @if cx.may("contacts:read") { a.small href="/console/contacts" { "Get consent first" } }
        }
    }
}

fn duration(seconds: u64) -> String {
    match seconds {
        0..=59 => "less than a minute".to_owned(),
        60..=3_599 => format!("about {} min", seconds.div_ceil(60)),
        _ => format!("about {} h {} min", seconds / 3_600, seconds % 3_600 / 60),
    }
}

fn progress(cx: &Cx, campaign: &CampaignView) -> Markup {
    html! {
        @if let Some(problem) = &campaign.problem { (parts::notice(Tone::Bad, "It could not go on", html! { p { (problem) } })) }
        @if campaign.state == CampaignState::Paused {
            (parts::notice(Tone::Warn, "It is paused", html! { p { "What waits is held until it goes on." @if let Some(at) = campaign.paused_at { " Since " (cx.here().at(at)) "." } } }))
        }
        @if matches!(campaign.state, CampaignState::Sending | CampaignState::Paused) {
            section.card aria-label="Progress" {
                div.body {
                    div.stack {
                        @if super::is_finishing(campaign) {
                            div.row { strong { "Finishing" } span.muted { "Everybody's message is made; the last are on their way." } }
                        } @else {
                            div.row { strong { (campaign.progress_percent) " %" } span.muted { "of the audience" } @if let Some(eta) = campaign.eta_s { span.muted { "· " (duration(eta)) " to go" } } }
                        }
                        (super::progress(campaign))
                    }
                }
            }
        }
    }
}

/// What became of the recipients, as a file.
pub(crate) async fn export(cx: Cx, Path(id): Path<String>) -> Answer {
    cx.tenant()?;
    let (csv, _) = campaigns::export(cx.engine(), &cx.caller, pages::id(&id)?, None).await?;
    let mut response = Response::new(csv.into());
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/csv; charset=utf-8"));
    headers.insert(header::CONTENT_DISPOSITION, HeaderValue::from_static("attachment; filename=\"recipients.csv\""));
    Ok(response)
}

/// Does what one of a campaign's buttons says.
pub(crate) async fn act(Path((id, action)): Path<(String, String)>, Posted { cx, form }: Posted) -> Answer {
    cx.tenant()?;
    let id: CampaignId = pages::id(&id)?;
    let path = format!("{PATH}/{id}");
    let (engine, caller, once) = (cx.engine(), &cx.caller, &Repeat::NONE);
    let done = match action.as_str() {
        "send" => {
            let removes = Some(form.text("remove_without_consent") == "true");
            campaigns::start_with(engine, caller, once, id, None, removes).await.map(|_| "It is under way.")
        }
        "schedule" => {
            caller.need("campaigns:write")?;
            let Some(at) = cx.here().read_local(form.text("start_at")) else {
                return Ok(cx.refused(&path, "Choose a day and a time to begin with."));
            };
            campaigns::start(engine, caller, once, id, Some(at)).await.map(|_| "It starts by itself.")
        }
        "pause" => campaigns::pause(engine, caller, once, id).await.map(|_| "It is paused. What waits is held."),
        "resume" => campaigns::resume(engine, caller, once, id).await.map(|_| "It goes on."),
        "cancel" => {
            campaigns::cancel(engine, caller, once, id).await.map(|_| "It is canceled. What waited is withdrawn.")
        }
        "winner" => {
            let variant = form.text("variant").parse().map_err(|_| pages::no_page())?;
            campaigns::choose(engine, caller, once, id, WinnerRequest { variant })
                .await
                .map(|_| "The rest gets this one.")
        }
        "duplicate" => {
            let reply = campaigns::duplicate(engine, caller, once, id).await?;
            let made: Made = read::json(&reply.body)?;
            return Ok(cx.done(&format!("{PATH}/{}", made.id), "This is a new draft of the same."));
        }
        "delete" => match campaigns::delete(engine, caller, id).await {
            Ok(()) => return Ok(cx.done(PATH, "The campaign was deleted.")),
            Err(error) => Err(error),
        },
        _ => Err(pages::no_page()),
    };
    match done {
        Ok(said) => Ok(cx.done(&path, said)),
        Err(error) if matches!(error.kind.status(), 402 | 409 | 422) => {
            Ok(cx.refused(&path, &format::spoken(&error.detail)))
        }
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_to_go_is_told_as_people_count_time() {
        let check = |seconds, words| assert_eq!(duration(seconds), words);
        check(5, "less than a minute");
        check(61, "about 2 min");
        check(3_700, "about 1 h 1 min");
    }
}
