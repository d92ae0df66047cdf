//! The markup of the hosted pages: functions of what is shown and the words for it.

use engine::{
    branding::Look,
    consent::{hours::clock, pages::Standing, topics::TopicView},
};
use maud::{DOCTYPE, Markup, html};
use model::Channel;

use super::words::Words;

/// The frame of every page: the sender's logo or name above one card, and what it says of itself below.
fn frame(words: &Words, standing: Option<&Standing>, title: &str, body: Markup) -> Markup {
    let sender = standing.map(|standing| standing.tenant.as_str());
    let look = standing.map(|standing| &standing.look);
    html! {
        (DOCTYPE)
        html lang=(words.tag) {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="robots" content="noindex";
                title { (title) @if let Some(sender) = sender { " \u{b7} " (sender) } }
                link rel="stylesheet" href="/hosted.css";
                @if let Some(style) = look.and_then(|look| look.style.as_ref()) { link rel="stylesheet" href=(style); }
            }
            body {
                main {
                    @if let Some(sender) = sender {
                        header {
                            @if let Some(logo) = look.and_then(|look| look.logo.as_ref()) {
                                img.logo src=(logo) alt="";
                            } @else {
                                span.mark aria-hidden="true" { (sender.chars().next().unwrap_or(' ').to_uppercase()) }
                            }
                            span.sender { (sender) }
                        }
                    }
                    section.card { h1 { (title) } (body) }
                    @if let Some(look) = look { (below(look)) }
                }
            }
        }
    }
}

/// What the sender says of itself below the card.
fn below(look: &Look) -> Markup {
    let lines = [look.footer.as_deref(), look.postal_address.as_deref()];
    if lines.iter().all(Option::is_none) && look.website_url.is_none() {
        return html! {};
    }
    html! {
        footer {
            @for text in lines.into_iter().flatten() { p { (text) } }
            @if let Some(website) = &look.website_url { p { a href=(website) rel="noopener noreferrer" { (website) } } }
        }
    }
}

/// A page that only tells something.
pub(super) fn notice(words: &Words, text: &str) -> Markup {
    frame(words, None, words.sorry, html! { p { (text) } })
}

fn channel(words: &Words, channel: Channel) -> &'static str {
    match channel {
        Channel::Email => words.email,
        Channel::Sms => words.sms,
        Channel::Whatsapp => "WhatsApp",
        Channel::Telegram => "Telegram",
        Channel::Voice => words.voice,
        Channel::Webhook => "",
    }
}

/// The words of a topic: ours for those everybody has, the tenant's for its own.
fn title<'a>(words: &'a Words, topic: &'a TopicView) -> &'a str {
    match topic.name.as_str() {
        "invoice_delivery" => words.invoice_delivery,
        "compliance_reminders" => words.compliance_reminders,
        "payment_reminders" => words.payment_reminders,
        "general_updates" => words.general_updates,
        _ => &topic.title,
    }
}

/// Unsubscribe. `is_done`: a button was just pressed.
pub(super) fn unsubscribe(standing: &Standing, words: &Words, is_done: bool) -> Markup {
    let place = html! { strong { (channel(words, standing.channel)) " " (standing.address) } };
    let heading = match (standing.is_off, standing.is_topic_off, is_done) {
        (true, ..) => words.unsubscribed,
        (_, true, _) => words.topic_ended,
        (_, _, true) => words.subscribed_again,
        _ => words.unsubscribe,
    };
    frame(
        words,
        Some(standing),
        heading,
        html! {
            @if standing.is_off {
                p { (words.no_more) " " (place) }
                p.small { (words.still_transactional) }
                form method="post" { button.quiet name="do" value="again" { (words.subscribe_again) } }
            } @else if standing.is_topic_off {
                p { (words.no_more_topic) " " @if let Some(topic) = &standing.topic { strong { (title(words, topic)) } } }
                form method="post" {
                    button name="do" value="all" { (words.end_all) }
                    button.quiet name="do" value="again" { (words.subscribe_again) }
                }
            } @else if is_done {
                p { (words.comes_again) " " (place) }
            } @else {
                p { (words.question) " " (place) }
                form method="post" {
                    button name="do" value="all" { (words.end_all) }
                    @if let (Some(topic), true) = (&standing.topic, standing.has_contact) {
                        button.quiet name="do" value="topic" { (words.end_topic) ": " (title(words, topic)) }
                    }
                }
            }
        },
    )
}

