-- What is set aside for a message under way stands in its own row, as the JSON of its charge, and message_charges has what messages were charged or given back: written once.
ALTER TABLE messages ADD COLUMN aside {JSON};
UPDATE messages SET aside = (
    SELECT CAST('{"list_version":' || c.list_version || ',"unit":' || c.unit || ',"per":' || c.per || ',"cost_unit":' || COALESCE(CAST(c.cost_unit AS TEXT), 'null')
        || ',"markup":' || COALESCE(CAST(c.markup AS TEXT), 'null') || ',"category":"' || c.category || '","units":' || c.units
        || ',"reported":' || COALESCE(CAST(c.reported AS TEXT), 'null') || ',"reported_currency":' || COALESCE('"' || c.reported_currency || '"', 'null')
        || ',"quoted":' || c.quoted || ',"promo":' || c.promo || ',"charged_before":' || c.former || ',"charged":' || c.charged || '}' AS {JSON})
    FROM message_charges AS c WHERE c.tenant_id = messages.tenant_id AND c.message_id = messages.id)
    WHERE (tenant_id, id) IN (SELECT tenant_id, message_id FROM message_charges WHERE state = 'reserved');
DELETE FROM message_charges WHERE state = 'reserved' AND former = 0;
UPDATE message_charges SET state = 'settled' WHERE state = 'reserved';
-- A server of before, which looks here for what is set aside, fails at this and takes no message for one that costs nothing.
ALTER TABLE message_charges RENAME COLUMN former TO charged_before;
