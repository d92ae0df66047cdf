//! Languages: how they are written, and which variant somebody gets.

/// Longest tag; BCP 47 asks for room for 35 characters.
const LOCALE_MAX: usize = 35;

/// A language tag in its usual spelling (`de-CH`, `zh-Hant-TW`); `None` when it is none.
pub fn parse(text: &str) -> Option<String> {
    let parts: Vec<&str> = text.split(['-', '_']).collect();
    let is_plain = |part: &&str| (2..=8).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_alphanumeric());
    let language =
        parts.first().filter(|part| matches!(part.len(), 2 | 3) && part.bytes().all(|b| b.is_ascii_alphabetic()))?;
    if text.len() > LOCALE_MAX || !parts.iter().all(is_plain) {
        return None;
    }
    let mut tag = language.to_ascii_lowercase();
    for part in &parts[1..] {
        tag.push('-');
        let lower = part.to_ascii_lowercase();
        match part.len() {
            2 => tag.push_str(&part.to_ascii_uppercase()),
            4 if part.bytes().all(|b| b.is_ascii_alphabetic()) => {
                tag.push_str(&lower[..1].to_ascii_uppercase());
                tag.push_str(&lower[1..]);
            }
            _ => tag.push_str(&lower),
        }
    }
    Some(tag)
}

/// The variant for somebody who would like one of `wanted`, best first: each as it is, then with less and less behind the language. `last` when there is none.
pub fn choose<'a>(has: impl Fn(&str) -> bool, wanted: impl IntoIterator<Item = Option<&'a str>>, last: &str) -> String {
    for wish in wanted.into_iter().flatten().filter_map(parse) {
        let mut tag = wish.as_str();
        loop {
            if has(tag) {
                return tag.to_owned();
            }
            let Some((shorter, _)) = tag.rsplit_once('-') else { break };
            tag = shorter;
        }
    }
    last.to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn tags_have_one_spelling() {
        let check = |text: &str, expected: Option<&str>| assert_eq!(parse(text).as_deref(), expected, "{text}");
        check("en", Some("en"));
        check("DE_ch", Some("de-CH"));
        check("zh-hant-tw", Some("zh-Hant-TW"));
        check("es-419", Some("es-419"));
        for bad in ["", "e", "english", "en-", "-en", "en--US", "en-a", "e1", "en US", "en/../x"] {
            check(bad, None);
        }
    }

    #[test]
    fn the_nearest_language_is_taken() {
        let check = |wanted: &[Option<&str>], expected: &str| {
            let has = |tag: &str| ["en", "de", "de-CH", "fr"].contains(&tag);
            assert_eq!(choose(has, wanted.iter().copied(), "en"), expected, "{wanted:?}");
        };
        check(&[Some("de-CH"), Some("fr")], "de-CH");
        check(&[Some("de_at"), Some("fr")], "de");
        check(&[Some("it"), Some("fr-CA")], "fr");
        check(&[None, None, Some("de")], "de");
        check(&[Some("it"), None], "en");
        check(&[Some("nonsense!"), Some("fr")], "fr");
        check(&[], "en");
    }

    proptest! {
        #[test]
        fn some_variant_is_always_found(wanted in proptest::collection::vec(proptest::option::of("[a-zA-Z_-]{0,10}"), 0..4)) {
            let available = ["en", "pt-BR", "pt"];
            let chosen = choose(|tag| available.contains(&tag), wanted.iter().map(Option::as_deref), "en");
            prop_assert!(available.contains(&chosen.as_str()));
        }

        #[test]
        fn a_tag_stays_what_it_is(text in "[a-zA-Z]{2,3}([-_][a-zA-Z0-9]{2,8}){0,3}") {
            if let Some(tag) = parse(&text) {
                let again = parse(&tag);
                prop_assert_eq!(again.as_deref(), Some(tag.as_str()));
            }
        }
    }
}
