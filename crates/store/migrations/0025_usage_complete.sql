-- Usage completed, comparisons that nodes share, and payments that are disputed.

-- bytes: what was handed to the provider, of messages sent from now on; what was sent before does not tell and counts none.
ALTER TABLE messages ADD COLUMN bytes BIGINT;
ALTER TABLE former_routes ADD COLUMN bytes BIGINT;
ALTER TABLE usage_counters ADD COLUMN bytes BIGINT NOT NULL DEFAULT 0;
ALTER TABLE message_counters ADD COLUMN bytes BIGINT NOT NULL DEFAULT 0;
ALTER TABLE message_days ADD COLUMN bytes BIGINT NOT NULL DEFAULT 0;

-- Reconciliations are leased; next_at is NULL once there is nothing left to do. channel is what the provider's records are of, where they are of one channel alone.
ALTER TABLE reconciliations ADD COLUMN channel BIGINT;
ALTER TABLE reconciliations ADD COLUMN next_at {TIME};
ALTER TABLE reconciliations ADD COLUMN leased_by {ID};
ALTER TABLE reconciliations ADD COLUMN lease_until {TIME};
UPDATE reconciliations SET next_at = updated_at WHERE state = 'running';
DROP INDEX reconciliations_running;
CREATE INDEX reconciliations_due ON reconciliations (next_at) WHERE next_at IS NOT NULL;

-- Payments their payers dispute at their bank: disputes is a JSON array with what the payment provider said last of each, and what the credit gave for it; is_disputed says that one is not over.
ALTER TABLE credit_purchases ADD COLUMN disputes TEXT NOT NULL DEFAULT '[]';
ALTER TABLE credit_purchases ADD COLUMN is_disputed BOOLEAN NOT NULL DEFAULT FALSE;
CREATE INDEX credit_purchases_disputed ON credit_purchases (id) WHERE is_disputed;
