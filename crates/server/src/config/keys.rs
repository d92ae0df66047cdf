//! Every setting there is: its name, what a value looks like, its default, and what it is for. The reference `docs/configuration.md`, the check for
//! unknown settings and `tidings doctor` all read this table.

use std::fmt::Write as _;

/// One setting.
pub struct Key {
    /// Its name in `tidings.toml`; `<id>` stands for any connector.
    pub path: &'static str,
    /// What a value looks like.
    pub form: &'static str,
    /// The default as text, for people; what is in parentheses is worked out at the start.
    pub default: &'static str,
    /// True when the value must not be shown.
    pub is_secret: bool,
    /// What it is for, and why the default is what it is.
    pub help: &'static str,
}

const fn key(path: &'static str, form: &'static str, default: &'static str, help: &'static str) -> Key {
    Key { path, form, default, is_secret: false, help }
}

const fn secret(path: &'static str, form: &'static str, default: &'static str, help: &'static str) -> Key {
    Key { path, form, default, is_secret: true, help }
}

/// Every setting, in the order of the reference.
pub const KEYS: &[Key] = &[
    key("listen", "ADDRESS:PORT", "127.0.0.1:8080", "Where the API listens. Port 0 takes a free one."),
    key(
        "mail_listen",
        "ADDRESS:PORT",
        "(none: no mail is taken)",
        "Where bounces, complaints and answers come in by SMTP, for e-mail accounts with a `bounce_domain` or `reply_domain`: only mail to addresses this installation made is taken. The world \
         brings mail to port 25; let the firewall or a mail server lead it here. In processes with the role `api`.",
    ),
    key(
        "mail_tls_certificate",
        "PATH",
        "(none: STARTTLS is not offered)",
        "The certificate the mail listener shows after STARTTLS, with its chain, as PEM. It is read again within seconds of a change, so a renewed one needs no restart. Needs `mail_tls_key`.",
    ),
    key(
        "mail_tls_key",
        "PATH",
        "(none: STARTTLS is not offered)",
        "The private key that goes with `mail_tls_certificate`, as PEM.",
    ),
    key(
        "data_dir",
        "PATH",
        "./data",
        "Where files live: the SQLite database, attachments, and the master key when none is configured. Made when it is missing, for our user only.",
    ),
    secret(
        "database_url",
        "sqlite:PATH or postgres://USER:PASSWORD@HOST/DATABASE",
        "(sqlite: tidings.db in the data directory)",
        "The database. Several processes may share one PostgreSQL (15 or newer); an SQLite database belongs to one `serve` at a time. On PostgreSQL use an ordinary role, no superuser, \
         so that row-level security guards tenants from each other.",
    ),
    key(
        "public_url",
        "URL",
        "(http:// and the address we listen at)",
        "Where the world reaches this installation. Callback URLs begin with it, and mail servers are greeted with its name.",
    ),
    key(
        "client_ip_header",
        "NAME",
        "(none: the connection's peer)",
        "Header in which the proxy in front of us names the client, such as `x-forwarded-for`; of several addresses the last counts. Only set it when every request comes through that \
         proxy: allow-lists of API keys trust it.",
    ),
    secret(
        "master_key",
        "BASE64, or ID:BASE64,ID:BASE64",
        "(made at the first start: master.key in the data directory)",
        "32 random bytes in base64, as `openssl rand -base64 32` prints them. Seals the tenants' secrets. Of several keys the first seals and the others only open: put a new key in front, \
         run `tidings master-key rotate`, then drop the old one.",
    ),
    secret(
        "bootstrap_operator_key",
        "tdo_…",
        "(a random key, printed once)",
        "On the very first start this becomes the operator's API key; later it is not looked at. For containers and tests.",
    ),
    key(
        "mail_tenant",
        "ten_…",
        "(none: links are shown to whoever makes them)",
        "The tenant through whose default e-mail account the installation itself writes to people: invitations of tenants without an account of their own (50 a day for each, 3 of them to one address), and password resets. Letters about the operator's alerts leave through its accounts, too, and its webhook endpoints and streams get these alerts as the events `operator_alert.*`: whoever sees its events sees them. A stream that the operator opens outside of any tenant follows them there, too, and counts among that tenant's streams.",
    ),
    key(
        "oidc.issuer",
        "URL",
        "(none: nobody signs in through a provider)",
        "The OpenID Connect provider people may sign in with, exactly as its tokens name it. Its host is allowed as an outgoing target. Register `/v1/oidc/callback` below `public_url` there.",
    ),
    key("oidc.client_id", "TEXT", "(none)", "Who this installation is to the provider. Needed with `oidc.issuer`."),
    secret(
        "oidc.client_secret",
        "TEXT",
        "(none: a public client)",
        "How this installation proves who it is to the provider.",
    ),
    key(
        "oidc.allowed_domains",
        "LIST of DOMAIN",
        "(all)",
        "Domains of verified e-mail addresses that may sign in through the provider.",
    ),
    key(
        "oidc.auto_create",
        "ten_…:ROLE",
        "(none: only who was invited)",
        "Makes somebody new who comes from the provider a member of this tenant, as owner, admin, member or viewer.",
    ),
    key(
        "roles",
        "LIST of api, console, worker",
        "api,console,worker",
        "What this process does: answer the API, show the console, send and run background jobs. Processes with different roles share the work on one PostgreSQL.",
    ),
    key(
        "lanes",
        "database",
        "database",
        "Where due work waits between accepting and sending. The database is always right; brokers that make it prompter will come.",
    ),
    key(
        "connectors.<id>.base_url",
        "URL",
        "(the provider's own)",
        "Where a connector's requests go instead of the provider: another region, a proxy, a simulator. Its host is allowed as an outgoing target.",
    ),
    key(
        "outbound.allow",
        "LIST of HOST, HOST:PORT, ADDRESS, NETWORK/PREFIX, loopback",
        "(loopback on a developer's machine, else nothing)",
        "What outgoing connections may reach besides the public internet: a mail server in a private network, a webhook receiver. When it is not set and both `listen` and `public_url` are on \
         loopback, loopback is allowed; the log and `tidings doctor` say so.",
    ),
    key(
        "outbound.ca_files",
        "LIST of PATH",
        "(none)",
        "PEM files with certificate authorities to trust besides Mozilla's, for servers with certificates of your own.",
    ),
    key(
        "dns_resolver",
        "ADDRESS or ADDRESS:PORT",
        "(the system's)",
        "Which DNS server is asked when the records of a mail domain are verified. A public one sees what the world sees, also where the system's own answers from inside.",
    ),
    key(
        "limits.body_bytes",
        "NUMBER, 1024 to 67108864",
        "10485760",
        "Largest request body. Larger attachments are uploaded first.",
    ),
    key(
        "limits.connections",
        "NUMBER, 1 to 1000000",
        "8192",
        "Connections of clients open at once; more are answered 503 and closed. Each takes a file descriptor and about 20 KiB.",
    ),
    key(
        "limits.tenant_per_second",
        "NUMBER, 0 is no limit",
        "200000",
        "Requests a tenant may make per second unless its own setting says otherwise; a batch counts its messages. The default is beyond what one node accepts: only a runaway client meets it.",
    ),
    key(
        "limits.in_flight",
        "NUMBER, 1 to 65536",
        "1024",
        "Attempts this process has under way at once: enough for the slowest provider at full rate, and some 10 MB of memory.",
    ),
    key(
        "limits.stop_ms",
        "NUMBER, 0 to 3600000",
        "25000",
        "Time to finish what is in flight after SIGTERM, in milliseconds. Container platforms commonly kill after 30 seconds.",
    ),
    key("log.format", "text or json", "text", "How log lines look, on standard error."),
    key(
        "log.level",
        "error, warn, info, debug, trace, or a filter such as info,tidings_engine=debug",
        "info",
        "Which log lines are written. Addresses, bodies and secrets are in none.",
    ),
];

