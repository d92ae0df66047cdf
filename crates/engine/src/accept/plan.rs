//! What a request means, given the facts: a pure decision without IO.

use std::sync::Arc;

use model::{
    Address, AttachmentRef, Channel, ChatId, Class, Content, EmailContent, Failure, FailureKind, Guarantee, MessageId,
    Priority, Purpose, SmsContent, Status, TelegramContent, TemplateId, Timestamp, VoiceContent, WhatsappContent,
    segments,
};

use serde_json::value::RawValue;

use super::request::{self, ChannelChoice, EmailRequest, MessageRequest, RichRequest};
use crate::{
    Error, ErrorKind, FieldError,
    consent::links::Links,
    contacts::Recipient,
    directory::{Account, Sender, Tenant, TenantState},
    money::book::Category,
    registrations::gate,
    render::Prepared,
    routing::{
        self,
        decide::{Decision, Facts, Routed, route},
        figures::Figures,
        rule::Subject,
    },
    senders::SenderState,
};

/// Largest `metadata`, in bytes of JSON.
const METADATA_MAX: usize = 16 * 1024;
/// Largest `variables`, in bytes of JSON.
const VARIABLES_MAX: usize = 64 * 1024;
/// How far ahead a message can be scheduled, in seconds: a year and a day.
const SEND_AT_MAX_S: i64 = 366 * 86_400;
/// Longest text of a channel without a limit of its own, in bytes.
pub const TEXT_MAX: usize = 512 * 1024;
/// Longest subject, in characters (RFC 5322 lines are folded, but nobody reads further).
const SUBJECT_MAX: usize = 998;
/// Extra mail headers.
const HEADERS_MAX: usize = 30;
/// Shortest wait for delivery before the next channel, in seconds: reports need a moment.
const FALLBACK_MIN_S: u32 = 10;
/// Longest, in seconds: a week.
const FALLBACK_MAX_S: u32 = 7 * 86_400;
/// What `auto` tries where nothing is known about the recipient's wishes.
const AUTO_ORDER: &[Channel] = &[Channel::Email, Channel::Whatsapp, Channel::Sms, Channel::Telegram];

/// What will happen to a message.
pub struct Plan {
    /// Over which channel.
    pub channel: Channel,
    /// Why.
    pub purpose: Purpose,
    /// Its place in the order of work.
    pub class: Class,
    /// What to do when nobody can say whether it was taken.
    pub guarantee: Guarantee,
    /// `scheduled` or `queued`.
    pub status: Status,
    /// To whom.
    pub address: Address,
    /// Through which account.
    pub account: Arc<Account>,
    /// As which of its senders; `None` for its own.
    pub sender: Option<Arc<Sender>>,
    /// What it says, compiled.
    pub content: Arc<Prepared>,
    /// What it says, filled in: for the explanation of a dry run.
    pub rendered: Arc<Content>,
    /// Why this channel and account.
    pub route: String,
    /// What the tenant's rules said, with the id the message got for it; `None` where none matched.
    pub ruled: Option<(MessageId, Box<Decision>)>,
    /// Parts, for SMS.
    pub segments: Option<u32>,
    /// What kind of message it is, for its price.
    pub category: Option<Category>,
    /// When it leaves.
    pub due_at: Timestamp,
}

impl Plan {
    /// What speaks against it without forbidding it, for the explanation of a dry run.
    pub fn warnings(&self) -> Vec<String> {
        let unproven = self.sender.as_ref().filter(|sender| sender.state != SenderState::Verified);
        unproven.and_then(|sender| sender.detail.clone()).into_iter().collect()
    }
}

