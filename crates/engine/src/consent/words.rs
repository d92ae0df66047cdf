//! STOP, START and HELP in what people write: pure.
//!
//! A message that is nothing but one of these words, in whatever case and with whatever marks around it, acts. A sentence that asks for the same is not acted on by a machine but is
//! not lost either: it is told to the tenant as `consent.review_needed`, for a person to read.

use connectors::Keyword;

/// Languages we answer in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// English.
    En,
    /// German.
    De,
    /// French.
    Fr,
    /// Spanish.
    Es,
    /// Hindi.
    Hi,
}

impl Language {
    /// The language of a tag such as `de-AT`; English for everything we have no words in.
    pub fn of(tag: Option<&str>) -> Self {
        match tag.unwrap_or_default().split(['-', '_']).next().unwrap_or_default().to_ascii_lowercase().as_str() {
            "de" => Self::De,
            "fr" => Self::Fr,
            "es" => Self::Es,
            "hi" => Self::Hi,
            _ => Self::En,
        }
    }

    /// Its tag.
    pub const fn tag(self) -> &'static str {
        match self {
            Self::En => "en",
            Self::De => "de",
            Self::Fr => "fr",
            Self::Es => "es",
            Self::Hi => "hi",
        }
    }
}

/// What somebody wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// They wrote a word that acts, in this language.
    Word(Keyword, Language),
    /// They seem to ask for no more, in their own words.
    PerhapsStop,
}

use Keyword::{Help, Start, Stop};
use Language::{De, En, Es, Fr, Hi};

/// Words in capitals, without marks. The English ones are those of the FCC's rule (47 CFR 64.1200(a)(10)) and of the carriers.
const WORDS: &[(&str, Keyword, Language)] = &[
    ("STOP", Stop, En),
    ("STOPALL", Stop, En),
    ("STOP ALL", Stop, En),
    ("UNSUBSCRIBE", Stop, En),
    ("CANCEL", Stop, En),
    ("END", Stop, En),
    ("QUIT", Stop, En),
    ("REVOKE", Stop, En),
    ("OPTOUT", Stop, En),
    ("OPT OUT", Stop, En),
    ("OPT-OUT", Stop, En),
    ("ARRET", Stop, Fr),
    ("ARRÊT", Stop, Fr),
    ("DESABONNER", Stop, Fr),
    ("DÉSABONNER", Stop, Fr),
    ("STOPPER", Stop, Fr),
    ("ALTO", Stop, Es),
    ("PARAR", Stop, Es),
    ("BAJA", Stop, Es),
    ("CANCELAR", Stop, Es),
    ("DETENER", Stop, Es),
    ("SAIR", Stop, Es),
    ("STOPP", Stop, De),
    ("ABMELDEN", Stop, De),
    ("ABBESTELLEN", Stop, De),
    ("ABMELDUNG", Stop, De),
    ("बंद", Stop, Hi),
    ("बंद करें", Stop, Hi),
    ("बंद करो", Stop, Hi),
    ("रोकें", Stop, Hi),
    ("रोको", Stop, Hi),
    ("AFMELDEN", Stop, En),
    ("ANNULLA", Stop, En),
    ("CANCELLA", Stop, En),
    ("START", Start, En),
    ("YES", Start, En),
    ("UNSTOP", Start, En),
    ("REPRENDRE", Start, Fr),
    ("INICIAR", Start, Es),
    ("ALTA", Start, Es),
    ("STARTEN", Start, De),
    ("ANMELDEN", Start, De),
    ("शुरू", Start, Hi),
    ("शुरू करें", Start, Hi),
    ("HELP", Help, En),
    ("INFO", Help, En),
    ("AIDE", Help, Fr),
    ("AYUDA", Help, Es),
    ("AJUDA", Help, Es),
    ("HILFE", Help, De),
    ("मदद", Help, Hi),
    ("सहायता", Help, Hi),
    ("AIUTO", Help, En),
];

