//! What holds for every text: nothing a person writes becomes a header, lines keep the standard's limits, domains leave in ASCII, and parts of an SMS add up.

use mail_parser::MessageParser;
use model::{Channel, Content, EmailAddress, EmailContent, Encoding, Mailbox, Timestamp, Values, segments};
use proptest::prelude::*;
use tidings_connectors::{
    mime::{Mail, build},
    registry,
};

use crate::play::{MESSAGE, NONCE, NOW};

/// Headers a mail of these tests has; nobody can add another.
const HEADERS: &[&str] = &[
    "from",
    "to",
    "subject",
    "date",
    "message-id",
    "mime-version",
    "content-type",
    "content-transfer-encoding",
    "x-note",
];

/// Texts with what is dangerous in them more often than people write it.
fn text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => "\\PC{0,40}",
        1 => Just("\r\nBcc: eve@evil.example\r\n".to_owned()),
        1 => "[\r\n\t\u{0}\"<>,;:=?]{1,4}",
        1 => "[a-z]{900,1100}",
        1 => "[äöü日本🎫]{1,200}",
    ];
    prop::collection::vec(piece, 0..4).prop_map(|pieces| pieces.concat())
}

proptest! {
    // Most texts with line breaks in them are refused, as they should be, and do not count.
    #![proptest_config(ProptestConfig { cases: 128, max_global_rejects: 50_000, ..ProptestConfig::default() })]

    /// A mail that is not refused has only the headers we wrote, whatever stands in its subject, its sender's name, a header of the tenant's and its text.
    #[test]
    fn no_text_becomes_a_header_or_too_long_a_line(subject in text(), name in text(), note in text(), body in text()) {
        let content = EmailContent {
            subject,
            text: Some(body),
            headers: [("X-Note".into(), note)].into(),
            ..EmailContent::default()
        };
        let smtp = registry::find("smtp").unwrap();
        let carried = Content::Email(content.clone());
        prop_assume!(smtp.can_carry(&Values::default(), &carried).is_ok());
        let from = Mailbox { name: Some(name), address: "a@acme.example".parse().unwrap() };
        // Written the way a tenant writes a sender, it is checked before it is used.
        prop_assume!(smtp.check_from(&from.to_string(), Channel::Email).is_ok());
        let from: Mailbox = from.to_string().parse().unwrap();
        let (to, at): (EmailAddress, Timestamp) = ("ada@example.com".parse().unwrap(), NOW.parse().unwrap());
        let mail = Mail { from: &from, to: &to, message_id: MESSAGE, at, content: &content, files: &[], nonce: NONCE };
        let bytes = build(&mail).unwrap();
        let written = String::from_utf8(bytes.clone()).unwrap();
        prop_assert!(written.split("\r\n").all(|line| line.len() <= 998 && !line.contains(['\r', '\n'])));
        let parsed = MessageParser::default().parse(&bytes).unwrap();
        let names: Vec<String> = parsed.headers().iter().map(|header| header.name().to_ascii_lowercase()).collect();
        prop_assert!(names.iter().all(|name| HEADERS.contains(&name.as_str())), "{names:?}");
        prop_assert_eq!(parsed.from().unwrap().first().unwrap().address(), Some("a@acme.example"));
        prop_assert_eq!(parsed.to().unwrap().first().unwrap().address(), Some("ada@example.com"));
    }

    /// Letters beyond ASCII in a domain leave in their `xn--` form.
    #[test]
    fn domains_leave_in_ascii(label in "[a-zäöüßéñ日本]{1,12}") {
        if let Ok(address) = format!("ada@{label}.example").parse::<EmailAddress>() {
            prop_assert!(address.domain().is_ascii(), "{}", address.domain());
            prop_assert_eq!(address.domain().contains("xn--"), !label.is_ascii());
        }
    }

    /// Parts of an SMS: GSM-7 as long as every character is in its alphabet, and never more room than a part has, nor less than one unit lost at each seam.
    #[test]
    fn parts_of_a_text_add_up(text in "[a-zA-Z0-9€äßΔ\\[\\]{}~ я🎫\\n]{0,400}") {
        let found = segments(&text);
        let (single, part) = match found.encoding {
            Encoding::Gsm7 => (160, 153),
            Encoding::Ucs2 => (70, 67),
        };
        let beyond = text.contains(['я', '🎫']);
        prop_assert_eq!(matches!(found.encoding, Encoding::Ucs2), beyond);
        if beyond {
            prop_assert_eq!(found.units as usize, text.encode_utf16().count());
        }
        prop_assert_eq!(found.count == 1, found.units <= single);
        if found.count > 1 {
            prop_assert!(found.units <= found.count * part);
            prop_assert!(found.units > (found.count - 1) * (part - 1));
        }
    }
}
