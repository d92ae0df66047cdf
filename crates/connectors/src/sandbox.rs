//! A provider without a network, for trying things out: it accepts at once, "delivers" after 3–5 s and "reads" after 5–10 s.
//!
//! Some recipients act out what real providers do on bad days; [`MAGIC`] lists them, and code, tests and the documentation read that one table.
//! An e-mail address acts by its local part, at any domain and with any `+label`. The waits come from the nonce, so a test knows them; the
//! engine keeps the facts that follow durably and applies them on its own clock.

use model::{Address, Answer, AttemptId, Call, Channel, ChatId, Fact, Failure, FailureKind};

use crate::{
    Acceptance, Check, Connector, Cx, Limits, Outcome, Outgoing, Probe, Spec, Step,
    manage::{
        self, DomainAtProvider, DomainRef, DomainState, NewTemplate, Next, NumberState, Plan, Progress, Reason, Stage,
        StageResult, Template, TemplateStatus, Work,
    },
};

/// One recipient that acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Magic {
    /// The local part of an e-mail address.
    pub email: Option<&'static str>,
    /// The phone number; see [`chat_id`](Self::chat_id) for Telegram.
    pub phone: Option<&'static str>,
    /// What happens.
    pub act: Act,
    /// The code of the failure, when there is one.
    pub code: &'static str,
    /// What happens, for people.
    pub detail: &'static str,
}

impl Magic {
    /// The Telegram chat that acts the same: the phone number's digits without the country code, `5005550001`.
    pub fn chat_id(&self) -> Option<ChatId> {
        self.phone.and_then(|phone| phone.strip_prefix("+1")).and_then(|digits| digits.parse().ok()).map(ChatId)
    }
}

/// What a recipient acts out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// Refuses the message at once.
    Refuse(FailureKind),
    /// Takes it, and reports later that it did not arrive.
    FailLater,
    /// Takes it, and returns it later.
    Bounce {
        /// True when the address should not be used again.
        hard: bool,
    },
    /// Delivers it; the recipient then reports it as unwanted.
    Complain,
    /// Takes it and is never heard of again.
    StaySent,
    /// Delivers it, but nobody reads it.
    NeverRead,
}

/// Every recipient that acts; all others receive and read.
pub const MAGIC: &[Magic] = &[
    magic(
        Some("reject"),
        Some("+15005550001"),
        Act::Refuse(FailureKind::Recipient),
        "invalid_recipient",
        "The recipient does not exist.",
    ),
    magic(None, Some("+15005550002"), Act::FailLater, "unreachable", "The recipient's device could not be reached."),
    magic(
        Some("optout"),
        Some("+15005550003"),
        Act::Refuse(FailureKind::OptedOut),
        "opted_out",
        "The recipient asked this sender for no more messages.",
    ),
    magic(
        Some("content"),
        Some("+15005550004"),
        Act::Refuse(FailureKind::Content),
        "content_refused",
        "The content was refused.",
    ),
    magic(
        Some("throttle"),
        Some("+15005550005"),
        Act::Refuse(FailureKind::Throttled),
        "throttled",
        "Too many messages; wait a second.",
    ),
    magic(
        Some("unavailable"),
        Some("+15005550006"),
        Act::Refuse(FailureKind::Unavailable),
        "unavailable",
        "The sandbox plays an outage.",
    ),
    magic(
        Some("account"),
        Some("+15005550007"),
        Act::Refuse(FailureKind::Account),
        "account_suspended",
        "The sandbox plays a suspended account. Enable the account again.",
    ),
    magic(
        Some("unknown"),
        Some("+15005550008"),
        Act::Refuse(FailureKind::Unknown),
        "no_answer",
        "The sandbox plays a lost answer: nobody can say whether the message was taken.",
    ),
    magic(Some("nodelivery"), Some("+15005550009"), Act::StaySent, "", "Taken, and nothing follows."),
    magic(Some("noread"), Some("+15005550010"), Act::NeverRead, "", "Delivered, never read."),
    magic(Some("bounce"), None, Act::Bounce { hard: true }, "5.1.1", "The mailbox does not exist."),
    magic(Some("softbounce"), None, Act::Bounce { hard: false }, "4.2.2", "The mailbox is full."),
    magic(Some("complaint"), None, Act::Complain, "", "Delivered, then reported as spam."),
];

