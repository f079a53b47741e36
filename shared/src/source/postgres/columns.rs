//! Values of columns as the words of this system.

use std::error::Error;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, accepts, to_sql_checked};

use crate::fhir::Instant;

/// An [`Instant`] as a `timestamptz`: both count microseconds, from 1970 and from 2000.
#[derive(Clone, Copy, Debug)]
pub(super) struct At(pub Instant);

const MICROS_FROM_1970_TO_2000: i64 = 946_684_800_000_000;

impl ToSql for At {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        out.put_i64(self.0.unix_micros().saturating_sub(MICROS_FROM_1970_TO_2000));
        Ok(IsNull::No)
    }

    accepts!(TIMESTAMPTZ);
    to_sql_checked!();
}

impl FromSql<'_> for At {
    fn from_sql(_: &Type, mut raw: &[u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        if raw.len() != 8 {
            return Err("a timestamp has eight bytes".into());
        }
        Ok(Self(Instant::from_unix_micros(raw.get_i64().saturating_add(MICROS_FROM_1970_TO_2000))))
    }

    accepts!(TIMESTAMPTZ);
}

/// A `text` as the bytes of its row.
#[derive(Clone, Copy, Debug)]
pub(super) struct Raw<'a>(pub &'a [u8]);

impl<'a> FromSql<'a> for Raw<'a> {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self(raw))
    }

    accepts!(TEXT);
}

/// A `text` as bytes of its own: a copy out of its row.
#[derive(Debug)]
pub(super) struct Text(pub Bytes);

impl FromSql<'_> for Text {
    fn from_sql(_: &Type, raw: &[u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self(Bytes::copy_from_slice(raw)))
    }

    accepts!(TEXT);
}
