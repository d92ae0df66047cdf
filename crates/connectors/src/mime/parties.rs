//! Who writes to whom, for every connector that carries mail.

use model::{Address, BadSetting, Content, EmailAddress, EmailContent, Failure, FailureKind, Mailbox};

use crate::{Cx, Outgoing};

/// A mail's sender, recipient and content.
#[derive(Debug, Clone)]
pub struct Parties<'a> {
    /// The account's sender.
    pub from: Mailbox,
    /// The recipient.
    pub to: &'a EmailAddress,
    /// What it says.
    pub content: &'a EmailContent,
}

/// Takes sender, recipient and content, or says what is missing: an `account` failure without a usable sender, a `recipient` failure when the
/// address is no e-mail address, a `content` failure when the content is for another channel.
pub fn parties<'a>(cx: &Cx<'_>, message: &Outgoing<'a>) -> Result<Parties<'a>, Failure> {
    let from = cx.from.ok_or_else(|| {
        Failure::new(
            FailureKind::Account,
            "no_sender",
            "The account has no sender. Set its `from`, as in Acme <tickets@acme.example>.",
        )
    })?;
    let from = mailbox(from)?;
    let Address::Email(to) = message.to else {
        return Err(Failure::new(FailureKind::Recipient, "address_mismatch", "This channel needs an e-mail address."));
    };
    let Content::Email(content) = message.content else {
        return Err(Failure::new(FailureKind::Content, "wrong_channel", "This account carries e-mail only."));
    };
    Ok(Parties { from, to, content })
}

/// Reads an account's `from` as a mailbox.
pub fn mailbox(from: &str) -> Result<Mailbox, BadSetting> {
    from.parse().map_err(|bad| BadSetting { field: "from".to_owned(), detail: format!("is no sender: {bad}") })
}
