//! A TCP server that plays a script: what it says and what it waits for, connection by connection.

use std::{
    io,
    net::{IpAddr, Ipv4Addr},
    sync::{Arc, Mutex, OnceLock},
    time::Duration,
};

use model::{Answer, BoxFuture, Broken, Call, Clock, HttpAnswer, HttpCall, SmtpAnswer, SmtpCall, Timestamp, Transport};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use tidings_net::{Guard, Net, NetConfig, Resolve, SystemClock};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{Notify, watch},
    task::JoinHandle,
};
use tokio_rustls::TlsAcceptor;

/// One thing the server does.
#[derive(Debug, Clone)]
pub enum Do {
    /// Sends these bytes.
    Say(String),
    /// Reads one line, which must begin like this.
    Hear(&'static str),
    /// Reads one HTTP request, head and body.
    HearRequest,
    /// Reads a mail up to the line with a single dot.
    HearData,
    /// Nothing has arrived beyond what was heard: the client waits for us.
    ExpectSilence,
    /// Reads this many bytes.
    Hears(usize),
    /// Shakes hands.
    StartTls,
    /// Closes with a reset instead of a regular end.
    Reset,
    /// Waits until the client closes.
    Linger,
    /// Reads no more, and keeps the connection until the test ends.
    Hold,
    /// Lets [`Server::told`] return.
    Tell,
}

pub fn say(text: impl Into<String>) -> Do {
    Do::Say(text.into())
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// A server playing one script per connection, in the order of their arrival.
pub struct Server {
    pub port: u16,
    heard: Arc<Mutex<Vec<String>>>,
    told: Arc<Notify>,
    playing: Vec<JoinHandle<()>>,
}

impl Server {
    pub async fn start(scripts: Vec<Vec<Do>>) -> Self {
        let listener = Arc::new(TcpListener::bind("127.0.0.1:0").await.unwrap());
        let port = listener.local_addr().unwrap().port();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::new(Notify::new());
        // Each script waits its turn to accept, so that connection n plays script n.
        let turn = Arc::new(tokio::sync::Mutex::new(scripts.into_iter().collect::<std::collections::VecDeque<_>>()));
        let playing = (0..turn.lock().await.len())
            .map(|_| {
                let (listener, turn) = (Arc::clone(&listener), Arc::clone(&turn));
                let (heard, told) = (Arc::clone(&heard), Arc::clone(&told));
                tokio::spawn(async move {
                    let (stream, script) = {
                        let mut scripts = turn.lock().await;
                        let (stream, _) = listener.accept().await.unwrap();
                        (stream, scripts.pop_front().unwrap())
                    };
                    Player { stream: Peer::Plain(stream), inbox: Vec::new(), heard, told }.play(script).await;
                })
            })
            .collect();
        Self { port, heard, told, playing }
    }

    /// Waits until every script was played to its end, and gives what was heard.
    pub async fn done(self) -> Vec<String> {
        for playing in self.playing {
            playing.await.unwrap();
        }
        self.heard.lock().unwrap().clone()
    }

    /// Waits until a script got to its [`Do::Tell`].
    pub async fn told(&self) {
        self.told.notified().await;
    }

    /// Waits until the first script was played to its end.
    pub async fn first_done(&mut self) {
        let first = self.playing.remove(0);
        first.await.unwrap();
    }
}

enum Peer {
    Plain(TcpStream),
    Tls(Box<dyn Stream>),
}

struct Player {
    stream: Peer,
    inbox: Vec<u8>,
    heard: Arc<Mutex<Vec<String>>>,
    told: Arc<Notify>,
}

impl Player {
    async fn play(mut self, script: Vec<Do>) {
        for step in script {
            match step {
                // A client that has given up is not the script's business.
                Do::Say(text) => drop(self.stream().write_all(text.as_bytes()).await),
                Do::Hear(start) => {
                    let line = self.line().await;
                    assert!(line.starts_with(start), "expected {start:?}, heard {line:?}");
                    self.note(line);
                }
                Do::HearRequest => {
                    let head = self.until("\r\n\r\n").await;
                    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
                    let body = self.bytes(length.map_or(0, |n| n.parse().unwrap())).await;
                    self.note(head + &body);
                }
                Do::HearData => {
                    while self.inbox.len() < 3 && self.fill().await > 0 {}
                    let data = match self.inbox.starts_with(b".\r\n") {
                        true => self.until(".\r\n").await,
                        false => self.until("\r\n.\r\n").await,
                    };
                    self.note(data);
                }
                Do::ExpectSilence => assert!(self.inbox.is_empty(), "heard {:?}", String::from_utf8_lossy(&self.inbox)),
                Do::Hears(count) => {
                    let text = self.bytes(count).await;
                    self.note(text);
                }
                Do::StartTls => self = self.start_tls().await,
                Do::Reset => {
                    let Peer::Plain(stream) = &self.stream else { panic!("only plain connections are reset") };
                    stream.set_zero_linger().unwrap();
                    return;
                }
                Do::Hold => std::future::pending().await,
                Do::Tell => self.told.notify_one(),
                Do::Linger => while self.fill().await > 0 {},
            }
        }
    }

    fn stream(&mut self) -> &mut dyn Stream {
        match &mut self.stream {
            Peer::Plain(stream) => stream,
            Peer::Tls(stream) => stream,
        }
    }

    async fn start_tls(self) -> Self {
        let Self { stream, inbox, heard, told } = self;
        let Peer::Plain(stream) = stream else { panic!("TLS is on already") };
        assert!(inbox.is_empty(), "the client spoke before the handshake");
        // The client may well refuse our certificate: then there is nothing more to say.
        match TlsAcceptor::from(server_tls()).accept(stream).await {
            Ok(stream) => Self { stream: Peer::Tls(Box::new(stream)), inbox, heard, told },
            Err(_) => Self { stream: Peer::Tls(Box::new(tokio::io::empty())), inbox, heard, told },
        }
    }

    fn note(&self, text: String) {
        self.heard.lock().unwrap().push(text);
    }

    /// Reads something; 0 at the end.
    async fn fill(&mut self) -> usize {
        let mut chunk = [0; 4096];
        let count = self.stream().read(&mut chunk).await.unwrap_or(0);
        self.inbox.extend_from_slice(&chunk[..count]);
        count
    }

    async fn line(&mut self) -> String {
        self.until("\r\n").await.trim_end_matches("\r\n").to_owned()
    }

    async fn until(&mut self, end: &str) -> String {
        loop {
            let found = self.inbox.windows(end.len()).position(|window| window == end.as_bytes());
            if let Some(at) = found {
                return self.take(at + end.len());
            }
            if self.fill().await == 0 {
                return self.take(self.inbox.len()) + "<closed>";
            }
        }
    }

    async fn bytes(&mut self, count: usize) -> String {
        while self.inbox.len() < count {
            assert!(self.fill().await > 0, "the client closed after {} of {count} bytes", self.inbox.len());
        }
        self.take(count)
    }

    fn take(&mut self, count: usize) -> String {
        let rest = self.inbox.split_off(count);
        String::from_utf8(std::mem::replace(&mut self.inbox, rest)).unwrap()
    }
}

/// Every name is this machine.
struct Everywhere;

impl Resolve for Everywhere {
    fn resolve(&self, host: &str) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        let found = if host.ends_with(".test") { vec![Ipv4Addr::LOCALHOST.into()] } else { vec![] };
        Box::pin(std::future::ready(Ok(found)))
    }
}

/// A transport that may reach this machine, trusts the scripts' certificate, and takes `*.test` for this machine.
pub fn net() -> Arc<Net> {
    net_with(&["loopback"], true)
}

pub fn net_with(allow: &[&str], trusts_us: bool) -> Arc<Net> {
    build(allow, trusts_us, Arc::new(SystemClock))
}

/// As [`net`], with time limits that are over when the test says so.
pub fn net_on(bell: &Bell) -> Arc<Net> {
    build(&["loopback"], true, Arc::new(bell.clone()))
}

fn build(allow: &[&str], trusts_us: bool, clock: Arc<dyn Clock>) -> Arc<Net> {
    let config = NetConfig {
        guard: Guard::new(allow.iter().map(|entry| entry.parse().unwrap()).collect()),
        extra_root_pems: if trusts_us { vec![certificates().root_pem.clone()] } else { vec![] },
        user_agent: "Tidings/test".into(),
        ..NetConfig::default()
    };
    Net::with_resolver(config, clock, Arc::new(Everywhere)).unwrap()
}

/// A clock whose waits all end at once, when it is rung.
#[derive(Clone)]
pub struct Bell(watch::Sender<bool>);

impl Bell {
    pub fn new() -> Self {
        Self(watch::Sender::new(false))
    }

