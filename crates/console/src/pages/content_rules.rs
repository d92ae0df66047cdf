//! What messages must not say, where their links may lead, and what each has to name: a tenant's content rules.

use axum::extract::Path;
use engine::{
    content_rules::{self, BlockedWords, ContentRuleView, LinkRule, NewContentRule, RequiredFooter},
    once::Repeat,
};
use maud::html;
use model::{Channel, ContentRuleId, Purpose};
use serde_json::json;

use super::{bills::lines, channels, settings};
use crate::{
    cx::{Answer, Cx, Posted},
    form::{self, Faults, Form},
    format,
    parts::{
        self, Control, Dialog, Field, Tone,
        field::check,
        icon, link_button,
        table::{self, Row, Table, cell},
    },
    shell::{self, Section},
};

const PATH: &str = "/console/settings/content";
const ABOVE: &[(&str, &str)] = &[("/console/settings", "Settings"), (PATH, "Content rules")];
const NAMES: [&str; 6] = ["name", "blocked_words/words", "links", "required_footer/text", "channels", "purpose"];

/// Lists the rules.
pub(crate) async fn list(cx: Cx) -> Answer {
    cx.tenant()?;
    let rules = content_rules::list(cx.engine(), &cx.caller).await?.data;
    let may = cx.may("content-rules:write");
    let new = || link_button(&format!("{PATH}/new"), "primary", Some("plus"), "Add rule");
    let row = |rule: &ContentRuleView| Row {
        href: Some(format!("{PATH}/{}", rule.id)),
        cells: vec![
            cell(html! { span."strong wide-text" dir="auto" { (rule.name) } }),
            cell(html! { span.break dir="auto" { (says(rule)) } }),
            cell(html! { (about(rule)) }),
            cell(
                html! { @if rule.enabled { (parts::badge(Tone::Good, "Applied")) } @else { (parts::badge(Tone::Plain, "Off")) } },
            ),
        ],
    };
    let body = html! {
        section.card aria-label="Content rules" {
            @if rules.is_empty() {
                (parts::empty("shield", "No content rules", "A rule refuses messages that use certain words, lead to other people's sites, or lack a text you have to name.", may.then(new)))
            } @else {
                (table::table(Table { caption: "Content rules, oldest first", columns: &["Rule", "Says", "For", "State"], rows: rules.iter().map(row).collect() }))
            }
        }
    };
    Ok(cx.page(shell::Page {
        tabs: Some(settings::tabs(&cx, PATH)),
        actions: (may && !rules.is_empty()).then(new),
        lead: Some(
            html! { "What your messages may say. A message that breaks a rule is refused before it is accepted." },
        ),
        ..shell::Page::new("Content rules", Section::Settings, body)
    }))
}

/// What a rule says, in a line.
fn says(rule: &ContentRuleView) -> String {
    if let Some(words) = &rule.blocked_words {
        return format!("Never: {}", words.words.join(", "));
    }
    if let Some(links) = &rule.links {
        return if links.allowed_domains.is_empty() {
            format!("No links to {}", links.blocked_domains.join(", "))
        } else {
            format!("Links to {} only", links.allowed_domains.join(", "))
        };
    }
    rule.required_footer.as_ref().map_or_else(String::new, |footer| format!("Always: {}", footer.text))
}

/// Which messages a rule speaks of.
fn about(rule: &ContentRuleView) -> String {
    let over = if rule.channels.is_empty() {
        "Every channel".to_owned()
    } else {
        rule.channels.iter().map(|channel| format::channel(*channel)).collect::<Vec<_>>().join(", ")
    };
    rule.purpose.map_or_else(|| over.clone(), |purpose| format!("{over}, {} only", purpose.as_str()))
}

/// Shows the form of a new rule.
pub(crate) async fn new(cx: Cx) -> Answer {
    cx.tenant()?;
    cx.caller.need("content-rules:write")?;
    let form = Form::of([("kind", "words"), ("enabled", "true")]);
    Ok(cx.page(page(&cx, None, &form, &Faults::default())))
}

