//! Reading rows: values stored by name become the model's enums, and a name that the model does not know is an error.

use std::error::Error as StdError;
use std::str::FromStr;

use tokio_postgres::Row;
use tokio_postgres::types::{FromSql, Type};

use crate::{Error, Result};

struct Named<T>(T);

impl<'a, T> FromSql<'a> for Named<T>
where
    T: FromStr<Err = model::UnknownName>,
{
    fn from_sql(kind: &Type, raw: &'a [u8]) -> std::result::Result<Self, Box<dyn StdError + Sync + Send>> {
        Ok(Self(<&str as FromSql>::from_sql(kind, raw)?.parse()?))
    }

    fn accepts(kind: &Type) -> bool {
        <&str as FromSql>::accepts(kind)
    }
}

/// A value that is stored by its name.
pub(crate) fn named<T: FromStr<Err = model::UnknownName>>(row: &Row, column: &str) -> Result<T> {
    Ok(row.try_get::<_, Named<T>>(column)?.0)
}

/// The same where null is allowed.
pub(crate) fn named_if<T: FromStr<Err = model::UnknownName>>(row: &Row, column: &str) -> Result<Option<T>> {
    Ok(row.try_get::<_, Option<Named<T>>>(column)?.map(|named| named.0))
}

/// A value as serde names it, for small enums of the model that are not closed sets of names.
pub(crate) fn by_serde<T: serde::de::DeserializeOwned>(row: &Row, column: &str) -> Result<T> {
    let text: String = row.try_get(column)?;
    serde_json::from_value(serde_json::Value::String(text)).map_err(|error| Error::Broken(error.to_string()))
}

/// The name that serde gives a value without fields.
pub(crate) fn serde_name<T: serde::Serialize>(value: T) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(name)) => name,
        _ => String::new(),
    }
}

/// An owner from its two columns `owner_kind` and `owner_id`.
pub(crate) fn owner(row: &Row) -> Result<Option<model::mailbox::Owner>> {
    let kind = named_if(row, "owner_kind")?;
    let id: Option<uuid::Uuid> = row.try_get("owner_id")?;
    Ok(kind.zip(id).map(|(kind, id)| model::mailbox::Owner::new(kind, id)))
}

/// A count or size for a column of 64 bits.
pub(crate) fn wide(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A position or count for a column of 32 bits.
pub(crate) fn narrow(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}
