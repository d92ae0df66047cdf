//! How the operator writes invoices: as whom, in which series of numbers, with which taxes, and by which way they go out.

use std::sync::Arc;

use model::TenantId;
use serde::{Deserialize, Serialize};
use store::{Scope, Tx, invoices as rows, tenants};
use utoipa::ToSchema;

use super::compose::TaxRate;
use crate::{
    Error, Parts, audit,
    demo::bill,
    keys::Caller,
    names::Faults,
    patch::Patch,
    plans::subscription::{Customer, check_fonts, check_line, check_lines},
    vault::OPERATOR,
};

/// Days until an invoice is to be paid at most: a year.
const DUE_DAYS_MAX: u32 = 366;
/// Tax rules at most: every country there is, with room.
const TAXES_MAX: usize = 300;
/// Highest tax, in millionths: as much again as the net amount.
const RATE_MAX: i64 = 1_000_000;
/// Longest beginning of a number, in characters.
const SERIES_MAX: usize = 20;
/// Longest note, in characters: a paragraph.
const NOTE_MAX: usize = 1_000;

/// Who writes invoices.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Seller {
    /// Name.
    #[schema(example = "Tidings Hosting GmbH")]
    pub name: String,
    /// Lines of the postal address.
    pub address: Vec<String>,
    /// Tax number.
    #[schema(example = "DE987654321")]
    pub tax_id: Option<String>,
    /// For questions about an invoice.
    #[schema(example = "billing@tidings.example")]
    pub email: Option<String>,
}

/// A tax and whom it is charged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TaxRule {
    /// Customers of this country (ISO 3166-1 alpha-2); of any other country when left out.
    #[serde(default)]
    #[schema(example = "DE")]
    pub country: Option<String>,
    /// As it stands on the invoice.
    #[schema(example = "VAT")]
    pub name: String,
    /// In millionths of the net amount: 190000 is 19 percent.
    #[schema(example = 190_000)]
    pub rate_ppm: i64,
}

/// When credit that is bought is taxed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CreditTaxed {
    /// Not at all: credit is sold for what it is, and taken off invoices before tax.
    #[default]
    Never,
    /// When it is sold: tax by `taxes` comes on top of it, and invoices take it off before tax.
    AtPurchase,
}

/// How invoices are written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BillingSettings {
    /// Who writes them.
    pub seller: Seller,
    /// What begins the number of an invoice; another beginning is another series.
    #[schema(example = "INV-")]
    pub series: String,
    /// What begins the number of a credit note.
    #[schema(example = "CN-")]
    pub credit_note_series: String,
    /// Days until an invoice is to be paid.
    #[schema(example = 14)]
    pub due_days: u32,
    /// True: a month's invoice is issued when it is made. False: it waits as a draft for somebody to issue it.
    pub issues_by_itself: bool,
    /// True: an issued invoice is sent to the customer's `email`.
    pub sends_by_itself: bool,
    /// The tenant of the operator's own through whose default e-mail account invoices leave, with whose branding they are printed; `mail_tenant` of the configuration when `null`.
    #[schema(value_type = Option<String>, example = "ten_01K9ZC8Q6T7Y2V5B3N4M1XWRSD")]
    pub mail_tenant_id: Option<TenantId>,
    /// How to pay, line by line.
    pub payment: Vec<String>,
    /// What else stands on every invoice.
    pub note: Option<String>,
    /// Taxes by the customer's country.
    pub taxes: Vec<TaxRule>,
    /// When credit that is bought is taxed. It counts for purchases begun from then on; each keeps the tax it was begun with.
    #[schema(example = "at_purchase")]
    pub credit_taxed: CreditTaxed,
}

impl Default for BillingSettings {
    fn default() -> Self {
        Self {
            seller: Seller::default(),
            series: "INV-".to_owned(),
            credit_note_series: "CN-".to_owned(),
            due_days: 14,
            issues_by_itself: true,
            sends_by_itself: true,
            mail_tenant_id: None,
            payment: Vec::new(),
            note: None,
            taxes: Vec::new(),
            credit_taxed: CreditTaxed::Never,
        }
    }
}

impl BillingSettings {
    /// Reads what the database keeps.
    pub(crate) async fn read(tx: &mut Tx) -> Result<Self, store::Error> {
        Ok(rows::settings(tx).await?.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default())
    }

    /// The tax of a customer: its own where the operator gave it one, else that of its country, else that of every other country.
    pub fn tax(&self, customer: &Customer, country: Option<&str>) -> Option<TaxRate> {
        let rule = |wanted: Option<&str>| self.taxes.iter().find(|rule| rule.country.as_deref() == wanted);
        let found = country.and_then(|country| rule(Some(country))).or_else(|| rule(None));
        let rate = |rule: &TaxRule| TaxRate { name: rule.name.clone(), rate_ppm: rule.rate_ppm };
        customer.tax.clone().or_else(|| found.map(rate))
    }

