//! Plays one case: takes what its given sections say and produces the expected ones from the code.

use std::collections::VecDeque;

use bytes::Bytes;
use model::{
    AccountId, Address, Answer, AttachmentId, AttachmentRef, AttemptId, Call, Channel, Content, Fact, FailureKind,
    HttpAnswer, MessageId, SmtpAnswer, SmtpReply, SmtpStage, Timestamp, Values,
};
use serde::Deserialize;
use serde_json::Value;
use tidings_connectors::{
    Asked, Connector, Cx, File, Observed, Outcome, Outgoing, Report, Request, Step, Verdict, manage,
};

use crate::{
    case_file::{CaseFile, Section, body, data},
    show,
};

/// What a case has shown, to see what a connector's cases leave out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shown {
    Accepted,
    Rejected,
    Throttled,
    MalformedAnswer,
    ValidCallback,
    InvalidCallback,
    /// A refusal of this kind.
    Refused(&'static str),
    /// A message over this channel with this kind of content, carried or refused with a reason.
    Asked(Channel, &'static str),
    /// What a callback told.
    Told(&'static str),
}

impl Shown {
    /// What every connector shows.
    pub const EACH: &[Self] = &[
        Self::Accepted,
        Self::Rejected,
        Self::Throttled,
        Self::MalformedAnswer,
        Self::Refused("recipient"),
        Self::Refused("content"),
        Self::Refused("account"),
    ];

    /// What a connector of this channel shows besides: every kind of content, and what its provider tells of it.
    pub fn of(channel: Channel) -> Vec<Self> {
        let (kinds, told): (&[&str], &[&str]) = match channel {
            Channel::Email => (
                &["text", "html", "attachment", "inline"],
                &["delivered", "bounced hard", "bounced soft", "complained", "message"],
            ),
            Channel::Sms => (&["text", "media"], &["delivered", "failed"]),
            Channel::Whatsapp => (
                &["text", "image", "video", "audio", "document", "location", "template", "buttons"],
                &["delivered", "read", "failed", "message"],
            ),
            Channel::Telegram => {
                (&["text", "image", "video", "audio", "document", "location", "buttons"], &["message"])
            }
            Channel::Voice => (&["say"], &["delivered", "failed"]),
            Channel::Webhook => (&[], &[]),
        };
        let asked = kinds.iter().map(|kind| Self::Asked(channel, kind));
        asked.chain(told.iter().map(|fact| Self::Told(fact))).collect()
    }
}

/// The kinds of content in a message.
fn kinds(content: &Content) -> Vec<&'static str> {
    let mut kinds = Vec::new();
    let media = |media: &[model::Media]| {
        let word = |kind| match kind {
            model::MediaKind::Image => "image",
            model::MediaKind::Video => "video",
            model::MediaKind::Audio => "audio",
            model::MediaKind::Document => "document",
        };
        media.iter().map(|one| word(one.kind)).collect::<Vec<_>>()
    };
    let mut add = |is_there: bool, kind| kinds.extend(is_there.then_some(kind));
    match content {
        Content::Email(email) => {
            add(email.text.is_some(), "text");
            add(email.html.is_some(), "html");
            add(email.attachments.iter().any(|file| file.content_id.is_none()), "attachment");
            add(email.attachments.iter().any(|file| file.content_id.is_some()), "inline");
        }
        Content::Sms(sms) => {
            add(!sms.text.is_empty(), "text");
            add(!sms.media.is_empty(), "media");
        }
        Content::Whatsapp(whatsapp) => {
            add(!whatsapp.text.is_empty(), "text");
            add(whatsapp.location.is_some(), "location");
            add(whatsapp.whatsapp_template.is_some(), "template");
            add(!whatsapp.buttons.is_empty(), "buttons");
            kinds.extend(media(&whatsapp.media));
        }
        Content::Telegram(telegram) => {
            add(!telegram.text.is_empty(), "text");
            add(telegram.location.is_some(), "location");
            add(!telegram.buttons.is_empty(), "buttons");
            kinds.extend(media(&telegram.media));
        }
        Content::Voice(_) => add(true, "say"),
        Content::Webhook(_) => {}
    }
    kinds
}

/// 2026-11-21T09:30:00Z in milliseconds, in the upper 48 bits of every id.
const MILLIS: u128 = 1_795_253_400_000;
/// The letters `ACC`, `MSG`, `ATT` and `ATC` at the end of ids, in Crockford's base 32 (`S` is 25, `T` 26, `C` 12, `M` 20, `G` 16).
pub const ACCOUNT: AccountId = AccountId::from_ulid(MILLIS << 80 | 10 << 10 | 12 << 5 | 12);
pub const MESSAGE: MessageId = MessageId::from_ulid(MILLIS << 80 | 20 << 10 | 25 << 5 | 16);
pub const ATTEMPT: AttemptId = AttemptId::from_ulid(MILLIS << 80 | 10 << 10 | 26 << 5 | 26);
const ATTACHMENT: u128 = MILLIS << 80 | (10 << 10 | 26 << 5 | 12) << 5;
pub const NONCE: u128 = 0x0123_4567_89ab_cdef_0011_2233_4455_6677;
pub const NOW: &str = "2026-11-21T09:30:00Z";

/// Names of the sections that the code produces.
const EXPECTED: &[&str] =
    &["request", "outcome", "polled", "checks", "verdict", "dedupe_key", "observed", "reply", "done"];

struct Player<'a> {
    connector: &'static dyn Connector,
    given: VecDeque<&'a Section>,
    played: Vec<Section>,
    shown: Vec<Shown>,
}

