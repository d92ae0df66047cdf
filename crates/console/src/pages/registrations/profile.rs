//! Who the business is: the form of everything carriers ask, saved as far as it is filled in, with what is left to say.

use engine::registrations::profile::{self, BusinessProfileView, CATEGORIES, INDUSTRIES, POSITIONS, SAMPLES, UsSms};
use maud::{Markup, html};
use serde_json::{Map, Value, json};

use super::PATH as ABOVE_PATH;
use crate::{
    cx::{Answer, Cx, Posted},
    form::{self, Faults, Form},
    format,
    parts::{self, Control, Field, Tone, field::check, link_button},
    shell::{self, Section},
};

pub(crate) const PATH: &str = "/console/registration/profile";
const ABOVE: &[(&str, &str)] = &[(ABOVE_PATH, "Registration")];

/// Every field that holds a text, in the order of the form: its name, its name for people, and whether it is long.
const TEXTS: &[(&str, &str)] = &[
    ("legal_name", "Registered name"),
    ("dba", "Known as"),
    ("business_type", "Form"),
    ("ein", "EIN"),
    ("industry", "Line of work"),
    ("website", "Website"),
    ("stock_exchange", "Stock exchange"),
    ("stock_ticker", "Ticker"),
    ("address/street", "Street and number"),
    ("address/city", "City"),
    ("address/region", "State"),
    ("address/postal_code", "ZIP code"),
    ("address/country", "Country"),
    ("owner/first_name", "First name"),
    ("owner/last_name", "Last name"),
    ("owner/title", "Title"),
    ("owner/position", "Position"),
    ("owner/email", "E-mail"),
    ("owner/phone", "Phone"),
    ("contact_email", "Whom the provider writes to"),
    ("use_case/category", "Kind of messages"),
    ("use_case/description", "What is sent, and why"),
    ("use_case/opt_in_flow", "How people agree"),
    ("use_case/opt_in_message", "Answer to whoever agrees by a keyword"),
    ("use_case/opt_out_message", "Answer to STOP"),
    ("use_case/help_message", "Answer to HELP"),
    ("use_case/privacy_policy_url", "Privacy policy"),
    ("use_case/terms_url", "Terms of the messages"),
];
/// Every box to check: its name, what it says, and what that means.
const BOXES: &[(&str, &str, &str)] = &[
    ("use_case/has_links", "They hold links", ""),
    ("use_case/has_phone_numbers", "They hold phone numbers", ""),
    ("use_case/is_age_gated", "They are for adults only", ""),
    ("use_case/is_lending", "They are about loans", ""),
    ("compliance/has_opt_in", "Everybody who is written to agreed to it beforehand", ""),
    ("compliance/numbers_not_shared", "Numbers are not given or sold to others", ""),
    (
        "compliance/no_forbidden_content",
        "Nothing forbidden is sent",
        "Nothing about sex, hate, alcohol, firearms, tobacco or cannabis without an age gate, and nothing unlawful at all.",
    ),
];
const VOLUME: &str = "monthly_volume";
const POLICY: &str = "us_sms";

fn sample(index: usize) -> String {
    format!("use_case/samples/{index}")
}

/// What the field at a pointer is called.
pub(super) fn label_of(pointer: &str) -> String {
    let name = pointer.trim_start_matches('/');
    let text = TEXTS.iter().find(|(known, _)| *known == name).map(|(_, label)| *label);
    let known = text.or_else(|| BOXES.iter().find(|(known, ..)| *known == name).map(|(_, label, _)| *label));
    match known {
        Some(label) => label.to_owned(),
        None if name.starts_with("use_case/samples") => "Samples".to_owned(),
        None if name == VOLUME => "Messages a month".to_owned(),
        None => format::words(&name.replace('/', " ")),
    }
}

/// The place on the form of the field at a pointer.
pub(super) fn at(pointer: &str) -> String {
    let name = pointer.trim_start_matches('/');
    let name = if name == "use_case/samples" { sample(0) } else { name.to_owned() };
    let is_box = BOXES.iter().any(|(known, ..)| *known == name);
    if is_box {
        return format!("{PATH}#{}", name.split('/').next().unwrap_or_default());
    }
    format!("{PATH}#f-{}", name.replace('/', "-"))
}

/// When messages to the United States have to leave registered, in words.
pub(super) const fn policy_words(policy: UsSms) -> &'static str {
    match policy {
        UsSms::WhenStarted => "Held back once a registration of the account was begun, until it is approved",
        UsSms::Required => "Held back until the account is approved",
        UsSms::Off => "Never held back: the accounts are registered elsewhere",
    }
}

/// Shows the form.
pub(crate) async fn show(cx: Cx) -> Answer {
    cx.tenant()?;
    let view = profile::get(cx.engine(), &cx.caller).await?;
    let form = stored(&view)?;
    Ok(cx.page(page(&cx, &view, &form, &Faults::default())))
}

