//! A WhatsApp template to be made at the provider, with the bubble it will be: whoever reviews it there sees the same.

use axum::extract::Path;
use engine::{
    accounts,
    once::Repeat,
    whatsapp_templates::{self, NewWhatsappTemplate},
};
use maud::{Markup, html};
use model::AccountId;
use serde_json::{Value, json};

use crate::{
    cx::{Answer, Cx, Posted, html as answer},
    form::{self, Faults, Form},
    pages,
    parts::{Control, Field, link_button},
    shell::{self, Section},
};

const SENDERS: &str = "/console/senders";
const NAMES: [&str; 9] =
    ["name", "language", "category", "header", "body", "examples", "footer", "buttons", "components"];

/// Shows the form.
pub(crate) async fn new(cx: Cx, Path(id): Path<String>) -> Answer {
    cx.tenant()?;
    cx.caller.need("accounts:write")?;
    let id: AccountId = pages::id(&id)?;
    let account = accounts::get(cx.engine().parts(), &cx.caller, id).await?;
    let form = Form::of([("language", "en"), ("category", "UTILITY")]);
    Ok(cx.page(page(&cx, id, &account.name, &form, &Faults::default())))
}

fn page<'a>(cx: &Cx, id: AccountId, account: &str, form: &Form, faults: &Faults) -> shell::Page<'a> {
    let path = format!("{SENDERS}/whatsapp/{id}/new");
    let categories = [
        ("UTILITY", "Utility: about something they bought or asked for"),
        ("MARKETING", "Marketing"),
        ("AUTHENTICATION", "Authentication: codes"),
    ];
    let categories = categories.map(|(word, text)| (word, text.to_owned())).to_vec();
    let body = html! {
        form method="post" action=(path) hx-post={ (path) "/preview" } hx-trigger="input delay:350ms, change delay:100ms" hx-target="#shown" data-guard {
            (form::token(cx.csrf()))
            div."columns even" {
                section.card aria-label="Template" {
                    div.body {
                        div.form {
                            (shell::form_faults(faults, &NAMES))
                            (Field::text("name", "Name").required().example("ticket_ready").help("Lower-case letters, digits and _. Messages refer to it by this.").draw(form, faults))
                            div.fields-2 {
                                (Field::text("language", "Language").required().example("en_US").draw(form, faults))
                                (Field::text("category", "Category").required().with(Control::Choice(categories)).draw(form, faults))
                            }
                            (Field::text("header", "Heading").draw(form, faults))
                            (Field::text("body", "Text").required().with(Control::Area { rows: 6 }).example("Hello {{1}}, your ticket for {{2}} is ready.").help("Values are {{1}}, {{2}} and so on.").draw(form, faults))
                            (Field::text("examples", "Example values").with(Control::Area { rows: 3 }).help("One a line, in the order of {{1}}, {{2}}. The reviewer sees the text with them.").draw(form, faults))
                            (Field::text("footer", "Small print").draw(form, faults))
                            (Field::text("buttons", "Buttons").with(Control::Area { rows: 3 }).example("Show my ticket | https://acme.example/tickets\nCall us | +12025550123\nStop").help("One a line: words, and after a | where they lead. Without it, the words are sent back as an answer.").draw(form, faults))
                        }
                    }
                    footer { div.end { (link_button(SENDERS, "", None, "Cancel")) button."button primary" type="submit" { "Send to review" } } }
                }
                div."stack sticky" {
                    section.card aria-label="Preview" { header { h2 { "Preview" } } div.body { div #shown aria-live="polite" { (bubble(form)) } } }
                }
            }
        }
    };
    shell::Page {
        above: &[(SENDERS, "Senders and domains")],
        lead: Some(
            html! { "Through " span dir="auto" { (account) } ". WhatsApp reviews it, mostly within minutes; its state is asked for until it is known." },
        ),
        ..shell::Page::new("New WhatsApp template", Section::Channels, body)
    }
}

/// The lines of a field that say something.
fn lines<'a>(form: &'a Form, name: &str) -> Vec<&'a str> {
    form.text(name).lines().map(str::trim).filter(|line| !line.is_empty()).collect()
}

