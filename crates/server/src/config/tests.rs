use super::{keys::KEYS, *};

/// A configuration from the text of a file, variables and `--set` flags.
fn load(file: &str, variables: &[(&str, &str)], set: &[&str]) -> Result<Config, ConfigError> {
    let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let mut layers = Layers::default();
    layers.add_file(Path::new("tidings.toml"), file)?;
    let flags = Flags { set: set.iter().map(|text| (*text).to_owned()).collect(), ..Flags::default() };
    layers.add_environment(variables.collect())?;
    layers.add_flags(&flags)?;
    Config::read(layers)
}

fn from_file(file: &str) -> Result<Config, ConfigError> {
    load(file, &[], &[])
}

#[test]
fn every_default_can_be_used() {
    let config = from_file("").unwrap();
    assert_eq!(config.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.database_url.reveal(), "sqlite:./data/tidings.db");
    assert_eq!(config.sqlite_file(), Some(Path::new("./data/tidings.db")));
    assert_eq!(config.roles, Roles { api: true, console: true, worker: true });
    assert_eq!(config.limits.body_bytes, 10 << 20);
    assert_eq!(config.limits.tenant_per_second, Some(engine_default()));
    assert!(config.master_key.is_none() && config.base_urls.is_empty() && config.outbound.extra_root_pems.is_empty());
}

/// What `limits.tenant_per_second` is by default.
fn engine_default() -> u32 {
    200_000
}

#[test]
fn later_layers_win() {
    let file = "listen = \"127.0.0.1:1\"\npublic_url = \"https://file.example\"\n[log]\nlevel = \"warn\"\n";
    let variables = [("TIDINGS_LISTEN", "127.0.0.1:2"), ("TIDINGS_LOG__LEVEL", "debug"), ("HOME", "/root")];
    let config = load(file, &variables, &["listen=127.0.0.1:3"]).unwrap();
    assert_eq!((config.listen.port(), config.log.level.as_str()), (3, "debug"));
    assert_eq!(config.public_url.as_deref(), Some("https://file.example"));
    let origin = |key: &str| config.effective.iter().find(|setting| setting.key == key).unwrap().origin.clone();
    assert_eq!(
        ["listen", "log.level", "public_url", "data_dir"].map(origin),
        ["--set", "TIDINGS_LOG__LEVEL", "tidings.toml line 2", "default"]
    );
}

#[test]
fn lists_and_numbers_are_written_in_the_way_of_their_layer() {
    let file = "[outbound]\nallow = [\"mail.internal:25\", \"10.1.0.0/16\"]\n[limits]\nconnections = 1_000\n";
    let from_file = from_file(file).unwrap();
    let from_environment = load(
        "",
        &[("TIDINGS_OUTBOUND__ALLOW", "mail.internal:25, 10.1.0.0/16"), ("TIDINGS_LIMITS__CONNECTIONS", "1000")],
        &[],
    );
    let from_environment = from_environment.unwrap();
    assert_eq!(from_file.outbound.allow, from_environment.outbound.allow);
    assert_eq!((from_file.outbound.allow.len(), from_file.limits.connections), (2, 1000));
    assert_eq!(from_environment.limits.connections, 1000);
    assert_eq!(load("", &[("TIDINGS_LIMITS__TENANT_PER_SECOND", "0")], &[]).unwrap().limits.tenant_per_second, None);
}

#[test]
fn loopback_is_open_on_a_developers_machine_only() {
    let check = |file: &str, expected: bool| {
        let config = from_file(file).unwrap();
        assert_eq!(config.outbound.is_loopback_by_default, expected, "{file}");
        assert_eq!(config.outbound.allow.contains(&Allowed::Loopback), expected, "{file}");
        assert_eq!(config.warnings().iter().any(|warning| warning.contains("loopback")), expected, "{file}");
    };
    check("", true);
    check("public_url = \"http://localhost:8080\"", true);
    check("public_url = \"http://[::1]:8080\"", true);
    check("public_url = \"https://tidings.example\"", false);
    check("listen = \"0.0.0.0:8080\"", false);
    check("listen = \"192.0.2.1:8080\"\npublic_url = \"http://localhost\"", false);
    check("outbound.allow = []", false);
    check("outbound.allow = [\"mail.internal\"]", false);
    assert!(from_file("outbound.allow = [\"loopback\"]").unwrap().outbound.allow.contains(&Allowed::Loopback));
}

#[test]
fn base_urls_are_kept_by_connector_and_their_hosts_are_allowed() {
    let variables =
        [("TIDINGS_CONNECTORS__TWILIO__BASE_URL", "http://127.0.0.1:9999/"), ("TIDINGS_OUTBOUND__ALLOW", "")];
    let config = load("[connectors.ses]\nbase_url = \"https://[fd00::1]/ses/\"\n", &variables, &[]).unwrap();
    assert_eq!(config.base_urls["twilio"], "http://127.0.0.1:9999");
    assert_eq!(config.base_urls["ses"], "https://[fd00::1]/ses");
    assert_eq!(config.outbound.allow, ["[fd00::1]:443".parse().unwrap(), "127.0.0.1:9999".parse().unwrap()]);
}

