//! Who may do what: one table from roles to permissions, one from the API's scopes to the permission each needs.
//!
//! Permissions only add: a member's set is what the role gives and what was granted beyond it. Somebody who shall only send SMS is a viewer with `send:sms`.

use std::{collections::BTreeSet, fmt, str::FromStr};

use model::Channel;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    FieldError,
    keys::{SCOPES, Scopes},
};

/// The channels people have permissions for.
pub const CHANNELS: [Channel; 5] = [Channel::Email, Channel::Sms, Channel::Whatsapp, Channel::Telegram, Channel::Voice];

/// What a member is in a tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Sees everything, changes nothing.
    Viewer,
    /// Works with contacts, templates and conversations, and sends.
    Member,
    /// Everything but making and removing owners.
    Admin,
    /// Everything.
    Owner,
}

/// What somebody is among the operator's staff.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OperatorRole {
    /// Makes demo tenants and works in them; sees no others.
    Sales,
    /// Sees every tenant, changes none.
    Support,
    /// Everything.
    Admin,
}

macro_rules! words {
    ($type:ident { $($variant:ident = $word:literal),+ }) => {
        impl $type {
            /// Every one of them.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The word in JSON and SQL.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }

            /// Reads the database's word; one this binary does not know is no role.
            pub fn from_stored(word: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|role| role.as_str() == word)
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { f.write_str(self.as_str()) }
        }

        impl FromStr for $type {
            type Err = String;
            fn from_str(word: &str) -> Result<Self, String> {
                Self::from_stored(word).ok_or_else(|| {
                    let all = [$($word),+].join(", ");
                    format!("there is no role `{word}`; there are {all}")
                })
            }
        }
    };
}
words!(Role { Owner = "owner", Admin = "admin", Member = "member", Viewer = "viewer" });
words!(OperatorRole { Admin = "admin", Support = "support", Sales = "sales" });

/// One thing people may or may not do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Permission {
    /// See what the tenant has and does.
    View,
    /// Change contacts, lists, segments and suppressions.
    Contacts,
    /// Answer, assign and close conversations.
    Conversations,
    /// Send on a channel.
    Send(Channel),
    /// Set up a channel: accounts, senders, registrations.
    Manage(Channel),
    /// Write and publish templates.
    Templates,
    /// Make and run campaigns, schedules and automations.
    Campaigns,
    /// Buy credits, see invoices, change the plan.
    Billing,
    /// Users, API keys, webhook endpoints, logs and the tenant's settings.
    Administration,
    /// Make and remove owners, and keys that may do everything.
    Ownership,
}

use Permission::{
    Administration, Billing, Campaigns, Contacts, Conversations, Manage, Ownership, Send, Templates, View,
};

impl Permission {
    /// Every permission, one line each in the order people read them.
    pub fn all() -> impl Iterator<Item = Self> {
        let before = [View, Contacts, Conversations];
        let after = [Templates, Campaigns, Billing, Administration, Ownership];
        before.into_iter().chain(CHANNELS.map(Send)).chain(CHANNELS.map(Manage)).chain(after)
    }

    /// The matrix: the least role that has this permission. Each role has what the roles below it have.
    pub const fn least_role(self) -> Role {
        match self {
            View => Role::Viewer,
            Contacts | Conversations | Send(_) | Templates => Role::Member,
            Manage(_) | Campaigns | Billing | Administration => Role::Admin,
            Ownership => Role::Owner,
        }
    }

    /// True when it can be given to somebody whose role does not have it.
    pub const fn can_be_granted(self) -> bool {
        !matches!(self, View | Ownership)
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            View => f.write_str("view"),
            Contacts => f.write_str("contacts"),
            Conversations => f.write_str("conversations"),
            Send(channel) => write!(f, "send:{}", channel.as_str()),
            Manage(channel) => write!(f, "manage:{}", channel.as_str()),
            Templates => f.write_str("templates"),
            Campaigns => f.write_str("campaigns"),
            Billing => f.write_str("billing"),
            Administration => f.write_str("administration"),
            Ownership => f.write_str("ownership"),
        }
    }
}

impl FromStr for Permission {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        Self::all().find(|permission| permission.to_string() == word).ok_or_else(|| {
            let all: Vec<_> = Self::all().filter(|one| one.can_be_granted()).map(|one| one.to_string()).collect();
            format!("there is no permission `{word}`; there are {}", all.join(", "))
        })
    }
}

