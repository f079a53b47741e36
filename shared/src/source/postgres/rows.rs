//! Rows as the words of this system, and keys as the parameters of a statement.

use bytes::{Bytes, BytesMut};
use tokio_postgres::Row;
use tokio_postgres::types::FromSql;

use super::columns::{At, Raw};
use super::errors;
use crate::fault::{Fault, FaultKind};
use crate::fhir::{Resource, ResourceId, ResourceKey, ResourceType};
use crate::source::Stored;

/// How many keys one statement is asked about: enough to make the round trip cheap, few enough to keep its answer small.
pub(super) const KEYS_A_STATEMENT: usize = 1_000;

/// The bytes of bodies with which a page ends, whatever its limit: a photograph in each Patient must not fill a worker.
pub(super) const PAGE_BYTES: i64 = 16 << 20;

/// Keys as the two arrays that a statement takes.
pub(super) fn columns<'a>(keys: impl IntoIterator<Item = &'a ResourceKey>) -> (Vec<&'a str>, Vec<&'a str>) {
    keys.into_iter().map(|key| (key.resource_type.name(), key.id.as_str())).unzip()
}

/// The id behind which a page begins. No id is empty, so the empty text is before the first.
pub(super) fn behind(after: Option<&ResourceId>) -> &str {
    after.map_or("", ResourceId::as_str)
}

/// The key that a row speaks of by its number, from 1, in the arrays: shorter than sending the key back.
pub(super) fn numbered<'a, K>(doing: &str, keys: &'a [K], row: &Row) -> Result<&'a K, Fault> {
    let number: i64 = read(doing, row, 0)?;
    let at = usize::try_from(number).ok().and_then(|number| number.checked_sub(1));
    at.and_then(|at| keys.get(at)).ok_or_else(|| corrupt(doing, "an answer has no question"))
}

/// One column of a row.
pub(super) fn read<'a, T: FromSql<'a>>(doing: &str, row: &'a Row, column: usize) -> Result<T, Fault> {
    row.try_get(column).map_err(|error| errors::fault(doing, &error))
}

/// A column of text that is a type or an id.
pub(super) fn parsed<T: std::str::FromStr>(doing: &str, row: &Row, column: usize) -> Result<T, Fault> {
    read::<&str>(doing, row, column)?.parse().map_err(|_| corrupt(doing, "a type or an id is not legal"))
}

/// A column of a whole number that is not negative.
pub(super) fn unsigned(doing: &str, row: &Row, column: usize) -> Result<u64, Fault> {
    u64::try_from(read::<i64>(doing, row, column)?).map_err(|_| corrupt(doing, "a count is negative"))
}

/// A column of text of all rows of a page; `None` where it is NULL. The texts are copied into one piece of memory that they
/// share until the last of them goes, because to allocate for each costs more than the copy.
pub(super) fn texts(doing: &str, rows: &[Row], column: usize) -> Result<Vec<Option<Bytes>>, Fault> {
    let raw = rows.iter().map(|row| read::<Option<Raw<'_>>>(doing, row, column)).collect::<Result<Vec<_>, Fault>>()?;
    let mut page = BytesMut::with_capacity(raw.iter().flatten().map(|text| text.0.len()).sum());
    let copied = raw.into_iter().map(|text| {
        page.extend_from_slice(text?.0);
        Some(page.split().freeze())
    });
    Ok(copied.collect())
}

/// A text that a table does not let be NULL.
pub(super) fn not_null(doing: &str, text: Option<Bytes>) -> Result<Bytes, Fault> {
    text.ok_or_else(|| corrupt(doing, "a text is missing"))
}

/// The resource of a row that has `last_updated` in a column.
pub(super) fn stored(doing: &str, key: ResourceKey, row: &Row, column: usize, body: Bytes) -> Result<Stored, Fault> {
    Ok(Stored { resource: Resource { key, body }, last_updated: read::<At>(doing, row, column)?.0 })
}

/// The key of a resource of a type, whose id is in a column.
pub(super) fn key_of(doing: &str, resource_type: ResourceType, row: &Row, column: usize) -> Result<ResourceKey, Fault> {
    Ok(ResourceKey::new(resource_type, parsed(doing, row, column)?))
}

/// What the database holds cannot be read.
pub(super) fn corrupt(doing: &str, why: &str) -> Fault {
    Fault::new(FaultKind::Corrupt, doing).because(why)
}
