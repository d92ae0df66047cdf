//! What connectors do, seen from outside: cases beside the providers' documentation, and tables of their error codes.

mod case_file;
mod cases;
mod mime;
mod play;
mod show;
