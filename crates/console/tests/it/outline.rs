//! What a person reads on each page, as text: headings, links, buttons, fields and tables, without the markup around them. The snapshots beside this file are read in a review.

use std::collections::BTreeMap;

use serde_json::json;
use testkit::{Stage, both};

use crate::{
    billing::operator,
    pages::{OPERATOR_PAGES, PAGES},
    visitor::Visitor,
};

/// Elements that begin a line.
const LINES: &[&str] = &[
    "h1", "h2", "h3", "p", "li", "tr", "dt", "legend", "label", "button", "summary", "option", "form", "section",
    "input", "select", "textarea", "svg", "div", "caption",
];
/// Letters and digits of an id.
const ID: usize = 26;
/// Choices of a list that are shown: long ones are the same on every page and would drown the rest.
const CHOICES: usize = 4;

/// Lists, and pages that are one, which show nothing in a tenant that is new.
const EMPTY: &[&str] = &[
    "/console/messages",
    "/console/dead-letters",
    "/console/inbound",
    "/console/invoices",
    "/console/contacts",
    "/console/lists",
    "/console/segments",
    "/console/suppressions",
    "/console/templates",
    "/console/campaigns",
    "/console/senders",
    "/console/routing",
    "/console/alerts",
    "/console/analytics",
    "/console/billing",
    "/console/billing/plan",
    "/console/billing/invoices",
    "/console/billing/prices",
    "/console/usage",
    "/console/settings/keys",
    "/console/settings/webhooks",
    "/console/settings/content",
    "/console/settings/callbacks",
];
const EMPTY_OF_OPERATOR: &[&str] = &[
    "/console/demos",
    "/console/operator/accounts",
    "/console/operator/analytics",
    "/console/operator/plans",
    "/console/operator/prices",
];

/// The value of an attribute of a tag.
fn attribute<'a>(tag: &'a str, name: &str) -> Option<&'a str> {
    tag.split_once(&format!(" {name}=\""))?.1.split('"').next()
}

/// The main part of a page as text.
fn outline(page: &str) -> String {
    let main = page.split_once("<main").and_then(|(_, rest)| rest.split_once('>')).map_or(page, |(_, rest)| rest);
    let main = main.split_once("</main>").map_or(main, |(main, _)| main);
    let (mut lines, mut line) = (Vec::new(), String::new());
    let (mut link, mut is_drawing) = (String::new(), false);
    for piece in main.split('<').filter(|piece| !piece.is_empty()) {
        let (tag, text) = piece.split_once('>').unwrap_or(("", piece));
        let name = tag.split([' ', '\n']).next().unwrap_or_default();
        if LINES.contains(&name) && !is_drawing {
            lines.push(std::mem::take(&mut line));
        }
        match name {
            "svg" => {
                is_drawing = true;
                if let Some(label) = attribute(tag, "aria-label") {
                    line.push_str(&format!("({label})"));
                }
            }
            "/svg" => is_drawing = false,
            "h1" => line.push_str("# "),
            "h2" => line.push_str("## "),
            "li" => line.push_str("- "),
            "td" | "th" => line.push_str(" | "),
            "a" => {
                link = attribute(tag, "href").unwrap_or_default().to_owned();
                line.push('[');
            }
            "/a" => line.push_str(&format!("]({link})")),
            "button" => line.push('<'),
            "/button" => line.push('>'),
            "input" if attribute(tag, "type") != Some("hidden") => {
                let (name, value) =
                    (attribute(tag, "name").unwrap_or_default(), attribute(tag, "value").unwrap_or_default());
                line.push_str(&format!("{{{name}={value}}}{}", if tag.contains(" checked") { "x" } else { "" }));
            }
            "select" | "textarea" => line.push_str(&format!("{{{}}}", attribute(tag, "name").unwrap_or_default())),
            "option" => line.push_str(if tag.contains(" selected") { "  * " } else { "  · " }),
            _ => {}
        }
        let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
        if !is_drawing && !words.is_empty() {
            if line.ends_with(|last: char| last.is_alphanumeric() || ".,%:".contains(last)) {
                line.push(' ');
            }
            line.push_str(&words);
        }
    }
    lines.push(line);
    lines.retain(|line| !line.trim().trim_matches(['|', '-', ' ']).is_empty());
    lines.iter().map(|line| line.trim_end()).collect::<Vec<_>>().join("\n")
}

