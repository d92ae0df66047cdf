//! Credentials in memory: they cannot be printed or serialised by accident, and are wiped when dropped.

use std::fmt;

use zeroize::Zeroize;

/// A credential. Printing shows only that there is one; reading it takes an explicit [`Secret::reveal`].
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes the plain text.
    pub fn new(plain: impl Into<String>) -> Self {
        Self(plain.into())
    }

    /// The plain text, for building a request or checking a signature.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// What people may see: dots and the last four characters, or only dots when that would give away half of it.
    pub fn hint(&self) -> String {
        let total = self.0.chars().count();
        let tail: String = if total >= 12 { self.0.chars().skip(total - 4).collect() } else { String::new() };
        format!("••••{tail}")
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(••••)")
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_shows_four_characters_at_most() {
        assert_eq!(Secret::new("0123456789abcdef").hint(), "••••cdef");
        assert_eq!(Secret::new("hunter2").hint(), "••••");
        assert_eq!(format!("{:?}", Secret::new("hunter2")), "Secret(••••)");
    }
}
