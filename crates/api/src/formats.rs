//! In which form an answer is wanted, for every route that has more than JSON: `format` of the query, or else what `Accept` names.

use axum::extract::FromRequestParts;
use engine::{Error, ErrorKind, FieldError, export::Format};
use http::{HeaderMap, header, request::Parts};
use serde::{Deserialize, de::DeserializeOwned};
use utoipa::IntoParams;

use crate::{App, extract::read_query, problem::Problem};

/// A form of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// JSON.
    Json,
    /// A table with a header.
    Csv,
    /// One JSON object per line.
    Ndjson,
}

impl Form {
    const ALL: [Self; 3] = [Self::Json, Self::Csv, Self::Ndjson];

    const fn word(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Csv => "csv",
            Self::Ndjson => "ndjson",
        }
    }

    const fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Csv => "text/csv",
            Self::Ndjson => "application/x-ndjson",
        }
    }
}

/// The parameter itself, for the reference.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "it describes what `Formed` reads")]
pub(crate) struct FormatQuery {
    /// The form of the answer: `json`, `csv` or `ndjson`, as far as it has them; also to be had with `Accept`. The first of those below unless said otherwise.
    #[param(value_type = Option<String>, example = "csv")]
    format: Option<String>,
}

/// The query parameters of a route with several forms, and which one is wanted.
pub struct Formed<T>(pub T, pub Wanted);

/// Which form is wanted.
#[derive(Debug, Default)]
pub struct Wanted {
    format: Option<String>,
    /// Media types of `Accept` with their weights, in thousandths.
    accept: Vec<(String, u32)>,
}

impl<T: DeserializeOwned> FromRequestParts<App> for Formed<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, Problem> {
        let query = parts.uri.query().unwrap_or_default();
        let (mut rest, mut formats) = (form_urlencoded::Serializer::new(String::new()), Vec::new());
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            if name == "format" {
                formats.push(value.into_owned());
            } else {
                rest.append_pair(&name, &value);
            }
        }
        if formats.len() > 1 {
            return Err(refused("it is given more than once".to_owned()).into());
        }
        let rest = read_query(&rest.finish(), &["format"])?;
        Ok(Self(rest, Wanted { format: formats.pop(), accept: accepted(&parts.headers) }))
    }
}

fn refused(detail: String) -> Error {
    Error {
        errors: vec![FieldError::new("?format", detail.clone())],
        ..Error::new(ErrorKind::Malformed, "invalid_query", format!("Query parameter `format`: {detail}."))
    }
}

impl Wanted {
    /// The form that is wanted of those a route has, the first of which is the usual one. One it does not have is refused where `format` names it; `Accept` may name what it likes.
    pub fn of(&self, offered: &[Form]) -> Result<Form, Error> {
        if let Some(word) = &self.format {
            let found = offered.iter().find(|form| form.word() == word);
            return found.copied().ok_or_else(|| {
                let words: Vec<_> = offered.iter().map(|form| format!("`{}`", form.word())).collect();
                let is_known = Form::ALL.iter().any(|form| form.word() == word);
                let what = if is_known { "this answer has no such form" } else { "there is no such form" };
                refused(format!("{what}; it has {}", words.join(", ")))
            });
        }
        let weight = |form: &Form| {
            let named = self.accept.iter().filter(|(media_type, _)| media_type == form.media_type());
            named.map(|(_, weight)| *weight).max().unwrap_or(0)
        };
        let most = offered.iter().map(weight).max().unwrap_or(0);
        Ok(offered.iter().copied().find(|form| weight(form) == most).unwrap_or(Form::Json))
    }

    /// The form of a file that has either, where one is usual.
    pub fn file(&self, usual: Format) -> Result<Format, Error> {
        let offered = match usual {
            Format::Csv => [Form::Csv, Form::Ndjson],
            Format::Ndjson => [Form::Ndjson, Form::Csv],
        };
        Ok(if self.of(&offered)? == Form::Csv { Format::Csv } else { Format::Ndjson })
    }
}

/// What `Accept` names, without ranges: those leave the choice to us.
fn accepted(headers: &HeaderMap) -> Vec<(String, u32)> {
    let values = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let read = |text: &str| {
        let mut parts = text.split(';').map(str::trim);
        let media_type = parts.next().unwrap_or_default().to_ascii_lowercase();
        let weight = parts.find_map(|part| part.strip_prefix("q=")).map_or(Some(1.0), |q| q.trim().parse().ok());
        let weight: f64 = weight.unwrap_or(0.0);
        (media_type, (weight.clamp(0.0, 1.0) * 1_000.0) as u32)
    };
    values.flat_map(|value| value.split(',')).map(read).collect()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn the_query_says_more_than_the_header() {
        let wanted = |format: Option<&str>, accept: &str, offered: &[Form]| {
            let headers = HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_str(accept).unwrap())]);
            Wanted { format: format.map(str::to_owned), accept: accepted(&headers) }.of(offered)
        };
        let table = [Form::Json, Form::Csv];
        let check =
            |format, accept, expected| assert_eq!(wanted(format, accept, &table).unwrap(), expected, "{accept}");
        check(None, "*/*", Form::Json);
        check(None, "text/csv", Form::Csv);
        check(None, "Text/CSV; charset=utf-8, */*;q=0.1", Form::Csv);
        check(None, "text/csv, application/json", Form::Json);
        check(None, "application/json;q=0.5, text/csv", Form::Csv);
        check(None, "text/csv;q=0", Form::Json);
        check(Some("csv"), "application/json", Form::Csv);
        check(Some("json"), "text/csv", Form::Json);
        assert_eq!(wanted(None, "text/html", &[Form::Csv]).unwrap(), Form::Csv);
        let bad = wanted(Some("ndjson"), "", &table).unwrap_err();
        assert_eq!((bad.errors[0].pointer.as_str(), bad.kind), ("?format", ErrorKind::Malformed));
        assert_eq!(bad.errors[0].detail, "this answer has no such form; it has `json`, `csv`");
        assert_eq!(
            wanted(Some("xml"), "", &table).unwrap_err().errors[0].detail,
            "there is no such form; it has `json`, `csv`"
        );
    }
}
