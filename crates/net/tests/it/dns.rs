//! Looking records up at a tiny DNS server on loopback.

use std::{net::SocketAddr, sync::Arc};

use hickory_resolver::proto::{
    op::{Message, ResponseCode},
    rr::{
        Name, RData, Record,
        rdata::{CNAME, MX, TXT},
    },
};
use model::{Dns, DnsKind};
use tidings_net::Lookups;
use tokio::net::UdpSocket;

/// Answers from a fixed zone until the test ends.
async fn serve() -> SocketAddr {
    let socket = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 4096];
        while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
            let question = Message::from_vec(&buffer[..length]).unwrap();
            let mut answer = question.clone().into_response();
            let name = question.queries[0].name().to_string();
            let host = |text: &str| Name::from_ascii(text).unwrap();
            let data = match name.as_str() {
                "long.acme.example." => vec![RData::TXT(TXT::new(vec!["v=DKIM1; p=AB".to_owned(), "CD".to_owned()]))],
                "two.acme.example." => ["one", "two"].map(|text| RData::TXT(TXT::new(vec![text.to_owned()]))).into(),
                "alias.acme.example." => vec![RData::CNAME(CNAME(host("Target.Example.")))],
                "mx.acme.example." => vec![RData::MX(MX::new(10, host("mail.acme.example.")))],
                "broken.acme.example." => {
                    answer.metadata.response_code = ResponseCode::ServFail;
                    Vec::new()
                }
                _ => {
                    answer.metadata.response_code = ResponseCode::NXDomain;
                    Vec::new()
                }
            };
            for data in data {
                answer.add_answer(Record::from_rdata(host(&name), 60, data));
            }
            socket.send_to(&answer.to_vec().unwrap(), from).await.unwrap();
        }
    });
    address
}

#[tokio::test]
async fn records_are_found_as_they_are_published() {
    let dns = Lookups::new(Some(serve().await));
    let check = async |name: &str, kind, expected: &[&str]| {
        let mut found = dns.look_up(name, kind).await.unwrap();
        found.sort();
        assert_eq!(found, expected, "{name}");
    };
    // Strings of one record are one text; records are several.
    check("long.acme.example", DnsKind::Txt, &["v=DKIM1; p=ABCD"]).await;
    check("two.acme.example", DnsKind::Txt, &["one", "two"]).await;
    check("alias.acme.example", DnsKind::Cname, &["target.example"]).await;
    check("mx.acme.example", DnsKind::Mx, &["10 mail.acme.example"]).await;
    check("nothing.acme.example", DnsKind::Txt, &[]).await;
    assert!(dns.look_up("broken.acme.example", DnsKind::Txt).await.is_err());
}