/// Decides over which channel and to which address a message goes, before its content is read.
pub fn choose(request: &MessageRequest, tenant: &Tenant) -> Result<(Channel, Address, String), Error> {
    if tenant.state == TenantState::Suspended {
        return Err(Error::forbidden(
            "tenant_suspended",
            "This tenant is suspended and cannot send. Ask the operator to lift the suspension.",
        )
        .with_action("CONTACT_OPERATOR"));
    }
    if let Some(after_s) = request.fallback_after_s {
        if !matches!(request.channel, Some(ChannelChoice::List(_) | ChannelChoice::Auto)) {
            let detail = "there is no next channel to wait for: give `channel` as a list of channels or as auto";
            return Err(Error::invalid("/fallback_after_s", detail));
        }
        if !(FALLBACK_MIN_S..=FALLBACK_MAX_S).contains(&after_s) {
            let detail = format!("{FALLBACK_MIN_S} to {FALLBACK_MAX_S} seconds");
            return Err(Error::invalid("/fallback_after_s", detail));
        }
    }
    let given = Given::of(request)?;
    match &request.channel {
        Some(ChannelChoice::One(channel)) => {
            given.only(*channel).map(|address| (*channel, address, "the channel was given".to_owned()))
        }
        None => match given.all().as_slice() {
            [address @ Address::Email(_)] => {
                Ok((Channel::Email, address.clone(), "an e-mail address goes by e-mail".to_owned()))
            }
            [address @ Address::Telegram(_)] => {
                Ok((Channel::Telegram, address.clone(), "a Telegram chat goes by Telegram".to_owned()))
            }
            _ => Err(Error::invalid(
                "/channel",
                "say how to reach this recipient: email, sms, whatsapp, telegram, voice or auto",
            )),
        },
        Some(ChannelChoice::List(channels)) => {
            first_usable(&given, channels, (request, tenant), "the first listed channel with an address and an account")
        }
        Some(ChannelChoice::Auto) => {
            let (order, why) = auto_order(request);
            first_usable(&given, &order, (request, tenant), &why)
        }
    }
}

/// The channels `auto` tries, and why: the one the contact chose for the topic, then the usual order, without those over which it must not be written to. When that leaves none with
/// an address, all of them: the message is then held back with the reason instead of being refused without one.
pub(crate) fn auto_order(request: &MessageRequest) -> (Vec<Channel>, String) {
    let usual = "auto: the first of email, whatsapp, sms, telegram with an address and an account";
    let Some(wishes) = &request.wishes else { return (AUTO_ORDER.to_vec(), usual.to_owned()) };
    let mut order: Vec<Channel> = wishes.preferred.into_iter().collect();
    order.extend(AUTO_ORDER.iter().filter(|channel| Some(**channel) != wishes.preferred));
    let mut why = match (wishes.preferred, &request.topic) {
        (Some(channel), Some(topic)) => format!("auto: the contact prefers {channel} for {topic}"),
        _ => usual.to_owned(),
    };
    let allowed: Vec<Channel> =
        order.iter().copied().filter(|channel| wishes.barred.iter().all(|(barred, _)| barred != channel)).collect();
    let is_there = |channel: &Channel| request.recipient.as_ref().is_some_and(|to| to.address(*channel).is_some());
    if wishes.barred.is_empty() || !allowed.iter().any(is_there) {
        return (order, why);
    }
    let passed = wishes.barred.iter().map(|(channel, code)| format!("{channel} ({code})")).collect::<Vec<_>>();
    why.push_str(&format!("; passed over: {}", passed.join(", ")));
    (allowed, why)
}

/// Who a request is for.
enum Given<'a> {
    Addresses(Vec<Address>),
    Contact(&'a Recipient),
}

impl<'a> Given<'a> {
    fn of(request: &'a MessageRequest) -> Result<Self, Error> {
        let to = &request.to;
        let mut given = Vec::new();
        given.extend(to.email.clone().map(Address::Email));
        given.extend(to.phone.clone().map(Address::Phone));
        given.extend(to.telegram_chat_id.map(|id| Address::Telegram(ChatId(id))));
        match (&to.contact_id, &request.recipient) {
            (Some(_), _) if !given.is_empty() => Err(Error::invalid(
                "/to",
                "`contact_id` stands alone: the contact's own addresses are used. Leave the others out.",
            )),
            (Some(_), None) => Err(Error::invalid("/to/contact_id", "there is no such contact")),
            (Some(_), Some(recipient)) => Ok(Self::Contact(recipient)),
            (None, _) if given.is_empty() => Err(Error::invalid(
                "/to",
                "a message needs a recipient: one of email, phone, telegram_chat_id or contact_id",
            )),
            (None, _) => Ok(Self::Addresses(given)),
        }
    }

    /// Every address there is.
    fn all(&self) -> Vec<Address> {
        match self {
            Self::Addresses(given) => given.clone(),
            Self::Contact(recipient) => {
                let channels = [Channel::Email, Channel::Sms, Channel::Whatsapp, Channel::Telegram];
                channels.iter().filter_map(|channel| recipient.address(*channel)).collect()
            }
        }
    }

    /// An address for a channel.
    fn one(&self, channel: Channel) -> Option<Address> {
        match self {
            Self::Addresses(given) => given.iter().find(|address| address.fits(channel)).cloned(),
            Self::Contact(recipient) => recipient.address(channel),
        }
    }

