//! Tables as CSV (RFC 4180), safe to open in a spreadsheet.

/// A table under construction.
#[derive(Debug, Default)]
pub struct Csv(String);

impl Csv {
    /// A table with this first row.
    pub fn with_header(names: &[&str]) -> Self {
        let mut csv = Self::default();
        csv.row(names.iter().copied());
        csv
    }

    /// Adds a row. A cell that a spreadsheet would take for a formula gets an apostrophe in front: what people wrote into a name must not
    /// run on the machine of whoever opens the export.
    pub fn row<'a>(&mut self, cells: impl IntoIterator<Item = &'a str>) {
        for (index, cell) in cells.into_iter().enumerate() {
            if index > 0 {
                self.0.push(',');
            }
            self.cell(cell);
        }
        self.0.push_str("\r\n");
    }

    fn cell(&mut self, cell: &str) {
        let is_formula = cell.starts_with(['=', '+', '-', '@', '\t', '\r']) && !is_number(cell);
        let needs_quotes = cell.contains(['"', ',', '\r', '\n']);
        if needs_quotes {
            self.0.push('"');
        }
        if is_formula {
            self.0.push('\'');
        }
        if needs_quotes {
            self.0.push_str(&cell.replace('"', "\"\""));
            self.0.push('"');
        } else {
            self.0.push_str(cell);
        }
    }

    /// The finished table, in UTF-8.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0.into_bytes()
    }
}

/// True for an amount below zero, which calculates nothing and is to stay a number.
fn is_number(cell: &str) -> bool {
    let digits = cell.strip_prefix('-').unwrap_or(cell);
    let (whole, part) = digits.split_once('.').unwrap_or((digits, "0"));
    [whole, part].iter().all(|digits| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()))
}

/// Counts lines as an editor does: the reader's own count stands before the end of the line above, where lines end with CR and LF.
pub(crate) struct Lines<'a> {
    text: &'a str,
    at: usize,
    line: u64,
}

impl<'a> Lines<'a> {
    pub(crate) const fn of(text: &'a str) -> Self {
        Self { text, at: 0, line: 1 }
    }

    /// The line of what stands at or after this byte; asked in rising order.
    pub(crate) fn at(&mut self, byte: usize) -> u64 {
        let bytes = self.text.as_bytes();
        let begins =
            bytes[byte..].iter().position(|b| !matches!(b, b'\r' | b'\n')).map_or(bytes.len(), |skip| byte + skip);
        self.line += bytes[self.at..begins].iter().filter(|b| **b == b'\n').count() as u64;
        self.at = begins;
        self.line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_quoted_and_formulas_disarmed() {
        let check = |cell: &str, expected: &str| {
            let mut csv = Csv::default();
            csv.row([cell]);
            assert_eq!(String::from_utf8(csv.into_bytes()).unwrap(), format!("{expected}\r\n"), "{cell:?}");
        };
        check("plain", "plain");
        check("", "");
        check("a,b", "\"a,b\"");
        check("say \"hi\"\n", "\"say \"\"hi\"\"\n\"");
        check("=1+1", "'=1+1");
        check("=HYPERLINK(\"x\",\"y\")", "\"'=HYPERLINK(\"\"x\"\",\"\"y\"\")\"");
        check("+15550100001", "'+15550100001");
        check("-1", "-1");
        check("-0.0075", "-0.0075");
        check("--1", "'--1");
        check("-1+2", "'-1+2");
        check("-1.", "'-1.");
        check("-", "'-");
        check("@SUM(A1)", "'@SUM(A1)");
        check("\tx", "'\tx");
        check("\rx", "\"'\rx\"");
    }
}
