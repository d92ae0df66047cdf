//! WhatsApp templates in Bird's Touchpoints: a template is a project with versions in it, submitted by activating one.
//! <https://docs.bird.com/api/touchpoints-api/supported-projects/whatsapp-approved-message-templates/creating-whatsapp-message-templates>
//!
//! Messages refer to a template by its project's id. The shapes of blocks, deployments and variables are from memory of Bird's documentation.

use model::{Answer, Call, Failure, FailureKind, Method};
use serde_json::{Value, json};

use super::{Api, Settings, bird, call};
use crate::{
    Cx,
    manage::{self, NewTemplate, Next, Plan, Template, TemplateStatus, Templates, each, get, reply},
    read::text,
};

const NAME: &str = "Bird";
/// Projects of one page: Bird's own limit.
const PAGE: usize = 100;
/// Projects whose versions are read, each by a request of its own: one page of them.
const PROJECTS_MAX: usize = 100;

pub(super) struct Touchpoints;

impl Templates for Touchpoints {
    fn list(&self, cx: &Cx<'_>, answers: &[Answer]) -> Plan<Vec<Template>> {
        let base = workspace(cx)?;
        let Some(first) = (!answers.is_empty()).then(|| reply(NAME, answers, 0)).transpose()? else {
            return ask(cx, Method::Get, &format!("{base}/projects?type=channelTemplate&limit={PAGE}"), None);
        };
        // Half a list would look as if the others had been deleted.
        if text(&first, "/nextPageToken").is_some_and(|token| !token.is_empty()) {
            let detail =
                format!("The workspace has more than {PROJECTS_MAX} templates, which is more than are read here.");
            return Err(Failure::new(FailureKind::Content, "too_many_templates", detail));
        }
        let projects: Vec<&Value> =
            each(&first, "/results").filter(|one| id(one).is_some()).take(PROJECTS_MAX).collect();
        if let Some(project) = projects.get(answers.len() - 1).and_then(|project| id(project)) {
            return ask(
                cx,
                Method::Get,
                &format!("{base}/projects/{project}/channel-templates?limit={PAGE}&reverse=true"),
                None,
            );
        }
        let mut all = Vec::new();
        for (index, project) in projects.iter().enumerate() {
            all.extend(read(project, &reply(NAME, answers, index + 1)?));
        }
        Ok(Next::Done(all))
    }

    fn create(&self, cx: &Cx<'_>, new: &NewTemplate, answers: &[Answer]) -> Option<Plan<Template>> {
        let settings = Settings::read(cx.settings).ok().filter(|settings| settings.api == Api::Bird)?;
        let group = settings.whatsapp_channel_group_id?;
        Some(create(cx, &group, new, answers))
    }

    fn remove(&self, cx: &Cx<'_>, template: &Template, answers: &[Answer]) -> Option<Plan<()>> {
        Some(remove(cx, template, answers))
    }
}

fn remove(cx: &Cx<'_>, template: &Template, answers: &[Answer]) -> Plan<()> {
    if answers.is_empty() {
        return ask(cx, Method::Delete, &format!("{}/projects/{}", workspace(cx)?, segment(&template.id)?), None);
    }
    match get(answers, 0)?.status {
        404 | 204 => Ok(Next::Done(())),
        _ => reply(NAME, answers, 0).map(|_| Next::Done(())),
    }
}

fn create(cx: &Cx<'_>, group: &str, new: &NewTemplate, answers: &[Answer]) -> Plan<Template> {
    let base = workspace(cx)?;
    let made = |index: usize| -> Result<String, Failure> {
        let body = reply(NAME, answers, index)?;
        id(&body).map(str::to_owned).ok_or_else(|| manage::unreadable(NAME))
    };
    match answers.len() {
        0 => {
            // What the second step would refuse is refused before there is a project.
            version(group, new)?;
            ask(
                cx,
                Method::Post,
                &format!("{base}/projects"),
                Some(json!({ "name": new.name, "type": "channelTemplate" })),
            )
        }
        1 => ask(
            cx,
            Method::Post,
            &format!("{base}/projects/{}/channel-templates", made(0)?),
            Some(version(group, new)?),
        ),
        // A project whose version was refused would be left over.
        2 if made(1).is_err() => ask(cx, Method::Delete, &format!("{base}/projects/{}", made(0)?), None),
        2 => {
            let path = format!("{base}/projects/{}/channel-templates/{}/activate", made(0)?, made(1)?);
            ask(cx, Method::Put, &path, Some(json!({})))
        }
        _ => {
            made(1)?;
            let activated = reply(NAME, answers, 2)?;
            Ok(Next::Done(Template {
                name: new.name.clone(),
                language: new.language.clone(),
                id: made(0)?,
                category: new.category.clone(),
                status: status(text(&activated, "/status").unwrap_or("pending")),
                quality: None,
                reason: None,
                components: new.components.clone(),
            }))
        }
    }
}

