//! How a tenant's messages and pages look, and whether its mails are tracked (`/v1/branding`). Templates see it as `brand`.

use minijinja::Value;
use model::{AttachmentId, TenantId, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::json;
use store::{Scope, Tx, attachments, branding, tenants};
use utoipa::ToSchema;

use crate::{
    Engine, Error,
    accept::request,
    audit,
    documents::{PICTURE_MAX, Picture},
    keys::Caller,
    names::Faults,
    render::{Provided, json_value},
    templates::locale,
    tracking::token::Target,
};

/// Longest line, in characters.
const LINE_MAX: usize = 200;
/// Longest footer or postal address, in characters.
const TEXT_MAX: usize = 2_000;
/// Longest URL, in bytes.
const URL_MAX: usize = 2_048;

/// Colours as `#rrggbb`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Colors {
    /// Buttons and links.
    #[schema(example = "#1f5fd6")]
    pub primary: String,
    /// Texts on that colour.
    #[schema(example = "#ffffff")]
    pub on_primary: String,
    /// Behind everything.
    #[schema(example = "#f4f5f7")]
    pub background: String,
    /// Texts.
    #[schema(example = "#1c1e21")]
    pub text: String,
}

impl Default for Colors {
    fn default() -> Self {
        let color = |text: &str| text.to_owned();
        Self {
            primary: color("#1f5fd6"),
            on_primary: color("#ffffff"),
            background: color("#f4f5f7"),
            text: color("#1c1e21"),
        }
    }
}

/// What is tracked in mails. `null`: on for marketing, off for everything else.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TrackingRule {
    /// Whether openings are noticed, by a picture.
    pub opens: Option<bool>,
    /// Whether clicks are noticed, by links that lead through the tracking domain.
    pub clicks: Option<bool>,
}

/// How a tenant's messages and pages look.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Branding {
    /// What the tenant calls itself towards its customers; the tenant's name when `null`.
    #[schema(example = "Acme Tickets")]
    pub name: Option<String>,
    /// The name beside the sender's address.
    #[schema(example = "Acme Tickets")]
    pub sender_name: Option<String>,
    /// Where its logo lies: a public `https` URL.
    #[schema(example = "https://acme.example/logo.png")]
    pub logo_url: Option<String>,
    /// Or an uploaded picture.
    #[schema(value_type = Option<String>)]
    pub logo_attachment_id: Option<AttachmentId>,
    /// Where an uploaded logo is shown to everybody, below the tracking domain. Set by us: what is sent here is ignored.
    pub logo_path: Option<String>,
    /// Where its website is.
    pub website_url: Option<String>,
    /// Colours.
    pub colors: Colors,
    /// CSS `font-family`.
    #[schema(example = "Inter, Helvetica, Arial, sans-serif")]
    pub font_stack: Option<String>,
    /// What stands below mails and pages.
    pub footer: Option<String>,
    /// The postal address that marketing mails have to name.
    pub postal_address: Option<String>,
    /// The language of recipients whose own is not known.
    #[schema(example = "en")]
    pub default_locale: Option<String>,
    /// Where tracked links lead through, as in `https://links.acme.example`; this installation's own address when `null`. It has to reach this installation.
    #[schema(example = "https://links.acme.example")]
    pub tracking_domain: Option<String>,
    /// What is tracked in mails, unless a template or a message says otherwise.
    pub tracking: TrackingRule,
}

/// A tenant's branding as it is shown.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct BrandingView {
    /// What is set.
    #[serde(flatten)]
    pub branding: Branding,
    /// When it last changed.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub updated_at: Option<Timestamp>,
}

/// How the pages recipients see look: what the branding says of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Look {
    /// Where the logo lies: a path of ours, or a public address.
    pub logo: Option<String>,
    /// The path of the style sheet with the tenant's colours; `None` for ours.
    pub style: Option<String>,
    /// Where its website is.
    pub website_url: Option<String>,
    /// What stands below the page.
    pub footer: Option<String>,
    /// Its postal address.
    pub postal_address: Option<String>,
    /// The language of whoever says nothing of their own.
    pub default_locale: Option<String>,
}

