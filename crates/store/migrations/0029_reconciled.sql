-- Comparisons know the parts of messages, what other accounts sent through the same account at the provider, and what lies at midnight.

-- elsewhere: messages of the provider that another account here sent. segment_differences: messages both have in different numbers of parts. not_asked: messages its list lacks that it was not asked
-- about one by one. is_binding: what the provider says of prices and parts counts from then on; never what a tenant's table says.
ALTER TABLE reconciliations ADD COLUMN elsewhere BIGINT NOT NULL DEFAULT 0;
ALTER TABLE reconciliations ADD COLUMN segment_differences BIGINT NOT NULL DEFAULT 0;
ALTER TABLE reconciliations ADD COLUMN not_asked BIGINT NOT NULL DEFAULT 0;
ALTER TABLE reconciliations ADD COLUMN is_binding BOOLEAN NOT NULL DEFAULT FALSE;
UPDATE reconciliations SET is_binding = TRUE WHERE source = 'messages';

-- segments_ours and segments_theirs are the parts of a message. Of a day, early and late say how many messages of ours lie just after its beginning and just before its end, which another clock counts
-- on the day beside it.
ALTER TABLE reconciliation_records ADD COLUMN segments_ours BIGINT;
ALTER TABLE reconciliation_records ADD COLUMN segments_theirs BIGINT;
ALTER TABLE reconciliation_records ADD COLUMN early BIGINT;
ALTER TABLE reconciliation_records ADD COLUMN late BIGINT;
