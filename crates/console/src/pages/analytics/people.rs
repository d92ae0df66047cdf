//! What people did with what arrived, and apart from them what programs did.

use engine::analytics::Figures;
use maud::{Markup, html};

use crate::parts::{self, chart};

/// Draws it, as shares of what arrived.
pub(super) fn card(totals: &Figures) -> Markup {
    let mut done = vec![
        ("Opened by a person", totals.opened),
        ("Opened by programs alone", totals.machine_opened),
        ("Read", totals.read),
        ("Link followed by a person", totals.clicked),
        ("Link followed by programs alone", totals.machine_clicked),
        ("Replied to", totals.replied),
        ("Unsubscribed from", totals.unsubscribed),
        ("Reported as unwanted", totals.complained),
    ];
    done.retain(|(_, count)| *count > 0);
    parts::card(
        "What people did",
        None,
        html! {
            @if done.is_empty() {
                p.muted { "Nothing is known yet. Openings and links are told of mails that are tracked, reading by WhatsApp and some others, replies where accounts receive." }
            } @else {
                (chart::shares_of("Of those that arrived", totals.delivered, &done))
                p."muted small spaced" { "Shares of those that arrived. Programs are mail providers that load every picture and follow every link: they are no people, and are counted apart." }
            }
        },
    )
}
