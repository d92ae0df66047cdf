//! SMTP without TLS: the dialogue, every stage's refusal, and the moment from which a mail may have been taken.

use bytes::Bytes;
use model::{Call, Secret, SmtpCall, SmtpLogin, SmtpSecurity, SmtpStage};

use crate::script::{
    Do::{self, *},
    Server, net, net_with, say, smtp, timed_out,
};

/// A small mail for `ada@example.com` to the server.
pub fn mail(port: u16) -> SmtpCall {
    SmtpCall {
        host: "mail.test".into(),
        port,
        security: SmtpSecurity::None,
        login: None,
        helo: "tidings.test".into(),
        mail_from: "b+1@return.example".into(),
        rcpt_to: Some("ada@example.com".parse().unwrap()),
        data: Bytes::from_static(b"Subject: Hi\r\n\r\nHello.\r\n"),
        envelope_id: Some("msg_1".into()),
        timeout_ms: 5_000,
    }
}

pub fn with_login(call: SmtpCall) -> SmtpCall {
    let login = SmtpLogin { username: "ada".into(), password: Secret::new("pw") };
    SmtpCall { login: Some(login), ..call }
}

/// Greeting and EHLO of a server that offers these.
pub fn greets(offers: &[&str]) -> Vec<Do> {
    let mut reply: String = ["mail.test"].iter().chain(offers).map(|offer| format!("250-{offer}\r\n")).collect();
    let last = reply.rfind("250-").unwrap();
    reply.replace_range(last..last + 4, "250 ");
    vec![say("220 mail.test ESMTP\r\n"), Hear("EHLO tidings.test"), say(reply)]
}

/// Takes one mail step by step.
pub fn takes() -> Vec<Do> {
    vec![
        Hear("MAIL FROM:<b+1@return.example>"),
        say("250 2.1.0 Ok\r\n"),
        Hear("RCPT TO:<ada@example.com>"),
        say("250 2.1.5 Ok\r\n"),
        Hear("DATA"),
        say("354 go\r\n"),
        HearData,
        say("250 2.0.0 Ok: queued as 8315E9AC918\r\n"),
    ]
}

/// Sends one mail against `greets(offers)` followed by this.
async fn stage(offers: &[&str], script: Vec<Do>) -> (SmtpStage, u16) {
    let server = Server::start(vec![[greets(offers), script].concat()]).await;
    let answer = smtp(&net(), &mail(server.port)).await.unwrap();
    server.done().await;
    (answer.stage, answer.reply.code)
}

async fn check_timeout(script: Vec<Do>, may_have_acted: bool) {
    let broken = timed_out(vec![script.clone()], |port| Call::Smtp(mail(port))).await;
    assert_eq!((broken.code, broken.may_have_acted), ("timeout", may_have_acted), "{script:?}: {}", broken.detail);
}

async fn check_broken(script: Vec<Do>, code: &str, may_have_acted: bool) {
    let server = Server::start(vec![script.clone()]).await;
    let broken = smtp(&net(), &mail(server.port)).await.unwrap_err();
    assert_eq!((broken.code, broken.may_have_acted), (code, may_have_acted), "{script:?}: {}", broken.detail);
}

#[tokio::test]
async fn one_mail_step_by_step() {
    let server = Server::start(vec![[greets(&["DSN", "SIZE 9999"]), takes()].concat()]).await;
    let answer = smtp(&net(), &mail(server.port)).await.unwrap();
    assert_eq!((answer.stage, answer.reply.code), (SmtpStage::FinalDot, 250));
    assert_eq!(answer.reply.enhanced.as_deref(), Some("2.0.0"));
    assert_eq!(answer.reply.text, "Ok: queued as 8315E9AC918");
    assert_eq!(answer.tls, None);
    assert_eq!(
        server.done().await,
        [
            "EHLO tidings.test",
            "MAIL FROM:<b+1@return.example> SIZE=23 RET=HDRS ENVID=msg_1",
            "RCPT TO:<ada@example.com> NOTIFY=FAILURE,DELAY ORCPT=rfc822;ada@example.com",
            "DATA",
            "Subject: Hi\r\n\r\nHello.\r\n.\r\n",
        ]
    );
}