    pub fn ring(&self) {
        self.0.send_replace(true);
    }
}

impl Clock for Bell {
    fn now(&self) -> Timestamp {
        Timestamp::EPOCH
    }

    fn sleep(&self, _millis: u64) -> BoxFuture<'static, ()> {
        let mut rung = self.0.subscribe();
        Box::pin(async move {
            if rung.wait_for(|is_rung| *is_rung).await.is_err() {
                std::future::pending().await
            }
        })
    }
}

/// Makes the exchange and lets its time run out when the script tells.
pub async fn timed_out(scripts: Vec<Vec<Do>>, call: impl FnOnce(u16) -> Call) -> Broken {
    let server = Server::start(scripts).await;
    let bell = Bell::new();
    let net = net_on(&bell);
    let exchange = exchange(&net, call(server.port));
    let (result, ()) = tokio::join!(exchange, async {
        server.told().await;
        bell.ring();
    });
    result.unwrap_err()
}

/// No script takes longer than this; a hang fails with a name instead of blocking the run.
const HANG: Duration = Duration::from_secs(20);

async fn exchange(net: &Net, call: Call) -> Result<Answer, Broken> {
    tokio::time::timeout(HANG, net.exchange(Arc::new(call))).await.expect("the exchange hangs")
}

pub async fn http(net: &Net, call: &HttpCall) -> Result<HttpAnswer, Broken> {
    match exchange(net, Call::Http(call.clone())).await? {
        Answer::Http(answer) => Ok(answer),
        other => panic!("{other:?}"),
    }
}

