-- What a provider's callback told about which messages, as a JSON list; rows from before have none.
ALTER TABLE callback_log ADD COLUMN told TEXT;