const fn magic(
    email: Option<&'static str>,
    phone: Option<&'static str>,
    act: Act,
    code: &'static str,
    detail: &'static str,
) -> Magic {
    Magic { email, phone, act, code, detail }
}

/// Shortest and longest wait for the delivery, in milliseconds.
const DELIVERED_MS: (u64, u64) = (3_000, 5_000);
/// Shortest and longest wait until it is read, both from the acceptance, in milliseconds.
const READ_MS: (u64, u64) = (5_001, 10_000);
/// The wait a throttling recipient asks for, in milliseconds.
const THROTTLE_MS: u64 = 1_000;

static SPEC: Spec = Spec {
    id: "sandbox",
    name: "Sandbox",
    docs_url: "",
    channels: &[Channel::Email, Channel::Sms, Channel::Whatsapp, Channel::Telegram, Channel::Voice],
    fields: &[],
    from_example: "",
    needs_from: false,
    limits: Limits { per_second: 0, concurrency: 64 },
    has_receipts: true,
    callback_help: "",
    callback_security: "",
};

/// The sandbox.
pub struct Sandbox;

impl Connector for Sandbox {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn send(&self, _cx: &Cx<'_>, _message: &Outgoing<'_>) -> Result<Call, Failure> {
        Ok(Call::Local)
    }

    fn answer(&self, cx: &Cx<'_>, message: &Outgoing<'_>, _step: u8, _answer: &Answer) -> Step {
        Step::Done(match find(message.to) {
            // An event for an endpoint, of a demo tenant: there is nobody to read it.
            None if matches!(message.to, Address::Url(_)) => accepted(message, arrives(cx.nonce, false)),
            None => accepted(message, arrives(cx.nonce, true)),
            Some(magic) => act_out(magic, cx.nonce, message),
        })
    }

    fn test(&self, _cx: &Cx<'_>) -> Result<Vec<Probe>, Failure> {
        Ok(vec![Probe { name: "Sandbox", call: Call::Local }])
    }

    fn tested(&self, _cx: &Cx<'_>, _probe: &Probe, _answer: &Answer) -> Vec<Check> {
        vec![Check::ok("Sandbox", "Accepts everything and sends nothing to anybody.")]
    }

    fn domains(&self) -> Option<&dyn manage::Domains> {
        Some(self)
    }

    fn numbers(&self) -> Option<&dyn manage::Numbers> {
        Some(self)
    }

    fn registrations(&self) -> Option<&dyn manage::Registrations> {
        Some(self)
    }

    fn templates(&self) -> Option<&dyn manage::Templates> {
        Some(self)
    }
}

/// Every domain may send at once: nothing leaves anyway.
impl manage::Domains for Sandbox {
    fn create(&self, _cx: &Cx<'_>, name: &str, _answers: &[Answer]) -> Plan<DomainAtProvider> {
        let detail = Some("The sandbox sends nothing, so every domain may.".to_owned());
        let (reference, state) = (name.to_owned(), DomainState::Verified);
        Ok(Next::Done(DomainAtProvider { reference, state, detail, records: Vec::new() }))
    }

    fn check(&self, cx: &Cx<'_>, domain: &DomainRef<'_>, answers: &[Answer]) -> Plan<DomainAtProvider> {
        self.create(cx, domain.name, answers)
    }

    fn remove(&self, _cx: &Cx<'_>, _domain: &DomainRef<'_>, _answers: &[Answer]) -> Plan<()> {
        Ok(Next::Done(()))
    }
}

impl manage::Numbers for Sandbox {
    fn look_up(&self, _cx: &Cx<'_>, _channel: Channel, _answers: &[Answer]) -> Plan<NumberState> {
        Ok(Next::Done(NumberState::Verified("The sandbox sends nothing, so every sender is good.".to_owned())))
    }
}

