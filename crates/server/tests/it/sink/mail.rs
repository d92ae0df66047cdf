//! A mail server that takes every mail but those to `gone@…`: RFC 5321 as far as clients use it, one command at a time.

use std::{
    io::{self, BufRead as _, BufReader, Write as _},
    net::TcpStream,
};

use super::{Arrival, Sink};

const OFFERS: &str = "250-sink.test\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 SIZE 52428800\r\n";

/// Serves one connection to its end.
pub(super) fn serve(sink: &Sink, stream: TcpStream) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    stream.get_mut().write_all(b"220 sink.test ESMTP\r\n")?;
    let (mut line, mut from, mut to) = (String::new(), String::new(), String::new());
    loop {
        line.clear();
        if stream.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let reply = match line.get(..4).unwrap_or_default().to_ascii_uppercase().as_str() {
            "EHLO" | "HELO" => OFFERS,
            "RSET" | "NOOP" => "250 2.0.0 ok\r\n",
            "MAIL" => {
                path(&line).clone_into(&mut from);
                "250 2.1.0 ok\r\n"
            }
            "RCPT" => {
                path(&line).clone_into(&mut to);
                if to.starts_with("gone@") { "550 5.1.1 no such user any more\r\n" } else { "250 2.1.5 ok\r\n" }
            }
            "DATA" => {
                stream.get_mut().write_all(b"354 go on\r\n")?;
                // Nothing counts that does not come to its end.
                let content = data(&mut stream)?;
                sink.note(Arrival {
                    to: to.clone(),
                    from: from.clone(),
                    content,
                    sid: String::new(),
                    callback: String::new(),
                    date: String::new(),
                });
                sink.wait_while_holding_mail();
                "250 2.0.0 taken\r\n"
            }
            "QUIT" => return stream.get_mut().write_all(b"221 2.0.0 bye\r\n"),
            _ => "500 5.5.2 what?\r\n",
        };
        stream.get_mut().write_all(reply.as_bytes())?;
    }
}

/// The address of a command.
fn path(line: &str) -> &str {
    line.split_once('<').and_then(|(_, rest)| rest.split_once('>')).map_or("", |(address, _)| address)
}

/// The mail up to its dot, without the dots that were doubled on the way.
fn data(stream: &mut BufReader<TcpStream>) -> io::Result<String> {
    let (mut content, mut line) = (String::new(), String::new());
    loop {
        line.clear();
        if stream.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if line == ".\r\n" {
            return Ok(content);
        }
        content.push_str(line.strip_prefix('.').unwrap_or(&line));
    }
}
