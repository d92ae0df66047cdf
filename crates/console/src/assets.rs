//! Styles, scripts and the font, embedded in the binary. Their address holds a hash over all of them, so browsers keep them for good and never mix two versions.

use std::sync::LazyLock;

use axum::{extract::Path, response::Response};
use http::{HeaderValue, StatusCode, header};
use rust_embed::RustEmbed;

#[derive(RustEmbed)]
#[folder = "assets/"]
struct Assets;

/// Characters of the hash in an address: enough that no two builds share one.
const HASH_LEN: usize = 12;

static HASH: LazyLock<String> = LazyLock::new(|| {
    // FNV-1a over the files' own SHA-256, in their order: stable, and no more is asked of it.
    let files = Assets::iter().filter_map(|name| Assets::get(&name));
    let sum = files
        .flat_map(|file| file.metadata.sha256_hash())
        .fold(0xcbf2_9ce4_8422_2325_u64, |sum, byte| (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    format!("{sum:016x}")[..HASH_LEN].to_owned()
});

/// The address of an asset, such as `console.css`.
pub(crate) fn url(name: &str) -> String {
    format!("{}/assets/{}/{name}", crate::BASE, *HASH)
}

/// Answers an asset.
pub(crate) async fn serve(Path((hash, name)): Path<(String, String)>) -> Response {
    let Some(file) = Assets::get(&name) else {
        return crate::guard::plain(StatusCode::NOT_FOUND, "There is no such file.");
    };
    let kind = match name.rsplit('.').next() {
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("woff2") => "font/woff2",
        Some("svg") => "image/svg+xml",
        _ => "text/plain; charset=utf-8",
    };
    let keep = if hash == *HASH { "public, max-age=31536000, immutable" } else { "no-cache" };
    let mut response = Response::new(file.data.into_owned().into());
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static(keep));
    response
}
