//! Mail that comes to us: the conversation, and what is not let in.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, Ordering::Relaxed},
    },
};

use model::{ArrivedMail, BoxFuture, Clock, MailDoor, Timestamp, Welcome};
use tidings_net::{MailListen, MailTls, SystemClock};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpSocket, TcpStream},
    sync::watch,
};

/// Knows `ours@…`, is busy for `busy@…`, and keeps what it takes.
#[derive(Default)]
struct Door(Mutex<Vec<ArrivedMail>>);

impl MailDoor for Door {
    fn knows<'a>(&'a self, to: &'a str) -> BoxFuture<'a, Welcome> {
        let word = match to.split('@').next() {
            Some("ours") => Welcome::Yes,
            Some("busy") => Welcome::Later,
            _ => Welcome::No,
        };
        Box::pin(async move { word })
    }

    fn take(&self, mail: ArrivedMail) -> BoxFuture<'_, Welcome> {
        self.0.lock().unwrap().push(mail);
        Box::pin(async { Welcome::Yes })
    }
}

/// A clock that tests put forward.
#[derive(Default)]
struct Ahead(AtomicI64);

impl Clock for Ahead {
    fn now(&self) -> Timestamp {
        SystemClock.now().plus_seconds(self.0.load(Relaxed))
    }

    fn sleep(&self, millis: u64) -> BoxFuture<'static, ()> {
        SystemClock.sleep(millis)
    }
}

struct Talk {
    stream: BufReader<TcpStream>,
}

impl Talk {
    async fn with(address: SocketAddr) -> Self {
        Self::greeted(TcpStream::connect(address).await.unwrap()).await
    }

    /// From another place: all of 127/8 is this machine.
    async fn from(place: u8, address: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::from(([127, 0, 0, place], 0))).unwrap();
        Self::greeted(socket.connect(address).await.unwrap()).await
    }

    async fn greeted(stream: TcpStream) -> Self {
        let mut talk = Self { stream: BufReader::new(stream) };
        talk.hear("220").await;
        talk
    }

    async fn hear(&mut self, code: &str) -> String {
        loop {
            let mut line = String::new();
            self.stream.read_line(&mut line).await.unwrap();
            if line.get(3..4) != Some("-") {
                assert!(line.starts_with(code), "{code} was wanted: {line}");
                return line;
            }
        }
    }

    async fn say(&mut self, text: &str, code: &str) -> String {
        self.stream.get_mut().write_all(text.as_bytes()).await.unwrap();
        self.hear(code).await
    }
}

async fn listen(kept_max: usize) -> (SocketAddr, Arc<Door>, watch::Sender<bool>) {
    listen_with(kept_max, None).await
}

async fn listen_with(kept_max: usize, tls: Option<Arc<MailTls>>) -> (SocketAddr, Arc<Door>, watch::Sender<bool>) {
    listen_on(kept_max, tls, Arc::new(SystemClock)).await
}

async fn listen_on(
    kept_max: usize,
    tls: Option<Arc<MailTls>>,
    clock: Arc<dyn Clock>,
) -> (SocketAddr, Arc<Door>, watch::Sender<bool>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let door = Arc::new(Door::default());
    let (stop, stopped) = watch::channel(false);
    let listen = MailListen {
        listener,
        name: "mx.tidings.example".to_owned(),
        kept_max,
        tls,
        door: Arc::<Door>::clone(&door),
        clock,
        stop: stopped,
    };
    tokio::spawn(listen.run());
    (address, door, stop)
}

#[tokio::test]
async fn a_mail_is_taken_as_it_came() {
    let (address, door, _stop) = listen(1 << 20).await;
    let mut talk = Talk::with(address).await;
    talk.say("EHLO mx.mail.test\r\n", "250").await;
    talk.say("MAIL FROM:<> SIZE=100\r\n", "250").await;
    talk.say("RCPT TO:<ours@bounce.acme.example> NOTIFY=NEVER\r\n", "250").await;
    talk.say("DATA\r\n", "354").await;
    // A dot between bare line ends is no end; a doubled one is one.
    talk.say("Subject: x\r\n\r\n..a\n.\nb\r\n...\r\n.\r\n", "250").await;
    talk.say("QUIT\r\n", "221").await;
    let taken = door.0.lock().unwrap();
    assert_eq!(taken.len(), 1);
    assert_eq!(
        (taken[0].to.as_str(), &taken[0].data[..]),
        ("ours@bounce.acme.example", &b"Subject: x\r\n\r\n.a\n.\nb\r\n..\r\n"[..])
    );
}

