//! The words, dates and figures of documents in eight languages. English where we have no others.

use jiff::civil::Date;

use super::figures::Marks;

/// A language documents are written in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Language {
    /// English.
    #[default]
    En,
    /// English with India's grouping of digits.
    EnIn,
    /// German.
    De,
    /// French.
    Fr,
    /// Spanish.
    Es,
    /// Portuguese.
    Pt,
    /// Russian.
    Ru,
    /// Hindi.
    Hi,
    /// Arabic, from right to left.
    Ar,
}

/// What a document calls its parts.
pub(super) struct Words {
    pub(super) invoice: &'static str,
    pub(super) credit_note: &'static str,
    pub(super) number: &'static str,
    pub(super) issued: &'static str,
    pub(super) due: &'static str,
    pub(super) period: &'static str,
    pub(super) seller: &'static str,
    pub(super) buyer: &'static str,
    pub(super) tax_id: &'static str,
    pub(super) description: &'static str,
    pub(super) quantity: &'static str,
    pub(super) unit_price: &'static str,
    pub(super) tax_rate: &'static str,
    pub(super) amount: &'static str,
    pub(super) net: &'static str,
    /// `{tax}` and `{base}` are filled in.
    pub(super) tax_line: &'static str,
    pub(super) total: &'static str,
    pub(super) paid: &'static str,
    pub(super) payable: &'static str,
    pub(super) payment: &'static str,
    pub(super) notes: &'static str,
    /// `{page}` and `{pages}` are filled in.
    pub(super) page: &'static str,
}

impl Language {
    /// The language of a tag such as `de-AT`; English for those we have no words for.
    pub fn of(tag: Option<&str>) -> Self {
        let tag = tag.unwrap_or_default().to_ascii_lowercase();
        let mut parts = tag.split(['-', '_']);
        match (parts.next(), parts.next_back()) {
            (Some("en"), Some("in")) => Self::EnIn,
            (Some("de"), _) => Self::De,
            (Some("fr"), _) => Self::Fr,
            (Some("es"), _) => Self::Es,
            (Some("pt"), _) => Self::Pt,
            (Some("ru"), _) => Self::Ru,
            (Some("hi"), _) => Self::Hi,
            (Some("ar"), _) => Self::Ar,
            _ => Self::En,
        }
    }

    /// Its tag.
    pub const fn tag(self) -> &'static str {
        match self {
            Self::En => "en",
            Self::EnIn => "en-IN",
            Self::De => "de",
            Self::Fr => "fr",
            Self::Es => "es",
            Self::Pt => "pt",
            Self::Ru => "ru",
            Self::Hi => "hi",
            Self::Ar => "ar",
        }
    }

    /// Whether pages run from right to left.
    pub const fn is_rtl(self) -> bool {
        matches!(self, Self::Ar)
    }

    pub(super) const fn marks(self) -> Marks {
        match self {
            Self::En | Self::Ar => Marks { decimal: '.', group: ',', is_lakh: false },
            Self::EnIn | Self::Hi => Marks { decimal: '.', group: ',', is_lakh: true },
            Self::De | Self::Es | Self::Pt => Marks { decimal: ',', group: '.', is_lakh: false },
            Self::Fr | Self::Ru => Marks { decimal: ',', group: '\u{202f}', is_lakh: false },
        }
    }

    /// Its word for an invoice.
    pub const fn invoice(self) -> &'static str {
        self.words().invoice
    }

    /// A date as it is written in this language.
    pub fn date(self, date: Date) -> String {
        const MONTHS: [&str; 12] = [
            "January",
            "February",
            "March",
            "April",
            "May",
            "June",
            "July",
            "August",
            "September",
            "October",
            "November",
            "December",
        ];
        let (year, month, day) = (date.year(), date.month(), date.day());
        match self {
            Self::En | Self::EnIn => {
                let name = MONTHS[usize::try_from(month - 1).expect("months are counted from one")];
                format!("{day} {name} {year}")
            }
            Self::De | Self::Ru => format!("{day:02}.{month:02}.{year}"),
            Self::Fr | Self::Es | Self::Pt | Self::Hi | Self::Ar => format!("{day:02}/{month:02}/{year}"),
        }
    }

    pub(super) const fn words(self) -> &'static Words {
        match self {
            Self::En | Self::EnIn => &EN,
            Self::De => &DE,
            Self::Fr => &FR,
            Self::Es => &ES,
            Self::Pt => &PT,
            Self::Ru => &RU,
            Self::Hi => &HI,
            Self::Ar => &AR,
        }
    }
}

