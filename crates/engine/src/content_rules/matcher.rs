//! A tenant's rules, compiled once and asked for every message: one automaton for all words, so that the time grows with the text and not with the rules.

use aho_corasick::{AhoCorasick, AhoCorasickBuilder, MatchKind};
use model::{Channel, Content, ContentRuleId, Media, Purpose};
use serde_json::Value;

use super::{Rule, Scope, text};
use crate::{Error, ErrorKind, FieldError};

/// What one rule finds wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which rule.
    pub rule: ContentRuleId,
    /// The field, such as `/content/text`.
    pub pointer: String,
    /// What it is and what to do, with the rule's name.
    pub detail: String,
}

/// Every enabled rule of a tenant.
#[derive(Debug)]
pub struct Rules {
    rules: Vec<Compiled>,
    /// All words and required texts; `None` without any.
    words: Option<AhoCorasick>,
    /// For each of them its rule, by place, and the word as it was written.
    owners: Vec<(usize, String)>,
    /// Hosts of our own pages, which no rule is asked about.
    own: Vec<String>,
}

#[derive(Debug)]
struct Compiled {
    id: ContentRuleId,
    name: String,
    scope: Scope,
    looks_for: LooksFor,
}

#[derive(Debug)]
enum LooksFor {
    Words { anywhere: bool },
    Allowed(Vec<String>),
    Blocked(Vec<String>),
    Footer(String),
}

/// A part of a content: where it stands, what is read of it, and where it leads.
struct Part {
    pointer: &'static str,
    /// The place in a list, where there is one.
    index: Option<usize>,
    read: String,
    places: Vec<text::Place>,
    /// True for what a required text must stand in.
    is_body: bool,
}

impl Part {
    fn pointer(&self) -> String {
        self.index.map_or_else(|| self.pointer.to_owned(), |index| self.pointer.replace("{}", &index.to_string()))
    }
}

impl Rules {
    /// Compiles rules; `None` when there is nothing to look for. `own`: addresses of ours, whose hosts no rule is asked about.
    pub fn compile(rules: Vec<(ContentRuleId, String, Rule)>, own: &[&str]) -> Option<Self> {
        let (mut compiled, mut patterns, mut owners) = (Vec::new(), Vec::new(), Vec::new());
        for (id, name, rule) in rules {
            let Rule { scope, blocked_words, links, required_footer } = rule;
            let place = compiled.len();
            let looks_for = if let Some(words) = blocked_words {
                for word in words.words {
                    patterns.push(text::plain(&word));
                    owners.push((place, word));
                }
                LooksFor::Words { anywhere: words.anywhere }
            } else if let Some(links) = links {
                let domains = |given: Vec<String>| given.iter().filter_map(|domain| text::domain(domain)).collect();
                if links.allowed_domains.is_empty() {
                    LooksFor::Blocked(domains(links.blocked_domains))
                } else {
                    LooksFor::Allowed(domains(links.allowed_domains))
                }
            } else if let Some(footer) = required_footer {
                LooksFor::Footer(text::plain(&footer.text))
            } else {
                continue;
            };
            compiled.push(Compiled { id, name, scope, looks_for });
        }
        if compiled.is_empty() {
            return None;
        }
        let words = AhoCorasickBuilder::new().match_kind(MatchKind::Standard).build(&patterns).ok();
        let host = |address: &&str| url::Url::parse(address).ok()?.host_str().map(str::to_owned);
        Some(Self {
            rules: compiled,
            words: words.filter(|_| !patterns.is_empty()),
            owners,
            own: own.iter().filter_map(host).collect(),
        })
    }

    /// What speaks against a content over a channel, for a purpose. `is_filled`: placeholders are filled; otherwise a required text may still come from one, and its absence says nothing.
    pub fn look(&self, channel: Channel, purpose: Purpose, content: &Content, is_filled: bool) -> Vec<Violation> {
        if self.rules.iter().all(|rule| !rule.scope.covers(channel, purpose)) {
            return Vec::new();
        }
        let parts = parts(content);
        let mut found = Vec::new();
        for part in &parts {
            self.words_in(part, channel, purpose, &mut found);
            self.links_in(part, channel, purpose, &mut found);
            for rule in self.rules.iter().filter(|rule| is_filled && rule.scope.covers(channel, purpose)) {
                if let LooksFor::Footer(footer) = &rule.looks_for
                    && part.is_body
                    && !part.read.contains(footer)
                {
                    let detail = format!("the rule “{}” asks for “{footer}” in it; add that text", rule.name);
                    found.push(Violation { rule: rule.id, pointer: part.pointer(), detail });
                }
            }
        }
        found
    }

