//! The account's suppression list. Statistics live in CloudWatch, which is another service with other permissions.
//! <https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_ListSuppressedDestinations.html>

use model::{Answer, Method, Timestamp};
use serde_json::Value;

use super::domains::{NAME, call};
use crate::{
    Cx,
    manage::{Figures, Next, Plan, Suppressed, SuppressedPage, Suppression, each, reply},
    read::text,
};

const PAGE: usize = 100;

pub(super) struct SuppressionList;

impl Figures for SuppressionList {
    fn suppressed(
        &self,
        cx: &Cx<'_>,
        list: Suppression,
        after: Option<&str>,
        answers: &[Answer],
    ) -> Option<Plan<SuppressedPage>> {
        let reason = match list {
            Suppression::Bounces => "BOUNCE",
            Suppression::Complaints => "COMPLAINT",
            Suppression::Unsubscribes => return None,
        };
        if answers.is_empty() {
            let mut query = url::form_urlencoded::Serializer::new(String::new());
            query.append_pair("Reason", reason).append_pair("PageSize", &PAGE.to_string());
            if let Some(after) = after {
                query.append_pair("NextToken", after);
            }
            return Some(call(cx, Method::Get, &format!("/suppression/addresses?{}", query.finish()), None));
        }
        Some(reply(NAME, answers, 0).map(|body| {
            let next = text(&body, "/NextToken").map(str::to_owned);
            let entries = each(&body, "/SuppressedDestinationSummaries").filter_map(entry).collect();
            Next::Done(SuppressedPage { entries, next })
        }))
    }
}

fn entry(row: &Value) -> Option<Suppressed> {
    let at = row
        .get("LastUpdateTime")
        .and_then(Value::as_f64)
        .map(|seconds| Timestamp::from_seconds(seconds as i64).to_string());
    Some(Suppressed {
        address: text(row, "/EmailAddress")?.to_owned(),
        reason: text(row, "/Reason").map(str::to_owned),
        at,
    })
}
