//! What an API key may do.

use std::{collections::BTreeSet, fmt};

use crate::FieldError;

/// Every scope with what it allows. Operations name theirs; a key lists some of these, or `*` for all.
pub const SCOPES: &[(&str, &str)] = &[
    ("messages:read", "See messages and their timelines."),
    ("messages:write", "Send, cancel and retry messages."),
    ("contacts:read", "See and export contacts, lists and segments."),
    ("contacts:write", "Add, import, change, merge and remove contacts, lists and segments."),
    ("campaigns:read", "See campaigns and their recipients."),
    ("campaigns:write", "Make, start, pause and cancel campaigns."),
    ("attachments:read", "See uploaded attachments."),
    ("attachments:write", "Upload and remove attachments."),
    ("templates:read", "See templates, branding and what came of them."),
    ("templates:write", "Write, publish and delete templates, and change the branding."),
    ("accounts:read", "See accounts and connectors, without their secrets."),
    ("accounts:write", "Add, change, test and remove accounts."),
    ("webhooks:read", "See webhook endpoints and their deliveries."),
    ("webhooks:write", "Add, change and remove webhook endpoints, and replay events."),
    ("consent:read", "See suppressions, consent, preferences and topics."),
    (
        "consent:write",
        "Add and lift suppressions; record consent; change preferences, topics and the rules of consent.",
    ),
    ("content-rules:read", "See the rules for what messages may say."),
    ("content-rules:write", "Make, change and remove rules for what messages may say."),
    ("retention:read", "See how long things are kept."),
    ("retention:write", "Change how long things are kept; what is older is taken away."),
    ("events:read", "Follow the event stream."),
    ("usage:read", "See usage, and how it was held against providers' records."),
    ("usage:write", "Hold usage against providers' records."),
    ("alerts:read", "See alerts and their rules."),
    ("alerts:write", "Acknowledge and resolve alerts, and change what is watched and who is told."),
    ("prices:read", "See price lists."),
    ("prices:write", "Operator: make price lists."),
    ("credits:read", "See credit and where it went."),
    ("credits:write", "Operator: adjust credit, give it back, and say how tenants pay."),
    ("purchases:read", "See purchases of credit and what they are paid with."),
    ("purchases:write", "Buy credit; operator: record purchases."),
    ("plans:read", "See plans, the subscription and what was used of it."),
    ("plans:write", "Operator: make plans and give tenants one."),
    ("invoices:read", "See invoices."),
    ("invoices:write", "Operator: issue invoices, record payments, take invoices back, and say how they are written."),
    ("callbacks:read", "See the log of provider callbacks."),
    ("audit:read", "See the audit log."),
    ("keys:read", "See API keys, without the keys themselves."),
    ("keys:write", "Make and revoke API keys that may do no more than this one."),
    ("users:read", "See the people who belong to the tenant."),
    ("users:write", "Invite and remove people, and change what they may do, up to what this key may do."),
    ("tenant:read", "See the caller's own tenant."),
    ("tenant:write", "Change the caller's own tenant: its name, time zone and country."),
    ("registrations:read", "See who the business is and where its registrations with carriers are."),
    ("registrations:write", "Say who the business is, and register it with carriers."),
    ("numbers:read", "Operator: see the pool of numbers."),
    ("numbers:write", "Operator: add numbers to the pool, free them and put them aside."),
    ("demo-tenants:read", "Operator: see demo tenants."),
    ("demo-tenants:write", "Operator: make and delete demo tenants."),
    ("tenants:read", "Operator: see tenants."),
    ("tenants:write", "Operator: add, change, suspend and delete tenants."),
];

/// Scopes that only make sense on an operator's key.
const OPERATOR_ONLY: &[&str] = &[
    "credits:write",
    "demo-tenants:read",
    "demo-tenants:write",
    "invoices:write",
    "numbers:read",
    "numbers:write",
    "plans:write",
    "prices:write",
    "tenants:read",
    "tenants:write",
];

/// A set of scopes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scopes {
    /// `*`: all, also those that are added later.
    All,
    /// These.
    Some(BTreeSet<&'static str>),
}

