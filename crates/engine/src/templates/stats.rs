//! What came of a template, by version.

use model::TemplateId;
use serde::Serialize;
use store::{
    template_counters::{self, Counts},
    usage,
};
use utoipa::ToSchema;

use super::{find, reader};
use crate::{Engine, Error, keys::Caller};

/// Messages of one version: what became of them, and what was done with them. Each message counts once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct TemplateCounts {
    /// Accepted.
    pub accepted: i64,
    /// Taken by the provider.
    pub sent: i64,
    /// Arrived.
    pub delivered: i64,
    /// Read, as far as the provider can tell.
    pub read: i64,
    /// Failed.
    pub failed: i64,
    /// Came back.
    pub bounced: i64,
    /// Not sent because the recipient must not be written to.
    pub suppressed: i64,
    /// Withdrawn, or too late to be sent.
    pub withdrawn: i64,
    /// Of which nobody can say what became.
    pub unknown: i64,
    /// Opened by a person, as far as that can be told.
    pub opened: i64,
    /// With a link a person followed, as far as that can be told.
    pub clicked: i64,
    /// Opened by a program, such as a proxy that loads all pictures.
    pub machine_opened: i64,
    /// With a link a program followed, such as a security scanner.
    pub machine_clicked: i64,
}

/// What came of one version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct VersionStats {
    /// Which version.
    pub version: u32,
    /// Its messages.
    #[serde(flatten)]
    pub counts: TemplateCounts,
    /// Its test sends, which are not among them.
    pub tests: TemplateCounts,
}

/// What came of a template.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct TemplateStats {
    /// Version by version, newest first. Versions nothing was made of are left out.
    pub data: Vec<VersionStats>,
}

fn shown(c: &Counts) -> TemplateCounts {
    let usage::Counts {
        accepted, sent, delivered, read, failed, bounced, canceled, expired, suppressed, unknown, ..
    } = c.outcome;
    TemplateCounts {
        accepted,
        sent,
        delivered,
        read,
        failed,
        bounced,
        suppressed,
        withdrawn: canceled + expired,
        unknown,
        opened: c.opened,
        clicked: c.clicked,
        machine_opened: c.machine_opened,
        machine_clicked: c.machine_clicked,
    }
}

/// Counts what came of a template, by version. Needs the scope `templates:read`.
#[crate::boxed]
pub async fn stats(engine: &Engine, caller: &Caller, id: TemplateId) -> Result<TemplateStats, Error> {
    let tenant = reader(caller)?;
    let read = engine.ports.db.read(caller.reach(), move |tx| {
        Box::pin(async move {
            find(tx, tenant, id).await?;
            Ok::<_, Error>(template_counters::of_template(tx, tenant, id).await?)
        })
    });
    let mut data: Vec<VersionStats> = Vec::new();
    for (version, is_test, counts) in read.await?.into_iter().rev() {
        if data.last().is_none_or(|last| last.version != version) {
            data.push(VersionStats { version, counts: TemplateCounts::default(), tests: TemplateCounts::default() });
        }
        let last = data.last_mut().expect("one was just added");
        *(if is_test { &mut last.tests } else { &mut last.counts }) = shown(&counts);
    }
    Ok(TemplateStats { data })
}