/// Which permission a scope of the API needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// This one.
    One(Permission),
    /// To send on at least one channel; which is checked for each message.
    AnySend,
    /// To set up at least one channel; which is checked for each account.
    AnyManage,
    /// The operator only.
    Operator,
}

/// What reading and writing each resource of the API needs. A scope is `resource:read` or `resource:write`.
const RESOURCES: &[(&str, Need, Need)] = &[
    ("messages", Need::One(View), Need::AnySend),
    ("contacts", Need::One(View), Need::One(Contacts)),
    ("consent", Need::One(View), Need::One(Contacts)),
    ("content-rules", Need::One(View), Need::One(Administration)),
    ("retention", Need::One(Administration), Need::One(Administration)),
    ("templates", Need::One(View), Need::One(Templates)),
    ("campaigns", Need::One(View), Need::One(Campaigns)),
    ("attachments", Need::One(View), Need::AnySend),
    ("accounts", Need::One(View), Need::AnyManage),
    ("webhooks", Need::One(Administration), Need::One(Administration)),
    ("events", Need::One(View), Need::One(View)),
    ("usage", Need::One(View), Need::One(Billing)),
    ("alerts", Need::One(View), Need::One(Administration)),
    ("prices", Need::One(View), Need::Operator),
    ("credits", Need::One(Billing), Need::Operator),
    ("purchases", Need::One(Billing), Need::One(Billing)),
    ("plans", Need::One(View), Need::Operator),
    ("invoices", Need::One(Billing), Need::Operator),
    ("callbacks", Need::One(Administration), Need::One(Administration)),
    ("audit", Need::One(Administration), Need::One(Administration)),
    ("keys", Need::One(Administration), Need::One(Administration)),
    ("users", Need::One(Administration), Need::One(Administration)),
    ("tenant", Need::One(View), Need::One(Administration)),
    ("registrations", Need::One(View), Need::AnyManage),
    ("numbers", Need::Operator, Need::Operator),
    ("demo-tenants", Need::Operator, Need::Operator),
    ("tenants", Need::Operator, Need::Operator),
];

/// What a scope needs; `None` for a scope that has no line in the table, which nobody who signed in may use.
pub fn need(scope: &str) -> Option<Need> {
    let (resource, verb) = scope.split_once(':')?;
    let (_, read, write) = RESOURCES.iter().find(|(known, ..)| *known == resource)?;
    match verb {
        "read" => Some(*read),
        "write" => Some(*write),
        _ => None,
    }
}

/// Whether scopes come to a permission: all that need it are among them.
pub fn scopes_allow(scopes: &Scopes, permission: Permission) -> bool {
    let needs_it = |scope: &str| match need(scope) {
        Some(Need::One(needed)) => needed == permission,
        Some(Need::AnySend) => matches!(permission, Send(_)),
        Some(Need::AnyManage) => matches!(permission, Manage(_)),
        Some(Need::Operator) | None => false,
    };
    match scopes {
        Scopes::All => true,
        // Nothing needs it that a scope could stand for.
        Scopes::Some(_) if !SCOPES.iter().any(|(scope, _)| needs_it(scope)) => false,
        Scopes::Some(_) => SCOPES.iter().all(|(scope, _)| !needs_it(scope) || scopes.allow(scope)),
    }
}

/// What one person may do in one tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permissions {
    role: Role,
    /// Beyond the role.
    granted: BTreeSet<String>,
}

impl Permissions {
    /// What a role gives, and nothing beyond it.
    pub const fn of(role: Role) -> Self {
        Self { role, granted: BTreeSet::new() }
    }

    /// Reads what the database keeps. Words this binary does not know allow nothing.
    pub fn from_stored(role: &str, granted: &str) -> Self {
        let known = |word: &&str| word.parse::<Permission>().is_ok_and(Permission::can_be_granted);
        let granted = granted.split_whitespace().filter(known).map(str::to_owned).collect();
        Self { role: Role::from_stored(role).unwrap_or(Role::Viewer), granted }
    }

    /// Reads a request; errors point into `pointer`. What the role has anyway is left out.
    pub fn parse(role: Role, words: &[String], pointer: &str) -> Result<Self, Vec<FieldError>> {
        let (mut granted, mut bad) = (BTreeSet::new(), Vec::new());
        for (index, word) in words.iter().enumerate() {
            let refused = match word.parse::<Permission>() {
                Ok(permission) if !permission.can_be_granted() => {
                    format!("`{word}` comes with a role only and cannot be granted beyond one")
                }
                Ok(permission) => {
                    if role < permission.least_role() {
                        granted.insert(word.clone());
                    }
                    continue;
                }
                Err(detail) => detail,
            };
            bad.push(FieldError::new(format!("{pointer}/{index}"), refused));
        }
        if bad.is_empty() { Ok(Self { role, granted }) } else { Err(bad) }
    }