/// Plays a case: the file as the code would have it, and what it shows.
pub fn play(connector: &'static dyn Connector, case: &CaseFile) -> Result<(CaseFile, Vec<Shown>), String> {
    let given = case.sections.iter().filter(|section| !EXPECTED.contains(&section.name.as_str())).collect();
    let mut player = Player { connector, given, played: Vec::new(), shown: Vec::new() };
    player.play()?;
    if let Some(left) = player.given.front() {
        return Err(format!("section `{}` is left over: the code did not come to it", left.name));
    }
    Ok((CaseFile { commentary: case.commentary.clone(), sections: player.played }, player.shown))
}

impl Player<'_> {
    fn take(&mut self, name: &str) -> Option<String> {
        let section = self.given.pop_front_if(|section| section.name == name)?;
        self.played.push(section.clone());
        Some(section.body.clone())
    }

    fn put(&mut self, name: &str, body: impl Into<String>) {
        self.played.push(Section::new(name, body));
    }

    fn play(&mut self) -> Result<(), String> {
        let settings = self.take("settings");
        let from = self.take("from");
        let base_url = self.take("base_url");
        let now = self.take("now").unwrap_or(NOW.to_owned());
        let values = match self.settings(settings.as_deref())? {
            Ok(values) => values,
            Err(bad) => {
                self.put("outcome", bad);
                return Ok(());
            }
        };
        let callback_url = format!("https://tidings.example/hooks/{ACCOUNT}");
        let cx = Cx {
            settings: &values,
            from: from.as_deref(),
            base_url: base_url.as_deref(),
            callback_url: &callback_url,
            now: now.parse().map_err(|error| format!("section `now`: {error}"))?,
            nonce: NONCE,
        };
        match self.given.front().map(|section| section.name.as_str()) {
            None => self.put("outcome", "settings are in order"),
            Some("message") => self.message(&cx)?,
            Some("asked") => self.asked(&cx)?,
            Some("test") => self.test(&cx)?,
            Some("callback") => self.callback(&cx)?,
            Some("do") => self.manage(&cx)?,
            Some(other) => return Err(format!("section `{other}` is unknown here; see cases/README.md")),
        }
        Ok(())
    }

    fn settings(&self, given: Option<&str>) -> Result<Result<Values, String>, String> {
        let object: Value = json("settings", given.unwrap_or("{}"))?;
        let object = object.as_object().ok_or("section `settings` is no object")?;
        let merged = Values::merge(self.connector.spec().fields, &Values::default(), object);
        Ok(match merged {
            Err(bad) => Err(bad.iter().map(show::bad_setting).collect::<Vec<_>>().join("\n")),
            Ok(values) => match self.connector.check(&values) {
                Err(bad) => Err(show::bad_setting(&bad)),
                Ok(()) => Ok(values),
            },
        })
    }

    fn message(&mut self, cx: &Cx<'_>) -> Result<(), String> {
        let mut given = Vec::new();
        while let Some(text) = self.take("message") {
            given.push(GivenMessage::read("message", &text)?);
        }
        for one in &given {
            self.shown.extend(kinds(&one.content).into_iter().map(|kind| Shown::Asked(one.channel, kind)));
        }
        match given.as_slice() {
            [one] => self.one(cx, &one.outgoing()),
            many => self.batch(cx, &many.iter().map(GivenMessage::outgoing).collect::<Vec<_>>()),
        }
    }

    fn one(&mut self, cx: &Cx<'_>, message: &Outgoing<'_>) -> Result<(), String> {
        if let Some(from) = cx.from
            && let Err(bad) = self.connector.check_from(from, message.channel)
        {
            self.put("outcome", show::bad_setting(&bad));
            return Ok(());
        }
        let first =
            self.connector.can_carry(cx.settings, message.content).and_then(|()| self.connector.send(cx, message));
        let mut call = match first {
            Ok(call) => call,
            Err(failure) => {
                self.shown.push(Shown::Refused(failure.kind.as_str()));
                self.put("outcome", show::failure("refused", &failure));
                return Ok(());
            }
        };
        for step in 0.. {
            let answer = self.exchange(&call)?;
            match self.connector.answer(cx, message, step, &answer) {
                Step::Call(next) => call = next,
                Step::Done(outcome) => {
                    self.note(&outcome);
                    self.put("outcome", show::outcome(&outcome));
                    return Ok(());
                }
            }
        }
        unreachable!("the loop has no end")
    }

    fn batch(&mut self, cx: &Cx<'_>, messages: &[Outgoing<'_>]) -> Result<(), String> {
        let batch = self.connector.batch().ok_or("several messages, but this connector has no batches")?;
        if let Some(other) = messages[1..].iter().position(|other| !batch.fits(cx, &messages[0], other)) {
            self.put("outcome", format!("message {} does not ride with the first", other + 2));
            return Ok(());
        }
        let call = match batch.send(cx, messages) {
            Ok(call) => call,
            Err(failure) => {
                self.put("outcome", show::failure("refused", &failure));
                return Ok(());
            }
        };
        let answer = self.exchange(&call)?;
        let outcomes = batch.answer(cx, messages, &answer);
        if outcomes.len() != messages.len() {
            return Err(format!("{} messages, but {} outcomes", messages.len(), outcomes.len()));
        }
        outcomes.iter().for_each(|outcome| self.note(outcome));
        self.put("outcome", outcomes.iter().map(show::outcome).collect::<Vec<_>>().join("\n"));
        Ok(())
    }

    fn note(&mut self, outcome: &Outcome) {
        if let Outcome::Refused(failure) = outcome {
            self.shown.push(Shown::Refused(failure.kind.as_str()));
        }
        self.shown.push(match outcome {
            Outcome::Accepted(_) => Shown::Accepted,
            Outcome::Refused(failure) => match failure.kind {
                FailureKind::Throttled => Shown::Throttled,
                FailureKind::Unknown => Shown::MalformedAnswer,
                FailureKind::Recipient
                | FailureKind::OptedOut
                | FailureKind::Content
                | FailureKind::Unavailable
                | FailureKind::Account => Shown::Rejected,
            },
        });
    }

    fn asked(&mut self, cx: &Cx<'_>) -> Result<(), String> {
        let text = self.take("asked").unwrap_or_default();
        let given = GivenMessage::read("asked", &text)?;
        let asked = Asked {
            provider_message_id: given.provider_message_id.as_deref(),
            attempt_id: ATTEMPT,
            to: &given.to,
            content: &given.content,
            channel: given.channel,
            sent_at: given.accepted_at,
        };
        let polled = match self.connector.poll(cx, &asked) {
            Some(call) => {
                let answer = self.exchange(&call)?;
                show::polled(&self.connector.polled(cx, &asked, &answer))
            }
            None => "cannot be asked".to_owned(),
        };
        self.put("polled", polled);
        Ok(())
    }

    fn test(&mut self, cx: &Cx<'_>) -> Result<(), String> {
        self.take("test");
        let probes = match self.connector.test(cx) {
            Ok(probes) => probes,
            Err(failure) => {
                self.put("checks", show::failure("refused", &failure));
                return Ok(());
            }
        };
        for probe in probes {
            let answer = self.exchange(&probe.call)?;
            self.put("checks", show::checks(&self.connector.tested(cx, &probe, &answer)));
        }
        Ok(())
    }

    fn callback(&mut self, cx: &Cx<'_>) -> Result<(), String> {
        let text = self.take("callback").unwrap_or_default();
        let inbound = self.connector.inbound().ok_or("a callback, but this connector takes none")?;
        let given = GivenCallback::read(&text)?;
        let request = given.request();
        let mut verdict = inbound.verify(cx, &request, None);
        self.put("verdict", show::verdict(&verdict));
        if matches!(verdict, Verdict::Fetch(_)) {
            let fetched = self.take("fetched").ok_or("section `fetched` is missing")?;
            verdict = inbound.verify(cx, &request, Some(&answer("fetched", &fetched)?));
            self.put("verdict", show::verdict(&verdict));
        }
        if !matches!(verdict, Verdict::Valid) {
            self.shown.push(Shown::InvalidCallback);
            return Ok(());
        }
        self.shown.push(Shown::ValidCallback);
        if let Some(key) = inbound.dedupe_key(&request) {
            self.put("dedupe_key", key);
        }
        let mut answers = Vec::new();
        let observed = loop {
            match inbound.missing(cx, &request, &answers) {
                Ok(Some(call)) => answers.push(self.exchange(&call)?),
                Ok(None) => break inbound.read_with(cx, &request, &answers),
                Err(failure) => break Err(failure),
            }
        };
        for seen in observed.iter().flatten() {
            if let Observed::Status(Report { fact: Fact::Failed { failure }, .. }) = seen {
                self.shown.push(Shown::Refused(failure.kind.as_str()));
            }
            self.shown.extend(match seen {
                Observed::Status(report) => Some(Shown::Told(match &report.fact {
                    Fact::Bounced { hard: true, .. } => "bounced hard",
                    Fact::Bounced { hard: false, .. } => "bounced soft",
                    fact => fact.as_str(),
                })),
                Observed::Message(_) => Some(Shown::Told("message")),
                Observed::Templates | Observed::Follow(_) => None,
            });
        }
        self.put("observed", show::observed(&observed));
        self.put("reply", show::reply(&inbound.reply(cx, &request)));
        Ok(())
    }

    fn manage(&mut self, cx: &Cx<'_>) -> Result<(), String> {
        let connector = self.connector;
        let text = self.take("do").unwrap_or_default();
        let task: Task = json("do", &text)?;
        let missing = "this connector does not offer that";
        match task {
            Task::CreateDomain { name } => {
                let offered = connector.domains().ok_or(missing)?;
                self.drive(|answers| offered.create(cx, &name, answers))
            }
            Task::CheckDomain { name, reference } => {
                let offered = connector.domains().ok_or(missing)?;
                let domain = manage::DomainRef { name: &name, reference: &reference };
                self.drive(|answers| offered.check(cx, &domain, answers))
            }
            Task::RemoveDomain { name, reference } => {
                let offered = connector.domains().ok_or(missing)?;
                let domain = manage::DomainRef { name: &name, reference: &reference };
                self.drive(|answers| offered.remove(cx, &domain, answers))
            }
            Task::CallbackState => {
                let offered = connector.callbacks().ok_or(missing)?;
                self.drive(|answers| offered.state(cx, answers))
            }
            Task::SetCallbacks => {
                let offered = connector.callbacks().ok_or(missing)?;
                self.drive(|answers| offered.set(cx, answers))
            }
            Task::LookUpSender { channel } => {
                let offered = connector.numbers().ok_or(missing)?;
                self.drive(|answers| offered.look_up(cx, channel, answers))
            }
            Task::ListTemplates => {
                let offered = connector.templates().ok_or(missing)?;
                self.drive(|answers| offered.list(cx, answers))
            }
            Task::CreateTemplate(new) => {
                let offered = connector.templates().ok_or(missing)?;
                self.drive(|answers| offered.create(cx, &new, answers).unwrap_or_else(not_offered))
            }
            Task::RemoveTemplate { name, id } => {
                let offered = connector.templates().ok_or(missing)?;
                let template = manage::Template {
                    name,
                    language: "en".to_owned(),
                    id,
                    category: String::new(),
                    status: manage::TemplateStatus::Approved,
                    quality: None,
                    reason: None,
                    components: Vec::new(),
                };
                self.drive(|answers| offered.remove(cx, &template, answers).unwrap_or_else(not_offered))
            }
            Task::Register { stage, refs } => {
                let offered = connector.registrations().ok_or(missing)?;
                let (business, toll_free) = (business(), toll_free());
                let work = manage::Work {
                    name: "reg_01M7YQ1WE00000000000000REG",
                    stage,
                    business: &business,
                    area_code: Some("415"),
                    toll_free: Some(&toll_free),
                    refs: &refs,
                    submitted_at: cx.now,
                };
                self.drive(|answers| offered.advance(cx, &work, answers))
            }
            Task::ReleaseNumber { reference } => {
                let offered = connector.registrations().ok_or(missing)?;
                self.drive(|answers| offered.release(cx, &reference, answers))
            }
            Task::Statistics { from, to } => {
                let offered = connector.figures().ok_or(missing)?;
                let period = manage::Period { from, to };
                self.drive(|answers| offered.statistics(cx, &period, answers).unwrap_or_else(not_offered))
            }
            Task::Suppressions { list, after } => {
                let offered = connector.figures().ok_or(missing)?;
                self.drive(|answers| {
                    offered.suppressed(cx, list, after.as_deref(), answers).unwrap_or_else(not_offered)
                })
            }
        }
    }

    fn drive<T: serde::Serialize>(&mut self, plan: impl Fn(&[Answer]) -> manage::Plan<T>) -> Result<(), String> {
        let mut answers = Vec::new();
        loop {
            match plan(&answers) {
                Ok(manage::Next::Call(call)) => answers.push(self.exchange(&call)?),
                Ok(manage::Next::Done(done)) => {
                    self.put("done", serde_json::to_string_pretty(&done).map_err(|error| error.to_string())?);
                    return Ok(());
                }
                Err(failure) => {
                    self.put("done", show::failure("refused", &failure));
                    return Ok(());
                }
            }
        }
    }

    /// Puts the request and takes the answer to it.
    fn exchange(&mut self, call: &Call) -> Result<Answer, String> {
        self.put("request", show::call(call));
        let text = self
            .take("answer")
            .ok_or_else(|| format!("section `answer` is missing after this request:\n{}", show::call(call)))?;
        answer("answer", &text)
    }
}

