//! MAIL, RCPT, DATA and the final dot: one mail over an open session.
//!
//! With PIPELINING (RFC 2920) the three commands leave in one write and the mail takes two round trips; without it, four.
//! A refusal in the middle of a pipelined group leaves replies to be read, and possibly a server that waits for data
//! (354) although no recipient was taken: it gets an empty mail, which it must refuse, and the refusal that counts is
//! the first one.

use std::io::IoSlice;

use model::{SmtpReply, SmtpStage};
use tokio::io::AsyncWriteExt;

use super::{Stop, envelope::Envelope, reply::Reply, session::Session};
use crate::broken::{self, within};

/// RFC 5321 4.5.3.2.6: a client that gives up earlier on the final dot produces duplicates.
const FINAL_DOT_MAX_MS: u64 = 600_000;
/// The final dot's reply may take this many times as long as others: ten minutes at the usual 30 seconds. Servers scan
/// and store the mail before they answer.
const FINAL_DOT_FACTOR: u64 = 20;
/// How much of the message is left when TLS is given the dot together with it, in bytes: one TLS record.
const TLS_TAIL: usize = 16 * 1024;
/// Ends the data.
const DOT: &[u8] = b".\r\n";

/// What a refused or broken command leaves behind.
enum Pending {
    Nothing,
    /// Replies to pipelined commands, the last of them DATA's.
    Replies(u8),
}

impl Session {
    /// Sends one mail; returns the reply to the final dot when it is positive.
    pub(super) async fn send(&mut self, mail: &Envelope<'_>) -> Result<SmtpReply, Stop> {
        mail.check_against(&self.offers)?;
        self.begin(mail.timeout_ms());
        if self.offers.has_pipelining {
            self.propose_at_once(mail).await?;
        } else {
            self.propose_in_steps(mail).await?;
        }
        self.write_data(&mail.data, mail.timeout_ms()).await?;
        let timeout_ms = mail.timeout_ms().saturating_mul(FINAL_DOT_FACTOR).min(FINAL_DOT_MAX_MS);
        let reply = self.reply_within(timeout_ms).await.map_err(|broken| broken::acted_if(broken, true))?;
        if reply.is_ok() { Ok(reply.into()) } else { Err(self.refused(SmtpStage::FinalDot, reply)) }
    }

    /// MAIL, RCPT and DATA in one write.
    async fn propose_at_once(&mut self, mail: &Envelope<'_>) -> Result<(), Stop> {
        let resets = std::mem::take(&mut self.must_reset);
        if resets {
            self.outbox.extend_from_slice(b"RSET\r\n");
        }
        mail.write_mail(&mut self.outbox, &self.offers);
        mail.write_rcpt(&mut self.outbox, &self.offers);
        self.outbox.extend_from_slice(b"DATA\r\n");
        self.flush().await?;
        if resets {
            self.expect_reset().await?;
        }
        self.expect(SmtpStage::MailFrom, Pending::Replies(2)).await?;
        self.expect(SmtpStage::RcptTo, Pending::Replies(1)).await?;
        self.expect(SmtpStage::Data, Pending::Nothing).await
    }

    /// MAIL, RCPT and DATA one after the other.
    async fn propose_in_steps(&mut self, mail: &Envelope<'_>) -> Result<(), Stop> {
        if std::mem::take(&mut self.must_reset) {
            self.outbox.extend_from_slice(b"RSET\r\n");
            self.flush().await?;
            self.expect_reset().await?;
        }
        mail.write_mail(&mut self.outbox, &self.offers);
        self.flush().await?;
        self.expect(SmtpStage::MailFrom, Pending::Nothing).await?;
        mail.write_rcpt(&mut self.outbox, &self.offers);
        self.flush().await?;
        self.expect(SmtpStage::RcptTo, Pending::Nothing).await?;
        self.outbox.extend_from_slice(b"DATA\r\n");
        self.flush().await?;
        self.expect(SmtpStage::Data, Pending::Nothing).await
    }

    /// A session whose RSET fails is of no use; only kept ones are reset, so the caller takes a fresh one.
    async fn expect_reset(&mut self) -> Result<(), Stop> {
        match self.reply().await? {
            reply if reply.is_ok() => Ok(()),
            reply => Err(self.broke("reset", &format!("refused RSET with {}", reply.code)).into()),
        }
    }

    /// Reads the reply to a stage's command; a refusal also clears up what follows it.
    async fn expect(&mut self, stage: SmtpStage, pending: Pending) -> Result<(), Stop> {
        let reply = self.reply().await?;
        self.is_mail_answered |= reply.code != 421;
        let is_taken = match stage {
            SmtpStage::Data => reply.code == 354,
            _ => reply.is_ok(),
        };
        if is_taken {
            return Ok(());
        }
        let refusal = self.refused(stage, reply);
        // From RCPT on, MAIL was accepted: the transaction is open until it is reset.
        self.must_reset = stage != SmtpStage::MailFrom;
        if let Pending::Replies(count) = pending {
            self.clear_up(count).await;
        }
        Err(refusal)
    }

    fn refused(&mut self, stage: SmtpStage, reply: Reply) -> Stop {
        // 421 at any point: the server is closing the connection.
        self.is_dead |= reply.code == 421;
        Stop::Refused(stage, reply.into())
    }

    /// Reads the replies to the rest of a pipelined group. Failing here only costs the session, not the refusal.
    async fn clear_up(&mut self, replies: u8) {
        for _ in 0..replies {
            if self.is_dead {
                return;
            }
            let Ok(reply) = self.reply().await else { return };
            self.is_dead |= reply.code == 421;
            if reply.code == 354 {
                self.must_reset = true;
                let _ = self.ask(".").await;
            }
        }
    }

    /// Writes the message and the final dot. `may_have_acted` turns true with the dot's first byte.
    async fn write_data(&mut self, body: &[u8], timeout_ms: u64) -> Result<(), Stop> {
        let (wire, clock) = self.parts();
        let is_tls = wire.is_tls();
        let mut written = 0;
        let mut may_have_acted = false;
        let failed = loop {
            let (rest, dot) = match body.get(written..) {
                // A failed write under TLS may have sent part of what it was given, so the dot only joins the last record.
                Some(rest) if is_tls && rest.len() > TLS_TAIL => (&rest[..rest.len() - TLS_TAIL], &b""[..]),
                Some(rest) => (rest, DOT),
                None => (&b""[..], &DOT[written - body.len()..]),
            };
            if rest.is_empty() && dot.is_empty() {
                // Both are handed over; TLS may still hold some of it back.
                break within(clock, timeout_ms, wire.flush()).await.map(Result::err);
            }
            match within(clock, timeout_ms, wire.write_vectored(&[IoSlice::new(rest), IoSlice::new(dot)])).await {
                Some(Ok(0)) => break Some(Some(std::io::ErrorKind::WriteZero.into())),
                Some(Ok(bytes)) => {
                    written += bytes;
                    may_have_acted |= written > body.len();
                }
                Some(Err(error)) => {
                    may_have_acted |= is_tls && !dot.is_empty();
                    break Some(Some(error));
                }
                None => break None,
            }
        };
        let broken = match failed {
            Some(None) => return Ok(()),
            Some(Some(error)) => self.io_broke(&error),
            None => self.broke("timeout", "did not take the message in time"),
        };
        Err(broken::acted_if(broken, may_have_acted).into())
    }
}