    /// The address for a channel that was chosen by the request.
    fn only(&self, channel: Channel) -> Result<Address, Error> {
        let needed = match channel {
            Channel::Email => "email",
            Channel::Sms | Channel::Whatsapp | Channel::Voice => "phone",
            Channel::Telegram => "telegram_chat_id",
            Channel::Webhook => "url",
        };
        match self {
            Self::Addresses(given) if given.len() > 1 => {
                Err(Error::invalid("/to", "more than one recipient address: give one, or set channel to auto or a list"))
            }
            Self::Addresses(_) => self.one(channel).ok_or_else(|| {
                Error::invalid(format!("/to/{needed}"), format!("a message over {channel} needs `{needed}`"))
            }),
            Self::Contact(recipient) => self.one(channel).ok_or_else(|| {
                let detail = format!(
                    "the contact {} has no `{needed}`, which a message over {channel} needs; add it with PATCH, or choose another channel",
                    recipient.contact.id
                );
                Error::invalid("/to/contact_id", detail)
            }),
        }
    }
}

fn first_usable(
    given: &Given<'_>,
    channels: &[Channel],
    (request, tenant): (&MessageRequest, &Tenant),
    why: &str,
) -> Result<(Channel, Address, String), Error> {
    let there: Vec<_> = channels
        .iter()
        .filter_map(|channel| Some((*channel, given.one(*channel)?, default_account(tenant, *channel)?)))
        .collect();
    // A channel whose messages carriers would block is passed over, unless it is the only one: then the refusal says why.
    let may_leave = |(channel, address, account): &&(Channel, Address, &Arc<Account>)| {
        // What the request names is the only way there is.
        if let Some((named, sender)) = named(request, tenant, *channel) {
            return gate::refuse(tenant, named, sender, *channel, address).is_ok();
        }
        let is_ruled = tenant.routes.about(*channel).next().is_some();
        let is_way = |way: &&Arc<Account>| match is_ruled {
            true => way.is_enabled && way.channels.contains(channel),
            false => way.id == account.id,
        };
        let mut ways = tenant.accounts.iter().filter(is_way);
        ways.any(|way| gate::refuse(tenant, way, None, *channel, address).is_ok())
    };
    let usable = there.iter().find(may_leave).or(there.first());
    let usable = usable.map(|(channel, address, _)| (*channel, address.clone()));
    usable.map(|(channel, address)| (channel, address, why.to_owned())).ok_or_else(|| {
        let listed = channels.iter().map(|channel| channel.as_str()).collect::<Vec<_>>().join(", ");
        no_account(&format!("None of the channels {listed} has both an address in `to` and an enabled account."))
    })
}

/// The account a request names for a channel, by itself or by its sender.
fn named<'a>(
    request: &MessageRequest,
    tenant: &'a Tenant,
    channel: Channel,
) -> Option<(&'a Account, Option<&'a Sender>)> {
    let mut carrying = tenant.accounts.iter().filter(|account| account.channels.contains(&channel));
    match (request.sender_id, request.account_id) {
        (Some(id), _) => carrying.find_map(|account| {
            let sender = account.senders.iter().find(|sender| sender.id == id)?;
            Some((&**account, Some(&**sender)))
        }),
        (None, Some(id)) => carrying.find(|account| account.id == id).map(|account| (&**account, None)),
        (None, None) => None,
    }
}

fn no_account(detail: &str) -> Error {
    Error {
        errors: vec![FieldError::new("/channel", detail)],
        ..Error::new(
            ErrorKind::Invalid,
            "no_account_for_channel",
            format!("{detail} Add an account for it with POST /v1/accounts."),
        )
        .with_action("ADD_ACCOUNT")
    }
}

pub(crate) fn default_account(tenant: &Tenant, channel: Channel) -> Option<&Arc<Account>> {
    let usable = || tenant.accounts.iter().filter(|account| account.is_enabled && account.channels.contains(&channel));
    usable().find(|account| account.default_for.contains(&channel)).or_else(|| usable().next())
}

/// A sender a message names, behind its account.
type Named = (Arc<Account>, Arc<Sender>);