#[tokio::test]
async fn commands_may_come_all_at_once_and_mails_one_after_the_other() {
    let (address, door, _stop) = listen(10).await;
    let mut talk = Talk::with(address).await;
    for _ in 0..2 {
        let all =
            "HELO mx.mail.test\r\nMAIL FROM:<a@b.c>\r\nRCPT TO:<ours@x>\r\nDATA\r\nlonger than what is kept\r\n.\r\n";
        talk.say(all, "250").await;
        for code in ["250", "250", "354", "250"] {
            talk.hear(code).await;
        }
    }
    let taken = door.0.lock().unwrap();
    assert_eq!(taken.iter().map(|mail| &mail.data[..]).collect::<Vec<_>>(), [b"longer tha", b"longer tha"]);
}

#[tokio::test]
async fn strangers_and_disorder_are_turned_away() {
    let (address, door, _stop) = listen(1 << 20).await;
    let mut talk = Talk::with(address).await;
    talk.say("RCPT TO:<ours@x>\r\n", "503").await;
    talk.say("MAIL FROM:<a@b.c> SIZE=99999999999\r\n", "552").await;
    talk.say("MAIL FROM:a@b.c\r\n", "501").await;
    talk.say("MAIL FROM:<a@b.c>\r\n", "250").await;
    talk.say("DATA\r\n", "503").await;
    talk.say("RCPT TO:<nobody@x>\r\n", "550").await;
    talk.say("RCPT TO:<busy@x>\r\n", "451").await;
    talk.say("RCPT TO:<ours@x>\r\n", "250").await;
    talk.say("RCPT TO:<ours@y>\r\n", "452").await;
    talk.say("RSET\r\n", "250").await;
    talk.say("DATA\r\n", "503").await;
    for _ in 0..3 {
        talk.say("STARTTLS\r\n", "500").await;
    }
    talk.say("AUTH PLAIN AGEAYg==\r\n", "500").await;
    talk.hear("421").await;
    let mut end = String::new();
    assert_eq!(talk.stream.read_line(&mut end).await.unwrap(), 0);
    assert!(door.0.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_seat_is_not_held_by_words_that_bring_nothing() {
    let clock = Arc::new(Ahead::default());
    let (address, door, _stop) = listen_on(1 << 20, None, Arc::<Ahead>::clone(&clock)).await;
    let mut talk = Talk::with(address).await;
    for command in ["NOOP\r\n", "RSET\r\n", "EHLO a\r\n", "VRFY a\r\n"].iter().cycle().take(1_000) {
        talk.say(command, "25").await;
    }
    talk.say("NOOP\r\n", "421").await;
    let mut end = String::new();
    assert_eq!(talk.stream.read_line(&mut end).await.unwrap(), 0);
    // Nor by one word a minute. A mail that began in time is still taken.
    let mut talk = Talk::with(address).await;
    for command in ["MAIL FROM:<>\r\n", "RCPT TO:<ours@x>\r\n"] {
        talk.say(command, "250").await;
    }
    clock.0.store(3_500, Relaxed);
    talk.say("DATA\r\n", "354").await;
    clock.0.store(3_600, Relaxed);
    talk.say("x\r\n.\r\n", "250").await;
    talk.say("NOOP\r\n", "421").await;
    assert_eq!(talk.stream.read_line(&mut end).await.unwrap(), 0);
    assert_eq!(door.0.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn one_place_has_so_many_connections_and_a_half_mail_is_none() {
    let (address, door, stop) = listen(1 << 20).await;
    let mut talks = Vec::new();
    for _ in 0..16 {
        talks.push(Talk::with(address).await);
    }
    let mut one_more = BufReader::new(TcpStream::connect(address).await.unwrap());
    let mut line = String::new();
    one_more.read_line(&mut line).await.unwrap();
    assert!(line.starts_with("421"), "{line}");
    let talk = &mut talks[0];
    talk.say("MAIL FROM:<>\r\n", "250").await;
    talk.say("RCPT TO:<ours@x>\r\n", "250").await;
    talk.say("DATA\r\n", "354").await;
    talk.stream.get_mut().write_all(b"half of\r\n").await.unwrap();
    stop.send_replace(true);
    let mut end = String::new();
    assert_eq!(talk.stream.read_line(&mut end).await.unwrap_or_default(), 0);
    assert!(door.0.lock().unwrap().is_empty());
}

/// Puts the certificate of the tests into files of the test's own.
fn certificate(name: &str) -> (MailTls, std::path::PathBuf) {
    let folder = std::env::temp_dir().join(format!("tidings-mail-tls-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let (chain, key) = crate::script::server_pem();
    std::fs::write(folder.join("chain.pem"), chain).unwrap();
    std::fs::write(folder.join("key.pem"), key).unwrap();
    (MailTls::open(&folder.join("chain.pem"), &folder.join("key.pem")).unwrap(), folder)
}

impl Talk {
    /// Goes on under TLS, like a mail server that verifies the certificate.
    async fn secure(self) -> Secure {
        let name = "mail.test".try_into().unwrap();
        let connector = tokio_rustls::TlsConnector::from(crate::script::client_tls());
        let stream = connector.connect(name, self.stream.into_inner()).await.unwrap();
        Secure { stream: BufReader::new(stream) }
    }
}

struct Secure {
    stream: BufReader<tokio_rustls::client::TlsStream<TcpStream>>,
}

impl Secure {
    async fn say(&mut self, text: &str, code: &str) -> String {
        self.stream.get_mut().write_all(text.as_bytes()).await.unwrap();
        let mut all = String::new();
        loop {
            let mut line = String::new();
            self.stream.read_line(&mut line).await.unwrap();
            all.push_str(&line);
            if line.get(3..4) != Some("-") {
                assert!(line.starts_with(code), "{code} was wanted: {line}");
                return all;
            }
        }
    }
}

#[tokio::test]
async fn under_tls_everything_begins_anew() {
    let (tls, folder) = certificate("anew");
    let (address, door, _stop) = listen_with(1 << 20, Some(Arc::new(tls))).await;
    let mut talk = Talk::with(address).await;
    talk.stream.get_mut().write_all(b"EHLO mx.mail.test\r\n").await.unwrap();
    let mut offers = String::new();
    while !offers.contains("250 ") {
        talk.stream.read_line(&mut offers).await.unwrap();
    }
    assert!(offers.contains("250-STARTTLS\r\n"), "{offers}");
    talk.say("STARTTLS now\r\n", "501").await;
    talk.say("MAIL FROM:<a@b.c>\r\n", "250").await;
    talk.say("RCPT TO:<ours@x>\r\n", "250").await;
    talk.say("STARTTLS\r\n", "220").await;
    let mut talk = talk.secure().await;
    // What was said before is forgotten, and TLS is not offered inside TLS.
    talk.say("DATA\r\n", "503").await;
    let offers = talk.say("EHLO mx.mail.test\r\n", "250").await;
    assert!(!offers.contains("STARTTLS"), "{offers}");
    talk.say("STARTTLS\r\n", "503").await;
    talk.say("MAIL FROM:<a@b.c>\r\n", "250").await;
    talk.say("RCPT TO:<ours@x>\r\n", "250").await;
    talk.say("DATA\r\n", "354").await;
    talk.say("Subject: secret\r\n\r\nhi\r\n.\r\n", "250").await;
    assert_eq!(&door.0.lock().unwrap()[0].data[..], b"Subject: secret\r\n\r\nhi\r\n");
    std::fs::remove_dir_all(folder).unwrap();
}

#[tokio::test]
async fn commands_slipped_in_before_tls_are_let_go() {
    let (tls, folder) = certificate("slipped");
    let (address, door, _stop) = listen_with(1 << 20, Some(Arc::new(tls))).await;
    let mut talk = Talk::with(address).await;
    talk.say("EHLO mx.mail.test\r\n", "250").await;
    // In one write with STARTTLS, as somebody on the way would do it.
    talk.say("STARTTLS\r\nMAIL FROM:<evil@x>\r\nRCPT TO:<ours@x>\r\n", "220").await;
    let mut talk = talk.secure().await;
    talk.say("NOOP\r\n", "250 2.0.0").await;
    talk.say("RCPT TO:<ours@x>\r\n", "503").await;
    talk.say("DATA\r\n", "503").await;
    assert!(door.0.lock().unwrap().is_empty());
    std::fs::remove_dir_all(folder).unwrap();
}

#[tokio::test]
async fn without_a_certificate_tls_is_not_offered() {
    let (address, _door, _stop) = listen(1 << 20).await;
    let mut talk = Talk::with(address).await;
    talk.say("STARTTLS\r\n", "500").await;
    talk.say("NOOP\r\n", "250").await;
}

#[tokio::test]
async fn a_renewed_certificate_is_shown_and_a_broken_one_is_not() {
    let (tls, folder) = certificate("renewed");
    let clock = Arc::new(Ahead::default());
    let (address, _door, _stop) = listen_on(1 << 20, Some(Arc::new(tls)), Arc::<Ahead>::clone(&clock)).await;
    std::fs::write(folder.join("chain.pem"), "half a fi").unwrap();
    let mut talk = Talk::with(address).await;
    talk.say("STARTTLS\r\n", "220").await;
    talk.secure().await.say("NOOP\r\n", "250").await;
    let (chain, key) = crate::script::other_pem();
    std::fs::write(folder.join("chain.pem"), &chain).unwrap();
    std::fs::write(folder.join("key.pem"), &key).unwrap();
    // The files are looked at again after a few seconds.
    clock.0.fetch_add(6, Relaxed);
    let mut talk = Talk::with(address).await;
    talk.say("STARTTLS\r\n", "220").await;
    let secured = talk.secure().await;
    let shown = secured.stream.get_ref().get_ref().1.peer_certificates().unwrap()[0].to_vec();
    use rustls::pki_types::{CertificateDer, pem::PemObject as _};
    assert_eq!(shown, CertificateDer::from_pem_slice(chain.as_bytes()).unwrap().to_vec());
    for (chain, key, wanted) in [
        ("missing.pem", "key.pem", "missing.pem"),
        ("key.pem", "key.pem", "no certificate"),
        ("chain.pem", "chain.pem", "chain.pem"),
    ] {
        let error = MailTls::open(&folder.join(chain), &folder.join(key)).unwrap_err().to_string();
        assert!(error.contains(wanted), "{error}");
    }
    std::fs::remove_dir_all(folder).unwrap();
}

#[tokio::test]
async fn large_mails_are_taken_a_few_at_once_and_from_each_place_one() {
    let (address, door, _stop) = listen(8 << 20).await;
    let mut talks = Vec::new();
    let line = format!("{}\r\n", "x".repeat(998));
    // Where from, to which domain, and what comes of it: a second from the first place, a third to the first domain, and a fifth find no room.
    let brought = [
        (2, "a", "250"),
        (2, "b", "451"),
        (3, "a", "250"),
        (4, "a", "451"),
        (5, "b", "250"),
        (6, "c", "250"),
        (7, "d", "451"),
    ];
    for (place, domain, _) in brought {
        let mut talk = Talk::from(place, address).await;
        let recipient = format!("RCPT TO:<ours@{domain}.example>\r\n");
        for (command, code) in
            [("HELO a\r\n", "250"), ("MAIL FROM:<a@b.c>\r\n", "250"), (recipient.as_str(), "250"), ("DATA\r\n", "354")]
        {
            talk.say(command, code).await;
        }
        // More than sockets hold, so it was large before the next one began.
        talk.stream.get_mut().write_all(line.repeat(16_000).as_bytes()).await.unwrap();
        talks.push(talk);
    }
    let mut codes = Vec::new();
    for talk in &mut talks {
        talk.stream.get_mut().write_all(b".\r\n").await.unwrap();
        let mut reply = String::new();
        talk.stream.read_line(&mut reply).await.unwrap();
        codes.push(reply[..3].to_owned());
    }
    assert_eq!(codes, brought.map(|(_, _, code)| code));
    assert_eq!(door.0.lock().unwrap().len(), 4);
    // Those who came again find the rooms free.
    let mut talk = Talk::from(4, address).await;
    for (command, code) in [
        ("HELO a\r\n", "250"),
        ("MAIL FROM:<a@b.c>\r\n", "250"),
        ("RCPT TO:<ours@a.example>\r\n", "250"),
        ("DATA\r\n", "354"),
    ] {
        talk.say(command, code).await;
    }
    talk.stream.get_mut().write_all(line.repeat(16_000).as_bytes()).await.unwrap();
    talk.say(".\r\n", "250").await;
}
