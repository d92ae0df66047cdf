-- How many messages a movement is for, where they are more than one: those of a batch are set aside for by one entry, which names the first of them.
ALTER TABLE credit_entries ADD COLUMN messages BIGINT;