const EN: Words = Words {
    invoice: "Invoice",
    credit_note: "Credit note",
    number: "Number",
    issued: "Date",
    due: "Due",
    period: "Period",
    seller: "From",
    buyer: "Billed to",
    tax_id: "Tax ID",
    description: "Description",
    quantity: "Quantity",
    unit_price: "Unit price",
    tax_rate: "Tax",
    amount: "Amount",
    net: "Net amount",
    tax_line: "{tax} on {base}",
    total: "Total",
    paid: "Already paid",
    payable: "Amount due",
    payment: "Payment",
    notes: "Notes",
    page: "Page {page} of {pages}",
};

const DE: Words = Words {
    invoice: "Rechnung",
    credit_note: "Gutschrift",
    number: "Nummer",
    issued: "Datum",
    due: "Zahlbar bis",
    period: "Zeitraum",
    seller: "Von",
    buyer: "An",
    tax_id: "USt-IdNr.",
    description: "Beschreibung",
    quantity: "Menge",
    unit_price: "Einzelpreis",
    tax_rate: "Steuer",
    amount: "Betrag",
    net: "Nettobetrag",
    tax_line: "{tax} auf {base}",
    total: "Gesamtbetrag",
    paid: "Bereits bezahlt",
    payable: "Zu zahlen",
    payment: "Zahlung",
    notes: "Hinweise",
    page: "Seite {page} von {pages}",
};

const FR: Words = Words {
    invoice: "Facture",
    credit_note: "Avoir",
    number: "Numéro",
    issued: "Date",
    due: "Échéance",
    period: "Période",
    seller: "De",
    buyer: "Facturé à",
    tax_id: "N° TVA",
    description: "Désignation",
    quantity: "Quantité",
    unit_price: "Prix unitaire",
    tax_rate: "Taxe",
    amount: "Montant",
    net: "Total HT",
    tax_line: "{tax} sur {base}",
    total: "Total TTC",
    paid: "Déjà réglé",
    payable: "Net à payer",
    payment: "Règlement",
    notes: "Remarques",
    page: "Page {page} sur {pages}",
};

const ES: Words = Words {
    invoice: "Factura",
    credit_note: "Factura rectificativa",
    number: "Número",
    issued: "Fecha",
    due: "Vencimiento",
    period: "Período",
    seller: "De",
    buyer: "Facturado a",
    tax_id: "NIF",
    description: "Descripción",
    quantity: "Cantidad",
    unit_price: "Precio unitario",
    tax_rate: "Impuesto",
    amount: "Importe",
    net: "Base imponible",
    tax_line: "{tax} sobre {base}",
    total: "Total",
    paid: "Ya pagado",
    payable: "Total a pagar",
    payment: "Pago",
    notes: "Notas",
    page: "Página {page} de {pages}",
};

const PT: Words = Words {
    invoice: "Fatura",
    credit_note: "Nota de crédito",
    number: "Número",
    issued: "Data",
    due: "Vencimento",
    period: "Período",
    seller: "De",
    buyer: "Faturado a",
    tax_id: "N.º fiscal",
    description: "Descrição",
    quantity: "Quantidade",
    unit_price: "Preço unitário",
    tax_rate: "Imposto",
    amount: "Valor",
    net: "Valor líquido",
    tax_line: "{tax} sobre {base}",
    total: "Total",
    paid: "Já pago",
    payable: "Total a pagar",
    payment: "Pagamento",
    notes: "Observações",
    page: "Página {page} de {pages}",
};

