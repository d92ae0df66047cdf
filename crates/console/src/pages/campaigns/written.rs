//! The builder's form as a campaign and back. What the form has no field for stays as it was.

use engine::{
    Error,
    accept::request,
    campaigns::{CampaignPatch, CampaignView, NewCampaign},
};
use model::Channel;
use serde_json::{Map, Value, json};

use crate::form::Form;

/// Variants the form offers beside those a campaign has already.
pub(super) const VARIANTS: usize = 2;

/// The texts of a channel, as its content calls them.
pub(super) const fn texts(channel: Channel) -> &'static [&'static str] {
    match channel {
        Channel::Email => &["subject", "text", "html"],
        Channel::Voice => &["say", "language"],
        Channel::Sms | Channel::Whatsapp | Channel::Telegram | Channel::Webhook => &["text"],
    }
}

/// How many variants a form has.
pub(super) fn variants(form: &Form) -> usize {
    form.text("count").parse().unwrap_or(VARIANTS).clamp(VARIANTS, 5)
}

/// Fills the form with a campaign.
pub(super) fn fill(view: &CampaignView) -> Result<Form, Error> {
    let campaign = serde_json::to_value(view).map_err(Error::internal)?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut form = Form::default();
    for name in ["name", "description", "channel", "topic", "account_id"] {
        form.set(name, text(&campaign[name]));
    }
    if view.remove_without_consent {
        form.set("remove_without_consent", "true");
    }
    form.set("purpose", campaign["purpose"].as_str().unwrap_or("marketing"));
    for name in ["lists", "segments", "exclude_lists", "exclude_segments"] {
        for id in campaign["audience"][name].as_array().into_iter().flatten() {
            form.set(format!("audience/{name}"), text(id));
        }
    }
    let says = if !view.variants.is_empty() {
        "variants"
    } else if view.template.is_some() {
        "template"
    } else {
        "content"
    };
    form.set("says", says);
    said(&mut form, "", &campaign, view.channel);
    form.set("count", view.variants.len().max(VARIANTS).to_string());
    for (index, variant) in campaign["variants"].as_array().into_iter().flatten().enumerate() {
        said(&mut form, &format!("variants/{index}/"), variant, view.channel);
        form.set(format!("variants/{index}/share"), variant["share"].to_string());
    }
    if let Some(test) = &view.test {
        form.set("test/percent", test.percent.to_string());
        form.set("test/metric", text(&campaign["test"]["metric"]));
        form.set("test/duration_s", (f64::from(test.duration_s) / 3600.0).to_string());
        form.set("test/automatic", test.automatic.to_string());
    }
    Ok(form)
}

fn said(form: &mut Form, base: &str, from: &Value, channel: Channel) {
    let template = from["template"]["id"].as_str().or_else(|| from["template"]["name"].as_str());
    form.set(format!("{base}template"), template.unwrap_or_default());
    for name in texts(channel) {
        form.set(format!("{base}content/{name}"), from["content"][*name].as_str().unwrap_or_default());
    }
}

/// What the form says below `base`, over what was there: a template, or a content.
fn says(form: &Form, channel: Channel, base: &str, before: &Value, is_template: bool) -> (Value, Value) {
    if is_template {
        let chosen = form.text(&format!("{base}template"));
        let mut template = before["template"].as_object().cloned().unwrap_or_default();
        if template.get("id").or_else(|| template.get("name")).and_then(Value::as_str) != Some(chosen) {
            template = Map::from_iter([("id".to_owned(), json!(chosen))]);
        }
        return (Value::Null, Value::Object(template));
    }
    let mut content = before["content"].as_object().cloned().unwrap_or_default();
    for name in texts(channel) {
        let text = form.get(&format!("{base}content/{name}")).map(|text| text.replace("\r\n", "\n"));
        match text.filter(|text| !text.trim().is_empty()) {
            Some(text) => drop(content.insert((*name).to_owned(), Value::String(text))),
            None => drop(content.remove(*name)),
        }
    }
    (Value::Object(content), Value::Null)
}

/// A whole number as it was typed; what is none stays a text, and the engine says so.
fn number(text: &str) -> Value {
    text.parse::<u32>().map_or_else(|_| json!(text), |number| json!(number))
}