/// The form as the profile is stored.
fn stored(view: &BusinessProfileView) -> Result<Form, engine::Error> {
    let kept = serde_json::to_value(&view.profile).map_err(engine::Error::internal)?;
    let at = |name: &str| kept.pointer(&format!("/{name}"));
    let mut form = Form::default();
    for (name, _) in TEXTS {
        form.set(*name, at(name).and_then(Value::as_str).unwrap_or_default());
    }
    for (name, ..) in BOXES.iter().filter(|(name, ..)| at(name) == Some(&Value::Bool(true))) {
        form.set(*name, "true");
    }
    for (index, text) in view.profile.use_case.samples.iter().enumerate() {
        form.set(sample(index), text);
    }
    form.set(VOLUME, view.profile.monthly_volume.map(|volume| volume.to_string()).unwrap_or_default());
    form.set(POLICY, view.us_sms.as_str());
    Ok(form)
}

fn names() -> Vec<String> {
    let texts = TEXTS.iter().map(|(name, _)| (*name).to_owned());
    texts.chain((0..SAMPLES.1).map(sample)).chain([VOLUME.to_owned(), POLICY.to_owned()]).collect()
}

/// Words to choose among, none of them chosen at first.
fn choice<'a>(words: impl Iterator<Item = &'a str>) -> Control<'a> {
    let words = words.map(|word| {
        let text = match word {
            "2fa" => "Codes for signing in".to_owned(),
            "ceo" | "cfo" | "gm" | "vp" | "llc" | "llp" => word.to_uppercase(),
            _ => format::words(word),
        };
        (word, text)
    });
    Control::Choice([("", "Choose …".to_owned())].into_iter().chain(words).collect())
}

fn page<'a>(cx: &Cx, view: &BusinessProfileView, form: &Form, faults: &Faults) -> shell::Page<'a> {
    let may = cx.may("registrations:write");
    let body = html! {
        @if view.updated_at.is_some() && !view.is_complete && faults.is_empty() { (left(view)) }
        form.stack method="post" action=(PATH) data-guard {
            (form::token(cx.csrf()))
            (shell::form_faults(faults, &names()))
            fieldset.stack disabled[!may] {
                (business(form, faults))
                (people(form, faults))
                (sends(form, faults))
                (vouches(form))
                @if cx.caller.need_operator("registrations:write").is_ok() { (operators(form, faults)) }
            }
            @if may { div.row { button."button primary" type="submit" { "Save" } (link_button(ABOVE_PATH, "", None, "Cancel")) } }
        }
    };
    shell::Page {
        above: ABOVE,
        lead: Some(
            html! { "Carriers compare this with public records, so it has to be exactly what is registered. It can be saved half done." },
        ),
        is_narrow: true,
        ..shell::Page::new("The business", Section::Channels, body)
    }
}

/// What is left to say, each leading to its field.
fn left(view: &BusinessProfileView) -> Markup {
    parts::notice(
        Tone::Info,
        "Still needed before it can be submitted",
        html! {
            ul.stack.tight {
                @for field in &view.missing { li { a.inline href=(at(&field.pointer)) { (label_of(&field.pointer)) } ": " (field.detail) } }
            }
        },
    )
}

/// A field by its name, with its label out of the table.
fn text<'a>(name: &'static str) -> Field<'a> {
    let label = TEXTS.iter().find(|(known, _)| *known == name).map_or("", |(_, label)| *label);
    Field::text(name, label).plain()
}

fn card(id: &str, title: &str, about: &str, body: Markup) -> Markup {
    html! {
        section.card id=(id) aria-label=(title) {
            header { h2 { (title) } @if !about.is_empty() { p { (about) } } }
            div.body { div.form { (body) } }
        }
    }
}

fn business(form: &Form, faults: &Faults) -> Markup {
    let draw = |field: Field<'_>| field.draw(form, faults);
    card(
        "business",
        "The business",
        "",
        html! {
            (draw(text("legal_name").example("Acme Events LLC").help("As registered with the tax office.")))
            (draw(text("dba").example("Acme Tickets").help("As its customers know it, when that is another name.")))
            div.fields-2 {
                (draw(text("business_type").with(choice(profile::business_types()))))
                (draw(text("ein").example("12-3456789").help("Employer Identification Number, nine digits.")))
                (draw(text("industry").with(choice(INDUSTRIES.iter().copied()))))
                (draw(text("website").example("https://acme.example").help("Reviewers look at it.")))
            }
            div.fields-2 data-when="business_type=public_corporation" {
                (draw(text("stock_exchange").example("NASDAQ")))
                (draw(text("stock_ticker").example("ACME")))
            }
            (draw(text("address/street").example("1 High Street").help("No post-office box.")))
            div.fields-2 {
                (draw(text("address/city").example("Springfield")))
                (draw(text("address/region").example("IL").help("Two letters.")))
                (draw(text("address/postal_code").example("62701")))
                (draw(text("address/country").example("US").help("Two letters; the United States when empty.")))
            }
        },
    )
}

