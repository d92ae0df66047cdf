//! What came of a campaign: its numbers, how far its messages came, its variants side by side, and its recipients.

use engine::{
    analytics::Figures,
    campaigns::{CampaignState, CampaignStats, RecipientView, VariantStats, variants::Rate},
    page::Page,
};
use maud::{Markup, html};
use model::Status;

use super::{builder::letter, whole};
use crate::{
    cx::Cx,
    form, format,
    parts::{
        self, Tone,
        chart::{self, Series},
        link_button,
        table::{self, Pages, Row, Table, cell, number, text},
    },
};

fn rate(rate: &Rate) -> String {
    format!("{:.1} %", rate.percent)
}

/// What came of it: sums, how far its messages came, the variants, and who was left out.
pub(super) fn results(cx: &Cx, path: &str, stats: &CampaignStats, figures: Option<&Figures>) -> Markup {
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
        @if all.accepted > 0 {
            div."columns even" {
                (way(stats))
                @if let Some(figures) = figures { (crate::pages::analytics::reasons(figures)) }
            }
        }
        @if !stats.campaign.variants.is_empty() { (variants(cx, path, stats)) }
        @if !stats.left_out.is_empty() {
            (parts::card_flush("Left out", None, table::table(Table { caption: "Why recipients were left out", columns: &["Reason", "Recipients"],
                rows: stats.left_out.iter().map(|left| Row { href: None, cells: vec![text(&format::words(&left.reason)), number(whole(left.count))] }).collect() })))
        }
    }
}

/// How far the messages came.
fn way(stats: &CampaignStats) -> Markup {
    let all = &stats.messages;
    let mut steps = vec![
        ("Messages", whole(all.accepted)),
        ("Sent", whole(all.sent)),
        ("Arrived", whole(all.delivered.hits)),
        ("Opened or read", whole(all.opened.hits)),
        ("Clicked", whole(all.clicked.hits)),
    ];
    if all.replied.hits > 0 {
        steps.push(("Answered", whole(all.replied.hits)));
    }
    parts::card("How far they came", None, chart::shares_of("How far the messages came", whole(all.accepted), &steps))
}

/// The variants side by side, as far as they were sent.
fn variants_chart(stats: &CampaignStats) -> Markup {
    let labels: Vec<String> =
        stats.variants.iter().map(|of| format!("Variant {}", letter(of.variant as usize))).collect();
    let values = |of: fn(&VariantStats) -> u64| stats.variants.iter().map(|one| whole(of(one))).collect();
    let series = [
        Series { name: "Opened or read", colour: '2', values: values(|of| of.opened.hits) },
        Series {
            name: "Arrived only",
            colour: '1',
            values: values(|of| of.delivered.hits.saturating_sub(of.opened.hits)),
        },
        Series { name: "Failed", colour: 'b', values: values(|of| of.failed) },
    ];
    html! { @if labels.len() > 1 { div.body-inner { (chart::bars("Variants side by side", &labels, &series, 180)) } } }
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
        html! {
            (variants_chart(stats))
            (table::table(Table {
                caption: "Variants",
                columns: &["Variant", "Messages", "Delivered", "Opened", "Failed", ""],
                rows: (0..campaign.variants.len()).map(row).collect(),
            }))
        },
    )
}

/// What became of each recipient.
pub(super) fn recipients_card(path: &str, page: &Page<RecipientView>, is_first: bool) -> Markup {
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
