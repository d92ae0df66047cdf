//! What counts for every contact of a tenant: when and how often marketing may come, what STOP does, the topics people choose among, and the tenant's own fields.

use axum::extract::Path;
use engine::{
    consent::{
        hours::{QuietHours, clock},
        policy::{FrequencyCap, Settings, StopScope},
        preferences::SettingsPatch,
        topics::{NewTopic, TopicView},
    },
    contacts::attributes::{self, AttributeType, AttributeView, NewAttribute},
    once::Repeat,
    patch::Patch,
};
use maud::{Markup, html};

use crate::{
    cx::{Answer, Cx, Fault, Posted},
    form::{self, Faults, Form},
    pages,
    parts::{
        self, Control, Dialog, Field,
        field::check,
        icon,
        table::{self, Row, Table, cell, text},
    },
    shell::{self, Section},
};

pub(super) const PATH: &str = "/console/contacts/rules";
const NAMES: [&str; 8] = [
    "quiet_hours/from",
    "quiet_hours/until",
    "frequency_cap/max",
    "frequency_cap/days",
    "stop_scope",
    "help_text",
    "stop_text",
    "start_text",
];
/// Boxes of the rules: name, words, and what they mean.
const BOXES: [(&str, &str, &str); 3] = [
    (
        "us_windows",
        "Keep to American hours",
        "Marketing texts to numbers in the United States arrive within the hours their state allows.",
    ),
    ("india_windows", "Keep to Indian hours", "Marketing texts to numbers in India arrive from 10:00 to 21:00 there."),
    ("answers_keywords", "Answer STOP, START and HELP", "Where the provider does not do so itself."),
];
/// What a field can hold.
const KINDS: [(&str, AttributeType, &str); 5] = [
    ("text", AttributeType::Text, "A text"),
    ("number", AttributeType::Number, "A number"),
    ("boolean", AttributeType::Boolean, "Yes or no"),
    ("date", AttributeType::Date, "A day"),
    ("list", AttributeType::List, "Several texts"),
];

/// What the page shows.
struct View {
    topics: Vec<TopicView>,
    common: Vec<TopicView>,
    fields: Vec<AttributeView>,
}

impl View {
    async fn read(cx: &Cx) -> Result<Self, Fault> {
        let topics = cx.engine().topics(&cx.caller).await?;
        let fields = attributes::list(cx.engine(), &cx.caller).await?.data;
        Ok(Self { topics: topics.data, common: topics.common, fields })
    }
}

/// Shows the rules.
pub(crate) async fn show(cx: Cx) -> Answer {
    cx.tenant()?;
    let settings = cx.engine().consent_policy(&cx.caller).await?;
    let view = View::read(&cx).await?;
    Ok(cx.page(page(&cx, &view, &stored(&settings), &Faults::default())))
}

fn stored(settings: &Settings) -> Form {
    let hours =
        settings.quiet_hours.map(|hours| (clock::show(hours.from), clock::show(hours.until))).unwrap_or_default();
    let cap = settings.frequency_cap.map(|cap| (cap.max.to_string(), cap.days.to_string())).unwrap_or_default();
    let words = |text: &Option<String>| text.clone().unwrap_or_default();
    let scope = match settings.stop_scope {
        StopScope::All => "all",
        StopScope::Program => "program",
    };
    let mut form = Form::of([
        (NAMES[0], hours.0),
        (NAMES[1], hours.1),
        (NAMES[2], cap.0),
        (NAMES[3], cap.1),
        (NAMES[4], scope.to_owned()),
        (NAMES[5], words(&settings.help_text)),
        (NAMES[6], words(&settings.stop_text)),
        (NAMES[7], words(&settings.start_text)),
    ]);
    let on = [settings.us_windows, settings.india_windows, settings.answers_keywords];
    for ((name, ..), _) in BOXES.iter().zip(on).filter(|(_, is_on)| *is_on) {
        form.set(*name, "true");
    }
    form
}

fn page<'a>(cx: &Cx, view: &View, form: &Form, faults: &Faults) -> shell::Page<'a> {
    let may = cx.may("consent:write");
    let body = html! {
        (rules_card(cx, may, form, faults))
        (topics_card(cx, may, view))
        (fields_card(cx, &view.fields))
    };
    shell::Page {
        tabs: Some(super::contacts::tabs(PATH)),
        lead: Some(html! { "What counts for everybody you write to." }),
        ..shell::Page::new("Rules and fields", Section::Contacts, body)
    }
}

