//! AUTH PLAIN (RFC 4616) and LOGIN. Both hand over the password, so the connection's protection is what keeps it; over
//! plain text they are used only when the account asks for no protection at all.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use model::{SmtpLogin, SmtpStage};

use super::{Stop, reply::Reply, session::Session};
use crate::broken;

impl Session {
    /// Signs in with the first of PLAIN and LOGIN the server offers.
    pub(super) async fn sign_in(&mut self, login: &SmtpLogin) -> Result<(), Stop> {
        let Some(offered) = &self.offers.auth else {
            self.quit().await;
            return Err(Stop::ours(SmtpStage::Auth, 503, "5.5.1", "the server offers no AUTH on this connection"));
        };
        let offers = |name: &str| offered.iter().any(|mechanism| mechanism == name);
        let (has_plain, has_login) = (offers("PLAIN"), offers("LOGIN"));
        let reply = if has_plain {
            self.plain(login).await?
        } else if has_login {
            self.login(login).await?
        } else {
            let text = format!("the server offers only {}, and neither PLAIN nor LOGIN", offered.join(", "));
            self.quit().await;
            return Err(Stop::ours(SmtpStage::Auth, 504, "5.5.4", &text));
        };
        match reply.code / 100 {
            2 => Ok(()),
            3 => Err(self.broke("protocol", "asked for more than a user name and a password").into()),
            _ => {
                self.quit().await;
                Err(Stop::Refused(SmtpStage::Auth, reply.into()))
            }
        }
    }

    async fn plain(&mut self, login: &SmtpLogin) -> Result<Reply, Stop> {
        if login.username.contains('\0') || login.password.reveal().contains('\0') {
            return Err(broken::unsent("bad_request", "The SMTP login contains a NUL character.").into());
        }
        let token = STANDARD.encode(format!("\0{}\0{}", login.username, login.password.reveal()));
        let reply = self.ask(&format!("AUTH PLAIN {token}")).await?;
        match reply.code {
            // A server that wants the token on a line of its own.
            334 => Ok(self.ask(&token).await?),
            _ => Ok(reply),
        }
    }

    async fn login(&mut self, login: &SmtpLogin) -> Result<Reply, Stop> {
        let mut reply = self.ask("AUTH LOGIN").await?;
        for answer in [login.username.as_str(), login.password.reveal()] {
            if reply.code != 334 {
                break;
            }
            reply = self.ask(&STANDARD.encode(answer)).await?;
        }
        Ok(reply)
    }
}
