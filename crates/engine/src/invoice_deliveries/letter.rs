//! The mail an invoice travels with when the tenant has no template of its own named [`NAME`]: written here in eight languages, with the tenant's branding, and compiled as a template is.

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
};

use model::Channel;
use serde_json::value::RawValue;

use crate::{
    Error,
    accept::request::Written,
    branding,
    documents::Language,
    templates::{Source, Variable, compile},
};

/// The tenant's own template that is taken instead.
pub const NAME: &str = "invoice-delivery";

/// What both the mail and the tenant's own templates may speak of. Those that are not known are empty.
pub const VARIABLES: &[&str] = &[
    "invoice_number",
    "document_title",
    "customer_name",
    "seller_name",
    "amount",
    "due_date",
    "issue_date",
    "message",
    "filename",
    "document_url",
];

struct Words {
    language: Language,
    subject: &'static str,
    greeting: &'static str,
    lead: &'static str,
    amount: &'static str,
    due: &'static str,
    closing: &'static str,
}

const WORDS: &[Words] = &[
    Words {
        language: Language::En,
        subject: "{{ document_title }} {{ invoice_number }} from {{ seller_name }}",
        greeting: "Hello{% if customer_name %} {{ customer_name }}{% endif %},",
        lead: "please find {{ document_title }} {{ invoice_number }} attached as a PDF.",
        amount: "Amount",
        due: "Due",
        closing: "Kind regards",
    },
    Words {
        language: Language::De,
        subject: "{{ document_title }} {{ invoice_number }} von {{ seller_name }}",
        greeting: "Guten Tag{% if customer_name %} {{ customer_name }}{% endif %},",
        lead: "anbei erhalten Sie {{ document_title }} {{ invoice_number }} als PDF.",
        amount: "Betrag",
        due: "Zahlbar bis",
        closing: "Mit freundlichen Grüßen",
    },
    Words {
        language: Language::Fr,
        subject: "{{ document_title }} {{ invoice_number }} de {{ seller_name }}",
        greeting: "Bonjour{% if customer_name %} {{ customer_name }}{% endif %},",
        lead: "veuillez trouver ci-joint le document {{ document_title }} {{ invoice_number }} au format PDF.",
        amount: "Montant",
        due: "Échéance",
        closing: "Cordialement",
    },
    Words {
        language: Language::Es,
        subject: "{{ document_title }} {{ invoice_number }} de {{ seller_name }}",
        greeting: "Hola{% if customer_name %} {{ customer_name }}{% endif %}:",
        lead: "Le enviamos adjunto en PDF el documento {{ document_title }} {{ invoice_number }}.",
        amount: "Importe",
        due: "Vencimiento",
        closing: "Saludos cordiales",
    },
    Words {
        language: Language::Pt,
        subject: "{{ document_title }} {{ invoice_number }} de {{ seller_name }}",
        greeting: "Olá{% if customer_name %} {{ customer_name }}{% endif %},",
        lead: "segue em anexo, em PDF, o documento {{ document_title }} {{ invoice_number }}.",
        amount: "Valor",
        due: "Vencimento",
        closing: "Com os melhores cumprimentos",
    },
    Words {
        language: Language::Ru,
        subject: "{{ document_title }} {{ invoice_number }}: {{ seller_name }}",
        greeting: "Здравствуйте{% if customer_name %}, {{ customer_name }}{% endif %}!",
        lead: "Во вложении {{ document_title }} {{ invoice_number }} в формате PDF.",
        amount: "Сумма",
        due: "Оплатить до",
        closing: "С уважением",
    },
    Words {
        language: Language::Hi,
        subject: "{{ seller_name }}: {{ document_title }} {{ invoice_number }}",
        greeting: "नमस्ते{% if customer_name %} {{ customer_name }}{% endif %},",
        lead: "{{ document_title }} {{ invoice_number }} पीडीएफ़ में संलग्न है।",
        amount: "राशि",
        due: "देय तिथि",
        closing: "सादर",
    },
    Words {
        language: Language::Ar,
        subject: "{{ document_title }} {{ invoice_number }} - {{ seller_name }}",
        greeting: "مرحباً{% if customer_name %} {{ customer_name }}{% endif %}،",
        lead: "تجدون {{ document_title }} {{ invoice_number }} مرفقة بصيغة PDF.",
        amount: "المبلغ",
        due: "تاريخ الاستحقاق",
        closing: "مع أطيب التحيات",
    },
];

