//! What a tenant allows its messages to say (`/v1/content-rules`): words it never uses, places it links to or never links to, a text that has to be there.
//!
//! Rules are compiled once and kept with the tenant in the directory ([`Rules`]). Accept asks them about each content as it will be read, with its placeholders filled, so also a
//! dry run and a campaign's checklist know of them; publishing a template warns. Tenants without rules pay nothing.

mod matcher;
mod text;

use std::sync::Arc;

use model::{Channel, ContentRuleId, Purpose, TenantId, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use store::{
    Tx,
    content_rules::{self, ContentRule},
    tenants,
};
use utoipa::ToSchema;

pub use self::matcher::{REFUSED, Rules, Violation};
use crate::{
    Engine, Error,
    accept::request,
    audit,
    keys::Caller,
    names::Faults,
    once::{Repeat, Reply, Secrecy, once},
    page::Page,
    patch::Patch,
};

/// Rules of a tenant: each is asked about every message.
const RULES_MAX: usize = 50;
/// Words of all its rules together: an automaton of a few megabytes.
const WORDS_MAX: usize = 5_000;
/// Longest word, in characters.
const WORD_MAX: usize = 100;
/// Domains of one rule.
const DOMAINS_MAX: usize = 500;
/// Longest required text, in characters.
const FOOTER_MAX: usize = 1_000;

/// Words that must not be said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BlockedWords {
    /// Words and phrases. Capital letters, blanks, invisible characters and other ways to write the same letter make no difference.
    #[schema(example = json!(["casino", "get rich quick"]))]
    pub words: Vec<String>,
    /// True finds them inside of other words, too.
    #[serde(default)]
    pub anywhere: bool,
}

/// Where links may lead: exactly one of the two. A domain covers everything below it; our own pages (unsubscribe, preferences, tracking) are always allowed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LinkRule {
    /// Only there.
    #[schema(example = json!(["acme.example"]))]
    pub allowed_domains: Vec<String>,
    /// Anywhere but there.
    pub blocked_domains: Vec<String>,
}

/// A text that must be there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RequiredFooter {
    /// The text, in each part that has words: of a mail in the text and in the HTML.
    #[schema(example = "Acme Ltd, 1 High Street, Springfield")]
    pub text: String,
}

/// Which messages a rule speaks of.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scope {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    channels: Vec<Channel>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    purpose: Option<Purpose>,
}

impl Scope {
    fn covers(&self, channel: Channel, purpose: Purpose) -> bool {
        (self.channels.is_empty() || self.channels.contains(&channel)) && self.purpose.is_none_or(|own| own == purpose)
    }
}

/// A rule as it is kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    #[serde(flatten)]
    scope: Scope,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    blocked_words: Option<BlockedWords>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    links: Option<LinkRule>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    required_footer: Option<RequiredFooter>,
}

/// A rule to be made. Exactly one of `blocked_words`, `links` and `required_footer`.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewContentRule {
    /// Its name, which refusals tell.
    #[schema(example = "No gambling")]
    pub name: String,
    /// Words that must not be said.
    #[serde(default)]
    pub blocked_words: Option<BlockedWords>,
    /// Where links may lead.
    #[serde(default)]
    pub links: Option<LinkRule>,
    /// A text that must be there.
    #[serde(default)]
    pub required_footer: Option<RequiredFooter>,
    /// Only messages over these channels; all when empty.
    #[serde(default)]
    #[schema(value_type = Vec<String>, example = json!(["email", "sms"]))]
    pub channels: Vec<Channel>,
    /// Only `marketing` or only `transactional` messages; both when left out.
    #[serde(default)]
    #[schema(value_type = Option<String>, example = "marketing")]
    pub purpose: Option<Purpose>,
    /// False keeps it without applying it.
    #[serde(default = "yes")]
    pub enabled: bool,
}

const fn yes() -> bool {
    true
}

