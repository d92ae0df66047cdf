-- How long what belongs to a tenant stays.

-- Tenants of the sandbox, made to be looked at. stage says how far the tenant was filled; a process that dies in between leaves the stage that is still to be done.
CREATE TABLE demo_tenants (
    tenant_id {ID} PRIMARY KEY, owner_id {ID} NOT NULL, stage BIGINT NOT NULL, created_at {TIME} NOT NULL, ends_at {TIME} NOT NULL
) {CLUSTERED};
CREATE INDEX demo_tenants_end ON demo_tenants (ends_at);
