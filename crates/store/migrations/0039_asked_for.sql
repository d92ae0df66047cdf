-- When the payment provider is next asked what became of a purchase it was to tell us of by itself; NULL for one that is over.
ALTER TABLE credit_purchases ADD COLUMN ask_at {TIME};
UPDATE credit_purchases SET ask_at = created_at WHERE state IN ('open', 'pending') AND (session IS NOT NULL OR payment IS NOT NULL);
CREATE INDEX credit_purchases_ask ON credit_purchases (ask_at) WHERE ask_at IS NOT NULL;

-- What is left of a tenant's promotional credit, however many grants came after it.
DROP INDEX credit_grants_end;
CREATE INDEX credit_grants_left ON credit_grants (tenant_id, expires_at) WHERE rest > 0;

-- When a subscription's end was said: one that is taken back in the same month is billed as if it had not been said.
ALTER TABLE subscriptions ADD COLUMN cancel_said_at {TIME};
