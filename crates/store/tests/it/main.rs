//! Every function of the store on SQLite and PostgreSQL.
#![allow(missing_docs, clippy::unwrap_used)]

mod access;
mod alerts;
mod blobs;
mod callbacks;
mod contacts;
// Under the name every other crate knows it by.
extern crate tidings_store as store;

mod consent;
mod idempotency;
mod invoice_deliveries;
mod invoices;
mod money;
mod plans;
mod provider_resources;
mod purchases;
mod reconciliations;
mod registrations;
mod routing;
mod segments;
mod statistics;
mod tenancy;
mod transactions;