impl Branding {
    /// How the pages of a tenant look.
    pub(crate) fn look(&self, tenant: TenantId) -> Look {
        let has_style = self.colors != Colors::default() || self.font_stack.is_some();
        // A sheet that changes has another address, so that it can be kept.
        let version = || mark(&self.style_sheet());
        Look {
            logo: self.logo_path.clone().or_else(|| self.logo_url.clone()),
            style: has_style.then(|| format!("/hosted/{tenant}.css?v={:08x}", version())),
            website_url: self.website_url.clone(),
            footer: self.footer.clone(),
            postal_address: self.postal_address.clone(),
            default_locale: self.default_locale.clone(),
        }
    }

    /// The tenant's colours and font for hosted pages. Who reads in the dark keeps our dark page with the tenant's buttons. Every value was checked when it was set.
    pub fn style_sheet(&self) -> String {
        let Colors { primary, on_primary, background, text } = &self.colors;
        let font =
            self.font_stack.as_deref().map(|fonts| format!("body {{ font-family: {fonts}; }}\n")).unwrap_or_default();
        format!(
            ":root {{ --accent: {primary}; --on-accent: {on_primary}; }}\n@media not all and (prefers-color-scheme: dark) {{\n  :root {{ --page: {background}; --text: {text}; }}\n}}\n{font}"
        )
    }

    /// What templates see as `brand`: every field is there, and empty when nothing is set.
    pub fn provided(&self, tenant_name: &str, public_url: &str) -> Provided {
        let base = self.tracking_domain.as_deref().unwrap_or(public_url);
        let logo = self.logo_path.as_ref().map(|path| format!("{base}{path}")).or_else(|| self.logo_url.clone());
        let text = |field: &Option<String>| field.clone().unwrap_or_default();
        let brand = json!({
            "name": self.name.as_deref().unwrap_or(tenant_name), "sender_name": text(&self.sender_name), "logo_url": text(&logo),
            "website_url": text(&self.website_url), "colors": self.colors, "font_stack": self.font_stack.as_deref().unwrap_or("Helvetica, Arial, sans-serif"),
            "footer": text(&self.footer), "postal_address": text(&self.postal_address),
        });
        Provided::from([("brand", json_value(&brand))])
    }

    fn check(&mut self) -> Result<(), Error> {
        let mut faults = Faults::default();
        for (pointer, line) in [("/name", &mut self.name), ("/sender_name", &mut self.sender_name)] {
            if let Some(text) = line {
                *text = faults.name(pointer, text);
            }
        }
        for (pointer, text) in [("/footer", &self.footer), ("/postal_address", &self.postal_address)] {
            if text.as_ref().is_some_and(|text| text.chars().count() > TEXT_MAX || text.contains('\0')) {
                faults.add(pointer, format!("at most {TEXT_MAX} characters, and no NUL"));
            }
        }
        for (pointer, url) in [("/logo_url", &self.logo_url), ("/website_url", &self.website_url)] {
            if url.as_ref().is_some_and(|url| !is_web(url)) {
                faults.add(pointer, "write a public URL that begins with https:// or http://");
            }
        }
        if self.logo_url.is_some() && self.logo_attachment_id.is_some() {
            faults.add("/logo_attachment_id", "give either `logo_url` or `logo_attachment_id`; set the other to null");
        }
        let colors = &self.colors;
        for (name, color) in [
            ("primary", &colors.primary),
            ("on_primary", &colors.on_primary),
            ("background", &colors.background),
            ("text", &colors.text),
        ] {
            let digits = color.strip_prefix('#').filter(|digits| matches!(digits.len(), 3 | 6));
            if !digits.is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit())) {
                faults.add(format!("/colors/{name}"), "write a colour as #rrggbb");
            }
        }
        let is_font = |c: char| c.is_ascii_alphanumeric() || matches!(c, ' ' | ',' | '-' | '\'');
        if self.font_stack.as_ref().is_some_and(|fonts| fonts.len() > LINE_MAX || !fonts.chars().all(is_font)) {
            faults.add("/font_stack", "write names of fonts with commas between them, as in Inter, Arial, sans-serif");
        }
        if let Some(text) = &mut self.default_locale {
            match locale::parse(text) {
                Some(tag) => *text = tag,
                None => faults.add("/default_locale", "not a language tag; write one such as en or pt-BR"),
            }
        }
        if let Some(domain) = &mut self.tracking_domain {
            match url::Url::parse(domain)
                .ok()
                .filter(|url| is_web(domain) && url.path() == "/" && url.query().is_none())
            {
                Some(url) => *domain = url.as_str().trim_end_matches('/').to_owned(),
                None => {
                    faults.add("/tracking_domain", "write the address without a path, as in https://links.acme.example")
                }
            }
        }
        faults.end()
    }
}

