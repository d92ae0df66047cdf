//! HTML pages for people: the console, as one [`axum::Router`] below `/console`.
//!
//! Pages are made on the server. A handler in `pages` asks the engine through the signed-in person's [`engine::keys::Caller`], exactly as the API would, and hands plain
//! values to functions that return markup; `parts` holds the components every page is built from. Nothing here knows a business rule or a table.
//!
//! - `cx`: who looks at which tenant, in which theme and zone; the way every page request comes in.
//! - `shell`: what surrounds a page: navigation, banners, command palette.
//! - `guard`: the headers every answer carries and the refusal of requests from other sites.
//! - `assets`: styles, scripts and the font, embedded, under an address that changes with them.
//! - `read`: the engine's JSON answers as values.
//! - `live`: the one event stream of a page.
//! - `public`: the pages that links in messages lead to, which need no sign-in.
//!
//! Scripts come from files only; the Content-Security-Policy allows nothing inline and no `eval`. Pages can be read, and forms sent, without script.

mod assets;
mod cx;
mod form;
mod format;
mod guard;
mod live;
mod pages;
mod parts;
pub mod public;
mod read;
mod session;
mod shell;

use std::sync::Arc;

use axum::Router;
use engine::Engine;
use http::HeaderName;

/// Where the console lives.
pub const BASE: &str = "/console";

/// What the server decides about the console.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// A header in which a trusted proxy writes the client's address, as for the API.
    pub client_ip_header: Option<HeaderName>,
    /// The program's version, for the system page.
    pub version: &'static str,
    /// What the operator should know about the configuration, for the system page.
    pub warnings: Vec<String>,
}

/// The whole console, and `/`, which leads to it.
pub fn router(engine: Arc<Engine>, options: Options) -> Router {
    let app = App(Arc::new(Shared { engine, options }));
    pages::routes().layer(axum::middleware::from_fn_with_state(app.clone(), guard::around)).with_state(app)
}

/// What handlers share. Cheap to clone.
#[derive(Clone)]
pub(crate) struct App(Arc<Shared>);

struct Shared {
    engine: Arc<Engine>,
    options: Options,
}

impl App {
    pub(crate) fn engine(&self) -> &Arc<Engine> {
        &self.0.engine
    }

    pub(crate) fn options(&self) -> &Options {
        &self.0.options
    }
}