#[test]
fn the_public_url_is_where_we_listen_unless_it_is_said() {
    let check = |file: &str, bound: &str, expected: &str| {
        assert_eq!(from_file(file).unwrap().public_url(bound.parse().unwrap()), expected);
    };
    check("", "127.0.0.1:4711", "http://127.0.0.1:4711");
    check("", "0.0.0.0:80", "http://127.0.0.1:80");
    check("", "[::]:80", "http://[::1]:80");
    check("public_url = \"https://tidings.example/mail/\"", "127.0.0.1:1", "https://tidings.example/mail");
}

#[test]
fn a_certificate_and_its_key_are_given_both_or_not_at_all() {
    assert_eq!(from_file("").unwrap().mail_tls, None);
    let both = from_file("mail_tls_certificate = \"/etc/mail.pem\"\nmail_tls_key = \"/etc/mail.key\"").unwrap();
    assert_eq!(both.mail_tls, Some(("/etc/mail.pem".into(), "/etc/mail.key".into())));
    for (given, missing) in [("mail_tls_certificate", "mail_tls_key"), ("mail_tls_key", "mail_tls_certificate")] {
        let refused = from_file(&format!("{given} = \"/etc/mail\"")).unwrap_err().0;
        assert!(refused.starts_with(&format!("`{missing}` is missing")), "{refused}");
    }
}

#[test]
fn variables_that_are_not_ours_to_read_are_left_alone() {
    let variables = [
        ("TIDINGS_API_KEY", "tdk_x"),
        ("TIDINGS_URL", "http://x"),
        ("TIDINGS_TEST_POSTGRES_URL", "postgres://x"),
        ("TIDINGS_SERVICE_HOST", "10.0.0.1"),
        ("TIDINGS_PORT", "tcp://10.0.0.1:80"),
        ("TIDINGS_PORT_80_TCP_ADDR", "10.0.0.1"),
    ];
    assert!(load("", &variables, &[]).is_ok());
}

#[test]
fn a_bad_file_is_refused_with_the_line_and_the_remedy() {
    let check = |file: &str, expected: &str| assert_eq!(from_file(file).unwrap_err().to_string(), expected);
    check("lisen = 1", "`lisen` in tidings.toml line 1 is not a setting: did you mean `listen`?");
    check(
        "\n[http]\nport = 1",
        "`http.port` in tidings.toml line 3 is not a setting: `tidings doctor --settings` explains those there are",
    );
    check(
        "log = \"info\"",
        "`log` in tidings.toml line 1 is not a setting: `tidings doctor --settings` explains those there are",
    );
    check("listen = true", "`listen` in tidings.toml line 1 cannot be used: write a text, a number or a list of texts");
    check("listen = [\"127.0.0.1:1\"]", "`listen` in tidings.toml line 1 cannot be used: write one value, not a list");
    let refused = from_file("[connectors.twillio]\nbase_url = \"https://x\"").unwrap_err().to_string();
    let begins = "`connectors.twillio.base_url` in tidings.toml line 2: there is no connector `twillio`; choose from ";
    assert!(refused.starts_with(begins) && refused.contains("ses, smtp"), "{refused}");
    assert!(from_file("listen = \n").unwrap_err().to_string().starts_with("tidings.toml line 1 is not TOML: "));
}