fn not_offered<T>() -> manage::Plan<T> {
    Err(model::Failure::new(FailureKind::Content, "not_offered", "This connector does not offer that."))
}

/// The business of every case about registration.
fn business() -> manage::Business {
    let text = |text: &str| text.to_owned();
    manage::Business {
        legal_name: text("Acme Events LLC"),
        dba: Some(text("Acme Tickets")),
        kind: manage::BusinessKind::Llc,
        ein: text("12-3456789"),
        industry: text("hospitality"),
        website: text("https://acme.example"),
        address: manage::Place {
            street: text("1 High Street"),
            city: text("Springfield"),
            region: text("IL"),
            postal_code: text("62701"),
            country: text("US"),
        },
        owner: manage::Officer {
            first_name: text("Ada"),
            last_name: text("Byron"),
            title: text("Founder"),
            position: text("ceo"),
            email: text("ada@acme.example"),
            phone: text("+14155550123"),
        },
        contact_email: text("compliance@acme.example"),
        monthly_volume: 5_000,
        listed: None,
        use_case: manage::UseCase {
            category: text("marketing"),
            description: text("News about the events of a venue, to people who asked for them."),
            opt_in_flow: text("Whoever buys a ticket on our website can tick a box that is empty at first."),
            samples: vec![
                text("Acme Tickets: the doors open at 7 pm. Reply STOP to stop."),
                text("Acme Tickets: new dates in May. Reply STOP to stop."),
            ],
            has_links: false,
            has_phone_numbers: false,
            is_age_gated: false,
            is_lending: false,
            opt_in_message: None,
            opt_out_message: None,
            help_message: Some(text("Acme Tickets: write to help@acme.example. Reply STOP to stop.")),
            privacy_policy_url: text("https://acme.example/privacy"),
            terms_url: text("https://acme.example/sms-terms"),
        },
    }
}

