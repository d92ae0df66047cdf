//! How the tenant's mails and the pages its recipients see look.

use engine::branding::{self, Branding};
use maud::html;
use serde_json::{Map, Value, json};

use super::settings;
use crate::{
    cx::{Answer, Cx, Posted},
    form::{self, Faults, Form},
    parts::{Control, Field},
    shell::{self, Section},
};

pub(super) const PATH: &str = "/console/settings/branding";
/// Fields that are texts of their own in the request.
const TEXTS: [&str; 9] = [
    "name",
    "sender_name",
    "logo_url",
    "website_url",
    "font_stack",
    "footer",
    "postal_address",
    "default_locale",
    "tracking_domain",
];
const COLORS: [(&str, &str); 4] = [
    ("primary", "Buttons and links"),
    ("on_primary", "Text on buttons"),
    ("background", "Background"),
    ("text", "Text"),
];

/// Shows the branding.
pub(crate) async fn show(cx: Cx) -> Answer {
    cx.tenant()?;
    let view = branding::get(cx.engine(), &cx.caller).await?;
    Ok(cx.page(page(&cx, &stored(&view.branding), &Faults::default())))
}

fn stored(branding: &Branding) -> Form {
    let known = json!(branding);
    let mut form = Form::default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    for name in TEXTS {
        form.set(name, text(&known[name]));
    }
    for (name, _) in COLORS {
        form.set(format!("colors/{name}"), text(&known["colors"][name]));
    }
    for name in ["opens", "clicks"] {
        form.set(
            format!("tracking/{name}"),
            known["tracking"][name].as_bool().map(|is| is.to_string()).unwrap_or_default(),
        );
    }
    form
}

fn page<'a>(cx: &Cx, form: &Form, faults: &Faults) -> shell::Page<'a> {
    let may = cx.may("templates:write");
    let mut names: Vec<String> = TEXTS.map(str::to_owned).to_vec();
    names.extend(COLORS.map(|(name, _)| format!("colors/{name}")));
    names.extend(["tracking/opens", "tracking/clicks"].map(str::to_owned));
    let tracked = || {
        vec![("", "In marketing only".to_owned()), ("true", "In every mail".to_owned()), ("false", "Never".to_owned())]
    };
    let body = html! {
        section.card aria-label="Branding" {
            form method="post" action=(PATH) data-guard {
                (form::token(cx.csrf()))
                fieldset disabled[!may] { div.body { div.form {
                    (shell::form_faults(faults, &names))
                    div.fields-2 {
                        (Field::text("name", "Name towards customers").help("The tenant's name when empty.").draw(form, faults))
                        (Field::text("sender_name", "Name beside the sender's address").draw(form, faults))
                        (Field::text("logo_url", "Logo").example("https://acme.example/logo.png").draw(form, faults))
                        (Field::text("website_url", "Website").example("https://acme.example").draw(form, faults))
                    }
                    h2.strong { "Colours and type" }
                    div.fields-2 {
                        @for (name, label) in COLORS { @let name = format!("colors/{name}"); (Field::text(&name, label).plain().example("#4a4dc9").draw(form, faults)) }
                    }
                    (Field::text("font_stack", "Typeface").example("Inter, Helvetica, Arial, sans-serif").draw(form, faults))
                    h2.strong { "Below each mail" }
                    (Field::text("footer", "Footer").with(Control::Area { rows: 2 }).draw(form, faults))
                    (Field::text("postal_address", "Postal address").example("Acme Ltd, 1 High Street, Springfield").help("Marketing mails have to name it.").draw(form, faults))
                    h2.strong { "Language and tracking" }
                    div.fields-2 {
                        (Field::text("default_locale", "Language").example("en").help("Of recipients whose own is not known.").draw(form, faults))
                        (Field::text("tracking_domain", "Links lead through").example("https://links.acme.example").help("It has to reach this installation.").draw(form, faults))
                        (Field::text("tracking/opens", "Notice openings").plain().with(Control::Choice(tracked())).draw(form, faults))
                        (Field::text("tracking/clicks", "Notice clicks").plain().with(Control::Choice(tracked())).draw(form, faults))
                    }
                } } }
                @if may { footer { div.end { button."button primary" type="submit" { "Save" } } } }
            }
        }
    };
    shell::Page {
        tabs: Some(settings::tabs(cx, PATH)),
        lead: Some(html! { "How your mails look, and the pages on which people unsubscribe and choose." }),
        is_narrow: true,
        ..shell::Page::new("Branding", Section::Settings, body)
    }
}

/// The change a form asks for: what was left empty goes back to the default.
fn read(form: &Form) -> Value {
    let text = |name: &str| form.filled(name).map_or(Value::Null, |text| json!(text.replace("\r\n", "\n")));
    let mut change: Map<String, Value> = TEXTS.iter().map(|name| ((*name).to_owned(), text(name))).collect();
    let colors: Map<String, Value> =
        COLORS.iter().map(|(name, _)| ((*name).to_owned(), text(&format!("colors/{name}")))).collect();
    change.insert("colors".to_owned(), Value::Object(colors));
    let is = |name: &str| match form.text(name) {
        "true" => json!(true),
        "false" => json!(false),
        _ => Value::Null,
    };
    change.insert("tracking".to_owned(), json!({"opens": is("tracking/opens"), "clicks": is("tracking/clicks")}));
    Value::Object(change)
}

/// Changes the branding.
pub(crate) async fn save(Posted { cx, form }: Posted) -> Answer {
    cx.tenant()?;
    match branding::patch(cx.engine(), &cx.caller, read(&form).to_string().as_bytes()).await {
        Ok(_) => Ok(cx.done(PATH, "Saved.")),
        Err(error) if matches!(error.kind.status(), 409 | 422) => Ok(cx.again(page(&cx, &form, &Faults::of(&error)))),
        Err(error) => Err(error.into()),
    }
}
