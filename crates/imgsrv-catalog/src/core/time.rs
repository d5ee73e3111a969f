//! Times in columns: microseconds since the Unix epoch in SQLite, `TIMESTAMPTZ` in PostgreSQL.

use imgsrv_domain::time::Timestamp;

/// A time in a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SqlTime(Timestamp);

impl From<SqlTime> for Timestamp {
    fn from(time: SqlTime) -> Self {
        time.0
    }
}

impl From<Timestamp> for SqlTime {
    fn from(time: Timestamp) -> Self {
        Self(time)
    }
}

#[cfg(feature = "sqlite")]
mod sqlite {
    use super::SqlTime;
    use imgsrv_domain::time::Timestamp;
    use sqlx::{
        Decode, Encode, Sqlite, Type,
        encode::IsNull,
        error::BoxDynError,
        sqlite::{SqliteArgumentsBuffer, SqliteTypeInfo, SqliteValueRef},
    };

    impl Type<Sqlite> for SqlTime {
        fn type_info() -> SqliteTypeInfo {
            <i64 as Type<Sqlite>>::type_info()
        }

        fn compatible(info: &SqliteTypeInfo) -> bool {
            <i64 as Type<Sqlite>>::compatible(info)
        }
    }

    impl Encode<'_, Sqlite> for SqlTime {
        fn encode_by_ref(&self, buffer: &mut SqliteArgumentsBuffer) -> Result<IsNull, BoxDynError> {
            Encode::<Sqlite>::encode(self.0.micros(), buffer)
        }
    }

    impl<'r> Decode<'r, Sqlite> for SqlTime {
        fn decode(value: SqliteValueRef<'r>) -> Result<Self, BoxDynError> {
            <i64 as Decode<Sqlite>>::decode(value).map(|micros| Self(Timestamp::from_micros(micros)))
        }
    }
}

#[cfg(feature = "postgres")]
mod postgres {
    use super::SqlTime;
    use imgsrv_domain::time::Timestamp;
    use sqlx::{
        Decode, Encode, Postgres, Type,
        encode::IsNull,
        error::BoxDynError,
        postgres::{PgArgumentBuffer, PgTypeInfo, PgValueFormat, PgValueRef, types::Oid},
    };

    /// `timestamptz`, from `pg_type.dat`.
    const TIMESTAMPTZ: PgTypeInfo = PgTypeInfo::with_oid(Oid(1184));
    /// From the Unix epoch to PostgreSQL's, 2000-01-01, in microseconds.
    const EPOCH: i64 = 946_684_800_000_000;

    impl Type<Postgres> for SqlTime {
        fn type_info() -> PgTypeInfo {
            TIMESTAMPTZ
        }

        fn compatible(info: &PgTypeInfo) -> bool {
            info.oid() == TIMESTAMPTZ.oid()
        }
    }

    /// PostgreSQL sends microseconds since its epoch, with the extremes for the infinities. The end of our range,
    /// where [`Timestamp::plus`] stops, is its `infinity`.
    impl Encode<'_, Postgres> for SqlTime {
        fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
            let micros = match self.0.micros() {
                i64::MAX => i64::MAX,
                micros => micros.saturating_sub(EPOCH),
            };
            Encode::<Postgres>::encode(micros, buffer)
        }
    }

    impl<'r> Decode<'r, Postgres> for SqlTime {
        fn decode(value: PgValueRef<'r>) -> Result<Self, BoxDynError> {
            if value.format() == PgValueFormat::Text {
                return Err("a time must arrive in binary".into());
            }
            let micros = <i64 as Decode<Postgres>>::decode(value)?;
            Ok(Self(Timestamp::from_micros(micros.saturating_add(EPOCH))))
        }
    }
}