/// The sender a message names, with its account. One the provider would refuse is refused here, where somebody can still do something about it.
fn sender(request: &MessageRequest, tenant: &Tenant, channel: Channel) -> Result<Option<Named>, Error> {
    let Some(id) = request.sender_id else { return Ok(None) };
    let mut all =
        tenant.accounts.iter().flat_map(|account| account.senders.iter().map(move |sender| (account, sender)));
    let found = all.find(|(_, sender)| sender.id == id);
    let (account, sender) = found.ok_or_else(|| Error::invalid("/sender_id", "there is no such sender"))?;
    if request.account_id.is_some_and(|wanted| wanted != account.id) {
        let detail =
            format!("the sender belongs to the account {}; leave `account_id` out or name that one", account.id);
        return Err(Error::invalid("/sender_id", detail));
    }
    if !sender.channels.contains(&channel) || !account.channels.contains(&channel) {
        return Err(Error::invalid("/sender_id", format!("the sender {} is not for {channel}", sender.name)));
    }
    if !account.is_enabled {
        return Err(disabled(account));
    }
    if sender.state == SenderState::Refused {
        let detail = format!("{} may not send. {}", sender.from, sender.detail.as_deref().unwrap_or_default());
        return Err(Error {
            errors: vec![FieldError::new("/sender_id", detail.clone())],
            ..Error::new(ErrorKind::Invalid, "sender_not_verified", detail)
        }
        .with_action("VERIFY_SENDER"));
    }
    Ok(Some((Arc::clone(account), Arc::clone(sender))))
}

/// The account a message goes through, and why.
fn account(request: &MessageRequest, tenant: &Tenant, channel: Channel) -> Result<(Arc<Account>, &'static str), Error> {
    if let Some(id) = request.account_id {
        let found = tenant.accounts.iter().find(|account| account.id == id && account.connector.spec().id != "webhook");
        let account = found.ok_or_else(|| Error::invalid("/account_id", "there is no such account"))?;
        if !account.channels.contains(&channel) {
            return Err(Error::invalid(
                "/account_id",
                format!("the account {} does not carry {channel}", account.name),
            ));
        }
        if !account.is_enabled {
            return Err(disabled(account));
        }
        return Ok((Arc::clone(account), "the account was given"));
    }
    if let Some(account) = default_account(tenant, channel) {
        let why = if account.default_for.contains(&channel) {
            "the channel's default account"
        } else {
            "the channel's only usable account"
        };
        return Ok((Arc::clone(account), why));
    }
    match tenant.accounts.iter().find(|account| account.channels.contains(&channel)) {
        Some(account) => Err(disabled(account)),
        None => Err(no_account(&format!("This tenant has no account for {channel}."))),
    }
}

/// What a message's account is decided from where the tenant has rules.
pub struct Routing {
    /// What is known of the accounts.
    pub figures: Arc<Figures>,
    /// The message's id: rules that share messages out by weight go by it.
    pub id: MessageId,
    /// The template it is made of.
    pub template: Option<TemplateId>,
}

/// The account rules chose, and why.
type Ruled = (Arc<Account>, Box<Decision>);

/// Asks the tenant's rules. `None` when none matches.
fn ruled(
    request: &MessageRequest,
    tenant: &Tenant,
    (channel, address): (Channel, &Address),
    (rendered, uploads): (&Content, &[AttachmentRef]),
    routing: &Routing,
    (leaves_at, now): (Timestamp, Timestamp),
) -> Result<Option<Ruled>, Error> {
    let address = address.to_string();
    let carries = |account: &Account| can_carry(account, rendered, uploads);
    let refuses =
        |account: &Account| carries(account).err().map(|failure| format!("cannot carry it: {}", failure.detail));
    let message = Subject {
        id: routing.id,
        channel,
        address: &address,
        purpose: request.purpose.unwrap_or(Purpose::Transactional),
        topic: request.topic.as_deref(),
        template: routing.template,
        metadata: request.metadata.as_ref().map(|raw| raw.get()),
        segments: parts(rendered),
        leaves_at,
        accepted_at: now,
    };
    match route(&Facts::of(tenant, message, &routing.figures, &refuses), now) {
        Routed::Unruled => Ok(None),
        Routed::Nowhere(passed) => Err(routing::nowhere(&passed)),
        Routed::To(mut decision) => {
            let account = tenant.account(decision.account_id).map(Arc::clone);
            let account = account.ok_or_else(|| Error::internal("a rule chose an account that is not there"))?;
            let others = tenant.accounts.iter().filter(|other| other.is_enabled && other.channels.contains(&channel));
            decision.cannot_carry = others.filter(|other| carries(other).is_err()).map(|other| other.id).collect();
            Ok(Some((account, decision)))
        }
    }
}

