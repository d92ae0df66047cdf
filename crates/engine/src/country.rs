//! The country a phone number belongs to, for counting. A pure function of the number, quick enough for every message.

use std::sync::OnceLock;

use model::Channel;
use rlibphonenumber::PHONE_NUMBER_UTIL;
use store::erasure::ERASED;

/// Calling codes have at most three digits.
pub const CALLING_CODE_MAX: usize = 3;

/// The ISO 3166-1 code of the country an address lies in; `None` for addresses that are no phone numbers, and for numbers of no country.
pub fn of(channel: Channel, address: &str) -> Option<[u8; 2]> {
    if !matches!(channel, Channel::Sms | Channel::Whatsapp | Channel::Voice) {
        return None;
    }
    let digits = address.strip_prefix('+').filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()))?;
    if let Some(national) = digits.strip_prefix('1') {
        return north_american(national);
    }
    let code = known(calling_code(digits)?)?;
    let told_apart = if code.is_shared { region(address) } else { None };
    iso(told_apart.unwrap_or(code.first))
}

/// The calling code a number begins with, given its digits: no calling code begins another, so the first that is one is the right one.
pub fn calling_code(digits: &str) -> Option<&str> {
    let codes = (1..=CALLING_CODE_MAX).filter_map(|len| digits.get(..len));
    codes.into_iter().find(|code| *code == "1" || known(code).is_some())
}

/// What the library knows of a calling code.
#[derive(Clone, Copy)]
struct Code {
    /// The first of its regions.
    first: u16,
    /// True when it has others.
    is_shared: bool,
}

/// Looked up once each: every message asks several times.
fn known(code: &str) -> Option<Code> {
    static CODES: [OnceLock<Option<Code>>; 1_000] = [const { OnceLock::new() }; 1_000];
    let number: u16 = code.parse().ok()?;
    *CODES.get(usize::from(number))?.get_or_init(|| {
        let mut regions = PHONE_NUMBER_UTIL.get_regions_for_country_calling_code(i32::from(number))?;
        let is_shared = regions.len() > 1;
        Some(Code { first: regions.next()? as u16, is_shared })
    })
}

/// The calling code of a country, for looking prices up without a number.
pub fn code_of(country: [u8; 2]) -> Option<i32> {
    let is_there = |code: &i32| {
        let regions = PHONE_NUMBER_UTIL.get_regions_for_country_calling_code(*code);
        regions.is_some_and(|mut regions| regions.any(|region| (region as u16).to_be_bytes() == country))
    };
    (1..10i32.pow(CALLING_CODE_MAX as u32)).find(is_there)
}

/// Some twenty countries share the calling code 1 and differ by area code: each is looked up once.
fn north_american(national: &str) -> Option<[u8; 2]> {
    static AREAS: [OnceLock<u16>; 1_000] = [const { OnceLock::new() }; 1_000];
    let code = national.get(..3)?;
    let area = AREAS.get(code.parse::<usize>().ok()?)?;
    const UNITED_STATES: u16 = u16::from_be_bytes(*b"US");
    iso(*area.get_or_init(|| region(&format!("+1{code}2345678")).unwrap_or(UNITED_STATES)))
}

fn region(number: &str) -> Option<u16> {
    PHONE_NUMBER_UTIL.parse(number, None).ok()?.get_region_code().map(|region| region as u16)
}

/// The library numbers countries by the two letters of their codes, and gives 1 to numbers of the whole world.
fn iso(region: u16) -> Option<[u8; 2]> {
    Some(region.to_be_bytes()).filter(|letters| letters.iter().all(u8::is_ascii_uppercase))
}

/// What stands where the address of an erased person stood: it still tells the country, so that everything counts where it did.
pub fn erased(channel: Channel, address: &str) -> String {
    match text(channel, address) {
        country if country.is_empty() => ERASED.to_owned(),
        country => format!("{ERASED}:{country}"),
    }
}

/// The same as text, empty for none.
pub fn text(channel: Channel, address: &str) -> String {
    if let Some(country) = address.strip_prefix(ERASED).and_then(|rest| rest.strip_prefix(':')) {
        return country.to_owned();
    }
    of(channel, address).map_or_else(String::new, |letters| letters.iter().map(|letter| char::from(*letter)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_lie_in_countries() {
        let check = |address: &str, expected: &str| assert_eq!(text(Channel::Sms, address), expected, "{address}");
        check("+4915112345678", "DE");
        check("+447400123456", "GB");
        check("+447781123456", "GG");
        check("+77012345678", "KZ");
        check("+79161234567", "RU");
        check("+919876543210", "IN");
        check("+2348012345678", "NG");
        check("+12025550123", "US");
        check("+14165550123", "CA");
        check("+18765550123", "JM");
        check("+15550100001", "US");
        check("+80012345678", "");
        check("15112345678", "");
        for (channel, address) in
            [(Channel::Sms, "+4915112345678"), (Channel::Sms, "+80012345678"), (Channel::Email, "ada@example.com")]
        {
            assert_eq!(text(channel, &erased(channel, address)), text(channel, address), "{address}");
        }
        assert_eq!(
            (erased(Channel::Sms, "+4915112345678").as_str(), erased(Channel::Email, "a@b.de").as_str()),
            ("erased:DE", "erased")
        );
        assert_eq!(
            ["DE", "CA", "KZ", "ZZ"].map(|of| code_of(of.as_bytes().try_into().unwrap())),
            [Some(49), Some(1), Some(7), None]
        );
        assert_eq!(
            (calling_code("4915112345678"), calling_code("15550100001"), calling_code("999")),
            (Some("49"), Some("1"), None)
        );
        assert_eq!(of(Channel::Email, "ada@example.com"), None);
        assert_eq!(of(Channel::Telegram, "+4915112345678"), None);
    }
}
