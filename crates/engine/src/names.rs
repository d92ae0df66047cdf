//! Rules for small texts that several nouns share: names, time zones, currencies, countries.

use crate::FieldError;

/// Longest name, in characters: a line on a screen.
pub const NAME_MAX: usize = 200;

/// Active currency codes of ISO 4217 (amendment 180, 2025), without funds and metals.
const CURRENCIES: &str = "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF CLP CNY COP CRC CUP CVE CZK DJF \
    DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ GYD HKD HNL HTG HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT \
    LAK LBP LKR LRD LSL LYD MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR RON RSD RUB RWF \
    SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND TOP TRY TTD TWD TZS UAH UGX USD UYU UZS VED VES VND VUV WST XAF XCD XCG XOF XPF \
    YER ZAR ZMW ZWG";

/// Country codes of ISO 3166-1 alpha-2.
const COUNTRIES: &str = "AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BV BW BY BZ CA CC CD CF CG CH CI CK CL CM CN \
    CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK FM FO FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU \
    ID IE IL IM IN IO IQ IR IS IT JE JM JO JP KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO MP MQ MR MS \
    MT MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW PY QA RE RO RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM \
    SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK TL TM TN TO TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS YE YT ZA ZM ZW";

/// Collects what is wrong with a request's fields.
#[derive(Debug, Default)]
pub struct Faults(pub Vec<FieldError>);

impl Faults {
    /// Notes one.
    pub fn add(&mut self, pointer: impl Into<String>, detail: impl Into<String>) {
        self.0.push(FieldError::new(pointer, detail));
    }

    /// Ends the check: an error when something was noted.
    pub fn end(self) -> Result<(), crate::Error> {
        if self.0.is_empty() { Ok(()) } else { Err(crate::Error::invalid_fields(self.0)) }
    }

    /// A name for people, without surrounding spaces.
    pub fn name(&mut self, pointer: &str, text: &str) -> String {
        let name = text.trim();
        if name.is_empty() {
            self.add(pointer, "a name is needed, so that people can tell this one from others");
        } else if name.chars().count() > NAME_MAX {
            self.add(pointer, format!("a name has at most {NAME_MAX} characters"));
        } else if name.chars().any(char::is_control) {
            self.add(pointer, "a name has no line breaks or control characters");
        }
        name.to_owned()
    }

    /// An IANA time zone, in its own spelling.
    pub fn timezone(&mut self, pointer: &str, text: &str) -> String {
        match jiff::tz::TimeZone::get(text) {
            Ok(zone) if zone.iana_name().is_some() => zone.iana_name().unwrap_or(text).to_owned(),
            _ => {
                self.add(pointer, "not an IANA time zone; write one such as Europe/Berlin, America/New_York or UTC");
                text.to_owned()
            }
        }
    }

    /// An ISO 4217 currency.
    pub fn currency(&mut self, pointer: &str, text: &str) -> String {
        if !is_listed(CURRENCIES, text, 3) {
            self.add(pointer, "not an ISO 4217 currency; write three capital letters such as EUR or USD");
        }
        text.to_owned()
    }

    /// An ISO 3166-1 country.
    pub fn country(&mut self, pointer: &str, text: &str) -> String {
        if !is_listed(COUNTRIES, text, 2) {
            self.add(pointer, "not an ISO 3166-1 country; write two capital letters such as DE or US");
        }
        text.to_owned()
    }

    /// A number within bounds.
    pub fn number(&mut self, pointer: &str, number: u32, most: u32) -> u32 {
        if !(1..=most).contains(&number) {
            self.add(
                pointer,
                format!("a number from 1 to {most}; leave the field out or send null for no limit of its own"),
            );
        }
        number
    }
}

fn is_listed(list: &str, code: &str, length: usize) -> bool {
    code.len() == length && list.split_whitespace().any(|known| known == code)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<T: PartialEq + std::fmt::Debug>(rule: impl Fn(&mut Faults) -> T, expected: Result<T, &str>) {
        let mut faults = Faults::default();
        let value = rule(&mut faults);
        match expected {
            Ok(expected) => assert_eq!((value, faults.0), (expected, Vec::new())),
            Err(part) => assert!(faults.0.iter().any(|fault| fault.detail.contains(part)), "{faults:?}"),
        }
    }

    #[test]
    fn names_are_one_line() {
        check(|f| f.name("/name", " Acme Tickets "), Ok("Acme Tickets".to_owned()));
        check(|f| f.name("/name", &"ü".repeat(200)), Ok("ü".repeat(200)));
        check(|f| f.name("/name", &"x".repeat(201)), Err("at most 200"));
        check(|f| f.name("/name", "  "), Err("is needed"));
        check(|f| f.name("/name", "a\nb"), Err("line breaks"));
    }

    #[test]
    fn zones_currencies_and_countries_are_those_of_the_standards() {
        check(|f| f.timezone("/timezone", "Europe/Berlin"), Ok("Europe/Berlin".to_owned()));
        check(|f| f.timezone("/timezone", "UTC"), Ok("UTC".to_owned()));
        for bad in ["Berlin", "CEST", "+01:00", "", "../../etc/passwd", "Etc/Unknown\n"] {
            check(|f| f.timezone("/timezone", bad), Err("IANA"));
        }
        check(|f| f.currency("/currency", "EUR"), Ok("EUR".to_owned()));
        for bad in ["eur", "XXX", "EURO", "", " "] {
            check(|f| f.currency("/currency", bad), Err("4217"));
        }
        check(|f| f.country("/default_country", "DE"), Ok("DE".to_owned()));
        for bad in ["de", "UK", "EU", "DEU", ""] {
            check(|f| f.country("/default_country", bad), Err("3166"));
        }
        assert_eq!(COUNTRIES.split_whitespace().count(), 249);
    }
}
