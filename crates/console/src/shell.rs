//! What surrounds a page: navigation, the tenant and its state, the command palette, and the plain frame of pages for people who are not signed in.

use engine::{Error, directory::TenantState};
use maud::{DOCTYPE, Markup, html};

use crate::{
    BASE, assets,
    cx::{Cx, Look},
    form, format,
    parts::{self, Tone, icon, link_button},
};

/// A part of the navigation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Section {
    /// What happened today.
    Home,
    /// Messages and what became of them.
    Messages,
    /// Writing one.
    Compose,
    /// What is said more than once.
    Templates,
    /// One message to many.
    Campaigns,
    /// Channels and their accounts.
    Channels,
    /// The people messages go to.
    Contacts,
    /// What is the matter.
    Alerts,
    /// What became of messages over time.
    Analytics,
    /// What was sent by month, and what it cost.
    Usage,
    /// The tenant's settings.
    Settings,
    /// Operator: tenants.
    Tenants,
    /// Operator: tenants made to be looked at.
    Demos,
    /// Operator: every tenant's accounts.
    Health,
    /// Operator: registrations that need somebody, and numbers.
    Registrations,
    /// Operator: what waits.
    Queue,
    /// Operator: what is the matter with the installation.
    OperatorAlerts,
    /// Operator: what became of every tenant's messages.
    OperatorAnalytics,
    /// Operator: what messages cost.
    Prices,
    /// Operator: what a month costs.
    Plans,
    /// Operator: what tenants owe.
    Bills,
    /// Operator: the installation.
    System,
    /// None of them.
    Elsewhere,
}

/// One line of the navigation.
pub(crate) struct Place {
    /// Which part.
    pub(crate) section: Section,
    /// Where it is.
    pub(crate) path: &'static str,
    /// What it is called.
    pub(crate) name: &'static str,
    /// Its picture.
    pub(crate) picture: &'static str,
    /// The scope without which it is not shown.
    pub(crate) scope: &'static str,
}

const fn place(
    section: Section,
    path: &'static str,
    name: &'static str,
    picture: &'static str,
    scope: &'static str,
) -> Place {
    Place { section, path, name, picture, scope }
}

/// Inside of a tenant.
const INSIDE: &[Place] = &[
    place(Section::Home, "/console", "Home", "home", "tenant:read"),
    place(Section::Compose, "/console/compose", "Compose", "pen", "messages:write"),
    place(Section::Messages, "/console/messages", "Messages", "list", "messages:read"),
    place(Section::Contacts, "/console/contacts", "Contacts", "people", "contacts:read"),
    place(Section::Campaigns, "/console/campaigns", "Campaigns", "megaphone", "campaigns:read"),
    place(Section::Templates, "/console/templates", "Templates", "file", "templates:read"),
    place(Section::Channels, "/console/channels", "Channels", "plug", "accounts:read"),
    place(Section::Alerts, "/console/alerts", "Alerts", "alert", "alerts:read"),
    place(Section::Analytics, "/console/analytics", "Analytics", "chart", "usage:read"),
    place(Section::Usage, "/console/usage", "Usage and billing", "card", "usage:read"),
    place(Section::Settings, "/console/settings", "Settings", "gear", "tenant:read"),
];

/// For the operator.
const OPERATOR: &[Place] = &[
    place(Section::Tenants, "/console/tenants", "Tenants", "building", "tenants:read"),
    place(Section::Demos, "/console/demos", "Demos", "beaker", "demo-tenants:read"),
    place(Section::Health, "/console/operator/accounts", "Accounts", "pulse", "tenants:read"),
    place(Section::Queue, "/console/operator/queue", "Queue", "clock", "tenants:read"),
    place(Section::Registrations, "/console/operator/registrations", "Registrations", "shield", "registrations:read"),
    place(Section::OperatorAlerts, "/console/operator/alerts", "Operator's alerts", "alert", "alerts:read"),
    place(Section::OperatorAnalytics, "/console/operator/analytics", "All analytics", "chart", "usage:read"),
    place(Section::Plans, "/console/operator/plans", "Plans", "list", "plans:read"),
    place(Section::Bills, "/console/operator/invoices", "Invoices", "file", "invoices:read"),
    place(Section::Prices, "/console/operator/prices", "Prices", "card", "prices:read"),
    place(Section::System, "/console/operator/system", "System", "server", "tenants:read"),
];

