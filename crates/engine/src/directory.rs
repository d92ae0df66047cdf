//! What every request needs to know about its tenant, kept in memory: the tenant, its accounts with opened settings, its endpoints, and API keys.
//!
//! Tenants are read when they are first needed and the least used ones are dropped, so ten thousand idle tenants cost nothing. Every change of configuration raises
//! one number in the database (`config_version`) in its own transaction. A node compares that number with the one it knows: every second
//! ([`Directory::refresh`]), within the transaction that accepts messages ([`Directory::refresh_to`]), and after its own changes. What changed is
//! dropped and read again on next use.

mod secrets;

pub(crate) use self::secrets::Secrets;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

use connectors::{Connector, Cx, registry};
use model::{AccountId, Channel, EndpointId, Failure, FailureKind, SenderId, TenantId, Timestamp, Values};
use store::{Scope, Tx, accounts, api_keys, contacts, credits, prices, tenants, whatsapp_templates};

use crate::{
    Error, Ports,
    bounded::Bounded,
    branding::{self, Branding},
    consent::policy::{self, Policy},
    content_rules::{self, Rules},
    keys::{ApiKey, LastUsed},
    money::{self, Billing, BillingMode, book::Book},
    plans::Subscribed,
    registrations::{self, gate::Registered},
    render::Provided,
    routing::{self, figures::Routes},
    senders::{self, SenderState},
    templates::{self, Templates},
    vault::{Place, Vault},
};

/// Tenants in memory at most. One with two accounts takes about 2 KiB, so this is some 8 MiB.
const TENANTS_MAX: usize = 4_096;
/// API keys in memory at most, about 300 bytes each.
const KEYS_MAX: usize = 16_384;
/// Owners of accounts in memory at most, for callbacks; about 60 bytes each.
const OWNERS_MAX: usize = 32_768;

/// Whether a tenant may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TenantState {
    /// It may.
    Active,
    /// The operator stopped it: it can look, but nothing is accepted and nothing leaves.
    Suspended,
}

impl TenantState {
    /// The word in JSON and SQL.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Suspended => "suspended",
        }
    }

    /// Reads the database's word; anything but `active` stops.
    pub fn from_stored(word: &str) -> Self {
        if word == "active" { Self::Active } else { Self::Suspended }
    }
}

/// A tenant with everything needed to send for it.
pub struct Tenant {
    /// Which one.
    pub id: TenantId,
    /// Name for people.
    pub name: String,
    /// Whether it may send.
    pub state: TenantState,
    /// IANA name.
    pub timezone: String,
    /// ISO 4217 code.
    pub currency: String,
    /// ISO 3166-1 alpha-2 code.
    pub default_country: Option<String>,
    /// API requests a second, when other than the installation's default.
    pub per_second: Option<u32>,
    /// True for a demo tenant, which can never really send.
    pub is_demo: bool,
    /// True once it has had a contact: only then its messages are linked to contacts.
    pub has_contacts: bool,
    /// Accounts that were not deleted, oldest first; also those of endpoints (connector `webhook`).
    pub accounts: Vec<Arc<Account>>,
    /// Endpoints that were not deleted, oldest first.
    pub endpoints: Vec<Arc<Endpoint>>,
    /// How its messages look.
    pub branding: Branding,
    /// What its templates can speak of besides their variables.
    pub provided: Provided,
    /// Templates that can be sent.
    pub(crate) templates: Templates,
    /// Its rules of consent.
    pub consent: Policy,
    /// What its messages may say; `None` without rules.
    pub rules: Option<Arc<Rules>>,
    /// Its rules about which account a message leaves through.
    pub routes: Routes,
    /// What was decided about its registrations with carriers.
    pub(crate) registered: Registered,
    /// How it is billed, if it is.
    pub billing: Option<Billing>,
    /// Its plan, if it has one.
    pub subscription: Option<Subscribed>,
    /// Every price list of the installation, shared by all tenants.
    pub prices: Arc<Book>,
    /// What kind its WhatsApp templates are in the provider's words, by account, name and language.
    pub whatsapp_categories: HashMap<(AccountId, String, String), String>,
    /// Where the world reaches this installation: the base of its links.
    pub public_url: Arc<str>,
}