fn mjml(words: &Words) -> String {
    let (direction, side) = if words.language.is_rtl() { ("rtl", "right") } else { ("ltr", "left") };
    let Words { greeting, lead, amount, due, closing, .. } = words;
    format!(
        r##"<mjml><mj-body background-color="{{{{ brand.colors.background }}}}">
<mj-section background-color="{{{{ brand.colors.primary }}}}" padding="4px"><mj-column></mj-column></mj-section>
<mj-section background-color="#ffffff"><mj-column>
{{% if brand.logo_url %}}<mj-image src="{{{{ brand.logo_url }}}}" alt="{{{{ brand.name }}}}" width="160px" align="{side}"></mj-image>{{% endif %}}
<mj-text align="{side}" font-family="{{{{ brand.font_stack }}}}" font-size="15px" line-height="1.5" color="{{{{ brand.colors.text }}}}">
<div dir="{direction}"><p>{greeting}</p>{{% if message %}}<p style="white-space: pre-line">{{{{ message }}}}</p>{{% endif %}}<p>{lead}</p>
{{% if amount %}}<p>{amount}: <strong>{{{{ amount }}}}</strong>{{% if due_date %}}<br>{due}: {{{{ due_date }}}}{{% endif %}}</p>{{% endif %}}
<p>{closing}<br>{{{{ seller_name }}}}</p></div></mj-text></mj-column></mj-section>
{{% if brand.footer or brand.postal_address %}}<mj-section><mj-column><mj-text align="{side}" font-family="{{{{ brand.font_stack }}}}" font-size="12px" color="{{{{ brand.colors.text }}}}">
<div dir="{direction}">{{{{ brand.footer }}}}<br>{{{{ brand.postal_address }}}}</div></mj-text></mj-column></mj-section>{{% endif %}}
</mj-body></mjml>"##
    )
}

/// What the mail says in a language, ready to be filled.
pub(super) fn written(language: Language) -> Result<Arc<Written>, Error> {
    static COMPILED: OnceLock<Result<BTreeMap<String, Arc<Written>>, Error>> = OnceLock::new();
    let compiled =
        COMPILED.get_or_init(|| Ok(compiled()?.into_iter().map(|(tag, said)| (tag, Arc::new(said))).collect()));
    let compiled = compiled.as_ref().map_err(Clone::clone)?;
    let tag = if language == Language::EnIn { Language::En.tag() } else { language.tag() };
    compiled.get(tag).cloned().ok_or_else(|| Error::internal(format!("there is no letter in {tag}")))
}

fn compiled() -> Result<BTreeMap<String, Written>, Error> {
    let variant = |words: &Words| {
        let said = serde_json::json!({ "subject": words.subject, "mjml": mjml(words) });
        let raw = RawValue::from_string(said.to_string()).map_err(Error::internal)?;
        Ok::<_, Error>((words.language.tag().to_owned(), raw))
    };
    let empty = |name: &&str| Variable { name: (*name).to_owned(), required: Some(false), ..Variable::default() };
    let source = Source {
        default_locale: Language::En.tag().to_owned(),
        variants: WORDS.iter().map(variant).collect::<Result<_, _>>()?,
        variables: Some(VARIABLES.iter().map(empty).collect()),
    };
    let contents = compile(Channel::Email, &source, &branding::sample())?.contents;
    Ok(contents.into_iter().map(|(tag, (content, needs))| (tag, Written { content, needs })).collect())
}

#[cfg(test)]
mod tests {
    use model::Content;
    use serde_json::{Value, json};

    use super::*;
    use crate::render::Prepared;

    fn said(language: Language, variables: Value) -> (String, String, String) {
        let Written { content, needs } = Written::clone(&written(language).unwrap());
        let prepared = Prepared::of_template(content, needs).unwrap();
        let filled = prepared.fill(variables.as_object().unwrap(), &branding::sample()).unwrap();
        let Content::Email(email) = &*filled else { panic!("a mail") };
        (email.subject.clone(), email.html.clone().unwrap(), email.text.clone().unwrap())
    }

    #[test]
    fn the_letter_names_what_is_known_and_escapes_it() {
        let variables = json!({"invoice_number": "2026-1", "document_title": "Invoice", "customer_name": "<b>Bab</b>", "seller_name": "Lovelace", "amount": "EUR 5.00",
            "due_date": "13 December 2026", "message": "Thank you"});
        let (subject, html, text) = said(Language::En, variables);
        assert_eq!(subject, "Invoice 2026-1 from Lovelace");
        assert!(html.contains("&lt;b&gt;Bab") && html.contains("EUR 5.00") && html.contains("Thank you"), "{html}");
        assert!(text.contains("Due: 13 December 2026") && text.contains("Lovelace"), "{text}");
    }

    #[test]
    fn what_is_not_known_is_left_out_in_every_language() {
        for words in WORDS {
            let variables = json!({"invoice_number": "7", "document_title": "X", "seller_name": "Acme"});
            let (subject, html, text) = said(words.language, variables);
            assert!(subject.contains('7') && html.contains(words.closing), "{subject}: {html}");
            assert!(!text.contains(words.due) && !html.contains("{{") && !html.contains("{%"), "{text}");
            assert_eq!(html.contains("dir=\"rtl\""), words.language == Language::Ar);
        }
        assert!(written(Language::EnIn).is_ok());
    }
}