/// The toll-free number of every case about verification.
fn toll_free() -> manage::TollFree {
    manage::TollFree {
        number: "+18005550100".to_owned(),
        opt_in: manage::OptIn::WebForm,
        images: vec!["https://acme.example/opt-in.png".to_owned(), "https://acme.example/thanks.png".to_owned()],
        note: Some("The form is behind the login.".to_owned()),
    }
}

/// What a `do` section asks for.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Task {
    CreateDomain { name: String },
    CheckDomain { name: String, reference: String },
    RemoveDomain { name: String, reference: String },
    CallbackState,
    SetCallbacks,
    LookUpSender { channel: Channel },
    ListTemplates,
    CreateTemplate(manage::NewTemplate),
    RemoveTemplate { name: String, id: String },
    Register { stage: manage::Stage, refs: manage::References },
    ReleaseNumber { reference: String },
    Statistics { from: String, to: String },
    Suppressions { list: manage::Suppression, after: Option<String> },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MessageJson {
    channel: Channel,
    to: Value,
    content: Value,
    #[serde(default)]
    names_sender: bool,
    #[serde(default)]
    attempt: Option<u32>,
    #[serde(default)]
    accepted_at: Option<Timestamp>,
    #[serde(default)]
    provider_message_id: Option<String>,
    #[serde(default)]
    files: Vec<FileJson>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileJson {
    filename: String,
    content_type: String,
    text: Option<String>,
    base64: Option<String>,
    data: Option<String>,
    content_id: Option<String>,
    attachment_id: Option<AttachmentId>,
}

struct GivenMessage {
    channel: Channel,
    names_sender: bool,
    to: Address,
    content: Content,
    files: Vec<File>,
    attempt: u32,
    accepted_at: Timestamp,
    provider_message_id: Option<String>,
}

impl GivenMessage {
    fn read(section: &str, text: &str) -> Result<Self, String> {
        let mut given: MessageJson = json(section, text)?;
        let to = given.to.as_str().map_or_else(|| given.to.to_string(), str::to_owned);
        given.content["channel"] = Value::from(given.channel.as_str());
        let mut content: Content =
            serde_json::from_value(given.content).map_err(|error| format!("section `{section}`, content: {error}"))?;
        let files = given.files.into_iter().enumerate().map(|(index, file)| file.read(index)).collect::<Vec<_>>();
        if let Content::Email(email) = &mut content {
            email.attachments.extend(files.iter().map(|file| file.reference.clone()));
        }
        Ok(Self {
            channel: given.channel,
            names_sender: given.names_sender,
            to: Address::read(given.channel, &to).map_err(|error| format!("section `{section}`, to: {error}"))?,
            content,
            files,
            attempt: given.attempt.unwrap_or(1),
            accepted_at: given
                .accepted_at
                .unwrap_or_else(|| NOW.parse::<Timestamp>().expect("is an instant").plus_seconds(-2)),
            provider_message_id: given.provider_message_id,
        })
    }

    fn outgoing(&self) -> Outgoing<'_> {
        Outgoing {
            message_id: MESSAGE,
            attempt_id: ATTEMPT,
            attempt: self.attempt,
            channel: self.channel,
            names_sender: self.names_sender,
            to: &self.to,
            content: &self.content,
            files: &self.files,
            accepted_at: self.accepted_at,
        }
    }
}