/// Refuses what an account cannot carry: a content, or one of the files its media name.
fn can_carry(account: &Account, rendered: &Content, uploads: &[AttachmentRef]) -> Result<(), Failure> {
    account.connector.can_carry(&account.values, rendered)?;
    if uploads.is_empty() {
        return Ok(());
    }
    for (index, media) in rendered.media().iter().enumerate().filter(|(_, media)| media.url.is_none()) {
        let Some(file) = uploads.iter().find(|file| Some(file.attachment_id) == media.attachment_id) else { continue };
        account.connector.can_upload(media, file).map_err(|failure| Failure {
            detail: format!("/content/media/{index}/attachment_id: {}", failure.detail),
            ..failure
        })?;
    }
    Ok(())
}

/// The field a connector speaks of, as a pointer into the request. It stands before a colon at the beginning or in backticks; a mail's field is written as it is called there.
fn refused_field(request: &MessageRequest, detail: &str) -> String {
    let named = [detail.split('`').nth(1), detail.split(':').next()];
    let is_pointer = |field: &&str| field.starts_with('/') && !field.contains(' ');
    if let Some(pointer) = named.into_iter().flatten().find(is_pointer) {
        return pointer.to_owned();
    }
    let field = detail.strip_prefix('`').and_then(|rest| rest.split('`').next()).unwrap_or_default();
    let (whole, part) = field.split_once(['.', '[']).map_or((field, None), |(whole, part)| (whole, Some(part)));
    match (whole, part) {
        ("subject" | "text" | "html" | "reply_to" | "headers", None) => format!("/content/{whole}"),
        ("headers", Some(name)) => format!("/content/headers/{}", name.replace('~', "~0").replace('/', "~1")),
        ("attachments", part) => {
            // The message's own files come before those of its content.
            let own = request.attachments.len();
            let place = part.and_then(|part| {
                let (index, field) = part.split_once(']')?;
                Some((index.parse::<usize>().ok()?, field.replace('.', "/")))
            });
            match place {
                Some((index, field)) if index < own => format!("/attachments/{index}{field}"),
                Some((index, field)) => format!("/content/attachments/{}{field}", index - own),
                None if own > 0 => "/attachments".to_owned(),
                None => "/content/attachments".to_owned(),
            }
        }
        _ => "/content".to_owned(),
    }
}

/// Parts, for SMS.
fn parts(rendered: &Content) -> Option<u32> {
    match rendered {
        Content::Sms(sms) => Some(segments(&sms.text).count),
        _ => None,
    }
}

fn disabled(account: &Account) -> Error {
    let detail = format!(
        "The account {} ({}) is disabled. Enable it, or choose another with `account_id`.",
        account.name, account.id
    );
    Error {
        errors: vec![FieldError::new("/account_id", detail.clone())],
        ..Error::new(ErrorKind::Invalid, "account_disabled", detail)
    }
    .with_action("ENABLE_ACCOUNT")
}

/// Reads what a message without a template says. `files` are the stored files of its attachments.
pub fn say(request: &MessageRequest, channel: Channel, files: Vec<AttachmentRef>) -> Result<Content, Error> {
    if let Some(template) = &request.template {
        if request.content.is_some() {
            return Err(Error::invalid("/template", "give either `content` or `template`, not both"));
        }
        return Err(Error::internal(format!("the template {template:?} was not looked up")));
    }
    let Some(raw) = &request.content else {
        return Err(Error::invalid("/content", "a message needs `content` or `template`"));
    };
    check_attachments(request, channel)?;
    let fitting = match &request.channel {
        Some(ChannelChoice::List(_) | ChannelChoice::Auto) => narrowed(request, channel),
        _ => None,
    };
    content(fitting.as_ref().unwrap_or(raw).get().as_bytes(), channel, files, "/content")
}

/// Files go by e-mail only.
pub fn check_attachments(request: &MessageRequest, channel: Channel) -> Result<(), Error> {
    let may_differ = matches!(request.channel, Some(ChannelChoice::List(_) | ChannelChoice::Auto));
    if channel == Channel::Email || request.attachments.is_empty() || may_differ {
        return Ok(());
    }
    Err(Error::invalid("/attachments", format!("attachments go by e-mail; over {channel} use `content.media`")))
}

