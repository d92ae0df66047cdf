//! Requests for tracked addresses: answered at once from what stands in them, kept for a few seconds, then judged together and applied like every other report.

use std::{collections::BTreeMap, sync::Arc};

use model::{AttachmentId, Fact, MessageId, TenantId, Timestamp};
use store::{
    Scope, installation, messages,
    tracking::{self, Hit},
};

use super::{
    judge::{self, Asked, Request, VISIT_MS},
    token::{Signer, Target},
};
use crate::{
    Engine, Error,
    apply::{Input, Learned},
    attachments,
    keys::Caller,
    vault::{OPERATOR, Place},
};

/// Messages judged in one go.
const SETTLE_PAGE: i64 = 500;
/// Requests about one message that wait to be judged; more tell nothing new.
const WAITING_MAX: i64 = 50;
/// The fact under which the installation's secret lies.
const SECRET: &str = "link_secret";
const SECRET_LEN: usize = 32;

/// What to answer.
pub enum Response {
    /// The picture, which shows nothing.
    Pixel,
    /// On to here.
    Redirect(String),
    /// A tenant's logo.
    Logo(attachments::AttachmentContent),
    /// A document.
    Document(attachments::AttachmentContent),
    /// Nothing.
    Nothing,
}

impl Engine {
    /// Signs and checks tracked addresses. The installation's secret is made when it is first needed, and read once per process.
    #[crate::boxed]
    pub async fn signer(&self) -> Result<Arc<Signer>, Error> {
        self.signer.get_or_try_init(|| self.read_signer()).await.map(Arc::clone)
    }

    async fn read_signer(&self) -> Result<Arc<Signer>, Error> {
        let (vault, ids, now) = (Arc::clone(&self.vault), Arc::clone(&self.ports.ids), self.ports.clock.now());
        let write = self.ports.db.write(Scope::System, move |tx| {
            Box::pin(async move {
                let place = Place { tenant: OPERATOR, table: "installation", row: SECRET, field: "value" };
                if installation::find(tx, SECRET).await?.is_none() {
                    let mut secret = zeroize::Zeroizing::new([0; SECRET_LEN]);
                    ids.fill(&mut *secret);
                    let sealed = vault.seal(tx, &ids, now, &place, &*secret).await?;
                    let text: String = sealed.bytes.iter().map(|byte| format!("{byte:02x}")).collect();
                    installation::claim(tx, SECRET, &text).await?;
                }
                // Of two processes that start at once one was first, and its secret counts.
                let text = installation::find(tx, SECRET).await?.unwrap_or_default();
                let bytes: Option<Vec<u8>> =
                    (0..text.len() / 2).map(|at| u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok()).collect();
                vault.open(tx, &place, &bytes.unwrap_or_default()).await
            })
        });
        Ok(Arc::new(Signer::new(&write.await?)))
    }

    /// Answers a request for a tracked address. An address we did not make is not found.
    #[crate::boxed]
    pub async fn tracked(&self, token: &str, is_head: bool, agent: &str) -> Result<Response, Error> {
        let signer = self.signer().await?;
        let gone = || Error::not_found("address");
        let (tenant, target) = signer.read(token).ok_or_else(gone)?;
        // A deleted tenant's addresses lead nowhere.
        self.directory.tenant(tenant).await?.ok_or_else(gone)?;
        let (message, asked, response) = match target {
            Target::Logo(file) => return logo(self, tenant, file).await,
            Target::Document { until, .. } if until < self.ports.clock.now() => return Err(gone()),
            Target::Document { file, .. } => {
                let found = attachments::kept(self, tenant, file).await?;
                return found.map(Response::Document).ok_or_else(gone);
            }
            Target::Pixel(message) => (message, Asked::Pixel, Response::Pixel),
            Target::Trap(message) => (message, Asked::Trap, Response::Nothing),
            Target::Link { message, index, count, url } => {
                // As a browser would ask for it: in ASCII.
                let place = url::Url::parse(&url).map_err(|_| gone())?.to_string();
                (message, Asked::Link { index, count, url }, Response::Redirect(place))
            }
        };
        let request = Request::new(asked, is_head, agent);
        if let Err(error) = self.keep_hit(tenant, message, &request).await {
            // The person behind it still gets where they wanted.
            tracing::warn!(%error, message.id = %message, "Cannot keep that a message was opened or clicked");
        }
        Ok(response)
    }

    async fn keep_hit(&self, tenant: TenantId, message: MessageId, request: &Request) -> Result<(), Error> {
        let now = self.ports.clock.now();
        let hit = Hit {
            settle_at: now.plus_millis(VISIT_MS),
            message_id: message,
            id: self.ports.ids.ulid(now),
            tenant_id: tenant,
            hit: serde_json::to_string(request).map_err(Error::internal)?,
            at: now,
        };
        let write = self.ports.db.write(Scope::Tenant(tenant), move |tx| {
            Box::pin(async move { tracking::insert(tx, tenant, &hit, WAITING_MAX).await })
        });
        write.await?;
        Ok(())
    }
}

