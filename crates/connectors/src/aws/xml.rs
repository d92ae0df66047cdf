//! The XML of Amazon's older ("query") services, as far as their answers go: the text of an element by its name. Answers are small, made by
//! Amazon, and hold neither attributes of interest nor elements of one name inside each other, so a parser for all of XML is not needed.

use model::HttpAnswer;

use super::AwsError;

/// The text of the first element `name`; `None` without both its tags, so a cut answer has none.
pub(crate) fn text(xml: &str, name: &str) -> Option<String> {
    element(xml, name).map(|(inner, _)| unescaped(inner.trim()))
}

/// The value of `key` in the first map: `<entry><key>…</key><value>…</value></entry>`.
pub(crate) fn entry(xml: &str, key: &str) -> Option<String> {
    let mut rest = xml;
    while let Some((inner, after)) = element(rest, "entry") {
        if text(inner, "key").as_deref() == Some(key) {
            return text(inner, "value");
        }
        rest = after;
    }
    None
}

/// What stands between the tags of each element `name`, in order.
pub(crate) fn each<'a>(xml: &'a str, name: &str) -> impl Iterator<Item = &'a str> {
    let mut rest = xml;
    std::iter::from_fn(move || {
        let (inner, after) = element(rest, name)?;
        rest = after;
        Some(inner)
    })
}

/// The error an answer names: its code and its words. Either may be empty.
pub(crate) fn error(answer: &HttpAnswer) -> AwsError {
    let xml = answer.text();
    let part = |name| text(&xml, name).unwrap_or_default();
    AwsError { kind: part("Code"), message: part("Message") }
}

/// What stands between the tags of the first element `name`, and what follows it.
fn element<'a>(xml: &'a str, name: &str) -> Option<(&'a str, &'a str)> {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    let (_, rest) = xml.split_once(&open)?;
    rest.split_once(&close)
}

/// The five entities XML knows by itself. The ampersand comes last, so that what it makes is not read again.
fn unescaped(text: &str) -> String {
    const ENTITIES: &[(&str, &str)] =
        &[("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&apos;", "'"), ("&amp;", "&")];
    ENTITIES.iter().fold(text.to_owned(), |text, (entity, character)| text.replace(entity, character))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_found_whole_or_not_at_all() {
        let xml = "<R xmlns=\"x\"><A> one &amp; &lt;two&gt; &amp;lt; </A><A>three</A><B></B></R>";
        assert_eq!(text(xml, "A").as_deref(), Some("one & <two> &lt;"));
        assert_eq!(text(xml, "B").as_deref(), Some(""));
        assert_eq!(text(xml, "C"), None);
        assert_eq!(text("<R><A>one", "A"), None);
        assert_eq!(text("<html>", "A"), None);
    }

    #[test]
    fn entries_of_a_map() {
        let xml = "<attributes><entry><key>a</key><value>1</value></entry><entry><key>b</key><value>2</value></entry></attributes>";
        assert_eq!(entry(xml, "b").as_deref(), Some("2"));
        assert_eq!(entry(xml, "c"), None);
        assert_eq!(entry("<entry><key>a</key><value>1", "a"), None);
    }

    #[test]
    fn errors() {
        let body = "<ErrorResponse><Error><Type>Sender</Type><Code>InvalidParameter</Code><Message>no</Message></Error></ErrorResponse>";
        let error = error(&HttpAnswer { status: 400, body: body.into(), ..HttpAnswer::default() });
        assert_eq!(error, AwsError { kind: "InvalidParameter".into(), message: "no".into() });
    }
}
