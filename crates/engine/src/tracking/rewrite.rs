//! A rendered mail with its links led through the tracking domain, and with the picture that tells of an opening.

use model::{Content, EmailContent, MessageId, TenantId};

use super::{
    CLICKS, OPENS,
    token::{Signer, Target, URL_MAX},
};
use crate::links;

/// Links tracked in one mail; further ones stay what they are.
const LINKS_MAX: usize = 500;
/// Fewer links than this need no trap: following all of them proves nothing then.
const TRAPPED_MIN: usize = 1;

/// Where and for whom.
pub struct Frame<'a> {
    /// Signs addresses.
    pub signer: &'a Signer,
    /// The tracking domain, without a trailing slash.
    pub base: &'a str,
    /// This installation's own address: its pages are not tracked, so that unsubscribing is not.
    pub own: &'a str,
    /// Whose message.
    pub tenant: TenantId,
    /// Which message.
    pub message: MessageId,
    /// What is tracked.
    pub tracking: u32,
}

/// The content as it leaves. Only the HTML of mails is touched: a text has no place to hide an address.
pub fn tracked(frame: &Frame<'_>, content: &Content) -> Option<Content> {
    let Content::Email(email) = content else { return None };
    let html = email.html.as_deref().filter(|_| frame.tracking & (OPENS | CLICKS) != 0)?;
    Some(Content::Email(EmailContent { html: Some(with_addresses(frame, html)), ..email.clone() }))
}

fn with_addresses(frame: &Frame<'_>, html: &str) -> String {
    let found = if frame.tracking & CLICKS != 0 { worth_tracking(frame, html) } else { Vec::new() };
    let count = found.len() as u16;
    let mut made = String::with_capacity(html.len() + found.len() * 160 + 256);
    let mut from = 0;
    for (index, (range, url)) in found.into_iter().enumerate() {
        made.push_str(&html[from..range.start]);
        let target = Target::Link { message: frame.message, index: index as u16, count, url };
        push_address(frame, &mut made, &target);
        from = range.end;
    }
    // What comes last goes before the end of the body, so that it is inside of it.
    let end = html.rfind("</body").or_else(|| html.rfind("</BODY")).filter(|end| *end >= from).unwrap_or(html.len());
    made.push_str(&html[from..end]);
    if count as usize >= TRAPPED_MIN {
        made.push_str(r#"<a href=""#);
        push_address(frame, &mut made, &Target::Trap(frame.message));
        made.push_str(r#"" style="display:none" tabindex="-1" aria-hidden="true" rel="nofollow"></a>"#);
    }
    if frame.tracking & OPENS != 0 {
        made.push_str(r#"<img src=""#);
        push_address(frame, &mut made, &Target::Pixel(frame.message));
        made.push_str(r#"" width="1" height="1" alt="" style="border:0;width:1px;height:1px">"#);
    }
    made.push_str(&html[end..]);
    made
}

fn worth_tracking(frame: &Frame<'_>, html: &str) -> Vec<(std::ops::Range<usize>, String)> {
    let is_anchor = |link: &links::Link<'_>| {
        link.attribute.eq_ignore_ascii_case("href")
            && ["a", "area", "v:roundrect", "v:rect"].iter().any(|name| name.eq_ignore_ascii_case(link.element))
    };
    links::links(html)
        .filter(is_anchor)
        .filter_map(|link| {
            let url: String = links::decoded(link.value.trim()).collect();
            let is_web = url.starts_with("https://") || url.starts_with("http://");
            let is_own = [frame.own, frame.base].iter().any(|own| {
                url.strip_prefix(own).is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?', '#']))
            });
            (is_web && !is_own && url.len() <= URL_MAX).then_some((link.range, url))
        })
        .take(LINKS_MAX)
        .collect()
}

fn push_address(frame: &Frame<'_>, text: &mut String, target: &Target) {
    text.push_str(frame.base);
    text.push_str("/t/");
    text.push_str(&frame.signer.token(frame.tenant, target));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(html: &str, tracking: u32) -> (String, Signer) {
        let signer = Signer::new(b"secret");
        let frame = Frame {
            signer: &signer,
            base: "https://t.acme.example",
            own: "https://tidings.example",
            tenant: TenantId::from_ulid(1),
            message: MessageId::from_ulid(2),
            tracking,
        };
        let content = Content::Email(EmailContent { html: Some(html.to_owned()), ..EmailContent::default() });
        let html = match tracked(&frame, &content) {
            Some(Content::Email(EmailContent { html: Some(html), .. })) => html,
            _ => html.to_owned(),
        };
        (html, signer)
    }

    fn targets(html: &str, signer: &Signer) -> Vec<Option<Target>> {
        links::links(html)
            .map(|link| {
                link.value.strip_prefix("https://t.acme.example/t/").and_then(|token| Some(signer.read(token)?.1))
            })
            .collect()
    }

    #[test]
    fn links_lead_through_the_tracking_domain_and_back() {
        let html = r##"<body><a href="https://a.example/?x=1&amp;y=%20#z">a</a><a href="https://tidings.example/u/tok">unsubscribe</a>
            <a href="mailto:ada@example.com">m</a><a href="#top">t</a><img src="https://a.example/p.png"></body>"##;
        let (html, signer) = made(html, CLICKS | OPENS);
        let found = targets(&html, &signer);
        let message = MessageId::from_ulid(2);
        let link = Target::Link { message, index: 0, count: 1, url: "https://a.example/?x=1&y=%20#z".to_owned() };
        assert_eq!(
            found,
            [Some(link), None, None, None, None, Some(Target::Trap(message)), Some(Target::Pixel(message))]
        );
        assert!(html.ends_with("</body>") && html.contains("https://tidings.example/u/tok"), "{html}");
    }

    #[test]
    fn what_is_switched_off_is_not_there() {
        let html = r#"<a href="https://a.example/">a</a>"#;
        assert_eq!(made(html, 0).0, html);
        let (opens, signer) = made(html, OPENS);
        assert_eq!(targets(&opens, &signer), [None, Some(Target::Pixel(MessageId::from_ulid(2)))]);
        let (clicks, _) = made(html, CLICKS);
        assert!(!clicks.contains("<img"), "{clicks}");
    }

    #[test]
    fn an_address_that_only_begins_like_ours_is_tracked() {
        let (html, _) = made(r#"<a href="https://tidings.example.evil/">a</a>"#, CLICKS);
        assert!(!html.contains("tidings.example.evil"), "{html}");
    }
}
