-- Templates, how they look, and what is learned about mails that were opened and clicked.
--
-- Shape: what a published version says lies in `contents`, one row per language, written when it is published; messages point there, so a million of them store no body.

CREATE TABLE templates (
    tenant_id {ID} NOT NULL, id {ID} NOT NULL, name TEXT NOT NULL, channel BIGINT NOT NULL, description TEXT NOT NULL, is_default BOOLEAN NOT NULL, tracking TEXT,
    published BIGINT, newest BIGINT NOT NULL, created_at {TIME} NOT NULL, updated_at {TIME} NOT NULL, deleted_at {TIME}, PRIMARY KEY (tenant_id, id)
) {CLUSTERED};
CREATE UNIQUE INDEX templates_name ON templates (tenant_id, name) WHERE deleted_at IS NULL;

-- `source` is what was written, `compiled` what publishing made of it: both JSON. A version does not change once it is there; only its state does.
CREATE TABLE template_versions (
    tenant_id {ID} NOT NULL, template_id {ID} NOT NULL, number BIGINT NOT NULL, state TEXT NOT NULL, source TEXT NOT NULL, compiled TEXT,
    created_at {TIME} NOT NULL, published_at {TIME}, ended_at {TIME}, PRIMARY KEY (tenant_id, template_id, number)
) {CLUSTERED};

-- For contents of templates: which variables they need, and values for those a message leaves out. JSON.
ALTER TABLE contents ADD COLUMN template TEXT;

-- tracking is a set of bits: 1 opens, 2 clicks, 4 a test of a template. The first human and the first mechanical opening and click of a message.
ALTER TABLE messages ADD COLUMN template_id {ID};
ALTER TABLE messages ADD COLUMN template_version BIGINT;
ALTER TABLE messages ADD COLUMN tracking BIGINT NOT NULL DEFAULT 0;
ALTER TABLE messages ADD COLUMN opened_at {TIME};
ALTER TABLE messages ADD COLUMN clicked_at {TIME};
ALTER TABLE messages ADD COLUMN machine_opened_at {TIME};
ALTER TABLE messages ADD COLUMN machine_clicked_at {TIME};

-- Sums over the messages of a version, written with them as usage_counters are.
CREATE TABLE template_counters (
    tenant_id {ID} NOT NULL, template_id {ID} NOT NULL, version BIGINT NOT NULL, is_test BOOLEAN NOT NULL, shard BIGINT NOT NULL,
    accepted BIGINT NOT NULL, sent BIGINT NOT NULL, delivered BIGINT NOT NULL, read BIGINT NOT NULL, failed BIGINT NOT NULL, bounced BIGINT NOT NULL,
    canceled BIGINT NOT NULL, expired BIGINT NOT NULL, suppressed BIGINT NOT NULL, unknown BIGINT NOT NULL, segments BIGINT NOT NULL,
    opened BIGINT NOT NULL, clicked BIGINT NOT NULL, machine_opened BIGINT NOT NULL, machine_clicked BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, template_id, version, is_test, shard)
) {CLUSTERED};

-- How a tenant's messages and pages look, and whether they are tracked. JSON.
CREATE TABLE branding (tenant_id {ID} PRIMARY KEY, body TEXT NOT NULL, updated_at {TIME} NOT NULL) {CLUSTERED};

-- Requests for pixels and tracked links, until enough is known to tell people from machines.
CREATE TABLE tracking_hits (
    settle_at {TIME} NOT NULL, message_id {ID} NOT NULL, id {ID} NOT NULL, tenant_id {ID} NOT NULL, hit TEXT NOT NULL, at {TIME} NOT NULL,
    PRIMARY KEY (settle_at, message_id, id)
) {CLUSTERED};
CREATE INDEX tracking_hits_message ON tracking_hits (tenant_id, message_id);