fn people(form: &Form, faults: &Faults) -> Markup {
    let draw = |field: Field<'_>| field.draw(form, faults);
    card(
        "owner",
        "Who answers for it",
        "",
        html! {
            div.fields-2 {
                (draw(text("owner/first_name").example("Ada")))
                (draw(text("owner/last_name").example("Byron")))
                (draw(text("owner/title").example("Founder").help("As on a business card.")))
                (draw(text("owner/position").with(choice(POSITIONS.iter().copied()))))
                (draw(text("owner/email").with(Control::Email).example("ada@acme.example")))
                (draw(text("owner/phone").example("+14155550123")))
            }
            (draw(text("contact_email").with(Control::Email).example("compliance@acme.example").help("About the registration.")))
        },
    )
}

fn sends(form: &Form, faults: &Faults) -> Markup {
    let draw = |field: Field<'_>| field.draw(form, faults);
    let boxes = BOXES.iter().filter(|(name, ..)| name.starts_with("use_case/"));
    card(
        "use_case",
        "What it sends",
        "Carriers read every word of this.",
        html! {
            div.fields-2 {
                (draw(text("use_case/category").with(choice(CATEGORIES.iter().copied()))))
                (draw(Field::text(VOLUME, "Messages a month").plain().with(Control::Number).example("5000").help("About.")))
            }
            (draw(text("use_case/description").with(Control::Area { rows: 3 }).example("News about the events of a venue, to people who asked for them.").help("40 to 4,096 characters.")))
            (draw(text("use_case/opt_in_flow").with(Control::Area { rows: 3 }).example("Whoever buys a ticket on our website can tick a box that is empty at first.").help("So that a reviewer can look it up: 40 to 2,048 characters.")))
            @for index in 0..SAMPLES.1 {
                @let (name, label) = (sample(index), format!("Sample {}", index + 1));
                @let field = Field::text(&name, &label).with(Control::Area { rows: 2 });
                @if index == 0 { (draw(field.plain().example("Acme Tickets: the doors open at 7 pm. Reply STOP to stop.").help("A message as it will be sent, with the name of the business and how to stop; two of them at least."))) }
                @else if index < SAMPLES.0 { (draw(field.plain())) }
                @else { (draw(field)) }
            }
            fieldset.field { legend { "What the messages hold" } div.checks { @for (name, label, help) in boxes { (check(name, "true", form.is_on(name), label, help)) } } }
            div.fields-2 {
                (draw(text("use_case/privacy_policy_url").example("https://acme.example/privacy").help("It says what is done with people's numbers.")))
                (draw(text("use_case/terms_url").example("https://acme.example/sms-terms")))
            }
            details.more id="answers" open[["opt_in_message", "opt_out_message", "help_message"].iter().any(|name| faults.at(&format!("use_case/{name}")).is_some())] {
                summary { "Answers to keywords" }
                div."stack spaced" {
                    p.muted { "Leave them empty for the usual ones. 20 to 320 characters." }
                    @for name in ["use_case/opt_in_message", "use_case/opt_out_message", "use_case/help_message"] { (draw(text(name).with(Control::Area { rows: 2 }))) }
                }
            }
        },
    )
}

fn vouches(form: &Form) -> Markup {
    let boxes = BOXES.iter().filter(|(name, ..)| name.starts_with("compliance/"));
    card(
        "compliance",
        "What it vouches for",
        "All of it has to be true before anything is submitted.",
        html! {
            div.checks { @for (name, label, help) in boxes { (check(name, "true", form.is_on(name), label, help)) } }
        },
    )
}

fn operators(form: &Form, faults: &Faults) -> Markup {
    let choices = [UsSms::WhenStarted, UsSms::Required, UsSms::Off];
    let choices = choices.iter().map(|policy| (policy.as_str(), policy_words(*policy).to_owned())).collect();
    card(
        "operator",
        "For the operator",
        "",
        html! {
            (Field::text(POLICY, "Text messages to the United States").plain().with(Control::Choice(choices)).draw(form, faults))
        },
    )
}

/// The form with its samples one after the other, so that an error's place is the place of its field.
fn compacted(form: &Form) -> Form {
    let filled: Vec<String> =
        (0..SAMPLES.1).filter_map(|index| form.filled(&sample(index)).map(str::to_owned)).collect();
    (0..SAMPLES.1)
        .fold(form.clone(), |form, index| form.with(&sample(index), filled.get(index).cloned().unwrap_or_default()))
}

