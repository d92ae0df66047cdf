//! The components every page is built from: functions from plain values to markup.

pub(crate) mod chart;
pub(crate) mod field;
pub(crate) mod icon;
pub(crate) mod table;
pub(crate) mod timeline;

use maud::{Markup, html};
use model::{Channel, Status};

pub(crate) use field::{Control, Field};
pub(crate) use icon::icon;

/// What something means, by colour; the words say it too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    /// Nothing special.
    Plain,
    /// In order.
    Good,
    /// Worth knowing.
    Info,
    /// Worth a look.
    Warn,
    /// Wrong.
    Bad,
    /// Apart from the rest.
    Special,
}

impl Tone {
    /// The class of it.
    pub(crate) const fn class(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Good => "good",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Bad => "bad",
            Self::Special => "special",
        }
    }
}

/// A state in one or two words.
pub(crate) fn badge(tone: Tone, text: &str) -> Markup {
    html! { span class={ "badge " (tone.class()) } { (text) } }
}

/// A word without a state: a channel, a kind.
pub(crate) fn tag(text: &str) -> Markup {
    html! { span class="badge plain" { (text) } }
}

/// What a status means by colour.
pub(crate) const fn status_tone(status: Status) -> Tone {
    match status {
        Status::Scheduled | Status::Queued | Status::Canceled => Tone::Plain,
        Status::Sending | Status::Sent => Tone::Info,
        Status::Delivered => Tone::Good,
        Status::Read => Tone::Special,
        Status::Expired | Status::Suppressed | Status::Unknown => Tone::Warn,
        Status::Failed | Status::Bounced => Tone::Bad,
    }
}

/// Where a message is.
pub(crate) fn status(status: Status) -> Markup {
    let moving = if status == Status::Sending { " moving" } else { "" };
    html! { span class={ "badge " (status_tone(status).class()) (moving) } { (crate::format::words(status.as_str())) } }
}

/// The picture of a channel.
pub(crate) const fn channel_icon(channel: Channel) -> &'static str {
    match channel {
        Channel::Email => "mail",
        Channel::Sms => "sms",
        Channel::Whatsapp => "chat",
        Channel::Telegram => "send",
        Channel::Voice => "phone",
        Channel::Webhook => "webhook",
    }
}

/// A box with a heading.
pub(crate) fn card(title: &str, actions: Option<Markup>, body: Markup) -> Markup {
    html! {
        section.card {
            header { h2 { (title) } @if let Some(actions) = actions { div.row { (actions) } } }
            div.body { (body) }
        }
    }
}

/// A box whose content reaches its edges: tables and lists.
pub(crate) fn card_flush(title: &str, actions: Option<Markup>, body: Markup) -> Markup {
    html! {
        section.card {
            header { h2 { (title) } @if let Some(actions) = actions { div.row { (actions) } } }
            div."body flush" { (body) }
        }
    }
}

/// A number with its name.
pub(crate) fn tile(label: &str, value: &str, note: Option<Markup>) -> Markup {
    html! {
        div.tile {
            span.label { (label) }
            span.value { (value) }
            @if let Some(note) = note { span.note { (note) } }
        }
    }
}

/// What stands where a list would, with the next step.
pub(crate) fn empty(picture: &str, title: &str, text: &str, next: Option<Markup>) -> Markup {
    html! {
        div.empty {
            span.glyph { (icon(picture)) }
            h2 { (title) }
            p { (text) }
            @if let Some(next) = next { div.row { (next) } }
        }
    }
}

/// Something to know before going on.
pub(crate) fn notice(tone: Tone, title: &str, text: Markup) -> Markup {
    let picture = match tone {
        Tone::Good => "check",
        Tone::Bad | Tone::Warn => "alert",
        Tone::Plain | Tone::Info | Tone::Special => "info",
    };
    html! {
        div class={ "notice " (tone.class()) } role=[(tone == Tone::Bad).then_some("alert")] {
            (icon(picture))
            div { @if !title.is_empty() { p.title { (title) } } (text) }
        }
    }
}

