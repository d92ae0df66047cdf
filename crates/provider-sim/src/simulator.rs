//! One request at a time: who answers it, what the script makes of it, and which callbacks follow.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use model::{Answer, Call, Clock, HttpCall, Ids, Timestamp, Transport};

use crate::{
    control,
    message::{Message, Stage},
    provider::{Cx, Provider, Written},
    providers::provider,
    request::{Reply, Request},
    script::Day,
    world::{Made, Seen, World, beginning},
};

/// How often a callback is tried that is not answered with success, and how long to wait before each further try, in milliseconds. Providers go on for
/// hours; here a few seconds show the same.
const TRIES_MS: &[u64] = &[1_000, 3_000, 9_000];

/// All providers, behind one port.
pub struct Simulator {
    world: Mutex<World>,
    pub(crate) clock: Arc<dyn Clock>,
    ids: Ids,
    transport: Arc<dyn Transport>,
}

/// What follows from a request.
#[derive(Debug)]
pub struct Turn {
    /// The answer; `None` ends the connection without one.
    pub reply: Option<Reply>,
    /// How long to wait with it, in milliseconds.
    pub wait_ms: u64,
    /// The callbacks that follow.
    pub due: Vec<Due>,
}

/// A callback to be made.
#[derive(Debug, Clone)]
pub struct Due {
    /// After how long, in milliseconds.
    pub after_ms: u64,
    pub(crate) provider: &'static str,
    pub(crate) what: What,
}

#[derive(Debug, Clone)]
pub(crate) enum What {
    /// A message has come to a stage.
    Stage(Box<Message>, Stage),
    /// Somebody wrote something; the callback is made already.
    Written(Box<HttpCall>),
}

impl Simulator {
    /// With nothing taken and no script. Callbacks leave through `transport`.
    pub fn new(clock: Arc<dyn Clock>, ids: Ids, transport: Arc<dyn Transport>) -> Arc<Self> {
        Arc::new(Self { world: Mutex::new(World::new()), clock, ids, transport })
    }

    /// Changes a setting of a provider, as `PUT /_sim/providers/{id}` does. A name it does not have is kept and never read.
    pub fn set(&self, provider: &str, name: &str, value: &str) {
        if let Some((_, settings)) = self.world().settings.iter_mut().find(|(known, _)| **known == provider) {
            settings.insert(name.to_owned(), value.to_owned());
        }
    }

    /// Answers a request. What follows is the caller's to carry out, with [`Simulator::carry_out`].
    pub fn turn(&self, request: &Request) -> Turn {
        let name = request.path.split('/').nth(1).unwrap_or_default();
        match provider(name) {
            Some(provider) => self.ask(provider, request),
            None => {
                let (reply, due) = control::answer(self, request);
                Turn { reply: Some(reply), wait_ms: 0, due: due.into_iter().collect() }
            }
        }
    }

    fn ask(&self, provider: &'static dyn Provider, request: &Request) -> Turn {
        let now = self.clock.now();
        let mut world = self.world();
        let base_url = format!("http://{}/{}", request.header("host"), provider.id());
        let mut cx = self.cx(provider, &world, &base_url, now);
        let mut reply = provider.answer(&mut cx, request).unwrap_or_else(|refusal| refusal);
        let Cx { mut taken, mut changes, used, mut calls, .. } = cx;

        let mut seen = Seen::new(now, provider.id(), request);
        let recipients: Vec<&str> = taken.iter().map(|message| message.to.as_str()).collect();
        let is_about = |rule: &&crate::script::Rule| {
            !matches!(rule.day, Day::Fate(_)) && rule.is_about(provider.id(), &request.path, &recipients)
        };
        let spoiled = world.rules.iter().position(|rule| is_about(&rule));
        let day = spoiled.map(|rule| world.rules[rule].day.clone());
        for rule in used.into_iter().chain(spoiled) {
            world.use_up(rule);
        }
        seen.day = day.as_ref().map(|day| serde_json::to_string(day).unwrap_or_default());
        let (mut wait_ms, mut is_dropped, mut is_taken) = (0, false, true);
        match &day {
            Some(Day::RateLimit { retry_after_s }) => {
                (reply, is_taken) = (provider.throttled(*retry_after_s), false);
            }
            Some(Day::Error { status, own_words, is_taken: taken }) => {
                reply = if *own_words { provider.broken(*status) } else { by_proxy(*status) };
                is_taken = *taken;
            }
            Some(Day::Slow { wait_ms: wait }) => wait_ms = *wait,
            Some(Day::Drop { is_taken: taken, .. }) => (is_dropped, is_taken) = (true, *taken),
            Some(Day::Callbacks { .. } | Day::Fate(_)) | None => {}
        }
        if !is_taken {
            taken.clear();
            changes.clear();
            calls.clear();
        }
        let settings = world.settings.entry(provider.id()).or_default();
        settings.extend(changes.into_iter().map(|(name, value)| (name.to_owned(), value)));
        let asked = calls.into_iter().map(|call| Due {
            after_ms: 0,
            provider: provider.id(),
            what: What::Written(Box::new(call)),
        });
        let due = taken.iter().flat_map(|message| reports(message, now, day.as_ref())).chain(asked).collect();
        taken.into_iter().for_each(|message| world.keep(message));
        if !is_dropped {
            seen.status = Some(reply.status);
            seen.answer = beginning(&reply.body);
        }
        world.note(seen);
        Turn { reply: (!is_dropped).then_some(reply), wait_ms, due }
    }

