//! The page of one campaign: its checklist before it leaves, its progress while it does, and what came of it.

use axum::{extract::Path, response::Response};
use engine::{
    access::Permission,
    campaigns::{
        self, CampaignState, CampaignStats, CampaignView, RecipientView, VariantStats, WinnerRequest,
        check::{CheckReport, Level},
    },
    once::Repeat,
    page::Page,
};
use http::{HeaderValue, header};
use maud::{Markup, html};
use model::{CampaignId, Status};
use serde::Deserialize;

use super::{ABOVE, PATH, builder::letter, state, whole};
use crate::{
    cx::{Answer, Cx, Posted, Query, html as answer},
    form::{self, Faults, Form},
    format, pages,
    parts::{
        self, Control, Dialog, Field, Tone, icon, link_button,
        table::{self, Pages, Row, Table, cell, number, text},
    },
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
        let is_moving = matches!(campaign.state, CampaignState::Sending | CampaignState::Paused);
        let trigger = if is_moving { "news from:body, every 3s" } else { "news from:body" };
        html! {
            div.stack #going hx-get=[wanted.cursor.is_none().then_some(&path)] hx-trigger=(trigger) hx-select="#going" hx-swap="outerHTML" {
                (progress(&cx, campaign))
                (results(&cx, &path, &stats))
                (recipients_card(&path, &recipients, wanted.cursor.is_none()))
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
        actions: Some(actions(&cx, &path, campaign)),
        is_live: !is_before,
        ..shell::Page::new(&campaign.name, Section::Campaigns, body)
    }))
}

fn actions(cx: &Cx, path: &str, campaign: &CampaignView) -> Markup {
    use CampaignState::{Canceled, Draft, Failed, Paused, Scheduled, Sending, Sent};
    let may = cx.may("campaigns:write");
    let may_send = may && cx.caller.need_permission(Permission::Send(campaign.channel)).is_ok();
    let is = |states: &[CampaignState]| states.contains(&campaign.state);
    let is_demo = cx.tenant.as_ref().is_some_and(|tenant| tenant.is_demo);
    let act = |action: &str, class: &str, picture: &str, words: &str| {
        parts::act(&format!("{path}/{action}"), cx.csrf(), class, Some(picture), words)
    };
    html! {
        (state(campaign.state))
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
                            p { (line.detail) }
                            @if let Some(action) = line.action { (remedy(cx, campaign, action)) }
                        }
                    }
                }
            }
            @if !report.is_complete { p."muted small" { (format::number(whole(report.checked))) " recipients were counted so far; the count goes on." } }
        }
    }
}

/// Where a line of the checklist is mended.
fn remedy(cx: &Cx, campaign: &CampaignView, action: &str) -> Markup {
    let edit = format!("{PATH}/{}/edit", campaign.id);
    let (href, words, scope) = match action {
        "ADD_ACCOUNT" => {
            (format!("/console/channels/new?channel={}", campaign.channel), "Set up the channel", "accounts:write")
        }
        "UPDATE_ACCOUNT" | "ENABLE_ACCOUNT" => ("/console/channels".to_owned(), "Look at the account", "accounts:read"),
        "CHANGE_AUDIENCE" => (edit, "Change the audience", "campaigns:write"),
        "CHANGE_CONTENT" => (edit, "Change what it says", "campaigns:write"),
        "COMPLETE_CONTACTS" | "COLLECT_CONSENT" => {
            ("/console/contacts".to_owned(), "Go to the contacts", "contacts:read")
        }
        "REVIEW_SUPPRESSIONS" => ("/console/suppressions".to_owned(), "Look at the suppression list", "consent:read"),
        "ADD_SENDER" | "VERIFY_SENDER" => ("/console/senders".to_owned(), "Look at the senders", "accounts:read"),
        "REMOVE_WITHOUT_CONSENT" => return without_consent(cx, campaign),
        _ => return html! {},
    };
    html! { @if cx.may(scope) { a.small href=(href) { (words) } } }
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
                        div.row { strong { (campaign.progress_percent) " %" } span.muted { "of the audience" } @if let Some(eta) = campaign.eta_s { span.muted { "· " (duration(eta)) " to go" } } }
                        (super::progress(campaign))
                    }
                }
            }
        }
    }
}

fn rate(rate: &campaigns::variants::Rate) -> String {
    format!("{:.1} %", rate.percent)
}

