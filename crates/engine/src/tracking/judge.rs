//! People and machines. Mail programs load pictures by themselves and security scanners follow links; both say less about a recipient than a person does, and are counted apart.
//! Pure: what was asked for, how and when, in; who it was, out.

use model::Timestamp;
use serde::{Deserialize, Serialize};

/// A click so soon after the mail arrived is a scanner's, in milliseconds.
const SOON_MS: i64 = 10_000;
/// Clicks so close together are one visit, in milliseconds.
pub const VISIT_MS: i64 = 5_000;
/// Different links in one visit that no person manages.
const LINKS_MANY: usize = 5;
/// Links a mail needs before following all of them in one visit says something.
const LINKS_FEW: usize = 3;
/// Longest name of a program kept, in characters.
const AGENT_MAX: usize = 200;

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum Asked {
    /// The picture.
    Pixel,
    /// A link.
    Link {
        /// Its place.
        index: u16,
        /// How many there are.
        count: u16,
        /// Where it leads.
        url: String,
    },
    /// The link no person sees.
    Trap,
}

/// A request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// For what.
    pub asked: Asked,
    /// True for HEAD.
    #[serde(default)]
    pub is_head: bool,
    /// `User-Agent`.
    #[serde(default)]
    pub agent: String,
}

impl Request {
    /// A request as it is kept.
    pub fn new(asked: Asked, is_head: bool, agent: &str) -> Self {
        let agent = agent.chars().filter(|c| !c.is_control()).take(AGENT_MAX).collect();
        Self { asked, is_head, agent }
    }
}

/// Why a picture was not loaded by a person; `None` when a person may have.
pub fn opening(request: &Request) -> Option<&'static str> {
    let agent = request.agent.trim();
    if request.is_head {
        return Some("head");
    }
    if agent.is_empty() || agent == "Mozilla/5.0" {
        // Apple's Mail Privacy Protection loads everything through a proxy that says only this.
        return Some("privacy_proxy");
    }
    ["GoogleImageProxy", "ggpht.com", "YahooMailProxy"].iter().any(|name| agent.contains(name)).then_some("image_proxy")
}

/// Why each click of a message, in order of time, was not a person's. `arrived_at`: when the mail arrived, or left.
pub fn clicks(requests: &[(&Request, Timestamp)], arrived_at: Option<Timestamp>) -> Vec<Option<&'static str>> {
    let visit = |at: Timestamp| requests.iter().filter(move |(_, other)| at.millis_since(*other).abs() <= VISIT_MS);
    requests
        .iter()
        .map(|(request, at)| {
            let Asked::Link { count, .. } = request.asked else { return Some("trap") };
            if request.is_head {
                return Some("head");
            }
            if visit(*at).any(|(other, _)| other.asked == Asked::Trap) {
                return Some("trap");
            }
            if arrived_at.is_some_and(|arrived| at.millis_since(arrived) < SOON_MS) {
                return Some("too_soon");
            }
            let mut links: Vec<u16> = visit(*at)
                .filter_map(|(other, _)| match other.asked {
                    Asked::Link { index, .. } => Some(index),
                    Asked::Pixel | Asked::Trap => None,
                })
                .collect();
            links.sort_unstable();
            links.dedup();
            let is_all = links.len() >= LINKS_FEW && links.len() >= usize::from(count);
            (is_all || links.len() >= LINKS_MANY).then_some("all_links")
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_that_load_pictures_are_told_by_their_names() {
        let check = |agent: &str, expected: Option<&str>| {
            assert_eq!(opening(&Request::new(Asked::Pixel, false, agent)), expected, "{agent}");
        };
        check("Mozilla/5.0", Some("privacy_proxy"));
        check("", Some("privacy_proxy"));
        check(
            "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)",
            Some("image_proxy"),
        );
        check("YahooMailProxy; https://help.yahoo.com/kb/yahoo-mail-proxy-SLN28749.html", Some("image_proxy"));
        check("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Thunderbird/140.0", None);
        assert_eq!(opening(&Request::new(Asked::Pixel, true, "Thunderbird")), Some("head"));
    }

    fn link(index: u16, count: u16) -> Request {
        Request::new(Asked::Link { index, count, url: String::new() }, false, "Firefox")
    }

    fn judged(requests: &[(Request, i64)]) -> Vec<Option<&'static str>> {
        let at = |seconds: i64| Timestamp::from_seconds(seconds);
        let requests: Vec<_> = requests.iter().map(|(request, seconds)| (request, at(*seconds))).collect();
        clicks(&requests, Some(at(0)))
    }

    #[test]
    fn scanners_are_told_by_what_they_do() {
        assert_eq!(judged(&[(link(0, 2), 9), (link(0, 2), 10)]), [Some("too_soon"), None]);
        assert_eq!(judged(&[(link(0, 2), 60), (link(1, 2), 61)]), [None, None], "two links are soon followed");
        assert_eq!(judged(&[(link(0, 3), 60), (link(1, 3), 61), (link(2, 3), 62)]), [Some("all_links"); 3]);
        assert_eq!(judged(&[(link(0, 3), 60), (link(1, 3), 70), (link(2, 3), 80)]), [None; 3]);
        let many: Vec<_> = (0..5).map(|index| (link(index, 90), 60)).collect();
        assert_eq!(judged(&many), [Some("all_links"); 5]);
        let trap = Request::new(Asked::Trap, false, "Firefox");
        assert_eq!(judged(&[(link(0, 9), 60), (trap, 61), (link(0, 9), 99)]), [Some("trap"), Some("trap"), None]);
        let head = Request::new(link(0, 9).asked, true, "Firefox");
        assert_eq!(judged(&[(head, 60)]), [Some("head")]);
    }
}
