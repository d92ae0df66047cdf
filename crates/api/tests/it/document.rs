//! The OpenAPI document: what it must say about every operation, whether it is valid, and whether it is the one in the repository.

use std::{env, fs, path::Path};

use api::access::{Access, OPERATIONS, Verb};
use roas::{
    v3_1::spec::Spec,
    validation::{Options, Validate},
};
use serde_json::{Value, json};

use crate::support::{DOCUMENT, validate};

/// What the validator finds wrong.
fn faults(document: &Value) -> Vec<String> {
    let spec: Spec = match serde_json::from_value(document.clone()) {
        Ok(spec) => spec,
        Err(error) => return vec![error.to_string()],
    };
    // The validator does not look into the items of an array that may also be null; schemas that nothing refers to are dropped when the document is made.
    match spec.validate(Options::IgnoreExternalReferences | Options::IgnoreUnusedSchemas, None) {
        Ok(()) => Vec::new(),
        Err(error) => error.errors.iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn the_document_is_valid_openapi() {
    assert_eq!(faults(&DOCUMENT), Vec::<String>::new());
}

#[test]
fn the_validator_notices_what_is_wrong() {
    let check = |what: &str, change: &dyn Fn(&mut Value)| {
        let mut document = DOCUMENT.clone();
        change(&mut document);
        assert!(!faults(&document).is_empty(), "{what} is not noticed");
    };
    check("a schema that is not there", &|document| {
        document["paths"]["/v1/messages"]["post"]["requestBody"]["content"]["application/json"]["schema"] =
            json!({"$ref": "#/components/schemas/Nothing"});
    });
    check("a second operation of the same name", &|document| {
        document["paths"]["/v1/messages"]["get"]["operationId"] = json!("send_message");
    });
    check("a parameter that is nowhere", &|document| {
        document["paths"]["/v1/messages"]["get"]["parameters"][0]["in"] = json!("pocket");
    });
    check("a title that is empty", &|document| document["info"]["title"] = json!(""));
    check("responses that are missing", &|document| {
        document["paths"]["/v1/messages"]["get"]["responses"]["200"] = json!({"content": {}});
    });
}

/// The document in the repository is the one the code makes. `UPDATE_OPENAPI=1` writes it.
#[test]
fn the_document_in_the_repository_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("openapi.json");
    let now = format!("{:#}\n", *DOCUMENT);
    if env::var_os("UPDATE_OPENAPI").is_some() {
        fs::write(&path, &now).unwrap();
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    let line = kept.lines().zip(now.lines()).position(|(kept, now)| kept != now);
    assert!(
        kept == now,
        "openapi.json differs from the code from line {} on. If that is meant, run the tests with UPDATE_OPENAPI=1 and commit it.",
        line.unwrap_or_else(|| kept.lines().count().min(now.lines().count())) + 1
    );
}

#[test]
fn every_operation_is_told_in_full() {
    for operation in OPERATIONS {
        let name = format!("{} {}", operation.method.as_str(), operation.path);
        let described = &DOCUMENT["paths"][operation.path][operation.method.as_str()];
        for member in ["summary", "description", "operationId"] {
            assert!(described[member].as_str().is_some_and(|text| text.len() > 4), "{name} has no {member}");
        }
        assert_eq!(described["tags"].as_array().map(Vec::len), Some(1), "{name} has one tag");
        check_access(&name, described, operation.access);
        check_errors(&name, described, operation.access, operation.method);
        check_examples(&name, described);
        let ids = operation.path.matches('{').count();
        let parameters = described["parameters"].as_array().cloned().unwrap_or_default();
        assert_eq!(
            parameters.iter().filter(|parameter| parameter["in"] == "path").count(),
            ids,
            "{name}: ids in the path"
        );
    }
}

#[test]
fn every_table_is_to_be_had_by_the_query() {
    let mut tables = 0;
    for operation in OPERATIONS {
        let described = &DOCUMENT["paths"][operation.path][operation.method.as_str()];
        if described["responses"]["200"]["content"]["text/csv"].is_null() {
            continue;
        }
        tables += 1;
        let parameters = described["parameters"].as_array().cloned().unwrap_or_default();
        assert!(parameters.iter().any(|parameter| parameter["name"] == "format"), "{} has no `format`", operation.path);
    }
    assert!(tables >= 9, "{tables}");
}

fn check_access(name: &str, described: &Value, access: Access) {
    match access.scope() {
        Some(scope) => {
            assert_eq!(described["x-scope"], scope, "{name}");
            assert_eq!(described["security"][0].as_object().unwrap().values().next(), Some(&json!([scope])), "{name}");
            assert!(described["description"].as_str().unwrap().contains(scope), "{name} does not name its scope");
        }
        None if access == Access::Person => assert_eq!(described["security"], json!([{"session": []}]), "{name}"),
        None => assert_eq!(described["security"], json!([]), "{name}"),
    }
}

fn check_errors(name: &str, described: &Value, access: Access, verb: Verb) {
    let statuses: Vec<&str> = described["responses"].as_object().unwrap().keys().map(String::as_str).collect();
    let succeeds = |status: &&str| status.starts_with(['2', '3']);
    assert!(statuses.iter().any(succeeds), "{name} never succeeds");
    let mut wanted = vec![];
    if access.scope().is_some() {
        wanted.extend(["400", "401", "403", "404", "429", "500", "503"]);
        if matches!(verb, Verb::Post | Verb::Patch) {
            wanted.extend(["409", "413", "415", "422"]);
        }
    }
    for status in wanted {
        assert!(statuses.contains(&status), "{name} does not tell of {status}");
        let response = &described["responses"][status];
        let response = match response["$ref"].as_str() {
            Some(reference) => DOCUMENT.pointer(reference.trim_start_matches('#')).unwrap(),
            None => response,
        };
        let content = &response["content"]["application/problem+json"];
        assert!(
            content["schema"].is_object() && content["example"].is_object(),
            "{name}: {status} is no whole problem"
        );
    }
}

/// Every body has an example, and every example fits its schema.
fn check_examples(name: &str, described: &Value) {
    let mut bodies: Vec<(String, &Value)> = Vec::new();
    for (kind, content) in described["requestBody"]["content"].as_object().into_iter().flatten() {
        bodies.push((format!("{name} takes {kind}"), content));
    }
    for (status, response) in described["responses"].as_object().unwrap() {
        for (kind, content) in response["content"].as_object().into_iter().flatten() {
            bodies.push((format!("{name} answers {status} {kind}"), content));
        }
    }
    for (what, content) in bodies {
        assert!(!content["example"].is_null(), "{what} without an example");
        if content["schema"].is_object() {
            validate(&content["schema"], &content["example"], &what);
        }
    }
}

#[test]
fn the_examples_of_errors_fit_their_schema() {
    for (name, response) in DOCUMENT["components"]["responses"].as_object().unwrap() {
        let content = &response["content"]["application/problem+json"];
        validate(&content["schema"], &content["example"], name);
    }
}

#[test]
fn nothing_is_described_that_is_not_in_the_table() {
    for (path, item) in DOCUMENT["paths"].as_object().unwrap() {
        for verb in item.as_object().unwrap().keys() {
            let is_known =
                |operation: &&api::access::Operation| operation.path == path && operation.method.as_str() == verb;
            assert!(OPERATIONS.iter().any(|operation| is_known(&operation)), "{verb} {path} has no line in the table");
        }
    }
}
