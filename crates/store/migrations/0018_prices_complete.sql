-- Prices and credit, completed: what a price was made of, and promotional credit.

-- What a charge can be worked out from again once the provider says more: the fixed part of the price is `unit`. per: 0 message, 1 segment, 2 minute, 3 a thousand
-- messages. cost_unit is what the provider takes by the price list, markup (hundredths of a percent) what is put on it; reported is what the provider said it took.
-- units are the parts it was charged for; former is what it was charged for ways it left before; promo is how much of the rest promotional credit paid.
ALTER TABLE message_charges ADD COLUMN per BIGINT NOT NULL DEFAULT 0;
ALTER TABLE message_charges ADD COLUMN cost_unit BIGINT;
ALTER TABLE message_charges ADD COLUMN markup BIGINT;
ALTER TABLE message_charges ADD COLUMN category TEXT NOT NULL DEFAULT '';
ALTER TABLE message_charges ADD COLUMN units BIGINT NOT NULL DEFAULT 0;
ALTER TABLE message_charges ADD COLUMN reported BIGINT;
ALTER TABLE message_charges ADD COLUMN reported_currency TEXT;
ALTER TABLE message_charges ADD COLUMN former BIGINT NOT NULL DEFAULT 0;
ALTER TABLE message_charges ADD COLUMN promo BIGINT NOT NULL DEFAULT 0;
UPDATE message_charges SET per = 1 WHERE is_per_segment;

-- available + promo + reserved + revenue = purchased + adjusted + granted, always. remainder is what was used and not charged yet because it is less than a millionth.
-- Below low_at the tenant is told once (is_low), below top_up_at a purchase of top_up_amount is asked for once (is_topping_up).
ALTER TABLE credit_ledgers ADD COLUMN promo BIGINT NOT NULL DEFAULT 0;
ALTER TABLE credit_ledgers ADD COLUMN granted BIGINT NOT NULL DEFAULT 0;
ALTER TABLE credit_ledgers ADD COLUMN remainder BIGINT NOT NULL DEFAULT 0;
ALTER TABLE credit_ledgers ADD COLUMN low_at BIGINT;
ALTER TABLE credit_ledgers ADD COLUMN is_low BOOLEAN NOT NULL DEFAULT FALSE;
ALTER TABLE credit_ledgers ADD COLUMN top_up_at BIGINT;
ALTER TABLE credit_ledgers ADD COLUMN top_up_amount BIGINT;
ALTER TABLE credit_ledgers ADD COLUMN is_topping_up BOOLEAN NOT NULL DEFAULT FALSE;
ALTER TABLE credit_entries ADD COLUMN promo BIGINT NOT NULL DEFAULT 0;

-- Credit that was given and ends: number is the entry that gave it, rest what of it is still there.
CREATE TABLE credit_grants (
    tenant_id {ID} NOT NULL, number BIGINT NOT NULL, amount BIGINT NOT NULL, rest BIGINT NOT NULL, expires_at {TIME} NOT NULL, reference TEXT NOT NULL,
    created_at {TIME} NOT NULL, PRIMARY KEY (tenant_id, number)
) {CLUSTERED};
CREATE INDEX credit_grants_end ON credit_grants (expires_at) WHERE rest > 0;
