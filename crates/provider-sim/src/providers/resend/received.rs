//! Mails Resend received: kept until they are asked for.
//! <https://resend.com/docs/api-reference/emails/retrieve-received-email>

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::{RECEIVED_MAX, error};
use crate::{
    fields::Fields,
    letter,
    provider::{Cx, Written, iso},
    request::Reply,
};

/// Files listed unless more are asked for, and at most.
const LISTED: usize = 20;
const LISTED_MAX: usize = 100;

/// Keeps a mail; answers what the event says of it.
pub(super) fn keep(cx: &mut Cx<'_>, written: &Written, to: &str) -> Value {
    let id = cx.uuid();
    let headers: serde_json::Map<String, Value> =
        letter::headers(cx, written, to).into_iter().map(|(name, value)| (name.to_lowercase(), value.into())).collect();
    let files: Vec<Value> = written
        .files
        .iter()
        .map(|file| json!({"id": cx.uuid(), "filename": file.filename, "content_type": file.content_type, "content_disposition": "attachment", "content_id": null}))
        .collect();
    let data = json!({
        "email_id": id, "created_at": iso(cx.now), "from": headers["from"], "to": [to], "cc": [], "bcc": [], "subject": written.subject,
        "message_id": headers["message-id"], "attachments": files,
    });
    let bytes: Vec<&str> = written.files.iter().map(|file| file.content_base64.as_str()).collect();
    let mut all = cx.list("received");
    if all.len() >= RECEIVED_MAX {
        all.remove(0);
    }
    all.push(
        json!({"id": id, "data": data, "headers": headers, "text": written.text, "html": written.html, "bytes": bytes}),
    );
    cx.keep("received", &all.into());
    data
}

fn find(cx: &Cx<'_>, id: &str) -> Result<Value, Reply> {
    let found = cx.list("received").into_iter().find(|mail| mail["id"] == id);
    found.ok_or_else(|| error(404, "not_found", "Email not found"))
}

/// `GET /emails/receiving/{id}`.
pub(super) fn mail(cx: &Cx<'_>, id: &str) -> Result<Reply, Reply> {
    let found = find(cx, id)?;
    let data = &found["data"];
    Ok(Reply::json(
        200,
        &json!({
            "object": "email", "id": id, "to": data["to"], "from": data["from"], "created_at": data["created_at"], "subject": data["subject"], "cc": [], "bcc": [],
            "reply_to": [], "message_id": data["message_id"], "html": found["html"], "text": found["text"], "headers": found["headers"], "attachments": data["attachments"],
        }),
    ))
}

/// `GET /emails/receiving/{id}/attachments`: each with an address of its own, as many as are asked for.
pub(super) fn files(cx: &Cx<'_>, asked: &Fields, id: &str) -> Result<Reply, Reply> {
    let found = find(cx, id)?;
    let limit = match asked.some("limit") {
        None => LISTED,
        Some(limit) => match limit.parse() {
            Ok(limit @ 1..=LISTED_MAX) => limit,
            _ => return Err(error(422, "validation_error", "`limit` must be from 1 to 100")),
        },
    };
    let mut files = found["data"]["attachments"].as_array().cloned().unwrap_or_default();
    let has_more = files.len() > limit;
    files.truncate(limit);
    for (index, file) in files.iter_mut().enumerate() {
        file["download_url"] = format!("{}/files/{id}/{index}", cx.base_url).into();
        file["size"] =
            found["bytes"][index].as_str().and_then(|text| STANDARD.decode(text).ok()).map(|bytes| bytes.len()).into();
        file["expires_at"] = iso(cx.now.plus_seconds(3_600)).into();
    }
    Ok(Reply::json(200, &json!({"object": "list", "has_more": has_more, "data": files})))
}

/// A file.
pub(super) fn file(cx: &Cx<'_>, id: &str, index: &str) -> Result<Reply, Reply> {
    let found = find(cx, id)?;
    let bytes = index.parse::<usize>().ok().and_then(|index| found["bytes"][index].as_str());
    let bytes =
        bytes.and_then(|text| STANDARD.decode(text).ok()).ok_or_else(|| error(404, "not_found", "No such file"))?;
    Ok(Reply::of(200, "application/octet-stream", bytes))
}