/// Changes of a rule.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ContentRulePatch {
    /// Its name.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub name: Patch<String>,
    /// Words that must not be said.
    #[serde(default)]
    #[schema(value_type = Option<BlockedWords>)]
    pub blocked_words: Patch<BlockedWords>,
    /// Where links may lead.
    #[serde(default)]
    #[schema(value_type = Option<LinkRule>)]
    pub links: Patch<LinkRule>,
    /// A text that must be there.
    #[serde(default)]
    #[schema(value_type = Option<RequiredFooter>)]
    pub required_footer: Patch<RequiredFooter>,
    /// Only messages over these channels.
    #[serde(default)]
    #[schema(value_type = Option<Vec<String>>)]
    pub channels: Patch<Vec<Channel>>,
    /// Only messages for this purpose.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub purpose: Patch<Purpose>,
    /// Whether it is applied.
    #[serde(default)]
    #[schema(value_type = Option<bool>)]
    pub enabled: Patch<bool>,
}

/// A rule.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ContentRuleView {
    /// Its id.
    #[schema(value_type = String, example = "crl_01K9ZC8Q6T7Y2V5B3N4M1XWRSD")]
    pub id: ContentRuleId,
    /// Its name.
    pub name: String,
    /// Words that must not be said.
    pub blocked_words: Option<BlockedWords>,
    /// Where links may lead.
    pub links: Option<LinkRule>,
    /// A text that must be there.
    pub required_footer: Option<RequiredFooter>,
    /// Only messages over these channels; all when empty.
    #[schema(value_type = Vec<String>)]
    pub channels: Vec<Channel>,
    /// Only messages for this purpose; both when `null`.
    #[schema(value_type = Option<String>)]
    pub purpose: Option<Purpose>,
    /// Whether it is applied.
    pub enabled: bool,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it last changed.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
}

fn view(row: &ContentRule) -> Result<ContentRuleView, Error> {
    let rule = stored(row)?;
    Ok(ContentRuleView {
        id: row.id,
        name: row.name.clone(),
        blocked_words: rule.blocked_words,
        links: rule.links,
        required_footer: rule.required_footer,
        channels: rule.scope.channels,
        purpose: rule.scope.purpose,
        enabled: row.is_enabled,
        created_at: row.created_at,
        updated_at: row.updated_at,
    })
}

fn stored(row: &ContentRule) -> Result<Rule, Error> {
    serde_json::from_str(&row.rule)
        .map_err(|error| Error::internal(format!("the rule {} cannot be read: {error}", row.id)))
}

fn count_words(rule: &Rule) -> usize {
    rule.blocked_words.as_ref().map_or(0, |words| words.words.len())
}

impl Rule {
    /// Checks what can be checked without looking anything up.
    fn check(&self, faults: &mut Faults) {
        let given = [self.blocked_words.is_some(), self.links.is_some(), self.required_footer.is_some()];
        if given.iter().filter(|given| **given).count() != 1 {
            faults.add(
                "/blocked_words",
                "say what it looks for: exactly one of `blocked_words`, `links` and `required_footer`",
            );
        }
        if let Some(place) = self.scope.channels.iter().position(|channel| *channel == Channel::Webhook) {
            faults.add(format!("/channels/{place}"), "expected email, sms, whatsapp, telegram or voice");
        }
        for (index, word) in self.blocked_words.iter().flat_map(|words| &words.words).enumerate() {
            if word.chars().count() > WORD_MAX || text::plain(word).is_empty() {
                faults.add(
                    format!("/blocked_words/words/{index}"),
                    format!("1 to {WORD_MAX} characters that can be seen"),
                );
            }
        }
        if self.blocked_words.as_ref().is_some_and(|words| words.words.is_empty()) {
            faults.add("/blocked_words/words", "name at least one word");
        }
        if let Some(links) = &self.links {
            let (allowed, blocked) = (&links.allowed_domains, &links.blocked_domains);
            if allowed.is_empty() == blocked.is_empty() {
                faults.add("/links/allowed_domains", "exactly one of `allowed_domains` and `blocked_domains`");
            }
            for (name, domains) in [("allowed_domains", allowed), ("blocked_domains", blocked)] {
                if domains.len() > DOMAINS_MAX {
                    faults.add(format!("/links/{name}"), format!("at most {DOMAINS_MAX} domains"));
                }
                for (index, domain) in domains.iter().enumerate().take(DOMAINS_MAX) {
                    if text::domain(domain).is_none() || !domain.contains(['.', ':']) {
                        faults.add(
                            format!("/links/{name}/{index}"),
                            "write a domain without scheme and path, such as example.com",
                        );
                    }
                }
            }
        }
        if let Some(footer) = &self.required_footer
            && (footer.text.chars().count() > FOOTER_MAX || text::plain(&footer.text).is_empty())
        {
            faults.add("/required_footer/text", format!("1 to {FOOTER_MAX} characters that can be seen"));
        }
    }
}