impl Scopes {
    /// Reads the scopes of a request; the errors point into `/scopes`.
    pub fn parse(words: &[String], is_operator: bool) -> Result<Self, Vec<FieldError>> {
        if words.iter().any(|word| word == "*") {
            return Ok(Self::All);
        }
        if words.is_empty() {
            return Err(vec![FieldError::new(
                "/scopes",
                "a key without scopes could do nothing; name some, or leave the field out",
            )]);
        }
        let (mut known, mut bad) = (BTreeSet::new(), Vec::new());
        for (index, word) in words.iter().enumerate() {
            let pointer = format!("/scopes/{index}");
            match SCOPES.iter().find(|(scope, _)| scope == word) {
                Some((scope, _)) if !is_operator && OPERATOR_ONLY.contains(scope) => {
                    bad.push(FieldError::new(pointer, format!("`{scope}` is for operator's keys only")));
                }
                Some((scope, _)) => {
                    known.insert(*scope);
                }
                None => {
                    let all = SCOPES.iter().map(|(scope, _)| *scope).collect::<Vec<_>>().join(", ");
                    bad.push(FieldError::new(pointer, format!("there is no scope `{word}`; there are * and {all}")));
                }
            }
        }
        if bad.is_empty() { Ok(Self::Some(known)) } else { Err(bad) }
    }

    /// Reads what the database keeps. Scopes this binary does not know allow nothing.
    pub fn from_stored(text: &str) -> Self {
        if text == "*" {
            return Self::All;
        }
        let find = |word: &str| SCOPES.iter().find(|(scope, _)| *scope == word).map(|(scope, _)| *scope);
        Self::Some(text.split_whitespace().filter_map(find).collect())
    }

    /// Those of them that make sense on a key of a tenant, or of the operator.
    #[must_use]
    pub fn for_owner(self, is_operator: bool) -> Self {
        match self {
            Self::Some(scopes) if !is_operator => {
                Self::Some(scopes.into_iter().filter(|scope| !OPERATOR_ONLY.contains(scope)).collect())
            }
            scopes => scopes,
        }
    }

    /// True when `scope` is among them.
    pub fn allow(&self, scope: &str) -> bool {
        debug_assert!(SCOPES.iter().any(|(known, _)| *known == scope), "`{scope}` is not in the table of scopes");
        match self {
            Self::All => true,
            Self::Some(scopes) => scopes.contains(scope),
        }
    }

    /// True when everything `other` allows is allowed here too.
    pub fn cover(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::All, _) => true,
            (Self::Some(_), Self::All) => false,
            (Self::Some(mine), Self::Some(theirs)) => theirs.is_subset(mine),
        }
    }

    /// The words, for JSON.
    pub fn words(&self) -> Vec<&'static str> {
        match self {
            Self::All => vec!["*"],
            Self::Some(scopes) => scopes.iter().copied().collect(),
        }
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words().join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str], is_operator: bool) -> Result<Scopes, Vec<String>> {
        let words: Vec<_> = words.iter().map(|word| (*word).to_owned()).collect();
        Scopes::parse(&words, is_operator).map_err(|bad| bad.into_iter().map(|bad| bad.pointer).collect())
    }

    #[test]
    fn scopes_are_a_closed_list() {
        assert_eq!(parse(&["*"], false), Ok(Scopes::All));
        assert_eq!(parse(&["usage:read", "messages:write"], false).unwrap().to_string(), "messages:write usage:read");
        assert_eq!(
            parse(&["usage:read", "usage:burn", "tenants:read"], false),
            Err(vec!["/scopes/1".into(), "/scopes/2".into()])
        );
        assert_eq!(parse(&[], false), Err(vec!["/scopes".into()]));
        assert!(parse(&["tenants:read"], true).is_ok());
    }

    #[test]
    fn a_set_covers_its_subsets_only() {
        let (all, one, two) =
            (Scopes::All, Scopes::from_stored("usage:read"), Scopes::from_stored("usage:read audit:read"));
        assert!(all.cover(&all) && all.cover(&two) && two.cover(&one) && one.cover(&one));
        assert!(!one.cover(&two) && !two.cover(&all));
        assert!(two.allow("audit:read") && !one.allow("audit:read") && all.allow("audit:read"));
        assert_eq!(Scopes::from_stored("usage:read gone:write"), one);
    }
}