    fn check(&self, faults: &mut Faults) {
        check_lines("/seller/address", &self.seller.address, faults);
        check_lines("/payment", &self.payment, faults);
        let lines = [
            ("/seller/name", Some(&self.seller.name).filter(|name| !name.is_empty())),
            ("/seller/tax_id", self.seller.tax_id.as_ref()),
            ("/seller/email", self.seller.email.as_ref()),
        ];
        for (pointer, text) in lines {
            if let Some(text) = text {
                check_line(pointer, text, faults);
            }
        }
        for (pointer, series) in [("/series", &self.series), ("/credit_note_series", &self.credit_note_series)] {
            let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '/' | '.' | '_');
            if series.is_empty() || series.len() > SERIES_MAX || !series.chars().all(is_plain) {
                faults.add(pointer, format!("1 to {SERIES_MAX} letters, digits, or characters of -/._"));
            }
        }
        for (pointer, series) in [("/series", &self.series), ("/credit_note_series", &self.credit_note_series)] {
            if series.starts_with(bill::SERIES) {
                faults.add(pointer, format!("{} is for demo tenants; choose another beginning", bill::SERIES));
            }
        }
        if self.series == self.credit_note_series {
            faults.add("/credit_note_series", "credit notes have a series of their own; choose another beginning");
        }
        if self.due_days > DUE_DAYS_MAX {
            faults.add("/due_days", format!("0 to {DUE_DAYS_MAX} days"));
        }
        if let Some(note) = &self.note {
            if note.chars().count() > NOTE_MAX
                || note.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t'))
            {
                faults.add(
                    "/note",
                    format!("at most {NOTE_MAX} characters, and no control characters but line breaks and tabs"),
                );
            }
            check_fonts("/note", note, faults);
        }
        if self.taxes.len() > TAXES_MAX {
            faults.add("/taxes", format!("at most {TAXES_MAX} rules"));
        }
        for (index, rule) in self.taxes.iter().enumerate().take(TAXES_MAX) {
            if let Some(country) = &rule.country {
                faults.country(&format!("/taxes/{index}/country"), country);
            }
            if self.taxes[..index].iter().any(|other| other.country == rule.country) {
                faults.add(format!("/taxes/{index}/country"), "an earlier rule is about the same customers");
            }
            check_rate(&format!("/taxes/{index}"), &rule.name, rule.rate_ppm, faults);
        }
    }
}

/// Notes what is wrong with a tax.
pub(crate) fn check_rate(pointer: &str, name: &str, rate_ppm: i64, faults: &mut Faults) {
    check_line(&format!("{pointer}/name"), name, faults);
    if !(0..=RATE_MAX).contains(&rate_ppm) {
        faults.add(format!("{pointer}/rate_ppm"), format!("0 to {RATE_MAX} millionths; 190000 is 19 percent"));
    }
}

/// Changes of how invoices are written. They count for invoices made from then on.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BillingSettingsPatch {
    /// Who writes them.
    #[serde(default)]
    #[schema(value_type = Option<Seller>)]
    pub seller: Patch<Seller>,
    /// What begins the number of an invoice.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub series: Patch<String>,
    /// What begins the number of a credit note.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub credit_note_series: Patch<String>,
    /// Days until an invoice is to be paid.
    #[serde(default)]
    #[schema(value_type = Option<u32>)]
    pub due_days: Patch<u32>,
    /// Whether invoices are issued when they are made.
    #[serde(default)]
    #[schema(value_type = Option<bool>)]
    pub issues_by_itself: Patch<bool>,
    /// Whether issued invoices are sent.
    #[serde(default)]
    #[schema(value_type = Option<bool>)]
    pub sends_by_itself: Patch<bool>,
    /// Through which of the operator's own tenants they leave.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub mail_tenant_id: Patch<TenantId>,
    /// How to pay, line by line.
    #[serde(default)]
    #[schema(value_type = Option<Vec<String>>)]
    pub payment: Patch<Vec<String>>,
    /// What else stands on every invoice.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub note: Patch<String>,
    /// Taxes by the customer's country; the whole list.
    #[serde(default)]
    #[schema(value_type = Option<Vec<TaxRule>>)]
    pub taxes: Patch<Vec<TaxRule>>,
    /// When credit that is bought is taxed.
    #[serde(default)]
    #[schema(value_type = Option<CreditTaxed>)]
    pub credit_taxed: Patch<CreditTaxed>,
}

fn changed(before: BillingSettings, change: BillingSettingsPatch) -> BillingSettings {
    let default = BillingSettings::default();
    BillingSettings {
        seller: change.seller.or(before.seller, default.seller),
        series: change.series.or(before.series, default.series),
        credit_note_series: change.credit_note_series.or(before.credit_note_series, default.credit_note_series),
        due_days: change.due_days.or(before.due_days, default.due_days),
        issues_by_itself: change.issues_by_itself.or(before.issues_by_itself, default.issues_by_itself),
        sends_by_itself: change.sends_by_itself.or(before.sends_by_itself, default.sends_by_itself),
        mail_tenant_id: change.mail_tenant_id.onto(before.mail_tenant_id),
        payment: change.payment.or(before.payment, default.payment),
        note: change.note.onto(before.note),
        taxes: change.taxes.or(before.taxes, default.taxes),
        credit_taxed: change.credit_taxed.or(before.credit_taxed, default.credit_taxed),
    }
}

