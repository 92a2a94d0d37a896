//! Lists in pages: `limit`, opaque cursors, `{data, next_cursor}`. Never offsets.
//!
//! A page is bounded in bytes as well as in elements, whatever the list: [`Filled`] is the one place that knows both.
//!
//! A cursor holds the filters that its list was asked with, so that `?cursor=` alone goes on with the same
//! list. It is no credential: what it leads to is authorised again. Its tag only keeps clients from making
//! cursors of their own, which would turn its inside into a contract.

use std::collections::VecDeque;
use std::io;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;
use utoipa::{IntoParams, ToSchema};

use crate::event::Version;
use crate::http::problem::Problem;
use crate::http::query::RawQuery;

/// The longest page.
pub const LONGEST_PAGE: usize = 200;
/// The length of a page that nobody chose.
pub const DEFAULT_PAGE: usize = 50;
/// The most bytes of elements on a page; at least one element is on each. Two hundred values of 64 KiB would be an
/// answer of 13 MiB, which a client that does not read makes the server hold.
pub const PAGE_MAX_BYTES: usize = 1024 * 1024;

/// The first byte of every cursor: the number of its form.
const FORM: u8 = 1;
/// The length of a cursor's tag in bytes, half of SHA-256.
const TAG: usize = 16;
/// A longer text is no cursor of ours: the header of a request is bounded.
const LONGEST_CURSOR: usize = 16 * 1024;

/// One page of a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Page<T> {
    /// The page's elements, in the list's order.
    pub data: Vec<T>,
    /// Where the next page begins; null on the last one.
    #[schema(required)]
    pub next_cursor: Option<String>,
}

/// The parameters of every list, for the OpenAPI document. [`Cursors::request`] reads them.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PageParameters {
    /// How many elements a page has at most.
    #[param(minimum = 1, maximum = 200, default = 50)]
    pub limit: Option<u16>,
    /// The `next_cursor` of the page before. It holds the filters: send it alone, or with the same ones.
    pub cursor: Option<String>,
}

/// Where a page ends and the next one begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct After {
    /// The last element's id, or whatever the list goes on from.
    pub last: String,
    /// The version that the whole list is pinned to, where it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<Version>,
}

#[derive(Serialize, Deserialize)]
struct Inside {
    epoch: String,
    list: String,
    filters: String,
    after: After,
}

/// A request for one page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageRequest {
    /// At most so many elements: 1 to 200.
    pub limit: usize,
    /// Where the page before ended; none for the first page.
    pub after: Option<After>,
    /// The other parameters: those of the cursor, where there is one.
    pub filters: RawQuery,
}

/// Makes and reads cursors.
#[derive(Clone)]
pub struct Cursors {
    key: [u8; 32],
    epoch: String,
}

impl Cursors {
    /// Cursors of an epoch, under a key that should outlive a restart (else old cursors become invalid).
    pub fn new(key: [u8; 32], epoch: impl Into<String>) -> Self {
        Self { key, epoch: epoch.into() }
    }

    /// Reads `limit` and `cursor`, and gives the rest of the query as the filters.
    ///
    /// `list` names the list, such as `environments`; `scope` whose it is, such as the organization's id:
    /// a cursor of another list or scope is invalid.
    ///
    /// # Errors
    /// 422 for `limit` and `cursor` (`invalid_cursor`); 410 `cursor_expired` for one of another epoch.
    pub fn request(&self, scope: &str, list: &str, query: &RawQuery) -> Result<PageRequest, Problem> {
        let (own, filters) = query.split(&["limit", "cursor"]);
        let own: Own = own.parse()?;
        let limit = match own.limit {
            None => DEFAULT_PAGE,
            Some(limit) => Some(usize::from(limit))
                .filter(|limit| (1..=LONGEST_PAGE).contains(limit))
                .ok_or_else(|| Problem::invalid_parameter("limit", "invalid", "expected 1 to 200"))?,
        };
        let Some(text) = own.cursor else {
            return Ok(PageRequest { limit, after: None, filters });
        };
        let inside = self.open(scope, &text)?;
        if inside.list != list || (!filters.as_str().is_empty() && filters.as_str() != inside.filters) {
            return Err(invalid_cursor());
        }
        Ok(PageRequest { limit, after: Some(inside.after), filters: RawQuery::new(inside.filters) })
    }