/// A tenant's logo. Pictures only: nothing else of a tenant's files is for everybody.
async fn logo(engine: &Engine, tenant: TenantId, file: AttachmentId) -> Result<Response, Error> {
    let found = attachments::content(engine, &Caller::system(Some(tenant)), file).await?;
    if found.view.content_type.starts_with("image/") {
        Ok(Response::Logo(found))
    } else {
        Err(Error::not_found("address"))
    }
}

/// Judges requests that have waited long enough, and applies what they tell. Killed between the two, the next run tells the same again, which changes nothing.
#[crate::boxed]
pub async fn settle(engine: &Engine) -> Result<u64, Error> {
    let now = engine.ports.clock.now();
    let read = engine.ports.db.read(Scope::System, move |tx| {
        Box::pin(async move {
            let hits = tracking::due(tx, now, SETTLE_PAGE).await?;
            let mut keys: Vec<_> = hits.iter().map(|hit| (hit.tenant_id, hit.message_id)).collect();
            keys.dedup();
            Ok::<_, Error>((messages::find_many(tx, &keys).await?, hits))
        })
    });
    let (messages, hits) = read.await?;
    let mut by_message: BTreeMap<MessageId, Vec<Hit>> = BTreeMap::new();
    for hit in hits {
        by_message.entry(hit.message_id).or_default().push(hit);
    }
    let (mut learned, mut judged) = (Vec::new(), Vec::new());
    for (id, hits) in by_message {
        match messages.iter().find(|message| message.id == id) {
            Some(message) => {
                let arrived_at = message.delivered_at.or(message.sent_at);
                let (facts, done) = told(&hits, arrived_at, now);
                learned.extend(facts);
                judged.extend(done);
            }
            None => judged.extend(hits),
        }
    }
    let count = judged.len() as u64;
    if !learned.is_empty() {
        let weight = learned.len();
        let lost = || Err(Error::internal("what was opened and clicked was lost to a panic"));
        engine.applies.submit(Input::Learned(learned), weight).await.unwrap_or_else(lost)?;
    }
    if count > 0 {
        let write = engine
            .ports
            .db
            .write(Scope::System, move |tx| Box::pin(async move { tracking::remove_many(tx, &judged).await }));
        write.await?;
    }
    Ok(count)
}

/// What the requests about one message tell, and those that are done with. A later request in the same visit may still say more about a click, so that one waits with it.
fn told(hits: &[Hit], arrived_at: Option<Timestamp>, now: Timestamp) -> (Vec<Learned>, Vec<Hit>) {
    let requests: Vec<(Request, &Hit)> =
        hits.iter().filter_map(|hit| Some((serde_json::from_str(&hit.hit).ok()?, hit))).collect();
    let clicked: Vec<_> = requests.iter().filter(|(request, _)| request.asked != Asked::Pixel).collect();
    let timed: Vec<_> = clicked.iter().map(|(request, hit)| (request, hit.at)).collect();
    let mut learned = Vec::new();
    for ((request, hit), machine) in clicked.iter().zip(judge::clicks(&timed, arrived_at)) {
        if let Asked::Link { url, index, .. } = &request.asked
            && hit.settle_at <= now
        {
            learned.push(fact(hit, Fact::Clicked { url: Some(url.clone()) }, machine, &format!("{index}:")));
        }
    }
    for (request, hit) in requests.iter().filter(|(request, hit)| request.asked == Asked::Pixel && hit.settle_at <= now)
    {
        learned.push(fact(hit, Fact::Opened, judge::opening(request), ""));
    }
    // A trap stays a little longer than what it speaks against.
    let is_done =
        |hit: &&Hit| hit.settle_at.plus_millis(if hit.hit.contains("\"trap\"") { VISIT_MS } else { 0 }) <= now;
    (learned, hits.iter().filter(is_done).cloned().collect())
}

/// One observation. The same thing within a minute is told once: reloading a mail is no news.
fn fact(hit: &Hit, fact: Fact, machine: Option<&'static str>, what: &str) -> Learned {
    let minute = hit.at.as_micros() / 60_000_000;
    let who = if machine.is_some() { "machine" } else { "human" };
    Learned {
        tenant_id: hit.tenant_id,
        message_id: hit.message_id,
        dedupe: format!("tracking:{}:{what}{minute}:{who}", fact.as_str()),
        fact,
        at: hit.at,
        source: "tracking".to_owned(),
        provider_status: None,
        provider_message_id: None,
        segments: None,
        price: None,
        pricing: None,
        attempt: None,
        machine,
    }
}