/// Pieces of sentences that ask for no more, in capitals.
const PLEAS: &[&str] = &[
    "STOP TEXT",
    "STOP MESSAG",
    "STOP SEND",
    "STOP CALL",
    "STOP CONTACT",
    "STOP WRIT",
    "STOP BOTHER",
    "UNSUBSCRIBE",
    "REMOVE ME",
    "REMOVE MY NUMBER",
    "TAKE ME OFF",
    "OPT OUT",
    "OPT ME OUT",
    "DON'T TEXT",
    "DONT TEXT",
    "DO NOT TEXT",
    "DON'T CONTACT",
    "DONT CONTACT",
    "DO NOT CONTACT",
    "DON'T MESSAGE",
    "DO NOT MESSAGE",
    "LEAVE ME ALONE",
    "NO MORE MESSAGES",
    "NO MORE TEXTS",
    "NOT INTERESTED",
    "DELETE MY NUMBER",
    "KEINE NACHRICHTEN",
    "NICHT MEHR SCHREIBEN",
    "LÖSCHEN SIE MEINE",
    "NEHMEN SIE MICH",
    "NE PLUS RECEVOIR",
    "ARRÊTEZ",
    "ARRETEZ",
    "DÉSABONNE",
    "DESABONNE",
    "RETIREZ-MOI",
    "NO QUIERO RECIBIR",
    "NO ME ESCRIB",
    "NO ME ENVÍ",
    "NO ME ENVI",
    "BÓRRENME",
    "DEJEN DE",
    "DEJA DE",
    "मत भेज",
    "बंद कर",
    "नहीं चाहिए",
];

/// Longest text that is looked at for a plea, in characters: beyond it somebody tells a story.
const PLEA_MAX: usize = 400;

/// What a text wants. `provider` is what the provider recognised in it.
pub fn wish(text: &str, provider: Option<Keyword>) -> Option<Wish> {
    let plain = plain(text);
    let word = WORDS.iter().find(|(word, _, _)| *word == plain);
    if let Some(keyword) = provider {
        return Some(Wish::Word(keyword, word.map_or(En, |(_, _, language)| *language)));
    }
    if let Some((_, keyword, language)) = word {
        return Some(Wish::Word(*keyword, *language));
    }
    let is_plea = plain.chars().count() <= PLEA_MAX && PLEAS.iter().any(|plea| plain.contains(plea));
    is_plea.then_some(Wish::PerhapsStop)
}

/// In capitals, with one space between words, without marks at the ends and invisible characters anywhere.
fn plain(text: &str) -> String {
    let is_invisible = |c: char| matches!(c, '\u{200b}'..='\u{200f}' | '\u{feff}' | '\u{2060}' | '\u{ad}');
    let text: String =
        text.chars().filter(|c| !is_invisible(*c)).collect::<String>().replace('\u{2019}', "'").to_uppercase();
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    // Signs of Indic scripts are no letters but belong to their words.
    let is_mark = |c: char| !c.is_alphanumeric() && !('\u{900}'..='\u{97f}').contains(&c);
    words.trim_matches(is_mark).to_owned()
}

