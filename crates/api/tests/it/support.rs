//! One installation with two tenants, and a client that checks every answer against the OpenAPI document.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::{Arc, LazyLock, Mutex},
};

use api::{Options, access};
use axum::{Router, body::Body, extract::ConnectInfo};
use engine::{
    access::users,
    keys::{self, Caller},
};
use http::{HeaderMap, Request, StatusCode};
use jsonschema::Validator;
use model::TenantId;
use serde_json::{Map, Value, json};
use testkit::{Stage, TestDb};
use tower::ServiceExt;

/// The document, generated once.
pub static DOCUMENT: LazyLock<Value> = LazyLock::new(api::document);

/// The API on a stage, with keys that may do everything.
pub struct Api {
    pub stage: Stage,
    pub router: Router,
    /// The key of the stage's tenant.
    pub key: String,
    /// The operator's key.
    pub operator: String,
    /// From where requests come.
    pub peer: IpAddr,
}

impl Api {
    pub async fn new(db: &TestDb) -> Self {
        Self::with(Stage::new(db).await, |options| options).await
    }

    pub async fn with(stage: Stage, change: impl FnOnce(Options) -> Options) -> Self {
        let options = Options::new(|| "# metrics\n".to_owned(), || Box::pin(async { Ok(()) }));
        let router = api::router(Arc::clone(&stage.engine), change(options));
        let key = make_key(&stage, Some(stage.tenant), None).await;
        let operator = make_key(&stage, None, None).await;
        Self { stage, router, key, operator, peer: IpAddr::from([192, 0, 2, 7]) }
    }

    /// Another tenant of the same installation, with a key that may do everything.
    pub async fn another_tenant(&self) -> (TenantId, String) {
        let made = self.post("/v1/tenants", &json!({"name": "Other"})).for_operator().send().await;
        let tenant: TenantId = made.ok(201)["id"].as_str().unwrap().parse().unwrap();
        (tenant, make_key(&self.stage, Some(tenant), None).await)
    }

    /// Makes somebody a member of the stage's tenant, signs them in, and answers the token of their session.
    pub async fn sign_in(&self, email: &str, role: &str, permissions: &[&str]) -> String {
        let tenant = Caller::system(Some(self.stage.tenant));
        self.sign_in_as(&tenant, &json!({"email": email, "role": role, "permissions": permissions})).await
    }

    /// The same for one of the operator's staff.
    pub async fn sign_in_staff(&self, email: &str, role: &str) -> String {
        self.sign_in_as(&Caller::system(None), &json!({"email": email, "role": role})).await
    }

    async fn sign_in_as(&self, by: &Caller, new: &Value) -> String {
        let made =
            users::make(self.stage.engine.parts(), by, serde_json::from_value(new.clone()).unwrap()).await.unwrap();
        let given = json!({"email": made.view.email, "password": made.password.unwrap().reveal()});
        let seen = self.post("/v1/sessions", &given).anonymous().send().await.ok(200);
        seen["session"]["token"].as_str().unwrap().to_owned()
    }

    /// A key of the stage's tenant (or the operator's) with these scopes.
    pub async fn key_with(&self, tenant: Option<TenantId>, scopes: &[&str]) -> String {
        make_key(&self.stage, tenant, Some(scopes)).await
    }

    pub fn get(&self, path: &str) -> Call<'_> {
        self.call("GET", path)
    }

    pub fn post(&self, path: &str, body: &Value) -> Call<'_> {
        self.call("POST", path).json(body)
    }

    pub fn patch(&self, path: &str, body: &Value) -> Call<'_> {
        self.call("PATCH", path).json(body)
    }

    pub fn delete(&self, path: &str) -> Call<'_> {
        self.call("DELETE", path)
    }

    /// A request with the tenant's key.
    pub fn call(&self, method: &str, path: &str) -> Call<'_> {
        let call =
            Call { api: self, method: method.to_owned(), path: path.to_owned(), headers: Vec::new(), body: Vec::new() };
        call.bearer(&self.key)
    }
}

async fn make_key(stage: &Stage, tenant: Option<TenantId>, scopes: Option<&[&str]>) -> String {
    let mut new = json!({"name": "Test"});
    if let Some(scopes) = scopes {
        new["scopes"] = json!(scopes);
    }
    let new = serde_json::from_value(new).unwrap();
    keys::make(stage.engine.parts(), &Caller::system(tenant), new).await.unwrap().key
}

