//! The names of settings that the public contract promises: outside programs write them, so none may be renamed.

/// Each connector with the settings its tenants were promised.
const PROMISED: &[(&str, &[&str])] = &[
    ("smtp", &["host", "port", "security", "username", "password"]),
    ("ses", &["access_key_id", "secret_access_key", "region", "configuration_set"]),
    ("sns", &["access_key_id", "secret_access_key", "region"]),
    ("sendgrid", &["api_key", "webhook_public_key"]),
    ("mailgun", &["api_key", "domain", "region", "webhook_signing_key"]),
    ("mailjet", &["api_key", "secret_key"]),
    ("resend", &["api_key", "webhook_secret"]),
    ("twilio", &["account_sid", "auth_token", "messaging_service_sid"]),
    ("vonage", &["api_key", "api_secret", "signature_secret", "application_id", "private_key"]),
    ("messagebird", &["access_key", "signing_key"]),
    (
        "whatsapp_cloud",
        &["access_token", "phone_number_id", "business_account_id", "app_secret", "verify_token", "api_version"],
    ),
    ("gupshup", &["api_key", "app_name", "source"]),
    ("aisensy", &["api_key", "webhook_secret"]),
    ("interakt", &["api_key", "webhook_secret"]),
    ("telegram", &["bot_token", "secret_token"]),
    ("sandbox", &[]),
];

#[test]
fn settings_keep_the_names_that_were_promised() {
    for (id, names) in PROMISED {
        let connector =
            tidings_connectors::registry::find(id).unwrap_or_else(|| panic!("there is no connector `{id}`"));
        let declared: Vec<&str> = connector.spec().fields.iter().map(|field| field.name).collect();
        for name in *names {
            assert!(declared.contains(name), "{id} has no setting `{name}`, only {declared:?}");
        }
    }
}
