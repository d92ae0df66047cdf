-- What the sums did not tell yet: replies, variants of campaigns, cost, and what still waits. And the audit log by who and what.

-- variant is the place of a campaign's variant, from 0; only campaigns with several have any. clock is how far the tenant's clock was ahead of UTC when the message was accepted, in
-- quarters of an hour.
ALTER TABLE messages ADD COLUMN replied_at {TIME};
ALTER TABLE messages ADD COLUMN variant BIGINT;
ALTER TABLE messages ADD COLUMN clock BIGINT;
UPDATE messages SET variant = (SELECT r.variant FROM campaign_recipients AS r
        WHERE r.tenant_id = messages.tenant_id AND r.campaign_id = messages.campaign_id AND r.contact_id = messages.contact_id)
    WHERE campaign_id IS NOT NULL AND contact_id IS NOT NULL;
UPDATE messages SET replied_at = (SELECT MIN(i.received_at) FROM inbound_messages AS i
        WHERE i.tenant_id = messages.tenant_id AND i.contact_id = messages.contact_id AND i.id > messages.id AND i.channel = messages.channel)
    WHERE campaign_id IS NOT NULL AND contact_id IS NOT NULL AND sent_at IS NOT NULL;

-- The sums with a longer key, so they move to a new table. variant is counted from 1, and 0 is none; currency is that of the cost, where it is known. answer_N counts replies by how
-- long they took. at is the half hour, and where the clock is off by a quarter of an hour the quarter. What was summed before has no variant and no cost until it is counted again, which a
-- job does that looks for the fact sums_to_recount (engine::analytics).
CREATE TABLE message_sums (
    tenant_id {ID} NOT NULL, at {TIME} NOT NULL, channel BIGINT NOT NULL, provider TEXT NOT NULL, account_id {ID} NOT NULL, purpose BIGINT NOT NULL,
    country TEXT NOT NULL, campaign_id {ID} NOT NULL, template_id {ID} NOT NULL, template_version BIGINT NOT NULL, topic TEXT NOT NULL,
    variant BIGINT NOT NULL, currency TEXT NOT NULL, clock BIGINT NOT NULL, shard BIGINT NOT NULL,
    accepted BIGINT NOT NULL, sent BIGINT NOT NULL, delivered BIGINT NOT NULL, read BIGINT NOT NULL, failed BIGINT NOT NULL, bounced BIGINT NOT NULL,
    canceled BIGINT NOT NULL, expired BIGINT NOT NULL, suppressed BIGINT NOT NULL, unknown BIGINT NOT NULL, segments BIGINT NOT NULL, waiting BIGINT NOT NULL,
    opened BIGINT NOT NULL, clicked BIGINT NOT NULL, machine_opened BIGINT NOT NULL, machine_clicked BIGINT NOT NULL, complained BIGINT NOT NULL,
    unsubscribed BIGINT NOT NULL, replied BIGINT NOT NULL, cost_micros BIGINT NOT NULL, failed_recipient BIGINT NOT NULL, failed_opted_out BIGINT NOT NULL,
    failed_content BIGINT NOT NULL, failed_throttled BIGINT NOT NULL, failed_unavailable BIGINT NOT NULL, failed_account BIGINT NOT NULL, failed_unknown BIGINT NOT NULL,
    took_0 BIGINT NOT NULL, took_1 BIGINT NOT NULL, took_2 BIGINT NOT NULL, took_3 BIGINT NOT NULL, took_4 BIGINT NOT NULL, took_5 BIGINT NOT NULL,
    took_6 BIGINT NOT NULL, took_7 BIGINT NOT NULL, took_8 BIGINT NOT NULL, took_9 BIGINT NOT NULL, took_10 BIGINT NOT NULL, took_11 BIGINT NOT NULL,
    answer_0 BIGINT NOT NULL, answer_1 BIGINT NOT NULL, answer_2 BIGINT NOT NULL, answer_3 BIGINT NOT NULL, answer_4 BIGINT NOT NULL,
    answer_5 BIGINT NOT NULL, answer_6 BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, at, channel, provider, account_id, purpose, country, campaign_id, template_id, template_version, topic, variant, currency, clock, shard)
) {CLUSTERED};
INSERT INTO message_sums SELECT tenant_id, at, channel, provider, account_id, purpose, country, campaign_id, template_id, template_version, topic, 0, '', 0, shard,
    accepted, sent, delivered, read, failed, bounced, canceled, expired, suppressed, unknown, segments, 0, opened, clicked, machine_opened, machine_clicked, complained,
    unsubscribed, 0, 0, failed_recipient, failed_opted_out, failed_content, failed_throttled, failed_unavailable, failed_account, failed_unknown,
    took_0, took_1, took_2, took_3, took_4, took_5, took_6, took_7, took_8, took_9, took_10, took_11, 0, 0, 0, 0, 0, 0, 0 FROM message_counters;
