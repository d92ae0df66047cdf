//! The markup of the hosted pages: functions of what is shown and the words for it.

use engine::consent::{hours::clock, pages::Standing, topics::TopicView};
use maud::{DOCTYPE, Markup, html};
use model::Channel;

use super::words::Words;

/// The frame of every page: the sender's name above one card.
fn frame(words: &Words, sender: Option<&str>, title: &str, body: Markup) -> Markup {
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
            }
            body {
                main {
                    @if let Some(sender) = sender {
                        header {
                            span.mark aria-hidden="true" { (sender.chars().next().unwrap_or(' ').to_uppercase()) }
                            span.sender { (sender) }
                        }
                    }
                    section.card { h1 { (title) } (body) }
                }
            }
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
        Some(&standing.tenant),
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
        Some(&standing.tenant),
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
        Some(&standing.tenant),
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
            let words = words::choose(Some(tag), None);
            let page = unsubscribe(&standing(false), words, false).into_string();
            assert!(page.contains("method=\"post\"") && page.contains(&format!("lang=\"{tag}\"")), "{page}");
            assert!(!page.contains("<script") && !page.contains("<Tickets>"), "{page}");
            assert!(unsubscribe(&standing(true), words, true).into_string().contains(words.unsubscribed));
        }
    }
}