/// What the form says, as a JSON Merge Patch of the whole profile.
fn change(form: &Form, is_operators: bool) -> Result<Map<String, Value>, Faults> {
    let mut change = Map::new();
    let mut put = |name: &str, value: Value| match name.split_once('/') {
        None => {
            change.insert(name.to_owned(), value);
        }
        Some((outer, inner)) => {
            if let Some(part) = change.entry(outer).or_insert_with(|| json!({})).as_object_mut() {
                part.insert(inner.to_owned(), value);
            }
        }
    };
    for (name, _) in TEXTS {
        put(name, form.filled(name).map_or(Value::Null, |text| text.replace("\r\n", "\n").into()));
    }
    for (name, ..) in BOXES {
        put(name, form.is_on(name).into());
    }
    let samples: Vec<String> =
        (0..SAMPLES.1).filter_map(|index| form.filled(&sample(index)).map(|text| text.replace("\r\n", "\n"))).collect();
    put("use_case/samples", samples.into());
    match form.filled(VOLUME).map(|text| text.replace(',', "").parse::<u32>()) {
        None => put(VOLUME, Value::Null),
        Some(Ok(volume)) => put(VOLUME, volume.into()),
        Some(Err(_)) => {
            let mut faults = Faults::default();
            faults.add(VOLUME, "write a whole number");
            return Err(faults);
        }
    }
    if is_operators && let Some(policy) = form.filled(POLICY) {
        put(POLICY, policy.into());
    }
    Ok(change)
}

/// Saves what was filled in.
pub(crate) async fn save(Posted { cx, form }: Posted) -> Answer {
    cx.tenant()?;
    cx.caller.need("registrations:write")?;
    let form = compacted(&form);
    let faults = match change(&form, cx.caller.need_operator("registrations:write").is_ok()) {
        Ok(change) => {
            let body = Value::Object(change).to_string();
            match profile::patch(cx.engine(), &cx.caller, body.as_bytes()).await {
                Ok(view) if view.is_complete => {
                    return Ok(cx.done(ABOVE_PATH, "Saved. The business can be submitted as it stands."));
                }
                Ok(_) => return Ok(cx.done(PATH, "Saved. What is still needed stands above the form.")),
                Err(error) if matches!(error.kind.status(), 409 | 422) => Faults::of(&error),
                Err(error) => return Err(error.into()),
            }
        }
        Err(faults) => faults,
    };
    let view = profile::get(cx.engine(), &cx.caller).await?;
    Ok(cx.again(page(&cx, &view, &form, &faults)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_becomes_a_change_of_the_whole_profile() {
        let form = compacted(&Form::of([
            ("legal_name", " Acme LLC "),
            ("address/city", "Springfield"),
            ("use_case/samples/0", ""),
            ("use_case/samples/2", "Acme: doors open at 7."),
            ("use_case/has_links", "true"),
            ("monthly_volume", "5,000"),
            ("us_sms", "off"),
        ]));
        assert_eq!(form.get("use_case/samples/0"), Some("Acme: doors open at 7."));
        let said = Value::Object(change(&form, false).unwrap());
        assert_eq!(
            (&said["legal_name"], &said["dba"], &said["monthly_volume"]),
            (&json!("Acme LLC"), &Value::Null, &json!(5000))
        );
        assert_eq!((&said["address"]["city"], &said["address"]["street"]), (&json!("Springfield"), &Value::Null));
        assert_eq!(said["use_case"]["samples"], json!(["Acme: doors open at 7."]));
        assert_eq!((&said["use_case"]["has_links"], &said["compliance"]["has_opt_in"]), (&json!(true), &json!(false)));
        assert!(
            said.get("us_sms").is_none() && change(&form, true).unwrap()["us_sms"] == "off",
            "only the operator says it"
        );
        assert!(change(&form.with("monthly_volume", "many"), false).unwrap_err().at("monthly_volume").is_some());
    }

    #[test]
    fn every_field_has_its_name_and_its_place() {
        assert_eq!(label_of("/use_case/opt_in_flow"), "How people agree");
        assert_eq!(at("/use_case/opt_in_flow"), "/console/registration/profile#f-use_case-opt_in_flow");
        assert_eq!(
            (label_of("/use_case/samples"), at("/use_case/samples")),
            ("Samples".to_owned(), format!("{PATH}#f-use_case-samples-0"))
        );
        assert_eq!(at("/compliance/has_opt_in"), "/console/registration/profile#compliance");
        let known = serde_json::to_value(profile::BusinessProfile::default()).unwrap();
        let names = TEXTS.iter().map(|(name, _)| *name).chain(BOXES.iter().map(|(name, ..)| *name));
        for name in names.chain([VOLUME, "use_case/samples"]) {
            assert!(known.pointer(&format!("/{name}")).is_some(), "{name} is a field of the profile");
        }
    }
}