    /// The role.
    pub const fn role(&self) -> Role {
        self.role
    }

    /// The words of what was granted beyond the role.
    pub fn granted(&self) -> Vec<String> {
        self.granted.iter().cloned().collect()
    }

    /// True when the person may do this.
    pub fn allow(&self, permission: Permission) -> bool {
        self.role >= permission.least_role() || self.granted.contains(&permission.to_string())
    }

    /// True when everything `other` allows is allowed here too.
    pub fn cover(&self, other: &Self) -> bool {
        Permission::all().all(|permission| !other.allow(permission) || self.allow(permission))
    }

    /// True when a scope may be used.
    pub fn meet(&self, need: Need) -> bool {
        match need {
            Need::One(permission) => self.allow(permission),
            Need::AnySend => CHANNELS.iter().any(|channel| self.allow(Send(*channel))),
            Need::AnyManage => CHANNELS.iter().any(|channel| self.allow(Manage(*channel))),
            Need::Operator => false,
        }
    }

    /// The scopes a key of theirs may have: keys know no channels, so sending and setting up need every one of them.
    pub fn key_scopes(&self) -> Scopes {
        let all =
            |permission: fn(Channel) -> Permission| CHANNELS.iter().all(|channel| self.allow(permission(*channel)));
        match self.scopes() {
            Scopes::All => Scopes::All,
            Scopes::Some(scopes) => Scopes::Some(
                scopes
                    .into_iter()
                    .filter(|scope| match need(scope) {
                        Some(Need::AnySend) => all(Send),
                        Some(Need::AnyManage) => all(Manage),
                        _ => true,
                    })
                    .collect(),
            ),
        }
    }

    /// The scopes that come to the same. An owner has all, also those that are added later.
    pub fn scopes(&self) -> Scopes {
        if self.allow(Ownership) {
            return Scopes::All;
        }
        let allowed = |scope: &&'static str| need(scope).is_some_and(|need| self.meet(need));
        Scopes::Some(SCOPES.iter().map(|(scope, _)| *scope).filter(allowed).collect())
    }
}

