//! What can be done with a provider account besides sending: domains, callbacks, WhatsApp templates, figures, numbers, registrations.
//!
//! Each task is a **plan**: a pure function of what was asked and of the answers so far, which says the next request or the result. The engine
//! drives it ([`Next`]), so a task of five requests is as pure as one of one, and a case file shows it whole. A connector that does not offer a noun
//! answers `None` for it in [`crate::Connector`].

mod callbacks;
mod domains;
mod figures;
mod line;
mod numbers;
mod read;
mod records;
mod registrations;
mod templates;

use model::{Call, Failure};

pub use callbacks::{CallbackState, Callbacks, Paste};
pub use domains::{DnsRecord, DomainAtProvider, DomainRef, DomainState, Domains, RecordKind, RecordPurpose};
pub use figures::{Day, Figures, Period, Suppressed, SuppressedPage, Suppression};
pub(crate) use line::{Line, Stop, walk};
pub use numbers::{NumberState, Numbers};
pub(crate) use read::{absolute, each, form, get, json_body, refused, reply, status, unreadable};
pub use records::{Record, RecordPage, Records};
pub use registrations::{
    Business, BusinessKind, Officer, OptIn, Place, Progress, Reason, References, Registrations, Stage, StageResult,
    TollFree, UseCase, Work,
};
pub use templates::{NewTemplate, Template, TemplateStatus, Templates};

/// Requests one plan may need at most: Bird's templates are read one by one, a hundred of them.
pub const STEPS_MAX: usize = 110;

/// What follows from the answers so far.
#[derive(Debug, Clone)]
#[allow(clippy::large_enum_variant, reason = "it lives for one step, and each call would need a box")]
pub enum Next<T> {
    /// One more request is needed.
    Call(Call),
    /// The task is done.
    Done(T),
}

/// The next request, the result, or why there is none.
pub type Plan<T> = Result<Next<T>, Failure>;