    /// The cursor of the page behind `after`, of the list that `request` asked for.
    pub fn next(&self, scope: &str, list: &str, request: &PageRequest, after: After) -> String {
        let inside = Inside {
            epoch: self.epoch.clone(),
            list: list.to_owned(),
            filters: request.filters.as_str().to_owned(),
            after,
        };
        let json = serde_json::to_vec(&inside).expect("a cursor has only strings and integers");
        let mut bytes = vec![FORM];
        bytes.extend_from_slice(&self.tag(scope, &json));
        bytes.extend_from_slice(&json);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// The page of what was found: as much as fits, taken only as far as that. The next page begins after the last
    /// element that is shown.
    pub fn page<T: Serialize>(
        &self,
        scope: &str,
        list: &str,
        request: &PageRequest,
        found: impl IntoIterator<Item = T>,
        after: impl FnOnce(&T) -> After,
    ) -> Page<T> {
        self.filled(scope, list, request, Filled::with(request.limit, found), after)
    }

    /// As [`Cursors::page`], of a page that is filled already.
    pub fn filled<T>(
        &self,
        scope: &str,
        list: &str,
        request: &PageRequest,
        filled: Filled<T>,
        after: impl FnOnce(&T) -> After,
    ) -> Page<T> {
        let (data, more) = filled.finish();
        let last = if more { data.last() } else { None };
        let next_cursor = last.map(|last| self.next(scope, list, request, after(last)));
        Page { data, next_cursor }
    }

    fn open(&self, scope: &str, text: &str) -> Result<Inside, Problem> {
        if text.len() > LONGEST_CURSOR {
            return Err(invalid_cursor());
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| invalid_cursor())?;
        let (form, rest) = bytes.split_first().ok_or_else(invalid_cursor)?;
        let (tag, json) = rest.split_at_checked(TAG).ok_or_else(invalid_cursor)?;
        if *form != FORM || !bool::from(tag.ct_eq(&self.tag(scope, json))) {
            return Err(invalid_cursor());
        }
        let inside: Inside = serde_json::from_slice(json).map_err(|_| invalid_cursor())?;
        if inside.epoch == self.epoch { Ok(inside) } else { Err(Problem::cursor_expired()) }
    }

    fn tag(&self, scope: &str, json: &[u8]) -> [u8; TAG] {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).expect("HMAC takes a key of any length");
        mac.update(b"settled cursor\0");
        mac.update(scope.as_bytes());
        mac.update(&[0]);
        mac.update(json);
        let full = mac.finalize().into_bytes();
        let mut tag = [0; TAG];
        tag.copy_from_slice(&full[..TAG]);
        tag
    }
}

/// A page being filled: at most so many elements, and at most [`PAGE_MAX_BYTES`] of them as JSON, but always one.
#[derive(Debug)]
pub struct Filled<T> {
    limit: usize,
    elements: VecDeque<(usize, T)>,
    bytes: usize,
    more: bool,
}

impl<T: Serialize> Filled<T> {
    /// A page of the first elements of a list, which is read only until one more does not fit.
    pub fn with(limit: usize, list: impl IntoIterator<Item = T>) -> Self {
        let mut filled = Self::new(limit);
        for element in list {
            if !filled.push(json_bytes(&element), element) {
                break;
            }
        }
        filled
    }
}

impl<T> Filled<T> {
    /// An empty page of at most so many elements.
    pub fn new(limit: usize) -> Self {
        Self { limit, elements: VecDeque::new(), bytes: 0, more: false }
    }

    /// Adds the list's next element, of so many bytes, if it fits; once one did not, the page is full.
    pub fn push(&mut self, bytes: usize, element: T) -> bool {
        if self.more || self.is_passed_by(self.elements.len() + 1, self.bytes + bytes) {
            self.more = true;
            return false;
        }
        self.bytes += bytes;
        self.elements.push_back((bytes, element));
        true
    }

    /// Adds the element before those that are there, for a list that is found from its end: what does not fit behind
    /// it any more is left to the next page.
    pub fn push_front(&mut self, bytes: usize, element: T) {
        self.bytes += bytes;
        self.elements.push_front((bytes, element));
        while self.is_passed_by(self.elements.len(), self.bytes) {
            let Some((bytes, _)) = self.elements.pop_back() else { break };
            self.bytes -= bytes;
            self.more = true;
        }
    }

    /// The elements in the list's order, and whether there are more behind them.
    pub fn finish(self) -> (Vec<T>, bool) {
        (self.elements.into_iter().map(|(_, element)| element).collect(), self.more)
    }

    fn is_passed_by(&self, elements: usize, bytes: usize) -> bool {
        elements > 1 && (elements > self.limit || bytes > PAGE_MAX_BYTES)
    }
}