/// What the form says, in Meta's words.
fn components(form: &Form) -> Vec<Value> {
    let mut components = Vec::new();
    if let Some(header) = form.filled("header") {
        components.push(json!({"type": "HEADER", "format": "TEXT", "text": header}));
    }
    if let Some(text) = form.filled("body") {
        let mut body = json!({"type": "BODY", "text": text.replace("\r\n", "\n")});
        let examples = lines(form, "examples");
        if !examples.is_empty() {
            body["example"] = json!({"body_text": [examples]});
        }
        components.push(body);
    }
    if let Some(footer) = form.filled("footer") {
        components.push(json!({"type": "FOOTER", "text": footer}));
    }
    let buttons: Vec<Value> = lines(form, "buttons").into_iter().map(button).collect();
    if !buttons.is_empty() {
        components.push(json!({"type": "BUTTONS", "buttons": buttons}));
    }
    components
}

fn button(line: &str) -> Value {
    match line.split_once('|').map(|(words, to)| (words.trim(), to.trim())) {
        None => json!({"type": "QUICK_REPLY", "text": line}),
        Some((words, to)) if to.starts_with('+') => json!({"type": "PHONE_NUMBER", "text": words, "phone_number": to}),
        Some((words, to)) => json!({"type": "URL", "text": words, "url": to}),
    }
}

/// The text with its example values.
fn filled(form: &Form) -> String {
    let text = form.text("body").replace("\r\n", "\n");
    lines(form, "examples")
        .iter()
        .enumerate()
        .fold(text, |text, (at, value)| text.replace(&format!("{{{{{}}}}}", at + 1), value))
}

fn bubble(form: &Form) -> Markup {
    html! {
        @if form.filled("body").is_none() { p.muted { "Write something, and this shows what arrives." } }
        @else {
            div.phone {
                div."bubble whatsapp" dir="auto" {
                    @if let Some(header) = form.filled("header") { strong { (header) } "\n" }
                    (marked(&filled(form)))
                    @if let Some(footer) = form.filled("footer") { "\n" span."small muted" { (footer) } }
                }
                @for line in lines(form, "buttons") { span.chat-button dir="auto" { (line.split_once('|').map_or(line, |(words, _)| words.trim())) } }
            }
        }
    }
}

/// Longest text whose marks are drawn, in bytes: more than WhatsApp takes.
const DRAWN_MAX: usize = 4_096;

/// A text with the marks WhatsApp draws: `*bold*`, `_slanted_` and `~struck out~`, where they stand around words of one line.
fn marked(text: &str) -> Markup {
    let (mut pieces, mut rest) = (Vec::new(), text);
    while let Some((mark, before, inner, after)) = first_marked(rest).filter(|_| text.len() <= DRAWN_MAX) {
        pieces.push((mark, before, inner));
        rest = after;
    }
    html! {
        @for (mark, before, inner) in pieces {
            (before)
            // No mark is inside of itself, so this goes no deeper than there are marks.
            @match mark { '*' => b { (marked(inner)) }, '_' => em { (marked(inner)) }, _ => s { (marked(inner)) } }
        }
        (rest)
    }
}

/// The first words that are marked: by what, what stands before, the words, and what comes after.
fn first_marked(text: &str) -> Option<(char, &str, &str, &str)> {
    let is_word = |letter: Option<char>| letter.is_some_and(char::is_alphanumeric);
    text.char_indices().filter(|(_, mark)| matches!(mark, '*' | '_' | '~')).find_map(|(at, mark)| {
        let (before, after) = (&text[..at], &text[at + 1..]);
        let (inner, rest) = after.split_once(mark)?;
        let is_around = !inner.is_empty() && !inner.contains('\n') && inner.trim() == inner;
        let stands_apart = !is_word(before.chars().next_back()) && !is_word(rest.chars().next());
        (is_around && stands_apart).then_some((mark, before, inner, rest))
    })
}

