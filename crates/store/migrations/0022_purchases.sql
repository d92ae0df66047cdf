-- Credit that is bought, money that goes back, and our records held against the providers'. Amounts are millionths of the currency named beside them.

-- How this installation takes payments: `settings` is JSON, sealed under the operator's data key.
CREATE TABLE payment_settings (provider {KEY} PRIMARY KEY, settings {BYTES} NOT NULL, data_key_id BIGINT NOT NULL, updated_at {TIME} NOT NULL) {CLUSTERED};

-- Credit that was bought or is being bought. state: opening (not asked of the payment provider yet), open, pending, paid, failed or expired. session and payment are
-- the provider's ids; entry is the ledger's number of what it brought. Something is to be asked of the provider about it while looked < looks.
CREATE TABLE credit_purchases (
    tenant_id {ID} NOT NULL, id {ID} NOT NULL, provider TEXT NOT NULL, state TEXT NOT NULL, amount BIGINT NOT NULL, currency TEXT NOT NULL, refunded BIGINT NOT NULL,
    reference TEXT, session TEXT, payment {KEY}, url TEXT, failure TEXT, is_top_up BOOLEAN NOT NULL, saves_method BOOLEAN NOT NULL, looks BIGINT NOT NULL,
    looked BIGINT NOT NULL, entry BIGINT, actor TEXT NOT NULL, created_at {TIME} NOT NULL, updated_at {TIME} NOT NULL, PRIMARY KEY (tenant_id, id)
) {CLUSTERED};
CREATE INDEX credit_purchases_payment ON credit_purchases (payment) WHERE payment IS NOT NULL;
CREATE INDEX credit_purchases_opening ON credit_purchases (id) WHERE state = 'opening';
CREATE INDEX credit_purchases_looks ON credit_purchases (id) WHERE looked < looks;

-- Money that goes back: state is opening, pending, done or failed. taken is what the ledger gave for it, which is less than amount only where the money went back
-- without us and the credit was spent.
CREATE TABLE credit_refunds (
    tenant_id {ID} NOT NULL, id {ID} NOT NULL, purchase_id {ID}, provider TEXT NOT NULL, state TEXT NOT NULL, amount BIGINT NOT NULL, taken BIGINT NOT NULL,
    reason TEXT NOT NULL, provider_id {KEY}, failure TEXT, actor TEXT NOT NULL, created_at {TIME} NOT NULL, updated_at {TIME} NOT NULL, PRIMARY KEY (tenant_id, id)
) {CLUSTERED};
CREATE UNIQUE INDEX credit_refunds_provider ON credit_refunds (provider_id) WHERE provider_id IS NOT NULL;
CREATE INDEX credit_refunds_opening ON credit_refunds (id) WHERE state = 'opening';

-- What a tenant pays with when credit runs low; acted is the last time that was acted upon, see credit_ledgers.top_ups.
CREATE TABLE payment_methods (
    tenant_id {ID} PRIMARY KEY, provider TEXT NOT NULL, customer TEXT NOT NULL, method TEXT NOT NULL, name TEXT NOT NULL, acted BIGINT NOT NULL,
    created_at {TIME} NOT NULL
) {CLUSTERED};

-- Events of a payment provider that were taken, each once.
CREATE TABLE payment_events (id {KEY} PRIMARY KEY, kind TEXT NOT NULL, received_at {TIME} NOT NULL) {CLUSTERED};
CREATE INDEX payment_events_age ON payment_events (received_at);

-- top_ups counts how often credit fell below top_up_at; top_up_month_max is the most that is bought by itself in 30 days.
ALTER TABLE credit_ledgers ADD COLUMN top_ups BIGINT NOT NULL DEFAULT 0;
ALTER TABLE credit_ledgers ADD COLUMN top_up_month_max BIGINT;

-- Our records of an account held against its provider's for a time. stage is what is done next (fetch, ours, compare), place how far that is. Amounts are what
-- providers took for the messages that are on both sides, as we had it and as they say, in `currency`.
CREATE TABLE reconciliations (
    tenant_id {ID} NOT NULL, id {ID} NOT NULL, account_id {ID} NOT NULL, source TEXT NOT NULL, state TEXT NOT NULL, starts_at {TIME} NOT NULL, ends_at {TIME} NOT NULL,
    stage TEXT NOT NULL, place TEXT NOT NULL, ours BIGINT NOT NULL, theirs BIGINT NOT NULL, matched BIGINT NOT NULL, missing_here BIGINT NOT NULL,
    missing_there BIGINT NOT NULL, price_differences BIGINT NOT NULL, looked_up BIGINT NOT NULL, cost_ours BIGINT NOT NULL, cost_theirs BIGINT NOT NULL,
    currency TEXT, failure TEXT, tries BIGINT NOT NULL, actor TEXT NOT NULL, created_at {TIME} NOT NULL, updated_at {TIME} NOT NULL, PRIMARY KEY (tenant_id, id)
) {CLUSTERED};
CREATE INDEX reconciliations_running ON reconciliations (updated_at) WHERE state = 'running';

-- What a provider has, one row for each of its messages, or for each day where it only counts; `record` is its id or the day. kind is empty until it was compared; what is
-- the same on both sides is removed then, so what is left at the end are the differences: missing_here, missing_there, price, count.
CREATE TABLE reconciliation_records (
    tenant_id {ID} NOT NULL, reconciliation_id {ID} NOT NULL, record {KEY} NOT NULL, kind TEXT NOT NULL, message_id {ID}, at {TIME}, ours BIGINT, theirs BIGINT,
    currency TEXT, PRIMARY KEY (tenant_id, reconciliation_id, record)
) {CLUSTERED};

-- What a price list charged, by the quarter of an hour (UTC) messages were accepted in: all of it comes to the ledger's revenue. So invoices no longer need to know how much
-- that was at the end of the month before, and know what they billed of each month.
CREATE TABLE charge_counters (
    tenant_id {ID} NOT NULL, at {TIME} NOT NULL, channel BIGINT NOT NULL, country TEXT NOT NULL, messages BIGINT NOT NULL, charged BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, at, channel, country)
) {CLUSTERED};
ALTER TABLE subscriptions DROP COLUMN ledger_revenue;
ALTER TABLE invoiced_usage ADD COLUMN charges BIGINT NOT NULL DEFAULT 0;
ALTER TABLE invoiced_usage ADD COLUMN charged BIGINT NOT NULL DEFAULT 0;
