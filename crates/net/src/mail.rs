//! Mail that comes to us (RFC 5321, the receiving side): what reports about our own mails need, and nothing more.
//!
//! Who may be written to and what becomes of a mail is said by a [`MailDoor`]. Here is the protocol and its limits: so many connections, also from one place, so many commands and
//! so long for each, so many mails a minute, so long for a line, so many bytes. A mail is answered 250 only after the door has it on disk. One recipient per mail: reports have one, and then the word is about that one.
//! We answer no mail with a mail, so a loop cannot begin here. STARTTLS (RFC 3207) is offered where a certificate is given: nothing said before it counts after it.

mod peers;
mod rooms;
mod tls;

use std::{io, net::SocketAddr, sync::Arc};

use bytes::Bytes;
use model::{ArrivedMail, Clock, MailDoor, Welcome};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    sync::watch,
};
use tokio_rustls::TlsAcceptor;

pub use self::tls::{MailTls, MailTlsError};
use self::{
    peers::{Peers, place},
    rooms::{Room, Rooms},
};
use crate::wire::Wire;

/// Mails over one connection.
const MAILS_MAX: u32 = 100;
/// Commands over one connection: a mail takes four, and some for greetings. Whoever says NOOP or RSET again and again holds a seat and brings nothing.
const COMMANDS_MAX: u32 = 1_000;
/// How old a connection grows, in seconds: an hour is plenty for [`MAILS_MAX`], and a seat that is spoken into once a minute is given back.
const VISIT_S: i64 = 3_600;
/// Said to whoever had enough of either.
const ENOUGH: &str = "421 4.7.0 Enough for one connection; come again\r\n";
/// Commands that made no sense, after which we hang up.
const ERRORS_MAX: u32 = 10;
/// Longest command, in bytes: RFC 5321 has 512, and extensions add to it.
const COMMAND_MAX: u64 = 2_048;
/// Longest piece of a mail read at once, in bytes; longer lines come in pieces.
const PIECE_MAX: u64 = 64 * 1024;
/// Largest mail, in bytes: answers bring files, and some servers send all of the original back.
const MAIL_MAX: usize = 40 << 20;
/// Bytes of a mail that every connection may hold in memory: what reports and most answers have. More takes a room.
const SMALL_MAX: usize = 1 << 20;
/// Time for a TLS handshake, in milliseconds.
const HANDSHAKE_MS: u64 = 30_000;
/// Time for a command, in milliseconds. RFC 5321 has five minutes; who brings a report is a server and not a person.
const COMMAND_MS: u64 = 60_000;
/// Time for a whole mail, in milliseconds.
const MAIL_MS: u64 = 300_000;
/// Pause after the system refused a connection, in milliseconds.
const PAUSE_MS: u64 = 50;

/// What a listener needs.
pub struct MailListen {
    /// Where to listen; bound already.
    pub listener: TcpListener,
    /// The name we greet with.
    pub name: String,
    /// Bytes of a mail handed over; the rest of a longer one is read and let go.
    pub kept_max: usize,
    /// With what TLS is offered; `None` not to offer it.
    pub tls: Option<Arc<MailTls>>,
    /// Who decides.
    pub door: Arc<dyn MailDoor>,
    /// Waits.
    pub clock: Arc<dyn Clock>,
    /// Turns true when the process is to end.
    pub stop: watch::Receiver<bool>,
}

impl MailListen {
    /// Takes mail until told to stop. A mail that is half here then comes again: it was not answered.
    pub async fn run(self) {
        let Self { listener, name, kept_max, tls, door, clock, mut stop } = self;
        let peers = Arc::new(Peers::default());
        let rooms = Arc::new(Rooms::default());
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                _ = stop.wait_for(|stop| *stop) => return,
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::debug!(%error, "Cannot take a connection of a mail server");
                    clock.sleep(PAUSE_MS).await;
                    continue;
                }
            };
            let Some(seat) = peers.enter(peer) else {
                turn_away(stream);
                continue;
            };
            let visit = Visit {
                stream: BufReader::new(Wire::Plain(stream)),
                peer,
                name: name.clone(),
                kept_max,
                tls: tls.clone(),
                rooms: Arc::clone(&rooms),
                door: Arc::clone(&door),
                clock: Arc::clone(&clock),
                peers: Arc::clone(&peers),
            };
            let mut stop = stop.clone();
            tokio::spawn(async move {
                let _seat = seat;
                tokio::select! {
                    done = visit.run() => if let Err(error) = done {
                        tracing::debug!(%error, "A mail server's connection ended early");
                    },
                    _ = stop.wait_for(|stop| *stop) => {}
                }
            });
        }
    }
}