fn stored(rule: &ContentRuleView) -> Form {
    let mut form = Form::of([
        ("name", rule.name.clone()),
        ("purpose", rule.purpose.map(|purpose| purpose.as_str().to_owned()).unwrap_or_default()),
    ]);
    let kind = if let Some(words) = &rule.blocked_words {
        form.set("blocked_words/words", words.words.join("\n"));
        if words.anywhere {
            form.set("anywhere", "true");
        }
        "words"
    } else if let Some(links) = &rule.links {
        let is_allowed = !links.allowed_domains.is_empty();
        form.set("links", if is_allowed { &links.allowed_domains } else { &links.blocked_domains }.join("\n"));
        if is_allowed { "allowed" } else { "blocked" }
    } else {
        form.set("required_footer/text", rule.required_footer.as_ref().map_or("", |footer| &footer.text));
        "footer"
    };
    form.set("kind", kind);
    for channel in &rule.channels {
        form.set("channels", channel.as_str());
    }
    if rule.enabled {
        form.set("enabled", "true");
    }
    form
}

fn page<'a>(cx: &Cx, rule: Option<&'a ContentRuleView>, form: &Form, faults: &Faults) -> shell::Page<'a> {
    let may = cx.may("content-rules:write");
    let path = rule.map_or_else(|| PATH.to_owned(), |rule| format!("{PATH}/{}", rule.id));
    let kinds = [
        ("words", "Words that must not be said"),
        ("allowed", "Links may lead only to"),
        ("blocked", "Links must not lead to"),
        ("footer", "A text that must be there"),
    ];
    let purposes = vec![
        ("", "Marketing and transactional".to_owned()),
        ("marketing", "Marketing only".to_owned()),
        ("transactional", "Transactional only".to_owned()),
    ];
    let body = html! {
        section.card aria-label="Rule" {
            form method="post" action=(path) data-guard {
                (form::token(cx.csrf()))
                fieldset disabled[!may] { div.body { div.form {
                    (shell::form_faults(faults, &NAMES))
                    (Field::text("name", "Name").required().example("No gambling").help("Whoever is refused reads it.").draw(form, faults))
                    (Field::text("kind", "What it is about").plain().with(Control::Choice(kinds.map(|(word, text)| (word, text.to_owned())).to_vec())).draw(form, faults))
                    div.stack data-when="kind=words" {
                        (Field::text("blocked_words/words", "Words and phrases").plain().with(Control::Area { rows: 5 }).example("casino\nget rich quick").help("One on each line. Capital letters, blanks and look-alike letters make no difference.").draw(form, faults))
                        (check("anywhere", "true", form.is_on("anywhere"), "Also inside of other words", ""))
                    }
                    div data-when="kind=allowed|blocked" {
                        (Field::text("links", "Domains").plain().with(Control::Area { rows: 4 }).example("acme.example").help("One on each line, with everything below it. Our own pages are always allowed.").draw(form, faults))
                    }
                    div data-when="kind=footer" {
                        (Field::text("required_footer/text", "Text").plain().with(Control::Area { rows: 3 }).example("Acme Ltd, 1 High Street, Springfield").draw(form, faults))
                    }
                    fieldset { legend { "Only over" } div."checks inline" {
                        @for channel in channels::of_people() { (check("channels", channel.as_str(), form.all("channels").any(|one| one == channel.as_str()), format::channel(channel), "")) }
                    } @if let Some(fault) = faults.at("channels") { p.error { (icon("alert")) span { (fault) } } } p."muted small" { "Every channel when none is chosen." } }
                    (Field::text("purpose", "Messages").plain().with(Control::Choice(purposes)).draw(form, faults))
                    (check("enabled", "true", form.is_on("enabled"), "It is applied", "Without this it is kept and refuses nothing."))
                } } }
                @if may { footer {
                    @if rule.is_some() { button."button danger" type="button" data-opens="delete-rule" { (icon("trash")) "Delete" } }
                    div.end { (link_button(PATH, "", None, "Cancel")) button."button primary" type="submit" { @if rule.is_some() { "Save" } @else { "Add rule" } } }
                } }
            }
        }
        @if rule.is_some() && may {
            (parts::dialog(&Dialog { id: "delete-rule", title: "Delete this rule?", action: &format!("{path}/delete"), csrf: cx.csrf(), body: html! { p.muted { "Messages it would have refused are accepted from now on." } }, yes: "Delete it", is_dangerous: true }))
        }
    };
    let title = rule.map_or("Add content rule", |rule| &rule.name);
    shell::Page { above: ABOVE, is_narrow: true, ..shell::Page::new(title, Section::Settings, body) }
}