impl FileJson {
    fn read(self, index: usize) -> File {
        use base64::Engine as _;
        let bytes = match (self.text, self.base64, self.data) {
            (Some(text), None, None) => text.into_bytes(),
            (None, Some(text), None) => base64::engine::general_purpose::STANDARD.decode(text).expect("is base64"),
            (None, None, Some(name)) => data(&name),
            _ => panic!("file {}: give one of text, base64 and data", self.filename),
        };
        File {
            reference: AttachmentRef {
                attachment_id: self.attachment_id.unwrap_or(AttachmentId::from_ulid(ATTACHMENT + index as u128 + 1)),
                filename: self.filename,
                content_type: self.content_type,
                sha256: "0".repeat(64),
                size: bytes.len() as u64,
                content_id: self.content_id,
            },
            bytes: Bytes::from(bytes),
        }
    }
}

struct GivenCallback {
    method: String,
    path: String,
    query: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl GivenCallback {
    fn read(text: &str) -> Result<Self, String> {
        let (head, rest) = split_body(text);
        let (first, headers) = head.split_once('\n').unwrap_or((head, ""));
        let (method, target) = first.trim().split_once(' ').unwrap_or((first.trim(), ""));
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        Ok(Self {
            method: method.to_owned(),
            path: path.to_owned(),
            query: query.to_owned(),
            headers: headers_of("callback", headers)?,
            body: body(rest),
        })
    }

    fn request(&self) -> Request<'_> {
        Request { method: &self.method, path: &self.path, query: &self.query, headers: &self.headers, body: &self.body }
    }
}