/// Reads a content in the shape of its channel. Errors point below `base`.
pub fn content(raw: &[u8], channel: Channel, files: Vec<AttachmentRef>, base: &str) -> Result<Content, Error> {
    let content = match channel {
        Channel::Email => {
            let email: EmailRequest = request::read(raw, base)?;
            Content::Email(EmailContent {
                subject: email.subject,
                text: email.text,
                html: email.html,
                reply_to: email.reply_to,
                headers: email.headers,
                attachments: files,
            })
        }
        Channel::Sms => Content::Sms(request::read::<SmsContent>(raw, base)?),
        Channel::Whatsapp => {
            let rich: RichRequest = request::read(raw, base)?;
            Content::Whatsapp(WhatsappContent {
                text: rich.text,
                media: rich.media,
                buttons: rich.buttons,
                location: rich.location,
                whatsapp_template: rich.whatsapp_template,
            })
        }
        Channel::Telegram => Content::Telegram(request::read::<TelegramContent>(raw, base)?),
        Channel::Voice => Content::Voice(request::read::<VoiceContent>(raw, base)?),
        Channel::Webhook => return Err(Error::invalid("/channel", "unknown channel")),
    };
    check_source(&content, base)?;
    Ok(content)
}

/// The fields each channel's content has.
const FIELDS: &[(Channel, &[&str])] = &[
    (Channel::Email, &["subject", "text", "html", "reply_to", "headers", "attachments"]),
    (Channel::Sms, &["text", "media"]),
    (Channel::Whatsapp, &["text", "media", "buttons", "location", "whatsapp_template"]),
    (Channel::Telegram, &["text", "media", "buttons", "location"]),
    (Channel::Voice, &["say", "voice", "language"]),
];

/// The part of a content that one channel carries, where a request names several. A field that no channel has stays, to be refused by name; a call says the text when nothing else is given.
pub(super) fn narrowed(request: &MessageRequest, channel: Channel) -> Option<Box<RawValue>> {
    let raw = request.content.as_ref()?;
    let mut fields: serde_json::Map<String, serde_json::Value> = serde_json::from_str(raw.get()).ok()?;
    let is_of = |channel: Channel, name: &str| FIELDS.iter().any(|(of, names)| *of == channel && names.contains(&name));
    if channel == Channel::Voice
        && !fields.contains_key("say")
        && let Some(text) = fields.get("text").cloned()
    {
        fields.insert("say".to_owned(), text);
    }
    fields.retain(|name, _| is_of(channel, name) || !FIELDS.iter().any(|(of, _)| is_of(*of, name)));
    serde_json::value::to_raw_value(&fields).ok()
}

/// What can be said to be wrong before the placeholders are filled.
pub fn check_source(content: &Content, base: &str) -> Result<(), Error> {
    let bad = match content {
        Content::Email(email) => {
            let long = |name: &str, text: &Option<String>| {
                text.as_ref()
                    .filter(|text| text.len() > TEXT_MAX)
                    .map(|_| FieldError::new(format!("{base}/{name}"), format!("at most {TEXT_MAX} bytes")))
            };
            let mut bad: Vec<_> =
                [long("text", &email.text), long("html", &email.html)].into_iter().flatten().collect();
            if email.text.as_ref().is_none_or(String::is_empty) && email.html.as_ref().is_none_or(String::is_empty) {
                bad.push(FieldError::new(base, "a mail needs `text`, `html` or both"));
            }
            if email.headers.len() > HEADERS_MAX {
                bad.push(FieldError::new(format!("{base}/headers"), format!("at most {HEADERS_MAX} extra headers")));
            }
            bad
        }
        Content::Sms(sms) if sms.text.is_empty() && sms.media.is_empty() => {
            vec![FieldError::new(format!("{base}/text"), "a text message needs `text`")]
        }
        Content::Whatsapp(w)
            if w.text.is_empty() && w.media.is_empty() && w.location.is_none() && w.whatsapp_template.is_none() =>
        {
            vec![FieldError::new(base, "a WhatsApp message needs `text`, `media`, `location` or `whatsapp_template`")]
        }
        Content::Telegram(t) if t.text.is_empty() && t.media.is_empty() && t.location.is_none() => {
            vec![FieldError::new(base, "a Telegram message needs `text`, `media` or `location`")]
        }
        Content::Voice(voice) if voice.say.is_empty() => {
            vec![FieldError::new(format!("{base}/say"), "a call needs something to say")]
        }
        _ => Vec::new(),
    };
    if bad.is_empty() { Ok(()) } else { Err(Error::invalid_fields(bad)) }
}

