//! What is refused before anything is done: exit 2, one line for people, nothing on standard output, nothing on disk.

use std::fs;

use crate::binary::Installation;

#[track_caller]
fn check(installation: &Installation, arguments: &[&str], expected: &str) {
    let said = installation.run(arguments);
    assert_eq!((said.code, said.out.as_str()), (2, ""), "{}", said.err);
    assert!(said.err.contains(expected), "{}", said.err);
    assert!(!installation.data_dir().exists());
}

#[test]
fn a_command_line_that_makes_no_sense_exits_2() {
    let installation = Installation::new();
    check(&installation, &[], "Usage: tidings");
    check(&installation, &["sevre"], "unrecognized subcommand 'sevre'");
    check(&installation, &["serve", "--fast"], "unexpected argument '--fast'");
    check(&installation, &["tenant", "create"], "<NAME>");
    check(&installation, &["key", "create", "--name", "x"], "--tenant");
    check(
        &installation,
        &["key", "create", "--name", "x", "--operator", "--tenant", "ten_01K9ZC8Q6T7Y2V5B3N4M1XWRSD"],
        "cannot be used with",
    );
    check(&installation, &["key", "revoke", "ten_01K9ZC8Q6T7Y2V5B3N4M1XWRSD", "--operator"], "key_");
    check(&installation, &["send", "--to", "ada@example.com"], "an API key is needed");
    check(&installation, &["send", "--to", "x", "--key", "tdk_x", "--url", "localhost"], "--url localhost is no URL");
    check(&installation, &["send", "--to", "x", "--key", "tdk_x", "--var", "name"], "--var name has no `=`");
}

#[test]
fn a_configuration_that_cannot_be_used_exits_2_with_one_line() {
    let one_line = |installation: &Installation, arguments: &[&str], expected: &str| {
        check(installation, arguments, expected);
        assert_eq!(installation.run(arguments).err.lines().count(), 1);
    };
    let installation = Installation::new();
    one_line(&installation, &["serve", "--listen", "here"], "--listen `here` cannot be used");
    one_line(&installation, &["serve", "--set", "lanes=nats://x"], "--set lanes `nats://x` cannot be used");
    one_line(&installation, &["migrate", "--config", "missing.toml"], "missing.toml cannot be read");
    one_line(&Installation::new().with("TIDINGS_LISTNE", "x"), &["serve"], "did you mean TIDINGS_LISTEN?");
    one_line(&Installation::new().with("TIDINGS_MASTER_KEY", "short"), &["serve"], "TIDINGS_MASTER_KEY cannot be used");
    let with_file = Installation::new();
    fs::write(with_file.directory().join("tidings.toml"), "[log]\nformat = \"xml\"\n").unwrap();
    one_line(&with_file, &["doctor"], "`log.format` in tidings.toml line 2 `xml` cannot be used: write text or json");
}

#[test]
fn every_command_has_help_with_an_example() {
    let installation = Installation::new();
    let commands: [&[&str]; 16] = [
        &[],
        &["serve"],
        &["demo"],
        &["migrate"],
        &["doctor"],
        &["tenant"],
        &["tenant", "create"],
        &["tenant", "list"],
        &["key"],
        &["key", "create"],
        &["key", "list"],
        &["key", "revoke"],
        &["send"],
        &["tail"],
        &["master-key"],
        &["master-key", "rotate"],
    ];
    for command in commands {
        let said = installation.run(&[command, &["--help"]].concat());
        assert_eq!((said.code, said.err.as_str()), (0, ""), "{command:?}");
        assert!(said.out.contains("Example"), "{command:?}: {}", said.out);
        for name in command {
            assert!(said.out.contains(name), "{command:?}");
        }
    }
    assert_eq!(installation.run(&["--version"]).out, concat!("tidings ", env!("CARGO_PKG_VERSION"), "\n"));
}