/// Says that there are too many, if the socket takes it at once, and closes.
fn turn_away(stream: TcpStream) {
    use io::Write as _;
    if let Ok(mut stream) = stream.into_std() {
        let _ = stream.write(b"421 4.3.2 Too many connections; try again later\r\n");
    }
}

/// One connection.
struct Visit {
    stream: BufReader<Wire>,
    peer: SocketAddr,
    name: String,
    kept_max: usize,
    tls: Option<Arc<MailTls>>,
    rooms: Arc<Rooms>,
    door: Arc<dyn MailDoor>,
    clock: Arc<dyn Clock>,
    peers: Arc<Peers>,
}

/// What a mail's data came to.
enum Data {
    /// With the room it takes, until it is handed over.
    Whole(Vec<u8>, Option<Room>),
    TooLarge,
    /// It was let go: too many large ones are in memory.
    Busy,
}

impl Visit {
    async fn run(mut self) -> io::Result<()> {
        self.say(&format!("220 {} ESMTP Tidings takes reports about its mails\r\n", self.name)).await?;
        let (mut has_sender, mut to) = (false, None::<String>);
        let (mut errors, mut mails, mut commands) = (0, 0, 0);
        let ends_at = self.clock.now().plus_seconds(VISIT_S);
        let helo = format!("250 {}\r\n", self.name);
        loop {
            let Some(line) = self.command().await? else { return Ok(()) };
            commands += 1;
            if commands > COMMANDS_MAX || self.clock.now() >= ends_at {
                return self.say(ENOUGH).await;
            }
            let can_secure = self.tls.is_some() && !self.stream.get_ref().is_tls();
            let ehlo = self.ehlo(can_secure);
            let verb = line.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase();
            let reply = match verb.as_str() {
                "EHLO" | "HELO" => {
                    (has_sender, to) = (false, None);
                    if verb == "EHLO" { &ehlo } else { &helo }
                }
                "STARTTLS" if self.tls.is_some() && !can_secure => "503 5.5.1 Not now\r\n",
                "STARTTLS" if can_secure && line.len() > verb.len() => "501 5.5.4 STARTTLS stands alone\r\n",
                "STARTTLS" if can_secure => {
                    self = self.secure().await?;
                    (has_sender, to) = (false, None);
                    continue;
                }
                "MAIL" if has_sender => "503 5.5.1 One mail at a time\r\n",
                "MAIL" if mails >= MAILS_MAX => ENOUGH,
                "MAIL" => match path(&line, "FROM:") {
                    None => "501 5.5.4 Write MAIL FROM:<address>\r\n",
                    Some((_, rest)) if size(rest).is_some_and(|size| size > MAIL_MAX as u64) => {
                        "552 5.3.4 The mail is too large\r\n"
                    }
                    Some(_) => {
                        has_sender = true;
                        "250 2.1.0 Ok\r\n"
                    }
                },
                "RCPT" if !has_sender => "503 5.5.1 MAIL comes first\r\n",
                "RCPT" if to.is_some() => "452 4.5.3 One recipient at a time\r\n",
                "RCPT" => match path(&line, "TO:") {
                    None => "501 5.5.4 Write RCPT TO:<address>\r\n",
                    Some((address, _)) => match self.door.knows(address).await {
                        Welcome::Yes => {
                            to = Some(address.to_owned());
                            "250 2.1.5 Ok\r\n"
                        }
                        Welcome::No => "550 5.1.1 Nobody here has this address\r\n",
                        Welcome::Later => "451 4.3.0 Not now; try again later\r\n",
                    },
                },
                "DATA" => match to.take() {
                    None => "503 5.5.1 RCPT comes first\r\n",
                    Some(to) => {
                        (has_sender, mails) = (false, mails + 1);
                        self.take(to).await?
                    }
                },
                "RSET" => {
                    (has_sender, to) = (false, None);
                    "250 2.0.0 Ok\r\n"
                }
                "NOOP" => "250 2.0.0 Ok\r\n",
                "VRFY" => "252 2.1.5 Send the mail and see\r\n",
                "QUIT" => return self.say("221 2.0.0 Bye\r\n").await,
                _ => "500 5.5.2 No such command here\r\n",
            };
            self.say(reply).await?;
            errors += u32::from(reply.starts_with('5'));
            if reply.starts_with("421") {
                return Ok(());
            }
            if errors >= ERRORS_MAX {
                return self.say("421 4.7.0 Too many errors\r\n").await;
            }
        }
    }

