//! Kept SMTP connections: how often they are used, and what happens when they have gone stale.

use model::{SmtpCall, SmtpStage};

use crate::{
    script::{
        Do::{self, *},
        Server, net, say, smtp,
    },
    smtp::{greets, mail, takes},
};

const DONE: (SmtpStage, u16) = (SmtpStage::FinalDot, 250);

async fn sent(net: &tidings_net::Net, call: &SmtpCall) -> (SmtpStage, u16) {
    let answer = smtp(net, call).await.unwrap();
    (answer.stage, answer.reply.code)
}

#[tokio::test]
async fn many_mails_share_a_connection_without_a_reset() {
    let script: Vec<Do> = greets(&[]).into_iter().chain((0..5).flat_map(|_| takes())).collect();
    let server = Server::start(vec![script]).await;
    let net = net();
    for _ in 0..5 {
        assert_eq!(sent(&net, &mail(server.port)).await, DONE);
        assert_eq!(net.idle_connections(), (0, 1));
    }
    assert_eq!(server.done().await.len(), 1 + 5 * 4);
}

#[tokio::test]
async fn connections_are_shared_only_by_the_same_login_and_name() {
    let server = Server::start(vec![
        [greets(&[]), takes(), vec![Linger]].concat(),
        [vec![say("220 hi\r\n"), Hear("EHLO other.test"), say("250 mail.test\r\n")], takes()].concat(),
    ])
    .await;
    let net = net();
    assert_eq!(sent(&net, &mail(server.port)).await, DONE);
    assert_eq!(sent(&net, &SmtpCall { helo: "other.test".into(), ..mail(server.port) }).await, DONE);
    assert_eq!(net.idle_connections(), (0, 2));
}

#[tokio::test]
async fn an_abandoned_transaction_is_reset_before_the_next() {
    let refusal = vec![Hear("MAIL"), say("250 a\r\n"), Hear("RCPT"), say("550 5.1.1 no\r\n")];
    let reset = vec![Hear("RSET"), say("250 ok\r\n")];
    let server = Server::start(vec![[greets(&[]), refusal, reset, takes(), takes()].concat()]).await;
    let net = net();
    assert_eq!(sent(&net, &mail(server.port)).await, (SmtpStage::RcptTo, 550));
    assert_eq!(sent(&net, &mail(server.port)).await, DONE);
    assert_eq!(sent(&net, &mail(server.port)).await, DONE);
    server.done().await;
}

#[tokio::test]
async fn a_pipelined_reset_rides_with_the_next_mail() {
    let refusal = vec![Hear("MAIL"), Hear("RCPT"), Hear("DATA"), say("250 a\r\n550 5.1.1 no\r\n554 none\r\n")];
    let next = vec![
        Hear("RSET"),
        Hear("MAIL"),
        Hear("RCPT"),
        Hear("DATA"),
        say("250 r\r\n250 a\r\n250 b\r\n354 c\r\n"),
        HearData,
        say("250 d\r\n"),
    ];
    let server = Server::start(vec![[greets(&["PIPELINING"]), refusal, next].concat()]).await;
    let net = net();
    assert_eq!(sent(&net, &mail(server.port)).await, (SmtpStage::RcptTo, 550));
    assert_eq!(sent(&net, &mail(server.port)).await, DONE);
    server.done().await;
}

#[tokio::test]
async fn a_refused_sender_or_mail_leaves_nothing_to_reset() {
    let refusals = vec![
        Hear("MAIL"),
        say("451 later\r\n"),
        Hear("MAIL"),
        say("250 a\r\n"),
        Hear("RCPT"),
        say("250 b\r\n"),
        Hear("DATA"),
        say("354 c\r\n"),
        HearData,
        say("554 5.6.0 no\r\n"),
    ];
    let server = Server::start(vec![[greets(&[]), refusals, takes()].concat()]).await;
    let net = net();
    assert_eq!(sent(&net, &mail(server.port)).await, (SmtpStage::MailFrom, 451));
    assert_eq!(sent(&net, &mail(server.port)).await, (SmtpStage::FinalDot, 554));
    assert_eq!(sent(&net, &mail(server.port)).await, DONE);
    server.done().await;
}

