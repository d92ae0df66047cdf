//! From what an author writes to what a mail carries: MJML becomes HTML, style sheets move into the elements, and a text is made of it. All of it once, when a version is published;
//! placeholders stay what they are.

use mrml::prelude::{
    parser::{Error as MjmlError, ParserOptions, noop_loader::NoopIncludeLoader},
    render::RenderOptions,
};

use super::aside::{Aside, set_aside};

/// Characters of a line of the text part: what RFC 5322 recommends.
const TEXT_WIDTH: usize = 78;

/// Elements of MJML.
const ELEMENTS: &[&str] = &[
    "mjml",
    "mj-head",
    "mj-attributes",
    "mj-all",
    "mj-class",
    "mj-breakpoint",
    "mj-font",
    "mj-html-attributes",
    "mj-selector",
    "mj-html-attribute",
    "mj-include",
    "mj-preview",
    "mj-style",
    "mj-title",
    "mj-body",
    "mj-accordion",
    "mj-accordion-element",
    "mj-accordion-title",
    "mj-accordion-text",
    "mj-button",
    "mj-carousel",
    "mj-carousel-image",
    "mj-column",
    "mj-divider",
    "mj-group",
    "mj-hero",
    "mj-image",
    "mj-navbar",
    "mj-navbar-link",
    "mj-raw",
    "mj-section",
    "mj-social",
    "mj-social-element",
    "mj-spacer",
    "mj-table",
    "mj-text",
    "mj-wrapper",
];

/// What is wrong in an MJML text.
pub(super) struct Fault {
    /// The line, when it is known.
    pub line: Option<usize>,
    /// What is wrong.
    pub detail: String,
}

/// MJML as HTML.
pub(super) fn mjml(source: &str) -> Result<String, Fault> {
    let (text, aside) = set_aside(source);
    if let Some((at, name)) = unknown_element(&text) {
        let line = Some(line_of(&aside, &text, at));
        return Err(Fault { line, detail: format!("MJML: there is no element `<{name}>`") });
    }
    let options = ParserOptions { include_loader: Box::new(NoopIncludeLoader) };
    let parsed = mrml::parse_with_options(&text, &options).map_err(|error| fault(&error, &text, &aside))?;
    let html = parsed.element.render(&RenderOptions::default());
    let html =
        html.map_err(|error| Fault { line: None, detail: format!("MJML cannot be turned into HTML: {error}") })?;
    Ok(aside.restore(&html))
}

fn fault(error: &MjmlError, text: &str, aside: &Aside<'_>) -> Fault {
    let (what, position) = match error {
        MjmlError::UnexpectedElement { position, .. } => ("this element cannot stand here", Some(position.start)),
        MjmlError::UnexpectedToken { position, .. } => ("this cannot stand here", Some(position.start)),
        MjmlError::MissingAttribute { name, position, .. } => {
            let line = line_of(aside, text, position.start);
            return Fault { line: Some(line), detail: format!("MJML: the attribute `{name}` is missing") };
        }
        MjmlError::InvalidAttribute { position, .. } => ("this attribute cannot be read", Some(position.start)),
        MjmlError::InvalidFormat { position, .. } => ("this cannot be read", Some(position.start)),
        MjmlError::IncludeLoaderError { position, .. } => {
            ("`mj-include` is not possible here: a template stands by itself", Some(position.start))
        }
        MjmlError::EndOfStream { .. } => ("an element has no end", None),
        MjmlError::SizeLimit { .. } => ("it is too long", None),
        MjmlError::ParserError { source, .. } => {
            // The parser speaks of `row:column` at its end.
            let words = source.to_string();
            let row = words.rsplit_once(" at ").and_then(|(_, at)| at.split(':').next()?.parse::<usize>().ok());
            let start = row.map(|row| text.split_inclusive('\n').take(row.saturating_sub(1)).map(str::len).sum());
            let line = start.map(|start| line_of(aside, text, start));
            let what = words.rsplit_once(" at ").map_or(words.as_str(), |(what, _)| what).to_owned();
            return Fault { line, detail: format!("MJML: {}", aside.restore(&what)) };
        }
        MjmlError::NoRootNode => ("there is no `<mjml>` element", None),
    };
    let near = position.map(|start| {
        let piece: String = text.get(start..).unwrap_or_default().chars().take(40).take_while(|c| *c != '\n').collect();
        format!(" (`{}`)", aside.restore(&piece))
    });
    let line = position.map(|start| line_of(aside, text, start));
    Fault { line, detail: format!("MJML: {what}{}", near.unwrap_or_default()) }
}

/// The first element that looks like MJML's own and is none: the parser would keep it, and mail programs would not show it.
fn unknown_element(text: &str) -> Option<(usize, &str)> {
    text.match_indices("<mj").find_map(|(at, _)| {
        let name = &text[at + 1..];
        let length = name.bytes().take_while(|b| b.is_ascii_alphanumeric() || *b == b'-').count();
        (!ELEMENTS.contains(&&name[..length])).then_some((at, &name[..length]))
    })
}

/// The line of the source a place in the set-aside text lies in.
fn line_of(aside: &Aside<'_>, text: &str, start: usize) -> usize {
    let before = text.get(..start.min(text.len())).unwrap_or_default();
    aside.restore(before).matches('\n').count() + 1
}

