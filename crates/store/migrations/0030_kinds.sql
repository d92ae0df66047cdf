-- Charges of messages of a particular kind (MMS, WhatsApp), so that a month of them is found without a look at all others.
CREATE INDEX message_charges_kinds ON message_charges (message_id) WHERE category <> '';
