//! What connectors do, seen from outside: cases beside the providers' documentation, and tables of their error codes.

// Helpers of tests may panic as tests do; clippy only knows functions marked `#[test]`.
#![allow(clippy::unwrap_used)]

mod case_file;
mod cases;
mod contract;
mod laws;
mod limits;
mod mime;
mod pages;
mod play;
mod show;
mod specs;
