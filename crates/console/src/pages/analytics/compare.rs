//! Channels, providers, campaigns or templates side by side.

use std::collections::HashMap;

use connectors::registry;
use engine::{
    accounts,
    analytics::{AnalyticsQuery, AnalyticsRow, Figures},
    campaigns,
    templates::{self, TemplateQuery},
};
use maud::{Markup, html};

use super::{PATH, Wanted, lost, seen, under_way};
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
    Channel,
    Provider,
    Account,
    Campaign,
    Template,
    Country,
}

const ALL: [(By, &str, &str); 6] = [
    (By::Channel, "channel", "Channels"),
    (By::Provider, "provider", "Providers"),
    (By::Account, "account", "Accounts"),
    (By::Campaign, "campaign", "Campaigns"),
    (By::Template, "template", "Templates"),
    (By::Country, "country", "Countries"),
];

impl By {
    /// Reads the address's word; channels when it says nothing known.
    pub(super) fn from_word(word: &str) -> Self {
        ALL.iter().find(|(_, known, _)| *known == word).map_or(Self::Channel, |(by, ..)| *by)
    }

    /// The word in the address, which is the API's.
    pub(super) fn word(self) -> &'static str {
        ALL.iter().find(|(by, ..)| *by == self).map_or("channel", |(_, word, _)| word)
    }
}

/// One of them.
pub(super) struct Compared {
    name: String,
    href: Option<String>,
    figures: Figures,
}

/// Reads them, with names, the busiest first.
pub(super) async fn read(cx: &Cx, by: By, query: AnalyticsQuery) -> Result<Vec<Compared>, Fault> {
    let query = AnalyticsQuery { group_by: Some(by.word().to_owned()), ..query };
    let mut rows = cx.engine().analytics_view(&cx.caller, &query).await?.data;
    rows.sort_by_key(|row| std::cmp::Reverse(row.figures.accepted));
    let names = Names::read(cx, by).await?;
    Ok(rows.iter().map(|row| names.compared(by, row)).collect())
}

/// Names by id, as far as the person may see them.
#[derive(Default)]
struct Names(HashMap<String, String>);

impl Names {
    async fn read(cx: &Cx, by: By) -> Result<Self, Fault> {
        let (engine, caller) = (cx.engine(), &cx.caller);
        let names: HashMap<String, String> = match by {
            By::Account if cx.may("accounts:read") => {
                let page = accounts::list(engine.parts(), caller, Some(NAMES_MAX), None).await?;
                page.data.into_iter().map(|account| (account.id.to_string(), account.name)).collect()
            }
            By::Campaign if cx.may("campaigns:read") => {
                let page = campaigns::list(engine, caller, Some(NAMES_MAX), None).await?;
                page.data.into_iter().map(|campaign| (campaign.id.to_string(), campaign.name)).collect()
            }
            By::Template if cx.may("templates:read") => {
                let query = TemplateQuery { limit: Some(NAMES_MAX), ..TemplateQuery::default() };
                let page = templates::list(engine, caller, &query).await?;
                page.data.into_iter().map(|template| (template.id.to_string(), template.name)).collect()
            }
            By::Channel | By::Provider | By::Country | By::Account | By::Campaign | By::Template => HashMap::new(),
        };
        Ok(Self(names))
    }

    fn compared(&self, by: By, row: &AnalyticsRow) -> Compared {
        let known = |id: Option<String>, path: &str, none: &str, gone: &str| match id {
            None => (none.to_owned(), None),
            Some(id) => match self.0.get(&id) {
                Some(name) => (name.clone(), Some(format!("{path}/{id}"))),
                None => (format!("{gone} ({id})"), None),
            },
        };
        let (name, href) = match by {
            By::Channel => (row.channel.map_or("None", format::channel).to_owned(), None),
            By::Provider => {
                let name = |id: &str| registry::find(id).map_or(id, |found| found.spec().name).to_owned();
                (row.provider.as_deref().map_or_else(|| "Not sent yet".to_owned(), name), None)
            }
            By::Country => (row.country.clone().unwrap_or_else(|| "No phone number".to_owned()), None),
            By::Account => {
                let id = row.account_id.map(|id| id.to_string());
                known(id, "/console/channels", "Not sent yet", "An account that is gone")
            }
            By::Campaign => {
                let id = row.campaign_id.map(|id| id.to_string());
                known(id, "/console/campaigns", "Without a campaign", "A campaign that is gone")
            }
            By::Template => {
                let id = row.template_id.map(|id| id.to_string());
                let (name, href) = known(id, "/console/templates", "Without a template", "A template that is gone");
                let version = row.template_version;
                (
                    version.map_or(name.clone(), |version| format!("{name}, version {version}")),
                    href.zip(version).map(|(href, version)| format!("{href}?version={version}")),
                )
            }
        };
        Compared { name, href, figures: row.figures.clone() }
    }
}

/// Draws the comparison.
pub(super) fn card(wanted: &Wanted, rows: &[Compared]) -> Markup {
    let shown = &rows[..rows.len().min(SHOWN_MAX)];
    let here = wanted.address(PATH, wanted.by().word());
    let tabs: Vec<(String, &str)> = ALL.iter().map(|(_, word, name)| (wanted.address(PATH, word), *name)).collect();
    let tabs: Vec<(&str, &str)> = tabs.iter().map(|(path, name)| (path.as_str(), *name)).collect();
    html! {
        section.card #compared aria-label="Side by side" {
            header { h2 { "Side by side" } (link_button(&wanted.address("/console/analytics/export", wanted.by().word()), "small", Some("file"), "Over time, as CSV")) }
            div.body-inner {
                (parts::tabs("What is compared", &tabs, &here))
                @if shown.len() > 1 && shown.len() <= 12 { (chart_of(shown)) }
            }
            (table_of(shown))
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

fn table_of(rows: &[Compared]) -> Markup {
    let share = |part: i64, whole: i64| table::figure(&format::percent(part, whole));
    let row = |compared: &Compared| {
        let f = &compared.figures;
        Row {
            href: compared.href.clone(),
            cells: vec![
                cell(html! { span.wide-text dir="auto" title=(compared.name) { (compared.name) } }),
                number(f.accepted),
                share(f.delivered, f.sent),
                share(seen(f), f.delivered),
                share(f.clicked, f.delivered),
                share(lost(f), f.accepted),
                number(f.unsubscribed),
                table::figure(&f.delivery_median_ms.map_or_else(|| "–".to_owned(), format::duration)),
            ],
        }
    };
    table::table(Table {
        caption: "Side by side, the most messages first",
        columns: &["Name", "Messages", "Arrived", "Seen", "Clicked", "Lost", "Unsubscribed", "Half within"],
        rows: rows.iter().map(row).collect(),
    })
}
