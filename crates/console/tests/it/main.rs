//! Pages as browsers get them: through the whole router, on a stage with a tenant.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

extern crate tidings_console as console;

mod access;
mod alerts;
mod billing;
mod campaigns;
mod details;
mod insight;
mod invoices;
mod outline;
mod pages;
mod people;
mod personal;
mod plans;
mod providers;
mod purchases;
mod reconciliations;
mod registrations;
mod rights;
mod schedules;
mod senders;
mod settings;
mod templates;
mod visitor;