/// Shows how invoices are written. Needs an operator with the scope `invoices:read`.
#[crate::boxed]
pub async fn get(parts: &Parts, caller: &Caller) -> Result<BillingSettings, Error> {
    caller.need_operator("invoices:read")?;
    let read = parts.ports.db.read(Scope::System, |tx| Box::pin(BillingSettings::read(tx)));
    Ok(read.await?)
}

/// Changes how invoices are written. Needs an operator with the scope `invoices:write`.
#[crate::boxed]
pub async fn patch(parts: &Parts, caller: &Caller, change: BillingSettingsPatch) -> Result<BillingSettings, Error> {
    caller.need_operator("invoices:write")?;
    let now = parts.ports.clock.now();
    let (ids, by) = (Arc::clone(&parts.ports.ids), Caller { tenant: None, ..caller.clone() });
    let write = parts.ports.db.write(Scope::System, move |tx| {
        Box::pin(async move {
            // Two who change it at the same time wait for each other here.
            tenants::bump(tx, None).await?;
            let before = BillingSettings::read(tx).await?;
            let after = changed(before.clone(), change);
            let mut faults = Faults::default();
            after.check(&mut faults);
            // Where a digit ends the series, its numbers could be those of another: INV-1 and 000001, INV- and 1000001.
            for (pointer, was, is) in [
                ("/series", &before.series, &after.series),
                ("/credit_note_series", &before.credit_note_series, &after.credit_note_series),
            ] {
                if was != is && is.ends_with(|c: char| c.is_ascii_digit()) {
                    faults.add(
                        pointer,
                        "ends with a letter or one of -/._, so that its numbers are never those of another series",
                    );
                }
            }
            if let Some(tenant) = after.mail_tenant_id
                && tenants::find(tx, tenant).await?.is_none()
            {
                faults.add("/mail_tenant_id", "there is no such tenant");
            }
            faults.end()?;
            let json = |settings: &BillingSettings| serde_json::to_value(settings).map_err(Error::internal);
            let difference = audit::difference(&json(&before)?, &json(&after)?);
            rows::put_settings(tx, &json(&after)?.to_string(), now).await?;
            audit::record(tx, OPERATOR, &ids, now, &by, "billing_settings.updated", "billing_settings", &difference)
                .await?;
            Ok::<_, Error>(after)
        })
    });
    write.await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(country: Option<&str>, rate_ppm: i64) -> TaxRule {
        TaxRule { country: country.map(str::to_owned), name: "VAT".to_owned(), rate_ppm }
    }

    #[test]
    fn the_most_particular_tax_counts() {
        let settings =
            BillingSettings { taxes: vec![rule(None, 0), rule(Some("DE"), 190_000)], ..BillingSettings::default() };
        let rate = |customer: &Customer, country| settings.tax(customer, country).map(|tax| tax.rate_ppm);
        let usual = Customer::default();
        assert_eq!(
            (rate(&usual, Some("DE")), rate(&usual, Some("FR")), rate(&usual, None)),
            (Some(190_000), Some(0), Some(0))
        );
        let own = Customer { tax: Some(TaxRate { name: "VAT".to_owned(), rate_ppm: 70_000 }), ..Customer::default() };
        assert_eq!(rate(&own, Some("DE")), Some(70_000));
        assert_eq!(BillingSettings::default().tax(&usual, Some("DE")), None);
    }

    #[test]
    fn settings_of_an_earlier_tidings_leave_credit_untaxed() {
        let before: BillingSettings = serde_json::from_str(r#"{"series": "A-"}"#).unwrap();
        assert_eq!(before.credit_taxed, CreditTaxed::Never);
        let said: BillingSettingsPatch = serde_json::from_str(r#"{"credit_taxed": "at_purchase"}"#).unwrap();
        let after = changed(before, said);
        assert_eq!((after.credit_taxed, after.series.as_str()), (CreditTaxed::AtPurchase, "A-"));
    }

    #[test]
    fn what_is_wrong_with_settings_is_named() {
        let check = |settings: BillingSettings, expected: &[&str]| {
            let mut faults = Faults::default();
            settings.check(&mut faults);
            assert_eq!(faults.0.iter().map(|fault| fault.pointer.as_str()).collect::<Vec<_>>(), expected);
        };
        let usual = BillingSettings::default;
        check(usual(), &[]);
        check(BillingSettings { series: "a b".to_owned(), due_days: 400, ..usual() }, &["/series", "/due_days"]);
        check(BillingSettings { credit_note_series: "INV-".to_owned(), ..usual() }, &["/credit_note_series"]);
        let taxes = vec![rule(Some("Germany"), -1), rule(None, 1), rule(None, 1)];
        check(BillingSettings { taxes, ..usual() }, &["/taxes/0/country", "/taxes/0/rate_ppm", "/taxes/2/country"]);
        let seller = Seller { address: vec![String::new()], ..Seller::default() };
        check(BillingSettings { seller, ..usual() }, &["/seller/address/0"]);
    }
}
