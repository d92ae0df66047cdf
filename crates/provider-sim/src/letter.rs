//! Mails people write: the form they have on their way to a provider.

use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::provider::{Cx, Written, rfc2822};

/// The headers of a mail somebody writes, in order.
pub(crate) fn headers(cx: &Cx<'_>, written: &Written, to: &str) -> Vec<(String, String)> {
    let mut all = vec![
        ("From".to_owned(), format!("Somebody <{}>", written.from)),
        ("To".to_owned(), to.to_owned()),
        ("Subject".to_owned(), written.subject.clone()),
        ("Date".to_owned(), rfc2822(cx.now)),
        ("Message-ID".to_owned(), format!("<{}@mail.example>", cx.hex(20))),
        ("MIME-Version".to_owned(), "1.0".to_owned()),
    ];
    if let Some(id) = &written.in_reply_to {
        all.push(("In-Reply-To".to_owned(), format!("<{id}>")));
        all.push(("References".to_owned(), format!("<first@mail.example> <{id}>")));
    }
    all.extend(written.headers.iter().map(|(name, value)| (name.clone(), value.clone())));
    all
}

/// The whole mail.
pub(crate) fn raw(cx: &Cx<'_>, written: &Written, to: &str) -> String {
    let (outer, inner) = (format!("outer{}", cx.hex(16)), format!("inner{}", cx.hex(16)));
    let mut mail: String =
        headers(cx, written, to).iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    mail.push_str(&format!("Content-Type: multipart/mixed; boundary={outer}\r\n\r\n--{outer}\r\n"));
    mail.push_str(&format!("Content-Type: multipart/alternative; boundary={inner}\r\n\r\n"));
    let bodies = [Some(("plain", written.text.as_str())), written.html.as_deref().map(|html| ("html", html))];
    for (kind, text) in bodies.into_iter().flatten() {
        mail.push_str(&format!(
            "--{inner}\r\nContent-Type: text/{kind}; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n{}\r\n",
            lines(text.as_bytes())
        ));
    }
    mail.push_str(&format!("--{inner}--\r\n"));
    for file in &written.files {
        mail.push_str(&format!(
            "--{outer}\r\nContent-Type: {}\r\nContent-Disposition: attachment; filename=\"{}\"\r\nContent-Transfer-Encoding: base64\r\n\r\n{}\r\n",
            file.content_type, file.filename, lines(&STANDARD.decode(&file.content_base64).unwrap_or_default())
        ));
    }
    mail.push_str(&format!("--{outer}--\r\n"));
    mail
}

/// A form with files (RFC 7578).
pub(crate) fn form_data(
    cx: &Cx<'_>,
    fields: &[(&str, &str)],
    files: &[(String, &Written, usize)],
) -> (String, Vec<u8>) {
    let boundary = format!("xYzZY{}", cx.hex(16));
    let mut body = Vec::new();
    for (name, value) in fields {
        body.extend(
            format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n").into_bytes(),
        );
    }
    for (name, written, index) in files {
        let file = &written.files[*index];
        body.extend(
            format!(
                "--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"{}\"\r\nContent-Type: {}\r\n\r\n",
                file.filename, file.content_type
            )
            .into_bytes(),
        );
        body.extend(STANDARD.decode(&file.content_base64).unwrap_or_default());
        body.extend(b"\r\n");
    }
    body.extend(format!("--{boundary}--\r\n").into_bytes());
    (format!("multipart/form-data; boundary={boundary}"), body)
}

fn lines(bytes: &[u8]) -> String {
    let text = STANDARD.encode(bytes);
    text.as_bytes().chunks(76).map(String::from_utf8_lossy).collect::<Vec<_>>().join("\r\n")
}
