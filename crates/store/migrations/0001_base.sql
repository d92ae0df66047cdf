-- The schema's first version. {ID}, {TIME}, {JSON}, {BYTES}, {SERIAL} and {CLUSTERED} differ between the engines; see migrate.rs.
--
-- Shape: the row of a message is small and changes little; what it says lies apart in `contents`, shared by all messages of a batch that say the
-- same. Work is rows in two small hot tables: `deliveries` (due) and `inflight` (an attempt that left and was not answered yet). Both are deleted when done;
-- what happened is appended to `attempts` and `observations`.

-- Raised with every change of tenants, keys, accounts and endpoints, so that every node notices; tenants.config_version says whose changed.
CREATE TABLE config_version (id BIGINT PRIMARY KEY, version BIGINT NOT NULL);
INSERT INTO config_version (id, version) VALUES (1, 1);

-- Small facts about this installation, by name.
CREATE TABLE installation (name TEXT PRIMARY KEY, value TEXT NOT NULL);

CREATE TABLE tenants (
    id {ID} PRIMARY KEY, name TEXT NOT NULL, state TEXT NOT NULL, timezone TEXT NOT NULL, currency TEXT NOT NULL, default_country TEXT,
    per_second BIGINT, is_demo BOOLEAN NOT NULL, config_version BIGINT NOT NULL, created_at {TIME} NOT NULL, updated_at {TIME} NOT NULL, deleted_at {TIME}
);

-- One data key per tenant, sealed by the master key; older ones stay until nothing is sealed with them.
CREATE TABLE data_keys (
    tenant_id {ID} NOT NULL, id BIGINT NOT NULL, master_key_id TEXT NOT NULL, sealed {BYTES} NOT NULL, created_at {TIME} NOT NULL,
    PRIMARY KEY (tenant_id, id)
) {CLUSTERED};

-- tenant_id is NULL for the operator's keys.
CREATE TABLE api_keys (
    id {ID} PRIMARY KEY, tenant_id {ID}, name TEXT NOT NULL, hash {BYTES} NOT NULL UNIQUE, hint TEXT NOT NULL, scopes TEXT NOT NULL,
    ip_allow_list TEXT NOT NULL, expires_at {TIME}, created_at {TIME} NOT NULL, revoked_at {TIME}, last_used_at {TIME}
);
CREATE INDEX api_keys_tenant ON api_keys (tenant_id, id);

-- A tenant's settings for a connector. Webhook endpoints are accounts of the connector `webhook` under the same id.
CREATE TABLE accounts (
    id {ID} PRIMARY KEY, tenant_id {ID} NOT NULL, connector TEXT NOT NULL, name TEXT NOT NULL, channels TEXT NOT NULL, default_for TEXT NOT NULL,
    sender TEXT, settings {BYTES} NOT NULL, data_key_id BIGINT NOT NULL, is_enabled BOOLEAN NOT NULL, per_second BIGINT, concurrency BIGINT,
    created_at {TIME} NOT NULL, updated_at {TIME} NOT NULL, deleted_at {TIME}
);
CREATE INDEX accounts_tenant ON accounts (tenant_id, id);
CREATE INDEX accounts_deleted ON accounts (id) WHERE deleted_at IS NOT NULL AND connector <> 'webhook';

-- What running accounts need to share between nodes: pauses and the token bucket.
CREATE TABLE account_states (
    account_id {ID} PRIMARY KEY, tenant_id {ID} NOT NULL, paused_until {TIME}, paused_at {TIME}, pause TEXT, failures BIGINT NOT NULL,
    tokens_micros BIGINT NOT NULL, refilled_at {TIME} NOT NULL
) {CLUSTERED};

CREATE TABLE endpoints (
    id {ID} PRIMARY KEY, tenant_id {ID} NOT NULL, url TEXT NOT NULL, description TEXT NOT NULL, events TEXT NOT NULL, state TEXT NOT NULL,
    state_reason TEXT, previous_secret_until {TIME}, created_at {TIME} NOT NULL, updated_at {TIME} NOT NULL, deleted_at {TIME}
);
CREATE INDEX endpoints_tenant ON endpoints (tenant_id, id);

CREATE TABLE contents (tenant_id {ID} NOT NULL, id {ID} NOT NULL, body TEXT NOT NULL, PRIMARY KEY (tenant_id, id)) {CLUSTERED};

