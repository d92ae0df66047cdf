//! The one event stream of a page. It says that something happened, not what: the page asks again for the parts that may have changed, with the rights its viewer has then.
//! Resumes after the last event the browser saw; many events in a moment are told as one.

use std::convert::Infallible;

use axum::{body::Body, extract::State, response::Response};
use bytes::Bytes;
use engine::stream::{Frame, Subscription};
use futures_util::stream;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use model::EventId;
use serde::Deserialize;

use crate::{
    App,
    cx::{Answer, Cx, Query},
};

/// Events that arrive within so many milliseconds are told as one: faster than a person can read.
const TOGETHER_MS: u64 = 250;

#[derive(Debug, Default, Deserialize)]
pub(crate) struct Since {
    last_event_id: Option<String>,
}

/// Follows the tenant's events.
pub(crate) async fn follow(cx: Cx, State(app): State<App>, Query(since): Query<Since>, headers: HeaderMap) -> Answer {
    let given =
        headers.get("last-event-id").and_then(|value| value.to_str().ok()).map(str::to_owned).or(since.last_event_id);
    let last = given.and_then(|id| id.parse::<EventId>().ok());
    let subscription = app.engine().subscribe(&cx.caller, last, &[]).await?;
    let frames = stream::unfold((subscription, app), async |(mut subscription, app)| {
        let wire = next(&mut subscription, &app).await?;
        Some((Ok::<_, Infallible>(Bytes::from(wire)), (subscription, app)))
    });
    let mut response = Response::new(Body::from_stream(frames));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    Ok(response)
}

/// The next thing to tell: waits for one event, then takes along what comes within a moment.
async fn next(subscription: &mut Subscription, app: &App) -> Option<String> {
    let mut told = wire(&subscription.next().await?);
    if !told.is_news {
        return Some(told.text);
    }
    let clock = &app.engine().ports.clock;
    let mut moment = clock.sleep(TOGETHER_MS);
    loop {
        let more = std::pin::pin!(subscription.next());
        match futures_util::future::select(more, &mut moment).await {
            futures_util::future::Either::Left((Some(frame), _)) => {
                let further = wire(&frame);
                if further.is_news {
                    told = further;
                }
            }
            futures_util::future::Either::Left((None, _)) | futures_util::future::Either::Right(_) => {
                return Some(told.text);
            }
        }
    }
}

struct Told {
    text: String,
    is_news: bool,
}

fn wire(frame: &Frame) -> Told {
    match frame {
        Frame::Event { id, .. } => Told { text: format!("id: {id}\nevent: news\ndata: 1\n\n"), is_news: true },
        // Something may have been missed: look again.
        Frame::Reset => Told { text: "event: news\ndata: 1\n\n".to_owned(), is_news: true },
        Frame::Start { .. } | Frame::Heartbeat => Told { text: frame.to_wire(), is_news: false },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_learns_that_something_happened_and_where_to_go_on() {
        let id = EventId::from_ulid(7);
        let event = Frame::Event { id, event: "message.read".to_owned(), data: "{\"secret\":1}".to_owned() };
        assert_eq!(wire(&event).text, format!("id: {id}\nevent: news\ndata: 1\n\n"));
        assert!(!wire(&Frame::Heartbeat).is_news && wire(&Frame::Reset).is_news);
    }
}
