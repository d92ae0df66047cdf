//! The app's templates. Making and deleting them goes by the app's id, which is looked up by its name.
//! <https://docs.gupshup.io/reference/get_wa-api-v1-template-list-appname>

use model::{Answer, Call, Failure, FailureKind, Method};
use serde_json::{Value, json};
use url::form_urlencoded;

use super::{NAME, Settings, request};
use crate::{
    Cx,
    manage::{self, NewTemplate, Next, Plan, Template, TemplateStatus, Templates, each, get, reply},
    read::text,
};

pub(super) struct AppTemplates;

impl Templates for AppTemplates {
    fn list(&self, cx: &Cx<'_>, answers: &[Answer]) -> Plan<Vec<Template>> {
        if answers.is_empty() {
            let app = app(cx)?;
            return ask(cx, Method::Get, &format!("/wa/api/v1/template/list/{app}"), &[]);
        }
        let body = success(answers, 0)?;
        Ok(Next::Done(each(&body, "/templates").filter_map(read).collect()))
    }

    fn create(&self, cx: &Cx<'_>, new: &NewTemplate, answers: &[Answer]) -> Option<Plan<Template>> {
        Settings::read(cx.settings).ok()?.app_id.as_ref()?;
        Some(create(cx, new, answers))
    }

    fn remove(&self, cx: &Cx<'_>, template: &Template, answers: &[Answer]) -> Option<Plan<()>> {
        let id = Settings::read(cx.settings).ok()?.app_id?;
        if answers.is_empty() {
            return Some(ask(cx, Method::Delete, &format!("/wa/app/{id}/template/{}", template.name), &[]));
        }
        Some(removed(answers))
    }
}

fn removed(answers: &[Answer]) -> Plan<()> {
    match get(answers, 0)?.status {
        404 => Ok(Next::Done(())),
        _ => success(answers, 0).map(|_| Next::Done(())),
    }
}

fn create(cx: &Cx<'_>, new: &NewTemplate, answers: &[Answer]) -> Plan<Template> {
    let id = Settings::read(cx.settings)?.app_id.unwrap_or_default();
    if answers.is_empty() {
        let refuse =
            |detail: &str| Failure::new(FailureKind::Content, "not_supported", format!("`/components`: {detail}"));
        let header = new.component("HEADER");
        if header
            .is_some_and(|header| text(header, "/format").is_some_and(|format| !format.eq_ignore_ascii_case("TEXT")))
        {
            return Err(refuse("headers with media are made in Gupshup's dashboard, where the sample is uploaded"));
        }
        let (body, mut example) = (new.body(), new.body().to_owned());
        for (index, sample) in new.examples().iter().enumerate() {
            example = example.replace(&format!("{{{{{}}}}}", index + 1), sample);
        }
        let header = header.and_then(|header| text(header, "/text")).unwrap_or_default();
        let footer = new.component("FOOTER").and_then(|footer| text(footer, "/text")).unwrap_or_default();
        let buttons = new.component("BUTTONS").and_then(|buttons| buttons.get("buttons")).map(Value::to_string);
        let mut pairs = vec![
            ("appId", id.as_str()),
            ("elementName", new.name.as_str()),
            ("languageCode", new.language.as_str()),
            ("category", new.category.as_str()),
            ("templateType", "TEXT"),
            ("content", body),
            ("example", example.as_str()),
            ("vertical", "Tidings"),
        ];
        let optional = [
            ("header", header),
            ("exampleHeader", header),
            ("footer", footer),
            ("buttons", buttons.as_deref().unwrap_or_default()),
        ];
        pairs.extend(optional.into_iter().filter(|(_, value)| !value.is_empty()));
        return ask(cx, Method::Post, &format!("/wa/app/{id}/template"), &pairs);
    }
    let body = success(answers, 0)?;
    let made = body.get("template").and_then(read).ok_or_else(|| manage::unreadable(NAME))?;
    Ok(Next::Done(Template { components: new.components.clone(), ..made }))
}

/// The app's name in a path, where a space is %20 and no plus.
fn app(cx: &Cx<'_>) -> Result<String, Failure> {
    let settings = Settings::read(cx.settings)?;
    Ok(form_urlencoded::byte_serialize(settings.app_name.as_bytes()).collect::<String>().replace('+', "%20"))
}

/// Gupshup also refuses with 200.
fn success(answers: &[Answer], index: usize) -> Result<Value, Failure> {
    let body = reply(NAME, answers, index)?;
    match text(&body, "/status") {
        Some("error") => Err(manage::refused(NAME, get(answers, index)?)),
        _ => Ok(body),
    }
}

fn ask<T>(cx: &Cx<'_>, method: Method, path: &str, pairs: &[(&str, &str)]) -> Plan<T> {
    let settings = Settings::read(cx.settings)?;
    let call = request::request(cx, &settings, method, path);
    Ok(Next::Call(Call::Http(if pairs.is_empty() { call } else { manage::form(call, pairs) })))
}

fn read(row: &Value) -> Option<Template> {
    let body = text(row, "/data").map(|body| json!({ "type": "BODY", "text": body }));
    Some(Template {
        name: text(row, "/elementName")?.to_owned(),
        language: text(row, "/languageCode").unwrap_or_default().to_owned(),
        id: text(row, "/id")?.to_owned(),
        category: text(row, "/category").unwrap_or_default().to_owned(),
        status: TemplateStatus::read(text(row, "/status").unwrap_or_default()),
        quality: text(row, "/quality").filter(|word| *word != "UNKNOWN").map(str::to_owned),
        reason: text(row, "/reason").map(str::to_owned),
        components: body.into_iter().collect(),
    })
}