CREATE TABLE messages (
    tenant_id {ID} NOT NULL, id {ID} NOT NULL, channel BIGINT NOT NULL, purpose BIGINT NOT NULL, class BIGINT NOT NULL, guarantee BIGINT NOT NULL,
    status BIGINT NOT NULL, address TEXT NOT NULL, account_id {ID}, connector TEXT, content_id {ID} NOT NULL, variables TEXT, metadata TEXT,
    topic TEXT, route TEXT, provider_message_id TEXT, attempts BIGINT NOT NULL, failure TEXT, segments BIGINT, cost_micros BIGINT, cost_currency TEXT,
    contact_id {ID}, campaign_id {ID}, created_at {TIME} NOT NULL, send_at {TIME}, expires_at {TIME}, due_at {TIME}, poll_at {TIME}, polls BIGINT NOT NULL,
    sent_at {TIME}, delivered_at {TIME}, read_at {TIME}, ended_at {TIME}, dead_at {TIME},
    PRIMARY KEY (tenant_id, id)
) {CLUSTERED};
CREATE INDEX messages_provider ON messages (account_id, provider_message_id) WHERE provider_message_id IS NOT NULL;
CREATE INDEX messages_trouble ON messages (tenant_id, status, id) WHERE status IN (3, 4, 5, 6, 8, 10);
CREATE INDEX messages_dead ON messages (tenant_id, id) WHERE dead_at IS NOT NULL;
CREATE INDEX messages_poll ON messages (poll_at) WHERE poll_at IS NOT NULL;
CREATE INDEX messages_contact ON messages (tenant_id, contact_id, id) WHERE contact_id IS NOT NULL;
CREATE INDEX messages_campaign ON messages (tenant_id, campaign_id, id) WHERE campaign_id IS NOT NULL;
CREATE INDEX messages_address ON messages (tenant_id, address, id);

-- Due work: one row per message that still has to leave. A lane is (account_id, class); its rows lie in the order they leave.
CREATE TABLE deliveries (
    account_id {ID} NOT NULL, class BIGINT NOT NULL, due_at {TIME} NOT NULL, message_id {ID} NOT NULL, tenant_id {ID} NOT NULL,
    attempts BIGINT NOT NULL, tries BIGINT NOT NULL, expires_at {TIME}, PRIMARY KEY (account_id, class, due_at, message_id)
) {CLUSTERED};
CREATE INDEX deliveries_expiry ON deliveries (expires_at) WHERE expires_at IS NOT NULL;

-- Attempts that left, or are about to, and have no answer yet. Written before the request leaves: after a crash these rows say what is not known.
CREATE TABLE inflight (
    message_id {ID} PRIMARY KEY, tenant_id {ID} NOT NULL, account_id {ID} NOT NULL, class BIGINT NOT NULL, number BIGINT NOT NULL, tries BIGINT NOT NULL,
    worker {ID} NOT NULL, started_at {TIME} NOT NULL, expires_at {TIME}
) {CLUSTERED};

-- Processes that lease work. The leases of one that was not seen for a while are recovered.
CREATE TABLE workers (id {ID} PRIMARY KEY, started_at {TIME} NOT NULL, seen_at {TIME} NOT NULL);

-- outcome 0 is accepted, otherwise the kind of failure.
CREATE TABLE attempts (
    tenant_id {ID} NOT NULL, message_id {ID} NOT NULL, number BIGINT NOT NULL, account_id {ID} NOT NULL, started_at {TIME} NOT NULL,
    finished_at {TIME} NOT NULL, outcome BIGINT NOT NULL, failure TEXT, provider_message_id TEXT, exchange TEXT, note TEXT,
    PRIMARY KEY (tenant_id, message_id, number)
) {CLUSTERED};

-- What was learned about a message outside its attempts. `dedupe` makes a repeated report the same row.
CREATE TABLE observations (
    tenant_id {ID} NOT NULL, message_id {ID} NOT NULL, dedupe TEXT NOT NULL, source TEXT NOT NULL, kind TEXT NOT NULL, detail TEXT,
    at {TIME} NOT NULL, recorded_at {TIME} NOT NULL, PRIMARY KEY (tenant_id, message_id, dedupe)
) {CLUSTERED};

-- Facts that become known by themselves (sandbox).
CREATE TABLE later_facts (
    due_at {TIME} NOT NULL, message_id {ID} NOT NULL, position BIGINT NOT NULL, tenant_id {ID} NOT NULL, fact TEXT NOT NULL,
    PRIMARY KEY (due_at, message_id, position)
) {CLUSTERED};

-- Reports about an id we do not know yet: kept, and matched when the provider's answer is recorded.
CREATE TABLE early_reports (
    account_id {ID} NOT NULL, provider_message_id TEXT NOT NULL, dedupe TEXT NOT NULL, tenant_id {ID} NOT NULL, report TEXT NOT NULL,
    received_at {TIME} NOT NULL, PRIMARY KEY (account_id, provider_message_id, dedupe)
) {CLUSTERED};

