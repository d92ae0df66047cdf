-- What was sent and what became of it, by half hour, and the chain of the audit log.

-- People complain and unsubscribe about a message; like openings, the first time counts.
ALTER TABLE messages ADD COLUMN complained_at {TIME};
ALTER TABLE messages ADD COLUMN unsubscribed_at {TIME};

-- Sums over messages by the half hour (UTC) they were accepted in: every zone in use but three small ones begins its hours there. Written with the messages as usage_counters are,
-- and read by the same key. What a message does not have is an empty text or the zero id. took_N counts deliveries by how long they took (see store::message_counters).
CREATE TABLE message_counters (
    tenant_id {ID} NOT NULL, at {TIME} NOT NULL, channel BIGINT NOT NULL, provider TEXT NOT NULL, account_id {ID} NOT NULL, purpose BIGINT NOT NULL,
    country TEXT NOT NULL, campaign_id {ID} NOT NULL, template_id {ID} NOT NULL, template_version BIGINT NOT NULL, topic TEXT NOT NULL, shard BIGINT NOT NULL,
    accepted BIGINT NOT NULL, sent BIGINT NOT NULL, delivered BIGINT NOT NULL, read BIGINT NOT NULL, failed BIGINT NOT NULL, bounced BIGINT NOT NULL,
    canceled BIGINT NOT NULL, expired BIGINT NOT NULL, suppressed BIGINT NOT NULL, unknown BIGINT NOT NULL, segments BIGINT NOT NULL,
    opened BIGINT NOT NULL, clicked BIGINT NOT NULL, machine_opened BIGINT NOT NULL, machine_clicked BIGINT NOT NULL, complained BIGINT NOT NULL,
    unsubscribed BIGINT NOT NULL, failed_recipient BIGINT NOT NULL, failed_opted_out BIGINT NOT NULL, failed_content BIGINT NOT NULL,
    failed_throttled BIGINT NOT NULL, failed_unavailable BIGINT NOT NULL, failed_account BIGINT NOT NULL, failed_unknown BIGINT NOT NULL,
    took_0 BIGINT NOT NULL, took_1 BIGINT NOT NULL, took_2 BIGINT NOT NULL, took_3 BIGINT NOT NULL, took_4 BIGINT NOT NULL, took_5 BIGINT NOT NULL,
    took_6 BIGINT NOT NULL, took_7 BIGINT NOT NULL, took_8 BIGINT NOT NULL, took_9 BIGINT NOT NULL, took_10 BIGINT NOT NULL, took_11 BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, at, channel, provider, account_id, purpose, country, campaign_id, template_id, template_version, topic, shard)
) {CLUSTERED};

-- An entry's hash covers the entry and the hash before it; number counts them. Entries from before there was a chain have neither. Of its detail the hash covers detail_hash only,
-- which is made with detail_salt: when a person is erased, detail and salt go and the chain stays whole. The head is locked by whoever appends, and shows when the end of
-- the log was cut off.
ALTER TABLE audit_log ADD COLUMN number BIGINT;
ALTER TABLE audit_log ADD COLUMN hash {BYTES};
ALTER TABLE audit_log ADD COLUMN detail_hash {BYTES};
ALTER TABLE audit_log ADD COLUMN detail_salt TEXT;
CREATE UNIQUE INDEX audit_log_number ON audit_log (tenant_id, number) WHERE number IS NOT NULL;
CREATE TABLE audit_heads (tenant_id {ID} PRIMARY KEY, number BIGINT NOT NULL, hash {BYTES} NOT NULL) {CLUSTERED};