/// Parts of places inside of a tenant that the palette finds by their own name.
const INSIDE_PARTS: &[Place] = &[
    place(
        Section::Contacts,
        "/console/contacts/rules",
        "Rules of consent, topics and fields",
        "people",
        "consent:read",
    ),
    place(Section::Messages, "/console/schedules", "Repeating messages", "clock", "messages:read"),
    place(
        Section::Channels,
        "/console/registration",
        "Registration with American carriers",
        "shield",
        "registrations:read",
    ),
    place(Section::Channels, "/console/registration/profile", "The business", "building", "registrations:read"),
    place(Section::Usage, "/console/billing", "Credit", "card", "credits:read"),
    place(Section::Usage, "/console/billing/purchases", "Purchases of credit", "card", "purchases:read"),
    place(Section::Usage, "/console/billing/purchases/new", "Buy credit", "card", "purchases:write"),
    place(Section::Usage, "/console/reconciliations", "Reconciliation", "check", "usage:read"),
    place(Section::Usage, "/console/reconciliations/new", "Compare records", "check", "usage:write"),
];

/// The same for the operator.
const OPERATOR_PARTS: &[Place] = &[
    place(Section::Registrations, "/console/operator/numbers", "Numbers", "phone", "numbers:read"),
    place(Section::Bills, "/console/operator/payments", "How invoices and credit are paid", "card", "credits:read"),
];

/// The parts of places this person can go to, for the palette.
pub(crate) fn parts_of_places(cx: &Cx) -> impl Iterator<Item = &'static Place> {
    let inside = INSIDE_PARTS.iter().filter(|place| cx.tenant.is_some() && cx.may(place.scope));
    inside.chain(OPERATOR_PARTS.iter().filter(|place| cx.may_outside(place.scope)))
}

/// Every place this person can go, for the navigation and the palette.
pub(crate) fn places(cx: &Cx) -> (Vec<&'static Place>, Vec<&'static Place>) {
    let inside = INSIDE.iter().filter(|place| cx.tenant.is_some() && cx.may(place.scope)).collect();
    let operator = OPERATOR.iter().filter(|place| cx.may_outside(place.scope)).collect();
    (inside, operator)
}

/// A page.
pub(crate) struct Page<'a> {
    /// Its title.
    pub(crate) title: &'a str,
    /// Where it belongs.
    pub(crate) section: Section,
    /// What leads to it: path and name.
    pub(crate) above: &'a [(&'a str, &'a str)],
    /// A sentence below the title.
    pub(crate) lead: Option<Markup>,
    /// What can be done here.
    pub(crate) actions: Option<Markup>,
    /// Tabs below the head.
    pub(crate) tabs: Option<Markup>,
    /// What it shows.
    pub(crate) body: Markup,
    /// Whether parts of it follow what happens.
    pub(crate) is_live: bool,
    /// Whether it is a form or text to read, better not too wide.
    pub(crate) is_narrow: bool,
}

impl<'a> Page<'a> {
    /// A page with a title and a body.
    pub(crate) const fn new(title: &'a str, section: Section, body: Markup) -> Self {
        Self {
            title,
            section,
            above: &[],
            lead: None,
            actions: None,
            tabs: None,
            body,
            is_live: false,
            is_narrow: false,
        }
    }
}

fn head(title: &str, is_public: bool) -> Markup {
    html! {
        head {
            meta charset="utf-8";
            meta name="viewport" content="width=device-width, initial-scale=1";
            meta name="color-scheme" content="light dark";
            @if is_public { meta name="robots" content="noindex"; }
            // htmx neither evaluates text nor adds a style of its own: the policy would refuse both.
            meta name="htmx-config" content=r#"{"allowEval":false,"includeIndicatorStyles":false,"historyCacheSize":0,"scrollBehavior":"auto"}"#;
            title { (title) " · Tidings" }
            link rel="icon" href=(assets::url("icon.svg")) type="image/svg+xml";
            link rel="preload" href=(assets::url("vendor/inter-5.3.0.woff2")) as="font" type="font/woff2" crossorigin;
            link rel="stylesheet" href=(assets::url("tokens.css"));
            link rel="stylesheet" href=(assets::url("console.css"));
            script src=(assets::url("vendor/htmx-2.0.11.min.js")) defer {}
            script src=(assets::url("console.js")) defer {}
        }
    }
}