    fn words_in(&self, part: &Part, channel: Channel, purpose: Purpose, found: &mut Vec<Violation>) {
        let Some(words) = &self.words else { return };
        let mut hit = vec![false; self.rules.len()];
        for matched in words.find_overlapping_iter(&part.read) {
            let (place, word) = &self.owners[matched.pattern().as_usize()];
            let rule = &self.rules[*place];
            let LooksFor::Words { anywhere } = rule.looks_for else { continue };
            let is_whole = || {
                let is_letter = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
                !is_letter(part.read[..matched.start()].chars().next_back())
                    && !is_letter(part.read[matched.end()..].chars().next())
            };
            if hit[*place] || !rule.scope.covers(channel, purpose) || !(anywhere || is_whole()) {
                continue;
            }
            hit[*place] = true;
            let detail = format!("the rule “{}” blocks the word “{word}”; take it out", rule.name);
            found.push(Violation { rule: rule.id, pointer: part.pointer(), detail });
        }
    }

    fn links_in(&self, part: &Part, channel: Channel, purpose: Purpose, found: &mut Vec<Violation>) {
        let foreign = || part.places.iter().filter(|place| !self.own.contains(&place.host));
        let is_one = |host: &str, domains: &[String]| domains.iter().any(|domain| text::is_below(host, domain));
        for rule in self.rules.iter().filter(|rule| rule.scope.covers(channel, purpose)) {
            let (bad, remedy) = match &rule.looks_for {
                LooksFor::Blocked(domains) => {
                    (foreign().find(|place| is_one(&place.host, domains)), "blocks links to it; take them out")
                }
                LooksFor::Allowed(domains) => (
                    foreign().find(|place| place.is_certain && !is_one(&place.host, domains)),
                    "does not allow links to it; take them out, or add the domain to the rule",
                ),
                LooksFor::Words { .. } | LooksFor::Footer(_) => continue,
            };
            if let Some(place) = bad {
                let detail = format!("it leads to {}, and the rule “{}” {remedy}", place.host, rule.name);
                found.push(Violation { rule: rule.id, pointer: part.pointer(), detail });
            }
        }
    }

    /// Refuses a content that breaks a rule, naming each rule and field.
    pub fn refuse(&self, channel: Channel, purpose: Purpose, content: &Content) -> Result<(), Error> {
        let found = self.look(channel, purpose, content, true);
        let Some(first) = found.first() else { return Ok(()) };
        let detail = format!("{}: {} ({}).", first.pointer, first.detail, first.rule);
        let errors = found.iter().map(|one| FieldError::new(&one.pointer, format!("{} ({})", one.detail, one.rule)));
        Err(Error { errors: errors.collect(), ..Error::new(ErrorKind::Invalid, REFUSED, detail) }
            .with_action("CHANGE_CONTENT"))
    }
}

/// The code of the refusal of a content that breaks a rule.
pub const REFUSED: &str = "content_rule";

fn text_part(pointer: &'static str, index: Option<usize>, written: &str, is_body: bool) -> Part {
    Part { pointer, index, read: text::plain(written), places: text::named(written), is_body }
}

fn link_part(pointer: &'static str, index: usize, url: &str) -> Part {
    Part { pointer, index: Some(index), read: text::plain(url), places: text::named(url), is_body: false }
}

fn media_parts(parts: &mut Vec<Part>, media: &[Media]) {
    for (index, media) in media.iter().enumerate() {
        parts.extend(media.url.iter().map(|url| link_part("/content/media/{}/url", index, url)));
        parts.extend(
            media.caption.iter().map(|caption| text_part("/content/media/{}/caption", Some(index), caption, false)),
        );
    }
}