/// A short mark of a text, to tell one version from the next.
fn mark(text: &str) -> u32 {
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
    hash.as_ref().iter().take(4).fold(0, |mark, byte| (mark << 8) | u32::from(*byte))
}

fn is_web(text: &str) -> bool {
    text.len() <= URL_MAX
        && url::Url::parse(text)
            .is_ok_and(|url| matches!(url.scheme(), "https" | "http") && url.has_host() && url.username().is_empty())
}

/// The branding a tenant has.
pub(crate) async fn load(tx: &mut Tx, tenant: TenantId) -> Result<Branding, Error> {
    Ok(shown(tx, tenant).await?.branding)
}

/// A tenant's uploaded logo, for documents. `None` when it has none, or none that a document can show; one that lies at a URL is not fetched.
#[crate::boxed]
pub async fn logo(engine: &Engine, tenant: TenantId, branding: &Branding) -> Result<Option<Picture>, Error> {
    let Some(id) = branding.logo_attachment_id else { return Ok(None) };
    let read = engine.ports.db.read(Scope::Tenant(tenant), move |tx| {
        Box::pin(async move { Ok::<_, Error>(attachments::find(tx, tenant, id).await?) })
    });
    let Some(file) = read.await?.filter(|file| file.size <= PICTURE_MAX as u64) else { return Ok(None) };
    // A document without its logo is better than none.
    Ok(engine.ports.blobs.get(&file.sha256).await.ok().and_then(|bytes| Picture::read(bytes.to_vec())))
}

async fn shown(tx: &mut Tx, tenant: TenantId) -> Result<BrandingView, Error> {
    match branding::find(tx, tenant).await? {
        Some((body, at)) => {
            Ok(BrandingView { branding: serde_json::from_str(&body).map_err(Error::internal)?, updated_at: Some(at) })
        }
        None => Ok(BrandingView { branding: Branding::default(), updated_at: None }),
    }
}

/// Shows the tenant's branding. Needs the scope `templates:read`.
#[crate::boxed]
pub async fn get(engine: &Engine, caller: &Caller) -> Result<BrandingView, Error> {
    caller.need("templates:read")?;
    let tenant = caller.need_tenant()?;
    engine.ports.db.read(caller.reach(), move |tx| Box::pin(async move { shown(tx, tenant).await })).await
}