/// How long the sandbox takes to approve a registration, in milliseconds.
pub const APPROVED_MS: i64 = 30_000;
/// A business of this name is rejected: how the sandbox plays it.
pub const REJECTED: &str = "Rejected";

/// Plays a registration: it waits for a while and is approved, with a number of those kept for fiction (555-0100 to 555-0199).
impl manage::Registrations for Sandbox {
    fn advance(&self, cx: &Cx<'_>, work: &Work<'_>, _answers: &[Answer]) -> Plan<Progress> {
        let is_toll_free = matches!(work.stage, Stage::Verification | Stage::VerificationReview);
        let mut progress = Progress {
            stage: if is_toll_free { Stage::VerificationReview } else { Stage::CampaignReview },
            refs: work.refs.clone(),
            result: StageResult::Done,
            settings: Vec::new(),
        };
        let decided_at = work.submitted_at.plus_millis(APPROVED_MS);
        if cx.now < decided_at {
            progress.result = StageResult::Waits(Some(decided_at));
        } else if work.business.legal_name.starts_with(REJECTED) {
            let detail = format!("The sandbox rejects businesses whose name begins with {REJECTED}.");
            let pointers = vec!["/legal_name".to_owned()];
            progress.result =
                StageResult::Rejected(vec![Reason { code: "sandbox_rejected".to_owned(), detail, pointers }]);
        } else if is_toll_free {
            progress.stage = Stage::Approved;
        } else {
            let area = work.area_code.unwrap_or("415");
            // The last two digits come from the name, so that a registration keeps its number.
            let last =
                work.name.bytes().fold(0_u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(u32::from(byte))) % 100;
            progress.stage = Stage::Approved;
            progress.refs.number = Some(format!("+1{area}55501{last:02}"));
        }
        Ok(Next::Done(progress))
    }

    fn holder(&self, _cx: &Cx<'_>) -> String {
        String::new()
    }

    fn release(&self, _cx: &Cx<'_>, _reference: &str, _answers: &[Answer]) -> Plan<()> {
        Ok(Next::Done(()))
    }

    fn toll_free<'a>(&self, _cx: &Cx<'a>, _names_sender: bool) -> Option<&'a str> {
        None
    }

    fn concerns(&self, _cx: &Cx<'_>, _names_sender: bool) -> bool {
        false
    }
}

/// Templates are under review until they are read again; one whose name holds `reject` is not approved then.
impl manage::Templates for Sandbox {
    fn list(&self, _cx: &Cx<'_>, _answers: &[Answer]) -> Plan<Vec<Template>> {
        Ok(Next::Done(Vec::new()))
    }

    fn keeps_list(&self) -> bool {
        false
    }

    fn reviewed(&self, template: &Template) -> Option<Template> {
        let (status, reason) = match template.status {
            TemplateStatus::Submitted if template.name.contains("reject") => {
                (TemplateStatus::Rejected, Some("The sandbox rejects templates whose name holds `reject`.".to_owned()))
            }
            TemplateStatus::Submitted => (TemplateStatus::Approved, None),
            status => (status, template.reason.clone()),
        };
        Some(Template { status, reason, ..template.clone() })
    }

    fn create(&self, _cx: &Cx<'_>, new: &NewTemplate, _answers: &[Answer]) -> Option<Plan<Template>> {
        Some(Ok(Next::Done(Template {
            name: new.name.clone(),
            language: new.language.clone(),
            id: format!("{}.{}", new.name, new.language),
            category: new.category.clone(),
            status: TemplateStatus::Submitted,
            quality: None,
            reason: None,
            components: new.components.clone(),
        })))
    }

    fn remove(&self, _cx: &Cx<'_>, _template: &Template, _answers: &[Answer]) -> Option<Plan<()>> {
        Some(Ok(Next::Done(())))
    }
}

