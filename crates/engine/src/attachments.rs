//! Placeholder until the owner replaces this file (helper W).

use model::{AttachmentRef, Content, Failure, TenantId};

use crate::{Engine, Error, accept::request::MessageRequest};

impl Engine {
    pub(crate) async fn attach(
        &self,
        _tenant: TenantId,
        _request: &MessageRequest,
    ) -> Result<Vec<AttachmentRef>, Error> {
        Ok(Vec::new())
    }

    pub(crate) async fn files(&self, _tenant: TenantId, _content: &Content) -> Result<Vec<connectors::File>, Failure> {
        Ok(Vec::new())
    }
}