/// Preferences. `is_kept`: they were just saved.
pub(super) fn preferences(standing: &Standing, words: &Words, is_kept: bool) -> Markup {
    let time = |minutes: Option<u16>| minutes.map(clock::show).unwrap_or_default();
    let quiet = standing.quiet_hours;
    frame(
        words,
        Some(standing),
        words.preferences,
        html! {
            @if is_kept { p.done role="status" { (words.kept) } }
            form method="post" {
                fieldset {
                    legend { (words.where_to) }
                    @for one in &standing.channels {
                        label.row {
                            input type="checkbox" name="channel" value=(one.channel) checked[one.is_on];
                            span { (channel(words, one.channel)) " " small { (one.address) } }
                        }
                    }
                }
                @if standing.has_contact {
                    fieldset {
                        legend { (words.what_about) }
                        @for topic in &standing.topics {
                            div.topic {
                                label.row {
                                    input type="checkbox" name="topic" value=(topic.name) checked[!standing.topics_off.contains(&topic.name)];
                                    span { (title(words, topic)) }
                                }
                                label.via {
                                    span.hidden { (words.via) " " (title(words, topic)) }
                                    select name=(format!("via:{}", topic.name)) {
                                        option value="" { (words.any_channel) }
                                        @for one in &standing.channels {
                                            option value=(one.channel) selected[standing.preferred.get(&topic.name) == Some(&one.channel)] {
                                                (channel(words, one.channel))
                                            }
                                        }
                                    }
                                }
                            }
                        }
                    }
                    fieldset {
                        legend { (words.quiet_hours) }
                        p.small { (words.quiet_explained) }
                        div.times {
                            label { (words.from) " " input type="time" name="quiet_from" value=(time(quiet.map(|quiet| quiet.from))); }
                            label { (words.until) " " input type="time" name="quiet_until" value=(time(quiet.map(|quiet| quiet.until))); }
                        }
                    }
                }
                button { (words.save) }
            }
        },
    )
}

/// The confirmation of a double opt-in. `is_done`: the button was just pressed.
pub(super) fn confirm(standing: &Standing, words: &Words, is_done: bool) -> Markup {
    let place = html! { strong { (channel(words, standing.channel)) " " (standing.address) } };
    let heading = if is_done { words.confirmed } else { words.please_confirm };
    frame(
        words,
        Some(standing),
        heading,
        html! {
            @if is_done {
                p { (words.comes_again) " " (place) }
            } @else {
                p { (words.confirm_question) " " (place) }
                form method="post" { button { (words.confirm_button) } }
                p.small { (words.confirm_ignore) }
            }
        },
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{super::words, *};

    fn standing(is_off: bool) -> Standing {
        Standing {
            tenant: "Acme <Tickets>".to_owned(),
            look: Look::default(),
            language: None,
            channel: Channel::Email,
            address: "a\u{2022}\u{2022}\u{2022}@example.com".to_owned(),
            topic: None,
            is_topic_off: false,
            is_off,
            channels: Vec::new(),
            topics: Vec::new(),
            preferred: BTreeMap::new(),
            topics_off: Vec::new(),
            quiet_hours: None,
            has_contact: false,
        }
    }

    #[test]
    fn a_page_has_a_form_no_script_and_nothing_unescaped() {
        for tag in ["en", "de", "fr", "es", "hi"] {
            let words = words::choose(Some(tag), None, None);
            let page = unsubscribe(&standing(false), words, false).into_string();
            assert!(page.contains("method=\"post\"") && page.contains(&format!("lang=\"{tag}\"")), "{page}");
            assert!(!page.contains("<script") && !page.contains("<Tickets>"), "{page}");
            assert!(unsubscribe(&standing(true), words, true).into_string().contains(words.unsubscribed));
        }
    }

    #[test]
    fn a_page_wears_the_senders_brand() {
        let words = words::choose(None, None, Some("de"));
        let look = Look {
            logo: Some("https://acme.example/logo.png".to_owned()),
            style: Some("/hosted/ten_1.css?v=1".to_owned()),
            footer: Some("Acme <Ltd>".to_owned()),
            ..Look::default()
        };
        let page = unsubscribe(&Standing { look, ..standing(false) }, words, false).into_string();
        assert!(page.contains("lang=\"de\""), "who says nothing gets the sender's language");
        assert!(
            page.contains("src=\"https://acme.example/logo.png\"") && page.contains("href=\"/hosted/ten_1.css?v=1\""),
            "{page}"
        );
        assert!(page.contains("Acme &lt;Ltd&gt;") && !page.contains("class=\"mark\""), "{page}");
        assert!(!unsubscribe(&standing(false), words, false).into_string().contains("<footer"));
    }
}