/// Decides everything else about a message whose channel, address and content are known; `uploads` are the files its media name.
pub fn plan(
    request: &MessageRequest,
    tenant: &Tenant,
    (channel, address, why): (Channel, Address, String),
    (content, uploads): (Arc<Prepared>, &[AttachmentRef]),
    routing: Option<Routing>,
    now: Timestamp,
) -> Result<Plan, Error> {
    let mut bad = Vec::new();
    check_object(&mut bad, "/metadata", request.metadata.as_deref(), METADATA_MAX);
    check_object(&mut bad, "/variables", request.variables.as_deref(), VARIABLES_MAX);
    if request.topic.as_ref().is_some_and(|topic| {
        topic.is_empty()
            || topic.len() > 64
            || !topic.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
    }) {
        bad.push(FieldError::new("/topic", "1 to 64 characters of a-z, 0-9 and _"));
    }
    if request.send_at.is_some_and(|at| at > now.plus_seconds(SEND_AT_MAX_S)) {
        bad.push(FieldError::new("/send_at", "at most a year ahead"));
    }
    let leaves_at = request.send_at.map_or(now, |at| at.max(now));
    if request.expires_at.is_some_and(|at| at <= leaves_at) {
        bad.push(FieldError::new("/expires_at", "must be later than now and than `send_at`"));
    }
    if !bad.is_empty() {
        return Err(Error::invalid_fields(bad));
    }
    let named = sender(request, tenant, channel)?;
    let routing = routing.filter(|_| named.is_none() && request.account_id.is_none());
    // Where rules are asked, the default account is only needed when none matches.
    let unruled = |named: Option<Named>| match named {
        Some((account, sender)) => {
            let why = format!("{}: the sender {} was given", account.name, sender.from);
            Ok((account, Some(sender), why))
        }
        None => {
            let (account, why) = account(request, tenant, channel)?;
            let why = format!("{}: {why}", account.name);
            Ok::<_, Error>((account, None, why))
        }
    };
    let settled = if routing.is_none() { Some(unruled(named)?) } else { None };
    let purpose = request.purpose.unwrap_or(Purpose::Transactional);
    // The message has no id yet, so its links are samples of their length.
    let links = (purpose == Purpose::Marketing).then(|| Links::sample(&tenant.public_url));
    let variables = request.variables.as_ref().map(|raw| raw.get());
    let rendered = content.render_with(variables, &tenant.provided, links.as_ref())?;
    check_rendered(&rendered)?;
    if let Some(rules) = tenant.rules.as_ref().filter(|_| request.ours.is_none()) {
        rules.refuse(channel, purpose, &rendered)?;
    }
    let mut by_rule = None;
    let (account, sender, route) = match (settled, routing) {
        (Some((account, sender, route)), _) => (account, sender, format!("{channel}: {why}; {route}")),
        (None, routing) => {
            let asked = routing.as_ref().map(|routing| {
                ruled(request, tenant, (channel, &address), (&rendered, uploads), routing, (leaves_at, now))
            });
            match asked.transpose()?.flatten() {
                Some((account, decision)) => {
                    let route = format!("{channel}: {why}{}", routing::words(&decision));
                    by_rule = routing.map(|routing| (routing.id, decision));
                    (account, None, route)
                }
                None => {
                    let (account, sender, route) = unruled(None)?;
                    (account, sender, format!("{channel}: {why}; {route}"))
                }
            }
        }
    };
    gate::refuse(tenant, &account, sender.as_deref(), channel, &address)?;
    can_carry(&account, &rendered, uploads).map_err(|failure| {
        let code = if failure.kind == FailureKind::Content { "content_not_supported" } else { "invalid_request" };
        Error {
            errors: vec![FieldError::new(refused_field(request, &failure.detail), failure.detail.clone())],
            ..Error::new(ErrorKind::Invalid, code, failure.detail)
        }
    })?;
    Ok(Plan {
        channel,
        purpose,
        class: Class::new(purpose, request.priority.unwrap_or(Priority::Normal)),
        guarantee: request.guarantee.unwrap_or(Guarantee::AtLeastOnce),
        status: if leaves_at > now { Status::Scheduled } else { Status::Queued },
        address,
        segments: parts(&rendered),
        category: Category::of(&rendered, purpose, |name, language| {
            let key = (account.id, name.to_owned(), language.to_owned());
            tenant.whatsapp_categories.get(&key).map(String::as_str)
        }),
        rendered,
        content,
        route,
        ruled: by_rule,
        account,
        sender,
        due_at: leaves_at,
    })
}