pub async fn smtp(net: &Net, call: &SmtpCall) -> Result<SmtpAnswer, Broken> {
    match exchange(net, Call::Smtp(call.clone())).await? {
        Answer::Smtp(answer) => Ok(answer),
        other => panic!("{other:?}"),
    }
}

struct Certificates {
    root_pem: String,
    server: Arc<ServerConfig>,
    /// Certificate and key of the server, and of another one of the same name.
    pems: [(String, String); 2],
}

/// A root and a server certificate for `mail.test` and `127.0.0.1`, made once per run.
fn certificates() -> &'static Certificates {
    static CERTIFICATES: OnceLock<Certificates> = OnceLock::new();
    CERTIFICATES.get_or_init(|| {
        let mut root = CertificateParams::new(Vec::default()).unwrap();
        root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root_key = KeyPair::generate().unwrap();
        let root_pem = root.self_signed(&root_key).unwrap().pem();
        let names = vec!["mail.test".to_owned(), "127.0.0.1".to_owned()];
        let issuer = Issuer::new(root, root_key);
        let leaf = || {
            let key = KeyPair::generate().unwrap();
            let leaf = CertificateParams::new(names.clone()).unwrap().signed_by(&key, &issuer).unwrap();
            (leaf, key)
        };
        let ((leaf, leaf_key), (other, other_key)) = (leaf(), leaf());
        let key = PrivateKeyDer::Pkcs8(leaf_key.serialize_der().into());
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let server = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![leaf.der().clone()], key)
            .unwrap();
        let pems = [(leaf.pem(), leaf_key.serialize_pem()), (other.pem(), other_key.serialize_pem())];
        Certificates { root_pem, server: Arc::new(server), pems }
    })
}

/// The server's certificate and key as PEM.
pub fn server_pem() -> (String, String) {
    certificates().pems[0].clone()
}

/// Another certificate of the same name, and its key.
pub fn other_pem() -> (String, String) {
    certificates().pems[1].clone()
}

/// What a client that trusts our root has.
pub fn client_tls() -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(certificates().root_pem.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    Arc::new(builder.with_root_certificates(roots).with_no_client_auth())
}

fn server_tls() -> Arc<ServerConfig> {
    Arc::clone(&certificates().server)
}
