-- Which account a message leaves through, and what came of attempts.

-- A tenant's rules, in the order they are asked: position counts from 1 within a channel. matches, choice and accounts are JSON.
CREATE TABLE routes (
    tenant_id {ID} NOT NULL, id {ID} NOT NULL, channel BIGINT NOT NULL, position BIGINT NOT NULL, name TEXT NOT NULL, is_enabled BOOLEAN NOT NULL,
    matches TEXT NOT NULL, choice TEXT NOT NULL, accounts TEXT NOT NULL, otherwise TEXT NOT NULL, created_at {TIME} NOT NULL, updated_at {TIME} NOT NULL,
    PRIMARY KEY (tenant_id, id)
) {CLUSTERED};

-- Sums over attempts by account and the hour (UTC) in which they ended, written with the attempts. took_N counts those the provider answered by how long that took
-- (see store::attempt_counters). failure is the last one of the hour.
CREATE TABLE attempt_counters (
    tenant_id {ID} NOT NULL, account_id {ID} NOT NULL, at {TIME} NOT NULL, shard BIGINT NOT NULL, accepted BIGINT NOT NULL, recipient BIGINT NOT NULL,
    opted_out BIGINT NOT NULL, content BIGINT NOT NULL, throttled BIGINT NOT NULL, unavailable BIGINT NOT NULL, account BIGINT NOT NULL, unknown BIGINT NOT NULL,
    took_0 BIGINT NOT NULL, took_1 BIGINT NOT NULL, took_2 BIGINT NOT NULL, took_3 BIGINT NOT NULL, took_4 BIGINT NOT NULL, took_5 BIGINT NOT NULL,
    took_6 BIGINT NOT NULL, took_7 BIGINT NOT NULL, took_8 BIGINT NOT NULL, took_9 BIGINT NOT NULL, took_10 BIGINT NOT NULL,
    failure TEXT, failed_at {TIME}, PRIMARY KEY (tenant_id, account_id, at, shard)
) {CLUSTERED};