/// HTML whose style sheets lie in its elements, or why they could not be moved there.
pub(super) fn inline_css(html: &str) -> Result<String, String> {
    if !html.contains("<style") && !html.contains("<STYLE") {
        return Ok(html.to_owned());
    }
    let (text, aside) = set_aside(html);
    if aside.has_loose {
        return Err("a placeholder stands inside a tag but outside of an attribute's value; put it into a value, or write the styles into the elements".to_owned());
    }
    let inliner = css_inline::CSSInliner::options()
        .load_remote_stylesheets(false)
        .keep_link_tags(true)
        .keep_at_rules(true)
        .build();
    let inlined = inliner.inline(&text).map_err(|error| format!("the style sheet cannot be read: {error}"))?;
    Ok(aside.restore(&inlined))
}

/// The text part of an HTML body.
pub(super) fn text(html: &str) -> Option<String> {
    let (text, aside) = set_aside(html);
    let words = without_tables(&aside.as_words(&text));
    let made = html2text::config::plain()
        .allow_width_overflow()
        .no_link_wrapping()
        .link_footnotes(true)
        .string_from_read(words.as_bytes(), TEXT_WIDTH)
        .ok()?;
    let made = aside.restore_words(&made);
    let mut lines = String::with_capacity(made.len());
    let mut is_empty = true;
    for line in made.lines().map(str::trim_end) {
        // Tables that only place things leave many empty lines behind.
        if !(line.is_empty() && is_empty) {
            lines.push_str(line);
            lines.push('\n');
        }
        is_empty = line.is_empty();
    }
    let lines = lines.trim_end().to_owned();
    (!lines.is_empty()).then_some(lines)
}

/// Tables as blocks: in mails they place things more often than they hold data, and a parser moves what stands between their rows.
fn without_tables(html: &str) -> String {
    let mut made = String::with_capacity(html.len());
    let mut rest = html;
    while let Some(at) = rest.find('<') {
        made.push_str(&rest[..at]);
        let tag = &rest[at..];
        let slash = usize::from(tag[1..].starts_with('/'));
        let name = &tag[1 + slash..];
        let length = name.bytes().take_while(u8::is_ascii_alphanumeric).count();
        let end = tag.find('>').map_or(tag.len(), |end| end + 1);
        match name[..length].to_ascii_lowercase().as_str() {
            "table" | "tbody" | "thead" | "tfoot" | "tr" => made.push_str(if slash == 1 { "</div>" } else { "<div>" }),
            "td" | "th" if slash == 1 => made.push_str("</span> "),
            "td" | "th" => made.push_str("<span>"),
            "col" | "colgroup" => {}
            _ => made.push_str(&tag[..end]),
        }
        rest = &tag[end..];
    }
    made.push_str(rest);
    made
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEWS: &str = r#"<mjml>
  <mj-head><mj-style>.big { font-size: 30px }</mj-style></mj-head>
  <mj-body>
    {% if vip %}
    <mj-section><mj-column><mj-text css-class="big">Dear {{ name|default("you") }}</mj-text></mj-column></mj-section>
    {% endif %}
    <mj-section>
      <mj-column>
        {% for item in items %}<mj-text>{{ item.title }}</mj-text>{% endfor %}
        <mj-button href="{{ url }}">Open</mj-button>
        <mj-table>{% for item in items %}<tr><td>{{ item.title }}</td></tr>{% endfor %}</mj-table>
      </mj-column>
    </mj-section>
  </mj-body>
</mjml>"#;

    #[test]
    fn placeholders_survive_mjml_and_inlining() {
        let html = mjml(NEWS).map_err(|fault| fault.detail).unwrap();
        let html = inline_css(&html).unwrap();
        for piece in [
            r#"{{ name|default("you") }}"#,
            r#"href="{{ url }}""#,
            "{% if vip %}",
            "{% endif %}",
            "{{ item.title }}</td></tr>{% endfor %}",
        ] {
            assert!(html.contains(piece), "{piece} is not in {html}");
        }
        assert_eq!(html.matches("{% for item in items %}").count(), 2, "{html}");
        let (start, end) = (html.find("{% if vip %}").unwrap(), html.find("{% endif %}").unwrap());
        assert!(html[start..end].contains("Dear"), "{html}");
        assert!(!html.contains("tdph"), "{html}");
    }

    #[test]
    fn a_text_is_made_with_its_statements() {
        let html = mjml(NEWS).map_err(|fault| fault.detail).unwrap();
        let text = text(&html).unwrap();
        for piece in ["{% if vip %}", r#"Dear {{ name|default("you") }}"#, "{% for item in items %}", "{{ url }}"] {
            assert!(text.contains(piece), "{piece} is not in {text}");
        }
        assert!(!text.contains("tdph") && !text.contains('<'), "{text}");
    }

    #[test]
    fn mistakes_in_mjml_have_a_line() {
        let check = |source: &str, line: Option<usize>| {
            let fault = mjml(source).err().unwrap();
            assert_eq!(fault.line, line, "{}", fault.detail);
        };
        check("<mjml>\n<mj-body>\n<mj-section>\n<mj-nothing></mj-nothing></mj-section></mj-body></mjml>", Some(4));
        check("<mjml>\n{{\n a }}<mj-boddy></mj-boddy></mjml>", Some(3));
    }

    #[test]
    fn styles_move_into_elements() {
        let html = "<html><head><style>p { color: red } @media (max-width: 9px) { p { color: blue } }</style></head><body>{% if a %}<p>x</p>{% endif %}</body></html>";
        let inlined = inline_css(html).unwrap();
        assert!(inlined.contains("<p style=\"color: red;\">x</p>{% endif %}"), "{inlined}");
        assert!(inlined.contains("@media"), "{inlined}");
        assert!(inline_css("<style>p{}</style><p {% if a %}class=\"b\"{% endif %}>x</p>").is_err());
    }
}
