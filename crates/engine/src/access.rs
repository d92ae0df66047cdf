//! People who sign in, and what they may do.
//!
//! A person is global, known by e-mail address, and belongs to any number of tenants, in each with a role and perhaps permissions beyond it. The operator's staff
//! are persons too, with a role of their own. Whoever signed in acts through a [`crate::keys::Caller`], as API keys do: no operation of the engine knows the
//! difference, and the table in [`permissions`] is the only place that says who may do what.
//!
//! - [`permissions`]: roles, permissions and the matrix between them; which scope of the API needs which permission.
//! - [`passwords`]: rules for passwords, and their hashes, made on threads of their own.
//! - [`throttle`]: how long the next try waits after failed ones.
//! - [`sign_in`]: the ways in: password, second factor, one-time links, password reset, invitation.
//! - [`sessions`]: what a signed-in person carries, and how it becomes a caller.
//! - [`users`]: a tenant's members and the operator's staff.
//! - [`totp`]: the second factor.
//! - [`oidc`]: signing in through the operator's OpenID provider.
//! - [`mail`]: letters to people, through Tidings itself.
//!
//! Secrets people carry (session tokens, links, recovery codes) are random and kept as SHA-256; passwords are kept as Argon2id. Who a stranger asks about cannot be
//! learned: an unknown address costs the same hash and gets the same words.

pub mod mail;
pub mod oidc;
pub mod passwords;
pub mod permissions;
pub mod sessions;
pub mod sign_in;
pub mod throttle;
pub mod totp;
pub mod users;

use aws_lc_rs::digest::{SHA256, digest};

pub use passwords::Passwords;
pub use permissions::{OperatorRole, Permission, Permissions, Role};
pub use sessions::{COOKIE, Device, Membership, Session, SessionView, SignedIn};
pub use sign_in::Outcome;
pub use users::{Me, MemberView, NewMember};

/// Random characters of a token people carry: 238 bits, like an API key.
const TOKEN_LEN: usize = 40;
/// Longest text that is looked at as a token.
const TOKEN_MAX: usize = 256;

/// The hash a token is kept as. Nobody can guess the token, so a fast hash is enough.
fn hash(token: &str) -> [u8; 32] {
    digest(&SHA256, token.as_bytes()).as_ref().try_into().expect("SHA-256 has 32 bytes")
}