    /// What a provider may use now.
    fn cx<'a>(&'a self, provider: &dyn Provider, world: &'a World, base_url: &'a str, now: Timestamp) -> Cx<'a> {
        Cx {
            provider: provider.id(),
            settings: &world.settings[provider.id()],
            messages: &world.messages,
            rules: &world.rules,
            ids: &self.ids,
            now,
            step_ms: world.step_ms,
            base_url,
            taken: Vec::new(),
            changes: Vec::new(),
            fates: BTreeMap::new(),
            used: Vec::new(),
            calls: Vec::new(),
        }
    }

    /// The callback as it is to be made now; `None` when the provider makes none.
    pub fn call(&self, due: &Due) -> Option<HttpCall> {
        match &due.what {
            What::Written(call) => Some((**call).clone()),
            What::Stage(message, stage) => {
                let provider = provider(due.provider)?;
                let base_url = message.more["base_url"].as_str().unwrap_or_default().to_owned();
                let world = self.world();
                let cx = self.cx(provider, &world, &base_url, self.clock.now());
                provider.report(&cx, message, *stage)
            }
        }
    }

    /// What somebody wrote, as a callback that is due at once; `Err` says why there is none.
    pub(crate) fn written(&self, written: &Written, base_url: &str) -> Result<Due, String> {
        let Some(provider) = provider(&written.provider) else {
            return Err(format!("there is no provider `{}`", written.provider));
        };
        let mut world = self.world();
        let base_url = format!("{base_url}/{}", provider.id());
        let mut cx = self.cx(provider, &world, &base_url, self.clock.now());
        let call = provider.inbound(&mut cx, written).ok_or(
            "this provider has no such callback, or knows no URL for it: set `callback_url`, or `mail_url` for mails, with PUT /_sim/providers/{id}",
        )?;
        let changes = cx.changes;
        let settings = world.settings.entry(provider.id()).or_default();
        settings.extend(changes.into_iter().map(|(name, value)| (name.to_owned(), value)));
        Ok(Due { after_ms: 0, provider: provider.id(), what: What::Written(Box::new(call)) })
    }

    /// Makes callbacks when they are due, each in its own time, and again when they are not answered with success. Must be called inside a tokio runtime.
    pub fn carry_out(self: &Arc<Self>, due: Vec<Due>) {
        for due in due {
            let simulator = Arc::clone(self);
            tokio::spawn(async move {
                simulator.clock.sleep(due.after_ms).await;
                for wait_ms in TRIES_MS.iter().copied().map(Some).chain([None]) {
                    let Some(call) = simulator.call(&due) else { return };
                    let is_over = simulator.make(&due, call).await;
                    match wait_ms.filter(|_| !is_over) {
                        Some(wait_ms) => simulator.clock.sleep(wait_ms).await,
                        None => return,
                    }
                }
            });
        }
    }

    /// Makes a callback once. Answers whether it needs no further try.
    async fn make(&self, due: &Due, call: HttpCall) -> bool {
        let url = call.url.clone();
        let answered = self.transport.exchange(Arc::new(Call::Http(call))).await;
        let (is_over, outcome) = match answered {
            Ok(Answer::Http(answer)) => {
                ((200..300).contains(&answer.status), format!("{} {}", answer.status, beginning(&answer.body)))
            }
            Ok(_) => (true, "no HTTP answer".to_owned()),
            Err(broken) => (false, broken.to_string()),
        };
        let (message_id, stage) = match &due.what {
            What::Stage(message, stage) => (Some(message.id.clone()), format!("{stage:?}").to_lowercase()),
            What::Written(_) => (None, "written".to_owned()),
        };
        let at = self.clock.now();
        self.world().note_callback(Made { at, provider: due.provider, message_id, stage, url, outcome });
        is_over
    }

    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The callbacks about a message.
fn reports(message: &Message, now: Timestamp, day: Option<&Day>) -> Vec<Due> {
    let due = |(at, stage): &(Timestamp, Stage)| Due {
        after_ms: u64::try_from(at.millis_since(now)).unwrap_or(0),
        provider: message.provider,
        what: What::Stage(Box::new(message.clone()), *stage),
    };
    let mut all: Vec<Due> = message.steps.iter().map(due).collect();
    if matches!(day, Some(Day::Drop { is_silent: true, .. })) {
        return Vec::new();
    }
    let Some(Day::Callbacks { twice, reversed, late_ms, lost }) = day else { return all };
    if *reversed {
        let times: Vec<u64> = all.iter().rev().map(|due| due.after_ms).collect();
        all.iter_mut().zip(times).for_each(|(due, after_ms)| due.after_ms = after_ms);
    }
    all.iter_mut().for_each(|due| due.after_ms += late_ms);
    let copies = match (*lost, *twice) {
        (true, _) => 0,
        (false, true) => 2,
        (false, false) => 1,
    };
    all.into_iter().flat_map(|due| std::iter::repeat_n(due, copies)).collect()
}

/// A failure as a proxy in front of the provider says it.
fn by_proxy(status: u16) -> Reply {
    Reply::of(status, "text/html", format!("<html><body><h1>{status}</h1><p>upstream failed</p></body></html>"))
}

#[cfg(test)]
mod tests;
