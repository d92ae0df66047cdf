-- Who may be written to, about what, and when.

-- A tenant's own rules, with the secret its links and hashes are keyed by. has_suppressions turns true with the first suppression and stays so: a tenant
-- without any costs no look-up. `erased` counts hashes in the list: without them no hash is looked for. `settings` is JSON.
CREATE TABLE consent_policies (
    tenant_id {ID} PRIMARY KEY, secret {BYTES}, data_key_id BIGINT NOT NULL, has_suppressions BOOLEAN NOT NULL, has_erased BOOLEAN NOT NULL, settings TEXT NOT NULL,
    updated_at {TIME} NOT NULL
) {CLUSTERED};

-- `address` is the address in the form it is compared in, or `hash:` and a keyed hash of it once its contact was erased.
CREATE TABLE suppressions (
    tenant_id {ID} NOT NULL, channel BIGINT NOT NULL, address TEXT NOT NULL, reason BIGINT NOT NULL, id {ID} NOT NULL, blocks BIGINT NOT NULL,
    source TEXT NOT NULL, detail TEXT, message_id {ID}, created_at {TIME} NOT NULL, PRIMARY KEY (tenant_id, channel, address, reason)
) {CLUSTERED};
CREATE UNIQUE INDEX suppressions_id ON suppressions (tenant_id, id);

-- Bounces that may pass, until there are enough of them or a message arrives.
CREATE TABLE soft_bounces (
    tenant_id {ID} NOT NULL, channel BIGINT NOT NULL, address TEXT NOT NULL, message_id {ID} NOT NULL, at {TIME} NOT NULL,
    PRIMARY KEY (tenant_id, channel, address, message_id)
) {CLUSTERED};

-- What contacts said, in the order they said it. Never changed. An empty topic is the whole channel.
CREATE TABLE consent_records (
    tenant_id {ID} NOT NULL, contact_id {ID} NOT NULL, id {ID} NOT NULL, channel BIGINT NOT NULL, topic TEXT NOT NULL, state BIGINT NOT NULL, method BIGINT NOT NULL,
    source TEXT NOT NULL, text_shown TEXT, ip TEXT, user_agent TEXT, evidence TEXT, at {TIME} NOT NULL, recorded_at {TIME} NOT NULL,
    PRIMARY KEY (tenant_id, contact_id, id)
) {CLUSTERED};

-- The last word of each, for sending.
CREATE TABLE consent_states (
    tenant_id {ID} NOT NULL, contact_id {ID} NOT NULL, channel BIGINT NOT NULL, topic TEXT NOT NULL, state BIGINT NOT NULL, changed_at {TIME} NOT NULL,
    PRIMARY KEY (tenant_id, contact_id, channel, topic)
) {CLUSTERED};

-- Quiet hours are minutes of the day. `channels` is JSON: topic to channel.
CREATE TABLE contact_preferences (
    tenant_id {ID} NOT NULL, contact_id {ID} NOT NULL, do_not_contact BOOLEAN NOT NULL, quiet_from BIGINT, quiet_until BIGINT, channels TEXT NOT NULL,
    reminders TEXT, reminder_days BIGINT, updated_at {TIME} NOT NULL, PRIMARY KEY (tenant_id, contact_id)
) {CLUSTERED};

-- Topics of the tenant's own, beside those everybody has.
CREATE TABLE topics (
    tenant_id {ID} NOT NULL, name TEXT NOT NULL, title TEXT NOT NULL, description TEXT NOT NULL, created_at {TIME} NOT NULL, PRIMARY KEY (tenant_id, name)
) {CLUSTERED};

-- Messages with another channel to fall back on. `rest` is JSON: the channels left. due_at is when a message that was sent and not delivered moves on.
CREATE TABLE fallbacks (
    tenant_id {ID} NOT NULL, message_id {ID} NOT NULL, rest TEXT NOT NULL, after_s BIGINT NOT NULL, due_at {TIME}, PRIMARY KEY (tenant_id, message_id)
) {CLUSTERED};
CREATE INDEX fallbacks_due ON fallbacks (due_at) WHERE due_at IS NOT NULL;

-- The ways a message went before it moved to another channel: reports about them still find it, and usage still counts what was sent.
CREATE TABLE former_routes (
    tenant_id {ID} NOT NULL, message_id {ID} NOT NULL, position BIGINT NOT NULL, channel BIGINT NOT NULL, address TEXT NOT NULL, account_id {ID} NOT NULL,
    connector TEXT NOT NULL, provider_message_id TEXT, sent_at {TIME}, segments BIGINT, failure TEXT, last_attempt BIGINT NOT NULL, left_at {TIME} NOT NULL,
    PRIMARY KEY (tenant_id, message_id, position)
) {CLUSTERED};
CREATE INDEX former_routes_provider ON former_routes (account_id, provider_message_id) WHERE provider_message_id IS NOT NULL;