fn check_object(bad: &mut Vec<FieldError>, pointer: &str, raw: Option<&serde_json::value::RawValue>, max: usize) {
    let Some(text) = raw.map(|raw| raw.get().trim()) else { return };
    if !text.starts_with('{') {
        bad.push(FieldError::new(pointer, "expected an object"));
    } else if text.len() > max {
        bad.push(FieldError::new(pointer, format!("at most {max} bytes")));
    }
}

/// What must hold once the placeholders are filled: a variable cannot smuggle in a header or empty a text.
fn check_rendered(content: &Content) -> Result<(), Error> {
    let Content::Email(email) = content else { return Ok(()) };
    let mut bad = Vec::new();
    let breaks = |text: &str| text.chars().any(|c| matches!(c, '\r' | '\n' | '\0'));
    if breaks(&email.subject) {
        bad.push(FieldError::new("/content/subject", "a subject has no line breaks, also not from variables"));
    }
    if email.subject.chars().count() > SUBJECT_MAX {
        bad.push(FieldError::new("/content/subject", format!("at most {SUBJECT_MAX} characters")));
    }
    for (name, value) in &email.headers {
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_graphic() && b != b':') {
            bad.push(FieldError::new(
                format!("/content/headers/{name}"),
                "a header name is printable ASCII without spaces or colons",
            ));
        } else if breaks(value) {
            bad.push(FieldError::new(
                format!("/content/headers/{name}"),
                "a header has no line breaks, also not from variables",
            ));
        }
    }
    if bad.is_empty() { Ok(()) } else { Err(Error::invalid_fields(bad)) }
}

#[cfg(test)]
mod tests {
    use model::{ContactId, TenantId};
    use proptest::prelude::*;
    use store::contacts::Contact;

    use super::*;
    use crate::consent::Wishes;

    const WAYS: [Channel; 5] = [Channel::Email, Channel::Sms, Channel::Whatsapp, Channel::Telegram, Channel::Voice];

    fn request(preferred: Option<Channel>, barred: &[Channel], has: [bool; 3]) -> MessageRequest {
        let mut contact = Contact::new(TenantId::from_ulid(1), ContactId::from_ulid(2), Timestamp::EPOCH);
        contact.email = has[0].then(|| "ada@example.com".to_owned());
        contact.phone = has[1].then(|| "+15550100001".to_owned());
        contact.telegram_chat_id = has[2].then_some(7);
        let barred = barred.iter().map(|channel| (*channel, "opted_out".to_owned())).collect();
        MessageRequest {
            recipient: Some(Arc::new(Recipient::new(contact, &[]))),
            wishes: Some(Arc::new(Wishes { preferred, barred })),
            ..MessageRequest::default()
        }
    }

    proptest! {
        /// What `auto` takes is what somebody would take who looks at one channel after the other.
        #[test]
        fn auto_takes_the_preferred_channel_that_is_allowed_and_there(
            preferred in prop::option::of(prop::sample::select(WAYS.to_vec())),
            barred in prop::collection::btree_set(prop::sample::select(WAYS.to_vec()), 0..=5),
            has in any::<[bool; 3]>(),
        ) {
            let barred: Vec<Channel> = barred.into_iter().collect();
            let request = request(preferred, &barred, has);
            let there = |channel: &Channel| request.recipient.as_ref().is_some_and(|to| to.address(*channel).is_some());
            let (order, why) = auto_order(&request);
            let mut seen = order.clone();
            seen.sort_unstable();
            seen.dedup();
            prop_assert_eq!(seen.len(), order.len(), "each channel once");
            let wanted = preferred.into_iter().chain(AUTO_ORDER.iter().copied());
            let naive = wanted.clone().find(|channel| there(channel) && !barred.contains(channel));
            let taken = order.iter().copied().find(there);
            match naive {
                Some(naive) => {
                    prop_assert_eq!(taken, Some(naive));
                    prop_assert!(order.iter().all(|channel| !barred.contains(channel)));
                    prop_assert!(barred.iter().all(|channel| !AUTO_ORDER.contains(channel)) || why.contains("passed over"));
                }
                // Nothing is allowed: then the message is held back with its reason, over whatever is there.
                None => prop_assert_eq!(taken, wanted.clone().find(there)),
            }
        }
    }
}
