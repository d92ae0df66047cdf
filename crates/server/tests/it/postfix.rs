//! A Postfix of the test's own: its configuration, queue and port are in a temporary directory, the machine's own Postfix is not touched.
//!
//! It wants STARTTLS with a certificate of an authority made for the test, and a sign-in that is checked the way Postfix asks a Dovecot (the test
//! answers as one, so that no further server is needed). A second port speaks TLS from the first byte and knows the sign-in LOGIN only. It knows three recipients and hands their mail on to a
//! receiver of the test; what comes back goes to where the test takes mail of its own.

use std::{
    collections::HashMap,
    env, fs,
    io::{self, BufRead as _, BufReader, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use testkit::TempDir;

/// Where `postfix` is; `cargo xtask test` says it.
const VARIABLE: &str = "TIDINGS_TEST_POSTFIX_DIR";
pub const USER: &str = "tickets";
pub const PASSWORD: &str = "correct horse";

const SERVICES: &str = "\
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
smtp unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
anvil unix - - n - 1 anvil
tlsmgr unix - - n 1000? 1 tlsmgr
scache unix - - n - 1 scache
proxymap unix - - n - - proxymap
postlog unix-dgram n - n - 1 postlogd
";

/// A running Postfix; stopped and removed when dropped.
pub struct Postfix {
    /// Stops Postfix when the test ends, however it ends: it waits for the end of its input, which only we hold.
    guardian: Child,
    home: TempDir,
    /// STARTTLS, and PLAIN to sign in.
    pub port: u16,
    /// TLS from the first byte, and LOGIN to sign in.
    pub tls_port: u16,
}

impl Postfix {
    /// Starts one that knows `ada@mail.test`, `bob@mail.test` and `gone@mail.test` and hands their mail to `receiver`, and what is for `bounce.mail.test` to the port `bounces`.
    ///
    /// # Panics
    /// Without Postfix and root, so that the test is not left out silently.
    pub fn start(receiver: SocketAddr, bounces: u16) -> Self {
        let directory = env::var_os(VARIABLE).map(PathBuf::from).unwrap_or_else(|| {
            panic!("{VARIABLE} is not set: run the tests with `cargo xtask test` as root, or set it to the directory of the program `postfix`")
        });
        let home = TempDir::new();
        let (port, tls_port) = (free_port(), free_port());
        configure(
            home.path(),
            [(port, check_passwords("PLAIN")), (tls_port, check_passwords("LOGIN"))],
            receiver,
            bounces,
        );
        let program = directory.join("postfix");
        // From here on the guardian cleans up, also when the next step fails.
        let guardian = guardian(&program, home.path());
        let postfix = Self { guardian, home, port, tls_port };
        // Comes back when Postfix listens.
        let log = fs::File::create(postfix.home.path().join("start")).unwrap();
        let mut start = Command::new(program);
        start.arg("-c").arg(postfix.home.path().join("conf")).arg("start");
        start.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        assert!(start.status().unwrap().success(), "Postfix did not start: {}", postfix.log());
        postfix
    }

    /// The certificate of the authority that vouches for it, as a PEM file.
    pub fn authority(&self) -> PathBuf {
        self.home.path().join("authority.pem")
    }

    /// What it says of itself.
    pub fn log(&self) -> String {
        ["start", "maillog"].map(|name| fs::read_to_string(self.home.path().join(name)).unwrap_or_default()).concat()
    }
}

impl Drop for Postfix {
    fn drop(&mut self) {
        drop(self.guardian.stdin.take());
        let _ = self.guardian.wait();
    }
}

fn guardian(program: &Path, home: &Path) -> Child {
    let script = r#"trap '' INT TERM HUP; read -r _; "$1" -c "$2/conf" stop >/dev/null 2>&1; rm -rf "$2""#;
    let mut guardian = Command::new("sh");
    guardian.args(["-c", script, "guardian"]).arg(program).arg(home).current_dir("/");
    // A process group of its own, so that what ends the test does not reach it.
    guardian.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
    guardian.spawn().unwrap()
}

fn configure(home: &Path, [plain, wrapped]: [(u16, SocketAddr); 2], receiver: SocketAddr, bounces: u16) {
    let path = |name: &str| home.join(name).display().to_string();
    let write = |name: &str, text: String| fs::write(home.join(name), text).unwrap();
    for directory in ["conf", "queue", "data"] {
        fs::create_dir(home.join(directory)).unwrap();
    }
    assert!(Command::new("chown").arg("postfix").arg(home.join("data")).status().unwrap().success());
    let mut authority = CertificateParams::new(Vec::default()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority_key = KeyPair::generate().unwrap();
    write("authority.pem", authority.self_signed(&authority_key).unwrap().pem());
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let certificate = certificate.signed_by(&key, &Issuer::new(authority, authority_key)).unwrap();
    write("server.pem", format!("{}{}", key.serialize_pem(), certificate.pem()));
    let ((port, passwords), (tls_port, others)) = (plain, wrapped);
    write(
        "conf/master.cf",
        format!(
            "127.0.0.1:{port} inet n - n - - smtpd\n127.0.0.1:{tls_port} inet n - n - - smtpd\n  \
             -o smtpd_tls_wrappermode=yes -o smtpd_sasl_path=inet:{others}\n{SERVICES}"
        ),
    );
    let (queue, data, log, chain) = (path("queue"), path("data"), path("maillog"), path("server.pem"));
    write(
        "conf/main.cf",
        format!(
            "compatibility_level = 3.6\nqueue_directory = {queue}\ndata_directory = {data}\n\
             maillog_file = {log}\nmaillog_file_prefixes = {home}\n\
             myhostname = mx.mail.test\nmydestination =\nalias_maps =\ninet_protocols = ipv4\ndisable_dns_lookups = yes\n\
             smtpd_tls_chain_files = {chain}\nsmtpd_tls_security_level = encrypt\nsmtpd_tls_auth_only = yes\n\
             smtpd_sasl_auth_enable = yes\nsmtpd_sasl_type = dovecot\nsmtpd_sasl_path = inet:{passwords}\n\
             smtpd_relay_restrictions = permit_sasl_authenticated, reject\n\
             smtpd_recipient_restrictions = reject_unlisted_recipient, permit_sasl_authenticated, reject\n\
             relay_domains = mail.test\nrelay_recipient_maps = inline:{{ {{ada@mail.test = here}}, {{bob@mail.test = here}}, {{gone@mail.test = here}} }}\n\
             transport_maps = inline:{{ {{bounce.mail.test = smtp:[127.0.0.1]:{bounces}}} }}\n\
             relay_transport = smtp:[127.0.0.1]:{port}\nsmtp_tls_security_level = none\n",
            home = home.display(),
            port = receiver.port(),
        ),
    );
}

/// A port nobody listens on right now. The system hands out others before it comes back to this one.
pub fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}

/// Answers as Dovecot's authentication server does, for one mechanism. <https://doc.dovecot.org/latest/core/developers/design/auth_protocol.html>
fn check_passwords(mechanism: &'static str) -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || answer_as_dovecot(stream, mechanism));
        }
    });
    address
}

