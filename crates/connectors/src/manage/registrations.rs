//! Registering a business with American carriers through a provider: local numbers (10DLC), from its profile to a number that may send; and the verification of toll-free numbers.
//!
//! A registration is a row of *stages*, each one plan. A stage may be begun again at any point, after a crash as well as after a lost answer: it looks for what is there under the
//! registration's name before it makes anything, because some of it costs money. What was made is kept in [`References`] by the engine between stages.

use model::{Answer, Timestamp};
use serde::{Deserialize, Serialize};

use super::Plan;
use crate::Cx;

/// Carriers' registration through a provider.
pub trait Registrations: Sync + Send {
    /// Works on the stage a registration is in, and says what came of it.
    fn advance(&self, cx: &Cx<'_>, work: &Work<'_>, answers: &[Answer]) -> Plan<Progress>;

    /// Who holds this account's numbers at the provider: only accounts of the same holder can be given a number of the pool.
    fn holder(&self, cx: &Cx<'_>) -> String;

    /// Gives a number of this holder back to the provider, by what it is called there. Nothing is the matter when it is not there any more.
    fn release(&self, cx: &Cx<'_>, reference: &str, answers: &[Answer]) -> Plan<()>;

    /// The toll-free number messages of this sender leave as, where such numbers are verified.
    fn toll_free<'a>(&self, cx: &Cx<'a>, names_sender: bool) -> Option<&'a str>;

    /// True when messages of this sender reach the United States only once it is registered: local numbers, not toll-free ones or short codes. `names_sender` says that the messages
    /// chose it, so that they leave as no other.
    fn concerns(&self, cx: &Cx<'_>, names_sender: bool) -> bool;
}

/// What is to be registered.
#[derive(Debug, Clone, Copy)]
pub struct Work<'a> {
    /// The name everything made for it is found by.
    pub name: &'a str,
    /// What is to be done.
    pub stage: Stage,
    /// The business.
    pub business: &'a Business,
    /// Area code the number is to have, where that was said.
    pub area_code: Option<&'a str>,
    /// The toll-free number that is to be verified, for the stages that do so.
    pub toll_free: Option<&'a TollFree>,
    /// What was made so far.
    pub refs: &'a References,
    /// When it was last submitted.
    pub submitted_at: Timestamp,
}

/// What is done next for a registration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// The business's profile is put together and submitted.
    Profile,
    /// The provider reviews the profile.
    ProfileReview,
    /// What the carriers want to know besides is put together.
    Trust,
    /// The brand is registered.
    Brand,
    /// The registry reviews the brand.
    BrandReview,
    /// A sole proprietor is asked once more to show that the mobile number is theirs.
    Code,
    /// The messaging service the messages leave through is made.
    Service,
    /// The campaign is registered: what is sent, and how people agreed to it.
    Campaign,
    /// Carriers review the campaign.
    CampaignReview,
    /// A number is bought.
    Number,
    /// The number is put into the service.
    Attach,
    /// The verification of a toll-free number is asked for.
    Verification,
    /// The provider verifies the number.
    VerificationReview,
    /// Messages may leave.
    Approved,
}

impl Stage {
    /// The way of a business, in order.
    pub const ALL: [Self; 11] = [
        Self::Profile,
        Self::ProfileReview,
        Self::Trust,
        Self::Brand,
        Self::BrandReview,
        Self::Service,
        Self::Campaign,
        Self::CampaignReview,
        Self::Number,
        Self::Attach,
        Self::Approved,
    ];

    /// What only some come by: a sole proprietor who has to be asked again, and the way of a toll-free number, which ends with [`Self::Approved`], too.
    pub const OTHERS: [Self; 3] = [Self::Code, Self::Verification, Self::VerificationReview];

    /// The word in JSON and SQL.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Profile => "profile",
            Self::ProfileReview => "profile_review",
            Self::Trust => "trust",
            Self::Brand => "brand",
            Self::BrandReview => "brand_review",
            Self::Code => "code",
            Self::Service => "service",
            Self::Campaign => "campaign",
            Self::CampaignReview => "campaign_review",
            Self::Number => "number",
            Self::Attach => "attach",
            Self::Verification => "verification",
            Self::VerificationReview => "verification_review",
            Self::Approved => "approved",
        }
    }

    /// Reads the database's word.
    pub fn from_stored(word: &str) -> Option<Self> {
        Self::ALL.into_iter().chain(Self::OTHERS).find(|stage| stage.as_str() == word)
    }

    /// Where a registration that was rejected here begins again, once what was wrong is mended.
    #[must_use]
    pub const fn again(self) -> Self {
        match self {
            Self::ProfileReview => Self::Profile,
            Self::BrandReview => Self::Brand,
            Self::CampaignReview => Self::Campaign,
            Self::VerificationReview => Self::Verification,
            stage => stage,
        }
    }
}

