-- What a provider's callback told about which messages, as a JSON list; rows from before have none.
ALTER TABLE callback_log ADD COLUMN told TEXT;

-- Local numbers are registered (10dlc), toll-free ones verified (toll_free). sender is the toll-free number, and empty for 10dlc; toll_free says as JSON what is asked about it.
ALTER TABLE registrations ADD COLUMN kind TEXT NOT NULL DEFAULT '10dlc';
ALTER TABLE registrations ADD COLUMN sender TEXT NOT NULL DEFAULT '';
ALTER TABLE registrations ADD COLUMN toll_free TEXT;
DROP INDEX registrations_account;
CREATE UNIQUE INDEX registrations_account ON registrations (tenant_id, account_id, kind, sender);
