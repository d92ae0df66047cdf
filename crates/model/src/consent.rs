//! The words of consent: what somebody allowed, how they said so, and why an address must not be written to.

use serde::{Deserialize, Serialize};

use crate::channel::words;

words! {
    /// Why an address is on the suppression list. One address can be there for several reasons, and leaves for each by itself.
    SuppressionReason {
        /// The address does not exist.
        HardBounce = "hard_bounce" / 1,
        /// It could not be reached again and again.
        SoftBounces = "soft_bounces" / 2,
        /// The recipient reported a message as unwanted.
        Complaint = "complaint" / 3,
        /// The recipient asked for no more: STOP, an unsubscribe link, a block.
        OptedOut = "opted_out" / 4,
        /// Somebody of the tenant put it there.
        Manual = "manual" / 5,
        /// It came with a list from elsewhere.
        Import = "import" / 6,
        /// The contact was erased. Only a keyed hash of the address is kept.
        Erased = "erased" / 7,
    }
}

words! {
    /// What a suppression holds back.
    Blocks {
        /// Marketing only.
        Marketing = "marketing" / 0,
        /// Everything, also transactional messages.
        Everything = "everything" / 1,
    }
}

words! {
    /// What a contact said about one channel, or about one topic on it. Nothing said is no consent.
    ConsentState {
        /// Asked, and not confirmed yet.
        Pending = "pending" / 0,
        /// Allowed.
        OptedIn = "opted_in" / 1,
        /// Refused, or withdrawn.
        OptedOut = "opted_out" / 2,
    }
}

words! {
    /// How consent was given or withdrawn.
    ConsentMethod {
        /// A form the contact filled in.
        Form = "form" / 1,
        /// The tenant's software said so.
        Api = "api" / 2,
        /// It came with an import.
        Import = "import" / 3,
        /// The contact wrote a word such as STOP or START.
        Keyword = "keyword" / 4,
        /// The contact confirmed by a link we sent.
        DoubleOptIn = "double_opt_in" / 5,
        /// Somebody of the tenant noted it.
        Staff = "staff" / 6,
        /// The contact used an unsubscribe link or the preference page.
        Page = "page" / 7,
        /// The provider reported it.
        Provider = "provider" / 8,
    }
}