impl Tenant {
    /// One of its accounts.
    pub fn account(&self, account: AccountId) -> Option<&Arc<Account>> {
        self.accounts.iter().find(|found| found.id == account)
    }

    /// The currency its prices are looked up in: its ledger's, or its own while it is not billed.
    pub fn price_currency(&self) -> &str {
        self.billing.as_ref().map_or(&self.currency, |billing| &billing.currency)
    }
}

/// An account with its settings opened.
pub struct Account {
    /// Which one.
    pub id: AccountId,
    /// Whose.
    pub tenant_id: TenantId,
    /// Its connector.
    pub connector: &'static dyn Connector,
    /// Name for people.
    pub name: String,
    /// Channels it carries.
    pub channels: Vec<Channel>,
    /// Channels whose default it is.
    pub default_for: Vec<Channel>,
    /// Its default sender as the tenant wrote it.
    pub from: Option<String>,
    /// Its settings, opened.
    pub values: Values,
    /// False when nothing may leave through it: disabled, or in [`Account::trouble`].
    pub is_enabled: bool,
    /// Messages a second, when less than the connector's own limit.
    pub per_second: Option<u32>,
    /// Requests at once, when less than the connector's own limit.
    pub concurrency: Option<u32>,
    /// Where the provider calls us about it.
    pub callback_url: String,
    /// Why its settings cannot be used, for people: they were altered in the database. Such an account is not enabled.
    pub trouble: Option<String>,
    /// Its senders besides `from`, oldest first.
    pub senders: Vec<Arc<Sender>>,
    /// See [`Account::secrets`].
    pub(crate) hidden: OnceLock<Secrets>,
}

/// Shortest secret part of an address, in characters: 128 bits in hexadecimal have 32.
const ADDRESS_SECRET_MIN: usize = 32;
/// What stands for a secret that is not shown.
pub(crate) const DOTS: &str = "••••";

impl Account {
    /// What a connector may know of the account, to ask it about it. Whoever makes a request adds where it goes and fresh random bits.
    pub fn cx(&self, now: Timestamp) -> Cx<'_> {
        Cx {
            settings: &self.values,
            from: self.from.as_deref(),
            base_url: None,
            callback_url: &self.callback_url,
            now,
            nonce: 0,
        }
    }

    /// What makes the addresses its provider reports to unguessable, where that signs nothing: whoever knows it can report in the provider's name. Empty where requests are signed.
    pub fn address_secrets(&self) -> Vec<String> {
        let Some(inbound) = self.connector.inbound() else { return Vec::new() };
        let cx = self.cx(Timestamp::from_seconds(0));
        let paths = [Some(inbound.path(&cx)), inbound.mail_path(&cx)];
        let parts = paths.iter().flatten().flat_map(|path| path.split('/'));
        parts.filter(|part| part.len() >= ADDRESS_SECRET_MIN).map(str::to_owned).collect()
    }

    /// What of it is shown to nobody who may not change it.
    pub(crate) fn secrets(&self) -> &Secrets {
        self.hidden.get_or_init(|| Secrets::of(self))
    }

    /// As whom a message leaves: as the sender it names, or as the account's own.
    pub fn from_of(&self, sender: Option<SenderId>) -> Result<Option<&str>, Failure> {
        let Some(id) = sender else { return Ok(self.from.as_deref()) };
        let found = self.senders.iter().find(|sender| sender.id == id);
        found.map(|sender| Some(sender.from.as_str())).ok_or_else(|| {
            let detail =
                format!("The sender {id} is no longer one of the account {}. Send again as another.", self.name);
            Failure::new(FailureKind::Content, "sender_gone", detail)
        })
    }
}

/// One of an account's senders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sender {
    /// Which one.
    pub id: SenderId,
    /// As whom.
    pub from: String,
    /// Name for people.
    pub name: String,
    /// Channels it can be used for.
    pub channels: Vec<Channel>,
    /// Whether the provider lets it send.
    pub state: SenderState,
    /// In words.
    pub detail: Option<String>,
}