    /// What we offer.
    fn ehlo(&self, can_secure: bool) -> String {
        let starttls = if can_secure { "250-STARTTLS\r\n" } else { "" };
        format!(
            "250-{}\r\n250-PIPELINING\r\n250-8BITMIME\r\n{starttls}250-ENHANCEDSTATUSCODES\r\n250 SIZE {MAIL_MAX}\r\n",
            self.name
        )
    }

    /// Puts the connection under TLS. What was sent in plain text behind the command, perhaps by somebody on the way, is let go.
    async fn secure(mut self) -> io::Result<Self> {
        let Some(tls) = self.tls.clone() else { return Ok(self) };
        self.say("220 2.0.0 Go on\r\n").await?;
        let clock = Arc::clone(&self.clock);
        let acceptor = TlsAcceptor::from(tls.config(clock.now()).await);
        let Self { stream, .. } = self;
        let secured = tokio::select! {
            secured = stream.into_inner().accept(&acceptor) => secured?,
            () = clock.sleep(HANDSHAKE_MS) => return Err(io::ErrorKind::TimedOut.into()),
        };
        Ok(Self { stream: BufReader::new(secured), ..self })
    }

    /// Reads a mail and hands it over.
    async fn take(&mut self, to: String) -> io::Result<&'static str> {
        let minute = self.clock.now().as_seconds().div_euclid(60);
        if !self.peers.count(self.peer, minute) {
            return Ok("451 4.7.0 Too many mails this minute; try again later\r\n");
        }
        self.say("354 Go on\r\n").await?;
        let (data, _room) = match self.data(&to).await? {
            Data::Whole(data, room) => (Bytes::from(data), room),
            Data::TooLarge => return Ok("552 5.3.4 The mail is too large\r\n"),
            Data::Busy => return Ok("451 4.3.2 Too many large mails at this moment; try again later\r\n"),
        };
        let mail = ArrivedMail { to, data, peer: self.peer.ip() };
        Ok(match self.door.take(mail).await {
            Welcome::Yes => "250 2.0.0 Taken\r\n",
            Welcome::No => "554 5.7.1 Not taken\r\n",
            Welcome::Later => "451 4.3.0 Not now; try again later\r\n",
        })
    }

    async fn say(&mut self, text: &str) -> io::Result<()> {
        let clock = Arc::clone(&self.clock);
        tokio::select! {
            done = write(self.stream.get_mut(), text.as_bytes()) => done,
            () = clock.sleep(COMMAND_MS) => Err(io::ErrorKind::TimedOut.into()),
        }
    }

    /// The next command without its line end; `None` at the end of the connection.
    async fn command(&mut self) -> io::Result<Option<String>> {
        let clock = Arc::clone(&self.clock);
        let mut line = Vec::new();
        let mut limited = (&mut self.stream).take(COMMAND_MAX);
        let read = tokio::select! {
            read = limited.read_until(b'\n', &mut line) => read?,
            () = clock.sleep(COMMAND_MS) => return Err(io::ErrorKind::TimedOut.into()),
        };
        match line.strip_suffix(b"\n") {
            Some(line) => Ok(Some(String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(line)).into_owned())),
            None if read == 0 => Ok(None),
            None => Err(io::Error::new(io::ErrorKind::InvalidData, "a command without an end")),
        }
    }

    /// The mail up to its dot, without the dots that were doubled on the way. Only a dot between whole line ends ends it.
    async fn data(&mut self, to: &str) -> io::Result<Data> {
        let clock = Arc::clone(&self.clock);
        let deadline = clock.sleep(MAIL_MS);
        let (rooms, from) = (Arc::clone(&self.rooms), place(self.peer.ip()));
        let enter = || rooms.enter(from, to);
        tokio::select! {
            data = read_data(&mut self.stream, self.kept_max, &enter) => data,
            () = deadline => Err(io::ErrorKind::TimedOut.into()),
        }
    }
}

