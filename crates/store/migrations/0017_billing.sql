-- Plans, what tenants use of them, and monthly invoices. Amounts are millionths of the currency named beside them.

-- The operator's plans. What one grants and costs never changes; tenants are moved to another. `allowances` is a JSON array, one element for each channel.
CREATE TABLE plans (
    id {ID} PRIMARY KEY, name TEXT NOT NULL, currency TEXT NOT NULL, monthly_fee BIGINT NOT NULL, allowances TEXT NOT NULL, is_offered BOOLEAN NOT NULL,
    created_at {TIME} NOT NULL, updated_at {TIME} NOT NULL, archived_at {TIME}
) {CLUSTERED};

-- A tenant's plan. What was accepted from counted_from on is counted. billed_until is how far invoices reach: the next one begins there and ends at closes_at;
-- ledger_revenue is what a price list had charged by then. `customer` is a JSON object: whom invoices are addressed to.
CREATE TABLE subscriptions (
    tenant_id {ID} PRIMARY KEY, plan_id {ID} NOT NULL, trial_ends_at {TIME}, past_due_since {TIME}, canceled_at {TIME}, customer TEXT NOT NULL,
    counted_from {TIME} NOT NULL, billed_until {TIME} NOT NULL, closes_at {TIME}, ledger_revenue BIGINT NOT NULL,
    created_at {TIME} NOT NULL, updated_at {TIME} NOT NULL
) {CLUSTERED};
CREATE INDEX subscriptions_closing ON subscriptions (closes_at, tenant_id) WHERE closes_at IS NOT NULL;
CREATE INDEX subscriptions_plan ON subscriptions (plan_id);

-- Messages accepted over a channel in a month on the tenant's clock, less those that ended without having been sent. `warned` is the highest percentage told of.
-- Whoever accepts locks the row. The months of one channel do not overlap, whatever becomes of the tenant's zone.
CREATE TABLE quota_counters (
    tenant_id {ID} NOT NULL, channel BIGINT NOT NULL, starts_at {TIME} NOT NULL, ends_at {TIME} NOT NULL, used BIGINT NOT NULL, warned BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, channel, starts_at)
) {CLUSTERED};

-- How the operator writes invoices: one row, a JSON object.
CREATE TABLE billing_settings (id BIGINT PRIMARY KEY, body TEXT NOT NULL, updated_at {TIME} NOT NULL) {CLUSTERED};

-- The last number given in each series. Locked by whoever issues, so that a series has no gaps.
CREATE TABLE invoice_series (series {KEY} PRIMARY KEY, last_number BIGINT NOT NULL) {CLUSTERED};

-- A bill for the time from starts_at until ends_at, or a credit note about one (of_id). What `body` says does not change.
CREATE TABLE invoices (
    tenant_id {ID} NOT NULL, id {ID} NOT NULL, kind TEXT NOT NULL, state TEXT NOT NULL, number {KEY}, of_id {ID}, currency TEXT NOT NULL, starts_at {TIME} NOT NULL,
    ends_at {TIME} NOT NULL, total BIGINT NOT NULL, body TEXT NOT NULL, issued_at {TIME}, due_at {TIME}, paid_at {TIME},
    payment TEXT, voided_at {TIME}, mailed_at {TIME}, mail_id {ID}, created_at {TIME} NOT NULL, updated_at {TIME} NOT NULL, PRIMARY KEY (tenant_id, id)
) {CLUSTERED};
CREATE UNIQUE INDEX invoices_number ON invoices (number) WHERE number IS NOT NULL;
CREATE UNIQUE INDEX invoices_month ON invoices (tenant_id, starts_at) WHERE kind = 'invoice';
CREATE INDEX invoices_newest ON invoices (id);
CREATE INDEX invoices_due ON invoices (due_at, tenant_id) WHERE state = 'issued';

-- What was put on invoices of a month's messages so far, corrections included: the next invoice holds what a recount finds different.
CREATE TABLE invoiced_usage (
    tenant_id {ID} NOT NULL, starts_at {TIME} NOT NULL, channel BIGINT NOT NULL, country TEXT NOT NULL, ends_at {TIME} NOT NULL, sent BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, starts_at, channel, country)
) {CLUSTERED};