#[tokio::test]
async fn a_stale_connection_is_replaced_silently() {
    // Closed, reset, or closed with a goodbye while idle; or closing at the next command.
    for (end, is_seen_at_once) in [
        (vec![], true),
        (vec![Reset], true),
        (vec![say("421 4.4.2 idle too long\r\n")], true),
        (vec![Hear("MAIL")], false),
        (vec![Hear("MAIL"), say("421 4.4.2 idle too long\r\n")], false),
    ] {
        let first = [greets(&[]), takes(), end.clone()].concat();
        let mut server = Server::start(vec![first, [greets(&[]), takes()].concat()]).await;
        let net = net();
        assert_eq!(sent(&net, &mail(server.port)).await, DONE);
        if is_seen_at_once {
            server.first_done().await;
        }
        assert_eq!(sent(&net, &mail(server.port)).await, DONE, "{end:?}");
        server.done().await;
    }
}

#[tokio::test]
async fn a_reset_that_fails_costs_the_connection_only() {
    let refusal = vec![Hear("MAIL"), say("250 a\r\n"), Hear("RCPT"), say("550 no\r\n")];
    let first = [greets(&[]), refusal, vec![Hear("RSET"), say("500 what?\r\n")]].concat();
    let server = Server::start(vec![first, [greets(&[]), takes()].concat()]).await;
    let net = net();
    assert_eq!(sent(&net, &mail(server.port)).await, (SmtpStage::RcptTo, 550));
    assert_eq!(sent(&net, &mail(server.port)).await, DONE);
    server.done().await;
}

#[tokio::test]
async fn a_kept_connection_that_breaks_later_is_not_tried_again() {
    let first = [greets(&[]), takes(), vec![Hear("MAIL"), say("250 a\r\n"), Hear("RCPT")]].concat();
    let server = Server::start(vec![first]).await;
    let net = net();
    assert_eq!(sent(&net, &mail(server.port)).await, DONE);
    let broken = smtp(&net, &mail(server.port)).await.unwrap_err();
    assert_eq!((broken.code, broken.may_have_acted), ("reset", false));
    let mut dot = [greets(&[]), takes(), takes()].concat();
    dot.pop();
    let server = Server::start(vec![dot]).await;
    assert_eq!(sent(&net, &mail(server.port)).await, DONE);
    let broken = smtp(&net, &mail(server.port)).await.unwrap_err();
    assert_eq!((broken.code, broken.may_have_acted), ("reset", true));
}

#[tokio::test]
async fn a_fresh_connection_is_not_replaced() {
    let closing = [greets(&[]), vec![Hear("MAIL"), say("421 4.7.0 too many connections\r\n")]].concat();
    let server = Server::start(vec![closing]).await;
    assert_eq!(sent(&net(), &mail(server.port)).await, (SmtpStage::MailFrom, 421));
}

#[tokio::test]
async fn a_connection_carries_a_thousand_mails() {
    let full: Vec<Do> = greets(&["PIPELINING"])
        .into_iter()
        .chain((0..1_000).flat_map(|_| takes_at_once()))
        .chain([Hear("QUIT"), say("221 bye\r\n")])
        .collect();
    let server = Server::start(vec![full, [greets(&["PIPELINING"]), takes_at_once()].concat()]).await;
    let net = net();
    for _ in 0..1_001 {
        assert_eq!(sent(&net, &mail(server.port)).await, DONE);
    }
    server.done().await;
}

fn takes_at_once() -> Vec<Do> {
    let replies = say("250 a\r\n250 b\r\n354 c\r\n");
    vec![Hear("MAIL"), Hear("RCPT"), Hear("DATA"), replies, HearData, say("250 d\r\n")]
}