#[tokio::test]
async fn a_server_without_pipelining_gets_one_command_at_a_time() {
    let script = takes().into_iter().flat_map(|step| match step {
        Hear(_) => vec![step, ExpectSilence],
        _ => vec![step],
    });
    assert_eq!(stage(&["8BITMIME"], script.collect()).await, (SmtpStage::FinalDot, 250));
}

#[tokio::test]
async fn a_server_with_pipelining_gets_three_commands_at_once() {
    let script = vec![
        Hear("MAIL"),
        Hear("RCPT"),
        Hear("DATA"),
        ExpectSilence,
        say("250 a\r\n250 b\r\n354 c\r\n"),
        HearData,
        say("250 d\r\n"),
    ];
    assert_eq!(stage(&["PIPELINING"], script).await, (SmtpStage::FinalDot, 250));
}

#[tokio::test]
async fn refusals_name_their_stage() {
    use SmtpStage::*;
    let (hears_mail, hears_rcpt) = (Hear("MAIL"), Hear("RCPT"));
    for (expected, code, script) in [
        (MailFrom, 451, vec![hears_mail.clone(), say("451 4.3.0 later\r\n")]),
        (MailFrom, 421, vec![hears_mail.clone(), say("421 4.3.2 closing\r\n")]),
        (RcptTo, 550, vec![hears_mail.clone(), say("250 a\r\n"), hears_rcpt.clone(), say("550 5.1.1 no\r\n")]),
        (
            Data,
            554,
            vec![
                hears_mail.clone(),
                say("250 a\r\n"),
                hears_rcpt.clone(),
                say("250 b\r\n"),
                Hear("DATA"),
                say("554 no\r\n"),
            ],
        ),
        (
            FinalDot,
            552,
            vec![
                hears_mail,
                say("250 a\r\n"),
                hears_rcpt,
                say("250 b\r\n"),
                Hear("DATA"),
                say("354 c\r\n"),
                HearData,
                say("552-5.3.4 too\r\n552 5.3.4 big\r\n"),
            ],
        ),
    ] {
        assert_eq!(stage(&[], script.clone()).await, (expected, code), "{script:?}");
    }
    for (expected, code, script) in [
        (Greeting, 554, vec![say("554 5.7.1 blocked\r\n")]),
        (Greeting, 421, vec![say("421 busy\r\n")]),
        (Ehlo, 501, vec![say("220 hi\r\n"), Hear("EHLO"), say("501 bad name\r\n")]),
    ] {
        let server = Server::start(vec![script.clone()]).await;
        let answer = smtp(&net(), &mail(server.port)).await.unwrap();
        assert_eq!((answer.stage, answer.reply.code), (expected, code), "{script:?}");
    }
}

#[tokio::test]
async fn refusals_within_a_pipelined_group() {
    use SmtpStage::*;
    let group = |replies: &str| vec![Hear("MAIL"), Hear("RCPT"), Hear("DATA"), say(replies)];
    assert_eq!(stage(&["PIPELINING"], group("550 5.7.1 no\r\n503 a\r\n503 b\r\n")).await, (MailFrom, 550));
    assert_eq!(stage(&["PIPELINING"], group("250 a\r\n550 5.1.1 no\r\n554 none\r\n")).await, (RcptTo, 550));
    assert_eq!(stage(&["PIPELINING"], group("250 a\r\n250 b\r\n451 no\r\n")).await, (Data, 451));
    // 421 ends everything: the replies after it are not waited for.
    assert_eq!(stage(&["PIPELINING"], group("421 4.7.0 rate\r\n")).await, (MailFrom, 421));
    assert_eq!(stage(&["PIPELINING"], group("250 a\r\n421 4.7.0 rate\r\n")).await, (RcptTo, 421));
    // The connection breaks while the rest of the group is read: the refusal stands.
    assert_eq!(stage(&["PIPELINING"], group("250 a\r\n550 5.1.1 no\r\n")).await, (RcptTo, 550));
}

#[tokio::test]
async fn a_server_that_wants_data_for_nobody_gets_an_empty_mail() {
    let script = vec![
        Hear("MAIL"),
        Hear("RCPT"),
        Hear("DATA"),
        say("250 a\r\n550 5.1.1 no\r\n354 go on\r\n"),
        Hear("."),
        ExpectSilence,
        say("554 5.5.1 no valid recipients\r\n"),
    ];
    assert_eq!(stage(&["PIPELINING"], script).await, (SmtpStage::RcptTo, 550));
}