/// The parts of a content that somebody reads or follows.
fn parts(content: &Content) -> Vec<Part> {
    let mut parts = Vec::new();
    match content {
        Content::Email(email) => {
            parts.push(text_part("/content/subject", None, &email.subject, false));
            parts.extend(email.text.iter().map(|written| text_part("/content/text", None, written, true)));
            if let Some(html) = &email.html {
                let seen = text::visible(html);
                let mut places = text::linked(html);
                places.extend(text::named(&seen));
                parts.push(Part {
                    pointer: "/content/html",
                    index: None,
                    read: text::plain(&seen),
                    places,
                    is_body: true,
                });
            }
        }
        Content::Sms(sms) => {
            parts.push(text_part("/content/text", None, &sms.text, true));
            media_parts(&mut parts, &sms.media);
        }
        Content::Whatsapp(whatsapp) => {
            if whatsapp.whatsapp_template.is_none() || !whatsapp.text.is_empty() {
                parts.push(text_part("/content/text", None, &whatsapp.text, whatsapp.whatsapp_template.is_none()));
            }
            media_parts(&mut parts, &whatsapp.media);
            for (index, button) in whatsapp.buttons.iter().enumerate() {
                parts.push(text_part("/content/buttons/{}/text", Some(index), &button.text, false));
                parts.extend(button.url.iter().map(|url| link_part("/content/buttons/{}/url", index, url)));
            }
            for (index, component) in whatsapp.whatsapp_template.iter().flat_map(|t| &t.components).enumerate() {
                let mut said = String::new();
                strings(component, &mut said);
                parts.push(text_part("/content/whatsapp_template/components/{}", Some(index), &said, false));
            }
        }
        Content::Telegram(telegram) => {
            parts.push(text_part("/content/text", None, &telegram.text, true));
            media_parts(&mut parts, &telegram.media);
            for (index, row) in telegram.buttons.iter().enumerate() {
                let mut said = String::new();
                for button in row {
                    said.push_str(&format!("{} {} ", button.text, button.url.as_deref().unwrap_or_default()));
                }
                parts.push(text_part("/content/buttons/{}", Some(index), &said, false));
            }
        }
        Content::Voice(voice) => parts.push(text_part("/content/say", None, &voice.say, true)),
        Content::Webhook(_) => {}
    }
    parts
}