const RU: Words = Words {
    invoice: "Счёт",
    credit_note: "Кредит-нота",
    number: "Номер",
    issued: "Дата",
    due: "Оплатить до",
    period: "Период",
    seller: "Продавец",
    buyer: "Покупатель",
    tax_id: "ИНН",
    description: "Наименование",
    quantity: "Количество",
    unit_price: "Цена",
    tax_rate: "Налог",
    amount: "Сумма",
    net: "Сумма без налога",
    tax_line: "{tax} с {base}",
    total: "Итого",
    paid: "Оплачено",
    payable: "К оплате",
    payment: "Оплата",
    notes: "Примечания",
    page: "Страница {page} из {pages}",
};

const HI: Words = Words {
    invoice: "चालान",
    credit_note: "क्रेडिट नोट",
    number: "क्रमांक",
    issued: "दिनांक",
    due: "देय तिथि",
    period: "अवधि",
    seller: "विक्रेता",
    buyer: "ग्राहक",
    tax_id: "कर पहचान संख्या",
    description: "विवरण",
    quantity: "मात्रा",
    unit_price: "इकाई मूल्य",
    tax_rate: "कर",
    amount: "राशि",
    net: "शुद्ध राशि",
    tax_line: "{tax}, {base} पर",
    total: "कुल",
    paid: "भुगतान किया गया",
    payable: "देय राशि",
    payment: "भुगतान",
    notes: "टिप्पणी",
    page: "पृष्ठ {page} / {pages}",
};

const AR: Words = Words {
    invoice: "فاتورة",
    credit_note: "إشعار دائن",
    number: "الرقم",
    issued: "التاريخ",
    due: "تاريخ الاستحقاق",
    period: "الفترة",
    seller: "من",
    buyer: "إلى",
    tax_id: "الرقم الضريبي",
    description: "الوصف",
    quantity: "الكمية",
    unit_price: "سعر الوحدة",
    tax_rate: "الضريبة",
    amount: "المبلغ",
    net: "المبلغ الصافي",
    tax_line: "{tax} على {base}",
    total: "الإجمالي",
    paid: "المدفوع",
    payable: "المبلغ المستحق",
    payment: "الدفع",
    notes: "ملاحظات",
    page: "صفحة {page} من {pages}",
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_finds_its_language() {
        let check = |tag, expected| assert_eq!(Language::of(tag), expected, "{tag:?}");
        check(None, Language::En);
        check(Some("de-AT"), Language::De);
        check(Some("en-IN"), Language::EnIn);
        check(Some("en"), Language::En);
        check(Some("pt_BR"), Language::Pt);
        check(Some("ar-EG"), Language::Ar);
        check(Some("ja"), Language::En);
    }

    #[test]
    fn dates_are_written_as_in_the_language() {
        let date = jiff::civil::date(2026, 3, 9);
        let check = |language: Language, expected| assert_eq!(language.date(date), expected, "{language:?}");
        check(Language::En, "9 March 2026");
        check(Language::De, "09.03.2026");
        check(Language::Ar, "09/03/2026");
    }

    #[test]
    fn every_word_can_be_drawn() {
        let fonts = super::super::fonts::Fonts::load();
        for language in [
            Language::En,
            Language::De,
            Language::Fr,
            Language::Es,
            Language::Pt,
            Language::Ru,
            Language::Hi,
            Language::Ar,
        ] {
            let w = language.words();
            let all = [
                w.invoice,
                w.credit_note,
                w.number,
                w.issued,
                w.due,
                w.period,
                w.seller,
                w.buyer,
                w.tax_id,
                w.description,
                w.quantity,
                w.unit_price,
                w.tax_rate,
                w.amount,
                w.net,
                w.tax_line,
                w.total,
                w.paid,
                w.payable,
                w.payment,
                w.notes,
                w.page,
            ];
            assert_eq!(all.concat().chars().find(|c| !fonts.has(*c)), None, "{language:?}");
        }
    }
}
