//! `tidings tail`: a tenant's events as they happen.

use bytes::Bytes;
use clap::Args;
use http_body_util::{BodyExt as _, Full};
use model::Clock as _;
use net::SystemClock;
use serde_json::Value;

use crate::{
    cli::{Outcome, put, say},
    client::{Client, Server, refusal},
    config::Config,
};

/// Pause before a broken stream is opened again, in milliseconds.
const AGAIN_MS: u64 = 1_000;
/// Longest line of the stream, in bytes; an event is far below.
const LINE_MAX: usize = 4 << 20;

/// What to follow.
#[derive(Debug, Args)]
pub struct Tail {
    #[command(flatten)]
    server: Server,
    /// Begin after this event instead of now
    #[arg(long, value_name = "evt_…")]
    after: Option<String>,
    /// Stop after so many events [default: never]
    #[arg(long, value_name = "NUMBER")]
    count: Option<u64>,
}

/// Why following a stream ended.
enum End {
    /// As many events as were asked for.
    Enough,
    /// The connection; it can be opened again.
    Broken,
}

/// Follows the stream until ctrl-c, and takes it up again where it broke.
pub async fn run(config: &Config, tail: Tail, json: bool) -> Outcome {
    let client = tail.server.client(config)?;
    let mut follow = Follow { after: tail.after, left: tail.count, json };
    tokio::select! {
        ended = follow.run(&client) => Ok(ended?),
        interrupted = tokio::signal::ctrl_c() => Ok(interrupted?),
    }
}

struct Follow {
    after: Option<String>,
    left: Option<u64>,
    json: bool,
}

impl Follow {
    async fn run(&mut self, client: &Client) -> anyhow::Result<()> {
        while let End::Broken = self.stream(client).await? {
            say("The stream ended; opening it again.");
            SystemClock.sleep(AGAIN_MS).await;
        }
        Ok(())
    }

    async fn stream(&mut self, client: &Client) -> anyhow::Result<End> {
        let mut request = client.request("GET", "/v1/stream").header("accept", "text/event-stream");
        if let Some(after) = &self.after {
            request = request.header("last-event-id", after);
        }
        let answer = client.send(request.body(Full::new(Bytes::new()))?).await;
        // The first connection has to work; later ones wait for the server to come back.
        let answer = match answer {
            Err(_) if self.after.is_some() => return Ok(End::Broken),
            answer => answer?,
        };
        let status = answer.status();
        if !status.is_success() {
            let body = answer.into_body().collect().await?.to_bytes();
            anyhow::bail!("{}", refusal(status, &serde_json::from_slice(&body).unwrap_or(Value::Null)));
        }
        let mut body = answer.into_body();
        let mut event = Event::default();
        let mut rest = Vec::new();
        while let Some(Ok(frame)) = body.frame().await {
            let Ok(data) = frame.into_data() else { continue };
            rest.extend_from_slice(&data);
            anyhow::ensure!(rest.len() <= LINE_MAX, "the server sent a line of more than {LINE_MAX} bytes");
            while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = rest.drain(..=end).collect();
                let line = String::from_utf8_lossy(&line);
                if let Some(event) = event.line(line.trim_end_matches(['\r', '\n']))
                    && self.show(&event)
                {
                    return Ok(End::Enough);
                }
            }
        }
        Ok(End::Broken)
    }

    /// Prints an event; true when it was the last one asked for.
    fn show(&mut self, event: &Event) -> bool {
        if !event.id.is_empty() {
            self.after = Some(event.id.clone());
        }
        put(&if self.json { event.data.clone() } else { event.text() });
        self.left = self.left.map(|left| left.saturating_sub(1));
        self.left == Some(0)
    }
}

/// An event of the stream as it is put together line by line.
#[derive(Debug, Default, PartialEq, Eq)]
struct Event {
    id: String,
    kind: String,
    data: String,
}

impl Event {
    /// Takes one more line; answers the event when that line was its end. Comments and what we do not know are passed over.
    fn line(&mut self, line: &str) -> Option<Self> {
        if line.is_empty() {
            let event = std::mem::take(self);
            return (!event.data.is_empty()).then_some(event);
        }
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "id" => value.clone_into(&mut self.id),
            "event" => value.clone_into(&mut self.kind),
            "data" if self.data.is_empty() => value.clone_into(&mut self.data),
            "data" => {
                self.data.push('\n');
                self.data.push_str(value);
            }
            _ => {}
        }
        None
    }

    /// One line for people: when, what, about which message.
    fn text(&self) -> String {
        let value: Value = serde_json::from_str(&self.data).unwrap_or(Value::Null);
        let text = |pointer: &str| value.pointer(pointer).and_then(Value::as_str);
        let at = text("/timestamp").or(text("/created_at")).or(text("/at")).unwrap_or("-");
        let kind = text("/type").unwrap_or(&self.kind);
        let about = text("/data/id").or(text("/data/message_id")).unwrap_or(&self.id);
        let status = text("/data/status").unwrap_or_default();
        format!("{at}  {kind}  {about}  {status}").trim_end().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_put_together_line_by_line() {
        let mut event = Event::default();
        let lines = [
            ": keep-alive",
            "id: evt_1",
            "event: message.sent",
            r#"data: {"type":"message.sent","#,
            r#"data: "data":{"id":"msg_1"}}"#,
        ];
        assert!(lines.iter().all(|line| event.line(line).is_none()));
        let done = event.line("").unwrap();
        assert_eq!((done.id.as_str(), done.text().as_str()), ("evt_1", "-  message.sent  msg_1"));
        assert_eq!(event.line(""), None);
    }
}
