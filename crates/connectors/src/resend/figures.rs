//! The suppression list.
//! <https://resend.com/docs/api-reference/suppressions/list-suppressions>

use model::{Answer, Method};
use serde_json::Value;

use super::{NAME, domains::ask};
use crate::{
    Cx,
    manage::{Figures, Next, Plan, Suppressed, SuppressedPage, Suppression, each, reply},
    read::text,
};

const PAGE: usize = 100;

pub(super) struct Suppressions;

impl Figures for Suppressions {
    fn suppressed(
        &self,
        cx: &Cx<'_>,
        list: Suppression,
        after: Option<&str>,
        answers: &[Answer],
    ) -> Option<Plan<SuppressedPage>> {
        let origin = match list {
            Suppression::Bounces => "bounce",
            Suppression::Complaints => "complaint",
            // Resend keeps unsubscribes with its contacts, not with its mails.
            Suppression::Unsubscribes => return None,
        };
        if answers.is_empty() {
            let from = after.map_or_else(String::new, |id| format!("&after={id}"));
            return Some(ask(cx, Method::Get, &format!("/suppressions?limit={PAGE}&origin={origin}{from}"), None));
        }
        Some(reply(NAME, answers, 0).map(|body| {
            let last = each(&body, "/data").last().and_then(|row| text(row, "/id")).map(str::to_owned);
            let next = last.filter(|_| body["has_more"] == true);
            Next::Done(SuppressedPage { entries: each(&body, "/data").filter_map(entry).collect(), next })
        }))
    }
}

fn entry(row: &Value) -> Option<Suppressed> {
    let reason = text(row, "/origin").map(str::to_owned);
    Some(Suppressed {
        address: text(row, "/email")?.to_owned(),
        reason,
        at: text(row, "/created_at").map(str::to_owned),
    })
}
