//! One connection over HTTP/1.1.

use std::{io, sync::Arc};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::{Reply, Request, Simulator};

/// Largest request, in bytes: Telegram's uploads of 50 MB, the largest any provider takes, and what goes around them.
const BODY_MAX: usize = 52 * 1024 * 1024;

/// Answers the requests of one connection to its end. Must be called inside a tokio runtime, where callbacks go on after it.
pub async fn serve_http<S>(simulator: Arc<Simulator>, stream: S)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let answer = service_fn(move |request| answer(Arc::clone(&simulator), request));
    // A client that goes away in the middle is its own affair.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
}

/// An error ends the connection without an answer.
async fn answer(
    simulator: Arc<Simulator>,
    request: http::Request<Incoming>,
) -> Result<http::Response<Full<Bytes>>, io::Error> {
    let (head, body) = request.into_parts();
    let Ok(body) = Limited::new(body, BODY_MAX).collect().await else {
        return Ok(response(Reply::of(413, "text/plain", "Request Entity Too Large")));
    };
    let headers = head.headers.iter();
    let request = Request {
        method: head.method.to_string(),
        path: head.uri.path().to_owned(),
        query: head.uri.query().unwrap_or_default().to_owned(),
        headers: headers
            .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
            .collect(),
        body: body.to_bytes(),
    };
    let turn = simulator.turn(&request);
    if turn.wait_ms > 0 {
        simulator.clock.sleep(turn.wait_ms).await;
    }
    simulator.carry_out(turn.due);
    turn.reply.map(response).ok_or_else(|| io::Error::other("the script ends the connection here"))
}

fn response(reply: Reply) -> http::Response<Full<Bytes>> {
    let start = http::Response::builder().status(reply.status);
    let response = reply.headers.iter().fold(start, |response, (name, value)| response.header(*name, value));
    // Only a value with a line break could fail here, and providers write none.
    response.body(Full::new(reply.body)).unwrap_or_default()
}
