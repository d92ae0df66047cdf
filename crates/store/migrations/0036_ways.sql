-- What each way a message left cost, with its charge as JSON: what the provider says later of price and parts puts that charge right. Of ways left before nothing is told apart from their message's charge.
ALTER TABLE former_routes ADD COLUMN cost_micros BIGINT;
ALTER TABLE former_routes ADD COLUMN cost_currency TEXT;
ALTER TABLE former_routes ADD COLUMN charge {JSON};
-- What of a message's cost is that of ways it left, and counts where they went; NULL for nothing.
ALTER TABLE messages ADD COLUMN cost_before BIGINT;
-- What nobody spoke for is looked at once more, so that what is still set aside for it is given back.
UPDATE messages SET poll_at = COALESCE(ended_at, created_at) WHERE status = 6 AND sent_at IS NULL AND aside IS NOT NULL AND poll_at IS NULL;