/// What was made at the provider, in its own ids.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct References {
    /// The business's profile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// What carriers want to know besides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trust: Option<String>,
    /// The brand.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub brand: Option<String>,
    /// The messaging service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// The campaign.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub campaign: Option<String>,
    /// The number's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub number_id: Option<String>,
    /// The number in E.164 form.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub number: Option<String>,
    /// The verification of a toll-free number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verification: Option<String>,
}

/// What came of a stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Progress {
    /// What is to be done next.
    pub stage: Stage,
    /// What was made by now.
    pub refs: References,
    /// What it means.
    pub result: StageResult,
    /// Settings of the account that follow from it.
    pub settings: Vec<(&'static str, String)>,
}

/// What a stage came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum StageResult {
    /// It is done: the next one can begin at once.
    Done,
    /// Somebody else has to decide; asked again at this instant, or when it usually pays.
    Waits(Option<Timestamp>),
    /// Somebody has to do something elsewhere, which these words say; asked again when it usually pays.
    Asks(String),
    /// It was rejected, for these reasons.
    Rejected(Vec<Reason>),
}

/// Why something was rejected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// The provider's code, or ours.
    pub code: String,
    /// In words.
    pub detail: String,
    /// The fields of the business profile it is about, as JSON pointers, where that is known.
    #[serde(default)]
    pub pointers: Vec<String>,
}

/// A toll-free number to be verified, and how people agree to be written to from it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TollFree {
    /// In E.164 form.
    pub number: String,
    /// How people agree.
    pub opt_in: OptIn,
    /// Pictures that show it, where anybody can see them.
    pub images: Vec<String>,
    /// What else the provider should know.
    pub note: Option<String>,
}

/// How people agree to be written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OptIn {
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

/// A business, complete.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Business {
    /// As registered.
    pub legal_name: String,
    /// As its customers know it.
    pub dba: Option<String>,
    /// Its form.
    pub kind: BusinessKind,
    /// Employer Identification Number, `NN-NNNNNNN`; empty for a sole proprietor.
    pub ein: String,
    /// Of the provider's list, in lower case.
    pub industry: String,
    /// Its website.
    pub website: String,
    /// Where it is.
    pub address: Place,
    /// Who answers for it.
    pub owner: Officer,
    /// Whom the provider writes to.
    pub contact_email: String,
    /// Messages a month, about.
    pub monthly_volume: u32,
    /// Stock exchange and ticker, of a public company.
    pub listed: Option<(String, String)>,
    /// What it sends.
    pub use_case: UseCase,
}

/// The form of a business.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BusinessKind {
    /// One person without an EIN, who is known by a mobile number.
    SoleProprietor,
    /// One person who has an EIN.
    SoleProprietorship,
    /// A partnership.
    Partnership,
    /// With limited liability.
    Llc,
    /// With limited liability, of partners.
    Llp,
    /// A corporation nobody can buy shares of.
    PrivateCorporation,
    /// A corporation at a stock exchange.
    PublicCorporation,
    /// A co-operative.
    Cooperative,
    /// For no profit.
    NonProfit,
    /// Of the state.
    Government,
}

/// Where somebody is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Street and number.
    pub street: String,
    /// City.
    pub city: String,
    /// State, such as `CA`.
    pub region: String,
    /// ZIP code.
    pub postal_code: String,
    /// ISO 3166-1 alpha-2.
    pub country: String,
}

/// Who answers for a business.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Officer {
    /// First name.
    pub first_name: String,
    /// Last name.
    pub last_name: String,
    /// As on a business card.
    pub title: String,
    /// `director`, `gm`, `vp`, `ceo`, `cfo` or `general_counsel`.
    pub position: String,
    /// Mail address.
    pub email: String,
    /// Number in E.164 form.
    pub phone: String,
}

/// What a business sends, and how people agreed to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UseCase {
    /// Of the carriers' list, in lower case, such as `marketing`.
    pub category: String,
    /// What is sent and why.
    pub description: String,
    /// How people agree.
    pub opt_in_flow: String,
    /// Messages as they will be sent.
    pub samples: Vec<String>,
    /// Whether they hold links.
    pub has_links: bool,
    /// Whether they hold phone numbers.
    pub has_phone_numbers: bool,
    /// Whether they are for adults only.
    pub is_age_gated: bool,
    /// Whether they are about loans.
    pub is_lending: bool,
    /// What is answered to who agrees by a keyword.
    pub opt_in_message: Option<String>,
    /// What is answered to STOP.
    pub opt_out_message: Option<String>,
    /// What is answered to HELP.
    pub help_message: Option<String>,
    /// Where it says what is done with numbers.
    pub privacy_policy_url: String,
    /// Where it says what people agree to.
    pub terms_url: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_are_read_as_they_are_written_and_begin_again_before_their_review() {
        for stage in Stage::ALL.into_iter().chain(Stage::OTHERS) {
            assert_eq!(Stage::from_stored(stage.as_str()), Some(stage));
            assert_eq!(serde_json::to_value(stage).unwrap(), stage.as_str());
            assert!(!stage.again().as_str().ends_with("_review"), "{stage:?}");
        }
        assert_eq!(Stage::from_stored("nothing"), None);
    }
}
