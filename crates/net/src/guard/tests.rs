//! The guard's tables: what a tenant may try, and what becomes of it.

use super::*;

fn allow(entries: &[&str]) -> Guard {
    Guard::new(entries.iter().map(|entry| entry.parse().unwrap()).collect())
}

/// `ok`, or the kind of refusal.
fn verdict(guard: &Guard, url: &str) -> &'static str {
    match guard.check_url(url, true) {
        Ok(_) => "ok",
        Err(Refusal::Url(_)) => "url",
        Err(Refusal::Address { .. }) => "address",
        Err(Refusal::Port { .. }) => "port",
    }
}

#[test]
fn urls_that_tenants_choose() {
    let guard = Guard::default();
    for (url, expected) in [
        // Ordinary ones.
        ("https://hooks.example.com/in?x=1", "ok"),
        ("http://hooks.example.com", "ok"),
        ("https://hooks.example.com.:443/in", "ok"),
        ("HTTPS://HOOKS.EXAMPLE.COM/", "ok"),
        ("https://bücher.example/", "ok"),
        ("https://8.8.8.8/", "ok"),
        ("https://[2606:4700:4700::1111]/", "ok"),
        ("https://[::ffff:8.8.8.8]/", "ok"),
        ("https://[64:ff9b::808:808]/", "ok"),
        ("https://[2002:808:808::1]/", "ok"),
        ("https://172.32.0.1/", "ok"),
        ("https://100.128.0.1/", "ok"),
        ("https://198.20.0.1/", "ok"),
        // This machine, in every spelling.
        ("http://127.0.0.1/", "address"),
        ("http://127.0.0.1./", "address"),
        ("http://127.255.255.254/", "address"),
        ("http://127.1/", "address"),
        ("http://2130706433/", "address"),
        ("http://0x7f000001/", "address"),
        ("http://0x7f.0.0.1/", "address"),
        ("http://0177.0.0.1/", "address"),
        ("http://017700000001/", "address"),
        ("http://0/", "address"),
        ("http://0.0.0.0/", "address"),
        ("http://%31%32%37.0.0.1/", "address"),
        ("http://１２７.0.0.1/", "address"),
        ("http://127。0。0。1/", "address"),
        ("http://[::1]/", "address"),
        ("http://[0:0:0:0:0:0:0:1]/", "address"),
        ("http://[::]/", "address"),
        ("http://[::ffff:127.0.0.1]/", "address"),
        ("http://[::ffff:7f00:1]/", "address"),
        ("http://[::127.0.0.1]/", "address"),
        // The operator's networks.
        ("http://10.0.0.1/", "address"),
        ("http://172.16.0.1/", "address"),
        ("http://172.31.255.255/", "address"),
        ("http://192.168.1.1/", "address"),
        ("http://3232235777/", "address"),
        ("http://100.64.0.1/", "address"),
        ("http://100.127.255.255/", "address"),
        ("http://[fc00::1]/", "address"),
        ("http://[fd12:3456::1]/", "address"),
        ("http://[fec0::1]/", "address"),
        // Metadata services.
        ("http://169.254.169.254/latest/meta-data/", "address"),
        ("http://0xa9fea9fe/", "address"),
        ("http://2852039166/", "address"),
        ("http://[::ffff:169.254.169.254]/", "address"),
        ("http://[::ffff:a9fe:a9fe]/", "address"),
        ("http://[64:ff9b::169.254.169.254]/", "address"),
        ("http://[2002:a9fe:a9fe::]/", "address"),
        ("http://[2002:7f00:1::]/", "address"),
        ("http://[2001:0:a9fe:a9fe::1]/", "address"),
        ("http://[fe80::1]/", "address"),
        ("http://[febf::1]/", "address"),
        ("http://[fd00:ec2::254]/", "address"),
        // Ranges without servers.
        ("http://192.0.0.8/", "address"),
        ("http://192.0.2.1/", "address"),
        ("http://198.18.0.1/", "address"),
        ("http://198.19.255.255/", "address"),
        ("http://198.51.100.7/", "address"),
        ("http://203.0.113.7/", "address"),
        ("http://224.0.0.1/", "address"),
        ("http://239.255.255.255/", "address"),
        ("http://240.0.0.1/", "address"),
        ("http://255.255.255.255/", "address"),
        ("http://[2001:db8::1]/", "address"),
        ("http://[ff02::1]/", "address"),
        ("http://[64:ff9b:1::1]/", "address"),
        ("http://[5f00::1]/", "address"),
        // Ports.
        ("https://hooks.example.com:8443/", "port"),
        ("http://hooks.example.com:22/", "port"),
        ("http://hooks.example.com:443/", "ok"),
        ("http://8.8.8.8:6379/", "port"),
        ("http://hooks.example.com:0/", "url"),
        // Other schemes, credentials, nonsense.
        ("ftp://hooks.example.com/", "url"),
        ("file:///etc/passwd", "url"),
        ("gopher://127.0.0.1:25/_HELO", "url"),
        ("javascript:alert(1)", "url"),
        ("//hooks.example.com/", "url"),
        ("https://user@hooks.example.com/", "url"),
        ("https://user:pw@hooks.example.com/", "url"),
        ("http://hooks.example.com@127.0.0.1/", "url"),
        ("http://127.0.0.1#@hooks.example.com/", "address"),
        ("http://127.0.0.1\\@hooks.example.com/", "address"),
        ("http://", "url"),
        ("http://./", "url"),
        ("http://a../", "url"),
        ("http://256.256.256.256/", "url"),
        ("http://exa mple.com/", "url"),
        ("http://example.com/a\r\nHost: x", "url"),
        ("http://[::1%25eth0]/", "url"),
        ("", "url"),
    ] {
        assert_eq!(verdict(&guard, url), expected, "{url}");
    }
    assert_eq!(verdict(&guard, &format!("https://example.com/{}", "a".repeat(URL_MAX))), "url");
}

