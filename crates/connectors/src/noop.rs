//! Takes every message and does nothing: what `tidings bench` drains into, so that only our own work is measured.
//!
//! Internal: tenants do not see it. Nothing leaves the process and no facts follow. With the setting `batch` a hundred messages share one
//! call, as with the providers that take many recipients in one request.

use model::{Answer, AttemptId, Call, Channel, Failure, settings};

use crate::{Acceptance, Batch, Check, Connector, Cx, Limits, Outcome, Outgoing, Probe, Spec, Step};

settings! {
    /// Settings of the no-op connector.
    pub struct Settings {
        /// Carries a hundred messages in one call instead of one.
        batch: bool = "Batches", default "false";
    }
}

/// Messages in one call: the size of Resend's batches, the smallest among the providers that take many at once.
const BATCH_MAX: usize = 100;

static SPEC: Spec = Spec {
    id: "noop",
    name: "No-op",
    docs_url: "",
    channels: &[Channel::Email, Channel::Sms, Channel::Whatsapp, Channel::Telegram, Channel::Voice],
    fields: Settings::FIELDS,
    from_example: "",
    needs_from: false,
    limits: Limits { per_second: 0, concurrency: 64 },
    has_receipts: false,
    callback_help: "",
    callback_security: "",
};

/// The no-op connector.
pub struct Noop;

impl Connector for Noop {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn send(&self, _cx: &Cx<'_>, _message: &Outgoing<'_>) -> Result<Call, Failure> {
        Ok(Call::Local)
    }

    fn answer(&self, _cx: &Cx<'_>, message: &Outgoing<'_>, _step: u8, _answer: &Answer) -> Step {
        Step::Done(taken(message))
    }

    fn batch(&self) -> Option<&dyn Batch> {
        Some(self)
    }

    fn test(&self, _cx: &Cx<'_>) -> Result<Vec<Probe>, Failure> {
        Ok(vec![Probe { name: "No-op", call: Call::Local }])
    }

    fn tested(&self, _cx: &Cx<'_>, _probe: &Probe, _answer: &Answer) -> Vec<Check> {
        vec![Check::ok("No-op", "Takes every message and does nothing.")]
    }
}

impl Batch for Noop {
    fn max(&self) -> usize {
        BATCH_MAX
    }

    fn fits(&self, cx: &Cx<'_>, _first: &Outgoing<'_>, _other: &Outgoing<'_>) -> bool {
        cx.settings.get("batch") == Some("true")
    }

    fn send(&self, _cx: &Cx<'_>, _messages: &[Outgoing<'_>]) -> Result<Call, Failure> {
        Ok(Call::Local)
    }

    fn answer(&self, _cx: &Cx<'_>, messages: &[Outgoing<'_>], _answer: &Answer) -> Vec<Outcome> {
        messages.iter().map(taken).collect()
    }
}

fn taken(message: &Outgoing<'_>) -> Outcome {
    Outcome::Accepted(Acceptance::with_id(message.attempt_id.to_string().replace(AttemptId::PREFIX, "noop")))
}