/// The row that says how this recipient acts; `None` for everybody else.
pub fn find(to: &Address) -> Option<&'static Magic> {
    MAGIC.iter().find(|magic| match to {
        Address::Email(email) => {
            let local = email.local().split_once('+').map_or(email.local(), |(local, _label)| local);
            magic.email.is_some_and(|name| name.eq_ignore_ascii_case(local))
        }
        Address::Phone(phone) => magic.phone == Some(phone.as_str()),
        Address::Telegram(chat) => magic.chat_id() == Some(*chat),
        Address::Url(_) => false,
    })
}

fn act_out(magic: &Magic, nonce: u128, message: &Outgoing<'_>) -> Outcome {
    let wait_ms = delivered_ms(nonce);
    let failure = |kind| Failure::new(kind, magic.code, magic.detail);
    match magic.act {
        Act::Refuse(kind) => {
            let wait_ms = (kind == FailureKind::Throttled).then_some(THROTTLE_MS);
            Outcome::Refused(failure(kind).with_retry_after_ms(wait_ms))
        }
        Act::FailLater => accepted(message, vec![(wait_ms, Fact::Failed { failure: failure(FailureKind::Recipient) })]),
        Act::Bounce { hard } => {
            let kind = if hard { FailureKind::Recipient } else { FailureKind::Unavailable };
            accepted(message, vec![(wait_ms, Fact::Bounced { hard, failure: failure(kind) })])
        }
        Act::Complain => accepted(message, vec![(wait_ms, Fact::Delivered), (read_ms(nonce), Fact::Complained)]),
        Act::StaySent => accepted(message, Vec::new()),
        Act::NeverRead => accepted(message, arrives(nonce, false)),
    }
}

fn accepted(message: &Outgoing<'_>, later: Vec<(u64, Fact)>) -> Outcome {
    let id = message.attempt_id.to_string().replace(AttemptId::PREFIX, "sbx");
    Outcome::Accepted(Acceptance { later, ..Acceptance::with_id(id) })
}

fn arrives(nonce: u128, is_read: bool) -> Vec<(u64, Fact)> {
    let mut facts = vec![(delivered_ms(nonce), Fact::Delivered)];
    if is_read {
        facts.push((read_ms(nonce), Fact::Read));
    }
    facts
}

fn delivered_ms(nonce: u128) -> u64 {
    within(DELIVERED_MS, nonce as u64)
}

fn read_ms(nonce: u128) -> u64 {
    within(READ_MS, (nonce >> 64) as u64)
}

fn within((least, most): (u64, u64), chance: u64) -> u64 {
    least + chance % (most - least + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(channel: Channel, to: &str) -> Option<&'static str> {
        find(&Address::read(channel, to).unwrap()).map(|magic| magic.detail)
    }

    #[test]
    fn each_row_is_found_by_each_of_its_addresses() {
        for magic in MAGIC {
            assert!(magic.email.is_some() || magic.phone.is_some());
            if let Some(local) = magic.email {
                assert_eq!(found(Channel::Email, &format!("{local}@example.com")), Some(magic.detail));
                assert_eq!(found(Channel::Email, &format!("{local}+42@sub.example.org")), Some(magic.detail));
            }
            if let Some(phone) = magic.phone {
                assert_eq!(found(Channel::Sms, phone), Some(magic.detail));
                assert_eq!(found(Channel::Telegram, &phone[2..]), Some(magic.detail));
            }
        }
        for (channel, to) in
            [(Channel::Email, "bouncer@example.com"), (Channel::Voice, "+15005550011"), (Channel::Telegram, "1")]
        {
            assert_eq!(found(channel, to), None);
        }
    }

    #[test]
    fn waits_stay_within_their_bounds_and_reading_follows_delivery() {
        for nonce in [0, 1, u128::MAX, 2_000, 4_999 << 64, 0xdead_beef_dead_beef_dead_beef_dead_beef] {
            let (delivered, read) = (delivered_ms(nonce), read_ms(nonce));
            assert!((3_000..=5_000).contains(&delivered) && (5_000..=10_000).contains(&read) && delivered < read);
        }
    }
}