#[test]
fn what_the_operator_allows() {
    for (entries, url, expected) in [
        (&["loopback"][..], "http://127.0.0.1:8080/", "ok"),
        (&["loopback"], "http://[::1]:8080/", "ok"),
        (&["loopback"], "http://[::ffff:127.0.0.1]:8080/", "ok"),
        (&["loopback"], "http://10.0.0.1/", "address"),
        (&["loopback"], "http://8.8.8.8:8080/", "port"),
        (&["127.0.0.1"], "http://127.0.0.1:9/", "ok"),
        (&["127.0.0.1"], "http://127.0.0.2/", "address"),
        (&["127.0.0.1:8025"], "http://127.0.0.1:8025/", "ok"),
        (&["127.0.0.1:8025"], "http://127.0.0.1/", "address"),
        (&["[::1]:8025"], "http://[::1]:8025/", "ok"),
        (&["::1"], "http://[::1]/", "ok"),
        (&["10.1.0.0/16"], "http://10.1.255.9:9000/", "ok"),
        (&["10.1.0.0/16"], "http://10.2.0.0/", "address"),
        (&["0.0.0.0/0"], "http://169.254.169.254/", "ok"),
        (&["0.0.0.0/0"], "http://[fd00::1]/", "address"),
        (&["fd00::/8"], "http://[fd12::1]/", "ok"),
        (&["Hooks.Example.com"], "https://hooks.example.com:8443/", "ok"),
        (&["hooks.example.com"], "https://hooks.example.com.:8443/", "ok"),
        (&["hooks.example.com"], "https://x.hooks.example.com:8443/", "port"),
        (&["hooks.example.com:8443"], "https://hooks.example.com:8443/", "ok"),
        (&["hooks.example.com:8443"], "https://hooks.example.com:8444/", "port"),
        (&["10.0.0.0/8", "loopback"], "http://127.0.0.1/", "ok"),
    ] {
        assert_eq!(verdict(&allow(entries), url), expected, "{entries:?} {url}");
    }
}

#[test]
fn a_trusted_call_may_use_any_port_but_no_private_address() {
    let guard = Guard::default();
    assert!(guard.check_url("https://api.example.com:8443/", false).is_ok());
    assert!(guard.check_url("https://10.0.0.1:8443/", false).is_err());
}

#[test]
fn an_allowed_name_may_lead_anywhere_and_others_may_not() {
    let guard = allow(&["mail.internal"]);
    let private = "10.9.8.7".parse().unwrap();
    assert_eq!(guard.check_ip("mail.internal", 25, private, false), Ok(()));
    assert_eq!(guard.check_ip("MAIL.internal.", 25, private, false), Ok(()));
    let refusal = guard.check_ip("other.internal", 25, private, false).unwrap_err();
    assert_eq!(
        refusal.to_string(),
        "other.internal leads to 10.9.8.7, a private address. Only public addresses are reachable; the operator can \
         allow this host."
    );
}

#[test]
fn a_url_is_taken_apart_for_the_request_line() {
    let read = |url: &str| {
        let t = Guard::default().check_url(url, false).unwrap();
        format!("{} {} {} {} {}", t.is_tls, t.host, t.port, t.authority, t.path_and_query)
    };
    assert_eq!(read("https://a.example/x?y=%20#z"), "true a.example 443 a.example /x?y=%20");
    assert_eq!(read("http://A.example.:8080"), "false a.example 8080 a.example:8080 /");
    assert_eq!(read("http://[2606::1]:443/"), "false [2606::1] 443 [2606::1]:443 /");
}

#[test]
fn entries_that_cannot_be_read_say_why() {
    for (entry, problem) in [
        ("", "is not a host name"),
        ("https://example.com", "is a URL"),
        ("10.0.0.0/33", "has no valid prefix length"),
        ("10.0.0.0/x", "has no valid prefix length"),
        ("10.0.0.1/8", "has address bits beyond its prefix length"),
        ("example.com/8", "does not begin with an address"),
        ("example.com:", "has no valid port"),
        ("example.com:0", "has no valid port"),
        ("example.com:70000", "has no valid port"),
        ("exa mple.com", "is not a host name"),
    ] {
        assert_eq!(entry.parse::<Allowed>().unwrap_err().problem, problem, "{entry}");
    }
    for entry in ["loopback", "example.com", "example.com:25", "10.0.0.0/8", "127.0.0.1:25", "[::1]:25", "fd00::/8"] {
        assert_eq!(entry.parse::<Allowed>().unwrap().to_string(), entry);
    }
}

#[test]
fn a_mail_server_host_in_any_spelling() {
    let ip = |text: &str| TargetHost::Ip(text.parse().unwrap());
    for (given, expected) in [
        ("Mail.Example.com.", TargetHost::Name("mail.example.com".into())),
        ("127.0.0.1", ip("127.0.0.1")),
        ("0x7f.1", ip("127.0.0.1")),
        ("::1", ip("::1")),
        ("[::1]", ip("::1")),
    ] {
        assert_eq!(TargetHost::parse(given), Ok(expected), "{given}");
    }
    for bad in ["", ".", "a b", "a/b", "a\r\nb", "user@host"] {
        assert!(TargetHost::parse(bad).is_err(), "{bad:?}");
    }
}