/// Every text in a JSON value, one after the other.
fn strings(value: &Value, said: &mut String) {
    match value {
        Value::String(text) => {
            said.push_str(text);
            said.push(' ');
        }
        Value::Array(items) => items.iter().for_each(|item| strings(item, said)),
        Value::Object(fields) => fields.values().for_each(|field| strings(field, said)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use model::{Button, EmailContent, SmsContent, TelegramContent, WhatsappContent};
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn rules(given: Value) -> Rules {
        let rule = serde_json::from_value(given).unwrap();
        let own = ["https://tidings.example"];
        Rules::compile(vec![(ContentRuleId::from_ulid(1), "House".to_owned(), rule)], &own).unwrap()
    }

    fn pointers(rules: &Rules, content: &Content) -> Vec<String> {
        let found = rules.look(content.channel(), Purpose::Marketing, content, true);
        found.into_iter().map(|one| one.pointer).collect()
    }

    fn sms(text: &str) -> Content {
        Content::Sms(SmsContent { text: text.to_owned(), ..SmsContent::default() })
    }

    #[test]
    fn words_are_found_whole_or_anywhere() {
        let check = |rule: Value, text: &str, is_bad: bool| {
            assert_eq!(!pointers(&rules(rule.clone()), &sms(text)).is_empty(), is_bad, "{rule} {text}");
        };
        let whole = json!({"blocked_words": {"words": ["Casino", "get rich"]}});
        check(whole.clone(), "Our CASINO!", true);
        check(whole.clone(), "Ca\u{ad}sino", true);
        check(whole.clone(), "casinos and cassino", false);
        check(whole.clone(), "Get\n  RICH quick", true);
        check(whole, "get richer", false);
        check(json!({"blocked_words": {"words": ["casino"], "anywhere": true}}), "onlinecasinos", true);
        check(json!({"blocked_words": {"words": ["$$$"]}}), "win $$$ now", true);
    }

    #[test]
    fn every_field_is_looked_at_and_named() {
        let words = rules(json!({"blocked_words": {"words": ["bad"]}}));
        let email = EmailContent {
            subject: "bad".into(),
            text: Some("bad".into()),
            html: Some("<p>b<b>a</b>d</p>".into()),
            ..EmailContent::default()
        };
        assert_eq!(pointers(&words, &Content::Email(email)), ["/content/subject", "/content/text", "/content/html"]);
        let button = |text: &str| Button { text: text.into(), url: None, data: None };
        let telegram = TelegramContent {
            text: "fine".into(),
            buttons: vec![vec![button("ok")], vec![button("x"), button("bad")]],
            ..TelegramContent::default()
        };
        assert_eq!(pointers(&words, &Content::Telegram(telegram)), ["/content/buttons/1"]);
        let template = json!({"name": "n", "language": "en", "components": [{"parameters": [{"text": "fine"}]}, {"parameters": [{"text": "bad"}]}]});
        let whatsapp = WhatsappContent {
            whatsapp_template: serde_json::from_value(template).unwrap(),
            ..WhatsappContent::default()
        };
        assert_eq!(pointers(&words, &Content::Whatsapp(whatsapp)), ["/content/whatsapp_template/components/1"]);
    }

    #[test]
    fn links_are_allowed_or_blocked_by_domain() {
        let check = |rule: &Value, text: &str, is_bad: bool| {
            assert_eq!(!pointers(&rules(rule.clone()), &sms(text)).is_empty(), is_bad, "{rule} {text}");
        };
        let allowed = json!({"links": {"allowed_domains": ["acme.example"]}});
        check(&allowed, "https://shop.acme.example/x and mail to ada@other.example", false);
        check(&allowed, "https://acme.example.evil.test/", true);
        check(&allowed, "bit.ly/abc", true);
        check(&allowed, "https://tidings.example/u/token", false);
        check(&allowed, "Hello.World", false);
        let blocked = json!({"links": {"blocked_domains": ["bit.ly"]}});
        check(&blocked, "see bit.ly", true);
        check(&blocked, "see https://acme.example/bit.ly", false);
    }

    #[test]
    fn a_required_text_stands_in_every_body() {
        let footer = rules(json!({"required_footer": {"text": "Acme Ltd,  1 High Street"}}));
        let email = |text: &str, html: &str| {
            Content::Email(EmailContent {
                subject: "x".into(),
                text: Some(text.into()),
                html: Some(html.into()),
                ..EmailContent::default()
            })
        };
        let whole = "Bye. ACME Ltd, 1 High Street";
        assert_eq!(pointers(&footer, &email(whole, "<p>Acme Ltd,<br>1 High&nbsp;Street</p>")), Vec::<String>::new());
        assert_eq!(pointers(&footer, &email(whole, "<p>Acme</p>")), ["/content/html"]);
        assert_eq!(footer.look(Channel::Email, Purpose::Marketing, &email("x", "y"), false), Vec::new());
    }

    #[test]
    fn a_rule_speaks_of_its_channels_and_purpose_only() {
        let only = rules(json!({"blocked_words": {"words": ["bad"]}, "channels": ["email"], "purpose": "marketing"}));
        assert_eq!(pointers(&only, &sms("bad")), Vec::<String>::new());
        let email =
            Content::Email(EmailContent { subject: "bad".into(), text: Some("x".into()), ..EmailContent::default() });
        assert_eq!(pointers(&only, &email), ["/content/subject"]);
        assert_eq!(only.look(Channel::Email, Purpose::Transactional, &email, true), Vec::new());
        let refusal = only.refuse(Channel::Email, Purpose::Marketing, &email).unwrap_err();
        assert_eq!((refusal.code, refusal.errors[0].pointer.as_str()), (REFUSED, "/content/subject"));
        assert!(refusal.detail.contains("“House”") && refusal.detail.contains("crl_"), "{}", refusal.detail);
    }

    proptest! {
        /// The automaton finds what a naive search for each word finds.
        #[test]
        fn words_are_those_a_naive_search_finds(words in prop::collection::vec("[ab]{1,3}", 1..6), text in "[ab c]{0,30}") {
            let compiled = rules(json!({"blocked_words": {"words": words}}));
            let read = text::plain(&text);
            let naive = words.iter().any(|word| read.split(' ').any(|token| token == word));
            prop_assert_eq!(!pointers(&compiled, &sms(&text)).is_empty(), naive);
        }
    }
}
