//! Looking records up, behind [`model::Dns`]: what people published for their mail domains.
//!
//! Apart from how connections find addresses (`resolve`), which asks the system as every program does. Here nothing is kept between questions: somebody who
//! has just published a record wants to see it now.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use hickory_resolver::{
    Resolver, TokioResolver,
    config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig},
    net::{NetError, runtime::TokioRuntimeProvider},
    proto::rr::{RData, RecordType},
};
use model::{BoxFuture, Dns, DnsKind};

/// Time for one try; two are made.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Records of one name that are looked at: nobody has more of a kind.
const RECORDS_MAX: usize = 64;

/// A resolver that asks one recursive server.
pub struct Lookups(Result<Arc<TokioResolver>, String>);

impl Lookups {
    /// Asks `server`, or the system's own servers. Where the system names none, each question is answered with that problem.
    pub fn new(server: Option<SocketAddr>) -> Arc<Self> {
        let made = resolver(server).map(Arc::new);
        Arc::new(Self(
            made.map_err(|problem| format!("no DNS server can be asked ({problem}); the operator sets `dns_resolver`")),
        ))
    }
}

fn resolver(server: Option<SocketAddr>) -> Result<TokioResolver, NetError> {
    let provider = TokioRuntimeProvider::default();
    let mut builder = match server {
        Some(server) => {
            let (mut udp, mut tcp) = (ConnectionConfig::udp(), ConnectionConfig::tcp());
            (udp.port, tcp.port) = (server.port(), server.port());
            let server = NameServerConfig::new(server.ip(), true, vec![udp, tcp]);
            Resolver::builder_with_config(ResolverConfig::from_name_servers(vec![server]), provider)
        }
        None => TokioResolver::builder(provider)?,
    };
    let options = builder.options_mut();
    options.timeout = TIMEOUT;
    options.attempts = 1;
    options.cache_size = 0;
    options.use_hosts_file = ResolveHosts::Never;
    builder.build()
}

impl Dns for Lookups {
    fn look_up(&self, name: &str, kind: DnsKind) -> BoxFuture<'static, Result<Vec<String>, String>> {
        // The dot keeps search domains away.
        let (resolver, name) = (self.0.clone(), format!("{}.", name.trim_end_matches('.')));
        Box::pin(async move {
            let wanted = match kind {
                DnsKind::Txt => RecordType::TXT,
                DnsKind::Cname => RecordType::CNAME,
                DnsKind::Mx => RecordType::MX,
            };
            match resolver?.lookup(name, wanted).await {
                Ok(found) => {
                    Ok(found.answers().iter().filter_map(|record| text(&record.data, kind)).take(RECORDS_MAX).collect())
                }
                Err(error) if error.is_no_records_found() || error.is_nx_domain() => Ok(Vec::new()),
                Err(error) => Err(error.to_string()),
            }
        })
    }
}

/// A record of the wanted kind as text. Answers may hold the aliases that led to it, too.
fn text(data: &RData, kind: DnsKind) -> Option<String> {
    let host = |name: &dyn std::fmt::Display| name.to_string().trim_end_matches('.').to_ascii_lowercase();
    match (data, kind) {
        (RData::TXT(txt), DnsKind::Txt) => Some(String::from_utf8_lossy(&txt.txt_data.concat()).into_owned()),
        (RData::CNAME(name), DnsKind::Cname) => Some(host(name)),
        (RData::MX(mx), DnsKind::Mx) => Some(format!("{} {}", mx.preference, host(&mx.exchange))),
        _ => None,
    }
}
