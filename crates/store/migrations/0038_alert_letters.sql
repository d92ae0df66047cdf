-- Letters about an alert: a JSON list of who is told, with how far that is and why it did not work; rows from before have none. tell_at is when the next is tried, while telling says
-- what is still to be said.
ALTER TABLE alerts ADD COLUMN letters TEXT;
ALTER TABLE alerts ADD COLUMN tell_at {TIME};
UPDATE alerts SET tell_at = fired_at WHERE telling IS NOT NULL;
