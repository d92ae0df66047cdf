-- What a message was charged, when it is just what was set aside for it when it was accepted: that JSON, as `aside` had it. Text, because it is written for nearly every billed message and its parts are
-- read by the check of a ledger only. Of messages that have none, message_charges says what they were charged.
ALTER TABLE messages ADD COLUMN charge TEXT;
