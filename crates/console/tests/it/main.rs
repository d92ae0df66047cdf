//! Pages as browsers get them: through the whole router, on a stage with a tenant.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

extern crate tidings_console as console;

mod billing;
mod campaigns;
mod insight;
mod invoices;
mod pages;
mod people;
mod rights;
mod senders;
mod templates;
mod visitor;