/// A request about to be sent.
pub struct Call<'a> {
    api: &'a Api,
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Call<'_> {
    /// Sets a header; an empty value removes it.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.retain(|(n, _)| !n.eq_ignore_ascii_case(name));
        if !value.is_empty() {
            self.headers.push((name.to_owned(), value.to_owned()));
        }
        self
    }

    pub fn bearer(self, key: &str) -> Self {
        self.header("authorization", &format!("Bearer {key}"))
    }

    pub fn for_operator(self) -> Self {
        let key = self.api.operator.clone();
        self.bearer(&key)
    }

    pub fn anonymous(self) -> Self {
        self.header("authorization", "")
    }

    pub fn json(self, body: &Value) -> Self {
        let body = body.to_string().into_bytes();
        self.header("content-type", "application/json").bytes(body)
    }

    pub fn bytes(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    pub fn keyed(self, key: &str) -> Self {
        self.header("idempotency-key", key)
    }

    pub async fn send(self) -> Seen {
        let mut request = Request::builder().method(self.method.as_str()).uri(&self.path);
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let peer = SocketAddr::new(self.api.peer, 50_000);
        let request = request.extension(ConnectInfo(peer)).body(Body::from(self.body)).unwrap();
        let response = self.api.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = axum::body::to_bytes(body, usize::MAX).await.unwrap().to_vec();
        let seen =
            Seen { what: format!("{} {}", self.method, self.path), status: parts.status, headers: parts.headers, body };
        seen.check(&self.method, &self.path);
        seen
    }
}

/// An answer.
pub struct Seen {
    what: String,
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Seen {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{}: {error}: {}", self.what, self.text()))
    }

    /// The body of an answer that must have this status.
    pub fn ok(&self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}: {}", self.what, self.text());
        if self.body.is_empty() { Value::Null } else { self.json() }
    }

    /// The code of a problem that must have this status.
    pub fn problem(&self, status: u16) -> String {
        assert_eq!(self.status.as_u16(), status, "{}: {}", self.what, self.text());
        self.json()["code"].as_str().unwrap().to_owned()
    }

    /// The pointers of a problem's fields.
    pub fn pointers(&self) -> Vec<String> {
        let errors = self.json()["errors"].as_array().cloned().unwrap_or_default();
        errors.iter().map(|error| error["pointer"].as_str().unwrap().to_owned()).collect()
    }

    /// Holds for every answer: it has a request id, a problem is whole, and the document describes it.
    fn check(&self, method: &str, path: &str) {
        let request_id = self.header("x-request-id").unwrap_or_else(|| panic!("{} has no X-Request-Id", self.what));
        if method == "HEAD" {
            assert!(self.body.is_empty(), "{} has a body", self.what);
        } else if self.status.as_u16() >= 400 && self.header("content-type") == Some("application/problem+json") {
            let problem = self.json();
            assert_eq!(problem["status"], self.status.as_u16(), "{problem}");
            assert_eq!(problem["request_id"], request_id, "{problem}");
            assert_eq!(problem["type"], format!("urn:tidings:problem:{}", problem["code"].as_str().unwrap()));
            assert!(problem["title"].is_string() && problem["detail"].as_str().unwrap().len() > 20, "{problem}");
            strict("#/components/schemas/Problem", &problem, &self.what);
        } else if self.status.as_u16() >= 400 && !path.starts_with("/hooks") {
            panic!("{} answers {} without a problem: {}", self.what, self.status, self.text());
        }
        let path = path.split('?').next().unwrap();
        let Some(operation) = described(method, path) else { return };
        let responses = operation["responses"].as_object().unwrap();
        let documented = responses.get(self.status.as_str());
        let documented =
            documented.unwrap_or_else(|| panic!("{} answers {}, which the document lacks", self.what, self.status));
        let is_json = self.header("content-type") == Some("application/json");
        if let Some(schema) = documented.pointer("/content/application~1json/schema").filter(|_| is_json) {
            validate(schema, &self.json(), &self.what);
        }
    }
}

