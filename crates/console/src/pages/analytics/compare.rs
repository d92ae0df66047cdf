//! Channels, accounts, campaigns, variants, template versions, topics and countries side by side; for the operator tenants, too.

use std::collections::HashMap;

use connectors::registry;
use engine::{
    accounts,
    analytics::{AnalyticsQuery, AnalyticsRow, Figures},
    campaigns,
    templates::{self, TemplateQuery},
    tenants,
};
use maud::{Markup, html};

use super::{Side, Wanted, lost, money, took, under_way};
use crate::{
    cx::{Cx, Fault},
    format,
    parts::{
        self,
        chart::{self, Series},
        link_button,
        table::{self, Row, Table, cell, number},
    },
};

/// Rows a page shows: those with the most messages. The file has all.
const SHOWN_MAX: usize = 50;
/// Names read at once: the newest of each kind.
const NAMES_MAX: u32 = 500;

/// What is put side by side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    Tenant,
    Channel,
    Provider,
    Account,
    Campaign,
    Variant,
    Template,
    Topic,
    Purpose,
    Country,
}

/// The word in the address, what the API is asked for, and the name.
const ALL: [(By, &str, &str, &str); 10] = [
    (By::Tenant, "tenant", "tenant", "Tenants"),
    (By::Channel, "channel", "channel", "Channels"),
    (By::Provider, "provider", "provider", "Providers"),
    (By::Account, "account", "account", "Accounts"),
    (By::Campaign, "campaign", "campaign", "Campaigns"),
    // Variants of different campaigns have nothing in common.
    (By::Variant, "variant", "campaign,variant", "A/B variants"),
    (By::Template, "template", "template", "Template versions"),
    (By::Topic, "topic", "topic", "Topics"),
    (By::Purpose, "purpose", "purpose", "Purposes"),
    (By::Country, "country", "country", "Countries"),
];

/// What a tenant can compare: all but tenants. The first is shown when none is chosen.
const OF_TENANT: &[By] = &[
    By::Channel,
    By::Provider,
    By::Account,
    By::Campaign,
    By::Variant,
    By::Template,
    By::Topic,
    By::Purpose,
    By::Country,
];
/// What the operator can compare: what does not belong to one tenant.
const OF_OPERATOR: &[By] = &[By::Tenant, By::Channel, By::Provider, By::Topic, By::Purpose, By::Country];

impl By {
    const fn all(side: &Side) -> &'static [Self] {
        if side.is_operators { OF_OPERATOR } else { OF_TENANT }
    }

    fn line(self) -> &'static (Self, &'static str, &'static str, &'static str) {
        ALL.iter().find(|(by, ..)| *by == self).expect("everything to compare has a line in the table")
    }

    /// Reads the address's word; the first when it says nothing known.
    pub(super) fn from_word(word: &str, side: &Side) -> Self {
        let all = Self::all(side);
        all.iter().copied().find(|by| by.word() == word).unwrap_or(all[0])
    }

    /// The word in the address.
    pub(super) fn word(self) -> &'static str {
        self.line().1
    }

    /// What the API is asked to group by.
    pub(super) fn group(self) -> &'static str {
        self.line().2
    }

    fn name(self) -> &'static str {
        self.line().3
    }

    /// The parameter that narrows the page to one of them.
    const fn parameter(self) -> Option<&'static str> {
        match self {
            Self::Tenant | Self::Variant => None,
            Self::Channel => Some("channel"),
            Self::Provider => Some("provider"),
            Self::Account => Some("account_id"),
            Self::Campaign => Some("campaign_id"),
            Self::Template => Some("template_id"),
            Self::Topic => Some("topic"),
            Self::Purpose => Some("purpose"),
            Self::Country => Some("country"),
        }
    }
}

/// One of them.
pub(super) struct Compared {
    name: String,
    href: Option<String>,
    /// The value that narrows the page to it.
    value: Option<String>,
    figures: Figures,
}

/// What the page is narrowed to.
pub(super) struct Narrowed {
    pub(super) parameter: &'static str,
    pub(super) name: String,
}

/// Reads them, with names, the busiest first.
pub(super) async fn read(cx: &Cx, side: &Side, by: By, query: AnalyticsQuery) -> Result<Vec<Compared>, Fault> {
    let query = AnalyticsQuery { group_by: Some(by.group().to_owned()), ..query };
    let mut rows = cx.engine().analytics_view(&side.caller, &query).await?.data;
    rows.sort_by_key(|row| std::cmp::Reverse(row.figures.accepted));
    let names = Names::read(cx, side, by).await?;
    Ok(rows.iter().map(|row| names.compared(by, row)).collect())
}

