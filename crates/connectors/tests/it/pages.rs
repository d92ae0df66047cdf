//! The pages about providers, `docs/providers/*.md`: a guide written by hand, and below its mark a reference that is made from the connector's declaration. `UPDATE_DOCS=1` writes
//! the reference; the guide is left as it is.

use std::{fmt::Write as _, fs, path::PathBuf};

use model::{Channel, Field, FieldKind};
use tidings_connectors::{Connector, registry};

/// Where the reference begins.
const MARK: &str = "<!-- From here on this page is made from the connector's declaration: UPDATE_DOCS=1 cargo nextest run -p tidings-connectors -->\n";
/// What every guide says, in this order.
const CHAPTERS: &[&str] = &["## Setting up", "## Limits and prices", "## When something fails"];

#[test]
fn every_provider_has_a_page_that_is_current() {
    let directory = directory();
    let mut wrong = String::new();
    for connector in registry::listed() {
        let spec = connector.spec();
        let path = directory.join(format!("{}.md", spec.id));
        let page = fs::read_to_string(&path).unwrap_or_default();
        let Some((guide, _)) = page.split_once(MARK) else {
            writeln!(wrong, "{}.md: has no guide with the mark below it: {MARK}", spec.id).unwrap();
            continue;
        };
        let mut rest = guide;
        for chapter in CHAPTERS {
            match rest.split_once(chapter) {
                Some((_, after)) => rest = after,
                None => writeln!(wrong, "{}.md: has no chapter `{chapter}` in its place", spec.id).unwrap(),
            }
        }
        let now = format!("{guide}{MARK}{}", reference(connector));
        if std::env::var_os("UPDATE_DOCS").is_some() {
            fs::write(&path, &now).unwrap();
        } else if page != now {
            writeln!(wrong, "{}.md: its reference is not what the code says; run with UPDATE_DOCS=1", spec.id).unwrap();
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn every_page_is_in_the_list_and_belongs_to_a_connector() {
    let index = fs::read_to_string(directory().join("README.md")).unwrap();
    for entry in fs::read_dir(directory()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let Some(id) = name.strip_suffix(".md").filter(|id| *id != "README") else { continue };
        assert!(registry::listed().any(|connector| connector.spec().id == id), "{name} describes no connector");
        assert!(index.contains(&format!("({name})")), "README.md does not link {name}");
    }
}

fn directory() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/providers"))
}

/// What the declaration says, for people.
fn reference(connector: &dyn Connector) -> String {
    let spec = connector.spec();
    let mut page = format!("\n## Reference\n\nConnector `{}`", spec.id);
    if !spec.docs_url.is_empty() {
        write!(page, " · [the provider's documentation]({})", spec.docs_url).unwrap();
    }
    page.push_str("\n\n### Channels\n\n");
    let channels: Vec<String> = spec.channels.iter().map(|channel| format!("`{channel}`")).collect();
    writeln!(page, "{}. The first is the default of a new account.\n", channels.join(", ")).unwrap();
    page.push_str("### Settings\n\n");
    if spec.fields.is_empty() {
        page.push_str("None.\n");
    } else {
        page.push_str("| setting | on the form | holds | what it is |\n|---|---|---|---|\n");
        for field in spec.fields {
            page.push_str(&row(field));
        }
    }
    match (spec.needs_from, spec.from_example) {
        (_, "") => page.push_str("\nThe account needs no sender (`from`).\n"),
        (true, example) => writeln!(page, "\nThe account needs a sender (`from`), such as `{example}`.").unwrap(),
        (false, example) => writeln!(page, "\nThe account may have a sender (`from`), such as `{example}`.").unwrap(),
    }
    page.push_str("\n### Pace\n\n");
    match spec.limits.per_second {
        0 => page.push_str("No declared rate"),
        rate => write!(page, "At most {rate} messages a second").unwrap(),
    }
    writeln!(
        page,
        "; {} requests at once. An account's `per_second` and `concurrency` can only lower that.",
        spec.limits.concurrency
    )
    .unwrap();
    page.push_str("\n### What is offered\n\n");
    for line in offered(connector) {
        writeln!(page, "- {line}").unwrap();
    }
    page.push_str("\n### Callbacks\n\n");
    match connector.inbound() {
        None => page.push_str("None: the provider does not call back.\n"),
        Some(_) => {
            for text in [spec.callback_help, spec.callback_security].iter().filter(|text| !text.is_empty()) {
                writeln!(page, "{text}\n").unwrap();
            }
            page.truncate(page.trim_end().len());
            page.push('\n');
        }
    }
    page
}

fn row(field: &Field) -> String {
    let kind = match field.kind {
        FieldKind::Text => "text".to_owned(),
        FieldKind::Secret => "secret".to_owned(),
        FieldKind::Number => "number".to_owned(),
        FieldKind::Bool => "yes or no".to_owned(),
        FieldKind::Choice { choices } => {
            choices.iter().map(|choice| format!("`{choice}`")).collect::<Vec<_>>().join(", ")
        }
    };
    let need = match (field.required, field.default) {
        (_, Some(default)) => format!("{kind}; `{default}` when left out"),
        (true, None) => format!("{kind}; needed"),
        (false, None) => kind,
    };
    format!("| `{}` | {} | {need} | {} |\n", field.name, field.label, field.help.trim().replace('|', "\\|"))
}

fn offered(connector: &dyn Connector) -> Vec<String> {
    let spec = connector.spec();
    let mut lines = Vec::new();
    let mut offer = |is_offered: bool, line: String| {
        if is_offered {
            lines.push(line);
        }
    };
    offer(spec.has_receipts, "Delivery is reported back.".to_owned());
    offer(
        !spec.has_receipts,
        "Delivery is not reported: a message stays `sent` unless something else becomes known.".to_owned(),
    );
    if let Some(batch) = connector.batch() {
        offer(true, format!("Up to {} messages in one request, with an outcome for each.", batch.max()));
    }
    offer(
        connector.repeats_safely(),
        "A request that is repeated is recognised by the provider, so nothing goes out twice.".to_owned(),
    );
    offer(connector.callbacks().is_some(), "Callbacks are set up by `POST /v1/accounts/{id}/callbacks`.".to_owned());
    offer(connector.domains().is_some(), "Mail domains are made and checked by `/v1/domains`.".to_owned());
    offer(
        connector.signs_mail(),
        "Mail domains are ours: Tidings signs with DKIM, and `/v1/domains` shows the records.".to_owned(),
    );
    offer(connector.numbers().is_some(), "A sender is looked up at the provider when it is added.".to_owned());
    offer(
        connector.templates().is_some(),
        "WhatsApp templates are read, and made where the provider allows it.".to_owned(),
    );
    offer(connector.figures().is_some(), "The provider's own figures and suppression lists are read.".to_owned());
    offer(
        spec.channels.contains(&Channel::Whatsapp),
        "WhatsApp outside a conversation needs an approved template.".to_owned(),
    );
    lines
}