-- What we tell tenants. txid orders events by commit on PostgreSQL; it is 0 on SQLite, where seq already does.
CREATE TABLE events (
    seq {SERIAL}, txid BIGINT NOT NULL {TXID}, tenant_id {ID} NOT NULL, id {ID} NOT NULL, type TEXT NOT NULL, at {TIME} NOT NULL, data TEXT NOT NULL
);
CREATE INDEX events_tenant ON events (tenant_id, txid, seq);

-- The operator's own are kept under the zero id. data_key_id says what sealed the body; NULL for a plain one.
CREATE TABLE idempotency_keys (
    tenant_id {ID} NOT NULL, key TEXT NOT NULL, fingerprint {BYTES} NOT NULL, status BIGINT NOT NULL, body {BYTES} NOT NULL, data_key_id BIGINT,
    created_at {TIME} NOT NULL, PRIMARY KEY (tenant_id, key)
) {CLUSTERED};

-- Sums over messages, written with them. shard spreads the rows of busy tenants over writers; readers add the shards up.
CREATE TABLE usage_counters (
    tenant_id {ID} NOT NULL, month TEXT NOT NULL, channel BIGINT NOT NULL, provider TEXT NOT NULL, purpose BIGINT NOT NULL, shard BIGINT NOT NULL,
    accepted BIGINT NOT NULL, sent BIGINT NOT NULL, delivered BIGINT NOT NULL, read BIGINT NOT NULL, failed BIGINT NOT NULL, bounced BIGINT NOT NULL,
    canceled BIGINT NOT NULL, expired BIGINT NOT NULL, suppressed BIGINT NOT NULL, unknown BIGINT NOT NULL, segments BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, month, channel, provider, purpose, shard)
) {CLUSTERED};

-- Every request a provider made to us, as it came. dedupe is set only once a request is verified, so that a forged one cannot shadow a real one.
CREATE TABLE callback_log (
    tenant_id {ID} NOT NULL, id {ID} NOT NULL, account_id {ID} NOT NULL, received_at {TIME} NOT NULL, method TEXT NOT NULL, path TEXT NOT NULL,
    query TEXT NOT NULL, headers TEXT NOT NULL, body {BYTES} NOT NULL, size BIGINT NOT NULL, dedupe {BYTES}, verdict TEXT NOT NULL, detail TEXT,
    observed BIGINT NOT NULL, unmatched BIGINT NOT NULL, repeats BIGINT NOT NULL, PRIMARY KEY (tenant_id, id)
) {CLUSTERED};
CREATE UNIQUE INDEX callback_log_dedupe ON callback_log (account_id, dedupe) WHERE dedupe IS NOT NULL;

CREATE TABLE inbound_messages (
    tenant_id {ID} NOT NULL, id {ID} NOT NULL, account_id {ID} NOT NULL, channel BIGINT NOT NULL, provider_message_id TEXT NOT NULL, address TEXT NOT NULL,
    body TEXT NOT NULL, received_at {TIME} NOT NULL, PRIMARY KEY (tenant_id, id)
) {CLUSTERED};
CREATE UNIQUE INDEX inbound_messages_provider ON inbound_messages (account_id, provider_message_id);

-- The bytes lie in the blob store under their hash. purge_at is NULL for an uploaded file that was not deleted; purging_at is set while the bytes are being removed.
CREATE TABLE attachments (
    tenant_id {ID} NOT NULL, id {ID} NOT NULL, filename TEXT NOT NULL, content_type TEXT NOT NULL, size BIGINT NOT NULL, sha256 TEXT NOT NULL,
    created_at {TIME} NOT NULL, held_until {TIME} NOT NULL, purge_at {TIME}, purging_at {TIME}, deleted_at {TIME}, PRIMARY KEY (tenant_id, id)
) {CLUSTERED};
CREATE INDEX attachments_bytes ON attachments (sha256);
CREATE INDEX attachments_purge ON attachments (purge_at) WHERE purge_at IS NOT NULL;

-- The operator's own log is kept under the zero id.
CREATE TABLE audit_log (
    tenant_id {ID} NOT NULL, id {ID} NOT NULL, at {TIME} NOT NULL, actor TEXT NOT NULL, action TEXT NOT NULL, subject TEXT NOT NULL, detail TEXT NOT NULL,
    ip TEXT, PRIMARY KEY (tenant_id, id)
) {CLUSTERED};
