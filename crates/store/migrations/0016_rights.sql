-- What is owed to people: everything that is kept about them as one file, an end to it after a while, and contents that keep to the tenant's rules. And long work on contacts
-- and campaigns that is done in small steps, each of which leaves a row that says how far it has come.

-- rule is what is looked for, in JSON.
CREATE TABLE content_rules (
    tenant_id {ID} NOT NULL, id {ID} NOT NULL, name TEXT NOT NULL, is_enabled BOOLEAN NOT NULL, rule TEXT NOT NULL, created_at {TIME} NOT NULL,
    updated_at {TIME} NOT NULL, PRIMARY KEY (tenant_id, id)
) {CLUSTERED};

-- The permission to read everything about a contact, for a while. The file itself is made while it is read, and lies nowhere.
CREATE TABLE contact_exports (
    tenant_id {ID} NOT NULL, id {ID} NOT NULL, contact_id {ID} NOT NULL, actor TEXT NOT NULL, created_at {TIME} NOT NULL, expires_at {TIME} NOT NULL,
    PRIMARY KEY (tenant_id, id)
) {CLUSTERED};
CREATE INDEX contact_exports_end ON contact_exports (expires_at);

-- Who wrote from an address, whether or not it is a contact's.
CREATE INDEX inbound_messages_address ON inbound_messages (tenant_id, address, id);

-- How long a tenant keeps things: settings is JSON, days by kind. next_at is when its rows are looked at again.
CREATE TABLE retention_policies (
    tenant_id {ID} PRIMARY KEY, settings TEXT NOT NULL, updated_at {TIME} NOT NULL, next_at {TIME}, leased_by {ID}, lease_until {TIME}
) {CLUSTERED};
CREATE INDEX retention_policies_due ON retention_policies (next_at) WHERE next_at IS NOT NULL;

-- How far each kind has come: rows up to `place` are dealt with, but for those that were still needed and wait in retention_left. `done` counts rows for people.
CREATE TABLE retention_places (
    tenant_id {ID} NOT NULL, kind TEXT NOT NULL, place {ID} NOT NULL, done BIGINT NOT NULL, worked_at {TIME} NOT NULL, PRIMARY KEY (tenant_id, kind)
) {CLUSTERED};
CREATE TABLE retention_left (tenant_id {ID} NOT NULL, kind TEXT NOT NULL, id {ID} NOT NULL, PRIMARY KEY (tenant_id, kind, id)) {CLUSTERED};

-- A contact that became another one: what still carries its id is handed over in steps.
CREATE TABLE contact_moves (
    tenant_id {ID} NOT NULL, from_id {ID} NOT NULL, to_id {ID} NOT NULL, created_at {TIME} NOT NULL, PRIMARY KEY (tenant_id, from_id)
) {CLUSTERED};

-- An attribute that was removed keeps its column until every contact's value is gone: `emptied` is the contact it has come to.
ALTER TABLE contact_attributes ADD COLUMN removed_at {TIME};
ALTER TABLE contact_attributes ADD COLUMN emptied {ID};

-- The checklist of a campaign, counted over its whole audience. tally is JSON: what was found so far. expected is how many recipients there are at most.
CREATE TABLE campaign_checks (
    tenant_id {ID} NOT NULL, campaign_id {ID} NOT NULL, definition TEXT NOT NULL, state TEXT NOT NULL, cursor {ID} NOT NULL,
    expected BIGINT NOT NULL, tally TEXT NOT NULL, problem TEXT, created_at {TIME} NOT NULL, finished_at {TIME}, next_at {TIME}, leased_by {ID},
    lease_until {TIME}, PRIMARY KEY (tenant_id, campaign_id)
) {CLUSTERED};
CREATE INDEX campaign_checks_due ON campaign_checks (next_at) WHERE next_at IS NOT NULL;