/// How many bytes a value is as JSON, without making them.
pub fn json_bytes<T: Serialize + ?Sized>(value: &T) -> usize {
    struct Counted(usize);

    impl io::Write for Counted {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    let mut counted = Counted(0);
    // What cannot be written as JSON is no answer either: the handler's own attempt says so.
    let _written = serde_json::to_writer(&mut counted, value);
    counted.0
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Own {
    limit: Option<u16>,
    cursor: Option<String>,
}

/// 422 for a cursor that leads nowhere.
pub fn invalid_cursor() -> Problem {
    Problem::invalid_parameter("cursor", "invalid_cursor", "not a cursor of this list; begin the list again")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cursors() -> Cursors {
        Cursors::new([7; 32], "0")
    }

    fn request(query: &str) -> Result<PageRequest, (u16, String)> {
        cursors().request("org_1", "audit", &RawQuery::new(query)).map_err(|problem| {
            let code =
                problem.errors().first().map_or(problem.code().to_owned(), |error| error.code.to_string());
            (problem.status().as_u16(), code)
        })
    }

    fn after(last: &str) -> After {
        After { last: last.into(), version: Some(9) }
    }

    fn cursor_of(query: &str) -> String {
        cursors().next("org_1", "audit", &request(query).expect("valid"), after("evt_1"))
    }

    #[test]
    fn limits_are_bounded() {
        assert_eq!(request("").map(|page| page.limit), Ok(50));
        assert_eq!(request("limit=200").map(|page| page.limit), Ok(200));
        for bad in ["limit=0", "limit=201"] {
            assert_eq!(request(bad), Err((422, "invalid".into())), "{bad}");
        }
        assert_eq!(request("limit=a"), Err((422, "wrong_type".into())));
        assert_eq!(request("limit=1&limit=2"), Err((422, "duplicate_parameter".into())));
    }

    #[test]
    fn a_cursor_alone_goes_on_with_the_same_list() {
        let cursor = cursor_of("action=a&limit=2&user=b");
        let page = request(&format!("cursor={cursor}&limit=3")).expect("valid");
        assert_eq!(
            page,
            PageRequest { limit: 3, after: Some(after("evt_1")), filters: RawQuery::new("action=a&user=b") }
        );
        assert_eq!(
            request(&format!("action=a&user=b&cursor={cursor}")).map(|page| page.after),
            Ok(Some(after("evt_1")))
        );
    }

    #[test]
    fn a_cursor_with_other_filters_of_another_list_or_scope_is_invalid() {
        let cursor = cursor_of("action=a");
        let query = RawQuery::new(format!("cursor={cursor}"));
        assert_eq!(request(&format!("cursor={cursor}&action=b")), Err((422, "invalid_cursor".into())));
        assert!(cursors().request("org_1", "events", &query).is_err());
        assert!(cursors().request("org_2", "audit", &query).is_err());
        assert!(Cursors::new([8; 32], "0").request("org_1", "audit", &query).is_err());
    }

    #[test]
    fn any_changed_character_makes_it_invalid() {
        let cursor = cursor_of("action=a");
        for at in 0..cursor.len() {
            let mut changed = cursor.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).expect("ASCII");
            assert_eq!(request(&format!("cursor={changed}")), Err((422, "invalid_cursor".into())), "{at}");
        }
        assert_eq!(request("cursor="), Err((422, "invalid_cursor".into())));
    }

    #[test]
    fn a_cursor_of_another_epoch_has_expired() {
        let query = RawQuery::new(format!("cursor={}", cursor_of("")));
        let problem = Cursors::new([7; 32], "x1").request("org_1", "audit", &query).expect_err("expired");
        assert_eq!((problem.status().as_u16(), problem.code()), (410, "cursor_expired"));
    }

    #[test]
    fn only_a_page_with_more_behind_it_has_a_cursor() {
        let page = |found: Vec<u8>| {
            let request = request("limit=2").expect("valid");
            cursors().page("org_1", "audit", &request, found, |last| after(&last.to_string()))
        };
        assert_eq!(page(vec![1, 2]), Page { data: vec![1, 2], next_cursor: None });
        let first = page(vec![1, 2, 3]);
        assert_eq!(first.data, [1, 2]);
        let cursor = first.next_cursor.expect("a cursor");
        assert_eq!(request(&format!("cursor={cursor}")).map(|page| page.after), Ok(Some(after("2"))));
    }

    #[test]
    fn a_page_ends_before_it_passes_its_bytes_from_either_end_of_the_list() {
        // As JSON each has two quotes around it.
        let of = |bytes: usize| "x".repeat(bytes - 2);
        let half = PAGE_MAX_BYTES / 2;
        for (sizes, shown) in [
            (vec![half, half], 2),
            (vec![half, half + 1], 1),
            (vec![half, half - 3, 3, 3], 3),
            (vec![PAGE_MAX_BYTES + 1, 3], 1),
            (vec![3, PAGE_MAX_BYTES + 1], 1),
            (vec![PAGE_MAX_BYTES + 1], 1),
            (vec![3; 9], 5),
            (vec![], 0),
        ] {
            let list: Vec<String> = sizes.iter().map(|bytes| of(*bytes)).collect();
            let (data, more) = Filled::with(5, list.clone()).finish();
            assert_eq!((&data[..], more), (&list[..shown], shown < list.len()), "{sizes:?}");
            let mut backwards = Filled::new(5);
            for element in list.iter().rev() {
                backwards.push_front(json_bytes(element), element.clone());
            }
            assert_eq!(backwards.finish(), (data, more), "{sizes:?}");
        }
    }

    #[test]
    fn a_list_is_read_no_further_than_its_page() {
        let mut read = 0;
        let list = std::iter::repeat_with(|| {
            read += 1;
            "x".repeat(60_000)
        });
        assert_eq!(Filled::with(200, list).finish().0.len(), 17);
        assert_eq!(read, 18);
    }
}
