//! `tidings send`: one message through a running server.

use bytes::Bytes;
use clap::Args;
use http_body_util::Full;
use model::Ids;
use serde_json::{Map, Value, json};

use crate::{
    cli::{Outcome, put, put_json, say},
    client::Server,
    config::{Config, ConfigError},
};

/// What to send.
#[derive(Debug, Args)]
pub struct Send {
    #[command(flatten)]
    server: Server,
    /// An e-mail address, a phone number such as +4930123456, or a Telegram chat id
    #[arg(long)]
    to: String,
    /// email, sms, whatsapp, telegram or voice [default: what the recipient suggests]
    #[arg(long)]
    channel: Option<String>,
    /// transactional or marketing
    #[arg(long, default_value = "transactional")]
    purpose: String,
    /// The subject of a mail
    #[arg(long)]
    subject: Option<String>,
    /// The text; of a voice message what is said
    #[arg(long)]
    text: Option<String>,
    /// The HTML of a mail
    #[arg(long)]
    html: Option<String>,
    /// A value for a placeholder of the text; may be repeated
    #[arg(long = "var", value_name = "NAME=VALUE")]
    variables: Vec<String>,
    /// The account to send through [default: the channel's]
    #[arg(long, value_name = "acc_…")]
    account: Option<String>,
    /// Explain what would happen and send nothing
    #[arg(long)]
    dry_run: bool,
}

/// Sends it, once, however often the connection breaks: the request carries an idempotency key.
pub async fn run(config: &Config, send: Send, json: bool) -> Outcome {
    let body = body(&send)?;
    let client = send.server.client(config)?;
    let request = client
        .request("POST", "/v1/messages")
        .header("content-type", "application/json")
        .header("idempotency-key", Ids::from_os().token(32))
        .body(Full::new(Bytes::from(serde_json::to_vec(&body)?)))?;
    let answer = client.json(request).await?;
    if json || send.dry_run {
        return put_json(&answer);
    }
    let field = |name: &str| answer.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    say(&format!("Accepted, {}: {}", field("status"), field("channel")));
    put(&field("id"));
    Ok(())
}

fn body(send: &Send) -> Result<Value, ConfigError> {
    let (field, guess) = if send.to.contains('@') {
        ("email", "email")
    } else if send.to.starts_with('+') {
        ("phone", "sms")
    } else {
        ("telegram_chat_id", "telegram")
    };
    let channel = send.channel.as_deref().unwrap_or(guess);
    let mut content = Map::new();
    let text_field = if channel == "voice" { "say" } else { "text" };
    for (name, value) in [("subject", &send.subject), (text_field, &send.text), ("html", &send.html)] {
        if let Some(value) = value {
            content.insert(name.to_owned(), json!(value));
        }
    }
    let mut variables = Map::new();
    for variable in &send.variables {
        let (name, value) = variable
            .split_once('=')
            .ok_or_else(|| ConfigError(format!("--var {variable} has no `=`: write --var NAME=VALUE")))?;
        variables.insert(name.to_owned(), json!(value));
    }
    let mut body = json!({"to": {field: send.to}, "channel": channel, "purpose": send.purpose, "content": content});
    if !variables.is_empty() {
        body["variables"] = Value::Object(variables);
    }
    if let Some(account) = &send.account {
        body["account_id"] = json!(account);
    }
    if send.dry_run {
        body["dry_run"] = json!(true);
    }
    Ok(body)
}
