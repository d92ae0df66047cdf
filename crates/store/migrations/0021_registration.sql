-- Registration with American carriers (10DLC), and the operator's pool of numbers.

-- What a business says of itself, once, as JSON; and whether the operator lets the tenant's text messages to the United States leave unregistered.
CREATE TABLE business_profiles (
    tenant_id {ID} PRIMARY KEY, profile TEXT NOT NULL, us_sms TEXT NOT NULL, created_at {TIME} NOT NULL, updated_at {TIME} NOT NULL
) {CLUSTERED};

-- One per account. business is what was submitted, refs what was made of it at the provider, reasons why it was rejected: all JSON. failures counts times in a row the provider
-- could not be asked.
CREATE TABLE registrations (
    tenant_id {ID} NOT NULL, id {ID} NOT NULL, account_id {ID} NOT NULL, state TEXT NOT NULL, stage TEXT NOT NULL, refs TEXT NOT NULL, business TEXT NOT NULL, area_code TEXT,
    reasons TEXT NOT NULL, problem TEXT, failures BIGINT NOT NULL, submitted_at {TIME} NOT NULL, approved_at {TIME}, next_at {TIME}, leased_by {ID}, lease_until {TIME},
    created_at {TIME} NOT NULL, updated_at {TIME} NOT NULL, PRIMARY KEY (tenant_id, id)
) {CLUSTERED};
CREATE UNIQUE INDEX registrations_account ON registrations (tenant_id, account_id);
CREATE INDEX registrations_next ON registrations (next_at) WHERE next_at IS NOT NULL;
CREATE INDEX registrations_stuck ON registrations (id) WHERE state = 'operator_needed';

-- The operator's: a number outlives the tenant it is with. provider_account is who holds it there, so that only accounts of the same holder are given it.
CREATE TABLE numbers (
    id {ID} PRIMARY KEY, number {KEY} NOT NULL, country TEXT NOT NULL, connector TEXT NOT NULL, provider_account {KEY} NOT NULL, reference TEXT, state TEXT NOT NULL, detail TEXT,
    allocated_to {ID}, registration_id {ID}, allocated_at {TIME}, created_at {TIME} NOT NULL, updated_at {TIME} NOT NULL
) {CLUSTERED};
CREATE UNIQUE INDEX numbers_number ON numbers (number);
CREATE INDEX numbers_free ON numbers (provider_account, number) WHERE state = 'free';
CREATE INDEX numbers_allocated ON numbers (allocated_to) WHERE allocated_to IS NOT NULL;