/// The name of a connector in the middle of `connectors.<id>.base_url`.
pub fn connector_of(path: &str) -> Option<&str> {
    path.strip_prefix("connectors.")?.strip_suffix(".base_url")
}

/// The declaration behind a path, with any connector for `<id>`.
pub fn find(path: &str) -> Option<&'static Key> {
    let declared = if connector_of(path).is_some() { "connectors.<id>.base_url" } else { path };
    KEYS.iter().find(|key| key.path == declared)
}

/// The environment variable of a path.
pub fn variable(path: &str) -> String {
    format!("TIDINGS_{}", path.replace('.', "__").to_uppercase())
}

/// The reference page, `docs/configuration.md`.
pub fn reference() -> String {
    let mut page = String::from(
        "# Configuration\n\n\
         Defaults in the program, then `tidings.toml` in the working directory (another file: `--config FILE` or `TIDINGS_CONFIG`), then environment variables, then flags \
         (`--set KEY=VALUE`): the later one wins. Lists are arrays in the file and separated by commas elsewhere.\n\
         A setting that does not exist or cannot be used stops the program with one line that says which and why. `tidings doctor` shows what is in force and where each value came from.\n\n\
         ```toml\n\
         listen = \"0.0.0.0:8080\"\n\
         public_url = \"https://tidings.example.com\"\n\
         database_url = \"postgres://tidings:secret@db.internal/tidings\"\n\n\
         [outbound]\n\
         allow = [\"mail.internal:25\"]\n\n\
         [connectors.twilio]\n\
         base_url = \"https://api.dublin.ie1.twilio.com\"\n\
         ```\n\n\
         This page is generated from the program: `tidings doctor --settings` prints it.\n",
    );
    for key in KEYS {
        let _ = write!(
            page,
            "\n## `{}`\n\n`{}` · {}, by default {}\n\n{}\n",
            key.path,
            variable(key.path).replace("<ID>", "…"),
            key.form,
            match key.default.strip_prefix('(').and_then(|text| text.strip_suffix(')')) {
                Some(text) => text.to_owned(),
                None => format!("`{}`", key.default),
            },
            key.help
        );
    }
    page
}
