-- What an operator does inside of a tenant stands in the operator's own log as well, with the tenant and the name that had then: it outlives the tenant and its log. NULL for everything
-- else. No tenant_id, which says whose log an entry is in.
ALTER TABLE audit_log ADD COLUMN acted_in {ID};
ALTER TABLE audit_log ADD COLUMN acted_in_name TEXT;
-- What kind of actor it was, and what they were called then; NULL for entries from before.
ALTER TABLE audit_log ADD COLUMN actor_kind TEXT;
ALTER TABLE audit_log ADD COLUMN actor_name TEXT;
CREATE INDEX audit_log_acted_in ON audit_log (tenant_id, acted_in, id) WHERE acted_in IS NOT NULL;