/// A tenant's webhook endpoint, as far as choosing receivers of an event goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Which one.
    pub id: EndpointId,
    /// Filters such as `message.*` or `*`.
    pub events: Vec<String>,
    /// False when it is disabled.
    pub is_active: bool,
}

/// The cache.
pub struct Directory {
    ports: Ports,
    vault: Arc<Vault>,
    public_url: Arc<str>,
    /// Uses of API keys that are not written down yet.
    pub(crate) last_used: LastUsed,
    state: Mutex<State>,
    /// The price lists up to a version, shared by all tenants.
    book: Arc<Mutex<(i64, Arc<Book>)>>,
}

struct State {
    version: i64,
    tenants: Bounded<TenantId, Arc<Tenant>>,
    keys: Bounded<[u8; 32], Arc<ApiKey>>,
    owners: Bounded<AccountId, TenantId>,
}

impl Directory {
    /// An empty directory; callback URLs begin with `public_url`.
    pub fn new(ports: Ports, public_url: impl Into<String>, vault: Arc<Vault>) -> Self {
        let state = State {
            version: 0,
            tenants: Bounded::new(TENANTS_MAX),
            keys: Bounded::new(KEYS_MAX),
            owners: Bounded::new(OWNERS_MAX),
        };
        let public_url = public_url.into().into();
        Self {
            ports,
            vault,
            public_url,
            last_used: LastUsed::default(),
            state: Mutex::new(state),
            book: Arc::default(),
        }
    }

    /// The tenant, unless it is unknown or deleted.
    #[crate::boxed]
    pub async fn tenant(&self, id: TenantId) -> Result<Option<Arc<Tenant>>, Error> {
        let cached = self.state().tenants.get(&id).map(|tenant| Arc::clone(tenant));
        if cached.is_some() {
            return Ok(cached);
        }
        let (vault, public_url, book) = (Arc::clone(&self.vault), Arc::clone(&self.public_url), Arc::clone(&self.book));
        let (version, found) = self
            .ports
            .db
            .read(Scope::Tenant(id), move |tx| {
                Box::pin(async move {
                    let version = tenants::version(tx).await?;
                    Ok::<_, Error>((version, read_tenant(tx, &vault, &public_url, &book, id).await?.map(Arc::new)))
                })
            })
            .await?;
        let mut state = self.state();
        if let Some(tenant) = found.as_ref().filter(|_| version >= state.version) {
            state.tenants.insert(id, Arc::clone(tenant));
        }
        Ok(found)
    }

    /// One of a tenant's accounts, unless it is unknown, deleted or another tenant's.
    #[crate::boxed]
    pub async fn account(&self, tenant: TenantId, account: AccountId) -> Result<Option<Arc<Account>>, Error> {
        Ok(self.tenant(tenant).await?.and_then(|tenant| tenant.account(account).map(Arc::clone)))
    }

    /// The account a provider's callback names, with its tenant.
    #[crate::boxed]
    pub async fn account_by_id(&self, account: AccountId) -> Result<Option<(Arc<Tenant>, Arc<Account>)>, Error> {
        let cached = self.state().owners.get(&account).map(|owner| *owner);
        let owner = match cached {
            Some(owner) => Some(owner),
            None => {
                let find = self.ports.db.read(Scope::System, move |tx| Box::pin(accounts::owner(tx, account)));
                let owner = find.await.map_err(Error::from)?;
                if let Some(owner) = owner {
                    self.state().owners.insert(account, owner);
                }
                owner
            }
        };
        let Some(owner) = owner else { return Ok(None) };
        let Some(tenant) = self.tenant(owner).await? else { return Ok(None) };
        Ok(tenant.account(account).map(Arc::clone).map(|account| (tenant, account)))
    }

    /// The API key with this SHA-256, unless it is unknown or revoked. It may have expired.
    #[crate::boxed]
    pub async fn api_key(&self, hash: &[u8; 32]) -> Result<Option<Arc<ApiKey>>, Error> {
        let cached = self.state().keys.get(hash).map(|key| Arc::clone(key));
        if cached.is_some() {
            return Ok(cached);
        }
        let hash = *hash;
        let (version, found) = self
            .ports
            .db
            .read(Scope::System, move |tx| {
                Box::pin(async move {
                    let version = tenants::version(tx).await?;
                    Ok::<_, Error>((version, api_keys::find_by_hash(tx, &hash).await?))
                })
            })
            .await?;
        let found = found.filter(|row| row.revoked_at.is_none()).map(|row| Arc::new(ApiKey::from_row(&row)));
        let mut state = self.state();
        if let Some(key) = found.as_ref().filter(|_| version >= state.version) {
            state.keys.insert(hash, Arc::clone(key));
        }
        Ok(found)
    }

