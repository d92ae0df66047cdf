//! Files that came with mails: stored like the files of messages, before the message that names them.

use connectors::Observed;
use model::{TenantId, Timestamp};
use store::{Tx, attachments};

use crate::{
    Engine, Error,
    inbound::{Arrived, MailFile},
};

/// How long a file somebody sent is kept, in seconds: two years, or as long as its message where the tenant keeps messages for less.
const KEPT_S: i64 = 2 * 365 * 86_400;

/// Holds the files of messages that are being stored; of those that were stored before, nobody names the files that came again, and they go after a day.
pub(super) async fn hold(tx: &mut Tx, arrived: &[Arrived], now: Timestamp) -> Result<(), store::Error> {
    for one in arrived {
        for file in one.body.mail.iter().flat_map(|mail| &mail.attachments) {
            attachments::hold(tx, one.row.tenant_id, file.attachment_id, now.plus_seconds(KEPT_S)).await?;
        }
    }
    Ok(())
}

impl Engine {
    /// Stores the files of mails. Answers a list for each mail, in order. Empty ones have nothing to store, and count as left out.
    pub(super) async fn keep_files(
        &self,
        tenant: TenantId,
        observed: &mut [Observed],
    ) -> Result<Vec<Vec<MailFile>>, Error> {
        let mut kept = Vec::new();
        for seen in observed {
            let Observed::Message(message) = seen else { continue };
            let Some(mail) = &mut message.mail else { continue };
            let mut files = Vec::with_capacity(mail.files.len());
            for file in std::mem::take(&mut mail.files) {
                if file.bytes.is_empty() {
                    mail.files_left_out += 1;
                    continue;
                }
                let row = self.keep_apart(tenant, &file.filename, &file.content_type, file.bytes).await?;
                files.push(MailFile {
                    attachment_id: row.id,
                    filename: row.filename,
                    content_type: row.content_type,
                    size: row.size,
                    content_id: file.content_id,
                });
            }
            kept.push(files);
        }
        Ok(kept)
    }
}
