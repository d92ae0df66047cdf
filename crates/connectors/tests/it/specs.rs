//! Holds the requests of all cases against the descriptions in `tests/data/specs`: the fields a provider takes, their types, and which it needs. They
//! refuse unknown fields, so what a provider would not understand is found here.
//!
//! A description is a list of operations with the JSON schema of their body. They are strict profiles made from the providers' documentation; those of
//! providers that publish a usable description (SES, SendGrid, Resend, Telegram) were taken from there.
//!
//! Known faults of what is published: SendGrid's calls `custom_args` a text, while its own libraries send an object, which is what stands here; SES's knows no statistics and SNS's no
//! form bodies, which are written down from their documentation. Mailgun's bodies are open, so that misspelt fields would pass: here they hold what is named and `v:…` and `h:…`;
//! and it takes one `url` of a webhook where its documentation has three. Telegram describes no multipart forms: they have the fields of its methods. Mailjet publishes no bodies at all:
//! its requests are held against the simulator, which reads them on its own.

use std::path::Path;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::case_file::{CaseFile, walk};

#[derive(Deserialize)]
struct Operation {
    method: String,
    path: String,
    content_type: String,
    schema: Value,
}

/// A request as a case shows it.
struct Request<'a> {
    method: &'a str,
    path: &'a str,
    content_type: &'a str,
    body: &'a str,
}

#[test]
fn requests_have_the_form_the_provider_describes() {
    let mut problems = Vec::new();
    for (id, operations) in described() {
        let mut seen = vec![0; operations.len()];
        for (_, path) in walk().into_iter().filter(|(of, _)| *of == id) {
            let case = CaseFile::parse(&std::fs::read_to_string(&path).unwrap());
            for section in case.sections.iter().filter(|section| section.name == "request") {
                let request = Request::read(&section.body);
                if request.body.is_empty() {
                    continue;
                }
                let name = path.file_name().unwrap().display();
                match operations.iter().position(|operation| operation.is_of(&request)) {
                    None => problems.push(format!("{id}/{name}: {} is not described", request.path)),
                    Some(at) => {
                        seen[at] += 1;
                        let errors = operations[at].errors(&request.value());
                        problems.extend(errors.map(|errors| format!("{id}/{name}: {errors}")));
                    }
                }
            }
        }
        let unseen = operations.iter().zip(&seen).filter(|(_, count)| **count == 0);
        problems.extend(unseen.map(|(operation, _)| format!("{id}: no case calls {}", operation.path)));
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

/// The described connectors by id.
fn described() -> Vec<(String, Vec<Operation>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/specs");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files
        .map(|path| {
            let operations = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
            (path.file_stem().unwrap().to_str().unwrap().to_owned(), operations)
        })
        .collect()
}

impl<'a> Request<'a> {
    fn read(text: &'a str) -> Self {
        let (head, body) = text.split_once("\n\n").unwrap_or((text, ""));
        let (method, url) = head.lines().next().unwrap().split_once(' ').unwrap();
        let path = url.splitn(4, '/').nth(3).unwrap_or_default().split('?').next().unwrap();
        let content_type = head.lines().find_map(|line| line.strip_prefix("content-type: ")).unwrap_or_default();
        Self { method, path, content_type, body: body.trim_end() }
    }

    /// The body as JSON; a form as an object of texts, and of lists where a name comes again.
    fn value(&self) -> Value {
        if self.content_type.starts_with("application/json") {
            return serde_json::from_str(self.body).unwrap();
        }
        if self.content_type.starts_with("multipart/form-data") {
            return self.multipart();
        }
        let pair = |line: &str| line.split_once('=').map(|(name, value)| (name.to_owned(), Value::from(value)));
        Value::Object(self.body.lines().map(|line| pair(line).unwrap()).collect::<Map<_, _>>())
    }
}

impl Request<'_> {
    /// Files count as texts.
    fn multipart(&self) -> Value {
        let (_, boundary) = self.content_type.split_once("boundary=").unwrap();
        let mut fields = Map::new();
        for part in self.body.split(&format!("--{boundary}")).skip(1).filter(|part| part.trim() != "--") {
            let (head, text) = part.trim_start().split_once("\n\n").unwrap_or((part.trim(), ""));
            let (_, name) = head.split_once("; name=\"").unwrap();
            let (name, text) = (name.split('"').next().unwrap(), Value::from(text.trim_end()));
            match fields.get_mut(name) {
                None => drop(fields.insert(name.to_owned(), text)),
                Some(Value::Array(all)) => all.push(text),
                Some(one) => *one = Value::Array(vec![one.take(), text]),
            }
        }
        Value::Object(fields)
    }
}

impl Operation {
    /// Paths are compared from their end, since a base URL may have a path of its own.
    fn is_of(&self, request: &Request<'_>) -> bool {
        let theirs: Vec<&str> = self.path.trim_start_matches('/').split('/').collect();
        let ours: Vec<&str> = request.path.split('/').collect();
        let is_same = |(their, our): (&&str, &&str)| their == our || (their.starts_with('{') && !our.is_empty());
        self.method == request.method
            && request.content_type.starts_with(&self.content_type)
            && ours.len() >= theirs.len()
            && theirs.iter().rev().zip(ours.iter().rev()).all(is_same)
    }

    fn errors(&self, body: &Value) -> Option<String> {
        let validator = jsonschema::validator_for(&self.schema).unwrap();
        let errors: Vec<_> =
            validator.iter_errors(body).map(|error| format!("{}: {error}", error.instance_path())).collect();
        (!errors.is_empty()).then(|| errors.join("; "))
    }
}

#[test]
fn a_field_too_many_is_found() {
    let (_, operations) = described().into_iter().find(|(id, _)| id == "whatsapp_cloud").unwrap();
    let mut body =
        serde_json::json!({"messaging_product": "whatsapp", "to": "1", "type": "text", "text": {"body": "Hi"}});
    assert_eq!(operations[0].errors(&body), None);
    body["text"]["colour"] = Value::from("red");
    assert!(operations[0].errors(&body).is_some());
}