fn rules_card(cx: &Cx, may: bool, form: &Form, faults: &Faults) -> Markup {
    let draw = |field: Field<'_>| field.draw(form, faults);
    let scopes =
        vec![("all", "Everything on the channel".to_owned()), ("program", "Marketing on the channel".to_owned())];
    html! {
        section.card aria-label="Rules of consent" {
            header { h2 { "Rules of consent" } }
            form method="post" action=(PATH) data-guard {
                (form::token(cx.csrf()))
                fieldset disabled[!may] { div.body { div.form {
                    (shell::form_faults(faults, &NAMES))
                    div.fields-2 {
                        (draw(Field::text(NAMES[0], "Marketing waits from").example("22:00").help("On the contact's own clock. Who chose hours of their own keeps them.")))
                        (draw(Field::text(NAMES[1], "Until").example("09:00")))
                    }
                    div.fields-2 {
                        (draw(Field::text(NAMES[2], "Marketing messages at most").with(Control::Number).example("3").help("To one contact, over all channels.")))
                        (draw(Field::text(NAMES[3], "In so many days").with(Control::Number).example("7")))
                    }
                    div.checks { @for (name, label, help) in BOXES { (check(name, "true", form.is_on(name), label, help)) } }
                    (draw(Field::text(NAMES[4], "STOP ends").plain().with(Control::Choice(scopes))))
                    details.more id="answers" open[NAMES[5..].iter().any(|name| faults.at(name).is_some())] {
                        summary { "Answers to keywords" }
                        div."stack spaced" {
                            p.muted { "Leave them empty for ours. The answer to STOP may not hold marketing." }
                            (draw(Field::text(NAMES[5], "To HELP").with(Control::Area { rows: 2 })))
                            (draw(Field::text(NAMES[6], "To STOP").with(Control::Area { rows: 2 })))
                            (draw(Field::text(NAMES[7], "To START").with(Control::Area { rows: 2 })))
                        }
                    }
                } } }
                @if may { footer { div.end { button."button primary" type="submit" { "Save" } } } }
            }
        }
    }
}

fn topics_card(cx: &Cx, may: bool, view: &View) -> Markup {
    let (form, none) = (Form::default(), Faults::default());
    let row = |topic: &TopicView| Row {
        href: None,
        cells: vec![
            cell(
                html! { span."strong break" dir="auto" { (topic.title) } @if !topic.description.is_empty() { div.sub { span.break dir="auto" { (topic.description) } } } },
            ),
            cell(html! { code.break { (topic.name) } }),
            cell(
                html! { @if topic.is_common { span.muted { "Everybody has it" } } @else if may { (parts::act(&format!("{PATH}/topics/{}/delete", topic.name), cx.csrf(), "small danger", None, "Remove")) } },
            ),
        ],
    };
    let add = may.then(|| html! {
        button."button small" type="button" data-opens="new-topic" { (icon("plus")) "Add topic" }
        (parts::dialog(&Dialog { id: "new-topic", title: "Add topic", action: &format!("{PATH}/topics"), csrf: cx.csrf(), yes: "Add topic", is_dangerous: false, body: html! {
            p.muted { "People choose it on their preference page, and messages name it." }
            (Field::text("title", "What people read").required().example("Match reports").draw(&form, &none))
            (Field::text("name", "Its word in messages").required().example("match_reports").help("a–z, 0–9 and _. It cannot be changed later.").draw(&form, &none))
            (Field::text("description", "More of it").example("A summary after each match.").draw(&form, &none))
        } }))
    });
    let rows = view.topics.iter().chain(&view.common).map(row).collect();
    parts::card_flush("Topics", add, table::table(Table { caption: "Topics", columns: &["Topic", "Word", ""], rows }))
}