/// Changes the tenant's branding by a JSON Merge Patch. Needs the scope `templates:write`.
#[crate::boxed]
pub async fn patch(engine: &Engine, caller: &Caller, body: &[u8]) -> Result<BrandingView, Error> {
    caller.need("templates:write")?;
    let tenant = caller.need_tenant()?;
    let change: serde_json::Map<String, serde_json::Value> = request::read(body, "")?;
    let now = engine.ports.clock.now();
    let signer = engine.signer().await?;
    let (ids, by) = (std::sync::Arc::clone(&engine.ports.ids), caller.clone());
    let write = engine.ports.db.write(caller.reach(), move |tx| {
        Box::pin(async move {
            tenants::bump(tx, Some(tenant)).await?;
            let before = json!(load(tx, tenant).await?);
            let mut after = merged(&before, change)?;
            after.logo_path =
                after.logo_attachment_id.map(|id| format!("/t/{}", signer.token(tenant, &Target::Logo(id))));
            if let Some(id) = after.logo_attachment_id {
                let found = attachments::find(tx, tenant, id).await?;
                let found =
                    found.ok_or_else(|| Error::invalid("/logo_attachment_id", "there is no such attachment"))?;
                if !found.content_type.starts_with("image/") {
                    return Err(Error::invalid("/logo_attachment_id", "this file is not a picture"));
                }
            }
            let after_json = json!(after);
            branding::put(tx, tenant, &after_json.to_string(), now).await?;
            let difference = audit::difference(&before, &after_json);
            audit::record(tx, tenant, &ids, now, &by, "branding.updated", tenant, &difference).await?;
            Ok::<_, Error>(BrandingView { branding: after, updated_at: Some(now) })
        })
    });
    let view = write.await?;
    engine.directory.catch_up().await;
    Ok(view)
}

/// The branding after a change, checked.
fn merged(before: &serde_json::Value, change: serde_json::Map<String, serde_json::Value>) -> Result<Branding, Error> {
    let known = json!(Branding::default());
    if let Some(name) = change.keys().find(|name| known.get(name.as_str()).is_none()) {
        let names: Vec<&str> = known.as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect();
        let detail = format!("unknown field `{name}`, expected one of {}", names.join(", "));
        return Err(Error::invalid(format!("/{name}"), detail));
    }
    let mut merged = before.clone();
    merge(&mut merged, serde_json::Value::Object(change));
    let mut after: Branding = request::read(merged.to_string().as_bytes(), "")?;
    after.check()?;
    Ok(after)
}

/// JSON Merge Patch (RFC 7396). What is removed comes back as its default when the result is read.
pub(crate) fn merge(target: &mut serde_json::Value, patch: serde_json::Value) {
    match patch {
        serde_json::Value::Object(fields) => {
            if !target.is_object() {
                *target = json!({});
            }
            let object = target.as_object_mut().expect("it was just made one");
            for (name, value) in fields {
                if value.is_null() {
                    object.remove(&name);
                } else {
                    merge(object.entry(name).or_insert(serde_json::Value::Null), value);
                }
            }
        }
        value => *target = value,
    }
}

/// `brand` for something that has no tenant at hand: previews of the compiler.
pub fn sample() -> Provided {
    let mut provided = Branding::default().provided("Acme", "https://example.com");
    for name in ["unsubscribe_url", "preferences_url"] {
        provided.insert(name, Value::from("https://example.com/"));
    }
    provided
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_shown_safely_is_refused() {
        let check = |change: serde_json::Value, expected: Option<&str>| {
            let fields = change.as_object().unwrap().clone();
            let refused = merged(&json!(Branding::default()), fields).err();
            assert_eq!(refused.map(|error| error.errors[0].pointer.clone()).as_deref(), expected, "{change}");
        };
        check(
            json!({"colors": {"primary": "#abc"}, "font_stack": "'Open Sans', Arial", "tracking_domain": "https://t.acme.example/"}),
            None,
        );
        check(json!({"colors": null, "footer": null}), None);
        check(json!({"colors": {"primary": "red;} body{"}}), Some("/colors/primary"));
        check(json!({"colors": {"primry": "#abcdef"}}), Some("/colors/primry"));
        check(json!({"font_stack": "x; background: url(y)"}), Some("/font_stack"));
        check(json!({"logo_url": "javascript:alert(1)"}), Some("/logo_url"));
        check(json!({"website_url": "https://user@acme.example"}), Some("/website_url"));
        check(json!({"tracking_domain": "https://t.acme.example/x"}), Some("/tracking_domain"));
        check(json!({"default_locale": "English"}), Some("/default_locale"));
        check(json!({"logo": "x"}), Some("/logo"));
        check(json!({"name": "a\nb"}), Some("/name"));
    }
}
