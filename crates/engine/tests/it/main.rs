//! Tests of the engine on both databases.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

// Under the name every other crate knows it by.
extern crate tidings_engine as engine;

mod access;
mod accounts;
mod alert_kinds;
mod alerts;
mod analytics;
mod asking;
mod attachments;
mod audit;
mod bills;
mod books;
mod callbacks;
mod campaign_checks;
mod campaigns;
mod consent;
mod contacts;
mod content_rules;
mod demo;
mod disputes;
mod dossiers;
mod endpoints;
mod erasure;
mod hooks;
mod invoice_deliveries;
mod invoices;
mod keys;
mod letters;
mod money;
mod naive;
mod once;
mod path;
mod plans;
mod prices;
mod provider_resources;
mod purchases;
mod reading;
mod reconciliations;
mod registrations;
mod reminders;
mod retention;
mod returns;
mod routes_at_work;
mod routing;
mod schedules;
mod setting;
mod stream;
mod suppressions;
mod templates;
mod tenancy;
mod upgrade;
mod usage;
mod vault;
mod watching;
mod withdrawing;