fn fields_card(cx: &Cx, fields: &[AttributeView]) -> Markup {
    let may = cx.may("contacts:write");
    let (form, none) = (Form::default(), Faults::default());
    let words =
        |kind: AttributeType| KINDS.iter().find(|(_, known, _)| *known == kind).map_or("", |(.., words)| *words);
    let row = |field: &AttributeView| {
        let id = format!("remove-{}", field.name);
        Row {
            href: None,
            cells: vec![
                cell(html! { code.break { (field.name) } }),
                text(words(field.kind)),
                cell(cx.here().day(field.created_at)),
                cell(html! { @if may {
                    button."button small danger" type="button" data-opens=(id) aria-label={ "Remove " (field.name) } { "Remove" }
                    (parts::dialog(&Dialog { id: &id, title: "Remove this field?", action: &format!("{PATH}/fields/{}/delete", field.name), csrf: cx.csrf(), yes: "Remove it", is_dangerous: true,
                        body: html! { p.muted { "Every contact loses what stands in " code { (field.name) } ". Segments that ask for it find nobody." } } }))
                } }),
            ],
        }
    };
    let kinds = KINDS.iter().map(|(word, _, words)| (*word, (*words).to_owned())).collect();
    let add = may.then(|| html! {
        button."button small" type="button" data-opens="new-field" { (icon("plus")) "Add field" }
        (parts::dialog(&Dialog { id: "new-field", title: "Add field", action: &format!("{PATH}/fields"), csrf: cx.csrf(), yes: "Add field", is_dangerous: false, body: html! {
            (Field::text("field-name", "Name").required().example("plan").help("a–z, 0–9 and _, beginning with a letter. Templates write it as {{ contact.plan }}.").draw(&form, &none))
            (Field::text("field-kind", "Holds").plain().with(Control::Choice(kinds)).draw(&form, &none))
        } }))
    });
    parts::card_flush(
        "Your own fields",
        add,
        html! {
            @if fields.is_empty() {
                (parts::empty("people", "No fields of your own", "Add what you know of contacts besides name and address: their plan, their seat, the day they joined. Segments and templates can use it.", None))
            } @else {
                (table::table(Table { caption: "Your own fields of contacts", columns: &["Name", "Holds", "Since", ""], rows: fields.iter().map(row).collect() }))
            }
        },
    )
}

fn read_rules(form: &Form) -> Result<SettingsPatch, Faults> {
    let mut faults = Faults::default();
    let quiet_hours = match (form.filled(NAMES[0]), form.filled(NAMES[1])) {
        (None, None) => Patch::Clear,
        (from, until) => {
            let (first, second) = (from.and_then(clock::parse), until.and_then(clock::parse));
            for (name, read) in [(NAMES[0], &first), (NAMES[1], &second)] {
                if read.is_none() {
                    faults.add(name, "write a time of day such as 22:00");
                }
            }
            first.zip(second).map_or(Patch::Keep, |(from, until)| Patch::Set(QuietHours { from, until }))
        }
    };
    let mut number = |name: &str| {
        let read = form.filled(name).map(str::parse::<u32>);
        if matches!(read, Some(Err(_))) {
            faults.add(name, "write a whole number");
        }
        read.and_then(Result::ok)
    };
    let (max, days) = (number(NAMES[2]), number(NAMES[3]));
    let frequency_cap = match (max, days) {
        (Some(max), Some(days)) => Patch::Set(FrequencyCap { max, days }),
        (None, None) => Patch::Clear,
        (Some(_), None) => {
            faults.add(NAMES[3], "say in how many days");
            Patch::Keep
        }
        (None, Some(_)) => {
            faults.add(NAMES[2], "say how many");
            Patch::Keep
        }
    };
    if !faults.is_empty() {
        return Err(faults);
    }
    let words = |name: &str| form.filled(name).map_or(Patch::Clear, |text| Patch::Set(text.replace("\r\n", "\n")));
    Ok(SettingsPatch {
        quiet_hours,
        frequency_cap,
        us_windows: Patch::Set(form.is_on(BOXES[0].0)),
        india_windows: Patch::Set(form.is_on(BOXES[1].0)),
        answers_keywords: Patch::Set(form.is_on(BOXES[2].0)),
        stop_scope: Patch::Set(if form.text(NAMES[4]) == "program" { StopScope::Program } else { StopScope::All }),
        help_text: words(NAMES[5]),
        stop_text: words(NAMES[6]),
        start_text: words(NAMES[7]),
    })
}

