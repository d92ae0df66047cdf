//! The verification of toll-free numbers (`/v1/registrations/toll-free`), without which American carriers block their messages.
//!
//! It is a registration like that of a business, with one stage and one review: the same job works on it, the same rules say what follows when it is rejected or the provider cannot be
//! asked. What is said about the business comes from its profile; what is asked about the number besides is how people agree to be written to, with pictures.

use connectors::manage::{OptIn, Stage, TollFree};
use model::{AccountId, Phone, RegistrationId};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::{Begun, RegistrationKind, RegistrationView, account, begin, delete_of, get_of, list_of, submit_of};
use crate::{
    Engine, Error, Parts,
    keys::Caller,
    names::Faults,
    once::{self, Repeat, Reply},
    page::Page,
    patch::Patch,
};

/// Pictures of how people agree: more are looked at by nobody.
const IMAGES_MAX: usize = 5;
/// Longest address of a picture, in bytes.
const URL_MAX: usize = 2_048;
/// Longest note, in characters: Twilio takes 500 with how people agree.
const NOTE_MAX: usize = 400;
const KIND: RegistrationKind = RegistrationKind::TollFree;

/// How people agree to be written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OptInType {
    /// They say so.
    Verbal,
    /// In a form on a website.
    WebForm,
    /// In a form on paper.
    PaperForm,
    /// They write first.
    ViaText,
    /// They scan a code.
    MobileQrCode,
}

impl OptInType {
    const fn at_provider(self) -> OptIn {
        match self {
            Self::Verbal => OptIn::Verbal,
            Self::WebForm => OptIn::WebForm,
            Self::PaperForm => OptIn::PaperForm,
            Self::ViaText => OptIn::ViaText,
            Self::MobileQrCode => OptIn::MobileQrCode,
        }
    }

    const fn of(kind: OptIn) -> Self {
        match kind {
            OptIn::Verbal => Self::Verbal,
            OptIn::WebForm => Self::WebForm,
            OptIn::PaperForm => Self::PaperForm,
            OptIn::ViaText => Self::ViaText,
            OptIn::MobileQrCode => Self::MobileQrCode,
        }
    }
}

/// A toll-free number to be verified.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewTollFree {
    /// The account that has the number.
    #[schema(value_type = String, example = "acc_01K9ZC1M2N3P4Q5R6S7T8V9W0X")]
    pub account_id: AccountId,
    /// The number; the account's own sender when left out. One verification each.
    #[serde(default)]
    #[schema(value_type = Option<String>, example = "+18005550100")]
    pub number: Option<Phone>,
    /// How people agree to be written to.
    pub opt_in_type: OptInType,
    /// Pictures that show it, at addresses anybody can open: one to five.
    #[schema(example = json!(["https://acme.example/opt-in.png"]))]
    pub opt_in_image_urls: Vec<String>,
    /// What else the provider should know.
    #[serde(default)]
    pub additional_information: Option<String>,
}

/// What can be said anew when a verification is submitted again.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TollFreeResubmission {
    /// How people agree to be written to.
    #[serde(default)]
    pub opt_in_type: Option<OptInType>,
    /// Other pictures.
    #[serde(default)]
    pub opt_in_image_urls: Option<Vec<String>>,
    /// What else the provider should know; `null` for nothing.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub additional_information: Patch<String>,
}

/// How people agree to be written to from a toll-free number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct TollFreeOptIn {
    /// How.
    pub opt_in_type: OptInType,
    /// Pictures that show it.
    pub opt_in_image_urls: Vec<String>,
    /// What else the provider should know.
    pub additional_information: Option<String>,
}

pub(super) fn shown(stored: &str) -> Option<TollFreeOptIn> {
    let asked: TollFree = serde_json::from_str(stored).ok()?;
    Some(TollFreeOptIn {
        opt_in_type: OptInType::of(asked.opt_in),
        opt_in_image_urls: asked.images,
        additional_information: asked.note,
    })
}

fn check(faults: &mut Faults, images: Option<&[String]>, note: Option<&str>) {
    if images.is_some_and(|images| images.is_empty() || images.len() > IMAGES_MAX) {
        faults.add("/opt_in_image_urls", format!("1 to {IMAGES_MAX} addresses of pictures that show how people agree"));
    }
    for (index, image) in images.unwrap_or_default().iter().enumerate().take(IMAGES_MAX) {
        let is_address =
            url::Url::parse(image).is_ok_and(|url| matches!(url.scheme(), "https" | "http") && url.has_host());
        if !is_address || image.len() > URL_MAX {
            faults.add(
                format!("/opt_in_image_urls/{index}"),
                "a web address anybody can open, such as https://acme.example/opt-in.png",
            );
        }
    }
    if note.is_some_and(|note| note.trim().is_empty() || note.chars().count() > NOTE_MAX || note.contains('\0')) {
        faults.add("/additional_information", format!("1 to {NOTE_MAX} characters"));
    }
}

fn is_toll_free(number: &str) -> bool {
    number.strip_prefix("+1").is_some_and(|national| national.len() == 10 && model::is_toll_free(national))
}

