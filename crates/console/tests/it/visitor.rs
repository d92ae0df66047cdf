//! Somebody with a browser.

use axum::body::Body;
use engine::access::{
    Outcome,
    sessions::Device,
    sign_in,
    users::{self, NewMember},
};
use http::{Request, Response, StatusCode, header};
use http_body_util::BodyExt as _;
use testkit::Stage;
use tower::ServiceExt as _;

/// A browser without script, signed in.
pub struct Visitor {
    router: axum::Router,
    cookies: String,
}

/// What came back.
pub struct Shown {
    pub status: StatusCode,
    pub headers: http::HeaderMap,
    pub text: String,
}

impl Visitor {
    /// Somebody with this role in the stage's tenant, who may have been there before.
    pub async fn with_role(stage: &Stage, role: &str) -> Self {
        Self::known_as(stage, &format!("{role}@example.com"), role, &[]).await
    }

    /// Somebody with this address, this role, and this beyond it.
    pub async fn known_as(stage: &Stage, email: &str, role: &str, permissions: &[&str]) -> Self {
        let granted: Vec<String> = permissions.iter().map(|word| (*word).to_owned()).collect();
        let new = NewMember {
            email: email.to_owned(),
            name: Some("Vera Visitor".to_owned()),
            role: role.to_owned(),
            permissions: (!granted.is_empty()).then_some(granted),
        };
        let parts = stage.engine.parts();
        let id = match users::make(parts, &stage.caller, new).await {
            Ok(made) => made.view.id,
            Err(error) if error.code == "already_a_member" => {
                let known = users::list(parts, &stage.caller, None, None).await.unwrap().data;
                known.into_iter().find(|user| user.email == email).unwrap().id
            }
            Err(error) => panic!("{error:?}"),
        };
        let link = sign_in::sign_in_link(parts, id, Some(stage.tenant)).await.unwrap();
        let now = stage.engine.ports.clock.now();
        let outcome = sign_in::with_link(parts, link.reveal(), &Device::default(), now).await.unwrap();
        let Outcome::SignedIn(signed_in) = outcome else { panic!("no second factor was set up") };
        Self {
            router: console::router(stage.engine.clone(), console::Options::default()),
            cookies: format!("tidings_session={}; zone=UTC", signed_in.token.reveal()),
        }
    }

    /// Somebody who may do everything in the stage's tenant.
    pub async fn new(stage: &Stage) -> Self {
        Self::with_role(stage, "owner").await
    }

    /// Somebody who is not signed in.
    pub fn stranger(stage: &Stage) -> Self {
        Self { router: console::router(stage.engine.clone(), console::Options::default()), cookies: String::new() }
    }

    async fn ask(&self, request: Request<Body>) -> Shown {
        let response: Response<Body> = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let text = String::from_utf8_lossy(&body.collect().await.unwrap().to_bytes()).into_owned();
        Shown { status: parts.status, headers: parts.headers, text }
    }

    /// Opens a page.
    pub async fn get(&self, path: &str) -> Shown {
        let request = Request::get(path).header(header::COOKIE, &self.cookies);
        self.ask(request.body(Body::empty()).unwrap()).await
    }

    /// Sends a form with the token a page gave out.
    pub async fn post(&self, path: &str, fields: &[(&str, &str)]) -> Shown {
        let token = self.get("/console").await.token();
        let fields: Vec<(&str, &str)> = fields.iter().copied().chain([("csrf", token.as_str())]).collect();
        self.post_bare(path, &fields).await
    }

    /// Sends the form of a window on a page, as the script does.
    pub async fn ask_in_window(&self, id: &str, path: &str, fields: &[(&str, &str)]) -> Shown {
        let token = self.get("/console").await.token();
        let fields: Vec<(&str, &str)> = fields.iter().copied().chain([("csrf", token.as_str())]).collect();
        self.ask_in_window_bare(id, path, &fields).await
    }

    /// The same as it is.
    pub async fn ask_in_window_bare(&self, id: &str, path: &str, fields: &[(&str, &str)]) -> Shown {
        let body = serde_urlencoded::to_string(fields).unwrap();
        let request = Request::post(path).header(header::COOKIE, &self.cookies).header("sec-fetch-site", "same-origin");
        self.ask(request.header("hx-target", format!("{id}-said")).body(Body::from(body)).unwrap()).await
    }

    /// Uploads a file, as the script does; answers where it leads.
    pub async fn upload(&self, path: &str, name: &str, kind: &str, bytes: &str) -> String {
        let token = self.get("/console").await.token();
        let request = Request::post(path).header(header::COOKIE, &self.cookies).header("sec-fetch-site", "same-origin");
        let request = request.header("x-csrf-token", token).header("x-filename", name).header("content-type", kind);
        let shown = self.ask(request.body(Body::from(bytes.to_owned())).unwrap()).await;
        shown.headers.get("x-go").unwrap_or_else(|| panic!("{}", shown.text)).to_str().unwrap().to_owned()
    }

    /// Sends a form as it is.
    pub async fn post_bare(&self, path: &str, fields: &[(&str, &str)]) -> Shown {
        let body = serde_urlencoded::to_string(fields).unwrap();
        let request = Request::post(path).header(header::COOKIE, &self.cookies).header("sec-fetch-site", "same-origin");
        self.ask(request.body(Body::from(body)).unwrap()).await
    }
}

impl Shown {
    /// Where it leads.
    pub fn location(&self) -> &str {
        self.headers[header::LOCATION].to_str().unwrap()
    }

    /// The token of the forms on it.
    pub fn token(&self) -> String {
        let (_, rest) = self.text.split_once("name=\"csrf\" value=\"").expect("a page has a form with a token");
        rest.split('"').next().unwrap().to_owned()
    }
}
