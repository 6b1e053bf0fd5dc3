//! Pages of a list: at most `limit` items, and an opaque cursor to the next ones. A page costs the same however deep it
//! lies.

use std::str::FromStr;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::Serialize;
use utoipa::ToSchema;

use crate::problem::{Kind, Problem};

/// Items of a page when the caller does not say.
const DEFAULT: u32 = 50;
/// Items of a page at most.
const MOST: u32 = 200;

/// A page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Page<T> {
    /// The items of this page.
    pub(crate) items: Vec<T>,
    /// Give it as `cursor` to get the next page; null on the last one.
    pub(crate) next_cursor: Option<String>,
}

/// What part of a list is wanted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted<T> {
    list: &'static str,
    limit: u32,
    /// The last item of the page before.
    pub(crate) after: Option<T>,
}

impl<T: FromStr> Wanted<T> {
    /// Reads `limit` and `cursor`; a cursor of another list is refused.
    pub(crate) fn new(list: &'static str, limit: Option<u32>, cursor: Option<&str>) -> Result<Self, Problem> {
        let limit = limit.unwrap_or(DEFAULT);
        if !(1..=MOST).contains(&limit) {
            return Err(Problem::invalid("limit", format!("`limit` cannot be {limit}"), "give 1 to 200"));
        }
        let after = cursor.map(|cursor| decoded(list, cursor).ok_or_else(unreadable)).transpose()?;
        Ok(Self { list, limit, after })
    }
}

impl<T> Wanted<T> {
    /// One more than fits the page: whether it comes tells whether there is a next page.
    pub(crate) fn limit(&self) -> i64 {
        i64::from(self.limit) + 1
    }

    /// Makes the page out of what was asked for with [`Self::limit`].
    pub(crate) fn page<R, S>(
        &self,
        mut rows: Vec<R>,
        key: impl Fn(&R) -> String,
        shape: impl Fn(R) -> S,
    ) -> Page<S> {
        let limit = self.limit as usize;
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next_cursor = rows
            .last()
            .filter(|_| more)
            .map(|last| BASE64_URL_SAFE_NO_PAD.encode(format!("{} {}", self.list, key(last))));
        Page { items: rows.into_iter().map(shape).collect(), next_cursor }
    }
}

fn decoded<T: FromStr>(list: &str, cursor: &str) -> Option<T> {
    let text = String::from_utf8(BASE64_URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()?;
    text.strip_prefix(list)?.strip_prefix(' ')?.parse().ok()
}

fn unreadable() -> Problem {
    Problem::new(
        Kind::Unreadable,
        "the cursor was not given by this list",
        "give `next_cursor` of the page before, unchanged, or leave it out for the first page",
    )
    .about("cursor")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_leads_to_the_item_after_and_to_no_other_list() {
        let first = Wanted::<u32>::new("numbers", Some(2), None).unwrap();
        let page = first.page(vec![1, 2, 3], u32::to_string, |number| number);
        assert_eq!(page.items, [1, 2]);
        let cursor = page.next_cursor.unwrap();
        assert_eq!(Wanted::<u32>::new("numbers", None, Some(&cursor)).unwrap().after, Some(2));
        assert!(Wanted::<u32>::new("letters", None, Some(&cursor)).is_err());
        let last = first.page(vec![1, 2], u32::to_string, |number| number);
        assert!(last.next_cursor.is_none(), "a full page that is the last one");
    }

    #[test]
    fn a_limit_outside_of_one_to_two_hundred_is_refused() {
        for limit in [0, 201] {
            assert!(Wanted::<u32>::new("numbers", Some(limit), None).is_err());
        }
    }
}