fn answer(section: &str, text: &str) -> Result<Answer, String> {
    let (head, rest) = split_body(text);
    let (first, lines) = head.split_once('\n').unwrap_or((head, ""));
    let first = first.trim();
    if first == "local" {
        return Ok(Answer::Local);
    }
    if first.starts_with(|c: char| c.is_ascii_digit()) {
        let (status, note) = first.split_once(' ').unwrap_or((first, ""));
        return Ok(Answer::Http(HttpAnswer {
            status: status.parse().map_err(|_| format!("section `{section}`: `{first}` is no status"))?,
            headers: headers_of(section, lines)?,
            body: Bytes::from(body(rest)),
            is_truncated: note == "truncated",
        }));
    }
    let (stage, reply) = first
        .split_once(' ')
        .ok_or_else(|| format!("section `{section}`: begin with a status, an SMTP stage, or local"))?;
    let lines = headers_of(section, lines)?;
    Ok(Answer::Smtp(SmtpAnswer {
        stage: stage_of(stage).ok_or_else(|| format!("section `{section}`: `{stage}` is no SMTP stage"))?,
        reply: smtp_reply(reply).ok_or_else(|| format!("section `{section}`: `{reply}` has no code"))?,
        capabilities: lines.iter().filter(|(name, _)| name == "capability").map(|(_, text)| text.clone()).collect(),
        tls: lines.iter().find(|(name, _)| name == "tls").map(|(_, text)| text.clone()),
    }))
}