/// Begins the verification of a toll-free number. Needs the scope `registrations:write`.
#[crate::boxed]
pub async fn create(engine: &Engine, caller: &Caller, repeat: &Repeat, new: NewTollFree) -> Result<Reply, Error> {
    caller.need("registrations:write")?;
    let tenant = caller.need_tenant()?;
    let parts = engine.parts();
    if let Some(before) = once::replay(parts, caller, repeat).await? {
        return Ok(before);
    }
    let mut faults = Faults::default();
    check(&mut faults, Some(&new.opt_in_image_urls), new.additional_information.as_deref());
    faults.end()?;
    let account = account(parts, caller, new.account_id, "verification of toll-free numbers").await?;
    let number = new.number.map(|number| number.as_str().to_owned()).or_else(|| account.from.clone());
    let Some(number) = number.filter(|number| is_toll_free(number)) else {
        let detail = format!(
            "a toll-free number of North America, which begins with +1 and one of {}; the account's own sender is none",
            model::TOLL_FREE.join(", ")
        );
        return Err(Error::invalid("/number", detail));
    };
    let asked = TollFree {
        number,
        opt_in: new.opt_in_type.at_provider(),
        images: new.opt_in_image_urls,
        note: new.additional_information,
    };
    let begun = Begun { kind: KIND, stage: Stage::Verification, area_code: None, toll_free: Some(asked) };
    begin(parts, caller, repeat, tenant, account.id, begun).await
}

/// Lists verifications, newest first: a tenant its own, the operator those of all tenants that need somebody to look. Needs the scope `registrations:read`.
#[crate::boxed]
pub async fn list(
    parts: &Parts,
    caller: &Caller,
    limit: Option<u32>,
    cursor: Option<&str>,
) -> Result<Page<RegistrationView>, Error> {
    list_of(parts, caller, KIND, limit, cursor).await
}

/// Reads one of the tenant's verifications. Needs the scope `registrations:read`.
#[crate::boxed]
pub async fn get(parts: &Parts, caller: &Caller, id: RegistrationId) -> Result<RegistrationView, Error> {
    get_of(parts, caller, KIND, id).await
}

/// Submits a verification again: what was rejected with the business profile and what is said now, what stopped for want of the provider from where it was. Needs the scope
/// `registrations:write`.
#[crate::boxed]
pub async fn submit(
    engine: &Engine,
    caller: &Caller,
    repeat: &Repeat,
    id: RegistrationId,
    again: TollFreeResubmission,
) -> Result<Reply, Error> {
    caller.need("registrations:write")?;
    let mut faults = Faults::default();
    let note = again.additional_information.clone().onto(None);
    check(&mut faults, again.opt_in_image_urls.as_deref(), note.as_deref());
    faults.end()?;
    submit_of(engine, caller, repeat, KIND, id, move |row| {
        let Some(mut asked) = row.toll_free.as_deref().and_then(|stored| serde_json::from_str::<TollFree>(stored).ok())
        else {
            return;
        };
        asked.opt_in = again.opt_in_type.map_or(asked.opt_in, OptInType::at_provider);
        asked.images = again.opt_in_image_urls.unwrap_or(asked.images);
        asked.note = again.additional_information.onto(asked.note);
        row.toll_free = Some(json!(asked).to_string());
    })
    .await
}

/// Forgets a verification here, whatever became of it: the number is the tenant's, and what the provider decided about it stays. Needs the scope `registrations:write`.
#[crate::boxed]
pub async fn delete(parts: &Parts, caller: &Caller, id: RegistrationId) -> Result<(), Error> {
    delete_of(parts, caller, KIND, id).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_north_american_numbers_are_toll_free() {
        let check = |number: &str, expected: bool| assert_eq!(is_toll_free(number), expected, "{number}");
        check("+18005550100", true);
        check("+18885550100", true);
        check("+18015550100", false);
        check("+1800555010", false);
        check("+448005550100", false);
        check("Acme", false);
    }

    #[test]
    fn what_is_wrong_with_pictures_and_notes_is_named() {
        let pointers = |images: &[&str], note: Option<&str>| {
            let (mut faults, images) =
                (Faults::default(), images.iter().map(|image| (*image).to_owned()).collect::<Vec<_>>());
            check(&mut faults, Some(&images), note);
            faults.0.into_iter().map(|fault| fault.pointer).collect::<Vec<_>>()
        };
        assert_eq!(pointers(&["https://acme.example/a.png"], Some("Since 1990.")), Vec::<String>::new());
        assert_eq!(pointers(&[], None), ["/opt_in_image_urls"]);
        assert_eq!(pointers(&["https://a.example/"; 6], None), ["/opt_in_image_urls"]);
        assert_eq!(
            pointers(&["https://a.example/", "ftp://a.example", "nothing"], None),
            ["/opt_in_image_urls/1", "/opt_in_image_urls/2"]
        );
        assert_eq!(pointers(&["https://a.example/"], Some(" ")), ["/additional_information"]);
    }
}