/// A link that looks like a button.
pub(crate) fn link_button(href: &str, class: &str, picture: Option<&str>, text: &str) -> Markup {
    html! { a class={ "button " (class) } href=(href) { @if let Some(picture) = picture { (icon(picture)) } (text) } }
}

/// A button that copies a text.
pub(crate) fn copy(value: &str, what: &str) -> Markup {
    html! {
        copy-button value=(value) {
            button.button.small type="button" aria-label={ "Copy " (what) } { (icon("copy")) span { "Copy" } }
            span.visually-hidden role="status" {}
        }
    }
}

/// A text to take along, with its button.
pub(crate) fn copy_line(value: &str, what: &str) -> Markup {
    html! { div.copy-line { code tabindex="0" { (value) } (copy(value, what)) } }
}

/// Name and value, one below the other.
pub(crate) fn facts(rows: impl IntoIterator<Item = (&'static str, Markup)>) -> Markup {
    html! { dl.facts { @for (name, value) in rows { dt { (name) } dd { (value) } } } }
}

/// Parts of one place.
pub(crate) fn tabs(label: &str, tabs: &[(&str, &str)], here: &str) -> Markup {
    html! {
        nav.tabs aria-label=(label) {
            @for (href, text) in tabs { a href=(href) aria-current=[(*href == here).then_some("page")] { (text) } }
        }
    }
}

/// A question in a window of its own. `body` is what the form holds besides its buttons.
pub(crate) struct Dialog<'a> {
    /// Opened by `data-opens` with this.
    pub(crate) id: &'a str,
    /// The question.
    pub(crate) title: &'a str,
    /// Where the answer goes.
    pub(crate) action: &'a str,
    /// The session's token.
    pub(crate) csrf: &'a str,
    /// What to know, and further fields.
    pub(crate) body: Markup,
    /// What the button that does it says.
    pub(crate) yes: &'a str,
    /// Whether it destroys something.
    pub(crate) is_dangerous: bool,
}

/// How the id of the place ends where a window says what was wrong with what was typed into it.
pub(crate) const SAID: &str = "-said";

/// A window with a form. With script, a refusal is told in it (see [`crate::cx::Cx::refused`]), so that nothing typed is lost; without, on the page behind it.
pub(crate) fn dialog(d: &Dialog<'_>) -> Markup {
    let class = if d.is_dangerous { "button danger" } else { "button primary" };
    let said = format!("{}{SAID}", d.id);
    html! {
        dialog id=(d.id) aria-labelledby={ (d.id) "-title" } {
            form method="post" action=(d.action) hx-post=(d.action) hx-target={ "#" (said) } hx-swap="innerHTML" hx-select="unset" hx-disabled-elt="find button[type=submit]" {
                (crate::form::token(d.csrf))
                div.body {
                    h2.strong id={ (d.id) "-title" } { (d.title) }
                    div id=(said) role="status" {}
                    (d.body)
                }
                footer {
                    button.button type="button" data-closes { "Cancel" }
                    button class=(class) type="submit" { (d.yes) }
                }
            }
        }
    }
}

/// A form that is only a button.
pub(crate) fn act(action: &str, csrf: &str, class: &str, picture: Option<&str>, text: &str) -> Markup {
    html! {
        form method="post" action=(action) {
            (crate::form::token(csrf))
            button class={ "button " (class) } type="submit" { @if let Some(picture) = picture { (icon(picture)) } (text) }
        }
    }
}

/// A short word about what was just done.
pub(crate) fn toast(tone: Tone, text: &str) -> Markup {
    html! {
        toast-note.toast {
            svg class={ "icon " (tone.class()) } viewBox="0 0 24 24" aria-hidden="true" { (icon::shape(if tone == Tone::Bad { "alert" } else { "check" })) }
            span { (text) }
            button type="button" aria-label="Dismiss" { (icon("close")) }
        }
    }
}

/// JSON for reading, in its own scrolling box.
pub(crate) fn code(text: &str) -> Markup {
    html! { pre.code tabindex="0" { (text) } }
}
