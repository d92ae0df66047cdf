-- The tax credit is sold with, as it was when it was asked for: tax comes on top of amount, and both are what is paid. tax_name and tax_rate_ppm (in millionths) are NULL where it is sold without any,
-- as everything was before; tax_country and tax_number are the customer's. refunded_tax is what went back of tax with refunded.
ALTER TABLE credit_purchases ADD COLUMN tax BIGINT NOT NULL DEFAULT 0;
ALTER TABLE credit_purchases ADD COLUMN tax_name TEXT;
ALTER TABLE credit_purchases ADD COLUMN tax_rate_ppm BIGINT;
ALTER TABLE credit_purchases ADD COLUMN tax_country TEXT;
ALTER TABLE credit_purchases ADD COLUMN tax_number TEXT;
ALTER TABLE credit_purchases ADD COLUMN refunded_tax BIGINT NOT NULL DEFAULT 0;

-- The tax that goes back with the credit: money at the payment provider is amount and tax.
ALTER TABLE credit_refunds ADD COLUMN tax BIGINT NOT NULL DEFAULT 0;