/// Reads the names of what the page is narrowed to.
pub(super) async fn narrowed(cx: &Cx, side: &Side, wanted: &Wanted) -> Result<Vec<Narrowed>, Fault> {
    let mut all = Vec::new();
    for (parameter, value) in wanted.narrowed() {
        let by = OF_TENANT.iter().copied().find(|by| by.parameter() == Some(parameter)).unwrap_or(By::Topic);
        let names = Names::read(cx, side, by).await?;
        let name = match by {
            By::Provider => provider(&value).to_owned(),
            _ => names.0.get(&value).cloned().unwrap_or(value),
        };
        all.push(Narrowed { parameter, name });
    }
    Ok(all)
}

fn provider(id: &str) -> &str {
    registry::find(id).map_or(id, |found| found.spec().name)
}

/// A variant's letter.
fn letter(variant: u32) -> String {
    let letter = u8::try_from(variant).ok().filter(|at| *at < 26).map(|at| char::from(b'A' + at));
    letter.map_or_else(|| (variant + 1).to_string(), String::from)
}

/// Names by id, as far as the person may see them.
#[derive(Default)]
struct Names(HashMap<String, String>);

impl Names {
    async fn read(cx: &Cx, side: &Side, by: By) -> Result<Self, Fault> {
        let (engine, caller) = (cx.engine(), &side.caller);
        let may = |scope: &'static str| !side.is_operators && cx.may(scope);
        let names: HashMap<String, String> = match by {
            By::Tenant if caller.need_operator("tenants:read").is_ok() => {
                let page = tenants::list(engine.parts(), caller, Some(NAMES_MAX), None).await?;
                page.data.into_iter().map(|tenant| (tenant.id.to_string(), tenant.name)).collect()
            }
            By::Account if may("accounts:read") => {
                let page = accounts::list(engine.parts(), caller, Some(NAMES_MAX), None).await?;
                page.data.into_iter().map(|account| (account.id.to_string(), account.name)).collect()
            }
            By::Campaign | By::Variant if may("campaigns:read") => {
                let page = campaigns::list(engine, caller, Some(NAMES_MAX), None).await?;
                page.data.into_iter().map(|campaign| (campaign.id.to_string(), campaign.name)).collect()
            }
            By::Template if may("templates:read") => {
                let query = TemplateQuery { limit: Some(NAMES_MAX), ..TemplateQuery::default() };
                let page = templates::list(engine, caller, &query).await?;
                page.data.into_iter().map(|template| (template.id.to_string(), template.name)).collect()
            }
            By::Tenant
            | By::Channel
            | By::Provider
            | By::Topic
            | By::Purpose
            | By::Country
            | By::Account
            | By::Campaign
            | By::Variant
            | By::Template => HashMap::new(),
        };
        Ok(Self(names))
    }

    /// The name of an id and where it is shown.
    fn known(&self, id: Option<&String>, path: &str, none: &str, gone: &str) -> (String, Option<String>) {
        match id {
            None => (none.to_owned(), None),
            Some(id) => match self.0.get(id) {
                Some(name) => (name.clone(), Some(format!("{path}/{id}"))),
                None => (format!("{gone} ({id})"), None),
            },
        }
    }

    fn compared(&self, by: By, row: &AnalyticsRow) -> Compared {
        let value = match by {
            By::Tenant => row.tenant_id.map(|id| id.to_string()),
            By::Channel => row.channel.map(|channel| channel.to_string()),
            By::Provider => row.provider.clone(),
            By::Account => row.account_id.map(|id| id.to_string()),
            By::Campaign | By::Variant => row.campaign_id.map(|id| id.to_string()),
            By::Template => row.template_id.map(|id| id.to_string()),
            By::Topic => row.topic.clone(),
            By::Purpose => row.purpose.map(|purpose| purpose.to_string()),
            By::Country => row.country.clone(),
        };
        let id = value.as_ref();
        let plain = |none: &str| (value.clone().unwrap_or_else(|| none.to_owned()), None);
        let (name, href) = match by {
            By::Tenant => self.known(id, "/console/tenants", "None", "A tenant that is gone"),
            By::Channel => (row.channel.map_or("None", format::channel).to_owned(), None),
            By::Provider => (row.provider.as_deref().map_or("Not sent yet", provider).to_owned(), None),
            By::Account => self.known(id, "/console/channels", "Not sent yet", "An account that is gone"),
            By::Campaign => self.known(id, "/console/campaigns", "Without a campaign", "A campaign that is gone"),
            By::Variant => {
                let (name, href) =
                    self.known(id, "/console/campaigns", "Without a campaign", "A campaign that is gone");
                (row.variant.map_or(name.clone(), |variant| format!("{name}, variant {}", letter(variant))), href)
            }
            By::Template => {
                let (name, href) =
                    self.known(id, "/console/templates", "Without a template", "A template that is gone");
                let version = row.template_version;
                (
                    version.map_or(name.clone(), |version| format!("{name}, version {version}")),
                    href.zip(version).map(|(href, version)| format!("{href}?version={version}")),
                )
            }
            By::Topic => plain("Without a topic"),
            By::Purpose => (row.purpose.map_or("None".to_owned(), |purpose| format::words(purpose.as_str())), None),
            By::Country => plain("No phone number"),
        };
        Compared { name, href, value, figures: row.figures.clone() }
    }
}