/// The document's operation for a concrete path.
fn described(method: &str, path: &str) -> Option<&'static Value> {
    let parts: Vec<&str> = path.split('/').collect();
    let fits = |template: &str| {
        let template: Vec<&str> = template.split('/').collect();
        template.len() == parts.len()
            && template.iter().zip(&parts).all(|(wanted, given)| wanted == given || wanted.starts_with('{'))
    };
    let exact = DOCUMENT["paths"].as_object().unwrap().get(path);
    let paths = DOCUMENT["paths"].as_object().unwrap().iter();
    let item = exact.or_else(|| paths.filter(|(template, _)| fits(template)).map(|(_, item)| item).next())?;
    item.get(method.to_ascii_lowercase())
}

/// Components in which an object has only the members that are described, so that an undescribed one is noticed.
static CLOSED: LazyLock<Value> = LazyLock::new(|| {
    let mut components = DOCUMENT["components"].clone();
    let mut open = Vec::new();
    find_composed(&DOCUMENT["components"]["schemas"], &mut open);
    find_composed(&DOCUMENT["paths"], &mut open);
    for (name, schema) in components["schemas"].as_object_mut().unwrap() {
        if !open.contains(&format!("#/components/schemas/{name}")) {
            close(schema);
        }
    }
    components
});

/// References inside `allOf`: those objects are completed by others.
fn find_composed(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(object) => {
            for part in object.get("allOf").and_then(Value::as_array).into_iter().flatten() {
                found.extend(part["$ref"].as_str().map(str::to_owned));
            }
            object.values().for_each(|value| find_composed(value, found));
        }
        Value::Array(items) => items.iter().for_each(|value| find_composed(value, found)),
        _ => {}
    }
}

fn close(schema: &mut Value) {
    if let Some(variants) = schema.get_mut("oneOf").and_then(Value::as_array_mut) {
        variants.iter_mut().for_each(close);
    }
    if schema.get("allOf").is_some() {
        schema["unevaluatedProperties"] = json!(false);
    } else if schema.get("properties").is_some() && schema.get("additionalProperties").is_none() {
        schema["additionalProperties"] = json!(false);
    }
}

fn strict(reference: &str, value: &Value, what: &str) {
    validate(&json!({ "$ref": reference }), value, what);
}

/// The schemas a schema leads to, by any number of references.
fn reached(value: &Value, schemas: &mut Map<String, Value>) {
    match value {
        Value::Object(object) => {
            if let Some(name) = object.get("$ref").and_then(Value::as_str)
                && let Some(name) = name.strip_prefix("#/components/schemas/")
                && !schemas.contains_key(name)
            {
                let schema = &CLOSED["schemas"][name];
                schemas.insert(name.to_owned(), schema.clone());
                reached(schema, schemas);
            }
            object.values().for_each(|value| reached(value, schemas));
        }
        Value::Array(items) => items.iter().for_each(|value| reached(value, schemas)),
        _ => {}
    }
}

/// What checks values against a schema of the document, made once for each schema.
fn validator(schema: &Value) -> Arc<Validator> {
    static MADE: LazyLock<Mutex<HashMap<String, Arc<Validator>>>> = LazyLock::new(Mutex::default);
    let make = || {
        let mut schemas = Map::new();
        reached(schema, &mut schemas);
        let mut whole = schema.clone();
        whole["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
        whole["components"] = json!({ "schemas": schemas });
        Arc::new(jsonschema::options().should_validate_formats(true).build(&whole).unwrap())
    };
    Arc::clone(MADE.lock().unwrap().entry(schema.to_string()).or_insert_with(make))
}

/// Checks a value against a schema of the document.
pub fn validate(schema: &Value, value: &Value, what: &str) {
    let validator = validator(schema);
    let errors: Vec<String> =
        validator.iter_errors(value).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert!(errors.is_empty(), "{what} does not fit its schema: {errors:#?}\n{value:#}");
}

/// Every operation that needs a key, as the document and the table of operations have it.
pub fn guarded() -> impl Iterator<Item = (&'static access::Operation, &'static Value)> {
    access::OPERATIONS
        .iter()
        .filter(|operation| operation.access.scope().is_some())
        .map(|operation| (operation, &DOCUMENT["paths"][operation.path][operation.method.as_str()]))
}

/// The example of an operation's request body.
pub fn example_body(described: &Value) -> Option<Value> {
    described.pointer("/requestBody/content/application~1json/example").cloned()
}