#[tokio::test]
async fn before_the_final_dot_nothing_was_taken() {
    let until = |heard: &'static str| {
        let steps = [greets(&[]), takes()].concat();
        let at = steps.iter().position(|step| matches!(step, Hear(h) if h.starts_with(heard))).unwrap();
        steps[..=at].to_vec()
    };
    for heard in ["EHLO", "MAIL", "RCPT", "DATA"] {
        check_broken(until(heard), "reset", false).await;
        check_timeout([until(heard), vec![Tell, Linger]].concat(), false).await;
    }
    check_broken(vec![], "reset", false).await;
    check_timeout(vec![Tell, Linger], false).await;
    check_broken(vec![say("HTTP/1.1 400 Bad Request\r\n")], "protocol", false).await;
}

#[tokio::test]
async fn a_connection_that_breaks_within_the_message_took_nothing() {
    let mut script = [greets(&[]), takes()].concat();
    script.truncate(script.len() - 2);
    script.extend([Hears(10_000), Reset]);
    let server = Server::start(vec![script]).await;
    // Far more than the sockets' buffers hold, so that the reset meets us while writing.
    let data = Bytes::from("0123456789012345678901234567890\r\n".repeat(1 << 20));
    let broken = smtp(&net(), &SmtpCall { data, ..mail(server.port) }).await.unwrap_err();
    assert_eq!((broken.code, broken.may_have_acted), ("reset", false), "{}", broken.detail);
}

#[tokio::test]
async fn a_server_that_stops_reading_the_message_took_nothing() {
    let mut script = [greets(&[]), takes()].concat();
    script.truncate(script.len() - 2);
    script.extend([Hears(10_000), Tell, Hold]);
    let data = Bytes::from("0123456789012345678901234567890\r\n".repeat(1 << 20));
    let broken = timed_out(vec![script], |port| Call::Smtp(SmtpCall { data, ..mail(port) })).await;
    assert_eq!((broken.code, broken.may_have_acted), ("timeout", false), "{}", broken.detail);
}

#[tokio::test]
async fn after_the_final_dot_nobody_can_say() {
    let mut heard = [greets(&[]), takes()].concat();
    heard.pop();
    check_broken(heard.clone(), "reset", true).await;
    check_broken([heard.clone(), vec![Reset]].concat(), "reset", true).await;
    check_broken([heard.clone(), vec![say("25")]].concat(), "reset", true).await;
    check_broken([heard.clone(), vec![say("what?\r\n")]].concat(), "protocol", true).await;
    check_timeout([heard, vec![Tell, Linger]].concat(), true).await;
}

#[tokio::test]
async fn dots_are_doubled_and_smuggled_ends_stay_text() {
    for (data, on_the_wire) in [
        (".\r\n..a\r\nb.\r\n", "..\r\n...a\r\nb.\r\n.\r\n"),
        ("no end", "no end\r\n.\r\n"),
        ("", ".\r\n"),
        ("a\n.\nMAIL FROM:<x@y>\r\n", "a\r\n..\r\nMAIL FROM:<x@y>\r\n.\r\n"),
        ("a\r\n.\nRSET\r\n", "a\r\n..\r\nRSET\r\n.\r\n"),
        ("a\n.\r\nRSET\r\n", "a\r\n..\r\nRSET\r\n.\r\n"),
        ("a\r.\rRSET\r\n", "a\r\n..\r\nRSET\r\n.\r\n"),
    ] {
        let server = Server::start(vec![[greets(&[]), takes()].concat()]).await;
        let call = SmtpCall { data: Bytes::from_static(data.as_bytes()), ..mail(server.port) };
        assert_eq!(smtp(&net(), &call).await.unwrap().stage, SmtpStage::FinalDot);
        assert_eq!(server.done().await.last().unwrap(), on_the_wire, "{data:?}");
    }
}