/// Reads the form.
fn read(form: &Form, faults: &mut Faults) -> NewContentRule {
    let texts = |name: &str| lines(form.text(name));
    let kind = form.text("kind");
    let links = match kind {
        "allowed" => Some(LinkRule { allowed_domains: texts("links"), ..LinkRule::default() }),
        "blocked" => Some(LinkRule { blocked_domains: texts("links"), ..LinkRule::default() }),
        _ => None,
    };
    if links.is_some() && texts("links").is_empty() {
        faults.add("links", "name at least one domain, such as acme.example");
    }
    NewContentRule {
        name: form.text("name").to_owned(),
        blocked_words: (kind == "words")
            .then(|| BlockedWords { words: texts("blocked_words/words"), anywhere: form.is_on("anywhere") }),
        links,
        required_footer: (kind == "footer")
            .then(|| RequiredFooter { text: form.text("required_footer/text").replace("\r\n", "\n") }),
        channels: form.all("channels").filter_map(|word| word.parse::<Channel>().ok()).collect(),
        purpose: match form.text("purpose") {
            "marketing" => Some(Purpose::Marketing),
            "transactional" => Some(Purpose::Transactional),
            _ => None,
        },
        enabled: form.is_on("enabled"),
    }
}

/// Makes a rule.
pub(crate) async fn create(Posted { cx, form }: Posted) -> Answer {
    cx.tenant()?;
    cx.caller.need("content-rules:write")?;
    let mut faults = Faults::default();
    let new = read(&form, &mut faults);
    if faults.is_empty() {
        match content_rules::create(cx.engine(), &cx.caller, &Repeat::NONE, new).await {
            Ok(_) => return Ok(cx.done(PATH, "The rule was added. It counts from the next message on.")),
            Err(error) if matches!(error.kind.status(), 409 | 422) => faults = Faults::of(&error),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(cx.again(page(&cx, None, &form, &faults)))
}

/// Shows a rule's form.
pub(crate) async fn show(cx: Cx, Path(id): Path<String>) -> Answer {
    cx.tenant()?;
    let rule = content_rules::get(cx.engine(), &cx.caller, super::id(&id)?).await?;
    Ok(cx.page(page(&cx, Some(&rule), &stored(&rule), &Faults::default())))
}

/// Changes a rule.
pub(crate) async fn update(Path(id): Path<String>, Posted { cx, form }: Posted) -> Answer {
    cx.tenant()?;
    cx.caller.need("content-rules:write")?;
    let id: ContentRuleId = super::id(&id)?;
    let mut faults = Faults::default();
    let new = read(&form, &mut faults);
    if faults.is_empty() {
        let change = json!({
            "name": new.name, "blocked_words": new.blocked_words, "links": new.links, "required_footer": new.required_footer,
            "channels": new.channels, "purpose": new.purpose, "enabled": new.enabled,
        });
        match content_rules::patch(cx.engine(), &cx.caller, id, change.to_string().as_bytes()).await {
            Ok(_) => return Ok(cx.done(PATH, "The rule was changed.")),
            Err(error) if matches!(error.kind.status(), 409 | 422) => faults = Faults::of(&error),
            Err(error) => return Err(error.into()),
        }
    }
    let rule = content_rules::get(cx.engine(), &cx.caller, id).await?;
    Ok(cx.again(page(&cx, Some(&rule), &form, &faults)))
}

/// Deletes a rule.
pub(crate) async fn delete(Path(id): Path<String>, Posted { cx, .. }: Posted) -> Answer {
    cx.tenant()?;
    content_rules::delete(cx.engine(), &cx.caller, super::id(&id)?).await?;
    Ok(cx.done(PATH, "The rule was deleted."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_says_one_thing_whatever_else_was_typed() {
        let form = Form::of([
            ("name", "Ours"),
            ("kind", "allowed"),
            ("links", "acme.example\r\n\r\n tickets.example "),
            ("blocked_words/words", "casino"),
            ("channels", "email"),
            ("enabled", "true"),
        ]);
        let mut faults = Faults::default();
        let new = read(&form, &mut faults);
        assert!(faults.is_empty() && new.blocked_words.is_none() && new.required_footer.is_none());
        assert_eq!(new.links.unwrap().allowed_domains, ["acme.example", "tickets.example"]);
        assert_eq!((new.channels, new.purpose, new.enabled), (vec![Channel::Email], None, true));
        read(&form.with("links", " "), &mut faults);
        assert!(faults.at("links").is_some());
    }
}
