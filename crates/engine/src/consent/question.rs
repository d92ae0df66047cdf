//! The question of a double opt-in, by channel and language: pure. It asks and does nothing else, as the law wants it.

use model::{Channel, Content, EmailContent, SmsContent, TelegramContent, WhatsappContent};

use super::words::Language;

/// What the question says; `None` for channels on which nobody can follow a link.
pub(crate) fn content(channel: Channel, language: Language, tenant: &str, url: &str) -> Option<Content> {
    let words = words(language, tenant);
    let text = format!("{} {url}", words.short);
    match channel {
        Channel::Email => Some(Content::Email(EmailContent {
            subject: words.subject,
            text: Some(format!("{}\n\n{url}\n\n{}\n", words.long, words.ignore)),
            html: None,
            reply_to: None,
            headers: std::collections::BTreeMap::new(),
            attachments: Vec::new(),
        })),
        Channel::Sms => Some(Content::Sms(SmsContent { text, media: Vec::new() })),
        Channel::Whatsapp => Some(Content::Whatsapp(WhatsappContent {
            text,
            media: Vec::new(),
            buttons: Vec::new(),
            location: None,
            whatsapp_template: None,
        })),
        Channel::Telegram => {
            Some(Content::Telegram(TelegramContent { text, media: Vec::new(), buttons: Vec::new(), location: None }))
        }
        Channel::Voice | Channel::Webhook => None,
    }
}

struct Words {
    subject: String,
    long: String,
    ignore: &'static str,
    short: String,
}

fn words(language: Language, tenant: &str) -> Words {
    match language {
        Language::En => Words {
            subject: format!("Please confirm: messages from {tenant}"),
            long: format!(
                "Somebody, probably you, asked for messages from {tenant} to this address. Please confirm that you want them:"
            ),
            ignore: "If it was not you, do nothing: you will get no messages.",
            short: format!("{tenant}: please confirm that you want our messages:"),
        },
        Language::De => Words {
            subject: format!("Bitte bestätigen: Nachrichten von {tenant}"),
            long: format!(
                "Jemand, vermutlich Sie, hat für diese Adresse Nachrichten von {tenant} bestellt. Bitte bestätigen Sie, dass Sie sie möchten:"
            ),
            ignore: "Waren Sie es nicht, tun Sie nichts: Sie erhalten dann keine Nachrichten.",
            short: format!("{tenant}: Bitte bestätigen Sie, dass Sie unsere Nachrichten möchten:"),
        },
        Language::Fr => Words {
            subject: format!("Merci de confirmer : messages de {tenant}"),
            long: format!(
                "Quelqu'un, sans doute vous, a demandé à recevoir les messages de {tenant} à cette adresse. Merci de confirmer que vous les souhaitez :"
            ),
            ignore: "Si ce n'était pas vous, ne faites rien : vous ne recevrez aucun message.",
            short: format!("{tenant} : merci de confirmer que vous souhaitez nos messages :"),
        },
        Language::Es => Words {
            subject: format!("Confirme, por favor: mensajes de {tenant}"),
            long: format!(
                "Alguien, probablemente usted, pidió recibir mensajes de {tenant} en esta dirección. Confirme, por favor, que los desea:"
            ),
            ignore: "Si no fue usted, no haga nada: no recibirá ningún mensaje.",
            short: format!("{tenant}: confirme, por favor, que desea nuestros mensajes:"),
        },
        Language::Hi => Words {
            subject: format!("कृपया पुष्टि करें: {tenant} के संदेश"),
            long: format!("किसी ने, संभवतः आपने, इस पते पर {tenant} के संदेश माँगे हैं। कृपया पुष्टि करें कि आप इन्हें चाहते हैं:"),
            ignore: "यदि यह आप नहीं थे, तो कुछ न करें: आपको कोई संदेश नहीं आएगा।",
            short: format!("{tenant}: कृपया पुष्टि करें कि आप हमारे संदेश चाहते हैं:"),
        },
    }
}