/// The same with a few choices of each list, and without what differs between two databases: ids.
fn shortened(text: &str) -> String {
    let mut kept = Vec::new();
    let (mut options, mut boxes) = (0, BTreeMap::new());
    for line in text.lines() {
        // A proposal of a text field has a value only.
        if line.trim() == "·" {
            continue;
        }
        options = if line.starts_with("  · ") { options + 1 } else { 0 };
        let box_of = line.strip_prefix('{').and_then(|rest| rest.split_once('=')).map(|(name, _)| name);
        let same = box_of.map_or(0, |name| {
            let seen = boxes.entry(name).or_insert(0);
            *seen += 1;
            *seen
        });
        if options <= CHOICES && same <= CHOICES {
            kept.push(without_ids(line));
        }
    }
    kept.join("\n")
}

fn without_ids(line: &str) -> String {
    let mut parts = line.split('_');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let length = part.bytes().take_while(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase()).count();
        text.push('_');
        text.push_str(if length == ID { "…" } else { "" });
        text.push_str(if length == ID { &part[ID..] } else { part });
    }
    text
}

/// A page's name as a file's.
fn slug(path: &str) -> String {
    let plain = path.trim_start_matches("/console").replace("%40", "-at-");
    let text: String = plain.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let text = text.trim_matches('-').to_owned();
    if text.is_empty() { "home".to_owned() } else { text }
}

/// Keeps what a page says beside this file, for reviews.
pub fn keep(name: &str, page: &str) {
    insta::with_settings!({prepend_module_to_snapshot => false, omit_expression => true}, {
        insta::assert_snapshot!(name, shortened(&outline(page)));
    });
}

/// The same without the seconds of times of day: when a sandbox reports depends on ids, which two databases draw in another order.
pub fn keep_to_the_minute(name: &str, page: &str) {
    let text = shortened(&outline(page));
    let is_time = |part: &[u8]| {
        part.iter().enumerate().all(|(at, byte)| if at % 3 == 2 { *byte == b':' } else { byte.is_ascii_digit() })
    };
    let mut kept = String::new();
    let mut rest = text.as_str();
    while let Some(at) = rest.as_bytes().windows(8).position(is_time) {
        kept.push_str(&rest[..at + 5]);
        rest = &rest[at + 8..];
    }
    kept.push_str(rest);
    insta::with_settings!({prepend_module_to_snapshot => false, omit_expression => true}, {
        insta::assert_snapshot!(name, kept);
    });
}

both! {
    async fn pages_read_as_they_did(db: TestDb) {
        let mut stage = Stage::new(&db).await;
        let visitor = Visitor::new(&stage).await;
        stage.account("sandbox", json!({}), None).await;
        visitor.post("/console/contacts", &[("name", "Ada Lovelace"), ("email", "ada@example.com")]).await;
        visitor.post("/console/templates", &[("channel", "sms"), ("name", "doors-open"), ("locale", "en"), ("says/text", "Hello {{ name }}")]).await;
        visitor.post("/console/settings/content", &[("name", "No gambling"), ("kind", "words"), ("blocked_words/words", "casino"), ("enabled", "true")]).await;
        stage.send(json!({"to": {"email": "ada@example.com"}, "content": {"subject": "Hi", "text": "x"}})).await;
        stage.send(json!({"to": {"phone": "+12025550123"}, "channel": "sms", "content": {"text": "x"}})).await;
        stage.pass(12_000).await;
        let staff = operator(&mut stage).await;
        staff.post("/console/operator/plans", &[("name", "Studio"), ("currency", "USD"), ("monthly_fee_micros", "49"), ("allowances/sms/included", "1000")]).await;
        let of = |path: &&&str| !path.contains("palette");
        let inside = PAGES.iter().filter(of).map(|path| (*path, &visitor));
        // The system page says which version of the tables there is, which every release changes.
        let outside = OPERATOR_PAGES.iter().filter(|path| !path.ends_with("/system")).map(|path| (*path, &staff));
        for (path, who) in inside.chain(outside) {
            let page = who.get(path).await;
            keep(&slug(path), &page.text);
        }
    }

    async fn lists_without_anything_say_what_comes_next(db: TestDb) {
        let mut stage = Stage::new(&db).await;
        let visitor = Visitor::new(&stage).await;
        let staff = operator(&mut stage).await;
        for path in EMPTY {
            let page = visitor.get(path).await.text;
            assert!(page.contains("class=\"empty\""), "{path} has nothing to show and does not say so: {page}");
            keep(&format!("empty-{}", slug(path)), &page);
        }
        for path in EMPTY_OF_OPERATOR {
            let page = staff.get(path).await.text;
            assert!(page.contains("class=\"empty\""), "{path} has nothing to show and does not say so: {page}");
            keep(&format!("empty-{}", slug(path)), &page);
        }
    }
}
