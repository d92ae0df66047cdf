-- Who changes the database without the installation's key is found out by the audit log.

-- seal is a keyed hash over an entry's hash; entries from before have none. agent is what a browser or program calls itself.
ALTER TABLE audit_log ADD COLUMN seal {BYTES};
ALTER TABLE audit_log ADD COLUMN agent TEXT;

-- How far each log had come when it was last looked at: a log that is shorter, or gone, was cut off. The rows of deleted tenants stay, and owner_id is therefore no tenant_id. Entries up
-- to unsealed have no seal of their own; loose entries have no place in the chain, because they are from before there was one, and loose_hash covers them.
CREATE TABLE audit_marks (
    owner_id {ID} PRIMARY KEY, number BIGINT NOT NULL, hash {BYTES} NOT NULL, at {TIME} NOT NULL, unsealed BIGINT NOT NULL, loose BIGINT NOT NULL,
    loose_hash {BYTES} NOT NULL, seal {BYTES} NOT NULL
) {CLUSTERED};

-- One row, whose id is 1: the key, sealed by a master key, and a seal over all marks, so that none can be removed or put back to what it was. begun_at is NULL until every log has its mark.
CREATE TABLE audit_register (
    id BIGINT PRIMARY KEY, key {BYTES} NOT NULL, master_key_id TEXT NOT NULL, begun_at {TIME}, marked_at {TIME}, seal {BYTES} NOT NULL
);
