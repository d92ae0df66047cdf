-- What the operator's payment provider tells is logged like what comes to tenants' accounts: under the zero id, as the operator's own, and with the zero id for the account it did not come to.
-- event_type and event_id are the provider's; about_id is the tenant it is about, which may be gone by now. NULL for what came to accounts.
ALTER TABLE callback_log ADD COLUMN event_type TEXT;
ALTER TABLE callback_log ADD COLUMN event_id TEXT;
ALTER TABLE callback_log ADD COLUMN about_id {ID};