/// A version in Bird's form. What that has no place for here is refused, never dropped.
fn version(group: &str, new: &NewTemplate) -> Result<Value, Failure> {
    let refuse = |detail: &str| Failure::new(FailureKind::Content, "not_supported", format!("`/components`: {detail}"));
    if new.component("BUTTONS").is_some() {
        return Err(refuse("templates with buttons are made in Bird's own Studio"));
    }
    let header = new.component("HEADER");
    if header.is_some_and(|header| text(header, "/format").is_some_and(|format| !format.eq_ignore_ascii_case("TEXT"))) {
        return Err(refuse("headers with media are made in Bird's own Studio, where the sample is uploaded"));
    }
    let block =
        |role: &str, words: &str| json!({ "id": role, "type": "text", "role": role, "text": { "text": words } });
    let words = |component: Option<&Value>| component.and_then(|part| text(part, "/text")).map(str::to_owned);
    let mut blocks: Vec<Value> = words(header).map(|words| block("header", &words)).into_iter().collect();
    blocks.push(block("body", new.body()));
    blocks.extend(words(new.component("FOOTER")).map(|words| block("footer", &words)));
    let variables: Vec<Value> = new
        .examples()
        .iter()
        .enumerate()
        .map(|(index, sample)| {
            json!({
                "key": (index + 1).to_string(), "type": "string",
                "examplesLocale": { (new.language.as_str()): { "exampleValueStrings": [sample] } },
            })
        })
        .collect();
    let deployment = |key: &str, value: &str| json!({ "key": key, "platform": "whatsapp", "value": value });
    Ok(json!({
        "defaultLocale": new.language,
        "supportedPlatforms": ["whatsapp"],
        "deployments": [
            deployment("whatsappTemplateName", &new.name),
            deployment("whatsappCategory", &new.category),
        ],
        "variables": variables,
        "platformContent": [{
            "platform": "whatsapp", "locale": new.language, "type": "text", "channelGroupIds": [group], "blocks": blocks,
        }],
    }))
}

/// The newest version of a project that may be sent or is under review, or else its newest.
fn read(project: &Value, versions: &Value) -> Option<Template> {
    let all: Vec<&Value> = each(versions, "/results").collect();
    let has = |wanted: TemplateStatus| {
        move |version: &&&Value| status(text(version, "/status").unwrap_or_default()) == wanted
    };
    let version = all
        .iter()
        .find(has(TemplateStatus::Approved))
        .or_else(|| all.iter().find(has(TemplateStatus::Submitted)))
        .or_else(|| all.first())?;
    let is_whatsapp = |content: &&Value| text(content, "/platform") == Some("whatsapp");
    let content = each(version, "/platformContent").find(is_whatsapp);
    let deployment = |key: &str| {
        let found = each(version, "/deployments").find(|one| text(one, "/key") == Some(key));
        found.and_then(|one| text(one, "/value")).map(str::to_owned)
    };
    let language = content.and_then(|content| text(content, "/locale")).or(text(version, "/defaultLocale"));
    let part = |block: &Value| {
        let role = text(block, "/role")?.to_uppercase();
        Some(json!({ "type": role, "text": text(block, "/text/text")? }))
    };
    Some(Template {
        name: deployment("whatsappTemplateName").or_else(|| text(project, "/name").map(str::to_owned))?,
        language: language.unwrap_or_default().to_owned(),
        id: id(project)?.to_owned(),
        category: deployment("whatsappCategory").unwrap_or_default(),
        status: status(text(version, "/status").unwrap_or_default()),
        quality: text(version, "/platformInfo/qualityRating").filter(|word| *word != "UNKNOWN").map(str::to_owned),
        reason: text(version, "/rejectionReason").map(str::to_owned),
        components: content.into_iter().flat_map(|content| each(content, "/blocks")).filter_map(part).collect(),
    })
}

fn status(word: &str) -> TemplateStatus {
    match word {
        "inactive" => TemplateStatus::Disabled,
        word => TemplateStatus::read(word),
    }
}

fn id(value: &Value) -> Option<&str> {
    text(value, "/id").filter(|id| segment(id).is_ok())
}

/// An id that can be a part of a path.
fn segment(id: &str) -> Result<&str, Failure> {
    let is_plain = !id.is_empty() && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    if is_plain { Ok(id) } else { Err(manage::unreadable(NAME)) }
}

fn workspace(cx: &Cx<'_>) -> Result<String, Failure> {
    let settings = Settings::read(cx.settings)?;
    if settings.api == Api::Classic {
        let detail = "The classic MessageBird API has no templates: make them in its dashboard, or move the account to Bird (`api` bird).";
        return Err(Failure::new(FailureKind::Content, "not_offered", detail));
    }
    let id = settings.workspace_id.ok_or_else(|| {
        Failure::new(FailureKind::Account, "no_workspace", "The account names no workspace. Set `workspace_id`.")
    })?;
    Ok(format!("/workspaces/{id}"))
}

fn ask<T>(cx: &Cx<'_>, method: Method, path: &str, body: Option<Value>) -> Plan<T> {
    let settings = Settings::read(cx.settings)?;
    let call = call(cx, &settings, method, bird::HOST, path);
    Ok(Next::Call(Call::Http(match body {
        Some(body) => manage::json_body(call, &body),
        None => call,
    })))
}
