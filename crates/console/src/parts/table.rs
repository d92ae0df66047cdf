//! Tables: filters in the address, rows that lead somewhere, pages by cursor. On a narrow screen a row becomes a card.

use maud::{Markup, html};

use super::icon;

/// One cell.
pub(crate) struct Cell {
    content: Markup,
    is_number: bool,
    is_labelled: bool,
}

/// A cell with text or markup.
pub(crate) fn cell(content: Markup) -> Cell {
    Cell { content, is_number: false, is_labelled: false }
}

/// A cell that says nothing without its column's title, which stands before it where a row is a card.
pub(crate) fn labelled(content: Markup) -> Cell {
    Cell { is_labelled: true, ..cell(content) }
}

/// A cell with plain text.
pub(crate) fn text(content: &str) -> Cell {
    cell(html! { (content) })
}

/// A cell with a number, set to the right.
pub(crate) fn number(value: i64) -> Cell {
    Cell { is_number: true, ..cell(html! { (crate::format::number(value)) }) }
}

/// A cell with a number that was written already: a share, an amount.
pub(crate) fn figure(text: &str) -> Cell {
    Cell { is_number: true, ..cell(html! { (text) }) }
}

/// One row.
pub(crate) struct Row {
    /// Where it leads; its first cell is the link.
    pub(crate) href: Option<String>,
    /// What it shows, one for each column.
    pub(crate) cells: Vec<Cell>,
}

/// A table.
pub(crate) struct Table<'a> {
    /// What it lists, for those who do not see it.
    pub(crate) caption: &'a str,
    /// Column titles; an empty one is a column of buttons.
    pub(crate) columns: &'a [&'a str],
    /// What it lists.
    pub(crate) rows: Vec<Row>,
}

/// Columns of a table that may be wider than its page: it can be moved sideways with the keyboard, too.
const WIDE: usize = 9;

/// Draws a table.
pub(crate) fn table(table: Table<'_>) -> Markup {
    let numbers: Vec<bool> =
        (0..table.columns.len()).map(|at| table.rows.first().is_some_and(|row| row.cells[at].is_number)).collect();
    let wide = (table.columns.len() >= WIDE).then_some(table.caption);
    html! {
        div.table-wrap.stacked tabindex=[wide.map(|_| "0")] role=[wide.map(|_| "region")] aria-label=[wide] {
            table {
                caption.visually-hidden { (table.caption) }
                thead {
                    tr {
                        @for (title, is_number) in table.columns.iter().zip(&numbers) {
                            th.num[*is_number] scope="col" { @if title.is_empty() { span.visually-hidden { "Actions" } } @else { (title) } }
                        }
                    }
                }
                tbody {
                    @for row in table.rows {
                        tr.link[row.href.is_some()] {
                            @for (at, cell) in row.cells.into_iter().enumerate() {
                                td.num[cell.is_number].labelled[cell.is_labelled] data-label=[Some(table.columns[at]).filter(|title| !title.is_empty())] {
                                    @if let (0, Some(href)) = (at, &row.href) { a.cover href=(href) { (cell.content) } } @else { (cell.content) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Which page of a list this is, for the links below it.
pub(crate) struct Pages<'a> {
    /// The list's path.
    pub(crate) path: &'a str,
    /// The query without its cursor.
    pub(crate) query: &'a [(&'a str, String)],
    /// Whether this is the first page.
    pub(crate) is_first: bool,
    /// The cursor of the next page.
    pub(crate) next: Option<&'a str>,
    /// Rows on this page.
    pub(crate) shown: usize,
}

/// The links to other pages of a list.
pub(crate) fn pager(pages: &Pages<'_>) -> Markup {
    let with = |cursor: Option<&str>| {
        address(pages.path, pages.query.iter().map(|(n, v)| (*n, v.as_str())).chain(cursor.map(|c| ("cursor", c))))
    };
    html! {
        nav.pager aria-label="Pages" {
            span { (crate::format::count(i64::try_from(pages.shown).unwrap_or(i64::MAX), "row", "rows")) @if pages.is_first && pages.next.is_none() { " in all" } @else { " on this page" } }
            span.row {
                @if !pages.is_first { a.button.small href=(with(None)) { "Newest" } }
                @if let Some(next) = pages.next { a.button.small rel="next" href=(with(Some(next))) { "Older" } }
            }
        }
    }
}

/// A path with a query, empty values left out.
pub(crate) fn address<'a>(path: &str, query: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut text = form_urlencoded::Serializer::new(String::new());
    for (name, value) in query.into_iter().filter(|(_, value)| !value.is_empty()) {
        text.append_pair(name, value);
    }
    let query = text.finish();
    if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") }
}

/// One way to narrow a list.
pub(crate) enum Filter<'a> {
    /// A search for whole words.
    Search {
        /// The field.
        name: &'a str,
        /// What can be searched for.
        label: &'a str,
        /// What is searched for now.
        value: &'a str,
    },
    /// One of some values, the first of which is none.
    Choice {
        /// The field.
        name: &'a str,
        /// What is chosen by.
        label: &'a str,
        /// What is chosen now.
        value: &'a str,
        /// Value and words.
        choices: Vec<(String, String)>,
    },
    /// Something the address says that the line does not change.
    Kept {
        /// The field.
        name: &'a str,
        /// What it says.
        value: &'a str,
    },
}

/// The line above a list. `target` is the element that is replaced when a filter changes; without script the button does it.
pub(crate) fn filters(path: &str, target: &str, filters: &[Filter<'_>]) -> Markup {
    let is_narrowed = filters.iter().any(|filter| match filter {
        Filter::Search { value, .. } | Filter::Choice { value, .. } => !value.is_empty(),
        Filter::Kept { .. } => false,
    });
    html! {
        form.filters method="get" action=(path) role="search" hx-get=(path) hx-trigger="change, submit" hx-target={ "#" (target) } hx-select={ "#" (target) }
            hx-swap="outerHTML" hx-push-url="true" {
            @for filter in filters {
                @match filter {
                    Filter::Search { name, label, value } => {
                        div.search { (icon("search")) input type="search" id={ "by-" (name) } name=(name) value=(value) aria-label=(label) placeholder=(label) autocomplete="off"; }
                    }
                    Filter::Kept { name, value } => { input type="hidden" name=(name) value=(value); }
                    Filter::Choice { name, label, value, choices } => {
                        select id={ "by-" (name) } name=(name) aria-label=(label) {
                            option value="" { (label) }
                            @for (word, text) in choices { option value=(word) selected[word == value] { (text) } }
                        }
                    }
                }
            }
            button.button.small type="submit" { "Apply" }
            @if is_narrowed { a.button.small.quiet href=(path) { "Clear" } }
        }
    }
}