/// A tenant's enabled rules, compiled, for the directory. A rule that cannot be read stops nobody and is logged.
pub(crate) async fn load(tx: &mut Tx, tenant: TenantId, own: &[&str]) -> Result<Option<Arc<Rules>>, Error> {
    let mut rules = Vec::new();
    for row in content_rules::all(tx, tenant).await? {
        if row.is_enabled
            && let Ok(rule) = stored(&row)
        {
            rules.push((row.id, row.name, rule));
        }
    }
    Ok(Rules::compile(rules, own).map(Arc::new))
}

fn reader(caller: &Caller) -> Result<TenantId, Error> {
    caller.need("content-rules:read")?;
    caller.need_tenant()
}

fn writer(caller: &Caller) -> Result<TenantId, Error> {
    caller.need("content-rules:write")?;
    caller.need_tenant()
}

fn found(rules: Vec<ContentRule>, id: ContentRuleId) -> Result<ContentRule, Error> {
    rules.into_iter().find(|rule| rule.id == id).ok_or_else(|| Error::not_found("content rule"))
}

/// Makes a rule. Needs the scope `content-rules:write`.
#[crate::boxed]
pub async fn create(engine: &Engine, caller: &Caller, repeat: &Repeat, new: NewContentRule) -> Result<Reply, Error> {
    let tenant = writer(caller)?;
    let now = engine.ports.clock.now();
    let mut faults = Faults::default();
    let name = faults.name("/name", &new.name);
    let rule = Rule {
        scope: Scope { channels: new.channels, purpose: new.purpose },
        blocked_words: new.blocked_words,
        links: new.links,
        required_footer: new.required_footer,
    };
    rule.check(&mut faults);
    faults.end()?;
    let row = ContentRule {
        tenant_id: tenant,
        id: ContentRuleId::from_ulid(engine.ports.ids.ulid(now)),
        name,
        is_enabled: new.enabled,
        rule: serde_json::to_string(&rule).map_err(Error::internal)?,
        created_at: now,
        updated_at: now,
    };
    let (ids, by) = (Arc::clone(&engine.ports.ids), caller.clone());
    let reply = once(engine.parts(), caller, repeat, 201, Secrecy::Plain, move |tx| {
        Box::pin(async move {
            // First, so that rules of one tenant are made one after the other, and counted.
            tenants::bump(tx, Some(tenant)).await?;
            let known = content_rules::all(tx, tenant).await?;
            if known.len() >= RULES_MAX {
                let detail = format!(
                    "There are {RULES_MAX} rules already, which is the most. Remove one, or put its words into another."
                );
                return Err(Error::conflict("too_many_content_rules", detail));
            }
            refuse_many_words(&known, &rule, None)?;
            content_rules::insert(tx, &row).await?;
            let shown = view(&row)?;
            audit::record(tx, tenant, &ids, now, &by, "content_rule.created", row.id, &json!(shown)).await?;
            Ok::<_, Error>(shown)
        })
    });
    let reply = reply.await?;
    engine.directory.catch_up().await;
    Ok(reply)
}

/// Refuses a rule that makes all words together too many; `except`: the rule it takes the place of.
fn refuse_many_words(known: &[ContentRule], rule: &Rule, except: Option<ContentRuleId>) -> Result<(), Error> {
    let mut count = count_words(rule);
    for other in known.iter().filter(|other| Some(other.id) != except) {
        count += count_words(&stored(other)?);
    }
    if count > WORDS_MAX {
        return Err(Error::invalid(
            "/blocked_words/words",
            format!("at most {WORDS_MAX} words in all rules together; these make {count}"),
        ));
    }
    Ok(())
}

