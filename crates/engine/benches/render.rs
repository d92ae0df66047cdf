//! What rendering one mail of a personalised MJML template costs: `cargo bench -p tidings-engine --bench render`.
#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a bench reads the clock and prints what it measured"
)]

use std::time::Instant;

use model::{Channel, MessageId, TenantId};
use tidings_engine::{
    branding,
    render::Prepared,
    templates::{Source, compile},
    tracking::{
        self,
        rewrite::{Frame, tracked},
        token::Signer,
    },
};

const MAILS: u32 = 20_000;

fn main() {
    let rows = r#"{% for line in lines %}<mj-text>{{ line.name }}: {{ line.price }}</mj-text>{% endfor %}"#;
    let mjml = format!(
        r#"<mjml><mj-head><mj-style>.big {{ font-size: 24px }}</mj-style></mj-head><mj-body background-color="{{{{ brand.colors.background }}}}">
        <mj-section><mj-column><mj-image src="{{{{ brand.logo_url }}}}"/><mj-text css-class="big">Dear {{{{ name }}}},</mj-text>{rows}
        <mj-button href="https://acme.example/orders/{{{{ order }}}}?utm_source=mail">Your order</mj-button></mj-column></mj-section>
        <mj-section><mj-column><mj-text>{{{{ brand.postal_address }}}} <a href="{{{{ unsubscribe_url }}}}">Unsubscribe</a></mj-text></mj-column></mj-section>
        </mj-body></mjml>"#
    );
    let source = serde_json::json!({ "default_locale": "en", "variants": {"en": {"subject": "Order {{ order }}", "mjml": mjml}} });
    let source: Source = serde_json::from_str(&source.to_string()).unwrap();
    let started = Instant::now();
    let made = compile(Channel::Email, &source, &branding::sample()).map_err(|error| error.to_string()).unwrap();
    println!("publishing: {} µs", started.elapsed().as_micros());
    let (content, needs) = made.contents["en"].clone();
    let prepared = Prepared::of_template(content, needs).map_err(|error| error.to_string()).unwrap();
    let provided = branding::sample();
    let variables = r#"{"name": "Ada <3", "order": "42", "lines": [{"name": "Ticket", "price": "12 €"}, {"name": "Seat", "price": "3 €"}, {"name": "Tea", "price": "2 €"}]}"#;
    let signer = Signer::new(b"secret");
    let frame = |number: u32| Frame {
        signer: &signer,
        base: "https://t.acme.example",
        own: "https://tidings.example",
        tenant: TenantId::from_ulid(1),
        message: MessageId::from_ulid(number.into()),
        tracking: tracking::OPENS | tracking::CLICKS,
    };
    let mut bytes = 0;
    let started = Instant::now();
    for _ in 0..MAILS {
        let rendered = prepared.render(Some(variables), &provided).map_err(|error| error.to_string()).unwrap();
        bytes = serde_json::to_string(&*rendered).unwrap().len();
    }
    println!(
        "rendering: {:.1} µs for each of {MAILS} mails of {bytes} bytes as JSON",
        started.elapsed().as_secs_f64() * 1e6 / f64::from(MAILS)
    );
    let rendered = prepared.render(Some(variables), &provided).map_err(|error| error.to_string()).unwrap();
    let started = Instant::now();
    for number in 0..MAILS {
        std::hint::black_box(tracked(&frame(number), &rendered));
    }
    println!("tracking: {:.1} µs for each", started.elapsed().as_secs_f64() * 1e6 / f64::from(MAILS));
}
