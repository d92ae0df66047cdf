//! Alerts: somebody is told when something is the matter, once, and again when it is over.
//!
//! A *rule* says what is watched, from where on it is too much, and who is told. Every tenant has sensible ones from the start, and so has the operator. A *look* reads facts
//! ([`facts`]): sums by slot, pauses of accounts, the first row of each lane. Its cost does not grow with the number of messages, and only tenants to whom something happened are
//! looked at. [`measure`] turns facts into readings, one per subject (an account, a channel); [`evaluate`] turns readings, with what the rule remembers, into what is to be told.
//! Both are pure. A *watch* ([`watch`]) is the job that does this for every tenant, on whichever node takes the look first.
//!
//! What is told goes two ways. Events (`events.rs`) are written with the alert, so endpoints and streams get them like any other; the operator's are told in the tenant its letters leave through. Letters go by e-mail, SMS or
//! Telegram through Tidings itself ([`tell`]): everything there is to say to a tenant is one message per address, and the next follows minutes later at the earliest.
//!
//! Three things keep it calm. A threshold has a second one at which it is over, with room in between ([`measure::Level::Between`]). Something has to be the matter, and to be over,
//! for a while. And after somebody was told about a subject, nothing more is said about it for the rule's quiet period: an alert that comes back meanwhile is opened again silently.
//!
//! A crash loses nothing: the alert, what its rule remembers and what is still to be told are one commit; a letter that was accepted but not noted is recognised by its
//! idempotency key. Letters about alerts are messages about topics ([`TOPICS`]) that no rule counts, so a letter that fails is no reason for another. They count against no plan and cost
//! nothing, like what Tidings answers to STOP: who has used up the credit has to hear of it.

pub mod evaluate;
mod events;
pub mod facts;
pub mod kinds;
mod letter;
pub mod letters;
mod list;
pub mod measure;
pub mod rations;
pub mod rules;
mod tell;
mod view;
mod watch;
pub mod words;

pub use self::{
    kinds::AlertKind,
    letters::{AlertLetter, LetterState},
    list::{AlertQuery, AlertStateFilter, Note, acknowledge, count_open, get, list, resolve},
    rules::{AlertRulePatch, AlertRuleView, NewAlertRule, Receiver},
    tell::{AlertRuleTest, tell, test},
    view::{AlertCounts, AlertState, AlertView, Severity},
    watch::{purge, watch},
};

/// What letters about alerts are about: what Tidings says itself has a topic with a colon, which nobody else can give.
pub const LETTER: &str = "alert:letter";
/// What letters are about that try out a rule. A person asked for them, so they count and cost as any message; those about alerts were called so, too, in earlier versions.
pub const TRIAL: &str = "tidings_alert";
/// Both. No rule counts such messages.
pub const TOPICS: &[&str] = &[LETTER, TRIAL];