DROP TABLE message_counters;
ALTER TABLE message_sums RENAME TO message_counters;
-- What the operator looks at across tenants begins with an instant.
CREATE INDEX message_counters_at ON message_counters (at);

-- The same by day on the tenant's clock; at is the day's midnight as if the clock showed UTC, and clock is 0. What is asked for by days is read from far fewer rows.
CREATE TABLE message_days (
    tenant_id {ID} NOT NULL, at {TIME} NOT NULL, channel BIGINT NOT NULL, provider TEXT NOT NULL, account_id {ID} NOT NULL, purpose BIGINT NOT NULL,
    country TEXT NOT NULL, campaign_id {ID} NOT NULL, template_id {ID} NOT NULL, template_version BIGINT NOT NULL, topic TEXT NOT NULL,
    variant BIGINT NOT NULL, currency TEXT NOT NULL, clock BIGINT NOT NULL, shard BIGINT NOT NULL,
    accepted BIGINT NOT NULL, sent BIGINT NOT NULL, delivered BIGINT NOT NULL, read BIGINT NOT NULL, failed BIGINT NOT NULL, bounced BIGINT NOT NULL,
    canceled BIGINT NOT NULL, expired BIGINT NOT NULL, suppressed BIGINT NOT NULL, unknown BIGINT NOT NULL, segments BIGINT NOT NULL, waiting BIGINT NOT NULL,
    opened BIGINT NOT NULL, clicked BIGINT NOT NULL, machine_opened BIGINT NOT NULL, machine_clicked BIGINT NOT NULL, complained BIGINT NOT NULL,
    unsubscribed BIGINT NOT NULL, replied BIGINT NOT NULL, cost_micros BIGINT NOT NULL, failed_recipient BIGINT NOT NULL, failed_opted_out BIGINT NOT NULL,
    failed_content BIGINT NOT NULL, failed_throttled BIGINT NOT NULL, failed_unavailable BIGINT NOT NULL, failed_account BIGINT NOT NULL, failed_unknown BIGINT NOT NULL,
    took_0 BIGINT NOT NULL, took_1 BIGINT NOT NULL, took_2 BIGINT NOT NULL, took_3 BIGINT NOT NULL, took_4 BIGINT NOT NULL, took_5 BIGINT NOT NULL,
    took_6 BIGINT NOT NULL, took_7 BIGINT NOT NULL, took_8 BIGINT NOT NULL, took_9 BIGINT NOT NULL, took_10 BIGINT NOT NULL, took_11 BIGINT NOT NULL,
    answer_0 BIGINT NOT NULL, answer_1 BIGINT NOT NULL, answer_2 BIGINT NOT NULL, answer_3 BIGINT NOT NULL, answer_4 BIGINT NOT NULL,
    answer_5 BIGINT NOT NULL, answer_6 BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, at, channel, provider, account_id, purpose, country, campaign_id, template_id, template_version, topic, variant, currency, clock, shard)
) {CLUSTERED};
INSERT INTO installation (name, value) SELECT 'sums_to_recount', 'all' WHERE EXISTS (SELECT 1 FROM message_counters);

-- The audit log by what was changed and by who changed it.
CREATE INDEX audit_log_subject ON audit_log (tenant_id, subject, id);
CREATE INDEX audit_log_actor ON audit_log (tenant_id, actor, id);

-- Of how many kinds of alerts a tenant has got the default rules: there were nine.
ALTER TABLE alert_watches ADD COLUMN kinds BIGINT NOT NULL DEFAULT 9;
