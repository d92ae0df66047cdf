//! A DNS on loopback, in which tests publish records.

use std::{
    collections::HashMap,
    net::{SocketAddr, UdpSocket},
    sync::{Arc, Mutex},
    thread,
};

use serde_json::Value;

/// TXT, CNAME and MX records by type and name, in lower case without the dot at the end.
#[derive(Clone, Default)]
pub struct Zone(Arc<Mutex<HashMap<(String, String), String>>>);

impl Zone {
    /// Publishes a record as `/v1/domains` shows it.
    pub fn publish(&self, record: &Value) {
        let word = |name: &str| record[name].as_str().unwrap().to_owned();
        self.0.lock().unwrap().insert((word("type"), word("name")), word("value"));
    }

    /// Answers questions for as long as the test lives.
    pub fn serve(&self) -> SocketAddr {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let zone = self.clone();
        thread::spawn(move || {
            let mut question = [0; 2048];
            while let Ok((length, from)) = socket.recv_from(&mut question) {
                socket.send_to(&zone.answer(&question[..length]), from).unwrap();
            }
        });
        address
    }

    /// RFC 1035: the header, the question as it came, and the record.
    fn answer(&self, question: &[u8]) -> Vec<u8> {
        let mut at = 12;
        let mut labels = Vec::new();
        while question[at] != 0 {
            let length = usize::from(question[at]);
            labels.push(String::from_utf8_lossy(&question[at + 1..=at + length]).to_ascii_lowercase());
            at += length + 1;
        }
        let end = at + 5;
        let number = u16::from_be_bytes([question[at + 1], question[at + 2]]);
        let kind = match number {
            5 => "CNAME",
            15 => "MX",
            16 => "TXT",
            _ => "",
        };
        let value = self.0.lock().unwrap().get(&(kind.to_owned(), labels.join("."))).cloned();
        let mut out = question[..2].to_vec();
        out.extend([0x81, if value.is_some() { 0x80 } else { 0x83 }, 0, 1, 0, u8::from(value.is_some()), 0, 0, 0, 0]);
        out.extend(&question[12..end]);
        if let Some(value) = value {
            let data = data(kind, &value);
            out.extend([0xc0, 12]);
            out.extend(number.to_be_bytes());
            out.extend([0, 1, 0, 0, 0, 60]);
            out.extend((data.len() as u16).to_be_bytes());
            out.extend(data);
        }
        out
    }
}

/// What a record says: texts in strings of 255 bytes, a host's name, or a preference and a host's name.
fn data(kind: &str, value: &str) -> Vec<u8> {
    let name = |host: &str| {
        let labels = host.split('.').flat_map(|label| [&[label.len() as u8], label.as_bytes()].concat());
        labels.chain([0]).collect::<Vec<u8>>()
    };
    match kind {
        "TXT" => value.as_bytes().chunks(255).flat_map(|part| [&[part.len() as u8], part].concat()).collect(),
        "MX" => {
            let (preference, host) = value.split_once(' ').unwrap();
            [preference.parse::<u16>().unwrap().to_be_bytes().to_vec(), name(host)].concat()
        }
        _ => name(value),
    }
}
