//! Who may be written to: suppressions, consent, preferences, quiet hours and frequency caps.
//!
//! The rules are pure and lie beside their tables of examples: [`bar`] says what stands against an address, `notice` what a report means for it. [`screen`] asks them twice
//! for each message: in the transaction that accepts it, and again after it was claimed, right before its request leaves.
//!
//! **What is promised.** Nothing leaves to an address after the commit of its suppression, except what was already looked at: a look is followed by its own request at once,
//! and a look older than a quarter of a second (`LOOK_AGAIN_MS`) is repeated, so that quarter second is the window, on each node, whatever their number. The
//! database is asked, not a copy in memory, so nodes need not agree on anything. A tenant that never had a suppression is not asked about at all: the directory knows, and both
//! looks compare the configuration's version in their own snapshot, which the first suppression raises.
//!
//! Suppressions always win; nothing but their removal by name, or START for what STOP did, lifts them.

pub mod bar;
pub mod hours;
pub mod judge;
pub(crate) mod keywords;
pub mod links;
pub(crate) mod notice;
pub mod pages;
pub mod policy;
pub mod preferences;
mod question;
pub mod records;
pub(crate) mod reply;
pub(crate) mod screen;
pub mod suppressions;
pub mod topics;
pub mod us_windows;
pub mod words;

pub use self::screen::Wishes;