/// The fields a form stands for. `before`: the campaign as it was, or nothing.
fn fields(form: &Form, channel: Channel, before: &Value) -> Result<Value, Error> {
    let or_null = |name: &str| form.filled(name).map_or(Value::Null, |text| json!(text));
    let ids = |name: &str| form.all(&format!("audience/{name}")).map(Value::from).collect::<Vec<_>>();
    let mut audience = before["audience"].as_object().cloned().unwrap_or_default();
    for name in ["lists", "segments", "exclude_lists", "exclude_segments"] {
        audience.insert(name.to_owned(), Value::Array(ids(name)));
    }
    let mut fields = json!({
        "name": form.text("name"), "description": or_null("description"), "channel": channel, "purpose": or_null("purpose"),
        "topic": or_null("topic"), "account_id": or_null("account_id"), "audience": audience,
        "content": null, "template": null, "variants": [], "test": null, "remove_without_consent": form.is_on("remove_without_consent"),
    });
    if form.text("says") != "variants" {
        let (content, template) = says(form, channel, "", before, form.text("says") == "template");
        (fields["content"], fields["template"]) = (content, template);
        return Ok(fields);
    }
    let variant = |index: usize| {
        let base = format!("variants/{index}/");
        let is_template = form.filled(&format!("{base}template")).is_some();
        let (content, template) = says(form, channel, &base, &before["variants"][index], is_template);
        json!({"content": content, "template": template, "share": form.filled(&format!("{base}share")).map_or(json!(1), number)})
    };
    fields["variants"] = (0..variants(form)).map(variant).collect();
    let hours: f64 = form.text("test/duration_s").parse().unwrap_or(0.0);
    fields["test"] = json!({
        "percent": number(form.text("test/percent")), "metric": form.filled("test/metric").unwrap_or("delivered"),
        "duration_s": (hours * 3600.0).round().clamp(0.0, f64::from(u32::MAX)) as u32, "automatic": form.is_on("test/automatic"),
    });
    Ok(fields)
}

/// A campaign to be made.
pub(super) fn new(form: &Form, channel: Channel) -> Result<NewCampaign, Error> {
    request::read(fields(form, channel, &Value::Null)?.to_string().as_bytes(), "")
}

/// The changes of a campaign.
pub(super) fn patch(form: &Form, before: &CampaignView) -> Result<CampaignPatch, Error> {
    let before_fields = serde_json::to_value(before).map_err(Error::internal)?;
    request::read(fields(form, before.channel, &before_fields)?.to_string().as_bytes(), "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_the_campaign_it_stands_for() {
        let form = |fields: &[(&str, &str)]| Form::of(fields.iter().copied());
        let check = |form: Form, before: Value, expected: &[(&str, Value)]| {
            let fields = fields(&form, Channel::Email, &before).unwrap();
            expected.iter().for_each(|(pointer, value)| assert_eq!(fields.pointer(pointer), Some(value), "{pointer}"));
        };
        check(
            form(&[
                ("says", "content"),
                ("content/subject", "Hi"),
                ("content/text", "a\r\nb"),
                ("audience/lists", "lst_1"),
                ("audience/lists", "lst_2"),
            ]),
            json!({"content": {"text": "old", "headers": {"X-A": "b"}}, "audience": {"contact_ids": ["con_1"]}}),
            &[
                ("/content", json!({"subject": "Hi", "text": "a\nb", "headers": {"X-A": "b"}})),
                ("/audience/lists", json!(["lst_1", "lst_2"])),
                ("/audience/contact_ids", json!(["con_1"])),
                ("/template", Value::Null),
            ],
        );
        check(
            form(&[("says", "template"), ("template", "tpl_1"), ("content/subject", "left over")]),
            json!({"template": {"id": "tpl_1", "locale": "de"}}),
            &[("/template", json!({"id": "tpl_1", "locale": "de"})), ("/content", Value::Null)],
        );
        check(
            form(&[
                ("says", "variants"),
                ("variants/0/template", "tpl_1"),
                ("variants/1/content/subject", "B"),
                ("test/percent", "20"),
                ("test/duration_s", "1.5"),
                ("test/automatic", "true"),
            ]),
            Value::Null,
            &[
                ("/variants/0/template", json!({"id": "tpl_1"})),
                ("/variants/1/content", json!({"subject": "B"})),
                ("/test/duration_s", json!(5400)),
                ("/test/automatic", json!(true)),
            ],
        );
    }
}