async fn write(line: &mut Wire, bytes: &[u8]) -> io::Result<()> {
    line.write_all(bytes).await?;
    line.flush().await
}

/// `enter` answers a room for a large mail, when there is one.
async fn read_data(
    stream: &mut BufReader<Wire>,
    kept_max: usize,
    enter: &(dyn Fn() -> Option<Room> + Sync),
) -> io::Result<Data> {
    let (mut kept, mut piece, mut size, mut is_at_start) = (Vec::new(), Vec::new(), 0_usize, true);
    let (mut room, mut is_busy) = (None, false);
    loop {
        piece.clear();
        let mut limited = (&mut *stream).take(PIECE_MAX);
        if limited.read_until(b'\n', &mut piece).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if is_at_start && piece == b".\r\n" {
            return Ok(match () {
                () if size > MAIL_MAX => Data::TooLarge,
                () if is_busy => Data::Busy,
                () => Data::Whole(kept, room),
            });
        }
        let text = if is_at_start { piece.strip_prefix(b".").unwrap_or(&piece) } else { &piece };
        size = size.saturating_add(text.len());
        // Who announced no size and does not stop is not listened to any longer.
        if size > 2 * MAIL_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a mail without an end"));
        }
        let wanted = text.len().min(kept_max - kept.len());
        if room.is_none() && !is_busy && kept.len() + wanted > SMALL_MAX {
            room = enter();
            is_busy = room.is_none();
        }
        if is_busy {
            kept = Vec::new();
        } else {
            kept.extend_from_slice(&text[..wanted]);
        }
        is_at_start = piece.ends_with(b"\r\n");
    }
}

/// The address of a MAIL or RCPT command, and what follows it.
fn path<'a>(line: &'a str, word: &str) -> Option<(&'a str, &'a str)> {
    let rest = line.get(4..)?.trim_start();
    let given = rest.get(..word.len())?;
    let rest = rest.get(word.len()..).filter(|_| given.eq_ignore_ascii_case(word))?;
    let (address, rest) = rest.trim_start().strip_prefix('<')?.split_once('>')?;
    let is_clean = !address.contains(|c: char| c.is_control() || c.is_whitespace() || c == '<');
    is_clean.then_some((address, rest))
}

/// What MAIL says of the mail's size.
fn size(parameters: &str) -> Option<u64> {
    parameters.split_whitespace().find_map(|word| {
        let (name, value) = word.split_once('=')?;
        name.eq_ignore_ascii_case("SIZE").then(|| value.parse().unwrap_or(u64::MAX))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_read_as_clients_write_them() {
        assert_eq!(path("MAIL FROM:<>", "FROM:"), Some(("", "")));
        assert_eq!(path("mail from:<a@b.c> SIZE=12", "FROM:"), Some(("a@b.c", " SIZE=12")));
        assert_eq!(path("RCPT TO: <a@b.c>", "TO:"), Some(("a@b.c", "")));
        for bad in [
            "RCPT",
            "RCPT TO:",
            "RCPT TO:a@b.c",
            "RCPT TO:<a@b.c",
            "RCPT TO:<a b>",
            "RCPT TO:<a\r@b>",
            "RCPT FROM:<a@b.c>",
        ] {
            assert_eq!(path(bad, "TO:"), None, "{bad}");
        }
        assert_eq!(size(" BODY=8BITMIME size=12"), Some(12));
        assert_eq!(size(" SIZE=many"), Some(u64::MAX));
        assert_eq!(size(""), None);
    }
}