    /// The configuration version everything cached is at least as new as.
    pub fn version(&self) -> i64 {
        self.state().version
    }

    /// Looks for changes of configuration, also by other nodes, and drops what changed. `true` when something did. Run every second.
    #[crate::boxed]
    pub async fn refresh(&self) -> Result<bool, Error> {
        let known = self.version();
        let (version, changed) = self
            .ports
            .db
            .read(Scope::System, move |tx| {
                Box::pin(async move {
                    let version = tenants::version(tx).await?;
                    let changed = if version > known { tenants::changed_since(tx, known).await? } else { Vec::new() };
                    Ok::<_, Error>((version, changed))
                })
            })
            .await?;
        let mut state = self.state();
        if version < known && state.version == known {
            // Another database than the one we read from, such as a restored one: nothing we know counts.
            state.forget_all(version);
            return Ok(true);
        }
        if version <= state.version {
            return Ok(false);
        }
        state.version = version;
        state.tenants.retain(|id, _| changed.binary_search(id).is_err());
        state.keys.retain(|_, key| key.tenant.is_some_and(|tenant| changed.binary_search(&tenant).is_err()));
        Ok(true)
    }

    /// Makes sure that nothing cached is older than `version`. When the database does not answer, everything is dropped instead.
    #[crate::boxed]
    pub async fn refresh_to(&self, version: i64) {
        if self.version() < version {
            self.catch_up().await;
        }
    }