/// The tenant's rules, oldest first, all on one page. Needs the scope `content-rules:read`.
#[crate::boxed]
pub async fn list(engine: &Engine, caller: &Caller) -> Result<Page<ContentRuleView>, Error> {
    let tenant = reader(caller)?;
    let read = engine
        .ports
        .db
        .read(caller.reach(), move |tx| Box::pin(async move { Ok::<_, Error>(content_rules::all(tx, tenant).await?) }));
    let data = read.await?.iter().map(view).collect::<Result<_, _>>()?;
    Ok(Page { data, next_cursor: None })
}

/// One rule. Needs the scope `content-rules:read`.
#[crate::boxed]
pub async fn get(engine: &Engine, caller: &Caller, id: ContentRuleId) -> Result<ContentRuleView, Error> {
    let tenant = reader(caller)?;
    let read = engine
        .ports
        .db
        .read(caller.reach(), move |tx| Box::pin(async move { Ok::<_, Error>(content_rules::all(tx, tenant).await?) }));
    view(&found(read.await?, id)?)
}

/// Changes a rule. Needs the scope `content-rules:write`.
#[crate::boxed]
pub async fn patch(engine: &Engine, caller: &Caller, id: ContentRuleId, body: &[u8]) -> Result<ContentRuleView, Error> {
    let tenant = writer(caller)?;
    let change: ContentRulePatch = request::read(body, "")?;
    let now = engine.ports.clock.now();
    let (ids, by) = (Arc::clone(&engine.ports.ids), caller.clone());
    let write = engine.ports.db.write(caller.reach(), move |tx| {
        Box::pin(async move {
            tenants::bump(tx, Some(tenant)).await?;
            let known = content_rules::all(tx, tenant).await?;
            let mut row = found(known.clone(), id)?;
            let before = view(&row)?;
            let mut rule = stored(&row)?;
            let mut faults = Faults::default();
            let name = change.name.required(row.name.clone(), "/name", &mut faults.0);
            row.name = faults.name("/name", &name);
            row.is_enabled = change.enabled.or(row.is_enabled, true);
            rule.blocked_words = change.blocked_words.onto(rule.blocked_words);
            rule.links = change.links.onto(rule.links);
            rule.required_footer = change.required_footer.onto(rule.required_footer);
            rule.scope.channels = change.channels.or(rule.scope.channels, Vec::new());
            rule.scope.purpose = change.purpose.onto(rule.scope.purpose);
            rule.check(&mut faults);
            faults.end()?;
            refuse_many_words(&known, &rule, Some(id))?;
            row.rule = serde_json::to_string(&rule).map_err(Error::internal)?;
            row.updated_at = now;
            content_rules::update(tx, &row).await?;
            let after = view(&row)?;
            let difference = audit::difference(&json!(before), &json!(after));
            audit::record(tx, tenant, &ids, now, &by, "content_rule.updated", id, &difference).await?;
            Ok::<_, Error>(after)
        })
    });
    let view = write.await?;
    engine.directory.catch_up().await;
    Ok(view)
}

/// Removes a rule. Needs the scope `content-rules:write`.
#[crate::boxed]
pub async fn delete(engine: &Engine, caller: &Caller, id: ContentRuleId) -> Result<(), Error> {
    let tenant = writer(caller)?;
    let now = engine.ports.clock.now();
    let (ids, by) = (Arc::clone(&engine.ports.ids), caller.clone());
    let write = engine.ports.db.write(caller.reach(), move |tx| {
        Box::pin(async move {
            let row = found(content_rules::all(tx, tenant).await?, id)?;
            tenants::bump(tx, Some(tenant)).await?;
            content_rules::delete(tx, tenant, id).await?;
            let detail: Value = json!({ "name": row.name });
            audit::record(tx, tenant, &ids, now, &by, "content_rule.deleted", id, &detail).await
        })
    });
    write.await?;
    engine.directory.catch_up().await;
    Ok(())
}