fn results(cx: &Cx, path: &str, stats: &CampaignStats) -> Markup {
    let (campaign, all) = (&stats.campaign, &stats.messages);
    let note = |words: &str| Some(html! { (words) });
    html! {
        div.tiles {
            (parts::tile("Recipients", &format::number(whole(campaign.recipients)), note(&format!("{} left out", format::number(whole(campaign.excluded))))))
            (parts::tile("Sent", &format::number(whole(all.sent)), note(&format!("{} waiting", format::number(whole(all.waiting))))))
            (parts::tile("Delivered", &rate(&all.delivered), note(&format::number(whole(all.delivered.hits)))))
            (parts::tile("Opened", &rate(&all.opened), note(&format::number(whole(all.opened.hits)))))
            (parts::tile("Failed", &format::number(whole(all.failed)), None))
        }
        @if !stats.campaign.variants.is_empty() { (variants(cx, path, stats)) }
        @if !stats.left_out.is_empty() {
            (parts::card_flush("Left out", None, table::table(Table { caption: "Why recipients were left out", columns: &["Reason", "Recipients"],
                rows: stats.left_out.iter().map(|left| Row { href: None, cells: vec![text(&format::words(&left.reason)), number(whole(left.count))] }).collect() })))
        }
    }
}

fn variants(cx: &Cx, path: &str, stats: &CampaignStats) -> Markup {
    let campaign = &stats.campaign;
    let may_choose = cx.may("campaigns:write")
        && campaign.test_ends_at.is_some()
        && campaign.winner.is_none()
        && campaign.state == CampaignState::Sending;
    // One nobody got yet is there too: it can be chosen.
    let row = |index: usize| {
        let variant = index as u32;
        let of: Option<&VariantStats> = stats.variants.iter().find(|of| of.variant == variant);
        let name = letter(index);
        Row {
            href: None,
            cells: vec![
                cell(html! {
                    "Variant " (name)
                    @if campaign.winner == Some(variant) { " " (parts::badge(Tone::Good, "Winner")) }
                    @else if let Some(best) = stats.best.filter(|best| best.variant == variant && of.is_some_and(|of| of.sent > 0)) { " " (parts::badge(Tone::Info, if best.is_clear { "Leads" } else { "Leads, maybe by chance" })) }
                }),
                number(of.map_or(0, |of| whole(of.accepted))),
                cell(html! { @match of { Some(of) => (rate(&of.delivered)), None => span.muted { "–" } } }),
                cell(html! { @match of { Some(of) => (rate(&of.opened)), None => span.muted { "–" } } }),
                number(of.map_or(0, |of| whole(of.failed))),
                cell(html! {
                    @if may_choose {
                        form method="post" action={ (path) "/winner" } {
                            (form::token(cx.csrf()))
                            input type="hidden" name="variant" value=(variant);
                            button."button small" type="submit" aria-label={ "Send to the rest: variant " (name) } { "Send to the rest" }
                        }
                    }
                }),
            ],
        }
    };
    let until = html! { @if let Some(at) = campaign.test_ends_at.filter(|_| campaign.winner.is_none()) { span."muted small" { "The test ends " (cx.here().at(at)) } } };
    parts::card_flush(
        "Variants",
        Some(until),
        table::table(Table {
            caption: "Variants",
            columns: &["Variant", "Messages", "Delivered", "Opened", "Failed", ""],
            rows: (0..campaign.variants.len()).map(row).collect(),
        }),
    )
}

fn recipients_card(path: &str, page: &Page<RecipientView>, is_first: bool) -> Markup {
    let row = |recipient: &RecipientView| {
        let status = recipient.status.parse::<Status>();
        Row {
            href: Some(match recipient.message_id {
                Some(id) => format!("/console/messages/{id}"),
                None => format!("/console/contacts/{}", recipient.contact_id),
            }),
            cells: vec![
                cell(
                    html! { span.wide-text { (recipient.to.clone().unwrap_or_else(|| recipient.contact_id.to_string())) } },
                ),
                cell(
                    html! { @match status { Ok(status) => (parts::status(status)), Err(_) => (parts::badge(Tone::Plain, &format::words(&recipient.status))) } },
                ),
                cell(
                    html! { @match recipient.variant { Some(at) => (letter(at as usize)), None => span.muted { "–" } } },
                ),
                cell(
                    html! { @match &recipient.reason { Some(reason) => (format::words(reason)), None => span.muted { "–" } } },
                ),
            ],
        }
    };
    let export = html! { (link_button(&format!("{path}/recipients.csv"), "small", None, "As CSV")) };
    parts::card_flush(
        "Recipients",
        (!page.data.is_empty()).then_some(export),
        html! {
            @if page.data.is_empty() {
                (parts::empty("people", "Nobody yet", "Recipients appear here as soon as the audience is known.", None))
            } @else {
                (table::table(Table { caption: "Recipients", columns: &["To", "Status", "Variant", "Why"], rows: page.data.iter().map(row).collect() }))
                (table::pager(&Pages { path, query: &[], is_first, next: page.next_cursor.as_deref(), shown: page.data.len() }))
            }
        },
    )
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
        Err(error) if matches!(error.kind.status(), 409 | 422) => Ok(cx.refused(&path, &error.detail)),
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
