//! Openings and clicks of mails.
//!
//! What is tracked of a message is decided when it is accepted and stands on its row. When it leaves, its links are led through the tracking domain and a picture is added
//! (`rewrite.rs`, pure); an address carries everything needed to follow it, signed with a key per tenant (`token.rs`). A request for one is answered at once and kept for a few seconds
//! (`hits.rs`); then those of a visit are judged together, people apart from machines (`judge.rs`, pure), and applied like a provider's report.

mod hits;
pub mod judge;
pub mod rewrite;
pub mod token;

use std::sync::Arc;

use model::{Channel, Content, Purpose};
use store::messages::Message;

pub use hits::{Response, settle};

use self::rewrite::Frame;
use crate::{Engine, Error, branding::TrackingRule, directory::Tenant};

/// Openings are noticed.
pub const OPENS: u32 = 1;
/// Clicks are noticed.
pub const CLICKS: u32 = 2;
/// A test of a template: counted apart.
pub const TEST: u32 = 4;

/// True for a test of a template.
pub const fn is_test(tracking: u32) -> bool {
    tracking & TEST != 0
}

/// What is tracked of a message: what the first of `rules` says that says something, and otherwise marketing mails only.
pub fn decide(channel: Channel, purpose: Purpose, rules: &[Option<TrackingRule>]) -> u32 {
    if channel != Channel::Email {
        return 0;
    }
    let said = |part: fn(&TrackingRule) -> Option<bool>| {
        rules.iter().flatten().find_map(part).unwrap_or(purpose == Purpose::Marketing)
    };
    let bit = |is_on: bool, bit: u32| if is_on { bit } else { 0 };
    bit(said(|rule| rule.opens), OPENS) | bit(said(|rule| rule.clicks), CLICKS)
}

/// Where a tenant's tracked addresses begin.
pub fn base<'a>(engine: &'a Engine, tenant: &'a Tenant) -> &'a str {
    tenant.branding.tracking_domain.as_deref().unwrap_or(&engine.config.public_url)
}

/// The content as it leaves.
pub(crate) async fn leaving(
    engine: &Engine,
    tenant: Option<&Tenant>,
    message: &Message,
    content: Arc<Content>,
) -> Result<Arc<Content>, Error> {
    let Some(tenant) = tenant.filter(|_| message.tracking & (OPENS | CLICKS) != 0) else { return Ok(content) };
    let signer = engine.signer().await?;
    let frame = Frame {
        signer: &signer,
        base: base(engine, tenant),
        own: &engine.config.public_url,
        tenant: tenant.id,
        message: message.id,
        tracking: message.tracking,
    };
    Ok(rewrite::tracked(&frame, &content).map_or(content, Arc::new))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_rule_decides_and_marketing_is_tracked_otherwise() {
        let rule = |opens, clicks| Some(TrackingRule { opens, clicks });
        let check = |purpose, rules: &[Option<TrackingRule>], expected| {
            assert_eq!(decide(Channel::Email, purpose, rules), expected, "{purpose:?} {rules:?}");
        };
        check(Purpose::Transactional, &[None, None], 0);
        check(Purpose::Marketing, &[None, None], OPENS | CLICKS);
        check(Purpose::Marketing, &[rule(Some(false), None), rule(Some(true), Some(true))], CLICKS);
        check(Purpose::Transactional, &[None, rule(Some(true), None), rule(Some(false), Some(true))], OPENS | CLICKS);
        assert_eq!(decide(Channel::Sms, Purpose::Marketing, &[rule(Some(true), Some(true))]), 0);
    }
}
