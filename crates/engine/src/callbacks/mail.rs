//! Reports and answers that come as mails: whose they are says the address, and from there on such a mail is a callback like any other.

use std::sync::Arc;

use bytes::Bytes;
use connectors::returns::{self, Way};
use model::{ArrivedMail, BoxFuture, MailDoor, Welcome};

use super::{Addressee, BODY_MAX, OwnedRequest};
use crate::{Engine, Error, ErrorKind};

/// The longest report that is looked at, in bytes; the rest of a longer one is let go: what it says stands before the mail it repeats.
const REPORT_MAX: usize = BODY_MAX - 1_024;

/// The door for mail to return addresses.
pub struct Returns(pub Arc<Engine>);

impl MailDoor for Returns {
    fn knows<'a>(&'a self, to: &'a str) -> BoxFuture<'a, Welcome> {
        Box::pin(async move {
            match self.0.returns_to(to).await {
                Ok(Some(_)) => Welcome::Yes,
                Ok(None) => Welcome::No,
                Err(error) => word(&error),
            }
        })
    }

    fn take(&self, mail: ArrivedMail) -> BoxFuture<'_, Welcome> {
        Box::pin(async move {
            match self.0.mail(mail).await {
                Ok(()) => Welcome::Yes,
                Err(error) => word(&error),
            }
        })
    }
}

/// What a failure means to whoever brought the mail.
fn word(error: &Error) -> Welcome {
    match error.kind {
        ErrorKind::NotFound | ErrorKind::Unauthorized | ErrorKind::TooLarge => Welcome::No,
        _ => {
            tracing::warn!(%error, "A mail to a return address cannot be taken now");
            Welcome::Later
        }
    }
}

impl Engine {
    /// The account that takes mail for this address.
    async fn returns_to(&self, to: &str) -> Result<Option<Addressee>, Error> {
        let Some(account) = returns::account_of(to) else { return Ok(None) };
        let addressee = match self.addressee(account).await {
            Ok(addressee) => addressee,
            Err(error) if error.kind == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let cx = self.callback_cx(&addressee.account, self.ports.clock.now());
        Ok(addressee.inbound.takes_mail(&cx, to).then_some(addressee))
    }

    /// Takes a mail to a return address, once it is on disk.
    async fn mail(&self, mail: ArrivedMail) -> Result<(), Error> {
        let nobody = || Error::not_found("return address");
        let to = self.returns_to(&mail.to).await?.ok_or_else(nobody)?;
        let path = to.inbound.path(&self.callback_cx(&to.account, self.ports.clock.now()));
        let kept = match returns::way_of(&mail.to) {
            Some(Way::Reply) => &mail.data[..],
            Some(Way::Report) | None => &mail.data[..mail.data.len().min(REPORT_MAX)],
        };
        let request = OwnedRequest {
            method: "POST".to_owned(),
            path,
            query: String::new(),
            headers: vec![("content-type".to_owned(), "message/rfc822".to_owned())],
            body: Bytes::from([format!("Delivered-To: {}\r\n", mail.to).as_bytes(), kept].concat()),
        };
        self.callback(to.account.id, request, Some(mail.peer)).await.map(drop)
    }
}