#[test]
fn a_bad_value_is_refused_with_where_it_stands_and_the_remedy() {
    let check = |variable: &str, value: &str, expected: &str| {
        let refused = load("", &[(variable, value)], &[]).unwrap_err().to_string();
        assert_eq!(refused, format!("{variable}{expected}"));
    };
    let address = "cannot be used: write an address and a port, such as 127.0.0.1:8080 or [::]:8080";
    check("TIDINGS_LISTEN", "8080", &format!(" `8080` {address}"));
    check("TIDINGS_LISTEN", "127.0.0.1:99999", &format!(" `127.0.0.1:99999` {address}"));
    check("TIDINGS_DATA_DIR", "", " `` cannot be used: write a value");
    let url = "cannot be used: write a URL such as https://tidings.example.com, without a query";
    check("TIDINGS_PUBLIC_URL", "tidings.example", &format!(" `tidings.example` {url}"));
    check("TIDINGS_PUBLIC_URL", "ftp://x", &format!(" `ftp://x` {url}"));
    check("TIDINGS_PUBLIC_URL", "https://x?y=1", &format!(" `https://x?y=1` {url}"));
    check(
        "TIDINGS_CONNECTORS__SES__BASE_URL",
        "https://u:p@x",
        " `https://u:p@x` cannot be used: write a URL such as https://api.provider.example, without a query",
    );
    check(
        "TIDINGS_CLIENT_IP_HEADER",
        "x y",
        " `x y` cannot be used: write the name of a header, such as x-forwarded-for",
    );
    check(
        "TIDINGS_ROLES",
        "api,cook",
        " `api,cook` cannot be used: `cook` is no role; choose from api, console and worker",
    );
    check("TIDINGS_ROLES", "", " `` cannot be used: name at least one of api, console and worker");
    check(
        "TIDINGS_LANES",
        "nats://x",
        " `nats://x` cannot be used: this version keeps due work in the database only; write `database`",
    );
    check(
        "TIDINGS_LANES",
        "sqs:x",
        " `sqs:x` cannot be used: this version keeps due work in the database only; write `database`",
    );
    check("TIDINGS_LANES", "redis", " `redis` cannot be used: write `database`");
    check(
        "TIDINGS_OUTBOUND__ALLOW",
        "http://x",
        " `http://x` cannot be used: `http://x` is a URL; write a host, host:port, an address, a network such as 10.1.0.0/16, or `loopback`",
    );
    check("TIDINGS_LIMITS__BODY_BYTES", "10MB", " `10MB` cannot be used: write a whole number from 1024 to 67108864");
    check("TIDINGS_LIMITS__BODY_BYTES", "1", " `1` cannot be used: write a whole number from 1024 to 67108864");
    check("TIDINGS_LIMITS__CONNECTIONS", "0", " `0` cannot be used: write a whole number from 1 to 1000000");
    check("TIDINGS_LIMITS__TENANT_PER_SECOND", "-1", " `-1` cannot be used: write a whole number from 0 to 10000000");
    check("TIDINGS_LIMITS__IN_FLIGHT", "0", " `0` cannot be used: write a whole number from 1 to 65536");
    check("TIDINGS_LIMITS__STOP_MS", "30s", " `30s` cannot be used: write a whole number from 0 to 3600000");
    check("TIDINGS_LOG__FORMAT", "xml", " `xml` cannot be used: write text or json");
    let level =
        "cannot be used: write error, warn, info, debug or trace, or a filter such as info,tidings_engine=debug";
    check("TIDINGS_LOG__LEVEL", "loud", &format!(" `loud` {level}"));
    check("TIDINGS_LOG__LEVEL", "info,x=loud", &format!(" `info,x=loud` {level}"));
    check("TIDINGS_LISTNE", "x", " is not a setting: did you mean TIDINGS_LISTEN?");
}

#[test]
fn secrets_are_not_repeated_when_they_are_refused() {
    let check = |variable: &str, value: &str, expected: &str| {
        let refused = load("", &[(variable, value)], &[]).unwrap_err().to_string();
        assert!(refused.starts_with(&format!("{variable} cannot be used: {expected}")), "{refused}");
        assert!(!refused.contains(value), "{refused}");
    };
    check("TIDINGS_DATABASE_URL", "mysql://root:hunter2@db/x", "write sqlite:PATH or postgres://");
    check("TIDINGS_MASTER_KEY", "a:hunter2hunter2", "master key number 1: the key is not base64");
    check("TIDINGS_BOOTSTRAP_OPERATOR_KEY", "tdo_short", "write tdo_ and 22 to 252 random letters");
    check("TIDINGS_BOOTSTRAP_OPERATOR_KEY", "tdk_0123456789012345678901234567890", "write tdo_ and");
    let missing = load("", &[("TIDINGS_OUTBOUND__CA_FILES", "/nowhere/ca.pem")], &[]).unwrap_err().to_string();
    assert!(missing.contains("/nowhere/ca.pem cannot be read"), "{missing}");
}

#[test]
fn doctor_shows_no_secret() {
    let operator_key = "tdo_0123456789012345678901234567890123456789";
    let variables = [
        ("TIDINGS_DATABASE_URL", "postgres://tidings:hunter2@db.internal/tidings"),
        ("TIDINGS_BOOTSTRAP_OPERATOR_KEY", operator_key),
    ];
    let config = load("", &variables, &[]).unwrap();
    let shown = |key: &str| config.effective.iter().find(|setting| setting.key == key).unwrap().value.clone();
    assert_eq!(shown("database_url"), "postgres://tidings:••••@db.internal/tidings");
    assert_eq!(shown("bootstrap_operator_key"), "••••6789");
    assert!(!format!("{config:?}").contains("hunter2"));
}

#[test]
fn flags_need_a_key_and_a_value() {
    let refused = |set: &str| load("", &[], &[set]).unwrap_err().to_string();
    assert_eq!(
        refused("log.level"),
        "--set log.level has no `=`: write --set KEY=VALUE, such as --set log.level=debug"
    );
    assert_eq!(refused("log.levle=info"), "--set log.levle is not a setting: did you mean `log.level`?");
}

#[test]
fn the_reference_is_up_to_date() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/configuration.md");
    if std::env::var_os("TIDINGS_TEST_UPDATE").is_some() {
        fs::write(file, keys::reference()).unwrap();
    }
    let written = fs::read_to_string(file).unwrap();
    assert!(
        written == keys::reference(),
        "docs/configuration.md is out of date: run this test with TIDINGS_TEST_UPDATE=1"
    );
}

#[test]
fn every_key_is_found_by_its_name_and_its_variable() {
    for key in KEYS {
        let path = key.path.replace("<id>", "ses");
        assert_eq!(keys::find(&path).map(|found| found.path), Some(key.path));
        let back = keys::variable(&path)["TIDINGS_".len()..].replace("__", ".").to_lowercase();
        assert_eq!(back, path);
    }
}
