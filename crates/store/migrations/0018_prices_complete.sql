-- Prices and credit, completed: what a price was made of, promotional credit, purchases through a payment provider, and the comparison with providers' records.

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

-- Purchases through a payment provider. state: opening, open, paid, failed, expired. refunded is what was given back so far.
CREATE TABLE credit_checkouts (
    tenant_id {ID} NOT NULL, id {ID} NOT NULL, provider TEXT NOT NULL, state TEXT NOT NULL, amount BIGINT NOT NULL, currency TEXT NOT NULL, refunded BIGINT NOT NULL,
    session TEXT, payment TEXT, url TEXT, failure TEXT, is_top_up BOOLEAN NOT NULL, actor TEXT NOT NULL, created_at {TIME} NOT NULL, updated_at {TIME} NOT NULL,
    PRIMARY KEY (tenant_id, id)
) {CLUSTERED};

-- Money given back through a payment provider. state: opening, pending, done, failed.
CREATE TABLE credit_refunds (
    tenant_id {ID} NOT NULL, id {ID} NOT NULL, checkout_id {ID} NOT NULL, state TEXT NOT NULL, amount BIGINT NOT NULL, reason TEXT NOT NULL, provider_id TEXT, failure TEXT,
    actor TEXT NOT NULL, created_at {TIME} NOT NULL, updated_at {TIME} NOT NULL, PRIMARY KEY (tenant_id, id)
) {CLUSTERED};

-- Events of the payment provider that were taken, so that one that comes again changes nothing.
CREATE TABLE payment_events (id TEXT PRIMARY KEY, kind TEXT NOT NULL, received_at {TIME} NOT NULL) {CLUSTERED};
CREATE INDEX payment_events_age ON payment_events (received_at);

-- Comparisons of our messages with a provider's records. state: waiting, reading, comparing, done, failed. cursor is how far the work came.
CREATE TABLE reconciliations (
    tenant_id {ID} NOT NULL, id {ID} NOT NULL, account_id {ID} NOT NULL, source TEXT NOT NULL, starts_at {TIME} NOT NULL, ends_at {TIME} NOT NULL, state TEXT NOT NULL,
    cursor TEXT, ours BIGINT NOT NULL, theirs BIGINT NOT NULL, matched BIGINT NOT NULL, missing_here BIGINT NOT NULL, missing_there BIGINT NOT NULL,
    price_differences BIGINT NOT NULL, cost_ours BIGINT NOT NULL, cost_theirs BIGINT NOT NULL, currency TEXT, failure TEXT, actor TEXT NOT NULL, created_at {TIME} NOT NULL,
    updated_at {TIME} NOT NULL, work_at {TIME}, PRIMARY KEY (tenant_id, id)
) {CLUSTERED};
CREATE INDEX reconciliations_work ON reconciliations (work_at) WHERE work_at IS NOT NULL;

-- What the provider's records say, until they are compared.
CREATE TABLE reconciliation_records (
    tenant_id {ID} NOT NULL, reconciliation_id {ID} NOT NULL, provider_message_id {KEY} NOT NULL, at {TIME}, status TEXT NOT NULL, address TEXT NOT NULL, segments BIGINT,
    price BIGINT, currency TEXT, is_matched BOOLEAN NOT NULL, PRIMARY KEY (tenant_id, reconciliation_id, provider_message_id)
) {CLUSTERED};

-- kind: missing_here, missing_there, price, segments.
CREATE TABLE reconciliation_differences (
    tenant_id {ID} NOT NULL, reconciliation_id {ID} NOT NULL, number BIGINT NOT NULL, kind TEXT NOT NULL, message_id {ID}, provider_message_id TEXT, detail {JSON} NOT NULL,
    PRIMARY KEY (tenant_id, reconciliation_id, number)
) {CLUSTERED};