/// What we answer, once, to somebody who wrote a word that acts.
pub fn answer(keyword: Keyword, language: Language, tenant: &str) -> String {
    match (keyword, language) {
        (Stop, En) => {
            format!("{tenant}: You are unsubscribed and will get no more messages. Reply START to get them again.")
        }
        (Stop, De) => format!(
            "{tenant}: Sie sind abgemeldet und erhalten keine Nachrichten mehr. Mit START melden Sie sich wieder an."
        ),
        (Stop, Fr) => format!(
            "{tenant} : vous êtes désabonné et ne recevrez plus de messages. Répondez START pour les recevoir à nouveau."
        ),
        (Stop, Es) => {
            format!("{tenant}: se ha dado de baja y no recibirá más mensajes. Responda START para volver a recibirlos.")
        }
        (Stop, Hi) => {
            format!("{tenant}: आपकी सदस्यता समाप्त कर दी गई है, अब कोई संदेश नहीं आएगा। फिर से पाने के लिए START लिखें।")
        }
        (Start, En) => format!("{tenant}: You are subscribed again. Reply STOP to end, HELP for help."),
        (Start, De) => {
            format!("{tenant}: Sie sind wieder angemeldet. Mit STOP melden Sie sich ab, mit HILFE erhalten Sie Hilfe.")
        }
        (Start, Fr) => {
            format!("{tenant} : vous êtes de nouveau abonné. Répondez STOP pour arrêter, AIDE pour de l'aide.")
        }
        (Start, Es) => {
            format!("{tenant}: vuelve a estar suscrito. Responda STOP para darse de baja, AYUDA para obtener ayuda.")
        }
        (Start, Hi) => format!("{tenant}: आपकी सदस्यता फिर से शुरू हो गई है। रोकने के लिए STOP, मदद के लिए HELP लिखें।"),
        (Help, En) => format!("{tenant}: Reply STOP to get no more messages. Msg & data rates may apply."),
        (Help, De) => format!("{tenant}: Mit STOP erhalten Sie keine Nachrichten mehr."),
        (Help, Fr) => format!("{tenant} : répondez STOP pour ne plus recevoir de messages."),
        (Help, Es) => format!("{tenant}: responda STOP para no recibir más mensajes."),
        (Help, Hi) => format!("{tenant}: और संदेश न पाने के लिए STOP लिखें।"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_alone_acts_in_any_dress() {
        for (text, keyword, language) in [
            ("STOP", Stop, En),
            ("stop", Stop, En),
            ("  Stop. ", Stop, En),
            ("\"STOP\"!", Stop, En),
            ("/stop", Stop, En),
            ("sto\u{200b}p", Stop, En),
            ("opt-out", Stop, En),
            ("Opt  out", Stop, En),
            ("Quit", Stop, En),
            ("revoke", Stop, En),
            ("arrêt", Stop, Fr),
            ("Parar", Stop, Es),
            ("abmelden", Stop, De),
            ("बंद करें", Stop, Hi),
            ("Start", Start, En),
            ("/start", Start, En),
            ("yes!", Start, En),
            ("HELP?", Help, En),
            ("hilfe", Help, De),
            ("मदद", Help, Hi),
        ] {
            assert_eq!(wish(text, None), Some(Wish::Word(keyword, language)), "{text}");
        }
    }

    #[test]
    fn a_sentence_is_for_a_person_to_read() {
        for text in [
            "please stop texting me",
            "Don\u{2019}t text me again!",
            "Remove me from this list",
            "bitte keine Nachrichten mehr",
            "je veux ne plus recevoir ces SMS",
        ] {
            assert_eq!(wish(text, None), Some(Wish::PerhapsStop), "{text}");
        }
        for text in [
            "Where is my ticket?",
            "The bus stop is closed",
            "I will start on Monday",
            "",
            "1",
            "ok stop by later",
            "Can you help me with my order?",
        ] {
            assert_eq!(wish(text, None), None, "{text}");
        }
        assert_eq!(wish(&format!("stop texting me {}", "x".repeat(500)), None), None);
    }

    #[test]
    fn what_the_provider_recognised_counts() {
        assert_eq!(wish("please end this", Some(Stop)), Some(Wish::Word(Stop, En)));
        assert_eq!(wish("ARRET", Some(Stop)), Some(Wish::Word(Stop, Fr)));
    }

    #[test]
    fn every_answer_names_the_sender_and_a_way_on() {
        for language in [En, De, Fr, Es, Hi] {
            for (keyword, way) in [(Stop, "START"), (Start, "STOP"), (Help, "STOP")] {
                let text = answer(keyword, language, "Acme");
                assert!(text.starts_with("Acme") && text.contains(way), "{text}");
            }
        }
        assert_eq!((Language::of(Some("de-AT")), Language::of(Some("pt")), Language::of(None)), (De, En, En));
    }
}
