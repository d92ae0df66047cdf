//! The provider simulator: every provider's API as far as Tidings uses it, for developing against and for tests from outside.
//!
//! A [`Simulator`] is asked one request at a time ([`Simulator::turn`]) and answers as the provider would: it checks the credentials and the required
//! fields, keeps what it takes, and says which callbacks will follow. Sockets are the caller's: [`serve_http`] and [`serve_smtp`] carry a connection
//! somebody else accepted, and callbacks leave through the [`model::Transport`] it is given.
//!
//! It is written from the providers' documentation and shares no code with `connectors`: were both to read one mistaken function, they would be wrong
//! together and no test would notice. Only signature primitives of libraries are the same.
//!
//! - `providers`: one file each; a [`Provider`](provider::Provider) answers requests and writes its own callbacks.
//! - `world`: what is kept (messages, requests, callbacks, settings, the script), all of it bounded.
//! - `holdings`: what an account has besides messages: domains, webhooks, templates, figures.
//! - `fate`: what becomes of a message, told by its recipient's address. `script`: bad days on request.
//! - `control`: the API under `/_sim`. `serve` and `smtp`: the protocols.
//!
//! Nothing here is a secret: keys and tokens are printed in the documentation, and whoever reaches the port may do everything. It belongs on loopback.

mod control;
mod fate;
mod fields;
mod holdings;
mod letter;
mod message;
mod mime;
mod provider;
mod providers;
mod request;
mod script;
mod serve;
mod sign;
mod simulator;
mod smtp;
mod world;

pub use message::{Message, Stage};
pub use request::{Reply, Request};
pub use serve::serve_http;
pub use simulator::{Due, Simulator, Turn};
pub use smtp::serve_smtp;
