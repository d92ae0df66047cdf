//! What changed between two versions of a template: line by line, language by language.

use std::{collections::BTreeSet, fmt::Write as _};

use axum::extract::Path;
use engine::templates::{self, VersionView};
use maud::{Markup, html};
use model::TemplateId;
use serde::Deserialize;
use serde_json::{Map, Value};
use similar::{ChangeTag, TextDiff};

use super::{PATH, editor::VERSIONS};
use crate::{
    cx::{Answer, Cx, Query},
    form::{Faults, Form},
    pages,
    parts::{self, Control, Field, link_button},
    shell::{self, Section},
};

/// Lines around a change that are shown with it.
const AROUND: usize = 3;

#[derive(Debug, Default, Deserialize)]
pub(crate) struct Wanted {
    from: Option<u32>,
    to: Option<u32>,
}

/// Shows what changed.
pub(crate) async fn show(cx: Cx, Path(id): Path<String>, Query(wanted): Query<Wanted>) -> Answer {
    cx.tenant()?;
    let id: TemplateId = pages::id(&id)?;
    let template = templates::get(cx.engine(), &cx.caller, id).await?;
    let versions = templates::versions(cx.engine(), &cx.caller, id, Some(VERSIONS), None).await?.data;
    let to = wanted.to.unwrap_or(template.newest_version);
    let from = wanted.from.or(template.published_version).unwrap_or(to);
    let find = |number: u32| versions.iter().find(|version| version.version == number).ok_or_else(pages::no_page);
    let (before, after) = (find(from)?, find(to)?);
    let path = format!("{PATH}/{id}");
    let body = html! {
        section.card aria-label="Versions" { (chooser(&path, &versions, from, to)) }
        (changes(before, after))
    };
    Ok(cx.page(shell::Page {
        above: &[(PATH, "Templates"), (&path, &template.name)],
        actions: Some(link_button(&path, "", None, "To the template")),
        ..shell::Page::new("What changed", Section::Templates, body)
    }))
}

fn chooser(path: &str, versions: &[VersionView], from: u32, to: u32) -> Markup {
    let words: Vec<String> = versions.iter().map(|version| version.version.to_string()).collect();
    let choices = || words.iter().map(|word| (word.as_str(), format!("Version {word}"))).collect();
    let form = Form::of([("from", from.to_string()), ("to", to.to_string())]);
    let draw =
        |name, label| Field::text(name, label).plain().with(Control::Choice(choices())).draw(&form, &Faults::default());
    html! {
        form.body-inner method="get" action={ (path) "/compare" } {
            div.fields-2 { (draw("from", "From")) (draw("to", "To")) }
            div.row { button.button type="submit" { "Compare" } }
        }
    }
}

/// What a version says in a language, by the names of its parts.
fn says(version: &VersionView, locale: &str) -> Map<String, Value> {
    version.variants.get(locale).and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default()
}

/// A part as lines: a text as it is, anything else as JSON.
fn lines(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => serde_json::to_string_pretty(other).unwrap_or_default(),
    }
}

/// The variables of a version, one a line.
fn variables(version: &VersionView) -> String {
    let mut text = String::new();
    for variable in &version.variables {
        let _ = writeln!(text, "{}", serde_json::to_string(variable).unwrap_or_default());
    }
    text
}

fn changes(before: &VersionView, after: &VersionView) -> Markup {
    let locales: BTreeSet<&str> = before.variants.keys().chain(after.variants.keys()).map(String::as_str).collect();
    let mut parts_changed: Vec<(String, String, String)> = Vec::new();
    for locale in locales {
        let (old, new) = (says(before, locale), says(after, locale));
        let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
        for name in names {
            let (old, new) = (lines(old.get(name)), lines(new.get(name)));
            if old != new {
                parts_changed.push((format!("{} ({locale})", crate::format::words(name)), old, new));
            }
        }
    }
    let (old, new) = (variables(before), variables(after));
    if old != new {
        parts_changed.push(("Placeholders".to_owned(), old, new));
    }
    html! {
        @if parts_changed.is_empty() {
            section.card aria-label="Changes" { (parts::empty("check", "Nothing changed", "Both versions say the same.", None)) }
        }
        @for (name, old, new) in &parts_changed { (parts::card_flush(name, None, diff(name, old, new))) }
    }
}

/// Two texts, line by line; what is the same far from any change is left out.
fn diff(name: &str, old: &str, new: &str) -> Markup {
    let diff = TextDiff::from_lines(old, new);
    let groups = diff.grouped_ops(AROUND);
    html! {
        div.table-wrap {
            table.diff {
                caption.visually-hidden { (name) }
                thead.visually-hidden { tr { th scope="col" { "Before" } th scope="col" { "After" } th scope="col" { "Line" } } }
                @for group in &groups {
                    tbody {
                        @for change in group.iter().flat_map(|op| diff.iter_changes(op)) {
                            @let (class, word, sign) = match change.tag() { ChangeTag::Equal => ("", "", " "), ChangeTag::Delete => ("gone", "Removed: ", "−"), ChangeTag::Insert => ("added", "Added: ", "+") };
                            tr class=(class) {
                                td.num { @if let Some(at) = change.old_index() { (at + 1) } }
                                td.num { @if let Some(at) = change.new_index() { (at + 1) } }
                                td { span.sign aria-hidden="true" { (sign) } span.visually-hidden { (word) } code dir="auto" { (change.value().trim_end_matches(['\n', '\r'])) } }
                            }
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_the_same_far_away_is_left_out() {
        let old: String = (0..20).map(|n| format!("line {n}\n")).collect();
        let new = old.replace("line 10\n", "line ten\n<script>\n");
        let text = diff("Text", &old, &new).into_string();
        assert_eq!((text.matches("class=\"gone\"").count(), text.matches("class=\"added\"").count()), (1, 2));
        assert!(
            text.contains("line 7<")
                && text.contains("line 13<")
                && !text.contains("line 6<")
                && !text.contains("line 14<"),
            "{text}"
        );
        assert!(text.contains("&lt;script&gt;"), "{text}");
    }
}