/// What the reviewer would send back at once: values without an example, and values where this form has no place for one.
fn check(form: &Form) -> Faults {
    let mut faults = Faults::default();
    let text = form.text("body");
    let values = (1..).take_while(|number| text.contains(&format!("{{{{{number}}}}}"))).count();
    let examples = lines(form, "examples").len();
    if values > 0 && examples != values {
        faults.add("examples", format!("one line for each of the {values} values of the text"));
    } else if values == 0 && text.contains("{{") {
        faults.add("body", "values are numbered from {{1}} on");
    }
    if form.text("header").contains("{{") {
        faults.add("header", "values stand in the text only");
    }
    faults
}

/// Shows the bubble.
pub(crate) async fn preview(Posted { cx, form }: Posted) -> Answer {
    cx.tenant()?;
    cx.caller.need("accounts:write")?;
    Ok(answer(bubble(&form)))
}

/// Hands it to the provider.
pub(crate) async fn create(Path(id): Path<String>, Posted { cx, form }: Posted) -> Answer {
    cx.tenant()?;
    cx.caller.need("accounts:write")?;
    let id: AccountId = pages::id(&id)?;
    let faults = check(&form);
    if !faults.is_empty() {
        let account = accounts::get(cx.engine().parts(), &cx.caller, id).await?;
        return Ok(cx.again(page(&cx, id, &account.name, &form, &faults)));
    }
    let new = NewWhatsappTemplate {
        name: form.text("name").to_owned(),
        language: form.text("language").to_owned(),
        category: form.text("category").to_owned(),
        components: components(&form),
    };
    match whatsapp_templates::create(cx.engine().parts(), &cx.caller, &Repeat::NONE, id, new).await {
        Ok(_) => Ok(cx.done(SENDERS, "The template is in review. Its state appears here.")),
        Err(error) if matches!(error.kind.status(), 409 | 422 | 502) => {
            let account = accounts::get(cx.engine().parts(), &cx.caller, id).await?;
            Ok(cx.again(page(&cx, id, &account.name, &form, &Faults::of(&error))))
        }
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_becomes_what_the_provider_reviews() {
        let form = Form::of([
            ("body", "Hello {{1}}, seat {{2}}."),
            ("examples", "Ada\r\n7B"),
            ("footer", "Acme"),
            ("buttons", "Show | https://acme.example\n\nCall | +12025550123\nStop"),
        ]);
        let expected = json!([
            {"type": "BODY", "text": "Hello {{1}}, seat {{2}}.", "example": {"body_text": [["Ada", "7B"]]}},
            {"type": "FOOTER", "text": "Acme"},
            {"type": "BUTTONS", "buttons": [
                {"type": "URL", "text": "Show", "url": "https://acme.example"},
                {"type": "PHONE_NUMBER", "text": "Call", "phone_number": "+12025550123"},
                {"type": "QUICK_REPLY", "text": "Stop"},
            ]},
        ]);
        assert_eq!(Value::from(components(&form)), expected);
        assert!(bubble(&form).into_string().contains("Hello Ada, seat 7B."));
    }

    #[test]
    fn marks_are_drawn_where_the_phone_draws_them() {
        let check = |text: &str, expected: &str| assert_eq!(marked(text).into_string(), expected, "{text}");
        check("Hello *Ada*, _new_ ~old~!", "Hello <b>Ada</b>, <em>new</em> <s>old</s>!");
        check("*bold _and slanted_*", "<b>bold <em>and slanted</em></b>");
        check("2 * 3 * 4, snake_case_name, *open\nnext*", "2 * 3 * 4, snake_case_name, *open\nnext*");
        check("<b>*x*</b>", "&lt;b&gt;<b>x</b>&lt;/b&gt;");
        check("*", "*");
    }

    #[test]
    fn what_would_come_back_at_once_is_told_before() {
        let form = |body: &str, examples: &str, header: &str| {
            check(&Form::of([("body", body), ("examples", examples), ("header", header)]))
        };
        assert!(form("Hello {{1}}, {{2}}", "Ada\n7B", "").is_empty() && form("Hello", "", "Doors").is_empty());
        assert!(form("Hello {{1}}, {{2}}", "Ada", "").at("examples").is_some());
        assert!(form("Hello {{name}}", "", "").at("body").is_some());
        assert!(form("Hello", "", "To {{1}}").at("header").is_some());
    }
}
