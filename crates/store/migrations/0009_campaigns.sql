-- Messages that repeat, and campaigns: one message to an audience.
--
-- What is due next lies in the row itself (`next_at`), and moves in the transaction that accepts the messages: a process that dies leaves a row that says exactly
-- what is still to be done.

-- rule is an RRULE or a cron pattern, as kind says; request is the message as it was posted; skip is a JSON array of dates and instants.
CREATE TABLE schedules (
    tenant_id {ID} NOT NULL, id {ID} NOT NULL, name TEXT NOT NULL, state TEXT NOT NULL, kind TEXT NOT NULL, rule TEXT NOT NULL, timezone TEXT NOT NULL,
    starts_at {TIME} NOT NULL, ends_at {TIME}, skip TEXT NOT NULL, catch_up TEXT NOT NULL, request TEXT NOT NULL, next_at {TIME}, fired BIGINT NOT NULL,
    created_at {TIME} NOT NULL, updated_at {TIME} NOT NULL, PRIMARY KEY (tenant_id, id)
) {CLUSTERED};
CREATE INDEX schedules_due ON schedules (next_at) WHERE next_at IS NOT NULL;

-- What became of each occurrence: sent, failed, missed or canceled.
CREATE TABLE schedule_occurrences (
    tenant_id {ID} NOT NULL, schedule_id {ID} NOT NULL, at {TIME} NOT NULL, outcome TEXT NOT NULL, message_id {ID}, detail TEXT, recorded_at {TIME} NOT NULL,
    PRIMARY KEY (tenant_id, schedule_id, at)
) {CLUSTERED};

-- definition is what is sent to whom, in JSON. phase says what the engine is doing while the state is `sending`; cursor is the contact it has come to; both move
-- with what is written. next_at is when there is something to do, and NULL when there is nothing; one process at a time holds the lease.
CREATE TABLE campaigns (
    tenant_id {ID} NOT NULL, id {ID} NOT NULL, name TEXT NOT NULL, description TEXT NOT NULL, state TEXT NOT NULL, definition TEXT NOT NULL,
    creator TEXT NOT NULL, phase TEXT NOT NULL, cursor {ID} NOT NULL, bound {ID} NOT NULL, total BIGINT NOT NULL, accepted BIGINT NOT NULL,
    excluded BIGINT NOT NULL, winner BIGINT, problem TEXT, scheduled_at {TIME}, started_at {TIME}, test_ends_at {TIME}, paused_at {TIME}, ended_at {TIME},
    next_at {TIME}, leased_by {ID}, lease_until {TIME}, parent_id {ID}, created_at {TIME} NOT NULL, updated_at {TIME} NOT NULL, PRIMARY KEY (tenant_id, id)
) {CLUSTERED};
CREATE INDEX campaigns_due ON campaigns (next_at) WHERE next_at IS NOT NULL;

-- The frozen audience. outcome: 0 waits, 1 accepted, 2 left out, 3 in the rest of a test.
CREATE TABLE campaign_recipients (
    tenant_id {ID} NOT NULL, campaign_id {ID} NOT NULL, contact_id {ID} NOT NULL, variant BIGINT, outcome BIGINT NOT NULL, reason TEXT, message_id {ID},
    PRIMARY KEY (tenant_id, campaign_id, contact_id)
) {CLUSTERED};
