//! SMTP under TLS: both ways into it, and that there is no way around it.

use model::{Call, SmtpCall, SmtpSecurity, SmtpStage};

use crate::{
    script::{Do::*, Server, net, net_with, say, smtp, timed_out},
    smtp::{greets, mail, takes, with_login},
};

fn under(security: SmtpSecurity, port: u16) -> SmtpCall {
    SmtpCall { security, ..mail(port) }
}

#[tokio::test]
async fn tls_from_the_first_byte() {
    let server = Server::start(vec![[vec![StartTls], greets(&[]), takes(), takes()].concat()]).await;
    let net = net();
    for _ in 0..2 {
        let answer = smtp(&net, &under(SmtpSecurity::Tls, server.port)).await.unwrap();
        assert_eq!((answer.stage, answer.reply.code), (SmtpStage::FinalDot, 250));
        assert!(answer.tls.as_deref().unwrap().starts_with("TLSv1_3 TLS13_AES_"), "{:?}", answer.tls);
    }
    server.done().await;
}

#[tokio::test]
async fn starttls_forgets_what_was_offered_in_plain_text() {
    // AUTH is offered only under TLS, and the plain text offer of PIPELINING must not count there.
    let plain = [greets(&["STARTTLS", "PIPELINING"]), vec![Hear("STARTTLS"), say("220 go\r\n"), StartTls]].concat();
    let protected = vec![
        Hear("EHLO tidings.test"),
        say("250-mail.test\r\n250 AUTH PLAIN\r\n"),
        Hear("AUTH PLAIN"),
        say("235 in\r\n"),
        Hear("MAIL"),
        ExpectSilence,
        say("250 a\r\n"),
    ];
    let server = Server::start(vec![[plain, protected, takes()[2..].to_vec()].concat()]).await;
    let answer = smtp(&net(), &with_login(under(SmtpSecurity::StartTls, server.port))).await.unwrap();
    assert_eq!((answer.stage, answer.reply.code), (SmtpStage::FinalDot, 250));
    assert!(answer.tls.is_some());
    server.done().await;
}

#[tokio::test]
async fn a_refused_password_was_protected() {
    for rcpt_to in [None, mail(1).rcpt_to] {
        let refuses = vec![Hear("AUTH PLAIN"), say("535 5.7.8 bad\r\n"), Hear("QUIT"), say("221 bye\r\n")];
        let server = Server::start(vec![[vec![StartTls], greets(&["AUTH PLAIN"]), refuses].concat()]).await;
        let call = SmtpCall { rcpt_to, ..with_login(under(SmtpSecurity::Tls, server.port)) };
        let answer = smtp(&net(), &call).await.unwrap();
        assert_eq!((answer.stage, answer.reply.code), (SmtpStage::Auth, 535));
        assert!(answer.tls.is_some());
        server.done().await;
    }
}

#[tokio::test]
async fn without_starttls_there_is_no_mail_and_no_password() {
    let goodbye = vec![Hear("QUIT"), say("221 bye\r\n")];
    let server = Server::start(vec![[greets(&["AUTH PLAIN"]), goodbye].concat()]).await;
    let answer = smtp(&net(), &with_login(under(SmtpSecurity::StartTls, server.port))).await.unwrap();
    assert_eq!((answer.stage, answer.reply.code), (SmtpStage::StartTls, 530));
    assert_eq!(answer.reply.enhanced.as_deref(), Some("5.7.10"));
    assert!(answer.reply.text.starts_with("Tidings: "));
    assert_eq!(server.done().await, ["EHLO tidings.test", "QUIT"]);

    let refusing = [greets(&["STARTTLS"]), vec![Hear("STARTTLS"), say("454 4.7.0 not now\r\n")]].concat();
    let server = Server::start(vec![refusing]).await;
    let answer = smtp(&net(), &under(SmtpSecurity::StartTls, server.port)).await.unwrap();
    assert_eq!((answer.stage, answer.reply.code), (SmtpStage::StartTls, 454));
}

#[tokio::test]
async fn bytes_injected_before_the_handshake_end_the_exchange() {
    let injected = "220 go\r\n250-mail.test\r\n250 AUTH PLAIN\r\n";
    let script = [greets(&["STARTTLS"]), vec![Hear("STARTTLS"), say(injected), Linger]].concat();
    let server = Server::start(vec![script]).await;
    let broken = smtp(&net(), &with_login(under(SmtpSecurity::StartTls, server.port))).await.unwrap_err();
    assert_eq!((broken.code, broken.may_have_acted), ("protocol", false), "{}", broken.detail);
    assert_eq!(server.done().await, ["EHLO tidings.test", "STARTTLS"]);
}

#[tokio::test]
async fn a_certificate_must_be_trusted_and_fit_the_name() {
    for (net, host) in [(net_with(&["loopback"], false), "mail.test"), (net(), "other.test")] {
        for (security, before) in [
            (SmtpSecurity::Tls, vec![]),
            (SmtpSecurity::StartTls, [greets(&["STARTTLS"]), vec![Hear("STARTTLS"), say("220 go\r\n")]].concat()),
        ] {
            let server = Server::start(vec![[before, vec![StartTls]].concat()]).await;
            let call = SmtpCall { host: host.into(), ..under(security, server.port) };
            let broken = smtp(&net, &call).await.unwrap_err();
            assert_eq!((broken.code, broken.may_have_acted), ("tls", false), "{}", broken.detail);
        }
    }
}

#[tokio::test]
async fn a_server_that_never_shakes_hands_times_out() {
    let script = vec![Hears(1), Tell, Hold];
    let broken = timed_out(vec![script], |port| Call::Smtp(under(SmtpSecurity::Tls, port))).await;
    assert_eq!((broken.code, broken.may_have_acted), ("timeout", false));
}

#[tokio::test]
async fn under_tls_too_the_final_dot_decides() {
    let mut heard = [vec![StartTls], greets(&[]), takes()].concat();
    heard.pop();
    let server = Server::start(vec![heard.clone()]).await;
    let broken = smtp(&net(), &under(SmtpSecurity::Tls, server.port)).await.unwrap_err();
    assert!(broken.may_have_acted, "{}", broken.detail);
    heard.truncate(heard.len() - 2);
    let server = Server::start(vec![heard]).await;
    let broken = smtp(&net(), &under(SmtpSecurity::Tls, server.port)).await.unwrap_err();
    assert!(!broken.may_have_acted, "{}", broken.detail);
}
