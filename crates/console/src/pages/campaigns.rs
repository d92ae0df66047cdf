//! Campaigns: the list. `builder` makes and changes a draft, `written` is its form, `show` follows one from its checklist on, `results` tells what came of it.

pub(crate) mod builder;
mod results;
pub(crate) mod show;
mod written;

use engine::campaigns::{self, CampaignState, CampaignView};
use maud::{Markup, html};
use serde::Deserialize;

use crate::{
    cx::{Answer, Cx, Query},
    format,
    parts::{
        self, Tone, chart, icon, link_button,
        table::{self, Pages, Row, Table, cell},
    },
    shell::{self, Section},
};

pub(super) const PATH: &str = "/console/campaigns";
const ABOVE: &[(&str, &str)] = &[(PATH, "Campaigns")];

#[derive(Debug, Default, Deserialize)]
pub(crate) struct Wanted {
    cursor: Option<String>,
}

/// Lists campaigns.
pub(crate) async fn list(cx: Cx, Query(wanted): Query<Wanted>) -> Answer {
    cx.tenant()?;
    let page = campaigns::list(cx.engine(), &cx.caller, Some(30), wanted.cursor.as_deref()).await?;
    let new = html! { @if cx.may("campaigns:write") { (link_button(&format!("{PATH}/new"), "primary", Some("plus"), "New campaign")) } };
    let row = |campaign: &CampaignView| Row {
        href: Some(format!("{PATH}/{}", campaign.id)),
        cells: vec![
            cell(html! { span.wide-text dir="auto" { (campaign.name) } }),
            cell(
                html! { span.row { (icon(parts::channel_icon(campaign.channel))) (format::channel(campaign.channel)) } },
            ),
            cell(state(campaign)),
            cell(progress(campaign)),
            cell(
                html! { @match campaign.started_at.or(campaign.scheduled_at) { Some(at) => (cx.here().at(at)), None => span.muted { "–" } } },
            ),
        ],
    };
    let body = html! {
        section.card aria-label="Campaigns" {
            div #campaigns hx-get=[wanted.cursor.is_none().then_some(PATH)] hx-trigger="news from:body" hx-select="#campaigns" hx-swap="outerHTML" {
                @if page.data.is_empty() {
                    (parts::empty("megaphone", "No campaigns yet", "A campaign says one thing to everybody on your lists or in a segment, once to each, and leaves out whoever must not be written to.", Some(new.clone())))
                } @else {
                    (table::table(Table { caption: "Campaigns, newest first", columns: &["Name", "Channel", "State", "Done", "Start"], rows: page.data.iter().map(row).collect() }))
                    (table::pager(&Pages { path: PATH, query: &[], is_first: wanted.cursor.is_none(), next: page.next_cursor.as_deref(), shown: page.data.len() }))
                }
            }
        }
    };
    Ok(cx.page(shell::Page {
        lead: Some(html! { "One message to many, once to each." }),
        actions: (!page.data.is_empty()).then_some(new),
        is_live: true,
        ..shell::Page::new("Campaigns", Section::Campaigns, body)
    }))
}

/// Whether everybody's message is made and only the last have not left.
fn is_finishing(campaign: &CampaignView) -> bool {
    let done = campaign.accepted + campaign.excluded;
    campaign.state == CampaignState::Sending && campaign.recipients > 0 && done >= campaign.recipients
}

/// Where a campaign stands, as a badge.
pub(super) fn state(campaign: &CampaignView) -> Markup {
    let (tone, words) = match campaign.state {
        CampaignState::Draft => (Tone::Plain, "Draft"),
        CampaignState::Scheduled => (Tone::Info, "Scheduled"),
        CampaignState::Sending if is_finishing(campaign) => (Tone::Info, "Finishing"),
        CampaignState::Sending => (Tone::Info, "Sending"),
        CampaignState::Paused => (Tone::Warn, "Paused"),
        CampaignState::Sent => (Tone::Good, "Sent"),
        CampaignState::Canceled => (Tone::Plain, "Canceled"),
        CampaignState::Failed => (Tone::Bad, "Failed"),
    };
    parts::badge(tone, words)
}

fn whole(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// How much of the audience has its message or was left out.
pub(super) fn progress(campaign: &CampaignView) -> Markup {
    let left = campaign.recipients.saturating_sub(campaign.accepted + campaign.excluded);
    let bar = [('1', whole(campaign.accepted)), ('n', whole(campaign.excluded)), ('0', whole(left))];
    html! {
        @if campaign.recipients == 0 { span.muted { "–" } } @else {
            div.done-bar {
                (chart::shares(&format!("{} of {} done", campaign.accepted + campaign.excluded, campaign.recipients), &bar))
                span.small { (format::number(whole(campaign.accepted + campaign.excluded))) " of " (format::number(whole(campaign.recipients))) }
            }
        }
    }
}