fn answer_as_dovecot(stream: TcpStream, mechanism: &str) -> io::Result<()> {
    let mut lines = BufReader::new(stream);
    let cookie = "0123456789abcdef0123456789abcdef";
    let hello = format!("VERSION\t1\t2\nMECH\t{mechanism}\tplaintext\nSPID\t1\nCUID\t1\nCOOKIE\t{cookie}\nDONE\n");
    lines.get_mut().write_all(hello.as_bytes())?;
    let (plain, user, password) =
        (STANDARD.encode(format!("\0{USER}\0{PASSWORD}")), STANDARD.encode(USER), STANDARD.encode(PASSWORD));
    // What the sign-ins under way have said so far.
    let mut said: HashMap<String, Vec<String>> = HashMap::new();
    let mut line = String::new();
    while lines.read_line(&mut line)? > 0 {
        let words: Vec<&str> = line.trim_end().split('\t').collect();
        let answer = match words.as_slice() {
            ["AUTH", id, "PLAIN", ..] => {
                let given = words.iter().find_map(|word| word.strip_prefix("resp="));
                verdict(id, given == Some(plain.as_str()))
            }
            ["AUTH", id, "LOGIN", ..] => {
                said.insert((*id).to_owned(), Vec::new());
                format!("CONT\t{id}\t{}\n", STANDARD.encode("Username:"))
            }
            ["CONT", id, given] => {
                let all = said.entry((*id).to_owned()).or_default();
                all.push((*given).to_owned());
                match all.as_slice() {
                    [_] => format!("CONT\t{id}\t{}\n", STANDARD.encode("Password:")),
                    all => verdict(id, *all == [user.as_str(), password.as_str()]),
                }
            }
            _ => String::new(),
        };
        lines.get_mut().write_all(answer.as_bytes())?;
        line.clear();
    }
    Ok(())
}

fn verdict(id: &str, is_right: bool) -> String {
    format!("{}\t{id}\tuser={USER}\n", if is_right { "OK" } else { "FAIL" })
}