fn mark() -> Markup {
    html! {
        svg viewBox="0 0 24 24" aria-hidden="true" {
            rect.mark width="24" height="24" rx="7" {}
            path.mark-line d="M6.5 9.500 12 13.500l5.500-4M6.500 15.500h6" {}
        }
    }
}

/// A page in the shell.
pub(crate) fn page(cx: &Cx, page: Page<'_>) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" data-theme=[cx.look.theme] {
            (head(page.title, false))
            body hx-headers=(format!(r#"{{"x-csrf-token":"{}"}}"#, cx.csrf())) {
                a.skip href="#main" { "Skip to content" }
                div.shell {
                    (side(cx, page.section))
                    a.scrim href="#main" aria-label="Close the navigation" tabindex="-1" {}
                    div.main {
                        (banner(cx))
                        (topbar(cx, &page))
                        main #main tabindex="-1" class={ "content" @if page.is_narrow { " narrow" } } {
                            div.page-head {
                                div { h1 { (page.title) } @if let Some(lead) = &page.lead { p.lead { (lead) } } }
                                @if let Some(actions) = &page.actions { div.actions { (actions) } }
                            }
                            @if let Some(tabs) = &page.tabs { (tabs) }
                            (page.body)
                        }
                    }
                }
                (palette(cx))
                div.toasts role="status" aria-live="polite" {
                    @if let Some((tone, text)) = &cx.look.said { (parts::toast(*tone, text)) }
                }
                @if page.is_live && cx.tenant.is_some() && cx.may("events:read") { live-news src="/console/live" from=[cx.newest] {} }
            }
        }
    }
}

fn side(cx: &Cx, here: Section) -> Markup {
    let (inside, operator) = places(cx);
    let line = |place: &Place| {
        html! {
            li { a href=(place.path) aria-current=[(place.section == here).then_some("page")] { (icon(place.picture)) (place.name) } }
        }
    };
    html! {
        aside.side #nav {
            a.brand href=(BASE) { (mark()) "Tidings" }
            @if cx.tenant.is_some() || cx.person.session.memberships.len() > 1 { (switcher(cx)) }
            nav.nav aria-label="Main" {
                @if !inside.is_empty() { div { ul { @for place in inside { (line(place)) } } } }
                @if !operator.is_empty() { div { h2 { "Operator" } ul { @for place in operator { (line(place)) } } } }
            }
            div.side-foot { (person(cx)) }
        }
    }
}

fn initial(name: &str) -> String {
    name.trim().chars().next().map_or_else(|| "·".to_owned(), |first| first.to_uppercase().collect())
}

fn switcher(cx: &Cx) -> Markup {
    let name = cx.tenant.as_ref().map_or("Choose a tenant", |tenant| tenant.name.as_str());
    html! {
        details.switcher {
            summary { span.avatar aria-hidden="true" { (initial(name)) } span."name clip" { (name) } span.chevron { (icon("down")) } }
            div.menu {
                @for (id, other) in cx.person.tenants() {
                    form method="post" action="/console/enter" {
                        (form::token(cx.csrf()))
                        input type="hidden" name="tenant" value=(id);
                        button type="submit" {
                            span.clip { (other) }
                            @if cx.caller.tenant == Some(id) { (icon("check")) }
                        }
                    }
                }
                @if cx.person.is_staff() {
                    a href="/console/tenants" { (icon("building")) "All tenants" }
                } @else if cx.person.session.memberships.len() < 2 {
                    span."muted small" { "You belong to this tenant only." }
                }
            }
        }
    }
}

fn person(cx: &Cx) -> Markup {
    html! {
        (theme_switch(&cx.look))
        details.switcher {
            summary { span.avatar aria-hidden="true" { (initial(cx.person.name())) } span."name clip" { (cx.person.name()) } span.chevron { (icon("down")) } }
            div."menu above" {
                a href="/console/me" { (icon("person")) "Your account" }
                form method="post" action="/console/sign-out" {
                    (form::token(cx.csrf()))
                    button type="submit" { (icon("exit")) "Sign out" }
                }
            }
        }
    }
}

fn theme_switch(look: &Look) -> Markup {
    let now = look.theme.unwrap_or("system");
    html! {
        theme-switch.theme-switch role="group" aria-label="Theme" {
            @for (theme, picture, name) in [("light", "sun", "Light"), ("dark", "moon", "Dark"), ("system", "screen", "As the system")] {
                button type="button" data-theme-to=(theme) aria-pressed=(theme == now) aria-label=(name) title=(name) { (icon(picture)) }
            }
        }
    }
}