/// Draws the comparison.
pub(super) fn card(side: &Side, wanted: &Wanted, rows: &[Compared]) -> Markup {
    let shown = &rows[..rows.len().min(SHOWN_MAX)];
    let by = wanted.by(side);
    let here = wanted.address(side.path, by.word(), None);
    let tabs: Vec<(String, &str)> =
        By::all(side).iter().map(|by| (wanted.address(side.path, by.word(), None), by.name())).collect();
    let tabs: Vec<(&str, &str)> = tabs.iter().map(|(path, name)| (path.as_str(), *name)).collect();
    let file = wanted.address(side.export, by.word(), None);
    html! {
        section.card #compared aria-label="Side by side" {
            header { h2 { "Side by side" } (link_button(&file, "small", Some("file"), "Over time, as CSV")) }
            div.body-inner {
                (parts::tabs("What is compared", &tabs, &here))
                @if shown.len() > 1 && shown.len() <= 12 { (chart_of(shown)) }
            }
            (table_of(side, wanted, shown))
            @if rows.len() > shown.len() { p."muted small padded" { "The " (SHOWN_MAX) " with the most messages of " (rows.len()) "; the CSV file has all." } }
        }
    }
}

fn chart_of(rows: &[Compared]) -> Markup {
    /// Letters of a name that fit under a bar.
    const NAME_MAX: usize = 14;
    let short = |name: &str| match name.char_indices().nth(NAME_MAX) {
        Some((at, _)) => format!("{}…", &name[..at]),
        None => name.to_owned(),
    };
    let labels: Vec<String> = rows.iter().map(|row| short(&row.name)).collect();
    let values = |of: fn(&Figures) -> i64| rows.iter().map(|row| of(&row.figures)).collect();
    let series = [
        Series { name: "Arrived", colour: '1', values: values(|f| f.delivered) },
        Series { name: "Sent or under way", colour: 'n', values: values(under_way) },
        Series { name: "Did not arrive", colour: 'b', values: values(lost) },
    ];
    chart::bars("Messages side by side", &labels, &series, 220)
}

fn table_of(side: &Side, wanted: &Wanted, rows: &[Compared]) -> Markup {
    let share = |part: i64, whole: i64| table::figure(&format::percent(part, whole));
    let by = wanted.by(side);
    let only = |compared: &Compared| {
        let set = by.parameter().zip(compared.value.as_deref());
        html! {
            @if let Some(set) = set {
                a."button small quiet" href=(wanted.address(side.path, by.word(), Some(set))) aria-label={ "Only this: " (compared.name) } { "Only this" }
            }
        }
    };
    let row = |compared: &Compared| {
        let f = &compared.figures;
        let mut cells = vec![
            cell(html! { span.wide-text dir="auto" title=(compared.name) { (compared.name) } }),
            number(f.accepted),
            share(f.delivered, f.sent),
            share(lost(f), f.accepted),
            share(f.opened, f.delivered),
            share(f.read, f.delivered),
            share(f.clicked, f.delivered),
            share(f.replied, f.delivered),
            number(f.unsubscribed),
            number(f.complained),
            table::figure(&took(f.delivery_median_ms)),
            table::figure(&took(f.response_median_ms)),
            table::figure(&money::amounts(&f.costs)),
            table::figure(&money::amounts(&f.cost_per_delivered)),
        ];
        if by.parameter().is_some() {
            cells.push(cell(only(compared)));
        }
        Row { href: compared.href.clone(), cells }
    };
    let columns = &COLUMNS[..COLUMNS.len() - usize::from(by.parameter().is_none())];
    table::table(Table {
        caption: "Side by side, the most messages first",
        columns,
        rows: rows.iter().map(row).collect(),
    })
}

const COLUMNS: [&str; 15] = [
    "Name",
    "Messages",
    "Arrived",
    "Lost",
    "Opened",
    "Read",
    "Clicked",
    "Replied",
    "Unsubscribed",
    "Complaints",
    "Half within",
    "Reply within",
    "Cost",
    "Each arrived",
    "",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variants_have_letters() {
        assert_eq!([letter(0), letter(25), letter(26)], ["A", "Z", "27"]);
    }

    #[test]
    fn everything_to_compare_has_a_word() {
        for by in OF_TENANT.iter().chain(OF_OPERATOR) {
            assert!(!by.word().is_empty() && by.group().contains(by.word()), "{by:?}");
        }
    }
}