/// Saves the rules.
pub(crate) async fn save(Posted { cx, form }: Posted) -> Answer {
    cx.tenant()?;
    cx.caller.need("consent:write")?;
    let faults = match read_rules(&form) {
        Ok(patch) => match cx.engine().patch_consent_policy(&cx.caller, patch).await {
            Ok(_) => return Ok(cx.done(PATH, "Saved. It counts from the next message on.")),
            Err(error) if matches!(error.kind.status(), 409 | 422) => Faults::of(&error),
            Err(error) => return Err(error.into()),
        },
        Err(faults) => faults,
    };
    let view = View::read(&cx).await?;
    Ok(cx.again(page(&cx, &view, &form, &faults)))
}

/// What was added or removed, or why not.
fn told(cx: &Cx, done: Result<(), engine::Error>, said: &str) -> Answer {
    match done {
        Ok(()) => Ok(cx.done(PATH, said)),
        Err(error) if matches!(error.kind.status(), 409 | 422) => {
            let lines: Vec<String> = Faults::of(&error).rest::<&str>(&[]).collect();
            Ok(cx.refused(PATH, &lines.join("; ")))
        }
        Err(error) => Err(error.into()),
    }
}

/// Adds a topic, or a field.
pub(crate) async fn add(Path(what): Path<String>, Posted { cx, form }: Posted) -> Answer {
    cx.tenant()?;
    match what.as_str() {
        "topics" => {
            let new = NewTopic {
                name: form.text("name").to_owned(),
                title: form.text("title").to_owned(),
                description: form.text("description").to_owned(),
            };
            let done = cx.engine().put_topic(&cx.caller, &Repeat::NONE, new).await.map(drop);
            told(&cx, done, "The topic was added.")
        }
        "fields" => {
            cx.caller.need("contacts:write")?;
            let Some((_, kind, _)) = KINDS.iter().find(|(word, ..)| *word == form.text("field-kind")) else {
                return Ok(cx.refused(PATH, "Choose what the field holds."));
            };
            let new = NewAttribute { name: form.text("field-name").to_owned(), kind: *kind };
            let done = attributes::create(cx.engine(), &cx.caller, &Repeat::NONE, new).await.map(drop);
            told(&cx, done, &format!("The field {} was added.", form.text("field-name")))
        }
        _ => Err(pages::no_page().into()),
    }
}

/// Removes a topic, or a field with what every contact has in it.
pub(crate) async fn remove(Path((what, name)): Path<(String, String)>, Posted { cx, .. }: Posted) -> Answer {
    cx.tenant()?;
    match what.as_str() {
        "topics" => told(&cx, cx.engine().remove_topic(&cx.caller, &name).await, "The topic was removed."),
        "fields" => {
            let done = attributes::delete(cx.engine(), &cx.caller, name).await;
            told(&cx, done, "The field is gone, and what stood in it.")
        }
        _ => Err(pages::no_page().into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_read_whole_or_refused_by_field() {
        let form = |from: &str, until: &str, max: &str, days: &str| {
            Form::of([(NAMES[0], from), (NAMES[1], until), (NAMES[2], max), (NAMES[3], days), (NAMES[4], "program")])
        };
        let read = read_rules(&form("22:00", "09:30", "3", "7")).unwrap();
        assert_eq!(read.quiet_hours, Patch::Set(QuietHours { from: 22 * 60, until: 9 * 60 + 30 }));
        assert_eq!(
            (read.frequency_cap, read.stop_scope),
            (Patch::Set(FrequencyCap { max: 3, days: 7 }), Patch::Set(StopScope::Program))
        );
        let read = read_rules(&form("", "", "", "")).unwrap();
        assert_eq!(
            (read.quiet_hours, read.frequency_cap, read.us_windows),
            (Patch::Clear, Patch::Clear, Patch::Set(false))
        );
        for (fields, wrong) in [
            (("22:00", "", "", ""), 1),
            (("late", "09:00", "", ""), 0),
            (("", "", "3", ""), 3),
            (("", "", "x", "7"), 2),
        ] {
            let faults = read_rules(&form(fields.0, fields.1, fields.2, fields.3)).unwrap_err();
            assert!(faults.at(NAMES[wrong]).is_some(), "{fields:?}: {faults:?}");
        }
    }
}