/// What must not be overlooked on any page.
fn banner(cx: &Cx) -> Markup {
    let Some(tenant) = &cx.tenant else { return html! {} };
    let is_guest = cx.person.is_staff() && cx.person.session.membership(tenant.id).is_none();
    html! {
        @if is_guest {
            section.banner aria-label="Whose tenant this is" {
                (icon("shield")) span { "You are in " strong { (tenant.name) } " as the operator. What you change here is in both audit logs, the tenant's and the operator's." }
                (parts::act("/console/leave", cx.csrf(), "small", None, "Leave"))
            }
        }
        @if tenant.state == TenantState::Suspended {
            section."banner bad" aria-label="State" { (icon("alert")) span { strong { "This tenant is suspended." } " Nothing is accepted and nothing leaves until the operator lets it go on." } }
        }
        @if tenant.is_demo {
            section."banner demo" aria-label="Demo" { (icon("beaker")) span { strong { "Demo." } " Everything works and nothing leaves: messages are acted out by the sandbox." } }
        }
    }
}

fn topbar(cx: &Cx, page: &Page<'_>) -> Markup {
    html! {
        header.topbar {
            a."button quiet icon-only menu-button" href="#nav" aria-label="Open the navigation" { (icon("menu")) }
            nav.crumbs aria-label="Where this is" {
                ol {
                    @for (path, name) in page.above { li { a href=(path) { (name) } } }
                    li { span aria-current="page" { (page.title) } }
                }
            }
            div.tools {
                @if cx.may("messages:read") || cx.person.is_staff() {
                    button.search-button type="button" data-opens="palette" { (icon("search")) span { "Search" } kbd { "Ctrl K" } }
                }
            }
        }
    }
}

fn palette(cx: &Cx) -> Markup {
    html! {
        dialog.palette #palette aria-label="Search and go" {
            input type="text" name="q" role="combobox" aria-expanded="true" aria-controls="palette-results" aria-label="Search and go" autocomplete="off" spellcheck="false"
                placeholder="A page, a campaign, a contact, a message…" hx-get="/console/palette" hx-trigger="input changed delay:150ms, refresh" hx-target="#palette-results" hx-include="this";
            div.results #palette-results role="listbox" aria-label="Results" { (crate::pages::palette::places(cx, "")) }
            div.foot aria-hidden="true" { span { kbd { "↑" } " " kbd { "↓" } " choose" } span { kbd { "Enter" } " open" } span { kbd { "Esc" } " close" } }
        }
    }
}

/// A page for somebody who is not signed in.
pub(crate) fn door(look: &Look, title: &str, body: Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" data-theme=[look.theme] {
            (head(title, true))
            body {
                div.door {
                    header { a.brand href=(BASE) { (mark()) "Tidings" } (theme_switch(look)) }
                    main #main { div.panel { (body) } }
                    footer { "Messages for software with many tenants, and the truth about each of them." }
                }
            }
        }
    }
}

/// What stands where a page cannot be shown.
pub(crate) fn error(error: &Error) -> Markup {
    let title = match error.kind.status() {
        403 => "You may not see this",
        404 => "There is nothing here",
        429 => "Too much at once",
        500..=599 => "That did not work",
        _ => "That cannot be done",
    };
    html! {
        (DOCTYPE)
        html lang="en" {
            (head(title, true))
            body {
                div.door {
                    header { a.brand href=(BASE) { (mark()) "Tidings" } }
                    main #main {
                        div.panel {
                            div { h1 { (title) } p.lead { (format::spoken(&error.detail)) } }
                            div.row { (link_button(BASE, "primary", None, "Go to the start")) }
                            p."muted small" { "Code " code { (error.code) } }
                        }
                    }
                    footer { "If this keeps happening, tell the operator the code and the time." }
                }
            }
        }
    }
}

/// Something wrong with a form as a whole.
pub(crate) fn form_faults<N: AsRef<str>>(faults: &form::Faults, names: &[N]) -> Markup {
    let rest: Vec<String> = faults.rest(names).collect();
    html! {
        @if !faults.is_empty() {
            (parts::notice(Tone::Bad, if rest.is_empty() { "Please look at the marked fields." } else { "This could not be saved." }, html! {
                @for line in rest { p { (line) } }
            }))
        }
    }
}