    /// Notices a change this node has just committed. Cannot fail: when the database does not answer, everything is dropped instead.
    #[crate::boxed]
    pub async fn catch_up(&self) {
        if let Err(error) = self.refresh().await {
            tracing::warn!(%error, "Cannot read what changed; the directory begins anew");
            let mut state = self.state();
            let version = state.version;
            state.forget_all(version);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn forget_all(&mut self, version: i64) {
        self.version = version;
        self.tenants.clear();
        self.keys.clear();
    }
}

/// How a tenant is billed.
async fn read_billing(tx: &mut Tx, id: TenantId) -> Result<Option<Billing>, Error> {
    let Some(ledger) = credits::find(tx, id).await? else { return Ok(None) };
    let mode = BillingMode::from_stored(&ledger.mode);
    if mode == BillingMode::None {
        return Ok(None);
    }
    let charges_stay_from = money::charges_stay_from(tx).await?;
    Ok(Some(Billing { mode, currency: ledger.currency, charges_stay_from }))
}

/// The price lists, which are read again only when there is a newer one.
async fn read_book(tx: &mut Tx, book: &Mutex<(i64, Arc<Book>)>) -> Result<Arc<Book>, Error> {
    let newest = prices::newest(tx).await?;
    let (known, kept) = book.lock().unwrap_or_else(PoisonError::into_inner).clone();
    if known == newest {
        return Ok(kept);
    }
    let read = Arc::new(Book::read(tx).await?);
    *book.lock().unwrap_or_else(PoisonError::into_inner) = (newest, Arc::clone(&read));
    Ok(read)
}

async fn read_tenant(
    tx: &mut Tx,
    vault: &Vault,
    public_url: &str,
    book: &Mutex<(i64, Arc<Book>)>,
    id: TenantId,
) -> Result<Option<Tenant>, Error> {
    let Some(row) = tenants::find(tx, id).await? else { return Ok(None) };
    let mut opened = Vec::new();
    let known = senders::Known::read(tx, id).await?;
    for account in accounts::all(tx, id).await? {
        let read = read_account(tx, vault, public_url, &account, row.is_demo).await?;
        opened.extend(read.map(|read| Arc::new(Account { senders: known.of(&read), ..read })));
    }
    let endpoints = tenants::endpoints(tx, id).await?.into_iter().map(|endpoint| {
        Arc::new(Endpoint {
            id: endpoint.id,
            events: endpoint.events.split_whitespace().map(str::to_owned).collect(),
            is_active: endpoint.state == "active",
        })
    });
    let branding = branding::load(tx, id).await?;
    let consent = policy::load(tx, vault, id, &row.timezone).await?;
    let own: Vec<&str> = std::iter::once(public_url).chain(branding.tracking_domain.as_deref()).collect();
    let rules = content_rules::load(tx, id, &own).await?;
    Ok(Some(Tenant {
        id,
        rules,
        provided: branding.provided(&row.name, public_url),
        branding,
        templates: templates::load(tx, id).await?,
        consent,
        routes: routing::load(tx, id).await?,
        registered: registrations::load(tx, id).await?,
        subscription: Subscribed::read(tx, id, &row.timezone).await?,
        billing: read_billing(tx, id).await?,
        prices: read_book(tx, book).await?,
        whatsapp_categories: match opened.iter().any(|account| account.channels.contains(&Channel::Whatsapp)) {
            true => whatsapp_templates::categories(tx, id).await?.into_iter().collect(),
            false => HashMap::new(),
        },
        public_url: public_url.into(),
        endpoints: endpoints.collect(),
        accounts: opened,
        name: row.name,
        state: TenantState::from_stored(&row.state),
        timezone: row.timezone,
        currency: row.currency,
        default_country: row.default_country,
        per_second: row.per_second,
        is_demo: row.is_demo,
        has_contacts: contacts::any(tx, id).await?,
    }))
}

/// `None` for an account whose connector this binary does not know: nothing can be done with it.
async fn read_account(
    tx: &mut Tx,
    vault: &Vault,
    public_url: &str,
    row: &accounts::Account,
    is_demo: bool,
) -> Result<Option<Account>, Error> {
    let Some(connector) = registry::find_for(is_demo, &row.connector) else {
        tracing::error!(account.id = %row.id, connector = row.connector, "An account uses a connector this version does not have");
        return Ok(None);
    };
    let (values, trouble) = match open_settings(tx, vault, row).await {
        Ok(values) => (values, None),
        Err(error) if error.code == "secret_unreadable" => (Values::default(), Some(error.detail)),
        Err(error) => return Err(error),
    };
    Ok(Some(Account {
        id: row.id,
        tenant_id: row.tenant,
        connector,
        name: row.name.clone(),
        channels: channels(&row.channels),
        default_for: channels(&row.default_for),
        from: row.sender.clone(),
        values,
        is_enabled: row.is_enabled && trouble.is_none(),
        per_second: row.per_second,
        concurrency: row.concurrency,
        callback_url: callback_url(public_url, row.id),
        trouble,
        hidden: OnceLock::new(),
        senders: Vec::new(),
    }))
}

/// Where the provider of an account calls us.
pub fn callback_url(public_url: &str, account: AccountId) -> String {
    format!("{public_url}/hooks/{account}")
}

/// Reads the words of channels the database keeps.
pub fn channels(words: &str) -> Vec<Channel> {
    words.split_whitespace().filter_map(|word| word.parse().ok()).collect()
}

/// The words of channels as the database keeps them.
pub fn channel_words(channels: &[Channel]) -> String {
    channels.iter().map(|channel| channel.as_str()).collect::<Vec<_>>().join(" ")
}

/// Where an account's settings belong, for the vault.
pub fn settings_place(tenant: TenantId, row: &str) -> Place<'_> {
    Place { tenant, table: "accounts", row, field: "settings" }
}

/// Opens an account's settings.
#[crate::boxed]
pub async fn open_settings(tx: &mut Tx, vault: &Vault, row: &accounts::Account) -> Result<Values, Error> {
    let id = row.id.to_string();
    let plain = vault.open(tx, &settings_place(row.tenant, &id), &row.settings).await?;
    let text =
        std::str::from_utf8(&plain).map_err(|_| Error::internal(format!("the settings of {id} are not UTF-8")))?;
    Values::from_plain_json(text).map_err(|_| Error::internal(format!("the settings of {id} are not JSON")))
}