fn stage_of(word: &str) -> Option<SmtpStage> {
    const STAGES: &[(&str, SmtpStage)] = &[
        ("greeting", SmtpStage::Greeting),
        ("ehlo", SmtpStage::Ehlo),
        ("starttls", SmtpStage::StartTls),
        ("auth", SmtpStage::Auth),
        ("mail_from", SmtpStage::MailFrom),
        ("rcpt_to", SmtpStage::RcptTo),
        ("data", SmtpStage::Data),
        ("final_dot", SmtpStage::FinalDot),
        ("checked", SmtpStage::Checked),
    ];
    STAGES.iter().find(|(name, _)| *name == word).map(|(_, stage)| *stage)
}

/// Reads `550 5.1.1 No such user`, with or without the enhanced code.
pub fn smtp_reply(text: &str) -> Option<SmtpReply> {
    let (code, rest) = text.split_once(' ').unwrap_or((text, ""));
    let (first, words) = rest.split_once(' ').unwrap_or((rest, ""));
    let parts: Vec<&str> = first.split('.').collect();
    let is_enhanced =
        parts.len() == 3 && parts.iter().all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()));
    Some(SmtpReply {
        code: code.parse().ok()?,
        enhanced: is_enhanced.then(|| first.to_owned()),
        text: if is_enhanced { words.to_owned() } else { rest.to_owned() },
    })
}

fn split_body(text: &str) -> (&str, &str) {
    text.split_once("\n\n").unwrap_or((text, ""))
}

fn headers_of(section: &str, lines: &str) -> Result<Vec<(String, String)>, String> {
    lines
        .lines()
        .map(|line| {
            let (name, value) =
                line.split_once(':').ok_or_else(|| format!("section `{section}`: `{line}` is no header"))?;
            Ok((name.trim().to_ascii_lowercase(), value.trim().to_owned()))
        })
        .collect()
}

fn json<T: serde::de::DeserializeOwned>(section: &str, text: &str) -> Result<T, String> {
    serde_json::from_str(text).map_err(|error| format!("section `{section}`: {error}"))
}

#[test]
fn ids_and_time_are_the_ones_the_readme_names() {
    assert_eq!(NOW.parse::<Timestamp>().unwrap().as_millis() as u128, MILLIS);
    assert_eq!(ACCOUNT.to_string(), "acc_01M7YQ1WE00000000000000ACC");
    assert_eq!(MESSAGE.to_string(), "msg_01M7YQ1WE00000000000000MSG");
    assert_eq!(ATTEMPT.to_string(), "att_01M7YQ1WE00000000000000ATT");
}
