//! Lists in pages: newest first, stable while rows are added, with a cursor nobody needs to understand.
//!
//! A cursor is the last row's id with a checksum over it and the list's name. It opens nothing (every list is filtered by tenant anyway); the checksum
//! answers a cursor that was cut, edited or taken from another list with a clear refusal instead of a strange page.

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use model::Ulid;
use serde::Serialize;
use utoipa::ToSchema;

use crate::{Error, ErrorKind};

/// Rows of a page when the request does not say.
pub const LIMIT_DEFAULT: u32 = 50;
/// Most rows of a page: what a client can show or work through before it asks again.
pub const LIMIT_MAX: u32 = 500;
/// Bytes of checksum in a cursor: enough to notice any accident.
const CHECKSUM_LEN: usize = 8;

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Page<T> {
    /// The rows, newest first unless said.
    pub data: Vec<T>,
    /// Give this as `cursor` to get the next page; `null` at the end.
    pub next_cursor: Option<String>,
}

/// Which page was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// The list's name, which its cursors are bound to.
    list: &'static str,
    /// Only rows before this id; the highest id for the first page.
    pub before: Ulid,
    /// Rows of the page.
    pub limit: u32,
}

impl Window {
    /// Reads `?limit=` and `?cursor=`.
    pub fn read(list: &'static str, limit: Option<u32>, cursor: Option<&str>) -> Result<Self, Error> {
        let limit = limit.unwrap_or(LIMIT_DEFAULT);
        if !(1..=LIMIT_MAX).contains(&limit) {
            return Err(Error::new(
                ErrorKind::Malformed,
                "invalid_limit",
                format!("`limit` is a number from 1 to {LIMIT_MAX}; this one is {limit}."),
            ));
        }
        let before = cursor.map_or(Ok(Ulid::MAX), |text| read_cursor(list, text))?;
        Ok(Self { list, before, limit })
    }

    /// How many rows to read: one more than the page has, to learn whether there are more.
    pub fn rows(&self) -> i64 {
        i64::from(self.limit) + 1
    }

    /// Cuts the rows that were read (at most [`Window::rows`]) to a page.
    pub fn page<R, T>(&self, mut rows: Vec<R>, id: impl Fn(&R) -> Ulid, view: impl FnMut(R) -> T) -> Page<T> {
        let has_more = rows.len() > self.limit as usize;
        rows.truncate(self.limit as usize);
        let next_cursor = rows.last().filter(|_| has_more).map(|last| write_cursor(self.list, id(last)));
        Page { data: rows.into_iter().map(view).collect(), next_cursor }
    }
}

/// The cursor behind a row.
pub fn write_cursor(list: &'static str, id: Ulid) -> String {
    URL_SAFE_NO_PAD.encode([id.to_be_bytes().as_slice(), &checksum(list, id)].concat())
}

/// Reads a cursor of this list; anything else is `invalid_cursor`.
pub fn read_cursor(list: &'static str, text: &str) -> Result<Ulid, Error> {
    let refused = || {
        Error::new(
            ErrorKind::Malformed,
            "invalid_cursor",
            "`cursor` is not one this list gave out. Use `next_cursor` of the page before, unchanged, or leave it out to begin anew.",
        )
    };
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| refused())?;
    let (id, sum) = bytes.split_at_checked(16).ok_or_else(refused)?;
    let id = Ulid::from_be_bytes(id.try_into().map_err(|_| refused())?);
    if sum == checksum(list, id) { Ok(id) } else { Err(refused()) }
}

fn checksum(list: &str, id: Ulid) -> [u8; CHECKSUM_LEN] {
    let text = [b"tidings cursor 1:".as_slice(), &id.to_be_bytes(), list.as_bytes()].concat();
    let hash = digest(&SHA256, &text);
    std::array::from_fn(|index| hash.as_ref()[index])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_end_and_cursors_lead_on() {
        let window = Window::read("things", Some(2), None).unwrap();
        let page = window.page(vec![9, 7, 5], |row| *row, |row| row);
        assert_eq!(page.data, [9, 7]);
        let next = Window::read("things", Some(2), page.next_cursor.as_deref()).unwrap();
        assert_eq!(next.before, 7);
        assert_eq!(next.page(vec![5, 3], |row| *row, |row| row), Page { data: vec![5, 3], next_cursor: None });
    }

    #[test]
    fn a_cursor_that_was_touched_is_refused() {
        let cursor = write_cursor("things", 7 << 70);
        let refused = |text: &str| read_cursor("things", text).unwrap_err().code;
        assert_eq!(read_cursor("things", &cursor), Ok(7 << 70));
        for index in 0..cursor.len() {
            let mut text = cursor.clone().into_bytes();
            text[index] = if text[index] == b'A' { b'B' } else { b'A' };
            assert_eq!(refused(std::str::from_utf8(&text).unwrap()), "invalid_cursor");
        }
        for text in ["", "x", "%%%", &cursor[1..], &format!("{cursor}AAAA"), &write_cursor("others", 7 << 70)] {
            assert_eq!(refused(text), "invalid_cursor");
        }
    }

    #[test]
    fn limits_have_bounds() {
        let limit = |given| Window::read("things", given, None).map(|window| window.limit).map_err(|error| error.code);
        assert_eq!(limit(None), Ok(50));
        assert_eq!(limit(Some(500)), Ok(500));
        assert_eq!(limit(Some(0)), Err("invalid_limit"));
        assert_eq!(limit(Some(501)), Err("invalid_limit"));
    }
}
