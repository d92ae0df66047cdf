//! A small blocking client for the API: one kept connection, and no second try, so that a test sees every refusal and every broken connection.

use std::{
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

use serde_json::Value;

/// Longest wait for an answer: a server that takes longer hangs.
const ANSWER: Duration = Duration::from_secs(60);

/// Somebody with a key, at one server.
pub struct Client {
    authority: String,
    who: String,
    connection: Option<BufReader<TcpStream>>,
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    /// The status line and the headers, in lower case.
    head: String,
    pub body: String,
}

impl Client {
    /// With a key, at the server whose URL is given.
    pub fn new(url: &str, key: &str) -> Self {
        let authority = url.strip_prefix("http://").unwrap().to_owned();
        let who = if key.is_empty() { String::new() } else { format!("authorization: Bearer {key}\r\n") };
        Self { authority, who, connection: None }
    }

    /// An operator who acts in a tenant.
    pub fn inside(mut self, tenant: &str) -> Self {
        self.who.push_str(&format!("tidings-tenant: {tenant}\r\n"));
        self
    }

    /// One request over the kept connection. An error says that there was no whole answer: the server is gone.
    pub fn exchange(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> io::Result<Answer> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => BufReader::new(connect(&self.authority)?),
        };
        let extra: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: {}\r\n{}{extra}content-length: {}\r\n\r\n{body}",
            self.authority,
            self.who,
            body.len()
        );
        connection.get_mut().write_all(request.as_bytes())?;
        let answer = read(&mut connection)?;
        if answer.header("connection") != Some("close") {
            self.connection = Some(connection);
        }
        Ok(answer)
    }

    /// One request with a JSON body over a new connection, whose answer may be anything.
    pub fn ask(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &Value) -> Answer {
        self.connection = None;
        let json = [("content-type", "application/json")];
        match body {
            Value::Null => self.exchange(method, path, headers, ""),
            _ => self.exchange(method, path, &[&json, headers].concat(), &body.to_string()),
        }
        .unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }

    /// What is at a path.
    #[track_caller]
    pub fn get(&mut self, path: &str) -> Value {
        self.ask("GET", path, &[], &Value::Null).success()
    }

    /// What became of a request that is taken.
    #[track_caller]
    pub fn post(&mut self, path: &str, body: &Value) -> Value {
        self.ask("POST", path, &[], body).success()
    }
}

impl Answer {
    /// A header's value, in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    /// The body as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    /// The body of a success.
    #[track_caller]
    pub fn success(&self) -> Value {
        assert!((200..300).contains(&self.status), "{}: {}", self.status, self.body);
        self.json()
    }
}

/// A connection whose reads do not hang for ever.
pub fn connect(authority: &str) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(authority)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(ANSWER))?;
    Ok(stream)
}

fn read(connection: &mut BufReader<TcpStream>) -> io::Result<Answer> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if connection.read_line(&mut head)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    let status = head.split(' ').nth(1).and_then(|word| word.parse().ok()).ok_or(io::ErrorKind::InvalidData)?;
    let mut answer = Answer { status, head: head.to_ascii_lowercase(), body: String::new() };
    let length = answer.header("content-length").map_or(0, |text| text.parse().unwrap());
    let mut body = vec![0; length];
    connection.read_exact(&mut body)?;
    answer.body = String::from_utf8(body).map_err(|_| io::ErrorKind::InvalidData)?;
    Ok(answer)
}