impl OperatorRole {
    /// The scopes of the operator's staff: outside of any tenant, or inside one (`is_demo` says which kind). `None` where the role may not be at all.
    pub fn scopes(self, inside: Option<bool>) -> Option<Scopes> {
        let reads = |scope: &&'static str| scope.ends_with(":read");
        let words = |allowed: &dyn Fn(&&'static str) -> bool| {
            Scopes::Some(SCOPES.iter().map(|(scope, _)| *scope).filter(allowed).collect())
        };
        match (self, inside) {
            (Self::Admin, _) => Some(Scopes::All),
            (Self::Support, _) => Some(words(&reads)),
            (Self::Sales, None) => Some(words(&|scope| scope.starts_with("demo-tenants:"))),
            (Self::Sales, Some(true)) => Some(words(&|scope| need(scope) != Some(Need::Operator))),
            (Self::Sales, Some(false)) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn may(role: Role, granted: &str) -> Vec<&'static str> {
        let Scopes::Some(scopes) = Permissions::from_stored(role.as_str(), granted).scopes() else { return vec!["*"] };
        scopes.into_iter().collect()
    }

    #[test]
    fn every_scope_has_a_line() {
        for (scope, _) in SCOPES {
            assert!(need(scope).is_some(), "`{scope}` is new: say in RESOURCES which permission it needs");
        }
        assert_eq!((need("nothing:read"), need("messages:burn"), need("messages")), (None, None, None));
    }

    #[test]
    fn the_matrix_is_what_people_are_told() {
        let mut lines =
            vec![format!("{:15} {}", "", Role::ALL.iter().map(|role| role.as_str()).collect::<Vec<_>>().join(" "))];
        for permission in Permission::all() {
            let cell = |role: &Role| {
                let mark = if Permissions::of(*role).allow(permission) { "x" } else { "-" };
                format!("{mark:width$}", width = role.as_str().len())
            };
            let cells = Role::ALL.iter().map(cell).collect::<Vec<_>>().join(" ");
            lines.push(format!("{:15} {}", permission.to_string(), cells.trim_end()));
        }
        assert_eq!(lines.join("\n"), MATRIX);
    }

    const MATRIX: &str = "                owner admin member viewer
view            x     x     x      x
contacts        x     x     x      -
conversations   x     x     x      -
send:email      x     x     x      -
send:sms        x     x     x      -
send:whatsapp   x     x     x      -
send:telegram   x     x     x      -
send:voice      x     x     x      -
manage:email    x     x     -      -
manage:sms      x     x     -      -
manage:whatsapp x     x     -      -
manage:telegram x     x     -      -
manage:voice    x     x     -      -
templates       x     x     x      -
campaigns       x     x     -      -
billing         x     x     -      -
administration  x     x     -      -
ownership       x     -     -      -";

    #[test]
    fn roles_rise_to_scopes() {
        assert_eq!(may(Role::Owner, ""), ["*"]);
        let (viewer, member, admin) = (may(Role::Viewer, ""), may(Role::Member, ""), may(Role::Admin, ""));
        assert!(viewer.contains(&"messages:read") && !viewer.contains(&"messages:write"));
        assert!(!viewer.contains(&"audit:read") && !viewer.contains(&"keys:read"));
        assert!(member.contains(&"messages:write") && !member.contains(&"accounts:write"));
        assert!(admin.contains(&"accounts:write") && admin.contains(&"keys:write") && !admin.contains(&"tenants:read"));
        assert!(viewer.iter().all(|scope| member.contains(scope)) && member.iter().all(|scope| admin.contains(scope)));
    }

    #[test]
    fn what_is_granted_adds_to_the_role() {
        let sms = Permissions::from_stored("viewer", "send:sms manage:voice ownership unheard:of");
        assert!(sms.allow(Send(Channel::Sms)) && !sms.allow(Send(Channel::Email)) && !sms.allow(Ownership));
        assert_eq!(sms.granted(), ["manage:voice", "send:sms"]);
        let scopes = may(Role::Viewer, "send:sms manage:voice");
        assert!(
            scopes.contains(&"messages:write") && scopes.contains(&"accounts:write") && !scopes.contains(&"keys:read")
        );
        assert!(Permissions::of(Role::Member).cover(&Permissions::from_stored("viewer", "send:sms")));
        assert!(!Permissions::of(Role::Member).cover(&sms) && !sms.cover(&Permissions::of(Role::Member)));
        // Keys know no channels, so one of theirs neither sends nor sets up.
        let Scopes::Some(keys) = Permissions::from_stored("viewer", "send:sms manage:voice").key_scopes() else {
            panic!()
        };
        assert!(keys.contains("messages:read") && !keys.contains("messages:write") && !keys.contains("accounts:write"));
        assert!(Permissions::of(Role::Member).key_scopes().allow("messages:write"));
        // A word nobody knows is the least there is.
        assert_eq!(Permissions::from_stored("emperor", "").role(), Role::Viewer);
    }

    #[test]
    fn a_request_names_what_can_be_granted() {
        let parse = |role: Role, words: &[&str]| {
            let words: Vec<_> = words.iter().map(|word| (*word).to_owned()).collect();
            let parsed = Permissions::parse(role, &words, "/permissions");
            parsed
                .map(|parsed| parsed.granted())
                .map_err(|bad| bad.into_iter().map(|bad| bad.pointer).collect::<Vec<_>>())
        };
        assert_eq!(parse(Role::Member, &["campaigns", "send:sms"]), Ok(vec!["campaigns".to_owned()]));
        assert_eq!(
            parse(Role::Viewer, &["ownership", "send:sms", "send:pigeon", "view"]),
            Err(vec!["/permissions/0".to_owned(), "/permissions/2".to_owned(), "/permissions/3".to_owned()])
        );
    }

    #[test]
    fn staff_sees_what_its_role_is_for() {
        let words = |role: OperatorRole, inside| role.scopes(inside).map(|scopes| scopes.words());
        assert_eq!(words(OperatorRole::Admin, None), Some(vec!["*"]));
        let support = words(OperatorRole::Support, Some(false)).unwrap();
        assert!(support.contains(&"messages:read") && support.iter().all(|scope| scope.ends_with(":read")));
        assert_eq!(words(OperatorRole::Sales, Some(false)), None);
        assert!(words(OperatorRole::Sales, Some(true)).unwrap().contains(&"messages:write"));
        assert!(!words(OperatorRole::Sales, None).unwrap().iter().any(|scope| scope.starts_with("tenants:")));
    }
}
