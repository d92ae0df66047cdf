//! The API under `/_sim`: what was taken, bad days, replies of people. `docs/provider-sim.md` is its reference.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    message::Message,
    provider::{Settings, Written},
    providers::{PROVIDERS, provider},
    request::{Reply, Request},
    script::{RULES_MAX, Rule, WAIT_MS_MAX},
    sign,
    simulator::{Due, Simulator},
    world::World,
};

/// Longest list of one answer.
const LIST_MAX: usize = 1_000;

/// Answers a request that is for no provider.
pub(crate) fn answer(simulator: &Simulator, request: &Request) -> (Reply, Option<Due>) {
    let path: Vec<&str> = request.path.split('/').filter(|part| !part.is_empty()).collect();
    let reply = match (request.method.as_str(), &path[..]) {
        ("GET", []) => index(request),
        ("GET", ["_sim"]) => index(request),
        ("GET", ["_sim", "ca.pem"]) => Reply::of(200, "application/x-pem-file", sign::AUTHORITY),
        ("GET", ["_sim", "messages"]) => messages(simulator, request),
        ("GET", ["_sim", "requests"]) => list(simulator, request, |world| &world.requests, |seen| &seen.provider),
        ("GET", ["_sim", "callbacks"]) => list(simulator, request, |world| &world.callbacks, |made| made.provider),
        ("GET", ["_sim", "providers"]) => {
            let all: Vec<_> = PROVIDERS.iter().map(|found| shown(simulator, request, found.id())).collect();
            Reply::json(200, &json!({ "data": all }))
        }
        ("GET", ["_sim", "providers", id]) if provider(id).is_some() => {
            Reply::json(200, &shown(simulator, request, id))
        }
        ("PUT", ["_sim", "providers", id]) if provider(id).is_some() => set(simulator, request, id),
        ("GET", ["_sim", "script"]) => Reply::json(200, &json!({ "data": simulator.world().rules })),
        ("POST", ["_sim", "script"]) => script(simulator, request),
        ("DELETE", ["_sim", "script"]) => {
            simulator.world().rules.clear();
            Reply::empty(204)
        }
        ("PUT", ["_sim", "pace"]) => pace(simulator, request),
        ("POST", ["_sim", "inbound"]) => match inbound(simulator, request) {
            Ok(due) => return (Reply::json(202, &json!({ "provider": due.provider })), Some(due)),
            Err(problem) => refused(422, &problem),
        },
        ("DELETE", ["_sim"]) => {
            *simulator.world() = World::new();
            Reply::empty(204)
        }
        _ => refused(404, "nothing is here; GET /_sim lists what there is"),
    };
    (reply, None)
}

fn refused(status: u16, detail: &str) -> Reply {
    let problem = json!({"type": "about:blank", "status": status, "detail": detail});
    Reply::of(status, "application/problem+json", problem.to_string())
}

fn index(request: &Request) -> Reply {
    let host = request.header("host");
    let bases: serde_json::Map<String, Value> =
        PROVIDERS.iter().map(|found| (found.id().to_owned(), format!("http://{host}/{}", found.id()).into())).collect();
    Reply::json(
        200,
        &json!({
            "name": "Tidings provider simulator",
            "base_urls": bases,
            "control": [
                "GET /_sim/messages", "GET /_sim/requests", "GET /_sim/callbacks", "GET /_sim/providers", "PUT /_sim/providers/{id}",
                "GET /_sim/script", "POST /_sim/script", "DELETE /_sim/script", "POST /_sim/inbound", "PUT /_sim/pace", "GET /_sim/ca.pem", "DELETE /_sim",
            ],
        }),
    )
}

/// The newest of a list first, of one provider when it is named.
fn list<T: serde::Serialize>(
    simulator: &Simulator,
    request: &Request,
    of: impl Fn(&World) -> &std::collections::VecDeque<T>,
    provider: impl Fn(&T) -> &str,
) -> Reply {
    let wanted = request.parameters().some("provider");
    let is_wanted = |item: &&T| wanted.as_deref().is_none_or(|wanted| provider(item) == wanted);
    let world = simulator.world();
    let found: Vec<&T> = of(&world).iter().rev().filter(is_wanted).take(LIST_MAX).collect();
    Reply::json(200, &json!({ "data": found }))
}