#[tokio::test]
async fn an_envelope_that_carries_commands_never_connects() {
    let server = Server::start(vec![]).await;
    for call in [
        SmtpCall { mail_from: "a@b>\r\nRCPT TO:<x@y".into(), ..mail(server.port) },
        SmtpCall { helo: "a\r\nMAIL FROM:<x@y>".into(), ..mail(server.port) },
    ] {
        let broken = smtp(&net(), &call).await.unwrap_err();
        assert_eq!((broken.code, broken.may_have_acted), ("bad_request", false));
    }
    let broken = smtp(&net_with(&[], false), &mail(server.port)).await.unwrap_err();
    assert_eq!((broken.code, broken.may_have_acted), ("refused_address", false));
    let broken = smtp(&net(), &SmtpCall { host: "a b".into(), ..mail(server.port) }).await.unwrap_err();
    assert_eq!((broken.code, broken.may_have_acted), ("bad_url", false));
}

#[tokio::test]
async fn sign_in_with_what_the_server_offers() {
    // \0ada\0pw, ada, pw
    let plain = vec![Hear("AUTH PLAIN AGFkYQBwdw=="), say("235 2.7.0 in\r\n")];
    let plain_in_steps = vec![Hear("AUTH PLAIN"), say("334 \r\n"), Hear("AGFkYQBwdw=="), say("235 in\r\n")];
    let login = vec![
        Hear("AUTH LOGIN"),
        say("334 VXNlcm5hbWU6\r\n"),
        Hear("YWRh"),
        say("334 UGFzc3dvcmQ6\r\n"),
        Hear("cHc="),
        say("235 in\r\n"),
    ];
    for (offer, dialogue) in [
        ("AUTH LOGIN PLAIN", plain.clone()),
        ("AUTH=PLAIN", plain),
        ("AUTH PLAIN", plain_in_steps),
        ("auth login cram-md5", login),
    ] {
        let server = Server::start(vec![[greets(&[offer]), dialogue, takes()].concat()]).await;
        let answer = smtp(&net(), &with_login(mail(server.port))).await.unwrap();
        assert_eq!((answer.stage, answer.reply.code), (SmtpStage::FinalDot, 250), "{offer}");
    }
}

#[tokio::test]
async fn a_sign_in_that_fails() {
    let goodbye = vec![Hear("QUIT"), say("221 bye\r\n")];
    for (offers, dialogue, code, enhanced) in [
        (&["AUTH PLAIN"][..], vec![Hear("AUTH PLAIN"), say("535 5.7.8 bad\r\n")], 535, Some("5.7.8")),
        (&["AUTH LOGIN"], vec![Hear("AUTH LOGIN"), say("454 4.7.0 later\r\n")], 454, Some("4.7.0")),
        (&["AUTH XOAUTH2"], vec![], 504, Some("5.5.4")),
        (&[], vec![], 503, Some("5.5.1")),
    ] {
        let server = Server::start(vec![[greets(offers), dialogue, goodbye.clone()].concat()]).await;
        let answer = smtp(&net(), &with_login(mail(server.port))).await.unwrap();
        assert_eq!((answer.stage, answer.reply.code), (SmtpStage::Auth, code));
        assert_eq!(answer.reply.enhanced.as_deref(), enhanced);
        server.done().await;
    }
}

#[tokio::test]
async fn a_credential_check_sends_nothing() {
    let dialogue = vec![
        Hear("AUTH PLAIN"),
        say("235 in\r\n"),
        Hear("NOOP"),
        say("250 2.0.0 Ok\r\n"),
        Hear("QUIT"),
        say("221 bye\r\n"),
    ];
    let server = Server::start(vec![[greets(&["SIZE 1000", "AUTH PLAIN"]), dialogue].concat()]).await;
    let net = net();
    let call = SmtpCall { rcpt_to: None, ..with_login(mail(server.port)) };
    let answer = smtp(&net, &call).await.unwrap();
    assert_eq!((answer.stage, answer.reply.code), (SmtpStage::Checked, 250));
    assert_eq!(answer.capabilities, ["SIZE 1000", "AUTH PLAIN"]);
    assert_eq!(net.idle_connections(), (0, 0));
    assert_eq!(server.done().await.len(), 4);
}

#[tokio::test]
async fn what_the_server_cannot_take_is_not_tried() {
    let server = Server::start(vec![greets(&["SIZE 10"])]).await;
    let answer = smtp(&net(), &mail(server.port)).await.unwrap();
    assert_eq!((answer.stage, answer.reply.code), (SmtpStage::MailFrom, 552));
    assert_eq!(server.done().await, ["EHLO tidings.test"]);
}
