//! What happened to one thing, in order.

use maud::{Markup, html};

use super::{Tone, icon};

/// One thing that happened, or will.
pub(crate) struct Event {
    /// Good, bad, or neither.
    pub(crate) tone: Tone,
    /// Its picture.
    pub(crate) picture: &'static str,
    /// What it is.
    pub(crate) title: Markup,
    /// When.
    pub(crate) at: Markup,
    /// More about it.
    pub(crate) detail: Option<Markup>,
    /// Whether it has not happened yet.
    pub(crate) is_future: bool,
}

/// Draws events in the order they are given.
pub(crate) fn timeline(events: Vec<Event>) -> Markup {
    html! {
        ol.timeline {
            @for event in events {
                li.future[event.is_future] {
                    span class={ "dot " (event.tone.class()) } { (icon(event.picture)) }
                    div {
                        div.head { span { (event.title) } (event.at) }
                        @if let Some(detail) = event.detail { div.detail { (detail) } }
                    }
                }
            }
        }
    }
}
