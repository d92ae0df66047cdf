//! What can go wrong with a database.

/// A database error a caller can act on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A unique or check constraint refused the row.
    #[error("the database refused a row: {detail}")]
    Conflict {
        /// Which constraint, in the database's words.
        detail: String,
    },
    /// The database cannot take work now: locked, restarting, out of connections or of disk. Trying again later is right.
    #[error("the database is not available: {detail}")]
    Unavailable {
        /// Why, in the database's words.
        detail: String,
    },
    /// The database was written by a newer Tidings.
    #[error(
        "the database has schema version {found}, this binary knows versions up to {known}: start the newer Tidings that wrote it, or restore a backup from before the upgrade"
    )]
    TooNew {
        /// The database's version.
        found: i64,
        /// The newest version this binary knows.
        known: i64,
    },
    /// The configuration of the database is wrong.
    #[error("{0}")]
    Config(String),
    /// A column does not hold what the code expects: a bug or a damaged database.
    #[error("column {column} of an answer does not have the expected type")]
    Decode {
        /// Position in the answer, from 0.
        column: usize,
    },
    /// Anything else, in the database's words: a bug or a damaged database.
    #[error("database error: {0}")]
    Other(String),
}

impl Error {
    /// True when trying the same again later may work.
    pub const fn is_temporary(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }
}

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode;
        let detail = error.to_string();
        match error.sqlite_error_code() {
            Some(ErrorCode::ConstraintViolation) => Self::Conflict { detail },
            Some(
                ErrorCode::DatabaseBusy
                | ErrorCode::DatabaseLocked
                | ErrorCode::DiskFull
                | ErrorCode::ReadOnly
                | ErrorCode::CannotOpen
                | ErrorCode::SystemIoFailure
                | ErrorCode::OutOfMemory,
            ) => Self::Unavailable { detail },
            _ => Self::Other(detail),
        }
    }
}

impl From<tokio_postgres::Error> for Error {
    fn from(error: tokio_postgres::Error) -> Self {
        let Some(db) = error.as_db_error() else {
            // No answer from the server: connection trouble, or a value we encoded badly.
            let is_ours =
                std::error::Error::source(&error).is_some_and(|source| source.is::<std::num::TryFromIntError>());
            let detail = full_text(&error);
            return if is_ours { Self::Other(detail) } else { Self::Unavailable { detail } };
        };
        let detail = format!("{} ({})", db.message(), db.code().code());
        match &db.code().code()[..2] {
            "23" => Self::Conflict { detail },
            // Connections, serialization and deadlock, resources, operator intervention, system trouble, lock not available.
            "08" | "40" | "53" | "57" | "58" | "55" | "25" => Self::Unavailable { detail },
            _ => Self::Other(detail),
        }
    }
}

fn full_text(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}