fn messages(simulator: &Simulator, request: &Request) -> Reply {
    let asked = request.parameters();
    let (by, to, id, echo) = (asked.some("provider"), asked.some("to"), asked.some("id"), asked.some("echo"));
    let now = simulator.clock.now();
    let is = |wanted: &Option<String>, given: &str| wanted.as_deref().is_none_or(|wanted| wanted == given);
    let is_wanted = |message: &&Message| {
        is(&by, message.provider)
            && is(&to, &message.to)
            && is(&id, &message.id)
            && is(&echo, message.echo.as_deref().unwrap_or_default())
    };
    let shown = |message: &Message| {
        let mut shown = serde_json::to_value(message).unwrap_or_default();
        shown["stage"] = serde_json::to_value(message.stage(now)).unwrap_or_default();
        shown
    };
    let world = simulator.world();
    let found: Vec<Value> = world.messages.iter().rev().filter(is_wanted).take(LIST_MAX).map(shown).collect();
    Reply::json(200, &json!({ "data": found, "total": world.messages.len() }))
}

/// A provider, its settings, and what to configure in Tidings.
fn shown(simulator: &Simulator, request: &Request, id: &str) -> Value {
    let world = simulator.world();
    let (Some(found), Some(settings)) = (provider(id), world.settings.get(id)) else { return Value::Null };
    json!({
        "id": id,
        "base_url": format!("http://{}/{id}", request.header("host")),
        "settings": settings,
        "accounts": found.accounts(settings),
    })
}

fn set(simulator: &Simulator, request: &Request, id: &str) -> Reply {
    let given: Settings = match serde_json::from_slice(&request.body) {
        Ok(given) => given,
        Err(error) => return refused(422, &format!("the body must be an object of texts: {error}")),
    };
    {
        let mut world = simulator.world();
        let Some(settings) = world.settings.iter_mut().find(|(known, _)| **known == id).map(|(_, set)| set) else {
            return refused(404, "there is no such provider");
        };
        if let Some(name) = given.keys().find(|name| !settings.contains_key(*name)) {
            let known: Vec<&str> = settings.keys().map(String::as_str).collect();
            return refused(422, &format!("there is no setting `{name}`; choose from {}", known.join(", ")));
        }
        settings.extend(given);
    }
    Reply::json(200, &shown(simulator, request, id))
}

fn script(simulator: &Simulator, request: &Request) -> Reply {
    let rule: Rule = match serde_json::from_slice(&request.body) {
        Ok(rule) => rule,
        Err(error) => return refused(422, &format!("the body must be a rule: {error}")),
    };
    if let Some(problem) = rule.problem() {
        return refused(422, &problem);
    }
    if rule.provider.as_deref().is_some_and(|id| id != "smtp" && provider(id).is_none()) {
        return refused(422, "`provider` names no provider; GET /_sim/providers lists them");
    }
    let mut world = simulator.world();
    world.rules.retain(|rule| rule.times != Some(0));
    if world.rules.len() >= RULES_MAX {
        return refused(422, "there are too many rules; DELETE /_sim/script first");
    }
    world.rules.push(rule);
    Reply::json(201, &json!({ "data": world.rules }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Pace {
    step_ms: u64,
}

fn pace(simulator: &Simulator, request: &Request) -> Reply {
    match serde_json::from_slice::<Pace>(&request.body) {
        Ok(Pace { step_ms }) if step_ms <= WAIT_MS_MAX => {
            simulator.world().step_ms = step_ms;
            Reply::json(200, &json!({ "step_ms": step_ms }))
        }
        _ => refused(422, &format!("the body must be {{\"step_ms\": …}} with at most {WAIT_MS_MAX}")),
    }
}

fn inbound(simulator: &Simulator, request: &Request) -> Result<Due, String> {
    let written: Written =
        serde_json::from_slice(&request.body).map_err(|error| format!("the body must say who wrote what: {error}"))?;
    simulator.written(&written, &format!("http://{}", request.header("host")))
}
