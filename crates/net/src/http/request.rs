//! Builds the request line and headers. Refuses what could be read as two requests.

use ::http::{HeaderName, HeaderValue, Request, header};
use bytes::Bytes;
use http_body_util::Full;
use model::{Broken, HttpCall, Method};

use crate::{broken, guard::Target};

/// Headers that say how the message is framed or how the connection is used: only the transport knows that.
const OURS: [HeaderName; 8] = [
    header::CONNECTION,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::TE,
    header::TRAILER,
    header::EXPECT,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

/// The request for a call, in origin form. Fails with `bad_request` (or `bad_url`) before anything is sent.
pub(super) fn build(
    call: &HttpCall,
    target: &Target,
    user_agent: &HeaderValue,
) -> Result<Request<Full<Bytes>>, Broken> {
    let mut request = Request::new(Full::new(call.body.clone()));
    *request.method_mut() = match call.method {
        Method::Get => ::http::Method::GET,
        Method::Post => ::http::Method::POST,
        Method::Put => ::http::Method::PUT,
        Method::Patch => ::http::Method::PATCH,
        Method::Delete => ::http::Method::DELETE,
    };
    *request.uri_mut() = target
        .path_and_query
        .parse()
        .map_err(|_| broken::unsent("bad_url", "The URL has a path or query that HTTP cannot carry."))?;
    let authority = HeaderValue::from_str(&target.authority)
        .map_err(|_| broken::unsent("bad_url", "The URL names a host that HTTP cannot carry."))?;
    let length = HeaderValue::from(call.body.len());
    let headers = request.headers_mut();
    headers.reserve(call.headers.len() + 3);
    headers.insert(header::HOST, authority.clone());
    headers.insert(header::USER_AGENT, user_agent.clone());
    let carries_body = !call.body.is_empty() || matches!(call.method, Method::Post | Method::Put | Method::Patch);
    if carries_body {
        headers.insert(header::CONTENT_LENGTH, length.clone());
    }
    for (name, value) in &call.headers {
        let (name, value) = checked(name, value)?;
        match name {
            header::HOST if value == authority => {}
            header::CONTENT_LENGTH if carries_body && value == length => {}
            header::HOST | header::CONTENT_LENGTH => {
                return Err(bad(format!("The header {name} contradicts the URL or the body; leave it out.")));
            }
            header::USER_AGENT => drop(headers.insert(header::USER_AGENT, value)),
            name if OURS.contains(&name) => {
                return Err(bad(format!("The header {name} is set by Tidings; leave it out.")));
            }
            name => drop(headers.append(name, value)),
        }
    }
    Ok(request)
}

/// A header HTTP can carry: no line breaks, no NUL, no other control characters.
fn checked(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), Broken> {
    let Ok(parsed) = HeaderName::from_bytes(name.as_bytes()) else {
        return Err(bad(format!("{name:?} is no header name.")));
    };
    match HeaderValue::from_bytes(value.as_bytes()) {
        Ok(value) => Ok((parsed, value)),
        Err(_) => Err(bad(format!("The header {parsed} contains a line break or another control character."))),
    }
}

fn bad(detail: String) -> Broken {
    broken::unsent("bad_request", detail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Guard;

    fn built(call: &HttpCall) -> Result<Request<Full<Bytes>>, Broken> {
        let target = Guard::default().check_url(&call.url, false).unwrap();
        build(call, &target, &HeaderValue::from_static("Tidings/0"))
    }

    #[test]
    fn the_transport_adds_its_headers() {
        let call = HttpCall::new(Method::Post, "https://a.example:8443/x?y=1#z").body("text/plain", "hello");
        let request = built(&call).unwrap();
        assert_eq!(request.uri(), "/x?y=1");
        let headers: Vec<_> = request.headers().iter().map(|(n, v)| format!("{n}: {}", v.to_str().unwrap())).collect();
        let expected =
            ["host: a.example:8443", "user-agent: Tidings/0", "content-length: 5", "content-type: text/plain"];
        assert_eq!(headers, expected);
    }

    #[test]
    fn a_post_without_body_says_so_and_a_get_does_not() {
        let length = |method| {
            built(&HttpCall::new(method, "https://a.example/")).unwrap().headers().get("content-length").cloned()
        };
        assert_eq!(length(Method::Post).unwrap(), "0");
        assert_eq!(length(Method::Get), None);
    }

    #[test]
    fn headers_that_could_split_a_request_are_refused() {
        let call = || HttpCall::new(Method::Post, "https://a.example/").body("text/plain", "hello");
        for (name, value, refused) in [
            ("x-a", "plain", false),
            ("x-a", "tab\tis fine", false),
            ("x-a", "Grüße", false),
            ("host", "a.example", false),
            ("content-length", "5", false),
            ("user-agent", "Mine/1", false),
            ("x-a", "b\r\nx-c: d", true),
            ("x-a", "b\nc", true),
            ("x-a", "b\rc", true),
            ("x-a", "b\0c", true),
            ("x-a\r\nb", "c", true),
            ("x a", "c", true),
            ("", "c", true),
            ("x-a:", "c", true),
            ("host", "b.example", true),
            ("content-length", "6", true),
            ("transfer-encoding", "chunked", true),
            ("connection", "close", true),
            ("expect", "100-continue", true),
        ] {
            let result = built(&call().header(name, value));
            assert_eq!(result.is_err(), refused, "{name:?}: {value:?}");
            if let Err(broken) = result {
                assert_eq!((broken.code, broken.may_have_acted), ("bad_request", false));
            }
        }
    }
}
