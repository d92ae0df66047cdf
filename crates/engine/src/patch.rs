//! JSON Merge Patch (RFC 7396), field by field: left out keeps, `null` removes, anything else sets.

use serde::{Deserialize, Deserializer};

use crate::FieldError;

/// What a PATCH says about one field. Declare it with `#[serde(default)]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Patch<T> {
    /// The field was left out.
    #[default]
    Keep,
    /// The field was `null`.
    Clear,
    /// The field had a value.
    Set(T),
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Patch<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Option::deserialize(deserializer)?.map_or(Self::Clear, Self::Set))
    }
}

impl<T> Patch<T> {
    /// The field's value after the patch, where it may be absent.
    pub fn onto(self, before: Option<T>) -> Option<T> {
        match self {
            Self::Keep => before,
            Self::Clear => None,
            Self::Set(value) => Some(value),
        }
    }

    /// The field's value after the patch, where `null` brings back a default.
    pub fn or(self, before: T, default: T) -> T {
        match self {
            Self::Keep => before,
            Self::Clear => default,
            Self::Set(value) => value,
        }
    }

    /// The field's value after the patch, where there must be one; `null` is added to `bad`.
    pub fn required(self, before: T, pointer: &str, bad: &mut Vec<FieldError>) -> T {
        match self {
            Self::Keep => before,
            Self::Set(value) => value,
            Self::Clear => {
                bad.push(FieldError::new(pointer, "this field cannot be removed; give a value or leave it out"));
                before
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct Sample {
        #[serde(default)]
        name: Patch<String>,
    }

    #[test]
    fn left_out_null_and_value_are_three_things() {
        let check = |json: &str, expected: Patch<String>| {
            assert_eq!(serde_json::from_str::<Sample>(json).unwrap().name, expected);
        };
        check("{}", Patch::Keep);
        check(r#"{"name": null}"#, Patch::Clear);
        check(r#"{"name": "a"}"#, Patch::Set("a".into()));
    }
}
