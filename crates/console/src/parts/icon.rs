//! Pictures: strokes on a grid of 24, drawn in the colour of the text beside them.

use maud::{Markup, PreEscaped, html};

/// A picture that says nothing the words beside it do not say.
pub(crate) fn icon(name: &str) -> Markup {
    html! { svg.icon viewBox="0 0 24 24" aria-hidden="true" { (shape(name)) } }
}

/// The strokes alone.
pub(crate) fn shape(name: &str) -> PreEscaped<&'static str> {
    PreEscaped(match name {
        "home" => r#"<path d="M4 11.5 12 4l8 7.5V20h-5.5v-5.5h-5V20H4z"/>"#,
        "list" => r#"<path d="M8.5 6.5H20M8.5 12H20M8.5 17.5H20"/><path d="M4 6.5h.5M4 12h.5M4 17.5h.5"/>"#,
        "pen" => r#"<path d="m5 19 1-4.5L16.5 4 20 7.5 9.5 18z"/><path d="m14 6.5 3.5 3.5"/>"#,
        "mail" => r#"<rect x="3.5" y="5.5" width="17" height="13" rx="2"/><path d="m4 7.5 8 6 8-6"/>"#,
        "sms" => r#"<path d="M4 5.5h16v11h-9l-4.5 3.5v-3.5H4z"/><path d="M8.5 11h.5M12 11h.5M15.5 11h.5"/>"#,
        "chat" => r#"<path d="M12 4.5a7.7 7.7 0 1 1-3.9 14.3L4.5 20l1-3.8A7.7 7.7 0 0 1 12 4.5z"/>"#,
        "send" => r#"<path d="M20.5 4 3.5 10.8l6.2 2.5L12.5 20z"/><path d="M20.5 4 9.7 13.3"/>"#,
        "phone" => r#"<path d="M7 4H4.5A15.5 15.5 0 0 0 20 19.5V17l-4-1.8-2 2A12.5 12.5 0 0 1 6.8 10l2-2z"/>"#,
        "webhook" => {
            r#"<circle cx="12" cy="6.5" r="2.5"/><circle cx="6" cy="17" r="2.5"/><circle cx="18" cy="17" r="2.5"/><path d="M10.8 8.7 7.3 14.8M13.2 8.7l3.5 6.1M8.5 17h7"/>"#
        }
        "plug" => r#"<path d="M9 3.5v4M15 3.5v4M6.5 7.5h11v4a5.5 5.5 0 0 1-11 0zM12 17v3.5"/>"#,
        "people" => {
            r#"<circle cx="9" cy="8.5" r="3.5"/><path d="M2.5 19.5c.6-3.4 3.2-5 6.5-5s5.900 1.600 6.500 5"/><path d="M16 5.300a3.500 3.500 0 0 1 0 6.400M18 14.800c1.900.700 3.100 2.200 3.500 4.700"/>"#
        }
        "person" => r#"<circle cx="12" cy="8" r="3.800"/><path d="M4.500 20c.7-4 3.700-6 7.500-6s6.800 2 7.500 6"/>"#,
        "file" => r#"<path d="M6 3.5h8L18.500 8v12.500H6z"/><path d="M13.500 3.500V8.500H18.500M9 13h6M9 16.500h4"/>"#,
        "megaphone" => {
            r#"<path d="M4 10v4.500h3.500L16 19V5.500L7.500 10z"/><path d="M19 9.500c1 1.500 1 4 0 5.500M8 14.500 9.500 20"/>"#
        }
        "chart" => r#"<path d="M4 4v16h16"/><path d="M8.500 16v-4M13 16V8M17.500 16v-6"/>"#,
        "gear" => {
            r#"<circle cx="12" cy="12" r="3"/><path d="M12 3.500v3M12 17.500v3M3.500 12h3M17.500 12h3M6 6l2.100 2.100M15.900 15.900 18 18M18 6l-2.100 2.100M8.100 15.900 6 18"/>"#
        }
        "key" => {
            r#"<circle cx="8" cy="15.500" r="4"/><path d="m11 12.500 8.500-8.500M16 7.500l2.500 2.500M13.500 10l1.500 1.500"/>"#
        }
        "shield" => {
            r#"<path d="M12 3.500 19 6v5.500c0 4.500-3 7.500-7 9-4-1.500-7-4.500-7-9V6z"/><path d="m9 11.800 2.200 2.200 4-4.200"/>"#
        }
        "log" => r#"<path d="M5 4h14v16H5z"/><path d="M8.500 8.500h7M8.500 12h7M8.500 15.500h4"/>"#,
        "inbox" => {
            r#"<path d="M4 13.500 6.500 5h11L20 13.500V19H4z"/><path d="M4 13.500h4.500l1.500 2.500h4l1.500-2.500H20"/>"#
        }
        "building" => r#"<path d="M5 20.500v-17h9v17M14 9h5.500v11.500M3 20.500h18.500M8 7.500h3M8 11h3M8 14.500h3"/>"#,
        "pulse" => r#"<path d="M3 12.500h4L9.500 6l4.500 12.500 2.500-6H21"/>"#,
        "dead" => {
            r#"<rect x="3.500" y="5.500" width="17" height="13" rx="2"/><path d="m9.500 9.500 5 5M14.500 9.500l-5 5"/>"#
        }
        "server" => {
            r#"<rect x="4" y="4.500" width="16" height="6" rx="1.500"/><rect x="4" y="13.500" width="16" height="6" rx="1.500"/><path d="M7.500 7.500H8M7.500 16.500H8"/>"#
        }
        "search" => r#"<circle cx="11" cy="11" r="6"/><path d="m15.500 15.500 4.500 4.500"/>"#,
        "copy" => {
            r#"<rect x="8.500" y="8.500" width="11" height="11" rx="2"/><path d="M15.500 8.500v-3a1 1 0 0 0-1-1h-9a1 1 0 0 0-1 1v9a1 1 0 0 0 1 1h3"/>"#
        }
        "check" => r#"<path d="m5 12.500 4.500 4.500L19 7.500"/>"#,
        "close" => r#"<path d="m6 6 12 12M18 6 6 18"/>"#,
        "alert" => r#"<path d="M12 4 21 19.500H3z"/><path d="M12 10v4.500M12 17v.1"/>"#,
        "info" => r#"<circle cx="12" cy="12" r="8.500"/><path d="M12 11v5M12 8v.1"/>"#,
        "plus" => r#"<path d="M12 5v14M5 12h14"/>"#,
        "clock" => r#"<circle cx="12" cy="12" r="8.500"/><path d="M12 7v5.500l3.500 2"/>"#,
        "route" => {
            r#"<circle cx="6" cy="18" r="2.500"/><circle cx="18" cy="6" r="2.500"/><path d="M8.500 18H15a3 3 0 0 0 0-6H9a3 3 0 0 1 0-6h6.500"/>"#
        }
        "eye" => {
            r#"<path d="M3 12c2-4 5.200-6 9-6s7 2 9 6c-2 4-5.200 6-9 6s-7-2-9-6z"/><circle cx="12" cy="12" r="2.800"/>"#
        }
        "retry" => r#"<path d="M19 12a7 7 0 1 1-2.200-5.100L19.500 9"/><path d="M19.500 4.500V9H15"/>"#,
        "down" => r#"<path d="m7 10 5 5 5-5"/>"#,
        "up" => r#"<path d="m7 14 5-5 5 5"/>"#,
        "menu" => r#"<path d="M4 7h16M4 12h16M4 17h16"/>"#,
        "sun" => {
            r#"<circle cx="12" cy="12" r="4"/><path d="M12 3v2M12 19v2M3 12h2M19 12h2M5.600 5.600 7 7M17 17l1.400 1.400M18.400 5.600 17 7M7 17l-1.400 1.400"/>"#
        }
        "moon" => r#"<path d="M19.500 14.500A8 8 0 0 1 9.500 4.500a8 8 0 1 0 10 10z"/>"#,
        "screen" => r#"<rect x="3.500" y="4.500" width="17" height="11.500" rx="2"/><path d="M9 20h6M12 16v4"/>"#,
        "exit" => r#"<path d="M10 4H5v16h5M14.500 8l4 4-4 4M18.500 12H9.500"/>"#,
        "trash" => r#"<path d="M5 7h14M10 7V4.500h4V7M7 7l.8 12.500h8.400L17 7"/>"#,
        "beaker" => {
            r#"<path d="M9.500 3.500h5M10.500 3.500v6L5 18.500c-.6 1 0 2 1.200 2h11.600c1.200 0 1.800-1 1.200-2l-5.500-9v-6M7.500 15h9"/>"#
        }
        "card" => r#"<rect x="3.500" y="5.500" width="17" height="13" rx="2"/><path d="M3.500 10h17M7 14.500h3"/>"#,
        "external" => r#"<path d="M10 5H5v14h14v-5M14 4.500h5.500V10M19 5l-8 8"/>"#,
        "upload" => r#"<path d="M12 15.500V4.500M7.500 9 12 4.500 16.500 9M4.500 15.500v4h15v-4"/>"#,
        _ => r#"<circle cx="12" cy="12" r="2"/>"#,
    })
}
