//! How a tenant's messages and pages look.

use axum::extract::State;
use engine::branding::{self, Branding, BrandingView};

use crate::{
    App,
    answer::{self, Answer},
    examples,
    extract::{Json, Who},
};

/// Shows the branding
///
/// Templates see it as `brand`; the pages recipients see wear it too.
#[utoipa::path(get, path = "/v1/branding", operation_id = "get_branding", tag = "Templates",
    responses((status = 200, description = "The branding.", body = BrandingView, example = json!(examples::branding()))))]
pub(crate) async fn get(State(app): State<App>, Who(caller): Who) -> Answer {
    answer::json(&branding::get(app.engine(), &caller).await?)
}

/// Changes the branding
///
/// JSON Merge Patch: fields left out keep their value, `null` brings the default back. Messages that leave from now on wear it, also those accepted before.
#[utoipa::path(patch, path = "/v1/branding", operation_id = "update_branding", tag = "Templates",
    request_body(content = Branding, example = json!({"logo_url": "https://acme.example/logo.png", "colors": {"primary": "#1f5fd6"}})),
    responses((status = 200, description = "The branding as it is now.", body = BrandingView, example = json!(examples::branding()))))]
pub(crate) async fn patch(State(app): State<App>, Who(caller): Who, Json(body): Json) -> Answer {
    answer::json(&branding::patch(app.engine(), &caller, &body).await?)
}
